"""One bootstrap for all variants: every statistic of every variant in the same resamples.

Stationary blocks in time order (``perpwalk.uncertainty.bootstrap``), of bars or of the stamps at
which decisions are made: contracts of one stamp come together. A resample is kept as how
often it holds each row; all means are then one matrix product, however many variants there are, and
the difference of two variants is the difference of their values resample by resample: rows are
resampled jointly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from perpwalk.domain import BoolArray, Finding, FloatArray, IntArray
from perpwalk.uncertainty.bootstrap import choose_block, widening
from perpwalk.uncertainty.draws import CHUNK_VALUES, draws_of
from perpwalk.uncertainty.estimate import STANDARD_NORMAL

RESAMPLES = 2000
POWER = 0.8
_NO_SPREAD = 1e-15


@dataclass(frozen=True, eq=False)
class Series:
    """A statistic of K variants and benchmarks: its value and each row's pull on it.

    Attributes
    ----------
    metric, names
        What it is, and of whom.
    value
        Shape (K,); NaN where undefined.
    influence
        Shape (m, K), a row for each that is drawn (of decisions, for each stamp): the mean of a
        column is the first-order error of the value. Sets block lengths and widenings.
    rows
        Shape (n, K): what it is made of. Two with equal rows cannot be told apart.
    """

    metric: str
    names: tuple[str, ...]
    value: FloatArray
    influence: FloatArray
    rows: FloatArray


@dataclass(frozen=True, eq=False)
class Resampled:
    """Values of a statistic in each resample, shape (K, resamples), and of its influence's mean."""

    series: Series
    drawn: FloatArray
    means: FloatArray
    block: float
    seed: int
    horizon: int

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.series.rows)

    @property
    def blocks(self) -> float:
        """How many blocks there are room for."""
        return len(self.series.influence) / self.block

    @property
    def unit(self) -> str:
        """What a block's length counts."""
        return "rows" if self.n == len(self.series.influence) else "stamps"


@dataclass(frozen=True)
class Bounds:
    """An interval and a p-value of "is 0"; ``error`` is the resampled standard error."""

    low: float | None = None
    high: float | None = None
    p: float | None = None
    error: float | None = None
    reason: str = ""


def counts(n: int, block: float, resamples: int, seed: int) -> Iterator[FloatArray]:
    """Yield how often each of ``n`` rows stands in each resample, shape (some, n), in all."""
    for draws in draws_of(n, block, resamples, seed):
        some = len(draws.first)
        rows = draws.rows() + (np.arange(some) * n)[:, None]
        held = np.bincount(rows.ravel(), minlength=some * n).reshape(some, n)
        yield held.astype(np.float64)


def shared_block(series: Sequence[Series], horizon: int) -> tuple[float, tuple[Finding, ...]]:
    """Return the longest block that a variant's own series or its distance to the mean asks for.

    A difference of two variants is a difference of two such distances.
    """
    lengths = [1.0]
    findings: list[Finding] = []
    for one in series:
        centred = one.influence - one.influence.mean(axis=1, keepdims=True)
        for column in (*one.influence.T, *(centred.T if one.influence.shape[1] > 1 else ())):
            found = choose_block(column, horizon, f"comparison, {one.metric}")
            lengths.append(found.length)
            findings += found.findings
    first = {finding.code: finding for finding in reversed(findings)}
    return max(lengths), tuple(first.values())


Measure = Callable[[FloatArray], FloatArray]


def resample(
    measured: Sequence[tuple[Series, Measure]],
    *,
    block: float,
    horizon: int,
    seed: int,
    resamples: int = RESAMPLES,
) -> dict[str, Resampled]:
    """Return every statistic in the same resamples, by metric.

    Parameters
    ----------
    measured
        Statistic and how to compute it from counts: (some, n) → (K, some).
    """
    n = len(measured[0][0].influence)
    values: dict[str, list[FloatArray]] = {series.metric: [] for series, _ in measured}
    pulls: dict[str, list[FloatArray]] = {series.metric: [] for series, _ in measured}
    for held in counts(n, block, resamples, seed):
        for series, compute in measured:
            values[series.metric].append(compute(held))
            pulls[series.metric].append((held @ series.influence).T / n)
    return {
        series.metric: Resampled(
            series,
            np.concatenate(values[series.metric], axis=1),
            np.concatenate(pulls[series.metric], axis=1),
            block,
            seed,
            horizon,
        )
        for series, _ in measured
    }


