"""The placebo battery: what each treatment takes away, and what is made of what is left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpwalk.audit import placebo
from perpwalk.audit.placebo import ACCOUNT, FORECASTS, Kind, Placebo, PlaceboRecord
from perpwalk.audit.score import Score
from perpwalk.domain import UNDEFINED_LABEL, Forecast, LabelFrame, Level, frozen_array

OWN = Score(
    auc=0.56, accuracy=0.54, null_sd=0.01, rows=900, total_return=0.3, sharpe=2.0,
    forecasts="own", account="own",
)  # fmt: skip
OTHER = replace(OWN, auc=0.5, total_return=-0.2, forecasts="other", account="other")


def forecast(count: int) -> Forecast:
    stamps = pd.date_range("2024-01-01", periods=count, freq="h", tz="UTC")
    p_up = np.linspace(0.1, 0.9, count)
    return Forecast(
        fold=0, close_time=stamps, rows=np.arange(10, 10 + count), p_up=p_up,
        embedding=np.stack([1 - 2 * p_up, 2 * p_up - 1], axis=1),
    )  # fmt: skip


def label_frame(count: int, horizon: int = 1) -> LabelFrame:
    rng = np.random.default_rng(5)
    label = rng.integers(0, 2, count).astype(np.int8)
    label[-horizon:] = UNDEFINED_LABEL
    stamps = pd.date_range("2024-01-01", periods=count, freq="h", tz="UTC")
    return LabelFrame(
        close_time=stamps, known_at=stamps, forward_return=frozen_array(np.arange(float(count))),
        label=frozen_array(label, np.int8), horizon=horizon, ties=0, across_gap=0,
    )  # fmt: skip


def levels(*placebos: Placebo, **named: bool) -> dict[tuple[str, str], Level]:
    return {(f.code, f.where): f.level for f in placebo.findings(OWN, placebos, **named)}


def drawn(*scores: Score) -> Placebo:
    return Placebo(Kind.RANDOM, Kind.RANDOM, scores, OWN)


# ── treatments ───────────────────────────────────────────────────────────────────────────────────


def test_a_late_forecast_is_the_one_made_before() -> None:
    """Two bars late: the decision of row 12 acts on what was forecast at row 10."""
    found = placebo.late(forecast(5), 2)

    assert [12, 13, 14] == found.rows.tolist()
    assert forecast(5).p_up[:3].tolist() == found.p_up.tolist()
    assert 0 == len(placebo.late(forecast(2), 3).rows)


@given(count=st.integers(2, 60), seed=st.integers(0, 1000))
def test_a_random_model_has_the_same_forecasts_at_other_times(count: int, seed: int) -> None:
    """Every probability once, in the same sequence around the circle, none in its own place."""
    found = placebo.turned(forecast(count), np.random.default_rng(seed)).p_up
    at = int(np.argmin(found))

    assert forecast(count).p_up.tolist() == np.roll(found, -at).tolist()
    assert not (found == forecast(count).p_up).any()


@given(count=st.integers(60, 400), horizon=st.sampled_from([1, 4, 24]), seed=st.integers(0, 99))
def test_shuffled_labels_are_the_same_labels_elsewhere(count: int, horizon: int, seed: int) -> None:
    """Counts and undefined rows stay, each label keeps its return, blocks keep their order."""
    before = label_frame(count, horizon)
    after = placebo.shuffled(before, np.random.default_rng(seed))
    rows = before.label != UNDEFINED_LABEL
    source = after.forward_return[rows].astype(int)

    assert (before.label == UNDEFINED_LABEL).tolist() == (after.label == UNDEFINED_LABEL).tolist()
    assert sorted(source) == list(range(count - horizon))
    assert before.label[source].tolist() == after.label[rows].tolist()
    jumps = int((np.diff(source) != 1).sum())
    assert jumps <= count // max(24, 2 * horizon)


# ── what it means ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", [Kind.RANDOM, Kind.CONSTANT, Kind.SWAPPED])
def test_an_account_that_no_model_changes_is_an_error(kind: Kind) -> None:
    """The same equity to the bit: K011; a note where the strategy declares it asks no signal."""
    same = Placebo(kind, kind, (replace(OTHER, account="own"),) * 2, OWN)
    where = ("K011", f"placebo: {kind}")

    assert Level.ERROR is levels(same)[where]
    assert Level.INFO is levels(same, without_signal=True)[where]
    assert where not in levels(replace(same, scores=(OTHER, OTHER)))


def test_a_swapped_model_with_the_same_forecasts_is_an_error() -> None:
    """Even where the strategy asks no signal."""
    same = Placebo(Kind.SWAPPED, "swapped", (replace(OTHER, forecasts="own"),), OWN)

    assert Level.ERROR is levels(same, without_signal=True)["K011", "placebo: swapped"]


def test_a_constant_baseline_may_equal_a_constant() -> None:
    """The majority model is one; it still must differ from a model that learns."""
    same = (replace(OTHER, account="own", forecasts="own"),)
    constant = Placebo(Kind.CONSTANT, "constant", same, OWN)
    swapped = Placebo(Kind.SWAPPED, "swapped", same, OWN)

    found = levels(constant, swapped, constant_by_design=True)
    assert {("K011", "placebo: swapped"): Level.ERROR} == found


def test_an_account_that_never_traded_says_nothing_of_the_model() -> None:
    """No trade, no difference: A003 speaks of that."""
    flat = replace(OWN, total_return=0.0)
    same = Placebo(Kind.CONSTANT, "constant", (replace(flat, forecasts="other"),), flat)

    assert () == placebo.findings(flat, [same])


def test_luck_is_told_for_forecasts_and_money_apart() -> None:
    """One of 19 draws earns more: p 0.10, a warning of the account; forecasts p 0.05, none."""
    scores = (replace(OTHER, total_return=0.4), *(OTHER,) * 18)
    found = levels(drawn(*scores))

    assert (Level.INFO, Level.WARN) == (found["U013", FORECASTS], found["U013", ACCOUNT])
    assert pytest.approx(0.10) == drawn(*scores).p("total_return")
    assert Level.INFO is levels(drawn(OTHER, OTHER))["U013", ACCOUNT]  # p 0.33, but of two draws


def test_models_that_learn_from_nonsense_are_an_error() -> None:
    """A mean AUC of 0.53 with deviations of 0.01 over five fits: K003; 0.50 is a note."""
    told = [replace(OTHER, auc=0.53 + 0.001 * k) for k in range(5)]
    found = levels(Placebo(Kind.SHUFFLED, "labels", tuple(told), OWN))
    clean = levels(Placebo(Kind.SHIFTED, "labels", (OTHER,) * 5, OWN))

    assert Level.ERROR is found["K003", "placebo: labels"]
    assert Level.INFO is clean["K003", "placebo: labels"]


@pytest.mark.parametrize(("auc", "level"), [(0.59, Level.INFO), (0.61, Level.WARN)])
def test_a_signal_that_does_better_late_is_a_warning(auc: float, level: Level) -> None:
    """Beyond four deviations of 0.01 above 0.56."""
    late = Placebo(Kind.LATE, "late", (replace(OTHER, auc=auc),), OWN)

    assert level is levels(late)["P014", "placebo: signal late"]


def test_the_table_and_its_record_agree_and_undefined_is_null() -> None:
    """A constant model has no AUC: NaN in the table, None in the record, NaN again."""
    constant = Placebo(Kind.CONSTANT, "constant", (replace(OTHER, auc=None),), OWN)
    shown = placebo.table(OWN, [constant, drawn(OTHER, OWN)])
    record = PlaceboRecord.of(shown, ())

    assert ["this run", "constant", "random model"] == shown["placebo"].tolist()
    assert None is record.rows[1]["auc"]
    pd.testing.assert_frame_equal(shown, record.table)
    assert pytest.approx(2 / 3) == shown["p_auc"].iloc[2]
