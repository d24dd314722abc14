"""``perpwalk compare``: run what has not been run, then compare all of it.

Every variant is a run of its own in ``out/<experiment>/<variant>-<hash8>``, with its line in the
trial ledger. What variants have in common is made once (``engine.making``); finished ones are taken
up, interrupted ones go on.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from engine import ahead, ledger_engine, making, variants
from engine.crew import Crew
from engine.experiment import run_experiment
from engine.making import Shared
from engine.memory import Memory, open_memory
from engine.plugins import load_strategy
from engine.progress import Hushed, Reporter, Silent
from engine.variants import Asked, Grid, Item
from perpwalk import disk, models, reports, runs, trials
from perpwalk.comparison.core import DEFAULT_BY, RESAMPLES, check_metric, compare_variants
from perpwalk.comparison.data import Variant, refuse_unlike
from perpwalk.comparison.of_run import traded, variant_of
from perpwalk.comparison.record import Comparison, load_comparison, write_comparison
from perpwalk.comparison.search import Trials
from perpwalk.config import Config, parse_duration
from perpwalk.domain import Finding, Level
from perpwalk.errors import EnvironmentFailedError, UsageError, UserError
from perpwalk.runs import Run

SEVERAL = "comparisons"  # where a comparison over several experiments is kept


@dataclass(frozen=True, eq=False)
class Answered:
    """A variant and its run, or why there is none."""

    asked: Asked
    run: Run | None
    failure: str | None = None


def compare(
    items: Sequence[Item],
    *,
    out: Path,
    grid: Grid | None = None,
    by: str = DEFAULT_BY,
    overrides: Sequence[str] = (),
    reports_too: bool = False,
    force: bool = False,
    cache: bool = True,
    prior_trials: int | None = None,
    resamples: int = RESAMPLES,
    reporter: Reporter | None = None,
) -> Comparison:
    """Run variants where they have not been run, compare them, and write the comparison.

    Parameters
    ----------
    items
        Configurations (paths or ``Config``), finished runs (folders or ``Run``), folders of either.
    out
        The results folder. The comparison is kept in ``out/<experiment>/comparison-<hash8>``.
    grid
        Dotted key → values; each configuration is taken with every combination.
    by
        The metric that orders the variants.
    overrides
        ``a.b=c`` for every configuration.
    reports_too
        Give each variant its own tearsheet and page too.
    force
        Make finished variants again.
    cache
        Take out of the cache what it holds, unless forced, and put into it what is made.
    prior_trials
        Trials made elsewhere or before; put on record with the others.

    Raises
    ------
    UserError
        A configuration, a path, the grid or the metric is wrong, or the variants share no decision.
    """
    tell = reporter or Silent()
    check_metric(by)
    asked = variants.ask(items, grid=grid, overrides=overrides)
    if len(asked) < 2:
        raise UsageError(
            "one variant is no comparison: give another configuration or run, or a --grid"
        )
    _refuse_unlike(asked)
    _check_loadable(asked)
    if prior_trials is not None:
        _declare(out, prior_trials)
    memory = open_memory(out, fresh=force) if cache else None
    answered = _once(
        _answer(asked, out, reports_too=reports_too, force=force, memory=memory, tell=tell), tell
    )
    tell.stage("compare")
    changed = variants.changes([one.asked for one in answered])
    folder = _place(out, answered)
    compared = [_variant(one, changed[one.asked.name], folder) for one in answered]
    counted, findings = _count_trials(answered, out)
    found = compare_variants(
        compared,
        name=_experiment(answered) or " + ".join(sorted(_experiments(answered))),
        by=by,
        level=_level(asked),
        seed=asked[0].config.seed,
        resamples=resamples,
        trials=counted,
        findings=findings,
        files={one.asked.name: one.asked.files for one in answered if one.asked.files},
    )
    with disk.written_together(folder) as fresh:
        written = load_comparison(write_comparison(found, fresh))
        reports.write_comparison_page(written)
    return replace(written, path=folder)


def _declare(out: Path, prior: int) -> None:
    """Put earlier trials on record before anything is judged."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make {out}: {error.strerror or error}") from error
    trials.declare(out, prior)


