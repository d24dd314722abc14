"""Whose file it is: each layout is told by content, read by its writer's habits, and named."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mutated_files import HOUR, NAMES, truth

from perpwalk.data import read_bars, read_funding
from perpwalk.data.kinds import kind_of
from perpwalk.data.layouts import LAYOUTS, format_names
from perpwalk.data.tables import open_table
from perpwalk.errors import ConfigError, DataError

BARS = truth(48)
VALUES = BARS.to_numpy()
MS = (BARS.index.asi8 // 10**6).tolist()


def zipped(path: Path, member: str, text: str) -> Path:
    with zipfile.ZipFile(path, "w") as pack:
        pack.writestr(member, text)
    return path


def saved(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def read(path: Path, **options: object):
    options = {"symbol": "ETHUSDT", "interval": HOUR} | options
    return read_bars(path, **options)


def assert_bars(bars, columns=NAMES) -> None:
    assert BARS.index.tolist() == bars.open_time.tolist()
    for name in columns:
        assert BARS[name].tolist() == getattr(bars, name).tolist()


def rows(order: list[str], stamps: list[object], sep: str = ",") -> str:
    table = BARS[order].to_numpy()
    return "".join(
        sep.join([str(s), *(f"{v!r}" for v in row.tolist())]) + "\n"
        for s, row in zip(stamps, table, strict=True)
    )


def lean_stamps() -> list[str]:
    return BARS.index.strftime("%Y%m%d %H:%M").tolist()


# ── QuantConnect Lean ────────────────────────────────────────────────────────────────────────────


def test_lean_prices_of_a_coin_are_taken_as_they_are(tmp_path):
    """A zip of trades of a pair, without a header."""
    path = zipped(
        tmp_path / "ethusdt_trade.zip", "ethusdt_trade_perp.csv", rows(NAMES, lean_stamps())
    )

    bars, _, source = read(path)

    assert_bars(bars)
    assert "lean" == source.layout


def test_lean_prices_of_a_stock_are_hundredths_of_a_cent(tmp_path):
    """1,999,900 is 199.99, and stamps are New York's."""
    stamps = pd.date_range("2024-01-09 09:00", periods=7, freq="h").strftime("%Y%m%d %H:%M")
    text = "".join(f"{s},{1999900 + i},{2004900},{1990000},{1999900 + i + 1},500\n"
                   for i, s in enumerate(stamps))  # fmt: skip

    bars, _, source = read(zipped(tmp_path / "spy.zip", "spy.csv", text), symbol="SPY")

    assert "lean-equity" == source.layout
    assert 199.99 == bars.open[0]
    assert 200.49 == bars.high[0]
    assert pd.Timestamp("2024-01-09T14:00Z") == bars.open_time[0]


def test_whole_numbers_that_could_be_either_are_refused_until_it_is_said(tmp_path):
    """17,000 is a price of bitcoin or of a stock at 1.70; --format decides."""
    text = "".join(f"{s},17000,17100,16900,17000,5\n" for s in lean_stamps())
    path = saved(tmp_path / "prices-by-hour.csv", text)

    with pytest.raises(DataError, match="say --format lean or lean-equity"):
        read(path)
    assert 17000.0 == read(path, layout="lean")[0].open[0]
    assert 1.7 == read(path, layout="lean-equity", symbol="")[0].open[0]


def test_lean_minutes_take_their_date_from_the_name(tmp_path):
    """Milliseconds since midnight mean nothing without 20240109_ in front."""
    text = "".join(f"{60_000 * i},{10 + i},{12 + i},{9 + i},{11 + i},1\n" for i in range(5))
    one = zipped(tmp_path / "a.zip", "20240109_ethusdt_minute_trade.csv", text)

    bars, _, source = read(one, interval=pd.Timedelta("1min"))

    assert "lean-minute" == source.layout
    assert pd.Timestamp("2024-01-09T00:04Z") == bars.open_time[-1]
    with pytest.raises(DataError):
        read(zipped(tmp_path / "b.zip", "minutes.csv", text), interval=pd.Timedelta("1min"))
    for day in ("20241301", "28240109"):
        far = zipped(tmp_path / f"{day}.zip", f"{day}_ethusdt_minute_trade.csv", text)
        with pytest.raises(DataError, match="begins with no possible date"):
            read(far, interval=pd.Timedelta("1min"))


