"""Bar files as people have them, damaged in the ways files are damaged, and what they truly say.

A ``Sheet`` is a table of texts before it becomes bytes. A mutation changes the sheet or the bytes;
``expected`` says whether the outcome can still be read (``read``), has lost what it takes to read
it (``refuse``), or may be either (``either``). Whatever is read must equal the truth.
"""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

START = pd.Timestamp("2024-01-09T00:00:00Z")
HOUR = pd.Timedelta("1h")
NAMES = ["open", "high", "low", "close", "volume"]


def truth(n: int = 400, start: pd.Timestamp = START, price: float = 2000.0) -> pd.DataFrame:
    """Return n true bars under their open times, on ticks of 0.01."""
    rng = np.random.default_rng(11)
    close = np.round(price * np.exp(np.cumsum(0.006 * rng.standard_t(4, n))), 2)
    first = np.round(np.concatenate(([price], close[:-1])) + rng.choice([0, 0.01, -0.01], n), 2)
    reach = np.round(price * 0.004 * rng.random((2, n)), 2) + 0.01
    frame = pd.DataFrame(
        {
            "open": first,
            "high": np.round(np.maximum(first, close) + reach[0], 2),
            "low": np.round(np.minimum(first, close) - reach[1], 2),
            "close": close,
            "volume": np.round(1000 * np.exp(0.5 * rng.standard_normal(n)), 3),
        }
    )
    frame.index = pd.date_range(start, periods=n, freq="h").as_unit("ns")
    return frame


@dataclass
class Sheet:
    """A table of texts, and how it becomes bytes."""

    header: list[str] | None
    rows: list[list[str]]
    time: int = 0  # the column of stamps
    first: int = 1  # the column of opens; high, low, close and volume follow
    delimiter: str = ","
    above: list[str] = field(default_factory=list)
    quote: bool = False

    def text(self) -> str:
        """Return the file."""
        out = io.StringIO()
        quoting = csv.QUOTE_ALL if self.quote else csv.QUOTE_MINIMAL
        writer = csv.writer(out, delimiter=self.delimiter, lineterminator="\n", quoting=quoting)
        for line in self.above:
            out.write(line + "\n")
        if self.header is not None:
            writer.writerow(self.header)
        writer.writerows(self.rows)
        return out.getvalue()

    def map(self, column: int, change: Callable[[str], str]) -> Sheet:
        """Return the sheet with one column's texts changed."""
        rows = [[change(v) if i == column else v for i, v in enumerate(r)] for r in self.rows]
        return replace(self, rows=rows)


def _values(bars: pd.DataFrame, form: str = "%.2f") -> list[list[str]]:
    prices = [[form % value for value in row] for row in bars[NAMES[:4]].to_numpy()]
    return [[*row, f"{volume:.3f}"] for row, volume in zip(prices, bars["volume"], strict=True)]


