"""Evidence and verdict: what may be said, and never more."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hand_made_book import HOUR, Book

from perpwalk.audit.document import audit_document, evidence_from
from perpwalk.audit.evidence import Evidence, gather_evidence, naive_rules
from perpwalk.audit.judge import Contract, judge, judge_again
from perpwalk.audit.outside import Outside, search_findings
from perpwalk.audit.verdict import Word, verdict
from perpwalk.config import LabelSection
from perpwalk.deflation import TrialsSoFar
from perpwalk.domain import BarFrame, Finding, Fold, FundingFrame, Level, Market, Span
from perpwalk.labels import make_labels
from perpwalk.ledger import Ledger
from perpwalk.metrics import metrics_table, scored_rows
from perpwalk.uncertainty.estimate import Estimate
from perpwalk.uncertainty.sharpe import SharpeStats


def sure(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=9000, n_eff=9000)


STRONG = Evidence(
    accuracy=sure(0.545, 0.535, 0.555),
    auc=sure(0.56, 0.55, 0.57),
    fold_mean_auc=sure(0.56, 0.55, 0.57),
    edges={"majority of the test": sure(0.03, 0.02, 0.04), "reversal": sure(0.02, 0.01, 0.03)},
    mean_return=sure(1e-4, 0.5e-4, 1.5e-4),
    sharpe=sure(1.8, 1.0, 2.6),
    probability_of_skill=0.99,
    break_even_fee=9e-4,
    fee_paid=5e-4,
    trades=300,
    sharpe_stats=SharpeStats(sharpe=0.05, skew=0.0, kurtosis=3.0, n=5000),
)


def tried(n: int, prior: int | None = 0) -> TrialsSoFar:
    return TrialsSoFar(
        n=n, effective=float(n), questions=1, damaged=0, prior=prior, known=1, variance=None
    )


SEARCHED = Outside(leak_audit="full", trials=tried(1))


def finding(code: str, level: Level) -> Finding:
    return Finding(code=code, level=level, where="fold 001", message="something", observed="x")


def words(**options: object) -> tuple[Word, Word, Word]:
    found = verdict((), options.pop("evidence", STRONG), **options)
    return found.overall, found.predictive, found.economic


def test_everything_in_favour_is_supported() -> None:
    """Full leak audit, deflated Sharpe, intervals above their baselines: supported, exit 0."""
    found = verdict((), STRONG, outside=SEARCHED)

    assert (Word.SUPPORTED,) * 3 == (found.overall, found.predictive, found.economic)
    assert () == found.reasons
    assert 0 == found.exit_code


@pytest.mark.parametrize("depth", ["none", "quick"])
def test_without_a_full_leak_audit_nothing_is_supported(depth: str) -> None:
    """The verdict is capped at inconclusive and says so."""
    found = verdict((), STRONG, outside=replace(SEARCHED, leak_audit=depth))

    assert (Word.INCONCLUSIVE,) * 3 == (found.overall, found.predictive, found.economic)
    told = next(reason for reason in found.reasons if "searched for leaks" in reason)
    assert "perpwalk audit CONFIG --full" in told


def test_any_error_makes_the_run_invalid() -> None:
    """However good the figures, one error decides, with exit code 3."""
    found = verdict((finding("L004", Level.ERROR), finding("P008", Level.WARN)), STRONG)

    assert (Word.INVALID,) * 3 == (found.overall, found.predictive, found.economic)
    assert ("L004 fold 001: something (x)",) == found.reasons
    assert 3 == found.exit_code


@pytest.mark.parametrize(
    ("code", "word"),
    [("P011", Word.SUSPECT), ("K009", Word.SUSPECT), ("K005", Word.SUPPORTED),
     ("P008", Word.SUPPORTED), ("A004", Word.SUPPORTED)],
)  # fmt: skip
def test_alarms_make_it_suspect_and_other_warnings_do_not(code: str, word: Word) -> None:
    """Too good to be true and unexplained leak warnings forbid belief, with exit code 4."""
    found = verdict((finding(code, Level.WARN),), STRONG, outside=SEARCHED)

    assert word is found.overall
    assert (4 if word is Word.SUSPECT else 0) == found.exit_code


def test_an_alarm_that_is_only_a_note_is_none() -> None:
    """An info of the same code changes nothing."""
    found = verdict((finding("P011", Level.INFO),), STRONG, outside=SEARCHED)

    assert Word.SUPPORTED is found.overall


@pytest.mark.parametrize(
    ("changes", "predictive"),
    [
        ({"auc": sure(0.51, 0.499, 0.52)}, Word.INCONCLUSIVE),
        ({"edges": {"a": sure(0.03, 0.02, 0.04), "b": sure(0.01, -0.001, 0.02)}},
         Word.INCONCLUSIVE),
        ({"auc": Estimate(value=None, reason="one class")}, Word.INCONCLUSIVE),
        ({"edges": {}}, Word.INCONCLUSIVE),
        ({"accuracy": replace(STRONG.accuracy, n_eff=350.0)}, Word.INCONCLUSIVE),
        ({"mean_return": sure(1e-5, -1e-5, 3e-5)}, Word.SUPPORTED),
        ({"mean_return": sure(-1e-4, -2e-4, -1e-5)}, Word.SUPPORTED),
        ({"trades": 12}, Word.SUPPORTED),
        ({"break_even_fee": 4e-4}, Word.SUPPORTED),
    ],
)  # fmt: skip
def test_a_doubt_of_skill_is_one_of_money_but_not_the_other_way(
    changes: dict[str, object], predictive: Word
) -> None:
    """Each doubt alone leaves the economic verdict open; only those of skill the predictive."""
    found = words(evidence=replace(STRONG, **changes), outside=SEARCHED)

    assert (Word.INCONCLUSIVE, predictive, Word.INCONCLUSIVE) == found


def test_money_needs_the_count_of_trials() -> None:
    """Without deflation for the search, and without beating the best of many, no support."""
    assert Word.INCONCLUSIVE is words(outside=Outside(leak_audit="full"))[2]
    assert Word.INCONCLUSIVE is words(outside=replace(SEARCHED, trials=tried(500)))[2]
    assert Word.INCONCLUSIVE is words(outside=replace(SEARCHED, trials=tried(1, None)))[2]
    many = {"outside": SEARCHED, "variants": 5}
    assert Word.INCONCLUSIVE is words(**many)[2]
    assert Word.INCONCLUSIVE is words(**many, spa_p=0.2)[2]
    assert Word.SUPPORTED is words(**many, spa_p=0.01)[2]


def test_a_loss_is_called_a_loss() -> None:
    """An upper bound below 0 is said in words."""
    found = verdict((), replace(STRONG, mean_return=sure(-1e-4, -2e-4, -1e-5)))

    assert any("loses money" in reason for reason in found.reasons)


def test_the_file_has_the_contracts_shape() -> None:
    """Verdict words, findings worst first with eight keys, strict JSON."""
    findings = [finding("P008", Level.INFO), finding("L004", Level.ERROR)]
    document = audit_document(verdict(findings, STRONG), findings, STRONG)
    again = json.loads(json.dumps(document, allow_nan=False))

    assert {"overall": "invalid", "predictive": "invalid", "economic": "invalid"} == (
        again["verdict"]
    )
    assert ["error", "info", "info"] == [f["level"] for f in again["findings"]]
    assert "R101" == again["findings"][-1]["code"]
    keys = {"code", "level", "where", "message", "observed", "expected", "why", "advice"}
    assert all(keys == set(f) for f in again["findings"])
    assert {"value", "lo", "hi", "level", "method", "n", "n_eff", "block", "seed", "reason"} == set(
        again["evidence"]["auc"]
    )


# ── evidence ─────────────────────────────────────────────────────────────────────────────────────


def case(n: int = 1500, skill: float = 0.004) -> tuple[pd.DataFrame, Ledger, Market]:
    """Return forecasts with a known edge, an account, and the market they belong to."""
    rng = np.random.default_rng(8)
    prices = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, n + 1)))
    forward = np.diff(np.log(prices))
    predictions = pd.DataFrame(
        {
            "close_time": pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC"),
            "fold": np.arange(n) * 3 // n,
            "p_up": 0.5 + 0.02 * rng.normal(size=n) + skill * np.sign(forward),
            "threshold": 0.5,
            "label": pd.array((forward > 0).astype(int), dtype="Int8"),
            "forward_return": forward,
        }
    )
    book = Book(prices=prices.tolist(), fee=5e-4)
    book.fill(1, 20.0)
    for row in range(9, n, 9):
        book.fill(row, -40.0 if book.position_before(row) > 0 else 40.0)
    opens = np.concatenate([prices[:1], prices[:-1]])
    frame = pd.DataFrame(
        {"open": opens, "high": np.maximum(opens, prices), "low": np.minimum(opens, prices),
         "close": prices, "volume": 1.0},
        index=pd.date_range(book.open_time(0), periods=n + 1, freq="h"),
    )  # fmt: skip
    bars = BarFrame.of(frame, symbol="ETHUSDT", interval=HOUR)
    return predictions, book.ledger(), Market(bars=bars, funding=FundingFrame.empty("ETHUSDT"))


def test_evidence_has_an_interval_for_every_headline() -> None:
    """Value, bounds, method, rows, block and seed; the same seed gives the same."""
    predictions, ledger, _ = case()
    options = {"horizon": 1, "bar_interval": HOUR}
    one = gather_evidence(predictions, ledger, **options)

    for e in (one.accuracy, one.auc, one.fold_mean_auc, one.edge, one.mean_return, one.sharpe):
        assert e.value is not None
        assert e.low is not None
        assert e.high is not None
        assert e.low < e.value < e.high
        assert e.method
    assert one.accuracy.value == scored_rows(predictions).hits.mean()
    assert 5e-4 == pytest.approx(one.fee_paid)
    again = gather_evidence(predictions, ledger, **options)
    assert (one.accuracy, one.auc, one.sharpe) == (again.accuracy, again.auc, again.sharpe)


def test_the_naive_rules_use_only_what_is_known() -> None:
    """Persistence calls the sign of the move that ended at the decision, h bars long."""
    predictions, _, _ = case(200)
    scored = scored_rows(predictions)
    rules = naive_rules(predictions, scored, HOUR)
    moves = predictions["forward_return"].to_numpy()

    assert (moves[:-1] > 0).tolist() == rules["persistence"][1:].tolist()
    assert not rules["persistence"][0]
    assert (~rules["persistence"]).tolist() == rules["reversal"].tolist()
    three = naive_rules(predictions, scored, 3 * HOUR)
    assert (moves[:-3] > 0).tolist() == three["persistence"][3:].tolist()
    assert 1 == len(set(rules["majority of the test"].tolist()))


def test_a_model_that_copies_a_naive_rule_has_no_edge_over_it() -> None:
    """Accuracy over the rule it copies is exactly 0, and that rule is the best one."""
    predictions, ledger, _ = case()
    rose = naive_rules(predictions, scored_rows(predictions), HOUR)["reversal"]
    predictions["p_up"] = np.where(rose, 0.6, 0.4)
    found = gather_evidence(predictions, ledger, horizon=1, bar_interval=HOUR)

    assert 0.0 == found.edges["reversal"].value
    assert (0.0, 0.0) == (found.edges["reversal"].low, found.edges["reversal"].high)


def test_evidence_on_nothing_is_undefined_with_reasons() -> None:
    """One class and a flat account: no numbers, but reasons."""
    predictions, _, _ = case(300)
    predictions["label"] = 1
    flat = Book(prices=[100.0] * 301).ledger()
    found = gather_evidence(predictions, flat, horizon=1, bar_interval=HOUR)

    for e in (found.auc, found.fold_mean_auc, found.mean_return, found.sharpe):
        assert e.value is None
        assert e.reason
    assert found.break_even_fee is None
    empty = gather_evidence(predictions.iloc[:0], flat, horizon=1, bar_interval=HOUR)
    assert empty.edge.value is None


def test_an_incredible_sharpe_ratio_is_an_alarm() -> None:
    """P011: after costs, a lower bound above 6 a year is presumed wrong."""
    predictions, _, _ = case(1500)
    book = Book(prices=np.linspace(100, 200, 1501).tolist())
    book.fill(1, 20.0)
    found = gather_evidence(predictions, book.ledger(), horizon=1, bar_interval=HOUR)

    assert [("P011", Level.ERROR)] == [
        (f.code, f.level) for f in found.findings if "Sharpe" in f.message
    ]


def test_few_independent_rows_are_told() -> None:
    """U003: 300 rows warn; 90 are an error."""
    predictions, ledger, _ = case()
    levels = [
        [f.level for f in
         gather_evidence(predictions.iloc[:rows], ledger, horizon=1, bar_interval=HOUR).findings
         if f.code == "U003"]
        for rows in (1000, 300, 90)
    ]  # fmt: skip

    assert [[], [Level.WARN], [Level.ERROR]] == levels


# ── the whole ────────────────────────────────────────────────────────────────────────────────────


def folds_of(predictions: pd.DataFrame) -> list[Fold]:
    folds = []
    for number, part in predictions.groupby("fold"):
        times, rows = part["close_time"], part.index.to_numpy()
        span = Span(times.iloc[0], times.iloc[-1] + HOUR, rows, len(rows))
        folds.append(Fold(int(str(number)), span, span, span))
    return folds


def judged(predictions: pd.DataFrame, ledger: Ledger, market: Market, **options: object) -> object:
    folds = folds_of(predictions)
    table = metrics_table(predictions, ledger, folds=folds, bar_interval=HOUR, horizon=1)
    section = LabelSection()
    return judge(
        [Contract(market=market, labels=make_labels(market.bars, section), folds=folds)],
        section=section, predictions=predictions, ledger=ledger, metrics=table, **options,
    )  # fmt: skip


def test_an_honest_run_is_inconclusive_until_leaks_were_hunted() -> None:
    """All audits run, no error, and the reasons stand in the document."""
    found = judged(*case())

    assert [] == [f for f in found.findings if f.level is Level.ERROR]
    assert Word.INCONCLUSIVE is found.verdict.overall
    assert {"L005", "P008", "A001"} <= {f.code for f in found.findings}
    json.dumps(found.as_dict(), allow_nan=False)


def test_a_constant_model_is_invalid_unless_it_is_a_baseline_by_design() -> None:
    """A majority baseline may say the same of every decision; nothing is claimed for it."""
    predictions, ledger, market = case()
    predictions["p_up"] = 0.52

    assert Word.INVALID is judged(predictions, ledger, market).verdict.overall
    baseline = judged(predictions, ledger, market, constant_by_design=True)
    assert Word.INCONCLUSIVE is baseline.verdict.overall


def test_several_contracts_are_judged_each_and_together() -> None:
    """Skill in one contract alone is not supported of both, and findings say whose they are."""
    predictions, ledger, market = case()
    rng, up = np.random.default_rng(0), (predictions["label"] == 1).to_numpy()
    skilled = predictions.assign(p_up=0.5 + 0.014 * (2 * up - 1) + rng.normal(0, 0.1, len(up)))
    blind = predictions.assign(p_up=rng.random(len(up)))
    both = pd.concat([skilled.assign(symbol="AAA"), blind.assign(symbol="BBB")])
    both = both.sort_values("close_time", kind="stable", ignore_index=True)
    section = LabelSection()
    made = make_labels(market.bars, section)
    folds = folds_of(predictions)
    table = metrics_table(both, ledger, folds=folds, bar_interval=HOUR, horizon=1)
    contracts = [
        Contract(market=market, labels=made, folds=folds, name=name) for name in ("AAA", "BBB")
    ]

    found = judge(
        contracts, section=section, predictions=both, ledger=ledger, metrics=table,
        outside=Outside(leak_audit="full"),
    )  # fmt: skip

    assert {"AAA", "BBB"} == set(found.evidence.auc_of)
    assert found.evidence.auc.low is not None
    assert found.evidence.auc.low > 0.5
    assert Word.INCONCLUSIVE is found.verdict.predictive
    assert any("AUC of BBB alone" in reason for reason in found.verdict.reasons)
    assert not any("AUC of AAA alone" in reason for reason in found.verdict.reasons)
    wheres = {f.where.split()[0] for f in found.findings if f.code[0] in "LP"}
    assert {"AAA", "BBB"} <= wheres
    again = evidence_from(found.as_dict()["evidence"])  # type: ignore[arg-type]
    assert found.evidence.auc_of.keys() == again.auc_of.keys()


def test_findings_of_earlier_stages_count() -> None:
    """The market's own findings and those of other stages weigh as much as ours."""
    predictions, ledger, market = case()
    bad = finding("S002", Level.ERROR)

    assert Word.INVALID is judged(predictions, ledger, market, other_findings=[bad]).verdict.overall
    tainted = replace(market, findings=(finding("D006", Level.ERROR),))
    assert Word.INVALID is judged(predictions, ledger, tainted).verdict.overall


