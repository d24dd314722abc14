"""The page of a run in a real browser: it draws, acts, stays offline and can be used by anyone."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser_page import Visit
from hand_made_run import NASTY, WRONG, replay, write_run
from long_page import long_page

from perpwalk import reports
from perpwalk.reports.pages.run_view import render_page
from perpwalk.runs import Run


@pytest.fixture
def page_file(run: Run) -> Path:
    return run.path / "report.html"


@pytest.fixture(scope="module")
def invalid_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_run(tmp_path_factory.mktemp("invalid"), replay(300), (WRONG,))
    return reports.write_page_of(made)


def test_zoom_acts_on_all_panels(visit: Visit, page_file: Path) -> None:
    """Buttons, dragging, the slider and a double click change the one time axis of all panels."""
    opened = visit(page_file)
    page = opened.page
    page.locator(".panels[data-stale=no]").wait_for()
    whole = opened.spans()
    wide = whole[0][1] - whole[0][0]

    page.get_by_role("button", name="Zoom in").click()
    opened.settle()
    closer = opened.spans()
    assert all(one == closer[0] for one in closer)
    assert wide / 2 == pytest.approx(closer[0][1] - closer[0][0], rel=1e-6)

    page.get_by_role("button", name="Show all").click()
    opened.settle()
    assert whole == opened.spans()

    stage = page.locator(".panel .stage").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 60, steps=4)
    page.mouse.up()
    opened.settle()
    dragged = opened.spans()
    assert all(one == dragged[0] for one in dragged)
    assert 0.15 * wide < dragged[0][1] - dragged[0][0] < 0.3 * wide

    stage.dblclick(position={"x": 300, "y": 50})
    opened.settle()
    assert whole == opened.spans()

    page.get_by_label("From", exact=True).fill("500")
    opened.settle()
    assert wide / 2 == pytest.approx(whole[0][1] - opened.spans()[0][0], rel=1e-6)


def test_two_fingers_zoom_and_move(visit: Visit, page_file: Path) -> None:
    """Fingers that part to twice their distance show half; moved left they show what came later."""
    opened = visit(page_file, phone=True)
    page = opened.page
    page.locator(".panels[data-stale=no]").wait_for()
    page.get_by_role("button", name="Zoom in").click()
    opened.settle()
    ((from_, to), *_) = opened.spans()
    stage = page.locator(".panel .stage").first
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    assert box is not None
    touch = page.context.new_cdp_session(page)

    def put(kind: str, *places: float) -> None:
        points = [{"x": box["x"] + x, "y": box["y"] + 50, "id": k} for k, x in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    put("touchStart", 150, 210)
    for apart in (35, 40, 50, 60):
        put("touchMove", 180 - apart, 180 + apart)
    opened.settle()
    ((closer_from, closer_to), *others) = opened.spans()
    assert all([closer_from, closer_to] == span for span in others)
    assert (to - from_) / 2 == pytest.approx(closer_to - closer_from, rel=1e-3)
    assert from_ < closer_from < closer_to < to

    put("touchMove", 60, 180)
    put("touchEnd")
    opened.settle()
    ((later_from, later_to), *_) = opened.spans()
    assert closer_to - closer_from == pytest.approx(later_to - later_from, rel=1e-6)
    assert closer_from < later_from
    assert 1 == page.evaluate("visualViewport.scale")
    assert [] == opened.logged


def test_the_cursor_tells_the_exact_values_of_a_bar(
    visit: Visit, page_file: Path, run: Run
) -> None:
    """With the keyboard alone: End puts the cursor on the last bar, and its values are spoken."""
    opened = visit(page_file)
    opened.page.locator(".panels[data-stale=no]").wait_for()
    opened.page.locator(".panels").focus()
    opened.page.keyboard.press("End")
    spoken = opened.text(".unseen[aria-live]")

    last = run.equity.iloc[-1]
    assert f"{last['close_time']:%Y-%m-%d %H:%M}" in spoken
    assert f"after all costs {last['equity']:,.2f}" in spoken
    opened.page.keyboard.press("ArrowLeft")
    assert spoken != opened.text(".unseen[aria-live]")
    before = opened.spans()
    opened.page.keyboard.press("+")
    opened.settle()
    assert before != opened.spans()


def test_a_series_is_switched_off(visit: Visit, page_file: Path) -> None:
    """Pressing a curve's name takes it out of its panel, and brings it back."""
    opened = visit(page_file)
    opened.page.locator(".panels[data-stale=no]").wait_for()
    key = opened.page.get_by_role("button", name=re.compile("buy and hold"))
    count = "document.getElementById('panel-equity').data.length"

    assert 2 == opened.page.evaluate(count)
    key.click()
    opened.settle()
    assert 1 == opened.page.evaluate(count)
    assert "false" == key.get_attribute("aria-pressed")


def test_trades_are_sorted_and_filtered(visit: Visit, page_file: Path, run: Run) -> None:
    """Sorting by net PnL brings the best trade first; filters count what pandas counts."""
    opened = visit(page_file)
    page, trades = opened.page, run.trades
    grid = page.locator("[data-grid=trades]")
    grid.scroll_into_view_if_needed()
    heading = grid.get_by_role("button", name="net pnl")
    column = [str(name) for name in trades.columns].index("net_pnl")

    heading.focus()
    page.keyboard.press("Enter")
    opened.settle()
    best = grid.locator("tbody tr:not(.spacer)").first.locator("td").nth(column)
    assert f"{trades['net_pnl'].max():,.2f}" == best.inner_text()
    assert "descending" == grid.locator("th[aria-sort]").get_attribute("aria-sort")

    grid.get_by_label("Trades: filter net pnl").fill(">0")
    won = int((trades["net_pnl"] > 0).sum())
    assert f"{won} of {len(trades)} rows" == grid.locator(".count").inner_text()

    grid.get_by_label("Trades: filter side").fill("short")
    both = int(((trades["net_pnl"] > 0) & (trades["side"] == "short")).sum())
    assert f"{both} of {len(trades)} rows" == grid.locator(".count").inner_text()

    grid.get_by_role("button", name="clear filters").click()
    assert f"{len(trades)} rows" == grid.locator(".count").inner_text()
    assert len(trades) > grid.locator("tbody tr:not(.spacer)").count()  # only what is in view


