"""The deepest drawdown of many resampled paths, compiled: tens of millions of steps in a blink."""

from __future__ import annotations

import numpy as np

from perpwalk import kernels
from perpwalk.domain import FloatArray, Int32Array, IntArray


@kernels.kept()
def deepest_of_blocks(
    log_growth: FloatArray,
    starts: Int32Array,
    lengths: Int32Array,
    first: IntArray,
    drift: FloatArray,
) -> FloatArray:
    """Return the deepest fall of log wealth from its high, ≤ 0, of each resample; shape (k,).

    Blocks are those of ``bootstrap.Draws``: block ``i`` runs from row ``starts[i]`` over
    ``lengths[i]`` rows, around the end to the start; resample ``j`` begins with block
    ``first[j]``. ``drift[j]`` is added to every step of resample ``j``.
    """
    rows, paths = len(log_growth), len(first)
    depth = np.zeros(paths)
    for j in range(paths):
        last = first[j + 1] if j + 1 < paths else len(starts)
        wealth, high, deepest = 0.0, 0.0, 0.0
        for block in range(first[j], last):
            row = starts[block]
            for _ in range(lengths[block]):
                wealth += log_growth[row] + drift[j]
                row = row + 1 if row + 1 < rows else 0
                high = max(high, wealth)
                deepest = min(deepest, wealth - high)
        depth[j] = deepest
    return depth
