"""What perpwalk keeps beside results: files and folders of its own, and nothing in their place.

Locks, temporary names, the trial ledger and folders that are half-made have names anybody can know,
and a folder of results may come from elsewhere. A link at such a name would lead to any file of the
user's, a pipe or a device would hold the process for good. So these files are opened through no
link and without waiting, these folders are removed only where they are folders, and what else lies
there is one message and stays as it is.
"""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path
from typing import BinaryIO

from perpwalk.errors import EnvironmentFailedError

_CALLED = (
    (stat.S_ISLNK, "a link"), (stat.S_ISDIR, "a folder"), (stat.S_ISREG, "a file"),
    (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"),
)  # fmt: skip


class InTheWayError(EnvironmentFailedError):
    """Something else lies where perpwalk keeps a file or a folder of its own."""


def opened(path: Path, mode: str) -> BinaryIO:
    """Open a binary file of perpwalk's own for reading (``rb``) or to add to it (``ab``).

    Raises
    ------
    InTheWayError
        A link, a folder, a pipe or a device lies there; it is not touched.
    OSError
        It cannot be opened.
    """
    return open(path, mode, opener=descriptor)  # type: ignore[return-value]


def descriptor(path: str | Path, flags: int, mode: int = 0o666) -> int:
    """Open a file of perpwalk's own as ``os.open`` does; errors as ``opened``."""
    try:
        found = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, mode)
    except OSError:
        refuse_other(Path(path))
        raise
    if stat.S_ISREG(os.fstat(found).st_mode):
        return found
    os.close(found)
    raise in_the_way(Path(path), "a file")


def refuse_other(path: Path, *, folder: bool = False) -> None:
    """Refuse what is no file (or no folder) at a name of perpwalk's own; nothing there is right.

    Raises
    ------
    InTheWayError
        Says what lies there.
    """
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if not (stat.S_ISDIR(mode) if folder else stat.S_ISREG(mode)):
        raise in_the_way(path, "a folder" if folder else "a file")


def in_the_way(path: Path, wanted: str) -> InTheWayError:
    """Return the error that says what lies where ``wanted`` should be."""
    try:
        mode = path.lstat().st_mode
        found = next((called for test, called in _CALLED if test(mode)), "a device")
    except OSError:
        found = "something else"
    return InTheWayError(
        f"{path} is {found}; perpwalk keeps {wanted} of its own there"
        f"{' and follows no link' if found == 'a link' else ''}: move it away, then give the same "
        "command again"
    )


def remove_folder(path: Path) -> None:
    """Remove a folder of perpwalk's own, if it is there, as far as it can be removed.

    Raises
    ------
    InTheWayError
        It is a link or no folder. (A pipe would hold whoever opens it to look.)
    """
    refuse_other(path, folder=True)
    shutil.rmtree(path, ignore_errors=True)
