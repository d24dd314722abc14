"""The money half of the metrics table: what a ledger says of one period."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from perpwalk import returns as growth
from perpwalk.domain import FloatArray
from perpwalk.ledger import Ledger, holding_price
from perpwalk.metrics_fields import BOUNDS, MONEY_FIELDS, Undefined, Value, with_bounds
from perpwalk.periods import Period
from perpwalk.trades import closed_results
from perpwalk.uncertainty import proportions as shares
from perpwalk.uncertainty import wealth

FEW_TRADES = 30  # fewer have no win rate and no profit factor
RESAMPLES = 1000  # of the bootstrap of a period's bars or trades; of the whole, the audit's own


@dataclass(frozen=True, eq=False)
class Book:
    """Columns of a ledger under the open time of each bar.

    ``price`` is what holding was worth: the contract's, or that of all contracts in equal parts.
    """

    open_time: pd.DatetimeIndex
    interval: pd.Timedelta
    returns: FloatArray
    price: FloatArray
    exposure: FloatArray
    traded_share: FloatArray
    equity_before: FloatArray
    fee: FloatArray
    funding: FloatArray
    slippage: FloatArray
    trade_row: npt.NDArray[np.int64]
    trade_net: FloatArray

    @classmethod
    def of(cls, ledger: Ledger, interval: pd.Timedelta) -> Book:
        """Lay out a ledger by bar."""
        book = ledger.equity
        equity = book["equity"].to_numpy(dtype=float)
        before = np.concatenate([[ledger.initial_cash], equity[:-1]])[: len(equity)]
        alive = before > 0
        trade_row, trade_net = closed_results(ledger)
        column = {
            name: book[name].to_numpy(dtype=float)
            for name in ("exposure", "traded_notional", "fee", "funding", "slippage")
        }
        return cls(
            open_time=pd.DatetimeIndex(book["close_time"]) - interval,
            interval=interval,
            returns=growth.equity_returns(ledger.initial_cash, equity),
            price=holding_price(book).to_numpy(dtype=float),
            exposure=column["exposure"],
            traded_share=np.where(
                alive, column["traded_notional"] / np.where(alive, before, 1.0), 0.0
            ),
            equity_before=before,
            fee=column["fee"],
            funding=column["funding"],
            slippage=column["slippage"],
            trade_row=trade_row,
            trade_net=trade_net,
        )

    def rows(self, period: Period) -> slice:
        """Return the bars of a period; every bar of the replay for the whole."""
        return slice(0, len(self.price)) if period.kind == "all" else period.rows(self.open_time)


def money_fields(
    period: Period, book: Book, confidence: float, seed: int, found: Undefined
) -> dict[str, Value]:
    """Return the money columns of one period; what is null is told to ``found``."""
    # Over everything these are the figures that the audit asks for: they are to be the same.
    draws = (confidence, wealth.RESAMPLES if period.kind == "all" else RESAMPLES, seed)
    rows = book.rows(period)
    returns = book.returns[rows]
    if len(returns) == 0:
        found.add("A003", "no bar of the replay", period, MONEY_FIELDS)
        return {}
    per_year = growth.bars_per_year(book.interval)
    total = growth.total_return(returns)
    annual = growth.cagr(total, len(returns), per_year)
    drawdown = growth.max_drawdown(returns)
    before = book.price[max(rows.start - 1, 0)]
    fields: dict[str, Value] = {
        "total_return": total,
        "benchmark_return": float(book.price[rows.stop - 1] / before - 1),
        "cagr": annual,
        "volatility": growth.volatility(returns, per_year),
        "sortino": growth.sortino(returns, per_year),
        "max_drawdown": drawdown,
        "calmar": growth.calmar(annual, drawdown),
        "exposure": float(np.abs(book.exposure[rows]).mean()),
        "turnover": float(book.traded_share[rows].sum())
        / (len(returns) * (book.interval / pd.Timedelta(days=1))),
        "fees": float(book.fee[rows].sum()),
        "funding": float(book.funding[rows].sum()),
        "slippage": float(book.slippage[rows].sum()),
    }
    fields |= _sharpe_fields(returns, per_year, confidence)
    fields |= _growth_bounds(returns, per_year, *draws)
    in_period = (book.trade_row >= rows.start) & (book.trade_row < rows.stop)
    fields |= trade_fields(book.trade_net[in_period], *draws)
    _explain_money(fields, period, found)
    return fields


def _sharpe_fields(returns: FloatArray, per_year: float, confidence: float) -> dict[str, Value]:
    sharpe = growth.annual_sharpe(returns, per_year, confidence)
    if sharpe is None:
        return {}
    return dict(zip(("sharpe", "sharpe_lo", "sharpe_hi"), sharpe, strict=True))


def _growth_bounds(
    returns: FloatArray, per_year: float, confidence: float, resamples: int, seed: int
) -> dict[str, Value]:
    """Return the intervals of growth and risk, and the band of the deepest drawdown."""
    grown = wealth.growth(returns, confidence=confidence, resamples=resamples, seed=seed)
    fall = wealth.drawdown_band(returns, confidence=confidence, seed=seed)
    total, scale = wealth.bounds(grown.total_return), math.sqrt(per_year)
    yearly = [None if end is None else growth.cagr(end, len(returns), per_year) for end in total]
    pairs = {
        "total_return": total,
        "cagr": (yearly[0], yearly[1]),
        "volatility": wealth.bounds(grown.volatility, scale),
        "sortino": wealth.bounds(grown.sortino, scale),
        "max_drawdown": wealth.bounds(fall),
    }
    return {
        f"{name}_{end}": value
        for name, pair in pairs.items()
        for end, value in zip(("lo", "hi"), pair, strict=True)
    }


def trade_fields(
    net: FloatArray, confidence: float, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Value]:
    """Return the columns that finished trades of these net results fill."""
    fields: dict[str, Value] = {"trades": len(net)}
    if len(net) < FEW_TRADES:
        return fields
    won = int((net > 0).sum())
    interval = shares.wilson(won, len(net), confidence)
    factor = wealth.profit_factor(net, confidence=confidence, resamples=resamples, seed=seed)
    return fields | {
        "win_rate": won / len(net),
        "win_rate_lo": None if interval is None else interval.low,
        "win_rate_hi": None if interval is None else interval.high,
        "profit_factor": factor.value,
        "profit_factor_lo": factor.low,
        "profit_factor_hi": factor.high,
    }


def _explain_money(fields: dict[str, Value], period: Period, found: Undefined) -> None:
    """Name what is missing from the money fields and why."""
    absent = {name for name in MONEY_FIELDS if fields.get(name) is None}
    trades = fields["trades"] or 0
    factor, rate = with_bounds("profit_factor"), with_bounds("win_rate")
    causes = (
        ("no trade ended", factor | rate if trades == 0 else set()),
        (f"fewer than {FEW_TRADES} trades", factor | rate if trades < FEW_TRADES else set()),
        ("no losing trade", factor if "profit_factor" in absent else set()),
        ("no variance, or fewer than three bars", with_bounds("sharpe")),
        ("no losing bar", with_bounds("sortino") if "sortino" in absent else set()),
        ("no drawdown", {"calmar"} if fields["max_drawdown"] == 0 else set()),
        ("fewer than two bars", {"volatility"}),
        ("growth beyond what a number can hold", {"cagr"}),
        ("growth beyond what a number can hold", {"calmar"} if "cagr" in absent else set()),
        ("too few bars or trades, or all was lost: no interval", BOUNDS),
    )
    for cause, names in causes:
        if absent & names:
            found.add("A003", cause, period, sorted(absent & names))
            absent -= names
