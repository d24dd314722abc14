"""Faults of real files, made to order in good ones, with a record of where they are.

Each fault is one function of a table, a source of chance and a count; it returns the faulty table
and the stamps it touched. ``perpwalk data check`` should find what stands here, or a run refuse it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from perpwalk.errors import UsageError

Kind = Literal["ohlcv", "funding"]
Made = tuple[pd.DataFrame, list[str]]

_PRICES = ["open", "high", "low", "close"]
_LONGEST_GAP = 48


@dataclass(frozen=True)
class Fault:
    """One kind of fault: in which file, how often unless said, what it is."""

    kind: Kind
    usual: int
    says: str
    make: Callable[[pd.DataFrame, np.random.Generator, int], Made]


def apply(
    name: str, frame: pd.DataFrame, rng: np.random.Generator, count: int | None = None
) -> Made:
    """Return a table with the fault called ``name``, and the stamps of the rows at fault.

    ``frame`` has its stamps as text in ``timestamp``.

    Raises
    ------
    UsageError
        There is no such fault, or the table is too short for so many.
    """
    fault = named(name)
    wanted = fault.usual if count is None else count
    if wanted < 1 or len(frame) < 4 * wanted + 8:
        raise UsageError(f"fault '{name}': {wanted} times do not fit into {len(frame):,} rows")
    return fault.make(frame.reset_index(drop=True), rng, wanted)


def named(name: str) -> Fault:
    """Return the fault called ``name``."""
    if name not in FAULTS:
        raise UsageError(f"'{name}' is no fault; choose among {', '.join(FAULTS)}")
    return FAULTS[name]


def _places(frame: pd.DataFrame, rng: np.random.Generator, count: int) -> np.ndarray:
    """Return rows away from the ends and from each other, ascending."""
    inner = np.arange(2, len(frame) - 2, 2)
    return np.sort(rng.choice(inner, size=count, replace=False))


def _stamps(frame: pd.DataFrame, rows: np.ndarray) -> list[str]:
    return [str(stamp) for stamp in frame["timestamp"].iloc[rows]]


# ── rows ─────────────────────────────────────────────────────────────────────────────────────────


def _gap(frame: pd.DataFrame, rng: np.random.Generator, count: int) -> Made:
    gone: set[int] = set()
    for start in _places(frame, rng, count).tolist():
        longest = max(1, min(_LONGEST_GAP, len(frame) // (4 * count)))
        stop = min(start + int(rng.integers(1, longest + 1)), len(frame) - 2)
        gone.update(range(start, stop))
    rows = np.array(sorted(gone))
    return frame.drop(index=sorted(gone)), _stamps(frame, rows)


def _duplicate(frame: pd.DataFrame, rng: np.random.Generator, count: int) -> Made:
    rows = _places(frame, rng, count)
    return frame.iloc[np.sort(np.concatenate((np.arange(len(frame)), rows)))], _stamps(frame, rows)


def _conflict(frame: pd.DataFrame, rng: np.random.Generator, count: int) -> Made:
    rows = _places(frame, rng, count)
    again = frame.iloc[rows].copy()
    again[_PRICES] *= 1.001
    made = pd.concat((frame, again)).sort_index(kind="stable")
    return made, _stamps(frame, rows)


def _shuffle(frame: pd.DataFrame, rng: np.random.Generator, count: int) -> Made:
    order = np.arange(len(frame))
    rows = _places(frame, rng, count)
    order[rows], order[rows + 1] = rows + 1, rows
    return frame.iloc[order], _stamps(frame, rows)


# ── values ───────────────────────────────────────────────────────────────────────────────────────


def _set(column: str, value: float) -> Callable[[pd.DataFrame, np.random.Generator, int], Made]:
    def make(frame: pd.DataFrame, rng: np.random.Generator, count: int) -> Made:
        rows = _places(frame, rng, count)
        made = frame.copy()
        made.loc[rows, column] = value
        return made, _stamps(frame, rows)

    return make


def _times(column: str, factor: float) -> Callable[[pd.DataFrame, np.random.Generator, int], Made]:
    """Multiply single values; a price takes its bar's high along."""

    def make(frame: pd.DataFrame, rng: np.random.Generator, count: int) -> Made:
        rows, made = _places(frame, rng, count), frame.copy()
        made.loc[rows, column] = frame.loc[rows, column] * factor
        if column in _PRICES:
            made.loc[rows, "high"] = made.loc[rows, ["high", column]].max(axis=1)
        return made, _stamps(frame, rows)

    return make


def _frozen(frame: pd.DataFrame, rng: np.random.Generator, count: int) -> Made:
    made, touched = frame.copy(), []
    for start in _places(frame, rng, count).tolist():
        rows = np.arange(start, min(start + 5, len(frame)))
        made.loc[rows, _PRICES] = frame.loc[start, _PRICES].to_numpy(dtype=float)
        touched += _stamps(frame, rows)
    return made, touched


def _wick(frame: pd.DataFrame, rng: np.random.Generator, count: int) -> Made:
    """Put highs far up and lows far down by turns; open and close stay."""
    rows, made = _places(frame, rng, count), frame.copy()
    made.loc[rows[::2], "high"] = frame.loc[rows[::2], "high"] * 1.8
    made.loc[rows[1::2], "low"] = frame.loc[rows[1::2], "low"] * 0.2
    return made, _stamps(frame, rows)


