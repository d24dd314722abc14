"""The book of several contracts: whose fill, whose trade, whose part of the return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_replay import HOUR, account, at, bars, flat, funding, market, run

from perpwalk.audit.account import audit_account
from perpwalk.contracts import SUMMED, contract_accounts, contracts_table
from perpwalk.domain import Market
from perpwalk.ledger import Ledger, holding_price, with_tracks
from perpwalk.metrics import metrics_table
from perpwalk.metrics_fields import CONTRACT_FIELDS
from perpwalk.trades import fill_rows, round_trips

A, B = "AAA", "BBB"


def follow(plan: Mapping[tuple[str, int], float]) -> Any:
    """Order what is planned for (symbol, hours after the start)."""

    def act(strategy: Any, _: int) -> None:
        now = max(pd.Timestamp(data.now_ns, tz="UTC") for data in strategy.datas)
        for data in strategy.datas:
            wanted = plan.get((data.market.symbol, int((now - at(0)) / HOUR)))
            if wanted is not None:
                strategy.order_target_size(data, target=wanted)

    return act


def replayed(markets: list[Market], plan: Mapping[tuple[str, int], float], **rules: Any) -> Ledger:
    return with_tracks(run(markets, account(leverage=5.0, **rules), follow(plan)), markets)


def two() -> list[Market]:
    """B begins two hours before A and lacks the third of A's hours."""
    early = bars(flat(50, 50, 50, 55, 60, 60), missing=[4], symbol=B)
    rates = funding({at(5): 0.01}, symbol=B)
    late = bars(flat(1, 1, 100, 100, 110, 120, 120), symbol=A).rows(2, 7)
    return [market(late), market(early, rates)]


def book() -> Ledger:
    """A is bought and sold, B bought and still held when it ends."""
    return replayed(two(), {(A, 3): 1.0, (B, 3): 2.0, (A, 6): 0.0}, taker_fee=0.001)


def test_a_fill_is_found_in_its_own_contracts_bars() -> None:
    """Bars of contracts that begin apart and lack hours are numbered apart, and rows are joint."""
    ledger = book()

    told = list(zip(ledger.fills["symbol"], ledger.fills["bar"], fill_rows(ledger), strict=True))
    closes = pd.DatetimeIndex(ledger.equity["close_time"])
    for symbol, bar, row in told:
        own = next(track for track in ledger.tracks if track.symbol == symbol)
        assert own.close_ns[bar] == closes[row].value
    assert {A, B} == {symbol for symbol, _, _ in told}


def test_open_trades_stand_at_their_own_last_close() -> None:
    """The net PnL of all trades is what equity moved by, whosever they are."""
    ledger = book()
    trades = round_trips(ledger)

    assert {A: 120.0, B: 60.0} == ledger.marks
    assert ledger.equity["equity"].iloc[-1] - 1000.0 == pytest.approx(trades["net_pnl"].sum())
    assert 2 * 60 == pytest.approx(
        (trades["quantity"] * trades["exit_price"])[trades["symbol"] == B].sum()
    )


def test_holding_means_holding_all_in_equal_parts() -> None:
    """The basket is the mean of what one unit of money in each contract became."""
    ledger = book()

    assert 1.0 == holding_price(ledger.equity).iloc[0]
    assert (120 / 100 + 60 / 50) / 2 == pytest.approx(holding_price(ledger.equity).iloc[-1])


def test_holding_all_receives_what_each_holding_would() -> None:
    """B settles 1 % at its price of 55, bought for half of the money at 50."""
    received = book().equity.set_index("close_time")["basket_funding"]

    assert -0.01 * 55 / 50 / 2 == pytest.approx(received[at(5)])
    assert [at(5)] == received.index[received != 0].tolist()


