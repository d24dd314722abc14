"""What the figures allow to be said, in one paragraph of plain language.

A winner is named only where one variant can be told from every other, from holding nothing and from
the luck of the search. Everything else is said as what it is: first, and not told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from perpwalk.comparison.data import Common, Variant
from perpwalk.comparison.measures import FLAT, HOLD
from perpwalk.comparison.search import BRIER, MISSES, RETURNS, Search, Trials

DEFLATED = 0.95
NAMED = 6
LABELS = {
    "accuracy": "accuracy", "auc": "AUC", "brier": "Brier score", "total_return": "total return",
    "mean_return": "mean return per bar", "sharpe": "Sharpe ratio", "sortino": "Sortino ratio",
    "cagr": "annual growth", "calmar": "Calmar ratio", "max_drawdown": "maximum drawdown",
    "volatility": "volatility", "exposure": "exposure", "turnover": "turnover", "trades": "trades",
    "fees": "fees", "slippage": "slippage", "funding": "funding",
}  # fmt: skip
_LOSS = {"accuracy": MISSES, "auc": BRIER, "brier": BRIER}
_LOSS_WORDS = {RETURNS: "net returns", MISSES: "hits", BRIER: "Brier losses"}


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What may be claimed.

    Attributes
    ----------
    loss
        What "told apart" is judged on: net returns, misses or Brier losses, as the order asks.
    alike
        Variants that cannot be told from the best.
    beats_flat
        Variants that earn more than nothing, the number of variants and of trials counted: in
        StepM's set, and a deflated Sharpe ratio above 0.95.
    winner
        None where there is none.
    """

    loss: str
    alike: frozenset[str]
    beats_flat: frozenset[str]
    winner: str | None

    @classmethod
    def of(
        cls,
        common: Common,
        found: Search,
        deflated: Sequence[Mapping[str, Any]],
        variants: Sequence[Variant],
        *,
        by: str,
        leader: str,
    ) -> Claims:
        """Weigh the tests."""
        loss = _LOSS.get(by, RETURNS)
        loss = loss if loss in found.alike else RETURNS
        skilled = {row["variant"] for row in deflated if (row.get("deflated") or 0.0) > DEFLATED}
        beats = found.better[FLAT] & skilled
        alike = found.alike.get(loss, set(common.names))
        suspect = {v.name for v in variants if v.facts.get("verdict") == "suspect"}
        real = beats if loss == RETURNS else found.forecasts
        alone = {leader} == alike and leader in real and leader not in suspect
        return cls(
            loss=loss,
            alike=frozenset(alike),
            beats_flat=frozenset(beats),
            winner=leader if alone and len(common.names) > 1 else None,
        )


def verdict(
    variants: Sequence[Variant],
    common: Common,
    metrics: pd.DataFrame,
    found: Search,
    claims: Claims,
    deflated: Sequence[Mapping[str, Any]],
    *,
    pbo: float | None,
    trials: Trials,
    order: Sequence[str],
    by: str,
) -> str:
    """Return the paragraph."""
    said = [
        _conclusion(common, claims, order, by),
        _ground(variants, common),
        _leader(metrics, order[0], by),
        _from_the_best(claims, order),
        _from_holding(found, common),
        _from_noise(claims, found, deflated, trials),
        _of_the_search(pbo),
    ]
    return " ".join(sentence for sentence in said if sentence)


def no_result(variants: Sequence[Variant]) -> str:
    """Return the paragraph of a comparison in which nobody takes part."""
    return (
        f"None of the {len(variants)} variants is a result, so nothing is compared. "
        f"{_left_out(variants)}"
    )


def _conclusion(common: Common, claims: Claims, order: Sequence[str], by: str) -> str:
    if claims.winner is not None:
        better = "earns more" if claims.loss == RETURNS else "forecasts better"
        return (
            f"{claims.winner} is the winner: it {better} than every other variant, and more than "
            "luck explains."
        )
    if len(common.names) == 1:
        return "Only one variant takes part, so there is nothing to choose between."
    return f"No winner is declared: {_why_none(claims, order, by)}."


