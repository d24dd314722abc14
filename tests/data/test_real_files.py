"""Real exchange files are read right: rows, first and last, and what is odd about them.

Skipped where the data is missing: ``PERPWALK_DATA``, by default ``../shared/data`` beside the
repository. Nothing of it is copied into the project.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perpwalk.config import MarketSection
from perpwalk.data import (
    funding_coverage,
    load_market,
    read_bars,
    read_funding,
    read_mark,
    settlement_intervals,
    validate,
)
from perpwalk.data.examine.series import load_series
from perpwalk.data.premium import Premium, follows_premium
from perpwalk.domain import FundingFrame, frozen_array
from perpwalk.errors import DataError

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("PERPWALK_DATA", ROOT.parent / "shared" / "data"))
HOUR = pd.Timedelta("1h")

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"no market data at {DATA}; set PERPWALK_DATA"
)


def here(name: str) -> Path:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"no {name} at {DATA}")
    return path


def codes(findings: tuple) -> set[str]:
    return {finding.code for finding in findings}


ARCHIVE = "raw/binance-archive/ETHUSDT-1h-2024-10"
API = "raw/binance-api/"
FREQTRADE = "raw/freqtrade/XRP_USDT_USDT-"
TRAPS = "traps/"

BARS = [
    ("predecessor/ETH/ohlcv.csv", "ETHUSDT", "1h", 51_980, "2020-01-01T00", "2025-12-05T19"),
    ("binance/ETHUSDT-1h-ohlcv.csv.gz", "ETHUSDT", "1h", 56_713, "2019-11-27T07", "2026-05-17T07"),
    ("binance/BTCUSDT-1h-ohlcv.csv.gz", "BTCUSDT", "1h", 58_623, "2019-09-08T17", "2026-05-17T07"),
    ("binance/SOLUSDT-1h-ohlcv.csv.gz", "SOLUSDT", "1h", 49_684, "2020-09-14T07", "2026-05-16T10"),
    ("binance/ETHUSDT-15m-ohlcv.csv.gz",
     "ETHUSDT", "15min", 102_784, "2023-01-01", "2025-12-06T15:45"),
    ("bybit/ETHUSDT-1h-ohlcv.csv.gz", "ETHUSDT", "1h", 43_615, "2021-03-15T00", "2026-03-06T06"),
    (ARCHIVE + ".csv", "ETHUSDT", "1h", 744, "2024-10-01T00", "2024-10-31T23"),
    (ARCHIVE + ".zip", "ETHUSDT", "1h", 744, "2024-10-01T00", "2024-10-31T23"),
    (API + "ETHUSDT-1h-klines.csv.gz", "ETHUSDT", "1h", 4_500, "2025-09-13T08", "2026-03-19T19"),
    (FREQTRADE + "1h-futures.feather", "XRPUSDT", "1h", 100, "2021-11-17T01", "2021-11-21T04"),
    (FREQTRADE + "1h-futures.json.gz", "XRPUSDT", "1h", 100, "2021-11-17T01", "2021-11-21T04"),
    ("raw/lean/adausdt_trade-hour.zip", "ADAUSDT", "1h", 24, "2022-12-13T00", "2022-12-13T23"),
    (TRAPS + "partial-bars-ETHUSDT-1h-ohlcv.csv",
     "ETHUSDT", "1h", 134, "2026-03-20T00", "2026-03-25T13"),
]  # fmt: skip
MARKS = [
    ("binance/ETHUSDT-1h-mark.csv.gz", "ETHUSDT", "1h", 56_084, "2019-12-23T11", "2026-05-17T06"),
    ("binance/BTCUSDT-1h-mark.csv.gz", "BTCUSDT", "1h", 56_084, "2019-12-23T11", "2026-05-17T06"),
    (FREQTRADE + "1h-mark.feather", "XRPUSDT", "1h", 100, "2021-11-15T06", "2021-11-19T09"),
    (FREQTRADE + "8h-mark.feather", "XRPUSDT", "8h", 91, "2021-11-18T00", "2021-12-18T00"),
]  # fmt: skip
FUNDING = [
    ("predecessor/ETH/funding_rates.csv", "ETHUSDT", 200, "2025-09-29T16", "2025-12-05T00"),
    ("predecessor/BTC/funding_rates.csv", "BTCUSDT", 200, "2024-10-25T16", "2024-12-31T00"),
    ("binance/ETHUSDT-8h-funding.csv.gz", "ETHUSDT", 7_089, "2019-11-27T08", "2026-05-17T00"),
    ("binance/BTCUSDT-8h-funding.csv.gz", "BTCUSDT", 7_414, "2019-09-10T08", "2026-06-16T08"),
    ("binance/SOLUSDT-8h-funding.csv.gz", "SOLUSDT", 6_258, "2020-09-13T16", "2026-05-06T08"),
    ("bybit/ETHUSDT-8h-funding.csv.gz", "ETHUSDT", 5_886, "2020-10-21T08", "2026-03-06T00"),
    (API + "ETHUSDT-funding.csv", "ETHUSDT", 200, "2026-01-12T16", "2026-03-20T00"),
    (FREQTRADE + "8h-funding_rate.feather", "XRPUSDT", 91, "2021-11-18T00", "2021-12-18T00"),
    ("raw/lean/adausdt-margin_interest.csv", "ADAUSDT", 1, "2022-12-13T00", "2022-12-13T00"),
    (TRAPS + "utc-plus-3-ETHUSDT-8h-funding.csv.gz",
     "ETHUSDT", 4_383, "2020-01-01T03", "2023-12-31T19"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "symbol", "interval", "rows", "first", "last"), BARS, ids=[row[0] for row in BARS]
)
def test_bars_are_read_complete(name, symbol, interval, rows, first, last):
    """Every bar of the file arrives, from first to last."""
    bars, _, source = read_bars(here(name), symbol=symbol, interval=pd.Timedelta(interval))

    assert rows == len(bars) == source.rows
    assert pd.Timestamp(first, tz="UTC") == bars.open_time[0]
    assert pd.Timestamp(last, tz="UTC") == bars.open_time[-1]
    assert not bars.filled.any()


@pytest.mark.parametrize(
    ("name", "symbol", "interval", "rows", "first", "last"), MARKS, ids=[row[0] for row in MARKS]
)
def test_mark_bars_are_read_complete(name, symbol, interval, rows, first, last):
    """Mark candles need no volume column."""
    mark, _, _ = read_mark(here(name), symbol=symbol, interval=pd.Timedelta(interval))

    assert rows == len(mark)
    assert pd.Timestamp(first, tz="UTC") == mark.open_time[0]
    assert pd.Timestamp(last, tz="UTC") == mark.open_time[-1]


@pytest.mark.parametrize(
    ("name", "symbol", "rows", "first", "last"), FUNDING, ids=[row[0] for row in FUNDING]
)
def test_funding_is_read_complete(name, symbol, rows, first, last):
    """Every settlement arrives on its whole hour, freqtrade's and Lean's included."""
    funding, _, source = read_funding(here(name), symbol=symbol)

    assert rows == len(funding) == source.rows
    assert pd.Timestamp(first, tz="UTC") == funding.settle_time[0]
    assert pd.Timestamp(last, tz="UTC") == funding.settle_time[-1]
    assert not (funding.settle_time.asi8 % HOUR.as_unit("ns").value).any()


CHECKSUMS = {
    "predecessor/ETH/ohlcv.csv": "5b060b99b48061cd",
    "binance/ETHUSDT-1h-ohlcv.csv.gz": "ca406372d6dedb7e",
    "binance/BTCUSDT-1h-ohlcv.csv.gz": "45a4c6ec98ed952a",
    "binance/SOLUSDT-1h-ohlcv.csv.gz": "f90a15a5f367e7b2",
    "binance/ETHUSDT-15m-ohlcv.csv.gz": "2e40c3dc3124df01",
    "bybit/ETHUSDT-1h-ohlcv.csv.gz": "6af589c97fb4ff30",
    "raw/binance-archive/ETHUSDT-1h-2024-10.csv": "d01ffe7b54d1ab98",
    "raw/binance-archive/ETHUSDT-1h-2024-10.zip": "d01ffe7b54d1ab98",
    "raw/binance-api/ETHUSDT-1h-klines.csv.gz": "8388f511b414248a",
    "raw/freqtrade/XRP_USDT_USDT-1h-futures.feather": "240a8df23b3f9553",
    "raw/freqtrade/XRP_USDT_USDT-1h-futures.json.gz": "547ca19e9b8eb20c",
    "raw/lean/adausdt_trade-hour.zip": "e3323db7710b93dc",
    "traps/partial-bars-ETHUSDT-1h-ohlcv.csv": "1468b178633055c9",
    "binance/ETHUSDT-1h-mark.csv.gz": "205715613b8b7d91",
    "binance/BTCUSDT-1h-mark.csv.gz": "f90d3494101b5d36",
    "raw/freqtrade/XRP_USDT_USDT-1h-mark.feather": "44b15a7bbc5b9807",
    "raw/freqtrade/XRP_USDT_USDT-8h-mark.feather": "1577a477c92064e9",
    "predecessor/ETH/funding_rates.csv": "6f690abb52942c21",
    "predecessor/BTC/funding_rates.csv": "c65bafd17b20c1df",
    "binance/ETHUSDT-8h-funding.csv.gz": "13fce05356f63b0a",
    "binance/BTCUSDT-8h-funding.csv.gz": "9efd79076e038625",
    "binance/SOLUSDT-8h-funding.csv.gz": "8389d14e43afbf84",
    "bybit/ETHUSDT-8h-funding.csv.gz": "101dde1e1a1bbc32",
    "raw/binance-api/ETHUSDT-funding.csv": "5dce3bee3f4c9dbc",
    "raw/freqtrade/XRP_USDT_USDT-8h-funding_rate.feather": "46654a25a18e1f50",
    "raw/lean/adausdt-margin_interest.csv": "b171890b0d712d32",
    "traps/utc-plus-3-ETHUSDT-8h-funding.csv.gz": "43f834226b2fc334",
}
NAMES = ("open", "high", "low", "close", "volume")


def digest(*columns: np.ndarray) -> str:
    found = hashlib.sha256()
    for column in columns:
        found.update(np.ascontiguousarray(column).tobytes())
    return found.hexdigest()[:16]


@pytest.mark.parametrize(("name", "symbol", "interval"), [row[:3] for row in BARS])
def test_every_value_of_bars_is_the_recorded_one(name, symbol, interval):
    """Stamps, prices and volumes have the checksum that an independent reading had."""
    bars, _, _ = read_bars(here(name), symbol=symbol, interval=pd.Timedelta(interval))

    columns = [getattr(bars, column) for column in NAMES]
    assert CHECKSUMS[name] == digest(bars.open_time.asi8, *columns)


@pytest.mark.parametrize(("name", "symbol", "interval"), [row[:3] for row in MARKS])
def test_every_value_of_mark_candles_is_the_recorded_one(name, symbol, interval):
    """Stamps and prices."""
    mark, _, _ = read_mark(here(name), symbol=symbol, interval=pd.Timedelta(interval))

    columns = [getattr(mark, column) for column in NAMES[:4]]
    assert CHECKSUMS[name] == digest(mark.open_time.asi8, *columns)


@pytest.mark.parametrize(("name", "symbol"), [row[:2] for row in FUNDING])
def test_every_rate_is_the_recorded_one(name, symbol):
    """Settlement stamps and rates."""
    funding, _, _ = read_funding(here(name), symbol=symbol)

    assert CHECKSUMS[name] == digest(funding.settle_time.asi8, funding.rate)


def test_open_interest_is_read_complete():
    """45,909 hours without a gap, each value as an independent reading has it."""
    series = load_series(here("bybit/ETHUSDT-1h-openinterest.csv.gz"))

    assert "open_interest" == series.kind
    assert 45_909 == series.rows == len(series.ns)
    assert pd.Timestamp("2020-12-01T00").value == series.ns[0]
    assert pd.Timestamp("2026-02-25T20").value == series.ns[-1]
    assert {HOUR.value} == set(np.diff(series.ns).tolist())
    assert "3207bcfcd9893c60" == digest(series.ns, series.values)
    assert () == series.findings


def test_values_are_those_of_the_file():
    """The same bars from CSV, zip and pandas agree to the last bit."""
    one, _, _ = read_bars(here(BARS[6][0]), symbol="ETHUSDT", interval=HOUR)
    two, _, _ = read_bars(here(BARS[7][0]), symbol="ETHUSDT", interval=HOUR)
    plain = pd.read_csv(here(BARS[6][0]))

    for name in ("open", "high", "low", "close", "volume"):
        assert getattr(one, name).tolist() == getattr(two, name).tolist() == plain[name].tolist()


@pytest.mark.parametrize("name", ["predecessor/ETH/ohlcv.csv", "bybit/ETHUSDT-1h-ohlcv.csv.gz"])
def test_no_gap_is_found_where_there_is_none(name):
    """The README calls these complete."""
    _, findings, _ = read_bars(here(name), symbol="ETHUSDT", interval=HOUR)

    assert "D006" not in codes(findings)


# ── what is odd about them ───────────────────────────────────────────────────────────────────────


def test_the_predecessors_zoneless_stamps_are_read_as_utc_with_a_finding():
    """Its datetime column names no zone."""
    _, findings, _ = read_bars(here(BARS[0][0]), symbol="ETHUSDT", interval=HOUR)

    assert "D001" in codes(findings)


def test_five_missing_days_are_refused_filled_or_left():
    """120 bars are missing in two gaps of 72 and 48."""
    path = here("traps/gap-120-bars-XRPUSDT-1h-ohlcv.csv.gz")

    with pytest.raises(DataError, match=r"row 1346: 120 bars are missing in 2 gaps"):
        read_bars(path, symbol="XRPUSDT", interval=HOUR)
    filled, _, _ = read_bars(path, symbol="XRPUSDT", interval=HOUR, gaps="fill")
    left, findings, _ = read_bars(path, symbol="XRPUSDT", interval=HOUR, gaps="drop")

    assert "b10d114fc7b87439" == digest(
        left.open_time.asi8, *(getattr(left, column) for column in NAMES)
    )
    assert 4224 + 120 == len(filled)
    assert 120 == filled.filled.sum()
    assert 4224 == len(left)
    assert [72, 48] == [int(text.split()[0]) for f in findings if f.code == "D006"
                        for text in str(f.observed).split("; ")]  # fmt: skip


def test_local_settlement_hours_are_warned_of():
    """03, 11 and 19 without a zone are 00, 08 and 16 three hours further east."""
    _, findings, _ = read_funding(
        here("traps/utc-plus-3-ETHUSDT-8h-funding.csv.gz"), symbol="ETHUSDT"
    )

    [warned] = [f for f in findings if f.code == "D012" and f.level == "warn"]
    assert "03:00, 11:00, 19:00 UTC" in warned.message


def test_bars_saved_while_forming_are_suspected(monkeypatch):
    """Seven of the eight half-finished bars and no other.

    That of 2026-03-23 14:00 has more volume than those around, and misses the next open by no more
    than whole hours do.
    """
    monkeypatch.setattr(validate, "LISTED", 10)

    _, findings, _ = read_bars(
        here("traps/partial-bars-ETHUSDT-1h-ohlcv.csv"), symbol="ETHUSDT", interval=HOUR
    )

    [suspected] = [f for f in findings if f.code == "D011"]
    assert suspected.message.endswith(": 7")
    assert [
        "2026-03-23 08:00 UTC", "2026-03-24 15:00 UTC", "2026-03-25 07:00 UTC",
        "2026-03-25 08:00 UTC", "2026-03-25 09:00 UTC", "2026-03-25 11:00 UTC",
        "2026-03-25 13:00 UTC",
    ] == str(suspected.observed).split(", ")  # fmt: skip


ODD = {
    "predecessor/ETH/ohlcv.csv": [
        ("low", "2020-03-13 02:00 UTC, 2021-05-19 13:00 UTC; the largest a high of +191.5%"),
        ("volume", "2021-03-02 01:00 UTC; the largest 1/167"),
    ],
    "binance/BTCUSDT-1h-ohlcv.csv.gz": [
        ("low", "2021-07-26 01:00 UTC, 2023-10-16 13:00 UTC; the largest a high of +25.7%"),
        ("open far", "2019-09-08 19:00 UTC; the largest +3.4%"),
        ("volume", "2019-09-08 17:00 UTC, 2019-09-24 19:00 UTC, 2021-03-02 01:00 UTC; "
         "the largest 1/337,697"),
    ],
    "binance/SOLUSDT-1h-ohlcv.csv.gz": [
        ("low", "2020-09-14 07:00 UTC, 2025-10-10 21:00 UTC; the largest a high of +45.8%"),
        ("volume", "2021-03-02 01:00 UTC; the largest 1/271"),
    ],
    "binance/ETHUSDT-15m-ohlcv.csv.gz": [],
    "bybit/ETHUSDT-1h-ohlcv.csv.gz": [("volume", "2026-02-07 16:00 UTC; the largest 177 times")],
}  # fmt: skip


@pytest.mark.parametrize("row", [row for row in BARS if row[0] in ODD], ids=lambda row: row[0])
def test_only_known_oddities_are_outliers_beside_moves(row):
    """Crashes, a false report, the first hours, an outage: nothing else is suspected."""
    name, symbol, interval, *_ = row

    _, findings, _ = read_bars(here(name), symbol=symbol, interval=pd.Timedelta(interval))

    told = [f for f in findings if f.code == "D010" and "close to close" not in f.message]
    assert [bars for _, bars in ODD[name]] == [str(f.observed).rpartition(" at ")[0] for f in told]
    assert all(kind in f.message for (kind, _), f in zip(ODD[name], told, strict=True))


CRYPTODATADOWNLOAD = "raw/cryptodatadownload/Binance_ETHUSDT_1h-2021.csv.gz"


def test_two_versions_of_hours_of_cryptodatadownload_are_refused_until_a_rule_is_named():
    """2,648 hours differ and one is equal; the message names both rows and the two rules."""
    with pytest.raises(
        DataError,
        match=r"row 10128, column 'unix': 2020-08-01 23:00 UTC stands twice .* row 10127; .* in "
        r"all: 2,648\).* market\.duplicates \(--duplicates\) to first or last",
    ):
        read_bars(here(CRYPTODATADOWNLOAD), symbol="ETHUSDT", interval=HOUR)


@pytest.mark.parametrize(
    ("policy", "checksum"), [("first", "1438ed7b6c2bbddc"), ("last", "02d84dd040865a7f")]
)
def test_cryptodatadownload_is_read_by_the_rule_to_the_last_bit(policy, checksum):
    """33,413 hours with the values that pandas alone finds, and the rows dropped are counted."""
    bars, findings, source = read_bars(
        here(CRYPTODATADOWNLOAD), symbol="ETHUSDT", interval=HOUR, gaps="drop", duplicates=policy
    )

    assert (36_062, 33_413) == (source.rows, len(bars))
    assert pd.Timestamp("2017-08-17T04", tz="UTC") == bars.open_time[0]
    assert pd.Timestamp("2021-06-10T00", tz="UTC") == bars.open_time[-1]
    columns = [getattr(bars, column) for column in NAMES]
    assert checksum == digest(bars.open_time.asi8, *columns)
    equal, unlike = [finding for finding in findings if finding.code == "D003"]
    assert equal.message.endswith("to the last digit: 1")
    assert unlike.message.endswith(f"differs: 2,648; the {policy} in the file was kept")


def test_the_first_version_of_cryptodatadownloads_hours_is_the_observed_one():
    """In the last one opens are made up: each is the close before, and one bar still formed."""
    first, last = (
        read_bars(
            here(CRYPTODATADOWNLOAD), symbol="ETHUSDT", interval=HOUR, gaps="drop", duplicates=rule,
            since="2020-08-01T23:00Z", until="2020-11-20T08:00Z",
        )[0]
        for rule in ("first", "last")
    )  # fmt: skip

    assert 2_649 == len(first) == len(last)
    assert 2_648 == (last.open[1:] == last.close[:-1]).sum()
    assert 902 == (first.open[1:] == first.close[:-1]).sum()
    assert (140_034.26143, 110_208.6) == (first.volume[-1], last.volume[-1])


def test_mixed_units_and_two_volumes_of_cryptodatadownload_are_read():
    """Milliseconds and seconds stand side by side; the volume is the one in coins."""
    path = here(CRYPTODATADOWNLOAD)

    bars, findings, _ = read_bars(
        path, symbol="ETHUSDT", interval=HOUR, since="2020-12-25", gaps="drop"
    )

    assert {"D002", "D004"} <= codes(findings)
    assert 3e4 < np.median(bars.volume) < 1e5  # ETH, not dollars


def test_sols_short_intervals_are_found():
    """Every 2 h and 4 h between 2022-11-09 20:00 and 2022-11-18 08:00, every 8 h else."""
    funding, findings, _ = read_funding(here("binance/SOLUSDT-8h-funding.csv.gz"), symbol="SOLUSDT")

    hours = settlement_intervals(funding.settle_time) // HOUR.as_unit("ns").value
    short = funding.settle_time[hours < 8]

    assert pd.Timestamp("2022-11-09T20:00Z") == short[0]
    assert pd.Timestamp("2022-11-18T08:00Z") == short[-1]
    assert {2, 4, 8} == set(hours)
    [changes] = [f for f in findings if f.code == "D012"]
    assert "8 h to 4 h at 2022-11-09 20:00 UTC" in str(changes.observed)


@pytest.mark.parametrize(("name", "symbol", "rows"), [row[:3] for row in FUNDING if row[2] > 90])
@pytest.mark.parametrize("factor", [100, 10_000])
def test_real_rates_on_another_scale_are_refused(tmp_path, name, symbol, rows, factor):
    """Whatever the file, its rates in percent or basis points do not pass for fractions."""
    funding, _, _ = read_funding(here(name), symbol=symbol)
    pd.DataFrame({"timestamp": funding.settle_time, "rate": funding.rate * factor}).to_csv(
        tmp_path / "f.csv", index=False
    )

    with pytest.raises(DataError, match="column 'rate'"):
        read_funding(tmp_path / "f.csv", symbol=symbol)


# ── together ─────────────────────────────────────────────────────────────────────────────────────


def section(ohlcv: str, funding: str, **more: object) -> MarketSection:
    files = {"ohlcv": str(here(ohlcv)), "funding": str(here(funding))}
    return MarketSection.model_validate({"symbol": "ETHUSDT", **files, **more})


def test_the_predecessors_two_files_are_refused_with_their_coverage():
    """200 records against 51,980 bars: 3.1 %, one API page."""
    pair = section("predecessor/ETH/ohlcv.csv", "predecessor/ETH/funding_rates.csv")

    with pytest.raises(DataError, match=r"only 3\.1 % of the bars .* one page of an exchange"):
        load_market(pair, seed=0)
    market = load_market(pair.model_copy(update={"missing_funding": "drop_features"}), seed=0)

    [venue] = [finding for finding in market.findings if finding.code == "D016"]
    assert "Bybit's bars open where the last one closed" in venue.message
    coverage = funding_coverage(market.bars, market.funding)
    assert pytest.approx(1600 / 51_980, abs=1e-12) == coverage.share
    assert 200 == len(market.funding)


def test_zero_rates_complete_the_predecessors_funding():
    """6,297 assumed settlements beside the 200 known make one every 8 h."""
    market = load_market(
        section(
            "predecessor/ETH/ohlcv.csv", "predecessor/ETH/funding_rates.csv", missing_funding="zero"
        ),
        seed=0,
    )

    assert 6_297 == market.funding.assumed.sum()
    assert {pd.Timedelta("8h")} == set(np.diff(market.funding.settle_time))


def test_binances_own_funding_covers_the_predecessors_bars():
    """Every one of the 51,980 bars."""
    market = load_market(
        section("predecessor/ETH/ohlcv.csv", "binance/ETHUSDT-8h-funding.csv.gz"), seed=0
    )

    assert 1.0 == funding_coverage(market.bars, market.funding).share
    assert market.funding_features


def test_bars_mark_and_funding_of_one_venue_fit():
    """Mark starts a month after the bars: trade prices stand in, and a finding counts them."""
    market = load_market(
        section(
            "binance/ETHUSDT-1h-ohlcv.csv.gz",
            "binance/ETHUSDT-8h-funding.csv.gz",
            mark=str(here("binance/ETHUSDT-1h-mark.csv.gz")),
        ),
        seed=0,
    )

    assert 56_713 == len(market.bars) == len(market.mark)
    assert 629 == market.mark.filled.sum()
    [finding] = [f for f in market.findings if f.code == "A002"]
    assert "warn" == finding.level


@pytest.mark.parametrize("kind", ["funding", "mark"])
def test_bitcoins_files_beside_ether_bars_are_refused(kind):
    """Their mark prices give them away."""
    other = {
        "funding": "binance/BTCUSDT-8h-funding.csv.gz",
        "mark": "binance/BTCUSDT-1h-mark.csv.gz",
    }
    files = {"ohlcv": str(here("predecessor/ETH/ohlcv.csv")), kind: str(here(other[kind]))}

    with pytest.raises(DataError, match="belongs to another symbol"):
        load_market(MarketSection.model_validate({"symbol": "ETHUSDT", **files}), seed=0)


# ── does funding follow the premium ──────────────────────────────────────────────────────────────

DOUBTS = {"D012", "D016", "D023"}


def doubted(findings: tuple) -> list[str]:
    return [f.code for f in findings if f.code in DOUBTS and f.level == "warn"]


@cache
def premium_of(symbol: str) -> Premium:
    """Read hours and marks of Binance and return how far trades stood above the mark."""
    bars, _, _ = read_bars(here(f"binance/{symbol}-1h-ohlcv.csv.gz"), symbol=symbol, interval=HOUR)
    mark, _, _ = read_mark(here(f"binance/{symbol}-1h-mark.csv.gz"), symbol=symbol, interval=HOUR)
    _, at, of = np.intersect1d(bars.open_time, mark.open_time, return_indices=True)
    return Premium.of(bars.close_time.asi8, HOUR.as_unit("ns").value, bars, at, mark, of)


@cache
def binance(symbol: str) -> FundingFrame:
    return read_funding(here(f"binance/{symbol}-8h-funding.csv.gz"), symbol=symbol)[0]


def follows(symbol: str, rates: FundingFrame) -> list[tuple[str, str]]:
    found = follows_premium("funding", rates, premium_of(symbol))
    return [(f.code, str(f.level)) for f in found]


@pytest.mark.parametrize("symbol", ["ETHUSDT", "BTCUSDT"])
def test_real_rates_are_not_accused_in_any_year_and_a_turned_sign_is(symbol):
    """The whole file and each 500 settlements of it; of eight years turned, sign and no clock."""
    rates = binance(symbol)

    assert [("D016", "info")] == follows(symbol, rates)
    turned = replace(rates, rate=frozen_array(-rates.rate))
    assert [("D016", "warn")] == follows(symbol, turned)
    parts = [rates.rows(first, first + 500) for first in range(0, len(rates) - 500, 250)]
    assert {("D016", "info")} == {told for part in parts for told in follows(symbol, part)}


@pytest.mark.parametrize("hours", [8, -8, 16, 24])
def test_a_shift_of_real_settlements_by_whole_intervals_is_found(hours):
    """Local time of Beijing, UTC+8, leaves 00:00, 08:00 and 16:00 where they are."""
    rates = binance("ETHUSDT")
    moved = replace(rates, settle_time=rates.settle_time + hours * HOUR)

    assert [("D016", "info"), ("D023", "warn")] == follows("ETHUSDT", moved)


def test_rates_that_bybit_fixed_an_interval_ahead_are_understood():
    """Until 2022 its rates fit the premium of the interval before; since then that of their own."""
    rates, _, _ = read_funding(here("bybit/ETHUSDT-8h-funding.csv.gz"), symbol="ETHUSDT")
    early, since = rates.rows(0, 1000), rates.rows(2500, len(rates))

    def clock(part: FundingFrame, venues: set[str]) -> list[str]:
        found = follows_premium("funding", part, premium_of("ETHUSDT"), venues)
        return [str(f.level) for f in found if f.code == "D023"]

    assert ["info"] == clock(early, {"bybit"})
    assert [] == clock(since, set())


@pytest.mark.parametrize("mark", [True, False])
def test_a_run_doubts_real_rates_only_where_sign_or_clock_are_wrong(tmp_path, mark):
    """As they are; all negated; an hour late, without marks of their own."""
    files = {"mark": str(here("binance/ETHUSDT-1h-mark.csv.gz"))} if mark else {}
    bars, name = "binance/ETHUSDT-1h-ohlcv.csv.gz", "binance/ETHUSDT-8h-funding.csv.gz"
    asked = section(bars, name, **files)
    table = pd.read_csv(here(name))
    folder = tmp_path / "binance"
    folder.mkdir()
    table.assign(funding_rate=-table["funding_rate"]).to_csv(folder / "turned.csv", index=False)
    late = pd.to_datetime(table["timestamp"], utc=True) + HOUR
    late = table.drop(columns="mark_price").assign(timestamp=late)
    late.to_csv(folder / "late.csv", index=False)

    found = [
        doubted(load_market(asked.model_copy(update={"funding": path}), seed=0).findings)
        for path in (asked.funding, str(folder / "turned.csv"), str(folder / "late.csv"))
    ]

    assert [[], ["D012", "D016"], ["D012"]] == found


@pytest.mark.parametrize(("name", "symbol"), [row[:2] for row in FUNDING if "trap" not in row[0]])
def test_no_real_file_of_rates_is_doubted_by_itself(name, symbol):
    """Neither the sign of its base rate nor the hours of its settlements."""
    assert [] == doubted(read_funding(here(name), symbol=symbol)[1])
