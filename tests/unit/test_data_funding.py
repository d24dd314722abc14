"""Funding in: stamps on their settlement, rates on the right scale, coverage measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perpwalk.data import (
    apply_missing_funding,
    funding_coverage,
    read_funding,
    settlement_intervals,
)
from perpwalk.domain import BarFrame, DataSource, FundingFrame, Market
from perpwalk.errors import DataError

HOUR = pd.Timedelta("1h")
START = pd.Timestamp("2024-01-01T00:00:00Z")


def rates(n: int) -> np.ndarray:
    """Return n plausible rates, a third of them the base rate."""
    rng = np.random.default_rng(11)
    return np.where(np.arange(n) % 3 == 0, 1e-4, np.round(2e-4 * rng.standard_normal(n), 8))


def write(tmp_path: Path, rate: np.ndarray, stamps: list | None = None, **columns: object) -> Path:
    times = [START + i * 8 * HOUR for i in range(len(rate))] if stamps is None else stamps
    frame = pd.DataFrame({"timestamp": times, "funding_rate": rate, **columns})
    frame.to_csv(tmp_path / "funding.csv", index=False)
    return tmp_path / "funding.csv"


def read(tmp_path: Path, *args: object, **columns: object) -> FundingFrame:
    return read_funding(write(tmp_path, *args, **columns), symbol="ETHUSDT")[0]


# ── stamps ───────────────────────────────────────────────────────────────────────────────────────


def test_late_stamps_are_put_on_their_settlement(tmp_path):
    """Milliseconds and seconds around the hour belong to it; the finding counts them."""
    jitter = pd.to_timedelta([0, 7, -3, 45_000], unit="ms")
    stamps = [START + i * 8 * HOUR + jitter[i] for i in range(4)]

    funding, findings, source = read_funding(write(tmp_path, rates(4), stamps), symbol="ETHUSDT")

    assert [START + i * 8 * HOUR for i in range(4)] == funding.settle_time.tolist()
    [moved] = [f for f in findings if f.code == "D012"]
    assert moved.message.startswith("3 stamps")
    assert "by at most 45 s" == moved.observed
    assert "2024-01-02T00:00:00Z" == source.last


def test_two_stamps_of_one_settlement_are_a_repeat(tmp_path):
    """16:00:00.000 and 16:00:00.007 are one settlement, which cannot pay twice."""
    stamps = [START, START + 8 * HOUR, START + 8 * HOUR + pd.Timedelta("7ms")]

    with pytest.raises(DataError, match=r"row 4, column 'timestamp'.*stands twice"):
        read(tmp_path, rates(3), stamps)


def test_settlements_at_local_hours_without_a_zone_are_warned_of(tmp_path):
    """03:00, 11:00 and 19:00 without a zone are probably 00:00, 08:00 and 16:00 elsewhere."""
    stamps = [f"2024-01-{1 + i // 3:02d} {3 + 8 * (i % 3):02d}:00:00" for i in range(30)]

    _, findings, _ = read_funding(write(tmp_path, rates(30), stamps), symbol="ETHUSDT")

    [warned] = [f for f in findings if f.code == "D012"]
    assert "warn" == warned.level
    assert "most settlements stand at 03:00, 11:00, 19:00 UTC" == warned.message


@pytest.mark.parametrize(("first", "level"), [(1, "warn"), (3, "warn"), (7, "warn"), (4, "info")])
def test_settlements_off_the_schedules_phase_are_told_with_a_zone_too(tmp_path, first, level):
    """A zone does not make 01:00 a settlement; 04:00, 12:00 and 20:00 are those of BitMEX."""
    stamps = [START + (first + 8 * i) * HOUR for i in range(30)]

    _, findings, _ = read_funding(write(tmp_path, rates(30), stamps), symbol="ETHUSDT")

    [(found, about)] = [(f.level, f.message) for f in findings if f.code == "D012"]
    assert level == found
    assert f"most settlements stand at {first:02d}:00" in about


def test_a_summer_off_the_schedules_phase_is_told(tmp_path):
    """Clocks that went forward for a part of the file: these records alone are counted."""
    stamps = [START + (8 * i + (100 <= i < 130)) * HOUR for i in range(200)]

    _, findings, _ = read_funding(write(tmp_path, rates(200), stamps), symbol="ETHUSDT")

    [off] = [f for f in findings if "settlements stand at" in f.message]
    assert "warn" == off.level
    assert off.message.startswith("30 of 200")


def test_settlements_on_the_usual_hours_are_not_remarked_on(tmp_path):
    """Nothing is said of a plain file."""
    assert () == read_funding(write(tmp_path, rates(30)), symbol="ETHUSDT")[1]


# ── rates ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("factor", [100, 10_000, 2e7])
@pytest.mark.parametrize("base", [True, False])
def test_rates_on_another_scale_are_refused(tmp_path, factor, base):
    """Percent, basis points and prices in place of fractions name row and column."""
    rate = rates(200) if base else np.where(rates(200) == 1e-4, 9e-5, rates(200))

    with pytest.raises(DataError, match=r"row \d+, column 'funding_rate': .*"):
        read(tmp_path, factor * rate)


def test_calm_rates_in_percent_are_known_by_their_base_rate(tmp_path):
    """No rate is large, but 0.01 again and again is 0.01 % written in percent."""
    calm = np.where(np.arange(90) % 6 == 0, 0.01, 0.001)

    with pytest.raises(DataError, match=r"row 2, .* 17% of the rows: .* written in percent"):
        read(tmp_path, calm)


def test_rates_that_are_large_at_every_settlement_are_refused(tmp_path):
    """No rate is above 3 % and none is a base rate, but half of them above 0.5 % never happens."""
    with pytest.raises(DataError, match=r"row 2, .*half of all rates are above 0\.006"):
        read(tmp_path, np.full(50, 0.006))


@pytest.mark.parametrize(("hours", "base"), [(8, 1e-4), (4, 5e-5), (1, 1.25e-5), (4, 1e-4)])
def test_a_turned_sign_is_known_by_the_base_rate(tmp_path, hours, base):
    """Longs pay 0.01 % per 8 h in calm times, whole or in shares; never do they receive it."""
    rate = np.where(rates(60) == 1e-4, base, rates(60))
    stamps = [START + i * hours * HOUR for i in range(60)]

    def turned(sign: int) -> list[str]:
        _, findings, _ = read_funding(write(tmp_path, sign * rate, stamps), symbol="ETHUSDT")
        return [f.level for f in findings if "sign" in f.message]

    assert ["warn"] == turned(-1)
    assert [] == turned(1)


def test_a_few_rates_of_exactly_minus_one_basis_point_are_rates_like_others(tmp_path):
    """Below one in twenty, or beside more of the usual base rate, no sign is doubted."""
    few, beside = rates(90), rates(90)
    few[few == 1e-4] = 2e-4
    few[:4] = -1e-4
    beside[[1, 4, 7, 10, 13, 16]] = -1e-4

    for rate in (few, beside):
        assert () == read_funding(write(tmp_path, rate), symbol="ETHUSDT")[1]


def test_one_settlement_of_one_percent_is_a_rate_like_another(tmp_path):
    """A wild day with a capped rate is no scale error."""
    rate = rates(100)
    rate[40:43] = -0.01

    assert -0.01 == read(tmp_path, rate).rate[41]


@pytest.mark.parametrize(
    ("value", "complaint"),
    [(0.0301, "above 3% per settlement"), (np.nan, "is empty"), (np.inf, "not a finite number")],
)
def test_an_impossible_rate_is_named(tmp_path, value, complaint):
    """The eighth line is at fault."""
    rate = rates(30)
    rate[6] = value

    with pytest.raises(DataError, match=rf"row 8, column 'funding_rate': .*{complaint}"):
        read(tmp_path, rate)


def test_rates_divided_by_a_hundred_are_warned_of(tmp_path):
    """All of them tiny is odd, not impossible."""
    _, findings, _ = read_funding(write(tmp_path, rates(60) / 100), symbol="ETHUSDT")

    assert ["D012"] == [f.code for f in findings]
    assert "implausibly small" in findings[0].message


def test_candles_are_not_funding(tmp_path):
    """A price file in place of the funding file is recognised."""
    pd.DataFrame(
        {"date": [START], "open": [9.0], "high": [9.0], "low": [9.0], "close": [9.0], "volume": [1]}
    ).to_feather(tmp_path / "candles.feather")

    with pytest.raises(DataError, match="looks like candles"):
        read_funding(tmp_path / "candles.feather", symbol="ETHUSDT")


def test_funding_of_another_symbol_is_refused_by_its_symbol_column(tmp_path):
    """BTC's rates are not ETH's."""
    with pytest.raises(DataError, match="belongs to 'BTCUSDT'"):
        read(tmp_path, rates(5), symbol="BTCUSDT")


def test_unknown_mark_prices_are_nan(tmp_path):
    """An empty cell and a zero mean unknown; a negative price is an error."""
    funding = read(tmp_path, rates(3), mark_price=[100.0, np.nan, 0.0])
    assert [True, False, False] == np.isfinite(funding.mark_price).tolist()

    with pytest.raises(DataError, match="row 3, column 'mark_price'"):
        read(tmp_path, rates(3), mark_price=[100.0, -1.0, 100.0])


# ── intervals ────────────────────────────────────────────────────────────────────────────────────


def hours_of(spacings: list[int]) -> list[int]:
    stamps = START + pd.to_timedelta(np.cumsum([0, *spacings]), unit="h")
    return (settlement_intervals(pd.DatetimeIndex(stamps)) // HOUR.as_unit("ns").value).tolist()


@pytest.mark.parametrize(
    ("spacings", "expected"),
    [
        ([8, 8, 8], [8, 8, 8, 8]),
        ([8, 8, 24, 8, 8], [8, 8, 8, 8, 8, 8]),
        ([8, 8, 24, 16, 8, 8], [8] * 7),
        ([8, 8, 4, 2, 2, 2, 8, 8], [8, 8, 8, 4, 2, 2, 2, 8, 8]),
        ([2, 2, 4, 2, 2], [2, 2, 2, 2, 2, 2]),
        ([1, 1, 1, 1, 5, 1, 1], [1] * 8),
        ([4, 4, 400, 4, 4], [4] * 6),
        ([400], [8, 8]),
        ([], [8]),
    ],
)
def test_a_gap_is_no_long_interval(spacings, expected):
    """Real changes of the interval are kept, gaps take the length around them."""
    assert expected == hours_of(spacings)


# ── coverage ─────────────────────────────────────────────────────────────────────────────────────


def bars(n: int, interval: pd.Timedelta = HOUR) -> BarFrame:
    index = pd.date_range(START, periods=n, freq=interval)
    frame = pd.DataFrame(
        {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}, index=index
    )
    return BarFrame.of(frame, symbol="ETHUSDT", interval=interval)


def funding_at(hours: list[int], rate: float = 1e-4) -> FundingFrame:
    stamps = START + pd.to_timedelta(np.asarray(hours, dtype="int64"), unit="h")
    return FundingFrame.of(pd.DatetimeIndex(stamps), [rate] * len(hours), symbol="ETHUSDT")


@pytest.mark.parametrize(
    ("n", "hours", "covered"),
    [
        (48, [8, 16, 24, 32, 40, 48], 48),
        (48, [16, 24], 16),
        (48, [8, 16, 40, 48], 32),
        (50, [8, 16, 24, 32, 40, 48], 50),  # the next settlement is yet to come
        (56, [8, 16, 24, 32, 40, 48], 48),  # the last one is missing
        (48, [], 0),
        (48, [800, 808], 0),
        (24, [2, 4, 6, 8, 16, 24], 24),
    ],
)
def test_a_settlement_covers_the_interval_that_ends_at_it(n, hours, covered):
    """Bars wholly inside intervals on file are counted."""
    coverage = funding_coverage(bars(n), funding_at(hours))

    assert covered == coverage.covered_bars
    assert covered / n == coverage.share


def test_missing_spans_are_listed():
    """The middle day lacks its settlements."""
    coverage = funding_coverage(bars(48), funding_at([8, 16, 40, 48]))

    assert ((START + 16 * HOUR, START + 32 * HOUR),) == coverage.missing_spans
    assert 8 * HOUR == coverage.interval


def test_a_day_bar_is_covered_only_by_all_its_settlements():
    """One of three settlements missing uncovers the day."""
    coverage = funding_coverage(
        bars(3, pd.Timedelta("1D")), funding_at([8, 16, 24, 32, 48, 56, 64, 72])
    )

    assert 2 == coverage.covered_bars


def test_the_predecessors_coverage():
    """200 stamps of 8 h against 51,980 hourly bars are 3.1 % (case funding_coverage)."""
    coverage = funding_coverage(bars(51_980), funding_at(list(range(50_000, 51_600, 8))))

    assert pytest.approx(0.030781069642170065, abs=1e-9) == coverage.share


# ── the policy ───────────────────────────────────────────────────────────────────────────────────


def market(n: int, hours: list[int]) -> Market:
    source = DataSource(
        kind="funding", path="/x/funding.csv", file_format="csv", rows=1, first="", last="",
        sha256="",
    )  # fmt: skip
    return Market(bars=bars(n), funding=funding_at(hours), sources=(source,))


def test_too_little_funding_is_refused_with_share_range_and_ways_out():
    """The message says what to do, and suspects the API page."""
    short = market(51_980, list(range(50_000, 51_600, 8)))

    with pytest.raises(DataError) as caught:
        apply_missing_funding(short, "error")

    for words in (
        "/x/funding.csv",
        "3.1 %",
        "200 records from 2029-09-14 08:00 to 2029-11-19 16:00",
        "one page of an exchange's API",
        "'zero'",
        "'drop_features'",
        "whole history",
    ):
        assert words in str(caught.value)


def test_other_counts_are_not_called_an_api_page():
    """201 records are just few."""
    with pytest.raises(DataError) as caught:
        apply_missing_funding(market(51_980, list(range(50_000, 51_608, 8))), "error")

    assert "API" not in str(caught.value)


def test_no_funding_file_is_no_funding():
    """Without a file the share is 0 and the same policies apply."""
    bare = Market(bars=bars(48), funding=FundingFrame.empty("ETHUSDT"))

    with pytest.raises(DataError, match="no funding rates for the 48 bars"):
        apply_missing_funding(bare, "error")
    zeros = apply_missing_funding(bare, "zero").funding
    assert [8, 16, 24, 32, 40, 48] == ((zeros.settle_time - START) // HOUR).tolist()
    assert zeros.assumed.all()
    assert not apply_missing_funding(bare, "drop_features").funding_features


@pytest.mark.parametrize(
    ("missing", "level"), [(0, "info"), (7, "info"), (20, "warn"), (40, "warn")]
)
def test_a_little_missing_is_only_reported(missing, level):
    """From 99 % on an info, from 95 % on a warning."""
    hours = list(range(8, 8001, 8))
    del hours[100 : 100 + missing]

    judged = apply_missing_funding(market(8000, hours), "error")

    assert [("D013", level)] == [(f.code, f.level) for f in judged.findings]
    assert judged.funding_features
    assert len(hours) == len(judged.funding)


def test_zero_puts_assumed_records_where_settlements_are_missing():
    """Known rates stay; made-up ones are 0, marked, on the rhythm of the known ones."""
    judged = apply_missing_funding(market(100, [16, 24, 48, 56]), "zero")

    hours = ((judged.funding.settle_time - START) // HOUR).tolist()
    assert [8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96] == hours
    made_up = [h for h, a in zip(hours, judged.funding.assumed, strict=True) if a]
    assert [8, 32, 40, 64, 72, 80, 88, 96] == made_up
    assert {0.0} == set(judged.funding.rate[judged.funding.assumed])
    assert {1e-4} == set(judged.funding.rate[~judged.funding.assumed])
    [finding] = judged.findings
    assert ("D013", "warn") == (finding.code, finding.level)
    assert "32.0 % of the bars (32 of 100)" in finding.message


def test_assumed_records_do_not_raise_the_coverage():
    """What was made up stays missing."""
    judged = apply_missing_funding(market(100, [16, 24, 48, 56]), "zero")

    assert 0.32 == funding_coverage(judged.bars, judged.funding).share


def test_drop_features_keeps_the_known_settlements():
    """They are still charged; features are forbidden and a warning says so."""
    judged = apply_missing_funding(market(100, [16, 24]), "drop_features")

    assert not judged.funding_features
    assert 2 == len(judged.funding)
    assert ["warn"] == [f.level for f in judged.findings]


def test_full_coverage_keeps_features_under_every_policy():
    """A policy for missing funding does nothing where none is missing."""
    for policy in ("error", "zero", "drop_features"):
        judged = apply_missing_funding(market(48, [8, 16, 24, 32, 40, 48]), policy)
        assert judged.funding_features
        assert not judged.funding.assumed.any()
        assert "100.0 % of the bars (48 of 48)" in judged.findings[0].message
