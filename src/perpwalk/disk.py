"""Files and folders that are whole or not there, whoever dies or looks at them meanwhile.

Written beside the place, forced to the disk, renamed: a reader sees the old one or the new one. Who
writes the same file or renews the same folder at once waits for its turn; what a killed process
left beside the place is taken over by the next one.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from perpwalk import locks, owned
from perpwalk.errors import EnvironmentFailedError

_FICLONE = 0x40049409  # Linux: share the blocks until one of the two is written
_HERE, _EXCHANGE = -100, 2  # Linux: paths from the working folder; swap two names in one step
_SCRATCH = "perpwalk-scratch-"
_LOCK = ".lock"


def named(path: str | Path) -> Path:
    """Return a path as a shell takes it: ``~`` is a home folder, ``~nobody`` a name like others."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one, never a half."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with _emptied(temporary) as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise EnvironmentFailedError(
            f"cannot write {path}: {error.strerror or error}; free space or mend the permission, "
            "then give the same command again: what is finished is kept"
        ) from error


@contextlib.contextmanager
def _emptied(temporary: Path) -> Iterator[BinaryIO]:
    """Yield a file that is empty and nobody else's; it goes away where the block fails."""
    while True:
        with owned.opened(temporary, "ab") as stream:  # empties nothing yet
            fcntl.flock(stream, fcntl.LOCK_EX)
            if not locks.is_at(temporary, stream.fileno()):
                continue  # the one before us has moved it to its place
            if os.fstat(stream.fileno()).st_nlink > 1:  # it has another name: that one keeps it
                temporary.unlink()
                continue
            stream.truncate(0)  # of a writer that was killed
            try:
                yield stream
            except BaseException:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise
            return


# ── folders ──────────────────────────────────────────────────────────────────────────────────────


def put_folder(fresh: Path, place: Path) -> None:
    """Force a folder of files to the disk and rename it, in the place of an older one.

    Where the system can swap two names, a reader finds the old folder or the new one at any time;
    elsewhere there is a moment without, which ``mend_place`` ends if it comes to last.
    """
    older = replaced(place)
    for path in (place, older):
        owned.refuse_other(path, folder=True)
    sync_tree(fresh)
    owned.remove_folder(older)
    if not place.exists():
        fresh.rename(place)
    elif _swapped(fresh, place):
        fresh.rename(older)
    else:
        place.rename(older)
        fresh.rename(place)
    sync_folder(place.parent)
    shutil.rmtree(older, ignore_errors=True)


def mend_place(place: Path) -> None:
    """Bring back, or remove, the older folder that was being replaced when a process was killed."""
    older = replaced(place)
    if place.exists():
        owned.remove_folder(older)
        return
    owned.refuse_other(older, folder=True)
    if older.exists():
        older.rename(place)


def replaced(place: Path) -> Path:
    """Return where a folder waits to be removed after another took its place."""
    return place.with_name(f".{place.name}.replaced")


def _swapped(one: Path, two: Path) -> bool:
    """Swap the names of two folders in one step; False where the system cannot."""
    if sys.platform != "linux":
        return False
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if swap is None:
        return False
    sys.audit("os.rename", os.fspath(one), os.fspath(two), -1, -1)
    return bool(swap(_HERE, os.fsencode(one), _HERE, os.fsencode(two), _EXCHANGE) == 0)


@contextlib.contextmanager
def turn(place: Path) -> Iterator[None]:
    """Wait until nobody renews or replaces a folder, and keep others from it inside the block.

    Raises
    ------
    OSError
        The lock file cannot be made.
    """
    with locks.held(turn_lock(place), wait=True):
        yield


def turn_lock(place: Path) -> Path:
    """Return the lock file of ``turn``; one that is left lying about belongs to a killed process.

    It is another one than that of who makes a run, which takes hours: who draws a page holds this
    one for the time of drawing, and the run's maker for that of moving it to its place.
    """
    return place.with_name(f".{place.name}.turn.lock")


