"""Forecast to signal: what the model says as of a bar's close.

Two sources, same answers. ``PrecomputedSignals`` looks up forecasts that were made fold by fold in
one batch. ``LiveSignals`` computes features and forecast at each bar from the bars delivered to it
so far; that the two agree is the strongest evidence that nothing looks ahead.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import pandas as pd

from perpwalk.domain import (
    Bar,
    BarFrame,
    FloatArray,
    Fold,
    Forecast,
    FundingFrame,
    IntArray,
    Signal,
    bar_numbers,
    from_ns,
    to_ns,
)
from perpwalk.errors import LookAheadError, UserError, naming
from perpwalk.features import FeatureSet
from perpwalk.finite import require_finite, require_number
from perpwalk.models.base import FittedModel, forecasts_of
from perpwalk.preprocess import Preprocessor

_SPARE_SETTLEMENTS = 8  # kept beyond the buffer's first bar: the rate in force when it began


@runtime_checkable
class SignalSource(Protocol):
    """Answers "what is the signal as of t?", from what was known at t."""

    def at(self, as_of: pd.Timestamp | int) -> Signal | None:
        """Return the signal of the decision at ``as_of``, a stamp or int64 ns; None without one."""
        ...


@runtime_checkable
class Observer(Protocol):
    """A source that has to be shown each bar as it closes."""

    def observe(self, bar: Bar, settled: FundingFrame) -> None:
        """Take in a bar that just closed and the settlements since the close before it."""
        ...


@dataclass(frozen=True, eq=False)
class FittedFold:
    """The fitted parts of one fold and the decision threshold chosen on its validation span."""

    fold: Fold
    preprocessor: Preprocessor
    model: FittedModel
    threshold: float


def _nanoseconds(as_of: pd.Timestamp | int) -> int:
    return as_of if isinstance(as_of, int) else int(to_ns(as_of))


def _require_signals(forecast: Forecast, threshold: float) -> None:
    with naming(f"fold {forecast.fold}"):
        require_number(threshold, "the decision threshold", "see strategy.threshold")
        require_finite(
            forecast.p_up, "p_up", "P001: no signal can be made of it", rows=forecast.close_time
        )


class PrecomputedSignals:
    """Signals from forecasts made in batches, found by their close time.

    Parameters
    ----------
    forecasts
        One per fold; their decision times must not overlap.
    thresholds
        One per fold.

    Raises
    ------
    UserError
        Two folds forecast the same decision, or the counts differ.
    """

    def __init__(self, forecasts: Sequence[Forecast], thresholds: Sequence[float]) -> None:
        if len(forecasts) != len(thresholds):
            raise UserError(f"{len(forecasts)} forecasts but {len(thresholds)} thresholds")
        self._found: dict[int, Signal] = {}
        for forecast, threshold in zip(forecasts, thresholds, strict=True):
            _require_signals(forecast, threshold)
            stamps, p_up = forecast.close_time, forecast.p_up.tolist()
            for key, stamp, p in zip(to_ns(stamps).tolist(), stamps, p_up, strict=True):
                if key in self._found:
                    raise UserError(
                        f"fold {forecast.fold} forecasts the decision at {stamp} again; "
                        f"fold {self._found[key].fold} has done so"
                    )
                self._found[key] = Signal(stamp, forecast.fold, p, threshold)

    def at(self, as_of: pd.Timestamp | int) -> Signal | None:
        """Return the signal of the decision at ``as_of``; None where there is no forecast."""
        return self._found.get(_nanoseconds(as_of))

    def columns(self, closes_ns: IntArray) -> FloatArray:
        """Return ``p_up`` and ``threshold`` of many decisions, NaN without a forecast; (2, n)."""
        nothing = (math.nan, math.nan)
        said = [
            nothing if found is None else (found.p_up, found.threshold)
            for found in map(self._found.get, closes_ns.tolist())
        ]
        return np.array(said, dtype=np.float64).reshape(-1, 2).T.copy()


class LiveSignals:
    """Signals computed at each bar from nothing but the bars delivered so far.

    Parameters
    ----------
    feature_set
        Computes a feature row from the last ``lookback`` bars.
    fitted
        The fitted folds; each answers for the decisions of its own test span.
    past_bars, past_funding
        The bars and settlements before the replay: the source begins with them in its buffers.

    Notes
    -----
    A bar whose feature row is incomplete, or whose window reaches over an incomplete row, has no
    signal, as in the batch.
    """

    def __init__(
        self,
        feature_set: FeatureSet,
        fitted: Sequence[FittedFold],
        *,
        past_bars: BarFrame,
        past_funding: FundingFrame,
    ) -> None:
        self._features = feature_set
        self._fitted = tuple(sorted(fitted, key=lambda one: one.fold.test.start))
        self._spans = [
            (int(to_ns(one.fold.test.start)), int(to_ns(one.fold.test.end))) for one in self._fitted
        ]
        self._window = max((one.model.timesteps for one in self._fitted), default=1)
        self._symbol, self._interval = past_bars.symbol, past_bars.interval
        self._bars: deque[tuple[float, ...]] = deque(maxlen=max(1, feature_set.lookback))
        self._opens: deque[int] = deque(maxlen=self._bars.maxlen)
        self._settlements: deque[tuple[int, float, float, bool]] = deque()
        self._rows: deque[FloatArray] = deque(maxlen=self._window)
        self._numbers: deque[int] = deque(maxlen=self._window)
        self._as_of: int | None = None
        self._current: Signal | None = None
        self._begin(past_bars, past_funding)

    def at(self, as_of: pd.Timestamp | int) -> Signal | None:
        """Return the signal of the bar observed last.

        Raises
        ------
        LookAheadError
            ``as_of`` is not the close of that bar: what is asked for is not known (any more).
        """
        if _nanoseconds(as_of) != self._as_of:
            seen = "none" if self._as_of is None else str(from_ns([self._as_of])[0])
            raise LookAheadError(
                f"a signal as of {from_ns([_nanoseconds(as_of)])[0]} was asked of a live source "
                f"whose last bar closed at {seen}; show it each bar with observe() first"
            )
        return self._current

    def observe(self, bar: Bar, settled: FundingFrame) -> None:
        """Take in a bar that just closed and the settlements since the close before it."""
        close_ns = int(to_ns(bar.close_time))
        if self._as_of is not None and close_ns <= self._as_of:
            raise LookAheadError(f"the bar closing at {bar.close_time} was delivered out of order")
        self._take_settlements(settled)
        self._opens.append(int(to_ns(bar.open_time)))
        self._bars.append((bar.open, bar.high, bar.low, bar.close, bar.volume))
        self._forget_settlements()
        bars, funding = self._buffers()
        self._rows.append(np.array(self._features.compute(bars, funding).values[-1]))
        self._numbers.append(int(bar_numbers(bars.close_time[-1:], self._interval)[0]))
        self._as_of = close_ns
        self._current = self._decide(close_ns)

    # ── buffers ──────────────────────────────────────────────────────────────────────────────────

    def _begin(self, past_bars: BarFrame, past_funding: FundingFrame) -> None:
        """Fill the buffers, and the window of rows from as many bars as its rows look back on."""
        needed = self._features.lookback + self._window - 1
        recent = past_bars.rows(max(0, len(past_bars) - needed), len(past_bars))
        self._take_settlements(past_funding)
        if len(recent) == 0:
            return
        rows = self._features.compute(recent, self._funding()).values[-self._window :]
        self._rows.extend(np.array(row) for row in rows)
        self._numbers.extend(bar_numbers(recent.close_time[-len(rows) :], self._interval).tolist())
        columns = (recent.open, recent.high, recent.low, recent.close, recent.volume)
        self._bars.extend(zip(*(column.tolist() for column in columns), strict=True))
        self._opens.extend(to_ns(recent.open_time).tolist())
        self._as_of = int(to_ns(recent.close_time[-1]))
        self._forget_settlements()

    def _take_settlements(self, settled: FundingFrame) -> None:
        for record in zip(
            to_ns(settled.settle_time).tolist(),
            settled.rate.tolist(),
            settled.mark_price.tolist(),
            settled.assumed.tolist(),
            strict=True,
        ):
            self._settlements.append(record)

    def _forget_settlements(self) -> None:
        """Keep the settlements since the buffer's first bar, and a few before it."""
        while (
            len(self._settlements) > _SPARE_SETTLEMENTS
            and self._settlements[_SPARE_SETTLEMENTS][0] <= self._opens[0]
        ):
            self._settlements.popleft()

    def _funding(self) -> FundingFrame:
        if not self._settlements:
            return FundingFrame.empty(self._symbol)
        stamps, rates, marks, assumed = zip(*self._settlements, strict=True)
        return FundingFrame.of(from_ns(stamps), rates, marks, symbol=self._symbol, assumed=assumed)

    def _buffers(self) -> tuple[BarFrame, FundingFrame]:
        frame = pd.DataFrame(
            np.array(self._bars),
            columns=["open", "high", "low", "close", "volume"],
            index=from_ns(list(self._opens)),
        )
        bars = BarFrame.of(frame, symbol=self._symbol, interval=self._interval)
        return bars, self._funding()

    # ── deciding ─────────────────────────────────────────────────────────────────────────────────

    def _decide(self, close_ns: int) -> Signal | None:
        fitted = self._fold_at(close_ns)
        if fitted is None or len(self._rows) < fitted.model.timesteps:
            return None
        steps = fitted.model.timesteps
        window = np.stack(list(self._rows)[-steps:])
        if not np.isfinite(window).all():
            return None
        values = fitted.preprocessor.transform(window)
        row = np.array([steps - 1], dtype=np.int64)
        clock = np.array(list(self._numbers)[-steps:])
        stamp = pd.Timestamp(close_ns, tz="UTC")
        with naming(f"fold {fitted.fold.number}, test span"):
            made = forecasts_of(fitted.model, values, row, clock, pd.DatetimeIndex([stamp]))
        return Signal(stamp, fitted.fold.number, float(made.p_up[0]), fitted.threshold)

    def _fold_at(self, close_ns: int) -> FittedFold | None:
        for fitted, (start, end) in zip(self._fitted, self._spans, strict=True):
            if start <= close_ns < end:
                return fitted
        return None
