"""Many runs in one process, and many processes: memory, open files and leftovers stay flat."""

from __future__ import annotations

import gc
import json
import os
import resource
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from disturbed import RUN, workspace, zygote

from engine.experiment import run_experiment
from perpwalk import config

linux = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells memory and open files")
MEGABYTE = 1 << 20


def used() -> tuple[float, int]:
    """Return the resident memory in MB and the number of open files."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / MEGABYTE, len(os.listdir("/proc/self/fd"))


def soak(folder: Path, count: int, warm: int) -> tuple[float, int, list[float]]:
    """Make runs of as many seeds; return the growth after ``warm`` in MB and files, and a trace."""
    place = workspace(folder / "w")
    raw = json.loads((place / "small.yaml").read_text())
    raw["market"]["ohlcv"] = str(place / "bars.csv")
    trace, before = [], used()
    for seed in range(count):
        run_experiment(config.resolve(raw | {"seed": seed}), out=place / "results")
        if seed + 1 == warm:
            before = used()
        if seed % 25 == 0:
            trace.append(round(used()[0]))
    after = used()
    return after[0] - before[0], after[1] - before[1], trace


@linux
def test_runs_in_one_process_leave_nothing_behind(tmp_path: Path) -> None:
    """Five runs after three: no file stays open, and memory grows by less than 20 MB."""
    megabytes, files, _ = soak(tmp_path, 8, warm=3)

    assert 0 == files
    assert megabytes < 20


@linux
@pytest.mark.long
def test_five_hundred_runs_in_one_process_stay_flat(tmp_path: Path) -> None:
    """Four hundred runs after a hundred: no file stays open, memory grows by less than 40 MB."""
    megabytes, files, trace = soak(tmp_path, 500, warm=100)
    print(f"memory every 25 runs, MB: {trace}; growth after 100: {megabytes:.1f} MB, {files} files")

    assert 0 == files
    assert megabytes < 40


# ── a process for each ───────────────────────────────────────────────────────────────────────────


def of_the_machine() -> dict[str, int]:
    """Return what processes can leave behind in a machine: shared memory, open files, segments."""
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return {
        "available MB": int(meminfo["MemAvailable"].split()[0]) // 1024,
        "shared MB": int(meminfo["Shmem"].split()[0]) // 1024,
        "open files": int(Path("/proc/sys/fs/file-nr").read_text().split()[0]),
        "segments": len(os.listdir("/dev/shm")),  # noqa: S108 - to be looked at, not used
    }


def commands(count: int) -> list[list[str]]:
    return [[*RUN, "--set", f"seed={seed}"] for seed in range(count)]


def kinds_of_files(results: Path) -> dict[str, int]:
    """Return how many runs have how many files, and how many other entries there are."""
    runs = Counter(
        f"runs of {sum(path.is_file() for path in run.rglob('*'))} files"
        for run in (results / "small").iterdir()
    )
    others = {path.name: 1 for path in results.iterdir() if path.name not in ("small", ".cache")}
    left = [*(results / ".cache" / ".tmp").glob("*"), *(results / ".cache" / ".locks").glob("*")]
    return {**runs, **others, "left in the cache": len(left)}


@linux
@pytest.mark.long
def test_five_hundred_processes_in_sequence_leave_nothing_behind(tmp_path: Path) -> None:
    """Five hundred runs in one workspace, a process each: nothing stays but what they made.

    The temporary folder is empty, every run has the same files, no lock and no half-made entry is
    left; the most memory that a run holds grows by less than 40 MB over the last four hundred,
    though each of them reads what was tried before it.
    """
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    template = workspace(tmp_path / "template")
    before = of_the_machine()
    with zygote(template, tmp_path / "runs", TMPDIR=str(temporary)) as process:
        made = process.ask(*({"words": words, "blind": True} for words in commands(500)))
        after, left = of_the_machine(), process.left / "results"
    memory = [one["memory"] for one in made]
    print(f"memory of every 25th, MB: {[round(one) for one in memory[::25]]}")
    print(f"seconds of every 25th: {[round(one['seconds'], 1) for one in made[::25]]}")
    print(f"the machine before {before} and after {after}")

    assert {0} == {one["code"] for one in made}
    assert {"runs of 22 files": 500, "trials": 1, "trials.jsonl": 1, "left in the cache": 0} == (
        kinds_of_files(left)
    )
    assert [] == sorted(path.name for path in temporary.iterdir())
    assert statistics.median(memory[-25:]) - statistics.median(memory[100:125]) < 40


@linux
@pytest.mark.long
def test_fifty_commands_in_sequence_leave_nothing_behind(tmp_path: Path) -> None:
    """The same of fifty commands that are started afresh, as from a shell."""
    place = workspace(tmp_path / "w")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    before = of_the_machine()
    places = os.pathsep.join(filter(None, sys.path))
    for words in commands(50):
        done = subprocess.run(
            [sys.executable, "-c", "from engine.cli import main; main()", *words], cwd=place,
            env={**os.environ, "PYTHONPATH": places, "TMPDIR": str(temporary)}, check=False,
            capture_output=True, text=True,
        )  # fmt: skip
        assert 0 == done.returncode, done.stderr
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"most memory {most:.0f} MB; before {before} and after {of_the_machine()}")

    assert {"runs of 22 files": 50, "trials": 1, "trials.jsonl": 1, "left in the cache": 0} == (
        kinds_of_files(place / "results")
    )
    assert [] == sorted(path.name for path in temporary.iterdir())
