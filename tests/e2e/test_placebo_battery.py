"""``perpwalk placebo`` through the command line: an edge, and a strategy deaf to its signal."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import perpwalk

from engine.verify import verify_run
from engine.walkforward import WalkForward
from perpwalk import runs
from perpwalk.audit.verification import Status
from perpwalk.reports.table import render_table

CONFIG = {
    "name": "placebo",
    "market": {"simulate": {"bars": 3000, "edge": 0.35}},
    "features": {"include": ["volume"], "selection": {"method": "auc", "k": 3}},
    "walk_forward": {
        "train": "1200bars", "validation": "300bars", "test": "1100bars", "min_train_rows": 500,
    },
    "model": {"kind": "logistic"},
    "report": {"tearsheet": True, "html": False},
    "compute": {"threads": 1},
}  # fmt: skip
DEAF = '''
from engine.strategy import SignalStrategy

class Deaf(SignalStrategy):
    """Changes sides at every bar, whatever it is told."""

    def target(self, signal, market):
        return -0.5 if market.position > 0 else 0.5
'''
TREATMENTS = {
    "signal late": 3, "random model": 1, "constant model": 1, "swapped model": 1,
    "labels shuffled": 1, "labels shifted": 1, "": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("placebo")
    (place / "placebo.yaml").write_text(yaml.safe_dump(CONFIG))
    (place / "deaf.py").write_text(DEAF)
    assert 0 == perpwalk(place, "placebo", "placebo.yaml")
    return place


def run_of(folder: Path, name: str = "placebo") -> runs.Run:
    return runs.load_run(next((folder / "results" / name).iterdir()))


def test_an_edge_goes_where_its_cause_is_taken_away(workspace: Path) -> None:
    """Every treatment is there; the run beats chance, the meaningless labels do not."""
    run = run_of(workspace)
    rows = {row["placebo"]: row for row in run.audit["placebo"]}
    counts = {kind: sum(r["kind"] == kind for r in rows.values()) for kind in TREATMENTS}

    assert TREATMENTS == counts
    assert 0.001 > rows["this run"]["p_chance"]
    assert 0.05 == pytest.approx(rows["random model"]["p_auc"])
    assert None is rows["constant model: up"]["auc"]
    for name in ("labels shuffled", "labels shifted"):
        assert 0.05 == pytest.approx(rows[name]["p_auc"])
        assert rows["this run"]["auc"] > rows[name]["auc"]
    assert not [f for f in run.audit["findings"] if f["code"] in ("K003", "K011")
                and f["level"] == "error"]  # fmt: skip
    assert rows["this run"]["total_return"] == pytest.approx(
        run.metrics.iloc[-1]["total_return"], rel=1e-12
    )


def test_the_battery_is_kept_verified_and_renewed_with_the_run(workspace: Path) -> None:
    """placebo.csv is sealed and agrees with audit.json; a declaration later keeps it."""
    assert 0 == perpwalk(workspace, "run", "placebo.yaml", "--prior-trials", "3")
    run = run_of(workspace)

    assert 3 == run.audit["trials"]["prior"]
    assert 9 == len(run.audit["placebo"])
    assert [] == [c.detail for c in verify_run(run.path, samples=1).checks
                  if c.status is not Status.OK]  # fmt: skip


def test_a_changed_placebo_is_found_and_named(workspace: Path, tmp_path: Path) -> None:
    """By the seal, and by what the verdict took down."""
    run = run_of(workspace)
    copy = Path(shutil.copytree(run.path, tmp_path / run.path.name))
    text = (copy / "placebo.csv").read_text()
    (copy / "placebo.csv").write_text(text.replace("this run,,1,", "this run,,2,"))
    failed = [c.detail for c in verify_run(copy, samples=1).checks if c.status is Status.FAILED]

    assert any("placebo.csv changed" in detail for detail in failed)
    assert any("placebo.csv differs" in detail for detail in failed)


def test_a_strategy_deaf_to_its_signal_makes_the_run_invalid(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 3, K011 in words, and no figure in the table, the tearsheet or on the screen."""
    words = ["--set", "name=deaf", "--set", "strategy.name=deaf.py:Deaf", "--draws", "2"]
    assert 3 == perpwalk(workspace, "placebo", "placebo.yaml", *words)
    shown = capsys.readouterr().out
    run = run_of(workspace, "deaf")

    assert "the account does not change with the model" in shown
    assert "INVALID" in shown
    assert "this run" not in shown
    assert "All test decisions" not in render_table(run.metrics, run.audit)
    assert "Behaviour and direction" not in (run.path / "tearsheet.html").read_text()
    assert 3 == perpwalk(workspace, "check", str(run.path))
    capsys.readouterr()
    # Its strategy stands in no file of the user's: he has to name it again.
    again = ["placebo", str(run.path), "--draws", "2", "--json"]
    assert 2 == perpwalk(workspace, *again)
    assert "say --code" in " ".join(capsys.readouterr().err.split())
    assert 3 == perpwalk(workspace, *again, "--code", "deaf.py")
    told = json.loads(capsys.readouterr().out)
    assert ("invalid", 9) == (told["verdict"]["overall"], len(told["placebo"]))
    assert 3 == perpwalk(workspace, "run", "placebo.yaml", *words[:4])


def test_a_full_battery_keeps_its_fits_and_takes_them_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended in the midst it goes on with what is fitted, to the table of an undisturbed one."""
    network = {"timesteps": 3, "layers": 1, "hidden": 2, "dense": 2, "embedding": 1, "epochs": 1}
    asked = {
        **CONFIG,
        "market": {"simulate": {"bars": 2400, "edge": 0.35}},
        "model": {"kind": "lstm", "lstm": network},
        "report": {"tearsheet": False, "html": False},
    }
    fit, fitted, most = WalkForward._learn, 0, 4

    def counted(walk: WalkForward, *words: Any) -> Any:
        nonlocal fitted
        if walk._config.model.kind == "lstm":
            if fitted == most:
                raise KeyboardInterrupt
            fitted += 1
        return fit(walk, *words)

    def given(place: str, limit: int) -> tuple[int, int]:
        """Return the exit code and how many folds of the network were fitted."""
        nonlocal fitted, most
        fitted, most = 0, limit
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "placebo.yaml").write_text(yaml.safe_dump(asked))
        return perpwalk(tmp_path / place, "placebo", "placebo.yaml", "--full"), fitted

    monkeypatch.setattr(WalkForward, "_learn", counted)

    assert (130, 4) == given("ended", 4)
    code, together = given("whole", 99)
    assert (code, together - 4) == given("ended", 99)
    again, whole = (run_of(tmp_path / name).path / "placebo.csv" for name in ("ended", "whole"))
    assert whole.read_bytes() == again.read_bytes()


def test_wrong_usage_says_what_to_do(
    workspace: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """--set for a finished run, and a run that was changed."""
    run = run_of(workspace)
    assert 2 == perpwalk(workspace, "placebo", str(run.path), "--set", "seed=1")
    assert "--set belongs to a configuration" in capsys.readouterr().err
    copy = Path(shutil.copytree(run.path, tmp_path / run.path.name))
    (copy / "run.log").write_text("")
    assert 2 == perpwalk(workspace, "placebo", str(copy))
    assert "not as it was written" in capsys.readouterr().err
