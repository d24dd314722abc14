"""(c) With labels that belong to other rows, retrained, nothing must be found.

Labels are shifted around a circle by at least two horizons: their own autocorrelation stays, which
a plain shuffle destroys (and then raises 21 to 34 % false alarms where labels overlap). What still
finds something chose by the test labels themselves: a selection, a stopping rule, a train set that
contains the test. It is blind to features that know the future.
"""

from __future__ import annotations

import numpy as np

from perpwalk.audit.leaks.contract import Outcome, Pipeline, Probe
from perpwalk.audit.leaks.scoring import MeanTest, fold_auc, mean_is_half
from perpwalk.domain import UNDEFINED_LABEL, Finding, LabelFrame, Level, Market, frozen_array

_MARGIN = 50


def audit_permutation(pipeline: Pipeline, market: Market, seed: int, *, runs: int) -> Outcome:
    """Retrain on circularly shifted labels ``runs`` times and test the mean AUC against 0.5."""
    draw = np.random.default_rng([seed, 3])
    aucs = []
    for _ in range(runs):
        position = float(draw.random())
        probe = Probe(labels=lambda labels, at=position: shifted(labels, at))  # type: ignore[misc]
        aucs.append(fold_auc(pipeline(market, seed, probe)))
    found = mean_is_half(aucs)
    if found is None:
        return Outcome(detector="permutation", summary="not judged: the labels have one class")
    return Outcome(
        detector="permutation",
        summary=f"shifted labels: {found.words}",
        findings=(_finding(found),) if found.z > 0 and found.alarm else (),
        numbers={"mean_auc": found.mean, "z": found.z, "detectable": found.detectable},
    )


def shifted(labels: LabelFrame, position: float) -> LabelFrame:
    """Return labels moved around the circle of labelled rows.

    Parameters
    ----------
    position
        In [0, 1): how far between the least and the most shift allowed, which is
        ``2 * horizon + 50`` rows either way.
    """
    rows = np.flatnonzero(labels.label != UNDEFINED_LABEL)
    margin = min(2 * labels.horizon + _MARGIN, len(rows) // 2)
    by = margin + int(position * max(len(rows) - 2 * margin, 1))
    label, forward = labels.label.copy(), labels.forward_return.copy()
    label[rows] = np.roll(label[rows], by)
    forward[rows] = np.roll(forward[rows], by)
    return LabelFrame(
        close_time=labels.close_time,
        known_at=labels.known_at,
        forward_return=frozen_array(forward),
        label=frozen_array(label, np.int8),
        horizon=labels.horizon,
        ties=labels.ties,
        across_gap=labels.across_gap,
    )


def _finding(found: MeanTest) -> Finding:
    return Finding(
        code="K003",
        level=Level.ERROR,
        where="fit and evaluation",
        message="the pipeline finds an edge in labels that belong to other rows",
        observed=found.words,
        expected="0.5",
        why="something was chosen by the test labels: features, an epoch, a threshold, or the "
        "test rows are among the train rows",
        advice="fit on train, choose on validation; the K002 findings name the stage",
    )
