"""What the broker keeps of one symbol and of one order."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.account import Holding
from engine.bridge import bt, to_days
from engine.feed import PerpFeed, aligned_mark
from engine.funding import schedule
from engine.orders import Range
from engine.recorder import OrderRecord
from perpwalk.config import BrokerSection
from perpwalk.domain import IntArray, MaintenanceTier, PerpSpec, to_ns


def contract(symbol: str, section: BrokerSection) -> PerpSpec:
    """Return the facts of one contract from the ``broker`` section."""
    section = section.of(symbol)
    return PerpSpec(
        symbol=symbol,
        tick_size=section.tick_size,
        lot_size=section.lot_size,
        min_notional=section.min_notional,
        maker_fee=section.maker_fee,
        taker_fee=section.taker_fee,
        liquidation_fee=section.liquidation_fee,
        tiers=tuple(
            MaintenanceTier(
                tier.notional_floor,
                tier.maintenance_rate,
                tier.maintenance_amount,
                tier.max_leverage,
            )
            for tier in section.tiers
        ),
    )


class Ticket:
    """What the broker keeps beside one Backtrader order."""

    __slots__ = (
        "desk",
        "has_met",
        "is_judged",
        "is_target",
        "lots_left",
        "order",
        "record",
        "touched_ns",
    )

    def __init__(
        self, order: Any, desk: Desk, record: OrderRecord, lots: float, *, is_target: bool
    ) -> None:
        self.order = order
        self.desk = desk
        self.record = record
        self.lots_left = lots
        self.is_target = is_target
        self.touched_ns: int | None = None  # when it last met a price
        self.is_judged = False  # min_notional is judged once, when the order can first fill
        self.has_met = False  # a limit order that has been in the book for a bar rests


class Desk:
    """One symbol: what its orders meet as plain lists, its holding, its settlements.

    Orders meet the feed's bars, or the finer bars inside of them where the market has some. A
    strategy sees the feed's bars alone: all that happens inside one of them is over when it is
    asked again.

    Attributes
    ----------
    bar
        Number of the bar that is met now; -1 before the first.
    number
        Number of the feed's bar that the account has been taken through; -1 before the first.
    ends
        Per bar of the feed, past the last of the bars that are met inside of it; None where they
        are the feed's own.
    """

    def __init__(self, feed: PerpFeed, section: BrokerSection) -> None:
        market, rows = feed.market.met_by(feed.first, feed.first + len(feed.bars))
        bars = market.bars.rows(rows.start, rows.stop)
        self.feed = feed
        closes_ns: IntArray = to_ns(bars.close_time)
        self.closes_ns: list[int] = closes_ns.tolist()
        self.days: list[float] = to_days(closes_ns).tolist()
        self.ends: list[int] | None = None
        if market is not feed.market:
            self.ends = np.searchsorted(closes_ns, feed.closes_ns, side="right").tolist()
        self.symbol = bars.symbol
        self._spec = contract(bars.symbol, section)
        self.opens: list[float] = bars.open.tolist()
        self.highs: list[float] = bars.high.tolist()
        self.lows: list[float] = bars.low.tolist()
        self.closes: list[float] = bars.close.tolist()
        self.volumes: list[float] = bars.volume.tolist()
        self.is_real: list[bool] = (~bars.filled & (bars.volume > 0)).tolist()
        self.interval_ns: int = to_ns(bars.interval)
        mark = aligned_mark(bars, market.mark)
        # Liquidation is judged on the mark candle where there is one.
        self.judged_lows: list[float] = _or(mark["low"], bars.low)
        self.judged_highs: list[float] = _or(mark["high"], bars.high)
        plan = schedule(bars, market.funding, mark["close"])
        self.gap_settlements = plan.before
        self.settlements = plan.within
        self.reset()

    def reset(self) -> None:
        """Stand before the first bar, flat."""
        self.holding = Holding.of(self._spec)
        self.position = bt.Position()
        self.bar = self.number = -1
        self.lots_allowed = 0.0
        self.changed_inside = False

    @property
    def open_ns(self) -> int:
        """Open of the current bar."""
        return self.closes_ns[self.bar] - self.interval_ns

    @property
    def close_ns(self) -> int:
        """Close of the current bar."""
        return self.closes_ns[self.bar]

    @property
    def row(self) -> int:
        """Row of the feed's current bar in the market's bars."""
        return self.feed.first + self.feed.bar

    def upcoming(self) -> range:
        """Return the bars that are met inside the feed's current bar."""
        if self.ends is None:
            return range(self.feed.bar, self.feed.bar + 1)
        return range(self.bar + 1, self.ends[self.feed.bar])

    def prices(self) -> Range:
        """Return the current bar's prices."""
        at = self.bar
        return Range(self.opens[at], self.highs[at], self.lows[at], self.closes[at])

    def adverse(self) -> float:
        """Return the current bar's worst price for the position held."""
        worst = self.judged_lows if self.holding.quantity > 0 else self.judged_highs
        return worst[self.bar]

    def mirror(self) -> None:
        """Show the holding to Backtrader."""
        self.position.size = self.holding.quantity
        self.position.price = self.holding.entry


def _or(values: Any, instead: Any) -> list[float]:
    filled: list[float] = np.where(np.isfinite(values), values, instead).tolist()
    return filled
