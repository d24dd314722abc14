"""The detectors one by one, where the detection matrix does not reach."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from perpwalk.audit.leaking import ReferencePipeline, matrix_market
from perpwalk.audit.leaks import Outcome, PipelineOutput, Plan, Probe, run_suite
from perpwalk.audit.leaks.canaries import CANARY, audit_canaries, audit_single_features, with_answer
from perpwalk.audit.leaks.contract import PLAIN
from perpwalk.audit.leaks.delay import audit_delay, delayed
from perpwalk.audit.leaks.determinism import audit_determinism
from perpwalk.audit.leaks.permutation import shifted
from perpwalk.audit.leaks.perturbation import ROUNDING, audit_perturbation, choose_cuts
from perpwalk.audit.leaks.planted import judge
from perpwalk.audit.leaks.scoring import FoldAuc, fold_auc, mean_is_half
from perpwalk.audit.leaks.truncation import decision_rows, differs
from perpwalk.domain import FeatureFrame, Level, Market, to_ns

CLEAN = ReferencePipeline()


@pytest.fixture(scope="module")
def market() -> Market:
    return matrix_market(5)


@pytest.fixture(scope="module")
def control(market: Market) -> PipelineOutput:
    return CLEAN(market, 5)


@dataclass
class Wrapped:
    """The clean pipeline with something done to it."""

    noise: float = 0.0
    drop: str = ""
    calls: list[int] = field(default_factory=list)

    def features(self, market: Market) -> FeatureFrame:
        return CLEAN.features(market)

    def __call__(self, market: Market, seed: int, probe: Probe = PLAIN) -> PipelineOutput:
        self.calls.append(seed)
        if self.drop and probe.features is not None:
            probe = replace(probe, features=None)
        output = CLEAN(market, seed, probe)
        shift = self.noise * len(self.calls)
        folds = tuple(replace(trace, p_up=trace.p_up + shift) for trace in output.folds)
        return replace(output, folds=folds)


def _codes(outcome: Outcome) -> list[str]:
    return [finding.code for finding in outcome.findings]


def test_a_deterministic_pipeline_is_held_to_rounding(market: Market, control: PipelineOutput):
    """The same answer twice: later differences count from the last bits on."""
    outcome, floor = audit_determinism(CLEAN, market, 5, control)
    assert ([], ROUNDING) == (_codes(outcome), floor)


def test_a_noisy_pipeline_is_named_and_weakens_the_test(market: Market):
    """K007, and differences count only above ten times the noise."""
    noisy = Wrapped(noise=1e-5)
    outcome, floor = audit_determinism(noisy, market, 5, noisy(market, 5))
    assert ["K007"] == _codes(outcome)
    assert Level.WARN is outcome.findings[0].level
    assert floor > 10e-5


def test_noise_below_the_floor_is_no_leak(market: Market):
    """A noisy but honest pipeline is not accused once its noise is known."""
    noisy = Wrapped(noise=1e-6)
    control = noisy(market, 5)
    cuts = choose_cuts(market, [control.folds[0].fold], 1, interior=0)
    assert not audit_perturbation(noisy, market, 5, control, cuts, rounding=1e-3).caught


def test_cuts_fall_where_leaks_show(market: Market, control: PipelineOutput):
    """First bar under all kinds of future, +1, (h-1)/2, h-2, inside, and the last but one."""
    fold = control.folds[1].fold
    first, last = int(fold.test.rows[0]), int(fold.test.rows[-1])
    cuts = choose_cuts(market, [fold], 12, interior=2)
    rows = {cut.row for cut in cuts}
    assert {first, first + 1, first + 5, first + 10, last - 1} <= rows
    assert {"noise", "wild", "flat"} == {cut.kind for cut in cuts if cut.row == first}
    after = market.bars.close_time + market.bars.interval
    before_settlement = {int(r) for r in np.flatnonzero(after.isin(market.funding.settle_time))}
    assert rows & before_settlement


def test_truncation_looks_at_special_bars(market: Market, control: PipelineOutput):
    """Fold starts, bars at and before settlements, ends of days and of weeks are among them."""
    folds = [trace.fold for trace in control.folds]
    rows = decision_rows(market, control.features, folds, times=60, seed=1)
    close = to_ns(market.bars.close_time)
    hours = set((close[rows] // 3_600_000_000_000 % 24).tolist())
    assert {int(fold.test.rows[0]) for fold in folds} <= set(rows.tolist())
    assert {0, 23} <= hours
    assert {7, 15} & hours
    assert 40 <= len(rows) <= 70


def test_missing_values_must_match():
    """A value where there was none is a change, however small; rounding is not."""
    nan = float("nan")
    changed, _ = differs(np.array([1.0, nan, 1.0, nan]), np.array([1.0 + 1e-14, nan, nan, 1.0]))
    assert [False, False, True, True] == changed.tolist()


def test_shifted_labels_belong_to_other_rows(control: PipelineOutput):
    """A circular shift keeps the share of ups and the undefined rows, and moves all others."""
    labels = control.labels
    moved = shifted(labels, 0.3)
    known = labels.label != -1
    assert np.array_equal(known, moved.label != -1)
    assert labels.label[known].sum() == moved.label[known].sum()
    assert 0.4 < (labels.label[known] == moved.label[known]).mean() < 0.6


def test_a_pipeline_that_drops_the_canary_fails_the_audit_itself(
    market: Market, control: PipelineOutput
):
    """Where the alarm does not ring for the answer itself, the audit says so: K006, an error."""
    cut = choose_cuts(market, [control.folds[0].fold], 1, interior=0)[0]
    outcome = audit_canaries(Wrapped(drop=CANARY), market, 5, cut)
    assert {"K006"} == set(_codes(outcome))
    assert all(finding.level is Level.ERROR for finding in outcome.findings)


def test_a_feature_that_is_the_answer_is_named(control: PipelineOutput):
    """L012 names the column; honest features stay below."""
    assert () == audit_single_features(control.features, control.labels)
    with_canary = with_answer(control.features, control.labels)
    found = audit_single_features(with_canary, control.labels)
    assert [f"feature '{CANARY}'"] == [finding.where for finding in found]


def test_delayed_inputs_are_known_at_the_same_bars(control: PipelineOutput) -> None:
    """Folds that begin as early as they can begin there still; later bars say what was before."""
    plain, late = control.features, delayed(control.features, 3)
    first = plain.warmup

    assert 0 < first == late.warmup
    assert (plain.values[first] == late.values[first : first + 4]).all()
    assert np.array_equal(plain.values[first:-3], late.values[first + 3 :], equal_nan=True)


def test_the_delay_sweep_gives_a_curve(market: Market):
    """One AUC per delay, as information."""
    outcome = audit_delay(CLEAN, market, 5, bars=2)
    assert ["delay_0", "delay_1", "delay_2"] == list(outcome.numbers)
    assert [Level.INFO] == [finding.level for finding in outcome.findings]


def test_an_answer_that_fades_in_one_bar_is_suspicious(market: Market):
    """P014 warns where the AUC falls from far above the market's offer to nothing."""

    def answered(features: FeatureFrame, by: int) -> FeatureFrame:
        return with_answer(features, CLEAN(market, 5, Probe(only_folds=())).labels)

    class Leaking(Wrapped):
        def __call__(self, market: Market, seed: int, probe: Probe = PLAIN) -> PipelineOutput:
            after = probe.features

            def features(frame: FeatureFrame, labels: object) -> FeatureFrame:
                full = answered(frame, 0)
                return full if after is None else after(full, labels)  # type: ignore[arg-type]

            return CLEAN(market, seed, replace(probe, features=features))

    outcome = audit_delay(Leaking(), market, 5, bars=1)
    assert [Level.WARN] == [finding.level for finding in outcome.findings]


