"""The main figures of a run with matplotlib: for a paper, a chat, a notebook.

Each function takes a run's tables and returns a ``matplotlib.figure.Figure``; ``save`` writes them
as one PDF or as PNG files. The verdict stands on each: an invalid run's figure says so.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from perpwalk import disk
from perpwalk.costs import equity_before
from perpwalk.domain import FloatArray
from perpwalk.errors import UsageError
from perpwalk.reports import words
from perpwalk.reports.benchmark import Benchmark
from perpwalk.reports.daily import day_of
from perpwalk.returns import drawdowns, equity_returns
from perpwalk.runs import Run
from perpwalk.uncertainty.proportions import wilson

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STRATEGY, BENCHMARK, BAD, GOOD, MUTED = "#1d4ed8", "#9ca3af", "#b91c1c", "#15803d", "#6b7280"
KINDS = ("quarter", "month", "year", "fold")
MOST_PERIODS = 60
STYLE = {
    "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25,
    "axes.axisbelow": True, "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left",
    "legend.frameon": False, "figure.dpi": 110, "savefig.dpi": 200, "axes.titleweight": "bold",
    "pdf.fonttype": 42,
}  # fmt: skip
_BINS = 10


def equity_figure(run: Run, against: Run | None = None) -> Figure:
    """Draw equity against what it is held against, and the fall from its highest point below.

    That is holding the contract, or another run: then both are drawn on the days that both have,
    from the same capital.
    """
    whole = _book(run)
    held = Benchmark.holding(whole) if against is None else Benchmark.of_run(run, against)
    book = held.shared(whole)
    start = equity_before(book)
    stamps, equity = book["close_time"], book["equity"].to_numpy(dtype=float)
    figure, (above, below) = _panes(2, "Equity and drawdown", run, heights=(3, 1))
    above.plot(stamps, equity, color=STRATEGY, lw=1.2, label="account, after all costs")
    grown = start * held.growth
    above.plot(grown.index, grown, color=BENCHMARK, lw=1.0, label=f"{held.name}, {held.paid}")
    above.set_ylabel("quote currency")
    above.legend(loc="best")
    fall = 100 * drawdowns(equity_returns(start, equity))
    below.fill_between(stamps, fall, 0.0, color=BAD, alpha=0.35, lw=0)
    below.set_ylabel("drawdown, %")
    if held.left_out:
        below.set_xlabel(f"{words.days(pd.DatetimeIndex(day_of(stamps)))} that both runs have")
    return figure


def costs_figure(run: Run) -> Figure:
    """Draw how gross PnL becomes net: price moves, fees, slippage and funding, cumulated."""
    book = _book(run)
    stamps = book["close_time"]
    figure, (pane,) = _panes(1, "From gross to net, cumulated", run)
    gross = book["price_pnl"].cumsum()
    pane.plot(stamps, gross, color=GOOD, lw=1.1, label="gross (price moves)")
    pane.plot(stamps, -book["fee"].cumsum(), color=BAD, lw=1.0, label="fees")
    pane.plot(stamps, -book["slippage"].cumsum(), color="#d97706", lw=1.0, label="slippage")
    pane.plot(stamps, book["funding"].cumsum(), color="#7c3aed", lw=1.0, label="funding")
    pane.plot(stamps, book["equity"] - equity_before(book), color=STRATEGY, lw=1.4, label="net")
    pane.axhline(0.0, color=MUTED, lw=0.8)
    pane.set_ylabel("quote currency")
    pane.legend(loc="best", ncols=2)
    return figure


def direction_figure(run: Run) -> Figure:
    """Draw accuracy and AUC per period with their intervals."""
    kind, rows = _periods(run.metrics)
    title = f"Direction by {kind}, with {words.level(run.confidence)} intervals"
    figure, panes = _panes(2, title, run)
    across = np.arange(len(rows))
    for pane, name in zip(panes, ("accuracy", "auc"), strict=True):
        value, low, high = (
            rows[f"{name}{end}"].to_numpy(dtype=float) for end in ("", "_lo", "_hi")
        )
        pane.axhline(0.5, color=BAD, lw=0.9, ls="--")
        pane.errorbar(
            across, value, yerr=np.vstack([value - low, high - value]), fmt="o", ms=3.5,
            color=STRATEGY, ecolor=BENCHMARK, elinewidth=1.6,
        )  # fmt: skip
        pane.set_ylabel("AUC" if name == "auc" else name)
    step = max(1, len(rows) // 12)
    panes[-1].set_xticks(across[::step], rows["period"].astype(str).tolist()[::step], rotation=30)
    return figure


def calibration_figure(run: Run) -> Figure:
    """Draw how often the price rose where the model said p, and how often it said p."""
    scored = run.predictions.dropna(subset=["label"])
    if scored.empty:
        raise UsageError(f"{run.path} has no scored decision to calibrate against")
    p_up = scored["p_up"].to_numpy(dtype=float)
    label = scored["label"].to_numpy(dtype=float)
    figure, (above, below) = _panes(2, "Calibration", run, heights=(2, 1))
    said, came, low, high = _deciles(p_up, label, run.confidence)
    above.plot([said.min(), said.max()], [said.min(), said.max()], color=BENCHMARK, lw=1, ls="--")
    above.errorbar(
        said, came, yerr=np.vstack([came - low, high - came]), fmt="o", ms=4, color=STRATEGY,
        ecolor=BENCHMARK,
    )  # fmt: skip
    above.set_ylabel(f"share that rose, {words.level(run.confidence)} interval")
    below.hist(p_up, bins=60, color=STRATEGY, alpha=0.6)
    below.set_ylabel("decisions")
    below.set_xlabel("forecast probability of a rise")
    return figure


def _deciles(p_up: FloatArray, label: FloatArray, confidence: float) -> tuple[FloatArray, ...]:
    """Return mean forecast, share that rose and its interval, by tenths of the forecasts."""
    order = np.argsort(p_up, kind="stable")
    groups = [part for part in np.array_split(order, _BINS) if len(part)]
    rows = []
    for part in groups:
        rose = label[part]
        bounds = wilson(float(rose.sum()), len(part), confidence)
        assert bounds is not None  # noqa: S101 - the group has rows
        rows.append((p_up[part].mean(), rose.mean(), bounds.low, bounds.high))
    return tuple(np.array(rows).T)


FIGURES: dict[str, Callable[[Run], Figure]] = {
    "equity": equity_figure,
    "costs": costs_figure,
    "direction": direction_figure,
    "calibration": calibration_figure,
}


def save(
    run: Run, folder: Path, form: Literal["pdf", "png"], *, against: Run | None = None
) -> list[Path]:
    """Write all figures: one ``figures.pdf``, or ``figure-<name>.png`` each; return the paths.

    The equity is drawn against another run where one is named. Equal runs give equal files: no
    dates are written into them.
    """
    draws = FIGURES | {"equity": partial(equity_figure, against=against)}
    drawn = {name: draw(run) for name, draw in draws.items()}
    folder.mkdir(parents=True, exist_ok=True)
    if form == "pdf":
        from matplotlib.backends.backend_pdf import PdfPages

        buffer = io.BytesIO()
        with PdfPages(buffer, metadata={"CreationDate": None, "Title": run.path.name}) as pages:
            for figure in drawn.values():
                pages.savefig(figure)
        disk.write_bytes(folder / "figures.pdf", buffer.getvalue())
        return [folder / "figures.pdf"]
    written = []
    for name, figure in drawn.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        path = folder / f"figure-{name}.png"
        disk.write_bytes(path, buffer.getvalue())
        written.append(path)
    return written


# ── parts ────────────────────────────────────────────────────────────────────────────────────────


def _panes(
    count: int, title: str, run: Run, heights: tuple[int, ...] | None = None
) -> tuple[Figure, tuple[Axes, ...]]:
    """Return a figure of stacked panes with one x axis, the run's name and its verdict."""
    verdict = str(run.audit["verdict"]["overall"])
    bad = verdict == "invalid"
    words = "INVALID: no result" if bad else f"verdict: {verdict}"
    return panes(
        count, f"{title}  —  {run.title}  —  {words}", colour=BAD if bad else "black",
        heights=heights, shared=title != "Calibration",
    )  # fmt: skip


