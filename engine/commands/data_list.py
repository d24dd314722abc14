"""``perpwalk data list``: what is in the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from perpwalk.terminal import Terminal, write_json

if TYPE_CHECKING:
    from perpwalk.data.store import Catalog


def list_store(
    store: Annotated[
        Path | None,
        typer.Option("--store", help="The store; else $PERPWALK_STORE, else ./data/store."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, gaps included.")] = False,
) -> None:
    """List the series of the store: rows, range, gaps, sources."""
    from perpwalk.data.store import find_store, list_series

    root = find_store(store)
    catalogs = list(list_series(root))
    if as_json:
        write_json(
            json.dumps([one.as_dict() for one in catalogs], allow_nan=False, indent=2) + "\n"
        )
        return
    console = Terminal()
    if not catalogs:
        console.print(f"no series under {root}", highlight=False, soft_wrap=True)
        return
    _show(catalogs, console)
    console.print(f"store {root}", highlight=False, soft_wrap=True)


def _show(catalogs: list[Catalog], console: Terminal) -> None:
    from rich.table import Table

    table = Table(box=None, header_style="bold")
    for name in ("exchange", "symbol", "kind", "bars"):
        table.add_column(name, no_wrap=True)
    for name in ("rows", "first", "last", "gaps"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("from")
    for catalog in catalogs:
        table.add_row(*_cells(catalog))
    console.print(table)


def _cells(catalog: Catalog) -> list[str]:
    facts: dict[str, Any] = catalog.as_dict()
    return [
        *(str(facts[name]) for name in ("exchange", "symbol", "kind", "interval")),
        f"{catalog.rows:,}",
        *(_hour(facts[name]) for name in ("first", "last")),
        f"{len(catalog.gaps):,}",
        ", ".join(sorted({piece.source for piece in catalog.pieces})),
    ]


def _hour(stamp: str | None) -> str:
    """Return an ISO stamp to the hour.

    >>> _hour("2024-01-02T03:04:05Z")
    '2024-01-02 03h'
    """
    return "" if stamp is None else f"{stamp[:13].replace('T', ' ')}h"
