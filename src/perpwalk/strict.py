"""Reading files that others may have written: bounded, strict, typed.

Results, catalogs and models are handed round. What is read back is a regular file of bounded size,
JSON without what JSON does not have (NaN, a key twice), tables whose columns are of the kind that
perpwalk writes. Everything here raises ``NotAsWrittenError``, a sentence without the file's name;
who calls puts it into an error that names the file and what to do.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import stat
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa

MAX_TABLE_BYTES = 2 * 1024**3  # of a table as it lies in memory
MAX_JSON_BYTES = 64 * 1024**2
MAX_DIGITS = 400  # the longest number a float can be written with is shorter
MAX_DEPTH = 64
_BATCH = 1 << 16

STAMP, NUMBER, WHOLE, FLAG, TEXT = "time", "number", "whole number", "true or false", "text"
Kinds = Mapping[str, str]


class NotAsWrittenError(ValueError):
    """A file is not what perpwalk writes."""


def file_bytes(path: Path, limit: int = MAX_TABLE_BYTES) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Raises
    ------
    NotAsWrittenError
        It is larger, or a device, a pipe or a folder.
    OSError
        It is not there or cannot be read.
    """
    if path.exists() and not path.is_file():
        raise NotAsWrittenError("is no regular file")
    with path.open("rb") as stream:
        content = stream.read(limit + 1)
    if len(content) > limit:
        raise NotAsWrittenError(f"is larger than {limit:,} bytes")
    return content


def refuse_link(path: Path) -> None:
    """Refuse a link: it may lead to any file there is."""
    if path.is_symlink():
        raise NotAsWrittenError("is a link")


def refuse_links(folder: Path) -> None:
    """Refuse a folder that holds a link, a pipe or a device, however deep; perpwalk writes none."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            try:
                mode = os.lstat(path).st_mode
            except FileNotFoundError:
                continue  # removed while we look
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                kind = "a link" if stat.S_ISLNK(mode) else "what is no file"
                found = Path(path).relative_to(folder).as_posix()
                raise NotAsWrittenError(f"holds {kind}, {found[:200]}")


def text_of(content: bytes) -> str:
    """Return UTF-8 text."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotAsWrittenError(f"is no UTF-8 text ({error.reason} at {error.start})") from error


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────


def parse_json(content: bytes | str) -> Any:
    """Return what strict JSON says.

    >>> parse_json('{"a": 1}')
    {'a': 1}
    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
        ...
    perpwalk.strict.NotAsWrittenError: is no valid JSON: key 'a' stands twice
    """
    text = content if isinstance(content, str) else text_of(content)
    try:
        value = json.loads(
            text, object_pairs_hook=each_once, parse_constant=_no_number, parse_int=_whole,
            parse_float=_finite,
        )  # fmt: skip
    except RecursionError as error:
        raise NotAsWrittenError("is no valid JSON: nested too deeply") from error
    except ValueError as error:
        raise NotAsWrittenError(f"is no valid JSON: {error}") from error
    if _depth(value) > MAX_DEPTH:
        raise NotAsWrittenError(f"is nested more than {MAX_DEPTH} deep")
    return value


def read_object(path: Path, limit: int = MAX_JSON_BYTES) -> dict[str, Any]:
    """Return the JSON object that a file holds."""
    value = parse_json(file_bytes(path, limit))
    if not isinstance(value, dict):
        raise NotAsWrittenError("does not hold an object")
    return value


def each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs of a JSON object as a dict; ValueError where a key stands twice."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"key '{key[:40]}' stands twice")
        found[key] = value
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON")


def _whole(text: str) -> int:
    if len(text) > 20:  # more than 64 bits: nothing perpwalk writes
        raise ValueError(f"a whole number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text[:MAX_DIGITS])
    if len(text) > MAX_DIGITS or value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:20]} is out of range")
    return value


def _depth(value: Any) -> int:
    """Return how deep a document is nested, without recursion."""
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [
            inner for one in level for inner in (one.values() if isinstance(one, dict) else one)
        ]
    return depth


# ── tables ───────────────────────────────────────────────────────────────────────────────────────


_DAMAGED = (pa.ArrowException, OSError, UnicodeDecodeError)  # the last: names of columns


