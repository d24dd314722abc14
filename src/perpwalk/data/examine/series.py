"""One file as far as it can be understood, with all that is wrong with its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from perpwalk.data.bars import are_close_times, oddities, usual_step
from perpwalk.data.columns import BarColumns, bar_columns, funding_columns, interest_columns
from perpwalk.data.contents import cut_finding, load_bars, stamps_of
from perpwalk.data.convert import Stamps, joined
from perpwalk.data.examine.salvage import (
    Salvaged,
    error,
    rows_named,
    salvage_numbers,
    salvage_stamps,
)
from perpwalk.data.funding import MAX_RATE, funding_findings, scale_error, settled_stamps
from perpwalk.data.kinds import Kind, kind_of
from perpwalk.data.layouts import AUTO, Layout, identify
from perpwalk.data.origin import page_finding
from perpwalk.data.repeats import (
    RepeatPolicy,
    columns_of,
    find_repeats,
    repeat_findings,
    versions,
)
from perpwalk.data.tables import Table, open_table, title_of
from perpwalk.data.validate import (
    Prices,
    check_belonging,
    listed,
    stamp_findings,
    utc,
)
from perpwalk.domain import BoolArray, Finding, FloatArray, FundingFrame, IntArray, Level, from_ns
from perpwalk.errors import DataError


@dataclass(frozen=True, eq=False)
class Series:
    """The usable rows of one file, ascending and without repeats.

    Attributes
    ----------
    rows
        Records in the file, usable or not.
    prices
        Of bars and mark candles; None else.
    values
        Closes, rates or open interest: the figure that two sources of one thing share.
    findings
        Everything that is wrong or odd with the rows.
    """

    path: Path
    kind: Kind
    layout: Layout
    file_format: str
    sha256: str
    rows: int
    ns: IntArray
    interval: pd.Timedelta
    prices: Prices | None
    values: FloatArray
    marks: FloatArray | None
    findings: tuple[Finding, ...]
    repeats: int = 0
    names: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Its name: a file's, or exchange and contract in the store."""
        return title_of(self.path, self.file_format)

    @property
    def where(self) -> str:
        """How findings call it."""
        return f"{self.kind} {self.title}"


def load_series(path: Path | str | Table, *, layout: str = AUTO, kind: Kind | None = None,
                symbol: str = "", duplicates: RepeatPolicy = "error") -> Series:  # fmt: skip
    """Read what can be read of a file; of rows that share a stamp one stays (``duplicates``).

    Raises
    ------
    DataError
        It cannot be opened, or its columns are not those of bars, funding or open interest.
    """
    opened = path if isinstance(path, Table) else open_table(path)
    table, ragged = opened.without_ragged_lines()
    found = kind or kind_of(table, table.path)
    writer = identify(table, found, layout)
    where = f"{found} {table.title}"
    problems = [*cut_finding(where, table)]
    if ragged:
        problems.append(
            error("D021", where, f"lines with too few or too many fields: {len(ragged):,}",
                  observed=f"rows {', '.join(map(str, ragged[:5]))}",
                  advice="is the file cut short, or the delimiter mixed?")
        )  # fmt: skip
    if found == "funding":
        return _funding(table, writer, where, problems, symbol, duplicates)
    if found == "open_interest":
        return _interest(table, writer, where, problems, duplicates)
    return _bars(table, found, writer, where, problems, symbol, duplicates)


# ── bars ─────────────────────────────────────────────────────────────────────────────────────────


