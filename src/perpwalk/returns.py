"""Numbers of a return series: growth, risk and their ratios.

``returns`` are simple returns per bar, shape (n,); ``bars_per_year`` is the true number of bars in
365 days, never 252 days' worth. A number that is undefined is None.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from perpwalk.domain import FloatArray
from perpwalk.uncertainty.sharpe import SharpeStats, sharpe_stats

YEAR = pd.Timedelta(days=365)


def bars_per_year(interval: pd.Timedelta) -> float:
    """Return how many bars a year of 365 days has.

    >>> bars_per_year(pd.Timedelta("1h"))
    8760.0
    """
    return YEAR / interval


def finite(value: float) -> float | None:
    """Return ``value``, or None where it is not a finite number."""
    return value if math.isfinite(value) else None


def equity_returns(equity_before: float, equity: FloatArray) -> FloatArray:
    """Return simple returns of an equity curve that starts at ``equity_before``.

    Once equity is 0 nothing can be earned any more: later returns are 0.
    """
    previous = np.concatenate([[equity_before], equity[:-1]])
    alive = previous > 0
    returns: FloatArray = np.where(alive, equity / np.where(alive, previous, 1.0) - 1, 0.0)
    return returns


def total_return(returns: FloatArray) -> float:
    """Return the compounded return of the whole series."""
    return float(np.prod(1 + returns) - 1)


def cagr(total: float, bars: int, per_year: float) -> float | None:
    """Return the compound annual growth of ``total`` earned over ``bars`` bars."""
    if bars == 0 or total < -1:
        return None
    try:
        return finite((1 + total) ** (per_year / bars) - 1)
    except OverflowError:
        return None


def volatility(returns: FloatArray, per_year: float) -> float | None:
    """Return the annualised standard deviation (ddof 1); None below two bars."""
    if len(returns) < 2:
        return None
    return float(returns.std(ddof=1)) * math.sqrt(per_year)


def sortino(returns: FloatArray, per_year: float) -> float | None:
    """Return mean over downside deviation, annualised; None without a losing bar.

    The downside deviation is the root of the mean over *all* bars of the squared losses.
    """
    downside = math.sqrt(float(np.mean(np.minimum(returns, 0) ** 2))) if len(returns) else 0.0
    if downside == 0:
        return None
    return float(returns.mean()) / downside * math.sqrt(per_year)


def drawdowns(returns: FloatArray) -> FloatArray:
    """Return the fall from the highest point so far, ≤ 0, the start counting as a high."""
    curve = np.cumprod(1 + returns)
    highest = np.maximum.accumulate(np.maximum(curve, 1.0))
    fall: FloatArray = curve / highest - 1
    return fall


def max_drawdown(returns: FloatArray) -> float | None:
    """Return the deepest drawdown, ≤ 0; None without bars."""
    return float(drawdowns(returns).min()) if len(returns) else None


def calmar(growth: float | None, drawdown: float | None) -> float | None:
    """Return annual growth over the deepest drawdown; None where either is missing or 0."""
    if growth is None or drawdown is None or drawdown == 0:
        return None
    return growth / abs(drawdown)


def annual_sharpe(
    returns: FloatArray, per_year: float, confidence: float = 0.95
) -> tuple[float, float, float] | None:
    """Return the annualised Sharpe ratio with its Mertens interval; None without variance."""
    stats: SharpeStats | None = sharpe_stats(returns)
    if stats is None:
        return None
    interval = stats.interval(confidence)
    scale = math.sqrt(per_year)
    return stats.sharpe * scale, interval.low * scale, interval.high * scale
