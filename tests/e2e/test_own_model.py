"""A model in a file of the user's own, through every command that fits or loads it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from command_line import perpwalk

CONFIG = {
    "name": "own",
    "market": {"simulate": {"bars": 2000, "edge": 0.3}},
    "features": {"include": ["returns", "calendar"]},
    "walk_forward": {
        "train": "800bars", "validation": "200bars", "test": "500bars", "min_train_rows": 500,
    },
    "model": {"kind": "slope.py:Slope"},
    "report": {"tearsheet": False, "html": False},
    "compute": {"threads": 1},
}  # fmt: skip
SLOPE = '''
import numpy as np
from perpwalk.models import Prediction
from perpwalk.models.base import read_config, write_config

class Slope:
    """The first feature, by its correlation with the label."""

    timesteps = 1

    def fit(self, train, validation, context):
        return Fitted(float(np.corrcoef(train.values[train.rows, 0], train.label)[0, 1]))

class Fitted:
    kind = "slope.py:Fitted"
    timesteps = 1
    training = ()

    def __init__(self, slope):
        self.slope = slope

    def predict(self, values, rows):
        return Prediction.of(1 / (1 + np.exp(-self.slope * values[rows, 0].astype(float))))

    def save(self, folder):
        write_config(folder, self.kind, ("numpy",), slope=self.slope)

    @classmethod
    def load(cls, folder):
        return cls(read_config(folder, cls.kind)["slope"])
'''


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the model was run."""
    place = tmp_path_factory.mktemp("own")
    (place / "own.yaml").write_text(yaml.safe_dump(CONFIG))
    (place / "slope.py").write_text(SLOPE)
    assert 0 == perpwalk(place, "run", "own.yaml", "--no-cache")
    return place


def run_of(workspace: Path) -> Path:
    return next((workspace / "results" / "own").iterdir())


def copied(workspace: Path, to: Path) -> Path:
    """Return a copy of the workspace without its results."""
    to.mkdir()
    for name in ("own.yaml", "slope.py"):
        shutil.copy(workspace / name, to / name)
    return to


@pytest.mark.long
def test_workers_load_the_file_themselves(workspace: Path, tmp_path: Path) -> None:
    """Two processes give the same run to the byte; the files of its models are the plug-in's."""
    other = copied(workspace, tmp_path / "other")

    assert 0 == perpwalk(other, "run", "own.yaml", "--jobs", "2", "--no-cache")

    for name in ("predictions.parquet", "models/fold-000/config.json"):
        assert (run_of(workspace) / name).read_bytes() == (run_of(other) / name).read_bytes()


def test_a_changed_line_is_fitted_anew_and_an_unchanged_file_is_not(
    workspace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The cache knows the file by what it holds; another strategy takes its fits."""
    place = copied(workspace, tmp_path / "cached")
    said = []
    for line, threshold in (("", "0.5"), ("", "0.51"), ("\n# another line\n", "0.51")):
        (place / "slope.py").write_text(SLOPE + line)
        setting = f"strategy.threshold={threshold}"
        assert 0 == perpwalk(place, "run", "own.yaml", "--set", setting)
        said.append("2 of 2 fits" in capsys.readouterr().err)

    assert [False, True, False] == said


def test_verify_loads_the_file_where_the_user_names_it(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the configuration that the run was made from; once that is gone, by ``--code``."""
    run, file, asked = str(run_of(workspace)), str(workspace / "slope.py"), workspace / "own.yaml"
    assert 0 == perpwalk(workspace, "verify", run)

    gone = asked.rename(workspace / "gone.yaml")
    capsys.readouterr()
    try:
        assert 2 == perpwalk(workspace, "verify", run)
        assert f"--code {file}" in capsys.readouterr().err
        assert 0 == perpwalk(workspace, "verify", run, "--code", file)
    finally:
        gone.rename(asked)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    training = ()\n", "", "a Fitted, is no FittedModel: it lacks training"),
        ("Prediction.of(1 / ", "(1 / ", "forecast a ndarray whose p_up is NoneType; give a Pred"),
    ],
)
def test_half_a_model_is_one_message_of_its_users(
    workspace: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    old: str,
    new: str,
    said: str,
) -> None:
    """Exit 2 with the model and what it lacks, and no run left behind."""
    place = copied(workspace, tmp_path / "half")
    (place / "slope.py").write_text(SLOPE.replace(old, new))

    assert 2 == perpwalk(place, "run", "own.yaml")

    error = capsys.readouterr().err.partition("error: ")[2]
    assert "slope.py:" in error
    assert said in error
    assert 1 == error.count("\n")
    assert not (place / "results" / "own").exists()
