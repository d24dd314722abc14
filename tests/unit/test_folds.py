"""Folds: the arithmetic of the walk, what is left out, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from perpwalk.config import LabelSection, WalkForwardSection
from perpwalk.domain import BarFrame, BoolArray, FeatureFrame, Fold, LabelFrame, Span
from perpwalk.errors import ConfigError
from perpwalk.fold_checks import windows_reaching_back
from perpwalk.folds import FOLD_COLUMNS, check_folds, fold_table, make_folds, usable_rows
from perpwalk.labels import make_labels, purge_bars

HOUR = pd.Timedelta("1h")
# N=1000 bars, look-back 30, windows of 20: row 48 is the first with a complete window.
FIRST = 48


def market(count: int = 1000, *, hours: np.ndarray | None = None) -> BarFrame:
    closes = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, count)))
    offsets = np.arange(count) if hours is None else hours
    table = pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), closes) | {"volume": 1.0},
        index=pd.Timestamp("2024-01-01", tz="UTC") + offsets * HOUR,
    )
    return BarFrame.of(table, symbol="ETHUSDT", interval=HOUR)


def section(**changes: object) -> WalkForwardSection:
    small = {"train": "400bars", "validation": "100bars", "test": "100bars", "min_train_rows": 50}
    return WalkForwardSection.model_validate(small | changes)


def cut(
    settings: WalkForwardSection,
    bars: BarFrame | None = None,
    *,
    label: LabelSection | None = None,
    usable: BoolArray | None = None,
    labels: LabelFrame | None = None,
) -> tuple[Fold, ...]:
    bars = market() if bars is None else bars
    label = LabelSection(horizon="4bars") if label is None else label
    return make_folds(
        settings,
        close_time=bars.close_time,
        interval=bars.interval,
        usable=np.arange(len(bars)) >= FIRST if usable is None else usable,
        labels=make_labels(bars, label) if labels is None else labels,
        purge=purge_bars(label, bars.interval),
    )


def bounds(span: Span) -> list[int]:
    """Return first row and one past the last; rows must be without holes."""
    assert len(span) == span.rows[-1] + 1 - span.rows[0]
    return [int(span.rows[0]), int(span.rows[-1]) + 1]


def spans(fold: Fold) -> list[list[int]]:
    return [bounds(span) for span in (fold.train, fold.validation, fold.test)]


# ── the arithmetic ───────────────────────────────────────────────────────────────────────────────


def test_expanding_folds_come_out_as_worked_by_hand() -> None:
    """
    Case walkforward_expanding: N=1000, L=30, S=20, h=4, train 400, validation 100, test 100.
    """
    folds = cut(section(scheme="expanding"))

    assert [
        [[48, 448], [452, 552], [556, 656]],
        [[48, 548], [552, 652], [656, 756]],
        [[48, 648], [652, 752], [756, 856]],
        [[48, 748], [752, 852], [856, 956]],
        [[48, 848], [852, 952], [956, 996]],
    ] == [spans(fold) for fold in folds]
    assert [False, False, False, False, True] == [fold.partial for fold in folds]


def test_rolling_folds_slide_their_train_span() -> None:
    """
    Case walkforward_sliding: the train span keeps its 400 bars.
    """
    folds = cut(section())

    assert [
        [[48, 448], [452, 552], [556, 656]],
        [[148, 548], [552, 652], [656, 756]],
        [[248, 648], [652, 752], [756, 856]],
        [[348, 748], [752, 852], [856, 956]],
        [[448, 848], [852, 952], [956, 996]],
    ] == [spans(fold) for fold in folds]
    assert [8] * 5 == [fold.purged for fold in folds]


@pytest.mark.parametrize("expanding", [False, True])
def test_test_spans_and_purge_equal_skfolios_walk_forward(expanding: bool) -> None:
    """
    Skfolio's WalkForward on rows 48..995, with train and validation as one span, gives the same.
    """
    from skfolio.model_selection import WalkForward

    folds = cut(section(scheme="expanding" if expanding else "rolling"))
    theirs = list(
        WalkForward(
            test_size=100, train_size=504, purged_size=4, reduce_test=True, expand_train=expanding
        ).split(np.zeros((996 - FIRST, 1)))
    )

    assert len(theirs) == len(folds)
    for (train, test), fold in zip(theirs, folds, strict=True):
        assert (test + FIRST).tolist() == fold.test.rows.tolist()
        assert [train[0] + FIRST, train[-1] + 1 + FIRST] == [
            fold.train.rows[0],
            fold.validation.rows[-1] + 1,
        ]


def test_spans_are_half_open_intervals_of_decision_times() -> None:
    """
    Row 448 decides at the train span's end and is not in it.
    """
    bars = market()
    fold = cut(section(), bars)[0]

    assert bars.close_time[48] == fold.train.start
    assert bars.close_time[448] == fold.train.end
    assert bars.close_time[452] == fold.validation.start
    assert bars.close_time[656] == fold.test.end
    assert (400, 100, 100) == (fold.train.bars, fold.validation.bars, fold.test.bars)


def test_an_embargo_widens_both_gaps() -> None:
    """
    Ten more bars are left out before validation and before test, and counted apart.
    """
    fold = cut(section(embargo="10bars"))[0]

    assert [[48, 448], [462, 562], [576, 676]] == spans(fold)
    assert (8, 20) == (fold.purged, fold.embargoed)


def test_open_to_open_labels_are_purged_by_one_bar_more() -> None:
    """
    With horizon 4 and next_open, five bars are left out.
    """
    fold = cut(section(), label=LabelSection(horizon="4bars", price="next_open"))[0]

    assert [[48, 448], [453, 553], [558, 658]] == spans(fold)


def test_start_names_the_first_test_decision() -> None:
    """
    Train and validation are laid out backwards from it, in both schemes.
    """
    bars = market()
    start = str(bars.close_time[700])

    assert [[192, 592], [596, 696], [700, 800]] == spans(cut(section(start=start), bars)[0])
    expanding = cut(section(start=start, scheme="expanding"), bars)[0]
    assert [[48, 592], [596, 696], [700, 800]] == spans(expanding)


def test_the_predecessors_split_comes_out_to_the_row() -> None:
    """
    51,980 hourly bars cut after those opened 2023-12-31 00:00 and 2024-12-31 00:00.
    """
    count = 51_980
    opened = pd.date_range("2020-01-01", periods=count, freq="h", tz="UTC")
    known = np.arange(count) < count - 1
    labels = LabelFrame(
        close_time=opened + HOUR,
        known_at=(opened + 2 * HOUR).where(known),
        forward_return=np.where(known, 0.01, np.nan),
        label=np.where(known, 1, -1).astype(np.int8),
        horizon=1,
    )
    [fold] = make_folds(
        WalkForwardSection(
            scheme="holdout",
            train_last_bar="2023-12-31T00:00:00Z",
            validation_last_bar="2024-12-31T00:00:00Z",
        ),
        close_time=opened + HOUR,
        interval=HOUR,
        usable=np.arange(count) >= 500,
        labels=labels,
    )

    assert (35_041, 8_784, 8_155) == (fold.train.bars, fold.validation.bars, fold.test.bars)
    # 500 bars of warm-up and one purged row; one purged row; the last decision has no label.
    assert (34_540, 8_783, 8_155) == (len(fold.train), len(fold.validation), len(fold.test))
    assert (2, 500, 1, 0) == (fold.purged, fold.warmup, fold.unlabelled, fold.embargoed)
    assert fold.train.end == fold.validation.start
    assert fold.validation.end == fold.test.start


# ── what is left out ─────────────────────────────────────────────────────────────────────────────


def tied_and_gapped(bars: BarFrame) -> LabelFrame:
    """Return labels with three ties and two unknown rows in train, one tie in test."""
    labels = make_labels(bars, LabelSection(horizon="4bars"))
    label, known = labels.label.copy(), labels.known_at.to_series().reset_index(drop=True)
    label[[100, 101, 102, 600]] = -1
    label[[200, 201]] = -1
    known[[200, 201]] = pd.NaT
    return replace(labels, label=label, known_at=pd.DatetimeIndex(known))


def test_every_bar_is_accounted_for_once() -> None:
    """
    Bars up to the test span's end = rows fitted and scored + each loss, without overlap.
    """
    bars = market()
    usable = np.arange(len(bars)) >= FIRST
    usable[300:305] = False
    labels = tied_and_gapped(bars)
    fold = cut(section(), bars, usable=usable, labels=labels)[0]

    scored = int((labels.label[fold.test.rows] >= 0).sum())
    assert (8, 48 + 5, 2, 4) == (fold.purged, fold.warmup, fold.unlabelled, fold.ties)
    assert 656 == (
        len(fold.train) + len(fold.validation) + scored
        + fold.purged + fold.embargoed + fold.warmup + fold.unlabelled + fold.ties
    )  # fmt: skip


def test_undefined_labels_are_not_fitted_on_but_are_forecast() -> None:
    """
    A tied decision is out of train and stays in test.
    """
    bars = market()
    fold = cut(section(), bars, labels=tied_and_gapped(bars))[0]

    assert not np.isin([100, 101, 102, 200, 201], fold.train.rows).any()
    assert 600 in fold.test.rows


def test_gaps_in_time_are_not_closed_up() -> None:
    """
    Sixty hours missing before validation: spans keep their hours, not their row counts.
    """
    hours = np.concatenate([np.arange(400), np.arange(460, 1060)])
    bars = market(hours=hours)
    fold = cut(section(), bars)[0]

    assert pd.Timedelta("400h") == fold.train.end - fold.train.start
    assert pd.Timedelta("4h") == fold.validation.start - fold.train.end
    # 400 hours less 48 missing ones; four labels reach across the hole.
    assert (400 - 48, 400 - 48 - 4) == (fold.train.bars, len(fold.train))
    assert 4 == fold.unlabelled
    assert () == check_folds(
        cut(section(), bars)[:-1], make_labels(bars, LabelSection(horizon="4bars"))
    )


def test_a_row_whose_label_comes_later_than_the_horizon_says_is_purged() -> None:
    """
    The rule is the date on the label: fifty rows known only inside validation are dropped.
    """
    bars = market()
    labels = make_labels(bars, LabelSection(horizon="4bars"))
    known = labels.known_at.to_series().reset_index(drop=True)
    known.iloc[398:448] = bars.close_time[470]
    fold = cut(section(), bars, labels=replace(labels, known_at=pd.DatetimeIndex(known)))[0]

    assert [48, 398] == bounds(fold.train)
    assert 8 + 50 == fold.purged


def test_test_spans_tile_their_range_once() -> None:
    """
    Any lengths: each decision from the first test to the last known label is tested once.
    """
    for test in (1, 7, 99, 440):
        folds = cut(section(test=f"{test}bars"))
        tested = np.concatenate([fold.test.rows for fold in folds])
        assert list(range(556, 996)) == tested.tolist()
        assert (440 % test != 0) == folds[-1].partial


def test_windows_need_an_unbroken_run_of_complete_rows() -> None:
    """
    With three steps a hole makes its own row and the next two unusable.
    """
    values = np.ones((10, 2))
    values[[0, 5], [0, 1]] = np.nan
    frame = FeatureFrame(
        close_time=market(10).close_time, names=("a", "b"), values=values, lookback=1
    )

    assert [3, 4, 8, 9] == np.flatnonzero(usable_rows(frame, 3)).tolist()
    assert [1, 2, 3, 4, 6, 7, 8, 9] == np.flatnonzero(usable_rows(frame)).tolist()
    with pytest.raises(ConfigError, match=r"back over 5 bars.* of the 10 bars at most 4 in a row"):
        usable_rows(frame, 5)


# ── what is refused ──────────────────────────────────────────────────────────────────────────────

HOLDOUT = {"scheme": "holdout", "train_last_bar": "2024-01-20", "validation_last_bar": "2024-01-30"}


@pytest.mark.parametrize(
    ("changes", "key", "message"),
    [
        ({"train": "900bars"}, "walk_forward", "1,000 bars, of which 948 .* need 1,009"),
        ({"train": "1.5h"}, "walk_forward.train", "whole number of bars of 1 h"),
        ({"validation": "0bars"}, "walk_forward.validation", "at least 1"),
        ({"test": "30min"}, "walk_forward.test", "whole number"),
        ({"test": "1bars", "max_folds": 100}, "walk_forward.max_folds", "440 folds"),
        ({"min_train_rows": 401}, "walk_forward.min_train_rows", "fold 0 has 400 train rows"),
        ({"start": "2024-01-10"}, "walk_forward.start", "start at 2024-01-24T05:00Z or later"),
        ({"start": "2030-01-01"}, "walk_forward.start", "after the last bar"),
        ({"start": "2024-02-11T16:00"}, "walk_forward", "start earlier"),
        (HOLDOUT | {"start": "2024-01-25"}, "walk_forward.start", "belongs to schemes"),
        (HOLDOUT | {"train_last_bar": "2023-01-01"}, "walk_forward.train_last_bar", "without bars"),
        (
            HOLDOUT | {"validation_last_bar": "2024-01-20"},
            "walk_forward.validation_last_bar",
            "without bars",
        ),
        (
            HOLDOUT | {"validation_last_bar": "2025-01-20"},
            "walk_forward.validation_last_bar",
            "the bars open 2024-01-01T00:00Z to 2024-02-11T15:00Z",
        ),
    ],
)
def test_an_impossible_split_names_its_key(
    changes: dict[str, object], key: str, message: str
) -> None:
    """
    Each message says what there is, what is needed and which key to change.
    """
    with pytest.raises(ConfigError, match=message) as caught:
        cut(section(**changes))

    assert key == caught.value.key


def test_data_without_features_or_labels_are_refused() -> None:
    """
    No usable row, or none with a label, cannot be cut.
    """
    nothing = np.zeros(1000, dtype=bool)
    with pytest.raises(ConfigError, match="none of the 1,000 bars has all features"):
        cut(section(), usable=nothing)
    with pytest.raises(ConfigError, match="no bar has both features and a label"):
        cut(section(), usable=np.arange(1000) >= 997)


def test_a_test_span_without_a_usable_decision_is_refused() -> None:
    """
    A hole in the features as long as a test span is said, not skipped.
    """
    usable = np.arange(1000) >= FIRST
    usable[656:756] = False
    with pytest.raises(ConfigError, match="fold 1 has no usable row") as caught:
        cut(section(), usable=usable)

    assert "walk_forward.test" == caught.value.key


def test_misaligned_inputs_are_a_programming_error() -> None:
    """
    One row per bar, or nothing.
    """
    with pytest.raises(ValueError, match="one row per bar"):
        cut(section(), usable=np.ones(7, dtype=bool))


# ── the table and the audit ──────────────────────────────────────────────────────────────────────


def test_the_table_has_the_contracts_columns_first() -> None:
    """
    One row per fold, contract columns in order, then counts.
    """
    table = fold_table(cut(section()))
    contract = (
        "fold, train_start, train_end, validation_start, validation_end, test_start, test_end, "
        "n_train, n_validation, n_test, purged, embargoed"
    ).split(", ")

    assert list(FOLD_COLUMNS) == list(table.columns)
    assert contract == list(table.columns)[: len(contract)]
    assert [400, 100, 40] == table.loc[4, ["n_train", "n_validation", "n_test"]].tolist()
    assert [400, 100, 40] == table.loc[4, ["bars_train", "bars_validation", "bars_test"]].tolist()
    assert 0 == len(fold_table(()))


def audited() -> tuple[list[Fold], LabelFrame]:
    return list(cut(section())[:3]), make_labels(market(), LabelSection(horizon="4bars"))


def test_a_sound_split_has_no_findings_but_partial_folds() -> None:
    """
    Only the last fold's S008 is said, as a warning.
    """
    _, labels = audited()

    assert [("S008", "warn")] == [(f.code, f.level) for f in check_folds(cut(section()), labels)]
    assert () == check_folds((), labels)


def with_rows(span: Span, rows: np.ndarray) -> Span:
    return replace(span, rows=rows.astype(np.int64))


@pytest.mark.parametrize(
    ("codes", "spoil"),
    [
        # labels of 448..451 are known in time for 452..455, but not a bar before: purge too short
        ({"S009"}, lambda f: replace(f, train=with_rows(f.train, np.arange(48, 449)))),
        ({"S009", "S001"}, lambda f: replace(f, train=with_rows(f.train, np.arange(48, 452)))),
        (
            {"S009", "S001"},
            lambda f: replace(f, validation=with_rows(f.validation, np.arange(452, 556))),
        ),
        (
            {"S001", "S002", "S009"},
            lambda f: replace(f, train=with_rows(f.train, np.arange(48, 460))),
        ),
        (
            {"S001", "S002", "S003", "S009"},
            lambda f: replace(f, train=with_rows(f.train, np.arange(48, 600))),
        ),
        ({"S007"}, lambda f: replace(f, test=with_rows(f.test, np.arange(556, 657)))),
        ({"S007"}, lambda f: replace(f, test=replace(f.test, end=f.test.end - HOUR))),
        ({"S008"}, lambda f: replace(f, partial=True)),
    ],
)
def test_each_planted_fault_is_found(codes: set[str], spoil: object) -> None:
    """
    A spoiled first fold is named by the codes that fit, and by no others.
    """
    folds, labels = audited()
    folds[0] = spoil(folds[0])  # type: ignore[operator]

    assert codes == {finding.code for finding in check_folds(folds, labels)}


def test_a_purge_of_the_horizon_is_too_small_for_open_to_open_labels() -> None:
    """
    The audit is told the purge that the label needs.
    """
    folds, labels = audited()

    assert {"S009"} == {finding.code for finding in check_folds(folds, labels, purge=5)}


@pytest.mark.parametrize(
    ("timesteps", "back", "learned"),
    [(2, 1, 0), (5, 4, 0), (6, 5, 1), (20, 19, 15)],  # four purged bars lie before each test span
)
def test_windows_that_reach_back_over_a_boundary_are_counted(
    timesteps: int, back: int, learned: int
) -> None:
    """
    One note for all folds: the first decisions of each test span look at bars before it.
    """
    folds, labels = audited()
    steps = {fold.number: timesteps for fold in folds}
    decisions = sum(len(fold.test) for fold in folds)

    (said,) = windows_reaching_back(folds, labels.close_time, steps)

    assert ("S011", "info") == (said.code, said.level)
    expected = f"{3 * back} of {decisions} test decisions, in 3 of 3 folds; {3 * learned} of them"
    assert expected in str(said.observed)


def test_a_window_of_one_bar_reaches_nowhere() -> None:
    """
    There is nothing to say.
    """
    folds, labels = audited()
    steps = {fold.number: 1 for fold in folds}

    assert [] == list(windows_reaching_back(folds, labels.close_time, steps))
    assert [] == list(windows_reaching_back((), labels.close_time, {}))
