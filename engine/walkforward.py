"""Walk forward: per fold fit on the past, choose a threshold on validation, forecast the test.

``fit`` is handed arrays that end with the validation span: the test rows do not exist for it. A
fitted fold is kept on disk as soon as it is done, so that an interrupted run goes on from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from engine import foldfiles
from engine.exact import one_thread
from engine.foldfiles import Files, Fit
from engine.memory import FoldMemory, Memory
from perpwalk import disk, models, preprocess, runs, seal
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
from perpwalk.errors import UsageError, naming
from perpwalk.labels import purge_bars
from perpwalk.models.base import (
    Carried,
    EpochReport,
    FitContext,
    FittedModel,
    Sample,
    forecasts_of,
)
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
    recalled: bool = False  # the fit came out of the cache

    @property
    def taken(self) -> bool:
        """Whether nothing was fitted for it."""
        return self.resumed or self.recalled


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
    memory
        The cache, for walks that keep their folds.
    on_epoch
        Called with the fold's number after each epoch.
    on_damage
        Called with the number of a kept fold that is not as it was written, and is made again.
    """

    def __init__(
        self,
        config: Config,
        features: FeatureFrame,
        labels: LabelFrame,
        *,
        work: Path | None = None,
        memory: Memory | None = None,
        on_epoch: EpochCallback | None = None,
        on_damage: Callable[[int], None] | None = None,
    ) -> None:
        self._config = config
        self._features = features
        self._labels = labels
        self._table = (features, labels)
        self._keys: dict[int, str] = {}
        self._put: set[int] = set()
        self._work = work
        self._on_epoch = on_epoch
        self._on_damage = on_damage
        self._model = models.build_model(config.model)
        # The smallest step: the first one may lie over a gap.
        interval = pd.Timedelta(np.diff(to_ns(features.close_time)).min(), "ns")
        self._clock = bar_numbers(features.close_time, interval)
        self._purge = purge_bars(config.label, interval)
        self._memory = (
            None
            if memory is None
            else FoldMemory(memory, config, features, labels, self._clock, self._purge)
        )

    def run(self, folds: Sequence[Fold]) -> Iterator[FoldResult]:
        """Yield the result of each fold in order."""
        last: FittedFold | None = None
        for fold in folds:
            result = self._one(fold, self._start(fold, last))
            yield result
            last = result.fitted

    def _start(self, fold: Fold, last: FittedFold | None) -> FittedFold | None:
        """Return what a warm start may take over: only ever the fold just before this one."""
        if last is None or not self._config.walk_forward.warm_start:
            return None
        return last if last.fold.number == fold.number - 1 else None

    def _one(self, fold: Fold, start: FittedFold | None) -> FoldResult:
        with one_thread(self._config.compute):
            if self._work is None:
                return self._fit(fold, start)
            folder = self.folder(fold)
            if self._is_kept(fold):
                return self._kept(fold, folder)
            return self._made(fold, folder, start)

    # ── folds fitted elsewhere ───────────────────────────────────────────────────────────────────

    @property
    def config(self) -> Config:
        """What is asked."""
        return self._config

    @property
    def table(self) -> tuple[FeatureFrame, LabelFrame]:
        """What all folds share."""
        return self._table

    def folder(self, fold: Fold) -> Path:
        """Return where a fold is kept, by walks that keep them."""
        if self._work is None:
            raise ValueError("this walk keeps nothing")
        return self._work / runs.fold_name(fold.number)

    def lacks(self, fold: Fold) -> bool:
        """Return whether nobody has fitted a fold yet: it is neither kept nor in the cache."""
        if self._work is not None and self._is_kept(fold):
            return False
        return self._memory is None or not self._memory.holds_fit(self._fit_key(fold))

    @contextlib.contextmanager
    def claimed(self, fold: Fold) -> Iterator[bool]:
        """Hold the right to fit a fold; False where another process has it."""
        if self._memory is None:
            yield True
            return
        with self._memory.computing(self._fit_key(fold), wait=False) as mine:
            yield mine

    def put(self, fold: Fold, files: Files) -> None:
        """Put the files of a fold that was fitted elsewhere in its place, and into the cache."""
        if self._memory is not None:
            key = self._fit_key(fold)
            self._memory.keep_files(
                key, self._memory.forecast_key(fold, key, self._used(fold)), files
            )
        if self._work is not None:
            fresh = _fresh(self.folder(fold))
            foldfiles.write_all(files, fresh)
            disk.put_folder(fresh, self.folder(fold))
        self._put.add(fold.number)

    def was_put(self, fold: Fold) -> bool:
        """Return whether a fold was fitted elsewhere for this walk."""
        return fold.number in self._put

    def _fit_key(self, fold: Fold, start: FittedFold | None = None) -> str:
        if self._memory is None:
            raise ValueError("this walk has no cache")
        if fold.number not in self._keys:
            seed = fold_seed(self._config.seed, fold.number)
            self._keys[fold.number] = self._memory.fit_key(fold, seed, self._named(start))
        return self._keys[fold.number]

    # ── one fold ─────────────────────────────────────────────────────────────────────────────────

    def _fit(self, fold: Fold, start: FittedFold | None) -> FoldResult:
        fit = self._learn(fold, start)
        return self._result(fold, fit, self._forecast(fold, fit))

    def _learn(self, fold: Fold, start: FittedFold | None) -> Fit:
        # Nothing after the validation span exists for a fit: it cannot look at the test.
        end = int(fold.validation.rows[-1]) + 1
        past_features, past_labels = self._features.until(end), self._labels.until(end)
        seed = fold_seed(self._config.seed, fold.number)
        preprocessor = preprocess.fit_preprocessor(
            past_features, past_labels, fold.train.rows, self._config.features, seed
        )
        past_values = preprocessor.transform(past_features.values)
        validation = self._sample(past_values, fold.validation.rows, past_labels)
        with naming(f"fold {fold.number}"):
            model = models.fit(
                self._model,
                self._config.model.kind,
                self._sample(past_values, fold.train.rows, past_labels),
                validation,
                self._context(fold, seed, self._carried(preprocessor, start)),
            )
        opinion = self._opinion(fold, model, past_values, validation.rows)
        return Fit(preprocessor, model, opinion, tuple(model.training))

    def _opinion(
        self, fold: Fold, model: FittedModel, values: Float32Array, rows: IntArray
    ) -> FloatArray:
        """Forecast labelled rows of the validation span, the last that ``values`` hold."""
        stamps = self._features.close_time[rows]
        with naming(f"fold {fold.number}, validation span"):
            return forecasts_of(model, values, rows, self._clock[: len(values)], stamps).p_up

    def _sample(self, values: Float32Array, rows: IntArray, labels: LabelFrame) -> Sample:
        return Sample(values, *_labelled(rows, labels), clock=self._clock[: len(values)])

    def _result(
        self, fold: Fold, fit: Fit, forecast: Forecast, *, recalled: bool = False
    ) -> FoldResult:
        threshold = choose_threshold(
            fit.validation_p_up,
            _labelled(fold.validation.rows, self._labels)[1],
            self._config.strategy.threshold,
        )
        fitted = FittedFold(fold, fit.preprocessor, fit.model, threshold)
        return FoldResult(fitted, forecast, fit.validation_p_up, fit.training, recalled=recalled)

    def _carried(self, preprocessor: Preprocessor, start: FittedFold | None) -> Carried | None:
        if start is None:
            return None
        columns, ratio, shift = preprocessor.seen_from(start.preprocessor)
        return Carried(start.model, columns, ratio, shift, self._config.walk_forward.replay)

    def _context(self, fold: Fold, seed: int, carried: Carried | None) -> FitContext:
        callback, number = self._on_epoch, fold.number
        return FitContext(
            seed=seed,
            device=self._config.compute.device,
            threads=self._config.compute.threads,
            purge=self._purge,
            carried=carried,
            on_epoch=None if callback is None else lambda report: callback(number, report),
        )

    def _forecast(self, fold: Fold, fit: Fit) -> Forecast:
        # Only what is kept has files to compare; the leak audit compares in its own way.
        frozen = None if self._work is None else artifact_hash(fit.model)
        rows, used = fold.test.rows, self._used(fold)
        values = fit.preprocessor.transform(self._features.values[used])
        stamps = self._features.close_time[rows]
        with naming(f"fold {fold.number}, test span"):
            prediction = forecasts_of(
                fit.model, values, rows - used.start, self._clock[used], stamps
            )
        if frozen is not None and artifact_hash(fit.model) != frozen:
            raise UsageError(
                f"S004 fold {fold.number}: the model '{self._config.model.kind}' changed itself "
                "while it forecast the test span; predict must leave what was fitted as it is"
            )
        return Forecast(
            fold=fold.number,
            close_time=self._features.close_time[rows],
            rows=rows,
            p_up=prediction.p_up,
            embedding=prediction.embedding,
        )

    def _used(self, fold: Fold) -> slice:
        """Return the rows that the forecast of a test span looks at: its windows'."""
        rows = fold.test.rows
        return slice(int(rows[0]) - self._model.timesteps + 1, int(rows[-1]) + 1)

    # ── kept folds ───────────────────────────────────────────────────────────────────────────────

    def _is_kept(self, fold: Fold) -> bool:
        """Return whether a fold is kept as it was written; one that is not is thrown away."""
        folder = self.folder(fold)
        if not folder.is_dir() or foldfiles.is_as_written(folder):
            return folder.is_dir()
        if self._on_damage is not None:
            self._on_damage(fold.number)
        shutil.rmtree(folder)
        return False

    def _made(self, fold: Fold, folder: Path, start: FittedFold | None) -> FoldResult:
        """Make a fold, or what the cache does not hold of it, and keep it in ``folder``."""
        fresh = _fresh(folder)
        if self._memory is None:
            fresh.mkdir(parents=True)
            result = self._fit(fold, start)
            foldfiles.write_fit(_fit_of(result), fresh)
            foldfiles.write_forecast(result.forecast, fresh)
        else:
            fresh.parent.mkdir(parents=True, exist_ok=True)
            result = self._recalled(fold, fresh, self._memory, start)
        foldfiles.write_end(result.fitted.threshold, fresh)
        disk.put_folder(fresh, folder)
        return result

    def _recalled(
        self, fold: Fold, fresh: Path, memory: FoldMemory, start: FittedFold | None
    ) -> FoldResult:
        key = self._fit_key(fold, start)
        forecast_key = memory.forecast_key(fold, key, self._used(fold))
        with memory.computing(key):
            recalled = memory.take_fit(key, fresh)
            if recalled:
                fit = foldfiles.read_fit(fresh, self._config.model.kind)
            else:
                fit = self._learn(fold, start)
                fresh.mkdir()
                foldfiles.write_fit(fit, fresh)
                memory.keep_fit(key, fit)
            if memory.take_forecast(forecast_key, fresh / "recalled"):
                forecast = foldfiles.read_forecast(
                    fresh / "recalled", fold, self._features.close_time
                )
                shutil.rmtree(fresh / "recalled")
            else:
                forecast = self._forecast(fold, fit)
                memory.keep_forecast(forecast_key, forecast)
            foldfiles.write_forecast(forecast, fresh)
        return self._result(fold, fit, forecast, recalled=recalled)

    def _named(self, start: FittedFold | None) -> list[object] | None:
        """Return what a warm start depends on: the model's files, its columns, and the replay."""
        if start is None:
            return None
        seen = start.preprocessor
        return [
            artifact_hash(start.model), list(seen.names), seen.center.tolist(), seen.scale.tolist(),
            self._config.walk_forward.replay,
        ]  # fmt: skip

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
        preprocessor = Preprocessor.load(model)
        fitted = models.load_model(model, code=self._config.model.kind)
        rows, label = _labelled(fold.validation.rows, self._labels)
        values = preprocessor.transform(self._features.values[:end])
        opinion = self._opinion(fold, fitted, values, rows)
        threshold = choose_threshold(opinion, label, self._config.strategy.threshold)
        fit = Fit(preprocessor, fitted, opinion, tuple(training))
        made = (
            self._forecast(fold, fit)
            if forecast is None
            else foldfiles.forecast_of(forecast, fold, self._features.close_time)
        )
        whole = FittedFold(fold, preprocessor, fitted, threshold)
        return FoldResult(whole, made, opinion, fit.training, resumed=True)

    def _kept(self, fold: Fold, folder: Path) -> FoldResult:
        fit = foldfiles.read_fit(folder, self._config.model.kind)
        return FoldResult(
            FittedFold(fold, fit.preprocessor, fit.model, foldfiles.read_threshold(folder)),
            foldfiles.read_forecast(folder, fold, self._features.close_time),
            fit.validation_p_up,
            fit.training,
            resumed=True,
        )


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


def _fresh(folder: Path) -> Path:
    """Return where a fold is made before it is moved to its place; nothing is there."""
    temporary = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    return temporary


def _fit_of(result: FoldResult) -> Fit:
    fitted = result.fitted
    return Fit(fitted.preprocessor, fitted.model, result.validation_p_up, result.training)


def predictions_table(
    forecasts: Sequence[Forecast], labels: LabelFrame, thresholds: Sequence[float]
) -> pd.DataFrame:
    """Return one row per test decision.

    Columns: close_time, fold, p_up, embedding_0, …, label (Int8, null where there is none),
    forward_return (NaN where there is none), threshold (the fold's own).
    """
    parts = []
    for forecast, threshold in zip(forecasts, thresholds, strict=True):
        part = foldfiles.forecast_frame(forecast)
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
