"""What a feature is given: the bars closed so far, and the funding settled so far."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from perpwalk.domain import BarFrame, FloatArray, FundingFrame, IntArray, frozen_array, to_ns
from perpwalk.features.rolling import shift

_HOUR_NS = 3_600_000_000_000
_USUAL_INTERVAL_HOURS = 8.0
_STALE_AFTER_INTERVALS = 2


@dataclass(frozen=True, eq=False)
class PastBars:
    """Columns of shape (n,), one value per bar; row t holds what was known at ``close_time[t]``.

    A feature computes all rows at once and must let row t depend on rows <= t only. Arrays are
    read-only.

    Attributes
    ----------
    interval
        Length of one bar.
    close_time
        Decision times, UTC.
    open, high, low, close
        Prices in quote currency.
    volume
        In base currency.
    funding_rate
        Last rate settled at or before the close (fraction per settlement); NaN before the first
        settlement and where the last one is older than two intervals.
    hours_since_funding
        Hours since that settlement, 0 at its own stamp.
    hours_to_funding
        Hours to the next settlement as the schedule was known then: last stamp plus the interval
        observed so far (the shorter of the last two, so that one missing record does not stretch
        it), never less than 0; the record of the next settlement is not looked at. NaN until two
        settlements have been seen.

    Notes
    -----
    Windows count bars. Where gaps were dropped (``market.gaps: drop``) a window of 24 bars spans
    more than 24 intervals.
    """

    interval: pd.Timedelta
    close_time: pd.DatetimeIndex
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    funding_rate: FloatArray
    hours_since_funding: FloatArray
    hours_to_funding: FloatArray

    def __len__(self) -> int:
        return len(self.close)

    @cached_property
    def log_close(self) -> FloatArray:
        """Natural logarithm of the close."""
        return frozen_array(np.log(self.close))

    @cached_property
    def log_return(self) -> FloatArray:
        """Log return from the bar before, NaN at the first bar."""
        return frozen_array(self.log_close - shift(self.log_close, 1))

    @classmethod
    def of(cls, bars: BarFrame, funding: FundingFrame) -> PastBars:
        """Line up bars with the funding settled by each close.

        Settlements after a bar's close are not visible in its row, whatever ``funding`` holds.
        """
        rate, since, until = _settled_funding(to_ns(bars.close_time), funding)
        return cls(
            interval=bars.interval,
            close_time=bars.close_time,
            open=bars.open,
            high=bars.high,
            low=bars.low,
            close=bars.close,
            volume=bars.volume,
            funding_rate=frozen_array(rate),
            hours_since_funding=frozen_array(since),
            hours_to_funding=frozen_array(until),
        )


def _settled_funding(
    close_ns: IntArray, funding: FundingFrame
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return rate, hours since and hours to settlement as known at each close."""
    unknown = np.full(len(close_ns), np.nan)
    if len(funding) == 0 or len(close_ns) == 0:
        return unknown, unknown, unknown
    settle_ns: IntArray = to_ns(funding.settle_time)
    # side="right": a settlement stamped exactly at the close is settled before the decision.
    last = np.searchsorted(settle_ns, close_ns, side="right") - 1
    seen = last >= 0
    last = np.maximum(last, 0)
    since = np.where(seen, (close_ns - settle_ns[last]) / _HOUR_NS, np.nan)
    interval = np.where(seen, _observed_interval_hours(settle_ns)[last], np.nan)
    longest = _STALE_AFTER_INTERVALS * np.fmax(interval, _USUAL_INTERVAL_HOURS)
    fresh = seen & ~(since > longest)
    return (
        np.where(fresh, funding.rate[last], np.nan),
        np.where(fresh, since, np.nan),
        np.where(fresh, np.maximum(interval - since, 0.0), np.nan),
    )


def _observed_interval_hours(settle_ns: IntArray) -> FloatArray:
    """Return, per settlement, the shorter of the last two intervals before it; NaN at the first."""
    hours = np.full(len(settle_ns), np.nan)
    hours[1:] = np.diff(settle_ns) / _HOUR_NS
    shorter: FloatArray = np.fmin(hours, shift(hours, 1))
    return shorter
