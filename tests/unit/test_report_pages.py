"""The interactive page of a run: what it says without a browser, and the data it carries."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hand_made_book import Book
from hand_made_run import NASTY, WRONG, replay, write_run
from hypothesis import given
from hypothesis import strategies as st
from packed_page import array, opened

from perpwalk import reports
from perpwalk.reports import words
from perpwalk.reports.pages import assembly, heat, over_time, run_view
from perpwalk.reports.pages.curves import forecast_charts
from perpwalk.reports.pages.packing import Pack
from perpwalk.reports.pages.run_view import render_page
from perpwalk.runs import Run
from perpwalk.uncertainty.auc import auc

FETCH = re.compile(
    r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//|@import|url\((?!#)""", re.IGNORECASE
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("honest"), replay(900))


@pytest.fixture(scope="module")
def invalid(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("invalid"), replay(900), (WRONG,))


def page_of(one: Run) -> str:
    return render_page(reports.page_data(one))


def markup_of(page: str) -> str:
    """Return a page without what it carries packed: text and tables."""
    return page[: page.index('<script type="application/octet-stream"')]


# ── the page as text ─────────────────────────────────────────────────────────────────────────────


def test_the_page_says_the_verdict_first_and_holds_every_section(run: Run) -> None:
    """Verdict, headline figures, findings, then charts, tables and what repeats the run."""
    page = markup_of(page_of(run))
    places = [page.index(f'id="{name}"') for name in (
        "verdict", "findings", "overtime", "periods", "roc", "calibration", "distribution",
        "features", "trades", "costs", "sure", "repeat",
    )]  # fmt: skip

    assert sorted(places) == places
    assert "inconclusive" in page[: page.index('id="findings"')]
    whole = run.metrics[run.metrics["period_kind"] == "all"].iloc[0]
    assert f"{whole['accuracy']:.3f}" in page[page.index('class="cards"') : places[1]]
    assert "break-even fee per side" in page
    assert 'name="viewport"' in page


def test_the_page_may_load_nothing_and_run_only_its_own_scripts(run: Run) -> None:
    """Its policy forbids every request; the hashes allowed are those of the scripts it carries."""
    page = page_of(run)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    script = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)

    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    assert "unsafe-eval" not in policy[1]
    assert 1 == len(script)
    allowed = assembly.content_policy((script[0], assembly.library()))
    assert allowed.replace("'", "&#39;") == policy[1]
    assert FETCH.search(markup_of(page)) is None


def test_names_are_escaped(run: Run, invalid: Run) -> None:
    """A feature, a finding or a manifest called <script> shows as text."""
    for one in (run, invalid):
        page = page_of(one)
        assert NASTY not in page
        assert "&lt;script&gt;alert(" in page


def test_the_page_of_an_invalid_run_leads_with_the_diagnosis(invalid: Run) -> None:
    """No headline figures; the unjudged ones stand at the end and are called no result."""
    page = markup_of(page_of(invalid))

    assert 'class="card"' not in page
    assert "its figures are no result" in page
    assert page.index("labels disagree") < page.index("Not a result") < page.index('id="periods"')


def test_the_page_of_a_run_that_never_traded(tmp_path: Path) -> None:
    """Undefined figures are dashes, empty tables say so, and nothing breaks."""
    prices = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, 500)))
    quiet = write_run(tmp_path / "quiet", Book(prices=prices.tolist()).ledger())
    page = markup_of(page_of(quiet))

    assert words.UNDEFINED in page
    assert "Nothing to show." in page
    shown = re.findall(r">([^<>]*)</t[dh]>", page)
    told = {text.strip().lower() for text in shown}
    assert set() == told & {"nan", "none", "nat", "inf", "<na>", "-inf"}


def test_equal_runs_have_equal_pages(run: Run) -> None:
    """The page is a function of the run's files."""
    assert page_of(run) == page_of(run)


# ── the data ─────────────────────────────────────────────────────────────────────────────────────


