"""Momentum: the classical oscillators."""

from __future__ import annotations

import numpy as np
import talib

from perpwalk.domain import FloatArray
from perpwalk.features.past import PastBars
from perpwalk.features.rolling import (
    ema_lookback,
    forget_bars,
    ratio,
    rolling_mean,
    rolling_sum,
    share,
    shift,
    wilder_lookback,
)
from perpwalk.features.spec import Feature, family

_MACD_LOOKBACK = ema_lookback(26) + 30  # the signal line smooths once more, over 9 bars
# Three averages in a row: the last one forgets the first one's start later than one alone would.
_TRIX_LOOKBACK = 3 * 9 + 1 + 2 * forget_bars(8 / 10)


def _rsi(past: PastBars, period: int) -> FloatArray:
    index: FloatArray = talib.RSI(past.close, period)
    return index


def _macd(past: PastBars, output: int) -> FloatArray:
    """Return MACD(12, 26, 9)'s line (0), signal (1) or histogram (2) as a share of the close."""
    prices: FloatArray = talib.MACD(past.close, 12, 26, 9)[output]
    return prices / past.close


def _roc(past: PastBars, span: int) -> FloatArray:
    """Return the rate of change in percent."""
    change: FloatArray = talib.ROC(past.close, span)
    return change


def _roc_change(past: PastBars) -> FloatArray:
    """Return how the six-bar rate of change itself moved over six bars."""
    change = _roc(past, 6)
    return change - shift(change, 6)


def _stochastic_k(past: PastBars) -> FloatArray:
    """Return the close's place in the 14-bar range, in percent; 50 when flat."""
    top, bottom = talib.MAX(past.high, 14), talib.MIN(past.low, 14)
    return 100 * ratio(past.close / bottom - 1, top / bottom - 1, flat=0.5)


def _stochastic_d(past: PastBars) -> FloatArray:
    return rolling_mean(_stochastic_k(past), 3)


def _money_flow(past: PastBars) -> FloatArray:
    """Return the share of 14 bars' money that changed hands on rising typical prices; 0.5 if none.

    TA-Lib's MFI treats a money flow below 1 unit as none, so it depends on the volume's unit.
    """
    typical = (past.high + past.low + past.close) / 3
    money = typical * past.volume
    direction = np.sign(typical - shift(typical, 1))
    rising = rolling_sum(money * np.maximum(direction, 0.0), 14)
    moving = rolling_sum(money * np.abs(direction), 14)
    return share(rising, moving, none=0.5)


def _trix(past: PastBars) -> FloatArray:
    """Return the percent change of a triple-smoothed close."""
    change: FloatArray = talib.TRIX(past.close, 9)
    return change


MOMENTUM: list[Feature] = [
    *family("momentum", "rsi_{}", (6, 14, 18), wilder_lookback, _rsi),
    Feature("macd", "momentum", _MACD_LOOKBACK, lambda past: _macd(past, 0)),
    Feature("macd_signal", "momentum", _MACD_LOOKBACK, lambda past: _macd(past, 1)),
    Feature("macd_histogram", "momentum", _MACD_LOOKBACK, lambda past: _macd(past, 2)),
    *family("momentum", "roc_{}", (5, 10, 20, 60), lambda span: span + 1, _roc),
    Feature("roc_change_6", "momentum", 13, _roc_change),
    Feature("stochastic_k_14", "momentum", 14, _stochastic_k),
    Feature("stochastic_d_14", "momentum", 16, _stochastic_d),
    Feature("money_flow_14", "momentum", 15, _money_flow),
    Feature("trix_9", "momentum", _TRIX_LOOKBACK, _trix),
]
