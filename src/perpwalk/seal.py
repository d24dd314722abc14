"""The seal of a run's folder: a hash of every file, and of the manifest that keeps them.

``manifest["files"]`` maps each file's path (POSIX, relative to the folder) to its sha256;
``manifest["seal"]`` is the sha256 of the manifest without its seal, as canonical JSON. Whoever
changes a file by hand, by accident or by a later tool is found out by ``broken``. It is no
signature: whoever rewrites the manifest with this module can make it fit again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

MANIFEST = "manifest.json"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Break:
    """One file that is not as it was sealed."""

    file: str
    what: Literal["changed", "missing", "added", "not sealed"]


def file_hash(path: Path) -> str:
    """Return the sha256 of a file as it lies on disk."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def hash_files(folder: Path) -> dict[str, str]:
    """Return path → sha256 of every file under ``folder`` but the manifest, in order of path.

    Temporary files (a leading dot) are left out, and so is ``work``, where a run is made.
    """
    return {name: file_hash(folder / name) for name in _files(folder)}


def _files(folder: Path) -> list[str]:
    found = (p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
    return sorted(
        p.as_posix()
        for p in found
        if p.as_posix() != MANIFEST and p.parts[0] != "work" and not p.name.startswith(".")
    )


def sealed(manifest: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return ``manifest`` with the hashes of all files of ``folder`` and its own seal.

    To be written as the last file of a run, once nothing else changes.
    """
    content = {**manifest, "files": hash_files(folder)}
    content.pop("seal", None)
    return {**content, "seal": seal_of(content)}


def resealed(manifest: Mapping[str, Any], folder: Path, names: Sequence[str]) -> dict[str, Any]:
    """Return ``manifest`` after the files ``names`` were written again on purpose.

    All other hashes stay as they are, so that this never covers up another change.
    """
    fresh = {name: file_hash(folder / name) for name in names}
    content = {**manifest, "files": dict(sorted({**manifest["files"], **fresh}.items()))}
    return {**content, "seal": seal_of(content)}


def seal_of(manifest: Mapping[str, Any]) -> str:
    """Return the sha256 of a manifest without its seal."""
    content = {key: value for key, value in manifest.items() if key != "seal"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def broken(
    manifest: Mapping[str, Any], folder: Path, *, only: Sequence[str] | None = None
) -> tuple[Break, ...]:
    """Return every file of ``folder`` that is not as sealed, the manifest first; empty if whole.

    ``only`` names the files to be looked at besides the manifest; None is all of them.
    """
    files = manifest.get("files")
    if not isinstance(files, Mapping) or "seal" not in manifest:
        return (Break(MANIFEST, "not sealed"),)
    return tuple(_broken(manifest, files, folder, only))


def _broken(
    manifest: Mapping[str, Any], files: Mapping[str, str], folder: Path, only: Sequence[str] | None
) -> Iterator[Break]:
    if manifest["seal"] != seal_of(manifest):
        yield Break(MANIFEST, "changed")
    there = _files(folder) if only is None else [name for name in only if (folder / name).is_file()]
    for name in sorted({*files, *there} if only is None else only):
        if name not in files:
            yield Break(name, "added")
        elif name not in there:
            yield Break(name, "missing")
        elif file_hash(folder / name) != files[name]:
            yield Break(name, "changed")
