"""Keep runs on disk: named places, whole files, a manifest, and a way back in.

A run is made in ``<variant>-<hash8>.partial`` beside its final place and renamed when complete, so
that a reader never meets half a run. Inside the partial folder, ``work/`` keeps each finished fold;
the same command given again takes them up where the code, the packages and the question are the
same, and starts afresh where they are not.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import io
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perpwalk import disk, locks, owned, provenance, run_files, seal, strict
from perpwalk.disk import write_bytes
from perpwalk.domain import DataSource
from perpwalk.errors import EnvironmentFailedError, PerpwalkError, UsageError, UserError
from perpwalk.finite import infinite_key, require_finite
from perpwalk.strict import NotAsWrittenError

# Of what perpwalk needs, these fetch, show, start or read and write text: no number of a run's
# results depends on them, so that another version of one makes nothing anew.
NEVER_COUNT = (
    "ccxt", "jinja2", "joblib", "matplotlib", "plotly", "pyyaml", "rich", "threadpoolctl", "typer",
)  # fmt: skip
PARTIAL = ".partial"
KEY = "key"
_AGAIN = "make the run again (`perpwalk run … --force`)"
_NO_LINKS = "perpwalk writes none and follows none: put the files themselves there"


# ── whole files ──────────────────────────────────────────────────────────────────────────────────


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically; NaN and infinity are refused by their key, not written."""
    key = infinite_key(value)
    if key is not None:
        raise PerpwalkError(f"{path}: '{key}' is no finite number; {_OURS}")
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a CSV atomically: stamps as ISO-8601 with Z, floats to full precision, null empty.

    Infinity is refused by column and row, not written.
    """
    _refuse_infinity(path, frame)
    shown = frame.copy(deep=False)
    for name in shown.columns:
        if isinstance(shown[name].dtype, pd.DatetimeTZDtype):
            shown[name] = iso_column(shown[name])
        elif shown[name].dtype == object or isinstance(shown[name].dtype, pd.StringDtype):
            shown[name] = _without_formulas(shown[name])
    write_text(path, shown.to_csv(index=False, lineterminator="\n"))


_OURS = "a stage before has made it: this is a bug of perpwalk, or of a plug-in; nothing is written"


def _refuse_infinity(path: Path, frame: pd.DataFrame) -> None:
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_float_dtype(column.dtype):
            numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
            what = f"{path}: column '{name}'"
            require_finite(numbers, what, _OURS, missing=True, error=PerpwalkError)


def iso_column(stamps: pd.Series[Any]) -> pd.Series[Any]:
    """Return stamps as ISO-8601 text with Z; NaT becomes None."""
    known = stamps.notna().to_numpy()
    # Nearly all are whole seconds, and these are written all at once.
    if not (stamps[known] == stamps[known].dt.floor("s")).all():
        return stamps.map(lambda t: None if pd.isna(t) else t.isoformat().replace("+00:00", "Z"))
    seconds = stamps.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[s]")
    text = np.char.add(np.datetime_as_string(seconds, unit="s"), "Z").astype(object)
    text[~known] = None
    return pd.Series(text, index=stamps.index, name=stamps.name)


def _without_formulas(texts: pd.Series[Any]) -> pd.Series[Any]:
    """Keep a spreadsheet from running text that starts like a formula."""
    harmful = [text for text in texts.unique() if str(text).startswith(("=", "+", "-", "@"))]
    found = {text: f"'{text}" for text in harmful if isinstance(text, str)}
    return texts.map(lambda text: found.get(text, text)) if found else texts


def write_parquet(path: Path, frame: pd.DataFrame) -> None:
    """Write a Parquet file atomically; the same frame gives the same bytes.

    Infinity is refused by column and row, not written.
    """
    _refuse_infinity(path, frame)
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, engine="pyarrow", compression="zstd")
    write_bytes(path, buffer.getvalue())


# ── the place of a run while it is made ──────────────────────────────────────────────────────────


@dataclass
class RunFolder:
    """The partial folder of one run, held by a lock, and its way to the final place."""

    final: Path
    partial: Path
    resumed_folds: int = 0
    _made_as: os.stat_result | None = None

    @property
    def work(self) -> Path:
        """Where finished folds wait until the run is whole."""
        return self.partial / "work"

    def fold_work(self, number: int, symbol: str | None = None) -> Path:
        """Return the folder that keeps a finished fold's forecast while the run is made."""
        return self.work / fold_name(number, symbol)

    def take_up(self, key: str) -> None:
        """Take up kept folds of the same key; discard those of another."""
        marker = self.work / KEY
        for path in (self.final, disk.replaced(self.final), self.partial):
            owned.refuse_other(path, folder=True)
        if self.partial.exists() and not (_holds(marker, key) and _holds_no_link(self.partial)):
            shutil.rmtree(self.partial)
        self.work.mkdir(parents=True, exist_ok=True)
        write_text(marker, key)
        self._made_as = self.partial.stat()
        self.resumed_folds = len(_kept_folds(self.work))

    @property
    def is_lost(self) -> bool:
        """Whether somebody removed or replaced the folder in which the run is made."""
        try:
            now = self.partial.stat()
        except OSError:
            now = None
        then = self._made_as
        return then is not None and (now is None or not os.path.samestat(now, then))

    def is_whole(self, digest: str, key: str) -> bool:
        """Return whether nothing is left to do but to move the run to its place."""
        if not _holds(self.work / KEY, key) or not (self.partial / seal.MANIFEST).is_file():
            return False
        if self.partial.is_symlink() or not _holds_no_link(self.partial):
            return False
        try:
            found = Run(self.partial).manifest
        except UserError:
            return False
        same = found.get("status") == "finished" and found.get("config_hash") == digest
        return same and not seal.broken(found, self.partial)

    def finish(self) -> Path:
        """Move the run to its final place, replacing an older one, and drop the working files.

        The working files go last: they tell the run from the one that it replaces.
        """
        if self.is_lost:
            raise _lost(self)
        try:
            with disk.turn(self.final):  # of whoever draws a page of the run that is replaced
                disk.put_folder(self.partial, self.final)
        except OSError as error:
            raise EnvironmentFailedError(
                f"cannot move the finished run to {self.final}: {error.strerror or error}; mend "
                "that, then give the same command again: nothing is computed anew"
            ) from error
        self._made_as = None
        self.sweep()
        return self.final

    def sweep(self) -> None:
        """Remove what is of no use: a run that was replaced, working files of one that is done."""
        with disk.turn(self.final):
            disk.mend_place(self.final)
        if not (self.work / KEY).is_file():  # an older run that has swapped places
            owned.remove_folder(self.partial)
        if self.final.is_dir() and not self.final.is_symlink():
            shutil.rmtree(self.final / self.work.name, ignore_errors=True)


