"""The simulated market keeps what its description promises."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, rankdata

from perpwalk.config import Simulate
from perpwalk.data import funding_coverage, read_bars
from perpwalk.domain import FloatArray, Market
from perpwalk.errors import ConfigError
from perpwalk.simulate import best_accuracy, best_auc, oracle_score, simulate_market

HOUR = pd.Timedelta("1h")
COLUMNS = ("open", "high", "low", "close", "volume")


def simulate(bars: int, seed: int = 1, interval: pd.Timedelta = HOUR, **settings: object) -> Market:
    section = Simulate.model_validate({"bars": bars, **settings})
    return simulate_market(section, symbol="SIMUSDT", interval=interval, seed=seed)


def next_signs(market: Market) -> np.ndarray:
    return np.diff(np.log(market.bars.close)) > 0


def auc(label: np.ndarray, score: FloatArray) -> float:
    ranks, positive = rankdata(score), int(label.sum())
    below = ranks[label].sum() - positive * (positive + 1) / 2
    return float(below / (positive * (len(label) - positive)))


@pytest.fixture(scope="module")
def edgeless() -> Market:
    return simulate(100_000, edge=0.0)


# ── the edge ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("rho", "expected_auc", "expected_accuracy"),
    [
        (0.0, 0.5, 0.5),
        pytest.param(0.02, 0.5090034632940225, 0.50636662221327, id="gauss_auc_rho0.02"),
        pytest.param(0.1, 0.5450534136444121, 0.53188428042926, id="gauss_auc_rho0.1"),
        pytest.param(0.2, 0.590334470601733, 0.564094216848975, id="gauss_auc_rho0.2"),
        pytest.param(1.0, 1.0, 1.0, id="gauss_auc_rho1.0"),
    ],
)
def test_the_best_reachable_scores_are_the_closed_form(rho, expected_auc, expected_accuracy):
    """Orthant probabilities of the trivariate normal (cases gauss_auc_*)."""
    assert pytest.approx(expected_auc, abs=1e-9) == best_auc(rho)
    assert pytest.approx(expected_accuracy, abs=1e-9) == best_accuracy(rho)


@pytest.mark.parametrize("edge", [0.0, 0.1, 0.2, 0.5])
def test_the_oracle_reaches_the_closed_form(edge):
    """AUC and accuracy of s_t are within four standard errors of the truth that is stated."""
    market = simulate(100_000, seed=17, edge=edge)
    up, score = next_signs(market), oracle_score(market.bars)[:-1]
    band = 4 * 0.5 / np.sqrt(len(up))

    assert {"edge": edge, "best_auc": best_auc(edge), "best_accuracy": best_accuracy(edge)} == dict(
        market.truth
    )
    assert pytest.approx(market.truth["best_auc"], abs=band) == auc(up, score)
    assert pytest.approx(market.truth["best_accuracy"], abs=band) == ((score > 0) == up).mean()


def test_log_volume_is_all_it_takes(edgeless):
    """Ranking by the plain volume of a shorter market reaches the same AUC out of sample."""
    from sklearn.linear_model import LogisticRegression

    market = simulate(40_000, seed=23, edge=0.2)
    volume, up = np.log(market.bars.volume[:-1, None]), next_signs(market)
    model = LogisticRegression().fit(volume[:10_000], up[:10_000])

    reached = auc(up[10_000:], model.decision_function(volume[10_000:]))

    assert pytest.approx(best_auc(0.2), abs=4 * 0.5 / np.sqrt(30_000)) == reached


def test_the_score_is_standard_normal_and_fresh_each_bar(edgeless):
    """s_t has mean 0, deviation 1 and no memory."""
    score = oracle_score(edgeless.bars)
    band = 4 / np.sqrt(len(score))

    assert pytest.approx(0, abs=band) == score.mean()
    assert pytest.approx(1, abs=band) == score.std()
    assert pytest.approx(0, abs=band) == np.corrcoef(score[1:], score[:-1])[0, 1]
    assert pytest.approx(norm.cdf(1.0), abs=band) == (score < 1).mean()


def test_without_an_edge_nothing_known_at_the_close_tells_the_next_sign(edgeless):
    """Volume, candle, volatility, mark, premium and funding all stay inside the null band."""
    bars, mark, up = edgeless.bars, edgeless.mark, next_signs(edgeless)
    settled = np.searchsorted(edgeless.funding.settle_time, bars.close_time, side="right") - 1
    rate = np.where(settled >= 0, edgeless.funding.rate[np.maximum(settled, 0)], 0.0)
    known = {
        "volume": bars.volume,
        "return": np.log(bars.close / bars.open),
        "range": np.log(bars.high / bars.low),
        "upper wick": np.log(bars.high / np.maximum(bars.open, bars.close)),
        "lower wick": np.log(np.minimum(bars.open, bars.close) / bars.low),
        "mark basis": np.log(mark.close / bars.close),
        "mark range": np.log(mark.high / mark.low),
        "funding": rate,
        "price level": bars.close,
        "hour": bars.close_time.hour.to_numpy().astype(float),
    }
    band = 4.5 * np.sqrt(1 / (12 * len(up) / 4))  # sd of the AUC of no information, balanced

    for name, values in known.items():
        assert pytest.approx(0.5, abs=band) == auc(up, values[:-1]), name


def test_signs_have_no_memory_and_sizes_no_sign(edgeless):
    """Past signs, and the size of the very move, say nothing of the sign."""
    moves = np.diff(np.log(edgeless.bars.close))
    sign, size = np.sign(moves), np.abs(moves)
    band = 4 / np.sqrt(len(sign))

    for lag in (1, 2, 8, 24):
        assert pytest.approx(0, abs=band) == np.corrcoef(sign[lag:], sign[:-lag])[0, 1]
    assert pytest.approx(0.5, abs=band) == auc(sign > 0, size)


# ── the market around it ─────────────────────────────────────────────────────────────────────────


def test_no_return_is_zero(edgeless):
    """A tied label cannot occur."""
    assert not (np.diff(edgeless.bars.close) == 0).any()


def test_volatility_is_the_configured_one_with_clusters_and_fat_tails(edgeless):
    """Annualised 0.7, absolute returns correlated, kurtosis far above the normal's."""
    moves = np.diff(np.log(edgeless.bars.close))
    size = np.abs(moves)

    assert pytest.approx(0.7, rel=0.08) == moves.std() * np.sqrt(365 * 24)
    assert np.corrcoef(size[1:], size[:-1])[0, 1] > 0.1
    assert ((moves / moves.std()) ** 4).mean() > 6


