"""Contracts that move together are no more evidence than there are moments."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hand_made_book import HOUR, Book

from perpwalk.audit.estimates import Setting
from perpwalk.audit.evidence import fold_mean_auc, naive_rules
from perpwalk.domain import BoolArray, FloatArray, IntArray
from perpwalk.metrics import Scored, metrics_table, scored_rows
from perpwalk.uncertainty.auc import placements
from perpwalk.uncertainty.bootstrap import Target, bootstrap_estimates
from perpwalk.uncertainty.overlap import row_vif
from perpwalk.uncertainty.proportions import wilson

N = 400
SETTING = Setting(horizon=1, confidence=0.95, seed=0)


def drawn(seed: int = 3, rows: int = N) -> tuple[FloatArray, FloatArray]:
    """Return forecasts and moves that they tell a little of."""
    rng = np.random.default_rng(seed)
    score = rng.normal(size=rows)
    return 1 / (1 + np.exp(-score / 4)), 0.3 * score + rng.normal(size=rows)


def table(p_up: FloatArray, moves: FloatArray, *symbols: str) -> pd.DataFrame:
    """Return the same decisions for each symbol, in order of time; without symbols of one alone."""
    one = pd.DataFrame(
        {
            "close_time": pd.date_range("2024-01-01", periods=len(p_up), freq="h", tz="UTC"),
            "fold": np.arange(len(p_up)) // (len(p_up) // 2),
            "p_up": p_up,
            "threshold": 0.5,
            "label": pd.array((moves > 0).astype(int), dtype="Int8"),
            "forward_return": moves,
        }
    )
    if not symbols:
        return one
    each = [one.assign(symbol=symbol) for symbol in symbols]
    return pd.concat(each).sort_values("close_time", kind="stable", ignore_index=True)


def scored(*symbols: str) -> Scored:
    return scored_rows(table(*drawn(), *symbols))


def estimates(rows: Scored) -> list[tuple[float | None, float | None]]:
    """Return accuracy and AUC with their bootstrap intervals."""
    placed = placements(rows.up, rows.p_up)
    assert placed is not None
    found = []
    for target in (
        Target.mean("accuracy", rows.hits.astype(float), rows.groups),
        Target.auc("AUC", placed, rows.up, rows.p_up, rows.groups),
    ):
        (one,), _ = bootstrap_estimates([target], horizon=1, resamples=400, seed=5)
        found.append((one.low, one.high))
    return found


def test_a_copy_of_a_contract_adds_no_evidence() -> None:
    """Every interval over a contract and its twin is that of the contract alone."""
    one, twins = scored(), scored("AAA", "BBB")

    assert (N, 2 * N) == (len(one), len(twins))
    assert 2.0 == pytest.approx(twins.vif(twins.hits.astype(float), 1))
    for alone, both in zip(estimates(one), estimates(twins), strict=True):
        assert alone == pytest.approx(both, abs=1e-12)
    mean, pair = fold_mean_auc(one, SETTING)[0], fold_mean_auc(twins, SETTING)[0]
    assert (mean.value, mean.low) == pytest.approx((pair.value, pair.low), abs=2e-3)


def test_independent_contracts_count_in_full() -> None:
    """Two contracts that have nothing to do with each other are nearly twice the evidence."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=20_000)
    groups: IntArray = np.repeat(np.arange(10_000), 2)

    assert 1.0 == pytest.approx(row_vif(values, 1, groups), abs=0.03)


def test_opposite_contracts_are_not_taken_as_extra_evidence() -> None:
    """Rows that cancel at every stamp would have no variance at all: the inflation stays at 1."""
    values = np.repeat(np.random.default_rng(1).normal(size=500), 2)
    values[::2] *= -1

    assert 1.0 == row_vif(values, 1, np.repeat(np.arange(500), 2))


def test_one_contract_is_counted_as_before() -> None:
    """Alone it has no stamps to share: no inflation for one bar, the labels' overlap beyond."""
    rows = scored()
    hits = rows.hits.astype(float)

    assert rows.groups is None
    assert 1.0 == rows.vif(hits, 1)
    assert row_vif(hits, 4) == rows.vif(hits, 4) > 1.0


def test_overlapping_labels_and_shared_stamps_add_up() -> None:
    """A twin doubles the inflation that the overlap of labels causes."""
    moving = np.convolve(np.random.default_rng(2).normal(size=3004), np.ones(4), "valid")
    hits = (moving > 0).astype(float)

    alone = row_vif(hits, 4)
    twins = row_vif(np.repeat(hits, 2), 4, np.repeat(np.arange(len(hits)), 2))
    assert 2 * alone == pytest.approx(twins)


def test_the_joint_interval_covers_where_the_plain_one_does_not() -> None:
    """Hits of three contracts with correlation 0.7: 95 % of the joint intervals hold 1/2."""
    rng = np.random.default_rng(11)
    stamps, runs = 300, 400
    groups: IntArray = np.repeat(np.arange(stamps), 3)
    joint = plain = 0
    for _ in range(runs):
        shared = rng.normal(size=(stamps, 1)) * np.sqrt(0.85)
        hits: BoolArray = (shared + rng.normal(size=(stamps, 3)) * np.sqrt(0.15) > 0).ravel()
        count, n = float(hits.sum()), len(hits)
        vif = row_vif(hits.astype(float), 1, groups)
        for inflation, name in ((vif, "joint"), (1.0, "plain")):
            found = wilson(count / inflation, n / inflation)
            covers = found is not None and found.low <= 0.5 <= found.high
            joint += covers and name == "joint"
            plain += covers and name == "plain"

    assert 0.95 == pytest.approx(joint / runs, abs=0.03)
    assert plain / runs < 0.85


def test_naive_rules_follow_each_contracts_own_moves() -> None:
    """Persistence looks at the contract's own last move, the commoner class is its own."""
    rising, falling = np.full(20, 0.01), np.full(20, -0.01)
    up, down = table(np.full(20, 0.6), rising, "AAA"), table(np.full(20, 0.6), falling, "BBB")
    both = pd.concat([up, down]).sort_values("close_time", kind="stable", ignore_index=True)
    rows = scored_rows(both)

    rules = naive_rules(both, rows, HOUR)

    of_a = rows.symbol == "AAA"
    assert rules["majority of the test"][of_a].all()
    assert not rules["majority of the test"][~of_a].any()
    assert rules["persistence"][of_a][1:].all()
    assert not rules["persistence"][~of_a].any()


def test_the_table_pools_contracts_without_counting_a_moment_twice() -> None:
    """Of twins every interval of the whole row is that of one, and p is not made smaller."""
    ledger = Book(prices=[100.0] * N).ledger()

    def whole(predictions: pd.DataFrame) -> pd.Series:
        return metrics_table(predictions, ledger, folds=[], bar_interval=HOUR, horizon=1).overall

    one, twins = whole(table(*drawn())), whole(table(*drawn(), "AAA", "BBB"))

    assert (N, 2 * N) == (one["n"], twins["n"])
    for name in ("accuracy_lo", "accuracy_hi", "auc_lo", "auc_hi", "brier_lo", "brier_hi"):
        assert one[name] == pytest.approx(twins[name], abs=1e-4), name
    assert one["pesaran_timmermann_p"] == pytest.approx(twins["pesaran_timmermann_p"], rel=0.05)
