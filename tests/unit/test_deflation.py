"""The deflated Sharpe ratio: counted by the ledger, taken down once, deflated by pure functions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perpwalk import trials
from perpwalk.deflation import TrialsSoFar, deflate, deflated, survey
from perpwalk.uncertainty import sharpe


def begun(results: Path, digest: str = "a") -> trials.Trial:
    return trials.begin(results, experiment="exp", variant="base", digest=digest)


def ran(results: Path, digest: str, ratio: float | None, daily: pd.Series | None = None) -> None:
    with begun(results, digest) as trial:
        trial.finish(
            verdict="inconclusive", sharpe=ratio, bars=1000, bar_seconds=3600.0, daily=daily
        )


def days(values: np.ndarray) -> pd.Series:
    return pd.Series(values, index=pd.date_range("2024-01-01", periods=len(values)))


STATS = sharpe.SharpeStats(sharpe=0.05, skew=-0.5, kurtosis=6.0, n=5000)


def test_a_lone_undeclared_trial_is_not_deflated(tmp_path: Path) -> None:
    """It asks for --prior-trials; declared as the first, it equals the probabilistic ratio."""
    ran(tmp_path, "a", 0.05)
    alone = deflated(tmp_path, STATS, bar_seconds=3600)
    declared = deflated(tmp_path, STATS, bar_seconds=3600, prior=0)

    assert alone.probability is None
    assert "--prior-trials" in str(alone.reason)
    assert sharpe.probabilistic_sharpe(STATS) == declared.probability == alone.undeflated


def test_more_trials_deflate_more(tmp_path: Path) -> None:
    """The deflated ratio uses the trials' number and variance, as in the paper."""
    ratios = [0.05, 0.03, -0.02, 0.01]
    for number, ratio in enumerate(ratios):
        ran(tmp_path, str(number), ratio)
    found = deflated(tmp_path, STATS, bar_seconds=3600)
    more = deflated(tmp_path, STATS, bar_seconds=3600, prior=200)

    assert sharpe.deflated_sharpe(STATS, 4, float(np.var(ratios, ddof=1))) == found.probability
    assert more.probability is not None
    assert more.probability < found.probability < sharpe.probabilistic_sharpe(STATS)


def test_unseen_trials_are_not_assumed_alike(tmp_path: Path) -> None:
    """Where ratios are unknown the variance is at least the sampling variance of the ratio."""
    ran(tmp_path, "a", 0.05)
    begun(tmp_path, "b")
    found = deflated(tmp_path, STATS, bar_seconds=3600)

    assert STATS.mertens_error() ** 2 == found.variance
    assert "2 trials, sampling variance" == found.method


def test_the_ratio_of_the_run_being_judged_counts_as_known(tmp_path: Path) -> None:
    """A run that has not ended yet takes part with the ratio it is asking about."""
    ran(tmp_path, "a", 0.01)
    with begun(tmp_path, "b") as trial:
        during = deflated(tmp_path, STATS, bar_seconds=3600, digest="b")
        trial.finish(verdict="supported", sharpe=STATS.sharpe, bars=5000, bar_seconds=3600.0)
    after = deflated(tmp_path, STATS, bar_seconds=3600)

    assert after.variance == during.variance == pytest.approx(np.var([0.01, 0.05], ddof=1))
    assert after.probability == during.probability


def test_an_undefined_ratio_has_no_deflated_one(tmp_path: Path) -> None:
    """Without variance there is nothing to deflate, and the answer says so."""
    ran(tmp_path, "a", None)
    found = deflated(tmp_path, None, bar_seconds=3600, prior=3)

    assert (None, "the Sharpe ratio is undefined") == (found.probability, found.reason)


def test_copies_of_one_strategy_are_worth_one_trial(tmp_path: Path) -> None:
    """Six near copies count six and are worth about one; six strangers are worth six."""
    rng = np.random.default_rng(2)
    base = rng.normal(0, 0.01, 300)
    for number in range(6):
        ran(tmp_path / "alike", str(number), 0.05, days(base + rng.normal(0, 1e-5, 300)))
        ran(tmp_path / "unlike", str(number), 0.05 + 0.001 * number, days(rng.normal(size=300)))
    alike, _, _ = survey(tmp_path / "alike", bar_seconds=3600)
    unlike, _, _ = survey(tmp_path / "unlike", bar_seconds=3600)

    assert (6, 6) == (alike.n, unlike.n)
    assert 1.0 == pytest.approx(alike.effective, abs=0.01)
    assert 5.8 < unlike.effective <= 6.0
    assert deflate(STATS, unlike).probability < deflate(STATS, alike).probability
    assert "6 trials worth 1.0 independent ones" in alike.as_text()


def test_returns_that_were_changed_or_lost_make_a_trial_independent(tmp_path: Path) -> None:
    """Whoever makes trials look alike by editing their returns gains nothing."""
    base = np.random.default_rng(3).normal(0, 0.01, 300)
    for number in range(3):
        ran(tmp_path, str(number), 0.05, days(base))
    assert 1.0 == survey(tmp_path, bar_seconds=3600)[0].effective
    trials.returns_file(tmp_path, "0").write_text("day,return\n2024-01-01,0.5\n")
    trials.returns_file(tmp_path, "1").unlink()

    assert 3.0 == survey(tmp_path, bar_seconds=3600)[0].effective


def test_trials_without_common_days_are_strangers(tmp_path: Path) -> None:
    """Two copies tested on different years cannot be told to be copies."""
    base = np.random.default_rng(3).normal(0, 0.01, 300)
    ran(tmp_path, "a", 0.05, days(base))
    ran(tmp_path, "b", 0.05, days(base).set_axis(pd.date_range("2020-01-01", periods=300)))

    assert 2.0 == survey(tmp_path, bar_seconds=3600)[0].effective


def test_what_was_taken_down_survives_being_written(tmp_path: Path) -> None:
    """From JSON it deflates to the same figure: a run can be judged again without the ledger."""
    ran(tmp_path, "a", 0.01)
    ran(tmp_path, "b", 0.03)
    found, _, _ = survey(tmp_path, bar_seconds=3600, prior=4)
    again = TrialsSoFar.of(json.loads(json.dumps(found.as_dict())))

    assert found == again
    assert deflate(STATS, found).probability == deflate(STATS, again).probability
