"""What every model promises, whatever it is: one suite over all kinds that ship."""

import hashlib
import json
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest

from perpwalk.config import ModelSection
from perpwalk.errors import UsageError, UserError
from perpwalk.models import KINDS as BUILT_IN
from perpwalk.models import FitContext, Sample, build_model, load_model

TINY = {
    "lstm": {
        "timesteps": 4,
        "hidden": 8,
        "dense": 6,
        "embedding": 4,
        "stretch": 8,
        "stretch_batch": 4,
        "epochs": 5,
        "batch_size": 32,
        "learning_rate": 0.01,
    },
    "xgb": {"rounds": 12, "early_stopping": 5},
}
STREAMS = ["lstm stream", "lstm_xgb stream"]  # model.lstm.sequence: stream
KINDS = [*BUILT_IN, *STREAMS]
LEARNERS = [kind for kind in KINDS if kind != "majority"]
ARTIFACTS = {
    "lstm_xgb": {"config.json", "lstm.safetensors", "xgb.ubj"},
    "lstm": {"config.json", "lstm.safetensors"},
    "xgb": {"config.json", "xgb.ubj"},
    "logistic": {"config.json"},
    "majority": {"config.json"},
}
TEST_ROWS = np.arange(500, 600)


def section(kind, **changes):
    name, _, sequence = kind.partition(" ")
    lstm = {**TINY["lstm"], "sequence": sequence or "window"}
    return ModelSection.model_validate({"kind": name, **TINY, "lstm": lstm, **changes})


def market():
    """A table whose first feature tells the direction more often than not."""
    chance = np.random.default_rng(5)
    values = chance.standard_normal((600, 3)).astype(np.float32)
    up = values[:, 0] + chance.standard_normal(600) > 0
    values.flags.writeable = False
    return values, up.astype(np.int8)


def spans():
    values, label = market()
    train, validation = np.arange(10, 400), np.arange(411, 500)
    return (
        Sample(values, train, label[train]),
        Sample(values, validation, label[validation]),
    )


def fitted(kind, *, seed=3, **changes):
    context = FitContext(seed=seed, device="cpu", threads=1)
    return build_model(section(kind, **changes)).fit(*spans(), context)


