"""Round trips: what belongs to one trade, and that all of them add up to the account."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from account_scenarios import Scenario, scenarios
from hand_made_book import Book
from hypothesis import given, settings

from perpwalk.errors import AccountError
from perpwalk.trades import TRADE_COLUMNS, closed_results, fill_rows, round_trips


def test_a_round_trip_from_flat_to_flat() -> None:
    """Bought at one open and sold three bars later: every number by hand."""
    book = Book(prices=[100.0, 100.0, 110.0, 120.0, 120.0], fee=0.001, slippage=0.01)
    book.fill(1, +2.0)  # at the close before: 100
    book.fill(4, -2.0)  # at 120
    trade = round_trips(book.ledger()).iloc[0]

    assert ("long", 2.0, 3) == (trade["side"], trade["quantity"], trade["bars"])
    assert (101.0, 118.8) == pytest.approx((trade["entry_price"], trade["exit_price"]))
    assert 40.0 == pytest.approx(trade["gross_pnl"])
    assert 0.001 * (202.0 + 237.6) == pytest.approx(trade["fees"])
    assert 2 * (1.0 + 1.2) == pytest.approx(trade["slippage"])
    assert 40.0 - 0.4396 - 4.4 == pytest.approx(trade["net_pnl"])
    assert (40.0 - 0.4396 - 4.4) / 202.0 == pytest.approx(trade["return"])
    assert "signal" == trade["exit_reason"]
    assert book.open_time(1) == trade["opened_at"]
    assert book.open_time(4) == trade["closed_at"]


def test_adding_and_reducing_belong_to_one_trade() -> None:
    """Prices are weighted by quantity and the size is the largest held."""
    book = Book(prices=[100.0, 100.0, 110.0, 120.0, 130.0, 130.0])
    book.fill(1, -1.0)  # 100
    book.fill(2, -3.0)  # 100
    book.fill(3, +2.0)  # 110
    book.fill(5, +2.0)  # 130
    trades = round_trips(book.ledger())

    assert 1 == len(trades)
    trade = trades.iloc[0]
    assert ("short", 4.0) == (trade["side"], trade["quantity"])
    assert (100.0, 120.0) == pytest.approx((trade["entry_price"], trade["exit_price"]))
    assert -80.0 == pytest.approx(trade["gross_pnl"])


def test_turning_the_position_ends_one_trade_and_starts_the_next() -> None:
    """The turning fill's fee and slippage are split by quantity."""
    book = Book(prices=[100.0, 100.0, 100.0, 90.0, 90.0], fee=0.001, slippage=0.01)
    book.fill(1, +1.0)
    book.fill(3, -4.0)  # closes 1, opens 3 short at 100
    book.fill(4, +3.0)
    first, second = (row for _, row in round_trips(book.ledger()).iterrows())

    assert ("long", 1.0) == (first["side"], first["quantity"])
    assert ("short", 3.0) == (second["side"], second["quantity"])
    assert first["closed_at"] == second["opened_at"]
    assert 0.001 * (101.0 + 99.0) == pytest.approx(first["fees"])
    assert 0.001 * 3 * (99.0 + 90.9) == pytest.approx(second["fees"])
    assert 2.0 == pytest.approx(first["slippage"])
    assert 30.0 == pytest.approx(second["gross_pnl"])


def test_lots_that_do_not_quite_cancel_still_end_the_trade() -> None:
    """0.1 + 0.2 − 0.3 is flat, not a position of 5e-17."""
    book = Book(prices=[100.0] * 6)
    for row, quantity in ((1, 0.1), (2, 0.2), (3, -0.3), (4, 0.5)):
        book.fill(row, quantity)
    trades = round_trips(book.ledger())

    assert 2 == len(trades)
    assert ["signal", "open at end"] == trades["exit_reason"].tolist()


def test_an_open_trade_is_marked_at_the_last_price() -> None:
    """It has no closing time, and its PnL is what selling at the mark would have made gross."""
    book = Book(prices=[100.0, 100.0, 107.0])
    book.fill(1, 1.0)
    trade = round_trips(book.ledger()).iloc[0]

    assert "open at end" == trade["exit_reason"]
    assert trade["closed_at"] is pd.NaT
    assert (107.0, 2, 7.0) == pytest.approx((trade["exit_price"], trade["bars"], trade["net_pnl"]))
    assert 0 == len(closed_results(book.ledger())[0])


def test_funding_goes_to_the_trade_held_into_the_stamp() -> None:
    """A stamp at a bar's close settles before the fill at that moment; flat bars pay nothing."""
    book = Book(prices=[100.0] * 7)
    book.fill(1, 1.0)
    book.fill(3, -3.0)
    book.fill(5, 2.0)
    book.fund(2, -0.5)  # at the close of row 2, one moment before the turn at row 3's open
    book.fund(3, 0.25)
    trades = round_trips(book.ledger())

    assert [-0.5, 0.25] == trades["funding"].tolist()


def test_a_stamp_where_bars_are_missing_settles_on_what_was_carried_in() -> None:
    """It lies before the first bar after the gap, so the fill at that bar's open comes later."""
    book = Book(prices=[100.0] * 6)
    book.fill(1, 1.0)
    book.fill(3, -2.0)
    book.fund(3, -0.5)
    ledger = book.ledger()
    gap = pd.Timedelta("9h")
    ledger.equity.loc[3:, "close_time"] += gap
    ledger.fills.loc[1, "time"] += gap
    ledger.funding.loc[0, "settle_time"] = book.close_time(2) + pd.Timedelta("5h")

    assert [-0.5, 0.0] == round_trips(ledger)["funding"].tolist()
    later = ledger.funding.assign(settle_time=ledger.equity["close_time"].iloc[3])
    assert [0.0, -0.5] == round_trips(replace(ledger, funding=later))["funding"].tolist()


