"""The second ledger: the account computed again, compiled, from the specification alone.

``recompute`` turns bars, settlements and target positions into the same ``Ledger`` that the
Backtrader replay hands on; ``compare`` (from ``perpwalk.reconcile``) holds the two against each
other. The rules are those of
``docs/account.md``; the arithmetic is in ``perpwalk.compiled_account``; no code is shared with the
broker, so that an error has to be made twice to go unseen.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd

from perpwalk import compiled_account as kernel
from perpwalk.config import BrokerSection, SlippageSection
from perpwalk.domain import (
    BarFrame,
    BoolArray,
    FloatArray,
    IntArray,
    Market,
    from_ns,
    to_ns,
)
from perpwalk.errors import ConfigError, DataError, UsageError
from perpwalk.ledger import (
    EQUITY_COLUMNS,
    FILL_COLUMNS,
    FUNDING_COLUMNS,
    ORDER_COLUMNS,
    TARGET_COLUMNS,
    Ledger,
)
from perpwalk.reconcile import compare

__all__ = ["compare", "recompute", "recompute_plan", "rules_of", "target_table"]

NO_PLAN = kernel.Plan(np.empty(0), np.empty(0), np.empty(0))
AS_IT_IS = kernel.Sizing(share=1.0, band=0.0)
_MINUTE = 60_000_000_000  # nanoseconds


def target_table(market: Market, targets: Mapping[int, float]) -> pd.DataFrame:
    """Return a table of targets, columns ``TARGET_COLUMNS``, from ``{bar: quantity}``.

    Parameters
    ----------
    market
        Where the bars are.
    targets
        Wanted signed quantity (base currency) by the row of the bar at whose close it is decided.
    """
    bars = np.fromiter(targets.keys(), dtype=np.int64, count=len(targets))
    quantity = np.fromiter(targets.values(), dtype=np.float64, count=len(targets))
    columns = {
        "close_time": market.bars.close_time[bars],
        "symbol": _repeated(market.symbol, len(bars)),
        "bar": bars,
        "quantity": quantity,
    }
    return pd.DataFrame(columns, columns=list(TARGET_COLUMNS))


def recompute(
    market: Market,
    targets: pd.DataFrame,
    broker: BrokerSection,
    *,
    start: int = 0,
    end: int | None = None,
) -> Ledger:
    """Compute the account of one contract from target positions.

    Parameters
    ----------
    market
        n bars, their settlements and, if any, mark bars on the same grid.
    targets
        Columns ``bar`` (row of ``market.bars`` at whose close the target was decided) and
        ``quantity`` (signed, base currency); other columns are ignored. Of several targets at one
        bar the last counts. ``target_table`` makes one from a dict.
    broker
        Settings of the account.
    start, end
        Rows of the first bar and past the last bar of the replay; all bars by default.

    Returns
    -------
    Ledger
        ``bar`` columns count rows of ``market.bars``. Market fills are stamped with their bar's
        open, forced closes with its close; ``order_id`` is -1 for forced closes.

    Raises
    ------
    ConfigError
        The slippage model is one of the user's own, which cannot be compiled.
    DataError
        The mark bars do not lie on the bars' own grid.
    UsageError
        ``start`` and ``end`` leave no bar, or a target is not finite or outside them.
    """
    course = Course.of(market, start, end)
    wanted = _wanted(targets, course.start, course.last)
    ledger, _ = course.kept(broker, wanted, NO_PLAN, AS_IT_IS)
    return dataclasses.replace(ledger, targets=targets)


def recompute_plan(
    market: Market,
    plan: kernel.Plan,
    sizing: kernel.Sizing,
    broker: BrokerSection,
    *,
    start: int = 0,
    end: int | None = None,
) -> Ledger:
    """Compute the account of one contract from wanted exposures, sized on the way.

    Parameters
    ----------
    plan
        Wanted exposure at each close of the replay, by the side held then (``perpwalk.plans``).
    sizing
        What turns an exposure into a target.

    Returns
    -------
    Ledger
        As ``recompute`` returns it; ``targets`` are those that the exposures came to.
    """
    course = Course.of(market, start, end)
    return course.with_targets(
        *course.kept(broker, np.full(len(course.bars), np.nan), plan, sizing)
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Course:
    """What the market did between two rows, as the compiled arithmetic reads it."""

    market: Market
    start: int
    last: int
    bars: BarFrame
    stamps: Stamps
    tape: kernel.Tape

    @classmethod
    def of(cls, market: Market, start: int = 0, end: int | None = None) -> Course:
        """Lay out bars ``start`` to ``end`` of a market; all by default."""
        last = len(market.bars) if end is None else end
        if not 0 <= start < last <= len(market.bars):
            raise UsageError(
                f"bars {start} to {last} of {len(market.bars)} leave nothing to recompute; "
                "give 0 <= start < end <= number of bars"
            )
        bars = market.bars.rows(start, last)
        stamps = Stamps(market, bars, start, last)
        return cls(market, start, last, bars, stamps, tape_of(market, bars, stamps, start, last))

    def kept(
        self, broker: BrokerSection, wanted: FloatArray, plan: kernel.Plan, sizing: kernel.Sizing
    ) -> tuple[Ledger, FloatArray]:
        """Walk it and keep the book; return the ledger (without targets) and the targets."""
        broker = broker.of(self.market.symbol)
        rules = rules_of(broker)
        decisions = len(wanted) if len(plan.if_flat) else np.count_nonzero(~np.isnan(wanted))
        book = self.empty_book(rules, int(decisions))
        kernel.replay(
            self.tape, rules, tiers_of(broker), wanted, plan, sizing,
            kernel.open_account(rules), book,
        )  # fmt: skip
        return self.ledger(rules, book), wanted

    def empty_book(self, rules: kernel.Rules, orders: int) -> kernel.Book:
        """Return a book with room for all that can come of so many orders."""
        bars = len(self.bars)
        # A forced close takes a fill before it. An order fills once, or in parts in every bar.
        fills = bars if rules.volume_share > 0.0 else orders
        of_bars, of_fills, of_orders, paid = _cut(
            (kernel.BAR_COLUMNS, bars), (kernel.FILL_COLUMNS, 2 * fills),
            (kernel.ORDER_COLUMNS, orders), (2, len(self.stamps.times)),
        )  # fmt: skip
        counts = np.array([0, 0, -1], dtype=np.int64)
        return kernel.Book(of_bars, of_fills, of_orders, paid, counts)

    def ledger(self, rules: kernel.Rules, book: kernel.Book) -> Ledger:
        """Return a written book as tables, without targets."""
        tables = _Tables(self.market, self.bars, rules, book, self.stamps, self.start)
        return tables.ledger()

    def with_targets(self, ledger: Ledger, wanted: FloatArray) -> Ledger:
        """Return the ledger with the targets decided, NaN where none was."""
        decided = np.flatnonzero(~np.isnan(wanted))
        rows, quantities = (decided + self.start).tolist(), wanted[decided].tolist()
        targets = target_table(self.market, dict(zip(rows, quantities, strict=True)))
        return dataclasses.replace(ledger, targets=targets)


def _cut(*shapes: tuple[int, int]) -> list[FloatArray]:
    """Return arrays cut from one piece of memory: getting it anew takes longer than filling it."""
    ends = np.cumsum([rows * columns for rows, columns in shapes])
    pieces = np.split(np.empty(ends[-1]), ends[:-1])
    return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]


def rules_of(broker: BrokerSection) -> kernel.Rules:
    """Return the account's settings as plain numbers for the compiled arithmetic.

    Raises
    ------
    ConfigError
        The slippage model is not one of the built-in kinds.
    """
    slippage = broker.slippage
    # A lot of 0.001 is 1/1000 exactly: lots * 1 / 1000 is then the decimal itself.
    lot = Fraction(repr(broker.lot_size)) if broker.lot_size > 0 else Fraction(1)
    return kernel.Rules(
        initial_cash=broker.cash,
        leverage=broker.leverage,
        cross=broker.margin == "cross",
        taker_fee=broker.taker_fee,
        liquidation_fee=broker.liquidation_fee,
        tick=broker.tick_size,
        whole=broker.lot_size > 0,
        lot_top=float(lot.numerator),
        lot_bottom=float(lot.denominator),
        min_notional=broker.min_notional,
        volume_share=0.0 if broker.volume_share is None else broker.volume_share,
        slippage_kind=_slippage_kind(slippage),
        bps=slippage.bps,
        spread_bps=slippage.spread_bps,
        range_share=slippage.range_share,
        impact=slippage.impact,
    )


def tiers_of(broker: BrokerSection) -> FloatArray:
    """Return the maintenance table, ascending; columns as in ``perpwalk.compiled_account``."""
    rows = [
        (tier.notional_floor, tier.maintenance_rate, tier.maintenance_amount, tier.max_leverage)
        for tier in sorted(broker.tiers, key=lambda tier: tier.notional_floor)
    ]
    return np.array(rows, dtype=np.float64)


def _slippage_kind(slippage: SlippageSection) -> int:
    if slippage.kind not in kernel.SLIPPAGE_KINDS:
        raise ConfigError(
            f"the compiled ledger does not know the slippage model '{slippage.kind}'; "
            f"it knows {', '.join(kernel.SLIPPAGE_KINDS)}",
            key="broker.slippage.kind",
        )
    return kernel.SLIPPAGE_KINDS.index(slippage.kind)


# ── in: market and targets as plain arrays ───────────────────────────────────────────────────────


class Stamps:
    """The settlements within the replay, rounded to the minute, each with its bar.

    ``bar`` counts from the first bar of the replay; ``in_gap`` marks stamps that lie before their
    bar, where bars are missing.
    """

    def __init__(self, market: Market, bars: BarFrame, start: int, last: int) -> None:
        funding = market.funding
        opens = to_ns(bars.open_time)
        closes = opens + to_ns(bars.interval)
        times = (to_ns(funding.settle_time) + _MINUTE // 2) // _MINUTE * _MINUTE
        first, past = np.searchsorted(times, [opens[0], closes[-1]], side="right")
        inside: slice | IntArray = slice(int(first), int(past))
        again = times[1:] == times[:-1]
        if again.any():  # of two records that round to one stamp the first counts
            kept = np.flatnonzero(np.concatenate(([True], ~again)))
            inside = kept[(kept >= first) & (kept < past)]
        self.times: IntArray = times[inside]
        self.rate: FloatArray = funding.rate[inside]
        self.assumed: BoolArray = funding.assumed[inside]
        self.bar: IntArray = np.searchsorted(closes, self.times, side="left")
        self.in_gap: BoolArray = self.times <= opens[self.bar]
        own = funding.mark_price[inside]
        stand_in = bars.close if market.mark is None else market.mark.rows(start, last).close
        known = np.isfinite(own)
        self.mark: FloatArray = np.where(known, own, stand_in[self.bar - self.in_gap])
        self.mark_known: BoolArray = known | (market.mark is not None)


def tape_of(market: Market, bars: BarFrame, stamps: Stamps, start: int, last: int) -> kernel.Tape:
    n = len(bars)
    worst = bars
    if market.mark is not None:
        if not market.mark.open_time.equals(market.bars.open_time):
            raise DataError("the mark bars do not lie on the bars' own grid; align them first")
        worst = market.mark.rows(start, last)
    per_bar = np.bincount(stamps.bar, minlength=n)
    gap_from = np.concatenate(([0], np.cumsum(per_bar))).astype(np.int64)
    bar_from = gap_from[:-1] + np.bincount(stamps.bar[stamps.in_gap], minlength=n)
    return kernel.Tape(
        open=bars.open,
        high=bars.high,
        low=bars.low,
        close=bars.close,
        volume=bars.volume,
        tradable=~bars.filled & (bars.volume > 0),
        worst_low=worst.low,
        worst_high=worst.high,
        gap_from=gap_from,
        bar_from=bar_from,
        rate=stamps.rate,
        mark=stamps.mark,
    )


def _wanted(targets: pd.DataFrame, start: int, last: int) -> FloatArray:
    """Return the target decided at each bar of the replay, NaN where there is none."""
    bar = targets["bar"].to_numpy(dtype=np.int64)
    quantity = targets["quantity"].to_numpy(dtype=np.float64)
    wrong = (bar < start) | (bar >= last) | ~np.isfinite(quantity)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UsageError(
            f"target {row} (bar {bar[row]}, quantity {quantity[row]}) is not a finite quantity "
            f"within bars {start} to {last}"
        )
    wanted = np.full(last - start, np.nan)
    wanted[bar - start] = quantity
    return wanted


# ── out: the ledger's tables ─────────────────────────────────────────────────────────────────────


class _Tables:
    """Puts names and times on the columns that the compiled arithmetic wrote."""

    def __init__(
        self,
        market: Market,
        bars: BarFrame,
        rules: kernel.Rules,
        book: kernel.Book,
        stamps: Stamps,
        start: int,
    ) -> None:
        self.symbol = market.symbol
        self.rules = rules
        self.book = book
        self.stamps = stamps
        self.start = start
        self.open_time = bars.open_time
        self.close_time = bars.close_time

    def ledger(self) -> Ledger:
        bankrupt = int(self.book.counts[kernel.N_BANKRUPT])
        return Ledger(
            initial_cash=self.rules.initial_cash,
            equity=self.equity(),
            fills=self.fills(),
            orders=self.orders(),
            funding=self.funding(),
            bankrupt_at=None if bankrupt < 0 else self.close_time[bankrupt],
        )

    def equity(self) -> pd.DataFrame:
        frame = pd.DataFrame(self.book.bars.T, columns=_labels(EQUITY_COLUMNS[1:]), copy=False)
        frame.insert(0, "close_time", self.close_time)
        return frame

    def fills(self) -> pd.DataFrame:
        rows = self.book.fills[:, : self.book.counts[kernel.N_FILLS]]
        bar, why = whole(rows[kernel.F_BAR]), whole(rows[kernel.F_WHY])
        columns = {
            "order_id": whole(rows[kernel.F_ORDER]),
            "symbol": _repeated(self.symbol, len(bar)),
            "time": self._times(bar, at_open=why == kernel.NO_REASON),
            "bar": bar + self.start,
            "quantity": self._quantity(rows[kernel.F_UNITS]),
            "price": rows[kernel.F_PRICE],
            "reference_price": rows[kernel.F_REFERENCE],
            "fee": rows[kernel.F_FEE],
            "slippage": rows[kernel.F_SLIP],
            "liquidity": _repeated("taker", len(bar)),
            "reason": named(why, kernel.REASONS),
        }
        return make_table(columns, FILL_COLUMNS)

    def orders(self) -> pd.DataFrame:
        rows = self.book.orders[:, : self.book.counts[kernel.N_ORDERS]]
        bar, end = (
            whole(rows[kernel.ORDER_BAR - kernel.RECORD]),
            whole(rows[kernel.ORDER_END - kernel.RECORD]),
        )
        status, filled = (
            whole(rows[kernel.ORDER_STATUS - kernel.RECORD]),
            rows[kernel.ORDER_FILLED - kernel.RECORD],
        )
        # Fills and rejections happen at an open, cancellations at a close.
        at_open = (status == kernel.DONE) | (status == kernel.REDUCED) | (status == kernel.REJECTED)
        none = np.full(len(bar), np.nan)
        columns = {
            "order_id": np.arange(len(bar)),
            "symbol": _repeated(self.symbol, len(bar)),
            "created_at": self.close_time.take(bar),
            "kind": _repeated("market", len(bar)),
            "quantity": self._quantity(rows[kernel.ORDER_UNITS - kernel.RECORD]),
            "limit_price": none,
            "stop_price": none,
            "status": named(status, kernel.STATUSES),
            "reason": named(whole(rows[kernel.ORDER_WHY - kernel.RECORD]), kernel.REASONS),
            "filled_quantity": self._quantity(filled),
            "average_price": np.divide(
                rows[kernel.ORDER_VALUE - kernel.RECORD], filled, out=none.copy(), where=filled != 0
            ),
            "fee": rows[kernel.ORDER_FEE - kernel.RECORD],
            "slippage": rows[kernel.ORDER_SLIP - kernel.RECORD],
            "finished_at": self._times(end, at_open=at_open, known=end >= 0),
        }
        return make_table(columns, ORDER_COLUMNS)

    def funding(self) -> pd.DataFrame:
        stamps = self.stamps
        columns = {
            "settle_time": from_ns(stamps.times),
            "symbol": _repeated(self.symbol, len(stamps.times)),
            "position": self.book.paid[kernel.PAID_POSITION],
            "mark_price": stamps.mark,
            "mark_known": stamps.mark_known,
            "rate": stamps.rate,
            "payment": self.book.paid[kernel.PAID],
            "assumed": stamps.assumed,
        }
        return make_table(columns, FUNDING_COLUMNS)

    def _times(
        self, bar: IntArray, *, at_open: BoolArray, known: BoolArray | bool = True
    ) -> pd.DatetimeIndex:
        """Return each bar's open where ``at_open``, else its close; NaT where not ``known``."""
        times = np.where(at_open, to_ns(self.open_time)[bar], to_ns(self.close_time)[bar])
        return from_ns(np.where(known, times, pd.NaT.value))

    def _quantity(self, units: FloatArray) -> FloatArray:
        quantity: FloatArray = units * self.rules.lot_top / self.rules.lot_bottom
        return quantity


def make_table(columns: Mapping[str, Any], names: Sequence[str]) -> pd.DataFrame:
    """Return the columns in the fixed order, without gathering them into blocks: they are ours."""
    return pd.DataFrame({name: columns[name] for name in names}, copy=False)


def whole(column: FloatArray) -> IntArray:
    return column.astype(np.int64)


def _repeated(text: str, times: int) -> Any:
    """Return a column of one text; as a category, a long one costs nothing."""
    return named(np.zeros(times, dtype=np.int8), (text,))


def named(codes: IntArray, names: Sequence[str]) -> Any:
    """Return a column of texts from their numbers."""
    return pd.Categorical.from_codes(codes, dtype=_categories(tuple(names)), validate=False)


@functools.lru_cache(maxsize=1024)
def _categories(names: tuple[str, ...]) -> pd.CategoricalDtype:
    return pd.CategoricalDtype(_labels(names))


@functools.lru_cache(maxsize=1024)
def _labels(names: tuple[str, ...]) -> pd.Index:
    return pd.Index(list(names))
