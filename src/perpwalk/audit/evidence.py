"""The headline numbers, each with an interval that knows about dependence in time.

Stationary bootstrap over the test decisions and over the bars of the replay. Accuracy is set
against three rules that need no model: the commoner class of the test, the last move going on, the
last move turning round.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from perpwalk.audit.estimates import (
    RESAMPLES,
    Setting,
    bootstrapped,
    cut_to_range,
    disagreement,
    of_forecasts,
    undefined,
)
from perpwalk.audit.money import gather_money
from perpwalk.domain import BoolArray, Finding, Level, about
from perpwalk.ledger import Ledger
from perpwalk.metrics import FEW_TRADES, Scored, scored_rows
from perpwalk.uncertainty.auc import delong_covariance, delong_interval, placements
from perpwalk.uncertainty.bootstrap import Target
from perpwalk.uncertainty.estimate import Estimate, two_sided_z
from perpwalk.uncertainty.proportions import wilson
from perpwalk.uncertainty.sharpe import SharpeStats

__all__ = ["AUC_RESAMPLES", "FEW_TRADES", "RESAMPLES", "Evidence", "gather_evidence", "naive_rules"]

AUC_RESAMPLES = 1000
Rules = Mapping[str, BoolArray]
RULES = ("majority of the test", "persistence", "reversal")
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
    auc_of
        The AUC of each contract, where the account holds several.
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
    auc_of: Mapping[str, Estimate] = field(default_factory=dict)
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
    auc_of = _auc_of_each(scored, setting, findings)
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
        auc_of=auc_of,
        findings=(*findings, *told, *_effective_rows(accuracy), *money.findings),
    )


# ── direction ────────────────────────────────────────────────────────────────────────────────────


def naive_rules(predictions: pd.DataFrame, scored: Scored, reach: pd.Timedelta) -> Rules:
    """Return what each rule without a model calls, True for up, shape (n,) each.

    The last move of the label's length is the forward return of the decision ``reach`` earlier: it
    is complete when this decision is made. Where it is unknown, persistence calls down and reversal
    up, so neither profits from what it does not know. Each of several contracts has its own moves
    and its own commoner class.
    """
    if scored.symbol is None:
        return _rules_of_one(predictions, scored, reach)
    called = {name: np.zeros(len(scored), dtype=bool) for name in RULES}
    for symbol, rows in scored.contracts():
        own = predictions[predictions["symbol"] == symbol]
        for name, calls in _rules_of_one(own, rows, reach).items():
            called[name][scored.symbol == symbol] = calls
    return called


def _rules_of_one(predictions: pd.DataFrame, scored: Scored, reach: pd.Timedelta) -> Rules:
    stamps = pd.DatetimeIndex(predictions["close_time"])
    past = pd.Series(predictions["forward_return"].astype(float).to_numpy(), index=stamps + reach)
    last_move = past[~past.index.duplicated()].reindex(scored.close_time).to_numpy()
    commoner = bool(scored.up.mean() >= 0.5) if len(scored) else True
    rose = last_move > 0
    return dict(zip(RULES, (np.full(len(scored), commoner), rose, ~rose), strict=True))


def _accuracy_and_edges(
    scored: Scored, rules: Rules, setting: Setting, findings: list[Finding]
) -> tuple[Estimate, dict[str, Estimate]]:
    """Return accuracy and its difference to each rule's, over the same resamples."""
    if len(scored) == 0:
        return undefined("no scored decisions", setting), {}
    hits = scored.hits.astype(float)
    targets = [Target.mean("accuracy", hits, scored.groups)] + [
        Target.mean(f"accuracy over {name}", hits - (called == scored.up), scored.groups)
        for name, called in rules.items()
    ]
    found = bootstrapped(targets, setting, findings)
    edges = dict(zip(rules, found[1:], strict=True))
    vif = scored.vif(hits, setting.horizon)
    accuracy = _with_effective(found[0], vif)
    twin = wilson(float(hits.sum()) / vif, len(hits) / vif, setting.confidence)
    findings += disagreement("accuracy", accuracy, twin, "Wilson")
    return cut_to_range(accuracy, "accuracy", findings), edges


def _with_effective(found: Estimate, vif: float) -> Estimate:
    return replace(found, n_eff=found.n / vif)


@of_forecasts
def _pooled_auc(scored: Scored, setting: Setting, findings: list[Finding]) -> Estimate:
    placed = placements(scored.up, scored.p_up)
    if placed is None:
        return undefined("the labels have one class", setting, len(scored))
    target = Target.auc("AUC", placed, scored.up, scored.p_up, scored.groups)
    (found,) = bootstrapped([target], setting, findings, AUC_RESAMPLES)
    vif = scored.auc_vif(placed, setting.horizon)
    twin = delong_interval(placed, setting.confidence, vif=vif)
    findings += disagreement("AUC", found, twin, "DeLong")
    return cut_to_range(_with_effective(found, vif), "AUC", findings)


def _auc_of_each(scored: Scored, setting: Setting, findings: list[Finding]) -> dict[str, Estimate]:
    """Return the AUC of each of several contracts; nothing where there is but one."""
    found: dict[str, Estimate] = {}
    for symbol, rows in scored.contracts():
        if symbol is not None:
            told: list[Finding] = []
            found[symbol] = _pooled_auc(rows, setting, told)
            findings += about(symbol, told)
    return found


@of_forecasts
def _brier(scored: Scored, setting: Setting, findings: list[Finding]) -> Estimate:
    if len(scored) == 0:
        return undefined("no scored decisions", setting)
    errors = (scored.p_up - scored.up) ** 2
    target = Target.mean("Brier score", errors, scored.groups)
    (found,) = bootstrapped([target], setting, findings)
    return _with_effective(found, scored.vif(errors, setting.horizon))


def fold_mean_auc(scored: Scored, setting: Setting) -> tuple[Estimate, list[Finding]]:
    """Return the mean of the folds' AUCs with the error that their own errors add up to."""
    values, variances = [], []
    pull = np.zeros(len(scored))
    for cell in _cells(scored):
        rows = scored.part(cell)
        placed = placements(rows.up, rows.p_up)
        if placed is None or min(len(placed.positive), len(placed.negative)) < 2:
            continue
        vif = rows.auc_vif(placed, setting.horizon)
        values.append(placed.auc)
        variances.append(vif * float(delong_covariance(placed)[0, 0]))
        pull[cell] = placed.influence(rows.up) / len(rows)
    if not values:
        return undefined("no fold has both classes", setting, len(scored)), []
    mean = float(np.mean(values))
    error = math.sqrt(sum(variances))
    if scored.symbol is not None:  # contracts of one stamp err together
        error = math.sqrt(scored.vif(pull, setting.horizon) * float(np.sum(pull**2)))
    half = two_sided_z(setting.confidence) * error / len(values)
    found = Estimate(
        value=mean,
        low=mean - half,
        high=mean + half,
        level=setting.confidence,
        method=f"mean of {len(values)} {'folds' if scored.symbol is None else 'fits'}, "
        "DeLong errors",
        n=len(scored),
    )
    told: list[Finding] = []
    return cut_to_range(found, "mean of the folds' AUCs", told), told


def _cells(scored: Scored) -> Iterator[BoolArray]:
    """Yield the rows that one fit forecast, fit by fold and contract."""
    for symbol in (None,) if scored.symbol is None else dict.fromkeys(scored.symbol.tolist()):
        own = np.ones(len(scored), bool) if symbol is None else scored.symbol == symbol
        for number in np.unique(scored.fold[own]):
            yield own & (scored.fold == number)


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
