"""What a stage's answer depends on besides its input."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from perpwalk.provenance import provenance


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's file that imports a helper beside it, which imports another and a package."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text("def f():\n    from helping import near\n")
    (tmp_path / "helping.py").write_text("from far_kit.deep import thing\nnear = thing\n")
    (tmp_path / "far_kit").mkdir()
    (tmp_path / "far_kit" / "__init__.py").write_text("")
    (tmp_path / "far_kit" / "deep.py").write_text("import scipy.stats\nthing = 1\n")
    (tmp_path / "far_kit" / "other.py").write_text("thing = 2\n")
    return tmp_path


def code(users: Path) -> str:
    return provenance([], [users / "mine.py"]).code


@pytest.mark.parametrize(
    "file", ["mine.py", "helping.py", "far_kit/__init__.py", "far_kit/deep.py"]
)
def test_one_line_of_a_users_file_or_of_what_it_imports_counts(users: Path, file: str) -> None:
    """A change is found however far down, inside functions and in a package's own file too."""
    before = code(users)
    with (users / file).open("a") as stream:
        stream.write("# another line\n")
    assert before != code(users)


def test_what_is_not_imported_does_not_count(users: Path) -> None:
    """A neighbour that nothing imports may change, and so may the file's place."""
    before = code(users)
    (users / "far_kit" / "other.py").write_text("thing = 3\n")
    (users / "moved.py").write_bytes((users / "mine.py").read_bytes())

    assert before == code(users)
    assert before == provenance([], [users / "moved.py"]).code


def test_packages_count_with_what_they_need() -> None:
    """The models depend on torch, xgboost and what these stand on; the features do not."""
    models, features = provenance(["perpwalk.models"]), provenance(["perpwalk.features"])

    assert {"torch", "xgboost", "scikit-learn", "scipy", "numpy"} <= set(models.packages)
    assert {"numpy", "pandas", "ta-lib"} <= set(features.packages)
    assert set() == {"torch", "xgboost", "plotly", "quantstats"} & set(features.packages)


def test_a_users_import_brings_its_package(users: Path) -> None:
    """A package that only the user's helper imports counts by its version."""
    assert "scipy" in provenance([], [users / "mine.py"]).packages


def test_another_version_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """One library of another version is another provenance."""
    before = provenance(["perpwalk.features"])
    real = importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.0" if name == "ta-lib" else real(name)
    )
    after = provenance(["perpwalk.features"])

    assert before.code == after.code
    assert before.packages != after.packages


def test_stages_do_not_depend_on_each_others_code() -> None:
    """Features, models and the report pages are different code."""
    names = ("perpwalk.features", "perpwalk.models", "perpwalk.reports")
    assert 3 == len({provenance([name]).code for name in names})
