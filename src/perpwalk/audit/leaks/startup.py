"""Features must not depend on how much history happens to precede them.

Cumulative sums and recursive averages never quite forget their start. That is no look-ahead, but a
live run that starts elsewhere then sees other values than the backtest did.
"""

from __future__ import annotations

import numpy as np

from perpwalk.audit.leaks.contract import Outcome, Pipeline
from perpwalk.audit.leaks.surrogates import without_start
from perpwalk.domain import FeatureFrame, Finding, FloatArray, Level, Market

CHANGE = 1e-3
DROPPED_SHARE = 0.25


def audit_startup(pipeline: Pipeline, market: Market, full: FeatureFrame) -> Outcome:
    """Drop the first quarter of the bars and compare what both computations define.

    Rows are compared once the declared look-back has passed since the new start. A change counts
    against the feature's own spread (its deviation over all rows), so that values near 0 do not.

    Returns
    -------
    Outcome
        One K009 per column that moves by more than a thousandth of its spread.
    """
    first = int(DROPPED_SHARE * len(market.bars))
    begin = first + full.lookback
    if begin >= len(market.bars):
        return Outcome(
            detector="startup",
            summary=f"not judged: after a quarter of the bars less than the look-back of "
            f"{full.lookback} is left",
        )
    late = pipeline.features(without_start(market, first)).values[full.lookback :]
    change = _change(full.values[begin:], late)
    columns = np.flatnonzero(change > CHANGE)
    return Outcome(
        detector="startup",
        summary=f"{len(columns)} of {len(full.names)} features remember where the data begin",
        findings=tuple(_finding(full, int(c), float(change[c]), first) for c in columns),
        numbers={"columns": float(len(columns)), "largest": float(change.max(initial=0.0))},
    )


def _change(full: FloatArray, late: FloatArray) -> FloatArray:
    """Return each column's largest change in units of its deviation; infinite where NaN differ."""
    missing = (np.isnan(full) != np.isnan(late)).any(axis=0)
    spread = np.nan_to_num(np.nanstd(np.where(np.isnan(full), 0.0, full), axis=0))
    gap = np.abs(np.nan_to_num(full) - np.nan_to_num(late)).max(axis=0, initial=0.0)
    change: FloatArray = np.where(missing, np.inf, gap / np.maximum(spread, 1e-12))
    return change


def _finding(full: FeatureFrame, column: int, change: float, first: int) -> Finding:
    name = full.names[column]
    by = "it is missing in one of the two" if np.isinf(change) else f"{change:.3g} of its spread"
    return Finding(
        code="K009",
        level=Level.WARN,
        where=f"feature '{name}'",
        message=f"feature '{name}' depends on where the data begin, {full.lookback} bars after the "
        "start and later",
        observed=f"{by} when the first {first:,} bars are dropped",
        expected=f"at most {CHANGE:g} of its spread",
        why="a live run, or a backtest from another date, computes other values than these",
        advice="bound its memory (a rolling window instead of a running sum), or declare the "
        "look-back that forgets the start",
    )
