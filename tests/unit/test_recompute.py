"""The compiled ledger, event by event, on markets small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from perpwalk import compiled_account as kernel
from perpwalk.config import BrokerSection, SlippageSection, TierSection
from perpwalk.domain import BarFrame, FundingFrame, Market
from perpwalk.errors import ConfigError, DataError, UsageError
from perpwalk.ledger import Ledger
from perpwalk.recompute import recompute, rules_of, target_table

START = pd.Timestamp("2024-01-01T00:00:00Z")
HOUR = pd.Timedelta("1h")
FLAT = (100.0, 100.0, 100.0, 100.0, 1000.0)
FREE = BrokerSection(
    cash=1000.0,
    leverage=10.0,
    taker_fee=0.0,
    liquidation_fee=0.0,
    min_notional=0.0,
    slippage=SlippageSection(kind="none"),
    tiers=(TierSection(notional_floor=0.0, maintenance_rate=0.01),),
)


def bars(*rows: tuple[float, ...], missing: tuple[int, ...] = (), filled=None) -> BarFrame:
    """Hourly bars of (open, high, low, close, volume); an hour is missing before those named."""
    skipped = np.cumsum([i in missing for i in range(len(rows))])
    index = pd.DatetimeIndex([START + HOUR * int(i + skip) for i, skip in enumerate(skipped)])
    frame = pd.DataFrame(rows, columns=["open", "high", "low", "close", "volume"], index=index)
    return BarFrame.of(frame, symbol="TESTUSDT", interval=HOUR, filled=filled)


def funding(*records: tuple[str, float], mark: list[float] | None = None) -> FundingFrame:
    """Settlements of (time after the first bar's open, rate)."""
    stamps = pd.DatetimeIndex([START + pd.Timedelta(after) for after, _ in records])
    return FundingFrame.of(stamps, [rate for _, rate in records], mark, symbol="TESTUSDT")


def book(frame: BarFrame, targets: dict[int, float], settled=None, mark=None, **settings) -> Ledger:
    """Recompute targets on a market under ``FREE`` with some settings changed."""
    market = Market(
        bars=frame,
        funding=FundingFrame.empty("TESTUSDT") if settled is None else settled,
        mark=mark,
    )
    ledger = recompute(market, target_table(market, targets), FREE.model_copy(update=settings))
    assert ledger.check_identity()[1] is None
    return ledger


# ── orders and fills ─────────────────────────────────────────────────────────────────────────────


def test_a_target_fills_at_the_next_open():
    """
    What is decided at a close trades at the open of the bar that follows.
    """
    ledger = book(bars(FLAT, (101.0, 103.0, 100.0, 102.0, 1000.0), FLAT), {0: 2.0})

    fill = ledger.fills.iloc[0]
    assert (1, 2.0, 101.0) == (fill["bar"], fill["quantity"], fill["price"])
    assert START + HOUR == fill["time"]
    assert [0.0, 2.0, 2.0] == ledger.equity["position"].tolist()
    assert [1000.0, 1002.0, 998.0] == ledger.equity["equity"].tolist()


@pytest.mark.parametrize("made_up", [True, False])
def test_an_order_waits_for_a_bar_that_trades(made_up):
    """
    Neither a made-up bar nor one without volume fills anything.
    """
    still = (100.0, 100.0, 100.0, 100.0, 50.0 if made_up else 0.0)
    frame = bars(FLAT, still, FLAT, filled=[False, made_up, False])

    ledger = book(frame, {0: 1.0})

    assert [2] == ledger.fills["bar"].tolist()


def test_an_order_that_waits_at_the_end_is_pending():
    """
    A target decided at the last close has an order without a fate.
    """
    orders = book(bars(FLAT, FLAT), {1: 1.0}).orders

    assert ["pending"] == orders["status"].tolist()
    assert orders["finished_at"].isna().all()


def test_volume_fills_an_order_in_parts():
    """
    At most the allowed share of a bar's volume fills, in whole lots; the rest waits.
    """
    thin = (100.0, 100.0, 100.0, 100.0, 20.49)
    ledger = book(bars(FLAT, thin, thin, thin), {0: 5.0}, volume_share=0.1, lot_size=0.1)

    assert [2.0, 2.0, 1.0] == ledger.fills["quantity"].tolist()
    assert ["filled"] == ledger.orders["status"].tolist()
    assert 5.0 == ledger.orders["filled_quantity"].iloc[0]


def test_a_new_target_replaces_what_is_left_of_the_old():
    """
    A later target counts from the position, and the rest of the earlier order never fills.
    """
    thin = (100.0, 100.0, 100.0, 100.0, 20.0)
    ledger = book(bars(FLAT, thin, FLAT, FLAT), {0: 5.0, 1: 3.0}, volume_share=0.1)

    assert [2.0, 1.0] == ledger.fills["quantity"].tolist()
    assert ["partial", "filled"] == ledger.orders["status"].tolist()
    assert ["replaced", ""] == ledger.orders["reason"].tolist()


def test_turning_a_position_closes_the_old_and_opens_the_rest():
    """
    One fill through zero realises the old position and starts the new one at its price.
    """
    up = (110.0, 110.0, 110.0, 110.0, 1000.0)
    ledger = book(bars(FLAT, FLAT, up, FLAT), {0: 2.0, 1: -1.0})

    assert [2.0, -3.0] == ledger.fills["quantity"].tolist()
    assert [1000.0, 1000.0, 1020.0, 1030.0] == ledger.equity["equity"].tolist()


def test_lots_are_counted_not_added():
    """
    A tenth and two tenths are three tenths, and back to zero is zero.
    """
    ledger = book(bars(*[FLAT] * 5), {0: -0.1, 1: -0.30000000000000004, 2: 0.0}, lot_size=0.1)

    assert [0.0, -0.1, -0.3, 0.0, 0.0] == ledger.equity["position"].tolist()


def test_targets_are_rounded_towards_zero():
    """
    A target between two lots takes the smaller one; what falls short only by rounding does not.
    """
    ledger = book(bars(FLAT, FLAT, FLAT, FLAT), {0: 0.39, 1: -0.39, 2: 0.7 + 0.1}, lot_size=0.1)

    assert [0.0, 0.3, -0.3, 0.8] == ledger.equity["position"].tolist()


# ── prices and fees ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "share"),
    [
        ({"kind": "none"}, 0.0),
        ({"kind": "fixed", "bps": 20.0}, 0.002),
        ({"kind": "spread_range", "spread_bps": 4.0, "range_share": 0.1}, 0.0002 + 0.1 * 0.08),
        ({"kind": "square_root", "impact": 0.5}, 0.5 * 0.08 * (4.0 / 400.0) ** 0.5),
        ({"kind": "fixed", "bps": 9_000.0}, 0.5),
    ],
)
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_slippage_moves_the_price_against_the_order(model, share, side):
    """
    Each model charges what the account's page says, and never more than half the price.
    """
    wide = (100.0, 106.0, 98.0, 100.0, 400.0)
    ledger = book(
        bars(FLAT, wide), {0: 4.0 * side}, slippage=SlippageSection(**model), leverage=1.0
    )

    fill = ledger.fills.iloc[0]
    assert fill["price"] == pytest.approx(100.0 * (1 + side * share), rel=1e-14)
    assert fill["slippage"] == pytest.approx(4.0 * 100.0 * share, rel=1e-12)
    assert 100.0 == fill["reference_price"]


