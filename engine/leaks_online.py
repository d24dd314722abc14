"""Bars delivered one by one to fitted folds, for the search for leaks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from engine.walkforward import FoldResult
from perpwalk.audit.leaks.online import ONLINE_BARS, Compared
from perpwalk.domain import Bar, Market
from perpwalk.errors import UserError
from perpwalk.features import FeatureSet
from perpwalk.signals import LiveSignals


def delivered(
    feature_set: FeatureSet, market: Market, results: Sequence[FoldResult]
) -> Iterator[Compared]:
    """Deliver bars one by one from the start of each fold, and forecast beside the batch."""
    for result in results:
        first = int(result.forecast.rows[0])
        batch = dict(zip(result.forecast.rows.tolist(), result.forecast.p_up.tolist(), strict=True))
        live = _live(feature_set, market, result, first)
        for row in range(first, min(first + ONLINE_BARS, len(market.bars))):
            try:
                live.observe(_bar(market, row), _settled(market, row))
                signal = live.at(market.bars.close_time[row])
            except UserError as error:
                yield Compared(row, None, batch.get(row), " ".join(str(error).split()))
                break  # what it keeps of this bar is not known
            yield Compared(row, None if signal is None else signal.p_up, batch.get(row))


def _live(feature_set: FeatureSet, market: Market, result: FoldResult, first: int) -> LiveSignals:
    begin = market.bars.close_time[first - 1]
    settled = int(market.funding.settle_time.searchsorted(begin, side="right"))
    return LiveSignals(
        feature_set,
        [result.fitted],
        past_bars=market.bars.rows(0, first),
        past_funding=market.funding.rows(0, settled),
    )


def _bar(market: Market, row: int) -> Bar:
    bars = market.bars
    return Bar(
        open_time=bars.open_time[row],
        close_time=bars.close_time[row],
        open=float(bars.open[row]),
        high=float(bars.high[row]),
        low=float(bars.low[row]),
        close=float(bars.close[row]),
        volume=float(bars.volume[row]),
    )


def _settled(market: Market, row: int) -> Any:
    stamps, closes = market.funding.settle_time, market.bars.close_time
    since, until = stamps.searchsorted(closes[[row - 1, row]], side="right")
    return market.funding.rows(int(since), int(until))
