"""The comparison itself: variants in, one record out. A pure function of its arguments."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from perpwalk.comparison import by_period, measures, pairs, search, words
from perpwalk.comparison.data import Common, Variant, common_set
from perpwalk.comparison.measures import BIGGER_IS_BETTER, Measured
from perpwalk.comparison.record import TABLES, Comparison, table
from perpwalk.comparison.search import Search, Trials
from perpwalk.domain import Finding
from perpwalk.errors import UsageError
from perpwalk.uncertainty.overfitting import Overfitting
from perpwalk.uncertainty.sharpe import sharpe_stats

RESAMPLES = 2000
DEFAULT_BY = "sharpe"


def check_metric(by: str) -> str:
    """Return ``by`` if variants can be ordered by it.

    Raises
    ------
    UsageError
        They cannot; the nearest name is given.
    """
    if by in BIGGER_IS_BETTER:
        return by
    near = difflib.get_close_matches(by, BIGGER_IS_BETTER, n=1, cutoff=0.6)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(BIGGER_IS_BETTER)}"
    raise UsageError(f"--by {by}: no such metric; {hint}")


def compare_variants(
    variants: Sequence[Variant],
    *,
    name: str = "comparison",
    by: str = DEFAULT_BY,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
    trials: Trials | None = None,
    findings: Sequence[Finding] = (),
    files: Mapping[str, tuple[str, ...]] | None = None,
) -> Comparison:
    """Compare variants on the decisions and bars that all of them have.

    Parameters
    ----------
    variants
        At least two, of different names. One with a diagnosis is shown and takes no part.
    by
        The metric that orders them.
    level
        Confidence of intervals; claims err in at most 1 - ``level`` of all comparisons.
    resamples
        Of every bootstrap.
    trials
        How often luck was tried in all; by default only the variants count.
    findings
        What was found before (the trial ledger's), kept in the record.

    Raises
    ------
    UsageError
        Fewer than two variants, an unknown metric, or nothing in common (U008).
    """
    check_metric(by)
    if len(variants) < 2:
        raise UsageError("a comparison needs at least two variants; give more, or a --grid")
    _check_names(variants)
    part = [variant for variant in variants if variant.takes_part]
    given: dict[str, Any] = {"name": name, "by": by, "level": level, "files": files}
    if not part:
        return _nothing(variants, given, trials, tuple(findings))
    common = common_set(part)
    weighed = weigh(common, part, by=by, level=level, seed=seed, resamples=resamples, trials=trials)
    order, found, claims = weighed.order, weighed.found, weighed.claims
    periods = table("periods", by_period.period_rows(common, level))
    ranks, stability = by_period.stability_rows(periods, seed=seed)
    metrics = table("metrics", list(measures.metric_rows(common, weighed.measured)))
    overfit = [{"blocks": o.blocks, "splits": o.splits, "pbo": o.pbo} for o in weighed.pbo]
    return Comparison(
        **given,
        verdict=words.verdict(
            variants, common, metrics, found, claims, weighed.deflated,
            pbo=weighed.pbo[-1].pbo if weighed.pbo else None, trials=weighed.trials, order=order,
            by=by,
        ),
        winner=claims.winner,
        leader=order[0],
        start=common.bar_time[0],
        end=common.bar_time[-1],
        decisions=len(common.close_time),
        contracts=common.contracts,
        stamps=common.stamps.count,
        bars=len(common.bar_time),
        horizon=common.horizon,
        bar_seconds=common.interval.total_seconds(),
        trials=weighed.trials.count,
        trials_text=weighed.trials.text,
        variants=table("variants", _variant_rows(variants, common, order, found, claims)),
        metrics=metrics,
        pairwise=table("pairwise", pairs.pair_rows(common, weighed.measured, order)),
        spa=table("spa", found.spa),
        members=table("members", found.members),
        deflated=table("deflated", weighed.deflated),
        overfitting=table("overfitting", overfit),
        periods=periods,
        ranks=table("ranks", ranks),
        stability=table("stability", stability),
        changes=table("changes", list(_changes(variants))),
        curves=_curves(common, order),
        findings=(*findings, *weighed.measured.findings, *weighed.alarm),
    )  # fmt: skip


def _check_names(variants: Sequence[Variant]) -> None:
    names = [variant.name for variant in variants]
    wrong = {name for name in names if names.count(name) > 1 or name in measures.BENCHMARKS}
    if wrong:
        raise UsageError(
            f"variants need names of their own, and not a benchmark's: {', '.join(sorted(wrong))}"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Weighed:
    """What the claims of a comparison rest on."""

    measured: Measured
    found: Search
    deflated: list[dict[str, Any]]
    pbo: tuple[Overfitting, ...]
    alarm: tuple[Finding, ...]
    trials: Trials
    order: list[str]
    claims: words.Claims


def weigh(
    common: Common,
    variants: Sequence[Variant],
    *,
    by: str = DEFAULT_BY,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
    trials: Trials | None = None,
) -> Weighed:
    """Resample, search and deflate, and say what may be claimed of ``variants``."""
    measured = measures.measure(common, level=level, seed=seed, resamples=resamples)
    counted = trials or _own_trials(common)
    found = search.search(common, measured, seed=seed, reps=resamples)
    deflated = search.deflated_rows(common, counted, measured.per_year)
    pbo, alarm = search.overfitting(common)
    order = _ordered(common, measured, by)
    return Weighed(
        measured=measured, found=found, deflated=deflated, pbo=pbo, alarm=alarm, trials=counted,
        order=order,
        claims=words.Claims.of(common, found, deflated, variants, by=by, leader=order[0]),
    )  # fmt: skip


def _own_trials(common: Common) -> Trials:
    stats = [sharpe_stats(column) for column in common.returns.T]
    return Trials(
        count=len(common.names),
        text=f"{len(common.names)} trials: the variants compared, and no others on record",
        sharpes=tuple(one.sharpe for one in stats if one is not None),
    )


def _ordered(common: Common, measured: Measured, by: str) -> list[str]:
    """Return the variants best first; those without a value last, as they were given."""
    sign = -1.0 if BIGGER_IS_BETTER[by] else 1.0

    def place(name: str) -> float:
        value = measures.value_of(common, measured, by, name)
        return math.inf if value is None else sign * value

    return sorted(common.names, key=place)


def _variant_rows(
    variants: Sequence[Variant],
    common: Common,
    order: Sequence[str],
    found: Search,
    claims: words.Claims,
) -> list[dict[str, Any]]:
    rows = []
    for variant in sorted(variants, key=lambda v: _place(v.name, order)):
        row: dict[str, Any] = {
            **variant.facts,
            "variant": variant.name,
            "changes": ", ".join(f"{key}={value}" for key, value in variant.changes.items()),
            "diagnosis": variant.diagnosis or "",
            "status": "ranked" if variant.takes_part else _status(variant),
        }
        if variant.takes_part:
            k = common.column(variant.name)
            row |= {
                "rank": order.index(variant.name) + 1,
                "decisions": len(common.close_time),
                "dropped_decisions": int(common.dropped_decisions[k]),
                "bars": len(common.bar_time),
                "dropped_bars": int(common.dropped_bars[k]),
                "beats_flat": variant.name in claims.beats_flat,
                "beats_hold": variant.name in found.better[measures.HOLD],
                "with_the_best": variant.name in claims.alike,
                "forecasts": variant.name in found.forecasts,
            }
        rows.append(row)
    return rows


def _status(variant: Variant) -> str:
    return "failed" if variant.scored is None else "invalid"


def _place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def _changes(variants: Sequence[Variant]) -> list[dict[str, str]]:
    return [
        {"variant": variant.name, "key": key, "value": value}
        for variant in variants
        for key, value in variant.changes.items()
    ]


def _curves(common: Common, order: Sequence[str]) -> pd.DataFrame:
    returns, names = measures.with_benchmarks(common)
    grown = np.cumprod(1 + returns, axis=0)
    curves: dict[str, Any] = {"close_time": common.bar_time}
    shown = [*order, measures.HOLD, measures.FLAT]
    return pd.DataFrame(curves | {name: grown[:, names.index(name)] for name in shown})


def _nothing(
    variants: Sequence[Variant],
    given: Mapping[str, Any],
    trials: Trials | None,
    findings: tuple[Finding, ...],
) -> Comparison:
    """Return the record of a comparison in which no variant takes part."""
    empty: dict[str, Any] = {name: table(name, []) for name in TABLES}
    rows = [
        {**v.facts, "variant": v.name, "diagnosis": v.diagnosis or "", "status": _status(v)}
        for v in variants
    ]
    empty |= {"variants": table("variants", rows), "changes": table("changes", _changes(variants))}
    return Comparison(
        **given,
        **empty,
        verdict=words.no_result(variants),
        winner=None, leader=None, start=None, end=None, decisions=0, bars=0, horizon=None,
        bar_seconds=variants[0].interval.total_seconds(),
        trials=len(variants) if trials is None else trials.count,
        trials_text="" if trials is None else trials.text,
        curves=pd.DataFrame({"close_time": pd.DatetimeIndex([], tz="UTC")}),
        findings=findings,
    )  # fmt: skip


__all__ = ["DEFAULT_BY", "Weighed", "check_metric", "compare_variants", "weigh"]
