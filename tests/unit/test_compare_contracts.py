"""Comparing accounts of several contracts: what is drawn is a stamp, never a row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from simulated_variants import HOUR, deciding_at, on_contracts, variants

from perpwalk.comparison import Comparison, load_comparison, record, resampling, write_comparison
from perpwalk.comparison.core import compare_variants
from perpwalk.comparison.data import Common, Variant, common_set
from perpwalk.comparison.measures import MAJORITY, measure, rule_hits
from perpwalk.comparison.search import MISSES, losses
from perpwalk.comparison.stamps import Stamps
from perpwalk.domain import FloatArray
from perpwalk.errors import UsageError
from perpwalk.uncertainty.auc import auc
from perpwalk.uncertainty.bootstrap import Target, bootstrap
from perpwalk.uncertainty.paired import diebold_mariano

FEW = 200  # resamples
DIRECTION = ("accuracy", "auc", "brier")


def one_contract(*, seed: int = 3, horizon: int = 1, n: int = 700) -> list[Variant]:
    """Return three variants of one contract, the first of which knows something."""
    return [replace(one, horizon=horizon) for one in variants(3, n, edge=0.06, seed=seed)]


def twins(**changes: int) -> list[Variant]:
    """Return the same variants with a second contract that copies the first."""
    return [on_contracts(AAA=one, BBB=one) for one in one_contract(**changes)]


def two_contracts(n: int = 700) -> list[Variant]:
    """Return variants of two contracts, the second of which is listed late and lacks stamps."""
    first, second = one_contract(n=n), one_contract(seed=4, n=n)
    kept = np.arange(n) > n // 3
    kept[::7] = False
    return [
        on_contracts(AAA=a, BBB=deciding_at(b, kept)) for a, b in zip(first, second, strict=True)
    ]


# ── a copy is no evidence ────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module", params=[1, 4])
def both(request: pytest.FixtureRequest) -> tuple[Comparison, Comparison]:
    """Return the comparison of one contract, and that with its copy beside it."""
    one, two = (
        compare_variants(make(horizon=request.param), resamples=FEW, seed=5)
        for make in (one_contract, twins)
    )
    return one, two


def test_a_copy_of_a_contract_moves_no_interval_of_a_difference(
    both: tuple[Comparison, Comparison],
) -> None:
    """Differences of accuracy, AUC and Brier score keep bounds, p and what could be seen."""
    one, two = (
        found.pairwise[found.pairwise["metric"].isin(DIRECTION)].reset_index(drop=True)
        for found in both
    )

    assert (2 * one["n"]).tolist() == two["n"].tolist()
    for name in ("difference", "lo", "hi", "p", "p_corrected", "detectable"):
        left, right = one[name].astype(float), two[name].astype(float)
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12, err_msg=name)
    assert one["distinguishable"].tolist() == two["distinguishable"].tolist()


def test_a_copy_of_a_contract_moves_no_interval_of_a_metric(
    both: tuple[Comparison, Comparison],
) -> None:
    """Bounds and blocks of every metric stay; only the rows are twice as many, and said."""
    one, two = (found.metrics.set_index(["variant", "metric"]) for found in both)

    for name in ("value", "lo", "hi", "block"):
        left, right = one[name].astype(float), two[name].astype(float)
        np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-12, err_msg=name)
    assert 2 * one.loc[("v00", "auc"), "n"] == two.loc[("v00", "auc"), "n"]
    assert " stamps, " in two.loc[("v00", "auc"), "method"]
    assert " rows, " in two.loc[("v00", "sharpe"), "method"]


def test_a_copy_of_a_contract_changes_no_claim(both: tuple[Comparison, Comparison]) -> None:
    """Sets, p-values of the search and the bounds of every period are those of one contract."""
    one, two = both
    keys = ["period_kind", "period", "metric", "variant"]
    wide, twice = (
        found.periods[found.periods["period_kind"] != "symbol"].set_index(keys) for found in both
    )
    widths = [(part["hi"] - part["lo"]).astype(float) for part in (wide, twice)]

    pd.testing.assert_frame_equal(one.members, two.members)
    pd.testing.assert_frame_equal(one.spa, two.spa)
    assert one.ranked == two.ranked
    # The textbook errors divide by rows less one. Rows taken for independent: 0.7 of the width.
    np.testing.assert_allclose(*widths, rtol=0.03)


def test_a_copy_of_a_contract_changes_no_textbook_test() -> None:
    """DeLong's and Diebold and Mariano's p are those of one; McNemar's is of chi-square there."""
    one, two = (
        compare_variants(make(), resamples=50).pairwise.set_index(["metric", "a", "b"])
        for make in (one_contract, twins)
    )
    a, b = one.loc["auc"].index[0]

    for metric in ("auc", "brier"):
        assert one.loc[(metric, a, b), "test_p"] == pytest.approx(two.loc[(metric, a, b), "test_p"])
    assert ("DeLong by stamp", "McNemar by stamp") == (
        two.loc[("auc", a, b), "test"], two.loc[("accuracy", a, b), "test"]
    )  # fmt: skip
    assert one.loc[("accuracy", a, b), "test_p"] == pytest.approx(
        two.loc[("accuracy", a, b), "test_p"], abs=0.01
    )


