"""The predecessor's result, rebuilt: what it called PASS, ``check`` must refuse to judge.

Its labels were ``close > 0``, so all of them were *up*; its probability was the sigmoid of a
regressor fitted to 0 and 1, so it lay in [0.5, 0.73] and every call was *up*. Accuracy 100 %, AUC
undefined, interval [1, 1], "PASS".
"""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from perpwalk import config, runs, seal
from perpwalk.audit.check import Answer, CheckAnswer, check_run
from perpwalk.reports.answers import as_json, show_check

DATA = Path(os.environ.get("PERPWALK_DATA", Path(__file__).parents[2] / "../shared/data"))
BARS = DATA / "predecessor/ETH/ohlcv.csv"
# The test span of the predecessor: decisions of the bars after 2024-12-31T00:00.
FIRST_TEST_OPEN = pd.Timestamp("2024-12-31T01:00:00Z")


def predecessor_run(place: Path, close_time: pd.DatetimeIndex, price: np.ndarray) -> runs.Run:
    """Write the run the predecessor would have left: one fold, its labels, its probability."""
    place.mkdir()
    forward = np.log(price[1:] / price[:-1])
    regressor = np.random.default_rng(5).uniform(0, 1, len(forward))
    predictions = pd.DataFrame(
        {
            "close_time": close_time[:-1],
            "fold": 0,
            "p_up": 1 / (1 + np.exp(-regressor)),
            "label": pd.array((price[:-1] > 0).astype(int), dtype="Int8"),
            "forward_return": forward,
        }
    )
    asked = config.resolve({"market": {"symbol": "ETHUSDT", "ohlcv": "ohlcv.csv"}})
    runs.write_text(place / "config.yaml", asked.to_yaml())
    runs.write_parquet(place / "predictions.parquet", predictions)
    runs.write_csv(place / "folds.csv", pd.DataFrame({"fold": [0], "threshold": [0.5]}))
    # It had no audit worth the name: it called itself a pass.
    verdict = {"overall": "supported", "predictive": "supported", "economic": "supported"}
    runs.write_json(place / "audit.json", {"verdict": verdict, "findings": []})
    flat = dict.fromkeys(
        ("position", "price_pnl", "fee", "slippage", "liquidation", "funding", "traded_notional"),
        0.0,
    )
    still = {"price": price[:-1], "cash": 10_000.0, "equity": 10_000.0}
    book = pd.DataFrame({"close_time": close_time[:-1], **still}).assign(**flat)
    runs.write_parquet(place / "equity.parquet", book)
    runs.write_json(place / "manifest.json", seal.sealed({"status": "finished"}, place))
    return runs.load_run(place)


def shown(answer: CheckAnswer) -> str:
    console = Console(file=io.StringIO(), width=220)
    show_check(answer, console)
    return console.file.getvalue()


def assert_refused(answer: CheckAnswer, moves: tuple[int, int, int]) -> None:
    """Assert all that the answer has to say of such a run."""
    ups, downs, ties = moves
    text = shown(answer)

    assert (Answer.CANNOT_JUDGE, 3) == (answer.answer, answer.exit_code)
    assert (sum(moves), 0) == (answer.counts.labels_up, answer.counts.labels_down)
    assert moves == (answer.counts.moves_up, answer.counts.moves_down, answer.counts.moves_none)
    assert f"raw moves of {ups:,} up, {downs:,} down and {ties:,} unchanged" in answer.reasons[0]
    assert "price levels were used as labels" in answer.reasons[1]
    for code in ("L001", "L004", "P002", "P004", "P012"):
        assert any(reason.startswith(code) for reason in answer.reasons), code
    auc = answer.table[-1]
    assert ("AUC", None, None) == (auc.name, auc.estimate.value, auc.clears)
    assert "one class" in str(auc.estimate.reason)
    assert "CANNOT JUDGE" in text
    assert "price levels were used as labels" in text
    assert f"{ups:,}" in text
    assert "PASS" not in text
    assert "NaN" not in as_json(answer)
    assert None is json.loads(as_json(answer))["measures"][-1]["value"]


def test_the_predecessors_failure_cannot_be_judged(tmp_path: Path) -> None:
    """8,135 labels up beside 4,142 raw ups, 3,987 downs and 6 unchanged: exit 3, cause named."""
    moves = (4142, 3987, 6)
    steps = np.repeat([0.004, -0.004, 0.0], moves)
    np.random.default_rng(1).shuffle(steps)
    price = 3000 * np.exp(np.concatenate([[0.0], np.cumsum(steps)]))
    stamps = pd.date_range("2024-12-31T02:00Z", periods=len(price), freq="h")

    assert_refused(check_run(predecessor_run(tmp_path / "run", stamps, price)), moves)


@pytest.mark.skipif(not BARS.is_file(), reason=f"no real bars at {BARS} (set PERPWALK_DATA)")
def test_the_predecessors_own_bars_cannot_be_judged(tmp_path: Path) -> None:
    """The same labels on the predecessor's own price file and test span."""
    table = pd.read_csv(BARS, usecols=["datetime", "close"])
    opened = pd.DatetimeIndex(pd.to_datetime(table["datetime"], utc=True))
    tested = opened >= FIRST_TEST_OPEN
    price = table["close"].to_numpy()[tested]
    change = np.diff(price)
    moves = (int((change > 0).sum()), int((change < 0).sum()), int((change == 0).sum()))
    run = predecessor_run(tmp_path / "run", opened[tested] + pd.Timedelta("1h"), price)

    assert_refused(check_run(run), moves)
    assert min(moves[:2]) > 3500


def test_repairing_the_label_alone_does_not_repair_the_result(tmp_path: Path) -> None:
    """With true labels the probability that cannot fall below one half still forbids an answer."""
    steps = np.random.default_rng(2).normal(0, 0.004, 4000)
    price = 3000 * np.exp(np.concatenate([[0.0], np.cumsum(steps)]))
    stamps = pd.date_range("2024-12-31T02:00Z", periods=len(price), freq="h")
    run = predecessor_run(tmp_path / "run", stamps, price)
    repaired = run.predictions.assign(label=pd.array((steps > 0).astype(int), dtype="Int8"))
    runs.write_parquet(run.path / "predictions.parquet", repaired)
    runs.write_json(run.path / "manifest.json", seal.sealed({"status": "finished"}, run.path))
    answer = check_run(runs.load_run(run.path))

    assert (Answer.CANNOT_JUDGE, 3) == (answer.answer, answer.exit_code)
    assert any("cannot cross 0.5" in reason for reason in answer.reasons)
    assert not any("price levels" in reason for reason in answer.reasons)
