"""Whole accounts with every number written out, small enough to check by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from tiny_replay import account, at, bars, fills, funding, market, run

# ── six bars, one reversal, two settlements ──────────────────────────────────────────────────────
# Case pnl_identity: next-open fills, 1 bp slippage, 5 bp taker fee. Derived in exact decimals.

OPEN_AND_CLOSE = [
    (40000, 40100), (40100, 40250), (40250, 40180), (40180, 39900), (39900, 39950), (39950, 39700),
]  # fmt: skip
TARGETS = {0: 0.5, 1: 0.5, 2: -0.3, 3: -0.3, 4: 0.0}
# position, cash, equity, fee, funding at each close
EXPECTED = [
    ("0", "10000", "10000", "0", "0"),
    ("0.5", "9989.973997500", "10062.968997500", "10.026002500", "0"),
    ("0.5", "9987.961747500", "10025.956747500", "0", "-2.01225"),
    ("-0.3", "10007.877354700", "10090.671954700", "16.070392800", "0"),
    ("-0.3", "10005.483054700", "10073.277654700", "0", "-2.39430"),
    ("0.0", "10066.086055450", "10066.086055450", "5.993099250", "0"),
]


@pytest.fixture(scope="module")
def reversal() -> Any:
    prices = [(o, max(o, c), min(o, c), c) for o, c in OPEN_AND_CLOSE]
    rates = funding({at(3): 0.0001, at(5): -0.0002}, marks=[40245.0, 39905.0])
    broker = account(
        cash=10_000.0, leverage=5.0, taker_fee=0.0005, slippage={"kind": "fixed", "bps": 1.0}
    )
    return run(market(bars(prices), rates), broker, TARGETS)


@pytest.mark.parametrize("row", range(6))
def test_each_bar_of_the_reversal_is_the_hand_computed_one(reversal: Any, row: int):
    """
    Position, cash, equity, fee and funding agree to 1e-9 of equity at every bar.
    """
    columns = ["position", "cash", "equity", "fee", "funding"]

    booked = reversal.equity.iloc[row][columns].tolist()

    assert [float(text) for text in EXPECTED[row]] == pytest.approx(booked, abs=1e-5 * 1e-3)


def test_the_reversal_fills_where_slippage_puts_it(reversal: Any):
    """
    Bought a basis point above the open, sold a basis point below; the turn is one fill.
    """
    assert [(0.5, 40104.01), (-0.8, 40175.982), (0.3, 39953.995)] == fills(reversal)


def test_the_totals_of_the_reversal(reversal: Any):
    """
    Fees, funding, turnover and the break-even fee of the case.
    """
    book = reversal.equity
    fees, paid, turnover = book["fee"].sum(), book["funding"].sum(), book["traded_notional"].sum()
    gain = book["equity"].iloc[-1] - 10_000.0 + fees

    assert [32.089494550, -4.40655, 64178.98910] == pytest.approx([fees, paid, turnover])
    assert 0.0015297148081754375 == pytest.approx(gain / turnover)


# ── the order of events at one stamp ─────────────────────────────────────────────────────────────


def test_the_events_of_one_stamp_happen_in_their_order():
    """
    At T = 03:00: liquidation inside the bar, then funding on what is left, then the decision,
    whose order fills at the open of the bar that begins at T.
    """
    # 10x long 50 at 100 on 1,000 of cash: liquidated at 90.4523 in the bar that ends at T.
    prices = [
        (100, 100, 100, 100), (100, 100, 100, 100), (100, 101, 90, 98), (97, 99, 96, 98),
        (98, 98, 98, 98),
    ]  # fmt: skip
    rates = {at(2): 0.001, at(3): 0.001, at(4): 0.001}
    seen: list[tuple[float, float]] = []

    def act(strategy: Any, n: int) -> None:
        seen.append((strategy.view().position, strategy.view().funding_rate))
        if n in (0, 2):
            strategy.order_target_size(target=50.0 if n == 0 else 4.0)

    ledger = run(market(bars(prices), funding(rates)), account(leverage=10.0), act)

    exit_price = 4500 / 49.75
    cash = 1000 - 50 * 100 * 0.001  # funding of 02:00, on the position held into it
    cash -= 50 * (100 - exit_price)  # step 3, before the funding of 03:00
    assert [50.0, 0.0, 4.0] == ledger.funding["position"].tolist()
    assert [0.0, -5.0, 0.0, -0.392, 0.0] == pytest.approx(ledger.equity["funding"].tolist())
    assert cash == pytest.approx(ledger.equity["cash"].iloc[2])
    assert (0.0, 0.001) == seen[2]  # the decision sees the liquidation and the settled rate
    assert (4.0, 97.0) == fills(ledger)[-1]  # and fills at the open of the next bar
    assert at(3) == ledger.fills["time"].iloc[-1]
    assert cash - 0.392 + 4 * (98 - 97) == pytest.approx(ledger.equity["equity"].iloc[3])


# ── ten bars with everything in them ─────────────────────────────────────────────────────────────


def test_ten_bars_with_a_partial_fill_a_settlement_and_a_liquidation():
    """
    A tenth of the volume fills, funding is paid and received, a gap liquidates, trading goes on.
    """
    prices = [
        (50, 51, 49, 50), (50, 52, 50, 51), (51, 53, 51, 52), (52, 54, 52, 54), (54, 55, 53, 54),
        (44, 46, 43, 45), (45, 46, 45, 46), (46, 46, 45, 45), (45, 47, 45, 47), (47, 47, 46, 46),
    ]  # fmt: skip
    rates = funding({at(3): 0.002, at(5): -0.001, at(9): 0.001})
    broker = account(
        leverage=10.0, taker_fee=0.001, liquidation_fee=0.01, lot_size=1.0, volume_share=0.1
    )

    ledger = run(
        market(bars(prices, volume=[900, 400, *[900] * 8]), rates), broker, {0: 100.0, 6: -5.0}
    )

    fee = Decimal("0.001")
    cash = [Decimal(1000)]
    cash.append(cash[-1] - 40 * 50 * fee)  # 40 of 100 at 50: a tenth of 400
    cash.append(cash[-1] - 60 * 51 * fee - 100 * 52 * Decimal("0.002"))  # the rest; 03:00 pays
    cash.append(cash[-1])
    cash.append(cash[-1] + 100 * 54 * Decimal("0.001"))  # 05:00: longs receive
    # Entry 50.6, margin 200 + 306. LP = (5060 - 506) / 99.5 = 45.77; the open of 44 is below it.
    # Lost 660 and a fee of 44 are more than the margin of 506: the margin it is.
    cash.append(cash[-1] - 506)
    cash.append(cash[-1])
    cash.append(cash[-1] - 5 * 46 * fee)
    cash.append(cash[-1] + 5 * 47 * Decimal("0.001"))  # 09:00: shorts receive
    cash.append(cash[-1])
    position = [0, 40, 100, 100, 100, 0, 0, -5, -5, -5]
    entry = [0, 50, Decimal("50.6"), Decimal("50.6"), Decimal("50.6"), 0, 0, 46, 46, 46]
    equity = [
        money + held * (bar[3] - paid)
        for money, held, bar, paid in zip(cash, position, prices, entry, strict=True)
    ]

    book = ledger.equity
    assert position == book["position"].tolist()
    assert [float(x) for x in cash] == pytest.approx(book["cash"].tolist(), abs=1e-9)
    assert [float(x) for x in equity] == pytest.approx(book["equity"].tolist(), abs=1e-9)
    assert 100 * (44 - 54) == pytest.approx(book["price_pnl"].iloc[5])
    assert -660 + 506 == pytest.approx(book["liquidation"].iloc[5])
    assert [(40, 50), (60, 51), (-100, 44), (-5, 46)] == fills(ledger)
    assert ["", "", "liquidation", ""] == ledger.fills["reason"].tolist()
    assert [-10.4, 5.4, 0.235] == pytest.approx(ledger.funding["payment"].tolist())
