"""Where the parts of a run come from: made anew, or shared with other variants.

A run is the same run either way. ``Making`` makes everything itself; ``Shared`` hands on what an
earlier variant made of the same part of the configuration:

========================  ==========================================================
part                      depends on
========================  ==========================================================
market                    market, and the seed where it is simulated
features, labels          market, features, label
folds                     those, walk_forward, the model's window
fits and forecasts        those, model, seed, compute
threshold                 fits, strategy.threshold
replay, verdict           everything
========================  ==========================================================
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine import audits, stages, walkforward
from engine.memory import Memory
from engine.parts import Prepared, Walked
from engine.progress import Reporter
from engine.stages import StageClock
from perpwalk import data, disk, runs, seal
from perpwalk.config import Config, named_by_content
from perpwalk.domain import Market
from perpwalk.errors import PerpwalkError
from perpwalk.metrics import of_symbol
from perpwalk.runs import Run, RunFolder


class Making:
    """Makes each part of a run, or takes it out of the cache where there is one."""

    def __init__(self, *, memory: Memory | None = None, reports: bool = True) -> None:
        self.memory = memory
        self.reports = reports

    def taking_from(self, config: Config, run: Run) -> Making:
        """Return one that takes the fits of a finished run, where they can be relied on."""
        return Shared([(config, run)], reports=True, memory=self.memory)

    def refusable(self) -> contextlib.AbstractContextManager[None]:
        """Return a context in which what is refused leaves nothing behind."""
        if self.memory is None:
            return contextlib.nullcontext()
        return self.memory.nothing_left_if_refused()

    def begin(self) -> None:
        """Begin a run: count from here what comes out of the cache."""
        if self.memory is not None:
            self.memory.cache.counts.clear()

    def tell(self, reporter: Reporter) -> None:
        """Say what came out of the cache."""
        for line in [] if self.memory is None else self.memory.told():
            reporter.say(line)

    def from_cache(self) -> dict[str, dict[str, int]] | None:
        """Return what came out of the cache for the manifest; None where there is no cache."""
        return None if self.memory is None else self.memory.cache.summary()

    def markets(self, config: Config) -> tuple[Market, ...]:
        """Read or simulate the contracts of the account."""
        return data.load_markets(config)

    def prepare(
        self, config: Config, markets: Sequence[Market], *, clock: StageClock, reporter: Reporter
    ) -> tuple[Prepared, ...]:
        """Compute features and labels and cut the folds."""
        return stages.prepare(config, markets, memory=self.memory, clock=clock, reporter=reporter)

    def fit(
        self,
        config: Config,
        prepared: Sequence[Prepared],
        folder: RunFolder,
        *,
        clock: StageClock,
        reporter: Reporter,
    ) -> tuple[Walked, ...]:
        """Fit and forecast every fold, taking up those an interrupted run left."""
        del config  # each contract brings its own
        return stages.walk_forward(
            prepared, work=folder.work, memory=self.memory, clock=clock, reporter=reporter
        )

    def place_models(self, folder: RunFolder, prepared: Sequence[Prepared]) -> None:
        """Put each fold's artifacts into ``models/fold-000``, or ``models/ETHUSDT/fold-000``."""
        for name in fold_names(prepared):
            disk.clone_tree(folder.work / name / "model", folder.partial / "models" / name)


@dataclass(frozen=True, eq=False)
class Fits:
    """Fitted folds in memory, and the run whose folder holds their artifacts."""

    walked: tuple[Walked, ...]
    final: Path
    work: Path | None = None

    def artifacts(self, name: str) -> Path:
        """Return where a fold's artifacts lie: with the finished run, or where it was left."""
        placed = self.final / "models" / name
        if placed.is_dir() or self.work is None:
            return placed
        return self.work / name / "model"


