"""The label audit: silent on honest labels, loud and exact on each planted fault."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from perpwalk.audit.labels import audit_labels
from perpwalk.config import LabelSection
from perpwalk.domain import BarFrame, Finding, Fold, LabelFrame, Level, Span
from perpwalk.labels import make_labels

HOUR = pd.Timedelta("1h")
CLOSE = LabelSection()
N = 3000


def bars_of(closes: np.ndarray, *, missing: Sequence[int] = ()) -> BarFrame:
    """Return hourly bars that open where the last one closed, some left out."""
    opens = np.concatenate([closes[:1], closes[:-1]])
    frame = pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes),
            "low": np.minimum(opens, closes),
            "close": closes,
            "volume": 1.0,
        },
        index=pd.date_range("2024-01-01", periods=len(closes), freq="h", tz="UTC"),
    )
    kept = np.setdiff1d(np.arange(len(closes)), missing)
    return BarFrame.of(frame.iloc[kept], symbol="ETHUSDT", interval=HOUR)


def walk(n: int = N, seed: int = 1) -> np.ndarray:
    return np.asarray(100 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0, 0.01, n))))


def folds_of(bars: BarFrame, *bounds: int) -> list[Fold]:
    """Return one fold whose train, validation and test are the rows between four bounds."""
    spans = [
        Span(bars.close_time[a], bars.close_time[b - 1] + HOUR, np.arange(a, b), b - a)
        for a, b in itertools.pairwise(bounds)
    ]
    return [Fold(0, *spans)]


BARS = bars_of(walk())
FOLDS = folds_of(BARS, 0, 1500, 2000, 2900)


def audit(
    labels: LabelFrame, section: LabelSection = CLOSE, bars: BarFrame = BARS
) -> list[Finding]:
    return list(audit_labels(labels, bars, section, FOLDS))


def codes(findings: list[Finding], *levels: Level) -> set[str]:
    return {f.code for f in findings if f.level in (levels or (Level.ERROR,))}


def changed(labels: LabelFrame, label: np.ndarray) -> LabelFrame:
    return replace(labels, label=label.astype(np.int8))


@pytest.mark.parametrize(
    "section",
    [
        LabelSection(),
        LabelSection(horizon="4bars"),
        LabelSection(price="next_open"),
        LabelSection(horizon="3bars", price="next_open"),
        LabelSection(ties="up"),
    ],
)
def test_honest_labels_pass_without_errors(section: LabelSection) -> None:
    """Labels of every kind, ties, gaps and tail included, give no error and no warning."""
    closes = walk()
    closes[500] = closes[499]
    bars = bars_of(closes, missing=range(700, 705))
    found = list(audit_labels(make_labels(bars, section), bars, section, FOLDS))

    # 900 test rows are few for a longer horizon, and L011 rightly says so.
    assert set() == codes(found, Level.ERROR, Level.WARN) - {"L011"}
    assert {"L005", "L008", "L009", "L010"} <= codes(found, Level.INFO)


def test_the_predecessors_label_is_named_with_its_counts() -> None:
    """All labels up: L001, L004 and L005 with both counts, and the test rows apart."""
    labels = make_labels(BARS, CLOSE)
    found = audit(changed(labels, np.where(labels.label >= 0, 1, -1)))
    moves = np.diff(np.log(BARS.close))
    ups, downs = int((moves > 0).sum()), int((moves < 0).sum())

    assert {"L001", "L004", "L005", "L006"} <= codes(found)
    one_class = next(f for f in found if f.code == "L001")
    assert "all labels; fold 000 train; fold 000 validation; fold 000 test" == one_class.where
    counted = next(f for f in found if f.code == "L005" and f.where == "all labels")
    assert f"raw moves {ups:,} up and {downs:,} down (0 tied)" in counted.message
    assert f"against labels {ups + downs:,} up and 0 down" in counted.message


def test_the_tests_own_counts_are_always_told() -> None:
    """Raw moves of the test span and the labels on it stand in the report of a clean run."""
    closes = walk()
    closes[2500] = closes[2499]
    bars = bars_of(closes)
    found = audit(make_labels(bars, CLOSE), bars=bars)
    told = next(f for f in found if f.code == "L005")
    moves = np.diff(np.log(closes))[2000:2900]

    assert (Level.INFO, "test") == (told.level, told.where)
    assert (
        f"raw moves {int((moves > 0).sum())} up and {int((moves < 0).sum())} down (1 tied)"
        in told.message
    )


@pytest.mark.parametrize(("shift", "words"), [(1, "early"), (-1, "late"), (-3, "late")])
def test_labels_of_another_bar_are_named_with_their_shift(shift: int, words: str) -> None:
    """L006 says by how many bars, and whether the answer was known already."""
    labels = make_labels(BARS, CLOSE)
    moved = np.roll(labels.label, shift)
    moved[-1] = -1
    found = audit(changed(labels, moved))
    told = next(f for f in found if f.code == "L006")

    assert Level.ERROR is told.level
    assert words in told.message
    assert str(abs(shift)) in told.message
    assert "L004" in codes(found)


def test_labels_that_are_right_most_of_the_time_are_wrong() -> None:
    """L006 and L004 ask for exactness, not for the best agreement at shift 0."""
    labels = make_labels(BARS, CLOSE)
    flipped = labels.label.copy()
    flipped[100:200] = 1 - flipped[100:200]
    found = audit(changed(labels, flipped))

    assert {"L004", "L006"} <= codes(found)
    assert "is not the sign" in next(f.message for f in found if f.code == "L006")


def test_a_label_on_the_price_level_is_found() -> None:
    """L003: above a price or not is no forecast of a move."""
    labels = make_labels(BARS, CLOSE)
    level = np.where(labels.label >= 0, BARS.close > np.median(BARS.close), -1)

    assert "L003" in codes(audit(changed(labels, level)))


def test_a_raw_target_that_is_the_price_is_found() -> None:
    """L003: the dollar price instead of its return."""
    labels = make_labels(BARS, CLOSE)
    target = np.where(np.isfinite(labels.forward_return), BARS.close, np.nan)

    assert "L003" in codes(audit(replace(labels, forward_return=target)))


def test_a_strange_value_is_found() -> None:
    """L003: only 0 and 1 are classes."""
    labels = make_labels(BARS, CLOSE)
    strange = labels.label.copy()
    strange[17] = 2
    found = [f for f in audit(changed(labels, strange)) if f.code == "L003"]

    assert ["row 17"] == [f.where for f in found]


def test_a_made_up_tail_is_found() -> None:
    """L008: the last row's future is not in the data, whatever its label says."""
    labels = make_labels(BARS, CLOSE)
    filled = labels.label.copy()
    filled[-1] = 0

    assert {"L008"} == codes(audit(changed(labels, filled)))


