"""The seed band in words and rows, for the terminal, the tearsheet and the page alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perpwalk.reports.words import decimal, percent

HEADER = ("seed", "accuracy", "AUC", "Sharpe", "net return")


@dataclass(frozen=True)
class Seeds:
    """What is to be shown: a sentence, and a row per seed and per figure of the spread."""

    note: str
    rows: tuple[tuple[str, ...], ...] = ()


def seeds_of(audit: Mapping[str, Any]) -> Seeds | None:
    """Return what an ``audit.json`` says of seeds; None where chance has no part in the model."""
    told = audit.get("seeds")
    if not told or not told["seeded"]:
        return None
    if told["runs"] is None:
        return Seeds(
            f"One seed ({told['headline']}): how far chance in training moves these figures is not "
            "known; compute.seeds: [1, 2, 3] shows it."
        )
    rows = [
        (f"{one['seed']}{', headline' if one['role'] == 'headline' else ''}", *_cells(one))
        for one in told["runs"]
    ]
    for name in ("min", "median", "max"):
        part = {key: spread and spread[name] for key, spread in told["spread"].items()}
        rows.append((name, *_cells(part)))
    return Seeds(f"{len(told['runs'])} seeds; {told['rule']}.", tuple(rows))


def _cells(one: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        decimal(one["accuracy"]), decimal(one["auc"]), decimal(one["sharpe"], 1),
        percent(one["total_return"]),
    )  # fmt: skip
