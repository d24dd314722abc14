"""The money of each of several contracts in one account: what can be told apart, and no more.

One account has one equity: growth, risk and ratios belong to all its contracts together and are
null here. Trades, costs, exposure and what a contract added to the account's return are its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from perpwalk.domain import FloatArray, to_ns
from perpwalk.ledger import Ledger, Track
from perpwalk.metrics_fields import MONEY_FIELDS, Undefined, Value
from perpwalk.metrics_money import Book, trade_fields
from perpwalk.periods import Period
from perpwalk.trades import closed_results, fill_rows, round_trips
from perpwalk.uncertainty.overlap import sum_by


@dataclass(frozen=True, eq=False)
class _Held:
    """A contract's position and price at each close, and what it traded in each bar."""

    position: FloatArray
    price: FloatArray
    traded: FloatArray

    @classmethod
    def of(cls, ledger: Ledger, track: Track) -> _Held:
        closes = to_ns(pd.DatetimeIndex(ledger.equity["close_time"]))
        own = (ledger.fills["symbol"] == track.symbol).to_numpy()
        rows, fills = fill_rows(ledger)[own], ledger.fills[own]
        quantity = fills["quantity"].to_numpy(dtype=float)
        paid = fills["reason"].to_numpy() == ""  # a forced exit pays no fee rate
        value = np.abs(quantity) * fills["price"].to_numpy(dtype=float) * paid
        return cls(
            position=np.cumsum(sum_by(rows, quantity, len(closes))),
            price=track.at(closes),
            traded=sum_by(rows, value, len(closes)),
        )


def contract_fields(
    period: Period,
    ledger: Ledger,
    book: Book,
    track: Track,
    confidence: float,
    seed: int,
    found: Undefined,
) -> dict[str, Value]:
    """Return the money columns of one contract over the whole replay.

    ``total_return`` is what the contract added to the account's: its trades' net PnL over the
    initial cash, open ones at the last close. ``benchmark_return`` is that of holding it.
    """
    held, alive = _Held.of(ledger, track), book.equity_before > 0
    own = (ledger.fills["symbol"] == track.symbol).to_numpy()
    _, net = closed_results(ledger, track.symbol)
    trades = round_trips(ledger)
    earned = float(trades.loc[trades["symbol"] == track.symbol, "net_pnl"].sum())
    settled = ledger.funding[ledger.funding["symbol"] == track.symbol]
    equity = ledger.equity["equity"].to_numpy(dtype=float)
    held_share = np.where(
        equity > 0, np.abs(held.position * held.price) / np.where(equity > 0, equity, 1.0), 0.0
    )
    turned = np.where(alive, held.traded / np.where(alive, book.equity_before, 1.0), 0.0)
    fields: dict[str, Value] = {
        "total_return": earned / ledger.initial_cash,
        "benchmark_return": float(held.price[-1] / held.price[0] - 1),
        "exposure": float(held_share.mean()),
        "turnover": float(turned.mean() * (pd.Timedelta("1D") / book.interval)),
        "fees": float(ledger.fills.loc[own, "fee"].sum()),
        "funding": float(settled["payment"].sum()),
        "slippage": float(ledger.fills.loc[own, "slippage"].sum()),
        **trade_fields(net, confidence, seed=seed),
    }
    absent = [name for name in MONEY_FIELDS if fields.get(name) is None]
    few = [name for name in absent if name.startswith(("win_rate", "profit_factor"))]
    shared = [name for name in absent if name not in few]
    found.add("A003", "one account: its growth and risk are of all contracts", period, shared)
    if few:
        found.add("A003", "too few trades, or none that lost", period, few)
    return fields
