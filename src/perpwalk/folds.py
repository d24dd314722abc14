"""Walk-forward folds: train, validation and test in time order, nothing known too early.

Everything is counted in *time*, never in rows that happen to be left: where bars are missing, a
purge of 24 bars still means 24 bars' worth of hours.

Between train and validation, and between validation and test, a gap is left of ``purge`` bars (the
label's horizon) plus ``embargo``. The rule behind it: a row may be fitted on only if its label is
known when the next span starts. A horizon's purge keeps one bar more than that rule asks for, so
the last fitted label is known one bar *before* the first prediction: there is time to act on it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from perpwalk.config import WalkForwardSection
from perpwalk.domain import (
    UNDEFINED_LABEL,
    BoolArray,
    FeatureFrame,
    Fold,
    IntArray,
    LabelFrame,
    Span,
    from_ns,
    frozen_array,
    to_ns,
)
from perpwalk.errors import ConfigError
from perpwalk.fold_checks import FOLD_COLUMNS, check_folds, fold_table
from perpwalk.labels import duration_bars

__all__ = ["FOLD_COLUMNS", "check_folds", "fold_table", "make_folds", "usable_rows"]

_NOT_A_TIME = np.iinfo(np.int64).min
_SECTION = "walk_forward"


def usable_rows(features: FeatureFrame, timesteps: int = 1) -> BoolArray:
    """Return which decisions have a complete window: ``timesteps`` rows ending at their own.

    A window counts rows: it reaches back over a fold's boundary (what it holds is past) and, where
    gaps were dropped, over the gap.

    Parameters
    ----------
    features
        n rows.
    timesteps
        Rows per window, >= 1.

    Returns
    -------
    BoolArray
        Shape (n,).

    Raises
    ------
    ConfigError
        There are bars with all features, but nowhere as many in a row as a window has.
    """
    complete = np.isfinite(features.values).all(axis=1)
    row = np.arange(len(features.values))
    last_incomplete = np.maximum.accumulate(np.where(complete, -1, row))
    longest = int(np.max(row - last_incomplete, initial=0))
    if 0 < longest < timesteps:
        raise ConfigError(
            f"a forecast looks back over {timesteps:,} bars, and of the {len(row):,} bars at most "
            f"{longest:,} in a row have all features; give more bars, or lower "
            "model.lstm.timesteps (and, with sequence: stream, model.lstm.stretch)",
            key="model",
        )
    usable: BoolArray = row - last_incomplete >= timesteps
    return usable


def make_folds(
    section: WalkForwardSection,
    *,
    close_time: pd.DatetimeIndex,
    interval: pd.Timedelta,
    usable: BoolArray,
    labels: LabelFrame,
    purge: int | None = None,
) -> tuple[Fold, ...]:
    """Cut time into folds.

    ``rolling`` slides a train span of fixed length, ``expanding`` lets it grow from the first
    usable row; both step by the test span, so the test spans tile their range once, and the last
    one is kept and marked ``partial`` where the data end inside it. They begin with the first
    usable row, or so that the first test decision is the first bar closing at or after ``start``,
    and end with the last decision whose label is known. ``holdout`` makes one fold of adjoining
    spans, from the first bar to the last; purged rows are taken off the ends of train and
    validation.

    Parameters
    ----------
    section
        Scheme, lengths, embargo and limits.
    close_time
        Decision times, shape (n,).
    interval
        Length of one bar.
    usable
        Decisions with complete features and history for a window, shape (n,); see ``usable_rows``.
    labels
        One row per decision.
    purge
        Bars left out before a span starts. None: the label's horizon, right for close-to-close
        labels; for other labels pass ``perpwalk.labels.purge_bars``.

    Returns
    -------
    tuple of Fold
        Losses are counted per fold, each bar once, in this order: ``warmup`` (no complete window;
        for a train span at the first usable row with all bars before it), ``unlabelled``,
        ``ties``, ``embargoed``, ``purged``. Test rows without a label stay: they are predicted and
        traded, and counted in ``unlabelled`` or ``ties`` because they cannot be scored.

    Raises
    ------
    ConfigError
        Not enough bars for one fold, too few train rows, an empty span or too many folds.

    Examples
    --------
    A thousand hourly bars whose first 48 lack history, labels four bars ahead. The purge of four
    bars leaves 448..451 and 552..555 out; the last test span ends with the last known label.

    >>> close_time = pd.date_range("2024-01-01T01:00Z", periods=1000, freq="h")
    >>> hour = pd.Timedelta("1h")
    >>> labels = LabelFrame(
    ...     close_time=close_time,
    ...     known_at=(close_time + 4 * hour).where(np.arange(1000) < 996),
    ...     forward_return=np.where(np.arange(1000) < 996, 0.01, np.nan),
    ...     label=np.where(np.arange(1000) < 996, 1, -1).astype(np.int8),
    ...     horizon=4,
    ... )
    >>> section = WalkForwardSection(
    ...     train="400bars", validation="100bars", test="100bars", min_train_rows=100)
    >>> folds = make_folds(
    ...     section, close_time=close_time, interval=hour, usable=np.arange(1000) >= 48,
    ...     labels=labels)
    >>> for fold in folds:
    ...     print(fold.number, *((int(s.rows[0]), int(s.rows[-1]) + 1)
    ...                          for s in (fold.train, fold.validation, fold.test)), fold.partial)
    0 (48, 448) (452, 552) (556, 656) False
    1 (148, 548) (552, 652) (656, 756) False
    2 (248, 648) (652, 752) (756, 856) False
    3 (348, 748) (752, 852) (856, 956) False
    4 (448, 848) (852, 952) (956, 996) True
    """
    timeline = _Timeline.of(section, close_time, interval, usable, labels, purge)
    bounds = (_holdout if section.scheme == "holdout" else _steps)(section, timeline)
    return tuple(_fold(number, cut, timeline, section) for number, cut in enumerate(bounds))


# ── the timeline and the cuts, in int64 nanoseconds ──────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Timeline:
    """What is known of each decision, and the gap to keep before a span."""

    close_ns: IntArray
    known_ns: IntArray
    usable: BoolArray
    undefined: BoolArray
    interval_ns: int
    purge_ns: int
    embargo_ns: int

    @classmethod
    def of(
        cls,
        section: WalkForwardSection,
        close_time: pd.DatetimeIndex,
        interval: pd.Timedelta,
        usable: BoolArray,
        labels: LabelFrame,
        purge: int | None,
    ) -> _Timeline:
        if not len(close_time) == len(usable) == len(labels.label):
            raise ValueError(
                f"close_time, usable and labels must have one row per bar, found "
                f"{len(close_time)}, {len(usable)} and {len(labels.label)}"
            )
        if not usable.any():
            raise ConfigError(
                f"none of the {len(close_time):,} bars has all features; give more bars, or leave "
                "out features that are never defined (features.exclude)",
                key=_SECTION,
            )
        embargo = _bars(section.embargo, interval, "embargo", least=0)
        step = to_ns(interval)
        return cls(
            close_ns=to_ns(close_time),
            known_ns=to_ns(labels.known_at),
            usable=usable,
            undefined=labels.label == UNDEFINED_LABEL,
            interval_ns=step,
            purge_ns=step * (labels.horizon if purge is None else purge),
            embargo_ns=step * embargo,
        )

    @property
    def gap_ns(self) -> int:
        return self.purge_ns + self.embargo_ns

    @property
    def first_ns(self) -> int:
        """First decision with complete features."""
        return int(self.close_ns[np.argmax(self.usable)])

    def rows(self, start_ns: int, end_ns: int) -> IntArray:
        """Return the indices of all decisions in ``[start, end)``."""
        first, last = np.searchsorted(self.close_ns, [start_ns, end_ns])
        return np.arange(first, last, dtype=np.int64)


@dataclass(frozen=True)
class _Cut:
    """One fold's spans. Bars between a span's end and the next one's start are the gap."""

    train: tuple[int, int]
    validation: tuple[int, int]
    test: tuple[int, int]
    partial: bool = False


