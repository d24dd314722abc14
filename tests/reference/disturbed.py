"""A tiny workspace, commands run in it amid faults, and what tells a resumed run from another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faulty_runs
import pandas as pd

from perpwalk import config
from perpwalk.data import load_market

FOLDS = 3
RUN = ["run", "small.yaml"]
Attempt = dict[str, Any]

# What tells when, how long, where from and by which process: all else is the same to the byte.
TIMES_OF_MANIFEST = ("stages", "cache", "seal")
TIMES_OF_LEDGER = ("time", "id", "pid", "after", "check")


def workspace(folder: Path, **changes: Any) -> Path:
    """Fill ``folder`` with 700 bars and a configuration of three folds of a logistic model."""
    folder.mkdir(parents=True)
    section = config.MarketSection(simulate=config.Simulate(bars=700))
    frame = load_market(section, seed=3).bars.to_frame()
    frame.index = frame.index.astype("int64") // 10**6
    frame.rename_axis("open_time").to_csv(folder / "bars.csv")
    raw = {
        "name": "small",
        "market": {"ohlcv": "bars.csv", "missing_funding": "drop_features"},
        "features": {"include": ["returns"]},
        "walk_forward": {
            "train": "250bars", "validation": "80bars", "test": "70bars", "min_train_rows": 200,
            "max_folds": FOLDS,
        },
        "model": {"kind": "logistic"},
        "compute": {"threads": 1},
        "report": {"html": False, "tearsheet": False},
    }  # fmt: skip
    (folder / "small.yaml").write_text(json.dumps(raw | changes), encoding="utf-8")
    return folder


class Zygote:
    """Asks a process with everything imported to run commands in fresh workspaces."""

    def __init__(self, process: subprocess.Popen[str], template: Path, place: Path) -> None:
        self._process = process
        self.template = template
        self.place = place

    def ask(self, *attempts: Attempt) -> list[Attempt]:
        """Make attempts one after the other in one fresh workspace."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(attempts) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    @property
    def left(self) -> Path:
        """The workspace as the last question left it."""
        return self.place / "kept"


@contextmanager
def zygote(
    template: Path,
    place: Path,
    warm: Sequence[Sequence[str]] = (RUN,),
    aside: Path | None = None,
    **environment: str,
) -> Iterator[Zygote]:
    """Start such a process; ``warm`` are commands that it runs first, to have all compiled.

    What is said lies in ``aside``, beside the workspaces where there is none.
    """
    path = Path(faulty_runs.__file__)
    code = os.pathsep.join(filter(None, [str(path.parent), *sys.path]))
    told = str(aside or place)
    command = [sys.executable, str(path), str(template), str(place), told, json.dumps(warm)]
    # Threads of the parent would not be there in its forks.
    alone = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with subprocess.Popen(
        command, env={**os.environ, **alone, **environment, "PYTHONPATH": code}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == '"ready"\n'
        try:
            yield Zygote(process, template, place)
        finally:
            assert process.stdin is not None
            process.stdin.close()


# ── the same or not ──────────────────────────────────────────────────────────────────────────────


def files_of(root: Path) -> dict[str, Any]:
    """Return what each file of a workspace says, without what tells times; the cache left out."""
    paths = (path for path in sorted(root.rglob("*")) if path.is_file())
    found = ((path.relative_to(root).as_posix(), path) for path in paths)
    return {name: _told(path) for name, path in found if not name.startswith("results/.cache/")}


def differences(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """Return the names of files that differ or are in one only."""
    return [name for name in sorted({*one, *two}) if one.get(name) != two.get(name)]


def _told(path: Path) -> Any:
    if path.name == "run.log":
        return None
    if path.name == "training.csv":
        return pd.read_csv(path).drop(columns="seconds").to_csv()
    # A kept fold has one too, which says no times.
    if path.name == "manifest.json" and not path.parent.name.startswith("fold-"):
        told = json.loads(path.read_bytes())
        for key in TIMES_OF_MANIFEST:
            told.pop(key)
        told["trials"].pop("ledger_head")
        for name in ("run.log", "training.csv", "report.html"):
            told["files"].pop(name, None)
        return told
    if path.name == "trials.jsonl":
        lines = [json.loads(line) for line in path.read_bytes().splitlines()]
        return [{k: v for k, v in one.items() if k not in TIMES_OF_LEDGER} for one in lines]
    if path.name == "report.html":
        return None  # it shows the manifest
    return path.read_bytes()
