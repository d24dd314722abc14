"""``perpwalk data check``: parse, call, print."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engine.commands.data_convert import DuplicatesOption, FormatOption
from perpwalk.errors import UsageError


def check(
    items: Annotated[
        list[Path],
        typer.Argument(metavar="FILE_OR_CONFIG...", help="Data files, or one configuration."),
    ],
    layout: FormatOption = "auto",
    duplicates: DuplicatesOption = "error",
    since: Annotated[str | None, typer.Option(help="Begin of the period asked for.")] = None,
    until: Annotated[str | None, typer.Option(help="End of the period asked for.")] = None,
    interval: Annotated[str | None, typer.Option(help="Length bars should have, like 1h.")] = None,
    page: Annotated[
        Path | None,
        typer.Option("--html", metavar="PAGE", help="Also write a page with a coverage chart."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of tables.")] = False,
) -> None:
    """Examine data files, or those a configuration uses: everything wrong or odd with them.

    Exits 0 where a run would take them, 1 where it would refuse them, 2 where one is unreadable.
    Several files are also held against each other.
    """
    from perpwalk import config as configuration
    from perpwalk.data.examine import examine_config, examine_files
    from perpwalk.data.market import fixed_length
    from perpwalk.reports import data_page, data_table

    configs = [item for item in items if item.suffix in (".yaml", ".yml")]
    if configs:
        if len(items) > 1:
            raise UsageError("give one configuration, or data files")
        found = examine_config(configuration.load(configs[0]))
    else:
        length = None if interval is None else fixed_length(interval, key="--interval")
        found = examine_files(
            items, layout=layout, since=since, until=until, interval=length, duplicates=duplicates
        )
    if page is not None:
        data_page.write(found, page)
    if as_json:
        json.dump(found.as_dict(), sys.stdout, indent=2, allow_nan=False, ensure_ascii=False)
        sys.stdout.write("\n")
    else:
        console = Console()
        data_table.show(found, console)
        if page is not None:
            console.print(f"wrote {page}", highlight=False, soft_wrap=True)
    raise typer.Exit(found.exit_code)
