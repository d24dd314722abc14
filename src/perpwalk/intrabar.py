"""One account on two clocks: decided on coarse bars, met by the finer bars inside of them.

Pure functions of tables, for whoever computes such an account a second time: decisions are carried
to the finer bar after which they stand, and the book of the finer bars is read at the coarse ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from perpwalk.domain import IntArray, Market, from_ns, to_ns
from perpwalk.ledger import Ledger

_STATE = ("price", "position", "cash", "equity", "exposure")


def on_finer_bars(
    markets: Sequence[Market], finer: Sequence[Market], targets: pd.DataFrame
) -> pd.DataFrame:
    """Return targets whose ``bar`` and ``close_time`` are the last finer ones by each decision.

    ``finer`` are the markets inside of ``markets``, in their order.
    """
    made = targets.copy()
    decided = to_ns(pd.DatetimeIndex(targets["close_time"]))
    bar = targets["bar"].to_numpy(dtype=np.int64, copy=True)
    closes = np.unique(np.concatenate([to_ns(one.bars.close_time) for one in finer]))
    for coarse, fine in zip(markets, finer, strict=True):
        own = (targets["symbol"] == coarse.symbol).to_numpy()
        stamps = to_ns(coarse.bars.close_time)[bar[own]]
        bar[own] = np.searchsorted(to_ns(fine.bars.close_time), stamps, side="right") - 1
    made["bar"] = bar
    made["close_time"] = from_ns(closes[np.searchsorted(closes, decided, side="right") - 1])
    return made


def on_bars_of(coarse: Ledger, fine: Ledger) -> Ledger:
    """Return the book of finer bars with one row of equity per row of ``coarse``.

    What stands at a close is that of the last finer bar by then; what was booked is summed over the
    finer bars since the row before.
    """
    closes: IntArray = to_ns(pd.DatetimeIndex(coarse.equity["close_time"]))
    stamps = to_ns(pd.DatetimeIndex(fine.equity["close_time"]))
    last = np.searchsorted(stamps, closes, side="right")
    table: dict[str, Any] = {"close_time": coarse.equity["close_time"]}
    for name in fine.equity.columns.drop("close_time"):
        values = fine.equity[name].to_numpy(dtype=np.float64)
        if name in _STATE:
            table[name] = values[np.maximum(last - 1, 0)]
        else:
            total = np.concatenate(([0.0], np.cumsum(values)))
            table[name] = np.diff(total[last], prepend=0.0)
    return replace(fine, equity=pd.DataFrame(table))
