"""Are the forecasts fit to be judged: P001 … P008, P010 … P013, fold by fold and pooled.

P009, accuracy against the naive rules, is part of the evidence (``perpwalk.audit.evidence``). P014
needs other runs and P015 a threshold's provenance: they belong to the leak audit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from perpwalk.domain import Finding, FloatArray, Level, to_ns
from perpwalk.metrics import Scored, scored_rows
from perpwalk.uncertainty import calibration
from perpwalk.uncertainty.auc import delong_interval, null_sd, placements
from perpwalk.uncertainty.estimate import Interval
from perpwalk.uncertainty.proportions import wilson

CONSTANT_SD = 1e-4
FEW_ROWS = 100  # a fold with fewer is not judged by the class it calls
DISPLACED = 0.03  # mean forecast further than this from the train's share of ups
COARSE_VALUES, COARSE_ROWS = 10, 500
ONE_CLASS = (0.01, 0.99)
ABSOLUTE_CEILING, ABSOLUTE_ROWS = 0.90, 100


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Above these lower bounds a result is suspect or presumed wrong."""

    auc_warn: float
    auc_error: float
    accuracy_warn: float = 0.56
    accuracy_error: float = 0.60


def ceilings(horizon_hours: float, known_best: Mapping[str, float] | None = None) -> Ceilings:
    """Return the ceilings for a label horizon, from clean walk-forward quarters of BTC and ETH.

    Between the measured horizons (1, 4 and 24 hours) the shorter one's ceiling holds. A simulated
    market knows its own: nobody beats ``best_auc`` and ``best_accuracy``.

    >>> ceilings(4.0).auc_error
    0.63
    """
    if known_best is not None and {"best_auc", "best_accuracy"} <= set(known_best):
        auc, accuracy = known_best["best_auc"], known_best["best_accuracy"]
        return Ceilings(auc, auc + 0.04, accuracy, accuracy + 0.04)
    if horizon_hours >= 24:
        return Ceilings(0.58, 0.65)
    return Ceilings(0.58, 0.63 if horizon_hours >= 4 else 0.62)


@dataclass(frozen=True, eq=False, kw_only=True)
class PredictionContext:
    """What besides the predictions is known about them.

    Attributes
    ----------
    train_up_rate
        Share of ups in each fold's train rows, for the Brier skill (P007).
    validation_scores
        Each fold's forecasts on its validation rows, for the drift of scores (P010).
    known_best
        ``best_auc`` and ``best_accuracy`` of a simulated market (``Market.truth``).
    constant_by_design
        The model is a majority baseline: a constant forecast is its answer, not a fault.
    """

    horizon: int = 1
    bar_interval: pd.Timedelta = field(default_factory=lambda: pd.Timedelta("1h"))
    confidence: float = 0.95
    train_up_rate: Mapping[int, float] | None = None
    validation_scores: Mapping[int, FloatArray] | None = None
    known_best: Mapping[str, float] | None = None
    constant_by_design: bool = False

    @property
    def ceilings(self) -> Ceilings:
        """The ceilings that hold for this label."""
        return ceilings(self.horizon * (self.bar_interval / pd.Timedelta("1h")), self.known_best)


def audit_predictions(
    predictions: pd.DataFrame, context: PredictionContext | None = None
) -> tuple[Finding, ...]:
    """Return what a predictions table gives cause to say.

    Parameters
    ----------
    predictions
        One row per test decision: ``close_time, fold, p_up, threshold, label, forward_return``.
    """
    context = context or PredictionContext()
    findings = list(_well_formed(predictions))
    scored = scored_rows(predictions)
    if len(scored) == 0:
        return tuple(findings)
    slices = [
        (f"fold {number:03d}", scored.part(scored.fold == number))
        for number in np.unique(scored.fold)
    ]
    for where, rows in slices:
        findings += _spread(where, rows, context)
        findings += _absurd(where, rows, context)
        # The measured ceilings leave room above what is reachable, so single folds can be held to
        # them. A simulated market's ceiling is the best reachable itself: one fold in forty of a
        # perfect model exceeds it, so only the pooled rows are held to it.
        if context.known_best is None and len(slices) > 1:
            findings += _too_good(where, rows, context)
    findings += _undefined_auc(slices)
    findings += _too_good("all", scored, context)
    findings += _crossing(scored, slices, context)
    findings += _sign_flipped(scored, context)
    findings += _skill(scored, context)
    findings += _calibrated(scored)
    findings += _called_rate_drift(slices)
    findings += _score_drift(slices, context)
    findings += _auc_spread(slices, context)
    return tuple(findings)