def _why_none(claims: Claims, order: Sequence[str], by: str) -> str:
    if claims.alike != {order[0]}:
        others = len(claims.alike | {order[0]}) - 1
        if not others:
            return f"{order[0]} is first by {LABELS[by]}, but not by {_LOSS_WORDS[claims.loss]}"
        are = "variant cannot" if others == 1 else "variants cannot"
        return f"{others} other {are} be told from the best by {_LOSS_WORDS[claims.loss]}"
    if claims.loss == RETURNS and order[0] not in claims.beats_flat:
        return f"{order[0]} stands apart, but luck among so many trials could explain it"
    return f"{order[0]} stands apart, but is not above suspicion"


def _ground(variants: Sequence[Variant], common: Common) -> str:
    dropped = int(common.dropped_decisions.max())
    lost = f", up to {dropped:,} decisions of a variant left out" if dropped else ""
    on = ""
    if common.contracts:
        on = f"on {_listed(common.contracts)} at {_count(common.stamps.count, 'stamp')} "
    text = (
        f"{_count(len(common.names), 'variant')} on the same {len(common.close_time):,} decisions "
        f"{on}and {len(common.bar_time):,} bars, {common.bar_time[0]:%Y-%m-%d} to "
        f"{common.bar_time[-1]:%Y-%m-%d}{lost}."
    )
    return f"{text} {_left_out(variants)}".strip()


def _left_out(variants: Sequence[Variant]) -> str:
    told = [f"{v.name} ({v.diagnosis})" for v in variants if not v.takes_part]
    return f"Not taking part: {_listed(told)}." if told else ""


def _leader(metrics: pd.DataFrame, leader: str, by: str) -> str:
    row = metrics[(metrics["variant"] == leader) & (metrics["metric"] == by)].iloc[0]
    if pd.isna(row["value"]):
        return f"No variant has a {LABELS[by]} ({row['reason']})."
    bounds = ""
    if not pd.isna(row["lo"]):
        bounds = f" ({row['level']:.0%} interval {row['lo']:.3g} to {row['hi']:.3g})"
    return f"First by {LABELS[by]} is {leader} with {row['value']:.3g}{bounds}."


def _from_the_best(claims: Claims, order: Sequence[str]) -> str:
    if len(order) < 2:
        return ""
    alike = [name for name in order if name in claims.alike]
    apart = [name for name in order if name not in claims.alike]
    on = _LOSS_WORDS[claims.loss]
    if not apart:
        return f"By {on} none of them can be told from the best."
    return f"By {on} the best lies among {_listed(alike)}; worse than it: {_listed(apart)}."


def _from_holding(found: Search, common: Common) -> str:
    p = {row["benchmark"]: row["p"] for row in found.spa}
    better = [name for name in common.names if name in found.better[HOLD]]
    shown = f" (SPA p {p[HOLD]:.3f})" if HOLD in p else ""
    if not better:
        return f"Nothing earns more than buy-and-hold{shown}."
    return f"More than buy-and-hold earns: {_listed(better)}{shown}."


def _from_noise(
    claims: Claims, found: Search, deflated: Sequence[Mapping[str, Any]], trials: Trials
) -> str:
    p = [row["p"] for row in found.spa if row["benchmark"] == FLAT]
    ratios = [row["deflated"] for row in deflated if row.get("deflated") is not None]
    counted = [f"{_count(trials.count, 'trial')} counted", *(f"SPA p {one:.3f}" for one in p)]
    if ratios:
        counted.append(f"deflated Sharpe ratio at most {max(ratios):.3f}")
    names = [str(row["variant"]) for row in deflated]
    earns = [name for name in names if name in claims.beats_flat]
    calls = [name for name in names if name in found.forecasts]
    money = f"Earnings better than noise: {_listed(earns)}"
    money = money if earns else "No earnings can be told from noise"
    skill = f"forecasts better than chance: {_listed(calls)}"
    skill = skill if calls else "no forecast can be told from chance"
    return f"{money} ({', '.join(counted)}); {skill}."


def _of_the_search(pbo: float | None) -> str:
    if pbo is None:
        return ""
    high = ": choosing the best of these by this history is no better than drawing lots"
    return f"Probability of backtest overfitting {pbo:.2f}{high if pbo > 0.4 else ''}."


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED])
    more = len(names) - NAMED
    return f"{shown} and {more} more" if more > 0 else shown
