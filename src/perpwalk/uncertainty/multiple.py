"""Many variants on the same rows: is the best better than luck, which ones are, which are alike.

Thin over ``arch``. Losses are minus returns (or Brier parts): smaller is better. Rows of benchmark
and models are the same bars, resampled jointly in blocks. ``block`` is always the caller's: the
library's default of the square root of the rows knows nothing of the data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from perpwalk.domain import FloatArray

LEVEL = 0.05


@dataclass(frozen=True, eq=False, kw_only=True)
class SuperiorAbility:
    """Hansen's test that no model beats the benchmark; small p: the best of them does.

    Attributes
    ----------
    p_lower, p_consistent, p_upper
        In this order never falling; report the consistent one. Never 0: a p-value from ``reps``
        resamples cannot be below ``1 / (reps + 1)``.
    mean_excess
        Mean loss of the benchmark minus that of each model, shape (models,): above 0 is better.
    best
        The model with the largest mean excess.
    """

    p_lower: float
    p_consistent: float
    p_upper: float
    mean_excess: FloatArray
    best: int
    block: float
    reps: int
    seed: int


def spa(
    losses_benchmark: FloatArray,
    losses_models: FloatArray,
    block: float,
    reps: int = 2000,
    seed: int = 0,
) -> SuperiorAbility:
    """Test the best of several models against a benchmark (White 2000; Hansen 2005).

    Parameters
    ----------
    losses_benchmark
        Shape (n,).
    losses_models
        Shape (n, models).
    block
        Mean block length in rows of the stationary bootstrap; see ``bootstrap.choose_block``.

    Raises
    ------
    ValueError
        The arrays do not share their rows or hold a value that is not finite.
    """
    from arch.bootstrap import SPA

    benchmark, models = _same_rows(losses_benchmark, losses_models)
    test = SPA(benchmark, models, block_size=_rows(block), reps=reps, studentize=True, seed=seed)
    test.bootstrap = _Resamples(benchmark[:, None] - models, _rows(block), seed)
    return _ability(test, benchmark, models, block, reps, seed)


def _ability(
    test: Any, benchmark: FloatArray, models: FloatArray, block: float, reps: int, seed: int
) -> SuperiorAbility:
    """Return what the library's test comes to."""
    test.compute()
    least = 1 / (reps + 1)
    lower, consistent, upper = (
        max(float(test.pvalues[name]), least) for name in ("lower", "consistent", "upper")
    )
    excess: FloatArray = benchmark.mean() - models.mean(axis=0)
    return SuperiorAbility(
        p_lower=lower, p_consistent=consistent, p_upper=upper, mean_excess=excess,
        best=int(np.argmax(excess)), block=block, reps=reps, seed=seed,
    )  # fmt: skip


class _Resamples:
    """The resamples that the library draws itself, without copying their rows.

    The test takes the mean of each resample three times and nothing else. Here it is one product
    with how often each row was drawn: for fifty models a fifth of the time.
    """

    def __init__(self, differences: FloatArray, block: int, seed: int) -> None:
        from arch.bootstrap import StationaryBootstrap

        self._differences = differences
        self._rows = StationaryBootstrap(block, np.arange(len(differences)), seed=seed)

    def bootstrap(self, reps: int) -> Iterator[tuple[tuple[_Mean], dict[str, Any]]]:
        """Yield each resample as the positional and keyword data that the library expects."""
        n = len(self._differences)
        for (rows,), _ in self._rows.bootstrap(reps):
            drawn = np.bincount(rows, minlength=n).astype(np.float64)
            yield (_Mean(drawn @ self._differences / n),), {}


@dataclass(frozen=True, eq=False)
class _Mean:
    """Rows of which only the mean is known."""

    value: FloatArray

    def mean(self, axis: int) -> FloatArray:  # noqa: ARG002 - the library gives it
        """Return the mean over the rows."""
        return self.value


