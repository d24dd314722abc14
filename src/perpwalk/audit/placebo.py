"""The placebo battery: what figures a run has where labels, timing or model mean nothing.

A result that stays when its cause is taken away had another cause. Labels are shuffled and shifted,
the signal comes late, the model is replaced by chance, by a constant and by another model; each
time the same decisions are scored and the same account is kept. Everything here is a pure function;
``engine.placebo`` fits and replays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from perpwalk.audit.leaks.scoring import FoldAuc, mean_is_half
from perpwalk.audit.score import Score
from perpwalk.domain import (
    UNDEFINED_LABEL,
    Finding,
    FloatArray,
    Forecast,
    LabelFrame,
    Level,
    frozen_array,
)
from perpwalk.uncertainty.estimate import upper_tail
from perpwalk.uncertainty.proportions import permutation_p

PLACEBO = "placebo: "  # stands before the place of its findings in a run's audit.json
FORECASTS, ACCOUNT = f"{PLACEBO}forecasts", f"{PLACEBO}account"
STAND_IN_ROW = "stand-in, its own labels"
CHANCE = 0.05
LATE_Z = 4.0  # deviations by which a late signal must do better before it is called misaligned


class Kind(StrEnum):
    """What was taken away."""

    SHUFFLED = "labels shuffled"
    SHIFTED = "labels shifted"
    LATE = "signal late"
    RANDOM = "random model"
    CONSTANT = "constant model"
    SWAPPED = "swapped model"


LABELS = (Kind.SHUFFLED, Kind.SHIFTED)
MODELS = (Kind.RANDOM, Kind.CONSTANT, Kind.SWAPPED)


@dataclass(frozen=True)
class Placebo:
    """One treatment and the scores of its repetitions.

    ``reference`` is the score it is held against: the run's own, or that of the stand-in model.
    """

    kind: Kind
    name: str
    scores: tuple[Score, ...]
    reference: Score

    def values(self, figure: str) -> FloatArray:
        """Return the defined values of a figure over the repetitions."""
        found = [getattr(score, figure) for score in self.scores]
        return np.array([value for value in found if value is not None], dtype=np.float64)

    def p(self, figure: str) -> float | None:
        """Return the share of repetitions that do as well as the reference, itself among them.

        Phipson & Smyth 2010, never 0. None where the reference is undefined or there are fewer than
        two repetitions.
        """
        own, values = getattr(self.reference, figure), self.values(figure)
        if own is None or len(values) < 2:
            return None
        return permutation_p(int(np.sum(values >= own)), len(values))


# ── taking something away ────────────────────────────────────────────────────────────────────────


def shuffled(labels: LabelFrame, draw: np.random.Generator) -> LabelFrame:
    """Return labels whose blocks of at least 24 rows and two horizons change places.

    Single labels of overlapping windows cannot be shuffled: their own likeness would be lost, and
    what is left looks less like chance than chance does.
    """
    rows = np.flatnonzero(labels.label != UNDEFINED_LABEL)
    block = max(24, 2 * labels.horizon)
    blocks = np.array_split(np.arange(len(rows)), max(1, len(rows) // block))
    order = np.concatenate([blocks[k] for k in draw.permutation(len(blocks))])
    label, forward = labels.label.copy(), labels.forward_return.copy()
    label[rows], forward[rows] = label[rows[order]], forward[rows[order]]
    return replace(labels, label=frozen_array(label, np.int8), forward_return=frozen_array(forward))


def late(forecast: Forecast, by: int) -> Forecast:
    """Return a forecast that arrives ``by`` decisions late; the first ``by`` have none."""
    kept = max(len(forecast.rows) - by, 0)
    return replace(
        forecast,
        close_time=forecast.close_time[by:],
        rows=forecast.rows[by:],
        p_up=forecast.p_up[:kept],
        embedding=forecast.embedding[:kept],
    )


def turned(forecast: Forecast, draw: np.random.Generator) -> Forecast:
    """Return a fold's forecasts moved around a circle by a random distance.

    A random model with the habits of this one: the same probabilities in the same sequence, so the
    same turnover, at the wrong time.
    """
    count = len(forecast.p_up)
    by = int(draw.integers(1, count)) if count > 1 else 0
    return replace(
        forecast, p_up=np.roll(forecast.p_up, by), embedding=np.roll(forecast.embedding, by, axis=0)
    )


def constant(forecast: Forecast) -> Forecast:
    """Return a model that always says up."""
    return replace(forecast, p_up=np.ones_like(forecast.p_up))


# ── the table ────────────────────────────────────────────────────────────────────────────────────

FIGURES = ("auc", "accuracy", "total_return", "sharpe")
COLUMNS = (
    "placebo", "kind", "repetitions", "n",
    *(f"{figure}{end}" for figure in FIGURES for end in ("", "_min", "_max")),
    "p_chance", "p_auc", "p_accuracy", "p_total_return",
)  # fmt: skip


def table(own: Score, placebos: Sequence[Placebo]) -> pd.DataFrame:
    """Return one row for the run and one per treatment, columns ``COLUMNS``; NaN where undefined.

    A figure is the median over the repetitions, beside it the least and the most. ``p_chance``: how
    likely forecasts without skill reach this AUC (one-sided, normal). The other p: how often the
    treatment does as well as what it is held against.
    """
    rows = [_row("this run", "", (own,), {})]
    for one in placebos:
        if one.reference is not own:
            rows.append(_row(STAND_IN_ROW, "", (one.reference,), {}))
        found = {f"p_{name}": one.p(name) for name in ("auc", "accuracy", "total_return")}
        rows.append(_row(one.name, one.kind, one.scores, found))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = list(COLUMNS[4:])
    frame[numbers] = frame[numbers].astype("float64")
    return frame.drop_duplicates("placebo", ignore_index=True)


def _row(
    name: str, kind: str, scores: Sequence[Score], found: Mapping[str, float | None]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "placebo": name, "kind": str(kind), "repetitions": len(scores), "n": scores[0].rows,
    }  # fmt: skip
    for figure in FIGURES:
        values = [v for score in scores if (v := getattr(score, figure)) is not None]
        if values:
            row |= {figure: float(np.median(values)), f"{figure}_min": min(values),
                    f"{figure}_max": max(values)}  # fmt: skip
    return row | {"p_chance": _by_chance(scores), **found}


def _by_chance(scores: Sequence[Score]) -> float | None:
    """Return how likely the AUC is without skill; of repetitions, their median."""
    found = [
        upper_tail((score.auc - 0.5) / score.null_sd)
        for score in scores
        if score.auc is not None and score.null_sd
    ]
    return float(np.median(found)) if found else None


# ── what it means ────────────────────────────────────────────────────────────────────────────────


def findings(
    own: Score,
    placebos: Sequence[Placebo],
    *,
    constant_by_design: bool = False,
    without_signal: bool = False,
) -> tuple[Finding, ...]:
    """Return what the battery means: an error where nothing depends on the model or the labels.

    Parameters
    ----------
    constant_by_design
        The run's own model is a constant, so that another constant may equal it.
    without_signal
        The strategy declares that it asks no signal, so that its account is the same with any.
    """
    found: list[Finding | None] = []
    for one in placebos:
        if one.kind in MODELS and not (constant_by_design and one.kind is not Kind.SWAPPED):
            found.append(_unmoved(own, one, without_signal))
        if one.kind in LABELS:
            found.append(_labels(one))
        if one.kind is Kind.RANDOM and not constant_by_design:
            found += [_lucky(one, "auc", "AUC", FORECASTS)]
            found += [] if without_signal else [_lucky(one, "total_return", "net return", ACCOUNT)]
    found.append(_late(own, [one for one in placebos if one.kind is Kind.LATE]))
    return tuple(finding for finding in found if finding is not None)


def _unmoved(own: Score, placebo: Placebo, without_signal: bool) -> Finding | None:
    """K011 where the account, or another model's forecasts, are the run's own to the bit."""
    traded = own.account is not None and own.total_return != 0
    same_account = traded and all(s.account == own.account for s in placebo.scores)
    same_forecasts = all(s.forecasts == own.forecasts for s in placebo.scores)
    if not (same_account or same_forecasts):
        return None
    by_design = without_signal and not same_forecasts
    what = "forecasts do" if same_forecasts else "account does"
    return Finding(
        code="K011",
        level=Level.INFO if by_design else Level.ERROR,
        where=f"{PLACEBO}{placebo.name}",
        message=f"the {what} not change with the model: every bit is the same"
        + (" (this strategy asks no signal)" if by_design else ""),
        observed=f"{len(placebo.scores)} of {len(placebo.scores)} repetitions equal the run",
        expected="another model, another result",
        why="what is reported is not the model's doing",
        advice=None
        if by_design
        else "look at how the strategy uses its signal, and where the model's forecasts come from",
    )


def _labels(placebo: Placebo) -> Finding | None:
    """K003 where models fitted on meaningless labels still find something."""
    mean = mean_is_half(
        [
            FoldAuc(score.auc, score.null_sd, score.rows)
            for score in placebo.scores
            if score.auc is not None and score.null_sd is not None
        ]
    )
    if mean is None:
        return None
    alarm = mean.alarm and mean.z > 0
    return Finding(
        code="K003",
        level=Level.ERROR if alarm else Level.INFO,
        where=f"{PLACEBO}{placebo.name}",
        message="models fitted on meaningless labels "
        + ("still forecast the true ones" if alarm else "forecast nothing, as they should"),
        observed=f"{mean.words}; with its own labels {_number(placebo.reference.auc)}",
        expected="0.5",
        why="something was chosen by the test labels" if alarm else None,
        advice="`perpwalk audit CONFIG --full` names the stage" if alarm else None,
    )


def _late(own: Score, placebos: Sequence[Placebo]) -> Finding | None:
    """P014: the curve of AUCs as the signal comes late; a warning where late is better."""
    if own.auc is None or not own.null_sd or not placebos:
        return None
    curve = [own.auc, *(one.scores[0].auc for one in placebos)]
    later = [value for value in curve[1:] if value is not None]
    better = bool(later) and max(later) - own.auc > LATE_Z * own.null_sd
    return Finding(
        code="P014",
        level=Level.WARN if better else Level.INFO,
        where=f"{PLACEBO}{Kind.LATE}",
        message=f"AUC with the signal 0 to {len(placebos)} bars late"
        + ("; late it does better" if better else ""),
        observed=", ".join(_number(value) for value in curve),
        expected="a fall",
        why="forecasts and labels may belong to different bars" if better else None,
        advice="look at L006 and at how the model's windows end" if better else None,
    )


def _lucky(placebo: Placebo, figure: str, what: str, where: str) -> Finding | None:
    """U013: how often chance with the model's own habits does as well."""
    p = placebo.p(figure)
    if p is None:
        return None
    # So few draws could not have said otherwise: nothing to warn of.
    lucky = p > CHANCE and permutation_p(0, len(placebo.scores)) <= CHANCE
    return Finding(
        code="U013",
        level=Level.WARN if lucky else Level.INFO,
        where=where,
        message=f"the {what} of the same forecasts at the wrong time is "
        + ("as good often enough for it to be luck" if lucky else "seldom as good")
        + ("" if p <= CHANCE or lucky else " as far as so few draws can say"),
        observed=f"p {p:.3f} over {len(placebo.scores)} draws",
        expected=f"p at most {CHANCE:g}",
        why="what a random model of the same habits comes to is no skill" if lucky else None,
        advice="take it for chance until a longer test says otherwise" if lucky else None,
    )


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"


# ── what is kept ─────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class PlaceboRecord:
    """What a run keeps of its battery: the table, and what it means.

    Attributes
    ----------
    rows
        One mapping per row of ``table``; None where undefined.
    """

    rows: tuple[Mapping[str, Any], ...]
    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, shown: pd.DataFrame, found: Sequence[Finding]) -> PlaceboRecord:
        """Return the record of a battery."""
        rows = [
            {str(k): None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}
            for row in shown.to_dict("records")
        ]
        return cls(tuple(rows), tuple(found))

    @property
    def table(self) -> pd.DataFrame:
        """Return the table again; NaN where undefined."""
        frame = pd.DataFrame(list(self.rows), columns=list(COLUMNS))
        numbers = list(COLUMNS[4:])
        frame[numbers] = frame[numbers].astype("float64")
        return frame


def of_placebo(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry of ``findings`` comes from a placebo battery."""
    return str(entry["where"]).startswith(PLACEBO)
