"""Single wild highs, lows, opens, closes and volumes are named; ordinary wildness is not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpwalk.config import Simulate
from perpwalk.data.outliers import outlier_findings
from perpwalk.data.validate import Prices, utc
from perpwalk.domain import Finding, IntArray
from perpwalk.simulate import simulate_market

HOUR = pd.Timedelta("1h")
BARS = 400

CLOSES = "close to close"
WICKS = "whose high or low is far"
OPENS = "that open far"
VOLUMES = "whose volume is"


def market(seed: int = 4, bars: int = BARS, sd: float = 0.005) -> tuple[IntArray, Prices]:
    """Return hours that each open where the last one closed; volumes stray by half."""
    rng = np.random.default_rng(seed)
    close = 2000 * np.exp(sd * np.cumsum(rng.standard_normal(bars)))
    first = np.concatenate(([2000.0], close[:-1]))
    top, bottom = np.maximum(first, close), np.minimum(first, close)
    wicks = 1 + sd * np.abs(rng.standard_normal((2, bars)))
    volume = 100 * np.exp(0.5 * rng.standard_normal(bars))
    ns = np.arange(bars) * HOUR.value
    return ns, Prices(first, top * wicks[0], bottom / wicks[1], close, volume)


def found(ns: IntArray, prices: Prices, *, with_volume: bool = True) -> list[Finding]:
    return outlier_findings("bars", ns, prices, HOUR, with_volume=with_volume)


def test_ordinary_hours_have_no_outliers():
    """Of ten random markets none is said to be odd."""
    assert [] == [one for seed in range(10) for one in found(*market(seed))]


@pytest.mark.parametrize(
    ("column", "times", "said", "largest"),
    [
        ("high", 1.8, WICKS, "a high of +8"),
        ("low", 0.2, WICKS, "a low of -80"),
        ("open", 1.3, OPENS, "+30.0%"),
        ("volume", 10_000, VOLUMES, ""),
        ("volume", 1e-4, VOLUMES, "1/"),
    ],
)
@given(row=st.integers(1, BARS - 1))
def test_one_wild_value_is_named_with_its_bar(column, times, said, largest, row):
    """Wherever it stands, the ends of the file included."""
    ns, prices = market()
    getattr(prices, column)[row] *= times
    prices.high[row] = max(prices.high[row], prices.open[row])

    [told] = [one for one in found(ns, prices) if said in one.message]

    assert told.message.endswith(": 1")
    assert str(told.observed).startswith(f"{utc(ns[row])}; the largest {largest}")
    assert "D010" == told.code


def test_a_wrong_close_is_seen_going_and_coming_back():
    """It moves there and back, and the next bar opens elsewhere."""
    ns, prices = market()
    prices.close[200] *= 1.4
    prices.high[200] = prices.close[200]

    told = {one.message.rpartition(":")[0]: one for one in found(ns, prices)}

    [closes] = [one for message, one in told.items() if CLOSES in message]
    [opens] = [one for message, one in told.items() if OPENS in message]
    assert closes.message.endswith(": 2")
    assert str(opens.observed).startswith(utc(ns[201]))


def test_a_crash_among_crashing_hours_is_no_misprint():
    """Wicks are held against the hours around: what is wild in a calm week is not in a wild one."""
    ns, calm = market()
    calm.high[200] = 1.3 * max(calm.open[200], calm.close[200])
    ns, wild = market(sd=0.03)
    wild.high[200] = 1.3 * max(wild.open[200], wild.close[200])

    assert [WICKS in one.message for one in found(ns, calm)] == [True]
    assert [] == [one for one in found(ns, wild) if WICKS in one.message]


def test_a_lull_makes_no_wick_of_an_ordinary_move():
    """In hours in which nothing moves, a range of the usual size is not odd."""
    ns, prices = market()
    quiet = slice(100, 180)
    for column in (prices.open, prices.high, prices.low, prices.close):
        column[quiet] = 2000.0 + 1e-6 * np.arange(80)
    prices.high[140] = 2000 * 1.01

    assert [] == [one for one in found(ns, prices) if WICKS in one.message]


def test_bars_that_open_anew_every_day_are_judged_by_their_own_steps():
    """Stocks step from close to open by habit; only a step far beyond those is told."""
    ns, prices = market()
    steps = 1 + 0.02 * np.random.default_rng(1).standard_normal(BARS)
    prices.open[:] = prices.open * steps
    prices.high[:] = np.maximum(prices.high, prices.open)
    prices.low[:] = np.minimum(prices.low, prices.open)
    assert [] == [one for one in found(ns, prices) if OPENS in one.message]

    prices.open[77] *= 1.6
    prices.high[77] = max(prices.high[77], prices.open[77])

    [told] = [one for one in found(ns, prices) if OPENS in one.message]
    assert str(told.observed).startswith(utc(ns[77]))


def test_an_open_after_a_gap_is_not_held_against_the_close_before():
    """Where bars are missing the price may have gone anywhere."""
    ns, prices = market()
    prices.open[100] *= 1.3
    prices.high[100] = max(prices.high[100], prices.open[100])
    later = np.where(np.arange(BARS) >= 100, 5 * HOUR.value, 0)

    assert [] == [one for one in found(ns + later, prices) if OPENS in one.message]


def test_bars_without_volume_are_left_to_their_own_finding():
    """Neither a bar without volume nor one among such is said to be far from those around."""
    ns, prices = market()
    prices.volume[::2] = 0.0
    prices.volume[100:200] = 0.0
    prices.volume[150] = 1.0

    assert [] == found(ns, prices)


def test_a_file_of_wild_volumes_has_a_wider_bound():
    """Where volumes stray a thousandfold by habit, a hundredfold is no sign."""
    ns, prices = market()
    prices.volume[:] = np.exp(2.5 * np.random.default_rng(2).standard_normal(BARS))

    assert [] == found(ns, prices)


def test_mark_candles_are_examined_without_their_volume():
    """A wick of the mark liquidates; the volume column of mark candles says nothing."""
    ns, prices = market()
    prices.volume[10] *= 10_000
    prices.low[20] *= 0.2

    assert [True] == [WICKS in one.message for one in found(ns, prices, with_volume=False)]


def test_flat_bars_and_short_files_are_no_trouble():
    """Bars that never move have no range to measure by: then a half is the bound."""
    ns = np.arange(20) * HOUR.value
    flat = np.full(20, 50.0)
    prices = Prices(flat.copy(), flat.copy(), flat.copy(), flat.copy(), flat.copy())
    assert [] == found(ns, prices)
    prices.high[5] = 51.0
    prices.low[7] = 20.0

    assert [True] == [WICKS in one.message for one in found(ns, prices)]
    assert [] == found(ns[:2], prices.take(slice(2)))


def test_a_simulated_market_with_regimes_and_jumps_has_ordinary_wicks():
    """Its own wildness is told close to close, if at all."""
    made = simulate_market(
        Simulate(bars=3000, regime_ratio=3.0, jumps_per_year=50.0),
        symbol="SIM",
        interval=HOUR,
        seed=3,
    )
    bars = made.bars
    prices = Prices(bars.open, bars.high, bars.low, bars.close, bars.volume)

    told = found(bars.open_time.as_unit("ns").asi8, prices)

    assert [] == [one for one in told if CLOSES not in one.message]
