"""Render a finished run: table, tearsheet, page. Nothing new is computed about the market here.

Each function reads the run's own files and writes into its folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

from perpwalk import runs, seal
from perpwalk.costs import CostSummary
from perpwalk.reports import words
from perpwalk.reports.page import PageData, write_page
from perpwalk.reports.tearsheet import write_tearsheet
from perpwalk.runs import PARTIAL, Run

__all__ = ["page_data", "redo", "write_page_of", "write_tearsheet_of"]


def write_page_of(run: Run) -> Path:
    """Write ``report.html`` of a finished run and return its path."""
    return write_page(page_data(run), run.path / "report.html")


def write_tearsheet_of(run: Run) -> Path:
    """Write ``tearsheet.html`` of a finished run and return its path."""
    return write_tearsheet(
        run.equity, run.path / "tearsheet.html", title=title_of(run), banner=banner_of(run)
    )


def redo(run: Run, page: Literal["tearsheet", "report"]) -> Path:
    """Write a page of a finished run again and renew its place in the manifest's seal."""
    path = write_tearsheet_of(run) if page == "tearsheet" else write_page_of(run)
    renewed = seal.resealed(run.manifest, run.path, [path.name])
    runs.write_json(run.path / seal.MANIFEST, renewed)
    return path


def title_of(run: Run) -> str:
    """Return what a run's pages are called: experiment and run."""
    # Pages are drawn while the run is still being made.
    return f"{run.path.parent.name} · {run.path.name.removesuffix(PARTIAL)}"


def banner_of(run: Run) -> list[str]:
    """Return the verdict in a few lines."""
    verdict = run.audit["verdict"]
    head = (
        f"Verdict: {verdict['overall'].upper()} "
        f"(predictive: {verdict['predictive']}, economic: {verdict['economic']})"
    )
    if verdict["overall"] == "invalid":
        head += ". The figures of an invalid run are no result."
    reasons = [
        f["message"].partition(": ")[2] for f in run.audit["findings"] if f["code"] == "R101"
    ]
    if verdict["overall"] == "invalid":
        return [head, *reasons[:4]]
    return [head, *reasons[:4], words.costs(CostSummary.of(run.equity))]


def page_data(run: Run) -> PageData:
    """Collect what the page shows from the run's files."""
    return PageData(
        title=title_of(run),
        audit=run.audit,
        metrics=run.metrics,
        folds=run.folds,
        training=run.training,
        equity=run.equity,
        trades=run.trades,
        orders=run.orders,
        funding=run.funding,
        config_text=run.config_text,
        manifest=run.manifest,
        selected=_selected(run),
    )


def _selected(run: Run) -> dict[int, list[str]]:
    """Return the features each fold kept, where its model folder says so."""
    found = {}
    for file in sorted((run.path / "models").glob("fold-*/features.json")):
        found[int(file.parent.name.removeprefix("fold-"))] = [
            str(name) for name in json.loads(file.read_text(encoding="utf-8"))["selected"]
        ]
    return found
