"""The LSTM itself, and its one way to forecast.

Forecasts are computed in float64 on the CPU and rounded to float32 at the end. In float32 the last
bits of a matrix product depend on how many rows are computed together and by how many threads; a
tree that splits on the embedding turns such a bit into another leaf. In float64 these differences
(about 1e-16) vanish in the rounding, so that one bar alone and a whole year at once agree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes
from torch import Tensor, nn

from perpwalk.config import LstmSection
from perpwalk.domain import Float32Array, IntArray
from perpwalk.errors import ConfigError, UsageError
from perpwalk.models.base import GivenUp, artifact
from perpwalk.models.sequences import sequence_of
from perpwalk.strict import one_line

WEIGHTS_FILE = "lstm.safetensors"
# Pieces per matrix product: the fastest in float64, measured on AVX-512.
FORECAST_BATCH = {"window": 64, "stream": 24}


class Network(nn.Module):
    """Stacked LSTM, a dense head down to an embedding, one logit for "up".

    The embedding passes through tanh, so that trees see bounded values whatever the weights.
    """

    def __init__(self, features: int, sizes: LstmSection) -> None:
        super().__init__()
        self.lstm = nn.LSTM(
            features,
            sizes.hidden,
            num_layers=sizes.layers,
            batch_first=True,
            # torch applies it between layers and warns when there is only one.
            dropout=sizes.dropout if sizes.layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(sizes.dropout)
        self.dense = nn.Linear(sizes.hidden, sizes.dense)
        self.to_embedding = nn.Linear(sizes.dense, sizes.embedding)
        self.to_logit = nn.Linear(sizes.embedding, 1)

    def embed(self, windows: Tensor) -> Tensor:
        """Map windows (b, timesteps, k) to embeddings (b, e) within [-1, 1]."""
        return self.head(self.dropout(self.states(windows)[:, -1]))

    def states(self, windows: Tensor) -> Tensor:
        """Map windows (b, timesteps, k) to the top layer's states (b, timesteps, hidden)."""
        states: Tensor = self.lstm(windows)[0]
        return states

    def head(self, last: Tensor) -> Tensor:
        """Map last states (b, hidden) to embeddings (b, e)."""
        return torch.tanh(self.to_embedding(torch.relu(self.dense(last))))

    def logit(self, embedding: Tensor) -> Tensor:
        """Map embeddings (b, e) to logits (b,)."""
        return cast("Tensor", self.to_logit(embedding)).squeeze(-1)

    def forward(self, windows: Tensor) -> Tensor:
        """Map windows (b, timesteps, k) to logits (b,)."""
        return self.logit(self.embed(windows))


# ── forecasting ──────────────────────────────────────────────────────────────────────────────────


