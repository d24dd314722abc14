"""The network as torch runs it on an accelerator: CUDA, and Apple's MPS.

A fold's table lives on the device from the first batch on; what travels in a step are row numbers
and labels. A batch that would not fit in the device's free memory is learned in parts whose
gradients add up, so that the memory decides about speed and never about what is learned; forecasts
while training are made in batches as large as fit.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from perpwalk.config import LstmSection
from perpwalk.domain import Float32Array
from perpwalk.models.base import Sample
from perpwalk.models.network import Network
from perpwalk.models.sequences import Batch, sequence_of

MEMORY_SHARE = 0.5  # of what is free: the estimate below is rough, and others use the device too
MOST_PIECES = 65_536
FIXED_PIECES = 4096  # where the device does not say how much is free
_KEPT = 14  # numbers kept per layer, step and unit: gates, cell, state, their gradients


def mixed_type(device: torch.device, wanted: str) -> torch.dtype | None:
    """Return the type of mixed precision's products; None computes in float32.

    bfloat16 pays on CUDA devices with units for it (compute capability 8 and newer); older ones
    emulate it, which is slower than float32, and MPS gains nothing.
    """
    if wanted != "mixed" or device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else None


def free_memory(device: torch.device) -> int | None:
    """Return the free bytes of a device, None where it cannot be asked."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    if device.type == "mps":
        return max(0, torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory())
    return None


def pieces_that_fit(free: int | None, steps: int, features: int, sizes: LstmSection) -> int:
    """Return how many windows or stretches of ``steps`` bars are computed at once.

    >>> pieces_that_fit(None, 20, 10, LstmSection())
    4096
    >>> pieces_that_fit(2_000_000_000, 20, 10, LstmSection())
    3301
    """
    if free is None:
        return FIXED_PIECES
    per_step = features + sizes.layers * sizes.hidden * _KEPT + 2 * (sizes.dense + sizes.embedding)
    fit = int(free * MEMORY_SHARE) // (4 * steps * per_step)
    return max(1, min(MOST_PIECES, fit))


class TorchPasses:
    """Gradients by torch's autograd, on any device.

    With ``mixed`` precision products run in bfloat16 where it pays; sums, losses and weights stay
    float32.
    """

    def __init__(self, network: Network, settings: LstmSection, device: torch.device) -> None:
        self._network = network
        self._settings = settings
        self._sequence = sequence_of(settings)
        self._device = device
        self._mixed = mixed_type(device, settings.precision)
        self._resident: dict[int, tuple[Float32Array, Tensor]] = {}

    @property
    def parameters(self) -> list[Tensor]:
        """The network's own."""
        return list(self._network.parameters())

    def learn(self, values: Float32Array, batch: Batch) -> Tensor:
        """Set gradients by torch's autograd; the loss stays on the device."""
        self._network.train()
        self._network.zero_grad(set_to_none=True)
        table, count = self._table(values), len(batch)
        steps, pieces = batch.steps.shape
        most = self._most(steps)
        summed = torch.zeros((), device=self._device)
        for start in range(0, pieces, most):
            summed += self._learn_part(table, batch.part(slice(start, start + most)), count)
        return summed

    def logits(self, sample: Sample) -> Float32Array:
        """Forecast in batches, dropout off."""
        self._network.eval()
        table = self._table(sample.values)
        found = torch.empty(len(sample), device=self._device)
        most = self._most(self._sequence.reach)
        with torch.inference_mode():
            for question in self._sequence.questions(sample.rows, sample.clock, most):
                states = self._states(table, question.steps)
                wanted = states[question.piece, question.step]
                place = torch.from_numpy(question.place).to(self._device)
                found[place] = self._network.logit(self._network.head(wanted)).float()
        return found.cpu().numpy()

    def _learn_part(self, table: Tensor, part: Batch, count: int) -> Tensor:
        supervised = len(part.label)
        target = torch.from_numpy(np.ascontiguousarray(part.label.T)).to(self._device)
        counts = torch.from_numpy(np.ascontiguousarray(part.counts.T)).to(self._device)
        with torch.autocast(
            self._device.type, self._mixed or torch.bfloat16, enabled=self._mixed is not None
        ):
            last = self._states(table, part.steps)[:, -supervised:]
            logit = self._network.logit(self._network.head(self._network.dropout(last)))
        losses = nn.functional.binary_cross_entropy_with_logits(
            logit.float(), target, reduction="none"
        )
        loss = (losses * counts).sum()
        (loss / count).backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _states(self, table: Tensor, steps: np.ndarray) -> Tensor:
        """Return the top layer's states (b, t, h)."""
        rows = torch.from_numpy(np.ascontiguousarray(steps.T)).to(self._device)
        return self._network.states(table[rows])

    def _most(self, steps: int) -> int:
        features = self._network.lstm.input_size
        return pieces_that_fit(free_memory(self._device), steps, features, self._settings)

    def _table(self, values: Float32Array) -> Tensor:
        """Return the table on the device; it is sent once."""
        known = self._resident.get(id(values))
        if known is None or known[0] is not values:
            known = values, torch.from_numpy(values.copy()).to(self._device)
            self._resident[id(values)] = known
        return known[1]
