"""A layer over file operations at which a process can be killed, stopped, or refused.

Every operation that changes what lies below a folder is counted before it is done: opening for
writing, each write that reaches the system, fsync, rename, unlink, mkdir, rmdir, and the copy of a
file. At the operation of a number something may be done first: a real SIGKILL, another signal, an
error such as a full disk.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import os
import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_CHANGING = {"os.rename": 0, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0, "os.truncate": 0,
             "os.link": 1, "os.symlink": 1, "os.utime": 0}  # fmt: skip
# Where the folder of a relative path is given as a descriptor, in the event's arguments.
_FOLDER_AT = {"os.rename": 2, "os.remove": 1, "os.mkdir": 2, "os.rmdir": 1, "os.utime": 3}
# What a disk that is full refuses; it still forgets and renames.
TAKES_SPACE = frozenset({"open", "write", "fsync", "os.mkdir", "copy"})


@dataclass(frozen=True)
class Operation:
    """What is about to be done, and to which file or folder."""

    number: int
    kind: str
    path: str


Act = Callable[[Operation], None]


class Disk:
    """What each file below ``root`` says once the power has gone: what was last forced to the disk.

    What was there at first is on the disk; names are, too. A file that nobody forced is empty then,
    whatever wrote it and whatever it was renamed to.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._forced: dict[tuple[int, int], bytes] = {}
        for path in self._files():
            self.force(path)

    def force(self, path: Path) -> None:
        """Keep what a file says."""
        if path.is_file():
            self._forced[_identity(path)] = path.read_bytes()

    def forget(self, path: Path) -> None:
        """Know nothing of what will be in the place of a file that goes."""
        if path.is_file() and path.stat().st_nlink == 1:
            self._forced.pop(_identity(path), None)

    def lose_power(self) -> None:
        """Take back what was never forced."""
        for path in self._files():
            kept = self._forced.get(_identity(path), b"")
            if path.read_bytes() != kept:
                path.write_bytes(kept)

    def _files(self) -> list[Path]:
        return [path for path in self._root.rglob("*") if path.is_file() and not path.is_symlink()]