def test_labels_across_a_gap_are_found() -> None:
    """L008 and L010: a move that lasted longer than declared must have no label."""
    closes = walk()
    missing = list(range(60, N, 40))
    bars = bars_of(closes, missing=missing)
    honest = make_labels(bars, CLOSE)
    crossing = np.concatenate([np.diff(np.log(bars.close)), [np.nan]])
    careless = replace(
        honest,
        forward_return=crossing,
        label=np.where(np.isnan(crossing), -1, crossing > 0).astype(np.int8),
    )

    gap = next(f for f in audit(honest, bars=bars) if f.code == "L010")
    assert Level.WARN is gap.level
    assert f"{len(missing)} label windows" in gap.message
    torn = bars_of(closes, missing=range(60, N, 8))
    found = audit_labels(make_labels(torn, CLOSE), torn, CLOSE, ())
    many = next(f for f in found if f.code == "L010")
    assert Level.ERROR is many.level
    assert "L008" in codes(audit(careless, bars=bars))


def test_many_ties_are_a_warning_and_most_an_error() -> None:
    """L009: stale bars show as returns of exactly 0."""
    levels = []
    for stale in (0.0, 0.05, 0.4):
        closes = walk()
        frozen = np.random.default_rng(2).random(N) < stale
        for row in np.flatnonzero(frozen[1:]) + 1:
            closes[row] = closes[row - 1]
        bars = bars_of(closes)
        found = audit(make_labels(bars, CLOSE), bars=bars)
        levels.append(next(f.level for f in found if f.code == "L009"))

    assert [Level.INFO, Level.WARN, Level.ERROR] == levels


def test_unbalanced_classes() -> None:
    """L002: a warning outside 35 to 65 %, an error under 5 % or 30 rows."""
    for up_share, level in ((0.5, None), (0.7, Level.WARN), (0.98, Level.ERROR)):
        rng = np.random.default_rng(3)
        steps = np.where(rng.random(N) < up_share, 0.01, -0.01)
        bars = bars_of(100 * np.exp(np.cumsum(steps) / 50))
        found = [f for f in audit(make_labels(bars, CLOSE), bars=bars) if f.code == "L002"]
        assert ([] if level is None else [level]) == sorted({f.level for f in found}), up_share


@pytest.mark.parametrize(
    ("horizon", "level"), [("1bars", Level.INFO), ("8bars", Level.WARN), ("24bars", Level.ERROR)]
)
def test_overlap_leaves_few_independent_rows(horizon: str, level: Level) -> None:
    """L011: 900 test rows are worth 157 at eight hours and 51 at a day."""
    section = LabelSection(horizon=horizon)
    found = audit(make_labels(BARS, section), section)

    assert level is next(f.level for f in found if f.code == "L011")


def test_a_stuck_label_and_a_drift_are_warned_of() -> None:
    """L013 and L014: one class for 300 rows in the test, hardly any in train."""
    steps = np.random.default_rng(4).normal(0, 0.01, N)
    steps[2100:2600] = np.abs(steps[2100:2600])
    bars = bars_of(100 * np.exp(np.cumsum(steps)))
    found = audit(make_labels(bars, CLOSE), bars=bars)

    assert {"L013", "L014"} <= codes(found, Level.WARN)
