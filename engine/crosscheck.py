"""Compute the account of a replay a second time, from the targets alone, and compare.

The second computation is compiled, shares no code with the Backtrader broker, and knows only the
specification in ``docs/account.md``.
"""

from __future__ import annotations

import pandas as pd

from perpwalk.config import BrokerSection
from perpwalk.domain import Finding, Level, Market, to_ns
from perpwalk.errors import ConfigError
from perpwalk.ledger import Ledger
from perpwalk.recompute import recompute
from perpwalk.reconcile import compare

TOLERANCE = 1e-9


def crosscheck(market: Market, book: Ledger, broker: BrokerSection) -> Finding:
    """Return A011: that the two ledgers agree and how closely, where they part, or why not judged.

    Parameters
    ----------
    market
        The contract that was replayed.
    book
        The replay's ledger; its ``targets`` are what is computed again.
    """
    if book.targets is None:
        return _not_judged("the strategy placed other orders than market orders towards a target")
    if broker.cheat_on_open:
        return _not_judged("orders fill at the open they are decided on (broker.cheat_on_open)")
    rows = replayed_rows(market, book)
    try:
        second = recompute(market, book.targets, broker, start=rows.start, end=rows.stop)
    except ConfigError as error:
        return _not_judged(str(error))
    worst, finding = compare(book, second, TOLERANCE)
    if finding is not None:
        return finding
    return Finding(
        code="A011",
        level=Level.INFO,
        where=f"{market.symbol}, {len(book.equity):,} bars",
        message="an independent ledger, computed from the targets alone, agrees",
        observed=f"largest difference {worst:.2g} of equity",
        expected=f"at most {TOLERANCE:g}",
    )


def replayed_rows(market: Market, book: Ledger) -> range:
    """Return which of the market's bars were replayed."""
    closes = to_ns(market.bars.close_time)
    first = int(closes.searchsorted(to_ns(pd.Timestamp(book.equity["close_time"].iloc[0]))))
    return range(first, first + len(book.equity))


def _not_judged(why: str) -> Finding:
    return Finding(
        code="A011",
        level=Level.INFO,
        where="account",
        message=f"the account was not computed a second time: {why}",
    )
