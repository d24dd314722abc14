"""Comparing variants whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from simulated_variants import HOUR, variants

from perpwalk.comparison import load_comparison, record, write_comparison
from perpwalk.comparison.by_period import kendall_w, ranked
from perpwalk.comparison.core import compare_variants
from perpwalk.comparison.data import Variant, common_set, holding
from perpwalk.comparison.measures import measure
from perpwalk.comparison.search import Trials, effective_rank
from perpwalk.errors import UsageError
from perpwalk.uncertainty.auc import delong_test, placements
from perpwalk.uncertainty.bootstrap import auc_of, bootstrap, mean_of, sharpe_of
from perpwalk.uncertainty.paired import mcnemar

FEW = 200  # resamples: enough for what is asked here


@pytest.fixture(scope="module")
def planted():
    """Return six variants of which the first knows something."""
    return variants(6, 1200, edge=0.12, seed=3)


@pytest.fixture(scope="module")
def found(planted):
    return compare_variants(planted, resamples=FEW, name="planted")


def part(variant: Variant, start: int, stop: int) -> Variant:
    """Return a variant that saw only a stretch of time."""
    bars = variant.bars
    return replace(
        variant,
        scored=variant.scored.part(slice(start, stop)),
        persistence=variant.persistence[start:stop],
        bars=replace(
            bars,
            close_time=bars.close_time[start:stop],
            returns=bars.returns[start:stop],
            price=bars.price[start:stop],
            carry=bars.carry[start:stop],
            parts={name: values[start:stop] for name, values in bars.parts.items()},
        ),
    )


def test_a_planted_winner_is_named_with_what_it_beats(found):
    """
    A variant with a large edge is the winner: told from all others, from holding and from noise.
    """
    row = found.variants.set_index("variant").loc["v00"]
    assert "v00" == found.winner
    assert 1 == row["rank"]
    assert row["beats_flat"]
    assert row["beats_hold"]
    assert row["forecasts"]
    assert found.verdict.startswith("v00 is the winner")
    assert found.overfitting["pbo"].iloc[-1] < 0.05
    assert 0 == found.exit_code


def test_nothing_is_claimed_of_noise():
    """
    Among variants without an edge none is called better than noise and no winner is declared.
    """
    found = compare_variants(variants(6, 1200, seed=4), resamples=FEW)
    claims = found.variants[["beats_flat", "forecasts"]].to_numpy(dtype=bool)
    assert found.winner is None
    assert not claims.any()
    assert found.verdict.startswith("No winner is declared")
    assert "No earnings can be told from noise" in found.verdict


def test_a_comparison_is_a_pure_function(planted, found):
    """
    The same variants and seed give the same record to the last digit.
    """
    again = compare_variants(planted, resamples=FEW, name="planted")
    assert record.as_document(found) == record.as_document(again)


def test_the_record_survives_its_files(found, tmp_path):
    """
    A real comparison read back from disk equals the one in memory.
    """
    back = load_comparison(write_comparison(found, tmp_path))
    for name in record.TABLES:
        pd.testing.assert_frame_equal(getattr(found, name), getattr(back, name))
    assert found.verdict == back.verdict


def test_the_order_of_the_variants_given_changes_nothing(planted, found):
    """
    Permuting the variants leaves every table as it is, but for the order of its rows.
    """
    again = compare_variants(planted[::-1], resamples=FEW, name="planted")
    assert found.ranked == again.ranked
    one = found.metrics.sort_values(["variant", "metric"], ignore_index=True)
    two = again.metrics.sort_values(["variant", "metric"], ignore_index=True)
    pd.testing.assert_frame_equal(one, two)
    pd.testing.assert_frame_equal(found.pairwise, again.pairwise)


def test_only_common_decisions_are_compared(planted):
    """
    Where variants cover different bars, the common ones are used, and said.
    """
    late, early = part(planted[0], 200, 1200), part(planted[1], 0, 1000)
    found = compare_variants([late, early], resamples=FEW)
    rows = found.variants.set_index("variant")
    assert (800, 800) == (found.decisions, found.bars)
    assert [200, 200] == rows.loc[["v00", "v01"], "dropped_decisions"].tolist()
    assert "up to 200 decisions of a variant left out" in found.verdict


def test_variants_without_a_common_decision_are_refused(planted):
    """
    No common decision is U008, and the message says which spans there are.
    """
    with pytest.raises(UsageError, match=r"U008.*v00: 2023-01-02 … .*v01: 2023-01-2"):
        compare_variants([part(planted[0], 0, 500), part(planted[1], 500, 1200)], resamples=FEW)


def test_variants_of_two_markets_are_refused(planted):
    """
    Decisions on another market or bar length are not the same decisions.
    """
    with pytest.raises(UsageError, match="U008: v00 and v01 trade SIM and ETH"):
        common_set([planted[0], replace(planted[1], symbol="ETH")])
    with pytest.raises(UsageError, match="U008: v00 and v01 have bars of"):
        common_set([planted[0], replace(planted[1], interval=2 * HOUR)])


def test_an_invalid_variant_is_shown_and_takes_no_part(planted):
    """
    An invalid variant stands last with its diagnosis, even where its figures are the best.
    """
    ill = replace(planted[0], diagnosis="L001 labels: one class")
    found = compare_variants([ill, *planted[1:]], resamples=FEW)
    last = found.variants.iloc[-1]
    assert ("v00", "invalid", "L001 labels: one class") == tuple(
        last[["variant", "status", "diagnosis"]]
    )
    assert pd.isna(last["rank"])
    assert "v00" not in found.ranked
    assert "v00" not in set(found.metrics["variant"])
    assert "Not taking part: v00 (L001 labels: one class)" in found.verdict


def test_where_all_are_invalid_nothing_is_compared(planted):
    """
    Without a valid variant the record says so and its exit code is 3.
    """
    ill = [replace(one, diagnosis="L001") for one in planted[:2]]
    found = compare_variants(ill, resamples=FEW)
    assert 3 == found.exit_code
    assert "None of the 2 variants is a result" in found.verdict


def test_a_suspect_leader_wins_nothing(planted):
    """
    A variant under suspicion can be first but is never named the winner; the exit code is 4.
    """
    odd = replace(planted[0], facts={"verdict": "suspect"})
    found = compare_variants([odd, *planted[1:]], resamples=FEW)
    assert "v00" == found.leader
    assert found.winner is None
    assert "not above suspicion" in found.verdict
    assert 4 == found.exit_code


def test_one_variant_is_no_comparison(planted):
    """
    A single variant, or an unknown metric, is a usage error with what to do.
    """
    with pytest.raises(UsageError, match="at least two variants"):
        compare_variants(planted[:1], resamples=FEW)
    with pytest.raises(UsageError, match="did you mean 'sharpe'"):
        compare_variants(planted, by="sharp", resamples=FEW)


def test_copies_are_alike_and_share_everything(planted):
    """
    Two variants of equal results differ by exactly 0, with the reason, and share their sets.
    """
    twin = replace(planted[0], name="twin")
    found = compare_variants([*planted, twin], resamples=FEW)
    pairs = found.pairwise.set_index(["metric", "a", "b"])
    for metric in ("accuracy", "auc", "brier", "sharpe"):
        row = pairs.loc[(metric, "v00", "twin")]
        assert 0 == row["difference"]
        assert "the same series" in row["reason"]
    rows = found.variants.set_index("variant")
    assert found.winner is None
    assert rows.loc["v00", "with_the_best"]
    assert rows.loc["twin", "with_the_best"]
    assert rows.loc["twin", "beats_flat"]


def test_another_order_is_another_leader(planted):
    """
    ``by`` orders; where fewer is better the smallest is first.
    """
    found = compare_variants(planted, by="brier", resamples=FEW)
    brier = [found.value(name, "brier") for name in found.ranked]
    assert sorted(brier) == brier
    assert "First by Brier score" in found.verdict


# ── the figures ──────────────────────────────────────────────────────────────────────────────────


def test_the_joint_bootstrap_is_the_single_one(planted):
    """
    Each statistic in the joint resamples equals that of the bootstrap a run's own audit uses.
    """
    common = common_set(planted)
    found = measure(common, level=0.95, seed=5, resamples=FEW).resampled
    hits, up, p_up = common.hits[:, 1].astype(float), common.up[:, 1], common.p_up[:, 1]
    n = len(hits)
    single = bootstrap(
        [mean_of(hits), auc_of(up, p_up)], n, found["auc"].block, resamples=FEW, seed=5
    )
    returns = common.returns[:, 2]
    ratio = bootstrap([sharpe_of(returns)], n, found["sharpe"].block, resamples=FEW, seed=5)
    np.testing.assert_allclose(found["accuracy"].drawn[1], single[0], rtol=1e-10)
    np.testing.assert_allclose(found["auc"].drawn[1], single[1], rtol=1e-10)
    np.testing.assert_allclose(found["sharpe"].drawn[2], ratio[0], rtol=1e-8)


def test_tied_scores_count_half_in_the_joint_bootstrap(planted):
    """
    Forecasts with equal values give the AUC of the single bootstrap too.
    """
    coarse = [
        replace(one, scored=replace(one.scored, p_up=np.round(one.scored.p_up, 2)))
        for one in planted[:2]
    ]
    common = common_set(coarse)
    found = measure(common, level=0.95, seed=5, resamples=50).resampled["auc"]
    single = bootstrap(
        [auc_of(common.up[:, 0], common.p_up[:, 0])],
        len(common.up),
        found.block,
        resamples=50,
        seed=5,
    )
    np.testing.assert_allclose(found.drawn[0], single[0], rtol=1e-10)


def test_the_textbook_tests_stand_beside_the_bootstrap(planted, found):
    """
    McNemar and DeLong of a pair are those of the series, at horizon 1.
    """
    common = common_set(planted)
    a, b = common.hits[:, 0], common.hits[:, 1]
    expected = mcnemar(int((a & ~b).sum()), int((~a & b).sum())).p_mid
    rows = found.pairwise.set_index(["metric", "a", "b"])
    assert expected == pytest.approx(rows.loc[("accuracy", "v00", "v01"), "test_p"])
    placed = [placements(common.up[:, k], common.p_up[:, k]) for k in (0, 1)]
    expected = delong_test(*placed).p_two_sided
    assert expected == pytest.approx(rows.loc[("auc", "v00", "v01"), "test_p"])


def test_overlapping_labels_leave_out_the_tests_for_independent_rows(planted):
    """
    Beyond horizon 1 McNemar and DeLong are not given.
    """
    found = compare_variants([replace(one, horizon=4) for one in planted[:2]], resamples=FEW)
    tests = found.pairwise.groupby("metric")["test"].unique()
    assert [""] == list(tests["accuracy"])
    assert [""] == list(tests["auc"])


def test_other_labels_are_other_questions(planted):
    """
    Variants with different labels are compared in money only, with the reason.
    """
    found = compare_variants([planted[0], replace(planted[1], horizon=4)], resamples=FEW)
    rows = found.pairwise.set_index("metric")
    assert "labels differ" in rows.loc["accuracy", "reason"]
    assert pd.isna(rows.loc["accuracy", "difference"])
    assert not pd.isna(rows.loc[["sharpe"], "difference"].iloc[0])
    assert found.horizon is None


def test_every_estimate_has_an_interval_or_a_reason(found):
    """
    A metric without an interval says why.
    """
    bare = found.metrics[found.metrics["lo"].isna()]
    assert (bare["reason"] != "").all()
    assert {"accuracy", "auc", "brier", "sharpe", "total_return"} <= set(
        found.metrics.loc[found.metrics["lo"].notna(), "metric"]
    )


def test_the_number_of_trials_deflates(planted):
    """
    The more was tried, the less a Sharpe ratio is worth.
    """
    ratios = (0.02, -0.01, 0.03, 0.0)
    few, many = (
        compare_variants(
            planted, resamples=FEW, trials=Trials(count=count, text="", sharpes=ratios)
        ).deflated.set_index("variant")
        for count in (6, 600)
    )
    assert (many["deflated"] < few["deflated"]).all()
    assert {600} == set(many["trials"])


def test_copies_are_worth_one_trial():
    """
    The effective rank is the number of independent series.
    """
    rng = np.random.default_rng(0)
    one = rng.standard_normal((4000, 1))
    assert 1 == pytest.approx(effective_rank(np.repeat(one, 5, axis=1)), abs=1e-6)
    assert 5 == pytest.approx(effective_rank(rng.standard_normal((40_000, 5))), abs=0.01)


def test_holding_pays_its_fee_and_the_funding():
    """
    Buy-and-hold is the price, one entry fee and every settlement after the entry.
    """
    returns = holding(np.array([100.0, 110.0, 99.0]), np.array([5.0, 1.0, -2.0]), 0.001)
    equity = np.cumprod(1 + returns)
    np.testing.assert_allclose([0.999, 0.999 + 0.10 - 0.01, 0.999 - 0.01 + 0.01], equity)


# ── periods ──────────────────────────────────────────────────────────────────────────────────────


def test_periods_hold_every_bar_once(found):
    """
    The months, and the kinds of market, share out all bars.
    """
    rows = found.periods[(found.periods["variant"] == "v00")]
    for kind in ("month", "quarter", "regime"):
        of_kind = rows[(rows["period_kind"] == kind)]
        assert found.bars == of_kind.loc[of_kind["metric"] == "sharpe", "n"].sum()
        assert found.decisions == of_kind.loc[of_kind["metric"] == "auc", "n"].sum()


def test_the_months_compound_to_the_whole(found):
    """
    A variant's monthly returns multiply to its total return.
    """
    rows = found.periods
    rows = rows[(rows["metric"] == "total_return") & (rows["period_kind"] == "month")]
    grown = (1 + rows[rows["variant"] == "v02"]["value"].astype(float)).prod() - 1
    assert found.value("v02", "total_return") == pytest.approx(grown)


def test_kendalls_w_of_one_order_is_one_and_of_opposite_orders_zero():
    """
    W is 1 where all periods agree, 0 where they cancel, and undefined for a single period.
    """
    same, opposite = np.array([[1.0, 2, 3]] * 6), np.array([[1.0, 2, 3], [3, 2, 1]])
    assert 1 == pytest.approx(kendall_w(same)[0])
    assert kendall_w(same)[1] < 0.01
    assert 0 == pytest.approx(kendall_w(opposite)[0])
    assert kendall_w(same[:1])[:2] == (None, None)


def test_kendalls_w_with_ties_is_friedmans():
    """
    W is Friedman's chi-square over its largest value, ties included.
    """
    from scipy.stats import friedmanchisquare

    rng = np.random.default_rng(1)
    values = rng.integers(0, 4, size=(12, 5)).astype(float)
    ranks = np.array([ranked(row) for row in values])
    expected = friedmanchisquare(*values.T).statistic / (12 * 4)
    assert expected == pytest.approx(kendall_w(ranks)[0])


def test_undefined_values_have_no_rank():
    """
    A variant without a value in a period is not ranked in it.
    """
    np.testing.assert_array_equal([1, np.nan, 2], ranked([0.7, np.nan, 0.1]))
