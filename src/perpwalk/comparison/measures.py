"""Every statistic of variants and benchmarks on the common set, resampled jointly.

One bootstrap over the common decisions and one over the common bars serve all intervals and all
pairwise differences.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perpwalk import returns as growth
from perpwalk.comparison import resampling
from perpwalk.comparison.data import Common
from perpwalk.comparison.resampling import Measure, Resampled, Series
from perpwalk.domain import Finding, FloatArray
from perpwalk.uncertainty import wealth
from perpwalk.uncertainty.auc import Placements, placements
from perpwalk.uncertainty.sharpe import sharpe_stats

# With a blank in each, so that no variant can be called the same.
HOLD, FLAT = "buy and hold", "flat account"
PERSISTENCE, MAJORITY = "last move", "commoner side"
BENCHMARKS = (HOLD, FLAT, PERSISTENCE, MAJORITY)

# Whether more of it is better.
BIGGER_IS_BETTER = {
    "accuracy": True, "auc": True, "brier": False, "total_return": True, "mean_return": True,
    "sharpe": True, "sortino": True, "cagr": True, "calmar": True, "max_drawdown": True,
    "volatility": False, "exposure": True, "turnover": False, "trades": False, "fees": False,
    "slippage": False, "funding": True,
}  # fmt: skip
DIRECTION = ("accuracy", "auc", "brier")
ANNUALISED = ("sharpe", "sortino", "volatility")
_FACT = "added up from the book: no estimate"


@dataclass(frozen=True, eq=False)
class Measured:
    """Statistics by name, each resampled; ``per_year`` bars a year."""

    resampled: Mapping[str, Resampled]
    level: float
    seed: int
    per_year: float
    findings: tuple[Finding, ...]

    def scale(self, metric: str) -> float:
        """Return what turns a value per bar into the one shown."""
        return math.sqrt(self.per_year) if metric in ANNUALISED else 1.0

    def of(self, metric: str, name: str) -> tuple[Resampled, int] | None:
        """Return a statistic and the column of ``name`` in it; None where it has none."""
        found = self.resampled.get(metric)
        if found is None or name not in found.series.names:
            return None
        return found, found.series.names.index(name)


def measure(
    common: Common, *, level: float, seed: int, resamples: int = resampling.RESAMPLES
) -> Measured:
    """Compute and resample every statistic of the variants and benchmarks."""
    found: dict[str, Resampled] = {}
    findings: list[Finding] = []
    for statistics, horizon in ((_direction(common), common.overlap), (_money(common), 1)):
        block, told = resampling.shared_block([one for one, _ in statistics], horizon)
        found |= resampling.resample(
            statistics, block=block, horizon=horizon, seed=seed, resamples=resamples
        )
        findings += told
    return Measured(found, level, seed, growth.bars_per_year(common.interval), tuple(findings))


# ── direction ────────────────────────────────────────────────────────────────────────────────────


def _direction(common: Common) -> list[tuple[Series, Measure]]:
    hits, names = rule_hits(common)
    brier = (common.p_up - common.up) ** 2
    placed = all_placements(common)
    value = np.array([np.nan if one is None else one.auc for one in placed])
    influence = np.column_stack(
        [
            np.zeros(len(common.up)) if one is None else one.influence(common.up[:, k])
            for k, one in enumerate(placed)
        ]
    )
    pulls = common.stamps.pulls(influence, np.zeros(len(common.names)))
    return [
        _mean("accuracy", names, hits, common),
        _mean("brier", common.names, brier, common),
        (
            Series("auc", common.names, value, pulls, common.p_up),
            resampling.aucs(common.up, common.p_up, common.stamps.number),
        ),
    ]


def _mean(
    metric: str, names: tuple[str, ...], values: FloatArray, common: Common
) -> tuple[Series, Measure]:
    """Return the mean of ``values`` over the decisions, shape (n, K)."""
    level, stamps = values.mean(axis=0), common.stamps
    series = Series(metric, names, level, stamps.pulls(values, level), values)
    sizes = stamps.sizes if stamps.shared else None
    return series, resampling.means(stamps.sums(values), sizes)


def rule_hits(common: Common) -> tuple[FloatArray, tuple[str, ...]]:
    """Return hits of the variants and, on equal labels, of two rules that need no model.

    Each of several contracts has its own commoner side.
    """
    columns, names = [common.hits], list(common.names)
    if common.same_labels:
        up = common.up[:, 0]
        decided = np.maximum(np.bincount(common.contract), 1)
        rose = np.bincount(common.contract, weights=up) / decided
        columns.append((up == (rose >= 0.5)[common.contract])[:, None])
        names.append(MAJORITY)
        if common.persistence is not None:
            columns.append(common.persistence[:, None])
            names.append(PERSISTENCE)
    return np.concatenate(columns, axis=1).astype(np.float64), tuple(names)


def all_placements(common: Common) -> list[Placements | None]:
    """Return the placement values of each variant's forecasts; equal ones are computed once."""
    known: dict[bytes, Placements | None] = {}
    found = []
    for k in range(len(common.names)):
        up, score = common.up[:, k], common.p_up[:, k]
        key = up.tobytes() + score.tobytes()
        if key not in known:
            known[key] = placements(up, score)
        found.append(known[key])
    return found


