"""How long one step of zooming takes in a real browser, of few and of many bars, in one run.

    make bench PYTEST_ARGS="benchmarks/test_page_speed.py -s"

A step is everything the page does between two frames while somebody zooms: thinning, drawing what
is in sight, the navigator, the figures under the cursor. Over the whole span and over a twentieth
of it; what counts is the slowest of ten, since that is what the eye sees.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "tests/reference"))

from hand_made_run import replay, write_run
from long_page import long_page

from perpwalk.reports.pages.run_view import render_page

pytestmark = pytest.mark.benchmark

FEW, MANY = 520, 52_000
STEPS = """(factor) => {
    const found = [];
    const charts = globalThis.perpwalk.charts;
    for (let step = 0; step < 12; step += 1) {
        charts.view = [charts.first, charts.first + (charts.last - charts.first) * factor];
        const began = performance.now();
        charts.drawNow();
        found.push(performance.now() - began);
    }
    return Math.max(...found.slice(2));
}"""


def test_a_hundred_times_the_bars_are_drawn_as_smoothly(tmp_path: Path) -> None:
    """A step over 52,000 bars takes less than three times that over 520."""
    chromium = os.environ.get("PERPWALK_CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium")
    run = write_run(tmp_path, replay(900))
    taken: dict[tuple[int, float], float] = {}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(120_000)  # a loaded machine may need long to open a page
        for bars in (FEW, MANY):
            file = tmp_path / f"{bars}.html"
            file.write_text(render_page(long_page(run, bars, orders=bars // 3)), encoding="utf-8")
            page.goto(file.as_uri())
            page.locator(".panels[data-stale=no]").wait_for()
            for part in (1.0, 0.05):
                taken[bars, part] = page.evaluate(STEPS, part)
        browser.close()
    for (bars, part), slowest in taken.items():
        print(f"\n{bars:,} bars, {part:.0%} of them in view: slowest step {slowest:.0f} ms", end="")
    print()

    for part in (1.0, 0.05):
        assert taken[MANY, part] < 3 * taken[FEW, part]