def _bars(
    table: Table, kind: Kind, layout: Layout, where: str, problems: list[Finding], symbol: str,
    duplicates: RepeatPolicy,
) -> Series:  # fmt: skip
    with_volume = kind == "ohlcv"
    stamps, columns, prices, layout = _contents(table, kind, layout, symbol)
    problems += _stamp_problems(table, where, stamps)
    problems += list(_price_problems(table, where, columns, prices, with_volume))
    good = stamps.good & np.isfinite(prices.close)
    records = np.flatnonzero(good)
    values = columns_of(prices.take(records))
    ns, order, repeats, more = _in_order(
        table, where, stamps.values[good], records, values, duplicates
    )
    problems += more
    interval = usual_step(ns)
    kept = prices.take(records[order])
    problems += _off_grid(where, ns, interval)
    whole = np.isfinite(np.array([kept.open, kept.high, kept.low, kept.volume])).all(axis=0)
    whole &= kept.low > 0
    clean, clean_ns = kept.take(np.flatnonzero(whole)), ns[whole]
    if len(clean_ns) > 1:
        problems += oddities(where, clean_ns, clean, interval, with_volume=with_volume)
    try:
        check_belonging(table, columns, clean)
    except DataError as mixed:
        problems.append(error("D007", where, str(mixed).rpartition(": ")[2]))
    return Series(
        path=table.path, kind=kind, layout=layout, file_format=table.file_format,
        sha256=table.sha256, rows=len(stamps.good), ns=ns, interval=interval, prices=kept,
        values=kept.close, marks=None, findings=tuple(problems), repeats=repeats,
        names=table.names if table.has_header else (),
    )  # fmt: skip


def _contents(
    table: Table, kind: Kind, layout: Layout, symbol: str
) -> tuple[Salvaged, BarColumns, Prices, Layout]:
    """Read the file as a run would; where that fails, cell by cell."""
    name: Literal["ohlcv", "mark"] = "mark" if kind == "mark" else "ohlcv"
    try:
        found = load_bars(table, name, symbol=symbol, wanted=layout.name)
    except DataError:
        pass  # some cell is bad: which, and how many, is found below
    else:
        n = len(found.stamps.ns)
        naive = np.full(n, found.stamps.naive)
        stamps = Salvaged(found.stamps.ns, np.ones(n, dtype=bool), naive, found.stamps.units)
        return stamps, found.columns, found.prices, found.layout
    columns = bar_columns(table, layout, symbol=symbol, needs_volume=kind == "ohlcv")
    numbers = [columns.open, columns.high, columns.low, columns.close]
    numbers += [] if columns.volume is None else [columns.volume]
    times = [columns.time] if columns.clock is None else [columns.time, columns.clock]
    fetched = table.fetch({**dict.fromkeys(times, "text"), **dict.fromkeys(numbers, "number")})
    column = fetched[times[0]] if len(times) == 1 else joined(*(fetched[t] for t in times))
    stamps = salvage_stamps(lambda part: stamps_of(table, layout, columns.time, part), column)
    arrays = [salvage_numbers(table, i, fetched[i]).values for i in numbers]
    volume = arrays[4] if len(arrays) > 4 else np.zeros(len(column))
    return stamps, columns, Prices(arrays[0], arrays[1], arrays[2], arrays[3], volume), layout


def _stamp_problems(table: Table, where: str, stamps: Salvaged) -> list[Finding]:
    found = []
    bad = np.flatnonzero(~stamps.good)
    if len(bad):
        found.append(error("D002", where, f"time stamps that cannot be read: {len(bad):,}",
                           observed=rows_named(table, bad)))  # fmt: skip
    naive = stamps.naive[stamps.good]
    if naive.any() and not naive.all():
        found.append(error("D001", where, "only some time stamps name a time zone"))
    else:
        units = Stamps(stamps.values, bool(naive.any()), stamps.units)
        found += stamp_findings(where, units, "ascending")
    return found


