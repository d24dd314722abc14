"""Universal Binary JSON as XGBoost writes it, read without trusting a byte of it.

Only what XGBoost 3 writes around its trees is taken: objects whose keys stand once, arrays that say
how long they are, texts, whole numbers. Every length is held against what is left of the content
before anything of that length is made. No library does this: those there are take the whole format,
and make lists of whatever length a file says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from perpwalk.strict import NotAsWrittenError

MAX_DEPTH = 12  # XGBoost's deepest is 7

_OBJECT, _END, _ARRAY, _TEXT, _LONG, _TYPED, _COUNTED = b"{}[SL$#"
_NUMBERS = b"iUIlLdD"
_FORMS = zip(b"iUIlL", (">b", ">B", ">h", ">i", ">q"), strict=True)
_WHOLE = {marker: struct.Struct(form) for marker, form in _FORMS}

Special = Mapping[str, Callable[["Reader"], Any]]


def parse(content: bytes, special: Special | None = None) -> Any:
    r"""Return the value that ``content`` holds: dicts, lists, texts, whole numbers.

    Parameters
    ----------
    special
        Keys whose values are read by a function of the reader's place.

    Raises
    ------
    NotAsWrittenError
        It is anything else, or goes on after its end.

    Examples
    --------
    >>> parse(b"{L" + bytes(7) + b"\x01aU\x05}")
    {'a': 5}
    """
    reader = Reader(content, special or {})
    try:
        found = reader.value(0)
    except (struct.error, IndexError) as error:
        raise NotAsWrittenError("is cut short") from error
    if reader.at != len(content):
        raise reader.wrong("goes on after its end")
    return found


class Reader:
    """A place ``at`` in the content, moved on by whatever is read."""

    def __init__(self, content: bytes, special: Special) -> None:
        self.content = content
        self.special = special
        self.at = 0

    def value(self, depth: int) -> Any:
        """Return the value that begins here."""
        if depth > MAX_DEPTH:
            raise self.wrong("is nested too deeply")
        marker = self.content[self.at]
        self.at += 1
        if marker == _OBJECT:
            return self._members(depth + 1)
        if marker == _ARRAY:
            return self._elements(depth + 1)
        if marker == _TEXT:
            return self._text()
        form = _WHOLE.get(marker)
        if form is None:
            raise self.wrong("holds a marker that XGBoost does not write")
        found = form.unpack_from(self.content, self.at)[0]
        self.at += form.size
        return found

    def _members(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while self.content[self.at] != _END:
            name = self._text()
            if name in found:
                raise self.wrong(f"holds '{name[:40]}' twice")
            read = self.special.get(name)
            found[name] = self.value(depth) if read is None else read(self)
        self.at += 1
        return found

    def _elements(self, depth: int) -> list[Any]:
        typed = self.content[self.at] == _TYPED
        if typed:
            if self.content[self.at + 1] not in _NUMBERS:
                raise self.wrong("holds an array of what are no numbers")
            self.at += 2
        count = self.count()
        if typed and count:  # numbers stand in trees only
            raise self.wrong("holds numbers where XGBoost writes none")
        return [self.value(depth) for _ in range(count)]

    def _text(self) -> str:
        count = self._length()
        raw = self.content[self.at : self.at + count]
        if not raw.isascii():
            raise self.wrong("holds text beyond ASCII")
        self.at += count
        return raw.decode("ascii")

    def count(self) -> int:
        """Return how many elements of an array follow."""
        if self.content[self.at] != _COUNTED:
            raise self.wrong("holds an array that does not say how long it is")
        self.at += 1
        return self._length()

    def _length(self) -> int:
        start = self.at + 1
        if self.content[self.at] != _LONG:
            raise self.wrong("holds a length of another type than XGBoost writes")
        self.at = start + 8
        count = int.from_bytes(self.content[start : self.at])
        if count > len(self.content) - self.at:
            raise self.wrong(f"says that {count:,} values follow, which do not fit,")
        return count

    def expect(self, sign: bytes) -> None:
        """Move on behind ``sign``, which must stand here."""
        if not self.content.startswith(sign, self.at):
            raise self.wrong(f"lacks {sign!r}")
        self.at += len(sign)

    def wrong(self, what: str) -> NotAsWrittenError:
        """Return the error that says what is wrong here."""
        return NotAsWrittenError(f"{what} (at byte {self.at:,})")


def key(name: str) -> bytes:
    """Return how the name of a member is written."""
    return b"L" + len(name).to_bytes(8) + name.encode("ascii")


def text(word: str) -> bytes:
    """Return how a text is written."""
    return b"S" + key(word)


def whole(number: int) -> bytes:
    r"""Return how XGBoost writes a whole number: short, but never at the very end of a range.

    >>> whole(126), whole(127)
    (b'i~', b'I\x00\x7f')
    """
    for marker, size in ((b"i", 1), (b"I", 2), (b"l", 4)):
        end = (1 << (8 * size - 1)) - 1
        if -end <= number < end:
            return marker + number.to_bytes(size, signed=True)
    return b"L" + number.to_bytes(8, signed=True)
