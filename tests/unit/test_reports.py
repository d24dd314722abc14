"""Reports: what a person sees of a run, with nothing claimed that the verdict denies."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hand_made_book import Book
from hand_made_run import NASTY, WRONG, replay, write_run
from rich.console import Console

from perpwalk import reports
from perpwalk.costs import CostSummary
from perpwalk.reports import charts, table, words
from perpwalk.reports.page import render_page
from perpwalk.runs import Run

FETCH = re.compile(
    r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//|@import|url\((?!#)""", re.IGNORECASE
)


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


# ── the page ─────────────────────────────────────────────────────────────────────────────────────


def test_the_page_holds_every_section_and_loads_nothing(run: Run) -> None:
    """One file: verdict, figures, charts, folds, funding, costs, orders, features, training."""
    page = reports.write_page_of(run).read_text(encoding="utf-8")

    for heading in (
        "Findings", "How sure", "Equity", "Metrics per period", "Gross to net", "Funding",
        "Orders", "Folds", "Features kept", "Training", "To repeat it",
    ):  # fmt: skip
        assert f"<h2>{heading}</h2>" in page, heading
    assert 3 == page.count("<svg")
    assert "break-even fee per side" in page
    assert overall_text(run) in page
    assert FETCH.search(page) is None
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_names_are_escaped(run: Run, invalid: Run) -> None:
    """A feature, a finding or a manifest called <script> shows as text."""
    for one in (run, invalid):
        page = reports.write_page_of(one).read_text(encoding="utf-8")
        assert NASTY not in page
        assert "&lt;script&gt;alert(" in page
        assert "<script" not in page


def test_the_page_of_an_invalid_run_leads_with_the_diagnosis(invalid: Run) -> None:
    """No headline cards; the unjudged figures stand at the end and are called no result."""
    page = reports.write_page_of(invalid).read_text(encoding="utf-8")

    assert 'class="cards"' not in page
    assert "its figures are no result" in page
    assert (
        page.index("labels disagree")
        < page.index("Not a result")
        < page.index("Metrics per period")
    )


def test_the_page_of_a_run_that_never_traded(tmp_path: Path) -> None:
    """Undefined figures are dashes, empty tables say so, and nothing breaks."""
    prices = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, 500)))
    quiet = write_run(tmp_path / "quiet", Book(prices=prices.tolist()).ledger())
    page = render_page(reports.page_data(quiet))

    assert words.UNDEFINED in page
    assert "Nothing to show." in page
    shown = re.findall(r"<t[dh]>([^<]*)</t[dh]>|<b>([^<]*)</b>", page)
    told = {text.strip().lower() for pair in shown for text in pair}
    assert set() == told & {"nan", "none", "nat", "inf", "<na>", "-inf"}


def test_equal_runs_have_equal_pages(run: Run) -> None:
    """The page is a function of the run's files."""
    assert render_page(reports.page_data(run)) == render_page(reports.page_data(run))


# ── charts and words ─────────────────────────────────────────────────────────────────────────────


def test_thinning_keeps_the_extremes() -> None:
    """However long the curve, its highest and lowest point are drawn."""
    values = np.random.default_rng(2).normal(size=50_000)
    kept = charts._thinned(values)

    assert len(kept) < 2000
    assert values.max() in values[kept]
    assert values.min() in values[kept]
    assert 0 == kept[0]
    assert len(values) - 1 == kept[-1]


def test_a_flat_curve_and_too_short_ones_draw() -> None:
    """A constant has a scale, one point has no chart, folds without an AUC stay gaps."""
    stamps = pd.date_range("2024-01-01", periods=3, freq="h", tz="UTC")
    flat = charts.Line("<x>", "strategy", np.ones(3))
    chart = charts.line_chart(stamps, [flat], title="A & B")

    assert "polyline" in chart
    assert "&lt;x&gt;" in chart
    assert "A &amp; B" in chart
    assert "" == charts.line_chart(stamps[:1], [flat], title="t")
    dots = charts.interval_chart(
        ["0", "1"], [0.55, None], [0.5, None], [0.6, None], title="t", reference=0.5
    )
    assert 1 == dots.count("<circle")
    assert "" == charts.interval_chart(["0"], [None], [None], [None], title="t", reference=0.5)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-3.7, 12.2), (0.48, 0.61), (1e-9, 3e-9), (-5e5, 2e6)]
)
def test_ticks_are_round_and_few(low: float, high: float) -> None:
    """Between 2 and 11 ticks, all within the range."""
    found = charts.ticks(low, high)

    assert 2 <= len(found) <= 11
    assert all(low - 1e-9 * (high - low) <= tick <= high + 1e-9 * (high - low) for tick in found)


def test_undefined_values_are_dashes() -> None:
    """None, NaN and NA look the same everywhere, and zero is a value."""
    for form in (words.decimal, words.percent, words.money, words.count, words.basis_points):
        for value in (None, np.nan, pd.NA):
            assert words.UNDEFINED == form(value), form
        assert words.UNDEFINED != form(0.0)
    assert "0.00" == words.money(-0.0)
    assert "-0.20 to 2.53" == words.interval(-0.2, 2.53, 2)
