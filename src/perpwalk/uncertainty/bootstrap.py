"""The stationary bootstrap: intervals for numbers whose rows depend on their neighbours.

Politis & Romano 1994: resample blocks of geometric length in time order, around the end to the
start. Block length: automatic (Politis & White 2004, corrected 2009, from ``arch``), at least twice
the label horizon, at most a tenth of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perpwalk.domain import Finding, FloatArray, IntArray, Level
from perpwalk.uncertainty.estimate import Estimate, two_sided_z

CHUNK_VALUES = 4_000_000  # resampled rows held at a time: 32 MB of indices
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
    automatic = _automatic_length(influence)
    cap = n / FEW_BLOCKS
    length = least if automatic is None else max(least, min(automatic, cap))
    findings: list[Finding] = []
    if automatic is not None and automatic > cap:
        findings.append(_capped(where, automatic, length))
    if n / length < FEW_BLOCKS:
        findings.append(_too_few_blocks(where, n, length))
    return Block(min(max(1.0, length), float(max(n, 1))), automatic, tuple(findings))


def _automatic_length(influence: FloatArray) -> float | None:
    """Return arch's stationary-bootstrap block length; None where the series is too short or flat."""
    if len(influence) < 20 or np.ptp(influence) == 0:
        return None
    from arch.bootstrap import optimal_block_length

    found = float(optimal_block_length(influence)["stationary"].iloc[0])
    return found if np.isfinite(found) else None


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


def stationary_indices(n: int, block: float, resamples: int, rng: np.random.Generator) -> IntArray:
    """Return row numbers of ``resamples`` stationary-bootstrap samples; shape (resamples, n).

    Each row starts a new block with probability ``1 / block``, else follows its neighbour.
    """
    position = np.arange(n)
    begins = rng.random((resamples, n)) < 1 / block
    begins[:, 0] = True
    starts = rng.integers(0, n, size=(resamples, n))
    last = np.maximum.accumulate(np.where(begins, position, 0), axis=1)
    indices: IntArray = np.take_along_axis(starts, last, axis=1) + (position - last)
    indices %= n
    return indices


def _chunks(n: int, block: float, resamples: int, seed: int) -> Iterator[IntArray]:
    rng = np.random.default_rng(seed)
    at_once = max(1, CHUNK_VALUES // max(n, 1))
    for start in range(0, resamples, at_once):
        yield stationary_indices(n, block, min(at_once, resamples - start), rng)


def bootstrap(
    statistic: Callable[[IntArray], FloatArray],
    n: int,
    block: float,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> FloatArray:
    """Return ``statistic`` of each resample; shape (resamples,), NaN where it is undefined.

    ``statistic`` takes row numbers of shape (k, n) and returns k values. The draws depend on
    ``n``, ``block`` and ``seed`` alone, so two statistics see the same resamples.
    """
    return np.concatenate([statistic(rows) for rows in _chunks(n, block, resamples, seed)])


def mean_of(values: FloatArray) -> Callable[[IntArray], FloatArray]:
    """Return the statistic "mean of these values"."""

    def statistic(rows: IntArray) -> FloatArray:
        means: FloatArray = values[rows].mean(axis=1)
        return means

    return statistic


def sharpe_of(returns: FloatArray) -> Callable[[IntArray], FloatArray]:
    """Return the statistic "mean over standard deviation", NaN where nothing varies."""

    def statistic(rows: IntArray) -> FloatArray:
        drawn = returns[rows]
        deviation = drawn.std(axis=1, ddof=1)
        safe = np.where(deviation > 0, deviation, np.nan)
        ratio: FloatArray = drawn.mean(axis=1) / safe
        return ratio

    return statistic


def auc_of(label: npt.ArrayLike, score: npt.ArrayLike) -> Callable[[IntArray], FloatArray]:
    """Return the statistic "AUC", NaN where a resample has one class.

    Rows are sorted by score once; a resample is then only a count per row, so its AUC is one pass
    over the counts instead of another sort.
    """
    values = np.asarray(score, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    is_up = (np.asarray(label) == 1)[order]
    ranked = values[order]
    ties = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))

    def statistic(rows: IntArray) -> FloatArray:
        k, n = len(rows), len(order)
        flat = place[rows] + (np.arange(k) * n)[:, None]
        counts = np.bincount(flat.ravel(), minlength=k * n).reshape(k, n).astype(np.float64)
        ups = np.add.reduceat(np.where(is_up, counts, 0.0), ties, axis=1)
        downs = np.add.reduceat(np.where(is_up, 0.0, counts), ties, axis=1)
        below = np.cumsum(downs, axis=1) - downs / 2
        pairs = ups.sum(axis=1) * downs.sum(axis=1)
        area: FloatArray = (ups * below).sum(axis=1) / np.where(pairs > 0, pairs, np.nan)
        return area

    return statistic


def bootstrap_estimate(
    value: float,
    statistic: Callable[[IntArray], FloatArray],
    influence: FloatArray,
    *,
    horizon: int,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    where: str = "bootstrap",
) -> tuple[Estimate, tuple[Finding, ...]]:
    """Return ``value`` with its percentile interval, widened by Student's t below 200 blocks.

    Parameters
    ----------
    influence
        Per-row pull on the statistic, shape (n,); sets the block length.
    where
        What the estimate is called in findings.

    Returns
    -------
    Estimate
        Bounds are None where fewer than ten blocks fit.
    tuple of Finding
        U001, U002, U004.
    """
    n = len(influence)
    block = choose_block(influence, horizon, where)
    method = f"stationary bootstrap, mean block {block.length:.1f} rows, {resamples} resamples"
    if any(f.level is Level.ERROR for f in block.findings):
        reason = block.findings[-1].message
        return Estimate(value=value, level=confidence, n=n, reason=reason), block.findings
    drawn = bootstrap(statistic, n, block.length, resamples=resamples, seed=seed)
    usable = drawn[np.isfinite(drawn)]
    findings = block.findings + _degenerate(where, len(drawn) - len(usable), len(drawn))
    if len(usable) == 0:
        reason = "the statistic is undefined in every resample"
        return Estimate(value=value, level=confidence, n=n, reason=reason), findings
    low, high = _percentiles(value, usable, confidence, n / block.length)
    return (
        Estimate(
            value=value, low=low, high=high, level=confidence, method=method, n=n,
            block=block.length, seed=seed,
        ),
        findings,
    )  # fmt: skip


def _percentiles(
    value: float, drawn: FloatArray, confidence: float, blocks: float
) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    low, high = (float(q) for q in np.quantile(drawn, [tail, 1 - tail]))
    if blocks >= T_BELOW_BLOCKS:
        return low, high
    from scipy.special import stdtrit

    wider = float(stdtrit(max(blocks - 1, 1.0), 1 - tail)) / two_sided_z(confidence)
    return value + (low - value) * wider, value + (high - value) * wider


def _degenerate(where: str, undefined: int, drawn: int) -> tuple[Finding, ...]:
    if undefined <= DEGENERATE_SHARE * drawn:
        return ()
    return (
        Finding(
            code="U004",
            level=Level.ERROR,
            where=where,
            message="more than 1 % of the resamples leave the statistic undefined",
            observed=f"{undefined:,} of {drawn:,}",
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
    centred = values - values.mean()
    lags = np.arange(n)
    gamma = np.array([centred[k:] @ centred[: n - k] / n for k in range(n)])
    weight = (1 - lags / n) * (1 - p) ** lags + (lags / n) * (1 - p) ** (n - lags)
    return float(gamma[0] + 2 * weight[1:] @ gamma[1:]) / n
