"""The whole job against the obvious way to do it, end to end in one run: seconds and AUC.

    make bench PYTEST_ARGS="-k whole_job -s"

The market is three years of hourly ETH bars around the tests' folds where real data lie
(``PERPWALK_DATA``), else a simulated one: two years of training, three quarters, every setting the
default. *Faithful* is perpwalk with the same windows; *recommended* runs the same network over
stretches. Processor seconds stand beside wall seconds: a busy machine stretches the latter.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import perpwalk
from perpwalk import config as configuration
from perpwalk.config import Config

if TYPE_CHECKING:
    import obvious_way

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("PERPWALK_DATA", ROOT.parent / "shared/data"))
FOLDS = (
    "walk_forward.train=730d",
    "walk_forward.validation=90d",
    "walk_forward.test=91d",
    "walk_forward.max_folds=3",
)
SPAN = ("walk_forward.start=2023-02-01", "market.until=2023-11-01")
RECOMMENDED = (
    "model.lstm.sequence=stream",
    "model.lstm.epochs=40",
    "model.lstm.patience=10",
    "model.lstm.lr_patience=3",
    "model.lstm.learning_rate=2e-3",
)


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock and of the processor."""

    wall: float
    processor: float


class Clock:
    """Measures from its making on."""

    def __init__(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def read(self) -> Cost:
        """Return the seconds since it was made."""
        return Cost(time.perf_counter() - self.began[0], time.process_time() - self.began[1])


def asked(*more: str) -> Config:
    """Return the configuration of the job, on real bars where there are any."""
    if (DATA / "binance").is_dir():
        return configuration.load(ROOT / "configs/eth_walkforward.yaml", [*SPAN, *FOLDS, *more])
    return configuration.load(
        ROOT / "configs/demo.yaml", ["market.simulate.bars=28000", *FOLDS, *more]
    )


@pytest.fixture(scope="module")
def naive() -> tuple[obvious_way.Outcome, Cost]:
    """Return what the obvious script finds, and its cost."""
    import obvious_way

    clock = Clock()
    return obvious_way.run(asked()), clock.read()


@pytest.mark.parametrize(("name", "settings"), [("faithful", ()), ("recommended", RECOMMENDED)])
def test_the_whole_job_against_the_obvious_way(
    tmp_path: Path, naive: tuple[obvious_way.Outcome, Cost], name: str, settings: tuple[str, ...]
) -> None:
    """The obvious script and perpwalk answer the same question; the ratio of their seconds."""
    outcome, theirs = naive
    clock = Clock()
    run = perpwalk.run(asked(*settings), out=tmp_path)
    ours = clock.read()
    found = run.metrics[run.metrics["period_kind"] == "all"].iloc[0]
    print(
        f"\n{name}: {theirs.wall / ours.wall:.1f} times as fast by the clock "
        f"({ours.wall:.1f} s against {theirs.wall:.1f} s), "
        f"{theirs.processor / ours.processor:.1f} times in processor time "
        f"({ours.processor:.1f} s against {theirs.processor:.1f} s), "
        f"AUC {found['auc']:.4f} ({found['auc_lo']:.4f} to {found['auc_hi']:.4f}) "
        f"against {outcome.auc:.4f} on {outcome.decisions:,} decisions"
    )

    assert outcome.decisions == found["n"]
    assert math.isfinite(found["auc"])
    assert found["auc_hi"] >= outcome.auc