@pytest.mark.parametrize(("target", "price"), [(1.0, 100.5), (-1.0, 99.5)])
def test_a_tick_rounds_away_from_the_order(target, price):
    """
    A buyer pays the next tick up, a seller gets the next one down.
    """
    model = SlippageSection(kind="fixed", bps=1.0)
    ledger = book(bars(FLAT, FLAT), {0: target}, slippage=model, tick_size=0.5)

    assert [price] == ledger.fills["price"].tolist()


def test_a_price_on_the_tick_stays():
    """
    Rounding error does not push a price to the next tick.
    """
    odd = (100.3, 100.3, 100.3, 100.3, 1000.0)
    prices = [
        book(bars(FLAT, odd), {0: side}, tick_size=0.1).fills["price"].iloc[0] for side in (1, -1)
    ]

    assert prices == pytest.approx([100.3, 100.3], rel=1e-14)


def test_fees_are_paid_on_the_slipped_price():
    """
    A fee is the taker rate times quantity times price, for opening and closing alike.
    """
    model = SlippageSection(kind="fixed", bps=100.0)
    ledger = book(bars(FLAT, FLAT, FLAT), {0: 1.0, 1: 0.0}, slippage=model, taker_fee=0.001)

    assert ledger.fills["fee"].tolist() == pytest.approx([0.101, 0.099])
    assert ledger.equity["equity"].iloc[-1] == pytest.approx(1000 - 0.2 - 2.0)


