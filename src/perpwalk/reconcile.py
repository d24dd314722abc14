"""Two ledgers of one replay held against each other, to the first event in which they part.

A pure function of two ``Ledger``s; where they come from does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from perpwalk.domain import Finding, FloatArray, IntArray, Level, to_ns
from perpwalk.ledger import Ledger

# In the order in which one causes the next within a bar; `position` is compared in money.
_COMPARED = ("position", "fee", "slippage", "liquidation", "funding", "price_pnl", "cash", "equity")
_COMPARED_FILLS = ("quantity", "price", "reference_price", "fee", "slippage")


@dataclass(frozen=True, eq=False)
class _Differences:
    """One kind of record in both ledgers: what each says and how far apart, in money.

    ``bar`` (row of the equity tables) has shape (k,); ``first``, ``second`` and ``apart`` have
    shape (k, columns).
    """

    event: str
    names: Sequence[str]
    bar: IntArray
    first: FloatArray
    second: FloatArray
    apart: FloatArray


def compare(first: Ledger, second: Ledger, tolerance: float = 1e-9) -> tuple[float, Finding | None]:
    """Hold two ledgers of one replay against each other: bars, fills and settlements.

    Parameters
    ----------
    first, second
        Usually the Backtrader replay and its recomputation, of one contract.
    tolerance
        What is allowed, as a fraction of the larger of equity and initial cash at the bar.

    Returns
    -------
    float
        Largest difference as that fraction; infinite where bars, fills, settlements or the day of
        bankruptcy do not pair.
    Finding or None
        A011 where the difference exceeds ``tolerance``: the first bar and, within it, the event in
        which the ledgers part.
    """
    if not _same_bars(first, second):
        return np.inf, _disagreement(first, 0, "the bars", *_spans(first, second), tolerance)
    equity = first.equity["equity"].to_numpy()
    scale = np.maximum(np.abs(equity), first.initial_cash)
    worst, parting = 0.0, (len(equity), "", "", "")
    for kind in (_fill_differences(first, second), *_bar_differences(first, second, scale)):
        if len(kind.bar) == 0:
            continue
        share = kind.apart / scale[kind.bar][:, None]
        worst = max(worst, float(np.nan_to_num(share, nan=np.inf).max()))
        at = _first_parting(kind, share, tolerance)
        if at is not None and at[0] < parting[0]:
            parting = at
    if parting[0] == len(equity) and first.bankrupt_at == second.bankrupt_at:
        return worst, None
    if parting[0] == len(equity):
        died = (str(first.bankrupt_at), str(second.bankrupt_at))
        return np.inf, _disagreement(first, 0, "bankruptcy", *died, tolerance)
    return worst, _disagreement(first, *parting, tolerance)


def _same_bars(first: Ledger, second: Ledger) -> bool:
    mine, other = first.equity["close_time"], second.equity["close_time"]
    return len(mine) == len(other) and bool(
        (to_ns(pd.DatetimeIndex(mine)) == to_ns(pd.DatetimeIndex(other))).all()
    )


def _spans(first: Ledger, second: Ledger) -> tuple[str, str]:
    books = (first.equity["close_time"], second.equity["close_time"])
    return tuple(  # type: ignore[return-value]
        f"{len(book)} bars" + (f" to {book.iloc[-1]}" if len(book) else "") for book in books
    )


def _first_parting(
    kind: _Differences, share: FloatArray, tolerance: float
) -> tuple[int, str, str, str] | None:
    """Return bar, event and both values where this kind of record first differs too much."""
    wrong = ~(share <= tolerance)
    rows = np.flatnonzero(wrong.any(axis=1))
    if len(rows) == 0:
        return None
    row = int(rows[np.argmin(kind.bar[rows])])
    column = int(np.argmax(wrong[row]))
    event = f"{kind.event}{kind.names[column]}"
    values = (f"{side[row, column]:.12g}" for side in (kind.first, kind.second))
    return (int(kind.bar[row]), event, *values)  # type: ignore[return-value]


def _disagreement(
    ledger: Ledger, bar: int, event: str, mine: str, other: str, tolerance: float
) -> Finding:
    stamps = ledger.equity["close_time"]
    return Finding(
        code="A011",
        level=Level.ERROR,
        where=str(stamps.iloc[bar]) if bar < len(stamps) else "the whole replay",
        message=f"the two ledgers disagree: {event}",
        observed=f"{mine} in the first, {other} in the second",
        expected=f"equal to {tolerance:g} of equity",
        why="two computations of one account from one specification; at least one is wrong",
        advice="this is a bug of perpwalk; report it with the configuration",
    )


def _bar_differences(
    first: Ledger, second: Ledger, scale: FloatArray
) -> tuple[_Differences, _Differences]:
    """Return the differences of the bars' columns, and of the settlements."""
    mine, other = (book.equity[list(_COMPARED)].to_numpy(np.float64) for book in (first, second))
    apart = np.abs(mine - other)
    apart[:, 0] *= first.equity["price"].to_numpy()
    rows = np.arange(len(scale))
    bars = _Differences("", _COMPARED, rows, mine, other, apart)
    return bars, _settlement_differences(first, second)