def parse_parquet(content: bytes, limit: int = MAX_TABLE_BYTES) -> Any:
    """Return the Arrow table a Parquet file holds, if it unpacks to at most ``limit`` bytes.

    It is unpacked in pieces and what comes is counted: what the file says of its size may be a lie.
    """
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(pa.BufferReader(content))
        rows = file.metadata.num_rows
        if rows * max(1, file.metadata.num_columns) > limit:
            raise NotAsWrittenError(f"holds {rows:,} rows; refused")
        return _counted(file.iter_batches(batch_size=_BATCH), file.schema_arrow, limit)
    except (*_DAMAGED, MemoryError) as error:
        raise NotAsWrittenError(f"is cut short or damaged: {one_line(error)}") from error


def parse_feather(content: bytes, limit: int = MAX_TABLE_BYTES) -> Any:
    """Return the Arrow table a Feather file holds, likewise."""
    from pyarrow import feather

    try:
        if content.startswith(b"FEA1"):  # the first version: never compressed
            return _valid(feather.read_table(pa.BufferReader(content)), limit)
        file = pa.ipc.open_file(pa.BufferReader(content))
        batches = (file.get_batch(number) for number in range(file.num_record_batches))
        return _counted(batches, file.schema, limit)
    except (*_DAMAGED, MemoryError) as error:
        raise NotAsWrittenError(f"is cut short or damaged: {one_line(error)}") from error


def _counted(batches: Any, schema: Any, limit: int) -> Any:
    kept, size = [], 0
    for batch in batches:
        size += batch.get_total_buffer_size()
        if size > limit:
            raise NotAsWrittenError(f"unpacks to more than {limit:,} bytes; refused")
        kept.append(batch)
    return _valid(pa.Table.from_batches(kept, schema=schema), limit)


def _valid(table: Any, limit: int) -> Any:
    """Return the table if its buffers hold what its types promise: an offset may lead anywhere."""
    table.validate(full=True)
    _ = table.column_names  # text, or UnicodeDecodeError
    if table.get_total_buffer_size() > limit:
        raise NotAsWrittenError(f"unpacks to more than {limit:,} bytes; refused")
    return table


