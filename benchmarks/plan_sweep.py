"""Plan a sweep of symbols × variants × folds from what one task measures: time, bytes, cost.

    python benchmarks/plan_sweep.py configs/eth_walkforward.yaml --symbols 1000 --variants 100

One fold of the configuration is fitted on one thread for each kind of model, as a worker would
fit it (what takes moments twice, so that imports do not count). Processor seconds are counted, not
wall seconds, so that a busy machine does not matter; other cores are faster or slower.
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections.abc import Iterator
from dataclasses import dataclass

from engine import foldtasks, stages
from engine.foldtasks import Done, Table, Task
from perpwalk import config, data
from perpwalk.config import Config

SHORT = 20.0  # seconds
KINDS = {
    "logistic": ["model.kind=logistic"],
    "xgb": ["model.kind=xgb"],
    "lstm_xgb, stream": ["model.kind=lstm_xgb", "model.lstm.sequence=stream"],
    "lstm_xgb": ["model.kind=lstm_xgb"],
}


@dataclass(frozen=True)
class Measured:
    """What one task of a kind takes."""

    kind: str
    seconds: float
    sent: int
    back: int
    table: int
    prepare: float


def measured(path: str, kinds: list[str]) -> Iterator[Measured]:
    """Fit the last fold with each kind of model."""
    for kind in kinds:
        asked: Config = config.load(path, KINDS[kind])
        began = time.process_time()
        prepared = stages.prepare(asked, data.load_markets(asked))[0]
        ready = time.process_time() - began
        table = Table(prepared.features, prepared.labels)
        fold = prepared.folds[-2]  # the last may be cut short by the end of the data
        task = Task(asked, fold, threads=1, code=foldtasks._code(asked.model.kind))
        done, spent = _timed(table, task)
        if spent < SHORT:
            done, spent = _timed(table, task)
        yield Measured(
            kind,
            spent,
            len(pickle.dumps(task)),
            sum(len(content) for _, content in done.files),
            len(pickle.dumps(table)),
            ready,
        )


def _timed(table: Table, task: Task) -> tuple[Done, float]:
    began = time.process_time()
    done = foldtasks.fit_fold(table, task)
    if done.error is not None:
        raise done.error
    return done, time.process_time() - began


def main() -> None:
    """Measure and print the plan."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("config")
    parser.add_argument("--symbols", type=int, default=1000)
    parser.add_argument("--variants", type=int, default=100)
    parser.add_argument("--folds", type=int, default=60)
    parser.add_argument("--cores", type=int, default=1000)
    parser.add_argument("--price", type=float, default=0.04, help="of a core for an hour")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    asked = parser.parse_args()
    tasks = asked.symbols * asked.variants * asked.folds
    print(f"{tasks:,} tasks; {asked.cores:,} cores at {asked.price} an hour")
    head = "kind               s/task  core hours  hours   cost   sent/task  back/task  back in all"
    print(head)
    for one in measured(asked.config, asked.kinds):
        hours = one.seconds * tasks / 3600
        print(
            f"{one.kind:<18}{one.seconds:7.2f}{hours:12,.0f}{hours / asked.cores:7.1f}"
            f"{hours * asked.price:8,.0f}{one.sent / 1e3:9.0f} kB{one.back / 1e3:8.0f} kB"
            f"{one.back * tasks / 1e9:10,.0f} GB"
        )
        print(
            f"    shipped once per worker and symbol: {one.table / 1e6:.0f} MB; to read a market "
            f"and compute its features: {one.prepare:.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
