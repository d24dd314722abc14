"""Are the labels what they claim to be: the direction of the move after the decision.

The forward return is computed again from the bars, by a few lines that share nothing with
``perpwalk.labels``, and the labels are held against it: whole, and slice by slice of the folds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perpwalk.config import LabelSection
from perpwalk.domain import (
    UNDEFINED_LABEL,
    BarFrame,
    BoolArray,
    Finding,
    FloatArray,
    Fold,
    IntArray,
    LabelFrame,
    Level,
    to_ns,
)
from perpwalk.labels import SIGN
from perpwalk.uncertainty.auc import auc
from perpwalk.uncertainty.overlap import overlap_vif

LEAST_MINORITY_ROWS = 30
LEAST_MINORITY_SHARE = 0.05
BALANCED = (0.35, 0.65)
LEVEL_CORRELATION = 0.95
FEW_ROWS, SOME_ROWS = 100, 400
UNRELATED, HARDLY_RELATED = 0.2, 0.5  # rank correlation of a custom label with its move
ALIGNED = 0.95  # agreement above which a shift is the explanation, not the luckiest of several


@dataclass(frozen=True, eq=False)
class _Case:
    """The labels and what they should be; arrays of shape (n,), one entry per bar."""

    label: npt.NDArray[np.int8]
    forward: FloatArray
    whole: BoolArray
    in_data: BoolArray
    claimed: FloatArray
    close: FloatArray
    horizon: int
    delay: int
    ties: str
    folds: tuple[Fold, ...]
    custom: bool = False

    @property
    def defined(self) -> BoolArray:
        """Rows that carry a label."""
        rows: BoolArray = self.label != UNDEFINED_LABEL
        return rows

    @property
    def moved(self) -> BoolArray:
        """Labelled rows whose true forward return is known and not 0."""
        rows: BoolArray = self.defined & self.whole & (self.forward != 0)
        return rows

    @property
    def test_rows(self) -> IntArray:
        """Rows of all test spans."""
        if not self.folds:
            return np.arange(0)
        return np.concatenate([fold.test.rows for fold in self.folds])


def audit_labels(
    labels: LabelFrame, bars: BarFrame, section: LabelSection, folds: Sequence[Fold]
) -> tuple[Finding, ...]:
    """Return what the labels give cause to say: L001 … L011, L013, L014.

    Signs must agree with their moves to the last row. A label of the user's own need not, but must
    be related to the move that it is traded on (L007), and to no other bar's more (L006).

    Parameters
    ----------
    labels
        One row per bar of ``bars``.
    section
        What the labels are declared to be.
    folds
        Rows of each span index the bars.
    """
    case = _case(labels, bars, section, folds)
    return tuple(finding for check in _CHECKS for finding in check(case))


def _case(
    labels: LabelFrame, bars: BarFrame, section: LabelSection, folds: Sequence[Fold]
) -> _Case:
    delay = 0 if section.price == "close" else 1
    price = bars.close if delay == 0 else bars.open
    n, ahead = len(bars), delay + labels.horizon
    forward = np.full(n, np.nan)
    in_data = np.arange(n) < n - ahead
    whole = in_data.copy()
    if ahead < n:
        forward[: n - ahead] = np.log(price[ahead:] / price[delay : n - labels.horizon])
        opens = to_ns(bars.open_time)
        on_time = opens[ahead:] - opens[: n - ahead] == ahead * to_ns(bars.interval)
        real = ~bars.filled[delay : n - labels.horizon] & ~bars.filled[ahead:]
        whole[: n - ahead] = on_time & real
    return _Case(
        label=labels.label,
        forward=forward,
        whole=whole,
        in_data=in_data,
        claimed=labels.forward_return,
        close=bars.close,
        horizon=labels.horizon,
        delay=delay,
        ties=section.ties,
        folds=tuple(folds),
        custom=section.kind != SIGN,
    )


# ── classes ──────────────────────────────────────────────────────────────────────────────────────


def _slices(case: _Case) -> Iterator[tuple[str, IntArray]]:
    """Yield every slice whose classes matter: name and rows.

    The rest of a test span in which the data end may hold any handful of labels; S008 names it,
    and P005 where its AUC is undefined.
    """
    yield "all labels", np.flatnonzero(case.defined)
    for fold in case.folds:
        for name in ("train", "validation") if fold.partial else ("train", "validation", "test"):
            yield f"fold {fold.number:03d} {name}", getattr(fold, name).rows


def _classes(case: _Case) -> Iterator[Finding]:
    """L001 and L002, each told once with all the slices it holds for."""
    empty: list[str] = []
    unbalanced: dict[Level, list[str]] = {Level.ERROR: [], Level.WARN: []}
    for where, rows in _slices(case):
        label = case.label[rows]
        ups, downs = int((label == 1).sum()), int((label == 0).sum())
        told = f"{where}: {ups:,} up, {downs:,} down"
        if min(ups, downs) == 0:
            empty.append(told)
        elif (level := _imbalance(ups, downs)) is not None:
            unbalanced[level].append(told)
    if empty:
        yield _one_class(empty)
    for level, slices in unbalanced.items():
        if slices:
            yield _minority(level, slices)


def _where(slices: list[str]) -> str:
    return "; ".join(told.partition(":")[0] for told in slices)


def _one_class(slices: list[str]) -> Finding:
    return Finding(
        code="L001",
        level=Level.ERROR,
        where=_where(slices),
        message="the labels have one class only",
        observed=slices[0] + _more(slices),
        expected="both classes",
        why="nothing can be learned from such a slice, and AUC means nothing on it",
        advice="look at the label's definition and at the span's dates",
    )


def _more(slices: list[str]) -> str:
    return "" if len(slices) == 1 else f"; and {len(slices) - 1} more slices"


def _imbalance(ups: int, downs: int) -> Level | None:
    n, fewer = ups + downs, min(ups, downs)
    if fewer < LEAST_MINORITY_ROWS or fewer / n < LEAST_MINORITY_SHARE:
        return Level.ERROR
    return None if BALANCED[0] <= ups / n <= BALANCED[1] else Level.WARN


def _minority(level: Level, slices: list[str]) -> Finding:
    few = level is Level.ERROR
    return Finding(
        code="L002",
        level=level,
        where=_where(slices),
        message="too few rows of one class" if few else "the classes are unbalanced",
        observed=slices[0] + _more(slices),
        expected="at least 30 rows and 5 % of each class" if few else "35 to 65 % up",
        why="a forecast of the commoner class looks skilful",
        advice="use longer spans, or compare with majority_accuracy only",
    )


def _values(case: _Case) -> Iterator[Finding]:
    strange = ~np.isin(case.label, (0, 1, UNDEFINED_LABEL))
    if strange.any():
        yield Finding(
            code="L003",
            level=Level.ERROR,
            where=f"row {int(np.argmax(strange))}",
            message="a label is neither 0 nor 1",
            observed=", ".join(map(str, np.unique(case.label[strange])[:5])),
            expected="0, 1 or undefined",
        )
    yield from _price_level(case)


def _price_level(case: _Case) -> Iterator[Finding]:
    """Find labels that follow the price itself rather than its move."""
    rows = case.defined
    # A rank correlation of a 0/1 label with prices cannot exceed 0.87; the rank-biserial one
    # (2 AUC - 1) reaches 1 where the label is a threshold on the price.
    area = auc(case.label[rows], case.close[rows])
    biserial = 0.0 if area is None else 2 * area - 1
    target = np.isfinite(case.claimed)
    rank = _spearman(case.claimed[target], case.close[target])
    for name, value in (("label", biserial), ("forward return", rank)):
        if abs(value) > LEVEL_CORRELATION:
            yield Finding(
                code="L003",
                level=Level.ERROR,
                where="all labels",
                message=f"the {name} follows the price level, not the move",
                observed=f"rank correlation with the close {value:.3f}",
                expected="at most 0.95 in size",
                why="a price level is known at the decision: there is nothing to predict",
                advice="label the sign of a forward return",
            )


def _spearman(a: FloatArray, b: FloatArray) -> float:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    from scipy.stats import rankdata

    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])


# ── agreement with the move ──────────────────────────────────────────────────────────────────────


def _agreement(case: _Case) -> Iterator[Finding]:
    if case.custom:
        yield from _relation(case)
        return
    rows = case.moved
    wrong = rows & ((case.label == 1) != (case.forward > 0))
    if wrong.any():
        yield Finding(
            code="L004",
            level=Level.ERROR,
            where=f"first at row {int(np.argmax(wrong))}",
            message="labels disagree with the sign of their own forward return",
            observed=f"{int(wrong.sum()):,} of {int(rows.sum()):,} rows that moved",
            expected="0",
            why="the model is judged on something other than the direction it claims to predict",
            advice="compare label.horizon and label.price with how the labels were made",
        )


def _relation(case: _Case) -> Iterator[Finding]:
    """L007: how far a label of the user's own goes with the move that is traded on it."""
    rows = case.moved
    rank = _spearman(case.label[rows].astype(np.float64), case.forward[rows])
    level = Level.ERROR if rank < UNRELATED else Level.WARN if rank < HARDLY_RELATED else Level.INFO
    yield Finding(
        code="L007",
        level=level,
        where="all labels",
        message="the label is "
        + {
            Level.ERROR: "unrelated to the move it is traded on",
            Level.WARN: "only loosely related to the move it is traded on",
        }.get(level, "related to the move it is traded on"),
        observed=f"rank correlation with the forward return {rank:.3f}",
        expected=f"at least {HARDLY_RELATED}; an error below {UNRELATED}",
        why="a model that learns it forecasts something else than what earns"
        if level is not Level.INFO
        else None,
        advice="price levels and moves already known are the usual causes"
        if level is Level.ERROR
        else None,
    )


