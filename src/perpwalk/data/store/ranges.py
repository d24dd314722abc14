"""Sets of half-open spans of time, as sorted pairs of milliseconds that do not touch.

>>> union([(5, 9), (0, 3), (3, 4)])
[(0, 4), (5, 9)]
>>> subtract([(0, 10)], [(2, 4), (8, 12)])
[(0, 2), (4, 8)]
"""

from __future__ import annotations

from collections.abc import Iterable

Span = tuple[int, int]


def union(spans: Iterable[Span]) -> list[Span]:
    """Return the same times as sorted spans that neither overlap nor touch; empty ones vanish."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if start >= end:
            continue
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged


def subtract(spans: Iterable[Span], away: Iterable[Span]) -> list[Span]:
    """Return the times of ``spans`` that are in none of ``away``."""
    taken = union(away)
    left: list[Span] = []
    for start, end in union(spans):
        at = start
        for first, last in taken:
            if last <= at or first >= end:
                continue
            if first > at:
                left.append((at, first))
            at = max(at, last)
        if at < end:
            left.append((at, end))
    return left


def intersect(spans: Iterable[Span], window: Span) -> list[Span]:
    """Return the times of ``spans`` inside ``window``.

    >>> intersect([(0, 3), (5, 9)], (2, 6))
    [(2, 3), (5, 6)]
    """
    start, end = window
    return union((max(start, first), min(end, last)) for first, last in spans)
