"""Reports: what a person sees of a run, with nothing claimed that the verdict denies."""

from __future__ import annotations

import io
import json
import logging
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hand_made_book import HOUR, Book
from rich.console import Console

from perpwalk import metrics, reports, runs, trades
from perpwalk import returns as growth
from perpwalk.audit.evidence import gather_evidence
from perpwalk.audit.predictions import audit_predictions
from perpwalk.audit.verdict import audit_document, verdict
from perpwalk.config import Config
from perpwalk.costs import CostSummary
from perpwalk.domain import Finding, Fold, Level, Span
from perpwalk.ledger import Ledger
from perpwalk.reports import charts, table, words
from perpwalk.reports.page import render_page
from perpwalk.reports.tearsheet import daily_returns, render_tearsheet, write_tearsheet
from perpwalk.runs import Run

NASTY = "<script>alert('x')</script>"
FETCH = re.compile(
    r"""(?:src|href|action)\s*=\s*["']?(?:https?:)?//|@import|url\((?!#)""", re.IGNORECASE
)


def replay(n: int, *, seed: int = 5, turn: int = 11) -> Ledger:
    """Return an account that turns round every few hours."""
    rng = np.random.default_rng(seed)
    prices = 100 * np.exp(np.cumsum(rng.normal(0, 0.006, n)))
    book = Book(prices=prices.tolist(), fee=2e-4, slippage=1e-4)
    book.fill(1, 30.0)
    for row in range(turn, n, turn):
        book.fill(row, -60.0 if book.position_before(row) > 0 else 60.0)
    for row in range(8, n, 8):
        book.fund(row, -0.02 * np.sign(book.position_before(row + 1)))
    return book.ledger()


def forecasts(ledger: Ledger) -> pd.DataFrame:
    price = ledger.equity["price"].to_numpy()
    forward = np.diff(np.log(price))
    n = len(forward)
    return pd.DataFrame(
        {
            "close_time": ledger.equity["close_time"][:n],
            "fold": np.arange(n) * 2 // n,
            "p_up": 0.5 + 0.02 * np.random.default_rng(6).normal(size=n),
            "threshold": 0.5,
            "label": pd.array((forward > 0).astype(int), dtype="Int8"),
            "forward_return": forward,
        }
    )


def folds_of(predictions: pd.DataFrame) -> list[Fold]:
    found = []
    for number, part in predictions.groupby("fold"):
        times = part["close_time"]
        span = Span(times.iloc[0], times.iloc[-1] + HOUR, part.index.to_numpy(), len(part))
        found.append(Fold(int(str(number)), span, span, span))
    return found


def write_run(folder: Path, ledger: Ledger, extra: tuple[Finding, ...] = ()) -> Run:
    """Keep a judged run on disk, with a name that would be a script if it were not escaped."""
    predictions = forecasts(ledger)
    folds = folds_of(predictions)
    judged = metrics.metrics_table(predictions, ledger, folds=folds, bar_interval=HOUR, horizon=1)
    book = trades.round_trips(ledger)
    evidence = gather_evidence(predictions, ledger, horizon=1, bar_interval=HOUR, trades=len(book))
    findings = (*audit_predictions(predictions), *evidence.findings, *extra)
    document = audit_document(verdict(findings, evidence), findings, evidence)
    kept = folder / "models" / "fold-000"
    kept.mkdir(parents=True)
    (kept / "features.json").write_text(json.dumps({"selected": ["rsi_14", NASTY]}))
    runs.write_json(folder / "audit.json", runs.plain(document))
    runs.write_csv(folder / "metrics.csv", judged.frame)
    runs.write_parquet(folder / "equity.parquet", ledger.equity)
    for name, frame in (("trades", book), ("orders", ledger.orders), ("funding", ledger.funding)):
        runs.write_csv(folder / f"{name}.csv", frame)
    fold_rows = [{"fold": f.number, "test_start": f.test.start, "purged": 1} for f in folds]
    runs.write_csv(folder / "folds.csv", pd.DataFrame(fold_rows))
    epochs = [{"fold": 0, "epoch": e, "train_loss": 0.69, "validation_auc": None} for e in (1, 2)]
    runs.write_csv(folder / "training.csv", pd.DataFrame(epochs))
    runs.write_text(folder / "config.yaml", Config().to_yaml())
    runs.write_json(folder / "manifest.json", {"status": "finished", "note": NASTY})
    return runs.load_run(folder)


