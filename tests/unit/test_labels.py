"""Labels: aligned with their own move, dated, and undefined where nothing is known."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from perpwalk.config import LabelSection
from perpwalk.domain import UNDEFINED_LABEL, BarFrame
from perpwalk.errors import ConfigError
from perpwalk.labels import duration_bars, make_labels, purge_bars

HOUR = pd.Timedelta("1h")


def bars_of(
    closes: list[float] | np.ndarray,
    *,
    opens: list[float] | None = None,
    hours: list[int] | None = None,
    filled: list[bool] | None = None,
) -> BarFrame:
    closes = np.asarray(closes, dtype=float)
    first = np.asarray(closes if opens is None else opens, dtype=float)
    offsets = np.arange(len(closes)) if hours is None else np.asarray(hours)
    table = pd.DataFrame(
        {
            "open": first,
            "high": np.maximum(first, closes),
            "low": np.minimum(first, closes),
            "close": closes,
            "volume": 1.0,
        },
        index=pd.Timestamp("2024-01-01", tz="UTC") + offsets * HOUR,
    )
    return BarFrame.of(table, symbol="ETHUSDT", interval=HOUR, filled=filled)


def random_bars(count: int, seed: int = 0) -> BarFrame:
    steps = np.random.default_rng(seed).normal(0, 0.01, count)
    closes = 100 * np.exp(np.cumsum(steps))
    return bars_of(closes, opens=[*closes[:1], *(closes[:-1] * 1.0001)])


def test_a_label_is_the_direction_of_the_move_after_the_decision() -> None:
    """
    Decision t is judged on log(close[t + h] / close[t]); the last h rows have no label.
    """
    labels = make_labels(bars_of([100, 103, 101, 102, 99]), LabelSection(horizon="2bars"))

    assert [1, 0, 0, -1, -1] == labels.label.tolist()
    assert_allclose(
        labels.forward_return,
        [np.log(101 / 100), np.log(102 / 103), np.log(99 / 101), np.nan, np.nan],
    )
    assert 2 == labels.horizon


def test_a_label_is_known_at_the_close_of_its_last_bar() -> None:
    """
    With horizon 2 the decision of 01:00 is known at 03:00; undefined rows are never known.
    """
    bars = bars_of([100, 103, 101, 102, 99])
    labels = make_labels(bars, LabelSection(horizon="2h"))

    assert pd.Timestamp("2024-01-01T01:00Z") == labels.close_time[0]
    assert pd.Timestamp("2024-01-01T03:00Z") == labels.known_at[0]
    assert [False, False, False, True, True] == labels.known_at.isna().tolist()
    assert "UTC" == str(labels.known_at.tz)


def test_the_tradable_label_runs_from_open_to_open() -> None:
    """
    `next_open` judges log(open[t + 1 + h] / open[t + 1]); the last h + 1 rows have no label.
    """
    bars = bars_of([100, 100, 100, 100, 100], opens=[100, 90, 95, 80, 85])
    labels = make_labels(bars, LabelSection(price="next_open"))

    assert [1, 0, 1, -1, -1] == labels.label.tolist()
    assert_allclose(labels.forward_return[:3], np.log([95 / 90, 80 / 95, 85 / 80]))
    assert pd.Timestamp("2024-01-01T02:00Z") == labels.known_at[0]  # the open of bar 2


@pytest.mark.parametrize(("rule", "label"), [("drop", UNDEFINED_LABEL), ("up", 1), ("down", 0)])
def test_ties_are_counted_and_follow_the_rule(rule: str, label: int) -> None:
    """
    An unchanged price is counted whatever the rule; its return is 0 and its date known.
    """
    labels = make_labels(bars_of([100, 101, 101, 102]), LabelSection(ties=rule))

    assert [1, label, 1, UNDEFINED_LABEL] == labels.label.tolist()
    assert 1 == labels.ties
    assert 0.0 == labels.forward_return[1]
    assert not labels.known_at.isna()[1]


def test_a_move_across_missing_bars_has_no_label() -> None:
    """
    Two hours missing after the third bar: every decision whose window spans them is undefined.
    """
    bars = bars_of([100, 101, 102, 103, 104, 105], hours=[0, 1, 2, 5, 6, 7])
    labels = make_labels(bars, LabelSection(horizon="2bars"))

    assert [1, -1, -1, 1, -1, -1] == labels.label.tolist()
    assert 2 == labels.across_gap
    assert np.isnan(labels.forward_return[[1, 2]]).all()
    assert labels.known_at.isna()[[1, 2]].all()


def test_a_fill_after_missing_bars_has_no_tradable_label() -> None:
    """
    A gap between the decision and its fill counts although open to open lies after it.
    """
    bars = bars_of([100, 101, 102, 103, 104], hours=[0, 1, 4, 5, 6])
    labels = make_labels(bars, LabelSection(price="next_open"))

    assert [-1, -1, 1, -1, -1] == labels.label.tolist()
    assert 2 == labels.across_gap


def test_a_move_that_begins_or_ends_on_a_made_up_bar_has_no_label() -> None:
    """
    Filled bars repeat the last close: what starts or ends there was never a price.
    """
    bars = bars_of([100, 101, 101, 103, 104], filled=[False, False, True, False, False])
    labels = make_labels(bars, LabelSection())

    assert [1, -1, -1, 1, -1] == labels.label.tolist()
    assert (2, 0) == (labels.across_gap, labels.ties)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_bars_give_no_label(count: int) -> None:
    """
    Where the horizon is longer than the data everything is undefined.
    """
    for price in ("close", "next_open"):
        labels = make_labels(bars_of([100.0] * count), LabelSection(horizon="3bars", price=price))
        assert [UNDEFINED_LABEL] * count == labels.label.tolist()
        assert labels.known_at.isna().all()
        assert (0, 0) == (labels.ties, labels.across_gap)


@pytest.mark.parametrize("horizon", ["1.5bars", "90min", "0bars", "30min"])
def test_a_horizon_is_a_whole_number_of_bars(horizon: str) -> None:
    """
    Anything else is refused by the key's name.
    """
    with pytest.raises(ConfigError, match=r"label\.horizon"):
        make_labels(bars_of([100, 101, 102]), LabelSection(horizon=horizon))


def test_the_tradable_label_needs_one_bar_more_of_purge() -> None:
    """
    Purge is the horizon, plus one where the move starts at the next open.
    """
    assert 4 == purge_bars(LabelSection(horizon="4h"), HOUR)
    assert 5 == purge_bars(LabelSection(horizon="4h", price="next_open"), HOUR)
    assert 16 == purge_bars(LabelSection(horizon="4h"), pd.Timedelta("15min"))


def test_durations_in_days_and_bars_agree() -> None:
    """
    A day is 24 hourly bars.
    """
    assert 24 == duration_bars("1d", HOUR, key="k") == duration_bars("24bars", HOUR, key="k")


# ── audits that a label must pass ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("horizon", "price"), [(1, "close"), (4, "close"), (3, "next_open")])
def test_a_label_agrees_with_its_own_move_and_with_no_shifted_one(horizon: int, price: str) -> None:
    """
    Agreement with the sign of the forward return is exact at shift 0 and below 1 elsewhere.
    """
    section = LabelSection(horizon=f"{horizon}bars", price=price)
    labels = make_labels(random_bars(2000), section)
    up = (labels.forward_return > 0).astype(int)

    for shift in range(-horizon - 2, horizon + 3):
        moved = np.roll(up, -shift)[20:-20]
        agreement = np.mean(moved == labels.label[20:-20])
        assert (shift == 0) == (agreement == 1.0), shift


@pytest.mark.parametrize(
    ("horizon", "expected"),
    # cases shift_agreement_h1, _h4, _h24: 1/2 + asin(1 - k/h) / pi
    [
        (1, {1: 0.5, 2: 0.5}),
        (4, {1: 0.7699465438373841, 2: 0.6666666666666667, 4: 0.5}),
        (24, {1: 0.9077897659118526, 2: 0.8691307538383264, 24: 0.5}),
    ],
)
def test_overlapping_labels_agree_with_their_shift_as_theory_says(
    horizon: int, expected: dict[int, float]
) -> None:
    """
    On a random walk the share of equal labels k bars apart is that of overlapping sums.
    """
    count = 60_000
    labels = make_labels(random_bars(count, seed=8), LabelSection(horizon=f"{horizon}bars")).label
    known = labels[: count - horizon]

    for shift, agreement in expected.items():
        assert agreement == pytest.approx(0.5 + math.asin(max(1 - shift / horizon, 0)) / math.pi)
        assert agreement == pytest.approx(np.mean(known[shift:] == known[:-shift]), abs=0.02)


def test_later_bars_change_no_known_label() -> None:
    """
    Cutting the data off leaves every label that was known by then as it was.
    """
    bars = random_bars(300)
    whole = make_labels(bars, LabelSection(horizon="5bars"))
    cut = make_labels(bars.rows(0, 200), LabelSection(horizon="5bars"))

    assert_array_equal(whole.label[:195], cut.label[:195])
    assert (cut.label[195:] == UNDEFINED_LABEL).all()
    assert (whole.known_at[:195] <= bars.close_time[199]).all()
