"""The configuration a finished run was made with, read from its folder: it may be another's run.

perpwalk writes the paths of the user's own Python files absolute. Code that lies in a run's folder,
or beside whoever asks, was not named by the user who reads the run: it is never loaded. Other code
is loaded if somebody beside the run names it.
"""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from perpwalk.config import SHIPPED, Config, of_layers, resolve
from perpwalk.errors import UsageError, UserError
from perpwalk.layers import read, read_value
from perpwalk.plugins import is_file, place_of
from perpwalk.runs import Run
from perpwalk.strict import one_line


class UnnamedCodeError(UsageError):
    """A run names code that nobody else names."""


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


def config_to_load(run: Run, code: Sequence[str] = ()) -> Config:
    """Return the configuration of a finished run whose code is about to be loaded.

    A run may come from anybody, and whatever can be imported here can be named in it, with
    parameters. So its code is loaded only where somebody else names it too: perpwalk's own
    strategies, a configuration of the user's that the run was made from and that still names it,
    or the user himself.

    Parameters
    ----------
    code
        What the user names: ``module:Name``, ``path/to/file.py:Name``, or without the name.

    Raises
    ------
    UnnamedCodeError
        Nobody but the run names its code.
    """
    config = config_of(run)
    asked = {place_of(name) for name in code}
    foreign = [
        (key, place)
        for key, place in code_named(config)
        if not place.startswith(SHIPPED) and place_of(place) not in asked
    ]
    theirs = {place_of(place) for _, place in _of_own_files(run)} if foreign else set()
    foreign = [(key, place) for key, place in foreign if place_of(place) not in theirs]
    if foreign:
        named = ", ".join(f"{key}: {place}" for key, place in foreign)
        options = " ".join(f"--code {place}" for place in dict.fromkeys(p for _, p in foreign))
        raise UnnamedCodeError(
            f"{run.path / 'config.yaml'} names code ({named}) that no configuration of yours "
            f"names; it is not loaded. If it is yours, or you have looked at it, say {options}"
        )
    return config


def _of_own_files(run: Run) -> Iterator[tuple[str, str]]:
    """Yield the code that the files a run was made from name, where they still lie there.

    They are the user's own if they lie where perpwalk found them when it made the run, and not
    among results, which may have come from elsewhere as a whole.
    """
    try:
        files = run.manifest.get("config_files")
    except UserError:
        # Damaged or missing, which is told where it is needed: it vouches for nothing.
        return
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        return
    results = run.path.resolve().parent.parent
    for file in map(Path, files[-1:]):
        if not file.is_absolute() or file.resolve().is_relative_to(results):
            continue
        with contextlib.suppress(UserError):  # gone, or no configuration: then it names nothing
            yield from code_named(of_layers(read(file)))


def refuse_code_of(run: Run, config: Config) -> None:
    """Refuse a configuration that would load code from the run's own folder.

    Raises
    ------
    UsageError
        Names the key and the file.
    """
    for key, name in code_named(config):
        file = Path(name) if is_file(name) else _module_file(name)
        if file is None:
            continue
        if not file.is_absolute() or file.resolve().is_relative_to(run.path.resolve()):
            raise UsageError(
                f"{run.path / 'config.yaml'}, {key}: {file} is code that came with the run; it is "
                "not loaded. Look at it, keep it in a place of your own, and name it in a "
                "configuration of your own"
            )


def code_named(config: Config) -> Iterator[tuple[str, str]]:
    """Yield key and module or file of all code that a configuration names."""
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
        yield "features.modules", file if is_file(file) else f"{file}.py"


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
