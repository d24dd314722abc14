"""The stages of an experiment in memory: market → features, labels, folds → forecasts → book.

The stages take every contract of the account; one alone is a list of one.

Nothing here writes a file (but the walk, which keeps finished folds where it is told to);
`engine.experiment` puts the stages together on disk, `engine.verify` runs them again.
"""

from __future__ import annotations

import functools
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from engine import ledger_engine, replay, tables
from engine.crew import Crew
from engine.crosscheck import checked_by_replay, crosscheck, unchecked
from engine.exact import one_thread
from engine.foldtasks import Pending, fit_together
from engine.memory import Memory
from engine.narration import fold_lines, fold_summary
from engine.parts import Prepared, Walked
from engine.plugins import load_strategy
from engine.progress import Reporter, Silent
from engine.walkforward import WalkForward
from perpwalk import features, fold_checks, folds, labels, metrics, models
from perpwalk.audit import fits
from perpwalk.audit.judge import Contract, Judgement, judge
from perpwalk.audit.outside import Outside
from perpwalk.audit.seeds import SeedBand
from perpwalk.config import Config, WalkForwardSection
from perpwalk.domain import BoolArray, FeatureFrame, Finding, Fold, LabelFrame, Market
from perpwalk.errors import ConfigError, UsageError, naming
from perpwalk.finite import require_market
from perpwalk.ledger import Ledger, with_tracks
from perpwalk.signals import LiveSignals, PrecomputedSignals, SignalSource


@dataclass
class StageClock:
    """Wall seconds and peak memory of each stage, for the manifest."""

    stages: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what happens inside."""
        started = time.perf_counter()
        yield
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # Linux counts kibibytes, macOS bytes.
        peak_mb = peak / (1 << 20) if sys.platform == "darwin" else peak / (1 << 10)
        self.stages.append(
            {
                "stage": name,
                "seconds": round(time.perf_counter() - started, 3),
                "peak_memory_mb": round(peak_mb, 1),
            }
        )


def prepare(
    config: Config,
    markets: Sequence[Market],
    *,
    known: Sequence[Prepared] = (),
    memory: Memory | None = None,
    clock: StageClock | None = None,
    reporter: Reporter | None = None,
) -> tuple[Prepared, ...]:
    """Load the strategy, compute features and labels, and cut time into folds.

    Each contract has features, labels and folds of its own; folds of one number test the same time.
    Features and labels are taken from ``known``, made of the same markets, features and label.
    """
    clock, tell = clock or StageClock(), reporter or Silent()
    # A wrong strategy or model is said before hours of training, not after.
    strategy, params = load_strategy(config.strategy.name, config.strategy.params)
    forming = replay.forming_length(config.strategy)
    if config.compute.engine == "ledger":
        if forming is not None:
            raise ConfigError(
                "the ledger engine shows no forming bars; leave it out or set compute.engine to "
                "backtrader",
                key="strategy.forming",
            )
        finer = any(market.inside is not None for market in markets)
        ledger_engine.refuse(strategy, config.broker, len(markets), intrabar=finer)
    timesteps = models.build_model(config.model).timesteps
    looked = []
    for number, (one, market) in enumerate(zip(config.each_market(), markets, strict=True)):
        require_market(market)
        name = market.symbol if len(markets) > 1 else None
        with naming(name):
            before = known[number] if known else None
            with one_thread(config.compute):
                looked.append(_Looked.at(one, market, timesteps, name, before, memory, clock, tell))
    with clock.stage("folds"):
        cuts = _cut(config, looked)
    prepared = []
    for look, cut in zip(looked, cuts, strict=True):
        for line in (look.in_words(), *fold_lines(cut)):
            tell.say(line if look.name is None else f"{look.name}: {line}")
        prepared.append(look.prepared(cut, strategy, params))
    return tuple(prepared)


@dataclass(frozen=True, eq=False)
class _Looked:
    """A contract's features and labels, and what cutting it into folds takes."""

    config: Config
    market: Market
    feature_set: features.FeatureSet
    frame: FeatureFrame
    labels: LabelFrame
    purge: int
    usable: BoolArray
    name: str | None

    @classmethod
    def at(
        cls,
        config: Config,
        market: Market,
        timesteps: int,
        name: str | None,
        known: Prepared | None,
        memory: Memory | None,
        clock: StageClock,
        tell: Reporter,
    ) -> _Looked:
        with clock.stage("features" if name is None else f"features {name}"):
            tell.stage("features" if name is None else f"features of {name}")
            if known is None:
                feature_set = features.feature_set(config.features, funding=market.funding_features)
                frame = (
                    feature_set.compute(market.bars, market.funding)
                    if memory is None
                    else memory.features(config, feature_set, market)
                )
            else:
                feature_set, frame = known.feature_set, known.features
        with clock.stage("labels" if name is None else f"labels {name}"):
            made = labels.make_labels(market.bars, config.label) if known is None else known.labels
        purge = labels.purge_bars(config.label, market.bars.interval)
        with naming(name):
            usable = folds.usable_rows(frame, timesteps)
        return cls(config, market, feature_set, frame, made, purge, usable, name)

    def cut(self, section: WalkForwardSection) -> tuple[Fold, ...]:
        with naming(self.name):
            return folds.make_folds(
                section,
                close_time=self.market.bars.close_time,
                interval=self.market.bars.interval,
                usable=self.usable,
                labels=self.labels,
                purge=self.purge,
            )

    def in_words(self) -> str:
        made, frame = self.labels, self.frame
        return (
            f"{len(frame.names)} features, warm-up {frame.warmup} bars; label: horizon "
            f"{made.horizon}, {made.ties} ties, {made.across_gap} across gaps"
        )

    def prepared(
        self, cut: tuple[Fold, ...], strategy: type, params: Mapping[str, Any]
    ) -> Prepared:
        return Prepared(
            self.config, self.market, self.feature_set, self.frame, self.labels, cut, self.purge,
            strategy, params, self.name,
        )  # fmt: skip


