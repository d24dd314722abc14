"""The metrics table for a terminal, and as plain text where there is none."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from perpwalk.costs import CostSummary
from perpwalk.reports import words
from perpwalk.reports.seeds import HEADER, seeds_of
from perpwalk.reports.words import count, decimal, interval, known, percent
from perpwalk.run_files import confidence_of
from perpwalk.runs import Run
from perpwalk.terminal import Terminal

KINDS = ("symbol", "year", "quarter", "month", "fold")
MOST_ROWS = 16  # of one kind; the rest is in metrics.csv
MOST_FINDINGS = 12
WIDE, WIDEST = 96, 108
SHARPE_BOUNDS = "interval"
COLUMNS = (
    "n", "accuracy", "AUC", "return", "hold", "Sharpe", SHARPE_BOUNDS, "max dd", "trades", "fees",
    "funding",
)  # fmt: skip
WIDE_ONLY = ("trades", "fees", "funding")
PLAIN_WIDTH = 110
_COLOUR = {"invalid": "bold white on red", "suspect": "bold black on yellow",
           "inconclusive": "bold yellow", "supported": "bold green"}  # fmt: skip
_LEVEL_COLOUR = {"error": "red", "warn": "yellow", "info": "dim"}
Findings = Sequence[dict[str, Any]]


def show(run: Run, console: Console) -> None:
    """Print a finished run's verdict, findings and metrics to ``console``."""
    costs = CostSummary.of(run.equity)
    if console.is_terminal:
        for part in parts(run.metrics, run.audit, console.width, costs):
            console.print(part)
        return
    # A pipe or a file has no width of its own: 80 columns would cut the table.
    console.out(render_table(run.metrics, run.audit, costs=costs), highlight=False)


def render_table(
    metrics: pd.DataFrame,
    audit: dict[str, Any],
    *,
    width: int = PLAIN_WIDTH,
    costs: CostSummary | None = None,
) -> str:
    """Return what ``show`` prints as plain text without colours."""
    stream = io.StringIO()
    console = Terminal(file=stream, width=width, color_system=None, force_terminal=False)
    for part in parts(metrics, audit, width, costs):
        console.print(part)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def parts(
    metrics: pd.DataFrame, audit: dict[str, Any], width: int, costs: CostSummary | None = None
) -> list[RenderableType]:
    """Return verdict, findings and tables, or the diagnosis alone where the run is invalid."""
    verdict, findings = audit["verdict"], audit["findings"]
    shown: list[RenderableType] = [verdict_panel(verdict, findings)]
    if verdict["overall"] == "invalid":
        note = "The figures of an invalid run are no result; metrics.csv holds them unjudged."
        return [*shown, Text(note, style="bold red")]
    title = f"All test decisions, {words.level(confidence_of(audit))} intervals"
    shown.append(_metrics(metrics[metrics["period_kind"] == "all"], title, width))
    if costs is not None:
        shown += [Text(words.costs(costs)), Text(words.cost_levels(costs))]
        needed = words.break_even(audit.get("evidence", {}))
        shown += [] if needed is None else [Text(needed)]
        told = words.skill(audit.get("evidence", {}))
        shown += [] if told is None else [Text(told)]
    shown += _seeds(audit)
    for kind in KINDS:
        rows = metrics[metrics["period_kind"] == kind]
        if len(rows) > 1 or kind == "fold":
            shown.append(_metrics(rows, f"By {kind}", width))
    return shown


# ── verdict and findings ─────────────────────────────────────────────────────────────────────────


