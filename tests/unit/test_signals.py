"""Signals: looked up or computed live, the same answer, and never from what is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest

from perpwalk.domain import (
    Bar,
    BarFrame,
    FeatureFrame,
    Fold,
    Forecast,
    FundingFrame,
    Span,
    from_ns,
    to_ns,
)  # fmt: skip
from perpwalk.errors import LookAheadError, UserError
from perpwalk.models.base import Prediction
from perpwalk.signals import FittedFold, LiveSignals, Observer, PrecomputedSignals, SignalSource

HOUR = pd.Timedelta("1h")
START = pd.Timestamp("2024-01-01T00:00:00Z")
N = 60


def some_bars() -> BarFrame:
    """Return 60 bars of a random walk."""
    rng = np.random.default_rng(5)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, N)))
    frame = pd.DataFrame(
        {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close, "volume": 1.0},
        index=pd.date_range(START, periods=N, freq="1h"),
    )
    return BarFrame.of(frame, symbol="ABC", interval=HOUR)


def some_funding() -> FundingFrame:
    """Return a settlement every 8 hours with rates that tell them apart."""
    index = pd.date_range(START, periods=8, freq="8h")
    return FundingFrame.of(index, np.arange(8) / 1000, symbol="ABC")


class LastMoves:
    """Two features with a look-back of 4 bars: a 3-bar return, and the rate in force."""

    lookback = 4
    names = ("return", "rate")

    def __init__(self) -> None:
        self.asked: list[int] = []

    def compute(self, bars: BarFrame, funding: FundingFrame) -> FeatureFrame:
        self.asked.append(len(bars))
        values = np.full((len(bars), 2), np.nan)
        values[3:, 0] = bars.close[3:] / bars.close[:-3] - 1
        at = np.searchsorted(to_ns(funding.settle_time), to_ns(bars.close_time), side="right") - 1
        values[:, 1] = np.where(at >= 0, np.append(funding.rate, np.nan)[at], np.nan)
        values[:3, 1] = np.nan
        return FeatureFrame(bars.close_time, self.names, values, self.lookback)


class TimesTen:
    """A preprocessor."""

    def transform(self, values: np.ndarray) -> np.ndarray:
        return (values * 10).astype(np.float32)


@dataclass
class SumOfWindow:
    """A model of three timesteps whose opinion depends on every value of its window."""

    bias: float
    timesteps: int = 3

    def predict(self, values: np.ndarray, rows: np.ndarray) -> Prediction:
        assert np.isfinite(values).all(), "a model refuses incomplete windows"
        sums = [float(values[row - 2 : row + 1].sum()) for row in rows]
        return Prediction.of(1 / (1 + np.exp(-np.array(sums) - self.bias)))


def span(start: int, stop: int) -> Span:
    """Return the decisions of bars ``start`` to ``stop``."""
    closes = [START + (n + 1) * HOUR for n in (start, stop)]
    return Span(closes[0], closes[1], np.arange(start, stop), stop - start)


def fitted_folds() -> list[FittedFold]:
    """Return two folds that test bars 30 to 45 and 45 to 60 with models of their own."""
    folds = []
    for number, (start, stop, bias) in enumerate([(30, 45, 0.0), (45, 60, 0.5)]):
        fold = Fold(number, span(5, 20), span(20, 30), span(start, stop))
        folds.append(FittedFold(fold, TimesTen(), SumOfWindow(bias), 0.5 + number / 100))
    return folds


def batched() -> PrecomputedSignals:
    """Return the forecasts of both folds, made in one go each."""
    frame = LastMoves().compute(some_bars(), some_funding())
    forecasts = []
    for one in fitted_folds():
        rows = one.fold.test.rows
        values = one.preprocessor.transform(frame.values[3:])  # without the warm-up
        made = one.model.predict(values, rows - 3)
        times = frame.close_time[rows]
        forecasts.append(Forecast(one.fold.number, times, rows, made.p_up, made.embedding))
    return PrecomputedSignals(forecasts, [one.threshold for one in fitted_folds()])


def live(features: LastMoves, start: int = 30) -> LiveSignals:
    """Return a live source that knows the bars and settlements before bar ``start``."""
    bars, funding = some_bars(), some_funding()
    known = int(funding.settle_time.searchsorted(bars.close_time[start - 1], side="right"))
    return LiveSignals(
        features,
        fitted_folds(),
        past_bars=bars.rows(0, start),
        past_funding=funding.rows(0, known),
    )


def show(source: LiveSignals, bars: BarFrame, n: int) -> pd.Timestamp:
    """Deliver bar ``n`` and what settled in it, and return its close."""
    funding, closed = some_funding(), bars.close_time[n]
    first, stop = funding.settle_time.searchsorted([bars.open_time[n], closed], side="right")
    bar = Bar(
        bars.open_time[n], closed, bars.open[n], bars.high[n], bars.low[n], bars.close[n],
        bars.volume[n],
    )  # fmt: skip
    source.observe(bar, funding.rows(int(first), int(stop)))
    return closed


def test_batched_and_live_signals_agree():
    """
    At each decision of both folds, bars delivered one by one give the batch's signal.
    """
    bars, lookup, online = some_bars(), batched(), live(LastMoves())

    for n in range(30, N):
        as_of = show(online, bars, n)
        expected, actual = lookup.at(as_of), online.at(as_of)
        assert expected is not None
        assert actual is not None
        assert expected.p_up == pytest.approx(actual.p_up, abs=1e-12)
        assert (expected.fold, expected.threshold) == (actual.fold, actual.threshold)
        assert expected.as_of == actual.as_of


def test_a_live_source_computes_from_the_lookback_only():
    """
    After its start it never asks for a feature row from more bars than the look-back.
    """
    features, bars = LastMoves(), some_bars()
    online = live(features)
    features.asked.clear()

    for n in range(30, 40):
        show(online, bars, n)

    assert {4} == set(features.asked)


def test_a_live_source_does_not_know_what_it_was_not_shown():
    """
    Bars that come later, whatever they are, change nothing about an answer given before.
    """
    bars = some_bars()
    shocked = bars.to_frame()
    shocked.iloc[41:] *= 7
    other = BarFrame.of(shocked, symbol="ABC", interval=HOUR)
    answers = []
    for tape in (bars, other):
        online = live(LastMoves())
        answers.append([online.at(show(online, tape, n)) for n in range(30, 41)])

    assert answers[0] == answers[1]


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_live_source_answers_for_its_last_bar_only(hours: int):
    """
    Asked about the bar before or the bar to come it raises: neither is what it knows now.
    """
    online = live(LastMoves())
    as_of = show(online, some_bars(), 30)

    with pytest.raises(LookAheadError, match="observe"):
        online.at(as_of + hours * HOUR)


def test_bars_out_of_order_are_refused():
    """
    A bar that was shown already cannot be shown again.
    """
    online = live(LastMoves())
    show(online, some_bars(), 30)

    with pytest.raises(LookAheadError, match="out of order"):
        show(online, some_bars(), 30)


def test_outside_all_test_spans_there_is_no_signal():
    """
    Before the first fold's test span and after the last one neither source says anything.
    """
    bars = some_bars()
    online = live(LastMoves(), start=28)

    assert online.at(show(online, bars, 28)) is None
    assert batched().at(bars.close_time[28]) is None
    assert batched().at(bars.close_time[-1] + HOUR) is None


def test_a_window_over_an_incomplete_row_has_no_signal():
    """
    Begun with one bar, the source is silent until look-back and window are full.
    """
    bars = some_bars()
    online = LiveSignals(
        LastMoves(),
        [FittedFold(Fold(0, span(0, 1), span(1, 2), span(2, 60)), TimesTen(), SumOfWindow(0), 0.5)],
        past_bars=bars.rows(0, 1),
        past_funding=some_funding().rows(0, 1),
    )

    answers = [online.at(show(online, bars, n)) is not None for n in range(1, 9)]

    assert [False] * 4 + [True] * 4 == answers  # rows from bar 3, windows of three from bar 5


def test_settlements_before_the_buffer_stay_in_force():
    """
    The rate settled before the look-back began is still the rate in force.
    """
    slow = FundingFrame.of(pd.DatetimeIndex([START + HOUR]), [0.004], symbol="ABC")
    features, bars = LastMoves(), some_bars()
    online = LiveSignals(features, fitted_folds(), past_bars=bars.rows(0, 30), past_funding=slow)
    rows: list[Any] = []
    compute = features.compute
    features.compute = lambda b, f: rows.append(compute(b, f)) or rows[-1]  # type: ignore[method-assign]

    show(online, bars, 30)

    assert 0.004 == rows[-1].values[-1, 1]


def test_stamps_and_nanoseconds_ask_the_same():
    """
    A Timestamp and its integer give one answer.
    """
    lookup = batched()
    as_of = some_bars().close_time[33]

    assert lookup.at(as_of) == lookup.at(int(to_ns(as_of)))
    assert as_of == lookup.at(as_of).as_of


def test_two_forecasts_of_one_decision_are_refused():
    """
    Overlapping test spans would make the answer depend on the order of folds.
    """
    times = from_ns([1, 2])
    forecast = Forecast(0, times, np.array([0, 1]), np.array([0.5, 0.5]), np.zeros((2, 2)))

    with pytest.raises(UserError, match="again"):
        PrecomputedSignals([forecast, forecast], [0.5, 0.5])
    with pytest.raises(UserError, match="1 forecasts but 0 thresholds"):
        PrecomputedSignals([forecast], [])


def test_who_has_to_be_shown_bars():
    """
    Both are sources; only the live one observes.
    """
    assert isinstance(batched(), SignalSource)
    assert not isinstance(batched(), Observer)
    assert isinstance(live(LastMoves()), Observer)
