"""(d) On a market without any edge the pipeline must find none.

The surrogate keeps the size of every move of the market at hand, its volumes and its calendar, and
draws the signs by a fair coin. Confirms and sizes what perturbation finds, and catches what it
cannot see: a label made of a return already known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perpwalk.audit.leaks.contract import Outcome, Pipeline
from perpwalk.audit.leaks.null_account import Account
from perpwalk.audit.leaks.scoring import FoldAuc, MeanTest, fold_auc, mean_is_half
from perpwalk.audit.leaks.surrogates import sign_flipped
from perpwalk.domain import Finding, FloatArray, Level, Market


@dataclass(frozen=True, eq=False)
class NullRun:
    """The AUC on one surrogate, and what an account earned there per bar, where one was kept."""

    auc: FoldAuc | None
    gains: FloatArray | None = None


def null_seed(seed: int, number: int) -> int:
    """Return the seed of the surrogate of this number."""
    return seed + 1000 * (number + 1)


def null_runs(
    pipeline: Pipeline, market: Market, seed: int, *, markets: int, account: Account | None = None
) -> list[NullRun]:
    """Run the pipeline, and the account that trades its forecasts, on ``markets`` surrogates."""
    runs = []
    for number in range(markets):
        surrogate = sign_flipped(market, null_seed(seed, number))
        output = pipeline(surrogate, seed)
        gains = None if account is None else account(surrogate, output)
        runs.append(NullRun(fold_auc(output), gains))
    return runs


def audit_null_market(runs: Sequence[NullRun]) -> Outcome:
    """Test the mean AUC of surrogates against 0.5, both ways."""
    found = mean_is_half([run.auc for run in runs])
    if found is None:
        return Outcome(detector="null market", summary="not judged: the labels have one class")
    return Outcome(
        detector="null market",
        summary=f"no edge: {found.words}",
        findings=(_finding(found),) if found.alarm else (),
        numbers={"mean_auc": found.mean, "z": found.z, "detectable": found.detectable},
    )


def _finding(found: MeanTest) -> Finding:
    return Finding(
        code="K004",
        level=Level.ERROR,
        where="the whole pipeline",
        message="the pipeline finds an edge where there is none: every sign was a coin's",
        observed=found.words,
        expected="0.5",
        why="what it finds here it will find on any data, and never in the future",
        advice="K001 names features, K002 the stage, L004 and L006 labels at fault; if all are "
        "silent, look at what the data files themselves know too early",
    )
