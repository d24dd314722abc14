"""Orders decided on coarse bars meet the finer bars inside: in their order, and never ahead."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from quartered_hours import HOUR, QUARTER, FollowHours, quartered
from tiny_replay import account, at, bars, funding, market, run

from engine import ledger_engine
from engine.bridge import bt
from engine.crosscheck import crosscheck
from engine.replay import ReplayMarket, replay
from perpwalk.config import BrokerSection, MarketSection, resolve
from perpwalk.data import load_market
from perpwalk.data.resample import inside, resample
from perpwalk.data.store import Piece, Rows, SeriesKey, open_shelf
from perpwalk.domain import Level, Market
from perpwalk.errors import ConfigError, DataError


def within(prices: list[tuple[float, ...]], **more: Any) -> Market:
    """Return hours made of the given quarters, which stand inside."""
    fine = bars(prices, interval=QUARTER, **more)
    coarse, _ = resample(fine, HOUR)
    rates = funding({at(1.25): 0.001, at(2): 0.0002})
    return market(coarse, rates, inside=market(inside(fine, coarse), rates))


CALM = (100.0, 100.0, 100.0, 100.0)


def guarded(strategy: Any, bar: int) -> None:
    """Buy, and an hour later ask for a stop below and a limit above, of which one cancels both."""
    if bar == 0:
        strategy.buy(size=1)
    if bar == 1:
        stop = strategy.sell(size=1, exectype=bt.Order.Stop, price=95.0)
        strategy.sell(size=1, exectype=bt.Order.Limit, price=105.0, oco=stop)


def test_the_finer_bars_say_whether_stop_or_limit_came_first():
    """The hour reaches both; its second quarter touches the limit, its fourth the stop."""
    wild = [CALM, (100, 106, 100, 101), (101, 101, 99, 99), (99, 99, 90, 96)]
    hours = within([CALM] * 8 + wild)
    alone = market(hours.bars, hours.funding)

    fine, coarse = (run([one], account(), guarded) for one in (hours, alone))

    assert [100.0, 105.0] == fine.fills["price"].tolist()
    assert [at(1), at(2.5)] == fine.fills["time"].tolist()
    assert [1, 2] == fine.fills["bar"].tolist()
    assert [100.0, 95.0] == coarse.fills["price"].tolist()  # the worse, for want of knowing


def test_the_children_of_a_bracket_are_active_in_the_next_finer_bar():
    """Bought at 01:00, taken out by the limit at 01:30: within the hour that filled the parent."""

    def act(strategy: Any, bar: int) -> None:
        if bar == 0:
            strategy.buy_bracket(size=1, exectype=bt.Order.Market, stopprice=95.0, limitprice=105.0)

    book = run([within([CALM] * 5 + [(100, 106, 100, 101)] + [CALM] * 2)], account(), act)

    assert [(at(1), 100.0), (at(1.5), 105.0)] == list(
        zip(book.fills["time"], book.fills["price"], strict=True)
    )


def test_a_dated_order_expires_by_the_finer_bars():
    """Good till 01:20, it is met by the first quarter alone and not by the one that touches it."""

    def act(strategy: Any, bar: int) -> None:
        if bar == 0:
            until = pd.Timedelta("20min").to_pytimedelta()
            strategy.buy(size=1, exectype=bt.Order.Limit, price=98.0, valid=until)

    reached = [CALM, (100, 100, 97, 100), CALM, CALM]
    book = run([within([CALM] * 4 + reached)], account(), act)

    assert ["expired"] == book.orders["status"].tolist()


def test_a_decision_fills_at_the_next_finer_open_and_sees_coarse_bars_only():
    """Decided at 01:00, filled at the open of 01:00's first quarter; closes seen are the hours'."""
    seen: list[float] = []

    def act(strategy: Any, bar: int) -> None:
        seen.append(strategy.view().close)
        if bar == 0:
            strategy.order_target_size(target=1.0)

    rising = [(100.0 + i, 101.0 + i, 100.0 + i, 101.0 + i) for i in range(12)]
    book = run([within(rising)], account(), act)

    assert [104.0, 108.0, 112.0] == seen
    assert [(at(1), 104.0)] == list(zip(book.fills["time"], book.fills["price"], strict=True))
    assert 3 == len(book.equity)


def test_a_liquidation_is_judged_quarter_by_quarter():
    """A position that a stop has closed at 01:15 is not liquidated by the low of 01:30."""

    def act(strategy: Any, bar: int) -> None:
        if bar == 0:
            strategy.buy(size=40)
            strategy.sell(size=40, exectype=bt.Order.Stop, price=98.0)

    quarters = [CALM] * 4 + [CALM, (100, 100, 97, 97), (97, 97, 50, 60), (60, 60, 60, 60)]
    book = run([within(quarters)], account(leverage=5.0), act)

    assert [100.0, 98.0] == book.fills["price"].tolist()
    assert 0.0 == book.equity["liquidation"].sum()


@pytest.mark.parametrize("share", [None, 1e-7])
@pytest.mark.parametrize("gone", [(), (9, 10)])
def test_the_second_ledger_agrees_on_finer_bars(share, gone):
    """Computed again from the targets on quarters alone, each hour's row is the same to 1e-9."""
    hours = quartered(2, gone)
    rules = account(leverage=3.0, taker_fee=0.0005, volume_share=share)

    book = replay([ReplayMarket(hours)], FollowHours, {}, rules)
    found = crosscheck(hours, book, rules)

    assert Level.INFO == found.level, found
    assert "agrees" in found.message
    assert len(book.fills) > 20
    assert len(hours.bars) == len(book.equity)


