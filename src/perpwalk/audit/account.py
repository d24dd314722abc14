"""Does the account give cause for doubt: identity, liquidations, funding, fills, idleness."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from perpwalk.audit.unpaid import unpaid_notionals
from perpwalk.config import BrokerSection
from perpwalk.costs import share_of_best
from perpwalk.domain import BarFrame, Finding, Level, Market, to_ns
from perpwalk.ledger import Ledger
from perpwalk.trades import FORCED_EXITS, closed_results, fill_rows

WORST_RATE = 0.0001  # 0.01 % a settlement: what an unknown one is assumed to cost at worst
LISTED = 5
SCHEDULE_HOLDS = pd.Timedelta(days=365)
BEST, CONCENTRATED = 5, 0.5


def audit_account(
    ledger: Ledger,
    markets: Sequence[Market] = (),
    broker: BrokerSection | None = None,
) -> tuple[Finding, ...]:
    """Return what the book gives cause to say.

    A001 … A008 and A012; A009 where the ``broker``'s cost schedule is known, A010 where the
    ``markets`` are (one per contract), which also say what settlements A008 misses. A011 is the
    cross-check of two ledgers and comes from the engine.
    """
    case = _Case(ledger, tuple(markets), broker)
    return tuple(finding for check in _CHECKS for finding in check(case))


@dataclass(frozen=True, eq=False)
class _Case:
    ledger: Ledger
    markets: tuple[Market, ...]
    broker: BrokerSection | None


def _identity(case: _Case) -> Iterator[Finding]:
    worst, broken = case.ledger.check_identity()
    yield broken or Finding(
        code="A001",
        level=Level.INFO,
        where="every bar",
        message="equity moved by price PnL − fees − slippage + funding − liquidation",
        observed=f"largest difference {worst:.1e} of equity",
        expected="at most 1e-09",
    )


def _mark_price(case: _Case) -> Iterator[Finding]:
    held = case.ledger.funding[case.ledger.funding["position"] != 0]
    if held.empty:
        return
    unknown = ~held["mark_known"].astype(bool).to_numpy()
    if not unknown.any():
        return
    share = float(unknown.mean())
    yield Finding(
        code="A002",
        level=Level.WARN if share > 0.01 else Level.INFO,
        where="funding",
        message="settlements without a mark price used the bar's close",
        observed=f"{int(unknown.sum()):,} of {len(held):,} ({share:.1%})",
        expected="at most 1 %",
        why="funding is paid on the mark price; closes differ from it by some basis points",
        advice="give market.mark, or a funding file with mark prices",
    )


def _idle(case: _Case) -> Iterator[Finding]:
    change = np.diff(case.ledger.equity["equity"].to_numpy(), prepend=case.ledger.initial_cash)
    no_fills, flat = case.ledger.fills.empty, not np.any(change)
    if no_fills or flat:
        yield Finding(
            code="A003",
            level=Level.WARN,
            where="all",
            message="the strategy never traded" if no_fills else "equity never moved",
            observed="no fills" if no_fills else "no variance",
            why="ratios of nothing are undefined and stand as null",
            advice="look at the orders' reasons and at the strategy's thresholds",
        )


def _forced(case: _Case) -> Iterator[Finding]:
    fills = case.ledger.fills
    touched = fills[fills["reason"].isin(FORCED_EXITS)]
    if touched.empty:
        return
    yield Finding(
        code="A004",
        level=Level.WARN,
        where=_stamps(touched["time"]),
        message=f"{len(touched)} position(s) were closed by the exchange",
        observed=f"liquidation costs {case.ledger.equity['liquidation'].sum():,.2f}",
        why="a result that survives liquidations depends on how exactly they were filled",
        advice="lower broker.leverage or the strategy's size",
    )


def _stamps(times: pd.Series) -> str:
    shown = [pd.Timestamp(t).strftime("%Y-%m-%d %H:%M") for t in times.iloc[:LISTED]]
    more = len(times) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more else "")


def _pending(case: _Case) -> Iterator[Finding]:
    waiting = case.ledger.orders[case.ledger.orders["status"] == "pending"]
    if not waiting.empty:
        yield Finding(
            code="A005",
            level=Level.INFO,
            where="end of the replay",
            message=f"{len(waiting)} order(s) still wait at the end",
            observed=_stamps(waiting["created_at"]),
            why="the last decision's order would fill at an open that is not in the data",
        )


def _bankrupt(case: _Case) -> Iterator[Finding]:
    equity = case.ledger.equity["equity"].to_numpy()
    gone = case.ledger.bankrupt_at
    if gone is None and not np.any(equity <= 0):
        return
    at = gone if gone is not None else case.ledger.equity["close_time"].iloc[
        int(np.argmax(equity <= 0))
    ]  # fmt: skip
    yield Finding(
        code="A006",
        level=Level.ERROR,
        where=str(at),
        message="the account went bankrupt; trading ended there",
        observed=f"lowest equity {equity.min():,.2f}",
        expected="above 0",
        why="no figure after this bar is a result",
        advice="lower broker.leverage or the strategy's size",
    )


def _refused(case: _Case) -> Iterator[Finding]:
    orders = case.ledger.orders
    refused = orders[orders["status"].isin(("rejected", "reduced"))]
    if refused.empty:
        return
    counts = Counter(zip(refused["status"], refused["reason"], strict=True))
    told = [f"{count:,} {status} ({reason})" for (status, reason), count in sorted(counts.items())]
    yield Finding(
        code="A007",
        level=Level.WARN,
        where="orders",
        message="orders were rejected or reduced: the strategy did not get what it asked for",
        observed=", ".join(told),
        expected="none",
        why="sizes below the lot or the minimum notional, or beyond the margin, trade differently",
        advice="raise broker.cash or change the strategy's sizing",
    )


def _unknown_funding(case: _Case) -> Iterator[Finding]:
    """Show both scenarios where a rate is unknown: nothing paid, and always paying.

    Unknown are rates that a policy assumed to be 0, and settlements of which there is no record.
    """
    book = case.ledger.funding
    settled = book[(book["position"] != 0).to_numpy(dtype=bool)]
    assumed = settled[settled["assumed"].to_numpy(dtype=bool)]
    unpaid = {one.symbol: unpaid_notionals(case.ledger, one) for one in case.markets}
    missing = sum(map(len, unpaid.values()))
    unknown = len(assumed) + missing
    if not unknown:
        return
    notional = float((assumed["position"] * assumed["mark_price"]).abs().sum())
    worst = WORST_RATE * (notional + sum(float(held.sum()) for held in unpaid.values()))
    whose = {*assumed["symbol"], *(symbol for symbol, held in unpaid.items() if len(held))}
    yield Finding(
        code="A008",
        level=Level.WARN,
        where="funding" + (f" of {', '.join(sorted(whose))}" if len(case.markets) > 1 else ""),
        message="positions were held through settlements whose rate is unknown: nothing was paid",
        observed=f"{unknown:,} of {len(settled) + missing:,} settlements"
        + (f" ({missing:,} have no record)" if missing else "")
        + f"; net {_net(case.ledger)} if they were 0, {_net(case.ledger, worst)} if each had cost "
        "0.01 %",
        expected="a published rate for every settlement",
        why="missing funding is unknown, not zero",
        advice="give the whole funding history (market.funding)",
    )


def _net(ledger: Ledger, cost: float = 0.0) -> str:
    """Return what the account gained, less a ``cost``, in money and in percent."""
    net = float(ledger.equity["equity"].iloc[-1]) - ledger.initial_cash - cost
    return f"{net:,.2f} ({net / ledger.initial_cash:+.2%})"


def _old_schedule(case: _Case) -> Iterator[Finding]:
    """A009: fees and margin tiers of long before the tested time, or of nobody knows when."""
    if case.broker is None or case.ledger.equity.empty:
        return
    end = pd.Timestamp(case.ledger.equity["close_time"].iloc[-1])
    told = case.broker.schedule_date
    if told is not None and end - pd.Timestamp(told) <= SCHEDULE_HOLDS:
        return
    source = case.broker.schedule_source or "a source that is not given"
    yield Finding(
        code="A009",
        level=Level.WARN,
        where="broker",
        message="the cost schedule is older than 12 months at the end of the test"
        if told
        else "nobody said when the cost schedule was read",
        observed=f"{'no date' if told is None else told[:10]}, from {source}; "
        f"the test ends {end:%Y-%m-%d}",
        expected="fees and margin tiers read at most 12 months before the test ends",
        why="exchanges change fees and tiers; a thin edge lives or dies by them",
        advice="look them up, then set broker.schedule_date and broker.schedule_source",
    )


def _concentration(case: _Case) -> Iterator[Finding]:
    """A012: a profit that five trades made."""
    _, net = closed_results(case.ledger)
    share = share_of_best(net, BEST)
    if share is not None and share > CONCENTRATED and len(net) > BEST:
        yield Finding(
            code="A012",
            level=Level.WARN,
            where="trades",
            message=f"the best {BEST} trades earned more than half of the profit",
            observed=f"{share:.0%} of the net profit of {len(net):,} trades",
            expected=f"at most {CONCENTRATED:.0%}",
            why="without these few the result is another one; the next year may not have them",
            advice="look at these trades, and at the interval of the total return",
        )


def _outside_bar(case: _Case) -> Iterator[Finding]:
    if not case.ledger.fills.empty:
        for market in case.markets:
            yield from _outside_bars(case, market.bars)


def _outside_bars(case: _Case, bars: BarFrame) -> Iterator[Finding]:
    closes = to_ns(pd.DatetimeIndex(case.ledger.equity["close_time"]))
    bar = np.searchsorted(to_ns(bars.close_time), closes[fill_rows(case.ledger)])
    bar = np.minimum(bar, len(bars) - 1)  # fills of other contracts may lie beyond these bars
    own = (case.ledger.fills["symbol"] == bars.symbol).to_numpy()
    price = case.ledger.fills["reference_price"].to_numpy(dtype=float)
    # A liquidation judged on a mark series may lie outside the traded range: that is its point.
    own = own & ~case.ledger.fills["reason"].isin(FORCED_EXITS).to_numpy()
    slack = 1e-9 * price
    outside = own & ((price < bars.low[bar] - slack) | (price > bars.high[bar] + slack))
    if outside.any():
        whose = f"of {bars.symbol} " if len(case.markets) > 1 else ""
        yield Finding(
            code="A010",
            level=Level.ERROR,
            where=_stamps(case.ledger.fills["time"][outside]),
            message=f"{int(outside.sum()):,} fill(s) {whose}outside the bar's range",
            observed=f"first at {price[int(np.argmax(outside))]:.10g}",
            expected="a reference price within low and high",
            why="nobody traded at that price",
            advice="this is a bug of perpwalk or of an own order type; report it",
        )


_CHECKS: tuple[Callable[[_Case], Iterator[Finding]], ...] = (
    _identity,
    _mark_price,
    _idle,
    _forced,
    _pending,
    _bankrupt,
    _refused,
    _unknown_funding,
    _old_schedule,
    _outside_bar,
    _concentration,
)
