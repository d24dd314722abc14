"""What an account holds on a market without any edge, and what the coins pay for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from engine import ledger_engine, replay
from engine.null_account import NullAccount
from engine.strategy import SignalStrategy
from perpwalk import config as configuration
from perpwalk.audit.leaking import CLEAN, matrix_market
from perpwalk.audit.leaks.null_account import Held, audit_null_account
from perpwalk.audit.leaks.surrogates import sign_flipped, sign_flipped_together, without_start
from perpwalk.config import BrokerSection, Config, SlippageSection
from perpwalk.domain import FloatArray, Market
from perpwalk.ledger import Ledger
from strategies.baselines import BuyAndHold

FREE = BrokerSection(maker_fee=0.0, taker_fee=0.0, slippage=SlippageSection(bps=0.0))
HOUR = pd.Timedelta("1h")


@pytest.fixture(scope="module")
def market() -> Market:
    return matrix_market(3, 900)


class Brackets(SignalStrategy):
    """Buys and sells below and above the close in turn, with a stop and a near target."""

    orders: Any = None

    def next(self) -> None:
        if self.getposition().size != 0 or any(each.alive() for each in self.orders or ()):
            return
        side, close = 1 if len(self) % 2 else -1, self.data.close[0]
        enter = self.buy_bracket if side > 0 else self.sell_bracket
        self.orders = enter(
            size=0.5 * self.broker.getvalue() / close, price=close * (1 - 0.002 * side),
            stopprice=close * (1 - 0.012 * side), limitprice=close * (1 + 0.004 * side),
        )  # fmt: skip


def _book(strategy: type, market: Market, broker: BrokerSection = FREE) -> Ledger:
    start = market.bars.close_time[100]
    keep = ledger_engine.replay if strategy is BuyAndHold else replay.replay
    return keep([replay.ReplayMarket(market)], strategy, {}, broker, start=start)


def _follows(exposure: FloatArray, market: Market) -> FloatArray:
    return Held(over_gap=exposure, from_open=exposure).gains(market)


def _signs(market: Market) -> FloatArray:
    return np.sign(np.diff(np.log(market.bars.close), prepend=np.log(market.bars.open[0])))


# ── what is counted ──────────────────────────────────────────────────────────────────────────────


def test_a_gain_is_the_log_move_of_what_was_held(market: Market):
    """Bought at an open and held: each bar's own move times what is held over the equity before."""
    book = _book(BuyAndHold, market)
    gains = Held.of(book, market).gains(market)
    bars, row = market.bars, int(book.fills["bar"].iloc[0])
    quantity = float(book.fills["quantity"].iloc[0])
    equity = book.equity.set_index("close_time")["equity"]
    first = quantity * bars.close[row - 1] / book.initial_cash
    assert [0.0] * row == gains[:row].tolist()
    assert first * np.log(bars.close[row] / bars.open[row]) == pytest.approx(gains[row])
    later = quantity * bars.close[row + 4] / equity[bars.close_time[row + 4]]
    assert later * np.log(bars.close[row + 5] / bars.close[row + 4]) == pytest.approx(
        gains[row + 5]
    )


def test_gains_are_those_of_the_book_but_for_the_log(market: Market):
    """Bar by bar they are the book's own returns at reference prices, to the square of the move."""
    book = _book(BuyAndHold, market)
    gains = Held.of(book, market).gains(market)[100:]
    before = np.concatenate([[book.initial_cash], book.equity["equity"].to_numpy()[:-1]])
    assert book.equity["price_pnl"].to_numpy() / before == pytest.approx(gains, abs=2e-3)
    assert abs(gains).max() > 0.04


def test_an_order_that_fills_within_a_bar_counts_from_its_close(market: Market):
    """What a limit gains inside the bar that fills it is left out; the bars after it count."""
    book = _book(Brackets, market)
    entry = book.fills.merge(book.orders[["order_id", "kind"]], on="order_id")
    row = int(entry[entry["kind"] == "limit"]["bar"].iloc[0])
    held = Held.of(book, market)
    assert (0.0, 0.0) == (held.over_gap[row], held.from_open[row])
    assert (True, True) == (held.over_gap[row + 1] != 0, held.from_open[row + 1] != 0)


def test_costs_and_funding_do_not_count(market: Market):
    """The account on noise is free of fees and slippage, whatever the configuration charges."""
    dear = {"taker_fee": 0.05, "maker_fee": 0.05, "slippage": {"kind": "fixed", "bps": 500.0}}
    output = CLEAN["clean"](matrix_market(3), 3)
    earned = [
        NullAccount(_config(broker))(matrix_market(3), output) for broker in ({}, dear)
    ]  # fmt: skip
    assert earned[0] is not None
    assert earned[1] is not None
    assert np.count_nonzero(earned[0]) > 1500
    assert earned[0].tolist() == earned[1].tolist()


