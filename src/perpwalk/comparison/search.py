"""What trying many variants does: SPA, StepM, confidence sets, deflated Sharpe, PBO.

Money is judged on net returns, calls on misses, forecasts on Brier losses, the last two stamp by
stamp where contracts share stamps. Long histories are added up to days first: means stay what they
are, and resampling 45,000 bars one library call at a time would take minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perpwalk.comparison import resampling
from perpwalk.comparison.data import Common
from perpwalk.comparison.measures import FLAT, HOLD, Measured
from perpwalk.domain import Finding, FloatArray, IntArray, Level, to_ns
from perpwalk.uncertainty import multiple
from perpwalk.uncertainty.bootstrap import choose_block
from perpwalk.uncertainty.overfitting import Overfitting, overfitting_by_blocks
from perpwalk.uncertainty.sharpe import (
    deflated_sharpe,
    expected_maximum,
    probabilistic_sharpe,
    sharpe_stats,
    variance_of_trials,
)

DAYS_ABOVE = 10_000  # rows; more are added up to days
_DAY_NS = 86_400_000_000_000
RETURNS, MISSES, BRIER, AUC = "returns", "misses", "brier", "auc"
STEPM, MCS, MAX_T = "StepM", "MCS", "max-t"


@dataclass(frozen=True, kw_only=True)
class Trials:
    """How often luck was tried: the count, in words, and the known ratios per bar."""

    count: int
    text: str
    sharpes: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Losses:
    """Losses of the variants on rows that they share, and the block they are resampled in.

    ``columns`` maps each variant to its column; variants whose losses are equal row by row share
    one, since nothing can tell them apart.
    """

    kind: str
    values: FloatArray
    columns: dict[str, int]
    block: float

    def named(self, members: Sequence[int]) -> set[str]:
        """Return the variants of the given columns."""
        return {name for name, column in self.columns.items() if column in members}


def losses(common: Common, kind: str) -> Losses | None:
    """Return the losses of one kind, None where the variants' labels make them unequal."""
    if kind != RETURNS and not common.same_labels:
        return None
    if kind == RETURNS:
        values, stamps = -common.returns, to_ns(common.bar_time)
    elif kind == MISSES:
        values, stamps = _by_stamp(1.0 - common.hits.astype(np.float64), common)
    else:
        values, stamps = _by_stamp((common.p_up - common.up) ** 2, common)
    values = _by_day(values, stamps)
    single, columns = _without_copies(values, common.names)
    overlap = 1 if len(values) < len(stamps) or kind == RETURNS else common.overlap
    return Losses(kind, single, columns, _block(single, overlap, kind))


def _by_stamp(values: FloatArray, common: Common) -> tuple[FloatArray, IntArray]:
    """Return losses of decisions stamp by stamp, their mean unchanged, and the stamps."""
    pulls = common.stamps.pulls(values, values.mean(axis=0))
    return pulls, np.unique(to_ns(common.close_time))


