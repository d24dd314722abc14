"""``perpwalk check``: never a pass on what cannot be judged, never a bare word."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hand_made_run import replay, write_run
from rich.console import Console

from perpwalk import config, runs, seal
from perpwalk.audit.check import Answer, CheckAnswer, check_run
from perpwalk.errors import UsageError
from perpwalk.reports.answers import as_json, show_check

N = 2400


def forecasts(edge: float, *, horizon: int = 1, seed: int = 3) -> pd.DataFrame:
    """Return predictions of a calibrated forecaster of strength ``edge`` on a random walk."""
    rng = np.random.default_rng(seed)
    signal, noise = rng.standard_normal((2, N + horizon))
    move = 0.01 * (edge * signal + np.sqrt(1 - edge**2) * noise)
    path = np.concatenate([[0.0], np.cumsum(move)])
    forward = path[horizon : N + horizon] - path[:N]
    from scipy.special import ndtr

    return pd.DataFrame(
        {
            "close_time": pd.date_range("2024-01-01", periods=N, freq="h", tz="UTC"),
            "fold": np.arange(N) // (N // 2),
            "p_up": ndtr(edge * signal[:N] / np.sqrt(1 - edge**2)),
            "label": pd.array((forward > 0).astype(int), dtype="Int8"),
            "forward_return": forward,
        }
    )


def folder_of(
    place: Path,
    predictions: pd.DataFrame,
    *,
    overall: str = "inconclusive",
    findings: tuple[dict[str, object], ...] = (),
    threshold: float = 0.5,
    edge: float = 0.5,
    horizon: str = "1bars",
    sealed: bool = True,
    seed: int = 0,
) -> runs.Run:
    """Write what ``check`` reads of a run and open it; the simulated market's edge is ``edge``."""
    place.mkdir(parents=True, exist_ok=True)
    asked = config.resolve(
        {
            "market": {"simulate": {"edge": edge}},
            "label": {"horizon": horizon},
            "name": "exp",
            "seed": seed,
        }
    )
    runs.write_text(place / "config.yaml", asked.to_yaml())
    runs.write_parquet(place / "predictions.parquet", predictions)
    numbers = np.unique(predictions["fold"])
    runs.write_csv(place / "folds.csv", pd.DataFrame({"fold": numbers, "threshold": threshold}))
    verdict = {"overall": overall, "predictive": overall, "economic": "inconclusive"}
    runs.write_json(place / "audit.json", {"verdict": verdict, "findings": list(findings)})
    idle = ("position", "fee", "slippage", "liquidation", "funding", "traded_notional")
    book = {"close_time": predictions["close_time"], "price": 100.0, "cash": 0.0}
    book |= {name: np.zeros(len(predictions)) for name in idle}
    book |= {"price_pnl": np.ones(len(predictions))}
    book |= {"equity": 10_000.0 + np.arange(1, len(predictions) + 1)}
    runs.write_parquet(place / "equity.parquet", pd.DataFrame(book))
    manifest = {"status": "finished"}
    runs.write_json(place / "manifest.json", seal.sealed(manifest, place) if sealed else manifest)
    return runs.load_run(place)


def printed(answer: CheckAnswer) -> str:
    console = Console(file=io.StringIO(), width=200)
    show_check(answer, console)
    return console.file.getvalue()


def test_its_intervals_are_drawn_with_the_seed_of_the_run(tmp_path: Path) -> None:
    """Not with one of its own, which would state other bounds for the figures of the run."""
    run = folder_of(tmp_path / "run", forecasts(0.4).iloc[:600], seed=9)

    measures = check_run(run).table
    assert [9, 9, 9] == [one.estimate.seed for one in measures]
    assert measures == check_run(run, seed=9).table
    assert measures != check_run(run, seed=0).table


def test_its_auc_has_the_interval_of_the_audit(tmp_path: Path) -> None:
    """The same rows, seed and confidence are the same draws."""
    run = write_run(tmp_path / "run", replay(600))
    runs.write_csv(run.path / "folds.csv", run.folds.assign(threshold=0.5))
    stated = run.audit["evidence"]["auc"]

    (found,) = [
        one.estimate
        for one in check_run(runs.load_run(run.path), seed=stated["seed"]).table
        if one.name == "AUC"
    ]
    assert (stated["lo"], stated["hi"]) == (found.low, found.high)


