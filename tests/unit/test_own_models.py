"""A model of the user's own: named by file too, held to the protocol, loaded where he names it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import foldtasks, stages
from engine.foldtasks import Table, Task, fit_fold
from engine.memory import _model_section, _models_made_by
from perpwalk import config, data, models
from perpwalk.config import Config, ModelSection
from perpwalk.errors import ConfigError, UsageError
from perpwalk.models import FitContext, Prediction, Sample, load_model
from perpwalk.models.base import FittedModel, check_prediction, forecasts_of, write_config

MINE = """
from perpwalk.models import Prediction
from perpwalk.models.base import read_config, write_config

class Mine:
    timesteps = 3

    def __init__(self, p=0.75):
        self.p = p

    def fit(self, train, validation, context):
        return Fitted(self.p)

class Fitted:
    kind = "mine.py:Fitted"
    timesteps = 3
    training = ()

    def __init__(self, p):
        self.p = p

    def predict(self, values, rows):
        return Prediction.of([self.p] * len(rows))

    def save(self, folder):
        write_config(folder, self.kind, (), p=self.p)

    @classmethod
    def load(cls, folder):
        return cls(read_config(folder, cls.kind)["p"])

class Bare:
    kind = "mine.py:Bare"
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A file with a model and what it fits."""
    file = tmp_path / "own" / "mine.py"
    file.parent.mkdir()
    file.write_text(MINE)
    return file


def fitted(kind: str, **params: Any) -> FittedModel:
    """Return what a model of the user's fits to three rows."""
    model = models.build_model(ModelSection(kind=kind, params=params))
    part = Sample(np.zeros((9, 2), np.float32), np.arange(3, 6), np.array([0, 1, 1], np.int8))
    return models.fit(model, kind, part, part, FitContext())


def saved(mine: Path, folder: Path) -> Path:
    """Return the folder of a model that the file has fitted."""
    fitted(f"{mine}:Mine", p=0.625).save(folder)
    return folder


# ── by file ──────────────────────────────────────────────────────────────────────────────────────


def test_a_model_is_named_by_the_path_of_its_file(mine: Path) -> None:
    """It is made with ``model.params``, fits and forecasts as one of a module does."""
    model = fitted(f"{mine}:Mine", p=0.25)

    assert [0.25] * 2 == model.predict(np.zeros((9, 2), np.float32), np.arange(2)).p_up.tolist()


def test_a_file_beside_the_configuration_is_found_from_anywhere(mine: Path) -> None:
    """A relative path is taken from the configuration's folder, as of a strategy."""
    beside = mine.parent / "x.yaml"
    beside.write_text("model: {kind: 'mine.py:Mine'}")

    assert f"{mine}:Mine" == config.load(beside).model.kind


def test_a_file_that_is_named_again_is_run_once_until_it_holds_something_else(mine: Path) -> None:
    """One file, one class; an edit counts at once, even of the same length in the same second."""
    first = fitted(f"{mine}:Mine")
    assert type(first) is type(fitted(f"{mine}:Mine"))

    mine.write_text(MINE.replace("p=0.75", "p=0.25"))

    assert (0.75, 0.25) == (first.p, fitted(f"{mine}:Mine").p)  # type: ignore[attr-defined]
    assert not (mine.parent / "__pycache__").exists()


def test_a_file_without_that_model_says_what_it_has(mine: Path) -> None:
    """The key, the file and the nearest name."""
    with pytest.raises(ConfigError, match=r"model\.kind.*mine\.py' has no model 'Mien'.*'Mine'"):
        fitted(f"{mine}:Mien")


