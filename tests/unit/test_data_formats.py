"""What perpwalk.data reads: containers, layouts, column names, time stamps."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perpwalk.data import read_bars, read_funding, read_mark
from perpwalk.data.columns import compact
from perpwalk.errors import DataError

HOUR = pd.Timedelta("1h")
START = pd.Timestamp("2024-01-01T00:00:00Z")


def table(n: int = 6, start: pd.Timestamp = START, step: pd.Timedelta = HOUR) -> pd.DataFrame:
    """Return n consistent bars with a column ``timestamp`` in milliseconds."""
    close = 100.0 + np.arange(n)
    return pd.DataFrame(
        {
            "timestamp": [int((start + i * step).value // 10**6) for i in range(n)],
            "open": close - 0.5,
            "high": close + 1.25,
            "low": close - 2.0,
            "close": close,
            "volume": 10.0 + np.arange(n),
        }
    )


def bars_of(path: Path, symbol: str = "ETHUSDT", interval: pd.Timedelta = HOUR):
    return read_bars(path, symbol=symbol, interval=interval)


def write_csv(path: Path, frame: pd.DataFrame, **options: object) -> Path:
    frame.to_csv(path, index=False, **options)
    return path


def codes(findings: tuple) -> list[str]:
    return [finding.code for finding in findings]


# ── containers ───────────────────────────────────────────────────────────────────────────────────


def as_csv(frame: pd.DataFrame) -> bytes:
    return frame.to_csv(index=False).encode()


def as_zip(frame: pd.DataFrame) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("any/name.txt", as_csv(frame))
    return packed.getvalue()


def as_binary(writer: str) -> Callable[[pd.DataFrame], bytes]:
    def write(frame: pd.DataFrame) -> bytes:
        packed = io.BytesIO()
        getattr(frame, writer)(packed)
        return packed.getvalue()

    return write


def as_json_rows(frame: pd.DataFrame) -> bytes:
    return json.dumps(frame.to_numpy().tolist()).encode()


def as_json_records(frame: pd.DataFrame) -> bytes:
    return json.dumps(frame.to_dict("records")).encode()


@pytest.mark.parametrize(
    ("write", "file_format"),
    [
        (as_csv, "csv"),
        (lambda f: gzip.compress(as_csv(f)), "csv.gz"),
        (as_zip, "csv.zip"),
        (as_binary("to_parquet"), "parquet"),
        (as_binary("to_feather"), "feather"),
        (as_json_rows, "json"),
        (as_json_records, "json"),
        (lambda f: gzip.compress(as_json_rows(f)), "json.gz"),
        (lambda f: b"\xef\xbb\xbf" + as_csv(f), "csv"),
        (lambda f: as_csv(f).decode().encode("utf-16"), "csv"),
        (lambda f: as_csv(f).replace(b"\n", b"\r\n"), "csv"),
        (lambda f: as_csv(f).replace(b",", b";"), "csv"),
        (lambda f: as_csv(f).replace(b",", b"\t"), "csv"),
        (lambda f: as_csv(f).replace(b",", b";").replace(b".", b","), "csv"),
        (lambda f: as_csv(f).replace(b"\n", b"\n\n"), "csv"),
        (lambda f: b"https://www.example.org/data\n" + as_csv(f), "csv"),
        (lambda f: b"# saved by hand, twice\n" + as_csv(f), "csv"),
        (lambda f: b"#" + as_csv(f), "csv"),
        (lambda f: as_csv(f).split(b"\n", 1)[1], "csv"),
    ],
    ids=[
        "csv", "csv.gz", "zip", "parquet", "feather", "json rows", "json records", "json.gz", "bom",
        "utf-16", "crlf", "semicolon", "tab", "decimal comma", "blank lines", "address line",
        "comment line", "commented header", "no header",
    ],
)  # fmt: skip
def test_a_file_is_known_by_its_content(tmp_path, write, file_format):
    """Every container gives the same bars, whatever the file's name says."""
    path = tmp_path / "anything.dat"
    path.write_bytes(write(table()))

    bars, _, source = bars_of(path)

    expected = table()
    assert file_format == source.file_format
    assert 6 == len(bars)
    assert START == bars.open_time[0]
    for name in ("open", "high", "low", "close", "volume"):
        assert expected[name].tolist() == getattr(bars, name).tolist()
    assert ("2024-01-01T00:00:00Z", "2024-01-01T05:00:00Z") == (source.first, source.last)


