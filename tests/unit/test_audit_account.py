"""The account audit: what the book of a run gives cause to say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from hand_made_book import HOUR, Book

from perpwalk.audit.account import audit_account
from perpwalk.domain import BarFrame, Finding, FundingFrame, Level, Market
from perpwalk.ledger import Ledger


def book(**options: object) -> Book:
    made = Book(prices=[100.0, 100.0, 104.0, 102.0, 102.0], fee=5e-4, **options)
    made.fill(1, 10.0)
    made.fund(2, -0.1)
    made.fill(4, -10.0)
    return made


def found(ledger: Ledger, code: str, *markets: Market) -> list[Finding]:
    return [f for f in audit_account(ledger, markets) if f.code == code]


def test_a_sound_book_only_says_that_it_balances() -> None:
    """A001 is a note with the largest difference."""
    (told,) = audit_account(book().ledger())

    assert ("A001", Level.INFO) == (told.code, told.level)


def test_a_book_that_does_not_balance_is_an_error() -> None:
    """A001 names the first bar at fault."""
    ledger = book().ledger()
    ledger.equity.loc[2, "fee"] += 1.0
    (told,) = found(ledger, "A001")

    assert Level.ERROR is told.level
    assert "02:00" in told.where


def test_substituted_mark_prices_are_counted() -> None:
    """A002 warns where more than 1 % of the held settlements had no mark price."""
    (told,) = found(book(mark_known=False).ledger(), "A002")

    assert Level.WARN is told.level
    assert "1 of 1" in str(told.observed)


def test_a_strategy_that_never_traded() -> None:
    """A003 explains the null ratios."""
    (told,) = found(Book(prices=[100.0, 101.0]).ledger(), "A003")

    assert "never traded" in told.message


def test_liquidations_are_listed() -> None:
    """A004 gives their times and cost."""
    made = Book(prices=[100.0, 100.0, 60.0, 60.0])
    made.fill(1, 1.0)
    made.liquidate(2, at=70.0, cost=0.35)
    (told,) = found(made.ledger(), "A004")

    assert Level.WARN is told.level
    assert "2024-01-01 02:00" in told.where
    assert "0.35" in str(told.observed)


def test_orders_that_wait_were_refused_or_cut() -> None:
    """A005 notes the pending ones, A007 warns with counts by reason."""
    ledger = book().ledger()
    extra = ledger.orders.iloc[[0, 0, 0]].assign(
        status=["pending", "rejected", "reduced"], reason=["", "min_notional", "margin"]
    )
    ledger = replace(ledger, orders=pd.concat([ledger.orders, extra], ignore_index=True))

    assert Level.INFO is found(ledger, "A005")[0].level
    (refused,) = found(ledger, "A007")
    assert "1 reduced (margin), 1 rejected (min_notional)" == refused.observed


def test_bankruptcy_is_an_error() -> None:
    """A006 by the book's word, and by equity alone."""
    gone = replace(book().ledger(), bankrupt_at=pd.Timestamp("2024-01-01T03:00Z"))
    made = Book(prices=[100.0, 100.0, 40.0], cash=50.0)
    made.fill(1, 1.0)

    assert ["2024-01-01 03:00:00+00:00"] == [f.where for f in found(gone, "A006")]
    assert [Level.ERROR] == [f.level for f in found(made.ledger(), "A006")]


def test_unknown_funding_shows_both_scenarios() -> None:
    """A008: the net if the missing rate was 0, and if it cost 0.01 %."""
    made = book(assumed=True)
    made.payments[2] = 0.0
    ledger = made.ledger()
    net = float(ledger.equity["equity"].iloc[-1]) - 10_000
    (told,) = found(ledger, "A008")

    assert Level.WARN is told.level
    assert f"net {net:,.2f} ({net / 10_000:+.2%}) if they were 0" in str(told.observed)
    worst = net - 10 * 104 * 1e-4
    assert f"{worst:,.2f} ({worst / 10_000:+.2%}) if each had cost 0.01 %" in str(told.observed)
    assert "no record" not in str(told.observed)


def test_a_fill_outside_its_bar_is_an_error() -> None:
    """A010 finds a price that nobody traded at; liquidations may lie outside."""
    made = book()
    prices = np.array([100.0, *made.prices])
    frame = pd.DataFrame(
        {
            "open": prices[:-1],
            "high": np.maximum(prices[:-1], prices[1:]),
            "low": np.minimum(prices[:-1], prices[1:]),
            "close": prices[1:],
            "volume": 1.0,
        },
        index=pd.date_range(made.open_time(0), periods=5, freq="h"),
    )
    bars = BarFrame.of(frame, symbol="ETHUSDT", interval=HOUR)
    ledger = made.ledger()
    market = Market(bars=bars, funding=FundingFrame.empty("ETHUSDT"))
    assert [] == found(ledger, "A010", market)
    ledger.fills.loc[1, "reference_price"] = 101.9

    (told,) = found(ledger, "A010", market)
    assert Level.ERROR is told.level
    assert "2024-01-01 03:00" in told.where
    ledger.fills.loc[1, "reason"] = "liquidation"
    assert [] == found(ledger, "A010", market)