# ── margin ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("margin", ["isolated", "cross"])
def test_an_opening_is_reduced_to_what_margin_carries(margin):
    """
    The order shrinks to the most lots that free margin and the fee allow, and ends there.
    """
    ledger = book(
        bars(FLAT, FLAT, FLAT), {0: 30.0}, leverage=2.0, taker_fee=0.01, lot_size=0.1, margin=margin
    )

    assert [19.6] == ledger.fills["quantity"].tolist()  # 19.6 * (50 + 1) = 999.6
    assert [("reduced", "margin")] == _fates(ledger)


def test_margin_that_fits_exactly_fits():
    """
    A requirement equal to free margin is met whatever the rounding of its product.
    """
    odd = (100.1, 100.1, 100.1, 100.1, 1000.0)
    ledger = book(bars(FLAT, odd), {0: 9.99}, cash=999.999, leverage=1.0, lot_size=0.01)

    assert [9.99] == ledger.fills["quantity"].tolist()


def test_reducing_frees_the_same_share_of_margin():
    """
    Half of a position given up is half of its margin back, enough to add that half again.
    """
    ledger = book(bars(*[FLAT] * 4), {0: 10.0, 1: 5.0, 2: 30.0}, cash=100.0)

    assert [10.0, -5.0, 5.0] == ledger.fills["quantity"].tolist()
    assert ("reduced", "margin") == _fates(ledger)[2]


def test_a_tier_caps_leverage():
    """
    A position reaching a tier gets at most that tier's leverage.
    """
    tiers = (
        TierSection(notional_floor=0.0, maintenance_rate=0.01, max_leverage=10.0),
        TierSection(notional_floor=3000.0, maintenance_rate=0.01, max_leverage=2.0),
    )
    ledger = book(bars(FLAT, FLAT), {0: 90.0}, tiers=tiers, lot_size=1.0)

    assert [29.0] == ledger.fills["quantity"].tolist()  # 30 would need 1500 of margin


def test_an_opening_under_the_minimum_is_rejected_and_a_closing_is_not():
    """
    The minimum notional binds what opens; a position can always be left.
    """
    ledger = book(bars(*[FLAT] * 4), {0: 0.1, 1: 0.5, 2: 0.42}, min_notional=20.0)

    assert [0.0, 0.0, 0.5, 0.42] == ledger.equity["position"].tolist()
    assert [("rejected", "min_notional"), ("filled", ""), ("filled", "")] == _fates(ledger)


def test_turning_into_too_small_a_position_only_closes():
    """
    Where the part beyond zero is under the minimum, the order ends flat.
    """
    ledger = book(bars(FLAT, FLAT, FLAT), {0: 1.0, 1: -0.1}, min_notional=20.0)

    assert [0.0, 1.0, 0.0] == ledger.equity["position"].tolist()
    assert ("reduced", "min_notional") == _fates(ledger)[1]


def test_the_last_piece_of_a_partial_fill_may_be_small():
    """
    The minimum is judged once, on the whole order.
    """
    thin = (100.0, 100.0, 100.0, 100.0, 9.0)
    ledger = book(bars(FLAT, thin, thin), {0: 1.0}, volume_share=0.1, min_notional=20.0)

    assert [0.9, 0.1] == ledger.fills["quantity"].tolist()


def _fates(ledger: Ledger) -> list[tuple[str, str]]:
    return list(zip(ledger.orders["status"], ledger.orders["reason"], strict=True))


# ── funding ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("jitter", ["0ms", "7ms", "-9ms", "25s", "-25s"])
def test_a_stamp_settles_on_the_position_held_into_it(jitter):
    """
    A stamp at a close, some seconds off or not, charges what was held before the next open fills.
    """
    at = str(pd.Timedelta("2h") + pd.Timedelta(jitter))
    ledger = book(bars(*[FLAT] * 4), {0: 1.0, 1: -4.0}, funding((at, 0.01)))

    assert [0.0, -1.0, 0.0, 0.0] == ledger.equity["funding"].tolist()
    assert [(1.0, -1.0)] == list(
        zip(ledger.funding["position"], ledger.funding["payment"], strict=True)
    )


