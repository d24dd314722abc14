"""Train again with other seeds (``compute.seeds``) and hold the results beside the run's own.

Market, features, labels and folds are those of the run; only the fits are made anew, each with its
replay. They are kept like the run's own: under ``work/seed-11/`` until all is done, so that an
interrupted run goes on there, and under ``models/seed-11/`` afterwards, so that ``verify`` can make
``seeds.csv`` again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from engine import scoring, stages
from engine.memory import Memory
from engine.parts import Prepared, Walked
from engine.progress import Reporter
from engine.stages import StageClock
from engine.walkforward import WalkForward
from perpwalk import disk, models, runs
from perpwalk.audit import fits
from perpwalk.audit.seeds import SeedBand
from perpwalk.config import Config
from perpwalk.domain import Finding, about
from perpwalk.ledger import Ledger
from perpwalk.runs import Run, RunFolder

TABLE_FILE = "seeds.csv"


def is_seeded(config: Config) -> bool:
    """Return whether chance has a part in the training that ``config`` asks for."""
    drawn = config.features.selection.method == "mutual_info"
    return drawn or models.draws_on_chance(config.model.kind)


def repeats(config: Config) -> tuple[int, ...]:
    """Return the seeds to train with besides the configuration's own; none where all are alike."""
    if not is_seeded(config):
        return ()
    return tuple(seed for seed in config.compute.seeds if seed != config.seed)


def covered(config: Config, run: Run) -> bool:
    """Return whether a finished run holds every repeat that ``config`` asks for."""
    return set(repeats(config)) <= set(run.manifest.get("seeds") or ())


def band(
    config: Config,
    walked: Sequence[Walked],
    book: Ledger,
    folder: RunFolder,
    *,
    memory: Memory | None,
    clock: StageClock,
    reporter: Reporter,
) -> SeedBand:
    """Train with every other seed, taking up finished folds, and return the band."""
    asked = repeats(config)
    if config.compute.seeds and not is_seeded(config):
        reporter.say(f"compute.seeds: '{config.model.kind}' draws nothing; every seed is the same")
    if not asked:
        return SeedBand(config.seed, is_seeded(config))
    _say_cost(asked, walked, clock, reporter)
    prepared = [one.prepared for one in walked]
    scores = [(config.seed, scoring.with_account(scoring.direction(walked), walked, book))]
    said: list[Finding] = []
    for seed in asked:
        again = stages.walk_forward(
            with_seed(prepared, seed), work=folder.work / runs.seed_name(seed), memory=memory,
            clock=clock, reporter=reporter,
        )  # fmt: skip
        with clock.stage(f"backtest seed {seed}"):
            scores.append((seed, scoring.replayed(config, again)))
        said += _trainings(seed, again)
        reporter.say(f"seed {seed}: {scores[-1][1].in_words()}")
    return SeedBand.of(config.seed, scores, said)


def _trainings(seed: int, walked: Sequence[Walked]) -> Iterator[Finding]:
    """Yield what the trainings of one repeat give cause to say."""
    for one in walked:
        found = fits.trainings(one.models, seed=seed)
        yield from found if one.name is None else about(one.name, found)


def _say_cost(
    asked: Sequence[int], walked: Sequence[Walked], clock: StageClock, reporter: Reporter
) -> None:
    """Say how many fits are to come and, where this run has just made as many, how long."""
    folds = sum(len(one.results) for one in walked)
    told = f"compute.seeds: training again with {len(asked)} more seeds, {folds} folds each"
    if not any(result.taken for one in walked for result in one.results):
        spent = next(s["seconds"] for s in clock.stages if s["stage"] == "train and predict")
        wait = spent * len(asked)
        told += f"; about {wait:.0f} s" if wait < 90 else f"; about {wait / 60:.0f} min"
    reporter.say(told)


def with_seed(prepared: Sequence[Prepared], seed: int) -> tuple[Prepared, ...]:
    """Return the same contracts, on the same data, with another seed for the training."""
    return tuple(
        replace(one, config=one.config.model_copy(update={"seed": seed})) for one in prepared
    )


def place_models(folder: RunFolder, made: SeedBand, names: Sequence[str]) -> None:
    """Put each repeat's artifacts into ``models/seed-11/fold-000``."""
    for seed in map(runs.seed_name, made.repeats):
        for name in names:
            disk.clone_tree(
                folder.work / seed / name / "model", folder.partial / "models" / seed / name
            )


def write(folder: Path, made: SeedBand) -> None:
    """Write ``seeds.csv`` where training was repeated."""
    if made.table is not None:
        runs.write_csv(folder / TABLE_FILE, made.table)


def band_again(
    config: Config,
    walked: Sequence[Walked],
    book: Ledger,
    models_folder: Path,
    others: Sequence[int],
) -> SeedBand:
    """Return the band as the kept artifacts of ``others`` make it, without fitting."""
    scores = [(config.seed, scoring.with_account(scoring.direction(walked), walked, book))]
    said: list[Finding] = []
    for seed in others:
        kept = models_folder / runs.seed_name(seed)
        again = [_kept(one, kept) for one in with_seed([w.prepared for w in walked], seed)]
        scores.append((seed, scoring.replayed(config, again)))
        said += _trainings(seed, again)
    return SeedBand.of(config.seed, scores, said)


def _kept(prepared: Prepared, folder: Path) -> Walked:
    walk = WalkForward(prepared.config, prepared.features, prepared.labels)
    return Walked(
        prepared,
        [
            walk.revive(fold, folder / runs.fold_name(fold.number, prepared.name))
            for fold in prepared.folds
        ],
    )
