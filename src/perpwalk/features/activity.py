"""Volume and candle shape: how much changed hands, and what the last bar looked like."""

from __future__ import annotations

import numpy as np
import talib

from perpwalk.domain import FloatArray
from perpwalk.features.past import PastBars
from perpwalk.features.rolling import (
    ratio,
    rolling_mean,
    rolling_sum,
    rolling_zscore,
    share,
    shift,
)
from perpwalk.features.spec import Feature, family

_WEEK = 168
_QUIET = 1e-3  # floor of volume over its weekly mean, so that a bar without trades has a logarithm


def _log_relative_volume(past: PastBars) -> FloatArray:
    """Return the log of volume over its weekly mean, floored at a thousandth."""
    return np.log(share(past.volume, rolling_mean(past.volume, _WEEK), none=1.0) + _QUIET)


def _log_volume_zscore(past: PastBars, window: int) -> FloatArray:
    return rolling_zscore(_log_relative_volume(past), window)


def _volume_ratio(past: PastBars, fast: int, slow: int) -> FloatArray:
    """Return the log of fast over slow mean volume."""
    means = rolling_mean(past.volume, fast), rolling_mean(past.volume, slow)
    return np.log(share(*means, none=1.0) + _QUIET)


def _obv_change(past: PastBars, window: int) -> FloatArray:
    """Return on-balance volume's change over the window as a share of the window's volume.

    The level of on-balance volume depends on where the file starts; its change does not.
    """
    balance = talib.OBV(past.close, past.volume)
    return share(balance - shift(balance, window), rolling_sum(past.volume, window), none=0.0)


def _accumulation(past: PastBars) -> FloatArray:
    """Return Chaikin's money flow over a day: volume weighted by where bars closed in range."""
    weight = 2 * _close_location(past) - 1
    return share(rolling_sum(weight * past.volume, 24), rolling_sum(past.volume, 24), none=0.0)


def _to_vwap(past: PastBars) -> FloatArray:
    """Return the close over the day's volume-weighted typical price, less 1."""
    typical = (past.high + past.low + past.close) / 3
    traded, volume = rolling_sum(typical * past.volume, 24), rolling_sum(past.volume, 24)
    return share(past.close * volume, traded, none=1.0) - 1


def _signed_volume(past: PastBars) -> FloatArray:
    """Return the last bar's relative volume with the sign of its move."""
    relative = share(past.volume, rolling_mean(past.volume, 24), none=0.0)
    return np.log1p(relative) * np.sign(past.log_return)


VOLUME: list[Feature] = [
    *family("volume", "log_volume_zscore_{}", (24, 168),
            lambda window: _WEEK + window - 1, _log_volume_zscore),
    Feature("volume_ratio_1_24", "volume", 24, lambda past: _volume_ratio(past, 1, 24)),
    Feature("volume_ratio_6_24", "volume", 24, lambda past: _volume_ratio(past, 6, 24)),
    Feature("volume_ratio_24_168", "volume", 168, lambda past: _volume_ratio(past, 24, 168)),
    *family("volume", "obv_change_{}", (3, 6, 24, 72), lambda window: window + 1, _obv_change),
    Feature("accumulation_24", "volume", 24, _accumulation),
    Feature("close_to_vwap_24", "volume", 24, _to_vwap),
    Feature("signed_volume_24", "volume", 24, _signed_volume),
]  # fmt: skip


def _range(past: PastBars) -> FloatArray:
    return np.log(past.high / past.low)


def _body(past: PastBars) -> FloatArray:
    return np.log(past.close / past.open)


def _body_share(past: PastBars) -> FloatArray:
    """Return TA-Lib's balance of power: body over range, -1 to 1."""
    share: FloatArray = talib.BOP(past.open, past.high, past.low, past.close)
    return share


def _upper_shadow(past: PastBars) -> FloatArray:
    return np.log(past.high / np.maximum(past.open, past.close))


def _lower_shadow(past: PastBars) -> FloatArray:
    return np.log(np.minimum(past.open, past.close) / past.low)


def _close_location(past: PastBars) -> FloatArray:
    """Return the close's place in the bar's range, 0 at the low, 1 at the high; 0.5 when flat."""
    return ratio(past.close / past.low - 1, past.high / past.low - 1, flat=0.5)


def _mean_body_share(past: PastBars, window: int) -> FloatArray:
    return rolling_mean(_body_share(past), window)


def _gap(past: PastBars) -> FloatArray:
    """Return the log move from the previous close to this open."""
    return np.log(past.open) - shift(past.log_close, 1)


CANDLE: list[Feature] = [
    Feature("candle_range", "candle", 1, _range),
    Feature("candle_body", "candle", 1, _body),
    Feature("body_share", "candle", 1, _body_share),
    Feature("upper_shadow", "candle", 1, _upper_shadow),
    Feature("lower_shadow", "candle", 1, _lower_shadow),
    Feature("shadow_balance", "candle", 1, lambda past: _lower_shadow(past) - _upper_shadow(past)),
    Feature("close_location", "candle", 1, _close_location),
    *family("candle", "mean_body_share_{}", (3, 6), lambda window: window, _mean_body_share),
    Feature("open_gap", "candle", 2, _gap),
]