def _counts(case: _Case) -> Iterator[Finding]:
    """Hold the number of ups against that of the raw moves; always say the test's counts."""
    for where, chosen in (("all labels", case.defined), ("test", _mask(case, case.test_rows))):
        raw_up = int((chosen & case.whole & (case.forward > 0)).sum())
        raw_down = int((chosen & case.whole & (case.forward < 0)).sum())
        tied = int((_span(case, where) & case.whole & (case.forward == 0)).sum())
        called = chosen & case.whole & (case.forward != 0)
        ups, downs = int((case.label[called] == 1).sum()), int((case.label[called] == 0).sum())
        differs = ups != raw_up and not case.custom
        if differs or where == "test":
            yield Finding(
                code="L005",
                level=Level.ERROR if differs else Level.INFO,
                where=where,
                message=f"raw moves {raw_up:,} up and {raw_down:,} down ({tied:,} tied) "
                f"against labels {ups:,} up and {downs:,} down",
                observed=f"{ups:,} labels up",
                expected=f"{raw_up:,} labels up",
                why="labels and moves must count the same" if differs else None,
                advice="look at the label's definition" if differs else None,
            )


def _mask(case: _Case, rows: IntArray) -> BoolArray:
    chosen = np.zeros(len(case.label), dtype=bool)
    chosen[rows] = True
    labelled: BoolArray = chosen & case.defined
    return labelled


