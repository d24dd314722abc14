"""Is there skill in the direction: tests on hits, and one on the money behind them.

A test that is 0/0 (one class of forecasts or of outcomes) is None: a verdict, not a number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perpwalk.domain import FloatArray
from perpwalk.uncertainty.estimate import upper_tail


@dataclass(frozen=True, slots=True)
class Hits:
    """The 2 × 2 table of what was forecast and what came."""

    up_called_up: int
    up_called_down: int
    down_called_up: int
    down_called_down: int

    @classmethod
    def of(cls, label: npt.ArrayLike, called_up: npt.ArrayLike) -> Hits:
        """Count a table from labels (0/1) and calls (bool), both of shape (n,)."""
        up = np.asarray(label) == 1
        called = np.asarray(called_up, dtype=bool)
        both = int((up & called).sum())
        ups, calls = int(up.sum()), int(called.sum())
        return cls(both, ups - both, calls - both, len(up) - ups - calls + both)

    @property
    def n(self) -> int:
        """Number of rows."""
        return sum(
            (self.up_called_up, self.up_called_down, self.down_called_up, self.down_called_down)
        )

    @property
    def one_sided(self) -> bool:
        """Whether outcomes or forecasts have one class only (or there are no rows)."""
        ups = self.up_called_up + self.up_called_down
        calls = self.up_called_up + self.down_called_up
        return ups in (0, self.n) or calls in (0, self.n)


@dataclass(frozen=True, slots=True)
class TestResult:
    """A statistic and its one-sided p (small: skill)."""

    __test__ = False  # not a test for pytest to collect

    statistic: float
    p_one_sided: float


def pesaran_timmermann(hits: Hits) -> TestResult | None:
    """Test whether forecasts and outcomes are independent (Pesaran & Timmermann 1992)."""
    if hits.one_sided:
        return None
    n = hits.n
    up = (hits.up_called_up + hits.up_called_down) / n
    called = (hits.up_called_up + hits.down_called_up) / n
    rate = (hits.up_called_up + hits.down_called_down) / n
    chance = up * called + (1 - up) * (1 - called)
    variance = chance * (1 - chance) / n - (
        ((2 * up - 1) ** 2 * called * (1 - called) + (2 * called - 1) ** 2 * up * (1 - up)) / n
        + 4 * up * called * (1 - up) * (1 - called) / n**2
    )
    if variance <= 0:
        return None
    statistic = (rate - chance) / math.sqrt(variance)
    return TestResult(statistic, upper_tail(statistic))


def henriksson_merton(hits: Hits) -> float | None:
    """Return the exact p of at least so many ups called up (Henriksson & Merton 1981)."""
    if hits.one_sided:
        return None
    from scipy.stats import hypergeom

    ups = hits.up_called_up + hits.up_called_down
    calls = hits.up_called_up + hits.down_called_up
    return float(hypergeom.sf(hits.up_called_up - 1, hits.n, calls, ups))


def anatolyev_gerko(sign: FloatArray, returns: FloatArray) -> TestResult | None:
    """Test whether the called sign earns money, not merely agrees (Anatolyev & Gerko 2005).

    ``sign`` is +1 or -1 and ``returns`` what followed, both of shape (n,); independent rows.
    """
    n = len(returns)
    if n < 3:
        return None
    gain = float((sign * returns).mean() - sign.mean() * returns.mean())
    calls_up = (1 + float(sign.mean())) / 2
    spread = float(((returns - returns.mean()) ** 2).sum())
    variance = 4 / n**2 * calls_up * (1 - calls_up) * spread
    if variance <= 0:
        return None
    statistic = gain / math.sqrt(variance)
    return TestResult(statistic, upper_tail(statistic))
