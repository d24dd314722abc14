"""Which variants are asked for: configurations, a grid over them, finished runs, mixed."""

from __future__ import annotations

import functools
import itertools
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from engine.progress import Reporter
from perpwalk import config as configuration
from perpwalk import layers, runs
from perpwalk.config import Config
from perpwalk.errors import ConfigError, UsageError
from perpwalk.layers import Layered
from perpwalk.run_config import config_of
from perpwalk.runs import Run
from perpwalk.strict import one_line

MAX_VARIANTS = 500
MAX_RANGE = 200_000  # values of one range: as many variants as a sweep takes
NAME_LENGTH = 48
_MARK = "range of numbers "
BASE = "base"
_NUMBER = r"-?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?<![^,\s])({_NUMBER}):({_NUMBER}):(\d+)(?![^,\s])")
Item = str | Path | Config | Run
Grid = Mapping[str, Sequence[Any]]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One variant that was asked for.

    Attributes
    ----------
    name
        What it is called in the comparison; unique.
    folder
        What the folder of its run begins with.
    config
        What is asked; of a finished run, what was asked.
    run
        The finished run, where one was given.
    source
        The file or folder it came from.
    files
        Configuration files read, outermost base first.
    """

    name: str
    folder: str
    config: Config
    run: Run | None = None
    source: str = ""
    files: tuple[str, ...] = ()


def ask(
    items: Sequence[Item], *, grid: Grid | None = None, overrides: Sequence[str] = ()
) -> tuple[Asked, ...]:
    """Return every variant that ``items`` and ``grid`` come to, in their order.

    Parameters
    ----------
    items
        Paths of configurations, of run folders, or of folders that hold several of either;
        ``Config`` and ``Run`` objects.
    grid
        Dotted key → values: each configuration is taken with every combination.
    overrides
        ``a.b=c`` for every configuration.

    Raises
    ------
    UserError
        A path is neither; a key is wrong; there are more than 500 variants.
    """
    opened = [one for item in items for one in _open(item, overrides)]
    configs = [one for one in opened if not isinstance(one, Asked)]
    if grid and not configs:
        raise UsageError("--grid needs a configuration to vary: finished runs stay as they are")
    _refuse_too_many(len(opened) - len(configs), len(configs), grid or {})
    many = len(configs) > 1
    asked: list[Asked] = []
    for one in opened:
        asked += [one] if isinstance(one, Asked) else _over_grid(one, grid or {}, many)
    return _named_apart(asked)


def parse_grid(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Read ``key=value,value`` texts; values as YAML reads them.

    ``first:last:count`` stands for so many numbers, evenly spaced, both ends included.

    >>> parse_grid(["strategy.threshold=0.5,0.52", "model.kind=xgb,logistic"])
    {'strategy.threshold': [0.5, 0.52], 'model.kind': ['xgb', 'logistic']}
    >>> parse_grid(["strategy.params.exposure=0,0.5:0.9:3"])
    {'strategy.params.exposure': [0, 0.5, 0.7, 0.9]}
    """
    grid: dict[str, list[Any]] = {}
    for text in texts:
        key, equals, values = text.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ConfigError(f"'--grid {text[:80]}' is not of the form section.key=value,value")
        if key in grid:
            raise ConfigError(f"'--grid {key}' is given twice; list all its values in one")
        ranges: dict[str, list[float]] = {}
        marked = _RANGE.sub(functools.partial(_marked, ranges), values)
        try:
            found = layers.read_value(f"[{marked}]")
        except yaml.YAMLError as error:
            raise ConfigError(f"'--grid {text[:80]}': {one_line(error)}") from error
        if not isinstance(found, list) or not found:
            raise ConfigError(f"'--grid {text[:80]}' has no value")
        grid[key] = [
            value
            for one in found
            for value in (ranges.get(one, [one]) if isinstance(one, str) else [one])
        ]
    return grid


def _marked(ranges: dict[str, list[float]], found: re.Match[str]) -> str:
    """Put a mark where a range stands, and its numbers under the mark."""
    first, last, count = float(found[1]), float(found[2]), int(found[3][:9])
    if not 2 <= count <= MAX_RANGE or len(found[3]) > 9:
        raise ConfigError(f"'{found[0][:80]}': a range has from 2 to {MAX_RANGE:,} values")
    if not math.isfinite(first - last):
        raise ConfigError(f"'{found[0][:80]}': a range has two finite ends")
    step = (last - first) / (count - 1)
    mark = f"{_MARK}{len(ranges)}"
    ranges[mark] = [round(first + n * step, 12) for n in range(count)]
    return mark


def variant_of_file(files: Sequence[Path]) -> str:
    """Return what the run of a configuration is called: its file where it extends another."""
    return clean(files[-1].stem) if len(files) > 1 else BASE


def clean(text: str) -> str:
    """Return ``text`` as a part of a folder's name.

    >>> clean("strategies.lstm_xgb:Long Flat")
    'strategies.lstm_xgb-Long-Flat'
    """
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")
    return kept[:NAME_LENGTH].rstrip("-._") or "variant"


# ── opening ──────────────────────────────────────────────────────────────────────────────────────


