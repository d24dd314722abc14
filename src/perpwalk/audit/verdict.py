"""The verdict: invalid > suspect > inconclusive > supported, for prediction and for money apart.

There is no pass. One error makes a run invalid; an alarm makes it suspect; an interval that holds
the baseline, too few rows, or a pipeline whose leaks have not been hunted leave it inconclusive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from perpwalk.audit.evidence import FEW_TRADES, Evidence
from perpwalk.domain import Finding, Level
from perpwalk.uncertainty.estimate import Estimate

LeakAudit = Literal["none", "quick", "full"]


class Word(StrEnum):
    """What may be said of a result, worst first."""

    INVALID = "invalid"
    SUSPECT = "suspect"
    INCONCLUSIVE = "inconclusive"
    SUPPORTED = "supported"


_WORST_FIRST = tuple(Word)
EXIT_CODES = {Word.INVALID: 3, Word.SUSPECT: 4}


@dataclass(frozen=True)
class Verdict:
    """Three words and the sentences behind them.

    ``overall`` is the worse of ``predictive`` (does it forecast?) and ``economic`` (does it pay?).
    """

    overall: Word
    predictive: Word
    economic: Word
    reasons: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """What the command line returns for it."""
        return EXIT_CODES.get(self.overall, 0)


def verdict(
    findings: Sequence[Finding],
    evidence: Evidence,
    *,
    leak_audit: LeakAudit = "none",
    deflated_sharpe: float | None = None,
    spa_p: float | None = None,
    variants: int = 1,
) -> Verdict:
    """Weigh findings and evidence.

    Parameters
    ----------
    findings
        All findings of the run, those of the evidence included.
    leak_audit
        How deeply the pipeline was searched for leaks; anything but "full" caps at inconclusive.
    deflated_sharpe
        Probability of skill deflated by the number of trials; None while no ledger counts them.
    spa_p
        Hansen's p against the benchmark; needed where ``variants`` exceeds 1.
    """
    errors = [f for f in findings if f.level is Level.ERROR]
    if errors:
        told = tuple(_told(f) for f in errors)
        return Verdict(Word.INVALID, Word.INVALID, Word.INVALID, told)
    alarms = [f for f in findings if _is_alarm(f)]
    if alarms:
        told = tuple(_told(f) for f in alarms)
        return Verdict(Word.SUSPECT, Word.SUSPECT, Word.SUSPECT, told)
    doubts = tuple(_doubts_of_skill(evidence, leak_audit))
    money = tuple(_doubts_of_money(evidence, deflated_sharpe, spa_p, variants))
    predictive = Word.INCONCLUSIVE if doubts else Word.SUPPORTED
    economic = Word.INCONCLUSIVE if doubts or money else Word.SUPPORTED
    reasons = (*(f"predictive: {d}" for d in doubts), *(f"economic: {d}" for d in money))
    return Verdict(_worse(predictive, economic), predictive, economic, reasons)


def _worse(a: Word, b: Word) -> Word:
    return min(a, b, key=_WORST_FIRST.index)


def _told(finding: Finding) -> str:
    observed = "" if finding.observed is None else f" ({finding.observed})"
    return f"{finding.code} {finding.where}: {finding.message}{observed}"


def _is_alarm(finding: Finding) -> bool:
    """Whether a warning forbids belief: too good, an overfitted search, an unexplained leak."""
    if finding.level is not Level.WARN:
        return False
    blind_or_noisy = ("K005", "K007")  # a blind pipeline or a noisy one is no sign of a leak
    return finding.code in ("P011", "U011") or (
        finding.code.startswith("K") and finding.code not in blind_or_noisy
    )


def _doubts_of_skill(evidence: Evidence, leak_audit: LeakAudit) -> Iterator[str]:
    edge, auc = evidence.edge, evidence.auc
    if edge.low is None:
        yield f"accuracy over the naive rules has no interval ({edge.reason})"
    for name, other in evidence.edges.items():
        if other.low is not None and other.low <= 0:
            yield (
                f"accuracy over the rule '{name}' is {_points(other.value)}, "
                f"interval {_points(other.low)} to {_points(other.high)}: not above 0"
            )
    if auc.low is None:
        yield f"AUC has no interval ({auc.reason})"
    elif auc.low <= 0.5:
        yield f"AUC {auc.value:.4f} with lower bound {auc.low:.4f}: not above 0.5"
    if evidence.accuracy.n_eff is not None and evidence.accuracy.n_eff < 400:
        yield f"only about {evidence.accuracy.n_eff:.0f} independent test decisions"
    if leak_audit != "full":
        done = "not been" if leak_audit == "none" else "only quickly been"
        yield f"the pipeline has {done} searched for leaks (`perpwalk audit`)"


def _points(value: float | None) -> str:
    return "undefined" if value is None else f"{100 * value:+.2f} points"


def _doubts_of_money(
    evidence: Evidence, deflated: float | None, spa_p: float | None, variants: int
) -> Iterator[str]:
    mean = evidence.mean_return
    if mean.low is None or mean.high is None or mean.value is None:
        yield f"the net return has no interval ({mean.reason})"
    elif mean.high < 0:
        yield f"it loses money: net {1e4 * mean.value:+.3f} bp a bar, upper bound below 0"
    elif mean.low <= 0:
        yield (
            f"the net return is {1e4 * mean.value:+.3f} bp a bar, interval "
            f"{1e4 * mean.low:+.3f} to {1e4 * mean.high:+.3f}: not above 0"
        )
    if evidence.trades < FEW_TRADES:
        yield f"{evidence.trades} trades are too few to judge (at least {FEW_TRADES})"
    yield from _doubts_of_costs(evidence)
    if deflated is None:
        yield "the Sharpe ratio is not deflated for the number of trials (results/trials.jsonl)"
    elif deflated <= 0.95:
        yield f"deflated for the search, skill has probability {deflated:.3f} (needs 0.95)"
    if variants > 1 and (spa_p is None or spa_p >= 0.05):
        yield f"the best of {variants} variants does not beat the benchmark (SPA p {spa_p})"


def _doubts_of_costs(evidence: Evidence) -> Iterator[str]:
    fee, paid = evidence.break_even_fee, evidence.fee_paid
    if fee is None or paid is None:
        yield "nothing was traded"
    elif fee <= paid:
        yield f"it breaks even at a fee of {1e4 * fee:.2f} bp a side and paid {1e4 * paid:.2f} bp"


# ── audit.json ───────────────────────────────────────────────────────────────────────────────────


def audit_document(
    judged: Verdict, findings: Sequence[Finding], evidence: Evidence | None = None
) -> dict[str, object]:
    """Return the contents of ``audit.json``, findings worst first.

    The verdict's reasons stand among the findings as R101.
    """
    reasons = tuple(_reason(judged, text) for text in judged.reasons)
    ordered = sorted(findings, key=lambda f: _RANK[f.level])
    document: dict[str, object] = {
        "verdict": {
            "overall": str(judged.overall),
            "predictive": str(judged.predictive),
            "economic": str(judged.economic),
        },
        "findings": [f.as_dict() for f in (*ordered, *reasons)],
    }
    if evidence is not None:
        document["evidence"] = evidence_table(evidence)
    return document


_RANK = {Level.ERROR: 0, Level.WARN: 1, Level.INFO: 2}


def _reason(judged: Verdict, text: str) -> Finding:
    return Finding(
        code="R101", level=Level.INFO, where="verdict", message=f"{judged.overall}: {text}"
    )


def evidence_table(evidence: Evidence) -> dict[str, dict[str, object]]:
    """Return the headline numbers with interval, level, method, rows, block, seed and reason."""
    named = {
        "accuracy": evidence.accuracy,
        "auc": evidence.auc,
        "fold_mean_auc": evidence.fold_mean_auc,
        **{f"{OVER}{name}": e for name, e in evidence.edges.items()},
        "brier": evidence.brier,
        "mean_return": evidence.mean_return,
        "sharpe": evidence.sharpe,
        "total_return": evidence.total_return,
        "max_drawdown": evidence.max_drawdown,
        "win_rate": evidence.win_rate,
        "profit_factor": evidence.profit_factor,
        **{name: _plain_figure(evidence, name) for name in _PLAIN},
    }
    return {
        name: {
            "value": e.value, "lo": e.low, "hi": e.high, "level": e.level, "method": e.method,
            "n": e.n, "n_eff": e.n_eff, "block": e.block, "seed": e.seed, "reason": e.reason,
        }
        for name, e in named.items()
    }  # fmt: skip


OVER = "accuracy over "
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
    edges = {
        name.removeprefix(OVER): estimate(item)
        for name, item in table.items()
        if name.startswith(OVER)
    }
    return Evidence(edges=edges, **found)


_SAME_NAME = ("value", "level", "method", "n", "n_eff", "block", "seed", "reason")
