"""The command line: verbs, exit codes, interruptions, the workspace for newcomers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from engine import cli

COMMANDS = ("run", "tearsheet", "report", "check", "verify", "audit", "runs", "init")


def perpwalk(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["perpwalk", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def tiny(folder: Path, **model: object) -> Path:
    """Write a configuration that runs in a second or two."""
    raw = {
        "name": "tiny",
        "market": {"simulate": {"bars": 2000, "edge": 0.3}},
        "walk_forward": {
            "train": "600bars", "validation": "200bars", "test": "300bars", "min_train_rows": 100,
        },
        "model": {"kind": "logistic", **model},
        "compute": {"threads": 1},
    }  # fmt: skip
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


@pytest.mark.parametrize("verb", COMMANDS)
def test_every_verb_explains_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """``--help`` of each verb exits 0 and says what it does."""
    assert 0 == perpwalk(monkeypatch, verb, "--help")
    assert "Usage" in capsys.readouterr().out


def test_an_unknown_verb_or_option_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2."""
    assert 2 == perpwalk(monkeypatch, "rum")
    assert 2 == perpwalk(monkeypatch, "run", "x.yaml", "--frce")


def test_run_prints_the_table_and_where_the_results_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The metrics table, the verdict and the folder stand on stdout; a second call finds them."""
    config = tiny(tmp_path)
    out = tmp_path / "results"

    first = perpwalk(monkeypatch, "run", str(config), "--out", str(out))
    printed = capsys.readouterr().out
    second = perpwalk(monkeypatch, "run", str(config), "--out", str(out))
    again = capsys.readouterr()

    folder = next((out / "tiny").iterdir())
    assert first == second
    assert "accuracy" in printed
    assert "predictive:" in printed
    assert str(folder) in printed.replace("\n", "")
    assert printed == again.out
    assert "answered before" in again.err
    assert 0 == perpwalk(monkeypatch, "runs", str(out))
    assert "finished" in capsys.readouterr().out
    # A page written again, or a figure added, keeps the seal whole.
    for words in (["tearsheet"], ["tearsheet", "--figures", "pdf"], ["report"], ["verify"]):
        verb, *options = words
        assert 0 == perpwalk(monkeypatch, verb, str(folder), *options), capsys.readouterr().out
    apart = tmp_path / "apart"
    given = ["--out", str(apart), "--figures", "png", "--benchmark", str(folder)]
    assert 0 == perpwalk(monkeypatch, "tearsheet", str(folder), *given)
    assert 5 == len(list(apart.iterdir()))
    assert 0 == perpwalk(monkeypatch, "verify", str(folder)), capsys.readouterr().out
    assert perpwalk(monkeypatch, "check", str(folder)) in (0, 1, 3, 4)
    assert "accuracy" in capsys.readouterr().out


def test_print_config_shows_every_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is printed is the whole resolved configuration, overrides included, and nothing runs."""
    path = str(tiny(tmp_path))

    assert 0 == perpwalk(monkeypatch, "run", path, "--print-config", "--set", "broker.leverage=3")

    shown = yaml.safe_load(capsys.readouterr().out)
    assert 3.0 == shown["broker"]["leverage"]
    assert 0.0005 == shown["broker"]["taker_fee"]


def test_init_makes_a_workspace_and_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example files are there, the demo configuration is valid, a second time is refused."""
    folder = tmp_path / "mine"

    assert 0 == perpwalk(monkeypatch, "init", str(folder))
    assert 2 == perpwalk(monkeypatch, "init", str(folder))

    assert "already there" in capsys.readouterr().err
    for name in ("configs/demo.yaml", "configs/mine.yaml", "my_features.py", "strategies/mine.py"):
        assert (folder / name).is_file()


def test_the_workspace_example_runs_with_its_own_feature_and_strategy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newcomer's feature file and strategy copy work as they are."""
    assert 0 == perpwalk(monkeypatch, "init", str(tmp_path / "w"))
    monkeypatch.chdir(tmp_path / "w")
    config = tiny(tmp_path / "w")
    words = ["run", str(config), "--set", "features.modules=[my_features.py]"]
    words += ["--set", "features.include=[close_to_day_high, volume]"]
    words += ["--set", "strategy.name=strategies/mine.py:LongShort"]

    assert perpwalk(monkeypatch, *words) in (0, 4)
    features = next(Path("results").glob("tiny/*/models/fold-000/features.json")).read_text()
    assert "close_to_day_high" in features


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_how_to_go_on(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    """SIGINT and SIGTERM stop cleanly with exit code 130 and 143, without a traceback."""
    config = tiny(tmp_path, kind="lstm", lstm={"epochs": 500, "patience": 500})
    words = [sys.executable, "-m", "engine", "run", str(config), "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    ) as process:
        deadline = time.monotonic() + 60
        assert process.stderr is not None
        for line in process.stderr:  # the first line of the folds says that training has begun
            if "folds (" in line or time.monotonic() > deadline:
                break
        process.send_signal(number)
        _, said = process.communicate(timeout=60)

    assert code == process.returncode
    assert "give the same command again" in said
    assert "Traceback" not in said
