"""The example notebook under docs runs from top to bottom and says what it said."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "first_backtest.ipynb"


def shown(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """Return, per code cell, which kinds of output it has."""
    return [
        sorted(
            kind
            for output in cell.outputs
            for kind in (output.data if "data" in output else {output.name: 0})
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


def texts(notebook: nbformat.NotebookNode) -> list[str]:
    """
    Return the one-line results: they are rounded so that every machine prints them alike.

    A run's hash changes with every new setting of the configuration; its form is what is shown.
    """
    found = [
        output.data["text/plain"]
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]
    return [
        re.sub(r"-[0-9a-f]{8}\b", "-<hash8>", text)
        for text in found
        if "\n" not in text and "Figure" not in text
    ]


def test_the_notebook_runs_and_shows_what_is_stored() -> None:
    """Every cell runs in a fresh kernel; its results, tables and figures are those in the file."""
    stored = nbformat.read(NOTEBOOK, as_version=4)
    fresh = nbformat.read(NOTEBOOK, as_version=4)

    NotebookClient(fresh, timeout=300, kernel_name="python3").execute()

    assert shown(stored) == shown(fresh)
    assert texts(stored) == texts(fresh)
    assert any("image/png" in kinds for kinds in shown(fresh))
