"""What ``check`` and ``verify`` say, as tables for a terminal and as JSON for a script.

An answer never stands alone: the word comes with its intervals, the number of decisions and what
it does not mean.
"""

from __future__ import annotations

import json
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from perpwalk.audit.check import Answer, CheckAnswer, ClassCounts, Measure
from perpwalk.audit.verification import Status, Verification
from perpwalk.reports import words
from perpwalk.uncertainty.estimate import Estimate

_STYLE = {Answer.PASS: "bold green", Answer.FAIL: "bold red", Answer.CANNOT_JUDGE: "bold magenta"}
_STATUS_STYLE = {Status.OK: "green", Status.FAILED: "bold red", Status.NOT_POSSIBLE: "yellow"}


class HasDict(Protocol):
    """An answer that can be written as JSON."""

    def as_dict(self) -> dict[str, object]:
        """Return plain values."""
        ...


def as_json(answer: HasDict) -> str:
    """Return an answer as JSON; null where undefined, never NaN."""
    return json.dumps(answer.as_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


# ── check ────────────────────────────────────────────────────────────────────────────────────────


def show_check(answer: CheckAnswer, console: Console) -> None:
    """Print the counts, the measures with their intervals, the answer and its reasons."""
    console.print(_counts_table(answer.counts))
    console.print(_measures_table(answer))
    console.print(Text(_headline(answer), style=_STYLE[answer.answer]), soft_wrap=True)
    for reason in answer.reasons:
        console.print(Text(f"  {reason}"), soft_wrap=True)
    for note in answer.notes:
        console.print(Text(note, style="dim"), soft_wrap=True)


def _headline(answer: CheckAnswer) -> str:
    if answer.answer is Answer.CANNOT_JUDGE:
        why = "under suspicion" if answer.exit_code == 4 else "not a result"
        return f"{answer.answer} ({why})"
    told = ", ".join(
        f"{one.name} {_number(one.estimate.value)} {_interval(one.estimate)}"
        for one in answer.table
        if one.bar > 0
    )
    return f"{answer.answer}: {told}, n = {answer.table[0].estimate.n:,}"


def _counts_table(counts: ClassCounts) -> Table:
    table = Table(title=f"{counts.decisions:,} test decisions", title_justify="left")
    for name in ("", "up", "down", "unchanged"):
        table.add_column(name, justify="left" if name == "" else "right")
    table.add_row("raw moves", f"{counts.moves_up:,}", f"{counts.moves_down:,}",
                  f"{counts.moves_none:,}")  # fmt: skip
    table.add_row("labels", f"{counts.labels_up:,}", f"{counts.labels_down:,}", "")
    table.add_row("calls", f"{counts.called_up:,}", f"{counts.called_down:,}", "")
    return table


def _measures_table(answer: CheckAnswer) -> Table:
    judged = answer.answer is not Answer.CANNOT_JUDGE or answer.exit_code == 4
    title = None if judged else "not a result: these numbers mean nothing here"
    table = Table(title=title, title_justify="left", title_style="bold magenta")
    level = f"{words.level(answer.table[0].estimate.level)} interval"
    for name in ("", "value", level, "n", "worth", "method", "bar", "clears"):
        table.add_column(name, justify="left" if name in ("", "method") else "right")
    for one in answer.table:
        table.add_row(*_cells(one.name, one.estimate), f"> {one.bar:g}", _clears(one, judged))
        if one.twin is not None:
            table.add_row(*_cells("", one.twin), "", "")
    return table


def _cells(name: str, estimate: Estimate) -> tuple[str, ...]:
    worth = "" if estimate.n_eff is None else f"{estimate.n_eff:,.0f}"
    method = estimate.reason if estimate.low is None and estimate.reason else estimate.method
    return (
        name, _number(estimate.value), _interval(estimate), f"{estimate.n:,}", worth, method,
    )  # fmt: skip


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "none"
    return f"[{estimate.low:.4f}, {estimate.high:.4f}]"


def _clears(one: Measure, judged: bool) -> str:
    if not judged or one.clears is None:
        return "-"
    return "yes" if one.clears else "no"


# ── verify ───────────────────────────────────────────────────────────────────────────────────────


def show_verification(found: Verification, console: Console) -> None:
    """Print each step with what was looked at and what came out, then the answer."""
    table = Table(title=f"verify {found.run}", title_justify="left")
    table.add_column("step")
    table.add_column("check")
    table.add_column("result")
    table.add_column("detail", overflow="fold")
    step = ""
    for one in found.checks:
        shown, step = ("" if one.step == step else one.step), one.step
        table.add_row(
            shown,
            one.what,
            Text(str(one.status), style=_STATUS_STYLE[one.status]),
            Text(one.detail),
        )
    console.print(table)
    style = "bold green" if found.exit_code == 0 else "bold red"
    console.print(Text(found.summary, style=style), soft_wrap=True)
