"""Calendar and funding: what the decision's time and the settled rates say."""

from __future__ import annotations

import numpy as np

from perpwalk.domain import FloatArray, to_ns
from perpwalk.features.past import PastBars
from perpwalk.features.rolling import rolling_mean, shift
from perpwalk.features.spec import Feature, family

_DAY_NS = 86_400_000_000_000
# A funding feature looks this much further back than its window, so that a buffer of as many bars
# also holds the settlements in force when the window began (three of them at 8 h and hourly bars).
_SETTLEMENT_MARGIN = 32


def _day_angle(past: PastBars) -> FloatArray:
    """Return the time of day of the decision as an angle; 0 at midnight UTC."""
    angle: FloatArray = 2 * np.pi * (to_ns(past.close_time) % _DAY_NS) / _DAY_NS
    return angle


def _week_angle(past: PastBars) -> FloatArray:
    """Return the time of week of the decision as an angle; 0 at Monday 00:00 UTC."""
    # 1970-01-01 was a Thursday: three days after a Monday.
    since_monday = (to_ns(past.close_time) + 3 * _DAY_NS) % (7 * _DAY_NS)
    angle: FloatArray = 2 * np.pi * since_monday / (7 * _DAY_NS)
    return angle


CALENDAR: list[Feature] = [
    Feature("hour_sin", "calendar", 1, lambda past: np.sin(_day_angle(past))),
    Feature("hour_cos", "calendar", 1, lambda past: np.cos(_day_angle(past))),
    Feature("weekday_sin", "calendar", 1, lambda past: np.sin(_week_angle(past))),
    Feature("weekday_cos", "calendar", 1, lambda past: np.cos(_week_angle(past))),
]


def _funding_mean(past: PastBars, window: int) -> FloatArray:
    """Return the mean over bars of the rate in force at each."""
    return rolling_mean(past.funding_rate, window)


def _funding_deviation(past: PastBars, window: int) -> FloatArray:
    return past.funding_rate - _funding_mean(past, window)


def _funding_momentum(past: PastBars, span: int) -> FloatArray:
    return past.funding_rate - shift(past.funding_rate, span)


def _with_margin(window: int) -> int:
    return window + _SETTLEMENT_MARGIN


FUNDING: list[Feature] = [
    Feature("funding_rate", "funding", _with_margin(1), lambda past: past.funding_rate),
    *family("funding", "funding_mean_{}", (24, 72, 168, 336), _with_margin, _funding_mean),
    *family("funding", "funding_deviation_{}", (24, 72, 168), _with_margin, _funding_deviation),
    *family("funding", "funding_momentum_{}", (8, 24, 72), _with_margin, _funding_momentum),
    Feature("hours_since_funding", "funding", _with_margin(1),
            lambda past: past.hours_since_funding),
    Feature("hours_to_funding", "funding", _with_margin(1), lambda past: past.hours_to_funding),
]  # fmt: skip
