"""The ordinary run's audit in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from perpwalk.audit.account import audit_account
from perpwalk.audit.document import REASON, audit_document, evidence_from
from perpwalk.audit.evidence import Evidence, gather_evidence
from perpwalk.audit.labels import audit_labels
from perpwalk.audit.outside import Outside, finding_of, of_search
from perpwalk.audit.predictions import PredictionContext, audit_predictions
from perpwalk.audit.verdict import Verdict, verdict
from perpwalk.config import BrokerSection, LabelSection
from perpwalk.domain import UNDEFINED_LABEL, Finding, FloatArray, Fold, LabelFrame, Market
from perpwalk.ledger import Ledger
from perpwalk.metrics import MetricsTable


@dataclass(frozen=True, eq=False)
class Judgement:
    """Verdict, findings and evidence of one run."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    evidence: Evidence
    outside: Outside = field(default_factory=Outside)

    def as_dict(self) -> dict[str, object]:
        """Return the contents of ``audit.json``."""
        return audit_document(self.verdict, self.findings, self.evidence, self.outside)


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
    broker: BrokerSection | None = None,
    outside: Outside | None = None,
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
    broker
        Whose cost schedule is looked at.
    outside
        What is known of the search for leaks and of the trials so far.
    """
    bars, outside = market.bars, outside or Outside()
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
        *audit_account(ledger, bars, broker),
        *metrics.reasons,
        *evidence.findings,
        *outside.leak_findings,
    )
    return Judgement(verdict(findings, evidence, outside=outside), findings, evidence, outside)


def judge_again(audit: Mapping[str, Any], outside: Outside) -> dict[str, object]:
    """Return an ``audit.json`` with its verdict made again over what is known now.

    Findings and evidence of the run itself stay as they are; what came from ``Outside`` before is
    replaced. The acceptance of a suspicion is not carried over: it spoke of another verdict.
    """
    kept = [e for e in audit["findings"] if e["code"] != REASON and not of_search(e)]
    findings = (*(finding_of(entry) for entry in kept), *outside.leak_findings)
    evidence = evidence_from(audit["evidence"])
    return audit_document(verdict(findings, evidence, outside=outside), findings, evidence, outside)


def train_up_rates(labels: LabelFrame, folds: Sequence[Fold]) -> dict[int, float]:
    """Return the share of ups among each fold's labelled train rows; 0.5 where there are none."""
    rates = {}
    for fold in folds:
        label = labels.label[fold.train.rows]
        label = label[label != UNDEFINED_LABEL]
        rates[fold.number] = float(np.mean(label)) if len(label) else 0.5
    return rates