@pytest.fixture(scope="module")
def models():
    return {kind: fitted(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_forecast_is_a_probability_and_its_embedding(models, kind):
    """
    p_up (m,) lies within [0, 1]; the embedding (m, 2) is [p_down, p_up] scaled to [-1, 1].
    """
    values, _ = market()

    forecast = models[kind].predict(values, TEST_ROWS)

    assert (np.float64, (100,)) == (forecast.p_up.dtype, forecast.p_up.shape)
    assert (np.float64, (100, 2)) == (forecast.embedding.dtype, forecast.embedding.shape)
    assert ((forecast.p_up >= 0) & (forecast.p_up <= 1)).all()
    np.testing.assert_allclose(2 * forecast.p_up - 1, forecast.embedding[:, 1], atol=1e-15)
    np.testing.assert_allclose(1 - 2 * forecast.p_up, forecast.embedding[:, 0], atol=1e-15)


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_planted_direction_is_found(models, kind):
    """
    Every model that learns ranks ups above downs on rows it has not seen.
    """
    from perpwalk.models.base import area_under_curve

    values, label = market()
    p_up = models[kind].predict(values, TEST_ROWS).p_up

    assert area_under_curve(label[TEST_ROWS], p_up) > 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_bits(models, kind):
    """
    Fitting twice in one process is fitting once.
    """
    values, _ = market()

    again = fitted(kind).predict(values, TEST_ROWS)

    np.testing.assert_array_equal(models[kind].predict(values, TEST_ROWS).p_up, again.p_up)


@pytest.mark.parametrize("kind", ["lstm_xgb", "lstm", "xgb"])
def test_another_seed_gives_another_model(models, kind):
    """
    The seed reaches every draw.
    """
    values, _ = market()

    other = fitted(kind, seed=4).predict(values, TEST_ROWS)

    assert not np.array_equal(models[kind].predict(values, TEST_ROWS).p_up, other.p_up)


def test_a_fresh_process_gives_the_same_bits(models):
    """
    Nothing depends on what ran before, nor on the order of hashes.
    """
    values, _ = market()
    here = models["lstm_xgb"].predict(values, TEST_ROWS).p_up.tobytes()
    code = (
        "import importlib.util, sys; "
        f"spec = importlib.util.spec_from_file_location('contract', {__file__!r}); "
        "m = importlib.util.module_from_spec(spec); spec.loader.exec_module(m); "
        "import hashlib; p = m.fitted('lstm_xgb').predict(m.market()[0], m.TEST_ROWS).p_up; "
        "print(hashlib.sha256(p.tobytes()).hexdigest())"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert hashlib.sha256(here).hexdigest() == done.stdout.strip()


@pytest.mark.parametrize("kind", KINDS)
def test_cutting_off_the_future_changes_no_earlier_forecast(models, kind):
    """
    A table that ends at the last decision asked for gives the bits of the whole table.
    """
    values, _ = market()
    whole = models[kind].predict(values, TEST_ROWS)

    cut = models[kind].predict(values[:541], TEST_ROWS[:41])

    np.testing.assert_array_equal(whole.p_up[:41], cut.p_up)


@pytest.mark.parametrize("kind", KINDS)
def test_changing_the_future_changes_no_earlier_forecast(models, kind):
    """
    What stands after a row cannot reach it.
    """
    values, _ = market()
    other = values.copy()
    other[551:] = 7.0

    changed = models[kind].predict(other, TEST_ROWS)

    np.testing.assert_array_equal(
        models[kind].predict(values, TEST_ROWS).p_up[:51], changed.p_up[:51]
    )


@pytest.mark.parametrize("kind", KINDS)
def test_one_bar_at_a_time_agrees_with_all_at_once(models, kind):
    """
    Online and batched forecasts agree to 1e-6, whatever is asked beside a row and in what order.
    """
    values, _ = market()
    batched = models[kind].predict(values, TEST_ROWS).p_up

    online = [models[kind].predict(values[: r + 1], np.array([r])).p_up[0] for r in TEST_ROWS]
    backwards = models[kind].predict(values, TEST_ROWS[::-1]).p_up[::-1]

    np.testing.assert_allclose(online, batched, rtol=0, atol=1e-6)
    np.testing.assert_allclose(backwards, batched, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_window_ends_at_the_decisions_own_bar(models, kind):
    """
    The row itself and the oldest step of its window matter; the row before the window does not.
    """
    values, _ = market()
    model = models[kind]
    before = model.predict(values, TEST_ROWS).p_up

    def moved(steps_back):
        """Whether any forecast changes when one row, so far before its own, is turned around."""
        changed = []
        for at in range(0, 100, 9):
            other = values.copy()
            other[TEST_ROWS[at] - steps_back] *= -1
            changed.append(model.predict(other, TEST_ROWS).p_up[at] != before[at])
        return any(changed)

    assert moved(0)
    assert not moved(model.timesteps)
    if kind.split()[0] == "lstm":  # trees may split elsewhere; the network sees all of its window
        assert moved(model.timesteps - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_reloaded_model_forecasts_the_same_bits(models, kind, tmp_path):
    """
    Save, load, save again: the same forecasts and the same files.
    """
    values, _ = market()
    first, second = tmp_path / "first", tmp_path / "second"

    models[kind].save(first)
    loaded = load_model(first)
    loaded.save(second)

    assert (models[kind].kind, models[kind].timesteps) == (loaded.kind, loaded.timesteps)
    np.testing.assert_array_equal(
        models[kind].predict(values, TEST_ROWS).p_up, loaded.predict(values, TEST_ROWS).p_up
    )
    assert ARTIFACTS[kind.split()[0]] == {file.name for file in first.iterdir()}
    assert {file.name: file.read_bytes() for file in first.iterdir()} == {
        file.name: file.read_bytes() for file in second.iterdir()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_saved_models_hold_no_pickle_and_no_nan(models, kind, tmp_path):
    """
    JSON is strict JSON, and no file starts like a pickle or a zip of pickles.
    """
    models[kind].save(tmp_path)

    config = json.loads((tmp_path / "config.json").read_text(), parse_constant=pytest.fail)

    assert (kind.split()[0], 1) == (config["kind"], config["format"])
    for file in tmp_path.iterdir():
        assert file.read_bytes()[:2] not in (b"\x80\x04", b"\x80\x02", b"PK")


@pytest.mark.parametrize("kind", KINDS)
def test_fitting_and_forecasting_leave_the_world_as_it_was(kind):
    """
    Generators of random numbers and torch's thread count are the caller's; read-only input is
    enough, and no warning is raised.
    """
    import torch

    values, _ = market()
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global generator is what is being watched
    torch.manual_seed(1)
    before = (random.getstate(), np.random.get_state()[1].tobytes(), torch.get_rng_state())  # noqa: NPY002
    threads = torch.get_num_threads()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(kind).predict(values, TEST_ROWS)

    assert before[0] == random.getstate()
    assert before[1] == np.random.get_state()[1].tobytes()  # noqa: NPY002
    assert torch.equal(before[2], torch.get_rng_state())
    assert threads == torch.get_num_threads()


@pytest.mark.parametrize("kind", KINDS)
def test_the_callers_random_state_does_not_reach_the_model(models, kind):
    """
    Whatever was drawn before, the context's seed alone decides.
    """
    import torch

    values, _ = market()
    torch.manual_seed(99)
    torch.rand(7)

    again = fitted(kind).predict(values, TEST_ROWS)

    np.testing.assert_array_equal(models[kind].predict(values, TEST_ROWS).p_up, again.p_up)


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_that_is_not_finite_is_refused(models, kind):
    """
    NaN never becomes a forecast, nor a lesson.
    """
    values, label = market()
    broken = values.copy()
    broken[[300, 560], 1] = np.nan
    train = Sample(broken, np.arange(10, 400), label[10:400])

    with pytest.raises(UserError, match="not finite"):
        models[kind].predict(broken, TEST_ROWS)
    with pytest.raises(UserError, match="not finite"):
        build_model(section(kind)).fit(train, spans()[1], FitContext())


@pytest.mark.parametrize("kind", KINDS)
def test_one_sided_labels_are_refused(kind):
    """
    The message counts the classes; there is no fallback that pretends.
    """
    train, validation = spans()
    flat = Sample(train.values, train.rows, np.ones(len(train), np.int8))

    with pytest.raises(UserError, match="390 up, 0 down"):
        build_model(section(kind)).fit(flat, validation, FitContext())


@pytest.mark.parametrize("kind", LEARNERS)
def test_a_table_of_another_width_is_refused(models, kind):
    """
    Forecasting needs the features that were fitted on.
    """
    with pytest.raises(UsageError, match="fitted on 3 features, got 2"):
        models[kind].predict(np.zeros((600, 2), np.float32), TEST_ROWS)


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_give_no_forecasts(models, kind):
    """
    An empty question has an empty answer of the right shape.
    """
    values, _ = market()

    forecast = models[kind].predict(values, np.array([], np.int64))

    assert ((0,), (0, 2)) == (forecast.p_up.shape, forecast.embedding.shape)


@pytest.mark.parametrize("kind", ["lstm_xgb", "lstm", "xgb", *STREAMS])
def test_progress_is_reported_as_it_is_recorded(kind):
    """
    The listener hears of each epoch and round, in the order that ``training`` keeps.
    """
    heard = []
    context = FitContext(seed=3, device="cpu", threads=1, on_epoch=heard.append)

    model = build_model(section(kind)).fit(*spans(), context)

    assert len(heard) > 0
    assert tuple(heard) == model.training
    name = kind.split()[0]
    stages = {"lstm_xgb": {"lstm", "xgb"}}.get(name, {name})
    assert stages == {report.stage for report in heard}
