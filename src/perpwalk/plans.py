"""Plans: what a strategy wants at each close, written down before the account is known.

Most strategies want an exposure that depends on the signal and on past prices only, or at most on
which side is held. Such wants are three columns, and the compiled account sizes and trades them by
itself (``perpwalk.recompute.recompute_plan``, ``perpwalk.sweeps``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from perpwalk.compiled_account import Plan, Sizing
from perpwalk.domain import FloatArray
from perpwalk.errors import UsageError
from perpwalk.finite import require_finite

__all__ = ["Plan", "Sizing", "as_plan"]

Wants = FloatArray | Sequence[FloatArray]


def as_plan(wants: Wants, bars: int) -> Plan:
    """Return what is wanted as columns of the compiled account.

    Parameters
    ----------
    wants
        Exposure at each close, a signed multiple of equity, NaN where things are left as they are;
        shape (bars,). Or three of them: while short, while flat, while long.
    bars
        How many bars are replayed.

    Raises
    ------
    UsageError
        Another shape, or an infinite exposure.
    """
    columns = [wants] if isinstance(wants, np.ndarray) and wants.ndim == 1 else list(wants)
    if len(columns) not in (1, 3):
        raise UsageError(f"a plan has one column, or three (short, flat, long), not {len(columns)}")
    made = [_column(column, bars) for column in columns]
    return Plan(*(made * 3 if len(made) == 1 else made))


def _column(values: Any, bars: int) -> FloatArray:
    column = np.ascontiguousarray(values, dtype=np.float64)
    if column.shape != (bars,):
        raise UsageError(f"a plan for {bars:,} bars has a column of shape {column.shape}")
    require_finite(
        column, "the exposure that a plan wants", "NaN leaves things as they are", missing=True
    )
    return column
