"""How fast a replay is, as ratios to stock Backtrader measured side by side in one run.

Stock means ``PandasData`` and ``Cerebro(stdstats=False)`` with Backtrader's own broker.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from engine.bridge import bt
from engine.replay import ReplayMarket, replay
from perpwalk.config import BrokerSection, SlippageSection
from perpwalk.domain import BarFrame, Forecast, FundingFrame, Market
from perpwalk.signals import PrecomputedSignals
from strategies.lstm_xgb import LongShort

pytestmark = pytest.mark.benchmark

N = 52_000  # six years of hourly bars
INDEX = pd.date_range("2020-01-01", periods=N, freq="1h", tz="UTC")
# Free of costs, so that a signal that turns every other bar does not ruin the account half-way.
FREE = BrokerSection(taker_fee=0.0, slippage=SlippageSection(bps=0.0))


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    close = 2000 * np.exp(np.cumsum(rng.normal(0, 0.005, N)))
    opened = np.concatenate([[2000.0], close[:-1]])
    columns = {
        "open": opened,
        "high": np.maximum(opened, close) * 1.001,
        "low": np.minimum(opened, close) * 0.999,
        "close": close,
        "volume": np.full(N, 1000.0),
    }
    return pd.DataFrame(columns, index=INDEX)


def market() -> Market:
    bars = BarFrame.of(frame(), symbol="ABC", interval=pd.Timedelta("1h"))
    rates = FundingFrame.of(INDEX[::8], np.full(len(INDEX[::8]), 1e-4), symbol="ABC")
    return Market(bars=bars, funding=rates)


class Nothing(bt.Strategy):
    """Looks at nothing and does nothing."""


class StockTurns(bt.Strategy):
    """Reads a precomputed signal and turns its position every other bar."""

    def __init__(self) -> None:
        self.n = 0

    def next(self) -> None:
        """Turn where the signal does."""
        self.n += 1
        side = 1 if self.n % 4 < 2 else -1
        if self.position.size * side <= 0:
            self.order_target_size(target=side * 2.0)


def stock(strategy: type) -> None:
    naive = frame()
    naive.index = naive.index.tz_localize(None)
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=naive))
    cerebro.addstrategy(strategy)
    cerebro.broker.setcash(1e6)
    cerebro.run()


def turning_signals() -> PrecomputedSignals:
    p_up = np.where(np.arange(N) % 4 < 2, 0.6, 0.4)
    closes = INDEX + pd.Timedelta("1h")
    return PrecomputedSignals([Forecast(0, closes, np.arange(N), p_up, np.zeros((N, 2)))], [0.5])


def seconds(work: Callable[[], object]) -> float:
    """Return the least processor time of two runs: a shared machine only ever adds."""
    taken = []
    for _ in range(2):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return min(taken)


def test_doing_nothing_is_three_times_as_fast_as_stock():
    """The feed alone, with the whole account behind it: at least 3 times stock."""
    tape = market()
    ours = seconds(lambda: replay([ReplayMarket(tape)], Nothing, {}, FREE))
    ratio = seconds(lambda: stock(Nothing)) / ours
    print(f"\ndo nothing: {ratio:.1f} times stock, {N / ours:,.0f} bars/s")

    assert ratio >= 3.0


def test_trading_signals_is_twice_as_fast_as_stock():
    """A signal that turns every other bar, margin and funding kept: at least twice stock."""
    tape, signals = market(), turning_signals()
    ours = seconds(lambda: replay([ReplayMarket(tape, signals)], LongShort, {}, FREE))
    ratio = seconds(lambda: stock(StockTurns)) / ours
    print(f"\nsignals: {ratio:.1f} times stock, {N / ours:,.0f} bars/s")

    assert ratio >= 2.0
