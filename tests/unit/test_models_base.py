"""What all models check before they learn or forecast, and how one is named and found."""

import subprocess
import sys
import types

import numpy as np
import pytest

from perpwalk.config import ModelSection
from perpwalk.errors import ConfigError, UsageError, UserError
from perpwalk.models import KINDS, EpochReport, Prediction, Sample, build_model, load_model
from perpwalk.models.base import (
    History,
    area_under_curve,
    check_fit,
    check_windows,
    read_config,
    write_config,
)


def sample(label, values=None, first=0):
    table = np.zeros((first + len(label), 2), np.float32) if values is None else values
    rows = np.arange(first, first + len(label))
    return Sample(table, rows, np.array(label, np.int8))


# ── windows ──────────────────────────────────────────────────────────────────────────────────────


def test_windows_may_start_at_the_first_row_of_the_table_and_end_at_its_last():
    """
    The first row that has a whole window is timesteps - 1, the last is the table's last.
    """
    check_windows(np.zeros((5, 1), np.float32), np.array([2, 4]), timesteps=3)


@pytest.mark.parametrize("row", [1, 5])
def test_a_row_without_a_whole_window_is_refused(row):
    """
    A window that would reach before the table or past its end is an error, never a wrap-around.
    """
    with pytest.raises(UserError, match="do not fit a table of 5 rows"):
        check_windows(np.zeros((5, 1), np.float32), np.array([row]), timesteps=3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("rows", "first"), [([6, 7], 6), ([3, 4], 4)])
def test_a_value_that_is_not_finite_anywhere_in_a_window_names_row_and_column(bad, rows, first):
    """
    The oldest step of a window counts as much as its newest.
    """
    values = np.zeros((10, 3), np.float32)
    values[4, 2] = bad

    with pytest.raises(UserError, match=rf"decision row {first} .*column 2\); 1 of 2 windows"):
        check_windows(values, np.array(rows), timesteps=3)


def test_values_outside_every_window_asked_for_may_be_anything():
    """
    Warm-up rows before, gaps between and rows after the windows are nobody's business.
    """
    values = np.zeros((12, 1), np.float32)
    values[[0, 5, 11]] = np.nan

    check_windows(values, np.array([4, 9, 10]), timesteps=3)


def test_a_table_of_another_type_is_a_programming_error():
    """
    Values are float32: a silent conversion would copy the table.
    """
    with pytest.raises(TypeError, match="float32"):
        check_windows(np.zeros((5, 1)), np.array([4]), timesteps=1)


# ── samples ──────────────────────────────────────────────────────────────────────────────────────


def test_one_sided_train_labels_are_refused_with_their_counts():
    """
    A direction cannot be learned from labels that are all alike.
    """
    with pytest.raises(UserError, match=r"train span holds one class only \(3 up, 0 down\)"):
        check_fit(sample([1, 1, 1]), sample([0, 1]), timesteps=1)


def test_one_sided_validation_labels_are_allowed():
    """
    A quiet validation span still has a loss; only its AUC is undefined.
    """
    check_fit(sample([1, 0, 1]), sample([1, 1]), timesteps=1)


@pytest.mark.parametrize(("train", "validation"), [([], [0, 1]), ([0, 1], [])])
def test_an_empty_span_is_refused(train, validation):
    """
    Nothing is learned from nothing, and nothing stops on it.
    """
    with pytest.raises(UserError, match="holds no usable rows"):
        check_fit(sample(train), sample(validation), timesteps=1)


def test_an_undefined_label_is_refused():
    """
    A row whose label is unknown or dropped must not reach a model.
    """
    with pytest.raises(UserError, match="label -1 at row 1"):
        check_fit(sample([1, -1, 0]), sample([0, 1]), timesteps=1)


def test_a_part_of_a_sample_shares_its_table():
    """
    Cutting a span in two copies no features.
    """
    whole = sample([0, 1, 1, 0])

    part = whole.part(whole.rows >= 2)

    assert [2, 3] == part.rows.tolist()
    assert [1, 0] == part.label.tolist()
    assert part.values is whole.values


