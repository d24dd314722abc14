"""What commands write: text that steers no terminal, and silence where nobody reads."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from perpwalk import terminal
from perpwalk.terminal import Terminal, plain

ROOT = Path(__file__).parents[2]
STEERING = ("\x1b]0;x\x07", "\x9b31m", "\x7f", "\r", "\u202e", "\u2066", "\u2028", "\ud800", "\x00")


def written(*objects: object, **named: bool) -> str:
    stream = io.StringIO()
    Terminal(file=stream, width=200, **named).print(*objects)
    return stream.getvalue()


@pytest.mark.parametrize("sign", STEERING, ids=ascii)
def test_nothing_that_is_printed_steers_the_terminal(sign: str) -> None:
    """Not in a text, a table, its title, a panel; each sign is a replacement character."""
    said = f"a{sign}b"
    table = Table(title=said)
    table.add_column(said)
    table.add_row(Text(said))
    for shown in (said, Text(said), table, Panel(Text(said), title=said)):
        found = written(shown)
        assert "a" in found
        assert [] == [one for one in found if one != "\n" and not one.isprintable()]


@given(st.text())
def test_what_steers_nothing_is_written_as_it_is(text: str) -> None:
    """Letters, signs and spaces of every language stay; lines and tabs too."""
    found = plain(text)
    assert len(text) == len(found)
    for before, after in zip(text, found, strict=True):
        assert after in (before, "\N{REPLACEMENT CHARACTER}")
        assert before == after or not before.isprintable()
    assert "1\u202f000\u00a0€ – 日本\tÅ\n" == plain("1\u202f000\u00a0€ – 日本\tÅ\n")


def test_colours_are_kept() -> None:
    """What a console itself sends to a terminal is no text of anybody's."""
    found = written(Text("red\x1b[0m", style="red"), force_terminal=True)
    assert "\x1b[31mred\N{REPLACEMENT CHARACTER}[0m\x1b[0m\n" == found


def test_square_brackets_are_text() -> None:
    """A folder may be called [bold], and a verdict [/red]."""
    assert "results in [bold]/[/red] :smile:\n" == written("results in [bold]/[/red] :smile:")


@given(st.text())
def test_json_says_the_same_in_signs_that_steer_nothing(text: str) -> None:
    """Only its spelling changes."""
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        terminal.write_json(json.dumps({text: text}, ensure_ascii=False))
    assert {text: text} == json.loads(stream.getvalue())
    assert stream.getvalue() == plain(stream.getvalue())


def test_every_console_is_a_terminal() -> None:
    """A plain console of rich, and writing past it, stand nowhere else."""
    found = []
    for file in [*(ROOT / "engine").rglob("*.py"), *(ROOT / "src").rglob("*.py")]:
        if file.name == "terminal.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if called in ("Console", "rich.print", "print", "sys.stdout.write", "typer.echo"):
                    found.append(f"{file.name}:{node.lineno} {called}")
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.stdout":
                found.append(f"{file.name}:{node.lineno} sys.stdout")
    assert [] == found


# ── nobody reads, or nothing can be written ──────────────────────────────────────────────────────

TALKING = """
import sys
from perpwalk.terminal import Terminal, write
what, stream = sys.argv[1:]
for _ in range(20):
    if what == "write":
        write("x" * 200 + "\\n")
    else:
        Terminal(stderr=stream == "err").print("x" * 200)
sys.exit(3)
"""


@pytest.mark.parametrize(("what", "stream"), [("print", "out"), ("print", "err"), ("write", "out")])
def test_a_reader_that_leaves_changes_no_exit_code(what: str, stream: str) -> None:
    """``run … | head`` ends without a word, with the code of the verdict."""
    reading, writing = os.pipe()
    os.close(reading)
    other = subprocess.PIPE
    ends = {"stdout": writing, "stderr": other} if stream == "out" else {
        "stdout": other, "stderr": writing,
    }  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", TALKING, what, stream], **ends) as process:
        os.close(writing)
        said = [pipe.read() for pipe in (process.stdout, process.stderr) if pipe is not None]
    assert [b""] == said
    assert 3 == process.returncode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_message_that_cannot_be_written_changes_no_exit_code() -> None:
    """The command's answer does not depend on where its messages go."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", TALKING, "print", "err"], stderr=full, check=False
        )
        assert 3 == done.returncode
        done = subprocess.run(
            [sys.executable, "-m", "engine", "run", "nope.yaml", "--print-config"],
            stderr=full, check=False, cwd=ROOT,
        )  # fmt: skip
        assert 2 == done.returncode


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_answer_that_cannot_be_written_is_five(tmp_path: Path) -> None:
    """Unlike a message it was asked for."""
    (tmp_path / "x.yaml").write_text("name: x\nmarket: {simulate: {bars: 500}}\n")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "engine", "run", str(tmp_path / "x.yaml"), "--print-config"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert "No space left" in done.stderr
    assert 5 == done.returncode
