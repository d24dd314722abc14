"""Two variants on the same rows: hits, losses, Sharpe ratios."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from perpwalk.domain import FloatArray
from perpwalk.uncertainty.estimate import upper_tail
from perpwalk.uncertainty.overlap import autocovariances, long_run_variance


@dataclass(frozen=True, slots=True)
class McNemar:
    """p-values of "both are right equally often" from the rows where exactly one is."""

    chi2: float
    p_chi2: float
    chi2_corrected: float
    p_corrected: float
    p_exact: float
    p_mid: float


def mcnemar(only_a: int, only_b: int) -> McNemar | None:
    """Compare two hit series by their discordant rows (McNemar 1947; mid-p Fagerland 2013).

    Independent rows only. None where the two never differ.
    """
    n = only_a + only_b
    if n == 0:
        return None
    from scipy.stats import binom

    gap = abs(only_a - only_b)
    chi2, corrected = gap**2 / n, max(gap - 1, 0) ** 2 / n
    fewer = min(only_a, only_b)
    exact = min(1.0, 2 * float(binom.cdf(fewer, n, 0.5)))
    mid = 2 * float(binom.cdf(fewer, n, 0.5)) - float(binom.pmf(fewer, n, 0.5))
    return McNemar(chi2, _chi2_tail(chi2), corrected, _chi2_tail(corrected), exact, min(1.0, mid))


def mcnemar_of_groups(gaps: FloatArray) -> float | None:
    """Return the p of "both are right equally often" of rows in groups (Obuchowski 1998).

    Rows of one group may have anything to do with each other, groups have not. ``gaps`` holds, per
    group, in how many rows only A is right minus in how many only B is; shape (groups,). None where
    they never differ. Of groups of one row it is McNemar's chi-square but for a factor 1 - 1 / n.
    """
    n, spread = len(gaps), float((gaps**2).sum())
    if spread == 0:
        return None
    return _chi2_tail((n - 1) / n * float(gaps.sum()) ** 2 / spread)


def _chi2_tail(value: float) -> float:
    return 2 * upper_tail(math.sqrt(value))


@dataclass(frozen=True, slots=True)
class DieboldMariano:
    """Difference in mean loss; ``bartlett`` says that the uniform kernel failed (U005)."""

    statistic: float
    corrected: float
    p_two_sided: float
    variance: float
    bartlett: bool


def diebold_mariano(
    loss_a: FloatArray, loss_b: FloatArray, horizon: int = 1
) -> DieboldMariano | None:
    """Compare two loss series, with the small-sample factor of Harvey, Leybourne & Newbold 1997.

    The uniform kernel over ``horizon`` - 1 lags can turn negative (Diebold & Mariano 1995): then
    Bartlett weights are used. None without variance or with fewer rows than lags.
    """
    difference = loss_a - loss_b
    n = len(difference)
    if n <= horizon + 1:
        return None
    gamma = autocovariances(difference, horizon - 1)
    variance = float(gamma[0] + 2 * gamma[1:].sum()) / n
    bartlett = variance < 0
    if bartlett:
        variance = long_run_variance(difference, horizon - 1) / n
    if variance <= 0:
        return None
    statistic = float(difference.mean()) / math.sqrt(variance)
    factor = math.sqrt((n + 1 - 2 * horizon + horizon * (horizon - 1) / n) / n)
    corrected = statistic * factor
    return DieboldMariano(statistic, corrected, _t_two_sided(corrected, n - 1), variance, bartlett)


def _t_two_sided(t: float, degrees: int) -> float:
    from scipy.special import stdtr

    return 2 * float(stdtr(degrees, -abs(t)))


@dataclass(frozen=True, slots=True)
class SharpeDifference:
    """Sharpe ratio of A minus that of B per period, with standard error, z and two-sided p."""

    difference: float
    error: float
    z: float
    p_two_sided: float


def ledoit_wolf(a: FloatArray, b: FloatArray, lags: int = 0) -> SharpeDifference | None:
    """Compare two Sharpe ratios by the delta method with Bartlett weights (Ledoit & Wolf 2008).

    Ratios use population moments, as in the paper. None below five rows or without variance.
    """
    n = len(a)
    if n < 5:
        return None
    mean_a, mean_b = float(a.mean()), float(b.mean())
    square_a, square_b = float((a**2).mean()), float((b**2).mean())
    var_a, var_b = square_a - mean_a**2, square_b - mean_b**2
    if var_a <= 0 or var_b <= 0:
        return None
    gradient = np.array(
        [square_a / var_a**1.5, -square_b / var_b**1.5,
         -mean_a / 2 / var_a**1.5, mean_b / 2 / var_b**1.5]
    )  # fmt: skip
    # The variance of the gradient's projection: the same quadratic form, one series instead of 4.
    moments = np.column_stack([a - mean_a, b - mean_b, a**2 - square_a, b**2 - square_b])
    variance = long_run_variance(moments @ gradient, lags) * n / (n - 4)
    if variance <= 0:
        return None
    difference = mean_a / math.sqrt(var_a) - mean_b / math.sqrt(var_b)
    error = math.sqrt(variance / n)
    return SharpeDifference(
        difference, error, difference / error, 2 * upper_tail(abs(difference / error))
    )
