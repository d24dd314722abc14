"""perpwalk: walk-forward backtests of model signals on perpetual futures that cannot lie.

>>> import perpwalk
>>> sorted(name for name in dir(perpwalk) if name in ("compare", "load", "run"))
['compare', 'load', 'run']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from perpwalk.api import Comparison, Run, compare, load, run, sweep

__all__ = ["Comparison", "Run", "__version__", "compare", "load", "run", "sweep"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Fetch the public functions when they are asked for: importing perpwalk costs nothing."""
    if name in __all__:
        from perpwalk import api

        return getattr(api, name)
    raise AttributeError(f"module 'perpwalk' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
