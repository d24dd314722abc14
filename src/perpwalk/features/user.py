"""Features from the user's own Python files."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from perpwalk.errors import ConfigError, PerpwalkError
from perpwalk.features.spec import Feature
from perpwalk.plugins import FileLoader

_KEY = "features.modules"


def load_features(path: str, *, taken: set[str]) -> list[Feature]:
    """Run the file at ``path`` and return the features it defines, in order.

    Parameters
    ----------
    path
        A Python file in which functions are decorated with ``perpwalk.features.feature``.
    taken
        Names in use already.

    Raises
    ------
    ConfigError
        The file is missing, fails when run, defines no feature, or one under a name in use.
    """
    module = _run(Path(path))
    found = [
        dataclasses.replace(value, source=path)
        for value in vars(module).values()
        # A feature imported from elsewhere belongs to the file that defines it.
        if isinstance(value, Feature) and value.compute.__module__ == module.__name__
    ]
    if not found:
        raise ConfigError(
            f"{path} defines no feature; decorate a function with @feature(lookback=...) "
            "from perpwalk.features",
            key=_KEY,
        )
    for feature in found:
        if feature.name in taken:
            raise ConfigError(
                f"{path} defines feature '{feature.name}', a name in use; rename the function",
                key=_KEY,
            )
        taken = {*taken, feature.name}
    return found


def _run(file: Path) -> ModuleType:
    if not file.is_file():
        raise ConfigError(f"there is no Python file at {file}", key=_KEY)
    # The hash keeps two files of one name apart, and the prefix keeps them off real modules.
    place = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]
    name = f"_perpwalk_user_{file.stem}_{place}"
    spec = importlib.util.spec_from_file_location(name, file, loader=FileLoader(name, str(file)))
    if spec is None or spec.loader is None:
        raise ConfigError(f"{file} is no Python file; its name must end in .py", key=_KEY)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses in the user's file look themselves up here
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        if isinstance(error, PerpwalkError):
            raise ConfigError(f"{file}: {error}", key=_KEY) from error
        raise ConfigError(
            f"{file} cannot be loaded: {type(error).__name__}: {error}", key=_KEY
        ) from error
    return module
