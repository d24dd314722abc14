"""What the fits were given and what became of them: S010 and R020.

S010 names the features that are missing at bars where they should be known: the decisions of these
bars, and of the windows that hold them, are left out of everything. R020 names the folds whose
training diverged and was started over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from perpwalk.domain import FeatureFrame, Finding, Level

MANY = 0.01  # of the bars: a warning
_NAMED = 3


def missing_features(frame: FeatureFrame) -> Iterator[Finding]:
    """Yield S010 where features are NaN after the first complete row."""
    rows = frame.values[frame.warmup :]
    missing = np.isnan(rows)
    incomplete = missing.any(axis=1)
    if not incomplete.any():
        return
    per_feature = missing.sum(axis=0)
    most = np.argsort(-per_feature, kind="stable")[:_NAMED]
    named = ", ".join(f"{frame.names[k]} at {per_feature[k]:,}" for k in most if per_feature[k])
    first = frame.close_time[frame.warmup + int(np.argmax(incomplete))]
    yield Finding(
        code="S010",
        level=Level.WARN if incomplete.mean() > MANY else Level.INFO,
        where="features",
        message="bars at which features are missing: their decisions are left out",
        observed=f"{int(incomplete.sum()):,} of {len(rows):,} bars from {first} on: {named}",
        expected="every feature at every bar after its look-back",
        why="what is left out is neither fitted, traded nor scored",
        advice="exclude the feature (features.exclude), or let it say something at every bar",
    )


def trainings(models: Mapping[int, object], *, seed: int | None = None) -> Iterator[Finding]:
    """Yield R020 for each fold whose training was started over; ``models`` by fold number.

    ``seed`` is that of a repeat (``compute.seeds``); None for the run's own.
    """
    repeat = "" if seed is None else f"seed {seed} "
    for number, model in models.items():
        given_up = getattr(model, "given_up", ())
        if not given_up:
            continue
        told = "; ".join(
            f"at {one.learning_rate:g} in epoch {one.epoch} {one.reason}" for one in given_up
        )
        yield Finding(
            code="R020",
            level=Level.WARN,
            where=f"{repeat}fold {number:03d}",
            message="training diverged and was started over at a tenth of the learning rate",
            observed=f"{len(given_up)} attempts given up: {told}",
            expected="none",
            why="the model learned at another rate than the one that was asked for",
            advice="lower model.lstm.learning_rate",
        )