def test_a_binance_archive_without_a_header_is_read_by_position(tmp_path):
    """Twelve headerless columns are a kline dump, in microseconds as since 2025."""
    frame = table()
    frame["timestamp"] *= 1000
    for i in range(6):
        frame[f"more{i}"] = 7
    path = write_csv(tmp_path / "klines.csv", frame, header=False)

    bars, _, _ = bars_of(path)

    assert START == bars.open_time[0]
    assert table()["volume"].tolist() == bars.volume.tolist()


def test_yfinance_header_of_three_lines_is_understood(tmp_path):
    """Price, Ticker and Date lines are one header; columns stand in yfinance's own order."""
    path = tmp_path / "yf.csv"
    path.write_text(
        "Price,Close,High,Low,Open,Volume\nTicker,ETH-USD,ETH-USD,ETH-USD,ETH-USD,ETH-USD\n"
        "Datetime,,,,,\n2024-01-01 00:00:00+00:00,10,12,9,11,5\n"
        "2024-01-01 01:00:00+00:00,11,12,9,10,6\n"
    )

    bars, _, _ = bars_of(path)

    assert [11.0, 10.0] == bars.open.tolist()
    assert [10.0, 11.0] == bars.close.tolist()


def test_a_parquet_index_of_times_is_the_open_time(tmp_path):
    """A pandas frame saved under a nameless DatetimeIndex is read."""
    frame = table().drop(columns="timestamp")
    frame.index = pd.date_range(START, periods=6, freq="h")
    frame.to_parquet(tmp_path / "x.parquet")

    bars, findings, _ = bars_of(tmp_path / "x.parquet")

    assert START == bars.open_time[0]
    assert "D001" not in codes(findings)


# ── columns ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["Open time", "open_time", "openTime", "OPEN-TIME"])
def test_names_are_compared_without_case_and_punctuation(name):
    """Four spellings are one name."""
    assert "opentime" == compact(name)


@pytest.mark.parametrize(
    "names",
    [
        ["open_time", "open", "high", "low", "close", "volume"],
        ["Unix", "Open", "High", "Low", "Close", "Volume ETH"],
        ["date", "Open", "High", "Low", "Close", "Volume"],
        ["time", "open", "high", "low", "close", "Volume"],
        ["startTime", "openPrice", "highPrice", "lowPrice", "closePrice", "volume"],
        ["Open time", "Open", "High", "Low", "Close", "Volume"],
    ],
)
def test_names_of_exchanges_and_tools_are_known(tmp_path, names):
    """Each tool's header gives the same bars."""
    frame = table()
    frame.columns = names

    bars, _, _ = bars_of(write_csv(tmp_path / "x.csv", frame))

    assert table()["close"].tolist() == bars.close.tolist()


@pytest.mark.parametrize("columns", [["Volume ETH", "Volume USDT"], ["Volume USDT", "Volume ETH"]])
def test_the_volume_in_base_coin_is_taken(tmp_path, columns):
    """Of two volumes the base coin's is read, whichever comes first."""
    frame = table().rename(columns={"volume": "Volume ETH"})
    frame["Volume USDT"] = frame["Volume ETH"] * 1000
    frame = frame[["timestamp", "open", "high", "low", "close", *columns]]

    bars, _, _ = bars_of(write_csv(tmp_path / "x.csv", frame))

    assert table()["volume"].tolist() == bars.volume.tolist()


def test_the_symbol_tells_which_of_two_coins_is_the_base(tmp_path):
    """Of Volume BTC and Volume ETH the first is ETHBTC's quote and BTCUSDT's base."""
    frame = table().rename(columns={"volume": "Volume ETH"}).assign(**{"Volume BTC": 1.0})
    path = write_csv(tmp_path / "x.csv", frame)

    assert table()["volume"].tolist() == bars_of(path, symbol="ETHBTC")[0].volume.tolist()
    assert [1.0] * 6 == bars_of(path, symbol="BTCUSDT")[0].volume.tolist()


