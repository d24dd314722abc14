"""Lock files that outlive nobody: the kernel lets go of them when their holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from perpwalk import owned


@contextlib.contextmanager
def held(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock file ``path`` inside the block and remove it afterwards.

    Yields whether it is held: without ``wait`` it is False where another process has it.

    Raises
    ------
    InTheWayError
        Something else lies there: a link, say, or a pipe.
    OSError
        The file cannot be made.
    """
    while True:
        with owned.opened(path, "ab") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                yield False
                return
            # An earlier holder may have removed the file between our open and our lock.
            if not is_at(path, stream.fileno()):
                continue
            try:
                yield True
            finally:
                # Where it cannot be removed (any more) it is let go of all the same.
                with contextlib.suppress(OSError):
                    path.unlink()
            return


def is_at(path: Path, descriptor: int) -> bool:
    """Return whether an open file is still the one at ``path`` itself, not behind a link."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
