"""Labels of the user's own: taken as they are, held to the move they are traded on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perpwalk.audit.labels import audit_labels
from perpwalk.config import LabelSection, load
from perpwalk.domain import UNDEFINED_LABEL, BarFrame, Finding, Level
from perpwalk.errors import ConfigError, UserError
from perpwalk.labels import make_labels

N = 2000
SOURCE = """
import numpy as np


def big_move(bars, horizon, least=0.005):
    label = np.full(len(bars), np.nan)
    move = np.log(bars.close[horizon:] / bars.close[:-horizon])
    label[:-horizon] = np.where(np.abs(move) > least, move > 0, np.nan)
    return label


def price_level(bars, horizon):
    return (bars.close > 0).astype(float)


def above_the_median(bars, horizon):
    return (bars.close > np.median(bars.close)).astype(float)


def already_known(bars, horizon):
    label = np.full(len(bars), np.nan)
    label[1:-1] = bars.close[1:-1] > bars.close[:-2]
    return label


def late(bars, horizon):
    label = np.full(len(bars), np.nan)
    label[:-2] = bars.close[2:] > bars.close[1:-1]
    return label


def filled_tail(bars, horizon):
    return (np.append(bars.close[1:], np.nan) > bars.close).astype(float)


def moves(bars, horizon):
    return np.append(np.diff(bars.close), np.nan)


def short(bars, horizon):
    return np.zeros(3)


def broken(bars, horizon):
    raise ZeroDivisionError("by zero")


not_a_function = 3
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "my_labels.py"
    path.write_text(SOURCE)
    return path


def bars(missing: tuple[int, ...] = ()) -> BarFrame:
    close = 100 * np.exp(np.cumsum(np.random.default_rng(3).normal(0, 0.01, N)))
    index = pd.date_range("2024-01-01", periods=N, freq="h", tz="UTC")
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close"), close), index=index)
    kept = np.setdiff1d(np.arange(N), missing)
    return BarFrame.of(
        frame.assign(volume=1.0).iloc[kept], symbol="ABC", interval=pd.Timedelta("1h")
    )


def section(source: Path, name: str, **more: object) -> LabelSection:
    return LabelSection.model_validate({"kind": f"{source}:{name}", **more})


def audited(source: Path, name: str) -> dict[str, list[Finding]]:
    asked = section(source, name)
    found: dict[str, list[Finding]] = {}
    for finding in audit_labels(make_labels(bars(), asked), bars(), asked, ()):
        found.setdefault(finding.code, []).append(finding)
    return found


def errors(found: dict[str, list[Finding]]) -> set[str]:
    return {code for code, each in found.items() if any(f.level is Level.ERROR for f in each)}


def test_a_label_of_ones_own_is_taken_as_it_is(source: Path) -> None:
    """Small moves have no label; the others have the class the function gives them."""
    made = make_labels(bars(), section(source, "big_move", params={"least": 0.02}))
    move = made.forward_return

    assert bool(np.all((made.label == UNDEFINED_LABEL) == ~(np.abs(move) > 0.02)))
    assert bool(np.all(made.label[move > 0.02] == 1))
    assert bool(np.all(made.label[move < -0.02] == 0))


def test_an_honest_label_of_ones_own_raises_no_error(source: Path) -> None:
    """A label that leaves small moves out is related to the move, and no error is found."""
    found = audited(source, "big_move")

    assert set() == errors(found) - {"L011"}
    assert [Level.INFO] == [f.level for f in found["L007"]]


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("above_the_median", {"L003", "L007"}),
        ("already_known", {"L006", "L007"}),
        ("late", {"L006", "L007"}),
        ("filled_tail", {"L008"}),
    ],
)
def test_each_fault_of_a_label_is_named(source: Path, name: str, codes: set[str]) -> None:
    """Levels, shifts and made-up tails are errors, each under its own code."""
    assert codes <= errors(audited(source, name))


def test_a_shift_is_told_in_bars(source: Path) -> None:
    """The message says by how many bars a label is early or late."""
    early, late = (audited(source, name)["L006"][0].message for name in ("already_known", "late"))

    assert "already known (1 bars early)" in early
    assert "late by 1 bars" in late


def test_one_class_is_refused_beside_the_raw_moves(source: Path) -> None:
    """The predecessor's label is refused before training, with both counts and the likely cause."""
    with pytest.raises(UserError, match=r"one class only: 2,000 up and 0 down") as refused:
        make_labels(bars(), section(source, "price_level"))

    signs = make_labels(bars(), LabelSection()).label
    assert f"{int((signs == 1).sum()):,} up and {int((signs == 0).sum()):,} down" in str(
        refused.value
    )
    assert "price level" in str(refused.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("moves", "neither 1, 0 nor NaN"),
        ("short", r"shape \(3,\)"),
        ("broken", "ZeroDivisionError: by zero"),
    ],
)
def test_what_is_no_label_is_refused(source: Path, name: str, said: str) -> None:
    """Moves instead of classes, a wrong length and a failing function are each said in a line."""
    with pytest.raises(UserError, match=said):
        make_labels(bars(), section(source, name))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("sgin", "did you mean 'sign'"),
        ("{}:not_a_function", "no function"),
        ("{}:bigmove", "no lab"),
    ],
)
def test_a_label_that_is_not_there_is_refused(source: Path, kind: str, said: str) -> None:
    """A misspelt kind, a missing name and a thing that is no function name the key."""
    with pytest.raises(ConfigError, match=said) as refused:
        make_labels(bars(), LabelSection(kind=kind.format(source)))

    assert "label.kind" in str(refused.value)


def test_signs_take_no_params() -> None:
    """Params beside the built-in label are refused, not ignored."""
    with pytest.raises(ConfigError, match="'sign' takes no params"):
        make_labels(bars(), LabelSection(params={"least": 0.1}))


def test_a_move_across_a_gap_has_no_label_whatever_the_function_says(source: Path) -> None:
    """Where bars are missing the move lasted longer than declared: nothing is labelled."""
    made = make_labels(bars(missing=(500,)), section(source, "big_move", params={"least": 0.0}))

    assert UNDEFINED_LABEL == made.label[499]
    assert 1 == made.across_gap


def test_the_question_changes_with_the_function_not_with_its_place(
    source: Path, tmp_path: Path
) -> None:
    """A run is named by what the label's file holds, wherever it lies."""
    text = "name: mine\nlabel: {{kind: '{}:big_move'}}\n"
    elsewhere = tmp_path / "other"
    elsewhere.mkdir()
    (elsewhere / "my_labels.py").write_text(SOURCE)
    for folder in (tmp_path, elsewhere):
        (folder / "c.yaml").write_text(text.format("my_labels.py"))
    here, there = load(tmp_path / "c.yaml"), load(elsewhere / "c.yaml")

    assert here.label.kind != there.label.kind
    assert here.digest({}) == there.digest({})
    (elsewhere / "my_labels.py").write_text(SOURCE + "\n# changed\n")
    assert here.digest({}) != there.digest({})