MakeRun = Callable[..., Run]
WRONG = Finding(code="L004", level=Level.ERROR, where=NASTY, message="labels disagree", advice="x")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("honest"), replay(900))


@pytest.fixture(scope="module")
def invalid(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return write_run(tmp_path_factory.mktemp("invalid"), replay(900), (WRONG,))


def overall_text(found: Run) -> str:
    """Return the accuracy of the whole run as the reports show it."""
    whole = found.metrics[found.metrics["period_kind"] == "all"].iloc[0]
    return f"{whole['accuracy']:.3f}"


# ── the table ────────────────────────────────────────────────────────────────────────────────────


def test_the_table_shows_verdict_findings_and_periods(run: Run) -> None:
    """Verdict and reasons first, then the whole and the folds, with intervals."""
    text = table.render_table(run.metrics, run.audit)

    assert text.index("INCONCLUSIVE") < text.index("All test decisions") < text.index("By fold")
    assert "searched for leaks" in text
    assert overall_text(run) in text
    assert re.search(r"0\.\d{3} \.\d{3}–\.\d{3}", text)


def test_every_report_shows_each_cost_apart_and_the_break_even_fee(run: Run) -> None:
    """Table, tearsheet banner and page name fees, slippage, funding and the fee that leaves 0."""
    summary = CostSummary.of(run.equity)
    shown = {
        "table": table.render_table(run.metrics, run.audit, costs=summary),
        "tearsheet": reports.write_tearsheet_of(run).read_text(encoding="utf-8"),
        "page": reports.write_page_of(run).read_text(encoding="utf-8"),
    }

    for report, text in shown.items():
        flat = " ".join(text.split())
        for word in ("fees", "slippage", "funding", "break-even fee"):
            assert word in flat.lower(), (report, word)
        assert words.basis_points(summary.break_even_fee) in flat, report


@pytest.mark.parametrize("width", [80, 100, 120])
def test_the_table_fits_its_width(run: Run, width: int) -> None:
    """No line is longer than the terminal and no figure is cut."""
    text = table.render_table(run.metrics, run.audit, width=width)

    assert max(map(len, text.splitlines())) <= width
    body = text[text.index("All test decisions") :]
    assert "…" not in body


def test_an_invalid_run_shows_its_diagnosis_in_place_of_figures(invalid: Run) -> None:
    """The error stands there; accuracy and Sharpe ratio do not."""
    text = table.render_table(invalid.metrics, invalid.audit)

    assert "INVALID" in text
    assert "labels disagree" in text
    assert overall_text(invalid) not in text
    assert "Sharpe" not in text


def test_plain_text_where_there_is_no_terminal(run: Run) -> None:
    """A pipe gets no colours, whole lines, and no markup read into names."""
    stream = io.StringIO()
    table.show(run, Console(file=stream, width=60))
    text = stream.getvalue()

    assert "\x1b[" not in text
    assert "funding" in text
    assert max(map(len, text.splitlines())) > 80


def test_colours_on_a_terminal(run: Run) -> None:
    """A terminal gets the same table in colour."""
    stream = io.StringIO()
    table.show(run, Console(file=stream, width=110, force_terminal=True, color_system="standard"))

    assert "\x1b[" in stream.getvalue()


# ── the page ─────────────────────────────────────────────────────────────────────────────────────


def test_the_page_holds_every_section_and_loads_nothing(run: Run) -> None:
    """One file: verdict, figures, charts, folds, funding, costs, orders, features, training."""
    page = reports.write_page_of(run).read_text(encoding="utf-8")

    for heading in (
        "Findings", "How sure", "Equity", "Metrics per period", "Gross to net", "Funding",
        "Orders", "Folds", "Features kept", "Training", "To repeat it",
    ):  # fmt: skip
        assert f"<h2>{heading}</h2>" in page, heading
    assert 3 == page.count("<svg")
    assert "break-even fee per side" in page
    assert overall_text(run) in page
    assert FETCH.search(page) is None
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_names_are_escaped(run: Run, invalid: Run) -> None:
    """A feature, a finding or a manifest called <script> shows as text."""
    for one in (run, invalid):
        page = reports.write_page_of(one).read_text(encoding="utf-8")
        assert NASTY not in page
        assert "&lt;script&gt;alert(" in page
        assert "<script" not in page


def test_the_page_of_an_invalid_run_leads_with_the_diagnosis(invalid: Run) -> None:
    """No headline cards; the unjudged figures stand at the end and are called no result."""
    page = reports.write_page_of(invalid).read_text(encoding="utf-8")

    assert 'class="cards"' not in page
    assert "its figures are no result" in page
    assert (
        page.index("labels disagree")
        < page.index("Not a result")
        < page.index("Metrics per period")
    )


def test_the_page_of_a_run_that_never_traded(tmp_path: Path) -> None:
    """Undefined figures are dashes, empty tables say so, and nothing breaks."""
    prices = 100 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, 500)))
    quiet = write_run(tmp_path / "quiet", Book(prices=prices.tolist()).ledger())
    page = render_page(reports.page_data(quiet))

    assert words.UNDEFINED in page
    assert "Nothing to show." in page
    shown = re.findall(r"<t[dh]>([^<]*)</t[dh]>|<b>([^<]*)</b>", page)
    told = {text.strip().lower() for pair in shown for text in pair}
    assert set() == told & {"nan", "none", "nat", "inf", "<na>", "-inf"}


