"""``perpwalk audit``: hunt leaks in everything a configuration names, as one black box.

The pipeline that is audited is the one that runs: the same features (the user's own too), labels,
folds and walk-forward driver, without its cache on disk. Training a network dozens of times would
take hours, so most detectors run with a logistic stand-in for the model; ``full`` then repeats the
main ones with the real model on one fold. Signals are computed bar by bar with the real model too
(without ``full`` only where it is quick). The strategy is audited by replays of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engine import replay
from engine.leaks_online import delivered
from engine.null_account import NullAccount
from engine.plugins import load_strategy
from engine.progress import Reporter, Silent
from engine.walkforward import FoldResult, WalkForward
from perpwalk import data, features, folds, labels, models
from perpwalk.audit.labels import audit_labels
from perpwalk.audit.leaks.canaries import FittedMemoriser
from perpwalk.audit.leaks.contract import (
    PLAIN,
    FoldTrace,
    Outcome,
    PipelineOutput,
    Probe,
    digest,
)
from perpwalk.audit.leaks.online import audit_online
from perpwalk.audit.leaks.strategy import StrategyTrace, audit_strategy
from perpwalk.audit.leaks.suite import LeakReport, Plan, run_suite
from perpwalk.audit.leaks.suspects import name_suspects
from perpwalk.config import Config
from perpwalk.domain import (
    FeatureFrame,
    Finding,
    Fold,
    IntArray,
    LabelFrame,
    Level,
    Market,
)
from perpwalk.errors import LookAheadError
from perpwalk.signals import PrecomputedSignals

STAND_IN = "logistic"
STRATEGY_BARS = 400
REAL_EPOCHS, REAL_ROUNDS = 3, 60

QUICK = Plan(
    truncation_times=40, folds=3, interior=2, all_kinds_at_start=False, max_cuts=12,
    permutations=2, null_markets=2, delay_bars=0,
)  # fmt: skip
FULL = Plan(
    truncation_times=60, interior=2, max_cuts=40, permutations=6, null_markets=8, delay_bars=3
)
REAL = Plan(
    truncation_times=0, startup=False, folds=1, interior=1, all_kinds_at_start=False, max_cuts=4,
    permutations=0, null_markets=2, planted=True, canaries=False, delay_bars=0,
)  # fmt: skip

_ONLY_ONCE = ("single features",)  # the same with any model


# ── the black box ────────────────────────────────────────────────────────────────────────────────


class ConfiguredPipeline:
    """What a configuration names, from market to forecasts, as ``perpwalk.audit.leaks`` wants it.

    Parameters
    ----------
    config
        With the model that is to be fitted.
    market
        Read once; only whether it has funding records is taken from it.
    """

    def __init__(self, config: Config, market: Market) -> None:
        self._config = config
        self._set = features.feature_set(config.features, funding=market.funding_features)
        self._timesteps = models.build_model(config.model).timesteps

    @property
    def feature_set(self) -> features.FeatureSet:
        """The features that are computed."""
        return self._set

    def features(self, market: Market) -> FeatureFrame:
        """Compute the features alone."""
        return self._set.compute(market.bars, market.funding)

    def __call__(self, market: Market, seed: int, probe: Probe = PLAIN) -> PipelineOutput:
        """Run features, labels, folds, and fit and forecast of each fold the probe wants."""
        target = labels.make_labels(market.bars, self._config.label)
        if probe.labels is not None:
            target = probe.labels(target)
        frame = self.features(market)
        if probe.features is not None:
            frame = probe.features(frame, target)
        wanted = [fold for fold in self.cut(market, frame, target) if probe.wants(fold.number)]
        results = self.fit(frame, target, wanted, seed, memorise=probe.memorise)
        return PipelineOutput(
            features=frame, labels=target, folds=tuple(_trace(result) for result in results)
        )

    def fit(
        self,
        frame: FeatureFrame,
        target: LabelFrame,
        wanted: Sequence[Fold],
        seed: int,
        *,
        memorise: bool = False,
    ) -> list[FoldResult]:
        """Fit and forecast folds, keeping nothing on disk."""
        config = self._config.model_copy(update={"seed": seed})
        if memorise:
            config = _with_model(config, kind="perpwalk.audit.leaks.canaries:Memoriser", params={})
        return list(WalkForward(config, frame, target).run(wanted))

    def cut(self, market: Market, frame: FeatureFrame, target: LabelFrame) -> tuple[Fold, ...]:
        """Cut time into folds: how many bars a model's windows need decides where they begin."""
        return folds.make_folds(
            self._config.walk_forward,
            close_time=market.bars.close_time,
            interval=market.bars.interval,
            usable=folds.usable_rows(frame, self._timesteps),
            labels=target,
            purge=labels.purge_bars(self._config.label, market.bars.interval),
        )


