"""Figures of one series: range, gaps, coverage day by day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from perpwalk.data.bars import iso
from perpwalk.data.coverage import settlement_intervals
from perpwalk.data.examine.series import Series
from perpwalk.domain import FloatArray, IntArray, from_ns

DAY = 86_400 * 10**9
GAPS_LISTED = 10_000  # of the longest; a file with more is no series


@dataclass(frozen=True, eq=False)
class Facts:
    """What there is of one series within the period asked for.

    ``gaps`` holds, longest first, when each begins (ns) and how many rows it lacks, the longest
    ``GAPS_LISTED`` of ``gap_count``; ``days`` and ``day_share`` say which share of each day's rows
    there is.
    """

    first: int
    last: int
    begin: int
    end: int
    rows: int
    expected: int
    gaps: tuple[tuple[int, int], ...]
    gap_count: int
    missing: int
    zero_volume: int | None
    frozen: int | None
    days: IntArray
    day_share: FloatArray

    @property
    def coverage(self) -> float:
        """Rows there are over rows there should be."""
        return min(1.0, self.rows / self.expected) if self.expected else 0.0


def facts_of(series: Series, since: int | None, until: int | None) -> Facts:
    """Measure a series over ``[since, until)``, by default from its first to its last row."""
    ns = series.ns
    lengths = _lengths(series)
    # A settlement covers the interval that ends at it, a bar the one that begins at it.
    opens = ns - lengths if series.kind == "funding" else ns
    begin = int(opens[0]) if since is None else since
    end = int(opens[-1] + lengths[-1]) if until is None else until
    inside = (opens >= begin) & (opens < end)
    step = int(np.median(lengths))
    days, shares = _days(opens[inside], lengths[inside], begin, end)
    gaps = _gaps(opens, lengths, begin, end)
    missing = sum(count for _, count in gaps)
    prices = series.prices
    return Facts(
        first=int(ns[0]), last=int(ns[-1]), begin=begin, end=end, rows=int(inside.sum()),
        expected=max(int(inside.sum()) + missing, (end - begin) // step if not len(ns) else 0),
        gaps=gaps[:GAPS_LISTED], gap_count=len(gaps), missing=missing,
        zero_volume=None if series.kind != "ohlcv" or prices is None
        else int((prices.volume == 0).sum()),
        frozen=None if prices is None else _frozen(series), days=days, day_share=shares,
    )  # fmt: skip


def _lengths(series: Series) -> IntArray:
    if series.kind == "funding":
        return settlement_intervals(from_ns(series.ns))
    step: int = series.interval.as_unit("ns").value
    return np.full(len(series.ns), step, dtype=np.int64)


def _gaps(opens: IntArray, lengths: IntArray, begin: int, end: int) -> tuple[tuple[int, int], ...]:
    """Return where rows are missing within the period, its two ends included, longest first."""
    inside = (opens >= begin) & (opens < end)
    starts, steps = opens[inside], lengths[inside]
    if not len(starts):
        return ((begin, int((end - begin) // np.median(lengths))),) if end > begin else ()
    edges = np.concatenate(([begin], starts + steps))
    nexts = np.concatenate((starts, [end]))
    each = np.concatenate((steps[:1], steps))
    lacking = (nexts - edges) // each
    at = np.flatnonzero(lacking > 0)
    found = [(int(edges[i]), int(lacking[i])) for i in at]
    return tuple(sorted(found, key=lambda gap: -gap[1]))


def _frozen(series: Series) -> int:
    if series.prices is None:
        return 0
    table = np.array([getattr(series.prices, n) for n in ("open", "high", "low", "close")])
    return int((np.diff(table, axis=1) == 0).all(axis=0).sum())


def _days(opens: IntArray, lengths: IntArray, begin: int, end: int) -> tuple[IntArray, FloatArray]:
    """Return every day of the period and the share of it that rows cover."""
    days = np.arange(begin // DAY, max(begin, end - 1) // DAY + 1, dtype=np.int64)
    covered = np.zeros(len(days))
    if len(opens):
        np.add.at(covered, opens // DAY - days[0], np.minimum(lengths, DAY))
    whole = np.minimum((days + 1) * DAY, end) - np.maximum(days * DAY, begin)
    share: FloatArray = np.clip(covered / np.maximum(whole, 1), 0, 1)
    return days * DAY, share


def as_dict(series: Series, facts: Facts, refusal: str | None) -> dict[str, Any]:
    """Return one file's figures as ``--json`` holds them."""
    return {
        "path": str(series.path),
        "kind": series.kind,
        "taken_for": series.layout.name,
        "format": series.file_format,
        "sha256": series.sha256,
        "rows": series.rows,
        "usable_rows": len(series.ns),
        "first": iso(facts.first),
        "last": iso(facts.last),
        "interval_seconds": series.interval / pd.Timedelta("1s"),
        "period": {"begin": iso(facts.begin), "end": iso(facts.end), "rows": facts.rows,
                   "expected_rows": facts.expected, "coverage": round(facts.coverage, 6)},
        "gaps": {
            "count": facts.gap_count,
            "listed": len(facts.gaps),
            "missing_rows": facts.missing,
            "longest_rows": facts.gaps[0][1] if facts.gaps else 0,
            "list": [{"from": iso(start), "rows": count} for start, count in facts.gaps],
        },
        "repeated_stamps": series.repeats,
        "zero_volume_bars": facts.zero_volume,
        "bars_like_the_one_before": facts.frozen,
        "refused": refusal,
    }  # fmt: skip
