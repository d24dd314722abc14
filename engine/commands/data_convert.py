"""``perpwalk data convert`` and ``formats``: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from perpwalk.terminal import Terminal

FormatOption = Annotated[
    str, typer.Option("--format", help="Whose file it is; `perpwalk data formats` lists them.")
]
DuplicatesOption = Annotated[
    Literal["error", "first", "last"],
    typer.Option(help="Which of the rows stays that share a stamp and differ."),
]


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="File to read.")],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="To write: .csv, .csv.gz, .parquet or .feather."),
    ],
    kind: Annotated[
        Literal["auto", "ohlcv", "mark", "funding"], typer.Option(help="What the file holds.")
    ] = "auto",
    layout: FormatOption = "auto",
    symbol: Annotated[str, typer.Option(help="Contract; a symbol column must agree.")] = "",
    interval: Annotated[
        str | None, typer.Option(help="Length of one bar, like 1h; else the most common step.")
    ] = None,
    gaps: Annotated[
        Literal["error", "fill", "drop"], typer.Option(help="What becomes of missing bars.")
    ] = "error",
    duplicates: DuplicatesOption = "error",
    since: Annotated[str | None, typer.Option(help="First open time to keep, UTC.")] = None,
    until: Annotated[str | None, typer.Option(help="Open time to end before, UTC.")] = None,
    resample: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Put bars together, like 4h.")
    ] = None,
    partial: Annotated[
        Literal["error", "drop", "keep"],
        typer.Option(help="With --resample: what becomes of a bar that lacks finer ones."),
    ] = "error",
) -> None:
    """Write bars, mark candles or funding as a plain file: UTC stamps, plain names, checked values.

    Any file that a run reads is taken; open interest, which no run reads, is not.
    """
    from engine.narration import finding_line, taken_for
    from perpwalk.data.market import fixed_length
    from perpwalk.data.normalise import Wanted, convert

    made = convert(
        source,
        out,
        Wanted(
            kind=None if kind == "auto" else kind,
            layout=layout,
            symbol=symbol,
            interval=None if interval is None else fixed_length(interval, key="--interval"),
            gaps=gaps,
            duplicates=duplicates,
            since=since,
            until=until,
            resample_to=None if resample is None else fixed_length(resample, key="--resample"),
            partial=partial,
        ),
    )
    console = Terminal()
    lines = [
        f"{source}: {made.source.kind}, {made.source.rows:,} rows, {taken_for(made.source)}",
        *(finding_line(finding) for finding in made.findings),
        f"wrote {made.path}: {made.rows:,} rows",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def formats() -> None:
    """List whose files are known, with the name `--format` and `market.format` take."""
    from rich.table import Table

    from perpwalk.data.layouts import LAYOUTS

    table = Table(box=None, header_style="bold")
    table.add_column("format")
    table.add_column("written by")
    for layout in LAYOUTS:
        table.add_row(layout.name, layout.title)
    Terminal().print(table)
