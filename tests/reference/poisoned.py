"""A model that forecasts something else than a probability at one decision."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from perpwalk.domain import Float32Array, IntArray
from perpwalk.models.base import FitContext, Prediction, Sample
from perpwalk.models.baselines import FittedLogistic, LogisticModel


@dataclass(eq=False)
class FittedPoisoned(FittedLogistic):
    """Says ``value`` of the fourth decision, from the ``calls``-th call on."""

    value: float = 0.5
    calls: int = 1
    embedding: bool = False

    kind: ClassVar[str] = "poisoned:FittedPoisoned"

    def predict(self, values: Float32Array, rows: IntArray) -> Prediction:
        self.calls -= 1
        made = super().predict(values, rows)
        if self.calls > 0 or len(rows) < 4:
            return made
        poisoned = np.array(made.embedding if self.embedding else made.p_up)
        poisoned[3] = self.value
        return replace(made, **{"embedding" if self.embedding else "p_up": poisoned})


class Poisoned(LogisticModel):
    """Fits a regression; ``calls`` 1 poisons validation and test, 2 the test only."""

    def __init__(self, value: float, calls: int = 1, embedding: bool = False) -> None:
        super().__init__()
        self._poison = {"value": value, "calls": calls, "embedding": embedding}

    def fit(self, train: Sample, validation: Sample, context: FitContext) -> FittedPoisoned:
        honest = super().fit(train, validation, context)
        return FittedPoisoned(
            honest.coefficients, honest.intercept, honest.strength, **self._poison
        )
