"""Tests of directional skill reproduce their cases and refuse one-class tables."""

from __future__ import annotations

import numpy as np
import pytest

from perpwalk.uncertainty.direction import (
    Hits,
    anatolyev_gerko,
    henriksson_merton,
    pesaran_timmermann,
)

TABLE = Hits(60, 40, 45, 55)  # case pesaran_timmermann


def test_pesaran_timmermann_and_henriksson_merton() -> None:
    """Case pesaran_timmermann."""
    found = pesaran_timmermann(TABLE)

    assert found is not None
    assert 2.129306914271529 == pytest.approx(found.statistic, abs=1e-9)
    assert 0.016614438063390937 == pytest.approx(found.p_one_sided, abs=1e-9)
    assert 0.023582742691509655 == pytest.approx(henriksson_merton(TABLE), abs=1e-9)


def test_a_table_is_counted_from_rows() -> None:
    """Labels and calls give the four counts."""
    label = [1] * 100 + [0] * 100
    called = [True] * 60 + [False] * 40 + [True] * 45 + [False] * 55

    assert TABLE == Hits.of(label, called)
    assert 200 == TABLE.n


@pytest.mark.parametrize(
    "hits",
    [Hits(10, 0, 10, 0), Hits(0, 10, 0, 10), Hits(5, 5, 0, 0), Hits(0, 0, 5, 5), Hits(0, 0, 0, 0)],
)
def test_one_class_gives_no_number(hits: Hits) -> None:
    """0/0 is a verdict, not a p-value."""
    assert hits.one_sided
    assert pesaran_timmermann(hits) is None
    assert henriksson_merton(hits) is None


def test_skill_turned_round_is_the_opposite() -> None:
    """Calling the other class everywhere turns the statistic's sign."""
    right, wrong = pesaran_timmermann(TABLE), pesaran_timmermann(Hits(40, 60, 55, 45))

    assert right is not None
    assert wrong is not None
    assert right.statistic == pytest.approx(-wrong.statistic)


def test_anatolyev_gerko() -> None:
    """Case anatolyev_gerko: the sign earns money; equal to root n times the correlation."""
    sign = np.array([1.0, -1, 1, 1, -1, 1, -1, -1, 1, 1, 1, -1])
    returns = np.array(
        [0.012, -0.008, 0.004, 0.021, -0.015, 0.006, 0.009, -0.003, 0.017, -0.011, 0.002, 0.008]
    )
    found = anatolyev_gerko(sign, returns)

    assert found is not None
    assert 1.4645671877407798 == pytest.approx(found.statistic, abs=1e-9)
    assert 0.0715195198318342 == pytest.approx(found.p_one_sided, abs=1e-9)
    correlation = np.corrcoef(sign, returns)[0, 1]
    assert np.sqrt(12) * correlation == pytest.approx(found.statistic)


def test_a_sign_that_never_turns_earns_nothing_by_skill() -> None:
    """Always long has no test, nor have flat returns."""
    returns = np.array([0.01, -0.02, 0.03])

    assert anatolyev_gerko(np.ones(3), returns) is None
    assert anatolyev_gerko(np.array([1.0, -1, 1]), np.zeros(3)) is None
