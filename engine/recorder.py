"""Writes the book: a row per bar into arrays made beforehand, and lists of the rarer events."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from engine.account import BarBooking
from engine.funding import Settlement
from perpwalk.domain import IntArray, from_ns
from perpwalk.ledger import (
    EQUITY_COLUMNS,
    FILL_COLUMNS,
    FUNDING_COLUMNS,
    ORDER_COLUMNS,
    TARGET_COLUMNS,
    Ledger,
    table,
)

NO_ORDER = -1  # id of a fill that the exchange forced
_STAMPS = ("time", "created_at", "finished_at", "settle_time", "close_time")


@dataclass(eq=False)
class OrderRecord:
    """One order and its fate; quantities are signed, prices NaN where it has none."""

    number: int
    symbol: str
    created_ns: int
    kind: str
    quantity: float
    limit_price: float
    stop_price: float
    status: str = "pending"
    reason: str = ""
    filled_quantity: float = 0.0
    filled_value: float = 0.0
    fee: float = 0.0
    slippage: float = 0.0
    finished_ns: int | None = None

    def row(self) -> tuple[object, ...]:
        """Return the values of ``ORDER_COLUMNS``."""
        filled = self.filled_quantity
        average = self.filled_value / abs(filled) if filled != 0 else np.nan
        return (
            self.number, self.symbol, self.created_ns, self.kind, self.quantity, self.limit_price,
            self.stop_price, self.status, self.reason, filled, average, self.fee, self.slippage,
            self.finished_ns,
        )  # fmt: skip


@dataclass(eq=False)
class Recorder:
    """Everything a ``Ledger`` is made of, as it happens.

    Parameters
    ----------
    clock
        Close times in nanoseconds of all rows of the equity table, ascending; shape (rows,).

    Notes
    -----
    A fill's and a target's ``bar`` is a row of the symbol's ``market.bars``.
    """

    clock: IntArray
    orders: list[OrderRecord] = field(default_factory=list)
    fills: list[tuple[object, ...]] = field(default_factory=list)
    funding: list[tuple[object, ...]] = field(default_factory=list)
    targets: list[tuple[object, ...]] = field(default_factory=list)
    row: int = -1
    _book: npt.NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self._book = np.zeros((len(self.clock), len(EQUITY_COLUMNS) - 1))

    def bar(
        self,
        price: float,
        position: float,
        cash: float,
        equity: float,
        exposure: float,
        booking: BarBooking,
    ) -> None:
        """Write the row of the bar that just closed."""
        self._book[self.row] = (
            price, position, cash, equity, booking.price_pnl, booking.fee, booking.funding,
            booking.slippage, booking.liquidation, exposure, booking.traded_notional,
        )  # fmt: skip

    def fill(
        self,
        order: OrderRecord | None,
        symbol: str,
        time_ns: int,
        bar: int,
        quantity: float,
        price: float,
        reference: float,
        fee: float,
        liquidity: str,
        reason: str,
    ) -> None:
        """Write one execution; without an order it was forced."""
        slippage = abs(quantity) * abs(price - reference)
        number = NO_ORDER if order is None else order.number
        self.fills.append(
            (number, symbol, time_ns, bar, quantity, price, reference, fee, slippage,
             liquidity, reason)
        )  # fmt: skip
        if order is not None:
            order.filled_quantity += quantity
            order.filled_value += abs(quantity) * price
            order.fee += fee
            order.slippage += slippage

    def settlement(
        self, settlement: Settlement, symbol: str, position: float, mark: float, payment: float
    ) -> None:
        """Write one settlement, also of a position of zero."""
        self.funding.append(
            (settlement.stamp_ns, symbol, position, mark, settlement.mark_price is not None,
             settlement.rate, payment, settlement.assumed)
        )  # fmt: skip

    def target(self, symbol: str, close_ns: int, bar: int, quantity: float) -> None:
        """Write what a strategy asked for at a decision."""
        self.targets.append((close_ns, symbol, bar, quantity))

    def ledger(
        self, initial_cash: float, *, with_targets: bool, bankrupt_at_ns: int | None
    ) -> Ledger:
        """Return the book as tables."""
        rows = self.row + 1
        equity = pd.DataFrame(self._book[:rows], columns=list(EQUITY_COLUMNS[1:]))
        equity.insert(0, "close_time", from_ns(self.clock[:rows]))
        return Ledger(
            initial_cash=initial_cash,
            equity=equity,
            fills=_table(FILL_COLUMNS, self.fills),
            orders=_table(ORDER_COLUMNS, [order.row() for order in self.orders]),
            funding=_table(FUNDING_COLUMNS, self.funding),
            targets=_table(TARGET_COLUMNS, self.targets) if with_targets else None,
            bankrupt_at=None
            if bankrupt_at_ns is None
            else pd.Timestamp(bankrupt_at_ns, unit="ns", tz="UTC"),
        )


_TEXT = ("symbol", "kind", "status", "reason", "liquidity")
_WHOLE = ("order_id", "bar")
_FLAGS = ("mark_known", "assumed")


def _table(columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> pd.DataFrame:
    """Return a frame whose types do not depend on whether there are rows."""
    frame = table(columns, rows)
    for column in columns:
        frame[column] = _typed(column, frame[column])
    return frame


def _typed(column: str, values: pd.Series) -> pd.Series:
    if column in _STAMPS:
        stamps = values.astype("Int64").astype("datetime64[ns]")
        return stamps.dt.tz_localize("UTC")
    if column in _TEXT:
        return values.astype("str")
    if column in _WHOLE:
        return values.astype("int64")
    return values.astype("bool" if column in _FLAGS else "float64")
