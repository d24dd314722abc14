"""Folds fitted by other processes and machines: the same bytes, whoever dies on the way."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import crew_tasks
import pytest

from engine import crew, foldtasks, making, stages
from engine.ahead import fit_ahead
from engine.crew import Crew
from engine.foldtasks import Pending, Task
from engine.making import Shared
from engine.memory import open_memory
from engine.progress import Silent
from engine.walkforward import WalkForward
from perpwalk import config, data
from perpwalk.config import ComputeSection, Config
from perpwalk.errors import EnvironmentFailedError, UserError

REFERENCE = Path(crew_tasks.__file__).parent


class Said(Silent):
    """Keeps what was said and counted."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)

    def step(self, detail: str = "") -> None:
        self.steps.append(detail)


def small(**model: Any) -> Config:
    """Return five folds of a model that fits in a moment."""
    return config.resolve(
        {
            "name": "small",
            "market": {"simulate": {"bars": 2000, "edge": 0.3}},
            "features": {"include": ["returns", "calendar"]},
            "walk_forward": {
                "train": "800bars", "validation": "200bars", "test": "200bars",
                "min_train_rows": 500,
            },
            "model": {"kind": "crew_tasks:Mortal", "params": model},
        }
    )  # fmt: skip


def by(asked: Config, **compute: Any) -> Config:
    """Return the same question, computed by others."""
    return asked.model_copy(update={"compute": asked.compute.model_copy(update=compute)})


def walked(
    asked: Config, work: Path, results: Path | None = None, tell: Silent | None = None
) -> dict[str, bytes]:
    """Walk, and return every file of every fold but the epochs, which tell seconds, and seals."""
    memory = None if results is None else open_memory(results)
    prepared = stages.prepare(asked, data.load_markets(asked), memory=memory)
    work.mkdir()
    stages.walk_forward(prepared, work=work, memory=memory, reporter=tell)
    found = (p for p in work.rglob("*") if p.is_file() and p.name not in TELL_SECONDS)
    return {p.relative_to(work).as_posix(): p.read_bytes() for p in found}


TELL_SECONDS = ("training.json", "manifest.json")


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that are started find the tests' module, as a user's PYTHONPATH would."""
    path = os.pathsep.join([str(REFERENCE), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)


@pytest.fixture(scope="module")
def dask() -> Iterator[str]:
    """Return the address of a real cluster of two workers on this machine."""
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    with pytest.MonkeyPatch.context() as patch:
        path = os.pathsep.join([str(REFERENCE), os.environ.get("PYTHONPATH", "")])
        patch.setenv("PYTHONPATH", path)
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster:
            yield cluster.scheduler_address


# ── the same bytes ───────────────────────────────────────────────────────────────────────────────


def test_processes_give_the_serial_bytes_and_a_killed_one_is_replaced(
    importable: None, tmp_path: Path
) -> None:
    """One process kills itself in its first fit: all folds come, every step is told once."""
    asked = small(marker=str(tmp_path / "killed"))
    said = Said()
    others = walked(by(asked, jobs=2), tmp_path / "two", tmp_path, said)
    assert (tmp_path / "killed").exists()
    alone = walked(asked, tmp_path / "one")

    assert alone == others
    assert len([name for name in alone if name.endswith("fold.json")]) == len(said.steps) == 5
    assert any("a worker was lost" in line for line in said.lines)
    assert any("5 folds to fit by 2 processes" in line for line in said.lines)


def test_as_many_processes_as_cores_give_the_serial_bytes(
    importable: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``auto`` on two cores is two processes of one thread, and what they fit is the same.

    Once all is fitted they are gone, and their memory is free.
    """
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    asked, said = small(), Said()
    others = walked(by(asked, jobs="auto"), tmp_path / "auto", tmp_path, said)

    assert walked(asked, tmp_path / "one") == others
    assert any("5 folds to fit by 2 processes, 1 thread each" in line for line in said.lines)
    workers = {
        int(number) for step in said.steps for number in re.findall(r":(\d+), [\d.]+ s\)", step)
    }
    assert 1 <= len(workers) <= 2
    for worker in workers:
        with pytest.raises(ProcessLookupError):
            os.kill(worker, 0)


@pytest.mark.parametrize(
    ("cores", "gigabytes", "tasks", "jobs", "threads"),
    [
        (8, 64, 36, 8, 1),
        (8, 64, None, 8, 1),
        (8, 64, 3, 3, 2),  # cores that no fold takes are threads
        (8, 4, 36, 4, 2),  # a process has a gigabyte
        (8, 0, 36, 1, 8),
        (1, 64, 36, 1, 1),
    ],
)
def test_auto_takes_what_cores_memory_and_folds_allow(
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    gigabytes: int,
    tasks: int | None,
    jobs: int,
    threads: int,
) -> None:
    """Processes are at most the cores, the gigabytes and the folds; at least one."""
    monkeypatch.setattr("joblib.cpu_count", lambda: cores)
    monkeypatch.setattr(
        "os.sysconf", {"SC_PHYS_PAGES": gigabytes << 18, "SC_PAGE_SIZE": 4096}.__getitem__
    )

    who = Crew.of(ComputeSection(jobs="auto"), tasks)

    assert (jobs, threads) == (who.jobs, who.threads)
    assert who.alone == (jobs == 1)


