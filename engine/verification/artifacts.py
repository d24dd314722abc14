"""Checks of what was learned: architecture, model files, forecasts, thresholds, training log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from engine import walkforward
from engine.stages import Prepared
from engine.verification.facts import Facts, FailedError, Step, fail_if, model_folder, same_files
from engine.walkforward import FoldResult
from perpwalk import models, runs
from perpwalk.config import ModelSection
from perpwalk.domain import UNDEFINED_LABEL, FloatArray, Fold, Forecast, IntArray
from perpwalk.preprocess import Preprocessor
from perpwalk.signals import FittedFold
from perpwalk.thresholds import choose_threshold

_SIZES = ("timesteps", "layers", "hidden", "dropout", "dense", "embedding")


# ── architecture and model files ─────────────────────────────────────────────────────────────────


def _architecture(facts: Facts) -> str:
    asked = facts.config.model
    timesteps = models.build_model(asked).timesteps
    wrong = []
    for fold in facts.prepared.folds:
        place = model_folder(fold.number)
        stored = models.base.read_config(facts.path / place)
        wanted = _wanted(asked, stored, facts.path / place)
        wrong += [
            f"{place}/config.json: {key} is {stored.get(key)!r}, expected {value!r}"
            for key, value in wanted.items()
            if stored.get(key) != value
        ]
        wrong += [f"{place}/config.json: {text}" for text in _foreign_versions(facts, stored)]
    fail_if(wrong)
    return f"{asked.kind}, windows of {timesteps} bars, in {len(facts.prepared.folds)} folds"


def _wanted(asked: ModelSection, stored: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """Return what a model's ``config.json`` has to say, of the keys that it has."""
    features = len(Preprocessor.load(place).names)
    everything = {
        "kind": asked.kind,
        "lstm": asked.lstm.model_dump(include=set(_SIZES)),
        "raw_features": asked.raw_features,
        "trees_start": asked.trees_start,
        "features": features,
    }
    return {key: value for key, value in everything.items() if key in stored or key == "kind"}


def _foreign_versions(facts: Facts, stored: Mapping[str, Any]) -> Iterator[str]:
    made_with = facts.manifest["versions"]
    for name, version in stored.get("versions", {}).items():
        if name in made_with and made_with[name] != version:
            yield f"made with {name} {version}, the run with {made_with[name]}"


def _models_load(facts: Facts) -> str:
    thresholds = dict(
        zip(facts.run.folds["fold"].tolist(), facts.run.folds["threshold"].tolist(), strict=True)
    )
    fitted = []
    for fold in facts.prepared.folds:
        place = facts.path / model_folder(fold.number)
        try:
            model = models.load_model(place)
            fitted.append(
                FittedFold(fold, Preprocessor.load(place), model, thresholds[fold.number])
            )
        except Exception as error:
            raise FailedError(f"{model_folder(fold.number)}: {error}") from error
    facts.known["models"] = fitted
    return f"{len(fitted)} folds"


def _forecasts_again(facts: Facts) -> str:
    prepared = facts.prepared
    results = [
        FoldResult(one, _forecast(one, prepared), _validation(one, prepared), ())
        for one in facts.fitted
    ]
    facts.known["forecasts"] = results
    again = walkforward.predictions_table(
        [result.forecast for result in results],
        prepared.labels,
        [result.fitted.threshold for result in results],
    )
    facts.known["forecasts' table"] = again
    runs.write_parquet(facts.again / "predictions.parquet", again.drop(columns="threshold"))
    fail_if(_unlike_forecasts(facts.run.predictions, again))
    same_files(facts, ["predictions.parquet"])
    return f"{len(again):,} forecasts, labels and returns equal bit for bit"


def _forecast(one: FittedFold, prepared: Prepared) -> Forecast:
    rows = one.fold.test.rows
    first = int(rows[0]) - one.model.timesteps + 1
    values = one.preprocessor.transform(prepared.features.values[first : int(rows[-1]) + 1])
    made = one.model.predict(values, rows - first)
    return Forecast(
        fold=one.fold.number,
        close_time=prepared.features.close_time[rows],
        rows=rows,
        p_up=made.p_up,
        embedding=made.embedding,
    )


def _unlike_forecasts(stored: pd.DataFrame, again: pd.DataFrame) -> Iterator[str]:
    """Name the folds whose stored forecasts are not those of their model."""
    if len(stored) != len(again) or "p_up" not in stored:
        return
    unlike = stored["p_up"].to_numpy() != again["p_up"].to_numpy()
    for number in again["fold"][unlike].unique().tolist():
        rows = unlike & (again["fold"] == number).to_numpy()
        yield (
            f"predictions.parquet and {model_folder(number)} do not belong together: "
            f"{int(rows.sum()):,} forecasts of fold {number} differ"
        )


def _validation(one: FittedFold, prepared: Prepared) -> FloatArray:
    """Return the model's forecasts of the labelled validation decisions."""
    rows = _labelled(one.fold, prepared)
    end = int(one.fold.validation.rows[-1]) + 1
    values = one.preprocessor.transform(prepared.features.values[:end])
    return one.model.predict(values, rows).p_up


def _labelled(fold: Fold, prepared: Prepared) -> IntArray:
    labelled = prepared.labels.label[fold.validation.rows] != UNDEFINED_LABEL
    rows: IntArray = fold.validation.rows[labelled]
    return rows


def _thresholds_again(facts: Facts) -> str:
    prepared, rule = facts.prepared, facts.config.strategy.threshold
    wrong = []
    for result in facts.results:
        one = result.fitted
        label = prepared.labels.label[_labelled(one.fold, prepared)]
        chosen = choose_threshold(result.validation_p_up, label, rule)
        if chosen != one.threshold:
            wrong.append(
                f"folds.csv: threshold {one.threshold!r} of fold {one.fold.number}, "
                f"validation gives {chosen!r}"
            )
    fail_if(wrong)
    return "every threshold follows from its fold's validation forecasts"


def _training(facts: Facts) -> str:
    """Hold the training log against the configuration: it cannot be made again without fitting."""
    log, folds = facts.run.training, facts.prepared.folds
    strange = sorted(set(log["fold"]) - {fold.number for fold in folds})
    if strange:
        raise FailedError(f"training.csv speaks of fold {strange[0]}, which there is not")
    for (fold, stage), part in log.groupby(["fold", "stage"], sort=True):
        epochs = part["epoch"].tolist()
        if epochs != list(range(epochs[0], epochs[0] + len(epochs))):
            raise FailedError(f"training.csv: epochs of fold {fold}, {stage}, are not consecutive")
    if not log["validation_auc"].dropna().between(0, 1).all():
        raise FailedError("training.csv: a validation AUC lies outside [0, 1]")
    return f"{len(log):,} epochs and rounds, consecutive in every fold"


STEPS: tuple[Step, ...] = (
    ("architecture", "as configured", _architecture),
    ("model files", "load", _models_load),
    ("model files", "forecasts made again", _forecasts_again),
    ("model files", "thresholds made again", _thresholds_again),
    ("model files", "training log", _training),
)