def test_the_day_has_a_busy_hour(edgeless):
    """Moves around 14:00 UTC are larger than at night."""
    size = pd.Series(np.abs(np.diff(np.log(edgeless.bars.close))))
    by_hour = size.groupby(edgeless.bars.open_time[1:].hour.to_numpy()).mean()

    assert by_hour[14] > 2 * by_hour[2]


@pytest.mark.parametrize("interval", ["15min", "1h", "8h", "1D"])
def test_candles_pass_the_checks_of_a_file(tmp_path, interval):
    """Written to a file and read back, bars and mark are consistent candles."""
    market = simulate(400, interval=pd.Timedelta(interval))
    for frame in (market.bars, market.mark):
        frame.to_frame().to_parquet(tmp_path / "x.parquet")
        again, _, _ = read_bars(
            tmp_path / "x.parquet", symbol="SIMUSDT", interval=pd.Timedelta(interval)
        )
        assert frame.high.tolist() == again.high.tolist()


def test_high_and_low_hold_open_and_close_to_the_last_bit(edgeless):
    """Rounding never puts an extreme inside the body."""
    for frame in (edgeless.bars, edgeless.mark):
        assert (frame.high >= np.maximum(frame.open, frame.close)).all()
        assert (frame.low <= np.minimum(frame.open, frame.close)).all()


