"""AUC, its DeLong variance and intervals reproduce their cases and an independent count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpwalk.domain import FloatArray
from perpwalk.uncertainty.auc import (
    Placements,
    auc,
    delong_covariance,
    delong_interval,
    delong_test,
    delong_test_of_groups,
    null_sd,
    placements,
)

# Case delong_pair
LABEL = [1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1, 0]
SCORE_A = [0.9, 0.4, 0.65, 0.7, 0.5, 0.35, 0.3, 0.6, 0.8, 0.2, 0.55, 0.45]
SCORE_B = [0.7, 0.5, 0.6, 0.4, 0.65, 0.55, 0.35, 0.45, 0.75, 0.3, 0.5, 0.6]


def placed(label: object, score: object) -> Placements:
    found = placements(label, score)
    assert found is not None
    return found


def test_delong_of_two_scores() -> None:
    """Case delong_pair: AUCs, variances, covariance, z and p."""
    a, b = placed(LABEL, SCORE_A), placed(LABEL, SCORE_B)
    covariance = delong_covariance(a, b)
    found = delong_test(a, b)

    assert 0.8611111111111112 == pytest.approx(a.auc, abs=1e-6)
    assert 0.7222222222222222 == pytest.approx(b.auc, abs=1e-6)
    assert 0.014506172839506178 == pytest.approx(covariance[0, 0], abs=1e-6)
    assert 0.024691358024691364 == pytest.approx(covariance[1, 1], abs=1e-6)
    assert 0.004475308641975309 == pytest.approx(covariance[0, 1], abs=1e-6)
    assert found is not None
    assert 0.7985957062499252 == pytest.approx(found.z, abs=1e-6)
    assert 0.42452487817121176 == pytest.approx(found.p_two_sided, abs=1e-6)


def test_delong_of_groups_of_one_row_is_delongs() -> None:
    """Case delong_pair with every row a group of its own, and with every row twice in its group."""
    up = np.array(LABEL) == 1
    plain = delong_test(placed(LABEL, SCORE_A), placed(LABEL, SCORE_B))
    assert plain is not None

    for copies in (1, 2):
        label, a, b = (np.repeat(column, copies) for column in (LABEL, SCORE_A, SCORE_B))
        groups = np.repeat(np.arange(len(up)), copies)
        found = delong_test_of_groups(placed(label, a), placed(label, b), label == 1, groups)
        assert found is not None
        assert plain.z == pytest.approx(found.z, rel=1e-12)


def test_delong_of_groups_against_its_definition() -> None:
    """Obuchowski's sums over groups, written out pair by pair."""
    rng = np.random.default_rng(4)
    groups = np.repeat(np.arange(15), rng.integers(1, 5, 15))
    label = rng.random(len(groups)) < 0.5
    scores = rng.normal(size=(2, len(groups))).round(1)  # with ties

    def right(score: FloatArray, i: int, j: int) -> float:
        return float((score[i] > score[j]) + 0.5 * (score[i] == score[j]))

    ups, downs = np.flatnonzero(label), np.flatnonzero(~label)
    gap = np.array(
        [[right(scores[0], i, j) - right(scores[1], i, j) for j in downs] for i in ups]
    )  # fmt: skip
    x, y = gap.mean(axis=1) - gap.mean(), gap.mean(axis=0) - gap.mean()
    sums = [
        (x[groups[ups] == g].sum() / len(ups), y[groups[downs] == g].sum() / len(downs))
        for g in range(15)
    ]
    own = [len(np.unique(groups[rows])) for rows in (ups, downs)]
    variance = sum(n / (n - 1) * sum(s[k] ** 2 for s in sums) for k, n in enumerate(own))
    variance += 2 * 15 / 14 * sum(s[0] * s[1] for s in sums)

    found = delong_test_of_groups(*(placed(label, s) for s in scores), label, groups)
    assert found is not None
    assert gap.mean() / np.sqrt(variance) == pytest.approx(found.z)


def test_delong_of_groups_needs_two_groups_of_each_class() -> None:
    """All ups in one group: their spread between groups is unknown."""
    a, b = placed([1, 1, 0, 0], [0.4, 0.6, 0.3, 0.5]), placed([1, 1, 0, 0], [0.1, 0.6, 0.3, 0.5])

    assert delong_test_of_groups(a, b, np.array([1, 1, 0, 0]) == 1, np.array([0, 0, 1, 2])) is None


