"""Models that turn windows of features into the probability of an up move.

``build_model`` makes one from the configuration, ``load_model`` reads a fitted one back. torch and
xgboost are imported when the first model that needs them is built, not before.
"""

from __future__ import annotations

import difflib
import importlib
import os
from pathlib import Path

from perpwalk.config import ModelSection
from perpwalk.errors import ConfigError, UsageError
from perpwalk.models import plugin
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
    "QUICK",
    "EpochReport",
    "FitContext",
    "FittedModel",
    "Prediction",
    "Sample",
    "SignalModel",
    "build_model",
    "draws_on_chance",
    "fit",
    "is_of",
    "is_own",
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
QUICK = ("logistic", "majority", "xgb")  # fitted in seconds
_WITHOUT_CHANCE = ("logistic", "majority")


def draws_on_chance(kind: str) -> bool:
    """Return whether another seed may give another model; of a plug-in that is assumed."""
    return kind not in _WITHOUT_CHANCE


def build_model(section: ModelSection) -> SignalModel:
    """Return the model that ``model.kind`` names, not fitted yet.

    A plug-in is named ``module:Name`` or ``path/to/file.py:Name`` and is called with
    ``model.params`` as keywords; the object it returns has ``timesteps`` and ``fit`` (see
    ``SignalModel``).

    Raises
    ------
    ConfigError
        The kind is unknown, or cannot be imported, or ``model.params`` do not fit it.
    UsageError
        The plug-in is no model.
    """
    if is_own(section):
        return plugin.make(section.kind, section.params, KINDS)
    if section.kind not in KINDS:
        near = difflib.get_close_matches(section.kind, KINDS, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(KINDS)}"
        raise ConfigError(
            f"no model is called '{section.kind}'; {hint} (a model of your own: "
            "module:Name or path/to/file.py:Name)",
            key="model.kind",
        )
    if section.params:
        raise ConfigError(
            f"'{section.kind}' takes no params (they are for models of your own); its settings "
            "stand under model.lstm and model.xgb",
            key="model.params",
        )
    return _built_in(section)


def is_own(section: ModelSection) -> bool:
    """Return whether the model is the user's own."""
    return plugin.is_plugin(section.kind)


def is_of(kind: str, section: ModelSection) -> bool:
    """Return whether a saved model of ``kind`` may be one that ``section`` fits."""
    if is_own(section):
        return kind in KINDS or plugin.is_named_by(kind, section.kind)
    return kind == section.kind


def trains_on(section: ModelSection, device: str) -> str:
    """Return the device on which the model that ``section`` names is fitted, in words.

    A plug-in is told what was asked for; what it makes of it is not known.
    """
    if section.kind not in ("lstm", "lstm_xgb"):
        return device if is_own(section) else "cpu"
    from perpwalk.models.network import choose_device, name_of_device

    return name_of_device(choose_device(device))


def load_model(folder: Path, *, code: str | None = None) -> FittedModel:
    """Read a saved model; which kind it is stands in its ``config.json``.

    Parameters
    ----------
    code
        The plug-in that your configuration names (``model.kind``), or its module or file alone. A
        folder may come from anybody, so of the names in it only those of the same package are
        imported, and of a file only what lies in that file.

    Raises
    ------
    UsageError
        The folder holds no model, a part of it is missing, or its plug-in is none of ``code``'s
        package or file, or is no model.
    ConfigError
        The plug-in cannot be imported.
    """
    folder = Path(folder)
    kind = str(read_config(folder)["kind"])
    if kind in _FITTED:
        module, name = _FITTED[kind]
        built_in: type[FittedModel] = getattr(importlib.import_module(module), name)
        return built_in.load(folder)
    if not plugin.is_plugin(kind):
        raise UsageError(f"the model in {folder} is of an unknown kind '{kind}'")
    return plugin.load(folder, kind, code)


def fit(
    model: SignalModel, kind: str, train: Sample, validation: Sample, context: FitContext
) -> FittedModel:
    """Return what ``model``, configured as ``kind``, learns from ``train`` and ``validation``.

    Raises
    ------
    UsageError
        A plug-in fails, or what it returns is no fitted model: names it, and what is missing or of
        the wrong type.
    """
    if not plugin.is_plugin(kind):
        return model.fit(train, validation, context)
    fitted = plugin.fit(model, kind, train, validation, context)
    made = type(fitted)
    # One of ours may be what it leaves behind; one derived from ours is not read back as itself.
    if _FITTED.get(fitted.kind) != (made.__module__, made.__qualname__):
        plugin.check_kind(fitted, kind)
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
