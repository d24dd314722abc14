"""What tests let workers do: a module of its own, so that workers can import it."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

from perpwalk.errors import UserError
from perpwalk.models.base import FitContext, Sample
from perpwalk.models.baselines import FittedLogistic, LogisticModel

_arrived: dict[int, int] = {}


class Parcel:
    """Counts how often it arrives in a process."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.weight = bytes(10_000)

    def __sizeof__(self) -> int:
        return len(self.weight)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        _arrived[self.number] = _arrived.get(self.number, 0) + 1


def arrivals(parcel: Parcel, what: int) -> tuple[int, int, int]:
    """Return the process, the parcel and how often it has come here, and what was asked."""
    return os.getpid(), _arrived.get(parcel.number, 0), what


def die(common: object, what: object) -> None:
    """Die at every attempt."""
    os.kill(os.getpid(), signal.SIGKILL)


def never_done(pipe: str, what: object) -> None:
    """Say who works, hold on to the pipe, and work for ever."""
    with Path(pipe).open("w") as held:
        held.write(f"{os.getpid()}\n")
        held.flush()
        while True:
            signal.pause()


class Mortal(LogisticModel):
    """Kills the process it is fitted in, once; or refuses; and notes its threads.

    Where ``full`` names a folder, a disk is full for as many fits as files can be taken out of it.
    """

    def __init__(
        self, marker: str = "", refuse: bool = False, threads: str = "", full: str = ""
    ) -> None:
        super().__init__()
        self._marker, self._refuse, self._threads = marker, refuse, threads
        self._full = full

    def fit(self, train: Sample, validation: Sample, context: FitContext) -> FittedLogistic:
        if self._marker and not Path(self._marker).exists():
            Path(self._marker).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if self._refuse:
            raise UserError("the span is too short for this model")
        for one in Path(self._full).iterdir() if self._full else ():
            with contextlib.suppress(FileNotFoundError):  # another worker took it
                one.unlink()
                raise OSError(errno.ENOSPC, "No space left on device")
        if self._threads:
            most = max(pool["num_threads"] for pool in threadpool_info())
            Path(self._threads).write_text(f"{context.threads} {most}")
        return super().fit(train, validation, context)
