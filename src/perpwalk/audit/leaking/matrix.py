"""The detection matrix: every detector on every pipeline of the library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from perpwalk.audit.labels import audit_labels
from perpwalk.audit.leaking.reference import ReferencePipeline
from perpwalk.audit.leaking.strategies import follow, held
from perpwalk.audit.leaks.contract import Outcome
from perpwalk.audit.leaks.null_account import audit_null_account
from perpwalk.audit.leaks.null_market import null_seed
from perpwalk.audit.leaks.online import audit_online
from perpwalk.audit.leaks.planted import audit_planted
from perpwalk.audit.leaks.strategy import StrategyBox, audit_strategy
from perpwalk.audit.leaks.suite import LeakReport, Plan, run_suite
from perpwalk.audit.leaks.surrogates import sign_flipped
from perpwalk.config import LabelSection, Simulate
from perpwalk.domain import Finding, Level, Market
from perpwalk.folds import check_folds
from perpwalk.simulate import simulate_market

BARS = 2827  # four test spans of 400: 1,600 out-of-sample rows
PLANTED_BARS = 6450  # 13 test spans: 5,200 rows, or the share found is too noisy to judge
PLAN = Plan(
    truncation_times=40,
    startup=True,
    interior=1,
    permutations=6,
    null_markets=6,
    planted=False,
    delay_bars=1,
)
# Errors of these codes count as an alarm of the label audit; its warnings are about sample size.
_LABEL_CODES = ("L001", "L002", "L003", "L004", "L005", "L006", "L008")


@dataclass(frozen=True)
class Row:
    """What each detector said of one pipeline: alarm, no alarm, or (None) did not run."""

    name: str
    cells: Mapping[str, bool | None]
    report: LeakReport | None = None
    codes: tuple[str, ...] = ()

    @property
    def caught_by(self) -> tuple[str, ...]:
        """Detectors that raised an alarm."""
        return tuple(name for name, alarm in self.cells.items() if alarm)


def matrix_market(seed: int, bars: int = BARS) -> Market:
    """Return a random walk with funding: nothing can be forecast."""
    return simulate_market(
        Simulate(bars=bars, edge=0.0), symbol="NULLUSDT", interval=pd.Timedelta("1h"), seed=seed
    )


def detect(
    name: str, pipeline: ReferencePipeline, seed: int, plan: Plan = PLAN, *, planted: bool = True
) -> Row:
    """Run every detector on one pipeline over the random walk of ``seed``."""
    market = matrix_market(seed)
    report = run_suite(pipeline, market, seed, plan, account=follow)
    told = pipeline.live(market, report.control, seed)
    report = report.with_outcomes(audit_online(told, market.bars.close_time, "the model"))
    if planted:
        longer = matrix_market(seed, PLANTED_BARS)
        report = report.with_outcomes(
            audit_planted(pipeline, longer, seed, horizon=pipeline.horizon)
        )
    labels = _labels(pipeline, market, report)
    folds = _folds(pipeline, report)
    cells: dict[str, bool | None] = {o.detector: o.caught for o in report.outcomes}
    cells["labels"] = any(f.level is Level.ERROR and f.code in _LABEL_CODES for f in labels)
    cells["folds"] = any(f.level is Level.ERROR for f in folds)
    cells["strategy"] = None
    findings = [*report.findings, *labels, *folds]
    codes = sorted({f.code for f in findings if f.level is not Level.INFO})
    return Row(name, cells, report, tuple(codes))


def detect_strategy(name: str, strategy: StrategyBox, seed: int) -> Row:
    """Ask a strategy the two questions of ``audit_strategy``, and let it trade noise."""
    market = matrix_market(seed, 600)
    noise = [sign_flipped(market, null_seed(seed, number)) for number in range(PLAN.null_markets)]
    gains = [held(strategy(each), each).gains(each) for each in noise]
    outcomes: list[Outcome] = [
        audit_null_account(gains, market.bars.interval),
        audit_strategy(strategy, market, seed),
    ]
    codes = sorted({finding.code for outcome in outcomes for finding in outcome.findings})
    cells = {outcome.detector: outcome.caught for outcome in outcomes}
    return Row(name, cells, None, tuple(codes))


def _labels(pipeline: ReferencePipeline, market: Market, report: LeakReport) -> tuple[Finding, ...]:
    section = LabelSection(horizon=f"{pipeline.horizon}bars")
    folds = [trace.fold for trace in report.control.folds]
    return audit_labels(report.control.labels, market.bars, section, folds)


def _folds(pipeline: ReferencePipeline, report: LeakReport) -> tuple[Finding, ...]:
    folds = [trace.fold for trace in report.control.folds]
    return check_folds(folds, report.control.labels, purge=pipeline.horizon)