def test_a_good_forecaster_passes_with_intervals_and_a_warning(tmp_path: Path) -> None:
    """A pass shows intervals, n, and that it says nothing about money."""
    answer = check_run(folder_of(tmp_path / "run", forecasts(0.4)))
    text = printed(answer)

    assert (Answer.PASS, 0) == (answer.answer, answer.exit_code)
    assert [True, True, True] == [one.clears for one in answer.table]
    line = next(line for line in text.splitlines() if line.startswith("PASS"))
    assert "[" in line
    assert "n = 2,400" in line
    assert "does not say that trading the signal earns money" in " ".join(text.split())
    assert "after costs" in text


def test_a_bar_within_the_interval_fails(tmp_path: Path) -> None:
    """The lower end has to clear the bar: an estimate above it is not enough."""
    run = folder_of(tmp_path / "run", forecasts(0.4))
    accuracy = check_run(run).table[0].estimate
    answer = check_run(run, min_accuracy=accuracy.value - 0.001)

    assert (Answer.FAIL, 1) == (answer.answer, answer.exit_code)
    assert "is not above" in answer.reasons[0]


def test_a_forecaster_without_skill_fails(tmp_path: Path) -> None:
    """Noise clears neither bar."""
    rng = np.random.default_rng(0)
    noise = forecasts(0.4).assign(p_up=rng.uniform(0.4, 0.6, N))
    answer = check_run(folder_of(tmp_path / "run", noise), min_accuracy=0.45)

    assert (Answer.FAIL, 1) == (answer.answer, answer.exit_code)
    assert any("AUC" in reason for reason in answer.reasons)


def test_the_share_of_ups_is_no_skill(tmp_path: Path) -> None:
    """Calling mostly the commoner class beats a bar on accuracy and still does not pass."""
    rng = np.random.default_rng(1)
    forward = rng.standard_normal(N) + 0.5
    p_up = np.where(rng.random(N) < 0.93, 0.6, 0.4) + rng.normal(0, 0.01, N)
    lucky = forecasts(0.4).assign(
        forward_return=forward, label=pd.array((forward > 0).astype(int), "Int8"), p_up=p_up
    )
    answer = check_run(folder_of(tmp_path / "run", lucky, edge=0.9))

    assert answer.table[0].clears
    assert Answer.FAIL is answer.answer
    assert any("commoner class" in reason for reason in answer.reasons)


def test_thresholds_come_from_the_folds(tmp_path: Path) -> None:
    """Calls are made at each fold's own threshold, not at one half."""
    shifted = forecasts(0.4)
    shifted["p_up"] = shifted["p_up"] * 0.5
    answer = check_run(folder_of(tmp_path / "run", shifted, threshold=0.25, edge=0.4))

    assert answer.table[0].estimate.value == pytest.approx(0.631, abs=0.03)
    assert Answer.CANNOT_JUDGE is answer.answer
    assert any("P004" in reason for reason in answer.reasons)


def test_an_invalid_run_cannot_be_judged(tmp_path: Path) -> None:
    """However good the numbers, an error in the run's audit forbids an answer and is shown."""
    error = {"code": "D009", "level": "error", "where": "2024-05-01", "message": "frozen bars",
             "observed": "900 bars"}  # fmt: skip
    answer = check_run(
        folder_of(tmp_path / "run", forecasts(0.4), overall="invalid", findings=(error,))
    )
    text = printed(answer)

    assert (Answer.CANNOT_JUDGE, 3) == (answer.answer, answer.exit_code)
    assert "D009 2024-05-01: frozen bars (900 bars)" in answer.reasons
    assert "not a result" in text
    assert "PASS" not in text


def test_a_suspect_run_is_not_passed_until_someone_says_why(tmp_path: Path) -> None:
    """Suspicion turns a pass into no answer (exit 4); a recorded reason lifts it."""
    run = folder_of(tmp_path / "run", forecasts(0.4), overall="suspect", sealed=False)
    answer = check_run(run)
    note = run.audit | {
        "verdict": run.audit["verdict"] | {"accepted": {"reason": "checked by hand", "at": "today"}}
    }
    runs.write_json(run.path / "audit.json", note)
    accepted = check_run(runs.load_run(run.path))

    assert (Answer.CANNOT_JUDGE, 4) == (answer.answer, answer.exit_code)
    assert Answer.PASS is accepted.answer


def test_too_good_for_real_data_is_not_passed(tmp_path: Path) -> None:
    """An AUC beyond what the simulated market allows is an error, whatever audit.json says."""
    answer = check_run(folder_of(tmp_path / "run", forecasts(0.6), edge=0.1))

    assert (Answer.CANNOT_JUDGE, 3) == (answer.answer, answer.exit_code)
    assert any(reason.startswith("P011") for reason in answer.reasons)


