"""Where a probability becomes a direction: the decision threshold, chosen on validation."""

from __future__ import annotations

from typing import Literal

import numpy as np

from perpwalk.domain import FloatArray, LabelArray
from perpwalk.finite import require_finite

CONSTANT_FORECAST_SD = 1e-9


def choose_threshold(
    p_up: FloatArray, label: LabelArray, rule: Literal["validation"] | float
) -> float:
    """Return the probability above which the model's opinion counts as *up*.

    A number is returned as it is. ``"validation"`` matches prevalence: the threshold at which the
    share of validation decisions called up equals the share that went up. It needs one quantile
    instead of a search for the best accuracy, whose winner on a few thousand noisy decisions is
    mostly luck, and it makes a mis-calibrated level of the forecast harmless. A constant forecast
    has no quantile to choose: 0.5 then decides, so that a majority model says the majority.

    Parameters
    ----------
    p_up
        Forecasts for the validation decisions, shape (m,).
    label
        Their labels, 0 or 1, shape (m,).

    Examples
    --------
    >>> p = np.array([0.50, 0.51, 0.52, 0.53])
    >>> float(round(choose_threshold(p, np.array([0, 0, 0, 1], dtype=np.int8), "validation"), 6))
    0.525
    """
    if rule != "validation":
        return float(rule)
    require_finite(p_up, "p_up on validation", "P001: no threshold can be chosen from it")
    if float(np.std(p_up)) < CONSTANT_FORECAST_SD:
        return 0.5
    ordered = np.sort(p_up)
    called_down = round((1.0 - float(np.mean(label))) * len(ordered))
    if called_down <= 0 or called_down >= len(ordered):
        return 0.5
    return float((ordered[called_down - 1] + ordered[called_down]) / 2.0)
