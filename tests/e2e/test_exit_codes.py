"""Exit codes of the contract through the real command line, in one small workspace.

0 done, 1 the answer is no, 2 wrong usage, 3 invalid, 4 suspect, 5 the environment failed. The codes
of an accepted suspicion and of interruptions stand in test_verdict_flow and test_command_line.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from command_line import perpwalk

from engine import audits, leaks
from perpwalk.audit.leaks.suite import LeakReport
from perpwalk.audit.outside import search_findings
from perpwalk.domain import Finding, Level

CONFIG = {
    "name": "codes",
    "market": {"simulate": {"bars": 3600, "edge": 0.3}},
    "features": {"include": ["returns", "volume"]},
    "walk_forward": {
        "train": "1200bars", "validation": "300bars", "test": "800bars", "min_train_rows": 500,
    },
    "model": {"kind": "logistic"},
    "report": {"tearsheet": False, "html": False},
    "compute": {"threads": 1},
}  # fmt: skip
LEAKING = '''
import numpy as np
from perpwalk.features import feature

@feature(lookback=1)
def smooth(past):
    """Mean of three bars, one of them the next."""
    return np.convolve(past.close, np.ones(3) / 3, mode="same")
'''


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("codes")
    (place / "codes.yaml").write_text(yaml.safe_dump(CONFIG))
    (place / "leaking.py").write_text(LEAKING)
    assert 0 == perpwalk(place, "run", "codes.yaml")
    return place


def run_folder(workspace: Path, name: str = "codes") -> Path:
    return next((workspace / "results" / name).iterdir())


def test_check_says_yes_no_or_that_it_cannot(workspace: Path) -> None:
    """0 where the bars are cleared, 1 where not, 2 for a bar that is no fraction or no run."""
    run = str(run_folder(workspace))

    assert 0 == perpwalk(workspace, "check", run, "--min-accuracy", "0.52")
    assert 1 == perpwalk(workspace, "check", run, "--min-accuracy", "0.9")
    assert 2 == perpwalk(workspace, "check", run, "--min-accuracy", "90")
    assert 2 == perpwalk(workspace, "check", str(workspace / "nowhere"))


def test_an_invalid_run_is_three_everywhere(workspace: Path) -> None:
    """`run` and `check` both say 3; the answer is never a pass."""
    words = ["--set", "name=few", "--set", "market.simulate.bars=1900"]  # some 60 test decisions

    assert 3 == perpwalk(workspace, "run", "codes.yaml", *words)
    assert 3 == perpwalk(workspace, "check", str(run_folder(workspace, "few")))


def test_verify_says_no_of_a_changed_run(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """0 for the untouched run, 1 once a file was changed, in JSON too."""
    run = run_folder(workspace)
    assert 0 == perpwalk(workspace, "verify", str(run))
    log = run / "run.log"
    whole = log.read_bytes()
    try:
        log.write_bytes(whole + b"x")
        capsys.readouterr()
        assert 1 == perpwalk(workspace, "verify", str(run), "--json")
        assert "no" == json.loads(capsys.readouterr().out)["answer"]
    finally:
        log.write_bytes(whole)


def test_an_audit_that_finds_a_leak_is_three_and_so_is_the_run(workspace: Path) -> None:
    """A feature that sees the next bar: K001 and K002, kept, and taken up by the run."""
    words = ["codes.yaml", "--set", "name=leaky", "--set", "features.modules=[leaking.py]"]
    words += ["--set", "features.include=[smooth, returns]"]

    assert 3 == perpwalk(workspace, "run", *words, "--audit", "quick")
    audit = json.loads((run_folder(workspace, "leaky") / "audit.json").read_text())
    codes = {f["code"] for f in audit["findings"] if f["where"].startswith("leak audit: ")}
    assert {"K001", "K002"} <= codes
    assert "quick" == audit["leak_audit"]["tier"]
    assert 3 == perpwalk(workspace, "audit", *words)


def test_an_audit_that_warns_is_four(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexplained warning of the search is a suspicion; a blind pipeline is not."""

    def warned(code: str) -> LeakReport:
        finding = Finding(code=code, level=Level.WARN, where="feature 'x'", message="told")
        outcome = leaks.Outcome(detector="start-up", summary="told", findings=(finding,))
        return LeakReport(outcomes=(outcome,), power=(), control=None)

    for code, exit_code in (("K009", 4), ("K005", 0)):
        report = warned(code)
        monkeypatch.setattr(audits.leaks, "audit", lambda *_, report=report, **__: report)
        assert exit_code == perpwalk(workspace, "audit", "codes.yaml", "--out", "other")
        assert 1 == len(search_findings(report.findings))


def test_wrong_usage_is_two(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A negative count of trials, an unknown depth of search, an empty reason."""
    assert 2 == perpwalk(workspace, "run", "codes.yaml", "--prior-trials", "-1")
    assert "0 or more" in capsys.readouterr().err
    assert 2 == perpwalk(workspace, "run", "codes.yaml", "--audit", "deep")
    assert 2 == perpwalk(workspace, "run", "codes.yaml", "--accept-suspect", " ")


def test_a_disk_that_gives_out_is_five(workspace: Path) -> None:
    """No file can grow beyond a few kilobytes: a message, no traceback, no finished run."""

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    words = [sys.executable, "-m", "engine", "run", "codes.yaml", "--set", "name=full"]
    done = subprocess.run(
        words, cwd=workspace, preexec_fn=small_files, capture_output=True, text=True, check=False,
        env={**os.environ, "NUMBA_DISABLE_JIT": "0"},
    )  # fmt: skip

    assert 5 == done.returncode, done.stderr
    assert "Traceback" not in done.stderr
    assert [] == list(workspace.glob("results/full/*/manifest.json"))
