"""The headline numbers, each with an interval that knows about dependence in time.

Stationary bootstrap over the test decisions and over the bars of the replay. Accuracy is set
against three rules that need no model: the commoner class of the test, the last move going on, the
last move turning round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from perpwalk.audit.estimates import (
    RESAMPLES,
    Setting,
    bootstrapped,
    cut_to_range,
    disagreement,
    undefined,
)
from perpwalk.audit.money import gather_money
from perpwalk.domain import BoolArray, Finding, FloatArray, Level
from perpwalk.ledger import Ledger
from perpwalk.metrics import FEW_TRADES, Scored, auc_vif, scored_rows
from perpwalk.uncertainty.auc import delong_covariance, delong_interval, placements
from perpwalk.uncertainty.bootstrap import Target, auc_of
from perpwalk.uncertainty.estimate import Estimate, two_sided_z
from perpwalk.uncertainty.overlap import estimated_vif
from perpwalk.uncertainty.proportions import wilson
from perpwalk.uncertainty.sharpe import SharpeStats

__all__ = ["AUC_RESAMPLES", "FEW_TRADES", "RESAMPLES", "Evidence", "gather_evidence", "naive_rules"]

AUC_RESAMPLES = 1000
Rules = Mapping[str, BoolArray]
UNKNOWN = Estimate(value=None, reason="not estimated")


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
        Annualised, net; ``sharpe_stats`` is per bar.
    probability_of_skill
        That the true Sharpe ratio is above 0 (2012 form), before any deflation for search.
    break_even_fee, fee_paid
        Fractions of notional per side.
    break_even_accuracy
        Hit rate that would pay the fees and slippage of a round trip, hits and misses being
        equally large; None without trades.
    total_return, max_drawdown
        Compounded and net; the drawdown's bounds are a band for another path of as many bars.
    win_rate, profit_factor
        Of finished trades; None below ``FEW_TRADES``.
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
    sharpe_stats: SharpeStats | None = None
    break_even_accuracy: float | None = None
    brier: Estimate = UNKNOWN
    total_return: Estimate = UNKNOWN
    max_drawdown: Estimate = UNKNOWN
    win_rate: Estimate = UNKNOWN
    profit_factor: Estimate = UNKNOWN
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


def gather_evidence(
    predictions: pd.DataFrame,
    ledger: Ledger,
    *,
    horizon: int,
    bar_interval: pd.Timedelta,
    known_best: Mapping[str, float] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Evidence:
    """Estimate everything the verdict asks for.

    Parameters
    ----------
    predictions
        As for ``metrics_table``.
    known_best
        ``best_accuracy`` of a simulated market, whose Sharpe ratio may rightly be enormous.
    seed
        Of the bootstrap; the same seed gives the same intervals.
    """
    setting = Setting(horizon=horizon, confidence=confidence, seed=seed)
    scored = scored_rows(predictions)
    findings: list[Finding] = []
    rules = naive_rules(predictions, scored, horizon * bar_interval)
    accuracy, edges = _accuracy_and_edges(scored, rules, setting, findings)
    auc = _pooled_auc(scored, setting, findings)
    fold_mean, told = fold_mean_auc(scored, setting)
    money = gather_money(ledger, bar_interval, setting, known_best)
    moved = float(np.abs(scored.forward_return).mean()) if len(scored) else 0.0
    return Evidence(
        accuracy=accuracy,
        auc=auc,
        fold_mean_auc=fold_mean,
        edges=edges,
        mean_return=money.mean_return,
        sharpe=money.sharpe,
        sharpe_stats=money.sharpe_stats,
        probability_of_skill=money.probability_of_skill,
        break_even_fee=money.costs.break_even_fee,
        fee_paid=money.costs.fee_paid,
        break_even_accuracy=money.break_even_accuracy(moved),
        trades=money.trades,
        brier=_brier(scored, setting, findings),
        total_return=money.total_return,
        max_drawdown=money.max_drawdown,
        win_rate=money.win_rate,
        profit_factor=money.profit_factor,
        findings=(*findings, *told, *_effective_rows(accuracy), *money.findings),
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


def _accuracy_and_edges(
    scored: Scored, rules: Rules, setting: Setting, findings: list[Finding]
) -> tuple[Estimate, dict[str, Estimate]]:
    """Return accuracy and its difference to each rule's, over the same resamples."""
    if len(scored) == 0:
        return undefined("no scored decisions", setting), {}
    hits = scored.hits.astype(float)
    targets = [Target.mean("accuracy", hits)] + [
        Target.mean(f"accuracy over {name}", hits - (called == scored.up))
        for name, called in rules.items()
    ]
    found = bootstrapped(targets, setting, findings)
    edges = dict(zip(rules, found[1:], strict=True))
    accuracy = _with_effective(found[0], hits, setting)
    vif = _vif(hits, setting)
    twin = wilson(float(hits.sum()) / vif, len(hits) / vif, setting.confidence)
    findings += disagreement("accuracy", accuracy, twin, "Wilson")
    return cut_to_range(accuracy, "accuracy", findings), edges


def _vif(values: FloatArray, setting: Setting) -> float:
    return 1.0 if setting.horizon <= 1 else estimated_vif(values, setting.horizon)


def _with_effective(found: Estimate, values: FloatArray, setting: Setting) -> Estimate:
    return replace(found, n_eff=found.n / _vif(values, setting))


def _pooled_auc(scored: Scored, setting: Setting, findings: list[Finding]) -> Estimate:
    placed = placements(scored.up, scored.p_up)
    if placed is None:
        return undefined("the labels have one class", setting, len(scored))
    influence = placed.influence(scored.up)
    target = Target("AUC", placed.auc, auc_of(scored.up, scored.p_up), influence)
    (found,) = bootstrapped([target], setting, findings, AUC_RESAMPLES)
    twin = delong_interval(placed, setting.confidence, vif=_vif(influence, setting))
    findings += disagreement("AUC", found, twin, "DeLong")
    return cut_to_range(_with_effective(found, influence, setting), "AUC", findings)


def _brier(scored: Scored, setting: Setting, findings: list[Finding]) -> Estimate:
    if len(scored) == 0:
        return undefined("no scored decisions", setting)
    errors = (scored.p_up - scored.up) ** 2
    (found,) = bootstrapped([Target.mean("Brier score", errors)], setting, findings)
    return _with_effective(found, errors, setting)


def fold_mean_auc(scored: Scored, setting: Setting) -> tuple[Estimate, list[Finding]]:
    """Return the mean of the folds' AUCs with the error that their own errors add up to."""
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
        return undefined("no fold has both classes", setting, len(scored)), []
    mean = float(np.mean(values))
    half = two_sided_z(setting.confidence) * math.sqrt(sum(variances)) / len(values)
    found = Estimate(
        value=mean,
        low=mean - half,
        high=mean + half,
        level=setting.confidence,
        method=f"mean of {len(values)} folds, DeLong errors",
        n=len(scored),
    )
    told: list[Finding] = []
    return cut_to_range(found, "mean of the folds' AUCs", told), told


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
