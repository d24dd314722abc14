"""The trial ledger: every question asked in a workspace is counted, whatever became of it.

``results/trials.jsonl`` gets one line when a run begins and one when it ends. Lines are appended
under a lock and never rewritten; deleting a run's folder does not take it out of the count. Each
line carries a checksum of itself (``check``) and that of the line before it (``after``), so that a
torn, edited or removed line shows. A line torn by a crash stays where it is, is reported, and the
next line starts afresh behind it.

What counts for the deflated Sharpe ratio is the number of *distinct questions* (configuration and
data, see ``Config.digest``): asking the same one again draws no new luck and is no new trial. A
question that failed, was interrupted or abandoned counts, because what was seen of it may have led
to the next one; so does a damaged line that cannot be told to belong to a counted question.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from perpwalk.domain import Finding, FloatArray, Level
from perpwalk.errors import EnvironmentFailedError, UsageError
from perpwalk.uncertainty.sharpe import (
    SharpeStats,
    deflated_sharpe,
    expected_maximum,
    probabilistic_sharpe,
    variance_of_trials,
)

LEDGER_FILE = "trials.jsonl"
Status = Literal["finished", "failed", "interrupted", "abandoned"]

_TAIL_BYTES = 1 << 16
# The head of a line survives where its tail is torn off: it still tells which trial it belongs to.
_HEAD = re.compile(rb'^\{"event":"(?:begun|ended)","id":"([0-9a-f]{32})"')


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Trial:
    """One run as the ledger sees it: begun on entry, ended on exit, whatever happens in between.

    Leaving without ``finish`` records *failed*; leaving by an exception records *failed*, or
    *interrupted* where it is no ``Exception`` (Ctrl-C, a termination). A process that is killed
    records nothing: its trial counts as *abandoned*.
    """

    path: Path
    id: str
    _result: dict[str, Any] = field(default_factory=dict)

    def finish(
        self, *, verdict: str, sharpe: float | None, bars: int, bar_seconds: float, **more: Any
    ) -> None:
        """Keep what the run came to; written on exit.

        Parameters
        ----------
        verdict
            The overall verdict.
        sharpe
            Sharpe ratio **per bar** of the net equity, None where undefined.
        bars, bar_seconds
            Length of the replay, and of one bar.
        more
            Further plain values worth keeping.
        """
        if sharpe is not None and not math.isfinite(sharpe):
            raise ValueError(f"a Sharpe ratio of {sharpe} is None, not a number")
        self._result = {
            "status": "finished",
            "verdict": verdict,
            "sharpe": sharpe,
            "bars": bars,
            "bar_seconds": bar_seconds,
            **more,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            ending = self._result or {"status": "failed", "error": "ended without a result"}
            _append(self.path, _record("ended", self.id, ending))
            return
        status = "failed" if isinstance(error, Exception) else "interrupted"
        told = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        try:
            _append(self.path, _record("ended", self.id, {"status": status, "error": told}))
        except EnvironmentFailedError as second:
            error.add_note(f"the trial ledger could not be told: {second}")


def begin(results: Path, *, experiment: str, variant: str, digest: str) -> Trial:
    """Count a run that begins now.

    Parameters
    ----------
    results
        The results folder of the workspace; made where it is missing.
    digest
        What is asked: ``Config.digest``.

    Returns
    -------
    Trial
        To be used as a context manager around the run.

    Raises
    ------
    UsageError
        The results folder cannot be made or written to.
    EnvironmentFailedError
        The line could not be written whole.
    """
    path = results / LEDGER_FILE
    trial = Trial(path, uuid.uuid4().hex)
    try:
        results.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}; give another --out"
        ) from error
    asked = {
        "experiment": experiment, "variant": variant, "digest": digest, "pid": os.getpid(),
    }  # fmt: skip
    _append(path, _record("begun", trial.id, asked))
    return trial


def _record(event: str, trial: str, content: Mapping[str, Any]) -> dict[str, Any]:
    stamp = pd.Timestamp.now("UTC").isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"event": event, "id": trial, "time": stamp, **content}


def _append(path: Path, record: Mapping[str, Any]) -> None:
    """Append one line under the lock; a torn line before it is closed with a line end first."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            tail = _tail(descriptor)
            torn = bool(tail) and not tail.endswith(b"\n")
            line = _line(record, _last_line(tail))
            _write_whole(descriptor, (b"\n" if torn else b"") + line)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)  # releases the lock
    except OSError as error:
        raise EnvironmentFailedError(
            f"cannot write {path}: {error.strerror or error}; free space, then give the same "
            "command again"
        ) from error


def _tail(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, _TAIL_BYTES, max(0, size - _TAIL_BYTES))


