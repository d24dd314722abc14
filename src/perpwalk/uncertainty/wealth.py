"""Intervals of what a return series came to: growth, risk, and how deep it might fall.

Growth and the Sortino ratio are functions of means over bars: their intervals come from the
stationary bootstrap of those means; that of the volatility from the long-run error of squares. The
deepest drawdown is no such thing: it belongs to one path, and grows with the length of that path
even where nothing changes. It gets a *band* instead: where the deepest drawdown of another stretch
of the same length would lie.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from perpwalk.domain import FloatArray
from perpwalk.remembered import Remembered
from perpwalk.returns import drawdowns
from perpwalk.uncertainty.bootstrap import (
    OfMeans,
    Target,
    bootstrap_estimates,
    choose_block,
    stationary_variance_of_mean,
)
from perpwalk.uncertainty.draws import draw, kept
from perpwalk.uncertainty.estimate import Estimate, two_sided_z
from perpwalk.uncertainty.overlap import fixed_b_widening, long_run_variance

RESAMPLES = 2000
DRAWDOWN_RESAMPLES = 1000
SHORT_BLOCK = 10.0
LAG_SHARE, LEAST_ROWS = 0.1, 20
BIAS = "grows with the length of the path"


@dataclass(frozen=True, kw_only=True)
class Growth:
    """What a series of returns per bar came to, each figure with its interval.

    Attributes
    ----------
    total_return
        Compounded over the series. The interval is that of ``n`` bars at the true growth rate.
    volatility, sortino
        Per bar, not annualised.
    """

    total_return: Estimate
    volatility: Estimate
    sortino: Estimate


Found = TypeVar("Found")
_REMEMBERED = 128  # figures: several times those of one run


def _once(figure: Callable[[FloatArray, float, int, int], Found]) -> Callable[..., Found]:
    """Let figures of the same numbers be made once, whoever asks: a month that is a fold too.

    They are told apart by content: same bits in, same answer out.
    """
    known: Remembered[tuple[bytes, float, int, int], Found] = Remembered(_REMEMBERED)

    @functools.wraps(figure)
    def remembered(values: FloatArray, confidence: float, resamples: int, seed: int) -> Found:
        content = np.ascontiguousarray(values, dtype=np.float64)
        key = (hashlib.sha256(content.tobytes()).digest(), confidence, resamples, seed)
        return known.get(key, lambda: figure(values, confidence, resamples, seed))

    return remembered


def growth(
    returns: FloatArray, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Growth:
    """Estimate total return, volatility and Sortino ratio of simple returns per bar, shape (n,)."""
    return _growth(returns, confidence, resamples, seed)


@_once
def _growth(returns: FloatArray, confidence: float, resamples: int, seed: int) -> Growth:
    log_growth = _log(returns)
    n = len(returns)

    def missing(reason: str) -> Estimate:
        return Estimate(value=None, level=confidence, n=n, reason=reason)

    if log_growth is None or n < 2:
        why = "fewer than two bars" if n < 2 else "the account lost everything"
        return Growth(total_return=missing(why), volatility=missing(why), sortino=missing(why))
    targets = [Target.mean("log growth", log_growth)]
    loses = bool((returns < 0).any())
    if loses:
        targets.append(_sortino(returns))
    found, _ = bootstrap_estimates(
        targets, horizon=1, confidence=confidence, resamples=resamples, seed=seed
    )
    return Growth(
        total_return=_mapped(found[0], lambda rate: math.expm1(n * rate)),
        volatility=_volatility(returns, confidence),
        sortino=found[1] if loses else missing("no losing bar"),
    )


def _log(returns: FloatArray) -> FloatArray | None:
    """Return log growth per bar; None where a bar lost everything."""
    return None if (returns <= -1).any() else np.log1p(returns)


def _volatility(returns: FloatArray, confidence: float) -> Estimate:
    """Return the standard deviation (ddof 1) with an interval on the scale of its logarithm.

    Squares of returns cluster for long and have fat tails: resampled blocks cover 86 % where 95 %
    are claimed. The error here is the long-run one of the squares over a tenth of the rows, with
    the fixed-b factor of ``fixed_b_widening``.
    """
    n, value = len(returns), float(returns.std(ddof=1))
    squares = (returns - returns.mean()) ** 2
    found = Estimate(value=value, level=confidence, n=n, method="long-run error of the log")
    if value == 0 or n < LEAST_ROWS:
        return replace(found, reason="no variance" if value == 0 else "too few bars")
    lags = max(1, round(LAG_SHARE * n))
    error = math.sqrt(long_run_variance(squares, lags) / n) / (2 * value**2)
    half = two_sided_z(confidence) * fixed_b_widening(lags / n) * error
    return replace(found, low=value * math.exp(-half), high=value * math.exp(half))


def _sortino(returns: FloatArray) -> Target:
    """Return mean over downside deviation as a target."""
    losses = np.minimum(returns, 0.0) ** 2
    value = float(returns.mean()) / math.sqrt(float(losses.mean()))

    def ratio(mean: FloatArray, downside: FloatArray) -> FloatArray:
        found: FloatArray = mean / np.sqrt(np.where(downside > 0, downside, np.nan))
        return found

    return Target("Sortino ratio", value, OfMeans((returns, losses), ratio), returns)


def _mapped(found: Estimate, change: Callable[[float], float]) -> Estimate:
    """Return an estimate with a growing function applied to its value and bounds."""

    def changed(value: float | None) -> float | None:
        return None if value is None else change(value)

    return replace(
        found, value=changed(found.value), low=changed(found.low), high=changed(found.high)
    )


# ── drawdown ─────────────────────────────────────────────────────────────────────────────────────


def drawdown_band(
    returns: FloatArray,
    *,
    confidence: float = 0.95,
    resamples: int = DRAWDOWN_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the deepest drawdown, ≤ 0, and where that of another stretch of ``n`` bars would lie.

    Each resample is a path in blocks; its drift is moved by a draw of the mean's own error, because
    another stretch need not drift as this one did. The band is one for a new path, not an interval
    of a parameter: a longer stretch falls deeper.
    """
    return _drawdown_band(returns, confidence, resamples, seed)


