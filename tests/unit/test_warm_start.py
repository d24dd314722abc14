"""A warm start carries the network of the fold before on, and nothing it must not know."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engine.memory import open_memory
from engine.walkforward import WalkForward
from perpwalk import folds
from perpwalk.config import Config, LstmSection, resolve
from perpwalk.domain import FeatureFrame, Fold, LabelFrame
from perpwalk.errors import ConfigError
from perpwalk.models import FitContext, Sample
from perpwalk.models.base import Carried
from perpwalk.models.lstm import LstmModel
from perpwalk.models.network import Embedder
from perpwalk.models.warm import carried_weights, new_and_replayed
from perpwalk.preprocess import Preprocessor

BARS = 1500
TINY = {
    "timesteps": 4, "stretch": 16, "stretch_batch": 8, "hidden": 8, "dense": 6, "embedding": 4,
    "epochs": 2,
}  # fmt: skip


def config(**walk_forward: object) -> Config:
    return resolve(
        {
            "model": {"kind": "lstm", "lstm": {**TINY, "sequence": "stream"}},
            "walk_forward": {
                "train": "600bars",
                "validation": "100bars",
                "test": "150bars",
                "min_train_rows": 100,
                "warm_start": True,
                **walk_forward,
            },
            "compute": {"threads": 1, "device": "cpu"},
        }
    )


@pytest.fixture(scope="module")
def table() -> tuple[FeatureFrame, LabelFrame]:
    """Noise as features: what is tested is who saw what."""
    chance = np.random.default_rng(0)
    close_time = pd.date_range("2024-01-01T01:00Z", periods=BARS, freq="h")
    returns = np.append(chance.standard_normal(BARS - 1), np.nan)
    target = LabelFrame(
        close_time=close_time,
        known_at=(close_time + pd.Timedelta("1h")).where(np.isfinite(returns)),
        forward_return=returns,
        label=np.where(np.isnan(returns), -1, returns > 0).astype(np.int8),
        horizon=1,
    )
    frame = FeatureFrame(
        close_time,
        tuple(f"f{n}" for n in range(12)),
        chance.standard_normal((BARS, 12)),
        lookback=1,
    )
    return frame, target


def cut(asked: Config, frame: FeatureFrame, target: LabelFrame) -> tuple[Fold, ...]:
    return folds.make_folds(
        asked.walk_forward,
        close_time=frame.close_time,
        interval=frame.close_time[1] - frame.close_time[0],
        usable=folds.usable_rows(frame, 19),
        labels=target,
    )


def walk(
    asked: Config, table: tuple[FeatureFrame, LabelFrame], work: Path | None = None
) -> list[dict[str, np.ndarray]]:
    """Return the weights of every fold."""
    frame, target = table
    results = WalkForward(asked, frame, target, work=work).run(cut(asked, frame, target))
    return [
        {name: weight.numpy() for name, weight in result.fitted.model.embedder.weights.items()}
        for result in results
    ]


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_every_fold_but_the_first_starts_from_the_one_before(
    table: tuple[FeatureFrame, LabelFrame],
) -> None:
    """The first fold is a cold one's; the others are not."""
    warm, cold = walk(config(), table), walk(config(warm_start=False), table)

    assert len(warm) > 3
    assert [True, False, False] == [same(a, b) for a, b in zip(warm, cold, strict=True)][:3]


def test_an_interrupted_walk_goes_on_to_the_same_bytes(
    table: tuple[FeatureFrame, LabelFrame], tmp_path: Path
) -> None:
    """Folds taken up from disk carry the same weights on as folds in memory."""
    whole, partly = tmp_path / "whole", tmp_path / "partly"
    whole.mkdir()
    walk(config(), table, whole)
    partly.mkdir()
    (whole / "fold-000").rename(partly / "fold-000")
    (whole / "fold-001").rename(partly / "fold-001")
    walk(config(), table, partly)

    for name in ("fold-002/model/lstm.safetensors", "fold-003/forecast.parquet"):
        assert (whole / name).read_bytes() == (partly / name).read_bytes()


