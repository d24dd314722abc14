"""The decision threshold matches prevalence and never makes a constant forecast abstain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpwalk.thresholds import choose_threshold


@given(st.integers(0, 2**32 - 1), st.integers(20, 400), st.floats(0.05, 0.95))
def test_as_many_are_called_up_as_went_up(seed: int, size: int, share: float) -> None:
    """On validation the called-up share equals the up share, whatever the forecast's level."""
    rng = np.random.default_rng(seed)
    p_up = 0.3 + 0.01 * rng.random(size)
    label = (rng.random(size) < share).astype(np.int8)
    if label.all() or not label.any():
        return

    threshold = choose_threshold(p_up, label, "validation")

    assert int(label.sum()) == int((p_up > threshold).sum())


def test_a_number_is_taken_as_it_is() -> None:
    """A threshold given in the configuration is used, zero included."""
    p_up, label = np.array([0.2, 0.8]), np.array([0, 1], dtype=np.int8)

    assert 0.0 == choose_threshold(p_up, label, 0.0)
    assert 0.6 == choose_threshold(p_up, label, 0.6)


@pytest.mark.parametrize(
    ("p_up", "label"),
    [([0.51] * 10, [0, 1] * 5), ([0.4, 0.6, 0.7], [1, 1, 1]), ([0.4, 0.6, 0.7], [0, 0, 0])],
    ids=["constant forecast", "all up", "all down"],
)
def test_where_there_is_no_quantile_one_half_decides(p_up: list[float], label: list[int]) -> None:
    """A constant forecast or a one-class validation leaves the natural threshold."""
    assert 0.5 == choose_threshold(np.array(p_up), np.array(label, dtype=np.int8), "validation")
