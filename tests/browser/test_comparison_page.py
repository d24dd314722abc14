"""The page of a comparison in a real browser: variants are switched, and figures follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from browser_page import Visit
from hand_made_run import NASTY
from simulated_variants import on_contracts, variants

from perpwalk import reports
from perpwalk.comparison import Comparison, load_comparison, write_comparison
from perpwalk.comparison.core import compare_variants


@pytest.fixture
def page_file(found: Comparison) -> Path:
    assert found.path is not None
    return found.path / "comparison.html"


def test_the_verdict_and_who_is_left_out_come_first(
    visit: Visit, page_file: Path, found: Comparison
) -> None:
    """The paragraph stands on top, word for word; an invalid variant stands with its diagnosis."""
    opened = visit(page_file)

    assert " ".join(found.verdict.split()) == " ".join(opened.text(".paragraph").split())
    assert "labels disagree" in opened.text("#left-out")
    assert NASTY in opened.text("#results")


def test_variants_are_switched_off_and_on(visit: Visit, page_file: Path, found: Comparison) -> None:
    """A box takes its variant out of every chart; None and All act on all of them."""
    opened = visit(page_file)
    opened.draw_all()
    page = opened.page
    assert "null" not in opened.text("#variants")
    curves = "document.getElementById('panel-growth').data.length"
    dots = "document.querySelector('#intervals .plot').data[0].y.length"
    before = page.evaluate(f"[{curves}, {dots}]")

    page.locator("#variants label", has_text=found.ranked[1]).locator("input").uncheck()
    opened.settle()
    assert [before[0] - 1, before[1] - 1] == page.evaluate(f"[{curves}, {dots}]")
    page.get_by_role("button", name="None", exact=True).click()
    opened.settle()
    assert 0 == page.evaluate(curves)
    page.get_by_role("button", name="All", exact=True).click()
    opened.settle()
    assert len(found.ranked) + len(found.benchmarks) == page.evaluate(curves)


def test_figures_follow_the_choice(visit: Visit, page_file: Path, found: Comparison) -> None:
    """Choosing another metric draws its values; choosing another kind draws its periods."""
    opened = visit(page_file)
    opened.draw_all()
    page = opened.page
    first = found.ranked[0]

    page.get_by_role("combobox", name="Figure").select_option("accuracy")
    opened.settle()
    shown = page.evaluate("document.querySelector('#intervals .plot').data[0].x[0]")
    assert found.value(first, "accuracy") == pytest.approx(shown)

    page.get_by_role("combobox", name="By", exact=True).select_option("regime")
    opened.settle()
    across = page.evaluate("document.querySelector('#ranks .plot').data[0].x.length")
    regimes = found.periods[found.periods["period_kind"] == "regime"]["period"].nunique()
    assert regimes == across


def test_contracts_are_ranked_by_what_each_has(visit: Visit, tmp_path: Path) -> None:
    """By contract the ranks are those of its calls: risk, which none has alone, is not offered."""
    made = [on_contracts(AAA=one, BBB=one) for one in variants(3, 600, edge=0.06, seed=11)]
    written = load_comparison(write_comparison(compare_variants(made, resamples=50), tmp_path))
    reports.write_comparison_page(written)
    opened = visit(tmp_path / "comparison.html")
    opened.draw_all()
    page = opened.page
    metric = page.get_by_role("combobox", name="in", exact=True)
    assert "sharpe" == metric.input_value()

    page.get_by_role("combobox", name="By", exact=True).select_option(label="contract")
    opened.settle()
    assert "accuracy" == metric.input_value()
    assert metric.locator("option[value=sharpe]").is_disabled()
    names = page.evaluate("document.querySelector('#ranks .plot').layout.xaxis.ticktext")
    assert ["AAA", "BBB"] == names
    assert "AAA, BBB" in opened.text(".facts")
    assert [] == opened.logged


def test_the_cursor_names_the_nearest_curve(
    visit: Visit, page_file: Path, found: Comparison
) -> None:
    """Under the pointer stands a variant's name; the list says every variant's value there."""
    opened = visit(page_file)
    page = opened.page
    page.locator(".panels[data-stale=no]").wait_for()
    stage = page.locator("[data-panel=growth] .stage")
    stage.scroll_into_view_if_needed()
    stage.hover(position={"x": 400, "y": 100})
    opened.settle()

    told = opened.text("[data-panel=growth] .tip")
    names = [*found.ranked, *found.benchmarks]
    assert any(told.startswith(f"{name} ") for name in names)
    assert len(names) == page.locator("#variants .value", has_text=".").count()


def test_fifty_variants_over_52_000_bars_stay_small(
    visit: Visit, found: Comparison, tmp_path: Path
) -> None:
    """The page thins the curves and says so, stays under 10 MB, and switches all of them on."""
    rng = np.random.default_rng(5)
    names = [f"variant {number}" for number in range(50)]
    stamps = pd.date_range("2020-01-01", periods=52_000, freq="h", tz="UTC").as_unit("ns")
    curves = pd.DataFrame(np.exp(np.cumsum(rng.normal(0, 0.003, (52_000, 50)), 0)), columns=names)
    curves.insert(0, "close_time", stamps)
    first = found.ranked[0]

    def named(frame: pd.DataFrame) -> pd.DataFrame:
        mine = frame[frame["variant"] == first]
        return pd.concat([mine.assign(variant=name) for name in names], ignore_index=True)

    written = replace(
        found, curves=curves, path=tmp_path, leader=names[0], metrics=named(found.metrics),
        variants=named(found.variants).assign(rank=range(1, 51)), deflated=named(found.deflated),
        periods=named(found.periods), members=named(found.members), ranks=named(found.ranks),
        pairwise=found.pairwise.iloc[:0],
    )  # fmt: skip
    file = reports.write_comparison_page(written)
    assert file.stat().st_size < 10e6

    opened = visit(file)
    opened.page.get_by_role("button", name="All", exact=True).click()
    opened.settle()
    assert 50 == opened.page.evaluate("document.getElementById('panel-growth').data.length")
    assert "lowest and highest" in opened.text("#thinned")
    assert [] == opened.logged
