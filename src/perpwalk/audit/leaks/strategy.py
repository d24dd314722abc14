"""Strategies look ahead too: they must not act on bars after their decision, nor fill before them.

Two questions to a strategy as a black box (market in, book out), signals held fixed:

* Replace the bars after a decision. Orders, fills and equity up to it must not move by a bit.
* Let the next bar open elsewhere. What was decided at the close must now fill elsewhere too: a fill
  whose price does not follow the next open was made at a price already known.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from perpwalk.audit.leaks.contract import Outcome
from perpwalk.audit.leaks.surrogates import perturbed
from perpwalk.domain import Finding, IntArray, Level, Market
from perpwalk.ledger import Ledger

GAP = 0.01  # log distance of the next open in the second question
_FOLLOWS = 0.5  # share of that gap which a fill's price must show


@dataclass(frozen=True, eq=False)
class StrategyTrace:
    """What a strategy did.

    Attributes
    ----------
    orders
        Columns decided_at, quantity and any others that say what was asked for; in order.
    fills
        Columns decided_at, time, quantity, price; market orders only where ``market`` is True.
    equity
        Columns close_time, equity, position.
    """

    orders: pd.DataFrame
    fills: pd.DataFrame
    equity: pd.DataFrame

    @classmethod
    def of(cls, ledger: Ledger, symbol: str | None = None) -> StrategyTrace:
        """Read a ledger; of several contracts, ``symbol`` is the one whose future is replaced.

        Only that one's fills can follow its next open: those of others are no market fills here.
        """
        asked = ["created_at", "symbol", "kind", "quantity", "limit_price", "stop_price"]
        orders = ledger.orders[["order_id", *asked]]
        # A liquidation belongs to no order of the strategy's.
        fills = ledger.fills.merge(orders[["order_id", "created_at", "kind"]], on="order_id")
        own = True if symbol is None else fills["symbol"] == symbol
        return cls(
            orders=orders[asked].rename(columns={"created_at": "decided_at"}),
            fills=pd.DataFrame(
                {
                    "decided_at": fills["created_at"],
                    "time": fills["time"],
                    "quantity": fills["quantity"],
                    "price": fills["price"],
                    "market": fills["kind"].astype(str).str.lower().str.contains("market") & own,
                }
            ),
            equity=ledger.equity[["close_time", "equity", "position"]],
        )


StrategyBox = Callable[[Market], StrategyTrace]


def audit_strategy(strategy: StrategyBox, market: Market, seed: int, *, cuts: int = 6) -> Outcome:
    """Ask both questions at ``cuts`` decisions at which the strategy placed an order.

    Returns
    -------
    Outcome
        K008 for acting on later bars, for filling at a known price, or for both.
    """
    control = strategy(market)
    rows = _decisions(control, market, cuts, seed)
    if len(rows) == 0:
        return Outcome(detector="strategy", summary="not judged: the strategy placed no order")
    moved: list[str] = []
    early: list[str] = []
    for row in rows:
        at = market.bars.close_time[row]
        other = strategy(perturbed(market, int(row), "noise", seed, gap=GAP))
        changed = list(_changed(control, other, at))
        if changed:
            moved.append(f"{', '.join(changed)} up to {at:%Y-%m-%d %H:%M} UTC")
        if _known_price(control, other, at):
            early.append(f"{at:%Y-%m-%d %H:%M} UTC")
    findings = tuple(_findings(moved, early, len(rows)))
    return Outcome(
        detector="strategy",
        summary=f"{len(moved)} of {len(rows)} other futures changed earlier orders, fills or "
        f"equity; {len(early)} fills ignored the next open",
        findings=findings,
        numbers={"cuts": float(len(rows)), "moved": float(len(moved)), "early": float(len(early))},
    )


def _decisions(control: StrategyTrace, market: Market, cuts: int, seed: int) -> IntArray:
    """Return bars at whose close an order was placed, evenly spread, never the last two bars."""
    decided = pd.DatetimeIndex(control.orders["decided_at"].unique())
    rows = market.bars.close_time.get_indexer(decided)
    rows = np.unique(rows[(rows >= 0) & (rows < len(market.bars) - 2)])
    if len(rows) <= cuts:
        return rows.astype(np.int64)
    start = np.random.default_rng([seed, 7]).random()
    places = ((np.arange(cuts) + start) * len(rows) / cuts).astype(np.int64)
    chosen: IntArray = rows[places].astype(np.int64)
    return chosen


def _changed(control: StrategyTrace, other: StrategyTrace, at: pd.Timestamp) -> Iterator[str]:
    """Name what differs up to and including the decision at ``at``."""
    pairs = {
        "orders": (control.orders, other.orders, "decided_at", True),
        # A fill stamped with the decision itself is made at the next open, which did change.
        "fills": (control.fills, other.fills, "time", False),
        "equity": (control.equity, other.equity, "close_time", True),
    }
    for name, (mine, theirs, column, inclusive) in pairs.items():
        a, b = (
            table[(table[column] <= at) if inclusive else (table[column] < at)].reset_index(
                drop=True
            )
            for table in (mine, theirs)
        )
        if not a.equals(b):
            yield name


def _known_price(control: StrategyTrace, other: StrategyTrace, at: pd.Timestamp) -> bool:
    """Whether a market order decided at ``at`` filled without following the next open."""
    prices = []
    for trace in (control, other):
        fills = trace.fills
        mine = (fills["decided_at"] == at) & fills.get("market", True)
        if not mine.any():
            return False
        prices.append(float(fills.loc[mine, "price"].iloc[0]))
    return abs(float(np.log(prices[1] / prices[0]))) < _FOLLOWS * GAP


def _findings(moved: Sequence[str], early: Sequence[str], cuts: int) -> Iterator[Finding]:
    if moved:
        yield Finding(
            code="K008",
            level=Level.ERROR,
            where="the strategy's decisions",
            message="what the strategy did depends on later bars",
            observed=f"{len(moved)} of {cuts} other futures changed it; first: {moved[0]}",
            expected="identical orders, fills and equity up to the cut",
            why="the strategy acts on bars that have not happened yet",
            advice="read only the current and earlier bars: no data.close[1], no array of the "
            "whole history",
        )
    if early:
        yield Finding(
            code="K008",
            level=Level.ERROR,
            where="the strategy's fills",
            message="orders fill at a price that was known when they were decided",
            observed=f"{len(early)} of {cuts} fills ignored where the next bar opened; first "
            f"decided at {early[0]}",
            expected="a market order fills at the next bar's open",
            why="nobody trades at a close after having seen it",
            advice="no cheat-on-close, no fills of the strategy's own making",
        )
