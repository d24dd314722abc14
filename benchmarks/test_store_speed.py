"""How fast bars are had from the store, as a ratio to a bare ``pandas.read_csv`` in the same run.

Both sides read files that the system has cached, in a process that has imported what it needs. The
store's side checks that the partitions are those it was made of and that not a bit of the copy it
reads has changed, and hands out the same bars, findings and hash as any run gets. The checks of
each row ran when the bars were stored; `read_bars` on the same CSV makes them every time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perpwalk import config
from perpwalk.data import read_bars
from perpwalk.data.store import Piece, Rows, SeriesKey, open_shelf
from perpwalk.data.store.market import stored_bars

pytestmark = pytest.mark.benchmark

FILE = Path(os.environ.get("PERPWALK_DATA", "../shared/data")) / "predecessor/ETH/ohlcv.csv"
HOUR = pd.Timedelta("1h")
TURNS, CALLS = 12, 8


def _stored(file: Path, root: Path) -> config.MarketSection:
    """Put the bars of ``file`` into a store; return the market that reads them."""
    bars, _, _ = read_bars(file, symbol="ETHUSDT", interval=HOUR)
    time_ms = bars.open_time.as_unit("ms").asi8
    values = np.array([bars.open, bars.high, bars.low, bars.close, bars.volume])
    key = SeriesKey.of("binance", "ETHUSDT", "ohlcv", "1h")
    piece = Piece(int(time_ms[0]), int(time_ms[-1]) + 3_600_000, "file", 0)
    with open_shelf(root, key) as shelf:
        shelf.add([piece], Rows(time_ms, values))
        shelf.fold()
    section = {"exchange": "binance", "symbol": "ETHUSDT", "store": str(root)}
    return config.resolve({"market": section}).market


def _seconds(call: Callable[[], object]) -> tuple[float, float]:
    """Return what the clock and the processor say one call took, all of its threads together."""
    started, spent = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - started, time.process_time() - spent


def test_store_against_read_csv(tmp_path):
    """The checked CSV takes under twice a bare ``read_csv`` of it, the store under a tenth.

    By the clock, on a machine with nothing else to do; what the processor spent, the work of all
    threads, is printed beside it.
    """
    if not FILE.is_file():
        pytest.skip(f"no {FILE}; set PERPWALK_DATA")
    section = _stored(FILE, tmp_path)

    def from_store() -> object:
        return stored_bars(
            section, symbol="ETHUSDT", interval=HOUR, gaps="error", since=None, until=None
        )

    sides: dict[str, Callable[[], object]] = {
        "pandas.read_csv, bare": lambda: pd.read_csv(FILE),
        "read_bars of the CSV": lambda: read_bars(FILE, symbol="ETHUSDT", interval=HOUR),
        "the store": from_store,
    }
    stored, read = from_store(), read_bars(FILE, symbol="ETHUSDT", interval=HOUR)
    np.testing.assert_array_equal(read[0].close, stored[0].close)  # type: ignore[index]
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(TURNS):  # turn by turn, so that a busy moment meets all of them
        for name, call in sides.items():
            taken[name] += [_seconds(call) for _ in range(CALLS)]
    medians = {name: np.median(seconds, axis=0) for name, seconds in taken.items()}
    ratios = {name: one / medians["pandas.read_csv, bare"] for name, one in medians.items()}
    print(f"\n{len(read[0]):,} bars; medians, and ratios to a bare read_csv")
    for name, (clock, processor) in medians.items():
        print(
            f"{name:24} clock {1e3 * clock:6.2f} ms, {ratios[name][0]:.3f}; "
            f"processor {1e3 * processor:6.2f} ms, {ratios[name][1]:.3f}"
        )
    assert ratios["read_bars of the CSV"][0] < 2
    assert ratios["the store"][0] < 0.1