# ── small arithmetic ─────────────────────────────────────────────────────────────────────────────


def test_auc_agrees_with_scikit_learn_on_ties():
    """
    Tied scores count one half.
    """
    from sklearn.metrics import roc_auc_score

    chance = np.random.default_rng(0)
    label = chance.integers(0, 2, 300).astype(np.int8)
    score = chance.integers(0, 9, 300) / 7

    assert roc_auc_score(label, score) == pytest.approx(area_under_curve(label, score), abs=1e-12)


def test_auc_of_one_class_is_undefined():
    """
    It is None, not one half.
    """
    assert area_under_curve(np.ones(4, np.int8), np.arange(4)) is None


def test_the_embedding_is_both_probabilities_scaled():
    """
    Certain down is [1, -1], undecided is [0, 0].
    """
    prediction = Prediction.of([0.0, 0.5, 1.0])

    assert [[1.0, -1.0], [0.0, 0.0], [-1.0, 1.0]] == prediction.embedding.tolist()


def test_history_keeps_reports_and_passes_them_on():
    """
    A listener sees each report as it comes.
    """
    seen = []
    history = History(seen.append)
    report = EpochReport(1, 0.7, 0.7, None, 1e-3, 0.1, "lstm")

    history.add(report)

    assert [report] == seen == history.reports


# ── naming a model ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", KINDS)
def test_each_built_in_kind_is_built(kind):
    """
    Sequence models take their window from the configuration; the others look at one bar.
    """
    section = ModelSection.model_validate({"kind": kind, "lstm": {"timesteps": 7}})

    assert (7 if "lstm" in kind else 1) == build_model(section).timesteps


def test_a_misspelt_kind_is_an_error_with_the_near_miss():
    """
    The message names the key and the kind that was probably meant.
    """
    with pytest.raises(ConfigError, match=r"model\.kind.*did you mean 'lstm_xgb'"):
        build_model(ModelSection(kind="lstm_xgbost"))


def test_params_for_a_built_in_kind_are_an_error():
    """
    A setting that would be ignored is refused.
    """
    with pytest.raises(ConfigError, match=r"model\.params.*takes no params"):
        build_model(ModelSection(kind="logistic", params={"depth": 3}))


@pytest.fixture
def plugin(monkeypatch):
    module = types.ModuleType("my_models")

    class Constant:
        timesteps = 3

        def __init__(self, p=0.5):
            self.p = p

        def fit(self, train, validation, context):
            raise NotImplementedError

    module.Constant = Constant
    module.Useless = type("Useless", (), {"fit": None})
    module.Windowless = type("Windowless", (), {"fit": None, "timesteps": 0})
    module.number = 3
    module.Broken = type("Broken", (), {"__init__": lambda _: {}["weights"]})
    for name in ("Constant", "Useless", "Windowless"):
        getattr(module, name).__module__ = "my_models"
    monkeypatch.setitem(sys.modules, "my_models", module)
    return module


def test_a_plug_in_is_called_with_its_params(plugin):
    """
    ``module:Name`` is imported and made with ``model.params`` as keywords.
    """
    model = build_model(ModelSection(kind="my_models:Constant", params={"p": 0.75}))

    assert 0.75 == model.p


@pytest.mark.parametrize(
    ("kind", "params", "message"),
    [
        ("no_such_module_at_all:Name", {}, "no module 'no_such_module_at_all' to load a model"),
        ("no_such_file.py:Name", {}, "model.kind.* no file .*no_such_file.py to load a model from"),
        (":Name", {}, "names no model; write module:Name or path/to/file.py:Name or one of lstm"),
        ("my_models:Constnt", {}, "did you mean 'Constant'"),
        ("my_models:number", {}, "is a int, not a class"),
        ("my_models:Useless", {}, "lacks timesteps"),
        ("my_models:Windowless", {}, "whole number from 1, not 0"),
        ("my_models:Constant", {"q": 1}, "unexpected keyword argument 'q'"),
        ("my_models:Broken", {}, "'my_models:Broken' fails in being made: KeyError: 'weights'"),
    ],
)
def test_a_plug_in_that_cannot_be_used_says_why(plugin, kind, params, message):
    """
    Every way to get a plug-in wrong is one readable error of the user.
    """
    with pytest.raises(UserError, match=message):
        build_model(ModelSection(kind=kind, params=params))


