"""Folds as tasks for a crew: what is sent to a worker, what it does, what comes back.

A worker is sent features and labels once, and per task a configuration and a fold. It fits and
forecasts as this process would and sends back the files of the fold, which are put in their place
here. Contracts, variants and seeds make more folds; a task does not know what it is one of.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from threadpoolctl import threadpool_limits

from engine import foldfiles
from engine.crew import ATTEMPTS, Crew
from engine.foldfiles import Files
from engine.narration import fold_summary
from engine.progress import Reporter
from engine.walkforward import WalkForward
from perpwalk import disk, plugins
from perpwalk.config import Config
from perpwalk.domain import FeatureFrame, Fold, LabelFrame
from perpwalk.errors import EnvironmentFailedError, PerpwalkError, UsageError
from perpwalk.provenance import provenance


@dataclass(frozen=True, eq=False)
class Table:
    """What the folds of one contract share."""

    features: FeatureFrame
    labels: LabelFrame

    def __sizeof__(self) -> int:
        """Return the bytes of its arrays: by this joblib knows what to ship once."""
        return int(self.features.values.nbytes + self.labels.label.nbytes)


@dataclass(frozen=True, eq=False)
class Task:
    """One fold to fit, and by what code."""

    config: Config
    fold: Fold
    threads: int
    code: str


@dataclass(frozen=True, eq=False)
class Done:
    """What became of a task: the fold's files, or what went wrong."""

    worker: str
    seconds: float
    files: Files = ()
    summary: str = ""
    error: PerpwalkError | None = None


@dataclass(frozen=True, eq=False)
class Pending:
    """A fold that nobody has fitted yet: whose it is, and what it is called."""

    walk: WalkForward
    fold: Fold
    name: str | None = None


def fit_together(
    pending: Sequence[Pending], crew: Crew, tell: Reporter, *, strict: bool = True
) -> None:
    """Let the crew fit folds and put each in its place.

    A fold that another process is fitting just now is left out: whoever needs it waits for it. One
    that the worker's machine failed (a full disk, no memory) is given out again after the others.

    Parameters
    ----------
    strict
        Stop at the first task that fails; otherwise it is passed over, and fails again where it is
        needed.

    Raises
    ------
    PerpwalkError
        What went wrong in that task; finished ones are kept.
    """
    with contextlib.ExitStack() as stack:
        left = [one for one in pending if stack.enter_context(one.walk.claimed(one.fold))]
        for rounds_left in reversed(range(ATTEMPTS)):
            left = _round(left, crew, tell, strict=strict, last=rounds_left == 0)
            if not left:
                return


def _round(
    pending: Sequence[Pending], crew: Crew, tell: Reporter, *, strict: bool, last: bool
) -> list[Pending]:
    """Give each fold out once; return those to be given out again, none in the last round."""
    tables, items = _as_tasks(pending, crew)
    again = []
    for number, done in crew.run(fit_fold, tables, items, tell):
        one = pending[number]
        mark = "" if one.name is None else f"{one.name} "
        if isinstance(done.error, EnvironmentFailedError) and not last:
            again.append(one)
            tell.say(f"{mark}{done.error} ({done.worker}): the fold is given out again")
            continue
        if done.error is not None and strict:
            raise done.error
        if done.error is None:
            one.walk.put(one.fold, done.files)
        said = done.summary if done.error is None else str(done.error)
        tell.step(f"{mark}{said} ({done.worker}, {done.seconds:.1f} s)")
    return again


def _as_tasks(pending: Sequence[Pending], crew: Crew) -> tuple[list[Table], list[tuple[int, Task]]]:
    """Return the tables that folds share, and per fold the number of its own and its task."""
    places: dict[tuple[int, int], int] = {}
    tables: list[Table] = []
    items = []
    for one in pending:
        features, labels = one.walk.table
        place = places.setdefault((id(features), id(labels)), len(tables))
        if place == len(tables):
            tables.append(Table(features, labels))
        config = one.walk.config
        items.append((place, Task(config, one.fold, crew.threads, _code(config.model.kind))))
    return tables, items


# ── on the worker ────────────────────────────────────────────────────────────────────────────────


def fit_fold(table: Table, task: Task) -> Done:
    """Fit and forecast one fold, with so many threads and no more."""
    worker = f"{platform.node()}:{os.getpid()}"
    began = time.perf_counter()
    try:
        if task.code != _code(task.config.model.kind):
            raise UsageError(
                f"worker {worker} has other code or other packages than the process that asks: "
                "install the same version of perpwalk, of its packages and of your own files there"
            )
        files, summary = _fitted(table, task)
    except PerpwalkError as error:
        return Done(worker, time.perf_counter() - began, error=error)
    except Exception as error:  # noqa: BLE001 - a user's model may fail in any way
        said = f"fold {task.fold.number} failed: {type(error).__name__}: {error}"
        of_machine = isinstance(error, OSError | MemoryError)
        failed = EnvironmentFailedError(said) if of_machine else PerpwalkError(said)
        return Done(worker, time.perf_counter() - began, error=failed)
    return Done(worker, time.perf_counter() - began, files, summary)


def _fitted(table: Table, task: Task) -> tuple[Files, str]:
    compute = task.config.compute.model_copy(update={"threads": task.threads})
    config = task.config.model_copy(update={"compute": compute})
    with disk.scratch() as work, threadpool_limits(task.threads):
        walk = WalkForward(config, table.features, table.labels, work=work)
        (result,) = walk.run([task.fold])
        return foldfiles.as_bytes(walk.folder(task.fold)), fold_summary(result)


def _code(kind: str) -> str:
    """Return what a fit's bits depend on besides its task: the same on every worker."""
    place, _ = plugins.split(kind)
    if plugins.is_file(place):
        return _code_with("", place, plugins.content_of(place))
    return _code_with(place)


@functools.lru_cache(maxsize=16)
def _code_with(module: str, file: str | None = None, held: str | None = None) -> str:
    del held  # a module stays as it was loaded; a file that holds something else is loaded anew
    files = [] if file is None else [Path(file)]
    found = provenance(["engine.foldtasks", *([module] if module else [])], files)
    return f"{found.code} {sorted(found.packages.items())}"