def read_parquet(path: Path, columns: Kinds, needed: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return a table of perpwalk's: ``needed`` columns are there, known ones of their kind."""
    table = parse_parquet(file_bytes(path))
    try:
        frame = table.to_pandas()
    except (pa.ArrowException, ValueError, TypeError, OverflowError, KeyError) as error:
        raise NotAsWrittenError(f"cannot be read as a table: {one_line(error)}") from error
    return typed(frame, columns, needed)


def read_csv(path: Path, columns: Kinds, needed: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return a table that perpwalk wrote as CSV, likewise; stamps as times of UTC."""
    return parse_csv(file_bytes(path), columns, needed)


def parse_csv(content: bytes, columns: Kinds, needed: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return the table that a CSV file of perpwalk's holds."""
    text = text_of(content)
    try:
        frame = pd.read_csv(io.StringIO(text))
    except (ValueError, pd.errors.ParserError, OverflowError) as error:
        raise NotAsWrittenError(f"is no valid CSV: {one_line(error)}") from error
    for name, kind in columns.items():
        if kind == STAMP and name in frame:
            frame[name] = _stamps(frame[name])
    return typed(frame, columns, needed)


def _stamps(values: pd.Series) -> pd.Series:
    try:
        if len(values.dropna()) and pd.api.types.is_numeric_dtype(values.dtype):
            raise ValueError("a number")
        return pd.to_datetime(values, utc=True, format="ISO8601")
    except (ValueError, TypeError, OverflowError) as error:
        raise NotAsWrittenError(f"column '{values.name}' holds what is no time") from error


def typed(frame: pd.DataFrame, columns: Kinds, needed: tuple[str, ...] = ()) -> pd.DataFrame:
    """Return a table if it has the ``needed`` columns and known ones are of their kind.

    Times come as nanoseconds of UTC.
    """
    for name in needed:
        if name not in frame:
            raise NotAsWrittenError(f"has no column '{name}'")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise NotAsWrittenError(f"has two columns '{twice}'")
    for name, kind in columns.items():
        if name in frame and not _is(frame[name], kind):
            raise NotAsWrittenError(f"column '{name}' holds what is no {kind}")
    stamps = {
        n: _nanoseconds(frame[n]) for n, kind in columns.items() if kind == STAMP and n in frame
    }
    return frame.assign(**stamps)


def _nanoseconds(stamps: pd.Series) -> pd.Series:
    """Return stamps as every frame of perpwalk carries them, whatever unit and zone a file has."""
    if not isinstance(stamps.dtype, pd.DatetimeTZDtype):  # without any value
        return pd.Series(pd.NaT, index=stamps.index, dtype="datetime64[ns, UTC]")
    try:
        found: pd.Series = stamps.dt.tz_convert("UTC").dt.as_unit("ns")
    except pd.errors.OutOfBoundsDatetime as error:
        raise NotAsWrittenError(
            f"column '{stamps.name}' holds a time outside the years 1678 to 2261"
        ) from error
    return found


def _is(values: pd.Series, kind: str) -> bool:
    """Whether a column is of a kind; one without any value is of every kind."""
    known = values.dropna()
    if known.empty:
        return True
    if kind == STAMP:
        return isinstance(values.dtype, pd.DatetimeTZDtype)
    if kind in (FLAG, TEXT):
        return kind == TEXT or pd.api.types.is_bool_dtype(known.dtype)
    of = known.dtype
    if pd.api.types.is_bool_dtype(of) or not pd.api.types.is_numeric_dtype(of):
        return False
    if pd.api.types.is_complex_dtype(of):
        return False
    numbers = known.to_numpy(dtype="float64")
    finite = bool(abs(numbers).max() < float("inf"))
    return finite and (kind == NUMBER or bool((numbers == numbers.round()).all()))


def read_npy(path: Path) -> np.ndarray:
    """Return the array of a NumPy file."""
    refuse_link(path)
    with path.open("rb") as stream:
        return parse_npy(stream, os.fstat(stream.fileno()).st_size)


def parse_npy(stream: BinaryIO, size: int) -> np.ndarray:
    """Return the array of a NumPy file of ``size`` bytes, if its header promises what follows."""
    formats = np.lib.format
    try:
        major, _ = formats.read_magic(stream)
        read = formats.read_array_header_1_0 if major == 1 else formats.read_array_header_2_0
        shape, _, dtype = read(stream)
        if dtype.hasobject or math.prod(shape) * dtype.itemsize != size - stream.tell():
            raise ValueError("its header does not fit what follows")
        stream.seek(0)
        found: np.ndarray = np.load(stream, allow_pickle=False)
    except (ValueError, OSError, EOFError, SyntaxError, tokenize.TokenError, TypeError) as error:
        raise NotAsWrittenError(f"is cut short or damaged: {one_line(error)}") from error
    return found


# ── names ────────────────────────────────────────────────────────────────────────────────────────

_RESERVED = re.compile(r"^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)", re.IGNORECASE)


def is_reserved(name: str) -> bool:
    """Say whether Windows takes a file's name for a device or cuts it short.

    >>> is_reserved("nul"), is_reserved("COM1.yaml"), is_reserved("ends."), is_reserved("console")
    (True, True, True, False)
    """
    return bool(_RESERVED.match(name)) or name.endswith((".", " "))


_DRIVE = re.compile("[A-Za-z]:")


def inside(folder: Path, name: object) -> Path:
    """Return the file ``name`` of ``folder``, if it is a plain path that stays inside.

    Raises
    ------
    NotAsWrittenError
        It is absolute, goes up, passes through a link, or is no name at all.
    """
    if not isinstance(name, str) or not name or "\x00" in name or "\\" in name or len(name) > 1000:
        raise NotAsWrittenError(f"names no file: {str(name)[:80]!r}")
    parts = name.split("/")  # by hand: the store asks this of every partition at every reading
    if not parts[0] or ".." in parts or _DRIVE.match(name):
        raise NotAsWrittenError(f"names a file outside its folder: {name[:80]!r}")
    found, step, linked = folder / name, str(folder), False
    for part in filter(None, parts):
        step = f"{step}{os.sep}{part}"
        linked = linked or os.path.islink(step)
    if not linked:
        return found  # nothing to follow
    if not found.resolve().is_relative_to(folder.resolve()):
        raise NotAsWrittenError(f"names a file outside its folder: {name[:80]!r}")
    return found


def one_line(error: BaseException) -> str:
    """Return what an error says on one line, cut to what a person reads."""
    return " ".join(str(error).split())[:300]
