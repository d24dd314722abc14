"""Configuration files as they are written: strict YAML, ``extends:``, overrides.

A file may build on another: ``extends: ../base.yaml`` (relative to the file itself). Sections are
merged key by key, the later file wins; anything that is no section is replaced whole, and ``null``
over an inherited section drops it, so that its defaults hold again. Which file set which key is
kept, so that a mistake is reported where it stands and a relative path means what it says in its
own file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from perpwalk import disk
from perpwalk.errors import ConfigError

MAX_CONFIG_BYTES = 1_000_000
MAX_VALUES = 5_000  # keys and values of one file: a whole configuration has some two hundred
MAX_DEPTH = 20
MAX_EXTENDS = 20  # files one upon another
EXTENDS = "extends"


@dataclass(frozen=True)
class Layered:
    """What one or several files say together.

    Attributes
    ----------
    raw
        The merged mapping, without ``extends``.
    files
        The files read, outermost base first, the one asked for last.
    origin
        Dotted key of each value → the file that set it; None where an override did.
    """

    raw: dict[str, Any]
    files: tuple[Path, ...]
    origin: dict[str, Path | None] = field(default_factory=dict)

    def file_of(self, key: str) -> Path | None:
        """Return the file that set ``key`` (the last one that touched a section), if one did."""
        own = [path for name, path in self.origin.items() if name == key]
        within = [path for name, path in self.origin.items() if name.startswith(f"{key}.")]
        above = [path for name, path in self.origin.items() if key.startswith(f"{name}.")]
        named = {path for path in own or within or above if path is not None}
        return max(named, key=self.files.index) if named else None

    def folder_of(self, key: str) -> Path:
        """Return the folder that relative paths under ``key`` start from."""
        return (self.file_of(key) or self.files[-1]).resolve().parent

    def located(self, error: ConfigError) -> ConfigError:
        """Return the error with the file that holds its key, where one does."""
        file = None if error.key is None else self.file_of(error.key)
        return error if file is None else ConfigError(f"{error} (in {file})", at=error.key)


def read(path: Path, overrides: Sequence[str] = ()) -> Layered:
    """Read ``path`` and the files it extends, then apply ``a.b=c`` overrides.

    Raises
    ------
    ConfigError
        A file is missing, too large, no YAML mapping, or the files extend each other in a circle.
    """
    found = _layered(path, ())
    for override in overrides:
        key, value = parse_override(override)
        found = with_value(found, key, value)
    return found


def with_value(layered: Layered, key: str, value: Any) -> Layered:
    """Return the mapping with one dotted key set from outside the files."""
    overlay: Any = value
    for part in reversed(key.split(".")):
        overlay = {part: overlay}
    _refuse_value_as_section(layered.raw, key)
    raw, origin = _merged(layered.raw, layered.origin, overlay, None)
    return Layered(raw, layered.files, origin)


def _refuse_value_as_section(raw: Mapping[str, Any], key: str) -> None:
    here: Any = raw
    for parent in key.split(".")[:-1]:
        here = here.get(parent, {})
        if not isinstance(here, dict):
            raise ConfigError(f"'{parent}' is not a section", key=key)


# ── extends ──────────────────────────────────────────────────────────────────────────────────────


def _layered(path: Path, extended_by: tuple[Path, ...]) -> Layered:
    chain = (*extended_by, path)
    if len(chain) > MAX_EXTENDS:
        raise ConfigError(f"more than {MAX_EXTENDS} files extend each other", key=EXTENDS)
    if path.resolve() in [file.resolve() for file in extended_by]:
        circle = " extends ".join(map(str, chain))
        raise ConfigError(f"the files extend each other in a circle: {circle}", key=EXTENDS)
    try:
        raw = read_mapping(path)
    except ConfigError as error:
        if not extended_by:
            raise
        raise ConfigError(f"{error} (in {extended_by[-1]})", key=EXTENDS) from error
    base = raw.pop(EXTENDS, None)
    if base is None:
        return Layered(raw, (path,), dict.fromkeys(_leaves(raw), path))
    if not isinstance(base, str) or not base.strip():
        raise ConfigError(f"must be the path of another configuration (in {path})", key=EXTENDS)
    below = _layered(path.parent / disk.named(base), chain)
    merged, origin = _merged(below.raw, below.origin, raw, path)
    return Layered(merged, (*below.files, path), origin)


def _leaves(raw: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the dotted key of every value; an empty section is a value too."""
    keys: list[str] = []
    for name, value in raw.items():
        if isinstance(value, dict) and value:
            keys += _leaves(value, f"{prefix}{name}.")
        else:
            keys.append(f"{prefix}{name}")
    return keys


