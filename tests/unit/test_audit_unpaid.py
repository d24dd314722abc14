"""Settlements without a record: what was held into them is what a record would have settled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest
from tiny_replay import account, at, bars, flat, funding, market, run

from engine.bridge import bt
from perpwalk.audit.account import audit_account
from perpwalk.audit.unpaid import unpaid_notionals
from perpwalk.data.coverage import apply_missing_funding, missing_settlements
from perpwalk.data.resample import inside, resample
from perpwalk.domain import Finding, Level, Market
from perpwalk.ledger import Ledger

HOURS = 24
LOST = (3, 7, 8, 10, 15, 22)  # settlements of every hour, but for these
PRICES = [100.0 + (7 * n) % 11 for n in range(HOURS)]


def lacking(symbol: str = "ABC", **more: Any) -> Market:
    """Return a market whose settlements of ``LOST`` are not on file."""
    rates = {at(n): 1e-4 for n in range(1, HOURS + 1) if n not in LOST}
    frame = bars(flat(*PRICES[: HOURS - len(more.get("missing", ()))]), symbol=symbol, **more)
    return market(frame, funding(rates, symbol=symbol))


def made_up(one: Market) -> Market:
    """Return the market with a record of rate 0 wherever there is none."""
    whole = apply_missing_funding(one, "zero")
    finer = None if one.inside is None else replace(one.inside, funding=whole.funding)
    return replace(whole, inside=finer)


def assumed_notionals(book: Ledger, symbol: str) -> list[float]:
    """Return what the ledger settled at a rate of 0 for want of a better one."""
    held = book.funding[book.funding["assumed"] & (book.funding["symbol"] == symbol)]
    notional = (held["position"] * held["mark_price"]).abs()
    return notional[notional != 0].tolist()


def told(book: Ledger, markets: Sequence[Market]) -> list[Finding]:
    return [f for f in audit_account(book, markets) if f.code == "A008"]


TARGETS = {1: 2.0, 5: -1.0, 8: 0.0, 12: 3.0, 14: 1.0}


@pytest.mark.parametrize(
    "one",
    [
        lacking(),
        lacking(missing=[9, 10]),  # hour 10 settles while no bar is there
        replace(lacking(), mark=bars([(100.0, 112.0, 98.0, 101.0 + n % 3) for n in range(HOURS)])),
    ],
    ids=["whole", "gap", "marks"],
)
def test_what_was_held_is_what_records_would_have_settled(one: Market) -> None:
    """The same replay with records of rate 0 settles the very notionals that are counted."""
    book, zero = (run([m], account(leverage=5.0), TARGETS) for m in (one, made_up(one)))

    held = unpaid_notionals(book, one)
    assert assumed_notionals(zero, one.symbol) == pytest.approx(held.tolist())
    assert len(held) >= 4
    assert not len(unpaid_notionals(zero, made_up(one)))


def test_inside_the_bar_the_finer_bars_say_what_was_held() -> None:
    """A stop in the second hour of a four-hour bar ends what its other hours would have settled."""
    calm = (100.0, 100.0, 100.0, 100.0)
    fine = bars([*[calm] * 9, (100.0, 100.0, 94.0, 94.0), *[(94.0,) * 4] * 10])
    coarse, _ = resample(fine, pd.Timedelta("4h"))
    rates = funding({at(n): 1e-4 for n in range(1, 21) if n not in (6, 9, 11, 12)})
    one = market(coarse, rates, inside=market(inside(fine, coarse), rates))

    def act(strategy: Any, bar: int) -> None:
        if bar == 0:
            strategy.buy(size=1)
            strategy.sell(size=1, exectype=bt.Order.Stop, price=95.0)

    book = run([one], account(), act)

    assert [at(4), at(10)] == book.fills["time"].tolist()
    assert [100.0, 100.0] == unpaid_notionals(book, one).tolist()  # at 06:00 and 09:00


def test_settlements_after_the_last_bar_of_the_replay_are_not_counted() -> None:
    """The market has hours that the replay never reached; what stood open at its end stays out."""
    whole = lacking()
    part = replace(whole, bars=whole.bars.rows(0, 12))
    book = run([part], account(leverage=5.0), TARGETS)

    assert unpaid_notionals(book, part).tolist() == unpaid_notionals(book, whole).tolist()
    book.fills.loc[len(book.fills) - 1, "quantity"] += 1.0  # now something stands open
    assert unpaid_notionals(book, part).tolist() == unpaid_notionals(book, whole).tolist()


def test_a_position_that_the_exchange_closes_in_a_gap_settles_nothing_in_it() -> None:
    """The next bar would have settled the gap's stamps, on what is carried into it: nothing."""
    fall = bars([*flat(100, 100, 100, 100), (100, 100, 20, 20), *flat(20, 20, 20)], symbol="AAA")
    rates = funding({at(n): 1e-4 for n in (1, 2, 7)}, symbol="BBB")
    short = market(bars(flat(100, 100, 100, 100), symbol="BBB", missing=[2, 3, 4, 5]), rates)
    plan = {"AAA": 30.0, "BBB": 10.0}

    def act(strategy: Any, bar: int) -> None:
        if bar == 0:
            for data in strategy.datas:
                strategy.order_target_size(data=data, target=plan[data.market.symbol])

    rules = account(leverage=5.0, margin="cross")
    zero = run([market(fall), made_up(short)], rules, act)
    book = run([market(fall), short], rules, act)

    assert {"AAA", "BBB"} == set(book.fills["symbol"][book.fills["reason"] == "liquidation"])
    assert 5 == (zero.funding["assumed"] & (zero.funding["symbol"] == "BBB")).sum()
    assert assumed_notionals(zero, "BBB") == unpaid_notionals(book, short).tolist() == []


