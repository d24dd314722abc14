"""One experiment from configuration to results: the only file that knows everything.

load → features → labels → folds → (fit, forecast) per fold → replay → judge → write → report.
"""

from __future__ import annotations

import functools
import math
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

import engine
import perpwalk
from engine import replay, walkforward
from engine.crosscheck import crosscheck
from engine.plugins import load_strategy
from engine.progress import Reporter, Silent
from engine.walkforward import FoldResult, WalkForward
from perpwalk import (
    data,
    features,
    fold_checks,
    folds,
    labels,
    metrics,
    models,
    reports,
    runs,
    seal,
    trades,
    trials,
)
from perpwalk.audit import judge as audit
from perpwalk.config import Config
from perpwalk.domain import FeatureFrame, Finding, Fold, LabelFrame, Level, Market
from perpwalk.ledger import Ledger
from perpwalk.runs import Run, RunFolder
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


def run_experiment(
    config: Config,
    *,
    out: Path,
    variant: str = "base",
    force: bool = False,
    reporter: Reporter | None = None,
) -> Run:
    """Run one experiment, or return the finished run that already answers the question.

    Parameters
    ----------
    config
        The resolved configuration.
    out
        The results folder; the run is kept in ``out/<name>/<variant>-<hash8>``.
    force
        Make the run again although a finished one is there.
    reporter
        Told about stages, folds and epochs.

    Raises
    ------
    UserError
        Configuration, data or output are unusable; nothing half-made is left behind.
    """
    tell = reporter or Silent()
    clock = StageClock()
    with clock.stage("load"):
        tell.stage("load")
        market = data.load_market(config.market, seed=config.seed)
    digest = config.digest({source.kind: source.sha256 for source in market.sources})
    final = out / config.name / f"{variant}-{digest[:8]}"
    if (final / "manifest.json").is_file() and not force:
        tell.say(f"this question has been answered before; --force makes it again: {final}")
        return runs.load_run(final)
    code = _code_hash(config)
    key = f"{digest} {code} {runs.package_versions()}"
    with runs.open_run(
        out, experiment=config.name, variant=variant, digest=digest, key=key
    ) as folder:
        log = _Log(tell, folder.partial / "run.log")
        _say_what_was_read(market, log)
        prepared = _prepare(config, market, clock, log)
        # From here on something is tried: it counts, whatever becomes of it.
        with trials.begin(out, experiment=config.name, variant=variant, digest=digest) as trial:
            results = _walk_forward(config, prepared, folder, clock, log)
            book = _replay(config, prepared, results, clock, log)
            judged = _write(
                config, prepared, results, book, folder, clock, log, digest=digest, code=code
            )
            finished = runs.load_run(folder.finish())
            _finish_trial(trial, judged, book, market)
        return finished


# ── the stages ───────────────────────────────────────────────────────────────────────────────────


def _prepare(config: Config, market: Market, clock: StageClock, tell: Reporter) -> Prepared:
    # A wrong strategy or model is said before hours of training, not after.
    strategy, params = load_strategy(config.strategy.name, config.strategy.params)
    timesteps = models.build_model(config.model).timesteps
    with clock.stage("features"):
        tell.stage("features")
        feature_set = features.feature_set(config.features, funding=market.funding_features)
        frame = feature_set.compute(market.bars, market.funding)
    with clock.stage("labels"):
        target = labels.make_labels(market.bars, config.label)
    with clock.stage("folds"):
        purge = labels.purge_bars(config.label, market.bars.interval)
        cut = folds.make_folds(
            config.walk_forward,
            close_time=market.bars.close_time,
            interval=market.bars.interval,
            usable=folds.usable_rows(frame, timesteps),
            labels=target,
            purge=purge,
        )
    tell.say(
        f"{len(frame.names)} features, warm-up {frame.warmup} bars; label: horizon "
        f"{target.horizon}, {target.ties} ties, {target.across_gap} across gaps"
    )
    for line in _fold_lines(cut):
        tell.say(line)
    return Prepared(market, feature_set, frame, target, cut, purge, strategy, params)


