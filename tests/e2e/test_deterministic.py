"""The same bits whatever the number of threads, and with ``compute.deterministic`` by promise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from engine import stages
from engine.exact import is_exact, one_thread
from engine.experiment import run_experiment
from perpwalk import data
from perpwalk.config import Config, load, resolve
from perpwalk.errors import ConfigError

TIMES = ("run.log", "manifest.json", "config.yaml", "training.csv", "training.json")


def tiny(kind: str, sequence: str = "window", **compute: object) -> Config:
    """Return two folds of a small model."""
    return resolve(
        {
            "name": "tiny",
            "market": {"simulate": {"bars": 1300, "edge": 0.3}},
            "features": {"include": ["returns", "calendar"]},
            "walk_forward": {
                "train": "700bars", "validation": "150bars", "test": "200bars",
                "min_train_rows": 300,
            },
            "model": {
                "kind": kind,
                "lstm": {
                    "timesteps": 6, "hidden": 16, "epochs": 2, "batch_size": 64,
                    "sequence": sequence,
                },
                "xgb": {"rounds": 10},
            },
            "report": {"html": False, "tearsheet": False},
            "compute": compute,
        }
    )  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    """Return every file but those that tell times and the way it was computed."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.name not in TIMES)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def run_with(asked: Config, out: Path, ambient: int = 2) -> dict[str, bytes]:
    """Run where the libraries may take so many threads, as on a machine of so many cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(ambient)
    try:
        with threadpool_limits(ambient):
            return files(run_experiment(asked, out=out, cache=False).path)
    finally:
        torch.set_num_threads(before)


def walked(asked: Config, work: Path) -> dict[str, bytes]:
    """Walk by whoever the configuration asks, and return the folds' files."""
    prepared = stages.prepare(asked, data.load_markets(asked))
    work.mkdir()
    stages.walk_forward(prepared, work=work)
    return files(work)


def test_cores_and_threads_change_no_bit_of_a_run(tmp_path: Path) -> None:
    """One core, four threads, and deterministic: models, forecasts, account, metrics, verdict."""
    alone = run_with(tiny("lstm_xgb", threads=1), tmp_path / "a", ambient=1)
    four = run_with(tiny("lstm_xgb", threads=4), tmp_path / "b", ambient=4)
    exact = run_with(tiny("lstm_xgb", threads=4, deterministic=True), tmp_path / "c", ambient=4)

    assert len(alone) > 15
    assert alone == four
    assert alone == exact


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "sequence"),
    [
        ("logistic", "window"),
        ("xgb", "window"),
        ("lstm", "window"),
        ("lstm", "stream"),
        ("lstm_xgb", "stream"),
    ],
)
def test_threads_change_no_bit_of_any_model(tmp_path: Path, kind: str, sequence: str) -> None:
    """One, two and four: of every kind, and of the network by windows and by stretches."""
    one, two, four = (
        run_with(tiny(kind, sequence, threads=count), tmp_path / str(count), ambient=count)
        for count in (1, 2, 4)
    )

    assert len(one) > 10
    assert one == two
    assert one == four


def test_processes_change_no_bit(tmp_path: Path) -> None:
    """Two workers of this machine and none."""
    alone = walked(tiny("xgb", deterministic=True), tmp_path / "one")

    assert alone == walked(tiny("xgb", deterministic=True, jobs=2), tmp_path / "two")


@pytest.mark.long
@pytest.mark.parametrize("backend", ["loky", "dask", "ray"])
def test_no_backend_changes_a_bit(tmp_path: Path, backend: str) -> None:
    """The network with trees, by processes and by real local clusters."""
    module = {"dask": "distributed"}.get(backend, backend)
    pytest.importorskip("joblib" if backend == "loky" else module)
    alone = walked(tiny("lstm_xgb", deterministic=True), tmp_path / "one")
    asked = tiny("lstm_xgb", deterministic=True, backend=backend, jobs=2)

    assert alone == walked(asked, tmp_path / "others")


def test_it_means_one_thread_and_the_cpu(tmp_path: Path) -> None:
    """The resolved configuration says so, and so do the libraries inside."""
    asked = tiny("xgb", deterministic=True, threads=8).compute
    assert (1, "cpu") == (asked.threads, asked.device)
    with threadpool_limits(3):
        with one_thread(asked):
            assert {1} == {pool["num_threads"] for pool in threadpool_info()}
        assert {1} != {pool["num_threads"] for pool in threadpool_info()}
    (tmp_path / "c.yaml").write_text("compute: {deterministic: true, device: cuda}\n")
    with pytest.raises(ConfigError, match="two accelerators need not agree"):
        load(tmp_path / "c.yaml")


def test_it_asks_the_same_question_and_makes_an_answer_again_that_was_not_made_so(
    tmp_path: Path,
) -> None:
    """One place for both; afterwards it is an answer like any other."""
    plain, exact = tiny("logistic"), tiny("logistic", deterministic=True)
    first = run_experiment(plain, out=tmp_path, cache=False)
    assert not is_exact(first)

    again = run_experiment(exact, out=tmp_path, cache=False)
    assert first.path == again.path
    assert is_exact(again)
    made = (again.path / "manifest.json").stat().st_mtime_ns
    run_experiment(exact, out=tmp_path, cache=False)
    assert made == (again.path / "manifest.json").stat().st_mtime_ns
