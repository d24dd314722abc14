"""A market that does everything to an account, and a model's opinion on it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perpwalk.domain import BarFrame, Forecast, FundingFrame, Market
from perpwalk.signals import PrecomputedSignals

BARS, FIRST = 1_500, 200


def wild_market() -> Market:
    """Return hourly bars of a wild random walk with dead bars, and funding off the minute."""
    rng = np.random.default_rng(3)
    close = 2000.0 * np.exp(np.cumsum(rng.normal(0.0, 0.015, BARS)))
    opened = np.concatenate(([2000.0], close[:-1])) * np.exp(rng.normal(0.0, 0.001, BARS))
    frame = pd.DataFrame(
        {
            "open": opened,
            "high": np.maximum(opened, close) * (1 + rng.random(BARS) * 0.01),
            "low": np.minimum(opened, close) * (1 - rng.random(BARS) * 0.01),
            "close": close,
            "volume": np.where(rng.random(BARS) < 0.02, 0.0, rng.random(BARS) * 5_000.0),
        },
        index=pd.date_range("2024-01-01", periods=BARS, freq="h", tz="UTC"),
    )
    stamps = frame.index[8::8] + pd.Timedelta("7ms")
    return Market(
        bars=BarFrame.of(frame, symbol="ABC", interval=pd.Timedelta("1h")),
        funding=FundingFrame.of(stamps, rng.normal(0.0, 5e-4, len(stamps)), symbol="ABC"),
    )


def signals_on(market: Market, threshold: float | None = None) -> PrecomputedSignals:
    """Return the forecasts of two folds with silence between them, some on the threshold.

    ``threshold`` holds for both; without it each has its own.
    """
    rng = np.random.default_rng(4)
    forecasts = []
    for fold, rows in enumerate((np.arange(FIRST, 800), np.arange(830, BARS - 5))):
        p_up = np.clip(rng.normal(0.5, 0.05, len(rows)), 0.0, 1.0)
        p_up[::17] = 0.5
        closes = market.bars.close_time[rows]
        forecasts.append(Forecast(fold, closes, rows, p_up, np.zeros((len(rows), 1))))
    return PrecomputedSignals(forecasts, [0.5, 0.51] if threshold is None else [threshold] * 2)
