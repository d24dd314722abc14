"""``perpwalk data check``: parse, call, print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from perpwalk.errors import UsageError
from perpwalk.terminal import Terminal, write_json


def check(
    items: Annotated[
        list[Path],
        typer.Argument(metavar="FILE_OR_CONFIG...", help="Data files, or one configuration."),
    ],
    layout: Annotated[
        str | None,
        typer.Option("--format", help="Whose files they are; `perpwalk data formats` lists them."),
    ] = None,
    duplicates: Annotated[
        Literal["error", "first", "last"] | None,
        typer.Option(help="Which of the rows stays that share a stamp and differ, if any."),
    ] = None,
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
    Several files are also held against each other. Beside a configuration, options stand in for
    what its market says.
    """
    from perpwalk import config as configuration
    from perpwalk.data.examine import examine_config, examine_files
    from perpwalk.data.market import fixed_length
    from perpwalk.reports import data_page, data_table

    configs = [item for item in items if item.suffix in (".yaml", ".yml")]
    if configs:
        if len(items) > 1:
            raise UsageError("give one configuration, or data files")
        asked = {
            "format": layout, "duplicates": duplicates, "since": since, "until": until,
            "interval": interval,
        }  # fmt: skip
        changes = {key: value for key, value in asked.items() if value is not None}
        found = examine_config(configuration.load(configs[0]), changes)
    else:
        length = None if interval is None else fixed_length(interval, key="--interval")
        found = examine_files(
            items, layout=layout or "auto", since=since, until=until, interval=length,
            duplicates=duplicates or "error",
        )  # fmt: skip
    if page is not None:
        data_page.write(found, page)
    if as_json:
        write_json(
            json.dumps(found.as_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        )
    else:
        console = Terminal()
        data_table.show(found, console)
        if page is not None:
            console.print(f"wrote {page}", highlight=False, soft_wrap=True)
    raise typer.Exit(found.exit_code)
