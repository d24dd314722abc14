"""How good the forecasts of one run are, and how good they could be by chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perpwalk.audit.leaks.contract import FoldTrace, PipelineOutput
from perpwalk.domain import UNDEFINED_LABEL, FloatArray, LabelFrame
from perpwalk.uncertainty.auc import null_sd, placements
from perpwalk.uncertainty.overlap import estimated_vif

# Two-sided, one test in 16,000 by chance. An audit is run often and holds several such tests: at
# the usual 2 or 3 deviations a clean pipeline would be accused every few dozen runs.
ALARM_Z = 4.0
POWER_Z = ALARM_Z + 0.842  # deviations seen with a power of 80 %


@dataclass(frozen=True)
class FoldAuc:
    """The folds' mean AUC, its deviation under no skill, and the rows behind it."""

    value: float
    null_sd: float
    rows: int


def fold_auc(output: PipelineOutput) -> FoldAuc | None:
    """Return the mean AUC over folds, weighted by their rows; None where no fold has both classes.

    Fold by fold, because pooling mixes the calibration of different fits. The deviation allows for
    overlapping labels: rows that share returns are worth fewer.
    """
    scored = [each for trace in output.folds if (each := _one(trace, output.labels)) is not None]
    if not scored:
        return None
    value, sd, rows = (np.array(column) for column in zip(*scored, strict=True))
    # By rows: a last fold of a few rows would otherwise drown the others in its noise.
    weight = rows / rows.sum()
    return FoldAuc(
        value=float(weight @ value),
        null_sd=float(np.sqrt((weight * sd) @ (weight * sd))),
        rows=int(rows.sum()),
    )


def _one(trace: FoldTrace, labels: LabelFrame) -> tuple[float, float, int] | None:
    label = labels.label[trace.fold.test.rows]
    known = (label != UNDEFINED_LABEL) & np.isfinite(trace.p_up)
    found = placements(label[known], trace.p_up[known])
    if found is None:
        return None
    vif = 1.0
    if labels.horizon > 1:
        vif = estimated_vif(found.influence(label[known] == 1), labels.horizon)
    sd = null_sd(len(found.positive), len(found.negative), vif)
    return found.auc, sd, int(known.sum())


@dataclass(frozen=True)
class MeanTest:
    """Whether several AUCs are 0.5 on average."""

    mean: float
    z: float
    runs: int
    rows: int
    sd: float

    @property
    def alarm(self) -> bool:
        """Whether the mean is further from 0.5 than chance allows."""
        return abs(self.z) > ALARM_Z

    @property
    def detectable(self) -> float:
        """The AUC lift that would have raised the alarm with a power of 80 %."""
        return POWER_Z * self.sd / math.sqrt(self.runs)

    @property
    def words(self) -> str:
        """The numbers in one line."""
        return (
            f"mean AUC {self.mean:.4f} over {self.runs} runs of {self.rows // self.runs:,} rows "
            f"(z {self.z:+.1f}, alarm beyond {ALARM_Z:g})"
        )


def mean_is_half(aucs: Sequence[FoldAuc | None]) -> MeanTest | None:
    """Test a mean AUC against 0.5, None where none is defined.

    The deviation is the larger of theory's and that seen between the runs.
    """
    defined = [each for each in aucs if each is not None]
    if not defined:
        return None
    values: FloatArray = np.array([each.value for each in defined])
    seen = float(values.std(ddof=1)) if len(values) > 2 else 0.0
    sd = max(seen, float(np.mean([each.null_sd for each in defined])))
    mean = float(values.mean())
    return MeanTest(
        mean=mean,
        z=(mean - 0.5) / (sd / math.sqrt(len(values))),
        runs=len(values),
        rows=sum(each.rows for each in defined),
        sd=sd,
    )
