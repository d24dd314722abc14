"""What fifty variants of one trained model cost beside one variant, in one run.

    make bench PYTEST_ARGS="benchmarks/test_compare_speed.py -s"

Processor seconds, because a shared machine only ever adds to the others. The ledger engine keeps
the accounts, so that what is left of a variant is judging and writing it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from engine import compare as comparing
from engine.experiment import run_experiment
from perpwalk import config as configuration

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).parents[1]
PLAIN = ("compute.engine=ledger", "report.tearsheet=false", "report.html=false")


def test_fifty_thresholds_share_one_trained_model(tmp_path: Path) -> None:
    """Fifty thresholds cost less than 1.5 times one, beside the backtests themselves."""
    config = ROOT / "configs/demo.yaml"
    worked = time.process_time()
    run_experiment(
        configuration.load(config, [*PLAIN, "strategy.threshold=0.5"]), out=tmp_path / "one"
    )
    one = time.process_time() - worked
    worked = time.process_time()
    comparing.compare(
        [config], out=tmp_path / "many", overrides=PLAIN,
        grid={"strategy.threshold": np.linspace(0.47, 0.53, 50).round(6).tolist()},
    )  # fmt: skip
    many = time.process_time() - worked
    stages = [
        (stage["stage"], stage["seconds"])
        for file in (tmp_path / "many").rglob("manifest.json")
        for stage in json.loads(file.read_text())["stages"]
    ]
    backtests = sum(seconds for name, seconds in stages if name == "backtest")
    judging = sum(seconds for name, seconds in stages if name == "judge")
    print(
        f"\none variant {one:.1f} s of processor, fifty {many:.1f} s: {many / one:.2f} times one "
        f"(wall: their backtests {backtests:.1f} s, judging {judging:.1f} s)"
    )

    assert many - backtests < 1.5 * one
