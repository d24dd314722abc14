"""SIGINT and SIGTERM: heard from the first moment on, obeyed once, told in words."""

from __future__ import annotations

import os
import signal
import time
from types import FrameType

TOLD = "interrupted; give the same command again: what was finished is kept"
ONE_STROKE = 1.0  # seconds within which a second signal is the same wish, passed on by a parent

_first: float | None = None


class StoppedError(BaseException):
    """SIGINT or SIGTERM arrived; unwinds so that locks and files are let go."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number


def listen() -> None:
    """Let both signals raise ``StoppedError`` in the main thread.

    Whoever asks again while this unwinds is not kept waiting: the process ends there and then, as
    by a kill, after which everything can go on too.
    """
    global _first
    _first = None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)


def _stop(number: int, _frame: FrameType | None) -> None:
    global _first
    now = time.monotonic()
    if _first is None:
        _first = now
        raise StoppedError(number)
    if now - _first > ONE_STROKE:
        os._exit(128 + number)
