"""The money of each of several contracts in one account: what can be told apart, and no more.

One account has one equity: growth, risk and ratios belong to all its contracts together and are
null here. Trades, costs, exposure and what a contract added to the account's return are its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from perpwalk.contracts import ContractAccount
from perpwalk.domain import Finding, FloatArray, Level
from perpwalk.ledger import Ledger
from perpwalk.metrics_fields import FIELDS, MONEY_FIELDS, RESULTS, Undefined, Value
from perpwalk.metrics_money import FEW_TRADES, Book, trade_fields
from perpwalk.periods import Period
from perpwalk.trades import closed_results


def contract_fields(
    period: Period,
    ledger: Ledger,
    book: Book,
    account: ContractAccount,
    confidence: float,
    seed: int,
    found: Undefined,
) -> dict[str, Value]:
    """Return the money columns of one contract in one period; ``symbol`` is the whole replay.

    ``total_return`` is what the contract added to the account's: what it earned over the equity
    before the period, open positions at the last close. ``benchmark_return`` is that of holding it.
    """
    whole = period.kind in ("symbol", "all")
    rows = slice(0, len(account.price)) if whole else book.rows(period)
    if rows.start == rows.stop:
        found.add("A003", "no bar of the replay", period, MONEY_FIELDS)
        return {}
    equity, before = ledger.equity["equity"].to_numpy(dtype=float)[rows], book.equity_before[rows]
    held = np.abs(account.position[rows] * account.price[rows])
    turned = account.traded_notional[rows]
    ended, net = closed_results(ledger, account.symbol)
    price = account.price
    fields: dict[str, Value] = {
        "total_return": float(account.earned[rows].sum()) / before[0] if before[0] > 0 else None,
        "benchmark_return": float(price[rows.stop - 1] / price[max(rows.start - 1, 0)] - 1),
        "exposure": float(_shares(held, equity).mean()),
        "turnover": float(_shares(turned, before).mean() * (pd.Timedelta("1D") / book.interval)),
        "fees": float(account.fee[rows].sum()),
        "funding": float(account.funding[rows].sum()),
        "slippage": float(account.slippage[rows].sum()),
        **trade_fields(net[(ended >= rows.start) & (ended < rows.stop)], confidence, seed=seed),
    }
    absent = [name for name in MONEY_FIELDS if fields.get(name) is None]
    _explain(absent, fields["trades"] or 0, period, found)
    return fields


def _shares(amounts: FloatArray, equity: FloatArray) -> FloatArray:
    """Return amounts over equity; 0 where all was lost."""
    shares: FloatArray = np.where(equity > 0, amounts / np.where(equity > 0, equity, 1.0), 0.0)
    return shares


def _explain(absent: Sequence[str], trades: float, period: Period, found: Undefined) -> None:
    few = [name for name in absent if name in RESULTS]
    lost = [name for name in absent if name == "total_return"]
    shared = [name for name in absent if name not in (*few, *lost)]
    if shared and period.kind == "symbol":
        found.add("A003", "one account: its growth and risk are of all contracts", period, shared)
    if few:
        cause = f"fewer than {FEW_TRADES} trades" if trades < FEW_TRADES else "no trade lost"
        found.add("A003", cause, period, few)
    if lost:
        found.add("A003", "the account was ruined before", period, lost)


def told_in_one(found: Undefined, count: int) -> tuple[Finding, ...]:
    """Return why values of a table of contracts and periods are null: one note for each cause."""
    return tuple(
        Finding(
            code=code,
            level=Level.INFO,
            where="metrics_by_contract.csv",
            message=f"undefined (null): {', '.join(sorted(names, key=FIELDS.index))}",
            observed=f"{cause}, in {len(periods):,} of {count:,} rows",
            why="a number that is not defined must not look like one",
            advice="leave these periods out of comparisons",
        )
        for (code, cause), (names, periods) in found.causes.items()
    )
