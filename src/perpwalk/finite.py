"""The guard at the border of every stage: NaN and infinity do not pass it unnoticed.

============================  =====================================================================
bars, settlements → features  ``require_market``: names the column and the bar
features → table              infinite: refused by name and bar; missing after the look-back: S010
table → scaled                a centre or a scale that is no number: refused by the feature's name
scaled → windows              ``perpwalk.models.base.check_windows``: names row and column
training                      loss, gradient and weights: tried again at a tenth of the rate (R020)
model → probabilities         ``perpwalk.models.base.forecasts_of``: names fold and decision (P001)
probabilities → signals       the threshold and each forecast are numbers
strategy → orders             exposure, quantity, limit and stop are numbers; so is slippage
orders → account              every bar must balance, and NaN balances with nothing (A001)
account → metrics             undefined is null and says why; infinite: refused
tables → files                NaN is null, infinity is refused, by file, column and row
files → tables                JSON that says ``NaN`` or ``Infinity`` is refused
============================  =====================================================================

A block is looked at with one sum, which is finite only if every number in it is; only where it is
not are the numbers looked at one by one. ``docs/reliability.md`` says what that costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from perpwalk.domain import Market
from perpwalk.errors import DataError, PerpwalkError, UsageError

Labels = Sequence[object] | pd.Index | npt.NDArray[Any]


def unfit(values: npt.ArrayLike, *, missing: bool = False) -> npt.NDArray[np.bool_] | None:
    """Return where numbers are not finite, in the shape of ``values``; None where all are.

    With ``missing`` NaN stands for what is not known, and only infinity is wrong.

    >>> unfit([1.0, float("inf"), 2.0]).tolist(), unfit([1.0, float("nan")], missing=True)
    ([False, True, False], None)
    """
    numbers = np.asarray(values)
    with np.errstate(over="ignore", invalid="ignore"):
        if math.isfinite(float(numbers.sum())):
            return None  # one pass; a sum of finite numbers that overflows is looked at below
    wrong: npt.NDArray[np.bool_] = np.isinf(numbers) if missing else ~np.isfinite(numbers)
    return wrong if wrong.any() else None


def require_finite(
    values: npt.ArrayLike,
    what: str,
    advice: str,
    *,
    rows: Labels | None = None,
    columns: Labels | None = None,
    missing: bool = False,
    error: type[PerpwalkError] = UsageError,
) -> None:
    """Refuse numbers that are not finite, naming the first of them.

    Parameters
    ----------
    values
        A column (n,) or a table (n, k).
    what
        What the numbers are, as the beginning of a sentence.
    advice
        What to do.
    rows, columns
        How the rows and the columns are called; by their numbers if not given.
    missing
        NaN stands for what is not known and is let through.
    error
        What is raised.

    Raises
    ------
    PerpwalkError
        Of the class ``error``.

    Examples
    --------
    >>> require_finite([0.5, float("nan")], "the forecast", "mend the model", rows=["noon", "one"])
    Traceback (most recent call last):
    perpwalk.errors.UsageError: the forecast is nan at one (1 of 2 are not finite); mend the model
    """
    wrong = unfit(values, missing=missing)
    if wrong is not None:
        _refuse(np.asarray(values), wrong, what, advice, rows, columns, error)


def require_number(
    value: float, what: str, advice: str, error: type[PerpwalkError] = UsageError
) -> None:
    """Refuse one number that is not finite: ``require_finite`` where a bar costs microseconds.

    >>> require_number(float("inf"), "the stop price", "give a finite one")
    Traceback (most recent call last):
    perpwalk.errors.UsageError: the stop price is inf; give a finite one
    """
    if not math.isfinite(value):
        raise error(f"{what} is {value}; {advice}")


def _refuse(
    numbers: npt.NDArray[Any],
    wrong: npt.NDArray[np.bool_],
    what: str,
    advice: str,
    rows: Labels | None,
    columns: Labels | None,
    error: type[PerpwalkError],
) -> NoReturn:
    first = tuple(int(axis[0]) for axis in np.nonzero(wrong))
    row = f"row {first[0]}" if rows is None else str(rows[first[0]])
    column = "" if len(first) == 1 else _column(first[1], columns)
    raise error(
        f"{what} is {numbers[first]} at {row}{column} ({int(wrong.sum()):,} of {wrong.size:,} are "
        f"not finite); {advice}"
    )


def _column(number: int, columns: Labels | None) -> str:
    return f", column {number}" if columns is None else f", '{columns[number]}'"


def require_market(market: Market) -> None:
    """Refuse bars, settlements and mark prices that are not numbers.

    The readers have refused them by file and row; this holds markets that were made otherwise.

    Raises
    ------
    DataError
        Names the contract, the column and the time.
    """
    frames = [("bar", market.bars), *([] if market.mark is None else [("mark bar", market.mark)])]
    for kind, bars in frames:
        for name in ("open", "high", "low", "close", "volume"):
            _require_column(market, f"{name} of the {kind}", getattr(bars, name), bars.open_time)
    funding = market.funding
    _require_column(market, "funding rate", funding.rate, funding.settle_time)
    _require_column(
        market,
        "mark price of the settlement",
        funding.mark_price,
        funding.settle_time,
        missing=True,
    )


def _require_column(
    market: Market,
    name: str,
    values: npt.ArrayLike,
    stamps: pd.DatetimeIndex,
    *,
    missing: bool = False,
) -> None:
    require_finite(
        values,
        f"{market.symbol}: the {name}",
        "leave the bar out or give its number; perpwalk data check shows what is wrong with a file",
        rows=stamps,
        missing=missing,
        error=DataError,
    )


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────


def infinite_key(value: object, key: str = "") -> str | None:
    """Return where a plain value holds a number that JSON cannot, as a dotted key.

    >>> infinite_key({"folds": [{"auc": 0.5}, {"auc": float("inf")}]})
    'folds.1.auc'
    """
    if isinstance(value, float):
        return None if math.isfinite(value) else key
    inner: Sequence[tuple[object, object]] = ()
    if isinstance(value, Mapping):
        inner = list(value.items())
    elif isinstance(value, list | tuple):
        inner = list(enumerate(value))
    for name, one in inner:
        found = infinite_key(one, f"{key}.{name}" if key else str(name))
        if found is not None:
            return found
    return None
