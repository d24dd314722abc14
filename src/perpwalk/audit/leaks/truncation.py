"""(a) Features at a decision must stay the same when everything after it is cut off.

No training, so it is the cheap test, and the one that names the column. A feature is computed on
the data as they were known at a decision and held against its value from all the data. The idea is
that of freqtrade's *lookahead-analysis*; here at times chosen for what may go wrong there, not only
where trades happened, and with the pattern of missing values compared as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perpwalk.audit.leaks.contract import Outcome, Pipeline
from perpwalk.audit.leaks.surrogates import truncated
from perpwalk.domain import (
    BoolArray,
    FeatureFrame,
    Finding,
    FloatArray,
    Fold,
    IntArray,
    Level,
    Market,
    to_ns,
)

# Sums over arrays of other lengths run in another order: 1e-16 is seen, a leak is far above this.
RELATIVE, ABSOLUTE = 1e-9, 1e-12
_DAY = 24 * 3600 * 10**9
_WEEK = 7 * _DAY


def audit_truncation(
    pipeline: Pipeline,
    market: Market,
    full: FeatureFrame,
    folds: Sequence[Fold],
    *,
    times: int = 60,
    seed: int = 0,
) -> Outcome:
    """Recompute features at some decisions from only what was known then.

    Parameters
    ----------
    full
        Features of the whole market.
    folds
        Their first test decisions are always among the times.
    times
        How many decisions: half drawn at random, the rest special (``decision_rows``).

    Returns
    -------
    Outcome
        One K001 per column that changed.
    """
    rows = decision_rows(market, full, folds, times=times, seed=seed)
    changed = np.zeros((len(rows), len(full.names)), dtype=bool)
    size = np.zeros(changed.shape)
    for place, row in enumerate(rows):
        part = pipeline.features(truncated(market, int(row) + 1)).values[row]
        changed[place], size[place] = differs(part, full.values[row])
    findings = tuple(
        _finding(full, int(column), rows, changed[:, column], size[:, column])
        for column in np.flatnonzero(changed.any(axis=0))
    )
    return Outcome(
        detector="truncation",
        summary=f"{len(findings)} of {len(full.names)} features changed at {len(rows)} decisions "
        "when the future was cut off",
        findings=findings,
        numbers={"times": float(len(rows)), "columns": float(len(findings))},
    )


def differs(part: FloatArray, whole: FloatArray) -> tuple[BoolArray, FloatArray]:
    """Return which values differ beyond rounding, and by how much of their size.

    NaN equals NaN and nothing else.
    """
    missing = np.isnan(part) != np.isnan(whole)
    gap = np.abs(np.nan_to_num(part) - np.nan_to_num(whole))
    scale = np.maximum(np.abs(np.nan_to_num(part)), np.abs(np.nan_to_num(whole)))
    beyond: BoolArray = missing | (gap > RELATIVE * scale + ABSOLUTE)
    relative: FloatArray = np.where(missing, np.inf, gap / np.maximum(scale, ABSOLUTE))
    return beyond, relative


def decision_rows(
    market: Market, full: FeatureFrame, folds: Sequence[Fold], *, times: int, seed: int
) -> IntArray:
    """Return the decisions to look at, ascending: fold starts, special bars, random ones.

    Special are the first complete row, the bars around gaps, those that close at a settlement and
    just before one, and those just before and at the end of a day and of a week.
    """
    draw = np.random.default_rng([seed, 1])
    n, warm = len(full.values), min(full.warmup, len(full.values) - 1)
    starts = [int(fold.test.rows[0]) for fold in folds if len(fold.test)]
    kinds = _special(market)
    share = max(1, (times // 2) // max(len(kinds), 1))
    special = [
        row
        for rows in kinds
        for row in draw.permutation(rows[(rows >= warm) & (rows < n - 1)])[:share]
    ]
    left = max(times - len(starts) - len(special) - 1, times // 4)
    random = draw.integers(warm, n, left)
    return np.unique(np.array([warm, *starts, *special, *random], dtype=np.int64))


def _special(market: Market) -> list[IntArray]:
    close = to_ns(market.bars.close_time)
    interval = to_ns(market.bars.interval)
    stamps = to_ns(market.funding.settle_time)
    at_stamp = np.flatnonzero(np.isin(close, stamps))
    return [
        np.flatnonzero(np.diff(close) != interval),
        at_stamp,
        at_stamp[at_stamp > 0] - 1,
        np.flatnonzero(close % _DAY == 0),
        np.flatnonzero((close + interval) % _DAY == 0),
        # 1970-01-01 was a Thursday: a week ends with the Sunday.
        np.flatnonzero((close + 3 * _DAY) % _WEEK == 0),
    ]


def _finding(
    full: FeatureFrame, column: int, rows: IntArray, changed: BoolArray, size: FloatArray
) -> Finding:
    name, first = full.names[column], rows[int(np.argmax(changed))]
    worst = float(size[changed].max())
    by = "a value instead of none, or none" if np.isinf(worst) else f"up to {worst:.2%} of its size"
    return Finding(
        code="K001",
        level=Level.ERROR,
        where=f"feature '{name}'",
        message=f"feature '{name}' at a decision changes when the bars and settlements after it "
        "are cut off",
        observed=f"{int(changed.sum())} of {len(rows)} decisions, by {by}; first at "
        f"{full.close_time[first]:%Y-%m-%d %H:%M} UTC",
        expected="equal to rounding (1e-9)",
        why="the feature knows something of the future, so every figure built on it is false",
        advice="use only rows up to the decision's own: no centred windows, no filling backwards, "
        "no statistic or filter over the whole series, no period's end before it has come",
    )
