"""How the network is trained: stopping, cutting the rate, diverging, and the devices it knows."""

import logging

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from perpwalk.config import LstmSection
from perpwalk.errors import ConfigError, UsageError, UserError
from perpwalk.models import FitContext, Sample
from perpwalk.models import lstm as lstm_module
from perpwalk.models.lstm import FittedLstm, LstmModel
from perpwalk.models.network import Network, choose_device, threads_limited

CPU = FitContext(seed=1, device="cpu", threads=1)


def settings(**changes):
    tiny = {"timesteps": 3, "hidden": 6, "dense": 5, "embedding": 4, "epochs": 8, "batch_size": 32}
    return LstmSection.model_validate({**tiny, **changes})


def noise(rows=300, seed=0):
    """A span with nothing to learn: the network overfits at once."""
    chance = np.random.default_rng(seed)
    values = chance.standard_normal((rows, 2)).astype(np.float32)
    label = chance.integers(0, 2, rows).astype(np.int8)
    at = np.arange(2, rows)
    return Sample(values, at, label[at])


def test_the_architecture_is_the_predecessors():
    """
    Two layers of 128, a head of 64, an embedding of 32, one logit.
    """
    network = Network(10, LstmSection())

    shapes = {name: tuple(weight.shape) for name, weight in network.named_parameters()}

    assert (2, 128, 0.2) == (
        network.lstm.num_layers,
        network.lstm.hidden_size,
        network.lstm.dropout,
    )
    assert (64, 128) == shapes["dense.weight"]
    assert (32, 64) == shapes["to_embedding.weight"]
    assert (1, 32) == shapes["to_logit.weight"]
    assert (5, 32) == network.embed(torch.zeros(5, 20, 10)).shape
    assert (5,) == network(torch.zeros(5, 20, 10)).shape


def test_the_weights_of_the_best_epoch_are_kept():
    """
    The model's own validation loss is the lowest of its training, not the last.
    """
    train, validation = noise(seed=0), noise(seed=1)

    model = LstmModel(settings(learning_rate=0.05, patience=4)).fit(train, validation, CPU)

    p_up = model.predict(validation.values, validation.rows).p_up
    loss = -np.mean(np.log(np.where(validation.label == 1, p_up, 1 - p_up)))
    losses = [report.validation_loss for report in model.training]
    assert min(losses) < losses[-1]
    assert min(losses) == pytest.approx(loss, abs=1e-6)


def test_training_stops_once_validation_has_not_improved_for_patience_epochs():
    """
    No more and no fewer epochs than the best one plus patience.
    """
    model = LstmModel(settings(learning_rate=0.05, patience=2, epochs=50)).fit(
        noise(seed=0), noise(seed=1), CPU
    )

    losses = [report.validation_loss for report in model.training]
    assert int(np.argmin(losses)) + 1 + 2 == len(losses)
    assert list(range(1, len(losses) + 1)) == [report.epoch for report in model.training]


def losses_at(factor):
    """Validation losses of a training whose rate is cut by ``factor`` on every plateau."""
    model = LstmModel(settings(learning_rate=0.05, patience=6, epochs=6, lr_factor=factor)).fit(
        noise(seed=0), noise(seed=1), CPU
    )
    return [report.validation_loss for report in model.training]


def test_a_cut_reaches_the_optimizer():
    """
    At a rate of next to nothing, the weights stand still after the first plateau.
    """
    assert losses_at(1e-9)[-1] == pytest.approx(losses_at(1e-9)[-2], abs=1e-6)
    assert losses_at(0.9)[-1] != pytest.approx(losses_at(0.9)[-2], abs=1e-6)


@pytest.mark.parametrize("lr_patience", [0, 1])
def test_the_learning_rate_is_cut_on_a_plateau(lr_patience):
    """
    It is halved after more than lr_patience epochs without improvement since the last best or cut.
    """
    model = LstmModel(
        settings(learning_rate=0.05, patience=6, epochs=9, lr_patience=lr_patience)
    ).fit(noise(seed=0), noise(seed=1), CPU)

    rate, best, waited, expected = 0.05, np.inf, 0, []
    for report in model.training:
        expected.append(rate)
        waited = 0 if report.validation_loss < best else waited + 1
        best = min(best, report.validation_loss)
        if waited > lr_patience:
            rate, waited = rate / 2, 0
    assert expected == [report.learning_rate for report in model.training]
    assert expected[-1] < 0.05


