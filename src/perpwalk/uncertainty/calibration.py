"""Do probabilities mean what they say: Brier score and its parts, calibration error, drift."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perpwalk.domain import FloatArray, IntArray
from perpwalk.uncertainty.estimate import upper_tail

SHARE_FLOOR = 1e-4
LOG_FLOOR = 1e-15
FLAT = 1e-9  # log-odds that vary less are a constant
WORST_CONDITION = 1e12


def brier_score(label: npt.ArrayLike, p_up: npt.ArrayLike) -> float:
    """Return the mean squared error of probabilities (Brier 1950)."""
    return float(np.mean((np.asarray(p_up, float) - np.asarray(label, float)) ** 2))


def brier_skill(label: npt.ArrayLike, p_up: npt.ArrayLike, base_rate: float) -> float | None:
    """Return ``1 - Brier / Brier of always saying base_rate``; None where that is perfect."""
    reference = brier_score(label, np.full(np.shape(label), base_rate))
    return None if reference == 0 else 1 - brier_score(label, p_up) / reference


def log_loss(label: npt.ArrayLike, p_up: npt.ArrayLike) -> float:
    """Return the mean negative log likelihood; probabilities are kept 1e-15 away from 0 and 1."""
    return float(log_losses(label, p_up).mean())


def log_losses(label: npt.ArrayLike, p_up: npt.ArrayLike) -> FloatArray:
    """Return the negative log likelihood of each row, shape (n,)."""
    p = np.clip(np.asarray(p_up, float), LOG_FLOOR, 1 - LOG_FLOOR)
    up = np.asarray(label) == 1
    losses: FloatArray = -np.where(up, np.log(p), np.log1p(-p))
    return losses


def _bins(p_up: FloatArray, bins: int) -> IntArray:
    """Return the equal-width, right-closed bin of each probability; 0 belongs to the first."""
    found: IntArray = np.clip(np.ceil(p_up * bins).astype(np.int64) - 1, 0, bins - 1)
    return found


@dataclass(frozen=True, slots=True)
class BrierParts:
    """Murphy's parts (1973): Brier is reliability - resolution + uncertainty within bins."""

    reliability: float
    resolution: float
    uncertainty: float


def _bin_means(
    label: npt.ArrayLike, p_up: npt.ArrayLike, bins: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    p = np.asarray(p_up, dtype=np.float64)
    where = _bins(p, bins)
    count = np.bincount(where, minlength=bins)
    used = count > 0
    ups = np.bincount(where, weights=np.asarray(label, float), minlength=bins)[used]
    mass = np.bincount(where, weights=p, minlength=bins)[used]
    rows = count[used].astype(np.float64)
    return rows / len(p), ups / rows, mass / rows


def expected_calibration_error(label: npt.ArrayLike, p_up: npt.ArrayLike, bins: int = 10) -> float:
    """Return the weighted mean gap between called and realised rates over equal-width bins.

    Counted with ``bincount``: a known library makes one bin fewer than it is asked for.
    """
    share, realised, called = _bin_means(label, p_up, bins)
    return float(share @ np.abs(realised - called))


def brier_parts(label: npt.ArrayLike, p_up: npt.ArrayLike, bins: int = 10) -> BrierParts:
    """Split the Brier score over equal-width bins."""
    share, realised, called = _bin_means(label, p_up, bins)
    overall = float(np.mean(np.asarray(label, float)))
    return BrierParts(
        reliability=float(share @ (called - realised) ** 2),
        resolution=float(share @ (realised - overall) ** 2),
        uncertainty=overall * (1 - overall),
    )


@dataclass(frozen=True, slots=True)
class CalibrationLine:
    """log-odds of up = ``intercept`` + ``slope`` × log-odds called; 0 and 1 where all is right."""

    slope: float
    intercept: float


def calibration_line(label: npt.ArrayLike, p_up: npt.ArrayLike) -> CalibrationLine | None:
    """Fit the line by maximum likelihood (Cox 1958), in Newton's steps.

    A slope below 1 means forecasts too sure of themselves. None where the label has one class, the
    forecast does not vary, or classes can be told apart without error.
    """
    y = np.asarray(label, float)
    p = np.clip(np.asarray(p_up, float), LOG_FLOOR, 1 - LOG_FLOOR)
    called = np.log(p) - np.log1p(-p)
    if len(y) == 0 or y.min() == y.max() or np.ptp(called) < FLAT:
        return None
    line = np.zeros(2)
    rows = np.column_stack([np.ones_like(called), called])
    for _ in range(50):
        fitted = 1 / (1 + np.exp(-np.clip(rows @ line, -30, 30)))
        weight = fitted * (1 - fitted)
        curve = rows.T @ (rows * weight[:, None])
        if not np.isfinite(curve).all() or np.linalg.cond(curve) > WORST_CONDITION:
            return None
        step = np.linalg.solve(curve, rows.T @ (y - fitted))
        line += step
        if np.abs(step).max() < 1e-9:
            return CalibrationLine(slope=float(line[1]), intercept=float(line[0]))
    return None


@dataclass(frozen=True, slots=True)
class Spiegelhalter:
    """Calibration test: z near 0 where probabilities are right."""

    z: float
    p_two_sided: float


def spiegelhalter(label: npt.ArrayLike, p_up: npt.ArrayLike) -> Spiegelhalter | None:
    """Test calibration without bins (Spiegelhalter 1986); None where all p are 0, 0.5 or 1."""
    p, y = np.asarray(p_up, float), np.asarray(label, float)
    variance = float(np.sum((1 - 2 * p) ** 2 * p * (1 - p)))
    if variance <= 0:
        return None
    z = float(np.sum((y - p) * (1 - 2 * p))) / math.sqrt(variance)
    return Spiegelhalter(z, 2 * upper_tail(abs(z)))


def stability_index(expected_share: npt.ArrayLike, actual_share: npt.ArrayLike) -> float:
    """Return the population stability index of two distributions over the same bins.

    Above 0.10 watch, above 0.25 a shift (Siddiqi 2006). Shares are floored at 1e-4.
    """
    expected = np.maximum(np.asarray(expected_share, float), SHARE_FLOOR)
    actual = np.maximum(np.asarray(actual_share, float), SHARE_FLOOR)
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def score_drift(reference: FloatArray, scores: FloatArray, bins: int = 10) -> float | None:
    """Return the stability index of ``scores`` over the deciles of ``reference``.

    None where the reference has too few distinct values to cut into bins.
    """
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, bins + 1)[1:-1]))
    if len(edges) < bins - 1 or len(scores) == 0:
        return None

    def shares(values: FloatArray) -> FloatArray:
        counted = np.bincount(np.searchsorted(edges, values, side="left"), minlength=bins)
        share: FloatArray = counted / len(values)
        return share

    return stability_index(shares(reference), shares(scores))
