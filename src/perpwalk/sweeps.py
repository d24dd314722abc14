"""Thousands of variants of one decision rule through the compiled account, on all cores.

A variant is a plan (``perpwalk.plans``), a sizing and the settings of an account. ``sweep`` walks
the same bars with each of them; fees, slippage, funding, margins and liquidation are those of
``docs/account.md``, the arithmetic is that of every other replay. A pure function: it keeps no
record of what was tried. ``perpwalk sweep`` does.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from perpwalk import compiled_account as kernel
from perpwalk import compiled_returns as curve
from perpwalk import returns as growth
from perpwalk.config import BrokerSection
from perpwalk.domain import FloatArray, IntArray, Market, to_ns
from perpwalk.plans import Plan, Sizing
from perpwalk.recompute import Course, rules_of, tiers_of

Keep = Literal["totals", "daily", "equity"]
_DAY_NS = 86_400_000_000_000

# Named as in metrics.csv and meaning the same; then what only a sweep counts.
SWEEP_COLUMNS = (
    "total_return",
    "cagr",
    "volatility",
    "sharpe",
    "max_drawdown",
    "calmar",
    "exposure",
    "turnover",
    "trades",
    "fees",
    "funding",
    "slippage",
    "orders",
    "liquidations",
    "liquidation",
    "bankrupt_at",
)


# What a kept sweep says in every row of the run whose forecasts all its variants trade.
RUN_COLUMNS = ("run_verdict", "run_findings")


@dataclass(frozen=True, eq=False)
class Variant:
    """One thing to try.

    Attributes
    ----------
    plan
        What is wanted at each close; or a function that makes it, called when its turn comes, so
        that thousands of plans need not lie in memory at once.
    sizing
        What turns a wanted exposure into a target.
    broker
        The account.
    """

    plan: Plan | Callable[[], Plan]
    sizing: Sizing
    broker: BrokerSection


@dataclass(frozen=True, eq=False)
class Swept:
    """What became of each variant.

    Attributes
    ----------
    table
        One row per variant in the order given, columns ``SWEEP_COLUMNS``; what is undefined is NaN
        (NaT). ``liquidation`` is what liquidations cost beyond the move of the price.
    daily
        Simple returns per UTC day, shape (variants, days), and the ``days``; None unless kept.
    equity
        Equity at each close, shape (variants, bars); None unless kept.
    """

    table: pd.DataFrame
    days: pd.DatetimeIndex
    daily: FloatArray | None = None
    equity: FloatArray | None = None


def sweep(
    market: Market,
    variants: Sequence[Variant],
    *,
    start: int = 0,
    end: int | None = None,
    keep: Keep = "totals",
    threads: int = 0,
    on_done: Callable[[int], None] | None = None,
) -> Swept:
    """Try every variant on the same bars.

    Parameters
    ----------
    market
        Bars, settlements and, if any, mark bars.
    variants
        What to try.
    start, end
        Rows of the first bar and past the last bar; all by default.
    keep
        ``totals``: one row each. ``daily``: the daily returns too. ``equity``: the curves too,
        8 bytes a bar and variant.
    threads
        How many variants at once; 0 as many as there are cores.
    on_done
        Called with the number of variants done, from any thread.

    Raises
    ------
    ConfigError
        A slippage model is one of the user's own, which cannot be compiled.
    UsageError
        ``start`` and ``end`` leave no bar.
    """
    walk = _Walk(Course.of(market, start, end), len(variants), keep, on_done)
    workers = threads or len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(max_workers=workers) as pool:
        for failed in pool.map(walk.one, range(len(variants)), variants):
            del failed  # consumed so that an error is raised here
    return walk.swept()


@dataclass(frozen=True, eq=False)
class _Lent:
    """Scratch of one thread."""

    equity: FloatArray
    notional: FloatArray
    returns: FloatArray
    paid: FloatArray
    totals: FloatArray
    lanes: FloatArray
    figures: FloatArray

    @classmethod
    def of(cls, bars: int, stamps: int) -> _Lent:
        lanes = (curve.LANE_ROWS, curve.LANES)
        sizes = (bars, bars, bars, (2, stamps), kernel.TOTALS, lanes, curve.FIGURES)
        return cls(*(np.empty(size) for size in sizes))


class _Walk:
    """One course, walked by variant after variant; each thread has scratch of its own."""

    def __init__(
        self, course: Course, variants: int, keep: Keep, on_done: Callable[[int], None] | None
    ) -> None:
        self._course = course
        self._bars = len(course.bars)
        self._per_year = growth.bars_per_year(course.bars.interval)
        self._days_in_all = self._bars * (course.bars.interval / pd.Timedelta(days=1))
        self._last_of_day, self._days = _days(course)
        self._numbers = np.full((variants, len(SWEEP_COLUMNS) - 1), np.nan)
        self._bankrupt_at = np.full(variants, -1, dtype=np.int64)
        self._daily = None if keep == "totals" else np.empty((variants, len(self._days)))
        self._equity = np.empty((variants, self._bars)) if keep == "equity" else None
        self._scratch = threading.local()
        # By identity: the caller's variants keep their accounts alive.
        self._known: dict[int, tuple[kernel.Rules, FloatArray]] = {}
        self._count = threading.Lock()
        self._done, self._on_done = 0, on_done

    def one(self, number: int, variant: Variant) -> None:
        """Walk one variant and write its row."""
        plan = variant.plan() if callable(variant.plan) else variant.plan
        rules, tiers = self._settings(variant.broker)
        lent = self._lent()
        equity = lent.equity
        kernel.tally(
            self._course.tape, rules, tiers, plan, variant.sizing, kernel.open_account(rules),
            lent.paid, equity, lent.notional, lent.totals,
        )  # fmt: skip
        self._numbers[number] = self._row(lent, rules.initial_cash)
        self._bankrupt_at[number] = lent.totals[kernel.BANKRUPT_AT]
        if self._daily is not None:
            ends = np.concatenate(([rules.initial_cash], equity[self._last_of_day]))
            self._daily[number] = growth.equity_returns(ends[0], ends[1:])
        if self._equity is not None:
            self._equity[number] = equity
        if self._on_done is not None:
            with self._count:
                self._done += 1
                self._on_done(self._done)

    def swept(self) -> Swept:
        table = pd.DataFrame(self._numbers, columns=list(SWEEP_COLUMNS[:-1]))
        counts = ["trades", "orders", "liquidations"]
        table[counts] = table[counts].astype("int64")
        closes = self._course.bars.close_time
        died = closes.take(np.maximum(self._bankrupt_at, 0))
        table["bankrupt_at"] = died.where(self._bankrupt_at >= 0)
        return Swept(table, self._days, self._daily, self._equity)

    def _settings(self, broker: BrokerSection) -> tuple[kernel.Rules, FloatArray]:
        """Return an account's settings as numbers, made once of each object."""
        found = self._known.get(id(broker))
        if found is None:
            own = broker.of(self._course.market.symbol)
            found = self._known[id(broker)] = rules_of(own), tiers_of(own)
        return found

    def _lent(self) -> _Lent:
        mine: _Lent | None = getattr(self._scratch, "lent", None)
        if mine is None:
            mine = self._scratch.lent = _Lent.of(self._bars, len(self._course.stamps.times))
        return mine

    def _row(self, lent: _Lent, cash: float) -> list[float]:
        """Return the numbers of ``SWEEP_COLUMNS``, by the definitions of ``perpwalk.returns``."""
        equity, figures, totals = lent.equity, lent.figures, lent.totals
        curve.measure(cash, equity, lent.notional, lent.returns, lent.lanes, figures)
        total = float(equity[-1] / cash - 1)
        grown = growth.cagr(total, self._bars, self._per_year)
        deepest, yearly = float(figures[curve.DRAWDOWN]), math.sqrt(self._per_year)
        found = (
            total,
            grown,
            figures[curve.DEVIATION] * yearly,
            figures[curve.RATIO] * yearly,
            deepest,
            growth.calmar(grown, deepest),
            figures[curve.EXPOSURE],
            totals[kernel.TURNOVER] / self._days_in_all,
            totals[kernel.TRADES],
            totals[kernel.FEES],
            totals[kernel.FUNDINGS],
            totals[kernel.SLIPPAGES],
            totals[kernel.ORDERS],
            totals[kernel.LIQUIDATIONS],
            totals[kernel.LIQUIDATION_COSTS],
        )
        return [np.nan if value is None else value for value in found]


def _days(course: Course) -> tuple[IntArray, pd.DatetimeIndex]:
    """Return the last bar of each UTC day and the days; a close at midnight ends its day.

    A day without a bar takes the last bar before it: nothing is earned on it.
    """
    day = (to_ns(course.bars.close_time) - 1) // _DAY_NS
    every = np.arange(day[0], day[-1] + 1)
    last = np.searchsorted(day, every, side="right") - 1
    return last, pd.DatetimeIndex(pd.to_datetime(every * _DAY_NS, unit="ns"))
