"""A model that standardises over the rows it is asked for: in a batch it sees the whole test."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import expit

from perpwalk.domain import Float32Array, IntArray
from perpwalk.models.base import FitContext, Prediction, Sample
from perpwalk.models.baselines import FittedLogistic, LogisticModel

WINDOW = 3  # bars: its folds begin later than those of a model that looks at one


@dataclass(eq=False)
class FittedBatchwise(FittedLogistic):
    """Ranks a row among those asked for with it; ``strict`` divides by their deviation, even 0."""

    strict: bool = False

    kind: ClassVar[str] = "batchwise:FittedBatchwise"

    def predict(self, values: Float32Array, rows: IntArray) -> Prediction:
        logit = self.logit(values, rows)
        spread = logit.std()
        with np.errstate(invalid="ignore"):  # 0 / 0 of a single row
            scaled = (logit - logit.mean()) / (spread if self.strict or spread > 0 else 1.0)
        return Prediction.of(expit(scaled))


class Batchwise(LogisticModel):
    """Fits an honest regression and forecasts with ``FittedBatchwise``."""

    def __init__(self, strict: bool = False) -> None:
        super().__init__()
        self.timesteps = WINDOW
        self._strict = strict

    def fit(self, train: Sample, validation: Sample, context: FitContext) -> FittedBatchwise:
        honest = super().fit(train, validation, context)
        return FittedBatchwise(
            honest.coefficients, honest.intercept, honest.strength,
            timesteps=WINDOW, strict=self._strict,
        )  # fmt: skip
