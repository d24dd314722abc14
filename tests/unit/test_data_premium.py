"""Rates against the premium they are paid on: a turned sign and a shifted clock, and no others."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from perpwalk.config import Simulate
from perpwalk.data.premium import (
    FEWEST,
    Premium,
    aligned_premium,
    follows_own_marks,
    follows_premium,
)
from perpwalk.domain import BarFrame, Finding, FundingFrame, Level, Market, frozen_array, to_ns
from perpwalk.simulate import simulate_market

HOUR = pd.Timedelta("1h")


@cache
def simulated(seed: int = 3, bars: int = 4000, hours: int = 8) -> Market:
    section = Simulate(bars=bars, funding_hours=hours)
    return simulate_market(section, symbol="ETHUSDT", interval=HOUR, seed=seed)


def told(market: Market, rates: FundingFrame | None = None) -> list[Finding]:
    assert market.mark is not None
    premium = aligned_premium(market.bars, market.mark)
    return list(follows_premium("funding x.csv", rates or market.funding, premium))


def own_marks(market: Market, rates: FundingFrame) -> list[Finding]:
    closes = to_ns(market.bars.close_time)
    return list(follows_own_marks("funding x.csv", rates, closes, market.bars.close))


def negated(rates: FundingFrame) -> FundingFrame:
    return replace(rates, rate=frozen_array(-rates.rate))


def later(rates: FundingFrame, hours: int) -> FundingFrame:
    return replace(rates, settle_time=rates.settle_time + hours * HOUR)


@pytest.mark.parametrize("hours", [1, 4, 8])
@pytest.mark.parametrize("seed", range(4))
def test_rates_as_they_are_only_say_how_much_they_follow(seed: int, hours: int) -> None:
    """One note with the correlation at any settlement interval; no doubt of sign or clock."""
    market = simulated(seed, hours=hours)

    for found in (told(market), own_marks(market, market.funding)):
        assert [("D016", Level.INFO)] == [(f.code, f.level) for f in found]


def test_a_turned_sign_is_doubted_by_mark_candles_and_by_own_marks() -> None:
    """D016 warns, with the correlation that says so and what to do."""
    market = simulated()
    rates = negated(market.funding)

    for found in (told(market, rates), own_marks(market, rates)):
        (turned,) = found
        assert Level.WARN is turned.level
        assert "correlation of -0." in turned.message
        assert "turn the sign" in str(turned.advice)


@pytest.mark.parametrize("hours", [8, -8, 16, 24])
def test_a_clock_that_whole_intervals_hide_is_doubted(hours: int) -> None:
    """Stamps eight hours late stand on settlements all the same; the premium's changes tell."""
    market = simulated()
    (doubted,) = (f for f in told(market, later(market.funding, hours)) if f.code == "D023")

    assert Level.WARN is doubted.level
    side = "before" if hours > 0 else "after"
    assert f"{side} their stamps" in doubted.message
    about = float(doubted.message.split("about ")[1].split(" h")[0])
    assert abs(hours) == pytest.approx(about, abs=1)


def test_a_venue_that_fixes_its_rates_an_interval_ahead_is_not_accused() -> None:
    """Eight hours late is right of BitMEX; eight hours early is of nobody."""
    market = simulated()
    assert market.mark is not None
    premium = aligned_premium(market.bars, market.mark)
    levels = [
        f.level
        for hours in (8, -8)
        for f in follows_premium("x", later(market.funding, hours), premium, {"bitmex"})
        if f.code == "D023"
    ]

    assert [Level.INFO, Level.WARN] == levels


@pytest.mark.parametrize("hours", [1, -1, 2])
def test_an_hour_or_two_is_not_claimed_to_be_seen(hours: int) -> None:
    """The premium lingers: what could not be told on real files is not told here."""
    market = simulated()

    assert "D023" not in {f.code for f in told(market, later(market.funding, hours))}


def test_rates_of_no_connection_are_doubted_only_where_there_are_many() -> None:
    """A calm year shows no more than chance either; eight years would."""
    rng = np.random.default_rng(1)
    levels = []
    for bars in (4000, 25_000):
        market = simulated(bars=bars)
        mixed = replace(market.funding, rate=frozen_array(rng.permutation(market.funding.rate)))
        levels += [f.level for f in told(market, mixed) if f.code == "D016"]

    assert [Level.INFO, Level.WARN] == levels


def test_the_mean_premium_is_that_of_the_interval_before_a_stamp() -> None:
    """Both ends belong to their own interval; where one bar is missing the mean is unknown."""
    hour = HOUR.as_unit("ns").value
    closes = hour * np.array([1, 2, 3, 4, 6, 7, 8])
    premium = Premium(closes, np.array([1.0, 2.0, 3.0, 6.0, 7.0, 8.0, 9.0]), hour)

    mean = premium.before(hour * np.array([2, 4, 6, 8]), np.full(4, 2 * hour))

    assert [1.5, 4.5, None, 8.5] == [None if np.isnan(m) else float(m) for m in mean]


def test_where_nothing_can_be_known_nothing_is_said() -> None:
    """Too few settlements, a mark that is the trades, stand-ins, bars longer than settlements."""
    market = simulated()
    assert market.mark is not None
    same = replace(market, mark=replace(market.bars, volume=market.mark.volume))
    absent = replace(
        market, mark=replace(market.mark, filled=frozen_array(np.ones(4000), np.bool_))
    )
    start = pd.date_range("2024-01-01", periods=600, freq="D", tz="UTC")
    flat = pd.DataFrame(
        {n: 100.0 + np.arange(600) for n in ("open", "high", "low", "close", "volume")}, index=start
    )
    days = BarFrame.of(flat, symbol="ETHUSDT", interval=pd.Timedelta("1D"))
    long = replace(market, bars=days, mark=replace(days, close=days.close * 1.01))

    assert [] == told(market, market.funding.rows(0, FEWEST - 1))
    assert [] == told(same)
    assert [] == told(absent)
    assert [] == told(long)
    unknown = replace(market.funding, mark_price=frozen_array(np.full(len(market.funding), np.nan)))
    assert [] == own_marks(market, unknown)
