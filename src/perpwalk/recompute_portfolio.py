"""The second ledger for several contracts on one cash.

What ``perpwalk.recompute`` does for one contract; the arithmetic is in
``perpwalk.compiled_portfolio``. Both know only ``docs/account.md``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from perpwalk import compiled_account as kernel
from perpwalk import compiled_portfolio
from perpwalk.compiled_portfolio import FILL_STAMP, FILL_SYMBOL, ORDER_SYMBOL, PAID_TURN, Schedule
from perpwalk.config import BrokerSection
from perpwalk.domain import BarFrame, BoolArray, FloatArray, IntArray, Market, from_ns, to_ns
from perpwalk.errors import UsageError
from perpwalk.ledger import EQUITY_COLUMNS, FILL_COLUMNS, FUNDING_COLUMNS, ORDER_COLUMNS, Ledger
from perpwalk.recompute import Stamps, make_table, named, rules_of, tape_of, tiers_of, whole


def recompute_portfolio(
    markets: Sequence[Market],
    targets: pd.DataFrame,
    broker: BrokerSection,
    *,
    spans: Sequence[range] | None = None,
) -> Ledger:
    """Compute the account of several contracts from target positions.

    Parameters
    ----------
    markets
        In the order in which they act; each symbol once.
    targets
        Columns ``TARGET_COLUMNS``: ``symbol``, ``bar`` (row of that symbol's bars), ``close_time``
        (the decision's stamp, on which some symbol has a bar), ``quantity``; in the order in which
        they were decided.
    spans
        The rows of each market's bars that are replayed; all by default.

    Returns
    -------
    Ledger
        One row of ``equity`` per stamp on which a symbol's bar closes; ``price`` and ``position``
        are the first symbol's.

    Raises
    ------
    ConfigError
        The slippage model cannot be compiled.
    UsageError
        A target's symbol or stamp is not part of the replay, or its quantity is not finite.
    """
    rows = [range(len(one.bars)) for one in markets] if spans is None else list(spans)
    parts = [_Part(one, span) for one, span in zip(markets, rows, strict=True)]
    each = [rules_of(broker.of(part.symbol)) for part in parts]
    rules = each[0]  # of the account: what the contracts have in common
    closes = np.unique(np.concatenate([part.closes for part in parts]))
    schedule = _schedule(parts, closes, targets)
    tape, stamps = _joint_tape(parts), sum(len(part.stamps.times) for part in parts)
    book = kernel.Book(
        bars=np.empty((kernel.BAR_COLUMNS, len(closes))),
        fills=np.empty((kernel.FILL_COLUMNS + 2, 3 * len(tape.close) + len(parts))),
        orders=np.empty((kernel.ORDER_COLUMNS + 1, len(schedule.symbol))),
        paid=np.empty((3, stamps)),
        counts=np.zeros(2, dtype=np.int64),
    )
    accounts = np.stack([kernel.open_account(rules) for _ in parts])
    bankrupt = compiled_portfolio.replay(
        schedule, tape, rules, _facts(each), _tiers(parts, broker), accounts, book
    )
    times = from_ns(closes)
    return Ledger(
        initial_cash=rules.initial_cash,
        equity=_equity(times, book),
        fills=_fills(parts, each, times, book),
        orders=_orders(parts, each, book),
        funding=_funding(parts, book),
        targets=targets,
        bankrupt_at=None if bankrupt < 0 else times[bankrupt],
    )


def _facts(each: Sequence[kernel.Rules]) -> FloatArray:
    rows = [(one.tick, one.whole, one.lot_top, one.lot_bottom, one.min_notional) for one in each]
    return np.array(rows, dtype=np.float64)


def _tiers(parts: Sequence[_Part], broker: BrokerSection) -> FloatArray:
    """Return each contract's maintenance table, shape (S, rows, 4); no notional reaches filling."""
    tables = [tiers_of(broker.of(part.symbol)) for part in parts]
    filled = np.full((len(parts), max(map(len, tables)), tables[0].shape[1]), np.inf)
    for place, table in zip(filled, tables, strict=True):
        place[: len(table)] = table
    return filled


# ── in ───────────────────────────────────────────────────────────────────────────────────────────


class _Part:
    """One contract's share of the replay."""

    def __init__(self, market: Market, span: range) -> None:
        if not 0 <= span.start < span.stop <= len(market.bars):
            raise UsageError(
                f"{market.symbol}: rows {span.start} to {span.stop} of {len(market.bars)} bars "
                "leave nothing to recompute"
            )
        self.symbol = market.symbol
        self.start = span.start
        self.bars: BarFrame = market.bars.rows(span.start, span.stop)
        self.closes: IntArray = to_ns(self.bars.close_time)
        self.stamps = Stamps(market, self.bars, span.start, span.stop)
        self.tape = tape_of(market, self.bars, self.stamps, span.start, span.stop)


def _joint_tape(parts: Sequence[_Part]) -> kernel.Tape:
    """Lay the tapes end to end; settlements are counted on, so that bars still find theirs."""
    before = np.cumsum([0, *(len(part.stamps.times) for part in parts)])
    columns: dict[str, FloatArray | IntArray] = {}
    for name in kernel.Tape._fields:
        pieces = [getattr(part.tape, name) for part in parts]
        if name == "gap_from":
            pieces = [piece[:-1] + past for piece, past in zip(pieces, before, strict=False)]
            pieces.append(before[-1:])
        elif name == "bar_from":
            pieces = [piece + past for piece, past in zip(pieces, before, strict=False)]
        columns[name] = np.ascontiguousarray(np.concatenate(pieces))
    return kernel.Tape(**columns)  # type: ignore[arg-type]


def _schedule(parts: Sequence[_Part], closes: IntArray, targets: pd.DataFrame) -> Schedule:
    row = np.full((len(closes), len(parts)), -1, dtype=np.int64)
    first = np.cumsum([0, *(len(part.closes) for part in parts)])[:-1]
    for s, part in enumerate(parts):
        row[np.searchsorted(closes, part.closes), s] = first[s] + np.arange(len(part.closes))
    at, symbol = _decisions(parts, closes, targets)
    return Schedule(
        row=row,
        first=first.astype(np.int64),
        decided_from=np.searchsorted(at, np.arange(len(closes) + 1)).astype(np.int64),
        symbol=symbol,
        quantity=targets["quantity"].to_numpy(dtype=np.float64),
    )


def _decisions(
    parts: Sequence[_Part], closes: IntArray, targets: pd.DataFrame
) -> tuple[IntArray, IntArray]:
    """Return the stamp (row of ``closes``) and the symbol of each target."""
    places = {part.symbol: s for s, part in enumerate(parts)}
    symbols = targets["symbol"].astype(str)
    stranger = ~symbols.isin(places)
    quantity = targets["quantity"].to_numpy(dtype=np.float64)
    if stranger.any():
        raise UsageError(f"targets name {symbols[stranger].iloc[0]}, which is not replayed")
    decided = to_ns(pd.DatetimeIndex(targets["close_time"]))
    at = np.searchsorted(closes, decided)
    known = at < len(closes)
    wrong = ~known | (closes[np.where(known, at, 0)] != decided) | ~np.isfinite(quantity)
    if wrong.any() or (np.diff(at) < 0).any():
        raise UsageError(
            "targets must be finite quantities, in order of time, each at the close of a bar"
        )
    symbol: IntArray = np.array([places[name] for name in symbols], dtype=np.int64)
    return at.astype(np.int64), symbol


# ── out ──────────────────────────────────────────────────────────────────────────────────────────


def _equity(times: pd.DatetimeIndex, book: kernel.Book) -> pd.DataFrame:
    frame = pd.DataFrame(book.bars.T, columns=list(EQUITY_COLUMNS[1:]))
    frame.insert(0, "close_time", times)
    return frame


def _fills(
    parts: Sequence[_Part],
    each: Sequence[kernel.Rules],
    stamps: pd.DatetimeIndex,
    book: kernel.Book,
) -> pd.DataFrame:
    rows = book.fills[:, : book.counts[0]]
    bar, why, symbol = (whole(rows[column]) for column in (kernel.F_BAR, kernel.F_WHY, FILL_SYMBOL))
    opened = _times(parts, symbol, bar, at_open=np.ones(len(bar), dtype=bool))
    columns = {
        "order_id": whole(rows[kernel.F_ORDER]),
        "symbol": _symbols(parts, symbol),
        # A symbol without a bar now can be closed by force now: later than its last bar.
        "time": opened.where(why == kernel.NO_REASON, stamps[whole(rows[FILL_STAMP])]),
        "bar": bar + np.array([part.start for part in parts])[symbol],
        "quantity": _quantity(rows[kernel.F_UNITS], symbol, each),
        "price": rows[kernel.F_PRICE],
        "reference_price": np.where(
            why == kernel.NO_REASON, rows[kernel.F_REFERENCE], rows[kernel.F_PRICE]
        ),
        "fee": rows[kernel.F_FEE],
        "slippage": rows[kernel.F_SLIP],
        "liquidity": named(np.zeros(len(bar), dtype=np.int64), ("taker",)),
        "reason": named(why, kernel.REASONS),
    }
    return make_table(columns, FILL_COLUMNS)


def _orders(
    parts: Sequence[_Part], each: Sequence[kernel.Rules], book: kernel.Book
) -> pd.DataFrame:
    rows = book.orders[:, : book.counts[1]]
    record: Mapping[str, FloatArray] = {
        name: rows[column - kernel.RECORD]
        for name, column in {
            "bar": kernel.ORDER_BAR, "units": kernel.ORDER_UNITS, "status": kernel.ORDER_STATUS,
            "why": kernel.ORDER_WHY, "filled": kernel.ORDER_FILLED, "value": kernel.ORDER_VALUE,
            "fee": kernel.ORDER_FEE, "slip": kernel.ORDER_SLIP, "end": kernel.ORDER_END,
        }.items()
    }  # fmt: skip
    bar, end, status, symbol = (
        whole(record[name]) if name else whole(rows[ORDER_SYMBOL])
        for name in ("bar", "end", "status", "")
    )
    at_open = np.isin(status, (kernel.DONE, kernel.REDUCED, kernel.REJECTED))
    none, filled = np.full(len(bar), np.nan), record["filled"]
    ended = _times(parts, symbol, np.maximum(end, 0), at_open=at_open)
    columns = {
        "order_id": np.arange(len(bar)),
        "symbol": _symbols(parts, symbol),
        "created_at": _times(parts, symbol, bar, at_open=np.zeros(len(bar), dtype=bool)),
        "kind": named(np.zeros(len(bar), dtype=np.int64), ("market",)),
        "quantity": _quantity(record["units"], symbol, each),
        "limit_price": none,
        "stop_price": none,
        "status": named(status, kernel.STATUSES),
        "reason": named(whole(record["why"]), kernel.REASONS),
        "filled_quantity": _quantity(filled, symbol, each),
        "average_price": np.divide(record["value"], filled, out=none.copy(), where=filled != 0),
        "fee": record["fee"],
        "slippage": record["slip"],
        "finished_at": ended.where(end >= 0),
    }
    return make_table(columns, ORDER_COLUMNS)


def _funding(parts: Sequence[_Part], book: kernel.Book) -> pd.DataFrame:
    """Return the settlements in the order in which they were booked."""
    counts = [len(part.stamps.times) for part in parts]
    order = np.argsort(book.paid[PAID_TURN], kind="stable")

    def joined(name: str) -> FloatArray:
        values: FloatArray = np.concatenate([getattr(part.stamps, name) for part in parts])[order]
        return values

    columns = {
        "settle_time": from_ns(joined("times")),
        "symbol": _symbols(parts, np.repeat(np.arange(len(parts)), counts)[order]),
        "position": book.paid[kernel.PAID_POSITION][order],
        "mark_price": joined("mark"),
        "mark_known": joined("mark_known"),
        "rate": joined("rate"),
        "payment": book.paid[kernel.PAID][order],
        "assumed": joined("assumed"),
    }
    return make_table(columns, FUNDING_COLUMNS)


def _symbols(parts: Sequence[_Part], codes: IntArray) -> object:
    return named(codes, [part.symbol for part in parts])


def _times(
    parts: Sequence[_Part], symbol: IntArray, bar: IntArray, *, at_open: BoolArray
) -> pd.DatetimeIndex:
    """Return the open, or close, of row ``bar`` of each symbol's replayed bars."""
    first = np.cumsum([0, *(len(part.closes) for part in parts)])[:-1]
    closes = np.concatenate([part.closes for part in parts])
    spans = np.array([to_ns(part.bars.interval) for part in parts])
    times: IntArray = closes[first[symbol] + bar] - np.where(at_open, spans[symbol], 0)
    return from_ns(times)


def _quantity(units: FloatArray, symbol: IntArray, each: Sequence[kernel.Rules]) -> FloatArray:
    """Return units in base currency, by each symbol's own lot."""
    top, bottom = (np.array([getattr(one, name) for one in each])[symbol]
                   for name in ("lot_top", "lot_bottom"))  # fmt: skip
    quantity: FloatArray = units * top / bottom
    return quantity
