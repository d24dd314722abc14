"""Walk forward: per fold fit on the past, choose a threshold on validation, forecast the test.

``fit`` is handed arrays that end with the validation span: the test rows do not exist for it. A
fitted fold is kept on disk as soon as it is done, so that an interrupted run goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from perpwalk import models, preprocess, runs, seal
from perpwalk.config import Config
from perpwalk.domain import (
    UNDEFINED_LABEL,
    FeatureFrame,
    Float32Array,
    FloatArray,
    Fold,
    Forecast,
    IntArray,
    LabelArray,
    LabelFrame,
    bar_numbers,
    to_ns,
)
from perpwalk.errors import UsageError
from perpwalk.labels import purge_bars
from perpwalk.models.base import EpochReport, FitContext, FittedModel, Sample, forecasts_of
from perpwalk.preprocess import Preprocessor
from perpwalk.signals import FittedFold
from perpwalk.thresholds import choose_threshold

EpochCallback = Callable[[int, EpochReport], None]


@dataclass(frozen=True, eq=False)
class FoldResult:
    """What one fold hands on: the fitted parts, the forecast of its test span, its training."""

    fitted: FittedFold
    forecast: Forecast
    validation_p_up: FloatArray
    training: tuple[EpochReport, ...]
    resumed: bool = False


def fold_seed(seed: int, number: int) -> int:
    """Return a seed of its own for each fold, the same in every process."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0] & 0x7FFFFFFF)


class WalkForward:
    """Fits and forecasts the folds of one experiment, one after the other.

    Parameters
    ----------
    features, labels
        One row per bar of the market.
    work
        Folder in which finished folds are kept; a fold found there is taken up, not refitted.
        None keeps nothing: the whole walk is a pure function of its arguments.
    on_epoch
        Called with the fold's number after each epoch.
    """

    def __init__(
        self,
        config: Config,
        features: FeatureFrame,
        labels: LabelFrame,
        *,
        work: Path | None = None,
        on_epoch: EpochCallback | None = None,
    ) -> None:
        self._config = config
        self._features = features
        self._labels = labels
        self._work = work
        self._on_epoch = on_epoch
        self._model = models.build_model(config.model)
        # The smallest step: the first one may lie over a gap.
        interval = pd.Timedelta(np.diff(to_ns(features.close_time)).min(), "ns")
        self._clock = bar_numbers(features.close_time, interval)
        self._purge = purge_bars(config.label, interval)

    def run(self, folds: Sequence[Fold]) -> Iterator[FoldResult]:
        """Yield the result of each fold in order."""
        for fold in folds:
            if self._work is None:
                yield self._fit(fold)
                continue
            folder = self._work / f"fold-{fold.number:03d}"
            yield self._kept(fold, folder) if folder.is_dir() else _keep(self._fit(fold), folder)

    # ── one fold ─────────────────────────────────────────────────────────────────────────────────

    def _fit(self, fold: Fold) -> FoldResult:
        # Nothing after the validation span exists for a fit: it cannot look at the test.
        end = int(fold.validation.rows[-1]) + 1
        past_features, past_labels = self._features.until(end), self._labels.until(end)
        seed = fold_seed(self._config.seed, fold.number)
        preprocessor = preprocess.fit_preprocessor(
            past_features, past_labels, fold.train.rows, self._config.features, seed
        )
        past_values = preprocessor.transform(past_features.values)
        validation = self._sample(past_values, fold.validation.rows, past_labels)
        model = self._model.fit(
            self._sample(past_values, fold.train.rows, past_labels),
            validation,
            self._context(fold, seed),
        )
        opinion = forecasts_of(model, past_values, validation.rows, self._clock[:end]).p_up
        threshold = choose_threshold(opinion, validation.label, self._config.strategy.threshold)
        fitted = FittedFold(fold, preprocessor, model, threshold)
        # Only what is kept has files to compare; the leak audit compares in its own way.
        frozen = None if self._work is None else artifact_hash(model)
        made = self._forecast(fitted)
        if frozen is not None and artifact_hash(model) != frozen:
            raise UsageError(
                f"S004 fold {fold.number}: the model '{self._config.model.kind}' changed itself "
                "while it forecast the test span; predict must leave what was fitted as it is"
            )
        return FoldResult(fitted, made, opinion, model.training)

    def _sample(self, values: Float32Array, rows: IntArray, labels: LabelFrame) -> Sample:
        return Sample(values, *_labelled(rows, labels), clock=self._clock[: len(values)])

    def _context(self, fold: Fold, seed: int) -> FitContext:
        callback, number = self._on_epoch, fold.number
        return FitContext(
            seed=seed,
            device=self._config.compute.device,
            threads=self._config.compute.threads,
            purge=self._purge,
            on_epoch=None if callback is None else lambda report: callback(number, report),
        )

    def _forecast(self, fitted: FittedFold) -> Forecast:
        rows = fitted.fold.test.rows
        used = slice(int(rows[0]) - fitted.model.timesteps + 1, int(rows[-1]) + 1)
        values = fitted.preprocessor.transform(self._features.values[used])
        prediction = forecasts_of(fitted.model, values, rows - used.start, self._clock[used])
        return Forecast(
            fold=fitted.fold.number,
            close_time=self._features.close_time[rows],
            rows=rows,
            p_up=prediction.p_up,
            embedding=prediction.embedding,
        )

    def revive(
        self,
        fold: Fold,
        model: Path,
        forecast: pd.DataFrame | None = None,
        training: Sequence[EpochReport] = (),
    ) -> FoldResult:
        """Return a fold from the artifacts and forecasts that a finished run kept.

        Without forecasts the model forecasts again. The threshold is the one the configuration
        chooses on validation, forecast again.
        """
        end = int(fold.validation.rows[-1]) + 1
        preprocessor, fitted = Preprocessor.load(model), models.load_model(model)
        rows, label = _labelled(fold.validation.rows, self._labels)
        values = preprocessor.transform(self._features.values[:end])
        opinion = forecasts_of(fitted, values, rows, self._clock[:end]).p_up
        threshold = choose_threshold(opinion, label, self._config.strategy.threshold)
        whole = FittedFold(fold, preprocessor, fitted, threshold)
        made = self._forecast(whole) if forecast is None else self._of_frame(fold, forecast)
        return FoldResult(whole, made, opinion, tuple(training), resumed=True)

    def _of_frame(self, fold: Fold, frame: pd.DataFrame) -> Forecast:
        return Forecast(
            fold=fold.number,
            close_time=self._features.close_time[fold.test.rows],
            rows=fold.test.rows,
            p_up=frame["p_up"].to_numpy(),
            embedding=frame.filter(like="embedding_").to_numpy(),
        )

    def _kept(self, fold: Fold, folder: Path) -> FoldResult:
        note = json.loads((folder / "fold.json").read_text(encoding="utf-8"))
        frame = pd.read_parquet(folder / "forecast.parquet")
        model = folder / "model"
        fitted = FittedFold(
            fold, Preprocessor.load(model), models.load_model(model), note["threshold"]
        )
        training = tuple(EpochReport(**report) for report in note["training"])
        opinion = pd.read_parquet(folder / "validation.parquet")["p_up"].to_numpy()
        return FoldResult(fitted, self._of_frame(fold, frame), opinion, training, resumed=True)