def test_an_interval_that_leaves_the_unit_interval_is_cut_and_says_so() -> None:
    """Case delong_pair: the plain interval reaches 1.097; it ends at 1 and is marked clipped."""
    found = delong_interval(placed(LABEL, SCORE_A))

    assert found is not None
    assert 0.6250499630265767 == pytest.approx(found.low, abs=1e-6)
    assert 1.0 == found.high
    assert found.clipped


def test_near_the_border_the_interval_is_built_on_the_logit_scale() -> None:
    """Above 0.95 the interval lies inside (0, 1), wider below than above."""
    label = np.array([0] * 40 + [1] * 40)
    score = np.concatenate([np.arange(40.0), np.arange(37.5, 77.5)])
    found = delong_interval(placed(label, score))
    value = placed(label, score).auc

    assert found is not None
    assert 0.95 < value < 1
    assert not found.clipped
    assert value - found.low > found.high - value > 0


def test_perfect_separation_still_has_an_interval() -> None:
    """An AUC of 1 from few rows is not known to be 1, nor is one of 0 known to be 0."""
    perfect = delong_interval(placed([0] * 10 + [1] * 10, np.arange(20)))
    reverse = delong_interval(placed([1] * 10 + [0] * 10, np.arange(20)))

    assert perfect is not None
    assert reverse is not None
    assert 1.0 == perfect.high
    assert 0.5 < perfect.low < 1
    assert (1 - perfect.low, 0.0) == pytest.approx((reverse.high, reverse.low))


def test_one_class_has_no_auc() -> None:
    """With one class there is no AUC, and with one row of a class no interval."""
    assert auc([1, 1, 1], [0.1, 0.2, 0.3]) is None
    assert auc([0, 0], [0.1, 0.2]) is None
    assert delong_interval(placed([1, 0, 0], [0.1, 0.2, 0.3])) is None


def test_a_constant_score_knows_nothing() -> None:
    """Ties count half: a constant has AUC 0.5, and no difference from itself."""
    constant = placed(LABEL, np.ones(12))

    assert 0.5 == constant.auc
    assert delong_test(constant, constant) is None


def test_overlap_widens_the_interval() -> None:
    """A variance inflation of 4 doubles the width."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 2, 500)
    found = placed(label, rng.normal(size=500))
    plain, wide = delong_interval(found), delong_interval(found, vif=4.0)

    assert plain is not None
    assert wide is not None
    assert 2 * (plain.high - plain.low) == pytest.approx(wide.high - wide.low)


@pytest.mark.parametrize(
    ("ups", "downs", "sd"),
    [
        pytest.param(4142, 3987, 0.006405108407732447, id="auc_null_4142_3987"),
        pytest.param(50, 50, 0.058022983951764036, id="auc_null_50_50"),
    ],
)
def test_null_band(ups: int, downs: int, sd: float) -> None:
    """Cases auc_null_*: the spread of a score that knows nothing."""
    assert sd == pytest.approx(null_sd(ups, downs), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(data=st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=40))
def test_auc_is_the_share_of_pairs_ranked_right(data: list[tuple[bool, int]]) -> None:
    """It equals the count over all pairs, ties half; turning the score round mirrors it."""
    label = np.array([int(up) for up, _ in data])
    score = np.array([value for _, value in data], dtype=float)
    ups, downs = score[label == 1], score[label == 0]
    found = auc(label, score)
    if len(ups) == 0 or len(downs) == 0:
        assert found is None
        return
    pairs = (ups[:, None] > downs) + 0.5 * (ups[:, None] == downs)

    assert found is not None
    assert float(pairs.mean()) == pytest.approx(found)
    assert 1 - found == pytest.approx(auc(label, -score))
    assert found == pytest.approx(auc(label, np.exp(score)))


def test_auc_and_influence_agree_with_the_library() -> None:
    """scikit-learn gives the same AUC; the influence has mean 0 and the DeLong variance."""
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(2)
    label = rng.integers(0, 2, 4000)
    score = np.round(rng.normal(size=4000) + 0.3 * label, 1)
    found = placed(label, score)
    pull = found.influence(label == 1)

    assert roc_auc_score(label, score) == pytest.approx(found.auc)
    assert 0.0 == pytest.approx(pull.mean(), abs=1e-12)
    assert delong_covariance(found)[0, 0] == pytest.approx(pull.var() / 4000, rel=2e-3)
