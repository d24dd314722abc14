"""A number that says how sure it is: value, interval, method, sample and, if undefined, why."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist

STANDARD_NORMAL = NormalDist()


def two_sided_z(confidence: float) -> float:
    """Return the standard normal quantile of a two-sided interval.

    >>> round(two_sided_z(0.95), 6)
    1.959964
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, found {confidence}")
    return STANDARD_NORMAL.inv_cdf(0.5 + confidence / 2)


def upper_tail(z: float) -> float:
    """Return P(Z > z) for a standard normal Z."""
    return STANDARD_NORMAL.cdf(-z)


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided interval and whether it was cut to the range of what it bounds (U007)."""

    low: float
    high: float
    clipped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One headline number with all that is needed to judge it.

    Attributes
    ----------
    value, low, high
        None where undefined; ``reason`` then says why.
    method
        How the interval was made, in words.
    n, n_eff
        Rows, and the number of independent rows they are worth.
    block, seed
        Mean block length in rows and seed of a bootstrap, else None.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    method: str = ""
    n: int = 0
    n_eff: float | None = None
    block: float | None = None
    seed: int | None = None
    reason: str | None = None
