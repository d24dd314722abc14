"""Reports: what a person sees of a run, with nothing claimed that the verdict denies."""

from __future__ import annotations

import io
import re

import numpy as np
import pandas as pd
import pytest
from hand_made_run import WRONG, replay, write_run
from rich.console import Console

from perpwalk import reports
from perpwalk.costs import CostSummary
from perpwalk.reports import table, words
from perpwalk.runs import Run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("honest"), replay(900))


@pytest.fixture(scope="module")
def invalid(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("invalid"), replay(900), (WRONG,))


def overall_text(found: Run) -> str:
    """Return the accuracy of the whole run as the reports show it."""
    whole = found.metrics[found.metrics["period_kind"] == "all"].iloc[0]
    return f"{whole['accuracy']:.3f}"


# ── the table ────────────────────────────────────────────────────────────────────────────────────


def test_the_table_shows_verdict_findings_and_periods(run: Run) -> None:
    """Verdict and reasons first, then the whole and the folds, with intervals."""
    text = table.render_table(run.metrics, run.audit)

    assert text.index("INCONCLUSIVE") < text.index("All test decisions") < text.index("By fold")
    assert "searched for leaks" in text
    assert overall_text(run) in text
    assert re.search(r"0\.\d{3} \.\d{3}–\.\d{3}", text)


def test_every_report_shows_each_cost_apart_and_the_break_even_fee(run: Run) -> None:
    """Table, tearsheet banner and page name fees, slippage, funding and the fee that leaves 0."""
    summary = CostSummary.of(run.equity)
    shown = {
        "table": table.render_table(run.metrics, run.audit, costs=summary),
        "tearsheet": reports.write_tearsheet_of(run).read_text(encoding="utf-8"),
        "page": reports.write_page_of(run).read_text(encoding="utf-8"),
    }

    for report, text in shown.items():
        flat = " ".join(text.split())
        for word in ("fees", "slippage", "funding", "break-even fee"):
            assert word in flat.lower(), (report, word)
        assert words.basis_points(summary.break_even_fee) in flat, report


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_fits_its_width(run: Run, width: int) -> None:
    """No line is longer than the terminal and no figure is cut."""
    text = table.render_table(run.metrics, run.audit, width=width)

    assert max(map(len, text.splitlines())) <= width
    body = text[text.index("All test decisions") :]
    assert "…" not in body


def test_an_invalid_run_shows_its_diagnosis_in_place_of_figures(invalid: Run) -> None:
    """The error stands there; accuracy and Sharpe ratio do not."""
    text = table.render_table(invalid.metrics, invalid.audit)

    assert "INVALID" in text
    assert "labels disagree" in text
    assert overall_text(invalid) not in text
    assert "Sharpe" not in text


def test_plain_text_where_there_is_no_terminal(run: Run) -> None:
    """A pipe gets no colours, whole lines, and no markup read into names."""
    stream = io.StringIO()
    table.show(run, Console(file=stream, width=60))
    text = stream.getvalue()

    assert "\x1b[" not in text
    assert "funding" in text
    assert max(map(len, text.splitlines())) > 80


def test_colours_on_a_terminal(run: Run) -> None:
    """A terminal gets the same table in colour."""
    stream = io.StringIO()
    table.show(run, Console(file=stream, width=110, force_terminal=True, color_system="standard"))

    assert "\x1b[" in stream.getvalue()


# ── words ────────────────────────────────────────────────────────────────────────────────────────


def test_undefined_values_are_dashes() -> None:
    """None, NaN and NA look the same everywhere, and zero is a value."""
    for form in (words.decimal, words.percent, words.money, words.count, words.basis_points):
        for value in (None, np.nan, pd.NA):
            assert words.UNDEFINED == form(value), form
        assert words.UNDEFINED != form(0.0)
    assert "0.00" == words.money(-0.0)
    assert "-0.20 to 2.53" == words.interval(-0.2, 2.53, 2)
