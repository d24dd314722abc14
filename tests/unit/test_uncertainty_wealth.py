"""Growth, risk and drawdown come with intervals; what is undefined says why."""

from __future__ import annotations

import numpy as np
import pytest

from perpwalk.returns import max_drawdown, sortino, total_return, volatility
from perpwalk.uncertainty.compiled_paths import deepest_of_blocks
from perpwalk.uncertainty.draws import draw
from perpwalk.uncertainty.wealth import drawdown_band, growth, profit_factor

RETURNS = np.random.default_rng(4).normal(1e-4, 0.004, 2000)


def test_the_values_are_those_of_the_metrics() -> None:
    """Total return, volatility, Sortino and drawdown are not computed in two ways."""
    found = growth(RETURNS)

    assert total_return(RETURNS) == pytest.approx(found.total_return.value)
    assert volatility(RETURNS, 1.0) == pytest.approx(found.volatility.value)
    assert sortino(RETURNS, 1.0) == pytest.approx(found.sortino.value)
    assert max_drawdown(RETURNS) == drawdown_band(RETURNS).value


def test_the_compiled_paths_are_the_resampled_rows() -> None:
    """Walking the blocks is the same as laying the rows out and following each path."""
    logs = np.log1p(RETURNS[:300])
    paths = draw(300, 12.0, 20, np.random.default_rng(1))
    drift = np.linspace(-1e-3, 1e-3, 20)
    curve = np.cumsum(logs[paths.rows()] + drift[:, None], axis=1)
    expected = (curve - np.maximum.accumulate(np.maximum(curve, 0), axis=1)).min(axis=1)
    found = deepest_of_blocks(logs, paths.starts, paths.lengths, paths.first, drift)

    assert expected.tolist() == pytest.approx(found.tolist(), abs=1e-12)


def test_the_drawdown_is_called_a_band_that_grows_with_the_path() -> None:
    """Its words say so, and twice the bars fall deeper."""
    short, long = drawdown_band(RETURNS), drawdown_band(np.tile(RETURNS, 4))

    assert "grows with the length of the path" in short.method
    assert long.low < short.low
    assert long.high < short.high <= 0


def test_the_same_seed_gives_the_same_band() -> None:
    """Nothing but the seed is random."""
    assert drawdown_band(RETURNS, seed=3) == drawdown_band(RETURNS, seed=3)
    assert drawdown_band(RETURNS, seed=3) != drawdown_band(RETURNS, seed=4)


def test_the_same_numbers_are_estimated_once() -> None:
    """Who asks again gets the same answer; other numbers, seeds and levels get their own."""
    first = growth(RETURNS[:200], seed=8)

    assert first is growth(RETURNS[:200].copy(), seed=8)
    assert first is not growth(RETURNS[1:201], seed=8)
    assert first is not growth(RETURNS[:200], seed=9)
    assert first.total_return.low < growth(RETURNS[:200], seed=8, confidence=0.9).total_return.low


def test_what_lost_everything_has_no_growth_rate() -> None:
    """A return of -100 % has no logarithm: null with a reason."""
    ruined = np.concatenate([RETURNS[:50], [-1.0]])

    assert "lost everything" in growth(ruined).total_return.reason
    assert drawdown_band(ruined).value is None
    assert "fewer than two bars" in growth(RETURNS[:1]).volatility.reason
    assert "no losing bar" in growth(np.abs(RETURNS)).sortino.reason


def test_a_profit_factor_needs_a_losing_trade() -> None:
    """Gains over nothing are no number."""
    found = profit_factor(np.array([1.0, -0.5] * 40))

    assert 2.0 == found.value
    assert found.low < 2.0 < found.high
    assert "no losing trade" == profit_factor(np.ones(40)).reason
