"""Signals at awkward moments: amid the imports, twice in a row."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from engine import stopping

# The command, which is sent a signal by itself as soon as it imports what takes long.
AMID_IMPORTS = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            sys.meta_path.remove(self)
            for _ in range({times}):
                os.kill(os.getpid(), signal.{signal})

sys.meta_path.insert(0, Finder())
from engine.start import main
sys.argv = ["perpwalk", "runs"]
main()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize("times", [1, 2])
def test_a_signal_amid_the_imports_is_told_in_words(name: str, code: int, times: int) -> None:
    """Exit 130 or 143 and one line, no traceback; a second one on its heels changes nothing."""
    asked = [sys.executable, "-c", AMID_IMPORTS.format(signal=name, times=times)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)

    assert (code, f"{stopping.TOLD}\n") == (done.returncode, done.stderr)


@pytest.fixture
def as_before() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def test_who_asks_again_while_it_unwinds_is_not_kept_waiting(
    as_before: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stroke may come twice; a second one later ends the process there and then."""
    clock, ended = iter([5.0, 5.2, 7.0]), []
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    monkeypatch.setattr(os, "_exit", ended.append)
    stopping.listen()

    with pytest.raises(stopping.StoppedError) as stopped:
        signal.raise_signal(signal.SIGTERM)
    signal.raise_signal(signal.SIGINT)
    assert (143, []) == (stopped.value.exit_code, ended)
    signal.raise_signal(signal.SIGINT)
    assert [130] == ended
