"""Runs that take what was computed before: never stale, and the same to the byte."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engine import stages
from engine.experiment import run_experiment
from engine.memory import KINDS, open_memory
from engine.verify import verify_run
from perpwalk import config, data, features, runs
from perpwalk.config import Config
from perpwalk.data import load_market
from perpwalk.models.baselines import LogisticModel

SAME = (
    "predictions.parquet", "metrics.csv", "metrics.json", "equity.parquet", "trades.csv",
    "orders.csv", "funding.csv", "folds.csv", "config.yaml",
)  # fmt: skip
FEATURE = """
from perpwalk.features import PastBars, feature

@feature(lookback=2)
def step(past: PastBars):
    moved = past.close.copy()
    moved[1:] -= past.close[:-1]
    return moved * 1.0
"""


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """Return a CSV of 2,000 simulated bars."""
    market = load_market(config.MarketSection(simulate=config.Simulate(bars=2000)), seed=3)
    frame = market.bars.to_frame()
    frame.index = frame.index.astype("int64") // 10**6
    frame.rename_axis("open_time").to_csv(tmp_path / "bars.csv")
    return tmp_path / "bars.csv"


def small(bars: Path, **changes: Any) -> Config:
    """Return a configuration of three folds of a logistic model on a few features."""
    raw = {
        "name": "small",
        "market": {"ohlcv": str(bars), "missing_funding": "drop_features"},
        "features": {"include": ["returns", "calendar"]},
        "walk_forward": {
            "train": "800bars", "validation": "200bars", "test": "300bars", "min_train_rows": 500,
        },
        "model": {"kind": "logistic"},
        "report": {"html": False, "tearsheet": False},
    }  # fmt: skip
    for key, value in changes.items():
        raw[key] = {**raw.get(key, {}), **value} if isinstance(value, dict) else value  # type: ignore[dict-item]
    return config.resolve(raw)


class Counted:
    """Counts how often a logistic model is fitted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fits = 0
        real = LogisticModel.fit

        def fit(model: LogisticModel, *arguments: Any) -> Any:
            self.fits += 1
            return real(model, *arguments)

        monkeypatch.setattr(LogisticModel, "fit", fit)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def made(run: runs.Run, kind: str) -> tuple[int, int]:
    """Return how many entries of a kind were taken from the cache, and made."""
    counts = run.manifest["cache"][kind]
    return counts["taken"], counts["made"]


def same(one: runs.Run, two: runs.Run) -> list[str]:
    """Return the files of two runs that differ, models included."""
    names = [*SAME, *(p.relative_to(one.path).as_posix() for p in _models(one))]
    assert len(_models(one)) == len(_models(two)) > 0
    return [n for n in names if (one.path / n).read_bytes() != (two.path / n).read_bytes()]


def _models(run: runs.Run) -> list[Path]:
    return [p for p in (run.path / "models").rglob("*") if p.is_file()]


def test_only_the_strategy_changed_trains_nothing(
    bars: Path, tmp_path: Path, counted: Counted
) -> None:
    """The second run takes features, fits and forecasts, says so, and still verifies."""
    out = tmp_path / "results"
    first = run_experiment(small(bars), out=out)
    assert (3, (0, 3)) == (counted.fits, made(first, "fits"))
    second = run_experiment(
        small(bars, strategy={"name": "strategies.lstm_xgb:LongFlat", "threshold": 0.5}), out=out
    )

    assert 3 == counted.fits
    assert [(3, 0), (3, 0), (1, 0)] == [
        made(second, kind) for kind in ("fits", "forecasts", "features")
    ]
    assert "3 of 3 fits" in (second.path / "run.log").read_text()
    assert first.path != second.path
    assert 0 == verify_run(second.path).exit_code


def test_a_run_from_the_cache_is_the_run_without_one(bars: Path, tmp_path: Path) -> None:
    """All tables and models are the same to the byte; without a cache none is written."""
    plain = run_experiment(small(bars), out=tmp_path / "plain", cache=False)
    run_experiment(small(bars, name="warming"), out=tmp_path / "results")
    recalled = run_experiment(small(bars), out=tmp_path / "results")

    assert (3, 0) == made(recalled, "fits")
    assert [] == same(plain, recalled)
    assert plain.manifest["cache"] is None
    assert not (tmp_path / "plain" / ".cache").exists()


def test_forced_anew_it_takes_nothing(bars: Path, tmp_path: Path, counted: Counted) -> None:
    """``force`` computes all of it again, and keeps what it computed."""
    walk(small(bars), tmp_path, tmp_path / "one")
    again = walk(small(bars), tmp_path, tmp_path / "two", fresh=True)

    assert (6, (0, 3)) == (counted.fits, again.made("fits"))
    assert (3, 0) == walk(small(bars), tmp_path, tmp_path / "three").made("fits")


# ── never stale ──────────────────────────────────────────────────────────────────────────────────


@dataclass
class Walk:
    """A walk through the folds, its kept files, and what came out of the cache."""

    counts: dict[str, dict[str, int]]
    work: Path
    told: list[str]

    def made(self, kind: str) -> tuple[int, int]:
        return self.counts[kind]["taken"], self.counts[kind]["made"]

    def files(self) -> dict[str, bytes]:
        """Return every file of every fold but the epochs, which tell seconds."""
        found = (p for p in self.work.rglob("*") if p.is_file() and p.name != "training.json")
        return {p.relative_to(self.work).as_posix(): p.read_bytes() for p in found}


