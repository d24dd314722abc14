"""Metrics per period as a heat map: cells are coloured by how far they lie from naive.

Naive is what knowing nothing gets: the majority's accuracy, an AUC of 0.5, no return. A cell says
its interval, and is marked where that interval leaves naive out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from perpwalk.reports import words

SHADES = 4
KIND_ORDER = ("symbol", "year", "quarter", "month", "fold")
CALENDAR = ("total_return", "accuracy", "auc", "sharpe")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
Row = Mapping[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Measure:
    """How one column of the metrics table is shown and coloured.

    Attributes
    ----------
    naive
        A number, the name of the column that holds it, or None where no shade is meant.
    sign
        1 where more is better, -1 where less is.
    """

    label: str
    form: Callable[[Any], str]
    naive: float | str | None = None
    sign: int = 1
    digits: int = 3
    percent: bool = False


def _places(digits: int) -> Callable[[Any], str]:
    return functools.partial(words.decimal, digits=digits)


MEASURES: Mapping[str, Measure] = {
    "n": Measure(label="decisions", form=words.count),
    "accuracy": Measure(label="accuracy", form=words.decimal, naive="majority_accuracy"),
    "auc": Measure(label="AUC", form=words.decimal, naive=0.5),
    "brier": Measure(label="Brier", form=_places(4), naive=0.25, sign=-1, digits=4),
    "total_return": Measure(label="net return", form=words.percent, naive=0.0, percent=True),
    "benchmark_return": Measure(label="buy and hold", form=words.percent),
    "sharpe": Measure(label="Sharpe", form=_places(2), naive=0.0, digits=1),
    "deflated_sharpe": Measure(label="deflated Sharpe", form=words.decimal),
    "sortino": Measure(label="Sortino", form=_places(2), naive=0.0, digits=1),
    "max_drawdown": Measure(label="max drawdown", form=words.percent, percent=True),
    "exposure": Measure(label="exposure", form=_places(2)),
    "turnover": Measure(label="turnover", form=_places(1)),
    "trades": Measure(label="trades", form=words.count),
    "win_rate": Measure(label="won", form=words.percent, percent=True),
    "profit_factor": Measure(label="profit factor", form=_places(2), naive=1.0, digits=2),
    "fees": Measure(label="fees", form=words.money),
    "funding": Measure(label="funding", form=words.money),
    "slippage": Measure(label="slippage", form=words.money),
}


@dataclass(frozen=True)
class Cell:
    """One figure: its text, its interval, its shade (``m4`` … ``p4``), and what a pointer tells."""

    text: str
    bounds: str = ""
    shade: str = ""
    apart: bool = False
    told: str = ""


@dataclass(frozen=True)
class HeatTable:
    """A named table of cells."""

    name: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def period_tables(metrics: pd.DataFrame) -> list[HeatTable]:
    """Return one table per kind of period that there is, known kinds first."""
    present = [str(kind) for kind in metrics["period_kind"].unique() if kind != "all"]
    kinds = sorted(present, key=lambda k: KIND_ORDER.index(k) if k in KIND_ORDER else 99)
    whole = metrics[metrics["period_kind"] == "all"]
    return [table(kind, metrics[metrics["period_kind"] == kind], whole) for kind in kinds]


def table(kind: str, rows: pd.DataFrame, whole: pd.DataFrame | None = None) -> HeatTable:
    """Return rows of metrics as a heat map, each named by its ``period``; ``whole`` comes last.

    Only the measures that ``rows`` has columns for are shown.
    """
    shown = {name: one for name, one in MEASURES.items() if name in rows}
    scales = {name: _scale(rows, name, one) for name, one in shown.items()}
    lines = [
        (label, tuple(_cell(row, name, one, scales[name]) for name, one in shown.items()))
        for label, row in (
            *((str(row["period"]), row) for row in rows.to_dict(orient="records")),
            *(("all", row) for row in ([] if whole is None else _records(whole))),
        )
    ]
    return HeatTable(kind, tuple(one.label for one in shown.values()), tuple(lines))


def calendars(metrics: pd.DataFrame) -> list[HeatTable]:
    """Return a year by month table of the main figures; none without months."""
    months = metrics[metrics["period_kind"] == "month"]
    if months.empty:
        return []
    years = {str(r["period"]): r for r in _records(metrics[metrics["period_kind"] == "year"])}
    by_month = {str(r["period"]): r for r in _records(months)}
    found = []
    for name in (name for name in CALENDAR if name in months):
        one = MEASURES[name]
        scale = _scale(months, name, one)
        lines = []
        for year in sorted({key[:4] for key in by_month}):
            cells = [
                _cell(by_month[key], name, one, scale) if (key := f"{year}-{m:02d}") in by_month
                else Cell("") for m in range(1, 13)
            ]  # fmt: skip
            if years:
                cells.append(_cell(years[year], name, one, scale) if year in years else Cell(""))
            lines.append((year, tuple(cells)))
        header = (*MONTHS, "year") if years else MONTHS
        found.append(HeatTable(one.label, header, tuple(lines)))
    return found


def _records(frame: pd.DataFrame) -> Sequence[Row]:
    return frame.to_dict(orient="records")


def _naive(row: Row, one: Measure) -> float | None:
    value = row.get(one.naive) if isinstance(one.naive, str) else one.naive
    return None if value is None or not words.known(value) else float(value)


def _scale(rows: pd.DataFrame, name: str, one: Measure) -> float:
    """Return the distance from naive that gets the deepest shade: the 90th percentile."""
    apart = [
        abs(float(row[name]) - naive)
        for row in _records(rows)
        if (naive := _naive(row, one)) is not None and words.known(row[name])
    ]
    return float(np.quantile(apart, 0.9)) if apart else 0.0


def _cell(row: Row, name: str, one: Measure, scale: float) -> Cell:
    value, naive = row[name], _naive(row, one)
    if not words.known(value):
        return Cell(
            words.UNDEFINED, told=f"{row['period']}: {one.label} is undefined, see findings"
        )
    ends = words.both(row.get(f"{name}_lo"), row.get(f"{name}_hi"))
    bounds = "" if ends is None else _bounds(*ends, one)
    apart = ends is not None and naive is not None and not ends[0] <= naive <= ends[1]
    told = f"{row['period']}: {one.label} {one.form(value)}"
    told += f", interval {bounds}" if bounds else ""
    if naive is not None:
        told += f"; naive {one.form(naive)}"
    return Cell(one.form(value), bounds, shade(value, naive, scale, one.sign), apart, told)


def _bounds(low: float, high: float, one: Measure) -> str:
    if not one.percent:
        return words.interval(low, high, one.digits)
    return f"{words.interval(100 * low, 100 * high, 0)} %"


def shade(value: float, naive: float | None, scale: float, sign: int = 1) -> str:
    """Return the shade of a value: ``p1`` … ``p4`` better than naive, ``m1`` … ``m4`` worse.

    >>> shade(0.56, 0.5, 0.1), shade(0.3, 0.5, 0.1), shade(0.5, 0.5, 0.1), shade(1.0, None, 1.0)
    ('p3', 'm4', '', '')
    """
    if naive is None or scale == 0:
        return ""
    depth = sign * (value - naive) / scale
    step = min(SHADES, int(np.ceil(abs(depth) * SHADES - 1e-9)))
    return "" if step == 0 else f"{'p' if depth > 0 else 'm'}{step}"
