"""What holds of every page: it draws, stays offline, fits a phone, and anyone can use it."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser_page import Visit

from perpwalk.comparison import Comparison
from perpwalk.runs import Run

CHARTS = {"report.html": 10, "comparison.html": 5}


@pytest.fixture(params=list(CHARTS))
def page_file(request: pytest.FixtureRequest, run: Run, found: Comparison) -> Path:
    assert found.path is not None
    return (run.path if request.param == "report.html" else found.path) / request.param


def test_every_chart_draws_and_nothing_is_asked_for(visit: Visit, page_file: Path) -> None:
    """All charts hold curves, no word is logged, and the file is the only request."""
    opened = visit(page_file)
    count = opened.draw_all()
    drawn = opened.page.evaluate(
        "[...document.querySelectorAll('.plot')].filter((plot) => plot.clientWidth)"
        ".map((plot) => plot.querySelectorAll('.trace path, .scatterlayer path, .hm image').length)"
    )

    assert CHARTS[page_file.name] == count == len(drawn)
    assert 0 < min(drawn)
    assert [] == opened.logged
    assert [page_file.as_uri()] == opened.asked


def test_axe_has_no_serious_finding_in_either_theme(visit: Visit, page_file: Path) -> None:
    """With everything open, axe-core finds nothing serious or critical, in light and in dark."""
    opened = visit(page_file)
    opened.open_all()
    opened.draw_all()
    assert [] == opened.serious()

    opened.page.locator("#theme").click()
    assert "dark" == opened.page.locator("html").get_attribute("data-theme")
    opened.settle()
    assert [] == opened.serious()


def test_a_phone_does_not_scroll_sideways(visit: Visit, page_file: Path) -> None:
    """At 360 pixels nothing but a table's own frame is wider than the screen, and charts draw."""
    opened = visit(page_file, phone=True)
    opened.draw_all()

    assert 360 == opened.page.evaluate("document.documentElement.scrollWidth")
    widths = opened.page.evaluate(
        "[...document.querySelectorAll('.plot')].map((plot) => plot.getBoundingClientRect().right)"
    )
    assert max(widths) <= 360
    assert [] == opened.logged
