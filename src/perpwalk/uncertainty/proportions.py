"""Proportions: hit rates and their intervals, and levels for many tests at once."""

from __future__ import annotations

import math

from perpwalk.uncertainty.estimate import Interval, two_sided_z


def wilson(hits: float, n: float, confidence: float = 0.95) -> Interval | None:
    """Return the Wilson score interval of a proportion (Wilson 1927), None without rows.

    Both counts may be fractional, so that ``n`` can be the effective number of rows. All correct
    gives an interval below 1, where a row bootstrap would return [1, 1].

    >>> interval = wilson(8155, 8155)
    >>> round(interval.low, 5), round(interval.high, 5)
    (0.99953, 1.0)
    """
    _check_counts(hits, n)
    if n == 0:
        return None
    z = two_sided_z(confidence)
    share = hits / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = 0.0 if hits == 0 else max(0.0, (centre - half) / scale)  # exact, not rounded
    high = 1.0 if hits == n else min(1.0, (centre + half) / scale)
    return Interval(low, high)


def clopper_pearson(hits: int, n: int, confidence: float = 0.95) -> Interval | None:
    """Return the exact binomial interval (Clopper & Pearson 1934), None without rows."""
    from scipy.special import betaincinv

    _check_counts(hits, n)
    if n == 0:
        return None
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - tail))
    return Interval(low, high)


def _check_counts(hits: float, n: float) -> None:
    if not 0 <= hits <= n:
        raise ValueError(f"{hits} hits of {n} rows is no proportion")


def sidak_level(alpha: float, tests: int) -> float:
    """Return the level per test that keeps the chance of any false alarm at ``alpha`` (Sidak 1967).

    >>> round(sidak_level(0.05, 12), 6)
    0.004265
    """
    return float(1 - (1 - alpha) ** (1 / tests))


def any_false_alarm(alpha: float, tests: int) -> float:
    """Return the chance that at least one of independent true nulls is rejected at ``alpha``."""
    return float(1 - (1 - alpha) ** tests)


def permutation_p(exceeding: int, permutations: int) -> float:
    """Return a permutation p-value, which is never 0 (Phipson & Smyth 2010)."""
    return (1 + exceeding) / (permutations + 1)
