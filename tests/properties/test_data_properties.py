"""Whatever a file holds: it is read right or refused with a reason, never misread."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perpwalk.data import (
    apply_missing_funding,
    funding_coverage,
    read_bars,
    read_funding,
    settlement_intervals,
)
from perpwalk.domain import BarFrame, FundingFrame, Market
from perpwalk.errors import DataError

HOUR = pd.Timedelta("1h")
START = pd.Timestamp("2024-01-01T00:00:00Z")
quick = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def table(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(9)
    close = np.round(100 * np.exp(np.cumsum(0.01 * rng.standard_normal(n))), 2)
    first = np.concatenate(([100.0], close[:-1]))
    return pd.DataFrame(
        {
            "timestamp": pd.date_range(START, periods=n, freq="h").strftime("%Y-%m-%dT%H:%M:%SZ"),
            "open": first,
            "high": np.maximum(first, close) + 0.5,
            "low": np.minimum(first, close) - 0.25,
            "close": close,
            "volume": np.round(rng.random(n) * 100, 3),
        }
    )


def read(path: Path, text: bytes) -> BarFrame | None:
    """Return the bars, or None where the file was refused."""
    path.write_bytes(text)
    try:
        return read_bars(path, symbol="ETHUSDT", interval=HOUR)[0]
    except DataError as error:
        if str(path) not in str(error):
            raise AssertionError("the message does not name the file") from error
        return None


def assert_sound(bars: BarFrame) -> None:
    prices = np.array([bars.open, bars.high, bars.low, bars.close])
    assert np.isfinite(prices).all()
    assert (prices[2] > 0).all()
    assert (bars.high >= prices.max(axis=0)).all()
    assert (bars.low <= prices.min(axis=0)).all()
    assert (bars.volume >= 0).all()
    assert {HOUR} >= set(np.diff(bars.open_time))


hostile = st.sampled_from(
    ["", "nan", "inf", "-1", "0", "1e400", "x", "1,5", '"', "99999999999999999999", "2024-01-01",
     "-inf", "1e-320", "1_0", "0x10", "１", " 7 ", "NULL", "True", ";", "\x0b"]
)  # fmt: skip


@quick
@given(row=st.integers(0, 39), column=st.integers(0, 5), value=hostile)
def test_a_hostile_cell_is_refused_or_read_as_sound_bars(tmp_path, row, column, value):
    """One cell of any content leads to checked bars or to an error that names the file."""
    frame = table().astype(object)
    frame.iloc[row, column] = value

    bars = read(tmp_path / "x.csv", frame.to_csv(index=False).encode())

    if bars is not None:
        assert_sound(bars)


@quick
@given(cut=st.integers(0, 2500), extra=st.binary(max_size=12), at=st.integers(0, 2500))
def test_a_cut_or_damaged_file_is_refused_or_read_as_sound_bars(tmp_path, cut, extra, at):
    """Bytes lost at the end and strange ones in the middle never raise anything else."""
    text = table().to_csv(index=False).encode()[:cut]

    bars = read(tmp_path / "x.csv", text[:at] + extra + text[at:])

    if bars is not None:
        assert_sound(bars)


@quick
@given(st.binary(max_size=300))
def test_noise_is_refused(tmp_path, noise):
    """Bytes of no meaning are never bars."""
    assert read(tmp_path / "x.csv", noise) is None


@quick
@given(order=st.permutations(range(8)))
def test_shuffled_rows_are_refused_unless_wholly_reversed(tmp_path, order):
    """Only ascending and descending files are read, both to the same bars."""
    frame = table(8)
    bars = read(tmp_path / "x.csv", frame.iloc[list(order)].to_csv(index=False).encode())

    in_order = list(order) in ([*range(8)], [*range(8)][::-1])
    assert in_order == (bars is not None)
    if bars is not None:
        assert frame["close"].tolist() == bars.close.tolist()


@quick
@given(columns=st.permutations(["timestamp", "open", "high", "low", "close", "volume"]))
def test_the_order_of_named_columns_does_not_matter(tmp_path, columns):
    """Names decide, not places."""
    bars = read(tmp_path / "x.csv", table()[columns].to_csv(index=False).encode())

    assert bars is not None
    assert table()["low"].tolist() == bars.low.tolist()


@quick
@given(
    unit=st.sampled_from([1, 10**3, 10**6, 10**9]), first=st.integers(1_230_768_000, 4_102_000_000)
)
def test_every_epoch_between_2009_and_2100_is_read_in_its_unit(tmp_path, unit, first):
    """Seconds to nanoseconds cannot be taken for each other."""
    first -= first % 3600 - 3600
    frame = table(5)
    frame["timestamp"] = [(first + 3600 * i) * unit for i in range(5)]

    bars = read(tmp_path / "x.csv", frame.to_csv(index=False).encode())

    assert bars is not None
    assert pd.Timestamp(first, unit="s", tz="UTC") == bars.open_time[0]


@quick
@given(gone=st.sets(st.integers(1, 38), min_size=1, max_size=20))
def test_filling_restores_the_grid_and_keeps_every_real_bar(tmp_path, gone):
    """Filled bars stand where bars are missing, real ones are untouched."""
    frame = table()
    path = tmp_path / "x.csv"
    frame.drop(index=list(gone)).to_csv(path, index=False)

    bars, findings, _ = read_bars(path, symbol="ETHUSDT", interval=HOUR, gaps="fill")

    assert_sound(bars)
    assert sorted(gone) == np.flatnonzero(bars.filled).tolist()
    assert frame["close"].drop(index=list(gone)).tolist() == bars.close[~bars.filled].tolist()
    assert any(f.code == "D006" for f in findings)


# ── funding ──────────────────────────────────────────────────────────────────────────────────────


def funding_at(hours: list[int]) -> FundingFrame:
    stamps = START + pd.to_timedelta(np.asarray(hours, dtype="int64"), unit="h")
    return FundingFrame.of(pd.DatetimeIndex(stamps), [1e-4] * len(hours), symbol="ETHUSDT")


def bars(n: int) -> BarFrame:
    index = pd.date_range(START, periods=n, freq="h")
    frame = pd.DataFrame(
        dict.fromkeys(["open", "high", "low", "close", "volume"], 1.0), index=index
    )
    return BarFrame.of(frame, symbol="ETHUSDT", interval=HOUR)


@quick
@given(gone=st.sets(st.integers(0, 59), max_size=25), n=st.integers(1, 480))
def test_each_missing_settlement_costs_its_eight_bars(gone, n):
    """However settlements are lost, coverage is what counting by hand gives."""
    kept = [8 * (i + 1) for i in range(60) if i not in gone]

    coverage = funding_coverage(bars(n), funding_at(kept))

    by_hand = sum((hour // 8 + 1) * 8 in kept for hour in range(n))
    pending = 0
    if n % 8 and (n // 8) * 8 in kept and (n // 8 + 1) * 8 not in kept and kept[-1] < n:
        pending = n % 8  # nothing has come due yet
    assert by_hand + pending == coverage.covered_bars


@quick
@given(gone=st.sets(st.integers(0, 59), max_size=59), n=st.integers(9, 480))
def test_zero_leaves_no_settlement_out_and_makes_none_twice(gone, n):
    """Known and assumed records together stand every 8 h."""
    kept = [8 * (i + 1) for i in range(60) if i not in gone]
    market = Market(bars=bars(n), funding=funding_at(kept))

    whole = apply_missing_funding(market, "zero").funding

    hours = ((whole.settle_time - START) // HOUR).to_numpy()
    assert [*range(8, n + 1, 8)] == hours[hours <= n].tolist()
    assert kept == hours[~whole.assumed].tolist()


@quick
@given(st.lists(st.integers(1, 2000), min_size=1, max_size=60))
def test_an_interval_is_never_longer_than_the_spacing_before_it(spacings):
    """Intervals of different settlements never overlap, and none exceeds a day."""
    stamps = pd.DatetimeIndex(START + pd.to_timedelta(np.cumsum([0, *spacings]), unit="h"))

    hours = settlement_intervals(stamps) // HOUR.as_unit("ns").value

    assert (hours[1:] <= spacings).all()
    assert (hours > 0).all()
    assert (hours[1:] <= 24).all()


@quick
@given(
    jitter=st.lists(st.integers(-59_000, 59_000), min_size=6, max_size=6),
    fmt=st.sampled_from(["ms", "iso"]),
)
def test_jitter_of_less_than_a_minute_does_not_move_a_settlement(tmp_path, jitter, fmt):
    """Every stamp ends up on its own hour."""
    times = [START + 8 * i * HOUR + pd.Timedelta(ms, "ms") for i, ms in enumerate(jitter)]
    stamps = times if fmt == "iso" else [t.value // 10**6 for t in times]
    out = io.StringIO()
    pd.DataFrame({"timestamp": stamps, "funding_rate": [1e-4] * 6}).to_csv(out, index=False)
    (tmp_path / "f.csv").write_text(out.getvalue())

    funding, _, _ = read_funding(tmp_path / "f.csv", symbol="ETHUSDT")

    assert [START + 8 * i * HOUR for i in range(6)] == funding.settle_time.tolist()


def test_an_hourly_grid_of_another_minute_is_kept(tmp_path):
    """Bars that open at half past are regular too."""
    frame = table()
    frame["timestamp"] = frame["timestamp"].str.replace(":00:00Z", ":30:00Z")

    bars_read = read(tmp_path / "x.csv", frame.to_csv(index=False).encode())

    assert bars_read is not None
    assert pytest.approx(30) == bars_read.open_time[0].minute
