"""Three computations of one account: Backtrader's broker, the compiled ledger, exact decimals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from account_scenarios import Scenario, scenarios
from decimal_account import DecimalAccount
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.crosscheck import crosscheck
from engine.replay import ReplayMarket, replay
from engine.strategy import SignalStrategy
from perpwalk import sweeps
from perpwalk.domain import Level
from perpwalk.ledger import Ledger
from perpwalk.plans import Plan, Sizing, as_plan
from perpwalk.recompute import compare, recompute, recompute_plan, target_table


class FollowTable(SignalStrategy):
    """Orders the quantity that a table asks for at each bar."""

    params: tuple[tuple[str, Any], ...] = (("targets", None), ("skipped", 0))

    def next(self) -> None:
        """Place a target order where the table has one for the bar that just closed."""
        wanted = self.p.targets.get(self.data.bar + self.p.skipped)
        if wanted is not None:
            self.order_target_size(target=wanted)


def by_backtrader(scenario: Scenario) -> Ledger:
    """Replay a scenario's targets through Backtrader."""
    market = ReplayMarket(market=scenario.market)
    return replay([market], FollowTable, {"targets": scenario.targets}, scenario.broker)


@given(scenarios())
def test_broker_and_both_ledgers_agree(scenario: Scenario):
    """
    Replayed by Backtrader, compiled, or in exact decimals, the account is the same to 1e-9.
    """
    replayed = by_backtrader(scenario)
    exact = DecimalAccount(scenario.market, scenario.targets, scenario.broker).run()

    assert (None, None) == (compare(exact, replayed)[1], compare(exact, scenario.ledger())[1])


@given(scenarios())
def test_a_replay_is_recomputed_from_its_own_targets(scenario: Scenario):
    """
    The targets that a replay wrote down are enough to compute its account again.
    """
    replayed = by_backtrader(scenario)
    assert replayed.targets is not None

    again = recompute(scenario.market, replayed.targets, scenario.broker)

    assert compare(replayed, again)[1] is None


@given(scenarios())
@settings(max_examples=max(settings.default.max_examples // 5, 40))  # type: ignore[union-attr]
def test_a_replay_of_a_part_is_recomputed_too(scenario: Scenario):
    """
    Where only some of the bars are replayed, both computations start with the same one.
    """
    bars = scenario.market.bars
    first, past = len(bars) // 3, len(bars) - 1
    market = ReplayMarket(market=scenario.market)
    params = {"targets": scenario.targets, "skipped": first}
    span = {"start": bars.close_time[first], "end": bars.close_time[past - 1]}

    replayed = replay([market], FollowTable, params, scenario.broker, **span)
    within = {i: q for i, q in scenario.targets.items() if first <= i < past}
    table = target_table(scenario.market, within)
    again = recompute(scenario.market, table, scenario.broker, start=first, end=past)

    assert compare(replayed, again)[1] is None
    assert Level.INFO == crosscheck(scenario.market, replayed, scenario.broker).level


def plan_of(scenario: Scenario, *, every: bool) -> Plan:
    """Return a scenario's targets as exposures: at their bars, or at every one until the next."""
    close = scenario.market.bars.close
    wants = np.full(len(close), np.nan)
    for bar, quantity in scenario.targets.items():
        wants[bar if not every else slice(bar, None)] = quantity * close[bar] / scenario.broker.cash
    return as_plan([np.abs(wants), wants, 0.5 * wants], len(close))


@given(scenarios(), st.sampled_from((0.0, 0.05, 0.4)), st.sampled_from((1.0, 0.7)), st.booleans())
def test_a_swept_variant_is_the_account_that_is_replayed_of_it(
    scenario: Scenario, band: float, share: float, every: bool
):
    """
    Walked in sums or with the book kept, equity is the same bits at every close, and costs add up.
    """
    plan, sizing = plan_of(scenario, every=every), Sizing(share, band)
    kept = recompute_plan(scenario.market, plan, sizing, scenario.broker)
    swept = sweeps.sweep(
        scenario.market, [sweeps.Variant(plan, sizing, scenario.broker)], keep="equity", threads=1
    )
    book, row = kept.equity, swept.table.iloc[0]
    assert swept.equity is not None

    np.testing.assert_array_equal(book["equity"], swept.equity[0])
    sums = book[["fee", "funding", "slippage", "liquidation"]].sum()
    np.testing.assert_allclose(
        sums, row[["fees", "funding", "slippage", "liquidation"]].astype(float),
        rtol=1e-9, atol=1e-9 * scenario.broker.cash,
    )  # fmt: skip
    np.testing.assert_allclose(book["exposure"].abs().mean(), row["exposure"], rtol=1e-9)
    forced = (kept.fills["reason"] == "liquidation").sum()
    assert (len(kept.orders), forced) == (row["orders"], row["liquidations"])
    assert [kept.bankrupt_at] == [None if pd.isna(row["bankrupt_at"]) else row["bankrupt_at"]]
