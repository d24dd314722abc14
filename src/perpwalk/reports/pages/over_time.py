"""The panels on the shared time axis: what is drawn where, as data. The page's script draws it.

A panel holds series of equal length on the page's stamps; the script thins them to what is visible
and keeps the extremes of every stretch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from perpwalk import returns as growth
from perpwalk.costs import equity_before
from perpwalk.domain import FloatArray, IntArray, to_ns
from perpwalk.ledger import holding_price
from perpwalk.reports.pages.packing import Pack, Packed

COLOURS = 8  # --v0 … --v7 of the style sheet
MOST_VALUES = 500_000  # of all curves of a panel of a comparison: 2 MB before compression
MOST_BARS = 1_000_000  # of a run: two years of minutes
Series = dict[str, Any]
Panel = dict[str, Any]


def series(
    label: str, colour: str, values: Packed, *, shape: str = "line", on: bool = True
) -> Series:
    """Describe one curve: ``shape`` is line, area or step; ``colour`` a name of the style sheet."""
    return {"label": label, "colour": colour, "values": values, "shape": shape, "on": on}


def panel(
    name: str, title: str, unit: str, lines: Sequence[Series], *, height: int, log: bool = False
) -> Panel:
    """Describe one panel; ``log`` offers a logarithmic scale."""
    return {
        "id": name, "title": title, "unit": unit, "series": list(lines), "height": height,
        "log": log,
    }  # fmt: skip


def run_over_time(equity: pd.DataFrame, trades: pd.DataFrame, pack: Pack) -> dict[str, Any] | None:
    """Return stamps and panels of a run's account; None without two bars.

    Of more bars than a page can hold each stretch becomes two, as in a comparison.
    """
    if len(equity) < 2:
        return None
    pack = Thinning(pack, len(equity))
    account = equity["equity"].to_numpy(dtype=float)
    start = equity_before(equity)
    panels = [
        panel(
            "equity", "Equity", "money",
            [series("strategy, after all costs", "strategy", pack.numbers(account)),
             *_holding(equity, start, pack)],
            height=240, log=bool((account > 0).all()),
        ),
        panel(
            "drawdown", "Drawdown", "percent",
            [series("fall from the highest point", "bad",
                    pack.numbers(growth.drawdowns(growth.equity_returns(start, account))),
                    shape="area")],
            height=130,
        ),
        *market_panels(equity, pack),
        *_by_symbol(equity, trades, pack),
        costs_panel(equity, pack),
    ]  # fmt: skip
    stamps = pd.DatetimeIndex(equity["close_time"])[pack.rows]
    return {"time": pack.stamps(stamps), "stretch": pack.stretch, "panels": panels}


def stretch_of(count: int, most: int | None = None) -> int:
    """Return how many of ``count`` bars two values of a curve stand for; 1 for each bar.

    ``most`` is how many values may be kept, by default those of a run's curve.
    """
    most = MOST_BARS if most is None else most
    return 1 if count <= most else -(-2 * count // most)


class Thinning(Pack):
    """Keeps curves of ``count`` bars in another pack, thinned where there are too many bars."""

    def __init__(self, pack: Pack, count: int, *, most: int | None = None) -> None:
        super().__init__()
        self._pack = pack
        self.stretch = stretch_of(count, most)
        places = np.arange(count) if self.stretch == 1 else _places(count, self.stretch)
        self._last = np.append(np.diff(places) != 0, True)  # of those that share a bar
        self.rows: IntArray = places[self._last]

    def thin(self, values: npt.ArrayLike) -> FloatArray:
        """Return what is kept of a curve: all of it, or the extremes of every stretch."""
        if self.stretch == 1:
            return np.asarray(values, dtype=float)
        thin: FloatArray = _extremes(np.asarray(values, dtype=float), self.stretch)[self._last]
        return thin

    def numbers(self, values: npt.ArrayLike, kind: str = "f4") -> Packed:
        """Keep what is left of a curve, as ``Pack.numbers``."""
        return self._pack.numbers(self.thin(values), kind)

    def stamps(self, stamps: pd.DatetimeIndex) -> Packed:
        """Keep stamps as ``Pack.stamps``, all that are given."""
        return self._pack.stamps(stamps)


def _holding(equity: pd.DataFrame, start: float, pack: Pack) -> list[Series]:
    """Return the curve of holding the contract, or all of several in equal parts."""
    if "price" not in equity:
        return []
    price = holding_price(equity).to_numpy(dtype=float)
    return [series("buy and hold, no costs", "hold", pack.numbers(start * price / price[0]))]


def market_panels(equity: pd.DataFrame, pack: Pack) -> list[Panel]:
    """Return price with trades, and position: of the contract, or the exposure of several."""
    found = []
    if "basket" in equity:  # price and position would be the first contract's
        equity = equity.drop(columns=["price", "position"])
    if "price" in equity:
        lines = [series("close", "price", pack.numbers(equity["price"]))]
        found.append(panel("price", "Price and trades", "price", lines, height=240, log=True))
    for name, unit in (("position", "quantity"), ("exposure", "percent")):
        if name in equity:
            lines = [series("net of all contracts" if unit == "percent" else "contracts held",
                            "position", pack.numbers(equity[name]), shape="step")]  # fmt: skip
            title = "Exposure, part of equity" if unit == "percent" else "Position, long above zero"
            found.append(panel("position", title, unit, lines, height=110))
            break
    return found


def _by_symbol(equity: pd.DataFrame, trades: pd.DataFrame, pack: Pack) -> list[Panel]:
    """Return what the closed trades of each contract have earned, where there are several."""
    symbols = sorted(trades["symbol"].astype(str).unique()) if "symbol" in trades else []
    if len(symbols) < 2:
        return []
    stamps = pd.DatetimeIndex(equity["close_time"])
    lines = []
    for number, symbol in enumerate(symbols):
        mine = trades[trades["symbol"].astype(str) == symbol]
        rows = np.searchsorted(to_ns(stamps), to_ns(pd.DatetimeIndex(mine["closed_at"])))
        earned = np.zeros(len(stamps))
        np.add.at(earned, np.minimum(rows, len(stamps) - 1), mine["net_pnl"].to_numpy(dtype=float))
        values = pack.numbers(np.cumsum(earned))
        lines.append(series(symbol, f"v{number % COLOURS}", values))
    title = "Net PnL of closed trades, by contract"
    return [panel("symbols", title, "money", lines, height=170)]


def costs_panel(equity: pd.DataFrame, pack: Pack) -> Panel:
    """Return what each cost has summed to."""
    lines = [series(name, colour, pack.numbers(total)) for name, colour, total in _costs(equity)]
    return panel("costs", "Cumulative costs (paid is below zero)", "money", lines, height=170)


def _costs(equity: pd.DataFrame) -> list[tuple[str, str, FloatArray]]:
    found = []
    for name, column, colour, sign in (
        ("fees", "fee", "fee", -1),
        ("funding", "funding", "funding", 1),
        ("slippage", "slippage", "slippage", -1),
        ("liquidation", "liquidation", "bad", -1),
    ):
        if column in equity and (column != "liquidation" or equity[column].any()):
            total = np.cumsum(equity[column].to_numpy(dtype=float))
            found.append((name, colour, sign * total))
    return found


def comparison_over_time(
    curves: pd.DataFrame, styles: Mapping[str, Series], pack: Pack
) -> dict[str, Any] | None:
    """Return stamps and panels of a comparison: growth and drawdown of every curve.

    Parameters
    ----------
    styles
        Name of a curve → how it is drawn: what ``series`` takes beside label and values.
    """
    if len(curves) < 2 or not styles:
        return None
    growth_of, stretch = thinned_curves(curves[["close_time", *styles]])
    fallen = curves[["close_time"]].copy()
    for name in styles:
        values = curves[name].to_numpy(dtype=float)
        fallen[name] = values / np.maximum.accumulate(np.maximum(values, 1.0)) - 1
    fall_of, _ = thinned_curves(fallen)

    def lines(frame: pd.DataFrame) -> list[Series]:
        return [
            {**series(name, "", pack.numbers(frame[name])), **style}
            for name, style in styles.items()
        ]

    positive = bool((curves[list(styles)] > 0).all(axis=None))
    return {
        "time": pack.stamps(pd.DatetimeIndex(growth_of["close_time"])),
        "stretch": stretch,
        "panels": [
            panel("growth", "Growth of 1, after all costs", "ratio", lines(growth_of),
                  height=320, log=positive),
            panel("drawdown", "Drawdown", "percent", lines(fall_of), height=180),
        ],
    }  # fmt: skip


def thinned_curves(curves: pd.DataFrame) -> tuple[pd.DataFrame, int]:
    """Return curves that fit a page and the bars that one stretch of them stands for.

    Each stretch of bars becomes two rows that hold every curve's lowest and highest value in the
    order they came in, so that no peak and no fall is lost; 1 where all bars are kept.
    """
    names = [name for name in curves.columns if name != "close_time"]
    stretch = -(-2 * len(curves) * len(names) // MOST_VALUES)
    if len(curves) * len(names) <= MOST_VALUES:
        return curves, 1
    rows = _places(len(curves), stretch)
    kept = pd.DataFrame(
        {name: _extremes(curves[name].to_numpy(dtype=float), stretch) for name in names}
    )
    kept.insert(0, "close_time", pd.DatetimeIndex(curves["close_time"])[rows])
    return kept.drop_duplicates("close_time", keep="last"), stretch


def _places(count: int, stretch: int) -> IntArray:
    """Return the bars whose stamps the kept values take: the first, two of each stretch, the last.

    The first and the last bar keep their own values.
    """
    starts = np.arange(0, count, stretch)
    lengths = np.diff(np.append(starts, count))
    halves = starts + np.maximum(lengths // 2, 1)
    starts[0], halves[0] = 1, max(halves[0], 2)
    inner = np.minimum(np.column_stack([starts, halves]).ravel(), count - 1)
    places: IntArray = np.concatenate([[0], inner, [count - 1]])
    return places


def _extremes(values: FloatArray, stretch: int) -> FloatArray:
    """Return lowest and highest value of each stretch as they came, between first and last."""
    short = -len(values) % stretch
    parts = np.append(values, np.full(short, np.nan)).reshape(-1, stretch)
    low = np.where(np.isnan(parts), np.inf, parts).argmin(axis=1)
    high = np.where(np.isnan(parts), -np.inf, parts).argmax(axis=1)
    both = np.column_stack([np.minimum(low, high), np.maximum(low, high)])
    inner = np.take_along_axis(parts, both, axis=1).ravel()
    found: FloatArray = np.concatenate([values[:1], inner, values[-1:]])
    return found
