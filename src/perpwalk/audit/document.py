"""``audit.json``: a verdict, its findings and its evidence as plain values, and back again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perpwalk.audit.evidence import Evidence
from perpwalk.audit.outside import WORST_FIRST, Outside
from perpwalk.audit.verdict import Verdict
from perpwalk.deflation import deflate
from perpwalk.domain import Finding, Level
from perpwalk.uncertainty.estimate import Estimate
from perpwalk.uncertainty.sharpe import SharpeStats, minimum_track_record

REASON = "R101"  # the code under which the verdict's reasons stand among the findings


def audit_document(
    judged: Verdict,
    findings: Sequence[Finding],
    evidence: Evidence | None = None,
    outside: Outside | None = None,
) -> dict[str, object]:
    """Return the contents of ``audit.json``, findings worst first.

    The verdict's reasons stand among the findings as R101.
    """
    outside = outside or Outside()
    table = None if evidence is None else evidence_table(evidence, outside)
    if table is not None:
        _check_seeds(table)
    reasons = tuple(_reason(judged, text) for text in judged.reasons)
    ordered = sorted(findings, key=lambda f: WORST_FIRST.index(f.level))
    document: dict[str, object] = {
        "verdict": {
            "overall": str(judged.overall),
            "predictive": str(judged.predictive),
            "economic": str(judged.economic),
        },
        "findings": [f.as_dict() for f in (*ordered, *reasons)],
    }
    if table is not None:
        document["evidence"] = table
    return document | outside.as_dict()


def _check_seeds(table: Mapping[str, Mapping[str, object]]) -> None:
    """Refuse a resampled figure that does not say its seed (U006): nobody could make it again."""
    for name, item in table.items():
        if item["block"] is not None and item["seed"] is None:
            raise AssertionError(f"U006 {name}: resampled, but its seed is missing")


def _reason(judged: Verdict, text: str) -> Finding:
    return Finding(
        code=REASON, level=Level.INFO, where="verdict", message=f"{judged.overall}: {text}"
    )


def evidence_table(
    evidence: Evidence, outside: Outside | None = None
) -> dict[str, dict[str, object]]:
    """Return the headline numbers with interval, level, method, rows, block, seed and reason."""
    named = {
        "accuracy": evidence.accuracy,
        "auc": evidence.auc,
        "fold_mean_auc": evidence.fold_mean_auc,
        **{f"{OVER}{name}": e for name, e in evidence.edges.items()},
        **{f"{AUC_OF}{symbol}": e for symbol, e in evidence.auc_of.items()},
        "brier": evidence.brier,
        "mean_return": evidence.mean_return,
        "sharpe": evidence.sharpe,
        "total_return": evidence.total_return,
        "max_drawdown": evidence.max_drawdown,
        "win_rate": evidence.win_rate,
        "profit_factor": evidence.profit_factor,
        **{name: _plain_figure(evidence, name) for name in _PLAIN},
        "deflated_sharpe": _deflated_figure(evidence, outside or Outside()),
        "minimum_track_record": _track_record(evidence.sharpe_stats),
        **_moments(evidence.sharpe_stats),
    }
    return {
        name: {
            "value": e.value, "lo": e.low, "hi": e.high, "level": e.level, "method": e.method,
            "n": e.n, "n_eff": e.n_eff, "block": e.block, "seed": e.seed, "reason": e.reason,
        }
        for name, e in named.items()
    }  # fmt: skip


OVER = "accuracy over "
AUC_OF = "auc of "
# Figures of the book itself, which have no interval, and why they may be missing.
_PLAIN = {
    "break_even_accuracy": ("hit rate that pays fees and slippage of a round trip", "no trades"),
    "break_even_fee": ("fee a side at which the net is 0", "no trades"),
    "fee_paid": ("mean fee a side", "no trades"),
    "probability_of_skill": ("that the Sharpe ratio is above 0, one trial", "no variance"),
    "trades": ("finished round trips", ""),
}


def _plain_figure(evidence: Evidence, name: str) -> Estimate:
    value, (method, missing) = getattr(evidence, name), _PLAIN[name]
    return Estimate(
        value=value, method=method, n=evidence.trades, reason=missing if value is None else None
    )


def _deflated_figure(evidence: Evidence, outside: Outside) -> Estimate:
    found = deflate(evidence.sharpe_stats, outside.trials)
    return Estimate(
        value=found.probability,
        method=f"that the Sharpe ratio beats the best of {found.method}" if found.method else "",
        n=0 if evidence.sharpe_stats is None else evidence.sharpe_stats.n,
        reason=found.reason,
    )


def _track_record(stats: SharpeStats | None) -> Estimate:
    """Return the bars it takes to call such a ratio above 0 (Bailey and López de Prado 2012)."""
    needed = None if stats is None else minimum_track_record(stats)
    reason = "the equity had no variance" if stats is None else "the Sharpe ratio is not above 0"
    return Estimate(
        value=needed,
        method="bars to call the Sharpe ratio above 0 at 95 %, one trial",
        n=0 if stats is None else stats.n,
        reason=reason if needed is None else None,
    )


def _moments(stats: SharpeStats | None) -> dict[str, Estimate]:
    """Return the moments of the net returns per bar, from which a ratio is deflated again."""
    values = (None,) * 3 if stats is None else (stats.sharpe, stats.skew, stats.kurtosis)
    missing = "the equity had no variance" if stats is None else None
    return {
        name: Estimate(value=value, method="net returns per bar", n=stats.n if stats else 0,
                       reason=missing)
        for name, value in zip(_MOMENTS, values, strict=True)
    }  # fmt: skip


_MOMENTS = ("sharpe_per_bar", "skew", "kurtosis")


def _stats_from(table: Mapping[str, Mapping[str, Any]]) -> SharpeStats | None:
    if any(table[name]["value"] is None for name in _MOMENTS):
        return None
    sharpe, skew, kurtosis = (float(table[name]["value"]) for name in _MOMENTS)
    return SharpeStats(sharpe, skew, kurtosis, int(table[_MOMENTS[0]]["n"]))


def evidence_from(table: Mapping[str, Mapping[str, Any]]) -> Evidence:
    """Return the evidence that ``evidence_table`` wrote down, without its findings."""

    def estimate(item: Mapping[str, Any]) -> Estimate:
        plain = {key: item[key] for key in _SAME_NAME}
        return Estimate(low=item["lo"], high=item["hi"], **plain)

    found: dict[str, Any] = {
        name: table[name]["value"] if name in _PLAIN else estimate(table[name])
        for name in Evidence.__dataclass_fields__
        if name in table
    }

    def under(prefix: str) -> dict[str, Estimate]:
        return {
            name.removeprefix(prefix): estimate(item)
            for name, item in table.items()
            if name.startswith(prefix)
        }

    return Evidence(
        edges=under(OVER), auc_of=under(AUC_OF), sharpe_stats=_stats_from(table), **found
    )


_SAME_NAME = ("value", "level", "method", "n", "n_eff", "block", "seed", "reason")
