"""The hand-arranged LSTM computes what torch's does, whatever the number of threads."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from perpwalk.config import LstmSection
from perpwalk.models.accelerated import TorchPasses
from perpwalk.models.base import FitContext, Sample
from perpwalk.models.dropout import Dropout
from perpwalk.models.lstm import LstmModel
from perpwalk.models.network import Network
from perpwalk.models.passes import CpuPasses
from perpwalk.models.recurrent import LayerWeights, Workspace
from perpwalk.models.sequences import Batch, sequence_of

CPU = torch.device("cpu")


def sample(rows: int, features: int = 5, steps: int = 7, seed: int = 0) -> Sample:
    """Return random rows with random labels."""
    chance = np.random.default_rng(seed)
    values = chance.standard_normal((rows + steps, features)).astype(np.float32)
    decisions = np.arange(steps, rows + steps)
    return Sample(values, decisions, chance.integers(0, 2, rows).astype(np.int8))


def network(settings: LstmSection, features: int = 5) -> Network:
    torch.manual_seed(3)
    return Network(features, settings)


def batch(settings: LstmSection, given: Sample, pieces: int) -> Batch:
    """Return the first ``pieces`` windows or stretches of an epoch."""
    return next(sequence_of(settings).epoch(given, pieces, np.random.default_rng(1)))


def gradients(of: Network) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in of.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("sequence", ["window", "stream"])
@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("hidden", [16, 37])
def test_gradients_are_torchs(sequence: str, layers: int, hidden: int) -> None:
    """Every parameter's gradient and the loss agree with autograd through ``nn.LSTM``."""
    settings = LstmSection(sequence=sequence, timesteps=7, stretch=5, layers=layers, hidden=hidden,
                           dense=8, embedding=4, dropout=0.0)  # fmt: skip
    one, other, given = network(settings), network(settings), sample(150, steps=12)
    learned = batch(settings, given, 130 if sequence == "window" else 29)

    wanted = float(TorchPasses(one, settings, CPU).learn(given.values, learned))
    with CpuPasses(other, settings, 2, seed=0) as passes:
        found = passes.learn(given.values, learned)

    assert found == pytest.approx(wanted, rel=1e-5)
    assert set(gradients(one)) == set(gradients(other))
    for name, gradient in gradients(one).items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(
            gradients(other)[name], gradient, rtol=0, atol=2e-5 * scale, msg=name
        )


@pytest.mark.parametrize("sequence", ["window", "stream"])
def test_forecasts_while_training_are_torchs(sequence: str) -> None:
    """Validation logits agree with the network's own forward pass, dropout off."""
    settings = LstmSection(
        sequence=sequence, timesteps=7, stretch=9, hidden=16, dense=8, embedding=4
    )
    net, given = network(settings), sample(1300, steps=16)

    with CpuPasses(net, settings, 2, seed=0) as passes:
        found = passes.logits(given)

    np.testing.assert_allclose(TorchPasses(net, settings, CPU).logits(given), found, atol=2e-6)


def test_gradients_with_dropout_are_those_of_finite_differences() -> None:
    """With the same random numbers the loss falls along the gradient as it says."""
    settings = LstmSection(timesteps=7, hidden=16, dense=8, embedding=4, dropout=0.5)
    given = sample(64)
    learned = batch(settings, given, 64)

    def loss(step: float, along: dict[str, torch.Tensor] | None = None) -> tuple[float, Network]:
        net = network(settings)
        if along is not None:
            with torch.no_grad():
                for name, p in net.named_parameters():
                    p += step * along[name]
        with CpuPasses(net, settings, 1, seed=9) as passes:
            return passes.learn(given.values, learned) / 64, net

    along = gradients(loss(0.0)[1])
    squared = sum(float((g**2).sum()) for g in along.values())
    step = 1e-2 / np.sqrt(squared)
    slope = (loss(step, along)[0] - loss(-step, along)[0]) / (2 * step)

    assert slope == pytest.approx(squared, rel=0.02)


@pytest.mark.parametrize("sequence", ["window", "stream"])
def test_a_fit_is_the_same_on_one_thread_and_on_several(sequence: str) -> None:
    """Weights, losses and forecasts are bit-identical."""
    settings = LstmSection(sequence=sequence, timesteps=7, stretch=10, hidden=16, dense=8,
                           embedding=4, epochs=3, batch_size=200, stretch_batch=40)  # fmt: skip
    given, validation = sample(700, steps=17), sample(300, steps=17, seed=1)

    fits = [
        LstmModel(settings).fit(given, validation, FitContext(seed=5, device="cpu", threads=n))
        for n in (1, 2, 3)
    ]

    for fit in fits[1:]:
        for name, weight in fits[0].embedder.weights.items():
            assert torch.equal(weight, fit.embedder.weights[name]), name
        assert [(r.train_loss, r.validation_loss) for r in fits[0].training] == [
            (r.train_loss, r.validation_loss) for r in fit.training
        ]