def test_the_cache_tells_warm_fits_from_cold_ones_and_by_what_they_began_with(
    table: tuple[FeatureFrame, LabelFrame], tmp_path: Path
) -> None:
    """Warm after cold, and with another replay, are made anew; asked again they come out of it."""
    memory = open_memory(tmp_path)

    def recalled(asked: Config, name: str) -> list[bool]:
        frame, target = table
        work = tmp_path / name
        walked = WalkForward(asked, frame, target, work=work, memory=memory)
        return [result.recalled for result in walked.run(cut(asked, frame, target)[:3])]

    assert [False, False, False] == recalled(config(warm_start=False), "cold")
    assert [True, False, False] == recalled(config(), "warm")
    assert [True, False, False] == recalled(config(replay=0.5), "other")
    assert [True, True, True] == recalled(config(), "again")


def test_a_fold_knows_nothing_after_its_validation_span(
    table: tuple[FeatureFrame, LabelFrame],
) -> None:
    """Other features and labels from there on change no weight of the fold or of those before."""
    frame, target = table
    known = cut(config(), frame, target)[2]
    end = int(known.validation.rows[-1]) + 1
    values = frame.values.copy()
    values[end:] = np.random.default_rng(9).standard_normal(values[end:].shape)
    label = target.label.copy()
    label[end:] = np.where(label[end:] >= 0, 1 - label[end:], label[end:])

    other = walk(config(), (replace(frame, values=values), replace(target, label=label)))

    for before, after in zip(walk(config(), table)[:3], other[:3], strict=True):
        assert same(before, after)


def test_a_fold_whose_predecessor_was_not_walked_starts_afresh(
    table: tuple[FeatureFrame, LabelFrame],
) -> None:
    """Fold 2 after fold 0 is fold 2 alone."""
    frame, target = table
    wanted = cut(config(), frame, target)
    walked = WalkForward(config(), frame, target)

    after_first = list(walked.run([wanted[0], wanted[2]]))[1]
    alone = next(iter(walked.run([wanted[2]])))

    np.testing.assert_array_equal(after_first.forecast.p_up, alone.forecast.p_up)


# ── what is carried over ─────────────────────────────────────────────────────────────────────────


def embedder(seed: int = 1) -> tuple[Embedder, Sample]:
    chance = np.random.default_rng(seed)
    values = chance.standard_normal((300, 3)).astype(np.float32)
    sample = Sample(values, np.arange(20, 300), chance.integers(0, 2, 280).astype(np.int8))
    context = FitContext(seed=1, device="cpu", threads=1)
    fitted = LstmModel(LstmSection.model_validate(TINY)).fit(sample, sample, context)
    return fitted.embedder, sample


def preprocessor(names: str, center: list[float], scale: list[float]) -> Preprocessor:
    return Preprocessor(
        candidates=("a", "b", "c", "d"),
        names=tuple(names),
        center=np.array(center),
        scale=np.array(scale),
        clip=1e9,
        method="none",
        scores={},
        constant=(),
        rows_seen=(0, 1),
    )


def test_carried_weights_compute_the_same_in_another_order_and_scale() -> None:
    """Columns turned around and scaled anew: the network forecasts what it did."""
    network, _ = embedder()
    raw = np.random.default_rng(5).standard_normal((100, 4)) * 3 + 1
    old = preprocessor("abc", [1.0, 0.5, -1.0], [2.0, 3.0, 0.5])
    new = preprocessor("cab", [0.3, 1.4, 0.1], [1.5, 2.5, 2.0])
    carried = Carried(None, *new.seen_from(old), replay=0.0)  # type: ignore[arg-type]

    moved = Embedder(carried_weights(network, carried), network.sizes, 3)

    rows = np.arange(20, 100)
    _, before = network(old.transform(raw), rows)
    _, after = moved(new.transform(raw), rows)
    np.testing.assert_allclose(before, after, atol=1e-5)


