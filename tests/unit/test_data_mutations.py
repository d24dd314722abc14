"""A hundred damaged files: each is read right or refused with the reason, never misread."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutated_files import BASES, HOUR, MUTATIONS, NAMES, hundred, mutated, truth

from perpwalk.data import read_bars
from perpwalk.data.examine import examine_files
from perpwalk.domain import BarFrame, Level
from perpwalk.errors import DataError

BARS = truth()


def outcome(path: Path, data: bytes) -> tuple[BarFrame | None, str, bool]:
    """Return what was read (None: refused), the message, and whether the last row is doubted."""
    path.write_bytes(data)
    try:
        bars, findings, _ = read_bars(path, symbol="ETHUSDT", interval=HOUR)
    except DataError as error:
        return None, str(error), False
    return bars, "", any("last line" in finding.message for finding in findings)


def assert_true(bars: BarFrame, expected: pd.DataFrame, *, doubted: bool) -> None:
    """Every bar that was read is a true bar; the last may be one that was said to be doubtful."""
    frame = bars.to_frame()
    assert set(frame.index) <= set(expected.index)
    assert frame.index.is_monotonic_increasing
    if doubted:
        frame = frame.iloc[:-1]
    pd.testing.assert_frame_equal(
        expected.loc[frame.index, NAMES], frame[NAMES], check_names=False, check_freq=False,
        check_exact=True,
    )  # fmt: skip


@pytest.mark.parametrize("base", BASES)
def test_the_undamaged_file_is_read_complete(tmp_path, base):
    """Every layout gives all true bars, so a refusal below is due to the damage."""
    bars, message, doubted = outcome(tmp_path / "x.csv", mutated("reversed", base, 0, BARS))

    assert bars is not None, message
    assert (len(BARS), False) == (len(bars), doubted)
    assert_true(bars, BARS, doubted=False)


def test_there_are_a_hundred():
    """The seeded list holds every mutation, a hundred files in all."""
    assert 100 == len(hundred())
    assert set(MUTATIONS) == {name for name, _, _ in hundred()}


@pytest.mark.parametrize(("name", "base", "seed"), hundred())
def test_a_damaged_file_is_read_right_or_refused_with_the_reason(tmp_path, name, base, seed):
    """What can be read equals the truth to the last bit; the rest is refused by name."""
    path = tmp_path / "x.csv"

    bars, message, doubted = outcome(path, mutated(name, base, seed, BARS))

    if bars is None:
        assert "read" != MUTATIONS[name].expected, message
        assert message.startswith(str(path))
        assert len(message) > len(str(path)) + 15
        return
    assert "refuse" != MUTATIONS[name].expected
    assert_true(bars, BARS, doubted=doubted)
    if MUTATIONS[name].expected == "read" and name != "cut after a line":
        assert len(BARS) == len(bars)


@pytest.mark.parametrize(("name", "base", "seed"), hundred()[: len(MUTATIONS)])
def test_examining_agrees_with_reading_and_says_why(tmp_path, name, base, seed):
    """Whatever is wrong, nothing breaks: a file is usable if it is read, else an error says why."""
    path = tmp_path / "x.csv"
    bars, message, _ = outcome(path, mutated(name, base, seed, BARS))

    found = examine_files([path], interval=HOUR)

    assert (bars is not None) == (found.exit_code == 0), message
    if found.exit_code == 1:
        assert any(finding.level is Level.ERROR for finding in found.findings), message


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    names=st.lists(st.sampled_from(sorted(MUTATIONS)), min_size=1, max_size=1),
    base=st.sampled_from(sorted(BASES)),
    seed=st.integers(0, 2**16),
    n=st.integers(24, 120),
    price=st.sampled_from([0.35, 12.0, 2000.0, 64_000.0]),
)
def test_no_damage_of_any_market_is_misread(tmp_path, names, base, seed, n, price):
    """Other prices, other lengths, other places: nothing untrue is ever read."""
    [name] = names
    if base not in MUTATIONS[name].bases:
        base = MUTATIONS[name].bases[0]
    bars_true = truth(n, price=price) if price > 1 else truth(n)

    bars, _, doubted = outcome(tmp_path / "x.csv", mutated(name, base, seed, bars_true))

    if bars is not None:
        assert_true(bars, bars_true, doubted=doubted)
        assert np.isfinite(bars.close).all()
