"""The Backtrader broker of a perpetual-futures account: ``docs/account.md``, event by event.

Backtrader's own broker keeps the order book (``engine.orderbook``); what a fill, a settlement or a
liquidation does to money happens in ``engine.account``, what a resting order meets in
``engine.orders``. Fees come from this book: Backtrader's ``order.executed.comm`` is filled in for
strategies that look at it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any

from engine import orders
from engine.account import BarBooking, Holding
from engine.bridge import bt
from engine.desk import Desk, Ticket
from engine.feed import PerpFeed
from engine.funding import Settlement
from engine.orderbook import OrderBook
from engine.orders import Meeting
from engine.slippage import MAX_RATE, FillContext, slippage_model
from perpwalk import perp
from perpwalk.config import BrokerSection
from perpwalk.finite import require_number
from perpwalk.perp import TOLERANCE

Order = bt.Order
_STOPS = (Order.Stop, Order.StopTrail)


class PerpBroker(OrderBook):
    """A broker whose account balances at every bar.

    Parameters
    ----------
    section
        The account's rules in numbers.
    feeds
        The feeds that can be traded.
    on_bar
        Called after each bar with the number of bars done and of all.
    """

    def __init__(
        self,
        section: BrokerSection,
        feeds: Sequence[PerpFeed],
        on_bar: Callable[[int, int], None] | None = None,
    ) -> None:
        self._on_bar = on_bar
        self._slippage = slippage_model(section.slippage)
        super().__init__(section, feeds)

    # ── the bar ──────────────────────────────────────────────────────────────────────────────────

    def next(self) -> None:
        """Take the account through the bar that just closed; the strategy decides after it."""
        self.account.booking = BarBooking()
        self.recorder.row += 1
        fresh = [desk for desk in self.desks if desk.feed.bar != desk.number]
        if not self.meets_finer_bars:
            equity = self._pass(fresh)
        else:
            for together in self._steps(fresh):
                self._pass(together)
            equity = self.account.equity
        for desk in fresh:
            desk.number = desk.feed.bar
        self._record(equity)

    def _steps(self, fresh: Sequence[Desk]) -> Iterator[list[Desk]]:
        """Yield the desks that meet a finer bar together, in the order in which these close."""
        meets = [
            (desk.closes_ns[bar], place)
            for place, desk in enumerate(fresh)
            for bar in desk.upcoming()
        ]
        for _, group in itertools.groupby(sorted(meets), key=itemgetter(0)):
            yield [fresh[place] for _, place in group]

    def _pass(self, fresh: list[Desk]) -> float:
        """Take the account through one bar of each of these symbols and return its equity."""
        account = self.account
        while self._toactivate:
            self._toactivate.popleft().activate()
        self._fresh = fresh
        for desk in fresh:
            self._begin(desk)
        if fresh:
            self._now_ns = fresh[0].close_ns
        if self.pending:
            self._fill_market_orders(fresh)
            self._try_other_orders(fresh)
        self._liquidate(fresh)
        for desk in fresh:
            close = desk.closes[desk.bar]
            account.mark_to(desk.holding, close)
            due = desk.settlements.get(desk.bar)
            if due is not None:
                self._settle(desk, due, close)
        equity = account.equity
        if account.is_ruined(equity) and self._bankrupt_at_ns is None:
            self._go_bankrupt()
            equity = account.equity
        return equity

    def _begin(self, desk: Desk) -> None:
        desk.bar = at = desk.bar + 1
        desk.changed_inside = False
        share = self._section.volume_share
        if share is None:
            desk.lots_allowed = float("inf")
        else:
            desk.lots_allowed = desk.holding.step.count(share * desk.volumes[at])
        due = desk.gap_settlements.get(at)
        if due is not None:
            self._settle(desk, due, desk.holding.price)

    def _settle(self, desk: Desk, settlements: Sequence[Settlement], close: float) -> None:
        for settlement in settlements:
            own = settlement.mark_price
            mark = close if own is None else own
            quantity = desk.holding.quantity
            payment = self.account.settle(desk.holding, mark, settlement.rate)
            self.recorder.settlement(settlement, desk.symbol, quantity, mark, payment)

    def _record(self, equity: float) -> None:
        account, first = self.account, self.desks[0].holding
        self.cash, self._value = account.cash, equity
        net = first.quantity * first.price
        for holding in account.holdings[1:]:
            net += holding.quantity * holding.price
        exposure = net / equity if equity > 0 else 0.0
        self.recorder.bar(
            first.price, first.quantity, account.cash, equity, exposure, account.booking
        )
        if self._on_bar is not None:
            self._on_bar(self.recorder.row + 1, len(self.recorder.clock))

    # ── fills ────────────────────────────────────────────────────────────────────────────────────

    def _meeting_now(self, fresh: Sequence[Desk]) -> list[Ticket]:
        """Return the orders whose symbol has a real bar now."""
        tickets = [self._tickets[order.ref] for order in self.pending if order.active()]
        return [t for t in tickets if t.desk in fresh and t.desk.is_real[t.desk.bar]]

    def _fill_market_orders(self, fresh: Sequence[Desk]) -> None:
        for ticket in self._meeting_now(fresh):
            if ticket.order.exectype == Order.Market and ticket.order.alive():
                open_price = ticket.desk.opens[ticket.desk.bar]
                self._fill(ticket, Meeting(open_price, maker=False, slips=True, at_open=True))

    def _try_other_orders(self, fresh: Sequence[Desk]) -> None:
        resting = [t for t in self._meeting_now(fresh) if t.order.exectype != Order.Market]
        # Where a bar reaches both a stop and a limit, the stop is taken to come first.
        for ticket in sorted(resting, key=_is_limit):
            order = ticket.order
            if not order.alive():
                continue
            if _has_expired(order, desk=ticket.desk):
                ticket.touched_ns = None
                self._end(ticket, _already_told, "expired")
                continue
            meeting = self._meet(ticket)
            ticket.has_met = True
            if meeting is not None and not self._comes_too_late(ticket, meeting):
                self._fill(ticket, meeting)
            if order.alive() and order.exectype in (Order.StopTrail, Order.StopTrailLimit):
                order.trailadjust(ticket.desk.closes[ticket.desk.bar])

    def _meet(self, ticket: Ticket) -> Meeting | None:
        """Return where the order meets its bar."""
        order, bar = ticket.order, ticket.desk.prices()
        sign = 1.0 if ticket.lots_left > 0 else -1.0
        price, limit = order.created.price, order.created.pricelimit
        if order.exectype == Order.Limit:
            return orders.meet_limit(sign, price, bar, resting=ticket.has_met)
        if order.exectype in _STOPS:
            # A stop that was partly filled has been triggered: the rest is a market order.
            if ticket.record.filled_quantity != 0:
                return Meeting(bar.open, maker=False, slips=True, at_open=True)
            return orders.meet_stop(sign, price, bar)
        if order.triggered:
            return orders.meet_limit(sign, limit, bar, resting=True)
        order.triggered, meeting = orders.meet_stop_limit(sign, price, limit, bar)
        return meeting

    def _comes_too_late(self, ticket: Ticket, meeting: Meeting) -> bool:
        """Say whether the position is liquidated in this bar before the order is met.

        Of all orders only a stop that reduces the position on the way to its liquidation price is
        sure to come before it; anything else in such a bar is taken not to happen.
        """
        desk = ticket.desk
        held = desk.holding.quantity
        if held == 0 or not self._is_doomed(desk):
            return False
        limit = self.account.liquidation_price(desk.holding)
        on_the_way = limit is None or held * (meeting.price - limit) > 0
        reduces = held * ticket.lots_left < 0
        return not (meeting.slips and reduces and on_the_way)

    def _fill(self, ticket: Ticket, meeting: Meeting) -> None:
        """Fill what volume and margin allow, and end the order if nothing is left to wait for."""
        desk, account = ticket.desk, self.account
        holding = desk.holding
        if desk.lots_allowed == 0:
            return
        ticket.touched_ns = desk.open_ns if meeting.at_open else desk.close_ns
        if not ticket.is_judged and not self._judge_size(ticket, meeting.price):
            return
        allowed = min(abs(ticket.lots_left), desk.lots_allowed)
        lots = allowed if ticket.lots_left > 0 else -allowed
        price = self._price(desk, lots, meeting)
        rate = holding.spec.maker_fee if meeting.maker else holding.spec.taker_fee
        closing, opening = _split(holding.lots, lots)
        realised, fee = 0.0, 0.0
        if closing != 0:
            realised, fee = account.close(holding, closing, price, meeting.price, rate)
        # Only now: what closing frees may carry the opening part.
        carried = self._affordable(holding, opening, price, meeting.price, rate)
        if carried != 0:
            fee += account.open(holding, carried, price, meeting.price, rate)
        ticket.lots_left = holding.step.total(ticket.lots_left, -closing - carried)
        desk.lots_allowed -= abs(closing + carried)
        desk.changed_inside |= not meeting.at_open
        if closing + carried != 0:
            self._book(ticket, meeting, price, closing, carried, realised, fee)
        self._after_fill(ticket, is_short=carried != opening)

    def _affordable(
        self, holding: Holding, opening: float, price: float, reference: float, rate: float
    ) -> float:
        """Return what margin carries of an opening part; 0 where that is too little to open."""
        if opening == 0:
            return 0
        carried = self.account.affordable(holding, opening, price, reference, rate)
        is_short = carried != opening
        return 0 if is_short and self._is_too_small(holding, carried, reference) else carried

    def _is_too_small(self, holding: Holding, lots: float, reference: float) -> bool:
        value = perp.notional(holding.step.quantity(lots), reference)
        return value < holding.spec.min_notional * (1.0 - TOLERANCE)

    def _judge_size(self, ticket: Ticket, reference: float) -> bool:
        """Judge the opening part against ``min_notional``; says whether anything can fill."""
        ticket.is_judged = True
        holding = ticket.desk.holding
        closing, opening = _split(holding.lots, ticket.lots_left)
        if opening == 0 or not self._is_too_small(holding, opening, reference):
            return True
        if closing == 0:
            self._end(ticket, ticket.order.reject, "rejected", "min_notional")
            return False
        ticket.lots_left = closing
        ticket.record.reason = "min_notional"
        return True

    def _price(self, desk: Desk, lots: float, meeting: Meeting) -> float:
        if not meeting.slips:
            return meeting.price
        at, sign = desk.bar, 1.0 if lots > 0 else -1.0
        context = FillContext(
            quantity=abs(desk.holding.step.quantity(lots)),
            reference_price=meeting.price,
            high=desk.highs[at],
            low=desk.lows[at],
            volume=desk.volumes[at],
        )
        rate = self._slippage.rate(context)
        require_number(rate, "the slippage rate", "broker.slippage.kind must return a number")
        rate = min(rate, MAX_RATE)
        slipped = meeting.price * (1.0 + sign * rate)
        return perp.round_price(slipped, desk.holding.spec.tick_size, sign)

    def _book(
        self,
        ticket: Ticket,
        meeting: Meeting,
        price: float,
        closing: float,
        opening: float,
        realised: float,
        fee: float,
    ) -> None:
        """Write a fill down, in the book and on the Backtrader order."""
        desk, step = ticket.desk, ticket.desk.holding.step
        self.recorder.fill(
            ticket.record,
            desk.symbol,
            desk.open_ns if meeting.at_open else desk.close_ns,
            desk.row,
            step.quantity(closing + opening),
            price,
            meeting.price,
            fee,
            "maker" if meeting.maker else "taker",
            "",
        )
        self._execute_on(ticket.order, desk, price, closing, opening, realised, fee)

    def _after_fill(self, ticket: Ticket, *, is_short: bool) -> None:
        """Say where the order stands now; ``is_short`` where margin carried too little."""
        order, record = ticket.order, ticket.record
        if is_short:
            status = "reduced" if record.filled_quantity != 0 else "rejected"
            self._end(ticket, order.margin, status, "margin")
            return
        if ticket.lots_left != 0:
            order.partial()
            self.notify(order)
            self._ococheck(order)
            return
        # Counted in lots: Backtrader's own float remainder may be a speck that never fills.
        order.executed.remsize = 0.0
        order.completed()
        self.pending.remove(order)
        self._keep_fate(ticket, "reduced" if record.reason else "filled", "", ticket.touched_ns)
        self.notify(order)
        self._ococheck(order)
        self._bracketize(order)

    # ── forced exits ─────────────────────────────────────────────────────────────────────────────

    def _is_doomed(self, desk: Desk) -> bool:
        """Say whether the position cannot survive this bar's adverse extreme."""
        holding = desk.holding
        limit = self.account.liquidation_price(holding)
        if limit is None:
            return self.account.fails_at([self._worst_price(one) for one in self.desks])
        if holding.quantity > 0:
            return limit > 0 and desk.adverse() <= limit * (1.0 + TOLERANCE)
        return desk.adverse() >= limit * (1.0 - TOLERANCE)

    def _worst_price(self, desk: Desk) -> float:
        """Return the worst price of this bar, or the last close where the symbol has no bar now."""
        return desk.adverse() if desk in self._fresh else desk.holding.price

    def _liquidate(self, fresh: Sequence[Desk]) -> None:
        for desk in fresh:
            if desk.holding.lots == 0 or not self._is_doomed(desk):
                continue
            limit = self.account.liquidation_price(desk.holding)
            if limit is None:
                held = [one for one in self.desks if one.holding.lots != 0]
                self._force_out([(one, self._worst_price(one)) for one in held])
            else:
                self._force_out([(desk, self._exit_price(desk, limit))])

    def _exit_price(self, desk: Desk, limit: float) -> float:
        """Return the liquidation price, or the open where that lay beyond it already."""
        if desk.changed_inside:
            return limit  # the position of the open is not the one that is liquidated
        open_price = desk.opens[desk.bar]
        return min(limit, open_price) if desk.holding.quantity > 0 else max(limit, open_price)

    def _force_out(self, exits: Sequence[tuple[Desk, float]]) -> None:
        """Let the exchange close positions, cancel what waits on their symbols, and say so."""
        entries = [(desk, price, desk.holding.lots, desk.holding.entry) for desk, price in exits]
        self.account.liquidate([(desk.holding, price) for desk, price in exits])
        for desk, price, lots, entry in entries:
            self._tell_forced(desk, price, lots, entry, "liquidation")

    def _go_bankrupt(self) -> None:
        """End trading: every position is closed at the close that made equity zero."""
        account = self.account
        self._bankrupt_at_ns = self._now_ns
        for desk in self.desks:
            lots, entry = desk.holding.lots, desk.holding.entry
            if lots != 0:
                price = desk.holding.price
                account.close_out(desk.holding)
                self._tell_forced(desk, price, lots, entry, "bankruptcy")
            self._cancel_all(desk, "bankruptcy")
        account.end()

    def _tell_forced(
        self, desk: Desk, price: float, lots: float, entry: float, reason: str
    ) -> None:
        """Book a forced exit and notify the strategy: an order whose ``info.forced`` says why."""
        quantity = desk.holding.step.quantity(lots)
        # Now, which is later than the last bar of a symbol that has none at this stamp.
        self.recorder.fill(
            None, desk.symbol, self._now_ns, desk.row, -quantity, price, price,
            0.0, "taker", reason,
        )  # fmt: skip
        self._cancel_all(desk, reason)
        make = bt.order.SellOrder if lots > 0 else bt.order.BuyOrder
        order = make(data=desk.feed, size=abs(quantity), exectype=Order.Market)
        order.addinfo(forced=reason)
        order.submit(self)
        order.accept(self)
        realised = quantity * (price - entry)
        self._execute_on(order, desk, price, -lots, 0, realised, 0.0)
        order.executed.remsize = 0.0
        order.completed()
        self._tell(order)


def _has_expired(order: Any, desk: Desk) -> bool:
    """Say whether an order is past its date; as Backtrader does, but by the bar that is met."""
    now = desk.days[desk.bar]
    if not order.valid or now <= order.valid:
        return False
    order.status = Order.Expired
    order.executed.dt = now
    return True


def _already_told() -> None:
    """Backtrader has set the order's status itself."""


def _is_limit(ticket: Ticket) -> bool:
    return bool(ticket.order.exectype == Order.Limit or ticket.order.triggered)


def _split(held: float, lots: float) -> tuple[float, float]:
    """Return the closing and the opening part of a fill of ``lots`` on a position of ``held``.

    >>> _split(5, -8), _split(5, -2), _split(0, 3), _split(-1, -2)
    ((-5, -3), (-2, 0), (0, 3), (0, -2))
    """
    if held == 0 or held * lots > 0:
        return 0, lots
    if abs(lots) <= abs(held):
        return lots, 0
    return -held, lots + held