def _cut(config: Config, looked: Sequence[_Looked]) -> list[tuple[Fold, ...]]:
    """Cut each contract's time so that folds of one number test the same time.

    All of several begin testing at the first bar that all of them have once the last one can.
    """
    section = config.walk_forward
    cuts = [look.cut(section) for look in looked]
    if len(looked) == 1 or section.scheme == "holdout":
        return cuts
    able = max(cut[0].test.start for cut in cuts)
    common = functools.reduce(
        pd.DatetimeIndex.intersection, [look.market.bars.close_time for look in looked]
    )
    common = common[common >= able]
    if common.empty:
        raise UsageError(
            f"{', '.join(look.market.symbol for look in looked)} have no bar in common from {able} "
            "on, when the last of them can be tested"
        )
    together = section.model_copy(update={"start": common[0].isoformat().replace("+00:00", "Z")})
    return [look.cut(together) for look in looked]


def walk_forward(
    prepared: Sequence[Prepared],
    *,
    work: Path | None = None,
    memory: Memory | None = None,
    clock: StageClock | None = None,
    reporter: Reporter | None = None,
) -> tuple[Walked, ...]:
    """Fit and forecast every fold of every contract.

    Finished folds are kept in ``work``, and those kept there are taken up; so are those that the
    cache holds.
    """
    clock, tell = clock or StageClock(), reporter or Silent()
    with clock.stage("train and predict"):
        walks = [_walk(one, work, memory, tell) for one in prepared]
        tell.stage("folds", sum(len(one.folds) for one in prepared))
        if work is not None:
            _fit_together(prepared, walks, tell)
        return tuple(_walked(one, walk, tell) for one, walk in zip(prepared, walks, strict=True))


def _fit_together(
    prepared: Sequence[Prepared], walks: Sequence[WalkForward], tell: Reporter
) -> None:
    """Let a crew fit what nobody has fitted yet, if one is asked for; the walks then find it."""
    config = prepared[0].config
    if Crew.of(config.compute).alone:
        return
    if config.walk_forward.warm_start:
        tell.say("warm_start: each fold starts from the one before; they are fitted in order")
        return
    pending = [
        Pending(walk, fold, one.name)
        for one, walk in zip(prepared, walks, strict=True)
        for fold in one.folds
        if walk.lacks(fold)
    ]
    crew = Crew.of(config.compute, len(pending))
    if pending and not crew.alone:
        tell.say(f"{len(pending)} folds to fit by {crew.in_words()}")
        fit_together(pending, crew, tell)


def _walk(
    prepared: Prepared, work: Path | None, memory: Memory | None, tell: Reporter
) -> WalkForward:
    mine = "" if prepared.name is None else f"{prepared.name} "
    return WalkForward(
        prepared.config,
        prepared.features,
        prepared.labels,
        work=work if work is None or prepared.name is None else work / prepared.name,
        memory=memory,
        on_epoch=lambda number, report: tell.detail(
            f"{mine}fold {number} {report.stage} epoch {report.epoch}: "
            f"validation loss {report.validation_loss:.5f}"
        ),
        on_damage=lambda number: tell.say(
            f"{mine}fold {number}, kept of an interrupted run, is not as it was written: it is "
            "made again"
        ),
    )


def _walked(prepared: Prepared, walk: WalkForward, tell: Reporter) -> Walked:
    mine = "" if prepared.name is None else f"{prepared.name} "
    results = []
    with naming(prepared.name):
        for result in walk.run(prepared.folds):
            results.append(result)
            if not walk.was_put(result.fitted.fold):  # told when it came
                tell.step(f"{mine}{fold_summary(result)}")
    return Walked(prepared, results)


