"""Sharpe ratios: standard errors, annualisation, and what a search does to them.

All ratios are per period unless a name says ``annual``; moments are population moments, kurtosis is
raw (3 for a Gaussian). The 2012 form of the probabilistic Sharpe ratio is used by default, which
takes the variance at the observed ratio; the 2025/26 revision takes it at the null.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from perpwalk.domain import FloatArray
from perpwalk.uncertainty.estimate import STANDARD_NORMAL, Interval, two_sided_z

EULER_GAMMA = 0.5772156649015329
FLAT = 1e-14  # a standard deviation below this share of the largest value is rounding


@dataclass(frozen=True, slots=True)
class SharpeStats:
    """Sharpe ratio per period with the moments that its errors need."""

    sharpe: float
    skew: float
    kurtosis: float
    n: int

    def lo_error(self) -> float:
        """Return the standard error for independent Gaussian returns (Lo 2002)."""
        return math.sqrt((1 + self.sharpe**2 / 2) / self.n)

    def mertens_error(self) -> float:
        """Return the error that knows skew and fat tails (Mertens 2002, Opdyke 2007)."""
        return math.sqrt(_shape(self.sharpe, self.skew, self.kurtosis) / (self.n - 1))

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return the two-sided interval from the Mertens error, per period."""
        half = two_sided_z(confidence) * self.mertens_error()
        return Interval(self.sharpe - half, self.sharpe + half)


def sharpe_stats(returns: FloatArray) -> SharpeStats | None:
    """Return ``mean / sd`` (ddof 1) and moments; None below 3 rows or without variance."""
    n = len(returns)
    if n < 3:
        return None
    mean = float(returns.mean())
    sd = float(returns.std(ddof=1))
    if sd <= FLAT * max(abs(mean), float(np.abs(returns).max())):
        return None
    centred = (returns - mean) / float(returns.std())
    return SharpeStats(mean / sd, float((centred**3).mean()), float((centred**4).mean()), n)


def _shape(sharpe: float, skew: float, kurtosis: float) -> float:
    return 1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2


def probabilistic_sharpe(stats: SharpeStats, benchmark: float = 0.0) -> float:
    """Return the chance that the true ratio exceeds ``benchmark``.

    Bailey & López de Prado 2012.
    """
    return STANDARD_NORMAL.cdf((stats.sharpe - benchmark) / stats.mertens_error())


def minimum_track_record(
    stats: SharpeStats, benchmark: float = 0.0, confidence: float = 0.95
) -> float | None:
    """Return the periods needed to call the ratio above ``benchmark``; None if it is not."""
    if stats.sharpe <= benchmark:
        return None
    z = STANDARD_NORMAL.inv_cdf(confidence)
    shape = _shape(stats.sharpe, stats.skew, stats.kurtosis)
    return 1 + shape * (z / (stats.sharpe - benchmark)) ** 2


def expected_maximum(trials: int) -> float:
    """Return the expected best of ``trials`` independent null ratios of unit variance.

    >>> round(expected_maximum(10), 4)
    1.5746
    """
    if trials < 2:
        return 0.0
    quantile = STANDARD_NORMAL.inv_cdf
    return (1 - EULER_GAMMA) * quantile(1 - 1 / trials) + EULER_GAMMA * quantile(
        1 - 1 / (trials * math.e)
    )


def minimum_backtest_years(trials: int, target_annual: float = 1.0) -> float:
    """Return the years below which the best of ``trials`` null strategies reaches ``target``."""
    return (expected_maximum(trials) / target_annual) ** 2


def deflated_sharpe(stats: SharpeStats, trials: int, variance_of_trials: float) -> float:
    """Return the chance that the ratio beats the best of ``trials`` lucky ones.

    Bailey & López de Prado 2014. ``variance_of_trials`` is the variance, across trials, of their
    ratios per period.
    """
    luck = math.sqrt(variance_of_trials) * expected_maximum(trials)
    return probabilistic_sharpe(stats, luck)


def variance_of_trials(known: FloatArray, trials: int, stats: SharpeStats) -> tuple[float, str]:
    """Return the variance of the trials' ratios per period, and where it comes from.

    That of the ``known`` ratios where all ``trials`` are known. Where some are not (failed,
    declared, damaged), at least the sampling variance of the ratio itself, since unseen trials need
    not have been alike.
    """
    sampling = stats.mertens_error() ** 2
    observed = float(known.var(ddof=1)) if len(known) > 1 else 0.0
    if len(known) >= max(trials, 2):
        return observed, f"variance across the ratios of all {len(known)} trials"
    if observed > sampling:
        return observed, f"variance across the {len(known)} known ratios of {trials} trials"
    return sampling, f"sampling variance of the ratio ({len(known)} of {trials} ratios known)"


def probabilistic_sharpe_at_null(
    stats: SharpeStats, benchmark: float = 0.0, autocorrelation: float = 0.0
) -> float:
    """Return the 2025/26 form: variance at the null ratio, AR(1) returns (SSRN 5520741)."""
    error = _error_at(benchmark, stats, autocorrelation)
    return STANDARD_NORMAL.cdf((stats.sharpe - benchmark) / error)


def _error_at(sharpe: float, stats: SharpeStats, rho: float) -> float:
    a = (1 + rho) / (1 - rho)
    b = 1 + rho / (1 - rho) + rho**2 / (1 - rho**2)
    c = (1 + rho**2) / (1 - rho**2)
    variance = a - b * stats.skew * sharpe + c * (stats.kurtosis - 1) / 4 * sharpe**2
    return math.sqrt(variance / stats.n)


def annualisation_factor(periods: int, autocorrelations: FloatArray | None = None) -> float:
    """Return Lo's factor from a ratio per period to one over ``periods`` periods (Lo 2002).

    ``autocorrelations`` are those of lags 1 … ``periods`` - 1, missing ones 0; without them it is
    the square root of ``periods``.
    """
    if autocorrelations is None or len(autocorrelations) == 0:
        return math.sqrt(periods)
    lags = np.arange(1, min(periods, len(autocorrelations) + 1))
    dependence = 2 * float((periods - lags) @ autocorrelations[: len(lags)])
    if periods + dependence <= 0:
        return math.sqrt(periods)
    return periods / math.sqrt(periods + dependence)
