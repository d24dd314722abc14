"""A bar file's whole contents, converted, in its own order: before anything is cut or judged."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from perpwalk.data.columns import BarColumns, bar_columns
from perpwalk.data.convert import Stamps, clock_stamps, joined, to_numbers, to_stamps
from perpwalk.data.layouts import (
    LOW_HIGH_FIRST,
    OPEN_CLOSE_FIRST,
    PLAIN,
    Layout,
    identify,
    named,
)
from perpwalk.data.tables import Table
from perpwalk.data.validate import Prices, are_candles
from perpwalk.domain import Finding, FloatArray, Level

_BY_ORDER = {OPEN_CLOSE_FIRST: "jesse", LOW_HIGH_FIRST: "coinbase"}


@dataclass(frozen=True, eq=False)
class Contents:
    """What a bar file holds, and whose file it was taken for."""

    table: Table
    layout: Layout
    columns: BarColumns
    stamps: Stamps
    prices: Prices

    def findings(self, where: str) -> list[Finding]:
        """Say what its reader should know of the file as such."""
        found = cut_finding(where, self.table)
        if self.layout.note is not None:
            found.append(
                Finding(
                    code="D019",
                    level=Level.WARN,
                    where=where,
                    message=f"taken for {self.layout.title}: {self.layout.note}",
                    why="volume features and volume limits of fills assume coins",
                )
            )
        return found


def load_bars(
    table: Table, kind: Literal["ohlcv", "mark"], *, symbol: str, wanted: str
) -> Contents:
    """Convert every row of a bar file; the first cell that cannot be converted is an error."""
    layout = identify(table, kind, wanted)
    columns = bar_columns(table, layout, symbol=symbol, needs_volume=kind == "ohlcv")
    numbers = (columns.open, columns.high, columns.low, columns.close)
    volume = () if columns.volume is None else (columns.volume,)
    times = (columns.time,) if columns.clock is None else (columns.time, columns.clock)
    as_text = columns.clock is not None
    fetched = table.fetch(
        {
            **dict.fromkeys(times, "text" if as_text else "time"),
            **dict.fromkeys(numbers + volume, "number"),
        }
    )
    if columns.clock is not None:
        column = joined(fetched[columns.time], fetched[columns.clock])
    else:
        column = fetched[columns.time]
    stamps = stamps_of(table, layout, columns.time, column)
    arrays = [to_numbers(table, i, fetched[i]) for i in numbers + volume]
    volumes = arrays[4] if volume else np.zeros(len(stamps.ns))
    prices = Prices(arrays[0], arrays[1], arrays[2], arrays[3], volumes)
    if not table.has_header and layout.order is None:
        layout, columns, prices = _in_order(layout, columns, prices)
    return Contents(table, layout, columns, stamps, _scaled(table, layout, columns, prices))


def stamps_of(table: Table, layout: Layout, position: int, column: object) -> Stamps:
    """Return a column's times as its writer meant them."""
    if not layout.clock:
        return to_stamps(table, position, column, layout.zone)
    date = re.search(r"(?:^|/)(\d{8})_", table.member)
    if date is None:
        raise table.error(
            f"times of day need a date, and the name '{table.member}' does not begin with one "
            "such as 20240131_"
        )
    midnight = pd.to_datetime(date[1], format="%Y%m%d", errors="coerce")
    if pd.isna(midnight) or not 2009 <= midnight.year < 2100:
        raise table.error(f"the name '{table.member}' begins with no possible date")
    return clock_stamps(table, position, column, int(midnight.as_unit("ns").value))


def cut_finding(where: str, table: Table) -> list[Finding]:
    """Say so where a text file ends within a line."""
    if not table.cut_short:
        return []
    return [
        Finding(
            code="D011",
            level=Level.WARN,
            where=where,
            message="the last line has no end: if the file was cut short, its last figure lacks "
            "digits",
            advice="compare the last row with the source",
        )
    ]


def _in_order(
    layout: Layout, columns: BarColumns, prices: Prices
) -> tuple[Layout, BarColumns, Prices]:
    """Find the order of the prices in a file without names, where it is not the usual one.

    Only one order of four makes candles of real rows. Where none does, the usual one is kept, and
    the row that contradicts it is named.
    """
    if are_candles(prices):
        return layout, columns, prices
    places = (columns.open, columns.high, columns.low, columns.close)
    columns_of: tuple[FloatArray, ...] = (prices.open, prices.high, prices.low, prices.close)
    for order, name in _BY_ORDER.items():
        first, top, bottom, last = (columns_of[i - 1] for i in order[1:5])
        other = Prices(first, top, bottom, last, prices.volume)
        if are_candles(other):
            moved = [places[i - 1] for i in order[1:5]]
            found = named(name)
            return found, replace(columns, **dict(zip(_NAMES, moved, strict=True))), other
    return layout, columns, prices


_NAMES = ("open", "high", "low", "close")


def _scaled(table: Table, layout: Layout, columns: BarColumns, prices: Prices) -> Prices:
    if layout.price_divisor == 1:
        return prices
    values = {name: getattr(prices, name) for name in _NAMES}
    for name, column in values.items():
        broken = column != np.rint(column)
        if broken.any():
            record = int(np.argmax(broken))
            raise table.error(
                f"{column[record]:.10g} is no whole number, {layout.title} writes prices times "
                f"{layout.price_divisor:,.0f}; say --format {PLAIN} if they are prices",
                record=record,
                column=getattr(columns, name),
            )
    divided = {name: column / layout.price_divisor for name, column in values.items()}
    return replace(prices, **divided)
