"""What must hold for any account, over generated markets, settings and targets."""

from __future__ import annotations

import numpy as np
from account_scenarios import Scenario, scenarios
from decimal_account import DecimalAccount
from hypothesis import HealthCheck, assume, given, settings

from perpwalk.domain import Market, to_ns
from perpwalk.ledger import Ledger
from perpwalk.recompute import compare, recompute, rules_of, target_table
from perpwalk.trades import round_trips

FEWER = settings(max_examples=max(settings.default.max_examples // 5, 40))  # type: ignore[union-attr]
FORCED = ("liquidation", "bankruptcy")


@given(scenarios())
def test_the_compiled_account_is_the_exact_one(scenario: Scenario):
    """
    The compiled ledger and the one in exact decimals agree to 1e-9 of equity, record by record.
    """
    exact = DecimalAccount(scenario.market, scenario.targets, scenario.broker).run()
    compiled = scenario.ledger()

    worst, finding = compare(exact, compiled)

    assert finding is None
    assert worst <= 1e-9
    for column in ("status", "reason"):
        assert exact.orders[column].tolist() == compiled.orders[column].tolist()
    np.testing.assert_allclose(
        compiled.orders["filled_quantity"].astype(float),
        exact.orders["filled_quantity"].astype(float),
        rtol=1e-9,
    )


@given(scenarios())
def test_every_book_obeys_the_rules(scenario: Scenario):
    """
    Equity moves by its parts, positions are what was filled and what margin carries, each stamp
    settles once and longs pay a positive rate, and no loss takes more than there is.
    """
    ledger = scenario.ledger()

    assert ledger.check_identity()[1] is None
    _positions_are_the_sum_of_fills(ledger)
    _trades_add_up_to_the_change_in_equity(ledger)
    _each_stamp_settles_once(scenario.market, ledger)
    _longs_pay_a_positive_rate(ledger)
    _margin_carries_what_is_opened(scenario, ledger)
    _nothing_falls_below_zero(ledger)


def _positions_are_the_sum_of_fills(ledger: Ledger) -> None:
    moved = np.bincount(ledger.fills["bar"], ledger.fills["quantity"], len(ledger.equity))
    np.testing.assert_allclose(ledger.equity["position"], np.cumsum(moved), atol=1e-6)


def _trades_add_up_to_the_change_in_equity(ledger: Ledger) -> None:
    """Realised and open results together are what equity gained."""
    gained = ledger.equity["equity"].iloc[-1] - ledger.initial_cash
    cash, entry, position = ledger.initial_cash, 0.0, 0.0
    lost_in_full = ledger.equity["liquidation"].sum()
    for fill in ledger.fills.itertuples():
        closed = min(abs(fill.quantity), abs(position)) if fill.quantity * position < 0 else 0.0
        cash += (fill.price - entry) * np.sign(position) * closed - fill.fee
        opened = abs(fill.quantity) - closed
        held = abs(position) - closed
        if opened > 1e-12 * abs(fill.quantity):
            entry = (held * entry + opened * fill.price) / (held + opened)
        position += fill.quantity
    cash += ledger.funding["payment"].sum() - lost_in_full
    unrealised = position * (ledger.equity["price"].iloc[-1] - entry)
    assert abs(cash + unrealised - ledger.initial_cash - gained) <= 1e-8 * ledger.initial_cash
    # And so says the table of trades that a run writes, the open one at the last close.
    trades, moved = round_trips(ledger), ledger.equity["price_pnl"].abs().sum()
    scale = 1e-9 * (ledger.initial_cash + float(moved))
    for column, of_bars in (("funding", "funding"), ("liquidation", "liquidation")):
        assert abs(trades[column].sum() - ledger.equity[of_bars].sum()) <= scale
    assert abs(trades["net_pnl"].sum() - gained) <= scale


def _each_stamp_settles_once(market: Market, ledger: Ledger) -> None:
    closes = market.bars.close_time
    rounded = market.funding.settle_time.round("min").unique()
    within = (rounded > market.bars.open_time[0]) & (rounded <= closes[-1])
    assert rounded[within].tolist() == ledger.funding["settle_time"].tolist()
    row = np.searchsorted(to_ns(closes), to_ns(rounded[within]))
    by_bar = np.bincount(row, ledger.funding["payment"], len(closes))
    np.testing.assert_allclose(ledger.equity["funding"], by_bar, atol=1e-9 * ledger.initial_cash)


def _longs_pay_a_positive_rate(ledger: Ledger) -> None:
    sign = np.sign(ledger.funding["position"]) * np.sign(ledger.funding["rate"])
    np.testing.assert_array_equal(np.sign(ledger.funding["payment"]), 0.0 - sign)


def _margin_carries_what_is_opened(scenario: Scenario, ledger: Ledger) -> None:
    """At the moment of a fill, what an opening sets aside is not more than equity allows."""
    opened = ledger.fills[~ledger.fills["reason"].isin(FORCED)]
    before = ledger.equity["equity"].shift(fill_value=ledger.initial_cash).to_numpy()
    held = ledger.equity["position"].shift(fill_value=0.0).to_numpy()
    closes = ledger.equity["price"].shift().fillna(0.0).to_numpy()
    gap = scenario.market.funding  # settlements in a gap move equity before the fill: leave those
    for fill in opened.itertuples():
        after = held[fill.bar] + fill.quantity
        if abs(after) <= abs(held[fill.bar]) or (len(gap) and _has_gap(scenario.market, fill.bar)):
            continue
        there = before[fill.bar] + held[fill.bar] * (fill.reference_price - closes[fill.bar])
        if after * held[fill.bar] <= 0:
            need = abs(after) * fill.price / scenario.broker.leverage + fill.fee
            assert need <= there + fill.slippage + 1e-6 * ledger.initial_cash


def _has_gap(market: Market, bar: int) -> bool:
    return bar > 0 and market.bars.open_time[bar] > market.bars.close_time[bar - 1]


def _nothing_falls_below_zero(ledger: Ledger) -> None:
    book = ledger.equity
    tiny = 1e-9 * ledger.initial_cash
    assert (book["equity"] >= -tiny).all()
    assert (book["cash"][book["position"] == 0] >= -tiny).all()
    if ledger.bankrupt_at is not None:
        dead = book[book["close_time"] >= ledger.bankrupt_at]
        assert (dead["position"] == 0).all()
        assert (dead["equity"] == dead["equity"].iloc[0]).all()


@given(scenarios())
@settings(FEWER, suppress_health_check=list(HealthCheck))  # few scenarios come to a liquidation
def test_a_liquidation_takes_no_more_than_the_isolated_margin(scenario: Scenario):
    """
    With isolated margin, what was not set aside for a position is still there after it is lost.
    """
    broker = scenario.broker.model_copy(update={"margin": "isolated"})
    ledger = recompute(scenario.market, target_table(scenario.market, scenario.targets), broker)
    fills = ledger.fills
    lost = fills[fills["reason"] == "liquidation"]
    assume(len(lost) > 0)
    bar = int(lost["bar"].iloc[0])
    # Opened in one fill and not touched since: its margin is known from that fill.
    mine = fills[fills["bar"] <= bar].iloc[:-1]
    assume(len(mine) == 1)
    notional = abs(mine["quantity"].iloc[0]) * mine["price"].iloc[0]
    tiers = [t for t in broker.tiers if t.notional_floor <= notional]
    margin = notional / min(broker.leverage, tiers[-1].max_leverage)
    funding = ledger.equity["funding"].iloc[: bar + 1].sum()
    left = ledger.initial_cash - margin - mine["fee"].iloc[0] + min(funding, 0.0)

    assert ledger.equity["cash"].iloc[bar] >= left - 1e-6


@given(scenarios(cheap=True))
@FEWER
def test_flipping_the_targets_of_a_free_account_negates_its_profit(scenario: Scenario):
    """
    Without costs and funding, the mirror image of the targets earns the opposite, bar by bar.
    """
    mirrored = Scenario(
        scenario.market, {i: -q for i, q in scenario.targets.items()}, scenario.broker
    )
    one, other = scenario.ledger(), mirrored.ledger()
    assume(not one.fills["reason"].isin(FORCED).any())
    assume(not other.fills["reason"].isin(FORCED).any())

    np.testing.assert_allclose(-one.equity["price_pnl"], other.equity["price_pnl"], atol=1e-7)
    np.testing.assert_allclose(-one.equity["position"], other.equity["position"], atol=1e-12)


@given(scenarios(cheap=True))
@FEWER
def test_doubling_the_fee_costs_exactly_the_fees_again(scenario: Scenario):
    """
    Where sizes stay the same, twice the fee rate takes the fees once more from final equity.
    """
    once, twice = scenario.ledger(taker_fee=0.0005), scenario.ledger(taker_fee=0.001)
    assume(once.fills["quantity"].equals(twice.fills["quantity"]))
    assume(not once.fills["reason"].isin(FORCED).any())
    fees = once.equity["fee"].sum()

    lost = once.equity["equity"].iloc[-1] - twice.equity["equity"].iloc[-1]

    assert abs(fees - lost) <= 1e-9 * once.initial_cash


@given(scenarios())
@FEWER
def test_an_account_that_never_trades_is_a_flat_line(scenario: Scenario):
    """
    Targets of zero leave equity at the initial cash to the cent, whatever the market does.
    """
    idle = Scenario(scenario.market, dict.fromkeys(scenario.targets, 0.0), scenario.broker)

    book = idle.ledger().equity

    assert (book["equity"] == scenario.broker.cash).all()
    assert (book.drop(columns=["close_time", "price", "cash", "equity"]) == 0).all(axis=None)


@given(scenarios())
@FEWER
def test_cutting_the_future_off_changes_nothing_before(scenario: Scenario):
    """
    The book of the first bars does not depend on the bars that follow.
    """
    whole = scenario.ledger().equity
    half = max(len(whole) // 2, 1)
    early = {i: q for i, q in scenario.targets.items() if i < half}
    table = target_table(scenario.market, early)

    part = recompute(scenario.market, table, scenario.broker, end=half).equity

    assert whole.iloc[:half].equals(part)


@given(scenarios())
@FEWER
def test_lots_are_whole(scenario: Scenario):
    """
    Every fill is the decimal that its number of lots names, so that three tenths are 0.3.
    """
    rules = rules_of(scenario.broker)
    assume(rules.whole)
    for quantity in scenario.ledger().fills["quantity"]:
        lots = round(quantity * rules.lot_bottom / rules.lot_top)
        assert quantity == lots * rules.lot_top / rules.lot_bottom