# ── read back ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("attribute", [":Mine", ""])
def test_a_saved_model_is_read_by_the_file_that_the_user_names(
    mine: Path, tmp_path: Path, attribute: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its path, with or without a name, also a relative one."""
    folder = saved(mine, tmp_path / "model")
    monkeypatch.chdir(tmp_path)

    for code in (f"{mine}{attribute}", f"own/mine.py{attribute}"):
        assert 0.625 == load_model(folder, code=code).p  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["{folder}/mine.py:Fitted", "mine.py:Fitted"])
def test_a_folder_says_which_class_and_the_user_in_which_file(
    mine: Path, tmp_path: Path, kind: str
) -> None:
    """A file of the same name that came with the folder is not run, even named by its path."""
    mine.write_text(MINE.replace("cls.kind)", "None)"))
    folder = saved(mine, tmp_path / "model")
    (folder / "mine.py").write_text("raise SystemExit('it ran')")
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace("mine.py:Fitted", kind.format(folder=folder)))

    assert 0.625 == load_model(folder, code=f"{mine}:Mine").p  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("mine.py:Fitted", None),
        ("mine.py:Fitted", "theirs.py:Fitted"),
        ("mine.py:Fitted", "mine:Fitted"),  # a module is no file
        ("json:Fitted", "mine.py:Fitted"),
        ("/somewhere/evil.py:Fitted", "mine.py:Fitted"),
        ("mine.py:Fitted", "logistic"),
    ],
)
def test_a_file_that_only_the_folder_names_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, code: str | None
) -> None:
    """Also not where it lies in the current directory."""
    (tmp_path / "mine.py").write_text("raise SystemExit('it ran')")
    monkeypatch.chdir(tmp_path)
    write_config(tmp_path / "model", kind, ())

    with pytest.raises(UsageError, match=r"names code, .* that your configuration does not name"):
        load_model(tmp_path / "model", code=code)


def test_what_lies_in_the_file_but_is_no_model_is_not_called(mine: Path, tmp_path: Path) -> None:
    """Neither a module that the file imports, whatever its ``load`` does, nor a bare class."""
    mine.write_text(MINE + "\nimport json\n")
    for name in ("json", "Bare"):
        write_config(tmp_path / name, f"mine.py:{name}", ())

        with pytest.raises(UsageError, match="has no classmethod 'load'"):
            load_model(tmp_path / name, code=f"{mine}:Mine")


def test_a_whole_model_is_what_load_has_to_return(mine: Path, tmp_path: Path) -> None:
    """Half of one is a message, and so is a ``load`` that fails."""
    folder = saved(mine, tmp_path / "model")
    mine.write_text(MINE.replace('return cls(read_config(folder, cls.kind)["p"])', "return 7"))
    with pytest.raises(UsageError, match=r"what load returned, a int, is no FittedModel: it lacks"):
        load_model(folder, code=f"{mine}:Mine")

    mine.write_text(MINE.replace('["p"])', '["q"])'))
    with pytest.raises(UsageError, match=r"model 'mine.py:Fitted' fails in load: KeyError: 'q'"):
        load_model(folder, code=f"{mine}:Mine")


# ── what a fit depends on ────────────────────────────────────────────────────────────────────────


def test_the_text_of_the_file_names_the_fit_and_the_question_its_folder_does_not(
    mine: Path, tmp_path: Path
) -> None:
    """One changed line is another fit, another question and another worker's code."""

    def keys(file: Path) -> list[object]:
        asked = Config(model=ModelSection(kind=f"{file}:Mine"))
        return [
            [_model_section(asked), _models_made_by(asked)],
            asked.digest({}),
            foldtasks._code(asked.model.kind),
        ]

    elsewhere = tmp_path / "moved" / "mine.py"
    elsewhere.parent.mkdir()
    elsewhere.write_text(MINE)
    before = keys(mine)
    assert before == keys(elsewhere)

    mine.write_text(MINE.replace("0.75", "0.5"))

    assert [True] * 3 == [old != new for old, new in zip(before, keys(mine), strict=True)]


def test_a_worker_fits_by_the_file_as_it_lies_there(mine: Path) -> None:
    """What is sent names the file; a worker that finds another text in it fits nothing."""
    asked = config.resolve(
        {
            "market": {"simulate": {"bars": 1000}},
            "features": {"include": ["returns"]},
            "walk_forward": {
                "train": "500bars", "validation": "100bars", "test": "300bars",
                "min_train_rows": 100,
            },
            "model": {"kind": f"{mine}:Mine", "params": {"p": 0.625}},
        }
    )  # fmt: skip
    (one,) = stages.prepare(asked, data.load_markets(asked))
    table = Table(one.features, one.labels)
    task = Task(asked, one.folds[0], 1, foldtasks._code(asked.model.kind))

    done = fit_fold(table, task)
    mine.write_text(MINE.replace("0.75", "0.5"))
    refused = fit_fold(table, task)

    assert b'"p": 0.625' in dict(done.files)["model/config.json"]
    assert () == refused.files
    assert "has other code or other packages" in str(refused.error)


# ── held to the protocol ─────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("    training = ()\n", "", "returned, a Fitted, is no FittedModel: it lacks training"),
        ("return Fitted(self.p)", "pass", "a NoneType, is no FittedModel: it lacks kind, time"),
        ("training = ()", "training = None", "as training a NoneType; it must be a tuple of Epoch"),
        ("training = ()", "training = (0.5,)", "as training a tuple with a float"),
        ("def predict", "predict = 3\n    def other", "has a predict that is no method"),
        ("timesteps = 3\n    training", "timesteps = 9\n    training", "at 9 bars, .* itself at 3"),
        ("timesteps = 3\n    training", "timesteps = 2.5\n    training", "must be a whole number"),
        ('"mine.py:Fitted"', "3", "has a kind that is no text: 3"),
        ('"mine.py:Fitted"', '"mine"', "of kind 'mine', .* write kind = \"mine.py:Mine\""),
        ('"mine.py:Fitted"', '"json:Fitted"', 'of kind \'json:Fitted\', .* write kind = "mine.py:'),
        ('"mine.py:Fitted"', '"logistic"', "of kind 'logistic', by which it could not be loaded"),
        ('"mine.py:Fitted"', '"mine.py:Mine"', "Mine' is no class with a classmethod 'load'"),
        ("return Fitted(self.p)", "return 1 / 0", "Mine' fails in fit: ZeroDivisionError: div"),
    ],
)  # fmt: skip
def test_what_a_fit_returns_is_held_against_the_protocol(
    mine: Path, old: str, new: str, message: str
) -> None:
    """One message, before anything is forecast: the model, and what is missing or wrong in it."""
    assert old in MINE
    mine.write_text(MINE.replace(old, new))

    with pytest.raises(UsageError, match=message) as told:
        fitted(f"{mine}:Mine")
    assert f"{mine}:Mine" in str(told.value)


