"""Who is ahead when: every variant in every month, quarter and kind of market, on every contract.

A period's winner says little by itself; whether the same variants are ahead again and again is
Kendall's W over the periods, 0 where the order is drawn anew each time and 1 where it never
changes.

The kind of market is told afterwards, week by week, and describes only: a week *rose* or *fell*,
and was *wild* or *calm* as its bars moved more or less than those of the median week.

Of several contracts in one account each has its calls, and what its trades added to the account's
return; risk is of all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from perpwalk import returns as growth
from perpwalk.comparison.data import Common
from perpwalk.comparison.measures import BIGGER_IS_BETTER
from perpwalk.domain import BoolArray, FloatArray, IntArray, to_ns
from perpwalk.periods import calendar_periods
from perpwalk.uncertainty import overlap
from perpwalk.uncertainty.auc import delong_interval, placements
from perpwalk.uncertainty.proportions import permutation_p, wilson

METRICS = ("accuracy", "auc", "sharpe", "total_return")
SYMBOL = "symbol"  # the kind of period that is a contract, as in metrics.csv
PERMUTATIONS = 2000
_WEEK_NS = 7 * 86_400_000_000_000
_MONDAY_NS = 4 * 86_400_000_000_000  # 1970-01-05, the first Monday


@dataclass(frozen=True, eq=False)
class Slice:
    """Rows of the common decisions and bars that belong to one period.

    ``groups`` numbers the stamps of its decisions where several share one.
    """

    kind: str
    name: str
    start: pd.Timestamp | None
    end: pd.Timestamp | None
    decisions: BoolArray
    bars: BoolArray
    groups: IntArray | None = None


def slices(common: Common) -> Iterator[Slice]:
    """Yield every month, quarter, kind of market and contract that the common set touches."""
    for part in _slices(common):
        yield replace(part, groups=common.stamps.groups(part.decisions))


def _slices(common: Common) -> Iterator[Slice]:
    opens = common.bar_time - common.interval
    first = min(common.close_time[0], opens[0])
    last = max(common.close_time[-1], opens[-1])
    for kind in ("month", "quarter"):
        for period in calendar_periods(kind, first, last, common.interval):
            yield Slice(
                kind, period.name, period.start, period.end,
                _within(period.rows(common.close_time), len(common.close_time)),
                _within(period.rows(opens), len(opens)),
            )  # fmt: skip
    weeks, words = _regimes(common, opens)
    decided = _week_of(common.close_time)
    for word in sorted(set(words.values())):
        of_word = np.array([week for week, said in words.items() if said == word])
        yield Slice("regime", word, None, None, np.isin(decided, of_word), np.isin(weeks, of_word))
    for number, name in enumerate(common.contracts):
        every = np.ones(len(opens), dtype=bool)
        yield Slice(SYMBOL, name, None, None, common.contract == number, every)


def _within(rows: slice, n: int) -> BoolArray:
    inside = np.zeros(n, dtype=bool)
    inside[rows] = True
    return inside


def _week_of(stamps: pd.DatetimeIndex) -> IntArray:
    weeks: IntArray = (to_ns(stamps) - _MONDAY_NS) // _WEEK_NS
    return weeks


def _regimes(common: Common, opens: pd.DatetimeIndex) -> tuple[IntArray, dict[int, str]]:
    """Return each bar's week and what each week was."""
    weeks = _week_of(opens)
    moves = np.diff(np.log(common.price), prepend=np.log(common.price[0]))
    table = pd.DataFrame({"week": weeks, "move": moves, "size": moves**2})
    by_week = table.groupby("week").agg(move=("move", "sum"), size=("size", "mean"))
    middle = by_week["size"].median()
    return weeks, {
        int(week): f"{'wild' if size > middle else 'calm'}, {'rose' if move > 0 else 'fell'}"
        for week, move, size in zip(by_week.index, by_week["move"], by_week["size"], strict=True)
    }


# ── values and ranks ─────────────────────────────────────────────────────────────────────────────


def period_rows(common: Common, level: float) -> list[dict[str, Any]]:
    """Return a row per period, metric and variant, with its rank within the period (1 is best)."""
    rows = []
    for part in slices(common):
        for metric in METRICS:
            values = _values(common, part, metric, level)
            ranks = ranked(np.array([v[0] for v in values]), bigger=BIGGER_IS_BETTER[metric])
            counted = part.decisions if metric in ("accuracy", "auc") else part.bars
            rows += [
                {
                    "period_kind": part.kind, "period": part.name, "start": part.start,
                    "end": part.end, "metric": metric, "variant": name, "n": int(counted.sum()),
                    "value": _known(value), "lo": _known(low), "hi": _known(high),
                    "rank": _known(rank),
                    "wins": None if np.isnan(rank) else bool(rank == np.nanmin(ranks)),
                }
                for name, (value, low, high), rank in zip(
                    common.names, values, ranks, strict=True
                )
            ]  # fmt: skip
    return rows


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


Triple = tuple[float, float, float]
_NOTHING: Triple = (math.nan, math.nan, math.nan)


def _values(common: Common, part: Slice, metric: str, level: float) -> list[Triple]:
    variants = range(len(common.names))
    if metric == "accuracy":
        return [_accuracy(common.hits[part.decisions, k], common, part, level) for k in variants]
    if metric == "auc":
        return _aucs(common, part, level)
    if part.kind == SYMBOL:
        added = common.added.get(part.name) if metric == "total_return" else None
        unknown = np.full(len(variants), math.nan)
        return [(float(one), math.nan, math.nan) for one in (unknown if added is None else added)]
    per_year = growth.bars_per_year(common.interval)
    returns = common.returns[part.bars]
    if metric == "sharpe":
        found = (growth.annual_sharpe(returns[:, k], per_year, level) for k in variants)
        return [_NOTHING if one is None else one for one in found]
    if len(returns) == 0:
        return [_NOTHING for _ in variants]
    return [(growth.total_return(returns[:, k]), math.nan, math.nan) for k in variants]


