"""Boosted trees: shared fitting for the ``xgb`` baseline and for the hybrid.

Hourly directions are close to noise. Trees of depth 6 at a rate of 0.1 learn that noise within a
few rounds unless a leaf must hold a fair share of the sample, so ``min_child_weight`` is given as
a share of the rows and the leaves are shrunk by a strong ``reg_lambda``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xgboost

from perpwalk.config import XgbSection
from perpwalk.domain import Float32Array, IntArray, LabelArray
from perpwalk.errors import UsageError, UserError
from perpwalk.finite import require_number
from perpwalk.models import tree_file
from perpwalk.models.base import (
    EpochReport,
    FitContext,
    History,
    Prediction,
    Sample,
    artifact,
    check_fit,
    check_windows,
    read_config,
    write_config,
)
from perpwalk.strict import NotAsWrittenError

TREES_FILE = "xgb.ubj"
PACKAGES = ("xgboost", "numpy")


@dataclass(frozen=True, eq=False)
class TreeInput:
    """What trees are given: inputs (m, d), labels (m,), and the log-odds they start from (m,).

    Without ``start`` they start from one constant, the log-odds of the train labels.
    """

    inputs: Float32Array
    label: LabelArray
    start: Float32Array | None = None

    def matrix(self, threads: int) -> xgboost.DMatrix:
        """Return xgboost's own copy of it."""
        return xgboost.DMatrix(
            self.inputs, self.label, base_margin=self.start, nthread=threads or None
        )


def train_trees(
    settings: XgbSection,
    train: TreeInput,
    validation: TreeInput,
    context: FitContext,
    history: History,
) -> xgboost.Booster:
    """Boost on ``train``, stop on ``validation``, and keep the best rounds only."""
    evaluated: dict[str, dict[str, list[float]]] = {}
    booster = xgboost.train(
        _parameters(settings, len(train.label), context),
        train_matrix := train.matrix(context.threads),
        num_boost_round=settings.rounds,
        evals=[(train_matrix, "train"), (validation.matrix(context.threads), "validation")],
        evals_result=evaluated,
        verbose_eval=False,
        callbacks=[_Report(history, settings, two_sided(validation.label))],
    )
    return booster[: booster.best_iteration + 1]


def two_sided(label: LabelArray) -> bool:
    """Return whether both directions occur."""
    return bool((label == 1).any() and (label == 0).any())


def _parameters(settings: XgbSection, rows: int, context: FitContext) -> dict[str, Any]:
    weight = settings.min_child_weight
    if weight is None:
        # A row weighs p * (1 - p) in its leaf: a quarter where p is near one half.
        weight = 0.25 * settings.min_leaf_share * rows
    return {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "max_depth": settings.max_depth,
        "learning_rate": settings.learning_rate,
        "subsample": settings.subsample,
        "colsample_bytree": settings.colsample,
        "min_child_weight": weight,
        "reg_lambda": settings.reg_lambda,
        # The last metric named is the one that stops training.
        "eval_metric": ["auc", "logloss"],
        "seed": context.seed,
        "verbosity": 0,
        **({} if context.threads == 0 else {"nthread": context.threads}),
    }


class _Report(xgboost.callback.EarlyStopping):
    """Passes each round on as an epoch report, then stops where the validation loss has to.

    Both in one: XGBoost 3.0 calls several callbacks in no order, and the last round would be
    reported or not.
    """

    def __init__(self, history: History, settings: XgbSection, auc_defined: bool) -> None:
        super().__init__(rounds=settings.early_stopping)
        self.history = history
        self.learning_rate = settings.learning_rate
        self.auc_defined = auc_defined
        self.began = time.perf_counter()

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        now = time.perf_counter()
        validation = evals_log["validation"]
        for span, told in evals_log.items():
            require_number(
                float(told["logloss"][-1]),
                f"the {span} loss of the trees in round {epoch + 1}",
                "lower model.xgb.learning_rate",
                UserError,
            )
        self.history.add(
            EpochReport(
                epoch=epoch + 1,
                train_loss=float(evals_log["train"]["logloss"][-1]),
                validation_loss=float(validation["logloss"][-1]),
                validation_auc=float(validation["auc"][-1]) if self.auc_defined else None,
                learning_rate=self.learning_rate,
                seconds=now - self.began,
                stage="xgb",
            )
        )
        self.began = now
        stopped: bool = super().after_iteration(model, epoch, evals_log)
        return stopped


