"""Writing one series: pieces are kept as they arrive and folded into yearly partitions.

A piece that has arrived is a small file under ``.incoming``, written in one step; from then on it
counts as fetched. ``fold`` merges pieces into new partition files named by their content, then
replaces the catalog, which is the moment the change happens; whatever a crash leaves over is swept
away by the next writer. One writer at a time holds the series' lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from perpwalk import locks, owned, strict
from perpwalk.data.store import columns
from perpwalk.data.store.catalog import (
    Catalog,
    Partition,
    Piece,
    gaps_in,
    merged,
    names_of,
    read_catalog,
)
from perpwalk.data.store.packed import NOTES, PIECES, pack, read_arrival, read_partition
from perpwalk.data.store.packed import schema_metadata as metadata_of
from perpwalk.data.store.ranges import Span, subtract, union
from perpwalk.data.store.series import Rows, SeriesKey, content_hash, joined, month_hashes
from perpwalk.disk import write_bytes
from perpwalk.errors import DataError, EnvironmentFailedError

INCOMING = ".incoming"
LOCK = ".lock"


@dataclass(frozen=True)
class Arrival:
    """What one answer brought, in a file of its own."""

    path: Path
    pieces: tuple[Piece, ...]

    @property
    def spans(self) -> list[Span]:
        """The stretches it covers."""
        return union(piece.span for piece in self.pieces)


@dataclass
class Shelf:
    """A series open for writing."""

    key: SeriesKey
    folder: Path
    catalog: Catalog
    arrived: list[Arrival]

    @property
    def covered(self) -> list[Span]:
        """The stretches that need not be asked for again, pieces not folded in yet included."""
        return union([*self.catalog.covered, *(span for one in self.arrived for span in one.spans)])

    def add(self, pieces: Sequence[Piece], rows: Rows, notes: Sequence[str] = ()) -> None:
        """Keep what one answer brought, in one step: the pieces it covers and their rows.

        Raises
        ------
        ValueError
            A piece overlaps what is there already, or a row stands outside all pieces.
        """
        spans = union(piece.span for piece in pieces)
        if spans != subtract(spans, self.covered):
            raise ValueError(f"{spans} overlap what is stored already")
        if sum(len(rows.between(*span)) for span in spans) != len(rows):
            raise ValueError(f"rows outside {spans}")
        path = self.folder / INCOMING / f"{spans[0][0]}-{spans[-1][1]}.parquet"
        metadata = {
            PIECES: json.dumps([piece.as_dict() for piece in pieces]),
            NOTES: json.dumps(list(notes)),
        }
        write_bytes(path, pack(self.key, rows, metadata))
        self.arrived.append(Arrival(path, tuple(pieces)))

    def fold(self) -> None:
        """Merge what has arrived into the yearly partitions and replace the catalog."""
        if self.arrived:
            self.catalog = self._folded()
            self.catalog.write(self.folder)
            self._sweep()
        columns.refresh(self.folder, self.catalog)

    def _folded(self) -> Catalog:
        read = [read_arrival(one.path, self.key) for one in self.arrived]
        fresh = joined(self.key, [rows for rows, _ in read])
        years = _years(fresh)
        partitions = {one.year: one for one in self.catalog.partitions}
        for year in sorted(set(years.tolist())):
            added = fresh.take(np.flatnonzero(years == year))
            parts = [added]
            if year in partitions:
                parts.append(read_partition(self.folder, self.key, partitions[year]))
            partitions[year] = self._write(year, joined(self.key, parts))
        ordered = tuple(partitions[year] for year in sorted(partitions))
        rows = joined(self.key, [read_partition(self.folder, self.key, one) for one in ordered])
        said = [note for _, notes in read for note in notes]
        return Catalog(
            key=self.key,
            pieces=merged([*self.catalog.pieces, *(p for one in self.arrived for p in one.pieces)]),
            partitions=ordered,
            gaps=gaps_in(self.key, rows),
            notes=tuple(sorted({*self.catalog.notes, *said})),
        )

    def _write(self, year: int, rows: Rows) -> Partition:
        months = month_hashes(self.key, rows)
        packed = pack(self.key, rows)
        name = f"year={year}/{content_hash(months)[:16]}.parquet"
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_bytes(self.folder / name, packed)
        return Partition(
            year=year,
            file=name,
            rows=len(rows),
            first=int(rows.time[0]),
            last=int(rows.time[-1]),
            sha256=hashlib.sha256(packed).hexdigest(),
            months=months,
        )

    def _sweep(self) -> None:
        """Remove pieces that are folded in and files that no catalog names."""
        done = [one for one in self.arrived if not subtract(one.spans, self.catalog.covered)]
        for one in done:
            one.path.unlink()
        self.arrived = [one for one in self.arrived if one not in done]
        named = names_of(self.catalog.partitions)
        for path in self.folder.glob("year=*/*"):
            if path.relative_to(self.folder).as_posix() not in named:
                path.unlink()


@contextmanager
def open_shelf(root: Path, key: SeriesKey) -> Iterator[Shelf]:
    """Open a series for writing; pieces that an interrupted fetch left are taken up.

    Raises
    ------
    EnvironmentFailedError
        Another process is writing this series, or the folder cannot be written.
    """
    folder = key.folder(root)
    try:
        (folder / INCOMING).mkdir(parents=True, exist_ok=True)
        lock = owned.opened(folder / LOCK, "ab")
    except OSError as error:
        raise EnvironmentFailedError(
            f"cannot write to {folder}: {error.strerror}; give another --store"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # One that brought nothing removes the folder, and with it the file we have opened.
            mine = locks.is_at(folder / LOCK, lock.fileno())
        except BlockingIOError:
            mine = False
        if not mine:
            raise EnvironmentFailedError(
                f"another process is writing {key} in {root}; wait for it to end"
            )
        try:
            strict.refuse_links(folder)  # what they lead to would be swept
        except strict.NotAsWrittenError as error:
            raise DataError(f"{error}; remove it and fetch again", path=folder) from error
        shelf = Shelf(key, folder, read_catalog(folder, key), [])
        shelf.arrived = list(_left_over(folder))
        shelf._sweep()
        try:
            yield shelf
        finally:
            if not shelf.covered:
                _leave_nothing(folder, root)


def _leave_nothing(folder: Path, root: Path) -> None:
    """Remove the folders of a series of which nothing came."""
    (folder / LOCK).unlink(missing_ok=True)
    for empty in (folder / INCOMING, folder, *folder.parents):
        if not empty.is_relative_to(root) or any(empty.iterdir()):
            return
        empty.rmdir()


def _left_over(folder: Path) -> Iterator[Arrival]:
    for path in sorted((folder / INCOMING).iterdir()):
        if path.suffix != ".parquet" or path.name.startswith("."):
            path.unlink()  # a file that was being written when its writer was killed
            continue
        yield Arrival(path, _pieces_in(path))


def _pieces_in(path: Path) -> tuple[Piece, ...]:
    try:
        pieces = strict.parse_json(metadata_of(path)[PIECES])
        return tuple(map(Piece.from_dict, pieces))
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"was not written by perpwalk ({strict.one_line(error)}); remove it and fetch again",
            path=path,
        ) from error


def _years(rows: Rows) -> np.ndarray:
    return rows.time.view("M8[ms]").astype("M8[Y]").astype(np.int64) + 1970
