"""One pass through the network, forward or with gradients: by hand on a CPU, by torch elsewhere.

Both fill ``.grad`` of the network's parameters with the gradient of the batch's mean loss. On a CPU
a batch is cut into shards of the same size whatever the number of threads, each with a stream of
random numbers of its own, and their gradients are added in order: a fit gives the same weights on
one thread and on eight.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from perpwalk.config import LstmSection
from perpwalk.domain import Float32Array, IntArray
from perpwalk.models.base import Sample
from perpwalk.models.network import Network, gather, threads_limited
from perpwalk.models.recurrent import Dropout, LayerWeights, Workspace

SHARD_ROWS = 64  # small enough for the second-level cache, large enough for full-speed products
MOST_SHARDS = 8
EVALUATION_ROWS = 512
T = TypeVar("T")
U = TypeVar("U")


class Passes(Protocol):
    """What training needs of a device."""

    def learn(self, sample: Sample, chosen: IntArray) -> float:
        """Set gradients of the mean loss over the decisions ``chosen``; return its sum."""

    def logits(self, sample: Sample) -> Float32Array:
        """Return logits (m,) of all decisions, dropout off."""


class TorchPasses:
    """The network as torch runs it: for CUDA and MPS.

    With ``mixed`` precision products run in bfloat16 on CUDA; sums, losses and weights stay
    float32.
    """

    def __init__(self, network: Network, settings: LstmSection, device: torch.device) -> None:
        self._network = network
        self._steps = settings.timesteps
        self._device = device
        self._mixed = settings.precision == "mixed" and device.type == "cuda"

    def learn(self, sample: Sample, chosen: IntArray) -> float:
        """Set gradients by torch's autograd."""
        self._network.train()
        windows, target = self._batch(sample, chosen)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._mixed):
            logit = self._network(windows)
        loss = nn.functional.binary_cross_entropy_with_logits(logit.float(), target)
        self._network.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach()) * len(chosen)

    def logits(self, sample: Sample) -> Float32Array:
        """Forecast in batches."""
        self._network.eval()
        found = []
        with torch.inference_mode():
            for start in range(0, len(sample), EVALUATION_ROWS):
                chosen = np.arange(start, min(start + EVALUATION_ROWS, len(sample)))
                found.append(self._network(self._batch(sample, chosen)[0]).float().cpu().numpy())
        return np.concatenate(found)

    def _batch(self, sample: Sample, chosen: IntArray) -> tuple[Tensor, Tensor]:
        windows = gather(sample.values, sample.rows[chosen], self._steps)
        target = sample.label[chosen].astype(np.float32)
        return torch.from_numpy(windows).to(self._device), torch.from_numpy(target).to(self._device)


