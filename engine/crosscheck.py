"""Compute the account of a replay a second time, from the targets alone, and compare.

The second computation is compiled, shares no code with the Backtrader broker, and knows only the
specification in ``docs/account.md``.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from perpwalk.config import BrokerSection, ComputeSection, Config
from perpwalk.domain import Finding, Level, Market, to_ns
from perpwalk.errors import ConfigError
from perpwalk.intrabar import on_bars_of, on_finer_bars
from perpwalk.ledger import Ledger
from perpwalk.recompute import recompute
from perpwalk.reconcile import compare
from perpwalk.run_config import config_of
from perpwalk.runs import Run

TOLERANCE = 1e-9


def crosscheck(markets: Market | Sequence[Market], book: Ledger, broker: BrokerSection) -> Finding:
    """Return A011: that the two ledgers agree and how closely, where they part, or why not judged.

    Parameters
    ----------
    markets
        The contract that was replayed, or several in the order in which they were.
    book
        The replay's ledger; its ``targets`` are what is computed again.
    """
    if book.targets is None:
        return _not_judged("the strategy placed other orders than market orders towards a target")
    if broker.cheat_on_open:
        return _not_judged("orders fill at the open they are decided on (broker.cheat_on_open)")
    replayed = [markets] if isinstance(markets, Market) else list(markets)
    try:
        second = _second(replayed, book, book.targets, broker)
    except ConfigError as error:
        return _not_judged(str(error))
    return _verdict(
        book,
        second,
        "an independent ledger, computed from the targets alone, agrees",
        ", ".join(one.symbol for one in replayed),
    )


def unchecked(book: Ledger) -> Finding:
    """Return A011 of a run whose account the ledger engine kept: nobody computed it twice."""
    return Finding(
        code="A011",
        level=Level.INFO,
        where=f"account, {len(book.equity):,} bars",
        message="the account was kept by the compiled ledger and not computed a second time",
        why="one computation alone cannot show its own mistakes",
        advice="repeat with --check, or without --engine ledger: nothing is trained again",
    )


def is_checked(compute: ComputeSection) -> bool:
    """Say whether a run so computed has its account computed twice."""
    return compute.engine == "backtrader" or compute.check


def covered(config: Config, answered: Run) -> bool:
    """Say whether a finished run has the second computation that the configuration asks for."""
    return is_checked(config_of(answered).compute) or not is_checked(config.compute)


def checked_by_replay(book: Ledger, replayed: Ledger) -> Finding:
    """Return A011 of the ledger engine's account held against the Backtrader replay of the run."""
    return _verdict(
        replayed, book, "kept by the compiled ledger; the Backtrader replay agrees", "account"
    )


def _verdict(first: Ledger, second: Ledger, agreement: str, where: str) -> Finding:
    worst, finding = compare(first, second, TOLERANCE)
    if finding is not None:
        return finding
    return Finding(
        code="A011",
        level=Level.INFO,
        where=f"{where}, {len(first.equity):,} bars",
        message=agreement,
        observed=f"largest difference {worst:.2g} of equity",
        expected=f"at most {TOLERANCE:g}",
    )


def _second(
    markets: Sequence[Market], book: Ledger, targets: pd.DataFrame, broker: BrokerSection
) -> Ledger:
    if any(one.inside is not None for one in markets):
        return _second_inside(markets, book, targets, broker)
    return _computed(markets, targets, broker, [replayed_rows(one, book) for one in markets])


def _computed(
    markets: Sequence[Market], targets: pd.DataFrame, broker: BrokerSection, spans: Sequence[range]
) -> Ledger:
    if len(markets) == 1:
        return recompute(markets[0], targets, broker, start=spans[0].start, end=spans[0].stop)
    from perpwalk.recompute_portfolio import recompute_portfolio

    return recompute_portfolio(markets, targets, broker, spans=spans)


def _second_inside(
    markets: Sequence[Market], book: Ledger, targets: pd.DataFrame, broker: BrokerSection
) -> Ledger:
    """Compute the account on the finer bars alone, and put its book on the bars of the replay."""
    rows = [replayed_rows(one, book) for one in markets]
    met = [one.met_by(span.start, span.stop) for one, span in zip(markets, rows, strict=True)]
    finer = [market for market, _ in met]
    second = _computed(
        finer, on_finer_bars(markets, finer, targets), broker, [span for _, span in met]
    )
    return on_bars_of(book, second)


def replayed_rows(market: Market, book: Ledger) -> range:
    """Return which of the market's bars were replayed: those that close within the book."""
    stamps = book.equity["close_time"]
    return rows_between(market, stamps.iloc[0], stamps.iloc[-1])


def rows_between(market: Market, first: pd.Timestamp, last: pd.Timestamp) -> range:
    """Return which of the market's bars close in ``[first, last]``."""
    closes = to_ns(market.bars.close_time)
    begun, ended = to_ns(first), to_ns(last)
    return range(
        int(closes.searchsorted(begun, side="left")), int(closes.searchsorted(ended, side="right"))
    )


def _not_judged(why: str) -> Finding:
    return Finding(
        code="A011",
        level=Level.INFO,
        where="account",
        message=f"the account was not computed a second time: {why}",
    )