def _span(case: _Case, where: str) -> BoolArray:
    """Return all rows of a slice, tied and unlabelled ones too."""
    if where != "test":
        return np.ones(len(case.label), dtype=bool)
    chosen = np.zeros(len(case.label), dtype=bool)
    chosen[case.test_rows] = True
    return chosen


def _shift_scan(case: _Case) -> Iterator[Finding]:
    """Find by how many bars the labels are early or late."""
    reach = max(3, case.horizon)
    shifts = sorted(range(-reach, reach + 1), key=abs)  # ties go to the smallest shift
    agreement = {k: _agreement_at(case, k) for k in shifts}
    known = {k: share for k, share in agreement.items() if share is not None}
    if 0 not in known:
        return
    best = max(known, key=lambda k: known[k])
    if best == 0 and known[0] == 1:
        return
    if case.custom and known[best] - known[0] <= _luck(case):
        return
    yield Finding(
        code="L006",
        level=Level.ERROR,
        where="all labels",
        message=_shift_words(best, known[best], known[0]),
        observed=f"agreement {known[0]:.4f} at shift 0, best {known[best]:.4f} at shift {best:+d}",
        expected="the best at shift 0" if case.custom else "exactly 1 at shift 0",
        why="a label that is early leaks the answer; one that is late hides what can be learned",
        advice="count the bars between the decision and the move that its label judges",
    )