def test_overlapping_labels_widen_the_intervals(tmp_path: Path) -> None:
    """With a horizon of 24 bars the rows are worth fewer, and both intervals are wider."""
    rows = forecasts(0.5, horizon=24)
    score = rows["p_up"].rolling(24, min_periods=1).mean()  # a persistent call
    rows["p_up"] = score.where(score != 0.5, 0.51)
    wide = check_run(folder_of(tmp_path / "h24", rows, horizon="24bars", edge=0.5))
    narrow = check_run(folder_of(tmp_path / "h1", rows, edge=0.5))
    twins = [answer.table[0].twin for answer in (wide, narrow)]

    assert wide.table[0].estimate.n_eff < N / 4
    assert twins[0].high - twins[0].low > 1.5 * (twins[1].high - twins[1].low)
    assert "inflated" in twins[0].method


def test_a_shifted_label_is_named(tmp_path: Path) -> None:
    """Labels that fit the move of a neighbouring bar are told from noise."""
    rows = forecasts(0.4)
    rows["label"] = rows["label"].shift(1).fillna(0).astype("Int8")
    answer = check_run(folder_of(tmp_path / "run", rows))

    assert Answer.CANNOT_JUDGE is answer.answer
    assert any("1 bar(s) before their own" in reason for reason in answer.reasons)


def test_turned_classes_are_named(tmp_path: Path) -> None:
    """Labels with 1 for down are told as such."""
    rows = forecasts(0.4)
    rows["label"] = 1 - rows["label"]

    reasons = check_run(folder_of(tmp_path / "run", rows)).reasons

    assert any("turned over" in reason for reason in reasons)


def test_a_changed_file_forbids_an_answer(tmp_path: Path) -> None:
    """Predictions edited after the run was sealed are not judged."""
    run = folder_of(tmp_path / "run", forecasts(0.4))
    runs.write_parquet(run.path / "predictions.parquet", forecasts(0.35))
    answer = check_run(runs.load_run(run.path))

    assert (Answer.CANNOT_JUDGE, 3) == (answer.answer, answer.exit_code)
    assert any("predictions.parquet is changed" in reason for reason in answer.reasons)


def test_too_few_decisions_cannot_be_judged(tmp_path: Path) -> None:
    """Fifteen decisions have no interval worth the name."""
    answer = check_run(folder_of(tmp_path / "run", forecasts(0.4).iloc[:15]))

    assert (Answer.CANNOT_JUDGE, 3) == (answer.answer, answer.exit_code)


def test_no_scored_decision_cannot_be_judged(tmp_path: Path) -> None:
    """Without labels every number is undefined, not zero."""
    rows = forecasts(0.4).assign(label=pd.array([None] * N, dtype="Int8"))
    answer = check_run(folder_of(tmp_path / "run", rows))

    assert Answer.CANNOT_JUDGE is answer.answer
    assert [None] * 3 == [one.estimate.value for one in answer.table]
    assert "undefined" in printed(answer)


def test_json_holds_no_nan_and_says_the_same(tmp_path: Path) -> None:
    """``--json`` is valid JSON with null where undefined."""
    answer = check_run(folder_of(tmp_path / "run", forecasts(0.4)))
    told = json.loads(as_json(answer))

    assert ("PASS", 0) == (told["answer"], told["exit_code"])
    assert answer.table[0].estimate.low == told["measures"][0]["low"]
    assert "NaN" not in as_json(answer)


def test_metrics_are_not_trusted(tmp_path: Path) -> None:
    """A made-up metrics.json changes nothing."""
    run = folder_of(tmp_path / "run", forecasts(0.4), sealed=False)
    before = check_run(run)
    runs.write_json(run.path / "metrics.json", [{"accuracy": 1.0, "accuracy_lo": 1.0}])

    assert before == check_run(runs.load_run(run.path))


@pytest.mark.parametrize("wrong", [{"min_accuracy": 55.0}, {"min_auc": -0.1}, {"confidence": 1.0}])
def test_a_bar_that_is_no_fraction_is_refused(tmp_path: Path, wrong: dict[str, float]) -> None:
    """55 instead of 0.55 is a mistake, not a bar nobody clears."""
    run = folder_of(tmp_path / "run", forecasts(0.4))
    with pytest.raises(UsageError, match=next(iter(wrong)).replace("_", "-")):
        check_run(run, **wrong)


def test_a_run_without_thresholds_is_refused(tmp_path: Path) -> None:
    """The message names file and column."""
    run = folder_of(tmp_path / "run", forecasts(0.4))
    runs.write_csv(run.path / "folds.csv", pd.DataFrame({"fold": [0, 1]}))
    with pytest.raises(UsageError, match=r"folds\.csv has no column 'threshold'"):
        check_run(runs.load_run(run.path))