def _refuse_unlike(asked: Sequence[Asked]) -> None:
    """Say before hours of work that accounts of other contracts share no decision."""
    refuse_unlike([(one.name, traded(one.config.symbols), _interval(one.config)) for one in asked])


def _interval(config: Config) -> pd.Timedelta:
    return parse_duration(config.market.interval, pd.Timedelta(hours=1))


def _check_loadable(asked: Sequence[Asked]) -> None:
    """Say what is wrong with any variant before hours of work on the others."""
    for one in asked:
        if one.run is None:
            strategy, _ = load_strategy(one.config.strategy.name, one.config.strategy.params)
            if one.config.compute.engine == "ledger":
                several, finer = len(one.config.symbols), one.config.market.intrabar
                ledger_engine.refuse(strategy, one.config.broker, several, intrabar=finer)
            models.build_model(one.config.model)


# ── running ──────────────────────────────────────────────────────────────────────────────────────


def _answer(
    asked: Sequence[Asked],
    out: Path,
    *,
    reports_too: bool,
    force: bool,
    memory: Memory | None,
    tell: Reporter,
) -> list[Answered]:
    """Return every variant with its run, made where there is none yet."""
    finished = [(one.config, one.run) for one in asked if one.run is not None]
    for _, run in finished:
        runs.require_sealed(run)
    known = [] if force else [*finished, *_on_disk(asked, out, tell)]
    shared = Shared(known, reports=reports_too, memory=memory)
    answers: dict[int, Answered] = {}
    places = making.order([one.config for one in asked])
    tell.say(_plan(asked, known))
    crew = Crew.of(asked[0].config.compute)
    if memory is not None and not force and not crew.alone:
        there = {making.fit_key(config) for config, _ in known}
        to_run = [asked[place].config for place in places if asked[place].run is None]
        wanted = [config for config in to_run if making.fit_key(config) not in there]
        ahead.fit_ahead(wanted, shared, memory, crew, tell)
    for number, place in enumerate(places, start=1):
        one = asked[place]
        if one.run is not None:
            answers[place] = Answered(one, one.run)
            continue
        tell.say(f"variant {number} of {len(asked)}: {one.name}")
        answers[place] = _made(one, out, shared, force=force, tell=Hushed(tell))
    return [answers[place] for place in range(len(asked))]


def _on_disk(asked: Sequence[Asked], out: Path, tell: Reporter) -> list[tuple[Any, Run]]:
    """Return finished runs of the asked variants: their fits may serve the others.

    The digest needs the data; a folder's configuration does not, and says whether its fits fit.
    """
    wanted = {making.fit_key(one.config) for one in asked if one.run is None}
    found = []
    for experiment in {one.config.name for one in asked if one.run is None}:
        for one in variants.finished_in(out / experiment, passing_over=tell):
            if making.fit_key(one.config) in wanted and one.run is not None:
                found.append((one.config, one.run))
    return found


def _plan(asked: Sequence[Asked], known: Sequence[tuple[Any, Run]]) -> str:
    to_run = [one for one in asked if one.run is None]
    fits = {making.fit_key(one.config) for one in to_run}
    fitted = fits & {making.fit_key(config) for config, _ in known}
    return (
        f"{len(asked)} variants, {len(asked) - len(to_run)} given as finished runs; the others "
        f"share {len(fits)} trained models ({len(fitted)} of them in finished runs)"
    )


def _made(one: Asked, out: Path, shared: Shared, *, force: bool, tell: Reporter) -> Answered:
    try:
        run = run_experiment(
            one.config,
            out=out,
            variant=one.folder,
            force=force,
            reporter=tell,
            making=shared,
            config_files=one.files,
        )
    except EnvironmentFailedError:
        raise
    except UserError as error:  # to be mended; what is finished is kept
        raise UserError(f"variant {one.name}: {error}") from error
    except Exception as error:  # noqa: BLE001 - a user's strategy or model may fail in any way
        said = f"failed: {type(error).__name__}: {' '.join(str(error).split())}"
        tell.say(f"{one.name} {said}")
        return Answered(one, None, said)
    return Answered(one, run)


