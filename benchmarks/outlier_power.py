"""How often one wild value in real bars is told (D010), by what is wild and by how much.

``python benchmarks/outlier_power.py`` reads the files under ``PERPWALK_DATA``, spoils 400 places of
each in turn and prints the share of them that a finding names. The places are far enough apart that
none is among the bars around another.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import tapes

from perpwalk.data import outliers, read_bars
from perpwalk.data.validate import Prices
from perpwalk.domain import IntArray

FILES = {
    "binance/ETHUSDT-1h-ohlcv.csv.gz": "1h",
    "binance/SOLUSDT-1h-ohlcv.csv.gz": "1h",
    "bybit/ETHUSDT-1h-ohlcv.csv.gz": "1h",
    "binance/ETHUSDT-15m-ohlcv.csv.gz": "15min",
}
FAULTS = [
    ("high", 1.8), ("high", 1.2), ("high", 1.1), ("low", 0.2), ("low", 0.9), ("open", 1.3),
    ("open", 1.1), ("open", 1.03), ("volume", 1e4), ("volume", 1e3), ("volume", 1e2),
    ("volume", 1e-4),
]  # fmt: skip
PLACES, APART = 400, 60


def spoiled(prices: Prices, column: str, times: float, rows: IntArray) -> Prices:
    """Return the bars with one column of some rows multiplied; bars stay candles."""
    made = Prices(**{name: values.copy() for name, values in vars(prices).items()})
    body = {"high": np.maximum, "low": np.minimum}.get(column)
    from_ = getattr(made, column) if body is None else body(made.open, made.close)
    getattr(made, column)[rows] = from_[rows] * times
    made.high[rows] = np.maximum(made.high, made.open)[rows]
    made.low[rows] = np.minimum(made.low, made.open)[rows]
    return made


def told(ns: IntArray, prices: Prices, interval: pd.Timedelta) -> set[int]:
    """Return the stamps of all bars that findings name, not the first few alone."""
    seen: set[int] = set()
    short = outliers.listed

    def every(named: IntArray) -> str:
        seen.update(named.tolist())
        return short(named)

    outliers.listed = every
    try:
        outliers.outlier_findings("bars", ns, prices, interval, with_volume=True)
    finally:
        outliers.listed = short
    return seen


def main() -> None:
    """Print the shares."""
    print(f"{'':34}" + "".join(f"{column} x{times:g}".rjust(15) for column, times in FAULTS))
    for name, length in FILES.items():
        interval = pd.Timedelta(length)
        bars, _, _ = read_bars(tapes.DATA / name, symbol="", interval=interval, gaps="drop")
        ns = bars.open_time.as_unit("ns").asi8
        prices = Prices(bars.open, bars.high, bars.low, bars.close, bars.volume)
        inner = np.arange(APART, len(ns) - APART, APART)
        rows = np.sort(np.random.default_rng(0).choice(inner, PLACES, replace=False))
        shares = [
            np.isin(ns[rows], list(told(ns, spoiled(prices, *fault, rows), interval))).mean()
            for fault in FAULTS
        ]
        print(f"{name:34}" + "".join(f"{share:15.3f}" for share in shares))


if __name__ == "__main__":
    main()
