"""A store of what was computed, named by the hash of everything it depends on.

``<root>/<kind>/<key[:2]>/<key>/`` holds one entry: its ``files/``, and ``entry.json`` with their
sha256.

*Whole or not there*: an entry is written beside its place and renamed in one step. *Verified*: what
is taken out is copied first, and the copy is hashed; an entry that is not as it was written is
thrown away. *Bounded*: the entries used longest ago go first. *Shared*: several processes may read,
write and clear at once; who means to compute an entry holds its lock, which the kernel lets go of
when the holder dies, and the others wait for what it computes. No entry is a pickle.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perpwalk import disk, locks, owned, seal, strict
from perpwalk.errors import ConfigError, EnvironmentFailedError

PLACE = "PERPWALK_CACHE"
SIZE = "PERPWALK_CACHE_SIZE"
FOLDER = ".cache"  # under the results
DEFAULT_SIZE = "10GB"
FORMAT = 1
ENTRY, FILES = "entry.json", "files"
TEMPORARY, LOCKS = ".tmp", ".locks"
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE = re.compile(r"^\s*(\d{1,15}(?:\.\d+)?)\s*([kmgt]?)i?b?\s*$", re.IGNORECASE)
_SWEEP_SHARE = 50  # sweeping waits until this part of the limit has been written
_STALE = 3600  # seconds after which what a killed process left behind is removed


def key_of(parts: Any) -> str:
    """Return the name of what ``parts`` (plain values) determine."""
    text = json.dumps(parts, sort_keys=True, allow_nan=False)
    return hashlib.sha256(f"{FORMAT} {text}".encode()).hexdigest()


def parse_size(text: str) -> int:
    """Turn ``"10GB"`` or ``"500M"`` into bytes.

    >>> parse_size("1.5 GB"), parse_size("500M"), parse_size("0")
    (1500000000, 500000000, 0)
    """
    match = _SIZE.match(text)
    if match is None:
        raise ConfigError(f"{SIZE}='{text[:40]}' is no size; write it like 10GB or 500MB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def open_cache(results: Path) -> Cache:
    """Return the cache of a results folder, or the one the environment names.

    ``PERPWALK_CACHE`` is a folder that several workspaces may share, ``PERPWALK_CACHE_SIZE`` the
    most it may hold.
    """
    named = os.environ.get(PLACE)
    root = results / FOLDER if not named else disk.named(named)
    return Cache(root.absolute(), parse_size(os.environ.get(SIZE, DEFAULT_SIZE)))


@dataclass
class Cache:
    """The store under ``root``, kept to ``limit`` bytes.

    ``counts`` holds, by kind and by ``taken``, ``made`` or ``damaged``, what this object did.
    A disk that is full or not writable costs the cache, never the run: ``trouble`` says so.
    """

    root: Path
    limit: int
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    trouble: str | None = None
    _unswept: int = 0

    # ── taking and keeping ───────────────────────────────────────────────────────────────────────

    def take(self, kind: str, key: str, target: Path) -> bool:
        """Copy an entry's files into the new folder ``target``; False where there is none.

        What arrives in ``target`` is what was hashed. An entry that is not as it was written is
        removed, counted as damaged, and not there.
        """
        place = self._place(kind, key)
        try:
            self._refuse_links(place)
            files = strict.read_object(place / ENTRY)["files"]
            os.utime(place / ENTRY)  # used just now
            shutil.copytree(place / FILES, target, symlinks=True)
            strict.refuse_links(target)
        except FileNotFoundError:  # never written, or swept away just now
            shutil.rmtree(target, ignore_errors=True)
            if place.is_dir():
                self._damaged(kind, place)
            return False
        except (OSError, ValueError, KeyError, TypeError):
            files = None
        if files is None or _hashes(target) != files:
            shutil.rmtree(target, ignore_errors=True)
            self._damaged(kind, place)
            return False
        self.counts[kind, "taken"] += 1
        return True

    def _refuse_links(self, place: Path) -> None:
        """Refuse an entry that is reached through a link, or holds one."""
        for path in (place.parent.parent, place.parent, place):
            strict.refuse_link(path)
        strict.refuse_links(place)

    def holds(self, kind: str, key: str) -> bool:
        """Return whether there is an entry; whether it is whole is seen when it is taken."""
        return (self._place(kind, key) / ENTRY).is_file()

    def keep(self, kind: str, key: str, write: Callable[[Path], object]) -> None:
        """Let ``write`` fill a folder and keep it as an entry, in the place of an older one."""
        self.counts[kind, "made"] += 1
        temporary = self.root / TEMPORARY / uuid.uuid4().hex
        try:
            owned.refuse_other(temporary.parent, folder=True)
            (temporary / FILES).mkdir(parents=True)
            write(temporary / FILES)
            self._settle(kind, key, temporary)
        except OSError as error:
            self.trouble = f"{self.root}: {error.strerror or error}"
        except EnvironmentFailedError as error:
            self.trouble = str(error)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _settle(self, kind: str, key: str, temporary: Path) -> None:
        files = _hashes(temporary / FILES)
        size = _bytes_in(temporary / FILES)
        if size > self.limit:
            return
        text = json.dumps({"kind": kind, "key": key, "bytes": size, "files": files}, indent=1)
        (temporary / ENTRY).write_text(text + "\n", encoding="utf-8")
        place = self._place(kind, key)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            self._remove(place)
        with contextlib.suppress(OSError):  # another process was first: its entry is as good
            temporary.rename(place)
        self._unswept += size
        if self._unswept * _SWEEP_SHARE >= self.limit:
            self.sweep()

    def _damaged(self, kind: str, place: Path) -> None:
        self.counts[kind, "damaged"] += 1
        self._remove(place)

    def _remove(self, place: Path) -> None:
        """Take an entry out of its place in one step, then delete it at leisure."""
        aside = self.root / TEMPORARY / uuid.uuid4().hex
        if aside.parent.is_symlink():
            return
        with contextlib.suppress(OSError):  # gone already, or not ours to remove
            aside.parent.mkdir(parents=True, exist_ok=True)
            place.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    def _place(self, kind: str, key: str) -> Path:
        return self.root / kind / key[:2] / key

    # ── one computes, the others wait ────────────────────────────────────────────────────────────

    @contextlib.contextmanager
    def lock(self, kind: str, key: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold the right to compute an entry; yields whether it is held.

        Without ``wait`` it is False where another process holds it. Where the cache cannot be
        written to everyone holds it.
        """
        path = self.root / LOCKS / f"{kind}-{key[:32]}"
        with contextlib.ExitStack() as stack:
            mine = True
            try:
                owned.refuse_other(path.parent, folder=True)
                path.parent.mkdir(parents=True, exist_ok=True)
                mine = stack.enter_context(locks.held(path, wait=wait))
            except OSError as error:
                self.trouble = f"{self.root}: {error.strerror or error}"
            except EnvironmentFailedError as error:
                self.trouble = str(error)
            yield mine

    # ── staying within bounds ────────────────────────────────────────────────────────────────────

    def size(self) -> int:
        """Return how many bytes the entries hold."""
        return sum(size for _, size, _ in self._entries())

    def sweep(self) -> None:
        """Remove the entries used longest ago until the rest fits the limit."""
        self._unswept = 0
        with self.lock("sweep", "0", wait=False) as mine:
            if not mine:
                return  # another process is at it
            self._clear_leftovers()
            entries = sorted(self._entries(), key=lambda entry: entry[0])
            excess = sum(size for _, size, _ in entries) - self.limit
            for _, size, place in entries:
                if excess <= 0:
                    break
                self._remove(place)
                excess -= size

    def _entries(self) -> list[tuple[int, int, Path]]:
        """Return when each entry was last used, its size and its place."""
        found = []
        for path in self.root.glob(f"[!.]*/*/*/{ENTRY}"):
            if any(folder.is_symlink() for folder in list(path.parents)[:3]):
                continue  # what a link leads to is no entry, and not ours to remove
            with contextlib.suppress(OSError):  # removed while we look
                found.append((path.stat().st_mtime_ns, _bytes_in(path.parent), path.parent))
        return found

    def _clear_leftovers(self) -> None:
        """Remove what killed processes were writing or deleting."""
        left = self.root / TEMPORARY
        for path in () if left.is_symlink() else left.glob("*"):
            with contextlib.suppress(OSError):  # another process finished it just now
                if time.time() - path.stat().st_mtime > _STALE:
                    shutil.rmtree(path, ignore_errors=True)

    # ── telling ──────────────────────────────────────────────────────────────────────────────────

    def summary(self) -> dict[str, dict[str, int]]:
        """Return per kind how many entries were taken, made and found damaged."""
        kinds = dict.fromkeys(kind for kind, _ in self.counts)
        return {
            kind: {what: self.counts[kind, what] for what in ("taken", "made", "damaged")}
            for kind in kinds
        }


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): seal.file_hash(path) for path in files}


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