# ── the saved configuration ──────────────────────────────────────────────────────────────────────


def test_a_saved_config_says_with_which_versions_it_was_made(tmp_path):
    """
    Facts and versions come back as they were written.
    """
    write_config(tmp_path / "new", "majority", ("numpy",), up_rate=0.1)

    config = read_config(tmp_path / "new", "majority")

    assert 0.1 == config["up_rate"]
    assert {"numpy": np.__version__} == config["versions"]


def test_a_number_that_is_not_finite_is_never_written(tmp_path):
    """
    JSON knows no NaN.
    """
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_config(tmp_path, "majority", (), up_rate=float("nan"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "config.json is missing"),
        ("{", "no valid JSON"),
        ("[1]", "which 'kind'"),
        ('{"kind": "lsmt"}', "unknown kind 'lsmt'"),
        ('{"kind": "majority", "format": 99}', "format 99; expected 'majority', format 1"),
        ('{"kind": "majority", "format": 1}', "lacks 'up_rate'"),
        ('{"kind": "xgb", "format": 1}', "xgb.ubj is missing"),
        ('{"kind": "lstm", "format": 1}', "lstm.safetensors is missing"),
        ('{"kind": "os:getcwd", "format": 1}', "names code, 'os:getcwd', that your configuration"),
        ('{"kind": "majority", "format": 1, "up_rate": 6}', "up_rate 6 is no share"),
        ('{"kind": "majority", "format": 1, "up_rate": "x"}', "up_rate holds 'x', no number"),
        ('{"kind": "logistic", "format": 1, "coefficients": 1}', "coefficients holds '1', no"),
        ('{"kind": "logistic", "format": 1, "coefficients": [[1]]}', "holds '.1.', no number"),
    ],
)
def test_a_folder_that_holds_no_whole_model_says_what_is_wrong(tmp_path, text, message):
    """
    Each is one readable error, before anything is computed with it.
    """
    if text is not None:
        (tmp_path / "config.json").write_text(text)

    with pytest.raises(UsageError, match=message):
        load_model(tmp_path)


def test_code_in_a_models_folder_is_loaded_only_where_the_user_names_its_package(tmp_path):
    """
    What ``model.kind`` of his configuration names may be imported, with its package; nothing else.
    """
    (tmp_path / "config.json").write_text('{"kind": "os.path:join", "format": 1}')

    for code in (None, "subprocess:Popen", "xgb"):
        with pytest.raises(UsageError, match="names code, 'os.path:join'"):
            load_model(tmp_path, code=code)
    with pytest.raises(UsageError, match="no classmethod 'load'"):
        load_model(tmp_path, code="os:getcwd")


@pytest.mark.parametrize(("kind", "name"), [("lstm", "lstm.safetensors"), ("xgb", "xgb.ubj")])
def test_a_broken_artifact_is_named(tmp_path, kind, name):
    """
    Rubbish in a model file is an error that names the file, not a traceback of a library.
    """
    (tmp_path / "config.json").write_text(
        f'{{"kind": "{kind}", "format": 1, "features": 2, "lstm": {{}}}}'
    )
    (tmp_path / name).write_bytes(b"rubbish")

    with pytest.raises(UsageError, match=name):
        load_model(tmp_path)


def test_asking_for_a_baseline_loads_no_heavy_library():
    """
    Torch and xgboost are imported when a model needs them, not before.
    """
    code = (
        "import sys; from perpwalk.config import ModelSection; from perpwalk.models import *; "
        "build_model(ModelSection(kind='majority')); "
        "print(sorted({'torch', 'xgboost', 'sklearn'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()