def test_one_contract_is_a_panel_of_one() -> None:
    """Given under its name alone, it is compared as ever, to the last digit of every table."""
    plain = compare_variants(one_contract(), resamples=50)
    panel = compare_variants([on_contracts(SIM=one) for one in one_contract()], resamples=50)

    for name in record.TABLES:
        one, other = getattr(plain, name), getattr(panel, name)
        if "period_kind" in other:
            other = other[other["period_kind"] != "symbol"]
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    pd.testing.assert_frame_equal(plain.curves, panel.curves, check_exact=True)


# ── contracts that differ ────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def common() -> Common:
    return common_set(two_contracts())


def test_every_figure_of_a_resample_is_that_of_all_rows_of_its_stamps(common: Common) -> None:
    """Accuracy, Brier score and AUC recomputed from the rows themselves, stamp by stamp."""
    found = measure(common, level=0.95, seed=2, resamples=3).resampled
    stamps = common.stamps
    (held,) = resampling.counts(stamps.count, found["auc"].block, 3, 2)

    for j, drawn in enumerate(held):
        rows = np.repeat(np.arange(len(common.up)), drawn[stamps.number].astype(int))
        up, p_up = common.up[rows, 0], common.p_up[rows, 0]
        assert common.hits[rows, 0].mean() == pytest.approx(found["accuracy"].drawn[0, j])
        assert ((p_up - up) ** 2).mean() == pytest.approx(found["brier"].drawn[0, j])
        assert auc(up, p_up) == pytest.approx(found["auc"].drawn[0, j])


def test_the_joint_bootstrap_is_that_of_a_runs_own_audit(common: Common) -> None:
    """Resamples, and each stamp's pull, are those by which ``audit.json`` judges such a run."""
    found = measure(common, level=0.95, seed=5, resamples=FEW).resampled["accuracy"]
    hits = common.hits[:, 1].astype(float)
    target = Target.mean("accuracy", hits, common.stamps.number)

    drawn = bootstrap(
        [target.statistic], common.stamps.count, found.block, resamples=FEW, seed=5
    )  # fmt: skip
    np.testing.assert_allclose(found.drawn[1], drawn[0], rtol=1e-10)
    np.testing.assert_allclose(found.series.influence[:, 1], target.influence, rtol=1e-9)


def test_losses_are_searched_stamp_by_stamp(common: Common) -> None:
    """A row per stamp, whose mean is the share of misses among all decisions."""
    found = losses(common, MISSES)

    assert found is not None
    assert common.stamps.count == len(found.values) < len(common.up)
    assert 1 - common.hits[:, 0].mean() == pytest.approx(found.values[:, 0].mean())


def test_diebold_and_mariano_weigh_the_stamps(common: Common) -> None:
    """Its series is the pull of each stamp on the mean Brier loss, not the rows' losses."""
    found = compare_variants(two_contracts(), resamples=50)
    row = found.pairwise.set_index(["metric", "a", "b"]).loc["brier"].iloc[0]
    a, b = (common.column(name) for name in found.ranked[:2])
    loss = (common.p_up - common.up) ** 2
    level, sizes = loss.mean(axis=0), common.stamps.sizes
    ratio = common.stamps.count / len(loss)

    def series(k: int) -> FloatArray:
        gap = np.bincount(common.stamps.number, weights=loss[:, k]) - level[k] * sizes
        return np.asarray(level[k] + ratio * gap)

    expected = diebold_mariano(series(a), series(b))
    assert expected is not None
    assert expected.p_two_sided == pytest.approx(row["test_p"])


