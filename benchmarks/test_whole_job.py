"""The whole job against the obvious way to do it, end to end in one run: seconds and AUC.

    make bench PYTEST_ARGS="-k whole_job -s"

The market is two years of hourly ETH bars around the tests' folds where real data lie
(``PERPWALK_DATA``), else a simulated one. Only what changes the work is set: a half year of
training, quarterly folds, four epochs.
"""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

import pytest

import perpwalk
from perpwalk import config as configuration
from perpwalk.config import Config

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("PERPWALK_DATA", ROOT.parent / "shared/data"))
SMALL = (
    "walk_forward.train=365d",
    "walk_forward.validation=60d",
    "walk_forward.test=91d",
    "walk_forward.max_folds=3",
    "model.lstm.epochs=4",
)
SPAN = ("market.since=2021-06-01", "market.until=2023-08-01")
FAST = ("model.lstm.sequence=stream", "walk_forward.warm_start=true")


def asked(*more: str) -> Config:
    if (DATA / "binance").is_dir():
        return configuration.load(ROOT / "configs/eth_walkforward.yaml", [*SPAN, *SMALL, *more])
    return configuration.load(
        ROOT / "configs/demo.yaml", ["market.simulate.bars=18000", *SMALL, *more]
    )


def ours(out: Path, *more: str) -> tuple[float, dict[str, float]]:
    began = time.perf_counter()
    run = perpwalk.run(asked(*more), out=out)
    seconds = time.perf_counter() - began
    whole = run.metrics[run.metrics["period_kind"] == "all"].iloc[0]
    return seconds, {name: float(whole[name]) for name in ("auc", "auc_lo", "auc_hi", "n")}


@pytest.mark.parametrize(("name", "settings"), [("faithful", ()), ("recommended", FAST)])
def test_the_whole_job_against_the_obvious_way(
    tmp_path: Path, name: str, settings: tuple[str, ...]
) -> None:
    """The obvious script and perpwalk answer the same question; the ratio of their seconds."""
    import obvious_way

    seconds, found = ours(tmp_path, *settings)
    naive = obvious_way.run(asked())
    print(
        f"\n{name}: {naive.seconds / seconds:.1f} times as fast ({seconds:.1f} s against "
        f"{naive.seconds:.1f} s), AUC {found['auc']:.4f} ({found['auc_lo']:.4f} to "
        f"{found['auc_hi']:.4f}) against {naive.auc:.4f} on {naive.decisions:,} decisions"
    )

    assert naive.decisions == found["n"]
    assert math.isfinite(found["auc"])
    assert found["auc_hi"] >= naive.auc
