"""The audit of what a configuration names: the user's own features and strategy alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from engine import leaks
from perpwalk import config as configuration
from perpwalk.audit.leaks import LeakReport, Plan
from perpwalk.audit.leaks.online import AGREEMENT
from perpwalk.config import Config

FEATURES = """
import numpy as np
from perpwalk.features import PastBars, feature


@feature(lookback=2)
def honest_change(past: PastBars):
    return past.log_return


@feature(lookback=1)
def tomorrow(past: PastBars):
    return np.append(past.log_return[1:], 0.0) * 0.3 + 0.0
"""

STRATEGIES = """
from engine.strategy import SignalStrategy


class Follow(SignalStrategy):
    def target(self, signal, market):
        return None if signal is None else self.p.exposure * signal.side


class Peek(SignalStrategy):
    def target(self, signal, market):
        feed = self.data
        bars, row = feed.market.bars, feed.first + feed.bar
        ahead = min(row + 1, len(bars) - 1)
        return self.p.exposure * (1 if bars.close[ahead] > bars.close[row] else -1)


class Index(SignalStrategy):
    def target(self, signal, market):
        return 0.5 if self.data.close[1] > self.data.close[0] else -0.5
"""
LABELS = """
import numpy as np


def known_later(bars, horizon):
    \"\"\"The direction of the bar after the one it may look at.\"\"\"
    up = np.full(len(bars), np.nan)
    late = np.log(bars.close[horizon + 1 :] / bars.close[horizon:-1])
    up[: len(late)] = late > 0
    return up
"""
SMALL = Plan(
    truncation_times=12,
    folds=1,
    interior=1,
    all_kinds_at_start=False,
    max_cuts=3,
    permutations=1,
    null_markets=1,
    planted=False,
    delay_bars=0,
)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    for plan in ("QUICK", "FULL", "REAL"):
        monkeypatch.setattr(leaks, plan, SMALL)
    monkeypatch.setattr(leaks, "STRATEGY_BARS", 120)


def _config(
    tmp_path: Path, *, features: tuple[str, ...] = (), strategy: str = "Follow", **more: Any
) -> Config:
    (tmp_path / "mine.py").write_text(FEATURES, encoding="utf-8")
    (tmp_path / "trades.py").write_text(STRATEGIES, encoding="utf-8")
    return configuration.resolve(
        {
            "market": {"simulate": {"bars": 1570, "edge": 0.2}},
            "features": {
                "modules": [str(tmp_path / "mine.py")],
                "include": ["return_1", "return_6", "volume_ratio_6_24", *features],
                "selection": {"method": "none"},
            },
            "walk_forward": {
                "train": "800bars",
                "validation": "150bars",
                "test": "300bars",
                "min_train_rows": 300,
            },
            "model": {"kind": "logistic"},
            "strategy": {"name": f"{tmp_path / 'trades.py'}:{strategy}"},
            **more,
        }
    )


def _audit(tmp_path: Path, *features: str, strategy: str = "Follow") -> LeakReport:
    return leaks.audit(_config(tmp_path, features=features, strategy=strategy))


def test_an_honest_configuration_is_not_accused(tmp_path: Path):
    """No error, and forecasts made bar by bar equal the batch."""
    report = _audit(tmp_path, "honest_change")
    assert [] == [f for f in report.findings if f.level == "error"]
    online = report.outcome("online signals")
    assert online is not None
    assert online.numbers["compared"] >= 24
    assert online.numbers["largest"] <= AGREEMENT


def test_a_leaking_feature_of_the_users_is_named(tmp_path: Path):
    """Truncation and perturbation both name the user's column, and the online check disagrees."""
    report = _audit(tmp_path, "tomorrow")
    named = {f.code: f.where for f in report.findings if "tomorrow" in f.where}
    assert {"K001", "K002", "L012"} <= set(named)
    assert "feature 'tomorrow'" == named["K001"]
    assert "K010" in {f.code for f in report.findings}
    assert 3 == report.exit_code


@pytest.mark.parametrize(
    ("strategy", "codes", "money"),
    [
        ("Peek", {"K008", "K013"}, "no edge: +"),
        ("Index", {"K008"}, "not judged: the strategy was refused"),
    ],
)
def test_a_strategy_that_reads_ahead_is_caught(
    tmp_path: Path, strategy: str, codes: set[str], money: str
):
    """Whether through an array of all bars, which earns on noise too, or by a positive index."""
    report = _audit(tmp_path, strategy=strategy)
    assert codes == {f.code for f in report.findings if f.level == "error"}
    account = report.outcome("null account")
    assert account is not None
    assert account.summary.startswith(money)


@pytest.mark.parametrize(
    ("full", "strict", "says"),
    [
        (True, False, ["by up to 0."]),
        (True, True, ["live it failed: ", "p_up of the model 'batchwise:FittedBatchwise' is nan"]),
        (False, False, []),
    ],
)
def test_signals_are_computed_bar_by_bar_with_the_users_own_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: bool, strict: bool, says: list[str]
):
    """One that standardises over the batch is caught in a full search, whether it can forecast
    alone or not; a quick one asks the stand-in.
    """
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "reference"))
    model = {"kind": "batchwise:Batchwise", "params": {"strict": strict}}
    report = leaks.audit(_config(tmp_path, model=model), full=full)
    online = report.outcome("online signals")
    assert online is not None
    assert online.summary.startswith("batchwise:Batchwise: " if full else "logistic: ")
    assert (["K010"] if full else []) == [f.code for f in online.findings]
    told = " ".join(finding.observed for finding in online.findings)
    assert [] == [words for words in says if words not in told]


@pytest.mark.parametrize("kind", ["majority", "xgb"])
def test_a_quick_model_is_asked_itself(tmp_path: Path, kind: str):
    """Fitted in seconds, so that no stand-in is needed; live and batch agree."""
    online = leaks.audit(_config(tmp_path, model={"kind": kind})).outcome("online signals")
    assert online is not None
    assert online.summary.startswith(f"{kind}: 48 decisions")
    assert () == online.findings


def test_a_label_of_the_users_that_reads_too_far_is_named(tmp_path: Path):
    """It changes after the moment at which it says it is known, and fits another bar's move."""
    (tmp_path / "mark.py").write_text(LABELS, encoding="utf-8")
    label = {"kind": f"{tmp_path / 'mark.py'}:known_later"}
    report = leaks.audit(_config(tmp_path, label=label))
    found = {(f.code, f.where) for f in report.findings if f.level == "error"}
    assert ("K002", "stage 'labels known'") in found
    assert "L006" in {code for code, _ in found}
    assert 3 == report.exit_code


def test_the_audit_is_shown_and_kept(tmp_path: Path):
    """The table names each detector, the blind spots follow, and JSON carries the same."""
    report = _audit(tmp_path)
    console = Console(record=True, width=160)
    leaks.show(report, console)
    text = console.export_text()
    assert all(outcome.detector in text for outcome in report.outcomes)
    assert "What this audit cannot see" in text
    kept = leaks.document(report)
    assert len(report.outcomes) == len(kept["detectors"])
    assert {"code", "level", "where", "message", "observed", "expected", "why", "advice"} == set(
        kept["findings"][0]
    )