def test_a_model_of_ones_own_may_leave_one_of_ours_behind(mine: Path) -> None:
    """Its artifacts are read back by our own class."""
    mine.write_text(
        MINE.replace("return Fitted(self.p)", "return FittedMajority(self.p)").replace(
            "\nclass Mine:", "from perpwalk.models.baselines import FittedMajority\n\nclass Mine:"
        )
    )

    assert "majority" == fitted(f"{mine}:Mine").kind
    assert models.is_of("majority", ModelSection(kind=f"{mine}:Mine"))
    assert not models.is_of("json:Mine", ModelSection(kind=f"{mine}:Mine"))


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (None, "forecast a NoneType whose p_up is NoneType"),
        (np.zeros(3), "forecast a ndarray whose p_up is NoneType"),
        (Prediction([0.5] * 3, np.zeros((3, 2))), "a Prediction whose p_up is list"),  # type: ignore[arg-type]
        (Prediction(np.ones(3, int), np.zeros((3, 2))), "a Prediction whose p_up is int64"),
        (Prediction(np.zeros(3), None), "whose embedding is NoneType"),  # type: ignore[arg-type]
        (Prediction(np.zeros(3), np.zeros(3)), r"an embedding of \(3,\) for 3 decisions"),
        (Prediction(np.zeros((3, 1)), np.zeros((3, 2))), r"p_up of shape \(3, 1\)"),
    ],
)
def test_a_forecast_of_another_type_or_shape_is_told_from_the_right_one(
    made: Any, message: str
) -> None:
    """The message names the model, what came and what to give."""
    with pytest.raises(UsageError, match=f"the model 'mine.py:Mine' .*{message}.*; give"):
        check_prediction(made, "mine.py:Mine", np.arange(3))


def test_a_forecast_that_fails_is_the_models_fault(mine: Path) -> None:
    """Its own error is named with the model; perpwalk takes no blame for it."""
    mine.write_text(MINE.replace("return Prediction.of([self.p]", "return Prediction.of([self.q]"))
    model = fitted(f"{mine}:Mine")

    with pytest.raises(UsageError, match=r"'mine.py:Fitted' fails in predict: AttributeError: .*q"):
        forecasts_of(model, np.zeros((9, 2), np.float32), np.arange(2), np.arange(9))


def test_a_file_leaves_nothing_behind_that_shadows_a_module(mine: Path) -> None:
    """It is no module called ``mine``."""
    fitted(f"{mine}:Mine")

    assert "mine" not in sys.modules
