"""The vocabulary: small frozen records that every other module speaks in.

Imports nothing of ours. Times are UTC; a *bar* is named by its ``open_time`` and known at its
``close_time``; a *decision* is made at a bar's close. Rates are fractions. A positive funding rate
means longs pay shorts. Optional numbers are tested with ``is None``: zero is a value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
Int32Array = npt.NDArray[np.int32]
LabelArray = npt.NDArray[np.int8]
BoolArray = npt.NDArray[np.bool_]

UNDEFINED_LABEL = -1  # a row without a label: unknown yet, tied and dropped, or across a gap


def frozen_array(values: npt.ArrayLike, dtype: npt.DTypeLike = np.float64) -> npt.NDArray[Any]:
    """Return ``values`` as a contiguous array of ``dtype`` that cannot be written to.

    The input is left alone: it is copied where it could still be written through another name.

    >>> frozen_array([1, 2]).flags.writeable
    False
    """
    array = np.array(values, dtype=dtype, order="C", copy=True)
    array.flags.writeable = False
    return array


def to_ns(times: pd.DatetimeIndex | pd.Timestamp | pd.Timedelta) -> Any:
    """Return int64 nanoseconds (since 1970 for stamps): an array for an index, an int for one.

    >>> to_ns(pd.Timestamp("1970-01-01T00:00:01Z"))
    1000000000
    """
    if isinstance(times, pd.DatetimeIndex):
        return times.as_unit("ns").asi8
    return times.as_unit("ns").value


def bar_numbers(close_time: pd.DatetimeIndex, interval: pd.Timedelta) -> IntArray:
    """Return the number of each bar since 1970: the same, whatever history it is asked from.

    >>> bar_numbers(pd.DatetimeIndex(["1970-01-02T01:00Z"]), pd.Timedelta("1h")).tolist()
    [25]
    """
    numbers: IntArray = to_ns(close_time) // to_ns(interval)
    return numbers


def from_ns(nanoseconds: npt.ArrayLike) -> pd.DatetimeIndex:
    """Return UTC stamps (``datetime64[ns, UTC]``) from int64 nanoseconds since 1970."""
    return pd.DatetimeIndex(np.asarray(nanoseconds, dtype="int64").view("M8[ns]"), tz="UTC")


# ── findings: what any stage has to say about the run ────────────────────────────────────────────


class Level(StrEnum):
    """How bad a finding is. One ``ERROR`` makes a run invalid."""

    INFO = "info"
    WARN = "warn"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One observation about data, labels, folds, predictions or the account.

    ``code`` is a letter and three digits: D data, L label, S split, P prediction, K leak,
    U uncertainty, A account, R run.
    """

    code: str
    level: Level
    where: str
    message: str
    observed: str | None = None
    expected: str | None = None
    why: str | None = None
    advice: str | None = None

    def as_dict(self) -> dict[str, str | None]:
        """Return the fields as ``audit.json`` holds them."""
        return {**vars(self), "level": str(self.level)}


