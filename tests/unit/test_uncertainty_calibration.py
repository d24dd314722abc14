"""Calibration figures reproduce their cases; bins are counted, not interpolated."""

from __future__ import annotations

import numpy as np
import pytest

from perpwalk.uncertainty import calibration

# Case brier_ece
LABEL = [1, 0, 1, 1, 0, 0, 1, 0, 1, 0]
P_UP = [0.9, 0.1, 0.8, 0.55, 0.45, 0.3, 0.6, 0.65, 0.7, 0.2]


def test_brier_and_its_kin() -> None:
    """Case brier_ece: score, skill, log loss, calibration error, Murphy's parts, Spiegelhalter."""
    parts = calibration.brier_parts(LABEL, P_UP, bins=5)
    test = calibration.spiegelhalter(LABEL, P_UP)

    assert 0.12675 == pytest.approx(calibration.brier_score(LABEL, P_UP), abs=1e-9)
    assert 0.493 == pytest.approx(calibration.brier_skill(LABEL, P_UP, 0.5), abs=1e-9)
    assert 0.4126679771597447 == pytest.approx(calibration.log_loss(LABEL, P_UP), abs=1e-9)
    error = calibration.expected_calibration_error(LABEL, P_UP, bins=5)
    assert 0.12500000000000003 == pytest.approx(error, abs=1e-9)
    assert 0.02058333333333334 == pytest.approx(parts.reliability, abs=1e-9)
    assert 0.11666666666666667 == pytest.approx(parts.resolution, abs=1e-9)
    assert 0.25 == pytest.approx(parts.uncertainty, abs=1e-9)
    assert test is not None
    assert -1.0663448405900353 == pytest.approx(test.z, abs=1e-9)
    assert 0.2862677864392128 == pytest.approx(test.p_two_sided, abs=1e-9)


def test_scores_agree_with_the_library() -> None:
    """scikit-learn gives the same Brier score and log loss."""
    from sklearn.metrics import brier_score_loss, log_loss

    rng = np.random.default_rng(0)
    p = rng.uniform(0.01, 0.99, 500)
    y = (rng.random(500) < p).astype(int)

    assert brier_score_loss(y, p) == pytest.approx(calibration.brier_score(y, p))
    assert log_loss(y, p) == pytest.approx(calibration.log_loss(y, p))


def test_certainty_that_fails_costs_much_but_not_infinitely() -> None:
    """A probability of exactly 0 for what came stays finite."""
    assert 30 < calibration.log_loss([1], [0.0]) < 40


def test_a_perfect_reference_has_no_skill_to_compare() -> None:
    """Skill against a base rate that is always right is undefined."""
    assert calibration.brier_skill([1, 1], [0.9, 0.8], 1.0) is None
    assert calibration.spiegelhalter([1, 0], [0.5, 0.5]) is None


def test_stability_index() -> None:
    """Case psi; no change is 0, and an empty bin is floored."""
    actual = [0.05, 0.07, 0.08, 0.1, 0.1, 0.1, 0.12, 0.12, 0.13, 0.13]
    uniform = [0.1] * 10

    assert 0.07285519651225107 == pytest.approx(
        calibration.stability_index(uniform, actual), abs=1e-12
    )
    assert 0.0 == calibration.stability_index(uniform, uniform)
    assert np.isfinite(calibration.stability_index([0.5, 0.5], [1.0, 0.0]))


def test_drift_of_scores() -> None:
    """Scores from one distribution do not drift; shifted ones do; a constant has no deciles."""
    rng = np.random.default_rng(3)
    reference = rng.normal(0.5, 0.03, 4000)

    same = calibration.score_drift(reference, rng.normal(0.5, 0.03, 4000))
    moved = calibration.score_drift(reference, rng.normal(0.53, 0.03, 4000))
    assert same is not None
    assert moved is not None
    assert same < 0.02
    assert moved > 0.25
    assert calibration.score_drift(np.full(100, 0.5), reference) is None


def test_right_closed_bins() -> None:
    """0.2 of five bins belongs to the first, 0 too, 1 to the last."""
    assert [0, 0, 1, 4] == calibration._bins(np.array([0.0, 0.2, 0.21, 1.0]), 5).tolist()


def test_the_sigmoid_of_a_regressor_on_0_and_1_never_says_down() -> None:
    """Case sigmoid_of_01: its class is always 1 (what P004 looks for)."""
    f = np.array([0.0, 0.05, 0.3, 0.7, 1.0])
    p = 1 / (1 + np.exp(-f))

    expected = [0.5, 0.5124973964842103, 0.574442516811659, 0.6681877721681662, 0.7310585786300049]
    assert expected == pytest.approx(p.tolist(), abs=1e-9)
    assert (p >= 0.5).all()


def test_the_line_of_right_probabilities_has_slope_one() -> None:
    """Labels drawn with the called log-odds doubled and moved: slope 2 and intercept 0.5 again."""
    rng = np.random.default_rng(3)
    called = rng.normal(0, 0.6, 40_000)
    truth = 1 / (1 + np.exp(-(0.5 + 2 * called)))
    line = calibration.calibration_line(rng.random(40_000) < truth, 1 / (1 + np.exp(-called)))

    assert pytest.approx(2.0, abs=0.08) == line.slope
    assert pytest.approx(0.5, abs=0.04) == line.intercept


@pytest.mark.parametrize(
    ("label", "p_up"),
    [([1, 1, 1], [0.4, 0.5, 0.6]), ([0, 1, 1], [0.5, 0.5, 0.5]), ([0, 0, 1], [0.1, 0.2, 0.9])],
)
def test_there_is_no_line_through_one_class_a_constant_or_a_clean_cut(
    label: list[int], p_up: list[float]
) -> None:
    """None, not a slope of nothing or of infinity."""
    assert None is calibration.calibration_line(label, p_up)
