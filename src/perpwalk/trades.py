"""Round trips: what each position, from flat to flat, earned and cost.

A pure function of a ledger. Adding to a position or reducing it belongs to the same trade; turning
it ends one trade and starts the next, the turning fill's costs split by quantity. Gross PnL is at
reference prices, as in the ledger, so that slippage stands apart:

    net_pnl = gross_pnl - fees - slippage + funding - liquidation

and the net PnL of all trades, the open one marked at the end, is the change in equity.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from perpwalk.domain import FloatArray, IntArray, to_ns
from perpwalk.errors import AccountError
from perpwalk.ledger import Ledger

TRADE_COLUMNS = (
    "trade_id",
    "symbol",
    "side",
    "opened_at",
    "closed_at",
    "quantity",
    "entry_price",
    "exit_price",
    "bars",
    "gross_pnl",
    "fees",
    "slippage",
    "funding",
    "liquidation",
    "net_pnl",
    "return",
    "exit_reason",
)
BANKRUPTCY = "bankruptcy"
FORCED_EXITS = ("liquidation", BANKRUPTCY)
OPEN_AT_END = "open at end"
FLAT = 1e-9  # a position below this share of the trade's largest is rounding of lots


def round_trips(ledger: Ledger, *, marks: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Return one row per trade, in the order they were opened, columns ``TRADE_COLUMNS``.

    Parameters
    ----------
    marks
        Last price per symbol, for trades still open at the end; by default those of the ledger's
        ``tracks``, or, of one symbol alone, the last ``price`` of the equity table.

    Returns
    -------
    DataFrame
        ``side`` is "long" or "short"; ``quantity`` the largest absolute position; prices are
        volume-weighted fill prices (slippage included); ``bars`` counts the closes at which it was
        held; ``return`` is net PnL over the notional ``quantity * entry_price``. A trade open at
        the end has no ``closed_at``; its ``exit_price`` is the mark.

    Raises
    ------
    AccountError
        The book is inconsistent: money that no trade can have earned, or an open trade of a symbol
        without a mark.
    """
    trades = _settled_trades(ledger)
    last_row = len(ledger.equity) - 1
    if marks is None and ledger.tracks:
        marks = ledger.marks
    rows = [_row(n, trade, ledger, marks, last_row) for n, trade in enumerate(trades)]
    frame = pd.DataFrame(rows, columns=list(TRADE_COLUMNS))
    for column in ("opened_at", "closed_at"):
        frame[column] = pd.to_datetime(frame[column], utc=True).astype("datetime64[ns, UTC]")
    return frame


def closed_results(ledger: Ledger, symbol: str | None = None) -> tuple[IntArray, FloatArray]:
    """Return, per finished trade, the equity row it ended in and its net PnL; both shape (k,).

    Of all symbols, or of the one that is named.
    """
    finished = [
        (t.end, t.costed(t.reference_flow))
        for t in _settled_trades(ledger)
        if t.end is not None and symbol in (None, t.symbol)
    ]
    rows = np.array([row for row, _ in finished], dtype=np.int64)
    return rows, np.array([net for _, net in finished], dtype=np.float64)


def fill_rows(ledger: Ledger) -> IntArray:
    """Return the row of the equity table whose bar each fill happened in; shape (fills,).

    A fill's ``bar`` numbers the bars of its symbol, whose closes the ledger's ``tracks`` know. Of
    one symbol alone the distance between its bars and the table's rows is read off the market
    fills, which are stamped with their bar's open.
    """
    fills, closes = ledger.fills, pd.DatetimeIndex(ledger.equity["close_time"])
    if fills.empty:
        return np.zeros(0, dtype=np.int64)
    if ledger.tracks:
        return _rows_by_close(ledger, to_ns(closes))
    # A stamp at a bar's close belongs to that bar but is found in the next one: hence the maximum.
    by_time = np.searchsorted(to_ns(closes), to_ns(pd.DatetimeIndex(fills["time"])), side="right")
    bar = fills["bar"].to_numpy(dtype=np.int64)
    offset = int((bar - by_time).max())
    rows: IntArray = bar - offset
    return rows


def _rows_by_close(ledger: Ledger, closes: IntArray) -> IntArray:
    bar = ledger.fills["bar"].to_numpy(dtype=np.int64)
    closed = np.zeros(len(bar), dtype=np.int64)
    for track in ledger.tracks:
        own = (ledger.fills["symbol"] == track.symbol).to_numpy()
        closed[own] = track.close_ns[bar[own]]
    # What the exchange closes is closed now, also where the symbol has no bar at this stamp.
    forced = ledger.fills["reason"].isin(FORCED_EXITS).to_numpy()
    times = to_ns(pd.DatetimeIndex(ledger.fills["time"]))
    rows: IntArray = np.searchsorted(closes, np.where(forced, times, closed))
    return rows


