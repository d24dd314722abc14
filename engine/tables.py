"""What a run writes of its forecasts and fits, as tables: of one contract, or of several.

Several contracts stand in one table, each row with its ``symbol``; one alone has no such column.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from engine import walkforward
from engine.parts import Walked
from perpwalk import fold_checks, runs
from perpwalk.contracts import contracts_table
from perpwalk.ledger import Ledger
from perpwalk.metrics import MetricsTable

EQUITY_BY_CONTRACT = "equity_by_contract.parquet"
METRICS_BY_CONTRACT = "metrics_by_contract.csv"


def predictions_of(walked: Sequence[Walked]) -> pd.DataFrame:
    """Return one row per test decision, in order of time; several contracts' with ``symbol``."""
    tables = [
        walkforward.predictions_table(
            [result.forecast for result in one.results], one.prepared.labels, one.thresholds
        )
        for one in walked
    ]
    joined = joined_tables(_names(walked), tables, after="close_time")
    return joined if len(walked) == 1 else _in_time_order(joined)


def _in_time_order(table: pd.DataFrame) -> pd.DataFrame:
    """Sort by decision; contracts of one stamp stay in the account's order."""
    return table.sort_values("close_time", kind="stable", ignore_index=True)


def folds_of(walked: Sequence[Walked]) -> pd.DataFrame:
    """Return one row per fold with its threshold; several contracts' with ``symbol``."""
    tables = []
    for one in walked:
        table = fold_checks.fold_table(one.prepared.folds)
        table["threshold"] = one.thresholds
        tables.append(table)
    return joined_tables(_names(walked), tables)


def training_of(walked: Sequence[Walked]) -> pd.DataFrame:
    """Return one row per fold, stage and epoch; several contracts' with ``symbol``."""
    return joined_tables(
        _names(walked), [walkforward.training_table(one.results) for one in walked]
    )


def write_by_contract(folder: Path, book: Ledger, table: MetricsTable) -> tuple[str, ...]:
    """Write what is told of each of several contracts alone; return the files, none of one."""
    if table.by_contract is None:
        return ()
    runs.write_parquet(folder / EQUITY_BY_CONTRACT, contracts_table(book))
    runs.write_csv(folder / METRICS_BY_CONTRACT, table.by_contract)
    return EQUITY_BY_CONTRACT, METRICS_BY_CONTRACT


def joined_tables(
    names: Sequence[str | None], tables: Sequence[pd.DataFrame], *, after: str | None = None
) -> pd.DataFrame:
    """Lay the contracts' tables end to end, each row with its symbol where there are several.

    The symbol is the first column, or the one ``after`` another.
    """
    if len(tables) == 1:
        return tables[0]
    for name, table in zip(names, tables, strict=True):
        place = 0 if after is None else list(table.columns).index(after) + 1
        table.insert(place, "symbol", name)
    return pd.concat(tables, ignore_index=True)


def _names(walked: Sequence[Walked]) -> list[str | None]:
    return [one.name for one in walked]
