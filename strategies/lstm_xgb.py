"""Strategies that trade a model's signal. Copy one, rename it, change ``target``.

``target`` is asked once at each bar's close and returns the exposure you want as a signed multiple
of equity (+0.95: long for 95 % of it), or None to leave things as they are. The order fills at the
next bar's open. Any model can stand behind the signal; LSTM + XGBoost is the default one.

``plan`` says the same for all closes at once, in columns (NaN: leave things), for the compiled
account and for sweeps; a strategy of your own needs none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.history import History
from engine.strategy import MarketView, SignalStrategy, Wants
from perpwalk.domain import FloatArray, Side, Signal


class LongShort(SignalStrategy):
    """Always in the market: long above the fold's threshold, short below it.

    Its exposure is ``exposure`` in either direction; on the threshold exactly, or without a signal,
    it keeps what it has.
    """

    def target(self, signal: Signal | None, market: MarketView) -> float | None:  # noqa: ARG002
        """Return full exposure on the signal's side."""
        if signal is None or signal.side is Side.FLAT:
            return None
        return float(signal.side * self.p.exposure)

    @classmethod
    def plan(cls, p: Any, past: History) -> Wants:
        """Return full exposure on each signal's side."""
        return np.where(past.side == 0, np.nan, past.side * p.exposure)


class LongFlat(SignalStrategy):
    """Long above the fold's threshold, out of the market otherwise."""

    def target(self, signal: Signal | None, market: MarketView) -> float | None:  # noqa: ARG002
        """Return full exposure or none."""
        if signal is None:
            return None
        return float(self.p.exposure) if signal.side is Side.LONG else 0.0

    @classmethod
    def plan(cls, p: Any, past: History) -> Wants:
        """Return full exposure or none."""
        long_or_flat = np.where(past.side > 0, float(p.exposure), 0.0)
        return np.where(np.isnan(past.side), np.nan, long_or_flat)


class ProbabilityScaled(SignalStrategy):
    """The surer the model, the larger the position.

    Parameters
    ----------
    full_strength
        The strength (distance from the threshold, doubled, in [0, 1]) that takes the whole
        ``exposure``; hourly models rarely stray further than 0.1.
    """

    params = (("full_strength", 0.1),)

    def target(self, signal: Signal | None, market: MarketView) -> float | None:  # noqa: ARG002
        """Return exposure in proportion to the signal's strength."""
        if signal is None:
            return None
        share = max(-1.0, min(1.0, signal.strength / self.p.full_strength))
        return float(share * self.p.exposure)

    @classmethod
    def plan(cls, p: Any, past: History) -> Wants:
        """Return exposure in proportion to each signal's strength."""
        share: FloatArray = np.clip(past.strength / p.full_strength, -1.0, 1.0) * p.exposure
        return share


class VolatilityTargeted(SignalStrategy):
    """Takes the signal's side with less when the market is wild, so that risk stays even.

    Parameters
    ----------
    annual_volatility
        The volatility of equity that is aimed at, as a fraction a year.
    window
        How many past bars the market's volatility is estimated from.
    """

    params = (("annual_volatility", 0.4), ("window", 168))

    def target(self, signal: Signal | None, market: MarketView) -> float | None:
        """Return the exposure whose volatility is the one aimed at, ``exposure`` at most."""
        past_volatility = market.past_volatility(self.p.window)
        if signal is None or signal.side is Side.FLAT or not past_volatility > 0:
            return None
        size = min(self.p.exposure, self.p.annual_volatility / past_volatility)
        return float(signal.side * size)

    @classmethod
    def plan(cls, p: Any, past: History) -> Wants:
        """Return the exposure whose volatility is the one aimed at, ``exposure`` at most."""
        past_volatility = past.past_volatility(p.window)
        known = (past.side != 0) & (past_volatility > 0)
        with np.errstate(divide="ignore"):
            size = np.minimum(p.exposure, p.annual_volatility / past_volatility)
        return np.where(known, past.side * size, np.nan)


class FundingAware(SignalStrategy):
    """Like LongShort, but does not pay funding for a weak signal.

    Close to a settlement that its side would pay, a weak signal opens nothing. A position that is
    held already is kept, because leaving and returning costs two fees, unless the rate is higher
    than that.

    Parameters
    ----------
    weak_strength
        Strength (in [0, 1]) below which a signal is not worth a payment.
    hours_before
        How long before the expected settlement the rule holds; at least one bar.
    exit_rate
        The rate from which a weak signal's position is closed rather than kept: about what a round
        trip costs.
    """

    params = (("weak_strength", 0.05), ("hours_before", 2.0), ("exit_rate", 0.0012))

    def target(self, signal: Signal | None, market: MarketView) -> float | None:
        """Return full exposure on the signal's side, or none where it would pay for little."""
        if signal is None or signal.side is Side.FLAT:
            return None
        side = float(signal.side)
        is_weak = abs(signal.strength) < self.p.weak_strength
        if is_weak and not self._is_worth_paying(side, market):
            return 0.0
        return float(side * self.p.exposure)

    def _is_worth_paying(self, side: float, market: MarketView) -> bool:
        """Say whether the next settlement is far, in our favour, or cheaper than a round trip."""
        rate, hours = market.funding_rate, market.hours_to_funding
        if rate is None or hours is None or hours > self.p.hours_before:
            return True
        cost = side * rate  # longs pay a positive rate, shorts a negative one
        is_held = side * market.position > 0
        return cost <= 0 or (is_held and cost < float(self.p.exit_rate))

    @classmethod
    def plan(cls, p: Any, past: History) -> Wants:
        """Return full exposure or none, by the side that is held."""
        side, cost = past.side, past.side * past.funding_rate
        due = past.hours_to_funding <= p.hours_before  # False where it is not known
        pays = (np.abs(past.strength) < p.weak_strength) & due & (cost > 0)
        leaves = pays & (cost >= p.exit_rate)
        full = np.where(side == 0, np.nan, side * p.exposure)

        def held(on: float) -> FloatArray:
            return np.where(np.where(side == on, leaves, pays), 0.0, full)

        return held(-1.0), held(0.0), held(1.0)
