"""The account of ``docs/account.md`` as compiled arithmetic: one contract, one bar after another.

Written from that page alone; it shares no code with the Backtrader broker, which it checks. Every
function here is compiled by numba and works on plain numbers and one array, the account.
The steps of the page change an account and know nothing of targets or books; ``place_target``
takes a decision, whatever made it. ``replay`` walks a whole tape and keeps the book, with targets
known beforehand or sized on the way from the exposures of a plan; ``tally`` walks it with a plan
and keeps sums only, which is what thousands of variants can afford. Ordinary bars it walks by a
short cut to the same bits, and asks the steps where anything else may happen.

Quantities are counted in *units*: whole lots held in a float (exact up to 2**53), or base currency
itself where ``lot_size`` is 0. ``quantity_of`` turns units into base currency, correctly rounded.

One file on purpose: numba's cache of machine code watches the file of the function that is called
and would not notice a change in another file's helper.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numba
import numpy as np
from numba.core.options import DefaultOptions

from perpwalk import kernels
from perpwalk.domain import BoolArray, FloatArray, IntArray

F = TypeVar("F", bound=Callable[..., object])

ROUNDING = 1e-9  # what a comparison forgives, as a fraction of what is compared against
MAX_SLIPPAGE = 0.5  # a fill never moves the price by more than half
BANKRUPT_SHARE = 1e-9  # equity below this share of the initial cash counts as none

# The account: one row of numbers, changed in place. First what it owns (QUANTITY is UNITS in base
# currency, DEAD is 1 once bankrupt),
CASH, UNITS, QUANTITY, ENTRY, MARGIN, DEAD = range(6)
# then, where one cash backs several contracts, what the others claim: the sum of their margins,
# what of it they can give up, what they have been asked to, and (cross) their free equity,
OTHERS_MARGIN, GIVABLE, OWED, OTHERS_FREE = range(6, 10)
# then the waiting order: its number (or NO_ORDER), the signed units still to fill, and its record,
ORDER, LEFT = 10, 11
(
    ORDER_BAR, ORDER_UNITS, ORDER_STATUS, ORDER_WHY, ORDER_FILLED, ORDER_VALUE, ORDER_FEE,
    ORDER_SLIP, ORDER_END,
) = range(12, 21)  # fmt: skip
# then what happened in the current bar: totals, the fill of the order, the forced close.
BAR_PNL, BAR_FEE, BAR_FUNDING, BAR_SLIP, BAR_COST, BAR_TRADED = range(21, 27)
FILL_UNITS, FILL_PRICE, FORCED_UNITS, FORCED_PRICE, FORCED_WHY = range(27, 32)
OTHERS_HELD = 32  # 1 where another contract on the same cash has a position
ACCOUNT_SIZE = 33
RECORD, ORDER_COLUMNS = ORDER_BAR, 9  # where an order's record starts, and its length

# Rows of the book of bars, in the order of `ledger.EQUITY_COLUMNS` without the stamp.
(
    PRICE, POSITION, CASH_END, EQUITY, PRICE_PNL, FEE, FUNDING, SLIPPAGE, LIQUIDATION, EXPOSURE,
    TRADED,
) = range(11)  # fmt: skip
BAR_COLUMNS = 11
# Rows of the book of fills and of settlements; the book of orders has the record above.
F_ORDER, F_BAR, F_UNITS, F_PRICE, F_REFERENCE, F_FEE, F_SLIP, F_WHY = range(8)
FILL_COLUMNS = 8
PAID_POSITION, PAID = 0, 1
N_FILLS, N_ORDERS, N_BANKRUPT = range(3)  # what is counted in the book

NO_ORDER = -1.0
UNKNOWN = (math.inf, -math.inf)  # a safe range that has not been computed
STATUSES = ("pending", "filled", "partial", "reduced", "rejected", "cancelled")
PENDING, DONE, PARTIAL, REDUCED, REJECTED, CANCELLED = range(6)
REASONS = ("", "margin", "min_notional", "replaced", "liquidation", "bankruptcy")
NO_REASON, BY_MARGIN, BY_MIN_NOTIONAL, BY_NEXT_TARGET, BY_LIQUIDATION, BY_BANKRUPTCY = range(6)
SLIPPAGE_KINDS = ("none", "fixed", "spread_range", "square_root")
NO_SLIPPAGE, FIXED, SPREAD_RANGE, SQUARE_ROOT = range(4)
FLOOR, RATE, AMOUNT, MAX_LEVERAGE = range(4)  # columns of the maintenance table


class Bar(NamedTuple):
    """What an account must know of one bar; ``before`` is the close of the bar before it.

    ``worst_low`` and ``worst_high`` are the extremes that liquidation is judged on; ``tradable`` is
    False where the bar fills nothing.
    """

    before: float
    open: float
    high: float
    low: float
    close: float
    volume: float
    worst_low: float
    worst_high: float
    tradable: bool


class Tape(NamedTuple):
    """What the market did; arrays of shape (n,) over the bars, (m,) over the settlements.

    Settlements ``gap_from[i]:bar_from[i]`` fell into a gap before bar i, ``bar_from[i]:
    gap_from[i + 1]`` into the bar itself; ``mark`` is the price that each settles at.
    """

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    tradable: BoolArray
    worst_low: FloatArray
    worst_high: FloatArray
    gap_from: IntArray
    bar_from: IntArray
    rate: FloatArray
    mark: FloatArray


class Rules(NamedTuple):
    """The settings of one account; a lot is ``lot_top / lot_bottom``, ``whole`` says lots exist."""

    initial_cash: float
    leverage: float
    cross: bool
    taker_fee: float
    liquidation_fee: float
    tick: float
    whole: bool
    lot_top: float
    lot_bottom: float
    min_notional: float
    volume_share: float
    slippage_kind: int
    bps: float
    spread_bps: float
    range_share: float
    impact: float


class Book(NamedTuple):
    """What is written down, one row of each array per column, so that a column lies in one piece.

    ``counts`` holds how many fills and orders there are, and the bar of the bankruptcy or -1.
    """

    bars: FloatArray
    fills: FloatArray
    orders: FloatArray
    paid: FloatArray
    counts: IntArray


class Plan(NamedTuple):
    """Wanted exposure at each close by the side held then, shape (n,) each; NaN leaves things.

    Exposures are signed multiples of equity. The three may be one array, where it does not matter
    what is held; three empty ones are no plan.
    """

    if_short: FloatArray
    if_flat: FloatArray
    if_long: FloatArray


class Sizing(NamedTuple):
    """How an exposure becomes a target: of which share of equity, and from which drift on."""

    share: float
    band: float


# Totals of a whole tape, as `tally` keeps them.
(
    FEES, FUNDINGS, SLIPPAGES, LIQUIDATION_COSTS, TURNOVER, ORDERS, TRADES, LIQUIDATIONS,
    BANKRUPT_AT,
) = range(9)  # fmt: skip
TOTALS = 9


# Arrays are lent by the caller and none is made here, so references need no counting, and counting
# would cost five times what the account does. The option is not public; without it only time is
# lost. Without Python's error model, a division needs no test for zero: no divisor here can be one.
# Nothing of Python is touched either, so that threads can run side by side.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True}
if hasattr(DefaultOptions, "_nrt"):
    _OPTIONS["_nrt"] = False


def compiled(function: F) -> F:
    """Compile ``function`` with numba and keep the machine code beside the source."""
    return kernels.kept(**_OPTIONS)(function)


def inlined(function: F) -> F:
    """Compile ``function`` into its callers."""
    kernel: F = numba.njit(inline="always", **_OPTIONS)(function)
    return kernel


# ── quantities ───────────────────────────────────────────────────────────────────────────────────


@compiled
def whole_units(amount: float, whole: bool) -> float:
    """Round ``amount >= 0`` down to whole lots; what falls short of a lot by rounding counts."""
    if not whole:
        return amount
    return math.floor(amount * (1.0 + 1e-12) + ROUNDING)


@inlined
def quantity_of(units: float, rules: Rules) -> float:
    """Return units in base currency: one rounding, so that 3 lots of 0.1 are 0.3."""
    return units * rules.lot_top / rules.lot_bottom


@compiled
def units_of(quantity: float, rules: Rules) -> float:
    """Return a signed quantity in units, rounded towards zero."""
    amount = abs(quantity) * rules.lot_bottom
    if rules.lot_top != 1.0:  # a lot of 0.001 is 1/1000: most need no division
        amount /= rules.lot_top
    amount = whole_units(amount, rules.whole)
    return math.copysign(amount, quantity) if amount > 0.0 else 0.0


@inlined
def sum_units(units: float, more: float, whole: bool) -> float:
    """Add units; without lots, what two floats leave of a closed position is nothing."""
    total = units + more
    if not whole and abs(total) <= 1e-12 * abs(more):
        return 0.0
    return total


# ── tiers ────────────────────────────────────────────────────────────────────────────────────────


@compiled
def tier_at(notional: float, tiers: FloatArray) -> int:
    """Return the last row of the maintenance table whose floor is at or below ``notional``."""
    row = 0
    while row + 1 < len(tiers) and tiers[row + 1, FLOOR] <= notional:
        row += 1
    return row


@compiled
def leverage_at(notional: float, rules: Rules, tiers: FloatArray) -> float:
    """Return the wanted leverage, capped by the tier of ``notional``."""
    return min(rules.leverage, float(tiers[tier_at(notional, tiers), MAX_LEVERAGE]))


@compiled
def liquidation_price(
    side: float, size: float, entry: float, margin: float, tiers: FloatArray
) -> float:
    """Return the price at which ``margin`` and open profit equal the maintenance margin.

    The tier is the one at that very price, looked for from the tier at ``entry``; a table that
    jumps can make the search alternate, and then the price nearer to ``entry`` is taken.
    """
    row = tier_at(size * entry, tiers)
    price = entry
    before = entry
    for _ in range(2 * len(tiers) + 2):
        before = price
        rate, amount = float(tiers[row, RATE]), float(tiers[row, AMOUNT])
        price = (margin + amount - side * size * entry) / (size * rate - side * size)
        found = tier_at(size * price, tiers)
        if found == row:
            return price
        row = found
    return price if abs(price - entry) < abs(before - entry) else before


# ── a fill ───────────────────────────────────────────────────────────────────────────────────────


@compiled
def slipped_price(direction: float, size: float, bar: Bar, rules: Rules) -> float:
    """Return the price at which a market order for ``size`` base currency fills."""
    share = 0.0
    if rules.slippage_kind == FIXED:
        share = rules.bps / 1e4
    elif rules.slippage_kind != NO_SLIPPAGE:
        span = (bar.high - bar.low) / bar.open
        if rules.slippage_kind == SPREAD_RANGE:
            share = rules.spread_bps / 2.0 / 1e4 + rules.range_share * span
        else:
            share = rules.impact * span * math.sqrt(size / bar.volume)
    price = bar.open * (1.0 + direction * min(share, MAX_SLIPPAGE))
    if rules.tick <= 0.0:
        return price
    ticks = price / rules.tick  # rounded away from the order's favour
    if direction > 0.0:
        return math.ceil(ticks * (1.0 - 1e-12) - ROUNDING) * rules.tick
    return max(math.floor(ticks * (1.0 + 1e-12) + ROUNDING), 1.0) * rules.tick


@inlined
def equity_at(price: float, account: FloatArray) -> float:
    """Return cash and open profit at ``price``."""
    return float(account[CASH] + account[QUANTITY] * (price - account[ENTRY]))


@compiled
def can_carry(
    units: float,
    price: float,
    reference: float,
    account: FloatArray,
    rules: Rules,
    tiers: FloatArray,
) -> bool:
    """Tell whether free margin carries opening ``units`` at ``price`` beside what is held."""
    held = abs(account[QUANTITY])
    opening = quantity_of(units, rules)
    leverage = leverage_at((held + opening) * price, rules, tiers)
    if rules.cross:
        free = equity_at(reference, account) - held * reference / leverage + account[OTHERS_FREE]
    else:
        free = account[CASH] - account[MARGIN] - account[OTHERS_MARGIN]
    need = opening * price / leverage + opening * price * rules.taker_fee
    return bool(need <= free + ROUNDING * abs(free))


@compiled
def carried_units(
    wanted: float,
    price: float,
    reference: float,
    account: FloatArray,
    rules: Rules,
    tiers: FloatArray,
) -> float:
    """Return the most of ``wanted`` units that free margin can carry: what it asks for grows."""
    if can_carry(wanted, price, reference, account, rules, tiers):
        return wanted
    low, high = 0.0, wanted
    while True:
        middle = 0.5 * (low + high)
        if rules.whole:
            middle = math.floor(middle)
        if middle <= low or middle >= high or high - low <= 1e-15 * wanted:
            is_speck = not rules.whole and low <= ROUNDING * wanted
            return 0.0 if is_speck else low
        if can_carry(middle, price, reference, account, rules, tiers):
            low = middle
        else:
            high = middle


@inlined
def move_position(units: float, account: FloatArray, rules: Rules) -> None:
    """Add signed ``units`` to the position."""
    account[UNITS] = sum_units(account[UNITS], units, rules.whole)
    account[QUANTITY] = quantity_of(account[UNITS], rules)


@compiled
def restrain_margins(account: FloatArray) -> None:
    """Let isolated margins fall to what cash covers: this contract's first, then the others'."""
    excess = account[MARGIN] + account[OTHERS_MARGIN] - account[CASH]
    if excess <= 0.0:
        return
    if account[UNITS] != 0.0:
        taken = min(excess, max(account[MARGIN], 0.0))
        account[MARGIN] -= taken
        excess -= taken
    asked = min(excess, account[GIVABLE])
    account[GIVABLE] -= asked
    account[OTHERS_MARGIN] -= asked
    account[OWED] += asked
    excess -= asked
    if excess > 0.0 and account[UNITS] != 0.0:
        account[MARGIN] -= excess  # cash is below zero: an open profit must cover it
    elif excess > 0.0 and account[OTHERS_HELD] != 0.0:
        account[OTHERS_MARGIN] -= excess
        account[OWED] += excess


@inlined
def pay(amount: float, account: FloatArray, rules: Rules) -> None:
    """Move cash; isolated margin that cash no longer covers falls with it."""
    account[CASH] += amount
    if account[UNITS] == 0.0:
        account[MARGIN] = 0.0
    if not rules.cross and account[MARGIN] + account[OTHERS_MARGIN] > account[CASH]:
        restrain_margins(account)


@compiled
def close_part(units: float, price: float, account: FloatArray, rules: Rules) -> float:
    """Close ``units`` (unsigned) of the position at ``price``; return the fee."""
    side = math.copysign(1.0, account[UNITS])
    size = quantity_of(units, rules)
    fee = size * price * rules.taker_fee
    realised = (price - account[ENTRY]) * side * size
    account[MARGIN] *= 1.0 - units / abs(account[UNITS])
    move_position(-side * units, account, rules)
    if account[UNITS] == 0.0:
        account[ENTRY] = 0.0
    pay(realised - fee, account, rules)
    return fee


@compiled
def open_part(
    side: float, units: float, price: float, account: FloatArray, rules: Rules, tiers: FloatArray
) -> float:
    """Open or add ``units`` (unsigned) at ``price``; return the fee."""
    size = quantity_of(units, rules)
    held = abs(account[QUANTITY])
    fee = size * price * rules.taker_fee
    account[ENTRY] = (held * account[ENTRY] + size * price) / (held + size)
    if not rules.cross:
        account[MARGIN] += size * price / leverage_at((held + size) * price, rules, tiers)
    move_position(side * units, account, rules)
    pay(-fee, account, rules)
    return fee


# ── the waiting order ────────────────────────────────────────────────────────────────────────────


@inlined
def end_order(status: int, why: int, account: FloatArray) -> None:
    """Note the fate of the waiting order, if there is one; nothing of it fills any more."""
    if account[ORDER] == NO_ORDER or account[ORDER_STATUS] != PENDING:
        return
    account[ORDER_STATUS] = status
    if why != NO_REASON:
        account[ORDER_WHY] = why
    account[LEFT] = 0.0


@inlined
def cancel_order(why: int, account: FloatArray) -> None:
    """End the waiting order unfinished."""
    end_order(PARTIAL if account[ORDER_FILLED] != 0.0 else CANCELLED, why, account)


@inlined
def put_order(i: int, units: float, number: int, account: FloatArray) -> None:
    """Let an order decided at close i wait for the next bar."""
    account[ORDER], account[LEFT] = number, units
    for field in range(RECORD, RECORD + ORDER_COLUMNS):
        account[field] = 0.0
    account[ORDER_BAR], account[ORDER_UNITS], account[ORDER_END] = i, units, -1.0


@compiled
def place_target(i: int, target: float, number: int, rules: Rules, account: FloatArray) -> bool:
    """Step 6: order what is missing to ``target`` (signed units); tell whether there is an order.

    An order that still waits must have been cancelled before.
    """
    units = sum_units(target, -account[UNITS], rules.whole)
    if account[DEAD] == 1.0 or units == 0.0:
        return False
    put_order(i, units, number, account)
    return True


@compiled
def judge_size(closable: float, bar: Bar, rules: Rules, account: FloatArray) -> None:
    """Cut an opening part under ``min_notional`` off an order that has not filled yet."""
    opening = abs(account[LEFT]) - closable
    if account[ORDER_FILLED] != 0.0 or opening <= 0.0:
        return
    if quantity_of(opening, rules) * bar.open >= rules.min_notional * (1.0 - ROUNDING):
        return
    account[LEFT] = math.copysign(closable, account[LEFT])
    account[ORDER_WHY] = BY_MIN_NOTIONAL
    if closable == 0.0:
        end_order(REJECTED, NO_REASON, account)


@inlined
def fill_order(bar: Bar, rules: Rules, tiers: FloatArray, account: FloatArray) -> None:
    """Step 1: fill the waiting order at the open, as far as volume and margin allow."""
    if account[LEFT] == 0.0 or not bar.tradable:
        return
    limit = math.inf
    if rules.volume_share > 0.0:
        allowed = rules.volume_share * bar.volume * rules.lot_bottom / rules.lot_top
        limit = whole_units(allowed, rules.whole)
    side = math.copysign(1.0, account[LEFT])
    held = abs(account[UNITS]) if account[UNITS] * side < 0.0 else 0.0
    if limit > 0.0:
        judge_size(min(held, abs(account[LEFT])), bar, rules, account)
    size = min(abs(account[LEFT]), limit)
    if size == 0.0:
        return
    price = slipped_price(side, quantity_of(size, rules), bar, rules)
    closing = min(size, held)
    opening = size - closing
    fee = 0.0
    if closing > 0.0:
        fee += close_part(closing, price, account, rules)
    carried = 0.0
    if opening > 0.0:
        carried = carried_units(opening, price, bar.open, account, rules, tiers)
        worth = quantity_of(carried, rules) * bar.open
        if carried < opening and worth < rules.min_notional * (1.0 - ROUNDING):
            carried = 0.0
    if carried > 0.0:
        fee += open_part(side, carried, price, account, rules, tiers)
    note_fill(side * (closing + carried), price, fee, bar, rules, account)
    judge_rest(carried < opening, account)


@inlined
def note_fill(
    units: float, price: float, fee: float, bar: Bar, rules: Rules, account: FloatArray
) -> None:
    """Note a fill of the waiting order in the bar's totals and in the order's record."""
    if units == 0.0:
        return
    quantity = quantity_of(units, rules)
    slip = abs(quantity) * abs(price - bar.open)
    account[FILL_UNITS], account[FILL_PRICE] = units, price
    account[BAR_PNL] += quantity * (bar.close - bar.open)
    account[BAR_FEE] += fee
    account[BAR_SLIP] += slip
    account[BAR_TRADED] += abs(quantity) * price
    account[ORDER_FILLED] += units
    account[ORDER_VALUE] += units * price
    account[ORDER_FEE] += fee
    account[ORDER_SLIP] += slip
    account[LEFT] = sum_units(account[LEFT], -units, rules.whole)


@inlined
def judge_rest(cut: bool, account: FloatArray) -> None:
    """End the order if it is filled or was ``cut`` by margin; else let the rest wait."""
    if cut:
        end_order(REDUCED if account[ORDER_FILLED] != 0.0 else REJECTED, BY_MARGIN, account)
    elif account[LEFT] == 0.0:
        end_order(DONE if account[ORDER_WHY] == NO_REASON else REDUCED, NO_REASON, account)


# ── the steps of one bar ─────────────────────────────────────────────────────────────────────────


@inlined
def begin_bar(bar: Bar, account: FloatArray) -> None:
    """Forget the bar before; the position carried in earns the move of the closes."""
    for field in range(BAR_PNL, ACCOUNT_SIZE):
        account[field] = 0.0
    if account[UNITS] != 0.0:
        account[BAR_PNL] = account[QUANTITY] * (bar.close - bar.before)


@inlined
def settle(mark: float, rate: float, rules: Rules, account: FloatArray) -> float:
    """Settle one stamp (steps 0 and 5) on the position as it stands; return what was received."""
    if account[UNITS] == 0.0:
        return 0.0
    payment = float(-account[QUANTITY] * mark * rate)
    pay(payment, account, rules)
    account[BAR_FUNDING] += payment
    return payment


@compiled
def force_out(price: float, cash: float, why: int, bar: Bar, account: FloatArray) -> None:
    """Close the whole position at ``price`` and leave ``cash``; what parts the two is a cost."""
    account[BAR_COST] += equity_at(price, account) - cash
    account[BAR_PNL] -= account[QUANTITY] * (bar.close - price)
    if account[UNITS] != 0.0:  # bankruptcy may follow a liquidation in the same bar
        account[FORCED_UNITS] = -account[UNITS]
        account[FORCED_PRICE], account[FORCED_WHY] = price, why
    account[CASH] = cash
    account[UNITS], account[QUANTITY], account[ENTRY], account[MARGIN] = 0.0, 0.0, 0.0, 0.0
    cancel_order(why, account)


@inlined
def liquidate(bar: Bar, rules: Rules, tiers: FloatArray, account: FloatArray) -> None:
    """Step 3: close a position whose liquidation price the bar's adverse extreme reached."""
    if account[UNITS] == 0.0:
        return
    side = math.copysign(1.0, account[UNITS])
    size = abs(account[QUANTITY])
    entry = account[ENTRY]
    margin = account[CASH] if rules.cross else account[MARGIN]
    touch = liquidation_price(side, size, entry, margin, tiers)
    if side > 0.0:
        if touch <= 0.0 or bar.worst_low > touch * (1.0 + ROUNDING):
            return
        price = min(touch, bar.open)  # a gap through it: the open
    else:
        if bar.worst_high < touch * (1.0 - ROUNDING):
            return
        price = max(touch, bar.open)
    loss = side * size * (price - entry) - size * price * rules.liquidation_fee
    cash = account[CASH] + max(loss, -margin)
    force_out(price, cash, BY_LIQUIDATION, bar, account)


