"""From bars to days: the daily returns a tearsheet is drawn from, and its figures, two ways.

quantstats draws from one return per day. The six figures people quote are computed here by our own
``perpwalk.returns`` on those same days, and set beside what quantstats makes of them.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd

from perpwalk import returns as growth
from perpwalk.costs import equity_before
from perpwalk.domain import FloatArray
from perpwalk.ledger import holding_price

DAYS_PER_YEAR = 365
AGREEMENT = 1e-6


def daily_returns(stamps: pd.DatetimeIndex, values: pd.Series, before: float) -> pd.Series:
    """Compound a curve of bar closes into one simple return per UTC day, tz-naive.

    A bar that closes at midnight belongs to the day that ends there. Days without a bar return 0.

    Parameters
    ----------
    stamps
        Close times.
    values
        Equity or price at each close.
    before
        Value before the first bar.
    """
    just_before = stamps.tz_convert(None) - pd.Timedelta(1, "ns")
    last = pd.Series(values.to_numpy(dtype=float), index=just_before).resample("D").last().ffill()
    previous = last.shift(1, fill_value=before)
    return (last / previous - 1).where(previous > 0, 0.0)


def account_returns(equity: pd.DataFrame) -> pd.Series:
    """Return the daily returns of an equity table."""
    return daily_returns(
        pd.DatetimeIndex(equity["close_time"]), equity["equity"], equity_before(equity)
    )


def price_returns(equity: pd.DataFrame) -> pd.Series:
    """Return the daily returns of holding over the bars of an equity table.

    Of the contract, or of all of several in equal parts.
    """
    held = holding_price(equity)
    return daily_returns(pd.DatetimeIndex(equity["close_time"]), held, float(held.iloc[0]))


@dataclass(frozen=True, slots=True)
class Figures:
    """The six figures of a return series; None where one is undefined."""

    cagr: float | None
    sharpe: float | None
    sortino: float | None
    max_drawdown: float | None
    calmar: float | None
    volatility: float | None


NAMES = tuple(field.name for field in fields(Figures))


def our_figures(returns: FloatArray, per_year: float = DAYS_PER_YEAR) -> Figures:
    """Return the figures of simple returns by perpwalk's own definitions (``perpwalk.returns``)."""
    grown = growth.cagr(growth.total_return(returns), len(returns), per_year)
    deepest = growth.max_drawdown(returns)
    sharpe = growth.annual_sharpe(returns, per_year)
    return Figures(
        cagr=grown,
        sharpe=None if sharpe is None else sharpe[0],
        sortino=growth.sortino(returns, per_year),
        max_drawdown=deepest,
        calmar=growth.calmar(grown, deepest),
        volatility=growth.volatility(returns, per_year),
    )


def quantstats_figures(daily: pd.Series) -> Figures:
    """Return what quantstats makes of daily returns, at 365 days a year."""
    import quantstats

    stats = quantstats.stats
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # A ratio it cannot form is reported below as undefined, not on the terminal.
        warnings.simplefilter("ignore")
        values = {
            "max_drawdown": stats.max_drawdown(daily),
            **{
                name: getattr(stats, name)(daily, periods=DAYS_PER_YEAR)
                for name in ("cagr", "sharpe", "sortino", "calmar", "volatility")
            },
        }
    return Figures(**{name: growth.finite(float(values[name])) for name in NAMES})


def parted(ours: Figures, theirs: Figures) -> tuple[str, ...]:
    """Return the names of the figures in which the two differ by more than 1e-6."""
    return tuple(name for name in NAMES if not _agree(getattr(ours, name), getattr(theirs, name)))


def _agree(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=AGREEMENT, abs_tol=AGREEMENT)
