"""The page of a comparison as text: what it says without a browser, and how it is made."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from compared import kept_comparison
from hand_made_run import NASTY
from typer.testing import CliRunner

from engine.cli import app
from perpwalk import reports
from perpwalk.comparison import Comparison
from perpwalk.errors import UsageError
from perpwalk.reports import words
from perpwalk.reports.pages.comparison_view import render_comparison


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return kept_comparison(tmp_path_factory.mktemp("compared"), count=4, n=800)


def text_of(page: str) -> str:
    return page[: page.index('<script type="application/octet-stream"')]


def test_verdict_then_results_then_the_luck_of_the_search(found: Comparison) -> None:
    """Paragraph, who is left out, findings, results, pairs, periods, SPA, PBO, deflated ratios."""
    page = text_of(render_comparison(found))
    places = [page.index(f'id="{name}"') for name in (
        "verdict", "left-out", "findings", "overtime", "results", "pairs", "periods", "search",
        "repeat",
    )]  # fmt: skip

    assert sorted(places) == places
    for row in found.overfitting.to_dict(orient="records"):
        assert f"<td>{words.decimal(row['pbo'], 2)}</td>" in page[page.index('id="search"') :]
    assert words.decimal(found.value(found.ranked[0], "sharpe"), 2) in page


def test_names_are_escaped(found: Comparison) -> None:
    """A variant called <script> shows as text."""
    page = render_comparison(found)

    assert NASTY not in page
    assert "&lt;script&gt;alert(" in page


def test_a_comparison_without_a_result_says_so(found: Comparison) -> None:
    """Nobody takes part: no figures, no charts, the diagnoses in their place."""
    none = replace(
        found, leader=None, winner=None, verdict="None of the 5 variants is a result.",
        variants=found.variants.assign(rank=None, status="invalid", diagnosis="L004: labels"),
    )  # fmt: skip
    page = text_of(render_comparison(none))

    assert "No result" in page
    assert "L004: labels" in page
    assert 'id="results"' not in page


def test_undefined_figures_are_dashes(found: Comparison) -> None:
    """No cell shows what Python calls a missing value."""
    shown = re.findall(r">([^<>]*)</t[dh]>", text_of(render_comparison(found)))

    assert set() == {text.strip().lower() for text in shown} & {"nan", "none", "<na>", "inf"}


def test_report_makes_the_page_of_a_comparison_again(found: Comparison) -> None:
    """`perpwalk report FOLDER` writes the same page over a damaged one."""
    page = reports.write_comparison_page(found)
    before = page.read_bytes()
    page.write_text("damaged")
    done = CliRunner().invoke(app, ["report", str(page.parent)])

    assert 0 == done.exit_code, done.output
    assert before == page.read_bytes()


def test_a_comparison_in_memory_has_nowhere_to_write(found: Comparison) -> None:
    """Without a folder the page is refused with what to do."""
    with pytest.raises(UsageError, match="write_comparison"):
        reports.write_comparison_page(replace(found, path=None))
