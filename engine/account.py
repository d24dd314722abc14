"""The account of ``docs/account.md``, step by step, without Backtrader.

The broker decides which order meets which price; here a fill, a settlement or a liquidation becomes
cash, position, margin and the bar's bookings. Quantities are counted in whole lots.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from perpwalk import perp
from perpwalk.config import BrokerSection
from perpwalk.domain import MaintenanceTier, PerpSpec
from perpwalk.perp import TOLERANCE


@dataclass(eq=False, slots=True)
class Holding:
    """One symbol of the account.

    Attributes
    ----------
    lots, quantity
        The signed position, counted in lots and in base currency.
    entry
        Volume-weighted entry price; 0 while flat.
    margin
        The part of cash set aside, with isolated margin.
    price
        The last close: what the position is valued at.
    """

    spec: PerpSpec
    step: perp.LotStep
    lots: float = 0
    quantity: float = 0.0
    entry: float = 0.0
    margin: float = 0.0
    price: float = 0.0
    _carried: float = 0.0
    _bar_fills: list[tuple[float, float]] = field(default_factory=list)
    _limit_for: tuple[float, float, float] | None = None
    _limit: float = 0.0

    @classmethod
    def of(cls, spec: PerpSpec) -> Holding:
        """Return a flat holding of the contract."""
        return cls(spec, perp.LotStep(spec.lot_size))

    def _move(self, lots: float, reference: float) -> float:
        """Change the position by ``lots`` and return the quantity that is."""
        change = self.step.quantity(lots)
        self.lots = self.step.total(self.lots, lots)
        self.quantity = self.step.quantity(self.lots)
        self._bar_fills.append((change, reference))
        if self.lots == 0:
            self.entry = 0.0
            self.margin = 0.0
        return change

    def liquidation_price(self, backing: float) -> float:
        """Return the price at which ``backing`` plus unrealised PnL meets maintenance."""
        state = (self.quantity, self.entry, backing)
        if state != self._limit_for:
            self._limit = perp.liquidation_price(*state, self.spec.tiers)
            self._limit_for = state
        return self._limit

    def mark_to(self, close: float) -> float:
        """Value the position at the bar's close and return the bar's price PnL."""
        pnl = self._carried * (close - self.price)
        if self._bar_fills:
            pnl += sum(change * (close - reference) for change, reference in self._bar_fills)
            self._bar_fills.clear()
        self._carried = self.quantity
        self.price = close
        return pnl


@dataclass(slots=True)
class BarBooking:
    """What one bar of the account was made of; costs positive when paid."""

    price_pnl: float = 0.0
    fee: float = 0.0
    funding: float = 0.0
    slippage: float = 0.0
    liquidation: float = 0.0
    traded_notional: float = 0.0


class Account:
    """Cash and holdings under one set of margin rules.

    Parameters
    ----------
    section
        Cash, leverage and the kind of margin.
    holdings
        One per symbol.
    """

    def __init__(self, section: BrokerSection, holdings: Sequence[Holding]) -> None:
        self.initial_cash = section.cash
        self.cash = section.cash
        self.leverage = section.leverage
        self.isolated = section.margin == "isolated"
        self.holdings = tuple(holdings)
        self.booking = BarBooking()

    @property
    def equity(self) -> float:
        """Cash plus open profit at the last closes."""
        equity = self.cash
        for holding in self.holdings:
            equity += holding.quantity * (holding.price - holding.entry)
        return equity

    # ── fills ────────────────────────────────────────────────────────────────────────────────────

    def close(
        self, holding: Holding, lots: float, price: float, reference: float, fee_rate: float
    ) -> tuple[float, float]:
        """Reduce the position by ``lots`` (opposite in sign); return realised PnL and fee."""
        before, entry = holding.lots, holding.entry
        kept_margin = holding.margin * ((before + lots) / before)
        closed = -holding.step.quantity(lots)
        realised = closed * (price - entry)
        holding._move(lots, reference)
        if holding.lots != 0:
            holding.margin = kept_margin
        fee = self._book_fill(closed, price, reference, fee_rate)
        self.cash += realised - fee
        self._restrain_margin(holding)
        return realised, fee

    def open(
        self, holding: Holding, lots: float, price: float, reference: float, fee_rate: float
    ) -> float:
        """Open or add ``lots`` and return the fee. What free margin carries is not checked here."""
        before, entry = abs(holding.quantity), holding.entry
        opened = abs(holding._move(lots, reference))
        holding.entry = (before * entry + opened * price) / (before + opened)
        if self.isolated:
            leverage = self._leverage_of(holding, abs(holding.quantity) * price)
            holding.margin += opened * price / leverage
        fee = self._book_fill(opened, price, reference, fee_rate)
        self.cash -= fee
        self._restrain_margin(holding)
        return fee

    def _book_fill(self, quantity: float, price: float, reference: float, fee_rate: float) -> float:
        booking, size = self.booking, abs(quantity)
        fee = size * price * fee_rate
        booking.fee += fee
        booking.slippage += size * abs(price - reference)
        booking.traded_notional += size * price
        return fee

    def affordable(
        self, holding: Holding, lots: float, price: float, reference: float, fee_rate: float
    ) -> float:
        """Return the largest part of the opening ``lots`` that free margin carries.

        ``required = |d| P / L + fee <= free``, with L capped by the tier of the whole position
        after the fill. More size never needs less margin, so each tier's best size is one division
        and the largest of them is the answer.
        """
        if self._carries(holding, lots, price, reference, fee_rate):
            return lots
        held = abs(holding.quantity)
        best = 0.0
        for tier, ceiling in _with_ceilings(holding.spec.tiers):
            leverage = min(self.leverage, tier.max_leverage)
            free = self._free(holding, reference, leverage) * (1.0 + TOLERANCE)
            size = free / (price * (1.0 / leverage + fee_rate))
            best = max(best, min(size, ceiling / price - held))
        count = min(holding.step.count(best), abs(lots))
        sign = 1 if lots > 0 else -1
        while count > 0 and not self._carries(holding, sign * count, price, reference, fee_rate):
            # A step too many: the ceiling of a tier already belongs to the next one.
            count -= 1 if holding.spec.lot_size > 0 else math.ulp(held + count)
        # Without lots, what rounding leaves of free margin would carry a speck of the order.
        if holding.spec.lot_size == 0 and count <= TOLERANCE * abs(lots):
            return 0
        return sign * max(count, 0)

    def _carries(
        self, holding: Holding, lots: float, price: float, reference: float, fee_rate: float
    ) -> bool:
        opened = abs(holding.step.quantity(lots))
        after = abs(holding.step.quantity(holding.lots + lots))
        leverage = self._leverage_of(holding, after * price)
        required = opened * price / leverage + opened * price * fee_rate
        return required <= self._free(holding, reference, leverage) * (1.0 + TOLERANCE)

    def _free(self, holding: Holding, reference: float, leverage: float) -> float:
        """Return cash (isolated) or equity (cross) that no position has claimed."""
        if self.isolated:
            return self.cash - sum(one.margin for one in self.holdings)
        free = self.cash
        for one in self.holdings:
            is_it = one is holding
            # Other symbols at their last close: their price at this moment is not in the bar.
            price = reference if is_it else one.price
            size = abs(one.quantity) * price
            used = leverage if is_it else self._leverage_of(one, size)
            free += one.quantity * (price - one.entry) - size / used
        return free

    def _leverage_of(self, holding: Holding, value: float) -> float:
        return perp.effective_leverage(holding.spec.tiers, self.leverage, value)

    def _restrain_margin(self, payer: Holding) -> None:
        """Let isolated margin fall with cash: first the payer's, then that of the others."""
        if not self.isolated:
            return
        excess = sum(one.margin for one in self.holdings) - self.cash
        if excess <= 0:
            return
        held = [one for one in (payer, *self.holdings) if one.lots != 0]
        for one in held:
            taken = min(excess, max(one.margin, 0.0))
            one.margin -= taken
            excess -= taken
        if held and excess > 0:
            held[0].margin -= excess  # cash is below zero: an open profit must cover it

    # ── funding ──────────────────────────────────────────────────────────────────────────────────

    def settle(self, holding: Holding, mark_price: float, rate: float) -> float:
        """Pay or receive funding on the position and return the payment."""
        if holding.lots == 0:
            return 0.0
        payment = perp.funding_payment(holding.quantity, mark_price, rate)
        self.cash += payment
        self.booking.funding += payment
        self._restrain_margin(holding)
        return payment

    # ── forced exits ─────────────────────────────────────────────────────────────────────────────

    def liquidation_price(self, holding: Holding) -> float | None:
        """Return where the position is liquidated; None where that depends on other symbols."""
        if self.isolated:
            return holding.liquidation_price(holding.margin)
        others = any(one.lots != 0 for one in self.holdings if one is not holding)
        return None if others else holding.liquidation_price(self.cash)

    def fails_at(self, prices: Sequence[float]) -> bool:
        """Say whether equity at ``prices`` (one per holding) is at or below all maintenance."""
        equity, maintenance = self.cash, 0.0
        for holding, price in zip(self.holdings, prices, strict=True):
            equity += holding.quantity * (price - holding.entry)
            value = abs(holding.quantity) * price
            maintenance += perp.maintenance_margin(holding.spec.tiers, value)
        return equity <= maintenance * (1.0 + TOLERANCE)

    def liquidate(self, exits: Sequence[tuple[Holding, float]]) -> None:
        """Close positions at the exchange's hand; the loss ends where what backed it ends.

        ``exits`` are holdings with their exit prices: one with isolated margin, all with cross.
        """
        for holding, price in exits:
            gross = holding.quantity * (price - holding.entry)
            fee = abs(holding.quantity) * price * holding.spec.liquidation_fee
            # With cross margin the cap is cash: what goes below it makes the account bankrupt in
            # this very bar, and `end` books it.
            loss = max(gross - fee, -holding.margin) if self.isolated else gross - fee
            holding._move(-holding.lots, price)
            self.cash += loss
            self.booking.liquidation += gross - loss
        self._restrain_margin(exits[0][0])

    def close_out(self, holding: Holding) -> None:
        """End a bankrupt position at the last close, without fee."""
        self.cash += holding.quantity * (holding.price - holding.entry)
        holding._move(-holding.lots, holding.price)

    def _insure(self) -> None:
        """Book what is missing below zero on the exchange's insurance fund."""
        if self.cash < 0:
            self.booking.liquidation += self.cash
            self.cash = 0.0

    def is_ruined(self, equity: float) -> bool:
        """Whether ``equity`` is nothing left to trade with."""
        return equity <= TOLERANCE * self.initial_cash

    def end(self) -> None:
        """Close the book after bankruptcy: no negative balance."""
        for holding in self.holdings:
            holding.mark_to(holding.price)
        self._insure()

    # ── the bar ──────────────────────────────────────────────────────────────────────────────────

    def mark_to(self, holding: Holding, close: float) -> None:
        """Value one position at its bar's close."""
        self.booking.price_pnl += holding.mark_to(close)


def _with_ceilings(
    tiers: Sequence[MaintenanceTier],
) -> list[tuple[MaintenanceTier, float]]:
    ceilings = [tier.notional_floor for tier in tiers[1:]] + [float("inf")]
    return list(zip(tiers, ceilings, strict=True))
