"""The base class of strategies that trade a model's signal.

Subclass it and say in ``target`` which exposure you want; the rest (asking the signal as of the
bar's close, sizing, rounding, the order) is done here. The whole Backtrader API stays reachable:
override ``next`` and place any order you like.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from engine.bridge import bt
from engine.broker import PerpBroker
from engine.feed import FormingFeed, PerpFeed
from engine.history import YEAR_NS
from engine.sizing import DEFAULT_EXPOSURE, Sizing, target_quantity
from perpwalk.domain import Bar, FloatArray, IntArray, Signal, from_ns, to_ns
from perpwalk.errors import UsageError
from perpwalk.finite import require_number
from perpwalk.signals import Observer, SignalSource

# Exposure at each close, NaN to leave things; or three such columns: while short, flat, long.
Wants = FloatArray | tuple[FloatArray, FloatArray, FloatArray]
_NOTIFICATIONS = ("notify_order", "notify_trade", "notify_cashvalue", "notify_fund")


class MarketView:
    """What a strategy may know of one market at a bar's close, and nothing else."""

    __slots__ = ("_broker", "_closes", "_desk", "_feed", "_per_year", "_share")

    def __init__(self, feed: PerpFeed, broker: PerpBroker, share: float = 1.0) -> None:
        self._feed = feed
        self._broker = broker
        self._desk = broker._desk(feed)
        self._share = share
        self._closes = feed.market.bars.close
        self._per_year = YEAR_NS / to_ns(feed.bars.interval)

    @property
    def symbol(self) -> str:
        """Name of the contract."""
        return self._desk.symbol

    @property
    def close(self) -> float:
        """Price at which the current bar closed."""
        return self._feed.closes[self._feed.bar]

    @property
    def equity(self) -> float:
        """Equity of the whole account at this close."""
        return self._broker.equity

    @property
    def position(self) -> float:
        """Signed quantity held now, in base currency."""
        return self._desk.holding.quantity

    @property
    def current_exposure(self) -> float:
        """Signed notional as a multiple of the contract's share of equity; 0 without equity."""
        equity = self._share * self._broker.equity
        return self._desk.holding.quantity * self.close / equity if equity > 0 else 0.0

    def past_close(self, bars_ago: int) -> float:
        """Return the close ``bars_ago`` bars back; 0 is the current bar's.

        Reaches back before the first bar of the replay where the market does; NaN beyond.

        Raises
        ------
        UsageError
            ``bars_ago`` is negative: that bar has not closed yet.
        """
        if bars_ago < 0:
            raise UsageError(f"past_close({bars_ago}) lies ahead; give a count of bars back")
        at = self._feed.first + self._feed.bar - bars_ago
        return float(self._closes[at]) if at >= 0 else math.nan

    def past_closes(self, bars: int) -> FloatArray:
        """Return the last ``bars`` closes, the current one last; fewer where there are fewer.

        A read-only view that reaches back before the first bar of the replay.
        """
        if bars < 1:
            raise UsageError(f"past_closes({bars}): ask for at least one")
        end = self._feed.first + self._feed.bar + 1
        closes: FloatArray = self._closes[max(0, end - bars) : end]
        return closes

    def past_volatility(self, bars: int) -> float:
        """Return the annualised deviation of the last ``bars`` log returns (365 days a year).

        NaN where there are fewer, or fewer than 2.
        """
        closes = self.past_closes(bars + 1)
        if bars < 2 or len(closes) <= bars:
            return math.nan
        return float(np.diff(np.log(closes)).std(ddof=1) * math.sqrt(self._per_year))

    @property
    def funding_rate(self) -> float | None:
        """Last rate settled by this close; None where there is none or it is stale."""
        return _known(self._feed.funding_rate[0])

    @property
    def hours_to_funding(self) -> float | None:
        """Hours to the next settlement as the schedule is known now; None where it is not.

        0 on a settlement's own stamp means that one is overdue: just settled, it is a whole
        interval.
        """
        return _known(self._feed.funding_due[0])

    @property
    def next_funding_estimate_ns(self) -> int | None:
        """When the next settlement is expected, in nanoseconds since 1970."""
        hours = self.hours_to_funding
        return None if hours is None else self._feed.now_ns + round(hours * 3_600_000_000_000)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def share_of(asked: float | None, contracts: int) -> float:
    """Return the part of equity that each contract trades with."""
    share = 1 / max(contracts, 1) if asked is None else float(asked)
    if not 0 < share < math.inf:
        raise UsageError(f"strategy.params.share is {asked}; give a number above 0, or leave it")
    return share