def plan_of(full: bool) -> Plan:
    """Return how much of each detector a search runs."""
    return FULL if full else QUICK


def with_stand_in(config: Config) -> Config:
    """Return the configuration with a model that is fitted in no time."""
    return _with_model(config, kind=STAND_IN, params={})


def _with_model(config: Config, **changes: Any) -> Config:
    return config.model_copy(update={"model": config.model.model_copy(update=changes)})


def _trace(result: FoldResult) -> FoldTrace:
    fitted = result.fitted
    return FoldTrace(
        fold=fitted.fold,
        fitted={
            "selection": digest(fitted.preprocessor.names),
            "scaler": digest(fitted.preprocessor.center, fitted.preprocessor.scale),
            "stopping": digest([(report.stage, report.epoch) for report in result.training]),
            "model": _model_digest(result),
        },
        threshold=fitted.threshold,
        p_up=result.forecast.p_up,
    )


def _model_digest(result: FoldResult) -> str:
    """Return the hash of the files the model would save; a canary's forecasts stand for it."""
    model = result.fitted.model
    if isinstance(model, FittedMemoriser):
        return digest(result.forecast.p_up)
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder))
        return digest(*(path.read_bytes() for path in sorted(Path(folder).rglob("*.*"))))


# ── the audit ────────────────────────────────────────────────────────────────────────────────────


def audit(
    config: Config,
    *,
    full: bool = False,
    market: Market | None = None,
    strategy: bool = True,
    reporter: Reporter | None = None,
) -> LeakReport:
    """Run all leak detectors on the one contract that ``config`` names.

    Parameters
    ----------
    market
        What ``config`` names, where it has been read already. The finer bars inside its own, which
        decide nothing, are left out of the search.
    strategy
        Whether to search the strategy too: one that trades several contracts is searched in their
        account (``engine.leaks_account``).
    full
        Also fit the real model, on one fold with fewer epochs, and draw more surrogate markets.
        Without it, a minute on the demo.

    Returns
    -------
    LeakReport
        ``findings`` (errors first), ``table``, ``power``, ``blind_spots``, ``exit_code``.

    Raises
    ------
    UserError
        Configuration or data are unusable.
    """
    tell = reporter or Silent()
    if market is None:
        tell.stage("load")
        market = data.load_market(config.market, seed=config.seed)
    subject = _Subject(config, replace(market, inside=None), tell)
    account = NullAccount(config) if strategy else None
    report = subject.stand_in(plan_of(full), account)
    report = report.with_outcomes(
        *subject.audits(report), *subject.replays(report, full=full, strategy=strategy)
    )
    if full and config.model.kind != STAND_IN:
        report = _joined(report, subject.real_model(report, account))
    return report.with_outcomes(name_suspects(report))


