"""No feature and no label date knows the future, and each feature's look-back is the truth."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from perpwalk.config import FeaturesSection
from perpwalk.domain import BarFrame, FeatureFrame, FundingFrame
from perpwalk.features import PastBars, feature_set

COUNT = 900
HOUR = pd.Timedelta("1h")
FEATURES = feature_set(FeaturesSection(), funding=True)
# Prefix sums differ in their last bits when a series is cut: see methods of the truncation test.
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


def random_table(seed: int, count: int, start_price: float = 2000.0) -> pd.DataFrame:
    """Return OHLCV with fat tails, changing volatility and some bars without trades."""
    rng = np.random.default_rng(seed)
    size = 0.01 * np.exp(np.cumsum(rng.normal(0, 0.1, count)) * 0.3)
    closes = start_price * np.exp(np.cumsum(np.clip(rng.standard_t(3, count) * size, -0.5, 0.5)))
    opens = np.concatenate([[start_price], closes[:-1]])
    reach = np.exp(np.abs(rng.normal(0, 0.005, (2, count))))
    volume = rng.lognormal(5, 1, count) * (rng.random(count) > 0.02)
    return pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes) * reach[0],
            "low": np.minimum(opens, closes) / reach[1],
            "close": closes,
            "volume": volume,
        }
    )


def market(table: pd.DataFrame) -> BarFrame:
    stamped = table.set_axis(
        pd.date_range("2024-01-01", periods=len(table), freq="h", tz="UTC"), axis=0
    )
    return BarFrame.of(stamped, symbol="ETHUSDT", interval=HOUR)


def random_funding(seed: int) -> FundingFrame:
    """Return settlements every 8 h with a spell of 2 h ones, from before the first bar."""
    rng = np.random.default_rng(seed)
    usual = pd.date_range("2023-12-30", periods=140, freq="8h", tz="UTC")
    spell = pd.date_range("2024-01-20", periods=40, freq="2h", tz="UTC")
    stamps = usual.union(spell)
    return FundingFrame.of(stamps, rng.normal(1e-4, 2e-4, len(stamps)), symbol="ETHUSDT")


@cache
def whole(seed: int) -> tuple[BarFrame, FundingFrame, FeatureFrame]:
    """Return a market and its features computed from all of it."""
    bars, funding = market(random_table(seed, COUNT)), random_funding(seed)
    return bars, funding, FEATURES.compute(bars, funding)


seeds = st.integers(0, 2)
rows = st.integers(0, COUNT - 1)


@settings(max_examples=40, deadline=None)
@given(seed=seeds, row=rows)
def test_cutting_off_the_future_changes_nothing(seed: int, row: int) -> None:
    """
    The last row of features(bars[:t + 1]) is row t of features(bars), undefined values included.
    """
    bars, funding, frame = whole(seed)
    settled = int((funding.settle_time <= bars.close_time[row]).sum())
    cut = FEATURES.compute(bars.rows(0, row + 1), funding.rows(0, settled))

    assert_allclose(cut.values[row], frame.values[row], **CLOSE)


@settings(max_examples=25, deadline=None)
@given(seed=seeds, row=st.integers(0, COUNT - 2), kind=st.sampled_from(["noise", "wild", "flat"]))
def test_another_future_changes_nothing(seed: int, row: int, kind: str) -> None:
    """
    Replacing all bars and settlements after t by others leaves rows up to t bit for bit alone.
    """
    bars, funding, frame = whole(seed)
    after = COUNT - row - 1
    future = random_table(seed + 1000, after, start_price=float(bars.close[row]))
    if kind == "wild":
        future[["open", "high", "low", "close"]] *= 37.0
    if kind == "flat":
        future[:] = float(bars.close[row])
    past = bars.to_frame().iloc[: row + 1].reset_index(drop=True)
    changed_bars = market(pd.concat([past, future], ignore_index=True))
    settled = np.asarray(funding.settle_time <= bars.close_time[row])
    changed_funding = FundingFrame.of(
        funding.settle_time, np.where(settled, funding.rate, 0.03), symbol="ETHUSDT"
    )
    changed = FEATURES.compute(changed_bars, changed_funding)

    assert_array_equal(changed.values[: row + 1], frame.values[: row + 1])


@settings(max_examples=25, deadline=None)
@given(seed=seeds, row=st.integers(FEATURES.lookback - 1, COUNT - 1))
def test_the_lookback_holds_all_that_a_row_needs(seed: int, row: int) -> None:
    """
    A row computed from only `lookback` bars, and the settlements since they began, is the same.
    """
    bars, funding, frame = whole(seed)
    buffer = bars.rows(row + 1 - FEATURES.lookback, row + 1)
    settled = np.flatnonzero(
        (funding.settle_time > buffer.open_time[0]) & (funding.settle_time <= buffer.close_time[-1])
    )
    recent = funding.rows(int(settled[0]), int(settled[-1]) + 1)

    assert_allclose(FEATURES.compute(buffer, recent).values[-1], frame.values[row], **CLOSE)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, row=st.integers(FEATURES.lookback - 1, COUNT - 1))
def test_each_features_own_lookback_is_the_truth(seed: int, row: int) -> None:
    """
    Every feature alone, given exactly its own look-back of bars, says the same.
    """
    bars, funding, frame = whole(seed)
    for column, feature in enumerate(FEATURES.features):
        buffer = bars.rows(row + 1 - feature.lookback, row + 1)
        value = feature(PastBars.of(buffer, funding))[-1]
        assert_allclose(value, frame.values[row, column], **CLOSE, err_msg=feature.name)


@settings(max_examples=15, deadline=None)
@given(seed=seeds, drop=st.integers(1, COUNT // 4))
def test_where_the_file_starts_does_not_matter(seed: int, drop: int) -> None:
    """
    Dropping bars from the start changes no value that is still defined.
    """
    bars, funding, frame = whole(seed)
    shorter = FEATURES.compute(bars.rows(drop, COUNT), funding).values
    defined = ~np.isnan(shorter)

    assert_allclose(shorter[defined], frame.values[drop:][defined], **CLOSE)
    assert defined[FEATURES.lookback - 1 :].all()


def test_computing_features_leaves_the_market_alone() -> None:
    """
    Inputs are unchanged and cannot be changed, and the same question has the same answer.
    """
    bars, funding, frame = whole(0)
    before = bars.to_frame()

    assert_array_equal(frame.values, FEATURES.compute(bars, funding).values)
    assert before.equals(bars.to_frame())
    assert not frame.values.flags.writeable
