"""(e) On a market with a known edge the pipeline must find it.

The one test for errors that make results too *bad*: a label one bar late, features out of step,
a flipped sign, a model that does not learn. The edge is seen in each bar's volume; a pipeline whose
features do not look at volume is blind to it, and that is what the finding then means.
"""

from __future__ import annotations

import numpy as np

from perpwalk.audit.leaks.contract import Outcome, Pipeline, PipelineOutput
from perpwalk.audit.leaks.scoring import ALARM_Z, FoldAuc, fold_auc
from perpwalk.audit.leaks.surrogates import planted
from perpwalk.domain import Finding, FloatArray, Level, Market
from perpwalk.uncertainty.auc import auc

EDGE = 0.2
LEAST_SHARE = 0.5
ENOUGH_ROWS = 5000  # with fewer the share is noisy: then only a share clearly too small is reported


def audit_planted(pipeline: Pipeline, market: Market, seed: int, *, horizon: int) -> Outcome:
    """Plant an edge into the market, run the pipeline, and see what share of it is found.

    The share is (AUC - 1/2) / (best - 1/2), with the best that of the planted score itself for the
    true direction over ``horizon`` bars on the same rows.

    Returns
    -------
    Outcome
        K005: a warning below half the edge (blind), an error above all of it. Below 5,000 rows the
        share has the benefit of its 95 % interval.
    """
    made, score = planted(market, seed, EDGE, memory=0.0 if horizon == 1 else float(horizon))
    output = pipeline(made, seed)
    found, best = fold_auc(output), _best(output, made, score, horizon)
    if found is None or best is None:
        return Outcome(detector="planted edge", summary="not judged: the labels have one class")
    share = (found.value - 0.5) / (best - 0.5)
    words = (
        f"planted edge: AUC {found.value:.4f} of at best {best:.4f} (share {share:.2f}, "
        f"{found.rows:,} rows)"
    )
    return Outcome(
        detector="planted edge",
        summary=words,
        findings=tuple(judge(found, best, share, words)),
        numbers={"auc": found.value, "best": best, "share": share},
    )


def _best(output: PipelineOutput, market: Market, score: FloatArray, horizon: int) -> float | None:
    rows = np.concatenate([trace.fold.test.rows for trace in output.folds])
    rows = rows[rows + horizon < len(market.bars)]
    close = market.bars.close
    best = auc(close[rows + horizon] > close[rows], score[rows])
    return None if best is None or best <= 0.5 else best


def judge(found: FoldAuc, best: float, share: float, words: str) -> list[Finding]:
    """Return K005 where the AUC says that the pipeline is blind, or knows too much."""
    if found.value - best > ALARM_Z * found.null_sd:
        return [
            Finding(
                code="K005",
                level=Level.ERROR,
                where="the whole pipeline",
                message="the pipeline finds more than there is to find",
                observed=words,
                expected=f"an AUC of at most {best:.4f}",
                why="no honest forecast beats the score that made the market",
                advice="something knows the future or the answer: see K001, K002 and L006",
            )
        ]
    noise = 1.96 * found.null_sd
    doubt = 0.0 if found.rows >= ENOUGH_ROWS else noise / (best - 0.5)
    blind = share + doubt < LEAST_SHARE
    if not blind and (found.value - 0.5 > noise or found.rows < ENOUGH_ROWS):
        return []
    return [
        Finding(
            code="K005",
            level=Level.WARN,
            where="the whole pipeline",
            message="the pipeline misses an edge that is there; it may be blind",
            observed=words,
            expected=f"at least {LEAST_SHARE:.0%} of it",
            why="a label out of step, dead features, a flipped sign or a model that does not learn",
            advice="look at L006 first; if no feature looks at the last bar's volume, this test "
            "cannot judge the pipeline",
        )
    ]
