"""P014: how the forecast fades when its inputs are delayed by a few bars.

An honest edge fades: real hourly BTC gives 0.554, 0.520, 0.506, 0.501 for 0 to 3 bars. A fall from
far above what the market offers to nothing within one bar is what a leak looks like.
"""

from __future__ import annotations

import numpy as np

from perpwalk.audit.leaks.contract import Outcome, Pipeline, Probe
from perpwalk.audit.leaks.scoring import fold_auc
from perpwalk.domain import FeatureFrame, Finding, LabelFrame, Level, Market, frozen_array

HIGH, NOTHING = 0.65, 0.55


def delayed(features: FeatureFrame, by: int) -> FeatureFrame:
    """Return features as they were ``by`` bars before.

    The first bars that have all of them say the first one's: were they left out, the first fold
    could begin later than the configuration asks for.
    """
    rows = np.arange(len(features.values))
    known = rows >= features.warmup
    earlier = np.where(known, np.maximum(rows - by, features.warmup), rows)
    return FeatureFrame(
        close_time=features.close_time,
        names=features.names,
        values=frozen_array(features.values[earlier]),
        lookback=features.lookback,
    )


def audit_delay(pipeline: Pipeline, market: Market, seed: int, *, bars: int = 3) -> Outcome:
    """Retrain with inputs delayed by 0 to ``bars`` bars and give the curve of AUCs."""
    curve: list[float | None] = []
    for by in range(bars + 1):

        def later(features: FeatureFrame, _: LabelFrame, by: int = by) -> FeatureFrame:
            return delayed(features, by)

        found = fold_auc(pipeline(market, seed, Probe(features=later)))
        curve.append(None if found is None else found.value)
    shown = ", ".join("undefined" if value is None else f"{value:.3f}" for value in curve)
    return Outcome(
        detector="delay sweep",
        summary=f"AUC with inputs delayed by 0 to {bars} bars: {shown}",
        findings=(_finding(curve, shown),),
        numbers={f"delay_{by}": value for by, value in enumerate(curve)},
    )


def _finding(curve: list[float | None], shown: str) -> Finding:
    now, later = curve[0], curve[1] if len(curve) > 1 else None
    suspicious = now is not None and later is not None and now > HIGH and later < NOTHING
    return Finding(
        code="P014",
        level=Level.WARN if suspicious else Level.INFO,
        where="features",
        message="AUC with inputs delayed by 0, 1, 2, … bars"
        + ("; it falls to nothing within one bar" if suspicious else ""),
        observed=shown,
        expected="a gentle fall (real hourly BTC: 0.554, 0.520, 0.506, 0.501)",
        why="an answer among the features loses all its worth in one bar" if suspicious else None,
        advice="look at K001, K002 and L012" if suspicious else None,
    )
