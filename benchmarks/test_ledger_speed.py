"""How fast the compiled ledger is, against Backtrader on the same bars and targets.

An alternating long/short strategy, with fees, slippage, funding and liquidation checks, over as
many hourly bars as the predecessor had (51,980). Seconds differ from machine to machine; the ratios
carry over. *Our replay* is Backtrader with perpwalk's feed and broker, *stock* is Backtrader as it
comes, without funding or margins; the ledger's time includes making its tables, the account alone
is given beside it. Run with ``pytest -m benchmark benchmarks/test_ledger_speed.py -s``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import backtrader as bt
import numpy as np
import pandas as pd
import pytest

from engine.replay import ReplayMarket, replay
from engine.strategy import SignalStrategy
from perpwalk import compiled_account as kernel
from perpwalk.config import BrokerSection
from perpwalk.domain import Market
from perpwalk.ledger import Ledger
from perpwalk.recompute import compare, recompute, target_table

pytestmark = pytest.mark.benchmark

HOLD = 24  # bars on each side
# Much cash for a small position: the account must survive paying for 51,980 turns.
BROKER = BrokerSection(cash=1_000_000.0, leverage=3.0, taker_fee=0.0005)


class Alternate(SignalStrategy):
    """Long and short in turn, the same quantity."""

    params: tuple[tuple[str, Any], ...] = (("targets", None),)

    def next(self) -> None:
        """Turn the position when it is due."""
        wanted = self.p.targets.get(self.data.bar)
        if wanted is not None:
            self.order_target_size(target=wanted)


def fastest(call: Callable[[], Ledger], rounds: int) -> tuple[float, Ledger]:
    """Return the least seconds of ``rounds`` calls, and what the last returned."""
    seconds = []
    for _ in range(rounds):
        begun = time.perf_counter()
        ledger = call()
        seconds.append(time.perf_counter() - begun)
    return min(seconds), ledger


def account_alone(market: Market, table: pd.DataFrame) -> float:
    """Return the least milliseconds of the compiled loop itself, by what calling it takes."""
    spent = []
    inner = kernel.replay

    def timed(*args: Any) -> Any:
        begun = time.perf_counter()
        result = inner(*args)
        spent.append(time.perf_counter() - begun)
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel, "replay", timed)
        for _ in range(100):
            recompute(market, table, BROKER)
    return min(spent) * 1e3


def stock(market: Market, targets: dict[int, float]) -> float:
    """Return the seconds that Backtrader takes as it comes: its own feed, broker and commission."""

    class AlternateStock(bt.Strategy):  # type: ignore[misc]
        def next(self) -> None:
            wanted = targets.get(len(self.data) - 1)
            if wanted is not None:
                self.order_target_size(target=wanted)

    cerebro = bt.Cerebro(stdstats=False)
    cerebro.adddata(bt.feeds.PandasData(dataname=market.bars.to_frame().tz_localize(None)))
    cerebro.addstrategy(AlternateStock)
    cerebro.broker.setcash(BROKER.cash)
    cerebro.broker.setcommission(commission=BROKER.taker_fee, leverage=BROKER.leverage)
    begun = time.perf_counter()
    cerebro.run()
    return time.perf_counter() - begun


@pytest.mark.parametrize("hold", [1, HOLD], ids=["every bar", "every day"])
def test_the_compiled_ledger_against_backtrader(market: Market, hold: int) -> None:
    """Same equity as the replay to 1e-9, in less than a thousandth of stock Backtrader's time."""
    bars = np.arange(0, len(market.bars), hold)
    targets = {int(bar): 5.0 if turn % 2 else -5.0 for turn, bar in enumerate(bars)}
    table = target_table(market, targets)
    recompute(market, table, BROKER)  # compile

    quick, recomputed = fastest(lambda: recompute(market, table, BROKER), 200)
    replaying, replayed = fastest(
        lambda: replay([ReplayMarket(market)], Alternate, {"targets": targets}, BROKER), 1
    )
    slow = stock(market, targets)
    worst, finding = compare(replayed, recomputed)
    alone = account_alone(market, table) / 1e3

    print(
        f"\n{len(market.bars):,} bars, {len(recomputed.fills):,} fills: "
        f"ledger {quick * 1e3:.2f} ms, of which the account {alone * 1e3:.2f} ms; "
        f"our replay {replaying:.2f} s, {replaying / quick:,.0f} times as long, "
        f"{replaying / alone:,.0f} times the account; "
        f"stock Backtrader {slow:.2f} s, {slow / quick:,.0f} times, {slow / alone:,.0f} times; "
        f"largest difference {worst:.1e} of equity"
    )
    assert slow / quick >= 1000
    assert finding is None
    assert replayed.bankrupt_at is None
