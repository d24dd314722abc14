"""Resamples of a stationary bootstrap, kept as their blocks.

Politis & Romano 1994: blocks of geometric length from random rows on, around the end to the start.
"""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from perpwalk.domain import FloatArray, Int32Array, IntArray

CHUNK_VALUES = 4_000_000  # resampled rows held at a time
KEPT_BLOCKS = 16_000_000  # of earlier resamples, of eight bytes each
SEARCH_FROM = 1 / 3  # numpy searches for the length of a block that is likelier to end


@dataclass(frozen=True, eq=False)
class Draws:
    """Some stationary-bootstrap resamples of ``n`` rows, kept as their blocks.

    Block ``i`` runs from row ``starts[i]`` over ``lengths[i]`` rows, around the end to the start;
    resample ``j`` consists of the blocks from ``first[j]`` on, and has ``n`` rows in all. A mean is
    then a sum over blocks of differences of one prefix sum, without touching single rows. Starts
    and lengths are 32-bit: they are what takes the memory and the time to walk through.
    """

    n: int
    starts: Int32Array
    lengths: Int32Array
    first: IntArray
    _known: dict[int, tuple[FloatArray, FloatArray]] = field(default_factory=dict, repr=False)

    def rows(self) -> IntArray:
        """Return the row numbers, shape (resamples, n)."""
        begins = np.cumsum(self.lengths) - self.lengths
        offset = np.repeat(self.starts - begins, self.lengths)
        rows: IntArray = np.arange(len(offset)) + offset
        rows[rows >= self.n] -= self.n
        return rows.reshape(len(self.first), self.n)

    def means(self, *columns: FloatArray) -> list[FloatArray]:
        """Return the mean of each column (shape (n,)) in each resample; of one array, once.

        Columns that are given together are walked through together, which costs hardly more than
        one of them.
        """
        new = {id(column): column for column in columns if id(column) not in self._known}
        for column, found in zip(new.values(), self._means(list(new.values())), strict=True):
            self._known[id(column)] = column, found  # held, so that its id stays its own
        return [self._known[id(column)][1].copy() for column in columns]

    def _means(self, columns: list[FloatArray]) -> Iterator[FloatArray]:
        # Compiled code is loaded only where something is resampled.
        from perpwalk.uncertainty.compiled_blocks import TOGETHER, sums_of_blocks

        for begin in range(0, len(columns), TOGETHER):
            part = columns[begin : begin + TOGETHER]
            # Centred, so that the prefix sums stay small and lose no digits to each other.
            levels = [float(column.mean()) for column in part]
            prefix = np.zeros((2 * self.n + 1, 2 if len(part) <= 2 else TOGETHER))
            for k, (column, level) in enumerate(zip(part, levels, strict=True)):
                prefix[1:, k] = np.cumsum(np.tile(column - level, 2))
            sums = sums_of_blocks(prefix, self.starts, self.lengths, self.first)
            for k, level in enumerate(levels):
                yield sums[k] / self.n + level


def draws_of(n: int, block: float, resamples: int, seed: int) -> Iterator[Draws]:
    """Yield resamples of ``n`` rows, so many at a time that their rows fit into memory.

    They depend on the arguments alone, and are kept for whoever asks next (``kept``).
    """
    if n * resamples / block > KEPT_BLOCKS / 2:
        yield from _drawn(n, block, resamples, seed)
        return
    asked = ("rows", n, block, resamples, seed)
    yield from kept(asked, lambda: tuple(_drawn(n, block, resamples, seed)))


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
    starts = rng.integers(0, n, size=len(lengths), dtype=np.int32)  # the numbers of wider integers
    return Draws(n, starts, lengths, first)


def _likely_blocks(rows: int, chance: float) -> int:
    """Return a number of blocks that will nearly always cover ``rows``."""
    return int(rows * chance * 1.05) + 16


Source = Callable[[int], FloatArray]
Cut = Callable[[FloatArray, int, IntArray], tuple[Int32Array, int]]


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


# ── kept for whoever asks next ───────────────────────────────────────────────────────────────────

Asked = tuple[str, int, float, int, int]  # what for, n, block, resamples, seed
_WANTED = 4096  # numbers of questions that are remembered
_LAST: dict[Asked, tuple[Draws, ...]] = {}
_ONCE: OrderedDict[Asked, None] = OrderedDict()
_OFTEN: OrderedDict[Asked, tuple[Draws, ...]] = OrderedDict()


def kept(asked: Asked, make: Callable[[], tuple[Draws, ...]]) -> tuple[Draws, ...]:
    """Return what ``make`` draws, from memory where the same was asked for before.

    The last resamples stay for the next figure of the same rows. Those that others ask for again
    stay while there is room, the ones not asked for longest leaving first: many series have no
    memory of their own and take the shortest blocks allowed, in each period and in each variant.
    """
    held = _LAST.get(asked) or _OFTEN.get(asked)
    if held is not None:
        if asked in _OFTEN:
            _OFTEN.move_to_end(asked)
        return tuple(replace(part, _known={}) for part in held)  # and no means of another's
    drawn = make()
    _LAST.clear()
    if asked in _ONCE:
        _OFTEN[asked] = drawn
        while sum(len(part.starts) for parts in _OFTEN.values() for part in parts) > KEPT_BLOCKS:
            _OFTEN.popitem(last=False)
    else:
        _LAST[asked] = drawn
        _ONCE[asked] = None
        if len(_ONCE) > _WANTED:
            _ONCE.popitem(last=False)
    return drawn
