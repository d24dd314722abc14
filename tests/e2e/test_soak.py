"""Many runs in one process: memory and open files stay flat."""

from __future__ import annotations

import gc
import json
import os
import sys
from pathlib import Path

import pytest
from disturbed import workspace

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