def test_a_configuration_keeps_the_finer_bars(tmp_path):
    """market.intrabar beside resample_from; without it, or with the ledger engine, it is told."""
    path = tmp_path / "quarters.csv"
    bars([CALM] * 40, interval=QUARTER).to_frame().rename_axis("timestamp").to_csv(path)
    section = MarketSection(
        symbol="ABC", ohlcv=str(path), resample_from="15m", intrabar=True,
        missing_funding="drop_features",
    )  # fmt: skip

    loaded = load_market(section, seed=0)

    assert loaded.inside is not None
    assert (10, 40) == (len(loaded.bars), len(loaded.inside.bars))
    with pytest.raises(ConfigError, match=r"market\.intrabar.*resample_from"):
        load_market(section.model_copy(update={"resample_from": None}), seed=0)
    with pytest.raises(ConfigError, match=r"market\.intrabar.*no finer ones"):
        ledger_engine.replay([ReplayMarket(loaded)], FollowHours, {}, BrokerSection())
    hours = tmp_path / "mark.csv"
    loaded.bars.to_frame().rename_axis("timestamp").to_csv(hours)
    with pytest.raises(DataError, match="mark candles of 0 days 01:00:00"):
        load_market(section.model_copy(update={"mark": str(hours)}), seed=0)


def test_finer_bars_from_the_store_are_replayed_as_those_of_a_file(tmp_path):
    """Quarters in the store, with their mark candles: fills, equity and second ledger agree."""
    fine = quartered(3).inside.bars
    prices = np.array([fine.open, fine.high, fine.low, fine.close, fine.volume])
    time = fine.open_time.as_unit("ms").asi8
    span = int(time[0]), int(time[-1]) + QUARTER.value // 10**6
    for kind, values in (("ohlcv", prices), ("mark", prices[:4] * 1.0001)):
        with open_shelf(tmp_path, SeriesKey.of("binance", "ABC", kind, "15m")) as shelf:
            shelf.add([Piece(*span, "api", 0)], Rows(time, values))
            shelf.fold()
    with open_shelf(tmp_path, SeriesKey.of("binance", "ABC", "funding", "1h")) as shelf:
        every = time[32::32]
        paid = np.array([np.full(len(every), 1e-3), np.full(len(every), np.nan)])
        shelf.add([Piece(*span, "api", 0)], Rows(every, paid))
        shelf.fold()
    stored = {"exchange": "binance", "store": str(tmp_path)}
    files = {kind: str(tmp_path / f"{kind}.csv") for kind in ("ohlcv", "mark", "funding")}
    for kind, values in (("ohlcv", prices), ("mark", prices[:4] * 1.0001)):
        names = ("open", "high", "low", "close", "volume")[: len(values)]
        table = pd.DataFrame(dict(zip(names, values, strict=True)), index=fine.open_time)
        table.rename_axis("timestamp").to_csv(files[kind])
    pd.DataFrame({"timestamp": every, "funding_rate": 1e-3}).to_csv(files["funding"], index=False)
    common = {"symbol": "ABC", "resample_from": "15m", "intrabar": True}
    rules = account(leverage=3.0)

    loaded = [
        load_market(resolve({"market": {**common, **source}}).market, seed=0)
        for source in (stored, files)
    ]
    books = [replay([ReplayMarket(one)], FollowHours, {}, rules) for one in loaded]

    assert loaded[0].inside is not None
    assert len(fine) == len(loaded[0].inside.bars) == 4 * len(loaded[0].bars)
    assert len(books[0].fills) > 20
    pd.testing.assert_frame_equal(books[1].fills, books[0].fills)
    pd.testing.assert_frame_equal(books[1].equity, books[0].equity)
    assert Level.INFO == crosscheck(loaded[0], books[0], rules).level