def test_the_mean_of_aucs_is_judged_by_its_own_spread():
    """The larger of theory's deviation and the one seen counts; no value, no verdict."""
    steady = [FoldAuc(0.515, 0.01, 1000)] * 4
    found = mean_is_half(steady)
    assert found is not None
    assert (3.0, False) == (pytest.approx(found.z), found.alarm)
    scattered = mean_is_half([FoldAuc(v, 0.01, 1000) for v in (0.4, 0.45, 0.55, 0.68)])
    assert scattered is not None
    assert scattered.sd > 0.1
    assert mean_is_half([None, None]) is None


def test_small_folds_weigh_little(control: PipelineOutput):
    """The folds' mean is weighted by rows: two rows more change next to nothing."""
    whole = fold_auc(control)
    trace = control.folds[-1]
    rows = trace.fold.test.rows[:2]
    span = replace(trace.fold.test, rows=rows)
    tiny = replace(trace, fold=replace(trace.fold, test=span), p_up=trace.p_up[:2])
    more = fold_auc(replace(control, folds=(*control.folds, tiny)))
    assert whole is not None
    assert more is not None
    assert whole.value == pytest.approx(more.value, abs=0.002)


def test_the_report_says_what_it_could_have_seen(market: Market):
    """Power and blind spots stand beside the table of detectors."""
    plan = Plan(
        truncation_times=5, max_cuts=2, permutations=1, null_markets=2, delay_bars=1, folds=1
    )
    report = run_suite(CLEAN, market, 5, plan)
    assert 2 == len(report.power)
    assert report.blind_spots
    assert list(report.table["detector"]) == [outcome.detector for outcome in report.outcomes]
    assert 0 == report.exit_code


@pytest.mark.parametrize(
    ("auc", "sd", "rows", "codes"),
    [
        (0.575, 0.008, 5200, []),
        (0.530, 0.008, 5200, ["K005"]),  # significant, but a third of what is there
        (0.500, 0.008, 5200, ["K005"]),
        (0.532, 0.015, 1400, []),  # too few rows to say that half is missing
        (0.500, 0.015, 1400, ["K005"]),
        (0.660, 0.008, 5200, ["K005"]),  # more than there is
    ],
)
def test_the_planted_edge_must_be_found_and_not_exceeded(
    auc: float, sd: float, rows: int, codes: list[str]
):
    """Blind below half of it where the rows suffice to say so, presumed leaking above all of it."""
    found = judge(FoldAuc(auc, sd, rows), 0.59, (auc - 0.5) / 0.09, "words")
    assert codes == [finding.code for finding in found]
