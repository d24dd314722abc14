"""The models any other must beat: logistic regression on the last bar, and the majority.

Their few numbers stand in ``config.json``: JSON keeps a float64 to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit

from perpwalk.domain import Float32Array, FloatArray, IntArray, LabelArray
from perpwalk.errors import UsageError
from perpwalk.finite import require_finite
from perpwalk.models.base import (
    CONFIG_FILE,
    EpochReport,
    FitContext,
    Prediction,
    Sample,
    check_fit,
    check_windows,
    read_config,
    write_config,
)

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # inverse L2 penalties tried, strongest penalty first


class LogisticModel:
    """Logistic regression on the features of the decision's own bar.

    The penalty is the one with the lowest log loss on validation; ties go to the stronger one.
    """

    def __init__(self) -> None:
        self.timesteps = 1

    def fit(self, train: Sample, validation: Sample, context: FitContext) -> FittedLogistic:  # noqa: ARG002
        """Fit one regression per penalty on ``train`` and keep the best on ``validation``."""
        check_fit(train, validation, self.timesteps)
        tried = _regressions(train)
        losses = [
            _log_loss(validation.label, model.logit(validation.values, validation.rows))
            for model in tried
        ]
        require_finite(
            losses, "the log loss of the regression", "scale the features", rows=STRENGTHS
        )
        return tried[int(np.argmin(losses))]


def _regressions(train: Sample) -> list[FittedLogistic]:
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    inputs = train.values[train.rows].astype(np.float64)
    fitted = []
    # One thread: the sums then do not depend on the machine's cores, and the problem is small.
    with threadpool_limits(limits=1):
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=1000).fit(inputs, train.label)
            fitted.append(
                FittedLogistic(model.coef_[0].copy(), float(model.intercept_[0]), strength)
            )
    return fitted


def _log_loss(label: LabelArray, logit: FloatArray) -> float:
    return float(np.mean(np.logaddexp(0.0, np.where(label == 1, -logit, logit))))


@dataclass(eq=False)
class FittedLogistic:
    """Coefficients (k,) and intercept of a fitted regression."""

    coefficients: FloatArray
    intercept: float
    strength: float
    training: tuple[EpochReport, ...] = ()
    timesteps: int = 1

    kind: ClassVar[str] = "logistic"

    def logit(self, values: Float32Array, rows: IntArray) -> FloatArray:
        """Return log-odds (m,)."""
        if values.shape[1] != len(self.coefficients):
            raise UsageError(
                f"the model was fitted on {len(self.coefficients)} features, got {values.shape[1]}"
            )
        # Summed row by row: a matrix product's last bits depend on how many rows there are.
        terms = values[rows] * self.coefficients
        total: FloatArray = terms.sum(axis=1) + self.intercept
        return total

    def predict(self, values: Float32Array, rows: IntArray) -> Prediction:
        """Forecast ``rows`` (m,) of the table ``values`` (n, k)."""
        check_windows(values, rows, self.timesteps)
        return Prediction.of(expit(self.logit(values, rows)))

    def save(self, folder: Path) -> None:
        """Write ``config.json``."""
        write_config(
            folder,
            self.kind,
            ("scikit-learn", "numpy"),
            coefficients=self.coefficients.tolist(),
            intercept=self.intercept,
            strength=self.strength,
        )

    @classmethod
    def load(cls, folder: Path) -> FittedLogistic:
        """Read what ``save`` wrote."""
        config = read_config(folder, cls.kind)
        weights = _fact(folder, config, "coefficients")
        if not isinstance(weights, list):
            raise _no_number(folder, "coefficients", weights)
        return cls(
            coefficients=np.array(
                [_checked(folder, "coefficients", one) for one in weights], dtype=np.float64
            ),
            intercept=_number(folder, config, "intercept"),
            strength=_number(folder, config, "strength"),
        )


class MajorityModel:
    """The share of up moves in train, whatever the features say."""

    def __init__(self) -> None:
        self.timesteps = 1

    def fit(self, train: Sample, validation: Sample, context: FitContext) -> FittedMajority:  # noqa: ARG002
        """Count."""
        check_fit(train, validation, self.timesteps)
        return FittedMajority(up_rate=float(np.mean(train.label == 1)))


@dataclass(eq=False)
class FittedMajority:
    """One probability for every decision."""

    up_rate: float
    training: tuple[EpochReport, ...] = ()
    timesteps: int = 1

    kind: ClassVar[str] = "majority"

    def predict(self, values: Float32Array, rows: IntArray) -> Prediction:
        """Forecast ``rows`` (m,) of the table ``values`` (n, k)."""
        check_windows(values, rows, self.timesteps)
        return Prediction.of(np.full(len(rows), self.up_rate))

    def save(self, folder: Path) -> None:
        """Write ``config.json``."""
        write_config(folder, self.kind, ("numpy",), up_rate=self.up_rate)

    @classmethod
    def load(cls, folder: Path) -> FittedMajority:
        """Read what ``save`` wrote."""
        up_rate = _number(folder, read_config(folder, cls.kind), "up_rate")
        if not 0 <= up_rate <= 1:
            raise UsageError(f"{folder / CONFIG_FILE}: up_rate {up_rate:g} is no share")
        return cls(up_rate=up_rate)


def _fact(folder: Path, config: Any, name: str) -> Any:
    try:
        return config[name]
    except KeyError as error:
        raise UsageError(f"{folder / CONFIG_FILE} lacks '{name}'") from error


def _number(folder: Path, config: Any, name: str) -> float:
    return _checked(folder, name, _fact(folder, config, name))


def _checked(folder: Path, name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _no_number(folder, name, value)
    return float(value)


def _no_number(folder: Path, name: str, value: Any) -> UsageError:
    return UsageError(f"{folder / CONFIG_FILE}: {name} holds {str(value)[:40]!r}, no number")
