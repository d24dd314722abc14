"""Options that several commands have, and what they say as overrides of the configuration."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from perpwalk.errors import UsageError

MAX_NAME = 255  # bytes, on nearly every file system


def _nameable(path: Path) -> Path:
    """Refuse a name that no file can have, before anything is computed."""
    longest = max((os.fsencode(part) for part in path.parts), key=len, default=b"")
    if len(longest) > MAX_NAME:
        begun = os.fsdecode(longest[:40])
        raise UsageError(
            f"--out: the name '{begun}…' has {len(longest):,} bytes, and a file's {MAX_NAME} at "
            "most; give a shorter one"
        )
    return path


OutOption = Annotated[Path, typer.Option("--out", help="Results folder.", callback=_nameable)]
JobsOption = Annotated[
    str | None,
    typer.Option(
        "--jobs",
        metavar="N|auto",
        help="Folds fitted at a time: auto is one per core; 0 is one here, all of a cluster.",
    ),
]
BackendOption = Annotated[
    Literal["loky", "dask", "ray"] | None,
    typer.Option("--backend", help="Processes of this machine (loky), or a cluster."),
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", help="Where the cluster is, such as tcp://host:8786; else its own."),
]

CodeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--code",
        metavar="MODULE_OR_FILE",
        help="Code that the run names and that may be loaded; repeatable. Not needed where the "
        "configuration file it was made from still names it.",
    ),
]


def crew_settings(jobs: str | None, backend: str | None, address: str | None) -> list[str]:
    """Return what the options about who computes say as overrides of the configuration."""
    said = {"jobs": jobs, "backend": backend, "address": address}
    return [f"compute.{key}={value}" for key, value in said.items() if value is not None]