def _config(broker: dict[str, Any]) -> Config:
    return configuration.resolve(
        {"strategy": {"name": "strategies.lstm_xgb:LongShort"}, "broker": broker}
    )


# ── who is accused ───────────────────────────────────────────────────────────────────────────────


def test_chance_is_a_standard_deviation(market: Market):
    """Over 300 surrogates z of an honest rule has mean 0 and deviation 1, and none is accused."""
    found = []
    for seed in range(300):
        noise = sign_flipped(market, seed)
        past = np.concatenate([[0.0], _signs(noise)[:-1]])
        found.append(audit_null_account([_follows(past, noise)], HOUR))
    z = np.array([outcome.numbers["z"] for outcome in found], dtype=float)
    assert 0.0 == pytest.approx(z.mean(), abs=4 / np.sqrt(300))
    assert 1.0 == pytest.approx(z.std(), abs=0.17)
    assert not any(outcome.findings for outcome in found)


def test_holding_through_wild_moves_is_no_edge(market: Market):
    """Log moves: prices that double or halve by a coin would favour whoever is long."""
    wild = [_scaled(sign_flipped(market, seed), 40.0) for seed in range(20)]
    outcome = audit_null_account([_follows(np.ones(len(m.bars)), m) for m in wild], HOUR)
    assert () == outcome.findings
    in_prices = np.concatenate([np.expm1(_follows(np.ones(len(m.bars)), m)) for m in wild])
    assert in_prices.sum() / np.sqrt(in_prices @ in_prices) > 4


def test_honest_limits_and_stops_are_not_accused(market: Market):
    """Entry by limit, exit by stop or target, on eight surrogates."""
    surrogates = [sign_flipped(market, seed) for seed in range(8)]
    gains = [Held.of(_book(Brackets, each), each).gains(each) for each in surrogates]
    outcome = audit_null_account(gains, HOUR)
    assert () == outcome.findings
    assert abs(outcome.numbers["z"] or 9.0) < 3


@pytest.mark.parametrize(("side", "word"), [(1.0, "earns"), (-1.0, "loses")])
def test_who_knows_the_next_bar_is_accused(market: Market, side: float, word: str):
    """Right or wrong: a loss beyond chance knows the future as well."""
    noise = sign_flipped(market, 1)
    knows = side * np.where(np.arange(len(noise.bars)) % 3 == 0, _signs(noise), 1.0)
    outcome = audit_null_account([_follows(knows, noise)], HOUR)
    assert ["K013"] == [finding.code for finding in outcome.findings]
    assert f"the account {word} before costs" in outcome.findings[0].message


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ([np.zeros(50), np.zeros(50)], "not judged: the strategy held nothing"),
        ([np.ones(50), None], "not judged: the strategy was refused a look ahead (K008)"),
    ],
)
def test_without_an_account_nothing_is_judged(gains: list[FloatArray | None], words: str):
    """Nothing held, or refused: no number, no alarm, and the reason is said."""
    outcome = audit_null_account(gains, HOUR)
    assert (words, (), {}) == (outcome.summary, outcome.findings, dict(outcome.numbers))


def test_the_power_is_a_sharpe_ratio():
    """4.842 deviations over the root of the bars held, times the root of a year's bars."""
    outcome = audit_null_account([np.tile([0.01, -0.01], 2190)], HOUR)
    assert 4.842 * np.sqrt(8760 / 4380) == pytest.approx(outcome.numbers["detectable_sharpe"])


# ── one coin for all contracts ───────────────────────────────────────────────────────────────────


def test_contracts_that_move_together_stay_together(market: Market):
    """One coin a stamp: a contract listed later is turned at the same stamps as the other."""
    later = without_start(market, 200)
    whole, part = sign_flipped_together([market, later], 5)
    turned = _signs(whole) != _signs(market)
    assert turned[201:].tolist() == (_signs(part) != _signs(later))[1:].tolist()
    assert 0.5 == pytest.approx(turned.mean(), abs=0.1)


def _scaled(market: Market, factor: float) -> Market:
    """Return the market with log prices ``factor`` times as far from the first open."""
    bars, start = market.bars, market.bars.open[0]
    prices = {
        name: start * np.exp(factor * np.log(getattr(bars, name) / start))
        for name in ("open", "high", "low", "close")
    }
    return replace(market, bars=replace(bars, **prices))
