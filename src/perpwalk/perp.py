"""Arithmetic of linear (quote-margined) perpetual contracts: pure functions of numbers.

Quantities are signed and in base currency, money in quote currency, rates are fractions. The rules
are those of ``docs/account.md``; comparisons forgive rounding by ``TOLERANCE``, as it says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from perpwalk.domain import MaintenanceTier

TOLERANCE = 1e-9
_SPECK = 1e-12  # of the quantity that was taken away
_FLOAT_NOISE = 1e-14  # two roundings of a float, with room


def notional(quantity: float, price: float) -> float:
    """Return what a position or a trade is worth, unsigned.

    >>> notional(-2.0, 100.0)
    200.0
    """
    return abs(quantity) * price


def fee(quantity: float, price: float, rate: float) -> float:
    """Return the fee of one execution; positive when paid (a maker's rebate is negative).

    >>> fee(quantity=-2.0, price=100.0, rate=0.0005)
    0.1
    """
    return abs(quantity) * price * rate


def funding_payment(quantity: float, mark_price: float, rate: float) -> float:
    """Return the cash a position receives at one settlement.

    Longs pay shorts when ``rate`` is positive, so the sign is opposite to ``quantity``.

    >>> funding_payment(quantity=2.0, mark_price=100.0, rate=0.0001)
    -0.02
    >>> funding_payment(quantity=-2.0, mark_price=100.0, rate=0.0001)
    0.02
    """
    return -quantity * mark_price * rate


def unrealised_pnl(quantity: float, entry: float, price: float) -> float:
    """Return what closing at ``price`` would realise, before costs.

    >>> unrealised_pnl(quantity=-2.0, entry=100.0, price=90.0)
    20.0
    """
    return quantity * (price - entry)


def initial_margin(quantity: float, price: float, leverage: float) -> float:
    """Return the margin to set aside for opening ``quantity`` at ``price``.

    >>> initial_margin(quantity=1.0, price=40000.0, leverage=10.0)
    4000.0
    """
    return abs(quantity) * price / leverage


# ── maintenance margin and liquidation ───────────────────────────────────────────────────────────


def maintenance_tier(tiers: Sequence[MaintenanceTier], value: float) -> MaintenanceTier:
    """Return the tier of a position of notional ``value``: the last with a floor not above it.

    >>> low, high = MaintenanceTier(0, 0.004, 0, 125), MaintenanceTier(50_000, 0.005, 50, 100)
    >>> maintenance_tier((low, high), 49_999.0) is low, maintenance_tier((low, high), 50_000.0) is high
    (True, True)
    """  # noqa: E501
    found = tiers[0]
    for tier in tiers:
        if tier.notional_floor > value:
            break
        found = tier
    return found


def maintenance_margin(tiers: Sequence[MaintenanceTier], value: float) -> float:
    """Return the margin below which a position of notional ``value`` is liquidated.

    >>> tiers = (MaintenanceTier(0, 0.004, 0, 125), MaintenanceTier(50_000, 0.005, 50, 100))
    >>> maintenance_margin(tiers, 100_000.0)
    450.0
    """
    tier = maintenance_tier(tiers, value)
    return value * tier.maintenance_rate - tier.maintenance_amount


def effective_leverage(tiers: Sequence[MaintenanceTier], leverage: float, value: float) -> float:
    """Return ``leverage``, capped by what the tier of notional ``value`` allows.

    >>> tiers = (MaintenanceTier(0, 0.004, 0, 125), MaintenanceTier(50_000, 0.005, 50, 20))
    >>> effective_leverage(tiers, 50.0, 1_000.0), effective_leverage(tiers, 50.0, 60_000.0)
    (50.0, 20)
    """
    return min(leverage, maintenance_tier(tiers, value).max_leverage)


def liquidation_price_in_tier(
    quantity: float, entry: float, margin: float, tier: MaintenanceTier
) -> float:
    """Return the price at which ``margin`` plus unrealised PnL meets the maintenance of ``tier``.

    ``LP = (margin + c - side |q| entry) / (|q| m - side |q|)``. For a long a value at or below zero
    means that it cannot be liquidated.

    Notes
    -----
    The formula of Binance's support article "How to calculate liquidation price of USDⓈ-M futures
    contracts"; with cross margin its ``margin`` is the wallet balance less the maintenance of, plus
    the unrealised PnL of, all other contracts.

    >>> tier = MaintenanceTier(0, 0.004, 0, 125)
    >>> round(liquidation_price_in_tier(1.0, 40_000.0, 4_000.0, tier), 3)
    36144.578
    >>> round(liquidation_price_in_tier(-1.0, 40_000.0, 4_000.0, tier), 3)
    43824.701
    """
    size = abs(quantity)
    return (margin + tier.maintenance_amount - quantity * entry) / (
        size * tier.maintenance_rate - quantity
    )


def liquidation_price(
    quantity: float, entry: float, margin: float, tiers: Sequence[MaintenanceTier]
) -> float:
    """Return the liquidation price with the tier taken at the notional at that very price.

    Iterated from the tier at ``entry`` until it is stable. Where a table that jumps makes it
    alternate between tiers, the price nearest to ``entry`` (the earliest liquidation) is taken.

    >>> tiers = (MaintenanceTier(0, 0.004, 0, 125), MaintenanceTier(50_000, 0.005, 50, 100))
    >>> round(liquidation_price(2.0, 40_000.0, 8_000.0, tiers), 3)  # 72 k at LP: the second tier
    36155.779
    """
    size = abs(quantity)
    tier = maintenance_tier(tiers, size * entry)
    seen: list[MaintenanceTier] = []
    prices: list[float] = []
    while tier not in seen:
        seen.append(tier)
        prices.append(liquidation_price_in_tier(quantity, entry, margin, tier))
        tier = maintenance_tier(tiers, size * prices[-1])
    cycle = prices[seen.index(tier) :]
    return min(cycle, key=lambda price: abs(price - entry))


# ── lots and ticks ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class LotStep:
    """Whole lots: quantities are counted in integers, so that −0.3 is −0.3.

    With ``size`` 0 any quantity is allowed and the count is the quantity itself.

    >>> step = LotStep(0.1)
    >>> step.count(0.3), step.count(-0.39), step.quantity(-3)
    (3, -3, -0.3)
    """

    size: float

    def __post_init__(self) -> None:
        # The decimal that was written, not its binary neighbour: 0.1 is one tenth.
        exact = Fraction(repr(float(self.size)))
        object.__setattr__(self, "_numerator", exact.numerator)
        object.__setattr__(self, "_denominator", exact.denominator)

    _numerator: int = 0
    _denominator: int = 1

    def count(self, quantity: float) -> float:
        """Return how many whole lots ``quantity`` holds, rounded towards zero.

        What falls short of a whole lot by less than ``TOLERANCE`` of a lot, or by no more than the
        float holding a large quantity can tell, counts as one: ``count(quantity(n)) == n``.
        """
        if self._numerator == 0:
            return quantity
        exact = abs(quantity) * self._denominator / self._numerator
        lots = math.floor(exact * (1.0 + _FLOAT_NOISE) + TOLERANCE)
        return lots if quantity >= 0 else -lots

    def total(self, lots: float, change: float) -> float:
        """Return the sum of two counts; without lots, rounding left of a closed one is nothing.

        >>> LotStep(0.0).total(0.1 + 0.2, -0.3), LotStep(0.1).total(3, -3)
        (0.0, 0)
        """
        total = lots + change
        if self._numerator == 0 and abs(total) <= _SPECK * abs(change):
            return 0.0
        return total

    def quantity(self, lots: float) -> float:
        """Return the quantity of ``lots``: one correctly rounded division of integers."""
        if self._numerator == 0:
            return lots
        return lots * self._numerator / self._denominator


def round_price(price: float, tick_size: float, sign: float) -> float:
    """Round an execution price to whole ticks, against the order: up for a buyer.

    A price within ``TOLERANCE`` of a tick stays on it; the result is never below one tick.

    >>> round_price(100.03, 0.1, +1), round_price(100.03, 0.1, -1), round_price(100.03, 0.0, +1)
    (100.1, 100.0, 100.03)
    """
    if tick_size == 0:
        return price
    ticks = price / tick_size
    whole = math.ceil(ticks - TOLERANCE) if sign > 0 else math.floor(ticks + TOLERANCE)
    step = Fraction(repr(float(tick_size)))
    return max(whole, 1) * step.numerator / step.denominator