def _open(item: Item, overrides: Sequence[str]) -> list[Asked | Layered]:
    if isinstance(item, Run):
        return [_finished(item)]
    if isinstance(item, Config):
        return [Layered(item.as_dict(), (Path(f"{item.name}.yaml"),))]
    path = Path(item)
    if not path.is_dir():
        return [layers.read(path, overrides)]
    if (path / "manifest.json").is_file() or path.name.endswith(runs.PARTIAL):
        return [_finished(runs.load_run(path))]
    found: list[Asked | Layered] = [
        *(layers.read(file, overrides) for file in sorted(path.glob("*.yaml"))),
        *finished_in(path),
    ]
    if not found:
        raise UsageError(f"{path} holds neither a run, nor runs, nor configurations (*.yaml)")
    return found


def finished_in(folder: Path, passing_over: Reporter | None = None) -> list[Asked]:
    """Return the finished runs of an experiment's folder; none where there is no such folder.

    ``passing_over`` is told of a run that cannot be read, and the others are returned; without it
    that is a UsageError.
    """
    found = []
    for place in sorted(folder.iterdir()) if folder.is_dir() else ():
        try:
            found += [_finished(runs.load_run(place))] if _is_finished(place) else []
        except UsageError as error:
            if passing_over is None:
                raise
            passing_over.say(f"passed over: {error}")
    return found


def _is_finished(path: Path) -> bool:
    # One that was killed just before it took its place is whole, and is put there when it is asked.
    if path.name.startswith(".") or path.name.endswith(runs.PARTIAL):
        return False
    if not (path / "manifest.json").is_file():
        return False
    return bool(Run(path).manifest.get("status") == "finished")


def _finished(run: Run) -> Asked:
    name = run.path.name.rpartition("-")[0] or run.path.name
    config = config_of(run)
    shown = run.path.parent.name if name == BASE else name
    return Asked(
        name=clean(shown), folder=name, config=config, run=run, source=str(run.path)
    )  # fmt: skip


# ── the grid ─────────────────────────────────────────────────────────────────────────────────────


def _refuse_too_many(finished: int, configs: int, grid: Grid) -> None:
    total = finished + configs * math.prod(len(values) for values in grid.values())
    if total > MAX_VARIANTS:
        sizes = " x ".join(f"{len(values)} of {key}" for key, values in grid.items())
        raise UsageError(
            f"{total:,} variants ({configs} configurations, {sizes}) are more than "
            f"{MAX_VARIANTS}: try fewer values; so many trials would prove nothing"
        )


def _over_grid(layered: Layered, grid: Grid, many: bool) -> list[Asked]:
    file = layered.files[-1]
    folder = variant_of_file(layered.files)
    stem = clean(file.stem)
    asked = []
    for values in itertools.product(*grid.values()):
        one = layered
        for key, value in zip(grid, values, strict=True):
            one = layers.with_value(one, key, value)
        point = _point(grid, values)
        asked.append(
            Asked(
                name="_".join([*([stem] if many or not point else []), *point]),
                folder="_".join([*([folder] if folder != BASE or not point else []), *point]),
                config=configuration.of_layers(one),
                source=str(file),
                files=tuple(map(str, layered.files)),
            )
        )
    return asked


def _point(grid: Grid, values: Sequence[Any]) -> list[str]:
    """Return a short text for each key and value of one combination; words need no key."""
    short = [key.rpartition(".")[2] for key in grid]
    if len(set(short)) < len(short):
        short = [key.replace(".", "-") for key in grid]
    return [
        clean(_text(value)) if _all_words(choices) else f"{name}-{clean(_text(value))}"
        for name, choices, value in zip(short, grid.values(), values, strict=True)
    ]


def _all_words(choices: Sequence[Any]) -> bool:
    return all(isinstance(choice, str) for choice in choices)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.rpartition(":")[2]  # of module:Name the name tells
    return json.dumps(value)


# ── names ────────────────────────────────────────────────────────────────────────────────────────


def _named_apart(asked: Sequence[Asked]) -> tuple[Asked, ...]:
    """Make names unique by numbering those that stand twice."""
    named: dict[str, Asked] = {}
    for one in asked:
        short = one.name[: 2 * NAME_LENGTH]
        numbered = (f"{short}-{n}" for n in itertools.count(2))
        name = next(text for text in itertools.chain([short], numbered) if text not in named)
        named[name] = replace(one, name=name, folder=one.folder[:NAME_LENGTH].rstrip("-._"))
    return tuple(named.values())


# ── what varies ──────────────────────────────────────────────────────────────────────────────────

_SILENT = ("compute", "report")


def changes(asked: Sequence[Asked]) -> dict[str, dict[str, str]]:
    """Return, per variant, the keys in which the variants differ, with this one's values."""
    flat = {one.name: dict(_flat(one.config.as_dict())) for one in asked}
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    vary = [
        key
        for key in keys
        if key.partition(".")[0] not in _SILENT
        and len({values.get(key) for values in flat.values()}) > 1
    ]
    return {
        name: {key: values[key] for key in vary if key in values} for name, values in flat.items()
    }


def _flat(section: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{prefix}{key}.")
        else:
            shown = value if isinstance(value, str) else json.dumps(value)
            found.append((f"{prefix}{key}", shown))
    return found
