"""Windowed sums and deviations: exact, local, and deaf to what came before the window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from perpwalk.features import ratio, rolling_mean, rolling_std, rolling_sum, shift
from perpwalk.features.rolling import ema_lookback, forget_bars, rolling_zscore


@pytest.mark.parametrize("window", [1, 2, 3, 5, 8, 13, 24, 64, 168])
def test_windows_agree_with_pandas_on_ordinary_numbers(window: int) -> None:
    """
    Sum, mean and deviation equal those of pandas.
    """
    values = np.random.default_rng(3).normal(1, 1, 400)
    rolled = pd.Series(values).rolling(window)

    assert_allclose(rolling_sum(values, window), rolled.sum(), rtol=1e-12, atol=1e-12)
    assert_allclose(rolling_mean(values, window), rolled.mean(), rtol=1e-12, atol=1e-12)
    if window > 1:
        assert_allclose(rolling_std(values, window), rolled.std(), rtol=1e-10)
    assert_allclose(rolling_std(values, window, ddof=0), rolled.std(ddof=0), rtol=1e-10, atol=1e-7)


@pytest.mark.parametrize("window", [7, 20, 168])
def test_a_window_is_bit_identical_whatever_came_before(window: int) -> None:
    """
    Huge values that have left the window leave no trace, not even in the last bit.
    """
    values = np.random.default_rng(4).normal(0, 1, 600)
    disturbed = values.copy()
    disturbed[:200] *= 1e14

    for rolling in (rolling_sum, rolling_mean, rolling_std):
        assert_array_equal(rolling(values, window)[-200:], rolling(disturbed, window)[-200:])
        assert_array_equal(rolling(values, window)[-1:], rolling(values[-window:], window)[-1:])


def test_deviations_keep_their_digits_at_large_means() -> None:
    """
    A deviation of 1e-3 around a mean of 1e6 is right to six digits.
    """
    values = 1e6 + np.random.default_rng(5).normal(0, 1e-3, 100)

    assert_allclose(rolling_std(values, 50)[-1], values[-50:].std(ddof=1), rtol=1e-6)


def test_a_nan_spoils_the_windows_that_hold_it_and_no_others() -> None:
    """
    The sum is undefined for as many bars as the window is long, then defined again.
    """
    values = np.ones(20)
    values[5] = np.nan

    undefined = np.flatnonzero(np.isnan(rolling_sum(values, 4)))
    assert [0, 1, 2, 5, 6, 7, 8] == undefined.tolist()


def test_impossible_windows_are_refused() -> None:
    """
    Empty windows, a deviation of one value and shifts into the future are errors.
    """
    with pytest.raises(ValueError, match="a window of 0 bars"):
        rolling_sum(np.ones(3), 0)
    with pytest.raises(ValueError, match="no standard deviation"):
        rolling_std(np.ones(3), 1)
    with pytest.raises(ValueError, match="would read the future"):
        shift(np.ones(3), -1)


def test_a_shift_longer_than_the_series_is_all_undefined() -> None:
    """
    Nothing wraps around.
    """
    assert np.isnan(shift(np.ones(3), 5)).all()
    assert [1.0, 1.0, 1.0] == shift(np.ones(3), 0).tolist()


def test_a_ratio_keeps_undefined_apart_from_flat() -> None:
    """
    A vanishing denominator gives the flat value; an undefined numerator stays undefined.
    """
    result = ratio(np.array([1.0, np.nan, 3.0]), np.array([0.0, 0.0, np.nan]), flat=0.5)

    assert [0.5] == result[:1].tolist()
    assert np.isnan(result[1:]).all()


def test_the_zscore_of_a_constant_is_zero() -> None:
    """
    No deviation, no surprise.
    """
    assert [0.0] == rolling_zscore(np.full(10, 3.3), 5)[-1:].tolist()


def test_an_average_forgets_its_start_within_its_lookback() -> None:
    """
    After `forget_bars` the weight of the seed is below 1e-14.
    """
    for span in (6, 24):
        decay = (span - 1) / (span + 1)
        assert decay ** forget_bars(decay) <= 1e-14 < decay ** (forget_bars(decay) - 1)
        assert span + forget_bars(decay) == ema_lookback(span)
