"""From a path to bytes: what kind of file it is by content, its hash, unpacked within bounds.

The name of a file says nothing here: a gzip file is known by its first bytes, so ``ohlcv.csv`` that
is really a Parquet file is read as Parquet.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from perpwalk.errors import DataError

MAX_BYTES = 2 * 1024**3  # of a file and of what it unpacks to: ten years of one-minute bars fit

_MAGIC = (
    (b"\x1f\x8b", "gz"),
    (b"PK\x03\x04", "zip"),
    (b"PAR1", "parquet"),
    (b"ARROW1", "feather"),
    (b"FEA1", "feather"),
    (b"\x93NUMPY", "npy"),
)
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
        ``MAX_BYTES`` (packed or unpacked), or neither text nor a known binary format.
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
        raw = file.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", path=file) from error
    if not raw:
        raise DataError("the file is empty (0 bytes)", path=file)
    return raw


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
            return _within_bounds(file, stream.read(MAX_BYTES + 1))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"the gzip file is cut short or damaged: {error}", path=file) from error


def _unzip(file: Path, raw: bytes) -> tuple[bytes, str]:
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            member = _only_member(file, archive)
            with archive.open(member) as stream:
                return _within_bounds(file, stream.read(MAX_BYTES + 1)), member.filename
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
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
    return members[0]


def _within_bounds(file: Path, data: bytes) -> bytes:
    if len(data) > MAX_BYTES:
        raise DataError(f"unpacks to more than {MAX_BYTES:,} bytes; refused", path=file)
    return data