@inlined
def judge_bankruptcy(bar: Bar, rules: Rules, account: FloatArray) -> None:
    """After step 5: an account without equity is closed for good, never below zero."""
    if account[DEAD] == 1.0:
        return
    equity = equity_at(bar.close, account)
    if equity <= BANKRUPT_SHARE * rules.initial_cash:
        force_out(bar.close, max(equity, 0.0), BY_BANKRUPTCY, bar, account)
        account[DEAD] = 1.0


def open_account(rules: Rules) -> FloatArray:
    """Return an account with the initial cash, no position and no order."""
    account = np.zeros(ACCOUNT_SIZE)
    account[CASH] = rules.initial_cash
    account[ORDER] = NO_ORDER
    return account


# ── what is owned, in numbers that stay in registers ──────────────────────────────────────────────


class Held(NamedTuple):
    """What an account owns: the first fields of its row."""

    cash: float
    units: float
    quantity: float
    entry: float
    margin: float


@inlined
def held_of(account: FloatArray) -> Held:
    """Return what the account owns."""
    return Held(account[CASH], account[UNITS], account[QUANTITY], account[ENTRY], account[MARGIN])


@inlined
def hand_back(held: Held, account: FloatArray) -> None:
    """Write what is owned into the account."""
    account[CASH], account[UNITS], account[QUANTITY] = held.cash, held.units, held.quantity
    account[ENTRY], account[MARGIN] = held.entry, held.margin


