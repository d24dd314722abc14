"""One replay: markets, a strategy and an account in; the book out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from engine.bridge import bt
from engine.broker import PerpBroker
from engine.feed import FormingFeed, FundingFeed, PerpFeed
from perpwalk.config import BrokerSection, StrategySection
from perpwalk.data.market import fixed_length
from perpwalk.domain import IntArray, Market, to_ns
from perpwalk.errors import UsageError
from perpwalk.ledger import Ledger
from perpwalk.signals import SignalSource


@dataclass(frozen=True, eq=False)
class ReplayMarket:
    """One contract to replay, and who says what its signal is."""

    market: Market
    signals: SignalSource | None = None


def replay(
    markets: Sequence[ReplayMarket],
    strategy: type,
    params: Mapping[str, Any],
    broker: BrokerSection,
    *,
    start: pd.Timestamp | None = None,
    end: pd.Timestamp | None = None,
    funding_feeds: bool = False,
    forming: pd.Timedelta | None = None,
    on_bar: Callable[[int, int], None] | None = None,
) -> Ledger:
    """Replay bars and settlements through one continuous account and return its book.

    Parameters
    ----------
    markets
        One or more; each symbol once. The first one's price and position stand in the book.
    strategy, params
        A Backtrader strategy and its parameters.
    broker
        The account: cash, leverage, fees, margins, fills.
    start, end
        Bars whose close lies in ``[start, end]`` are replayed: the first decision falls on
        ``start``. None means the first, or last, bar there is.
    funding_feeds
        Add a ``FundingFeed`` after all price feeds for each market.
    forming
        Add, last, a ``FormingFeed`` for each market: the coarse bar of this length as it forms with
        every bar of the replay (Backtrader's ``replaydata``). Decisions are then made, and orders
        filled, at every fine bar.
    on_bar
        Called after each bar with the number of bars done and of all.

    Returns
    -------
    Ledger
        Positions open at the end are valued at the last close, not closed; orders that still wait
        are listed as pending.

    Raises
    ------
    UsageError
        No market, a symbol twice, or no bar between ``start`` and ``end``.
    """
    _check_symbols(markets)
    feeds = [_feed(one, start, end) for one in markets]
    account = PerpBroker(broker, feeds, on_bar=on_bar)
    cerebro = bt.Cerebro(
        stdstats=False, runonce=True, preload=True, cheat_on_open=broker.cheat_on_open
    )
    cerebro.setbroker(account)
    for feed in feeds:
        cerebro.adddata(feed)
    if funding_feeds:
        for feed in feeds:
            funding = FundingFeed(feed.market, feed.first, feed.first + len(feed.bars))
            cerebro.adddata(funding, name=f"{feed._name}-funding")
    if forming is not None:
        for feed in feeds:
            coarse = FormingFeed(feed.market, forming, feed.first, feed.first + len(feed.bars))
            cerebro.adddata(coarse, name=f"{feed._name}-forming")
    cerebro.addstrategy(strategy, **params)
    with fewer_collections():
        cerebro.run()
    return account.ledger()


def forming_length(section: StrategySection) -> pd.Timedelta | None:
    """Return how long the forming bar that the strategy sees is; None where it sees none."""
    if section.forming is None:
        return None
    return fixed_length(section.forming, key="strategy.forming")


@contextmanager
def fewer_collections() -> Iterator[None]:
    """Let Python look for cycles less often: a replay makes many objects and keeps most of them."""
    before = gc.get_threshold()
    gc.set_threshold(100_000, 50, 1000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _check_symbols(markets: Sequence[ReplayMarket]) -> None:
    symbols = [one.market.symbol for one in markets]
    if not symbols:
        raise UsageError("a replay needs at least one market")
    twice = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
    if twice:
        raise UsageError(f"{', '.join(twice)} is given twice; replay each symbol once")


def replayed_bars(
    market: Market, start: pd.Timestamp | None, end: pd.Timestamp | None
) -> tuple[int, int]:
    """Return the first and past the last of the bars that close in ``[start, end]``.

    Raises
    ------
    UsageError
        There is none.
    """
    closes: IntArray = to_ns(market.bars.close_time)
    first = 0 if start is None else int(np.searchsorted(closes, to_ns(start), side="left"))
    stop = len(closes) if end is None else int(np.searchsorted(closes, to_ns(end), side="right"))
    if first >= stop:
        raise UsageError(f"{market.symbol} has no bar that closes between {start} and {end}")
    return first, stop


def _feed(one: ReplayMarket, start: pd.Timestamp | None, end: pd.Timestamp | None) -> PerpFeed:
    return PerpFeed(one.market, *replayed_bars(one.market, start, end), signals=one.signals)