def _holds(marker: Path, key: str) -> bool:
    try:
        return strict.file_bytes(marker) == key.encode()
    except (OSError, ValueError):
        return False


def _holds_no_link(folder: Path) -> bool:
    try:
        strict.refuse_links(folder)
    except NotAsWrittenError:
        return False
    return True


def _lost(folder: RunFolder) -> EnvironmentFailedError:
    return EnvironmentFailedError(
        f"{folder.partial}, where the run was being made, was removed or replaced by somebody "
        "else; give the same command again"
    )


@contextlib.contextmanager
def open_run(
    out: Path, *, experiment: str, variant: str, digest: str, key: str
) -> Iterator[RunFolder]:
    """Make or take up the partial folder of a run, locked against a second process.

    Parameters
    ----------
    out
        The results folder.
    digest
        Hash of the question; its first eight digits name the folder.
    key
        Hash of everything a kept fold depends on (question, code, packages). Kept folds of
        another key are discarded.

    Raises
    ------
    UsageError
        The results folder cannot be created or written to.
    EnvironmentFailedError
        Another process is making the same run, or somebody removed the folder meanwhile.
    """
    folder = _folder(out, experiment, variant, digest)
    made = [p for p in (folder.final.parent, *folder.final.parents) if not p.exists()]
    with contextlib.ExitStack() as stack:
        stack.callback(_remove_empty, made)
        try:
            mine = stack.enter_context(_locked(folder.final))
        except OSError as error:
            raise UsageError(
                f"cannot write results under {out}: {error.strerror or error}; give another --out"
            ) from error
        if not mine:
            raise EnvironmentFailedError(
                f"another process is making {folder.final}; wait for it or give another --out"
            )
        try:
            folder.take_up(key)
            yield folder
        except BaseException as error:
            if isinstance(error, Exception) and folder.is_lost:
                raise _lost(folder) from error
            _remove_if_useless(folder)
            raise