@compiled
def safe_range(held: Held, rules: Rules, tiers: FloatArray) -> tuple[float, float]:
    """Return the low above which and the high below which a bar does not liquidate."""
    if held.units == 0.0:
        return -math.inf, math.inf
    side = math.copysign(1.0, held.units)
    margin = held.cash if rules.cross else held.margin
    touch = liquidation_price(side, abs(held.quantity), held.entry, margin, tiers)
    if side < 0.0:
        return -math.inf, touch * (1.0 - ROUNDING)
    return (touch * (1.0 + ROUNDING) if touch > 0.0 else -math.inf), math.inf


# ── a whole tape ─────────────────────────────────────────────────────────────────────────────────


@inlined
def write_bar(i: int, close: float, account: FloatArray, bars: FloatArray) -> None:
    """Write the bar's row of the book of bars."""
    position = account[QUANTITY]
    equity = equity_at(close, account)
    bars[PRICE, i] = close
    bars[POSITION, i] = position
    bars[CASH_END, i] = account[CASH]
    bars[EQUITY, i] = equity
    bars[PRICE_PNL, i] = account[BAR_PNL]
    bars[FEE, i] = account[BAR_FEE]
    bars[FUNDING, i] = account[BAR_FUNDING]
    bars[SLIPPAGE, i] = account[BAR_SLIP]
    bars[LIQUIDATION, i] = account[BAR_COST]
    bars[EXPOSURE, i] = position * close / equity if equity > 0.0 else 0.0
    bars[TRADED, i] = account[BAR_TRADED]


