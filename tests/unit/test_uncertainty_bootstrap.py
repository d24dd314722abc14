"""The bootstrap is held against closed forms, a library and its own coverage."""

from __future__ import annotations

import numpy as np
import pytest

from perpwalk.domain import Level
from perpwalk.uncertainty import overlap
from perpwalk.uncertainty.auc import auc
from perpwalk.uncertainty.bootstrap import (
    Target,
    auc_of,
    automatic_block_length,
    bootstrap,
    bootstrap_estimates,
    choose_block,
    mean_of,
    sharpe_of,
    stationary_variance_of_mean,
)
from perpwalk.uncertainty.draws import Draws, draw
from perpwalk.uncertainty.estimate import Estimate


def congruential(seed: int, count: int) -> np.ndarray:
    """Normals of the cases' own generator: sums of twelve uniforms, less six."""
    state, values = seed, []
    for _ in range(count):
        total = 0.0
        for _ in range(12):
            state = (1664525 * state + 1013904223) % 2**32
            total += state / 2**32
        values.append(total - 6)
    return np.array(values)


def autoregressive(n: int = 400, rho: float = 0.5) -> np.ndarray:
    """The series of case politis_white."""
    noise = congruential(2024, n)
    series = noise.copy()
    for i in range(1, n):
        series[i] = rho * series[i - 1] + noise[i]
    return series


def test_the_generator_is_that_of_the_cases() -> None:
    """Case politis_white: first and last values."""
    series = autoregressive()

    first = [1.0778167978860438, 1.022096993168816, 0.009124136879108846]
    assert first == pytest.approx(series[:3].tolist(), abs=1e-9)
    assert -1.0011212035550443 == pytest.approx(series[-1], abs=1e-9)


def test_automatic_block_length() -> None:
    """Case politis_white: 7.93 rows for the dependent series, 1.16 for its noise."""
    assert 7.929569849100607 == pytest.approx(automatic_block_length(autoregressive()), abs=1e-4)
    white = automatic_block_length(congruential(2024, 400))
    assert 1.1586749933620268 == pytest.approx(white, abs=1e-4)


@pytest.mark.parametrize("rho", [0.0, 0.4, 0.95, -0.6])
@pytest.mark.parametrize("n", [25, 300, 3000])
def test_automatic_block_length_is_that_of_arch(rho: float, n: int) -> None:
    """It equals the library's on every kind of series."""
    from arch.bootstrap import optimal_block_length

    rng = np.random.default_rng(n)
    series = rng.normal(size=n)
    for i in range(1, n):
        series[i] += rho * series[i - 1]
    expected = float(optimal_block_length(series)["stationary"].iloc[0])

    assert expected == pytest.approx(automatic_block_length(series), rel=1e-9)


def test_a_flat_series_has_no_block_length() -> None:
    """Neither has one too short to show dependence."""
    assert automatic_block_length(np.ones(100)) is None
    assert automatic_block_length(np.arange(10.0)) is None


def test_variance_of_the_bootstrap_mean_in_closed_form() -> None:
    """Case sb_variance_mean: 1.458 times the independent one."""
    series = autoregressive()[:100]
    found = stationary_variance_of_mean(series, 10.0)

    assert 0.015786647609635225 == pytest.approx(found, abs=1e-9)
    assert 1.4577602664265354 == pytest.approx(found / (series.var() / 100), abs=1e-9)


def test_the_engine_has_the_closed_forms_variance() -> None:
    """Case sb_variance_mean: 20,000 resamples come within 3 % of it."""
    series = autoregressive()[:100]
    drawn = bootstrap([mean_of(series)], 100, 10.0, resamples=20_000, seed=4)[0]

    assert stationary_variance_of_mean(series, 10.0) == pytest.approx(float(drawn.var()), rel=0.03)
    assert series.mean() == pytest.approx(float(drawn.mean()), abs=0.004)


def test_resamples_are_whole_and_made_of_blocks() -> None:
    """Each has n rows of the series, mostly followed by their neighbour, around the end too."""
    draws = draw(50, 8.0, 400, np.random.default_rng(1))
    rows = draws.rows()

    assert (400, 50) == rows.shape
    assert 0 == rows.min()
    assert 49 == rows.max()
    follows = (np.diff(rows, axis=1) % 50) == 1
    assert 1 - 1 / 8 == pytest.approx(float(follows.mean()), abs=0.02)
    assert np.bincount(rows.ravel()).std() / 400 < 0.15


