"""One pass through the network, forward or with gradients: by hand on a CPU, by torch elsewhere.

Both fill ``.grad`` of ``parameters`` with the gradient of the batch's mean loss. On a CPU a batch
is cut into shards of the same size whatever the number of threads, each with a stream of random
numbers of its own, and their gradients are added in order: a fit gives the same weights on one
thread and on eight.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from perpwalk.config import LstmSection
from perpwalk.domain import Float32Array
from perpwalk.models.accelerated import TorchPasses
from perpwalk.models.base import Sample
from perpwalk.models.dropout import Dropout, random_key
from perpwalk.models.head import head_parameters, teach_head
from perpwalk.models.network import Network, threads_limited
from perpwalk.models.recurrent import LayerGradients, LayerWeights, Workspace
from perpwalk.models.sequences import Batch, Question, sequence_of

# Pieces of a shard: enough for full-speed products, few enough for the caches.
SHARD_ROWS = 128
SHARD_STRETCHES = 32
MOST_SHARDS = 8
EVALUATION_ROWS = 512
EVALUATION_STRETCHES = 32
T = TypeVar("T")
U = TypeVar("U")


class Passes(Protocol):
    """What training needs of a device."""

    @property
    def parameters(self) -> list[Tensor]:
        """What the optimizer moves; the network's own parameters move with them."""

    def learn(self, values: Float32Array, batch: Batch) -> float | Tensor:
        """Set gradients of the mean loss over the batch; return the sum of the losses."""

    def logits(self, sample: Sample) -> Float32Array:
        """Return logits (m,) of all decisions, dropout off."""


