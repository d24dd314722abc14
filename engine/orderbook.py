"""The order book behind the broker: Backtrader's submission, brackets, OCO and notifications.

It takes orders in, knows what became of each and tells the strategy. What happens to money is the
business of ``engine.broker``, which derives from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from engine.account import Account
from engine.bridge import PerpCommission, bt, market_order, snapshot
from engine.desk import Desk, Ticket
from engine.feed import PerpFeed
from engine.recorder import OrderRecord, Recorder
from perpwalk.config import BrokerSection
from perpwalk.domain import to_ns
from perpwalk.errors import UsageError
from perpwalk.finite import require_number
from perpwalk.ledger import Ledger

Order = bt.Order
_KINDS = {
    Order.Market: "market",
    Order.Limit: "limit",
    Order.Stop: "stop",
    Order.StopLimit: "stop_limit",
    Order.StopTrail: "trailing_stop",
    Order.StopTrailLimit: "trailing_stop_limit",
}
_MEND = "a strategy must order in finite numbers"
_FATES = {
    Order.Canceled: "cancelled",
    Order.Expired: "expired",
    Order.Margin: "rejected",
    Order.Rejected: "rejected",
}


class OrderBook(bt.brokers.BackBroker):
    """Backtrader's order book over perpwalk's account.

    Parameters
    ----------
    section
        The account's rules in numbers.
    feeds
        The feeds that can be traded.
    """

    def __init__(self, section: BrokerSection, feeds: Sequence[PerpFeed]) -> None:
        self._section = section
        self.desks = tuple(Desk(feed, section) for feed in feeds)
        self._desk_of = {desk.feed: desk for desk in self.desks}
        self.meets_finer_bars = any(desk.ends is not None for desk in self.desks)
        self._clock = np.unique(np.concatenate([to_ns(feed.bars.close_time) for feed in feeds]))
        super().__init__()

    def init(self) -> None:
        """Begin a new book; Backtrader calls it at construction and at each start."""
        self.p.cash = self._section.cash
        super().init()
        self.comminfo = {None: PerpCommission()}
        for desk in self.desks:
            desk.reset()
        self.account = Account(self._section, [desk.holding for desk in self.desks])
        self.recorder = Recorder(self._clock)
        self._tickets: dict[int, Ticket] = {}
        self._is_aiming = False
        self._only_targets = not self._section.cheat_on_open
        self._bankrupt_at_ns: int | None = None
        self._fresh: list[Desk] = []
        self._now_ns = 0
        for desk in self.desks:
            self.positions[desk.feed] = desk.position

    def ledger(self) -> Ledger:
        """Return the book of the replay."""
        return self.recorder.ledger(
            self._section.cash,
            with_targets=self._only_targets,
            bankrupt_at_ns=self._bankrupt_at_ns,
        )

    # ── what strategies ask ──────────────────────────────────────────────────────────────────────

    @property
    def is_bankrupt(self) -> bool:
        """Whether equity reached zero and trading has ended."""
        return self._bankrupt_at_ns is not None

    @property
    def equity(self) -> float:
        """Cash plus open profit at the last close."""
        return float(self._value)

    def get_value(self, datas: Any = None, mkt: bool = False, lever: bool = False) -> float:  # noqa: ARG002 - Backtrader's interface
        """Return equity, or with ``datas`` the signed notional of these positions."""
        if datas is None:
            return float(self._value)
        holdings = [self._desk_of[data].holding for data in datas]
        return sum(holding.quantity * holding.price for holding in holdings)

    getvalue = get_value

    def get_fundvalue(self) -> float:
        """Return the value of one share of the account."""
        return float(self._value / self._fundshares)

    fundvalue = property(get_fundvalue)

    def add_cash(self, cash: float) -> None:
        """Refuse: the account of a backtest has one deposit, at its start."""
        raise UsageError(
            f"add_cash({cash:g}): deposits would hide in the returns; set broker.cash instead"
        )

    def aim(self, owner: Any, data: Any, quantity: float) -> Any:
        """Place the market order that leads to a position of ``quantity`` (signed).

        What is left of an earlier target order on the symbol is cancelled. Returns the order, or
        None where none is needed or the account is bankrupt.
        """
        if self.is_bankrupt:
            return None
        require_number(quantity, "the wanted quantity", _MEND)
        desk = self._desk(data)
        waiting = [t for t in map(self._ticket, self.pending) if t.desk is desk]
        self._is_aiming = True
        try:
            for ticket in waiting:
                if ticket.is_target:
                    ticket.record.reason = "replaced"
                    self.cancel(ticket.order)
            holding = desk.holding
            target = holding.step.count(quantity)
            at_market = sum(
                t.lots_left for t in waiting if not t.is_target and t.order.exectype == Order.Market
            )
            lots = holding.step.total(target, -holding.lots - at_market)
            row = desk.row
            now = int(self.recorder.clock[self.recorder.row])  # the symbol may have no bar now
            self.recorder.target(desk.symbol, now, row, holding.step.quantity(target))
            return None if lots == 0 else self._order_at_market(owner, desk, lots)
        finally:
            self._is_aiming = False

    def _order_at_market(self, owner: Any, desk: Desk, lots: float) -> Any:
        """Place a target order: ``owner.buy`` or ``sell``, less what only other orders need."""
        order = market_order(owner, desk.feed, desk.holding.step.quantity(lots))
        ticket = Ticket(order, desk, self._open_record(order, desk), lots, is_target=True)
        self._tickets[order.ref] = ticket
        self.submit_accept(order)
        return order

    # ── orders in ────────────────────────────────────────────────────────────────────────────────

    def _desk(self, data: Any) -> Desk:
        desk = self._desk_of.get(data)
        if desk is None:
            raise UsageError(f"the feed '{data._name}' cannot be traded; order on a price feed")
        return desk

    def _ticket(self, order: Any) -> Ticket:
        return self._tickets[order.ref]

    def submit(self, order: Any, check: bool = True) -> Any:  # noqa: ARG002 - margin is judged at the fill
        """Take an order in, its quantity rounded towards zero to whole lots."""
        desk = self._desk(order.data)
        self._require_numbers(order)
        step = desk.holding.step
        lots = step.count(order.size)
        ticket = Ticket(order, desk, self._open_record(order, desk), lots, is_target=False)
        self._tickets[order.ref] = ticket
        self._only_targets = False
        reason = self._refusal(order, lots)
        if reason is not None:
            self._end(ticket, order.reject, "rejected", reason)
            return order
        order.size = order.created.size = order.executed.remsize = step.quantity(lots)
        ticket.record.quantity = order.size
        return super().submit(order, check=False)

    def _require_numbers(self, order: Any) -> None:
        """Refuse a quantity or a price that is no number: no bar would ever meet it."""
        created, name = order.created, type(order.owner).__name__
        for what, value in (
            ("quantity", order.size),
            ("price", created.price),
            ("limit price", created.pricelimit),
        ):
            if value is not None:
                require_number(value, f"the {what} of an order of {name}", _MEND)

    def _refusal(self, order: Any, lots: float) -> str | None:
        if self.is_bankrupt:
            return "bankrupt"
        if order.exectype not in _KINDS:
            return "order_type"  # orders at the close: a perpetual has no session
        return "lot_size" if lots == 0 else None

    def _open_record(self, order: Any, desk: Desk) -> OrderRecord:
        kind = order.exectype
        price, limit = order.created.price, order.created.pricelimit
        has_limit = kind in (Order.Limit, Order.StopLimit, Order.StopTrailLimit)
        has_stop = kind not in (Order.Market, Order.Limit, Order.Close)
        record = OrderRecord(
            number=len(self.recorder.orders),
            symbol=desk.symbol,
            created_ns=desk.feed.now_ns,
            kind=_KINDS.get(kind, Order.ExecTypes[kind].lower()),
            quantity=order.size,
            limit_price=(price if kind == Order.Limit else limit) if has_limit else float("nan"),
            stop_price=price if has_stop else float("nan"),
        )
        self.recorder.orders.append(record)
        return record

    def cancel(self, order: Any, bracket: bool = False) -> bool:
        """Cancel an order that still waits; says whether there was anything to cancel."""
        cancelled: bool = super().cancel(order, bracket)
        if cancelled and self._ticket(order).is_target and not self._is_aiming:
            self._only_targets = False
        return cancelled

    def notify(self, order: Any) -> None:
        """Tell the strategy, and keep the fate that Backtrader's order book decided."""
        ticket = self._tickets.get(order.ref)
        if ticket is not None and ticket.record.finished_ns is None:
            fate = _FATES.get(order.status)
            if fate == "cancelled" and ticket.record.filled_quantity != 0:
                fate = "partial"
            if fate is not None:
                self._keep_fate(ticket, fate, "parent" if fate == "rejected" else "")
        self._tell(order)

    def _tell(self, order: Any) -> None:
        """Queue a notification; a strategy that overrides no ``notify_`` method wants none."""
        if not getattr(order.owner, "is_deaf", False):
            self.notifs.append(snapshot(order))

    def _keep_fate(
        self, ticket: Ticket, status: str, reason: str, at_ns: int | None = None
    ) -> None:
        ticket.record.status = status
        ticket.record.reason = reason or ticket.record.reason
        now_ns = int(self.recorder.clock[max(self.recorder.row, 0)])
        ticket.record.finished_ns = now_ns if at_ns is None else at_ns

    def _end(
        self, ticket: Ticket, tell: Callable[[], object], status: str, reason: str = ""
    ) -> None:
        """End an order before it is filled: ``tell`` sets Backtrader's own status."""
        order = ticket.order
        self._keep_fate(ticket, status, reason, ticket.touched_ns)
        tell()
        if order in self.pending:
            self.pending.remove(order)
        self.notify(order)
        self._ococheck(order)
        self._bracketize(order, cancel=True)

    def _ococheck(self, order: Any) -> None:
        """Cancel the others of an OCO group; Backtrader's own would cancel the order itself."""
        group = self._ocol.pop(self._ocos.get(order.ref), ())
        if len(group) < 2:
            return
        for other in [o for o in self.pending if o.ref in group and o.ref != order.ref]:
            self.pending.remove(other)
            other.cancel()
            self.notify(other)

    def _bracketize(self, order: Any, cancel: bool = False) -> None:
        """Activate or cancel the rest of a bracket; most orders belong to none."""
        parent = order if order.parent is None else order.parent
        if parent.ref in self._pchildren:
            super()._bracketize(order, cancel=cancel)

    def _execute_on(
        self,
        order: Any,
        desk: Desk,
        price: float,
        closing: float,
        opening: float,
        realised: float,
        fee: float,
    ) -> None:
        holding = desk.holding
        closed, opened = holding.step.quantity(closing), holding.step.quantity(opening)
        share = abs(closed) / (abs(closed) + abs(opened))
        before = desk.position.size, desk.position.price
        desk.mirror()
        order.execute(
            desk.days[desk.bar], holding.step.quantity(closing + opening), price,
            closed, closed * price, fee * share, opened, opened * price, fee * (1.0 - share),
            0.0, realised, *before,
        )  # fmt: skip
        order.addcomminfo(self.comminfo[None])

    def _cancel_all(self, desk: Desk, reason: str) -> None:
        for order in [o for o in self.pending if o.data is desk.feed]:
            self._ticket(order).record.reason = reason
            super().cancel(order)
