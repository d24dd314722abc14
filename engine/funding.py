"""Settlements mapped to bars: by time, each exactly once.

Rate, settlement and payment are three things. Here the published rates become a schedule of
settlements; the account turns a settlement into a payment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from perpwalk.domain import BarFrame, FloatArray, FundingFrame, IntArray, from_ns, to_ns

_MINUTE_NS = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Settlement:
    """One stamp to settle.

    ``mark_price`` is None where neither the record nor a mark candle has one: the trade close at
    the settlement's bar stands in.
    """

    stamp_ns: int
    rate: float
    mark_price: float | None
    assumed: bool


@dataclass(frozen=True)
class Schedule:
    """Settlements by bar of the replay.

    Attributes
    ----------
    before
        Bar number to stamps in the gap between the bar before and this bar's open.
    within
        Bar number to stamps after its open, up to and including its close.
    """

    before: dict[int, tuple[Settlement, ...]]
    within: dict[int, tuple[Settlement, ...]]


def on_the_minute(funding: FundingFrame) -> FundingFrame:
    """Round stamps to the nearest whole minute; of records that meet there the first counts.

    Exchanges deliver settlements some milliseconds to seconds off their time.
    """
    stamps = to_ns(funding.settle_time)
    rounded, first = np.unique(
        (stamps + _MINUTE_NS // 2) // _MINUTE_NS * _MINUTE_NS, return_index=True
    )
    return FundingFrame(
        symbol=funding.symbol,
        settle_time=from_ns(rounded),
        rate=funding.rate[first],
        mark_price=funding.mark_price[first],
        assumed=funding.assumed[first],
    )


def schedule(bars: BarFrame, funding: FundingFrame, mark_close: FloatArray | None) -> Schedule:
    """Give each settlement within the replay to the bar it belongs to.

    Parameters
    ----------
    bars
        The bars of the replay, n of them.
    funding
        All records; those outside ``(first open, last close]`` belong to no bar and are left out.
    mark_close
        Closes of the mark candles on the bars' own grid, shape (n,), NaN where missing.
    """
    rounded = on_the_minute(funding)
    stamps, closes = to_ns(rounded.settle_time), to_ns(bars.close_time)
    opens: IntArray = closes - to_ns(bars.interval)
    bar = np.searchsorted(closes, stamps, side="left")
    before: dict[int, list[Settlement]] = {}
    within: dict[int, list[Settlement]] = {}
    for row in np.flatnonzero((bar < len(closes)) & (stamps > opens[0])).tolist():
        number = int(bar[row])
        in_gap = bool(stamps[row] <= opens[number])
        # In a gap the last mark known is that of the bar before it.
        mark_bar = number - 1 if in_gap else number
        settlement = Settlement(
            stamp_ns=int(stamps[row]),
            rate=float(rounded.rate[row]),
            mark_price=_mark(float(rounded.mark_price[row]), mark_close, mark_bar),
            assumed=bool(rounded.assumed[row]),
        )
        (before if in_gap else within).setdefault(number, []).append(settlement)
    return Schedule(_frozen(before), _frozen(within))


def _mark(own: float, mark_close: FloatArray | None, bar: int) -> float | None:
    if np.isfinite(own):
        return own
    if mark_close is not None and np.isfinite(mark_close[bar]):
        return float(mark_close[bar])
    return None


def _frozen(found: dict[int, list[Settlement]]) -> dict[int, tuple[Settlement, ...]]:
    return {number: tuple(settlements) for number, settlements in found.items()}