def test_training_leaves_torchs_settings_as_they_were() -> None:
    """Threads and precision of products are the caller's again."""
    settings = LstmSection(timesteps=7, hidden=16, epochs=1, precision="mixed")
    before = torch.get_num_threads(), torch.get_float32_matmul_precision()

    LstmModel(settings).fit(sample(200), sample(100), FitContext(device="cpu", threads=2))

    assert before == (torch.get_num_threads(), torch.get_float32_matmul_precision())


def test_a_value_that_is_not_finite_is_not_hidden() -> None:
    """NaN in a weight reaches the loss; it is not clamped by the approximated tanh."""
    settings = LstmSection(timesteps=7, hidden=16, dropout=0.0)
    net = network(settings)
    with torch.no_grad():
        net.lstm.weight_hh_l0[3, 4] = float("nan")

    with CpuPasses(net, settings, 1, seed=0) as passes:
        given = sample(64)
        assert np.isnan(passes.learn(given.values, batch(settings, given, 64)))


def test_activations_are_close_to_exact_ones() -> None:
    """Over the whole range the states differ from float64’s by less than 2e-5."""
    exact = nn.LSTM(4, 8, batch_first=False).double()
    with torch.no_grad():
        for p in exact.parameters():
            p.mul_(8.0)
    windows = 3 * torch.randn(9, 200, 4, generator=torch.Generator().manual_seed(0))
    weights = [
        LayerWeights(
            exact.weight_ih_l0.detach().float(),
            exact.weight_hh_l0.detach().float(),
            (exact.bias_ih_l0 + exact.bias_hh_l0).detach().float(),
        )
    ]
    with torch.no_grad():
        found = Workspace(200, 9, 4, 8, 1, Dropout(0.0)).forward(windows, weights)
        states, _ = exact(windows.double())

    np.testing.assert_allclose(states.numpy(), found.numpy(), atol=2e-5)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_dropout_keeps_its_share_and_the_mean(share: float) -> None:
    """The share kept is right within its error, and what is kept is scaled up."""
    ones = np.ones(200_000, np.float32)
    mask = np.empty_like(ones)
    Dropout(share).apply(ones, 11, mask)

    kept = float((mask > 0).mean())
    assert kept == pytest.approx(1 - share, abs=5 * np.sqrt(share * (1 - share) / 200_000))
    assert mask.max() == pytest.approx(1 / (1 - share), rel=1e-4)
    assert {0.0, float(mask.max())} == set(np.unique(mask).tolist())


def test_no_dropout_leaves_values_as_they_are() -> None:
    """A share of 0 keeps every number, in another array and in its own."""
    values = np.linspace(-2, 2, 1000, dtype=np.float32)
    kept, own = np.empty_like(values), values.copy()
    Dropout(0.0).apply(values, 7, kept)
    Dropout(0.0).apply(own, 7)

    np.testing.assert_array_equal(values, kept)
    np.testing.assert_array_equal(values, own)


def test_dropout_in_parts_and_in_place_is_dropout_of_the_whole() -> None:
    """Blocks, numbered from where they begin, keep what the whole array at once keeps."""
    values = np.random.default_rng(2).standard_normal(5000).astype(np.float32)
    whole, parts = np.empty_like(values), values.copy()
    Dropout(0.3).apply(values, 2**32 - 100, whole)
    for start in range(0, 5000, 999):
        Dropout(0.3).apply(parts[start : start + 999], 2**32 - 100, start=start)

    np.testing.assert_array_equal(whole, parts)


def test_dropout_drops_the_same_places_for_the_same_key_only() -> None:
    """The backward pass finds the places of the forward pass; another key knows nothing of them."""
    values = np.ones(100_000, np.float32)
    kept = [np.empty_like(values) for _ in range(3)]
    for key, out in zip((7, 7, 8), kept, strict=True):
        Dropout(0.2).apply(values, key, out)

    np.testing.assert_array_equal(kept[0], kept[1])
    together = float(((kept[0] > 0) & (kept[2] > 0)).mean())
    assert together == pytest.approx(0.8 * 0.8, abs=0.01)
    neighbours = float(((kept[0][1:] > 0) & (kept[0][:-1] > 0)).mean())
    assert neighbours == pytest.approx(0.8 * 0.8, abs=0.01)
