"""Rows as Parquet: the same rows give the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from perpwalk import strict
from perpwalk.data.store.catalog import Partition
from perpwalk.data.store.series import Rows, SeriesKey
from perpwalk.errors import DataError

PIECES = b"perpwalk.pieces"
NOTES = b"perpwalk.notes"
_MEND = "remove the series' folder and fetch it again"


def pack(key: SeriesKey, rows: Rows, metadata: Mapping[bytes, str] | None = None) -> bytes:
    """Return the rows as a Parquet file with the series' column names; unknown values are null."""
    stamps = pa.array(rows.time, pa.timestamp("ms", "UTC"))
    arrays = [stamps, *(pa.array(values, from_pandas=True) for values in rows.values)]
    table = pa.table(dict(zip(key.columns, arrays, strict=True)))
    stream = io.BytesIO()
    pq.write_table(table.replace_schema_metadata(metadata), stream, compression="zstd")
    return stream.getvalue()


def schema_metadata(path: Path) -> dict[bytes, bytes]:
    """Return what ``pack`` was given beside the rows."""
    return dict(pq.read_schema(path).metadata or {})


def read_arrival(path: Path, key: SeriesKey) -> tuple[Rows, list[str]]:
    """Return rows and notes of an arrival."""
    table = pq.ParquetFile(path).read()
    return _rows(key, table), json.loads(table.schema.metadata[NOTES])


def read_partition(folder: Path, key: SeriesKey, partition: Partition) -> Rows:
    """Return one year's rows; the file must be the one the catalog was written for.

    Raises
    ------
    DataError
        The file is missing or has changed.
    """
    path = folder / partition.file
    try:
        packed = strict.file_bytes(path)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}; {_MEND}", path=path) from error
    except strict.NotAsWrittenError as error:
        raise DataError(f"{error}; {_MEND}", path=path) from error
    if hashlib.sha256(packed).hexdigest() != partition.sha256:
        raise DataError(f"is not the file that was stored: its hash differs; {_MEND}", path=path)
    try:  # the hash vouches for the catalog's writer, who may be anybody
        return _rows(key, strict.parse_parquet(packed))
    except (strict.NotAsWrittenError, pa.ArrowException, IndexError, ValueError) as error:
        raise DataError(f"holds no series: {strict.one_line(error)}; {_MEND}", path=path) from error


def _rows(key: SeriesKey, table: Any) -> Rows:
    time = table.column(0).cast(pa.int64()).to_numpy()
    values = [table.column(i).to_numpy() for i in range(1, len(key.columns))]
    return Rows(np.array(time), np.array(values, dtype=np.float64))
