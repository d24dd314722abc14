"""Every two variants, and every variant and benchmark, on the same rows.

The difference of each metric with the interval of the joint bootstrap, corrected for the number of
pairs, and beside it the textbook test where its assumptions hold: McNemar and DeLong need rows that
do not overlap (horizon 1) and, where contracts share stamps, are taken in Obuchowski's forms for
groups of rows; Diebold & Mariano and Ledoit & Wolf bring their own correction.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from perpwalk.comparison import measures, resampling
from perpwalk.comparison.data import Common
from perpwalk.comparison.measures import FLAT, HOLD, MAJORITY, PERSISTENCE, Measured
from perpwalk.comparison.resampling import Series
from perpwalk.domain import FloatArray
from perpwalk.uncertainty.auc import delong_test, delong_test_of_groups
from perpwalk.uncertainty.overlap import sum_by
from perpwalk.uncertainty.paired import (
    diebold_mariano,
    ledoit_wolf,
    mcnemar,
    mcnemar_of_groups,
)

METRICS = ("accuracy", "auc", "brier", "sharpe", "mean_return")
_AGAINST = {
    "accuracy": (PERSISTENCE, MAJORITY),
    "sharpe": (HOLD,),
    "mean_return": (HOLD, FLAT),
}


def pair_rows(common: Common, measured: Measured, order: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row per metric and pair, ``a`` before ``b`` in ``order``, then per benchmark.

    ``p_corrected`` is corrected among all pairs of variants of one metric, and apart from them
    among the pairs with benchmarks. ``distinguishable`` is ``p_corrected`` below 1 - level.
    """
    tests = _Tests(common, measured)
    rows: list[dict[str, Any]] = []
    for metric in METRICS:
        pairs = list(itertools.combinations(order, 2))
        against = [(a, b) for b in _AGAINST.get(metric, ()) for a in order]
        for family in (pairs, against):
            part = [_row(common, measured, tests, metric, a, b) for a, b in family]
            part = [row for row in part if row]
            _correct(part, measured, metric)
            rows += part
    return rows


def _correct(rows: list[dict[str, Any]], measured: Measured, metric: str) -> None:
    """Fill in the p corrected for all of ``rows`` that have one of their own."""
    tested = [row for row in rows if row.get("p") is not None]
    if not tested:
        return
    found = measured.resampled[metric]
    column = {name: k for k, name in enumerate(found.series.names)}
    pairs = [(column[row["a"]], column[row["b"]]) for row in tested]
    for row, p in zip(tested, resampling.corrected(found, pairs), strict=True):
        # Two equal series have no spread: nothing tells them apart.
        row["p_corrected"] = float(p) if np.isfinite(p) else 1.0
        row["distinguishable"] = row["p_corrected"] < 1 - measured.level


def _row(
    common: Common, measured: Measured, tests: _Tests, metric: str, a: str, b: str
) -> dict[str, Any]:
    one, two = measured.of(metric, a), measured.of(metric, b)
    if one is None or two is None:
        return {}
    found, row = one[0], {"metric": metric, "a": a, "b": b, "n": one[0].n}
    if metric in measures.DIRECTION and not common.same_labels:
        return row | {"reason": "the variants' labels differ: their calls answer other questions"}
    value = float(found.series.value[one[1]] - found.series.value[two[1]])
    scale = measured.scale(metric)
    if not np.isfinite(value):
        return row | {"reason": "undefined for one of the two"}
    if tests.same(metric, a, b):
        return row | {"difference": 0.0, "lo": 0.0, "hi": 0.0, "p": 1.0,
                      "reason": "the same series: nothing to tell apart"}  # fmt: skip
    known = resampling.bounds(found, one[1], measured.level, other=two[1])
    if known.low is None or known.high is None:
        return row | {"difference": value * scale, "reason": known.reason}
    seen = resampling.detectable(known.error, measured.level)
    named, p = tests.run(metric, a, b)
    return row | {
        "difference": value * scale, "lo": known.low * scale, "hi": known.high * scale,
        "p": known.p, "detectable": None if seen is None else seen * scale, "test": named,
        "test_p": p, "reason": known.reason,
    }  # fmt: skip


class _Tests:
    """The textbook tests on the series behind each metric."""

    def __init__(self, common: Common, measured: Measured) -> None:
        self._common = common
        self._measured = measured
        self._placed = measures.all_placements(common)

    def same(self, metric: str, a: str, b: str) -> bool:
        """Whether the two series are equal row by row."""
        series, one, two = self._columns(metric, a, b)
        return bool((series.rows[:, one] == series.rows[:, two]).all())

    def run(self, metric: str, a: str, b: str) -> tuple[str, float | None]:
        """Return the test's name and p, or nothing where none applies."""
        series, one, two = self._columns(metric, a, b)
        x, y = series.influence[:, one], series.influence[:, two]
        independent = self._common.horizon == 1
        if metric == "accuracy" and independent:
            return self._mcnemar(series.rows[:, one], series.rows[:, two])
        if metric == "auc" and independent:
            return self._delong(one, two)
        if metric == "brier":
            loss = diebold_mariano(x, y, self._common.overlap)
            return "Diebold-Mariano (HLN)", None if loss is None else loss.p_two_sided
        if metric == "sharpe":
            lags = round(self._measured.resampled[metric].block)
            ratio = ledoit_wolf(x, y, lags)
            return "Ledoit-Wolf", None if ratio is None else ratio.p_two_sided
        return "", None

    def _columns(self, metric: str, a: str, b: str) -> tuple[Series, int, int]:
        series = self._measured.resampled[metric].series
        return series, series.names.index(a), series.names.index(b)

    def _mcnemar(self, x: FloatArray, y: FloatArray) -> tuple[str, float | None]:
        stamps = self._common.stamps
        if stamps.shared:
            return "McNemar by stamp", mcnemar_of_groups(sum_by(stamps.number, x - y))
        test = mcnemar(int(((x == 1) & (y == 0)).sum()), int(((x == 0) & (y == 1)).sum()))
        return "McNemar (mid-p)", None if test is None else test.p_mid

    def _delong(self, one: int, two: int) -> tuple[str, float | None]:
        stamps, x, y = self._common.stamps, self._placed[one], self._placed[two]
        name = "DeLong by stamp" if stamps.shared else "DeLong"
        if x is None or y is None or min(len(x.positive), len(x.negative)) < 2:
            return name, None
        if stamps.shared:
            test = delong_test_of_groups(x, y, self._common.up[:, one], stamps.number)
        else:
            test = delong_test(x, y)
        return name, None if test is None else test.p_two_sided
