"""Print which detector catches which leak, and how often a clean pipeline is accused.

    python benchmarks/detection_matrix.py [--seeds 100]

Each pipeline of the library runs over a simulated random walk with 1,600 out-of-sample rows (5,200
for the planted edge). ``X``: caught and required to be; ``x``: caught as well; ``.``: silent;
``-``: does not apply. The table stands in ``docs/leaks.md``.
"""

from __future__ import annotations

import argparse
import time

from perpwalk.audit.leaking import (
    CLEAN,
    DETECTORS,
    HONEST_STRATEGY,
    LEAKS,
    STRATEGIES,
    STRATEGIES_MUST,
    Row,
    detect,
    detect_strategy,
)
from perpwalk.uncertainty.proportions import wilson


def _line(row: Row, must: frozenset[str]) -> str:
    cells = []
    for detector in DETECTORS:
        alarm = row.cells.get(detector)
        missed = "MISSED" if detector in must else "."
        caught = "X" if detector in must else "x"
        cells.append("-" if alarm is None else caught if alarm else missed)
    return f"| {row.name} | {' | '.join(cells)} |"


def _matrix(seed: int) -> None:
    print(f"| pipeline | {' | '.join(DETECTORS)} |")
    print(f"|---|{'|'.join([':-:'] * len(DETECTORS))}|")
    for name, pipeline in CLEAN.items():
        print(_line(detect(name, pipeline, seed), frozenset()), flush=True)
    for leak in LEAKS:
        print(_line(detect(leak.name, leak.pipeline, seed), leak.must), flush=True)
    print(_line(detect_strategy("honest strategy", HONEST_STRATEGY, seed), frozenset()))
    for name, strategy in STRATEGIES.items():
        print(_line(detect_strategy(name, strategy, seed), STRATEGIES_MUST[name]))


def _false_alarms(seeds: int) -> None:
    alarms: dict[str, int] = {}
    accused = 0
    for seed in range(1, seeds + 1):
        row = detect("clean", CLEAN["clean"], seed)
        accused += bool(row.caught_by)
        for detector in row.caught_by:
            alarms[detector] = alarms.get(detector, 0) + 1
    interval = wilson(accused, seeds)
    assert interval is not None
    print(
        f"clean pipeline accused on {accused} of {seeds} seeds: {accused / seeds:.1%}, 95 % "
        f"interval (Wilson) {interval.low:.1%} to {interval.high:.1%}; by detector: {alarms or '-'}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1, help="seed of the table's market")
    given = parser.parse_args()
    started = time.perf_counter()
    _matrix(given.seed)
    _false_alarms(given.seeds)
    print(f"{time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()
