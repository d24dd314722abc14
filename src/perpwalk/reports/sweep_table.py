"""The best rows of a sweep on the terminal, what they are worth above them.

Of an invalid run there are none: its diagnosis stands in their place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table
from rich.text import Text

from perpwalk.reports.table import verdict_panel
from perpwalk.sweeps import RUN_COLUMNS, SWEEP_COLUMNS

_SHARES = ("total_return", "max_drawdown", "exposure")
_SHOWN = {
    "total_return": "return",
    "sharpe": "Sharpe",
    "max_drawdown": "max dd",
    "exposure": "exposed",
    "trades": "trades",
    "fees": "fees",
    "funding": "funding",
    "liquidations": "liq",
}


def show(
    table: pd.DataFrame, said: str, audit: Mapping[str, Any], console: Console, *, top: int
) -> None:
    """Print the first rows: the varied keys, then what became of them.

    ``audit`` is that of the run whose forecasts were traded: what is wrong with it is wrong with
    all of them, and said first.
    """
    verdict = audit["verdict"]["overall"]
    if verdict in ("invalid", "suspect"):
        console.print(verdict_panel(audit["verdict"], audit["findings"]))
    if verdict == "invalid":
        note = "Variants of an invalid run are no result; sweep.csv holds their figures unjudged."
        console.print(Text(note, style="bold red"))
        return
    console.print(said, highlight=False, markup=False, soft_wrap=False)
    ours = (*SWEEP_COLUMNS, *RUN_COLUMNS)
    varied = [column for column in table.columns if column not in ours]
    drawn = Table(box=None, header_style="bold")
    for name in varied:
        drawn.add_column(name.rpartition(".")[2], no_wrap=True)
    for heading in _SHOWN.values():
        drawn.add_column(heading, justify="right", no_wrap=True)
    for _, row in table.head(top).iterrows():
        drawn.add_row(
            *(_plain(row[name]) for name in varied), *(_number(name, row[name]) for name in _SHOWN)
        )
    console.print(drawn)


def _plain(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _number(name: str, value: float) -> str:
    if math.isnan(value):
        return "–"
    if name in _SHARES:
        return f"{100 * value:.1f} %"
    return f"{value:.2f}" if name == "sharpe" else f"{value:,.0f}"
