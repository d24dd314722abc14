"""The trial ledger: every question asked in a workspace is counted, whatever became of it.

``results/trials.jsonl`` gets one line when a run begins and one when it ends; a run that is given
again after it was interrupted or killed goes on with the trial it was. Lines are appended
under a lock and never rewritten; deleting a run's folder does not take it out of the count. Each
line carries a checksum of itself (``check``) and that of the line before it (``after``), so that a
torn, edited or removed line shows. A line torn by a crash stays where it is, is reported, and the
next line starts afresh behind it. A third kind of line records that a person accepted a suspicion.

A finished trial leaves its daily returns in ``results/trials/``, so that alike trials can be told
from different ones (``perpwalk.deflation``); the line keeps their hash.

What counts for the deflated Sharpe ratio is the number of *distinct questions* (configuration and
data, see ``Config.digest``): asking the same one again draws no new luck and is no new trial. A
question that failed, was interrupted or abandoned counts, because what was seen of it may have led
to the next one; so does a damaged line that cannot be told to belong to a counted question.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import json
import math
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Literal, Self

import numpy as np
import pandas as pd
import pydantic

from perpwalk import owned, strict
from perpwalk.domain import Finding, FloatArray, Level
from perpwalk.errors import EnvironmentFailedError, UsageError
from perpwalk.runs import write_csv

LEDGER_FILE = "trials.jsonl"
SWEPT = "swept"
RETURNS_FOLDER = "trials"
MOST_DAYS = 4000  # of daily returns kept per trial: some 100 kB
Status = Literal["finished", "failed", "interrupted", "abandoned"]
UNFINISHED: tuple[Status, ...] = ("interrupted", "abandoned")

_TAIL_BYTES = 1 << 16
# The head of a line survives where its tail is torn off: it still tells which trial it belongs to.
_HEAD = re.compile(rb'^\{"event":"(?:begun|ended)","id":"([0-9a-f]{32})"')
ACCEPTED = "accepted"


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Trial:
    """One run as the ledger sees it: begun on entry, ended on exit, whatever happens in between.

    Leaving without ``finish`` records *failed*; leaving by an exception records *failed*, or
    *interrupted* where it is no ``Exception`` (Ctrl-C, a termination) or the environment gave out.
    A process that is killed records nothing: its trial counts as *abandoned*.
    """

    path: Path
    id: str
    digest: str
    _result: dict[str, Any] = field(default_factory=dict)

    def finish(
        self,
        *,
        verdict: str,
        sharpe: float | None,
        bars: int,
        bar_seconds: float,
        daily: pd.Series | None = None,
        **more: Any,
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
        daily
            Returns per UTC day; kept beside the ledger, the last ``MOST_DAYS`` of them.
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
            "returns": None if daily is None else _keep_returns(self.path, self.digest, daily),
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
        outside = (EnvironmentFailedError, OSError)
        idea = isinstance(error, Exception) and not isinstance(error, outside)
        status = "failed" if idea else "interrupted"
        told = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        try:
            _append(self.path, _record("ended", self.id, {"status": status, "error": told}))
        except EnvironmentFailedError as second:
            error.add_note(f"the trial ledger could not be told: {second}")


def begin(
    results: Path, *, experiment: str, variant: str, digest: str, prior: int | None = None
) -> Trial:
    """Count a run that begins now, or goes on: what was interrupted or abandoned is one trial.

    Parameters
    ----------
    results
        The results folder of the workspace; made where it is missing.
    digest
        What is asked: ``Config.digest``.
    prior
        How many variants were tried before or elsewhere, where somebody said so. It holds for the
        whole workspace from now on; a smaller number said later takes nothing back.

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
    _check_prior(prior)
    path = results / LEDGER_FILE
    try:
        results.mkdir(parents=True, exist_ok=True)
        owned.opened(path, "ab").close()
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror or error}; give another --out"
        ) from error
    mine = _of_question(results, experiment, variant, digest)
    if mine and mine[-1].status in UNFINISHED:
        last = mine[-1]
        if prior is not None and prior != last.prior:
            declare(results, prior)
        return Trial(path, last.id, digest)
    trial = Trial(path, uuid.uuid4().hex, digest)
    asked = {
        "experiment": experiment, "variant": variant, "digest": digest, "prior": prior,
        "pid": os.getpid(),
    }  # fmt: skip
    _append(path, _record("begun", trial.id, asked))
    return trial


