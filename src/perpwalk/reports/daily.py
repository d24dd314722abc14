"""From bars to days: the daily returns a tearsheet is drawn from, and its figures, two ways.

quantstats draws from one return per day. The six figures people quote are computed here by our own
``perpwalk.returns`` on those same days, and set beside what quantstats makes of them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version

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
    days = pd.DatetimeIndex(day_of(stamps.to_series()))
    last = pd.Series(values.to_numpy(dtype=float), index=days).resample("D").last().ffill()
    previous = last.shift(1, fill_value=before)
    return (last / previous - 1).where(previous > 0, 0.0)


def day_of(stamps: pd.Series) -> pd.Series:
    """Return the UTC day, tz-naive, in which bars with these close times end."""
    found: pd.Series = (stamps.dt.tz_convert(None) - pd.Timedelta(1, "ns")).dt.normalize()
    return found


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


# How the definitions differ where they do, as quantstats reads them in the version named.
READ_IN = "0.0.86"
_DEFINITIONS = {
    "cagr": "perpwalk compounds over n / 365 years of all n days, and a growth that no number can "
    "hold is undefined; quantstats counts the days that have a value",
    "sharpe": "perpwalk divides the mean by the standard deviation (ddof 1), and the ratio is "
    "undefined where the days differ by rounding alone; quantstats divides by that rounding",
    "sortino": "perpwalk divides the mean by the root of the mean squared loss over all days, and "
    "the ratio is undefined without a losing day; quantstats takes the mean over the days that "
    "have a value",
    "max_drawdown": "perpwalk counts the capital before the first day as a high; quantstats does "
    "where it takes the series for returns, not where it takes it for prices",
    "calmar": "both divide the CAGR by the deepest drawdown, so it parts where one of these does",
    "volatility": "perpwalk takes the standard deviation (ddof 1) of all days; quantstats of the "
    "days that have a value",
}


def why_apart(names: Sequence[str], daily: pd.Series) -> tuple[tuple[str, str], ...]:
    """Return of each figure in which the two part how its definitions differ.

    Last, under no name, comes what holds for all of them.
    """
    told = [(name, _DEFINITIONS[name]) for name in names]
    if not told:
        return ()
    if daily.min() >= 0 and daily.max() > 1:
        told.append(
            ("", "No day lost and one earned more than 100 %: quantstats takes such a series for "
             "prices and computes from their changes.")
        )  # fmt: skip
    installed = version("quantstats")
    if installed != READ_IN:
        told.append(
            ("", f"quantstats {installed} is installed, its definitions were read in {READ_IN}: it "
             "may have changed them.")
        )  # fmt: skip
    return tuple(told)


def parted(ours: Figures, theirs: Figures) -> tuple[str, ...]:
    """Return the names of the figures in which the two differ by more than 1e-6."""
    return tuple(name for name in NAMES if not _agree(getattr(ours, name), getattr(theirs, name)))


def _agree(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=AGREEMENT, abs_tol=AGREEMENT)
