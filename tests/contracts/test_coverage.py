"""Every interval in use covers what it claims, on markets whose truth has a closed form."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from perpwalk.uncertainty.auc import auc
from perpwalk.uncertainty.proportions import wilson


def _loaded() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks/interval_coverage.py"
    spec = importlib.util.spec_from_file_location("perpwalk_coverage", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


coverage = _loaded()


@pytest.mark.parametrize("horizon", [1, 4, 24])
def test_the_truth_of_the_simulated_market_is_what_a_long_one_shows(horizon: int) -> None:
    """The closed forms of accuracy and AUC agree with 400,000 decisions within three errors."""
    score, move = coverage.score_and_move(400_000, horizon, np.random.default_rng(horizon))
    truth = coverage.direction_truth(horizon)
    error = 0.0008 * (1 + horizon / 4) ** 0.5

    assert truth["accuracy"] == pytest.approx(((score > 0) == (move > 0)).mean(), abs=3 * error)
    assert truth["AUC"] == pytest.approx(auc(move > 0, score), abs=4 * error)


def test_the_simulated_returns_have_the_stated_moments() -> None:
    """Mean over standard deviation is the stated Sharpe ratio per bar."""
    returns = np.concatenate(
        [coverage.net_returns(4000, np.random.default_rng(seed)) for seed in range(40)]
    )

    assert 1.0 == pytest.approx(returns.std(), abs=0.03)
    assert coverage.MEAN == pytest.approx(returns.mean(), abs=0.0075)


def test_an_interval_that_ignores_overlap_is_caught() -> None:
    """Row-wise Wilson on labels of 24 bars covers about half: the table would say FAILS."""
    true = coverage.direction_truth(24)["accuracy"]
    covered = 0
    for seed in range(100):
        score, move = coverage.score_and_move(2000, 24, np.random.default_rng([9, seed]))
        interval = wilson(float(((score > 0) == (move > 0)).sum()), 2000)
        covered += interval.low <= true <= interval.high
    found = coverage.Coverage("row-wise", 24, true, 100, covered, 0, 0, 0.0)

    assert covered < 80
    assert not found.within


def test_the_band_is_that_of_the_binomial() -> None:
    """500 replications of a right interval cover between 91.6 and 97.8 per cent."""
    low, high = coverage.binomial_band(500)

    assert (0.916, 0.978) == (pytest.approx(low, abs=0.003), pytest.approx(high, abs=0.003))


def test_no_interval_is_far_from_what_it_claims() -> None:
    """A small version of the table: 40 replications, each interval within its wide band."""
    table = coverage.coverage_table(40, rows=800, horizons=(4,), effort=0.2)

    assert 15 == len(table)
    assert [] == [f"{one.interval} h={one.horizon}: {one.share}" for one in table if not one.within]


@pytest.mark.long
def test_every_interval_covers_what_it_claims() -> None:
    """The table of ``docs/uncertainty.md``: 500 replications of 4,000 decisions."""
    table = coverage.coverage_table(500, jobs=2)

    assert [] == [f"{one.interval} h={one.horizon}: {one.share}" for one in table if not one.within]
