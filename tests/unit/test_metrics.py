"""The metrics table: fields of the contract, values by hand, null where undefined."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from hand_made_book import HOUR, Book

from perpwalk import metrics
from perpwalk.audit.evidence import gather_evidence
from perpwalk.domain import Fold, Span
from perpwalk.ledger import Ledger
from perpwalk.metrics import FIELDS, MetricsTable, break_even_fee, metrics_table, to_json

CONTRACT = (
    "period_kind, period, start, end, n, ties, up_rate, predicted_up_rate, accuracy, accuracy_lo, "
    "accuracy_hi, majority_accuracy, auc, auc_lo, auc_hi, brier, log_loss, pesaran_timmermann_p, "
    "total_return, benchmark_return, cagr, volatility, sharpe, sharpe_lo, sharpe_hi, sortino, "
    "max_drawdown, calmar, exposure, turnover, trades, win_rate, profit_factor, fees, funding, "
    "slippage"
).split(", ")


def predictions_of(
    p_up: Sequence[float], forward: Sequence[float], *, fold: Sequence[int] | int = 0,
    start: str = "2024-01-01", threshold: float = 0.5,
) -> pd.DataFrame:  # fmt: skip
    """Return a predictions table; labels follow the returns, ties have none."""
    moved = np.sign(forward)
    return pd.DataFrame(
        {
            "close_time": pd.date_range(start, periods=len(p_up), freq="h", tz="UTC"),
            "fold": fold,
            "p_up": p_up,
            "threshold": threshold,
            "label": pd.array([None if m == 0 else int(m > 0) for m in moved], dtype="Int8"),
            "forward_return": forward,
        }
    )


def folds_of(predictions: pd.DataFrame) -> list[Fold]:
    """Return folds whose test spans are those of the table."""
    found = []
    for number, part in predictions.groupby("fold"):
        times = part["close_time"]
        span = Span(times.iloc[0], times.iloc[-1] + HOUR, part.index.to_numpy(), len(part))
        found.append(Fold(int(str(number)), span, span, span))
    return found


def table_of(predictions: pd.DataFrame, ledger: Ledger, **options: object) -> MetricsTable:
    return metrics_table(
        predictions,
        ledger,
        folds=folds_of(predictions),
        bar_interval=HOUR,
        **{"horizon": 1, **options},
    )


def random_case(n: int = 400, folds: int = 2) -> tuple[pd.DataFrame, Ledger]:
    """Return noise forecasts and a book that turns round now and then."""
    rng = np.random.default_rng(3)
    prices = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n + 1)))
    forward = np.diff(np.log(prices))
    predictions = predictions_of(
        rng.uniform(0.3, 0.7, n), forward, fold=np.arange(n) * folds // n, start="2024-01-25"
    )
    book = Book(prices=prices.tolist(), fee=5e-4, slippage=1e-4,
                start=pd.Timestamp("2024-01-25", tz="UTC"))  # fmt: skip
    book.fill(1, 20.0)
    for row in range(20, n, 17):
        book.fill(row, -2 * book.position_before(row))
    for row in range(8, n, 8):
        book.fund(row, -0.1 * np.sign(book.position_before(row + 1)))
    return predictions, book.ledger()


def flat(n: int) -> Ledger:
    return Book(prices=[100.0] * n).ledger()


# ── the table ────────────────────────────────────────────────────────────────────────────────────


def test_the_fields_are_those_of_the_contract_in_its_order() -> None:
    """Names and order are what others rely on."""
    found = table_of(*random_case())

    assert CONTRACT == list(FIELDS)[: len(CONTRACT)]
    assert list(FIELDS) == list(found.frame.columns)
    assert all(name.endswith(("_lo", "_hi")) for name in FIELDS[len(CONTRACT) :])
    assert ["fold", "fold", "month", "month", "quarter", "year", "all"] == (
        found.frame["period_kind"].tolist()
    )
    assert ["000", "001", "2024-01", "2024-02", "2024Q1", "2024", "all"] == (
        found.frame["period"].tolist()
    )


def test_direction_by_hand() -> None:
    """Ten decisions, one of them tied: rates, hits, Wilson, Brier, log loss."""
    p_up = [0.9, 0.1, 0.8, 0.55, 0.45, 0.3, 0.6, 0.65, 0.7, 0.2]
    forward = [0.01, -0.01, 0.02, 0.01, -0.01, 0.0, 0.01, -0.02, 0.01, -0.01]
    row = table_of(predictions_of(p_up, forward), flat(11)).overall

    assert (9, 1) == (row["n"], row["ties"])
    assert (5 / 9, 6 / 9, 8 / 9) == pytest.approx(
        (row["up_rate"], row["predicted_up_rate"], row["accuracy"])
    )
    assert 5 / 9 == pytest.approx(row["majority_accuracy"])
    assert (0.565, 0.980) == pytest.approx((row["accuracy_lo"], row["accuracy_hi"]), abs=5e-4)
    # Of the 5 × 4 pairs only (0.55, 0.65) and (0.6, 0.65) are ranked the wrong way.
    assert 18 / 20 == pytest.approx(row["auc"])
    squares = [0.01, 0.01, 0.04, 0.2025, 0.2025, 0.16, 0.4225, 0.09, 0.04]
    assert sum(squares) / 9 == pytest.approx(row["brier"])


def test_the_folds_own_threshold_decides_the_class() -> None:
    """At threshold 0.6 a probability of 0.55 is called down; on the threshold too."""
    predictions = predictions_of([0.55, 0.6, 0.61, 0.3], [0.1, -0.1, 0.1, -0.1], threshold=0.6)
    row = table_of(predictions, flat(5)).overall

    assert 0.25 == row["predicted_up_rate"]
    assert 0.75 == row["accuracy"]


def test_the_majority_is_the_commoner_class_whichever_it_is() -> None:
    """Three of four down: always saying down is right three times of four."""
    row = table_of(predictions_of([0.6] * 4, [0.1, -0.1, -0.1, -0.1]), flat(5)).overall

    assert (0.25, 0.75) == (row["accuracy"], row["majority_accuracy"])


def test_money_by_hand() -> None:
    """Bought at 100, sold at 121 after a day of hours: returns, benchmark, costs, trade."""
    prices = [100.0, 100.0, 110.0, 99.0, 121.0, 121.0]
    book = Book(prices=prices, cash=100.0, fee=0.001)
    book.fill(2, 1.0)
    book.fill(5, -1.0)
    book.fund(3, -0.5)
    predictions = predictions_of([0.5] * 6, [0.1, -0.1] * 3)
    row = table_of(predictions, book.ledger()).overall
    equity = np.array([100, 100, 109.9, 98.4, 120.4, 120.279])
    returns = equity / np.array([100, *equity[:-1]]) - 1

    assert 0.20279 == pytest.approx(row["total_return"])
    assert 0.21 == pytest.approx(row["benchmark_return"])
    assert 1 == row["trades"]
    assert (0.221, -0.5, 0.0) == pytest.approx((row["fees"], row["funding"], row["slippage"]))
    assert 98.4 / 109.9 - 1 == pytest.approx(row["max_drawdown"])
    assert returns.std(ddof=1) * np.sqrt(8760) == pytest.approx(row["volatility"])
    assert returns.mean() / returns.std(ddof=1) * np.sqrt(8760) == pytest.approx(row["sharpe"])
    assert 1.20279 ** (8760 / 6) - 1 == pytest.approx(row["cagr"], rel=1e-6)
    assert row["cagr"] / abs(row["max_drawdown"]) == pytest.approx(row["calmar"])
    downside = np.sqrt(np.mean(np.minimum(returns, 0) ** 2))
    assert returns.mean() / downside * np.sqrt(8760) == pytest.approx(row["sortino"])
    traded = 100 / 100 + 121 / 120.4
    assert traded / (6 / 24) == pytest.approx(row["turnover"])
    held = [110 / 109.9, 99 / 98.4, 121 / 120.4]
    assert sum(held) / 6 == pytest.approx(row["exposure"])


def test_periods_add_up() -> None:
    """Months and folds compound to the whole, and their counts, costs and trades sum to it."""
    found = table_of(*random_case()).frame.set_index(["period_kind", "period"])
    whole = found.loc[("all", "all")]

    for kind in ("fold", "month", "quarter", "year"):
        parts = found.loc[kind]
        for name in ("n", "ties", "trades", "fees", "funding", "slippage"):
            assert whole[name] == pytest.approx(parts[name].sum()), (kind, name)
        grown = np.prod(1 + parts["total_return"].to_numpy(dtype=float)) - 1
        assert whole["total_return"] == pytest.approx(grown), kind
    held = np.prod(1 + found.loc["month"]["benchmark_return"].to_numpy(dtype=float)) - 1
    assert whole["benchmark_return"] == pytest.approx(held)


def test_a_period_starts_from_the_equity_just_before_its_first_bar() -> None:
    """The first hour of a month counts for it, measured from the month before."""
    prices = [100.0] * 24 + [110.0] * 24
    book = Book(prices=prices, cash=100.0, start=pd.Timestamp("2024-01-31 01:00", tz="UTC"))
    book.fill(1, 1.0)
    predictions = predictions_of([0.6] * 47, [0.1, -0.1] * 23 + [0.1], start="2024-01-31 01:00")
    months = table_of(predictions, book.ledger()).frame.set_index("period")

    # Row 24 closes at 2024-02-01 01:00: its bar is February's first.
    assert 0.0 == months.loc["2024-01", "total_return"]
    assert 0.1 == pytest.approx(months.loc["2024-02", "total_return"])


def test_overlapping_labels_widen_the_intervals() -> None:
    """With a horizon the rows repeat each other, and the table's intervals know it."""
    rng = np.random.default_rng(1)
    steps = np.cumsum(rng.normal(size=1012))
    forward = steps[12:] - steps[:-12]
    predictions = predictions_of(np.full(1000, 0.6) + rng.normal(0, 0.01, 1000), forward)
    one = table_of(predictions, flat(1001)).overall
    twelve = table_of(predictions, flat(1001), horizon=12).overall

    assert one["accuracy"] == twelve["accuracy"]
    width, wide = (r["accuracy_hi"] - r["accuracy_lo"] for r in (one, twelve))
    assert wide > 1.8 * width


