"""From bytes to columns: one ``Table`` for CSV, JSON, Parquet and Feather.

Columns are fetched by position and arrive as Arrow arrays, so names that stand twice, or no names
at all, are no trouble here. Each table knows which row of its file a record came from.
"""

from __future__ import annotations

import csv
import io
import json
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet

from perpwalk import strict
from perpwalk.data.files import Content, read_content
from perpwalk.errors import DataError

Kind = Literal["time", "number", "text"]

STORE = "store"  # the format of a series of the store (`perpwalk.data.store`)
_HEAD_BYTES = 65_536
_COMMENT_LINES = 20
_WRAPPINGS = 3  # {"result": {"list": [...]}} and the like
_DELIMITERS = (",", ";", "\t", "|")
_ZONED = re.compile(r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d.*(?:Z|[+-]\d\d:?\d\d)$")
_COMMA_NUMBER = re.compile(r"^[+-]?\d[\d.]*,\d+$")
_GROUPED = re.compile(r"^[+-]?[1-9]\d{0,2},\d{3}$")
_NAIVE = re.compile(r"^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?$")


@dataclass(frozen=True)
class Table(ABC):
    """One file's records, its columns fetched on demand.

    Attributes
    ----------
    names
        Column names as they stand in the file; made-up ones where it has none.
    has_header
        False for a file without column names: then meaning goes by position.
    sample
        The first record, as text.
    member
        Name of the file inside its zip, else the file's own.
    cut_short
        True for text whose last line has no end: perhaps the rest of it is missing.
    """

    path: Path
    file_format: str
    sha256: str
    names: tuple[str, ...]
    has_header: bool
    sample: tuple[str, ...]
    member: str
    cut_short: bool

    @property
    def title(self) -> str:
        """What findings call it."""
        return title_of(self.path, self.file_format)

    @abstractmethod
    def fetch(self, kinds: Mapping[int, Kind]) -> dict[int, Any]:
        """Return the columns at these positions as Arrow arrays, typed where the text allows."""

    @abstractmethod
    def row(self, record: int) -> int:
        """Return the number a user finds record ``record`` by (a line for text, else a record)."""

    def without_ragged_lines(self) -> tuple[Table, list[int]]:
        """Return the table without lines of another width, and the numbers of those lines."""
        return self, []

    def error(
        self, message: str, *, record: int | None = None, column: int | None = None
    ) -> DataError:
        """Return an error that names this file, the row of ``record`` and the column's name."""
        return DataError(
            message,
            path=self.path,
            row=None if record is None else self.row(int(record)),
            column=None if column is None else self.names[column],
        )


def title_of(path: Path, file_format: str) -> str:
    """Return the name of a file, or exchange and contract of a series of the store.

    >>> title_of(Path("data/eth.csv"), "csv")
    'eth.csv'
    >>> title_of(Path("s/exchange=okx/symbol=ETHUSDT/kind=mark/interval=1h"), STORE)
    'okx ETHUSDT'
    """
    if file_format == STORE:
        return " ".join(part.partition("=")[2] for part in path.parts[-4:-2])
    return path.name


def open_table(path: Path | str) -> Table:
    """Open a market data file of any readable format, told by its content.

    Raises
    ------
    DataError
        The file cannot be read, is damaged, or holds no records.
    """
    content = read_content(path)
    if content.kind == "csv":
        return _open_csv(content)
    if content.kind == "json":
        return _open_json(content)
    return _open_npy(content) if content.kind == "npy" else _open_arrow(content)


# ── text ─────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _CsvTable(Table):
    data: bytes
    start: int  # offset of the first record
    lines_above: int
    delimiter: str
    decimal_point: str

    def fetch(self, kinds: Mapping[int, Kind]) -> dict[int, Any]:
        try:
            return self._read({i: self._fast_type(i, kind) for i, kind in kinds.items()})
        except pa.ArrowInvalid:
            # Some value is not what the first record promised. Read text instead: converting it
            # value by value afterwards finds the row, or copes (units or formats that change).
            pass
        try:
            found = self._read(dict.fromkeys(kinds, pa.string()))
        except pa.ArrowInvalid as error:
            raise self._ragged_line(error) from error
        if self.decimal_point == ",":
            return {i: _points(text) if kinds[i] == "number" else text for i, text in found.items()}
        return found

    def row(self, record: int) -> int:
        lines = (n for n, text in self._lines() if text)
        return next((n for i, n in enumerate(lines) if i == record), self.lines_above + record + 1)

    def without_ragged_lines(self) -> tuple[Table, list[int]]:
        """Blank lines of another width; the others keep their numbers."""
        width, mark = len(self.names), self.delimiter.encode()
        ragged = {
            number
            for number, raw in self._lines()
            if raw
            and raw.count(mark) != width - 1
            and len(_fields(raw.decode(errors="replace"), self.delimiter)) != width
        }
        if not ragged:
            return self, []
        below = self.data[self.start :].splitlines(keepends=True)
        kept = [
            raw if number not in ragged else b"\n"
            for number, raw in enumerate(below, self.lines_above + 1)
        ]
        if not b"".join(kept).strip():
            raise self.error("holds no line with as many fields as its header names")
        data = self.data[: self.start] + b"".join(kept)
        return replace(self, data=data), sorted(ragged)

    def _fast_type(self, position: int, kind: Kind) -> Any:
        if kind == "number":
            return pa.float64()
        value = self.sample[position].strip()
        if kind == "time" and value.isdigit():
            return pa.int64()
        if kind == "time" and _ZONED.match(value):
            return pa.timestamp("ns", "UTC")
        if kind == "time" and _NAIVE.match(value):
            return pa.timestamp("ns")
        return pa.string()

    def _read(self, types: Mapping[int, Any]) -> dict[int, Any]:
        named = {str(position): kind for position, kind in types.items()}
        table = pyarrow.csv.read_csv(
            pa.BufferReader(pa.py_buffer(memoryview(self.data)[self.start :])),
            read_options=pyarrow.csv.ReadOptions(
                column_names=[str(position) for position in range(len(self.names))]
            ),
            parse_options=pyarrow.csv.ParseOptions(delimiter=self.delimiter),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=named,
                include_columns=list(named),
                strings_can_be_null=True,
                decimal_point=self.decimal_point,
            ),
        )
        return {position: table[str(position)].combine_chunks() for position in types}

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield line number and text of each line below the header."""
        yield from enumerate(self.data[self.start :].splitlines(), self.lines_above + 1)

    def _ragged_line(self, error: Exception) -> DataError:
        width = len(self.names)
        for number, raw in self._lines():
            text = raw.decode(errors="replace")
            found = len(_fields(text, self.delimiter)) if text else width
            if found != width:
                return DataError(
                    f"has {found} fields where {width} are expected; "
                    "is the file cut short or the delimiter mixed?",
                    path=self.path,
                    row=number,
                )
        return DataError(f"cannot be read as CSV: {_one_line(error)}", path=self.path)


def _points(text: Any) -> Any:
    """Return numbers written with a decimal comma with a point instead.

    A point in them groups thousands, or the columns mix both: such a cell is no number.
    """
    mixed = pa.compute.match_substring(text, ".")
    marked = pa.compute.binary_join_element_wise(text, "(a point among decimal commas)", " ")
    return pa.compute.if_else(mixed, marked, pa.compute.replace_substring(text, ",", "."))


def _open_csv(content: Content) -> Table:
    # Split as bytes: text would also break at form feeds and the like, where CSV does not.
    head = content.data[:_HEAD_BYTES].splitlines(keepends=True)
    lines = [text.decode(errors="replace") for text in head]
    delimiter = _sniff_delimiter(content.path, lines)
    above = _comment_lines(lines, delimiter)
    names = tuple(_fields(lines[above].lstrip("# "), delimiter))
    has_header = not _is_record(names)
    if has_header:
        above += 1
        names, extra = _yfinance_header(names, lines[above : above + 2], delimiter)
        above += extra
    else:
        names = tuple(f"column {i + 1}" for i in range(len(names)))
    below = next((text for text in lines[above:] if text.strip()), None)
    if below is None:
        raise DataError(
            "holds a header and no rows; is the download empty?", path=content.path, row=above
        )
    sample = tuple(_fields(below, delimiter))
    return _CsvTable(
        path=content.path,
        file_format=content.file_format,
        sha256=content.sha256,
        names=names,
        has_header=has_header,
        sample=sample + ("",) * (len(names) - len(sample)),
        data=content.data,
        start=_offset(content.data, above),
        lines_above=above,
        delimiter=delimiter,
        decimal_point=_decimal_point(content.path, lines[above:], delimiter),
        member=content.member,
        cut_short=_may_be_cut(content, delimiter),
    )


def _may_be_cut(content: Content, delimiter: str) -> bool:
    """Say whether the last figure may lack digits: the text ends within its last line.

    A packed file is whole, its checksum says so. Where every other line ends with as many decimals
    as the last one, nothing is missing; where they all end with more, something is.
    """
    if content.file_format != "csv" or content.data.endswith((b"\n", b"\r")):
        return False
    lines = content.data[-_HEAD_BYTES:].decode(errors="replace").splitlines()[-100:]
    *above, last = (len(line.rpartition(delimiter)[2].partition(".")[2]) for line in lines)
    others = set(above[1:])
    if len(others) == 1 and last < min(others):
        raise DataError(
            f"the last line ends with {last} decimals where every other one ends with "
            f"{min(others)}: the file is cut short; get it again, or delete that line",
            path=content.path,
        )
    return not others or last < max(others) or max(others) == 0


def _decimal_point(path: Path, lines: list[str], delimiter: str) -> str:
    """Tell a decimal comma from commas that group thousands; refuse what could be either."""
    if delimiter == ",":
        return "."
    numbers = [
        field.strip()
        for text in lines[:-1] or lines  # the last line of the head may be half a line
        for field in _fields(text, delimiter)
        if _COMMA_NUMBER.match(field.strip())
    ]
    if not numbers:
        return "."
    if all(_GROUPED.match(number) for number in numbers):
        raise DataError(
            f"'{numbers[0]}' could be {numbers[0].replace(',', '.')} or "
            f"{numbers[0].replace(',', '')}: every comma stands before three digits; write numbers "
            "with a decimal point and without grouping",
            path=path,
        )
    return ","


def _sniff_delimiter(path: Path, lines: list[str]) -> str:
    """Choose the delimiter that most of the first lines hold most of."""
    some = [text for text in lines if text.strip()][: _COMMENT_LINES + 10] or [""]
    best = max(_DELIMITERS, key=lambda d: (sum(d in text for text in some), some[-1].count(d)))
    if not any(best in text for text in some):
        raise DataError(
            "holds no columns: no comma, semicolon, tab or bar separates anything in its first "
            "lines; is it a CSV file?",
            path=path,
        )
    return best


def _comment_lines(lines: list[str], delimiter: str) -> int:
    """Count lines above the header: blank, starting with #, or a lone address or title.

    A ``#`` line with one name per field of the record right below it is the header itself.
    """
    for number, text in enumerate(lines[:_COMMENT_LINES]):
        below = tuple(_fields(lines[number + 1], delimiter)) if number + 1 < len(lines) else ("",)
        names_below = _is_record(below) and len(_fields(text, delimiter)) == len(below)
        if delimiter in text and (not text.startswith("#") or names_below):
            return number
    return 0


def _is_record(fields: tuple[str, ...]) -> bool:
    """Tell a first line of data from a header: it starts with a digit and is mostly numbers."""
    numbers = sum(_is_number(field) for field in fields[1:])
    return fields[0].strip()[:1].isdigit() and 2 * numbers >= len(fields) - 1


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _yfinance_header(
    names: tuple[str, ...], below: list[str], delimiter: str
) -> tuple[tuple[str, ...], int]:
    """Recognise yfinance's three header lines (Price, Ticker, Date); return names, extra lines.

    Grouped by ticker it writes the tickers first, and the names in the second line.
    """
    rows = [_fields(text, delimiter) for text in below if text.strip()]
    first = [row[0] for row in rows]
    dated = first[1:] in (["Date"], ["Datetime"])
    if names[0] == "Price" and first[:1] == ["Ticker"] and dated:
        return (first[1], *names[1:]), 2
    if names[0] == "Ticker" and first[:1] == ["Price"] and dated and len(rows[0]) == len(names):
        return (first[1], *rows[0][1:]), 2
    return names, 0


def _offset(data: bytes, lines: int) -> int:
    """Return where the line after the first ``lines`` lines starts."""
    return sum(len(text) for text in data[:_HEAD_BYTES].splitlines(keepends=True)[:lines])


def _fields(line: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(line.rstrip("\r\n")), delimiter=delimiter), [""])


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


# ── records in memory: JSON, Parquet, Feather ────────────────────────────────────────────────────


@dataclass(frozen=True)
class _ArrowTable(Table):
    columns: Any  # pa.Table

    def fetch(self, kinds: Mapping[int, Kind]) -> dict[int, Any]:
        return {position: self.columns.column(position).combine_chunks() for position in kinds}

    def row(self, record: int) -> int:
        return record


def _open_arrow(content: Content) -> Table:
    read = strict.parse_parquet if content.kind == "parquet" else strict.parse_feather
    try:
        columns = read(content.data)
    except strict.NotAsWrittenError as error:
        raise DataError(f"the {content.kind} file {error}", path=content.path) from error
    return _arrow_table(content, columns, has_header=True)


def _open_json(content: Content) -> Table:
    try:
        records = json.loads(content.data, object_pairs_hook=strict.each_once)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"the JSON is cut short or damaged: {_one_line(error)}", path=content.path
        ) from error
    if (columns := _columnar(records)) is not None:
        return _arrow_table(content, columns, has_header=True)
    records = _unwrapped(content.path, records)
    first = records[0]
    has_header = isinstance(first, dict)
    keys = list(first) if has_header else list(range(len(first)))
    for number, record in enumerate(records):
        if type(record) is not type(first) or (not has_header and len(record) != len(keys)):
            raise DataError("differs in shape from the first", path=content.path, row=number)
    cells = [[record.get(key) if has_header else record[key] for record in records] for key in keys]
    names = [str(key) if has_header else f"column {key + 1}" for key in keys]
    columns = pa.Table.from_arrays([_json_column(values) for values in cells], names=names)
    return _arrow_table(content, columns, has_header=has_header)


def _columnar(document: Any) -> Any | None:
    """Return a table where the document maps names to lists of equal length, else None."""
    if not isinstance(document, dict):
        return None
    lists = {
        name: values
        for name, values in document.items()
        if isinstance(values, list) and not any(isinstance(v, list | dict) for v in values)
    }
    lengths = {len(values) for values in lists.values()}
    if len(lists) < 2 or len(lengths) != 1:
        return None
    return pa.Table.from_arrays([_json_column(v) for v in lists.values()], names=list(lists))


def _unwrapped(path: Path, document: Any) -> list[Any]:
    """Return the list of records: the whole document, or the one list an exchange wrapped up."""
    found = list(_lists_of_records(document))
    if len(found) > 1:
        raise DataError("the JSON holds several lists of records; give one per file", path=path)
    if not found:
        empty = isinstance(document, list) and not document
        raise DataError(
            "holds no records" if empty else "the JSON is not a list of candles or records",
            path=path,
        )
    return found[0]


def _lists_of_records(document: Any, depth: int = 0) -> Iterator[list[Any]]:
    if isinstance(document, list):
        if document and all(isinstance(record, list | dict) for record in document):
            yield document
    elif isinstance(document, dict) and depth < _WRAPPINGS:
        for value in document.values():
            yield from _lists_of_records(value, depth + 1)


def _json_column(values: list[Any]) -> Any:
    """Return an Arrow array; numbers and texts side by side become text."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if value is None else str(value) for value in values])


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _arrow_table(content: Content, columns: Any, *, has_header: bool) -> Table:
    if columns.num_rows == 0:
        raise DataError("holds column names and no records", path=content.path)
    return _ArrowTable(
        path=content.path,
        file_format=content.file_format,
        sha256=content.sha256,
        names=tuple(str(name) for name in columns.column_names),
        has_header=has_header,
        sample=tuple(_text(column[0].as_py()) for column in columns.columns),
        member=content.member,
        cut_short=False,
        columns=columns,
    )


def stored_table(folder: Path, sha256: str, columns: Any) -> Table:
    """Return a series of the store as if it had been opened as a file."""
    content = Content(path=folder, file_format=STORE, sha256=sha256, data=b"", member=folder.name)
    return _arrow_table(content, columns, has_header=True)


def _open_npy(content: Content) -> Table:
    """Open a plain array of numbers, as jesse's research module hands candles out."""
    try:
        array = strict.parse_npy(io.BytesIO(content.data), len(content.data))
    except strict.NotAsWrittenError as error:
        raise DataError(f"the NumPy file {error}", path=content.path) from error
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise DataError(
            f"holds an array of shape {array.shape} and type {array.dtype}; candles are a table of "
            "numbers with one row each",
            path=content.path,
        )
    columns = pa.Table.from_arrays(
        [pa.array(np.ascontiguousarray(array[:, i])) for i in range(array.shape[1])],
        names=[f"column {i + 1}" for i in range(array.shape[1])],
    )
    return _arrow_table(content, columns, has_header=False)