@inlined
def write_fills(i: int, reference: float, row: int, account: FloatArray, fills: FloatArray) -> int:
    """Write the bar's fill and its forced close, if any, from ``row`` on; return the next row."""
    if account[FILL_UNITS] != 0.0:
        fills[F_ORDER, row] = account[ORDER]
        fills[F_BAR, row] = i
        fills[F_UNITS, row] = account[FILL_UNITS]
        fills[F_PRICE, row] = account[FILL_PRICE]
        fills[F_REFERENCE, row] = reference
        fills[F_FEE, row] = account[BAR_FEE]
        fills[F_SLIP, row] = account[BAR_SLIP]
        fills[F_WHY, row] = NO_REASON
        row += 1
    if account[FORCED_UNITS] != 0.0:
        fills[F_ORDER, row] = NO_ORDER
        fills[F_BAR, row] = i
        fills[F_UNITS, row] = account[FORCED_UNITS]
        fills[F_PRICE, row] = account[FORCED_PRICE]
        fills[F_REFERENCE, row] = account[FORCED_PRICE]
        fills[F_FEE, row] = 0.0
        fills[F_SLIP, row] = 0.0
        fills[F_WHY, row] = account[FORCED_WHY]
        row += 1
    return row


@inlined
def write_order(i: int, account: FloatArray, orders: FloatArray) -> None:
    """Write the order's record if it has one, and forget an order that has ended in bar ``i``."""
    if account[ORDER] == NO_ORDER:
        return
    if account[ORDER_STATUS] != PENDING:
        account[ORDER_END] = i
    row = int(account[ORDER])
    for column in range(ORDER_COLUMNS):
        orders[column, row] = account[RECORD + column]
    if account[ORDER_STATUS] != PENDING:
        account[ORDER] = NO_ORDER