def _high_below_low(frame: pd.DataFrame, rng: np.random.Generator, count: int) -> Made:
    rows, made = _places(frame, rng, count), frame.copy()
    made.loc[rows, ["high", "low"]] = frame.loc[rows, ["low", "high"]].to_numpy()
    return made, _stamps(frame, rows)


def _forming(frame: pd.DataFrame, rng: np.random.Generator, count: int) -> Made:
    """Save bars when a part of them is over: little volume, a close on the way."""
    return _half_done(frame, _places(frame, rng, count))


def _forming_last(frame: pd.DataFrame, _rng: np.random.Generator, _count: int) -> Made:
    return _half_done(frame, np.array([len(frame) - 1]))


def _half_done(frame: pd.DataFrame, rows: np.ndarray) -> Made:
    made = frame.copy()
    made.loc[rows, "volume"] = frame.loc[rows, "volume"] * 0.02
    way = frame.loc[rows, "open"] + 0.5 * (frame.loc[rows, "high"] - frame.loc[rows, "open"])
    made.loc[rows, "close"] = way
    return made, _stamps(frame, rows)


# ── whole files ──────────────────────────────────────────────────────────────────────────────────


def _coarse(frame: pd.DataFrame, _rng: np.random.Generator, _count: int) -> Made:
    """Put every fourth bar in the place of the three after it."""
    made = frame.copy()
    source = np.arange(len(frame)) // 4 * 4
    columns = [name for name in frame.columns if name != "timestamp"]
    made[columns] = frame[columns].to_numpy()[source]
    return made, _stamps(frame, np.flatnonzero(source != np.arange(len(frame))))


def _swapped(frame: pd.DataFrame, _rng: np.random.Generator, _count: int) -> Made:
    return frame.rename(columns={"open": "close", "close": "open"}), []


def _local_time(frame: pd.DataFrame, _rng: np.random.Generator, _count: int) -> Made:
    later = pd.DatetimeIndex(frame["timestamp"]) + pd.Timedelta("3h")
    return frame.assign(timestamp=later.strftime("%Y-%m-%d %H:%M:%S")), []


def _mixed_units(frame: pd.DataFrame, _rng: np.random.Generator, _count: int) -> Made:
    whole = pd.DatetimeIndex(frame["timestamp"]).as_unit("ns").asi8 // 10**6
    half = np.arange(len(frame)) >= len(frame) // 2
    return frame.assign(timestamp=np.where(half, whole * 1000, whole)), []


def _percent(frame: pd.DataFrame, _rng: np.random.Generator, _count: int) -> Made:
    return frame.assign(funding_rate=frame["funding_rate"] * 100), []


def _page(frame: pd.DataFrame, _rng: np.random.Generator, _count: int) -> Made:
    return frame.iloc[-200:], _stamps(frame, np.arange(max(0, len(frame) - 200)))


def _jitter(frame: pd.DataFrame, rng: np.random.Generator, _count: int) -> Made:
    late = pd.to_timedelta(rng.integers(0, 50, len(frame)), unit="ms")
    stamps = pd.DatetimeIndex(frame["timestamp"]) + late
    return frame.assign(timestamp=stamps.strftime("%Y-%m-%dT%H:%M:%S.%fZ")), []


FAULTS: dict[str, Fault] = {
    "gap": Fault("ohlcv", 3, "rows are missing", _gap),
    "duplicate": Fault("ohlcv", 3, "rows stand twice", _duplicate),
    "conflict": Fault("ohlcv", 3, "stamps stand twice with other values", _conflict),
    "shuffle": Fault("ohlcv", 3, "neighbouring rows are exchanged", _shuffle),
    "frozen": Fault("ohlcv", 3, "a bar is repeated four times", _frozen),
    "zero-volume": Fault("ohlcv", 5, "bars without volume", _set("volume", 0.0)),
    "outlier": Fault("ohlcv", 2, "closes ten times too high", _times("close", 10)),
    "wick": Fault("ohlcv", 2, "a high 1.8 times too high, a low at a fifth", _wick),
    "wrong-open": Fault("ohlcv", 2, "opens 1.3 times too high", _times("open", 1.3)),
    "wild-volume": Fault("ohlcv", 2, "volumes 10,000 times too large", _times("volume", 1e4)),
    "high-below-low": Fault("ohlcv", 2, "high and low are exchanged", _high_below_low),
    "nan": Fault("ohlcv", 2, "closes are empty", _set("close", float("nan"))),
    "negative": Fault("ohlcv", 2, "lows are below 0", _set("low", -1.0)),
    "forming": Fault("ohlcv", 3, "bars saved while forming", _forming),
    "forming-last": Fault("ohlcv", 1, "the last bar saved while forming", _forming_last),
    "coarse": Fault("ohlcv", 1, "every fourth bar copied onto the next three", _coarse),
    "swapped": Fault("ohlcv", 1, "open and close are exchanged", _swapped),
    "local-time": Fault("ohlcv", 1, "stamps three hours east, without a zone", _local_time),
    "mixed-units": Fault("ohlcv", 1, "milliseconds, then microseconds", _mixed_units),
    "percent": Fault("funding", 1, "rates in percent", _percent),
    "page": Fault("funding", 1, "only the last 200 settlements", _page),
    "missing-settlements": Fault("funding", 5, "settlements are missing", _gap),
    "funding-local-time": Fault("funding", 1, "settlements three hours east", _local_time),
    "jitter": Fault("funding", 1, "stamps up to 50 ms late", _jitter),
}
