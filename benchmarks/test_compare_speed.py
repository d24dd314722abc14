"""What fifty variants of one trained model cost beside one variant, in one run.

    make bench PYTEST_ARGS="benchmarks/test_compare_speed.py -s"

Processor seconds of this process, because a shared machine only ever adds to the others. The one
variant is the demo as it is shipped, training included and nothing taken from a cache. The ledger
engine keeps the accounts, so that what is left of a variant is judging and writing it.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import compare as comparing
from engine import stages
from engine.experiment import run_experiment
from perpwalk import config as configuration

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).parents[1]
PLAIN = ("compute.engine=ledger", "report.tearsheet=false", "report.html=false")
VARIANTS = 50


class Meter:
    """Adds up the processor seconds spent inside some functions."""

    def __init__(self, patch: pytest.MonkeyPatch, places: dict[str, tuple[Any, str]]) -> None:
        self.seconds = dict.fromkeys(places, 0.0)
        for name, (owner, function) in places.items():
            patch.setattr(owner, function, self._measured(name, getattr(owner, function)))

    def _measured(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def measured(*args: Any, **options: Any) -> Any:
            began = time.process_time()
            try:
                return function(*args, **options)
            finally:
                self.seconds[name] += time.process_time() - began

        return measured


def test_fifty_thresholds_share_one_trained_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty thresholds cost less than 1.5 times one, beside the backtests themselves."""
    config = ROOT / "configs/demo.yaml"
    began = time.process_time()
    run_experiment(
        configuration.load(config, [*PLAIN, "strategy.threshold=0.5"]),
        out=tmp_path / "one", cache=False,
    )  # fmt: skip
    one = time.process_time() - began
    meter = Meter(
        monkeypatch,
        {
            "training": (stages, "walk_forward"),
            "backtests": (stages, "replay_folds"),
            "judging": (stages, "measure"),
            "comparing": (comparing, "compare_variants"),
        },
    )
    began = time.process_time()
    comparing.compare(
        [config], out=tmp_path / "many", overrides=PLAIN, cache=False,
        grid={"strategy.threshold": np.linspace(0.47, 0.53, VARIANTS).round(6).tolist()},
    )  # fmt: skip
    many = time.process_time() - began
    spent = meter.seconds
    beside = many - spent["backtests"]
    parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in spent.items())
    print(
        f"\none variant {one:.1f} s of processor; {VARIANTS} compared {many:.1f} ({parts}, the "
        f"rest {many - sum(spent.values()):.1f}); beside the backtests {beside / one:.2f} times one"
    )

    assert 0 < spent["training"] < one
    assert beside < 1.5 * one