# ── what is undefined ────────────────────────────────────────────────────────────────────────────


def test_one_class_of_labels_has_no_auc() -> None:
    """Case degenerate_metrics: accuracy 1 with majority 1, AUC null and the reason told."""
    predictions = predictions_of([0.7] * 30, [0.01] * 30)
    found = table_of(predictions, flat(31))
    row = found.overall

    assert (1.0, 1.0) == (row["accuracy"], row["majority_accuracy"])
    for name in ("auc", "auc_lo", "auc_hi", "pesaran_timmermann_p"):
        assert row[name] is pd.NA
    reasons = [f for f in found.reasons if f.code == "P005"]
    assert any("auc" in f.message and "one class of labels" == f.observed for f in reasons)
    assert all("all" in f.where for f in reasons)


def test_a_flat_account_has_no_ratios() -> None:
    """No trade: returns are 0, ratios null, each cause told with its periods."""
    found = table_of(predictions_of([0.6, 0.4] * 20, [0.1, -0.1] * 20), flat(41))
    row = found.overall

    assert (0.0, 0.0, 0, 0.0) == tuple(
        row[name] for name in ("total_return", "max_drawdown", "trades", "exposure")
    )
    for name in ("sharpe", "sharpe_lo", "sortino", "calmar", "win_rate", "profit_factor"):
        assert row[name] is pd.NA, name
    causes = {f.observed for f in found.reasons if f.code == "A003"}
    assert {"no trade ended", "no losing bar", "no drawdown"} <= causes
    assert any(cause is not None and cause.startswith("no variance") for cause in causes)


