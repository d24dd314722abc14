"""perpwalk: walk-forward backtests of model signals on perpetual futures that cannot lie."""

__version__ = "0.1.0"
