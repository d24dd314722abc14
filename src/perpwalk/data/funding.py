"""Reading funding rates: a file in, a checked ``FundingFrame`` out.

Stamps are put on the settlement they belong to (exchanges publish them some milliseconds late) and
rates are checked for their scale, because a rate in percent looks like any other number.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perpwalk.data.bars import iso
from perpwalk.data.columns import FundingColumns, check_symbol, funding_columns
from perpwalk.data.contents import cut_finding
from perpwalk.data.convert import to_numbers, to_stamps
from perpwalk.data.coverage import settlement_intervals
from perpwalk.data.layouts import AUTO, identify
from perpwalk.data.origin import page_finding
from perpwalk.data.repeats import RepeatPolicy, settle_repeats
from perpwalk.data.tables import Table, open_table
from perpwalk.data.validate import check_order, stamp_findings, utc
from perpwalk.domain import (
    BoolArray,
    DataSource,
    Finding,
    FloatArray,
    FundingFrame,
    IntArray,
    Level,
    from_ns,
)
from perpwalk.errors import DataError

MAX_RATE = 0.03  # exchanges cap a settlement at 0.3 to 3 %; SOL reached -2 % in November 2022
MAX_MEDIAN_RATE = 0.005
# The rate of a calm market is exactly 0.01 % per 8 h on most exchanges: the same number a hundred
# or ten thousand times larger, again and again, gives a file in percent or basis points away.
BASE_RATE = 0.0001
BASE_SHARE = 0.05
TINY_RATE = 2e-5
OFF_PHASE = 0.05

_MINUTE = 60 * 10**9
_HOUR = 60 * _MINUTE
_SHOWN_CHANGES = 8


def read_funding(
    path: Path | str | Table,
    *,
    symbol: str,
    layout: str = AUTO,
    duplicates: RepeatPolicy = "error",
) -> tuple[FundingFrame, tuple[Finding, ...], DataSource]:
    """Read settled funding rates from CSV, JSON, Parquet or Feather.

    Rates are fractions of notional per settlement, positive where longs pay. A stamp within a
    minute of a whole hour belongs to that hour; others go to the nearest minute. ``layout`` says
    whose file it is; ``auto`` tells it by content. ``duplicates`` says which rate stays where a
    settlement has two (see ``perpwalk.data.repeats``).

    Raises
    ------
    DataError
        Whatever is wrong, with file, row and column: no rate column, an empty or non-numeric rate,
        stamps that repeat or are shuffled, a rate above 3 %, rates on the scale of percent or
        basis points, a symbol column that contradicts ``symbol``.
    """
    table = path if isinstance(path, Table) else open_table(path)
    where = f"funding {table.title}"
    writer = identify(table, "funding", layout)
    columns = funding_columns(table)
    check_symbol(table, symbol)
    positions = [p for p in (columns.rate, columns.mark) if p is not None]
    fetched = table.fetch({columns.time: "time", **dict.fromkeys(positions, "number")})
    stamps = to_stamps(table, columns.time, fetched[columns.time])
    settled, moved = settled_stamps(stamps.ns)
    rate = to_numbers(table, columns.rate, fetched[columns.rate])
    _check_rates(table, columns.rate, rate)
    mark = _marks(table, columns, fetched)
    records = np.arange(len(settled))
    stay, repeat_findings = settle_repeats(
        table, where, columns.time, settled, (rate, mark), duplicates, records
    )
    if stay is not None:
        settled, rate, mark, records = settled[stay], rate[stay], mark[stay], stay
    order = check_order(table, columns.time, settled, records)
    direction = slice(None, None, 1 if order == "ascending" else -1)
    funding = FundingFrame.of(
        from_ns(settled[direction]), rate[direction], mark[direction], symbol=symbol
    )
    findings = (
        *cut_finding(where, table),
        *stamp_findings(where, stamps, order),
        *repeat_findings,
        *page_finding(where, len(funding)),
        *funding_findings(where, funding, moved, naive=stamps.naive),
    )
    return funding, findings, _source(table, funding, writer.name)


def settled_stamps(ns: IntArray) -> tuple[IntArray, IntArray]:
    """Return settlement stamps, and by how much each was moved where it was."""
    hour = (ns + _HOUR // 2) // _HOUR * _HOUR
    minute = (ns + _MINUTE // 2) // _MINUTE * _MINUTE
    settled = np.where(np.abs(ns - hour) <= _MINUTE, hour, minute)
    moved = np.abs(ns - settled)
    return settled, moved[moved > 0]


def _marks(table: Table, columns: FundingColumns, fetched: dict[int, Any]) -> FloatArray:
    """Return mark prices; empty cells and zeros are unknown."""
    if columns.mark is None:
        return np.full(len(fetched[columns.time]), np.nan)
    marks = to_numbers(table, columns.mark, fetched[columns.mark])
    bad = np.flatnonzero((marks < 0) | np.isinf(marks))
    if len(bad):
        raise table.error(
            f"mark price {marks[bad[0]]:.10g} is not above 0", record=bad[0], column=columns.mark
        )
    return np.where(marks == 0, np.nan, marks)


def _source(table: Table, funding: FundingFrame, layout: str) -> DataSource:
    return DataSource(
        kind="funding",
        path=str(table.path),
        file_format=table.file_format,
        rows=len(funding),
        first=iso(funding.settle_time[0].value),
        last=iso(funding.settle_time[-1].value),
        sha256=table.sha256,
        layout=layout,
    )


# ── scale ────────────────────────────────────────────────────────────────────────────────────────


def _check_rates(table: Table, position: int, rate: FloatArray) -> None:
    finite = np.isfinite(rate)
    if not finite.all():
        raise table.error(
            f"rate {rate[np.argmin(finite)]} is empty or not a finite number",
            record=int(np.argmin(finite)),
            column=position,
        )
    size = np.abs(rate)
    _check_scale(table, position, rate, size)
    if (size > MAX_RATE).any():
        record = int(np.argmax(size > MAX_RATE))
        raise table.error(
            f"rate {rate[record]:.10g} is above {MAX_RATE:.0%} per settlement ({_advice(size)})",
            record=record,
            column=position,
        )


def scale_error(table: Table, position: int, rate: FloatArray) -> DataError | None:
    """Return what is wrong with the scale of finite rates, or None."""
    try:
        _check_scale(table, position, rate, np.abs(rate))
    except DataError as error:
        return error
    return None


def _check_scale(table: Table, position: int, rate: FloatArray, size: FloatArray) -> None:
    """Refuse rates whose bulk is too large, or whose base rate is that of percent or bps."""

    def at_base(factor: int) -> BoolArray:
        return np.isclose(size, BASE_RATE * factor, rtol=1e-9, atol=0)

    for factor, unit in ((100, "percent"), (10_000, "basis points")):
        hits = at_base(factor)
        if hits.sum() >= max(2, BASE_SHARE * len(size)) and hits.sum() > at_base(1).sum():
            record = int(np.argmax(hits))
            raise table.error(
                f"rate {rate[record]:.10g} stands in {hits.mean():.0%} of the rows: the usual base "
                f"rate of {BASE_RATE:.2%} written in {unit}; {_advice(size)}",
                record=record,
                column=position,
            )
    median = float(np.median(size))
    if median > MAX_MEDIAN_RATE:
        record = int(np.argmax(size > MAX_MEDIAN_RATE))
        raise table.error(
            f"half of all rates are above {median:.4g} (here {rate[record]:.10g}), no market pays "
            f"more than {MAX_MEDIAN_RATE:.1%} at every settlement; {_advice(size)}",
            record=record,
            column=position,
        )


def _advice(size: FloatArray) -> str:
    if np.median(size) > 5:
        return "are these prices? give the column of rates, as fractions: 0.0001 is 0.01 %"
    return "rates must be fractions of notional: 0.0001 is 0.01 %; divide, or give the right file"


# ── findings ─────────────────────────────────────────────────────────────────────────────────────


def funding_findings(
    where: str, funding: FundingFrame, moved: IntArray, *, naive: bool
) -> list[Finding]:
    """Return what is odd about settlements; ``moved`` holds by how much stamps were put right."""
    if not len(funding):
        return []
    return [
        *_jitter(where, moved),
        *_tiny(where, funding.rate),
        *_turned(where, funding),
        *_changes(where, funding),
        *_off_grid(where, funding, naive=naive),
    ]


def _finding(level: Level, where: str, message: str, **more: str) -> Finding:
    return Finding(code="D012", level=level, where=where, message=message, **more)


def _jitter(where: str, moved: IntArray) -> list[Finding]:
    if not len(moved):
        return []
    return [
        _finding(
            Level.INFO,
            where,
            f"{len(moved):,} stamps stood off the whole minute and were put on their settlement",
            observed=f"by at most {pd.Timedelta(int(moved.max())).total_seconds():g} s",
        )
    ]


def _tiny(where: str, rate: FloatArray) -> list[Finding]:
    largest = float(np.abs(rate).max())
    if len(rate) < 30 or largest >= TINY_RATE:
        return []
    return [
        _finding(
            Level.WARN,
            where,
            "all rates are implausibly small",
            observed=f"the largest is {largest:.4g}",
            expected=f"a base rate of {BASE_RATE:g} at calm times",
            advice="were fractions divided by 100 as if they were percent?",
        )
    ]


def _turned(where: str, funding: FundingFrame) -> list[Finding]:
    """Tell rates whose sign is turned by the base rate, which longs pay and never receive.

    It is 0.01 % for 8 h; of a shorter interval some exchanges take its share.
    """
    rate, share = funding.rate, settlement_intervals(funding.settle_time) / (8 * _HOUR)

    def at_base(sign: int) -> BoolArray:
        whole, part = (
            np.isclose(rate, sign * base, rtol=1e-9, atol=0)
            for base in (BASE_RATE, BASE_RATE * share)
        )
        found: BoolArray = whole | part
        return found

    below, above = at_base(-1), at_base(1)
    if below.sum() < max(2, BASE_SHARE * len(rate)) or below.sum() <= above.sum():
        return []
    return [
        _finding(
            Level.WARN,
            where,
            "the sign of the rates seems to be turned",
            observed=f"exactly {-BASE_RATE:.2%} per 8 h in {below.mean():.0%} of the rows, "
            f"{BASE_RATE:.2%} in {above.mean():.0%}",
            expected=f"{BASE_RATE:.2%}, which longs pay where nothing pulls trades from the mark",
            why="every payment of funding would be booked the wrong way round",
            advice="rates are positive where longs pay: turn the sign",
        )
    ]


def _changes(where: str, funding: FundingFrame) -> list[Finding]:
    """Report each change of the settlement interval."""
    lengths = settlement_intervals(funding.settle_time)
    at = np.flatnonzero(np.diff(lengths)) + 1
    if not len(at):
        return []
    shown = "; ".join(
        f"{_hours(lengths[i - 1])} to {_hours(lengths[i])} at {utc(funding.settle_time[i].value)}"
        for i in at[:_SHOWN_CHANGES]
    )
    more = f"; and {len(at) - _SHOWN_CHANGES:,} more" if len(at) > _SHOWN_CHANGES else ""
    return [
        _finding(
            Level.INFO,
            where,
            f"the settlement interval changes {len(at):,} times",
            observed=shown + more,
            why="settlements are charged at their own stamps, never by counting bars",
        )
    ]


def _hours(ns: int | np.int64) -> str:
    return f"{int(ns) / _HOUR:g} h"


def _off_grid(where: str, funding: FundingFrame, *, naive: bool) -> list[Finding]:
    """Notice settlements off the hours that are multiples of their interval in UTC."""
    ns = funding.settle_time.asi8
    lengths = settlement_intervals(funding.settle_time)
    phase = ns % lengths
    off = (phase != 0) & (lengths <= 8 * _HOUR) & (24 * _HOUR % lengths == 0)
    if len(ns) < 3 or off.mean() <= OFF_PHASE:
        return []
    hours = sorted(set(funding.settle_time[off][:24].strftime("%H:%M")))
    most = off.mean() > 0.5
    # BitMEX and KuCoin settle at 04:00, 12:00 and 20:00: no fault where the stamps name a zone.
    known = not naive and most and bool((phase[off] == 4 * _HOUR).all())
    return [
        _finding(
            Level.INFO if known else Level.WARN,
            where,
            f"{'most' if most else f'{off.sum():,} of {len(ns):,}'} settlements stand at "
            f"{', '.join(hours[:8])} UTC",
            expected="00:00, 08:00, 16:00 UTC on most exchanges, 04:00, 12:00, 20:00 on a few",
            why="perhaps local time written without a zone"
            if naive
            else "the stamps name a zone; were they shifted before?",
            advice="compare one settlement with the exchange; write stamps in UTC with Z",
        )
    ]
