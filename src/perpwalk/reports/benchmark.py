"""What an account is held against: its contract, or another run on the days that both have."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from perpwalk.costs import equity_before
from perpwalk.errors import UsageError
from perpwalk.ledger import holding_price
from perpwalk.reports.daily import account_returns, day_of, price_returns
from perpwalk.runs import Run

LEAST_DAYS = 14
_NO_RESULT = {"invalid": " (INVALID: no result)", "suspect": " (SUSPECT)"}


@dataclass(frozen=True, eq=False, kw_only=True)
class Benchmark:
    """What an account is held against.

    Attributes
    ----------
    name
        How a page calls it.
    paid
        Which costs it bears.
    daily
        One simple return per UTC day, of the days that both have.
    growth
        What 1 has grown to at the close of each of its bars.
    left_out
        How many days of the account it has not.
    """

    name: str
    paid: str
    daily: pd.Series
    growth: pd.Series
    left_out: int = 0

    @classmethod
    def holding(cls, equity: pd.DataFrame) -> Benchmark:
        """Return buying the contract at the first close and holding it, without costs."""
        several = "basket" in equity
        price = holding_price(equity).set_axis(pd.DatetimeIndex(equity["close_time"]))
        return cls(
            name="Buy and hold of all contracts in equal parts" if several else "Buy and hold",
            paid="no costs",
            daily=price_returns(equity),
            growth=price / price.iloc[0],
        )

    @classmethod
    def of_run(cls, run: Run, against: Run) -> Benchmark:
        """Return another run, on the days that both have.

        Raises
        ------
        UsageError
            These are too few.
        """
        mine, theirs = (
            pd.Series(dtype=float) if one.equity.empty else account_returns(one.equity)
            for one in (run, against)
        )
        common = pd.DatetimeIndex(mine.index.intersection(theirs.index))
        if len(common) < LEAST_DAYS:
            raise UsageError(
                f"{against.path} shares {len(common)} days with {run.path}; a benchmark needs at "
                f"least {LEAST_DAYS} common days"
            )
        part = _on(against.equity, common)
        stamps = pd.DatetimeIndex(part["close_time"])
        return cls(
            name=f"{against.title}{_NO_RESULT.get(str(against.audit['verdict']['overall']), '')}",
            paid="after all costs",
            daily=theirs.loc[common],
            growth=(part["equity"] / equity_before(part)).set_axis(stamps),
            left_out=len(mine) - len(common),
        )

    def __str__(self) -> str:
        """Return its name, and on how many days it is where that is not all of them."""
        if not self.left_out:
            return self.name
        return f"{self.name} (on {len(self.daily)} common days, {self.left_out} left out)"

    def shared(self, equity: pd.DataFrame) -> pd.DataFrame:
        """Return the part of the account that lies on its days."""
        return _on(equity, pd.DatetimeIndex(self.daily.index)) if self.left_out else equity


def _on(equity: pd.DataFrame, days: pd.DatetimeIndex) -> pd.DataFrame:
    return equity[day_of(equity["close_time"]).isin(days)].reset_index(drop=True)
