"""The account of each of several contracts: what of the one account is whose, bar by bar.

A pure function of a ledger with ``tracks``. At every bar the columns of all contracts sum to the
account's own, so that a page or a reader can take one contract out and lose nothing. Equity and
margin are one: they have no part here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd

from perpwalk.domain import FloatArray, IntArray, to_ns
from perpwalk.ledger import CONTRACT_COLUMNS, Ledger, Track
from perpwalk.trades import FORCED_EXITS, fill_rows, liquidation_costs
from perpwalk.uncertainty.overlap import sum_by

SUMMED = CONTRACT_COLUMNS[CONTRACT_COLUMNS.index("price_pnl") :]


@dataclass(frozen=True, eq=False, kw_only=True)
class ContractAccount:
    """One contract's part of the account; columns as ``CONTRACT_COLUMNS``, shape (bars,)."""

    symbol: str
    price: FloatArray
    position: FloatArray
    price_pnl: FloatArray
    fee: FloatArray
    funding: FloatArray
    slippage: FloatArray
    liquidation: FloatArray
    traded_notional: FloatArray

    @property
    def earned(self) -> FloatArray:
        """What it added to the account in each bar, after all its costs."""
        costs = self.fee + self.slippage + self.liquidation
        return self.price_pnl - costs + self.funding


_KNOWN: WeakKeyDictionary[Ledger, tuple[ContractAccount, ...]] = WeakKeyDictionary()


def contract_accounts(ledger: Ledger) -> tuple[ContractAccount, ...]:
    """Return the part of each contract, in the account's order; none of one contract alone.

    A liquidation's cost is shared as among trades, by notional.
    """
    if ledger not in _KNOWN:
        closes = to_ns(pd.DatetimeIndex(ledger.equity["close_time"]))
        rows, costs = fill_rows(ledger), liquidation_costs(ledger)
        _KNOWN[ledger] = tuple(
            _account(
                ledger, track, closes, rows, [(r, c) for r, s, c in costs if s == track.symbol]
            )
            for track in ledger.tracks
        )
    return _KNOWN[ledger]


def _account(
    ledger: Ledger,
    track: Track,
    closes: IntArray,
    fill_row: IntArray,
    liquidated: Sequence[tuple[int, float]],
) -> ContractAccount:
    own = (ledger.fills["symbol"] == track.symbol).to_numpy(dtype=bool)
    rows, fills, count = fill_row[own], ledger.fills[own], len(closes)
    column = {
        name: fills[name].to_numpy(dtype=float)
        for name in ("quantity", "price", "reference_price", "fee", "slippage")
    }
    price = track.at(closes)
    position = np.cumsum(sum_by(rows, column["quantity"], count))
    carried = np.concatenate([[0.0], position[:-1] * np.diff(price)])
    filled = column["quantity"] * (price[rows] - column["reference_price"])
    settled = ledger.funding[(ledger.funding["symbol"] == track.symbol).to_numpy(dtype=bool)]
    stamps = to_ns(pd.DatetimeIndex(settled["settle_time"]))
    paid = ~fills["reason"].isin(FORCED_EXITS).to_numpy()  # a forced exit pays no fee rate
    lost = np.zeros(count)
    for row, cost in liquidated:
        lost[row] += cost
    return ContractAccount(
        symbol=track.symbol,
        price=price,
        position=position,
        price_pnl=carried + sum_by(rows, filled, count),
        fee=sum_by(rows, column["fee"], count),
        funding=sum_by(
            _booked(track, closes, stamps), settled["payment"].to_numpy(dtype=float), count
        ),
        slippage=sum_by(rows, column["slippage"], count),
        liquidation=lost,
        traded_notional=sum_by(rows, np.abs(column["quantity"]) * column["price"] * paid, count),
    )


def _booked(track: Track, closes: IntArray, stamps: IntArray) -> IntArray:
    """Return the row each settlement is booked in: that of the contract's own bar at the stamp.

    Where it has none then, the account learns of it with the contract's next bar.
    """
    own = np.minimum(np.searchsorted(track.close_ns, stamps), len(track.close_ns) - 1)
    rows: IntArray = np.searchsorted(closes, np.maximum(track.close_ns[own], stamps))
    return rows


def contracts_table(ledger: Ledger) -> pd.DataFrame:
    """Return one row per bar and contract, columns ``CONTRACT_COLUMNS``, in order of time."""
    parts, closes = contract_accounts(ledger), pd.DatetimeIndex(ledger.equity["close_time"])
    symbols = [one.symbol for one in parts]
    return pd.DataFrame(
        {
            "close_time": closes.repeat(len(parts)),
            "symbol": symbols * len(closes),
            **{
                name: np.stack([getattr(one, name) for one in parts], axis=1).ravel()
                for name in CONTRACT_COLUMNS[2:]
            },
        }
    )