class Embedder:
    """A trained network, ready to forecast; keeps the float32 weights and a float64 twin.

    ``learned_until`` is the number of the last bar whose decision it learned from (see
    ``Sample.clock``), ``given_up`` the attempts at its training that diverged.

    Raises
    ------
    UsageError
        A weight is not a finite number.
    """

    def __init__(
        self,
        weights: Mapping[str, Tensor],
        sizes: LstmSection,
        features: int,
        learned_until: int | None = None,
        given_up: tuple[GivenUp, ...] = (),
    ) -> None:
        broken = [name for name, weight in weights.items() if not weight.isfinite().all()]
        if broken:
            raise UsageError(f"the weights '{broken[0]}' are not all finite; refit the model")
        self.sizes = sizes
        self.given_up = given_up
        self.learned_until = learned_until
        self.sequence = sequence_of(sizes)
        self.features = features
        self.weights = {
            name: weight.detach().to("cpu", torch.float32, copy=True).contiguous()
            for name, weight in weights.items()
        }
        with torch.device("meta"):  # draws no initial weights, so touches no random state
            self._exact = Network(features, sizes)
        exact = {name: weight.double() for name, weight in self.weights.items()}
        self._exact.load_state_dict(exact, assign=True)
        self._exact.eval()

    def __call__(
        self,
        values: Float32Array,
        rows: IntArray,
        threads: int = 0,
        clock: IntArray | None = None,
    ) -> tuple[Float32Array, Float32Array]:
        """Return embeddings (m, e) and logits (m,) of the decisions ``rows``.

        Windows (or stretches, see ``sequences``) are gathered and forecast in padded batches of one
        fixed size, a single row alone.
        """
        if values.shape[1] != self.features:
            raise UsageError(
                f"the model was fitted on {self.features} features, got {values.shape[1]}"
            )
        embedding = np.empty((len(rows), self.sizes.embedding), dtype=np.float32)
        logit = np.empty(len(rows), dtype=np.float32)
        if len(rows) == 0:
            return embedding, logit
        alone = len(rows) == 1
        size = 1 if alone else FORECAST_BATCH[self.sizes.sequence]
        questions = self.sequence.questions(rows, clock, size, padded=not alone)
        with threads_limited(threads), torch.inference_mode():
            for question in questions:
                pieces = values[question.steps].astype(np.float64)
                states = self._exact.states(torch.from_numpy(pieces).transpose(0, 1))
                exact = self._exact.head(states[question.piece, question.step])
                embedding[question.place] = exact.numpy()
                logit[question.place] = self._exact.logit(exact).numpy()
        return embedding, logit

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the weights; return what ``load`` must be told to rebuild the network."""
        folder.mkdir(parents=True, exist_ok=True)
        # Written by Python, so that a full disk is an OSError like any other.
        (folder / WEIGHTS_FILE).write_bytes(as_bytes(self.weights))
        shape = (
            "sequence", "timesteps", "stretch", "layers", "hidden", "dropout", "dense", "embedding",
        )  # fmt: skip
        return {
            "features": self.features,
            "lstm": self.sizes.model_dump(include=set(shape)),
            "learned_until": self.learned_until,
            "given_up": [asdict(one) for one in self.given_up],
        }

    @classmethod
    def load(cls, folder: Path, config: Mapping[str, Any]) -> Embedder:
        """Rebuild from the weights in ``folder`` and the facts that ``save`` returned."""
        file = artifact(folder, WEIGHTS_FILE)
        try:
            sizes = LstmSection(**config["lstm"])
            learned_until = config.get("learned_until")
            return cls(
                load_file(file),
                sizes,
                int(config["features"]),
                None if learned_until is None else int(learned_until),
                tuple(GivenUp(**one) for one in config.get("given_up", ())),
            )
        except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise UsageError(f"{file} and its config.json do not fit: {one_line(error)}") from error


# ── device, threads, chance ──────────────────────────────────────────────────────────────────────


def choose_device(wanted: str) -> torch.device:
    """Return the device to train on; ``auto`` takes cuda, then mps, then cpu.

    Raises
    ------
    ConfigError
        The device asked for is not there.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return torch.device(next(name for name, found in there.items() if found))
    if not there.get(wanted, False):
        found = ", ".join(name for name, ok in there.items() if ok)
        raise ConfigError(
            f"'{wanted}' is not available to torch here (found: {found}); use auto",
            key="compute.device",
        )
    return torch.device(wanted)


def name_of_device(device: torch.device) -> str:
    """Return what tells one device's arithmetic from another's."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextlib.contextmanager
def threads_limited(threads: int) -> Iterator[None]:
    """Let torch use so many threads inside the block; 0 changes nothing."""
    before = torch.get_num_threads()
    if threads > 0:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Give the block its own chance; the caller's generators are as before when it ends."""
    with contextlib.ExitStack() as stack:
        if device.type == "cuda":
            stack.enter_context(torch.random.fork_rng(devices=[torch.cuda.current_device()]))
            stack.enter_context(
                torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True)
            )
            torch.cuda.manual_seed(seed)
        elif device.type == "mps":
            stack.enter_context(torch.random.fork_rng(devices=[0], device_type="mps"))
            torch.mps.manual_seed(seed)
        else:
            stack.enter_context(torch.random.fork_rng(devices=[]))
        torch.default_generator.manual_seed(seed)
        yield