def test_shorts_receive_a_positive_rate():
    """
    A positive rate moves cash from longs to shorts.
    """
    ledger = book(bars(*[FLAT] * 3), {0: -2.0}, funding(("2h", 0.01)))

    assert 2.0 == ledger.equity["funding"].sum()


def test_several_stamps_in_a_bar_each_settle():
    """
    Three stamps inside one hour are three payments.
    """
    records = funding(("1h20min", 0.01), ("1h40min", 0.02), ("2h", -0.005))
    ledger = book(bars(*[FLAT] * 3), {0: 1.0}, records)

    assert [-1.0, -2.0, 0.5] == ledger.funding["payment"].tolist()
    assert -2.5 == ledger.equity["funding"].iloc[1]


def test_stamps_in_a_gap_settle_before_the_order_that_waits():
    """
    Where bars are missing, what was carried into the gap pays, at the close before it.
    """
    later = (120.0, 120.0, 120.0, 120.0, 1000.0)
    frame = bars(FLAT, FLAT, later, missing=(2,))

    ledger = book(frame, {0: 1.0, 1: 0.0}, funding(("3h", 0.01)))

    assert [(1.0, 100.0, -1.0)] == list(
        ledger.funding[["position", "mark_price", "payment"]].itertuples(index=False, name=None)
    )
    assert [0.0, 0.0, -1.0] == ledger.equity["funding"].tolist()


def test_of_two_records_of_one_stamp_the_first_settles():
    """
    A record that comes again some seconds later is not charged again.
    """
    records = funding(("2h", 0.01), ("2h3s", 0.05), ("3h", 0.02))
    ledger = book(bars(*[FLAT] * 3), {0: 1.0}, records)

    assert [-1.0, -2.0] == ledger.funding["payment"].tolist()


def test_stamps_outside_the_replay_do_not_settle():
    """
    A stamp at the first bar's open or after the last close is not part of the replay.
    """
    ledger = book(bars(FLAT, FLAT), {0: 1.0}, funding(("0h", 0.01), ("2h", 0.01), ("3h", 0.01)))

    assert [START + 2 * HOUR] == ledger.funding["settle_time"].tolist()


def test_the_records_own_mark_price_comes_first_then_the_mark_bars():
    """
    Payments use the settlement's mark price, else the mark bar's close, else the trade close.
    """
    records = funding(("2h", 0.01), ("3h", 0.01), mark=[90.0, np.nan])
    dear = (95.0, 95.0, 95.0, 95.0, 0.0)
    targets = {0: 1.0}

    with_marks = book(bars(*[FLAT] * 3), targets, records, bars(*[dear] * 3)).funding
    without = book(bars(*[FLAT] * 3), targets, records).funding

    assert [-0.9, -0.95] == pytest.approx(with_marks["payment"].tolist())
    assert [-0.9, -1.0] == pytest.approx(without["payment"].tolist())
    assert [True, True] == with_marks["mark_known"].tolist()
    assert [True, False] == without["mark_known"].tolist()


def test_funding_that_free_cash_cannot_pay_takes_the_margin():
    """
    Isolated margin falls with cash, so the liquidation price moves nearer.
    """
    dip = (100.0, 100.0, 92.5, 95.0, 1000.0)
    frame = bars(FLAT, FLAT, dip)
    drained = book(frame, {0: 100.0}, funding(("2h", 0.03)))  # 300 of the 1000 set aside
    spared = book(frame, {0: 100.0}, funding(("2h", 0.0)))

    assert ["", "liquidation"] == drained.fills["reason"].tolist()
    assert [""] == spared.fills["reason"].tolist()


# ── liquidation and bankruptcy ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("side", "price"), [(1, 36_144.578313), (-1, 43_824.701195)])
def test_the_liquidation_price_of_a_tenfold_position(side, price):
    """
    At leverage 10 and 0.4 % maintenance, a position at 40,000 ends 9.6 % away.

    Binance's formula for one isolated position in one-way mode ("How to Calculate Liquidation
    Price of USDT-M Futures Contracts"), with its lowest BTCUSDT bracket.
    """
    tiers = np.array([[0.0, 0.004, 0.0, 125.0]])

    found = kernel.liquidation_price(float(side), 0.1, 40_000.0, 400.0, tiers)

    assert price == pytest.approx(found, abs=1e-6)


