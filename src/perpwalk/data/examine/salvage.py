"""Taking what can be understood of a file, and counting what cannot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from perpwalk.data.convert import Stamps, to_numbers
from perpwalk.data.tables import Table
from perpwalk.domain import BoolArray, Finding, FloatArray, IntArray, Level
from perpwalk.errors import DataError

NAMED = 5
MOST_TRIED = 300


@dataclass(frozen=True, eq=False)
class Salvaged:
    """Values of one column, which of them are good, and what was said of the first bad ones."""

    values: Any
    good: BoolArray
    naive: BoolArray
    units: tuple[str, ...]


def rows_named(table: Table, records: IntArray) -> str:
    """Return the rows a user finds records by, the first few."""
    shown = ", ".join(str(table.row(int(record))) for record in records[:NAMED])
    more = f" and {len(records) - NAMED:,} more" if len(records) > NAMED else ""
    return f"row{'s' if len(records) > 1 else ''} {shown}{more}"


def salvage_stamps(convert: Callable[[Any], Stamps], column: Any) -> Salvaged:
    """Convert a column of times by halves, leaving out the cells that cannot be converted."""
    ns = np.zeros(len(column), dtype=np.int64)
    good, naive = np.zeros(len(column), dtype=bool), np.zeros(len(column), dtype=bool)
    units: set[str] = set()

    def keep(start: int, stop: int, part: Stamps) -> None:
        ns[start:stop], good[start:stop], naive[start:stop] = part.ns, True, part.naive
        units.update(part.units)

    _by_halves(column, convert, keep)
    return Salvaged(ns, good, naive, tuple(sorted(units)))


def salvage_numbers(table: Table, position: int, column: Any) -> Salvaged:
    """Convert a column of numbers, leaving out the cells that cannot be converted."""
    values: FloatArray = np.full(len(column), np.nan)

    def keep(start: int, stop: int, part: FloatArray) -> None:
        values[start:stop] = part

    _by_halves(column, lambda part: to_numbers(table, position, part), keep)
    return Salvaged(values, np.isfinite(values), np.zeros(len(column), dtype=bool), ())


def _by_halves(
    column: Any, convert: Callable[[Any], Any], keep: Callable[[int, int, Any], None]
) -> None:
    """Convert stretches without a bad cell as a whole; a lone cell that fails is left out.

    After ``MOST_TRIED`` bad cells the stretches that still hold some are left out whole: such a
    column is of another kind altogether.
    """
    failures = 0
    waiting = [(0, len(column))]
    while waiting:
        start, stop = waiting.pop()
        try:
            part = convert(column.slice(start, stop - start))
        except DataError:
            if stop - start == 1 or failures > MOST_TRIED:
                failures += 1
                continue
            middle = (start + stop) // 2
            waiting += [(middle, stop), (start, middle)]
        else:
            keep(start, stop, part)


def error(code: str, where: str, message: str, **more: str | None) -> Finding:
    """Return a finding for which a run would refuse the file."""
    return Finding(code=code, level=Level.ERROR, where=where, message=message, **more)