def test_each_contract_has_its_own_commoner_side() -> None:
    """The rule that needs no model calls AAA up and BBB down where that is what came."""
    rising, falling = (
        replace(one, scored=replace(one.scored, up=one.scored.up | (np.arange(700) % 3 > 0)))
        if up
        else replace(one, scored=replace(one.scored, up=one.scored.up & (np.arange(700) % 3 > 0)))
        for one, up in zip(one_contract()[:2], (True, False), strict=True)
    )
    pair = on_contracts(AAA=rising, BBB=falling)
    common = common_set([pair, replace(pair, name="other")])
    hits, names = rule_hits(common)

    expected = np.mean([rising.scored.up.mean(), 1 - falling.scored.up.mean()])
    assert expected == pytest.approx(hits[:, names.index(MAJORITY)].mean())


# ── which decisions are common ───────────────────────────────────────────────────────────────────


def test_only_contracts_and_stamps_that_all_have_are_compared() -> None:
    """A decision on AAA is no decision on BBB: three rows are common, each its own variant's."""
    a, b = one_contract(n=40)[:2]
    first = on_contracts(
        AAA=deciding_at(a, np.isin(np.arange(40), (1, 2, 3))),
        BBB=deciding_at(b, np.isin(np.arange(40), (2, 3))),
    )
    second = on_contracts(
        BBB=deciding_at(a, np.isin(np.arange(40), (1, 3))),
        AAA=deciding_at(b, np.isin(np.arange(40), (2, 3, 4))),
    )
    common = common_set([first, replace(second, name="second")])
    stamps = a.scored.close_time

    assert ("AAA", "BBB") == common.contracts
    assert [(stamps[2], 0), (stamps[3], 0), (stamps[3], 1)] == list(
        zip(common.close_time, common.contract.tolist(), strict=True)
    )
    assert [2, 2] == common.dropped_decisions.tolist()
    expected = [[a, b], [a, b], [b, a]]  # whose forecasts stand in the two columns
    for row, whose in enumerate(expected):
        at = (2, 3, 3)[row]
        assert [one.scored.p_up[at] for one in whose] == common.p_up[row].tolist()
    assert common.persistence is not None
    assert [a.persistence[2] == a.scored.up[2], b.persistence[3] == b.scored.up[3]] == [
        common.persistence[0], common.persistence[2]
    ]  # fmt: skip


def test_the_order_of_contracts_within_a_stamp_changes_nothing() -> None:
    """An account that lists BBB first is compared as one that lists AAA first."""
    a, b = one_contract(), one_contract(seed=4)
    given = [on_contracts(AAA=x, BBB=y) for x, y in zip(a, b, strict=True)]
    turned = on_contracts(BBB=b[0], AAA=a[0])
    one = compare_variants(given, resamples=50)
    other = compare_variants(
        [replace(turned, bars=given[0].bars), *given[1:]], resamples=50
    )  # fmt: skip

    assert record.as_document(one) == record.as_document(other)


@pytest.mark.parametrize("others", [("AAA",), ("AAA", "CCC"), ("AAA", "BBB", "CCC")])
def test_accounts_of_other_contracts_are_refused(others: tuple[str, ...]) -> None:
    """U008 names both, what they trade, and what to do, also where they share a contract."""
    a, b = one_contract(n=60)[:2]
    pair = on_contracts(AAA=a, BBB=a)
    other = on_contracts(**dict.fromkeys(others, b))
    shown = "+".join(others)

    with pytest.raises(UsageError, match="U008: v00 and v01 trade ") as refused:
        compare_variants([pair, other], resamples=50)
    assert f"trade AAA+BBB and {shown}: their accounts hold other contracts" in str(refused.value)


# ── stamps ───────────────────────────────────────────────────────────────────────────────────────


def test_pulls_of_a_hand_made_panel() -> None:
    """Of stamps with 2, 1 and 3 rows: sums, sizes, and pulls whose mean is the rows' mean."""
    stamps = Stamps.of(pd.DatetimeIndex(np.repeat(pd.to_datetime([1, 2, 3], unit="h"), [2, 1, 3])))
    values = np.array([[1.0], [3.0], [2.0], [0.0], [0.0], [6.0]])

    assert [2.0, 1.0, 3.0] == stamps.sizes.tolist()
    assert [[4.0], [2.0], [6.0]] == stamps.sums(values).tolist()
    assert [[2.0], [2.0], [2.0]] == stamps.pulls(values, np.array([2.0])).tolist()
    pulls = stamps.pulls(values, np.array([1.0]))  # around another level
    assert [[2.0], [1.5], [2.5]] == pulls.tolist()


def test_rows_alone_at_their_stamps_are_left_as_they_are() -> None:
    """One contract: sums and pulls are the rows to the bit, and no two rows are one group."""
    values = np.random.default_rng(1).normal(size=(50, 3))
    stamps = Stamps.of(pd.date_range("2024-01-01", periods=50, freq="h", tz="UTC"))

    assert not stamps.shared
    assert values.tobytes() == stamps.sums(values).tobytes()
    assert values.tobytes() == stamps.pulls(values, values.mean(axis=0)).tobytes()
    assert stamps.groups(np.ones(50, dtype=bool)) is None


