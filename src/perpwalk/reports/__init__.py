"""Render a finished run or comparison. Nothing new is computed about the market here.

Each function reads the run's own files and writes into its folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from perpwalk import disk, run_files, runs, seal
from perpwalk.comparison.record import PAGE_FILE, Comparison, load_comparison
from perpwalk.errors import UsageError
from perpwalk.reports.benchmark import Benchmark
from perpwalk.reports.pages.run_view import PageData, render_page
from perpwalk.reports.sheet import Sheet
from perpwalk.reports.tearsheet import render_tearsheet
from perpwalk.runs import Run

__all__ = [
    "page_data",
    "redo_comparison_page",
    "redo_page",
    "redo_tearsheet",
    "sheet_of",
    "write_comparison_page",
    "write_page_of",
    "write_tearsheet_of",
]


def write_page_of(run: Run) -> Path:
    """Write ``report.html`` of a finished run and return its path."""
    path = run.path / "report.html"
    runs.write_text(path, render_page(page_data(run)))
    return path


def write_tearsheet_of(run: Run, *, against: Run | None = None, path: Path | None = None) -> Path:
    """Write the tearsheet of a finished run and return its path.

    Parameters
    ----------
    against
        Another run to hold it against; None holds it against buying and holding the contract.
    path
        Where to; None is the run's own ``tearsheet.html``.

    Raises
    ------
    UsageError
        The two runs share too few days.
    """
    target = run.path / "tearsheet.html" if path is None else path
    runs.write_text(target, render_tearsheet(sheet_of(run, against=against)))
    return target


def sheet_of(run: Run, *, against: Run | None = None) -> Sheet:
    """Collect what a tearsheet shows from the files of a run."""
    benchmark = None
    if against is not None:
        benchmark = Benchmark.of_run(run, against)
    elif not run.equity.empty:
        benchmark = Benchmark.holding(run.equity)
    return Sheet(
        title=run.title, equity=run.equity, audit=run.audit, metrics=run.metrics,
        benchmark=benchmark,
    )  # fmt: skip


def redo_tearsheet(
    run: Run,
    *,
    against: Run | None = None,
    figures: Literal["pdf", "png"] | None = None,
    out: Path | None = None,
) -> list[Path]:
    """Write the tearsheet, and figures if asked for, again; return what was written.

    In the run's own folder the manifest's seal is renewed; ``out``, another folder, leaves the run
    as it is.
    """
    for one in (run, against):
        if one is not None:
            runs.require_sealed(one)
    if out is None:
        with disk.renewed(run.path) as place:
            written = _tearsheet_into(place, run, against, figures)
            reseal(Run(place), written)
        return [run.path / path.name for path in written]
    out.mkdir(parents=True, exist_ok=True)
    return _tearsheet_into(out, run, against, figures)


def _tearsheet_into(
    folder: Path, run: Run, against: Run | None, figures: Literal["pdf", "png"] | None
) -> list[Path]:
    written = [write_tearsheet_of(run, against=against, path=folder / "tearsheet.html")]
    if figures is not None:
        from perpwalk.reports.figures import save

        written += save(run, folder, figures, against=against)
    return written


def redo_page(run: Run) -> Path:
    """Write the report page of a finished run again and renew the manifest's seal."""
    runs.require_sealed(run)
    with disk.renewed(run.path) as place:
        path = write_page_of(Run(place))
        reseal(Run(place), [path])
    return run.path / path.name


def write_comparison_page(found: Comparison) -> Path:
    """Write ``comparison.html`` beside the comparison's other files and return its path."""
    from perpwalk.reports.pages.comparison_view import render_comparison

    if found.path is None:
        raise UsageError("the comparison is not on disk; write_comparison keeps it")
    page = found.path / PAGE_FILE
    runs.write_text(page, render_comparison(found, _extras(found.path)))
    return page


def redo_comparison_page(folder: Path) -> Path:
    """Write the page of a comparison on disk again."""
    return write_comparison_page(load_comparison(folder))


def reseal(run: Run, written: Sequence[Path]) -> None:
    """Renew the seal of files of a run that were written again on purpose."""
    renewed = seal.resealed(run.manifest, run.path, [path.name for path in written])
    runs.write_json(run.path / seal.MANIFEST, renewed)


def page_data(run: Run) -> PageData:
    """Collect what the page shows from the run's files."""
    return PageData(
        title=run.title,
        audit=run.audit,
        metrics=run.metrics,
        folds=run.folds,
        training=run.training,
        predictions=run.predictions,
        equity=run.equity,
        trades=run.trades,
        orders=run.orders,
        funding=run.funding,
        config_text=run.config_text,
        manifest=run.manifest,
        selected=_selected(run),
        candidates=run.manifest.get("features"),
        extras=_extras(run.path),
        level=run.confidence,
        equity_by_contract=run.equity_by_contract,
        metrics_by_contract=run.metrics_by_contract,
    )


# What only some runs or comparisons have: a file in the folder and how the page calls it.
_EXTRAS = {"placebo.csv": "The placebo battery, every column"}


def _extras(folder: Path) -> dict[str, pd.DataFrame]:
    """Return the optional tables that are there, by title."""
    return {
        title: run_files.read_table(folder / name)
        for name, title in _EXTRAS.items()
        if (folder / name).is_file()
    }


def _selected(run: Run) -> dict[str, list[str]]:
    """Return the features each fold kept, where its model folder says so.

    A fold is named by its number, after its symbol where several have models of their own. Repeats
    with other seeds keep what the headline's fold kept and are left out.
    """
    found = {}
    models = run.path / "models"
    for file in sorted(models.glob("**/fold-*/features.json")):
        parts = file.parent.relative_to(models).parts
        if parts[0].startswith("seed-"):
            continue
        name = " ".join(part.removeprefix("fold-") for part in parts)
        found[name] = run_files.read_document(file)["selected"]
    return found
