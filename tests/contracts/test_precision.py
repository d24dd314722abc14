"""Single against double precision, once per model: what is lost by float32 is bounded.

The table that models see is float32 (``Preprocessor.transform``). The network is trained in float32
and asked in float64; trees work in float32 inside; the regression works in float64. Training is
compared with torch's own, all of it in float64, over the same batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import expit

from perpwalk.config import LstmSection, ModelSection
from perpwalk.models import FitContext, Sample, build_model
from perpwalk.models.base import area_under_curve
from perpwalk.models.boost import forecast
from perpwalk.models.network import Network, seeded
from perpwalk.models.sequences import sequence_of

CPU = FitContext(seed=4, device="cpu", threads=1)
ROWS = np.arange(10, 700)
SIZES = {"timesteps": 8, "hidden": 24, "epochs": 3, "learning_rate": 5e-3, "batch_size": 64}


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    """Return a table in double precision, of which models see the float32."""
    return np.random.default_rng(2).standard_normal((700, 5))


@pytest.fixture(scope="module")
def fitted(table: np.ndarray) -> dict[str, Any]:
    chance = np.random.default_rng(3)
    label = (table[:, 0] + chance.standard_normal(700) > 0).astype(np.int8)
    values = table.astype(np.float32)
    train, rest = Sample(values, ROWS[:500], label[ROWS[:500]]), ROWS[500:]
    return {
        kind: build_model(ModelSection.model_validate({"kind": kind, "lstm": SIZES})).fit(
            train, Sample(values, rest, label[rest]), CPU
        )
        for kind in ("lstm_xgb", "lstm", "xgb", "logistic", "majority")
    }


def network_of(model: Any, precision: torch.dtype) -> Network:
    """Return the network of a fitted model in one precision."""
    network = Network(model.embedder.features, model.embedder.sizes).eval().to(precision)
    network.load_state_dict(model.embedder.weights)
    return network


def asked(network: Network, values: np.ndarray) -> tuple[Any, Any]:
    """Return embedding and logit of every row, all of it computed in the network's precision."""
    windows = np.lib.stride_tricks.sliding_window_view(values, 8, axis=0)[ROWS - 7]
    with torch.inference_mode():
        given = torch.from_numpy(windows.transpose(0, 2, 1).copy())
        given = given.to(network.to_logit.weight.dtype)
        embedding = network.embed(given)
        return embedding.numpy(), network.logit(embedding).numpy()


def test_the_network_loses_less_than_a_millionth(fitted: dict[str, Any], table: np.ndarray) -> None:
    """In p_up, weights and forecasts in float32 against all of it in float64."""
    model, values = fitted["lstm"], table.astype(np.float32)
    single = expit(asked(network_of(model, torch.float32), values)[1].astype(np.float64))
    double = expit(asked(network_of(model, torch.float64), values)[1])

    assert 0 < np.abs(single - double).max() < 1e-6
    assert np.abs(model.predict(values, ROWS).p_up - double).max() < 1e-7


def trained_in_double(settings: LstmSection, train: Sample) -> Network:
    """Return the network after the epochs of its settings, by torch alone and in float64."""
    with seeded(CPU.seed, torch.device("cpu")):
        network = Network(train.values.shape[1], settings).double()
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    shuffle, sequence = np.random.default_rng(CPU.seed), sequence_of(settings)
    values = torch.from_numpy(train.values).double()
    for _ in range(settings.epochs):
        for batch in sequence.epoch(train, settings.batch_size, shuffle):
            optimizer.zero_grad()
            logit = network(values[torch.from_numpy(batch.steps.T.copy())])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logit, torch.from_numpy(batch.label[-1]).double()
            )
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_clip)
            optimizer.step()
    return network.eval()


def test_training_in_float32_ends_where_training_in_float64_does(table: np.ndarray) -> None:
    """From the same weights over the same batches, without dropout, in p_up."""
    values, label = table.astype(np.float32), (table[:, 0] > 0).astype(np.int8)
    train = Sample(values, ROWS[:500], label[ROWS[:500]])
    settings = LstmSection.model_validate({**SIZES, "dropout": 0.0})
    model: Any = build_model(ModelSection(kind="lstm", lstm=settings)).fit(train, train, CPU)
    losses = [epoch.validation_loss for epoch in model.training]
    double = asked(trained_in_double(settings, train), values)[1]

    assert losses == sorted(losses, reverse=True), "the last epoch is the one kept"
    difference = np.abs(model.predict(values, ROWS).p_up - expit(double)).max()
    assert 0 < difference < 1e-5


def test_trees_on_an_embedding_differ_only_where_a_last_bit_is_another_leaf(
    fitted: dict[str, Any], table: np.ndarray
) -> None:
    """One decision in twenty: the ranking keeps, single forecasts do not. Hence float64."""
    model, values = fitted["lstm_xgb"], table.astype(np.float32)
    embedding, logit = asked(network_of(model, torch.float32), values)
    single = forecast(model.booster, embedding, logit).p_up
    double = model.predict(values, ROWS).p_up

    assert 0 < (np.abs(single - double) > 1e-5).mean() < 0.1
    auc = [area_under_curve((table[ROWS, 0] > 0).astype(np.int8), p) for p in (single, double)]
    assert abs(auc[0] - auc[1]) < 0.01


def test_trees_see_float32_whatever_they_are_given(
    fitted: dict[str, Any], table: np.ndarray
) -> None:
    """Xgboost rounds its inputs itself: the bits are the same."""
    model = fitted["xgb"]
    double = model.booster.inplace_predict(table[ROWS])

    assert np.array_equal(model.predict(table.astype(np.float32), ROWS).p_up, double)


def test_the_regression_loses_less_than_a_millionth(
    fitted: dict[str, Any], table: np.ndarray
) -> None:
    """Fitted and asked on the float32 table against the float64 one; the majority nothing."""
    from sklearn.linear_model import LogisticRegression

    model, chance = fitted["logistic"], np.random.default_rng(3)
    label = (table[:, 0] + chance.standard_normal(700) > 0).astype(np.int8)
    double = LogisticRegression(C=model.strength, max_iter=1000)
    double.fit(table[ROWS[:500]], label[ROWS[:500]])
    single = model.predict(table.astype(np.float32), ROWS).p_up

    assert 0 < np.abs(single - double.predict_proba(table[ROWS])[:, 1]).max() < 1e-6
    assert 1 == len(set(fitted["majority"].predict(table.astype(np.float32), ROWS).p_up))
