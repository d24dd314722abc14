"""What the headline estimates share: the bootstrap's setting, and what is said of an interval."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from perpwalk.domain import Finding, Level
from perpwalk.remembered import Remembered
from perpwalk.uncertainty.bootstrap import Target, bootstrap_estimates
from perpwalk.uncertainty.estimate import Estimate, Interval

RESAMPLES = 2000
UNLIKE_WIDTHS = 1.5


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What every interval of a run has in common."""

    horizon: int
    confidence: float
    seed: int


def undefined(reason: str, setting: Setting, n: int = 0) -> Estimate:
    """Return an estimate that has no value, and why."""
    return Estimate(value=None, level=setting.confidence, n=n, reason=reason)


def bootstrapped(
    targets: Sequence[Target],
    setting: Setting,
    findings: list[Finding],
    resamples: int = RESAMPLES,
) -> tuple[Estimate, ...]:
    """Return each target with its stationary-bootstrap interval; add what was found."""
    estimates, told = bootstrap_estimates(
        targets, horizon=setting.horizon, confidence=setting.confidence, resamples=resamples,
        seed=setting.seed,
    )  # fmt: skip
    findings.extend(told)
    return estimates


Figure = Callable[[Any, Setting, list[Finding]], Estimate]
_REMEMBERED = 64  # figures of forecasts: a few a contract


def of_forecasts(figure: Figure) -> Figure:
    """Let a figure that depends on forecasts and labels alone be computed once for all who ask.

    Variants of a strategy over one trained model share their forecasts, and with them the figures
    that no threshold enters. They are told apart by content: same bits in, same answer out.
    """
    known: Remembered[bytes, tuple[Estimate, list[Finding]]] = Remembered(_REMEMBERED)

    @functools.wraps(figure)
    def remembered(scored: Any, setting: Setting, findings: list[Finding]) -> Estimate:
        def made() -> tuple[Estimate, list[Finding]]:
            told: list[Finding] = []
            return figure(scored, setting, told), told

        found, told = known.get(scored.forecasts_digest(repr(setting)), made)
        findings += told
        return found

    return remembered


def cut_to_range(found: Estimate, name: str, findings: list[Finding]) -> Estimate:
    """Return an interval of a share cut to [0, 1], and say where that was needed (U007)."""
    if found.low is None or found.high is None or (found.low >= 0 and found.high <= 1):
        return found
    findings.append(
        Finding(
            code="U007",
            level=Level.INFO,
            where=name,
            message="the interval was cut to the range of what it bounds",
            observed=f"{found.low:.4f} to {found.high:.4f}",
            expected="0 to 1",
        )
    )
    return replace(found, low=max(0.0, found.low), high=min(1.0, found.high))


def disagreement(
    name: str, found: Estimate, twin: Interval | None, method: str
) -> tuple[Finding, ...]:
    """Return U010 where the textbook interval of the same number is of quite another width."""
    if twin is None or found.low is None or found.high is None:
        return ()
    one, other = found.high - found.low, twin.high - twin.low
    if min(one, other) <= 0 or max(one, other) / min(one, other) <= UNLIKE_WIDTHS:
        return ()
    return (
        Finding(
            code="U010",
            level=Level.WARN,
            where=name,
            message="two methods for the same interval differ by more than half in width",
            observed=f"bootstrap {found.low:.4f} to {found.high:.4f}, "
            f"{method} {twin.low:.4f} to {twin.high:.4f}",
            expected="widths within a factor of 1.5",
            why="the rows depend on each other in a way that one of the two does not know",
            advice="believe the wider one",
        ),
    )
