"""Models of the user's own: made by name, held against the protocols, and read back from a file.

A model is named ``module:Name`` or ``path/to/file.py:Name``. What a saved one says in its
``config.json`` is a word of whoever wrote that folder: code is loaded only from the module or the
file that the user's own configuration names.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from perpwalk.errors import ConfigError, UsageError
from perpwalk.models.base import EpochReport, FitContext, FittedModel, Sample, SignalModel
from perpwalk.plugins import answering_for, is_file, load_object, place_of, split

KEY = "model.kind"
_SEE = "see perpwalk.models.base"
_CALLABLE = ("predict", "save")


def is_plugin(kind: str) -> bool:
    """Return whether ``kind`` names a model of the user's own."""
    return ":" in kind


def make(kind: str, params: Mapping[str, Any], known: Sequence[str]) -> SignalModel:
    """Make the model that ``kind`` names, with ``params`` as keywords; ``known`` are shipped."""
    factory = load_object(kind, kind="model", key=KEY, known=known)
    if not callable(factory):
        raise UsageError(f"{KEY} '{kind}' is a {type(factory).__name__}, not a class")
    try:
        inspect.signature(factory).bind(**params)
    except TypeError as error:
        raise ConfigError(f"'{kind}' does not take these: {error}", key="model.params") from error
    with answering_for(f"the model '{kind}'", "being made"):
        model: SignalModel = factory(**params)
    what = f"model '{kind}' is no SignalModel"
    _refuse_lacking(model, ("fit", "timesteps"), what)
    _refuse_timesteps(model.timesteps, f"model '{kind}'")
    return model


def is_named_by(kind: str, code: str | None) -> bool:
    """Return whether code of the user's covers the ``kind`` that a folder of a model names.

    Of a module everything in the same package is; of a file what lies in it, by the file's name:
    its folder may have been another when the model was saved.
    """
    if code is None or not is_plugin(kind):
        return False
    place, _ = split(kind)
    theirs = place_of(code)
    if is_file(place) or is_file(theirs):
        return is_file(place) and is_file(theirs) and Path(place).name == Path(theirs).name
    return place.partition(".")[0] == theirs.partition(".")[0]


def load(folder: Path, kind: str, code: str | None) -> FittedModel:
    """Read the model in ``folder``, which says it is of ``kind``; see ``models.load_model``."""
    if code is None or not is_named_by(kind, code):
        raise UsageError(
            f"the model in {folder} names code, '{kind[:80]}', that your configuration does not "
            f"name as {KEY}; it is not loaded"
        )
    loader = _loader(kind, code)
    if loader is None:
        raise UsageError(f"model '{kind}' has no classmethod 'load', so {folder} cannot be read")
    with answering_for(f"the model '{kind}'", "load"):
        fitted: FittedModel = loader(folder)
    return check_fitted(fitted, kind, "load")


def _loader(kind: str, code: str) -> Callable[[Path], FittedModel] | None:
    """Return the ``load`` of the class that ``kind`` names, None where it is none that has it."""
    place, name = split(kind)
    theirs = place_of(code)
    # Which file is for the user to say; a folder says only which class in it.
    named = f"{theirs if is_file(theirs) else place}:{name}"
    found = load_object(named, kind="model", key=KEY)
    load = getattr(found, "load", None) if inspect.isclass(found) else None
    return load if callable(load) else None


def fit(
    model: SignalModel, asked: str, train: Sample, validation: Sample, context: FitContext
) -> FittedModel:
    """Let the user's ``model``, configured as ``asked``, learn; see ``models.fit``."""
    with answering_for(f"the model '{asked}'", "fit"):
        fitted: Any = model.fit(train, validation, context)
    whole = check_fitted(fitted, asked, "fit")
    if whole.timesteps > model.timesteps:
        raise UsageError(
            f"model '{asked}': what fit returned looks at {whole.timesteps} bars, the model itself "
            f"at {model.timesteps}; timesteps must be the same"
        )
    return whole


def check_kind(fitted: FittedModel, asked: str) -> None:
    """Refuse a fitted model whose ``kind`` would not lead back to its class from a file."""
    if not is_named_by(fitted.kind, asked):
        place, name = split(asked)
        wanted = f"{Path(place).name if is_file(place) else place}:{name}"
        raise UsageError(
            f"model '{asked}': what fit returned, a {type(fitted).__name__}, says it is of kind "
            f"'{fitted.kind}', by which it could not be loaded again; write kind = \"{wanted}\""
        )
    if _loader(fitted.kind, asked) is None:
        raise UsageError(
            f"model '{asked}': '{fitted.kind}' is no class with a classmethod 'load', so what is "
            "saved could not be read again; name as kind the class that has it"
        )


def check_fitted(fitted: Any, kind: str, made_by: str) -> FittedModel:
    """Return ``fitted`` if it has all that ``FittedModel`` asks, each of its type."""
    what = f"model '{kind}': what {made_by} returned, a {type(fitted).__name__},"
    _refuse_lacking(
        fitted, ("kind", "timesteps", "training", *_CALLABLE), f"{what} is no FittedModel"
    )
    for name in _CALLABLE:
        if not callable(getattr(fitted, name)):
            raise UsageError(f"{what} has a {name} that is no method ({_SEE})")
    if not isinstance(fitted.kind, str):
        raise UsageError(f"{what} has a kind that is no text: {fitted.kind!r}")
    _refuse_timesteps(fitted.timesteps, what)
    training = fitted.training
    if not isinstance(training, tuple | list) or not all(
        isinstance(one, EpochReport) for one in training
    ):
        found = f"a {type(training).__name__}"
        if isinstance(training, tuple | list):
            strange = next(one for one in training if not isinstance(one, EpochReport))
            found += f" with a {type(strange).__name__}"
        raise UsageError(
            f"{what} has as training {found}; it must be a tuple of EpochReport, () where there is "
            f"nothing to tell ({_SEE})"
        )
    whole: FittedModel = fitted
    return whole


def _refuse_lacking(made: Any, needed: Sequence[str], what: str) -> None:
    missing = [name for name in needed if not hasattr(made, name)]
    if missing:
        raise UsageError(f"{what}: it lacks {', '.join(missing)} ({_SEE})")


def _refuse_timesteps(steps: Any, what: str) -> None:
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        raise UsageError(f"{what}: timesteps must be a whole number from 1, not {steps!r}")
