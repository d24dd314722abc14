"""Does funding follow the premium it is paid on: its sign, and hours that stamps cannot show.

Longs pay where trades stand above the mark, so over enough settlements the rates rise with the mean
premium of the interval they are for. How much of this real files show, and what may be concluded,
stands with figures in ``docs/data.md``: the sign, and a shift of some hours, never one hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass

import numpy as np

from perpwalk.data.coverage import settlement_intervals
from perpwalk.data.validate import Prices
from perpwalk.domain import BarFrame, Finding, FloatArray, FundingFrame, IntArray, Level, to_ns

FEWEST = 300  # settlements: below, rates of a calm market show nothing
FEWEST_CHANGES = 250  # between them, with what a moved stamp loses at the ends
TURNED = -0.2  # real files, 300 settlements and more: never below -0.1
MANY = 3000
UNRELATED = 0.1  # real files, 3,000 settlements and more: never below 0.3
REACH = 26  # hours a clock may be off: a day, and stamps at the other end of the bar
NEAR = 2  # hours that cannot be told from none: the premium lingers, and is sampled by the bar
AHEAD = frozenset({"bybit", "bitmex"})  # settle rates that were fixed an interval before
CLEARLY = 5.0  # standard errors by which a shift beyond must fit better than all within

_HOUR = 3600 * 10**9
_CANDLE = ("open", "high", "low", "close")


@dataclass(frozen=True, eq=False)
class Premium:
    """How far trades stood above the mark in each bar, as a fraction; both shape (n,).

    The mean of a candle's four prices: one trade at the close is mostly noise of the spread.
    """

    closes: IntArray
    values: FloatArray
    step: int

    @classmethod
    def of(
        cls,
        closes: IntArray,
        step: int,
        trades: BarFrame | Prices,
        at: IntArray,
        marks: BarFrame | Prices,
        of: IntArray,
    ) -> Premium:
        """Hold rows ``at`` of the trades against rows ``of`` of the marks."""
        apart = [getattr(trades, name)[at] / getattr(marks, name)[of] - 1 for name in _CANDLE]
        return cls(closes[at], np.mean(apart, axis=0), step)

    def before(self, stamps: IntArray, lengths: IntArray) -> FloatArray:
        """Return the mean over the interval that ends at each stamp; NaN where a bar is missing."""
        total = np.concatenate(([0.0], np.cumsum(self.values)))
        stop = np.searchsorted(self.closes, stamps, side="right")
        start = np.searchsorted(self.closes, stamps - lengths, side="right")
        whole = (stop > start) & (stop - start == lengths // self.step)
        mean: FloatArray = (total[stop] - total[start]) / np.maximum(stop - start, 1)
        return np.where(whole, mean, np.nan)


def aligned_premium(bars: BarFrame, mark: BarFrame) -> Premium:
    """Return the premium over mark candles on the bars' own grid; stand-ins are left out."""
    rows = np.flatnonzero(~mark.filled & ~bars.filled)
    return Premium.of(to_ns(bars.close_time), to_ns(bars.interval), bars, rows, mark, rows)


def follows_premium(
    where: str, funding: FundingFrame, premium: Premium, venues: Set[str] = frozenset()
) -> Iterator[Finding]:
    """Hold rates against the mean premium of the interval they are for: sign, then clock.

    The clock is asked only where they rise together: against a premium that is turned, or of no
    connection, the best of many shifts is chance. ``venues`` are those the file speaks of.
    """
    stamps = to_ns(funding.settle_time)
    lengths = settlement_intervals(funding.settle_time)
    related, count = _related(premium.before(stamps, lengths), funding.rate)
    if related is None or count < FEWEST:
        return
    yield _sign(where, related, count, "mark candles")
    if related > 0:
        yield from _clock(where, funding, premium, venues)


def follows_own_marks(
    where: str, funding: FundingFrame, closes: IntArray, prices: FloatArray
) -> Iterator[Finding]:
    """Hold rates against the premium of the close over the record's own mark: the sign alone."""
    stamps = to_ns(funding.settle_time)
    at = np.minimum(np.searchsorted(closes, stamps), len(closes) - 1)
    premium = np.where(closes[at] == stamps, prices[at] / funding.mark_price - 1, np.nan)
    related, count = _related(premium, funding.rate)
    if related is not None and count >= FEWEST:
        yield _sign(where, related, count, "its own marks")


def _sign(where: str, related: float, count: int, marks: str) -> Finding:
    why = advice = None
    if related < TURNED:
        why = (
            "longs pay where trades stand above the mark: the sign of the rates is turned, or they "
            "are of another venue or contract than the prices"
        )
        advice = "rates are positive where longs pay: turn the sign, or give the right file"
    elif count >= MANY and related < UNRELATED:
        why = (
            "funding is paid on the premium: unrelated rates are of another contract, shifted in "
            "time, or made up"
        )
        advice = "compare some settlements with the exchange"
    return Finding(
        code="D016",
        level=Level.INFO if why is None else Level.WARN,
        where=where,
        message=f"rank correlation of {related:.2f} with the premium of trades over {marks} "
        f"({count:,} settlements)",
        expected="0.3 to 0.6 over years on one venue; in a calm year perhaps 0",
        why=why,
        advice=advice,
    )


def _clock(
    where: str, funding: FundingFrame, premium: Premium, venues: Set[str]
) -> Iterator[Finding]:
    """Move the stamps by hours and see where the rates' changes fit the premium's changes best.

    Changes, since both linger for days: their levels fit at any hour equally well.
    """
    stamps, lengths = to_ns(funding.settle_time), settlement_intervals(funding.settle_time)
    steps, every = np.diff(funding.rate), max(_HOUR, premium.step)
    fits: dict[int, float] = {}
    for moved in range(-(REACH * _HOUR // every), REACH * _HOUR // every + 1):
        change = np.diff(premium.before(stamps + moved * every, lengths))
        related, count = _related(change, steps)
        if related is not None and count >= FEWEST_CHANGES:
            fits[moved] = float(np.arctanh(min(related, 1 - 1e-9)) * np.sqrt(count - 3))
    near = [fits[moved] for moved in fits if abs(moved) * every <= NEAR * _HOUR]
    if not near:
        return
    best = max(fits, key=lambda moved: (fits[moved], -abs(moved)))
    gained = fits[best] - max(near)
    if gained < CLEARLY:
        return
    before, hours = best < 0, abs(best) * every / _HOUR
    why = "settlements fall on the wrong bars, and what is known when is wrong by as much"
    if before:
        why += "; or the venue fixes a rate an interval ahead (BitMEX does, Bybit did until 2022)"
    yield Finding(
        code="D023",
        level=Level.INFO if before and venues & AHEAD else Level.WARN,
        where=where,
        message=f"its rates fit the premium about {hours:g} h {'before' if before else 'after'} "
        "their stamps: the clocks of funding and prices may differ",
        observed=f"changes of rate and premium fit {gained:.1f} standard errors better there than "
        "as stamped",
        expected=f"less than {CLEARLY:g}",
        why=why,
        advice="compare one settlement with the exchange; is the file in local time? Write UTC",
    )


def _related(one: FloatArray, two: FloatArray) -> tuple[float | None, int]:
    """Return the rank correlation where both are known, None of constants, and how many are."""
    from scipy.stats import rankdata

    known = np.isfinite(one) & np.isfinite(two)
    count = int(known.sum())
    if count < 2 or np.ptp(one[known]) == 0 or np.ptp(two[known]) == 0:
        return None, count
    return float(np.corrcoef(rankdata(one[known]), rankdata(two[known]))[0, 1]), count
