"""The headline numbers, each with an interval that knows about dependence in time.

Stationary bootstrap over the test decisions and over the bars of the replay. Accuracy is set
against three rules that need no model: the commoner class of the test, the last move going on, the
last move turning round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from perpwalk import returns as growth
from perpwalk.costs import CostSummary
from perpwalk.domain import BoolArray, Finding, FloatArray, Level
from perpwalk.ledger import Ledger
from perpwalk.metrics import Scored, auc_vif, scored_rows
from perpwalk.uncertainty.auc import delong_covariance, placements
from perpwalk.uncertainty.bootstrap import Target, auc_of, bootstrap_estimates, sharpe_of
from perpwalk.uncertainty.estimate import Estimate, two_sided_z
from perpwalk.uncertainty.overlap import estimated_vif
from perpwalk.uncertainty.sharpe import probabilistic_sharpe, sharpe_stats

RESAMPLES = 2000
AUC_RESAMPLES = 1000
SHARPE_WARN, SHARPE_ERROR = 3.0, 6.0
FEW_TRADES = 30
Rules = Mapping[str, BoolArray]


@dataclass(frozen=True, eq=False, kw_only=True)
class Evidence:
    """What the verdict rests on.

    Attributes
    ----------
    accuracy, auc
        Over all scored test decisions pooled.
    fold_mean_auc
        Mean of the folds' AUCs: pooling mixes the calibration of different fits.
    edges
        Accuracy minus that of each naive rule, paired.
    mean_return
        Net return per bar.
    sharpe
        Annualised, net.
    probability_of_skill
        That the true Sharpe ratio is above 0 (2012 form), before any deflation for search.
    break_even_fee, fee_paid
        Fractions of notional per side.
    """

    accuracy: Estimate
    auc: Estimate
    fold_mean_auc: Estimate
    edges: Mapping[str, Estimate]
    mean_return: Estimate
    sharpe: Estimate
    probability_of_skill: float | None
    break_even_fee: float | None
    fee_paid: float | None
    trades: int
    findings: tuple[Finding, ...] = ()

    @property
    def best_rule(self) -> str | None:
        """The naive rule that is hardest to beat."""
        known = {name: e.value for name, e in self.edges.items() if e.value is not None}
        return min(known, key=lambda name: known[name]) if known else None

    @property
    def edge(self) -> Estimate:
        """Accuracy over the best naive rule."""
        best = self.best_rule
        return Estimate(value=None, reason="no scored decisions") if best is None else (
            self.edges[best]
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Setting:
    horizon: int
    confidence: float
    seed: int


def gather_evidence(
    predictions: pd.DataFrame,
    ledger: Ledger,
    *,
    horizon: int,
    bar_interval: pd.Timedelta,
    trades: int,
    confidence: float = 0.95,
    seed: int = 0,
) -> Evidence:
    """Estimate everything the verdict asks for.

    Parameters
    ----------
    predictions
        As for ``metrics_table``.
    trades
        Number of finished round trips.
    seed
        Of the bootstrap; the same seed gives the same intervals.
    """
    setting = _Setting(horizon=horizon, confidence=confidence, seed=seed)
    scored = scored_rows(predictions)
    findings: list[Finding] = []
    rules = naive_rules(predictions, scored, horizon * bar_interval)
    accuracy, edges = _accuracy_and_edges(scored, rules, setting, findings)
    auc = _pooled_auc(scored, setting, findings)
    returns = growth.equity_returns(
        ledger.initial_cash, ledger.equity["equity"].to_numpy(dtype=float)
    )
    mean, sharpe = _money(returns, bar_interval, setting, findings)
    stats = sharpe_stats(returns)
    costs = CostSummary.of(ledger.equity)
    return Evidence(
        accuracy=accuracy,
        auc=auc,
        fold_mean_auc=_fold_mean_auc(scored, setting),
        edges=edges,
        mean_return=mean,
        sharpe=sharpe,
        probability_of_skill=None if stats is None else probabilistic_sharpe(stats),
        break_even_fee=costs.break_even_fee,
        fee_paid=costs.fee_paid,
        trades=trades,
        findings=(*findings, *_effective_rows(accuracy), *_sharpe_alarm(sharpe)),
    )


# ── direction ────────────────────────────────────────────────────────────────────────────────────


def naive_rules(predictions: pd.DataFrame, scored: Scored, reach: pd.Timedelta) -> Rules:
    """Return what each rule without a model calls, True for up, shape (n,) each.

    The last move of the label's length is the forward return of the decision ``reach`` earlier: it
    is complete when this decision is made. Where it is unknown, persistence calls down and reversal
    up, so neither profits from what it does not know.
    """
    stamps = pd.DatetimeIndex(predictions["close_time"])
    past = pd.Series(predictions["forward_return"].astype(float).to_numpy(), index=stamps + reach)
    last_move = past[~past.index.duplicated()].reindex(scored.close_time).to_numpy()
    commoner = bool(scored.up.mean() >= 0.5) if len(scored) else True
    rose = last_move > 0
    return {
        "majority of the test": np.full(len(scored), commoner),
        "persistence": rose,
        "reversal": ~rose,
    }


def _undefined(reason: str, setting: _Setting, n: int = 0) -> Estimate:
    return Estimate(value=None, level=setting.confidence, n=n, reason=reason)


def _accuracy_and_edges(
    scored: Scored, rules: Rules, setting: _Setting, findings: list[Finding]
) -> tuple[Estimate, dict[str, Estimate]]:
    """Return accuracy and its difference to each rule's, over the same resamples."""
    if len(scored) == 0:
        return _undefined("no scored decisions", setting), {}
    hits = scored.hits.astype(float)
    targets = [Target.mean("accuracy", hits)] + [
        Target.mean(f"accuracy over {name}", hits - (called == scored.up))
        for name, called in rules.items()
    ]
    found = _bootstrapped(targets, setting, findings)
    edges = dict(zip(rules, found[1:], strict=True))
    return _with_effective(found[0], hits, setting), edges


