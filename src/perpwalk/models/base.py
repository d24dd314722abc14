"""What a model is: records in, records out, two protocols, and the checks all models share.

A model never sees a window as an array of its own: it is handed one contiguous table of features
and the rows to decide on, and gathers windows from it batch by batch. The window of a decision
ends **at** the decision's own bar::

    values[row - timesteps + 1 : row + 1]        # oldest step first

Nothing here imports torch or xgboost.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from perpwalk.domain import Float32Array, FloatArray, IntArray, LabelArray
from perpwalk.errors import UsageError, UserError
from perpwalk.finite import require_finite
from perpwalk.plugins import answering_for
from perpwalk.strict import NotAsWrittenError, file_bytes, parse_json, refuse_link

CONFIG_FILE = "config.json"
MAX_CONFIG_BYTES = 1_000_000
FORMAT = 1

Stage = Literal["lstm", "xgb"]


@dataclass(frozen=True, eq=False)
class Sample:
    """The supervised rows of one span.

    Attributes
    ----------
    values
        float32, shape (n, k): selected, scaled features of **all** bars up to the end of the span.
        One contiguous table that spans share; a model must not write to it.
    rows
        int64, shape (m,), ascending: the decisions, as indices into ``values``.
    label
        int8, shape (m,): 1 up, 0 down.
    clock
        int64, shape (n,), ascending: the number of each bar since 1970, for a model to whom it
        matters where in time a row stands. None numbers the rows of ``values`` from 0.
    """

    values: Float32Array
    rows: IntArray
    label: LabelArray
    clock: IntArray | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, chosen: slice | npt.NDArray[np.bool_]) -> Sample:
        """Return some of the decisions over the same table."""
        return replace(self, rows=self.rows[chosen], label=self.label[chosen])


@dataclass(frozen=True)
class EpochReport:
    """One pass over the training rows: an epoch of the network or a round of boosting.

    ``validation_auc`` is None where validation holds one class only. ``seconds`` is wall time.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_auc: float | None
    learning_rate: float
    seconds: float
    stage: Stage


@dataclass(frozen=True)
class GivenUp:
    """An attempt at training that diverged and was started over (see ``perpwalk.models.lstm``).

    ``reason`` says in words what was no longer a number, or exploded.
    """

    epoch: int
    learning_rate: float
    reason: str


@dataclass(frozen=True, eq=False)
class Carried:
    """The fold before, for a model that can start from it (``walk_forward.warm_start``).

    A feature's value in the old fold's scale is its new value × ``ratio`` + ``shift``.

    Attributes
    ----------
    model
        What that fold fitted.
    columns
        int64, shape (k,): where each column of the new table stood in the old one; -1 nowhere.
    ratio, shift
        float64, shape (k,).
    replay
        Share of the bars learned before that are learned again beside the new ones.
    """

    model: FittedModel
    columns: IntArray
    ratio: FloatArray
    shift: FloatArray
    replay: float


@dataclass(frozen=True)
class FitContext:
    """How to fit, as opposed to what.

    Attributes
    ----------
    seed
        Same seed, data and machine: the same model, bit for bit (on CPU).
    device
        ``auto`` takes cuda, then mps, then cpu. Forecasts are always computed on the CPU.
    threads
        0 leaves the libraries' own choice, which is all cores unless the environment says less.
    purge
        Bars to leave between two parts of the train span so that no label of the first part is
        still unknown when the second begins: the label horizon.
    carried
        The fold before, if this fit may start from it; None starts afresh.
    on_epoch
        Called after each epoch and each boosting round.
    """

    seed: int = 0
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: int = 0
    purge: int = 1
    carried: Carried | None = None
    on_epoch: Callable[[EpochReport], None] | None = None


@dataclass(frozen=True, eq=False)
class Prediction:
    """A model's opinion on m decisions.

    Attributes
    ----------
    p_up
        float64, shape (m,): probability of an up move.
    embedding
        float64, shape (m, d), within [-1, 1]; d = 2 for the models shipped: ``[p_down, p_up]``
        scaled to [-1, 1].
    """

    p_up: FloatArray
    embedding: FloatArray

    @classmethod
    def of(cls, p_up: npt.ArrayLike) -> Prediction:
        """Build from probabilities alone.

        >>> Prediction.of([0.75]).embedding.tolist()
        [[-0.5, 0.5]]
        """
        up = np.asarray(p_up, dtype=np.float64)
        return cls(p_up=up, embedding=np.stack([1.0 - 2.0 * up, 2.0 * up - 1.0], axis=1))