def _ms(bars: pd.DataFrame) -> list[int]:
    return [int(stamp.value) // 10**6 for stamp in bars.index.as_unit("ns")]


def plain(bars: pd.DataFrame) -> Sheet:
    """Return ISO stamps and six columns."""
    stamps = bars.index.strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = [[s, *v] for s, v in zip(stamps, _values(bars), strict=True)]
    return Sheet(["timestamp", *NAMES], rows)


def naive(bars: pd.DataFrame) -> Sheet:
    """Return stamps without a zone, as the predecessor wrote them."""
    rows = [[s, *v] for s, v in zip(bars.index.strftime("%Y-%m-%d %H:%M:%S"), _values(bars),
                                   strict=True)]  # fmt: skip
    return Sheet(["datetime", *NAMES], rows)


def archive(bars: pd.DataFrame) -> Sheet:
    """Return Binance's twelve columns with a header."""
    rows = [
        [str(ms), *v, str(ms + 3_599_999), "1000.5", "77", "5.25", "500.5", "0"]
        for ms, v in zip(_ms(bars), _values(bars), strict=True)
    ]
    header = ["open_time", *NAMES, "close_time", "quote_volume", "count", "taker_buy_volume",
              "taker_buy_quote_volume", "ignore"]  # fmt: skip
    return Sheet(header, rows)


def headerless(bars: pd.DataFrame) -> Sheet:
    """Return Binance's older archives: no header, microseconds."""
    made = archive(bars)
    return replace(made, header=None).map(0, lambda ms: f"{ms}000")


def cryptodatadownload(bars: pd.DataFrame) -> Sheet:
    """Return newest first under an address, with two volumes."""
    rows = [
        [str(ms), stamp, "ETH/USDT", *v, f"{float(v[4]) * 2000:.2f}"]
        for ms, stamp, v in zip(
            _ms(bars), bars.index.strftime("%Y-%m-%d %H:%M:%S"), _values(bars, "%.8f"), strict=True
        )
    ]
    header = ["Unix", "Date", "Symbol", "Open", "High", "Low", "Close", "Volume ETH", "Volume USDT"]
    return Sheet(header, rows[::-1], first=3, above=["https://www.CryptoDataDownload.com"])


def tradingview(bars: pd.DataFrame) -> Sheet:
    """Return seconds and a column of an indicator."""
    rows = [[str(ms // 1000), *v, "12.5"] for ms, v in zip(_ms(bars), _values(bars), strict=True)]
    return Sheet(["time", "open", "high", "low", "close", "Volume", "Volume MA"], rows)


BASES = {
    "plain": plain, "naive": naive, "archive": archive, "headerless": headerless,
    "cryptodatadownload": cryptodatadownload, "tradingview": tradingview,
}  # fmt: skip


# ── mutations ────────────────────────────────────────────────────────────────────────────────────

Mutate = Callable[[Sheet, np.random.Generator], Sheet | bytes | str]


@dataclass(frozen=True)
class Mutation:
    """One way of damaging a file."""

    make: Mutate
    expected: str
    bases: tuple[str, ...] = tuple(BASES)


def _row(sheet: Sheet, rng: np.random.Generator) -> int:
    return int(rng.integers(5, len(sheet.rows) - 5))


def _cut(sheet: Sheet, rng: np.random.Generator) -> bytes:
    data = sheet.text().encode()
    return data[: int(rng.integers(len(data) // 3, len(data) - 2))]


def _cut_at_line(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    return replace(sheet, rows=sheet.rows[: _row(sheet, rng)])


def _shuffled(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    return replace(sheet, rows=[sheet.rows[i] for i in rng.permutation(len(sheet.rows))])


def _two_exchanged(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    rows, at = list(sheet.rows), _row(sheet, rng)
    rows[at], rows[at + 1] = rows[at + 1], rows[at]
    return replace(sheet, rows=rows)


def _reversed(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    return replace(sheet, rows=sheet.rows[::-1])


def _encoded(name: str, mark: bytes = b"") -> Mutate:
    return lambda sheet, _rng: mark + sheet.text().encode(name)


def _latin(sheet: Sheet, rng: np.random.Generator) -> bytes:
    return replace(sheet, above=["# Kurse für Äther", *sheet.above]).text().encode("latin-1")


def _line_ends(end: str) -> Mutate:
    return lambda sheet, _rng: sheet.text().replace("\n", end).encode()


def _delimited(mark: str) -> Mutate:
    return lambda sheet, _rng: replace(sheet, delimiter=mark)


def _mixed_delimiters(sheet: Sheet, rng: np.random.Generator) -> str:
    lines, at = sheet.text().splitlines(), _row(sheet, rng)
    return "\n".join([*lines[:at], *(line.replace(",", ";") for line in lines[at:])]) + "\n"


def _decimal_comma(mark: str, *, quote: bool = False) -> Mutate:
    def make(sheet: Sheet, rng: np.random.Generator) -> Sheet:
        for column in range(sheet.first, sheet.first + 5):
            sheet = sheet.map(column, lambda text: text.replace(".", ","))
        return replace(sheet, delimiter=mark, quote=quote)

    return make


def _grouped(mark: str, delimiter: str = ",") -> Mutate:
    def make(sheet: Sheet, rng: np.random.Generator) -> Sheet:
        for column in range(sheet.first, sheet.first + 5):
            sheet = sheet.map(column, lambda text: f"{float(text):,.2f}".replace(",", mark))
        return replace(sheet, delimiter=delimiter)

    return make


def _grouped_whole(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    """Whole thousands between semicolons: 2,601 could be 2.601."""
    for column in range(sheet.first, sheet.first + 5):
        sheet = sheet.map(column, lambda text: f"{1000 + int(float(text)):,}")
    return replace(sheet, delimiter=";")


def _european(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    for column in range(sheet.first, sheet.first + 5):
        sheet = sheet.map(column, lambda t: f"{float(t):,.2f}".translate(str.maketrans(",.", ".,")))
    return replace(sheet, delimiter=";")


def _header_again(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    rows, at = list(sheet.rows), _row(sheet, rng)
    rows.insert(at, list(sheet.header or []))
    return replace(sheet, rows=rows)


def _header_twice(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    return replace(sheet, rows=[list(sheet.header or []), *sheet.rows])


def _row_twice(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    rows, at = list(sheet.rows), _row(sheet, rng)
    rows.insert(at, list(rows[at]))
    return replace(sheet, rows=rows)


def _row_twice_unlike(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    rows, at = list(sheet.rows), _row(sheet, rng)
    again, volume = list(rows[at]), sheet.first + 4
    again[volume] = f"{float(again[volume]) / 2:.8f}"
    rows.insert(at, again)
    return replace(sheet, rows=rows)


def _block_twice(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    at = _row(sheet, rng)
    return replace(sheet, rows=sheet.rows[: at + 5] + sheet.rows[at:])


def _names_exchanged(one: int, two: int) -> Mutate:
    def make(sheet: Sheet, rng: np.random.Generator) -> Sheet:
        names, a, b = list(sheet.header or []), sheet.first + one, sheet.first + two
        names[a], names[b] = names[b], names[a]
        return replace(sheet, header=names)

    return make


def _columns_exchanged(one: int, two: int) -> Mutate:
    def make(sheet: Sheet, rng: np.random.Generator) -> Sheet:
        a, b = sheet.first + one, sheet.first + two
        rows = [list(row) for row in sheet.rows]
        for row in rows:
            row[a], row[b] = row[b], row[a]
        return replace(sheet, rows=rows)

    return make


def _columns_moved(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    order = rng.permutation(len(sheet.rows[0]))
    header = [(sheet.header or [])[i] for i in order]
    return replace(sheet, header=header, rows=[[row[i] for i in order] for row in sheet.rows])


def _written(form: str) -> Mutate:
    def make(sheet: Sheet, rng: np.random.Generator) -> Sheet:
        return sheet.map(sheet.time, lambda text: pd.Timestamp(text).strftime(form))

    return make


def _dates_within(form: str, days: int) -> Mutate:
    """Few days only: nothing tells day from month."""

    def make(sheet: Sheet, rng: np.random.Generator) -> Sheet:
        return _written(form)(replace(sheet, rows=sheet.rows[: 24 * days]), rng)

    return make


def _units_change(factor: int) -> Mutate:
    def make(sheet: Sheet, rng: np.random.Generator) -> Sheet:
        at = _row(sheet, rng)
        rows = [list(row) for row in sheet.rows]
        for row in rows[at:]:
            value = int(row[sheet.time])
            row[sheet.time] = str(value * factor if factor > 0 else value // -factor)
        return replace(sheet, rows=rows)

    return make


def _moved_stamp(by: pd.Timedelta) -> Mutate:
    def make(sheet: Sheet, rng: np.random.Generator) -> Sheet:
        rows, at = [list(row) for row in sheet.rows], _row(sheet, rng)
        rows[at][0] = (pd.Timestamp(rows[at][0]) + by).strftime("%Y-%m-%dT%H:%M:%SZ")
        return replace(sheet, rows=rows)

    return make


def _clock_changed(hours: int) -> Mutate:
    def make(sheet: Sheet, rng: np.random.Generator) -> Sheet:
        rows, at = [list(row) for row in sheet.rows], _row(sheet, rng)
        for row in rows[at:]:
            later = pd.Timestamp(row[0]) + hours * HOUR
            row[0] = later.strftime("%Y-%m-%d %H:%M:%S")
        return replace(sheet, rows=rows)

    return make


def _some_zones(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    rows, at = [list(row) for row in sheet.rows], _row(sheet, rng)
    for row in rows[at:]:
        row[0] += "+00:00"
    return replace(sheet, rows=rows)


def _closing_times(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    return sheet.map(0, lambda ms: str(int(ms) + 3_599_999))


def _cell(value: str, column: int | None = None) -> Mutate:
    def make(sheet: Sheet, rng: np.random.Generator) -> Sheet:
        rows, at = [list(row) for row in sheet.rows], _row(sheet, rng)
        rows[at][sheet.first + (int(rng.integers(0, 5)) if column is None else column)] = value
        return replace(sheet, rows=rows)

    return make


def _stamp_cell(value: str) -> Mutate:
    def make(sheet: Sheet, rng: np.random.Generator) -> Sheet:
        rows, at = [list(row) for row in sheet.rows], _row(sheet, rng)
        rows[at][sheet.time] = value
        return replace(sheet, rows=rows)

    return make


def _rows_gone(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    at = _row(sheet, rng)
    return replace(sheet, rows=sheet.rows[:at] + sheet.rows[at + 3 :])


def _spaced(sheet: Sheet, rng: np.random.Generator) -> str:
    return sheet.text().replace(",", ", ")


def _numbered(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    rows = [[str(i), *row] for i, row in enumerate(sheet.rows)]
    return replace(sheet, header=["", *(sheet.header or [])], rows=rows)


def _prefixed(sign: str) -> Mutate:
    def make(sheet: Sheet, rng: np.random.Generator) -> Sheet:
        for column in range(sheet.first, sheet.first + 4):
            sheet = sheet.map(column, lambda text: sign + text)
        return sheet

    return make


def _ended(line: str) -> Mutate:
    return lambda sheet, _rng: sheet.text() + line


def _blank_lines(sheet: Sheet, rng: np.random.Generator) -> str:
    lines, at = sheet.text().splitlines(), _row(sheet, rng)
    return "\n".join([*lines[:at], "", "", *lines[at:], ""]) + "\n"


def _packed_short(sheet: Sheet, rng: np.random.Generator) -> bytes:
    data = gzip.compress(sheet.text().encode(), mtime=0)
    return data[: int(rng.integers(len(data) // 2, len(data) - 8))]


def _two_members(sheet: Sheet, rng: np.random.Generator) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as pack:
        pack.writestr("a.csv", sheet.text())
        pack.writestr("b.csv", sheet.text())
    return out.getvalue()


def _odd_byte(sheet: Sheet, rng: np.random.Generator) -> bytes:
    data = bytearray(sheet.text().encode())
    data[int(rng.integers(len(data) // 2, len(data) - 4))] = 0
    return bytes(data)


def _exponents(sheet: Sheet, rng: np.random.Generator) -> Sheet:
    for column in range(sheet.first, sheet.first + 5):
        sheet = sheet.map(column, lambda text: f"{float(text):.12e}")
    return sheet


_TEXT = ("plain", "naive")
_EPOCH = ("archive", "headerless", "tradingview")
_NAMED = ("plain", "naive", "archive", "cryptodatadownload", "tradingview")

MUTATIONS: dict[str, Mutation] = {
    "cut anywhere": Mutation(_cut, "either"),
    "cut after a line": Mutation(_cut_at_line, "read"),
    "shuffled": Mutation(_shuffled, "refuse"),
    "two rows exchanged": Mutation(_two_exchanged, "refuse"),
    "reversed": Mutation(_reversed, "read"),
    "utf-16 little": Mutation(_encoded("utf-16-le", b"\xff\xfe"), "read"),
    "utf-16 big": Mutation(_encoded("utf-16-be", b"\xfe\xff"), "read"),
    "utf-16 unmarked": Mutation(_encoded("utf-16-le"), "refuse"),
    "utf-32": Mutation(_encoded("utf-32"), "read"),
    "byte-order mark": Mutation(_encoded("utf-8-sig"), "read"),
    "latin-1": Mutation(_latin, "read"),
    "crlf": Mutation(_line_ends("\r\n"), "read"),
    "cr": Mutation(_line_ends("\r"), "either"),
    "semicolons": Mutation(_delimited(";"), "read"),
    "tabs": Mutation(_delimited("\t"), "read"),
    "bars": Mutation(_delimited("|"), "read"),
    "spaces": Mutation(_delimited(" "), "refuse"),
    "colons": Mutation(_delimited(":"), "refuse"),
    "two delimiters": Mutation(_mixed_delimiters, "refuse"),
    "decimal commas, semicolons": Mutation(_decimal_comma(";"), "read"),
    "decimal commas, tabs": Mutation(_decimal_comma("\t"), "read"),
    "decimal commas, quoted": Mutation(_decimal_comma(",", quote=True), "refuse"),
    "thousands, quoted": Mutation(_grouped(","), "refuse"),
    "thousands, spaces": Mutation(_grouped(" "), "refuse"),
    "thousands, apostrophes": Mutation(_grouped("'"), "refuse"),
    "thousands, semicolons": Mutation(_grouped(",", ";"), "refuse"),
    "whole thousands, semicolons": Mutation(_grouped_whole, "refuse", ("plain", "tradingview")),
    "1.234,56": Mutation(_european, "refuse"),
    "header in the middle": Mutation(_header_again, "refuse", _NAMED),
    "header twice": Mutation(_header_twice, "refuse", _NAMED),
    "a row twice": Mutation(_row_twice, "read"),
    "a block twice": Mutation(_block_twice, "read"),
    "a row twice, unlike": Mutation(_row_twice_unlike, "refuse"),
    "names: open and close": Mutation(_names_exchanged(0, 3), "refuse", _NAMED),
    "names: high and low": Mutation(_names_exchanged(1, 2), "refuse", _NAMED),
    "names: open and high": Mutation(_names_exchanged(0, 1), "refuse", _NAMED),
    "names: close and volume": Mutation(_names_exchanged(3, 4), "refuse", _NAMED),
    "columns: open and close": Mutation(_columns_exchanged(0, 3), "refuse"),
    "columns: high and low": Mutation(_columns_exchanged(1, 2), "refuse"),
    "columns: low and close": Mutation(_columns_exchanged(2, 3), "refuse"),
    "columns in any order": Mutation(_columns_moved, "read", _NAMED),
    "month first": Mutation(_written("%m/%d/%Y %H:%M"), "read", _TEXT),
    "day first": Mutation(_written("%d.%m.%Y %H:%M:%S"), "read", _TEXT),
    "month first, few days": Mutation(_dates_within("%m/%d/%Y %H:%M", 3), "refuse", _TEXT),
    "two-digit years": Mutation(_written("%d/%m/%y %H:%M"), "refuse", _TEXT),
    "dates only": Mutation(_written("%Y-%m-%d"), "refuse", _TEXT),
    "twelve-hour clock": Mutation(_written("%Y-%m-%d %I:%M"), "refuse", _TEXT),
    "dots in dates": Mutation(_written("%Y.%m.%d %H:%M"), "read", _TEXT),
    "month names": Mutation(_written("%d %b %Y %H:%M"), "refuse", _TEXT),
    "units: ms then us": Mutation(_units_change(1000), "read", ("archive",)),
    "units: s then ms": Mutation(_units_change(1000), "read", ("tradingview",)),
    "units: us then s": Mutation(_units_change(-1_000_000), "read", ("headerless",)),
    "units: tenths": Mutation(_units_change(10), "refuse", _EPOCH),
    "a stamp half an hour late": Mutation(_moved_stamp(HOUR / 2), "refuse", ("plain",)),
    "a stamp a year late": Mutation(_moved_stamp(8760 * HOUR), "refuse", ("plain",)),
    "summer time begins": Mutation(_clock_changed(1), "refuse", ("naive",)),
    "summer time ends": Mutation(_clock_changed(-1), "refuse", ("naive",)),
    "some stamps with a zone": Mutation(_some_zones, "refuse", ("naive",)),
    "closing times": Mutation(_closing_times, "refuse", ("archive",)),
    "an empty cell": Mutation(_cell(""), "refuse"),
    "a dash": Mutation(_cell("-"), "refuse"),
    "null": Mutation(_cell("null"), "refuse"),
    "a word": Mutation(_cell("n.a."), "refuse"),
    "infinity": Mutation(_cell("inf"), "refuse"),
    "a negative price": Mutation(_cell("-12.5", 2), "refuse"),
    "a letter O for a zero": Mutation(_cell("2OO0.5"), "refuse"),
    "an empty stamp": Mutation(_stamp_cell(""), "refuse", ("plain", "archive", "tradingview")),
    "a stamp of words": Mutation(_stamp_cell("yesterday"), "refuse", ("plain", "archive")),
    "rows gone": Mutation(_rows_gone, "refuse"),
    "spaces after commas": Mutation(_spaced, "either"),
    "all quoted": Mutation(lambda sheet, _rng: replace(sheet, quote=True), "read"),
    "rows numbered": Mutation(_numbered, "read", _NAMED),
    "dollar signs": Mutation(_prefixed("$"), "refuse"),
    "a total below": Mutation(_ended("Total,,,,,\n"), "refuse", _TEXT),
    "a note below": Mutation(_ended("downloaded by hand\n"), "refuse"),
    "an end-of-file sign": Mutation(_ended("\x1a"), "refuse"),
    "blank lines": Mutation(_blank_lines, "read"),
    "gzip cut short": Mutation(_packed_short, "refuse"),
    "two files in a zip": Mutation(_two_members, "refuse"),
    "a zero byte": Mutation(_odd_byte, "refuse"),
    "exponents": Mutation(_exponents, "read"),
}


def hundred() -> list[tuple[str, str, int]]:
    """Return a hundred of (mutation, base, seed): each mutation once, the rest drawn."""
    rng = np.random.default_rng(2024)
    names = list(MUTATIONS)
    chosen = names + [names[i] for i in rng.integers(0, len(names), 100 - len(names))]
    return [
        (name, str(rng.choice(MUTATIONS[name].bases)), int(rng.integers(0, 1000)))
        for name in chosen
    ]


def mutated(name: str, base: str, seed: int, bars: pd.DataFrame) -> bytes:
    """Return the damaged file of true ``bars``."""
    made = MUTATIONS[name].make(BASES[base](bars), np.random.default_rng(seed))
    if isinstance(made, Sheet):
        made = made.text()
    return made.encode() if isinstance(made, str) else made
