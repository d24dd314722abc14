"""Stages fitted on rows they must not see: scaler, selection, stopping, threshold, split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perpwalk.audit.leaking.reference import (
    Case,
    Fit,
    honest_split,
    linear,
    regression,
)
from perpwalk.audit.leaks.contract import digest
from perpwalk.config import WalkForwardSection
from perpwalk.domain import (
    UNDEFINED_LABEL,
    FeatureFrame,
    FloatArray,
    Fold,
    IntArray,
    LabelArray,
    LabelFrame,
    Market,
    Span,
    frozen_array,
)
from perpwalk.folds import usable_rows
from perpwalk.models.base import area_under_curve
from perpwalk.thresholds import choose_threshold

KEEP = 8
_EPOCHS, _BATCH = 20, 25
_CALM, _WILD = 0.05, 0.5  # learning rates: a good one, and one whose epochs differ much by luck
_NEIGHBOURS = 15


# ── the rows asked for ───────────────────────────────────────────────────────────────────────────


def ranked_in_its_batch(case: Case, rows: IntArray) -> Fit:
    """Standardise forecasts over the rows that are asked for together."""
    fitted = regression(case, rows)

    def predict(values: FloatArray) -> FloatArray:
        p_up = fitted.predict(values)
        spread = p_up.std()
        ranked: FloatArray = np.clip(
            0.5 + 0.1 * (p_up - p_up.mean()) / (spread if spread > 0 else 1.0), 0.0, 1.0
        )
        return ranked

    return Fit(fitted.stages, predict)


# ── scaler and selection ─────────────────────────────────────────────────────────────────────────


def scale_on_everything(case: Case) -> tuple[FloatArray, FloatArray]:
    """Fit the scaler on the whole series."""
    warm = np.isfinite(case.values).all(axis=1)
    deviation = case.values[warm].std(axis=0)
    return case.values[warm].mean(axis=0), np.where(deviation > 0, deviation, 1.0)


def select_on_train(case: Case) -> IntArray:
    """Keep the columns that tell most on train rows: honest."""
    return _best(case, case.train)


def select_on_everything(case: Case) -> IntArray:
    """Keep the columns that tell most over the whole series."""
    warm = np.flatnonzero(np.isfinite(case.values).all(axis=1))
    return _best(case, case.labelled(warm))


def _best(case: Case, rows: IntArray) -> IntArray:
    values, label = case.values[rows], case.label(rows).astype(np.float64)
    centred = values - values.mean(axis=0)
    score = np.abs(centred.T @ (label - label.mean())) / np.maximum(values.std(axis=0), 1e-12)
    return np.sort(np.argsort(-score, kind="stable")[:KEEP]).astype(np.int64)


# ── stopping and threshold ───────────────────────────────────────────────────────────────────────


def stop_on_validation(case: Case, rows: IntArray) -> Fit:
    """Train epoch by epoch and keep the one that is best on validation: honest."""
    return _stopped(case, rows, case.validation, _CALM)


def stop_on_test(case: Case, rows: IntArray) -> Fit:
    """Train epoch by epoch and keep the one that is best on the test."""
    return _stopped(case, rows, case.test, _WILD)


def _stopped(case: Case, rows: IntArray, judged: IntArray, rate: float) -> Fit:
    path = _descent(case.values[rows], case.label(rows), case.seed, rate)
    label = case.label(judged)
    scores = [
        area_under_curve(label, linear(case.values[judged], weights)) or 0.5 for weights in path
    ]
    chosen = path[int(np.argmax(scores))]
    return Fit(
        {"stopping": digest(int(np.argmax(scores))), "model": digest(chosen)},
        lambda x: linear(x, chosen),
    )


def _descent(values: FloatArray, label: LabelArray, seed: int, rate: float) -> list[FloatArray]:
    """Return the weights after each epoch of stochastic gradient descent from a random start."""
    draw = np.random.default_rng(seed)
    design = np.column_stack([np.ones(len(values)), np.clip(values, -5, 5)])
    weights = draw.standard_normal(design.shape[1]) * 0.3
    path = []
    for _ in range(_EPOCHS):
        order = draw.permutation(len(design))
        for start in range(0, len(order) - _BATCH + 1, _BATCH):
            batch = order[start : start + _BATCH]
            p = 1 / (1 + np.exp(-np.clip(design[batch] @ weights, -30, 30)))
            weights = weights + rate * (design[batch].T @ (label[batch] - p)) / _BATCH
        path.append(weights.copy())
    return path


def threshold_on_test(case: Case, p_up: FloatArray) -> float:
    """Choose the threshold on the test rows."""
    rows = case.test
    return choose_threshold(p_up[rows], case.label(rows), "validation")


# ── split ────────────────────────────────────────────────────────────────────────────────────────


def train_and_validation(case: Case) -> IntArray:
    """Fit on train and validation, as people do once everything is chosen."""
    return np.concatenate([case.train, case.validation])


def train_and_test(case: Case) -> IntArray:
    """Have the test rows among the rows fitted on."""
    return np.concatenate([case.train, case.test])


def without_purge(
    section: WalkForwardSection, market: Market, features: FeatureFrame, labels: LabelFrame
) -> tuple[Fold, ...]:
    """Let validation reach up to the test and train up to validation, whatever the horizon."""
    usable = np.flatnonzero(usable_rows(features) & (labels.label != UNDEFINED_LABEL))

    def reaching(fold: Fold) -> Fold:
        first_test, first = int(fold.test.rows[0]), int(fold.validation.rows[0])
        validation = usable[(usable >= first) & (usable < first_test)]
        train = usable[(usable >= fold.train.rows[0]) & (usable < first)]
        return replace(
            fold,
            train=replace(
                fold.train, rows=frozen_array(train, np.int64), end=fold.validation.start
            ),
            validation=replace(
                fold.validation, rows=frozen_array(validation, np.int64), end=fold.test.start
            ),
            purged=0,
        )

    return tuple(reaching(fold) for fold in honest_split(section, market, features, labels))


def shuffled(
    section: WalkForwardSection,  # noqa: ARG001
    market: Market,
    features: FeatureFrame,
    labels: LabelFrame,
    *,
    folds: int = 4,
) -> tuple[Fold, ...]:
    """Cut at random: every test row has train rows on both sides of it."""
    usable = np.flatnonzero(usable_rows(features))
    order = np.random.default_rng(11).permutation(usable)
    close, interval = market.bars.close_time, market.bars.interval
    begin, end = close[usable[0]], close[usable[-1]] + interval
    parts = np.array_split(order, folds)

    def span(rows: IntArray) -> Span:
        kept = frozen_array(np.sort(rows), np.int64)
        return Span(start=begin, end=end, rows=kept, bars=len(usable))

    made = []
    for number, test in enumerate(parts):
        rest = np.concatenate([part for other, part in enumerate(parts) if other != number])
        fitted = rest[labels.label[rest] != UNDEFINED_LABEL]
        made.append(
            Fold(
                number=number,
                train=span(fitted[len(fitted) // 5 :]),
                validation=span(fitted[: len(fitted) // 5]),
                test=span(test),
            )
        )
    return tuple(made)


def neighbours(case: Case, rows: IntArray) -> Fit:
    """Vote among the nearest train rows: like a forest, it remembers what it was shown."""
    known, label = case.values[rows], case.label(rows).astype(np.float64)
    size = (known * known).sum(axis=1)

    def predict(values: FloatArray) -> FloatArray:
        distance = size - 2 * (values @ known.T)
        nearest = np.argpartition(distance, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
        p: FloatArray = label[nearest].mean(axis=1)
        return p

    return Fit({"model": digest(known, label)}, predict)
