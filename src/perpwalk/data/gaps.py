"""Missing bars: refused, filled with flat bars, or left open, as ``market.gaps`` says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from perpwalk.data.validate import Prices, utc
from perpwalk.domain import (
    BarFrame,
    BoolArray,
    Finding,
    IntArray,
    Level,
    from_ns,
    frozen_array,
    to_ns,
)
from perpwalk.errors import DataError

GapPolicy = Literal["error", "fill", "drop"]

_GAPS_LISTED = 10
_FLAT = ("open", "high", "low")


@dataclass(frozen=True)
class Rows:
    """Bars in ascending order: stamps (ns), prices, and each bar's record in the file."""

    ns: IntArray
    prices: Prices
    records: IntArray

    def take(self, chosen: slice | IntArray) -> Rows:
        """Return the chosen rows."""
        return Rows(self.ns[chosen], self.prices.take(chosen), self.records[chosen])


def settle_gaps(
    rows: Rows,
    symbol: str,
    interval: pd.Timedelta,
    policy: GapPolicy,
    where: str,
    complain: Callable[[str, int], DataError],
) -> tuple[BarFrame, list[Finding]]:
    """Refuse, fill or leave missing bars as ``policy`` says.

    ``complain`` makes the error of a message and the row at fault.
    """
    step = to_ns(interval)
    missing = np.diff(rows.ns) // step - 1
    at = np.flatnonzero(missing)
    if not len(at):
        return frame_of(rows, symbol, interval, np.zeros(len(rows.ns), dtype=bool)), []
    summary = f"{int(missing.sum()):,} bars are missing in {len(at):,} gaps"
    if policy == "error":
        raise complain(
            f"{summary}: the first, {missing[at[0]]:,} bars, after {utc(rows.ns[at[0]])}; the "
            f"longest {missing.max():,} bars; fetch them, or set market.gaps to fill (flat bars "
            "without volume) or drop (leave the gap)",
            int(at[0]) + 1,
        )
    finding = _gap_finding(where, rows.ns, missing, at, summary, policy)
    if policy == "drop":
        return frame_of(rows, symbol, interval, np.zeros(len(rows.ns), dtype=bool)), [finding]
    full, filled = _fill(rows, step, complain)
    return frame_of(full, symbol, interval, filled), [finding]


def _gap_finding(
    where: str, ns: IntArray, missing: IntArray, at: IntArray, summary: str, policy: GapPolicy
) -> Finding:
    shown = "; ".join(f"{missing[i]:,} after {utc(ns[i])}" for i in at[:_GAPS_LISTED])
    more = f"; and {len(at) - _GAPS_LISTED:,} more" if len(at) > _GAPS_LISTED else ""
    done = {
        "fill": "filled with flat bars at the last close, without volume",
        "drop": "left open: bars are irregular in time",
    }[policy]
    return Finding(
        code="D006",
        level=Level.WARN,
        where=where,
        message=f"{summary}, the longest {missing.max():,}; {done}",
        observed=shown + more,
        expected="no gap",
        why="a move across a gap is no move of one bar, and a made-up bar has none",
    )


def _fill(
    rows: Rows, step: int, complain: Callable[[str, int], DataError]
) -> tuple[Rows, BoolArray]:
    """Put flat bars at the last close, without volume, where bars are missing."""
    places = (rows.ns - rows.ns[0]) // step
    total = int(places[-1]) + 1
    if total > 2 * len(rows.ns):
        raise complain(
            f"filling would make up {total - len(rows.ns):,} bars, more than the {len(rows.ns):,} "
            "there are; cut the file with market.since and market.until, or fetch the rest",
            0,
        )
    filled = np.ones(total, dtype=bool)
    filled[places] = False
    latest = np.zeros(total, dtype=np.int64)
    latest[places] = np.arange(len(rows.ns))
    latest = np.maximum.accumulate(latest)
    prices = rows.prices.take(latest)
    flat = {name: np.where(filled, prices.close, getattr(prices, name)) for name in _FLAT}
    prices = replace(prices, **flat, volume=np.where(filled, 0.0, prices.volume))
    return Rows(rows.ns[0] + step * np.arange(total), prices, rows.records[latest]), filled


def frame_of(rows: Rows, symbol: str, interval: pd.Timedelta, filled: BoolArray) -> BarFrame:
    """Return checked rows as a frozen table of bars."""
    return BarFrame(
        symbol=symbol,
        interval=interval,
        open_time=from_ns(rows.ns),
        open=frozen_array(rows.prices.open),
        high=frozen_array(rows.prices.high),
        low=frozen_array(rows.prices.low),
        close=frozen_array(rows.prices.close),
        volume=frozen_array(rows.prices.volume),
        filled=frozen_array(filled, np.bool_),
    )
