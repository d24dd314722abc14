"""The tearsheet and the figures: drawn by others, numbers by us, verdict on top."""

from __future__ import annotations

import logging
import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hand_made_book import Book
from hand_made_run import NASTY, WRONG, replay, write_run

from perpwalk import reports, runs, seal
from perpwalk.errors import UsageError
from perpwalk.ledger import Ledger
from perpwalk.reports import daily, figures
from perpwalk.reports.benchmark import Benchmark
from perpwalk.reports.sheet import Sheet, render_section
from perpwalk.reports.tearsheet import render_tearsheet
from perpwalk.runs import Run

FETCH = re.compile(
    r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//|@import|url\((?!#)""", re.IGNORECASE
)
VERDICT = {"overall": "inconclusive", "predictive": "inconclusive", "economic": "inconclusive"}


def sheet(ledger: Ledger, title: str = "t", benchmark: Benchmark | None = None) -> Sheet:
    """Return an account without metrics, judged inconclusive."""
    return Sheet(
        title=title,
        equity=ledger.equity,
        audit={"verdict": VERDICT, "findings": []},
        metrics=pd.DataFrame({"period_kind": []}),
        benchmark=benchmark,
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("honest") / "exp" / "base-1", replay(24 * 40))


@pytest.fixture(scope="module")
def page(run: Run, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "t.html"
    return reports.write_tearsheet_of(run, path=path).read_text(encoding="utf-8")


# ── days ─────────────────────────────────────────────────────────────────────────────────────────


def test_daily_returns_compound_to_the_account(run: Run) -> None:
    """A bar that closes at midnight ends its day; the product of days is the whole."""
    book = run.equity
    stamps = pd.DatetimeIndex(book["close_time"])
    days = daily.account_returns(book)

    assert days.index.tz is None
    assert book["equity"].iloc[-1] / 10_000 == pytest.approx(float(np.prod(1 + days)))
    midnight = book.loc[stamps == pd.Timestamp("2024-01-02", tz="UTC"), "equity"].iloc[0]
    first_two = float(np.prod(1 + days[: pd.Timestamp("2024-01-01")]))
    assert midnight / 10_000 == pytest.approx(first_two)


@pytest.mark.parametrize("seed", [5, 6, 7])
def test_quantstats_and_our_figures_agree_on_the_same_days(seed: int) -> None:
    """CAGR, Sharpe, Sortino, drawdown, Calmar and volatility agree to six decimals."""
    days = daily.account_returns(replay(24 * 200, seed=seed).equity)

    theirs, ours = daily.quantstats_figures(days), daily.our_figures(days.to_numpy())

    for name in daily.NAMES:
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), abs=1e-6), name
    assert () == daily.parted(ours, theirs)


def test_figures_that_part_are_named() -> None:
    """A figure off by more than 1e-6, or undefined on one side only, is named."""
    one = daily.Figures(0.1, 1.0, None, -0.2, 0.5, 0.3)
    other = daily.Figures(0.1, 1.00001, None, -0.2, None, 0.3)

    assert ("sharpe", "calmar") == daily.parted(one, other)
    assert () == daily.parted(one, one)


# ── the page ─────────────────────────────────────────────────────────────────────────────────────


def test_the_page_prints_the_figures_we_compute(run: Run, page: str) -> None:
    """What quantstats prints in its table is what perpwalk computes from the same days."""
    ours = daily.our_figures(daily.account_returns(run.equity).to_numpy())

    printed = dict(
        re.findall(r"<td>(Sharpe|Sortino|Calmar)\s*</td><td>[^<]*</td><td>([^<]*)", page)
    )
    assert {"Sharpe", "Sortino", "Calmar"} == set(printed)
    for name, text in printed.items():
        assert getattr(ours, name.lower()) == pytest.approx(float(text), abs=0.00501), name
    assert "agree to six decimals" in page


