"""What must hold of bars and stamps, checked column-wise; the first breach names its row.

Errors are breaches nothing can be computed on. Oddities that real markets show too (outages, limit
moves, thin hours) are findings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from perpwalk.data.columns import BarColumns
from perpwalk.data.convert import Stamps
from perpwalk.data.tables import Table
from perpwalk.domain import BoolArray, Finding, FloatArray, IntArray, Level

Order = Literal["ascending", "descending"]

FROZEN_BARS = 3
AROUND = 25
SWAP_BARS, SWAP_SHARE = 8, 0.2
LISTED = 5


@dataclass(frozen=True)
class Prices:
    """The number columns of a bar file, float64 of shape (n,)."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    def take(self, chosen: slice | IntArray) -> Prices:
        """Return the chosen rows of every column."""
        return Prices(
            self.open[chosen],
            self.high[chosen],
            self.low[chosen],
            self.close[chosen],
            self.volume[chosen],
        )


def utc(ns: int | np.int64) -> str:
    """Return nanoseconds as a readable UTC time.

    >>> utc(0)
    '1970-01-01 00:00 UTC'
    """
    stamp = pd.Timestamp(int(ns))
    form = "%Y-%m-%d %H:%M" if stamp == stamp.floor("min") else "%Y-%m-%d %H:%M:%S.%f"
    return f"{stamp.strftime(form)} UTC"


def listed(ns: IntArray) -> str:
    """Return the first few times, and how many more there are."""
    shown = ", ".join(utc(value) for value in ns[:LISTED])
    return f"{shown} and {len(ns) - LISTED} more" if len(ns) > LISTED else shown


# ── stamps ───────────────────────────────────────────────────────────────────────────────────────


def check_order(table: Table, position: int, ns: IntArray, records: IntArray) -> Order:
    """Return the order the rows are in; refuse repeated stamps and shuffled rows.

    ``ns`` is in file order; ``records`` holds each row's record in the file; both shape (n,).
    """
    steps = np.diff(ns)
    if (steps > 0).all():
        return "ascending"
    if (steps < 0).all():
        return "descending"
    if (steps >= 0).all() or (steps <= 0).all():
        row = int(np.argmin(steps != 0)) + 1
        repeats = int((steps == 0).sum())
        raise table.error(
            f"{utc(ns[row])} stands twice (also in row {table.row(int(records[row - 1]))}; "
            f"repeats in all: {repeats:,}); keep one row per time stamp",
            record=int(records[row]),
            column=position,
        )
    # Shuffled: name the first row that breaks the order most rows follow.
    forward = (steps > 0).sum() >= (steps < 0).sum()
    row = int(np.argmax(steps <= 0 if forward else steps >= 0)) + 1
    raise table.error(
        f"rows are not sorted by time: {utc(ns[row])} follows {utc(ns[row - 1])}; "
        "sort the file by its time stamp and look why it was not",
        record=int(records[row]),
        column=position,
    )


def stamp_findings(where: str, stamps: Stamps, order: Order) -> list[Finding]:
    """Say how the stamps were read where that was not obvious from the file."""
    findings = []
    if stamps.naive:
        findings.append(
            Finding(
                code="D001",
                level=Level.INFO,
                where=where,
                message="time stamps name no time zone; they are read as UTC",
                advice="write stamps with Z, or as epoch milliseconds, to be sure",
            )
        )
    if len(stamps.units) > 1:
        findings.append(
            Finding(
                code="D002",
                level=Level.WARN,
                where=where,
                message="time stamps change their unit within the file; each was read by its size",
                observed=", ".join(stamps.units),
                expected="one unit throughout",
            )
        )
    if order == "descending":
        findings.append(
            Finding(
                code="D004",
                level=Level.INFO,
                where=where,
                message="the file is in descending order throughout; it was read from its end",
            )
        )
    return findings


# ── prices ───────────────────────────────────────────────────────────────────────────────────────


def check_prices(
    table: Table, columns: BarColumns, prices: Prices, records: IntArray, *, with_volume: bool
) -> None:
    """Check ``high >= open, close >= low > 0`` and ``volume >= 0``, all finite.

    ``records`` holds each row's record in the file; shape (n,).
    """
    at = _Place(table, records)
    named = {
        columns.open: prices.open,
        columns.high: prices.high,
        columns.low: prices.low,
        columns.close: prices.close,
    }
    volume = {} if columns.volume is None or not with_volume else {columns.volume: prices.volume}
    for position, values in (named | volume).items():
        at.check(position, np.isfinite(values), values, "is empty or not a finite number")
    for position, values in named.items():
        at.check(position, values > 0, values, "is not above 0")
    for position, values in volume.items():
        at.check(position, values >= 0, values, "is below 0")
    _check_range(at, columns, prices)


@dataclass(frozen=True)
class _Place:
    """Where rows stand in their file."""

    table: Table
    records: IntArray

    def check(self, position: int, holds: BoolArray, values: FloatArray, complaint: str) -> None:
        """Raise for the row that stands first in the file among those where ``holds`` is False."""
        if holds.all():
            return
        row = self.first(holds)
        raise self.table.error(
            f"{values[row]:.10g} {complaint}", record=int(self.records[row]), column=position
        )

    def first(self, holds: BoolArray) -> int:
        """Return the breaching row that stands first in the file."""
        bad = np.flatnonzero(~holds)
        return int(bad[np.argmin(self.records[bad])])


