"""The ledger engine: the account of every strategy to the last lot, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_replay import account
from wild_market import BARS, FIRST, signals_on, wild_market

from engine import ledger_engine
from engine.bridge import bt
from engine.history import History
from engine.plugins import declared_params
from engine.replay import ReplayMarket, replay
from engine.strategy import MarketView, SignalStrategy
from perpwalk.config import BrokerSection, SlippageSection
from perpwalk.domain import Market, Signal, to_ns
from perpwalk.errors import ConfigError, LookAheadError, UsageError
from perpwalk.reconcile import compare
from strategies.baselines import BuyAndHold, Majority
from strategies.lstm_xgb import (
    FundingAware,
    LongFlat,
    LongShort,
    ProbabilityScaled,
    VolatilityTargeted,
)

BUILT_IN: tuple[tuple[type, dict[str, Any]], ...] = (
    (LongShort, {}),
    (LongFlat, {"exposure": 2.5}),
    (ProbabilityScaled, {"rebalance_band": 0.05}),
    (VolatilityTargeted, {"window": 48, "annual_volatility": 0.8, "exposure": 3.0}),
    (FundingAware, {"weak_strength": 0.08, "exit_rate": 0.0004}),
    (BuyAndHold, {"exposure": 4.0}),
    (Majority, {"window": 120, "refresh": 37, "share": 0.5}),
)
# Costs, margins and tiers all bite; a wild market liquidates some of the leveraged positions.
BROKERS = {
    "isolated": BrokerSection(leverage=5.0, cash=50_000.0),
    "cross without lots": BrokerSection(
        leverage=3.0, margin="cross", lot_size=0.0, tick_size=0.01, volume_share=0.01,
        slippage=SlippageSection(kind="square_root"),
    ),
}  # fmt: skip


def both(
    strategy: type, params: dict[str, Any], broker: BrokerSection, market: Market | None = None
) -> tuple[Any, Any]:
    """Replay a strategy with either engine from bar ``FIRST`` on."""
    tape = wild_market() if market is None else market
    start = tape.bars.close_time[FIRST]
    one = [ReplayMarket(tape, signals_on(tape))]
    return (
        replay(one, strategy, params, broker, start=start),
        ledger_engine.replay(one, strategy, params, broker, start=start),
    )


def same(first: Any, second: Any) -> None:
    """Hold two ledgers against each other: money to 1e-9 of equity, orders and targets by row."""
    worst, finding = compare(first, second)
    assert finding is None, finding
    assert worst <= 1e-9
    for table in ("targets", "orders"):
        left, right = getattr(first, table), getattr(second, table)
        numbers = [c for c in left.columns if left[c].dtype.kind in "fi"]
        assert len(left) == len(right)
        np.testing.assert_allclose(left[numbers], right[numbers], rtol=1e-9)
        if table == "orders":
            assert left["status"].tolist() == right["status"].tolist()
            assert left["reason"].tolist() == right["reason"].tolist()


@pytest.mark.parametrize("broker", BROKERS.values(), ids=BROKERS.keys())
@pytest.mark.parametrize(("strategy", "params"), BUILT_IN, ids=[s.__name__ for s, _ in BUILT_IN])
def test_the_ledger_engine_keeps_the_account_that_backtrader_keeps(
    strategy: type, params: dict[str, Any], broker: BrokerSection
) -> None:
    """
    Every shipped strategy trades the same targets and earns the same money with either engine.
    """
    replayed, kept = both(strategy, params, broker)

    assert len(replayed.fills) > 0
    same(replayed, kept)


def test_every_shipped_strategy_plans_ahead() -> None:
    """
    None of them is asked bar by bar: a sweep and the ledger engine compute them in columns.
    """
    one = ReplayMarket(wild_market())

    assert [True] * 7 == [ledger_engine.can_plan(strategy, one) for strategy, _ in BUILT_IN]


class Asked(LongShort):
    """Looks at everything a strategy may look at, has a memory and an indicator, and no plan."""

    params = (("patience", 3),)

    def __init__(self) -> None:
        super().__init__()
        self.mean = bt.indicators.SMA(self.data.close, period=1)
        self.waited: list[float] = []

    def target(self, signal: Signal | None, market: MarketView) -> float | None:
        """Take the signal's side with what it sees as size, every few bars."""
        self.waited.append(market.equity + market.position * market.close)
        assert self.broker.getvalue() == market.equity
        assert market.position == self.position.size
        if signal is None or len(self) % self.p.patience or self.mean[0] != self.data.close[0]:
            return None
        drift = market.close / market.past_close(24) - 1.0
        return float(signal.side) * 0.5 + float(np.clip(drift + market.current_exposure, -0.4, 0.4))


class Decides(SignalStrategy):
    """Overrides ``next`` and aims at quantities itself, sometimes twice at one close."""

    def next(self) -> None:
        """Turn every tenth bar."""
        if len(self) % 10 == 0:
            self.order_target_size(target=1.0)
            self.order_target_size(target=-3.0 if len(self) % 20 else 2.0)