def test_our_section_stands_on_top_with_what_quantstats_lacks(page: str) -> None:
    """Verdict, costs apart, break-even fee, exposure, turnover, direction per period, days."""
    ours, theirs = page.split("</section>", 1)

    for text in (
        "Verdict: INCONCLUSIVE", "fees", "slippage", "funding", "break-even fee per side",
        "exposure", "turnover", "directional accuracy", "AUC", "How bars become days",
        "perpwalk, every bar", "By month",
    ):  # fmt: skip
        assert text in ours, text
    assert "Key Performance Metrics" in theirs
    assert "Periods/Year: 365" in theirs


def test_the_tearsheet_is_offline_and_quiet(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is fetched, printed, logged or warned of; names are text."""
    level = logging.getLogger("matplotlib.font_manager").level
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = render_tearsheet(sheet(replay(24 * 30), NASTY))
    printed = capsys.readouterr()

    assert ("", "") == (printed.out, printed.err)
    assert [] == [r for r in caplog.records if r.name.startswith("matplotlib")]
    assert level == logging.getLogger("matplotlib.font_manager").level
    assert FETCH.search(page) is None
    assert NASTY not in page
    assert "&lt;script&gt;alert(" in page


def test_an_invalid_run_shows_its_diagnosis_in_place_of_figures(tmp_path: Path) -> None:
    """No costs, no figures of ours; quantstats' part is a closed appendix called no result."""
    invalid = write_run(tmp_path / "invalid", replay(24 * 30), (WRONG,))
    page = reports.write_tearsheet_of(invalid).read_text(encoding="utf-8")

    ours, appendix = page.split("</section>", 1)
    assert "labels disagree" in ours
    assert "no result" in ours
    assert "From gross to net" not in ours
    assert "The quoted figures" not in ours
    assert appendix.lstrip().startswith("<details>")
    assert appendix.index("not a result") < appendix.index("Key Performance Metrics")
    assert NASTY not in page


@pytest.mark.parametrize(
    ("ledger", "reason"),
    [
        (Book(prices=[]).ledger(), "no bars"),
        (replay(24 * 3), "needs at least 14"),
        (Book(prices=[100.0] * 24 * 20).ledger(), "nothing was traded"),
    ],
    ids=["empty", "three days", "flat"],
)
def test_a_run_without_a_tearsheet_says_why(ledger: Ledger, reason: str) -> None:
    """Too short or flat: a small page with verdict and reason, and no crash."""
    page = render_tearsheet(sheet(ledger))

    assert "There is no tearsheet" in page
    assert reason in page
    assert "Verdict: INCONCLUSIVE" in page


def test_a_bankrupt_run_and_one_sided_days_have_no_tearsheet() -> None:
    """Returns after ruin cannot be compounded; a curve that never falls has no drawdowns."""
    ruin = Book(prices=np.linspace(100, 40, 24 * 20).tolist(), cash=50.0)
    ruin.fill(1, 1.0)
    rise = Book(prices=np.linspace(100, 140, 24 * 20).tolist())
    rise.fill(1, 1.0)

    assert "bankrupt" in render_tearsheet(sheet(ruin.ledger()))
    assert "one direction only" in render_tearsheet(sheet(rise.ledger()))


# ── another run as the benchmark ─────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def shorter(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Ten days less than ``run``."""
    return write_run(tmp_path_factory.mktemp("exp") / "exp" / "other-2", replay(24 * 30, seed=9))


def test_another_run_is_the_benchmark_on_the_days_both_have(run: Run, shorter: Run) -> None:
    """Its returns are those of its own account, and the account is drawn on the same days."""
    held = reports.sheet_of(run, against=shorter)
    assert held.benchmark is not None
    theirs = daily.account_returns(shorter.equity)

    pd.testing.assert_series_equal(theirs, held.benchmark.daily, check_freq=False)
    assert theirs.index.equals(daily.account_returns(held.drawn).index)
    assert 10 == held.benchmark.left_out
    pd.testing.assert_frame_equal(run.equity, held.equity)


def test_a_tearsheet_of_two_periods_says_of_each_block_which_it_is_of(
    run: Run, shorter: Run, tmp_path: Path
) -> None:
    """
    Costs, behaviour and months are the whole run's and say so; the quoted figures and quantstats'
    pages are of the common days and say so.
    """
    page = reports.write_tearsheet_of(run, against=shorter, path=tmp_path / "t.html").read_text()
    ours, theirs = page.split("</section>", 1)
    whole, shared = "2023-12-31 to 2024-02-09, 41 days", "2023-12-31 to 2024-01-30, 31 days"
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", ours)
    said = {re.split("<small>| in quote", one)[0].strip(): one for one in headings}

    for block in ("From gross to net,", "Behaviour and direction", "By month"):
        (heading,) = [one for one in headings if one.startswith(block)]
        assert f"whole run, {whole}" in heading
    assert shared in said["The quoted figures, three ways"]
    assert f"whole run, {whole}" in ours[: ours.index("From gross to net")]
    assert "exp · other-2 (on 31 common days, 10 left out)" in theirs
    money = dict(re.findall(r'<tr><th scope="row">([^<]*)</th><td>([^<]*)</td></tr>', ours))
    assert f"{-run.equity['fee'].sum():,.2f}" == money["fees"]
    figures_shown = daily.our_figures(daily.account_returns(run.equity)[:31].to_numpy())
    assert figures_shown.sharpe is not None
    assert f"<td>{figures_shown.sharpe:.3f}</td>" in ours[ours.index("The quoted figures") :]


def test_a_tearsheet_of_one_period_names_none(page: str) -> None:
    """Nothing is told apart where there is nothing to tell apart."""
    assert "whole run," not in page
    assert 'perpwalk-periods"' not in page


def test_a_benchmark_that_is_no_result_is_called_so(run: Run, tmp_path: Path) -> None:
    """An invalid run that another is held against does not pass for a yardstick."""
    wrong = write_run(tmp_path / "exp" / "wrong-3", replay(24 * 40), (WRONG,))
    name = str(Benchmark.of_run(run, wrong))

    assert "exp · wrong-3 (INVALID: no result)" == name
    assert name in render_tearsheet(reports.sheet_of(run, against=wrong))


def test_a_benchmark_without_common_days_is_refused(run: Run, tmp_path: Path) -> None:
    """Fewer than 14 common days say how many there are, none included."""
    other = write_run(tmp_path / "short", replay(24 * 5))
    empty = Run(tmp_path / "none")
    empty.__dict__["equity"] = run.equity.iloc[:0]

    with pytest.raises(UsageError, match="shares 6 days"):
        reports.write_tearsheet_of(run, against=other)
    with pytest.raises(UsageError, match="shares 0 days"):
        reports.sheet_of(run, against=empty)
    with pytest.raises(UsageError, match="shares 0 days"):
        reports.sheet_of(empty, against=run)


# ── where quantstats parts from us ───────────────────────────────────────────────────────────────


def section_of(days: list[float]) -> str:
    """Return our section over daily returns of any kind, on one line."""
    index = pd.date_range("2024-01-01", periods=len(days))
    section = render_section(sheet(replay(24 * 30)), pd.Series(days, index=index), None)
    return " ".join(section.split())


def test_a_ratio_that_only_quantstats_defines_is_told_with_both_definitions() -> None:
    """Days that are all alike have no Sharpe ratio; quantstats divides by rounding."""
    section = section_of([0.01] * 30)
    apart = section[section.index("perpwalk-apart") :]
    apart = apart[: apart.index("</div>")]

    assert "part in these figures, because their definitions do; perpwalk's holds" in apart.replace(
        "&#39;", "'"
    )
    assert "<b>Sharpe</b>: perpwalk divides the mean by the standard deviation" in apart
    assert "quantstats divides by that rounding" in apart
    assert 1 == apart.count("<li>")
    assert "agree to six decimals" not in section


def test_a_series_that_quantstats_takes_for_prices_is_told_to_be_one() -> None:
    """No losing day and one above 100 %: each figure that parts, and the reason for all."""
    section = section_of([0.5] * 20 + [1.5])
    apart = section[section.index("perpwalk-apart") :]

    for name in ("CAGR", "Sharpe", "Volatility"):
        assert f"<b>{name}</b>: " in apart
    assert "quantstats takes such a series for prices" in apart


def test_another_version_of_quantstats_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it has changed a definition since we read it, the page says which is installed."""
    monkeypatch.setattr(daily, "version", lambda _: "9.9.9")
    days = pd.Series([0.01, -0.02] * 10)

    assert () == daily.why_apart((), days)
    told = daily.why_apart(("cagr",), days)
    assert ["cagr", ""] == [name for name, _ in told]
    assert "quantstats 9.9.9 is installed" in told[1][1]


# ── figures ──────────────────────────────────────────────────────────────────────────────────────


def test_figures_are_written_as_png_or_one_pdf_the_same_each_time(run: Run, tmp_path: Path) -> None:
    """Four PNG files or one PDF; equal runs give equal bytes."""
    png = figures.save(run, tmp_path / "a", "png")
    (pdf,) = figures.save(run, tmp_path / "a", "pdf")

    assert [f"figure-{name}.png" for name in figures.FIGURES] == [path.name for path in png]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in png)
    assert pdf.read_bytes().startswith(b"%PDF")
    for form in ("png", "pdf"):
        for first, again in zip(
            figures.save(run, tmp_path / "a", form), figures.save(run, tmp_path / "b", form),
            strict=True,
        ):  # fmt: skip
            assert first.read_bytes() == again.read_bytes(), first.name


def test_the_equity_figure_draws_the_account_and_the_fall(run: Run) -> None:
    """Its lines are the account and the price scaled to the starting capital."""
    above, below = figures.equity_figure(run).axes
    account, held = (line.get_ydata() for line in above.get_lines())

    np.testing.assert_allclose(run.equity["equity"], account)
    np.testing.assert_allclose(10_000 * run.equity["price"] / run.equity["price"].iloc[0], held)
    assert "drawdown, %" == below.get_ylabel()


def test_a_figure_of_an_invalid_run_says_so(tmp_path: Path) -> None:
    """The verdict is part of every figure's title."""
    invalid = write_run(tmp_path / "invalid", replay(24 * 30), (WRONG,))

    for draw in figures.FIGURES.values():
        title = draw(invalid).get_suptitle()
        assert "INVALID: no result" in title


def test_the_equity_figure_draws_the_run_it_is_held_against(
    run: Run, shorter: Run, tmp_path: Path
) -> None:
    """Both accounts on the common days from the same capital, each by its name; saved so too."""
    drawn = figures.equity_figure(run, shorter)
    account, other = drawn.axes[0].get_lines()
    part = run.equity[: len(shorter.equity) + 1]  # one more bar ends in the last common day

    np.testing.assert_allclose(part["equity"], account.get_ydata())
    np.testing.assert_allclose(shorter.equity["equity"], other.get_ydata())
    assert "exp · other-2, after all costs" == other.get_label()
    period = "2023-12-31 to 2024-01-30, 31 days that both runs have"
    assert period == drawn.axes[1].get_xlabel()
    alone, held = (
        figures.save(run, tmp_path / name, "png", against=against)
        for name, against in (("alone", None), ("held", shorter))
    )
    changed = [one.name for one, two in zip(alone, held, strict=True)
               if one.read_bytes() != two.read_bytes()]  # fmt: skip
    assert ["figure-equity.png"] == changed


def test_the_command_draws_the_benchmark_it_names(run: Run, shorter: Run, tmp_path: Path) -> None:
    """`tearsheet RUN --benchmark OTHER --figures png` hands OTHER to the figures too."""
    one, other = (sealed(each, tmp_path) for each in (run, shorter))
    written = reports.redo_tearsheet(one, against=other, figures="png", out=tmp_path / "out")
    expected = figures.save(one, tmp_path / "expected", "png", against=other)

    assert [path.name for path in expected] == [path.name for path in written[1:]]
    for theirs, ours in zip(expected, written[1:], strict=True):
        assert theirs.read_bytes() == ours.read_bytes(), ours.name
    assert "other-2" in written[0].read_text()


def sealed(run: Run, folder: Path) -> Run:
    """Return a sealed copy of a run."""
    place = folder / "exp" / run.path.name
    shutil.copytree(run.path, place)
    runs.write_json(place / "manifest.json", seal.sealed(run.manifest, place))
    return runs.load_run(place)
