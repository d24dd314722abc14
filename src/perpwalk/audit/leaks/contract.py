"""What a leak detector needs of a pipeline: raw data in, forecasts and a trace of the stages out.

A pipeline is a black box that turns a market and a seed into out-of-sample forecasts, refitting
everything. Detectors change the market (the future, the signs, the edge) or, through a ``Probe``,
what passes between two stages, and look at what comes out. They never look inside; the trace only
serves to say *which* stage moved when a forecast did.

A pipeline must be pure: no caches, no network, the same answer to the same question.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import pandas as pd

from perpwalk.domain import (
    FeatureFrame,
    Finding,
    FloatArray,
    Fold,
    LabelFrame,
    Level,
    Market,
)

Refeature = Callable[[FeatureFrame, LabelFrame], FeatureFrame]
Relabel = Callable[[LabelFrame], LabelFrame]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What a detector changes between the stages of one run.

    Attributes
    ----------
    features
        Applied to the features before folds are cut; None leaves them alone.
    labels
        Applied to the labels before anything uses them; None leaves them alone.
    only_folds
        Fit only the folds with these numbers; None fits all.
    memorise
        Replace the model by one that learns its training rows by heart (``canaries.Memoriser``).
    """

    features: Refeature | None = None
    labels: Relabel | None = None
    only_folds: Collection[int] | None = None
    memorise: bool = False

    def wants(self, number: int) -> bool:
        """Whether the fold of this number is to be fitted."""
        return self.only_folds is None or number in self.only_folds


PLAIN = Probe()


@dataclass(frozen=True, eq=False, kw_only=True)
class FoldTrace:
    """What one fold did.

    Attributes
    ----------
    fold
        Rows of train, validation and test.
    fitted
        Per fitted stage a digest of its parameters, in the order in which they are fitted, such as
        ``{"selection": …, "scaler": …, "stopping": …, "model": …}``.
    threshold
        Probability above which a forecast counts as up.
    p_up
        Forecasts of ``fold.test.rows``; shape (m,).
    """

    fold: Fold
    fitted: Mapping[str, str]
    threshold: float
    p_up: FloatArray


@dataclass(frozen=True, eq=False, kw_only=True)
class PipelineOutput:
    """What came out of one run: features and labels of every bar, and each fitted fold."""

    features: FeatureFrame
    labels: LabelFrame
    folds: tuple[FoldTrace, ...]

    @property
    def predictions(self) -> pd.DataFrame:
        """One row per test decision of the fitted folds.

        Columns: close_time, fold, row (of the market), p_up, threshold, label (-1 where there is
        none), forward_return (NaN where there is none).
        """
        return pd.concat([self._of(trace) for trace in self.folds], ignore_index=True)

    def _of(self, trace: FoldTrace) -> pd.DataFrame:
        rows = trace.fold.test.rows
        return pd.DataFrame(
            {
                "close_time": self.labels.close_time[rows],
                "fold": trace.fold.number,
                "row": rows,
                "p_up": trace.p_up,
                "threshold": trace.threshold,
                "label": self.labels.label[rows],
                "forward_return": self.labels.forward_return[rows],
            }
        )


class Pipeline(Protocol):
    """The black box."""

    def __call__(self, market: Market, seed: int, probe: Probe = PLAIN) -> PipelineOutput:
        """Compute features and labels, cut folds, fit and forecast each."""
        ...

    def features(self, market: Market) -> FeatureFrame:
        """Compute the features alone, without fitting anything."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one detector found.

    Attributes
    ----------
    detector
        Short name, such as ``perturbation``.
    summary
        One line with the numbers it judged by.
    numbers
        The same, by name; None where undefined.
    """

    detector: str
    summary: str
    findings: tuple[Finding, ...] = ()
    numbers: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def caught(self) -> bool:
        """Whether it raised an alarm: a warning or an error."""
        return any(finding.level is not Level.INFO for finding in self.findings)


def digest(*parts: object) -> str:
    """Return the sha256 of arrays (by dtype, shape and bytes) and of anything else by ``repr``.

    >>> digest(np.zeros(2)) == digest(np.zeros(2)), digest(1.0) == digest(2.0)
    (True, False)
    """
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype}{part.shape}".encode())
            total.update(np.ascontiguousarray(part).tobytes())
        elif isinstance(part, bytes):
            total.update(part)
        else:
            total.update(repr(part).encode())
    return total.hexdigest()
