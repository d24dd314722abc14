"""What the page of several contracts carries of each of them; one contract alone has no chooser."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hand_made_run import SEVERAL, portfolio, replay, write_run
from long_page import long_portfolio
from packed_page import array, opened

from perpwalk import reports
from perpwalk.reports.pages import contracts, run_view
from perpwalk.reports.pages.packing import Pack
from perpwalk.reports.pages.run_view import PageData, render_page
from perpwalk.runs import Run


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("several"), portfolio(300))


def carried(data: PageData) -> tuple[dict[str, Any], bytes]:
    return opened(run_view._document(data))


def test_each_contracts_curves_are_its_own_and_sum_to_the_account(several: Run) -> None:
    """Price and position are those of its bars; PnL and costs of all come to the account's."""
    document, blob = carried(reports.page_data(several))
    bars, equity = several.equity_by_contract, several.equity
    assert bars is not None
    assert list(SEVERAL) == document["contracts"]["names"]
    ends: dict[str, float] = {}
    for name in SEVERAL:
        panels = {one["id"]: one for one in document["contracts"]["each"][name]["panels"]}
        assert ["price", "position", "symbols", "costs"] == list(panels)
        mine = bars[bars["symbol"] == name]
        for panel in ("price", "position"):
            values = array(panels[panel]["series"][0]["values"], blob)
            np.testing.assert_array_equal(mine[panel].to_numpy(dtype="f4"), values)
        for one in (*panels["symbols"]["series"], *panels["costs"]["series"]):
            kind = "earned" if one["label"] == name else one["label"]
            ends[kind] = ends.get(kind, 0.0) + float(array(one["values"], blob)[-1])

    assert equity["equity"].iloc[-1] - 30_000 == pytest.approx(ends["earned"], rel=1e-4)
    assert -equity["fee"].sum() == pytest.approx(ends["fees"], rel=1e-6)
    assert equity["funding"].sum() == pytest.approx(ends["funding"], rel=1e-5)
    assert -equity["slippage"].sum() == pytest.approx(ends["slippage"], rel=1e-6)


def test_each_contracts_figures_are_those_of_its_rows(several: Run) -> None:
    """Headline, periods and forecasts of a contract, with the AUC of its own metrics."""
    document, _ = carried(reports.page_data(several))
    periods = several.metrics_by_contract
    assert periods is not None
    for name in SEVERAL:
        own = document["contracts"]["each"][name]
        mine = periods[periods["symbol"] == name].set_index("period_kind")
        groups = own["forecasts"]["groups"]
        assert ["all", "fold", "fold"] == [group["kind"] for group in groups]
        assert mine.loc["all", "n"] == groups[0]["n"]
        assert mine.loc["all", "auc"] == pytest.approx(groups[0]["auc"]["value"])
        assert mine.loc["fold", "auc"].tolist() == pytest.approx(
            [group["auc"]["value"] for group in groups[1:]]
        )
        assert f"{mine.loc['all', 'auc']:.3f}" in [card["value"] for card in own["cards"]]
        tables = {table["name"]: table for table in own["periods"]}
        assert ["year", "quarter", "month", "fold"] == list(tables)
        assert mine.loc[["month"], "period"].tolist() == [
            label for label, _ in tables["month"]["rows"][:-1]
        ]
        # One account has one Sharpe ratio: a contract has none to show.
        assert "Sharpe" not in tables["month"]["header"]
        assert ["net return", "accuracy", "AUC"] == [table["name"] for table in own["calendars"]]


def test_the_contracts_of_every_period_add_up_to_the_account(several: Run) -> None:
    """Fees, funding, slippage, trades and returns of a fold's contracts are the fold's."""
    each = several.metrics_by_contract
    assert each is not None
    for name in ("n", "fees", "funding", "slippage", "trades", "total_return", "turnover"):
        parts = each.groupby(["period_kind", "period"])[name].sum()
        whole = several.metrics[several.metrics["period_kind"] == "fold"].set_index("period")[name]
        assert 2 == len(whole)
        assert whole.to_dict() == pytest.approx(parts["fold"].to_dict()), name