def test_lean_quotes_are_no_trades(tmp_path):
    """Bid and ask bars have eleven columns and are refused by name."""
    text = "".join(f"{s},1,2,0.5,1.5,7,1.1,2.1,0.6,1.6,8\n" for s in lean_stamps())

    with pytest.raises(DataError, match="quote bars"):
        read(zipped(tmp_path / "q.zip", "ethusdt_quote.csv", text))


# ── orders of columns ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("order", "layout"),
    [
        (["open", "close", "high", "low", "volume"], "jesse"),
        (["low", "high", "open", "close", "volume"], "coinbase"),
        (NAMES, "ccxt"),
    ],
)
def test_the_order_without_names_is_the_one_that_makes_candles(tmp_path, order, layout):
    """Jesse's and Coinbase's rows are no candles in the usual order, and are in their own."""
    table = [[ms, *row] for ms, row in zip(MS, BARS[order].to_numpy().tolist(), strict=True)]
    bars, _, source = read(saved(tmp_path / "x.json", json.dumps(table)))

    assert layout == source.layout
    assert_bars(bars)


def test_an_array_of_jesse_is_read(tmp_path):
    """Candles saved with numpy, in jesse's order."""
    order = ["open", "close", "high", "low", "volume"]
    np.save(tmp_path / "candles.npy", np.column_stack([MS, BARS[order].to_numpy()]))

    bars, _, source = read(tmp_path / "candles.npy")

    assert ("npy", "jesse") == (source.file_format, source.layout)
    assert_bars(bars)


def test_an_array_of_objects_is_refused(tmp_path):
    """Pickles are never loaded."""
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)

    with pytest.raises(DataError, match="damaged"):
        read(tmp_path / "x.npy")


def test_okx_counts_contracts_first_and_coins_second(tmp_path):
    """Of the three volumes the coins' is taken, from inside the answer the exchange wrapped up."""
    data = [
        [str(ms), *map(str, row[:4]), str(row[4] * 10), str(row[4]), str(row[4] * 2000), "1"]
        for ms, row in zip(MS, VALUES.tolist(), strict=True)
    ][::-1]
    path = saved(tmp_path / "okx.json", json.dumps({"code": "0", "msg": "", "data": data}))

    bars, _, source = read(path)

    assert "okx" == source.layout
    assert_bars(bars)


# ── tools ────────────────────────────────────────────────────────────────────────────────────────


