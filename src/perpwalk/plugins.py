"""Users' objects by name: ``module:Name`` or ``path/to/file.py:Name``, with near-miss hints."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from perpwalk import disk, strict
from perpwalk.errors import ConfigError, PerpwalkError, UsageError

MAX_CODE_BYTES = 16 * 1024**2  # of a file of Python code
_HELD = "__perpwalk_source__"  # what a loaded file held, kept on its module


def split(name: str) -> tuple[str, str]:
    """Return module or file, and the name in it.

    >>> split("folder/mine.py:Mine")
    ('folder/mine.py', 'Mine')
    """
    place, _, attribute = name.rpartition(":")
    return place, attribute


def is_file(place: str) -> bool:
    """Return whether a place is a file, not a module."""
    return place.endswith(".py")


def place_of(name: str) -> str:
    """Return the module or the file of a name, or of a place alone; a file by its whole path."""
    place, attribute = split(name)
    if place and attribute.isidentifier():
        name = place
    return str(disk.named(name).resolve()) if is_file(name) else name


def content_of(file: Path | str, key: str | None = None) -> str | None:
    """Return the hash of what a file of code holds, None where it cannot be read (said when it is).

    Raises
    ------
    ConfigError
        It is no regular file or a huge one; ``key`` is what names it.
    """
    try:
        content = strict.file_bytes(Path(file), MAX_CODE_BYTES)
    except OSError:
        return None
    except strict.NotAsWrittenError as error:
        raise ConfigError(f"{file} {error}; give a file of Python code", key=key) from error
    return hashlib.sha256(content).hexdigest()


class FileLoader(SourceFileLoader):
    """Runs a file as it lies there: compiled code left beside it may be that of an older text."""

    def path_stats(self, path: Any) -> Any:
        """Know of no date to hold compiled code against: it is neither read nor written."""
        raise OSError(path)


def load_object(
    name: str,
    *,
    kind: str,
    key: str | None = None,
    base: type | None = None,
    known: Sequence[str] = (),
) -> Any:
    """Load the class or function that ``name`` points to.

    Parameters
    ----------
    name
        ``package.module:Name``, or ``folder/file.py:Name`` relative to the current directory. A
        file is run once as long as it holds the same, as a module is.
    kind
        What is wanted, for messages: ``"strategy"``.
    key
        The configuration key that holds ``name``, for messages.
    base
        A class that the object must derive from.
    known
        Built-in short names, offered where ``name`` looks like a misspelt one.

    Raises
    ------
    ConfigError
        Not of that form, not found (with the nearest name there is), not importable, or not of
        ``base``.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon or not place or not attribute:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        also = f" or one of {', '.join(known)}" if known else ""
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise ConfigError(
            f"'{name}' names no {kind}; write module:Name or path/to/file.py:Name{also}{hint}",
            key=key,
        )
    module = _from_file(place, kind, key) if is_file(place) else _module(place, kind, key)
    found = getattr(module, attribute, None)
    if found is None:
        raise ConfigError(_no_such_name(module, place, attribute, kind, base), key=key)
    if base is not None and not (inspect.isclass(found) and issubclass(found, base)):
        raise ConfigError(
            f"'{name}' is no {kind}: it must be a class derived from {base.__name__}", key=key
        )
    return found


@contextmanager
def answering_for(whose: str, doing: str) -> Iterator[None]:
    """Say of what the user's own code raises inside that it is his: ``whose`` ``doing`` fails."""
    try:
        yield
    except (PerpwalkError, OSError, MemoryError):
        raise  # says itself what it is
    except Exception as error:
        said = " ".join(str(error).split())
        raise UsageError(f"{whose} fails in {doing}: {type(error).__name__}: {said}") from error


def _module(place: str, kind: str, key: str | None) -> ModuleType:
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not (place == error.name or place.startswith(f"{error.name}.")):
            raise _broken(place, error, kind, key) from error
        raise ConfigError(
            f"no module '{place}' to load a {kind} from; for a file of your own write "
            "path/to/file.py:Name",
            key=key,
        ) from error
    except Exception as error:  # a user's module may fail in any way
        raise _broken(place, error, kind, key) from error


def _from_file(place: str, kind: str, key: str | None) -> ModuleType:
    path = disk.named(place).resolve()
    if not path.is_file():
        raise ConfigError(f"no file {path} to load a {kind} from", key=key)
    # A name of its own: two files called mine.py are two modules.
    name = f"perpwalk_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    held = content_of(path, key)
    there = sys.modules.get(name)
    if held is not None and there is not None and getattr(there, _HELD, None) == held:
        return there  # one class per file, as of any module: what a fold fitted is of it
    spec = importlib.util.spec_from_file_location(name, path, loader=FileLoader(name, str(path)))
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path} cannot be loaded as Python", key=key)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Backtrader's metaclasses look the module up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # a user's module may fail in any way
        del sys.modules[name]
        raise _broken(str(path), error, kind, key) from error
    setattr(module, _HELD, held)
    return module


def _broken(place: str, error: Exception, kind: str, key: str | None) -> ConfigError:
    said = " ".join(str(error).split())
    line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
    return ConfigError(
        f"the {kind}'s module {place}{line} fails on import: {type(error).__name__}: {said}",
        key=key,
    )


def _no_such_name(
    module: ModuleType, place: str, attribute: str, kind: str, base: type | None
) -> str:
    own = [
        name
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and value.__module__ == module.__name__
        and (base is None or issubclass(value, base))
        and not name.startswith("_")
    ]
    near = difflib.get_close_matches(attribute, own, n=1, cutoff=0.6)
    if near:
        hint = f"did you mean '{near[0]}'?"
    else:
        hint = f"it has {', '.join(sorted(own))}" if own else f"it defines no {kind}"
    return f"'{place}' has no {kind} '{attribute}'; {hint}"
