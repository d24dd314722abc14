"""The tearsheet: perpwalk's own section first, then quantstats' pages, drawn from daily returns.

quantstats draws, ours are the numbers: what it prints and warns about on today's matplotlib and
pandas is silenced in ``_quiet``, the requests its page would make are taken out, and its six quoted
figures are computed a second time. Of an invalid run its part is a closed appendix.
"""

from __future__ import annotations

import html
import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from perpwalk.reports.benchmark import LEAST_DAYS, Benchmark
from perpwalk.reports.daily import DAYS_PER_YEAR, account_returns
from perpwalk.reports.sheet import Sheet, render_section

_FAVICON = re.compile(r'<link[^>]*href="https?://[^>]*>')
_LINK = re.compile(r'<a href="https?://[^"]*"[^>]*>(.*?)</a>')
_BODY = re.compile(r"(<body[^>]*>)(.*)(</body>)", re.DOTALL)
_VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'
# Its own templates know only Arial; matplotlib says so for every text it draws.
_NOISY_LOGGERS = ("matplotlib.font_manager", "matplotlib.category")


def render_tearsheet(sheet: Sheet) -> str:
    """Return the tearsheet as one self-contained page that loads nothing.

    Fewer than 14 days, an equity that never moved or a ruined account have nothing for quantstats
    to draw: the page says so and holds perpwalk's own part alone.
    """
    reason = _why_not(sheet.drawn)
    if reason is not None:
        where = f"held against {sheet.benchmark}, " if len(sheet.drawn) < len(sheet.equity) else ""
        return _bare_page(sheet, f"{where}{reason}")
    daily = account_returns(sheet.drawn)
    benchmark = sheet.benchmark or Benchmark.holding(sheet.equity)
    try:
        page = _quantstats_page(daily, benchmark, sheet.title)
        section = render_section(sheet, daily, None)
    except (ValueError, IndexError, KeyError, TypeError, ArithmeticError, AttributeError) as error:
        # It cannot digest every series; the numbers are in report.html all the same.
        return _bare_page(sheet, f"quantstats could not draw this run: {error}")
    return _put_together(_without_requests(page), section, closed=sheet.invalid)


def _why_not(equity: pd.DataFrame) -> str | None:
    """Return why there is nothing to draw, or None."""
    if equity.empty:
        return "the replay has no bars"
    returns = account_returns(equity)
    if len(returns) < LEAST_DAYS:
        return f"the replay covers {len(returns)} days; a tearsheet needs at least {LEAST_DAYS}"
    if not np.any(returns.to_numpy()):
        return "the equity never moved: nothing was traded"
    if np.any(equity["equity"].to_numpy() <= 0):
        return "the account went bankrupt: its returns cannot be compounded"
    if int((returns != 0).sum()) < 3 or not (returns < 0).any() or not (returns > 0).any():
        return "the equity moved on too few days, or in one direction only"
    return None


# ── the bridge to quantstats ─────────────────────────────────────────────────────────────────────


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what quantstats 0.0.86 prints and warns on matplotlib 3.11 and pandas 3, no more."""
    loggers = [logging.getLogger(name) for name in _NOISY_LOGGERS]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _quantstats_page(daily: pd.Series, benchmark: Benchmark, title: str) -> str:
    import matplotlib as mpl

    mpl.use("Agg")
    with _quiet(), TemporaryDirectory() as folder, mpl.rc_context():
        import matplotlib.pyplot as plt
        import quantstats

        page = Path(folder) / "page.html"
        quantstats.reports.html(
            daily.rename("Strategy"),
            benchmark=benchmark.daily.reindex(daily.index).rename(str(benchmark)),
            # Both series have the same days; its own matching would cut the days before the first
            # trade off, and with them off the growth per year.
            match_dates=False,
            periods_per_year=DAYS_PER_YEAR,
            benchmark_title=html.escape(str(benchmark)),
            title=html.escape(title),
            output=str(page),
        )
        plt.close("all")
        return page.read_text(encoding="utf-8")


def _without_requests(page: str) -> str:
    """Take out what would be fetched (its icon), links that lead elsewhere, a sign fonts lack."""
    return _LINK.sub(r"\1", _FAVICON.sub("", page)).replace("\N{SMALL PERCENT SIGN}", "")


def _put_together(page: str, section: str, *, closed: bool) -> str:
    def body(match: re.Match[str]) -> str:
        opening, content, end = match.groups()
        if closed:
            content = (
                "<details><summary style='max-width:960px;margin:0 auto;padding:0 16px'>Appendix: "
                f"what quantstats draws of it, not a result</summary>{content}</details>"
            )
        return f"{opening}{section}{content}{end}"

    return _BODY.sub(body, page, count=1)


def _bare_page(sheet: Sheet, reason: str) -> str:
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">{_VIEWPORT}'
        f"<title>{html.escape(sheet.title)}</title></head><body>"
        f"{render_section(sheet, None, reason)}</body></html>\n"
    )