def test_equal_runs_have_equal_pages(run: Run) -> None:
    """The page is a function of the run's files."""
    assert render_page(reports.page_data(run)) == render_page(reports.page_data(run))


# ── charts and words ─────────────────────────────────────────────────────────────────────────────


def test_thinning_keeps_the_extremes() -> None:
    """However long the curve, its highest and lowest point are drawn."""
    values = np.random.default_rng(2).normal(size=50_000)
    kept = charts._thinned(values)

    assert len(kept) < 2000
    assert values.max() in values[kept]
    assert values.min() in values[kept]
    assert 0 == kept[0]
    assert len(values) - 1 == kept[-1]


def test_a_flat_curve_and_too_short_ones_draw() -> None:
    """A constant has a scale, one point has no chart, folds without an AUC stay gaps."""
    stamps = pd.date_range("2024-01-01", periods=3, freq="h", tz="UTC")
    flat = charts.Line("<x>", "strategy", np.ones(3))
    chart = charts.line_chart(stamps, [flat], title="A & B")

    assert "polyline" in chart
    assert "&lt;x&gt;" in chart
    assert "A &amp; B" in chart
    assert "" == charts.line_chart(stamps[:1], [flat], title="t")
    dots = charts.interval_chart(
        ["0", "1"], [0.55, None], [0.5, None], [0.6, None], title="t", reference=0.5
    )
    assert 1 == dots.count("<circle")
    assert "" == charts.interval_chart(["0"], [None], [None], [None], title="t", reference=0.5)


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (-3.7, 12.2), (0.48, 0.61), (1e-9, 3e-9), (-5e5, 2e6)]
)
def test_ticks_are_round_and_few(low: float, high: float) -> None:
    """Between 2 and 11 ticks, all within the range."""
    found = charts.ticks(low, high)

    assert 2 <= len(found) <= 11
    assert all(low - 1e-9 * (high - low) <= tick <= high + 1e-9 * (high - low) for tick in found)


def test_undefined_values_are_dashes() -> None:
    """None, NaN and NA look the same everywhere, and zero is a value."""
    for form in (words.decimal, words.percent, words.money, words.count, words.basis_points):
        for value in (None, np.nan, pd.NA):
            assert words.UNDEFINED == form(value), form
        assert words.UNDEFINED != form(0.0)
    assert "0.00" == words.money(-0.0)
    assert "-0.20 to 2.53" == words.interval(-0.2, 2.53, 2)


# ── the tearsheet ────────────────────────────────────────────────────────────────────────────────


def test_daily_returns_compound_to_the_account(run: Run) -> None:
    """A bar that closes at midnight ends its day; the product of days is the whole."""
    book = run.equity
    stamps = pd.DatetimeIndex(book["close_time"])
    daily = daily_returns(stamps, book["equity"], 10_000.0)

    assert daily.index.tz is None
    assert book["equity"].iloc[-1] / 10_000 == pytest.approx(float(np.prod(1 + daily)))
    midnight = book.loc[stamps == pd.Timestamp("2024-01-02", tz="UTC"), "equity"].iloc[0]
    first_two = float(np.prod(1 + daily[: pd.Timestamp("2024-01-01")]))
    assert midnight / 10_000 == pytest.approx(first_two)


