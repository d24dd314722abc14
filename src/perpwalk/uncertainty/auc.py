"""Area under the ROC curve: placements, DeLong variance, intervals, the null band.

DeLong, DeLong & Clarke-Pearson 1988. A placement value is, for a row of one class, the share of the
other class that it is ranked on the right side of (ties count half); everything follows from them
in O(n log n).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perpwalk.domain import FloatArray, IntArray
from perpwalk.uncertainty.estimate import Interval, two_sided_z, upper_tail
from perpwalk.uncertainty.overlap import sum_by

LOGIT_ABOVE = 0.95  # nearer the border than this the plain interval leaves [0, 1]


@dataclass(frozen=True, eq=False)
class Placements:
    """Placement values of one score: ``positive`` of shape (n1,), ``negative`` of shape (n0,)."""

    positive: FloatArray
    negative: FloatArray

    @property
    def auc(self) -> float:
        """Probability that a random up row is ranked above a random down row."""
        return float(self.positive.mean())

    def influence(self, is_up: npt.NDArray[np.bool_]) -> FloatArray:
        """Return each row's pull on the AUC, in row order, with mean 0; shape (n,).

        The mean of the rows' influence is the first-order error of the AUC, so its long-run
        variance (and its automatic block length) is that of the AUC.
        """
        pull = np.empty(len(is_up))
        pull[is_up] = (self.positive - self.auc) * len(is_up) / len(self.positive)
        pull[~is_up] = (self.negative - self.auc) * len(is_up) / len(self.negative)
        return pull


def placements(label: npt.ArrayLike, score: npt.ArrayLike) -> Placements | None:
    """Return placement values, or None where ``label`` (0/1, shape (n,)) has one class only."""
    is_up = np.asarray(label) == 1
    values = np.asarray(score, dtype=np.float64)
    ups, downs = values[is_up], values[~is_up]
    if len(ups) == 0 or len(downs) == 0:
        return None
    return Placements(_share_below(ups, downs), 1 - _share_below(downs, ups))


def _share_below(values: FloatArray, others: FloatArray) -> FloatArray:
    """Return, for each value, the share of ``others`` below it, ties counting half."""
    ordered = np.sort(others)
    below = np.searchsorted(ordered, values, side="left")
    not_above = np.searchsorted(ordered, values, side="right")
    share: FloatArray = (below + not_above) / (2 * len(others))
    return share


def auc(label: npt.ArrayLike, score: npt.ArrayLike) -> float | None:
    """Return the AUC, or None where one class is missing.

    >>> auc([0, 1, 1, 0], [0.1, 0.4, 0.35, 0.8])
    0.5
    >>> auc([1, 1], [0.1, 0.2]) is None
    True
    """
    found = placements(label, score)
    return None if found is None else found.auc


def delong_covariance(*scores: Placements) -> npt.NDArray[np.float64]:
    """Return the covariance matrix of several AUCs on the same rows; shape (k, k).

    Needs two rows of each class.
    """
    positive = np.atleast_2d(np.cov([s.positive for s in scores]))
    negative = np.atleast_2d(np.cov([s.negative for s in scores]))
    matrix: FloatArray = positive / len(scores[0].positive) + negative / len(scores[0].negative)
    return matrix


def delong_interval(
    found: Placements, confidence: float = 0.95, *, vif: float = 1.0
) -> Interval | None:
    """Return the DeLong interval of an AUC, None with fewer than two rows of a class.

    ``vif`` widens it for rows that are not independent. Above 0.95 (or below 0.05) it is built on
    the logit scale; otherwise cut to [0, 1], and ``clipped`` says so. An AUC of exactly 0 or 1 has
    no logit and no variance: its interval is that of a classifier one pair short of it.
    """
    if min(len(found.positive), len(found.negative)) < 2:
        return None
    z = two_sided_z(confidence)
    value = found.auc
    error = math.sqrt(vif * float(delong_covariance(found)[0, 0]))
    if LOGIT_ABOVE >= value >= 1 - LOGIT_ABOVE:
        low, high = value - z * error, value + z * error
        return Interval(max(0.0, low), min(1.0, high), clipped=low < 0 or high > 1)
    if value in (0.0, 1.0):
        return _border_interval(found, z * math.sqrt(vif))
    width = z * error / (value * (1 - value))
    centre = math.log(value / (1 - value))
    return Interval(_expit(centre - width), _expit(centre + width))


def _border_interval(found: Placements, z: float) -> Interval:
    """Return a one-sided interval at perfect separation, from the smaller class as a proportion."""
    rows = min(len(found.positive), len(found.negative))
    reach = 1 / (1 + z * z / rows)  # Wilson's bound for all of `rows` correct
    return Interval(reach, 1.0) if found.auc == 1.0 else Interval(0.0, 1 - reach)


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@dataclass(frozen=True, slots=True)
class AucDifference:
    """AUC of A minus AUC of B on the same rows, its z and two-sided p."""

    difference: float
    z: float
    p_two_sided: float


def delong_test(a: Placements, b: Placements) -> AucDifference | None:
    """Compare two scores on the same rows (h = 1, nearly independent rows only).

    None where the difference has no variance.
    """
    covariance = delong_covariance(a, b)
    return _difference(a, b, float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))


def delong_test_of_groups(
    a: Placements, b: Placements, is_up: npt.NDArray[np.bool_], groups: IntArray
) -> AucDifference | None:
    """Compare two scores on the same rows, which come in groups (Obuchowski 1997).

    Rows of one group may have anything to do with each other, groups have not. Of groups of one
    row it is ``delong_test``.

    Parameters
    ----------
    is_up, groups
        Of each row, its class and its group, numbered from 0; both shape (n,).

    Returns
    -------
    AucDifference or None
        None where the difference has no variance, or fewer than two groups have rows of a class.
    """
    pulls, variance = [], 0.0
    for own, values in ((is_up, a.positive - b.positive), (~is_up, a.negative - b.negative)):
        held = int(np.count_nonzero(np.bincount(groups[own])))
        if held < 2:
            return None
        count = int(groups.max()) + 1
        pulls.append(sum_by(groups[own], values - values.mean(), count) / len(values))
        variance += held / (held - 1) * float((pulls[-1] ** 2).sum())
    met = len(np.unique(groups))
    return _difference(a, b, variance + 2 * met / (met - 1) * float(pulls[0] @ pulls[1]))


def _difference(a: Placements, b: Placements, variance: float) -> AucDifference | None:
    if variance <= 0:
        return None
    z = (a.auc - b.auc) / math.sqrt(variance)
    return AucDifference(a.auc - b.auc, z, 2 * upper_tail(abs(z)))


def null_sd(n_up: int, n_down: int, vif: float = 1.0) -> float:
    """Return the standard deviation of the AUC of a score that knows nothing (Mann & Whitney 1947).

    >>> round(null_sd(4142, 3987), 6)
    0.006405
    """
    return math.sqrt(vif * (n_up + n_down + 1) / (12 * n_up * n_down))