# ── what is known from outside the run ───────────────────────────────────────────────────────────


def test_a_file_can_be_judged_again_over_what_is_known_now() -> None:
    """From the file alone: the same outside gives the same file, another one another verdict."""
    found = judged(*case(), outside=Outside(trials=tried(1, None)))
    document = json.loads(json.dumps(found.as_dict()))

    assert document == judge_again(document, found.outside)
    assert found.outside == Outside.of(document)
    lifted = judge_again(document, SEARCHED)
    assert not any("searched for leaks" in f["message"] for f in lifted["findings"])
    assert "full" == lifted["leak_audit"]["tier"]
    assert document["evidence"]["deflated_sharpe"]["value"] is None
    assert lifted["evidence"]["deflated_sharpe"]["value"] is not None


def test_what_the_search_for_leaks_found_counts_and_can_be_taken_back() -> None:
    """K002 makes the run invalid; judged again without that search it is as before."""
    plain = json.loads(json.dumps(judged(*case()).as_dict()))
    leaky = (finding("K002", Level.ERROR), finding("L012", Level.WARN), finding("K005", Level.INFO))
    outside = replace(SEARCHED, leak_findings=search_findings(leaky))
    document = judge_again(plain, outside)

    assert ["leak audit: fold 001"] == [f.where for f in outside.leak_findings]
    assert "invalid" == document["verdict"]["overall"]
    assert outside == Outside.of(json.loads(json.dumps(document)))
    assert plain == judge_again(document, Outside())


def test_a_simulated_market_may_earn_what_its_edge_allows() -> None:
    """A Sharpe ratio of 9 is presumed wrong on a real market, and right where 15 is the best."""
    predictions, ledger, _ = case(skill=0.0)
    rich = ledger.equity.assign(equity=1e4 * np.exp(
        np.cumsum(np.random.default_rng(1).normal(0.002, 0.01, len(ledger.equity)))
    ))  # fmt: skip
    paid = replace(ledger, equity=rich)
    levels = [
        [f.level for f in gather_evidence(predictions, paid, horizon=1, bar_interval=HOUR,
                                          known_best=best).findings if f.code == "P011"]
        for best in (None, {"best_auc": 0.59, "best_accuracy": 0.564094})
    ]  # fmt: skip

    assert [[Level.ERROR], []] == levels
