"""Coarse bars from fine ones, without a look ahead.

A coarse bar ``[T, T + interval)`` is made of the fine bars that open inside it and is known at
``T + interval``, when the last of them has closed, never before. Bars stand on the grid of UTC: an
hour begins at :00, a day at 00:00. A coarse bar that lacks fine ones has not seen all of its
trades: ``partial`` says what becomes of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from perpwalk.data.gaps import GapPolicy, Rows, frame_of, settle_gaps
from perpwalk.data.validate import Prices, listed, utc
from perpwalk.domain import BarFrame, BoolArray, Finding, IntArray, Level, to_ns
from perpwalk.errors import DataError

PartialBars = Literal["error", "drop", "keep"]

_WEEK = 7 * 86_400 * 10**9
_MONDAY = 4 * 86_400 * 10**9  # 1970-01-01 was a Thursday; weeks begin on Monday


def resample(
    bars: BarFrame,
    interval: pd.Timedelta,
    partial: PartialBars = "error",
    *,
    path: Path | str | None = None,
) -> tuple[BarFrame, tuple[Finding, ...]]:
    """Put fine bars together to bars of ``interval``.

    Parameters
    ----------
    partial
        What becomes of a coarse bar that lacks fine ones: ``error`` refuses it, except at the two
        ends of the data, where a bar that has begun before or goes on after is always left out
        unless ``keep``; ``drop`` leaves it out; ``keep`` keeps it, and the finding lists it.
    path
        The file, for messages.

    Returns
    -------
    tuple
        The coarse bars, which may have gaps, and what was found on the way. A bar is ``filled``
        where all of its fine bars are.

    Raises
    ------
    DataError
        ``interval`` is no multiple of the bars' own, the bars do not stand on its grid, bars lack
        fine ones and ``partial`` is ``error``, or nothing is left.
    """
    fine, step = to_ns(bars.interval), to_ns(interval)
    phase = _phase(step)
    stamps: IntArray = to_ns(bars.open_time)
    if step % fine or step <= fine:
        raise DataError(
            f"bars of {bars.interval} cannot be put together to {interval}: no whole multiple",
            path=path,
        )
    off = (stamps - phase) % fine != 0
    if off.any():
        raise DataError(
            f"the bar of {utc(stamps[int(np.argmax(off))])} does not stand on the grid of "
            f"{interval} bars in UTC",
            path=path,
        )
    group = (stamps - phase) // step
    starts = np.flatnonzero(np.concatenate(([True], np.diff(group) != 0)))
    counts = np.diff(np.concatenate((starts, [len(stamps)])))
    opens: IntArray = group[starts] * step + phase
    lacking: BoolArray = counts < step // fine
    kept = _kept(opens, lacking, partial, path)
    if not kept.any():
        raise DataError(f"no bar of {interval} is complete in it", path=path)
    coarse = frame_of(
        Rows(opens[kept], _joined(bars, starts).take(np.flatnonzero(kept)), np.flatnonzero(kept)),
        bars.symbol,
        interval,
        np.logical_and.reduceat(bars.filled, starts)[kept],
    )
    return coarse, tuple(_finding(opens, lacking, step // fine, partial, path))


def inside(fine: BarFrame, coarse: BarFrame) -> BarFrame:
    """Return the fine bars of which the coarse ones are made; made-up coarse bars have none."""
    step = to_ns(coarse.interval)
    phase = _phase(step)
    opened = (to_ns(fine.open_time) - phase) // step * step + phase
    kept = np.flatnonzero(np.isin(opened, to_ns(coarse.open_time)[~coarse.filled]))
    prices = Prices(fine.open, fine.high, fine.low, fine.close, fine.volume)
    rows = Rows(to_ns(fine.open_time), prices, np.arange(len(fine))).take(kept)
    return frame_of(rows, fine.symbol, fine.interval, fine.filled[kept])


def close_gaps(
    bars: BarFrame, policy: GapPolicy, *, path: Path | str
) -> tuple[BarFrame, list[Finding]]:
    """Apply ``market.gaps`` to bars that were put together."""
    prices = Prices(bars.open, bars.high, bars.low, bars.close, bars.volume)
    rows = Rows(to_ns(bars.open_time), prices, np.arange(len(bars)))
    where = f"ohlcv {Path(path).name}"
    return settle_gaps(
        rows, bars.symbol, bars.interval, policy, where, lambda m, _row: DataError(m, path=path)
    )


def forming(bars: BarFrame, interval: pd.Timedelta) -> tuple[Prices, BoolArray, IntArray]:
    """Return, at each fine bar's close, the coarse bar as far as it has come.

    Returns
    -------
    tuple
        Open, high, low, close and volume so far; whether the coarse bar is complete with this fine
        bar's close; when the coarse bar opened (ns). All of shape (n,). Row i uses bars up to i.
    """
    fine, step = to_ns(bars.interval), to_ns(interval)
    if step % fine or step <= fine:
        raise DataError(f"bars of {bars.interval} do not divide a bar of {interval}")
    phase = _phase(step)
    stamps: IntArray = to_ns(bars.open_time)
    group = (stamps - phase) // step
    frame = pd.DataFrame(
        {"high": bars.high, "low": bars.low, "volume": bars.volume, "open": bars.open}
    )
    by = frame.groupby(group, sort=False)
    prices = Prices(
        by["open"].transform("first").to_numpy(),
        by["high"].cummax().to_numpy(),
        by["low"].cummin().to_numpy(),
        bars.close,
        by["volume"].cumsum().to_numpy(),
    )
    opened = group * step + phase
    return prices, stamps + fine == opened + step, opened


def _phase(step: int) -> int:
    """Return how far the grid of UTC's bars of this length stands off a multiple of it."""
    return _MONDAY if step % _WEEK == 0 else 0


def _kept(
    opens: IntArray, lacking: BoolArray, partial: PartialBars, path: Path | str | None
) -> BoolArray:
    if partial == "keep":
        return np.ones(len(opens), dtype=bool)
    inner = lacking.copy()
    inner[[0, -1]] = False
    if partial == "error" and inner.any():
        raise DataError(
            f"{int(inner.sum()):,} bars cannot be put together because finer bars are missing: "
            f"{listed(opens[inner])}; fetch them, or set market.partial_bars to drop (leave the "
            "bar out) or keep (make it of what there is)",
            path=path,
        )
    return ~lacking


def _joined(bars: BarFrame, starts: IntArray) -> Prices:
    last = np.concatenate((starts[1:], [len(bars)])) - 1
    return Prices(
        bars.open[starts],
        np.maximum.reduceat(bars.high, starts),
        np.minimum.reduceat(bars.low, starts),
        bars.close[last],
        np.add.reduceat(bars.volume, starts),
    )


def _finding(
    opens: IntArray,
    lacking: BoolArray,
    whole: int,
    partial: PartialBars,
    path: Path | str | None,
) -> list[Finding]:
    if not lacking.any():
        return []
    at_ends = int(lacking[0]) + (int(lacking[-1]) if len(lacking) > 1 else 0)
    done = "kept as they are" if partial == "keep" else "left out"
    return [
        Finding(
            code="D020",
            level=Level.INFO if at_ends == lacking.sum() and partial != "keep" else Level.WARN,
            where="resampling" if path is None else f"resampling {Path(path).name}",
            message=f"bars that lack some of their {whole} finer ones: {int(lacking.sum()):,}, "
            f"{done}",
            observed=listed(opens[lacking]),
            why="a bar of which a part is missing has not seen all trades; a bar that still forms "
            "is not known yet",
        )
    ]
