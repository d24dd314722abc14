"""A comparison of variants claims nothing where there is nothing, and finds what is there.

`benchmarks/comparison_power.py` prints the shares over a hundred repetitions of several edges; the
docs quote it.
"""

from __future__ import annotations

import numpy as np
import pytest
from simulated_variants import Outcome, outcome

FEW = 3  # repetitions in the short profile
PLANTED = "v00"


def repeated(count: int, *, edge: float, first_seed: int) -> list[Outcome]:
    """Return ``count`` comparisons of 20 variants, of which one or none has an edge."""
    return [outcome(edge=edge, resamples=300, seed=first_seed + number) for number in range(count)]


def test_nothing_is_claimed_of_a_few_searches_of_noise() -> None:
    """Twenty variants without an edge: none is called better than noise."""
    assert [frozenset()] * FEW == [one.claimed for one in repeated(FEW, edge=0.0, first_seed=50)]


def test_a_planted_winner_is_found_and_nothing_beside_it() -> None:
    """A variant right 56 % of the time, among nineteen that know nothing, is the winner named."""
    found = repeated(FEW, edge=0.06, first_seed=50)
    assert [PLANTED] * FEW == [one.winner for one in found]
    assert [frozenset({PLANTED})] * FEW == [one.claimed for one in found]
    assert max(one.pbo for one in found) < 0.1


@pytest.mark.long
def test_searches_of_noise_are_seen_through_in_95_of_100() -> None:
    """
    Of a hundred searches among twenty variants without an edge at most five claim anything.

    Choosing by history is then no better than drawing lots: overfitting is about as likely as not.
    """
    found = repeated(100, edge=0.0, first_seed=1000)
    assert sum(bool(one.claimed) for one in found) <= 5
    assert 0.4 < np.mean([one.pbo for one in found]) < 0.6


@pytest.mark.long
def test_a_true_winner_is_found_in_nine_of_ten() -> None:
    """The planted variant earns more than noise in 90 of 100, and overfitting is unlikely."""
    found = repeated(100, edge=0.06, first_seed=1000)
    assert sum(PLANTED in one.earns for one in found) >= 90
    assert np.mean([one.pbo for one in found]) < 0.05