class Shared(Making):
    """Makes what several variants have in common once.

    Parameters
    ----------
    finished
        Runs to take fits from, where nothing they depend on has changed since.
    reports
        Whether each variant gets its own tearsheet and page.

    Notes
    -----
    One market, one feature table and one set of fits are kept at a time: ask for variants that
    share them one after the other (``order``).
    """

    def __init__(
        self,
        finished: Sequence[tuple[Config, Run]] = (),
        *,
        reports: bool,
        memory: Memory | None = None,
    ) -> None:
        super().__init__(memory=memory, reports=reports)
        self._finished = {fit_key(config): (config, run) for config, run in finished}
        self._markets: tuple[str, tuple[Market, ...]] | None = None
        self._prepared: tuple[str, tuple[Prepared, ...]] | None = None
        self._fits: tuple[str, Fits] | None = None

    def taking_from(self, config: Config, run: Run) -> Making:
        """Return itself: it knows the finished runs."""
        del config, run
        return self

    def markets(self, config: Config) -> tuple[Market, ...]:
        """Return the contracts of the account, read once."""
        key = market_key(config)
        if self._markets is None or self._markets[0] != key:
            self._markets = key, super().markets(config)
        return self._markets[1]

    def prepare(
        self, config: Config, markets: Sequence[Market], *, clock: StageClock, reporter: Reporter
    ) -> tuple[Prepared, ...]:
        """Return features, labels and folds, the first two computed once."""
        key = input_key(config)
        known: tuple[Prepared, ...] = ()
        if self._prepared is not None and self._prepared[0] == key:
            known = self._prepared[1]
        prepared = stages.prepare(
            config, markets, known=known, memory=self.memory, clock=clock, reporter=reporter
        )
        self._prepared = key, prepared
        return prepared

    def fit(
        self,
        config: Config,
        prepared: Sequence[Prepared],
        folder: RunFolder,
        *,
        clock: StageClock,
        reporter: Reporter,
    ) -> tuple[Walked, ...]:
        """Return the fits, made once; only the threshold is each variant's own."""
        key = fit_key(config)
        fits = self._known(key) or self._revived(config, prepared, reporter)
        if fits is None:
            walked = super().fit(config, prepared, folder, clock=clock, reporter=reporter)
            self._fits = key, Fits(walked, folder.final, folder.work)
            return walked
        self._fits = key, fits
        reporter.say(f"models and forecasts are those of {fits.final}")
        with clock.stage("train and predict"):
            return tuple(
                Walked(
                    now,
                    walkforward.with_threshold(one.results, now.labels, config.strategy.threshold),
                )
                for now, one in zip(prepared, fits.walked, strict=True)
            )

    def place_models(self, folder: RunFolder, prepared: Sequence[Prepared]) -> None:
        """Put the artifacts into the run, from where they were made."""
        fits = None if self._fits is None else self._fits[1]
        # Fits revived from the run that is made again lie with it, not where runs are made.
        if fits is None or (fits.final == folder.final and fits.work is not None):
            super().place_models(folder, prepared)
            return
        for name in fold_names(prepared):
            disk.clone_tree(fits.artifacts(name), folder.partial / "models" / name)

    def _known(self, key: str) -> Fits | None:
        return self._fits[1] if self._fits is not None and self._fits[0] == key else None

    def _revived(
        self, config: Config, prepared: Sequence[Prepared], reporter: Reporter
    ) -> Fits | None:
        """Return the fits of a finished run, None where there is none that can be relied on."""
        asked, run = self._finished.get(fit_key(config), (None, None))
        if asked is None or run is None:
            return None
        # The run's own code, its strategy's too, as it lies on disk now.
        if run.manifest.get("code_hash") != audits.code_hash(asked):
            return None
        if runs.counting_versions(run.manifest.get("versions", {})) != runs.counting_versions():
            return None
        if seal.broken(run.manifest, run.path):
            reporter.say(f"{run.path} is not as it was written: its models are fitted again")
            return None
        try:
            return Fits(fits_of(run, prepared), run.path)
        except (PerpwalkError, OSError, ValueError, KeyError) as error:
            reporter.say(f"the models of {run.path} cannot be taken up ({error}): fitted again")
            return None


def fold_names(prepared: Sequence[Prepared]) -> list[str]:
    """Return where each fold is kept under ``models/`` and ``work/``."""
    return [runs.fold_name(fold.number, one.name) for one in prepared for fold in one.folds]


def fits_of(run: Run, prepared: Sequence[Prepared]) -> tuple[Walked, ...]:
    """Return the fits and forecasts that a finished run keeps."""
    return tuple(_revived(run, one) for one in prepared)


def _revived(run: Run, prepared: Prepared) -> Walked:
    walk = walkforward.WalkForward(prepared.config, prepared.features, prepared.labels)
    predictions, training = run.predictions, run.training
    if prepared.name is not None:
        predictions = of_symbol(predictions, prepared.name)
        training = of_symbol(training, prepared.name)
    results = [
        walk.revive(
            fold,
            run.path / "models" / runs.fold_name(fold.number, prepared.name),
            predictions[predictions["fold"] == fold.number],
            walkforward.training_reports(training, fold.number),
        )
        for fold in prepared.folds
    ]
    return Walked(prepared, results)


# ── what a part depends on ───────────────────────────────────────────────────────────────────────


def market_key(config: Config) -> str:
    """Return what names the markets: their sections, and the seed where that draws one."""
    sections = [one.market for one in config.each_market()]
    drawn = any(one.is_simulated and one.simulate.seed is None for one in sections)
    return _hash([one.model_dump(mode="json") for one in sections], config.seed if drawn else None)


def input_key(config: Config) -> str:
    """Return what names features and labels."""
    return _hash(
        market_key(config),
        config.features.model_dump(mode="json"),
        config.features.contents(),
        config.label.model_dump(mode="json"),
        named_by_content(config.label.kind, "label.kind"),
    )


def fit_key(config: Config) -> str:
    """Return what names fits and forecasts: everything but strategy, broker and report."""
    return _hash(
        input_key(config),
        config.walk_forward.model_dump(mode="json"),
        config.model.model_dump(mode="json"),
        named_by_content(config.model.kind, "model.kind"),
        config.seed,
        config.compute.device,
    )


def order(configs: Sequence[Config]) -> list[int]:
    """Return positions such that configurations with common parts follow each other."""
    seen: dict[str, int] = {}

    def rank(key: str) -> int:
        return seen.setdefault(key, len(seen))

    places = [(rank(market_key(c)), rank(input_key(c)), rank(fit_key(c))) for c in configs]
    return sorted(range(len(configs)), key=lambda k: (places[k], k))


def _hash(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
