"""The stages of an experiment in memory: market → features, labels, folds → forecasts → book.

Nothing here writes a file (but the walk, which keeps finished folds where it is told to);
`engine.experiment` puts the stages together on disk, `engine.verify` runs them again.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from engine import replay, walkforward
from engine.crosscheck import crosscheck
from engine.narration import fold_lines, fold_summary
from engine.plugins import load_strategy
from engine.progress import Reporter, Silent
from engine.walkforward import FoldResult, WalkForward
from perpwalk import features, fold_checks, folds, labels, metrics, models
from perpwalk.audit.judge import Judgement, judge
from perpwalk.audit.outside import Outside
from perpwalk.config import Config
from perpwalk.domain import FeatureFrame, Fold, LabelFrame, Market
from perpwalk.ledger import Ledger
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


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is known before any model is fitted."""

    market: Market
    feature_set: features.FeatureSet
    features: FeatureFrame
    labels: LabelFrame
    folds: tuple[Fold, ...]
    purge: int
    strategy: type
    strategy_params: Mapping[str, Any]


def prepare(
    config: Config,
    market: Market,
    *,
    known: Prepared | None = None,
    clock: StageClock | None = None,
    reporter: Reporter | None = None,
) -> Prepared:
    """Load the strategy, compute features and labels, and cut time into folds.

    Features and labels are taken from ``known``, made of the same market, features and label.
    """
    clock, tell = clock or StageClock(), reporter or Silent()
    # A wrong strategy or model is said before hours of training, not after.
    strategy, params = load_strategy(config.strategy.name, config.strategy.params)
    timesteps = models.build_model(config.model).timesteps
    with clock.stage("features"):
        tell.stage("features")
        if known is None:
            feature_set = features.feature_set(config.features, funding=market.funding_features)
            frame = feature_set.compute(market.bars, market.funding)
        else:
            feature_set, frame = known.feature_set, known.features
    with clock.stage("labels"):
        made = labels.make_labels(market.bars, config.label) if known is None else known.labels
    with clock.stage("folds"):
        purge = labels.purge_bars(config.label, market.bars.interval)
        cut = folds.make_folds(
            config.walk_forward,
            close_time=market.bars.close_time,
            interval=market.bars.interval,
            usable=folds.usable_rows(frame, timesteps),
            labels=made,
            purge=purge,
        )
    tell.say(
        f"{len(frame.names)} features, warm-up {frame.warmup} bars; label: horizon "
        f"{made.horizon}, {made.ties} ties, {made.across_gap} across gaps"
    )
    for line in fold_lines(cut):
        tell.say(line)
    return Prepared(market, feature_set, frame, made, cut, purge, strategy, params)


def walk_forward(
    config: Config,
    prepared: Prepared,
    *,
    work: Path | None = None,
    clock: StageClock | None = None,
    reporter: Reporter | None = None,
) -> list[FoldResult]:
    """Fit and forecast every fold; keep finished ones in ``work``, and take up those kept there."""
    clock, tell = clock or StageClock(), reporter or Silent()
    with clock.stage("train and predict"):
        tell.stage("folds", len(prepared.folds))
        walk = WalkForward(
            config,
            prepared.features,
            prepared.labels,
            work=work,
            on_epoch=lambda number, report: tell.detail(
                f"fold {number} {report.stage} epoch {report.epoch}: "
                f"validation loss {report.validation_loss:.5f}"
            ),
        )
        results = []
        for result in walk.run(prepared.folds):
            results.append(result)
            tell.step(fold_summary(result))
        return results


def replay_folds(
    config: Config,
    prepared: Prepared,
    results: Sequence[FoldResult],
    *,
    clock: StageClock | None = None,
    reporter: Reporter | None = None,
) -> Ledger:
    """Replay the test spans of all folds through one continuous account."""
    clock, tell = clock or StageClock(), reporter or Silent()
    first, last = results[0].forecast, results[-1].forecast
    with clock.stage("backtest"):
        tell.stage("backtest")
        return replay.replay(
            [replay.ReplayMarket(prepared.market, _signals(config, prepared, results))],
            prepared.strategy,
            prepared.strategy_params,
            config.broker,
            start=first.close_time[0],
            end=last.close_time[-1],
            on_bar=lambda done, bars: tell.detail(f"bar {done:,} of {bars:,}"),
        )


def _signals(config: Config, prepared: Prepared, results: Sequence[FoldResult]) -> SignalSource:
    """Return the batched source, or the online one that sees bars only as they are delivered."""
    fitted = [result.fitted for result in results]
    if config.compute.signals == "online":
        start = int(results[0].forecast.rows[0])
        past_funding = prepared.market.funding.settle_time.searchsorted(
            prepared.market.bars.close_time[start - 1], side="right"
        )
        return LiveSignals(
            prepared.feature_set,
            fitted,
            past_bars=prepared.market.bars.rows(0, start),
            past_funding=prepared.market.funding.rows(0, int(past_funding)),
        )
    return PrecomputedSignals(
        [result.forecast for result in results], [one.threshold for one in fitted]
    )


@dataclass(frozen=True, eq=False)
class Measured:
    """What a run came to: predictions, the metrics table, verdict and findings."""

    predictions: pd.DataFrame
    table: metrics.MetricsTable
    judgement: Judgement


def measure(
    config: Config,
    prepared: Prepared,
    results: Sequence[FoldResult],
    book: Ledger,
    outside: Outside | None = None,
) -> Measured:
    """Judge forecasts and account, over what is known from ``outside`` the run.

    The same arguments give the same answer: `verify` asks again and compares.
    """
    predictions = walkforward.predictions_table(
        [result.forecast for result in results],
        prepared.labels,
        [result.fitted.threshold for result in results],
    )
    table = metrics.metrics_table(
        predictions,
        book,
        folds=prepared.folds,
        bar_interval=prepared.market.bars.interval,
        horizon=prepared.labels.horizon,
        confidence=config.report.confidence,
    )
    judgement = judge(
        market=prepared.market,
        labels=prepared.labels,
        section=config.label,
        folds=prepared.folds,
        predictions=predictions,
        ledger=book,
        metrics=table,
        other_findings=(
            *fold_checks.check_folds(prepared.folds, prepared.labels, purge=prepared.purge),
            crosscheck(prepared.market, book, config.broker),
        ),
        validation_scores={result.fitted.fold.number: result.validation_p_up for result in results},
        constant_by_design=config.model.kind == "majority",
        broker=config.broker,
        outside=outside,
        confidence=config.report.confidence,
        seed=config.seed,
    )
    return Measured(predictions, table, judgement)