def about(symbol: str, findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings of one of several contracts: their place begins with its symbol."""
    return tuple(replace(one, where=f"{symbol} {one.where}") for one in findings)


# ── market ───────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Bar:
    """One interval of OHLCV. Prices in quote currency, volume in base currency."""

    open_time: pd.Timestamp
    close_time: pd.Timestamp
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(frozen=True, eq=False)
class BarFrame:
    """A checked table of bars: strictly increasing, finite, ``high >= open, close >= low > 0``.

    Columns are read-only float64 arrays of shape (n,). Build it through ``perpwalk.data`` (which
    checks) or, in tests, through ``BarFrame.of`` (which only converts).

    Attributes
    ----------
    symbol
        Name of the contract, such as ``ETHUSDT``.
    interval
        Length of one bar.
    open_time
        ``datetime64[ns, UTC]`` index; the bar ``[open_time, open_time + interval)``.
    filled
        True where a bar was made up by ``market.gaps: fill`` (flat at the last close, volume 0).
    """

    symbol: str
    interval: pd.Timedelta
    open_time: pd.DatetimeIndex
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    filled: BoolArray

    @classmethod
    def of(
        cls,
        frame: pd.DataFrame,
        *,
        symbol: str,
        interval: pd.Timedelta,
        filled: npt.ArrayLike | None = None,
    ) -> BarFrame:
        """Build from columns ``open, high, low, close, volume`` under a UTC index of open times."""
        index = pd.DatetimeIndex(frame.index).as_unit("ns")
        made_up = np.zeros(len(frame), dtype=bool) if filled is None else filled
        columns = {
            name: frozen_array(frame[name].to_numpy())
            for name in ("open", "high", "low", "close", "volume")
        }
        return cls(
            symbol=symbol,
            interval=interval,
            open_time=index,
            filled=frozen_array(made_up, np.bool_),
            **columns,
        )

    def __len__(self) -> int:
        return len(self.open)

    @property
    def close_time(self) -> pd.DatetimeIndex:
        """When each bar is known: ``open_time + interval``."""
        return self.open_time + self.interval

    def rows(self, start: int, stop: int) -> BarFrame:
        """Return bars ``start`` (inclusive) to ``stop`` (exclusive) as views, without copying."""
        cut = slice(start, stop)
        return BarFrame(
            symbol=self.symbol,
            interval=self.interval,
            open_time=self.open_time[cut],
            open=self.open[cut],
            high=self.high[cut],
            low=self.low[cut],
            close=self.close[cut],
            volume=self.volume[cut],
            filled=self.filled[cut],
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a DataFrame under ``open_time`` with columns open, high, low, close, volume."""
        columns = {n: getattr(self, n) for n in ("open", "high", "low", "close", "volume")}
        return pd.DataFrame(columns, index=self.open_time.rename("open_time"))


@dataclass(frozen=True, eq=False)
class FundingFrame:
    """Funding rates, one row per settlement, strictly increasing.

    Attributes
    ----------
    settle_time
        ``datetime64[ns, UTC]`` index of settlement stamps, rounded to the whole second.
    rate
        Fraction of notional per settlement; positive: longs pay shorts. Shape (n,).
    mark_price
        Mark price at settlement, NaN where the file has none. Shape (n,).
    assumed
        True where no record was published and ``market.missing_funding: zero`` put a rate of 0.
    """

    symbol: str
    settle_time: pd.DatetimeIndex
    rate: FloatArray
    mark_price: FloatArray
    assumed: BoolArray

    @classmethod
    def of(
        cls,
        settle_time: pd.DatetimeIndex,
        rate: npt.ArrayLike,
        mark_price: npt.ArrayLike | None = None,
        *,
        symbol: str,
        assumed: npt.ArrayLike | None = None,
    ) -> FundingFrame:
        """Build from stamps and rates; a missing mark price is NaN."""
        rates = frozen_array(rate)
        marks = np.full(len(rates), np.nan) if mark_price is None else mark_price
        made_up = np.zeros(len(rates), dtype=bool) if assumed is None else assumed
        return cls(
            symbol=symbol,
            settle_time=pd.DatetimeIndex(settle_time).as_unit("ns"),
            rate=rates,
            mark_price=frozen_array(marks),
            assumed=frozen_array(made_up, np.bool_),
        )

    @classmethod
    def empty(cls, symbol: str) -> FundingFrame:
        """Return a table without records."""
        return cls.of(pd.DatetimeIndex([], tz="UTC"), [], symbol=symbol)

    def __len__(self) -> int:
        return len(self.rate)

    def rows(self, start: int, stop: int) -> FundingFrame:
        """Return settlements ``start`` (inclusive) to ``stop`` (exclusive) as views."""
        cut = slice(start, stop)
        return FundingFrame(
            symbol=self.symbol,
            settle_time=self.settle_time[cut],
            rate=self.rate[cut],
            mark_price=self.mark_price[cut],
            assumed=self.assumed[cut],
        )


@dataclass(frozen=True, slots=True)
class MaintenanceTier:
    """One row of an exchange's maintenance-margin table.

    A position whose notional is at least ``notional_floor`` needs
    ``notional * maintenance_rate - maintenance_amount`` of margin to stay open.
    """

    notional_floor: float
    maintenance_rate: float
    maintenance_amount: float
    max_leverage: float


@dataclass(frozen=True)
class PerpSpec:
    """Facts of one linear (quote-margined) perpetual contract.

    Attributes
    ----------
    tick_size
        Price step; 0 means prices are not rounded.
    lot_size
        Quantity step in base currency; 0 means any quantity.
    min_notional
        Orders that open or increase a position below this notional are rejected.
    maker_fee, taker_fee
        Fractions of notional per side.
    liquidation_fee
        Fraction of notional taken at liquidation.
    tiers
        Maintenance margins, ascending ``notional_floor`` from 0.
    """

    symbol: str
    tick_size: float = 0.0
    lot_size: float = 0.001
    min_notional: float = 5.0
    maker_fee: float = 0.0002
    taker_fee: float = 0.0005
    liquidation_fee: float = 0.005
    tiers: tuple[MaintenanceTier, ...] = (MaintenanceTier(0.0, 0.005, 0.0, 125.0),)


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Birth certificate of one input: what was read, from where, and its hash.

    ``layout`` says whose file it was taken for.
    """

    kind: str
    path: str
    file_format: str
    rows: int
    first: str
    last: str
    sha256: str
    layout: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Market:
    """One contract's data: bars, settlements, optional mark bars, and what reading them found.

    Attributes
    ----------
    mark
        Mark-price candles on the bars' own grid (volume 0), or None: then closes stand in.
    inside
        The finer bars that the bars are made of, where orders, liquidations and settlements are to
        meet them (``market.intrabar``): with the same settlements, and marks on their own grid.
    funding_features
        False where ``market.missing_funding: drop_features`` left them out.
    truth
        What is known of a simulated market: ``edge``, ``best_auc``, ``best_accuracy``.
    """

    bars: BarFrame
    funding: FundingFrame
    mark: BarFrame | None = None
    inside: Market | None = None
    findings: tuple[Finding, ...] = ()
    sources: tuple[DataSource, ...] = ()
    funding_features: bool = True
    truth: Mapping[str, float] = field(default_factory=dict)

    @property
    def symbol(self) -> str:
        """Name of the contract."""
        return self.bars.symbol

    def met_by(self, first: int, stop: int) -> tuple[Market, range]:
        """Return what the account of bars ``first`` to ``stop`` meets, and its rows.

        The market itself, or the finer bars inside of it.
        """
        if self.inside is None:
            return self, range(first, stop)
        closes, finer = to_ns(self.bars.close_time), to_ns(self.inside.bars.close_time)
        begin = closes[first] - to_ns(self.bars.interval)
        rows = np.searchsorted(finer, [begin, closes[stop - 1]], side="right")
        return self.inside, range(int(rows[0]), int(rows[1]))


# ── features and labels ──────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class FeatureFrame:
    """Values known at each decision, one row per bar of the market.

    Attributes
    ----------
    close_time
        Decision times, one per bar; shape (n,).
    names
        Names of the k features.
    values
        float64, shape (n, k), C-contiguous; NaN during warm-up.
    lookback
        How many bars up to and including the decision's own determine a row: a row computed from
        only that many bars equals the row computed from all history (to 1e-9 relative).
    """

    close_time: pd.DatetimeIndex
    names: tuple[str, ...]
    values: FloatArray
    lookback: int

    @property
    def warmup(self) -> int:
        """Rows at the start in which at least one feature is not defined yet."""
        complete = np.asarray(np.isfinite(self.values).all(axis=1))
        return int(np.argmax(complete)) if complete.any() else len(self.values)

    def until(self, stop: int) -> FeatureFrame:
        """Return the rows before ``stop`` as views: what exists for a fit that ends there."""
        return FeatureFrame(
            self.close_time[:stop], self.names, self.values[:stop], lookback=self.lookback
        )


@dataclass(frozen=True, eq=False)
class LabelFrame:
    """Forward-looking targets, one row per bar, each dated with when it is known.

    Attributes
    ----------
    close_time
        Decision times; shape (n,).
    known_at
        When the label is known; NaT where it never is within the data. Shape (n,).
    forward_return
        Log return the label judges; NaN where undefined. Shape (n,).
    label
        int8: 1 up, 0 down, ``UNDEFINED_LABEL`` where there is none. Shape (n,).
    horizon
        Bars ahead.
    """

    close_time: pd.DatetimeIndex
    known_at: pd.DatetimeIndex
    forward_return: FloatArray
    label: LabelArray
    horizon: int
    ties: int = 0
    across_gap: int = 0

    def until(self, stop: int) -> LabelFrame:
        """Return the rows before ``stop`` as views; the counts stay those of the whole."""
        return LabelFrame(
            close_time=self.close_time[:stop],
            known_at=self.known_at[:stop],
            forward_return=self.forward_return[:stop],
            label=self.label[:stop],
            horizon=self.horizon,
            ties=self.ties,
            across_gap=self.across_gap,
        )


# ── folds ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Span:
    """Half-open interval of decision times ``[start, end)`` and its usable rows.

    ``rows`` are indices into the market's bars, ascending: rows left after warm-up, window,
    unknown or dropped labels, purge and embargo. ``bars`` counts all bars of the interval before
    any of these losses.
    """

    start: pd.Timestamp
    end: pd.Timestamp
    rows: IntArray
    bars: int

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Fold:
    """One walk-forward step: fit on ``train``, tune on ``validation``, be judged on ``test``.

    ``purged`` rows were dropped because their label was not known when the next span started;
    ``embargoed`` rows by the extra gap; ``warmup``, ``unlabelled`` and ``ties`` count the other
    losses. ``test.rows`` holds every decision of the span that has features, labelled or not.
    """

    number: int
    train: Span
    validation: Span
    test: Span
    purged: int = 0
    embargoed: int = 0
    warmup: int = 0
    unlabelled: int = 0
    ties: int = 0
    partial: bool = False


# ── forecasts, signals, positions ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Forecast:
    """A model's raw opinion on each test decision of one fold.

    ``p_up`` has shape (m,), ``embedding`` (m, d) scaled to [-1, 1]; ``rows`` index the bars.
    """

    fold: int
    close_time: pd.DatetimeIndex
    rows: IntArray
    p_up: FloatArray
    embedding: FloatArray


class Side(IntEnum):
    """Direction of a signal or position."""

    SHORT = -1
    FLAT = 0
    LONG = 1


@dataclass(frozen=True, slots=True)
class Signal:
    """What the model says as of a bar's close; may be acted on from the next bar's open.

    ``strength`` is ``2 * p_up - 1`` in [-1, 1]; ``threshold`` is the fold's decision threshold
    chosen on validation; ``side`` is LONG above it, SHORT below.
    """

    as_of: pd.Timestamp
    fold: int
    p_up: float
    threshold: float

    @property
    def side(self) -> Side:
        """LONG where ``p_up`` exceeds the threshold, SHORT below it, FLAT on it."""
        return Side(int(np.sign(self.p_up - self.threshold)))

    @property
    def strength(self) -> float:
        """Conviction in [-1, 1], 0 at the threshold."""
        return 2.0 * (self.p_up - self.threshold)