# ── building ─────────────────────────────────────────────────────────────────────────────────────


class _Fill(NamedTuple):
    """One execution; ``quantity`` is signed, ``row`` the equity row of its bar."""

    row: int
    symbol: str
    time: pd.Timestamp
    quantity: float
    price: float
    reference_price: float
    fee: float
    slippage: float
    reason: str

    def part(self, quantity: float) -> _Fill:
        """Return the part of this fill that trades ``quantity``, costs split by quantity."""
        share = quantity / self.quantity
        return _Fill(
            self.row, self.symbol, self.time, quantity, self.price, self.reference_price,
            self.fee * share, self.slippage * share, self.reason,
        )  # fmt: skip


@dataclass
class _Trade:
    """A trade while it is put together; ``position`` is unsigned, ``sign`` gives the side."""

    symbol: str
    sign: int
    start: int
    opened_at: pd.Timestamp
    position: float = 0.0
    largest: float = 0.0
    entered: float = 0.0
    entered_value: float = 0.0
    left: float = 0.0
    left_value: float = 0.0
    reference_flow: float = 0.0
    fees: float = 0.0
    slippage: float = 0.0
    funding: float = 0.0
    liquidation: float = 0.0
    end: int | None = None
    closed_at: pd.Timestamp | None = None
    reason: str = OPEN_AT_END
    forced: list[tuple[int, float]] = field(default_factory=list)

    def take(self, fill: _Fill) -> None:
        """Book a fill (or the part of one) that opens, adds to, reduces or ends this trade."""
        quantity = abs(fill.quantity)
        if fill.quantity * self.sign > 0:
            self.position += quantity
            self.largest = max(self.largest, self.position)
            self.entered += quantity
            self.entered_value += quantity * fill.price
        else:
            self.position -= quantity
            self.left += quantity
            self.left_value += quantity * fill.price
            if fill.reason in FORCED_EXITS:
                self.forced.append((fill.row, quantity * fill.price))
        self.reference_flow -= fill.quantity * fill.reference_price
        self.fees += fill.fee
        self.slippage += fill.slippage
        if self.position <= FLAT * self.largest:
            self.position = 0.0
            self.end, self.closed_at = fill.row, fill.time
            self.reason = fill.reason if fill.reason in FORCED_EXITS else "signal"

    def costed(self, gross: float) -> float:
        """Return the net of a gross PnL after this trade's costs and funding."""
        return gross - self.fees - self.slippage + self.funding - self.liquidation


def _fills(ledger: Ledger) -> Iterator[_Fill]:
    columns = [
        ledger.fills[name].tolist()
        for name in (
            "symbol", "time", "quantity", "price", "reference_price", "fee", "slippage", "reason"
        )
    ]  # fmt: skip
    for row, values in zip(fill_rows(ledger).tolist(), zip(*columns, strict=True), strict=True):
        yield _Fill(row, *values)


def _trades(ledger: Ledger) -> list[_Trade]:
    """Walk the fills in order and cut them into trades."""
    trades: list[_Trade] = []
    open_trades: dict[str, _Trade] = {}
    for fill in _fills(ledger):
        trade = open_trades.get(fill.symbol)
        for part in _parts(fill, trade):
            if trade is None or trade.end is not None:
                sign = 1 if part.quantity > 0 else -1
                trade = _Trade(part.symbol, sign, part.row, part.time)
                trades.append(trade)
            trade.take(part)
        if trade is not None and trade.end is None:
            open_trades[fill.symbol] = trade
        else:
            open_trades.pop(fill.symbol, None)
    return trades


def _parts(fill: _Fill, trade: _Trade | None) -> tuple[_Fill, ...]:
    """Split a fill that turns the position into its closing and its opening part."""
    if trade is None or fill.quantity * trade.sign > 0:
        return (fill,)
    beyond = abs(fill.quantity) - trade.position
    if beyond <= FLAT * trade.largest:
        return (fill,)
    closing = -trade.sign * trade.position
    return fill.part(closing), fill.part(fill.quantity - closing)


_KNOWN: WeakKeyDictionary[Ledger, list[_Trade]] = WeakKeyDictionary()


def _settled_trades(ledger: Ledger) -> list[_Trade]:
    """Return the trades of a book, put together once: metrics, audit and tables all ask."""
    if ledger not in _KNOWN:
        trades = _trades(ledger)
        _settle_funding(trades, ledger)
        _settle_liquidations(trades, ledger)
        _KNOWN[ledger] = trades
    return _KNOWN[ledger]


