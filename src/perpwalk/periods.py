"""Named slices: fold, month, quarter, year, each of several contracts, and all.

A period is a half-open interval of decision times ``[start, end)``. A decision at a close governs
the bar that opens there, so a bar's PnL belongs to the period that contains its *open* time: the
accuracy and the money of one period speak of the same bars.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from perpwalk.domain import Fold, to_ns

KINDS = ("fold", "month", "quarter", "year", "symbol", "all")
_CALENDAR = {"month": "M", "quarter": "Q", "year": "Y"}


@dataclass(frozen=True, slots=True)
class Period:
    """One named slice ``[start, end)`` of decision times."""

    kind: str
    name: str
    start: pd.Timestamp
    end: pd.Timestamp

    @property
    def label(self) -> str:
        """Kind and name in words, as findings give them."""
        return "all" if self.kind == "all" else f"{self.kind} {self.name}"

    def rows(self, stamps: pd.DatetimeIndex) -> slice:
        """Return where ascending ``stamps`` lie within the period."""
        values = to_ns(stamps)
        low, high = np.searchsorted(values, [to_ns(self.start), to_ns(self.end)], side="left")
        return slice(int(low), int(high))


def calendar_periods(
    kind: str, first: pd.Timestamp, last: pd.Timestamp, interval: pd.Timedelta
) -> tuple[Period, ...]:
    """Cut decisions ``first`` … ``last`` (inclusive) into UTC months, quarters or years.

    The first and last period are cut to what the decisions cover.

    >>> hour = pd.Timedelta("1h")
    >>> first, last = pd.Timestamp("2024-01-31T22:00Z"), pd.Timestamp("2024-02-01T05:00Z")
    >>> for period in calendar_periods("month", first, last, hour):
    ...     print(period.name, period.start, period.end)
    2024-01 2024-01-31 22:00:00+00:00 2024-02-01 00:00:00+00:00
    2024-02 2024-02-01 00:00:00+00:00 2024-02-01 06:00:00+00:00
    """
    unit = _CALENDAR[kind]
    spans = pd.period_range(first.tz_convert(None), last.tz_convert(None), freq=unit)
    stop = last + interval
    return tuple(
        Period(
            kind,
            str(span),
            max(span.start_time.tz_localize("UTC"), first),
            min((span + 1).start_time.tz_localize("UTC"), stop),
        )
        for span in spans
    )


def all_periods(
    folds: Sequence[Fold], first: pd.Timestamp, last: pd.Timestamp, interval: pd.Timedelta
) -> tuple[Period, ...]:
    """Return every period of a run in report order: folds, months, quarters, years, all.

    Folds of several contracts share their numbers: one period spans the tests of a number.
    """
    spans: dict[int, tuple[pd.Timestamp, pd.Timestamp]] = {}
    for fold in folds:
        start, end = spans.get(fold.number, (fold.test.start, fold.test.end))
        spans[fold.number] = min(start, fold.test.start), max(end, fold.test.end)
    found = [Period("fold", f"{n:03d}", *spans[n]) for n in sorted(spans)]
    for kind in _CALENDAR:
        found.extend(calendar_periods(kind, first, last, interval))
    found.append(Period("all", "all", first, last + interval))
    return tuple(found)
