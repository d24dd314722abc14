"""A market section read as a whole: files aligned with each other, or simulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perpwalk.config import MarketSection, Simulate
from perpwalk.data import load_market
from perpwalk.domain import Market
from perpwalk.errors import ConfigError, DataError
from perpwalk.simulate import simulate_market

HOUR = pd.Timedelta("1h")


@pytest.fixture(scope="module")
def simulated() -> Market:
    return simulate_market(Simulate(bars=480), symbol="ETHUSDT", interval=HOUR, seed=3)


@pytest.fixture
def folder(tmp_path: Path, simulated: Market) -> Path:
    """Write a simulated market as the files a user would have."""
    written(tmp_path, simulated)
    return tmp_path


def written(tmp_path: Path, simulated: Market) -> None:
    simulated.bars.to_frame().to_csv(tmp_path / "bars.csv")
    simulated.mark.to_frame().drop(columns="volume").to_csv(tmp_path / "mark.csv")
    funding = simulated.funding
    pd.DataFrame(
        {
            "funding_time": funding.settle_time,
            "funding_rate": funding.rate,
            "mark_price": funding.mark_price,
        }
    ).to_csv(tmp_path / "funding.csv", index=False)


def section(folder: Path, **changes: object) -> MarketSection:
    files = {kind: str(folder / f"{kind}.csv") for kind in ("funding", "mark")}
    settings = {"symbol": "ETHUSDT", "ohlcv": str(folder / "bars.csv"), **files, **changes}
    return MarketSection.model_validate(settings)


def scaled(folder: Path, name: str, columns: list[str], factor: float) -> None:
    frame = pd.read_csv(folder / name)
    frame[columns] *= factor
    frame.to_csv(folder / name, index=False)


def test_files_come_back_as_they_were(folder, simulated):
    """Bars, mark and funding written and read are equal to the last bit."""
    market = load_market(section(folder), seed=0)

    assert simulated.bars.close.tolist() == market.bars.close.tolist()
    assert simulated.mark.high.tolist() == market.mark.high.tolist()
    assert simulated.funding.rate.tolist() == market.funding.rate.tolist()
    assert simulated.funding.settle_time.tolist() == market.funding.settle_time.tolist()
    assert ["ohlcv", "mark", "funding"] == [source.kind for source in market.sources]
    assert ["D013"] == [f.code for f in market.findings if f.code[0] == "D" and f.level == "info"]
    assert all(len(source.sha256) == 64 for source in market.sources)


def test_settlements_outside_the_bars_are_cut_away(folder):
    """Each settlement left falls into (first open, last close]."""
    market = load_market(
        section(folder, since="2023-01-05T00:00:00Z", until="2023-01-10T00:00:00Z"), seed=0
    )

    assert pd.Timestamp("2023-01-05T08:00:00Z") == market.funding.settle_time[0]
    assert pd.Timestamp("2023-01-10T00:00:00Z") == market.funding.settle_time[-1]
    assert len(market.bars) == len(market.mark) == 120


@pytest.mark.parametrize("mark", [True, False])
def test_funding_of_the_wrong_sign_is_told_in_a_run(tmp_path, mark):
    """By its base rate (D012), and by the premium over mark candles or its own marks (D016)."""
    made = simulate_market(Simulate(bars=4000), symbol="ETHUSDT", interval=HOUR, seed=3)
    written(tmp_path, made)
    files = {} if mark else {"mark": None}
    before = load_market(section(tmp_path, **files), seed=0)
    scaled(tmp_path, "funding.csv", ["funding_rate"], -1.0)

    turned = load_market(section(tmp_path, **files), seed=0)

    assert [("D016", "info")] == doubts(before)
    assert [("D012", "warn"), ("D016", "warn")] == doubts(turned)


def doubts(market: Market) -> list[tuple[str, str]]:
    found = {"D012", "D016", "D023"}
    return [(f.code, str(f.level)) for f in market.findings if f.code in found]


def test_settlements_an_hour_late_are_told_in_a_run(folder):
    """Without marks of their own it is the schedule that says so."""
    frame = pd.read_csv(folder / "funding.csv").drop(columns="mark_price")
    frame["funding_time"] = pd.to_datetime(frame["funding_time"]) + HOUR
    frame.to_csv(folder / "funding.csv", index=False)

    assert [("D012", "warn")] == doubts(load_market(section(folder), seed=0))


def test_funding_of_another_symbols_price_is_refused(folder):
    """Mark prices ten times the bars' closes give the file away."""
    scaled(folder, "funding.csv", ["mark_price"], 10.0)

    with pytest.raises(DataError, match=r"funding\.csv: mark prices .* belongs to another symbol"):
        load_market(section(folder), seed=0)


