"""Windowed sums, means and deviations that depend on their window and on nothing before it.

TA-Lib and pandas slide a running sum along the series: add the newest value, subtract the oldest.
Its rounding carries all of history along, and a variance made of two such sums loses most of its
digits where prices are large against their moves. Here a window of ``w`` bars is put together from
blocks of 1, 2, 4, 8, ... bars, so a value is bit-identical however much history came before it, at
``log2(w)`` vector operations per series.

All functions take arrays of shape (n,) and return shape (n,); a window that is not complete, or
that holds a NaN, gives NaN.
"""

from __future__ import annotations

import math

import numpy as np

from perpwalk.domain import FloatArray

# Denominators are scale-free quantities; below this they are a flat market's rounding.
NEGLIGIBLE = 1e-12
# A recursive average has forgotten its start when the start's weight is below this.
_FORGOTTEN = 1e-14


def shift(values: FloatArray, bars: int) -> FloatArray:
    """Return the value ``bars`` >= 0 earlier at each bar, NaN where there is none.

    >>> shift(np.array([1.0, 2.0, 3.0]), 1)
    array([nan,  1.,  2.])
    """
    if bars < 0:
        raise ValueError(f"shift by {bars} bars would read the future; give a count >= 0")
    shifted = np.full(len(values), np.nan)
    shifted[bars:] = values[: max(len(values) - bars, 0)]
    return shifted


def rolling_sum(values: FloatArray, window: int) -> FloatArray:
    """Return the sum of the last ``window`` values, the current one included.

    >>> rolling_sum(np.array([1.0, 2.0, 3.0, 4.0]), 3)
    array([nan, nan,  6.,  9.])
    """
    _check_window(window)
    block, size = np.array(values, dtype=np.float64), 1
    total, taken, rest = np.zeros(len(block)), 0, window
    while rest:
        if rest & 1:
            total = total + shift(block, taken)
            taken += size
        rest >>= 1
        if rest:
            block = block + shift(block, size)
            size *= 2
    return total


def rolling_mean(values: FloatArray, window: int) -> FloatArray:
    """Return the mean of the last ``window`` values."""
    return rolling_sum(values, window) / window


def rolling_std(values: FloatArray, window: int, *, ddof: int = 1) -> FloatArray:
    """Return the standard deviation of the last ``window`` values.

    Blocks are merged by mean and sum of squared deviations (Chan, Golub & LeVeque 1983), so no
    digits cancel however large the mean is.

    >>> rolling_std(np.array([1e9, 1e9 + 2, 1e9 + 4]), 3)
    array([nan, nan,  2.])
    """
    _check_window(window)
    if window <= ddof:
        raise ValueError(f"a window of {window} has no standard deviation with ddof={ddof}")
    block_mean = np.array(values, dtype=np.float64)
    block_squares, size = block_mean * 0.0, 1
    mean, squares, taken, rest = block_mean, block_squares, 0, window
    while rest:
        if rest & 1:
            mean, squares = _merge(
                mean, squares, taken, shift(block_mean, taken), shift(block_squares, taken), size
            )
            taken += size
        rest >>= 1
        if rest:
            block_mean, block_squares = _merge(
                block_mean,
                block_squares,
                size,
                shift(block_mean, size),
                shift(block_squares, size),
                size,
            )
            size *= 2
    deviation: FloatArray = np.sqrt(squares / (window - ddof))
    return deviation


def rolling_zscore(values: FloatArray, window: int) -> FloatArray:
    """Return how many deviations the current value lies from its window's mean; 0 when flat."""
    centred = values - rolling_mean(values, window)
    return ratio(centred, rolling_std(values, window))


def ratio(numerator: FloatArray, denominator: FloatArray, *, flat: float = 0.0) -> FloatArray:
    """Divide, giving ``flat`` where the denominator vanishes (a market that stands still).

    >>> ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
    array([0.5, 0. ])
    """
    vanishing = np.abs(denominator) < NEGLIGIBLE
    divided = numerator / np.where(vanishing, 1.0, denominator)
    result: FloatArray = np.where(vanishing & ~np.isnan(numerator), flat, divided)
    return result


def share(part: FloatArray, whole: FloatArray, *, none: float) -> FloatArray:
    """Divide volumes or money, giving ``none`` where nothing changed hands at all.

    Unlike ``ratio`` it knows no smallest denominator: volumes come in any unit.

    >>> share(np.array([1e-20, 0.0, np.nan]), np.array([2e-20, 0.0, 1.0]), none=0.0)
    array([0.5, 0. , nan])
    """
    nothing = whole == 0
    divided = part / np.where(nothing, 1.0, whole)
    result: FloatArray = np.where(nothing & ~np.isnan(part), none, divided)
    return result


def forget_bars(decay: float) -> int:
    """Return how many bars a recursive average with this per-bar ``decay`` needs to forget.

    >>> forget_bars(0.5)
    47
    """
    return math.ceil(math.log(_FORGOTTEN) / math.log(decay))


def ema_lookback(span: int) -> int:
    """Return the bars that determine TA-Lib's EMA of ``span``: its seed, then forgetting it."""
    return span + forget_bars((span - 1) / (span + 1))


def wilder_lookback(period: int) -> int:
    """Return the bars that determine Wilder's smoothing of ``period`` over bar-to-bar changes."""
    return period + 1 + forget_bars((period - 1) / period)


def _merge(
    mean: FloatArray,
    squares: FloatArray,
    count: int,
    other_mean: FloatArray,
    other_squares: FloatArray,
    other_count: int,
) -> tuple[FloatArray, FloatArray]:
    """Join two blocks' means and sums of squared deviations."""
    if count == 0:
        return other_mean, other_squares
    total = count + other_count
    delta = other_mean - mean
    return (
        mean + delta * (other_count / total),
        squares + other_squares + delta * delta * (count * other_count / total),
    )


def _check_window(window: int) -> None:
    if window < 1:
        raise ValueError(f"a window of {window} bars is empty; give a count >= 1")
