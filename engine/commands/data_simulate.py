"""``perpwalk data simulate``: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from perpwalk.errors import UsageError
from perpwalk.terminal import Terminal

if TYPE_CHECKING:
    from perpwalk.config import Simulate


def simulate(
    out: Annotated[Path, typer.Argument(help="New folder for the files.")],
    symbols: Annotated[str, typer.Option(help="One or several, with commas between.")] = "SIMUSDT",
    interval: Annotated[str, typer.Option(help="Length of one bar.")] = "1h",
    bars: Annotated[int, typer.Option(help="How many bars.")] = 17_520,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same files.")] = 7,
    start: Annotated[str, typer.Option(help="Open of the first bar.")] = "2023-01-01",
    price: Annotated[float, typer.Option(help="First price.")] = 2000.0,
    tick: Annotated[float, typer.Option(min=0, help="Price step; 0 rounds nothing.")] = 0.01,
    edge: Annotated[float, typer.Option(help="Correlation of score and direction.")] = 0.2,
    edge_bars: Annotated[int, typer.Option(help="Bars a score goes on working for.")] = 1,
    volatility: Annotated[float, typer.Option(help="Annual volatility.")] = 0.7,
    regime_ratio: Annotated[
        float, typer.Option(help="Volatility of wild times over that of calm ones.")
    ] = 1.0,
    regime_days: Annotated[float, typer.Option(help="Mean days a regime lasts.")] = 30.0,
    jumps: Annotated[float, typer.Option(help="Jumps a year.")] = 0.0,
    jump_size: Annotated[float, typer.Option(help="Their size, a standard deviation.")] = 0.05,
    premium: Annotated[float, typer.Option(help="Deviation of the premium that funds.")] = 3e-4,
    funding_hours: Annotated[int, typer.Option(help="Hours between settlements: 1, 2, 4, 8.")] = 8,
    correlation: Annotated[float, typer.Option(help="Of the symbols with each other.")] = 0.0,
    listed: Annotated[
        list[str] | None,
        typer.Option(metavar="SYMBOL=DATE", help="Listed later than the start; repeatable."),
    ] = None,
    outages: Annotated[int, typer.Option(min=0, help="Stretches without any bar.")] = 0,
    outage_hours: Annotated[float, typer.Option(help="Mean hours one lasts.")] = 6.0,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[=COUNT]", help="A fault to make; repeatable. `--fault list`."),
    ] = None,
    file_format: Annotated[
        Literal["csv", "csv.gz", "parquet", "feather"], typer.Option("--format", help="Of files.")
    ] = "csv",
) -> None:
    """Simulate markets whose best reachable AUC is known, with faults to order.

    Writes bars, mark and funding of each symbol, truth.json (settings, best figures, every fault
    with its rows) and a config.yaml that runs on them.
    """
    from perpwalk.data import faults
    from perpwalk.data.market import fixed_length
    from perpwalk.data.simulated import Order, write_market

    console = Terminal()
    wanted = fault or []
    if wanted == ["list"]:
        for name, one in faults.FAULTS.items():
            console.print(f"{name:20} {one.kind:8} {one.says}", highlight=False)
        return
    truth = write_market(
        out,
        Order(
            symbols=tuple(name.strip() for name in symbols.split(",") if name.strip()),
            interval=fixed_length(interval, key="--interval"),
            section=_section(
                bars=bars, edge=edge, start=start, price=price, annual_volatility=volatility,
                edge_bars=edge_bars, regime_ratio=regime_ratio, regime_days=regime_days,
                jumps_per_year=jumps, jump_size=jump_size, premium_sd=premium,
                funding_hours=funding_hours, correlation=correlation, common_seed=seed,
            ),
            seed=seed,
            listed=dict(_pair(text) for text in listed or ()),
            tick=tick,
            outages=outages,
            outage_hours=outage_hours,
            faults=tuple(_fault(text) for text in wanted),
            suffix=f".{file_format}",
        ),
    )  # fmt: skip
    for best in truth["best"]:
        error = best["auc_standard_error"]
        told = "closed form" if error == 0 else f"measured, standard error {error:.4f}"
        console.print(
            f"best reachable over {best['horizon_bars']} bars: AUC {best['auc']:.4f}, accuracy "
            f"{best['accuracy']:.4f} ({told})", highlight=False,
        )  # fmt: skip
    for made in truth["faults"]:
        console.print(f"{made['file']}: {made['fault']}, {len(made['stamps'])} rows",
                      highlight=False)  # fmt: skip
    console.print(f"wrote {out}", highlight=False, soft_wrap=True)


def _section(**settings: object) -> Simulate:
    from pydantic import ValidationError

    from perpwalk.config import Simulate

    try:
        return Simulate.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{first['loc'][0]}: {first['msg']}") from error


def _pair(text: str) -> tuple[str, str]:
    symbol, _, date = text.partition("=")
    if not date:
        raise UsageError(f"--listed {text}: write SYMBOL=DATE")
    return symbol, date


def _fault(text: str) -> tuple[str, int | None]:
    name, _, count = text.partition("=")
    if count and not count.isdigit():
        raise UsageError(f"--fault {text}: write NAME or NAME=COUNT")
    return name, int(count) if count else None
