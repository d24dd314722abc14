"""What a file holds: bars, mark candles, funding or open interest, told by its columns."""

from __future__ import annotations

import re
from pathlib import Path

from perpwalk.data.columns import bar_columns, funding_columns, has_interest
from perpwalk.data.layouts import PLAIN, Kind, named
from perpwalk.data.tables import Table
from perpwalk.errors import DataError

__all__ = ["Kind", "kind_of"]

_MARK = re.compile(r"(?:^|[^a-z])mark(?:price)?(?:klines)?(?:[^a-z]|$)", re.IGNORECASE)


def kind_of(table: Table, path: Path | str) -> Kind:
    """Return what a table holds; names decide, and for mark candles the file's own name too.

    Raises
    ------
    DataError
        It is none of these; the message is that of bars, the usual case.
    """
    if has_interest(table):
        return "open_interest"
    try:
        funding_columns(table)
    except DataError:
        pass  # no rate: bars are tried next, and their message is the one given
    else:
        return "funding"
    plain = named(PLAIN)
    try:
        bar_columns(table, plain, symbol="", needs_volume=True)
    except DataError:
        bar_columns(table, plain, symbol="", needs_volume=False)
        return "mark"
    named_mark = _MARK.search(Path(path).name) or _MARK.search(table.member)
    return "mark" if named_mark else "ohlcv"
