"""``perpwalk data fetch``: parse, call, show how far it is, print what came."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from perpwalk.terminal import Terminal

if TYPE_CHECKING:
    from perpwalk.data.store import SeriesKey
    from perpwalk.fetch import Asked, Outcome
    from perpwalk.fetch.job import Listener


def fetch(
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG | EXCHANGE SYMBOL...",
            help="A configuration that names an exchange, or e.g. `binance ETHUSDT`.",
        ),
    ],
    interval: Annotated[str, typer.Option(help="Length of a bar: 15m, 1h, 1d, …")] = "1h",
    since: Annotated[str | None, typer.Option(help="First time (UTC); needed once.")] = None,
    until: Annotated[str | None, typer.Option(help="End (UTC); else what is final by now.")] = None,
    kinds: Annotated[
        str, typer.Option(help="Of ohlcv, funding, mark, open_interest.")
    ] = "ohlcv,funding,mark",
    source: Annotated[
        Literal["auto", "archive", "api"],
        typer.Option(help="Binance's public archive, the API, or the archive first (auto)."),
    ] = "auto",
    store: Annotated[
        Path | None,
        typer.Option("--store", help="The store; else $PERPWALK_STORE, else ./data/store."),
    ] = None,
) -> None:
    """Fetch bars, funding, mark prices or open interest into the store.

    What is there is not fetched again; an interrupted fetch goes on where it was when the same
    command is given again. Without --since a series already there is brought up to date.
    """
    from perpwalk import fetch as fetching
    from perpwalk.data.store import find_store

    root = find_store(store)
    endpoints = fetching.Endpoints.from_environment()
    console = Terminal()
    for asked, root_of in _asked(what, interval, since, until, kinds, source, root, store is None):
        with _listener(Terminal(stderr=True)) as listener:
            outcomes = fetching.fetch(asked, root_of, endpoints=endpoints, listener=listener)
        for outcome in outcomes:
            _show(outcome, console)
        console.print(f"store {root_of}", highlight=False, soft_wrap=True)


def _asked(
    what: Sequence[str], interval: str, since: str | None, until: str | None, kinds: str,
    source: Literal["auto", "archive", "api"], root: Path, configured: bool,
) -> list[tuple[Asked, Path]]:  # fmt: skip
    from perpwalk import fetch as fetching
    from perpwalk.errors import UsageError

    chosen = fetching.kinds_of(kinds)
    if len(what) == 1 and what[0].endswith((".yaml", ".yml")):
        return [
            (asked, place if configured else root)
            for asked, place in fetching.of_config(what[0], kinds=chosen, source=source)
        ]
    if len(what) < 2:
        raise UsageError("name a configuration, or an exchange and its symbols: binance ETHUSDT")
    exchange, *symbols = what
    return [
        (
            fetching.ask_for(
                exchange, symbol, interval, since, until, kinds=chosen, source=source, root=root
            ),
            root,
        )
        for symbol in symbols
    ]


def _show(outcome: Outcome, console: Terminal) -> None:
    from perpwalk.data.store.series import iso_ms

    catalog = outcome.catalog
    span = "no rows"
    if catalog.first is not None and catalog.last is not None:
        span = f"{iso_ms(catalog.first)} … {iso_ms(catalog.last)}"
    gaps = f", {len(catalog.gaps):,} gaps" if catalog.gaps else ""
    console.print(
        f"{catalog.key}: {catalog.rows:,} rows ({outcome.fetched_rows:,} new), {span}{gaps}",
        highlight=False,
        soft_wrap=True,
    )
    for start, end in outcome.missing:
        console.print(f"  not to be had: {iso_ms(start)} … {iso_ms(end)}", soft_wrap=True)


# ── how far it is ────────────────────────────────────────────────────────────────────────────────


@contextmanager
def _listener(console: Terminal) -> Iterator[Listener]:
    if not console.is_terminal:
        yield _Lines(console)
        return
    live = _Bars(console)
    with live.progress:
        yield live
        live.finish()


class _Lines:
    """One line per series, and what went wrong: for logs."""

    def __init__(self, console: Terminal) -> None:
        self._console = console

    def begin(self, key: SeriesKey, total: int) -> None:
        """Name the series and how much of it is to be had."""
        days = total / 86_400_000
        self.say(f"{key}: {f'{days:,.1f} days to fetch' if total else 'up to date'}")

    def advance(self, milliseconds: int, rows: int, what: str) -> None:
        """Say nothing."""

    def say(self, text: str) -> None:
        """Print it."""
        self._console.print(text, highlight=False, soft_wrap=True)


class _Bars:
    """A live bar per series: share of the period, rows per second, remaining time."""

    def __init__(self, console: Terminal) -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column

        whole = functools.partial(Column, no_wrap=True)

        self.progress = Progress(
            TextColumn("{task.description}", table_column=whole()),
            BarColumn(bar_width=12),
            TaskProgressColumn(table_column=whole()),
            TextColumn(
                "{task.fields[rows]:>9,} rows {task.fields[rate]:>6,.0f}/s", table_column=whole()
            ),
            TimeElapsedColumn(table_column=whole()),
            TextColumn("left", table_column=whole()),
            TimeRemainingColumn(table_column=whole()),
            # What there is no room for is cut off here, not in the figures.
            TextColumn(
                "{task.fields[detail]}",
                style="dim",
                table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
            ),
            expand=True,
            console=console,
        )
        self._task: Any = None

    def begin(self, key: SeriesKey, total: int) -> None:
        """Open the bar of a series."""
        self.finish()
        self._task = self.progress.add_task(
            str(key), total=total or 1, completed=0 if total else 1, rows=0, rate=0.0,
            detail="" if total else "up to date",
        )  # fmt: skip

    def finish(self) -> None:
        """Close the bar: what is left of it is not to be had."""
        if self._task is not None:
            task = self.progress.tasks[-1]
            self.progress.update(self._task, completed=task.total, detail="")

    def advance(self, milliseconds: int, rows: int, what: str) -> None:
        """Move it on."""
        task = next(one for one in self.progress.tasks if one.id == self._task)
        had = task.fields["rows"] + rows
        self.progress.update(
            self._task, advance=milliseconds, rows=had,
            rate=had / max(task.elapsed or 0.0, 0.1), detail=what,
        )  # fmt: skip

    def say(self, text: str) -> None:
        """Print one line above the bars."""
        self.progress.console.print(text, highlight=False)
