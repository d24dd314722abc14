"""Periods: half-open slices of decision times that tile the run."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perpwalk.domain import Fold, Span
from perpwalk.periods import KINDS, all_periods, calendar_periods

HOUR = pd.Timedelta("1h")


def stamp(text: str) -> pd.Timestamp:
    return pd.Timestamp(text, tz="UTC")


def test_quarters_are_named_and_cut_to_the_decisions() -> None:
    """The first and last quarter end where the decisions do, the last one after its bar."""
    found = calendar_periods("quarter", stamp("2023-11-05 07:00"), stamp("2024-04-01 00:00"), HOUR)

    assert ["2023Q4", "2024Q1", "2024Q2"] == [period.name for period in found]
    assert stamp("2023-11-05 07:00") == found[0].start
    assert stamp("2024-01-01") == found[0].end == found[1].start
    assert stamp("2024-04-01 01:00") == found[2].end


def test_periods_of_a_kind_tile_the_decisions() -> None:
    """Every decision lies in exactly one month, quarter and year."""
    decisions = pd.date_range("2023-12-29 05:00", "2024-03-02 17:00", freq="h", tz="UTC")
    for kind in ("month", "quarter", "year"):
        rows = [
            period.rows(decisions)
            for period in calendar_periods(kind, decisions[0], decisions[-1], HOUR)
        ]
        covered = np.concatenate([np.arange(part.start, part.stop) for part in rows])
        assert list(range(len(decisions))) == covered.tolist(), kind


def test_the_stamp_that_ends_a_period_belongs_to_the_next() -> None:
    """A decision at midnight of the first governs the new month."""
    january, february = calendar_periods("month", stamp("2024-01-31"), stamp("2024-02-01"), HOUR)
    decisions = pd.DatetimeIndex([stamp("2024-01-31 23:00"), stamp("2024-02-01 00:00")])

    assert slice(0, 1) == january.rows(decisions)
    assert slice(1, 2) == february.rows(decisions)


def test_every_kind_stands_in_the_order_of_the_report() -> None:
    """Folds come first, all comes last, and a period says what it is."""
    span = Span(stamp("2024-01-01"), stamp("2024-01-03"), np.arange(48), 48)
    fold = Fold(7, span, span, span)
    found = all_periods([fold], stamp("2024-01-01"), stamp("2024-01-02 23:00"), HOUR)

    in_time = [kind for kind in KINDS if kind != "symbol"]  # those are made of the ledger's
    assert in_time == list(dict.fromkeys(period.kind for period in found))
    assert "fold 007" == found[0].label
    assert "all" == found[-1].label
    assert (span.start, span.end) == (found[-1].start, found[-1].end)
