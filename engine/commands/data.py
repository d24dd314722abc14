"""``perpwalk data``: get, examine, normalise and simulate market data; one module per verb."""

from __future__ import annotations

import typer

from engine.commands.data_check import check
from engine.commands.data_convert import convert, formats
from engine.commands.data_fetch import fetch
from engine.commands.data_list import list_store
from engine.commands.data_simulate import simulate

data = typer.Typer(
    name="data",
    help="Get, examine, normalise and simulate market data.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data.command()(check)
data.command()(convert)
data.command()(formats)
data.command()(fetch)
data.command(name="list")(list_store)
data.command()(simulate)
