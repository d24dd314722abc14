"""Fetching from the loopback services with a clock that does not wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from exchange_server import Services, ccxt_settings, ms, running

from perpwalk.data.store import SeriesKey
from perpwalk.data.store.columns import FLAT
from perpwalk.fetch import Asked, Clock, Endpoints, Outcome, fetch

NOW = ms("2024-07-04T12:34:56")
SINCE = ms("2024-03-10")


class StillClock(Clock):
    """A clock that stands still; waiting is only added up."""

    def __init__(self, now: int = NOW) -> None:
        self.now = now
        self.waits: list[float] = []

    def now_ms(self) -> int:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


class Notes:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.begun: list[tuple[SeriesKey, int]] = []
        self.had = 0
        self.said: list[str] = []

    def begin(self, key: SeriesKey, total: int) -> None:
        self.begun.append((key, total))

    def advance(self, milliseconds: int, rows: int, what: str) -> None:
        self.had += milliseconds

    def say(self, text: str) -> None:
        self.said.append(text)


def services(now: int = NOW, **more: Any) -> Services:
    """Return services whose archive has whole months up to June and days up to July 2nd."""
    settings = {"archive_until": ms("2024-07-03"), "monthly_until": ms("2024-07-01"), **more}
    return Services(now=now, **settings)


@contextmanager
def endpoints(of: Services, exchange: str = "binance") -> Iterator[Endpoints]:
    """Serve, and yield where."""
    with running(of) as address:
        yield Endpoints(
            archive=f"{address}/archive",
            listing=f"{address}/bucket",
            ccxt=ccxt_settings(address, exchange),
        )


def fetched(
    of: Services,
    root: Path,
    *,
    exchange: str = "binance",
    clock: Clock | None = None,
    listener: Notes | None = None,
    **asked: Any,
) -> list[Outcome]:
    """Fetch ETHUSDT from ``of`` into ``root``."""
    question = {"symbol": "ETHUSDT", "interval": "1h", "since": SINCE, **asked}
    with endpoints(of, exchange) as places:
        return fetch(
            Asked(exchange, **question),
            root,
            clock=clock or StillClock(of.now),
            endpoints=places,
            listener=listener,
        )


def kept(root: Path, *, but: str = "") -> dict[str, bytes]:
    """Return every file of a store that holds data or says what is there."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
        and not (but and path.is_relative_to(root / but))
        and path.name != FLAT  # it holds the time its partitions were written
    }


def handed_out_twice(of: Services) -> int:
    """Return how many good answers held a record that an earlier one had handed out."""
    seen: dict[str, set[int]] = {}
    again = 0
    for answer in of.served:
        known = seen.setdefault(answer.series, set())
        again += bool(known & set(answer.stamps))
        known.update(answer.stamps)
    return again
