"""The detection matrix: every leak of the library against every detector.

``benchmarks/detection_matrix.py`` prints it; ``docs/leaks.md`` keeps it.
"""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from perpwalk.audit.leaking import (
    CLEAN,
    DETECTORS,
    HONEST_STRATEGY,
    LEAKS,
    STRATEGIES,
    STRATEGIES_MUST,
    Leak,
    Row,
    detect,
    detect_strategy,
)
from perpwalk.audit.leaks import Plan
from perpwalk.uncertainty.proportions import wilson

SEED = 1
LIGHT = Plan(
    truncation_times=20,
    interior=1,
    all_kinds_at_start=False,
    max_cuts=8,
    permutations=4,
    null_markets=4,
    planted=False,
    delay_bars=0,
)


@functools.cache
def _row(name: str) -> Row:
    leak = next(each for each in LEAKS if each.name == name)
    return detect(leak.name, leak.pipeline, SEED)


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: leak.name)
def test_a_leak_is_caught_by_every_detector_able_to(leak: Leak):
    """Each leak is caught by all the detectors that were measured as able to catch it."""
    assert leak.must <= set(_row(leak.name).caught_by)


@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_pipeline_raises_no_alarm(name: str):
    """No detector accuses an honest pipeline: plain, overlapping, selecting or stopping early."""
    assert () == detect(name, CLEAN[name], SEED).caught_by


def test_perturbation_of_a_clean_pipeline_is_exactly_zero():
    """Another future changes nothing before it, to the last bit."""
    report = detect("clean", CLEAN["clean"], SEED, LIGHT, planted=False).report
    assert report is not None
    outcome = report.outcome("perturbation")
    assert outcome is not None
    assert (0.0, 0.0) == (outcome.numbers["changed"], outcome.numbers["largest"])


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("full-series scaler", "stage 'scaler'"),
        ("full-series selection", "stage 'selection'"),
        ("early stopping on test", "stage 'stopping'"),
        ("threshold on test", "stage 'threshold'"),
        ("train contains test", "stage 'model'"),
        ("no purge, horizon 12", "stage 'labels'"),
        ("funding filled backwards", "feature 'funding'"),
        ("centred window", "feature 'distance_to_centred_mean'"),
    ],
)
def test_the_stage_or_column_at_fault_is_named(name: str, where: str):
    """The perturbation finding names the first thing that changed: the culprit."""
    report = _row(name).report
    assert report is not None
    assert [where] == [f.where for f in report.findings if f.code == "K002"]


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("label already known", {"L004", "L006", "K004"}),
        ("label one bar late", {"L004", "L006", "K005"}),
        ("price levels as labels", {"L001", "L003", "L004", "L005"}),
        ("one-class label", {"L001", "L004", "L005"}),
        ("no purge, horizon 12", {"K002", "S001", "S009"}),
        ("shuffled split, horizon 12", {"K002", "K004", "S003"}),
        ("threshold on test", {"K002", "P015"}),
        ("forecasts ranked in their batch", {"K002", "K010"}),
        ("label in the features", {"K001", "K002", "K004", "K010", "K013", "L012", "P014"}),
        ("train contains test", {"K002", "S002"}),
    ],
)
def test_a_leak_is_called_by_its_codes(name: str, codes: set[str]):
    """The codes of methods stand for what happened."""
    assert codes <= set(_row(name).codes)


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_cheating_strategy_is_caught(name: str):
    """Both are found; reading the next bar earns on noise too, filling early does not."""
    assert STRATEGIES_MUST[name] == set(detect_strategy(name, STRATEGIES[name], SEED).caught_by)


def test_an_honest_strategy_is_not_accused():
    """Acting on the last close and filling at the next open raises nothing."""
    assert () == detect_strategy("honest", HONEST_STRATEGY, SEED).caught_by


def test_the_docs_hold_the_matrix():
    """Each pipeline and each detector stands in the table of docs/leaks.md, none as missed."""
    text = (Path(__file__).parents[2] / "docs" / "leaks.md").read_text(encoding="utf-8")
    names = [*CLEAN, *(leak.name for leak in LEAKS), *STRATEGIES]
    assert [] == [name for name in names if f"| {name} |" not in text]
    assert f"| {' | '.join(DETECTORS)} |" in text
    assert "MISSED" not in text


def _accused(seeds: range, plan: Plan | None) -> list[tuple[int, tuple[str, ...]]]:
    rows = (
        (seed, detect("clean", CLEAN["clean"], seed, *(() if plan is None else (plan,))))
        for seed in seeds
    )
    return [(seed, row.caught_by) for seed, row in rows if row.caught_by]


def test_a_clean_pipeline_is_not_accused_on_twenty_markets():
    """Twenty random walks, no alarm."""
    assert [] == _accused(range(1, 21), LIGHT)


@pytest.mark.long
def test_a_clean_pipeline_is_not_accused_on_a_hundred_markets():
    """A hundred random walks, no alarm: at most 3.7 % of clean runs are accused (Wilson, 95 %)."""
    accused = _accused(range(1, 101), None)
    interval = wilson(len(accused), 100)
    assert interval is not None
    assert ([], True) == (accused, interval.high < 0.05)
