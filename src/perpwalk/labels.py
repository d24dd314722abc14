"""Labels: the direction of the move that follows a decision, dated with when it is known.

Two moves are offered for a decision at the close of bar ``t`` and a horizon of ``h`` bars:

``close``
    ``log(close[t + h] / close[t])``, what "direction of the next bar" usually means. Known at the
    close of bar ``t + h``.
``next_open``
    ``log(open[t + 1 + h] / open[t + 1])``, what an order decided at ``t`` can earn, since it fills
    at the next open. Known at the open of bar ``t + 1 + h``.

A label of the user's own (``label.kind: path/to/file.py:name``) is a function of the bars and the
horizon that returns one value per bar: 1, 0, or NaN where there is none. It may use bars up to
``t + horizon`` for decision ``t`` and is taken to be known then; `perpwalk audit` looks whether
that is true. Its forward return is the move above.

A label that is not known, tied (by rule) or measured across a gap is ``UNDEFINED_LABEL``: it is
never fitted on and never scored, and never filled with a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from perpwalk.config import LabelSection, parse_duration
from perpwalk.domain import (
    UNDEFINED_LABEL,
    BarFrame,
    BoolArray,
    FloatArray,
    IntArray,
    LabelArray,
    LabelFrame,
    from_ns,
    frozen_array,
    to_ns,
)
from perpwalk.errors import ConfigError, UserError
from perpwalk.plugins import load_object

SIGN = "sign"

_NOT_A_TIME = np.iinfo(np.int64).min


def duration_bars(text: str, interval: pd.Timedelta, *, key: str, least: int = 1) -> int:
    """Return how many bars a duration of the configuration spans.

    Raises
    ------
    ConfigError
        It is no whole number of bars, or fewer than ``least``.

    Examples
    --------
    >>> duration_bars("8h", pd.Timedelta("1h"), key="label.horizon")
    8
    """
    bars, rest = divmod(parse_duration(text, interval), interval)
    if rest != pd.Timedelta(0):
        raise ConfigError(
            f"'{text}' is no whole number of bars of {_shown(interval)}; "
            f"write a multiple, such as '{max(int(bars), least)}bars'",
            key=key,
        )
    if bars < least:
        raise ConfigError(f"'{text}' is too short; give at least {least} bar(s)", key=key)
    return int(bars)


def purge_bars(section: LabelSection, interval: pd.Timedelta) -> int:
    """Return the bars to leave out before a span starts, so that no label reaches into it.

    The horizon for ``close``. One more for ``next_open``, whose last price belongs to the bar after
    the one at whose close it is known.
    """
    horizon = duration_bars(section.horizon, interval, key="label.horizon")
    return horizon if section.price == "close" else horizon + 1


def make_labels(bars: BarFrame, section: LabelSection) -> LabelFrame:
    """Label every decision of ``bars``.

    Parameters
    ----------
    bars
        n bars.
    section
        Kind, horizon, price and rule for ties.

    Returns
    -------
    LabelFrame
        One row per bar. Undefined are: the tail whose future is not in the data; rows whose window
        spans a gap (its length differs from what the horizon says) or begins or ends on a filled
        bar, counted in ``across_gap``; ties under ``ties: drop``. ``known_at`` is NaT and
        ``forward_return`` NaN for the first two; a tie is known and 0. ``ties`` counts tied rows
        whatever the rule.

    Raises
    ------
    ConfigError
        The horizon is no whole number of bars >= 1, or the user's own label cannot be loaded.
    UserError
        The user's own label fails, or returns something else than 1, 0 or NaN per bar.

    Examples
    --------
    >>> prices = [100.0, 101.0, 101.0, 99.0]
    >>> index = pd.date_range("2024-01-01", periods=4, freq="h", tz="UTC")
    >>> table = pd.DataFrame(
    ...     {n: prices for n in ("open", "high", "low", "close", "volume")}, index=index)
    >>> bars = BarFrame.of(table, symbol="ETHUSDT", interval=pd.Timedelta("1h"))
    >>> labels = make_labels(bars, LabelSection())
    >>> labels.label.tolist(), labels.ties
    ([1, -1, 0, -1], 1)
    >>> str(labels.known_at[0])
    '2024-01-01 02:00:00+00:00'
    """
    if section.kind == SIGN and section.params:
        raise ConfigError(
            "'sign' takes no params (they are for a label of your own)", key="label.params"
        )
    signs = _signs(bars, section)
    return signs if section.kind == SIGN else _of_the_user(bars, section, signs)


def _signs(bars: BarFrame, section: LabelSection) -> LabelFrame:
    horizon = duration_bars(section.horizon, bars.interval, key="label.horizon")
    if section.price == "close":
        prices, known, delay = bars.close, bars.close_time, 0
    else:
        prices, known, delay = bars.open, bars.open_time, 1

    decision = np.arange(len(bars), dtype=np.int64)
    in_data: BoolArray = decision + delay + horizon < len(bars)
    # Beyond the data any bar will do: those rows are masked by `in_data`.
    begin, end = (np.minimum(decision + ahead, len(bars) - 1) for ahead in (delay, delay + horizon))
    whole = in_data & _without_gap(bars, decision, begin, end, horizon + delay)
    tied: BoolArray = whole & (prices[begin] == prices[end])
    label = np.where(whole, prices[end] > prices[begin], UNDEFINED_LABEL)
    label[tied] = {"drop": UNDEFINED_LABEL, "up": 1, "down": 0}[section.ties]
    return LabelFrame(
        close_time=bars.close_time,
        known_at=from_ns(np.where(whole, to_ns(known)[end], _NOT_A_TIME)),
        forward_return=frozen_array(np.where(whole, np.log(prices[end] / prices[begin]), np.nan)),
        label=frozen_array(label, np.int8),
        horizon=horizon,
        ties=int(tied.sum()),
        across_gap=int((in_data & ~whole).sum()),
    )


def _of_the_user(bars: BarFrame, section: LabelSection, signs: LabelFrame) -> LabelFrame:
    """Put the user's labels in the place of the signs; across gaps there is none either way."""
    made = _called(section.kind, section.params, bars, signs.horizon)
    across = np.arange(len(bars)) < len(bars) - signs.horizon
    across &= np.isnan(signs.forward_return)
    label = np.where(np.isnan(made) | across, UNDEFINED_LABEL, made)
    _check_classes(section.kind, label, signs)
    return replace(signs, label=frozen_array(label, np.int8), ties=0)


