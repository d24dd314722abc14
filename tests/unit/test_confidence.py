"""``report.confidence``: every report labels its bounds with the confidence they were made at."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hand_made_run import replay, write_run
from packed_page import array, opened

from perpwalk import reports
from perpwalk.errors import UsageError
from perpwalk.reports import figures, table
from perpwalk.reports.pages import run_view
from perpwalk.runs import Run, load_run
from perpwalk.uncertainty.proportions import wilson

NINETY = "90 %"
OTHER = re.compile(r"95 ?%")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("ninety") / "exp" / "base-1"
    return write_run(folder, replay(24 * 40), confidence=0.9)


def test_a_run_knows_the_confidence_of_its_intervals(run: Run, tmp_path: Path) -> None:
    """It is that of its audit; an audit that states none is of the usual 95 %."""
    assert 0.9 == run.confidence
    silent = {"verdict": {"overall": "invalid", "predictive": "invalid", "economic": "invalid"},
              "findings": []}  # fmt: skip
    (tmp_path / "audit.json").write_text(json.dumps(silent))
    assert 0.95 == Run(tmp_path).confidence


def test_the_tearsheet_heads_its_bounds_with_their_confidence(run: Run, tmp_path: Path) -> None:
    """Periods and Sharpe ratio; the 95 % of a track record is another matter and stays."""
    page = reports.write_tearsheet_of(run, path=tmp_path / "t.html").read_text(encoding="utf-8")
    ours = page.split("</section>", 1)[0]

    for label in (f"accuracy ({NINETY})", f"AUC ({NINETY})", f"Sharpe, {NINETY} interval"):
        assert label in ours, label
    left = re.sub(r"minimum track record at 95 %", "", ours)
    assert OTHER.search(re.sub(r"<style>.*?</style>", "", left, flags=re.DOTALL)) is None


def test_figures_are_titled_with_their_confidence(run: Run) -> None:
    """Direction in its title, calibration on its axis; its bars are Wilson's at that level."""
    calibration = figures.calibration_figure(run)
    scored = run.predictions.dropna(subset=["label"]).sort_values("p_up", kind="stable")
    first = np.array_split(scored["label"].to_numpy(dtype=float), 10)[0]
    known = wilson(float(first.sum()), len(first), 0.9)
    (bars,) = [one for one in calibration.axes[0].collections if len(one.get_paths()) == 10]
    low, high = bars.get_paths()[0].vertices[:, 1]

    assert f"with {NINETY} intervals" in figures.direction_figure(run).get_suptitle()
    assert f"share that rose, {NINETY} interval" == calibration.axes[0].get_ylabel()
    assert known is not None
    assert (known.low, known.high) == pytest.approx((low, high))


def test_the_page_draws_its_calibration_at_the_runs_confidence(run: Run) -> None:
    """The band is Wilson's at 90 %, the axis and the head of the page say so."""
    data = reports.page_data(run)
    document, blob = opened(run_view._document(data))
    bins = document["forecasts"]["groups"][0]["calibration"]
    came, low, high, n = (array(bins[name], blob) for name in ("came", "lo", "hi", "n"))
    known = wilson(float(came[0] * n[0]), int(n[0]), 0.9)

    assert 0.9 == document["forecasts"]["level"]
    assert known is not None
    assert (known.low, known.high) == pytest.approx((low[0], high[0]), rel=1e-5)
    assert f'<span class="quiet">intervals</span> {NINETY}</span>' in run_view.render_page(data)


def test_the_terminal_says_the_confidence_of_its_tables(run: Run) -> None:
    """Above the headline row."""
    assert f"All test decisions, {NINETY} intervals" in table.render_table(run.metrics, run.audit)


def test_a_confidence_that_is_none_is_refused(tmp_path: Path) -> None:
    """An audit whose bounds are at 9,500 % is no audit of perpwalk's: one message."""
    broken = write_run(tmp_path / "run", replay(200))
    audit = json.loads((broken.path / "audit.json").read_text())
    audit["evidence"]["accuracy"]["level"] = 95
    (broken.path / "audit.json").write_text(json.dumps(audit))

    with pytest.raises(UsageError, match=r"audit\.json, evidence\.accuracy\.level"):
        _ = load_run(broken.path).confidence
