"""Reading bars: a file in, a checked ``BarFrame`` out, gaps handled by the stated policy."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from perpwalk.config import read_stamp
from perpwalk.data.columns import check_symbol
from perpwalk.data.contents import Contents, load_bars
from perpwalk.data.gaps import GapPolicy, Rows, settle_gaps
from perpwalk.data.layouts import AUTO
from perpwalk.data.origin import origin_findings
from perpwalk.data.outliers import outlier_findings
from perpwalk.data.repeats import RepeatPolicy, columns_of, settle_repeats
from perpwalk.data.tables import Table, open_table
from perpwalk.data.validate import (
    Prices,
    check_belonging,
    check_order,
    check_prices,
    price_findings,
    stamp_findings,
    utc,
)
from perpwalk.domain import (
    BarFrame,
    DataSource,
    Finding,
    IntArray,
    Level,
    to_ns,
)
from perpwalk.errors import UsageError

Read = tuple[BarFrame, tuple[Finding, ...], DataSource]

_DAY = 86_400 * 10**9


def read_bars(
    path: Path | str,
    *,
    symbol: str,
    interval: pd.Timedelta | None,
    gaps: GapPolicy = "error",
    since: pd.Timestamp | str | None = None,
    until: pd.Timestamp | str | None = None,
    layout: str = AUTO,
    duplicates: RepeatPolicy = "error",
) -> Read:
    """Read OHLCV bars from CSV, JSON, Parquet, Feather or NumPy, packed by gzip or zip or not.

    Parameters
    ----------
    symbol
        Contract the bars are of; a symbol column that contradicts it is an error. Empty: unknown.
    interval
        Length of one bar; bars of another length are an error. None takes the most common step.
    gaps
        ``error`` refuses missing bars; ``fill`` makes flat bars at the last close with volume 0,
        marked in ``BarFrame.filled``; ``drop`` leaves the gap, so bars are irregular in time.
    since, until
        Keep bars with ``since <= open_time < until`` (UTC). Order, grid, prices and gaps are judged
        on what is kept, so a bad stretch can be cut away.
    layout
        Whose file it is (see ``perpwalk.data.layouts``); ``auto`` tells it by content.
    duplicates
        Which row stays of those that share a stamp and differ: ``error`` refuses the file,
        ``first`` and ``last`` go by the order of the file (see ``perpwalk.data.repeats``).

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
    return _read("ohlcv", path, symbol, interval, gaps, (since, until), layout, duplicates)


def read_mark(
    path: Path | str | Table,
    *,
    symbol: str,
    interval: pd.Timedelta | None,
    gaps: GapPolicy = "error",
    since: pd.Timestamp | str | None = None,
    until: pd.Timestamp | str | None = None,
    layout: str = AUTO,
    duplicates: RepeatPolicy = "error",
) -> Read:
    """Read mark-price candles: as ``read_bars``, but no volume is needed or kept (it is 0)."""
    return _read("mark", path, symbol, interval, gaps, (since, until), layout, duplicates)


def _read(
    kind: Literal["ohlcv", "mark"],
    path: Path | str | Table,
    symbol: str,
    interval: pd.Timedelta | None,
    gaps: GapPolicy,
    cut: tuple[pd.Timestamp | str | None, pd.Timestamp | str | None],
    layout: str,
    duplicates: RepeatPolicy,
) -> Read:
    table = path if isinstance(path, Table) else open_table(path)
    where = f"{kind} {table.title}"
    found = load_bars(table, kind, symbol=symbol, wanted=layout)
    check_symbol(table, symbol)
    stamps, columns = found.stamps, found.columns
    source = _source(kind, found)
    rows = _within(table, stamps.ns, found.prices, cut)
    rows, repeat_findings = _single(table, where, columns.time, rows, duplicates)
    order = check_order(table, columns.time, rows.ns, rows.records)
    rows = rows if order == "ascending" else rows.take(slice(None, None, -1))
    interval = usual_step(rows.ns) if interval is None else interval
    _check_grid(table, columns.time, rows, interval)
    check_prices(table, columns, rows.prices, rows.records, with_volume=kind == "ohlcv")
    check_belonging(table, columns, rows.prices)
    bars, gap_findings = settle_gaps(
        rows, symbol, interval, gaps, where, lambda m, row: table.error(m, record=rows.records[row])
    )
    findings = (
        *found.findings(where),
        *stamp_findings(where, stamps, order),
        *repeat_findings,
        *short_findings(where, rows.ns, cut, to_ns(interval)),
        *oddities(where, rows.ns, rows.prices, interval, with_volume=kind == "ohlcv"),
        *gap_findings,
    )
    return bars, findings, source


