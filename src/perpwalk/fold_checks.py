"""Looking at folds from outside: the table that is kept, and an audit that trusts nothing.

``check_folds`` recomputes the rules of the split from the folds' rows and the labels' dates alone;
it shares no arithmetic with ``perpwalk.folds``, from where it and the table can be imported.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from perpwalk.domain import BoolArray, Finding, Fold, IntArray, LabelFrame, Level, Span, to_ns

FOLD_COLUMNS = (
    "fold",
    "train_start",
    "train_end",
    "validation_start",
    "validation_end",
    "test_start",
    "test_end",
    "n_train",
    "n_validation",
    "n_test",
    "purged",
    "embargoed",
    "bars_train",
    "bars_validation",
    "bars_test",
    "warmup",
    "unlabelled",
    "ties",
    "partial",
)


def fold_table(folds: Sequence[Fold]) -> pd.DataFrame:
    """Return one row per fold with columns ``FOLD_COLUMNS``; intervals are half-open."""
    rows = [
        (
            fold.number,
            *(edge for span in _spans(fold) for edge in (span.start, span.end)),
            *(len(span) for span in _spans(fold)),
            fold.purged,
            fold.embargoed,
            *(span.bars for span in _spans(fold)),
            fold.warmup,
            fold.unlabelled,
            fold.ties,
            fold.partial,
        )
        for fold in folds
    ]
    return pd.DataFrame(rows, columns=list(FOLD_COLUMNS))


def check_folds(
    folds: Sequence[Fold], labels: LabelFrame, *, purge: int | None = None
) -> tuple[Finding, ...]:
    """Audit a split.

    Parameters
    ----------
    folds
        In order.
    labels
        The labels that will be fitted and scored, one row per bar.
    purge
        Bars that must lie between a fitted row and the next span. None: the label's horizon.

    Returns
    -------
    tuple of Finding
        S001 a fitted label is known only after the next span starts; S002 spans of a fold share
        rows; S003 a fitted row lies after a tested one; S007 test rows scored twice, or tested
        spans that leave time out; S008 a partial fold (a warning); S009 less purge than the label
        needs. Empty where all is well.
    """
    least = labels.horizon if purge is None else purge
    findings = [
        finding
        for fold in folds
        for check in (_late_labels, _shared_rows, _order, _partial)
        for finding in check(fold, labels)
    ]
    findings += [f for fold in folds for f in _short_purge(fold, labels, least)]
    return (*findings, *_tiling(folds))


def windows_reaching_back(
    folds: Sequence[Fold], close_time: pd.DatetimeIndex, timesteps: Mapping[int, int]
) -> Iterator[Finding]:
    """Yield one S011 where test decisions look at bars that lie before their test span.

    They may: a window holds features, which are past. It cannot reach forward, as it ends at its
    decision's own bar.

    Parameters
    ----------
    close_time
        Of every bar.
    timesteps
        Bars that a decision looks at, its own included, by the fold's number.
    """
    back, learned, decisions, touched = 0, 0, 0, 0
    for fold in folds:
        rows = fold.test.rows
        first = rows - timesteps[fold.number] + 1
        before = int(np.count_nonzero(close_time[first] < fold.test.start))
        fitted = max(int(span.rows.max()) for span in (fold.train, fold.validation) if len(span))
        learned += int(np.count_nonzero(first <= fitted))
        back, decisions, touched = back + before, decisions + len(rows), touched + (before > 0)
    if back:
        yield Finding(
            code="S011",
            level=Level.INFO,
            where="all folds",
            message="windows of test decisions reach back over the boundary of the test span",
            observed=f"{back:,} of {decisions:,} test decisions, in {touched} of {len(folds)} "
            f"folds; {learned:,} of them look at bars that decisions of validation stand on",
            expected=f"at most {max(timesteps.values()) - 1} a fold: a window less its own bar",
            why="a window holds features, which are past at its decision; no label reaches over "
            "the boundary (S001, S009), and no window reaches forward",
            advice="nothing to do; walk_forward.embargo keeps the spans further apart",
        )


def _spans(fold: Fold) -> tuple[Span, Span, Span]:
    return fold.train, fold.validation, fold.test


def _fitted(fold: Fold) -> Iterator[tuple[str, Span, Span]]:
    """Yield each span that is fitted on, with its name and the span it must not know."""
    yield "train", fold.train, fold.validation
    yield "train", fold.train, fold.test
    yield "validation", fold.validation, fold.test


def _late_labels(fold: Fold, labels: LabelFrame) -> Iterator[Finding]:
    for name, span, later in _fitted(fold):
        late = span.rows[_late(labels, span.rows, later.start)]
        if len(late):
            yield _error(
                "S001",
                fold,
                f"{len(late)} {name} labels are not known when a later span starts",
                observed=f"row {late[0]} is known at {labels.known_at[late[0]]}",
                expected=f"at or before {later.start}",
                why="the model is fitted on the outcome it will be asked to forecast",
            )


def _late(labels: LabelFrame, rows: IntArray, start: pd.Timestamp) -> BoolArray:
    """Return which rows' labels are unknown at ``start``, or never known."""
    known = labels.known_at[rows]
    return np.asarray(known.isna() | (known > start))


