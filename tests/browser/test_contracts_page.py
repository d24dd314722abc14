"""The page of several contracts in a real browser: one is chosen, and what is its own follows."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser_page import Opened, Visit
from hand_made_run import SEVERAL, portfolio, write_run

from perpwalk import reports
from perpwalk.reports import words
from perpwalk.runs import Run, load_run

ONE, OTHER, NASTY = SEVERAL  # the last looks like markup
GRIDS = ("trades", "orders", "funding", "folds", "training")


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of three contracts with its page."""
    made = write_run(tmp_path_factory.mktemp("several"), portfolio(420))
    reports.write_page_of(made)
    return made


@pytest.fixture
def page_file(several: Run) -> Path:
    return several.path / "report.html"


def choose(opened: Opened, name: str) -> None:
    opened.page.get_by_label("Contract", exact=True).select_option(name)
    opened.page.locator(".panels[data-stale=no]").wait_for()
    opened.settle()


def titles(opened: Opened) -> dict[str, str]:
    """Return the title of every panel over time by its name."""
    found: dict[str, str] = opened.page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.panel')]"
        ".map((one) => [one.dataset.panel, one.querySelector('b').textContent]))"
    )
    return found


def last_values(opened: Opened, panel: str) -> list[float]:
    """Return where each curve of a panel ends, trades left out."""
    found: list[float] = opened.page.evaluate(
        f"document.getElementById('panel-{panel}').data"
        ".filter((one) => one.mode === 'lines' && one.name).map((one) => one.y.at(-1))"
    )
    return found


def forecasts(opened: Opened) -> dict[str, Any]:
    """Return what the three charts of forecasts show."""
    opened.draw_all()
    found: dict[str, Any] = opened.page.evaluate(
        """(() => {
            const data = (id) => document.querySelector(`#${id} .plot`).data;
            const sum = (values) => [...values].reduce((a, b) => a + b, 0);
            return {
                roc: data("roc").length, calibration: [...data("calibration").at(-1).y],
                decisions: sum(data("distribution")[0].y) + sum(data("distribution")[1].y),
                features: document.querySelector("#features figcaption b").textContent,
                epochs: Math.max(...data("training")[0].x.concat(
                    ...data("training").map((one) => [...one.x]))),
            };
        })()"""
    )
    return found


def counts(opened: Opened) -> dict[str, str]:
    return {
        name: opened.page.locator(f"[data-grid={name}] .count").text_content() or ""
        for name in GRIDS
    }


def told(frame: pd.DataFrame, name: str) -> str:
    return f"{int((frame['symbol'] == name).sum()):,} of {len(frame):,} rows"


def test_a_contract_is_shown_alone_in_every_chart_and_table(
    visit: Visit, page_file: Path, several: Run
) -> None:
    """Price, position, PnL, costs, forecasts, features and rows are its own; all comes back."""
    opened = visit(page_file)
    opened.page.locator(".panels[data-stale=no]").wait_for()
    bars, label = several.equity_by_contract, several.predictions["label"].notna()
    assert bars is not None
    together = (titles(opened), forecasts(opened), counts(opened))
    assert "Equity" == together[0]["equity"]
    assert "prices" in together[0]
    assert "price" not in together[0]
    assert label.sum() == together[1]["decisions"]

    choose(opened, OTHER)
    mine = bars[bars["symbol"] == OTHER]
    assert [mine["price"].iloc[-1]] == pytest.approx(last_values(opened, "price"), rel=1e-6)
    assert [mine["position"].iloc[-1]] == pytest.approx(last_values(opened, "position"))
    costs = [-mine["fee"].sum(), mine["funding"].sum(), -mine["slippage"].sum()]
    assert costs == pytest.approx(last_values(opened, "costs"), rel=1e-5)
    earned = several.trades.loc[several.trades["symbol"] == OTHER, "net_pnl"].sum()
    assert [earned] == pytest.approx(last_values(opened, "symbols"), rel=1e-4)
    assert "Equity of the whole account" == titles(opened)["equity"]
    assert "Drawdown of the whole account" == titles(opened)["drawdown"]

    alone = forecasts(opened)
    assert int((label & (several.predictions["symbol"] == OTHER)).sum()) == alone["decisions"]
    assert together[1]["calibration"] != alone["calibration"]
    assert together[1]["features"] != alone["features"]
    assert re.match(r"3 features, by how many of 1 folds", alone["features"])
    assert 3 == alone["epochs"]
    expected = {name: told(getattr(several, name), OTHER) for name in GRIDS}
    assert expected == counts(opened)

    choose(opened, "")
    assert together == (titles(opened), forecasts(opened), counts(opened))
    assert [] == opened.logged


