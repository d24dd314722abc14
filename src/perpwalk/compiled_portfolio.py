"""Several contracts on one cash, compiled: the steps of ``perpwalk.compiled_account`` in turn.

Each contract keeps an account row of its own; cash goes from row to row, and what the other rows
claim of it (margins, or free equity with cross margin) is told to a row before it acts. Symbols act
in the order in which they are given; orders fill in the order in which they were placed.

The machine code is not kept on disk: numba would not notice a change in ``compiled_account``.
Compiling takes seconds, once a process, and only where there are several contracts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numba
import numpy as np

from perpwalk import compiled_account as one
from perpwalk.compiled_account import Bar, Rules, Tape
from perpwalk.domain import FloatArray, IntArray

F = TypeVar("F", bound=Callable[..., object])

# Further rows of the book of fills, orders and settlements: which contract, at which stamp, and in
# which order.
# Columns of what is seen of each symbol at a stamp: the fields of a Bar.
BEFORE, OPEN, HIGH, LOW, CLOSE, VOLUME, WORST_LOW, WORST_HIGH, TRADABLE = range(9)
TICK, WHOLE, LOT_TOP, LOT_BOTTOM, MIN_NOTIONAL = range(5)  # columns of each symbol's facts
FILL_SYMBOL, FILL_STAMP = one.FILL_COLUMNS, one.FILL_COLUMNS + 1
ORDER_SYMBOL, PAID_TURN = one.ORDER_COLUMNS, 2


class Schedule(NamedTuple):
    """Who has a bar when, and what is decided when.

    ``row[k, s]`` is the row of symbol s on the joint tape for the bar that closes at stamp k, -1
    where it has none; ``first[s]`` its first row there. Decisions ``decided_from[k]:decided_from[k
    + 1]`` fall on stamp k: ``symbol`` and wanted ``quantity``, in the order they were made.
    """

    row: IntArray
    first: IntArray
    decided_from: IntArray
    symbol: IntArray
    quantity: FloatArray


def compiled(function: F) -> F:
    """Compile ``function`` with numba."""
    kernel: F = numba.njit(error_model="numpy")(function)
    return kernel


@compiled
def rules_for(s: int, rules: Rules, facts: FloatArray) -> Rules:
    """Return the account's rules with the tick, lot and least notional of symbol s."""
    return Rules(
        rules.initial_cash, rules.leverage, rules.cross, rules.taker_fee, rules.liquidation_fee,
        facts[s, TICK], facts[s, WHOLE] == 1.0, facts[s, LOT_TOP], facts[s, LOT_BOTTOM],
        facts[s, MIN_NOTIONAL], rules.volume_share, rules.slippage_kind, rules.bps,
        rules.spread_bps, rules.range_share, rules.impact,
    )  # fmt: skip


@compiled
def _look(row: int, first: int, price: float, tape: Tape, now: FloatArray) -> None:
    """Note what a symbol's bar is; without one (-1) it stands at its last close."""
    if row < 0:
        now[:] = price
        now[VOLUME], now[TRADABLE] = 0.0, 0.0
        return
    now[BEFORE] = tape.close[max(row - 1, first)]
    now[OPEN], now[HIGH], now[LOW] = tape.open[row], tape.high[row], tape.low[row]
    now[CLOSE], now[VOLUME] = tape.close[row], tape.volume[row]
    now[WORST_LOW], now[WORST_HIGH] = tape.worst_low[row], tape.worst_high[row]
    now[TRADABLE] = 1.0 if tape.tradable[row] else 0.0


@compiled
def _bar(now: FloatArray) -> Bar:
    return Bar(
        now[BEFORE], now[OPEN], now[HIGH], now[LOW], now[CLOSE], now[VOLUME], now[WORST_LOW],
        now[WORST_HIGH], now[TRADABLE] == 1.0,
    )  # fmt: skip