def _by_day(values: FloatArray, stamps: IntArray) -> FloatArray:
    if len(values) <= DAYS_ABOVE:
        return values
    starts = np.flatnonzero(np.diff((stamps - 1) // _DAY_NS, prepend=-1))
    added: FloatArray = np.add.reduceat(values, starts, axis=0)
    return added


def _without_copies(values: FloatArray, names: Sequence[str]) -> tuple[FloatArray, dict[str, int]]:
    seen: dict[bytes, int] = {}
    columns = {
        name: seen.setdefault(column.tobytes(), len(seen))
        for name, column in zip(names, values.T, strict=True)
    }
    first = {column: k for k, column in reversed(list(enumerate(columns.values())))}
    return values[:, [first[k] for k in range(len(seen))]], columns


def _block(values: FloatArray, horizon: int, kind: str) -> float:
    """Return the longest block that a variant or its distance to the mean of all asks for."""
    centred = values - values.mean(axis=1, keepdims=True)
    lengths = [choose_block(c, horizon, kind).length for c in (*values.T, *centred.T)]
    return max(1.0, min(max(lengths), len(values) / 10))


# ── better than a benchmark, and alike the best ──────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Search:
    """Rows of the tables ``spa`` and ``members``, and the sets behind them.

    ``better[benchmark]`` names who beats it, ``alike[kind]`` who cannot be told from the best,
    ``forecasts`` whose AUC is above chance. ``claim_level`` is the level of one of the two claims
    "better than noise" (money, forecasts): together they err in at most 1 - level of all cases.
    """

    spa: list[dict[str, Any]]
    members: list[dict[str, Any]]
    better: dict[str, set[str]]
    alike: dict[str, set[str]]
    forecasts: set[str]
    claim_level: float


def search(common: Common, measured: Measured, *, seed: int, reps: int) -> Search:
    """Run all tests for many variants at once."""
    alpha = 1 - measured.level
    found = Search([], [], {}, {}, set(), alpha / 2)
    money = losses(common, RETURNS)
    if money is not None:
        for benchmark, level in ((FLAT, alpha / 2), (HOLD, alpha)):
            _against(common, money, benchmark, level, found, seed, reps)
    for kind in (RETURNS, MISSES, BRIER):
        _confidence_set(common, losses(common, kind), kind, alpha, found, seed, reps)
    _forecasts(common, measured, found)
    return found


def _against(
    common: Common, money: Losses, benchmark: str, level: float, found: Search, seed: int, reps: int
) -> None:
    stamps = to_ns(common.bar_time)
    held = common.hold if benchmark == HOLD else np.zeros(len(stamps))
    base = _by_day(-held[:, None], stamps)[:, 0]
    # What equals the benchmark row by row has no variance against it, and does not beat it.
    differ = [k for k in range(money.values.shape[1]) if np.ptp(money.values[:, k] - base) > 0]
    found.better[benchmark] = set()
    if differ:
        models = money.values[:, differ]
        test, superior = multiple.spa_and_stepm(base, models, money.block, reps, seed, level)
        best = sorted(money.named([differ[test.best]]))[0]
        found.spa.append(
            {
                "loss": RETURNS, "benchmark": benchmark, "best": best, "p_lower": test.p_lower,
                "p": test.p_consistent, "p_upper": test.p_upper, "block": money.block,
                "reps": reps, "seed": seed,
            }
        )  # fmt: skip
        found.better[benchmark] = money.named([differ[k] for k in superior])
    found.members.extend(
        {"variant": name, "loss": RETURNS, "benchmark": benchmark, "method": STEPM,
         "member": name in found.better[benchmark], "level": level}
        for name in common.names
    )  # fmt: skip


def _confidence_set(
    common: Common,
    lost: Losses | None,
    kind: str,
    level: float,
    found: Search,
    seed: int,
    reps: int,
) -> None:
    if lost is None:
        return
    p_values = np.ones(lost.values.shape[1])
    if lost.values.shape[1] > 1:
        p_values = multiple.mcs(lost.values, lost.block, reps, seed, level).p_values
    found.alike[kind] = lost.named(np.flatnonzero(p_values > level).tolist())
    found.members.extend(
        {"variant": name, "loss": kind, "benchmark": "", "method": MCS,
         "member": name in found.alike[kind], "p": float(p_values[lost.columns[name]]),
         "level": level}
        for name in common.names
    )  # fmt: skip


def _forecasts(common: Common, measured: Measured, found: Search) -> None:
    auc = measured.resampled["auc"]
    for name, p in zip(common.names, resampling.above_chance(auc, 0.5), strict=True):
        known = bool(np.isfinite(p))
        if known and p < found.claim_level:
            found.forecasts.add(name)
        found.members.append(
            {"variant": name, "loss": AUC, "benchmark": "chance", "method": MAX_T,
             "member": name in found.forecasts if known else None,
             "p": float(p) if known else None, "level": found.claim_level}
        )  # fmt: skip


# ── deflated Sharpe ratios ───────────────────────────────────────────────────────────────────────


def deflated_rows(common: Common, trials: Trials, per_year: float) -> list[dict[str, Any]]:
    """Return each variant's Sharpe ratio deflated by the number of trials.

    Beside the count itself stands the number of independent trials it is worth: the effective rank
    (Roy & Vetterli 2007) of the correlations of the variants compared, the others counted whole.
    """
    worth = effective_rank(common.returns)
    alike = len(common.names) - worth
    effective = max(1.0, trials.count - alike)
    rows = []
    for k, name in enumerate(common.names):
        stats = sharpe_stats(common.returns[:, k])
        row: dict[str, Any] = {
            "variant": name, "trials": trials.count, "effective_trials": effective,
        }  # fmt: skip
        if stats is None:
            rows.append(row | {"reason": "the Sharpe ratio is undefined"})
            continue
        variance, method = variance_of_trials(np.array(trials.sharpes), trials.count, stats)
        scale = per_year**0.5
        rows.append(
            row
            | {
                "sharpe": stats.sharpe * scale,
                "undeflated": probabilistic_sharpe(stats),
                "deflated": deflated_sharpe(stats, trials.count, variance),
                "lucky": variance**0.5 * expected_maximum(trials.count) * scale,
                "deflated_effective": deflated_sharpe(stats, round(effective), variance),
                "method": method,
            }
        )
    return rows


def effective_rank(returns: FloatArray) -> float:
    """Return how many independent series ``returns`` (bars, variants) are worth.

    The exponential of the entropy of the correlation matrix' eigenvalues: K for K uncorrelated
    series, 1 for K copies of one.
    """
    moving = returns[:, np.ptp(returns, axis=0) > 0]
    if moving.shape[1] < 2:
        return float(max(1, moving.shape[1]))
    share = np.clip(np.linalg.eigvalsh(np.corrcoef(moving.T)), 0, None) / moving.shape[1]
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()))


# ── overfitting ──────────────────────────────────────────────────────────────────────────────────


def overfitting(common: Common) -> tuple[tuple[Overfitting, ...], tuple[Finding, ...]]:
    """Return the probability of backtest overfitting per number of blocks, and U011 if high."""
    single, _ = _without_copies(common.returns, common.names)
    found = overfitting_by_blocks(single)
    if not found or found[-1].pbo <= 0.5:
        return found, ()
    last = found[-1]
    return found, (
        Finding(
            code="U011",
            level=Level.WARN,
            where="comparison",
            message="choosing the best of these variants is probably overfitting",
            observed=f"PBO {last.pbo:.2f} over {last.splits:,} splits of {last.blocks} blocks",
            expected="at most 0.5",
            why="the best half of the time was more often below the middle in the other half",
            advice="do not choose among these variants by their results here",
        ),
    )
