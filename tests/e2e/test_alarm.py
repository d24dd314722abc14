"""A result too good to be true is searched for leaks by itself, and the suspects are named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from command_line import perpwalk

from engine import alarm
from perpwalk import runs
from perpwalk.reports.table import render_table

CONFIG = {
    "name": "alarm",
    "market": {"simulate": {"bars": 2700, "edge": 0.1}},
    "features": {
        "include": ["volume", "smooth"], "modules": ["leaking.py"], "selection": {"k": 3},
    },
    "walk_forward": {
        "train": "1200bars", "validation": "300bars", "test": "500bars", "min_train_rows": 500,
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
    """Move to the mean of three bars, one of them the next."""
    return np.convolve(past.close, np.ones(3) / 3, mode="same") / past.close - 1
'''


def test_an_alarm_starts_the_search_and_the_leak_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody asked for an audit: the run is too good, is searched in full, and exits 3."""
    (tmp_path / "leaking.py").write_text(LEAKING)
    (tmp_path / "alarm.yaml").write_text(yaml.safe_dump(CONFIG))
    assert 3 == perpwalk(tmp_path, "run", "alarm.yaml")
    told = capsys.readouterr()
    run = runs.load_run(next((tmp_path / "results/alarm").iterdir()))
    by_code = {f["code"]: f for f in run.audit["findings"]}

    assert "too good to be true" in told.err
    assert "full" == run.audit["leak_audit"]["tier"]
    assert {"P011", "K001", "K002", "K012"} <= set(by_code)
    assert "smooth" in by_code["K001"]["where"]
    first, second, third = by_code["K012"]["observed"].split("; ")
    assert "feature 'smooth' changed with the future" in first
    assert "feature 'smooth'" in second
    assert "AUC with inputs delayed" in third
    shown = render_table(run.metrics, run.audit)
    assert "K012" in shown
    assert "All test decisions" not in shown


@pytest.mark.parametrize(
    ("tier", "codes", "expected"),
    [
        ("none", ["P011"], "P011"),
        ("quick", ["P012"], "P012"),
        ("full", ["P011"], None),
        ("none", ["S008", "P007"], None),
        ("none", ["P012", "L001"], None),
    ],
)
def test_only_an_unexplained_alarm_calls_for_a_search(
    tier: str, codes: list[str], expected: str | None
) -> None:
    """Not where a full search is in, and not where the labels themselves are no labels."""
    found = [{"code": code, "level": "error"} for code in codes]

    assert expected == alarm.alarm({"findings": found, "leak_audit": {"tier": tier}})