def test_means_by_blocks_equal_means_by_rows() -> None:
    """The prefix sums give what gathering every row gives."""
    values = np.random.default_rng(2).normal(100.0, 1.0, size=73)
    draws = draw(73, 5.0, 60, np.random.default_rng(3))

    assert values[draws.rows()].mean(axis=1) == pytest.approx(draws.means(values)[0], rel=1e-12)


def test_statistics_of_the_sample_itself() -> None:
    """The resample that is the sample gives the plain AUC and Sharpe ratio."""
    rng = np.random.default_rng(4)
    score, label = np.round(rng.normal(size=200), 1), rng.integers(0, 2, 200)
    whole = Draws(200, np.array([0]), np.array([200]), np.array([0]))

    assert auc(label, score) == pytest.approx(float(auc_of(label, score)(whole)[0]))
    expected = score.mean() / score.std(ddof=1)
    assert expected == pytest.approx(float(sharpe_of(score)(whole)[0]))


def test_auc_of_resamples_equals_auc_of_their_rows() -> None:
    """Counting gives what ranking each resample anew gives, one-class ones undefined."""
    rng = np.random.default_rng(5)
    label = (np.arange(30) >= 27).astype(int)
    score = np.round(rng.normal(size=30), 1)
    draws = draw(30, 3.0, 200, rng)
    found = auc_of(label, score)(draws)
    expected = [auc(label[rows], score[rows]) for rows in draws.rows()]

    assert any(value is None for value in expected)
    assert [np.nan if v is None else v for v in expected] == pytest.approx(
        found.tolist(), nan_ok=True
    )


def estimate(target: Target, **options: object) -> tuple[Estimate, tuple[str, ...]]:
    (found,), findings = bootstrap_estimates([target], **options)
    return found, tuple(f.code for f in findings)


def test_the_same_seed_gives_the_same_interval() -> None:
    """An estimate says its block and seed, and repeats."""
    hits = (np.random.default_rng(6).random(900) < 0.54).astype(float)
    target = Target.mean("accuracy", hits)
    one, _ = estimate(target, horizon=1, seed=3)
    two, _ = estimate(target, horizon=1, seed=3)
    other, _ = estimate(target, horizon=1, seed=4)

    assert one == two
    assert one.low != other.low
    assert 3 == one.seed
    assert one.low < one.value < one.high
    assert "stationary bootstrap" in one.method


def test_the_block_is_at_least_twice_the_horizon() -> None:
    """Overlapping labels reach over the horizon whatever the series shows."""
    noise = np.random.default_rng(7).normal(size=2000)

    assert 48.0 == choose_block(noise, horizon=24).length
    assert 2.0 <= choose_block(noise, horizon=1).length < 10


def test_a_block_beyond_a_tenth_of_the_rows_is_cut_and_told() -> None:
    """U002: a trend depends on its past for longer than the sample can show."""
    walk = np.cumsum(np.random.default_rng(1).normal(size=200))
    found = choose_block(walk, horizon=1)

    assert found.automatic is not None
    assert found.automatic > 20.0
    assert 20.0 == found.length
    assert ["U002"] == [f.code for f in found.findings]


def test_too_few_blocks_are_an_error_without_an_interval() -> None:
    """U001: 100 rows of a 24-bar label have no interval."""
    found, codes = estimate(
        Target.mean("accuracy", np.random.default_rng(8).normal(size=100)), horizon=24
    )

    assert ("U001",) == codes
    assert found.low is None
    assert found.high is None
    assert found.reason is not None


def test_many_undefined_resamples_are_an_error() -> None:
    """U004: with three rows of a class, many resamples have none of it."""
    label = (np.arange(60) >= 57).astype(int)
    score = np.random.default_rng(9).normal(size=60)
    value = auc(label, score)
    assert value is not None
    _, findings = bootstrap_estimates(
        [Target("AUC", value, auc_of(label, score), score)], horizon=1
    )

    assert "U004" in [f.code for f in findings]
    assert all(f.level is Level.ERROR for f in findings if f.code == "U004")


def test_few_blocks_widen_the_interval() -> None:
    """Below 200 blocks Student's t takes the place of the normal."""
    values = np.random.default_rng(10).normal(size=120)
    found, _ = estimate(Target.mean("mean", values), horizon=5, resamples=4000)
    drawn = bootstrap([mean_of(values)], 120, found.block, resamples=4000)[0]
    plain = np.quantile(drawn, [0.025, 0.975])

    assert found.high - found.low > 1.1 * (plain[1] - plain[0])


