"""Windows and stretches: which rows a decision is computed from, and that each is learned once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpwalk.models.base import Sample
from perpwalk.models.sequences import Stretches, Windows


def sample(decisions: int, first: int = 40) -> Sample:
    values = np.arange(first + decisions, dtype=np.float32)[:, None]
    rows = np.arange(first, first + decisions)
    return Sample(values, rows, (rows % 2).astype(np.int8))


def test_a_window_is_gathered_oldest_step_first_and_ends_at_its_row() -> None:
    """Row 4 with three steps is rows 2, 3, 4."""
    question = next(Windows(3).questions(np.array([4, 2]), None, 8))

    assert [[2, 0], [3, 1], [4, 2]] == question.steps.tolist()


@given(
    st.integers(1, 9), st.integers(1, 20), st.integers(1, 150), st.integers(0, 999),
    st.integers(1, 7),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_an_epoch_of_stretches_holds_every_decision_once(
    timesteps: int, length: int, decisions: int, seed: int, size: int
) -> None:
    """With its own label, in its own row's place, and no row outside the sample's reach."""
    given_sample = sample(decisions)
    seen: list[int] = []
    for batch in Stretches(timesteps, length).epoch(
        given_sample, size, np.random.default_rng(seed)
    ):
        rows = batch.steps[timesteps - 1 :]
        counted = batch.counts > 0
        seen += rows[counted].tolist()
        assert (rows[counted] % 2).tolist() == batch.label[counted].tolist()
        assert batch.steps.min() >= 40 - timesteps + 1
        assert batch.steps.max() <= given_sample.rows[-1]

    assert given_sample.rows.tolist() == sorted(seen)


def test_a_stretch_never_passes_over_a_row_that_is_not_finite() -> None:
    """Decisions around it are learned, from runs that begin after it."""
    given_sample = sample(100)
    given_sample.values[80] = np.nan
    kept = given_sample.part((given_sample.rows < 80) | (given_sample.rows >= 80 + 5))

    batches = list(Stretches(5, 16).epoch(kept, 4, np.random.default_rng(0)))

    assert not any((batch.steps == 80).any() for batch in batches)
    assert len(kept) == sum(len(batch) for batch in batches)


def test_the_place_in_time_decides_where_a_stretch_begins() -> None:
    """Bars 8 to 15 and 16 to 23 are stretches of eight, whatever row the table begins with."""
    sequence = Stretches(3, 8)
    clock = np.arange(4, 30)
    whole = next(sequence.questions(np.array([9, 13]), clock, 8))  # bars 13 and 17
    cut = next(sequence.questions(np.array([6, 10]), clock[3:], 8))

    assert [6, 14] == (whole.steps[0] + 4).tolist()  # two bars before 8 and before 16
    np.testing.assert_array_equal(whole.steps + 4, cut.steps + 7)
    assert [7, 3] == whole.step.tolist()


@pytest.mark.parametrize("padded", [False, True])
def test_a_question_never_looks_after_the_last_row_asked_of_a_stretch(padded: bool) -> None:
    """Steps after it repeat it."""
    sequence = Stretches(3, 8)

    for question in sequence.questions(np.array([9, 12]), None, 4, padded=padded):
        assert question.steps.max() == 12
    assert 10 == sequence.reach


def test_missing_bars_leave_a_stretch_shorter() -> None:
    """Where bars 10 and 11 are missing, a stretch has six rows and begins with the first it has."""
    clock = np.delete(np.arange(0, 24), [10, 11, 16])
    sequence = Stretches(2, 8)

    question = next(sequence.questions(np.array([13, 14]), clock, 4))  # bars 15 and 17

    assert [7, 15] == clock[question.steps[0]].tolist()  # the rows before bars 8 and 17
