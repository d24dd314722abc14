"""Make a workspace for a newcomer: configs/, strategies/, results/ with a worked example."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import engine
from perpwalk.errors import UsageError

_PACKAGED = Path(engine.__file__).parent / "workspace_files"  # in a wheel
_CHECKOUT = Path(engine.__file__).parent.parent / "configs"  # in an editable install

_README = """\
# A perpwalk workspace

    perpwalk run configs/demo.yaml              the demo, on a simulated market
    perpwalk run configs/mine.yaml              your own files (edit the paths first)
    perpwalk runs                               what has been run

`my_features.py` shows a feature of your own, `strategies/mine.py` a strategy of your own; both are
named in `configs/mine.yaml`. Results are kept under `results/`.
"""

_MINE = """\
# Your own market: change the paths, the symbol and the interval.
name: mine
market:
  symbol: ETHUSDT
  interval: 1h
  ohlcv: data/ETHUSDT-1h.csv        # CSV, Parquet or Feather: open time, OHLC, volume
  funding: data/ETHUSDT-funding.csv # settlement time, funding rate
  # exchange: binance               # instead of files: what `perpwalk data fetch` has stored
  gaps: error                       # error | fill | drop
  missing_funding: error            # error | zero | drop_features
features:
  modules: [my_features.py]
walk_forward:
  scheme: rolling
  train: 730d
  validation: 90d
  test: 90d
strategy:
  name: strategies/mine.py:LongShort
"""

_FEATURES = '''\
"""Features of your own: one decorated function each, named in the config under features.modules."""

import numpy as np

from perpwalk.features import PastBars, feature


@feature(lookback=25)
def close_to_day_high(past: PastBars) -> np.ndarray:
    """Distance of the close from the highest high of the 24 bars before this one."""
    n = len(past.close)
    value = np.full(n, np.nan)
    if n > 24:
        windows = np.lib.stride_tricks.sliding_window_view(past.high[:-1], 24)
        value[24:] = past.close[24:] / windows.max(axis=1) - 1.0
    return value
'''


def make_workspace(folder: Path) -> list[Path]:
    """Write the example files into ``folder`` and return what was made.

    Raises
    ------
    UsageError
        A file to be made is already there; nothing is written then.
    """
    demo = next(p / "demo.yaml" for p in (_PACKAGED, _CHECKOUT) if (p / "demo.yaml").is_file())
    example = _shipped_strategies() / "lstm_xgb.py"
    texts = {
        folder / "README.md": _README,
        folder / "configs" / "demo.yaml": demo.read_text(encoding="utf-8"),
        folder / "configs" / "mine.yaml": _MINE,
        folder / "my_features.py": _FEATURES,
    }
    copies = {folder / "strategies" / "mine.py": example}
    for path in [*texts, *copies]:
        if path.exists():
            raise UsageError(f"{path} is already there; choose an empty folder")
    try:
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        for path, source in copies.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, path)
        (folder / "results").mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make a workspace in {folder}: {error.strerror}") from error
    return [*texts, *copies, folder / "results"]


def _shipped_strategies() -> Path:
    """Return where the example strategies lie; nothing in the engine imports them."""
    found = importlib.util.find_spec("strategies")
    if found is None or found.origin is None:
        raise UsageError("the package 'strategies' that ships with perpwalk is not installed")
    return Path(found.origin).parent