def panes(
    count: int,
    text: str,
    *,
    colour: str,
    heights: tuple[int, ...] | None = None,
    shared: bool = True,
) -> tuple[Figure, tuple[Axes, ...]]:
    """Return a figure of stacked panes under a line of text, which a notebook shows."""
    import matplotlib as mpl
    from matplotlib.figure import Figure as Plain

    class Shown(Plain):
        """A figure that a notebook shows without pyplot and its global state."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", dpi=self.dpi, metadata={"Software": None})
            return buffer.getvalue()

    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Shown(figsize=(8.0, 4.6), layout="constrained")
        options: dict[str, Any] = {"height_ratios": heights} if heights else {}
        stacked = figure.subplots(count, 1, sharex=shared, squeeze=False, gridspec_kw=options)
        figure.suptitle(text, fontsize=9.5, x=0.01, ha="left", color=colour)
    return figure, tuple(stacked[:, 0])


def _book(run: Run) -> pd.DataFrame:
    if run.equity.empty:
        raise UsageError(f"{run.path} has no bars in its account: there is nothing to draw")
    return run.equity


def _periods(metrics: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Return the finest kind of period that still fits, its rows with numbers only."""
    for kind in ("month", *KINDS):
        rows = metrics[metrics["period_kind"] == kind]
        if 1 < len(rows) <= MOST_PERIODS:
            return kind, rows
    return "fold", metrics[metrics["period_kind"] == "fold"]
