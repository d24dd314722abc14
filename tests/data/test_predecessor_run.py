"""The predecessor's experiment on its own two files: its split to the row, judged honestly."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from engine.experiment import run_experiment
from perpwalk import config, data
from perpwalk.runs import Run

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("PERPWALK_DATA", ROOT.parent / "shared" / "data"))

pytestmark = pytest.mark.skipif(
    not (DATA / "predecessor" / "ETH" / "ohlcv.csv").is_file(),
    reason=f"needs real market data in PERPWALK_DATA (looked in {DATA})",
)


@pytest.fixture(scope="module", params=["eth_holdout", "eth_holdout_full_funding"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    os.environ["PERPWALK_DATA"] = str(DATA.resolve())
    quick = ["model.kind=logistic", "compute.threads=1", "report.tearsheet=false"]
    settings = config.load(ROOT / "configs" / f"{request.param}.yaml", quick)
    return run_experiment(settings, out=tmp_path_factory.mktemp("results"))


def test_the_split_comes_out_to_the_row(run: Run) -> None:
    """35,041 / 8,784 / 8,155 bars before losses, which are listed beside them."""
    fold = run.folds.iloc[0]

    assert (35_041, 8_784, 8_155) == (fold.bars_train, fold.bars_validation, fold.bars_test)
    lost = fold.bars_train - fold.n_train + fold.bars_validation - fold.n_validation
    test_losses = fold.bars_test - int(run.predictions["label"].notna().sum())
    assert lost + test_losses == fold.warmup + fold.purged + fold.unlabelled + fold.ties


def test_both_classes_stand_in_the_test_labels(run: Run) -> None:
    """The labels are the raw moves: none is a price level, and accuracy and AUC are defined."""
    label = run.predictions["label"].dropna().to_numpy(dtype=int)
    moves = np.sign(run.predictions["forward_return"].dropna().to_numpy())
    overall = run.metrics.query("period_kind == 'all'").iloc[0]

    assert 8_151 == len(label) == overall.n
    assert 3 == overall.ties
    assert (int((moves > 0).sum()), int((moves < 0).sum())) == (label.sum(), (1 - label).sum())
    assert overall.accuracy_lo < overall.accuracy < overall.accuracy_hi < 0.6
    assert overall.auc_lo < overall.auc < overall.auc_hi < 0.6


def test_the_raw_moves_of_the_test_span_are_those_the_predecessor_hid(run: Run) -> None:
    """4,142 up, 3,987 down and 3 tied moves into the test bars after the first 23."""
    settings = config.load(run.path / "config.yaml")
    close = data.load_market(settings.market, seed=7).bars.close[35_041 + 8_784 :]
    moves = np.sign(close[23:] - close[22:-1])

    assert (4_142, 3_987, 3) == tuple(int((moves == side).sum()) for side in (1, -1, 0))


def test_funding_coverage_is_said(run: Run) -> None:
    """3.1 % with the predecessor's file, all of it with the exchange's history."""
    said = [f for f in run.audit["findings"] if f["code"] == "D013"]
    share, level = ("100.0 %", "info") if "full" in run.path.parent.name else ("3.1 %", "warn")

    assert 1 == len(said)
    assert share in said[0]["message"]
    assert level == said[0]["level"]


def test_what_unpaid_settlements_could_have_cost_is_said(run: Run) -> None:
    """Of the predecessor's file most have no record; of the exchange's history none lacks one."""
    said = [f["observed"] for f in run.audit["findings"] if f["code"] == "A008"]

    if "full" in run.path.parent.name:
        assert [] == said
    else:
        assert 1 == len(said)
        assert "of 1,019 settlements" in said[0]
        assert "have no record" in said[0]


def test_both_ledgers_agree_on_the_real_file(run: Run) -> None:
    """The compiled recomputation ends where the Backtrader replay does, to 1e-9 of equity."""
    said = [f for f in run.audit["findings"] if f["code"] == "A011"]

    assert ["info"] == [f["level"] for f in said]
    assert "agrees" in said[0]["message"]


def test_the_account_loses_to_its_costs_and_says_so(run: Run) -> None:
    """A small honest edge does not pay for trading every hour, and the verdict does not hide it."""
    assert "supported" != run.audit["verdict"]["economic"]
    assert 0 > run.metrics.query("period_kind == 'all'").iloc[0].total_return