def forecast(
    booster: xgboost.Booster, inputs: Float32Array, start: Float32Array | None = None
) -> Prediction:
    """Return the trees' opinion on ``inputs`` (m, d)."""
    if len(inputs) == 0:
        return Prediction.of(np.empty(0))
    return Prediction.of(booster.inplace_predict(inputs, base_margin=start))


def save_trees(booster: xgboost.Booster, folder: Path) -> None:
    """Write ``xgb.ubj``."""
    folder.mkdir(parents=True, exist_ok=True)
    # Written by Python, so that a full disk is an OSError like any other.
    (folder / TREES_FILE).write_bytes(booster.save_raw("ubj"))


def load_trees(folder: Path, threads: int = 0) -> xgboost.Booster:
    """Read ``xgb.ubj``; XGBoost is given nothing that has not been looked at.

    Raises
    ------
    UsageError
        The file is missing, or is not as perpwalk writes it.
    """
    file = artifact(folder, TREES_FILE)
    booster = xgboost.Booster({} if threads == 0 else {"nthread": threads})
    try:
        booster.load_model(bytearray(tree_file.checked_bytes(file)))
    except NotAsWrittenError as error:
        raise UsageError(f"{file} {error}; it holds no model of perpwalk's") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
    except xgboost.core.XGBoostError as error:
        first_line = str(error).strip().splitlines()[0]
        raise UsageError(f"{file} holds no xgboost model: {first_line}") from error
    return booster


# ── trees on raw features ────────────────────────────────────────────────────────────────────────


class XgbModel:
    """Trees on the features of the decision's own bar: the ``xgb`` baseline."""

    def __init__(self, settings: XgbSection) -> None:
        self.settings = settings
        self.timesteps = 1

    def fit(self, train: Sample, validation: Sample, context: FitContext) -> FittedXgb:
        """Boost on ``train``, stop on ``validation``.

        Raises
        ------
        UserError
            A span is empty, one-sided or holds values that are not finite.
        """
        check_fit(train, validation, self.timesteps)
        history = History(context.on_epoch)
        booster = train_trees(
            self.settings,
            TreeInput(train.values[train.rows], train.label),
            TreeInput(validation.values[validation.rows], validation.label),
            context,
            history,
        )
        return FittedXgb(booster, tuple(history.reports))


@dataclass(eq=False)
class FittedXgb:
    """Fitted trees on raw features."""

    booster: xgboost.Booster
    training: tuple[EpochReport, ...] = ()
    timesteps: int = 1

    kind: ClassVar[str] = "xgb"

    def predict(self, values: Float32Array, rows: IntArray) -> Prediction:
        """Forecast ``rows`` (m,) of the table ``values`` (n, k)."""
        check_windows(values, rows, self.timesteps)
        expect_inputs(self.booster, values.shape[1])
        return forecast(self.booster, values[rows])

    def save(self, folder: Path) -> None:
        """Write ``xgb.ubj`` and ``config.json``."""
        save_trees(self.booster, folder)
        write_config(folder, self.kind, PACKAGES, features=self.booster.num_features())

    @classmethod
    def load(cls, folder: Path) -> FittedXgb:
        """Read what ``save`` wrote."""
        read_config(folder, cls.kind)
        return cls(load_trees(folder))


def expect_inputs(booster: xgboost.Booster, width: int) -> None:
    """Refuse a table of another width than the trees were fitted on."""
    if booster.num_features() != width:
        raise UsageError(f"the model was fitted on {booster.num_features()} features, got {width}")
