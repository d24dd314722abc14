"""Contract arithmetic against published examples and by hand."""

from __future__ import annotations

import itertools
import math

import pytest

from perpwalk import perp
from perpwalk.config import DEFAULT_TIERS
from perpwalk.domain import MaintenanceTier

TIERS = tuple(
    MaintenanceTier(
        tier.notional_floor, tier.maintenance_rate, tier.maintenance_amount, tier.max_leverage
    )
    for tier in DEFAULT_TIERS
)


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        pytest.param(1, 36144.57831325301, id="liq_long_1"),
        pytest.param(-1, 43824.701195219124, id="liq_short_1"),
    ],
)
def test_isolated_liquidation_price_of_one_bitcoin_at_ten_times(side: int, expected: float):
    """
    10x at 40,000 in the first tier: Binance's formula gives 36,144.58 long and 43,824.70 short.

    Source: Binance support, "How to calculate liquidation price of USDⓈ-M futures contracts".
    """
    tier = MaintenanceTier(0, 0.004, 0, 125)

    price = perp.liquidation_price_in_tier(side * 1.0, 40_000.0, 4_000.0, tier)

    assert expected == pytest.approx(price, abs=1e-6)


@pytest.mark.parametrize(
    ("quantity", "entry", "rate", "amount", "other_maintenance", "other_pnl", "expected"),
    [
        (3683.979, 1456.84, 0.10, 135_365.00, 71_200.81144, -56_354.57, 1153.26),
        (109.488, 32_481.980, 0.025, 16_300.00, 356_512.508, -448_192.89, 26_316.89),
    ],
)
def test_cross_liquidation_prices_of_binances_worked_example(
    quantity: float,
    entry: float,
    rate: float,
    amount: float,
    other_maintenance: float,
    other_pnl: float,
    expected: float,
):
    """
    ETH and BTC held together on a wallet of 1,535,443.01 are liquidated where Binance says.

    Source: Binance support, the cross-margin example of the same article (the numbers are those
    that freqtrade tests its Binance formula with).
    """
    backing = 1_535_443.01 - other_maintenance + other_pnl
    tier = MaintenanceTier(0, rate, amount, 125)

    price = perp.liquidation_price_in_tier(quantity, entry, backing, tier)

    assert expected == pytest.approx(price, abs=0.01)


@pytest.mark.parametrize(
    ("quantity", "entry", "rate", "amount", "expected"),
    [
        (3683.979, 1456.84, 0.10, 135_365.00, 1114.78),
        (109.488, 32_481.980, 0.025, 16_300.00, 18_778.73),
    ],
)
def test_isolated_liquidation_prices_of_the_same_positions(
    quantity: float, entry: float, rate: float, amount: float, expected: float
):
    """
    With the whole wallet as isolated margin, what the other position does is of no account.
    """
    tier = MaintenanceTier(0, rate, amount, 125)

    price = perp.liquidation_price_in_tier(quantity, entry, 1_535_443.01, tier)

    assert expected == pytest.approx(price, abs=0.01)


def test_funding_of_bybits_worked_example():
    """
    A long of 10 BTC at a mark of 8,000 pays 8 USDT at 0.01 %; the short receives it.

    Source: Bybit help centre, "Funding fee calculation".
    """
    assert -8.0 == pytest.approx(perp.funding_payment(10.0, 8_000.0, 0.0001))
    assert 8.0 == pytest.approx(perp.funding_payment(-10.0, 8_000.0, 0.0001))


def test_the_default_maintenance_table_has_no_jumps():
    """
    At each floor the tier below and the tier above ask for the same maintenance.

    That is how Binance publishes its "maintenance amount": a table without steps.
    """
    for below, above in itertools.pairwise(TIERS):
        floor = above.notional_floor
        asked_below = floor * below.maintenance_rate - below.maintenance_amount
        assert asked_below == pytest.approx(perp.maintenance_margin(TIERS, floor))


@pytest.mark.parametrize("quantity", [2.0, -2.0, 20.0, -500.0, 3_000.0])
def test_margin_meets_maintenance_at_the_liquidation_price(quantity: float):
    """
    At the price found, margin plus unrealised PnL equals the maintenance of the tier there.
    """
    entry, margin = 2_000.0, abs(quantity) * 2_000.0 / 10

    price = perp.liquidation_price(quantity, entry, margin, TIERS)

    left = margin + perp.unrealised_pnl(quantity, entry, price)
    assert left == pytest.approx(perp.maintenance_margin(TIERS, abs(quantity) * price))


def test_a_table_that_jumps_is_read_at_the_earlier_liquidation():
    """
    Where neither tier's price lies in its own tier, the one nearer to the entry is taken.
    """
    jumping = (MaintenanceTier(0, 0.004, 0, 125), MaintenanceTier(36_100, 0.004, 2_000, 125))

    price = perp.liquidation_price(1.0, 40_000.0, 4_000.0, jumping)

    own = [perp.liquidation_price_in_tier(1.0, 40_000.0, 4_000.0, tier) for tier in jumping]
    assert own[1] < 36_100 < own[0]
    assert own[0] == price


def test_a_long_without_leverage_cannot_be_liquidated():
    """
    Margin of the whole notional puts the liquidation price at or below zero.
    """
    assert perp.liquidation_price(1.0, 100.0, 100.5, TIERS) <= 0


@pytest.mark.parametrize("size", [0.001, 0.05, 0.1, 0.3, 1.0, 5.0])
def test_lots_come_back_as_they_went(size: float):
    """
    Any count of lots, also a very large one, survives the way to a quantity and back.
    """
    step = perp.LotStep(size)

    for lots in (0, 1, -1, 3, 7, 1_000_003, -20_000_001):
        assert lots == step.count(step.quantity(lots))


def test_lots_are_counted_towards_zero_and_exactly():
    """
    −0.3 in lots of 0.1 is three lots, and three lots are −0.3; 0.39 is three lots as well.
    """
    step = perp.LotStep(0.1)

    assert (-3, -0.3) == (step.count(-0.3), step.quantity(-3))
    assert (3, 3) == (step.count(0.39), step.count(0.1 + 0.2))
    assert 2 == step.count(0.299)


def test_prices_are_rounded_against_the_order():
    """
    A buyer pays the next tick above, a seller gets the next below, and no price is below a tick.
    """
    assert 100.1 == perp.round_price(100.01, 0.1, +1)
    assert 100.0 == perp.round_price(100.09, 0.1, -1)
    assert 100.1 == perp.round_price(100.1, 0.1, +1)
    assert 0.1 == perp.round_price(0.04, 0.1, -1)
    assert math.pi == perp.round_price(math.pi, 0.0, +1)
