"""The other engine: the compiled ledger keeps the account, not Backtrader's broker.

Same signals, same strategies, same account to 1e-9 of equity. A strategy that declares a ``plan``
is computed in columns and replayed in one compiled walk. Any other is asked bar by bar, as ever,
but its targets are all that reaches the account: it may look at whatever it likes and must not
place orders of its own (``refuse``).
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from engine.bridge import bt
from engine.feed import PerpFeed
from engine.history import History, Params, plans_ahead
from engine.plugins import declared_params
from engine.replay import ReplayMarket, fewer_collections, replayed_bars
from engine.strategy import SignalStrategy, share_of
from perpwalk import compiled_account as kernel
from perpwalk.config import BrokerSection
from perpwalk.errors import ConfigError, LookAheadError, UsageError
from perpwalk.ledger import Ledger
from perpwalk.perp import LotStep
from perpwalk.plans import Plan, Sizing, as_plan
from perpwalk.recompute import Course, recompute_plan, rules_of, tiers_of
from perpwalk.signals import PrecomputedSignals

_ORDERS = frozenset(
    "buy sell close cancel buy_bracket sell_bracket".split()  # noqa: SIM905 - reads as a list
)
_LISTENERS = ("notify_order", "notify_trade", "notify_cashvalue", "notify_fund", "notify_store")
_CUTS = (0.25, 0.5, 0.9)  # shares of a plan that are planned again without what comes after


# ── what it cannot do ────────────────────────────────────────────────────────────────────────────


def refuse(
    strategy: type, broker: BrokerSection, contracts: int = 1, *, intrabar: bool = False
) -> None:
    """Say why a run cannot be kept by the ledger; nothing where it can.

    Raises
    ------
    ConfigError
        There are several contracts, the account meets finer bars, orders fill at the open they are
        decided on, the slippage model is the user's own, or the strategy places, or listens to,
        orders of its own.
    """

    def no(why: str, key: str) -> NoReturn:
        raise ConfigError(f"the ledger engine {why}; use --engine backtrader", key=key)

    if contracts > 1:
        no(f"keeps the account of one contract, not of {contracts}", "markets")
    if intrabar:
        no("meets the bars it decides on, and no finer ones", "market.intrabar")
    if broker.cheat_on_open:
        no("fills at the next open only", "broker.cheat_on_open")
    rules_of(broker)
    name = strategy.__name__
    if not issubclass(strategy, SignalStrategy):
        no(f"trades targets only, and {name} is no SignalStrategy", "strategy.name")
    heard = [n for n in _LISTENERS if getattr(strategy, n) is not getattr(bt.Strategy, n)]
    if heard:
        no(f"makes no order objects, and {name} listens to them ({heard[0]})", "strategy.name")
    placed = next(_orders_placed(strategy), None)
    if placed is not None:
        no(f"trades targets only, and {name} places other orders ({placed})", "strategy.name")


def _orders_placed(strategy: type) -> Iterator[str]:
    """Yield the orders that the strategy's own classes place: ``self.buy(…)`` and its like."""
    for own in strategy.__mro__:
        if own is SignalStrategy:
            return
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(own)))
        except (OSError, TypeError, SyntaxError):
            continue  # no source at hand: the broker refuses when it happens
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="self"), attr=called)) if (
                    called in _ORDERS
                ):
                    yield f"self.{called} in {own.__name__}"


# ── replaying ────────────────────────────────────────────────────────────────────────────────────


def replay(
    markets: Sequence[ReplayMarket],
    strategy: type,
    params: Mapping[str, Any],
    broker: BrokerSection,
    *,
    start: pd.Timestamp | None = None,
    end: pd.Timestamp | None = None,
    on_bar: Callable[[int, int], None] | None = None,
) -> Ledger:
    """Replay one contract and return its book: as ``engine.replay.replay``, but compiled.

    Raises
    ------
    UserError
        The run cannot be kept by the ledger (``refuse``), or there is no bar.
    """
    finer = any(one.market.inside is not None for one in markets)
    refuse(strategy, broker, len(markets), intrabar=finer)
    one = markets[0]
    first, stop = replayed_bars(one.market, start, end)
    if can_plan(strategy, one):
        history = History.of(one.market, first, stop, _batched(one))
        plan, sizing = planned(strategy, params, history)
        return recompute_plan(one.market, plan, sizing, broker, start=first, end=stop)
    return _asked(one, first, stop, strategy, params, broker, on_bar)


def can_plan(strategy: type, one: ReplayMarket) -> bool:
    """Say whether the strategy's decisions can be computed in columns."""
    batched = one.signals is None or isinstance(one.signals, PrecomputedSignals)
    own = strategy.next is SignalStrategy.next and strategy.aim is SignalStrategy.aim  # type: ignore[attr-defined]
    return batched and own and plans_ahead(strategy)


def _batched(one: ReplayMarket) -> PrecomputedSignals | None:
    return one.signals if isinstance(one.signals, PrecomputedSignals) else None


def planned(strategy: type, params: Mapping[str, Any], history: History) -> tuple[Plan, Sizing]:
    """Return a strategy's plan and sizing, the plan held to the past.

    Raises
    ------
    LookAheadError
        What the plan wants at a close changes when the bars after it are cut off.
    """
    plan = plan_of(strategy, params, history)
    for share in _CUTS:
        rows = int(share * len(history))
        if rows > 0:
            _hold_to_past(plan, plan_of(strategy, params, history.until(rows)), strategy)
    return plan, sizing_of(strategy, params)


def plan_of(strategy: type, params: Mapping[str, Any], history: History) -> Plan:
    """Return a strategy's plan as it states it."""
    wants = strategy.plan(_params(strategy, params), history)  # type: ignore[attr-defined]
    return as_plan(wants, len(history))


