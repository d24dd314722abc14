"""How long reading and checking a CSV file takes, against a bare ``pandas.read_csv`` of it.

Both read the same file in turn, many times over, in one process; the ratio of the medians carries
over to other machines, the seconds do not. ``pandas`` leaves stamps as text and checks nothing.
Run with ``pytest -m benchmark benchmarks/test_reading_speed.py -s``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perpwalk.config import Simulate
from perpwalk.data import read_bars
from perpwalk.simulate import simulate_market

pytestmark = pytest.mark.benchmark

BARS, ROUNDS = 51_980, 40
HOUR = pd.Timedelta("1h")
DATA = Path(os.environ.get("PERPWALK_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the predecessor's file where it lies at hand, else a simulated one of that length."""
    real = DATA / "predecessor" / "ETH" / "ohlcv.csv"
    if real.exists():
        return real
    path = tmp_path_factory.mktemp("data") / "ohlcv.csv"
    bars = simulate_market(Simulate(bars=BARS), symbol="SIM", interval=HOUR, seed=1).bars
    frame = bars.to_frame().round(2).tz_localize(None)
    frame.to_csv(path, date_format="%Y-%m-%d %H:%M:%S")
    return path


def in_turn(*jobs: Callable[[], object]) -> list[np.ndarray]:
    """Time the jobs one after the other, round after round: a busy machine hits them alike."""
    seconds = np.empty((len(jobs), ROUNDS))
    for turn in range(ROUNDS):
        for number, job in enumerate(jobs):
            begun = time.perf_counter()
            job()
            seconds[number, turn] = time.perf_counter() - begun
    return list(seconds)


def test_reading_and_checking_against_bare_pandas(file: Path) -> None:
    read_bars(file, symbol="", interval=HOUR)  # imports and page cache are nobody's time
    bare, ours = in_turn(
        lambda: pd.read_csv(file), lambda: read_bars(file, symbol="", interval=HOUR)
    )
    ratio = float(np.median(ours / bare))
    print(
        f"\n{BARS:,} rows: pandas.read_csv {1e3 * np.median(bare):.1f} ms, read and checked "
        f"{1e3 * np.median(ours):.1f} ms: {ratio:.2f} times (of the fastest rounds "
        f"{ours.min() / bare.min():.2f})"
    )
    assert ratio < 2