@compiled
def _enter(
    s: int,
    cash: float,
    accounts: FloatArray,
    prices: FloatArray,
    rules: Rules,
    tiers: FloatArray,
) -> None:
    """Give the row of symbol s the cash, and tell it what the others claim of it."""
    margins, givable, free, held = 0.0, 0.0, 0.0, 0.0
    for o in range(len(accounts)):
        if o == s:
            continue
        margins += accounts[o, one.MARGIN]
        givable += max(accounts[o, one.MARGIN], 0.0)
        if accounts[o, one.UNITS] != 0.0:
            held = 1.0
        value = abs(accounts[o, one.QUANTITY]) * prices[o]
        free += accounts[o, one.QUANTITY] * (prices[o] - accounts[o, one.ENTRY])
        free -= value / one.leverage_at(value, rules, tiers[o])
    accounts[s, one.CASH] = cash
    accounts[s, one.OTHERS_MARGIN] = margins
    accounts[s, one.GIVABLE] = givable
    accounts[s, one.OTHERS_FREE] = free
    accounts[s, one.OWED] = 0.0
    accounts[s, one.OTHERS_HELD] = held


@compiled
def _leave(s: int, accounts: FloatArray) -> float:
    """Let the others give up the margin they were asked for, in order; return the cash."""
    owed = accounts[s, one.OWED]
    if owed > 0.0:
        debtor = -1
        for o in range(len(accounts)):
            if o == s or accounts[o, one.UNITS] == 0.0:
                continue
            debtor = o if debtor < 0 else debtor
            taken = min(owed, max(accounts[o, one.MARGIN], 0.0))
            accounts[o, one.MARGIN] -= taken
            owed -= taken
        if debtor >= 0:
            accounts[debtor, one.MARGIN] -= owed
    return float(accounts[s, one.CASH])


@compiled
def _next_waiting(after: float, accounts: FloatArray) -> int:
    """Return the symbol with the earliest order placed after number ``after``, or -1."""
    found, best = -1, math.inf
    for s in range(len(accounts)):
        number = accounts[s, one.ORDER]
        if number > after and number < best:
            found, best = s, number
    return found


@compiled
def _write_fill(
    s: int, k: int, row: int, reference: float, at: int, accounts: FloatArray, fills: FloatArray
) -> int:
    """Write the fill that the row's account holds, forget it there, return the next place."""
    account = accounts[s]
    after = one.write_fills(row, reference, at, account, fills)
    for place in range(at, after):
        fills[FILL_SYMBOL, place] = s
        fills[FILL_STAMP, place] = k
    account[one.FILL_UNITS] = 0.0
    account[one.FORCED_UNITS] = 0.0
    return after


@compiled
def _fails(cash: float, now: FloatArray, accounts: FloatArray, tiers: FloatArray) -> bool:
    """Tell whether equity at all adverse extremes together is at or below all maintenance."""
    equity, maintenance = cash, 0.0
    for s in range(len(accounts)):
        quantity = accounts[s, one.QUANTITY]
        worst = now[s, WORST_LOW] if quantity > 0.0 else now[s, WORST_HIGH]
        equity += quantity * (worst - accounts[s, one.ENTRY])
        value = abs(quantity) * worst
        tier = one.tier_at(value, tiers[s])
        maintenance += value * tiers[s, tier, one.RATE] - tiers[s, tier, one.AMOUNT]
    return bool(equity <= maintenance * (1.0 + one.ROUNDING))


@compiled
def _held(accounts: FloatArray) -> int:
    count = 0
    for s in range(len(accounts)):
        count += accounts[s, one.UNITS] != 0.0
    return count


@compiled
def _write_bar(
    k: int, cash: float, accounts: FloatArray, prices: FloatArray, bars: FloatArray
) -> None:
    """Write the stamp's row of the book of bars: sums over the symbols, price of the first."""
    equity, net = cash, 0.0
    for s in range(len(accounts)):
        equity += accounts[s, one.QUANTITY] * (prices[s] - accounts[s, one.ENTRY])
        net += accounts[s, one.QUANTITY] * prices[s]
    bars[one.PRICE, k], bars[one.POSITION, k] = prices[0], accounts[0, one.QUANTITY]
    bars[one.CASH_END, k], bars[one.EQUITY, k] = cash, equity
    bars[one.EXPOSURE, k] = net / equity if equity > 0.0 else 0.0
    bars[one.PRICE_PNL, k] = accounts[:, one.BAR_PNL].sum()
    bars[one.FEE, k] = accounts[:, one.BAR_FEE].sum()
    bars[one.FUNDING, k] = accounts[:, one.BAR_FUNDING].sum()
    bars[one.SLIPPAGE, k] = accounts[:, one.BAR_SLIP].sum()
    bars[one.LIQUIDATION, k] = accounts[:, one.BAR_COST].sum()
    bars[one.TRADED, k] = accounts[:, one.BAR_TRADED].sum()


