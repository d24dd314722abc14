"""Three strategies as black boxes: one honest, one that reads ahead, one that fills too early.

Each follows the sign of the last move with one unit. The account is as small as can be: no costs,
fills at the open of the bar after the decision.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd

from perpwalk.audit.leaks.contract import PipelineOutput
from perpwalk.audit.leaks.null_account import Held
from perpwalk.audit.leaks.strategy import StrategyTrace
from perpwalk.domain import FloatArray, Market

Fill = Literal["next_open", "decision_close"]


def honest(market: Market) -> StrategyTrace:
    """Decide on the last move, fill at the next open."""
    return _trade(market, _last_move(market), "next_open")


def reads_next_bar(market: Market) -> StrategyTrace:
    """Decide on the move of the bar to come, as ``data.close[1]`` does."""
    return _trade(market, np.append(_last_move(market)[1:], 0.0), "next_open")


def fills_at_decision_close(market: Market) -> StrategyTrace:
    """Decide on the last move and fill at the very close it was read from."""
    return _trade(market, _last_move(market), "decision_close")


def held(trace: StrategyTrace, market: Market) -> Held:
    """Return what a strategy held of one unit; of an order that fills early the gap is left out."""
    rows = market.bars.close_time.get_indexer(pd.DatetimeIndex(trace.fills["decided_at"]))
    traded = np.bincount(rows, weights=trace.fills["quantity"], minlength=len(market.bars))
    return _at_next_open(np.cumsum(traded))


def follow(market: Market, output: PipelineOutput) -> FloatArray:
    """Hold each forecast's side for a bar, and return what that earns."""
    wanted = np.zeros(len(market.bars))
    for trace in output.folds:
        wanted[trace.fold.test.rows] = np.where(trace.p_up > trace.threshold, 1.0, -1.0)
    return _at_next_open(wanted).gains(market)


def _at_next_open(wanted: FloatArray) -> Held:
    from_open = np.append(0.0, wanted[:-1])
    return Held(over_gap=np.append(0.0, from_open[:-1]), from_open=from_open)


def _last_move(market: Market) -> FloatArray:
    return np.sign(np.diff(np.log(market.bars.close), prepend=np.log(market.bars.open[0])))


def _trade(market: Market, wanted: FloatArray, fill: Fill) -> StrategyTrace:
    bars = market.bars
    traded = np.diff(wanted[:-1], prepend=0.0)
    row = np.flatnonzero(traded != 0)
    price = bars.open[row + 1] if fill == "next_open" else bars.close[row]
    held = np.append(0.0, wanted[:-1]) if fill == "next_open" else np.append(wanted[:-1], 0.0)
    cash = np.zeros(len(bars))
    np.add.at(cash, row + (fill == "next_open"), -traded[row] * price)
    return StrategyTrace(
        orders=pd.DataFrame({"decided_at": bars.close_time[row], "quantity": traded[row]}),
        fills=pd.DataFrame(
            {
                "decided_at": bars.close_time[row],
                "time": bars.close_time[row],
                "quantity": traded[row],
                "price": price,
            }
        ),
        equity=pd.DataFrame(
            {
                "close_time": bars.close_time,
                "equity": np.cumsum(cash) + held * bars.close,
                "position": held,
            }
        ),
    )
