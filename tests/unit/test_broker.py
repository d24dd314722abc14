"""The account of docs/account.md through Backtrader, event by event, on bars to check by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from tiny_replay import HOUR, account, at, bars, fates, fills, flat, funding, market, run

from engine.bridge import bt
from perpwalk.errors import ConfigError, LookAheadError, UsageError
from perpwalk.recompute import compare, recompute

Order = bt.Order


# ── fills ────────────────────────────────────────────────────────────────────────────────────────


def test_a_market_order_fills_at_the_next_open():
    """
    Decided at the close of bar 0, filled at the open of bar 1, not at any price of bar 0.
    """
    tape = market(bars([(100, 101, 99, 100), (102, 104, 101, 103), (103, 103, 103, 103)]))

    ledger = run(tape, account(), {0: 2.0})

    assert [(2.0, 102.0)] == fills(ledger)
    assert at(1) == ledger.fills["time"].iloc[0]
    assert [0.0, 2.0, 2.0] == ledger.equity["position"].tolist()
    assert [1000.0, 1002.0, 1002.0] == ledger.equity["equity"].tolist()


def test_fee_and_slippage_stand_apart_and_go_against_the_order():
    """
    A buyer pays 10 bp more than the open, a seller gets 10 bp less; the fee is on what was paid.
    """
    broker = account(taker_fee=0.01, slippage={"kind": "fixed", "bps": 10.0})

    ledger = run(market(bars(flat(100, 100, 100, 100))), broker, {0: 2.0, 1: 0.0})

    assert [(2.0, 100.1), (-2.0, 99.9)] == fills(ledger)
    assert [0.0, 0.2, 0.2, 0.0] == pytest.approx(ledger.equity["slippage"].tolist())
    assert [0.0, 2.002, 1.998, 0.0] == pytest.approx(ledger.equity["fee"].tolist())
    assert [2.002, 1.998] == pytest.approx(ledger.orders["fee"].tolist())
    assert [100.1, 99.9] == pytest.approx(ledger.orders["average_price"].tolist())
    assert 1000 - 0.4 - 4.0 == pytest.approx(ledger.equity["equity"].iloc[-1])


@pytest.mark.parametrize(
    ("slippage", "expected"),
    [
        ({"kind": "none"}, 100.0),
        ({"kind": "fixed", "bps": 100.0}, 101.0),
        ({"kind": "spread_range", "spread_bps": 20.0, "range_share": 0.5}, 102.1),
        ({"kind": "square_root", "impact": 0.5}, 101.0),
        ({"kind": "fixed", "bps": 9000.0}, 150.0),
    ],
)
def test_each_slippage_model_charges_what_the_page_says(slippage: dict[str, Any], expected: float):
    """
    On a bar of range 4 and volume 4, a buy of 1 at an open of 100; never more than a half.
    """
    tape = market(bars([(100, 100, 100, 100), (100, 102, 98, 100)], volume=4.0))

    ledger = run(tape, account(slippage=slippage, leverage=2.0), {0: 1.0})

    assert [(1.0, expected)] == fills(ledger)


def test_prices_are_rounded_away_from_the_order_where_there_are_ticks():
    """
    With ticks of 0.5 a buy slipped to 100.1 pays 100.5, a sale slipped to 99.9 gets 99.5.
    """
    broker = account(tick_size=0.5, slippage={"kind": "fixed", "bps": 10.0})

    ledger = run(market(bars(flat(100, 100, 100))), broker, {0: 1.0, 1: 0.0})

    assert [(1.0, 100.5), (-1.0, 99.5)] == fills(ledger)


def test_bars_that_were_made_up_or_have_no_volume_fill_nothing():
    """
    The order waits through a filled bar and a bar without volume for the next real bar's open.
    """
    tape = market(
        bars(flat(100, 100, 101, 102, 103), volume=[9, 9, 0, 9, 9], filled=[0, 1, 0, 0, 0])
    )

    ledger = run(tape, account(), {0: 1.0})

    assert [(1.0, 101.0)] == fills(ledger)
    assert 3 == ledger.fills["bar"].iloc[0]


def test_the_first_bar_after_a_gap_fills_at_its_own_open():
    """
    Where hours are missing the order meets the next bar there is.
    """
    tape = market(bars([*flat(100, 100), (90, 90, 90, 90)], missing=[2, 3, 4]))

    ledger = run(tape, account(), {1: 1.0})

    assert [(1.0, 90.0)] == fills(ledger)
    assert at(5) == ledger.fills["time"].iloc[0]


def test_a_turn_closes_the_old_position_and_opens_the_rest():
    """
    From +2 to −1: two are closed at a profit, one is opened at the same price.
    """
    ledger = run(market(bars(flat(100, 100, 110, 110, 105))), account(), {0: 2.0, 2: -1.0})

    assert [(2.0, 100.0), (-3.0, 110.0)] == fills(ledger)
    assert [1000, 1000, 1020, 1020, 1025] == ledger.equity["equity"].tolist()
    assert 1020.0 == ledger.equity["cash"].iloc[-1]


def test_a_partial_close_keeps_the_entry():
    """
    Reducing realises a share of the profit and leaves the entry of what remains.
    """
    ledger = run(market(bars(flat(100, 100, 110, 110, 100))), account(), {0: 2.0, 2: 0.5})

    assert [1000, 1000, 1000, 1015, 1015] == ledger.equity["cash"].tolist()
    assert [1000, 1000, 1020, 1020, 1015] == ledger.equity["equity"].tolist()


def test_lots_round_towards_zero_and_leave_no_speck():
    """
    −0.3 is −0.3: turning, adding and closing in tenths ends exactly flat.
    """
    prices = bars(flat(100, 100, 100, 100, 100, 100))

    ledger = run(market(prices), account(lot_size=0.1), {0: 0.59, 1: -0.3, 2: 0.1, 3: 0.0})

    assert [0.0, 0.5, -0.3, 0.1, 0.0, 0.0] == ledger.equity["position"].tolist()
    assert 4 == len(ledger.fills)


def test_volume_share_fills_in_parts():
    """
    A tenth of the volume fills in each bar, in whole lots, and the rest waits.
    """
    tape = market(bars(flat(100, 100, 100, 100, 100), volume=[9, 12, 5, 100, 100]))

    ledger = run(tape, account(volume_share=0.1, lot_size=1.0, leverage=5.0), {0: 5.0})

    assert [(1.0, 100.0), (4.0, 100.0)] == fills(ledger)
    assert [1, 3] == ledger.fills["bar"].tolist()
    assert [("filled", "")] == fates(ledger)


def test_a_new_target_replaces_what_is_left_of_the_old_one():
    """
    The rest of the earlier order is cancelled and the position goes to the later target.
    """
    tape = market(bars(flat(100, 100, 100, 100), volume=10.0))

    ledger = run(tape, account(volume_share=0.1, leverage=5.0), {0: 3.0, 1: 1.5})

    assert [0.0, 1.0, 1.5, 1.5] == ledger.equity["position"].tolist()
    assert [("partial", "replaced"), ("filled", "")] == fates(ledger)
    assert [3.0, 1.5] == ledger.targets["quantity"].tolist()


def test_an_order_waiting_at_the_end_is_pending():
    """
    What was decided at the last close is listed as pending; an open position stays open.
    """
    ledger = run(market(bars(flat(100, 100, 100))), account(), {0: 1.0, 2: 0.0})

    assert [("filled", ""), ("pending", "")] == fates(ledger)
    assert pd.isna(ledger.orders["finished_at"].iloc[1])
    assert 1.0 == ledger.equity["position"].iloc[-1]


# ── funding ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("quantity", "payment"), [(2.0, -0.2), (-2.0, 0.2)])
def test_longs_pay_shorts_when_the_rate_is_positive(quantity: float, payment: float):
    """
    0.1 % of 2 at 100 is 0.2: paid by the long, received by the short.
    """
    tape = market(bars(flat(100, 100, 100)), funding({at(2): 0.001}))

    ledger = run(tape, account(), {0: quantity})

    assert [payment] == pytest.approx(ledger.funding["payment"].tolist())
    assert [0.0, payment, 0.0] == pytest.approx(ledger.equity["funding"].tolist())


def test_funding_settles_on_the_position_held_into_the_stamp():
    """
    An order decided at the stamp's own close changes nothing about that settlement.
    """
    tape = market(bars(flat(100, 100, 100, 100)), funding({at(2): 0.001, at(3): 0.001}))

    ledger = run(tape, account(), {1: 2.0, 2: 0.0})

    assert [0.0, 2.0] == ledger.funding["position"].tolist()
    assert [0.0, -0.2] == pytest.approx(ledger.funding["payment"].tolist())


def test_a_fill_at_the_open_is_held_into_the_stamp_at_that_bars_close():
    """
    Closed at the open of the bar that ends at the stamp, the position pays nothing there.
    """
    tape = market(bars(flat(100, 100, 100, 100)), funding({at(3): 0.001}))

    ledger = run(tape, account(), {0: 2.0, 1: 0.0})

    assert [0.0] == ledger.funding["payment"].tolist()


def test_jittered_stamps_settle_once_at_their_minute():
    """
    Milliseconds or seconds late or early, each settlement falls on its hour, once.
    """
    stamps = {at(2, -0.004): 0.001, at(3, 0.007): 0.001, at(4, 20): 0.001}
    tape = market(bars(flat(*[100] * 6)), funding(stamps))

    ledger = run(tape, account(), {0: 1.0})

    assert [at(2), at(3), at(4)] == ledger.funding["settle_time"].tolist()
    assert [0, -0.1, -0.1, -0.1, 0, 0] == pytest.approx(ledger.equity["funding"].tolist())


def test_an_interval_that_changes_settles_each_stamp_once():
    """
    Every 8 h, then 4 h, then 1 h, some seconds late or early: one payment for each, on its bar.
    """
    hours = [8, 16, 20, 24, 25, 26, 27]
    seconds = [0.007, -12.0, 20.0, -0.9, 3.0, 0.0, -25.0]
    rates = {at(h, s): 0.001 * (n + 1) for n, (h, s) in enumerate(zip(hours, seconds, strict=True))}
    contract = market(bars(flat(*[100.0] * 30)), funding(rates))

    ledger = run(contract, account(), {0: 2.0})

    assert [at(h) for h in hours] == ledger.funding["settle_time"].tolist()
    assert [-0.2 * (n + 1) for n in range(7)] == pytest.approx(ledger.funding["payment"].tolist())
    paid = ledger.equity.set_index("close_time")["funding"]
    assert [at(h) for h in hours] == paid[paid != 0].index.tolist()
    assert ledger.targets is not None
    assert compare(ledger, recompute(contract, ledger.targets, account())) == (0.0, None)


def test_two_records_of_one_stamp_are_one_settlement():
    """
    A file that holds a settlement twice, milliseconds apart, charges it once.
    """
    tape = market(bars(flat(100, 100, 100)), funding({at(2): 0.001, at(2, 0.05): 0.002}))

    ledger = run(tape, account(), {0: 1.0})

    assert [0.001] == ledger.funding["rate"].tolist()


def test_stamps_inside_a_bar_settle_each():
    """
    Four hourly settlements fall into each bar of four hours.
    """
    four_hours = bars(flat(100, 100, 100), interval=4 * HOUR)
    stamps = {at(hour): 0.001 for hour in range(13)}

    ledger = run(market(four_hours, funding(stamps)), account(), {0: 1.0})

    assert 12 == len(ledger.funding)
    assert [0.0, -0.4, -0.4] == pytest.approx(ledger.equity["funding"].tolist())


def test_stamps_in_a_gap_settle_before_the_next_open_at_the_last_close():
    """
    Two stamps in missing hours are paid by what was carried in; the order then fills after them.
    """
    prices = [*flat(100, 100, 100), (200, 200, 200, 200)]
    tape = market(bars(prices, missing=[3, 4]), funding({at(4): 0.001, at(5): 0.001}))

    ledger = run(tape, account(), {0: 1.0, 2: 0.0})

    assert [1.0, 1.0] == ledger.funding["position"].tolist()
    assert [100.0, 100.0] == ledger.funding["mark_price"].tolist()
    assert -0.2 == pytest.approx(ledger.equity["funding"].iloc[3])


def test_in_a_gap_the_last_mark_is_that_of_the_bar_before():
    """
    The mark candle that closes after the gap was not known when the stamp settled.
    """
    prices = bars([*flat(100, 100, 100), (200, 200, 200, 200)], missing=[3, 4])
    mark = bars([*flat(90, 91, 92), (190, 190, 190, 190)], missing=[3, 4])

    ledger = run(market(prices, funding({at(4): 0.001}), mark=mark), account(), {0: 1.0})

    assert [92.0] == ledger.funding["mark_price"].tolist()


def test_the_mark_is_the_records_own_else_the_candles_else_the_close():
    """
    Each settlement says which price it used and whether a mark was known.
    """
    prices = bars(flat(100, 100, 100))
    mark = bars(flat(90, 90, 90))
    rates = funding({at(2): 0.001, at(3): 0.001}, marks=[95.0, float("nan")])

    with_mark = run(market(prices, rates, mark=mark), account(), {0: 1.0}).funding
    without = run(market(prices, rates), account(), {0: 1.0}).funding

    assert [95.0, 90.0] == with_mark["mark_price"].tolist()
    assert [True, True] == with_mark["mark_known"].tolist()
    assert [95.0, 100.0] == without["mark_price"].tolist()
    assert [True, False] == without["mark_known"].tolist()


# ── margin ───────────────────────────────────────────────────────────────────────────────────────


def test_what_margin_cannot_carry_is_cut_off():
    """
    1,000 of cash at 2x carries 20 at 100, fee included 19.8; the rest of the order is gone.
    """
    broker = account(leverage=2.0, taker_fee=0.005, lot_size=0.1)

    ledger = run(market(bars(flat(100, 100, 100, 100))), broker, {0: 30.0})

    assert [(19.8, 100.0)] == fills(ledger)
    assert [("reduced", "margin")] == fates(ledger)
    assert [0.0, 19.8, 19.8, 19.8] == ledger.equity["position"].tolist()


@pytest.mark.parametrize("margin", ["isolated", "cross"])
def test_what_closing_frees_carries_the_turn(margin: str):
    """
    A full long turns into a full short: its margin is free once it is closed.
    """
    broker = account(leverage=1.0, margin=margin)

    ledger = run(market(bars(flat(100, 100, 100, 100))), broker, {0: 10.0, 1: -10.0})

    assert [0.0, 10.0, -10.0, -10.0] == ledger.equity["position"].tolist()
    assert [("filled", "")] * 2 == fates(ledger)


def test_cross_margin_is_free_by_the_price_of_the_fill():
    """
    5 held from 100 are worth 500 more at an open of 200: of 1,500, 500 back them at 2x, and the
    1,000 left carry 10 more.
    """
    tape = market(bars([*flat(100, 100), (200, 200, 200, 200)]))

    ledger = run(tape, account(leverage=2.0, margin="cross"), {0: 5.0, 1: 50.0})

    assert [(5.0, 100.0), (10.0, 200.0)] == fills(ledger)


def test_an_order_that_margin_cannot_carry_at_all_is_rejected():
    """
    With nothing free, an addition is rejected for margin and the position stays as it is.
    """
    ledger = run(market(bars(flat(100, 100, 100))), account(), {0: 10.0, 1: 11.0})

    assert [("filled", ""), ("rejected", "margin")] == fates(ledger)


def test_too_small_an_opening_is_rejected_and_a_closing_never():
    """
    Below the minimum notional nothing opens; the small rest of a position can still be closed.
    """
    broker = account(min_notional=50.0)

    ledger = run(market(bars(flat(*[100] * 6))), broker, {0: 0.4, 1: 1.0, 2: 0.1, 3: -0.2})

    assert [0, 0, 1.0, 0.1, 0, 0] == ledger.equity["position"].tolist()
    assert [
        ("rejected", "min_notional"), ("filled", ""), ("filled", ""), ("reduced", "min_notional"),
    ] == fates(ledger)  # fmt: skip


def test_less_than_a_lot_is_rejected():
    """
    An order of the strategy's own below one lot is recorded as rejected for its size.
    """

    def act(strategy: Any, n: int) -> None:
        if n == 0:
            strategy.buy(size=0.04)

    ledger = run(market(bars(flat(100, 100))), account(lot_size=0.1), act)

    assert [("rejected", "lot_size")] == fates(ledger)


def test_the_tier_of_the_whole_position_caps_leverage():
    """
    Above a notional of 2,000 only 2x is allowed: 1,000 of cash carries 20 at 100, not 50.
    """
    broker = account(
        leverage=50.0,
        tiers=(
            {"notional_floor": 0, "maintenance_rate": 0.005, "max_leverage": 125.0},
            {"notional_floor": 1500, "maintenance_rate": 0.005, "max_leverage": 2.0},
        ),
    )

    ledger = run(market(bars(flat(100, 100, 100))), broker, {0: 50.0})

    assert [(20.0, 100.0)] == fills(ledger)


# ── liquidation ──────────────────────────────────────────────────────────────────────────────────

# 10x long 50 at 100: margin 500, maintenance 0.5 %: LP = (5000 − 500) / (50 · 0.995) = 90.4523
LIQUIDATED_AT = 4500 / 49.75


def test_a_long_is_liquidated_where_margin_meets_maintenance():
    """
    The low touches the liquidation price; what the margin still held above it comes back.
    """
    tape = market(bars([*flat(100, 100), (100, 100, 90, 95), (95, 95, 95, 95)]))

    ledger = run(tape, account(leverage=10.0), {0: 50.0})

    assert (-50.0, pytest.approx(LIQUIDATED_AT)) == fills(ledger)[-1]
    assert ["", "liquidation"] == ledger.fills["reason"].tolist()
    assert 1000 - 50 * (100 - LIQUIDATED_AT) == pytest.approx(ledger.equity["equity"].iloc[2])
    assert 0.0 == ledger.equity["position"].iloc[-1]


def test_a_bar_that_stays_clear_of_the_price_liquidates_nothing():
    """
    A low one cent above the liquidation price leaves the position alone.
    """
    tape = market(bars([*flat(100, 100), (100, 100, LIQUIDATED_AT + 0.01, 95)]))

    ledger = run(tape, account(leverage=10.0), {0: 50.0})

    assert 50.0 == ledger.equity["position"].iloc[-1]


def test_a_position_cut_in_half_keeps_half_its_margin():
    """
    The liquidation price of 25 on a margin of 250 is that of 50 on 500.
    """
    tape = market(bars([*flat(100, 100, 100), (100, 100, 90, 95)]))

    ledger = run(tape, account(leverage=10.0), {0: 50.0, 1: 25.0})

    assert (-25.0, pytest.approx(LIQUIDATED_AT)) == fills(ledger)[-1]


def test_a_position_opened_inside_the_bar_is_liquidated_at_its_price_not_the_open():
    """
    Bought by a stop at 112, its liquidation price of 101.3 lies above the open of 100, which
    came before it.
    """
    tape = market(bars([*flat(100, 100), (100, 115, 95, 100)]))

    def act(strategy: Any, n: int) -> None:
        if n == 0:
            strategy.buy(size=50, exectype=Order.Stop, price=112)

    ledger = run(tape, account(leverage=10.0), act)

    assert [(50.0, 112.0), (-50.0, pytest.approx(5040 / 49.75))] == fills(ledger)


def test_a_short_is_liquidated_at_the_high():
    """
    A short of 50 at 100 with margin 500 ends at (500 + 5000) / (50 · 1.005) = 109.45.
    """
    tape = market(bars([*flat(100, 100), (100, 110, 100, 100)]))

    ledger = run(tape, account(leverage=10.0), {0: -50.0})

    assert (50.0, pytest.approx(5500 / 50.25)) == fills(ledger)[-1]


def test_a_gap_through_the_price_liquidates_at_the_open_and_costs_the_margin_at_most():
    """
    Opened at 80, the long would owe 1,000: the margin of 500 is lost, the rest was never his.
    """
    tape = market(bars([*flat(100, 100), (80, 85, 79, 82), (82, 82, 82, 82)]))

    ledger = run(tape, account(leverage=10.0, liquidation_fee=0.01), {0: 50.0})

    assert (-50.0, 80.0) == fills(ledger)[-1]
    assert 500.0 == ledger.equity["cash"].iloc[2]
    assert -1000.0 == ledger.equity["price_pnl"].iloc[2]
    assert -500.0 == ledger.equity["liquidation"].iloc[2]


def test_the_liquidation_fee_is_taken_from_what_the_margin_still_holds():
    """
    1 % of the notional at the liquidation price is 45: more than the 22.6 that were left.
    """
    tape = market(bars([*flat(100, 100), (100, 100, 90, 95)]))

    ledger = run(tape, account(leverage=10.0, liquidation_fee=0.01), {0: 50.0})

    assert 500.0 == pytest.approx(ledger.equity["cash"].iloc[-1])
    left = 500 - 50 * (100 - LIQUIDATED_AT)
    assert left == pytest.approx(ledger.equity["liquidation"].iloc[-1])


def test_an_order_filled_at_the_open_is_exposed_to_that_bars_low():
    """
    Bought at the open of a bar that falls through the liquidation price, the position is gone.
    """
    tape = market(bars([*flat(100), (100, 100, 90, 95), (95, 95, 95, 95)]))

    ledger = run(tape, account(leverage=10.0), {0: 50.0})

    assert [1, 1] == ledger.fills["bar"].tolist()
    assert "liquidation" == ledger.fills["reason"].iloc[-1]


def test_the_mark_candle_decides_on_liquidation():
    """
    A trade low that the mark did not follow liquidates nobody; a mark low does.
    """
    trades = bars([*flat(100, 100), (100, 100, 85, 95)])
    calm, wild = bars(flat(100, 100, 95)), bars([*flat(100, 100), (100, 100, 85, 95)])

    spared = run(market(trades, mark=calm), account(leverage=10.0), {0: 50.0})
    hit = run(market(bars(flat(100, 100, 95)), mark=wild), account(leverage=10.0), {0: 50.0})

    assert 50.0 == spared.equity["position"].iloc[-1]
    assert "liquidation" == hit.fills["reason"].iloc[-1]


def test_liquidation_comes_before_a_take_profit_in_the_same_bar():
    """
    The bar reaches both the limit above and the liquidation price below: the worse is taken.
    """
    tape = market(bars([*flat(100, 100, 100), (100, 120, 90, 110), (110, 110, 110, 110)]))

    def act(strategy: Any, n: int) -> None:
        if n == 0:
            strategy.buy(size=50)
        if n == 1:
            strategy.sell(size=50, exectype=Order.Limit, price=115)

    ledger = run(tape, account(leverage=10.0), act)

    assert ["", "liquidation"] == ledger.fills["reason"].tolist()
    assert [("filled", ""), ("cancelled", "liquidation")] == fates(ledger)
    assert ledger.targets is None


def test_a_stop_on_the_way_to_liquidation_saves_the_position():
    """
    A falling price meets the stop at 95 before the liquidation price at 90.45.
    """
    tape = market(bars([*flat(100, 100, 100), (100, 120, 85, 110)]))

    def act(strategy: Any, n: int) -> None:
        if n == 0:
            strategy.buy(size=50)
        if n == 1:
            strategy.sell(size=50, exectype=Order.Stop, price=95)

    ledger = run(tape, account(leverage=10.0), act)

    assert (-50.0, 95.0) == fills(ledger)[-1]
    assert ["", ""] == ledger.fills["reason"].tolist()


def test_funding_eats_into_isolated_margin_once_cash_is_gone():
    """
    Paying 600 of 1,000 on a margin of 500 leaves 400: the liquidation price moves to 92.46.
    """
    tape = market(bars([*flat(100, 100, 100), (100, 100, 92, 95)]), funding({at(3): 0.12}, [100.0]))

    ledger = run(tape, account(leverage=10.0), {0: 50.0})

    assert -600.0 == pytest.approx(ledger.equity["funding"].iloc[2])
    assert (-50.0, pytest.approx(4600 / 49.75)) == fills(ledger)[-1]


def test_the_strategy_hears_of_its_liquidation_and_trades_on():
    """
    The order that arrives says it was forced; with what is left a new position can be opened.
    """
    heard: list[tuple[str, float]] = []

    def on_order(order: Any) -> None:
        if order.info.forced:
            heard.append((order.info.forced, order.executed.size))

    tape = market(bars([*flat(100, 100), (100, 100, 90, 95), *flat(95, 95)]))

    ledger = run(tape, account(leverage=10.0), {0: 50.0, 2: 1.0}, on_order=on_order)

    assert [("liquidation", -50.0)] == heard
    assert 1.0 == ledger.equity["position"].iloc[-1]


def test_cross_margin_backs_a_position_with_all_cash():
    """
    10x long 50 at 100 on 1,000 of cash: LP = (5000 − 1000) / 49.75 = 80.4; 90 is survived.
    """
    tape = market(bars([*flat(100, 100), (100, 100, 90, 95), (95, 95, 80, 85)]))

    ledger = run(tape, account(leverage=10.0, margin="cross"), {0: 50.0})

    assert 50.0 == ledger.equity["position"].iloc[2]
    assert (-50.0, pytest.approx(4000 / 49.75)) == fills(ledger)[-1]


def test_a_bankrupt_account_trades_no_more():
    """
    Funding takes all: positions are closed, cash is zero, not below, and later orders do nothing.
    """
    tape = market(bars(flat(100, 100, 100, 100, 100)), funding({at(3): 0.5}, [100.0]))

    ledger = run(tape, account(leverage=10.0, margin="cross"), {0: 50.0, 2: 1.0, 3: 1.0})

    assert at(3) == ledger.bankrupt_at
    assert ["", "bankruptcy"] == ledger.fills["reason"].tolist()
    assert [1000, 1000, 0, 0, 0] == ledger.equity["cash"].tolist()
    assert -1500.0 == ledger.equity["liquidation"].iloc[2]
    assert 1 == len(ledger.orders)


# ── other orders ─────────────────────────────────────────────────────────────────────────────────


def once(n: int, order: Any) -> Any:
    """Return an act that does ``order(strategy)`` at bar ``n``."""

    def act(strategy: Any, now: int) -> None:
        if now == n:
            order(strategy)

    return act


DIP = [(100, 100, 100, 100), (100, 102, 98, 101), (101, 103, 94, 100), (90, 92, 88, 91)]


def test_a_resting_limit_fills_at_its_price_as_maker():
    """
    Not reached in its first bar, touched in the second: filled at the limit with the maker fee.
    """
    broker = account(maker_fee=0.01, taker_fee=0.02)
    place = once(0, lambda s: s.buy(size=1, exectype=Order.Limit, price=95))

    ledger = run(market(bars(DIP)), broker, place)

    assert [(1.0, 95.0)] == fills(ledger)
    assert ["maker"] == ledger.fills["liquidity"].tolist()
    assert [0.95] == pytest.approx(ledger.fills["fee"].tolist())
    assert at(3) == ledger.fills["time"].iloc[0]


def test_a_marketable_limit_takes_the_open_and_a_resting_one_does_not():
    """
    Above the next open it fills there as taker; resting, a bar opening beyond fills at the limit.
    """
    now = run(
        market(bars(DIP)),
        account(),
        once(0, lambda s: s.buy(size=1, exectype=Order.Limit, price=105)),
    )
    later = run(
        market(bars(DIP)),
        account(),
        once(1, lambda s: s.buy(size=1, exectype=Order.Limit, price=93)),
    )

    assert ([(1.0, 100.0)], ["taker"]) == (fills(now), now.fills["liquidity"].tolist())
    assert ([(1.0, 93.0)], ["maker"]) == (fills(later), later.fills["liquidity"].tolist())


def test_a_stop_fills_at_its_trigger_or_at_an_open_beyond_it():
    """
    Reached inside the bar at 97 it fills at 97; jumped over, at the open of 90. Both slip.
    """
    broker = account(slippage={"kind": "fixed", "bps": 100.0})
    reached = once(1, lambda s: s.sell(size=1, exectype=Order.Stop, price=97))
    jumped = once(2, lambda s: s.sell(size=1, exectype=Order.Stop, price=93))

    assert [(-1.0, 97 * 0.99)] == fills(run(market(bars(DIP)), broker, reached))
    assert [(-1.0, 90 * 0.99)] == fills(run(market(bars(DIP)), broker, jumped))


def test_a_stop_limit_waits_where_its_limit_does_not_allow_the_trigger():
    """
    Triggered at 97 with a limit of 99 and a close of 100, it fills at 99 for a seller.
    """
    fills_now = once(1, lambda s: s.sell(size=1, exectype=Order.StopLimit, price=97, plimit=99))
    waits = once(1, lambda s: s.sell(size=1, exectype=Order.StopLimit, price=97, plimit=100.5))

    assert [(-1.0, 99.0)] == fills(run(market(bars(DIP)), account(), fills_now))
    assert [("pending", "")] == fates(run(market(bars(DIP)), account(), waits))


def test_a_trailing_stop_follows_the_close():
    """
    Two below the best close so far: raised to 108 by a close of 110, met on the way down.
    """
    prices = [*flat(100, 104, 110), (110, 110, 105, 106)]
    place = once(0, lambda s: s.sell(size=1, exectype=Order.StopTrail, trailamount=2.0))

    ledger = run(market(bars(prices)), account(), place)

    assert [(-1.0, 108.0)] == fills(ledger)


def test_of_a_bracket_the_stop_comes_first_and_cancels_the_limit():
    """
    The bar reaches both sides: the loss is taken, and the other side is cancelled.
    """
    prices = [*flat(100, 100), (100, 110, 90, 100), (100, 100, 100, 100)]

    def place(strategy: Any) -> None:
        strategy.buy_bracket(size=1, exectype=Order.Market, stopprice=95, limitprice=105)

    ledger = run(market(bars(prices)), account(), once(0, place))

    assert [(1.0, 100.0), (-1.0, 95.0)] == fills(ledger)
    assert [("filled", ""), ("filled", ""), ("cancelled", "")] == fates(ledger)


def test_one_of_two_orders_cancels_the_other():
    """
    A limit that fills ends the order it was tied to.
    """

    def place(strategy: Any) -> None:
        below = strategy.buy(size=1, exectype=Order.Limit, price=95)
        strategy.buy(size=1, exectype=Order.Limit, price=89, oco=below)

    ledger = run(market(bars(DIP)), account(), once(0, place))

    assert [(1.0, 95.0)] == fills(ledger)
    assert [("filled", ""), ("cancelled", "")] == fates(ledger)


def test_an_order_expires():
    """
    Good until the second bar's close, the order is gone in the third, which would have filled it.
    """
    place = once(
        0,
        lambda s: s.buy(size=1, exectype=Order.Limit, price=95, valid=pd.Timedelta("1h")),
    )

    assert [("expired", "")] == fates(run(market(bars(DIP)), account(), place))


def test_orders_at_the_close_are_refused():
    """
    A perpetual has no session whose close they could fill at.
    """
    place = once(0, lambda s: s.buy(size=1, exectype=Order.Close))

    assert [("rejected", "order_type")] == fates(run(market(bars(DIP)), account(), place))


def test_backtraders_target_percent_works_in_fractions():
    """
    Half of 1,000 at a close of 200 is 2.5, not 2; it counts as a target.
    """
    place = once(0, lambda s: s.order_target_percent(target=0.5))

    ledger = run(market(bars(flat(200, 200, 200))), account(), place)

    assert [(2.5, 200.0)] == fills(ledger)
    assert [2.5] == ledger.targets["quantity"].tolist()


def test_cheating_on_the_open_fills_at_the_bar_that_is_seen():
    """
    Only where the configuration asks for it: an order of ``next_open`` fills at that very open.
    """

    class Cheat(bt.Strategy):
        def next_open(self) -> None:
            if len(self.data) == 2:
                self.buy(size=1)

    from engine.replay import ReplayMarket, replay

    tape = market(bars(flat(100, 100, 110)))
    ledger = replay([ReplayMarket(tape)], Cheat, {}, account(cheat_on_open=True))

    assert [1] == ledger.fills["bar"].tolist()
    assert ledger.targets is None


def test_deposits_are_refused():
    """
    ``add_cash`` would hide in the returns.
    """
    with pytest.raises(UsageError, match="broker.cash"):
        run(market(bars(flat(100, 100))), account(), once(0, lambda s: s.broker.add_cash(1)))


# ── several symbols ──────────────────────────────────────────────────────────────────────────────


def test_two_symbols_share_one_account():
    """
    Each has its own price, position and settlements; profit and loss meet in one equity.
    """
    first = market(bars(flat(100, 100, 110), symbol="ABC"), funding({at(3): 0.01}, symbol="ABC"))
    second = market(bars(flat(50, 50, 40), symbol="XYZ"), funding({at(2): 0.01}, symbol="XYZ"))

    def act(strategy: Any, n: int) -> None:
        if n == 0:
            strategy.order_target_size(strategy.datas[0], 1.0)
            strategy.order_target_size(strategy.datas[1], -2.0)

    ledger = run([first, second], account(), act)

    assert ["ABC", "XYZ"] == ledger.fills["symbol"].tolist()
    assert [0.0, 0.0, 30.0] == ledger.equity["price_pnl"].tolist()
    assert [0.0, 1.0, -1.1] == pytest.approx(ledger.equity["funding"].tolist())
    assert [1000.0, 1001.0, 1029.9] == pytest.approx(ledger.equity["equity"].tolist())


def test_symbols_of_different_intervals_meet_on_one_clock():
    """
    The slower symbol fills at its own bars; the book has a row for every close.
    """
    fast = market(bars(flat(*[100] * 8), symbol="ABC"))
    slow = market(bars(flat(50, 60), symbol="XYZ", interval=4 * HOUR))

    def act(strategy: Any, n: int) -> None:
        if strategy.datas[1].now_ns == strategy.datas[0].now_ns:
            strategy.order_target_size(strategy.datas[1], 1.0)

    ledger = run([fast, slow], account(), act)

    assert 8 == len(ledger.equity)
    assert [at(4)] == ledger.fills["time"].tolist()
    assert 1010.0 == ledger.equity["equity"].iloc[-1]


def test_with_isolated_margin_only_the_failing_symbol_is_liquidated():
    """
    One position ends with its own margin; the other is not touched.
    """
    first = market(bars([*flat(100, 100), (100, 100, 80, 80)], symbol="ABC"))
    second = market(bars(flat(100, 100, 100), symbol="XYZ"))

    def act(strategy: Any, n: int) -> None:
        if n == 0:
            strategy.order_target_size(strategy.datas[0], 40.0)
            strategy.order_target_size(strategy.datas[1], 40.0)

    ledger = run([first, second], account(leverage=10.0), act)

    assert [("ABC", "liquidation")] == [
        (s, r) for s, r in zip(ledger.fills["symbol"], ledger.fills["reason"], strict=True) if r
    ]


def test_with_cross_margin_all_symbols_fall_together():
    """
    Equity at the worst prices of both is below maintenance: both positions are closed there.
    """
    first = market(bars([*flat(100, 100), (100, 100, 80, 90)], symbol="ABC"))
    second = market(bars([*flat(100, 100), (100, 100, 90, 95)], symbol="XYZ"))

    def act(strategy: Any, n: int) -> None:
        if n == 0:
            strategy.order_target_size(strategy.datas[0], 40.0)
            strategy.order_target_size(strategy.datas[1], 40.0)

    ledger = run([first, second], account(leverage=10.0, margin="cross"), act)

    assert [(-40.0, 80.0), (-40.0, 90.0)] == fills(ledger)[2:]
    assert 0.0 == ledger.equity["cash"].iloc[-1]
    assert -200.0 == ledger.equity["liquidation"].iloc[-1]
    assert at(3) == ledger.bankrupt_at


def test_a_symbol_without_a_bar_now_counts_at_its_last_close():
    """
    The low of the slow symbol's last bar is over; it does not meet the fast one's low of today.
    """
    fast_prices = [*flat(*[100] * 10), (100, 100, 85, 100), (100, 100, 100, 100)]
    fast = market(bars(fast_prices, symbol="ABC"))
    slow = market(
        bars([*flat(100), (100, 100, 80, 100), *flat(100)], symbol="XYZ", interval=4 * HOUR)
    )

    def act(strategy: Any, n: int) -> None:
        if n == 3:
            strategy.order_target_size(strategy.datas[1], 40.0)
        if n == 8:
            strategy.order_target_size(strategy.datas[0], 20.0)

    ledger = run([fast, slow], account(leverage=10.0, margin="cross"), act)

    assert ["", ""] == ledger.fills["reason"].tolist()


# ── configuration ────────────────────────────────────────────────────────────────────────────────


def test_an_unknown_slippage_model_is_named_with_the_nearest():
    """
    A misspelt kind is a configuration error with a hint.
    """
    broker = account(slippage={"kind": "square_rot"})

    with pytest.raises(ConfigError, match="did you mean 'square_root'"):
        run(market(bars(flat(100, 100))), broker, {})


def test_a_users_slippage_model_replaces_ours(tmp_path: Any):
    """
    ``file.py:Name`` is built from the section and asked for the rate of each fill.
    """
    file = tmp_path / "mine.py"
    file.write_text(
        "class Dear:\n"
        "    def __init__(self, section):\n"
        "        self.bps = section.bps\n"
        "    def rate(self, fill):\n"
        "        return self.bps / 100 + 0 * fill.volume\n"
    )
    broker = account(slippage={"kind": f"{file}:Dear", "bps": 1.0}, leverage=2.0)

    assert [(1.0, 101.0)] == fills(run(market(bars(flat(100, 100))), broker, {0: 1.0}))


def test_reading_the_next_bar_raises_inside_a_replay():
    """
    ``data.close[1]`` is the future even though the data are loaded.
    """
    with pytest.raises(LookAheadError, match="not known yet"):
        run(market(bars(flat(100, 100))), account(), once(0, lambda s: s.data.close[1]))