@compiled
def _settle_span(
    s: int,
    start: int,
    stop: int,
    turn: int,
    tape: Tape,
    rules: Rules,
    accounts: FloatArray,
    paid: FloatArray,
) -> int:
    """Settle the stamps ``start:stop`` on symbol s; return the next turn."""
    for stamp in range(start, stop):
        paid[one.PAID_POSITION, stamp] = accounts[s, one.QUANTITY]
        paid[one.PAID, stamp] = one.settle(tape.mark[stamp], tape.rate[stamp], rules, accounts[s])
        paid[PAID_TURN, stamp] = turn
        turn += 1
    return turn


@compiled
def _liquidate_together(cash: float, now: FloatArray, rules: Rules, accounts: FloatArray) -> float:
    """Close every position at its adverse extreme; return the cash that is left."""
    for s in range(len(accounts)):
        quantity = accounts[s, one.QUANTITY]
        if accounts[s, one.UNITS] == 0.0:
            continue
        price = now[s, WORST_LOW] if quantity > 0.0 else now[s, WORST_HIGH]
        loss = quantity * (price - accounts[s, one.ENTRY])
        loss -= abs(quantity) * price * rules.liquidation_fee
        accounts[s, one.CASH] = cash
        cash += loss
        one.force_out(price, cash, one.BY_LIQUIDATION, _bar(now[s]), accounts[s])
    return cash


@compiled
def _bankrupt(cash: float, prices: FloatArray, now: FloatArray, accounts: FloatArray) -> float:
    """Close every position at its last close and end trading; return the cash, never below 0."""
    for s in range(len(accounts)):
        if accounts[s, one.UNITS] != 0.0:
            accounts[s, one.CASH] = cash
            cash += accounts[s, one.QUANTITY] * (prices[s] - accounts[s, one.ENTRY])
            one.force_out(prices[s], cash, one.BY_BANKRUPTCY, _bar(now[s]), accounts[s])
        one.cancel_order(one.BY_BANKRUPTCY, accounts[s])
        accounts[s, one.DEAD] = 1.0
    if cash < 0.0:
        accounts[0, one.BAR_COST] += cash
        cash = 0.0
    return cash


@compiled
def _equity(cash: float, prices: FloatArray, accounts: FloatArray) -> float:
    equity = cash
    for s in range(len(accounts)):
        equity += accounts[s, one.QUANTITY] * (prices[s] - accounts[s, one.ENTRY])
    return equity


@compiled
def _write_orders(rows: IntArray, last: bool, accounts: FloatArray, orders: FloatArray) -> None:
    """Write the orders that have ended; at the ``last`` stamp those that wait too."""
    for s in range(len(accounts)):
        if accounts[s, one.ORDER] != one.NO_ORDER and (
            last or accounts[s, one.ORDER_STATUS] != one.PENDING
        ):
            orders[ORDER_SYMBOL, int(accounts[s, one.ORDER])] = s
            one.write_order(rows[s], accounts[s], orders)


