"""The book of one replay: what every engine hands on, and the identity it must satisfy.

A ledger is made by an engine (the Backtrader replay or the compiled recomputation) and read by
metrics, reports and audits. Its tables have fixed columns, listed here; ``check_identity`` holds
them against each other. The account's rules are in ``docs/account.md``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from perpwalk.domain import Finding, FloatArray, IntArray, Level, Market, to_ns

# One row per bar of the replay, stamped with its close. Costs (fee, slippage, liquidation) are
# positive when paid; funding is positive when received; `price_pnl` is measured at reference
# prices, before slippage. With several symbols `price` and `position` belong to the first one, and
# `with_tracks` adds `basket` and `basket_funding`.
EQUITY_COLUMNS = (
    "close_time",
    "price",
    "position",
    "cash",
    "equity",
    "price_pnl",
    "fee",
    "funding",
    "slippage",
    "liquidation",
    "exposure",
    "traded_notional",
)
# One row per bar and contract, where there are several: of the columns above those that a contract
# has its own part of, and all but price and position sum to the account's.
CONTRACT_COLUMNS = (
    "close_time",
    "symbol",
    "price",
    "position",
    "price_pnl",
    "fee",
    "funding",
    "slippage",
    "liquidation",
    "traded_notional",
)
# One row per execution. `quantity` is signed; `reference_price` is the price before slippage.
FILL_COLUMNS = (
    "order_id",
    "symbol",
    "time",
    "bar",
    "quantity",
    "price",
    "reference_price",
    "fee",
    "slippage",
    "liquidity",
    "reason",
)
# One row per order with its fate: filled, partial, reduced, rejected, cancelled, expired, pending.
ORDER_COLUMNS = (
    "order_id",
    "symbol",
    "created_at",
    "kind",
    "quantity",
    "limit_price",
    "stop_price",
    "status",
    "reason",
    "filled_quantity",
    "average_price",
    "fee",
    "slippage",
    "finished_at",
)
# One row per settlement stamp within the replay, also where the position was zero.
FUNDING_COLUMNS = (
    "settle_time",
    "symbol",
    "position",
    "mark_price",
    "mark_known",
    "rate",
    "payment",
    "assumed",
)
# What the strategy asked for at each decision that changed a target: the input of a recomputation.
TARGET_COLUMNS = ("close_time", "symbol", "bar", "quantity")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> pd.DataFrame:
    """Return a DataFrame with exactly ``columns``, also when there are no rows."""
    return pd.DataFrame(list(rows), columns=list(columns))


@dataclass(frozen=True, eq=False, kw_only=True)
class Track:
    """When the bars of one of several contracts close, and at what price; both shape (bars,).

    Of all bars of its market, so that a fill's ``bar`` finds its own.
    """

    symbol: str
    close_ns: IntArray
    close: FloatArray

    def at(self, stamps_ns: IntArray) -> FloatArray:
        """Return the last close at each stamp; before the first bar that bar's own."""
        last = np.searchsorted(self.close_ns, stamps_ns, side="right") - 1
        prices: FloatArray = self.close[np.maximum(last, 0)]
        return prices


def with_tracks(ledger: Ledger, markets: Sequence[Market]) -> Ledger:
    """Return the account of several contracts with their closes, and what holding all was worth.

    ``equity`` gets the column ``basket``: one unit of money, put into all contracts in equal parts
    at the first close and left there; and ``basket_funding``: what that received in funding in each
    bar. One contract alone stays as it is.
    """
    if len(markets) < 2:
        return ledger
    tracks = tuple(
        Track(symbol=one.symbol, close_ns=to_ns(one.bars.close_time), close=one.bars.close)
        for one in markets
    )
    stamps = to_ns(pd.DatetimeIndex(ledger.equity["close_time"]))
    prices = np.stack([track.at(stamps) for track in tracks])
    basket = (prices / prices[:, :1]).mean(axis=0)
    received = np.zeros(len(stamps))
    for track, price in zip(tracks, prices[:, 0], strict=True):
        own = ledger.funding[ledger.funding["symbol"] == track.symbol]
        received -= settled_per_unit(own, stamps) / (price * len(tracks))
    return replace(
        ledger, equity=ledger.equity.assign(basket=basket, basket_funding=received), tracks=tracks
    )


def settled_per_unit(settlements: pd.DataFrame, closes_ns: IntArray) -> FloatArray:
    """Return what one unit held long paid in funding in each bar, (close before, close]."""
    stamps = to_ns(pd.DatetimeIndex(settlements["settle_time"]))
    rows = np.searchsorted(closes_ns, stamps, side="left")
    paid = (settlements["rate"] * settlements["mark_price"]).to_numpy(dtype=float)
    return np.bincount(rows, weights=paid, minlength=len(closes_ns) + 1)[:-1].astype(float)


def holding_price(equity: pd.DataFrame) -> pd.Series:
    """Return what holding was worth at each close: the contract, or the basket of several."""
    return equity["basket"] if "basket" in equity else equity["price"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Ledger:
    """The whole account of one replay; its tables stay as they are made.

    Attributes
    ----------
    initial_cash
        Cash before the first bar.
    equity
        One row per bar, columns ``EQUITY_COLUMNS``.
    fills, orders, funding, targets
        Columns as listed above; ``targets`` is None where the strategy placed other orders than
        market orders towards a target.
    bankrupt_at
        When equity reached zero and trading ended, or None.
    tracks
        The contracts of the account, in its order, where there are several.
    """

    initial_cash: float
    equity: pd.DataFrame
    fills: pd.DataFrame
    orders: pd.DataFrame
    funding: pd.DataFrame
    targets: pd.DataFrame | None = None
    bankrupt_at: pd.Timestamp | None = None
    tracks: tuple[Track, ...] = ()

    @property
    def marks(self) -> dict[str, float]:
        """The last price of each of several contracts."""
        end = to_ns(pd.DatetimeIndex(self.equity["close_time"].iloc[-1:]))
        return {track.symbol: float(track.at(end)[0]) for track in self.tracks}

    def check_identity(self, tolerance: float = 1e-9) -> tuple[float, Finding | None]:
        """Hold equity against its parts, bar by bar.

        ``equity[t] - equity[t-1] = price_pnl - fee - slippage + funding - liquidation`` with
        ``equity[-1] = initial_cash``.

        Returns
        -------
        float
            Largest difference as a fraction of the larger of equity and initial cash.
        Finding or None
            A001 naming the first bar at fault where the difference exceeds ``tolerance``.
        """
        book = self.equity
        if book.empty:
            return 0.0, None
        equity = book["equity"].to_numpy()
        change = np.diff(equity, prepend=self.initial_cash)
        parts = (
            book["price_pnl"] - book["fee"] - book["slippage"]
            + book["funding"] - book["liquidation"]
        ).to_numpy()  # fmt: skip
        scale = np.maximum(np.abs(equity), self.initial_cash)
        difference = np.abs(change - parts) / scale
        worst = float(difference.max())
        if worst <= tolerance:
            return worst, None
        first = int(np.argmax(~(difference <= tolerance)))
        return worst, Finding(
            code="A001",
            level=Level.ERROR,
            where=str(book["close_time"].iloc[first]),
            message="the account does not balance: equity moved by other than its parts",
            observed=f"change {change[first]:.12g}, parts {parts[first]:.12g}",
            expected=f"equal to {tolerance:g} of equity",
            why="every figure in the report derives from this book",
            advice="this is a bug of perpwalk; report it with the configuration",
        )