class _Audience:
    """Shows each delivered bar to a source that wants to see it, once and in order."""

    def __init__(self, feed: PerpFeed, source: Observer) -> None:
        self._feed = feed
        self._source = source
        self._shown = -1
        self._stamps: IntArray = to_ns(feed.market.funding.settle_time)
        first_open = int(to_ns(feed.bars.open_time[:1])[0]) if len(feed.bars) else 0
        # Settlements up to the close before the replay are the source's own past.
        before = feed.market.bars.close_time[feed.first - 1] if feed.first > 0 else None
        self._settled_ns = first_open if before is None else int(to_ns(before))

    def catch_up(self) -> None:
        """Show the bars that Backtrader has delivered since the last call."""
        feed = self._feed
        for number in range(self._shown + 1, feed.bar + 1):
            ago = number - feed.bar
            close_ns = feed.closes_ns[number]
            first = int(np.searchsorted(self._stamps, self._settled_ns, side="right"))
            stop = int(np.searchsorted(self._stamps, close_ns, side="right"))
            opened, closed = from_ns([close_ns - to_ns(feed.bars.interval), close_ns])
            bar = Bar(
                opened,
                closed,
                feed.open[ago],
                feed.high[ago],
                feed.low[ago],
                feed.close[ago],
                feed.volume[ago],
            )
            self._source.observe(bar, feed.market.funding.rows(first, stop))
            self._settled_ns = close_ns
        self._shown = feed.bar


