"""Probability of backtest overfitting by combinatorially symmetric cross-validation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perpwalk.domain import FloatArray

BLOCKS = (6, 8, 10, 12, 14, 16)


@dataclass(frozen=True, eq=False)
class Overfitting:
    """``pbo``: how often the best in sample was below the median out of sample.

    ``blocks`` is the number of contiguous blocks the bars were cut into, ``splits`` how many ways
    there are to choose half of them.
    """

    pbo: float
    logits: FloatArray
    splits: int
    blocks: int


def probability_of_overfitting(
    returns: npt.NDArray[np.float64], blocks: int = 16
) -> Overfitting | None:
    """Return the PBO of a matrix of per-bar returns (Bailey, Borwein, López de Prado & Zhu 2017).

    Parameters
    ----------
    returns
        Shape (bars, variants), at least two variants, losing ones included.
    blocks
        Even number of contiguous blocks; rows that do not fill the last block are left out.

    Returns
    -------
    Overfitting or None
        None where there are fewer than two variants or two rows a block.
    """
    if blocks < 2 or blocks % 2:
        raise ValueError(f"blocks must be even and at least 2, found {blocks}")
    rows, variants = returns.shape
    size = rows // blocks
    if variants < 2 or size < 2:
        return None
    cut = returns[: size * blocks].reshape(blocks, size, variants)
    sums, squares = cut.sum(axis=1), (cut**2).sum(axis=1)
    picks = list(itertools.combinations(range(blocks), blocks // 2))
    chosen = np.zeros((len(picks), blocks))
    chosen[np.repeat(np.arange(len(picks)), blocks // 2), np.ravel(picks)] = 1
    half = size * blocks // 2
    inside = _sharpe(chosen @ sums, chosen @ squares, half)
    outside = _sharpe((1 - chosen) @ sums, (1 - chosen) @ squares, half)
    best = inside.argmax(axis=1)
    score = outside[np.arange(len(picks)), best][:, None]
    rank = 1 + (outside < score).sum(axis=1) + ((outside == score).sum(axis=1) - 1) / 2
    share = rank / (variants + 1)
    logits = np.log(share / (1 - share))
    return Overfitting(float((logits <= 0).mean()), logits, len(picks), blocks)


def overfitting_by_blocks(
    returns: npt.NDArray[np.float64], choices: Sequence[int] = BLOCKS
) -> tuple[Overfitting, ...]:
    """Return the PBO for each number of blocks that the bars allow, in the order given.

    The answer depends on how time is cut; shown for several cuts, a lucky one does not decide.
    Empty where there are fewer than two variants or too few bars for any of them.
    """
    found = (probability_of_overfitting(returns, blocks) for blocks in choices)
    return tuple(one for one in found if one is not None)


def _sharpe(total: FloatArray, squares: FloatArray, n: int) -> FloatArray:
    """Return mean / sd (ddof 1) from sums; 0 where nothing varies."""
    mean = total / n
    variance = np.maximum(squares - n * mean**2, 0) / (n - 1)
    safe = np.where(variance > 0, variance, 1.0)
    ratio: FloatArray = np.where(variance > 0, mean / np.sqrt(safe), 0.0)
    return ratio