def unended(results: Path, *, experiment: str, variant: str, digest: str) -> Trial | None:
    """Return the trial of a run that is finished, where its process could not say so any more."""
    mine = _of_question(results, experiment, variant, digest)
    if not mine or any(trial.status not in UNFINISHED for trial in mine):
        return None
    return Trial(results / LEDGER_FILE, mine[-1].id, digest)


def _of_question(results: Path, experiment: str, variant: str, digest: str) -> list[PastTrial]:
    asked = (experiment, variant, digest)
    return [t for t in read(results).trials if (t.experiment, t.variant, t.digest) == asked]


def declare(results: Path, prior: int) -> None:
    """Record that ``prior`` variants were tried before or elsewhere, without a run."""
    _check_prior(prior)
    _append(results / LEDGER_FILE, _record("declared", uuid.uuid4().hex, {"prior": prior}))


def accept(results: Path, *, digest: str, acceptance: Mapping[str, Any]) -> None:
    """Record that a person accepted the suspicion on a question's answer, and why."""
    content = {"digest": digest, **acceptance}
    _append(results / LEDGER_FILE, _record(ACCEPTED, uuid.uuid4().hex, content))


def sweep(
    results: Path,
    *,
    experiment: str,
    variant: str,
    ratios: Mapping[str, float | None],
    worth: float,
    bar_seconds: float,
) -> None:
    """Record a sweep: each of its variants is a trial.

    One that the ledger tells of already, in the same words, adds no line.

    Parameters
    ----------
    ratios
        Sharpe ratio per bar by the variant's question (``Config.digest``); None where undefined.
    worth
        How many independent trials the variants are worth.
    bar_seconds
        Length of a bar.
    """
    name = _short_hash("".join(sorted(ratios)).encode())
    path = results / RETURNS_FOLDER / f"sweep-{name}.csv"
    _make_folder(path.parent, parents=True)
    write_csv(path, pd.DataFrame({"digest": list(ratios), "sharpe": list(ratios.values())}))
    content = {
        "experiment": experiment, "variant": variant, "count": len(ratios), "file": path.name,
        "hash": _short_hash(path.read_bytes()), "worth": worth, "bar_seconds": bar_seconds,
    }  # fmt: skip
    if not _is_told(results / LEDGER_FILE, content):
        _append(results / LEDGER_FILE, _record(SWEPT, uuid.uuid4().hex, content))


def _is_told(ledger: Path, content: Mapping[str, Any]) -> bool:
    """Return whether the last line of a sweep of the same variants says all of ``content``."""
    lines = ledger.read_bytes().split(b"\n") if ledger.is_file() else []
    swept = [_checked(line) or {} for line in lines if b'"event":"swept"' in line]
    same = [one for one in swept if one.get("file") == content["file"]]
    return bool(same) and content.items() <= same[-1].items()


def _check_prior(prior: int | None) -> None:
    if prior is not None and prior < 0:
        raise UsageError(f"--prior-trials {prior}: give the number of earlier trials, 0 or more")


def _keep_returns(ledger: Path, digest: str, daily: pd.Series) -> str:
    """Write a trial's daily returns beside the ledger and return the file's hash."""
    path = returns_file(ledger.parent, digest)
    frame = pd.DataFrame({"day": pd.DatetimeIndex(daily.index).strftime("%Y-%m-%d"),
                          "return": daily.to_numpy()}).tail(MOST_DAYS)  # fmt: skip
    _make_folder(path.parent)
    write_csv(path, frame)
    return _short_hash(path.read_bytes())