class CpuPasses:
    """The network arranged by hand (``perpwalk.models.recurrent``), shards side by side.

    Use as a context: it holds worker threads.
    """

    def __init__(self, network: Network, settings: LstmSection, threads: int, seed: int) -> None:
        self._network = network
        self._settings = settings
        self._threads = threads
        self._seed = seed
        self._dropout = Dropout(settings.dropout)
        self._streams: dict[int, np.random.Generator] = {}
        self._workspaces: dict[tuple[int, int], Workspace] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._head = [p for name, p in network.named_parameters() if not name.startswith("lstm.")]

    def __enter__(self) -> CpuPasses:
        if self._threads > 1:
            self._pool = ThreadPoolExecutor(
                self._threads, initializer=torch.set_num_threads, initargs=(1,)
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def learn(self, sample: Sample, chosen: IntArray) -> float:
        """Set gradients: shards in parallel, sums in order."""
        weights = self._weights()
        shards = list(enumerate(_shards(chosen)))

        def one(shard: tuple[int, IntArray]) -> tuple[float, Workspace, Sequence[Tensor]]:
            number, rows = shard
            return self._learn_shard(number, sample, rows, weights, 1 / len(chosen))

        results = self._map(one, shards)
        self._collect([(workspace, head) for _, workspace, head in results])
        return sum(loss for loss, _, _ in results) * len(chosen)

    def logits(self, sample: Sample) -> Float32Array:
        """Forecast in shards."""
        weights = self._weights()
        everything = np.arange(len(sample))
        parts = np.array_split(everything, max(1, -(-len(sample) // EVALUATION_ROWS)))

        def one(part: tuple[int, IntArray]) -> Float32Array:
            number, rows = part
            workspace = self._workspace(-1 - number % max(1, self._threads), len(rows))
            with torch.inference_mode():
                last = workspace.forward(self._windows(sample, rows), weights)
                logit: Float32Array = self._network.logit(self._network.head(last)).numpy()
            return logit

        # A workspace is one thread's at a time: as many parts at once as there are threads.
        found: list[Float32Array] = []
        wave = max(1, self._threads)
        for start in range(0, len(parts), wave):
            found += self._map(one, list(enumerate(parts))[start : start + wave])
        return np.concatenate(found)

    # ── one shard ────────────────────────────────────────────────────────────────────────────────

    def _learn_shard(
        self,
        number: int,
        sample: Sample,
        rows: IntArray,
        weights: Sequence[LayerWeights],
        share: float,
    ) -> tuple[float, Workspace, Sequence[Tensor]]:
        workspace = self._workspace(number, len(rows))
        chance = self._stream(number)
        with torch.no_grad():
            last = workspace.forward(self._windows(sample, rows), weights, chance)
            mask = self._dropout.mask(last.shape, chance)
            given = last * mask
        given.requires_grad_()
        logit = self._network.logit(self._network.head(given))
        target = torch.from_numpy(sample.label[rows].astype(np.float32))
        loss = share * nn.functional.binary_cross_entropy_with_logits(
            logit, target, reduction="sum"
        )
        d_given, *head = torch.autograd.grad(loss, [given, *self._head])
        with torch.no_grad():
            workspace.backward(d_given * mask, weights)
        return float(loss.detach()), workspace, head

    def _windows(self, sample: Sample, rows: IntArray) -> Tensor:
        """Gather windows (t, b, k): time first."""
        steps = np.arange(1 - self._settings.timesteps, 1)
        return torch.from_numpy(sample.values[steps[:, None] + sample.rows[rows]])

    # ── weights in, gradients out ────────────────────────────────────────────────────────────────

    def _weights(self) -> list[LayerWeights]:
        lstm = self._network.lstm
        with torch.no_grad():
            return [
                LayerWeights(
                    getattr(lstm, f"weight_ih_l{layer}").detach(),
                    getattr(lstm, f"weight_hh_l{layer}").detach(),
                    getattr(lstm, f"bias_ih_l{layer}") + getattr(lstm, f"bias_hh_l{layer}"),
                )
                for layer in range(self._settings.layers)
            ]

    def _collect(self, shards: Sequence[tuple[Workspace, Sequence[Tensor]]]) -> None:
        """Add the shards' gradients in order and hand them to the parameters."""
        first, *others = shards
        for place, parameter in enumerate(self._head):
            parameter.grad = sum((head[place] for _, head in others), first[1][place])
        for layer in range(self._settings.layers):
            total = first[0].gradients[layer].copy()
            for workspace, _ in others:
                total.add(workspace.gradients[layer])
            for name, gradient in (
                ("weight_ih", total.into), ("weight_hh", total.recurrent),
                ("bias_ih", total.bias), ("bias_hh", total.bias.clone()),
            ):  # fmt: skip
                getattr(self._network.lstm, f"{name}_l{layer}").grad = gradient

    # ── what is kept from batch to batch ─────────────────────────────────────────────────────────

    def _workspace(self, number: int, rows: int) -> Workspace:
        key = (number, rows)
        if key not in self._workspaces:
            sizes = self._settings
            features = self._network.lstm.input_size
            self._workspaces[key] = Workspace(
                rows, sizes.timesteps, features, sizes.hidden, sizes.layers, self._dropout
            )
        return self._workspaces[key]

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


def _shards(chosen: IntArray) -> list[IntArray]:
    """Cut a batch by its own length alone."""
    count = min(MOST_SHARDS, max(1, round(len(chosen) / SHARD_ROWS)))
    return np.array_split(chosen, count)


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