def test_each_contracts_row_says_what_it_added_and_cost() -> None:
    """Fees, funding, trades and contributions of the rows add up to the account's."""
    ledger = book()
    stamps = pd.DatetimeIndex(ledger.equity["close_time"])
    decisions = pd.DataFrame(
        {
            "close_time": stamps.repeat(2), "symbol": [A, B] * len(stamps), "fold": 0,
            "p_up": [0.6, 0.4] * len(stamps), "threshold": 0.5,
            "label": pd.array([1, 1] * len(stamps), dtype="Int8"),
            "forward_return": 0.01,
        }
    )  # fmt: skip
    found = metrics_table(decisions, ledger, folds=[], bar_interval=HOUR, horizon=1)
    rows = found.frame[found.frame["period_kind"] == "symbol"].set_index("period")
    whole = found.overall

    assert [A, B] == rows.index.tolist()
    assert "all" == found.frame["period_kind"].iloc[-1]
    for name in ("fees", "funding", "slippage", "trades", "total_return", "turnover"):
        assert whole[name] == pytest.approx(rows[name].sum()), name
    assert [1.0, 0.0] == rows["accuracy"].tolist()
    assert [0.2, 0.2] == pytest.approx(rows["benchmark_return"].tolist())
    assert rows[["sharpe", "max_drawdown", "cagr"]].isna().all(axis=None)
    assert any("one account" in str(reason.observed) for reason in found.reasons)
    paid = -2 * 55 * 0.01  # in the hour that B lacks: at its close before
    assert [0.0, paid] == pytest.approx(rows["funding"].tolist())

    each = found.by_contract
    assert each is not None
    assert list(CONTRACT_FIELDS) == list(each.columns)
    for kind, period in found.frame.groupby("period_kind")["period"].first().items():
        mine = each[(each["period_kind"] == kind) & (each["period"] == period)]
        whole = found.frame[(found.frame["period_kind"] == kind)].iloc[0]
        if kind != "symbol":
            assert [A, B] == mine["symbol"].tolist()
            for name in ("n", "fees", "funding", "slippage", "trades", "total_return", "turnover"):
                assert whole[name] == pytest.approx(mine[name].sum()), (kind, name)
    # A number that is null has a note that says why, and in how many rows.
    assert each["win_rate"].isna().all()
    assert any(
        ("metrics_by_contract.csv", f"fewer than 30 trades, in {len(each)} of {len(each)} rows")
        == (reason.where, reason.observed)
        for reason in found.reasons
    )


def test_a_contracts_account_is_its_part_of_the_one_account() -> None:
    """Position, price and what was paid of A and of B, bar by bar; one contract alone has none."""
    ledger = book()
    each = contracts_table(ledger)
    a, b = (each[each["symbol"] == name].reset_index(drop=True) for name in (A, B))

    assert [1.0, 1.0, 1.0, 0.0] == a["position"].tolist()[-4:]
    assert [120.0, 60.0] == [a["price"].iloc[-1], b["price"].iloc[-1]]
    assert a["fee"].sum() == pytest.approx(0.001 * (100 + 120))
    assert [0.0, -2 * 55 * 0.01] == pytest.approx([a["funding"].sum(), b["funding"].sum()])
    for name in SUMMED:
        assert ledger.equity[name].tolist() == pytest.approx((a[name] + b[name]).tolist()), name
    alone = Ledger(**{**vars(ledger), "tracks": ()})
    assert () == contract_accounts(alone)


def test_a_symbol_without_a_bar_is_liquidated_now_not_at_its_last_bar() -> None:
    """With cross margin all go together: the fill of the one that has no bar is stamped now."""
    fall = bars([*flat(100, 100, 100, 100), (100, 100, 20, 20)], symbol=A)
    short = bars(flat(100, 100), symbol=B)
    ledger = replayed([market(fall), market(short)], {(A, 1): 30.0, (B, 1): 10.0}, margin="cross")

    forced = ledger.fills[ledger.fills["reason"] == "liquidation"]
    assert {A, B} == set(forced["symbol"])
    assert [at(5)] * 2 == forced["time"].tolist()
    assert [4, 4] == fill_rows(ledger)[forced.index].tolist()
    assert [4, 1] == forced.sort_values("symbol")["bar"].tolist()


def test_one_contract_alone_is_left_as_it_is() -> None:
    """No tracks, no basket: nothing of a run of one contract changes."""
    alone = two()[:1]
    ledger = run(alone, account(), {0: 1.0})

    assert ledger is with_tracks(ledger, alone)


def test_a_fill_outside_its_own_bar_is_found_in_any_contract() -> None:
    """A010 holds each contract's fills against its own bars and says whose they are."""
    ledger, markets = book(), two()
    assert [] == [f for f in audit_account(ledger, markets) if f.code == "A010"]

    of_b = (ledger.fills["symbol"] == B).to_numpy()
    ledger.fills.loc[np.flatnonzero(of_b)[0], "reference_price"] = 70.0
    (told,) = [f for f in audit_account(ledger, markets) if f.code == "A010"]
    assert f"1 fill(s) of {B} outside" in told.message
