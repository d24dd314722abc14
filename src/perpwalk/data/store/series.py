"""What the store keeps: series of one exchange, contract, kind and interval, as arrays of rows."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from perpwalk.domain import FloatArray, IntArray
from perpwalk.errors import UsageError
from perpwalk.strict import is_reserved

SeriesKind = Literal["ohlcv", "mark", "funding", "open_interest"]
KINDS: tuple[SeriesKind, ...] = get_args(SeriesKind)

IN_CONTRACTS = "volumes may count contracts, not coins"  # how a note of a fetch begins
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000  # milliseconds
LONGEST_SETTLEMENT = 8 * HOUR  # exchanges settle every 1, 2, 4 or 8 hours
SETTLED = "settled"  # stands for the interval of a series that has its own stamps

_COLUMNS: dict[SeriesKind, tuple[str, ...]] = {
    "ohlcv": ("open_time", "open", "high", "low", "close", "volume"),
    "mark": ("open_time", "open", "high", "low", "close"),
    "funding": ("settle_time", "rate", "mark_price"),
    "open_interest": ("time", "open_interest", "open_interest_value"),
}
_OPTIONAL = {"mark_price", "open_interest_value"}  # not every source knows them
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_EPOCH = datetime(1970, 1, 1)  # of UTC, like every time here
_UNITS = (("d", DAY), ("h", HOUR), ("m", MINUTE))


def interval_text(milliseconds: int) -> str:
    """Return the length of a bar as exchanges write it.

    >>> interval_text(3_600_000), interval_text(900_000), interval_text(86_400_000)
    ('1h', '15m', '1d')
    """
    for unit, size in _UNITS:
        if milliseconds >= size and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    raise UsageError(f"bars of {milliseconds / SECOND:g} s are not kept; give whole minutes")


def interval_ms(text: str) -> int:
    """Return the length of a bar written like ``15m``, ``1h`` or ``1d``.

    >>> interval_ms("4h")
    14400000
    """
    sizes = dict(_UNITS)
    amount, unit = text[:-1], text[-1:]
    if unit not in sizes or not amount.isdigit() or int(amount) == 0:
        raise UsageError(f"'{text}' is no length of a bar; write it like 15m, 1h or 1d")
    return int(amount) * sizes[unit]


def iso_ms(milliseconds: int) -> str:
    """Return a time as ISO-8601 with Z.

    >>> iso_ms(0), iso_ms(86_400_007)
    ('1970-01-01T00:00:00Z', '1970-01-02T00:00:00.007Z')
    """
    stamp = _EPOCH + timedelta(milliseconds=milliseconds)
    return stamp.isoformat(timespec="milliseconds" if milliseconds % SECOND else "seconds") + "Z"


def from_iso(text: str) -> int:
    """Return the milliseconds of a time written by ``iso_ms``."""
    return (datetime.fromisoformat(text.removesuffix("Z")) - _EPOCH) // timedelta(milliseconds=1)


@dataclass(frozen=True, order=True)
class SeriesKey:
    """Names one series; ``interval`` is ``settled`` for funding."""

    exchange: str
    symbol: str
    kind: SeriesKind
    interval: str

    @classmethod
    def of(cls, exchange: str, symbol: str, kind: SeriesKind, interval: str) -> SeriesKey:
        """Return the key; funding has its own stamps, whatever the interval of the bars."""
        return cls(exchange, symbol, kind, SETTLED if kind == "funding" else interval)

    @property
    def step(self) -> int:
        """Milliseconds between rows: exactly for a series on a grid, at most for funding."""
        return LONGEST_SETTLEMENT if self.kind == "funding" else interval_ms(self.interval)

    @property
    def on_grid(self) -> bool:
        """Whether rows stand at every multiple of the interval."""
        return self.kind != "funding"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, the time first."""
        return _COLUMNS[self.kind]

    def folder(self, root: Path) -> Path:
        """Return where the series lies in the store at ``root``.

        Raises
        ------
        UsageError
            A name could lead out of the store.
        """
        for name in (self.exchange, self.symbol, self.interval):
            if not _NAME.fullmatch(name) or is_reserved(name):
                raise UsageError(f"'{name[:40]}' is no name of an exchange or a contract")
        return (
            root
            / f"exchange={self.exchange}"
            / f"symbol={self.symbol}"
            / f"kind={self.kind}"
            / f"interval={self.interval}"
        )

    def __str__(self) -> str:
        tail = "" if self.kind == "funding" else f" {self.interval}"
        return f"{self.exchange} {self.symbol} {self.kind}{tail}"


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of one series in order of time.

    Attributes
    ----------
    time
        Milliseconds since 1970, UTC. Shape (n,).
    values
        The other columns in the order of ``SeriesKey.columns``. Shape (columns, n).
    """

    time: IntArray
    values: FloatArray

    @classmethod
    def empty(cls, key: SeriesKey) -> Rows:
        """Return no rows."""
        return cls(np.zeros(0, dtype=np.int64), np.zeros((len(key.columns) - 1, 0)))

    def __len__(self) -> int:
        return len(self.time)

    def take(self, chosen: slice | IntArray) -> Rows:
        """Return the chosen rows."""
        return Rows(self.time[chosen], np.ascontiguousarray(self.values[:, chosen]))

    def between(self, start: int, end: int) -> Rows:
        """Return the rows with ``start <= time < end``."""
        first, last = np.searchsorted(self.time, [start, end])
        return self.take(slice(int(first), int(last)))


def joined(key: SeriesKey, parts: Sequence[Rows]) -> Rows:
    """Return all rows in order of time; of rows with one stamp the first given stays."""
    if not parts:
        return Rows.empty(key)
    time = np.concatenate([part.time for part in parts])
    values = np.concatenate([part.values for part in parts], axis=1)
    _, first = np.unique(time, return_index=True)
    return Rows(time[first], np.ascontiguousarray(values[:, first]))


def refused(key: SeriesKey, rows: Rows) -> np.ndarray:
    """Return which rows no series may hold: off the grid, not finite, contradictory."""
    named = dict(zip(key.columns[1:], rows.values, strict=True))
    bad = np.zeros(len(rows), dtype=bool)
    if key.on_grid:
        bad |= rows.time % key.step != 0
    for name, values in named.items():
        bad |= np.isinf(values) if name in _OPTIONAL else ~np.isfinite(values)
    if "open" in named:
        top = np.maximum(named["open"], named["close"])
        bottom = np.minimum(named["open"], named["close"])
        bad |= (named["low"] <= 0) | (named["high"] < top) | (named["low"] > bottom)
    for name in ("volume", "open_interest"):
        if name in named:
            bad |= named[name] < 0
    if "rate" in named:
        bad |= np.abs(named["rate"]) > 1.0
    return bad


# ── the hash of what rows hold ───────────────────────────────────────────────────────────────────


def month_hashes(key: SeriesKey, rows: Rows) -> dict[str, str]:
    """Return the sha256 of the rows of each calendar month (UTC) that has any.

    It hashes numbers, not files: the same rows have the same hash however they were fetched, cut
    or packed.
    """
    if not len(rows):
        return {}
    months = rows.time.view("M8[ms]").astype("M8[M]")
    starts = np.flatnonzero(np.concatenate(([True], months[1:] != months[:-1])))
    stops = [*starts[1:], len(rows)]
    return {
        str(months[start]): _hash(key, rows, slice(int(start), int(stop)))
        for start, stop in zip(starts, stops, strict=True)
    }


def content_hash(months: dict[str, str]) -> str:
    """Return one sha256 for the rows whose months have these hashes."""
    text = json.dumps(months, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _hash(key: SeriesKey, rows: Rows, chosen: slice) -> str:
    digest = hashlib.sha256(",".join(key.columns).encode())
    digest.update(rows.time[chosen].astype("<i8").tobytes())
    for values in rows.values:
        column = values[chosen].astype("<f8")
        column[np.isnan(column)] = np.nan  # one pattern of bits for what is not known
        digest.update(column.tobytes())
    return digest.hexdigest()
