"""What may be known at each close of a replay, as columns: for strategies that plan ahead.

A ``plan`` computes all decisions at once and must let row t depend on rows up to t only, as a
feature does. It says in columns what ``target`` says bar by bar.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from engine.funding import on_the_minute
from perpwalk.domain import FloatArray, Market, to_ns
from perpwalk.features import PastBars
from perpwalk.signals import PrecomputedSignals

YEAR_NS = 365 * 86_400_000_000_000  # crypto trades every day of the year
_SLACK = pd.Timedelta(seconds=30)  # stamps are rounded to the minute
_ROWS_AT_ONCE = 4096  # windows of returns laid out side by side


@dataclass(frozen=True, eq=False)
class History:
    """Columns of shape (n,), one value per decision of the replay.

    Attributes
    ----------
    market
        The contract with all its bars and settlements up to the last decision.
    first, stop
        Which of them are replayed: ``first`` inclusive to ``stop`` exclusive.
    p_up, threshold
        What the model says and the fold's decision threshold; NaN where it says nothing.
    """

    market: Market
    first: int
    stop: int
    p_up: FloatArray
    threshold: FloatArray
    _kept: dict[int, FloatArray] = field(default_factory=dict)

    @classmethod
    def of(
        cls, market: Market, first: int, stop: int, signals: PrecomputedSignals | None
    ) -> History:
        """Look up the signal of each decision."""
        said = np.full((2, stop - first), np.nan)
        if signals is not None:
            said = signals.columns(to_ns(market.bars.close_time[first:stop]))
        return cls.at(market, first, stop, said[0], said[1])

    @classmethod
    def at(
        cls, market: Market, first: int, stop: int, p_up: FloatArray, threshold: FloatArray
    ) -> History:
        """Take columns of signals as they are."""
        return cls(_until(market, stop), first, stop, p_up, threshold)

    def __len__(self) -> int:
        return self.stop - self.first

    def until(self, rows: int) -> History:
        """Return the first ``rows`` decisions; nothing after them exists in it."""
        stop = self.first + rows
        return replace(
            self, market=_until(self.market, stop), stop=stop, p_up=self.p_up[:rows],
            threshold=self.threshold[:rows], _kept={},
        )  # fmt: skip

    def with_threshold(self, threshold: float) -> History:
        """Return the same past with one threshold for all folds."""
        return replace(self, threshold=np.where(np.isnan(self.p_up), np.nan, threshold))

    @cached_property
    def side(self) -> FloatArray:
        """1.0 above the threshold, -1.0 below, 0.0 on it; NaN without a signal."""
        return np.sign(self.p_up - self.threshold)

    @cached_property
    def strength(self) -> FloatArray:
        """Conviction in [-1, 1], 0 at the threshold; NaN without a signal."""
        return 2.0 * (self.p_up - self.threshold)

    @property
    def close(self) -> FloatArray:
        """Price at which each bar closed."""
        return self.market.bars.close[self.first : self.stop]

    def past_closes(self, row: int, bars: int) -> FloatArray:
        """Return the last ``bars`` closes at decision ``row``, its own last; fewer if so few."""
        end = self.first + row + 1
        return self.market.bars.close[max(0, end - bars) : end]

    def past_volatility(self, bars: int) -> FloatArray:
        """Return the annualised deviation of the last ``bars`` log returns; NaN where too few."""
        if bars not in self._kept:  # windows take long, and many variants ask for the same
            self._kept[bars] = self._volatility(bars)
        return self._kept[bars]

    def _volatility(self, bars: int) -> FloatArray:
        found = np.full(len(self), np.nan)
        moves = np.diff(np.log(self.market.bars.close[: self.stop]))
        if bars < 2 or len(moves) < bars:
            return found
        windows = np.lib.stride_tricks.sliding_window_view(moves, bars)  # the k-th ends at bar k+b
        scale = np.sqrt(YEAR_NS / to_ns(self.market.bars.interval))
        begun = max(self.first, bars)
        for row in range(begun, self.stop, _ROWS_AT_ONCE):
            past = min(row + _ROWS_AT_ONCE, self.stop)
            spread = windows[row - bars : past - bars].std(ddof=1, axis=1)
            found[row - self.first : past - self.first] = spread * scale
        return found

    @property
    def funding_rate(self) -> FloatArray:
        """Last rate settled by each close; NaN where there is none or it is stale."""
        return self._bars.funding_rate[self.first : self.stop]

    @property
    def hours_to_funding(self) -> FloatArray:
        """Hours to the next settlement as the schedule was known; NaN where it was not."""
        return self._bars.hours_to_funding[self.first : self.stop]

    @cached_property
    def _bars(self) -> PastBars:
        return PastBars.of(self.market.bars, on_the_minute(self.market.funding))


def _until(market: Market, stop: int) -> Market:
    """Return a market of which nothing is known after bar ``stop``, exclusive."""
    bars, funding = market.bars.rows(0, stop), market.funding
    settled = funding.settle_time.searchsorted(bars.close_time[-1] + _SLACK, side="right")
    return replace(
        market,
        bars=bars,
        funding=funding.rows(0, int(settled)),
        mark=None if market.mark is None else market.mark.rows(0, stop),
    )


def plans_ahead(strategy: type) -> bool:
    """Say whether the strategy's own class declares a plan beside its target.

    An inherited plan does not count: the heir may want something else.
    """
    return isinstance(vars(strategy).get("plan"), classmethod)


class Params:
    """A strategy's parameters as attributes, as ``self.p`` holds them."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)
