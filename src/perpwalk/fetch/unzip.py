"""Opening a downloaded zip file as if it were hostile."""

from __future__ import annotations

import io
import stat
import zipfile
from pathlib import PurePosixPath

from perpwalk.data.files import ZIP_ERRORS
from perpwalk.fetch.net import BadFileError

MAX_UNPACKED = 2 * 1024**3
MAX_RATIO = 100  # text of numbers shrinks to a tenth or so
SMALL = 1 << 20  # below a MiB no ratio is a threat
_CHUNK = 1 << 20
_PACKED = (b"PK\x03\x04", b"\x1f\x8b", b"7z\xbc\xaf", b"BZh", b"\xfd7zXZ")


def only_member(name: str, packed: bytes) -> bytes:
    """Return the bytes of the one file in a zip; nothing is ever written under its name.

    Raises
    ------
    BadFileError
        It is damaged, or is a bomb, or holds links, paths that lead elsewhere, archives, or not
        exactly one plain file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            member = _checked(name, archive.infolist())
            data = _unpacked(name, archive, member)
    except ZIP_ERRORS as error:
        raise BadFileError(f"{name}: the zip file is damaged ({error})") from error
    if data.startswith(_PACKED):
        raise BadFileError(f"{name}: an archive inside an archive; refused")
    return data


def _checked(name: str, members: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    if len(members) != 1:
        raise BadFileError(f"{name}: the zip file holds {len(members)} members, not one")
    member = members[0]
    path = PurePosixPath(member.filename.replace("\\", "/"))
    drive = len(member.filename) > 1 and member.filename[1] == ":"
    if path.is_absolute() or drive or ".." in path.parts:
        raise BadFileError(f"{name}: the member's name leads out of its folder; refused")
    if stat.S_ISLNK(member.external_attr >> 16) or member.is_dir():
        raise BadFileError(f"{name}: the member is no plain file; refused")
    if member.flag_bits & 1:
        raise BadFileError(f"{name}: the member is encrypted; refused")
    _bounded(name, member.file_size, member.compress_size)
    return member


def _unpacked(name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Unpack, counting the bytes that really come: what is declared may be a lie."""
    parts, size = [], 0
    with archive.open(member) as stream:
        while part := stream.read(_CHUNK):
            size += len(part)
            _bounded(name, size, member.compress_size)
            parts.append(part)
    return b"".join(parts)


def _bounded(name: str, size: int, packed: int) -> None:
    if size > MAX_UNPACKED or (size > SMALL and size > MAX_RATIO * packed):
        raise BadFileError(f"{name}: unpacks to {size:,} bytes from {packed:,}; refused")
