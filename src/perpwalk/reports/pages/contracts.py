"""What a page shows of each of several contracts alone, for the chooser on top of it.

Everything the account has apart for a contract: headline, periods, curves over time, forecasts,
costs. Its own growth and risk it has not: equity and drawdown stay those of the whole account.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from perpwalk.costs import equity_before
from perpwalk.reports import words
from perpwalk.reports.pages import over_time
from perpwalk.reports.pages.over_time import Panel, panel, series
from perpwalk.reports.pages.packing import Pack, Packed
from perpwalk.reports.pages.parts import Card, bounded_card, direction_cards

MOST_BARS = 200_000  # of the curves of all contracts: beyond, stretches of bars become two


def contracts_of(
    equity_by_contract: pd.DataFrame | None, predictions: pd.DataFrame, trades: pd.DataFrame
) -> tuple[str, ...]:
    """Return the contracts of an account, in its order; none where there is but one."""
    frames = [predictions, trades] if equity_by_contract is None else [equity_by_contract]
    told = [frame["symbol"].astype(str) for frame in frames if "symbol" in frame]
    names = tuple(dict.fromkeys(name for one in told for name in one.unique()))
    return names if len(names) > 1 else ()


def of_contract(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the rows of one contract; all where a table does not tell."""
    if "symbol" not in frame:
        return frame
    return frame[frame["symbol"].astype(str) == name].reset_index(drop=True)


def account_of(equity: pd.DataFrame, bars: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a contract's bars as an equity table: what the account would be had it alone moved."""
    mine = of_contract(bars, name)
    costs = mine["fee"] + mine["slippage"] + mine["liquidation"]
    earned = (mine["price_pnl"] - costs + mine["funding"]).to_numpy(dtype=float)
    return mine.assign(equity=equity_before(equity) + np.cumsum(earned))


class Curves(Pack):
    """Keeps curves of contracts on the stamps of their account, thinned where they are many."""

    def __init__(self, pack: Pack, bars: int, contracts: int) -> None:
        super().__init__()
        self._account = over_time.Thinning(pack, bars)
        most = MOST_BARS // contracts
        self._own = over_time.Thinning(pack, len(self._account.rows), most=most)
        self.stretch = self._own.stretch  # of the account's stamps

    def numbers(self, values: npt.ArrayLike, kind: str = "f4") -> Packed:
        """Keep a curve over the account's bars, as ``Pack.numbers``."""
        return self._own.numbers(self._account.thin(values), kind)

    def rows(self, pack: Pack) -> Packed | None:
        """Keep at which of the account's stamps the values stand; None where at all of them."""
        return None if self.stretch == 1 else pack.numbers(self._own.rows, "i4")


def panels_of(account: pd.DataFrame, name: str, curves: Curves) -> list[Panel]:
    """Return the panels of one contract: price with trades, position, what it earned and cost."""
    start = equity_before(account)
    earned = series(name, "strategy", curves.numbers(account["equity"] - start))
    title = "Net PnL, open position included"
    return [
        *over_time.market_panels(account, curves),
        panel("symbols", title, "money", [earned], height=170),
        over_time.costs_panel(account, curves),
    ]


# ── the headline ─────────────────────────────────────────────────────────────────────────────────


def cards_of(metrics: pd.DataFrame, name: str) -> list[Card]:
    """Return the headline figures of one contract."""
    mine = metrics[(metrics["period_kind"] == "symbol") & (metrics["period"].astype(str) == name)]
    if mine.empty:
        return []
    row = mine.iloc[0]
    return [
        *direction_cards(row),
        Card("added to the return", words.percent(row["total_return"]),
             small=f"holding {words.percent(row['benchmark_return'])}"),
        Card("fees and slippage", words.money(row["fees"] + row["slippage"])),
        Card("funding received", words.money(row["funding"])),
        bounded_card("trades", row, "trades", words.count,
                     small=f"won {words.percent(row['win_rate'])}"),
    ]  # fmt: skip


def periods_of(metrics: pd.DataFrame, by_contract: pd.DataFrame | None, name: str) -> pd.DataFrame:
    """Return a contract's periods as a metrics table; its one row where the run kept no more."""
    if by_contract is not None:
        return of_contract(by_contract, name).drop(columns="symbol")
    rows = metrics[(metrics["period_kind"] == "symbol") & (metrics["period"].astype(str) == name)]
    return rows.assign(period_kind="all", period="all")