def _once(answered: Sequence[Answered], tell: Reporter) -> list[Answered]:
    """Keep the first of variants that are one and the same question."""
    kept: dict[str, Answered] = {}
    for one in answered:
        key = one.asked.name if one.run is None else one.run.question
        if key in kept:
            tell.say(f"{one.asked.name} asks the same as {kept[key].asked.name}: shown once")
        kept.setdefault(key, one)
    if len(kept) < 2:
        raise UsageError("all variants ask the same question: there is nothing to compare")
    return list(kept.values())


# ── comparing ────────────────────────────────────────────────────────────────────────────────────


def _variant(one: Answered, changes: Mapping[str, str], folder: Path) -> Variant:
    """Return a run as it is compared; its path is told from where the comparison lies."""
    if one.run is not None:
        asked = one.asked
        found = variant_of(
            one.run, asked.name, config=asked.config, source=asked.source, changes=changes
        )
        return replace(found, facts={**found.facts, "run": os.path.relpath(one.run.path, folder)})
    config = one.asked.config
    facts = {
        "verdict": "failed",
        "model": config.model.kind,
        "strategy": config.strategy.name,
        "source": one.asked.source,
    }
    return Variant(
        name=one.asked.name,
        symbol=traded(config.symbols),
        interval=_interval(config),
        horizon=1,
        scored=None,
        bars=None,
        diagnosis=one.failure,
        facts=facts,
        changes=changes,
    )


def _level(asked: Sequence[Asked]) -> float:
    """Return the confidence all variants ask for, the strictest where they differ."""
    return max(one.config.report.confidence for one in asked)


def _experiments(answered: Sequence[Answered]) -> set[str]:
    return {one.asked.config.name for one in answered}


def _experiment(answered: Sequence[Answered]) -> str | None:
    names = _experiments(answered)
    return names.pop() if len(names) == 1 else None


def _place(out: Path, answered: Sequence[Answered]) -> Path:
    """Return the folder of this comparison: the same question has the same place."""
    asked = sorted(one.asked.name if one.run is None else one.run.question for one in answered)
    digest = hashlib.sha256("\n".join(asked).encode()).hexdigest()
    return out / (_experiment(answered) or SEVERAL) / f"comparison-{digest[:8]}"


def _count_trials(answered: Sequence[Answered], out: Path) -> tuple[Trials, tuple[Finding, ...]]:
    """Count the trials of every workspace that the runs lie in, and what is on no record."""
    made = [one.run for one in answered if one.run is not None]
    bar_seconds = _interval(answered[0].asked.config).total_seconds()
    roots = {root.resolve() for root in (out, *(run.path.parent.parent for run in made))}
    ledgers = {root: trials.read(root) for root in sorted(roots)}
    on_record = {asked for ledger in ledgers.values() for asked in ledger.questions}
    unknown = {run.question for run in made} - on_record
    counts = [trials.count(root) for root in ledgers]
    count = sum(one.n for one in counts) + len(unknown)
    sharpes = [r for root in ledgers for r in trials.sharpes(root, bar_seconds=bar_seconds)]
    findings = tuple(finding for one in counts for finding in one.findings)
    if unknown:
        findings = (*findings, _unrecorded(len(unknown)))
    text = "; ".join(one.as_text() for one in counts)
    text += f"; {len(unknown)} compared runs on no record" if unknown else ""
    return Trials(count=count, text=text, sharpes=tuple(sharpes)), findings


def _unrecorded(count: int) -> Finding:
    return Finding(
        code="U009",
        level=Level.WARN,
        where="trial ledger",
        message="compared runs are on no trial ledger: what was tried beside them is not known",
        observed=f"{count} runs",
        expected="every run on record beside its folder",
        why="the more was tried, the less the best of it is worth",
        advice="declare what else was tried with --prior-trials",
    )
