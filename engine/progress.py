"""Show how far a run is: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Reporter(Protocol):
    """What a run tells while it works; one method per kind of news."""

    def say(self, message: str) -> None:
        """Tell one fact worth keeping (it also goes to ``run.log``)."""

    def stage(self, name: str, steps: int | None = None) -> None:
        """Begin a stage of ``steps`` steps (None: unknown)."""

    def step(self, detail: str = "") -> None:
        """One step of the stage is done."""

    def detail(self, text: str) -> None:
        """Tell what the stage is doing right now; may be dropped."""


class Silent:
    """A reporter that says nothing, for tests and for the API."""

    def say(self, message: str) -> None:
        """Drop the message."""

    def stage(self, name: str, steps: int | None = None) -> None:
        """Drop the stage."""

    def step(self, detail: str = "") -> None:
        """Drop the step."""

    def detail(self, text: str) -> None:
        """Drop the detail."""


class Hushed:
    """Passes on what takes long (the folds) and only hints at the rest: one run of many."""

    def __init__(self, tell: Reporter) -> None:
        self._tell = tell
        self._counts = False

    def say(self, message: str) -> None:
        """Hint at it."""
        self._tell.detail(message)

    def stage(self, name: str, steps: int | None = None) -> None:
        """Begin it where it has steps to count."""
        self._counts = steps is not None
        if self._counts:
            self._tell.stage(name, steps)
        else:
            self._tell.detail(name)

    def step(self, detail: str = "") -> None:
        """Pass it on."""
        if self._counts:
            self._tell.step(detail)

    def detail(self, text: str) -> None:
        """Pass it on."""
        self._tell.detail(text)


class Within(Silent):
    """Hints at all that is told within one step of a stage, and leaves the stage's count alone."""

    def __init__(self, tell: Reporter, step: str) -> None:
        self._tell, self._step = tell, step

    def say(self, message: str) -> None:
        """Hint at it."""
        self.detail(message)

    def step(self, detail: str = "") -> None:
        """Hint at it."""
        self.detail(detail)

    def detail(self, text: str) -> None:
        """Pass it on, with the step it belongs to."""
        self._tell.detail(f"{self._step}: {text}")


class PlainReporter:
    """Plain lines with the time since the start; steps of long stages thinned by time."""

    def __init__(self, console: Console, *, every_seconds: float = 10.0) -> None:
        self._console = console
        self._every = every_seconds
        self._started = time.monotonic()
        self._stage, self._stage_started = "", self._started
        self._done, self._steps = 0, 0
        self._shown = 0.0

    def say(self, message: str) -> None:
        """Print one line."""
        elapsed = time.monotonic() - self._started
        self._console.print(
            f"{elapsed:7.1f} s  {message}", markup=False, highlight=False, soft_wrap=True
        )

    def stage(self, name: str, steps: int | None = None) -> None:
        """Print the stage's name."""
        self._stage, self._stage_started = name, time.monotonic()
        self._done, self._steps, self._shown = 0, steps or 0, time.monotonic()
        self.say(f"{name} …" if steps is None else f"{name} ({steps}) …")

    def step(self, detail: str = "") -> None:
        """Print the step if it is the last or some seconds have passed."""
        self._done += 1
        now = time.monotonic()
        if self._done < self._steps and now - self._shown < self._every:
            return
        self._shown = now
        left = (now - self._stage_started) / self._done * max(self._steps - self._done, 0)
        remaining = f", about {left:.0f} s left" if left >= 1 else ""
        self.say(f"{self._stage} {self._done}/{self._steps}{remaining}  {detail}".rstrip())

    def detail(self, text: str) -> None:
        """Print what is being done if nothing was printed for a while."""
        now = time.monotonic()
        if now - self._shown >= self._every:
            self._shown = now
            self.say(f"{self._stage}: {text}" if self._stage else text)


class LiveReporter:
    """A live bar with stage, step, detail and remaining time."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description:<12}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", style="dim", markup=False),
            console=console,
        )
        self._task: int | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._finish_stage()
        self._progress.stop()

    def say(self, message: str) -> None:
        """Print one line above the bar."""
        self._progress.console.print(message, markup=False, highlight=False)

    def stage(self, name: str, steps: int | None = None) -> None:
        """Close the bar of the stage before and open one for this."""
        self._finish_stage()
        self._task = self._progress.add_task(name, total=steps, detail="")

    def step(self, detail: str = "") -> None:
        """Advance the bar."""
        if self._task is not None:
            self._progress.update(self._progress.tasks[-1].id, advance=1, detail=detail)

    def detail(self, text: str) -> None:
        """Show what is being done beside the bar."""
        if self._task is not None:
            self._progress.update(self._progress.tasks[-1].id, detail=text)

    def _finish_stage(self) -> None:
        if self._task is not None:
            task = self._progress.tasks[-1]
            total = task.total if task.total is not None else max(task.completed, 1)
            self._progress.update(task.id, total=total, completed=total, detail="")


@contextmanager
def reporter(console: Console) -> Iterator[Reporter]:
    """Yield the reporter that fits ``console``: live on a terminal, plain lines elsewhere."""
    if console.is_terminal:
        with LiveReporter(console) as live:
            yield live
    else:
        yield PlainReporter(console)