def oddities(
    where: str, ns: IntArray, prices: Prices, interval: pd.Timedelta, *, with_volume: bool
) -> tuple[Finding, ...]:
    """Return what is odd about bars on which a run is possible all the same."""
    return (
        *outlier_findings(where, ns, prices, interval, with_volume=with_volume),
        *price_findings(where, ns, prices, interval, with_volume=with_volume),
        *origin_findings(where, ns, prices, with_volume=with_volume),
    )


def are_close_times(phase: int | np.int64, step: int) -> bool:
    """Tell stamps that end bars by the last second of each: no bar opens there."""
    return bool(0 < step - phase <= 10**9 and step <= _DAY)


def usual_step(ns: IntArray) -> pd.Timedelta:
    """Return the most common distance of stamps in any one order; an hour for a single one."""
    steps = np.abs(np.diff(ns))
    steps = steps[steps > 0]
    return pd.Timedelta(_most_common(steps), "ns") if len(steps) else pd.Timedelta("1h")


def _source(kind: str, found: Contents) -> DataSource:
    table, ns = found.table, found.stamps.ns
    return DataSource(
        kind=kind,
        path=str(table.path),
        file_format=table.file_format,
        rows=len(ns),
        first=iso(ns.min()),
        last=iso(ns.max()),
        sha256=table.sha256,
        layout=found.layout.name,
    )


def iso(ns: int | np.int64) -> str:
    """Return nanoseconds as ISO-8601 with Z.

    >>> iso(0)
    '1970-01-01T00:00:00Z'
    """
    return pd.Timestamp(int(ns), tz="UTC").isoformat().replace("+00:00", "Z")


# ── the period asked for ─────────────────────────────────────────────────────────────────────────


def _within(
    table: Table,
    ns: IntArray,
    prices: Prices,
    cut: tuple[pd.Timestamp | str | None, pd.Timestamp | str | None],
) -> Rows:
    """Keep bars opened in ``[since, until)``, in the order of the file."""
    rows = Rows(ns, prices, np.arange(len(ns)))
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
    return rows


def _single(
    table: Table, where: str, position: int, rows: Rows, policy: RepeatPolicy
) -> tuple[Rows, list[Finding]]:
    """Keep one row per time stamp, as ``policy`` says."""
    values = columns_of(rows.prices)
    stay, found = settle_repeats(table, where, position, rows.ns, values, policy, rows.records)
    return (rows if stay is None else rows.take(stay)), found


def stamp_ns(stamp: pd.Timestamp | str) -> int:
    """Return a stamp as UTC nanoseconds; without a zone it is read as UTC."""
    try:
        return int(to_ns(read_stamp(stamp)))
    except ValueError as error:
        raise UsageError(str(error)) from error


def short_findings(
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


def _check_grid(table: Table, position: int, rows: Rows, interval: pd.Timedelta) -> None:
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
    if are_close_times(usual, step):
        raise table.error(
            f"{utc(rows.ns[0])} ends a bar: these are close times; give the column of open times",
            record=rows.records[0],
            column=position,
        )


def _check_interval(table: Table, position: int, rows: Rows, step: int) -> None:
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