def _shared_rows(fold: Fold, _: LabelFrame) -> Iterator[Finding]:
    for name, span, later in _fitted(fold):
        shared = np.intersect1d(span.rows, later.rows)
        if len(shared):
            yield _error(
                "S002",
                fold,
                f"{len(shared)} {name} rows are also in a later span",
                observed=f"first: row {shared[0]}",
                expected="none",
                why="what was learned by heart is scored as if it were forecast",
            )


def _order(fold: Fold, _: LabelFrame) -> Iterator[Finding]:
    if len(fold.test) == 0:
        return
    first_test = int(fold.test.rows.min())
    for name, span in (("train", fold.train), ("validation", fold.validation)):
        if len(span) and int(span.rows.max()) > first_test:
            yield _error(
                "S003",
                fold,
                f"a {name} row lies after a test row",
                observed=f"row {span.rows.max()}",
                expected=f"before row {first_test}",
                why="walk-forward means learning from the past only",
            )


def _partial(fold: Fold, _: LabelFrame) -> Iterator[Finding]:
    if fold.partial:
        yield Finding(
            code="S008",
            level=Level.WARN,
            where=f"fold {fold.number}",
            message="the data end inside this fold's test span",
            observed=f"{fold.test.bars} bars, {fold.test.start} to {fold.test.end}",
            why="its figures rest on fewer decisions than the other folds'",
            advice="read it with its interval; it counts in the overall figures as it is",
        )


def _short_purge(fold: Fold, labels: LabelFrame, least: int) -> Iterator[Finding]:
    """Yield S009 where fewer than ``least`` bars lie between a fitted row and the next span."""
    close_ns = to_ns(labels.close_time)
    if len(close_ns) < 2:
        return
    interval = int(np.diff(close_ns).min())
    for name, span, later in _fitted(fold):
        if len(span) == 0:
            continue
        between = (to_ns(later.start) - int(close_ns[span.rows].max())) // interval - 1
        if between < least:
            yield _error(
                "S009",
                fold,
                f"the gap after {name} is smaller than the label needs",
                observed=f"{between} bars",
                expected=f"at least {least}",
                why="the last fitted label is not known a bar before the first forecast",
            )


def _tiling(folds: Sequence[Fold]) -> Iterator[Finding]:
    """Yield S007 where test rows repeat or the test spans leave time out."""
    tested = np.concatenate([fold.test.rows for fold in folds]) if folds else np.zeros(0)
    values, counts = np.unique(tested, return_counts=True)
    twice = values[counts > 1]
    if len(twice):
        yield _split_error(
            f"{len(twice)} test rows are scored more than once", f"first: row {twice[0]}"
        )
    for before, after in itertools.pairwise(folds):
        if before.test.end != after.test.start:
            yield _split_error(
                f"the test spans of folds {before.number} and {after.number} do not adjoin",
                f"one ends {before.test.end}, the next starts {after.test.start}",
            )


def _split_error(message: str, observed: str) -> Finding:
    return Finding(
        code="S007",
        level=Level.ERROR,
        where="all folds",
        message=message,
        observed=observed,
        expected="each decision of the tested range scored once",
        why="repeated or skipped decisions bias every pooled figure",
        advice="this is a bug of the splitter; report it with the configuration",
    )


def _error(
    code: str, fold: Fold, message: str, *, observed: str, expected: str, why: str
) -> Finding:
    return Finding(
        code=code,
        level=Level.ERROR,
        where=f"fold {fold.number}",
        message=message,
        observed=observed,
        expected=expected,
        why=why,
        advice="this is a bug of the splitter; report it with the configuration",
    )