class FittedModel(Protocol):
    """A model that has learned and can forecast, be saved and be loaded again.

    ``training`` tells how the fit went; it is empty for a model that came from a file (the run's
    ``training.csv`` keeps it). A plug-in's ``kind`` names the class whose ``load`` reads it back:
    ``module:Name``, or ``file.py:Name``, the file without its folder. A model whose training
    diverged and was started over may say so in ``given_up``, a tuple of ``GivenUp`` that survives a
    file: the run then reports it (R020).
    """

    kind: ClassVar[str]

    @property
    def timesteps(self) -> int:
        """How many bars a forecast may depend on, its own included."""
        ...

    @property
    def training(self) -> tuple[EpochReport, ...]:
        """How the fit went, epoch by epoch."""
        ...

    def predict(self, values: Float32Array, rows: IntArray) -> Prediction:
        """Forecast the decisions ``rows`` of the table ``values`` (n, k).

        A forecast depends on its own window alone: not on the other rows asked for, nor on
        anything in ``values`` after its row.
        """
        ...

    def save(self, folder: Path) -> None:
        """Write the artifacts into ``folder``; ``load`` gives back the same bits."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote."""
        ...


def forecasts_of(
    model: FittedModel,
    values: Float32Array,
    rows: IntArray,
    clock: IntArray,
    stamps: pd.DatetimeIndex | None = None,
) -> Prediction:
    """Ask ``model`` for the decisions ``rows``, with the bars' numbers (n,) if it wants to know.

    A model whose forecasts depend on where in time a row stands has ``predict_at`` beside
    ``predict``, with ``clock`` as a third argument (see ``Sample.clock``).

    Parameters
    ----------
    stamps
        When the decisions are made, shape (m,), for the message.

    Raises
    ------
    UsageError
        What comes back is not one probability and one finite embedding per decision, or a plug-in
        fails on its way there.
    """
    told = getattr(model, "predict_at", None)
    kind = getattr(model, "kind", type(model).__name__)
    own = answering_for(f"the model '{kind}'", "predict") if ":" in kind else nullcontext()
    with own:
        made: Prediction = (
            model.predict(values, rows) if told is None else told(values, rows, clock)
        )
    check_prediction(made, kind, rows if stamps is None else stamps)
    return made


def check_prediction(made: Prediction, kind: str, rows: IntArray | pd.DatetimeIndex) -> None:
    """Refuse forecasts that are no probabilities; a model without an opinion says 0.5."""
    for name in ("p_up", "embedding"):
        found = getattr(made, name, None)
        if not isinstance(found, np.ndarray) or found.dtype.kind != "f":
            what = found.dtype if isinstance(found, np.ndarray) else type(found).__name__
            raise UsageError(
                f"the model '{kind}' forecast a {type(made).__name__} whose {name} is {what}; give "
                "a Prediction with p_up (m,) and embedding (m, d), both arrays of float64 "
                "(Prediction.of(p_up) makes one)"
            )
    if made.p_up.shape != (len(rows),) or made.embedding.shape[:-1] != (len(rows),):
        raise UsageError(
            f"the model '{kind}' gave p_up of shape {made.p_up.shape} and an embedding of "
            f"{made.embedding.shape} for {len(rows):,} decisions; give one row for each"
        )
    mend = "P001: give each decision a probability from 0 to 1 (0.5 where there is no opinion)"
    require_finite(made.p_up, f"p_up of the model '{kind}'", mend, rows=rows)
    beyond = (made.p_up < 0) | (made.p_up > 1)
    if beyond.any():
        first = int(np.argmax(beyond))
        raise UsageError(
            f"p_up of the model '{kind}' is {made.p_up[first]:g} at {rows[first]} "
            f"({int(beyond.sum()):,} of {len(rows):,} are no probabilities); {mend}"
        )
    require_finite(made.embedding, f"the embedding of the model '{kind}'", mend, rows=rows)


class SignalModel(Protocol):
    """A model that can learn."""

    @property
    def timesteps(self) -> int:
        """How many bars a forecast may depend on, its own included."""
        ...

    def fit(self, train: Sample, validation: Sample, context: FitContext) -> FittedModel:
        """Learn from ``train``; use ``validation`` only to choose and to stop."""
        ...


# ── what all models check ────────────────────────────────────────────────────────────────────────


def check_windows(values: Float32Array, rows: IntArray, timesteps: int) -> None:
    """Refuse rows without a whole window, and windows that hold anything but finite numbers.

    Raises
    ------
    UserError
        Names the first row at fault.
    """
    if values.ndim != 2 or values.dtype != np.float32:
        raise TypeError(f"values must be float32 (n, k), not {values.dtype} {values.shape}")
    if len(rows) == 0:
        return
    first, last = int(rows.min()), int(rows.max())
    if first < timesteps - 1 or last >= len(values):
        raise UserError(
            f"decision rows {first} to {last} do not fit a table of {len(values)} rows "
            f"with windows of {timesteps} bars; leave out the first {timesteps - 1} rows"
        )
    start = first - timesteps + 1
    broken = ~np.isfinite(values[start : last + 1]).all(axis=1)
    if not broken.any():
        return
    broken_before = np.concatenate([[0], np.cumsum(broken)])
    at = rows - start
    touched = broken_before[at + 1] > broken_before[at + 1 - timesteps]
    if touched.any():
        row = int(rows[np.argmax(touched)])
        window = values[row - timesteps + 1 : row + 1]
        column = int(np.argmax(~np.isfinite(window).all(axis=0)))
        raise UserError(
            f"the window of decision row {row} holds a value that is not finite (feature column "
            f"{column}); {int(touched.sum())} of {len(rows)} windows are affected. "
            "Leave warm-up rows and rows with missing features out of the span"
        )


