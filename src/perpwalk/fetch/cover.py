"""Covering a stretch of time with pages, whatever the service's habits of paging are.

Services page forwards or backwards, cap pages lower than asked, repeat records at the seams, and
now and then answer with nothing. One rule copes with all: what is missing from an answer is asked
for again, until two answers agree that it is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from perpwalk.data.store.catalog import gaps_in
from perpwalk.data.store.ranges import Span
from perpwalk.data.store.series import Rows, SeriesKey, joined, refused

Ask = Callable[[int, int], Rows]
MANY_HOLES = 12  # more holes inside one answer are asked for in one sweep


@dataclass(frozen=True)
class _Question:
    """``denials`` counts the answers so far that held nothing of this span."""

    start: int
    end: int
    denials: int = 0


@dataclass(frozen=True)
class Covered:
    """What a stretch holds, and how many rows were refused because no series may hold them."""

    rows: Rows
    refused: int = 0


def cover(key: SeriesKey, span: Span, ask: Ask) -> Covered:
    """Return all rows of ``span`` that the service has."""
    pending = [_Question(*span)]
    parts: list[Rows] = []
    bad_stamps: set[int] = set()
    while pending:
        question = pending.pop()
        answer = joined(key, [ask(question.start, question.end)])
        answer = answer.between(question.start, question.end)
        bad = refused(key, answer)
        bad_stamps.update(answer.time[bad].tolist())
        answer = answer.take(np.flatnonzero(~bad))
        parts.append(answer)
        if len(answer):
            pending += _missing(key, question, answer)
        elif question.denials == 0:
            pending.append(_Question(question.start, question.end, 1))
    rows = joined(key, parts)
    return Covered(rows, len(bad_stamps - set(rows.time.tolist())))


def _missing(key: SeriesKey, question: _Question, answer: Rows) -> list[_Question]:
    """Return what an answer leaves open: its edges, where a page may end, and holes inside."""
    step = key.step
    first, last = int(answer.time[0]), int(answer.time[-1])
    reach = step if key.on_grid else 1
    edges = [(question.start, first), (last + reach, question.end)]
    wide = step if key.on_grid else step + 1
    found = [_Question(*edge) for edge in edges if edge[1] - edge[0] >= wide]
    holes = gaps_in(key, answer)
    if len(holes) > MANY_HOLES:
        # One more answer over all of them; holes that stay are believed.
        if question.denials == 0:
            found.append(_Question(holes[0][0], holes[-1][1], 1))
        return found
    return found + [_Question(*hole, 1) for hole in holes if question.denials == 0]