def take_up_whole(
    out: Path, *, experiment: str, variant: str, digest: str, key: str
) -> Path | None:
    """Move a run to its place that was whole when its process was killed; None without one.

    What else such a process left of a run in its place is swept away.
    """
    folder = _folder(out, experiment, variant, digest)
    if not any(path.exists() for path in (folder.partial, *_left_of(folder))):
        return None
    with _locked(folder.final) as mine:
        if not mine:
            return None
        folder.sweep()
        return folder.finish() if folder.is_whole(digest, key) else None


def _folder(out: Path, experiment: str, variant: str, digest: str) -> RunFolder:
    final = out / experiment / f"{variant}-{digest[:8]}"
    return RunFolder(final, final.with_name(final.name + PARTIAL))


def _left_of(folder: RunFolder) -> list[Path]:
    """Return what may be left of a process that was killed while it moved a run."""
    return [
        disk.replaced(folder.final),
        folder.final / folder.work.name,
        _lock_of(folder.final),
        disk.turn_lock(folder.final),
    ]


def _lock_of(final: Path) -> Path:
    return final.with_name(f".{final.name}.lock")


@contextlib.contextmanager
def _locked(final: Path) -> Iterator[bool]:
    """Hold the lock of a run's place, made where it is missing; False where another has it."""
    with contextlib.ExitStack() as stack:
        while True:
            final.parent.mkdir(parents=True, exist_ok=True)
            try:
                mine = stack.enter_context(locks.held(_lock_of(final), wait=False))
            except FileNotFoundError:
                continue  # a run that was refused has just removed the empty folder
            break
        yield mine


def fold_name(number: int, symbol: str | None = None) -> str:
    """Return where a fold is kept under ``models/`` or ``work/``.

    ``symbol`` is that of one of several contracts; None where there is but one.

    >>> fold_name(3), fold_name(3, "ETHUSDT")
    ('fold-003', 'ETHUSDT/fold-003')
    """
    name = f"fold-{number:03d}"
    return name if symbol is None else f"{symbol}/{name}"


def seed_name(seed: int) -> str:
    """Return where the folds of a repeat with another seed are kept, likewise."""
    return f"seed-{seed}"


def _kept_folds(work: Path) -> list[Path]:
    """Return finished folds, also those of single contracts and of repeats with other seeds."""
    return [path for depth in ("", "*/", "*/*/") for path in work.glob(f"{depth}fold-*")]


def _remove_if_useless(folder: RunFolder) -> None:
    """Remove a partial folder that holds no finished fold: nothing would be resumed from it."""
    if folder.partial.is_dir() and not _kept_folds(folder.work):
        shutil.rmtree(folder.partial, ignore_errors=True)


def _remove_empty(made: Sequence[Path]) -> None:
    for path in made:
        with contextlib.suppress(OSError):  # not empty or gone: then it is not ours to remove
            path.rmdir()


# ── what a run depends on ────────────────────────────────────────────────────────────────────────


def package_versions() -> dict[str, str | None]:
    """Return the installed version of perpwalk and of each package it says it needs."""
    return {name: _version(name) for name in ("perpwalk", *sorted(provenance.needs("perpwalk")))}


def counting_versions(versions: Mapping[str, str | None] | None = None) -> dict[str, str | None]:
    """Return those of ``versions``, or of what is installed, that a result may depend on."""
    found = package_versions() if versions is None else versions
    return {name: version for name, version in found.items() if name not in NEVER_COUNT}


