"""``perpwalk compare``: parse, call, print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from engine.commands.options import (
    AddressOption,
    BackendOption,
    JobsOption,
    OutOption,
    crew_settings,
)
from perpwalk.terminal import Terminal, write_json

EngineOption = Annotated[
    Literal["backtrader", "ledger"] | None,
    typer.Option(
        "--engine",
        help="Who keeps the account: Backtrader, checked by the compiled ledger, or the ledger "
        "alone, which takes milliseconds.",
    ),
]
SecondOption = Annotated[
    bool, typer.Option("--check", help="Replay what the ledger engine kept with Backtrader too.")
]


def engine_settings(engine: str | None, second: bool) -> list[str]:
    """Return what the two options say as overrides of the configuration."""
    named = [] if engine is None else [f"compute.engine={engine}"]
    return [*named, "compute.check=true"] if second else named


def compare(
    items: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_OR_CONFIG...",
            help="Configurations, finished runs, or folders that hold several of either.",
        ),
    ],
    grid: Annotated[
        list[str] | None,
        typer.Option(
            "--grid",
            metavar="A.B=X,Y,…",
            help="Take each configuration with every value of a key; repeat for combinations.",
        ),
    ] = None,
    by: Annotated[
        str, typer.Option("--by", help="Order by accuracy, auc, brier, sharpe, total_return, …")
    ] = "sharpe",
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="A.B=C", help="Override a key of every configuration."),
    ] = None,
    out: OutOption = Path("results"),
    reports: Annotated[
        bool, typer.Option("--reports", help="Give each variant its tearsheet and page too.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Make finished variants again.")] = False,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Neither read nor write the cache.")
    ] = False,
    prior_trials: Annotated[
        int | None,
        typer.Option(min=0, help="Trials made before or elsewhere, for the deflated Sharpe ratio."),
    ] = None,
    engine: EngineOption = None,
    second: SecondOption = False,
    jobs: JobsOption = None,
    backend: BackendOption = None,
    address: AddressOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write comparison.json to stdout instead of tables.")
    ] = False,
) -> None:
    """Compare variants on the same decisions, with significance.

    Variants are configurations (a file may build on another with `extends:`), a grid over them, or
    finished runs. What they share is computed once; each is kept as a run of its own. Nothing is
    called a winner that cannot be told from the others, from holding nothing and from luck.
    """
    from engine import compare as comparing
    from engine import variants
    from engine.progress import reporter
    from perpwalk.comparison.record import as_document
    from perpwalk.reports import comparison_table

    with reporter(Terminal(stderr=True)) as tell:
        found = comparing.compare(
            items,
            out=out,
            grid=variants.parse_grid(grid or ()),
            by=by,
            overrides=[
                *(overrides or ()),
                *engine_settings(engine, second),
                *crew_settings(jobs, backend, address),
            ],
            reports_too=reports,
            force=force,
            cache=not no_cache,
            prior_trials=prior_trials,
            reporter=tell,
        )
    if as_json:
        write_json(json.dumps(as_document(found), allow_nan=False, ensure_ascii=False) + "\n")
    else:
        console = Terminal()
        comparison_table.show(found, console)
        console.print(f"comparison in {found.path}", highlight=False, soft_wrap=True)
    raise typer.Exit(found.exit_code)
