"""``perpwalk data check`` in the terminal."""

from __future__ import annotations

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from perpwalk.data.examine.core import Examination, Examined
from perpwalk.data.validate import utc
from perpwalk.domain import Finding, Level

GAPS_SHOWN = 3
_STYLES = {Level.ERROR: "bold red", Level.WARN: "yellow", Level.INFO: "dim"}


def show(found: Examination, console: Console) -> None:
    """Print files, comparisons, findings and the answer."""
    if found.files:
        console.print(_files(found.files))
    for path, reason in found.unreadable:
        console.print(Text(f"unreadable: {reason if path in reason else f'{path}: {reason}'}",
                           style="bold red"), soft_wrap=True)  # fmt: skip
    for one in found.files:
        _gaps(one, console)
    for finding in found.findings:
        console.print(_line(finding), soft_wrap=True)
    for refusal in found.refusals:
        console.print(Text(f"a run would refuse it: {refusal}", style="bold red"), soft_wrap=True)
    if found.exit_code == 0:
        errors = any(finding.level is Level.ERROR for finding in found.findings)
        told = "; look at the errors first" if errors else ""
        console.print(f"a run would take it{told}", highlight=False)


def _gaps(one: Examined, console: Console) -> None:
    """Print the longest gaps, and how many more there are."""
    lines = [
        f"gap in {one.series.title}: {count:,} rows from {utc(start)}"
        for start, count in one.facts.gaps[:GAPS_SHOWN]
    ]
    more = one.facts.gap_count - GAPS_SHOWN
    if more > 0:
        lines.append(
            f"and {more:,} more in {one.series.title}, none longer: --json or --html list them"
        )
    for line in lines:
        console.print(Text(line), soft_wrap=True)


def _files(files: tuple[Examined, ...]) -> Table:
    table = Table(box=None, header_style="bold")
    for name in ("file", "holds", "taken for"):
        table.add_column(name, overflow="fold")
    for name in ("rows", "every", "from", "to", "covered", "gaps", "missing", "repeats"):
        table.add_column(name, justify="right")
    for one in files:
        series, facts = one.series, one.facts
        table.add_row(
            series.title, series.kind, series.layout.title, f"{series.rows:,}",
            length(series.interval), utc(facts.first).removesuffix(" UTC"),
            utc(facts.last).removesuffix(" UTC"), f"{facts.coverage:.2%}",
            f"{facts.gap_count:,}", f"{facts.missing:,}", f"{series.repeats:,}",
        )  # fmt: skip
    return table


def length(interval: pd.Timedelta) -> str:
    """Return a length of time in its largest whole unit.

    >>> length(pd.Timedelta("4h"))
    '4 h'
    """
    seconds = interval.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


def _line(finding: Finding) -> Text:
    mark = {Level.INFO: "note", Level.WARN: "WARNING", Level.ERROR: "ERROR"}[finding.level]
    text = Text(f"{mark} {finding.code} {finding.where}: {finding.message}")
    text.stylize(_STYLES[finding.level], 0, len(mark) + 1 + len(finding.code))
    if finding.observed:
        text.append(f" ({finding.observed})")
    if finding.advice and finding.level is not Level.INFO:
        text.append(f"; {finding.advice}")
    return text
