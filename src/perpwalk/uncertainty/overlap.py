"""What overlapping labels cost: rows that share returns are worth fewer independent rows."""

from __future__ import annotations

import math

import numpy as np

from perpwalk.domain import FloatArray, IntArray
from perpwalk.uncertainty.estimate import STANDARD_NORMAL


def overlap_vif(horizon: int) -> float:
    """Return the variance inflation of a mean of h-bar sign labels under a constant forecast.

    ``1 + 2 Σ_{k<h} (2/π) asin(1 − k/h)`` for independent Gaussian returns (Sheppard 1899).

    >>> round(overlap_vif(4), 3)
    3.068
    """
    shared = (math.asin(1 - k / horizon) for k in range(1, horizon))
    return 1 + 2 * sum((2 / math.pi) * angle for angle in shared)


def shift_agreement(horizon: int, shift: int) -> float:
    """Return how often a correct h-bar label agrees with itself ``shift`` bars later."""
    distance = abs(shift)
    return 0.5 if distance >= horizon else 0.5 + math.asin(1 - distance / horizon) / math.pi


def autocovariances(values: FloatArray, lags: int) -> FloatArray:
    """Return autocovariances 0 … ``lags`` of a series, each divided by the full length.

    By fast Fourier transform: many lags at once, on one thread, the same bits on every machine
    load (a threaded dot product of short vectors spends its time waiting).
    """
    n = len(values)
    size = 1 << int(2 * n - 1).bit_length()  # zero padding: no lag wraps around
    spectrum = np.fft.rfft(values - values.mean(), size)
    products = np.fft.irfft(spectrum.real**2 + spectrum.imag**2, size)
    gamma: FloatArray = products[: lags + 1] / n
    return gamma


def long_run_variance(values: FloatArray, lags: int) -> float:
    """Return the long-run variance with Bartlett weights (Newey & West 1987); never negative."""
    lags = min(lags, len(values) - 1)
    gamma = autocovariances(values, lags)
    weights = 1 - np.arange(1, lags + 1) / (lags + 1)
    return float(gamma[0] + 2 * weights @ gamma[1:])


def estimated_vif(values: FloatArray, horizon: int) -> float:
    """Return the variance inflation of a series' mean, from ``max(8h, 24)`` Bartlett lags.

    Floored at 1: negative dependence is never taken as extra evidence. 1 where nothing varies.

    Bartlett weights miss a part of the dependence, and the estimate itself is noisy; both make an
    interval too narrow. Fixed-b critical values (Kiefer & Vogelsang 2005) account for both: at 95 %
    they exceed the normal one by the factor ``1 + 1.515 b + 0.212 b²`` for ``b`` lags per row,
    whose square is part of the inflation.
    """
    if len(values) < 3:
        return 1.0
    variance = float(np.var(values))
    if variance <= 0:
        return 1.0
    lags = min(max(8 * horizon, 24), len(values) - 1)
    widening = fixed_b_widening(lags / len(values))
    return max(1.0, long_run_variance(values, lags) / variance * widening**2)


def row_vif(values: FloatArray, horizon: int, groups: IntArray | None = None) -> float:
    """Return the variance inflation of a mean over rows that share their stamps, or their labels.

    Parameters
    ----------
    values
        One per row, shape (n,).
    horizon
        Bars a label looks ahead; at 1 rows of different stamps count as independent.
    groups
        Each row's stamp, numbered from 0, where several contracts share stamps: rows of one stamp
        count as one observation, whatever they have to do with each other (Liang & Zeger 1986).

    Notes
    -----
    Floored at 1, like ``estimated_vif``.
    """
    if groups is None:
        return 1.0 if horizon <= 1 else estimated_vif(values, horizon)
    centred = values - values.mean()
    alone = float(np.sum(centred**2))
    if alone <= 0:
        return 1.0
    together = sum_by(groups, centred)
    in_time = 1.0 if horizon <= 1 else estimated_vif(together, horizon)
    return max(1.0, in_time * float(np.sum(together**2)) / alone)


def sum_by(groups: IntArray, values: FloatArray, count: int = 0) -> FloatArray:
    """Return the sum of ``values`` in each group; groups are numbered from 0, ``count`` at least.

    >>> sum_by(np.array([0, 0, 2]), np.array([1.0, 2.0, 4.0]))
    array([3., 0., 4.])
    """
    return np.bincount(groups, weights=values, minlength=count).astype(np.float64)


def fixed_b_widening(share: float) -> float:
    """Return by how much a 95 % bound exceeds the normal one with ``share`` lags per row."""
    return 1 + 1.515 * share + 0.212 * share**2


def rows_to_detect_accuracy(edge: float, vif: float = 1.0) -> float:
    """Return the rows needed to see an accuracy edge (one-sided 5 %, power 80 %)."""
    return _power(0.95) * 0.25 * vif / edge**2


def rows_to_detect_auc(edge: float, vif: float = 1.0) -> float:
    """Return the balanced rows needed to see an AUC edge (one-sided 1 %, power 80 %)."""
    return _power(0.99) * vif / (3 * edge**2)


def _power(one_sided: float) -> float:
    return (STANDARD_NORMAL.inv_cdf(one_sided) + STANDARD_NORMAL.inv_cdf(0.8)) ** 2
