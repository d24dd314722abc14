"""Decisions that share a stamp: contracts of one account move together, so a stamp is one draw.

Everything that resamples or adds up errors does so stamp by stamp. One contract is the case in
which every stamp has one row: all that is made here of its rows is those rows, to the bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from perpwalk.domain import BoolArray, FloatArray, IntArray, to_ns


@dataclass(frozen=True, eq=False)
class Stamps:
    """The stamp of each row, numbered from 0; rows are in order of time, shape (n,)."""

    number: IntArray

    @classmethod
    def of(cls, close_time: pd.DatetimeIndex) -> Stamps:
        """Return the stamps of ascending times."""
        return cls(_numbered(to_ns(close_time)))

    @property
    def count(self) -> int:
        """How many stamps there are."""
        return int(self.number[-1]) + 1 if len(self.number) else 0

    @property
    def shared(self) -> bool:
        """Whether any two rows have one stamp."""
        return self.count < len(self.number)

    @cached_property
    def sizes(self) -> FloatArray:
        """Rows of each stamp, shape (stamps,)."""
        return np.bincount(self.number, minlength=self.count).astype(np.float64)

    def sums(self, values: FloatArray) -> FloatArray:
        """Return the sum over each stamp's rows of ``values``, shape (n, K) → (stamps, K)."""
        starts = np.flatnonzero(np.diff(self.number, prepend=-1))
        added: FloatArray = np.add.reduceat(values, starts, axis=0)
        return added

    def pulls(self, values: FloatArray, level: FloatArray) -> FloatArray:
        """Return each stamp's pull on the mean over rows, shape (stamps, K).

        Their mean is ``level``, the rows' own mean, and their mean's error is that of the ratio
        "sum over rows / number of rows" to first order, also where contracts come and go. With as
        many rows at every stamp it is the stamp's mean.
        """
        per_stamp = len(self.number) / self.count
        found: FloatArray = self.sums(values) - np.outer(self.sizes - per_stamp, level)
        return found / per_stamp

    def groups(self, rows: BoolArray) -> IntArray | None:
        """Return the stamps of some rows, numbered anew; None where no two of them share one."""
        if not self.shared:
            return None
        chosen = _numbered(self.number[rows])
        return chosen if len(chosen) and chosen[-1] + 1 < len(chosen) else None


def _numbered(stamps: IntArray) -> IntArray:
    numbers: IntArray = np.cumsum(np.diff(stamps, prepend=stamps[:1]) != 0)
    return numbers
