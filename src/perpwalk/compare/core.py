"""The comparison itself: variants in, one record out. A pure function of its arguments."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from perpwalk.compare import by_period, measures, pairs, search, words
from perpwalk.compare.data import Common, Variant, common_set
from perpwalk.compare.measures import BIGGER_IS_BETTER, Measured
from perpwalk.compare.record import TABLES, Comparison, table
from perpwalk.compare.search import Search, Trials
from perpwalk.domain import Finding
from perpwalk.errors import UsageError
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
    part = [variant for variant in variants if variant.takes_part]
    given: dict[str, Any] = {"name": name, "by": by, "level": level, "files": files}
    if not part:
        return _nothing(variants, given, trials, tuple(findings))
    common = common_set(part)
    measured = measures.measure(common, level=level, seed=seed, resamples=resamples)
    counted = trials or _own_trials(common)
    found = search.search(common, measured, seed=seed, reps=resamples)
    deflated = search.deflated_rows(common, counted, measured.per_year)
    pbo, alarm = search.overfitting(common)
    metrics = table("metrics", list(measures.metric_rows(common, measured)))
    order = _ordered(common, metrics, by)
    periods = table("periods", by_period.period_rows(common, level))
    ranks, stability = by_period.stability_rows(periods, seed=seed)
    overfit = [{"blocks": o.blocks, "splits": o.splits, "pbo": o.pbo} for o in pbo]
    claims = words.Claims.of(common, found, deflated, part, by=by, leader=order[0])
    return Comparison(
        **given,
        verdict=words.verdict(
            variants, common, metrics, found, claims, deflated,
            pbo=pbo[-1].pbo if pbo else None, trials=counted, order=order, by=by,
        ),
        winner=claims.winner,
        leader=order[0],
        start=common.bar_time[0],
        end=common.bar_time[-1],
        decisions=len(common.close_time),
        bars=len(common.bar_time),
        horizon=common.horizon,
        bar_seconds=common.interval.total_seconds(),
        trials=counted.count,
        trials_text=counted.text,
        variants=table("variants", _variant_rows(variants, common, order, found, claims)),
        metrics=metrics,
        pairwise=table("pairwise", pairs.pair_rows(common, measured, order)),
        spa=table("spa", found.spa),
        members=table("members", found.members),
        deflated=table("deflated", deflated),
        overfitting=table("overfitting", overfit),
        periods=periods,
        ranks=table("ranks", ranks),
        stability=table("stability", stability),
        changes=table("changes", list(_changes(variants))),
        curves=_curves(common, order),
        findings=(*findings, *measured.findings, *alarm),
    )  # fmt: skip


def _own_trials(common: Common) -> Trials:
    stats = [sharpe_stats(column) for column in common.returns.T]
    return Trials(
        count=len(common.names),
        text=f"{len(common.names)} trials: the variants compared, and no others on record",
        sharpes=tuple(one.sharpe for one in stats if one is not None),
    )


def _ordered(common: Common, metrics: pd.DataFrame, by: str) -> list[str]:
    """Return the variants best first; those without a value last, as they were given."""
    rows = metrics[(metrics["metric"] == by) & (metrics["kind"] == "variant")]
    values = dict(zip(rows["variant"], rows["value"], strict=True))
    sign = -1.0 if BIGGER_IS_BETTER[by] else 1.0

    def place(name: str) -> float:
        value = values.get(name, pd.NA)
        return np.inf if pd.isna(value) else sign * float(value)

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


__all__ = ["DEFAULT_BY", "Measured", "check_metric", "compare_variants"]