def test_a_quote_volume_alone_is_not_taken_for_the_base_volume(tmp_path):
    """A file with dollars only lacks the volume."""
    frame = table().rename(columns={"volume": "Volume USDT"})

    with pytest.raises(DataError, match="no column for the volume in base coin"):
        bars_of(write_csv(tmp_path / "x.csv", frame))


def test_adjusted_close_is_not_the_close(tmp_path):
    """The Adj Close of yfinance stands beside Close and is left alone."""
    frame = table()
    frame.insert(1, "Adj Close", 1.0)

    bars, _, _ = bars_of(write_csv(tmp_path / "x.csv", frame))

    assert table()["close"].tolist() == bars.close.tolist()


def test_close_times_alone_are_refused(tmp_path):
    """Bars are named by their open time; a close time must not pass for one."""
    frame = table().rename(columns={"timestamp": "close_time"})

    with pytest.raises(DataError, match="close times and no open times"):
        bars_of(write_csv(tmp_path / "x.csv", frame))


def test_a_name_standing_twice_is_refused(tmp_path):
    """Nobody can say which of two close columns is meant."""
    text = as_csv(table().assign(other=1.0)).replace(b"other", b"Close", 1)
    (tmp_path / "x.csv").write_bytes(text)

    with pytest.raises(DataError, match=r"column 'close'.*stands twice"):
        bars_of(tmp_path / "x.csv")


@pytest.mark.parametrize(
    "name", ["ETH/USDT:USDT", "ETHUSDT", "ETH-USDT-SWAP", "ethusdt", "ETH_USDT", "ETHUSDT_PERP"]
)
def test_spellings_of_one_symbol_agree(tmp_path, name):
    """A symbol column in any exchange's spelling belongs to ETHUSDT."""
    frame = table()
    frame["symbol"] = name

    assert 6 == len(bars_of(write_csv(tmp_path / "x.csv", frame))[0])


def test_a_symbol_column_of_another_contract_is_refused(tmp_path):
    """Bars of BTC are not ETH's."""
    frame = table()
    frame["symbol"] = "BTC/USDT"

    with pytest.raises(DataError, match=r"belongs to 'BTC/USDT', market.symbol is 'ETHUSDT'"):
        bars_of(write_csv(tmp_path / "x.csv", frame))


def test_several_symbols_in_one_file_are_refused(tmp_path):
    """The row where the second symbol starts is named."""
    frame = table()
    frame["symbol"] = ["ETHUSDT"] * 4 + ["BTCUSDT"] * 2

    with pytest.raises(DataError, match=r"row 6, column 'symbol'.*several symbols"):
        bars_of(write_csv(tmp_path / "x.csv", frame))


def test_mark_candles_need_no_volume(tmp_path):
    """A mark file without volume gives bars of volume 0."""
    path = write_csv(tmp_path / "m.csv", table().drop(columns="volume"))

    mark, _, source = read_mark(path, symbol="ETHUSDT", interval=HOUR)

    assert [0.0] * 6 == mark.volume.tolist()
    assert "mark" == source.kind


# ── time stamps ──────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("factor", [1e-3, 1, 10**3, 10**6])
@pytest.mark.parametrize("kind", ["whole", "float"])
def test_epoch_units_are_told_by_size(tmp_path, factor, kind):
    """Seconds, milli-, micro- and nanoseconds, whole or with a decimal point, give one time."""
    frame = table()
    values = [round(value * factor) for value in frame["timestamp"]]
    frame["timestamp"] = [f"{value}.0" if kind == "float" else str(value) for value in values]

    bars, findings, _ = bars_of(write_csv(tmp_path / "x.csv", frame))

    assert pd.date_range(START, periods=6, freq="h").tolist() == bars.open_time.tolist()
    assert not {"D001", "D002"} & set(codes(findings))