# ── money ────────────────────────────────────────────────────────────────────────────────────────


def with_benchmarks(common: Common) -> tuple[FloatArray, tuple[str, ...]]:
    """Return net returns per bar of the variants, of holding and of doing nothing."""
    flat = np.zeros((len(common.hold), 1))
    returns = np.concatenate([common.returns, common.hold[:, None], flat], axis=1)
    return returns, (*common.names, HOLD, FLAT)


def _money(common: Common) -> list[tuple[Series, Measure]]:
    returns, names = with_benchmarks(common)
    mean = returns.mean(axis=0)
    ratio = np.array([_sharpe(column) for column in returns.T])
    downside = np.sqrt((np.minimum(returns, 0) ** 2).mean(axis=0))
    sortino = np.where(downside > 0, mean / np.where(downside > 0, downside, 1), np.nan)
    grown = np.log1p(np.maximum(returns, -1 + 1e-12))
    return [
        (Series("mean_return", names, mean, returns, returns), resampling.means(returns)),
        (Series("sharpe", names, ratio, returns, returns), resampling.sharpes(returns)),
        (Series("sortino", names, sortino, returns, returns), resampling.sortinos(returns)),
        (
            Series(
                "volatility", names, returns.std(axis=0, ddof=1), (returns - mean) ** 2, returns
            ),
            resampling.deviations(returns),
        ),
        (Series("growth", names, grown.mean(axis=0), grown, grown), resampling.means(grown)),
    ]


def _sharpe(returns: FloatArray) -> float:
    stats = sharpe_stats(returns)
    return math.nan if stats is None else stats.sharpe


# ── the table ────────────────────────────────────────────────────────────────────────────────────


def metric_rows(common: Common, measured: Measured) -> Iterator[dict[str, Any]]:
    """Yield a row per variant or benchmark and metric."""
    returns, traders = with_benchmarks(common)
    for name in (*common.names, *BENCHMARKS):
        kind = "benchmark" if name in BENCHMARKS else "variant"
        rows: list[dict[str, Any]] = [
            _estimated(measured, metric, name)
            for metric in (*DIRECTION, "sharpe", "mean_return", "sortino", "volatility")
        ]
        if name in traders:
            series = returns[:, traders.index(name)]
            rows += _path_rows(measured, name, series)
        if kind == "variant":
            rows += _book_rows(common, common.column(name))
        for row in rows:
            if row:
                yield {"variant": name, "kind": kind, **row}


def value_of(common: Common, measured: Measured, metric: str, name: str) -> float | None:
    """Return one metric of one variant, None where it is undefined."""
    place = measured.of(metric, name)
    if place is not None:
        value = float(place[0].series.value[place[1]])
        return value * measured.scale(metric) if math.isfinite(value) else None
    k = common.column(name)
    rows = _book_rows(common, k) if metric in common.parts else _path_rows(
        measured, name, common.returns[:, k], banded=False
    )  # fmt: skip
    found: float | None = next(row["value"] for row in rows if row["metric"] == metric)
    return found


