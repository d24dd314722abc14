"""Several contracts on one cash: Backtrader's broker and the compiled ledger are one account."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from account_scenarios import Portfolio, portfolios
from hypothesis import given, settings
from quartered_hours import FollowHours, quartered
from tiny_replay import account

from engine.crosscheck import crosscheck
from engine.replay import ReplayMarket, replay
from engine.strategy import SignalStrategy
from perpwalk.contracts import SUMMED, contracts_table
from perpwalk.domain import Level
from perpwalk.ledger import CONTRACT_COLUMNS, Ledger, with_tracks
from perpwalk.recompute_portfolio import recompute_portfolio
from perpwalk.reconcile import compare
from perpwalk.trades import round_trips

FEWER = max(settings.default.max_examples // 2, 50)  # type: ignore[union-attr]


class FollowStamps(SignalStrategy):
    """Orders for each symbol what a table asks for at its own bars' closes."""

    params: tuple[tuple[str, Any], ...] = (("targets", None),)

    def next(self) -> None:
        """Place what is due for the symbols whose bar has just closed."""
        for data in self.datas:
            if len(data) == 0:
                continue
            close = data.market.bars.close_time[data.bar + data.first]
            wanted = self.p.targets.get((close, data.market.symbol))
            if wanted is not None and close == self._now():
                self.order_target_size(data, target=wanted)

    def _now(self) -> pd.Timestamp:
        stamps = [d.market.bars.close_time[d.bar + d.first] for d in self.datas if len(d)]
        return max(stamps)

    def prenext(self) -> None:
        """Trade what has bars before the last symbol has begun."""
        self.next()


def by_backtrader(portfolio: Portfolio) -> Ledger:
    """Replay a portfolio's targets through Backtrader."""
    markets = [ReplayMarket(market=one) for one in portfolio.markets]
    return replay(markets, FollowStamps, {"targets": portfolio.targets}, portfolio.broker)


@given(portfolios())
@settings(max_examples=FEWER)
def test_broker_and_compiled_ledger_agree_on_several_symbols(portfolio: Portfolio) -> None:
    """Fills, settlements, liquidations and every bar are the same to 1e-9; the book balances."""
    replayed = by_backtrader(portfolio)
    assert replayed.targets is not None

    again = recompute_portfolio(portfolio.markets, replayed.targets, portfolio.broker)

    assert compare(replayed, again)[1] is None
    assert again.check_identity()[1] is None
    assert replayed.fills["symbol"].tolist() == again.fills["symbol"].tolist()
    assert replayed.fills["bar"].tolist() == again.fills["bar"].tolist()
    assert replayed.fills["time"].tolist() == again.fills["time"].tolist()
    assert Level.INFO == crosscheck(portfolio.markets, replayed, portfolio.broker).level
    _trades_add_up(with_tracks(replayed, portfolio.markets), portfolio)


def test_several_contracts_agree_on_the_finer_bars_inside_of_theirs() -> None:
    """One lacks two quarters; computed again on quarters alone, each hour is the same."""
    both = [quartered(2, (9, 10), "AAA"), quartered(3, symbol="BBB")]
    rules = account(leverage=3.0, taker_fee=0.0005)

    book = replay([ReplayMarket(one) for one in both], FollowHours, {}, rules)
    found = crosscheck(both, book, rules)

    assert "agrees" in found.message, found
    assert {"AAA", "BBB"} == set(book.fills["symbol"])


def _trades_add_up(ledger: Ledger, portfolio: Portfolio) -> None:
    """Hold the net PnL of all trades, open ones at the last closes, against the equity's change.

    Every bar and settlement is found in its own contract's, and what each contract added is the
    account's return.
    """
    trades, book = round_trips(ledger), ledger.equity
    scale = 1e-9 * (portfolio.broker.cash + float(book["price_pnl"].abs().sum()))
    pairs = (
        ("gross_pnl", "price_pnl"), ("fees", "fee"), ("slippage", "slippage"),
        ("funding", "funding"), ("liquidation", "liquidation"),
    )  # fmt: skip
    for of_trades, of_bars in pairs:
        assert book[of_bars].sum() == pytest.approx(trades[of_trades].sum(), abs=scale), of_trades
    change = book["equity"].iloc[-1] - portfolio.broker.cash
    assert change == pytest.approx(trades["net_pnl"].sum(), abs=scale)
    assert not ledger.funding.duplicated(["symbol", "settle_time"]).any()
    _contracts_add_up(ledger, scale)


def _contracts_add_up(ledger: Ledger, scale: float) -> None:
    """Hold the parts of all contracts against the account's own columns at every bar."""
    each, book = contracts_table(ledger), ledger.equity
    held = each["position"] * each["price"]
    assert list(CONTRACT_COLUMNS) == list(each.columns)
    for name in SUMMED:
        of_all = each[name].to_numpy().reshape(len(book), -1).sum(axis=1)
        assert book[name].to_numpy() == pytest.approx(of_all, abs=scale), name
    net = held.to_numpy().reshape(len(book), -1).sum(axis=1)
    equity = book["equity"].to_numpy()
    alive = equity > 0
    assert (book["exposure"] * equity)[alive].to_numpy() == pytest.approx(net[alive], abs=scale)