def audit_pooled(
    predictions: pd.DataFrame, context: PredictionContext | None = None
) -> tuple[Finding, ...]:
    """Return what the decisions of several contracts together give cause to say.

    What is too good, or the wrong way round, shows best over all rows; everything else is a matter
    of each contract's own model: ``audit_predictions`` of its rows.
    """
    context, scored = context or PredictionContext(), scored_rows(predictions)
    if len(scored) == 0:
        return ()
    return (*_too_good("all", scored, context), *_sign_flipped(scored, context))


# ── form ─────────────────────────────────────────────────────────────────────────────────────────


def _well_formed(predictions: pd.DataFrame) -> Iterator[Finding]:
    p_up = predictions["p_up"].to_numpy(dtype=np.float64)
    wrong = ~((p_up >= 0) & (p_up <= 1))  # NaN compares false and is caught here
    stamps = to_ns(pd.DatetimeIndex(predictions["close_time"]))
    disorder = np.diff(stamps) <= 0
    told = {
        "p_up is not a number in [0, 1]": wrong,
        "decisions are repeated or out of order": disorder,
    }
    if len(predictions) == 0:
        told["there are no predictions"] = np.ones(1, dtype=bool)
    for message, rows in told.items():
        if rows.any():
            yield Finding(
                code="P001",
                level=Level.ERROR,
                where=f"first at row {int(np.argmax(rows))}",
                message=message,
                observed=f"{int(rows.sum()):,} of {len(predictions):,} rows",
                expected="none",
                why="such forecasts cannot be scored",
                advice="look at the model's predict",
            )


def _spread(where: str, rows: Scored, context: PredictionContext) -> Iterator[Finding]:
    """P002 and P003: one class only, a constant, or a coarse forecast."""
    called, sd = float(rows.called_up.mean()), float(rows.p_up.std())
    # A handful of decisions in the rest of a fold may well be called one way.
    error = Level.WARN if len(rows) < FEW_ROWS else Level.ERROR
    error = Level.INFO if context.constant_by_design else error
    design = " (by design of this baseline)" if context.constant_by_design else ""
    if not ONE_CLASS[0] <= called <= ONE_CLASS[1]:
        yield Finding(
            code="P002",
            level=error,
            where=where,
            message=f"the forecasts call one class only{design}",
            observed=f"{called:.1%} called up; standard deviation of p_up {sd:.2e}"
            + (", tiny too" if sd < CONSTANT_SD else ", so the threshold is off"),
            expected="1 to 99 %",
            why="its accuracy is the share of that class, not skill",
        )
    distinct = len(np.unique(rows.p_up))
    if sd < CONSTANT_SD:
        yield Finding(
            code="P003",
            level=error,
            where=where,
            message=f"the forecast is constant{design}",
            observed=f"standard deviation {sd:.2e}",
            expected="at least 1e-4",
            why="a model that says the same of every decision has learned nothing",
            advice="look at early stopping and the learning rate",
        )
    elif distinct < COARSE_VALUES and len(rows) > COARSE_ROWS:
        yield Finding(
            code="P003",
            level=Level.WARN,
            where=where,
            message="the forecast takes few values",
            observed=f"{distinct} values in {len(rows):,} rows",
            expected="at least 10",
            why="ties blunt the AUC",
        )


def _cannot_cross(rows: Scored) -> bool:
    return bool(rows.p_up.min() >= 0.5 or rows.p_up.max() <= 0.5)


def _crossing(
    scored: Scored, slices: list[tuple[str, Scored]], context: PredictionContext
) -> Iterator[Finding]:
    """P004: an error where it is the rule; a warning where single folds lean to one side.

    A probability made as the sigmoid of a regressor on 0/1 cannot fall below 0.5 in any fold and
    lies far above the share of ups it was trained on. The forecasts of a weak honest model lie
    close around that share and can miss 0.5 on one side.
    """
    pooled = _cannot_cross(scored)
    folds = [where for where, rows in slices if _cannot_cross(rows)]
    if not pooled and not folds:
        return
    rates = context.train_up_rate or {}
    trained = np.array([rates.get(int(fold), 0.5) for fold in scored.fold])
    displaced = abs(float((scored.p_up - trained).mean())) > DISPLACED
    rule = displaced and (pooled or 2 * len(folds) > len(slices))
    level = Level.ERROR if rule else Level.WARN
    yield Finding(
        code="P004",
        level=Level.INFO if context.constant_by_design else level,
        where="all" if pooled else "; ".join(folds),
        message="the probability map cannot cross 0.5",
        observed=f"p_up from {scored.p_up.min():.4f} to {scored.p_up.max():.4f} over all folds",
        expected="values on both sides of 0.5",
        why="a sigmoid of a regressor fitted to 0/1 looks like this: always the same class",
        advice="check that the model's output is a probability of up",
    )


