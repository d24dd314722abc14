"""A comparison for a terminal, and as plain text where there is none."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from perpwalk.comparison.measures import BENCHMARKS
from perpwalk.comparison.record import Comparison
from perpwalk.comparison.words import LABELS
from perpwalk.reports.words import KINDS, UNDEFINED, count, decimal, interval, known, percent
from perpwalk.terminal import Terminal

MOST_ROWS = 30
PLAIN_WIDTH = 120
COLUMNS = ("", "variant", "accuracy", "AUC", "return", "Sharpe", "interval", "max dd", "trades",
           "DSR", "is")  # fmt: skip
_KEY = (
    "is: = not told from the best, + earns more than noise, H more than holding, F forecasts "
    "better than chance, ? suspect"
)
_PERCENT = ("total_return", "cagr", "max_drawdown", "volatility", "accuracy")
Row = Mapping[Any, Any]


def show(found: Comparison, console: Console) -> None:
    """Print a comparison to ``console``."""
    if console.is_terminal:
        for part in parts(found):
            console.print(part)
        return
    console.out(render(found), highlight=False)


def render(found: Comparison, *, width: int = PLAIN_WIDTH) -> str:
    """Return what ``show`` prints as plain text without colours."""
    stream = io.StringIO()
    console = Terminal(file=stream, width=width, color_system=None, force_terminal=False)
    for part in parts(found):
        console.print(part)
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def parts(found: Comparison) -> list[RenderableType]:
    """Return the verdict, the variants, how they differ from the first, and how stable that is."""
    shown: list[RenderableType] = [_verdict(found)]
    if found.leader is None:
        return [*shown, _left_out(found)]
    shown.append(_variants(found))
    if (found.variants["status"] != "ranked").any():
        shown.append(_left_out(found))
    shown += [*_differences(found), *_stability(found), Text(_overfitting(found))]
    shown += [Text(f"{f.level} {f.code} {f.where}: {f.message}") for f in found.findings]
    return shown


def _verdict(found: Comparison) -> RenderableType:
    won = found.winner is not None
    head = f" WINNER: {found.winner} " if won else " NO WINNER "
    style = "bold green" if won else "bold yellow"
    if found.leader is None:
        head, style = " NO RESULT ", "bold white on red"
    body = Group(Text(head, style=style), Text(found.verdict))
    return Panel(body, title=f"Comparison of {found.name}", title_align="left", expand=True)


def as_html(found: Comparison) -> str:
    """Return conclusion, paragraph and the table of the variants, for a notebook."""
    head = "No result" if found.leader is None else "No winner"
    head = head if found.winner is None else f"Winner: {found.winner}"
    said = f"<h3>{html.escape(head)}</h3><p>{html.escape(found.verdict)}</p>"
    if found.leader is None:
        return said
    names, rows = _rows(found)
    table = pd.DataFrame([{name: cells.get(name, "") for name in names} for cells in rows])
    return f"{said}{table.to_html(index=False, border=0)}<p>{html.escape(_KEY)}</p>"


def _variants(found: Comparison) -> RenderableType:
    table = Table(
        title=f"Variants by {LABELS[found.by]}, on the same {found.decisions:,} decisions",
        title_justify="left", header_style="bold", pad_edge=False, box=None, padding=(0, 1, 0, 0),
    )  # fmt: skip
    names, rows = _rows(found)
    for name in names:
        left = name in ("variant", "is")
        table.add_column(name, justify="left" if left else "right", no_wrap=name != "variant")
    for cells in rows:
        style = "dim" if cells["variant"] in BENCHMARKS else None
        table.add_row(*(cells.get(column, "") for column in names), style=style)
    more = len(found.ranked) - MOST_ROWS
    tail = [Text(f"… and {more} more in comparison.csv", style="dim")] if more > 0 else []
    return Group(table, *tail, Text(_KEY, style="dim"))


def _rows(found: Comparison) -> tuple[list[str], list[dict[str, str]]]:
    """Return the columns, and the cells of the first variants and of the benchmarks."""
    names = list(COLUMNS)
    if found.by not in ("accuracy", "auc", "total_return", "sharpe", "max_drawdown"):
        names.insert(2, LABELS[found.by])
    deflated = found.deflated.set_index("variant")["deflated"]
    ranked = found.variants[found.variants["rank"].notna()].to_dict(orient="records")
    rows = []
    for row in ranked[:MOST_ROWS]:
        name = str(row["variant"])
        rows.append(
            _cells(found, name)
            | {
                "": count(row["rank"]), "variant": name, "is": _marks(row),
                "DSR": decimal(deflated.get(name), 2),
            }
        )  # fmt: skip
    known_to_all = set(found.metrics["variant"])
    rows += [_cells(found, name) | {"variant": name} for name in BENCHMARKS if name in known_to_all]
    return names, rows


def _marks(row: Row) -> str:
    marks = {"with_the_best": "=", "beats_flat": "+", "beats_hold": "H", "forecasts": "F"}
    said = [mark for name, mark in marks.items() if known(row[name]) and row[name]]
    return "".join([*said, *(["?"] if row["verdict"] == "suspect" else [])])


def _cells(found: Comparison, name: str) -> dict[str, str]:
    own = found.metrics[found.metrics["variant"] == name].to_dict(orient="records")
    rows = {str(row["metric"]): row for row in own}

    def value(metric: str, column: str = "value") -> float | None:
        cell = rows.get(metric, {}).get(column)
        return None if cell is None or not known(cell) else float(cell)

    bare = {
        "accuracy": decimal(value("accuracy")),
        "AUC": decimal(value("auc")),
        "return": percent(value("total_return")),
        "Sharpe": decimal(value("sharpe"), 2),
        "interval": interval(value("sharpe", "lo"), value("sharpe", "hi"), 2),
        "max dd": percent(value("max_drawdown")),
        "trades": count(value("trades")),
        LABELS[found.by]: _shown(found.by, value(found.by)),
    }
    # An undefined cell of a benchmark is no news: it has no forecasts, or no trades.
    return {k: ("" if name in BENCHMARKS and v == UNDEFINED else v) for k, v in bare.items()}


def _shown(metric: str, value: float | None) -> str:
    if value is None:
        return UNDEFINED
    return percent(value, 2) if metric in _PERCENT else f"{value:.4g}"


def _left_out(found: Comparison) -> RenderableType:
    rows = found.variants[found.variants["status"] != "ranked"].to_dict(orient="records")
    lines = [
        Text.assemble((f"{row['status']:<8}", "red"), f"{row['variant']}: {row['diagnosis']}")
        for row in rows
    ]
    return Group(Text("Not taking part", style="bold"), *lines)


def _differences(found: Comparison) -> list[RenderableType]:
    metric = found.by if found.by in set(found.pairwise["metric"]) else "sharpe"
    rows = found.pairwise
    rows = rows[(rows["metric"] == metric) & (rows["a"] == found.leader)]
    if rows.empty:
        return []
    table = Table(
        title=f"{found.leader} minus the others, {LABELS[metric]}, on the same rows",
        title_justify="left", header_style="bold", pad_edge=False, box=None, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for name in ("against", "difference", "interval", "p", "corrected", "test", "its p",
                 "could see"):  # fmt: skip
        table.add_column(name, justify="left" if name in ("against", "test") else "right")
    for row in rows.head(MOST_ROWS).to_dict(orient="records"):
        table.add_row(
            str(row["b"]), decimal(row["difference"], 4), interval(row["lo"], row["hi"], 4),
            decimal(row["p"]), decimal(row["p_corrected"]), str(row["test"]),
            decimal(row["test_p"]) if known(row["test_p"]) else "", decimal(row["detectable"], 4),
        )  # fmt: skip
    return [table]


def _stability(found: Comparison) -> list[RenderableType]:
    metric = found.by if found.by in set(found.stability["metric"]) else "sharpe"
    lines = []
    for row in found.stability[found.stability["metric"] == metric].to_dict(orient="records"):
        kind = str(row["period_kind"])
        head = f"{count(row['periods'])} {KINDS.get(kind, kind)}s: "
        if not known(row["kendall_w"]):
            lines.append(Text(f"{head}{row['reason']}"))
            continue
        lines.append(
            Text(
                f"{head}Kendall's W {decimal(row['kendall_w'], 2)} (p {decimal(row['p'])}); "
                f"mean rank {_mean_ranks(found, kind, metric)}"
            )
        )
    if not lines:
        return []
    return [Text(f"Who is ahead when, by {LABELS[metric]}", style="bold"), *lines]


def _mean_ranks(found: Comparison, kind: str, metric: str) -> str:
    rows = found.ranks
    rows = rows[(rows["period_kind"] == kind) & (rows["metric"] == metric)]
    best = rows.sort_values("mean_rank").head(4).to_dict(orient="records")
    return ", ".join(f"{row['variant']} {decimal(row['mean_rank'], 1)}" for row in best)


def _overfitting(found: Comparison) -> str:
    if found.overfitting.empty:
        return "Probability of backtest overfitting: undefined (too few variants or bars)"
    told = ", ".join(
        f"{decimal(row['pbo'], 2)} ({row['blocks']})"
        for row in found.overfitting.to_dict(orient="records")
    )
    return f"Probability of backtest overfitting, by number of blocks: {told}. {found.trials_text}."
