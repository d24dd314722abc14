"""What the cache saves, and what it would not: making against taking out, in one run.

    make bench PYTEST_ARGS="benchmarks/test_cache_speed.py -s"

The 36 folds of ``configs/eth_walkforward.yaml`` on its data (``PERPWALK_DATA``). What is taken out
of a cache is looked up under the hash of what it was made from, copied, hashed and read. Labels and
folds are not kept; here they are, the way features are, to see what that would cost. Their name is
the hash of the bars alone, which is less than a true one would need.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine import stages
from engine.memory import open_memory
from perpwalk import config as configuration
from perpwalk import data, folds, labels, models
from perpwalk.cache import Cache, key_of
from perpwalk.config import Config
from perpwalk.domain import Fold, LabelFrame, Market, to_ns
from perpwalk.errors import UserError

pytestmark = pytest.mark.benchmark

ROOT = Path(__file__).parents[1]
ROUNDS = 20


def milliseconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the least processor time of some calls: a shared machine only ever adds."""
    spent = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent) * 1e3


@pytest.fixture(scope="module")
def real() -> tuple[Config, Market]:
    config = configuration.load(ROOT / "configs/eth_walkforward.yaml", [])
    try:
        return config, data.load_markets(config)[0]
    except UserError as missing:
        pytest.skip(str(missing))


def keeper(
    cache: Cache, kind: str, market: Market, arrays: dict[str, Any], place: Path
) -> Callable[[], object]:
    """Keep arrays in the cache, and return what it takes to look them up and read them."""
    bars = market.bars

    def key() -> str:
        seen = hashlib.sha256()
        for column in (to_ns(bars.open_time), bars.open, bars.high, bars.low, bars.close):
            seen.update(column)
        return key_of({"bars": seen.hexdigest()})

    cache.keep(kind, key(), lambda folder: np.savez(folder / "all.npz", **arrays))
    turns = iter(range(10_000))

    def taken() -> object:
        target = place / f"{kind}-{next(turns)}"
        assert cache.take(kind, key(), target)
        with np.load(target / "all.npz") as kept:
            return {name: kept[name] for name in kept}

    return taken


def of_labels(made: LabelFrame) -> dict[str, Any]:
    return {"known_at": to_ns(made.known_at), "move": made.forward_return, "label": made.label}


def of_folds(made: tuple[Fold, ...]) -> dict[str, Any]:
    return {
        f"{fold.number}-{name}": getattr(fold, name).rows
        for fold in made
        for name in ("train", "validation", "test")
    }


def test_labels_and_folds_are_made_sooner_than_taken(
    real: tuple[Config, Market], tmp_path: Path
) -> None:
    """Keeping them would cost more than making them; features are worth it."""
    config, market = real
    cache = Cache(tmp_path / "cache", 10**9)
    memory = open_memory(tmp_path / "results")
    prepared = stages.prepare(config, [market], memory=memory)[0]
    usable = folds.usable_rows(prepared.features, models.build_model(config.model).timesteps)

    def cut() -> tuple[Fold, ...]:
        return folds.make_folds(
            config.walk_forward, close_time=market.bars.close_time, interval=market.bars.interval,
            usable=usable, labels=prepared.labels, purge=prepared.purge,
        )  # fmt: skip

    known = prepared.feature_set
    made = {
        "labels": milliseconds(lambda: labels.make_labels(market.bars, config.label)),
        "folds": milliseconds(cut),
        "features": milliseconds(lambda: known.compute(market.bars, market.funding), 3),
    }
    taken = {
        "labels": milliseconds(
            keeper(cache, "labels", market, of_labels(prepared.labels), tmp_path)
        ),
        "folds": milliseconds(keeper(cache, "folds", market, of_folds(prepared.folds), tmp_path)),
        "features": milliseconds(lambda: memory.features(config, known, market)),
    }
    print(f"\n{len(market.bars):,} bars, {len(prepared.folds)} folds")
    for name, spent in made.items():
        print(f"{name}: made in {spent:.2f} ms, taken out in {taken[name]:.2f} ms")

    assert made["labels"] < taken["labels"]
    assert made["folds"] < taken["folds"]
    assert taken["features"] < made["features"]
