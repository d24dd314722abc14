"""What an accelerator would do, as far as a machine without one can show it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perpwalk.config import LstmSection
from perpwalk.models import accelerated
from perpwalk.models.accelerated import TorchPasses, mixed_type, pieces_that_fit
from perpwalk.models.base import Sample
from perpwalk.models.network import Network, choose_device
from perpwalk.models.sequences import sequence_of

CPU = torch.device("cpu")
TINY = {"timesteps": 5, "stretch": 7, "hidden": 8, "dense": 6, "embedding": 4, "dropout": 0.0}


def settings(**changes: object) -> LstmSection:
    return LstmSection.model_validate({**TINY, **changes})


def sample(decisions: int = 90) -> Sample:
    chance = np.random.default_rng(0)
    values = chance.standard_normal((decisions + 12, 3)).astype(np.float32)
    rows = np.arange(12, decisions + 12)
    return Sample(values, rows, chance.integers(0, 2, decisions).astype(np.int8))


def learned(asked: LstmSection) -> tuple[float, list[torch.Tensor]]:
    """Return loss and gradients of one batch of everything."""
    torch.manual_seed(0)
    network, given = Network(3, asked), sample()
    batch = next(sequence_of(asked).epoch(given, 90, np.random.default_rng(1)))
    loss = float(TorchPasses(network, asked, CPU).learn(given.values, batch))
    return loss, [each.grad for each in network.parameters() if each.grad is not None]


@pytest.mark.parametrize("sequence", ["window", "stream"])
def test_a_batch_that_does_not_fit_is_learned_in_parts(
    sequence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loss and gradients are those of the whole batch, but for rounding."""
    whole = learned(settings(sequence=sequence))
    monkeypatch.setattr(accelerated, "pieces_that_fit", lambda *_: 4)

    parts = learned(settings(sequence=sequence))

    assert whole[0] == pytest.approx(parts[0], rel=1e-5)
    for one, another in zip(whole[1], parts[1], strict=True):
        torch.testing.assert_close(one, another, rtol=1e-4, atol=1e-7)


def test_more_memory_takes_more_pieces_and_never_none() -> None:
    """In proportion to what is free, at least one, at most the limit; a fixed number unknown."""
    sizes = LstmSection()
    one, two = (pieces_that_fit(free, 20, 10, sizes) for free in (1 << 30, 2 << 30))

    assert 2 == pytest.approx(two / one, rel=0.01)
    assert 1 == pieces_that_fit(0, 20, 10, sizes)
    assert accelerated.MOST_PIECES == pieces_that_fit(1 << 50, 20, 10, sizes)
    assert accelerated.FIXED_PIECES == pieces_that_fit(None, 20, 10, sizes)
    stretches = pieces_that_fit(1 << 30, 147, 10, sizes)
    assert 20 / 147 == pytest.approx(stretches / one, rel=0.02)


def test_the_table_is_sent_to_the_device_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch of batches and a forecast of the same span share one copy of the table."""
    sent = []
    real = torch.from_numpy
    given = sample()
    monkeypatch.setattr(
        torch,
        "from_numpy",
        lambda a: (sent.append(a.shape), real(a))[1],  # type: ignore[func-returns-value]
    )
    asked = settings()
    through = TorchPasses(Network(3, asked), asked, CPU)

    for batch in sequence_of(asked).epoch(given, 30, np.random.default_rng(1)):
        through.learn(given.values, batch)
    through.logits(given)

    assert 1 == sent.count(given.values.shape)


@pytest.mark.parametrize(
    ("capability", "wanted", "expected"),
    [
        ((8, 0), "mixed", torch.bfloat16),
        ((9, 0), "mixed", torch.bfloat16),
        ((7, 5), "mixed", None),
        ((9, 0), "float32", None),
    ],
)
def test_mixed_precision_is_used_where_the_device_has_units_for_it(
    capability: tuple[int, int],
    wanted: str,
    expected: torch.dtype | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """bfloat16 from compute capability 8 on; float32 on older devices and where not wanted."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)

    assert expected == mixed_type(torch.device("cuda"), wanted)


def test_mixed_precision_on_apple_devices_is_float32() -> None:
    """MPS gains nothing from it."""
    assert mixed_type(torch.device("mps"), "mixed") is None


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_prefers_cuda_then_mps_then_the_cpu(
    cuda: bool, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is there, in this order."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    assert expected == choose_device("auto").type


def test_free_memory_of_a_processor_is_not_asked() -> None:
    """The batch then has a fixed size."""
    assert accelerated.free_memory(CPU) is None
