"""The main job from files to folder, on markets small enough to run often."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.experiment import run_experiment
from perpwalk import config, data, runs, trials
from perpwalk.config import Config
from perpwalk.errors import UsageError
from perpwalk.models.base import Prediction
from perpwalk.models.baselines import FittedLogistic

CONTRACT_FILES = {
    "manifest.json", "config.yaml", "folds.csv", "training.csv", "predictions.parquet",
    "metrics.csv", "metrics.json", "equity.parquet", "trades.csv", "orders.csv", "funding.csv",
    "audit.json", "tearsheet.html", "report.html", "models", "run.log",
}  # fmt: skip
METRICS = (
    "period_kind, period, start, end, n, ties, up_rate, predicted_up_rate, accuracy, accuracy_lo, "
    "accuracy_hi, majority_accuracy, auc, auc_lo, auc_hi, brier, log_loss, "
    "pesaran_timmermann_p, total_return, benchmark_return, cagr, volatility, sharpe, sharpe_lo, "
    "sharpe_hi, sortino, max_drawdown, calmar, exposure, turnover, trades, win_rate, "
    "profit_factor, fees, funding, slippage"
).split(", ")
FOLDS = (
    "fold, train_start, train_end, validation_start, validation_end, test_start, test_end, "
    "n_train, n_validation, n_test, purged, embargoed"
).split(", ")
TRAINING = (
    "fold, epoch, train_loss, validation_loss, validation_auc, learning_rate, seconds"
).split(", ")
EQUITY = "close_time, price, position, cash, equity, price_pnl, fee, funding, slippage".split(", ")


def small(kind: str = "lstm_xgb", **changes: object) -> Config:
    """Return a configuration that runs in a few seconds: 3 folds, a tiny network."""
    raw = {
        "name": "small",
        "market": {"simulate": {"bars": 3000, "edge": 0.3}},
        "walk_forward": {
            "scheme": "rolling", "train": "1200bars", "validation": "300bars",
            "test": "300bars", "min_train_rows": 500,
        },
        "model": {
            "kind": kind,
            "lstm": {
                "timesteps": 5, "layers": 1, "hidden": 8, "dense": 8, "embedding": 4,
                "epochs": 2,
            },
            "xgb": {"rounds": 20},
        },
        "compute": {"threads": 1},
        **changes,
    }  # fmt: skip
    return config.resolve(raw)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    return run_experiment(small(), out=tmp_path_factory.mktemp("results"))


def test_a_run_writes_every_file_of_the_contract(finished: runs.Run) -> None:
    """The folder holds all files, with the columns that others rely on."""
    assert set() == CONTRACT_FILES - {p.name for p in finished.path.iterdir()}
    assert METRICS == list(finished.metrics.columns)[: len(METRICS)]
    assert FOLDS == list(finished.folds.columns)[: len(FOLDS)]
    assert TRAINING == list(finished.training.columns)[: len(TRAINING)]
    assert EQUITY == list(finished.equity.columns)[: len(EQUITY)]
    assert [
        "close_time",
        "fold",
        "p_up",
        "embedding_0",
        "embedding_1",
        "label",
        "forward_return",
    ] == (list(finished.predictions.columns))
    assert {"fold", "month", "quarter", "year", "all"} == set(finished.metrics["period_kind"])
    for fold in range(len(finished.folds)):
        artifacts = {p.name for p in (finished.path / "models" / f"fold-{fold:03d}").iterdir()}
        assert {
            "lstm.safetensors", "xgb.ubj", "scaler.json", "features.json", "config.json",
        } <= artifacts  # fmt: skip


def test_metrics_json_and_csv_say_the_same(finished: runs.Run) -> None:
    """Both hold the same rows; undefined is null, and nothing is NaN or infinite."""
    text = (finished.path / "metrics.json").read_text()
    rows = json.loads(text)

    assert len(finished.metrics) == len(rows)
    assert METRICS == list(rows[0])[: len(METRICS)]
    assert "NaN" not in text
    assert "Infinity" not in text


def test_the_manifest_repeats_the_run(finished: runs.Run, tmp_path: Path) -> None:
    """The stored configuration run again gives the same predictions."""
    again = run_experiment(config.load(finished.path / "config.yaml"), out=tmp_path)

    assert finished.path.name == again.path.name
    assert same_bytes(finished, again, "predictions.parquet")


def same_bytes(one: runs.Run, two: runs.Run, name: str) -> bool:
    return (one.path / name).read_bytes() == (two.path / name).read_bytes()


def test_the_same_question_twice_gives_the_same_bytes(finished: runs.Run, tmp_path: Path) -> None:
    """Predictions, metrics, equity, trades, orders and funding are identical to the byte."""
    again = run_experiment(small(), out=tmp_path)

    for name in (
        "predictions.parquet", "metrics.json", "metrics.csv", "equity.parquet", "trades.csv",
        "orders.csv", "funding.csv", "folds.csv", "audit.json", "config.yaml",
    ):  # fmt: skip
        assert same_bytes(finished, again, name), name


def test_online_signals_agree_with_batched_ones(tmp_path: Path) -> None:
    """Features and forecasts computed bar by bar, from delivered bars only, trade the same."""
    batched = run_experiment(small(), out=tmp_path)
    online = run_experiment(small(compute={"threads": 1, "signals": "online"}), out=tmp_path)

    assert batched.path != online.path
    pd.testing.assert_frame_equal(batched.predictions, online.predictions)
    pd.testing.assert_frame_equal(batched.equity, online.equity, rtol=1e-9, atol=1e-9)
    assert len(batched.trades) > 3
    assert len(batched.trades) == len(online.trades)


def test_every_bar_balances(finished: runs.Run) -> None:
    """Equity moves by price PnL − fees − slippage + funding, to 1e-9 of equity, at every bar."""
    book = finished.equity
    change = np.diff(book["equity"], prepend=10_000.0)
    parts = (
        book["price_pnl"] - book["fee"] - book["slippage"] + book["funding"] - book["liquidation"]
    )

    assert np.abs(change - parts).max() <= 1e-9 * book["equity"].min()
    assert (book["position"] != 0).any()


def csv_market(folder: Path, bars: int) -> Config:
    """Write the first ``bars`` bars of one simulated market and return a config that reads them."""
    market = data.load_market(small().market, seed=7)
    kept = market.bars.rows(0, bars)
    frame = kept.to_frame()
    frame.index.name = "timestamp"
    frame.to_csv(folder / "bars.csv")
    funding = market.funding
    known = funding.settle_time <= kept.close_time[-1]
    pd.DataFrame(
        {"timestamp": funding.settle_time[known], "funding_rate": funding.rate[known]}
    ).to_csv(folder / "funding.csv", index=False)
    raw = small(kind="lstm_xgb").as_dict()
    raw["market"] |= {"ohlcv": str(folder / "bars.csv"), "funding": str(folder / "funding.csv")}
    return config.resolve(raw)


def test_cutting_off_the_future_changes_no_earlier_prediction(tmp_path: Path) -> None:
    """Predictions on data that ends at a decision equal those made with all that came later."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = run_experiment(csv_market(tmp_path / "whole", 3000), out=tmp_path / "a").predictions
    cut = run_experiment(csv_market(tmp_path / "cut", 2755), out=tmp_path / "b").predictions

    common = len(cut)
    assert 300 < common < len(whole)
    for column in ("close_time", "fold", "p_up", "embedding_0", "embedding_1"):
        pd.testing.assert_series_equal(cut[column], whole[column][:common])


