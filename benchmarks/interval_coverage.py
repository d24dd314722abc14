"""Do the intervals cover what they claim? Measured on markets whose truth has a closed form.

    OMP_NUM_THREADS=1 python benchmarks/interval_coverage.py --replications 500 --jobs 2

**Direction.** A persistent score ``s`` (autoregressive, 0.9, unit variance) drives a small part of
the next return: ``r = edge * s + sqrt(1 - edge²) * noise``. The label of a decision is the sign of
the sum of the next ``h`` returns, so labels overlap for ``h > 1``, while a persistent score keeps
its side for many bars: the hardest case for an interval. Score and move are jointly Gaussian with
correlation ρ, hence (Sheppard 1899) accuracy = 1/2 + asin(ρ) / π and
AUC = 1/2 + 2 asin(ρ / √2) / π.

**Money.** Net returns per bar with a constant mean, volatility that clusters (GARCH) and fat tails
(Student's t, 6 degrees of freedom), a standard deviation of 0.5 %. Truth: mean over unconditional
standard deviation; growth rate and downside deviation from four million bars; for the band of the
deepest drawdown, the drawdown of a fresh path of the same length, another one in each replication.

**Trades.** Independent results of 300 trades, won with a chance of 0.54 and of exponential size.

An interval passes where the count of covered replications lies within the two-sided 99.9 % band of
a binomial of 95 %: wide enough that a table of some twenty rows is clean nineteen times in twenty.
"""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from perpwalk.audit.estimates import Setting
from perpwalk.audit.evidence import AUC_RESAMPLES, RESAMPLES, fold_mean_auc
from perpwalk.metrics import Scored
from perpwalk.returns import max_drawdown
from perpwalk.uncertainty import wealth
from perpwalk.uncertainty.auc import delong_interval, placements
from perpwalk.uncertainty.bootstrap import Target, auc_of, bootstrap_estimates, sharpe_of
from perpwalk.uncertainty.estimate import Estimate
from perpwalk.uncertainty.overlap import estimated_vif
from perpwalk.uncertainty.proportions import wilson
from perpwalk.uncertainty.sharpe import sharpe_stats

CONFIDENCE = 0.95
BAND = 0.999
HORIZONS = (1, 4, 24)
EDGE, PERSISTENCE = 0.05, 0.9
MEAN, ALPHA, BETA, TAIL = 0.02, 0.05, 0.9, 6
SCALE = 0.005  # standard deviation of a bar's return where its size matters
TRADES, WON, GAIN = 300, 0.54, 1.1
BURN_IN = 500

Array = npt.NDArray[np.float64]
Bounds = tuple[float, float]
Replication = dict[str, Bounds]


@dataclass(frozen=True)
class Coverage:
    """How often one interval held the truth, and on which side it missed."""

    interval: str
    horizon: int
    truth: float
    replications: int
    covered: int
    too_low: int
    too_high: int
    width: float

    @property
    def share(self) -> float:
        """Share of replications whose interval held the truth."""
        return self.covered / self.replications

    @property
    def band(self) -> tuple[float, float]:
        """Where the share may lie if the interval covers what it claims."""
        return binomial_band(self.replications)

    @property
    def within(self) -> bool:
        """Whether it does."""
        return self.band[0] <= self.share <= self.band[1]


def binomial_band(replications: int, claimed: float = CONFIDENCE) -> tuple[float, float]:
    """Return the two-sided band of the covered share for an interval that is right."""
    from scipy.stats import binom

    tail = (1 - BAND) / 2
    low, high = binom.ppf([tail, 1 - tail], replications, claimed) / replications
    return float(low), float(high)


# ── direction ────────────────────────────────────────────────────────────────────────────────────


def direction_truth(horizon: int) -> dict[str, float]:
    """Return the true accuracy and AUC of the score for labels ``horizon`` bars ahead."""
    power = PERSISTENCE ** np.arange(horizon)
    shared = EDGE * power.sum()
    lags = np.arange(1, horizon)
    sum_variance = horizon + 2 * ((horizon - lags) * power[1:]).sum()
    variance = EDGE**2 * sum_variance + horizon * (1 - EDGE**2)
    rho = shared / math.sqrt(variance)
    return {
        "accuracy": 0.5 + math.asin(rho) / math.pi,
        "AUC": 0.5 + 2 * math.asin(rho / math.sqrt(2)) / math.pi,
        "accuracy over a constant call": math.asin(rho) / math.pi,
        "mean AUC of four folds": 0.5 + 2 * math.asin(rho / math.sqrt(2)) / math.pi,
    }


