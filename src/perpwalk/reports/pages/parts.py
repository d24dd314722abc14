"""Pieces that the pages of a run and of a comparison share: cards, tables, findings, headings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from perpwalk.reports import words

MARGIN = 0.15
_MARKS = {"invalid": "✕", "suspect": "!", "inconclusive": "~", "supported": "✓"}
_MEANS = {
    "invalid": "An error was found: the figures of this run are no result.",
    "suspect": "Too good to be true until a person has explained it.",
    "inconclusive": "Nothing is proved either way; the reasons stand below.",
    "supported": "The claims below hold up, as far as this history can say.",
}
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Cells:
    """A table ready to print: header, rows of text, which columns are text, which of those long."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: tuple[int, ...] = (0,)
    long: tuple[int, ...] = ()


@dataclass(frozen=True)
class Whisker:
    """Where an interval, its value and naive lie on a card's scale, in percent of its width."""

    low: float
    high: float
    value: float
    naive: float | None


@dataclass(frozen=True)
class Card:
    """One headline figure."""

    name: str
    value: str
    bounds: str = ""
    small: str = ""
    whisker: Whisker | None = None


@dataclass(frozen=True)
class Heading:
    """A verdict's word, its mark and what it means."""

    word: str
    mark: str
    means: str


def heading(overall: str) -> Heading:
    """Return how a verdict is announced."""
    return Heading(overall, _MARKS.get(overall, "?"), _MEANS.get(overall, ""))


def bounded_card(
    name: str,
    row: pd.Series,
    field: str,
    form: Callable[[float | None], str],
    *,
    naive: float | None = None,
    small: str = "",
) -> Card:
    """Return a card of a metrics field with its interval, where the table has one."""
    ends = words.both(row.get(f"{field}_lo"), row.get(f"{field}_hi"))
    value = row[field]
    if ends is None or not words.known(value):
        return Card(name, form(value), small=small)
    bounds = f"{form(ends[0])} to {form(ends[1])}"
    return Card(name, form(value), bounds, small, _whisker(value, *ends, naive))


def direction_cards(row: pd.Series) -> list[Card]:
    """Return the cards of accuracy and AUC, each with what knowing nothing gets."""
    majority = row["majority_accuracy"]
    return [
        bounded_card("accuracy", row, "accuracy", words.decimal, naive=majority,
                     small=f"majority {words.decimal(majority)}"),
        bounded_card("AUC", row, "auc", words.decimal, naive=0.5, small="chance 0.500"),
    ]  # fmt: skip


def _whisker(value: float, low: float, high: float, naive: float | None) -> Whisker | None:
    known = naive if naive is not None and words.known(naive) else None
    ends = [value, low, high, *([] if known is None else [known])]
    first, width = min(ends), max(ends) - min(ends)
    if width == 0:
        return None

    def place(at: float) -> float:
        return round(100 * (MARGIN / 2 + (1 - MARGIN) * (at - first) / width), 2)

    return Whisker(place(low), place(high), place(value), None if known is None else place(known))


@dataclass(frozen=True)
class Findings:
    """Findings that ask for a look, and notes."""

    problems: tuple[Row, ...]
    notes: tuple[Row, ...]


def finding_lists(findings: Sequence[Row]) -> Findings:
    """Part findings; the verdict's own reasons stand with the verdict."""
    return Findings(
        tuple(f for f in findings if f["level"] in ("error", "warn")),
        tuple(f for f in findings if f["level"] == "info" and f["code"] != "R101"),
    )


def close_percent(value: float | None) -> str:
    """Return a fraction in percent, with more digits where almost all is lost.

    >>> close_percent(-0.99952), close_percent(0.123)
    ('-99.95 %', '12.3 %')
    """
    near = value is not None and words.known(value) and -1 < value < -0.99
    return words.percent(value, 2 if near else 1)
