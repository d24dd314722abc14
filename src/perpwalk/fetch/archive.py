"""Binance's public archive: monthly and daily zip files of USDT-margined futures, with checksums.

What is there is learned from the bucket's listing, so that months before a listing or after a
delisting cost nothing. A file whose checksum holds is taken whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv

from perpwalk.data.store.ranges import Span, intersect
from perpwalk.data.store.series import Rows, SeriesKey, SeriesKind, joined
from perpwalk.domain import FloatArray, IntArray, to_ns
from perpwalk.errors import EnvironmentFailedError
from perpwalk.fetch.net import AbsentError, BadFileError, Clock, Endpoints, NoAnswerError, Web
from perpwalk.fetch.unzip import only_member

Length = Literal["monthly", "daily"]
LENGTHS: tuple[Length, ...] = ("monthly", "daily")
ROOT = "data/futures/um"
_MAX_ZIP = 512 * 1024**2
_MAX_TEXT = 4 * 1024**2
_PAGES = 500  # of a listing, 1,000 names each
_KEY = re.compile(r"<Key>([^<>&]+)</Key>")
_CUT = re.compile(r"<IsTruncated>\s*true\s*</IsTruncated>")
_CHECKSUM = re.compile(rb"^([0-9a-fA-F]{64})\s+\*?(\S+)\s*$")
_MICROSECONDS = 10**14  # a stamp above this is in µs, as some files of 2025 are


@dataclass(frozen=True)
class _Layout:
    """How the archive files a kind: its folder, whether by interval, and which lengths exist."""

    folder: str
    by_interval: bool
    monthly: bool
    daily: bool
    columns: tuple[int, ...]  # time first, in the order of the series' columns


_LAYOUTS: dict[SeriesKind, _Layout] = {
    "ohlcv": _Layout("klines", True, True, True, (0, 1, 2, 3, 4, 5)),
    "mark": _Layout("markPriceKlines", True, True, True, (0, 1, 2, 3, 4)),
    "funding": _Layout("fundingRate", False, True, False, (0, 2)),
    "open_interest": _Layout("metrics", False, False, True, (0, 2, 3)),
}
_METRICS_STEP = 5 * 60_000


@dataclass(frozen=True)
class ArchiveFile:
    """One file of the archive and the stretch of time it holds."""

    path: str
    start: int
    end: int

    @property
    def name(self) -> str:
        """Its name without folders."""
        return self.path.rsplit("/", 1)[-1]


class Archive:
    """Reads Binance's archive for one series."""

    def __init__(
        self, key: SeriesKey, endpoints: Endpoints, clock: Clock, say: Callable[[str], None]
    ) -> None:
        self._key, self._endpoints = key, endpoints
        self._layout = _LAYOUTS[key.kind]
        self._web = Web(clock, say)

    def files(self, length: Length, wanted: list[Span], covered: list[Span]) -> list[ArchiveFile]:
        """Return the files that hold something wanted and nothing that is there already."""
        offered = self._layout.monthly if length == "monthly" else self._layout.daily
        if not offered or not wanted or self._too_fine():
            return []
        return [
            file
            for file in self._listed(length, wanted[0][0])
            if intersect(wanted, (file.start, file.end))
            and not intersect(covered, (file.start, file.end))
        ]

    def _too_fine(self) -> bool:
        return self._key.kind == "open_interest" and bool(self._key.step % _METRICS_STEP)

    def read(self, file: ArchiveFile) -> tuple[Rows, str]:
        """Return the rows of a file in order of time, and its hash.

        Raises
        ------
        AbsentError
            The file is listed but not there, or is not what it should be however often it is had.
        EnvironmentFailedError
            The network failed.
        """
        address = f"{self._endpoints.archive}/{file.path}"
        digest = self._web.get(f"{address}.CHECKSUM", limit=_MAX_TEXT, accept=_digest)

        def rows_of(packed: bytes) -> Rows:
            if hashlib.sha256(packed).hexdigest() != digest:
                raise BadFileError(f"{file.name}: its checksum does not hold")
            return self._rows(file, only_member(file.name, packed))

        try:
            return self._web.get(address, limit=_MAX_ZIP, accept=rows_of), digest
        except EnvironmentFailedError as error:
            if isinstance(error.__cause__, BadFileError):
                raise AbsentError(str(error.__cause__)) from error
            raise

    # ── what is there ────────────────────────────────────────────────────────────────────────────

    def _prefix(self, length: Length) -> str:
        parts = [ROOT, length, self._layout.folder, self._key.symbol]
        return "/".join([*parts, *([self._key.interval] * self._layout.by_interval), ""])

    def _stem(self) -> str:
        what = self._key.interval if self._layout.by_interval else self._layout.folder
        return f"{self._key.symbol}-{what}-"

    def _listed(self, length: Length, since: int) -> list[ArchiveFile]:
        """Return the files that end after ``since``, from the bucket's listing."""
        prefix = self._prefix(length)
        form = r"\d{4}-\d\d" if length == "monthly" else r"\d{4}-\d\d-\d\d"
        pattern = re.compile(re.escape(prefix + self._stem()) + rf"({form})\.zip")
        day = pd.Timestamp(since, unit="ms").strftime("%Y-%m-%d")
        # Names sort by date, so a listing may start after the one before the first that is wanted.
        marker = prefix + self._stem() + (day[:7] if length == "monthly" else day)
        found = []
        for name in self._names(prefix, marker):
            if match := pattern.fullmatch(name):
                start, end = _span_of(match[1])
                found.append(ArchiveFile(name, start, end))
        return sorted(found, key=lambda file: file.start)

    def _names(self, prefix: str, marker: str) -> Iterator[str]:
        for _ in range(_PAGES):
            text = self._web.get(
                self._endpoints.listing,
                limit=_MAX_TEXT,
                params={"delimiter": "/", "prefix": prefix, "marker": marker},
                accept=_listing,
            )
            names = _KEY.findall(text)
            yield from names
            if not names or not _CUT.search(text) or names[-1] <= marker:
                return
            marker = names[-1]

    # ── what it holds ────────────────────────────────────────────────────────────────────────────

    def _rows(self, file: ArchiveFile, text: bytes) -> Rows:
        try:
            time, columns = _columns(text, self._layout.columns)
        except pa.ArrowException as error:
            raise BadFileError(f"{file.name}: cannot be read as CSV ({error})") from error
        values = np.full((len(self._key.columns) - 1, len(time)), np.nan)
        values[: len(columns)] = columns
        rows = Rows(time, values)
        if self._key.kind == "open_interest":
            rows = rows.take(np.flatnonzero(time % self._key.step == 0))
        _check_repeats(file, rows)
        return joined(self._key, [rows]).between(file.start, file.end)