@given(
    st.lists(st.integers(0, 2**40), min_size=1, max_size=30, unique=True),
    st.lists(st.floats(width=64, allow_infinity=False), max_size=30),
)
def test_what_is_packed_comes_out_again(stamps: list[int], values: list[float]) -> None:
    """Numbers to the bit and stamps to the millisecond survive packing, in any mixture."""
    index = pd.DatetimeIndex(pd.to_datetime(sorted(stamps), unit="ms", utc=True)).as_unit("ns")
    pack = Pack()
    document, blob = opened(
        pack.seal({"n": pack.numbers(values, "f8"), "t": pack.stamps(index), "é": "</script>"})
    )
    packed = document["t"]
    if "all" in packed:
        found = array(packed["all"], blob)
    else:
        steps = array(packed["steps"], blob) if "steps" in packed else None
        count = packed["n"] if steps is None else len(steps) + 1
        steps = np.full(count - 1, packed["step"]) if steps is None else steps
        found = packed["first"] + np.concatenate([[0], np.cumsum(steps, dtype=np.int64)])

    np.testing.assert_array_equal(np.array(values), array(document["n"], blob))
    assert sorted(stamps) == found.tolist()
    assert "</script>" == document["é"]


def test_a_table_keeps_its_columns_kinds() -> None:
    """Stamps, numbers, yes and no, and texts, an undefined one being empty or NaN."""
    frame = pd.DataFrame(
        {
            "at": pd.to_datetime(["2024-01-01", None], utc=True),
            "count": [1, 2],
            "won": [True, False],
            "why": ["margin", None],
            "none": [np.nan, np.nan],
        }
    )
    pack = Pack()
    document, blob = opened(pack.seal({"t": pack.table(frame)}))
    columns = {one["name"]: one for one in document["t"]["columns"]}

    assert ["time", "number", "text", "text", "text"] == [one["kind"] for one in columns.values()]
    assert np.isnan(array(columns["at"]["all"], blob)[1])
    assert [1.0, 2.0] == array(columns["count"]["values"], blob).tolist()
    assert ["yes", "no"] == columns["won"]["texts"]
    assert ["margin", ""] == columns["why"]["texts"]


def test_the_curves_agree_with_the_figures_beside_them(run: Run) -> None:
    """The area under each ROC curve is the AUC of its rows; bins and bars hold every decision."""
    pack = Pack()
    found = forecast_charts(run.predictions, run.metrics, pack, level=0.95)
    assert found is not None
    document, blob = opened(pack.seal(found))
    scored = run.predictions.dropna(subset=["label"])
    whole = document["groups"][0]
    false, true = array(whole["roc"]["false"], blob), array(whole["roc"]["true"], blob)
    exact = auc(scored["label"], scored["p_up"])

    assert ["all", "fold", "fold"] == [group["kind"] for group in document["groups"]]
    assert pytest.approx(exact, abs=0.005) == np.trapezoid(true, false)
    assert pytest.approx(exact, abs=1e-6) == whole["auc"]["value"]
    assert whole["auc"]["lo"] < exact < whole["auc"]["hi"]
    for group in document["groups"]:
        bins, bars = array(group["calibration"]["n"], blob), [*array(group["up"], blob)]
        assert group["n"] == bins.sum() == sum(bars) + array(group["down"], blob).sum()


def test_one_class_has_no_roc_curve_and_a_constant_forecast_one_bin() -> None:
    """Where everything rose there is no curve; a model that always says 0.5 has one point."""
    stamps = pd.date_range("2024-01-01", periods=6, freq="h", tz="UTC")
    predictions = pd.DataFrame({"close_time": stamps, "fold": 0, "p_up": 0.5, "label": 1})
    metrics = pd.DataFrame({"period_kind": [], "period": [], "auc": [], "auc_lo": [], "auc_hi": []})
    found = forecast_charts(predictions, metrics, Pack(), level=0.95)

    assert found is not None
    assert found["groups"][0]["roc"] is None
    assert 1 == found["groups"][0]["calibration"]["n"]["n"]
    assert {"value": None, "lo": None, "hi": None} == found["groups"][0]["auc"]