@_once
def _drawdown_band(returns: FloatArray, confidence: float, resamples: int, seed: int) -> Estimate:
    n = len(returns)
    log_growth = _log(returns)
    if log_growth is None or n < 2:
        why = "fewer than two bars" if n < 2 else "the account lost everything"
        return Estimate(value=None, level=confidence, n=n, reason=why)
    block = choose_block(log_growth, 1)
    value = float(drawdowns(returns).min())
    if block.findings and n / block.length < 10:
        return Estimate(
            value=value, level=confidence, n=n, reason="fewer than ten blocks: no band can be made"
        )
    # Blocks of a few bars cost time and tell nothing that ten do not.
    length = max(block.length, min(SHORT_BLOCK, n / 50))
    drawn = _drawn_depths(log_growth, length, resamples, seed)
    tail = (1 - confidence) / 2
    low, high = (float(q) for q in np.quantile(drawn, [tail, 1 - tail]))
    return Estimate(
        value=value, low=low, high=high, level=confidence, n=n, block=length, seed=seed,
        method=f"band of another path of {n:,} bars ({BIAS}): stationary bootstrap, mean block "
        f"{length:.1f} rows, {resamples} resamples",
    )  # fmt: skip


def _drawn_depths(log_growth: FloatArray, block: float, resamples: int, seed: int) -> FloatArray:
    # Compiled code is loaded only where a band is asked for.
    from perpwalk.uncertainty.compiled_paths import deepest_of_blocks

    n, rng = len(log_growth), np.random.default_rng(seed)
    error = math.sqrt(max(stationary_variance_of_mean(log_growth, block), 0.0))
    drift = rng.normal(0.0, error, resamples)
    asked = ("paths", n, block, resamples, seed)  # the drift comes out of the same generator
    (paths,) = kept(asked, lambda: (draw(n, block, resamples, rng),))
    fall: FloatArray = deepest_of_blocks(
        log_growth, paths.starts, paths.lengths, paths.first, drift
    )
    return np.expm1(fall)


# ── trades ───────────────────────────────────────────────────────────────────────────────────────


def profit_factor(
    net_pnl: FloatArray, *, confidence: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Return gains over losses of trades in time order, shape (k,), by resampling trades."""
    return _profit_factor(net_pnl, confidence, resamples, seed)


@_once
def _profit_factor(net_pnl: FloatArray, confidence: float, resamples: int, seed: int) -> Estimate:
    n = len(net_pnl)
    gains, losses = np.maximum(net_pnl, 0.0), np.maximum(-net_pnl, 0.0)
    lost = float(losses.sum())
    if lost == 0:
        return Estimate(value=None, level=confidence, n=n, reason="no losing trade")
    value = float(gains.sum()) / lost

    def ratio(gained: FloatArray, given: FloatArray) -> FloatArray:
        found: FloatArray = gained / np.where(given > 0, given, np.nan)
        return found

    target = Target("profit factor", value, OfMeans((gains, losses), ratio), gains - value * losses)
    (found,), _ = bootstrap_estimates(
        [target], horizon=1, confidence=confidence, resamples=resamples, seed=seed
    )
    return _mapped(found, lambda ratio: max(ratio, 0.0))


def bounds(found: Estimate, scale: float = 1.0) -> tuple[float | None, float | None]:
    """Return both ends of an interval times ``scale``."""
    return (
        None if found.low is None else found.low * scale,
        None if found.high is None else found.high * scale,
    )