def test_every_null_has_a_finding_that_names_its_period() -> None:
    """Whatever is null in the table is told by field and period, and nothing else is."""
    found = table_of(predictions_of([0.7] * 30, [0.01] * 30, start="2024-01-31"), flat(31))
    told = {
        (where.strip(), name.strip())
        for f in found.reasons
        for where in f.where.split(";")
        for name in f.message.partition(": ")[2].split(",")
    }
    null = {
        (
            "all" if row["period_kind"] == "all" else f"{row['period_kind']} {row['period']}",
            name,
        )
        for row in found.frame.to_dict(orient="records")
        for name in FIELDS
        if pd.isna(row[name])
    }

    assert null
    assert null == told


def test_a_forecast_that_is_no_probability_has_no_brier_score() -> None:
    """P001: outside [0, 1] the ranking still counts, the probability does not."""
    found = table_of(predictions_of([1.2, 0.1, 0.3, 0.9], [0.1, -0.1, 0.1, -0.1]), flat(5))

    assert found.overall["brier"] is pd.NA
    assert found.overall["auc"] is not pd.NA
    assert "P001" in [f.code for f in found.reasons]


def test_json_has_null_and_never_nan() -> None:
    """The file parses as strict JSON, floats survive exactly, stamps end in Z."""
    predictions, ledger = random_case()
    found = table_of(predictions, ledger)
    text = to_json(found)
    rows = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))

    assert len(found.frame) == len(rows)
    assert list(FIELDS) == list(rows[0])
    assert found.overall["sharpe"] == rows[-1]["sharpe"]
    assert rows[0]["start"].endswith("Z")
    assert isinstance(rows[-1]["n"], int)
    assert text == to_json(table_of(predictions, ledger))