def _steps(section: WalkForwardSection, timeline: _Timeline) -> Iterator[_Cut]:
    """Yield the cuts of schemes ``rolling`` and ``expanding``."""
    step = pd.Timedelta(timeline.interval_ns, unit="ns")
    train, validation, test = (
        _bars(getattr(section, name), step, name, least=1) * timeline.interval_ns
        for name in ("train", "validation", "test")
    )
    needed = train + validation + 2 * timeline.gap_ns
    first_test = _first_test(section, timeline, needed)
    end = _last_known(timeline)
    if first_test >= end:
        raise ConfigError(_too_short(timeline, needed, first_test, end), key=_SECTION)
    count = math.ceil((end - first_test) / test)
    if count > section.max_folds:
        raise ConfigError(
            f"the data give {count:,} folds of {section.test} and at most {section.max_folds:,} "
            "are allowed; lengthen walk_forward.test or raise max_folds",
            key=f"{_SECTION}.max_folds",
        )
    for start in range(first_test, end, test):
        validation_end = start - timeline.gap_ns
        train_end = validation_end - validation - timeline.gap_ns
        train_start = timeline.first_ns if section.scheme == "expanding" else train_end - train
        yield _Cut(
            train=(train_start, train_end),
            validation=(validation_end - validation, validation_end),
            test=(start, min(start + test, end)),
            partial=start + test > end,
        )


