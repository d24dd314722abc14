"""The main figures of a comparison with matplotlib, for a notebook.

Each takes the record and returns a ``matplotlib.figure.Figure``; the conclusion stands on each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from perpwalk.comparison.measures import FLAT, HOLD
from perpwalk.comparison.record import Comparison
from perpwalk.comparison.words import LABELS
from perpwalk.errors import UsageError
from perpwalk.reports.figures import BENCHMARK, MUTED, STRATEGY, panes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_VARIANTS = 40
MOST_TICKS = 12
MOST_NUMBERS = 400  # cells that still have room for a number


def growth_figure(found: Comparison) -> Figure:
    """Draw what 1 became in every variant, after all costs, and in holding."""
    figure, pane = _pane("Growth of 1, after all costs", found)
    stamps = found.curves["close_time"]
    for place, name in enumerate(found.ranked[:MOST_VARIANTS]):
        pane.plot(stamps, found.curves[name], lw=1.6 if place == 0 else 0.9, label=name)
    pane.plot(stamps, found.curves[HOLD], color=BENCHMARK, lw=1.2, ls="--", label=HOLD)
    pane.axhline(1.0, color=MUTED, lw=0.8)
    pane.legend(loc="best", fontsize=7, ncols=1 + len(found.ranked) // 12)
    return figure


def intervals_figure(found: Comparison, metric: str | None = None) -> Figure:
    """Draw one metric of every variant and benchmark with its interval, best first."""
    metric = found.by if metric is None else metric
    rows = found.metrics[(found.metrics["metric"] == metric) & found.metrics["value"].notna()]
    rows = rows[rows["variant"] != FLAT]
    if rows.empty:
        known = ", ".join(dict.fromkeys(found.metrics["metric"]))
        raise UsageError(f"no variant has a metric '{metric}'; known: {known}")
    level = f"{found.level:.0%} intervals"
    figure, pane = _pane(f"{LABELS.get(metric, metric)}, {level}", found)
    names = [*found.ranked, *(name for name in rows["variant"] if name not in found.ranked)]
    order = {name: place for place, name in enumerate(names)}
    rows = rows.sort_values("variant", key=lambda column: column.map(order)).head(MOST_VARIANTS)
    value, low, high = (
        rows[name].astype(float).to_numpy(na_value=np.nan) for name in ("value", "lo", "hi")
    )
    across = np.arange(len(rows))
    reach = np.nan_to_num(np.vstack([value - low, high - value]))
    pane.errorbar(
        value, across, xerr=reach, fmt="o", ms=4, color=STRATEGY, ecolor=BENCHMARK, elinewidth=2,
    )  # fmt: skip
    pane.set_yticks(across, rows["variant"].astype(str).tolist())
    pane.invert_yaxis()
    return figure


def ranks_figure(found: Comparison, kind: str = "month", metric: str | None = None) -> Figure:
    """Draw the rank of every variant in every period of a kind (month, quarter, regime, symbol)."""
    drawn = set(found.periods["metric"])
    metric = metric or (found.by if found.by in drawn else "sharpe")
    rows = found.periods[(found.periods["period_kind"] == kind)]
    wide = rows[(rows["metric"] == metric) & rows["rank"].notna()].pivot_table(
        index="variant", columns="period", values="rank", sort=False, aggfunc="first"
    )
    if wide.empty:
        raise UsageError(f"no period of kind '{kind}' ranks the variants by '{metric}'")
    names = [name for name in found.ranked if name in wide.index][:MOST_VARIANTS]
    figure, pane = _pane(f"Rank by {LABELS.get(metric, metric)}, per {kind}", found)
    ranks = wide.loc[names].astype(float).to_numpy()
    pane.imshow(
        ranks, cmap="RdYlBu_r", alpha=0.6, aspect="auto", vmin=1, vmax=max(2, len(found.ranked))
    )
    step = max(1, wide.shape[1] // MOST_TICKS)
    periods = wide.columns.astype(str).tolist()
    pane.set_xticks(np.arange(len(periods))[::step], periods[::step], rotation=30)
    pane.set_yticks(np.arange(len(names)), names)
    if ranks.size <= MOST_NUMBERS:
        for (row, column), rank in np.ndenumerate(ranks):
            if np.isfinite(rank):
                pane.text(column, row, f"{rank:g}", ha="center", va="center", fontsize=7)
    pane.grid(visible=False)
    return figure


def _pane(title: str, found: Comparison) -> tuple[Figure, Axes]:
    """Return a figure of one pane, the comparison's name and its conclusion."""
    if found.leader is None:
        raise UsageError(f"no variant of {found.name} is a result: there is nothing to draw")
    words = "no winner" if found.winner is None else f"winner: {found.winner}"
    text = f"{title}  —  {found.name}  —  {words}"
    figure, (pane,) = panes(1, text, colour="black" if found.winner else MUTED)
    return figure, pane


FIGURES = {"growth": growth_figure, "intervals": intervals_figure, "ranks": ranks_figure}