def walk(asked: Config, results: Path | None, work: Path, *, fresh: bool = False) -> Walk:
    """Walk with the cache of ``results``, or without one."""
    memory = None if results is None else open_memory(results, fresh=fresh)
    prepared = stages.prepare(asked, data.load_markets(asked), memory=memory)
    work.mkdir(parents=True)
    stages.walk_forward(prepared, work=work, memory=memory)
    if memory is None:
        return Walk({}, work, [])
    return Walk(memory.cache.summary(), work, memory.told())


def test_more_data_takes_up_the_folds_it_leaves_alone(bars: Path, tmp_path: Path) -> None:
    """With another end all folds are fitted as before; the last one's test span is another."""
    walk(small(bars), tmp_path, tmp_path / "whole")
    pd.read_csv(bars).iloc[:1900].to_csv(bars, index=False)
    shorter = walk(small(bars), tmp_path, tmp_path / "shorter")

    assert [(0, 1), (3, 0), (2, 1)] == [shorter.made(kind) for kind in KINDS]
    assert walk(small(bars), None, tmp_path / "plain").files() == shorter.files()


def test_one_bar_changed_makes_every_fold_that_saw_it_anew(bars: Path, tmp_path: Path) -> None:
    """A close in the first test span touches that forecast and the fits after it."""
    walk(small(bars), tmp_path, tmp_path / "before")
    whole = pd.read_csv(bars)
    whole.loc[1300, "close"] *= 1.0005
    whole.loc[1300, "high"] *= 1.001
    whole.to_csv(bars, index=False)
    changed = walk(small(bars), tmp_path, tmp_path / "changed")

    assert [(0, 1), (1, 2), (0, 3)] == [changed.made(kind) for kind in KINDS]
    assert walk(small(bars), None, tmp_path / "plain").files() == changed.files()


def test_one_line_of_a_users_feature_is_another_feature(bars: Path, tmp_path: Path) -> None:
    """Another value makes features and fits anew; another code of the same value the features."""
    file = tmp_path / "mine.py"
    asked = small(bars, features={"modules": [str(file)], "include": ["returns", "user"]})
    file.write_text(FEATURE)
    walk(asked, tmp_path, tmp_path / "before")
    file.write_text(FEATURE.replace("* 1.0", "* past.volume"))
    changed = walk(asked, tmp_path, tmp_path / "changed")
    file.write_text(FEATURE.replace("* 1.0", "* past.volume  # the same"))
    reworded = walk(asked, tmp_path, tmp_path / "reworded")

    assert [(0, 1), (0, 3), (0, 3)] == [changed.made(kind) for kind in KINDS]
    assert [(0, 1), (3, 0), (3, 0)] == [reworded.made(kind) for kind in KINDS]
    assert walk(asked, None, tmp_path / "plain").files() == changed.files() == reworded.files()


@pytest.mark.parametrize(
    ("package", "expected"), [("scikit-learn", [0, 3, 3]), ("ta-lib", [1, 0, 0])]
)
def test_one_library_of_another_version_is_not_trusted(
    bars: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    expected: list[int],
) -> None:
    """What the library is behind is made anew, and only that."""
    walk(small(bars), tmp_path, tmp_path / "before")
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.1" if name == package else real(name)
    )
    again = walk(small(bars), tmp_path, tmp_path / "again")

    assert expected == [again.made(kind)[1] for kind in KINDS]


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 8},
        {"features": {"selection": {"k": 3}}},
        {"features": {"clip": 3.0}},
        {"label": {"horizon": "2bars"}},
        {"model": {"kind": "majority"}},
    ],
    ids=str,
)
def test_another_question_is_another_fit(
    bars: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Whatever a fit depends on makes it anew."""
    walk(small(bars), tmp_path, tmp_path / "before")
    assert (0, 3) == walk(small(bars, **changes), tmp_path, tmp_path / "after").made("fits")


def test_an_entry_tampered_with_is_made_again_with_a_word(bars: Path, tmp_path: Path) -> None:
    """Changed weights do not reach a run: they are fitted again, and that is said."""
    first = walk(small(bars), tmp_path, tmp_path / "first")
    weights = sorted((tmp_path / ".cache" / "fits").rglob("scaler.json"))[0]
    weights.write_text(weights.read_text().replace("1", "2", 1))
    second = walk(small(bars), tmp_path, tmp_path / "second")

    assert (2, 1) == second.made("fits")
    assert any("1 entry of the cache was not as it was written" in line for line in second.told)
    assert first.files() == second.files()


def test_the_cache_holds_no_pickle(bars: Path, tmp_path: Path) -> None:
    """Only parquet, JSON and plain arrays lie in it, out of the way of the list of runs."""
    walk(small(bars), tmp_path, tmp_path / "small/base.partial/work")
    found = [p for p in (tmp_path / ".cache").rglob("*") if p.is_file()]
    assert {".parquet", ".json", ".npy"} == {p.suffix for p in found}
    for file in found:
        if file.suffix == ".npy":
            np.load(file, allow_pickle=False)
    assert ["interrupted"] == runs.list_runs(tmp_path)["status"].tolist()


def test_features_of_a_market_survive_the_cache(bars: Path, tmp_path: Path) -> None:
    """What comes out is what was computed, to the bit, and read-only as before."""
    wanted = small(bars)
    market = data.load_market(wanted.market, seed=wanted.seed)
    chosen = features.feature_set(wanted.features, funding=market.funding_features)
    memory = open_memory(tmp_path)
    one, two = (memory.features(wanted, chosen, market) for _ in range(2))

    assert one.values.tobytes() == two.values.tobytes()
    assert (one.names, one.lookback) == (two.names, two.lookback)
    assert not two.values.flags.writeable
