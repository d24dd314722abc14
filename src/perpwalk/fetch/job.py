"""One fetch: what is missing of a contract's series, from the archive first, then from the API."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from perpwalk.data.store.catalog import Catalog, Piece, gaps_in
from perpwalk.data.store.ranges import Span, intersect, subtract
from perpwalk.data.store.series import (
    DAY,
    MINUTE,
    SECOND,
    Rows,
    SeriesKey,
    SeriesKind,
    iso_ms,
    refused,
)
from perpwalk.data.store.shelf import Shelf, open_shelf
from perpwalk.errors import UsageError
from perpwalk.fetch.archive import LENGTHS, Archive, ArchiveFile
from perpwalk.fetch.cover import cover
from perpwalk.fetch.net import AbsentError, Clock, Endpoints
from perpwalk.fetch.rest import Rest

SETTLED_AFTER = 10 * SECOND  # a bar is final this long after its end
LATE = 2 * DAY  # silence at the end younger than this may only mean that the service is late
CLOCKS_APART = 60 * SECOND
MANY_HOLES = 12  # an archive file with more holes is taken as it is: its holes become gaps

Source = Literal["auto", "archive", "api"]


@dataclass(frozen=True)
class Asked:
    """What somebody wants to have. Times in milliseconds, UTC; ``until`` None: up to now."""

    exchange: str
    symbol: str
    interval: str
    since: int
    until: int | None = None
    kinds: tuple[SeriesKind, ...] = ("ohlcv", "funding", "mark")
    source: Source = "auto"


@dataclass(frozen=True)
class Outcome:
    """What became of one series."""

    catalog: Catalog
    fetched_rows: int
    missing: tuple[Span, ...]
    said: tuple[str, ...]


class Listener(Protocol):
    """Is told how far a fetch is."""

    def begin(self, key: SeriesKey, total: int) -> None:
        """Begin a series of which ``total`` milliseconds are to be had."""

    def advance(self, milliseconds: int, rows: int, what: str) -> None:
        """Move on: some of it has been had."""

    def say(self, text: str) -> None:
        """Something worth knowing happened."""


class Quiet:
    """A listener that does not listen."""

    def begin(self, key: SeriesKey, total: int) -> None:
        """Drop it."""

    def advance(self, milliseconds: int, rows: int, what: str) -> None:
        """Drop it."""

    def say(self, text: str) -> None:
        """Drop it."""


def fetch(
    asked: Asked,
    root: Path,
    *,
    clock: Clock | None = None,
    endpoints: Endpoints | None = None,
    listener: Listener | None = None,
) -> list[Outcome]:
    """Bring the store at ``root`` up to what is asked; what is there is not asked for again.

    Raises
    ------
    UsageError
        The exchange or contract is unknown, or the period is empty.
    EnvironmentFailedError
        The network or the store failed; what had arrived is kept.
    """
    watch, tell = clock or Clock(), listener or Quiet()
    if asked.until is not None and asked.until <= asked.since:
        raise UsageError(
            f"--until {iso_ms(asked.until)} is not after --since {iso_ms(asked.since)}"
        )
    if asked.source == "archive" and asked.exchange != "binance":
        raise UsageError(f"{asked.exchange} has no public archive that is known here")
    places = endpoints or Endpoints()

    @functools.cache
    def api() -> Rest:  # made when it is needed: importing ccxt takes its time
        return Rest(asked.exchange, places, watch, tell.say)

    if asked.exchange != "binance":
        api()  # an unknown exchange is said before a folder is made for it
    outcomes = []
    for kind in asked.kinds:
        key = SeriesKey.of(asked.exchange, asked.symbol, kind, asked.interval)
        with open_shelf(root, key) as shelf:
            outcomes.append(_Fetching(asked, shelf, api, places, watch, tell).run())
    return outcomes


@dataclass
class _Fetching:
    """One series being fetched."""

    asked: Asked
    shelf: Shelf
    connect: Callable[[], Rest]
    endpoints: Endpoints
    clock: Clock
    tell: Listener

    def __post_init__(self) -> None:
        self.key = self.shelf.key
        self.now = self.clock.now_ms()
        self.rows = 0
        self.said: list[str] = []
        self.doubts: list[str] = []

    def run(self) -> Outcome:
        """Fetch what is missing, fold it in, and say what is there now."""
        self.tell.begin(self.key, _length(self._missing()))
        if self.asked.source != "api" and self.asked.exchange == "binance":
            self._from_archive()
        if self.asked.source != "archive" and self._missing():
            self._from_api()
        self.shelf.fold()
        catalog = self.shelf.catalog
        missing = self._missing()
        if missing and not self.key.on_grid and _length(missing[-1:]) <= self.key.step + MINUTE:
            missing.pop()  # the next settlement is still to come
        return Outcome(catalog, self.rows, tuple(missing), tuple(self.said))

    def _missing(self) -> list[Span]:
        return subtract([self._wanted()], self.shelf.covered)

    def _wanted(self) -> Span:
        """Return what is asked for, as far as it is final by now."""
        grain = self.key.step if self.key.on_grid else MINUTE
        final = (self.now - SETTLED_AFTER) // grain * grain
        until = final if self.asked.until is None else -(-self.asked.until // grain) * grain
        start = self.asked.since // grain * grain
        return start, max(start, min(until, final))

    def _say(self, text: str) -> None:
        self.said.append(text)
        self.tell.say(f"{self.key}: {text}")

    def _keep(
        self, spans: Sequence[Span], rows: Rows, what: str, *, notes: Sequence[str] = (), **of: str
    ) -> None:
        source = of.pop("source")
        pieces = [Piece(start, end, source, self.clock.now_ms(), **of) for start, end in spans]
        before = _length(self._missing())
        self.shelf.add(pieces, rows, notes)
        self.rows += len(rows)
        for note in notes:
            self._say(note)
        self.tell.advance(before - _length(self._missing()), len(rows), what)

    # ── the archive ──────────────────────────────────────────────────────────────────────────────

    def _from_archive(self) -> None:
        archive = Archive(self.key, self.endpoints, self.clock, self.tell.say)
        for length in LENGTHS:  # days where a month is not complete yet, or has a hole
            for file in archive.files(length, self._missing(), self.shelf.covered):
                self._archived(archive, file)

    def _archived(self, archive: Archive, file: ArchiveFile) -> None:
        try:
            rows, digest = archive.read(file)
        except AbsentError as error:
            self._say(f"{error}; the API is asked instead")
            return
        good = rows.take(np.flatnonzero(~refused(self.key, rows)))
        spans = self._held(file, good)
        if spans:
            notes = _refusals(len(rows) - len(good), file.name)
            self._keep(
                spans, good, file.name, notes=notes, source="archive", file=file.path,
                sha256=digest,
            )  # fmt: skip

    def _held(self, file: ArchiveFile, rows: Rows) -> list[Span]:
        """Return what of a file's span counts as fetched: its holes are left to the API."""
        whole = [(file.start, file.end)]
        if self.key.kind == "open_interest":
            return whole  # the API keeps a month of it: holes older than that stay
        if not len(rows):
            return []
        reach, slack = (self.key.step, 0) if self.key.on_grid else (1, self.key.step)
        edges = [(file.start, int(rows.time[0])), (int(rows.time[-1]) + reach, file.end)]
        edges = [edge for edge in edges if edge[1] - edge[0] > slack]
        holes = gaps_in(self.key, rows)
        return subtract(whole, [*edges, *(holes if len(holes) <= MANY_HOLES else ())])

    # ── the API ──────────────────────────────────────────────────────────────────────────────────

    def _from_api(self) -> None:
        self.api = self.connect()
        if not self.api.offers(self.key):
            self._say(f"ccxt cannot ask {self.asked.exchange} for this")
            return
        try:
            listed = self.api.listed_at(self.key.symbol)
        except UsageError as error:
            if not self.shelf.covered:
                raise
            self._say(f"{error}; what the archive has is kept")
            return
        self.doubts = self.api.doubts(self.key)
        self._trust_earlier_clock()
        if listed is not None:
            self._skip_before(listed)
        oldest = self.api.oldest(self.key, self.now)
        if gone := [span for one in self._missing() for span in intersect([one], (0, oldest))]:
            span = f"{iso_ms(gone[0][0])} … {iso_ms(gone[-1][1])}"
            self._say(f"the API keeps nothing as old as {span}")
        for start, end in subtract(self._missing(), gone):
            for window in self._windows(start, end):
                self._page(window)

    def _trust_earlier_clock(self) -> None:
        """Judge what is final by the exchange's clock where ours is ahead of it."""
        theirs = self.api.server_time()
        if theirs is None:
            return
        if abs(theirs - self.now) > CLOCKS_APART:
            self._say(f"this machine's clock is {(self.now - theirs) / SECOND:+.0f} s off")
        self.now = min(self.now, theirs)

    def _skip_before(self, listed: int) -> None:
        """Note that there is nothing before the listing, without asking."""
        grain = self.key.step if self.key.on_grid else MINUTE
        day_before = (listed - DAY) // grain * grain
        early = [
            span for missing in self._missing() for span in intersect([missing], (0, day_before))
        ]
        if early:
            self._keep(
                early, Rows.empty(self.key), "before listing", source="before listing",
                notes=[f"listed {iso_ms(listed)}; nothing is there before"],
            )  # fmt: skip

    def _windows(self, start: int, end: int) -> list[Span]:
        page = self.api.page(self.key)
        return [(at, min(at + page, end)) for at in range(start, end, page)]

    def _page(self, window: Span) -> None:
        start, end = window
        found = cover(self.key, window, lambda first, last: self.api.ask(self.key, first, last))
        if end > self.now - LATE:
            # The newest silence is not believed: the next fetch asks for it again.
            reach = self.key.step if self.key.on_grid else 1
            end = int(found.rows.time[-1]) + reach if len(found.rows) else start
        if end > start:
            where = f"{iso_ms(start)} … {iso_ms(end)}"
            notes = [*self.doubts, *_refusals(found.refused, where)]
            self.doubts = []  # said once
            self._keep(
                [(start, end)], found.rows, f"{iso_ms(start)[:10]} …", notes=notes, source="api"
            )


def _length(spans: Sequence[Span]) -> int:
    return sum(end - start for start, end in spans)


def _refusals(count: int, where: str) -> list[str]:
    return [f"{where}: {count:,} rows refused (off the grid, or contradictory)"] if count else []