def _undefined_auc(slices: list[tuple[str, Scored]]) -> Iterator[Finding]:
    """P005: folds whose labels have one class."""
    folds = [where for where, rows in slices if rows.up.all() or not rows.up.any()]
    if folds:
        yield Finding(
            code="P005",
            level=Level.WARN,
            where="; ".join(folds),
            message="AUC is undefined: the labels have one class (null, left out of means)",
            observed=f"{len(folds)} of {len(slices)} folds",
            expected="both classes",
        )


# ── too good, or the wrong way round ─────────────────────────────────────────────────────────────


def _auc_interval(rows: Scored, context: PredictionContext) -> tuple[float, Interval] | None:
    placed = placements(rows.up, rows.p_up)
    if placed is None:
        return None
    vif = rows.auc_vif(placed, context.horizon)
    interval = delong_interval(placed, context.confidence, vif=vif)
    return None if interval is None else (placed.auc, interval)


def _accuracy_low(rows: Scored, context: PredictionContext) -> float:
    hits = rows.hits.astype(float)
    vif = rows.vif(hits, context.horizon)
    interval = wilson(float(hits.sum()) / vif, len(rows) / vif, context.confidence)
    return 0.0 if interval is None else interval.low


def _too_good(where: str, rows: Scored, context: PredictionContext) -> Iterator[Finding]:
    """P011: the lower bound of AUC or accuracy lies above the ceiling."""
    bounds = context.ceilings
    found = _auc_interval(rows, context)
    if found is not None:
        yield from _above_ceiling(where, "AUC", found[1].low, bounds.auc_warn, bounds.auc_error)
    low = _accuracy_low(rows, context)
    yield from _above_ceiling(where, "accuracy", low, bounds.accuracy_warn, bounds.accuracy_error)


def _absurd(where: str, rows: Scored, context: PredictionContext) -> Iterator[Finding]:
    """P012: above 0.90, whatever the sample says about chance."""
    if len(rows) < ABSOLUTE_ROWS:
        return
    placed = placements(rows.up, rows.p_up)
    bounds = context.ceilings
    reached = [("accuracy", float(rows.hits.mean()), bounds.accuracy_error)]
    if placed is not None:
        reached.insert(0, ("AUC", placed.auc, bounds.auc_error))
    for name, value, ceiling in reached:
        if value > max(ABSOLUTE_CEILING, ceiling):
            yield Finding(
                code="P012",
                level=Level.ERROR,
                where=where,
                message=f"{name} is too good to be true",
                observed=f"{value:.4f} over {len(rows):,} rows",
                expected=f"at most {ABSOLUTE_CEILING}",
                why="no honest forecast of a liquid market's direction comes near",
                advice="look for the label among the features, and at the label itself",
            )


def _above_ceiling(
    where: str, name: str, low: float, warn: float, error: float
) -> Iterator[Finding]:
    if low <= warn:
        return
    yield Finding(
        code="P011",
        level=Level.ERROR if low > error else Level.WARN,
        where=where,
        message=f"{name} is better than any clean result known",
        observed=f"lower bound {low:.4f}",
        expected=f"at most {warn:.3f}; presumed wrong above {error:.3f}",
        why="results like this have so far been leaks",
        advice="run `perpwalk audit` on the configuration before believing it",
    )


def _sign_flipped(scored: Scored, context: PredictionContext) -> Iterator[Finding]:
    found = _auc_interval(scored, context)
    if found is None or found[1].high >= 0.5:
        return
    value, interval = found
    alarm = 1 - interval.high > context.ceilings.auc_error
    yield Finding(
        code="P006",
        level=Level.ERROR if alarm else Level.WARN,
        where="all",
        message="the forecasts point the wrong way (sign-flipped)",
        observed=f"AUC {value:.4f}, upper bound {interval.high:.4f}",
        expected="an interval that reaches 0.5",
        why="either the label is turned over, or the market changed; never flip it afterwards",
        advice="check the label's sign and the order of classes",
    )


# ── calibration and drift ────────────────────────────────────────────────────────────────────────


