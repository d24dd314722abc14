"""Where an order that rests in the book meets the bar: limit, stop and trailing orders.

Pure functions of prices. Where a bar is ambiguous the worse outcome is taken, and said.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Range:
    """The prices of the bar that an order meets."""

    open: float
    high: float
    low: float
    close: float


@dataclass(frozen=True, slots=True)
class Meeting:
    """An execution: at which reference price, and what it is charged as.

    ``at_open`` says that it happened at the bar's very first price.
    """

    price: float
    maker: bool
    slips: bool
    at_open: bool


def meet_limit(sign: float, limit: float, bar: Range, *, resting: bool) -> Meeting | None:
    """Return where a limit order fills, or None.

    Parameters
    ----------
    sign
        +1 for a buyer, -1 for a seller.
    resting
        False in the first bar the order meets: marketable at its open, it takes liquidity there.

    Notes
    -----
    A bar that only touches the limit fills it, as Backtrader has it. A bar that opens beyond a
    resting limit fills it at the limit: someone took it on the way, and the better price of the
    open, which Backtrader gives, was never on offer to it.
    """
    beyond = sign * (limit - bar.open)
    if beyond >= 0 and not resting:
        return Meeting(bar.open, maker=False, slips=False, at_open=True)
    best = bar.low if sign > 0 else bar.high
    if beyond >= 0 or sign * (limit - best) >= 0:
        return Meeting(limit, maker=True, slips=False, at_open=beyond >= 0)
    return None


def meet_stop(sign: float, stop: float, bar: Range) -> Meeting | None:
    """Return where a stop order fills at market: at its trigger, or at an open beyond it."""
    if sign * (bar.open - stop) >= 0:
        return Meeting(bar.open, maker=False, slips=True, at_open=True)
    worst = bar.high if sign > 0 else bar.low
    if sign * (worst - stop) >= 0:
        return Meeting(stop, maker=False, slips=True, at_open=False)
    return None


def meet_stop_limit(
    sign: float, stop: float, limit: float, bar: Range
) -> tuple[bool, Meeting | None]:
    """Return whether the stop triggers in this bar, and where the limit order then fills.

    Triggered inside the bar, the limit order is marketable at the trigger if its limit allows that
    price. If not, only the close is known to come after the trigger: it fills at the limit where
    the close lies beyond it, and otherwise waits.
    """
    trigger = meet_stop(sign, stop, bar)
    if trigger is None:
        return False, None
    if trigger.at_open:
        return True, meet_limit(sign, limit, bar, resting=False)
    if sign * (limit - stop) >= 0:
        return True, Meeting(stop, maker=False, slips=False, at_open=False)
    if sign * (limit - bar.close) >= 0:
        return True, Meeting(limit, maker=True, slips=False, at_open=False)
    return True, None
