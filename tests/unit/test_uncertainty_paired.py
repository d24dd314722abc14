"""Comparisons of two variants reproduce published and hand-computed cases."""

from __future__ import annotations

import numpy as np
import pytest

from perpwalk.uncertainty.paired import diebold_mariano, ledoit_wolf, mcnemar, mcnemar_of_groups

# Case ledoit_wolf
RETURNS_A = np.array(
    [
        0.006477, 0.006713, -0.008329, 0.003255, -0.00837, 0.010745, 0.005619, 0.000752,
        -0.00095, 0.010634, 0.0209, -0.012782, -0.006365, -0.007034, 0.005633, -0.00535,
        -0.003897, 0.004523, -0.007491, 0.01399, 0.01049, -0.000219, -0.003714, 0.002624,
        -0.008345, 0.008414, 0.001297, -0.008114, 0.002776, -0.007212, -0.001059, 0.004552,
        -0.00715, -0.004534, -0.004811, -0.017654, -0.005803, 0.026707, -0.001916, 0.013437,
        0.009956, -0.018035, 0.005236, -6.3e-05, 0.001586, -0.000613, 0.001327, -0.004594,
        0.016366, -0.022682, 0.005611, 0.002348, -0.005102, -0.018203, -0.010591, -0.010287,
        -0.0014, 0.00406, 0.003615, 0.000395,
    ]
)  # fmt: skip
RETURNS_B = np.array(
    [
        -0.001211, 0.010023, -0.00554, 0.007798, -0.00181, 0.004848, 0.007705, 0.000438,
        0.001189, 0.006273, 0.007195, -0.010708, -0.005693, 0.003205, 0.001556, -0.007219,
        0.002586, -0.008109, -0.012435, 0.009291, -0.00215, 0.000167, 0.003401, -0.010579,
        -0.017052, -0.00429, 0.000897, 0.002237, -0.002994, -0.000713, -0.005213, 0.006519,
        -0.003322, -0.010997, 0.004955, -0.006988, 0.001396, 0.010556, 0.000694, 0.006676,
        0.00562, -0.01552, -0.005058, 0.002935, 0.001084, -0.014598, -0.000457, -0.003071,
        0.009052, -0.012713, 0.011494, 0.008762, 0.000567, -0.018309, 0.000193, -0.007247,
        -0.003306, 0.005009, 0.005691, 0.003687,
    ]
)  # fmt: skip
# Cases dm_h1 and dm_negative_variance
ERRORS_A = np.array(
    [
        0.4522, -0.2994, 0.1458, -0.5697, 0.2012, -0.7396, 0.0775, -0.3954, 1.3285, -0.5011,
        -0.5297, 1.0937, 0.0981, 0.3961, 1.2541, 1.2622, 0.0437, -0.361, 0.5036, 0.0568,
        -2.2816, 2.3714, 0.188, -0.2438, -0.5551, -0.0555, -1.0789, -0.2787, -0.9346, -0.3338,
        0.711, 0.1448, -0.3082, -0.4484, -0.2895, 0.8017, 0.4552, -0.9271, -1.0331, -1.2014,
    ]
)  # fmt: skip
ERRORS_B = np.array(
    [
        -0.1064, -0.3838, 0.1617, -1.4002, -0.4601, -0.0473, 2.434, -0.3866, 0.8059, 0.4077,
        -0.0642, -1.4892, -0.5155, -0.69, 0.6565, -0.9327, 1.0619, 0.1818, 2.7794, 1.2521,
        0.0185, 0.9392, 0.0818, 1.8284, -0.972, 0.7922, -0.3658, -0.2473, -0.6418, -0.9557,
        0.2014, -0.2244, -0.9294, -1.0072, -0.8585, -0.7586, 0.5203, -1.671, 0.5066, -0.212,
    ]
)  # fmt: skip


def test_mcnemar_of_150_against_86() -> None:
    """Case mcnemar_150_86: plain, corrected, exact and mid-p."""
    found = mcnemar(150, 86)

    assert found is not None
    assert 17.35593220338983 == pytest.approx(found.chi2, abs=1e-9)
    assert 3.099293441045215e-05 == pytest.approx(found.p_chi2, abs=1e-9)
    assert 16.81779661016949 == pytest.approx(found.chi2_corrected, abs=1e-9)
    assert 4.114562281345944e-05 == pytest.approx(found.p_corrected, abs=1e-9)
    assert 3.7159361395713866e-05 == pytest.approx(found.p_exact, abs=1e-9)
    assert 2.8933895176155007e-05 == pytest.approx(found.p_mid, abs=1e-9)


