"""Blocks of a stationary bootstrap and sums over them, compiled: a run draws tens of millions."""

from __future__ import annotations

import numba
import numpy as np

from perpwalk import kernels
from perpwalk.domain import FloatArray, Int32Array, IntArray

BUCKETS = 1024  # of uniforms: each knows the shortest block it can mean
TOGETHER = 4  # columns that are summed in one pass


@kernels.kept(nogil=True)
def blocks_of_uniforms(
    uniforms: FloatArray, reached: FloatArray, shortest: IntArray, n: int, first: IntArray
) -> tuple[Int32Array, int]:
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
    int32 array
        The lengths. Where a block of the draw begins with a resample, one of no rows precedes it.
    int
        The row up to which the draw came: it was too short where that is before the last.
    """
    lengths = np.empty(len(uniforms) + len(first), np.int32)
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


@kernels.kept(nogil=True)
def blocks_of_exponentials(
    exponentials: FloatArray, rate: float, n: int, first: IntArray
) -> tuple[Int32Array, int]:
    """Do the same from exponentials: a block is as long as its own over ``rate``, rounded up."""
    lengths = np.empty(len(exponentials) + len(first), np.int32)
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
    lengths: Int32Array,
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


@kernels.kept(nogil=True)
def sums_of_blocks(
    prefix: FloatArray, starts: Int32Array, lengths: Int32Array, first: IntArray
) -> FloatArray:
    """Return the sum over the blocks of each resample, of each column; shape (columns, resamples).

    ``prefix[i]`` holds the sums of the first ``i`` rows, which follow each other twice, of two
    columns or of ``TOGETHER``: side by side, so that a block is two reads whatever their number.
    """
    sums = np.zeros((prefix.shape[1], len(first)))
    four = prefix.shape[1] == TOGETHER
    for j in range(len(first)):
        last = first[j + 1] if j + 1 < len(first) else len(starts)
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        if four:
            for i in range(first[j], last):
                begin = starts[i]
                end = begin + lengths[i]
                a += prefix[end, 0] - prefix[begin, 0]
                b += prefix[end, 1] - prefix[begin, 1]
                c += prefix[end, 2] - prefix[begin, 2]
                d += prefix[end, 3] - prefix[begin, 3]
            sums[2, j], sums[3, j] = c, d
        else:
            for i in range(first[j], last):
                begin = starts[i]
                end = begin + lengths[i]
                a += prefix[end, 0] - prefix[begin, 0]
                b += prefix[end, 1] - prefix[begin, 1]
        sums[0, j], sums[1, j] = a, b
    return sums