def test_what_is_shown_can_be_saved(visit: Visit, page_file: Path, run: Run) -> None:
    """CSV holds the filtered rows to the last digit; a chart becomes a picture. Both offline."""
    opened = visit(page_file)
    page = opened.page
    page.get_by_label("Trades: filter side").fill("short")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Trades: save what is shown as CSV").click()
    kept = pd.read_csv(saved.value.path())
    short = run.trades[run.trades["side"] == "short"]
    np.testing.assert_array_equal(short["net_pnl"], kept["net_pnl"])

    page.locator("#roc").scroll_into_view_if_needed()
    page.locator("#roc svg.main-svg").first.wait_for()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save picture: ROC curves").click()
    assert saved.value.path().read_bytes().startswith(b"\x89PNG")
    assert [] == opened.logged


def test_a_trade_is_shown_in_the_charts(visit: Visit, page_file: Path, run: Run) -> None:
    """The button of a trade zooms to it, and its entry and exit are drawn."""
    opened = visit(page_file)
    page = opened.page
    # By key: a pointer would come to rest on the chart that scrolls below it, and name that place.
    page.get_by_role("button", name="Show in the charts: trade 1", exact=True).press("Enter")
    opened.settle()
    start, end = opened.spans()[0]
    trade = run.trades.iloc[1]

    assert start < trade["opened_at"].timestamp() * 1000 < trade["closed_at"].timestamp() * 1000
    assert trade["closed_at"].timestamp() * 1000 < end
    assert f"trade 1: {trade['side']}" in opened.text("[data-panel=price] .head")
    assert 1 < page.evaluate("document.getElementById('panel-price').data.length")


def test_names_show_as_text(visit: Visit, page_file: Path) -> None:
    """A feature called <script> is written, not run: in the page, in a chart, in a table."""
    opened = visit(page_file)
    alerts: list[str] = []
    opened.page.on("dialog", lambda dialog: alerts.append(dialog.message))
    opened.draw_all()
    opened.open_all()

    kept = opened.page.locator("#features text").all_text_contents()
    assert any("<script>alert(" in text for text in kept)
    assert NASTY in opened.text("#repeat")
    assert [] == alerts
    assert [] == opened.logged


def test_both_themes_can_be_chosen(visit: Visit, page_file: Path) -> None:
    """The page follows the system; the switch turns it, and the charts with it."""
    opened = visit(page_file, dark=True)
    page = opened.page
    page.locator(".panels[data-stale=no]").wait_for()
    look = (
        "[getComputedStyle(document.body).backgroundColor,"
        " document.getElementById('panel-equity').data[0].line.color]"
    )
    dark = page.evaluate(look)
    page.locator("#theme").click()
    opened.settle()
    light = page.evaluate(look)

    assert "rgb(255, 255, 255)" == light[0]
    assert dark[0] != light[0]
    assert dark[1] != light[1]
    assert "light" in str(page.locator("#theme").get_attribute("aria-label"))


def test_an_invalid_run_shows_no_headline_and_stamps_its_charts(
    visit: Visit, invalid_file: Path
) -> None:
    """The diagnosis takes the headline's place; opened, every chart says that it is no result."""
    opened = visit(invalid_file)
    assert 0 == opened.page.locator(".card").count()
    assert "INVALID" in opened.text(".verdict").upper()
    assert "labels disagree" in opened.text(".verdict")
    assert 0 == opened.page.locator(".plot:visible").count()

    opened.page.locator(".unjudged > summary").click()
    count = opened.draw_all()
    stamped = opened.page.locator(".annotation-text", has_text="NOT A RESULT").count()
    assert 0 < count == stamped
    assert [] == opened.logged


def test_a_long_run_is_small_and_zooms(visit: Visit, run: Run, tmp_path: Path) -> None:
    """52,000 bars and 20,000 orders: under 10 MB, few points on screen, extremes kept."""
    file = tmp_path / "long.html"
    data = long_page(run, 52_000, orders=20_000)
    file.write_text(render_page(data), encoding="utf-8")
    assert file.stat().st_size < 10e6

    opened = visit(file)
    opened.page.locator(".panels[data-stale=no]").wait_for()
    # Plotly keeps typed arrays apart from plain ones: take both as they come.
    points = json.loads(
        opened.page.evaluate(
            "JSON.stringify([...document.querySelectorAll('.panel .plot')].flatMap((plot) =>"
            " plot.data.map((one) => [one.y.length, Math.min(...one.y), Math.max(...one.y)])))"
        )
    )
    equity = data.equity["equity"].astype("float32")
    assert max(count for count, _, _ in points) < 4000
    assert pytest.approx([equity.min(), equity.max()], rel=1e-6) == points[0][1:]

    opened.page.get_by_role("button", name="Show 7 days").click()
    opened.settle()
    start, end = opened.spans()[0]
    assert 7 * 86_400_000 == pytest.approx(end - start)
    assert 150 < opened.page.evaluate("document.getElementById('panel-equity').data[0].y.length")
    assert [] == opened.logged