def check_sample(sample: Sample, timesteps: int, *, name: str) -> None:
    """Refuse a span that is empty or whose labels are not 0 and 1, and check its windows."""
    if len(sample) == 0:
        raise UserError(f"the {name} span holds no usable rows; make it longer")
    if len(sample.label) != len(sample.rows):
        raise ValueError(f"{len(sample.rows)} rows but {len(sample.label)} labels in {name}")
    strange = ~np.isin(sample.label, (0, 1))
    if strange.any():
        raise UserError(
            f"the {name} span holds label {int(sample.label[strange][0])} at row "
            f"{int(sample.rows[strange][0])}; only 1 (up) and 0 (down) can be learned"
        )
    check_windows(sample.values, sample.rows, timesteps)


def check_two_classes(sample: Sample, *, name: str) -> None:
    """Refuse a span from which nothing can be learned: all labels alike."""
    ups = int(np.count_nonzero(sample.label == 1))
    downs = len(sample) - ups
    if ups == 0 or downs == 0:
        raise UserError(
            f"the {name} span holds one class only ({ups} up, {downs} down): a direction cannot "
            "be learned from it. Make the span longer, or check label.horizon and label.ties"
        )


def check_fit(train: Sample, validation: Sample, timesteps: int) -> None:
    """Run every check a fit needs before it costs anything."""
    check_sample(train, timesteps, name="train")
    check_two_classes(train, name="train")
    check_sample(validation, timesteps, name="validation")


def area_under_curve(label: LabelArray, score: npt.ArrayLike) -> float | None:
    """Return the AUC of ``score`` (m,) for ``label`` (m,), ties counting one half.

    None where only one class is present: it is undefined there, not one half.

    >>> area_under_curve(np.array([0, 1, 1], np.int8), [0.1, 0.1, 0.9])
    0.75
    """
    ups = int(np.count_nonzero(label == 1))
    downs = len(label) - ups
    if ups == 0 or downs == 0:
        return None
    _, place, count = np.unique(np.asarray(score), return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2
    rank_sum = float(mean_rank[place][label == 1].sum())
    return (rank_sum - ups * (ups + 1) / 2) / (ups * downs)


# ── history ──────────────────────────────────────────────────────────────────────────────────────


@dataclass
class History:
    """Collects the reports of one fit and passes each on as it comes."""

    on_epoch: Callable[[EpochReport], None] | None = None
    reports: list[EpochReport] = field(default_factory=list)

    def add(self, report: EpochReport) -> None:
        """Keep ``report`` and hand it to the listener."""
        self.reports.append(report)
        if self.on_epoch is not None:
            self.on_epoch(report)


# ── artifacts ────────────────────────────────────────────────────────────────────────────────────


def write_config(folder: Path, kind: str, packages: tuple[str, ...], **facts: Any) -> None:
    """Write ``config.json``: what is needed to rebuild the model, and with what it was built."""
    versions = {name: importlib.metadata.version(name) for name in packages}
    config = {"kind": kind, "format": FORMAT, **facts, "versions": versions}
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config, indent=2, allow_nan=False)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


def read_config(folder: Path, kind: str | None = None) -> Mapping[str, Any]:
    """Read ``config.json`` of a saved model, of ``kind`` if that is given.

    Raises
    ------
    UsageError
        No file, no JSON object, or of another kind or format.
    """
    file = folder / CONFIG_FILE
    try:
        refuse_link(file)
        config = parse_json(file_bytes(file, MAX_CONFIG_BYTES))
    except FileNotFoundError as error:
        raise UsageError(f"no saved model in {folder}: {CONFIG_FILE} is missing") from error
    except NotAsWrittenError as error:
        raise UsageError(f"{file} {error}; refit the model") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("kind"), str):
        raise UsageError(f"{file} does not say which 'kind' of model it describes")
    if kind is not None and (config["kind"], config.get("format")) != (kind, FORMAT):
        raise UsageError(
            f"{file} describes a model of kind '{config['kind']}', format "
            f"{config.get('format')}; expected '{kind}', format {FORMAT}"
        )
    return config


def artifact(folder: Path, name: str) -> Path:
    """Return the path of a file that must be there."""
    file = folder / name
    if not file.is_file():
        raise UsageError(f"saved model in {folder} is incomplete: {name} is missing")
    if file.is_symlink():
        raise UsageError(f"{file} is a link, which is not followed; put the file itself there")
    return file