def _last_line(content: bytes) -> bytes:
    return content.removesuffix(b"\n").rpartition(b"\n")[2]


def _write_whole(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _line(record: Mapping[str, Any], before: bytes) -> bytes:
    body = {**record, "after": _short_hash(before)}
    text = _compact(body)
    return _compact({**body, "check": _short_hash(text.encode())}).encode() + b"\n"


def _compact(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _short_hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class PastTrial:
    """What the ledger knows of one run; ``digest`` is None where its first line is damaged."""

    id: str
    experiment: str | None = None
    variant: str | None = None
    digest: str | None = None
    begun: str | None = None
    status: Status = "abandoned"
    verdict: str | None = None
    sharpe: float | None = None
    bars: int | None = None
    bar_seconds: float | None = None


@dataclass(frozen=True)
class TrialLedger:
    """All trials of a workspace, in the order they began, and what reading them found.

    ``damaged`` counts lines that belong to no readable trial.
    """

    trials: tuple[PastTrial, ...] = ()
    damaged: int = 0
    findings: tuple[Finding, ...] = ()

    def of(self, experiment: str | None) -> TrialLedger:
        """Return the trials of one experiment (None: all), with every one that is unknown."""
        if experiment is None:
            return self
        kept = tuple(t for t in self.trials if t.experiment in (experiment, None))
        return TrialLedger(kept, self.damaged, self.findings)


def read(results: Path) -> TrialLedger:
    """Read the ledger of a workspace; an absent one is empty."""
    path = results / LEDGER_FILE
    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)
            content = stream.read()
    except FileNotFoundError:
        return TrialLedger()
    except OSError as error:
        raise EnvironmentFailedError(f"cannot read {path}: {error.strerror or error}") from error
    return _Reading(str(path)).take(content)


@dataclass
class _Reading:
    """Puts lines together to trials."""

    where: str
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    damaged: int = 0
    findings: list[Finding] = field(default_factory=list)

    def take(self, content: bytes) -> TrialLedger:
        before = b""
        lines = content.split(b"\n")
        for number, line in enumerate(lines, start=1):
            if number == len(lines) and not line:
                break
            self._line(number, line, before, torn=number == len(lines))
            before = line
        trials = tuple(_past_trial(key, content) for key, content in self.known.items())
        return TrialLedger(trials, self.damaged, tuple(self.findings))

    def _line(self, number: int, line: bytes, before: bytes, *, torn: bool) -> None:
        record = _checked(line)
        if record is None:
            self._damaged(number, line, torn=torn)
            return
        if record.pop("after") != _short_hash(before):
            self._say(
                "R002", number, "this line does not follow the one before it",
                why="lines were removed or changed: trials may be missing from the count",
            )  # fmt: skip
        trial = self.known.setdefault(record.pop("id"), {})
        moment = record.pop("time")
        if record.pop("event") == "begun":
            trial |= {**record, "begun": moment}
        else:
            trial |= record

    def _damaged(self, number: int, line: bytes, *, torn: bool) -> None:
        head = _HEAD.match(line)
        if head is None:
            self.damaged += 1
        else:
            self.known.setdefault(head[1].decode(), {})
        self._say(
            "R001", number, "a torn line" if torn else "a damaged line",
            why="it is counted as a trial of its own unless it belongs to one that is known",
        )  # fmt: skip

    def _say(self, code: str, number: int, message: str, *, why: str) -> None:
        self.findings.append(
            Finding(
                code=code,
                level=Level.WARN,
                where=f"{self.where}, line {number}",
                message=f"trial ledger: {message}",
                expected="whole lines, only ever appended",
                why=why,
                advice="leave the file as it is; declare what is missing with --prior-trials",
            )
        )


def _checked(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line whose checksum holds, else None."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or "check" not in record:
        return None
    check = record.pop("check")
    return record if check == _short_hash(_compact(record).encode()) else None


def _past_trial(key: str, content: Mapping[str, Any]) -> PastTrial:
    names = PastTrial.__dataclass_fields__.keys() - {"id"}
    return PastTrial(key, **{name: content[name] for name in names & content.keys()})


# ── counting ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class TrialCount:
    """How often luck was tried.

    ``n`` is what enters the deflated Sharpe ratio: distinct questions and damaged lines, plus
    what was declared to come before (``prior``, None: nothing was declared).
    """

    questions: int
    damaged: int
    prior: int | None
    runs: int
    by_status: Mapping[str, int]
    findings: tuple[Finding, ...] = ()

    @property
    def n(self) -> int:
        """Trials in all."""
        return self.questions + self.damaged + (self.prior or 0)

    def as_text(self) -> str:
        """Say it in words."""
        told = ", ".join(f"{count} {status}" for status, count in self.by_status.items() if count)
        declared = "none declared" if self.prior is None else f"{self.prior} declared"
        damaged = f" + {self.damaged} damaged lines" if self.damaged else ""
        return (
            f"{self.n} trials: {self.questions} distinct questions in {self.runs} runs "
            f"({told or 'none'}){damaged}; before: {declared}"
        )


def count(results: Path, prior: int | None = None, *, experiment: str | None = None) -> TrialCount:
    """Count the trials of a workspace.

    Parameters
    ----------
    prior
        Trials made elsewhere or before (``--prior-trials``); None where nobody said.
    experiment
        Count only this one's. Damaged lines count for every experiment.
    """
    return _count(read(results).of(experiment), prior)


def _count(ledger: TrialLedger, prior: int | None) -> TrialCount:
    if prior is not None and prior < 0:
        raise UsageError(f"--prior-trials {prior}: give the number of earlier trials, 0 or more")
    by_status = dict.fromkeys(("finished", "failed", "interrupted", "abandoned"), 0)
    for trial in ledger.trials:
        by_status[trial.status] += 1
    return TrialCount(
        # A trial whose question is unknown is one of its own.
        questions=len({trial.digest or trial.id for trial in ledger.trials}),
        damaged=ledger.damaged,
        prior=prior,
        runs=len(ledger.trials),
        by_status=by_status,
        findings=ledger.findings,
    )


def sharpes(
    results: Path, *, experiment: str | None = None, bar_seconds: float = 3600.0
) -> FloatArray:
    """Return the Sharpe ratio of each distinct finished question, shape (k,).

    Each is per bar of ``bar_seconds``: ratios of other bar lengths are scaled by the square root
    of time. Of a question asked more than once the latest answer is taken.
    """
    latest = _latest_sharpes(read(results).of(experiment), bar_seconds)
    return np.array(list(latest.values()), dtype=np.float64)


def _latest_sharpes(ledger: TrialLedger, bar_seconds: float) -> dict[str, float]:
    return {
        trial.digest or trial.id: trial.sharpe * math.sqrt(bar_seconds / trial.bar_seconds)
        for trial in ledger.trials
        if trial.sharpe is not None and trial.bar_seconds is not None
    }


@dataclass(frozen=True, kw_only=True)
class Deflated:
    """The deflated Sharpe ratio and all it rests on.

    Attributes
    ----------
    probability
        Chance that the true ratio exceeds that of the best of ``count.n`` lucky trials; None where
        it cannot be said, and ``reason`` says why.
    undeflated
        The same against 0 (probabilistic Sharpe ratio).
    lucky
        The ratio per bar that the best of so many null trials is expected to reach.
    variance, method
        Variance of the trials' ratios per bar, and where it comes from.
    """

    probability: float | None
    undeflated: float | None
    lucky: float | None
    variance: float | None
    method: str
    count: TrialCount
    reason: str | None = None


def deflated(
    results: Path,
    stats: SharpeStats | None,
    *,
    bar_seconds: float,
    digest: str | None = None,
    prior: int | None = None,
    experiment: str | None = None,
) -> Deflated:
    """Deflate a Sharpe ratio by the number of trials that this workspace has seen.

    Bailey & López de Prado 2014. The variance of the trials' ratios is that of the finished
    questions; where the ratios of some trials are not known (failed, declared, damaged), at least
    the sampling variance of the ratio itself, since unseen trials need not have been alike.

    Parameters
    ----------
    stats
        Of the net returns per bar; None where the ratio is undefined.
    bar_seconds
        Length of one bar.
    digest
        The question ``stats`` answers, where its run has begun but not ended yet: its ratio then
        counts as known.
    prior
        Declared earlier trials. With a single question on record and None declared nothing is
        returned: a first result is nearly always not the first try.
    """
    ledger = read(results).of(experiment)
    counted = _count(ledger, prior)
    undeflated = None if stats is None else probabilistic_sharpe(stats)

    def unknown(reason: str) -> Deflated:
        return Deflated(
            probability=None, undeflated=undeflated, lucky=None, variance=None, method="",
            count=counted, reason=reason,
        )  # fmt: skip

    if stats is None:
        return unknown("the Sharpe ratio is undefined")
    if counted.n <= 1 and prior is None:
        return unknown(
            "one trial on record and none declared: say with --prior-trials N how many came "
            "before (0 if none)"
        )
    known = _latest_sharpes(ledger, bar_seconds)
    if digest is not None:
        known[digest] = stats.sharpe
    variance, method = variance_of_trials(np.array(list(known.values())), counted.n, stats)
    return Deflated(
        probability=deflated_sharpe(stats, counted.n, variance),
        undeflated=undeflated,
        lucky=math.sqrt(variance) * expected_maximum(counted.n),
        variance=variance,
        method=method,
        count=counted,
    )