def _price_problems(
    table: Table, where: str, columns: BarColumns, prices: Prices, with_volume: bool
) -> Iterator[Finding]:
    named = {"open": prices.open, "high": prices.high, "low": prices.low, "close": prices.close}

    def bad(code: str, message: str, holds: BoolArray) -> Iterator[Finding]:
        rows = np.flatnonzero(~holds)
        if len(rows):
            yield error(code, where, f"{message}: {len(rows):,}", observed=rows_named(table, rows))

    with np.errstate(invalid="ignore"):
        for name, values in (named | ({"volume": prices.volume} if with_volume else {})).items():
            column = table.names[getattr(columns, name)]
            finite = np.isfinite(values)
            yield from bad("D008", f"'{column}' is empty or no finite number", finite)
            low = values >= 0 if name == "volume" else values > 0
            word = "is below 0" if name == "volume" else "is not above 0"
            yield from bad("D008", f"'{column}' {word}", low | ~finite)
        known = np.isfinite(np.array(list(named.values()))).all(axis=0)
        top = prices.high >= np.maximum(prices.open, prices.close)
        bottom = prices.low <= np.minimum(prices.open, prices.close)
        yield from bad("D007", "high is below open or close", top | ~known)
        yield from bad("D007", "low is above open or close", bottom | ~known)
    if with_volume and len(prices.volume) and not (prices.volume != 0).any():
        yield Finding(
            code="D009", level=Level.WARN, where=where,
            message="no bar has any volume: are these mark or index candles?",
        )  # fmt: skip


def _off_grid(where: str, ns: IntArray, interval: pd.Timedelta) -> list[Finding]:
    if len(ns) < 2:
        return []
    step = interval.as_unit("ns").value
    phases = ns % step
    found, counts = np.unique(phases, return_counts=True)
    usual = found[np.argmax(counts)]
    if are_close_times(usual, step):
        return [error("D005", where, f"{utc(ns[0])} ends a bar: these are close times")]
    off = np.flatnonzero(phases != usual)
    if not len(off):
        return []
    return [
        error("D005", where, f"stamps off the grid of {interval} bars: {len(off):,}",
              observed=listed(ns[off]))
    ]  # fmt: skip


# ── order and repeats, of every kind ─────────────────────────────────────────────────────────────


def _in_order(
    table: Table, where: str, ns: IntArray, records: IntArray, values: tuple[FloatArray, ...],
    duplicates: RepeatPolicy,
) -> tuple[IntArray, IntArray, int, list[Finding]]:  # fmt: skip
    """Return ascending stamps without repeats, where each stood, and what was wrong."""
    found: list[Finding] = []
    if not len(ns):
        raise table.error("holds no row whose time can be read")
    stay = np.arange(len(ns))
    repeats = find_repeats(ns, values)
    if repeats is not None:
        found += repeat_findings(where, repeats, duplicates, versions(repeats, values))
        # What a run refuses is examined on as far as it goes: with the first of two rows.
        stay = np.delete(stay, repeats.dropped("first" if duplicates == "error" else duplicates))
        ns = ns[stay]
    steps = np.diff(ns)
    if (steps < 0).any() and not (steps > 0).any() and (steps < 0).all():
        found += stamp_findings(where, Stamps(ns, naive=False), "descending")
    elif (steps < 0).any() and (steps > 0).any():
        back = int(min((steps < 0).sum(), (steps > 0).sum()))
        first = int(np.argmax(steps < 0 if (steps > 0).sum() >= (steps < 0).sum() else steps > 0))
        found.append(
            error("D004", where, f"rows are not sorted by time: {back:,} steps against the rest",
                  observed=rows_named(table, records[stay[[first + 1]]]))
        )  # fmt: skip
    order = np.argsort(ns, kind="stable")
    return ns[order], stay[order], 0 if repeats is None else len(repeats.extra), found


# ── funding and open interest ────────────────────────────────────────────────────────────────────


def _two_columns(
    table: Table, layout: Layout, where: str, time: int, value: int
) -> tuple[Salvaged, Salvaged, list[Finding]]:
    fetched = table.fetch({time: "text", value: "number"})
    stamps = salvage_stamps(lambda part: stamps_of(table, layout, time, part), fetched[time])
    values = salvage_numbers(table, value, fetched[value])
    problems = _stamp_problems(table, where, stamps)
    bad = np.flatnonzero(~values.good)
    if len(bad):
        named = f"'{table.names[value]}' is empty or no finite number"
        problems.append(
            error("D008", where, f"{named}: {len(bad):,}", observed=rows_named(table, bad))
        )
    return stamps, values, problems