def _estimated(measured: Measured, metric: str, name: str) -> dict[str, Any]:
    place = measured.of(metric, name)
    if place is None:
        return {}
    found, k = place
    value, scale = float(found.series.value[k]), measured.scale(metric)
    row = {"metric": metric, "n": found.n, "level": measured.level}
    if not math.isfinite(value):
        return row | {"reason": _UNDEFINED[metric]}
    known = resampling.bounds(found, k, measured.level)
    return row | {
        "value": value * scale,
        "lo": None if known.low is None else known.low * scale,
        "hi": None if known.high is None else known.high * scale,
        "method": _method(found),
        "block": found.block,
        "seed": found.seed,
        "reason": known.reason,
    }


_UNDEFINED = {
    "auc": "the labels have one class",
    "accuracy": "no scored decision",
    "brier": "no scored decision",
    "mean_return": "no bar",
    "sharpe": "the equity had no variance, or fewer than three bars",
    "sortino": "no losing bar",
    "volatility": "fewer than two bars",
}


def _method(found: Resampled) -> str:
    count = found.drawn.shape[1]
    length = f"mean block {found.block:.1f} {found.unit}"
    return f"joint stationary bootstrap, {length}, {count} resamples"


def _path_rows(
    measured: Measured, name: str, returns: FloatArray, *, banded: bool = True
) -> list[dict[str, Any]]:
    """Return growth, its annual rate, the deepest drawdown (``banded``) and their ratio."""
    n, total = len(returns), growth.total_return(returns)
    rate = _grown(measured, name, returns)
    annual = {end: _cagr(rate.get(end), n, measured) for end in ("lo", "hi")}
    drawdown = _band(returns, measured) if banded else {}
    depth = growth.max_drawdown(returns)
    yearly = growth.cagr(total, n, measured.per_year)
    return [
        {"metric": "total_return", "value": total, "n": n, **rate},
        {"metric": "cagr", "value": yearly, "n": n, **rate, **annual},
        {"metric": "max_drawdown", "value": depth, "n": n, **drawdown},
        {"metric": "calmar", "value": growth.calmar(yearly, depth), "n": n,
         "reason": "growth over the depth of one path: no interval is made"},
    ]  # fmt: skip


def _band(returns: FloatArray, measured: Measured) -> dict[str, Any]:
    fall = wealth.drawdown_band(returns, confidence=measured.level, seed=measured.seed)
    return {
        "lo": fall.low, "hi": fall.high, "level": fall.level, "method": fall.method,
        "block": fall.block, "seed": fall.seed, "reason": fall.reason or "",
    }  # fmt: skip


def _grown(measured: Measured, name: str, returns: FloatArray) -> dict[str, Any]:
    """Return the interval of the compounded return: that of the mean log return, compounded."""
    place = measured.of("growth", name)
    if place is None or bool((returns <= -1).any()):
        return {"reason": "the account was lost: nothing is left to vary"}
    found, k = place
    known = resampling.bounds(found, k, measured.level)
    if known.low is None or known.high is None:
        return {"reason": known.reason}
    return {
        "lo": _compounded(known.low, len(returns)),
        "hi": _compounded(known.high, len(returns)),
        "level": measured.level,
        "method": _method(found),
        "block": found.block,
        "seed": found.seed,
    }


def _compounded(log_return: float, bars: int) -> float | None:
    try:
        return growth.finite(math.expm1(log_return * bars))
    except OverflowError:
        return None


def _cagr(total: float | None, bars: int, measured: Measured) -> float | None:
    return None if total is None else growth.cagr(total, bars, measured.per_year)


def _book_rows(common: Common, k: int) -> list[dict[str, Any]]:
    bars_per_day = 86_400 / common.interval.total_seconds()
    rows = []
    for name, columns in common.parts.items():
        column = columns[:, k]
        averaged = {"exposure": float(column.mean()), "turnover": column.mean() * bars_per_day}
        value = averaged.get(name, float(column.sum()))
        rows.append({"metric": name, "value": float(value), "n": len(column), "reason": _FACT})
    return rows
