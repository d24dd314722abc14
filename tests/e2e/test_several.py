"""Several contracts in one account, from a configuration to a folder and back."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engine import compare as comparing
from engine import leaks, leaks_account, stages
from engine.experiment import run_experiment
from engine.verify import verify_run
from perpwalk import data, runs, seal
from perpwalk.audit.check import check_run
from perpwalk.audit.leaks import Plan
from perpwalk.audit.verification import Status
from perpwalk.comparison import Comparison
from perpwalk.comparison.measures import HOLD
from perpwalk.comparison.of_run import variant_of
from perpwalk.config import Config, resolve
from perpwalk.costs import CostSummary
from perpwalk.errors import ConfigError, UsageError
from perpwalk.reports.comparison_table import render
from perpwalk.reports.table import render_table

A, B = "AAAUSDT", "BBBUSDT"
PAIR: dict[str, Any] = {
    "name": "pair",
    "market": {"simulate": {"bars": 2400, "edge": 0.3}},
    "markets": [
        {"symbol": A},
        # Begins ten days later and ends two days later than the other.
        {"symbol": B, "simulate": {"bars": 2208, "start": "2023-01-11"}},
    ],
    "features": {"include": ["returns", "volume"]},
    "walk_forward": {
        "train": "1000bars", "validation": "300bars", "test": "300bars", "min_train_rows": 500,
    },
    "model": {"kind": "logistic"},
    "broker": {"contracts": {B: {"lot_size": 0.01}}},
    "report": {"tearsheet": False, "html": False},
    "compute": {"threads": 1},
}  # fmt: skip


def pair(**changes: Any) -> Config:
    return resolve({**PAIR, **changes})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """Return a run with both pages."""
    return run_experiment(pair(report={}), out=tmp_path_factory.mktemp("results"))


def test_tables_say_whose_each_row_is(run: runs.Run) -> None:
    """Predictions, folds, training and metrics name the contract; models lie under its name."""
    assert ["close_time", "symbol", "fold", "p_up"] == list(run.predictions.columns)[:4]
    assert "symbol" == run.folds.columns[0] == run.training.columns[0]
    assert [A, B] == run.metrics.loc[run.metrics["period_kind"] == "symbol", "period"].tolist()
    for name in ("trades", "orders", "funding"):
        assert {A, B} == set(getattr(run, name)["symbol"]), name
    count = int((run.folds["symbol"] == A).sum())
    kept = sorted(p.relative_to(run.path).as_posix() for p in run.path.glob("models/*/fold-*"))
    assert [f"models/{s}/fold-{n:03d}" for s in (A, B) for n in range(count)] == kept
    assert [A, B] == [one["symbol"] for one in run.manifest["symbols"]]
    assert {"equity_by_contract.parquet", "metrics_by_contract.csv"} <= set(run.manifest["files"])
    bars, periods = run.equity_by_contract, run.metrics_by_contract
    assert bars is not None
    assert periods is not None
    assert [A, B] * len(run.equity) == bars["symbol"].tolist()
    assert [A, B] == periods["symbol"].unique().tolist()
    kinds = set(run.metrics["period_kind"]) - {"symbol"}
    assert kinds == set(periods["period_kind"])


def test_folds_of_one_number_test_the_same_time(run: runs.Run) -> None:
    """The test begins where the later contract can, and ends with the first that ends."""
    spans = run.folds[["fold", "test_start", "test_end"]]
    first, second = (spans[run.folds["symbol"] == s].reset_index(drop=True) for s in (A, B))

    pd.testing.assert_frame_equal(first, second)
    assert pd.Timestamp("2023-04-11T00:00Z") == run.equity["close_time"].iloc[-1] + pd.Timedelta(
        "1h"
    )
    stamps = run.predictions.groupby("close_time")["symbol"].agg(list)
    assert {(A, B)} == set(map(tuple, stamps))


def test_a_contract_is_fitted_as_if_it_were_alone(run: runs.Run) -> None:
    """Forecasts are to the bit those of its own experiment that tests from the same time."""
    start = run.folds["test_start"].iloc[0]
    both = run.predictions
    for one in pair().each_market():
        cut = one.walk_forward.model_copy(update={"start": start})
        alone = one.model_copy(update={"walk_forward": cut})
        markets = data.load_markets(alone)
        walked = stages.walk_forward(stages.prepare(alone, markets))
        mine = both[both["symbol"] == one.market.symbol]
        theirs = np.concatenate([result.forecast.p_up for result in walked[0].results])
        assert mine["p_up"].tolist() == theirs.tolist()[: len(mine)]


def test_one_account_balances_and_is_computed_twice(run: runs.Run) -> None:
    """Equity moves by what the trades of both earned; the second ledger knows both and agrees."""
    change = run.equity["equity"].iloc[-1] - 10_000.0
    (second,) = [f for f in run.audit["findings"] if f["code"] == "A011"]

    assert change == pytest.approx(run.trades["net_pnl"].sum(), abs=1e-6)
    assert "info" == second["level"]
    assert f"{A}, {B}" in second["where"]
    assert not run.funding.duplicated(["symbol", "settle_time"]).any()
    exposure = run.equity["exposure"].abs().max()
    assert 0.9 < exposure < 1.1  # half of equity each: together what one would take
    # Nothing is refused: two contracts fit into one account.
    assert {"filled", "pending"} >= set(run.orders["status"])


def test_findings_name_their_contract_and_the_later_end_is_told(run: runs.Run) -> None:
    """What is said of labels and forecasts says of whose."""
    findings = run.audit["findings"]
    of_one = [f for f in findings if f["code"][0] in "LSP" and f["where"] != "all"]

    assert of_one
    assert all(f["where"].startswith((A, B)) for f in of_one)
    assert [B] == [f["where"] for f in findings if f["code"] == "D015"]
    assert {f"auc of {A}", f"auc of {B}"} <= set(run.audit["evidence"])


def test_pages_show_each_contract(run: runs.Run) -> None:
    """The tearsheet has a row per contract and is held against the basket."""
    text = (run.path / "tearsheet.html").read_text()

    table = text[text.index("<h2>By contract</h2>") :]
    named = re.findall(r'<th scope="row">(.*?)</th>', table[: table.index("</table>")])
    assert [A, B, "all"] == named
    assert "Buy and hold of all contracts in equal parts" in text
    assert (run.path / "report.html").stat().st_size > 10_000


def test_costs_stand_apart_in_the_table_the_page_and_the_tearsheet(run: runs.Run) -> None:
    """Fees, slippage, funding and the fee at which nothing is left, wherever a run is shown."""
    costs = CostSummary.of(run.equity)
    shown = {
        "table": render_table(run.metrics, run.audit, costs=costs),
        "page": (run.path / "report.html").read_text(),
        "tearsheet": (run.path / "tearsheet.html").read_text(),
    }

    assert costs.break_even_fee is not None
    for name, text in shown.items():
        for word in ("fees", "slippage", "funding", "break-even fee"):
            assert word in text, (name, word)
        assert f"{1e4 * costs.break_even_fee:.2f} bp" in text, name
        assert f"{costs.fees:,.2f}" in text, name


def test_check_judges_the_pool(run: runs.Run) -> None:
    """Its intervals keep the contracts of a stamp together."""
    found = check_run(run, min_accuracy=0.5)
    accuracy = found.table[0].estimate

    assert len(run.predictions) == accuracy.n
    assert "stamps" in accuracy.method
    assert found.exit_code in (0, 1)


@pytest.fixture
def copy(run: runs.Run, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run.path, tmp_path / run.path.name))


def failed(path: Path) -> dict[str, str]:
    found = verify_run(path, samples=4)
    return {one.what: one.detail for one in found.checks if one.status is Status.FAILED}


def test_verify_confirms_it_and_sees_models_exchanged(copy: Path) -> None:
    """A run of several is made again in full; one contract's model in another's place shows."""
    assert {} == failed(copy)

    one, other = (copy / "models" / symbol / "fold-000" for symbol in (A, B))
    for name in ("config.json", "scaler.json", "features.json"):
        kept = (one / name).read_bytes()
        (one / name).write_bytes((other / name).read_bytes())
        (other / name).write_bytes(kept)
    manifest = json.loads((copy / "manifest.json").read_text())
    runs.write_json(copy / "manifest.json", seal.sealed(manifest, copy))
    wrong = failed(copy)
    assert f"models/{A}/fold-000" in wrong["choice and scaling made again"]
    assert f"models/{B}/fold-000" in wrong["forecasts made again"]


def test_signals_computed_bar_by_bar_are_the_same(run: runs.Run) -> None:
    """Each contract's live source is shown its own bars only, and the book is equal."""
    config = pair(compute={"threads": 1, "signals": "online"})
    walked = stages.walk_forward(stages.prepare(config, data.load_markets(config)))
    book = stages.replay_folds(config, walked)

    pd.testing.assert_frame_equal(run.equity, book.equity, check_exact=True)