def _make_folder(folder: Path, *, parents: bool = False) -> None:
    owned.refuse_other(folder, folder=True)
    try:
        folder.mkdir(parents=parents, exist_ok=True)
    except OSError as error:
        raise EnvironmentFailedError(f"cannot make {folder}: {error.strerror}") from error


def returns_file(results: Path, digest: str) -> Path:
    """Return where a question's daily returns are kept."""
    return results / RETURNS_FOLDER / f"{digest[:16]}.csv"


def read_returns(results: Path, trial: PastTrial) -> pd.Series | None:
    """Return a trial's daily returns by UTC day; None where they are missing or were changed."""
    if trial.digest is None or trial.returns is None:
        return None
    content = _unchanged(returns_file(results, trial.digest), trial.returns)
    return None if content is None else _returns_in(content)


def _unchanged(path: Path, kept: str) -> bytes | None:
    """Return what a file holds that the ledger has the hash of; None where it is not that file."""
    try:
        content = strict.file_bytes(path)
    except (strict.NotAsWrittenError, OSError):
        return None
    return content if _short_hash(content) == kept else None


@functools.lru_cache(maxsize=512)  # every later trial asks for them again
def _returns_in(content: bytes) -> pd.Series | None:
    kinds = {"day": strict.STAMP, "return": strict.NUMBER}
    try:
        frame = strict.parse_csv(content, kinds, ("day", "return"))
    except strict.NotAsWrittenError:
        return None
    days = pd.DatetimeIndex(frame["day"]).tz_localize(None)
    return pd.Series(frame["return"].to_numpy(dtype=float), index=days)


def _record(event: str, trial: str, content: Mapping[str, Any]) -> dict[str, Any]:
    stamp = pd.Timestamp.now("UTC").isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"event": event, "id": trial, "time": stamp, **content}


def _append(path: Path, record: Mapping[str, Any]) -> None:
    """Append one line under the lock; a torn line before it is closed with a line end first."""
    try:
        descriptor = owned.descriptor(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            tail = _tail(descriptor)
            torn = bool(tail) and not tail.endswith(b"\n")
            line = _line(record, _last_line(tail))
            _write_whole(descriptor, (b"\n" if torn else b"") + line)
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
    """Write all of it, forced to the disk, or nothing."""
    before = os.fstat(descriptor).st_size
    view = memoryview(content)
    try:
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, before)
        raise


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
    prior: int | None = None
    returns: str | None = None


@dataclass(frozen=True)
class PastSweep:
    """What the ledger knows of one sweep.

    Attributes
    ----------
    count
        How many variants it tried.
    worth
        How many independent trials they are worth.
    ratios
        Sharpe ratio per bar by question, NaN where undefined; None where the file that holds them
        is missing or was changed.
    """

    id: str
    experiment: str
    count: int
    worth: float
    bar_seconds: float
    ratios: Mapping[str, float] | None


