"""Folds that an interrupted run kept: taken up as they were written, or made again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine import stages
from engine.parts import Prepared
from engine.progress import Silent
from engine.walkforward import WalkForward
from perpwalk import config, data


class Said(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(scope="module")
def prepared() -> Prepared:
    """Two folds of a model that fits in a moment."""
    asked = config.resolve(
        {
            "name": "kept",
            "market": {"simulate": {"bars": 1200}},
            "features": {"include": ["returns"]},
            "walk_forward": {
                "train": "500bars", "validation": "150bars", "test": "250bars",
                "min_train_rows": 400,
            },
            "model": {"kind": "logistic"},
        }
    )  # fmt: skip
    return stages.prepare(asked, data.load_markets(asked))[0]


def walked(one: Prepared, work: Path) -> tuple[list[bool], list[str], dict[str, bytes]]:
    """Walk; return which folds were taken up, what was said, and all files but the epochs'."""
    said = Said()
    (made,) = stages.walk_forward([one], work=work, reporter=said)
    files = (p for p in work.rglob("*") if p.is_file() and p.name not in TELL_SECONDS)
    contents = {p.relative_to(work).as_posix(): p.read_bytes() for p in files}
    return [result.resumed for result in made.results], said.lines, contents


# The epochs tell how long they took, and the seal is of them too.
TELL_SECONDS = ("training.json", "manifest.json")


def test_kept_folds_are_taken_up(prepared: Prepared, tmp_path: Path) -> None:
    """What is as it was written is not fitted again, and nothing is said of it."""
    first, _, before = walked(prepared, tmp_path / "work")
    again, said, after = walked(prepared, tmp_path / "work")

    assert [False, False] == first
    assert [True, True] == again
    assert [] == [line for line in said if "as it was written" in line]
    assert before == after


def reword(path: Path) -> None:
    """Change a figure so that the file is still one of its kind."""
    text = path.read_text(encoding="utf-8")
    digit = max(range(len(text)), key=lambda at: text[at].isdigit() * (at + 1))
    path.write_text(text[:digit] + str((int(text[digit]) + 1) % 10) + text[digit + 1 :])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "another threshold": lambda fold: reword(fold / "fold.json"),
    "another model": lambda fold: reword(fold / "model" / "config.json"),
    "another scale": lambda fold: reword(fold / "model" / "scaler.json"),
    "another fold's forecast": lambda fold: (fold / "forecast.parquet").write_bytes(
        (fold.parent / "fold-001" / "forecast.parquet").read_bytes()
    ),
    "a file less": lambda fold: (fold / "validation.parquet").unlink(),
    "a file more": lambda fold: (fold / "model" / "more.json").write_text("{}"),
    "no seal": lambda fold: (fold / "manifest.json").unlink(),
    "half a seal": lambda fold: (fold / "manifest.json").write_text('{"files": {'),
    "an empty seal": lambda fold: (fold / "manifest.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_kept_fold_that_was_changed_is_made_again(
    prepared: Prepared, tmp_path: Path, damage: str
) -> None:
    """It is named and fitted again, the other one is taken up; the end is the same."""
    work = tmp_path / "work"
    _, _, before = walked(prepared, work)
    DAMAGES[damage](work / "fold-000")
    resumed, said, after = walked(prepared, work)

    assert [False, True] == resumed
    assert 1 == len([line for line in said if "fold 0, kept of an interrupted run" in line])
    assert before == after


def test_a_changed_fold_is_one_to_be_fitted(prepared: Prepared, tmp_path: Path) -> None:
    """Where workers fit, it is given out with those that nobody has fitted."""
    work = tmp_path / "work"
    walked(prepared, work)
    reword(work / "fold-001" / "fold.json")
    walk = WalkForward(prepared.config, prepared.features, prepared.labels, work=work)

    assert [False, True] == [walk.lacks(fold) for fold in prepared.folds]