def test_headline_periods_and_costs_are_the_contracts(
    visit: Visit, page_file: Path, several: Run
) -> None:
    """Figures of the heat map, the cards and the tables of costs are those of its own rows."""
    opened = visit(page_file)
    choose(opened, NASTY)
    page, periods = opened.page, several.metrics_by_contract
    assert periods is not None
    mine = periods[periods["symbol"] == NASTY].set_index(["period_kind", "period"])
    whole = mine.loc[("all", "all")]

    cards = page.get_by_label(f"Headline figures of {NASTY}")
    assert f"{whole['accuracy']:.3f}" in cards.inner_text()
    assert 1 == page.locator(".cards:visible").count()
    shown = page.locator("#periods tr[data-row]:visible")
    assert [NASTY, "all"] == [row.get_attribute("data-row") for row in shown.all()][:2]
    page.get_by_role("button", name="month", exact=True).click()
    first = page.locator("#periods .switched").first.locator("tbody tr:visible").first
    month = str(first.get_attribute("data-row"))
    cells = first.locator("td")
    assert words.count(mine.loc[("month", month), "n"]) == cells.nth(0).inner_text()
    assert f"{mine.loc[('month', month), 'auc']:.3f}" in cells.nth(2).inner_text()

    fees = several.equity_by_contract.query("symbol == @NASTY")["fee"].sum()  # type: ignore[union-attr]
    assert words.money(-fees) in page.locator("#costs tr[data-row=fees]:visible").inner_text()
    settled = int((several.funding["symbol"] == NASTY).sum())
    row = page.locator("#costs tr[data-row='settlements in the replay']:visible")
    assert row.inner_text().endswith(f"\t{settled}")
    tags = {
        str(tag.evaluate("(tag) => tag.closest('section').id")): tag.inner_text()
        for tag in page.locator(".whose").all()
    }
    assert {"whole account"} == {tags["findings"], tags["sure"]}
    assert {NASTY} == {tags[name] for name in ("time", "periods", "forecasts", "trades", "costs")}
    assert [] == opened.logged


def test_the_keyboard_chooses_and_a_trade_brings_its_contract(
    visit: Visit, page_file: Path, several: Run
) -> None:
    """The chooser is the first field; its choice is spoken; filters and zoom outlive it."""
    opened = visit(page_file)
    page = opened.page
    page.get_by_role("button", name="Zoom in").click()
    opened.settle()
    view = opened.spans()[0]
    page.keyboard.press("Home")
    page.locator(".skip").focus()
    page.keyboard.press("Tab")
    assert "contract" == page.evaluate("document.activeElement.id")
    page.keyboard.press("ArrowDown")
    page.locator(".panels[data-stale=no]").wait_for()
    opened.settle()
    assert opened.text("#shown[role=status]").startswith(f"{ONE} alone")
    assert all(view == pytest.approx(one) for one in opened.spans())

    trades = several.trades
    page.get_by_label("Trades: filter side").fill("long")
    both = int(((trades["symbol"] == ONE) & (trades["side"] == "long")).sum())
    assert f"{both} of {len(trades)} rows" == counts(opened)["trades"]
    page.get_by_role("button", name="Trades: clear filters").click()
    assert told(trades, ONE) == counts(opened)["trades"]

    choose(opened, "")
    number = int(np.flatnonzero(trades["symbol"] == OTHER)[0])
    page.mouse.move(0, 0)  # over a chart it would take the cursor with it
    page.get_by_role("button", name=f"Show in the charts: trade {number}", exact=True).focus()
    page.keyboard.press("Enter")
    page.locator(".panels[data-stale=no]").wait_for()
    opened.settle()
    assert OTHER == page.get_by_label("Contract", exact=True).input_value()
    assert f"trade {number}: " in opened.text("[data-panel=price] .head")
    assert 1 < page.evaluate("document.getElementById('panel-price').data.length")
    assert [] == opened.logged


def test_it_fits_a_phone_in_the_dark_and_anyone_can_use_it(visit: Visit, page_file: Path) -> None:
    """With a contract chosen nothing is wider than the screen, and axe-core has no finding."""
    opened = visit(page_file, phone=True, dark=True)
    choose(opened, NASTY)
    assert 11 == opened.draw_all()

    assert 360 == opened.page.evaluate("document.documentElement.scrollWidth")
    assert [] == opened.serious()
    assert [] == opened.logged
    assert [page_file.as_uri()] == opened.asked


def test_a_run_that_kept_no_bars_by_contract_says_so(
    visit: Visit, several: Run, tmp_path: Path
) -> None:
    """Of a run made before: forecasts and rows follow, charts and periods say why they do not."""
    old = Path(shutil.copytree(several.path, tmp_path / "old"))
    for name in ("equity_by_contract.parquet", "metrics_by_contract.csv"):
        (old / name).unlink()
    opened = visit(reports.write_page_of(load_run(old)))
    opened.page.get_by_label("Contract", exact=True).select_option(ONE)

    assert "make it again" in opened.text("#overtime")
    opened.page.get_by_role("button", name="month", exact=True).click()
    assert "make it again" in opened.text("#periods .shown:visible")
    assert told(several.trades, ONE) == counts(opened)["trades"]
    choose(opened, "")
    assert "Equity" == titles(opened)["equity"]
    assert [] == opened.logged
