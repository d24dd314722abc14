"""What the forecasts look like: ROC and calibration curves and distributions, per group of rows.

A group is everything, a fold, or a symbol where there are several. Nothing is estimated here: the
AUC beside a curve and its interval are the metrics table's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from perpwalk.domain import FloatArray
from perpwalk.reports.pages.packing import Pack, Packed
from perpwalk.reports.words import known
from perpwalk.uncertainty.proportions import wilson

ROC_POINTS = 101
CALIBRATION_BINS = 10
BARS = 60
MOST_FOLDS = 5_000  # with curves of their own, beside all folds together


def forecast_charts(
    predictions: pd.DataFrame,
    metrics: pd.DataFrame,
    pack: Pack,
    *,
    level: float,
    most_folds: int = MOST_FOLDS,
) -> dict[str, Any] | None:
    """Return the curves of every group; None where no decision has a label."""
    label = predictions["label"].astype("Float64").fillna(-1).to_numpy(dtype=float)
    p_up = predictions["p_up"].to_numpy(dtype=float)
    usable = np.isin(label, (0, 1)) & np.isfinite(p_up)
    scored = predictions[usable]
    if scored.empty:
        return None
    edges = np.histogram_bin_edges(p_up[usable], BARS)
    groups = []
    for kind, name, rows in _groups(scored, most_folds):
        up, said = label[usable][rows] == 1, p_up[usable][rows]
        groups.append(
            {
                "kind": kind,
                "name": name,
                "n": int(rows.sum()),
                "auc": _judged(metrics, kind, name),
                "roc": _roc(up, said, pack),
                "calibration": _calibration(up, said, pack, level),
                "up": pack.numbers(np.histogram(said[up], edges)[0], "i4"),
                "down": pack.numbers(np.histogram(said[~up], edges)[0], "i4"),
            }
        )
    return {"groups": groups, "edges": pack.numbers(edges), "level": level}


def _groups(
    scored: pd.DataFrame, most_folds: int
) -> Iterator[tuple[str, str, np.ndarray[Any, np.dtype[np.bool_]]]]:
    """Yield kind, name and rows of each group, named as the metrics table names its periods."""
    yield "all", "all", np.ones(len(scored), dtype=bool)
    symbols = sorted(scored["symbol"].astype(str).unique()) if "symbol" in scored else []
    if len(symbols) > 1:
        for name in symbols:
            yield "symbol", name, (scored["symbol"].astype(str) == name).to_numpy()
    folds = scored["fold"].to_numpy()
    for number in np.unique(folds)[-most_folds:].tolist():
        yield "fold", f"{number:03d}", folds == number


def _judged(metrics: pd.DataFrame, kind: str, name: str) -> dict[str, float | None]:
    """Return a group's AUC and its interval as the metrics table has them."""
    rows = metrics[metrics["period_kind"] == kind]
    if kind != "all":
        names = rows["period"].astype(str).str.removeprefix("fold-").str.zfill(len(name))
        rows = rows[names == name]
    if rows.empty:
        return {"value": None, "lo": None, "hi": None}
    row = rows.iloc[0]
    ends = {"value": row["auc"], "lo": row["auc_lo"], "hi": row["auc_hi"]}
    return {end: float(v) if known(v) else None for end, v in ends.items()}


def _roc(up: np.ndarray[Any, Any], said: FloatArray, pack: Pack) -> dict[str, Packed] | None:
    """Return false and true positive rates as the bar for "up" falls; None with one class."""
    if up.all() or not up.any():
        return None
    order = np.argsort(-said, kind="stable")
    last = np.append(np.diff(said[order]) != 0, True)  # equal forecasts fall together
    true = np.cumsum(up[order])[last] / up.sum()
    false = np.cumsum(~up[order])[last] / (~up).sum()
    kept = np.unique(np.linspace(0, len(true) - 1, min(ROC_POINTS, len(true))).astype(int))
    return {
        "false": pack.numbers(np.concatenate([[0.0], false[kept]])),
        "true": pack.numbers(np.concatenate([[0.0], true[kept]])),
    }


def _calibration(
    up: np.ndarray[Any, Any], said: FloatArray, pack: Pack, level: float
) -> dict[str, Packed]:
    """Return mean forecast and share that rose, with Wilson's interval, by tenths of forecasts."""
    cuts = np.unique(np.quantile(said, np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1]))
    where = np.searchsorted(cuts, said, side="left")
    rows: list[tuple[float, float, float, float, int]] = []
    for part in np.unique(where).tolist():
        inside = where == part
        hits, n = float(up[inside].sum()), int(inside.sum())
        bounds = wilson(hits, n, level)
        if bounds is not None:
            rows.append((float(said[inside].mean()), hits / n, bounds.low, bounds.high, n))
    said_, came, low, high, n_ = zip(*rows, strict=True)
    return {
        "said": pack.numbers(said_), "came": pack.numbers(came), "lo": pack.numbers(low),
        "hi": pack.numbers(high), "n": pack.numbers(n_, "i4"),
    }  # fmt: skip