def _merged(
    below: Mapping[str, Any],
    origin: Mapping[str, Path | None],
    above: Mapping[str, Any],
    file: Path | None,
    prefix: str = "",
) -> tuple[dict[str, Any], dict[str, Path | None]]:
    """Lay ``above`` over ``below``; return the result and where each value comes from."""
    raw, where = dict(below), dict(origin)
    for name, value in above.items():
        key, old = f"{prefix}{name}", raw.get(name)
        if isinstance(value, dict) and isinstance(old, dict):
            raw[name], where = _merged(old, where, value, file, f"{key}.")
            continue
        where = {k: f for k, f in where.items() if k != key and not k.startswith(f"{key}.")}
        if value is None and isinstance(old, dict):
            del raw[name]
            continue
        raw[name] = value
        where |= dict.fromkeys(_leaves({name: value}, prefix), file)
    return raw, where


def over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one mapping over another, section by section."""
    return _merged(below, {}, above, None)[0]


# ── overrides ────────────────────────────────────────────────────────────────────────────────────


def parse_override(override: str) -> tuple[str, Any]:
    """Split ``a.b.c=value`` into key and value; the value is read as YAML."""
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"'--set {override[:80]}' is not of the form section.key=value")
    try:
        return key.strip(), read_value(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"'--set {override[:80]}': {_one_line(error)}") from error


# ── YAML ─────────────────────────────────────────────────────────────────────────────────────────


def read_value(text: str) -> Any:
    """Read one YAML value as strictly as a file.

    Raises
    ------
    yaml.YAMLError
        It is no YAML, or more of it than a configuration can have use for.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - derives from SafeLoader
    except yaml.YAMLError:
        raise
    except (
        ValueError,
        ArithmeticError,
        RecursionError,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        # The parser trusts whoever writes a tag: `!!timestamp soon`, `!!bool maybe`, `!!int ""`.
        raise yaml.YAMLError(f"a value is not what its tag says ({error})") from error


def read_mapping(file: Path) -> dict[str, Any]:
    """Read one file; an empty one is an empty mapping."""
    try:
        if file.stat().st_size > MAX_CONFIG_BYTES:
            raise ConfigError(f"{file} is larger than {MAX_CONFIG_BYTES:,} bytes; is it a config?")
        if file.exists() and not file.is_file() and not file.is_dir():
            raise ConfigError(f"{file} is no regular file; give the path of a YAML file")
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"no configuration at {file}; give the path of a YAML file") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{file} is a folder; give the path of a YAML file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {file}: {error}") from error
    try:
        raw = read_value(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{file} is not valid YAML: {_one_line(error)}") from error
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(f"{file} must hold a mapping of sections, found {type(raw).__name__}")
    return raw


class _StrictLoader(yaml.SafeLoader):
    """Safe loader that refuses aliases and repeated keys, and reads ``1e-4`` as a number.

    It counts values and depth as it goes, so that neither a bomb nor a mountain is ever built.
    """

    values = 0
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.values += 1
        self.depth += 1
        if self.values > MAX_VALUES or self.depth > MAX_DEPTH:
            event = self.peek_event()  # type: ignore[no-untyped-call]
            said = (
                f"nested more than {MAX_DEPTH} deep"
                if self.depth > MAX_DEPTH
                else f"more than {MAX_VALUES:,} keys and values"
            )
            raise yaml.composer.ComposerError(None, None, said, event.start_mark)
        try:
            return self._composed(parent, index)
        finally:
            self.depth -= 1

    def _composed(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(
                None, None, "aliases (*name) are not allowed", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is not text", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key '{key}' stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


# YAML 1.1 reads 1e-4 as text; people who write it mean a number.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:_MOST_SAID]


_MOST_SAID = 400  # of what the parser says: it may quote the file
