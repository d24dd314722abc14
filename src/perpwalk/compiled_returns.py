"""The figures of ``perpwalk.returns`` of one equity curve, compiled: for thousands of curves.

Sums run in ``LANES`` lanes, one bar in each in turn, which a processor adds side by side; how many
it takes at once does not change them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from perpwalk import kernels
from perpwalk.domain import FloatArray
from perpwalk.uncertainty.sharpe import FLAT

F = TypeVar("F", bound=Callable[..., object])

MEAN, DEVIATION, DRAWDOWN, RATIO, EXPOSURE = range(5)
FIGURES = 5
LANES = 64
SUMMED, LARGEST, EXPOSED = range(3)  # rows of the lanes
LANE_ROWS = 3

_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}


def compiled(function: F) -> F:
    """Compile ``function`` with numba and keep the machine code beside the source."""
    return kernels.kept(**_OPTIONS)(function)


# Two equal numbers are one extreme and none is NaN: that it may be assumed changes no bit.
@kernels.kept(fastmath={"nnan", "nsz"}, **_OPTIONS)
def extremes(curve: FloatArray, first: int, past: int) -> tuple[float, float]:
    """Return the lowest and the highest value of ``first:past``."""
    low = high = curve[first]
    for i in range(first + 1, past):
        value = curve[i]
        low = value if value < low else low
        high = value if value > high else high
    return low, high


@compiled
def deepest_drawdown(before: float, equity: FloatArray) -> float:
    """Return the deepest fall from the highest point so far, ≤ 0.

    Stretches that cannot hold a deeper one than is known are passed over.
    """
    peak, deepest = before, 0.0
    for first in range(0, len(equity), LANES):
        past = min(first + LANES, len(equity))
        low, high = extremes(equity, first, past)
        top = max(peak, high)
        if low - top < deepest * top:
            for i in range(first, past):
                peak = max(peak, equity[i])
                if equity[i] - peak < deepest * peak:
                    deepest = equity[i] / peak - 1.0
        peak = top
    return deepest


@compiled
def write_returns(before: float, equity: FloatArray, returns: FloatArray) -> None:
    """Write simple returns, as ``perpwalk.returns.equity_returns`` makes them."""
    returns[0] = equity[0] / before - 1.0 if before > 0.0 else 0.0
    for i in range(1, len(equity)):
        gained = equity[i] / equity[i - 1] - 1.0
        returns[i] = gained if equity[i - 1] > 0.0 else 0.0


@numba.njit(inline="always", **_OPTIONS)
def add_bar(
    i: int, lane: int, equity: FloatArray, notional: FloatArray, returns: FloatArray,
    kept: FloatArray,
) -> None:  # fmt: skip
    """Add bar i to a lane; choices are written so that a processor can make many at once."""
    gained, now, largest = returns[i], equity[i], kept[LARGEST, lane]
    size, exposure = abs(gained), abs(notional[i] / now)
    kept[SUMMED, lane] += gained
    kept[LARGEST, lane] = size if size > largest else largest
    kept[EXPOSED, lane] += exposure if now > 0.0 else 0.0


@compiled
def sum_up(equity: FloatArray, notional: FloatArray, returns: FloatArray, kept: FloatArray) -> None:
    """Keep in each lane the sum of its returns, the largest of them and the sum of exposures."""
    kept[:] = 0.0
    rows = len(equity) // LANES
    for row in range(rows):
        for lane in range(LANES):
            add_bar(row * LANES + lane, lane, equity, notional, returns, kept)
    for lane in range(len(equity) - rows * LANES):
        add_bar(rows * LANES + lane, lane, equity, notional, returns, kept)


@compiled
def sum_squares(mean: float, returns: FloatArray, kept: FloatArray) -> None:
    """Keep in each lane the sum of its squared distances from the mean."""
    kept[SUMMED] = 0.0
    rows = len(returns) // LANES
    for row in range(rows):
        for lane in range(LANES):
            kept[SUMMED, lane] += (returns[row * LANES + lane] - mean) ** 2
    for lane in range(len(returns) - rows * LANES):
        kept[SUMMED, lane] += (returns[rows * LANES + lane] - mean) ** 2


@compiled
def measure(
    before: float,
    equity: FloatArray,
    notional: FloatArray,
    returns: FloatArray,
    kept: FloatArray,
    figures: FloatArray,
) -> None:
    """Write mean and deviation (ddof 1) of the returns, their ratio, drawdown and mean exposure.

    ``returns`` is filled on the way, ``kept`` (``LANE_ROWS``, ``LANES``) is scratch. What is
    undefined is NaN: a deviation below two bars, a ratio without variance. Exposure is
    ``notional`` over equity, unsigned; none where equity is not above zero.
    """
    n = len(equity)
    write_returns(before, equity, returns)
    sum_up(equity, notional, returns, kept)
    total, largest, exposed = 0.0, 0.0, 0.0
    for lane in range(LANES):
        total += kept[SUMMED, lane]
        largest = max(largest, kept[LARGEST, lane])
        exposed += kept[EXPOSED, lane]
    mean, squares = total / n, 0.0
    sum_squares(mean, returns, kept)
    for lane in range(LANES):
        squares += kept[SUMMED, lane]
    deviation = math.sqrt(squares / (n - 1)) if n > 1 else np.nan
    varies = n > 2 and deviation > FLAT * max(abs(mean), largest)
    figures[MEAN], figures[DEVIATION] = mean, deviation
    figures[DRAWDOWN] = deepest_drawdown(before, equity)
    figures[RATIO] = mean / deviation if varies else np.nan
    figures[EXPOSURE] = exposed / n
