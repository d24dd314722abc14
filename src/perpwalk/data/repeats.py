"""Rows that share a time stamp: equal ones are one row, different ones are settled by a rule.

A page of an API that overlaps the one before repeats rows to the last digit: nothing is lost by
keeping one. Two rows of one stamp that differ are two versions of one bar, and no rule is right for
every file: the first in the file where its writer puts corrected rows on top, the last where they
are added at the end. So ``market.duplicates`` refuses them (``error``) until it is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from perpwalk.data.tables import Table
from perpwalk.data.validate import Prices, utc
from perpwalk.domain import BoolArray, Finding, FloatArray, IntArray, Level
from perpwalk.errors import DataError

RepeatPolicy = Literal["error", "first", "last"]

MORE_VOLUME = 1.01  # above what rounding to a few decimals does to a volume

_ADVICE = (
    "see which version is right (`perpwalk data check` compares them), then keep one row per time "
    "stamp, or set market.duplicates (--duplicates) to first or last, in the order of the file"
)


@dataclass(frozen=True, eq=False)
class Repeats:
    """The stamps of a series that stand more than once, and their rows in the order of the file.

    Attributes
    ----------
    first, last
        First and last row of each such stamp; shape (n,).
    differ
        Whether its rows hold different values; shape (n,).
    extra
        All rows but the first of each stamp, ascending.
    """

    first: IntArray
    last: IntArray
    differ: BoolArray
    extra: IntArray
    ns: IntArray

    @property
    def conflicts(self) -> int:
        """Stamps whose rows contradict each other."""
        return int(self.differ.sum())

    def dropped(self, policy: RepeatPolicy) -> IntArray:
        """Return the rows that go: all but one of each stamp; ``error`` leaves contradictions."""
        gone = np.zeros(len(self.ns), dtype=bool)
        gone[self.extra] = True
        stamps = self.ns[self.first[self.differ]]
        contradicting = np.isin(self.ns, stamps)
        if policy == "error":
            gone &= ~contradicting
        elif policy == "last":
            gone |= contradicting
            gone[self.last[self.differ]] = False
        return np.flatnonzero(gone)


def find_repeats(ns: IntArray, values: tuple[FloatArray, ...]) -> Repeats | None:
    """Return the stamps that stand more than once, None where there is none.

    ``ns`` and each of ``values`` are in the order of the file; shape (n,).
    """
    steps = np.diff(ns)
    if (steps > 0).all() or (steps < 0).all():
        return None
    order = np.argsort(ns, kind="stable")
    same = np.diff(ns[order]) == 0
    if not same.any():
        return None
    groups = np.concatenate(([0], np.cumsum(~same)))
    starts = np.flatnonzero(np.concatenate(([True], ~same)))
    stops = np.concatenate((starts[1:], [len(order)])) - 1
    unlike = np.zeros(len(order), dtype=bool)
    for column in values:
        ordered = column[order]
        against = ordered[starts[groups]]
        unlike |= (ordered != against) & ~(np.isnan(ordered) & np.isnan(against))
    several = stops > starts
    differ = np.bincount(groups, weights=unlike)[several] > 0
    extra = np.sort(order[1:][same])
    return Repeats(order[starts[several]], order[stops[several]], differ, extra, ns)


def settle_repeats(
    table: Table,
    where: str,
    position: int,
    ns: IntArray,
    values: tuple[FloatArray, ...],
    policy: RepeatPolicy,
    records: IntArray,
) -> tuple[IntArray | None, list[Finding]]:
    """Return the rows that stay, None for all of them, and what is to be said of the others.

    Raises
    ------
    DataError
        Rows of one stamp differ and ``policy`` is ``error``.
    """
    found = find_repeats(ns, values)
    if found is None:
        return None, []
    if found.conflicts and policy == "error":
        raise _contradiction(table, position, found, records)
    gone = found.dropped(policy)
    stays = np.ones(len(ns), dtype=bool)
    stays[gone] = False
    return np.flatnonzero(stays), repeat_findings(where, found, policy, versions(found, values))


def _contradiction(table: Table, position: int, found: Repeats, records: IntArray) -> DataError:
    one = int(np.flatnonzero(found.differ)[0])
    first, last = (int(records[rows[one]]) for rows in (found.first, found.last))
    return table.error(
        f"{utc(found.ns[found.first[one]])} stands twice with different values (also in row "
        f"{table.row(first)}; such stamps in all: {found.conflicts:,}); {_ADVICE}",
        record=last,
        column=position,
    )


def repeat_findings(
    where: str, found: Repeats, policy: RepeatPolicy, compared: str
) -> list[Finding]:
    """Say how many rows were dropped, of which kind, and by which rule."""
    gone, findings = found.dropped(policy), []
    equal = len(found.dropped("error"))
    if equal:
        findings.append(
            Finding(
                code="D003",
                level=Level.WARN,
                where=where,
                message=f"rows dropped that repeat another one to the last digit: {equal:,}",
                observed=f"the first at {utc(found.ns[found.dropped('error')[0]])}",
                expected="one row per time stamp",
            )
        )
    if len(gone) > equal or (policy == "error" and found.conflicts):
        findings.append(_conflict_finding(where, found, policy, len(gone) - equal, compared))
    return findings


def _conflict_finding(
    where: str, found: Repeats, policy: RepeatPolicy, dropped: int, compared: str
) -> Finding:
    refused = policy == "error"
    settled = f"rows dropped because another one of the same stamp differs: {dropped:,}"
    return Finding(
        code="D003",
        level=Level.ERROR if refused else Level.WARN,
        where=where,
        message=f"time stamps that stand more than once with different values: {found.conflicts:,}"
        if refused
        else f"{settled}; the {policy} in the file was kept",
        observed=compared,
        expected="one row per time stamp",
        why="two versions of one bar: a correction, a bar saved while forming, or two sources",
        advice=_ADVICE if refused else None,
    )


def versions(found: Repeats, values: tuple[FloatArray, ...]) -> str:
    """Say how the first and the last version of the stamps differ, for whoever has to choose.

    ``values`` are open, high, low, close and volume where there are five.
    """
    first, last = found.first[found.differ], found.last[found.differ]
    if not len(first):
        return ""
    begin, end = found.ns[first].min(), found.ns[first].max()
    span = f"{utc(begin)} to {utc(end)}" if end > begin else utc(begin)
    if len(values) < 5:
        return span
    prices, volume = values[:4], values[4]
    equal = int(np.all([v[first] == v[last] for v in prices], axis=0).sum())
    more, less = (
        int((volume[a] > MORE_VOLUME * volume[b]).sum()) for a, b in ((first, last), (last, first))
    )
    return (
        f"{span}; equal prices in {equal:,}; over 1 % more volume in the first row of {more:,}, in "
        f"the last of {less:,} (the smaller one was probably saved while forming)"
    )


def columns_of(prices: Prices) -> tuple[FloatArray, ...]:
    """Return what two rows of bars must share to be one."""
    return (prices.open, prices.high, prices.low, prices.close, prices.volume)