@inlined
def bar_at(i: int, tape: Tape) -> Bar:
    """Return bar i of the tape."""
    at = np.uintp(i)
    return Bar(
        tape.close[np.uintp(max(i - 1, 0))], tape.open[at], tape.high[at], tape.low[at],
        tape.close[at], tape.volume[at], tape.worst_low[at], tape.worst_high[at], tape.tradable[at],
    )  # fmt: skip


@inlined
def settle_stamps(
    first: int, past: int, tape: Tape, rules: Rules, account: FloatArray, paid: FloatArray
) -> None:
    """Settle stamps ``first:past`` and write each into ``paid``."""
    for stamp in range(first, past):
        paid[PAID_POSITION, stamp] = account[QUANTITY]
        paid[PAID, stamp] = settle(tape.mark[stamp], tape.rate[stamp], rules, account)


@inlined
def pass_bar(
    i: int,
    bar: Bar,
    tape: Tape,
    rules: Rules,
    tiers: FloatArray,
    account: FloatArray,
    paid: FloatArray,
) -> None:
    """Take the account through bar i: steps 0 to 5."""
    begin_bar(bar, account)
    # 0. Stamps in a gap before this bar settle on the position carried in.
    settle_stamps(tape.gap_from[i], tape.bar_from[i], tape, rules, account, paid)
    # 1. Open. (2., other orders, does not arise: targets are market orders.)
    fill_order(bar, rules, tiers, account)
    # 3. Liquidation on the adverse extreme.
    liquidate(bar, rules, tiers, account)
    # 4. and 5. Funding on the position at the close.
    settle_stamps(tape.bar_from[i], tape.gap_from[i + 1], tape, rules, account, paid)
    judge_bankruptcy(bar, rules, account)