def test_a_new_column_starts_without_weight() -> None:
    """What was not known before does not move the carried network at first."""
    network, _ = embedder()
    new = preprocessor("dab", [0.0] * 3, [1.0] * 3)
    carried = Carried(
        None,
        *new.seen_from(preprocessor("abc", [0.0] * 3, [1.0] * 3)),
        replay=0.0,  # type: ignore[arg-type]
    )

    into = carried_weights(network, carried)["lstm.weight_ih_l0"].numpy()

    assert [-1, 0, 1] == carried.columns.tolist()
    assert 0 == np.abs(into[:, 0]).max()
    np.testing.assert_array_equal(network.weights["lstm.weight_ih_l0"].numpy()[:, :2], into[:, 1:])


def test_too_few_known_columns_start_afresh_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    """One of three columns known: the fit is the cold one, and the log tells why."""
    network, sample = embedder()
    model = LstmModel(network.sizes)
    cold = FitContext(seed=4, device="cpu", threads=1)
    columns = np.array([2, -1, -1])
    fitted = model.fit(sample, sample, cold)
    carried = Carried(fitted, columns, np.ones(3), np.zeros(3), replay=0.5)

    with caplog.at_level(logging.WARNING, logger="perpwalk"):
        again = model.fit(sample, sample, replace(cold, carried=carried))

    assert "only 1 of 3 selected features" in caplog.text
    assert same(
        {n: w.numpy() for n, w in fitted.embedder.weights.items()},
        {n: w.numpy() for n, w in again.embedder.weights.items()},
    )


@pytest.mark.parametrize("replay", [0.0, 0.3, 1.0])
def test_new_decisions_are_learned_and_a_share_of_the_others(replay: float) -> None:
    """All new ones, whole blocks of old ones, drawn alike for the same seed."""
    values = np.zeros((6400, 1), np.float32)
    rows = np.arange(6400)
    clock = rows + 1000
    train = Sample(values, rows, np.zeros(6400, np.int8), clock)

    some = new_and_replayed(train, 1000 + 5119, replay, seed=1)

    assert 1280 == int((some.rows >= 5120).sum())
    assert replay == pytest.approx((some.rows < 5120).sum() / 5120, abs=0.02)
    assert some.rows.tolist() == new_and_replayed(train, 6119, replay, seed=1).rows.tolist()
    if replay == 0.3:
        assert some.rows.tolist() != new_and_replayed(train, 6119, replay, seed=2).rows.tolist()


def test_a_network_that_only_gets_worse_is_kept_as_it_was() -> None:
    """The carried weights are the best so far before the first epoch."""
    network, sample = embedder()
    well = network.sizes.model_copy(update={"learning_rate": 0.02, "epochs": 40})
    fitted = LstmModel(well).fit(sample, sample, FitContext(seed=1, device="cpu"))
    carried = Carried(fitted, np.arange(3), np.ones(3), np.zeros(3), replay=1.0)
    wild = LstmModel(network.sizes.model_copy(update={"learning_rate": 1.0, "epochs": 1}))

    again = wild.fit(sample, sample, FitContext(seed=1, device="cpu", carried=carried))

    assert min(r.validation_loss for r in fitted.training) < again.training[0].validation_loss
    np.testing.assert_allclose(
        fitted.predict(sample.values, sample.rows).p_up,
        again.predict(sample.values, sample.rows).p_up,
        atol=1e-6,
    )


def test_a_model_without_a_network_cannot_start_warm() -> None:
    """The message names the key and the kind."""
    with pytest.raises(ConfigError, match=r"warm_start.*'logistic' has none"):
        resolve({"model": {"kind": "logistic"}, "walk_forward": {"warm_start": True}})