def test_rows_of_one_contract_are_no_groups() -> None:
    """Chosen rows are numbered anew, and have no groups where no two of them share a stamp."""
    stamps = Stamps(np.array([0, 0, 1, 2, 2]))

    assert stamps.groups(np.array([True, False, True, True, False])) is None
    found = stamps.groups(np.array([False, False, True, True, True]))
    assert found is not None
    assert [0, 1, 1] == found.tolist()


# ── who is ahead on which contract, and the record ───────────────────────────────────────────────


def test_contracts_are_periods_of_calls_and_of_what_their_trades_added() -> None:
    """Each has its accuracy and AUC; risk is of all together, and the ranks' W has no p."""
    given = [
        replace(one, added={"AAA": 0.1 - k, "BBB": 0.2 + k})
        for k, one in enumerate(two_contracts())
    ]
    found = compare_variants(given, resamples=50)
    rows = found.periods[found.periods["period_kind"] == "symbol"]
    rows = rows.set_index(["period", "metric", "variant"])
    told = found.stability[found.stability["period_kind"] == "symbol"].set_index("metric")
    own = given[0].scored.symbol == "BBB"

    assert given[0].scored.hits[own].mean() == pytest.approx(
        rows.loc[("BBB", "accuracy", "v00"), "value"]
    )
    assert int(own.sum()) == rows.loc[("BBB", "auc", "v00"), "n"]
    assert [0.1, 0.2] == [rows.loc[(s, "total_return", "v00"), "value"] for s in ("AAA", "BBB")]
    assert rows.loc[("AAA", "total_return", "v00"), "wins"]
    assert rows.loc[("BBB", "total_return", "v02"), "wins"]
    assert rows.xs("sharpe", level="metric")["value"].isna().all()
    assert told["p"].isna().all()
    assert told.loc["accuracy", "reason"].startswith("no p: contracts share")
    assert "risk is of all" in told.loc["sharpe", "reason"]


def test_what_a_contract_added_is_not_told_of_a_part_of_the_bars() -> None:
    """A variant with further bars may have earned it there: null, with the reason."""
    given = [replace(one, added={"AAA": 0.1, "BBB": 0.2}) for one in two_contracts()]
    bars = given[0].bars
    assert bars is not None
    late = replace(
        bars, close_time=bars.close_time[5:], returns=bars.returns[5:], price=bars.price[5:],
        carry=bars.carry[5:], parts={name: values[5:] for name, values in bars.parts.items()},
    )  # fmt: skip
    found = compare_variants([replace(given[0], bars=late), *given[1:]], resamples=50)
    rows = found.periods[
        (found.periods["period_kind"] == "symbol") & (found.periods["metric"] == "total_return")
    ]
    told = found.stability.set_index(["period_kind", "metric"])

    assert rows["value"].isna().all()
    assert "same bars" in told.loc[("symbol", "total_return"), "reason"]


def test_holding_counts_from_the_first_common_bar() -> None:
    """The basket is that of the variant that begins last, whichever is given first."""
    early, late, third = two_contracts()
    bars = late.bars
    assert bars is not None
    basket = bars.price[5:] / bars.price[5] + np.linspace(0, 1, len(bars.price) - 5)
    begun = replace(
        bars, close_time=bars.close_time[5:], returns=bars.returns[5:], price=basket,
        carry=bars.carry[5:], parts={name: values[5:] for name, values in bars.parts.items()},
    )  # fmt: skip
    late = replace(late, bars=begun)
    one, other = (common_set(given) for given in ([early, late, third], [late, third, early]))

    assert basket[-1] / basket[0] == pytest.approx(np.prod(1 + one.hold))
    assert one.hold.tolist() == other.hold.tolist()


def test_the_record_names_contracts_and_stamps(tmp_path) -> None:
    """They are in the file and the paragraph of several contracts, and in no other."""
    found = compare_variants(two_contracts(), resamples=50)
    back = load_comparison(write_comparison(found, tmp_path))
    alone = compare_variants(one_contract(), resamples=50)

    assert (("AAA", "BBB"), 700) == (back.contracts, back.stamps)
    assert found.decisions > 700
    assert f"{found.decisions:,} decisions on AAA, BBB at 700 stamps and" in found.verdict
    assert not {"contracts", "stamps"} & set(record.as_document(alone))
    assert HOUR.total_seconds() == back.bar_seconds
