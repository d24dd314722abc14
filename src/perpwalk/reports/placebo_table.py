"""The placebo battery beside the run, for a terminal and as JSON; for a page the same rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from perpwalk.audit.placebo import of_placebo
from perpwalk.reports.table import PLAIN_WIDTH
from perpwalk.reports.words import decimal, percent
from perpwalk.runs import Run
from perpwalk.terminal import Terminal

HEADER = ("", "times", "AUC", "accuracy", "net return", "p chance", "p AUC", "p net")
NOTE = (
    "Medians, with the least and the most of several. The random model has this one's forecasts at "
    "the wrong time. p chance: how likely forecasts without skill reach this AUC; p AUC and p net: "
    "how often the treatment does as well as what it is held against."
)
_STYLE = {"error": "bold red", "warn": "yellow", "info": "dim"}


def rows_of(audit: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the battery's rows as text, columns ``HEADER``; none where there was no battery."""
    return [_cells(row) for row in audit.get("placebo", ())]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        str(row["placebo"]),
        str(row["repetitions"]),
        _share(row, "auc"),
        _share(row, "accuracy"),
        _net(row),
        *(decimal(row[name]) for name in ("p_chance", "p_auc", "p_total_return")),
    )


def _share(row: Mapping[str, Any], name: str) -> str:
    """Return a share with its range, without the zeros in front of the ends."""
    value = decimal(row[name])
    if row["repetitions"] < 2 or row[name] is None:
        return value
    low, high = (decimal(row[f"{name}_{end}"]).removeprefix("0") for end in ("min", "max"))
    return f"{value} {low}–{high}"


def _net(row: Mapping[str, Any]) -> str:
    value = percent(row["total_return"])
    if row["repetitions"] < 2 or row["total_return"] is None:
        return value
    low, high = (f"{100 * row[f'total_return_{end}']:.0f}" for end in ("min", "max"))
    return f"{value} ({low} to {high})"


def told(audit: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what the battery means: its findings."""
    return [entry for entry in audit["findings"] if of_placebo(entry)]


def show(run: Run, console: Console) -> None:
    """Print the verdict, what the battery means, and the table; of an invalid run no table."""
    if not console.is_terminal:  # a pipe has no width of its own: 80 columns would fold the table
        console = Terminal(file=console.file, width=PLAIN_WIDTH)
    verdict = run.audit["verdict"]["overall"]
    console.print(Text(f"{verdict.upper()}, placebos included", "bold"))
    found = told(run.audit)
    for entry in found:
        console.print(_line(entry), soft_wrap=True)
    if verdict == "invalid":
        for entry in run.audit["findings"]:
            if entry["level"] == "error" and entry not in found:
                console.print(_line(entry), soft_wrap=True)
        console.print("The figures of an invalid run are no result; placebo.csv holds them.")
    else:
        console.print(_table(rows_of(run.audit)))
        console.print(Text(NOTE, "dim"))
    console.print(f"kept in {run.path}", highlight=False, soft_wrap=True)


def _line(entry: Mapping[str, Any]) -> Text:
    observed = f" ({entry['observed']})" if entry.get("observed") else ""
    head = (f"{entry['level']:<5} {entry['code']} ", _STYLE[entry["level"]])
    return Text.assemble(head, f"{entry['where']}: {entry['message']}{observed}")


def _table(rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for place, name in enumerate(HEADER):
        table.add_column(name, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def as_json(run: Run) -> str:
    """Return verdict, findings and rows as JSON; null where undefined."""
    document = {
        "run": str(run.path),
        "verdict": run.audit["verdict"],
        "placebo": run.audit["placebo"],
        "findings": told(run.audit),
    }
    return json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
