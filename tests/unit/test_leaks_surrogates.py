"""Surrogate markets: another future, no edge, a known edge, less data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from perpwalk.audit.leaks import surrogates
from perpwalk.config import Simulate
from perpwalk.domain import Market
from perpwalk.simulate import best_auc, simulate_market
from perpwalk.uncertainty.auc import auc

COLUMNS = ("open", "high", "low", "close", "volume")


@pytest.fixture(scope="module")
def market() -> Market:
    return _market(800)


def _market(bars: int) -> Market:
    section = Simulate(bars=bars, edge=0.0)
    return simulate_market(section, symbol="X", interval=pd.Timedelta("1h"), seed=3)


def _assert_whole(market: Market):
    for bars in (market.bars, market.mark):
        assert bars is not None
        assert (bars.high >= np.maximum(bars.open, bars.close)).all()
        assert (bars.low <= np.minimum(bars.open, bars.close)).all()
        assert np.isfinite(bars.high).all()
        assert (bars.low > 0).all()


@pytest.mark.parametrize("kind", surrogates.FACTOR)
@pytest.mark.parametrize("row", [0, 399, 798])
def test_only_the_future_is_replaced(market: Market, row: int, kind: surrogates.Kind):
    """Bars and settlements known at the close stay bit for bit; all later ones change."""
    other = surrogates.perturbed(market, row, kind, seed=1)
    at = market.bars.close_time[row]
    for name in COLUMNS:
        before, after = getattr(market.bars, name), getattr(other.bars, name)
        assert np.array_equal(before[: row + 1], after[: row + 1])
    assert (market.bars.close[row + 1 :] != other.bars.close[row + 1 :]).all()
    settled = market.funding.settle_time <= at
    assert np.array_equal(market.funding.rate[settled], other.funding.rate[settled])
    assert (market.funding.rate[~settled] != other.funding.rate[~settled]).all()
    assert market.bars.open_time.equals(other.bars.open_time)
    _assert_whole(other)


def test_the_kinds_of_future_differ_in_size(market: Market):
    """Wild futures move ten times as much as noise, flat ones hardly at all."""

    def size(kind: surrogates.Kind) -> float:
        close = surrogates.perturbed(market, 100, kind, seed=1).bars.close[101:]
        return float(np.abs(np.diff(np.log(close))).mean())

    assert 5 < size("wild") / size("noise") < 20
    assert size("flat") < 1e-3 * size("noise")


def test_a_gap_moves_the_next_open(market: Market):
    """The same future begins elsewhere by exactly the gap."""
    plain = surrogates.perturbed(market, 50, "noise", seed=1)
    apart = surrogates.perturbed(market, 50, "noise", seed=1, gap=0.01)
    assert 0.01 == pytest.approx(float(np.log(apart.bars.open[51] / plain.bars.open[51])))


def test_the_null_market_keeps_sizes_and_forgets_signs(market: Market):
    """Every move keeps its size, volumes stay, and about half of the signs turn."""
    null = surrogates.sign_flipped(market, seed=2)
    before, after = (np.diff(np.log(m.bars.close)) for m in (market, null))
    assert np.abs(before) == pytest.approx(np.abs(after), rel=1e-6)
    assert np.array_equal(market.bars.volume, null.bars.volume)
    assert 0.4 < float((np.sign(before) != np.sign(after)).mean()) < 0.6
    _assert_whole(null)


def test_the_planted_edge_is_the_one_that_was_asked_for():
    """The score's AUC for the next sign is the closed form's, whatever the sizes."""
    market = _market(40_000)
    made, score = surrogates.planted(market, seed=5, edge=0.2)
    up = np.diff(made.bars.close) > 0
    assert best_auc(0.2) == pytest.approx(auc(up, score[:-1]), abs=0.009)
    assert np.log(made.bars.volume) == pytest.approx(
        np.log(np.median(market.bars.volume)) + 0.8 * score
    )


def test_truncation_leaves_what_was_known(market: Market):
    """Bars up to the row and settlements up to its close, nothing else."""
    part = surrogates.truncated(market, 100)
    assert 100 == len(part.bars)
    assert part.funding.settle_time[-1] <= part.bars.close_time[-1]
    assert market.funding.settle_time[len(part.funding)] > part.bars.close_time[-1]


def test_the_same_seed_gives_the_same_market(market: Market):
    """Surrogates are functions of their arguments."""
    for make in (
        lambda seed: surrogates.perturbed(market, 10, "noise", seed),
        lambda seed: surrogates.sign_flipped(market, seed),
        lambda seed: surrogates.planted(market, seed, 0.2)[0],
    ):
        assert np.array_equal(make(1).bars.close, make(1).bars.close)
        assert not np.array_equal(make(1).bars.close, make(2).bars.close)