def _first_test(section: WalkForwardSection, timeline: _Timeline, needed: int) -> int:
    """Return the first test decision: after one train and validation span, or as configured."""
    earliest = timeline.first_ns + needed
    if section.start is None:
        return earliest
    wanted = to_ns(pd.Timestamp(section.start))
    index = int(np.searchsorted(timeline.close_ns, wanted))
    if index == len(timeline.close_ns):
        raise ConfigError(
            f"{section.start} lies after the last bar's close, {_stamp(timeline.close_ns[-1])}",
            key=f"{_SECTION}.start",
        )
    start = int(timeline.close_ns[index])
    if start < earliest:
        raise ConfigError(
            f"testing from {_stamp(start)} needs {_count(needed, timeline)} bars of train, "
            f"validation and gaps before it, and the first bar with all features closes "
            f"{_stamp(timeline.first_ns)}; start at {_stamp(earliest)} or later, or shorten train",
            key=f"{_SECTION}.start",
        )
    return start


def _last_known(timeline: _Timeline) -> int:
    """Return the end of the tested range: just after the last decision with a known label."""
    known = timeline.usable & (timeline.known_ns != _NOT_A_TIME)
    if not known.any():
        raise ConfigError(
            "no bar has both features and a label; give more bars or shorten label.horizon",
            key=_SECTION,
        )
    last = len(known) - 1 - int(np.argmax(known[::-1]))
    return int(timeline.close_ns[last]) + timeline.interval_ns


def _too_short(timeline: _Timeline, needed: int, first_test: int, end: int) -> str:
    have = max(end - timeline.first_ns, 0)
    total = needed + timeline.interval_ns
    if first_test > timeline.first_ns + needed:
        return f"no labelled bar is left to test from {_stamp(first_test)} on; start earlier"
    return (
        f"not enough data for one fold: {len(timeline.close_ns):,} bars, of which "
        f"{_count(have, timeline)} from the first with all features to the last with a label; "
        f"train, validation, their gaps and one test bar need {_count(total, timeline)}; "
        "give more bars or shorten train and validation"
    )


def _holdout(section: WalkForwardSection, timeline: _Timeline) -> Iterator[_Cut]:
    """Yield the cut of scheme ``holdout``: adjoining spans from the first bar to the last."""
    if section.start is not None:
        raise ConfigError(
            "start belongs to schemes 'rolling' and 'expanding'; scheme 'holdout' tests from the "
            "bar after validation_last_bar",
            key=f"{_SECTION}.start",
        )
    begin = int(timeline.close_ns[0])
    validation = _after_bar(section.train_last_bar, "train_last_bar", timeline, begin)
    test = _after_bar(section.validation_last_bar, "validation_last_bar", timeline, validation)
    end = int(timeline.close_ns[-1]) + timeline.interval_ns
    yield _Cut(train=(begin, validation), validation=(validation, test), test=(test, end))


def _after_bar(stamp: str | None, name: str, timeline: _Timeline, begin: int) -> int:
    """Return the first decision after the bar opened at ``stamp``; it must lie inside the data."""
    # The close of the last bar that opened at or before the stamp belongs to the span.
    last_close = to_ns(pd.Timestamp(str(stamp))) + timeline.interval_ns
    index = int(np.searchsorted(timeline.close_ns, last_close, side="right"))
    if index == len(timeline.close_ns) or timeline.close_ns[index] <= begin:
        opened = timeline.close_ns[[0, -1]] - timeline.interval_ns
        raise ConfigError(
            f"{stamp} leaves a span without bars; the bars open {_stamp(opened[0])} to "
            f"{_stamp(opened[1])}, and train_last_bar < validation_last_bar < last bar must hold",
            key=f"{_SECTION}.{name}",
        )
    return int(timeline.close_ns[index])


# ── rows of one fold ─────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class _Losses:
    purged: int
    embargoed: int
    warmup: int
    unlabelled: int
    ties: int


