"""One offline page about data files: figures, findings, and a calendar of what is covered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from perpwalk import disk
from perpwalk.data.examine.core import Examination, Examined
from perpwalk.data.validate import utc
from perpwalk.domain import Level
from perpwalk.reports.data_table import length

CELL, LEFT, TOP = 11, 44, 16
STEPS = (0.0, 0.5, 0.9, 0.999)


def write(found: Examination, path: Path) -> Path:
    """Write the page and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    disk.write_bytes(path, render(found).encode())
    return path


def render(found: Examination) -> str:
    """Return the page as text."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("data.html.j2").render(
        title=found.subject,
        answer=_answer(found),
        usable=found.exit_code == 0,
        refusals=found.refusals,
        unreadable=found.unreadable,
        files=[_file(one) for one in found.files],
        problems=[f for f in found.findings if f.level is not Level.INFO],
        notes=[f for f in found.findings if f.level is Level.INFO],
        comparisons=[comparison.as_dict() for comparison in found.comparisons],
    )


def _answer(found: Examination) -> str:
    if found.exit_code == 0:
        return "A run would take this data."
    return "This is unreadable." if found.unreadable else "A run would refuse this data."


def _file(one: Examined) -> dict[str, Any]:
    series, facts = one.series, one.facts
    rows = [
        ("holds", f"{series.kind}, taken for {series.layout.title} ({series.file_format})"),
        ("rows", f"{series.rows:,}, {len(series.ns):,} of them usable"),
        ("every", length(series.interval)),
        ("from", utc(facts.first)),
        ("to", utc(facts.last)),
        ("covered", f"{facts.rows:,} of {facts.expected:,} rows ({facts.coverage:.2%})"),
        ("gaps", _gap_text(one)),
        ("repeated stamps", f"{series.repeats:,}"),
    ]
    if facts.zero_volume is not None:
        rows.append(("bars without volume", f"{facts.zero_volume:,}"))
    if facts.frozen is not None:
        rows.append(("bars like the one before", f"{facts.frozen:,}"))
    return {
        "name": series.title,
        "rows": rows,
        "calendar": calendar(facts.days, facts.day_share, title=series.title),
        "gaps": [(utc(start), f"{count:,}") for start, count in facts.gaps],
    }


def _gap_text(one: Examined) -> str:
    facts = one.facts
    if not facts.missing:
        return "none"
    listed = len(facts.gaps)
    told = "" if listed == facts.gap_count else f"; the longest {listed:,} are listed"
    return (
        f"{facts.gap_count:,}, of {facts.missing:,} rows in all, the longest of "
        f"{facts.gaps[0][1]:,}{told}"
    )


# ── the calendar ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Day:
    stamp: pd.Timestamp
    share: float

    @property
    def shade(self) -> int:
        """Return 0 for a day without rows up to 4 for a whole one."""
        return 0 if self.share <= 0 else 1 + sum(self.share > step for step in STEPS[1:])


def calendar(days: np.ndarray, share: np.ndarray, *, title: str) -> Markup:
    """Return a heat map: one row of weeks per year, one square per day, darker where covered.

    A square's title says its day and its share, so nothing is told by colour alone.
    """
    every = [
        _Day(pd.Timestamp(int(d), tz="UTC"), float(s)) for d, s in zip(days, share, strict=True)
    ]
    if not every:
        return Markup("")
    years = sorted({day.stamp.year for day in every})
    height = TOP + len(years) * (7 * CELL + 14)
    parts = [*_months(), *(part for i, y in enumerate(years) for part in _year(every, y, i))]
    return Markup(  # noqa: S704 - made of numbers and escaped text
        f'<svg viewBox="0 0 {LEFT + 54 * CELL} {height}" role="img" '
        f'aria-label="days covered by {escape(title)}">{"".join(parts)}</svg>'
    )


def _months() -> Iterator[str]:
    for month in range(1, 13):
        week = (pd.Timestamp(2023, month, 1).day_of_year - 1) // 7
        name = pd.Timestamp(2023, month, 1).strftime("%b")
        yield f'<text x="{LEFT + week * CELL}" y="10">{name}</text>'


def _year(every: list[_Day], year: int, row: int) -> Iterator[str]:
    top = TOP + row * (7 * CELL + 14)
    yield f'<text x="0" y="{top + 4 * CELL}">{year}</text>'
    offset = pd.Timestamp(year, 1, 1).day_of_week
    for day in every:
        if day.stamp.year != year:
            continue
        place = day.stamp.day_of_year - 1 + offset
        x, y = LEFT + place // 7 * CELL, top + place % 7 * CELL
        yield (
            f'<rect x="{x}" y="{y}" width="{CELL - 1}" height="{CELL - 1}" class="s{day.shade}">'
            f"<title>{day.stamp:%Y-%m-%d}: {day.share:.0%}</title></rect>"
        )
