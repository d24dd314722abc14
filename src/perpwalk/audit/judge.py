"""The ordinary run's audit in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from perpwalk.audit.account import audit_account
from perpwalk.audit.evidence import Evidence, gather_evidence
from perpwalk.audit.labels import audit_labels
from perpwalk.audit.predictions import PredictionContext, audit_predictions
from perpwalk.audit.verdict import LeakAudit, Verdict, audit_document, verdict
from perpwalk.config import LabelSection
from perpwalk.domain import UNDEFINED_LABEL, Finding, FloatArray, Fold, LabelFrame, Market
from perpwalk.ledger import Ledger
from perpwalk.metrics import MetricsTable


@dataclass(frozen=True, eq=False)
class Judgement:
    """Verdict, findings and evidence of one run."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    evidence: Evidence

    def as_dict(self) -> dict[str, object]:
        """Return the contents of ``audit.json``."""
        return audit_document(self.verdict, self.findings, self.evidence)


def judge(
    *,
    market: Market,
    labels: LabelFrame,
    section: LabelSection,
    folds: Sequence[Fold],
    predictions: pd.DataFrame,
    ledger: Ledger,
    metrics: MetricsTable,
    other_findings: Sequence[Finding] = (),
    validation_scores: Mapping[int, FloatArray] | None = None,
    constant_by_design: bool = False,
    leak_audit: LeakAudit = "none",
    deflated_sharpe: float | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Judgement:
    """Audit labels, predictions and account, estimate the headline numbers, and weigh them.

    Parameters
    ----------
    predictions
        One row per test decision: ``close_time, fold, p_up, threshold, label, forward_return``.
    other_findings
        Those of stages that ran before (folds, fitting, a recomputed ledger); the market's own are
        taken from ``market``.
    validation_scores
        Forecasts on each fold's validation rows, for the drift check.
    constant_by_design
        True for the majority baseline.
    leak_audit, deflated_sharpe
        What is known of the search for leaks and of the trials so far; see ``verdict``.
    """
    bars = market.bars
    context = PredictionContext(
        horizon=labels.horizon,
        bar_interval=bars.interval,
        confidence=confidence,
        train_up_rate=train_up_rates(labels, folds),
        validation_scores=validation_scores,
        known_best=market.truth or None,
        constant_by_design=constant_by_design,
    )
    evidence = gather_evidence(
        predictions,
        ledger,
        horizon=labels.horizon,
        bar_interval=bars.interval,
        known_best=market.truth or None,
        confidence=confidence,
        seed=seed,
    )
    findings = (
        *market.findings,
        *other_findings,
        *audit_labels(labels, bars, section, folds),
        *audit_predictions(predictions, context),
        *audit_account(ledger, bars),
        *metrics.reasons,
        *evidence.findings,
    )
    judged = verdict(findings, evidence, leak_audit=leak_audit, deflated_sharpe=deflated_sharpe)
    return Judgement(judged, findings, evidence)


def train_up_rates(labels: LabelFrame, folds: Sequence[Fold]) -> dict[int, float]:
    """Return the share of ups among each fold's labelled train rows; 0.5 where there are none."""
    rates = {}
    for fold in folds:
        label = labels.label[fold.train.rows]
        label = label[label != UNDEFINED_LABEL]
        rates[fold.number] = float(np.mean(label)) if len(label) else 0.5
    return rates
