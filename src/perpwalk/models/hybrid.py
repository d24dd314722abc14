"""LSTM + XGBoost: trees on the embedding that a network learned, the predecessor's architecture.

Trees fitted on embeddings of the very rows the network learned from learn its overfit. By default
(``model.stacking: split``) the network learns from the first ``stacking_share`` of train and the
trees from the rest, after a purge of the label horizon::

    |------- network -------| purge |--- trees ---|   | validation: both stop on it |

By default (``model.trees_start: logit``) the trees start from the network's own log-odds and add
what they find beyond it: with some thousand rows of a direction that is nearly noise, trees that
start from a constant lose part of what the network's last layer already knew. ``prior`` starts
them from a constant, as the predecessor did.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import xgboost

from perpwalk.config import ModelSection
from perpwalk.domain import Float32Array, IntArray
from perpwalk.errors import UserError
from perpwalk.models import boost, lstm
from perpwalk.models.base import (
    EpochReport,
    FitContext,
    GivenUp,
    History,
    Prediction,
    Sample,
    check_fit,
    check_two_classes,
    check_windows,
    read_config,
    write_config,
)
from perpwalk.models.network import Embedder
from perpwalk.models.sequences import sequence_of

PACKAGES = ("torch", "xgboost", "safetensors", "numpy")


def stacking_parts(train: Sample, share: float, purge: int) -> tuple[Sample, Sample]:
    """Cut ``train`` in time: the first ``share`` of its rows, and those after ``purge`` bars more.

    Raises
    ------
    UserError
        Nothing is left for one of the parts.

    Examples
    --------
    >>> values = np.zeros((10, 1), np.float32)
    >>> train = Sample(values, np.arange(10), np.zeros(10, np.int8))
    >>> first, rest = stacking_parts(train, share=0.7, purge=1)
    >>> first.rows.tolist(), rest.rows.tolist()
    ([0, 1, 2, 3, 4, 5, 6], [8, 9])
    """
    count = int(len(train) * share)
    first = train.part(slice(0, count))
    rest = train if count == 0 else train.part(train.rows > first.rows[-1] + purge)
    if len(first) == 0 or len(rest) == 0:
        raise UserError(
            f"{len(train)} train rows cannot be split for stacking (model.stacking_share "
            f"{share:g}, purge of {purge} bars); use a longer train span or "
            "model.stacking=same_rows"
        )
    return first, rest


class HybridModel:
    """The ``lstm_xgb`` model."""

    def __init__(self, section: ModelSection) -> None:
        self.section = section
        self.timesteps = sequence_of(section.lstm).reach

    def fit(self, train: Sample, validation: Sample, context: FitContext) -> FittedHybrid:
        """Train the network, then the trees on its embedding.

        Raises
        ------
        UserError
            A span is empty, one-sided, too short to split or holds values that are not finite; or
            training diverged.
        """
        section = self.section
        check_fit(train, validation, self.timesteps)
        for_network, for_trees = train, train
        if section.stacking == "split":
            for_network, for_trees = stacking_parts(train, section.stacking_share, context.purge)
            check_two_classes(for_network, name="network's part of the train")
            check_two_classes(for_trees, name="trees' part of the train")
        history = History(context.on_epoch)
        embedder = lstm.train_network(section.lstm, for_network, validation, context, history)
        view = _TreeView(
            embedder, section.raw_features, section.trees_start == "logit", context.threads
        )
        booster = boost.train_trees(
            section.xgb, view.labelled(for_trees), view.labelled(validation), context, history
        )
        return FittedHybrid(view, booster, tuple(history.reports))


@dataclass(frozen=True, eq=False)
class _TreeView:
    """How the trees see a decision: embedding, raw features if wanted, and where they start."""

    embedder: Embedder
    raw_features: bool
    from_logit: bool
    threads: int = 0

    def __call__(
        self, values: Float32Array, rows: IntArray, clock: IntArray | None
    ) -> tuple[Float32Array, Float32Array | None]:
        """Return inputs (m, e) or (m, e + k), and starting log-odds (m,) or None."""
        embedding, logit = self.embedder(values, rows, self.threads, clock)
        inputs = np.hstack([embedding, values[rows]]) if self.raw_features else embedding
        return inputs, logit if self.from_logit else None

    def labelled(self, sample: Sample) -> boost.TreeInput:
        """Return what trees are fitted on."""
        inputs, start = self(sample.values, sample.rows, sample.clock)
        return boost.TreeInput(inputs, sample.label, start)


@dataclass(eq=False)
class FittedHybrid:
    """A trained network with trees on its embedding."""

    view: _TreeView
    booster: xgboost.Booster
    training: tuple[EpochReport, ...] = ()

    kind: ClassVar[str] = "lstm_xgb"

    @property
    def given_up(self) -> tuple[GivenUp, ...]:
        """Attempts at the network's training that diverged."""
        return self.view.embedder.given_up

    @property
    def embedder(self) -> Embedder:
        """The network, for a fit that starts from it."""
        return self.view.embedder

    @property
    def timesteps(self) -> int:
        """Bars that a forecast may depend on."""
        return self.view.embedder.sequence.reach

    def predict(self, values: Float32Array, rows: IntArray) -> Prediction:
        """Forecast ``rows`` (m,) of the table ``values`` (n, k), numbered from 0."""
        return self.predict_at(values, rows, None)

    def predict_at(
        self, values: Float32Array, rows: IntArray, clock: IntArray | None
    ) -> Prediction:
        """Forecast ``rows`` (m,) of ``values`` (n, k) of the bars numbered ``clock`` (n,)."""
        check_windows(values, rows, self.timesteps)
        return boost.forecast(self.booster, *self.view(values, rows, clock))

    def save(self, folder: Path) -> None:
        """Write ``lstm.safetensors``, ``xgb.ubj`` and ``config.json``."""
        facts = self.view.embedder.save(folder)
        boost.save_trees(self.booster, folder)
        write_config(
            folder,
            self.kind,
            PACKAGES,
            **facts,
            raw_features=self.view.raw_features,
            trees_start="logit" if self.view.from_logit else "prior",
        )

    @classmethod
    def load(cls, folder: Path) -> FittedHybrid:
        """Read what ``save`` wrote."""
        config = read_config(folder, cls.kind)
        view = _TreeView(
            Embedder.load(folder, config),
            raw_features=config.get("raw_features") is True,
            from_logit=config.get("trees_start") == "logit",
        )
        return cls(view, boost.load_trees(folder))
