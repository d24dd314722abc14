"""The ordinary run's audit in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from perpwalk.audit.account import audit_account
from perpwalk.audit.document import REASON, audit_document, evidence_from
from perpwalk.audit.evidence import Evidence, gather_evidence
from perpwalk.audit.labels import audit_labels
from perpwalk.audit.outside import Outside, finding_of, from_outside
from perpwalk.audit.predictions import PredictionContext, audit_pooled, audit_predictions
from perpwalk.audit.seeds import SeedBand
from perpwalk.audit.verdict import Verdict, verdict
from perpwalk.config import BrokerSection, LabelSection
from perpwalk.domain import (
    UNDEFINED_LABEL,
    Finding,
    FloatArray,
    Fold,
    LabelFrame,
    Market,
    about,
)
from perpwalk.ledger import Ledger
from perpwalk.metrics import MetricsTable, of_symbol
from perpwalk.simulate_truth import at_horizon


@dataclass(frozen=True, eq=False)
class Judgement:
    """Verdict, findings and evidence of one run."""

    verdict: Verdict
    findings: tuple[Finding, ...]
    evidence: Evidence
    outside: Outside = field(default_factory=Outside)
    band: SeedBand | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the contents of ``audit.json``."""
        told = audit_document(self.verdict, self.findings, self.evidence, self.outside)
        return told if self.band is None else told | {"seeds": self.band.as_dict()}


@dataclass(frozen=True, eq=False, kw_only=True)
class Contract:
    """One contract of the account, with what was made of it.

    Attributes
    ----------
    name
        Its symbol where the account holds several; None where it is alone.
    validation_scores
        Forecasts on each fold's validation rows, for the drift check.
    findings
        Those of stages that ran before (folds, fitting); the market's own are taken from
        ``market``.
    """

    market: Market
    labels: LabelFrame
    folds: Sequence[Fold]
    validation_scores: Mapping[int, FloatArray] | None = None
    findings: Sequence[Finding] = ()
    name: str | None = None

    def about(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """Return findings under the contract's name, if it has one."""
        return tuple(findings) if self.name is None else about(self.name, findings)


def judge(
    contracts: Sequence[Contract],
    *,
    section: LabelSection,
    predictions: pd.DataFrame,
    ledger: Ledger,
    metrics: MetricsTable,
    other_findings: Sequence[Finding] = (),
    constant_by_design: bool = False,
    broker: BrokerSection | None = None,
    outside: Outside | None = None,
    band: SeedBand | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Judgement:
    """Audit labels, predictions and account, estimate the headline numbers, and weigh them.

    Parameters
    ----------
    contracts
        One or more. Each one's data, labels, folds and forecasts are looked at alone; the account
        and the headline figures are of all.
    predictions
        One row per test decision: ``close_time, fold, p_up, threshold, label, forward_return``, and
        ``symbol`` where there are several contracts.
    other_findings
        Those of the account as a whole (a recomputed ledger).
    constant_by_design
        True for the majority baseline.
    broker
        Whose cost schedule is looked at.
    outside
        What is known of the search for leaks and of the trials so far.
    band
        What training with other seeds came to.
    """
    outside = outside or Outside()
    first = contracts[0]
    whole = PredictionContext(
        horizon=first.labels.horizon,
        bar_interval=first.market.bars.interval,
        confidence=confidence,
        known_best=_best_known(contracts),
        constant_by_design=constant_by_design,
    )
    evidence = gather_evidence(
        predictions,
        ledger,
        horizon=whole.horizon,
        bar_interval=whole.bar_interval,
        known_best=whole.known_best,
        confidence=confidence,
        seed=seed,
    )
    findings = (
        *(finding for one in contracts for finding in one.market.findings),  # named when read
        *(finding for one in contracts for finding in one.about(one.findings)),
        *other_findings,
        *_labels_and_forecasts(contracts, section, predictions, whole),
        *audit_account(ledger, [one.market for one in contracts], broker),
        *metrics.reasons,
        *evidence.findings,
        *(() if band is None else band.findings(evidence.auc)),
        *outside.findings,
    )
    judged = verdict(findings, evidence, outside=outside)
    return Judgement(judged, findings, evidence, outside, band)


def _labels_and_forecasts(
    contracts: Sequence[Contract],
    section: LabelSection,
    predictions: pd.DataFrame,
    whole: PredictionContext,
) -> Iterator[Finding]:
    """Audit each contract's labels and forecasts, and all forecasts of several together."""
    for one in contracts:
        yield from one.about(audit_labels(one.labels, one.market.bars, section, one.folds))
        context = replace(
            whole,
            train_up_rate=train_up_rates(one.labels, one.folds),
            validation_scores=one.validation_scores,
            known_best=at_horizon(one.market.truth, one.labels.horizon) or None,
        )
        own = predictions if one.name is None else of_symbol(predictions, one.name)
        yield from one.about(audit_predictions(own, context))
    if len(contracts) > 1:
        yield from audit_pooled(predictions, whole)


def _best_known(contracts: Sequence[Contract]) -> Mapping[str, float] | None:
    """Return what nobody can exceed: of several simulated markets the best one's figures.

    ``markets`` counts them: an account over so many independent ones may earn the more.
    """
    truths = [at_horizon(one.market.truth, one.labels.horizon) for one in contracts]
    if not all(truths):
        return None
    if len(truths) == 1:
        return truths[0]
    best = {
        name: max(truth[name] for truth in truths)
        for name in ("best_auc", "best_accuracy")
        if all(name in truth for truth in truths)
    }
    return best | {"markets": float(len(truths))}


def judge_again(audit: Mapping[str, Any], outside: Outside) -> dict[str, object]:
    """Return an ``audit.json`` with its verdict made again over what is known now.

    Findings and evidence of the run itself stay as they are; what came from ``Outside`` before is
    replaced. The acceptance of a suspicion is not carried over: it spoke of another verdict.
    """
    kept = [e for e in audit["findings"] if e["code"] != REASON and not from_outside(e)]
    findings = (*(finding_of(entry) for entry in kept), *outside.findings)
    evidence = evidence_from(audit["evidence"])
    told = audit_document(verdict(findings, evidence, outside=outside), findings, evidence, outside)
    return told | {key: audit[key] for key in ("seeds",) if key in audit}


def train_up_rates(labels: LabelFrame, folds: Sequence[Fold]) -> dict[int, float]:
    """Return the share of ups among each fold's labelled train rows; 0.5 where there are none."""
    rates = {}
    for fold in folds:
        label = labels.label[fold.train.rows]
        label = label[label != UNDEFINED_LABEL]
        rates[fold.number] = float(np.mean(label)) if len(label) else 0.5
    return rates
