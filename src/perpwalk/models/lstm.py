"""Training the LSTM on direction, and the model that is this network alone.

Binary cross-entropy, AdamW, gradients clipped by norm; the learning rate is cut where validation
loss stops falling, and the weights of the best epoch are the ones kept.

Training has **diverged** when a loss, a gradient or a weight is no longer a finite number, or when
a loss is more than ten times what saying one half would cost (10 ln 2 = 6.9). It then starts over,
from the weights it began with, at a tenth of the learning rate; twice at most. What was given up is
kept with the model (``GivenUp``) and reported by the run (R020).

A warm start (see ``warm``) begins with the weights of the fold before, at a learning rate that has
been cut once; these weights are the best so far, before the first epoch.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, cast

import numpy as np
import torch
from scipy.special import expit
from torch import Tensor, nn

from perpwalk.config import LstmSection
from perpwalk.domain import Float32Array, IntArray
from perpwalk.errors import UserError
from perpwalk.models import warm
from perpwalk.models.base import (
    EpochReport,
    FitContext,
    GivenUp,
    History,
    Prediction,
    Sample,
    area_under_curve,
    check_fit,
    check_windows,
    read_config,
    write_config,
)
from perpwalk.models.network import (
    Embedder,
    Network,
    choose_device,
    seeded,
)
from perpwalk.models.passes import Passes, passes
from perpwalk.models.sequences import sequence_of

ATTEMPTS = 3
CUT = 0.1  # the learning rate of the next attempt, as a share of this one's
EXPLODED = 10 * math.log(2)
PACKAGES = ("torch", "safetensors", "numpy")

log = logging.getLogger(__name__)


class _DivergedError(Exception):
    """The loss is no longer a number that training can go on from."""

    def __init__(self, epoch: int, reason: str) -> None:
        self.epoch, self.reason = epoch, reason
        super().__init__(f"epoch {epoch}: {reason}")


def train_network(
    settings: LstmSection,
    train: Sample,
    validation: Sample,
    context: FitContext,
    history: History,
) -> Embedder:
    """Fit the network on ``train``, stopping on ``validation``; return it ready to forecast.

    Epochs of an attempt that diverged later stay in ``history``; the next attempt counts from 1.

    Raises
    ------
    UserError
        The loss diverged at every learning rate tried.
    """
    device = choose_device(context.device)
    number = train.rows if train.clock is None else train.clock[train.rows]
    rate, start, lesson = settings.learning_rate, None, train
    carried, before = context.carried, warm.embedder_of(context.carried)
    if carried is not None and before is not None:
        rate, start = rate * settings.lr_factor, warm.carried_weights(before, carried)
        lesson = warm.new_and_replayed(
            train, cast("int", before.learned_until), carried.replay, context.seed
        )
    given_up: list[GivenUp] = []
    while len(given_up) < ATTEMPTS:
        try:
            with seeded(context.seed, device):
                network = Network(train.values.shape[1], settings).to(device)
                if start is not None:
                    network.load_state_dict(start)
                with passes(network, settings, device, context.threads, context.seed) as through:
                    Training(
                        settings, lesson, validation, network, rate, through, context.seed
                    ).run(history, known=start is not None)
        except _DivergedError as diverged:
            given_up.append(GivenUp(diverged.epoch, rate, diverged.reason))
            log.warning(
                "training diverged in epoch %d at learning rate %g: %s (attempt %d of %d)",
                diverged.epoch,
                rate,
                diverged.reason,
                len(given_up),
                ATTEMPTS,
            )
            if diverged.epoch == 0:  # the carried weights themselves: afresh, as without them
                rate, start, lesson = settings.learning_rate, None, train
            else:
                rate *= CUT
            continue
        return Embedder(
            network.state_dict(),
            settings,
            train.values.shape[1],
            int(number[-1]),
            tuple(given_up),
        )
    last = given_up[-1]
    raise UserError(
        f"training diverged {ATTEMPTS} times, last at a learning rate of {last.learning_rate:g} "
        f"({last.reason}); lower model.lstm.learning_rate, or check the scale of the features"
    )


class Training:
    """One attempt at one learning rate."""

    def __init__(
        self,
        settings: LstmSection,
        train: Sample,
        validation: Sample,
        network: Network,
        rate: float,
        passes: Passes,
        seed: int,
    ) -> None:
        self.settings = settings
        self.train = train
        self.validation = validation
        self.network = network
        self.rate = rate
        self.passes = passes
        self.shuffle = np.random.default_rng(seed)
        self.sequence = sequence_of(settings)
        streamed = settings.sequence == "stream"
        self.size = settings.stretch_batch if streamed else settings.batch_size
        self.optimizer = torch.optim.AdamW(
            passes.parameters, lr=rate, weight_decay=settings.weight_decay, fused=True
        )

    def run(self, history: History, *, known: bool) -> None:
        """Train until validation loss has not improved for ``patience`` epochs.

        The weights at hand count as an epoch's where they are ``known`` to be good for something.
        """
        best_loss = self._evaluate(0)[0] if known else math.inf
        best_epoch, best_weights = 0, self._weights()
        last_cut = 0
        for epoch in range(1, self.settings.epochs + 1):
            began = time.perf_counter()
            train_loss = self.train_epoch(epoch)
            loss, auc = self._evaluate(epoch)
            seconds = time.perf_counter() - began
            history.add(EpochReport(epoch, train_loss, loss, auc, self.rate, seconds, "lstm"))
            if loss < best_loss:
                best_loss, best_epoch, best_weights = loss, epoch, self._weights()
            if epoch - best_epoch >= self.settings.patience:
                break
            if epoch - max(best_epoch, last_cut) > self.settings.lr_patience:
                last_cut = epoch
                self._cut_rate()
        self.network.load_state_dict(best_weights)

    def train_epoch(self, epoch: int) -> float:
        """Return the mean training loss, dropout included."""
        summed: float | Tensor = 0.0
        largest, count = torch.zeros(()), 0
        for batch in self.sequence.epoch(self.train, self.size, self.shuffle):
            summed += self.passes.learn(self.train.values, batch)
            norm = nn.utils.clip_grad_norm_(self.passes.parameters, self.settings.gradient_clip)
            self.optimizer.step()
            largest = torch.maximum(largest.to(norm.device), norm)
            count += len(batch)
        _finite(largest.item(), epoch, "gradient")
        weights = sum(float(each.detach().sum()) for each in self.passes.parameters)
        _finite(weights, epoch, "sum of the weights")
        return _bounded(float(summed) / count, epoch, "training loss")

    def _evaluate(self, epoch: int) -> tuple[float, float | None]:
        """Return loss and AUC on validation."""
        logits = torch.from_numpy(self.passes.logits(self.validation))
        target = torch.from_numpy(self.validation.label.astype(np.float32))
        loss = nn.functional.binary_cross_entropy_with_logits(logits, target).item()
        return _bounded(loss, epoch, "validation loss"), area_under_curve(
            self.validation.label, logits.numpy()
        )

    def _cut_rate(self) -> None:
        self.rate *= self.settings.lr_factor
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate

    def _weights(self) -> dict[str, Tensor]:
        return {name: w.detach().clone() for name, w in self.network.state_dict().items()}


def _finite(value: float, epoch: int, what: str) -> float:
    if not math.isfinite(value):
        raise _DivergedError(epoch, f"the {what} is {value}")
    return value


def _bounded(loss: float, epoch: int, what: str) -> float:
    if _finite(loss, epoch, what) > EXPLODED:
        raise _DivergedError(epoch, f"the {what} is {loss:.3g}, above {EXPLODED:.3g}")
    return loss


# ── the network as a model of its own ────────────────────────────────────────────────────────────


class LstmModel:
    """The network's own logit as the forecast: the ``lstm`` baseline."""

    def __init__(self, settings: LstmSection) -> None:
        self.settings = settings
        self.timesteps = sequence_of(settings).reach

    def fit(self, train: Sample, validation: Sample, context: FitContext) -> FittedLstm:
        """Train on all of ``train``, stop on ``validation``.

        Raises
        ------
        UserError
            A span is empty, one-sided or holds values that are not finite; or training diverged.
        """
        check_fit(train, validation, self.timesteps)
        history = History(context.on_epoch)
        embedder = train_network(self.settings, train, validation, context, history)
        return FittedLstm(embedder, tuple(history.reports), context.threads)