@inlined
def planned(i: int, plan: Plan, units: float) -> float:
    """Return the exposure that the plan wants at close i, by the side that is held."""
    at = np.uintp(i)
    if units > 0.0:
        return float(plan.if_long[at])
    if units < 0.0:
        return float(plan.if_short[at])
    return float(plan.if_flat[at])


@inlined
def is_off(exposure: float, close: float, now: float, quantity: float, sizing: Sizing) -> bool:
    """Say whether what is held at the close is another exposure than is wanted; NaN wants nothing.

    ``now`` is equity. A position on the wanted side is left alone while it is within the band.
    """
    if math.isnan(exposure):
        return False
    equity = sizing.share * now
    held = quantity if equity > 0.0 else 0.0
    same_side = (exposure > 0.0) == (held > 0.0) and (exposure < 0.0) == (held < 0.0)
    is_near = same_side and (held == 0.0 or abs(exposure - held * close / equity) <= sizing.band)
    return not is_near


@inlined
def sized(exposure: float, close: float, now: float, sizing: Sizing, rules: Rules) -> float:
    """Return the target (signed units) of a wanted exposure, of a share of equity ``now``."""
    return units_of(exposure * max(sizing.share * now, 0.0) / close, rules)


@inlined
def is_idle(i: int, tape: Tape, account: FloatArray) -> bool:
    """Say whether no order waits for bar i and nothing settles in it."""
    settles = tape.gap_from[np.uintp(i + 1)] > tape.gap_from[np.uintp(i)]
    return bool(account[LEFT] == 0.0 and not settles)


@inlined
def keep_bar(
    i: int,
    safe: tuple[float, float],
    tape: Tape,
    rules: Rules,
    tiers: FloatArray,
    account: FloatArray,
    book: Book,
) -> tuple[float, float]:
    """Take the account through bar i and write it down.

    ``safe`` is the account's safe range or ``UNKNOWN``, before and as it is returned. In a bar that
    is idle, safe and leaves some equity only the worth of what is held can change.
    """
    bar, quiet = bar_at(i, tape), False
    if is_idle(i, tape, account):
        if safe[0] > safe[1]:
            safe = safe_range(held_of(account), rules, tiers)
        quiet = bar.worst_low > safe[0] and bar.worst_high < safe[1]
        quiet = quiet and equity_at(bar.close, account) > BANKRUPT_SHARE * rules.initial_cash
    if quiet:
        begin_bar(bar, account)
        write_bar(i, bar.close, account, book.bars)
        return safe
    pass_bar(i, bar, tape, rules, tiers, account, book.paid)
    if book.counts[N_BANKRUPT] < 0 and account[DEAD] == 1.0:
        book.counts[N_BANKRUPT] = i
    write_bar(i, bar.close, account, book.bars)
    if account[FILL_UNITS] != 0.0 or account[FORCED_UNITS] != 0.0:
        book.counts[N_FILLS] = write_fills(i, bar.open, book.counts[N_FILLS], account, book.fills)
    return UNKNOWN


@inlined
def keep_decision(i: int, target: float, rules: Rules, account: FloatArray, book: Book) -> None:
    """Step 6 at close i, NaN for no decision: an earlier order makes way for the next."""
    decided = not math.isnan(target)
    if decided:
        cancel_order(BY_NEXT_TARGET, account)
    if account[ORDER_STATUS] != PENDING:
        write_order(i, account, book.orders)
    if decided:
        number = book.counts[N_ORDERS]
        if place_target(i, units_of(target, rules), number, rules, account):
            book.counts[N_ORDERS] = number + 1


@compiled
def replay(
    tape: Tape,
    rules: Rules,
    tiers: FloatArray,
    wanted: FloatArray,
    plan: Plan,
    sizing: Sizing,
    account: FloatArray,
    book: Book,
) -> None:
    """Walk the whole tape and keep the book.

    ``wanted[i]`` is the target quantity decided at close i, or NaN. Where there is a plan it is
    sized from that, and written into ``wanted``. ``account`` is a fresh one from ``open_account``.
    """
    safe = UNKNOWN
    for i in range(len(tape.close)):
        safe = keep_bar(i, safe, tape, rules, tiers, account, book)
        if len(plan.if_flat) > 0 and account[DEAD] == 0.0:
            exposure, close = planned(i, plan, account[UNITS]), tape.close[i]
            now = equity_at(close, account)
            if is_off(exposure, close, now, account[QUANTITY], sizing):
                wanted[i] = quantity_of(sized(exposure, close, now, sizing, rules), rules)
        keep_decision(i, wanted[i], rules, account, book)
    write_order(len(tape.close) - 1, account, book.orders)


@compiled
def step(
    i: int,
    target: float,
    tape: Tape,
    rules: Rules,
    tiers: FloatArray,
    account: FloatArray,
    book: Book,
) -> None:
    """Take the decision at the close before bar i (NaN: none) and walk bar i: for slow deciders."""
    if i > 0:
        keep_decision(i - 1, target, rules, account, book)
    if i < len(tape.close):
        keep_bar(i, UNKNOWN, tape, rules, tiers, account, book)
    else:
        write_order(i - 1, account, book.orders)


# ── a whole tape, in sums ────────────────────────────────────────────────────────────────────────