def test_mcnemar_of_groups_by_hand() -> None:
    """Four groups that differ by 2, -1, 0 and 2 rows: 3/4 of 3 squared over 9; p of 0.75."""
    found = mcnemar_of_groups(np.array([2.0, -1.0, 0.0, 2.0]))

    assert 0.386476230771233 == pytest.approx(found, abs=1e-12)
    assert mcnemar_of_groups(np.zeros(5)) is None


def test_mcnemar_of_groups_of_one_row_is_mcnemars() -> None:
    """Chi-square is that of the rows, but for the factor 1 - 1 / n; copies of rows add nothing."""
    alone = np.repeat([1.0, -1.0, 0.0], [150, 86, 1_000_000])
    plain = mcnemar(150, 86)

    assert plain is not None
    assert plain.p_chi2 == pytest.approx(mcnemar_of_groups(alone), rel=1e-4)
    assert mcnemar_of_groups(alone) == mcnemar_of_groups(2 * alone)


def test_mcnemar_of_groups_errs_as_often_as_it_says() -> None:
    """Three alike contracts, two callers that know nothing: 5 % called different, not 20."""
    rng = np.random.default_rng(8)
    joint = plain = 0
    for _ in range(600):
        shared = rng.normal(size=(2, 300, 1)) * np.sqrt(0.85)
        calls = shared + rng.normal(size=(2, 300, 3)) * np.sqrt(0.15) > 0
        gaps = calls[0].astype(float) - calls[1]
        joint += (mcnemar_of_groups(gaps.sum(axis=1)) or 1.0) < 0.05
        plain += (mcnemar_of_groups(gaps.ravel()) or 1.0) < 0.05

    assert 0.05 == pytest.approx(joint / 600, abs=0.02)
    assert plain / 600 > 0.15


def test_mcnemar_does_not_care_which_is_called_a() -> None:
    """Turning the two round changes nothing; equal counts give p 1."""
    assert mcnemar(150, 86) == mcnemar(86, 150)
    even = mcnemar(7, 7)
    assert even is not None
    assert 1.0 == even.p_exact
    assert 1.0 == pytest.approx(even.p_chi2)


def test_mcnemar_without_a_difference_is_undefined() -> None:
    """Two series that never differ cannot be compared."""
    assert mcnemar(0, 0) is None


def test_diebold_mariano_with_one_step() -> None:
    """Case dm_h1: squared errors, small-sample factor, t distribution."""
    found = diebold_mariano(ERRORS_A**2, ERRORS_B**2, horizon=1)

    assert found is not None
    assert -0.8231205531788376 == pytest.approx(found.statistic, abs=1e-7)
    assert -0.8127664233583962 == pytest.approx(found.corrected, abs=1e-7)
    assert 0.42128596409431157 == pytest.approx(found.p_two_sided, abs=1e-7)
    assert not found.bartlett


def test_diebold_mariano_falls_back_where_its_variance_is_negative() -> None:
    """Case dm_negative_variance: Bartlett weights take over, and the result says so."""
    found = diebold_mariano(ERRORS_A**2, ERRORS_B**2, horizon=4)

    assert found is not None
    assert found.bartlett
    assert 0.06891899238774302 == pytest.approx(found.variance, abs=1e-9)
    assert -1.0232861790457206 == pytest.approx(found.statistic, abs=1e-9)


def test_diebold_mariano_of_a_loss_with_itself_is_undefined() -> None:
    """No difference has no variance, and too few rows have none that can be estimated."""
    assert diebold_mariano(ERRORS_A, ERRORS_A) is None
    assert diebold_mariano(ERRORS_A[:4], ERRORS_B[:4], horizon=4) is None


def test_ledoit_wolf_without_lags() -> None:
    """Case ledoit_wolf: difference, standard error and p."""
    found = ledoit_wolf(RETURNS_A, RETURNS_B)

    assert found is not None
    assert 0.0768093060096481 == pytest.approx(found.difference, abs=1e-7)
    assert 0.10721412843600481 == pytest.approx(found.error, abs=1e-7)
    assert 0.716410300863425 == pytest.approx(found.z, abs=1e-7)
    assert 0.47373803627871747 == pytest.approx(found.p_two_sided, abs=1e-7)


def test_ledoit_wolf_with_five_lags() -> None:
    """Case ledoit_wolf: Bartlett weights over five lags widen the error."""
    found = ledoit_wolf(RETURNS_A, RETURNS_B, lags=5)

    assert found is not None
    assert 0.117133962616565 == pytest.approx(found.error, abs=1e-7)
    assert 0.655738987172161 == pytest.approx(found.z, abs=1e-7)


def test_ledoit_wolf_needs_variance() -> None:
    """A flat series has no Sharpe ratio to compare."""
    assert ledoit_wolf(RETURNS_A, np.zeros(60)) is None
    assert ledoit_wolf(RETURNS_A[:4], RETURNS_B[:4]) is None