def test_tradingview_is_named_and_its_indicators_left_alone(tmp_path):
    """Seconds, a Volume, and a plot that stands twice."""
    header = "time,open,high,low,close,Volume,Plot,Plot\n"
    body = rows(NAMES, [ms // 1000 for ms in MS]).replace("\n", ",1,2\n")

    bars, _, source = read(saved(tmp_path / "tv.csv", header + body))

    assert "tradingview" == source.layout
    assert_bars(bars)


def test_metatraders_dates_and_times_apart_are_put_together(tmp_path):
    """<DATE> and <TIME> are two columns, tabs between."""
    stamps = BARS.index.strftime("%Y.%m.%d\t%H:%M:%S").tolist()
    header = "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
    body = rows(NAMES[:4], stamps, "\t").replace("\n", "\t5\t7\t1\n")

    bars, _, source = read(saved(tmp_path / "mt5.csv", header + body))

    assert "metatrader" == source.layout
    assert_bars(bars, NAMES[:4])
    assert 7.0 == bars.volume[0]


@pytest.mark.parametrize(
    "header",
    [
        "Price,Open,High,Low,Close,Volume\nTicker,E,E,E,E,E\nDatetime,,,,,\n",
        "Ticker,E,E,E,E,E\nPrice,Open,High,Low,Close,Volume\nDatetime,,,,,\n",
    ],
)
def test_both_headers_of_yfinance_are_understood(tmp_path, header):
    """Grouped by price or by ticker, three lines."""
    stamps = BARS.index.strftime("%Y-%m-%d %H:%M:%S+00:00").tolist()

    assert_bars(read(saved(tmp_path / "yf.csv", header + rows(NAMES, stamps)))[0])


def test_yahoos_volume_is_said_to_be_in_dollars(tmp_path):
    """Adj Close gives it away, and a finding warns."""
    stamps = BARS.index.strftime("%Y-%m-%d %H:%M:%S+00:00").tolist()
    body = rows(NAMES, stamps).replace("\n", ",1\n")

    _, findings, source = read(
        saved(tmp_path / "y.csv", "Date,Open,High,Low,Close,Volume,Adj Close\n" + body)
    )

    assert "yahoo" == source.layout
    assert "D019" in {finding.code for finding in findings}


def test_columns_of_a_charting_server_are_read(tmp_path):
    """JSON that maps names to lists: t, o, h, l, c, v."""
    columns = {"s": "ok", "t": [ms // 1000 for ms in MS]}
    columns |= {name[0]: BARS[name].tolist() for name in NAMES}

    assert_bars(read(saved(tmp_path / "udf.json", json.dumps(columns)))[0])


def test_the_predecessors_files_are_known(tmp_path):
    """Its six columns and its three."""
    stamps = BARS.index.strftime("%Y-%m-%d %H:%M:%S").tolist()
    bars = saved(
        tmp_path / "ohlcv.csv", "datetime,open,high,low,close,volume\n" + rows(NAMES, stamps)
    )
    settled = pd.date_range("2024-01-09", periods=6, freq="8h")
    funding = pd.DataFrame({"datetime": settled.strftime("%Y-%m-%d %H:%M:%S"),
                            "funding_rate": 1e-4, "funding_rate_timestamp":
                            settled.as_unit("ns").asi8 // 10**6})  # fmt: skip
    funding.to_csv(tmp_path / "f.csv", index=False)

    assert "predecessor" == read(bars)[2].layout
    assert "predecessor" == read_funding(tmp_path / "f.csv", symbol="ETHUSDT")[2].layout


def test_freqtrades_funding_keeps_the_rate_in_open(tmp_path):
    """Feather candles whose other prices are 0 are funding."""
    frame = pd.DataFrame({"date": pd.date_range("2024-01-09", periods=5, freq="8h", tz="UTC"),
                          "open": [1e-4, 2e-4, -1e-4, 1e-4, 5e-5], "high": 0.0, "low": 0.0,
                          "close": 0.0, "volume": 0.0})  # fmt: skip
    frame.to_feather(tmp_path / "ETH_USDT_USDT-8h-funding_rate.feather")
    path = tmp_path / "ETH_USDT_USDT-8h-funding_rate.feather"

    funding, _, source = read_funding(path, symbol="ETHUSDT")

    assert "funding" == kind_of(open_table(path), path)
    assert "freqtrade" == source.layout
    assert [1e-4, 2e-4, -1e-4, 1e-4, 5e-5] == funding.rate.tolist()


def test_binances_funding_without_names_is_known_by_its_hours(tmp_path):
    """Time, hours of the interval, rate: as the archive writes it where it leaves its names out."""
    rates = ["0.00010000", "-0.00002300", "0.00007512", "1e-05"]
    lines = [f"{1704758400000 + 28_800_000 * k},8,{rate}" for k, rate in enumerate(rates)]
    path = saved(tmp_path / "ETHUSDT-fundingRate-2024-01.csv", "\n".join(lines) + "\n")

    funding, _, source = read_funding(path, symbol="ETHUSDT")

    assert "funding" == kind_of(open_table(path), path)
    assert "binance-archive" == source.layout
    assert [float(rate) for rate in rates] == funding.rate.tolist()
    assert pd.Timestamp("2024-01-09T00Z") == funding.settle_time[0]


@pytest.mark.parametrize("cells", ["7,0.0001", "8,0.5", "8,12.5", "8.5,0.0001", "0.0001,8"])
def test_three_columns_that_are_no_hours_and_rate_are_refused(tmp_path, cells):
    """A trade's price and size, another order, hours no exchange settles in: nothing is guessed."""
    path = saved(
        tmp_path / "x.csv", "".join(f"{1704758400000 + 28_800_000 * k},{cells}\n" for k in range(5))
    )

    with pytest.raises(DataError, match=r"no header and 3 columns|per settlement|scale|rate"):
        read_funding(path, symbol="ETHUSDT")


@pytest.mark.parametrize(
    ("name", "header", "kind"),
    [
        ("m.csv", "create_time,symbol,sum_open_interest,sum_open_interest_value", "open_interest"),
        ("f.csv", "calc_time,funding_interval_hours,last_funding_rate", "funding"),
        ("ETHUSDT-1h-markPrice.csv", "open_time,open,high,low,close,volume", "mark"),
        ("x.csv", "open_time,open,high,low,close", "mark"),
        ("x.csv", "open_time,open,high,low,close,volume", "ohlcv"),
    ],
)
def test_what_a_file_holds_is_told_by_its_columns(tmp_path, name, header, kind):
    """And for mark candles by the file's own name too."""
    path = saved(tmp_path / name, f"{header}\n1704758400000,8,0.0001,4,5,6\n")

    assert kind == kind_of(open_table(path), path)


# ── naming one ───────────────────────────────────────────────────────────────────────────────────


def test_an_unknown_format_lists_the_known_ones(tmp_path):
    """The message names them all."""
    path = saved(tmp_path / "x.csv", "timestamp,open,high,low,close,volume\n" + rows(NAMES, MS))

    with pytest.raises(ConfigError, match="bitfinex"):
        read(path, layout="excel")
    assert {"auto", *(layout.name for layout in LAYOUTS)} == set(format_names())


def test_a_format_named_is_taken_whatever_the_content(tmp_path):
    """Bitfinex's order is forced onto rows that could also be the usual ones."""
    flat = "".join(f"{ms},5,6,7,4,1\n" for ms in MS)

    bars, _, source = read(saved(tmp_path / "x.csv", flat), layout="bitfinex")

    assert "bitfinex" == source.layout
    assert (5.0, 7.0, 4.0, 6.0) == (bars.open[0], bars.high[0], bars.low[0], bars.close[0])


# ── text ─────────────────────────────────────────────────────────────────────────────────────────


def test_in_a_file_of_decimal_commas_the_bad_cell_is_named(tmp_path):
    """One word among commas is at fault, not the first comma."""
    body = rows(NAMES, MS, ";").replace(".", ",").splitlines()
    body[9] = body[9].rsplit(";", 1)[0] + ";many"
    text = ";".join(["timestamp", *NAMES]) + "\n" + "\n".join(body) + "\n"

    with pytest.raises(DataError, match=r"row 11, column 'volume': 'many' is not a number"):
        read(saved(tmp_path / "x.csv", text))


def test_a_header_in_the_middle_is_the_row_that_is_named(tmp_path):
    """Joined files: the second header stands in line 12."""
    header = "open_time,open,high,low,close,volume\n"
    body = rows(NAMES, MS).splitlines(keepends=True)

    with pytest.raises(DataError, match=r"row 12, column 'open_time': 'open_time' stands among"):
        read(saved(tmp_path / "x.csv", header + "".join(body[:10]) + header + "".join(body[10:])))


def test_a_last_figure_that_lost_digits_is_refused_where_that_is_certain(tmp_path):
    """Every volume has three decimals but the last, and the last line has no end."""
    frame = BARS.map(lambda value: f"{value:.3f}")
    out = io.StringIO()
    frame.to_csv(out, index_label="timestamp", lineterminator="\n")

    with pytest.raises(DataError, match="cut short"):
        read(saved(tmp_path / "x.csv", out.getvalue()[:-3]))
    assert_bars(read(saved(tmp_path / "y.csv", out.getvalue()[:-1]))[0])


def test_where_it_is_not_certain_a_finding_doubts_the_last_row(tmp_path):
    """Volumes of any length, and a last line without an end."""
    text = "timestamp,open,high,low,close,volume\n" + rows(NAMES, MS)
    text += f"{MS[-1] + 3_600_000},2000,2001,1999,2000,12"

    _, findings, _ = read(saved(tmp_path / "x.csv", text))

    assert ["D011"] == [f.code for f in findings if "last line" in f.message]