@dataclass(eq=False)
class FittedLstm:
    """A trained network that forecasts by itself."""

    embedder: Embedder
    training: tuple[EpochReport, ...] = ()
    threads: int = 0

    kind: ClassVar[str] = "lstm"

    @property
    def given_up(self) -> tuple[GivenUp, ...]:
        """Attempts at training that diverged."""
        return self.embedder.given_up

    @property
    def timesteps(self) -> int:
        """Bars that a forecast may depend on."""
        return self.embedder.sequence.reach

    def predict(self, values: Float32Array, rows: IntArray) -> Prediction:
        """Forecast ``rows`` (m,) of the table ``values`` (n, k), numbered from 0."""
        return self.predict_at(values, rows, None)

    def predict_at(
        self, values: Float32Array, rows: IntArray, clock: IntArray | None
    ) -> Prediction:
        """Forecast ``rows`` (m,) of ``values`` (n, k) of the bars numbered ``clock`` (n,)."""
        check_windows(values, rows, self.timesteps)
        _, logit = self.embedder(values, rows, self.threads, clock)
        return Prediction.of(expit(logit.astype(np.float64)))

    def save(self, folder: Path) -> None:
        """Write ``lstm.safetensors`` and ``config.json``."""
        facts = self.embedder.save(folder)
        write_config(folder, self.kind, PACKAGES, **facts)

    @classmethod
    def load(cls, folder: Path) -> FittedLstm:
        """Read what ``save`` wrote."""
        return cls(Embedder.load(folder, read_config(folder, cls.kind)))