def _walk_forward(
    config: Config, prepared: Prepared, folder: RunFolder, clock: StageClock, tell: Reporter
) -> list[FoldResult]:
    with clock.stage("train and predict"):
        tell.stage("folds", len(prepared.folds))
        if folder.resumed_folds:
            tell.say(f"taking up an interrupted run: {folder.resumed_folds} folds are kept")
        walk = WalkForward(
            config,
            prepared.features,
            prepared.labels,
            work=folder.work,
            on_epoch=lambda number, report: tell.detail(
                f"fold {number} {report.stage} epoch {report.epoch}: "
                f"validation loss {report.validation_loss:.5f}"
            ),
        )
        results = []
        for result in walk.run(prepared.folds):
            results.append(result)
            tell.step(_fold_summary(result))
        return results


def _replay(
    config: Config,
    prepared: Prepared,
    results: Sequence[FoldResult],
    clock: StageClock,
    tell: Reporter,
) -> Ledger:
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


def _write(
    config: Config,
    prepared: Prepared,
    results: Sequence[FoldResult],
    book: Ledger,
    folder: RunFolder,
    clock: StageClock,
    tell: Reporter,
    *,
    digest: str,
    code: str,
) -> audit.Judgement:
    with clock.stage("judge"):
        tell.stage("judge")
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
        judged = audit.judge(
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
            validation_scores={
                result.fitted.fold.number: result.validation_p_up for result in results
            },
            constant_by_design=config.model.kind == "majority",
            confidence=config.report.confidence,
            seed=config.seed,
        )
    with clock.stage("write"):
        place = folder.partial
        _write_tables(place, prepared, results, predictions, book, table)
        runs.write_text(place / "config.yaml", config.to_yaml())
        runs.write_json(place / "audit.json", runs.plain(judged.as_dict()))
        _place_models(folder, prepared.folds)
    describe = functools.partial(
        runs.manifest,
        digest=digest,
        seed=config.seed,
        sources=prepared.market.sources,
        code=code,
        commit=runs.git_commit(Path(engine.__file__).parent),
        extra=_facts(prepared),
    )
    with clock.stage("report"):
        # The page shows the manifest, so a first one is written before, and the whole one last.
        runs.write_json(place / "manifest.json", describe(status="reporting", stages=clock.stages))
        _write_reports(config, Run(place), tell)
    done = describe(status="finished", stages=clock.stages)
    runs.write_json(place / "manifest.json", seal.sealed(done, place))
    return judged


def _finish_trial(
    trial: trials.Trial, judged: audit.Judgement, book: Ledger, market: Market
) -> None:
    bar_seconds = market.bars.interval.total_seconds()
    annual = judged.evidence.sharpe.value
    per_bar = None if annual is None else annual / math.sqrt(365 * 86_400 / bar_seconds)
    trial.finish(
        verdict=str(judged.verdict.overall),
        sharpe=per_bar,
        bars=len(book.equity),
        bar_seconds=bar_seconds,
    )


def _write_tables(
    place: Path,
    prepared: Prepared,
    results: Sequence[FoldResult],
    predictions: pd.DataFrame,
    book: Ledger,
    table: metrics.MetricsTable,
) -> None:
    fold_table = fold_checks.fold_table(prepared.folds)
    fold_table["threshold"] = [result.fitted.threshold for result in results]
    runs.write_csv(place / "folds.csv", fold_table)
    runs.write_csv(place / "training.csv", walkforward.training_table(results))
    runs.write_parquet(place / "predictions.parquet", predictions.drop(columns="threshold"))
    runs.write_parquet(place / "equity.parquet", book.equity)
    runs.write_csv(place / "trades.csv", trades.round_trips(book))
    runs.write_csv(place / "orders.csv", book.orders)
    runs.write_csv(place / "funding.csv", book.funding)
    runs.write_csv(place / "metrics.csv", table.frame)
    runs.write_json(place / "metrics.json", runs.plain(table.frame.to_dict(orient="records")))


def _write_reports(config: Config, run: Run, tell: Reporter) -> None:
    if config.report.tearsheet:
        tell.stage("tearsheet")
        reports.write_tearsheet_of(run)
    if config.report.html:
        tell.stage("report")
        reports.write_page_of(run)