def test_an_interrupted_run_goes_on_and_ends_the_same(
    finished: runs.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folds finished before an interruption are kept, and the resumed run has the same bytes."""
    from engine.walkforward import WalkForward

    fit = WalkForward._learn

    def interrupted(self: WalkForward, fold: object, *carried: object) -> object:
        if fold.number == 1:
            raise KeyboardInterrupt
        return fit(self, fold, *carried)

    monkeypatch.setattr(WalkForward, "_learn", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_experiment(small(), out=tmp_path)
    assert ["interrupted"] == list(runs.list_runs(tmp_path)["status"])
    fitted = []
    monkeypatch.setattr(
        WalkForward,
        "_learn",
        lambda self, fold, *carried: fitted.append(fold.number) or fit(self, fold, *carried),
    )

    resumed = run_experiment(small(), out=tmp_path)

    assert 0 not in fitted
    assert len(finished.folds) - 1 == len(fitted)
    for name in ("predictions.parquet", "metrics.json", "equity.parquet"):
        assert same_bytes(finished, resumed, name), name
    assert ["finished"] == list(runs.list_runs(tmp_path)["status"])


def test_a_question_answered_before_is_not_computed_again(
    finished: runs.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The finished run is returned as it stands; ``force`` makes it again."""
    from engine.walkforward import WalkForward

    def refuse(*_: object) -> object:
        raise UsageError("fitted again")

    monkeypatch.setattr(WalkForward, "_learn", refuse)

    assert finished.path == run_experiment(small(), out=finished.path.parents[1]).path
    with pytest.raises(UsageError, match="fitted again"):
        run_experiment(small(), out=finished.path.parents[1], force=True)
    assert "finished" == runs.load_run(finished.path).manifest["status"]


@pytest.mark.parametrize("kind", ["logistic", "xgb", "lstm", "majority"])
def test_every_built_in_model_runs(tmp_path: Path, kind: str) -> None:
    """Each baseline goes through the same job under the same interface."""
    run = run_experiment(small(kind, report={"tearsheet": False, "html": False}), out=tmp_path)

    assert run.predictions["p_up"].between(0, 1).all()


@pytest.mark.parametrize(
    "name", ["LongShort", "LongFlat", "ProbabilityScaled", "VolatilityTargeted", "FundingAware"]
)
def test_every_signal_strategy_runs(tmp_path: Path, name: str) -> None:
    """Each strategy trades the same forecasts, and its book balances."""
    run = run_experiment(
        small(
            "logistic",
            strategy={"name": f"strategies.lstm_xgb:{name}"},
            report={"tearsheet": False, "html": False},
        ),
        out=tmp_path,
    )

    assert (run.equity["position"] != 0).any()
    assert ["info"] == [f["level"] for f in run.audit["findings"] if f["code"] == "A001"]


def test_the_planted_edge_is_found_and_no_edge_is_not(tmp_path: Path) -> None:
    """With an edge most of the reachable AUC is recovered; without one nothing is found."""
    found = {}
    for edge in (0.0, 0.3):
        run = run_experiment(
            small(
                "logistic",
                market={"simulate": {"bars": 8000, "edge": edge}},
                report={"tearsheet": False, "html": False},
            ),
            out=tmp_path,
        )
        found[edge] = run.metrics.query("period_kind == 'all'").iloc[0]
    best = 0.5 + 2 / np.pi * np.arcsin(0.3 / np.sqrt(2))

    assert found[0.0].auc_lo < 0.5 < found[0.0].auc_hi
    assert found[0.3].auc_lo > 0.5
    assert (found[0.3].auc - 0.5) / (best - 0.5) > 0.6


def test_a_model_that_changes_itself_while_it_forecasts_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S004: what was fitted is frozen; nothing is left behind but the counted trial."""
    forecast = FittedLogistic.predict

    def learning(self: FittedLogistic, values: np.ndarray, rows: np.ndarray) -> Prediction:
        self.intercept += 1e-9
        return forecast(self, values, rows)

    monkeypatch.setattr(FittedLogistic, "predict", learning)

    with pytest.raises(UsageError, match="S004 fold 0: the model 'logistic' changed itself"):
        run_experiment(small("logistic"), out=tmp_path)
    assert ["failed"] == [trial.status for trial in trials.read(tmp_path).trials]