# ── how a statistic is computed from counts ──────────────────────────────────────────────────────


def means(values: FloatArray, sizes: FloatArray | None = None) -> Measure:
    """Return "mean of each column" of ``values``, shape (n, K); of sums of ``sizes`` rows each."""

    def measure(held: FloatArray) -> FloatArray:
        mean: FloatArray = (held @ values).T / (len(values) if sizes is None else held @ sizes)
        return mean

    return measure


def deviations(returns: FloatArray) -> Measure:
    """Return the standard deviation (ddof 1) of each column."""
    n = len(returns)
    centre = returns.mean(axis=0)
    squares = (returns - centre) ** 2

    def measure(held: FloatArray) -> FloatArray:
        shift = (held @ returns).T / n - centre[:, None]
        variance = (held @ squares).T / n - shift**2
        spread: FloatArray = np.sqrt(np.maximum(variance, 0.0) * n / max(n - 1, 1))
        return spread

    return measure


def sharpes(returns: FloatArray) -> Measure:
    """Return "mean over standard deviation" of each column, NaN where nothing varies."""
    return _ratios(means(returns), deviations(returns))


def sortinos(returns: FloatArray) -> Measure:
    """Return "mean over downside deviation" of each column, NaN where nothing is lost."""
    squares = means(np.minimum(returns, 0) ** 2)
    return _ratios(means(returns), lambda held: np.sqrt(squares(held)))


def _ratios(top: Measure, below: Measure) -> Measure:
    def measure(held: FloatArray) -> FloatArray:
        spread = below(held)
        ratio: FloatArray = top(held) / np.where(spread > 1e-15, spread, np.nan)
        return ratio

    return measure


def aucs(up: BoolArray, scores: FloatArray, drawn: IntArray) -> Measure:
    """Return the AUC of each column of ``scores`` against the same column of ``up``.

    ``drawn`` says of each row with which of the drawn it comes (its stamp). Columns that are equal
    are computed once.
    """
    keys = [up[:, k].tobytes() + scores[:, k].tobytes() for k in range(scores.shape[1])]
    first = {key: keys.index(key) for key in keys}
    single = {key: _auc(up[:, k], scores[:, k], drawn) for key, k in first.items()}

    def measure(held: FloatArray) -> FloatArray:
        once = {key: one(held) for key, one in single.items()}
        return np.stack([once[key] for key in keys])

    return measure


def _auc(up: BoolArray, score: FloatArray, drawn: IntArray) -> Callable[[FloatArray], FloatArray]:
    order = np.argsort(score, kind="stable")
    is_up, ranked, whose = up[order], score[order], drawn[order]
    groups = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    tied = len(groups) < len(ranked)

    def measure(held: FloatArray) -> FloatArray:
        # Several rows a stamp: a part of the resamples at a time, so that memory stays bounded.
        pieces = max(1, math.ceil(len(held) * len(whose) / CHUNK_VALUES))
        return np.concatenate([areas(part[:, whose]) for part in np.array_split(held, pieces)])

    def areas(ordered: FloatArray) -> FloatArray:
        ups, downs = ordered * is_up, ordered * ~is_up
        if tied:
            ups = np.add.reduceat(ups, groups, axis=1)
            downs = np.add.reduceat(downs, groups, axis=1)
        below = np.cumsum(downs, axis=1) - downs / 2
        pairs = ups.sum(axis=1) * downs.sum(axis=1)
        area: FloatArray = np.einsum("ij,ij->i", ups, below) / np.where(pairs > 0, pairs, np.nan)
        return area

    return measure


