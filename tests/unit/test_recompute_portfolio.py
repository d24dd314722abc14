"""Several contracts on one cash, on markets small enough to check by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from engine.replay import ReplayMarket, replay
from engine.strategy import SignalStrategy
from perpwalk.config import BrokerSection, ContractSection, SlippageSection, TierSection
from perpwalk.domain import BarFrame, FundingFrame, Market
from perpwalk.errors import UsageError
from perpwalk.ledger import TARGET_COLUMNS, Ledger
from perpwalk.recompute import recompute, target_table
from perpwalk.recompute_portfolio import recompute_portfolio
from perpwalk.reconcile import compare

START = pd.Timestamp("2024-01-01T00:00:00Z")
HOUR = pd.Timedelta("1h")
FREE = BrokerSection(
    cash=1000.0,
    leverage=3.0,
    taker_fee=0.0,
    liquidation_fee=0.0,
    min_notional=0.0,
    slippage=SlippageSection(kind="none"),
    tiers=(TierSection(notional_floor=0.0, maintenance_rate=0.01),),
)


def market(symbol: str, *opens_closes: tuple[float, float], late: int = 0) -> Market:
    """Hourly bars without wicks, the first ``late`` hours after the start; no funding."""
    rows = [(o, max(o, c), min(o, c), c, 1e6) for o, c in opens_closes]
    index = pd.date_range(START + late * HOUR, periods=len(rows), freq="h")
    frame = pd.DataFrame(rows, columns=["open", "high", "low", "close", "volume"], index=index)
    return Market(
        bars=BarFrame.of(frame, symbol=symbol, interval=HOUR), funding=FundingFrame.empty(symbol)
    )


def targets(*rows: tuple[int, str, int, float]) -> pd.DataFrame:
    """Targets as (hours after the first close, symbol, bar, quantity)."""
    named = [(START + HOUR * (after + 1), symbol, bar, q) for after, symbol, bar, q in rows]
    return pd.DataFrame(named, columns=list(TARGET_COLUMNS))


class Follow(SignalStrategy):
    """Orders what a table says, by stamp and symbol."""

    params = (("table", None),)

    def next(self) -> None:
        """Place what is due now."""
        now = max(pd.Timestamp(d.now_ns, unit="ns", tz="UTC") for d in self.datas if len(d))
        due = self.p.table[self.p.table["close_time"] == now]
        for row in due.itertuples():
            data = next(d for d in self.datas if d.market.symbol == row.symbol)
            self.order_target_size(data, target=row.quantity)

    def prenext(self) -> None:
        """Trade before the last symbol has begun."""
        self.next()


def both(markets: list[Market], table: pd.DataFrame, broker: BrokerSection = FREE) -> Ledger:
    """Return the compiled account, once it is found equal to the broker's."""
    compiled = recompute_portfolio(markets, table, broker)
    replayed = replay([ReplayMarket(m) for m in markets], Follow, {"table": table}, broker)
    assert compare(replayed, compiled)[1] is None
    assert compiled.check_identity()[1] is None
    return compiled


def test_a_loss_beyond_its_margin_takes_from_the_others_margin() -> None:
    """
    A closes at a gap for 540 with 450 of margin; B's margin of 500 falls to the 460 left in cash,
    so that its liquidation price rises from 68 (500 of margin) to over 69.
    """
    a = market("A", (100, 100), (100, 100), (60, 60), (60, 60), (60, 60))
    fall = market("B", (100, 100), (100, 100), (100, 100), (100, 69.5), (69.5, 69.5))
    table = targets((0, "A", 0, 13.5), (0, "B", 0, 15.0), (1, "A", 1, 0.0))

    book = both([a, fall], table)

    assert [1000.0, 1000.0, 460.0] == book.equity["cash"].tolist()[:3]
    forced = book.fills[book.fills["reason"] == "liquidation"]
    assert ["B"] == forced["symbol"].tolist()
    # (460 - 15 * 100) / (15 * 0.01 - 15): where 460 and the open loss meet the maintenance.
    assert forced["price"].iloc[0] == pytest.approx((460 - 1500) / (0.15 - 15))


def test_an_open_profit_that_backs_a_debt_is_liquidated_where_it_no_longer_does() -> None:
    """
    A closes at a gap for 1,200 with 1,000 in cash; B's profit carries the 200 that are missing.

    B's margin is -200 now, so that it is liquidated at (500 - 200) / 5.05, not near its entry.
    """
    a = market("A", (100, 100), (100, 100), (220, 220), (220, 220), (220, 220))
    b = market("B", (100, 100), (100, 50), (50, 50), (50, 59.5), (59.5, 59.5))

    book = both([a, b], targets((0, "A", 0, -10.0), (0, "B", 0, -5.0), (1, "A", 1, 0.0)))

    assert [1000.0, 1000.0, -200.0] == pytest.approx(book.equity["cash"].tolist()[:3])
    (forced,) = book.fills[book.fills["reason"] == "liquidation"].itertuples()
    assert ("B", 3, pytest.approx(300 / 5.05)) == (forced.symbol, forced.bar, forced.price)
    assert book.equity["cash"].iloc[-1] == pytest.approx(5 * (100 - 300 / 5.05) - 200)


