"""Intervals of proportions and levels for many tests reproduce their cases."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpwalk.uncertainty.proportions import (
    any_false_alarm,
    clopper_pearson,
    permutation_p,
    sidak_level,
    wilson,
)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        pytest.param(4142, 8129, 0.49866455786979186, 0.5203939717701646, id="wilson_4142_8129"),
        pytest.param(8155, 8155, 0.9995291661395697, 1.0, id="wilson_8155_8155"),
    ],
)
def test_wilson_cases(hits: int, n: int, low: float, high: float) -> None:
    """All correct gives an interval below 1, where a row bootstrap returns [1, 1]."""
    found = wilson(hits, n)

    assert found is not None
    assert low == pytest.approx(found.low, abs=1e-9)
    assert high == pytest.approx(found.high, abs=1e-9)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (57, 103)])
def test_wilson_agrees_with_statsmodels(hits: int, n: int) -> None:
    """The formula is that of a maintained library, at another level too."""
    from statsmodels.stats.proportion import proportion_confint

    for confidence in (0.9, 0.95, 0.99):
        found = wilson(hits, n, confidence)
        expected = proportion_confint(hits, n, alpha=1 - confidence, method="wilson")
        assert found is not None
        assert tuple(expected) == pytest.approx((found.low, found.high), abs=1e-12)


def test_clopper_pearson_of_all_correct() -> None:
    """Case clopper_all."""
    found = clopper_pearson(8155, 8155)

    assert found is not None
    assert 0.9995477565597228 == pytest.approx(found.low, abs=1e-9)
    assert 1.0 == found.high


def test_a_proportion_of_nothing_is_undefined() -> None:
    """Without rows there is no interval, and impossible counts are refused."""
    assert wilson(0, 0) is None
    assert clopper_pearson(0, 0) is None
    with pytest.raises(ValueError, match="no proportion"):
        wilson(5, 4)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 5000), share=st.floats(0, 1))
def test_wilson_holds_its_share_and_lies_in_the_unit_interval(n: int, share: float) -> None:
    """Any share lies inside its interval; more confidence never narrows it."""
    hits = round(share * n)
    narrow, wide = wilson(hits, n, 0.9), wilson(hits, n, 0.99)

    assert narrow is not None
    assert wide is not None
    slack = 1e-12
    assert 0 <= wide.low <= narrow.low <= hits / n + slack
    assert hits / n - slack <= narrow.high <= wide.high <= 1


@pytest.mark.parametrize(
    ("tests", "sidak", "any_false"),
    [
        pytest.param(12, 0.004265318777560645, 0.45963991233736334, id="sidak_12"),
        pytest.param(100, 0.0005128014162623096, 0.994079470779666, id="sidak_100"),
    ],
)
def test_levels_for_many_tests(tests: int, sidak: float, any_false: float) -> None:
    """Cases sidak_12 and sidak_100: twelve null tests give 46 % chance of one at 5 %."""
    assert sidak == pytest.approx(sidak_level(0.05, tests), abs=1e-12)
    assert any_false == pytest.approx(any_false_alarm(0.05, tests), abs=1e-12)


def test_a_permutation_p_is_never_zero() -> None:
    """Case perm_p."""
    assert 0.005 == pytest.approx(permutation_p(0, 199), abs=1e-12)