def _check_classes(kind: str, label: LabelArray, signs: LabelFrame) -> None:
    """Refuse one class before hours of training: nothing can be learned from it or judged on it."""
    ups, downs = int((label == 1).sum()), int((label == 0).sum())
    if min(ups, downs) > 0:
        return
    raw_ups, raw_downs = int((signs.label == 1).sum()), int((signs.label == 0).sum())
    raise UserError(
        f"L001 the label '{kind}' has one class only: {ups:,} up and {downs:,} down, against raw "
        f"moves of {raw_ups:,} up and {raw_downs:,} down; the usual cause is a price level in the "
        "place of a move (a price is always above 0): compare two prices"
    )


def _called(kind: str, params: Mapping[str, Any], bars: BarFrame, horizon: int) -> FloatArray:
    function = load_object(kind, kind="label", key="label.kind", known=(SIGN,))
    if not callable(function):
        raise ConfigError(f"'{kind}' is a {type(function).__name__}, no function", key="label.kind")
    try:
        made = np.asarray(function(bars, horizon, **params), dtype=np.float64)
    except Exception as error:
        raise UserError(
            f"the label '{kind}' fails: {type(error).__name__}: {' '.join(str(error).split())}"
        ) from error
    if made.shape != (len(bars),):
        raise UserError(
            f"the label '{kind}' returns shape {made.shape}; expected one value per bar, "
            f"({len(bars)},)"
        )
    strange = ~(np.isnan(made) | (made == 0) | (made == 1))
    if strange.any():
        row = int(np.argmax(strange))
        raise UserError(
            f"the label '{kind}' returns {made[row]:g} at {bars.close_time[row]} and is neither 1, "
            f"0 nor NaN on {int(strange.sum()):,} of {len(bars):,} bars; return classes, not moves "
            "or prices"
        )
    return made


def _without_gap(
    bars: BarFrame, decision: IntArray, begin: IntArray, end: IntArray, declared_bars: int
) -> BoolArray:
    """Return which moves last exactly as long as declared and touch real bars at both ends.

    The time runs from the decision, so a bar missing between it and its fill counts too.
    """
    open_ns = to_ns(bars.open_time)
    on_time = open_ns[end] - open_ns[decision] == declared_bars * to_ns(bars.interval)
    real: BoolArray = on_time & ~bars.filled[begin] & ~bars.filled[end]
    return real


def _shown(interval: pd.Timedelta) -> str:
    minutes = interval / pd.Timedelta(minutes=1)
    return f"{minutes / 60:g} h" if minutes >= 60 else f"{minutes:g} min"