def test_quantstats_and_our_metrics_agree_on_daily_returns() -> None:
    """CAGR, Sharpe, drawdown, volatility and Sortino to 1e-6; its Calmar does not (252 days)."""
    import quantstats

    book = replay(24 * 200).equity
    daily = daily_returns(pd.DatetimeIndex(book["close_time"]), book["equity"], 10_000.0)
    values = daily.to_numpy()
    sharpe = growth.annual_sharpe(values, 365)
    ours = growth.cagr(growth.total_return(values), len(values), 365)
    deepest = growth.max_drawdown(values)
    assert sharpe is not None

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stats = quantstats.stats
        assert stats.cagr(daily, periods=365) == pytest.approx(ours, abs=1e-6)
        assert stats.sharpe(daily, periods=365) == pytest.approx(sharpe[0], abs=1e-6)
        assert stats.max_drawdown(daily) == pytest.approx(deepest, abs=1e-6)
        assert stats.volatility(daily, periods=365) == pytest.approx(
            growth.volatility(values, 365), abs=1e-6
        )
        assert stats.sortino(daily, periods=365) == pytest.approx(
            growth.sortino(values, 365), abs=1e-6
        )
        assert stats.calmar(daily) != pytest.approx(growth.calmar(ours, deepest), rel=0.01)
    assert "Calmar" in render_tearsheet(book, title="t", banner=["v"])


def test_the_tearsheet_is_offline_quiet_and_carries_the_verdict(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is fetched, printed, logged or warned of; verdict on top, names as text."""
    level = logging.getLogger("matplotlib.font_manager").level
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        page = render_tearsheet(replay(24 * 30).equity, title=NASTY, banner=["INVALID", NASTY])
    printed = capsys.readouterr()

    assert ("", "") == (printed.out, printed.err)
    assert [] == [r for r in caplog.records if r.name.startswith("matplotlib")]
    assert level == logging.getLogger("matplotlib.font_manager").level
    assert FETCH.search(page) is None
    assert page.index("INVALID") < page.index("Key Performance Metrics")
    assert "Periods/Year: 365" in page
    assert NASTY not in page
    assert "&lt;script&gt;alert(" in page


def test_the_tearsheet_of_a_run_leads_with_its_verdict(tmp_path: Path) -> None:
    """The banner holds the verdict, its reasons, and that an invalid run's figures are none."""
    short = write_run(tmp_path / "short", replay(24 * 9), (WRONG,))
    page = reports.write_tearsheet_of(short).read_text(encoding="utf-8")

    assert "Verdict: INVALID" in page
    assert "no result" in page
    assert NASTY not in page
    assert "a tearsheet needs at least 14" in page


@pytest.mark.parametrize(
    ("ledger", "reason"),
    [
        (Book(prices=[]).ledger(), "no bars"),
        (replay(24 * 3), "needs at least 14"),
        (Book(prices=[100.0] * 24 * 20).ledger(), "nothing was traded"),
    ],
    ids=["empty", "three days", "flat"],
)
def test_a_run_without_a_tearsheet_says_why(tmp_path: Path, ledger: Ledger, reason: str) -> None:
    """Too short or flat: a small page with verdict and reason, and no crash."""
    page = write_tearsheet(
        ledger.equity, tmp_path / "t.html", title="t", banner=["Verdict: INVALID"]
    ).read_text(encoding="utf-8")

    assert "There is no tearsheet" in page
    assert reason in page
    assert "Verdict: INVALID" in page


def test_a_bankrupt_run_and_one_sided_days_have_no_tearsheet() -> None:
    """Returns after ruin cannot be compounded; a curve that never falls has no drawdowns."""
    ruin = Book(prices=np.linspace(100, 40, 24 * 20).tolist(), cash=50.0)
    ruin.fill(1, 1.0)
    rise = Book(prices=np.linspace(100, 140, 24 * 20).tolist())
    rise.fill(1, 1.0)

    assert "bankrupt" in render_tearsheet(ruin.ledger().equity, title="t")
    assert "one direction only" in render_tearsheet(rise.ledger().equity, title="t")
