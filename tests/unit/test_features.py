"""The built-in features: what they say, on bars small enough to check by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from perpwalk.config import FeaturesSection
from perpwalk.domain import BarFrame, FundingFrame
from perpwalk.errors import ConfigError
from perpwalk.features import BUILT_IN, PastBars, feature_set

HOUR = pd.Timedelta("1h")
ALL = feature_set(FeaturesSection(), funding=True)


def bars_of(
    closes: np.ndarray, *, volume: np.ndarray | None = None, start: str = "2024-01-01"
) -> BarFrame:
    """Return hourly bars that open at the previous close, with ranges of 1 % around the body."""
    opens = np.concatenate([closes[:1], closes[:-1]])
    table = pd.DataFrame(
        {
            "open": opens,
            "high": np.maximum(opens, closes) * 1.01,
            "low": np.minimum(opens, closes) / 1.01,
            "close": closes,
            "volume": np.full(len(closes), 5.0) if volume is None else volume,
        },
        index=pd.date_range(start, periods=len(closes), freq="h", tz="UTC"),
    )
    return BarFrame.of(table, symbol="ETHUSDT", interval=HOUR)


def funding_of(stamps: list[str], rates: list[float]) -> FundingFrame:
    return FundingFrame.of(pd.DatetimeIndex(stamps, tz="UTC"), rates, symbol="ETHUSDT")


def eight_hourly(count: int, start: str = "2023-12-31") -> FundingFrame:
    stamps = pd.date_range(start, periods=count, freq="8h", tz="UTC")
    rates = np.random.default_rng(5).normal(1e-4, 1e-4, count)
    return FundingFrame.of(stamps, rates, symbol="ETHUSDT")


def walk(count: int, seed: int = 1) -> np.ndarray:
    """Return a random walk of closes."""
    steps = np.random.default_rng(seed).normal(0, 0.01, count)
    return 2000 * np.exp(np.cumsum(steps))


def value(name: str, bars: BarFrame, funding: FundingFrame | None = None) -> np.ndarray:
    """Return one feature at every bar."""
    [feature] = [one for one in BUILT_IN if one.name == name]
    return feature(PastBars.of(bars, funding or FundingFrame.empty("ETHUSDT")))


def test_there_are_at_least_sixty_candidates_in_the_eight_groups() -> None:
    """
    Every group of the configuration has features, sixty or more in all, under unique names.
    """
    groups = "returns trend volatility momentum volume candle calendar funding".split()

    assert groups == list(dict.fromkeys(ALL.groups))
    assert len(ALL.names) >= 60
    assert len(set(ALL.names)) == len(ALL.names)
    assert ALL.lookback <= 600


def test_warm_up_is_each_features_own_lookback() -> None:
    """
    A feature is undefined on its first lookback - 1 bars and defined on all later ones.
    """
    frame = ALL.compute(bars_of(walk(700)), eight_hourly(100))

    undefined = np.isnan(frame.values)
    for column, feature in enumerate(ALL.features):
        assert feature.lookback - 1 == undefined[:, column].sum(), feature.name
        assert not undefined[feature.lookback - 1 :, column].any(), feature.name
    assert ALL.lookback - 1 == frame.warmup


def test_prices_and_volumes_may_be_in_any_unit() -> None:
    """
    Scaling all prices or all volumes changes no feature.
    """
    closes, volume = walk(700), np.random.default_rng(2).lognormal(3, 1, 700)
    plain = ALL.compute(bars_of(closes, volume=volume), eight_hourly(100)).values
    scaled = ALL.compute(bars_of(closes * 1e-5, volume=volume * 1e7), eight_hourly(100)).values

    assert_allclose(scaled, plain, rtol=1e-7, atol=1e-9)


def test_a_market_that_stands_still_gives_neutral_finite_values() -> None:
    """
    Flat prices without volume (filled bars) are described, not left undefined or infinite.
    """
    count = 700
    closes = np.full(count, 1234.567)
    table = pd.DataFrame(
        dict.fromkeys(("open", "high", "low", "close"), closes) | {"volume": 0.0},
        index=pd.date_range("2024-01-01", periods=count, freq="h", tz="UTC"),
    )
    frame = ALL.compute(BarFrame.of(table, symbol="ETHUSDT", interval=HOUR), eight_hourly(100))

    assert np.isfinite(frame.values[frame.warmup :]).all()
    last = dict(zip(frame.names, frame.values[-1], strict=True))
    assert 0.0 == last["log_return_24"] == last["scaled_return_24"] == last["volatility_24"]
    assert 0.5 == last["channel_position_24"] == last["bollinger_position_20"]
    assert 0.5 == last["close_location"] == last["money_flow_14"]


def test_returns_are_measured_from_the_close_the_span_before() -> None:
    """
    log_return_3 at t is log(close[t] / close[t - 3]).
    """
    closes = np.array([100.0, 101.0, 99.0, 104.0, 110.0])

    assert_allclose(
        value("log_return_3", bars_of(closes)),
        [np.nan, np.nan, np.nan, np.log(1.04), np.log(110 / 101)],
    )
    assert_allclose(value("return_1", bars_of(closes))[1:], closes[1:] / closes[:-1] - 1)
    assert_allclose(
        value("log_return_lag_1", bars_of(closes))[2:], np.log(closes[1:-1] / closes[:-2])
    )


def test_range_estimators_follow_their_papers() -> None:
    """
    Parkinson and Garman-Klass over six bars equal their formulas.
    """
    bars = bars_of(walk(20))
    high_low = np.log(bars.high / bars.low)[-6:] ** 2
    close_open = np.log(bars.close / bars.open)[-6:] ** 2

    assert_allclose(
        value("parkinson_6", bars)[-1], np.sqrt(high_low.mean() / (4 * np.log(2))), rtol=1e-12
    )
    assert_allclose(
        value("garman_klass_6", bars)[-1],
        np.sqrt((high_low / 2 - (2 * np.log(2) - 1) * close_open).mean()),
        rtol=1e-12,
    )
    assert_allclose(
        value("volatility_12", bars)[-1], np.diff(np.log(bars.close))[-12:].std(ddof=1), rtol=1e-10
    )


def test_bollinger_bands_equal_ta_libs_where_ta_lib_is_exact() -> None:
    """
    Width and position agree with TA-Lib's bands on ordinary prices.
    """
    import talib

    bars = bars_of(walk(60))
    upper, middle, lower = talib.BBANDS(bars.close, 20, 2, 2)

    assert_allclose(
        value("bollinger_width_20", bars)[19:], ((upper - lower) / middle)[19:], rtol=1e-6
    )
    assert_allclose(
        value("bollinger_position_20", bars)[19:],
        ((bars.close - lower) / (upper - lower))[19:],
        rtol=1e-6,
    )


def test_on_balance_volume_is_the_windows_signed_share() -> None:
    """
    Three bars up, down, up with volumes 1, 2, 5 give (1 - 2 + 5) / 8.
    """
    bars = bars_of(np.array([10.0, 11.0, 10.5, 12.0]), volume=np.array([9.0, 1.0, 2.0, 5.0]))

    assert_allclose(value("obv_change_3", bars), [np.nan, np.nan, np.nan, 0.5])


def test_the_calendar_is_that_of_the_decision() -> None:
    """
    The bar opened on Sunday 23:00 is decided on Monday 00:00: angle zero, day and week.
    """
    bars = bars_of(np.full(8, 100.0), start="2023-12-31T23:00")

    assert pytest.approx([0.0, 1.0], abs=1e-12) == [
        value("hour_sin", bars)[0],
        value("hour_cos", bars)[0],
    ]
    assert pytest.approx([0.0, 1.0], abs=1e-12) == [
        value("weekday_sin", bars)[0],
        value("weekday_cos", bars)[0],
    ]
    assert pytest.approx(1.0) == value("hour_sin", bars)[6]  # 06:00 is a quarter of the day


# ── funding ──────────────────────────────────────────────────────────────────────────────────────


def past_with(funding: FundingFrame, bars: int = 24) -> PastBars:
    return PastBars.of(bars_of(np.full(bars, 100.0)), funding)


def test_a_rate_settled_at_the_close_is_known_there_and_not_a_bar_earlier() -> None:
    """
    Decisions close at 01:00, 02:00, ...; the settlement of 08:00 appears in row 7.
    """
    past = past_with(funding_of(["2024-01-01T00:00", "2024-01-01T08:00"], [1e-4, 3e-4]))

    assert [1e-4] * 7 == past.funding_rate[:7].tolist()
    assert 3e-4 == past.funding_rate[7]
    assert [1.0, 7.0, 0.0, 1.0] == past.hours_since_funding[[0, 6, 7, 8]].tolist()


def test_before_the_first_settlement_funding_is_unknown() -> None:
    """
    No rate is made up: rows before the first settlement are NaN, and so are all without records.
    """
    past = past_with(funding_of(["2024-01-01T03:00"], [1e-4]), bars=4)

    assert [True, True, False, False] == np.isnan(past.funding_rate).tolist()
    assert np.isnan(past_with(FundingFrame.empty("ETHUSDT")).funding_rate).all()


def test_the_next_settlement_is_expected_by_the_interval_seen_so_far() -> None:
    """
    Hours to funding come from the last stamps, not from the record of the next one.
    """
    stamps = ["2023-12-31T08:00", "2023-12-31T16:00", "2024-01-01T00:00", "2024-01-01T02:00"]
    past = past_with(funding_of(stamps, [1e-4] * 4), bars=6)

    # 01:00 still expects 08:00, though the future holds 02:00; from 02:00 on the interval is 2 h.
    assert [7.0, 2.0, 1.0, 0.0] == past.hours_to_funding[:4].tolist()


def test_one_missing_record_does_not_stretch_the_schedule() -> None:
    """
    After a 16 h hole in an 8 h schedule the next settlement is expected in 8 h again.
    """
    stamps = ["2023-12-31T00:00", "2023-12-31T08:00", "2024-01-01T00:00"]
    past = past_with(funding_of(stamps, [1e-4] * 3), bars=2)

    assert [7.0, 6.0] == past.hours_to_funding.tolist()


def test_a_rate_older_than_two_intervals_is_unknown() -> None:
    """
    At 8 h a rate is carried for 16 hours and no longer.
    """
    past = past_with(funding_of(["2023-12-31T16:00", "2024-01-01T00:00"], [1e-4, 2e-4]))

    assert 2e-4 == past.funding_rate[15]
    # Overdue, a settlement is expected any moment, not in the past.
    assert [1.0, 0.0, 0.0] == past.hours_to_funding[[6, 7, 15]].tolist()
    assert np.isnan(past.funding_rate[16:]).all()
    assert np.isnan(past.hours_since_funding[16:]).all()


def test_funding_means_are_taken_over_the_rate_in_force_at_each_bar() -> None:
    """
    A day of 8 h at 1, 8 h at 2 and 8 h at 3 (per 10,000) averages 2.
    """
    stamps = pd.date_range("2023-12-30T08:00", periods=9, freq="8h", tz="UTC")
    rates = [9, 9, 9, 9, 9, 1, 2, 3, 4]  # 2024-01-01 00:00 is the sixth stamp
    funding = FundingFrame.of(stamps, np.array(rates) * 1e-4, symbol="ETHUSDT")
    bars = bars_of(np.full(60, 100.0), start="2023-12-30T12:00")
    row = int(np.flatnonzero(bars.close_time == pd.Timestamp("2024-01-01T23:00Z"))[0])

    assert 2e-4 == pytest.approx(PastBars.of(bars, funding).funding_rate[row - 23 : row + 1].mean())
    assert_allclose(
        ALL.features[ALL.names.index("funding_mean_24")].compute(PastBars.of(bars, funding))[row],
        2e-4,
    )


# ── choosing features ────────────────────────────────────────────────────────────────────────────


def test_include_and_exclude_take_groups_and_names() -> None:
    """
    Groups and names mix, in the order of the catalogue, and exclusion wins.
    """
    section = FeaturesSection(
        include=("candle", "rsi_14"), exclude=("open_gap", "mean_body_share_3")
    )
    chosen = feature_set(section, funding=True)

    assert "rsi_14" == chosen.names[0]
    assert "open_gap" not in chosen.names
    assert {"momentum", "candle"} == set(chosen.groups)


@pytest.mark.parametrize(
    ("section", "key", "hint"),
    [
        (FeaturesSection(include=("rsi14",)), "features.include", "did you mean 'rsi_14'"),
        (FeaturesSection(exclude=("fundings",)), "features.exclude", "did you mean 'funding'"),
        (FeaturesSection(include=("zzz",)), "features.include", "groups are calendar, candle"),
    ],
)
def test_an_unknown_name_gets_the_nearest_known_one(
    section: FeaturesSection, key: str, hint: str
) -> None:
    """
    The error names the key and what was probably meant.
    """
    with pytest.raises(ConfigError, match=hint) as caught:
        feature_set(section, funding=True)

    assert key == caught.value.key


def test_without_funding_its_group_is_left_out() -> None:
    """
    A market without records has no funding features, and asking for nothing else is an error.
    """
    assert "funding" not in feature_set(FeaturesSection(), funding=False).groups
    with pytest.raises(ConfigError, match="no funding records"):
        feature_set(FeaturesSection(include=("funding",)), funding=False)


def test_no_bars_and_few_bars_are_answered() -> None:
    """
    An empty table gives an empty frame, a short one undefined rows.
    """
    bars = bars_of(walk(3))

    assert (0, len(ALL.names)) == ALL.compute(bars.rows(0, 0), eight_hourly(9)).values.shape
    assert np.isnan(ALL.compute(bars, eight_hourly(9)).values[:, 0]).tolist() == [
        True,
        False,
        False,
    ]
