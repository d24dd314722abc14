"""A comparison on disk, of variants made by hand: one is named like a script, one is no result."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hand_made_run import NASTY
from simulated_variants import variants

from perpwalk.comparison import Comparison, load_comparison, write_comparison
from perpwalk.comparison.core import compare_variants


def kept_comparison(folder: Path, *, count: int = 6, n: int = 1500) -> Comparison:
    """Return a comparison of ``count`` variants that take part and one that does not."""
    made = variants(count + 1, n, edge=0.06, seed=11)
    made[0] = replace(made[0], name=NASTY, changes={"model.kind": "planted"})
    made[-1] = replace(made[-1], diagnosis="L004 labels: labels disagree")
    found = compare_variants(made, name="made up", seed=3, resamples=200)
    return load_comparison(write_comparison(found, folder))
