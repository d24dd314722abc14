"""Tapes of every kind of order, on generated markets, and what must hold of any account of them.

No second ledger keeps limits and stops, so an account of them is held against the rules of
``docs/account.md`` one by one: where each kind may fill, what it pays, that the money adds up, and
that nothing done at a bar depends on the bars after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from account_scenarios import Scenario, choice, scenarios
from hypothesis import strategies as st

from engine.bridge import bt
from engine.replay import ReplayMarket, replay
from engine.strategy import SignalStrategy
from perpwalk.ledger import Ledger

NEAR = 1e-9
EXEC = {
    "market": bt.Order.Market, "limit": bt.Order.Limit, "stop": bt.Order.Stop,
    "stop_limit": bt.Order.StopLimit, "trailing_stop": bt.Order.StopTrail,
}  # fmt: skip
KINDS = (*EXEC, "limit", "stop", "bracket", "oco", "cancel", "close", "none", "none")
OFFSET = (0, 1, -1, 5, -5, 20, -20, 80, -80)  # per mille from the close
SIZE = (0.02, 0.1, 0.3, 0.9, 1.5)  # of what the account can carry
VALID = (None, None, None, 1, 3)  # bars
WORDS = choice(KINDS, (1, -1), SIZE, OFFSET, OFFSET, VALID)


@dataclass(frozen=True)
class Word:
    """One thing done at a close."""

    kind: str
    side: int
    quantity: float
    price: float
    other: float  # a stop-limit's limit, a bracket's other end, a trail's distance
    valid: int | None


Tape = Mapping[int, Sequence[Word]]


class Reader(SignalStrategy):
    """Does what the tape says."""

    params: tuple[tuple[str, Any], ...] = (("tape", None),)

    def next(self) -> None:
        """Read what stands at the bar that has just closed."""
        for word in self.p.tape.get(self.data.bar, ()):
            self._do(word)

    def _do(self, word: Word) -> None:
        if word.kind == "none":
            return
        if word.kind == "cancel":
            for order in list(self.broker.get_orders_open()):
                self.cancel(order)
        elif word.kind == "close":
            self.close()
        elif word.kind == "bracket":
            send = self.buy_bracket if word.side > 0 else self.sell_bracket
            gap = abs(word.other - word.price) + 0.001 * word.price
            send(size=word.quantity, price=word.price, exectype=bt.Order.Limit,
                 stopprice=word.price - word.side * gap,
                 limitprice=word.price + word.side * gap)  # fmt: skip
        elif word.kind == "oco":
            first = self._order(replace(word, kind="limit"))
            self._order(replace(word, kind="stop", price=word.other), oco=first)
        else:
            self._order(word)

    def _order(self, word: Word, **more: Any) -> Any:
        send = self.buy if word.side > 0 else self.sell
        told: dict[str, Any] = {"size": word.quantity, "exectype": EXEC[word.kind], **more}
        if word.kind != "market":
            told["price"] = word.price
        if word.kind == "stop_limit":
            told["plimit"] = word.other
        if word.kind == "trailing_stop":
            told["trailamount"] = abs(word.other - word.price) + 0.001 * word.price
            del told["price"]
        if word.valid is not None:
            told["valid"] = word.valid * self.data.bars.interval.to_pytimedelta()
        return send(**told)


@st.composite
def tapes(draw: st.DrawFn) -> tuple[Scenario, dict[int, list[Word]]]:
    """Draw a scenario and a tape for it; the scenario's own targets are left aside."""
    scenario = draw(scenarios())
    bars, broker = scenario.market.bars, scenario.broker
    drawn = draw(st.lists(st.lists(WORDS, max_size=3), min_size=len(bars), max_size=len(bars)))
    tape: dict[int, list[Word]] = {}
    for i, words in enumerate(drawn):
        close = float(bars.close[i])
        most = broker.cash * broker.leverage / close
        tape[i] = [
            Word(kind, side, most * size, close * (1 + a / 1000), close * (1 + b / 1000), valid)
            for kind, side, size, a, b, valid in words
        ]
    return scenario, tape


def account_of(scenario: Scenario, tape: Tape, *, until: int | None = None) -> Ledger:
    """Replay a tape, over the first ``until`` bars if that is given."""
    span = {} if until is None else {"end": scenario.market.bars.close_time[until - 1]}
    market = ReplayMarket(market=scenario.market)
    return replay([market], Reader, {"tape": tape}, scenario.broker, **span)


# ── what must hold ───────────────────────────────────────────────────────────────────────────────


def check(scenario: Scenario, ledger: Ledger) -> None:
    """Hold an account of any orders against the rules."""
    worst, finding = ledger.check_identity()
    assert finding is None, (worst, finding)
    _money_adds_up(scenario, ledger)
    _fills_are_their_orders(ledger)
    for fill in _with_orders(ledger):
        _fits_its_bar(scenario, fill)
        _is_allowed(scenario, fill)


