"""A store of the bars of a small workspace, and more of them folded in as a fetch does it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from perpwalk import config
from perpwalk.data import load_market
from perpwalk.data.store import Piece, Rows, SeriesKey, open_shelf
from perpwalk.data.store.ranges import subtract
from perpwalk.data.store.series import HOUR

KEY = SeriesKey.of("binance", "ETHUSDT", "ohlcv", "1h")
STORE = "store"
FIRST, ALL = 700, 1000  # bars that are there from the start, and in the end
MARKET = {
    "exchange": "binance", "symbol": "ETHUSDT", "store": STORE, "missing_funding": "drop_features",
    "until": "2023-01-30T04:00:00Z",
}  # fmt: skip


def fill(workspace: Path) -> None:
    """Put the first bars into the store of a workspace."""
    _fold(workspace / STORE, [(0, FIRST)])


def grow(store: str, step: int) -> None:
    """Fold in the rest of the bars, ``step`` at a time."""
    _fold(Path(store), [(at, min(at + step, ALL)) for at in range(FIRST, ALL, step)])


def _fold(store: Path, spans: list[tuple[int, int]]) -> None:
    rows = _rows()
    for first, last in spans:
        start, end = int(rows.time[first]), int(rows.time[last - 1]) + HOUR
        with open_shelf(store, KEY) as shelf:
            for missing in subtract([(start, end)], shelf.covered):
                shelf.add([Piece(*missing, "api", end)], rows.between(*missing))
            shelf.fold()


def _rows() -> Rows:
    section = config.MarketSection(simulate=config.Simulate(bars=ALL))
    frame: pd.DataFrame = load_market(section, seed=3).bars.to_frame()
    time = frame.index.astype("int64").to_numpy() // 10**6
    values = frame[list(KEY.columns[1:])].to_numpy(dtype=np.float64).T
    return Rows(time, np.ascontiguousarray(values))