def _facts(prepared: Prepared) -> dict[str, Any]:
    """Return what else a reader of the manifest wants to know at a glance."""
    bars, frame = prepared.market.bars, prepared.features
    return {
        "symbol": bars.symbol,
        "bars": len(bars),
        "features": len(frame.names),
        "warmup": frame.warmup,
        "lookback": frame.lookback,
        "folds": len(prepared.folds),
        "truth": dict(prepared.market.truth) or None,
    }


def _place_models(folder: RunFolder, cut: Sequence[Fold]) -> None:
    """Move each fold's artifacts from the working folder to ``models/fold-000``."""
    shutil.rmtree(folder.partial / "models", ignore_errors=True)
    for fold in cut:
        target = folder.partial / "models" / f"fold-{fold.number:03d}"
        shutil.copytree(folder.fold_work(fold.number) / "model", target)


# ── words for people ─────────────────────────────────────────────────────────────────────────────


class _Log:
    """Passes everything on to the reporter and keeps what was said, with times, in ``run.log``."""

    def __init__(self, tell: Reporter, path: Path) -> None:
        self._tell = tell
        self._path = path

    def _keep(self, text: str) -> None:
        stamp = pd.Timestamp.now("UTC").strftime("%Y-%m-%dT%H:%M:%SZ")
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(f"{stamp} {text}\n")

    def say(self, message: str) -> None:
        """Tell and keep."""
        self._keep(message)
        self._tell.say(message)

    def stage(self, name: str, steps: int | None = None) -> None:
        """Tell and keep."""
        self._keep(f"stage {name}" + ("" if steps is None else f" ({steps})"))
        self._tell.stage(name, steps)

    def step(self, detail: str = "") -> None:
        """Tell and keep."""
        self._keep(f"done: {detail}")
        self._tell.step(detail)

    def detail(self, text: str) -> None:
        """Tell only."""
        self._tell.detail(text)


def _say_what_was_read(market: Market, tell: Reporter) -> None:
    bars = market.bars
    span = f"{bars.open_time[0]:%Y-%m-%d %H:%M} … {bars.open_time[-1]:%Y-%m-%d %H:%M} UTC"
    tell.say(f"{bars.symbol}: {len(bars):,} bars, {span}; {len(market.funding):,} settlements")
    for finding in market.findings:
        tell.say(_finding_line(finding))


def _finding_line(finding: Finding) -> str:
    mark = {Level.INFO: "note", Level.WARN: "WARNING", Level.ERROR: "ERROR"}[finding.level]
    return f"{mark} {finding.code} {finding.where}: {finding.message}"


def _fold_lines(cut: Sequence[Fold]) -> Iterator[str]:
    """Say what each segment of a lone fold lost, or the range and sizes of many folds."""
    first, last = cut[0], cut[-1]
    if len(cut) == 1:
        for name in ("train", "validation", "test"):
            span = getattr(first, name)
            yield f"{name}: {span.bars:,} bars, {len(span):,} decisions used"
        yield (
            f"lost: warm-up and window {first.warmup}, purged {first.purged}, embargoed "
            f"{first.embargoed}, unlabelled {first.unlabelled}, tied {first.ties}"
        )
        return
    tested = sum(len(fold.test) for fold in cut)
    yield (
        f"{len(cut)} folds: train {len(first.train):,} … {len(last.train):,} decisions, "
        f"validation {len(first.validation):,}, test {len(first.test):,}; "
        f"{tested:,} test decisions {first.test.start:%Y-%m-%d} … {last.test.end:%Y-%m-%d}"
    )


def _fold_summary(result: FoldResult) -> str:
    number = result.fitted.fold.number
    if result.resumed:
        return f"fold {number}: kept from the interrupted run"
    aucs = [
        report.validation_auc for report in result.training if report.validation_auc is not None
    ]
    best = f", best validation AUC {max(aucs):.4f}" if aucs else ""
    return f"fold {number}: {len(result.training)} epochs{best}"


def _code_hash(config: Config) -> str:
    """Hash perpwalk's own code and the user's modules: a kept fold depends on both."""
    own = [Path(perpwalk.__file__).parent, Path(engine.__file__).parent]
    place = config.strategy.name.rpartition(":")[0]
    theirs = [*config.features.modules, *([place] if place.endswith(".py") else [])]
    return runs.code_hash(own, [Path(file) for file in theirs if Path(file).is_file()])
