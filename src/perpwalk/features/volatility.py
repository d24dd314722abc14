"""Volatility: how far prices move, by closes, by ranges and by bands."""

from __future__ import annotations

import math

import numpy as np
import talib

from perpwalk.domain import FloatArray
from perpwalk.features.past import PastBars
from perpwalk.features.rolling import (
    ratio,
    rolling_mean,
    rolling_std,
    wilder_lookback,
)
from perpwalk.features.spec import Feature, family

_BAND_WINDOW = 20


def _close_to_close(past: PastBars, window: int) -> FloatArray:
    return rolling_std(past.log_return, window)


def _parkinson(past: PastBars, window: int) -> FloatArray:
    """Return the deviation per bar implied by high-low ranges (Parkinson 1980)."""
    squares = np.log(past.high / past.low) ** 2
    return np.sqrt(rolling_mean(squares, window) / (4 * math.log(2)))


def _garman_klass(past: PastBars, window: int) -> FloatArray:
    """Return the deviation per bar implied by open, high, low, close (Garman & Klass 1980)."""
    spread = np.log(past.high / past.low) ** 2 / 2
    body = np.log(past.close / past.open) ** 2
    variance = rolling_mean(spread - (2 * math.log(2) - 1) * body, window)
    return np.sqrt(np.maximum(variance, 0.0))


def _volatility_ratio(past: PastBars, fast: int, slow: int) -> FloatArray:
    """Return the log of fast over slow volatility; 0 when the market stands still."""
    quotient = ratio(_close_to_close(past, fast), _close_to_close(past, slow), flat=1.0)
    return np.log(np.maximum(quotient, 1e-3))


def _range_ratio(past: PastBars) -> FloatArray:
    """Return the log of the last bar's range over the day's average range."""
    spread = np.log(past.high / past.low)
    return np.log(np.maximum(ratio(spread, rolling_mean(spread, 24), flat=1.0), 1e-3))


def _natr(past: PastBars, period: int) -> FloatArray:
    """Return Wilder's average true range in percent of the close."""
    average: FloatArray = talib.NATR(past.high, past.low, past.close, period)
    return average


def _band_width(past: PastBars) -> FloatArray:
    """Return the width of Bollinger's bands, two deviations each side, over their middle."""
    middle = rolling_mean(past.close, _BAND_WINDOW)
    return 4 * rolling_std(past.close, _BAND_WINDOW, ddof=0) / middle


def _band_position(past: PastBars) -> FloatArray:
    """Return the close's place between the lower (0) and upper (1) band; 0.5 when flat."""
    middle = rolling_mean(past.close, _BAND_WINDOW)
    return 0.5 + ratio(past.close / middle - 1, _band_width(past))


VOLATILITY: list[Feature] = [
    *family("volatility", "volatility_{}", (6, 12, 24, 72, 168),
            lambda window: window + 1, _close_to_close),
    *family("volatility", "parkinson_{}", (6, 24, 72), lambda window: window, _parkinson),
    *family("volatility", "garman_klass_{}", (6, 24, 72), lambda window: window, _garman_klass),
    Feature("volatility_ratio_6_24", "volatility", 25, lambda past: _volatility_ratio(past, 6, 24)),
    Feature("volatility_ratio_24_168", "volatility", 169,
            lambda past: _volatility_ratio(past, 24, 168)),
    Feature("range_ratio_24", "volatility", 24, _range_ratio),
    *family("volatility", "atr_{}", (6, 14), wilder_lookback, _natr),
    Feature("bollinger_width_20", "volatility", _BAND_WINDOW, _band_width),
    Feature("bollinger_position_20", "volatility", _BAND_WINDOW, _band_position),
]  # fmt: skip
