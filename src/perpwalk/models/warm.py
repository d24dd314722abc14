"""Starting from the fold before instead of from chance: what is carried over, what is learned.

Selection and scaling are fitted anew in each fold. A column that both folds have keeps its weights,
rescaled so that the network computes what it did; a column that is new starts with weights of zero,
one that is gone takes its weights with it (its mean was zero). Where fewer than half of the columns
were known before, the fit starts afresh and says so.

Learned are the decisions after the last one the network has learned from, and a share of the
others, drawn in blocks. No bar of a test span has ever been learned from or stopped on: the fold
before saw nothing after its own validation span, which ends before its test span and so before this
one's. But its training stopped where *its* validation loss was lowest, and most of these bars are
validated on again now (or, with stacking, are the trees' train rows). So the validation loss of the
carried weights is a little too good, and training may stop a little early; the test is not touched.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from perpwalk.models.base import Carried, Sample
from perpwalk.models.network import Embedder

BLOCK = 64  # decisions drawn together: a stretch of the stream mode, two and a half days of hours
LEAST_KNOWN = 0.5

log = logging.getLogger(__name__)


def embedder_of(carried: Carried | None) -> Embedder | None:
    """Return the network to start from; None where there is none, or too few columns are known."""
    embedder = None if carried is None else getattr(carried.model, "embedder", None)
    if carried is None or not isinstance(embedder, Embedder) or embedder.learned_until is None:
        return None
    known = int((carried.columns >= 0).sum())
    if known < LEAST_KNOWN * len(carried.columns):
        log.warning(
            "only %d of %d selected features were known to the fold before: this fit starts afresh",
            known,
            len(carried.columns),
        )
        return None
    return embedder


def carried_weights(embedder: Embedder, carried: Carried) -> dict[str, Tensor]:
    """Return weights that compute on the new table what ``embedder`` does on the old one."""
    weights = {name: weight.double() for name, weight in embedder.weights.items()}
    into = weights["lstm.weight_ih_l0"]
    known = torch.from_numpy(carried.columns >= 0)
    old = into[:, torch.from_numpy(np.maximum(carried.columns, 0))] * known
    weights["lstm.weight_ih_l0"] = old * torch.from_numpy(carried.ratio)
    weights["lstm.bias_ih_l0"] = weights["lstm.bias_ih_l0"] + old @ torch.from_numpy(carried.shift)
    return {name: weight.float() for name, weight in weights.items()}


def new_and_replayed(train: Sample, learned_until: int, replay: float, seed: int) -> Sample:
    """Return the decisions after bar number ``learned_until``, and blocks of those before.

    >>> values = np.zeros((400, 1), np.float32)
    >>> train = Sample(values, np.arange(400), np.zeros(400, np.int8))
    >>> some = new_and_replayed(train, learned_until=255, replay=0.5, seed=0)
    >>> len(some), len(some.rows[some.rows > 255])
    (272, 144)
    """
    number = train.rows if train.clock is None else train.clock[train.rows]
    new = number > learned_until
    block = (np.cumsum(~new) - 1) // BLOCK
    blocks = np.unique(block[~new])
    chance = np.random.default_rng([seed, BLOCK])
    drawn = chance.permutation(blocks)[: round(replay * len(blocks))]
    return train.part(new | np.isin(block, drawn) & ~new)
