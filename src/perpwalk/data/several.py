"""Every contract that a configuration names, ready for one account.

Several contracts share one test: their bars end together, with the first that ends. What was found
and read of each carries its symbol.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from perpwalk.config import Config, source_name
from perpwalk.data.market import load_market, within
from perpwalk.data.validate import utc
from perpwalk.domain import Finding, Level, Market, about, to_ns
from perpwalk.errors import DataError, naming

LATE = 24 * 3_600_000_000_000  # ends further apart than a day are worth a warning


def load_markets(config: Config) -> tuple[Market, ...]:
    """Read or simulate the contracts of a configuration, in their order.

    Raises
    ------
    UserError
        A file is wrong, or the contracts share no bar; names the symbol where there are several.
    """
    each = config.each_market()
    if len(each) == 1:
        return (load_market(config.market, seed=config.seed),)
    return end_together([_named(one) for one in each])


def _named(config: Config) -> Market:
    """Return one of several contracts, whose findings and sources say whose they are."""
    symbol = config.market.symbol
    with naming(symbol):
        market = load_market(config.market, seed=config.seed)
    return replace(
        market,
        findings=about(symbol, market.findings),
        sources=tuple(
            replace(source, kind=source_name(symbol, source.kind)) for source in market.sources
        ),
    )


def end_together(markets: Sequence[Market]) -> tuple[Market, ...]:
    """Leave out the bars that close after the first contract's last one, and say so (D015).

    A contract that is no longer delivered could not be traded: its position would stand at a price
    of the past while the account went on.
    """
    ends = [int(to_ns(one.bars.close_time[-1])) for one in markets]
    end = min(ends)
    late = next((one for one in markets if to_ns(one.bars.close_time[0]) >= end), None)
    if late is not None:
        first = markets[ends.index(end)]
        raise DataError(
            f"{first.symbol} ends at {utc(end)}, before {late.symbol} begins at "
            f"{utc(int(to_ns(late.bars.open_time[0])))}: one account needs bars of all at a time"
        )
    return tuple(_until(one, end) for one in markets)


def _until(market: Market, end: int) -> Market:
    kept = int(to_ns(market.bars.close_time).searchsorted(end, side="right"))
    left_out = len(market.bars) - kept
    if not left_out:
        return market
    last = int(to_ns(market.bars.close_time[-1]))
    bars = market.bars.rows(0, kept)
    return replace(
        market,
        bars=bars,
        mark=None if market.mark is None else market.mark.rows(0, kept),
        funding=within(market.funding, bars),
        findings=(
            *market.findings,
            Finding(
                code="D015",
                level=Level.WARN if last - end > LATE else Level.INFO,
                where=market.symbol,
                message="bars after another contract's last one were left out",
                observed=f"{left_out:,} bars up to {utc(last)}",
                expected=f"all end at {utc(end)}",
                why="one account cannot go on where one of its contracts has no price",
                advice="give files that end together, or leave out the contract that ends early",
            ),
        ),
    )