def _accuracy(hits: BoolArray, common: Common, part: Slice, level: float) -> Triple:
    n = len(hits)
    if n == 0:
        return _NOTHING
    vif = overlap.row_vif(hits.astype(float), common.overlap, part.groups)
    interval = wilson(float(hits.sum()) / vif, n / vif, level)
    value = float(hits.mean())
    return (value, math.nan, math.nan) if interval is None else (value, interval.low, interval.high)


def _aucs(common: Common, part: Slice, level: float) -> list[Triple]:
    known: dict[bytes, Triple] = {}
    found = []
    for k in range(len(common.names)):
        up, score = common.up[part.decisions, k], common.p_up[part.decisions, k]
        key = up.tobytes() + score.tobytes()
        if key not in known:
            known[key] = _auc(up, score, common.overlap, part.groups, level)
        found.append(known[key])
    return found


def _auc(
    up: BoolArray, score: FloatArray, horizon: int, groups: IntArray | None, level: float
) -> Triple:
    placed = placements(up, score)
    if placed is None:
        return _NOTHING
    alone = horizon <= 1 and groups is None
    vif = 1.0 if alone else overlap.row_vif(placed.influence(up), horizon, groups)
    interval = delong_interval(placed, level, vif=vif)
    if interval is None:
        return placed.auc, math.nan, math.nan
    return placed.auc, interval.low, interval.high


def ranked(values: npt.ArrayLike, *, bigger: bool = True) -> FloatArray:
    """Return ranks, 1 the best, ties sharing their mean; NaN where the value is undefined.

    >>> ranked([0.5, 0.6, 0.5])
    array([2.5, 1. , 2.5])
    """
    found = np.asarray(values, dtype=np.float64)
    ranks = pd.Series(found).rank(ascending=not bigger, method="average").to_numpy()
    return np.asarray(ranks, dtype=np.float64)


# ── stability ────────────────────────────────────────────────────────────────────────────────────


_NOT_APART = "no p: contracts share their stamps, so their orders are not drawn apart"
_UNKNOWN = {
    "sharpe": "one account: risk is of all its contracts together",
    "total_return": "what a contract added is known only of variants with the same bars",
}


def stability_rows(
    periods: pd.DataFrame, *, seed: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return mean ranks per variant, and Kendall's W with its p, per kind of period and metric.

    Only periods in which every variant has a value count. ``best_in`` counts periods in which
    nobody was better, shared first places included.
    """
    ranks: list[dict[str, Any]] = []
    stability: list[dict[str, Any]] = []
    for (kind, metric), part in periods.groupby(["period_kind", "metric"], sort=False):
        place = {"period_kind": str(kind), "metric": str(metric)}
        wide = part.pivot(index="period", columns="variant", values="rank")  # noqa: PD010 - a value a cell
        wide = wide[list(dict.fromkeys(part["variant"]))].astype(float).dropna()
        wins = part[part["period"].isin(wide.index)].groupby("variant")["wins"].sum()
        ranks += [
            {**place, "variant": name, "periods": len(wide), "best_in": int(wins.get(name, 0)),
             "mean_rank": float(wide[name].mean()) if len(wide) else None}
            for name in wide.columns
        ]  # fmt: skip
        w, p, reason = kendall_w(wide.to_numpy(), seed=seed)
        if kind == SYMBOL:
            unknown = _UNKNOWN.get(str(metric), reason) if wide.empty else reason
            p, reason = None, unknown if w is None else _NOT_APART
        stability.append(
            {**place, "periods": len(wide), "variants": wide.shape[1], "kendall_w": w, "p": p,
             "reason": reason}
        )  # fmt: skip
    return ranks, stability


def kendall_w(
    ranks: FloatArray, *, seed: int = 0, permutations: int = PERMUTATIONS
) -> tuple[float | None, float | None, str]:
    """Return Kendall's concordance of ``ranks`` (periods, variants), its p, or None and a reason.

    Corrected for ties (Kendall & Babington Smith 1939). The p is that of orders drawn anew in each
    period: with few periods the chi-square approximation is poor.
    """
    periods, variants = ranks.shape
    if periods < 2 or variants < 2:
        return None, None, "fewer than two periods or two variants"
    ties = sum(float((counts**3 - counts).sum()) for counts in map(_tie_counts, ranks))
    full = periods**2 * (variants**3 - variants) - periods * ties
    if full <= 0:
        return None, None, "every variant shares its rank in every period"
    observed = _spread(ranks[None])[0]
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.broadcast_to(ranks, (permutations, *ranks.shape)), axis=2)
    exceeding = int((_spread(shuffled) >= observed - 1e-9).sum())
    return 12 * observed / full, permutation_p(exceeding, permutations), ""


def _tie_counts(row: FloatArray) -> FloatArray:
    return np.unique(row, return_counts=True)[1].astype(np.float64)


def _spread(ranks: FloatArray) -> FloatArray:
    """Return the squared deviations of the rank sums from their mean, per shuffle."""
    sums = ranks.sum(axis=1)
    spread: FloatArray = ((sums - sums.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    return spread
