"""A coarse bar that forms with the fine ones: as Backtrader's replaydata shows it, no account."""

from __future__ import annotations

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from engine.replay import ReplayMarket, replay
from engine.strategy import SignalStrategy
from perpwalk.config import BrokerSection, Config, Simulate
from perpwalk.data.resample import resample
from perpwalk.domain import Market
from perpwalk.errors import LookAheadError, UsageError
from perpwalk.simulate import simulate_market

QUARTER, HOUR = pd.Timedelta("15min"), pd.Timedelta("1h")
COLUMNS = ("open", "high", "low", "close", "volume")


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate_market(Simulate(bars=400), symbol="ETHUSDT", interval=QUARTER, seed=3)


class Watcher(SignalStrategy):
    """Notes the forming bar at every fine bar and trades the fine one now and then."""

    params = (("seen", None),)

    def next(self) -> None:
        coarse = self.forming()
        self.p.seen.append((*(getattr(coarse, name)[0] for name in COLUMNS), coarse.complete[0]))
        if len(self.p.seen) % 40 == 1:
            self.order_target_size(target=1.0 if len(self.p.seen) % 80 == 1 else -1.0)


def watched(market: Market, **options: object) -> tuple[np.ndarray, object]:
    seen: list[tuple[float, ...]] = []
    book = replay(
        [ReplayMarket(market)], Watcher, {"seen": seen}, BrokerSection(), forming=HOUR, **options
    )
    return np.array(seen), book


def test_the_forming_bar_is_what_backtraders_own_replaydata_shows(market):
    """Stock Backtrader replaying the same quarters to hours shows the same numbers at each step."""
    expected: list[tuple[float, ...]] = []

    class Stock(bt.Strategy):
        def next(self) -> None:
            expected.append(tuple(getattr(self.data, name)[0] for name in COLUMNS))

    cerebro = bt.Cerebro(stdstats=False)
    # Its replayer names a bar by its end: stamps of closes make quarters fall into their own hour.
    frame = market.bars.to_frame().set_axis(market.bars.close_time.tz_localize(None))
    data = bt.feeds.PandasData(dataname=frame, timeframe=bt.TimeFrame.Minutes, compression=15)
    cerebro.replaydata(data, timeframe=bt.TimeFrame.Minutes, compression=60)
    cerebro.addstrategy(Stock)
    cerebro.run()

    seen, _ = watched(market)

    assert 400 == len(expected) == len(seen)
    np.testing.assert_allclose(np.array(expected), seen[:, :5], rtol=1e-12)


def test_where_it_is_complete_it_is_the_resampled_bar(market):
    """The hours that end with a fine bar are those that resampling makes."""
    seen, _ = watched(market)
    hours, _ = resample(market.bars, HOUR)

    whole = seen[seen[:, 5] == 1][:, :5]

    np.testing.assert_allclose(hours.to_frame().to_numpy(), whole, rtol=1e-12)


def test_the_account_is_that_of_the_replay_without_it(market):
    """Showing a forming bar changes no fill, no fee and no equity."""

    class Blind(Watcher):
        def next(self) -> None:
            self.p.seen.append(0)
            if len(self.p.seen) % 40 == 1:
                self.order_target_size(target=1.0 if len(self.p.seen) % 80 == 1 else -1.0)

    _, shown = watched(market)
    alone = replay([ReplayMarket(market)], Blind, {"seen": []}, BrokerSection())

    pd.testing.assert_frame_equal(alone.equity, shown.equity)
    pd.testing.assert_frame_equal(alone.orders, shown.orders)


def test_a_replay_may_begin_within_a_coarse_bar(market):
    """Started at the third quarter of an hour, the bar shows the two quarters before it too."""
    seen, _ = watched(market, start=market.bars.close_time[2])

    assert market.bars.high[:3].max() == seen[0, 1]
    assert market.bars.open[0] == seen[0, 0]


def test_it_cannot_be_read_ahead(market):
    """The next step of the forming bar is not known yet."""

    class Greedy(Watcher):
        def next(self) -> None:
            self.forming().close[1]

    with pytest.raises(LookAheadError):
        replay([ReplayMarket(market)], Greedy, {"seen": []}, BrokerSection(), forming=HOUR)


def test_it_cannot_be_traded(market):
    """Orders go to the fine bars, on which the account is kept."""

    class Wrong(Watcher):
        def next(self) -> None:
            self.buy(data=self.forming(), size=1)

    with pytest.raises(UsageError):
        replay([ReplayMarket(market)], Wrong, {"seen": []}, BrokerSection(), forming=HOUR)


def test_asking_for_one_that_is_not_shown_is_told(market):
    """The key to set is named."""
    with pytest.raises(UsageError, match=r"strategy\.forming"):
        replay([ReplayMarket(market)], Watcher, {"seen": []}, BrokerSection())


def test_the_configuration_takes_a_length():
    """strategy.forming is a duration of the strict configuration."""
    assert "4h" == Config.model_validate({"strategy": {"forming": "4h"}}).strategy.forming