def test_a_one_sided_validation_has_no_auc():
    """
    It is None in the report; the loss is there.
    """
    validation = noise(seed=1)
    one_sided = Sample(validation.values, validation.rows, np.ones(len(validation), np.int8))

    model = LstmModel(settings(epochs=1)).fit(noise(), one_sided, CPU)

    assert model.training[0].validation_auc is None
    assert model.training[0].validation_loss > 0


def test_divergence_at_every_rate_is_an_error():
    """
    Three attempts, then a message that says what to lower.
    """
    absurd = settings().model_copy(update={"learning_rate": 1e36})

    with pytest.raises(UserError, match=r"diverged 3 times.*model\.lstm\.learning_rate"):
        LstmModel(absurd).fit(noise(), noise(seed=1), CPU)


@pytest.fixture
def first_loss(monkeypatch):
    """Return a function that sets what the first training loss is taken for."""

    def is_taken_for(value):
        losses = iter([value])

        def bounded(loss, epoch, what, judge=lstm_module._bounded):
            return judge(next(losses, loss), epoch, what)

        monkeypatch.setattr(lstm_module, "_bounded", bounded)

    return is_taken_for


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), 7.0])
def test_divergence_is_retried_at_a_tenth_of_the_rate_said_and_kept(
    first_loss, loss, caplog, tmp_path
):
    """
    No number, infinite, or ten times a coin's: the second attempt starts over from epoch 1, with
    the weights that a fit at that rate begins with, and the model's file holds the first.
    """
    asked = settings(learning_rate=1e-2, epochs=1)
    plain = LstmModel(settings(learning_rate=1e-3, epochs=1)).fit(noise(), noise(seed=1), CPU)
    first_loss(loss)
    with caplog.at_level(logging.WARNING, logger="perpwalk"):
        model = LstmModel(asked).fit(noise(), noise(seed=1), CPU)

    assert [(1, 1e-3)] == [(report.epoch, report.learning_rate) for report in model.training]
    assert "learning rate 0.01: the training loss is" in caplog.text
    model.save(tmp_path)
    (kept,) = FittedLstm.load(tmp_path).given_up
    assert (1, 1e-2) == (kept.epoch, kept.learning_rate)
    assert plain.training[0].validation_loss == model.training[0].validation_loss
    assert () == plain.given_up


def test_a_training_that_explodes_is_caught_by_itself():
    """
    At a rate of 30 the loss of this little network is above ten coins'; the rate is cut until not.
    """
    wild = settings().model_copy(update={"learning_rate": 30.0, "gradient_clip": 1e6})

    model = LstmModel(wild).fit(noise(), noise(seed=1), CPU)

    assert model.given_up
    assert all("above 6.93" in one.reason for one in model.given_up)
    assert max(report.train_loss for report in model.training) < 6.94


@pytest.mark.parametrize("poison", ["nan", "inf"])
def test_weights_that_are_no_numbers_are_refused(poison, tmp_path):
    """
    A weight of a file may be anything: infinity in a gate would be a forecast like any other.
    """
    LstmModel(settings(epochs=1)).fit(noise(), noise(seed=1), CPU).save(tmp_path)
    weights = load_file(tmp_path / "lstm.safetensors")
    weights["lstm.bias_ih_l0"][0] = float(poison)
    save_file(weights, tmp_path / "lstm.safetensors")

    with pytest.raises(UsageError, match=r"'lstm\.bias_ih_l0' are not all finite"):
        FittedLstm.load(tmp_path)


def test_one_layer_trains_without_dropout_between_layers(recwarn):
    """
    There is nothing between the layers of one layer; torch would warn.
    """
    LstmModel(settings(layers=1, epochs=1)).fit(noise(), noise(seed=1), CPU)

    assert 0 == len(recwarn)


def test_auto_takes_what_is_there():
    """
    Without an accelerator it is the CPU.
    """
    there = "cuda" if torch.cuda.is_available() else "cpu"

    assert (there if not torch.backends.mps.is_available() else "mps") == choose_device("auto").type


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test misses")
def test_a_device_that_is_not_there_is_an_error_of_the_configuration():
    """
    The message names the key and what was found.
    """
    with pytest.raises(ConfigError, match=r"compute\.device.*found: .*cpu"):
        choose_device("cuda")


@pytest.fixture
def three_threads():
    """A setting that no test environment has by itself."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_threads_are_limited_inside_and_restored_after_an_error():
    """
    Zero changes nothing.
    """
    with pytest.raises(ZeroDivisionError), threads_limited(1):
        assert 1 == torch.get_num_threads()
        _ = 1 / 0
    assert 3 == torch.get_num_threads()

    with threads_limited(0):
        assert 3 == torch.get_num_threads()
