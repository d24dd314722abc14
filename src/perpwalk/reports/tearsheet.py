"""The quantstats tearsheet: it draws, ours are the numbers.

quantstats wants daily returns without a time zone; the bridge compounds them from the bars' equity.
What it prints and warns about on today's matplotlib and pandas is silenced in ``_quiet``, the
requests its page would make are taken out, and the verdict stands on top.
"""

from __future__ import annotations

import html
import io
import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd

from perpwalk.costs import equity_before

DAYS_PER_YEAR = 365
LEAST_DAYS = 14
_FAVICON = re.compile(r'<link[^>]*href="https?://[^>]*>')
_LINK = re.compile(r'<a href="https?://[^"]*"[^>]*>(.*?)</a>')
_BODY = re.compile(r"<body[^>]*>")
# Its own templates know only Arial; matplotlib says so for every text it draws.
_NOISY_LOGGERS = ("matplotlib.font_manager", "matplotlib.category")


def daily_returns(stamps: pd.DatetimeIndex, values: pd.Series, before: float) -> pd.Series:
    """Compound a curve of bar closes into one simple return per UTC day, tz-naive.

    A bar that closes at midnight belongs to the day that ends there. Days without a bar return 0.

    Parameters
    ----------
    stamps
        Close times.
    values
        Equity or price at each close.
    before
        Value before the first bar.
    """
    just_before = stamps.tz_convert(None) - pd.Timedelta(1, "ns")
    last = pd.Series(values.to_numpy(dtype=float), index=just_before).resample("D").last().ffill()
    previous = last.shift(1, fill_value=before)
    return (last / previous - 1).where(previous > 0, 0.0)


def write_tearsheet(
    equity: pd.DataFrame,
    path: Path,
    *,
    title: str,
    benchmark: str = "Buy and hold",
    banner: Sequence[str] = (),
) -> Path:
    """Write ``path``, a self-contained page that loads nothing; return it.

    Parameters
    ----------
    equity
        A ledger's equity table; its ``price`` is the benchmark.
    banner
        Lines to show on top: the verdict and why.

    Notes
    -----
    Fewer than 14 days, or an equity that never moved, have no tearsheet: the page says so.
    """
    path.write_text(render_tearsheet(equity, title=title, benchmark=benchmark, banner=banner),
                    encoding="utf-8")  # fmt: skip
    return path


def render_tearsheet(
    equity: pd.DataFrame, *, title: str, benchmark: str = "Buy and hold", banner: Sequence[str] = ()
) -> str:
    """Return the page of ``write_tearsheet`` as text."""
    reason = _why_not(equity)
    if reason is not None:
        return _bare_page(title, banner, reason)
    stamps = pd.DatetimeIndex(equity["close_time"])
    strategy = daily_returns(stamps, equity["equity"], equity_before(equity))
    held = daily_returns(stamps, equity["price"], float(equity["price"].iloc[0]))
    try:
        page = _quantstats_page(strategy, held, title, benchmark)
    except (ValueError, IndexError, KeyError, TypeError, ArithmeticError, AttributeError) as error:
        # It cannot digest every series; the numbers are in report.html all the same.
        return _bare_page(title, banner, f"quantstats could not draw this run: {error}")
    return _with_banner(_without_requests(page), banner)


def _why_not(equity: pd.DataFrame) -> str | None:
    """Return why there is nothing to draw, or None."""
    if equity.empty:
        return "the replay has no bars"
    stamps = pd.DatetimeIndex(equity["close_time"])
    returns = daily_returns(stamps, equity["equity"], equity_before(equity))
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


def _quantstats_page(
    strategy: pd.Series, benchmark: pd.Series, title: str, benchmark_title: str
) -> str:
    import matplotlib as mpl

    mpl.use("Agg")
    with _quiet(), TemporaryDirectory() as folder, mpl.rc_context():
        import matplotlib.pyplot as plt
        import quantstats

        page = Path(folder) / "page.html"
        quantstats.reports.html(
            strategy.rename("Strategy"),
            benchmark=benchmark.rename(benchmark_title),
            periods_per_year=DAYS_PER_YEAR,
            benchmark_title=html.escape(benchmark_title),
            title=html.escape(title),
            output=str(page),
        )
        plt.close("all")
        return page.read_text(encoding="utf-8")


def _without_requests(page: str) -> str:
    """Take out what would be fetched (its icon), and links that lead elsewhere."""
    return _LINK.sub(r"\1", _FAVICON.sub("", page))


# ── our own words on the page ────────────────────────────────────────────────────────────────────

_NOTE = (
    "Drawn by quantstats from daily returns, 365 days a year. Where a number here differs from "
    "report.html, report.html holds: it is computed from every bar, and quantstats annualises "
    "its Calmar ratio and some rolling figures with 252 days."
)
_BANNER_STYLE = (
    "font:14px/1.5 system-ui,sans-serif;border-left:6px solid #b45309;background:#fff7ed;"
    "color:#1f2937;padding:10px 16px;margin:0 auto 20px;max-width:960px"
)


def _banner(lines: Sequence[str]) -> str:
    told = "".join(f"<div>{html.escape(line)}</div>" for line in lines)
    return f'<div id="perpwalk-verdict" style="{_BANNER_STYLE}">{told}<div>{_NOTE}</div></div>'


def _with_banner(page: str, lines: Sequence[str]) -> str:
    return _BODY.sub(lambda body: body[0] + _banner(lines), page, count=1)


def _bare_page(title: str, lines: Sequence[str], reason: str) -> str:
    told = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>:root{{color-scheme:light dark}}"
        "body{font:16px/1.5 system-ui,sans-serif;max-width:60ch;margin:3rem auto;padding:0 1rem}"
        f"</style></head><body><h1>{html.escape(title)}</h1>{told}"
        f"<p>There is no tearsheet: {html.escape(reason)}.</p></body></html>\n"
    )
