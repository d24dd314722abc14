"""Reading a run's market from the store.

Bars were checked when they were stored, and the hashes vouch for them; what is merely odd about
them (thin hours, jumps) is computed once per content and remembered beside the series. Mark prices
and funding go through the readers of files.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from perpwalk import run_files, strict
from perpwalk.config import MarketSection, parse_duration
from perpwalk.data import bars as bar_rules
from perpwalk.data import origin, outliers, validate
from perpwalk.data.bars import Read, oddities, short_findings, stamp_ns
from perpwalk.data.gaps import GapPolicy, settle_gaps
from perpwalk.data.gaps import Rows as BarRows
from perpwalk.data.store.catalog import Catalog, read_catalog
from perpwalk.data.store.columns import Columns, read_columns
from perpwalk.data.store.place import exchange_name, find_store
from perpwalk.data.store.ranges import Span, subtract
from perpwalk.data.store.series import (
    DAY,
    IN_CONTRACTS,
    LONGEST_SETTLEMENT,
    MINUTE,
    Rows,
    SeriesKey,
    SeriesKind,
    content_hash,
    interval_text,
    iso_ms,
    month_hashes,
    refused,
)
from perpwalk.data.tables import STORE, Table, stored_table, title_of
from perpwalk.data.validate import Prices
from perpwalk.domain import BarFrame, DataSource, Finding, Level, from_ns, to_ns
from perpwalk.errors import DataError, EnvironmentFailedError
from perpwalk.runs import write_json

_MS = 10**6
_MONTH = np.timedelta64(1, "M")
_FINDINGS = "_findings"


def stored_bars(
    section: MarketSection,
    *,
    symbol: str,
    interval: pd.Timedelta,
    gaps: GapPolicy,
    since: str | None,
    until: str | None,
) -> Read:
    """Read trade bars of ``section.exchange`` from the store; as ``read_bars`` of a file.

    Raises
    ------
    DataError
        The store lacks some of the period, with the command that fetches it.
    """
    _, folder, catalog = _series(section, "ohlcv", interval)
    start, end = _period(section, catalog, since, until)
    _check_covered(section, catalog, (start, end))
    catalog, columns = _read(folder, catalog)
    first, last = (int(i) for i in np.searchsorted(columns.time, [start * _MS, end * _MS]))
    if first == last:
        raise DataError(
            f"no bar between {iso_ms(start)} and {iso_ms(end)}; the series runs from "
            f"{iso_ms(catalog.first or 0)} to {iso_ms(catalog.last or 0)}",
            path=folder,
        )
    source = _source(catalog, folder, columns, first, last)
    ns = columns.time[first:last]
    values = columns.values[:, first:last]
    if not (_sound(ns, values, catalog.key) or _legal(ns, values, catalog.key)):
        raise DataError("holds rows that are no bars: it was not written by perpwalk", path=folder)
    prices = Prices(*values)
    where = f"ohlcv {title_of(folder, STORE)}"
    bars, gap_findings = _frame(ns, prices, symbol, interval, gaps, where, folder)
    findings = (
        *_notes(where, catalog),
        *short_findings(where, ns, (since, until), to_ns(interval)),
        *_oddities(folder, where, ns, prices, interval, source.sha256),
        *gap_findings,
    )
    return bars, findings, source


def _sound(ns: np.ndarray, values: np.ndarray, key: SeriesKey) -> bool:
    """Return whether bars are beyond doubt, as in nearly every store: what is cheap to tell."""
    step = key.step * _MS
    if ns[0] % step or not (np.diff(ns) == step).all() or not np.isfinite(values.sum()):
        return False
    opened, high, low, close, volume = values
    return bool(
        low.min() > 0
        and volume.min() >= 0
        and (high >= opened).all()
        and (high >= close).all()
        and (low <= opened).all()
        and (low <= close).all()
    )


def _legal(ns: np.ndarray, values: np.ndarray, key: SeriesKey) -> bool:
    """Return whether bars are in order and each is one that a series may hold."""
    return not refused(key, Rows(ns // _MS, values)).any() and bool((np.diff(ns) > 0).all())


def stored_series(section: MarketSection, kind: SeriesKind) -> Table | None:
    """Return all there is of a series, for whoever examines it; None where there is none."""
    text = section.interval if section.resample_from is None else section.resample_from
    span = (0, np.iinfo(np.int64).max // _MS)
    return _table(section, kind, parse_duration(text, pd.Timedelta(0)), span)


def stored_mark(section: MarketSection, interval: pd.Timedelta, bars: BarFrame) -> Table | None:
    """Return the mark candles of the bars' period, None where the store has none of them."""
    start, end = _span_of(bars)
    return _table(section, "mark", interval, (start, end))