class Strictest(NamedTuple):
    """The hardest that any tier is: what is safe by these is safe whatever tier is in force."""

    rate: float
    max_leverage: float


@compiled
def strictest(tiers: FloatArray) -> Strictest:
    """Return the highest rate of maintenance and the lowest limit of leverage."""
    rate, leverage = 0.0, math.inf
    for row in range(len(tiers)):
        rate = max(rate, float(tiers[row, RATE]))
        leverage = min(leverage, float(tiers[row, MAX_LEVERAGE]))
    return Strictest(rate, leverage)


@inlined
def surely_safe(held: Held, rules: Rules, hard: Strictest) -> tuple[float, float]:
    """Return a part of the safe range that takes no search for a tier.

    The rate is the highest, and the amount that a tier takes off is left out.
    """
    if held.units == 0.0:
        return -math.inf, math.inf
    size, margin = abs(held.quantity), held.cash if rules.cross else held.margin
    if held.units < 0.0:
        high = (size * held.entry + margin) / (size * (1.0 + hard.rate))
        return -math.inf, high * (1.0 - 2.0 * ROUNDING)
    low = (size * held.entry - margin) / (size * (1.0 - hard.rate))
    return low + 2.0 * ROUNDING * abs(low), math.inf


@inlined
def is_within(bar: Bar, safe: tuple[float, float]) -> bool:
    """Say whether the adverse extremes of a bar lie inside a safe range."""
    return bar.worst_low > safe[0] and bar.worst_high < safe[1]


class Turn(NamedTuple):
    """What an order made of a holding; ``plain`` is False where it took more than arithmetic."""

    held: Held
    fee: float
    slip: float
    traded: float
    plain: bool


@inlined
def turn(
    left: float, bar: Bar, held: Held, rules: Rules, tiers: FloatArray, hard: Strictest
) -> Turn:
    """Fill ``left`` units at the open as ``fill_order`` does where nothing cuts the order."""
    side, size = math.copysign(1.0, left), abs(left)
    price = slipped_price(side, quantity_of(size, rules), bar, rules)
    cash, units, quantity, entry, margin = held
    closing = min(size, abs(units)) if units * side < 0.0 else 0.0
    opening = size - closing
    plain = bar.tradable and rules.volume_share <= 0.0
    fee, traded = 0.0, 0.0
    if closing > 0.0:
        ends = closing == abs(units)
        closed = abs(quantity) if ends else quantity_of(closing, rules)
        fee = closed * price * rules.taker_fee
        cash += (price - entry) * -side * closed - fee
        if ends:
            units, quantity, entry, margin = 0.0, 0.0, 0.0, 0.0
        else:
            margin *= 1.0 - closing / abs(units)
            units = sum_units(units, side * closing, rules.whole)
            quantity = quantity_of(units, rules)
        plain = plain and (rules.cross or margin <= cash)
        traded = closed
    if opening > 0.0:
        opened, kept = quantity_of(opening, rules), abs(quantity)
        leverage = rules.leverage
        if leverage > hard.max_leverage:
            leverage = leverage_at((kept + opened) * price, rules, tiers)
        if rules.cross:
            free = cash + quantity * (bar.open - entry) - kept * bar.open / leverage
        else:
            free = cash - margin
        need = opened * price / leverage + opened * price * rules.taker_fee
        plain = plain and need <= free + ROUNDING * abs(free)
        plain = plain and opened * bar.open >= rules.min_notional * (1.0 - ROUNDING)
        fee += opened * price * rules.taker_fee
        entry = (kept * entry + opened * price) / (kept + opened)
        if not rules.cross:
            margin += opened * price / leverage
        quantity = side * opened
        if units != 0.0:
            units = sum_units(units, side * opening, rules.whole)
            quantity = quantity_of(units, rules)
        else:
            units = side * opening
        cash -= opened * price * rules.taker_fee
        plain = plain and (rules.cross or margin <= cash)
        traded = opened if closing == 0.0 else quantity_of(closing + opening, rules)
    held = Held(cash, units, quantity, entry, margin)
    return Turn(held, fee, traded * abs(price - bar.open), traded * price, plain)


@inlined
def settled(i: int, tape: Tape, rules: Rules, held: Held) -> tuple[float, float, bool]:
    """Settle the stamps of bar i: cash then, what was received, and whether it was plain.

    Not plain are stamps in a gap, and a payment that takes cash below the margin.
    """
    first, past = tape.bar_from[np.uintp(i)], tape.gap_from[np.uintp(i + 1)]
    cash, funding, plain = held.cash, 0.0, first == tape.gap_from[np.uintp(i)]
    if held.units != 0.0:
        for stamp in range(first, past):
            at = np.uintp(stamp)
            payment = -held.quantity * tape.mark[at] * tape.rate[at]
            cash += payment
            funding += payment
            plain = plain and (rules.cross or held.margin <= cash)
    return cash, funding, plain


class Rest(NamedTuple):
    """Where a walk without orders came to: the next bar, and the account at the close before it.

    ``wanted`` says that the plan wants something at that close; if it does not, there is no next
    bar or it has to be walked step by step.
    """

    i: int
    now: float
    held: Held
    safe: tuple[float, float]
    funding: float
    wanted: bool


