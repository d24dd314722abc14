"""What it takes to run Backtrader, dead upstream since 2023, on today's Python: all of it, here.

Three things only. Its clock counts floats of days, which the rest of perpwalk never sees. Its line
buffers wrap round at the ends of a preloaded array, which lets a strategy read the future. Its
commission scheme sizes orders in whole units.
"""

from __future__ import annotations

import array
import functools
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from perpwalk.domain import FloatArray, IntArray
from perpwalk.errors import LookAheadError

with warnings.catch_warnings():
    # Newer Pythons warn about escape sequences in its docstrings and about utcnow.
    warnings.simplefilter("ignore")
    import backtrader as bt
    from backtrader.linebuffer import LineBuffer

__all__ = ["GuardedLine", "PerpCommission", "bt", "guard", "market_order", "snapshot", "to_days"]

_DAY_NS = 86_400_000_000_000
_EPOCH_DAY = 719_163  # 1970-01-01 as Backtrader counts: days since 0001-01-01, that day being 1


def to_days(nanoseconds: IntArray) -> FloatArray:
    """Return Backtrader's float days from int64 nanoseconds since 1970 (to about 10 µs).

    >>> to_days(np.array([1_577_836_800_000_000_000])).tolist()
    [737425.0]
    """
    days, rest = np.divmod(np.asarray(nanoseconds, dtype=np.int64), _DAY_NS)
    result: FloatArray = days + _EPOCH_DAY + rest / _DAY_NS
    return result


class GuardedLine(LineBuffer):
    """A line of a preloaded feed that refuses to look ahead.

    Backtrader reads ``line[1]`` from the next bar, and wraps ``line[-1]`` of the first bar round to
    the *last* bar of the replay. Both raise here.
    """

    def __getitem__(self, ago: int) -> float:
        position = self._idx + ago
        if ago > 0 or position < 0:
            raise LookAheadError(_message(ago, self._idx))
        value: float = self.array[position]
        return value

    def get(self, ago: int = 0, size: int = 1) -> Any:
        """Return ``size`` values that end ``ago`` bars back (``ago`` is not above 0)."""
        if ago > 0:
            raise LookAheadError(_message(ago, self._idx))
        end = self._idx + ago + 1
        return self.array[max(end - size, 0) : max(end, 0)]

    def __call__(self, ago: Any = None) -> Any:
        """Return the line delayed by ``-ago`` bars, for indicators."""
        if isinstance(ago, int) and ago > 0:
            raise LookAheadError(_message(ago, self._idx))
        return super().__call__(ago)

    def fill(self, column: npt.NDArray[np.float64]) -> None:
        """Take a whole column at once and stand before its first value."""
        self.array = array.array("d", np.ascontiguousarray(column, dtype=np.float64).tobytes())
        self.home()


def guard(feed: Any) -> list[GuardedLine]:
    """Turn all line buffers of ``feed`` into guarded ones and return them."""
    lines = list(feed.lines)
    for line in lines:
        # Backtrader makes the buffers itself; the layout is the same, only methods differ.
        line.__class__ = GuardedLine
    return lines


def _message(ago: int, index: int) -> str:
    if ago > 0:
        return (
            f"index [{ago}] is {ago} bar(s) after the current one and is not known yet; "
            "[0] is the bar that just closed, [-1] the one before it"
        )
    if index < 0:
        return "no bar has been delivered yet; read bars in next(), not in __init__()"
    return (
        f"index [{ago}] lies before the first bar of the replay (there Backtrader would wrap "
        "round to the last one); check len(self.data) first"
    )


def market_order(owner: Any, feed: Any, size: float) -> Any:
    """Return the Backtrader order that ``owner.buy`` or ``owner.sell`` would make at market.

    Backtrader's constructor spends most of its time on dates of trading sessions, which a perpetual
    does not have, and on parameters, which a market order has at their defaults: they are shared.
    """
    kind = bt.order.BuyOrder if size > 0 else bt.order.SellOrder
    params = _shallow(_market_params(kind))
    params.owner, params.data, params.size = owner, feed, abs(size)
    order = object.__new__(kind)
    order.p = order.params = params
    order.ref = next(kind.refbasis)
    order.broker = order.comminfo = None
    order.info = bt.utils.AutoOrderedDict()
    order.triggered, order._active, order.status = False, True, kind.Created
    order.exectype, order.plimit, order.valid = kind.Market, None, None
    order.owner, order.data, order.size = owner, feed, size
    order._limitoffset, order.position, order.dteos = 0.0, 0, 0.0
    close, now = feed.close[0], feed.datetime[0]
    order.created = bt.order.OrderData(dt=now, size=size, price=close, pclose=close)
    order.executed = bt.order.OrderData(remsize=size)
    return order


@functools.cache
def _market_params(kind: Any) -> Any:
    return kind(size=0.0, price=1.0, simulated=True, data=_NoFeed()).p


class _NoFeed:
    """What the order that lends its parameters is made for."""


def snapshot(order: Any) -> Any:
    """Return what ``order.clone()`` returns, in a fifth of its time.

    Every notification carries one, and ``copy.copy`` goes through the pickle protocol.
    """
    executed = order.executed
    executed.markpending()
    copied, copied_executed = _shallow(order), _shallow(executed)
    copied.executed = copied_executed
    return copied


def _shallow(thing: Any) -> Any:
    copied = object.__new__(type(thing))
    copied.__dict__.update(thing.__dict__)
    return copied


class PerpCommission(bt.CommInfoBase):
    """Values and sizes of a linear contract; fees are booked by the broker's own account."""

    params = (("commtype", bt.CommInfoBase.COMM_PERC), ("percabs", True), ("stocklike", True))

    def getsize(self, price: float, cash: float) -> float:
        """Return the fractional quantity worth ``cash``; Backtrader's own is a whole number."""
        return cash / price