class SignalStrategy(bt.Strategy):
    """Trades signals towards a target exposure.

    Of several contracts each has an equal share of equity: the exposure that ``target`` wants, and
    the one it is shown, are multiples of that share.

    Parameters (``strategy.params`` of the configuration)
    -----------------------------------------------------
    exposure
        Exposure that a full position takes, as a multiple of equity. The default 0.95 leaves 5 %
        at leverage 1 for fees and for the next open's distance from this close.
    rebalance_band
        How far exposure may drift before a position on the wanted side is traded again.
    share
        The part of equity that each contract trades with; None is one divided by their number. At
        1.0 every contract takes ``exposure`` of the whole equity.
    """

    asks_signal = True  # False: the same account whatever the model says (`perpwalk placebo`)

    # Backtrader merges the tuples of a class and its bases.
    params: tuple[tuple[str, Any], ...] = (
        ("exposure", DEFAULT_EXPOSURE),
        ("rebalance_band", 0.1),
        ("share", None),
    )

    def __init__(self) -> None:
        super().__init__()
        self._sizing = Sizing(self.p.rebalance_band)
        self._feeds: list[PerpFeed] = [d for d in self.datas if isinstance(d, PerpFeed)]
        self._share = share_of(self.p.share, len(self._feeds))
        self._views = {feed: MarketView(feed, self.broker, self._share) for feed in self._feeds}
        own = type(self)
        self.is_deaf = all(getattr(own, n) is getattr(bt.Strategy, n) for n in _NOTIFICATIONS)
        self._decided: dict[PerpFeed, int] = dict.fromkeys(self._feeds, -1)
        self._audiences = {
            feed: _Audience(feed, feed.signals)
            for feed in self._feeds
            if isinstance(feed.signals, Observer)
        }

    # ── to implement ─────────────────────────────────────────────────────────────────────────────

    def target(self, signal: Signal | None, market: MarketView) -> float | None:
        """Return the wanted exposure as a signed multiple of equity, or None to leave things.

        Where several contracts are traded, of this one's share of equity.

        Parameters
        ----------
        signal
            What the model says as of this bar's close; None where it says nothing.
        market
            What else may be known now.
        """
        raise NotImplementedError(f"{type(self).__name__} must implement target(signal, market)")

    # ── to use ───────────────────────────────────────────────────────────────────────────────────

    def view(self, data: Any = None) -> MarketView:
        """Return what may be known of a market now; the first one's by default."""
        return self._views[self.data if data is None else data]

    def forming(self, data: Any = None) -> FormingFeed:
        """Return the coarser bar as it forms, of the first market by default.

        Raises
        ------
        UsageError
            The replay shows none: ``strategy.forming`` says how long it should be.
        """
        symbol = (self.data if data is None else data).market.symbol
        for feed in self.datas:
            if isinstance(feed, FormingFeed) and feed.market.symbol == symbol:
                return feed
        raise UsageError(
            f"{type(self).__name__} asks for the forming bar of {symbol} and there is none; set "
            "strategy.forming, like 4h"
        )

    def signal(self, data: Any = None) -> Signal | None:
        """Return the model's signal as of the current bar's close; None where it has none."""
        feed = self.data if data is None else data
        source: SignalSource | None = feed.signals
        if source is None:
            return None
        audience = self._audiences.get(feed)
        if audience is not None:
            audience.catch_up()
        return source.at(feed.now_ns)

    def aim(self, wanted: float, data: Any = None) -> Any:
        """Trade towards an exposure if it is worth an order; return the order or None."""
        feed = self.data if data is None else data
        view = self._views[feed]
        require_number(wanted, "what target() returned", "return a finite exposure or None")
        if self.broker.is_bankrupt or not self._sizing.needs_order(wanted, view.current_exposure):
            return None
        step = view._desk.holding.step
        quantity = target_quantity(wanted, max(self._share * view.equity, 0.0), view.close, step)
        return self.broker.aim(self, feed, quantity)

    def start(self) -> None:
        """Listen if an analyzer does."""
        self.is_deaf = self.is_deaf and not (self.analyzers or self._slave_analyzers)

    # ── what Backtrader calls ────────────────────────────────────────────────────────────────────

    def next(self) -> None:
        """Ask for the signal of each market whose bar just closed and trade towards the target."""
        for feed in self._feeds:
            if feed.bar == self._decided[feed]:
                continue  # another market's bar closed
            self._decided[feed] = feed.bar
            try:
                wanted = self.target(self.signal(feed), self._views[feed])
            except Exception as error:
                when = from_ns([feed.now_ns])[0]
                name = type(self).__name__
                error.add_note(f"in {name}, {feed._name}, at the bar that closed at {when}")
                raise
            if wanted is not None:
                self.aim(wanted, feed)

    def _notify(self, qorders: Any = (), qtrades: Any = ()) -> None:
        if not self.is_deaf:
            super()._notify(qorders, qtrades)

    def order_target_size(self, data: Any = None, target: float = 0.0, **kwargs: Any) -> Any:
        """Trade towards a signed quantity, counting what still waits at market."""
        if kwargs:
            return super().order_target_size(data=data, target=target, **kwargs)
        feed = self._feed(data)
        return self.broker.aim(self, feed, target)

    def order_target_value(
        self, data: Any = None, target: float = 0.0, price: float | None = None, **kwargs: Any
    ) -> Any:
        """Trade towards a signed notional, valued at the close unless ``price`` is given."""
        if kwargs:
            return super().order_target_value(data=data, target=target, price=price, **kwargs)
        feed = self._feed(data)
        return self.broker.aim(self, feed, target / (feed.close[0] if price is None else price))

    def _feed(self, data: Any) -> Any:
        if isinstance(data, str):
            return self.getdatabyname(data)
        return self.data if data is None else data
