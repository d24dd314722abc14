"""One experiment from configuration to a folder of results: the only file that knows everything.

load → features → labels → folds → (fit, forecast) per fold → replay → judge → write → report.
"""

from __future__ import annotations

import functools
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import engine
from engine import audits, seeds, stages, standing, tables
from engine.crosscheck import covered
from engine.exact import is_exact, one_thread
from engine.making import Making, fold_names
from engine.memory import open_memory
from engine.narration import Log, say_what_was_read
from engine.parts import Prepared, Walked
from engine.progress import Reporter, Silent
from engine.stages import Measured, StageClock
from engine.standing import Standing
from perpwalk import reports, runs, seal, trades, trials
from perpwalk import returns as growth
from perpwalk.audit.outside import Outside
from perpwalk.audit.placebo import PlaceboRecord
from perpwalk.audit.seeds import SeedBand
from perpwalk.config import Config
from perpwalk.ledger import Ledger
from perpwalk.reports.daily import account_returns
from perpwalk.runs import Run, RunFolder
from perpwalk.uncertainty.sharpe import sharpe_stats

SEVERAL = "+"  # between the symbols of one account


def run_experiment(
    config: Config,
    *,
    out: Path,
    variant: str = "base",
    force: bool = False,
    prior_trials: int | None = None,
    reporter: Reporter | None = None,
    making: Making | None = None,
    cache: bool = True,
    config_files: Sequence[str] = (),
) -> Run:
    """Run one experiment, or return the finished run that already answers the question.

    Parameters
    ----------
    config
        The resolved configuration.
    out
        The results folder; the run is kept in ``out/<name>/<variant>-<hash8>``.
    force
        Make the run again whatever lies in its place; that is not even read.
    prior_trials
        How many variants were tried before or elsewhere; None says nothing. It is recorded in the
        trial ledger and holds for the workspace; it does not change the question.
    reporter
        Told about stages, folds and epochs.
    cache
        Take out of the cache what it holds and put into it what is made; ``force`` takes nothing
        out of it.
    making
        Where the parts come from, with a cache of its own or none; ``engine.making.Shared`` where
        variants have them in common.
    config_files
        The files the configuration was read from, kept in the manifest.

    Raises
    ------
    UserError
        Configuration, data or output are unusable; nothing half-made is left behind.
    """
    tell = reporter or Silent()
    make = making or Making(memory=open_memory(out, fresh=force) if cache else None)
    make.begin()
    known: PlaceboRecord | None = None
    clock = StageClock()
    with clock.stage("load"):
        tell.stage("load")
        markets = make.markets(config)
    hashes = audits.hashes_of(markets)
    digest = config.digest(hashes)
    code = audits.code_hash(config)
    key = f"{digest} {code} {runs.counting_versions()}"
    bar_seconds = markets[0].bars.interval.total_seconds()
    whole = runs.take_up_whole(out, experiment=config.name, variant=variant, digest=digest, key=key)
    if whole is not None:
        tell.say(f"{whole} was whole when its process ended: it stands in its place now")
        force = False  # it is what was asked for
    answered = None if force else runs.find_answer(
        out, experiment=config.name, variant=variant, digest=digest
    )  # fmt: skip
    if answered is not None and config.compute.deterministic and not is_exact(answered):
        tell.say(f"{answered.path} was not computed with compute.deterministic; it is made again")
        answered = None
    lacks = None if answered is None else _lacking(config, answered)
    if answered is not None and lacks is not None:
        tell.say(f"{answered.path} answers this; {lacks}")
        known = Outside.of(answered.audit).placebo
        make = make.taking_from(config, answered)
    elif answered is not None:
        tell.say(f"this question has been answered before; --force makes it again: {answered.path}")
        _end_trial(out, config, answered, bar_seconds)
        if prior_trials is not None:
            trials.declare(out, prior_trials)
        renewed = standing.renew(out, answered, config, hashes)
        if renewed is not None:
            tell.say("its verdict is made again over the leak audit and the trials known now")
        return renewed or answered
    with runs.open_run(
        out, experiment=config.name, variant=variant, digest=digest, key=key
    ) as folder:
        log = Log(tell, folder.partial / "run.log")
        for market in markets:
            say_what_was_read(market, log)
        with make.refusable():
            prepared = make.prepare(config, markets, clock=clock, reporter=log)
        # From here on something is tried: it counts, whatever becomes of it.
        with trials.begin(
            out, experiment=config.name, variant=variant, digest=digest, prior=prior_trials
        ) as trial:
            if folder.resumed_folds:
                log.say(f"taking up an interrupted run: {folder.resumed_folds} folds are kept")
            walked = make.fit(config, prepared, folder, clock=clock, reporter=log)
            book = stages.replay_folds(config, walked, clock=clock, reporter=log)
            band = seeds.band(
                config, walked, book, folder, memory=make.memory, clock=clock, reporter=log
            )
            make.tell(log)
            found = standing.look_outside(
                out, config, digest=digest, hashes=hashes, equity=book.equity,
                bar_seconds=bar_seconds,
            )  # fmt: skip
            _write(
                config, walked, book, folder, clock, log, digest=digest, code=code,
                found=found.with_placebo(known), band=band, make=make, config_files=config_files,
            )  # fmt: skip
            finished = runs.load_run(folder.finish())
            _finish_trial(trial, config, finished, bar_seconds)
        return finished


