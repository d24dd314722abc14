"""Resamples of a stationary bootstrap, kept as their blocks.

Politis & Romano 1994: blocks of geometric length from random rows on, around the end to the start.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from perpwalk.domain import FloatArray, IntArray

CHUNK_VALUES = 4_000_000  # resampled rows held at a time
KEPT_BLOCKS = 5_000_000  # of the last resamples: 80 MB
SEARCH_FROM = 1 / 3  # numpy searches for the length of a block that is likelier to end


@dataclass(frozen=True, eq=False)
class Draws:
    """Some stationary-bootstrap resamples of ``n`` rows, kept as their blocks.

    Block ``i`` runs from row ``starts[i]`` over ``lengths[i]`` rows, around the end to the start;
    resample ``j`` consists of the blocks from ``first[j]`` on, and has ``n`` rows in all. A mean is
    then a sum over blocks of differences of one prefix sum, without touching single rows.
    """

    n: int
    starts: IntArray
    lengths: IntArray
    first: IntArray
    _known: dict[int, tuple[FloatArray, FloatArray]] = field(default_factory=dict, repr=False)

    def rows(self) -> IntArray:
        """Return the row numbers, shape (resamples, n)."""
        begins = np.cumsum(self.lengths) - self.lengths
        offset = np.repeat(self.starts - begins, self.lengths)
        rows: IntArray = np.arange(len(offset)) + offset
        rows[rows >= self.n] -= self.n
        return rows.reshape(len(self.first), self.n)

    def means(self, values: FloatArray) -> FloatArray:
        """Return the mean of ``values`` (shape (n,)) in each resample; of one array, once."""
        if id(values) not in self._known:
            self._known[id(values)] = values, self._means(values)  # held, so that its id stays its
        return self._known[id(values)][1].copy()

    def _means(self, values: FloatArray) -> FloatArray:
        # Compiled code is loaded only where something is resampled.
        from perpwalk.uncertainty.compiled_blocks import sums_of_blocks

        # Centred, so that the prefix sums stay small and lose no digits to each other.
        level = float(values.mean())
        prefix = np.concatenate([[0.0], np.cumsum(np.tile(values - level, 2))])
        sums = sums_of_blocks(prefix, self.starts, self.lengths, self.first)
        means: FloatArray = sums / self.n + level
        return means


def draws_of(n: int, block: float, resamples: int, seed: int) -> Iterator[Draws]:
    """Yield resamples of ``n`` rows, so many at a time that their rows fit into memory.

    They depend on the arguments alone. The last ones are kept while they are few: figures of the
    same rows are often asked for one after the other.
    """
    asked = (n, block, resamples, seed)
    known = _LAST.get(asked)
    if known is not None:
        yield from known
        return
    drawn = _drawn(n, block, resamples, seed)
    if n * resamples / block > KEPT_BLOCKS:
        yield from drawn
        return
    known = tuple(drawn)
    _LAST.clear()
    _LAST[asked] = known
    yield from known


def _drawn(n: int, block: float, resamples: int, seed: int) -> Iterator[Draws]:
    rng = np.random.default_rng(seed)
    at_once = max(1, CHUNK_VALUES // max(n, 1))
    for done in range(0, resamples, at_once):
        yield draw(n, block, min(at_once, resamples - done), rng)


def draw(n: int, block: float, resamples: int, rng: np.random.Generator) -> Draws:
    """Return resamples of ``n`` rows in blocks of geometric length with mean ``block``.

    A resample begins a block of its own; where one begins there anyway, the first has no length.
    The numbers are those of ``rng.geometric`` and ``rng.integers``.
    """
    chance, total = 1 / block, n * resamples
    source, cut = _uniforms(chance, rng) if chance >= SEARCH_FROM else _exponentials(chance, rng)
    first = np.empty(resamples, dtype=np.int64)
    drawn = source(_likely_blocks(total, chance))
    lengths, reached = cut(drawn, n, first)
    while reached < total:
        drawn = np.concatenate([drawn, source(_likely_blocks(total - reached, chance))])
        lengths, reached = cut(drawn, n, first)
    return Draws(n, rng.integers(0, n, size=len(lengths)), lengths, first)


def _likely_blocks(rows: int, chance: float) -> int:
    """Return a number of blocks that will nearly always cover ``rows``."""
    return int(rows * chance * 1.05) + 16


_LAST: dict[tuple[int, float, int, int], tuple[Draws, ...]] = {}
Source = Callable[[int], FloatArray]
Cut = Callable[[FloatArray, int, IntArray], tuple[IntArray, int]]


def _uniforms(chance: float, rng: np.random.Generator) -> tuple[Source, Cut]:
    from perpwalk.uncertainty.compiled_blocks import blocks_of_uniforms

    reached, shortest = _lengths_by_uniform(chance)
    return rng.random, lambda drawn, n, first: blocks_of_uniforms(
        drawn, reached, shortest, n, first
    )


def _exponentials(chance: float, rng: np.random.Generator) -> tuple[Source, Cut]:
    from perpwalk.uncertainty.compiled_blocks import blocks_of_exponentials

    rate = -math.log1p(-chance)
    return rng.standard_exponential, lambda drawn, n, first: blocks_of_exponentials(
        drawn, rate, n, first
    )


@functools.lru_cache(maxsize=256)
def _lengths_by_uniform(chance: float) -> tuple[FloatArray, IntArray]:
    """Return the chance of at most 1, 2, … rows, and the length that each bucket begins with."""
    from perpwalk.uncertainty.compiled_blocks import BUCKETS

    reached, exactly = [chance], chance
    while exactly > 0 and reached[-1] + exactly * (1 - chance) > reached[-1]:
        exactly *= 1 - chance
        reached.append(reached[-1] + exactly)
    lowest = np.arange(BUCKETS) / BUCKETS
    shortest: IntArray = np.searchsorted(np.array(reached), lowest, side="left") + 1
    return np.array(reached), np.minimum(shortest, len(reached))
