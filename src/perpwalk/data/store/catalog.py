"""The catalog of one series: what is there, from where, since when, and what is missing.

A series is changed by replacing its catalog in one step: it names the partition files by their
content, so a reader sees the series before the change or after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from perpwalk import strict
from perpwalk.data.store.ranges import Span, union
from perpwalk.data.store.series import Rows, SeriesKey, from_iso, iso_ms
from perpwalk.errors import DataError
from perpwalk.runs import write_json

CATALOG = "_catalog.json"
FORMAT = 1


@dataclass(frozen=True)
class Piece:
    """A stretch of time that was asked for and answered, whether or not it holds rows.

    Attributes
    ----------
    source
        ``archive``, ``api``, ``file``, or ``before listing``.
    file, sha256
        The archive file it came from, and that file's hash.
    """

    start: int
    end: int
    source: str
    fetched_at: int
    file: str | None = None
    sha256: str | None = None

    @property
    def span(self) -> Span:
        """The stretch as a half-open pair."""
        return self.start, self.end

    def as_dict(self) -> dict[str, Any]:
        """Return it as the catalog holds it: times as ISO-8601, nothing that is None."""
        times = {name: iso_ms(getattr(self, name)) for name in ("start", "end", "fetched_at")}
        return {k: v for k, v in (asdict(self) | times).items() if v is not None}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Piece:
        """Return the piece that ``as_dict`` wrote."""
        times = {name: from_iso(stored[name]) for name in ("start", "end", "fetched_at")}
        piece = cls(**(dict(stored) | times))
        if piece.start >= piece.end or not _texts(piece.source, piece.file, piece.sha256):
            raise ValueError("a stretch of time that is none")
        return piece


def merged(pieces: Iterable[Piece]) -> tuple[Piece, ...]:
    """Return the pieces in order, those that touch and come from one source as one.

    Where a fetch was interrupted so leaves no trace.
    """
    found: list[Piece] = []
    for piece in sorted(pieces, key=lambda p: p.span):
        last = found[-1] if found else None
        same = last is not None and (last.source, last.file) == (piece.source, piece.file)
        if last is not None and same and last.file is None and last.end >= piece.start:
            found[-1] = replace(
                last,
                end=max(last.end, piece.end),
                fetched_at=max(last.fetched_at, piece.fetched_at),
            )
        else:
            found.append(piece)
    return tuple(found)


@dataclass(frozen=True)
class Partition:
    """One year's file. ``sha256`` is of the file, ``months`` are hashes of what it holds."""

    year: int
    file: str
    rows: int
    first: int
    last: int
    sha256: str
    months: Mapping[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Return it as the catalog holds it."""
        return {**asdict(self), "first": iso_ms(self.first), "last": iso_ms(self.last)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Partition:
        """Return the partition that ``as_dict`` wrote."""
        found = cls(
            **{**stored, "first": from_iso(stored["first"]), "last": from_iso(stored["last"])}
        )
        months = found.months
        if not _texts(found.file, found.sha256, *months, *months.values()):
            raise TypeError("a name or a hash that is no text")
        if type(found.year) is not int or type(found.rows) is not int or found.rows < 1:
            raise TypeError("a year or a count that is no whole number")
        return found


@dataclass(frozen=True)
class Catalog:
    """All there is to know of a series without reading its rows."""

    key: SeriesKey
    pieces: tuple[Piece, ...] = ()
    partitions: tuple[Partition, ...] = ()
    gaps: tuple[Span, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows are stored."""
        return sum(partition.rows for partition in self.partitions)

    @property
    def covered(self) -> list[Span]:
        """The stretches that need not be asked for again."""
        return union(piece.span for piece in self.pieces)

    @property
    def first(self) -> int | None:
        """Stamp of the first row."""
        return self.partitions[0].first if self.partitions else None

    @property
    def last(self) -> int | None:
        """Stamp of the last row."""
        return self.partitions[-1].last if self.partitions else None

    def write(self, folder: Path) -> None:
        """Replace the catalog in ``folder`` in one step."""
        write_json(folder / CATALOG, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Return what the file holds."""
        step = self.key.step
        return {
            "format": FORMAT,
            **asdict(self.key),
            "columns": list(self.key.columns),
            "rows": self.rows,
            "first": None if self.first is None else iso_ms(self.first),
            "last": None if self.last is None else iso_ms(self.last),
            "gaps": [
                {
                    "start": iso_ms(start),
                    "end": iso_ms(end),
                    **({"rows": (end - start) // step} if self.key.on_grid else {}),
                }
                for start, end in self.gaps
            ],
            "covered": [piece.as_dict() for piece in self.pieces],
            "partitions": [partition.as_dict() for partition in self.partitions],
            "notes": list(self.notes),
        }


def read_catalog(folder: Path, key: SeriesKey) -> Catalog:
    """Return the catalog in ``folder``; an empty one where nothing has been stored yet.

    Raises
    ------
    DataError
        The catalog is damaged or of another format.
    """
    path = folder / CATALOG
    try:
        stored = strict.read_object(path)
    except FileNotFoundError:
        return Catalog(key)
    except (OSError, ValueError) as error:
        raise DataError(f"the catalog cannot be read: {error}", path=path) from error
    if stored.get("format") != FORMAT:
        raise DataError(f"is of format {stored.get('format')!r:.40}, not {FORMAT}", path=path)
    try:
        catalog = Catalog(
            key=key,
            pieces=tuple(Piece.from_dict(piece) for piece in stored["covered"]),
            partitions=tuple(Partition.from_dict(one) for one in stored["partitions"]),
            gaps=tuple((from_iso(gap["start"]), from_iso(gap["end"])) for gap in stored["gaps"]),
            notes=tuple(stored["notes"]),
        )
        for one in catalog.partitions:
            strict.inside(folder, one.file)
        if not _texts(*catalog.notes):
            raise TypeError("a note that is no text")
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        said = f"the catalog is damaged: {type(error).__name__} {strict.one_line(error)}"
        raise DataError(said, path=path) from error
    return catalog


def _texts(*values: object) -> bool:
    return all(value is None or isinstance(value, str) for value in values)


def gaps_in(key: SeriesKey, rows: Rows) -> tuple[Span, ...]:
    """Return the stretches between rows that hold none: missing bars, or over 8 h of no funding."""
    slack = 0 if key.on_grid else 5 * 60_000  # settlements are stamped some seconds late
    at = np.flatnonzero(np.diff(rows.time) > key.step + slack)
    ends = rows.time[at + 1]
    starts = rows.time[at] + (key.step if key.on_grid else 1)
    return tuple((int(start), int(end)) for start, end in zip(starts, ends, strict=True))


def names_of(partitions: Sequence[Partition]) -> set[str]:
    """Return the files the partitions lie in."""
    return {partition.file for partition in partitions}
