"""A process with everything imported and compiled, of which forks run commands amid faults.

`faulty_runs.py TEMPLATE PLACE ASIDE` (folders; TEMPLATE holds what a user has, ASIDE takes what
runs say) reads questions from its standard input, one JSON list of attempts a line, and answers
each with one JSON line.  The attempts of a question are made one after the other in the same fresh
workspace, each in a fork of its own.

An attempt is a dict: ``words`` of a command, or a function to ``call`` (module:name) with
``arguments``; ``fault``, ``at``, ``once``, ``path`` and ``text`` for
what befalls it; ``put`` and ``room`` for what is done to the workspace before (file pattern → text,
None removes; bytes that are left free); ``together`` for attempts made at once instead; ``blind``
where nobody looks at the workspace afterwards.

Fits are counted in memory shared by the forks; of those made by workers, what comes back.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib
import io
import json
import mmap
import os
import shutil
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

import file_faults
from file_faults import Disk, Layer, Operation

_CELLS = struct.Struct("qq")  # operations, fits


class Shared:
    """Counters that outlive the fork that counts."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)

    def get(self) -> tuple[int, int]:
        return _CELLS.unpack_from(self._memory)

    def set(self, operations: int, fits: int) -> None:
        _CELLS.pack_into(self._memory, 0, operations, fits)


def act_of(attempt: dict[str, Any], root: Path, disk: Disk | None) -> file_faults.Act:
    """Return what an attempt does to itself."""
    at, kind = attempt.get("at", -1), attempt.get("fault", "none")
    if disk is not None:
        return file_faults.without_power(at, disk)
    if kind in ("SIGKILL", "SIGINT", "SIGTERM"):
        return file_faults.signalled(at, getattr(signal, kind))
    if kind in ("ENOSPC", "EACCES", "EROFS", "EDQUOT", "EIO"):
        number = getattr(errno, kind)
        return file_faults.refused(at, number, once=attempt.get("once", False))
    if kind == "vanish":
        return file_faults.vanished(at, root / attempt["path"])
    if kind == "rewritten":
        return file_faults.rewritten(at, root / attempt["path"], attempt["text"])
    return lambda _: None


def attempt(asked: dict[str, Any], root: Path, shared: Shared, aside: Path) -> dict[str, Any]:
    """Run one command in a fork; return how it ended, its seconds, and the most MB it held."""
    shared.set(0, 0)
    _prepared(asked, root)
    told, listed = aside / "told", aside / "operations"
    if "together" in asked:
        return {"together": _together(asked["together"], root, shared, aside)}
    began = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        _run(asked, root, shared, told, listed)
    _, status, usage = os.wait4(pid, 0)
    operations, fits = shared.get()
    answer = {
        "code": os.waitstatus_to_exitcode(status), "operations": operations, "fits": fits,
        "told": told.read_text(errors="replace"), "memory": usage.ru_maxrss / 1024,
        "seconds": time.perf_counter() - began,
    }  # fmt: skip
    if asked.get("list"):
        answer["list"] = listed.read_text().splitlines()
    return answer


def _prepared(asked: dict[str, Any], root: Path) -> None:
    """Do to a workspace what is asked before the command is given."""
    for pattern, text in asked.get("put", {}).items():
        found = [*root.glob(pattern)] or [root / pattern]
        for path in found:
            if text is None:
                path.unlink()
            else:
                file_faults.replace_file(path, text)
    ballast = root.parent / "ballast"
    ballast.unlink(missing_ok=True)
    if "room" in asked:
        there = os.statvfs(root)
        ballast.write_bytes(bytes(max(0, there.f_bavail * there.f_frsize - asked["room"])))


def _together(
    attempts: list[dict[str, Any]], root: Path, shared: Shared, aside: Path
) -> list[list[Any]]:
    """Make several attempts at once; return the exit code of each and what it told."""
    forks = []
    for number, asked in enumerate(attempts):
        told = aside / f"told-{number}"
        pid = os.fork()
        if pid == 0:
            _run(asked, root, shared, told, told)
        forks.append((pid, told))
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid, _ in forks]
    return [
        [code, told.read_text(errors="replace")]
        for code, (_, told) in zip(codes, forks, strict=True)
    ]