@pytest.fixture(scope="module")
def compared(run: runs.Run) -> Comparison:
    """Return the comparison of the run with another threshold of its models."""
    out = run.path.parent.parent
    return comparing.compare([run, pair(strategy={"threshold": 0.52})], out=out, resamples=200)


def test_variants_of_the_same_contracts_are_compared(run: runs.Run, compared: Comparison) -> None:
    """Decisions of both contracts, at their stamps; figures, page and table say of which."""
    assert ((A, B), len(run.predictions)) == (compared.contracts, compared.decisions)
    assert len(run.equity) == compared.bars
    scored = run.metrics.iloc[-1]
    mine = next(
        row["variant"]
        for row in compared.variants.to_dict("records")
        if row["config_hash"] == run.question
    )
    for metric in ("accuracy", "auc", "total_return", "sharpe", "max_drawdown", "fees"):
        assert scored[metric] == pytest.approx(compared.value(mine, metric)), metric
    page = (compared.path / "comparison.html").read_text()
    assert f"{A}, {B}" in page
    assert "2 contracts: Kendall" in render(replace(compared, by="accuracy"))


def test_holding_is_that_of_the_runs_own_metrics(run: runs.Run, compared: Comparison) -> None:
    """Growth of the benchmark is ``benchmark_return``, less one fee and what funding took."""
    held = run.metrics["benchmark_return"].iloc[-1]
    received = run.equity["basket_funding"].iloc[1:].sum()
    fee = pair().broker.taker_fee

    assert 1 + held - fee + received == pytest.approx(compared.curves[HOLD].iloc[-1])
    assert abs(received) > 1e-6


