"""The audit of what a configuration names: the user's own features and strategy alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from engine import leaks
from perpwalk import config as configuration
from perpwalk.audit.leaks import LeakReport, Plan
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
    monkeypatch.setattr(leaks, "QUICK", SMALL)
    monkeypatch.setattr(leaks, "STRATEGY_BARS", 120)


def _config(tmp_path: Path, *, features: tuple[str, ...], strategy: str) -> Config:
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
    assert online.numbers["largest"] <= leaks.AGREEMENT


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
