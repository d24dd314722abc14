"""What benchmarks share: helpers in this folder, and the market they are measured on."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perpwalk.domain import BarFrame, FundingFrame, Market

sys.path.insert(0, str(Path(__file__).parent))

import tapes


@pytest.fixture(scope="session")
def market() -> Market:
    """Read the real file where it lies at hand, else make a random walk of as many bars."""
    file = tapes.DATA / "predecessor" / "ETH" / "ohlcv.csv"
    if file.exists():
        frame = pd.read_csv(file, index_col="datetime", parse_dates=True).tz_localize("UTC")
    else:
        frame = tapes.random_walk()
    stamps = frame.index[8::8]
    rates = np.random.default_rng(1).normal(1e-4, 1e-4, len(stamps))
    return Market(
        bars=BarFrame.of(frame, symbol="ETHUSDT", interval=pd.Timedelta("1h")),
        funding=FundingFrame.of(stamps, rates, symbol="ETHUSDT"),
    )
