"""The user's strategy by name, and its parameters held against those it declares."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from engine.bridge import bt
from perpwalk.config import StrategySection
from perpwalk.errors import ConfigError
from perpwalk.plugins import load_object


def load_strategy(name: str, params: Mapping[str, Any]) -> tuple[type, dict[str, Any]]:
    """Load a Backtrader strategy and hold ``params`` against the ones it declares.

    Raises
    ------
    ConfigError
        The strategy cannot be loaded, or a parameter is unknown (with the nearest known one) or of
        another type than its default.
    """
    strategy: type = load_object(name, kind="strategy", key="strategy.name", base=bt.Strategy)
    declared = declared_params(strategy)
    for param, value in params.items():
        _check_param(param, value, declared, name)
    return strategy, dict(params)


def declared_params(strategy: type) -> dict[str, Any]:
    """Return the parameters a Backtrader strategy declares, with their defaults."""
    return dict(strategy.params._getpairs())  # type: ignore[attr-defined]


def _check_param(param: str, value: Any, declared: Mapping[str, Any], name: str) -> None:
    key = f"strategy.params.{param}"
    if param not in declared:
        near = difflib.get_close_matches(param, declared, n=1, cutoff=0.6)
        known = ", ".join(sorted(declared)) or "none"
        hint = f"did you mean '{near[0]}'?" if near else f"{name} declares: {known}"
        if param in StrategySection.model_fields:  # the threshold is the fold's, not the strategy's
            hint = f"did you mean the key 'strategy.{param}'? ({name} declares: {known})"
        raise ConfigError(f"unknown parameter; {hint}", key=key)
    default = declared[param]
    if isinstance(default, bool):
        fits = isinstance(value, bool)
    elif isinstance(default, int | float):
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = default is None or isinstance(value, type(default))
    if not fits:
        raise ConfigError(
            f"must be of the kind of its default {default!r} (found {value!r})", key=key
        )