def test_many_contracts_are_thinned_on_the_accounts_stamps(
    several: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each curve keeps its first, last, lowest and highest value; the page says so."""
    data = reports.page_data(several)
    whole = carried(data)[0]["contracts"]
    monkeypatch.setattr(contracts, "MOST_BARS", 3 * 50)
    document, blob = carried(data)
    thin, bars = document["contracts"], several.equity_by_contract
    assert bars is not None

    assert (1, None) == (whole["stretch"], whole["rows"])
    assert 2 * 300 / 50 == thin["stretch"]
    rows = array(thin["rows"], blob)
    assert (0, 299) == (rows[0], rows[-1])
    assert (np.diff(rows) > 0).all()
    for name in SEVERAL:
        price = bars.loc[bars["symbol"] == name, "price"].to_numpy(dtype="f4")
        panels = thin["each"][name]["panels"]
        kept = array(panels[0]["series"][0]["values"], blob)
        assert len(rows) == len(kept) < 60
        assert [price[0], price[-1], price.min(), price.max()] == [
            kept[0], kept[-1], kept.min(), kept.max(),
        ]  # fmt: skip
    assert ("curves of a contract", "lowest and highest of every 12 bars") in run_view._facts(data)
    # The account's own curves are whole all the same.
    assert 300 == document["overTime"]["panels"][0]["series"][0]["values"]["n"]


def test_three_contracts_over_52_000_bars_fit(several: Run) -> None:
    """With 20,000 orders and a trade at every bar of each the page is below 10 MB, unthinned."""
    data = long_portfolio(several, 52_000, orders=20_000)

    assert len(render_page(data).encode()) < 10e6
    assert 1 == contracts.Curves(Pack(), 52_000, 3).stretch


def test_only_several_contracts_have_a_chooser(several: Run, tmp_path: Any) -> None:
    """It names them all, escaped; of one contract the page has no trace of it."""
    page = render_page(reports.page_data(several))
    alone = render_page(reports.page_data(write_run(tmp_path / "one", replay(300))))
    names = re.findall(r"<option>(.*?)</option>", page)

    assert [name.replace("<", "&lt;").replace(">", "&gt;") for name in SEVERAL] == names
    assert '<label for="contract">' in page
    for word in ("contract", "chooser", "data-part"):
        assert f'"{word}' not in alone[: alone.index("<script")], word
    assert "pw.chooser" not in alone


def test_a_run_without_bars_by_contract_is_told_by_its_forecasts(several: Run) -> None:
    """Its contracts can be chosen; of curves and periods it carries what there is: one row."""
    data = replace(reports.page_data(several), equity_by_contract=None, metrics_by_contract=None)
    document, _ = carried(data)
    own = document["contracts"]["each"][SEVERAL[0]]

    assert list(SEVERAL) == document["contracts"]["names"]
    assert own["panels"] is None
    assert [] == own["periods"]
    assert {"settled", "fates"} == set(own["tables"])
    row = several.metrics.set_index("period").loc[SEVERAL[0]]
    assert row["auc"] == pytest.approx(own["forecasts"]["groups"][0]["auc"]["value"])


def test_a_table_that_names_no_contract_is_of_all() -> None:
    """One contract alone has no column of symbols, and no contracts to choose from."""
    frame = pd.DataFrame({"p_up": [0.5, 0.6]})

    assert () == contracts.contracts_of(None, frame, frame)
    assert () == contracts.contracts_of(None, frame.assign(symbol="AAA"), frame)
    assert ("B", "A") == contracts.contracts_of(None, frame.assign(symbol=["B", "A"]), frame)
    assert frame is contracts.of_contract(frame, "AAA")