def test_one_finding_tells_of_every_contract_and_both_ledgers_stay_as_they_were() -> None:
    """A008 counts and prices what no record paid; the account has no row of it."""
    markets = [lacking("AAA"), lacking("BBB", missing=[9, 10])]

    def act(strategy: Any, bar: int) -> None:
        if bar == 2:
            strategy.order_target_size(data=strategy.datas[0], target=2.0)
            strategy.order_target_size(data=strategy.datas[1], target=-1.0)

    book = run(markets, account(leverage=5.0), act)
    cost = 1e-4 * sum(float(unpaid_notionals(book, one).sum()) for one in markets)
    net = float(book.equity["equity"].iloc[-1]) - book.initial_cash
    (found,) = told(book, markets)

    missing = sum(len(unpaid_notionals(book, one)) for one in markets)
    paid = int((book.funding["position"] != 0).sum())
    assert (Level.WARN, "funding of AAA, BBB") == (found.level, found.where)
    assert f"{missing} of {paid + missing} settlements ({missing} have no record)" in str(
        found.observed
    )
    assert f"{net - cost:,.2f} ({(net - cost) / 1000:+.2%}) if each had cost 0.01 %" in str(
        found.observed
    )
    assert not book.funding["settle_time"].isin([at(n) for n in LOST]).any()


def test_nothing_is_said_where_nothing_was_held_or_nothing_is_missing() -> None:
    """Flat through every missing stamp; and a market whose records are whole."""
    whole = market(bars(flat(*PRICES)), funding({at(n): 1e-4 for n in range(1, HOURS + 1)}))
    flat_then = {3: 1.0, 5: 0.0}  # held from 4 to 6, and 7 is the next that is missing

    assert [] == told(run([whole], account(), {1: 2.0}), [whole])
    one = lacking()
    assert [] == told(run([one], account(), flat_then), [one])


def test_where_records_were_made_up_none_is_missing_any_more() -> None:
    """Not even where they change the rhythm that would be expected of all of them together."""
    rates = funding({at(n): 1e-4 for n in (8, 16, 20, 28, 30)})
    whole = made_up(market(bars(flat(*[100.0] * 38)), rates))

    assert whole.funding.assumed.any()
    assert [] == missing_settlements(whole.bars, whole.funding).tolist()


def test_without_any_record_settlements_are_expected_every_eight_hours() -> None:
    """As exchanges do; the whole cost of the replay is unknown then."""
    bare = market(bars(flat(*PRICES)))
    (found,) = told(run([bare], account(), {1: 2.0}), [bare])

    assert "3 of 3 settlements (3 have no record)" in str(found.observed)
