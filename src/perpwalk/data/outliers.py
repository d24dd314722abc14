"""Prices and volumes far beyond those around them: crashes look like this, and so do misprints.

Each part of a bar has a yardstick of its own, made of medians, so that what is odd does not
stretch it:

- closes: the typical move from close to close of the whole file;
- highs and lows, beyond open and close: the typical range of the bars around;
- opens, against the close before: the same, and the typical such step where a market has any;
- volumes: the typical volume of the bars around, and how far volumes of this file stray from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from perpwalk.data.validate import AROUND, Prices, listed, typical_around, utc
from perpwalk.domain import BoolArray, Finding, FloatArray, IntArray, Level

OUTLIER_SDS = 20.0  # robust standard deviations; hourly ETH passes it on a handful of known days
OUTLIER_MOVE = 0.5  # odd on any market
WICK_RANGES = 15.0  # the longest wicks of real cascades are 13 times the range of the hours around
OPEN_RANGES = 3.0  # on a perpetual an open is a tick from the close before
VOLUME_TIMES, VOLUME_SDS = 100.0, 8.0  # real bursts reach 36 times the volume around
QUIET = 0.25  # a lull makes no wick of an ordinary move: ranges count as at least this much
FEWEST = 8
LOOKED_AT = 4_000

_SD = 1.4826  # of a normal variable, in medians of its absolute value


@np.errstate(divide="ignore", invalid="ignore", over="ignore")  # a hostile cell may be 1e308
def outlier_findings(
    where: str, ns: IntArray, prices: Prices, interval: pd.Timedelta, *, with_volume: bool
) -> list[Finding]:
    """Return findings on closes, wicks, opens and volumes; mark candles have no volume."""
    if len(ns) < 3:
        return []
    adjacent = np.diff(ns) == interval.as_unit("ns").value
    found = [*_closes(where, ns, prices, adjacent)]
    if len(ns) < FEWEST:
        return found
    ranges = _Ranges.of(prices)
    found += [*_wicks(where, ns, prices, ranges), *_opens(where, ns, prices, ranges, adjacent)]
    return [*found, *_volumes(where, ns, prices.volume)] if with_volume else found


@dataclass(frozen=True)
class _Told:
    """What is said of the bars of one kind, the farthest one named."""

    where: str
    ns: IntArray
    message: str
    why: str

    def of(self, rows: IntArray, farthest: int, text: str) -> Iterator[Finding]:
        if len(rows):
            yield Finding(
                code="D010",
                level=Level.WARN,
                where=self.where,
                message=f"{self.message}: {len(rows):,}",
                observed=f"{listed(self.ns[rows])}; the largest {text} at {utc(self.ns[farthest])}",
                why=self.why,
                advice="crashes, outages and first hours look like this and so do misprints; "
                "compare with another source",
            )


def _closes(where: str, ns: IntArray, prices: Prices, adjacent: BoolArray) -> Iterator[Finding]:
    moves = np.diff(np.log(prices.close))
    size = np.abs(moves)
    robust_sd = _SD * float(np.median(size))
    limit = min(OUTLIER_SDS * robust_sd, float(np.log1p(OUTLIER_MOVE))) if robust_sd else np.inf
    rows = np.flatnonzero((size > limit) & adjacent) + 1
    if not len(rows):
        return
    told = _Told(
        where, ns, f"bars that move more than {np.expm1(limit):.1%} close to close",
        f"{OUTLIER_SDS:g} robust standard deviations, or {OUTLIER_MOVE:.0%}",
    )  # fmt: skip
    worst = rows[np.argmax(size[rows - 1])]
    yield from told.of(rows, worst, f"{np.expm1(moves[worst - 1]):+.1%}")


# ── highs, lows and opens ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Ranges:
    """Ranges of bars; the one around a bar counts as ``floor`` at least (0: no price moves)."""

    values: FloatArray
    floor: float

    @classmethod
    def of(cls, prices: Prices) -> _Ranges:
        values = prices.high / prices.low - 1
        moving = values[values > 0]
        return cls(values, QUIET * _median(moving) if len(moving) else 0.0)

    def beyond(self, size: FloatArray, times: float) -> IntArray:
        """Return the rows whose ``size`` is beyond ``times`` the typical range around them.

        The floor alone leaves few bars to look at: a running median of all would cost more than
        reading them.
        """
        rows = np.flatnonzero(size > min(times * self.floor or np.inf, OUTLIER_MOVE))
        scale = np.maximum(typical_around(self.values, rows), self.floor)
        limit = np.minimum(times * scale if self.floor else np.inf, OUTLIER_MOVE)
        found: IntArray = rows[size[rows] > limit]
        return found


def _wicks(where: str, ns: IntArray, prices: Prices, ranges: _Ranges) -> Iterator[Finding]:
    up = prices.high / np.maximum(prices.open, prices.close) - 1
    down = np.minimum(prices.open, prices.close) / prices.low - 1
    size = np.maximum(up, down)
    rows = ranges.beyond(size, WICK_RANGES)
    if not len(rows):
        return
    told = _Told(
        where, ns, "bars whose high or low is far from open and close",
        f"farther than {WICK_RANGES:g} times the median range of the {AROUND} bars around, or "
        f"{OUTLIER_MOVE:.0%}; stops and liquidations are met there",
    )  # fmt: skip
    worst = rows[np.argmax(size[rows])]
    high = up[worst] >= down[worst]
    share = up[worst] if high else 1 / (1 + down[worst]) - 1
    yield from told.of(rows, worst, f"a {'high' if high else 'low'} of {share:+.1%}")


def _opens(
    where: str, ns: IntArray, prices: Prices, ranges: _Ranges, adjacent: BoolArray
) -> Iterator[Finding]:
    steps = prices.open[1:] / prices.close[:-1]
    size = np.maximum(steps, 1 / steps) - 1
    rows = ranges.beyond(np.concatenate(([0.0], np.where(adjacent, size, 0.0))), OPEN_RANGES)
    if len(rows):  # stocks open anew every day
        usual = OUTLIER_SDS * _SD * float(np.median(size))
        rows = rows[size[rows - 1] > min(usual, OUTLIER_MOVE)]
    if not len(rows):
        return
    told = _Told(
        where, ns, "bars that open far from the close before",
        f"farther than {OPEN_RANGES:g} times the median range of the {AROUND} bars around and "
        f"{OUTLIER_SDS:g} robust standard deviations of such steps, or {OUTLIER_MOVE:.0%}",
    )  # fmt: skip
    worst = rows[np.argmax(size[rows - 1])]
    yield from told.of(rows, worst, f"{steps[worst - 1] - 1:+.1%}")


# ── volumes ──────────────────────────────────────────────────────────────────────────────────────


def _volumes(where: str, ns: IntArray, volume: FloatArray) -> Iterator[Finding]:
    """Find volumes far above or below those around; bars without any have a finding of their own.

    Medians of stretches side by side leave few bars to look at; these are held against the bars
    around each.
    """
    typical = _by_stretches(volume)
    _, apart = _times(volume, typical)
    known = apart[apart > 0]
    if not len(known):
        return
    # A power, not a sum of logarithms: the same bound at a part of the cost.
    limit = max(VOLUME_TIMES, _median(known) ** (VOLUME_SDS * _SD))
    rows = np.flatnonzero(apart > limit / 4)
    times, apart = _times(volume[rows], typical_around(volume, rows))
    far = apart > limit
    rows, times, apart = rows[far], times[far], apart[far]
    if not len(rows):
        return
    told = _Told(
        where, ns, f"bars whose volume is more than {limit:,.0f} times or less than "
        f"1/{limit:,.0f} of that around",
        f"the median of the {AROUND} bars around; the bound is {VOLUME_TIMES:g} times, or "
        f"{VOLUME_SDS:g} robust standard deviations where volumes stray more",
    )  # fmt: skip
    worst = int(np.argmax(apart))
    size = f"{apart[worst]:,.0f}" if apart[worst] < 1e9 else f"{apart[worst]:.3g}"
    text = f"{size} times" if times[worst] > 1 else f"1/{size}"
    yield from told.of(rows, int(rows[worst]), text)


def _times(volume: FloatArray, typical: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return volume over the typical one, and the larger of that and its inverse (0: unknown)."""
    times = volume / typical
    apart = np.maximum(times, 1 / times)
    return times, np.where(np.isfinite(apart), apart, 0.0)


def _by_stretches(values: FloatArray) -> FloatArray:
    """Return for each value the median of its stretch of about ``AROUND``."""
    width = min(AROUND, len(values))
    whole = len(values) // width * width
    half = width // 2
    medians = np.partition(values[:whole].reshape(-1, width), half, axis=1)[:, half]
    rest = np.full(len(values) - whole, medians[-1])
    return np.concatenate((np.repeat(medians, width), rest))


def _median(values: FloatArray) -> float:
    """Return the median; of many values, that of thousands an odd number of steps apart."""
    return float(np.median(values[:: len(values) // LOOKED_AT | 1]))
