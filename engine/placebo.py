"""``perpwalk placebo``: the run again with its cause taken away, one cause at a time.

Markets, features and folds are computed once; the fits are those of the finished run. What is
fitted again is fitted on meaningless labels or with another model, through the same stages. Fits
that take long are kept in the results folder's cache, so that a battery that was ended goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from engine import audits, making, stages, standing
from engine.experiment import run_experiment
from engine.making import Making
from engine.memory import Memory, open_memory
from engine.parts import Prepared, Walked
from engine.progress import Reporter, Silent, Within
from engine.scoring import replayed
from engine.variants import variant_of_file
from perpwalk import config as configuration
from perpwalk import disk, layers, models, runs
from perpwalk.audit import placebo
from perpwalk.audit.leaks.permutation import shifted
from perpwalk.audit.placebo import Kind, Placebo, PlaceboRecord
from perpwalk.audit.score import Score
from perpwalk.config import Config
from perpwalk.domain import Finding, Forecast, LabelFrame
from perpwalk.errors import UsageError
from perpwalk.run_config import config_to_load
from perpwalk.runs import Run

DRAWS = 19  # repetitions: the least p is then 0.05
FEW_RETRAINS = 3  # of a model that is not fitted in seconds
DELAYS = (1, 2, 3)
STAND_IN, OTHER = "logistic", "xgb"
Treatment = Callable[[Forecast], Forecast]


@dataclass(frozen=True, eq=False)
class Battery:
    """The run, judged again over what the treatments showed."""

    run: Run
    table: pd.DataFrame
    findings: tuple[Finding, ...]


def run_battery(
    config: Config,
    finished: Run,
    *,
    full: bool = False,
    draws: int = DRAWS,
    reporter: Reporter | None = None,
) -> Battery:
    """Treat a finished run and write what came of it into its folder.

    Parameters
    ----------
    full
        Fit the configuration's own model on meaningless labels even where that takes long; a
        logistic regression stands in for it otherwise, and the table says so.
    draws
        Repetitions of whatever is drawn by chance, each with a replay of its own.

    Raises
    ------
    UsageError
        The run is not as it was written: its models may be others.
    """
    runs.require_sealed(finished)
    treated = _Treated.of(config, finished, draws, reporter or Silent())
    placebos = treated.all(full=full)
    found = placebo.findings(
        treated.own,
        placebos,
        constant_by_design=config.model.kind == "majority",
        without_signal=not getattr(treated.prepared[0].strategy, "asks_signal", True),
    )
    shown = placebo.table(treated.own, placebos)
    renewed = standing.with_placebo(finished, PlaceboRecord.of(shown, found))
    return Battery(renewed, shown, found)


@dataclass(frozen=True, eq=False)
class _Treated:
    """A run's parts in memory, ready to be treated."""

    config: Config
    prepared: tuple[Prepared, ...]
    walked: tuple[Walked, ...]
    own: Score
    draws: int
    memory: Memory
    tell: Reporter

    @classmethod
    def of(cls, config: Config, run: Run, draws: int, tell: Reporter) -> _Treated:
        make, clock = Making(), stages.StageClock()
        tell.stage("load")
        markets = make.markets(config)
        standing.require_same_data(run, config, audits.hashes_of(markets))
        prepared = make.prepare(config, markets, clock=clock, reporter=Silent())
        walked = making.fits_of(run, prepared)
        memory = open_memory(run.path.parent.parent)
        return cls(config, prepared, walked, replayed(config, walked), draws, memory, tell)

    def all(self, *, full: bool) -> list[Placebo]:
        """Return every treatment, the cheap ones first."""
        slow = self.config.model.kind not in models.QUICK
        self._say_cost(slow=slow, full=full)
        self.tell.stage("placebos", len(DELAYS) + 3 + len(placebo.LABELS))
        made = [self._late(by) for by in DELAYS]
        made += [self._drawn(), self._constant(), self._swapped()]
        return [*made, *self._labels(slow=slow, full=full)]

    def _say_cost(self, *, slow: bool, full: bool) -> None:
        folds = sum(len(one.folds) for one in self.prepared)
        again = FEW_RETRAINS if slow and full else self.draws
        model = self.config.model.kind if full or not slow else f"{STAND_IN} (a stand-in)"
        self.tell.say(
            f"placebos: {self.draws} replays of a random model; {2 * again} fits of {model} on "
            f"meaningless labels and one of another model, {folds} folds each"
        )

    def _done(self, made: Placebo) -> Placebo:
        self.tell.step(made.name)
        return made

    # ── the signal and the model ─────────────────────────────────────────────────────────────────

    def _scored(self, treat: Treatment) -> Score:
        walked = [
            Walked(
                one.prepared,
                [replace(result, forecast=treat(result.forecast)) for result in one.results],
            )
            for one in self.walked
        ]
        return replayed(self.config, walked)

    def _late(self, by: int) -> Placebo:
        name = f"signal {by} {'bar' if by == 1 else 'bars'} late"
        score = self._scored(lambda forecast: placebo.late(forecast, by))
        return self._done(Placebo(Kind.LATE, name, (score,), self.own))

    def _drawn(self) -> Placebo:
        draw = np.random.default_rng([self.config.seed, 17])
        scores = tuple(
            self._scored(lambda forecast: placebo.turned(forecast, draw)) for _ in range(self.draws)
        )
        return self._done(Placebo(Kind.RANDOM, Kind.RANDOM, scores, self.own))

    def _constant(self) -> Placebo:
        score = self._scored(placebo.constant)
        return self._done(Placebo(Kind.CONSTANT, "constant model: up", (score,), self.own))

    def _swapped(self) -> Placebo:
        other = OTHER if self.config.model.kind == STAND_IN else STAND_IN
        score = replayed(self.config, stages.walk_forward(_with_model(self.prepared, other)))
        name = f"swapped model: {other}"
        return self._done(Placebo(Kind.SWAPPED, name, (score,), self.own))

    # ── the labels ───────────────────────────────────────────────────────────────────────────────

    def _labels(self, *, slow: bool, full: bool) -> list[Placebo]:
        prepared, reference, said = self.prepared, self.own, ""
        if slow and not full:
            prepared, said = _with_model(self.prepared, STAND_IN), f", stand-in {STAND_IN}"
            reference = replayed(self.config, stages.walk_forward(prepared))
        again = FEW_RETRAINS if slow and full else self.draws
        draw = np.random.default_rng([self.config.seed, 18])
        treatments: dict[Kind, Callable[[LabelFrame], LabelFrame]] = {
            Kind.SHUFFLED: lambda labels: placebo.shuffled(labels, draw),
            Kind.SHIFTED: lambda labels: shifted(labels, float(draw.random())),
        }
        made = []
        for kind, treat in treatments.items():
            kept = kind if slow and full else None
            scores = tuple(self._refitted(prepared, treat, kept) for _ in range(again))
            made.append(self._done(Placebo(kind, f"{kind}{said}", scores, reference)))
        return made

    def _refitted(
        self,
        prepared: Sequence[Prepared],
        treat: Callable[[LabelFrame], LabelFrame],
        kept: str | None,
    ) -> Score:
        """Fit on treated labels, keeping each fold where ``kept`` names them; score on the true."""
        blind = [replace(one, labels=treat(one.labels)) for one in prepared]
        walked = stages.walk_forward(blind) if kept is None else self._walk_kept(blind, kept)
        true = [Walked(one, done.results) for one, done in zip(prepared, walked, strict=True)]
        return replayed(self.config, true)

    def _walk_kept(self, prepared: Sequence[Prepared], name: str) -> tuple[Walked, ...]:
        """Fit what the cache does not hold, by as many processes as the run is asked to take."""
        tell = Within(self.tell, name)
        with disk.scratch() as folder:
            return stages.walk_forward(
                prepared, work=folder / "folds", memory=self.memory, reporter=tell
            )


def _with_model(prepared: Sequence[Prepared], kind: str) -> tuple[Prepared, ...]:
    """Return the same contracts asked of another model."""
    return tuple(
        replace(
            one,
            config=one.config.model_copy(
                update={"model": one.config.model.model_copy(update={"kind": kind, "params": {}})}
            ),
        )
        for one in prepared
    )


def subject(
    item: Path,
    overrides: Sequence[str],
    out: Path,
    reporter: Reporter,
    *,
    code: Sequence[str] = (),
) -> tuple[Config, Run]:
    """Return the finished run that is meant, and its configuration; a configuration is run first.

    ``code`` is what a finished run names and that may be loaded (``run_config.config_to_load``).

    Raises
    ------
    UsageError
        Overrides for a finished run: it has its configuration.
    """
    if item.is_dir():
        if overrides:
            raise UsageError("--set belongs to a configuration; a finished run has its own")
        run = runs.load_run(item)
        return config_to_load(run, code), run
    layered = layers.read(item, overrides)
    config = configuration.of_layers(layered)
    return config, run_experiment(
        config, out=out, variant=variant_of_file(layered.files), reporter=reporter,
        config_files=tuple(map(str, layered.files)),
    )  # fmt: skip
