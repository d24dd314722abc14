"""A sweep: each variant is the account it would be alone, and each counts as a trial."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_replay import account
from wild_market import BARS, FIRST, signals_on, wild_market

from engine import ledger_engine
from engine.history import History
from engine.replay import ReplayMarket, replay
from perpwalk import deflation, sweeps, trials
from perpwalk.config import BrokerSection
from perpwalk.errors import UsageError
from perpwalk.ledger import Ledger
from perpwalk.plans import Sizing, as_plan
from perpwalk.reports.daily import account_returns
from strategies.lstm_xgb import LongFlat, LongShort, ProbabilityScaled

THRESHOLDS, EXPOSURES = (0.46, 0.5, 0.55), (0.3, 0.95, 4.0)
BROKERS = (
    BrokerSection(leverage=5.0, taker_fee=0.0004),
    BrokerSection(leverage=4.0, margin="cross", lot_size=0.0),
)


def cases() -> list[tuple[type, float, dict[str, Any], BrokerSection]]:
    """Return strategy × threshold × exposure × account."""
    return [
        (strategy, threshold, {"exposure": exposure}, broker)
        for strategy in (LongShort, LongFlat, ProbabilityScaled)
        for threshold in THRESHOLDS
        for exposure in EXPOSURES
        for broker in BROKERS
    ]


@pytest.fixture(scope="module")
def past() -> History:
    tape = wild_market()
    return History.of(tape, FIRST, BARS, signals_on(tape))


@pytest.fixture(scope="module")
def swept(past: History) -> sweeps.Swept:
    variants = []
    for strategy, threshold, params, broker in cases():
        plan, sizing = ledger_engine.planned(strategy, params, past.with_threshold(threshold))
        variants.append(sweeps.Variant(plan, sizing, broker))
    return sweeps.sweep(past.market, variants, start=FIRST, end=BARS, keep="equity", threads=2)


def replayed(case: tuple[type, float, dict[str, Any], BrokerSection]) -> Ledger:
    """Replay one variant with Backtrader."""
    strategy, threshold, params, broker = case
    tape = wild_market()
    signals = signals_on(tape, threshold)
    start = tape.bars.close_time[FIRST]
    return replay([ReplayMarket(tape, signals)], strategy, params, broker, start=start)


@pytest.mark.parametrize("number", range(0, len(cases()), 5))
def test_each_variant_is_the_account_that_backtrader_keeps_of_it(
    swept: sweeps.Swept, number: int
) -> None:
    """
    Equity bar by bar to 1e-9, costs, orders and liquidations.
    """
    ledger = replayed(cases()[number])
    row = swept.table.iloc[number]
    book = ledger.equity
    equity = book["equity"].to_numpy()
    assert swept.equity is not None
    np.testing.assert_allclose(
        equity, swept.equity[number], rtol=0, atol=1e-9 * max(equity.max(), ledger.initial_cash)
    )
    for name in ("fees", "funding", "slippage", "liquidation"):
        column = "fee" if name == "fees" else name
        assert math.isclose(book[column].sum(), row[name], rel_tol=1e-9, abs_tol=1e-6)
    assert len(ledger.orders) == row["orders"]
    assert (ledger.fills["reason"] == "liquidation").sum() == row["liquidations"]


def test_the_columns_mean_what_they_mean_in_the_metrics(past: History) -> None:
    """
    Returns, risk, exposure, turnover and the number of trades are those of a run's money fields.
    """
    from perpwalk.metrics_fields import Undefined
    from perpwalk.metrics_money import Book, money_fields
    from perpwalk.periods import Period

    plan, sizing = ledger_engine.planned(LongShort, {"exposure": 3.0}, past)
    broker = BROKERS[0]
    ledger = ledger_engine.recompute_plan(past.market, plan, sizing, broker, start=FIRST, end=BARS)
    book = Book.of(ledger, pd.Timedelta("1h"))
    period = Period("all", "all", book.open_time[0], book.open_time[-1] + pd.Timedelta("1h"))
    fields = money_fields(period, book, 0.95, 7, Undefined())
    row = sweeps.sweep(
        past.market, [sweeps.Variant(plan, sizing, broker)], start=FIRST, end=BARS
    ).table.iloc[0]

    shared = [name for name in sweeps.SWEEP_COLUMNS if name in fields]
    assert len(shared) >= 12
    for name in shared:
        expected = np.nan if fields[name] is None else float(fields[name])
        np.testing.assert_allclose(expected, float(row[name]), rtol=1e-9, err_msg=name)


def test_daily_returns_are_those_of_the_tearsheet(past: History) -> None:
    """
    One simple return per UTC day; a close at midnight ends its day.
    """
    plan, sizing = ledger_engine.planned(LongFlat, {}, past)
    variant = sweeps.Variant(plan, sizing, BROKERS[0])
    found = sweeps.sweep(past.market, [variant], start=FIRST, end=BARS, keep="daily")
    daily = account_returns(
        ledger_engine.recompute_plan(
            past.market, plan, sizing, BROKERS[0], start=FIRST, end=BARS
        ).equity
    )

    assert found.daily is not None
    assert daily.index.equals(found.days)
    np.testing.assert_allclose(daily.to_numpy(), found.daily[0], rtol=0, atol=1e-12)


def test_threads_change_nothing(past: History, swept: sweeps.Swept) -> None:
    """
    One thread and several give the same bits, and plans may be made when their turn comes.
    """
    variants = [
        sweeps.Variant(
            lambda case=case: ledger_engine.plan_of(case[0], case[2], past.with_threshold(case[1])),
            ledger_engine.sizing_of(case[0], case[2]),
            case[3],
        )
        for case in cases()
    ]
    alone = sweeps.sweep(past.market, variants, start=FIRST, end=BARS, threads=1)

    pd.testing.assert_frame_equal(alone.table, swept.table, check_exact=True)


def test_a_ruined_account_is_told_with_its_day() -> None:
    """
    A variant that goes bankrupt has lost everything, says when, and earns nothing afterwards.
    """
    tape = wild_market()
    n = len(tape.bars)
    fees = account(cash=1_000.0, leverage=50.0, lot_size=0.0)
    turning = np.where(np.arange(n) % 2 == 0, 49.0, -49.0)
    found = sweeps.sweep(
        tape, [sweeps.Variant(as_plan(turning, n), Sizing(1.0, 0.1), fees)], keep="equity"
    )
    row = found.table.iloc[0]

    assert found.equity is not None
    dead = tape.bars.close_time.get_loc(row["bankrupt_at"])
    assert (found.equity[0][dead:] <= 1e-6).all()
    assert row["max_drawdown"] == pytest.approx(-1.0)


@pytest.mark.parametrize(
    ("wants", "said"),
    [
        (np.zeros(3), "a column of shape (3,)"),
        ([np.zeros(5), np.zeros(5)], "one column, or three"),
        (np.array([0.0, np.inf, 0.0, 0.0, 0.0]), "the exposure that a plan wants is inf at row 1"),
    ],
)
def test_an_unusable_plan_is_refused(wants: Any, said: str) -> None:
    """
    What is wrong with its shape or its numbers is said.
    """
    with pytest.raises(UsageError) as refused:
        as_plan(wants, 5)

    assert said in str(refused.value)


# ── on record ────────────────────────────────────────────────────────────────────────────────────


def record(results: Path, questions: list[str], worth: float = 2.0) -> None:
    trials.sweep(
        results, experiment="x", variant="base-1", worth=worth, bar_seconds=3600.0,
        ratios={q: None if n == 0 else n / 100 for n, q in enumerate(questions)},
    )  # fmt: skip


def test_every_variant_of_a_sweep_is_a_trial(tmp_path: Path) -> None:
    """
    Distinct questions count once, whether runs or sweeps asked them, and however often.

    A sweep that is given again and comes to the same adds no line to the ledger.
    """
    record(tmp_path, ["a", "b", "c"])
    record(tmp_path, ["a", "b", "c"])
    record(tmp_path, ["c", "d"])
    assert 2 == trials.read(tmp_path).lines
    record(tmp_path, ["a", "b", "c"], worth=1.5)
    assert 3 == trials.read(tmp_path).lines
    with trials.begin(tmp_path, experiment="x", variant="v", digest="d") as trial:
        trial.finish(verdict="inconclusive", sharpe=0.5, bars=10, bar_seconds=3600.0)
    counted = trials.count(tmp_path)

    assert 4 == counted.n
    assert "variants in sweeps" in counted.as_text()
    assert {"b": 0.01, "c": 0.02, "d": 0.5} == trials.latest_sharpes(trials.read(tmp_path), 3600.0)


def test_deflation_counts_what_a_sweep_is_worth(tmp_path: Path) -> None:
    """
    A thousand alike variants are a thousand trials worth as many independent ones as they said.
    """
    record(tmp_path, [str(n) for n in range(1000)], worth=7.5)
    found, _, _ = deflation.survey(tmp_path, bar_seconds=3600.0)

    assert (1000, 7.5) == (found.n, found.effective)
    assert 999 == found.known


def test_a_sweep_whose_file_was_changed_still_counts(tmp_path: Path) -> None:
    """
    Without its file each of its variants is a trial of its own, alike to none.
    """
    record(tmp_path, ["a", "b", "c"], worth=1.0)
    next((tmp_path / "trials").glob("sweep-*.csv")).write_text("digest,sharpe\n")
    found, counted, _ = deflation.survey(tmp_path, bar_seconds=3600.0)

    assert (3, 3) == (counted.n, found.effective)