def verdict_panel(verdict: dict[str, Any], findings: Findings) -> RenderableType:
    """Return the verdict with its reasons, errors and warnings."""
    overall = verdict["overall"]
    head = Text.assemble(
        (f" {overall.upper()} ", _COLOUR.get(overall, "bold")),
        f"  predictive: {verdict['predictive']}   economic: {verdict['economic']}",
    )
    lines: list[Text] = [head]
    word = words.accepted(verdict)
    lines += [] if word is None else [Text(word, style="bold")]
    if overall not in ("invalid", "suspect"):  # their reasons are the findings themselves
        lines += [Text("• " + _reason(f)) for f in findings if f["code"] == "R101"]
    told = [f for f in findings if f["level"] in ("error", "warn")]
    if overall in ("invalid", "suspect"):  # where to look first
        told = [f for f in findings if f["code"] == "K012"] + told
    lines += [_finding(f) for f in told[:MOST_FINDINGS]]
    if len(told) > MOST_FINDINGS:
        lines.append(Text(f"… and {len(told) - MOST_FINDINGS} more in audit.json", style="dim"))
    return Panel(Group(*lines), title="Verdict", title_align="left", expand=True)


def _reason(finding: dict[str, Any]) -> str:
    """Return a reason without the verdict's word, which stands above it."""
    return str(finding["message"]).partition(": ")[2]


def _finding(finding: dict[str, Any]) -> Text:
    observed = f" ({finding['observed']})" if finding.get("observed") else ""
    text = f"{finding['code']} {_shortened(finding['where'])}: {finding['message']}{observed}"
    return Text.assemble((f"{finding['level']:<5} ", _LEVEL_COLOUR.get(finding["level"], "")), text)


def _shortened(where: str, most: int = 60) -> str:
    return where if len(where) <= most else where[: most - 1] + "…"


# ── the table ────────────────────────────────────────────────────────────────────────────────────


def _metrics(rows: pd.DataFrame, title: str, width: int) -> RenderableType:
    table = Table(
        title=title, title_justify="left", header_style="bold", pad_edge=False, box=None,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    names = [
        name
        for name in COLUMNS
        if (width >= WIDE or name not in WIDE_ONLY) and (width >= WIDEST or name != SHARPE_BOUNDS)
    ]
    table.add_column("period", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows.head(MOST_ROWS).to_dict(orient="records"):
        cells = _cells(row)
        table.add_row(str(row["period"]), *(cells[name] for name in names))
    left = len(rows) - MOST_ROWS
    if left <= 0:
        return table
    return Group(table, Text(f"… and {left} more in metrics.csv", style="dim"))


def _cells(row: dict[Any, Any]) -> dict[str, str]:
    return {
        "n": count(row["n"]),
        "accuracy": _with_interval(row, "accuracy"),
        "AUC": _with_interval(row, "auc"),
        "return": percent(row["total_return"]),
        "hold": percent(row["benchmark_return"]),
        "Sharpe": decimal(row["sharpe"], 1),
        SHARPE_BOUNDS: interval(row["sharpe_lo"], row["sharpe_hi"], 1),
        "max dd": percent(row["max_drawdown"]),
        "trades": count(row["trades"]),
        "fees": count(row["fees"]),
        "funding": count(row["funding"]),
    }


def _seeds(audit: dict[str, Any]) -> list[RenderableType]:
    """Return the spread over seeds, or that there is but one."""
    found = seeds_of(audit)
    if found is None:
        return []
    if not found.rows:
        return [Text(found.note)]
    table = Table(title="By seed", title_justify="left", header_style="bold", pad_edge=False,
                  box=None, padding=(0, 1, 0, 0))  # fmt: skip
    for name in HEADER:
        table.add_column(name, justify="left" if name == HEADER[0] else "right", no_wrap=True)
    for row in found.rows:
        table.add_row(*row)
    return [table, Text(found.note, style="dim")]


def _with_interval(row: dict[Any, Any], name: str) -> str:
    """Return a share with its interval, without the zeros in front of the bounds."""
    value = decimal(row[name])
    if not known(row[f"{name}_lo"]) or not known(row[f"{name}_hi"]):
        return value
    low, high = (decimal(row[f"{name}_{end}"]).removeprefix("0") for end in ("lo", "hi"))
    return f"{value} {low}–{high}"