def _money_adds_up(scenario: Scenario, ledger: Ledger) -> None:
    """Equity is cash paid in, less what was bought, plus its worth, plus what was settled."""
    fills, book = ledger.fills, ledger.equity
    scale = scenario.broker.cash + float((fills["quantity"] * fills["price"]).abs().sum())
    spent = np.zeros(len(book))
    first = int(scenario.market.bars.close_time.searchsorted(book["close_time"].iloc[0]))
    cost = (fills["quantity"] * fills["price"] + fills["fee"]).to_numpy(dtype=float)
    np.add.at(spent, fills["bar"].to_numpy(dtype=int) - first, cost)
    worth = book["position"] * book["price"]
    settled = book["funding"].cumsum() - book["liquidation"].cumsum()
    equity = scenario.broker.cash - np.cumsum(spent) + worth + settled
    assert np.abs(equity - book["equity"]).max() <= NEAR * scale
    assert (book["cash"] + 1e-6 * scale >= np.minimum(0, book["equity"] - worth)).all()


def _fills_are_their_orders(ledger: Ledger) -> None:
    """Quantities of an order's fills sum to what it says was filled, never past what it wants."""
    filled = ledger.fills[ledger.fills["order_id"].notna()].groupby("order_id")["quantity"].sum()
    orders = ledger.orders.set_index("order_id")
    for number, total in filled.items():
        if number not in orders.index:
            continue
        order = orders.loc[number]
        slack = NEAR * abs(order["quantity"])
        assert abs(total - order["filled_quantity"]) <= slack
        assert abs(total) <= abs(order["quantity"]) + slack
        assert total * order["quantity"] >= 0


def _with_orders(ledger: Ledger) -> list[dict[str, Any]]:
    forced = ledger.fills["reason"].isin(("liquidation", "bankruptcy"))
    orders = ledger.orders.drop(columns=["symbol", "quantity", "fee", "slippage", "reason"])
    fills = ledger.fills[~forced]
    fills = fills.assign(first=~fills.duplicated("order_id"))
    both = fills.merge(orders, on="order_id", how="left")
    return both.to_dict(orient="records")


def _fits_its_bar(scenario: Scenario, fill: Mapping[str, Any]) -> None:
    """A fill comes after its order was made, at a price that its bar reached, a real one."""
    bars = scenario.market.bars
    bar = int(fill["bar"])
    assert fill["created_at"] < bars.close_time[bar]
    assert not bars.filled[bar]
    assert bars.volume[bar] > 0
    price, slack = fill["reference_price"], NEAR * fill["reference_price"]
    low, high = bars.low[bar] - slack, bars.high[bar] + slack
    if fill["liquidity"] == "maker":  # at its limit, also in a bar that lies beyond it as a whole
        assert abs(price - fill["limit_price"]) <= slack
        assert low <= price if fill["quantity"] > 0 else price <= high
    else:
        assert low <= price <= high


def _is_allowed(scenario: Scenario, fill: Mapping[str, Any]) -> None:
    """Each kind fills where it may, slips where it may, and pays its rate."""
    broker, side = scenario.broker, np.sign(fill["quantity"])
    kind, price, reference = fill["kind"], fill["price"], fill["reference_price"]
    slack = NEAR * reference
    maker = fill["liquidity"] == "maker"
    rate = broker.maker_fee if maker else broker.taker_fee
    assert abs(fill["fee"] - abs(fill["quantity"]) * price * rate) <= NEAR * abs(
        fill["quantity"] * price
    )
    assert side * (price - reference) >= -slack  # slippage is never a gift
    if kind in ("limit", "stop_limit"):
        assert abs(price - reference) <= slack
        assert side * (price - fill["limit_price"]) <= slack
    if kind in ("market", "stop", "trailing_stop"):
        assert not maker
    if kind in ("stop", "stop_limit"):
        bars, bar = scenario.market.bars, int(fill["bar"])
        # Triggered in this bar or in one before it: where it was not, it could not have filled.
        made = int(bars.close_time.searchsorted(fill["created_at"], side="right"))
        seen = (bars.high if side > 0 else bars.low)[made : bar + 1]
        reached = seen.max() if side > 0 else seen.min()
        assert side * (reached - fill["stop_price"]) >= -slack
    if kind == "stop" and fill["first"]:  # what is left of it is a market order
        assert side * (reference - fill["stop_price"]) >= -slack


def same_until(whole: Ledger, part: Ledger, bar: int) -> None:
    """Hold what was done in the first ``bar`` bars against a replay that knew no others."""
    book = whole.equity.iloc[:bar].reset_index(drop=True)
    pd.testing.assert_frame_equal(book, part.equity.reset_index(drop=True), check_exact=True)
    fills = whole.fills[whole.fills["bar"] < bar].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        fills, part.fills.reset_index(drop=True), check_exact=True, check_dtype=False
    )