def test_funding_that_nobody_can_have_earned_is_an_error() -> None:
    """A payment while flat means that the book is wrong."""
    book = Book(prices=[100.0] * 5)
    book.fill(1, 1.0)
    book.fill(2, -1.0)
    book.fund(3, 0.25)

    with pytest.raises(AccountError, match="belongs to no position"):
        round_trips(book.ledger())


def test_a_liquidation_is_named_and_bears_its_cost() -> None:
    """The fill's reason ends the trade, and the bar's liquidation cost is its own."""
    book = Book(prices=[100.0, 100.0, 60.0, 60.0])
    book.fill(1, 1.0)
    book.liquidate(2, at=70.0, cost=0.35)
    trade = round_trips(book.ledger()).iloc[0]

    assert "liquidation" == trade["exit_reason"]
    assert 0.35 == trade["liquidation"]
    assert -30.35 == pytest.approx(trade["net_pnl"])
    assert 1 == trade["bars"]


def test_a_liquidation_cost_without_a_liquidation_is_an_error() -> None:
    """Money that left the account must have left it through a trade."""
    book = Book(prices=[100.0, 100.0, 60.0, 60.0])
    book.fill(1, 1.0)
    book.fill(2, -1.0)
    ledger = book.ledger()
    ledger.equity.loc[3, "liquidation"] = 0.35

    with pytest.raises(AccountError, match="belongs to no position"):
        round_trips(ledger)


def test_a_bankruptcy_on_an_ordinary_fill_is_written_off_to_its_trade() -> None:
    """A fill that slipped too far leaves a debt that nobody pays: the trade does not bear it."""
    book = Book(prices=[100.0, 100.0, 60.0, 60.0])
    book.fill(1, 1.0)
    book.fill(2, -1.0)
    ledger = book.ledger()
    ledger.equity.loc[2, "liquidation"] = -7.0
    trade = round_trips(ledger).iloc[0]

    assert -7.0 == trade["liquidation"]
    assert "signal" == trade["exit_reason"]


def test_a_book_without_fills_has_no_trades() -> None:
    """The table has its columns all the same."""
    trades = round_trips(Book(prices=[100.0, 101.0]).ledger())

    assert list(TRADE_COLUMNS) == list(trades.columns)
    assert trades.empty


def test_bars_may_be_numbered_from_before_the_replay() -> None:
    """Fills find their row in the equity table although bars count from the market's start."""
    book = Book(prices=[100.0] * 5)
    book.fill(1, 1.0)
    book.liquidate(2, at=99.0, cost=0.1)
    book.fill(3, 1.0)
    ledger = book.ledger()
    ledger.fills["bar"] += 812

    assert [1, 2, 3] == fill_rows(ledger).tolist()


def test_a_second_symbol_needs_its_own_mark() -> None:
    """The equity table prices the first symbol only."""
    book = Book(prices=[100.0, 100.0, 107.0])
    book.fill(1, 1.0)
    book.fill(2, 2.0)
    ledger = book.ledger()
    ledger.fills.loc[1, "symbol"] = "BTCUSDT"

    with pytest.raises(AccountError, match="BTCUSDT"):
        round_trips(ledger)
    trades = round_trips(ledger, marks={"ETHUSDT": 107.0, "BTCUSDT": 110.0})
    assert [7.0, 20.0] == pytest.approx(trades["gross_pnl"].tolist())


@settings(max_examples=settings().max_examples // 4)
@given(scenario=scenarios())
def test_the_trades_add_up_to_the_change_in_equity(scenario: Scenario) -> None:
    """Whatever happens: net PnL of all trades is the change in equity, part by part."""
    ledger = scenario.ledger()
    trades = round_trips(ledger)
    book = ledger.equity
    scale = 1e-9 * max(ledger.initial_cash, float(np.abs(book["price_pnl"]).sum()))

    change = book["equity"].iloc[-1] - ledger.initial_cash
    assert change == pytest.approx(trades["net_pnl"].sum(), abs=scale)
    for ours, theirs in (
        ("gross_pnl", "price_pnl"),
        ("fees", "fee"),
        ("slippage", "slippage"),
        ("funding", "funding"),
        ("liquidation", "liquidation"),
    ):
        assert book[theirs].sum() == pytest.approx(trades[ours].sum(), abs=scale), ours
    rows, net = closed_results(ledger)
    closed = trades[trades["exit_reason"] != "open at end"]
    assert closed["net_pnl"].tolist() == pytest.approx(net.tolist())
    assert (np.diff(rows) >= 0).all()


def test_a_bankrupt_trade_bears_the_settlement_that_ruined_it() -> None:
    """Bankruptcy is judged after funding: the payment of its bar belongs to the trade it ended."""
    book = Book(prices=[100.0, 100.0, 100.0], cash=1_000.0)
    book.fill(1, 50.0)
    book.fund(2, -1_200.0)
    ledger = book.ledger()
    ledger.fills.loc[len(ledger.fills)] = [
        -1, "ETHUSDT", book.close_time(2), 2, -50.0, 100.0, 100.0, 0.0, 0.0, "taker", "bankruptcy"
    ]  # fmt: skip

    trade = round_trips(ledger).iloc[0]
    assert (-1_200.0, "bankruptcy") == (trade["funding"], trade["exit_reason"])