def _luck(case: _Case) -> float:
    """Return by how much a shift may agree better by chance: four deviations of a share."""
    n = max(int(case.moved.sum()), 1)
    return 4 * math.sqrt(overlap_vif(case.horizon) * 0.25 / n)


def _agreement_at(case: _Case, shift: int) -> float | None:
    """Return how often the label agrees with the sign of the move ``shift`` bars later."""
    n = len(case.label)
    rows = np.flatnonzero(case.defined)
    rows = rows[(rows + shift >= 0) & (rows + shift < n)]
    moved = case.whole[rows + shift] & (case.forward[rows + shift] != 0)
    rows = rows[moved]
    if len(rows) == 0:
        return None
    return float(((case.label[rows] == 1) == (case.forward[rows + shift] > 0)).mean())


def _shift_words(best: int, at_best: float, at_zero: float) -> str:
    if at_best < ALIGNED or best == 0:
        return f"the label is not the sign of its forward return (agreement {at_zero:.4f})"
    if best < 0:
        return f"the label equals the return already known ({-best} bars early)"
    return f"the label is late by {best} bars"


# ── rows that cannot have a label ────────────────────────────────────────────────────────────────


def _undefined_rows(case: _Case) -> Iterator[Finding]:
    tail = int((~case.in_data).sum())
    if case.custom:
        yield from _made_up_tail(case, tail)
        return
    expected = ~case.whole
    if case.ties == "drop":
        expected = expected | (case.whole & (case.forward == 0))
    wrong = case.defined == expected
    claimed = np.isfinite(case.claimed) != case.whole
    if wrong.any() or claimed.any():
        first = int(np.argmax(wrong | claimed))
        yield Finding(
            code="L008",
            level=Level.ERROR,
            where=f"first at row {first} of {len(case.label):,}",
            message="labels are defined where their future is not known, or missing elsewhere",
            observed=f"{int((wrong | claimed).sum()):,} rows differ",
            expected=f"undefined: the last {tail} rows, rows across gaps, dropped ties",
            why="a label without a future is made up",
            advice="never fill the tail of a shifted series",
        )
        return
    yield Finding(
        code="L008",
        level=Level.INFO,
        where="all labels",
        message=f"the last {tail} rows have no label yet",
        observed=f"{int((~case.defined).sum()):,} of {len(case.label):,} rows undefined in all",
    )


def _made_up_tail(case: _Case, tail: int) -> Iterator[Finding]:
    """L008 of a label of the user's own: where it is undefined is its own affair, but the tail."""
    made_up = int((case.defined & ~case.in_data).sum())
    yield Finding(
        code="L008",
        level=Level.ERROR if made_up else Level.INFO,
        where="all labels",
        message=f"{made_up} of the last {tail} rows have a label although their future is not known"
        if made_up
        else f"the last {tail} rows have no label yet",
        observed=f"{int((~case.defined).sum()):,} of {len(case.label):,} rows undefined in all",
        expected=f"undefined: the last {tail} rows",
        why="a label without a future is made up" if made_up else None,
        advice="return NaN there: a comparison with NaN is False, not unknown" if made_up else None,
    )