def test_a_liquidation_of_one_leaves_isolated_others_alone() -> None:
    """
    A is liquidated within its margin; B keeps its position and its price PnL.
    """
    a = market("A", (100, 100), (100, 100), (100, 60), (60, 60))
    b = market("B", (50, 50), (50, 50), (50, 55), (55, 60))
    book = both([a, b], targets((0, "A", 0, 12.0), (0, "B", 0, 10.0)))

    assert ["", "", "liquidation"] == book.fills["reason"].tolist()
    assert 10.0 * (60 - 50) == pytest.approx(
        book.equity["equity"].iloc[-1] - book.equity["cash"].iloc[-1]
    )


def test_cross_margin_is_liquidated_together() -> None:
    """
    Two longs that fall together are closed together at their lows; one falling alone is carried.
    """
    a = market("A", (100, 100), (100, 100), (100, 70), (70, 66))
    b = market("B", (100, 100), (100, 100), (100, 100), (100, 66))
    cross = FREE.model_copy(update={"margin": "cross"})
    book = both([a, b], targets((0, "A", 0, 14.0), (0, "B", 0, 15.0)), cross)

    forced = book.fills[book.fills["reason"] != ""]
    assert {"A", "B"} == set(forced["symbol"])
    assert {3} == set(forced["bar"])


def test_a_symbol_listed_late_joins() -> None:
    """
    The book has a row for each stamp of either; bars count within their own market.
    """
    early = market("A", *[(100, 100)] * 4)
    late = market("B", *[(10, 10)] * 3, late=3)
    book = both([early, late], targets((1, "A", 1, 1.0), (3, "B", 0, 5.0)))

    assert 6 == len(book.equity)
    assert [("A", 2), ("B", 1)] == list(
        book.fills[["symbol", "bar"]].itertuples(index=False, name=None)
    )


def test_one_symbol_is_the_account_of_one_symbol() -> None:
    """
    A portfolio of one market is the same book as the ledger of that market.
    """
    alone = market("A", (100, 104), (104, 99), (99, 103), (103, 80), (80, 90))
    plan = {0: 10.0, 1: -20.0, 3: 5.0}
    table = target_table(alone, plan)

    assert compare(recompute(alone, table, FREE), recompute_portfolio([alone], table, FREE)) == (
        0.0,
        None,
    )


def test_targets_of_strangers_and_between_bars_are_refused() -> None:
    """
    A symbol that is not replayed, or a stamp at which no bar closes, is an error of the caller.
    """
    a = market("A", (100, 100), (100, 100))
    with pytest.raises(UsageError, match="targets name B"):
        recompute_portfolio([a], targets((0, "B", 0, 1.0)), FREE)
    between = targets((0, "A", 0, 1.0))
    between["close_time"] += pd.Timedelta("30min")
    with pytest.raises(UsageError, match="each at the close of a bar"):
        recompute_portfolio([a], between, FREE)


def test_each_contract_has_its_own_lot_tick_least_notional_and_tiers() -> None:
    """
    B trades in whole coins and half-dollar ticks, needs 20 to open and is liquidated at 5 %.
    """
    tier = TierSection(notional_floor=0, maintenance_rate=0.05)
    own = {"lot_size": 1.0, "tick_size": 0.5, "min_notional": 20.0, "tiers": (tier,)}
    broker = FREE.model_copy(
        update={
            "slippage": SlippageSection(kind="fixed", bps=10.0),
            "contracts": {"B": ContractSection(**own)},
        }
    )
    a = market("A", *[(100, 100)] * 4)
    b = market("B", (10, 10), (10, 10), (10, 10), (10, 7.2), (7.2, 7.2))
    table = targets((0, "A", 0, 1.2345), (0, "B", 0, 1.9), (1, "B", 1, 150.7))

    book = both([a, b], table, broker)

    told = list(zip(book.orders["symbol"], book.orders["quantity"], strict=True))
    assert [("A", 1.234), ("B", 1.0), ("B", 150.0)] == told
    assert ["filled", "rejected", "filled"] == book.orders["status"].tolist()
    # 10 bp of slippage: to the cent where prices have no tick, to the next half dollar otherwise.
    assert [("A", 100.1), ("B", 10.5)] == [
        (row.symbol, pytest.approx(row.price)) for row in book.fills.iloc[:2].itertuples()
    ]
    forced = book.fills[book.fills["reason"] == "liquidation"].iloc[0]
    margin = 150 * 10.5 / 3
    assert ("B", pytest.approx((margin - 150 * 10.5) / (150 * 0.05 - 150))) == (
        forced["symbol"], forced["price"],
    )  # fmt: skip


def test_what_rounding_leaves_of_free_margin_opens_nothing() -> None:
    """
    Where a reduced order took all margin there was, the next one is rejected, not filled by 2e-11.
    """
    broker = FREE.model_copy(
        update={
            "cash": 10_007.31,
            "leverage": 25.0,
            "lot_size": 0.0,
            "tiers": (
                TierSection(notional_floor=0, maintenance_rate=0.01, max_leverage=50),
                TierSection(notional_floor=40_000, maintenance_rate=0.1, max_leverage=5),
            ),
        }
    )
    still = [(0.0831, 0.0831)] * 4
    table = targets((0, "A", 0, 1204.2491), (1, "B", 1, 903_186.8231), (2, "B", 2, 613_926.19))

    book = both([market("A", *still), market("B", *still)], table, broker)

    assert ["filled", "reduced", "rejected"] == book.orders["status"].tolist()
    assert ["A", "B"] == book.fills["symbol"].tolist()