def test_each_contract_is_a_period_with_the_runs_own_figures(
    run: runs.Run, compared: Comparison
) -> None:
    """Calls on a contract and what it added are those of its row in ``metrics.csv``."""
    rows = compared.periods[compared.periods["period_kind"] == "symbol"]
    rows = rows[rows["variant"].isin(compared.variants.set_index("config_hash").loc[
        [run.question], "variant"
    ])].set_index(["period", "metric"])["value"]  # fmt: skip
    own = run.metrics[run.metrics["period_kind"] == "symbol"].set_index("period")

    for symbol in (A, B):
        for metric in ("accuracy", "auc", "total_return"):
            assert own.loc[symbol, metric] == pytest.approx(rows[symbol, metric]), (symbol, metric)


def test_finished_runs_of_several_contracts_are_compared(compared: Comparison) -> None:
    """Given as folders they are the same question, in the same place, with the same answer."""
    folders = [(compared.path / way).resolve() for way in compared.variants["run"]]
    again = comparing.compare(folders, out=compared.path.parent.parent, resamples=200)

    assert compared.path == again.path
    for name in ("metrics", "periods"):
        one, other = (
            getattr(found, name)["value"].dropna().tolist() for found in (compared, again)
        )
        assert sorted(one) == sorted(other)


def test_a_run_made_before_says_to_make_it_again(copy: Path, compared: Comparison) -> None:
    """Without what holding all of them received there is no benchmark to compare with."""
    equity = pd.read_parquet(copy / "equity.parquet").drop(columns="basket_funding")
    runs.write_parquet(copy / "equity.parquet", equity)
    manifest = json.loads((copy / "manifest.json").read_text())
    runs.write_json(copy / "manifest.json", seal.sealed(manifest, copy))
    other = (compared.path / compared.variants["run"].iloc[0]).resolve()

    with pytest.raises(UsageError, match="no column 'basket_funding': it was made before"):
        variant_of(runs.load_run(copy), "old")
    assert variant_of(runs.load_run(other), "new").takes_part