def test_the_open_is_the_last_close(edgeless):
    """Nothing happens between bars."""
    assert np.array_equal(edgeless.bars.open[1:], edgeless.bars.close[:-1])


@pytest.mark.parametrize("interval", ["15min", "1h", "4h", "1D"])
@pytest.mark.parametrize("start", ["2023-01-01T00:00:00Z", "2023-01-01T05:00:00Z"])
def test_funding_is_complete_and_on_the_hour(interval, start):
    """Every settlement at 00:00, 08:00 and 16:00 UTC of the period is there."""
    market = simulate(300, interval=pd.Timedelta(interval), start=start)

    assert 1.0 == funding_coverage(market.bars, market.funding).share
    assert {0, 8, 16} >= set(market.funding.settle_time.hour)
    assert market.bars.open_time[0] < market.funding.settle_time[0]
    assert market.funding.settle_time[-1] <= market.bars.close_time[-1]


def test_funding_follows_the_premium_that_follows_past_returns(edgeless):
    """Mostly the base rate, dearer after a rise, never beyond the cap; marks at settlement."""
    funding, bars = edgeless.funding, edgeless.bars
    at = np.searchsorted(bars.close_time, funding.settle_time)
    past = np.log(bars.close[at[6:]] / bars.close[at[:-6]])

    assert 0.4 < (funding.rate == 1e-4).mean() < 0.95
    assert np.corrcoef(past, funding.rate[6:])[0, 1] > 0.1
    assert np.abs(funding.rate).max() <= 7.5e-3
    assert np.array_equal(edgeless.mark.close[at], funding.mark_price)


def test_the_mark_stays_near_the_trades(edgeless):
    """Mark and close part by a fraction of a percent."""
    apart = np.abs(np.log(edgeless.mark.close / edgeless.bars.close))

    assert 0 < np.median(apart) < 1e-3
    assert apart.max() <= 0.01


# ── repeatability ────────────────────────────────────────────────────────────────────────────────


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    """Two runs are identical; another seed is another market."""
    one, two, other = simulate(500), simulate(500), simulate(500, seed=2)

    assert one.sources[0].sha256 == two.sources[0].sha256 != other.sources[0].sha256
    assert one.funding.rate.tobytes() == two.funding.rate.tobytes()
    assert one.mark.low.tobytes() == two.mark.low.tobytes()


def test_a_shorter_market_is_the_start_of_a_longer_one():
    """Prefix property of bars, mark and funding."""
    short, long = simulate(400), simulate(1000)

    for name in COLUMNS:
        assert np.array_equal(getattr(short.bars, name), getattr(long.bars, name)[:400])
        assert np.array_equal(getattr(short.mark, name), getattr(long.mark, name)[:400])
    assert np.array_equal(short.funding.rate, long.funding.rate[: len(short.funding)])


def test_the_edge_changes_signs_only():
    """Volumes and sizes are the same with and without an edge."""
    without, planted = simulate(500, edge=0.0), simulate(500, edge=0.4)

    assert np.array_equal(without.bars.volume, planted.bars.volume)
    assert np.allclose(
        np.abs(np.diff(np.log(without.bars.close))), np.abs(np.diff(np.log(planted.bars.close)))
    )


def test_a_volatility_beyond_all_numbers_is_refused():
    """The key is named instead of infinite prices being handed on."""
    with pytest.raises(ConfigError, match=r"market\.simulate\.annual_volatility"):
        simulate(20_000, annual_volatility=1e4)


def test_bars_beyond_the_calendar_are_refused():
    """Nanosecond stamps end in 2262."""
    with pytest.raises(ConfigError, match=r"market\.simulate\.bars"):
        simulate(100_000, interval=pd.Timedelta("1D"))
