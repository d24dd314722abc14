"""Returns and trend: where the price came from, and where it stands against its own averages."""

from __future__ import annotations

import numpy as np
import talib

from perpwalk.domain import FloatArray
from perpwalk.features.past import PastBars
from perpwalk.features.rolling import (
    ema_lookback,
    ratio,
    rolling_mean,
    rolling_std,
    shift,
    wilder_lookback,
)
from perpwalk.features.spec import Feature, family

_VOLATILITY_WINDOW = 168


def _log_return(past: PastBars, span: int) -> FloatArray:
    return past.log_close - shift(past.log_close, span)


def _simple_return(past: PastBars, span: int) -> FloatArray:
    return np.expm1(_log_return(past, span))


def _lagged_return(past: PastBars, lag: int) -> FloatArray:
    return shift(past.log_return, lag)


def _scaled_return(past: PastBars, span: int) -> FloatArray:
    """Return the move in units of what a random walk of recent volatility would make."""
    usual = rolling_std(past.log_return, _VOLATILITY_WINDOW) * np.sqrt(span)
    return ratio(_log_return(past, span), usual)


def _up_share(past: PastBars, window: int) -> FloatArray:
    rising = np.sign(past.log_return) / 2 + 0.5  # an unchanged close counts half
    return rolling_mean(rising, window)


RETURNS: list[Feature] = [
    *family("returns", "log_return_{}", (1, 2, 3, 4, 6, 8, 12, 24, 48, 72, 168),
            lambda span: span + 1, _log_return),
    *family("returns", "return_{}", (1, 6, 24), lambda span: span + 1, _simple_return),
    *family("returns", "log_return_lag_{}", (1, 2, 3), lambda lag: lag + 2, _lagged_return),
    *family("returns", "scaled_return_{}", (1, 4, 24),
            lambda _: _VOLATILITY_WINDOW + 1, _scaled_return),
    *family("returns", "up_share_{}", (6, 12, 24), lambda window: window + 1, _up_share),
]  # fmt: skip


def _to_sma(past: PastBars, window: int) -> FloatArray:
    return past.close / rolling_mean(past.close, window) - 1


def _to_ema(past: PastBars, span: int) -> FloatArray:
    average: FloatArray = talib.EMA(past.close, span)
    return past.close / average - 1


def _sma_ratio(past: PastBars, fast: int, slow: int) -> FloatArray:
    return rolling_mean(past.close, fast) / rolling_mean(past.close, slow) - 1


def _channel_position(past: PastBars, window: int) -> FloatArray:
    """Return the close's place between the window's low (0) and high (1); 0.5 when flat."""
    top, bottom = talib.MAX(past.high, window), talib.MIN(past.low, window)
    return ratio(past.close / bottom - 1, top / bottom - 1, flat=0.5)


def _slope(past: PastBars, window: int) -> FloatArray:
    """Return the least-squares slope of the log close, per bar."""
    slope: FloatArray = talib.LINEARREG_SLOPE(past.log_close, window)
    return slope


def _ema_ratio(past: PastBars) -> FloatArray:
    quotient: FloatArray = talib.EMA(past.close, 12) / talib.EMA(past.close, 26)
    return quotient - 1


def _adx(past: PastBars) -> FloatArray:
    strength: FloatArray = talib.ADX(past.high, past.low, past.close, 14)
    return strength


def _directional_balance(past: PastBars) -> FloatArray:
    columns = (past.high, past.low, past.close)
    up, down = talib.PLUS_DI(*columns, 14), talib.MINUS_DI(*columns, 14)
    return ratio(up - down, up + down)


def _aroon(past: PastBars) -> FloatArray:
    oscillator: FloatArray = talib.AROONOSC(past.high, past.low, 24)
    return oscillator


TREND: list[Feature] = [
    *family("trend", "close_to_sma_{}", (6, 12, 24, 48, 72, 168, 336), lambda w: w, _to_sma),
    *family("trend", "close_to_ema_{}", (6, 12, 24), ema_lookback, _to_ema),
    Feature("sma_ratio_6_24", "trend", 24, lambda past: _sma_ratio(past, 6, 24)),
    Feature("sma_ratio_12_48", "trend", 48, lambda past: _sma_ratio(past, 12, 48)),
    Feature("sma_ratio_24_168", "trend", 168, lambda past: _sma_ratio(past, 24, 168)),
    Feature("ema_ratio_12_26", "trend", ema_lookback(26), _ema_ratio),
    *family("trend", "channel_position_{}", (12, 24, 72, 168), lambda w: w, _channel_position),
    *family("trend", "slope_{}", (12, 24, 72), lambda w: w, _slope),
    # Smoothed twice: the second smoothing forgets the first one's start a little later.
    Feature("adx_14", "trend", wilder_lookback(14) + 80, _adx),
    Feature("directional_balance_14", "trend", wilder_lookback(14), _directional_balance),
    Feature("aroon_24", "trend", 25, _aroon),
]