@pytest.mark.parametrize(
    ("form", "naive"),
    [
        ("%Y-%m-%dT%H:%M:%SZ", False),
        ("%Y-%m-%d %H:%M:%S+00:00", False),
        ("%Y-%m-%d %H:%M:%S.000000Z", False),
        ("%Y-%m-%d %H:%M:%S UTC", False),
        ("%Y-%m-%d %H:%M:%S", True),
        ("%Y-%m-%d %H:%M", True),
        ("%Y/%m/%d %H:%M:%S", True),
        ("%Y%m%d %H:%M", True),
        ("%Y-%m-%d %I-%p", True),
    ],
)
def test_written_stamps_are_read_year_first(tmp_path, form, naive):
    """Every year-first form is read; one without a zone is UTC, and a finding says so."""
    frame = table(16)
    times = pd.date_range(START, periods=16, freq="h")
    frame["timestamp"] = times.strftime(form)

    bars, findings, _ = bars_of(write_csv(tmp_path / "x.csv", frame))

    assert times.tolist() == bars.open_time.tolist()
    assert naive == ("D001" in codes(findings))


def test_an_offset_is_converted_to_utc(tmp_path):
    """03:00+03:00 is midnight."""
    frame = table()
    times = pd.date_range("2024-01-01 03:00", periods=6, freq="h").strftime("%Y-%m-%d %H:%M:%S")
    frame["timestamp"] = times + "+03:00"

    assert START == bars_of(write_csv(tmp_path / "x.csv", frame))[0].open_time[0]


def test_units_that_change_within_a_file_are_read_row_by_row_and_reported(tmp_path):
    """Milliseconds up to 2024 and microseconds from 2025 on: joined archives."""
    frame = table()
    frame.loc[3:, "timestamp"] *= 1000

    bars, findings, _ = bars_of(write_csv(tmp_path / "x.csv", frame))

    assert pd.date_range(START, periods=6, freq="h").tolist() == bars.open_time.tolist()
    assert "D002" in codes(findings)


@pytest.mark.parametrize(
    ("stamp", "complaint"),
    [
        ("03/04/2024 00:00", "day-first or month-first"),
        ("31.12.2024", "day-first or month-first"),
        ("yesterday", "no time stamp"),
        ("2024-13-01 00:00:00", "no possible date"),
        ("", "stamp is empty"),
        ("12345", "no time stamp"),
        ("1999-01-01 00:00:00", "not between 2009 and 2100"),
        ("2824-01-09 11:00:00", "not between 2009 and 2100"),
        ("2024-01-01T02:00:00Z", "only one of them names a time zone"),
    ],
)
def test_a_stamp_that_could_be_misread_is_refused_with_its_row(tmp_path, stamp, complaint):
    """The third record, line 4 of the file, is named."""
    frame = table()
    times = pd.date_range(START, periods=6, freq="h").strftime("%Y-%m-%d %H:%M:%S")
    frame["timestamp"] = [*times[:2], stamp, *times[3:]]

    with pytest.raises(DataError, match=rf"row 4, column 'timestamp': .*{complaint}"):
        bars_of(write_csv(tmp_path / "x.csv", frame))


def test_a_file_wholly_in_descending_order_is_read_from_its_end(tmp_path):
    """Newest first gives the same bars, and a finding."""
    bars, findings, _ = bars_of(write_csv(tmp_path / "x.csv", table()[::-1]))

    assert table()["close"].tolist() == bars.close.tolist()
    assert ["D004"] == codes(findings)


def test_reading_leaves_the_bars_unwritable(tmp_path):
    """Checked columns cannot be changed afterwards."""
    bars, _, _ = bars_of(write_csv(tmp_path / "x.csv", table()))

    with pytest.raises(ValueError, match="read-only"):
        bars.close[0] = 1.0


def test_funding_column_names_of_exchanges_are_known(tmp_path):
    """ccxt, Binance's archive and its web export name the rate differently."""
    times = [int((START + i * 8 * HOUR).value // 10**6) for i in range(4)]
    for names in (["fundingTime", "fundingRate"], ["calc_time", "last_funding_rate"],
                  ["timestamp", "funding_rate"], ["Date", "Funding Rate"]):  # fmt: skip
        frame = pd.DataFrame({names[0]: times, names[1]: [1e-4, 2e-4, -1e-4, 1e-4]})
        funding, _, _ = read_funding(write_csv(tmp_path / "f.csv", frame), symbol="ETHUSDT")
        assert [1e-4, 2e-4, -1e-4, 1e-4] == funding.rate.tolist()
