"""Bytes like good ones and not good: by hypothesis for the short profile."""

from __future__ import annotations

from collections.abc import Sequence

from fuzz_targets import Target
from hypothesis import strategies as st

NUMBERS = (
    b"-1", b"0", b"1e400", b"99999999999999999999", b"null", b'""', b"[]", b"{}", b"true", b"nan",
)  # fmt: skip


def _changed(data: bytes, kind: int, place: int, token: bytes, raw: bytes, other: bytes) -> bytes:
    at = place % (len(data) + 1)
    if kind == 0:
        return data[:at] + raw + data[at + len(raw) :]
    if kind == 1:
        return data[:at] + data[at + 1 + len(raw) :]
    if kind == 2:
        return data[:at] + token + data[at:]
    if kind == 3:
        return data[:at] + token + data[at + len(token) :]
    if kind == 4:
        return data[:at] + other[place % (len(other) + 1) :]
    if kind == 5:
        return data[:at]
    if kind == 6:
        return data[:at] + data[at : at + 40] * 5 + data[at:]
    digits = [i for i, sign in enumerate(data) if 48 <= sign <= 57]
    if not digits:
        return data
    at = digits[place % len(digits)]
    return data[:at] + NUMBERS[place % len(NUMBERS)] + data[at + 1 :]


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Return a strategy for inputs of a target: good ones, changed in a few places."""
    seeds: Sequence[bytes] = [seed for seed in target.seeds() if seed] or [b"x"]
    tokens = target.tokens or NUMBERS
    change = st.tuples(
        st.integers(0, 7), st.integers(0, 2**16), st.sampled_from(tokens),
        st.binary(min_size=1, max_size=6), st.sampled_from(seeds),
    )  # fmt: skip

    def apply(drawn: tuple[bytes, list[tuple[int, int, bytes, bytes, bytes]]]) -> bytes:
        data, changes = drawn
        for one in changes:
            data = _changed(data, *one)
        return data

    many = st.lists(change, min_size=1, max_size=4)
    return st.tuples(st.sampled_from(seeds), many).map(apply)