def sizing_of(strategy: type, params: Mapping[str, Any]) -> Sizing:
    """Return how a strategy's exposures become targets, of one contract."""
    p = _params(strategy, params)
    return Sizing(share=share_of(p.share, 1), band=float(p.rebalance_band))


def _params(strategy: type, params: Mapping[str, Any]) -> Any:
    return Params(declared_params(strategy) | dict(params))


def _hold_to_past(whole: Plan, cut: Plan, strategy: type) -> None:
    for all_rows, early in zip(whole, cut, strict=True):
        apart = ~((all_rows[: len(early)] == early) | np.isnan(all_rows[: len(early)] + early))
        apart |= np.isnan(all_rows[: len(early)]) != np.isnan(early)
        if apart.any():
            raise LookAheadError(
                f"{strategy.__name__}.plan looks ahead: what it wants at decision "
                f"{int(np.argmax(apart))} changes when the bars after decision {len(early)} are "
                "cut off; row t may depend on rows up to t only"
            )


# ── asking bar by bar ────────────────────────────────────────────────────────────────────────────


def _asked(
    one: ReplayMarket,
    first: int,
    stop: int,
    strategy: type,
    params: Mapping[str, Any],
    broker: BrokerSection,
    on_bar: Callable[[int, int], None] | None,
) -> Ledger:
    feed = PerpFeed(one.market, first, stop, signals=one.signals)
    account = LedgerBroker(broker, feed, on_bar)
    loop = _Loop(stdstats=False, runonce=True, preload=True)
    loop.setbroker(account)
    loop.adddata(feed)
    loop.addstrategy(strategy, **params)
    with fewer_collections():
        loop.run()
    return account.book()


class _Loop(bt.Cerebro):
    """Backtrader's own set-up of strategy and indicators, and a loop that does nothing else."""

    def _runonce(self, runstrats: Sequence[Any]) -> None:
        strategy, feed = runstrats[0], self.datas[0]
        strategy._once()
        strategy.reset()
        for day in feed._days:
            feed.advance()
            self._broker.next()
            strategy._oncepost(day)


@dataclasses.dataclass(eq=False, slots=True)
class _Held:
    """What a ``MarketView`` asks of a holding."""

    step: LotStep
    quantity: float = 0.0


class LedgerBroker(bt.BrokerBase):
    """A broker that takes targets only, and lets the compiled ledger keep the account.

    Parameters
    ----------
    section
        The account's rules in numbers.
    feed
        The feed that can be traded.
    on_bar
        Called after each bar with the number of bars done and of all.
    """

    def __init__(
        self,
        section: BrokerSection,
        feed: PerpFeed,
        on_bar: Callable[[int, int], None] | None = None,
    ) -> None:
        super().__init__()
        section = section.of(feed.bars.symbol)
        self._feed = feed
        self._on_bar = on_bar
        self._rules, self._tiers = rules_of(section), tiers_of(section)
        self._course = Course.of(feed.market, feed.first, feed.first + len(feed.bars))
        self._account = kernel.open_account(self._rules)
        self._book = self._course.empty_book(self._rules, len(feed.bars))
        self._wanted = np.full(len(feed.bars), np.nan)
        self._position = bt.Position()
        self._bar, self._target = -1, np.nan
        self.holding = _Held(LotStep(section.lot_size))
        self.closes: list[float] = feed.bars.close.tolist()
        self.symbol = feed.bars.symbol
        self.startingcash = self.equity = self.cash = section.cash
        self.is_bankrupt = False

    def next(self) -> None:
        """Take the account through the bar that just closed."""
        self._bar += 1
        self._step()
        account = self._account
        self.holding.quantity = float(account[kernel.QUANTITY])
        self.cash = float(account[kernel.CASH])
        self.equity = float(self._book.bars[kernel.EQUITY, self._bar])
        self.is_bankrupt = account[kernel.DEAD] == 1.0
        self._position.size = self.holding.quantity
        self._position.price = float(account[kernel.ENTRY])
        if self._on_bar is not None:
            self._on_bar(self._bar + 1, len(self.closes))

    def _step(self) -> None:
        kernel.step(
            self._bar, self._target, self._course.tape, self._rules, self._tiers, self._account,
            self._book,
        )  # fmt: skip
        self._target = np.nan

    def book(self) -> Ledger:
        """Return the book of the replay."""
        self._bar += 1
        self._step()
        ledger = self._course.ledger(self._rules, self._book)
        return self._course.with_targets(ledger, self._wanted)

    # ── what strategies ask ──────────────────────────────────────────────────────────────────────

    def aim(self, owner: Any, data: Any, quantity: float) -> None:  # noqa: ARG002
        """Take a target (signed quantity); of several at one close the last counts."""
        if not self.is_bankrupt:
            self._target = self._wanted[self._bar] = self.holding.step.quantity(
                self.holding.step.count(quantity)
            )

    def _desk(self, data: Any) -> LedgerBroker:
        del data  # there is one
        return self

    def getposition(self, data: Any) -> Any:
        """Return the position as Backtrader shows it."""
        del data
        return self._position

    def getcash(self) -> float:
        """Return cash."""
        return self.cash

    get_cash = getcash

    def getvalue(self, datas: Any = None) -> float:
        """Return equity, or with ``datas`` the signed notional of the position."""
        return self.equity if datas is None else self.holding.quantity * self.closes[self._bar]

    get_value = getvalue

    def get_notification(self) -> None:
        """Return nothing: there are no orders to tell of."""

    def submit(self, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG002
        """Refuse."""
        raise UsageError(
            "the ledger engine trades targets only, and the strategy placed another order; use "
            "aim(), or run it with --engine backtrader"
        )

    buy = sell = cancel = add_cash = submit
