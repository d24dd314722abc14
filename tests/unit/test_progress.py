"""Progress: plain lines where there is no terminal, a live bar where there is one."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from engine.progress import LiveReporter, PlainReporter, Within, reporter


def lines(stream: io.StringIO) -> list[str]:
    return [line.split(" s  ", 1)[1] for line in stream.getvalue().splitlines()]


def test_plain_lines_tell_stages_and_the_last_step() -> None:
    """Without a terminal each stage is a line, and thinned steps still end with the last."""
    stream = io.StringIO()
    with reporter(Console(file=stream, width=100)) as tell:
        tell.stage("load")
        tell.stage("folds", 3)
        for number in range(3):
            tell.detail(f"epoch {number}")
            tell.step(f"fold {number}")
        tell.say("done [not markup]")

    assert ["load …", "folds (3) …", "folds 3/3  fold 2", "done [not markup]"] == lines(stream)


def test_plain_lines_say_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """After half of ten seconds' worth of steps, as much again is foreseen."""
    clock = iter([0.0, 0.0, 0.0, 0.0, 20.0, 20.0, 20.0])
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    stream = io.StringIO()
    tell = PlainReporter(Console(file=stream, width=100))

    tell.stage("folds", 2)
    tell.step("fold 0")

    assert "folds 1/2, about 20 s left  fold 0" == lines(stream)[-1]


def test_what_is_told_within_a_step_leaves_the_count_alone() -> None:
    """A stage of its own and its steps are hints, with the name of the step they are within."""
    stream = io.StringIO()
    tell = PlainReporter(Console(file=stream, width=100), every_seconds=0)
    tell.stage("placebos", 1)
    inner = Within(tell, "labels shuffled")
    inner.stage("folds", 2)
    inner.step("fold 0")
    inner.say("two processes")
    tell.step()

    assert [
        "placebos (1) …",
        "placebos: labels shuffled: fold 0",
        "placebos: labels shuffled: two processes",
        "placebos 1/1",
    ] == lines(stream)


def test_a_terminal_gets_a_live_bar() -> None:
    """On a terminal the stage, its steps and the detail are drawn."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=120)
    with reporter(console) as tell:
        assert isinstance(tell, LiveReporter)
        tell.stage("folds", 2)
        tell.step("fold 0")
        tell.detail("epoch 1")
        tell.say("one fact")

    assert "folds" in stream.getvalue()
    assert "one fact" in stream.getvalue()
