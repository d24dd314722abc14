"""What was computed before and is still true: features, fits and forecasts out of the cache.

Each is named by the hash of the very arrays it is made from, of the settings it is made with, and
of the code and packages that make it (``perpwalk.provenance``):

============  ====================================================================================
``features``  bars, settlements, names and look-backs; the features' code, the user's files too
``fits``      features and labels up to the end of validation, train and validation rows, the
              choice of features, the model's section, the fold's seed, purge, device, what a warm
              start begins with; the models' code
``forecasts`` the fit, test rows, and the features they look at
============  ====================================================================================

So a run with more data, another end or another strategy takes up every fold that is the same
question, and a bar that changed makes those folds anew that saw it. Labels, folds and thresholds
are made anew each time: that takes less than reading them would.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from engine import foldfiles
from engine.foldfiles import Files, Fit
from perpwalk import disk, models
from perpwalk import features as feature_code
from perpwalk.cache import Cache, key_of, open_cache
from perpwalk.config import Config
from perpwalk.domain import FeatureFrame, Fold, Forecast, IntArray, LabelFrame, Market, to_ns
from perpwalk.errors import UserError
from perpwalk.features import FeatureSet
from perpwalk.plugins import is_file, split
from perpwalk.provenance import machine, provenance
from perpwalk.strict import read_npy, read_object

FEATURES, FITS, FORECASTS = "features", "fits", "forecasts"
KINDS = (FEATURES, FITS, FORECASTS)
_FACTS, _VALUES = "features.json", "values.npy"


class Memory:
    """The cache as the stages use it.

    Parameters
    ----------
    cache
        The store.
    fresh
        Take nothing out of it and put everything into it anew.
    """

    def __init__(self, cache: Cache, *, fresh: bool = False) -> None:
        self.cache = cache
        self._fresh = fresh

    def take(self, kind: str, key: str, target: Path) -> bool:
        """Copy an entry into the new folder ``target``, if there is one to be relied on."""
        return not self._fresh and self.cache.take(kind, key, target)

    def holds(self, kind: str, key: str) -> bool:
        """Return whether there is an entry that may be taken."""
        return not self._fresh and self.cache.holds(kind, key)

    @contextlib.contextmanager
    def nothing_left_if_refused(self) -> Iterator[None]:
        """Remove the cache if it began inside and what was asked is refused inside."""
        there = self.cache.root.exists()
        try:
            yield
        except UserError:
            if not there:
                shutil.rmtree(self.cache.root, ignore_errors=True)
            raise

    # ── features ─────────────────────────────────────────────────────────────────────────────────

    def features(self, config: Config, feature_set: FeatureSet, market: Market) -> FeatureFrame:
        """Return the features of a market, computed if the cache does not hold them."""
        key = _features_key(config, feature_set, market)
        with self.cache.lock(FEATURES, key), disk.scratch() as scratch:
            if self.take(FEATURES, key, taken := scratch / FEATURES):
                return _read_features(feature_set, market, taken)
            frame = feature_set.compute(market.bars, market.funding)
            self.cache.keep(FEATURES, key, lambda folder: _write_features(frame, folder))
            return frame

    # ── in words ─────────────────────────────────────────────────────────────────────────────────

    def told(self) -> list[str]:
        """Return what came out of the cache, and what is wrong with it, one fact a line."""
        counts = self.cache.summary()
        found = [
            f"{one['taken']} of {one['taken'] + one['made']} {kind}"
            for kind in KINDS
            if (one := counts.get(kind)) is not None and one["taken"]
        ]
        damaged = sum(one["damaged"] for one in counts.values())
        lines = [f"from the cache {self.cache.root}: {', '.join(found)}"] if found else []
        if damaged:
            were = (
                "entry of the cache was not as it was"
                if damaged == 1
                else ("entries of the cache were not as they were")
            )
            lines.append(f"{damaged} {were} written: made again")
        if self.cache.trouble is not None:
            lines.append(f"the cache cannot be written to ({self.cache.trouble}); going on without")
        return lines


def open_memory(results: Path, *, fresh: bool = False) -> Memory:
    """Return the cache of a results folder for the stages."""
    return Memory(open_cache(results), fresh=fresh)


def _features_key(config: Config, feature_set: FeatureSet, market: Market) -> str:
    bars, funding = market.bars, market.funding
    made_by = provenance([feature_code.__name__], [Path(f) for f in config.features.modules])
    return key_of(
        {
            "stage": FEATURES,
            "symbol": bars.symbol,
            "interval": bars.interval.value,
            "bars": _hash(
                to_ns(bars.open_time), bars.open, bars.high, bars.low, bars.close, bars.volume,
                bars.filled,
            ),
            "funding": _hash(
                to_ns(funding.settle_time), funding.rate, funding.mark_price, funding.assumed
            ),
            "features": [[one.name, one.group, one.lookback] for one in feature_set.features],
            **_made_by(made_by.as_dict()),
        }
    )  # fmt: skip


def _write_features(frame: FeatureFrame, folder: Path) -> None:
    np.save(folder / _VALUES, frame.values, allow_pickle=False)
    facts = {"names": list(frame.names), "lookback": frame.lookback}
    (folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _read_features(feature_set: FeatureSet, market: Market, folder: Path) -> FeatureFrame:
    facts = read_object(folder / _FACTS)
    values = read_npy(folder / _VALUES)
    values.flags.writeable = False
    return FeatureFrame(
        close_time=market.bars.close_time,
        names=tuple(facts["names"]),
        values=values,
        lookback=feature_set.lookback,
    )


# ── folds ────────────────────────────────────────────────────────────────────────────────────────


class FoldMemory:
    """The cache as one walk uses it: keys of its folds, fits and forecasts in and out."""

    def __init__(
        self,
        memory: Memory,
        config: Config,
        features: FeatureFrame,
        labels: LabelFrame,
        clock: IntArray,
        purge: int,
    ) -> None:
        self._memory = memory
        self._features = features
        self._clock = clock
        self._seen = _Prefix(features.values, labels.label, clock)
        self._fixed = {
            "stage": FITS,
            "names": list(features.names),
            "choice": config.features.model_dump(mode="json", include={"selection", "clip"}),
            "model": _model_section(config),
            "device": models.trains_on(config.model, config.compute.device),
            "purge": purge,
            # Whoever asks for the same bits everywhere is not given what several threads made.
            **({"deterministic": True} if config.compute.deterministic else {}),
            **_made_by(_models_made_by(config)),
        }

    def fit_key(self, fold: Fold, seed: int, start: list[object] | None = None) -> str:
        """Return the name of what ``fold`` learns; ``start`` names what a warm one begins with."""
        return key_of(
            {
                **self._fixed,
                **({} if start is None else {"start": start}),
                "seed": seed,
                # All that exists for a fit, not only what the models shipped look at.
                "past": self._seen.until(int(fold.validation.rows[-1]) + 1),
                "train": _hash(fold.train.rows),
                "validation": _hash(fold.validation.rows),
            }
        )

    def forecast_key(self, fold: Fold, fit_key: str, used: slice) -> str:
        """Return the name of the forecast of a test span from the ``used`` rows."""
        return key_of(
            {
                "stage": FORECASTS,
                "fit": fit_key,
                "rows": _hash(fold.test.rows),
                "values": _hash(self._features.values[used], self._clock[used]),
            }
        )

    @contextlib.contextmanager
    def computing(self, key: str, *, wait: bool = True) -> Iterator[bool]:
        """Hold the right to compute a fit and its forecasts."""
        with self._memory.cache.lock(FITS, key, wait=wait) as mine:
            yield mine

    def take_fit(self, key: str, folder: Path) -> bool:
        """Put a fit's files into the new folder, if the cache holds them."""
        return self._memory.take(FITS, key, folder)

    def take_forecast(self, key: str, folder: Path) -> bool:
        """Put a forecast's file into the new folder, if the cache holds it."""
        return self._memory.take(FORECASTS, key, folder)

    def holds_fit(self, key: str) -> bool:
        """Return whether there is an entry for a fit."""
        return self._memory.holds(FITS, key)

    def keep_files(self, key: str, forecast_key: str, files: Files) -> None:
        """Keep what a worker sent back of a fold."""
        fit, forecast = foldfiles.parts_of(files)
        cache = self._memory.cache
        cache.keep(FITS, key, lambda folder: foldfiles.write_all(fit, folder))
        cache.keep(FORECASTS, forecast_key, lambda folder: foldfiles.write_all(forecast, folder))

    def keep_fit(self, key: str, fit: Fit) -> None:
        """Keep a fit."""
        self._memory.cache.keep(FITS, key, lambda folder: foldfiles.write_fit(fit, folder))

    def keep_forecast(self, key: str, forecast: Forecast) -> None:
        """Keep a forecast."""
        self._memory.cache.keep(
            FORECASTS, key, lambda folder: foldfiles.write_forecast(forecast, folder)
        )


