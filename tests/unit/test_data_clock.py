"""Marks that belong to other bars than their stamps say are found; those on time are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpwalk.data.clock import FEWEST, REACH, clock_skew
from perpwalk.domain import BarFrame, Level, to_ns


def bars(count: int = 2000) -> BarFrame:
    rng = np.random.default_rng(11)
    close = 2000 * np.exp(np.cumsum(rng.normal(0, 0.006, count)))
    table = pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": 1.0},
        index=pd.date_range("2024-01-01", periods=count, freq="h", tz="UTC"),
    )
    return BarFrame.of(table, symbol="ETHUSDT", interval=pd.Timedelta("1h"))


def marks(of: BarFrame, every: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Return settlement stamps and marks a few basis points off the closes at them."""
    noise = np.random.default_rng(12).normal(0, 3e-4, len(of))
    rows = np.arange(every - 1, len(of), every)
    return to_ns(of.close_time)[rows], (of.close * (1 + noise))[rows]


@given(shift=st.integers(-REACH, REACH).filter(bool))
def test_a_clock_that_is_off_is_found_with_its_size(shift: int) -> None:
    """Marks of the close `shift` bars later than their stamp: D023, an error, naming the shift."""
    frame = bars()
    stamps, values = marks(frame)
    (found,) = clock_skew("funding x.csv", stamps - shift * 3_600_000_000_000, values, frame)

    assert ("D023", Level.ERROR) == (found.code, found.level)
    assert f"{abs(shift)} bars {'later' if shift > 0 else 'earlier'}" in found.message
    assert f"at {shift:+d} bars" in found.observed


def test_marks_on_time_are_not_accused() -> None:
    """Nor are they where the market stood still: no shift is clearly better than another."""
    frame = bars()
    assert () == clock_skew("x", *marks(frame), frame)
    still = BarFrame.of(
        pd.DataFrame(
            {n: np.full(2000, 2000.0) for n in ("open", "high", "low", "close", "volume")},
            index=frame.open_time,
        ),
        symbol="ETHUSDT", interval=pd.Timedelta("1h"),
    )  # fmt: skip
    assert () == clock_skew("x", *marks(still), still)


@pytest.mark.parametrize("known", [0, FEWEST - 1])
def test_too_few_marks_say_nothing(known: int) -> None:
    """Below a hundred, a lucky shift would be blamed on the clock."""
    frame = bars()
    stamps, values = marks(frame)
    values[known:] = np.nan

    assert () == clock_skew("x", stamps - 3_600_000_000_000, values, frame)