def stepm(
    losses_benchmark: FloatArray,
    losses_models: FloatArray,
    block: float,
    reps: int = 2000,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[int, ...]:
    """Return which models beat the benchmark, columns in ascending order (Romano & Wolf 2005).

    The chance of naming any model that does not is at most ``level``, however many are tried.
    """
    return spa_and_stepm(losses_benchmark, losses_models, block, reps, seed, level)[1]


def spa_and_stepm(
    losses_benchmark: FloatArray,
    losses_models: FloatArray,
    block: float,
    reps: int = 2000,
    seed: int = 0,
    level: float = LEVEL,
) -> tuple[SuperiorAbility, tuple[int, ...]]:
    """Return what ``spa`` and ``stepm`` return, from one set of resamples instead of two."""
    from arch.bootstrap import SPA

    benchmark, models = _same_rows(losses_benchmark, losses_models)
    test = SPA(benchmark, models, block_size=_rows(block), reps=reps, studentize=True, seed=seed)
    test.bootstrap = _Resamples(benchmark[:, None] - models, _rows(block), seed)
    ability = _ability(test, benchmark, models, block, reps, seed)
    return ability, _step_by_step(test, models.shape[1], level)


def _step_by_step(test: Any, count: int, level: float) -> tuple[int, ...]:
    """Return the models that are better in a first round, or in one without those found before.

    The rounds of the library's ``StepM``, which fails where the last model is found in a later one:
    it goes on with none left.
    """
    left = np.ones(count, dtype=bool)
    while left.any():
        test.subset(left)
        test.compute()  # over the values that its first round has simulated
        better = test.better_models(level)
        if len(better) == 0:
            break
        left[better] = False
    return tuple(int(column) for column in np.flatnonzero(~left))


@dataclass(frozen=True, eq=False, kw_only=True)
class ConfidenceSet:
    """The models that the best cannot be told from, and each model's p-value.

    ``p_values`` has shape (models,), in column order: a model is ``included`` where its p-value is
    above ``level``. The best has p = 1; none is below ``1 / (reps + 1)``.
    """

    included: tuple[int, ...]
    p_values: FloatArray
    level: float
    block: float
    reps: int
    seed: int


def mcs(
    losses_models: FloatArray,
    block: float,
    reps: int = 2000,
    seed: int = 0,
    level: float = LEVEL,
) -> ConfidenceSet:
    """Return the model confidence set (Hansen, Lunde & Nason 2011): which holds the best one.

    Parameters
    ----------
    losses_models
        Shape (n, models), at least two models. Columns that are equal row by row cannot be told
        apart by definition; leave copies out.
    level
        The set holds the truly best model with probability 1 - ``level``.
    """
    from arch.bootstrap import MCS

    models = _finite(losses_models)
    if models.ndim != 2 or models.shape[1] < 2:
        raise ValueError("a confidence set needs at least two models")
    test = MCS(
        _without_ties(models), size=level, block_size=_rows(block), reps=reps, seed=seed
    )  # fmt: skip
    test.compute()
    found = test.pvalues["Pvalue"].sort_index().to_numpy(dtype=np.float64)
    return ConfidenceSet(
        included=tuple(sorted(int(column) for column in test.included)),
        p_values=np.maximum(found, 1 / (reps + 1)),
        level=level, block=block, reps=reps, seed=seed,
    )  # fmt: skip


def effective_trials(correlation: FloatArray) -> float:
    """Return how many independent trials correlated ones are worth: their effective rank.

    The exponential of the entropy of the correlation matrix's eigenvalue shares (Roy & Vetterli
    2007): ``k`` for uncorrelated trials, 1 for copies of one.

    Parameters
    ----------
    correlation
        Shape (k, k). A matrix put together pair by pair may have slightly negative eigenvalues;
        they count as 0.

    >>> round(effective_trials(np.eye(4)), 6), round(effective_trials(np.ones((4, 4))), 6)
    (4.0, 1.0)
    """
    if len(correlation) == 0:
        return 0.0
    values = np.maximum(np.linalg.eigvalsh(np.asarray(correlation, dtype=np.float64)), 0.0)
    share = values[values > 0] / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def effective_trials_of(returns: FloatArray) -> float:
    """Return how many independent trials the columns of ``returns`` are worth.

    As ``effective_trials`` of their correlations, whose eigenvalues are those of the smaller of
    the two products: thousands of columns over a few hundred rows take a moment. A column that does
    not vary is alike to no other.

    Parameters
    ----------
    returns
        Shape (rows, k).

    >>> noise = np.random.default_rng(0).standard_normal((500, 3))
    >>> copies = np.repeat(noise, 4, axis=1)
    >>> abs(effective_trials_of(copies) - effective_trials(np.corrcoef(copies.T))) < 1e-9
    True
    """
    centred = returns - returns.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    varies = length > 0
    unit = centred[:, varies] / length[varies]
    product = unit @ unit.T if unit.shape[0] < unit.shape[1] else unit.T @ unit
    values = np.maximum(np.linalg.eigvalsh(product), 0.0)
    values = np.concatenate([values[values > 0], np.ones(int((~varies).sum()))])
    share = values / values.sum()
    return float(np.exp(-(share * np.log(share)).sum()))


def _without_ties(losses: FloatArray) -> FloatArray:
    """Move each column by its own hair, far below any digit that counts.

    Hits and misses often come to exactly the same mean, and ``arch`` fails where two models are
    equally the worst.
    """
    hair = 1e-12 * float(np.abs(losses).max(initial=0.0))
    moved: FloatArray = losses + hair * np.arange(losses.shape[1])
    return moved


def _rows(block: float) -> int:
    """Return a mean block length as the whole number the library asks for, rounded up."""
    if block < 1:
        raise ValueError(f"a block has at least one row, found {block}")
    return int(np.ceil(block))


def _same_rows(benchmark: FloatArray, models: FloatArray) -> tuple[FloatArray, FloatArray]:
    one, many = _finite(benchmark), _finite(models)
    many = many[:, None] if many.ndim == 1 else many
    if one.ndim != 1 or many.ndim != 2 or len(one) != len(many):
        raise ValueError(
            f"benchmark {one.shape} and models {many.shape} do not share their rows; "
            "restrict them to the common bars first"
        )
    return one, many


def _finite(values: FloatArray) -> FloatArray:
    found = np.asarray(values, dtype=np.float64)
    if not np.isfinite(found).all():
        raise ValueError("losses hold a value that is not finite")
    return found
