"""Do two series of one contract keep the same clock: marks against the bars' closes.

A file written in local time, or stamped at the other end of the bar, fits the prices of another
moment better than those of its own. One hour off is enough to tell: the market moves more in an
hour than mark and trades ever part.
"""

from __future__ import annotations

import numpy as np

from perpwalk.domain import BarFrame, Finding, FloatArray, IntArray, Level, to_ns

REACH = 26  # bars either way: a day, and a bar for marks stamped at the other end
FEWEST = 100  # marks that must be compared at each shift
CLEARLY = 0.5  # of the distance at shift 0 that another shift must stay below


def clock_skew(
    where: str, stamps: IntArray, marks: FloatArray, bars: BarFrame
) -> tuple[Finding, ...]:
    """Return D023 where marks fit the closes of other bars than those that end at their stamps.

    Parameters
    ----------
    where
        Names the series for the message.
    stamps
        Times in UTC nanoseconds at which the marks hold.
    marks
        Mark prices; NaN where unknown.
    """
    closes = to_ns(bars.close_time)
    known = np.isfinite(marks)
    apart = {
        shift: found
        for shift in range(-REACH, REACH + 1)
        if (found := _apart(stamps[known], marks[known], closes, bars, shift)) is not None
    }
    if 0 not in apart or len(apart) < 2:
        return ()
    best = min(apart, key=lambda shift: apart[shift])
    if best == 0 or apart[best] >= CLEARLY * apart[0]:
        return ()
    ahead = "later" if best > 0 else "earlier"
    return (
        Finding(
            code="D023",
            level=Level.ERROR,
            where=where,
            message=f"its marks are the prices of {abs(best)} bars {ahead} than their stamps: the "
            "clocks of the two files differ",
            observed=f"median distance to the closes {1e4 * apart[0]:.1f} bp as stamped, "
            f"{1e4 * apart[best]:.1f} bp at {best:+d} bars",
            expected="nearest as stamped",
            why="settlements fall on the wrong bars, and what is known when is wrong by as much",
            advice="is one file in local time, or stamped at the other end of the bar? Write both "
            "in UTC",
        ),
    )


def _apart(
    stamps: IntArray, marks: FloatArray, closes: IntArray, bars: BarFrame, shift: int
) -> float | None:
    """Return the median distance of marks to the closes ``shift`` bars later; None of too few."""
    wanted = stamps + shift * to_ns(bars.interval)
    at = np.minimum(np.searchsorted(closes, wanted), len(closes) - 1)
    there = closes[at] == wanted
    if int(there.sum()) < FEWEST:
        return None
    return float(np.median(np.abs(marks[there] / bars.close[at[there]] - 1)))
