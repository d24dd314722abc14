"""The configuration a finished run was made with, read from its folder: it may be another's run.

perpwalk writes the paths of the user's own Python files absolute. Code that lies in a run's folder,
or beside whoever asks, was not named by the user who reads the run: it is never loaded.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from perpwalk.config import Config, resolve
from perpwalk.errors import UsageError
from perpwalk.layers import read_value
from perpwalk.runs import Run
from perpwalk.strict import one_line


def config_of(run: Run) -> Config:
    """Return the configuration of a finished run.

    Raises
    ------
    UsageError
        Its ``config.yaml`` is no YAML mapping, or names code that lies in the run's folder or
        under a path that depends on where perpwalk is started.
    ConfigError
        A key is wrong.
    """
    place = run.path / "config.yaml"
    try:
        raw: Any = read_value(run.config_text)
    except yaml.YAMLError as error:
        raise UsageError(f"{place} is not valid YAML: {one_line(error)}") from error
    if not isinstance(raw, dict):
        raise UsageError(f"{place} holds no mapping")
    config = resolve(raw)
    refuse_code_of(run, config)
    return config


def refuse_code_of(run: Run, config: Config) -> None:
    """Refuse a configuration that would load code from the run's own folder.

    Raises
    ------
    UsageError
        Names the key and the file.
    """
    for key, name in _code_named(config):
        file = Path(name) if name.endswith(".py") else _module_file(name)
        if file is None:
            continue
        if not file.is_absolute() or file.resolve().is_relative_to(run.path.resolve()):
            raise UsageError(
                f"{run.path / 'config.yaml'}, {key}: {file} is code that came with the run; it is "
                "not loaded. Look at it, keep it in a place of your own, and name it in a "
                "configuration of your own"
            )


def _code_named(config: Config) -> Iterator[tuple[str, str]]:
    for key, name in (
        ("strategy.name", config.strategy.name),
        ("label.kind", config.label.kind),
        ("model.kind", config.model.kind),
        ("broker.slippage.kind", config.broker.slippage.kind),
    ):
        place, colon, _ = name.rpartition(":")
        if colon:
            yield key, place
    for file in config.features.modules:
        yield "features.modules", file if file.endswith(".py") else f"{file}.py"


def _module_file(name: str) -> Path | None:
    """Return where a module lies, None where it is not found; its packages are not run for that."""
    try:
        top = importlib.util.find_spec(name.partition(".")[0])
    except (ImportError, ValueError):
        return None
    if top is None:
        return None
    if top.submodule_search_locations is None:
        return None if top.origin is None else Path(top.origin).absolute()
    # Of a package what the name says lies below it: a folder of results may be one without a file.
    below = name.split(".")[1:]
    return Path(next(iter(top.submodule_search_locations)), *below).absolute()