def test_mark_of_another_symbols_price_is_refused(folder):
    """Mark closes half the bars' closes give the file away."""
    scaled(folder, "mark.csv", ["open", "high", "low", "close"], 0.5)

    with pytest.raises(DataError, match=r"mark\.csv: mark closes .* belongs to another symbol"):
        load_market(section(folder), seed=0)


def test_funding_of_another_time_is_refused(folder):
    """No settlement inside the bars' period is a wrong file, whatever the policy."""
    frame = pd.read_csv(folder / "funding.csv", parse_dates=["funding_time"])
    frame["funding_time"] += pd.Timedelta("365D")
    frame.to_csv(folder / "funding.csv", index=False)

    with pytest.raises(DataError, match="no settlement falls into the bars' period"):
        load_market(section(folder, missing_funding="zero"), seed=0)


def test_mark_of_another_time_or_interval_is_refused(folder):
    """A mark file has to stand on the bars' grid."""
    frame = pd.read_csv(folder / "mark.csv", parse_dates=["open_time"])
    frame.iloc[::4].to_csv(folder / "mark.csv", index=False)
    with pytest.raises(DataError, match=r"mark\.csv.*bars are 0 days 04:00:00 apart"):
        load_market(section(folder), seed=0)

    frame["open_time"] += pd.Timedelta("365D")
    frame.to_csv(folder / "mark.csv", index=False)
    with pytest.raises(DataError, match=r"mark\.csv: no mark bar opens with a bar of"):
        load_market(section(folder), seed=0)


def test_trade_prices_stand_in_for_missing_mark_bars(folder, simulated):
    """Missing mark bars are counted, marked and replaced by the trade bar."""
    frame = pd.read_csv(folder / "mark.csv").drop(index=[5, 6])
    frame.to_csv(folder / "mark.csv", index=False)

    market = load_market(section(folder), seed=0)

    assert [5, 6] == np.flatnonzero(market.mark.filled).tolist()
    assert simulated.bars.low[5] == market.mark.low[5]
    assert simulated.mark.low[7] == market.mark.low[7]
    [finding] = [f for f in market.findings if f.code == "A002"]
    assert finding.message.startswith("2 of 480 bars have no mark bar")


def test_missing_funding_is_refused_unless_a_policy_is_named(folder):
    """Half the settlements: an error by default, assumed zeros on request."""
    frame = pd.read_csv(folder / "funding.csv")
    frame.iloc[30:].to_csv(folder / "funding.csv", index=False)

    with pytest.raises(DataError, match=r"funding\.csv: only 50.0 % of the bars"):
        load_market(section(folder), seed=0)
    market = load_market(section(folder, missing_funding="zero"), seed=0)
    assert 30 == market.funding.assumed.sum()
    assert 60 == len(market.funding)


def test_without_files_the_market_is_simulated():
    """The demo's default: complete funding, mark candles, a known truth."""
    market = load_market(MarketSection(), seed=7)

    assert 12_000 == len(market.bars)
    assert {"edge", "best_auc", "best_accuracy"} == set(market.truth)
    assert ["D013"] == [f.code for f in market.findings]
    assert "100.0 % of the bars (12,000 of 12,000)" in market.findings[0].message


def test_the_simulations_own_seed_wins():
    """market.simulate.seed fixes the market whatever the experiment's seed."""
    own = MarketSection(simulate=Simulate(bars=300, seed=5))

    one, two = (load_market(own, seed=seed).bars.close.tolist() for seed in (1, 2))
    other = load_market(MarketSection(simulate=Simulate(bars=300)), seed=2).bars.close.tolist()

    assert one == two
    assert one != other


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"interval": "20bars"}, "market.interval"),
        ({"interval": "0h"}, "market.interval"),
        ({"funding": "/x/funding.csv"}, "market.funding"),
        ({"mark": "/x/mark.csv"}, "market.mark"),
    ],
)
def test_impossible_combinations_name_the_key(changes, key):
    """A bar of 20 bars, or funding beside a simulated market, is a configuration error."""
    with pytest.raises(ConfigError, match=f"config key '{key}'"):
        load_market(MarketSection.model_validate(changes), seed=0)
