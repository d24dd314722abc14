"""Checks of what was learned: architecture, model files, forecasts, thresholds, training log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from engine import tables
from engine.parts import Prepared, Walked
from engine.verification.facts import (
    Facts,
    FailedError,
    Step,
    fail_if,
    model_folder,
    of,
    same_files,
)
from engine.walkforward import FoldResult
from perpwalk import models, runs, seal
from perpwalk.config import ModelSection
from perpwalk.domain import UNDEFINED_LABEL, FloatArray, Fold, Forecast, IntArray, bar_numbers
from perpwalk.models.base import forecasts_of
from perpwalk.preprocess import Preprocessor
from perpwalk.signals import FittedFold
from perpwalk.thresholds import choose_threshold

_SIZES = (
    "sequence", "timesteps", "stretch", "layers", "hidden", "dropout", "dense", "embedding",
)  # fmt: skip


# ── architecture and model files ─────────────────────────────────────────────────────────────────


def _architecture(facts: Facts) -> str:
    asked = facts.config.model
    timesteps = models.build_model(asked).timesteps
    wrong = []
    for one, fold in facts.folds:
        place = model_folder(fold.number, one.name)
        stored = models.base.read_config(facts.path / place)
        wanted = _wanted(asked, stored, facts.path / place)
        wrong += [
            f"{place}/config.json: {key} is {stored.get(key)!r}, expected {value!r}"
            for key, value in wanted.items()
            if stored.get(key) != value
        ]
        wrong += [f"{place}/config.json: {text}" for text in _foreign_versions(facts, stored)]
    fail_if(wrong)
    return f"{asked.kind}, windows of {timesteps} bars, in {len(list(facts.folds))} folds"


def _wanted(asked: ModelSection, stored: Mapping[str, Any], place: Path) -> dict[str, Any]:
    """Return what a model's ``config.json`` has to say, of the keys that it has."""
    if models.is_own(asked):  # its sizes are its own, and it may well leave one of ours behind
        fits = models.is_of(stored["kind"], asked)
        return {"kind": stored["kind"] if fits else asked.kind}
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
    stored = facts.run.folds
    fitted = []
    for one in facts.prepared:
        mine = stored if one.name is None else stored[stored["symbol"] == one.name]
        thresholds = dict(zip(mine["fold"].tolist(), mine["threshold"].tolist(), strict=True))
        fitted.append([_loaded(facts, one, fold, thresholds) for fold in one.folds])
    facts.known["models"] = fitted
    return f"{sum(map(len, fitted))} folds"


def _loaded(
    facts: Facts, prepared: Prepared, fold: Fold, thresholds: Mapping[int, float]
) -> FittedFold:
    place = model_folder(fold.number, prepared.name)
    changed = [
        one.file
        for one in seal.broken(facts.manifest, facts.path)
        if one.file.startswith(f"{place}/")
    ]
    if changed:  # a parser of trees is not written for files that somebody has changed
        raise FailedError(f"{changed[0]} is not as it was written; it is not loaded")
    try:
        model = models.load_model(facts.path / place, code=facts.config.model.kind)
        scaler = Preprocessor.load(facts.path / place)
        return FittedFold(fold, scaler, model, thresholds[fold.number])
    except Exception as error:
        raise FailedError(f"{place}: {error}") from error


def _forecasts_again(facts: Facts) -> str:
    walked = [
        Walked(
            one,
            [FoldResult(fold, _forecast(fold, one), _validation(fold, one), ()) for fold in fitted],
        )
        for one, fitted in zip(facts.prepared, facts.fitted, strict=True)
    ]
    facts.known["forecasts"] = walked
    again = tables.predictions_of(walked)
    facts.known["forecasts' table"] = again
    runs.write_parquet(facts.again / "predictions.parquet", again.drop(columns="threshold"))
    fail_if(_unlike_forecasts(facts.run.predictions, again))
    same_files(facts, ["predictions.parquet"])
    return f"{len(again):,} forecasts, labels and returns equal bit for bit"


def _forecast(one: FittedFold, prepared: Prepared) -> Forecast:
    rows = one.fold.test.rows
    used = slice(int(rows[0]) - one.model.timesteps + 1, int(rows[-1]) + 1)
    values = one.preprocessor.transform(prepared.features.values[used])
    made = forecasts_of(one.model, values, rows - used.start, _clock(prepared)[used])
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
    unlike = again[stored["p_up"].to_numpy() != again["p_up"].to_numpy()]
    names = unlike["symbol"] if "symbol" in unlike else pd.Series(None, unlike.index, dtype=object)
    for (name, number), rows in unlike.groupby([names, unlike["fold"]], dropna=False):
        folder = model_folder(int(str(number)), None if pd.isna(name) else str(name))
        yield (
            f"predictions.parquet and {folder} do not belong together: "
            f"{len(rows):,} forecasts of fold {number} differ"
        )


def _validation(one: FittedFold, prepared: Prepared) -> FloatArray:
    """Return the model's forecasts of the labelled validation decisions."""
    rows = _labelled(one.fold, prepared)
    end = int(one.fold.validation.rows[-1]) + 1
    values = one.preprocessor.transform(prepared.features.values[:end])
    return forecasts_of(one.model, values, rows, _clock(prepared)[:end]).p_up


def _clock(prepared: Prepared) -> IntArray:
    return bar_numbers(prepared.features.close_time, prepared.market.bars.interval)


def _labelled(fold: Fold, prepared: Prepared) -> IntArray:
    labelled = prepared.labels.label[fold.validation.rows] != UNDEFINED_LABEL
    rows: IntArray = fold.validation.rows[labelled]
    return rows


def _thresholds_again(facts: Facts) -> str:
    rule, wrong = facts.config.strategy.threshold, []
    for walked in facts.walked:
        prepared = walked.prepared
        for result in walked.results:
            one = result.fitted
            label = prepared.labels.label[_labelled(one.fold, prepared)]
            chosen = choose_threshold(result.validation_p_up, label, rule)
            if chosen != one.threshold:
                wrong.append(
                    f"folds.csv: threshold {one.threshold!r} of {of(prepared.name)}fold "
                    f"{one.fold.number}, validation gives {chosen!r}"
                )
    fail_if(wrong)
    return "every threshold follows from its fold's validation forecasts"


def _training(facts: Facts) -> str:
    """Hold the training log against the configuration: it cannot be made again without fitting."""
    log = facts.run.training
    for one in facts.prepared:
        mine = log if one.name is None else log[log["symbol"] == one.name]
        strange = sorted(set(mine["fold"]) - {fold.number for fold in one.folds})
        if strange:
            raise FailedError(
                f"training.csv speaks of {of(one.name)}fold {strange[0]}, which there is not"
            )
        for (fold, stage), part in mine.groupby(["fold", "stage"], sort=True):
            epochs = part["epoch"].tolist()
            if epochs != list(range(epochs[0], epochs[0] + len(epochs))):
                raise FailedError(
                    f"training.csv: epochs of {of(one.name)}fold {fold}, {stage}, are not "
                    "consecutive"
                )
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
