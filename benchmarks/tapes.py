"""Markets to measure on."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

BARS = 51_980  # six years of hourly bars, as many as the predecessor had
DATA = Path(os.environ.get("PERPWALK_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))


def random_walk() -> pd.DataFrame:
    """Return hourly bars of a random walk."""
    noise = np.random.default_rng(7)
    close = 2000.0 * np.exp(np.cumsum(noise.normal(0.0, 0.006, BARS)))
    opened = np.concatenate(([2000.0], close[:-1]))
    wick = noise.random((2, BARS)) * 0.004
    columns = {
        "open": opened,
        "high": np.maximum(opened, close) * (1 + wick[0]),
        "low": np.minimum(opened, close) * (1 - wick[1]),
        "close": close,
        "volume": noise.random(BARS) * 1e5 + 1.0,
    }
    return pd.DataFrame(columns, pd.date_range("2020-01-01", periods=BARS, freq="h", tz="UTC"))
