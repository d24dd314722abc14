"""A small account kept by hand: prices, fills, settlements and liquidations by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from perpwalk.ledger import (
    EQUITY_COLUMNS,
    FILL_COLUMNS,
    FUNDING_COLUMNS,
    ORDER_COLUMNS,
    Ledger,
    table,
)

HOUR = pd.Timedelta("1h")
START = pd.Timestamp("2024-01-01T00:00:00Z")


@dataclass
class Book:
    """One symbol with hourly bars that open where the last one closed.

    ``prices`` are closes by row; ``fee`` is a share of notional and ``slippage`` of the price.
    """

    prices: Sequence[float]
    fee: float = 0.0
    slippage: float = 0.0
    cash: float = 10_000.0
    start: pd.Timestamp = START
    symbol: str = "ETHUSDT"
    fills: list[tuple[object, ...]] = field(default_factory=list)
    orders: list[tuple[object, ...]] = field(default_factory=list)
    payments: dict[int, float] = field(default_factory=dict)
    forced: dict[int, float] = field(default_factory=dict)
    assumed: bool = False
    mark_known: bool = True

    def open_time(self, row: int) -> pd.Timestamp:
        """Return when the bar of ``row`` opens."""
        return self.start + (row - 1) * HOUR

    def close_time(self, row: int) -> pd.Timestamp:
        """Return when the bar of ``row`` closes; the first closes at ``start``."""
        return self.start + row * HOUR

    def reference(self, row: int) -> float:
        """Return the open of ``row``: the close before it."""
        return self.prices[max(row - 1, 0)]

    def fill(self, row: int, quantity: float) -> None:
        """Fill a market order at the open of ``row``."""
        reference = self.reference(row)
        sign = 1 if quantity > 0 else -1
        price = reference * (1 + sign * self.slippage)
        self._fill(row, quantity, price, reference, abs(quantity) * price * self.fee, "signal")
        self.orders.append(
            (
                len(self.orders), self.symbol, self.open_time(row), "market", quantity, None, None,
                "filled", "", quantity, price, 0.0, 0.0, self.open_time(row),
            )
        )  # fmt: skip

    def liquidate(self, row: int, *, at: float, cost: float) -> None:
        """Close everything inside the bar of ``row`` at a price, at the exchange's hands."""
        self._fill(row, -self.position_before(row + 1), at, at, 0.0, "liquidation")
        self.forced[row] = cost

    def fund(self, row: int, payment: float) -> None:
        """Settle funding at the close of ``row``."""
        self.payments[row] = payment

    def _fill(
        self, row: int, quantity: float, price: float, reference: float, fee: float, reason: str
    ) -> None:
        forced = reason == "liquidation"
        time = self.close_time(row) if forced else self.open_time(row)
        lost = abs(quantity) * abs(price - reference)
        self.fills.append(
            (len(self.fills), self.symbol, time, row, quantity, price, reference, fee, lost,
             "taker", reason)
        )  # fmt: skip

    def position_before(self, row: int) -> float:
        """Return the signed quantity carried into ``row``."""
        return sum(float(f[4]) for f in self.fills if int(f[3]) < row)

    def ledger(self) -> Ledger:
        """Book every row and return the ledger."""
        rows, settled, equity = [], [], self.cash
        for row, price in enumerate(self.prices):
            fills = [f for f in self.fills if f[3] == row]
            held = self.position_before(row)
            gained = held * (price - self.reference(row))
            gained += sum(float(f[4]) * (price - float(f[6])) for f in fills)
            fee, lost = sum(float(f[7]) for f in fills), sum(float(f[8]) for f in fills)
            traded = sum(abs(float(f[4])) * float(f[5]) for f in fills if f[10] == "signal")
            paid, forced = self.payments.get(row, 0.0), self.forced.get(row, 0.0)
            equity += gained - fee - lost + paid - forced
            position = self.position_before(row + 1)
            exposure = position * price / equity if equity > 0 else 0.0
            rows.append(
                (
                    self.close_time(row), price, position, equity - position * price, equity,
                    gained, fee, paid, lost, forced, exposure, traded,
                )
            )  # fmt: skip
            if row in self.payments:
                settled.append(
                    (self.close_time(row), self.symbol, position, price, self.mark_known, 1e-4,
                     paid, self.assumed)
                )  # fmt: skip
        return Ledger(
            initial_cash=self.cash,
            equity=table(EQUITY_COLUMNS, rows),
            fills=table(FILL_COLUMNS, self.fills),
            orders=table(ORDER_COLUMNS, self.orders),
            funding=table(FUNDING_COLUMNS, settled),
        )
