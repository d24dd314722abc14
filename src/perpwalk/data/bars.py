"""Reading bars: a file in, a checked ``BarFrame`` out, gaps handled by the stated policy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from perpwalk.data.columns import BarColumns, bar_columns, check_symbol
from perpwalk.data.convert import Stamps, to_numbers, to_stamps
from perpwalk.data.tables import Table, open_table
from perpwalk.data.validate import (
    Order,
    Prices,
    check_order,
    check_prices,
    price_findings,
    stamp_findings,
    utc,
)
from perpwalk.domain import (
    BarFrame,
    BoolArray,
    DataSource,
    Finding,
    IntArray,
    Level,
    from_ns,
    frozen_array,
    to_ns,
)

GapPolicy = Literal["error", "fill", "drop"]
Read = tuple[BarFrame, tuple[Finding, ...], DataSource]

_DAY = 86_400 * 10**9
_GAPS_LISTED = 10


def read_bars(
    path: Path | str,
    *,
    symbol: str,
    interval: pd.Timedelta,
    gaps: GapPolicy = "error",
    since: pd.Timestamp | str | None = None,
    until: pd.Timestamp | str | None = None,
) -> Read:
    """Read OHLCV bars from CSV, JSON, Parquet or Feather, packed by gzip or zip or not.

    Parameters
    ----------
    symbol
        Contract the bars are of; a symbol column that contradicts it is an error.
    interval
        Length of one bar; bars of another length are an error.
    gaps
        ``error`` refuses missing bars; ``fill`` makes flat bars at the last close with volume 0,
        marked in ``BarFrame.filled``; ``drop`` leaves the gap, so bars are irregular in time.
    since, until
        Keep bars with ``since <= open_time < until`` (UTC). Order, grid, prices and gaps are judged
        on what is kept, so a bad stretch can be cut away.

    Returns
    -------
    tuple
        The bars, what reading them found, and the file's birth certificate (of the whole file,
        before the cut).

    Raises
    ------
    DataError
        Whatever is wrong, with file, row (line of a text file, header included; 0-based record
        of a binary file) and column.
    """
    return _read("ohlcv", path, symbol, interval, gaps, (since, until))


def read_mark(
    path: Path | str,
    *,
    symbol: str,
    interval: pd.Timedelta,
    gaps: GapPolicy = "error",
    since: pd.Timestamp | str | None = None,
    until: pd.Timestamp | str | None = None,
) -> Read:
    """Read mark-price candles: as ``read_bars``, but no volume is needed or kept (it is 0)."""
    return _read("mark", path, symbol, interval, gaps, (since, until))


@dataclass(frozen=True)
class _Rows:
    """Bars in ascending order: stamps (ns), prices, and each bar's record in the file."""

    ns: IntArray
    prices: Prices
    records: IntArray

    def take(self, chosen: slice | IntArray) -> _Rows:
        return _Rows(self.ns[chosen], self.prices.take(chosen), self.records[chosen])


def _read(
    kind: Literal["ohlcv", "mark"],
    path: Path | str,
    symbol: str,
    interval: pd.Timedelta,
    gaps: GapPolicy,
    cut: tuple[pd.Timestamp | str | None, pd.Timestamp | str | None],
) -> Read:
    table = open_table(path)
    where = f"{kind} {table.path.name}"
    columns = bar_columns(table, symbol=symbol, needs_volume=kind == "ohlcv")
    check_symbol(table, symbol)
    stamps, prices = _load(table, columns)
    source = _source(kind, table, stamps.ns)
    rows, order = _kept(table, columns.time, stamps.ns, prices, cut)
    _check_grid(table, columns.time, rows, interval)
    check_prices(table, columns, rows.prices, rows.records, with_volume=kind == "ohlcv")
    bars, gap_findings = _close_gaps(table, rows, symbol, interval, gaps, where)
    findings = (
        *stamp_findings(where, stamps, order),
        *_short(where, rows.ns, cut, to_ns(interval)),
        *price_findings(where, rows.ns, rows.prices, interval, with_volume=kind == "ohlcv"),
        *gap_findings,
    )
    return bars, findings, source


