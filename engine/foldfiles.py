"""A fitted fold as files: what a run keeps, what the cache keeps, what a worker sends back.

========================  ================================================================
``model/``                the artifacts: choice and scaling of features, the fitted model
``validation.parquet``    its forecast of the validation span
``training.json``         every epoch
``forecast.parquet``      its forecast of the test span
``fold.json``             the threshold
``manifest.json``         the hash of each of these (``perpwalk.seal``)
========================  ================================================================

The first three are one fit. No file is a pickle.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from perpwalk import disk, models, runs, seal
from perpwalk.domain import FloatArray, Fold, Forecast
from perpwalk.models.base import EpochReport, FittedModel
from perpwalk.preprocess import Preprocessor
from perpwalk.strict import (
    MAX_JSON_BYTES,
    NUMBER,
    file_bytes,
    parse_json,
    read_object,
    read_parquet,
)

MODEL = "model"
_VALIDATION, _TRAINING = "validation.parquet", "training.json"
_FORECAST, _FOLD = "forecast.parquet", "fold.json"


@dataclass(frozen=True, eq=False)
class Fit:
    """What one fold learned from train and validation."""

    preprocessor: Preprocessor
    model: FittedModel
    validation_p_up: FloatArray
    training: tuple[EpochReport, ...]


def write_fit(fit: Fit, folder: Path) -> None:
    """Write a fit into a folder that is there."""
    (folder / MODEL).mkdir()
    fit.preprocessor.save(folder / MODEL)
    fit.model.save(folder / MODEL)
    runs.write_parquet(folder / _VALIDATION, pd.DataFrame({"p_up": fit.validation_p_up}))
    runs.write_json(folder / _TRAINING, runs.plain([asdict(report) for report in fit.training]))


def read_fit(folder: Path, kind: str) -> Fit:
    """Read what ``write_fit`` wrote; ``kind`` is the configuration's own ``model.kind``."""
    training = parse_json(file_bytes(folder / _TRAINING, MAX_JSON_BYTES))
    return Fit(
        Preprocessor.load(folder / MODEL),
        models.load_model(folder / MODEL, code=kind),
        read_parquet(folder / _VALIDATION, {"p_up": NUMBER}, ("p_up",))["p_up"].to_numpy(),
        tuple(EpochReport(**report) for report in training),
    )


def write_forecast(forecast: Forecast, folder: Path) -> None:
    """Write the forecast of a test span."""
    runs.write_parquet(folder / _FORECAST, forecast_frame(forecast))


def read_forecast(folder: Path, fold: Fold, close_time: pd.DatetimeIndex) -> Forecast:
    """Read what ``write_forecast`` wrote; ``close_time`` is that of every bar."""
    frame = read_parquet(folder / _FORECAST, {"p_up": NUMBER}, ("p_up",))
    return forecast_of(frame, fold, close_time)


def write_end(threshold: float, folder: Path) -> None:
    """Write the last files of a fold, its threshold and the seal of them all: it is whole."""
    runs.write_json(folder / _FOLD, {"threshold": threshold})
    runs.write_json(folder / seal.MANIFEST, seal.sealed({}, folder))


def is_as_written(folder: Path) -> bool:
    """Return whether no file of a fold was changed, removed or added since its end was written."""
    try:
        return not seal.broken(read_object(folder / seal.MANIFEST), folder)
    except (OSError, ValueError):
        return False


def read_threshold(folder: Path) -> float:
    """Read the threshold that ``write_end`` wrote."""
    return float(read_object(folder / _FOLD)["threshold"])


# ── forecasts as tables ──────────────────────────────────────────────────────────────────────────


def forecast_frame(forecast: Forecast) -> pd.DataFrame:
    """Return columns close_time, p_up, embedding_0 and so on."""
    columns = {"close_time": forecast.close_time, "p_up": forecast.p_up}
    for axis in range(forecast.embedding.shape[1]):
        columns[f"embedding_{axis}"] = forecast.embedding[:, axis]
    return pd.DataFrame(columns)


def forecast_of(frame: pd.DataFrame, fold: Fold, close_time: pd.DatetimeIndex) -> Forecast:
    """Return the forecast that a table with the columns of ``forecast_frame`` holds."""
    return Forecast(
        fold=fold.number,
        close_time=close_time[fold.test.rows],
        rows=fold.test.rows,
        p_up=frame["p_up"].to_numpy(),
        embedding=frame.filter(like="embedding_").to_numpy(),
    )


Files = tuple[tuple[str, bytes], ...]


def as_bytes(folder: Path) -> Files:
    """Return every file of a folder, to be sent elsewhere."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return tuple((path.relative_to(folder).as_posix(), path.read_bytes()) for path in files)


def write_all(files: Files, folder: Path) -> None:
    """Write what ``as_bytes`` returned."""
    for name, content in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        disk.write_bytes(path, content)


def parts_of(files: Files) -> tuple[Files, Files]:
    """Return the files of the fit and that of the forecast."""
    kept = [one for one in files if one[0] not in (_FOLD, seal.MANIFEST)]
    fit = tuple(one for one in kept if one[0] != _FORECAST)
    return fit, tuple(one for one in kept if one[0] == _FORECAST)
