"""The probability of backtest overfitting reproduces its case and knows noise."""

from __future__ import annotations

import numpy as np
import pytest

from perpwalk.uncertainty.overfitting import overfitting_by_blocks, probability_of_overfitting

# Case pbo_small
MATRIX = np.array(
    [
        [-0.02496, 0.008329, -0.008382, -0.005093, 0.008195],
        [-0.009496, -0.019269, 0.000958, 0.011184, 0.011411],
        [0.007228, 0.007581, -0.002065, 0.028288, -0.011359],
        [-0.008012, -0.025474, 0.007064, 0.009602, 0.01214],
        [0.005829, -0.001467, 0.001237, 0.033941, -0.003354],
        [0.008128, 0.007963, -0.012201, -0.002366, 0.017469],
        [0.013836, 0.010347, -0.003142, 0.003369, -0.00012],
        [-0.009253, 0.012223, 0.013699, 0.005175, 0.006652],
        [-0.006318, -0.004577, 0.027164, -0.001095, 0.000647],
        [-0.007529, -0.005817, -0.014106, -0.002395, -0.000684],
        [0.000591, 0.007441, -0.00571, -0.008861, 0.017989],
        [0.001342, -0.009287, 8.3e-05, -0.000547, 0.018823],
        [0.018445, 0.001909, -0.024628, 0.018836, 0.0023],
        [0.017921, 0.005472, 0.003024, 0.020575, -0.001874],
        [-0.001861, -0.010788, -0.019714, 0.001359, -0.007568],
        [-0.005099, 0.018208, -0.008485, 0.004822, 0.008129],
        [0.008441, -0.009842, 0.001874, -0.006409, 0.005307],
        [0.009215, -0.003451, 0.003882, 0.001215, -0.001452],
        [0.009353, -0.005979, -0.011311, 0.003358, -0.011974],
        [0.016649, 0.000304, 0.01396, 0.007615, 0.02127],
        [-0.002032, -0.010905, 0.000222, 0.011348, 0.012475],
        [-0.011056, 0.008261, -0.012423, -0.023106, 0.006211],
        [0.006832, -0.014266, 0.014635, -0.006463, -0.007561],
        [-0.006587, 0.017479, -0.008456, -0.00439, 0.009675],
        [0.004802, -0.008097, -0.000995, -0.003894, -0.016792],
        [0.005048, -0.00491, -0.014868, 0.005175, -0.004783],
        [0.000403, 0.001225, -0.007954, 0.002868, 0.013689],
        [-0.008875, 0.012593, -0.005939, 0.005529, -0.003003],
        [-0.002307, -0.006477, -0.010646, 0.005184, 0.001014],
        [-0.00168, 0.012651, -0.003017, 0.021314, -0.004354],
        [-0.005382, -0.012124, 0.001134, 0.004391, 0.017649],
        [-0.017686, 0.00839, -0.005534, 0.010542, -0.003382],
        [-0.006129, -0.001846, -0.007563, 0.00672, -0.008997],
        [-0.010096, -0.004808, -0.00952, 0.005767, 0.001055],
        [-0.013744, 0.001077, 0.005898, 0.000719, -0.004459],
        [0.003614, -0.015004, -0.003622, 0.007761, -0.000857],
        [-0.003459, -0.003248, -0.013036, 0.007175, 0.017386],
        [-0.001202, -0.006908, 0.007387, 0.001682, -0.004024],
        [-0.018177, 0.011727, -0.00837, -0.008466, -0.008562],
        [-0.006742, 0.007421, 0.001583, -0.004254, 0.009908],
        [0.002384, 0.004532, -0.003321, 0.008827, -0.019026],
        [-0.000652, -0.009634, -0.008616, 0.012402, 0.00342],
        [0.005051, -0.00627, 0.002409, 0.011087, -0.000234],
        [-0.011417, -0.016944, -0.002472, -0.007999, -0.013527],
        [-0.000942, -0.011536, 0.01787, -0.012724, 0.006683],
        [-0.021247, 0.002158, 0.005563, -0.001032, 0.012373],
        [0.0244, 0.001501, 0.018602, 0.005702, -0.007197],
        [0.003526, -0.000824, 0.014825, 0.020475, 0.006125],
    ]
)  # fmt: skip


def test_pbo_of_a_small_matrix() -> None:
    """Case pbo_small: 48 bars, 5 variants, 6 blocks; one variant is good everywhere."""
    found = probability_of_overfitting(MATRIX, blocks=6)

    assert found is not None
    assert 20 == found.splits
    assert 0.0 == found.pbo
    assert 1.151292546497023 == pytest.approx(float(np.median(found.logits)), abs=1e-9)
    assert 1.1512925464970227 == pytest.approx(float(found.logits.mean()), abs=1e-9)


def test_pbo_of_noise_is_about_a_half() -> None:
    """Among variants that know nothing, the best in sample is nothing special out of sample."""
    rng = np.random.default_rng(5)
    found = [probability_of_overfitting(rng.normal(size=(320, 8)), blocks=8) for _ in range(40)]

    mean = float(np.mean([f.pbo for f in found if f is not None]))
    assert 0.4 < mean < 0.6


def test_pbo_does_not_depend_on_the_order_of_variants() -> None:
    """Columns in another order give the same probability."""
    rng = np.random.default_rng(6)
    returns = rng.normal(size=(200, 6))
    one = probability_of_overfitting(returns, blocks=10)
    two = probability_of_overfitting(returns[:, ::-1], blocks=10)

    assert one is not None
    assert two is not None
    assert one.pbo == two.pbo


def test_pbo_needs_two_variants_and_enough_rows() -> None:
    """One variant cannot be overfitted by choice; blocks of one row have no variance."""
    assert probability_of_overfitting(MATRIX[:, :1], blocks=6) is None
    assert probability_of_overfitting(MATRIX[:7], blocks=6) is None
    with pytest.raises(ValueError, match="even"):
        probability_of_overfitting(MATRIX, blocks=5)


def test_pbo_is_shown_for_several_cuts_of_time() -> None:
    """One answer per number of blocks that leaves two rows each, none where none does."""
    returns = np.random.default_rng(7).normal(size=(25, 4))
    found = overfitting_by_blocks(returns)

    assert [6, 8, 10, 12] == [one.blocks for one in found]
    assert [20, 70, 252, 924] == [one.splits for one in found]
    assert probability_of_overfitting(returns, 8).pbo == found[1].pbo
    assert () == overfitting_by_blocks(returns[:, :1])
