"""What trading cost: gross to net, the same book at other cost levels, break-even points.

Pure functions of an equity table (``perpwalk.ledger.EQUITY_COLUMNS``). Costs are scaled by booking:
the trades stay as they were, which is exact for fixed sizes and an approximation where sizes follow
equity.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from perpwalk.domain import FloatArray

COST_MULTIPLES = (0.0, 1.0, 2.0, 3.0)


@dataclass(frozen=True, slots=True)
class CostSummary:
    """Sums over a replay in quote currency; costs positive when paid, funding when received."""

    initial_equity: float
    gross: float
    fees: float
    slippage: float
    funding: float
    liquidation: float
    traded_notional: float

    @classmethod
    def of(cls, equity: pd.DataFrame) -> CostSummary:
        """Add up an equity table."""
        total = {name: float(equity[name].sum()) for name in _PARTS}
        return cls(
            initial_equity=equity_before(equity),
            gross=total["price_pnl"],
            fees=total["fee"],
            slippage=total["slippage"],
            funding=total["funding"],
            liquidation=total["liquidation"],
            traded_notional=total["traded_notional"],
        )

    @property
    def net(self) -> float:
        """Change in equity."""
        return self.net_at(1.0)

    def net_at(self, multiple: float) -> float:
        """Return net PnL had fees and slippage been ``multiple`` times as high."""
        costs = multiple * (self.fees + self.slippage)
        return self.gross - costs + self.funding - self.liquidation

    @property
    def break_even_fee(self) -> float | None:
        """The fee, a fraction of notional per side, at which the net is 0; None without trades.

        Negative where the strategy would have to be paid for trading.
        """
        if self.traded_notional == 0:
            return None
        before_fees = self.gross + self.funding - self.slippage - self.liquidation
        return before_fees / self.traded_notional

    @property
    def fee_paid(self) -> float | None:
        """What was paid per side on average, a fraction of notional; None without trades."""
        return self.fees / self.traded_notional if self.traded_notional else None


_PARTS = ("price_pnl", "fee", "slippage", "funding", "liquidation", "traded_notional")


def equity_before(equity: pd.DataFrame, row: int = 0) -> float:
    """Return equity just before the bar in ``row``; before the first, undo that bar's parts."""
    if row > 0:
        return float(equity["equity"].iloc[row - 1])
    if equity.empty:
        return 0.0
    first = equity.iloc[0]
    gained = first["price_pnl"] - first["fee"] - first["slippage"] + first["funding"]
    return float(first["equity"] - gained + first["liquidation"])


def cost_multiples(summary: CostSummary) -> pd.DataFrame:
    """Return net PnL and total return at 0x, 1x, 2x and 3x the fees and slippage paid."""
    start = summary.initial_equity
    return pd.DataFrame(
        {
            "multiple": COST_MULTIPLES,
            "fees_and_slippage": [m * (summary.fees + summary.slippage) for m in COST_MULTIPLES],
            "net_pnl": [summary.net_at(m) for m in COST_MULTIPLES],
            "total_return": [summary.net_at(m) / start for m in COST_MULTIPLES],
        }
    )


def break_even_accuracy(mean_absolute_return: float, round_trip_cost: float) -> float | None:
    """Return the hit rate that pays a round trip, hits and misses being equally large.

    ``0.5 + cost / (2 E|r|)``, both as fractions; None where nothing moves. Above 1 means that no
    accuracy would do.

    >>> round(break_even_accuracy(0.00343, 0.0010), 3)
    0.646
    """
    if mean_absolute_return == 0:
        return None
    return 0.5 + round_trip_cost / (2 * mean_absolute_return)


def share_of_best(net_pnl: FloatArray, count: int = 5) -> float | None:
    """Return what share of the net profit the best ``count`` items earned; None without profit."""
    total = float(net_pnl.sum())
    if total <= 0:
        return None
    best = sorted(net_pnl.tolist(), reverse=True)[:count]
    return float(sum(best)) / total