@dataclass(frozen=True)
class TrialLedger:
    """All trials of a workspace, in the order they began, and what reading them found.

    Attributes
    ----------
    damaged
        Lines that belong to no readable trial.
    prior
        The largest number of earlier trials that anybody declared; None where nobody did.
    sweeps
        All sweeps, of which only the last of those that tried the same variants.
    accepted
        Records of suspicions accepted: digest, reason, at, by.
    lines, head
        Number of lines read, and the hash of the last one: they pin down what was read.
    """

    trials: tuple[PastTrial, ...] = ()
    damaged: int = 0
    findings: tuple[Finding, ...] = ()
    prior: int | None = None
    sweeps: tuple[PastSweep, ...] = ()
    accepted: tuple[Mapping[str, Any], ...] = ()
    lines: int = 0
    head: str = ""

    def of(self, experiment: str | None) -> TrialLedger:
        """Return the trials of one experiment (None: all), with every one that is unknown."""
        if experiment is None:
            return self
        kept = tuple(t for t in self.trials if t.experiment in (experiment, None))
        swept = tuple(s for s in self.sweeps if s.experiment == experiment)
        return replace(self, trials=kept, sweeps=swept)

    @property
    def questions(self) -> set[str]:
        """Return what names each distinct question: of runs, and of the variants of sweeps."""
        # A trial whose question is unknown is one of its own, and so is each variant of a sweep.
        found = {trial.digest or trial.id for trial in self.trials}
        for one in self.sweeps:
            lost = (f"{one.id} {number}" for number in range(one.count))
            found.update(lost if one.ratios is None else one.ratios)
        return found