def score_and_move(rows: int, horizon: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return the score of each decision and the move over the next ``horizon`` bars."""
    from scipy.signal import lfilter

    shocks = rng.standard_normal(rows + horizon + BURN_IN)
    score = lfilter([math.sqrt(1 - PERSISTENCE**2)], [1, -PERSISTENCE], shocks)[BURN_IN:]
    noise = rng.standard_normal(len(score))
    path = np.concatenate([[0.0], np.cumsum(EDGE * score + math.sqrt(1 - EDGE**2) * noise)])
    return score[:rows], path[horizon : horizon + rows] - path[:rows]


def direction(rows: int, horizon: int, seed: int, effort: float = 1.0) -> Replication:
    """Return every interval of accuracy and AUC on one market."""
    score, move = score_and_move(rows, horizon, np.random.default_rng([1, horizon, seed]))
    up = move > 0
    hits = np.equal(score > 0, up).astype(np.float64)
    placed = placements(up, score)
    assert placed is not None
    influence = placed.influence(up)
    vif = 1.0 if horizon == 1 else estimated_vif(hits, horizon)
    auc_vif = 1.0 if horizon == 1 else estimated_vif(influence, horizon)
    shares = wilson(float(hits.sum()) / vif, rows / vif, CONFIDENCE)
    area = delong_interval(placed, CONFIDENCE, vif=auc_vif)
    assert shares is not None
    assert area is not None
    inflated = "" if horizon == 1 else " with estimated inflation"
    area_target = Target("AUC", placed.auc, auc_of(up, score), influence)
    beyond = hits - up
    return {
        f"accuracy: Wilson{inflated}": (shares.low, shares.high),
        f"AUC: DeLong{inflated}": (area.low, area.high),
        "accuracy: stationary bootstrap": bootstrapped(
            [Target.mean("accuracy", hits)], horizon, seed, effort * RESAMPLES
        )[0],
        "AUC: stationary bootstrap": bootstrapped(
            [area_target], horizon, seed, effort * AUC_RESAMPLES
        )[0],
        "accuracy over a constant call: stationary bootstrap": bootstrapped(
            [Target.mean("edge", beyond)], horizon, seed, effort * RESAMPLES
        )[0],
        f"mean AUC of four folds: DeLong{inflated}": _fold_mean(score, up, horizon),
    }


def _fold_mean(score: Array, up: npt.NDArray[np.bool_], horizon: int) -> Bounds:
    """Return the interval of the mean of four folds' AUCs, as the evidence makes it."""
    quarter = np.arange(len(up)) * 4 // len(up)
    stamps = pd.date_range("2024-01-01", periods=len(up), freq="h", tz="UTC")
    scored = Scored(
        close_time=stamps, fold=quarter, p_up=score, up=up, called_up=score > 0,
        forward_return=score,
    )  # fmt: skip
    found, _ = fold_mean_auc(scored, Setting(horizon=horizon, confidence=CONFIDENCE, seed=0))
    return _bounds(found)


def _bounds(found: Estimate) -> Bounds:
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def bootstrapped(
    targets: Sequence[Target], horizon: int, seed: int, resamples: float
) -> list[Bounds]:
    """Return the bootstrap interval of each number."""
    found, _ = bootstrap_estimates(
        targets, horizon=horizon, confidence=CONFIDENCE, resamples=round(resamples), seed=seed
    )
    return [_bounds(one) for one in found]


# ── money ────────────────────────────────────────────────────────────────────────────────────────


@functools.cache
def _long_run() -> tuple[float, float, float]:
    """Return log growth and standard deviation per bar, and the Sortino ratio, of a long series."""
    returns = np.concatenate(
        [SCALE * net_returns(200_000, np.random.default_rng([7, part])) for part in range(20)]
    )
    downside = math.sqrt(float((np.minimum(returns, 0) ** 2).mean()))
    return float(np.log1p(returns).mean()), float(returns.std()), SCALE * MEAN / downside


def money_truth(horizon: int) -> dict[str, float]:
    """Return the truths of the return series; those of total return are per bar."""
    del horizon
    rate, spread, sortino = _long_run()
    return {
        "Sharpe": MEAN, "mean return": MEAN, "total return (log, per bar)": rate,
        "volatility": spread, "Sortino": sortino, "deepest drawdown of another path": 0.0,
    }  # fmt: skip


def net_returns(rows: int, rng: np.random.Generator) -> Array:
    """Return returns of mean ``MEAN`` and unit variance with clustered volatility and fat tails."""
    shocks = rng.standard_t(TAIL, rows + BURN_IN) * math.sqrt((TAIL - 2) / TAIL)
    returns = np.empty(len(shocks))
    variance, last = 1.0, 0.0
    for i, shock in enumerate(shocks):
        variance = (1 - ALPHA - BETA) + ALPHA * last**2 + BETA * variance
        last = math.sqrt(variance) * shock
        returns[i] = MEAN + last
    return returns[BURN_IN:]


def money(rows: int, horizon: int, seed: int, effort: float = 1.0) -> Replication:
    """Return every interval of the Sharpe ratio and the mean return on one series."""
    returns = net_returns(rows, np.random.default_rng([2, seed]))
    stats = sharpe_stats(returns)
    assert stats is not None
    mertens = stats.interval(CONFIDENCE)
    sharpe = Target("Sharpe", stats.sharpe, sharpe_of(returns), returns)
    ratio, mean = bootstrapped(
        [sharpe, Target.mean("mean", returns)], horizon, seed, effort * RESAMPLES
    )
    scaled, draws = SCALE * returns, round(effort * RESAMPLES)
    grown = wealth.growth(scaled, confidence=CONFIDENCE, resamples=draws, seed=seed)
    total = _bounds(grown.total_return)
    return {
        "Sharpe: Mertens": (mertens.low, mertens.high),
        "Sharpe: stationary bootstrap": ratio,
        "mean return: stationary bootstrap": mean,
        "total return (log, per bar): stationary bootstrap": (
            math.log1p(total[0]) / rows, math.log1p(total[1]) / rows,
        ),
        "volatility: long-run error of the log": _bounds(grown.volatility),
        "Sortino: stationary bootstrap": _bounds(grown.sortino),
        "deepest drawdown of another path: band": _beyond_fresh(scaled, rows, seed, draws),
    }  # fmt: skip


def _beyond_fresh(returns: Array, rows: int, seed: int, draws: int) -> Bounds:
    """Return the drawdown's band less the drawdown of a fresh path: it holds 0 or misses it."""
    band = wealth.drawdown_band(returns, confidence=CONFIDENCE, resamples=draws, seed=seed)
    fresh = SCALE * net_returns(rows, np.random.default_rng([3, seed]))
    deepest = max_drawdown(fresh)
    low, high = _bounds(band)
    assert deepest is not None
    return low - deepest, high - deepest


# ── trades ───────────────────────────────────────────────────────────────────────────────────────


def trades_truth(horizon: int) -> dict[str, float]:
    """Return the true share of trades won, and gains over losses."""
    del horizon
    return {"win rate": WON, "profit factor": GAIN * WON / (1 - WON)}


def some_trades(rows: int, horizon: int, seed: int, effort: float = 1.0) -> Replication:
    """Return the intervals of the win rate and the profit factor of 300 trades."""
    del rows, horizon
    rng = np.random.default_rng([5, seed])
    won = rng.random(TRADES) < WON
    net = np.where(won, GAIN, -1.0) * rng.exponential(size=TRADES)
    rate = wilson(int(won.sum()), TRADES, CONFIDENCE)
    assert rate is not None
    factor = wealth.profit_factor(
        net, confidence=CONFIDENCE, resamples=round(effort * RESAMPLES), seed=seed
    )
    return {
        "win rate: Wilson": (rate.low, rate.high),
        "profit factor: stationary bootstrap of trades": _bounds(factor),
    }


# ── the table ────────────────────────────────────────────────────────────────────────────────────


def coverage_table(
    replications: int,
    *,
    rows: int = 4000,
    horizons: Sequence[int] = HORIZONS,
    jobs: int = 1,
    effort: float = 1.0,
) -> list[Coverage]:
    """Return the coverage of every interval in use.

    Parameters
    ----------
    rows
        Test decisions, or bars, per replication.
    jobs
        Processes.
    effort
        Share of the resamples that a run draws.
    """
    plan = [(direction, direction_truth, horizon) for horizon in horizons]
    plan += [(money, money_truth, 1), (some_trades, trades_truth, 1)]
    table: list[Coverage] = []
    for simulate, truths, horizon in plan:
        run = functools.partial(simulate, rows, horizon, effort=effort)
        table += _measure(run, truths(horizon), replications, horizon, jobs)
    return table


def _measure(
    simulate: Callable[[int], Replication],
    truth: dict[str, float],
    replications: int,
    horizon: int,
    jobs: int,
) -> Iterator[Coverage]:
    from joblib import Parallel, delayed

    found = Parallel(n_jobs=jobs)(delayed(simulate)(seed) for seed in range(replications))
    for name in found[0]:
        bounds = np.array([one[name] for one in found])
        true = truth[name.partition(":")[0]]
        low, high = bounds.T
        yield Coverage(
            interval=name,
            horizon=horizon,
            truth=true,
            replications=replications,
            covered=int(((low <= true) & (true <= high)).sum()),
            too_low=int((high < true).sum()),
            too_high=int((low > true).sum()),
            width=float(np.mean(high - low)),
        )


def as_markdown(table: Sequence[Coverage]) -> str:
    """Return the table as Markdown, one row per interval and horizon."""
    head = "| interval | horizon | covers | band | truth below / above it | mean width | |"
    lines = [head, "|---|---:|---:|---:|---:|---:|---|"]
    for one in table:
        low, high = one.band
        lines.append(
            f"| {one.interval} | {one.horizon} | {one.share:.1%} | {low:.1%} … {high:.1%} "
            f"| {one.too_high} / {one.too_low} | {one.width:.4f} "
            f"| {'holds' if one.within else 'FAILS'} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description="Coverage of every interval in use.")
    words.add_argument("--replications", type=int, default=500)
    words.add_argument("--rows", type=int, default=4000)
    words.add_argument("--jobs", type=int, default=1)
    given = words.parse_args()
    table = coverage_table(given.replications, rows=given.rows, jobs=given.jobs)
    print(f"{given.replications} replications of {given.rows} rows, {CONFIDENCE:.0%} intervals\n")
    print(as_markdown(table))


if __name__ == "__main__":
    main()