def with_threshold(
    results: Sequence[FoldResult], labels: LabelFrame, rule: Literal["validation"] | float
) -> list[FoldResult]:
    """Return fitted folds with the threshold that ``rule`` chooses on their validation forecasts.

    Fits and forecasts stay as they are: no threshold enters them.
    """
    return [
        replace(
            result,
            fitted=replace(
                result.fitted,
                threshold=choose_threshold(
                    result.validation_p_up,
                    _labelled(result.fitted.fold.validation.rows, labels)[1],
                    rule,
                ),
            ),
        )
        for result in results
    ]


def _labelled(rows: IntArray, labels: LabelFrame) -> tuple[IntArray, LabelArray]:
    """Return the rows that have a label, and their labels."""
    kept = rows[labels.label[rows] != UNDEFINED_LABEL]
    return kept, labels.label[kept]


def artifact_hash(model: FittedModel) -> str:
    """Return the hash of the files a fitted model would save."""
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        files = sorted(p for p in Path(folder).rglob("*") if p.is_file())
        return hashlib.sha256(b"".join(seal.file_hash(p).encode() for p in files)).hexdigest()


def _keep(result: FoldResult, folder: Path) -> FoldResult:
    """Write a finished fold beside its place and move it there in one step."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "model").mkdir(parents=True)
    result.fitted.preprocessor.save(temporary / "model")
    result.fitted.model.save(temporary / "model")
    runs.write_json(
        temporary / "fold.json",
        {
            "threshold": result.fitted.threshold,
            "training": runs.plain([asdict(report) for report in result.training]),
        },
    )
    runs.write_parquet(temporary / "forecast.parquet", _forecast_frame(result.forecast))
    runs.write_parquet(
        temporary / "validation.parquet", pd.DataFrame({"p_up": result.validation_p_up})
    )
    temporary.rename(folder)
    return result


def _forecast_frame(forecast: Forecast) -> pd.DataFrame:
    columns = {"close_time": forecast.close_time, "p_up": forecast.p_up}
    for axis in range(forecast.embedding.shape[1]):
        columns[f"embedding_{axis}"] = forecast.embedding[:, axis]
    return pd.DataFrame(columns)


def predictions_table(
    forecasts: Sequence[Forecast], labels: LabelFrame, thresholds: Sequence[float]
) -> pd.DataFrame:
    """Return one row per test decision.

    Columns: close_time, fold, p_up, embedding_0, …, label (Int8, null where there is none),
    forward_return (NaN where there is none), threshold (the fold's own).
    """
    parts = []
    for forecast, threshold in zip(forecasts, thresholds, strict=True):
        part = _forecast_frame(forecast)
        part.insert(1, "fold", forecast.fold)
        label = labels.label[forecast.rows]
        part["label"] = pd.array(
            [None if value == UNDEFINED_LABEL else int(value) for value in label], dtype="Int8"
        )
        part["forward_return"] = labels.forward_return[forecast.rows]
        part["threshold"] = threshold
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def training_reports(table: pd.DataFrame, fold: int) -> list[EpochReport]:
    """Return the epochs of one fold from a training table, as they were told."""
    rows = table[table["fold"] == fold].drop(columns="fold")
    told: list[dict[str, Any]] = [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in rows.to_dict(orient="records")
    ]
    return [EpochReport(**one) for one in told]


def training_table(results: Sequence[FoldResult]) -> pd.DataFrame:
    """Return one row per fold, stage and epoch (contract columns, then ``stage``)."""
    columns = [
        "fold", "epoch", "train_loss", "validation_loss", "validation_auc", "learning_rate",
        "seconds", "stage",
    ]  # fmt: skip
    rows = [
        {"fold": result.fitted.fold.number, **asdict(report)}
        for result in results
        for report in result.training
    ]
    return pd.DataFrame(rows, columns=columns)