@dataclass(frozen=True, eq=False)
class _Subject:
    """The configuration under audit and its market."""

    config: Config
    market: Market
    tell: Reporter

    def stand_in(self, plan: Plan, account: NullAccount | None) -> LeakReport:
        config = with_stand_in(self.config)
        box = ConfiguredPipeline(config, self.market)
        steps = 9 + (account is not None) + (plan.delay_bars > 0)
        self.tell.stage(f"leak detectors, {STAND_IN} stand-in", steps)
        return run_suite(box, self.market, self.config.seed, plan, self.tell.step, account)

    def audits(self, report: LeakReport) -> list[Outcome]:
        """Hold labels and folds against what they are declared to be."""
        control = report.control
        cut = [trace.fold for trace in control.folds]
        purge = labels.purge_bars(self.config.label, self.market.bars.interval)
        named = {
            "labels": audit_labels(control.labels, self.market.bars, self.config.label, cut),
            "folds": folds.check_folds(cut, control.labels, purge=purge),
        }
        return [
            Outcome(detector=name, summary=_counted(found), findings=found)
            for name, found in named.items()
        ]

    def replays(self, report: LeakReport, *, full: bool, strategy: bool) -> list[Outcome]:
        """Audit what needs signals: online against batched, and the strategy."""
        quick = full or self.config.model.kind in models.QUICK
        config = self._shortened() if quick else with_stand_in(self.config)
        box = ConfiguredPipeline(config, self.market)
        control = report.control
        cut = box.cut(self.market, control.features, control.labels)
        chosen = [cut[0], cut[-1]][: len(cut)]
        self.tell.stage("signals and strategy" if strategy else "signals", 1 + strategy)
        results = box.fit(control.features, control.labels, chosen, self.config.seed)
        told = delivered(box.feature_set, self.market, results)
        kind = config.model.kind
        outcomes = [audit_online(told, self.market.bars.close_time, kind)]
        self.tell.step("online signals")
        if not strategy:
            return outcomes
        outcomes.append(_strategy(self.config, self.market, results[0]))
        self.tell.step("strategy")
        return outcomes

    def real_model(self, report: LeakReport, account: NullAccount | None) -> LeakReport:
        """Repeat the main detectors with the configured model on one fold."""
        config = self._shortened()
        numbers = [trace.fold.number for trace in report.control.folds]
        plan = replace(REAL, only_folds=(numbers[len(numbers) // 2],))
        steps = 5 + (account is not None)
        self.tell.stage(f"leak detectors, {self.config.model.kind} on one fold", steps)
        box = ConfiguredPipeline(config, self.market)
        return run_suite(box, self.market, self.config.seed, plan, self.tell.step, account)

    def _shortened(self) -> Config:
        """Return the configuration with its own model, trained for less long."""
        return _with_model(
            self.config,
            lstm=_at_most(self.config.model.lstm, epochs=REAL_EPOCHS),
            xgb=_at_most(self.config.model.xgb, rounds=REAL_ROUNDS),
        )


def _at_most(section: Any, **limits: int) -> Any:
    smaller = {name: min(getattr(section, name), limit) for name, limit in limits.items()}
    return section.model_copy(update=smaller)


def _counted(findings: Sequence[Finding]) -> str:
    errors = sum(finding.level is Level.ERROR for finding in findings)
    warnings = sum(finding.level is Level.WARN for finding in findings)
    return f"{errors} errors, {warnings} warnings"


def _joined(report: LeakReport, real: LeakReport) -> LeakReport:
    outcomes = [
        replace(outcome, detector=f"real model: {outcome.detector}")
        for outcome in real.outcomes
        if outcome.detector not in _ONLY_ONCE
    ]
    power = (*report.power, *(f"real model: {line}" for line in real.power))
    return replace(report.with_outcomes(*outcomes), power=power)


# ── the strategy ─────────────────────────────────────────────────────────────────────────────────


def _strategy(config: Config, market: Market, result: FoldResult) -> Outcome:
    """Replay the strategy over other futures with the same signals."""
    strategy, params = load_strategy(config.strategy.name, config.strategy.params)
    rows: IntArray = result.forecast.rows[:STRATEGY_BARS]
    start, end = market.bars.close_time[rows[0]], market.bars.close_time[rows[-1]]
    signals = PrecomputedSignals([result.forecast], [result.fitted.threshold])

    def box(other: Market) -> StrategyTrace:
        book = replay.replay(
            [replay.ReplayMarket(other, signals)],
            strategy,
            params,
            config.broker,
            start=start,
            end=end,
            forming=replay.forming_length(config.strategy),
        )
        return StrategyTrace.of(book)

    try:
        outcome = audit_strategy(box, market, config.seed)
    except LookAheadError as error:
        outcome = refused(error)
    if not config.broker.cheat_on_open:
        return outcome
    return replace(outcome, findings=(*outcome.findings, CHEATS))


def refused(error: LookAheadError) -> Outcome:
    """Return what is said of a strategy that the replay itself stopped."""
    finding = Finding(
        code="K008",
        level=Level.ERROR,
        where="the strategy's decisions",
        message="the strategy reached for data that was not known yet, and was refused",
        observed=" ".join(str(error).split()),
        expected="only the current and earlier bars",
        why="it cannot run at all as it is",
        advice="read only the current and earlier bars",
    )
    return Outcome(
        detector="strategy", summary="the replay refused a look ahead", findings=(finding,)
    )


CHEATS = Finding(
    code="K008",
    level=Level.ERROR,
    where="broker.cheat_on_open",
    message="orders may be decided on the very open at which they fill",
    observed="true",
    expected="false",
    why="nobody sees an opening price and trades at it",
    advice="set broker.cheat_on_open: false",
)


# ── showing it ───────────────────────────────────────────────────────────────────────────────────

_MARK = {Level.ERROR: ("ERROR", "bold red"), Level.WARN: ("WARN", "yellow"), Level.INFO: ("", "")}


def show(report: LeakReport, console: Console, *, most: int = 20) -> None:
    """Print the table of detectors, the findings worth acting on, the power, the blind spots."""
    table = Table(box=None, header_style="bold")
    for column in ("detector", "says", "codes", "in numbers"):
        table.add_column(column, overflow="fold")
    for outcome in report.outcomes:
        codes = " ".join(dict.fromkeys(finding.code for finding in outcome.findings))
        said = _said(outcome)
        table.add_row(outcome.detector, said, codes, Text(outcome.summary))
    console.print(table)
    loud = [finding for finding in report.findings if finding.level is not Level.INFO]
    for finding in loud[:most]:
        _show_finding(finding, console)
    if len(loud) > most:
        console.print(f"… and {len(loud) - most} more findings")
    _show_lines("Power", report.power, console)
    _show_lines("What this audit cannot see", report.blind_spots, console)


def _said(outcome: Outcome) -> Text:
    levels = {finding.level for finding in outcome.findings}
    if Level.ERROR in levels:
        return Text("ALARM", "bold red")
    if Level.WARN in levels:
        return Text("warns", "yellow")
    return Text("not judged" if outcome.summary.startswith("not judged") else "silent", "green")


def _show_finding(finding: Finding, console: Console) -> None:
    word, style = _MARK[finding.level]
    head = Text.assemble((f"{word} {finding.code} ", style), f"{finding.where}: {finding.message}")
    console.print(head)
    for name in ("observed", "expected", "why", "advice"):
        text = getattr(finding, name)
        if text is not None:
            console.print(Text(f"    {name}: {text}"), soft_wrap=True)


def _show_lines(title: str, lines: Sequence[str], console: Console) -> None:
    if lines:
        console.print(Text(title, "bold"))
    for line in lines:
        console.print(Text(f"  {line}"), soft_wrap=True)


def document(report: LeakReport) -> dict[str, Any]:
    """Return the report as plain values for JSON; an undefined number is None."""
    return {
        "detectors": [
            {
                "detector": outcome.detector,
                "alarm": outcome.caught,
                "summary": outcome.summary,
                "numbers": {
                    name: None if value is None or not np.isfinite(value) else float(value)
                    for name, value in outcome.numbers.items()
                },
            }
            for outcome in report.outcomes
        ],
        "findings": [finding.as_dict() for finding in report.findings],
        "power": list(report.power),
        "blind_spots": list(report.blind_spots),
    }
