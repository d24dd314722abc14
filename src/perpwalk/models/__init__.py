"""Models that turn windows of features into the probability of an up move.

``build_model`` makes one from the configuration, ``load_model`` reads a fitted one back. torch and
xgboost are imported when the first model that needs them is built, not before.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
from pathlib import Path
from typing import Any

from perpwalk.config import ModelSection
from perpwalk.errors import ConfigError, UsageError
from perpwalk.models.base import (
    EpochReport,
    FitContext,
    FittedModel,
    Prediction,
    Sample,
    SignalModel,
    read_config,
)

__all__ = [
    "KINDS",
    "EpochReport",
    "FitContext",
    "FittedModel",
    "Prediction",
    "Sample",
    "SignalModel",
    "build_model",
    "draws_on_chance",
    "load_model",
    "trains_on",
]

# Threads of GNU OpenMP, which torch and xgboost bring, spin while they wait for each other. Where
# another process wants the same core that costs up to fifty times the time of a fit; a short spin
# costs nothing measurable. Read when the library loads, so it is set before; yours is left alone.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")

# kind: module, class of the fitted model
_FITTED = {
    "lstm_xgb": ("perpwalk.models.hybrid", "FittedHybrid"),
    "lstm": ("perpwalk.models.lstm", "FittedLstm"),
    "xgb": ("perpwalk.models.boost", "FittedXgb"),
    "logistic": ("perpwalk.models.baselines", "FittedLogistic"),
    "majority": ("perpwalk.models.baselines", "FittedMajority"),
}
KINDS = tuple(_FITTED)
_WITHOUT_CHANCE = ("logistic", "majority")


def draws_on_chance(kind: str) -> bool:
    """Return whether another seed may give another model; of a plug-in that is assumed."""
    return kind not in _WITHOUT_CHANCE


def build_model(section: ModelSection) -> SignalModel:
    """Return the model that ``model.kind`` names, not fitted yet.

    A plug-in is named ``module:Name``, is importable, and is called with ``model.params`` as
    keywords; the object it returns has ``timesteps`` and ``fit`` (see ``SignalModel``).

    Raises
    ------
    ConfigError
        The kind is unknown, or ``model.params`` do not fit it.
    UsageError
        The plug-in cannot be imported or is no model.
    """
    if ":" in section.kind:
        return _plugin(section.kind, section.params)
    if section.kind not in KINDS:
        near = difflib.get_close_matches(section.kind, KINDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(KINDS)}"
        raise ConfigError(
            f"no model is called '{section.kind}'; {hint} (a model of your own: 'module:Name')",
            key="model.kind",
        )
    if section.params:
        raise ConfigError(
            f"'{section.kind}' takes no params (they are for models of your own); its settings "
            "stand under model.lstm and model.xgb",
            key="model.params",
        )
    return _built_in(section)


def trains_on(section: ModelSection, device: str) -> str:
    """Return the device on which the model that ``section`` names is fitted, in words.

    A plug-in is told what was asked for; what it makes of it is not known.
    """
    if section.kind not in ("lstm", "lstm_xgb"):
        return device if ":" in section.kind else "cpu"
    from perpwalk.models.network import choose_device, name_of_device

    return name_of_device(choose_device(device))


def load_model(folder: Path, *, code: str | None = None) -> FittedModel:
    """Read a saved model; which kind it is stands in its ``config.json``.

    Parameters
    ----------
    code
        The plug-in that your configuration names (``model.kind``). A folder may come from anybody,
        so of the names in it only those of the same package are imported.

    Raises
    ------
    UsageError
        The folder holds no model, a part of it is missing, or its plug-in is none of ``code``'s
        package or cannot be imported.
    """
    folder = Path(folder)
    kind = str(read_config(folder)["kind"])
    if kind in _FITTED:
        module, name = _FITTED[kind]
        built_in: type[FittedModel] = getattr(importlib.import_module(module), name)
        return built_in.load(folder)
    if ":" not in kind:
        raise UsageError(f"the model in {folder} is of an unknown kind '{kind}'")
    if code is None or _package(kind) != _package(code):
        raise UsageError(
            f"the model in {folder} names code, '{kind[:80]}', that your configuration does not "
            "name as model.kind; it is not loaded"
        )
    plugin = _imported(kind)
    if not callable(getattr(plugin, "load", None)):
        raise UsageError(f"model '{kind}' has no classmethod 'load', so {folder} cannot be read")
    fitted: FittedModel = plugin.load(folder)
    _check(fitted, kind, "FittedModel", ("predict", "save", "timesteps"))
    return fitted


def _built_in(section: ModelSection) -> SignalModel:
    if section.kind == "lstm_xgb":
        from perpwalk.models.hybrid import HybridModel

        return HybridModel(section)
    if section.kind == "lstm":
        from perpwalk.models.lstm import LstmModel

        return LstmModel(section.lstm)
    if section.kind == "xgb":
        from perpwalk.models.boost import XgbModel

        return XgbModel(section.xgb)
    from perpwalk.models.baselines import LogisticModel, MajorityModel

    return LogisticModel() if section.kind == "logistic" else MajorityModel()


# ── plug-ins ─────────────────────────────────────────────────────────────────────────────────────


def _plugin(kind: str, params: dict[str, Any]) -> SignalModel:
    factory = _imported(kind)
    if not callable(factory):
        raise UsageError(f"model.kind '{kind}' is a {type(factory).__name__}, not a class")
    try:
        inspect.signature(factory).bind(**params)
    except TypeError as error:
        raise ConfigError(f"'{kind}' does not take these: {error}", key="model.params") from error
    model: SignalModel = factory(**params)
    _check(model, kind, "SignalModel", ("fit", "timesteps"))
    return model


def _package(kind: str) -> str:
    return kind.partition(":")[0].partition(".")[0]


def _imported(kind: str) -> Any:
    module_name, _, name = kind.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:
        raise UsageError(
            f"model '{kind}': module '{module_name}' cannot be imported ({error}); is its folder "
            "on PYTHONPATH?"
        ) from error
    if not hasattr(module, name):
        public = [each for each in vars(module) if not each.startswith("_")]
        near = difflib.get_close_matches(name, public, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise UsageError(f"model '{kind}': module '{module_name}' has no '{name}'{hint}")
    return getattr(module, name)


def _check(made: Any, kind: str, protocol: str, needed: tuple[str, ...]) -> None:
    missing = [each for each in needed if not hasattr(made, each)]
    if missing:
        raise UsageError(
            f"model '{kind}' is no {protocol}: it lacks {', '.join(missing)} "
            "(see perpwalk.models.base)"
        )
    steps = made.timesteps
    if not isinstance(steps, int) or steps < 1:
        raise UsageError(f"model '{kind}': timesteps must be a whole number from 1, not {steps!r}")
