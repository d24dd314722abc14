"""The verdict: invalid > suspect > inconclusive > supported, for prediction and for money apart.

There is no pass. One error makes a run invalid; an alarm makes it suspect; an interval that holds
the baseline, too few rows, or a pipeline whose leaks have not been hunted leave it inconclusive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from perpwalk.audit.evidence import FEW_TRADES, Evidence
from perpwalk.audit.outside import Outside
from perpwalk.deflation import deflate
from perpwalk.domain import Finding, Level

ENOUGH = 0.95  # probability that the Sharpe ratio beats the best of so many lucky ones
LIFT = "`perpwalk audit CONFIG --full`, then `perpwalk run CONFIG` again, judges it with one"


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
    outside: Outside | None = None,
    spa_p: float | None = None,
    variants: int = 1,
) -> Verdict:
    """Weigh findings and evidence.

    Parameters
    ----------
    findings
        All findings of the run, those of the evidence included.
    outside
        How deeply the pipeline was searched for leaks (anything but "full" caps at inconclusive)
        and what was tried so far (without a count there is no deflated Sharpe ratio).
    spa_p
        Hansen's p against the benchmark; needed where ``variants`` exceeds 1.
    """
    outside = outside or Outside()
    errors = [f for f in findings if f.level is Level.ERROR]
    if errors:
        told = tuple(_told(f) for f in errors)
        return Verdict(Word.INVALID, Word.INVALID, Word.INVALID, told)
    alarms = [f for f in findings if _is_alarm(f)]
    if alarms:
        told = tuple(_told(f) for f in alarms)
        return Verdict(Word.SUSPECT, Word.SUSPECT, Word.SUSPECT, told)
    doubts = (*_doubts_of_skill(evidence, outside), *_of_repeats(findings, _FORECASTS))
    money = (
        *_doubts_of_money(evidence, outside, spa_p, variants), *_of_repeats(findings, _ACCOUNT),
    )  # fmt: skip
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


def _doubts_of_skill(evidence: Evidence, outside: Outside) -> Iterator[str]:
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
    for symbol, own in evidence.auc_of.items():
        # A claim about all contracts stands where each clears the bar on its own; testing each at
        # the full level is exact then (intersection-union test, Berger 1982).
        if own.low is None:
            yield f"AUC of {symbol} alone has no interval ({own.reason})"
        elif own.low <= 0.5:
            yield (
                f"AUC of {symbol} alone {own.value:.4f} with lower bound {own.low:.4f}: not above "
                "0.5, so what the pooled figures show is not of every contract"
            )
    if evidence.accuracy.n_eff is not None and evidence.accuracy.n_eff < 400:
        yield f"only about {evidence.accuracy.n_eff:.0f} independent test decisions"
    if outside.leak_audit != "full":
        done = "not been" if outside.leak_audit == "none" else "only quickly been"
        note = "" if outside.leak_note is None else f"; {outside.leak_note}"
        yield f"the pipeline has {done} searched for leaks{note} ({LIFT})"


_REPEATS = ("U013", "U014")
_FORECASTS, _ACCOUNT = ("model", "placebo: forecasts"), ("account", "placebo: account")


def _of_repeats(findings: Sequence[Finding], places: Sequence[str]) -> Iterator[str]:
    """Yield that seeds disagree (U014), or that a random model does as well (U013)."""
    for finding in findings:
        warned = finding.level is Level.WARN and finding.code in _REPEATS
        if warned and finding.where in places:
            yield f"{finding.message} ({finding.observed})"


def _points(value: float | None) -> str:
    return "undefined" if value is None else f"{100 * value:+.2f} points"


def _doubts_of_money(
    evidence: Evidence, outside: Outside, spa_p: float | None, variants: int
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
    deflated = deflate(evidence.sharpe_stats, outside.trials)
    if deflated.probability is None:
        yield f"the Sharpe ratio is not deflated for the search: {deflated.reason}"
    elif deflated.probability <= ENOUGH:
        counted = "" if outside.trials is None else f" for {outside.trials.as_text()}"
        yield f"deflated{counted}, skill has probability {deflated.probability:.3f} (needs 0.95)"
    if variants > 1 and (spa_p is None or spa_p >= 0.05):
        yield f"the best of {variants} variants does not beat the benchmark (SPA p {spa_p})"


def _doubts_of_costs(evidence: Evidence) -> Iterator[str]:
    fee, paid = evidence.break_even_fee, evidence.fee_paid
    if fee is None or paid is None:
        yield "nothing was traded"
    elif fee <= paid:
        yield f"it breaks even at a fee of {1e4 * fee:.2f} bp a side and paid {1e4 * paid:.2f} bp"