def test_an_interrupted_run_keeps_each_contracts_folds(
    tmp_path: Path, run: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was fitted is taken up, and the resumed run is the undisturbed one."""
    fits = stages.WalkForward._learn
    count = 0

    def breaks(self: Any, *asked: Any) -> Any:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        return fits(self, *asked)

    monkeypatch.setattr(stages.WalkForward, "_learn", breaks)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(pair(), out=tmp_path)
    assert ["3 folds kept"] == runs.list_runs(tmp_path)["verdict"].tolist()
    resumed = run_experiment(pair(), out=tmp_path)

    assert 1 + len(run.folds) == count  # the fourth failed and was made again
    for name in ("predictions.parquet", "folds.csv", "trades.csv", "metrics.csv"):
        assert (run.path / name).read_bytes() == (resumed.path / name).read_bytes(), name


def test_what_cannot_be_done_is_said_before_anything_starts(run: runs.Run, tmp_path: Path) -> None:
    """A comparison of unlike accounts; a contract too short to be tested, by its name."""
    alone = pair(markets=[], market={**PAIR["market"], "symbol": A}, broker={})
    with pytest.raises(UsageError, match=rf"U008: pair and .*pair.* trade {A}\+{B} and {A}: "):
        comparing.compare([run, alone], out=tmp_path)
    short = [{"symbol": A}, {"symbol": B, "simulate": {"bars": 400}}]
    with pytest.raises(ConfigError, match=f"^{A}: .*not enough data"):
        run_experiment(pair(markets=short), out=tmp_path)
    assert [] == list(tmp_path.iterdir())


PEEK = """
from engine.strategy import SignalStrategy


class Honest(SignalStrategy):
    def target(self, signal, market):
        return None if signal is None else self.p.exposure * signal.side


class PeekAtTheOther(Honest):
    def next(self):
        ahead = self.datas[1].market.bars
        row = min(self.datas[1].first + self.datas[1].bar + 1, len(ahead) - 1)
        self.aim(0.5 if ahead.close[row] > ahead.open[row] else -0.5, self.datas[0])
"""


@pytest.mark.parametrize(
    ("strategy", "caught", "earns"), [("Honest", [], []), ("PeekAtTheOther", [B], ["K013"])]
)
def test_a_strategy_that_reads_another_contracts_future_is_caught(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
    caught: list[str],
    earns: list[str],
) -> None:
    """The leak audit replays all contracts while one's future is replaced, and without an edge."""
    (tmp_path / "mine.py").write_text(PEEK)
    config = pair(
        market={"simulate": {"bars": 2400, "edge": 0.3, "correlation": 0.9}},
        markets=[{"symbol": A}, {"symbol": B}],
        strategy={"name": f"{tmp_path / 'mine.py'}:{strategy}"},
    )
    nothing = Plan(
        truncation_times=0, startup=False, folds=1, interior=0, all_kinds_at_start=False,
        max_cuts=1, permutations=0, null_markets=1, planted=False, canaries=False, delay_bars=0,
    )  # fmt: skip
    monkeypatch.setattr(leaks, "QUICK", nothing)

    report = leaks_account.audit(config)

    detectors = [outcome.detector for outcome in report.outcomes]
    assert {f"{A}: perturbation", f"{B}: perturbation", f"{A}: strategy"} <= set(detectors)
    assert "null account" == detectors[-1]
    assert earns == [f.code for f in report.findings if f.code == "K013"]
    accused = [f for f in report.findings if f.code == "K008"]
    assert caught == [f.where.split()[0] for f in accused]
