"""Labels that are not the move after the decision.

Perturbation hardly sees them. The label audit (L001 to L006), the null market and the planted edge
do.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perpwalk.audit.leaking.reference import honest_labels
from perpwalk.domain import UNDEFINED_LABEL, LabelArray, LabelFrame, Market, frozen_array


def already_known(market: Market, horizon: int) -> LabelFrame:
    """Label the move that ends at the decision: one horizon too early."""
    return _moved(honest_labels(market, horizon), horizon)


def one_bar_late(market: Market, horizon: int) -> LabelFrame:
    """Label the move that begins one bar after the decision."""
    return _moved(honest_labels(market, horizon), -1)


def _moved(labels: LabelFrame, by: int) -> LabelFrame:
    label = np.roll(labels.label, by).copy()
    outside = slice(0, by) if by > 0 else slice(len(label) + by, None)
    label[outside] = UNDEFINED_LABEL
    return _with(labels, label)


def price_level(market: Market, horizon: int) -> LabelFrame:
    """Label the coming close itself instead of its move: ``close > 0``, always up.

    The predecessor's mistake, which made its accuracy 100 %.
    """
    labels = honest_labels(market, horizon)
    close = np.concatenate([market.bars.close[horizon:], np.full(horizon, np.nan)])
    level = np.where(np.isfinite(close), close > 0, UNDEFINED_LABEL)
    known = np.isfinite(labels.forward_return)
    made = _with(labels, np.where(known, level, UNDEFINED_LABEL).astype(np.int8))
    return replace(made, forward_return=frozen_array(np.where(known, close, np.nan)))


def one_class(market: Market, horizon: int) -> LabelFrame:
    """Label the size of the move instead of its sign: ``abs(move) > 0``."""
    labels = honest_labels(market, horizon)
    known = labels.label != UNDEFINED_LABEL
    return _with(labels, np.where(known, 1, UNDEFINED_LABEL).astype(np.int8))


def _with(labels: LabelFrame, label: LabelArray) -> LabelFrame:
    return replace(labels, label=frozen_array(label, np.int8))