@functools.cache
def _version(package: str) -> str | None:
    """Return what is installed, read once: what is loaded does not change under a process."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def code_hash(packages: Sequence[Path], files: Sequence[Path] = ()) -> str:
    """Return the sha256 over all Python files of ``packages`` and the single ``files``.

    Packages are those that run: they are read once per process, as they were loaded once.
    """
    digest = _code_of(tuple(packages)).copy()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


@functools.cache
def _code_of(packages: tuple[Path, ...]) -> hashlib._Hash:
    digest = hashlib.sha256()
    for folder in packages:
        for file in sorted(folder.rglob("*.py")):
            digest.update(str(file.relative_to(folder)).encode())
            digest.update(file.read_bytes())
    return digest


def git_commit(folder: Path) -> str | None:
    """Return the commit of the checkout ``folder`` lies in, ``-dirty`` if changed, or None."""
    git = shutil.which("git")
    if git is None:
        return None

    def ask(*words: str) -> str | None:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            [git, "-C", str(folder), *words], capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else None

    commit = ask("rev-parse", "HEAD")
    if not commit:
        return None
    return f"{commit}-dirty" if ask("status", "--porcelain", "-uno") else commit


def manifest(
    *,
    status: str,
    digest: str,
    seed: int,
    sources: Sequence[DataSource],
    stages: Sequence[Mapping[str, Any]],
    code: str,
    commit: str | None,
    extra: Mapping[str, Any],
) -> dict[str, Any]:
    """Assemble ``manifest.json``: everything needed to repeat the run or to doubt it."""
    return {
        "status": status,
        "config_hash": digest,
        "seed": seed,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "versions": package_versions(),
        "git_commit": commit,
        "code_hash": code,
        "data": [asdict(source) for source in sources],
        "stages": list(stages),
        **extra,
    }


# ── reading runs back ────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Run:
    """A finished run on disk; tables are read when asked for."""

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """``manifest.json`` as a dict."""
        return run_files.read_document(self._existing("manifest.json"))

    @cached_property
    def audit(self) -> dict[str, Any]:
        """``audit.json``: verdict and findings."""
        return run_files.read_document(self._existing("audit.json"))

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """``metrics.csv``: one row per period; undefined values are NaN in the frame."""
        return self._table("metrics.csv")

    @cached_property
    def predictions(self) -> pd.DataFrame:
        """``predictions.parquet``: one row per test decision."""
        return self._table("predictions.parquet")

    @cached_property
    def equity(self) -> pd.DataFrame:
        """``equity.parquet``: one row per bar."""
        return self._table("equity.parquet")

    @cached_property
    def folds(self) -> pd.DataFrame:
        """``folds.csv``: one row per fold."""
        return self._table("folds.csv")

    @cached_property
    def training(self) -> pd.DataFrame:
        """``training.csv``: one row per fold and epoch."""
        return self._table("training.csv")

    @cached_property
    def seeds(self) -> pd.DataFrame | None:
        """``seeds.csv``: one row per seed the model was trained with; None without repeats."""
        return self._optional("seeds.csv")

    @cached_property
    def trades(self) -> pd.DataFrame:
        """``trades.csv``: round trips."""
        return self._table("trades.csv")

    @cached_property
    def orders(self) -> pd.DataFrame:
        """``orders.csv``: every order with its fate."""
        return self._table("orders.csv")

    @cached_property
    def funding(self) -> pd.DataFrame:
        """``funding.csv``: every settlement."""
        return self._table("funding.csv")

    @cached_property
    def equity_by_contract(self) -> pd.DataFrame | None:
        """``equity_by_contract.parquet``: bars of each of several contracts; None of one alone."""
        return self._optional("equity_by_contract.parquet")

    @cached_property
    def metrics_by_contract(self) -> pd.DataFrame | None:
        """``metrics_by_contract.csv``: periods of each of several contracts; None of one alone."""
        return self._optional("metrics_by_contract.csv")

    @cached_property
    def config_text(self) -> str:
        """``config.yaml`` as it stands."""
        return run_files.read_text(self._existing("config.yaml"))

    @property
    def title(self) -> str:
        """What its pages are called: experiment and run."""
        # Pages are drawn while the run is still being made.
        return f"{self.path.parent.name} · {self.path.name.removesuffix(PARTIAL)}"

    @property
    def confidence(self) -> float:
        """The confidence of its intervals."""
        return run_files.confidence_of(self.audit)

    @property
    def question(self) -> str:
        """The hash of what was asked (``config_hash`` of the manifest)."""
        found = self.manifest.get("config_hash")
        if found is None:
            raise UsageError(f"{self.path / 'manifest.json'} has no config_hash; {_AGAIN}")
        return str(found)

    def _existing(self, name: str) -> Path:
        path = self.path / name
        if not path.is_file():
            raise UsageError(f"{self.path} has no {name}; is it the folder of a finished run?")
        return path

    def _table(self, name: str) -> pd.DataFrame:
        return run_files.read_table(self._existing(name))

    def _optional(self, name: str) -> pd.DataFrame | None:
        return self._table(name) if (self.path / name).is_file() else None


def load_run(path: Path | str) -> Run:
    """Open a finished run; a partial, failed or foreign folder is a UsageError."""
    folder = Path(path)
    if not folder.is_dir():
        raise UsageError(f"no run at {folder}; `perpwalk runs` lists what there is")
    if folder.name.endswith(PARTIAL):
        raise UsageError(f"{folder} is an interrupted run; give its `run` command again to resume")
    run = without_links(folder)
    if run.manifest.get("status") != "finished":
        raise UsageError(f"{folder} is not a finished run (status {run.manifest.get('status')})")
    return run


def require_sealed(run: Run) -> None:
    """Refuse a run that is not as it was written: what is made of it would vouch for the change.

    Files of yours that lie beside the run's own are no change.

    Raises
    ------
    UsageError
        Names the first file that is not as it was.
    """
    own = {*run_files.TABLES, *run_files.SHAPES}
    for one in seal.broken(run.manifest, run.path):
        if one.what != "added" or one.file in own or one.file.startswith("models/"):
            raise UsageError(
                f"{run.path} is not as it was written: {one.file} {one.what} (`perpwalk verify` "
                "names every file); make it again with `perpwalk run CONFIG --force`"
            )


def without_links(folder: Path) -> Run:
    """Open the folder of a run, whatever state it is in; UsageError where it holds a link."""
    try:
        strict.refuse_links(folder)
    except NotAsWrittenError as error:
        raise UsageError(f"{folder} {error}; {_NO_LINKS}") from error
    return Run(folder)


def open_sealed(path: Path | str) -> Run:
    """Open a finished run that is as it was written, files of yours beside its own apart.

    Raises
    ------
    UsageError
        There is no finished run, or the first file of it that is not as it was.
    """
    while True:
        run = load_run(path)
        read = run.path.stat()
        try:
            require_sealed(run)
        except UsageError:
            # Somebody may have put a renewed one in its place while this one was looked at.
            if os.path.samestat(read, run.path.stat()):
                raise
        else:
            return run


def find_answer(out: Path, *, experiment: str, variant: str, digest: str) -> Run | None:
    """Return the finished run that answers a question, whatever variant it was asked as.

    The one called ``variant`` first; None where the question has not been answered. Only a run
    that is as it was written answers. One of another variant that is not is passed over: it
    stays where it is, beside the run that is made.

    Raises
    ------
    UsageError
        What lies in the question's own place is not as it was written. It may hold what somebody
        wrote into it, and is not replaced unasked.
    """
    own = _folder(out, experiment, variant, digest).final
    if own.is_dir():
        answer = _sealed_in_place(own)
        if answer.question == digest:
            return answer
    for path in sorted(own.parent.glob(f"*-{digest[:8]}")):
        if path != own and _answers(path, digest):
            return Run(path)
    return None


def _sealed_in_place(own: Path) -> Run:
    try:
        return open_sealed(own)
    except UsageError as error:
        raise UsageError(
            f"{error}. It is no answer, and nothing but --force replaces it"
        ) from error


def _answers(path: Path, digest: str) -> bool:
    try:
        return open_sealed(path).question == digest
    except UsageError:
        return False


def list_runs(results: Path) -> pd.DataFrame:
    """List runs under ``results``: experiment, run, status, verdict.

    A partial folder is *interrupted*: nothing is known of it but that it did not finish. One whose
    documents are not as they were written, or cannot be read, is *damaged*, with the reason; of the
    others only these documents are looked at, not every file.
    """
    rows = []
    for folder in sorted(results.glob("*/*")) if results.is_dir() else ():
        if not folder.is_dir() or folder.name.startswith("."):
            continue
        try:
            found = _listed(folder)
        except UsageError as error:
            found = "damaged", str(error).removeprefix(f"{folder}/").removeprefix(f"{folder} ")
        except OSError as error:
            found = "damaged", f"cannot be read: {error.strerror or error}"
        if found is not None:
            rows.append((folder.parent.name, folder.name, *found))
    return pd.DataFrame(rows, columns=["experiment", "run", "status", "verdict"])


def _listed(folder: Path) -> tuple[str, str] | None:
    """Return status and verdict of a run's folder, None where it is none."""
    if folder.name.endswith(PARTIAL):
        return "interrupted", f"{len(_kept_folds(folder / 'work'))} folds kept"
    if not (folder / seal.MANIFEST).is_file():
        return None
    run = Run(folder)
    judged = run.audit["verdict"]
    for one in seal.broken(run.manifest, folder, only=["audit.json"]):
        raise UsageError(f"{one.file} {one.what} since it was written; {_AGAIN}")
    accepted = " (accepted)" if judged.get("accepted") else ""
    return run.manifest["status"], f"{judged['overall']}{accepted}"


def plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it: NaN and NaT become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, pd.Timestamp):
        return None if pd.isna(value) else value.isoformat().replace("+00:00", "Z")
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and np.isnan(value):
        return None
    return value  # an infinity stays, and is refused on writing