@inlined
def rest(
    i: int,
    now: float,
    held: Held,
    safe: tuple[float, float],
    ruin: float,
    tape: Tape,
    rules: Rules,
    tiers: FloatArray,
    plan: Plan,
    sizing: Sizing,
    equity: FloatArray,
    notional: FloatArray,
) -> Rest:
    """Walk from bar i on while no order waits and nothing happens but settlements."""
    wants = plan.if_flat
    if held.units > 0.0:
        wants = plan.if_long
    elif held.units < 0.0:
        wants = plan.if_short
    cash, received, wanted = held.cash, 0.0, False
    low, high = safe
    while i < len(equity) and not wanted:
        at = np.uintp(i)
        if tape.worst_low[at] <= low or tape.worst_high[at] >= high:
            break
        close = tape.close[at]
        paid = cash
        if tape.gap_from[np.uintp(i + 1)] > tape.gap_from[at]:
            owned = Held(cash, held.units, held.quantity, held.entry, held.margin)
            paid, funding, plain = settled(i, tape, rules, owned)
            if not plain or paid + held.quantity * (close - held.entry) <= ruin:
                break
            received += funding
            if rules.cross:
                owned = Held(paid, held.units, held.quantity, held.entry, held.margin)
                low, high = safe_range(owned, rules, tiers)
        valued = paid + held.quantity * (close - held.entry)
        if valued <= ruin:
            break
        cash = paid
        now = equity[at] = valued
        notional[at] = held.quantity * close
        wanted = is_off(wants[at], close, now, held.quantity, sizing)
        i += 1
    held = Held(cash, held.units, held.quantity, held.entry, held.margin)
    return Rest(i, now, held, (low, high), received, wanted)


@inlined
def trades_ended(before: float, account: FloatArray) -> int:
    """Return how many round trips ended in a bar that began with ``before`` units."""
    after = before + account[FILL_UNITS]
    ended = 1 if before != 0.0 and (account[FILL_UNITS] != 0.0 and after * before <= 0.0) else 0
    return ended + (1 if account[FORCED_UNITS] != 0.0 else 0)


@compiled
def walk_steps(
    i: int,
    earlier: float,
    tape: Tape,
    rules: Rules,
    tiers: FloatArray,
    account: FloatArray,
    paid: FloatArray,
    totals: FloatArray,
) -> float:
    """Take the account through bar i step by step and count it; return its equity."""
    bar, before = bar_at(i, tape), account[UNITS]
    pass_bar(i, bar, tape, rules, tiers, account, paid)
    totals[FEES] += account[BAR_FEE]
    totals[FUNDINGS] += account[BAR_FUNDING]
    totals[SLIPPAGES] += account[BAR_SLIP]
    totals[LIQUIDATION_COSTS] += account[BAR_COST]
    if account[BAR_TRADED] > 0.0 and earlier > 0.0:
        totals[TURNOVER] += account[BAR_TRADED] / earlier
    totals[TRADES] += trades_ended(before, account)
    if account[FORCED_UNITS] != 0.0 and account[FORCED_WHY] == BY_LIQUIDATION:
        totals[LIQUIDATIONS] += 1.0
    if account[DEAD] == 1.0:
        totals[BANKRUPT_AT] = i
    return equity_at(bar.close, account)


@compiled
def tally(
    tape: Tape,
    rules: Rules,
    tiers: FloatArray,
    plan: Plan,
    sizing: Sizing,
    account: FloatArray,
    paid: FloatArray,
    equity: FloatArray,
    notional: FloatArray,
    totals: FloatArray,
) -> None:
    """Walk the whole tape with a plan; write equity and held notional per bar, sums of the rest.

    ``paid`` is scratch. The steps and the decisions are those of ``replay``, to the same bits.
    """
    n = len(tape.close)
    totals[:] = 0.0
    totals[BANKRUPT_AT] = -1.0
    ruin = BANKRUPT_SHARE * rules.initial_cash
    held, hard = held_of(account), strictest(tiers)
    safe, is_searched = (-math.inf, math.inf), True
    i, left, is_new, now = 0, 0.0, False, rules.initial_cash
    while i < n:
        wanted = False
        if left == 0.0:
            i, now, held, safe, funding, wanted = rest(
                i, now, held, safe, ruin, tape, rules, tiers, plan, sizing, equity, notional
            )
            totals[FUNDINGS] += funding
            if i == n and not wanted:
                break
            if not (wanted or is_searched or is_within(bar_at(i, tape), safe)):
                safe, is_searched = safe_range(held, rules, tiers), True
                continue
        if not wanted:
            bar = bar_at(i, tape)
            after, fee, slip, traded, plain = turn(left, bar, held, rules, tiers, hard)
            plain = plain and left != 0.0
            within, searched = surely_safe(after, rules, hard), False
            if plain and not is_within(bar, within):
                within, searched = safe_range(after, rules, tiers), True
            plain = plain and is_within(bar, within)
            cash, funding, covered = settled(i, tape, rules, after)
            plain = plain and covered
            after = Held(cash, after.units, after.quantity, after.entry, after.margin)
            if rules.cross:
                within, searched = surely_safe(after, rules, hard), False
            valued = after.cash + after.quantity * (bar.close - after.entry)
            if plain and valued > ruin:
                totals[FEES] += fee
                totals[SLIPPAGES] += slip
                totals[TURNOVER] += traded / now
                totals[FUNDINGS] += funding
                if after.units * held.units <= 0.0 and held.units != 0.0:
                    totals[TRADES] += 1.0
                held, safe, is_searched, now, left = after, within, searched, valued, 0.0
            else:
                hand_back(held, account)
                if left == 0.0:
                    account[ORDER], account[LEFT] = NO_ORDER, 0.0
                elif is_new:
                    put_order(i - 1, left, 0, account)
                now = walk_steps(i, now, tape, rules, tiers, account, paid, totals)
                held, left, is_new = held_of(account), account[LEFT], False
                safe, is_searched = safe_range(held, rules, tiers), True
            equity[np.uintp(i)], notional[np.uintp(i)] = now, held.quantity * bar.close
            i += 1
            if account[DEAD] == 1.0:
                equity[i:], notional[i:] = now, 0.0
                break
            wanted = is_off(planned(i - 1, plan, held.units), bar.close, now, held.quantity, sizing)
        if wanted:
            exposure = planned(i - 1, plan, held.units)
            target = sized(exposure, tape.close[np.uintp(i - 1)], now, sizing, rules)
            left, is_new = sum_units(target, -held.units, rules.whole), True
            if left != 0.0:
                totals[ORDERS] += 1.0
