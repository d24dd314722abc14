"""Two ledgers held against each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from perpwalk.config import BrokerSection
from perpwalk.domain import BarFrame, FundingFrame, Level, Market
from perpwalk.ledger import Ledger
from perpwalk.recompute import compare, recompute, target_table


@pytest.fixture
def ledger() -> Ledger:
    """Ten bars with four fills and two settlements."""
    times = pd.date_range("2024-01-01", periods=10, freq="h", tz="UTC")
    price = np.linspace(100.0, 109.0, 10)
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), price), index=times)
    bars = BarFrame.of(frame.assign(volume=1e6), symbol="X", interval=pd.Timedelta("1h"))
    funding = FundingFrame.of(times[[4, 8]], [0.001, 0.001], symbol="X")
    market = Market(bars=bars, funding=funding)
    targets = target_table(market, {0: 5.0, 2: -5.0, 5: 2.0, 7: 3.0})
    return recompute(market, targets, BrokerSection())


def changed(ledger: Ledger, name: str, row: int, column: str, by: float) -> Ledger:
    """Return the ledger with one number of one table moved."""
    frame = getattr(ledger, name).copy()
    frame.loc[row, column] += by
    return replace(ledger, **{name: frame})


def test_a_ledger_agrees_with_itself(ledger):
    """
    No difference is a difference of zero and no finding.
    """
    assert (0.0, None) == compare(ledger, ledger)


def test_a_difference_within_the_tolerance_is_only_measured(ledger):
    """
    A difference is returned as a share of equity; under the tolerance nothing is found.
    """
    worst, finding = compare(ledger, changed(ledger, "equity", 3, "cash", 1e-6))

    assert worst == pytest.approx(1e-10, rel=1e-2)
    assert finding is None


@pytest.mark.parametrize(
    "column", ["position", "fee", "slippage", "liquidation", "funding", "price_pnl", "equity"]
)
def test_the_first_bar_and_the_event_are_named(ledger, column):
    """
    The finding names the earliest bar at fault and the column in which it parts.
    """
    other = changed(changed(ledger, "equity", 6, column, 1.0), "equity", 8, "equity", 9.0)

    worst, finding = compare(ledger, other)

    assert worst > 1e-9
    assert ("A011", Level.ERROR) == (finding.code, finding.level)
    assert str(ledger.equity["close_time"].iloc[6]) == finding.where
    assert finding.message.endswith(f": {column}")


def test_a_fill_of_another_price_is_named(ledger):
    """
    Fills are compared one by one; the bar is the one in which they happened.
    """
    _, finding = compare(ledger, changed(ledger, "fills", 1, "price", 0.5))

    assert str(ledger.equity["close_time"].iloc[3]) == finding.where
    assert finding.message.endswith("fill, price")


def test_a_fill_that_only_one_ledger_has_is_infinitely_far(ledger):
    """
    A missing fill is found in its own bar.
    """
    shorter = replace(ledger, fills=ledger.fills.iloc[:-1])

    worst, finding = compare(shorter, ledger)

    assert np.inf == worst
    assert str(ledger.equity["close_time"].iloc[8]) == finding.where


def test_a_settlement_is_named(ledger):
    """
    A payment that differs is found at its stamp's bar.
    """
    _, finding = compare(ledger, changed(ledger, "funding", 1, "payment", 0.1))

    assert str(ledger.equity["close_time"].iloc[7]) == finding.where
    assert finding.message.endswith("settlement, payment")


def test_ledgers_of_different_bars_do_not_compare(ledger):
    """
    Books of other lengths are reported as such.
    """
    worst, finding = compare(ledger, replace(ledger, equity=ledger.equity.iloc[:-1]))

    assert np.inf == worst
    assert "the bars" in finding.message


def test_bankruptcy_in_only_one_is_reported(ledger):
    """
    Two books that differ only in the bankruptcy they state do not agree.
    """
    dead = replace(ledger, bankrupt_at=ledger.equity["close_time"].iloc[3])

    worst, finding = compare(ledger, dead)

    assert np.inf == worst
    assert finding.message.endswith("bankruptcy")


def test_nan_is_a_difference(ledger):
    """
    A number that is missing never agrees.
    """
    worst, finding = compare(ledger, changed(ledger, "equity", 2, "fee", np.nan))

    assert np.inf == worst
    assert finding is not None