def are_candles(prices: Prices) -> bool:
    """Say whether every row has its high on top, its low at the bottom, and no price below 0."""
    with np.errstate(invalid="ignore"):
        top = prices.high >= np.maximum(prices.open, prices.close)
        bottom = prices.low <= np.minimum(prices.open, prices.close)
        return bool((top & bottom & (prices.low > 0)).all())


def _check_range(at: _Place, columns: BarColumns, prices: Prices) -> None:
    top = np.maximum(prices.open, prices.close)
    bottom = np.minimum(prices.open, prices.close)
    for position, values, holds in (
        (columns.high, prices.high, prices.high >= top),
        (columns.low, prices.low, prices.low <= bottom),
    ):
        if holds.all():
            continue
        row = at.first(holds)
        word, side = ("high", "below") if position == columns.high else ("low", "above")
        raise at.table.error(
            f"{word} {values[row]:.10g} is {side} open {prices.open[row]:.10g} or "
            f"close {prices.close[row]:.10g}; are columns swapped?",
            record=int(at.records[row]),
            column=position,
        )


def check_belonging(table: Table, columns: BarColumns, prices: Prices) -> None:
    """Refuse bars whose open and close are exchanged, or whose rows run against their stamps.

    A bar opens about where the last one closed. Where instead it closes where the last one opened,
    far more closely than any market moves over two bars, one of the two is not what its name says.
    """
    if len(prices.open) < SWAP_BARS:
        return
    meeting = float(np.abs(prices.open[1:] - prices.close[:-1]).sum())
    crossing = float(np.abs(prices.close[1:] - prices.open[:-1]).sum())
    if crossing < SWAP_SHARE * meeting:
        raise table.error(
            "each bar closes where the one before opened, not the other way round: open and close "
            "are exchanged, or the rows run backwards in time",
            column=columns.open,
        )


# ── oddities ─────────────────────────────────────────────────────────────────────────────────────


def price_findings(
    where: str, ns: IntArray, prices: Prices, interval: pd.Timedelta, *, with_volume: bool
) -> list[Finding]:
    """Return findings on idle, frozen and half-finished bars; mark candles only freeze."""
    if not with_volume:
        return _frozen(where, ns, prices)
    return [
        *_frozen(where, ns, prices),
        *_idle(where, ns, prices),
        *_unfinished(where, ns, prices, interval),
    ]


def _idle(where: str, ns: IntArray, prices: Prices) -> list[Finding]:
    idle = np.flatnonzero(prices.volume == 0)
    if not len(idle):
        return []
    return [
        Finding(
            code="D009",
            level=Level.WARN,
            where=where,
            message=f"bars without volume, in which no market order fills: {len(idle):,}",
            observed=listed(ns[idle]),
        )
    ]


def _frozen(where: str, ns: IntArray, prices: Prices) -> list[Finding]:
    """Find runs of at least ``FROZEN_BARS`` bars with equal open, high, low and close."""
    same = np.diff(prices.close) == 0
    if not same.any():
        return []
    for values in (prices.open, prices.high, prices.low):
        same &= np.diff(values) == 0
    edges = np.diff(np.concatenate(([0], same.view(np.int8), [0])))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    runs = np.flatnonzero(stops - starts + 1 >= FROZEN_BARS)
    if not len(runs):
        return []
    bars = int((stops - starts + 1)[runs].sum())
    return [
        Finding(
            code="D009",
            level=Level.WARN,
            where=where,
            message=f"bars in stretches that repeat one bar: {bars:,} in {len(runs):,}",
            observed=listed(ns[starts[runs]]),
            why="an outage, or made-up bars: nothing can be learned from them or filled in them",
        )
    ]


def _unfinished(where: str, ns: IntArray, prices: Prices, interval: pd.Timedelta) -> list[Finding]:
    """Find bars that look saved while still forming.

    Inside the file such a bar's close does not meet the next open while its volume is low; on a
    perpetual the two are a tick apart. The last bar has only its volume to tell.
    """
    if len(ns) < 30:
        return []
    jump = np.abs(prices.open[1:] / prices.close[:-1] - 1)
    typical = float(np.median(prices.high / prices.low)) - 1
    adjacent = np.diff(ns) == interval.as_unit("ns").value  # over a gap the price may go anywhere
    suspects = np.flatnonzero((jump > 0.01 * typical) & (prices.volume[:-1] > 0) & adjacent)
    # Most closes miss the next open by a tick. In 57,000 good hourly bars of ETH these bounds
    # suspect a handful, most of them in the first thin weeks.
    far = jump[suspects] / typical
    bound = np.where(far > 0.3, 0.8, np.where(far > 0.1, 0.65, 0.15))
    few = prices.volume[suspects] < bound * typical_around(prices.volume, suspects)
    partial = suspects[few].tolist()
    last = len(ns) - 1
    usual = float(typical_around(prices.volume, np.array([last]))[0])
    if 0 < prices.volume[last] < 0.3 * usual:
        partial.append(last)
    if not partial:
        return []
    return [
        Finding(
            code="D011",
            level=Level.WARN,
            where=where,
            message=f"bars may have been saved while still forming: {len(partial):,}",
            observed=listed(ns[np.array(partial)]),
            why="little volume, and inside the file a next open that does not meet the close",
            advice="fetch these bars again, or end the data before them with market.until",
        )
    ]


def typical_around(values: FloatArray, rows: IntArray) -> FloatArray:
    """Return the median of the ``AROUND`` values around each of ``rows``, its own included."""
    width = min(AROUND, len(values))
    starts = np.clip(rows - width // 2, 0, len(values) - width)
    medians: FloatArray = np.median(values[starts[:, None] + np.arange(width)], axis=1)
    return medians