def _bootstrapped(
    targets: Sequence[Target],
    setting: _Setting,
    findings: list[Finding],
    resamples: int = RESAMPLES,
) -> tuple[Estimate, ...]:
    estimates, told = bootstrap_estimates(
        targets, horizon=setting.horizon, confidence=setting.confidence, resamples=resamples,
        seed=setting.seed,
    )  # fmt: skip
    findings.extend(told)
    return estimates


def _with_effective(found: Estimate, values: FloatArray, setting: _Setting) -> Estimate:
    vif = 1.0 if setting.horizon <= 1 else estimated_vif(values, setting.horizon)
    return replace(found, n_eff=found.n / vif)


def _pooled_auc(scored: Scored, setting: _Setting, findings: list[Finding]) -> Estimate:
    placed = placements(scored.up, scored.p_up)
    if placed is None:
        return _undefined("the labels have one class", setting, len(scored))
    influence = placed.influence(scored.up)
    target = Target("AUC", placed.auc, auc_of(scored.up, scored.p_up), influence)
    (found,) = _bootstrapped([target], setting, findings, AUC_RESAMPLES)
    return _with_effective(found, influence, setting)


def _fold_mean_auc(scored: Scored, setting: _Setting) -> Estimate:
    values, variances = [], []
    for number in np.unique(scored.fold):
        rows = scored.part(scored.fold == number)
        placed = placements(rows.up, rows.p_up)
        if placed is None or min(len(placed.positive), len(placed.negative)) < 2:
            continue
        vif = auc_vif(placed, rows.up, setting.horizon)
        values.append(placed.auc)
        variances.append(vif * float(delong_covariance(placed)[0, 0]))
    if not values:
        return _undefined("no fold has both classes", setting, len(scored))
    mean = float(np.mean(values))
    half = two_sided_z(setting.confidence) * math.sqrt(sum(variances)) / len(values)
    return Estimate(
        value=mean,
        low=max(0.0, mean - half),
        high=min(1.0, mean + half),
        level=setting.confidence,
        method=f"mean of {len(values)} folds, DeLong errors",
        n=len(scored),
    )


# ── money ────────────────────────────────────────────────────────────────────────────────────────


def _money(
    returns: FloatArray, interval: pd.Timedelta, setting: _Setting, findings: list[Finding]
) -> tuple[Estimate, Estimate]:
    """Return the mean return per bar and the annualised Sharpe ratio."""
    stats = sharpe_stats(returns)
    if stats is None:
        reason = "the equity had no variance"
        return _undefined(reason, setting, len(returns)), _undefined(reason, setting, len(returns))
    ratio = Target("Sharpe ratio", stats.sharpe, sharpe_of(returns), returns)
    mean, found = _bootstrapped([Target.mean("mean net return", returns), ratio], setting, findings)
    scale = math.sqrt(growth.bars_per_year(interval))
    return mean, replace(
        found,
        value=stats.sharpe * scale,
        low=None if found.low is None else found.low * scale,
        high=None if found.high is None else found.high * scale,
    )


def _effective_rows(accuracy: Estimate) -> tuple[Finding, ...]:
    if accuracy.n_eff is None or accuracy.n_eff >= 400:
        return ()
    return (
        Finding(
            code="U003",
            level=Level.ERROR if accuracy.n_eff < 100 else Level.WARN,
            where="test",
            message="the test is worth few independent decisions",
            observed=f"about {accuracy.n_eff:.0f} of {accuracy.n:,}",
            expected="at least 400; an error below 100",
            why="so few cannot tell a small edge from luck",
            advice="test over a longer span",
        ),
    )


def _sharpe_alarm(sharpe: Estimate) -> tuple[Finding, ...]:
    if sharpe.low is None or sharpe.low <= SHARPE_WARN:
        return ()
    return (
        Finding(
            code="P011",
            level=Level.ERROR if sharpe.low > SHARPE_ERROR else Level.WARN,
            where="all",
            message="the Sharpe ratio after costs is better than any clean result known",
            observed=f"lower bound {sharpe.low:.2f}",
            expected=f"at most {SHARPE_WARN:.0f}; presumed wrong above {SHARPE_ERROR:.0f}",
            why="results like this have so far been leaks or missing costs",
            advice="run `perpwalk audit` on the configuration before believing it",
        ),
    )
