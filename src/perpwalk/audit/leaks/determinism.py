"""The control: the same question twice must get the same answer, bit for bit."""

from __future__ import annotations

import numpy as np

from perpwalk.audit.leaks.contract import Outcome, Pipeline, PipelineOutput, Probe
from perpwalk.audit.leaks.perturbation import ROUNDING
from perpwalk.domain import Finding, Level, Market

REPEATS = 3


def audit_determinism(
    pipeline: Pipeline, market: Market, seed: int, control: PipelineOutput
) -> tuple[Outcome, float]:
    """Run again and compare; where it differs, repeat to measure the noise.

    Returns
    -------
    Outcome
        K007 where the answers differ.
    float
        Differences up to which later comparisons cannot tell a leak from noise.
    """
    only = Probe(only_folds=tuple(trace.fold.number for trace in control.folds))
    noise = _largest(control, pipeline(market, seed, only))
    if noise == 0.0:
        outcome = Outcome(
            detector="determinism",
            summary="the same data and seed give the same bits",
            numbers={"noise": 0.0},
        )
        return outcome, ROUNDING
    for _ in range(REPEATS - 1):
        noise = max(noise, _largest(control, pipeline(market, seed, only)))
    floor = 10 * noise + 1e-9
    finding = Finding(
        code="K007",
        level=Level.WARN,
        where="the whole pipeline",
        message="the same data and seed give different forecasts",
        observed=f"probabilities differ by up to {noise:.3g} in {REPEATS} repeats",
        expected="differences of exactly 0",
        why=f"leaks that move a forecast by less than {floor:.3g} cannot be seen",
        advice="run on the CPU with one thread (compute.device: cpu, compute.threads: 1) and draw "
        "nothing from an unseeded generator",
    )
    return (
        Outcome(
            detector="determinism",
            summary=f"answers differ by up to {noise:.3g}: the perturbation test is weaker",
            findings=(finding,),
            numbers={"noise": noise},
        ),
        floor,
    )


def _largest(a: PipelineOutput, b: PipelineOutput) -> float:
    """Return the largest difference of probabilities; infinite where rows differ."""
    worst = 0.0
    for mine, theirs in zip(a.folds, b.folds, strict=True):
        if not np.array_equal(mine.fold.test.rows, theirs.fold.test.rows):
            return float("inf")
        gap = np.abs(mine.p_up - theirs.p_up)
        worst = max(worst, float(np.nan_to_num(gap, nan=0.0).max(initial=0.0)))
    return worst
