"""What any signal has to beat: holding, and betting on the direction that came up more often."""

from __future__ import annotations

import numpy as np

from engine.strategy import MarketView, SignalStrategy
from perpwalk.domain import Signal


class BuyAndHold(SignalStrategy):
    """Buys at the first decision and holds, paying funding like everyone else.

    The quantity is never changed, whatever the exposure drifts to.
    """

    def target(self, signal: Signal | None, market: MarketView) -> float | None:  # noqa: ARG002
        """Return full exposure once."""
        return float(self.p.exposure) if market.position == 0 else None


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
        moves = np.diff(market.past_closes(self.p.window + 1))
        return float(np.sign(np.sign(moves).sum()))
