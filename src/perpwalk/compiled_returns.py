"""The figures of ``perpwalk.returns`` of one equity curve, compiled: for thousands of curves."""

from __future__ import annotations

import math

import numba
import numpy as np

from perpwalk.domain import FloatArray
from perpwalk.uncertainty.sharpe import FLAT

MEAN, DEVIATION, DRAWDOWN, RATIO = range(4)
FIGURES = 4


@numba.njit(cache=True, nogil=True, error_model="numpy")
def measure(before: float, equity: FloatArray, returns: FloatArray, figures: FloatArray) -> None:
    """Write mean and deviation (ddof 1) of the returns, their ratio, and the deepest drawdown.

    ``returns`` is filled on the way, as ``perpwalk.returns.equity_returns`` makes them. What is
    undefined is NaN: a deviation below two bars, a ratio without variance.
    """
    n = len(equity)
    previous, peak, deepest, total, largest = before, before, 0.0, 0.0, 0.0
    for i in range(n):
        now = equity[i]
        gained = now / previous - 1.0 if previous > 0.0 else 0.0
        returns[i] = gained
        total += gained
        largest = max(largest, abs(gained))
        peak = max(peak, now)
        if now - peak < deepest * peak:
            deepest = now / peak - 1.0
        previous = now
    mean = total / n
    squares = 0.0
    for i in range(n):
        squares += (returns[i] - mean) ** 2
    deviation = math.sqrt(squares / (n - 1)) if n > 1 else np.nan
    varies = n > 2 and deviation > FLAT * max(abs(mean), largest)
    figures[MEAN], figures[DEVIATION], figures[DRAWDOWN] = mean, deviation, deepest
    figures[RATIO] = mean / deviation if varies else np.nan