def _load(table: Table, columns: BarColumns) -> tuple[Stamps, Prices]:
    """Fetch and convert the whole file, in its own order."""
    numbers = (columns.open, columns.high, columns.low, columns.close)
    volume = () if columns.volume is None else (columns.volume,)
    fetched = table.fetch({columns.time: "time", **dict.fromkeys(numbers + volume, "number")})
    stamps = to_stamps(table, columns.time, fetched[columns.time])
    arrays = [to_numbers(table, i, fetched[i]) for i in numbers + volume]
    return stamps, Prices(*arrays, *(() if volume else (np.zeros(len(stamps.ns)),)))


def _source(kind: str, table: Table, ns: IntArray) -> DataSource:
    return DataSource(
        kind=kind,
        path=str(table.path),
        file_format=table.file_format,
        rows=len(ns),
        first=iso(ns.min()),
        last=iso(ns.max()),
        sha256=table.sha256,
    )


def iso(ns: int | np.int64) -> str:
    """Return nanoseconds as ISO-8601 with Z.

    >>> iso(0)
    '1970-01-01T00:00:00Z'
    """
    return pd.Timestamp(int(ns), tz="UTC").isoformat().replace("+00:00", "Z")


# ── the period asked for ─────────────────────────────────────────────────────────────────────────


def _kept(
    table: Table,
    position: int,
    ns: IntArray,
    prices: Prices,
    cut: tuple[pd.Timestamp | str | None, pd.Timestamp | str | None],
) -> tuple[_Rows, Order]:
    """Keep bars opened in ``[since, until)``, in ascending order, and say which order they had."""
    rows = _Rows(ns, prices, np.arange(len(ns)))
    since, until = (None if stamp is None else stamp_ns(stamp) for stamp in cut)
    if since is not None or until is not None:
        inside = (ns >= (ns.min() if since is None else since)) & (
            ns < (ns.max() + 1 if until is None else until)
        )
        rows = rows.take(np.flatnonzero(inside))
    if not len(rows.ns):
        raise table.error(
            f"no bar between market.since {cut[0]} and market.until {cut[1]}; "
            f"the file runs from {utc(ns.min())} to {utc(ns.max())}"
        )
    order = check_order(table, position, rows.ns, rows.records)
    return (rows if order == "ascending" else rows.take(slice(None, None, -1))), order


def stamp_ns(stamp: pd.Timestamp | str) -> int:
    """Return a stamp as UTC nanoseconds; without a zone it is read as UTC."""
    time = pd.Timestamp(stamp)
    aware = time.tz_localize("UTC") if time.tzinfo is None else time.tz_convert("UTC")
    return int(to_ns(aware))


def _short(
    where: str,
    ns: IntArray,
    cut: tuple[pd.Timestamp | str | None, pd.Timestamp | str | None],
    step: int,
) -> list[Finding]:
    """Say where the file does not reach as far as the period asked for."""
    since, until = cut
    ends = []
    if since is not None and ns[0] - stamp_ns(since) >= step:
        ends.append(("begins", ns[0], "since", stamp_ns(since)))
    if until is not None and stamp_ns(until) - ns[-1] > step:
        ends.append(("ends", ns[-1] + step, "until", stamp_ns(until)))
    return [
        Finding(
            code="D006",
            level=Level.WARN,
            where=where,
            message=f"the file {verb} short of market.{key}; bars lacking: "
            f"{abs(asked - found) // step:,}",
            observed=utc(found),
            expected=utc(asked),
        )
        for verb, found, key, asked in ends
    ]


# ── the grid ─────────────────────────────────────────────────────────────────────────────────────