def test_several_symbols_are_groups_of_their_own(run: Run) -> None:
    """Where predictions name a symbol, each has its curves, matched with its metrics row."""
    names = np.where(np.arange(len(run.predictions)) % 2, "ETH", "BTC")
    row = run.metrics[run.metrics["period_kind"] == "all"].assign(
        period_kind="symbol", period="ETH", auc=0.61
    )
    found = forecast_charts(
        run.predictions.assign(symbol=names), pd.concat([run.metrics, row]), Pack(), level=0.95
    )

    assert found is not None
    groups = {group["name"]: group for group in found["groups"]}
    assert ["all", "BTC", "ETH", "000", "001"] == list(groups)
    assert 0.61 == groups["ETH"]["auc"]["value"]
    assert "symbol" == heat.period_tables(pd.concat([run.metrics, row]))[0].name


def test_what_each_contract_earned_sums_to_the_trades(run: Run) -> None:
    """Trades of several contracts get a panel that ends at each one's net PnL; of one, none."""
    names = np.where(np.arange(len(run.trades)) % 3, "ETH", "BTC")
    several = run.trades.assign(symbol=names)
    pack = Pack()
    document, blob = opened(pack.seal(over_time.run_over_time(run.equity, several, pack) or {}))
    earned = next(one for one in document["panels"] if one["id"] == "symbols")
    ends = {one["label"]: array(one["values"], blob)[-1] for one in earned["series"]}
    alone = over_time.run_over_time(run.equity, run.trades, Pack())

    assert {"BTC", "ETH"} == set(ends)
    for name, end in ends.items():
        expected = several.loc[several["symbol"] == name, "net_pnl"].sum()
        assert pytest.approx(expected, rel=1e-5) == end
    assert alone is not None
    assert "symbols" not in [one["id"] for one in alone["panels"]]


def test_the_heat_map_marks_what_lies_apart_from_naive() -> None:
    """Above naive is blue, below orange; the mark stands where the interval leaves naive out."""
    rows = pd.DataFrame(
        {
            "period_kind": ["month"] * 3, "period": ["2024-01", "2024-02", "2024-03"],
            "auc": [0.6, 0.45, np.nan], "auc_lo": [0.55, 0.4, np.nan],
            "auc_hi": [0.65, 0.51, np.nan],
        }
    )  # fmt: skip
    table = heat.period_tables(rows)[0]
    cells = {name: line[0] for name, line in table.rows}

    assert ("p4", True) == (cells["2024-01"].shade, cells["2024-01"].apart)
    assert ("m3", False) == (cells["2024-02"].shade, cells["2024-02"].apart)
    assert "0.550–0.650" == cells["2024-01"].bounds
    assert (words.UNDEFINED, "") == (cells["2024-03"].text, cells["2024-03"].shade)


def test_thinned_curves_keep_every_extreme() -> None:
    """Fifty variants over 52,000 bars fit the page, with their highest and lowest points."""
    rng = np.random.default_rng(4)
    stamps = pd.date_range("2020-01-01", periods=52_000, freq="h", tz="UTC")
    values = 1 + np.cumsum(rng.normal(0, 0.01, (52_000, 50)), axis=0)
    curves = pd.DataFrame(values, columns=[f"v{i}" for i in range(50)])
    curves.insert(0, "close_time", stamps)
    thin, stretch = over_time.thinned_curves(curves)

    assert thin.shape[0] * 50 <= over_time.MOST_VALUES * 1.01
    assert stretch > 2
    assert thin["close_time"].is_monotonic_increasing
    assert thin["close_time"].is_unique
    for name in curves.columns[1:]:
        assert curves[name].max() == thin[name].max()
        assert curves[name].min() == thin[name].min()
    for end in (0, -1):
        assert curves.iloc[end, 1:].tolist() == thin.iloc[end, 1:].tolist()
    same, one = over_time.thinned_curves(curves.iloc[:100])
    assert (100, 1) == (len(same), one)


