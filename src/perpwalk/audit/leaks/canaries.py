"""(g) Does the alarm ring? Leaks put in on purpose, which the other detectors must report.

* A column that holds the answer: single-feature AUC (L012), the absolute ceiling on AUC (P012) and
  perturbation must all fire. The audit fails itself (K006) where one stays silent.
* A model that learns its train rows by heart on pure noise: its AUC must be 0.5. It is 1 where test
  rows are among the train rows, which a logistic model hardly shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from perpwalk.audit.leaks.contract import Outcome, Pipeline, Probe
from perpwalk.audit.leaks.perturbation import Cut, audit_perturbation
from perpwalk.audit.leaks.scoring import ALARM_Z, fold_auc
from perpwalk.domain import (
    UNDEFINED_LABEL,
    FeatureFrame,
    Finding,
    Float32Array,
    FloatArray,
    IntArray,
    LabelFrame,
    Level,
    Market,
    frozen_array,
)
from perpwalk.errors import UsageError
from perpwalk.models.base import EpochReport, FitContext, Prediction, Sample
from perpwalk.uncertainty.auc import auc

CANARY = "canary_answer"
NOISE = "canary_noise"
ABSURD_AUC = 0.90
ODD_AUC = 0.65


def with_answer(features: FeatureFrame, labels: LabelFrame) -> FeatureFrame:
    """Add a column that holds each row's own forward return."""
    answer = np.nan_to_num(labels.forward_return)
    return FeatureFrame(
        close_time=features.close_time,
        names=(*features.names, CANARY),
        values=frozen_array(np.column_stack([features.values, answer])),
        lookback=features.lookback,
    )


def only_noise(features: FeatureFrame, _: LabelFrame) -> FeatureFrame:
    """Replace all features by one column of numbers that occur once each."""
    noise = np.random.default_rng(6).permutation(len(features.values)) / len(features.values)
    warm = np.isfinite(features.values).all(axis=1)
    return FeatureFrame(
        close_time=features.close_time,
        names=(NOISE,),
        values=frozen_array(np.where(warm, noise, np.nan)[:, None]),
        lookback=features.lookback,
    )


def audit_canaries(pipeline: Pipeline, market: Market, seed: int, cut: Cut) -> Outcome:
    """Put the answer in and see who reports it; fit by heart and see what that finds."""
    probe = Probe(features=with_answer, only_folds=(cut.fold,))
    control = pipeline(market, seed, probe)
    scored = fold_auc(control)
    if scored is None or not _labels_are_signs(control.labels):
        return Outcome(
            detector="canaries",
            summary="not judged: the labels are not the sign of their forward return (L001 … L006)",
        )
    heard = {
        "single-feature AUC (L012)": any(
            CANARY in finding.where
            for finding in audit_single_features(control.features, control.labels)
            if finding.level is Level.ERROR
        ),
        "absolute ceiling (P012)": scored.value > ABSURD_AUC,
        "perturbation (K002)": audit_perturbation(
            pipeline, market, seed, control, [cut], probe=probe
        ).caught,
    }
    silent = [name for name, rang in heard.items() if not rang]
    by_heart = fold_auc(pipeline(market, seed, Probe(features=only_noise, memorise=True)))
    z = 0.0 if by_heart is None else (by_heart.value - 0.5) / by_heart.null_sd
    findings = [_silent(name) for name in silent]
    if z > ALARM_Z and by_heart is not None:
        findings.append(_by_heart(by_heart.value, z))
    learned = "undefined" if by_heart is None else f"{by_heart.value:.4f} (z {z:+.1f})"
    return Outcome(
        detector="canaries",
        summary=f"{len(heard) - len(silent)} of {len(heard)} alarms ring; learned by heart on "
        f"noise: AUC {learned}",
        findings=tuple(findings),
        numbers={
            "rang": float(len(heard) - len(silent)),
            "by_heart": None if by_heart is None else by_heart.value,
        },
    )


def _labels_are_signs(labels: LabelFrame) -> bool:
    """Whether there is an answer to put in: labels that mostly follow their forward return."""
    known = labels.label != UNDEFINED_LABEL
    agree = (labels.label[known] == 1) == (labels.forward_return[known] > 0)
    return bool(agree.mean() > ABSURD_AUC) if known.any() else False


def audit_single_features(features: FeatureFrame, labels: LabelFrame) -> tuple[Finding, ...]:
    """Return L012 for every feature that nearly determines the label alone.

    Each is also tried one bar later, so that an answer out of step is found. Not one bar earlier:
    tomorrow's honest last return *is* today's answer.
    """
    return tuple(
        _single(name, strength, shift)
        for name, strength, shift in _strengths(features, labels)
        if strength > ODD_AUC
    )


