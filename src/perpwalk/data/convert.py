"""From Arrow columns to checked numbers and UTC nanoseconds, or the row that cannot be one."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from perpwalk.data.tables import Table
from perpwalk.domain import BoolArray, FloatArray, IntArray

# Epoch stamps between 2009 (the first bitcoin block) and 2100, per unit: the ranges do not touch.
_EPOCH_FIRST = 1_230_768_000
_EPOCH_LAST = 4_102_444_800
EPOCH_UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}

_YEAR_LAST = r"^(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})"
_ZONE = r"(?:Z|[+-]\d\d:?\d\d)$"
_TEXT_FORMATS = (
    (r"^\d{8} \d\d:\d\d$", "%Y%m%d %H:%M"),
    (r"^\d{8} \d\d:\d\d:\d\d$", "%Y%m%d %H:%M:%S"),
    (r"^\d{4}-\d\d-\d\d \d\d-[AP]M$", "%Y-%m-%d %I-%p"),
)
_ISO = r"^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?$"


@dataclass(frozen=True)
class Stamps:
    """Times of one column: int64 nanoseconds UTC, shape (n,), and how they were written.

    ``naive`` is True where the file gives wall-clock times without a zone (read as UTC);
    ``units`` names the epoch units found, empty for written-out dates.
    """

    ns: IntArray
    naive: bool
    units: tuple[str, ...] = ()


# ── numbers ──────────────────────────────────────────────────────────────────────────────────────


def to_numbers(table: Table, position: int, column: Any) -> FloatArray:
    """Return float64 of shape (n,); empty cells become NaN.

    Raises
    ------
    DataError
        A cell holds text that is no number, or the column is of another type altogether.
    """
    kind = _plain(column).type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return _as_float(column)
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _numbers_from_text(table, position, texts(column))
    raise table.error(f"holds {kind}, numbers are needed", column=position)


def _as_float(column: Any) -> FloatArray:
    values: FloatArray = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return values


def _numbers_from_text(table: Table, position: int, text: pd.Series[str]) -> FloatArray:
    missing = text.isna() | (text.str.strip() == "")
    numbers = pd.to_numeric(text.mask(missing), errors="coerce")
    bad = np.flatnonzero((numbers.isna() & ~missing).to_numpy() & (text.str.lower() != "nan"))
    if len(bad):
        raise table.error(f"'{text.iloc[bad[0]]}' is not a number", record=bad[0], column=position)
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)


def texts(column: Any) -> pd.Series[str]:
    """Return a text column as a Series of plain strings, missing where empty."""
    values: pd.Series[str] = pd.Series(_plain(column).to_pylist(), dtype=object).astype("str")
    return values


def _plain(column: Any) -> Any:
    """Return the column without dictionary encoding."""
    if pa.types.is_dictionary(column.type):
        return column.dictionary_decode()
    if hasattr(pa.types, "is_string_view") and pa.types.is_string_view(column.type):
        return column.cast(pa.string())
    return column


# ── times ────────────────────────────────────────────────────────────────────────────────────────


def to_stamps(table: Table, position: int, column: Any, zone: str = "UTC") -> Stamps:
    """Return the column's times as UTC nanoseconds.

    Epoch numbers are read as seconds, milli-, micro- or nanoseconds, whichever puts each between
    2009 and 2100 (the ranges are disjoint). Dates written day-first or month-first are read where
    the column itself tells which (``31/12/2024`` has no month 31); ``03/04/2024`` alone could be
    March or April and is refused. Stamps without a zone are times of ``zone``.

    Raises
    ------
    DataError
        A stamp is empty, implausible, of no known form, or only some carry a zone.
    """
    stamps = _stamps(table, position, column)
    return _moved(table, position, stamps, zone) if stamps.naive and zone != "UTC" else stamps


def clock_stamps(table: Table, position: int, column: Any, midnight: int) -> Stamps:
    """Return the times of a column of milliseconds since ``midnight`` (nanoseconds UTC)."""
    clock = to_numbers(table, position, column)
    off = ~((clock >= 0) & (clock < 86_400_000))
    if off.any():
        record = int(np.argmax(off))
        raise table.error(
            f"{clock[record]:.10g} is no time of day in milliseconds", record=record,
            column=position,
        )  # fmt: skip
    return Stamps(midnight + np.rint(clock).astype(np.int64) * 10**6, naive=True, units=("ms",))


def joined(dates: Any, times: Any) -> Any:
    """Return dates and times of day as one column of text."""
    return pa.compute.binary_join_element_wise(dates, times, " ")


def _moved(table: Table, position: int, stamps: Stamps, zone: str) -> Stamps:
    """Return wall-clock times of a zone as UTC; a column of whole days names days, not moments."""
    day = 86_400 * 10**9
    if not (stamps.ns % day).any():
        return stamps
    local = pd.DatetimeIndex(stamps.ns.view("M8[ns]"))
    aware = local.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    if aware.hasnans:
        record = int(np.argmax(aware.isna()))
        raise table.error(
            f"{local[record]} does not exist or exists twice in {zone} (clocks are changed)",
            record=record,
            column=position,
        )
    return Stamps(aware.tz_convert("UTC").as_unit("ns").asi8, naive=False, units=stamps.units)


def _stamps(table: Table, position: int, column: Any) -> Stamps:
    if column.null_count:
        empty = int(np.argmax(column.is_null().to_numpy(zero_copy_only=False)))
        raise table.error("the time stamp is empty", record=empty, column=position)
    plain = _plain(column)
    kind = plain.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _stamps_from_dates(table, position, plain)
    if pa.types.is_integer(kind):
        return _stamps_from_epoch(table, position, plain.cast(pa.int64()).to_numpy())
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _stamps_from_epoch(table, position, _as_float(plain))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _stamps_from_text(table, position, texts(plain).str.strip())
    raise table.error(f"holds {kind}, time stamps are needed", column=position)


def _stamps_from_dates(table: Table, position: int, column: Any) -> Stamps:
    naive = not pa.types.is_timestamp(column.type) or column.type.tz is None
    stamps = column if pa.types.is_timestamp(column.type) else column.cast(pa.timestamp("ms"))
    try:
        in_ns = stamps.cast(pa.timestamp("ns", stamps.type.tz))
    except pa.ArrowInvalid as error:
        raise table.error(f"holds an impossible date: {error}", column=position) from error
    ns: IntArray = in_ns.cast(pa.int64()).to_numpy()
    _require_plausible(table, position, ns // 10**9)
    return Stamps(ns, naive)


def _require_plausible(table: Table, position: int, seconds: IntArray) -> None:
    """Refuse written dates before 2009 or after 2100, which no perpetual has traded at.

    They are whole seconds since 1970: the year 2824 has no nanoseconds.
    """
    off = (seconds < _EPOCH_FIRST) | (seconds > _EPOCH_LAST)
    if off.any():
        record = int(np.argmax(off))
        raise table.error(
            f"{pd.Timestamp(int(seconds[record]), unit='s')} is not between 2009 and 2100",
            record=record,
            column=position,
        )


def _stamps_from_epoch(table: Table, position: int, values: IntArray | FloatArray) -> Stamps:
    smallest, largest = values.min(), values.max()
    for unit, factor in EPOCH_UNITS.items():  # one unit throughout: the usual case, two passes
        first, last = _epoch_range(factor)
        if first <= smallest and largest <= last:
            return Stamps(_scaled(values, factor), naive=False, units=(unit,))
    return _mixed_epochs(table, position, values)


def _mixed_epochs(table: Table, position: int, values: IntArray | FloatArray) -> Stamps:
    ns = np.zeros(len(values), dtype=np.int64)
    known: BoolArray = np.zeros(len(values), dtype=bool)
    units = []
    for unit, factor in EPOCH_UNITS.items():
        first, last = _epoch_range(factor)
        of_unit = (values >= first) & (values <= last)
        if of_unit.any():
            ns[of_unit] = _scaled(values[of_unit], factor)
            units.append(unit)
        known |= of_unit
    if not known.all():
        record = int(np.argmin(known))
        raise table.error(
            f"{values[record]} is no time stamp: in s, ms, us and ns alike it is not between "
            "2009 and 2100",
            record=record,
            column=position,
        )
    return Stamps(ns, naive=False, units=tuple(units))


def _epoch_range(factor: int) -> tuple[int, int]:
    per_second = 10**9 // factor
    return _EPOCH_FIRST * per_second, _EPOCH_LAST * per_second


def _scaled(values: IntArray | FloatArray, factor: int) -> IntArray:
    if values.dtype == np.int64:
        return values.astype(np.int64) * factor
    # Half a second written as a float is exact; microseconds of a float nanosecond stamp are not.
    return np.rint(values * min(factor, 10**3)).astype(np.int64) * (factor // min(factor, 10**3))


def _stamps_from_text(table: Table, position: int, text: pd.Series[str]) -> Stamps:
    counted = text.str.fullmatch(r"-?\d+(?:\.\d*)?(?:[eE][+]?\d+)?")
    if counted.all():
        return _stamps_from_epoch(table, position, _epoch_numbers(text))
    if counted.mean() > 0.5:
        record = int(np.argmin(counted.to_numpy()))
        raise table.error(
            f"'{text.iloc[record]}' stands among stamps counted since 1970",
            record=record,
            column=position,
        )
    for pattern, form in _TEXT_FORMATS:
        if text.str.fullmatch(pattern).all():
            parsed = pd.to_datetime(text, format=form, errors="coerce")
            return _parsed(table, position, text, parsed, naive=True)
    return _stamps_from_iso(table, position, text)


def _epoch_numbers(text: pd.Series[str]) -> IntArray | FloatArray:
    whole = text.str.removesuffix(".0")
    if whole.str.fullmatch(r"\d{1,18}|[1-8]\d{18}").all():
        return np.asarray(whole.astype(np.int64), dtype=np.int64)
    return np.asarray(text.astype(np.float64), dtype=np.float64)


def _stamps_from_iso(table: Table, position: int, text: pd.Series[str]) -> Stamps:
    iso = text.str.replace(r"\s*(?:UTC|GMT)$", "Z", regex=True)
    iso = iso.str.replace(r"^(\d{4})[/.](\d\d)[/.](\d\d)", r"\1-\2-\3", regex=True)
    if iso.str.match(_YEAR_LAST).all():
        iso = _year_first(table, position, iso)
    odd = ~iso.str.fullmatch(_ISO)
    if odd.any():
        record = int(np.argmax(odd.to_numpy()))
        raise table.error(_odd_stamp(text.iloc[record]), record=record, column=position)
    zoned = iso.str.contains(_ZONE, regex=True).to_numpy()
    if zoned.any() and not zoned.all():
        record = int(np.argmin(zoned == zoned[0]))
        raise table.error(
            f"'{text.iloc[record]}' and '{text.iloc[0]}': only one of them names a time zone; "
            "write all stamps in UTC with Z",
            record=record,
            column=position,
        )
    parsed = pd.to_datetime(iso, format="ISO8601", utc=True, errors="coerce").dt.tz_localize(None)
    return _parsed(table, position, text, parsed, naive=not zoned.any())


def _year_first(table: Table, position: int, text: pd.Series[str]) -> pd.Series[str]:
    """Turn a whole column of ``31/12/2024`` or ``12/31/2024`` round, if it tells which it is."""
    one, two = (text.str.extract(_YEAR_LAST, expand=True)[i].astype(int).to_numpy() for i in (0, 1))
    if (one.max() > 12) == (two.max() > 12):
        raise table.error(_odd_stamp(text.iloc[0]), record=0, column=position)
    day, month = (r"\1", r"\2") if one.max() > 12 else (r"\2", r"\1")
    padded = text.str.replace(r"(?<!\d)(\d)(?=[/.-])", r"0\1", regex=True)
    return padded.str.replace(_YEAR_LAST, rf"\3-{month}-{day}", regex=True)


def _odd_stamp(value: str) -> str:
    if re.match(r"^\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}", value):
        return (
            f"'{value}' could be day-first or month-first; write dates year-first, "
            "like 2024-01-31T00:00:00Z"
        )
    return f"'{value}' is no time stamp; write it like 2024-01-31T00:00:00Z"


def _parsed(
    table: Table, position: int, text: pd.Series[str], parsed: pd.Series[Any], *, naive: bool
) -> Stamps:
    impossible = parsed.isna().to_numpy()
    if impossible.any():
        record = int(np.argmax(impossible))
        raise table.error(
            f"'{text.iloc[record]}' is no possible date", record=record, column=position
        )
    times = pd.DatetimeIndex(parsed)
    _require_plausible(table, position, times.as_unit("s").asi8)
    return Stamps(times.as_unit("ns").asi8, naive)
