"""Leak detectors on a whole pipeline as a black box; ``docs/leaks.md`` says what each can see.

``run_suite`` runs them all over anything that fulfils ``Pipeline``; ``audit_strategy`` does for
strategies what perturbation does for forecasts.
"""

from perpwalk.audit.leaks.contract import (
    PLAIN,
    FoldTrace,
    Outcome,
    Pipeline,
    PipelineOutput,
    Probe,
)
from perpwalk.audit.leaks.strategy import StrategyTrace, audit_strategy
from perpwalk.audit.leaks.suite import BLIND_SPOTS, LeakReport, Plan, run_suite

__all__ = [
    "BLIND_SPOTS",
    "PLAIN",
    "FoldTrace",
    "LeakReport",
    "Outcome",
    "Pipeline",
    "PipelineOutput",
    "Plan",
    "Probe",
    "StrategyTrace",
    "audit_strategy",
    "run_suite",
]
