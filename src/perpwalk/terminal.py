"""Where commands write: text that cannot steer a terminal, whoever wrote what it quotes.

What a run, a comparison or a data file says is quoted in tables and messages, and any of them may
come from somebody else. Every console of perpwalk is a ``Terminal``: this is the one place where it
is filtered. A reader that leaves (``perpwalk run … | head``) ends nothing: the command goes on in
silence and keeps its exit code, which may be the verdict.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import unicodedata
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_KEPT = "\n\t"
_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, directions of writing, halves of characters


def plain(text: str) -> str:
    r"""Return a text in which what would steer a terminal is a replacement character.

    >>> plain("\x1b[31mred\u202e\n") == "\ufffd[31mred\ufffd\n"
    True
    """
    if text.isprintable():
        return text
    return "".join("\N{REPLACEMENT CHARACTER}" if _steers(sign) else sign for sign in text)


def _steers(sign: str) -> bool:
    return sign not in _KEPT and unicodedata.category(sign) in _STEERING


class Terminal(Console):
    """A console that writes ``plain`` text, and is quiet once its reader has left.

    Square brackets are text too: rich's markup is not read.
    """

    def __init__(self, **named: Any) -> None:
        super().__init__(markup=False, emoji=False, **named)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as rich does; colours are no text and stay."""
        for part in super().render(renderable, options):
            yield part if part.control else Segment(plain(part.text), part.style)

    def print(self, *objects: Any, **named: Any) -> None:
        """Print as rich does; a message about the work that cannot be written is no end of it."""
        try:
            super().print(*objects, **named)
        except OSError:
            self.on_broken_pipe()
            if not self.stderr:
                raise

    def on_broken_pipe(self) -> None:
        """Go on in silence."""
        self.quiet = True
        _silence(self.file)


def write(text: str) -> None:
    """Write what a script reads to standard output, as it is; go on in silence if nobody does."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        _silence(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            raise


def write_json(text: str) -> None:
    """Write JSON to standard output; what would steer a terminal is written as an escape."""
    if not text.isascii():
        text = "".join(json.dumps(sign)[1:-1] if _steers(sign) else sign for sign in text)
    write(text)


def _silence(stream: IO[str]) -> None:
    """Lead a stream to nowhere: what it still holds would be written, and fail, at the end."""
    with contextlib.suppress(OSError, ValueError):  # one that is no file holds nothing back
        descriptor = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
