"""``perpwalk sweep``: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engine.commands.options import CodeOption, OutOption
from perpwalk.terminal import Terminal


def sweep(
    item: Annotated[
        str,
        typer.Argument(metavar="RUN_OR_CONFIG", help="A finished run, or what to run first."),
    ],
    grid: Annotated[
        list[str],
        typer.Option(
            "--grid",
            metavar="A.B=X,Y,…",
            help="Values of a key, or first:last:count; repeat for combinations. "
            "Keys below strategy and broker.",
        ),
    ],
    by: Annotated[str, typer.Option("--by", help="Order by sharpe, total_return, …")] = "sharpe",
    top: Annotated[int, typer.Option("--top", min=1, help="How many rows to show.")] = 10,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Override a key of the configuration."),
    ] = None,
    code: CodeOption = None,
    out: OutOption = Path("results"),
    jobs: Annotated[
        int, typer.Option("--jobs", min=0, help="Variants at once; 0: one per core.")
    ] = 0,
    prior_trials: Annotated[
        int | None,
        typer.Option(min=0, help="Trials made before or elsewhere, for the deflated Sharpe ratio."),
    ] = None,
) -> None:
    """Try thousands of thresholds, sizes and costs on the forecasts of one run, in seconds.

    The compiled account trades each variant with fees, slippage, funding and liquidation. Every
    variant is put on record as a trial: what the best of them is worth is said over all of them.
    What is wrong with the run is wrong with all of them: 3 invalid, 4 suspect, as for `run`.
    """
    from engine import standing, sweeping, variants
    from engine.progress import reporter
    from perpwalk.reports import sweep_table

    with reporter(Terminal(stderr=True)) as tell:
        found = sweeping.sweep(
            item,
            grid=variants.parse_grid(grid),
            out=out,
            by=by,
            threads=jobs,
            prior_trials=prior_trials,
            overrides=overrides or (),
            code=code or (),
            reporter=tell,
        )
    console = Terminal()
    sweep_table.show(found.table, found.in_words(), found.run.audit, console, top=top)
    console.print(f"sweep in {found.path}", highlight=False, soft_wrap=True)
    raise typer.Exit(standing.exit_code(found.run.audit))
