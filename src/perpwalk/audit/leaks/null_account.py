"""(d) in money: on a market without any edge an account earns nothing before costs.

Forecasts may be honest and the strategy that trades them not. Here it trades the very surrogates on
which the forecasts are tested, and what it holds is paid by the coins: whatever was decided before
a coin fell is worth nothing on average, whichever orders were used, and however much was held.

Counted is what is held at each bar's open, over the gap before it and until its close, in log
moves. A move in prices would favour whoever is long, and what a limit order gains inside its bar
follows from the shape of that bar, which a mirrored one keeps. Neither is an edge.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from perpwalk.audit.leaks.contract import Outcome, PipelineOutput
from perpwalk.audit.leaks.scoring import ALARM_Z, POWER_Z
from perpwalk.domain import Finding, FloatArray, Level, Market, to_ns
from perpwalk.ledger import Ledger
from perpwalk.returns import bars_per_year

DETECTOR = "null account"


@dataclass(frozen=True, eq=False)
class Held:
    """What an account held of one contract, as signed multiples of its equity; both (bars,).

    Attributes
    ----------
    over_gap
        From the close before to the bar's open.
    from_open
        From the bar's open, after the market orders filled there, to its close.
    """

    over_gap: FloatArray
    from_open: FloatArray

    @classmethod
    def of(cls, ledger: Ledger, market: Market) -> Held:
        """Read a book; orders that fill inside a bar count from its close on."""
        bars = market.bars
        fills = ledger.fills.merge(ledger.orders[["order_id", "kind"]], on="order_id", how="left")
        fills = fills[fills["symbol"] == market.symbol]
        at_open = fills["kind"].astype(str).str.lower() == "market"
        after = np.cumsum(_by_bar(fills, len(bars)))
        before = np.concatenate([[0.0], after[:-1]])
        per_unit = _close_over_equity(ledger, market)
        return cls(
            over_gap=before * per_unit,
            from_open=(before + _by_bar(fills[at_open], len(bars))) * per_unit,
        )

    def gains(self, market: Market) -> FloatArray:
        """Return what was earned in each bar before costs, in log moves times equity; (bars,)."""
        bars = market.bars
        before = np.log(np.concatenate([bars.open[:1], bars.close[:-1]]))
        opened = np.log(bars.open)
        earned: FloatArray = self.over_gap * (opened - before) + self.from_open * (
            np.log(bars.close) - opened
        )
        return earned


def _by_bar(fills: pd.DataFrame, bars: int) -> FloatArray:
    rows = fills["bar"].to_numpy(dtype=np.int64)
    weights = fills["quantity"].to_numpy(dtype=np.float64)
    return np.bincount(rows, weights=weights, minlength=bars).astype(np.float64)


def _close_over_equity(ledger: Ledger, market: Market) -> FloatArray:
    """Return the close before each bar over the account's equity then; 0 outside the replay."""
    bars, book = market.bars, ledger.equity
    close = np.concatenate([bars.open[:1], bars.close[:-1]])
    stamps = to_ns(pd.DatetimeIndex(book["close_time"]))
    known = np.concatenate([[ledger.initial_cash], book["equity"].to_numpy(dtype=np.float64)])
    closes = to_ns(bars.close_time)
    equity = known[np.searchsorted(stamps, closes, side="left")]
    lived = (closes >= stamps[0]) & (closes <= stamps[-1]) & (equity > 0)
    return np.where(lived, close / np.where(lived, equity, 1.0), 0.0)


# Trades what a pipeline forecasts on a market; None where the strategy was refused.
Account = Callable[[Market, PipelineOutput], FloatArray | None]


def audit_null_account(gains: Sequence[FloatArray | None], interval: pd.Timedelta) -> Outcome:
    """Test what accounts on surrogates earned before costs against the coins, both ways.

    ``z`` is the sum of all gains over the root of the sum of their squares. Given their sizes, the
    signs of honest gains are the coins': ``z`` is then standard normal, and beyond 4 in either
    direction at most as often as ``2 exp(-8)`` whatever the sizes (Hoeffding; for amounts that
    follow from earlier coins de la Peña 1999).

    Parameters
    ----------
    gains
        Of each surrogate, per bar; None where the strategy was refused.

    Returns
    -------
    Outcome
        K013 beyond four deviations.
    """
    traded = [each for each in gains if each is not None]
    if len(traded) < len(gains) or not traded:
        return _unjudged("the strategy was refused a look ahead (K008)")
    earned = np.concatenate(traded)
    squares = float(earned @ earned)
    if squares == 0:
        return _unjudged("the strategy held nothing")
    z, held = float(earned.sum()) / math.sqrt(squares), np.count_nonzero(earned)
    mean = float(earned.sum()) / len(traded)
    words = (
        f"{mean:+.2%} before costs, mean of {len(traded)} accounts that held "
        f"{held // len(traded):,} bars (z {z:+.1f}, alarm beyond {ALARM_Z:g})"
    )
    sharpe = POWER_Z / math.sqrt(held) * math.sqrt(bars_per_year(interval))
    return Outcome(
        detector=DETECTOR,
        summary=f"no edge: {words}",
        findings=(_finding(words, z),) if abs(z) > ALARM_Z else (),
        numbers={"mean_gross": mean, "z": z, "detectable_sharpe": sharpe},
    )


def _unjudged(why: str) -> Outcome:
    return Outcome(detector=DETECTOR, summary=f"not judged: {why}")


def _finding(words: str, z: float) -> Finding:
    return Finding(
        code="K013",
        level=Level.ERROR,
        where="signals and strategy",
        message=f"the account {'earns' if z > 0 else 'loses'} before costs where there is no edge: "
        "every sign was a coin's",
        observed=words,
        expected="0",
        why="what is held before a coin falls knows nothing of it; this account did",
        advice="K008 says what the strategy reads ahead, K001 and K002 what the forecasts do; if "
        "all are silent, look for files that the strategy reads by itself",
    )
