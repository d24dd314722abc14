"""Feeds that hand Backtrader whole columns, and refuse to be read ahead.

A bar's ``datetime`` line holds its **close** time: the moment at which ``next`` is called and the
decision is made, so ``self.data.datetime.datetime(0)`` is now. Beside the lines, which are floats,
stands the bar's number (``feed.bar``) and its close in integer nanoseconds (``feed.now_ns``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.bridge import bt, guard, to_days
from engine.funding import on_the_minute
from perpwalk.data.resample import forming
from perpwalk.domain import BarFrame, FloatArray, Market, to_ns
from perpwalk.errors import LookAheadError, UsageError
from perpwalk.features import PastBars

Column = npt.NDArray[np.float64]


class ColumnFeed(bt.feed.DataBase):
    """A preloaded feed of whole numpy columns; subclasses say which.

    Parameters
    ----------
    market
        Bars, settlements and mark candles.
    first, stop
        Which bars of the market to replay: ``first`` inclusive to ``stop`` exclusive.
    """

    # Read by Backtrader and the order machinery; a perpetual has no sessions.
    params = (("timeframe", bt.TimeFrame.Minutes),)

    def __init__(self, market: Market, first: int = 0, stop: int | None = None) -> None:
        super().__init__()
        self.market = market
        self.first = first
        self.bars = market.bars.rows(first, len(market.bars) if stop is None else stop)
        self._name = market.symbol
        self._compression = max(1, int(self.bars.interval.total_seconds() // 60))
        self.closes_ns: list[int] = to_ns(self.bars.close_time).tolist()
        self._days: list[float] = to_days(to_ns(self.bars.close_time)).tolist()
        self._last_bar = len(self.bars)
        self._is_loaded = False
        self._guarded = guard(self)
        self._cursor = self._guarded[0]  # not `_clock`: Backtrader follows that name

    def columns(self) -> dict[str, Column]:
        """Return one column of shape (n,) per line except ``datetime``."""
        raise NotImplementedError

    @property
    def bar(self) -> int:
        """Number of the current bar within the replay; -1 before the first."""
        number: int = self._cursor._idx
        return number

    @property
    def now_ns(self) -> int:
        """Close of the current bar in nanoseconds since 1970."""
        if self.bar < 0:
            raise LookAheadError("no bar has been delivered yet; ask in next(), not in __init__()")
        return self.closes_ns[self.bar]

    # ── what Backtrader calls ────────────────────────────────────────────────────────────────────

    def preload(self) -> None:
        """Hand over all columns at once."""
        columns = {"datetime": np.asarray(self._days), **self.columns()}
        for name, line in zip(self.getlinealiases(), self._guarded, strict=True):
            line.fill(columns.get(name, np.zeros(self._last_bar)))
        self._is_loaded = True

    def _load(self) -> bool:
        if not self._is_loaded:
            raise UsageError("this feed needs Cerebro(preload=True): it hands over whole columns")
        return False

    def advance_peek(self) -> float:
        """Return when the next bar closes, for Cerebro's clock only."""
        upcoming = self._cursor._idx + 1
        return self._days[upcoming] if upcoming < self._last_bar else float("inf")

    def advance(self, size: int = 1, datamaster: Any = None, ticks: bool = True) -> None:
        """Step to the next bar; the tick values of live feeds are not kept."""
        if datamaster is not None:
            super().advance(size, datamaster=datamaster, ticks=ticks)
            return
        for line in self._guarded:
            line._idx += size
            line.lencount += size


class PerpFeed(ColumnFeed):
    """OHLCV of one perpetual, with what is known of funding and mark at each close.

    Lines beside Backtrader's own: ``funding_rate``, the last rate settled by the close (NaN where
    there is none or it is stale); ``funding_due``, hours to the next settlement as the schedule was
    known then (NaN until two have been seen); ``mark``, close of the mark candle (the trade close
    where there is none).
    """

    lines = ("funding_rate", "funding_due", "mark")

    def __init__(
        self,
        market: Market,
        first: int = 0,
        stop: int | None = None,
        *,
        signals: Any = None,
    ) -> None:
        super().__init__(market, first, stop)
        self.signals = signals
        self.closes: list[float] = self.bars.close.tolist()
        self.mark_bars = aligned_mark(self.bars, market.mark)

    def columns(self) -> dict[str, Column]:
        """Return prices, volume, funding and mark."""
        past = PastBars.of(self.market.bars, on_the_minute(self.market.funding))
        cut = slice(self.first, self.first + len(self.bars))
        mark = self.mark_bars["close"]
        return {
            **{name: getattr(self.bars, name) for name in ("open", "high", "low", "close")},
            "volume": self.bars.volume,
            "funding_rate": past.funding_rate[cut],
            "funding_due": past.hours_to_funding[cut],
            "mark": np.where(np.isfinite(mark), mark, self.bars.close),
        }


class FundingFeed(ColumnFeed):
    """Funding as a feed of its own, on the bars' clock, for indicators on the rate.

    Lines beside Backtrader's own: ``funding_rate`` (also in open, high, low and close),
    ``hours_since_funding`` and ``funding_due``. It cannot be traded.
    """

    lines = ("funding_rate", "hours_since_funding", "funding_due")

    def columns(self) -> dict[str, Column]:
        """Return the rate in force at each close, and the times around it."""
        past = PastBars.of(self.market.bars, on_the_minute(self.market.funding))
        cut = slice(self.first, self.first + len(self.bars))
        rate = past.funding_rate[cut]
        return {
            **dict.fromkeys(("open", "high", "low", "close", "funding_rate"), rate),
            "hours_since_funding": past.hours_since_funding[cut],
            "funding_due": past.hours_to_funding[cut],
        }


class FormingFeed(ColumnFeed):
    """A coarse bar as it forms, step by step with the fine bars of the replay.

    What Backtrader's ``replaydata`` shows: at each fine bar's close the open, high, low, close and
    volume of the coarse bar so far, and nothing of what is still to come. Orders go to the fine
    bars' feed, on which the account is kept: this one cannot be traded. ``complete`` is 1 where the
    coarse bar ends with this fine bar, else 0.
    """

    lines = ("complete",)

    def __init__(
        self, market: Market, interval: pd.Timedelta, first: int = 0, stop: int | None = None
    ) -> None:
        super().__init__(market, first, stop)
        self.coarse_interval = interval
        # Formed over all bars, so that a replay may begin within a coarse bar.
        self._forming, self._complete, self._opened = forming(market.bars, interval)

    @property
    def opened_ns(self) -> int:
        """When the coarse bar opened, in nanoseconds since 1970."""
        return int(self._opened[self.first + self.bar])

    def columns(self) -> dict[str, Column]:
        """Return the coarse bar so far at each fine close."""
        cut = slice(self.first, self.first + len(self.bars))
        names = ("open", "high", "low", "close", "volume")
        columns = {name: getattr(self._forming, name)[cut] for name in names}
        return {**columns, "complete": self._complete[cut].astype(float)}


def aligned_mark(bars: BarFrame, mark: BarFrame | None) -> dict[str, FloatArray]:
    """Return high, low and close of the mark candle of each bar, NaN where there is none."""
    if mark is None:
        missing = np.full(len(bars), np.nan)
        return {"high": missing, "low": missing, "close": missing}
    stamps, wanted = to_ns(mark.open_time), to_ns(bars.open_time)
    at = np.minimum(np.searchsorted(stamps, wanted), len(stamps) - 1)
    there = stamps[at] == wanted
    return {
        name: np.where(there, getattr(mark, name)[at], np.nan) for name in ("high", "low", "close")
    }
