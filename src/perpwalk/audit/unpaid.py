"""Settlements that ought to be on file and are not: at which of them was a position held.

The account settles what is published. Where a record is missing nothing is paid, and neither
ledger has a row that would say so: what stood open then is read off the fills.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from perpwalk.data.coverage import missing_settlements
from perpwalk.domain import FloatArray, IntArray, Market, to_ns
from perpwalk.ledger import Ledger


def unpaid_notionals(ledger: Ledger, market: Market) -> FloatArray:
    """Return the notional held into each missing settlement; shape (k,), those held flat left out.

    Expected are the stamps of the settlements around (every 8 h where none is on file) within the
    replay; the position is the one that a record at that stamp would have settled, at the mark
    candle's close or the trade's. Where ``market.missing_funding: zero`` made up records, none is
    missing: the ledger has them, marked ``assumed``.
    """
    stamps = missing_settlements(market.bars, market.funding)
    closes = to_ns(pd.DatetimeIndex(ledger.equity["close_time"]))
    stamps = stamps[stamps <= closes[-1]] if len(closes) else stamps[:0]
    if not len(stamps):
        return np.zeros(0)
    notional = np.abs(_held_into(stamps, ledger, market)) * _marks(stamps, market)
    held: FloatArray = notional[notional != 0]
    return held


def _bar_at(stamps: IntArray, market: Market) -> tuple[IntArray, np.ndarray]:
    """Return the bar whose position each stamp settles, and whether the stamp lies in a gap.

    In a gap that is the bar before: nothing fills until the next one opens.
    """
    closes = to_ns(market.bars.close_time)
    bar = np.searchsorted(closes, stamps, side="left")
    opens = closes[np.minimum(bar, len(closes) - 1)] - to_ns(market.bars.interval)
    in_gap = (bar == len(closes)) | (stamps <= opens)
    return bar - in_gap, in_gap


def _held_into(stamps: IntArray, ledger: Ledger, market: Market) -> FloatArray:
    """Return the signed quantity held into each stamp."""
    fills = ledger.fills[(ledger.fills["symbol"] == market.symbol).to_numpy(dtype=bool)]
    bar, in_gap = _bar_at(stamps, market)
    count = np.searchsorted(fills["bar"].to_numpy(dtype=np.int64), bar, side="right")
    # A bar settles on what is held at its end, a gap on what is carried into the next bar. Finer
    # bars inside do so in their turn: there the fills' own times count as well.
    if market.inside is not None:
        times = to_ns(pd.DatetimeIndex(fills["time"]))
        by_time = np.searchsorted(times, stamps, side="right")
        count = np.where(in_gap, count, np.minimum(count, by_time))
    held: FloatArray = np.concatenate(([0.0], np.cumsum(fills["quantity"].to_numpy(dtype=float))))
    return held[count]


def _marks(stamps: IntArray, market: Market) -> FloatArray:
    met = market.inside or market
    bar, _ = _bar_at(stamps, met)
    prices: FloatArray = (met.mark or met.bars).close[np.maximum(bar, 0)]
    return prices
