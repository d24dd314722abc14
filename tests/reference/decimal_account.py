"""The account once more, slow and in exact decimals, to be read beside ``docs/account.md``.

Written from that page and nothing else: no numpy, no shared helper, one sentence of the page after
the other. Fifty digits, so that what differs from it in the tenth is wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext

import pandas as pd

from perpwalk.config import BrokerSection, TierSection
from perpwalk.domain import Market
from perpwalk.ledger import (
    EQUITY_COLUMNS,
    FILL_COLUMNS,
    FUNDING_COLUMNS,
    ORDER_COLUMNS,
    Ledger,
    table,
)

ZERO, ONE = Decimal(0), Decimal(1)
FORGIVEN = Decimal("1e-9")


@dataclass
class Order:
    """A market order towards a target; ``left`` is signed and shrinks as it fills."""

    created: pd.Timestamp
    quantity: Decimal
    left: Decimal
    filled: Decimal = ZERO
    status: str = "pending"
    reason: str = ""


@dataclass
class Day:
    """What one bar books."""

    fee: Decimal = ZERO
    slippage: Decimal = ZERO
    funding: Decimal = ZERO
    liquidation: Decimal = ZERO
    traded: Decimal = ZERO
    moves: list[tuple[Decimal, Decimal]] = field(default_factory=list)  # (quantity, from price)


class DecimalAccount:
    """One contract, one account; ``run`` returns its ledger."""

    def __init__(self, market: Market, targets: dict[int, float], broker: BrokerSection) -> None:
        self.market, self.targets, self.broker = market, targets, broker
        self.rounded = list(market.funding.settle_time.round("min"))
        self.cash = exact(broker.cash)
        self.q, self.entry, self.margin = ZERO, ZERO, ZERO
        self.order: Order | None = None
        self.orders: list[Order] = []
        self.bankrupt_at: pd.Timestamp | None = None
        self.book: list[list[object]] = []
        self.fills: list[list[object]] = []
        self.settled: list[list[object]] = []

    def run(self) -> Ledger:
        with localcontext() as context:
            context.prec = 50
            for i in range(len(self.market.bars)):
                self.bar(i)
        return Ledger(
            initial_cash=self.broker.cash,
            equity=floats(table(EQUITY_COLUMNS, self.book)),
            fills=floats(table(FILL_COLUMNS, self.fills)),
            orders=floats(
                table(ORDER_COLUMNS, [self.order_row(n) for n in range(len(self.orders))])
            ),
            funding=floats(table(FUNDING_COLUMNS, self.settled)),
            bankrupt_at=self.bankrupt_at,
        )

    # ── what happens at one bar ──────────────────────────────────────────────────────────────────

    def bar(self, i: int) -> None:
        bars = self.market.bars
        self.i = i
        self.opens, self.closes = bars.open_time[i], bars.close_time[i]
        self.open, self.high, self.low, self.close, self.volume = (
            exact(column[i]) for column in (bars.open, bars.high, bars.low, bars.close, bars.volume)
        )
        self.day = Day()
        if self.q != 0:
            self.day.moves.append((self.q, exact(bars.close[i - 1])))
        self.settle_gap()
        if not bars.filled[i] and self.volume > 0:
            self.fill_waiting_order()
        self.judge_liquidation()
        self.settle_bar()
        self.judge_bankruptcy()
        self.record()
        if i in self.targets and self.bankrupt_at is None:
            self.aim(self.targets[i])

    def record(self) -> None:
        day, equity = self.day, self.equity(self.close)
        price_pnl = sum((q * (self.close - since) for q, since in day.moves), ZERO)
        exposure = self.q * self.close / equity if equity > 0 else ZERO
        self.book.append(
            [self.closes, self.close, self.q, self.cash, equity, price_pnl, day.fee, day.funding,
             day.slippage, day.liquidation, exposure, day.traded]
        )  # fmt: skip

    def equity(self, price: Decimal) -> Decimal:
        return self.cash + self.q * (price - self.entry)

    # ── funding ──────────────────────────────────────────────────────────────────────────────────

    def stamps(self, after: pd.Timestamp, until: pd.Timestamp) -> list[tuple[pd.Timestamp, int]]:
        within = [(t, k) for k, t in enumerate(self.rounded) if after < t <= until]
        return [(t, k) for t, k in within if k == 0 or self.rounded[k - 1] != t]

    def settle_gap(self) -> None:
        if self.i > 0:
            before = self.market.bars.close_time[self.i - 1]
            for stamp, record in self.stamps(before, self.opens):
                self.settle(stamp, record, self.i - 1)

    def settle_bar(self) -> None:
        for stamp, record in self.stamps(self.opens, self.closes):
            self.settle(stamp, record, self.i)

    def settle(self, stamp: pd.Timestamp, record: int, bar: int) -> None:
        funding, marks = self.market.funding, self.market.mark
        own = funding.mark_price[record]
        has_own = not math.isnan(own)
        if has_own:
            mark = exact(own)
        elif marks is not None:
            mark = exact(marks.close[bar])
        else:
            mark = exact(self.market.bars.close[bar])
        payment = -self.q * mark * exact(funding.rate[record])
        self.pay(payment)
        self.day.funding += payment
        known = has_own or marks is not None
        self.settled.append(
            [stamp, self.market.symbol, self.q, mark, known, exact(funding.rate[record]), payment,
             bool(funding.assumed[record])]
        )  # fmt: skip

    def pay(self, amount: Decimal) -> None:
        self.cash += amount
        if self.broker.margin == "isolated" and self.q != 0:
            self.margin = min(self.margin, self.cash)

    # ── a fill ───────────────────────────────────────────────────────────────────────────────────

    def aim(self, target: float) -> None:
        self.cancel("replaced")
        wanted = self.whole_lots(Decimal(repr(float(target))))
        quantity = self.without_dust(wanted - self.q, self.q)
        if quantity != 0:
            self.order = Order(self.closes, quantity, quantity)
            self.orders.append(self.order)

    def cancel(self, reason: str) -> None:
        if self.order is not None:
            self.end("partial" if self.order.filled != 0 else "cancelled", reason)

    def end(self, status: str, reason: str = "") -> None:
        assert self.order is not None
        self.order.status = status
        self.order.reason = reason or self.order.reason
        self.order = None

    def fill_waiting_order(self) -> None:
        order = self.order
        if order is None:
            return
        most = abs(order.left)
        if self.broker.volume_share is not None:
            most = self.whole_lots(exact(self.broker.volume_share) * self.volume)
        if most == 0:
            return
        side = sign(order.left)
        closable = abs(self.q) if self.q * side < 0 else ZERO
        opens = max(abs(order.left) - closable, ZERO)
        if order.filled == 0 and opens > 0 and self.too_small(opens):
            order.left = side * min(closable, abs(order.left))
            order.reason = "min_notional"
            if order.left == 0:
                self.end("rejected")
                return
        size = min(abs(order.left), most)
        price = self.slipped(side, size)
        closing = min(size, closable)
        opening = size - closing
        if closing > 0:
            self.close_part(closing, price)
        carried = self.carried(opening, price)
        if carried < opening and self.too_small(carried):
            carried = ZERO
        if carried > 0:
            self.open_part(side, carried, price)
        filled = side * (closing + carried)
        if filled != 0:
            self.book_fill(filled, price)
        order.filled += filled
        order.left = self.without_dust(order.left - filled, filled)
        if carried < opening:
            self.end("reduced" if order.filled != 0 else "rejected", "margin")
        elif order.left == 0:
            self.end("reduced" if order.reason else "filled")

    def without_dust(self, rest: Decimal, filled: Decimal) -> Decimal:
        """Where there are no lots, a trillionth of a fill is nothing."""
        dust = self.broker.lot_size == 0 and abs(rest) <= abs(filled) * Decimal("1e-12")
        return ZERO if dust else rest

    def too_small(self, quantity: Decimal) -> bool:
        return quantity * self.open < exact(self.broker.min_notional) * (ONE - FORGIVEN)

    def slipped(self, side: Decimal, size: Decimal) -> Decimal:
        model, reference = self.broker.slippage, self.open
        span = (self.high - self.low) / reference
        s = ZERO
        if model.kind == "fixed":
            s = exact(model.bps) / 10_000
        elif model.kind == "spread_range":
            s = exact(model.spread_bps) / 2 / 10_000 + exact(model.range_share) * span
        elif model.kind == "square_root":
            s = exact(model.impact) * span * (size / self.volume).sqrt()
        price = reference * (1 + side * min(s, Decimal("0.5")))
        if self.broker.tick_size == 0:
            return price
        tick = Decimal(repr(self.broker.tick_size))
        if side > 0:
            return whole(price / tick - FORGIVEN, ROUND_CEILING) * tick
        return max(whole(price / tick + FORGIVEN, ROUND_FLOOR), ONE) * tick

    def book_fill(self, d: Decimal, price: Decimal) -> None:
        fee = abs(d) * price * exact(self.broker.taker_fee)
        slippage = abs(d) * abs(price - self.open)
        self.day.fee += fee
        self.day.slippage += slippage
        self.day.traded += abs(d) * price
        self.day.moves.append((d, self.open))
        self.list_fill(self.opens, d, price, self.open, fee, slippage, "")

    def close_part(self, size: Decimal, price: Decimal) -> None:
        realised = (price - self.entry) * sign(self.q) * size
        self.margin -= self.margin * size / abs(self.q)
        self.q = self.without_dust(self.q - sign(self.q) * size, size)
        self.pay(realised - size * price * exact(self.broker.taker_fee))

    def open_part(self, side: Decimal, size: Decimal, price: Decimal) -> None:
        held = abs(self.q)
        self.entry = (held * self.entry + size * price) / (held + size)
        self.margin += size * price / self.leverage((held + size) * price)
        self.q += side * size
        self.pay(-size * price * exact(self.broker.taker_fee))

    # ── margin ───────────────────────────────────────────────────────────────────────────────────

    def tiers(self) -> list[TierSection]:
        return sorted(self.broker.tiers, key=lambda tier: tier.notional_floor)

    def tier(self, notional: Decimal) -> TierSection:
        reached = [t for t in self.tiers() if exact(t.notional_floor) <= notional]
        return reached[-1] if reached else self.tiers()[0]

    def leverage(self, notional: Decimal) -> Decimal:
        return min(exact(self.broker.leverage), exact(self.tier(notional).max_leverage))

    def affordable(self, size: Decimal, price: Decimal) -> bool:
        leverage = self.leverage((abs(self.q) + size) * price)
        if self.broker.margin == "isolated":
            free = self.cash - (self.margin if self.q != 0 else ZERO)
        else:
            free = self.equity(self.open) - abs(self.q) * self.open / leverage
        need = size * price / leverage + size * price * exact(self.broker.taker_fee)
        return need <= free + FORGIVEN * abs(free)

    def carried(self, size: Decimal, price: Decimal) -> Decimal:
        """The largest affordable multiple of the lot: tried by halving what is in doubt."""
        if size == 0 or self.affordable(size, price):
            return size
        lot = self.lot() or Decimal("1e-30")
        fits, fails = 0, int(size / lot) + 1
        while fails - fits > 1:
            middle = (fits + fails) // 2
            if self.affordable(middle * lot, price):
                fits = middle
            else:
                fails = middle
        speck = self.broker.lot_size == 0 and fits * lot <= FORGIVEN * size
        return ZERO if speck else fits * lot

    def lot(self) -> Decimal:
        return Decimal(repr(self.broker.lot_size)) if self.broker.lot_size > 0 else ZERO

    def whole_lots(self, quantity: Decimal) -> Decimal:
        lot = self.lot()
        if lot == 0:
            return quantity
        return sign(quantity) * whole(abs(quantity) / lot + FORGIVEN, ROUND_FLOOR) * lot

    # ── liquidation and bankruptcy ───────────────────────────────────────────────────────────────

    def liquidation_price(self) -> Decimal:
        side, size, entry = sign(self.q), abs(self.q), self.entry
        margin = self.margin if self.broker.margin == "isolated" else self.cash
        tier, prices = self.tier(size * entry), [entry]
        for _ in range(2 * len(self.tiers()) + 2):
            m, c = exact(tier.maintenance_rate), exact(tier.maintenance_amount)
            prices.append((margin + c - side * size * entry) / (size * m - side * size))
            following = self.tier(size * prices[-1])
            if following == tier:
                return prices[-1]
            tier = following
        return min(prices[-2:], key=lambda price: abs(price - entry))

    def judge_liquidation(self) -> None:
        if self.q == 0:
            return
        worst = self.market.bars if self.market.mark is None else self.market.mark
        low, high = exact(worst.low[self.i]), exact(worst.high[self.i])
        touch = self.liquidation_price()
        if self.q > 0:
            if touch <= 0 or low > touch * (1 + FORGIVEN):
                return
            price = min(touch, self.open)
        else:
            if high < touch * (1 - FORGIVEN):
                return
            price = max(touch, self.open)
        margin = self.margin if self.broker.margin == "isolated" else self.cash
        gain = self.q * (price - self.entry)
        loss = max(gain - abs(self.q) * price * exact(self.broker.liquidation_fee), -margin)
        self.day.liquidation += gain - loss
        self.force_out(price, self.cash + loss, "liquidation")

    def judge_bankruptcy(self) -> None:
        equity = self.equity(self.close)
        if self.bankrupt_at is None and equity <= FORGIVEN * exact(self.broker.cash):
            self.day.liquidation += min(equity, ZERO)
            self.force_out(self.close, max(equity, ZERO), "bankruptcy")
            self.bankrupt_at = self.closes

    def force_out(self, price: Decimal, cash: Decimal, reason: str) -> None:
        if self.q != 0:
            self.list_fill(self.closes, -self.q, price, price, ZERO, ZERO, reason)
            self.day.moves.append((-self.q, price))
        self.cash, self.q, self.entry, self.margin = cash, ZERO, ZERO, ZERO
        self.cancel(reason)

    # ── tables ───────────────────────────────────────────────────────────────────────────────────

    def list_fill(
        self, time: pd.Timestamp, d: Decimal, price: Decimal, reference: Decimal, fee: Decimal,
        slippage: Decimal, reason: str,
    ) -> None:  # fmt: skip
        number = -1 if reason else len(self.orders) - 1
        self.fills.append(
            [number, self.market.symbol, time, self.i, d, price, reference, fee, slippage, "taker",
             reason]
        )  # fmt: skip

    def order_row(self, number: int) -> list[object]:
        order, mine = self.orders[number], [fill for fill in self.fills if fill[0] == number]
        value = sum((f[4] * f[5] for f in mine), ZERO)  # type: ignore[operator]
        average = value / order.filled if order.filled != 0 else None
        costs = [sum((f[k] for f in mine), ZERO) for k in (7, 8)]  # type: ignore[misc]
        return [
            number, self.market.symbol, order.created, "market", order.quantity, None, None,
            order.status, order.reason, order.filled, average, *costs, None,
        ]  # fmt: skip


def exact(value: float) -> Decimal:
    """The very number that the float holds."""
    return Decimal(float(value))


def sign(value: Decimal) -> Decimal:
    return ONE if value > 0 else -ONE if value < 0 else ZERO


def whole(value: Decimal, rounding: str) -> Decimal:
    return value.to_integral_value(rounding)


def floats(frame: pd.DataFrame) -> pd.DataFrame:
    """Decimals as floats, the rest as it is."""
    for name in frame.columns:
        if frame[name].map(lambda value: isinstance(value, Decimal)).any():
            frame[name] = frame[name].astype(float)
    return frame