def _run(asked: dict[str, Any], root: Path, shared: Shared, told: Path, listed: Path) -> None:
    code = 70
    try:
        from engine import cli
        from engine.walkforward import WalkForward

        told.unlink(missing_ok=True)  # workers of a killed process may still write into it
        output = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(root)
        disk = Disk(root) if asked.get("fault") == "power" else None
        act, kept = act_of(asked, root, disk), []

        def counted(operation: Operation) -> None:
            shared.set(operation.number, shared.get()[1])
            kept.append(f"{operation.kind} {operation.path}")
            act(operation)

        for name in ("_learn", "put"):  # fitted here, or by a worker
            setattr(WalkForward, name, _counting(getattr(WalkForward, name), shared))
        torn = asked.get("at") if asked.get("fault") == "torn" else None
        Layer(root, counted, torn, disk).install()
        try:
            if "call" in asked:
                module, _, name = asked["call"].partition(":")
                getattr(importlib.import_module(module), name)(*asked["arguments"])
            else:
                sys.argv = ["perpwalk", *asked["words"]]
                cli.main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        if asked.get("list"):
            listed.write_text("\n".join(kept))
    except BaseException:  # noqa: BLE001 - the fork must never go on as the process that forked
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _counting(real: Any, shared: Shared) -> Any:
    def called(*arguments: Any) -> Any:
        operations, fits = shared.get()
        shared.set(operations, fits + 1)
        return real(*arguments)

    return called


# ── what lies in a workspace ─────────────────────────────────────────────────────────────────────


def contents(root: Path) -> dict[str, str]:
    """Return the hash of every file, by path; those of the cache left out."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.startswith("results/.cache/"):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


# What several files make together: begins like this, is made of these.
TOGETHER = {
    "comparison-": ("comparison.json", "comparison.csv", "curves.parquet", "comparison.html"),
    "sweep-": ("sweep.csv", "sweep.json"),
}


def half_made(root: Path) -> list[str]:
    """Return what a reader would take for a result and is none."""
    from perpwalk import runs, seal, trials

    wrong = []
    results = root / "results"
    runs.list_runs(results)
    for finding in trials.read(results).findings:
        wrong.append(f"{finding.where}: {finding.message}")
    for manifest in results.glob("*/*/manifest.json"):
        folder = manifest.parent
        if folder.name.startswith(".") or folder.name.endswith(runs.PARTIAL):
            continue
        run = runs.Run(folder)
        if run.manifest["status"] != "finished":
            wrong.append(f"{folder}: {run.manifest['status']}")
        wrong += [f"{folder}/{one.file}: {one.what}" for one in seal.broken(run.manifest, folder)]
    for folder in results.glob("*/*"):
        if folder.is_dir() and not (folder / "manifest.json").is_file():
            hidden = folder.name.startswith(".") or folder.name.endswith(runs.PARTIAL)
            files = next((f for n, f in TOGETHER.items() if folder.name.startswith(n)), None)
            if files is not None:
                wrong += [f"{folder}: no {one}" for one in files if not (folder / one).is_file()]
            elif not hidden and folder.parent.name not in ("trials", ".cache"):
                wrong.append(f"{folder}: no manifest")
    return wrong


def main() -> None:
    """Answer questions until there are no more."""
    template, place, aside = map(Path, sys.argv[1:4])
    warm = json.loads(sys.argv[4])
    shared = Shared()
    # Compiled code and imports are inherited: a first run is made in this very process.
    from engine import cli

    (place / "warm").mkdir(parents=True)
    for words in warm:
        root = place / "warm" / "w"
        shutil.copytree(template, root)
        os.chdir(root)
        sys.argv = ["perpwalk", *words]
        with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
            cli.main()
        os.chdir(place)
        shutil.rmtree(root)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        root = place / "w"
        shutil.copytree(template, root)
        answers = []
        for asked in json.loads(line):
            answer = attempt(asked, root, shared, aside)
            if not asked.get("blind"):
                answer |= {"half_made": half_made(root), "contents": contents(root)}
            answers.append(answer)
        kept = place / "kept"
        shutil.rmtree(kept, ignore_errors=True)
        root.rename(kept)
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