@pytest.mark.parametrize("broker", BROKERS.values(), ids=BROKERS.keys())
@pytest.mark.parametrize("strategy", [Asked, Decides])
def test_a_strategy_without_a_plan_is_asked_at_each_close(
    strategy: type, broker: BrokerSection
) -> None:
    """
    It sees the compiled account's equity and position, and its targets come to the same book.
    """
    replayed, kept = both(strategy, {}, broker)

    assert len(kept.fills) > 50
    if strategy is Asked:
        same(replayed, kept)
    else:  # the broker lists replaced targets too
        worst, finding = compare(replayed, kept)
        assert finding is None
        assert worst <= 1e-9


def test_an_heir_of_a_planning_strategy_is_asked() -> None:
    """
    A subclass that changes ``target`` does not trade its parent's plan.
    """

    class Contrary(LongShort):
        def target(self, signal: Signal | None, market: MarketView) -> float | None:
            wanted = super().target(signal, market)
            return None if wanted is None else -wanted

    replayed, kept = both(Contrary, {}, BROKERS["isolated"])

    same(replayed, kept)


# ── what is refused ──────────────────────────────────────────────────────────────────────────────


class Buys(SignalStrategy):
    """Places an order of its own."""

    def next(self) -> None:
        """Buy."""
        self.buy(size=1.0)


class Listens(LongShort):
    """Wants to hear of its orders."""

    def notify_order(self, order: Any) -> None:
        """Hear."""


class Hides(SignalStrategy):
    """Places an order where no reader of the source finds it."""

    def next(self) -> None:
        """Buy by another name."""
        getattr(self, "b" + "uy")(size=1.0)


@pytest.mark.parametrize(
    ("strategy", "settings", "contracts", "said"),
    [
        (Buys, {}, 1, "self.buy in Buys"),
        (Listens, {}, 1, "listens to them (notify_order)"),
        (bt.Strategy, {}, 1, "no SignalStrategy"),
        (LongShort, {"cheat_on_open": True}, 1, "fills at the next open only"),
        (LongShort, {"slippage": {"kind": "mine:Slip"}}, 1, "does not know the slippage model"),
        (LongShort, {}, 2, "one contract, not of 2"),
    ],
)
def test_what_the_ledger_cannot_keep_is_refused_by_name(
    strategy: type, settings: dict[str, Any], contracts: int, said: str
) -> None:
    """
    Before anything is computed it is said what stands in the way.
    """
    with pytest.raises(ConfigError) as refused:
        ledger_engine.refuse(strategy, account(**settings), contracts)

    assert said in str(refused.value)


def test_an_order_that_slipped_through_is_refused_when_it_is_placed() -> None:
    """
    The ledger's broker takes targets only.
    """
    with pytest.raises(UsageError, match="trades targets only"):
        both(Hides, {}, BROKERS["isolated"])


def test_a_plan_that_looks_ahead_is_found() -> None:
    """
    A plan is made again without the bars after a cut; wants before the cut must not change.
    """

    class Knows(SignalStrategy):
        @classmethod
        def plan(cls, p: Any, past: History) -> Any:
            return np.append(np.sign(np.diff(past.close)), 0.0) * p.exposure

    tape = wild_market()
    with pytest.raises(LookAheadError, match="looks ahead"):
        ledger_engine.replay([ReplayMarket(tape)], Knows, {}, account())


# ── the columns a plan is made of ────────────────────────────────────────────────────────────────


def test_columns_hold_what_a_market_view_shows() -> None:
    """
    Signal, funding, closes and volatility at each close are, bit by bit, what ``target`` is shown.
    """
    seen: list[tuple[float, ...]] = []

    class Looks(SignalStrategy):
        def target(self, signal: Signal | None, market: MarketView) -> float | None:
            shown = (market.funding_rate, market.hours_to_funding)
            seen.append(
                (
                    np.nan if signal is None else float(signal.side),
                    np.nan if signal is None else signal.strength,
                    market.close,
                    *(np.nan if value is None else value for value in shown),
                    market.past_volatility(24),
                )
            )
            return None

    tape = wild_market()
    signals = signals_on(tape)
    replay([ReplayMarket(tape, signals)], Looks, {}, account(), start=tape.bars.close_time[FIRST])
    past = History.of(tape, FIRST, BARS, signals)

    columns = (past.side, past.strength, past.close, past.funding_rate, past.hours_to_funding,
               past.past_volatility(24))  # fmt: skip
    np.testing.assert_array_equal(np.array(seen), np.array(columns).T)


def test_parameters_have_the_strategys_defaults() -> None:
    """
    A plan sees declared defaults where the configuration says nothing, and its words where it does.
    """
    tape = wild_market()
    past = History.of(tape, FIRST, BARS, signals_on(tape))
    plan, sizing = ledger_engine.planned(LongShort, {"rebalance_band": 0.3}, past)

    assert declared_params(LongShort)["exposure"] == np.nanmax(plan.if_flat)
    assert (1.0, 0.3) == tuple(sizing)


def test_a_history_ends_with_its_last_decision() -> None:
    """
    Neither a bar nor a settlement after it is in the columns' market.
    """
    tape = wild_market()
    past = History.of(tape, FIRST, 900, None).until(100)

    assert FIRST + 100 == len(past.market.bars)
    assert to_ns(past.market.funding.settle_time)[-1] <= to_ns(
        tape.bars.close_time[FIRST + 99] + pd.Timedelta("30s")
    )
