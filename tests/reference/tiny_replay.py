"""Markets of a few bars written as text, and a replay of whatever a test wants to do in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from engine.replay import ReplayMarket, replay
from engine.strategy import SignalStrategy
from perpwalk.config import BrokerSection, TierSection
from perpwalk.domain import BarFrame, FundingFrame, Market
from perpwalk.ledger import Ledger

HOUR = pd.Timedelta("1h")
START = pd.Timestamp("2024-01-01T00:00:00Z")
FREE: dict[str, Any] = {
    "cash": 1_000.0,
    "taker_fee": 0.0,
    "maker_fee": 0.0,
    "liquidation_fee": 0.0,
    "min_notional": 0.0,
    "slippage": {"kind": "none"},
    "tiers": (TierSection(notional_floor=0, maintenance_rate=0.005),),
}
FourPrices = tuple[float, float, float, float]


def account(**settings: Any) -> BrokerSection:
    """Return an account without costs, but for what is asked."""
    return BrokerSection.model_validate({**FREE, **settings})


def at(hours: float, seconds: float = 0.0) -> pd.Timestamp:
    """Return the stamp so many hours after the first bar's open."""
    return START + pd.Timedelta(hours=hours, seconds=seconds)


def bars(
    prices: Sequence[FourPrices],
    *,
    volume: float | Sequence[float] = 1e6,
    filled: Sequence[bool] | None = None,
    missing: Sequence[int] = (),
    symbol: str = "ABC",
    interval: pd.Timedelta = HOUR,
) -> BarFrame:
    """Return bars of (open, high, low, close); ``missing`` are hours left out between them."""
    hours = [n for n in range(len(prices) + len(missing)) if n not in missing]
    frame = pd.DataFrame(prices, columns=["open", "high", "low", "close"], dtype=float)
    frame["volume"] = volume
    frame.index = pd.DatetimeIndex([START + n * interval for n in hours])
    return BarFrame.of(frame, symbol=symbol, interval=interval, filled=filled)


def flat(*closes: float) -> list[FourPrices]:
    """Return bars that open at the close before them and reach no further than open and close."""
    opens = (closes[0], *closes[:-1])
    return [(o, max(o, c), min(o, c), c) for o, c in zip(opens, closes, strict=True)]


def funding(
    records: Mapping[pd.Timestamp, float],
    marks: Sequence[float] | None = None,
    symbol: str = "ABC",
) -> FundingFrame:
    """Return settlements from ``{stamp: rate}``."""
    index = pd.DatetimeIndex(list(records), tz="UTC")
    return FundingFrame.of(index, list(records.values()), marks, symbol=symbol)


def market(frame: BarFrame, rates: FundingFrame | None = None, **more: Any) -> Market:
    """Return a market, without settlements unless given."""
    settled = FundingFrame.empty(frame.symbol) if rates is None else rates
    return Market(bars=frame, funding=settled, **more)


Act = Callable[["Puppet", int], None]


class Puppet(SignalStrategy):
    """Does what the test says at each close; ``n`` counts its bars from 0."""

    params: tuple[tuple[str, Any], ...] = (("act", None), ("on_order", None))

    def next(self) -> None:
        """Let the test act."""
        self.p.act(self, len(self) - 1)

    def notify_order(self, order: Any) -> None:
        """Let the test hear of orders."""
        if self.p.on_order is not None:
            self.p.on_order(order)


def run(
    markets: Market | Sequence[Market],
    broker: BrokerSection,
    act: Act | Mapping[int, float],
    **more: Any,
) -> Ledger:
    """Replay with ``act(strategy, n)``, or towards targets given as ``{n: quantity}``."""
    several = [markets] if isinstance(markets, Market) else list(markets)
    if isinstance(act, Mapping):
        targets = act

        def act(strategy: Puppet, n: int) -> None:
            if n in targets:
                strategy.order_target_size(target=targets[n])

    params = {"act": act, "on_order": more.pop("on_order", None)}
    ledger = replay([ReplayMarket(one) for one in several], Puppet, params, broker, **more)
    worst, finding = ledger.check_identity()
    assert finding is None, (worst, finding)
    return ledger


def fills(ledger: Ledger) -> list[tuple[float, float]]:
    """Return (quantity, price) of each fill."""
    rounded = np.round(ledger.fills[["quantity", "price"]].to_numpy(), 9)
    return [(float(quantity), float(price)) for quantity, price in rounded]


def fates(ledger: Ledger) -> list[tuple[str, str]]:
    """Return (status, reason) of each order."""
    return list(zip(ledger.orders["status"], ledger.orders["reason"], strict=True))