class CpuPasses:
    """The network arranged by hand (``perpwalk.models.recurrent``), shards side by side.

    All weights lie in one vector, of which the network's parameters become views: clipping and the
    optimizer's step are one call each. Use as a context: it holds worker threads.
    """

    def __init__(self, network: Network, settings: LstmSection, threads: int, seed: int) -> None:
        self._network = network
        self._settings = settings
        self._sequence = sequence_of(settings)
        self._threads = threads
        self._seed = seed
        self._dropout = Dropout(settings.dropout)
        self._streams: dict[int, np.random.Generator] = {}
        self._gradients: dict[int, list[LayerGradients]] = {}
        self._own = _ThreadsOwn()
        self._pool: ThreadPoolExecutor | None = None
        self._flat = _flattened(network)
        self._layers = [_Layer.of(network, layer) for layer in range(settings.layers)]
        self._head = head_parameters(network)

    @property
    def parameters(self) -> list[Tensor]:
        """The one vector of all weights."""
        return [self._flat]

    def __enter__(self) -> CpuPasses:
        if self._threads > 1:
            self._pool = ThreadPoolExecutor(
                self._threads, initializer=torch.set_num_threads, initargs=(1,)
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def learn(self, values: Float32Array, batch: Batch) -> float:
        """Set gradients: shards in parallel, sums in order."""
        weights = self._weights()
        share = 1 / len(batch)
        shards = list(enumerate(_shards(batch, self._settings)))

        def one(shard: tuple[int, Batch]) -> _Learned:
            with torch.inference_mode():  # a thread's own
                return self._learn_shard(shard[0], values, shard[1], weights, share)

        with torch.inference_mode():
            results = self._map(one, shards)
            self._collect(results)
        return sum(result.loss for result in results)

    def logits(self, sample: Sample) -> Float32Array:
        """Forecast in shards."""
        weights = self._weights()
        found = np.empty(len(sample), np.float32)
        questions = self._sequence.questions(sample.rows, sample.clock, _evaluated(self._settings))

        def one(question: Question) -> None:
            steps, pieces = question.steps.shape
            with torch.inference_mode():
                states = self._workspace(pieces, steps).forward(
                    _gathered(sample.values, question.steps), weights
                )
                wanted = states[question.step, question.piece]
                found[question.place] = self._network.logit(self._network.head(wanted)).numpy()

        self._map(one, list(questions))
        return found

    # ── one shard ────────────────────────────────────────────────────────────────────────────────

    def _learn_shard(
        self,
        number: int,
        values: Float32Array,
        shard: Batch,
        weights: Sequence[LayerWeights],
        share: float,
    ) -> _Learned:
        steps, pieces = shard.steps.shape
        supervised = len(shard.label)
        workspace = self._workspace(pieces, steps)
        chance = self._stream(number)
        states = workspace.forward(_gathered(values, shard.steps), weights, chance)
        last, key = states[steps - supervised :], random_key(chance)
        lesson = teach_head(
            [each.detach() for each in self._head],
            self._dropped(last, key).view(supervised * pieces, -1),
            torch.from_numpy(shard.label).reshape(-1),
            torch.from_numpy(shard.counts).reshape(-1),
            share,
        )
        d_last = self._dropped(lesson.d_given, key).view(last.shape)
        gradients = self._room(number)
        workspace.backward(d_last, weights, gradients)
        return _Learned(lesson.loss, gradients, lesson.gradients)

    def _dropped(self, given: Tensor, key: int) -> Tensor:
        """Return what dropout leaves of the top states, or of their gradients."""
        kept = torch.empty_like(given)
        self._dropout.apply(given.numpy().reshape(-1), key, kept.numpy().reshape(-1))
        return kept

    # ── weights in, gradients out ────────────────────────────────────────────────────────────────

    def _weights(self) -> list[LayerWeights]:
        return [layer.weights() for layer in self._layers]

    def _collect(self, shards: Sequence[_Learned]) -> None:
        """Add the shards' gradients in order and hand them to the parameters."""
        first, *others = shards
        for other in others:
            first.add(other)
        for parameter, gradient in zip(self._head, first.head, strict=True):
            _gradient(parameter).copy_(gradient)
        for layer, gradients in zip(self._layers, first.layers, strict=True):
            layer.take(gradients)

    # ── what is kept from batch to batch ─────────────────────────────────────────────────────────

    def _workspace(self, rows: int, steps: int) -> Workspace:
        """Return the calling thread's own: shards of one thread share what its caches hold."""
        known = self._own.workspaces
        if (rows, steps) not in known:
            sizes, features = self._settings, self._network.lstm.input_size
            known[rows, steps] = Workspace(
                rows, steps, features, sizes.hidden, sizes.layers, self._dropout
            )
        return known[rows, steps]

    def _room(self, number: int) -> list[LayerGradients]:
        """Return where a shard's gradients wait for being added up."""
        if number not in self._gradients:
            sizes = self._settings
            self._gradients[number] = LayerGradients.empty(
                self._network.lstm.input_size, sizes.hidden, sizes.layers
            )
        return self._gradients[number]

    def _stream(self, number: int) -> np.random.Generator:
        """Return a shard's own random numbers: whoever computes it, whenever, draws the same."""
        if number not in self._streams:
            seed = np.random.SeedSequence([self._seed, number])
            self._streams[number] = np.random.Generator(np.random.SFC64(seed))
        return self._streams[number]

    def _map(self, one: Callable[[T], U], items: Sequence[T]) -> list[U]:
        if self._pool is None or len(items) == 1:
            return [one(item) for item in items]
        return list(self._pool.map(one, items))


class _ThreadsOwn(threading.local):
    """What each thread keeps for itself."""

    def __init__(self) -> None:
        self.workspaces: dict[tuple[int, int], Workspace] = {}


@dataclass(frozen=True)
class _Learned:
    """A shard's loss, and its gradients until the next batch."""

    loss: float
    layers: list[LayerGradients]
    head: list[Tensor]

    def add(self, other: _Learned) -> None:
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.add(theirs)
        for one, another in zip(self.head, other.head, strict=True):
            one.add_(another)


@dataclass(frozen=True)
class _Layer:
    """One layer's parameters."""

    into: nn.Parameter
    recurrent: nn.Parameter
    biases: tuple[nn.Parameter, nn.Parameter]

    @classmethod
    def of(cls, network: Network, layer: int) -> _Layer:
        into, recurrent, *biases = (
            getattr(network.lstm, f"{name}_l{layer}")
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        return cls(into, recurrent, (biases[0], biases[1]))

    def weights(self) -> LayerWeights:
        with torch.no_grad():
            return LayerWeights(
                self.into.detach(), self.recurrent.detach(), self.biases[0] + self.biases[1]
            )

    def take(self, gradients: LayerGradients) -> None:
        _gradient(self.into).copy_(gradients.into.t())
        _gradient(self.recurrent).copy_(gradients.recurrent.t())
        for bias in self.biases:
            _gradient(bias).copy_(gradients.bias)


def _flattened(network: Network) -> nn.Parameter:
    """Move all parameters into one vector, and their gradients into its; return it."""
    parameters = list(network.parameters())
    flat = nn.Parameter(torch.cat([each.detach().reshape(-1) for each in parameters]))
    flat.grad = torch.zeros_like(flat)
    start = 0
    for each in parameters:
        stop = start + each.numel()
        each.data = flat.detach()[start:stop].view(each.shape)
        each.grad = flat.grad[start:stop].view(each.shape)
        start = stop
    return flat


def _gradient(parameter: nn.Parameter) -> Tensor:
    return cast("Tensor", parameter.grad)  # set by _flattened


def _gathered(values: Float32Array, steps: np.ndarray) -> Tensor:
    """Return rows (t, b, k) of the table: time first."""
    return torch.from_numpy(values[steps])


def _evaluated(settings: LstmSection) -> int:
    """How many pieces are forecast at once."""
    return EVALUATION_STRETCHES if settings.sequence == "stream" else EVALUATION_ROWS


def _shards(batch: Batch, settings: LstmSection) -> list[Batch]:
    """Cut a batch by its own size alone: in two where halves are worth it, then by the shard."""
    pieces = batch.steps.shape[1]
    each = SHARD_STRETCHES if settings.sequence == "stream" else SHARD_ROWS
    count = min(MOST_SHARDS, max(round(pieces / each), 2 if pieces >= each else 1))
    cuts = np.linspace(0, pieces, count + 1).round().astype(int).tolist()
    return [batch.part(slice(a, b)) for a, b in itertools.pairwise(cuts)]


@contextlib.contextmanager
def passes(
    network: Network, settings: LstmSection, device: torch.device, threads: int, seed: int
) -> Iterator[Passes]:
    """Return the passes for a device, holding what they need inside the block.

    Parameters
    ----------
    threads
        Shards computed side by side on a CPU; 0 takes as many as torch would.
    seed
        Of dropout on a CPU.
    """
    if device.type != "cpu":
        yield TorchPasses(network, settings, device)
        return
    side_by_side = threads if threads > 0 else torch.get_num_threads()
    with (
        threads_limited(1),
        _precision(settings.precision),
        CpuPasses(network, settings, side_by_side, seed) as found,
    ):
        yield found


@contextlib.contextmanager
def _precision(wanted: str) -> Iterator[None]:
    """Let products run in bfloat16, summed in float32, inside the block if ``mixed`` is wanted."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if wanted == "mixed" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
