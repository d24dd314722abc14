"""The door for notebooks and scripts: run, load, tables, figures."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hand_made_run import NASTY, WRONG, replay, write_run

import perpwalk
from perpwalk.errors import ConfigError, UsageError

SMALL = {
    "name": "api",
    "market": {"simulate": {"bars": 2500}},
    "features": {"include": ["returns"]},
    "walk_forward": {"train": "40d", "validation": "15d", "test": "15d", "min_train_rows": 500},
    "model": {"kind": "logistic"},
    "report": {"tearsheet": False, "html": False},
}


def test_importing_perpwalk_imports_nothing_heavy() -> None:
    """The functions are fetched when they are asked for."""
    code = (
        "import sys, perpwalk; assert {'run', 'load'} <= set(dir(perpwalk)); "
        "print([m for m in ('pandas', 'numpy', 'engine', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()
    with pytest.raises(AttributeError, match="no attribute 'walk'"):
        perpwalk.walk  # noqa: B018


def test_run_makes_what_the_command_makes_and_load_opens_it(tmp_path: Path) -> None:
    """A mapping is run into the results folder; load gives the same tables back."""
    made = perpwalk.run(SMALL, out=tmp_path)
    again = perpwalk.load(made.path)

    assert tmp_path / "api" == made.path.parent
    assert made.verdict in ("invalid", "suspect", "inconclusive", "supported")
    assert made.metrics.equals(again.metrics)
    assert made.path == perpwalk.run(SMALL, out=tmp_path).path
    assert f"Run(api/{made.path.name}: {made.verdict})" == repr(again)
    assert made.verdict.upper() in str(made)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> perpwalk.Comparison:
    """Compare two models of a small experiment, over a grid."""
    out = tmp_path_factory.mktemp("compared")
    return perpwalk.compare(SMALL, grid={"model.kind": ["logistic", "majority"]}, out=out)


def test_compare_makes_what_the_command_makes(compared: perpwalk.Comparison) -> None:
    """A mapping and a grid are run and compared; given as runs they are the same comparison."""
    runs = [perpwalk.load(compared.path / way) for way in compared.variants["run"]]
    again = perpwalk.compare(runs, out=compared.path.parent.parent)

    assert {"logistic", "majority"} == set(compared.variants["variant"])
    assert (compared.path / "comparison.html").is_file()
    assert compared.path == again.path
    assert sorted(compared.metrics["value"].dropna()) == sorted(again.metrics["value"].dropna())
    assert repr(compared).startswith("Comparison(api: 2 variants, ")
    assert compared.verdict.split(".")[0] in " ".join(str(compared).replace("│", "").split())


def test_a_notebook_shows_a_comparison_and_its_figures(compared: perpwalk.Comparison) -> None:
    """HTML with the verdict on top and names as text; figures show themselves as PNG."""
    named = replace(compared, winner="<script>")
    plot = compared.plot

    page = compared._repr_html_()
    assert page.index(compared.verdict[:20]) < page.index("<table") < page.index("</td>")
    assert "Winner: &lt;script&gt;" in named._repr_html_()
    for draw in (plot.growth, plot.intervals, plot.ranks, lambda: plot.intervals("auc"),
                 lambda: plot.ranks("regime", "accuracy")):  # fmt: skip
        assert draw()._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(UsageError, match="no variant has a metric 'luck'; known: accuracy"):
        plot.intervals("luck")
    with pytest.raises(UsageError, match="no period of kind 'symbol'"):
        plot.ranks("symbol")


def test_a_comparison_without_a_result_has_no_figures(compared: perpwalk.Comparison) -> None:
    """Its paragraph stands alone, and a figure says why there is none."""
    none = replace(compared, leader=None, winner=None, verdict="None is a result.")

    assert "<h3>No result</h3><p>None is a result.</p>" == none._repr_html_()
    with pytest.raises(UsageError, match="no variant of api is a result"):
        none.plot.growth()


def test_a_run_can_be_told_with_its_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Stages go to stderr where they are asked for, and nowhere otherwise."""
    perpwalk.run(SMALL, out=tmp_path / "quiet")
    assert ("", "") == tuple(capsys.readouterr())
    perpwalk.run(SMALL, out=tmp_path / "told", progress=True)
    assert "fold" in capsys.readouterr().err


def test_a_notebook_shows_the_verdict_and_figures(tmp_path: Path) -> None:
    """HTML with the verdict on top; names are text; figures show themselves as PNG."""
    run = perpwalk.load(write_run(tmp_path / "good", replay(24 * 40)).path)
    page = run._repr_html_()

    assert page.index("Verdict: INCONCLUSIVE") < page.index("break-even fee")
    for draw in (run.plot.equity, run.plot.costs, run.plot.direction, run.plot.calibration):
        assert draw()._repr_png_().startswith(b"\x89PNG")


def test_an_invalid_run_shows_no_figures_in_a_notebook(tmp_path: Path) -> None:
    """The diagnosis stands in their place."""
    run = perpwalk.load(write_run(tmp_path / "bad", replay(24 * 40), (WRONG,)).path)

    assert "labels disagree" in run._repr_html_()
    assert "break-even fee" not in run._repr_html_()
    assert NASTY not in run._repr_html_()


def test_what_cannot_be_opened_or_run_says_why(tmp_path: Path) -> None:
    """No run there, an unknown key, overrides without a file: each is one readable error."""
    with pytest.raises(UsageError, match="no run at"):
        perpwalk.load(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="modle"):
        perpwalk.run({"modle": {}}, out=tmp_path)
    with pytest.raises(ConfigError, match="overrides belong to"):
        perpwalk.run(SMALL, out=tmp_path, overrides=["seed=1"])