def _skill(scored: Scored, context: PredictionContext) -> Iterator[Finding]:
    """P007: Brier skill against the train base rate of each row's fold."""
    if context.train_up_rate is None:
        return
    base = np.array([context.train_up_rate[int(fold)] for fold in scored.fold])
    reference = calibration.brier_score(scored.up, base)
    if reference == 0:  # one class in train and test: L001 says so
        return
    skill = 1 - calibration.brier_score(scored.up, scored.p_up) / reference
    if skill < 0:
        yield Finding(
            code="P007",
            level=Level.WARN,
            where="all",
            message="the probabilities are worse than always saying the train's share of ups",
            observed=f"Brier skill {skill:.5f}",
            expected="above 0",
            why="ranking may still be right, but sizes scaled by p_up are not",
            advice="calibrate on validation, or use the side only",
        )


def _calibrated(scored: Scored) -> Iterator[Finding]:
    gap = calibration.expected_calibration_error(scored.up, scored.p_up)
    test = calibration.spiegelhalter(scored.up, scored.p_up)
    z = 0.0 if test is None else test.z
    off = gap > 0.05 or abs(z) > 4
    yield Finding(
        code="P008",
        level=Level.WARN if off else Level.INFO,
        where="all",
        message="the probabilities are not calibrated" if off else "calibration",
        observed=f"calibration error {gap:.4f}, Spiegelhalter z {z:.2f}, "
        f"standard deviation of p_up {scored.p_up.std():.4f}; {_decomposed(scored)}",
        expected="error at most 0.05 and |z| at most 4",
    )


def _decomposed(scored: Scored) -> str:
    """Return Brier's parts (Murphy 1973) and the line between called and realised log-odds."""
    parts = calibration.brier_parts(scored.up, scored.p_up)
    line = calibration.calibration_line(scored.up, scored.p_up)
    told = (
        f"Brier {calibration.brier_score(scored.up, scored.p_up):.4f}: reliability "
        f"{parts.reliability:.4f} - resolution {parts.resolution:.4f} + uncertainty "
        f"{parts.uncertainty:.4f}"
    )
    if line is None:
        return f"{told}; no calibration line"
    return f"{told}; log-odds slope {line.slope:.2f}, intercept {line.intercept:+.2f}"


def _called_rate_drift(slices: list[tuple[str, Scored]]) -> Iterator[Finding]:
    rates = [float(rows.called_up.mean()) for _, rows in slices]
    jumps = [
        f"{slices[i][0]} {rates[i - 1]:.2f} → {rates[i]:.2f}"
        for i in range(1, len(rates))
        if abs(rates[i] - rates[i - 1]) > 0.15
    ]
    if jumps:
        yield Finding(
            code="P010",
            level=Level.WARN,
            where="; ".join(jumps),
            message="the share of decisions called up jumps between folds",
            observed=f"{len(jumps)} of {len(rates) - 1} steps",
            expected="changes of at most 0.15",
            why="the side traded then comes from the refit, not from the market",
            advice="look at the folds' thresholds",
        )


def _score_drift(slices: list[tuple[str, Scored]], context: PredictionContext) -> Iterator[Finding]:
    if context.validation_scores is None:
        return
    for where, rows in slices:
        reference = context.validation_scores.get(int(rows.fold[0]))
        drift = None if reference is None else calibration.score_drift(reference, rows.p_up)
        if drift is not None and drift > 0.10:
            yield Finding(
                code="P010",
                level=Level.WARN if drift > 0.25 else Level.INFO,
                where=where,
                message="test forecasts are distributed unlike those on validation",
                observed=f"stability index {drift:.3f}",
                expected="at most 0.10; a shift above 0.25",
                why="the threshold was chosen on another distribution",
            )


def _auc_spread(slices: list[tuple[str, Scored]], context: PredictionContext) -> Iterator[Finding]:
    """P013: folds differ more than chance and overlap explain."""
    values, expected = [], []
    for _, rows in slices:
        placed = placements(rows.up, rows.p_up)
        if placed is None:
            continue
        vif = rows.auc_vif(placed, context.horizon)
        values.append(placed.auc)
        expected.append(null_sd(len(placed.positive), len(placed.negative), vif) ** 2)
    if len(values) < 3:
        return
    chance = math.sqrt(float(np.mean(expected)))
    spread = float(np.std(values, ddof=1))
    if spread > 2 * chance:
        yield Finding(
            code="P013",
            level=Level.WARN,
            where="; ".join(where for where, _ in slices),
            message="AUC varies between folds more than chance allows",
            observed=f"standard deviation {spread:.4f}",
            expected=f"about {chance:.4f}",
            why="the market changed, or single folds leak",
            advice="look at the best and the worst fold",
        )