def _fold(number: int, cut: _Cut, timeline: _Timeline, section: WalkForwardSection) -> Fold:
    train, train_losses = _fitted(cut.train, cut.validation[0], timeline)
    validation, validation_losses = _fitted(cut.validation, cut.test[0], timeline)
    test, test_losses = _tested(cut.test, timeline)
    losses = (train_losses, validation_losses, test_losses)
    # The rows before the first usable one are charged to the train span that begins there.
    before = int(np.searchsorted(timeline.close_ns, timeline.first_ns))
    leading = before if cut.train[0] == timeline.first_ns else 0
    fold = Fold(
        number=number,
        train=train,
        validation=validation,
        test=test,
        purged=sum(loss.purged for loss in losses),
        embargoed=sum(loss.embargoed for loss in losses),
        warmup=sum(loss.warmup for loss in losses) + leading,
        unlabelled=sum(loss.unlabelled for loss in losses),
        ties=sum(loss.ties for loss in losses),
        partial=cut.partial,
    )
    _check_enough(fold, section)
    return fold


def _fitted(bounds: tuple[int, int], next_start: int, timeline: _Timeline) -> tuple[Span, _Losses]:
    """Return the rows of a train or validation span that may be fitted on before ``next_start``."""
    rows = timeline.rows(bounds[0], next_start)
    close_ns = timeline.close_ns[rows]
    warm = timeline.usable[rows]
    defined = warm & ~timeline.undefined[rows]
    embargoed = defined & (close_ns >= next_start - timeline.gap_ns)
    # The second condition is the rule itself; for a horizon's purge the first already implies it.
    purged = defined & (
        (close_ns >= next_start - timeline.purge_ns) | (timeline.known_ns[rows] > next_start)
    )
    kept = rows[defined & ~embargoed & ~purged]
    losses = _undefined_losses(rows, timeline)
    span = _span(bounds, kept, timeline)
    return span, _Losses(int(purged.sum()), int((embargoed & ~purged).sum()), *losses)


def _tested(bounds: tuple[int, int], timeline: _Timeline) -> tuple[Span, _Losses]:
    """Return the rows of a test span: every decision with features, labelled or not."""
    rows = timeline.rows(*bounds)
    losses = _undefined_losses(rows, timeline)
    return _span(bounds, rows[timeline.usable[rows]], timeline), _Losses(0, 0, *losses)


def _undefined_losses(rows: IntArray, timeline: _Timeline) -> tuple[int, int, int]:
    """Count rows without features, rows whose label is unknown, and rows dropped as ties."""
    warm = timeline.usable[rows]
    undefined = warm & timeline.undefined[rows]
    unknown = undefined & (timeline.known_ns[rows] == _NOT_A_TIME)
    return int((~warm).sum()), int(unknown.sum()), int((undefined & ~unknown).sum())


def _span(bounds: tuple[int, int], rows: IntArray, timeline: _Timeline) -> Span:
    start, end = from_ns(bounds)
    return Span(
        start=start,
        end=end,
        rows=frozen_array(rows, np.int64),
        bars=len(timeline.rows(*bounds)),
    )


def _check_enough(fold: Fold, section: WalkForwardSection) -> None:
    """Refuse a fold that cannot be fitted, tuned or judged."""
    if len(fold.train) < section.min_train_rows:
        raise ConfigError(
            f"fold {fold.number} has {len(fold.train):,} train rows from {fold.train.start} on, "
            f"fewer than {section.min_train_rows:,} (its span holds {fold.train.bars:,} bars); "
            "lengthen walk_forward.train, give more bars or lower min_train_rows",
            key=f"{_SECTION}.min_train_rows",
        )
    for name, span in (("validation", fold.validation), ("test", fold.test)):
        if len(span) == 0:
            raise ConfigError(
                f"fold {fold.number} has no usable row between {span.start} and {span.end} "
                f"({span.bars:,} bars); lengthen the span, or look for missing bars or funding",
                key=f"{_SECTION}.{name}",
            )


def _bars(text: str, interval: pd.Timedelta, name: str, *, least: int) -> int:
    return duration_bars(text, interval, key=f"{_SECTION}.{name}", least=least)


def _count(duration_ns: int, timeline: _Timeline) -> str:
    return f"{duration_ns // timeline.interval_ns:,}"


def _stamp(nanoseconds: int) -> str:
    return f"{from_ns([nanoseconds])[0]:%Y-%m-%dT%H:%M}Z"