def test_auto_is_all_that_a_cluster_elsewhere_has() -> None:
    """Its workers are its own to count; each task has one thread."""
    section = ComputeSection(jobs="auto", backend="dask", address="tcp://host:8786")

    assert Crew(0, "dask", "tcp://host:8786", 1) == Crew.of(section, 5)


def test_a_dask_cluster_gives_the_serial_bytes_and_a_killed_worker_is_replaced(
    dask: str, tmp_path: Path
) -> None:
    """A worker of a real cluster kills itself in its first fit; nothing is lost or different."""
    asked = small(marker=str(tmp_path / "killed"))
    others = walked(by(asked, backend="dask", address=dask), tmp_path / "cluster")
    assert (tmp_path / "killed").exists()

    assert walked(asked, tmp_path / "one") == others


@pytest.mark.long
def test_a_ray_cluster_gives_the_serial_bytes_and_a_killed_worker_is_replaced(
    importable: None, tmp_path: Path
) -> None:
    """The same on a real local ray."""
    pytest.importorskip("ray", reason="ray is not installed: pip install 'perpwalk[cluster]'")
    asked = small(marker=str(tmp_path / "killed"))
    others = walked(by(asked, backend="ray", jobs=2), tmp_path / "cluster")
    assert (tmp_path / "killed").exists()

    assert walked(asked, tmp_path / "one") == others


@pytest.mark.long
@pytest.mark.parametrize("kind", ["xgb", "lstm_xgb"])
def test_real_models_give_the_serial_bytes(tmp_path: Path, kind: str) -> None:
    """Trees and networks do not depend on who fits them with how many threads."""
    raw = small().as_dict()
    raw["model"] = {
        "kind": kind,
        "lstm": {"timesteps": 5, "layers": 1, "hidden": 8, "epochs": 2},
        "xgb": {"rounds": 20},
    }
    asked = config.resolve(raw)

    assert walked(asked, tmp_path / "one") == walked(by(asked, jobs=2), tmp_path / "two")


# ── shipping, threads, trouble ───────────────────────────────────────────────────────────────────


def test_what_tasks_share_is_shipped_once_to_each_worker(dask: str, importable: None) -> None:
    """
    The data that tasks have in common do not travel with each of them.

    Twenty tasks of each parcel: with each of them it would come ten times to some worker. Once is
    the aim; a cluster that is short of time moves a parcel between its workers a few times more.
    """
    parcels = [crew_tasks.Parcel(0), crew_tasks.Parcel(1)]
    items = [(number % 2, number) for number in range(40)]
    for who in (Crew(backend="dask", address=dask), Crew(jobs=2)):
        done = dict(who.run(crew_tasks.arrivals, parcels, items, Silent()))

        assert list(range(40)) == sorted(done)
        assert {n: n for n in range(40)} == {n: what for n, (_, _, what) in done.items()}
        assert max(arrived for _, arrived, _ in done.values()) < 10


def test_a_task_has_the_threads_it_was_given(tmp_path: Path) -> None:
    """Libraries and model are held to one thread, whatever the machine has."""
    asked = small(threads=str(tmp_path / "threads"))
    (one,) = stages.prepare(asked, data.load_markets(asked))
    table = foldtasks.Table(one.features, one.labels)
    code = foldtasks._code(asked.model.kind)
    done = foldtasks.fit_fold(table, Task(asked, one.folds[0], threads=1, code=code))

    assert done.error is None
    assert "1 1" == (tmp_path / "threads").read_text()


def test_a_worker_with_other_code_is_refused() -> None:
    """A worker whose code or packages differ says so and computes nothing."""
    asked = small()
    (one,) = stages.prepare(asked, data.load_markets(asked))
    table = foldtasks.Table(one.features, one.labels)
    done = foldtasks.fit_fold(table, Task(asked, one.folds[0], threads=1, code="other"))

    assert "other code or other packages" in str(done.error)
    assert () == done.files


def test_what_is_wrong_in_a_fit_is_said_as_if_it_had_happened_here(
    importable: None, tmp_path: Path
) -> None:
    """The model's own message arrives, and no round of workers is wasted on it."""
    said = Said()
    with pytest.raises(UserError, match="too short for this model"):
        walked(by(small(refuse=True), jobs=2), tmp_path / "work", tell=said)
    assert not any("a worker was lost" in line for line in said.lines)


def test_a_fold_that_a_machine_failed_is_given_out_again(importable: None, tmp_path: Path) -> None:
    """Three fits meet a full disk: they come after the others, and the bytes are the same."""
    (full := tmp_path / "full").mkdir()
    for number in range(3):
        (full / str(number)).touch()
    asked = small(full=str(full))
    said = Said()
    others = walked(by(asked, jobs=2), tmp_path / "two", tell=said)
    alone = walked(asked, tmp_path / "one")

    assert alone == others
    assert 5 == len(said.steps)
    assert 3 == len([line for line in said.lines if "No space left" in line])
    assert 3 == len([line for line in said.lines if "the fold is given out again" in line])


