"""Hours whose quarters stand inside of them, and a strategy that trades at their closes."""

from __future__ import annotations

import numpy as np
import pandas as pd
from tiny_replay import at, bars, funding, market

from engine.strategy import SignalStrategy
from perpwalk.data.resample import inside, resample
from perpwalk.domain import Market

QUARTER, HOUR = pd.Timedelta("15min"), pd.Timedelta("1h")


class FollowHours(SignalStrategy):
    """Orders a quantity at each close, long and short, of every contract."""

    def next(self) -> None:
        for number, data in enumerate(self.datas):
            wanted = {0: 3.0, 1: -2.0}.get((data.bar + number) % 5)
            if wanted is not None:
                self.order_target_size(data, target=wanted)


def quartered(seed: int, gone: tuple[int, ...] = (), symbol: str = "ABC") -> Market:
    """Return hours of a wild walk over its quarters, some of which are missing."""
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.03, 400)))
    opened = np.concatenate(([100.0], close[:-1]))
    high, low = np.maximum(opened, close) * 1.01, np.minimum(opened, close) * 0.99
    prices = list(zip(opened, high, low, close, strict=True))
    fine = bars(prices, interval=QUARTER, missing=gone, volume=1e7, symbol=symbol)
    coarse, _ = resample(fine, HOUR, "keep")
    rates = funding({at(i * 8): 0.001 for i in range(1, 12)}, symbol=symbol)
    return market(coarse, rates, inside=market(inside(fine, coarse), rates))
