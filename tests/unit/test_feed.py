"""Feeds: whole columns in, no look ahead out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_replay import account, at, bars, flat, funding, market, run

from engine.bridge import bt, to_days
from engine.feed import FundingFeed, PerpFeed
from engine.funding import schedule
from engine.replay import ReplayMarket, replay
from perpwalk.domain import to_ns
from perpwalk.errors import LookAheadError, UsageError

TAPE = market(
    bars([(1, 4, 0.5, 2), (2, 5, 1, 3), (3, 6, 2, 5), (5, 9, 4, 8)]),
    funding({at(1): 0.001, at(3): -0.002}),
)


class Diary(bt.Strategy):
    """Writes down what it can see."""

    params = (("look", None), ("seen", None))

    def next(self) -> None:
        self.p.seen.append(self.p.look(self))


def watch(look: Any, tape: Any = TAPE, **more: Any) -> list[Any]:
    """Return what ``look(strategy)`` sees at each close."""
    seen: list[Any] = []
    replay([ReplayMarket(tape)], Diary, {"look": look, "seen": seen}, account(), **more)
    return seen


def test_every_column_arrives_as_it_was():
    """
    Prices and volume of each bar stand in the lines at its close.
    """
    seen = watch(lambda s: [s.data.open[0], s.data.high[0], s.data.low[0], s.data.close[0]])

    assert [[1, 4, 0.5, 2], [2, 5, 1, 3], [3, 6, 2, 5], [5, 9, 4, 8]] == seen
    assert [1e6] * 4 == watch(lambda s: s.data.volume[0])


def test_the_datetime_is_the_close_of_the_bar():
    """
    At a decision the clock shows the moment of the decision; the integer beside it is exact.
    """
    shown = watch(lambda s: s.data.datetime.datetime(0))
    exact = watch(lambda s: s.data.now_ns)

    closes = [at(n) for n in (1, 2, 3, 4)]
    assert closes == [pd.Timestamp(stamp, tz="UTC") for stamp in shown]
    assert [to_ns(stamp) for stamp in closes] == exact


def test_the_funding_line_shows_the_last_settled_rate():
    """
    A rate stamped at a close is known there, and holds until the next one.
    """
    assert [0.001, 0.001, -0.002, -0.002] == watch(lambda s: s.data.funding_rate[0])


def test_a_stamp_some_seconds_late_counts_at_its_minute():
    """
    Delivered at 02:00:00.007, the rate is that of 02:00.
    """
    tape = market(bars(flat(1, 1, 1)), funding({at(2, 0.007): 0.003}))

    seen = watch(lambda s: s.data.funding_rate[0], tape)

    assert [True, False, False] == np.isnan(seen).tolist()
    assert [0.003, 0.003] == seen[1:]


def test_the_mark_line_falls_back_on_the_close():
    """
    A bar without a mark candle shows its own close.
    """
    mark = bars([(7, 7, 7, 7), (7, 7, 7, 7)])
    tape = market(bars(flat(1, 2, 3)), mark=mark)

    assert [7.0, 7.0, 3.0] == watch(lambda s: s.data.mark[0], tape)


@pytest.mark.parametrize(
    "look",
    [
        lambda s: s.data.close[1],
        lambda s: s.data.open[3],
        lambda s: s.data.close.get(ago=1),
        lambda s: s.data.close(1),
        lambda s: s.data.close[-1],
        lambda s: s.data.close[-4],
    ],
)
def test_no_way_to_the_next_bar(look: Any):
    """
    A positive index raises, and so does a negative one that would wrap round to the last bar.
    """
    with pytest.raises(LookAheadError):
        watch(look)


def test_past_bars_can_be_read():
    """
    Negative indices and slices reach the bars before, as in Backtrader.
    """
    seen = watch(lambda s: [s.data.close[-k] for k in range(len(s))])

    assert [[2], [3, 2], [5, 3, 2], [8, 5, 3, 2]] == seen
    assert [[2], [2, 3], [2, 3, 5], [3, 5, 8]] == watch(lambda s: list(s.data.close.get(size=3)))


def test_bars_cannot_be_read_before_the_first():
    """
    In ``__init__`` Backtrader's ``close[0]`` would be the last close of the replay.
    """

    class Early(bt.Strategy):
        def __init__(self) -> None:
            self.first = self.data.close[0]

    with pytest.raises(LookAheadError, match=r"read bars in next\(\)"):
        replay([ReplayMarket(TAPE)], Early, {}, account())


def test_indicators_work_on_guarded_lines():
    """
    A moving average computed at once over the preloaded column shows the past only.
    """

    class Average(Diary):
        def __init__(self) -> None:
            self.average = bt.indicators.SimpleMovingAverage(self.data.close, period=2)

    seen: list[float] = []
    params = {"look": lambda s: s.average[0], "seen": seen}
    replay([ReplayMarket(TAPE)], Average, params, account())

    assert [2.5, 4.0, 6.5] == seen


def test_the_funding_feed_stands_on_the_bars_clock():
    """
    Its ``funding_rate`` line and its prices are the rate in force; it cannot be traded.
    """
    seen = watch(lambda s: (len(s.datas), s.datas[1].funding_rate[0]), funding_feeds=True)

    assert [(2, 0.001), (2, 0.001), (2, -0.002), (2, -0.002)] == seen
    with pytest.raises(UsageError, match="cannot be traded"):
        watch(lambda s: s.buy(data=s.datas[1], size=1), funding_feeds=True)


def test_the_funding_feed_counts_hours():
    """
    Hours since the last settlement, 0 at its own stamp.
    """
    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(FundingFeed(TAPE))
    seen: list[float] = []
    cerebro.addstrategy(Diary, look=lambda s: s.data.hours_since_funding[0], seen=seen)
    cerebro.run()

    assert [0.0, 1.0, 0.0, 1.0] == seen


def test_a_replay_starts_and_ends_where_it_is_told():
    """
    Bars whose close lies in the span, both ends included; the first decision is at its start.
    """
    assert [3, 5] == watch(lambda s: s.data.close[0], start=at(2), end=at(3))
    assert [5, 8] == watch(lambda s: s.data.close[0], start=at(2, 1))
    with pytest.raises(UsageError, match="no bar that closes between"):
        watch(len, start=at(9))


def test_stepping_bar_by_bar_sees_the_same():
    """
    Backtrader's slow mode delivers the same bars, and refuses to run without preloading.
    """

    def by_step(**mode: bool) -> list[float]:
        seen: list[float] = []
        cerebro = bt.Cerebro(stdstats=False, **mode)
        cerebro.adddata(PerpFeed(TAPE))
        cerebro.addstrategy(Diary, look=lambda s: s.data.close[0], seen=seen)
        cerebro.run()
        return seen

    assert [2, 3, 5, 8] == by_step(runonce=False)
    with pytest.raises(UsageError, match="preload=True"):
        by_step(runonce=False, preload=False)


def test_the_same_market_twice_is_refused():
    """
    Two markets of one symbol would be one position.
    """
    with pytest.raises(UsageError, match="ABC is given twice"):
        run([TAPE, TAPE], account(), {})


def test_backtraders_days_are_exact_to_the_second():
    """
    Hourly stamps over 80 years come back from float days within half a millisecond.
    """
    stamps = pd.date_range("1990-01-01", periods=700_000, freq="1h", tz="UTC")

    days = to_days(to_ns(stamps))

    for row in (0, 1, 12_345, 699_999):
        back = pd.Timestamp(bt.num2date(days[row]), tz="UTC")
        assert abs(back - stamps[row]) < pd.Timedelta("500us")


def test_each_settlement_belongs_to_one_bar():
    """
    Stamps at a close belong to the bar that ends there; those before the replay to none.
    """
    frame = bars(flat(1, 1, 1), missing=[1])  # closes at 1, 3 and 4
    stamps = {at(h): 0.001 for h in (0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5)}

    plan = schedule(frame, funding(stamps), None)

    hours = {
        name: {n: [s.stamp_ns for s in found] for n, found in part.items()}
        for name, part in (("before", plan.before), ("within", plan.within))
    }
    assert {1: [to_ns(at(1.5)), to_ns(at(2))]} == hours["before"]
    assert {
        0: [to_ns(at(0.5)), to_ns(at(1))],
        1: [to_ns(at(2.5)), to_ns(at(3))],
        2: [to_ns(at(4))],
    } == hours["within"]