def _fill_differences(first: Ledger, second: Ledger) -> _Differences:
    """Pair the fills in order; a fill that one ledger has not is infinitely far from none."""
    mine, other = (
        book.fills[list(_COMPARED_FILLS)].to_numpy(np.float64) for book in (first, second)
    )
    rows = _paired_rows(_fill_bars(first), _fill_bars(second))
    mine, other = _padded(mine, len(rows)), _padded(other, len(rows))
    apart = np.abs(mine - other)
    size = np.abs(mine[:, 0])
    apart[:, 0] *= mine[:, 1]  # a quantity counts at its price, a price times its quantity
    apart[:, 1] *= size
    apart[:, 2] *= size
    return _Differences("fill, ", _COMPARED_FILLS, rows, mine, other, apart)


def _settlement_differences(first: Ledger, second: Ledger) -> _Differences:
    closes = to_ns(pd.DatetimeIndex(first.equity["close_time"]))
    stamps = [to_ns(pd.DatetimeIndex(book.funding["settle_time"])) for book in (first, second)]
    rows = _paired_rows(*(np.searchsorted(closes, times, side="left") for times in stamps))
    mine, other = (
        _padded(book.funding[["payment"]].to_numpy(np.float64), len(rows))
        for book in (first, second)
    )
    rows = np.minimum(rows, len(closes) - 1)
    return _Differences("settlement, ", ("payment",), rows, mine, other, np.abs(mine - other))


def _fill_bars(ledger: Ledger) -> IntArray:
    """Return the equity row of each fill; forced closes bear their bar's close."""
    closes = to_ns(pd.DatetimeIndex(ledger.equity["close_time"]))
    times = to_ns(pd.DatetimeIndex(ledger.fills["time"]))
    forced = ledger.fills["reason"].isin(("liquidation", "bankruptcy")).to_numpy()
    at_close, at_open = (np.searchsorted(closes, times, side) for side in ("left", "right"))
    rows: IntArray = np.where(forced, at_close, at_open)
    return rows


def _paired_rows(mine: IntArray, other: IntArray) -> IntArray:
    """Return the earlier bar of each pair, the only bar where one list is longer."""
    longest = max(len(mine), len(other))
    never = np.iinfo(np.int64).max
    padded = [np.concatenate((r, np.full(longest - len(r), never))) for r in (mine, other)]
    rows: IntArray = np.minimum(*padded)
    return rows


def _padded(values: FloatArray, rows: int) -> FloatArray:
    missing = np.full((rows - len(values), values.shape[1]), np.nan)
    return np.concatenate((values, missing))
