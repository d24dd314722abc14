"""From a path to bytes: what kind of file it is by content, its hash, unpacked within bounds.

The name of a file says nothing here: a gzip file is known by its first bytes, so ``ohlcv.csv`` that
is really a Parquet file is read as Parquet.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import lzma
import stat
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from perpwalk.errors import DataError

MAX_BYTES = 2 * 1024**3  # of a file and of what it unpacks to: ten years of one-minute bars fit
MAX_JSON_BYTES = 256 * 1024**2  # it takes ten times as much memory while it is read
MAX_LINE_BYTES = 1024**2
MAX_RATIO = 250  # of what comes out to what went in; text of numbers shrinks to a tenth or so
SMALL = 16 * 1024**2  # below this no ratio is a threat
_CHUNK = 1024**2

_MAGIC = (
    (b"\x1f\x8b", "gz"),
    (b"PK\x03\x04", "zip"),
    (b"PAR1", "parquet"),
    (b"ARROW1", "feather"),
    (b"FEA1", "feather"),
    (b"\x93NUMPY", "npy"),
)
# What zipfile and its decompressors raise of a file that is none: offsets, names, methods, data.
ZIP_ERRORS = (
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError,
    ValueError, IndexError, OverflowError, struct.error,
)  # fmt: skip
_WIDE_TEXT = {
    "utf-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    "utf-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}


@dataclass(frozen=True)
class Content:
    """One file in memory.

    Attributes
    ----------
    file_format
        ``csv``, ``json``, ``parquet``, ``feather`` or ``npy``, with ``.gz`` or ``.zip`` where
        packed.
    sha256
        Hash of the file as it lies on disk.
    data
        Its bytes, unpacked; text is UTF-8 without a byte-order mark.
    member
        Name of the file the bytes came from: inside a zip the packed one's, else the file's own.
        Some tools write the date or the kind of bars nowhere else.
    """

    path: Path
    file_format: str
    sha256: str
    data: bytes
    member: str

    @property
    def kind(self) -> str:
        """The format without its packing."""
        return self.file_format.partition(".")[0]


def read_content(path: Path | str) -> Content:
    """Read and unpack the file at ``path``.

    Raises
    ------
    DataError
        No regular file is there, it cannot be read, is empty, damaged, encrypted, larger than
        ``MAX_BYTES`` (packed or unpacked), text with a line longer than ``MAX_LINE_BYTES``, or
        neither text nor a known binary format.
    """
    file = Path(path)
    raw = _read_bytes(file)
    digest = hashlib.sha256(raw).hexdigest()
    packing = _magic(raw)
    if packing == "gz":
        return _content(file, ".gz", digest, _gunzip(file, raw), file.name)
    if packing == "zip":
        data, member = _unzip(file, raw)
        return _content(file, ".zip", digest, data, member)
    return _content(file, "", digest, raw, file.name)


def _read_bytes(file: Path) -> bytes:
    if "://" in str(file) or str(file).startswith(("http:", "https:", "s3:")):
        raise DataError("is an address, not a file; download it first", path=file)
    try:
        if not file.exists():
            raise DataError("there is no such file", path=file)
        if not file.is_file():
            raise DataError("is not a regular file; give the path of one data file", path=file)
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise DataError(f"holds {size:,} bytes; at most {MAX_BYTES:,} are read", path=file)
        with file.open("rb") as stream:
            raw = _bounded(file, stream, size)
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        raise DataError(f"cannot be read: {said}", path=file) from error
    if not raw:
        raise DataError("the file is empty (0 bytes)", path=file)
    return raw


def _bounded(file: Path, stream: IO[bytes] | gzip.GzipFile, packed: int) -> bytes:
    """Read piece by piece and stop where it gets too much, or where a line has no end.

    JSON may be one long line; it is held to a size of its own.
    """
    parts: list[bytes] = []
    size = line = 0
    kind = None
    does = "unpacks to" if isinstance(stream, gzip.GzipFile | zipfile.ZipExtFile) else "holds"
    while part := stream.read(_CHUNK):
        kind = kind or _kind_of_start(part)
        parts.append(part)
        size += len(part)
        end = part.rfind(b"\n")
        line = line + len(part) if end < 0 else len(part) - end - 1
        limit = MAX_JSON_BYTES if kind == "json" else MAX_BYTES
        if size > limit:
            raise DataError(f"{does} more than {limit:,} bytes; refused", path=file)
        if size > SMALL and size > MAX_RATIO * packed:
            raise DataError(f"unpacks to {MAX_RATIO} times its size and more; refused", path=file)
        if kind == "text" and line > MAX_LINE_BYTES and b"\r" not in part:
            raise DataError(
                f"has a line of more than {MAX_LINE_BYTES:,} bytes; is it a CSV file?", path=file
            )
    return b"".join(parts)


def _kind_of_start(start: bytes) -> str:
    """Tell text from JSON and from what has no lines, by how it starts."""
    wide = start.startswith(tuple(mark for marks in _WIDE_TEXT.values() for mark in marks))
    if _magic(start) is not None or wide or b"\x00" in start[:4096]:
        return "binary"
    return "json" if start.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"[", b"{") else "text"


def _magic(raw: bytes) -> str | None:
    return next((name for start, name in _MAGIC if raw.startswith(start)), None)


def _content(file: Path, packing: str, digest: str, data: bytes, member: str) -> Content:
    kind = _magic(data)
    if kind in ("gz", "zip"):
        raise DataError("is an archive inside an archive; unpack it once", path=file)
    if kind is not None:
        return Content(file, f"{kind}{packing}", digest, data, member)
    text = _utf8(file, data)
    start = text[:65_536].lstrip() or text.lstrip()
    if not start:
        raise DataError("the file holds no text", path=file)
    kind = "json" if start[:1] in (b"[", b"{") else "csv"
    return Content(file, f"{kind}{packing}", digest, text, member)


def _utf8(file: Path, data: bytes) -> bytes:
    """Return text as UTF-8 without a byte-order mark; refuse what is not text."""
    if data.startswith(codecs.BOM_UTF8):
        return data[len(codecs.BOM_UTF8) :]
    # The mark of UTF-32 begins with that of UTF-16, so it is looked for first.
    for name, marks in _WIDE_TEXT.items():
        if data.startswith(marks):
            try:
                return data.decode(name).encode()
            except UnicodeDecodeError as error:
                raise DataError(f"is damaged {name.upper()} text: {error}", path=file) from error
    if b"\x00" in data:
        raise DataError(
            "is neither text nor Parquet, Feather, gzip or zip; save it as CSV, Parquet or Feather",
            path=file,
        )
    return data


def _gunzip(file: Path, raw: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as stream:
            return _bounded(file, stream, len(raw))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"the gzip file is cut short or damaged: {error}", path=file) from error


def _unzip(file: Path, raw: bytes) -> tuple[bytes, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            member = _only_member(file, archive)
            with archive.open(member) as stream:
                return _bounded(file, stream, len(raw)), member.filename
    except ZIP_ERRORS as error:
        raise DataError(f"the zip file is cut short or damaged: {error}", path=file) from error


def _only_member(file: Path, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [
        item
        for item in archive.infolist()
        if not item.is_dir() and not item.filename.startswith("__MACOSX/")
    ]
    if len(members) != 1:
        raise DataError(
            f"the zip file holds {len(members)} files; give one with a single data file "
            "(a spreadsheet has to be saved as CSV)",
            path=file,
        )
    if members[0].flag_bits & 1:
        raise DataError("the zip file is encrypted; unpack it first", path=file)
    if stat.S_ISLNK(members[0].external_attr >> 16):
        raise DataError("the zip file holds a link, not a file", path=file)
    return members[0]