def _check_grid(table: Table, position: int, rows: _Rows, interval: pd.Timedelta) -> None:
    """Check that bars stand on a regular grid of the configured interval."""
    step = to_ns(interval)
    _check_interval(table, position, rows, step)
    phases = rows.ns % step
    usual = phases[0] if (phases == phases[0]).all() else _most_common(phases)
    off = np.flatnonzero(phases != usual)
    if len(off):
        raise table.error(
            f"{utc(rows.ns[off[0]])} is off the grid of {interval} bars "
            f"({len(off):,} such rows); give every bar its regular open time",
            record=rows.records[off[0]],
            column=position,
        )
    if 0 < step - usual <= 10**9 and step <= _DAY:
        raise table.error(
            f"{utc(rows.ns[0])} ends a bar: these are close times; give the column of open times",
            record=rows.records[0],
            column=position,
        )


def _check_interval(table: Table, position: int, rows: _Rows, step: int) -> None:
    if len(rows.ns) < 2:
        return
    steps = np.diff(rows.ns)
    found = step if 2 * int((steps == step).sum()) > len(steps) else _most_common(steps)
    if found == step:
        return
    first = int(np.argmax(steps == found))
    raise table.error(
        f"bars are {pd.Timedelta(found)} apart (from {utc(rows.ns[first])}), market.interval says "
        f"{pd.Timedelta(step)}; set market.interval or give the right file",
        record=rows.records[first + 1],
        column=position,
    )


def _most_common(values: IntArray) -> int:
    found, counts = np.unique(values, return_counts=True)
    return int(found[np.argmax(counts)])


# ── gaps ─────────────────────────────────────────────────────────────────────────────────────────


def _close_gaps(
    table: Table,
    rows: _Rows,
    symbol: str,
    interval: pd.Timedelta,
    policy: GapPolicy,
    where: str,
) -> tuple[BarFrame, list[Finding]]:
    step = to_ns(interval)
    missing = np.diff(rows.ns) // step - 1
    at = np.flatnonzero(missing)
    if not len(at):
        return _frame(rows, symbol, interval, np.zeros(len(rows.ns), dtype=bool)), []
    summary = f"{int(missing.sum()):,} bars are missing in {len(at):,} gaps"
    if policy == "error":
        raise table.error(
            f"{summary}: the first, {missing[at[0]]:,} bars, after {utc(rows.ns[at[0]])}; the "
            f"longest {missing.max():,} bars; fetch them, or set market.gaps to fill (flat bars "
            "without volume) or drop (leave the gap)",
            record=rows.records[at[0] + 1],
        )
    finding = _gap_finding(where, rows.ns, missing, at, summary, policy)
    if policy == "drop":
        return _frame(rows, symbol, interval, np.zeros(len(rows.ns), dtype=bool)), [finding]
    full, filled = _fill(table, rows, step)
    return _frame(full, symbol, interval, filled), [finding]


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


def _fill(table: Table, rows: _Rows, step: int) -> tuple[_Rows, BoolArray]:
    """Put flat bars at the last close, without volume, where bars are missing."""
    places = (rows.ns - rows.ns[0]) // step
    total = int(places[-1]) + 1
    if total > 2 * len(rows.ns):
        raise table.error(
            f"filling would make up {total - len(rows.ns):,} bars, more than the {len(rows.ns):,} "
            "there are; cut the file with market.since and market.until, or fetch the rest"
        )
    filled = np.ones(total, dtype=bool)
    filled[places] = False
    latest = np.zeros(total, dtype=np.int64)
    latest[places] = np.arange(len(rows.ns))
    latest = np.maximum.accumulate(latest)
    prices = rows.prices.take(latest)
    flat = {name: np.where(filled, prices.close, getattr(prices, name)) for name in _FLAT}
    prices = replace(prices, **flat, volume=np.where(filled, 0.0, prices.volume))
    return _Rows(rows.ns[0] + step * np.arange(total), prices, rows.records[latest]), filled


_FLAT = ("open", "high", "low")


def _frame(rows: _Rows, symbol: str, interval: pd.Timedelta, filled: BoolArray) -> BarFrame:
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