def strongest_feature(features: FeatureFrame, labels: LabelFrame) -> tuple[str, float, int]:
    """Return the feature that tells the label best alone, its AUC, and how many bars late."""
    return max(_strengths(features, labels), key=lambda found: found[1])


def _strengths(features: FeatureFrame, labels: LabelFrame) -> Iterator[tuple[str, float, int]]:
    known = labels.label != UNDEFINED_LABEL
    for column, name in enumerate(features.names):
        values = features.values[:, column]
        strength, shift = max(
            (_strength(np.roll(values, by), labels, known, by), by) for by in (0, 1)
        )
        yield name, strength, shift


def _strength(values: FloatArray, labels: LabelFrame, known: np.ndarray, edge: int) -> float:
    usable = known & np.isfinite(values)
    usable[:edge] = False
    if not usable.any() or np.ptp(values[usable]) == 0:
        return 0.5
    area = auc(labels.label[usable], values[usable])
    return 0.5 if area is None else max(area, 1 - area)


def _single(name: str, strength: float, shift: int) -> Finding:
    level = Level.ERROR if strength > ABSURD_AUC else Level.WARN
    when = "as it is" if shift == 0 else "of the bar before"
    return Finding(
        code="L012",
        level=level,
        where=f"feature '{name}'",
        message=f"feature '{name}' {when} nearly determines the label alone",
        observed=f"AUC {strength:.4f}",
        expected=f"at most {ODD_AUC:g} (the best honest hourly feature has about 0.55)",
        why="the label, or a part of it, is among the features",
        advice="look at how the feature is computed and at which bar it is stamped",
    )


def _silent(name: str) -> Finding:
    return Finding(
        code="K006",
        level=Level.ERROR,
        where=name,
        message=f"{name} stays silent although the answer was put among the features",
        observed="no alarm",
        expected="an alarm",
        why="the audit cannot be trusted on this pipeline: its own alarm does not ring",
        advice="does the pipeline drop or delay features that it is given? does the selection keep "
        "the best one? Otherwise report it as a bug of the audit",
    )


def _by_heart(value: float, z: float) -> Finding:
    return Finding(
        code="S002",
        level=Level.ERROR,
        where="the split",
        message="a model that learns train rows by heart knows the test rows on pure noise",
        observed=f"AUC {value:.4f} (z {z:+.1f})",
        expected="0.5",
        why="test rows, or rows that share their labels, are among the train rows",
        advice="cut folds by time, train before test, and purge",
    )


# ── learning by heart ────────────────────────────────────────────────────────────────────────────


class Memoriser:
    """A signal model that answers with the label of the nearest train row (first column only)."""

    def __init__(self) -> None:
        self.timesteps = 1

    def fit(self, train: Sample, validation: Sample, context: FitContext) -> FittedMemoriser:  # noqa: ARG002
        """Keep every train row."""
        value = train.values[train.rows, 0].astype(np.float64)
        order = np.argsort(value, kind="stable")
        return FittedMemoriser(frozen_array(value[order]), frozen_array(train.label[order]))


@dataclass(frozen=True, eq=False)
class FittedMemoriser:
    """Train values in ascending order and their labels; both shape (m,)."""

    value: FloatArray
    label: FloatArray
    training: tuple[EpochReport, ...] = ()
    timesteps: int = 1

    kind: ClassVar[str] = "perpwalk.audit.leaks.canaries:FittedMemoriser"

    def predict(self, values: Float32Array, rows: IntArray) -> Prediction:
        """Return 0.9 or 0.1, the nearest train row's class."""
        return Prediction.of(0.1 + 0.8 * self.nearest(values[rows, 0].astype(np.float64)))

    def nearest(self, wanted: FloatArray) -> FloatArray:
        """Return the label of the nearest train value for each of ``wanted``."""
        right = np.clip(np.searchsorted(self.value, wanted), 1, len(self.value) - 1)
        left = right - 1
        nearer_left = wanted - self.value[left] <= self.value[right] - wanted
        chosen: FloatArray = self.label[np.where(nearer_left, left, right)]
        return chosen

    def save(self, folder: Path) -> None:
        """Refuse: a canary is never kept."""
        raise UsageError(f"a canary is not a model to keep (in {folder})")

    @classmethod
    def load(cls, folder: Path) -> Any:
        """Refuse: a canary is never kept."""
        raise UsageError(f"a canary is not a model to load (from {folder})")
