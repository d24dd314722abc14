"""Windows, stretches and warm starts side by side: AUC of the test spans, and seconds of training.

    python benchmarks/training_modes.py eth window stream stream-warm
    python benchmarks/training_modes.py demo window stream stream-warm --model lstm_xgb

On real ETHUSDT of 2023 to 2025, or of 2023 alone, refitted every quarter (data in
``PERPWALK_DATA``), or on the demo's simulated market, whose best reachable AUC is 0.590; on one
thread. ``--model`` is the network alone (``lstm``) or with trees on its embedding (``lstm_xgb``).
Every mode forecasts the same decisions; the first one named is what the others are compared with:
the difference of paired AUCs, its 95 % interval and p by DeLong's test. Seconds are the process's
own.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine import stages
from engine.walkforward import WalkForward
from perpwalk import config, data
from perpwalk.domain import FloatArray, LabelArray
from perpwalk.uncertainty.auc import auc, delong_covariance, delong_test, placements
from perpwalk.uncertainty.estimate import two_sided_z

CONFIGS = Path(__file__).parent.parent / "configs"
ETH = [
    "walk_forward.test=91d",
    "market.since=2020-08-01",
    "walk_forward.start=2023-01-01",
]
MARKETS = {
    "eth": (CONFIGS / "eth_walkforward.yaml", [*ETH, "market.until=2026-01-01"]),
    "eth2023": (CONFIGS / "eth_walkforward.yaml", [*ETH, "market.until=2024-01-01"]),
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
COMMON = ["compute.threads=1", "compute.device=cpu"]


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


def compared(label: LabelArray, mine: FloatArray, reference: FloatArray) -> str:
    """Return the difference of two AUCs on the same decisions, its interval and p, in words."""
    one, other = placements(label, mine), placements(label, reference)
    test = None if one is None or other is None else delong_test(one, other)
    if one is None or other is None or test is None:
        return "not to be compared with the first"
    covariance = delong_covariance(one, other)
    error = math.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    reach = two_sided_z(0.95) * error
    return (
        f"against the first {test.difference:+.4f} ({test.difference - reach:+.4f} to "
        f"{test.difference + reach:+.4f}, p = {test.p_two_sided:.2f}) on {len(label)} decisions"
    )


def main() -> None:
    """Print a line per fold and mode."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("market", choices=MARKETS)
    parser.add_argument("modes", choices=MODES, nargs="+")
    parser.add_argument("--model", choices=["lstm", "lstm_xgb"], default="lstm")
    asked = parser.parse_args()
    path, overrides = MARKETS[asked.market]
    first: Outcome | None = None
    for name in asked.modes:
        print(f"{asked.model} {name}")
        found = outcome(path, [*overrides, *MODES[name], f"model.kind={asked.model}"])
        label, p_up = np.concatenate(found.label), np.concatenate(found.p_up)
        line = f"  {len(label)} decisions, AUC {auc(label, p_up):.4f}"
        line += f", {sum(found.seconds):.0f} s, of which the first fold {found.seconds[0]:.0f} s"
        if first is None:
            first = found
        else:
            line += "; " + compared(*common(found, first))
        print(line, flush=True)


if __name__ == "__main__":
    main()