# ── intervals ────────────────────────────────────────────────────────────────────────────────────


def bounds(found: Resampled, k: int, level: float, other: int | None = None) -> Bounds:
    """Return the interval of variant ``k``'s value, or of its value minus that of ``other``.

    Percentiles, widened by Student's t with few blocks and, where labels overlap, to the long-run
    error; the p-value is that of the level at which the interval would just touch 0.
    """
    value, drawn = found.series.value[k], found.drawn[k]
    mean, influence = found.means[k], found.series.influence[:, k]
    if other is not None:
        value, drawn = value - found.series.value[other], drawn - found.drawn[other]
        mean, influence = mean - found.means[other], influence - found.series.influence[:, other]
    usable = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(usable) < 0.99 * len(drawn):
        return Bounds(reason="undefined in more than 1 % of the resamples (U004)")
    if found.blocks < 10:
        return Bounds(reason="fewer than ten blocks: no interval can be made (U001)")
    wider = widening(influence, mean, found.horizon, found.blocks, level)
    spread = (usable - value) * wider
    tail = (1 - level) / 2
    low, high = (float(value + q) for q in np.quantile(spread, [tail, 1 - tail]))
    beyond = min(int((value + spread <= 0).sum()), int((value + spread >= 0).sum()))
    p = min(1.0, 2 * (1 + beyond) / (len(usable) + 1))
    return Bounds(low, high, p, float(spread.std()))


def detectable(error: float | None, level: float) -> float | None:
    """Return the difference that this test would have seen four times in five."""
    if error is None:
        return None
    reach = STANDARD_NORMAL.inv_cdf(0.5 + level / 2) + STANDARD_NORMAL.inv_cdf(POWER)
    return reach * error


def corrected(found: Resampled, pairs: Sequence[tuple[int, int]]) -> FloatArray:
    """Return each pair's p of "no difference", corrected for all ``pairs``; shape (pairs,).

    The largest studentised deviation of all pairs in each resample is the yardstick (max-t, White
    2000; Romano & Wolf 2005, first step): it knows how alike the variants are, and does not fade
    with their number as a product of single p-values would. NaN where undefined.
    """
    one, two = (np.array(columns, dtype=np.int64) for columns in zip(*pairs, strict=True))
    value = found.series.value[one] - found.series.value[two]
    largest = np.zeros(found.drawn.shape[1])
    reached = np.full(len(pairs), np.nan)
    for row, (a, b, centre) in enumerate(zip(one, two, value, strict=True)):
        drawn = found.drawn[a] - found.drawn[b]
        error = float(np.nanstd(drawn))
        if not np.isfinite(centre) or error <= _NO_SPREAD:
            continue
        reached[row] = abs(centre) / error
        largest = np.fmax(largest, np.abs(drawn - centre) / error)
    return _share_above(largest, reached)


def _share_above(largest: FloatArray, reached: FloatArray) -> FloatArray:
    """Return the share of resamples whose largest deviation is at least that reached; never 0."""
    ordered = np.sort(largest)
    above = len(ordered) - np.searchsorted(ordered, reached, side="left")
    return np.where(np.isfinite(reached), (1 + above) / (len(ordered) + 1), np.nan)


def above_chance(found: Resampled, null: float) -> FloatArray:
    """Return each variant's p of "not above ``null``", corrected for all of them; shape (K,).

    The largest studentised deviation of all variants in each resample is the yardstick (max-t,
    White 2000; Romano & Wolf 2005, first step). NaN where undefined.
    """
    value = found.series.value
    largest = np.full(found.drawn.shape[1], -np.inf)
    reached = np.full(len(value), np.nan)
    for k, (centre, drawn) in enumerate(zip(value, found.drawn, strict=True)):
        error = float(np.nanstd(drawn))
        if not np.isfinite(centre) or error <= _NO_SPREAD:
            continue
        reached[k] = (centre - null) / error
        largest = np.fmax(largest, (drawn - centre) / error)
    return _share_above(largest, reached)
