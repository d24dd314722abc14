"""Return series and costs: relations that hold for any series, and the cases."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hand_made_book import Book
from hypothesis import given, settings
from hypothesis import strategies as st

from perpwalk import costs
from perpwalk import returns as growth

SERIES = st.lists(st.floats(-0.2, 0.2), min_size=3, max_size=60).map(np.array)


@settings(max_examples=80)
@given(returns=SERIES)
def test_relations_of_a_return_series(returns: np.ndarray) -> None:
    """Drawdown is at most 0 and at least the worst bar; the curve compounds to the total."""
    curve = np.cumprod(1 + returns)
    deepest = growth.max_drawdown(returns)

    assert deepest is not None
    assert -1 <= deepest <= 0
    assert deepest <= returns.min() + 1e-12 or returns.min() > 0
    assert curve[-1] - 1 == pytest.approx(growth.total_return(returns), abs=1e-12)
    again = growth.equity_returns(50.0, 50.0 * curve)
    assert returns.tolist() == pytest.approx(again.tolist(), abs=1e-9)


def test_a_line_that_only_rises() -> None:
    """No drawdown, no downside: Calmar and Sortino are undefined, the rest is not."""
    rising = np.full(100, 0.001)

    assert 0.0 == growth.max_drawdown(rising)
    assert growth.sortino(rising, 8760) is None
    assert growth.calmar(0.5, 0.0) is None
    assert 1.001**8760 - 1 == pytest.approx(
        growth.cagr(growth.total_return(rising), 100, 8760), rel=1e-9
    )


def test_nothing_and_one_point() -> None:
    """An empty series and a single bar have no volatility and no ratio."""
    none, one = np.array([]), np.array([0.01])

    assert growth.max_drawdown(none) is None
    assert growth.volatility(one, 8760) is None
    assert growth.sortino(none, 8760) is None
    assert growth.annual_sharpe(one, 8760) is None
    assert growth.cagr(0.1, 0, 8760) is None


def test_growth_beyond_numbers_is_undefined() -> None:
    """A lucky bar annualises to more than a float holds: null, not infinity."""
    assert growth.cagr(5.0, 1, 8760.0) is None
    assert growth.cagr(-1.5, 10, 8760.0) is None


def test_a_year_has_365_days() -> None:
    """8,760 hours, 35,040 quarters of an hour; never 252 days."""
    assert 8760 == growth.bars_per_year(pd.Timedelta("1h"))
    assert 35_040 == growth.bars_per_year(pd.Timedelta("15min"))
    assert 365 == growth.bars_per_year(pd.Timedelta("1D"))


def test_the_sharpe_ratio_scales_by_the_root_of_time() -> None:
    """Ratio and bounds are annualised alike, and the ratio lies between them."""
    returns = np.random.default_rng(0).normal(1e-4, 0.01, 500)
    hourly, daily = (growth.annual_sharpe(returns, n) for n in (8760, 365))

    assert hourly is not None
    assert daily is not None
    assert [math.sqrt(24)] * 3 == pytest.approx([h / d for h, d in zip(hourly, daily, strict=True)])
    assert hourly[1] < hourly[0] < hourly[2]


@pytest.mark.parametrize(
    ("move", "cost", "accuracy"),
    [
        pytest.param(30.8, 10, 0.6623376623376623, id="breakeven_acc_30.8_10"),
        pytest.param(34.3, 10, 0.6457725947521866, id="breakeven_acc_34.3_10"),
        pytest.param(184.8, 10, 0.527056277056277, id="breakeven_acc_184.8_10"),
        pytest.param(34.3, 4, 0.5583090379008746, id="breakeven_acc_34.3_4"),
    ],
)
def test_break_even_accuracy(move: float, cost: float, accuracy: float) -> None:
    """Cases breakeven_acc_*, in basis points."""
    found = costs.break_even_accuracy(move / 1e4, cost / 1e4)

    assert accuracy == pytest.approx(found, abs=1e-9)
    assert costs.break_even_accuracy(0.0, 0.001) is None


def test_costs_add_up_from_gross_to_net() -> None:
    """Gross less fees and slippage plus funding less liquidation is the change in equity."""
    book = Book(prices=[100.0, 100.0, 110.0, 90.0, 90.0], fee=0.001, slippage=0.002)
    book.fill(1, 10.0)
    book.fund(2, -3.0)
    book.liquidate(3, at=92.0, cost=4.0)
    ledger = book.ledger()
    total = costs.CostSummary.of(ledger.equity)

    assert ledger.equity["equity"].iloc[-1] - 10_000 == pytest.approx(total.net)
    assert 10_000 == pytest.approx(total.initial_equity)
    assert (-80.0, -3.0, 4.0) == pytest.approx((total.gross, total.funding, total.liquidation))
    assert 1 == len([m for m in costs.COST_MULTIPLES if total.net_at(m) == total.net])


def test_other_cost_levels() -> None:
    """At 0x only gross, funding and liquidation remain; each step takes the costs once more."""
    book = Book(prices=[100.0, 100.0, 110.0, 110.0], fee=0.001, slippage=0.002)
    book.fill(1, 10.0)
    book.fill(3, -10.0)
    table = costs.cost_multiples(costs.CostSummary.of(book.ledger().equity))
    steps = np.diff(table["net_pnl"])

    assert [0.0, 1.0, 2.0, 3.0] == table["multiple"].tolist()
    assert 100.0 == pytest.approx(table["net_pnl"][0])
    assert steps == pytest.approx([steps[0]] * 3)
    assert table["net_pnl"][1] / 10_000 == pytest.approx(table["total_return"][1])


def test_the_share_of_the_best_trades() -> None:
    """Five winners of six can hold more than all profit; without profit there is no share."""
    assert 1.25 == pytest.approx(costs.share_of_best(np.array([1.0] * 5 + [-1.0])))
    assert costs.share_of_best(np.array([1.0, -1.0])) is None