def test_other_seeds_stand_on_the_page_and_their_models_are_no_folds(tmp_path: Path) -> None:
    """What is known of seeds is said; a repeat's features make no fold of their own."""
    made = write_run(tmp_path / "seeded", replay(300))
    repeat = made.path / "models" / "seed-11" / "fold-000"
    repeat.mkdir(parents=True)
    (repeat / "features.json").write_text('{"selected": ["rsi_14"]}')
    data = reports.page_data(made)
    told = {"seeded": True, "headline": 7, "runs": None}
    page = markup_of(render_page(replace(data, audit={**data.audit, "seeds": told})))

    assert ["000"] == list(data.selected)
    assert "One seed (7)" in page[page.index('id="seeds"') :]
    assert 'id="seeds"' not in page_of(made)


def test_the_folds_of_several_contracts_are_told_apart(tmp_path: Path) -> None:
    """Each contract selects features of its own: its folds stand under its symbol."""
    made = write_run(tmp_path / "several", replay(300))
    for symbol, kept in (("BTCUSDT", ["rsi_14"]), ("ETHUSDT", ["ema_9", "rsi_14"])):
        folder = made.path / "models" / symbol / "fold-001"
        folder.mkdir(parents=True)
        (folder / "features.json").write_text(json.dumps({"selected": kept}))
    data = reports.page_data(made)

    assert ["BTCUSDT 001", "ETHUSDT 001", "000"] == list(data.selected)
    assert ["ema_9", "rsi_14"] == data.selected["ETHUSDT 001"]


def test_the_placebo_battery_stands_before_the_charts(run: Run) -> None:
    """What is left of the result without its cause is a table; without a battery there is none."""
    data = reports.page_data(run)
    row = {
        "placebo": "labels shuffled", "repetitions": 1, "auc": 0.501, "accuracy": 0.499,
        "total_return": -0.9, "p_chance": 0.4, "p_auc": 0.05, "p_total_return": None,
    }  # fmt: skip
    page = markup_of(render_page(replace(data, audit={**data.audit, "placebo": [row]})))

    assert "labels shuffled" in page[page.index('id="placebos"') : page.index('id="time"')]
    assert "placebos" not in page_of(run)


def test_an_optional_table_is_shown_where_its_file_is(run: Run, tmp_path: Path) -> None:
    """A run with placebo.csv has a section of further checks; one without has none."""
    assert "Further checks" not in page_of(run)
    other = write_run(tmp_path / "seeded", replay(300))
    (other.path / "placebo.csv").write_text("seed,auc\n1,0.50\n2,0.51\n")

    assert "Further checks" in page_of(Run(other.path))


def test_a_page_holds_so_many_rows_and_says_where_the_others_are(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Tables keep their last rows, curves the lowest and the highest bar of every stretch.
    """
    data = reports.page_data(run)
    monkeypatch.setattr(run_view, "MOST_ROWS", 3)
    monkeypatch.setattr(over_time, "MOST_BARS", 50)

    document, blob = opened(run_view._document(data))

    assert ("not all rows shown", f"the last 3 of {len(data.orders):,}: orders.csv") in (
        run_view._facts(data)
    )
    assert 3 == document["grids"]["orders"]["rows"]
    bars = document["overTime"]
    assert ("curves", f"lowest and highest of every {bars['stretch']} bars") in (
        run_view._facts(data)
    )
    values = array(bars["panels"][0]["series"][0]["values"], blob)
    equity = data.equity["equity"].to_numpy()
    assert len(values) <= 2 * (len(equity) // bars["stretch"] + 2) < len(equity)
    assert np.float32([equity.min(), equity.max(), equity[-1]]).tolist() == [
        values.min(), values.max(), values[-1],
    ]  # fmt: skip


def test_a_column_that_is_only_called_like_a_stamp_is_shown_as_it_is() -> None:
    """Text that is a time everywhere becomes one; flags, words and years beyond reckoning stay."""
    frame = pd.DataFrame(
        {
            "opened_at": ["2024-01-01T00:00:00Z", None],
            "seen_at": [True, False],
            "said_at": ["noon", None],
            "far_time": ["99999-01-01", None],
        }
    )
    shown = run_view._with_stamps(frame)

    assert pd.Timestamp("2024-01-01", tz="UTC") == shown["opened_at"].iloc[0]
    assert shown.drop(columns="opened_at").equals(frame.drop(columns="opened_at"))
