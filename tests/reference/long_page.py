"""A page of as many bars as one likes, from the tables of a small run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from perpwalk import reports
from perpwalk.reports.pages.run_view import PageData
from perpwalk.runs import Run


def long_page(run: Run, bars: int, *, orders: int) -> PageData:
    """Return a small run's tables, stretched to so many bars and orders and half the trades."""
    rng = np.random.default_rng(3)
    small = reports.page_data(run)
    stamps = pd.date_range("2020-01-01", periods=bars, freq="h", tz="UTC").as_unit("ns")
    price = 2000 * np.exp(np.cumsum(rng.normal(0, 0.005, bars)))
    gain = rng.normal(0, 20, bars)
    equity = pd.DataFrame(
        {
            "close_time": stamps, "price": price, "position": rng.choice([-5.0, 5.0], bars),
            "cash": 10_000.0, "equity": 500_000 + np.cumsum(gain), "price_pnl": gain,
            "fee": rng.uniform(0, 5, bars), "funding": rng.normal(0, 1, bars),
            "slippage": rng.uniform(0, 1, bars), "liquidation": 0.0, "exposure": 0.9,
            "traded_notional": 1e4,
        }
    )  # fmt: skip

    def stretched(frame: pd.DataFrame, rows: int) -> pd.DataFrame:
        return frame.iloc[rng.integers(0, len(frame), rows)].reset_index(drop=True)

    return PageData(
        **{
            **vars(small),
            "equity": equity,
            "orders": stretched(small.orders, orders),
            "trades": stretched(small.trades, orders // 2),
            "predictions": stretched(small.predictions, bars),
        }
    )


def long_portfolio(run: Run, bars: int, *, orders: int) -> PageData:
    """Return ``long_page`` of several contracts, all traded at every bar: nothing packs well."""
    rng = np.random.default_rng(4)
    page = long_page(run, bars, orders=orders)
    names = list(page.contracts)
    count = bars * len(names)
    decided = page.predictions.iloc[np.arange(count) % len(page.predictions)]
    price = 100 * np.exp(np.cumsum(rng.normal(0, 0.005, (bars, len(names))), axis=0))
    each = pd.DataFrame(
        {
            "close_time": page.equity["close_time"].repeat(len(names)).to_numpy(),
            "symbol": names * bars, "price": price.ravel(),
            "position": rng.normal(0, 5, count), "price_pnl": rng.normal(0, 20, count),
            "fee": rng.uniform(0, 5, count), "funding": rng.normal(0, 1, count),
            "slippage": rng.uniform(0, 1, count), "liquidation": 0.0,
            "traded_notional": 1e4,
        }
    )  # fmt: skip
    return replace(
        page,
        equity=page.equity.assign(basket=page.equity["price"] / page.equity["price"].iloc[0]),
        predictions=decided.assign(symbol=names * bars).reset_index(drop=True),
        equity_by_contract=each,
    )