def read(results: Path, *, lines: int | None = None) -> TrialLedger:
    """Read the ledger of a workspace, or its first ``lines``; an absent one is empty."""
    path = results / LEDGER_FILE
    try:
        with owned.opened(path, "rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH)
            content = stream.read()
    except FileNotFoundError:
        return TrialLedger()
    except OSError as error:
        raise EnvironmentFailedError(f"cannot read {path}: {error.strerror or error}") from error
    if lines is not None:
        content = b"\n".join([*content.split(b"\n")[:lines], b""])
    return _Reading(str(path)).take(content)


@dataclass
class _Reading:
    """Puts lines together to trials."""

    where: str
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    damaged: int = 0
    findings: list[Finding] = field(default_factory=list)
    declared: list[int] = field(default_factory=list)
    swept: dict[str, PastSweep] = field(default_factory=dict)
    accepted: list[Mapping[str, Any]] = field(default_factory=list)

    def take(self, content: bytes) -> TrialLedger:
        before, count = b"", 0
        lines = content.split(b"\n")
        for number, line in enumerate(lines, start=1):
            if number == len(lines) and not line:
                break
            self._line(number, line, before, torn=number == len(lines))
            before, count = line, number
        trials = tuple(_past_trial(key, content) for key, content in self.known.items())
        declared = [*self.declared, *(t.prior for t in trials if t.prior is not None)]
        return TrialLedger(
            trials=trials,
            damaged=self.damaged,
            findings=tuple(self.findings),
            prior=max(declared, default=None),
            sweeps=tuple(self.swept.values()),
            accepted=tuple(self.accepted),
            lines=count,
            head=_short_hash(before),
        )

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
        event, name, moment = (record.pop(key) for key in ("event", "id", "time"))
        if event == "declared":
            self.declared.append(record["prior"])
        elif event == SWEPT:
            self.swept[record["file"]] = _past_sweep(Path(self.where).parent, name, record)
        elif event == ACCEPTED:
            self.accepted.append(record)
        else:
            # A line says what is its own to say: how a trial ended is not told as it begins.
            own = _SHAPES.get(event, _Ended).model_fields.keys()
            told = {key: value for key, value in record.items() if key in own}
            told |= {"begun": moment} if event == "begun" else {}
            self.known[name] = self.known.get(name, {}) | told

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
        record = strict.parse_json(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or "check" not in record:
        return None
    check = record.pop("check")
    if check != _short_hash(_compact(record).encode()):
        return None
    try:  # the sum is right, and whoever wrote it may be anybody
        _SHAPES.get(str(record.get("event")), _Ended).model_validate(record)
    except pydantic.ValidationError:
        return None
    return record


class _Line(pydantic.BaseModel):
    """What a line of the ledger has in common; what is not named may be anything."""

    model_config = pydantic.ConfigDict(extra="allow", strict=True, allow_inf_nan=False)

    event: str
    id: str
    time: str
    after: str


# Names become parts of paths beside the ledger.
_Name = Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]
_Count = Annotated[int, pydantic.Field(ge=0, le=10**12)]
_Seconds = Annotated[float | int, pydantic.Field(gt=0)]


class _Begun(_Line):
    experiment: str
    variant: str
    digest: _Name
    prior: _Count | None = None


class _Ended(_Line):
    status: Literal["finished", "failed", "interrupted"]
    verdict: str | None = None
    sharpe: float | int | None = None
    bars: _Count | None = None
    bar_seconds: _Seconds | None = None
    returns: str | None = None


class _Declared(_Line):
    prior: _Count


class _Swept(_Line):
    experiment: str
    count: _Count
    worth: float | int
    bar_seconds: _Seconds
    file: _Name
    hash: str


class _Acceptance(_Line):
    digest: str


_SHAPES: Mapping[str, type[_Line]] = {
    "begun": _Begun, "ended": _Ended, "declared": _Declared, SWEPT: _Swept, ACCEPTED: _Acceptance,
}  # fmt: skip


def _past_sweep(results: Path, key: str, record: Mapping[str, Any]) -> PastSweep:
    return PastSweep(
        id=key,
        experiment=record["experiment"],
        count=record["count"],
        worth=record["worth"],
        bar_seconds=record["bar_seconds"],
        ratios=_ratios(results / RETURNS_FOLDER / record["file"], record["hash"]),
    )


def _ratios(path: Path, kept: str) -> dict[str, float] | None:
    content = _unchanged(path, kept)
    if content is None:
        return None
    try:
        frame = strict.parse_csv(content, {"sharpe": strict.NUMBER}, ("digest", "sharpe"))
    except strict.NotAsWrittenError:
        return None
    return dict(zip(frame["digest"].map(str), frame["sharpe"].astype(float), strict=True))


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
    swept: int = 0
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
        swept = f" and {self.swept:,} variants in sweeps" if self.swept else ""
        return (
            f"{self.n} trials: {self.questions} distinct questions in {self.runs} runs "
            f"({told or 'none'}){swept}{damaged}; before: {declared}"
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
    return count_of(read(results).of(experiment), prior)


def count_of(ledger: TrialLedger, prior: int | None = None) -> TrialCount:
    """Count the trials of a ledger that was read; ``prior`` beside what it says itself."""
    _check_prior(prior)
    by_status = dict.fromkeys(("finished", "failed", "interrupted", "abandoned"), 0)
    for trial in ledger.trials:
        by_status[trial.status] += 1
    return TrialCount(
        questions=len(ledger.questions),
        damaged=ledger.damaged,
        prior=max((p for p in (prior, ledger.prior) if p is not None), default=None),
        runs=len(ledger.trials),
        by_status=by_status,
        swept=sum(one.count for one in ledger.sweeps),
        findings=ledger.findings,
    )


def sharpes(
    results: Path, *, experiment: str | None = None, bar_seconds: float = 3600.0
) -> FloatArray:
    """Return the Sharpe ratio of each distinct finished question, shape (k,).

    Each is per bar of ``bar_seconds``: ratios of other bar lengths are scaled by the square root
    of time. Of a question asked more than once the latest answer is taken.
    """
    latest = latest_sharpes(read(results).of(experiment), bar_seconds)
    return np.array(list(latest.values()), dtype=np.float64)


def latest_sharpes(ledger: TrialLedger, bar_seconds: float) -> dict[str, float]:
    """Return the Sharpe ratio per bar of ``bar_seconds`` by question, the latest answer of each."""
    swept = {
        question: ratio * math.sqrt(bar_seconds / one.bar_seconds)
        for one in ledger.sweeps
        for question, ratio in (one.ratios or {}).items()
        if not math.isnan(ratio)
    }
    return swept | {
        trial.digest or trial.id: trial.sharpe * math.sqrt(bar_seconds / trial.bar_seconds)
        for trial in ledger.trials
        if trial.sharpe is not None and trial.bar_seconds is not None
    }
