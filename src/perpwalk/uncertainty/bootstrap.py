"""The stationary bootstrap: intervals for numbers whose rows depend on their neighbours.

Politis & Romano 1994: resample blocks of geometric length in time order, around the end to the
start. Block length: automatic (Politis & White 2004, corrected 2009), at least
twice the label horizon, at most a tenth of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perpwalk.domain import Finding, FloatArray, IntArray, Level
from perpwalk.uncertainty.auc import Placements
from perpwalk.uncertainty.draws import CHUNK_VALUES, Draws, draws_of
from perpwalk.uncertainty.estimate import Estimate, two_sided_z
from perpwalk.uncertainty.overlap import autocovariances, estimated_vif, sum_by

FEW_BLOCKS = 10
T_BELOW_BLOCKS = 200
DEGENERATE_SHARE = 0.01


@dataclass(frozen=True)
class Block:
    """A mean block length in rows and what choosing it found (U001, U002)."""

    length: float
    automatic: float | None
    findings: tuple[Finding, ...] = ()


def choose_block(influence: FloatArray, horizon: int, where: str = "bootstrap") -> Block:
    """Return the block length for a statistic from its per-row ``influence``, shape (n,).

    The larger of the automatic length and ``2 * horizon``; the automatic one is cut at n / 10
    (U002). Fewer than ten blocks in all is an error (U001): no interval can be trusted.
    """
    n = len(influence)
    least = 2.0 * horizon
    automatic = automatic_block_length(influence)
    cap = n / FEW_BLOCKS
    length = least if automatic is None else max(least, min(automatic, cap))
    findings: list[Finding] = []
    if automatic is not None and automatic > cap:
        findings.append(_capped(where, automatic, length))
    if n / length < FEW_BLOCKS:
        findings.append(_too_few_blocks(where, n, length))
    return Block(min(max(1.0, length), float(max(n, 1))), automatic, tuple(findings))


def automatic_block_length(values: FloatArray) -> float | None:
    """Return the block length that Politis & White 2004 (corrected 2009) choose; None if flat.

    Written here because its loop of threaded dot products stalls on a busy machine; held against
    ``arch.bootstrap.optimal_block_length`` in the tests.
    """
    n = len(values)
    if n < 20 or np.ptp(values) == 0:
        return None
    least = max(5, int(np.log10(n)))
    most = math.ceil(math.sqrt(n)) + least
    if most >= n:
        return None
    gamma = autocovariances(values, most)
    reach = _last_significant_lag(values, gamma, least)
    bandwidth = min(2 * max(reach, 1), most) if reach is not None else most
    lags = np.arange(1, bandwidth + 1)
    flat_top = np.minimum(1.0, 2 * (1 - lags / bandwidth))
    slope = float(np.sum(2 * flat_top * lags * gamma[lags]))
    spectrum = float(gamma[0] + np.sum(2 * flat_top * gamma[lags]))
    if spectrum == 0:
        return None
    length = ((slope / spectrum) ** 2) ** (1 / 3) * n ** (1 / 3)
    return float(min(length, math.ceil(min(3 * math.sqrt(n), n / 3))))


def _last_significant_lag(values: FloatArray, gamma: FloatArray, least: int) -> int | None:
    """Return the lag after which ``least`` autocorrelations in a row are insignificant."""
    n = len(values)
    squares = np.cumsum((values - values.mean()) ** 2)
    lags = np.arange(len(gamma))
    later = squares[-1] - squares[lags]  # of all but the first lag + 1 values
    earlier = squares[n - 2 - lags]  # of all but the last lag + 1
    correlation = np.abs(gamma) * n / np.sqrt(later * earlier)
    small = correlation < 2 * math.sqrt(math.log10(n) / n)
    in_a_row = np.convolve(small[:-1], np.ones(least), mode="valid") == least
    return int(np.argmax(in_a_row)) if in_a_row.any() else None


def _capped(where: str, automatic: float, used: float) -> Finding:
    return Finding(
        code="U002",
        level=Level.WARN,
        where=where,
        message="the automatic block length reached its cap of a tenth of the rows",
        observed=f"{automatic:.1f} rows",
        expected=f"at most {used:.1f} rows (used)",
        why="the series depends on its past for longer than the sample can show",
        advice="read the interval as too narrow; use a longer test period",
    )


def _too_few_blocks(where: str, n: int, length: float) -> Finding:
    return Finding(
        code="U001",
        level=Level.ERROR,
        where=where,
        message="fewer than ten blocks: no interval can be made",
        observed=f"{n} rows in blocks of {length:.1f}",
        expected="at least 10 blocks",
        why="an interval from so few independent pieces has no known coverage",
        advice="use a longer test period or a shorter label.horizon",
    )


Statistic = Callable[[Draws], FloatArray]


@dataclass(frozen=True, eq=False)
class OfMeans:
    """A statistic that is a function ``of`` the means of some columns, shape (n,) each."""

    columns: tuple[FloatArray, ...]
    of: Callable[..., FloatArray]

    def __call__(self, draws: Draws) -> FloatArray:
        """Return its value in each resample."""
        return self.of(*draws.means(*self.columns))


def bootstrap(
    statistics: Sequence[Statistic], n: int, block: float, *, resamples: int = 2000, seed: int = 0
) -> FloatArray:
    """Return each statistic of the same resamples; shape (statistics, resamples), NaN undefined.

    The draws depend on ``n``, ``block``, ``resamples`` and ``seed`` alone.
    """
    columns = [column for one in statistics if isinstance(one, OfMeans) for column in one.columns]
    parts = []
    for draws in draws_of(n, block, resamples, seed):
        draws.means(*columns)  # all in one pass; each statistic takes its own from there
        parts.append(np.array([statistic(draws) for statistic in statistics]))
    return np.concatenate(parts, axis=1)


def mean_of(values: FloatArray) -> Statistic:
    """Return the statistic "mean of these values"."""
    return OfMeans((values,), lambda mean: mean)


def sharpe_of(returns: FloatArray) -> Statistic:
    """Return the statistic "mean over standard deviation", NaN where nothing varies."""
    level = float(returns.mean())

    def ratio(mean: FloatArray, square: FloatArray) -> FloatArray:
        variance = square - (mean - level) ** 2
        variance *= len(returns) / max(len(returns) - 1, 1)
        found: FloatArray = mean / np.sqrt(np.where(variance > 0, variance, np.nan))
        return found

    return OfMeans((returns, (returns - level) ** 2), ratio)


def ratio_of(above: FloatArray, below: FloatArray) -> Statistic:
    """Return the statistic "sum of these over the sum of those"."""
    return OfMeans((above, below), np.divide)


def auc_of(label: npt.ArrayLike, score: npt.ArrayLike, groups: IntArray | None = None) -> Statistic:
    """Return the statistic "AUC", NaN where a resample has one class.

    Rows are sorted by score once; a resample is then only a count per row, so its AUC is one pass
    over the counts instead of another sort. With ``groups`` (each row's stamp, numbered from 0)
    the resamples are of stamps, and all rows of a stamp come together.
    """
    values = np.asarray(score, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    is_up = (np.asarray(label) == 1)[order]
    ranked = values[order]
    ties = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    at = place if groups is None else np.arange(int(groups.max()) + 1)
    whose = None if groups is None else groups[order]

    def statistic(draws: Draws) -> FloatArray:
        k, n = len(draws.first), draws.n
        flat = at[draws.rows()] + (np.arange(k) * n)[:, None]
        counts = np.bincount(flat.ravel(), minlength=k * n).reshape(k, n).astype(np.float64)
        if whose is None:
            return areas(counts)
        # Several rows a stamp: a part of the resamples at a time, so that memory stays bounded.
        pieces = max(1, math.ceil(k * len(whose) / CHUNK_VALUES))
        return np.concatenate([areas(part[:, whose]) for part in np.array_split(counts, pieces)])

    def areas(counts: FloatArray) -> FloatArray:
        ups = np.add.reduceat(np.where(is_up, counts, 0.0), ties, axis=1)
        downs = np.add.reduceat(np.where(is_up, 0.0, counts), ties, axis=1)
        below = np.cumsum(downs, axis=1) - downs / 2
        pairs = ups.sum(axis=1) * downs.sum(axis=1)
        area: FloatArray = (ups * below).sum(axis=1) / np.where(pairs > 0, pairs, np.nan)
        return area

    return statistic


@dataclass(frozen=True, eq=False)
class Target:
    """A number to put an interval around.

    ``influence`` is each row's pull on it, shape (n,): it sets the block length. ``name`` is what
    findings call it. Where several rows share a stamp, whole stamps are resampled: ``influence`` is
    then each stamp's, and ``rows`` counts the rows behind them.
    """

    name: str
    value: float
    statistic: Statistic
    influence: FloatArray
    rows: int | None = None

    @classmethod
    def mean(cls, name: str, values: FloatArray, groups: IntArray | None = None) -> Target:
        """Return the mean of ``values`` as a target; ``groups`` are their stamps, if shared."""
        level = float(values.mean())
        if groups is None:
            return cls(name, level, mean_of(values), values)
        sums, sizes = sum_by(groups, values), sum_by(groups, np.ones(len(values)))
        pull = level + together(values - level, groups)
        return cls(name, level, ratio_of(sums, sizes), pull, len(values))

    @classmethod
    def auc(
        cls,
        name: str,
        placed: Placements,
        label: npt.ArrayLike,
        score: npt.ArrayLike,
        groups: IntArray | None = None,
    ) -> Target:
        """Return an AUC as a target; ``groups`` are the stamps of its rows, if shared."""
        pull = placed.influence(np.asarray(label) == 1)
        statistic = auc_of(label, score, groups)
        if groups is None:
            return cls(name, placed.auc, statistic, pull)
        return cls(name, placed.auc, statistic, together(pull, groups), len(pull))


def together(pull: FloatArray, groups: IntArray) -> FloatArray:
    """Return the pull of each stamp on a figure over rows, from the rows' own; shape (stamps,)."""
    sums = sum_by(groups, pull)
    return sums * (len(sums) / len(pull))


def bootstrap_estimates(
    targets: Sequence[Target],
    *,
    horizon: int,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[tuple[Estimate, ...], tuple[Finding, ...]]:
    """Return each target with its percentile interval, widened by Student's t below 200 blocks.

    All targets share the rows, the resamples and the longest block that one of them asks for.

    Returns
    -------
    tuple of Estimate
        Bounds are None where fewer than ten blocks fit or no resample defines the statistic.
    tuple of Finding
        U001, U002, U004.
    """
    n = len(targets[0].influence)
    blocks = [choose_block(target.influence, horizon, target.name) for target in targets]
    findings = [finding for block in blocks for finding in block.findings]
    hopeless = [f for f in findings if f.level is Level.ERROR]
    if hopeless:
        bare = [
            Estimate(value=t.value, level=confidence, n=t.rows or n, reason=hopeless[0].message)
            for t in targets
        ]
        return tuple(bare), tuple(findings)
    length = max(block.length for block in blocks)
    asked = [t.statistic for t in targets]
    if horizon > 1:
        asked += [mean_of(t.influence) for t in targets]
    drawn = bootstrap(asked, n, length, resamples=resamples, seed=seed)
    estimates = []
    for k, (target, found) in enumerate(zip(targets, drawn, strict=False)):
        mean = drawn[len(targets) + k] if horizon > 1 else None
        wider = widening(target.influence, mean, horizon, n / length, confidence)
        estimates.append(_estimate(target, found, length, confidence, seed, wider))
        findings += _degenerate(target.name, found)
    return tuple(estimates), tuple(findings)


def widening(
    influence: FloatArray, means: FloatArray | None, horizon: int, blocks: float, confidence: float
) -> float:
    """Return by how much the percentiles have to be widened.

    By Student's t with few blocks. Where labels overlap, at least by what the resampled mean of
    the influence falls short of its long-run error: blocks cut dependence off at their ends, so
    that an interval for h = 24 would cover 91 % instead of 95 %
    (``benchmarks/interval_coverage.py``). ``means`` is None where they do not.
    """
    factor = 1.0
    if blocks < T_BELOW_BLOCKS:
        from scipy.special import stdtrit

        upper = float(stdtrit(max(blocks - 1, 1.0), 0.5 + confidence / 2))
        factor = upper / two_sided_z(confidence)
    spread = 0.0 if means is None else float(means.std())
    if horizon > 1 and spread > 0:
        inflated = estimated_vif(influence, horizon) * float(np.var(influence))
        factor = max(factor, float(np.sqrt(inflated / len(influence))) / spread)
    return factor


def _estimate(
    target: Target,
    drawn: FloatArray,
    block: float,
    confidence: float,
    seed: int,
    widening: float,
) -> Estimate:
    n = len(target.influence) if target.rows is None else target.rows
    unit = "rows" if target.rows is None else "stamps"
    usable = drawn[np.isfinite(drawn)]
    if len(usable) == 0:
        reason = "the statistic is undefined in every resample"
        return Estimate(value=target.value, level=confidence, n=n, reason=reason)
    tail = (1 - confidence) / 2
    low, high = (float(q) for q in np.quantile(usable, [tail, 1 - tail]))
    if widening > 1:
        low = target.value + (low - target.value) * widening
        high = target.value + (high - target.value) * widening
    return Estimate(
        value=target.value,
        low=low,
        high=high,
        level=confidence,
        method=f"stationary bootstrap, mean block {block:.1f} {unit}, {len(drawn)} resamples",
        n=n,
        block=block,
        seed=seed,
    )


def _degenerate(where: str, drawn: FloatArray) -> tuple[Finding, ...]:
    undefined = int((~np.isfinite(drawn)).sum())
    if undefined <= DEGENERATE_SHARE * len(drawn):
        return ()
    return (
        Finding(
            code="U004",
            level=Level.ERROR,
            where=where,
            message="more than 1 % of the resamples leave the statistic undefined",
            observed=f"{undefined:,} of {len(drawn):,}",
            expected="at most 1 %",
            why="the interval would describe only the resamples that happened to work",
            advice="use a longer test period with both classes in it",
        ),
    )


def stationary_variance_of_mean(values: FloatArray, block: float) -> float:
    """Return the exact variance of the stationary-bootstrap mean (Politis & Romano 1994, Lemma 1).

    Lets a test hold the random engine against a closed form.
    """
    n, p = len(values), 1 / block
    lags = np.arange(n)
    gamma = autocovariances(values, n - 1)
    weight = (1 - lags / n) * (1 - p) ** lags + (lags / n) * (1 - p) ** (n - lags)
    return float(gamma[0] + 2 * weight[1:] @ gamma[1:]) / n