@compiled
def replay(
    schedule: Schedule,
    tape: Tape,
    rules: Rules,
    facts: FloatArray,
    tiers: FloatArray,
    accounts: FloatArray,
    book: one.Book,
) -> int:
    """Walk all stamps; return the one at which the account went bankrupt, or -1.

    ``accounts`` holds one fresh row per symbol, shape (S, ``ACCOUNT_SIZE``), ``facts`` what each
    has of its own, ``tiers`` its maintenance table; the tape the bars of all symbols, one symbol
    after the other.
    """
    symbols = len(accounts)
    cash = rules.initial_cash
    prices, now = np.zeros(symbols), np.zeros((symbols, 9))
    rows = np.zeros(symbols, dtype=np.int64)  # each symbol's own last row
    bankrupt, n_fills, n_orders, turn = -1, 0, 0, 0
    for k in range(len(schedule.row)):
        fresh = schedule.row[k]
        for s in range(symbols):
            _look(fresh[s], schedule.first[s], prices[s], tape, now[s])
            if fresh[s] >= 0:
                rows[s] = fresh[s] - schedule.first[s]
            one.begin_bar(_bar(now[s]), accounts[s])
        # 0. Stamps in a gap before a bar.
        for s in range(symbols):
            r = fresh[s]
            if r >= 0 and tape.bar_from[r] > tape.gap_from[r]:
                _enter(s, cash, accounts, prices, rules, tiers)
                turn = _settle_span(
                    s, tape.gap_from[r], tape.bar_from[r], turn, tape, rules, accounts, book.paid
                )
                cash = _leave(s, accounts)
        # 1. Open: orders in the order in which they were placed.
        s = _next_waiting(-1.0, accounts)
        while s >= 0:
            number = accounts[s, one.ORDER]
            if fresh[s] >= 0:
                _enter(s, cash, accounts, prices, rules, tiers)
                mine = rules_for(s, rules, facts)
                one.fill_order(_bar(now[s]), mine, tiers[s], accounts[s])
                cash = _leave(s, accounts)
                n_fills = _write_fill(s, k, rows[s], now[s, OPEN], n_fills, accounts, book.fills)
            s = _next_waiting(number, accounts)
        # 3. Liquidation on the adverse extremes.
        for s in range(symbols):
            if fresh[s] < 0 or accounts[s, one.UNITS] == 0.0:
                continue
            if rules.cross and _held(accounts) > 1:
                if _fails(cash, now, accounts, tiers):
                    cash = _liquidate_together(cash, now, rules, accounts)
            else:
                _enter(s, cash, accounts, prices, rules, tiers)
                one.liquidate(_bar(now[s]), rules, tiers[s], accounts[s])
                if accounts[s, one.UNITS] == 0.0 and not rules.cross:
                    one.restrain_margins(accounts[s])
                cash = _leave(s, accounts)
            for o in range(symbols):
                n_fills = _write_fill(o, k, rows[o], 0.0, n_fills, accounts, book.fills)
        # 4. and 5. The close, and funding on the position at it.
        for s in range(symbols):
            r = fresh[s]
            if r >= 0:
                prices[s] = tape.close[r]
                if tape.gap_from[r + 1] > tape.bar_from[r]:
                    _enter(s, cash, accounts, prices, rules, tiers)
                    turn = _settle_span(
                        s, tape.bar_from[r], tape.gap_from[r + 1], turn, tape, rules, accounts,
                        book.paid,
                    )  # fmt: skip
                    cash = _leave(s, accounts)
        if bankrupt < 0 and _equity(cash, prices, accounts) <= (
            one.BANKRUPT_SHARE * rules.initial_cash
        ):
            cash, bankrupt = _bankrupt(cash, prices, now, accounts), k
            for s in range(symbols):
                n_fills = _write_fill(s, k, rows[s], 0.0, n_fills, accounts, book.fills)
        _write_bar(k, cash, accounts, prices, book.bars)
        _write_orders(rows, False, accounts, book.orders)
        # 6. Decisions.
        for d in range(schedule.decided_from[k], schedule.decided_from[k + 1]):
            s = schedule.symbol[d]
            one.cancel_order(one.BY_NEXT_TARGET, accounts[s])
            _write_orders(rows, False, accounts, book.orders)
            mine = rules_for(s, rules, facts)
            wanted = one.units_of(schedule.quantity[d], mine)
            if one.place_target(rows[s], wanted, n_orders, mine, accounts[s]):
                n_orders += 1
    _write_orders(rows, True, accounts, book.orders)
    book.counts[0], book.counts[1] = n_fills, n_orders
    return bankrupt