def _funding(
    table: Table, layout: Layout, where: str, problems: list[Finding], symbol: str,
    duplicates: RepeatPolicy,
) -> Series:  # fmt: skip
    columns = funding_columns(table)
    stamps, rates, more = _two_columns(table, layout, where, columns.time, columns.rate)
    problems += more
    good = np.flatnonzero(stamps.good & rates.good)
    settled, moved = settled_stamps(stamps.values[good])
    ns, order, repeats, more = _in_order(
        table, where, settled, good, (rates.values[good],), duplicates
    )
    problems += more
    rate = rates.values[good][order]
    problems += _rate_problems(table, where, columns.rate, rates.values, stamps.good)
    problems += page_finding(where, len(stamps.good))
    frame = FundingFrame.of(from_ns(ns), rate, symbol=symbol)
    naive = bool(stamps.naive[stamps.good].any())
    problems += funding_findings(where, frame, moved, naive=naive)
    return Series(
        path=table.path, kind="funding", layout=layout, file_format=table.file_format,
        sha256=table.sha256, rows=len(stamps.good), ns=ns, interval=usual_step(ns), prices=None,
        values=rate, marks=_marks(table, columns.mark, good[order]), findings=tuple(problems),
        repeats=repeats,
        names=table.names if table.has_header else (),
    )  # fmt: skip


def _marks(table: Table, position: int | None, chosen: IntArray) -> FloatArray | None:
    if position is None:
        return None
    marks = salvage_numbers(table, position, table.fetch({position: "number"})[position]).values
    kept: FloatArray = np.where(marks > 0, marks, np.nan)[chosen]
    return kept


def _rate_problems(
    table: Table, where: str, position: int, rate: FloatArray, good: BoolArray
) -> list[Finding]:
    found = []
    with np.errstate(invalid="ignore"):
        high = np.flatnonzero(good & (np.abs(rate) > MAX_RATE))
    if len(high):
        found.append(
            error("D012", where, f"rates above {MAX_RATE:.0%} per settlement: {len(high):,}",
                  observed=rows_named(table, high))
        )  # fmt: skip
    known = rate[np.isfinite(rate)]
    complaint = scale_error(table, position, known) if len(known) else None
    if complaint is not None:
        found.append(error("D012", where, str(complaint).partition(": ")[2]))
    return found


def _interest(
    table: Table, layout: Layout, where: str, problems: list[Finding], duplicates: RepeatPolicy
) -> Series:
    time, value = interest_columns(table)
    stamps, values, more = _two_columns(table, layout, where, time, value)
    problems += more
    good = np.flatnonzero(stamps.good & values.good)
    ns, order, repeats, more = _in_order(
        table, where, stamps.values[good], good, (values.values[good],), duplicates
    )
    problems += [*more, *page_finding(where, len(stamps.good))]
    interest = values.values[good][order]
    if (interest <= 0).any():
        problems.append(
            Finding(code="D008", level=Level.WARN, where=where,
                    message=f"open interest that is not above 0: {int((interest <= 0).sum()):,}",
                    observed=listed(ns[interest <= 0]))
        )  # fmt: skip
    return Series(
        path=table.path, kind="open_interest", layout=layout, file_format=table.file_format,
        sha256=table.sha256, rows=len(stamps.good), ns=ns, interval=usual_step(ns), prices=None,
        values=interest, marks=None, findings=tuple(problems), repeats=repeats,
        names=table.names if table.has_header else (),
    )  # fmt: skip


def cut(series: Series, since: int | None, until: int | None) -> Series:
    """Return the series within ``[since, until)``; its findings stay those of the whole."""
    inside = np.ones(len(series.ns), dtype=bool)
    inside &= True if since is None else series.ns >= since
    inside &= True if until is None else series.ns < until
    rows = np.flatnonzero(inside)

    def part(values: Any) -> Any:
        return None if values is None else values[rows]

    return replace(
        series, ns=series.ns[rows], values=series.values[rows], marks=part(series.marks),
        prices=None if series.prices is None else series.prices.take(rows),
    )  # fmt: skip