def _lacking(config: Config, answered: Run) -> str | None:
    """Say what a finished run lacks of what is asked beside the question; None where nothing."""
    if not seeds.covered(config, answered):
        return "the seeds it lacks are added"
    if not covered(config, answered):
        return "its account, kept by the ledger engine alone, is computed a second time"
    return None


def _write(
    config: Config,
    walked: Sequence[Walked],
    book: Ledger,
    folder: RunFolder,
    clock: StageClock,
    tell: Reporter,
    *,
    digest: str,
    code: str,
    found: Standing,
    band: SeedBand,
    make: Making,
    config_files: Sequence[str],
) -> None:
    with clock.stage("judge"):
        tell.stage("judge")
        with one_thread(config.compute):
            measured = stages.measure(config, walked, book, found.outside, band)
    prepared = [one.prepared for one in walked]
    with clock.stage("write"):
        place = folder.partial
        _write_tables(place, walked, book, measured)
        runs.write_text(place / "config.yaml", config.to_yaml())
        runs.write_json(place / "audit.json", runs.plain(measured.judgement.as_dict()))
        shutil.rmtree(place / "models", ignore_errors=True)
        make.place_models(folder, prepared)
        seeds.place_models(folder, band, fold_names(prepared))
        seeds.write(place, band)
        standing.write_placebo(place, found.outside.placebo)
    describe = functools.partial(
        runs.manifest,
        digest=digest,
        seed=config.seed,
        sources=[source for one in prepared for source in one.market.sources],
        code=code,
        commit=runs.git_commit(Path(engine.__file__).parent),
        extra={
            **_facts(prepared),
            **found.anchors,
            "seeds": list(band.repeats),
            "config_files": [str(Path(file).absolute()) for file in config_files] or None,
            "cache": make.from_cache(),
        },
    )
    with clock.stage("report"):
        # The page shows the manifest, so a first one is written before, and the whole one last.
        runs.write_json(place / "manifest.json", describe(status="reporting", stages=clock.stages))
        if make.reports:
            _write_reports(config, Run(place), tell)
    done = describe(status="finished", stages=clock.stages)
    runs.write_json(place / "manifest.json", seal.sealed(done, place))


def _end_trial(out: Path, config: Config, run: Run, bar_seconds: float) -> None:
    """Say in the ledger how a finished run ended, where its process was killed before it did."""
    trial = trials.unended(
        out, experiment=config.name, digest=run.manifest["config_hash"],
        variant=run.path.name.rpartition("-")[0],
    )  # fmt: skip
    if trial is not None:
        with trial:
            _finish_trial(trial, config, run, bar_seconds)


def _finish_trial(trial: trials.Trial, config: Config, run: Run, bar_seconds: float) -> None:
    equity = run.equity
    stats = sharpe_stats(
        growth.equity_returns(config.broker.cash, equity["equity"].to_numpy(dtype=float))
    )
    trial.finish(
        verdict=run.audit["verdict"]["overall"],
        sharpe=None if stats is None else stats.sharpe,
        bars=len(equity),
        bar_seconds=bar_seconds,
        daily=account_returns(equity),
    )


def _write_tables(
    place: Path,
    walked: Sequence[Walked],
    book: Ledger,
    measured: Measured,
) -> None:
    runs.write_csv(place / "folds.csv", tables.folds_of(walked))
    runs.write_csv(place / "training.csv", tables.training_of(walked))
    runs.write_parquet(
        place / "predictions.parquet", measured.predictions.drop(columns="threshold")
    )
    runs.write_parquet(place / "equity.parquet", book.equity)
    runs.write_csv(place / "trades.csv", trades.round_trips(book))
    runs.write_csv(place / "orders.csv", book.orders)
    runs.write_csv(place / "funding.csv", book.funding)
    runs.write_csv(place / "metrics.csv", measured.table.frame)
    runs.write_json(
        place / "metrics.json", runs.plain(measured.table.frame.to_dict(orient="records"))
    )
    tables.write_by_contract(place, book, measured.table)


def _write_reports(config: Config, run: Run, tell: Reporter) -> None:
    if config.report.tearsheet:
        tell.stage("tearsheet")
        reports.write_tearsheet_of(run)
    if config.report.html:
        tell.stage("report")
        reports.write_page_of(run)


def _facts(prepared: Sequence[Prepared]) -> dict[str, Any]:
    """Return what else a reader of the manifest wants to know at a glance.

    Of several contracts the table of them, and under the names that one has what they share: the
    number of folds and the longest warm-up and look-back.
    """
    each = [_facts_of_one(one) for one in prepared]
    if len(each) == 1:
        return each[0]
    return {
        "symbol": SEVERAL.join(one["symbol"] for one in each),
        "symbols": each,
        **{name: max(one[name] for one in each) for name in ("bars", "features", "warmup",
                                                             "lookback", "folds")},
        "truth": None,
    }  # fmt: skip


def _facts_of_one(prepared: Prepared) -> dict[str, Any]:
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
