"""``perpwalk sweep`` on a finished run: the same answers as runs, and an honest record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

import perpwalk
from engine import cli, sweeping
from engine.experiment import run_experiment
from perpwalk import config as configuration
from perpwalk import runs, seal, trials
from perpwalk.config import Config
from perpwalk.errors import ConfigError, DataError, UsageError
from perpwalk.runs import Run

GRID = {
    "strategy.threshold": [0.45, 0.5, 0.52],
    "strategy.params.exposure": [0.5, 1],
    "broker.taker_fee": [0.0002, 0.0005],
}


def asked(**strategy: object) -> Config:
    """Return a small experiment that trains a second or less."""
    return configuration.resolve(
        {
            "name": "swept",
            "market": {"simulate": {"bars": 3_000}},
            "walk_forward": {"train": "1200bars", "validation": "300bars", "test": "400bars",
                             "min_train_rows": 500},
            "model": {"kind": "logistic"},
            "report": {"tearsheet": False, "html": False},
            "strategy": strategy,
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_experiment(asked(), out=tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def swept(base: Run) -> sweeping.Sweep:
    return perpwalk.sweep(base, GRID)


def test_a_variant_is_the_run_that_asks_the_same(base: Run, swept: sweeping.Sweep) -> None:
    """
    Its row has the run's figures, and its trial the run's question: asking again is no new trial.
    """
    varied = asked(threshold=0.52, params={"exposure": 0.5}).model_dump()
    varied["broker"]["taker_fee"] = 0.0002
    results = base.path.parent.parent
    before = trials.count(results)
    alone = run_experiment(Config.model_validate(varied), out=results)
    whole = alone.metrics.set_index("period_kind").loc["all"]
    row = swept.table.set_index(list(GRID)).loc[(0.52, 0.5, 0.0002)]

    for name in ("total_return", "sharpe", "max_drawdown", "fees", "funding", "slippage", "trades",
                 "exposure", "turnover"):  # fmt: skip
        assert float(whole[name]) == pytest.approx(row[name], rel=1e-9), name
    assert before.n == trials.count(results).n >= 1 + 12


def test_the_base_is_one_of_the_variants(base: Run) -> None:
    """
    Swept with what it was run with, a run's account comes out as it is, thresholds of each fold
    included.
    """
    found = sweeping.sweep(base, grid={"strategy.threshold": ["validation"]}, out=Path("unused"))

    whole = base.metrics.set_index("period_kind").loc["all"]
    assert float(whole["total_return"]) == pytest.approx(found.table["total_return"][0], rel=1e-9)
    assert found.table["trades"][0] == whole["trades"]


def test_the_command_shows_the_best_and_what_it_is_worth(base: Run) -> None:
    """
    Ranges are spelt out; the table is kept beside the run, best first; the luck is counted.
    """
    said = CliRunner().invoke(
        cli.app, ["sweep", str(base.path), "--grid", "strategy.threshold=0.4:0.6:21", "--top", "3"]
    )

    assert 0 == said.exit_code, said.output
    assert "21 variants worth" in said.output
    assert "the best of so many lucky ones would reach" in " ".join(said.output.split())
    kept = pd.read_csv(next(base.path.parent.glob("sweep-*/sweep.csv"), Path()))
    assert kept["sharpe"].is_monotonic_decreasing


# ── a run that is no result ──────────────────────────────────────────────────────────────────────

WORD = {"code": "K003", "where": "feature 'x'", "message": "it knows the next bar",
        "observed": None, "expected": None, "why": None, "advice": None}  # fmt: skip


def judged(base: Run, folder: Path, word: str, level: str, **verdict: object) -> Run:
    """Return a copy of a run that was judged otherwise, with its seal."""
    place = folder / base.path.parent.name / base.path.name
    shutil.copytree(base.path, place)
    audit = json.loads((place / "audit.json").read_text())
    kept = [one for one in audit["findings"] if one["code"] != "R101"]
    reason = {**WORD, "code": "R101", "level": "info", "where": "verdict",
              "message": f"{word}: K003 feature 'x': it knows the next bar"}  # fmt: skip
    audit["findings"] = [{**WORD, "level": level}, *kept, reason]
    audit["verdict"] = {**dict.fromkeys(("overall", "predictive", "economic"), word), **verdict}
    runs.write_json(place / "audit.json", audit)
    manifest = seal.resealed(base.manifest, place, ["audit.json"])
    runs.write_json(place / "manifest.json", manifest)
    return runs.load_run(place)


def swept_by_hand(run: Run) -> tuple[int, str, dict[str, Any], pd.DataFrame]:
    """Return exit code and output of the command, then what it kept."""
    asked = ["sweep", str(run.path), "--grid", "strategy.threshold=0.45,0.55"]
    said = CliRunner().invoke(cli.app, asked)
    (kept,) = run.path.parent.glob("sweep-*")
    return (
        said.exit_code,
        " ".join(said.output.split()),
        json.loads((kept / "sweep.json").read_text()),
        pd.read_csv(kept / "sweep.csv"),
    )


def test_variants_of_an_invalid_run_are_no_result(base: Run, tmp_path: Path) -> None:
    """
    The diagnosis stands in place of the figures, the answer is 3; files and notebook say it too.
    """
    wrong = judged(base, tmp_path, "invalid", "error")
    code, said, document, table = swept_by_hand(wrong)

    assert 3 == code
    assert "INVALID" in said
    assert "K003 feature 'x': it knows the next bar" in said
    for figure in ("Sharpe", "return ", "max dd", "better than luck"):
        assert figure not in said, figure
    assert "invalid" == document["verdict"]["overall"]
    assert "K003" in {one["code"] for one in document["findings"]}
    assert document["in_words"].startswith("The run is INVALID")
    assert {"invalid"} == set(table["run_verdict"])
    assert table["run_findings"].str.startswith("K003").all()
    shown = perpwalk.sweep(wrong, {"strategy.threshold": [0.45, 0.55]})._repr_html_()
    assert "it knows the next bar" in shown
    assert "<table" not in shown


def test_variants_of_a_suspect_run_are_suspect(base: Run, tmp_path: Path) -> None:
    """
    The suspicion is said above the figures and the answer is 4, until a person has accepted it.
    """
    code, said, document, table = swept_by_hand(judged(base, tmp_path / "a", "suspect", "warn"))

    assert 4 == code
    assert said.index("it knows the next bar") < said.index("Sharpe")
    assert "suspect" == document["verdict"]["overall"]
    assert document["in_words"].startswith("The run is SUSPECT, and its variants with it: K003")
    assert {"suspect"} == set(table["run_verdict"])
    word = {"reason": "looked at", "at": "2026-01-01T00:00:00Z", "by": "me"}
    code, said, *_ = swept_by_hand(judged(base, tmp_path / "b", "suspect", "warn", accepted=word))
    assert 0 == code
    assert "accepted by me" in said


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({}, "nothing to sweep"),
        ({"model.kind": ["xgb"]}, "varies what comes after the forecasts"),
        ({"strategy.params.exposur": [0.5]}, "did you mean 'exposure'"),
        ({"strategy.threshold": [1.5]}, "strategy.threshold"),
        ({"broker.cheat_on_open": [True]}, "next open only"),
        ({"broker.slippage": [{"kind": "none"}]}, "is a section"),
        ({"strategy.threshold": [n / 1e6 for n in range(300_000)]}, "are more than"),
    ],
)
def test_what_cannot_be_swept_is_said(base: Run, grid: dict[str, list[object]], said: str) -> None:
    """
    The key and what to do; nothing is tried, nothing counted.
    """
    before = trials.count(base.path.parent.parent).n
    with pytest.raises((UsageError, ConfigError)) as refused:
        sweeping.sweep(base, grid=grid, out=Path("unused"))

    assert said in str(refused.value)
    assert before == trials.count(base.path.parent.parent).n


def test_a_run_of_other_data_is_not_swept(base: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Where its data are not what they were, its forecasts belong to other bars.
    """
    monkeypatch.setattr(sweeping.audits, "hashes_of", lambda _: {"ohlcv": "changed"})
    with pytest.raises(DataError, match="not the same any more"):
        sweeping.sweep(base, grid=GRID, out=Path("unused"))


def test_the_engine_is_no_part_of_the_question(tmp_path: Path) -> None:
    """
    Asked with the ledger engine and then without, it is one question in one place: the second time
    its account is checked by Backtrader, and nothing is trained.
    """
    quick = perpwalk.run(asked(), out=tmp_path, engine="ledger")
    assert "not computed a second time" in a011(quick)
    again = perpwalk.run(asked(), out=tmp_path)

    assert quick.path == again.path
    assert "an independent ledger" in a011(again)
    assert "models and forecasts are those of" in (again.path / "run.log").read_text()
    assert 1 == trials.count(tmp_path).n
    kept = perpwalk.run(asked(), out=tmp_path, engine="ledger", check=True, force=True)
    assert "the Backtrader replay agrees" in a011(kept)
    assert perpwalk.run(asked(), out=tmp_path).path == kept.path


def a011(run: Run) -> str:
    found = [f for f in run.audit["findings"] if f["code"] == "A011"]
    assert 1 == len(found)
    return str(found[0]["message"])
