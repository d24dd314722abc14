"""The deflated Sharpe ratio: how much of a ratio the best of so many lucky tries would have had.

Bailey & López de Prado 2014. What is known of the trials is taken down once, when a run is judged
(``survey``), and kept with the run: the ledger grows, a verdict does not change behind anybody's
back. From there on everything is a pure function (``deflate``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perpwalk import trials
from perpwalk.domain import FloatArray
from perpwalk.trials import TrialCount, TrialLedger
from perpwalk.uncertainty.multiple import effective_trials
from perpwalk.uncertainty.sharpe import SharpeStats, expected_maximum, probabilistic_sharpe

LEAST_DAYS = 30  # common days below which two trials count as different
MOST_TRIALS = 400  # the latest ones whose correlation is looked at; older ones count one each


@dataclass(frozen=True, kw_only=True)
class TrialsSoFar:
    """What the ledger of a workspace said when a run was judged; the run itself included.

    Attributes
    ----------
    n
        Distinct questions, damaged lines and what was declared to come before.
    effective
        How many independent trials they are worth: the effective rank of the correlation of daily
        returns, and one for each trial whose returns are not known.
    prior
        Declared earlier trials; None where nobody said.
    known, variance
        How many trials' Sharpe ratios are known, and their variance per bar (None below two).
    """

    n: int
    effective: float
    questions: int
    damaged: int
    prior: int | None
    known: int
    variance: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> TrialsSoFar:
        """Return what ``as_dict`` wrote."""
        return cls(**values)

    @property
    def undeclared(self) -> bool:
        """Whether this is a single question and nobody said what was tried before."""
        return self.n <= 1 and self.prior is None

    def as_text(self) -> str:
        """Say both numbers of trials in words."""
        before = "none declared" if self.prior is None else f"{self.prior} declared"
        damaged = f", {self.damaged} damaged lines" if self.damaged else ""
        return (
            f"{self.n} trials worth {self.effective:.1f} independent ones ({self.questions} "
            f"distinct questions in this workspace{damaged}; before: {before})"
        )


def survey(
    results: Path,
    *,
    bar_seconds: float,
    digest: str | None = None,
    sharpe: float | None = None,
    daily: pd.Series | None = None,
    prior: int | None = None,
    experiment: str | None = None,
) -> tuple[TrialsSoFar, TrialCount, TrialLedger]:
    """Take down what the ledger says now.

    Parameters
    ----------
    digest, sharpe, daily
        The question being judged, its Sharpe ratio per bar and its daily returns, where its run
        has begun but not ended yet: they then count as known.
    prior
        Earlier trials declared just now.

    Returns
    -------
    tuple
        What the verdict rests on, the count with all its details, and the ledger as it was read.
    """
    ledger = trials.read(results).of(experiment)
    counted = trials.count_of(ledger, prior)
    known = trials.latest_sharpes(ledger, bar_seconds)
    if digest is not None and sharpe is not None:
        known[digest] = sharpe
    ratios = np.array(list(known.values()))
    found = TrialsSoFar(
        n=counted.n,
        effective=_effective(results, ledger, counted.n, digest, daily),
        questions=counted.questions,
        damaged=counted.damaged,
        prior=counted.prior,
        known=len(ratios),
        variance=float(ratios.var(ddof=1)) if len(ratios) > 1 else None,
    )
    return found, counted, ledger


def _effective(
    results: Path, ledger: TrialLedger, n: int, digest: str | None, daily: pd.Series | None
) -> float:
    """Return the number of independent trials that ``n`` are worth; the unknown count one each."""
    latest = {trial.digest: trial for trial in ledger.trials if trial.returns is not None}
    series = {
        key: found
        for key, trial in list(latest.items())[-MOST_TRIALS:]
        if (found := trials.read_returns(results, trial)) is not None
    }
    if digest is not None and daily is not None:
        series[digest] = daily.set_axis(pd.DatetimeIndex(daily.index).tz_localize(None))
    worth = effective_trials(_correlation(list(series.values()))) if series else 0.0
    known = set(series)
    for one in ledger.sweeps:  # alike among themselves; what sweeps have in common counts once
        fresh = set(one.ratios or ()) - known
        known |= fresh
        worth += min(one.worth, len(fresh))
    # Rounded, so that the last bits of an eigenvalue are nobody's business.
    return round(n - len(known) + worth, 6)


def _correlation(series: list[pd.Series]) -> FloatArray:
    """Return the correlations over common days; 0 where there are too few or nothing varies."""
    table = pd.concat(series, axis=1, keys=range(len(series)), sort=True)
    found = table.corr(min_periods=LEAST_DAYS).fillna(0.0).to_numpy(copy=True)
    np.fill_diagonal(found, 1.0)
    return found


# ── deflating ────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Deflated:
    """The deflated Sharpe ratio and what it rests on.

    Attributes
    ----------
    probability
        Chance that the true ratio exceeds that of the best of so many lucky trials; None where
        it cannot be said, and ``reason`` says why.
    undeflated
        The same against 0 (probabilistic Sharpe ratio).
    lucky
        The ratio per bar that the best of so many null trials is expected to reach.
    variance, method
        Variance of the trials' ratios per bar, and where it comes from.
    """

    probability: float | None
    undeflated: float | None
    lucky: float | None
    variance: float | None
    method: str
    trials: TrialsSoFar | None
    reason: str | None = None


def deflate(stats: SharpeStats | None, so_far: TrialsSoFar | None) -> Deflated:
    """Deflate a Sharpe ratio per bar by the trials so far.

    Two readings are possible, and the one that leaves less is taken. All trials at the variance
    seen across their ratios (the paper's; only where all ratios are known); and the independent
    ones they are worth, at no less than the sampling variance of the ratio itself: trials nobody
    has seen need not have been alike, and alike ones vary less than luck does. A single question
    without a declaration of what came before gets nothing: a first result is nearly always not
    the first try.
    """
    undeflated = None if stats is None else probabilistic_sharpe(stats)

    def unknown(reason: str) -> Deflated:
        return Deflated(
            probability=None, undeflated=undeflated, lucky=None, variance=None, method="",
            trials=so_far, reason=reason,
        )  # fmt: skip

    if stats is None:
        return unknown("the Sharpe ratio is undefined")
    if so_far is None:
        return unknown("no ledger counts the trials")
    if so_far.undeclared:
        return unknown(
            "one trial on record and none declared: say with --prior-trials N how many came "
            "before (0 if none)"
        )
    lucky, variance, method = max(_readings(stats, so_far))
    return Deflated(
        probability=probabilistic_sharpe(stats, lucky), undeflated=undeflated, lucky=lucky,
        variance=variance, method=method, trials=so_far,
    )  # fmt: skip


def _readings(stats: SharpeStats, so_far: TrialsSoFar) -> list[tuple[float, float, str]]:
    """Return the expected best ratio by luck, the variance and the words, of each reading."""
    sampling, observed = stats.mertens_error() ** 2, so_far.variance or 0.0
    worth = math.ceil(so_far.effective - 1e-6)
    harsher = max(sampling, observed)
    source = "sampling variance" if harsher == sampling else f"variance of {so_far.known} ratios"
    found = [(math.sqrt(harsher) * expected_maximum(worth), harsher, f"{worth} trials, {source}")]
    if so_far.known >= max(so_far.n, 2):
        words = f"{_several(so_far.n)}, variance across their ratios"
        found.append((math.sqrt(observed) * expected_maximum(so_far.n), observed, words))
    return found


def _several(trials: int) -> str:
    return "one trial" if trials == 1 else f"{trials} trials"


def deflated(
    results: Path,
    stats: SharpeStats | None,
    *,
    bar_seconds: float,
    digest: str | None = None,
    daily: pd.Series | None = None,
    prior: int | None = None,
    experiment: str | None = None,
) -> Deflated:
    """Deflate a Sharpe ratio per bar by the trials that this workspace has seen until now."""
    found, _, _ = survey(
        results, bar_seconds=bar_seconds, digest=digest, daily=daily, prior=prior,
        sharpe=None if stats is None else stats.sharpe, experiment=experiment,
    )  # fmt: skip
    return deflate(stats, found)
