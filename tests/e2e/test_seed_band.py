"""``compute.seeds`` through the command line: added, resumed, verified, never the headline."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
import yaml
from command_line import perpwalk

from engine import seeds
from engine.verify import verify_run
from perpwalk import config, runs
from perpwalk.audit.verification import Status
from perpwalk.models import lstm

CONFIG = {
    "name": "band",
    "market": {"simulate": {"bars": 3600, "edge": 0.3}},
    "features": {"include": ["returns", "volume"]},
    "walk_forward": {
        "train": "1500bars", "validation": "300bars", "test": "700bars", "min_train_rows": 500,
    },
    "model": {"kind": "xgb", "xgb": {"rounds": 30}},
    "report": {"tearsheet": False, "html": False},
    "compute": {"threads": 1},
}  # fmt: skip
SEEDS = ("--set", "compute.seeds=[7, 1, 2]")


def only_run(folder: Path) -> runs.Run:
    (path,) = (folder / "results/band").iterdir()
    return runs.load_run(path)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace whose run got its seeds after it was finished."""
    place = tmp_path_factory.mktemp("band")
    (place / "band.yaml").write_text(yaml.safe_dump(CONFIG))
    assert 0 == perpwalk(place, "run", "band.yaml")
    shutil.copytree(place / "results", place / "before")
    assert 0 == perpwalk(place, "run", "band.yaml", *SEEDS)
    return place


def test_seeds_are_added_to_the_finished_run(workspace: Path) -> None:
    """Same place, same forecasts and account; seeds.csv beside them, the headline in row one."""
    run = only_run(workspace)
    before = runs.load_run(workspace / "before/band" / run.path.name)
    whole = run.metrics.iloc[-1]

    assert before.predictions.equals(run.predictions)
    assert before.equity.equals(run.equity)
    assert [(7, "headline"), (1, "repeat"), (2, "repeat")] == list(
        zip(run.seeds["seed"], run.seeds["role"], strict=True)
    )
    for name in ("accuracy", "auc", "sharpe", "total_return"):
        assert whole[name] == pytest.approx(run.seeds[name].iloc[0], rel=1e-12), name
    assert 3 == run.seeds["auc"].nunique()
    assert run.seeds["n"].eq(whole["n"]).all()
    assert [1, 2] == run.manifest["seeds"]
    assert "one seed" in str(before.audit["findings"])
    assert "one seed" not in str(run.audit["findings"])
    assert (7, 1, 2) == config.load(run.path / "config.yaml").compute.seeds


def test_asked_again_nothing_is_fitted(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the same seeds, with fewer, or with none, the run answers as it stands."""
    capsys.readouterr()
    for words in (SEEDS, ("--set", "compute.seeds=[2]"), ()):
        assert 0 == perpwalk(workspace, "run", "band.yaml", *words)
        said = capsys.readouterr()
        assert "answered before" in said.err
        assert "By seed" in said.out


def test_no_seed_is_a_trial(workspace: Path) -> None:
    """None is chosen among them: the ledger counts one question."""
    assert 1 == only_run(workspace).audit["trials"]["n"]


@pytest.mark.parametrize("name", ["seeds.csv", "models/seed-1/fold-000/xgb.ubj"])
def test_a_changed_seed_is_found_and_named(workspace: Path, tmp_path: Path, name: str) -> None:
    """By the seal; for seeds.csv also by what its models give again."""
    run = only_run(workspace)
    copy = Path(shutil.copytree(run.path, tmp_path / run.path.name))
    assert 0 == verify_run(copy, samples=1).exit_code
    path = copy / name
    content = bytearray(path.read_bytes())
    place = content.rindex(b"1") if name.endswith(".csv") else len(content) // 2
    content[place] ^= 1
    path.write_bytes(content)
    failed = [c.detail for c in verify_run(copy, samples=1).checks if c.status is Status.FAILED]

    assert any(f"{name} changed" in detail for detail in failed)
    if name == "seeds.csv":
        assert any("seeds.csv differs from what is made again" in detail for detail in failed)


def test_an_interrupted_band_goes_on_where_it_was(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after the first repeat, the next start takes its folds up and gives the same band."""
    (tmp_path / "band.yaml").write_text(yaml.safe_dump(CONFIG))
    walk, calls = seeds.stages.walk_forward, []

    def stopping(prepared, **named):  # type: ignore[no-untyped-def]
        calls.append(prepared[0].config.seed)
        if calls == [7, 1, 2]:
            raise RuntimeError("the power went")
        return walk(prepared, **named)

    with monkeypatch.context() as patch:
        patch.setattr(seeds.stages, "walk_forward", stopping)
        assert 1 == perpwalk(tmp_path, "run", "band.yaml", *SEEDS)
    partial = next((tmp_path / "results/band").glob("*.partial"))
    assert {"fold-000", "fold-001", "fold-002"} == {
        path.name for path in (partial / "work/seed-1").iterdir()
    }
    assert 0 == perpwalk(tmp_path, "run", "band.yaml", *SEEDS)
    run = only_run(tmp_path)

    assert "kept from the interrupted run" in (run.path / "run.log").read_text()
    assert only_run(workspace).seeds.equals(run.seeds)


def test_a_repeat_whose_training_diverged_is_named_by_seed_and_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R020 of the run's own fold and of the repeat's; ``verify`` finds both in the models."""
    train = lstm.Training.train_epoch

    def too_fast(training: lstm.Training, epoch: int) -> float:
        loss = train(training, epoch)
        return lstm._finite(math.nan if training.rate == 0.5 else loss, epoch, "training loss")

    monkeypatch.setattr(lstm.Training, "train_epoch", too_fast)
    network = {"timesteps": 3, "hidden": 2, "dense": 2, "epochs": 1, "learning_rate": 0.5}
    changed = {
        "market": {"simulate": {"bars": 2500, "edge": 0.3}},
        "model": {"kind": "lstm", "lstm": network},
        "compute": {"threads": 1, "seeds": [1]},
    }
    (tmp_path / "band.yaml").write_text(yaml.safe_dump(CONFIG | changed))
    perpwalk(tmp_path, "run", "band.yaml")
    run = only_run(tmp_path)
    places = {one["where"] for one in run.audit["findings"] if one["code"] == "R020"}
    checks = verify_run(run.path, samples=1).checks

    assert {"fold 000", "seed 1 fold 000"} == places
    assert [] == [one.detail for one in checks if one.status is Status.FAILED]


def test_a_model_without_chance_is_trained_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every seed of a logistic regression is the same: said, and no band made."""
    (tmp_path / "band.yaml").write_text(yaml.safe_dump(CONFIG | {"model": {"kind": "logistic"}}))
    assert 0 == perpwalk(tmp_path, "run", "band.yaml", *SEEDS)
    run = only_run(tmp_path)

    assert "every seed is the same" in capsys.readouterr().err
    assert (None, False) == (run.seeds, run.audit["seeds"]["seeded"])
    assert None is run.audit["seeds"]["runs"]
    assert [] == [f for f in run.audit["findings"] if f["code"] == "U012"]