def _settle_funding(trades: list[_Trade], ledger: Ledger) -> None:
    """Give each payment to the trade that held the position into its stamp."""
    paid = ledger.funding[ledger.funding["payment"] != 0]
    if paid.empty:
        return
    closes = to_ns(pd.DatetimeIndex(ledger.equity["close_time"]))
    interval = int(np.diff(closes).min()) if len(closes) > 1 else 0
    stamps = to_ns(pd.DatetimeIndex(paid["settle_time"]))
    rows = np.searchsorted(closes, stamps, side="left")
    # Where bars are missing a stamp can lie before its bar opened: it settles on what was carried
    # in. Any other settles after all fills of its bar, on the last trade begun by then.
    carried = stamps <= closes[rows] - interval if interval else np.zeros(len(rows), dtype=bool)
    held = {symbol: [t for t in trades if t.symbol == symbol] for symbol in set(paid["symbol"])}
    starts = {symbol: np.array([t.start for t in mine]) for symbol, mine in held.items()}
    for row, before, symbol, payment in zip(
        rows.tolist(), carried.tolist(), paid["symbol"], paid["payment"], strict=True
    ):
        side: Literal["left", "right"] = "left" if before else "right"
        latest = int(np.searchsorted(starts[symbol], row, side=side)) - 1
        trade = held[symbol][latest] if latest >= 0 else None
        if trade is None or not _held_into(trade, row, before):
            raise AccountError(
                f"a funding payment of {payment:.12g} on {symbol} in the bar that closed at "
                f"{ledger.equity['close_time'].iloc[row]} belongs to no position"
            )
        trade.funding += float(payment)


def _held_into(trade: _Trade, row: int, before: bool) -> bool:
    """Say whether a trade was still open when the bar in ``row`` settled, or ``before`` it began.

    Liquidation comes before the settlement of a bar, bankruptcy after it.
    """
    if trade.end is None or trade.end > row:
        return True
    return trade.end == row and (before or trade.reason == BANKRUPTCY)


def liquidation_costs(ledger: Ledger) -> list[tuple[int, str, float]]:
    """Return who bears each liquidation cost: row of the equity table, symbol, part of the cost."""
    found = _liquidation_shares(_settled_trades(ledger), ledger)
    return [(row, trade.symbol, cost) for row, trade, cost in found]


def _settle_liquidations(trades: list[_Trade], ledger: Ledger) -> None:
    for _, trade, cost in _liquidation_shares(trades, ledger):
        trade.liquidation += cost


def _liquidation_shares(
    trades: list[_Trade], ledger: Ledger
) -> Iterator[tuple[int, _Trade, float]]:
    """Share each bar's liquidation cost among the trades that bear it, by notional."""
    cost = ledger.equity["liquidation"].to_numpy(dtype=float)
    for row in np.flatnonzero(cost).tolist():
        bearers = _bearers(trades, row)
        if not bearers:
            raise AccountError(
                f"a liquidation cost of {cost[row]:.12g} in the bar that closed at "
                f"{ledger.equity['close_time'].iloc[row]} belongs to no position"
            )
        total = sum(notional for _, notional in bearers)
        for trade, notional in bearers:
            yield row, trade, cost[row] * notional / total


def _bearers(trades: list[_Trade], row: int) -> list[tuple[_Trade, float]]:
    """Return the trades a liquidation cost belongs to, with their notional.

    Those forced out in the bar. Where none was, the account went bankrupt on an ordinary fill (one
    that slipped too far): what was written off belongs to the trades that ended there.
    """
    forced = [(t, notional) for t in trades for at, notional in t.forced if at == row]
    return forced or [(t, t.left_value) for t in trades if t.end == row]


def _mark(trade: _Trade, ledger: Ledger, marks: Mapping[str, float] | None) -> float:
    if marks is not None and trade.symbol in marks:
        return marks[trade.symbol]
    symbols = list(dict.fromkeys(ledger.fills["symbol"]))
    if marks is None and len(symbols) == 1:
        return float(ledger.equity["price"].iloc[-1])
    raise AccountError(
        f"the trade in {trade.symbol} is open at the end and has no mark; "
        f"give `marks` a last price for each of {', '.join(map(str, symbols))}"
    )


def _row(
    number: int, trade: _Trade, ledger: Ledger, marks: Mapping[str, float] | None, last_row: int
) -> tuple[object, ...]:
    is_open = trade.end is None
    mark = _mark(trade, ledger, marks) if is_open else 0.0
    gross = trade.reference_flow + trade.sign * trade.position * mark
    net = trade.costed(gross)
    entry = trade.entered_value / trade.entered
    return (
        number,
        trade.symbol,
        "long" if trade.sign > 0 else "short",
        trade.opened_at,
        trade.closed_at,
        trade.largest,
        entry,
        mark if is_open else trade.left_value / trade.left,
        (last_row + 1 if trade.end is None else trade.end) - trade.start,
        gross,
        trade.fees,
        trade.slippage,
        trade.funding,
        trade.liquidation,
        net,
        net / (trade.largest * entry),
        trade.reason,
    )
