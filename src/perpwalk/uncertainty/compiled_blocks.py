"""Blocks of a stationary bootstrap and sums over them, compiled: a run draws tens of millions."""

from __future__ import annotations

import numba
import numpy as np

from perpwalk.domain import FloatArray, IntArray

BUCKETS = 1024  # of uniforms: each knows the shortest block it can mean
_PAIRWISE = 128  # numpy adds up to so many numbers in eight lanes


@numba.njit(cache=True, nogil=True)
def blocks_of_uniforms(
    uniforms: FloatArray, reached: FloatArray, shortest: IntArray, n: int, first: IntArray
) -> tuple[IntArray, int]:
    """Cut rows into blocks of geometric length, and at the beginning of each resample.

    Parameters
    ----------
    uniforms
        One per block: it is as long as there are chances in ``reached`` below it, and one more.
    reached
        The chance that a block has at most 1, 2, … rows.
    shortest
        Length of a block whose uniform is the lowest of each of ``BUCKETS``.
    n, first
        Rows of a resample; ``first`` is filled with the number of each resample's first block.

    Returns
    -------
    IntArray
        The lengths. Where a block of the draw begins with a resample, one of no rows precedes it.
    int
        The row up to which the draw came: it was too short where that is before the last.
    """
    lengths = np.empty(len(uniforms) + len(first), np.int64)
    total, last = n * len(first), len(reached) - 1
    edge, begun, blocks, resample = 0, 0, 0, 0
    for uniform in uniforms:
        place = shortest[int(uniform * BUCKETS)] - 1
        while place < last and uniform > reached[place]:
            place += 1
        edge += place + 1
        blocks, resample, begun = _cut(edge, n, total, lengths, first, blocks, resample, begun)
        if edge >= total:
            break
    lengths[blocks - 1] = total - begun
    return lengths[:blocks], edge


@numba.njit(cache=True, nogil=True)
def blocks_of_exponentials(
    exponentials: FloatArray, rate: float, n: int, first: IntArray
) -> tuple[IntArray, int]:
    """Do the same from exponentials: a block is as long as its own over ``rate``, rounded up."""
    lengths = np.empty(len(exponentials) + len(first), np.int64)
    total = n * len(first)
    edge, begun, blocks, resample = 0, 0, 0, 0
    for exponential in exponentials:
        # Longer than everything is long enough, and a number that an edge can be added to.
        edge += int(min(np.ceil(exponential / rate), float(total)))
        blocks, resample, begun = _cut(edge, n, total, lengths, first, blocks, resample, begun)
        if edge >= total:
            break
    lengths[blocks - 1] = total - begun
    return lengths[:blocks], edge


@numba.njit(inline="always")
def _cut(
    edge: int,
    n: int,
    total: int,
    lengths: IntArray,
    first: IntArray,
    blocks: int,
    resample: int,
    begun: int,
) -> tuple[int, int, int]:
    """Begin the resamples up to ``edge``, and a block there."""
    while resample < len(first) and resample * n <= edge:
        if blocks > 0:
            lengths[blocks - 1] = resample * n - begun
        begun = resample * n
        first[resample] = blocks
        blocks += 1
        resample += 1
    if edge < total:
        lengths[blocks - 1] = edge - begun
        begun = edge
        blocks += 1
    return blocks, resample, begun


@numba.njit(cache=True, nogil=True)
def sums_of_blocks(
    prefix: FloatArray, starts: IntArray, lengths: IntArray, first: IntArray
) -> FloatArray:
    """Return the sum over the blocks of each resample, added in the order of numpy's own sums.

    ``prefix[i]`` is the sum of the first ``i`` values, which follow each other twice.
    """
    sums = np.empty(len(first))
    longest = len(starts) - first[-1]
    for j in range(1, len(first)):
        longest = max(longest, first[j] - first[j - 1])
    parts = np.empty(longest)
    for j in range(len(first)):
        begin = first[j]
        count = (first[j + 1] if j + 1 < len(first) else len(starts)) - begin
        for i in range(count):
            start = starts[begin + i]
            parts[i] = prefix[start + lengths[begin + i]] - prefix[start]
        sums[j] = parts[0] + (_added(parts, 1, count - 1) if count > 1 else 0.0)
    return sums


@numba.njit("f8(f8[::1], i8, i8)", cache=True, nogil=True)
def _added(values: FloatArray, begin: int, count: int) -> float:
    """Add ``count`` values pairwise, in eight lanes below ``_PAIRWISE``."""
    total: float = 0.0
    if count < 8:
        for i in range(count):
            total += values[begin + i]
        return total
    if count <= _PAIRWISE:
        a, b, c, d = values[begin], values[begin + 1], values[begin + 2], values[begin + 3]
        e, f, g, h = values[begin + 4], values[begin + 5], values[begin + 6], values[begin + 7]
        whole = count - count % 8
        for i in range(begin + 8, begin + whole, 8):
            a += values[i]
            b += values[i + 1]
            c += values[i + 2]
            d += values[i + 3]
            e += values[i + 4]
            f += values[i + 5]
            g += values[i + 6]
            h += values[i + 7]
        total = ((a + b) + (c + d)) + ((e + f) + (g + h))
        for i in range(begin + whole, begin + count):
            total += values[i]
        return total
    half = count // 2
    half -= half % 8
    return float(_added(values, begin, half) + _added(values, begin + half, count - half))