def test_the_tier_is_the_one_at_the_liquidation_price():
    """
    A short opened under a floor and liquidated above it is judged by the higher tier.
    """
    tiers = np.array([[0.0, 0.005, 0.0, 50.0], [1000.0, 0.01, 5.0, 20.0]])

    found = kernel.liquidation_price(-1.0, 9.9, 100.0, 99.0, tiers)

    assert 9.9 * found > 1000.0
    equity = 99.0 - 9.9 * (found - 100.0)
    assert equity == pytest.approx(9.9 * found * 0.01 - 5.0)


def test_a_table_that_jumps_takes_the_nearer_price():
    """
    Where no tier holds at its own liquidation price, the position ends at the earlier one.
    """
    tiers = np.array([[0.0, 0.005, 0.0, 50.0], [1040.0, 0.05, 0.0, 20.0]])

    found = kernel.liquidation_price(-1.0, 10.0, 100.0, 50.0, tiers)

    by_lower_tier, by_higher_tier = 1050.0 / 10.05, 1050.0 / 10.5
    assert abs(by_higher_tier - 100.0) < abs(by_lower_tier - 100.0)
    assert found == pytest.approx(by_higher_tier)


def test_the_nearer_price_may_lie_beyond_the_entry():
    """
    Nearer is meant by distance: the price of the lower tier, where the higher's is far below entry.
    """
    tiers = np.array([[0.0, 0.03, 0.0, 50.0], [1010.0, 0.1, 0.0, 20.0]])

    found = kernel.liquidation_price(-1.0, 10.0, 100.0, 50.0, tiers)

    assert found == pytest.approx(1050.0 / 10.3)


def test_a_touch_liquidates_at_the_liquidation_price():
    """
    A long ends where margin meets maintenance, although the bar closes far above.
    """
    dip = (100.0, 120.0, 90.0, 120.0, 1000.0)
    ledger = book(bars(FLAT, FLAT, dip, FLAT), {0: 10.0}, liquidation_fee=0.005)

    touch = (100.0 - 10.0 * 100.0) / (10.0 * 0.01 - 10.0)
    last = ledger.fills.iloc[-1]
    assert ("liquidation", -10.0, 2) == (last["reason"], last["quantity"], last["bar"])
    assert last["price"] == pytest.approx(touch)
    fee = 10.0 * touch * 0.005
    assert ledger.equity["liquidation"].iloc[2] == pytest.approx(fee)
    assert ledger.equity["cash"].iloc[2] == pytest.approx(1000.0 + 10.0 * (touch - 100.0) - fee)


def test_a_gap_through_it_costs_the_margin_and_no_more():
    """
    A bar that opens beyond the liquidation price closes the position there; the loss is capped.
    """
    gap = (70.0, 75.0, 60.0, 72.0, 1000.0)
    ledger = book(bars(FLAT, FLAT, gap), {0: 10.0})

    assert 70.0 == ledger.fills["price"].iloc[-1]
    assert 900.0 == ledger.equity["cash"].iloc[-1]
    assert -200.0 == ledger.equity["liquidation"].iloc[-1]


def test_a_fill_is_exposed_to_its_own_bar():
    """
    What fills at an open can be liquidated before that bar closes.
    """
    dip = (100.0, 100.0, 80.0, 100.0, 1000.0)
    ledger = book(bars(FLAT, dip, FLAT), {0: 10.0})

    assert [1, 1] == ledger.fills["bar"].tolist()
    assert 0.0 == ledger.equity["position"].iloc[1]


def test_liquidation_is_judged_on_the_mark_where_there_is_one():
    """
    A spike of the trade price does nothing to a position that the mark price leaves alone.
    """
    dip = (100.0, 100.0, 80.0, 100.0, 1000.0)
    calm = book(bars(FLAT, FLAT, dip), {0: 10.0}, None, bars(FLAT, FLAT, FLAT))
    marked = book(bars(FLAT, FLAT, FLAT), {0: 10.0}, None, bars(FLAT, FLAT, dip))

    assert 10.0 == calm.equity["position"].iloc[-1]
    assert 0.0 == marked.equity["position"].iloc[-1]


