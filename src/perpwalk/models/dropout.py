"""Dropout by hashing place and key: nothing drawn is stored, and a block can be dropped alone."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from perpwalk.domain import Float32Array
from perpwalk.models.cells import compiled

_f4 = np.float32


@numba.njit(inline="always")
def _hashed(place, key):  # type: ignore[no-untyped-def]
    """Return 32 random bits: "lowbias32" (C. Wellons).

    Cheaper than drawing and storing numbers, and the backward pass finds the same ones again.
    """
    x = np.uint32(np.uint32(place) + key)
    x ^= x >> np.uint32(16)
    x = np.uint32(x * np.uint32(0x7FEB352D))
    x ^= x >> np.uint32(15)
    x = np.uint32(x * np.uint32(0x846CA68B))
    x ^= x >> np.uint32(16)
    return x


@compiled
def _drop(values, key, below, scale, kept):  # type: ignore[no-untyped-def]
    """Write ``values`` × ``scale`` where the hash of place and ``key`` is < ``below``, 0 elsewhere.

    The arrays must be two: for one alone the compiled loop would take number by number.
    """
    for j in range(values.shape[0]):
        kept[j] = values[j] * scale if _hashed(j, key) < below else _f4(0)


@compiled
def _drop_in_place(values, key, below, scale):  # type: ignore[no-untyped-def]
    for j in range(values.shape[0]):
        values[j] = values[j] * scale if _hashed(j, key) < below else _f4(0)


@dataclass(frozen=True)
class Dropout:
    """Keeps each value with probability 1 − ``share`` and scales it up."""

    share: float

    @property
    def below(self) -> int:
        """Random 32-bit numbers below this keep their value."""
        return round((1 - self.share) * 2**32)

    @property
    def scale(self) -> float:
        """What a kept value is multiplied by, so that its mean stays."""
        return 2**32 / self.below

    def apply(
        self, values: Float32Array, key: int, kept: Float32Array | None = None, start: int = 0
    ) -> None:
        """Write the dropped-out ``values`` (n,) to ``kept`` (n,), or over themselves.

        The same ``key`` drops the same places; these are numbered from ``start``.
        """
        if self.below >= 2**32:
            if kept is not None:
                kept[...] = values
            return
        at = np.uint32((key + start) % 2**32), np.uint32(self.below), _f4(self.scale)
        if kept is None:
            _drop_in_place(values, *at)
        else:
            _drop(values, *at, kept)


def random_key(chance: np.random.Generator) -> int:
    """Return a random number of 32 bits."""
    return int(chance.integers(2**32, dtype=np.uint32))
