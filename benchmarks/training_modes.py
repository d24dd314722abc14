"""Windows, stretches and warm starts side by side: AUC of the test spans, and seconds of training.

    python benchmarks/training_modes.py eth window stream stream-warm
    python benchmarks/training_modes.py demo window stream stream-warm

The network alone (``model.kind: lstm``) on real ETHUSDT of 2023, refitted every quarter (data in
``PERPWALK_DATA``), or on the demo's simulated market, whose best reachable AUC is 0.590, on one
thread.
Every mode forecasts the same decisions; the first one named is what the others are compared with
(DeLong's test for paired AUCs). Seconds are the process's own.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine import stages
from engine.walkforward import WalkForward
from perpwalk import config, data
from perpwalk.uncertainty.auc import auc, delong_test, placements

CONFIGS = Path(__file__).parent.parent / "configs"
MARKETS = {
    "eth": (
        CONFIGS / "eth_walkforward.yaml",
        [
            "walk_forward.test=91d",
            "market.since=2020-08-01",
            "walk_forward.start=2023-01-01",
            "market.until=2024-01-01",
        ],
    ),
    "demo": (CONFIGS / "demo.yaml", []),
}
STREAM = [
    "model.lstm.sequence=stream",
    "model.lstm.epochs=40",
    "model.lstm.learning_rate=2e-3",
    "model.lstm.patience=10",
    "model.lstm.lr_patience=3",
]
MODES = {
    "window": [],
    "window-warm": ["walk_forward.warm_start=true"],
    "stream": STREAM,
    "stream-warm": [*STREAM, "walk_forward.warm_start=true"],
}
COMMON = ["model.kind=lstm", "compute.threads=1", "compute.device=cpu"]


@dataclass(frozen=True)
class Outcome:
    """What one mode came to, fold by fold."""

    close_time: list[np.ndarray]
    p_up: list[np.ndarray]
    label: list[np.ndarray]
    seconds: list[float]


def outcome(path: Path, overrides: list[str]) -> Outcome:
    """Fit and forecast every fold."""
    asked = config.load(path, [*overrides, *COMMON])
    market = data.load_market(asked.market, seed=asked.seed)
    (prepared,) = stages.prepare(asked, [market])
    found = Outcome([], [], [], [])
    began = time.process_time()
    for result in WalkForward(asked, prepared.features, prepared.labels).run(prepared.folds):
        label = prepared.labels.label[result.forecast.rows]
        known = label >= 0
        found.close_time.append(result.forecast.rows[known])
        found.p_up.append(result.forecast.p_up[known])
        found.label.append(label[known])
        found.seconds.append(time.process_time() - began)
        began = time.process_time()
        score = auc(found.label[-1], found.p_up[-1])
        shown = "undefined" if score is None else f"{score:.4f}"
        number = result.fitted.fold.number
        print(f"  fold {number}: AUC {shown}, {found.seconds[-1]:.0f} s", flush=True)
    return found


def common(one: Outcome, other: Outcome) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels and both forecasts of the decisions that both have."""
    mine, theirs = np.concatenate(one.close_time), np.concatenate(other.close_time)
    _, at, there = np.intersect1d(mine, theirs, return_indices=True)
    return (
        np.concatenate(one.label)[at],
        np.concatenate(one.p_up)[at],
        np.concatenate(other.p_up)[there],
    )


def main() -> None:
    """Print a line per mode."""
    if len(sys.argv) < 3 or sys.argv[1] not in MARKETS or set(sys.argv[2:]) - set(MODES):
        sys.exit(f"{__doc__}\nmarkets: {', '.join(MARKETS)}; modes: {', '.join(MODES)}")
    path, overrides = MARKETS[sys.argv[1]]
    first: Outcome | None = None
    for name in sys.argv[2:]:
        print(name)
        found = outcome(path, [*overrides, *MODES[name]])
        label, p_up = np.concatenate(found.label), np.concatenate(found.p_up)
        line = f"  {len(label)} decisions, AUC {auc(label, p_up):.4f}"
        line += f", {sum(found.seconds):.0f} s, of which the first fold {found.seconds[0]:.0f} s"
        if first is None:
            first = found
        else:
            label, mine, reference = common(found, first)
            places = placements(label, mine), placements(label, reference)
            test = None if None in places else delong_test(*places)
            if test is not None:
                line += f"; against the first {test.difference:+.4f} (p = {test.p_two_sided:.2f})"
        print(line, flush=True)


if __name__ == "__main__":
    main()
