"""Simulated markets to order: each ingredient does what it says and touches nothing else."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata, spearmanr

from perpwalk import config as configuration
from perpwalk.config import Simulate
from perpwalk.data import load_market, read_bars, read_funding
from perpwalk.data.simulated import Order, write_market
from perpwalk.domain import Market
from perpwalk.errors import ConfigError, UsageError
from perpwalk.simulate import best_auc, simulate_market
from perpwalk.simulate_truth import at_horizon, oracle_forecast, reachable

HOUR = pd.Timedelta("1h")
COLUMNS = ("open", "high", "low", "close", "volume")


def simulate(bars: int = 20_000, seed: int = 1, **settings: object) -> Market:
    section = Simulate.model_validate({"bars": bars, **settings})
    return simulate_market(section, symbol="SIM", interval=HOUR, seed=seed)


def returns(market: Market) -> np.ndarray:
    return np.diff(np.log(market.bars.close))


def auc(up: np.ndarray, score: np.ndarray) -> float:
    ups = int(up.sum())
    return float((rankdata(score)[up].sum() - ups * (ups + 1) / 2) / (ups * (len(up) - ups)))


def test_the_ordinary_market_has_the_bytes_it_always_had():
    """The hash of bars, mark and funding of seed 7, as of the first release."""
    market = simulate(3000, seed=7)
    digest = hashlib.sha256()
    for frame in (market.bars, market.mark):
        for name in COLUMNS:
            digest.update(getattr(frame, name).tobytes())
    digest.update(market.funding.rate.tobytes())

    assert "d5a0919596a0a75ccc60645293f247fcc4aa6e3e523d9f970c1325792f617284" == digest.hexdigest()


def test_a_longer_edge_needs_all_of_its_bars():
    """Over one bar four scores together reach the closed form; the last alone reaches less."""
    market = simulate(60_000, edge=0.3, edge_bars=4)
    up = returns(market) > 0
    whole = oracle_forecast(market.bars, edge=0.3, edge_bars=4, horizon=1)[3:-1]
    alone = np.log(market.bars.volume)[3:-1]

    assert pytest.approx(best_auc(0.3), abs=0.009) == auc(up[3:], whole)
    assert pytest.approx(best_auc(0.15), abs=0.009) == auc(up[3:], alone)


@pytest.mark.parametrize(("edge_bars", "horizon"), [(1, 4), (4, 4), (8, 4)])
def test_the_measured_auc_is_reached_on_another_seed(edge_bars, horizon):
    """Within four standard errors of both measurements, with jumps and regimes in the market."""
    expected, accuracy, error = reachable(0.2, edge_bars, horizon)
    market = simulate(60_000, seed=99, edge=0.2, edge_bars=edge_bars, regime_ratio=2.0)
    close = np.log(market.bars.close)
    up = (close[horizon:] - close[:-horizon]) > 0
    forecast = oracle_forecast(market.bars, edge=0.2, edge_bars=edge_bars, horizon=horizon)
    known = np.isfinite(forecast[:-horizon])

    found = auc(up[known], forecast[:-horizon][known])

    band = 4 * (error + 0.5 / np.sqrt(len(up) / horizon))
    assert 0.5 < accuracy < expected
    assert pytest.approx(expected, abs=min(band, 0.02)) == found


def test_the_truth_knows_the_horizon_of_the_label():
    """One bar: the closed form. Four bars: what is measured, a little raised."""
    truth = simulate(300, edge=0.2).truth

    assert truth is at_horizon(truth, 1)
    assert reachable(0.2, 1, 4)[0] < at_horizon(truth, 4)["best_auc"] < best_auc(0.2)
    assert {} == at_horizon({}, 4)


def test_regimes_keep_the_mean_and_part_the_calm_from_the_wild():
    """Days fall into two kinds; the mean squared return stays what was asked for."""
    plain, regimes = simulate(100_000), simulate(100_000, regime_ratio=5.0, regime_days=20.0)
    months = [np.array_split(returns(m) ** 2, 200) for m in (plain, regimes)]
    spread = [np.std(np.log([month.mean() for month in of])) for of in months]

    assert (
        pytest.approx(1.0, abs=0.2) == (returns(regimes) ** 2).mean() / (returns(plain) ** 2).mean()
    )
    assert spread[1] > 1.5 * spread[0]


def test_jumps_move_further_and_leave_every_sign():
    """The signs are those of the market without jumps; some moves are far larger."""
    plain, jumping = returns(simulate()), returns(simulate(jumps_per_year=50, jump_size=0.1))

    assert (np.sign(plain) == np.sign(jumping)).all()
    jumped = np.abs(jumping) - np.abs(plain) > 1e-9
    assert pytest.approx(50 * 20_000 / 8760, rel=0.3) == jumped.sum()


def test_correlated_contracts_move_together_each_by_its_own_law():
    """Same common seed: together. Another: not. The edge of each is untouched."""
    one, two, other = (
        simulate(40_000, seed=s, correlation=0.8, common_seed=c)
        for s, c in ((1, 5), (2, 5), (3, 6))
    )

    assert spearmanr(returns(one), returns(two))[0] > 0.45
    assert abs(spearmanr(returns(one), returns(other))[0]) < 0.03
    score = np.log(two.bars.volume)[:-1]
    assert pytest.approx(best_auc(0.2), abs=0.011) == auc(returns(two) > 0, score)


def test_listing_cuts_the_time_before_away():
    """The bars after are those of the market without it."""
    whole, listed = simulate(2000), simulate(2000, listed="2023-02-01T00:00:00Z")

    assert pd.Timestamp("2023-02-01T00:00Z") == listed.bars.open_time[0]
    assert whole.bars.close[-len(listed.bars) :].tolist() == listed.bars.close.tolist()
    assert listed.funding.settle_time[0] > listed.bars.open_time[0]
    with pytest.raises(ConfigError, match="leaves no bar"):
        simulate(2000, listed="2030-01-01T00:00:00Z")


@pytest.mark.parametrize("hours", [1, 2, 4, 8])
def test_funding_settles_as_often_as_asked_and_a_day_costs_the_same(hours):
    """Rates of shorter intervals are shorter in proportion."""
    market = simulate(4000, funding_hours=hours)

    assert {hours * HOUR} == set(np.diff(market.funding.settle_time))
    daily = market.funding.rate.mean() * 24 / hours
    usual = simulate(4000).funding.rate.mean() * 3
    assert pytest.approx(usual, rel=0.1) == daily


@pytest.mark.parametrize(
    "settings",
    [{"edge_bars": 5}, {"regime_ratio": 3.0}, {"jumps_per_year": 40.0},
     {"correlation": 0.5}],
)  # fmt: skip
def test_a_shorter_market_is_the_start_of_a_longer_one(settings):
    """The prefix property holds for every ingredient."""
    short, long = simulate(500, **settings), simulate(900, **settings)

    for name in COLUMNS:
        assert getattr(short.bars, name).tolist() == getattr(long.bars, name)[:500].tolist()


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def order(**more: object) -> Order:
    given = {"symbols": ("AAA",), "interval": HOUR, "section": Simulate(bars=600), "seed": 3}
    return Order(**(given | more))


def test_files_hold_the_market_on_its_tick_and_are_read_without_a_warning_of_form(tmp_path):
    """Bars of the files are the simulated ones, rounded; the configuration beside them loads."""
    truth = write_market(tmp_path / "m", order())
    bars, _, _ = read_bars(tmp_path / "m" / "AAA-1h-ohlcv.csv", symbol="AAA", interval=HOUR)
    funding, _, _ = read_funding(tmp_path / "m" / "AAA-funding.csv", symbol="AAA")
    straight = simulate(600, seed=3)

    assert np.round(straight.bars.close, 2).tolist() == bars.close.tolist()
    assert straight.funding.rate.tolist() == funding.rate.tolist()
    assert [1, 4, 24] == [best["horizon_bars"] for best in truth["best"]]
    assert best_auc(0.2) == pytest.approx(truth["best"][0]["auc"], abs=1e-6)
    loaded = load_market(configuration.load(tmp_path / "m" / "config.yaml").market, seed=0)
    assert len(bars) == len(loaded.bars)


def test_the_same_order_gives_the_same_bytes(tmp_path):
    """Twice, with several symbols, an outage and faults."""
    wanted = order(symbols=("AAA", "BBB"), outages=2, faults=(("frozen", None), ("outlier", 1)))
    for name in ("one", "two"):
        write_market(tmp_path / name, wanted)

    def contents(folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}

    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert 8 == len(contents(tmp_path / "one"))


def test_outages_take_bars_and_marks_and_are_told(tmp_path):
    """The stamps of the record are those that the file lacks; settlements go on."""
    write_market(tmp_path / "m", order(outages=3))
    record = json.loads((tmp_path / "m" / "truth.json").read_text())["faults"][0]
    there = set(pd.read_csv(tmp_path / "m" / "AAA-1h-ohlcv.csv")["timestamp"])

    assert "outage" == record["fault"]
    assert 600 == len(there) + len(record["stamps"])
    assert not there & set(record["stamps"])
    assert 75 == len(pd.read_csv(tmp_path / "m" / "AAA-funding.csv"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"symbols": ("AAA", "AAA")}, "stands twice"),
        ({"listed": {"ZZZ": "2024-01-01"}}, "ZZZ"),
        ({"faults": (("gap", 900),)}, "do not fit"),
        ({"faults": (("gap", 1),), "suffix": ".parquet"}, "CSV"),
    ],
)
def test_an_impossible_order_is_refused(tmp_path, changes, complaint):
    """One message each."""
    with pytest.raises(UsageError, match=complaint):
        write_market(tmp_path / "m", order(**changes))


def test_a_full_folder_is_left_alone(tmp_path):
    """Nothing is overwritten."""
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        write_market(tmp_path, order())
