"""How much of the bars' period has funding on file, and what to do about the rest.

A settlement stamp covers the interval that *ends* at it: the payment at 16:00 is for 08:00 to
16:00. The predecessor of this program ran 51,980 hourly bars against 200 records, one page of an
exchange's API, and never noticed: 200 x 8 h / 51,980 h = 3.1 %.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from perpwalk.domain import (
    BarFrame,
    BoolArray,
    DataSource,
    Finding,
    FundingFrame,
    IntArray,
    Level,
    Market,
    from_ns,
    to_ns,
)
from perpwalk.errors import DataError

MissingFunding = Literal["error", "zero", "drop_features"]

ENOUGH = 0.95  # below: no trading and no funding features, unless the configuration says how
FULL = 0.99  # below: a warning
DEFAULT_INTERVAL = 8 * 3600 * 10**9
API_PAGES = (100, 200, 500, 1000)

_HOUR = 3600 * 10**9
_POSSIBLE = _HOUR * np.array([1, 2, 3, 4, 6, 8, 12, 24])


@dataclass(frozen=True)
class Coverage:
    """What share of the bars has funding on file.

    Attributes
    ----------
    share
        ``covered_bars / bars``.
    records
        Settlements on file.
    first, last
        Their first and last stamp; None without records.
    interval
        The usual time between settlements; None without records.
    missing_spans
        Stretches ``[start, end)`` of bars without funding, ascending.
    """

    share: float
    covered_bars: int
    bars: int
    records: int
    first: pd.Timestamp | None
    last: pd.Timestamp | None
    interval: pd.Timedelta | None
    missing_spans: tuple[tuple[pd.Timestamp, pd.Timestamp], ...]


def settlement_intervals(settle_time: pd.DatetimeIndex) -> IntArray:
    """Return the interval each settlement is for, in nanoseconds; shape (n,).

    The spacing to the record before, where that is a usual length (a divisor of a day, at most
    8 h or the file's most common spacing) that a neighbour shares: exchanges change intervals for
    days (SOL settled every 2 h in November 2022), while a gap is longer than what is around it and
    must not count as one long interval. A record after a gap gets the length usual around it. A
    single record is taken for 8 h.

    >>> times = pd.to_datetime(["2024-01-01 00:00", "2024-01-01 08:00", "2024-01-03 00:00",
    ...                         "2024-01-03 08:00"], utc=True)
    >>> (settlement_intervals(times) // (3600 * 10**9)).tolist()
    [8, 8, 8, 8]
    """
    stamps: IntArray = to_ns(settle_time)
    if len(stamps) < 2:
        return np.full(len(stamps), DEFAULT_INTERVAL, dtype=np.int64)
    spacing = np.diff(stamps)
    usual = _usual(spacing)
    trusted = _trusted(spacing, limit=max(DEFAULT_INTERVAL, usual))
    around = _around(spacing, trusted, usual)
    lengths = np.where(trusted, spacing, np.minimum(spacing, around))
    return np.concatenate((lengths[:1], lengths))


def _usual(spacing: IntArray) -> int:
    """Return the most common spacing; 8 h where nothing usual occurs."""
    possible = spacing[np.isin(spacing, _POSSIBLE)]
    if not len(possible):
        return DEFAULT_INTERVAL
    lengths, counts = np.unique(possible, return_counts=True)
    return int(lengths[np.argmax(counts)])


def _trusted(spacing: IntArray, limit: int) -> BoolArray:
    """Tell spacings that are an interval: usual, not too long, and shared by a neighbour."""
    padded = np.concatenate(([0], spacing, [0]))
    shared = (padded[:-2] == spacing) | (padded[2:] == spacing)
    trusted: BoolArray = np.isin(spacing, _POSSIBLE) & (spacing <= limit) & shared
    return trusted


def _around(spacing: IntArray, trusted: BoolArray, usual: int) -> IntArray:
    """Return per spacing the longer of the nearest trusted ones before and after it."""
    if not trusted.any():
        return np.full(len(spacing), usual, dtype=np.int64)
    places = np.arange(len(spacing))
    before = np.maximum.accumulate(np.where(trusted, places, -1))
    after = np.minimum.accumulate(np.where(trusted, places, len(spacing))[::-1])[::-1]
    left = np.where(before >= 0, spacing[before], 0)
    right = np.where(after < len(spacing), spacing[np.minimum(after, len(spacing) - 1)], 0)
    return np.maximum(left, right)


def funding_coverage(bars: BarFrame, funding: FundingFrame) -> Coverage:
    """Measure how many bars lie wholly inside intervals whose settlement is on file.

    Bars after the last record whose settlement has not come by the end of the data miss nothing
    and count as covered. Records made up by a policy (``assumed``) do not count.
    """
    known = _published(funding)
    covered = _covered(bars, known)
    spans = _spans(bars, ~covered)
    intervals = settlement_intervals(known)
    return Coverage(
        share=float(covered.mean()) if len(bars) else 0.0,
        covered_bars=int(covered.sum()),
        bars=len(bars),
        records=len(known),
        first=known[0] if len(known) else None,
        last=known[-1] if len(known) else None,
        interval=pd.Timedelta(_usual(intervals)) if len(known) else None,
        missing_spans=spans,
    )


def _published(funding: FundingFrame) -> pd.DatetimeIndex:
    return funding.settle_time[~funding.assumed]


def _covered(bars: BarFrame, known: pd.DatetimeIndex) -> BoolArray:
    if not len(known) or not len(bars):
        return np.zeros(len(bars), dtype=bool)
    opens, closes = to_ns(bars.open_time), to_ns(bars.close_time)
    ends: IntArray = to_ns(known)
    lengths = settlement_intervals(known)
    starts = np.maximum(ends - lengths, np.concatenate(([np.iinfo(np.int64).min], ends[:-1])))
    pending = closes[-1] - ends[-1]
    if 0 < pending < lengths[-1]:
        starts, ends = np.append(starts, ends[-1]), np.append(ends, closes[-1])
    time_covered = _covered_time(closes, starts, ends) - _covered_time(opens, starts, ends)
    covered: BoolArray = time_covered >= to_ns(bars.interval)
    return covered


def _covered_time(at: IntArray, starts: IntArray, ends: IntArray) -> IntArray:
    """Return how much of the disjoint spans ``(starts, ends]`` lies before each moment."""
    done = np.concatenate(([0], np.cumsum(ends - starts)))
    whole = np.searchsorted(ends, at, side="right")
    running = np.minimum(whole, len(ends) - 1)
    part = np.clip(at - starts[running], 0, (ends - starts)[running])
    return done[whole] + np.where(whole < len(ends), part, 0)


def _spans(bars: BarFrame, chosen: BoolArray) -> tuple[tuple[pd.Timestamp, pd.Timestamp], ...]:
    edges = np.diff(np.concatenate(([0], chosen.view(np.int8), [0])))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
    closes = bars.close_time
    return tuple(zip(bars.open_time[starts], closes[stops], strict=True))


# ── the policy ───────────────────────────────────────────────────────────────────────────────────


def apply_missing_funding(market: Market, policy: MissingFunding) -> Market:
    """Judge the coverage and apply ``market.missing_funding``; returns a new Market.

    At 99 % and more coverage is noted (D013, info). Below, ``error`` warns down to 95 % and raises
    under that; ``drop_features`` forbids funding features, still charges the settlements that are
    known and leaves the others unpaid. ``zero`` puts a record with rate 0, marked ``assumed``,
    wherever a settlement is missing, whatever the share.

    Raises
    ------
    DataError
        Coverage is below 95 % and the policy is ``error``.
    """
    coverage = funding_coverage(market.bars, market.funding)
    if policy == "zero" and coverage.share < 1:
        return _with_zeros(market, coverage)
    if coverage.share >= FULL:
        return _noted(market, _finding(coverage, Level.INFO, "none needed"))
    if policy == "drop_features":
        done = "no funding features; known settlements are charged, unknown ones are not paid"
        return replace(_noted(market, _finding(coverage, Level.WARN, done)), funding_features=False)
    if coverage.share >= ENOUGH:
        return _noted(market, _finding(coverage, Level.WARN, "none: missing ones are not paid"))
    raise DataError(_refusal(coverage, market.bars), path=_path(market.sources))


def _noted(market: Market, finding: Finding) -> Market:
    return replace(market, findings=(*market.findings, finding))


def _finding(coverage: Coverage, level: Level, done: str) -> Finding:
    return Finding(
        code="D013",
        level=level,
        where="funding",
        message=f"{_share(coverage)} ({coverage.covered_bars:,} of {coverage.bars:,}) have "
        f"funding on file; measure taken: {done}",
        observed=f"{coverage.share:.6f}",
        expected=f">= {FULL}",
        why=None if level is Level.INFO else f"missing: {_missing(coverage)}",
    )


def _share(coverage: Coverage) -> str:
    percent = round(100 * coverage.share, 1)
    shown = percent if coverage.share == 1 else min(percent, 99.9)  # 100.0 % means every bar
    return f"{shown:.1f} % of the bars"


def _missing(coverage: Coverage) -> str:
    shown = [f"{_day(start)} to {_day(end)}" for start, end in coverage.missing_spans[:3]]
    more = len(coverage.missing_spans) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more stretches" if more else "")


def _day(stamp: pd.Timestamp) -> str:
    return stamp.strftime("%Y-%m-%d %H:%M")


def _path(sources: tuple[DataSource, ...]) -> str | None:
    return next((source.path for source in sources if source.kind == "funding"), None)


def _refusal(coverage: Coverage, bars: BarFrame) -> str:
    ways = (
        "give market.funding a file with the whole history, or set market.missing_funding to "
        "'zero' (unknown rates count as 0) or to 'drop_features' (no funding features, unknown "
        "settlements unpaid)"
    )
    period = f"{_day(bars.open_time[0])} to {_day(bars.close_time[-1])} UTC"
    if coverage.first is None or coverage.last is None:
        return f"no funding rates for the {coverage.bars:,} bars from {period}; {ways}"
    page = (
        f" Exactly {coverage.records} records are one page of an exchange's API: the download "
        "probably stopped after its first page."
        if coverage.records in API_PAGES
        else ""
    )
    return (
        f"only {_share(coverage)} have funding: {coverage.records:,} records from "
        f"{_day(coverage.first)} to {_day(coverage.last)} UTC against {coverage.bars:,} bars from "
        f"{period}.{page} To go on, {ways}"
    )


# ── missing settlements, and records made up for them ────────────────────────────────────────────


def missing_settlements(bars: BarFrame, funding: FundingFrame) -> IntArray:
    """Return the stamps, in UTC nanoseconds, at which the bars' period lacks a settlement.

    They stand on the rhythm of the known ones around them, every 8 h where none is known. Where
    ``zero`` made up records there is one for each, and none is missing any more.
    """
    if funding.assumed.any():
        return np.zeros(0, dtype=np.int64)
    return _missing_stamps(bars, funding.settle_time)


def _with_zeros(market: Market, coverage: Coverage) -> Market:
    made_up = _missing_stamps(market.bars, _published(market.funding))
    finding = _finding(
        coverage, Level.WARN, f"{len(made_up):,} settlements assumed with a rate of 0"
    )
    return replace(_noted(market, finding), funding=_merged(market.funding, made_up))


def _missing_stamps(bars: BarFrame, known: pd.DatetimeIndex) -> IntArray:
    """Return where settlements are missing in the bars' period, on the known ones' own rhythm."""
    begin, end = int(to_ns(bars.open_time[0])), int(to_ns(bars.close_time[-1]))
    if not len(known):
        return _between(begin, end, DEFAULT_INTERVAL, phase=0)
    stamps: IntArray = to_ns(known)
    lengths = settlement_intervals(known)
    head = _between(begin, min(int(stamps[0]) - 1, end), int(lengths[0]), phase=int(stamps[0]))
    tail = _between(max(int(stamps[-1]), begin), end, int(lengths[-1]), phase=int(stamps[-1]))
    gaps = np.flatnonzero(np.diff(stamps) > lengths[1:])
    inner = [
        _between(int(stamps[i]), int(stamps[i + 1]) - 1, int(lengths[i + 1]), int(stamps[i + 1]))
        for i in gaps
    ]
    found = np.concatenate((head, *inner, tail))
    return found[(found > begin) & (found <= end)]


def _between(after: int, until: int, step: int, phase: int) -> IntArray:
    """Return stamps ``phase + k * step`` in ``(after, until]``."""
    # In whole steps: np.arange measures its length in floats, which lose the last nanosecond.
    count = np.arange((after - phase) // step + 1, (until - phase) // step + 1, dtype=np.int64)
    return phase + count * step


def _merged(funding: FundingFrame, made_up: IntArray) -> FundingFrame:
    stamps = np.concatenate((to_ns(funding.settle_time), made_up))
    order = np.argsort(stamps, kind="stable")

    def joined(values: npt.NDArray[Any], filler: float | bool) -> npt.NDArray[Any]:
        added = np.full(len(made_up), filler, dtype=values.dtype)
        return np.concatenate((values, added))[order]

    return FundingFrame.of(
        from_ns(stamps[order]),
        joined(funding.rate, 0.0),
        joined(funding.mark_price, np.nan),
        symbol=funding.symbol,
        assumed=joined(funding.assumed, True),
    )