def stored_funding(section: MarketSection, interval: pd.Timedelta, bars: BarFrame) -> Table | None:
    """Return the settlements of the bars' period; None where there are none and none are needed.

    Raises
    ------
    DataError
        The store lacks some, with the command that fetches them, unless the store has no funding
        at all and ``market.missing_funding`` says how to go on without.
    """
    start, end = _span_of(bars)
    _, _, catalog = _series(section, "funding", interval)
    if catalog.rows or section.missing_funding == "error":
        _check_covered(section, catalog, (start, end))
    # A settlement is stamped some seconds late, and the one before the first bar says its interval.
    return _table(section, "funding", interval, (start - DAY, end + MINUTE))


def _table(
    section: MarketSection, kind: SeriesKind, interval: pd.Timedelta, span: Span
) -> Table | None:
    """Return the rows of ``span`` as a table for the readers of files."""
    key, folder, catalog = _series(section, kind, interval)
    if not catalog.rows:
        return None
    catalog, columns = _read(folder, catalog)
    first, last = (int(i) for i in np.searchsorted(columns.time, np.array(span) * _MS))
    if first == last:
        return None
    stamps = pa.array(columns.time[first:last]).cast(pa.timestamp("ns", "UTC"))
    arrays = [stamps, *(pa.array(values[first:last]) for values in columns.values)]
    digest = _hash(catalog, columns, first, last)
    return stored_table(folder, digest, pa.table(dict(zip(key.columns, arrays, strict=True))))


def _span_of(bars: BarFrame) -> Span:
    return int(to_ns(bars.open_time[0])) // _MS, int(to_ns(bars.close_time[-1])) // _MS


