"""Selection and scaling: fitted on train rows alone, deterministic, kept exactly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from perpwalk.config import FeaturesSection, Selection
from perpwalk.domain import FeatureFrame, LabelFrame
from perpwalk.errors import DataError, UserError
from perpwalk.preprocess import FEATURES_FILE, SCALER_FILE, Preprocessor, fit_preprocessor

COUNT = 3000
TRAIN = np.arange(100, 2000, dtype=np.int64)
NAMES = ("noise_a", "signal", "copy", "weak", "constant", "noise_b", "funding", "noise_c")


def frames(seed: int = 0) -> tuple[FeatureFrame, LabelFrame]:
    """Return a signal, its near copy, a weak independent signal, a constant and noise."""
    rng = np.random.default_rng(seed)
    signal, weak = rng.normal(size=COUNT), rng.normal(size=COUNT)
    label = (signal + 0.4 * weak + rng.normal(0, 2, COUNT) > 0).astype(np.int8)
    columns = {
        "noise_a": rng.normal(size=COUNT),
        "signal": 100 + 5 * signal,
        "copy": signal + 0.05 * rng.normal(size=COUNT),
        "weak": weak,
        "constant": np.full(COUNT, 0.1),
        "noise_b": rng.standard_t(2, size=COUNT),
        "funding": np.where(rng.random(COUNT) < 0.9, 1e-4, rng.normal(1e-4, 1e-5, COUNT)),
        "noise_c": rng.normal(size=COUNT),
    }
    times = pd.date_range("2024-01-01", periods=COUNT, freq="h", tz="UTC")
    values = np.column_stack([columns[name] for name in NAMES])
    values[:50] = np.nan
    return (
        FeatureFrame(close_time=times, names=NAMES, values=values, lookback=50),
        LabelFrame(
            close_time=times,
            known_at=times + pd.Timedelta("1h"),
            forward_return=np.where(label == 1, 0.01, -0.01),
            label=label,
            horizon=1,
        ),
    )


def fitted(
    method: str = "mrmr", k: int = 3, rows: np.ndarray = TRAIN, seed: int = 7
) -> Preprocessor:
    section = FeaturesSection(selection=Selection.model_validate({"method": method, "k": k}))
    return fit_preprocessor(*frames(), rows, section, seed)


def test_mrmr_prefers_a_weak_new_voice_to_a_near_copy() -> None:
    """
    After the signal (or its copy) the independent weak feature comes next, the other copy later.
    """
    names = fitted().names

    assert names[0] in {"signal", "copy"}
    assert "weak" == names[1]
    assert not {"signal", "copy"} <= set(names)


def test_auc_ranks_by_relevance_alone() -> None:
    """
    The signal and its copy come first, whatever they share; scores are 2 |AUC - 1/2|.
    """
    from sklearn.metrics import roc_auc_score

    features, labels = frames()
    chosen = fitted("auc")

    assert {"signal", "copy"} == set(chosen.names[:2])
    assert "weak" == chosen.names[2]
    for name, score in chosen.scores.items():
        auc = roc_auc_score(labels.label[TRAIN], features.values[TRAIN, NAMES.index(name)])
        assert score == pytest.approx(2 * abs(auc - 0.5), abs=1e-12)


def test_mutual_information_sees_what_is_not_monotone() -> None:
    """
    A feature whose size decides the label has AUC 1/2 and is found by mutual_info.
    """
    features, labels = frames()
    size = np.abs(features.values[:, 0]) > 0.67
    labels = LabelFrame(
        close_time=labels.close_time,
        known_at=labels.known_at,
        forward_return=labels.forward_return,
        label=np.where(size, 1, 0).astype(np.int8),
        horizon=1,
    )
    section = FeaturesSection(selection=Selection(method="mutual_info", k=1))
    one, two = (fit_preprocessor(features, labels, TRAIN, section, seed=3) for _ in range(2))

    assert ("noise_a",) == one.names == two.names
    assert one.scores == two.scores


def test_none_keeps_everything_that_varies() -> None:
    """
    `k` does not apply; a constant is reported and left out by every method.
    """
    chosen = fitted("none", k=1)

    assert tuple(name for name in NAMES if name != "constant") == chosen.names
    assert {} == chosen.scores
    for method in ("mrmr", "auc", "mutual_info", "none"):
        assert ("constant",) == fitted(method, k=8).constant
        assert "constant" not in fitted(method, k=8).names


def test_asking_for_more_than_there_is_keeps_all() -> None:
    """
    K = 8 of seven that vary gives seven, each once.
    """
    assert 7 == len(set(fitted(k=8).names)) == len(fitted(k=8).names)


def test_a_feature_constant_on_train_only_is_not_picked() -> None:
    """
    What varies later could not be learned from.
    """
    features, labels = frames()
    values = features.values.copy()
    values[TRAIN, 1] = 3.0
    changed = FeatureFrame(close_time=features.close_time, names=NAMES, values=values, lookback=50)
    chosen = fit_preprocessor(changed, labels, TRAIN, FeaturesSection(), seed=0)

    assert ("signal", "constant") == chosen.constant


@pytest.mark.parametrize("method", ["mrmr", "auc", "mutual_info", "none"])
def test_rows_outside_train_change_nothing(method: str) -> None:
    """
    Any values and labels outside the given rows leave the fit bit for bit as it was.
    """
    features, labels = frames()
    values, label = features.values.copy(), labels.label.copy()
    outside = np.setdiff1d(np.arange(COUNT), TRAIN)
    values[outside] = 1e9
    label[outside] = 1 - label[outside]
    changed = (
        FeatureFrame(close_time=features.close_time, names=NAMES, values=values, lookback=50),
        LabelFrame(
            close_time=labels.close_time,
            known_at=labels.known_at,
            forward_return=labels.forward_return,
            label=label,
            horizon=1,
        ),
    )
    section = FeaturesSection(selection=Selection.model_validate({"method": method, "k": 4}))
    again = fit_preprocessor(*changed, TRAIN, section, 7)
    plain = fitted(method, k=4)

    assert plain.names == again.names
    assert plain.scores == again.scores
    assert_array_equal(plain.center, again.center)
    assert_array_equal(plain.scale, again.scale)
    assert (100, 1999) == again.rows_seen


def test_the_bulk_of_train_has_mean_zero_and_deviation_one() -> None:
    """
    Also where the tails are heavy: a hundred crashes do not flatten the other days.
    """
    features, _ = frames()
    chosen = fitted("none")
    scaled = chosen.transform(features.values)[TRAIN]

    assert_allclose(scaled.mean(axis=0), 0, atol=0.05)
    assert_allclose(scaled[:, chosen.names.index("signal")].std(), 1, atol=0.01)
    # Student t with 2 degrees of freedom: its own deviation would be ruled by a few values.
    quartiles = np.percentile(scaled[:, chosen.names.index("noise_b")], [25, 75])
    assert 0.8 < quartiles[1] - quartiles[0] < 1.5
    # Nine in ten values are one and the same: still scaled by what the others do.
    assert 0.5 < scaled[:, chosen.names.index("funding")].std() < 1.5


def test_values_are_clipped_and_undefined_ones_stay_undefined() -> None:
    """
    Nothing leaves [-clip, clip]; a NaN is not turned into a number.
    """
    features, _ = frames()
    chosen = fitted("none")
    wild = features.values.copy()
    wild[60], wild[61] = 1e12, -1e12
    scaled = chosen.transform(wild)

    assert np.isnan(scaled[:50]).all()
    assert (scaled[60] == 8.0).all()
    assert (scaled[61] == -8.0).all()


def test_the_result_is_one_contiguous_float32_table() -> None:
    """
    Sequences are views of it, so it must be C-contiguous; the input is left alone.
    """
    features, _ = frames()
    before = features.values.copy()
    scaled = fitted().transform(features.values)

    assert (np.float32, (COUNT, 3)) == (scaled.dtype, scaled.shape)
    assert scaled.flags.c_contiguous
    assert_array_equal(before, features.values)
    assert (0, 3) == fitted().transform(features.values[:0]).shape


def test_a_row_scales_alike_alone_and_in_a_table() -> None:
    """
    Online and batched signals see the same bits.
    """
    features, _ = frames()
    chosen = fitted()

    assert_array_equal(
        chosen.transform(features.values)[1234:1235], chosen.transform(features.values[1234:1235])
    )


def test_a_table_of_another_width_is_refused() -> None:
    """
    Columns are matched by place, so their number must be right.
    """
    with pytest.raises(ValueError, match=r"expected shape \(n, 8\)"):
        fitted().transform(np.zeros((3, 7)))


def test_what_is_saved_loads_bit_identically(tmp_path: Path) -> None:
    """
    Floats survive the two JSON files exactly, and so does everything else.
    """
    features, _ = frames()
    chosen = fitted()
    chosen.save(tmp_path)
    again = Preprocessor.load(tmp_path)

    assert_array_equal(chosen.transform(features.values), again.transform(features.values))
    assert_array_equal(chosen.center, again.center)
    for name in ("candidates", "names", "clip", "method", "scores", "constant", "rows_seen"):
        assert getattr(chosen, name) == getattr(again, name)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (SCALER_FILE, None, "is missing"),
        (FEATURES_FILE, "{not json", "cannot be read"),
        (SCALER_FILE, "[1]", "not in format 1"),
        (SCALER_FILE, {"format": 2}, "not in format 1"),
        (SCALER_FILE, {"names": ["x", "y", "z"]}, "do not belong together"),
        (SCALER_FILE, {"scale": [1.0, 1.0]}, "do not belong together"),
        (SCALER_FILE, {"scale": [1.0, 0.0, 1.0]}, "do not belong together"),
        (FEATURES_FILE, {"candidates": ["weak"]}, "do not belong together"),
        (FEATURES_FILE, {"rows_seen": [1]}, "is not what perpwalk wrote"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, name: str, change: object, message: str) -> None:
    """
    A file that is missing, cut or mixed up is named; nothing is guessed.
    """
    fitted().save(tmp_path)
    file = tmp_path / name
    if change is None:
        file.unlink()
    elif isinstance(change, str):
        file.write_text(change, encoding="utf-8")
    else:
        file.write_text(json.dumps(json.loads(file.read_text()) | change), encoding="utf-8")

    with pytest.raises(DataError, match=message):
        Preprocessor.load(tmp_path)


def test_rows_that_are_not_for_fitting_are_refused() -> None:
    """
    Warm-up rows and unlabelled rows are errors of the caller, no rows one of the user.
    """
    features, labels = frames()
    with pytest.raises(ValueError, match="must have all features and a label"):
        fit_preprocessor(features, labels, np.arange(40, 90), FeaturesSection(), 0)
    with pytest.raises(UserError, match="no train row"):
        fit_preprocessor(features, labels, np.zeros(0, dtype=np.int64), FeaturesSection(), 0)


def test_one_class_of_labels_picks_in_order_without_dividing_by_zero() -> None:
    """
    No feature is relevant to a constant label; the label audit refuses such a fold.
    """
    features, labels = frames()
    rows = TRAIN[labels.label[TRAIN] == 1]
    section = FeaturesSection(selection=Selection(k=2))

    assert ("noise_a", "signal") == fit_preprocessor(features, labels, rows, section, 0).names