@contextlib.contextmanager
def renewed(place: Path) -> Iterator[Path]:
    """Yield a copy of a folder to be changed, which takes its place when the block ends well.

    Files are shared between the two until they are written again, which must be done by
    ``write_bytes``. The copy has the same name and lies in a folder of the same name. Of a link to
    a folder it is the folder that is renewed.

    Raises
    ------
    EnvironmentFailedError
        The copy cannot be made or put in its place.
    """
    if place.is_symlink():
        place = place.resolve()
    with _beside(place) as beside:
        fresh = beside / place.resolve().parent.name / place.name
        shutil.copytree(place, fresh, copy_function=_linked)
        yield fresh
        put_folder(fresh, place)


@contextlib.contextmanager
def written_together(place: Path) -> Iterator[Path]:
    """Yield a folder, as deep as ``place``, which takes its place when the block ends well.

    So readers see all of the files written into it, or none. What the folder held before stays.

    Raises
    ------
    EnvironmentFailedError
        The folder cannot be made or put in its place.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFailedError(f"cannot make {place.parent}: {error.strerror}") from error
    with _beside(place) as fresh:
        if place.is_dir():
            shutil.copytree(place, fresh, copy_function=_linked)
        else:
            fresh.mkdir()
        yield fresh
        put_folder(fresh, place)


@contextlib.contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """Yield a name beside a folder, where nothing is, to one process at a time."""
    beside = place.with_name(f".{place.name}.renewed")
    for path in (place, beside, replaced(place)):
        owned.refuse_other(path, folder=True)
    try:
        with turn(place):
            owned.remove_folder(beside)
            try:
                yield beside
            finally:
                shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise EnvironmentFailedError(
            f"cannot write {place}: {error.strerror or error}; it is as it was"
        ) from error


def _linked(source: str, target: str) -> str:
    try:
        os.link(source, target)
    except OSError:
        return shutil.copyfile(source, target)
    return target


def clone_tree(source: Path, target: Path) -> None:
    """Copy a folder of artifacts; where the file system can, without using space twice.

    The copies are files of their own either way: what happens to one never happens to the other.
    """
    shutil.copytree(source, target, copy_function=_clone_file)


def _clone_file(source: str, target: str) -> str:
    if hasattr(fcntl, "ioctl") and sys.platform == "linux":
        with Path(source).open("rb") as old, Path(target).open("wb") as new:
            try:
                fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
            except OSError:
                pass  # another kind of file system: an ordinary copy below
            else:
                return target
    return shutil.copyfile(source, target)


def sync_tree(folder: Path) -> None:
    """Force every file below a folder, and the folders themselves, to the disk."""
    for where, _, names in os.walk(folder):
        for name in names:
            _sync(Path(where, name))
        _sync(Path(where))


def sync_folder(folder: Path) -> None:
    """Force a folder to the disk: what was renamed in it stays renamed."""
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ── scratch ──────────────────────────────────────────────────────────────────────────────────────


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Yield a temporary folder of this process; those of killed ones are removed on the way.

    Raises
    ------
    EnvironmentFailedError
        There is no room for temporary files.
    """
    root = Path(tempfile.gettempdir())
    _sweep(root)
    try:
        folder, lock = _locked_folder(root)
    except OSError as error:
        raise EnvironmentFailedError(
            f"cannot make temporary files in {root}: {error.strerror or error}; free space or set "
            "TMPDIR"
        ) from error
    with lock:
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _locked_folder(root: Path) -> tuple[Path, BinaryIO]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_SCRATCH, dir=root))
        lock = owned.opened(folder / _LOCK, "ab")
        fcntl.flock(lock, fcntl.LOCK_EX)
        if locks.is_at(folder / _LOCK, lock.fileno()):
            return folder, lock
        lock.close()  # another process has swept it before it was locked


def _sweep(root: Path) -> None:
    """Remove the folders of processes that are gone: nobody holds their locks."""
    for folder in filter(_is_mine, root.glob(f"{_SCRATCH}*")):
        with (
            contextlib.suppress(OSError, owned.InTheWayError),
            owned.opened(folder / _LOCK, "rb") as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def _is_mine(folder: Path) -> bool:
    """Return whether a folder is this user's: in a shared one anybody may lay anything."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
