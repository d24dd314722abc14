"""All detectors over one pipeline, in the order in which they help each other, and the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import pandas as pd

from perpwalk.audit.leaks.canaries import audit_canaries, audit_single_features
from perpwalk.audit.leaks.contract import Outcome, Pipeline, PipelineOutput, Probe
from perpwalk.audit.leaks.delay import audit_delay
from perpwalk.audit.leaks.determinism import audit_determinism
from perpwalk.audit.leaks.null_account import Account, audit_null_account
from perpwalk.audit.leaks.null_market import NullRun, audit_null_market, null_runs
from perpwalk.audit.leaks.permutation import audit_permutation
from perpwalk.audit.leaks.perturbation import audit_perturbation, choose_cuts
from perpwalk.audit.leaks.planted import audit_planted
from perpwalk.audit.leaks.startup import audit_startup
from perpwalk.audit.leaks.truncation import audit_truncation
from perpwalk.domain import Finding, Level, Market

T = TypeVar("T")

BLIND_SPOTS = (
    "stamps that lie about availability: records revised later, or stamped earlier than published",
    "choices made by people across runs (only the trial ledger counts them)",
    "artefacts or caches fitted on later data and brought along",
    "leaks at rare bars that no cut fell on",
    "which symbols were looked at: survivors",
    "whether orders of this size would have filled at these prices",
    "a label made of the past, a late label and a one-class label are invisible to perturbation: "
    "the label audit (L001 to L006) and the planted edge see them",
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much of each detector to run; 0 leaves it out.

    Attributes
    ----------
    truncation_times
        Decisions at which features are recomputed.
    folds
        How many folds futures are replaced in (first, last, then evenly between); None: all.
    interior
        Cuts inside a fold, besides those at its start and end.
    all_kinds_at_start
        Whether a fold's first bar sees all three kinds of future.
    max_cuts
        At most so many cuts in all, thinned evenly; None: no limit.
    only_folds
        Fit only these folds in all runs (for models that cost minutes); None: all.
    """

    truncation_times: int = 60
    startup: bool = True
    folds: int | None = None
    interior: int = 2
    all_kinds_at_start: bool = True
    max_cuts: int | None = None
    permutations: int = 6
    null_markets: int = 6
    planted: bool = True
    canaries: bool = True
    delay_bars: int = 3
    only_folds: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class LeakReport:
    """What the whole suite found.

    Attributes
    ----------
    outcomes
        One per detector, in the order of running.
    power
        What the statistical detectors could have seen, in words.
    control
        The run on the market as it is.
    """

    outcomes: tuple[Outcome, ...]
    power: tuple[str, ...]
    control: PipelineOutput
    blind_spots: tuple[str, ...] = BLIND_SPOTS

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, errors first."""
        order = {Level.ERROR: 0, Level.WARN: 1, Level.INFO: 2}
        found = [finding for outcome in self.outcomes for finding in outcome.findings]
        return tuple(sorted(found, key=lambda finding: order[finding.level]))

    @property
    def caught(self) -> bool:
        """Whether any detector raised an alarm."""
        return any(outcome.caught for outcome in self.outcomes)

    @property
    def exit_code(self) -> int:
        """What the command line returns: 3 for any error, 4 for an unexplained warning, else 0.

        A pipeline that is blind (K005) or noisy (K007) is no sign of a leak.
        """
        if any(finding.level is Level.ERROR for finding in self.findings):
            return 3
        doubtful = (
            finding.level is Level.WARN
            and finding.code.startswith(("K", "P014"))
            and finding.code not in ("K005", "K007")
            for finding in self.findings
        )
        return 4 if any(doubtful) else 0

    @property
    def table(self) -> pd.DataFrame:
        """One row per detector: detector, alarm, codes, summary."""
        return pd.DataFrame(
            [
                {
                    "detector": outcome.detector,
                    "alarm": outcome.caught,
                    "codes": " ".join(dict.fromkeys(f.code for f in outcome.findings)),
                    "summary": outcome.summary,
                }
                for outcome in self.outcomes
            ],
            columns=["detector", "alarm", "codes", "summary"],
        )

    def with_outcomes(self, *more: Outcome) -> LeakReport:
        """Return the report with further detectors' outcomes appended."""
        return replace(self, outcomes=(*self.outcomes, *more))

    def outcome(self, detector: str) -> Outcome | None:
        """Return one detector's outcome, None where it did not run."""
        return next((each for each in self.outcomes if each.detector == detector), None)


Tell = Callable[[str], None]


def run_suite(
    pipeline: Pipeline,
    market: Market,
    seed: int,
    plan: Plan | None = None,
    tell: Tell | None = None,
    account: Account | None = None,
) -> LeakReport:
    """Run the detectors that ``plan`` names over ``pipeline``.

    Parameters
    ----------
    market
        Real or simulated; surrogates are made from it.
    tell
        Called with each detector's name before it starts.
    account
        Trades the forecasts on markets without edge: then what it earns there is judged too.

    Returns
    -------
    LeakReport
    """
    return _Suite(pipeline, market, seed, plan or Plan(), tell or (lambda _: None), account).run()


