"""What any signal has to beat: holding, and betting on the direction that came up more often."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.history import History
from engine.strategy import MarketView, SignalStrategy, Wants
from perpwalk.domain import FloatArray, Signal


class BuyAndHold(SignalStrategy):
    """Buys at the first decision and holds, paying funding like everyone else.

    The quantity is never changed, whatever the exposure drifts to.
    """

    asks_signal = False

    def target(self, signal: Signal | None, market: MarketView) -> float | None:  # noqa: ARG002
        """Return full exposure once."""
        return float(self.p.exposure) if market.position == 0 else None

    @classmethod
    def plan(cls, p: Any, past: History) -> Wants:
        """Return full exposure while nothing is held."""
        leave = np.full(len(past), np.nan)
        return leave, np.full(len(past), float(p.exposure)), leave


class Majority(SignalStrategy):
    """Bets on the side that came up more often in the past, as the ``majority`` model predicts.

    It needs no forecast, so that it can stand beside any model. The vote is taken anew every
    ``refresh`` bars, as a walk-forward refits.

    Parameters
    ----------
    window
        How many past moves vote; ties do not.
    refresh
        How many bars a vote holds.
    """

    asks_signal = False
    params = (("window", 17_520), ("refresh", 2_160))

    def __init__(self) -> None:
        super().__init__()
        self._votes: dict[str, tuple[float, int]] = {}

    def target(self, signal: Signal | None, market: MarketView) -> float | None:  # noqa: ARG002
        """Return full exposure on the side of the last vote; None where it was a draw."""
        side, held = self._votes.get(market.symbol, (0.0, self.p.refresh))
        if held >= self.p.refresh:
            side, held = self._vote(market), 0
        self._votes[market.symbol] = (side, held + 1)
        return None if side == 0 else float(side * self.p.exposure)

    def _vote(self, market: MarketView) -> float:
        return _majority(market.past_closes(self.p.window + 1))

    @classmethod
    def plan(cls, p: Any, past: History) -> Wants:
        """Return full exposure on the side of the last vote before each close."""
        votes = [
            _majority(past.past_closes(row, p.window + 1)) for row in range(0, len(past), p.refresh)
        ]
        side = np.repeat(votes, p.refresh)[: len(past)]
        return np.where(side == 0, np.nan, side * p.exposure)


def _majority(closes: FloatArray) -> float:
    return float(np.sign(np.sign(np.diff(closes)).sum()))