def test_every_interval_holds_its_number() -> None:
    """Growth, risk and scores lie within their bounds; the drawdown lies in its band."""
    row = table_of(*random_case()).overall

    for name in ("brier", "log_loss", "total_return", "cagr", "volatility", "sortino",
                 "max_drawdown"):  # fmt: skip
        assert row[f"{name}_lo"] <= row[name] <= row[f"{name}_hi"], name
    assert row["max_drawdown_hi"] <= 0


def test_fewer_than_thirty_trades_have_no_ratio() -> None:
    """29 trades: no win rate and no profit factor, and a finding says why; 30 have both."""

    def traded(count: int) -> tuple[pd.Series, list[str]]:
        steps = np.where(np.arange(3 * count + 4) % 2, 1.01, 1 / 1.01)
        book = Book(prices=(100 * np.cumprod(steps)).tolist(), cash=1e4, fee=1e-4)
        for trade in range(count):
            book.fill(3 * trade + 1, 1.0)
            book.fill(3 * trade + 2, -1.0)
        n = len(steps)
        found = table_of(predictions_of([0.4, 0.6] * (n // 2), [0.1, -0.1] * (n // 2)),
                         book.ledger())  # fmt: skip
        return found.overall, [f.observed for f in found.reasons if "win_rate" in f.message]

    few, told = traded(28)
    assert (28, True, True) == (few["trades"], few.isna()["win_rate"], few.isna()["profit_factor"])
    assert "fewer than 30 trades" in told
    enough, _ = traded(30)
    assert (30, 0.5) == (enough["trades"], enough["win_rate"])
    assert enough["profit_factor_lo"] < enough["profit_factor"] < enough["profit_factor_hi"]


def test_inputs_are_left_alone() -> None:
    """Judging changes neither predictions nor the book."""
    predictions, ledger = random_case()
    before, book = predictions.copy(), ledger.equity.copy()
    table_of(predictions, ledger)

    pd.testing.assert_frame_equal(before, predictions)
    pd.testing.assert_frame_equal(book, ledger.equity)


def test_a_bankrupt_account_stays_at_its_loss() -> None:
    """After equity 0 nothing is earned: the return is −1 and no number is infinite."""
    book = Book(prices=[100.0, 100.0, 50.0, 50.0, 80.0], cash=50.0)
    book.fill(1, 1.0)
    book.fill(3, -1.0)
    row = table_of(predictions_of([0.6, 0.4] * 2, [0.1, -0.1] * 2), book.ledger()).overall

    assert -1.0 == row["total_return"]
    assert -1.0 == row["max_drawdown"]
    assert -1.0 == row["cagr"]


def test_labels_of_minus_one_are_not_scored() -> None:
    """An undefined label may be null or -1."""
    predictions = predictions_of([0.6, 0.4, 0.7], [0.1, -0.1, 0.1])
    predictions["label"] = np.array([1, -1, 1], dtype=np.int8)

    assert [True, True] == metrics.scored_rows(predictions).up.tolist()


def test_the_break_even_fee_brings_the_net_to_nothing() -> None:
    """Booked again at that fee, the same trades earn 0."""
    prices = [100.0, 100.0, 103.0, 103.0, 101.0, 101.0]

    def book(fee: float) -> Ledger:
        made = Book(prices=prices, fee=fee, slippage=1e-4)
        made.fill(1, 10.0)
        made.fill(3, -20.0)
        made.fill(5, 10.0)
        made.fund(2, -1.25)
        return made.ledger()

    fee = break_even_fee(book(5e-4))
    assert fee is not None
    assert fee > 5e-4
    assert 10_000.0 == pytest.approx(float(book(fee).equity["equity"].iloc[-1]), abs=1e-9)
    assert break_even_fee(flat(4)) is None


def test_the_row_of_all_has_the_bounds_of_the_audit() -> None:
    """One number has one interval, in whichever file it stands; the seed is that of both."""
    predictions, ledger = random_case()
    overall = table_of(predictions, ledger, seed=5).overall
    evidence = gather_evidence(predictions, ledger, horizon=1, bar_interval=HOUR, seed=5)

    for name in ("total_return", "max_drawdown"):
        expected = getattr(evidence, name)
        assert (expected.low, expected.high) == (overall[f"{name}_lo"], overall[f"{name}_hi"])
    assert overall["total_return_lo"] != table_of(predictions, ledger).overall["total_return_lo"]