class _Suite:
    def __init__(
        self, pipeline: Pipeline, market: Market, seed: int, plan: Plan, tell: Tell,
        account: Account | None,
    ) -> None:  # fmt: skip
        self._box = pipeline if plan.only_folds is None else _Few(pipeline, plan.only_folds)
        self._market, self._seed, self._plan, self._tell = market, seed, plan, tell
        self._account = account

    def run(self) -> LeakReport:
        self._tell("control run")
        control = self._box(self._market, self._seed)
        determinism, rounding = audit_determinism(self._box, self._market, self._seed, control)
        steps: list[tuple[str, bool, Callable[[], Outcome]]] = [
            ("truncation", self._plan.truncation_times > 0, lambda: self._truncation(control)),
            ("startup", self._plan.startup, lambda: self._startup(control)),
            ("single features", True, lambda: _single_features(control)),
            ("perturbation", True, lambda: self._perturbation(control, rounding)),
            ("permutation", self._plan.permutations > 0, self._permutation),
            ("null market", self._plan.null_markets > 0, lambda: audit_null_market(self._nulls)),
            (
                "null account",
                self._plan.null_markets > 0 and self._account is not None,
                self._null_account,
            ),
            ("planted edge", self._plan.planted, lambda: self._planted(control)),
            ("canaries", self._plan.canaries, lambda: self._canaries(control)),
            ("delay sweep", self._plan.delay_bars > 0, self._delay),
        ]
        outcomes = [determinism]
        for name, wanted, step in steps:
            if wanted:
                self._tell(name)
                outcomes.append(step())
        return LeakReport(
            outcomes=tuple(outcomes), power=tuple(power_of(outcomes)), control=control
        )

    def _truncation(self, control: PipelineOutput) -> Outcome:
        return audit_truncation(
            self._box, self._market, control.features, [t.fold for t in control.folds],
            times=self._plan.truncation_times, seed=self._seed,
        )  # fmt: skip

    def _startup(self, control: PipelineOutput) -> Outcome:
        return audit_startup(self._box, self._market, control.features)

    def _perturbation(self, control: PipelineOutput, rounding: float) -> Outcome:
        folds = _spread([trace.fold for trace in control.folds], self._plan.folds)
        cuts = choose_cuts(
            self._market, folds, control.labels.horizon, seed=self._seed,
            interior=self._plan.interior, all_kinds_at_start=self._plan.all_kinds_at_start,
        )  # fmt: skip
        cuts = _spread(cuts, self._plan.max_cuts)
        return audit_perturbation(
            self._box, self._market, self._seed, control, cuts, rounding=rounding
        )

    def _permutation(self) -> Outcome:
        return audit_permutation(self._box, self._market, self._seed, runs=self._plan.permutations)

    @cached_property
    def _nulls(self) -> list[NullRun]:
        return null_runs(
            self._box, self._market, self._seed, markets=self._plan.null_markets,
            account=self._account,
        )  # fmt: skip

    def _null_account(self) -> Outcome:
        gains = [run.gains for run in self._nulls]
        return audit_null_account(gains, self._market.bars.interval)

    def _planted(self, control: PipelineOutput) -> Outcome:
        horizon = control.labels.horizon
        return audit_planted(self._box, self._market, self._seed, horizon=horizon)

    def _canaries(self, control: PipelineOutput) -> Outcome:
        folds = [control.folds[len(control.folds) // 2].fold]
        cut = choose_cuts(self._market, folds, 1, seed=self._seed, interior=0)[0]
        return audit_canaries(self._box, self._market, self._seed, cut)

    def _delay(self) -> Outcome:
        return audit_delay(self._box, self._market, self._seed, bars=self._plan.delay_bars)


class _Few:
    """A pipeline of which only some folds are fitted."""

    def __init__(self, pipeline: Pipeline, numbers: tuple[int, ...]) -> None:
        self._pipeline, self._numbers = pipeline, numbers
        self.features = pipeline.features

    def __call__(self, market: Market, seed: int, probe: Probe | None = None) -> PipelineOutput:
        asked = Probe() if probe is None else probe
        if asked.only_folds is None:
            asked = replace(asked, only_folds=self._numbers)
        return self._pipeline(market, seed, asked)


def _single_features(control: PipelineOutput) -> Outcome:
    findings = audit_single_features(control.features, control.labels)
    return Outcome(
        detector="single features",
        summary=f"{len(findings)} of {len(control.features.names)} features tell the label alone",
        findings=findings,
    )


def _spread(items: list[T], count: int | None) -> list[T]:
    """Return at most ``count`` of ``items``, first and last among them, evenly between.

    >>> _spread([1, 2, 3, 4, 5], 3)
    [1, 3, 5]
    """
    if count is None or count >= len(items):
        return items
    if count == 1:
        return items[:1]
    step = (len(items) - 1) / (count - 1)
    return [items[round(place * step)] for place in range(count)]


def power_of(outcomes: Sequence[Outcome]) -> list[str]:
    """Say what the statistical detectors could have seen with a power of 80 %."""
    lines = []
    for outcome in outcomes:
        lift = outcome.numbers.get("detectable")
        if lift is not None:
            lines.append(f"{outcome.detector}: sees an AUC lift of {lift:.3f} in 4 of 5 cases")
        sharpe = outcome.numbers.get("detectable_sharpe")
        if sharpe is not None:
            lines.append(
                f"{outcome.detector}: sees a yearly Sharpe ratio of {sharpe:.1f} before costs in 4 "
                "of 5 cases"
            )
    return lines