class _Prefix:
    """Hashes of the rows before a stop, each row hashed once where stops ascend."""

    def __init__(self, *arrays: Any) -> None:
        self._arrays = tuple(np.ascontiguousarray(array) for array in arrays)
        self._begin()

    def _begin(self) -> None:
        self._done = 0
        self._digests = [hashlib.sha256() for _ in self._arrays]

    def until(self, stop: int) -> list[str]:
        """Return the hash of each array's rows before ``stop``."""
        if stop < self._done:
            self._begin()
        for array, digest in zip(self._arrays, self._digests, strict=True):
            digest.update(array[self._done : stop].data)
        self._done = stop
        return [f"{stop} {digest.hexdigest()}" for digest in self._digests]


def _model_section(config: Config) -> dict[str, Any]:
    """Return the model's settings; of a file of the user's its name, what it holds is its code."""
    section = config.model.model_dump(mode="json")
    place, name = split(config.model.kind)
    return {**section, "kind": f"{Path(place).name}:{name}"} if is_file(place) else section


def _models_made_by(config: Config) -> dict[str, object]:
    place, _ = split(config.model.kind)
    files = [Path(place)] if is_file(place) else []
    theirs = [place] if place and not files else []
    own = ["perpwalk.models", "perpwalk.preprocess"]
    return provenance([*own, *theirs], files).as_dict()


def _made_by(code: dict[str, object]) -> dict[str, object]:
    return {**code, "machine": list(machine())}


def _hash(*arrays: Any) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        whole = np.ascontiguousarray(array)
        digest.update(f"{whole.dtype.str} {whole.shape} ".encode())
        digest.update(whole.data)
    return digest.hexdigest()
