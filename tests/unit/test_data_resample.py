"""Fine bars put together: nothing is known before its time, and parts are told from wholes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpwalk.config import MarketSection
from perpwalk.data import load_market, resample
from perpwalk.domain import BarFrame
from perpwalk.errors import ConfigError, DataError

START = pd.Timestamp("2024-01-01T00:00:00Z")
COLUMNS = ["open", "high", "low", "close", "volume"]


def fine(n: int, minutes: int = 15, start: pd.Timestamp = START) -> BarFrame:
    rng = np.random.default_rng(n)
    close = np.round(100 * np.exp(np.cumsum(0.002 * rng.standard_normal(n))), 2)
    first = np.concatenate(([100.0], close[:-1]))
    frame = pd.DataFrame(
        {
            "open": first, "high": np.maximum(first, close) + 0.2,
            "low": np.minimum(first, close) - 0.1, "close": close,
            "volume": np.round(rng.random(n) * 9, 3),
        },
        index=pd.date_range(start, periods=n, freq=f"{minutes}min"),
    )  # fmt: skip
    return BarFrame.of(frame, symbol="X", interval=pd.Timedelta(minutes=minutes))


def without(bars: BarFrame, gone: list[int]) -> BarFrame:
    frame = bars.to_frame().drop(index=bars.open_time[gone])
    return BarFrame.of(frame, symbol="X", interval=bars.interval)


@pytest.mark.parametrize("minutes", [1, 5, 15])
@pytest.mark.parametrize("coarse", ["1h", "4h", "1d"])
def test_it_agrees_with_pandas_on_whole_bars(minutes, coarse):
    """First, max, min, last and sum, on the grid of UTC."""
    bars = fine(3 * 24 * 60 // minutes, minutes)
    how = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    expected = bars.to_frame().resample(coarse).agg(how)

    made, findings = resample(bars, pd.Timedelta(coarse))

    assert expected.index.tolist() == made.open_time.tolist()
    np.testing.assert_allclose(expected[COLUMNS].to_numpy(), made.to_frame().to_numpy(), rtol=1e-12)
    assert () == findings
    assert (expected.index[0] + pd.Timedelta(coarse)) == made.close_time[0]


@settings(max_examples=60, deadline=None)
@given(n=st.integers(9, 90), cut=st.integers(1, 89), start=st.integers(0, 7))
def test_a_coarse_bar_does_not_change_when_the_future_comes(n, cut, start):
    """Whatever is cut off, the complete bars before it are the same: nothing peeks."""
    bars = fine(n, start=START + start * pd.Timedelta("15min"))
    cut = min(cut, n)
    whole, _ = resample(bars, pd.Timedelta("1h"), "drop")
    try:
        early, _ = resample(bars.rows(0, cut), pd.Timedelta("1h"), "drop")
    except DataError:
        return  # no complete bar yet
    assert early.close_time[-1] <= bars.close_time[cut - 1]
    pd.testing.assert_frame_equal(whole.to_frame().loc[early.open_time], early.to_frame(),
                                  check_freq=False)  # fmt: skip


def test_a_bar_that_still_forms_is_left_out():
    """The last hour has two of four quarters: it is not known yet."""
    made, findings = resample(fine(10), pd.Timedelta("1h"))

    assert 2 == len(made)
    assert ["D020"] == [finding.code for finding in findings]


def test_an_inner_bar_that_lacks_a_part_is_refused_dropped_or_kept():
    """One quarter of the second hour is gone."""
    bars = without(fine(16), [5])

    with pytest.raises(DataError, match=r"2024-01-01 01:00 UTC; fetch them, or set market.partial"):
        resample(bars, pd.Timedelta("1h"))
    assert 3 == len(resample(bars, pd.Timedelta("1h"), "drop")[0])
    kept, [finding] = resample(bars, pd.Timedelta("1h"), "keep")
    assert 4 == len(kept)
    assert "2024-01-01 01:00 UTC" == finding.observed
    assert "warn" == finding.level


@pytest.mark.parametrize("coarse", ["15min", "10min", "40min"])
def test_only_whole_multiples_are_made(coarse):
    """Neither the same length, nor a shorter, nor a crooked one."""
    with pytest.raises(DataError, match="no whole multiple"):
        resample(fine(16), pd.Timedelta(coarse))


def test_a_configuration_runs_on_hours_made_of_quarters(tmp_path):
    """resample_from reads the finer file; gaps are judged on the hours."""
    bars = fine(400)
    path = tmp_path / "quarters.csv"
    bars.to_frame().to_csv(path)
    settings_ = {"symbol": "X", "ohlcv": str(path), "missing_funding": "zero",
                 "resample_from": "15m", "interval": "1h"}  # fmt: skip

    market = load_market(MarketSection.model_validate(settings_), seed=0)

    assert (100, pd.Timedelta("1h")) == (len(market.bars), market.bars.interval)
    frame = bars.to_frame().drop(index=bars.open_time[40:60])
    frame.to_csv(path)
    with pytest.raises(DataError, match=r"5 bars are missing in 1 gaps"):
        load_market(MarketSection.model_validate(settings_), seed=0)
    filled = MarketSection.model_validate({**settings_, "gaps": "fill"})
    assert 5 == load_market(filled, seed=0).bars.filled.sum()


def test_a_simulated_market_needs_no_resampling():
    """The key is named."""
    with pytest.raises(ConfigError, match=r"market\.resample_from"):
        load_market(MarketSection(resample_from="15m"), seed=0)


def test_an_unknown_format_in_the_configuration_is_refused(tmp_path):
    """market.format takes the names of `perpwalk data formats`."""
    path = Path(tmp_path / "x.csv")
    fine(8).to_frame().to_csv(path)
    with pytest.raises(ConfigError, match=r"market\.format.*no known format"):
        load_market(MarketSection(ohlcv=str(path), format="excel"), seed=0)
