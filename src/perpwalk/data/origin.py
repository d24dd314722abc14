"""Where bars come from, judged by their shape: observed, made up, or copied from coarser ones.

Each sign alone has an innocent cause; a finding is made where several come together, or where the
pattern has no other explanation.
"""

from __future__ import annotations

import numpy as np

from perpwalk.data.validate import Prices
from perpwalk.domain import BoolArray, Finding, FloatArray, IntArray, Level

API_PAGES = (100, 200, 500, 1000, 1500)

ENOUGH_BARS = 500
LOOKED_AT = 4_000  # the latest bars tell as much as all of them
COPIED = 0.4
REGULAR = 0.9


def origin_findings(
    where: str, ns: IntArray, prices: Prices, *, with_volume: bool
) -> list[Finding]:
    """Return findings on pages, copies and made-up bars."""
    return [
        *page_finding(where, len(ns)),
        *_copied(where, ns, prices),
        *(_generated(where, prices) if with_volume else ()),
    ]


def page_finding(where: str, rows: int) -> list[Finding]:
    """Notice a count of rows that is exactly one page of an exchange's API."""
    if rows not in API_PAGES:
        return []
    return [
        Finding(
            code="D024",
            level=Level.WARN,
            where=where,
            message=f"exactly {rows:,} rows are one page of an exchange's API",
            why="the download may have stopped after its first page",
            advice="compare the range with what was asked for",
        )
    ]


# ── copies of coarser bars ───────────────────────────────────────────────────────────────────────


def _copied(where: str, ns: IntArray, prices: Prices) -> list[Finding]:
    """Find bars of a coarser interval put on a finer grid: repeated, padded or interpolated."""
    if len(ns) < 24:
        return []
    same = np.diff(prices.close) == 0
    if same.mean() > COPIED:
        return _repeated(where, ns, prices, same)
    bend = prices.close[2:] - 2 * prices.close[1:-1] + prices.close[:-2]
    straight: BoolArray = np.abs(bend) <= 1e-9 * prices.close[1:-1]
    straight &= ~same[1:]
    times = _spacing(np.flatnonzero(~straight)) if straight.mean() > COPIED else None
    return [] if times is None else [_copy(where, ns, times, "lie on straight lines between")]


def _repeated(where: str, ns: IntArray, prices: Prices, same: BoolArray) -> list[Finding]:
    flat = (prices.high == prices.low) & (prices.open == prices.close)
    flat &= np.concatenate(([False], same))
    if flat.mean() > COPIED:
        times = _spacing(np.flatnonzero(~flat))
        return [] if times is None else [_copy(where, ns, times, "are flat between")]
    whole = same.copy()
    for values in (prices.open, prices.high, prices.low):
        whole &= np.diff(values) == 0
    times = _spacing(np.flatnonzero(~whole)) if whole.mean() > COPIED else None
    return [] if times is None else [_copy(where, ns, times, "repeat")]


def _spacing(places: IntArray) -> int | None:
    """Return the regular distance of rows, or None where there is none."""
    if len(places) < 4:
        return None
    steps = np.diff(places)
    found, counts = np.unique(steps, return_counts=True)
    usual = int(found[np.argmax(counts)])
    # Interpolated rows bend in two neighbouring places where the sampled point is kept.
    return usual if usual > 1 and counts.max() >= REGULAR * len(steps) else None


def _copy(where: str, ns: IntArray, times: int, how: str) -> Finding:
    step = int(np.median(np.diff(ns)))
    coarse = times * step / (60 * 10**9)
    return Finding(
        code="D018",
        level=Level.ERROR,
        where=where,
        message=f"bars {how} those of every {times:,}th row: bars of {coarse:g} minutes on a grid "
        f"of {step / (60 * 10**9):g}",
        why="the whole coarse bar would be known before it has closed, and most labels are ties",
        advice="set market.interval to that of the source and give its own file",
    )


# ── made-up bars ─────────────────────────────────────────────────────────────────────────────────


def _generated(where: str, prices: Prices) -> list[Finding]:
    if len(prices.close) < ENOUGH_BARS:
        return []
    late = prices.take(slice(-LOOKED_AT, None))
    signs = [
        *(["prices stand on no tick"] if _off_ticks(late.close) else []),
        *(["returns are normal and their sizes have no memory"] if _calm(late.close) else []),
        *(["volume says nothing of a bar's range"] if _volume_unrelated(late) else []),
    ]
    if len(signs) < 2:
        return []
    return [
        Finding(
            code="D017",
            level=Level.WARN,
            where=where,
            message="the bars look generated, not observed",
            observed="; ".join(signs),
            expected="a tick, fat tails in clusters, and more volume in wilder bars",
            why="nothing found in made-up bars says anything of a market",
        )
    ]


def _off_ticks(close: FloatArray) -> bool:
    """Say whether most prices need more than eight decimals; single precision is Yahoo's habit."""
    scaled = close * 1e8
    many = np.abs(scaled - np.rint(scaled)) > 0.01
    many &= close.astype(np.float32).astype(np.float64) != close
    return bool(many.mean() > 0.5)


def _calm(close: FloatArray) -> bool:
    moves = np.diff(np.log(close))
    moves -= moves.mean()
    variance = float((moves**2).mean())
    if variance == 0:
        return False
    kurtosis = float((moves**4).mean()) / variance**2 - 3
    return kurtosis < 1 and abs(_correlation(np.abs(moves[1:]), np.abs(moves[:-1]))) < 0.06


def _volume_unrelated(prices: Prices) -> bool:
    known = (prices.volume > 0) & (prices.high > prices.low)
    if known.mean() < 0.5:
        return False
    volume = np.log(prices.volume[known])
    if volume.max() - volume.min() < 1e-9:
        return True
    spread = np.log(np.log(prices.high[known] / prices.low[known]))
    return abs(_correlation(volume, spread)) < 0.06


def _correlation(one: FloatArray, two: FloatArray) -> float:
    """Return Pearson's correlation, 0 where one of the two is constant."""
    a, b = one - one.mean(), two - two.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0