def _series(
    section: MarketSection, kind: SeriesKind, interval: pd.Timedelta
) -> tuple[SeriesKey, Path, Catalog]:
    text = interval_text(to_ns(interval) // _MS)
    key = SeriesKey.of(exchange_name(str(section.exchange)), section.symbol, kind, text)
    folder = key.folder(find_store(section.store))
    return key, folder, read_catalog(folder, key)


def _read(folder: Path, catalog: Catalog) -> tuple[Catalog, Columns]:
    """Return all rows of a series, and the catalog they are of.

    A fetch that ends just now has replaced the catalog, and swept away files that the old one
    names: then these are the rows of the new one.
    """
    while True:
        try:
            return catalog, read_columns(folder, catalog)
        except DataError:
            now = read_catalog(folder, catalog.key)
            if now == catalog:
                raise
            catalog = now


# ── the period ───────────────────────────────────────────────────────────────────────────────────


def _period(section: MarketSection, catalog: Catalog, since: str | None, until: str | None) -> Span:
    if catalog.first is None or catalog.last is None:
        raise DataError(
            f"{_root(section)} holds no {catalog.key}; fetch it: "
            f"{_command(section, catalog.key, since or '2020-01-01', until)}"
        )
    start = catalog.first if since is None else stamp_ns(since) // _MS
    end = catalog.last + catalog.key.step if until is None else stamp_ns(until) // _MS
    return start, end


def _check_covered(section: MarketSection, catalog: Catalog, span: Span) -> None:
    missing = subtract([span], catalog.covered)
    if catalog.key.kind == "funding" and missing:
        start, end = missing[-1]
        if end == span[1] and end - start <= LONGEST_SETTLEMENT + MINUTE:
            missing.pop()  # the last settlement covers the time up to the next
    if not missing:
        return
    start, end = missing[0]
    more = f" and {len(missing) - 1} more stretches" if len(missing) > 1 else ""
    raise DataError(
        f"{_root(section)} lacks {catalog.key} from {iso_ms(start)} to {iso_ms(end)}{more}; "
        f"fetch it: {_command(section, catalog.key, iso_ms(span[0]), iso_ms(missing[-1][1]))}"
    )


def _root(section: MarketSection) -> Path:
    return find_store(section.store)


def _command(section: MarketSection, key: SeriesKey, since: str, until: str | None) -> str:
    """Return the command that fetches what a run needs."""
    root = _root(section)
    interval = "" if key.interval in ("1h", "settled") else f" --interval {key.interval}"
    end = "" if until is None else f" --until {_day(until)}"
    store = "" if root == find_store() else f" --store {root}"
    kinds = "" if key.kind in ("ohlcv", "funding", "mark") else f" --kinds {key.kind}"
    return (
        f"perpwalk data fetch {key.exchange} {key.symbol}{interval} --since {_day(since)}"
        f"{end}{kinds}{store}"
    )


def _day(stamp: str) -> str:
    """Return a stamp as short as it can be typed.

    >>> _day("2020-01-01T00:00:00Z"), _day("2020-01-01T05:00:00Z")
    ('2020-01-01', '2020-01-01T05:00:00Z')
    """
    return stamp.removesuffix("T00:00:00Z")


# ── what was read ────────────────────────────────────────────────────────────────────────────────


def _source(catalog: Catalog, folder: Path, columns: Columns, first: int, last: int) -> DataSource:
    time = columns.time
    return DataSource(
        kind=catalog.key.kind,
        path=str(folder),
        file_format=STORE,
        rows=last - first,
        first=iso_ms(int(time[first]) // _MS),
        last=iso_ms(int(time[last - 1]) // _MS),
        sha256=_hash(catalog, columns, first, last),
        layout="plain",
    )


def _hash(catalog: Catalog, columns: Columns, first: int, last: int) -> str:
    """Return the hash of what these rows hold: months that are cut are hashed, others known."""
    known = {name: digest for one in catalog.partitions for name, digest in one.months.items()}
    begin, end = (str(np.datetime64(int(columns.time[i]), "ns"))[:7] for i in (first, last - 1))
    months = {name: digest for name, digest in known.items() if begin <= name <= end}
    for name in {begin, end}:
        month = np.datetime64(name, "M")
        edges = [int(at.astype("M8[ns]").astype(np.int64)) for at in (month, month + _MONTH)]
        low, high = (int(i) for i in np.searchsorted(columns.time, edges))
        if low < first or high > last:
            cut = slice(max(low, first), min(high, last))
            rows = Rows(columns.time[cut] // _MS, columns.values[:, cut])
            months.update(month_hashes(catalog.key, rows))
    return content_hash(months)


def _frame(
    ns: np.ndarray,
    prices: Prices,
    symbol: str,
    interval: pd.Timedelta,
    gaps: GapPolicy,
    where: str,
    folder: Path,
) -> tuple[BarFrame, Sequence[Finding]]:
    if ns[-1] - ns[0] != to_ns(interval) * (len(ns) - 1):
        rows = BarRows(ns, prices, np.arange(len(ns)))
        return settle_gaps(
            rows, symbol, interval, gaps, where, lambda message, _: DataError(message, path=folder)
        )
    filled = np.zeros(len(ns), dtype=bool)
    filled.flags.writeable = False
    # The arrays are read-only and own their memory through the flat copy: nothing to copy again.
    frame = BarFrame(
        symbol=symbol,
        interval=interval,
        open_time=from_ns(ns),
        open=prices.open,
        high=prices.high,
        low=prices.low,
        close=prices.close,
        volume=prices.volume,
        filled=filled,
    )
    return frame, ()


def _notes(where: str, catalog: Catalog) -> list[Finding]:
    """Pass on what the fetch had to say."""
    found = [
        Finding(code="D019", level=Level.WARN, where=where, message=note)
        for note in catalog.notes
        if note.startswith(IN_CONTRACTS)
    ]
    refused = [note for note in catalog.notes if "refused" in note]
    if refused:
        found.append(
            Finding(
                code="D007",
                level=Level.INFO,
                where=where,
                message="the exchange sent rows that no series may hold; they were left out",
                observed="; ".join(refused[:5]),
            )
        )
    return found


# ── what is odd, remembered ──────────────────────────────────────────────────────────────────────


def _oddities(
    folder: Path,
    where: str,
    ns: np.ndarray,
    prices: Prices,
    interval: pd.Timedelta,
    content: str,
) -> Sequence[Finding]:
    """Return the findings on these bars, computed once for their content and these rules."""
    name = hashlib.sha256(f"{content} {where} {_rules()}".encode()).hexdigest()[:16]
    path = folder / _FINDINGS / f"{name}.json"
    try:
        return [_finding(stored) for stored in strict.parse_json(strict.file_bytes(path))]
    except (OSError, ValueError, TypeError, KeyError):
        pass  # not known yet, or damaged: computed again
    found = oddities(where, ns, prices, interval, with_volume=True)
    with suppress(OSError, EnvironmentFailedError):  # a store may be read-only
        path.parent.mkdir(exist_ok=True)
        write_json(path, [finding.as_dict() for finding in found])
    return found


def _finding(stored: dict[str, str]) -> Finding:
    run_files.FindingEntry.model_validate(stored)
    return replace(Finding(**stored), level=Level(stored["level"]))  # type: ignore[arg-type]


@functools.cache
def _rules() -> str:
    """Return the hash of the rules by which bars are judged: other rules, other findings."""
    files = (bar_rules.__file__, validate.__file__, outliers.__file__, origin.__file__)
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()
