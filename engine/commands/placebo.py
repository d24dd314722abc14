"""``perpwalk placebo``: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.commands.options import CodeOption, OutOption
from perpwalk.terminal import Terminal, write_json


def placebo(
    item: Annotated[
        Path, typer.Argument(metavar="RUN_OR_CONFIG", help="A finished run, or a configuration.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Override one configuration key; repeatable."),
    ] = None,
    full: Annotated[
        bool,
        typer.Option(
            "--full/--quick",
            help="Fit a slow model itself on meaningless labels, or let a logistic regression "
            "stand in for it.",
        ),
    ] = False,
    draws: Annotated[
        int, typer.Option(min=2, max=9999, help="Repetitions of whatever is drawn by chance.")
    ] = 19,
    code: CodeOption = None,
    out: OutOption = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON instead of tables.")] = False,
) -> None:
    """Take the cause of a result away, and see whether the result goes with it.

    Labels are shuffled and shifted, the signal comes 1 to 3 bars late, the model is replaced by
    chance, by a constant and by another model. A configuration is run first. What comes of it is
    written into the run's folder, and the run is judged again over it: a result that does not
    change with the model is an error.
    """
    from engine import placebo as battery
    from engine import standing
    from engine.progress import reporter
    from perpwalk.reports import placebo_table

    with reporter(Terminal(stderr=True)) as tell:
        config, run = battery.subject(item, overrides or (), out, tell, code=code or ())
        found = battery.run_battery(config, run, full=full, draws=draws, reporter=tell)
    if as_json:
        write_json(placebo_table.as_json(found.run))
    else:
        placebo_table.show(found.run, Terminal())
    raise typer.Exit(standing.exit_code(found.run.audit))
