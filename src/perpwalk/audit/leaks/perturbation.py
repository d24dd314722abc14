"""(b) Does another future change a forecast made before it? The main test.

Everything after a decision is replaced by a fresh random path and the *whole* pipeline is run
again, fit included. Forecasts at and before the decision must not move by a bit: probabilities are
compared, because classes hide leaks by rounding. Since nothing but the future changed, any
difference is a leak, whatever its size and whether or not it helped. It finds what has no effect on
the AUC too, such as a scaler fitted on all rows.

The cuts matter. A missing purge shows only where the cut lies in the first ``horizon - 1`` test
bars, a rate known early only just before a settlement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from perpwalk.audit.leaks.contract import FoldTrace, Outcome, Pipeline, PipelineOutput, Probe
from perpwalk.audit.leaks.surrogates import FACTOR, Kind, perturbed
from perpwalk.audit.leaks.truncation import differs
from perpwalk.domain import Finding, FloatArray, Fold, IntArray, LabelFrame, Level, Market, to_ns

# A clean pipeline differs by exactly 0. This lies above the last bits of a sum and far below any
# leak; where the pipeline is not deterministic the suite raises it.
ROUNDING = 1e-12
KINDS: tuple[Kind, ...] = tuple(FACTOR)

# Stages in the order in which they depend on each other: the first that changed is the culprit.
_LEAK = {
    "features": "a feature leak",
    "labels": "labels fitted on that were not known yet: a purge leak",
    "labels known": "labels that change after they are known: a label leak",
    "rows": "the split: which rows are fitted on or tested depends on the future",
    "threshold": "a threshold leak: only the classes changed",
    "forecast": "the model looks at more than its own window when it forecasts",
}
_ADVICE = {
    "features": "let a feature use only rows up to its own",
    "labels": "purge: leave out fitted rows whose label is not known when the next span starts",
    "labels known": "a label may use nothing beyond its own horizon",
    "rows": "cut folds by time alone and drop rows only for reasons known by then",
    "threshold": "choose the threshold on validation rows",
    "forecast": "forecast each row from its own window; no statistic over the test rows",
}


@dataclass(frozen=True, eq=False)
class Cut:
    """One replaced future: everything after ``row``, judged by fold ``fold``."""

    fold: int
    row: int
    kind: Kind


@dataclass(frozen=True, eq=False)
class _Change:
    cut: Cut
    stages: tuple[str, ...]
    columns: tuple[str, ...]
    first_row: int
    largest: float
    median: float


def audit_perturbation(
    pipeline: Pipeline,
    market: Market,
    seed: int,
    control: PipelineOutput,
    cuts: Sequence[Cut],
    *,
    rounding: float = ROUNDING,
    probe: Probe | None = None,
) -> Outcome:
    """Run the pipeline with other futures and compare what came before them.

    Parameters
    ----------
    control
        The run on the market as it is, with the same seed and probe.
    cuts
        See ``choose_cuts``.
    rounding
        Differences of probabilities up to this are not reported.

    Returns
    -------
    Outcome
        One K002 per stage found at fault, and P015 where only the threshold moved.
    """
    base = Probe() if probe is None else probe
    traces = {trace.fold.number: trace for trace in control.folds}
    changes = []
    for cut in cuts:
        other = pipeline(
            perturbed(market, cut.row, cut.kind, seed),
            seed,
            Probe(
                features=base.features,
                labels=base.labels,
                only_folds=(cut.fold,),
                memorise=base.memorise,
            ),
        )
        change = _compare(cut, control, traces[cut.fold], other, rounding)
        if change is not None:
            changes.append(change)
    findings = tuple(_findings(changes, cuts, control))
    worst = max((c.largest for c in changes), default=0.0)
    return Outcome(
        detector="perturbation",
        summary=f"{len(changes)} of {len(cuts)} other futures changed what came before them"
        + (f"; probabilities by up to {worst:.3g}" if changes else " (differences exactly 0)"),
        findings=findings,
        numbers={"cuts": float(len(cuts)), "changed": float(len(changes)), "largest": worst},
    )


def choose_cuts(
    market: Market,
    folds: Sequence[Fold],
    horizon: int,
    *,
    seed: int = 0,
    interior: int = 2,
    kinds: Sequence[Kind] = KINDS,
    all_kinds_at_start: bool = True,
) -> list[Cut]:
    """Return the cuts of each fold.

    First test bar, +1, + (h-1)/2, + h-2, ``interior`` ones (one of them just before a settlement),
    last - 1. The kinds of future take turns; the fold's start sees them all if so asked.
    """
    draw = np.random.default_rng([seed, 2])
    before_stamp = _before_settlements(market)
    cuts: list[Cut] = []
    for fold in folds:
        rows = np.sort(fold.test.rows)
        if len(rows) < 3:
            continue
        start = [(int(rows[0]), kind) for kind in (kinds if all_kinds_at_start else kinds[:1])]
        others = [
            row for row in _places(rows, horizon, interior, before_stamp, draw) if row != rows[0]
        ]
        turns = [(row, kinds[(i + 1) % len(kinds)]) for i, row in enumerate(others)]
        cuts += [Cut(fold.number, row, kind) for row, kind in (*start, *turns)]
    return cuts


def _places(
    rows: IntArray, horizon: int, interior: int, before_stamp: IntArray, draw: np.random.Generator
) -> list[int]:
    last = len(rows) - 1
    near = {1, (horizon - 1) // 2, max(horizon - 2, 0), last - 1}
    places = {int(rows[i]) for i in near if 0 <= i < last}
    inside = draw.choice(rows[1:-1], size=min(interior, len(rows) - 2), replace=False)
    stamps = before_stamp[(before_stamp > rows[0]) & (before_stamp < rows[-1])]
    if interior and len(stamps):
        inside = np.append(inside[1:], draw.choice(stamps))
    return sorted(places | {int(row) for row in inside})


def _before_settlements(market: Market) -> IntArray:
    close = to_ns(market.bars.close_time)
    at = np.flatnonzero(np.isin(close, to_ns(market.funding.settle_time)))
    return at[at > 0] - 1


# ── comparing two runs ───────────────────────────────────────────────────────────────────────────


def _compare(
    cut: Cut, control: PipelineOutput, before: FoldTrace, other: PipelineOutput, rounding: float
) -> _Change | None:
    after = next((t for t in other.folds if t.fold.number == cut.fold), None)
    if after is None:
        return _Change(cut, ("rows",), (), cut.row, np.nan, np.nan)
    columns = _changed_columns(control, other, cut.row)
    rows, difference = _differences(before, after, cut.row)
    moved = difference > rounding
    stages = tuple(_changed_stages(cut.row, control, before, other, after, bool(columns)))
    # Digests differ by a last bit where a sum ran in another order: alone they are no leak.
    evident = {"features", "labels", "labels known", "rows", "threshold"} & set(stages)
    if not moved.any() and not evident:
        return None
    first = int(rows[np.argmax(moved)]) if moved.any() else cut.row
    if not stages:
        stages = ("forecast",)
    return _Change(
        cut,
        stages,
        columns,
        first,
        float(difference.max(initial=0.0)),
        float(np.median(difference[moved])) if moved.any() else 0.0,
    )


def _changed_columns(control: PipelineOutput, other: PipelineOutput, row: int) -> tuple[str, ...]:
    if control.features.names != other.features.names:
        return ("the list of features itself",)
    changed, _ = differs(other.features.values[: row + 1], control.features.values[: row + 1])
    return tuple(control.features.names[column] for column in np.flatnonzero(changed.any(axis=0)))


def _differences(before: FoldTrace, after: FoldTrace, row: int) -> tuple[IntArray, FloatArray]:
    """Return the test rows up to ``row`` and by how much their probabilities differ."""
    rows = before.fold.test.rows
    up_to = rows <= row
    mine = before.p_up[up_to]
    theirs = dict(zip(after.fold.test.rows.tolist(), after.p_up.tolist(), strict=True))
    other = np.array([theirs.get(each, np.nan) for each in rows[up_to].tolist()])
    same_gap = np.isnan(mine) & np.isnan(other)
    difference = np.where(same_gap, 0.0, np.abs(mine - other))
    return rows[up_to], np.where(np.isnan(difference), np.inf, difference)


def _changed_stages(
    row: int,
    control: PipelineOutput,
    before: FoldTrace,
    other: PipelineOutput,
    after: FoldTrace,
    features_changed: bool,
) -> Iterator[str]:
    if features_changed:
        yield "features"
    if _known_labels_changed(control.labels, other.labels, row):
        yield "labels known"
    if not _same_rows(before.fold, after.fold, row):
        yield "rows"
    else:
        fitted = np.concatenate([before.fold.train.rows, before.fold.validation.rows])
        if not np.array_equal(control.labels.label[fitted], other.labels.label[fitted]):
            yield "labels"
    for stage in before.fitted:
        if before.fitted[stage] != after.fitted.get(stage):
            yield stage
    if before.threshold != after.threshold:
        yield "threshold"


def _known_labels_changed(control: LabelFrame, other: LabelFrame, row: int) -> bool:
    """Whether a label that was known at the close of ``row`` changed."""
    known = np.asarray(control.known_at <= control.close_time[row])
    return not np.array_equal(control.label[known], other.label[known])


def _same_rows(a: Fold, b: Fold, row: int) -> bool:
    return (
        np.array_equal(a.train.rows, b.train.rows)
        and np.array_equal(a.validation.rows, b.validation.rows)
        and np.array_equal(a.test.rows[a.test.rows <= row], b.test.rows[b.test.rows <= row])
    )


# ── words ────────────────────────────────────────────────────────────────────────────────────────


def _findings(
    changes: Sequence[_Change], cuts: Sequence[Cut], control: PipelineOutput
) -> Iterator[Finding]:
    by_stage: dict[str, list[_Change]] = {}
    for change in changes:
        by_stage.setdefault(change.stages[0], []).append(change)
    for stage, found in by_stage.items():
        yield _finding(stage, found, cuts, control)
        if stage == "threshold":
            yield _provenance(found, control)


def _finding(
    stage: str, found: Sequence[_Change], cuts: Sequence[Cut], control: PipelineOutput
) -> Finding:
    first = found[0]
    columns = sorted({name for change in found for name in change.columns})
    close_time = control.labels.close_time
    leak = _LEAK.get(stage, f"a leak in fitting '{stage}': features are equal, parameters are not")
    return Finding(
        code="K002",
        level=Level.ERROR,
        where=_where(stage, columns),
        message=f"another future changes what came before it; first to change: {stage} ({leak})",
        observed=f"{len(found)} of {len(cuts)} futures; e.g. cut after "
        f"{close_time[first.cut.row]:%Y-%m-%d %H:%M} UTC (fold {first.cut.fold}, "
        f"{first.cut.kind}): first changed row {close_time[first.first_row]:%Y-%m-%d %H:%M}, "
        f"probabilities by up to {max(c.largest for c in found):.3g} "
        f"(median {first.median:.3g}); stages changed: {', '.join(first.stages)}",
        expected="differences of exactly 0",
        why="the forecast depends on bars that had not happened yet",
        advice=_ADVICE.get(
            stage, f"fit '{stage}' on the fold's train rows (stop and tune on validation) only"
        ),
    )


def _where(stage: str, columns: Sequence[str]) -> str:
    if stage != "features" or not columns:
        return f"stage '{stage}'"
    shown = ", ".join(f"'{name}'" for name in columns[:5])
    more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    return f"feature{'s' if len(columns) > 1 else ''} {shown}{more}"


def _provenance(found: Sequence[_Change], control: PipelineOutput) -> Finding:
    cut = found[0].cut
    return Finding(
        code="P015",
        level=Level.ERROR,
        where=f"fold {cut.fold}",
        message="the decision threshold depends on test bars",
        observed="it changed with the bars after "
        f"{control.labels.close_time[cut.row]:%Y-%m-%d %H:%M} UTC",
        expected="chosen on validation rows",
        why="classes, accuracy and trades are tuned on the answers",
        advice="choose the threshold on validation",
    )
