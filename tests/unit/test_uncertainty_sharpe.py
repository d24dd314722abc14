"""Sharpe ratios, their errors and deflation reproduce the papers' figures."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perpwalk.uncertainty.sharpe import (
    SharpeStats,
    annualisation_factor,
    deflated_sharpe,
    expected_maximum,
    minimum_backtest_years,
    minimum_track_record,
    probabilistic_sharpe,
    probabilistic_sharpe_at_null,
    sharpe_stats,
)

# Case sharpe_12
RETURNS = np.array(
    [0.012, -0.008, 0.004, 0.021, -0.015, 0.006, 0.009, -0.003, 0.017, -0.011, 0.002, 0.008]
)
# Case psr_paper: the hedge fund of the 2012 paper, monthly
FUND = SharpeStats(1.59 / math.sqrt(12), -2.448, 10.164, 24)


def test_sharpe_of_twelve_returns() -> None:
    """Case sharpe_12: ratio, moments, both errors, probability of skill, annual figure."""
    found = sharpe_stats(RETURNS)

    assert found is not None
    assert 0.3162864516935085 == pytest.approx(found.sharpe, abs=1e-9)
    assert -0.17321587653576767 == pytest.approx(found.skew, abs=1e-9)
    assert 2.078089890427131 == pytest.approx(found.kurtosis, abs=1e-9)
    assert 0.29580660345379306 == pytest.approx(found.lo_error(), abs=1e-9)
    assert 0.3135932638964164 == pytest.approx(found.mertens_error(), abs=1e-9)
    assert 0.8434139050035818 == pytest.approx(probabilistic_sharpe(found), abs=1e-9)
    assert 29.602789852273418 == pytest.approx(found.sharpe * math.sqrt(8760), abs=1e-9)


@pytest.mark.parametrize(
    "returns",
    [np.array([]), np.array([0.01, 0.02]), np.zeros(50), np.full(50, 0.1), np.full(9, 1e-7)],
    ids=["none", "two", "flat", "constant", "tiny constant"],
)
def test_no_variance_no_ratio(returns: np.ndarray) -> None:
    """A series without variance, also one whose variance is rounding, has no Sharpe ratio."""
    assert sharpe_stats(returns) is None


def test_scale_and_sign() -> None:
    """The ratio does not depend on scale and turns its sign with the returns."""
    one, two, minus = (sharpe_stats(k * RETURNS) for k in (1, 250, -1))

    assert one is not None
    assert two is not None
    assert minus is not None
    assert one.sharpe == pytest.approx(two.sharpe)
    assert one.sharpe == pytest.approx(-minus.sharpe)
    assert one.skew == pytest.approx(-minus.skew)


def test_probability_of_skill_of_the_papers_fund() -> None:
    """Case psr_paper: 0.914 with its moments, 0.982 if returns were normal."""
    normal = SharpeStats(FUND.sharpe, 0.0, 3.0, 24)

    assert 0.9136401638918606 == pytest.approx(probabilistic_sharpe(FUND), abs=1e-6)
    assert 0.981858472823098 == pytest.approx(probabilistic_sharpe(normal), abs=1e-6)


@pytest.mark.parametrize(
    ("periods", "rows"),
    [
        pytest.param(250, 682.796950432044, id="mintrl_daily"),
        pytest.param(12, 38.87760835733577, id="mintrl_monthly"),
    ],
)
def test_minimum_track_record(periods: int, rows: float) -> None:
    """Cases mintrl_*: years needed to tell an annual ratio of 2 from one of 1."""
    stats = SharpeStats(2 / math.sqrt(periods), 0.0, 3.0, 1000)
    found = minimum_track_record(stats, 1 / math.sqrt(periods))

    assert rows == pytest.approx(found, abs=1e-6)


def test_no_track_record_shows_what_is_not_there() -> None:
    """A ratio that does not exceed the benchmark never will."""
    assert minimum_track_record(SharpeStats(0.01, 0, 3, 100), 0.02) is None


def test_deflated_sharpe_of_the_paper() -> None:
    """Case dsr_paper: 100 trials push the bar to 0.1132 a day and the probability to 0.90."""
    stats = SharpeStats(2.5 / math.sqrt(250), -3.0, 10.0, 1250)

    luck = math.sqrt(0.5 / 250) * expected_maximum(100)
    assert 0.11317200186513214 == pytest.approx(luck, abs=1e-6)
    assert 0.9003968344493903 == pytest.approx(deflated_sharpe(stats, 100, 0.5 / 250), abs=1e-6)


def test_one_trial_needs_no_deflation() -> None:
    """With a single trial the deflated probability is the plain one."""
    assert probabilistic_sharpe(FUND) == deflated_sharpe(FUND, 1, 0.5)


@pytest.mark.parametrize(
    ("trials", "best", "years"),
    [
        pytest.param(7, 1.3867744613541602, 1.923143406664121, id="emax_7"),
        pytest.param(10, 1.57459830134575, 2.4793598106009216, id="emax_10"),
        pytest.param(100, 2.5306028932016846, 6.403951003080737, id="emax_100"),
        pytest.param(1000, 3.255121513652723, 10.595816068644794, id="emax_1000"),
    ],
)
def test_expected_best_of_many_null_trials(trials: int, best: float, years: float) -> None:
    """Cases emax_*."""
    assert best == pytest.approx(expected_maximum(trials), abs=1e-6)
    assert years == pytest.approx(minimum_backtest_years(trials), abs=1e-6)


def test_the_form_with_the_variance_at_the_null() -> None:
    """Case psr_2026_rho0.0: the same fund has 0.987 instead of 0.914."""
    stats = SharpeStats(0.036 / 0.079, -2.448, 10.164, 24)

    assert 0.9872072612614331 == pytest.approx(probabilistic_sharpe_at_null(stats), abs=1e-6)
    assert 0.9391476251031434 == pytest.approx(probabilistic_sharpe_at_null(stats, 0.1), abs=1e-6)
    assert probabilistic_sharpe_at_null(stats, 0.0, 0.3) < probabilistic_sharpe_at_null(stats)


@pytest.mark.parametrize(
    ("rho", "factor"),
    [
        pytest.param(0.0, 3.464101615137755, id="lo_eta_ar1_0.0"),
        pytest.param(0.2, 2.87884869052744, id="lo_eta_ar1_0.2"),
    ],
)
def test_annualisation_with_dependence(rho: float, factor: float) -> None:
    """Cases lo_eta_*: positive autocorrelation makes a year worth less than its root."""
    correlations = rho ** np.arange(1, 12)

    assert factor == pytest.approx(annualisation_factor(12, correlations), abs=1e-9)
    assert math.sqrt(12) == annualisation_factor(12)