def test_liquidation_cancels_what_waits_and_trading_goes_on():
    """
    The rest of an order dies with the position; the next target trades with what is left.
    """
    thin_dip = (100.0, 100.0, 80.0, 100.0, 40.0)
    ledger = book(bars(FLAT, thin_dip, FLAT, FLAT), {0: 10.0, 2: 1.0}, volume_share=0.1)

    assert ("partial", "liquidation") == _fates(ledger)[0]
    assert [4.0, -4.0, 1.0] == ledger.fills["quantity"].tolist()


def test_an_unlevered_long_cannot_be_liquidated():
    """
    At leverage 1 the price would have to be negative.
    """
    crash = (100.0, 100.0, 0.01, 0.02, 1000.0)
    ledger = book(bars(FLAT, FLAT, crash), {0: 10.0}, leverage=1.0)

    assert 10.0 == ledger.equity["position"].iloc[-1]


def test_a_bankrupt_account_trades_no_more():
    """
    Once equity is gone the book is flat at zero and later targets have no orders.
    """
    gap = (70.0, 75.0, 60.0, 72.0, 1000.0)
    ledger = book(bars(FLAT, FLAT, gap, FLAT, FLAT), {0: 100.0, 3: 1.0}, margin="cross")

    assert START + 3 * HOUR == ledger.bankrupt_at
    assert [0.0, 0.0, 0.0] == ledger.equity["equity"].iloc[2:].tolist()
    assert ["", "liquidation"] == ledger.fills["reason"].tolist()
    assert 1 == len(ledger.orders)


def test_a_close_beyond_all_cash_leaves_zero():
    """
    An order that closes after a gap can lose more than there is; the account ends at zero.
    """
    gap = (70.0, 75.0, 60.0, 72.0, 1000.0)
    ledger = book(bars(FLAT, FLAT, gap, FLAT), {0: 100.0, 1: 0.0})

    assert 0.0 == ledger.equity["cash"].iloc[-1]
    assert -2000.0 == ledger.equity["liquidation"].iloc[2]
    assert START + 3 * HOUR == ledger.bankrupt_at


# ── the call ─────────────────────────────────────────────────────────────────────────────────────


def test_a_part_of_the_bars_can_be_replayed():
    """
    ``start`` and ``end`` cut the replay out; rows still name bars of the market.
    """
    market = Market(bars=bars(*[FLAT] * 6), funding=funding(("2h", 0.01), ("4h", 0.01)))

    ledger = recompute(market, target_table(market, {3: 1.0}), FREE, start=2, end=5)

    assert market.bars.close_time[2:5].tolist() == ledger.equity["close_time"].tolist()
    assert [4] == ledger.fills["bar"].tolist()
    assert [START + 4 * HOUR] == ledger.funding["settle_time"].tolist()


def test_the_last_of_several_targets_counts():
    """
    Of two targets at one bar the later one stands.
    """
    market = Market(bars=bars(FLAT, FLAT), funding=FundingFrame.empty("TESTUSDT"))
    twice = pd.DataFrame({"bar": [0, 0], "quantity": [5.0, 2.0]})

    assert [2.0] == recompute(market, twice, FREE).fills["quantity"].tolist()


@pytest.mark.parametrize(
    ("targets", "cut"),
    [({0: np.nan}, {}), ({0: 1.0}, {"start": 1}), ({1: 1.0}, {"end": 1}), ({}, {"start": 2})],
)
def test_targets_and_bars_that_do_not_fit_are_refused(targets, cut):
    """
    A target without a number or outside the replay, and a replay without bars, are errors.
    """
    market = Market(bars=bars(FLAT, FLAT), funding=FundingFrame.empty("TESTUSDT"))

    with pytest.raises(UsageError, match="bar"):
        recompute(market, target_table(market, targets), FREE, **cut)


def test_a_slippage_model_of_the_users_is_refused_by_name():
    """
    What cannot be compiled is a configuration error, not a silent substitute.
    """
    broker = FREE.model_copy(update={"slippage": SlippageSection(kind="mine:Model")})

    with pytest.raises(ConfigError, match=r"broker.slippage.kind.*mine:Model"):
        rules_of(broker)


def test_mark_bars_on_another_grid_are_refused():
    """
    Mark bars must match the trade bars one to one.
    """
    with pytest.raises(DataError, match="grid"):
        book(bars(FLAT, FLAT, FLAT), {}, None, bars(FLAT, FLAT, FLAT, missing=(1,)))