def _identity(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


@dataclass
class Layer:
    """Counts operations below ``root`` and lets ``act`` look at each before it is done.

    ``torn`` is the number of a write of which only the first half is done before a SIGKILL.
    ``disk`` is told what is forced to it and what goes.
    """

    root: Path
    act: Act
    torn: int | None = None
    disk: Disk | None = None
    count: int = 0
    _busy: bool = field(default=False, repr=False)

    def install(self) -> None:
        """Watch this process from now on; there is no way back."""
        sys.addaudithook(self._heard)
        self._watch_writes()
        self._watch_descriptors()

    # ── what is told by the interpreter ──────────────────────────────────────────────────────────

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.before("open", path)
        elif event in _CHANGING:
            folder = arguments[_FOLDER_AT[event]] if event in _FOLDER_AT else -1
            self.before(event, arguments[_CHANGING[event]], folder)
            if event == "os.rename":
                self._goes(arguments[1], arguments[3])
            elif event == "os.remove":
                self._goes(arguments[0], folder)

    def _goes(self, path: Any, folder: int) -> None:
        if self.disk is not None and self.inside(path, folder):
            self.disk.forget(Path(_whole(path, folder)))

    def before(self, kind: str, path: Any, folder: int = -1) -> None:
        """Count one operation, if it is below the root, and act."""
        if self._busy or isinstance(path, int) or not self.inside(path, folder):
            return
        self._busy = True
        try:
            self.count += 1
            self.act(Operation(self.count, kind, os.fsdecode(path)))
        finally:
            self._busy = False

    def once(self, opener: Any) -> Any:
        """Return what opens a file for ``open``, uncounted: ``open`` itself is the operation."""

        def called(path: Any, flags: int) -> int:
            self._busy = True
            try:
                return opener(path, flags)
            finally:
                self._busy = False

        return None if opener is None else called

    def inside(self, path: Any, folder: int = -1) -> bool:
        """Return whether a path lies below the root."""
        return _whole(path, folder).startswith(f"{self.root}{os.sep}")

    # ── what it does not tell ────────────────────────────────────────────────────────────────────

    def _watch_writes(self) -> None:
        layer, real = self, builtins.open

        class Raw(io.FileIO):
            """A file whose writes are counted when they reach the system."""

            def write(self, content: Any, /) -> int:
                layer.before("write", self.name)
                if layer.torn == layer.count:
                    super().write(memoryview(content).cast("B")[: len(content) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                return super().write(content)

        def opened(file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None,
                   errors: Any = None, newline: Any = None, closefd: bool = True,
                   opener: Any = None) -> Any:  # fmt: skip
            writes = set(mode) & set("wax+")
            if not writes or isinstance(file, int) or not layer.inside(file):
                return real(file, mode, buffering, encoding, errors, newline, closefd, opener)
            raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, layer.once(opener))
            if buffering == 0:
                return raw
            stream: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return stream if "b" in mode else io.TextIOWrapper(stream, encoding, errors, newline)

        builtins.open = io.open = opened  # type: ignore[assignment]

    def _watch_descriptors(self) -> None:
        for module, name, kind in (
            (os, "write", "write"), (os, "fsync", "fsync"), (os, "ftruncate", "write"),
            (os, "sendfile", "copy"), (fcntl, "ioctl", "copy"),
        ):  # fmt: skip
            setattr(module, name, self._counted(getattr(module, name), kind))

    def _counted(self, real: Any, kind: str) -> Any:
        def called(descriptor: int, *arguments: Any, **named: Any) -> Any:
            self.before(kind, _path_of(descriptor))
            if kind == "fsync":  # what a killed process has written is there without it
                if self.disk is not None and self.inside(_path_of(descriptor)):
                    self.disk.force(Path(_path_of(descriptor)))
                return None
            if kind == "write" and self.torn == self.count and arguments:
                real(descriptor, bytes(arguments[0])[: len(arguments[0]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(descriptor, *arguments, **named)

        return called


def _whole(path: Any, folder: int = -1) -> str:
    """Return a path from the root on; ``folder`` is a descriptor, -1 for the working folder."""
    base = os.getcwd() if folder in (-1, None) else _path_of(folder)
    return os.path.normpath(os.path.join(base, os.fsdecode(path)))


def _path_of(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


# ── what may be done at an operation ─────────────────────────────────────────────────────────────


def signalled(at: int, number: int = signal.SIGKILL) -> Act:
    """Send this process a signal just before an operation."""

    def act(operation: Operation) -> None:
        if operation.number == at:
            os.kill(os.getpid(), number)

    return act


def without_power(at: int, disk: Disk) -> Act:
    """Let the power go just before an operation."""

    def act(operation: Operation) -> None:
        if operation.number == at:
            disk.lose_power()
            os.kill(os.getpid(), signal.SIGKILL)

    return act


def refused(at: int, number: int = errno.ENOSPC, *, once: bool = False) -> Act:
    """Refuse what takes space from an operation on, or that one alone.

    A permission that is lost, or a disk that can only be read, refuses every operation.
    """

    def act(operation: Operation) -> None:
        late = operation.number == at if once else operation.number >= at
        if late and (number not in (errno.ENOSPC, errno.EDQUOT) or operation.kind in TAKES_SPACE):
            raise OSError(number, os.strerror(number), operation.path)

    return act


def rewritten(at: int, path: Path, text: str) -> Act:
    """Give a file another content just before an operation, as an editor would: in one step."""

    def act(operation: Operation) -> None:
        if operation.number == at:
            replace_file(path, text)

    return act


def replace_file(path: Path, text: str) -> None:
    """Give a file another content in one step."""
    beside = path.with_name(f"{path.name}.other")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def vanished(at: int, path: Path) -> Act:
    """Remove a file or a folder just before an operation."""

    def act(operation: Operation) -> None:
        if operation.number == at:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)

    return act