def test_overlapping_labels_are_covered_where_independent_intervals_are_not() -> None:
    """At h = 12 a Wilson interval misses far more often than the bootstrap's."""
    rng = np.random.default_rng(11)
    covered = {"bootstrap": 0, "independent": 0}
    for _ in range(60):
        steps = rng.normal(size=1511)
        sums = np.cumsum(steps)
        hits = (sums[12:] > sums[:-12]).astype(float)
        found, _ = estimate(Target.mean("accuracy", hits), horizon=12, resamples=300)
        half = 1.96 * np.sqrt(0.25 / len(hits))
        covered["bootstrap"] += found.low <= 0.5 <= found.high
        covered["independent"] += abs(hits.mean() - 0.5) <= half

    assert covered["bootstrap"] >= 50
    assert covered["independent"] <= 40


@pytest.mark.parametrize(
    ("horizon", "vif", "effective"),
    [
        pytest.param(1, 1.0, 8129.0, id="overlap_vif_h1"),
        pytest.param(4, 3.068175335036868, 2649.4574502217356, id="overlap_vif_h4"),
        pytest.param(24, 17.514271627728654, 464.13577297328993, id="overlap_vif_h24"),
    ],
)
def test_overlap_inflates_the_variance(horizon: int, vif: float, effective: float) -> None:
    """Cases overlap_vif_*."""
    assert vif == pytest.approx(overlap.overlap_vif(horizon), abs=1e-9)
    assert effective == pytest.approx(8129 / overlap.overlap_vif(horizon), abs=1e-6)


def test_estimated_inflation_approaches_the_formula() -> None:
    """For a constant forecast of overlapping moves it comes near; for noise it is 1."""
    steps = np.random.default_rng(12).normal(size=40_000)
    sums = np.cumsum(steps)
    hits = (sums[4:] > sums[:-4]).astype(float)

    assert overlap.overlap_vif(4) == pytest.approx(overlap.estimated_vif(hits, 4), rel=0.25)
    assert overlap.estimated_vif((steps > 0).astype(float), 1) < 1.3
    assert 1.0 == overlap.estimated_vif(np.ones(50), 4)
    assert 1.0 == overlap.estimated_vif(np.tile([0.0, 1.0], 500), 1)


@pytest.mark.parametrize(
    ("horizon", "shifts", "agreement"),
    [
        pytest.param(1, (1, 2, 1), (0.5, 0.5, 0.5), id="shift_agreement_h1"),
        pytest.param(
            4, (1, 2, 4), (0.7699465438373841, 0.6666666666666667, 0.5), id="shift_agreement_h4"
        ),
        pytest.param(
            24, (1, 2, 24), (0.9077897659118526, 0.8691307538383264, 0.5), id="shift_agreement_h24"
        ),
    ],
)
def test_a_label_agrees_with_its_own_shift(
    horizon: int, shifts: tuple[int, ...], agreement: tuple[float, ...]
) -> None:
    """Cases shift_agreement_*: so an audit must ask for exactness at 0, not for the maximum."""
    found = [overlap.shift_agreement(horizon, k) for k in shifts]

    assert list(agreement) == pytest.approx(found, abs=1e-9)


@pytest.mark.parametrize(
    ("vif", "rows"),
    [
        pytest.param(1.0, 15456.393080049414, id="mde_acc_0.01_1.0"),
        pytest.param(17.514271627728654, 270707.466788931, id="mde_acc_0.01_17.5"),
    ],
)
def test_rows_to_see_an_accuracy_edge(vif: float, rows: float) -> None:
    """Cases mde_acc_*: one point of accuracy."""
    assert rows == pytest.approx(overlap.rows_to_detect_accuracy(0.01, vif), rel=1e-6)


@pytest.mark.parametrize(
    ("edge", "rows"),
    [
        pytest.param(0.005, 133813.71022393453, id="mde_auc_0.005"),
        pytest.param(0.02, 8363.356888995908, id="mde_auc_0.02"),
    ],
)
def test_rows_to_see_an_auc_edge(edge: float, rows: float) -> None:
    """Cases mde_auc_*."""
    assert rows == pytest.approx(overlap.rows_to_detect_auc(edge), rel=1e-6)


def test_long_run_variance_is_that_of_the_library() -> None:
    """Bartlett weights equal statsmodels' on a centred series."""
    from statsmodels.stats.sandwich_covariance import S_hac_simple

    series = autoregressive()
    centred = (series - series.mean())[:, None]
    expected = float(S_hac_simple(centred, nlags=5)[0, 0]) / 400

    assert expected == pytest.approx(overlap.long_run_variance(series, 5), rel=1e-9)