def _digest(text: bytes) -> str:
    match = _CHECKSUM.match(text.strip())
    if match is None:
        raise NoAnswerError("a checksum file is damaged")
    return match[1].decode().lower()


def _listing(text: bytes) -> str:
    found = text.decode(errors="replace")
    if "</ListBucketResult>" not in found:
        raise NoAnswerError("the archive's listing is cut short")
    return found


def _span_of(date: str) -> Span:
    start = pd.Timestamp(date)
    end = start + (pd.DateOffset(months=1) if len(date) == 7 else pd.Timedelta(days=1))
    return to_ns(start) // 10**6, to_ns(end) // 10**6


def _columns(text: bytes, positions: tuple[int, ...]) -> tuple[IntArray, list[FloatArray]]:
    """Read time and numbers of a file with or without names: its first character tells."""
    names = [f"f{position}" for position in positions]
    if (text[:1].isalpha() and not text.partition(b"\n")[2].strip()) or not text.strip():
        return np.zeros(0, dtype=np.int64), [np.zeros(0) for _ in names[1:]]  # an outage
    table = pyarrow.csv.read_csv(
        pa.BufferReader(text),
        read_options=pyarrow.csv.ReadOptions(
            autogenerate_column_names=True, skip_rows=int(text[:1].isalpha()), use_threads=False
        ),
        convert_options=pyarrow.csv.ConvertOptions(
            include_columns=names, column_types=dict.fromkeys(names[1:], pa.float64())
        ),
    )
    numbers = [np.array(table.column(name).to_numpy(), dtype=np.float64) for name in names[1:]]
    return _milliseconds(table.column(names[0])), numbers


def _milliseconds(stamps: Any) -> IntArray:
    """Return stamps in ms from ms, µs, or text in UTC."""
    if pa.types.is_timestamp(stamps.type):
        return np.array(stamps.cast(pa.timestamp("ms")).cast(pa.int64()).to_numpy())
    raw = np.array(stamps.cast(pa.int64()).to_numpy())
    return np.where(raw > _MICROSECONDS, raw // 1_000, raw)


def _check_repeats(file: ArchiveFile, rows: Rows) -> None:
    """Refuse a file in which two rows of one stamp disagree; equal ones are kept once."""
    order = np.argsort(rows.time, kind="stable")
    time, values = rows.time[order], rows.values[:, order]
    twice = np.flatnonzero(time[1:] == time[:-1])
    same = np.all(
        (values[:, twice] == values[:, twice + 1])
        | (np.isnan(values[:, twice]) & np.isnan(values[:, twice + 1])),
        axis=0,
    )
    if not same.all():
        raise AbsentError(f"{file.name}: two rows of one time stamp disagree; the file is not used")