def test_a_fold_that_every_machine_fails_ends_the_run(importable: None, tmp_path: Path) -> None:
    """Given out three times it is the environment that failed, and the reason is said."""
    (full := tmp_path / "full").mkdir()
    for number in range(60):
        (full / str(number)).touch()
    with pytest.raises(EnvironmentFailedError, match=r"fold \d failed: OSError.*No space"):
        walked(by(small(full=str(full)), jobs=2), tmp_path / "work")
    assert 60 - 5 * 2 - 1 >= len(list(full.iterdir())) >= 60 - 5 * 3


def test_the_workers_of_a_killed_process_go_with_it(tmp_path: Path) -> None:
    """Both are amid a task that never ends, and are gone seconds after who asked for it."""
    os.mkfifo(pipe := tmp_path / "pipe")
    asked = (
        "import crew_tasks; from engine.crew import Crew; from engine.progress import Silent\n"
        f"common, tasks = [{str(pipe)!r}], [(0, 0), (0, 1)]\n"
        "list(Crew(jobs=2).run(crew_tasks.never_done, common, tasks, Silent()))"
    )
    path = os.pathsep.join([str(REFERENCE), os.environ.get("PYTHONPATH", "")])
    asking = subprocess.Popen([sys.executable, "-c", asked], env={**os.environ, "PYTHONPATH": path})
    said, held = b"", os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while said.count(b"\n") < 2:
            assert select.select([held], [], [], 60)[0], "no worker has begun"
            said += os.read(held, 100)
        asking.kill()
        assert select.select([held], [], [], 30)[0], "the workers are still there"
        assert b"" == os.read(held, 100)  # its end: nobody holds it any more
    finally:
        os.close(held)
        asking.kill()
        asking.wait()
        for worker in said.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(worker), signal.SIGKILL)


def test_workers_that_only_die_are_given_up(importable: None) -> None:
    """After three starts without a result the environment has failed."""
    with pytest.raises(EnvironmentFailedError, match="failed 3 times without finishing one of 2"):
        list(Crew(jobs=2).run(crew_tasks.die, [None], [(0, 0), (0, 1)], Silent()))


def test_a_scheduler_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address and what to start are named."""
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    monkeypatch.setattr(crew, "CONNECT_SECONDS", 0.2)
    who = Crew(backend="dask", address="tcp://127.0.0.1:9")
    with pytest.raises(EnvironmentFailedError, match="no dask scheduler answers at tcp://127"):
        list(who.run(crew_tasks.die, [None], [(0, 0)], Silent()))


# ── with the cache ───────────────────────────────────────────────────────────────────────────────


def test_a_fold_that_another_process_fits_is_left_to_it(tmp_path: Path) -> None:
    """What is claimed elsewhere is not given to the crew."""
    asked = small()
    memory = open_memory(tmp_path)
    (one,) = stages.prepare(asked, data.load_markets(asked))
    walk = WalkForward(one.config, one.features, one.labels, memory=memory)
    with walk.claimed(one.folds[0]) as mine:
        assert mine
        foldtasks.fit_together([Pending(walk, one.folds[0])], Crew(jobs=2), Silent())
    assert walk.lacks(one.folds[0])


def test_variants_are_fitted_together_and_found_in_the_cache(
    importable: None, tmp_path: Path
) -> None:
    """Folds × variants are one pile; variants that share fits share tasks; then nothing is left."""
    first = small()
    raw = first.as_dict() | {"seed": 8}
    raw["market"]["simulate"]["seed"] = 7
    same = first.as_dict()
    same["market"]["simulate"]["seed"] = 7
    variants = [
        config.resolve(same),
        config.resolve({**same, "strategy": {"threshold": 0.5}}),
        config.resolve(raw),
    ]
    memory, said = open_memory(tmp_path), Said()
    shared = Shared(reports=False, memory=memory)
    ordered = [variants[place] for place in making.order(variants)]
    fit_ahead(ordered, shared, memory, Crew(jobs=2), said)

    assert 10 == len(said.steps) == memory.cache.counts["fits", "made"]
    memory.cache.counts.clear()
    for number, asked in enumerate(variants):
        taken = walked(asked, tmp_path / f"work-{number}", tmp_path)
        assert walked(asked, tmp_path / f"plain-{number}") == taken


def test_a_warm_start_is_walked_in_order_and_says_so(tmp_path: Path) -> None:
    """Where each fold starts from the one before nothing is given to the crew."""
    raw = small().as_dict()
    raw["walk_forward"]["warm_start"] = True
    raw["model"] = {
        "kind": "lstm",
        "lstm": {"timesteps": 3, "layers": 1, "hidden": 4, "dense": 4, "embedding": 2, "epochs": 1},
    }
    said = Said()
    walked(by(config.resolve(raw), jobs=2), tmp_path / "work", tell=said)

    assert any("fitted in order" in line for line in said.lines)
    assert 5 == len(said.steps)
