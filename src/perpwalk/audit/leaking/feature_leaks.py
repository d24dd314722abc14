"""Features that know the future, each as people really write them."""

from __future__ import annotations

import functools
import itertools

import numpy as np

from perpwalk.audit.leaking.reference import SECTION, Columns, honest_features
from perpwalk.domain import UNDEFINED_LABEL, FloatArray, LabelFrame, Market, to_ns
from perpwalk.features import shift

_HOUR = 3600 * 10**9
_DAY = 24 * _HOUR
_WEEK_HOURS = 168
_KEEP = 0.05  # share of low frequencies that the filter passes
_CENTRED = 11
_NOISE_HOURS = 20_011


def next_return(market: Market, labels: LabelFrame) -> Columns:
    """Put the move of the bar to come among the features."""
    return {
        **honest_features(market, labels),
        "next_return": np.append(np.diff(np.log(market.bars.close)), 0.0),
    }


def centred_mean(market: Market, labels: LabelFrame) -> Columns:
    """Smooth the price with a window centred on the row: half of it lies ahead."""
    price = np.log(market.bars.close)
    half = _CENTRED // 2
    padded = np.pad(price, half, mode="edge")
    smooth = np.convolve(padded, np.full(_CENTRED, 1 / _CENTRED), mode="valid")
    return {**honest_features(market, labels), "distance_to_centred_mean": price - smooth}


def filtered_whole(market: Market, labels: LabelFrame) -> Columns:
    """Decompose the whole price series by frequency, as VMD or an FFT filter does."""
    price = np.log(market.bars.close)
    return {**honest_features(market, labels), **_components(price, _low_pass(price))}


def filtered_per_split(market: Market, labels: LabelFrame) -> Columns:
    """Decompose each split by itself: no row sees another split, but all see their own's end."""
    price = np.log(market.bars.close)
    test = int(SECTION.test.removesuffix("bars"))
    edges = [0, *range(len(price) % test or test, len(price) + 1, test)]
    parts = [_low_pass(price[a:b]) for a, b in itertools.pairwise(edges)]
    return {**honest_features(market, labels), **_components(price, np.concatenate(parts))}


def _low_pass(price: FloatArray) -> FloatArray:
    # The line between the ends is taken off, or the filter would see a jump there.
    line = np.linspace(price[0], price[-1], len(price))
    spectrum = np.fft.rfft(price - line)
    spectrum[max(2, int(_KEEP * len(spectrum))) :] = 0
    smooth: FloatArray = np.fft.irfft(spectrum, len(price)) + line
    return smooth


def _components(price: FloatArray, smooth: FloatArray) -> Columns:
    slope = smooth - shift(smooth, 1)
    return {"trend_slope": slope, "trend_distance": price - smooth}


def _rate_by_stamp(market: Market, lead_ns: int, *, next_one: bool) -> FloatArray:
    """Return a rate per bar: the last one that is known ``lead_ns`` early, or the next one."""
    close, stamps = to_ns(market.bars.close_time), to_ns(market.funding.settle_time)
    at = np.searchsorted(stamps, close + lead_ns, side="right") - 1
    if next_one:
        # A fill backwards leaves a rate at its own stamp and carries the next one before it.
        at = np.where(np.isin(close, stamps), at, at + 1)
    at = np.clip(at, 0, len(stamps) - 1)
    rate: FloatArray = market.funding.rate[at]
    return rate


def funding_backfilled(market: Market, labels: LabelFrame) -> Columns:
    """Fill the hours between settlements backwards: each shows the rate still to come."""
    columns = honest_features(market, labels)
    return {**columns, "funding": _rate_by_stamp(market, 0, next_one=True)}


def funding_early(market: Market, labels: LabelFrame) -> Columns:
    """Take a rate as known four hours before it settles."""
    columns = honest_features(market, labels)
    return {**columns, "funding": _rate_by_stamp(market, 4 * _HOUR, next_one=False)}


def days_close(market: Market, labels: LabelFrame) -> Columns:
    """Join daily bars by date: every hour of a day knows how the day will close."""
    bars = market.bars
    day = to_ns(bars.open_time) // _DAY
    last = np.searchsorted(day, day, side="right") - 1
    return {
        **honest_features(market, labels),
        "day_change": np.log(bars.close[last] / bars.close),
    }


def target_encoding(market: Market, labels: LabelFrame) -> Columns:
    """Encode the hour of the week by the mean label of all rows that share it."""
    slot = to_ns(market.bars.close_time) // _HOUR % _WEEK_HOURS
    known = labels.label != UNDEFINED_LABEL
    count = np.bincount(slot[known], minlength=_WEEK_HOURS)
    ups = np.bincount(slot[known], weights=labels.label[known], minlength=_WEEK_HOURS)
    mean = (ups + 1) / (count + 2)
    return {**honest_features(market, labels), "hour_of_week_up_rate": mean[slot]}


def some_noise(market: Market, labels: LabelFrame) -> Columns:
    """Add a dozen columns of noise for a descent to overfit."""
    return noise_columns(market, labels, 12)


@functools.cache
def _noise_table(count: int) -> FloatArray:
    return np.random.default_rng(60).standard_normal((_NOISE_HOURS, count))


def running_sum(market: Market, labels: LabelFrame) -> Columns:
    """Add up signed volume from the first bar on, as OBV does: no look-ahead, but no end either."""
    sign = np.sign(np.diff(market.bars.close, prepend=market.bars.open[0]))
    return {**honest_features(market, labels), "obv": np.cumsum(sign * market.bars.volume) / 1e4}


def noise_columns(market: Market, labels: LabelFrame, count: int = 60) -> Columns:
    """Add columns of noise for a selection to choose from; each hour has its own, for ever."""
    noise = _noise_table(count)[to_ns(market.bars.open_time) // _HOUR % _NOISE_HOURS]
    named = {f"noise_{number}": noise[:, number] for number in range(count)}
    return {**honest_features(market, labels), **named}