def replay_folds(
    config: Config,
    walked: Sequence[Walked],
    *,
    clock: StageClock | None = None,
    reporter: Reporter | None = None,
) -> Ledger:
    """Replay the test spans of all folds of all contracts through one continuous account."""
    clock, tell = clock or StageClock(), reporter or Silent()
    with clock.stage("backtest"):
        tell.stage("backtest")
        return _replayed(config, walked, config.compute.engine, tell)


def _replayed(config: Config, walked: Sequence[Walked], engine: str, tell: Reporter) -> Ledger:
    first, markets = walked[0].prepared, [one.prepared.market for one in walked]
    keep = (
        ledger_engine.replay
        if engine == "ledger"
        else functools.partial(replay.replay, forming=replay.forming_length(config.strategy))
    )
    start = min(one.results[0].forecast.close_time[0] for one in walked)
    end = max(one.results[-1].forecast.close_time[-1] for one in walked)
    book = keep(
        [
            replay.ReplayMarket(one.prepared.market, signals_of(config, one, start))
            for one in walked
        ],
        first.strategy,
        first.strategy_params,
        config.broker,
        start=start,
        end=end,
        on_bar=lambda done, bars: tell.detail(f"bar {done:,} of {bars:,}"),
    )
    return with_tracks(book, markets)


def _second_opinion(config: Config, walked: Sequence[Walked], book: Ledger) -> Finding:
    """Return A011: what a ledger that shares no code with the first one says of the account."""
    if config.compute.engine == "backtrader":
        return crosscheck([one.prepared.market for one in walked], book, config.broker)
    if not config.compute.check:
        return unchecked(book)
    return checked_by_replay(book, _replayed(config, walked, "backtrader", Silent()))


def signals_of(config: Config, walked: Walked, start: pd.Timestamp) -> SignalSource:
    """Return the batched source, or the online one that sees bars only as they are delivered.

    ``start`` is the first close of the replay: a live source knows all bars before it.
    """
    prepared, fitted = walked.prepared, [result.fitted for result in walked.results]
    if config.compute.signals == "online":
        first = int(prepared.closes.searchsorted(start))
        past_funding = prepared.market.funding.settle_time.searchsorted(
            prepared.closes[first - 1], side="right"
        )
        return LiveSignals(
            prepared.feature_set,
            fitted,
            past_bars=prepared.market.bars.rows(0, first),
            past_funding=prepared.market.funding.rows(0, int(past_funding)),
        )
    return PrecomputedSignals([result.forecast for result in walked.results], walked.thresholds)


@dataclass(frozen=True, eq=False)
class Measured:
    """What a run came to: predictions, the metrics table, verdict and findings."""

    predictions: pd.DataFrame
    table: metrics.MetricsTable
    judgement: Judgement


def measure(
    config: Config,
    walked: Sequence[Walked],
    book: Ledger,
    outside: Outside | None = None,
    band: SeedBand | None = None,
) -> Measured:
    """Judge forecasts and account, over what is known from ``outside`` the run and other seeds.

    The same arguments give the same answer: `verify` asks again and compares.
    """
    predictions = tables.predictions_of(walked)
    prepared = [one.prepared for one in walked]
    table = metrics.metrics_table(
        predictions,
        book,
        folds=[fold for one in prepared for fold in one.folds],
        bar_interval=prepared[0].market.bars.interval,
        horizon=prepared[0].labels.horizon,
        confidence=config.report.confidence,
        seed=config.seed,
    )
    judgement = judge(
        [_contract(one) for one in walked],
        section=config.label,
        predictions=predictions,
        ledger=book,
        metrics=table,
        other_findings=(_second_opinion(config, walked, book),),
        constant_by_design=config.model.kind == "majority",
        broker=config.broker,
        outside=outside,
        band=band,
        confidence=config.report.confidence,
        seed=config.seed,
    )
    return Measured(predictions, table, judgement)


def _contract(walked: Walked) -> Contract:
    prepared = walked.prepared
    return Contract(
        market=prepared.market,
        labels=prepared.labels,
        folds=prepared.folds,
        validation_scores={
            result.fitted.fold.number: result.validation_p_up for result in walked.results
        },
        findings=(
            *fold_checks.check_folds(prepared.folds, prepared.labels, purge=prepared.purge),
            *fold_checks.windows_reaching_back(
                prepared.folds,
                prepared.features.close_time,
                {number: model.timesteps for number, model in walked.models.items()},
            ),
            *fits.missing_features(prepared.features),
            *fits.trainings(walked.models),
        ),
        name=prepared.name,
    )