def _ties(case: _Case) -> Iterator[Finding]:
    rows = int(case.whole.sum())
    tied = int((case.whole & (case.forward == 0)).sum())
    if rows == 0:
        return
    share = tied / rows
    level = Level.ERROR if share > 0.20 else Level.WARN if share > 0.01 else Level.INFO
    yield Finding(
        code="L009",
        level=level,
        where="all labels",
        message=f"{tied:,} forward returns are exactly 0"
        + ("" if case.custom else f" (label.ties: {case.ties})"),
        observed=f"{share:.3%} of {rows:,}",
        expected="at most 1 %",
        why="many ties mean stale or made-up bars" if level is not Level.INFO else None,
        advice="look for filled bars and dead hours" if level is not Level.INFO else None,
    )


def _gaps(case: _Case) -> Iterator[Finding]:
    across = int((case.in_data & ~case.whole).sum())
    if across == 0:
        return
    share = across / int(case.in_data.sum())
    level = Level.ERROR if share > 0.10 else Level.WARN if share > 0.01 else Level.INFO
    yield Finding(
        code="L010",
        level=level,
        where="all labels",
        message=f"{across:,} label windows cross a gap or touch a made-up bar; they are dropped",
        observed=f"{share:.2%} of rows",
        expected="at most 1 %",
        why="their move lasted longer than the horizon says",
        advice="get the missing bars (`perpwalk data check` lists the gaps)",
    )


# ── what overlap and drift leave ─────────────────────────────────────────────────────────────────


def _overlap(case: _Case) -> Iterator[Finding]:
    n = int(_mask(case, case.test_rows).sum())
    effective = n / overlap_vif(case.horizon)
    level = (
        Level.ERROR if effective < FEW_ROWS else Level.WARN if effective < SOME_ROWS else Level.INFO
    )
    yield Finding(
        code="L011",
        level=level,
        where="test",
        message=f"{n:,} labelled test decisions, worth about {effective:,.0f} independent ones "
        f"(horizon {case.horizon}, mean uniqueness {1 / case.horizon:.3f})",
        observed=f"{effective:.0f}",
        expected="at least 400; an error below 100",
        why="overlapping labels repeat each other" if case.horizon > 1 else None,
        advice="test over a longer span" if level is not Level.INFO else None,
    )


def _longest_run(case: _Case) -> Iterator[Finding]:
    label = case.label[case.defined]
    if len(label) < 2:
        return
    changes = np.flatnonzero(np.diff(label)) + 1
    edges = np.concatenate([[0], changes, [len(label)]])
    longest = int(np.diff(edges).max())
    bound = 10 * case.horizon + 3 * math.log2(len(label))
    if longest > bound:
        yield Finding(
            code="L013",
            level=Level.WARN,
            where="all labels",
            message="one class runs on for long",
            observed=f"{longest:,} rows in a row",
            expected=f"at most {bound:.0f}",
            why="labels stuck at one value are made of stale bars or of a price level",
            advice="look at the bars of that stretch",
        )


def _drift(case: _Case) -> Iterator[Finding]:
    vif = overlap_vif(case.horizon)
    for fold in case.folds:
        train, test = (case.label[span.rows] for span in (fold.train, fold.test))
        train, test = train[train != UNDEFINED_LABEL], test[test != UNDEFINED_LABEL]
        if len(train) == 0 or len(test) == 0:
            continue
        difference = abs(float(train.mean()) - float(test.mean()))
        bound = 4 * math.sqrt(vif * 0.25 * (1 / len(train) + 1 / len(test)))
        if difference > bound:
            yield Finding(
                code="L014",
                level=Level.WARN,
                where=f"fold {fold.number:03d}",
                message="the share of ups differs between train and test",
                observed=f"{train.mean():.3f} in train, {test.mean():.3f} in test",
                expected=f"a difference of at most {bound:.3f}",
                why="the market or the label's making changed in between",
                advice="look for a change of regime or of the data source",
            )


_CHECKS: tuple[Callable[[_Case], Iterator[Finding]], ...] = (
    _classes,
    _values,
    _agreement,
    _counts,
    _shift_scan,
    _undefined_rows,
    _ties,
    _gaps,
    _overlap,
    _longest_run,
    _drift,
)
