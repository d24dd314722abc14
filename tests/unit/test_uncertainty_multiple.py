"""Many variants at once: the best against a benchmark, which ones beat it, which are alike."""

from __future__ import annotations

import numpy as np
import pytest

from perpwalk.domain import FloatArray
from perpwalk.uncertainty.multiple import mcs, spa, spa_and_stepm, stepm


def generated(seed: int, n: int) -> FloatArray:
    """Return the deterministic normals of the worked cases: sums of 12 uniforms minus 6."""
    state, values = seed, np.empty(12 * n)
    for i in range(len(values)):
        state = (1664525 * state + 1013904223) % 2**32
        values[i] = state / 2**32
    return values.reshape(n, 12).sum(axis=1) - 6


BENCHMARK = -np.round(0.01 * generated(900, 300), 6)
MODELS = -np.column_stack(
    [np.round(0.01 * generated(901 + j, 300) + (0.002 if j == 0 else 0.0), 6) for j in range(4)]
)


def test_the_best_of_four_beats_the_benchmark() -> None:
    """Case spa_stepm_mcs: p-values, mean excess, the superior model and the confidence set."""
    found = spa(BENCHMARK, MODELS, 10, seed=123)
    every = mcs(np.column_stack([BENCHMARK, MODELS]), 10, seed=123)

    assert [0.0, 0.0005, 0.0005] == pytest.approx(
        [found.p_lower, found.p_consistent, found.p_upper], abs=0.02
    )
    assert 1 / 2001 <= found.p_lower <= found.p_consistent <= found.p_upper
    assert [0.0030434566666666667, 0.00082023, 0.00033034666666666656, -0.00062619] == (
        pytest.approx(found.mean_excess.tolist(), abs=1e-12)
    )
    assert 0 == found.best
    assert (0,) == stepm(BENCHMARK, MODELS, 10, seed=123)
    assert (1,) == every.included
    assert [0.0025, 1.0, 0.0155, 0.003, 0.0] == pytest.approx(every.p_values.tolist(), abs=0.02)


def test_both_tests_from_one_set_of_resamples_are_the_two_tests() -> None:
    """The p-values of one and the superior models of the other do not change a bit."""
    alone = spa(BENCHMARK, MODELS, 10, reps=300, seed=7)
    together, superior = spa_and_stepm(BENCHMARK, MODELS, 10, reps=300, seed=7)

    for name in ("p_lower", "p_consistent", "p_upper", "best", "block", "reps", "seed"):
        assert getattr(alone, name) == getattr(together, name)
    assert alone.mean_excess.tolist() == together.mean_excess.tolist()
    assert (0,) == superior


@pytest.mark.parametrize("seed", [1, 2])
def test_resamples_are_those_of_the_library(seed: int) -> None:
    """Means by counts of rows give the p-values that the library's copies of rows give."""
    from arch.bootstrap import SPA, StepM

    models = np.random.default_rng(seed).normal(0.0, 0.01, size=(300, 12)) - 0.001
    plain = SPA(BENCHMARK, models, block_size=10, reps=400, studentize=True, seed=seed)
    plain.compute()
    steps = StepM(BENCHMARK, models, block_size=10, reps=400, studentize=True, seed=seed)
    steps.compute()
    found, superior = spa_and_stepm(BENCHMARK, models, 10, reps=400, seed=seed)

    least = 1 / 401
    expected = [max(float(plain.pvalues[name]), least) for name in ("lower", "consistent", "upper")]
    assert expected == [found.p_lower, found.p_consistent, found.p_upper]
    assert least < found.p_upper < 1
    assert tuple(steps.superior_models) == superior


def test_all_are_named_where_the_last_is_found_in_a_later_round() -> None:
    """The plainly better hide the others at first; without them all of the rest are better too."""
    noise = np.random.default_rng(10).normal(0.0, 0.01, size=(400, 4))
    gains = np.array([0.01, 0.01, 0.0017, 0.0017])
    _, superior = spa_and_stepm(np.zeros(400), -(noise + gains), 2, reps=200, seed=3)

    assert (0, 1, 2, 3) == superior


def test_models_that_know_nothing_are_not_superior() -> None:
    """The best of four lucky ones: a large p, no superior model, all in the set."""
    rng = np.random.default_rng(3)
    losses = rng.normal(size=(400, 5))
    found = spa(losses[:, 0], losses[:, 1:], 5, reps=400, seed=1)

    assert found.p_consistent > 0.05
    assert () == stepm(losses[:, 0], losses[:, 1:], 5, reps=400, seed=1)
    assert (0, 1, 2, 3, 4) == mcs(losses, 5, reps=400, seed=1).included


def test_the_same_seed_gives_the_same_answer() -> None:
    """Nothing but the seed is random."""
    one, two = (mcs(MODELS, 10, reps=300, seed=9) for _ in range(2))

    assert one.p_values.tolist() == two.p_values.tolist()


def test_other_rows_and_other_values_are_refused() -> None:
    """Unlike lengths, NaN, one model alone, a block below one row."""
    with pytest.raises(ValueError, match="share their rows"):
        spa(BENCHMARK[:-1], MODELS, 10)
    with pytest.raises(ValueError, match="not finite"):
        stepm(BENCHMARK, MODELS * np.nan, 10)
    with pytest.raises(ValueError, match="two models"):
        mcs(MODELS[:, :1], 10)
    with pytest.raises(ValueError, match="at least one row"):
        mcs(MODELS, 0.5)


def test_models_of_exactly_equal_mean_loss_share_a_confidence_set() -> None:
    """Hits that come to the same mean are no obstacle, and stay in the set together."""
    alternating = np.tile([0.0, 1.0], 100)
    in_pairs = np.tile([0.0, 0.0, 1.0, 1.0], 50)
    losses = np.column_stack([alternating, 1 - alternating, np.ones(200), in_pairs])

    found = mcs(losses, 2.0, reps=200)

    assert {0, 1, 3} == set(found.included)
