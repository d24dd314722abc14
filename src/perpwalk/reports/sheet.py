"""perpwalk's own part of a tearsheet: what quantstats lacks, and what its figures rest on.

Verdict and findings, costs apart with the break-even fee, exposure and turnover, direction per
period with intervals, and the six quoted figures three ways: drawn by quantstats from days,
computed by perpwalk from the same days, and computed from every bar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from perpwalk.costs import CostSummary, equity_before
from perpwalk.reports import words
from perpwalk.reports.benchmark import Benchmark
from perpwalk.reports.daily import (
    NAMES,
    Figures,
    day_of,
    our_figures,
    parted,
    quantstats_figures,
    why_apart,
)
from perpwalk.reports.seeds import seeds_of
from perpwalk.returns import bars_per_year, equity_returns
from perpwalk.run_files import confidence_of

TEMPLATE = "sheet.html.j2"
KINDS = ("quarter", "month", "year", "fold")
MOST_PERIODS = 24
LABELS = {"cagr": "CAGR", "sharpe": "Sharpe", "sortino": "Sortino",
          "max_drawdown": "Maximum drawdown", "calmar": "Calmar",
          "volatility": "Volatility"}  # fmt: skip
IN_PERCENT = ("cagr", "max_drawdown", "volatility")


@dataclass(frozen=True, eq=False, kw_only=True)
class Sheet:
    """What a tearsheet shows: an account, its judgement, and what it is held against.

    Attributes
    ----------
    equity
        A ledger's equity table.
    audit
        ``audit.json``: verdict and findings.
    metrics
        The metrics table, one row per period.
    benchmark
        None where the account has no bar.
    """

    title: str
    equity: pd.DataFrame
    audit: Mapping[str, Any]
    metrics: pd.DataFrame
    benchmark: Benchmark | None = None

    @cached_property
    def drawn(self) -> pd.DataFrame:
        """The part of the account that is held against the benchmark: the days both have."""
        return self.equity if self.benchmark is None else self.benchmark.shared(self.equity)

    @property
    def overall(self) -> str:
        """The verdict's word."""
        return str(self.audit["verdict"]["overall"])

    @property
    def invalid(self) -> bool:
        """Whether its figures are no result."""
        return self.overall == "invalid"


def render_section(sheet: Sheet, daily: pd.Series | None, missing: str | None) -> str:
    """Return the section as HTML.

    Parameters
    ----------
    daily
        The account's daily returns; None where quantstats draws nothing.
    missing
        Why quantstats draws nothing, or None.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    findings = list(sheet.audit["findings"])
    level = words.level(confidence_of(sheet.audit))
    context = {
        "title": sheet.title,
        "verdict": sheet.audit["verdict"],
        "accepted": words.accepted(sheet.audit["verdict"]),
        "invalid": sheet.invalid,
        "reasons": words.reasons(findings),
        "problems": [f for f in findings if f["level"] in ("error", "warn")],
        "missing": missing,
        "figures": None if daily is None else _figures(sheet, daily),
        "costs": [] if sheet.equity.empty else cost_rows(sheet.equity),
        "levels": None if sheet.equity.empty else words.cost_levels(CostSummary.of(sheet.equity)),
        "seeds": seeds_of(sheet.audit),
        "needed": words.break_even(sheet.audit.get("evidence", {})),
        "skill": words.skill(sheet.audit.get("evidence", {})),
        "facts": _facts(sheet.metrics, level),
        "level": level,
        "tables": [
            table
            for table in (_contracts(sheet.metrics), _periods(sheet.metrics))
            if table is not None
        ],
        "benchmark": None if sheet.benchmark is None else str(sheet.benchmark),
        "periods": _two_periods(sheet),
    }
    return environment.get_template(TEMPLATE).render(**context)


def _two_periods(sheet: Sheet) -> dict[str, str] | None:
    """Return the whole run's days and those drawn, where a benchmark has only a part of them."""
    if sheet.benchmark is None or not sheet.benchmark.left_out:
        return None
    return {
        name: words.days(pd.DatetimeIndex(day_of(part["close_time"])))
        for name, part in (("whole", sheet.equity), ("shared", sheet.drawn))
    } | {"other": sheet.benchmark.name}


# ── the six figures ──────────────────────────────────────────────────────────────────────────────


def _figures(sheet: Sheet, daily: pd.Series) -> dict[str, Any]:
    theirs, ours = quantstats_figures(daily), our_figures(daily.to_numpy())
    by_bar = _by_bar(sheet.drawn)
    apart = why_apart(parted(ours, theirs), daily)
    rows = [
        (LABELS[name], *(_shown(name, getattr(each, name)) for each in (theirs, ours, by_bar)))
        for name in NAMES
    ]
    return {
        "rows": rows,
        "apart": [(LABELS.get(name), why) for name, why in apart],
        "days": len(daily),
    }


def _by_bar(equity: pd.DataFrame) -> Figures:
    values = equity["equity"].to_numpy(dtype=float)
    interval = pd.Timedelta(equity["close_time"].diff().min())
    returns = equity_returns(equity_before(equity), values)
    return our_figures(returns, bars_per_year(interval))


def _shown(name: str, value: float | None) -> str:
    return words.percent(value, 2) if name in IN_PERCENT else words.decimal(value, 3)


# ── costs, exposure, periods ─────────────────────────────────────────────────────────────────────


def cost_rows(equity: pd.DataFrame) -> list[tuple[str, str]]:
    """Return the way from gross to net, each cost apart, and the fee at which nothing is left."""
    costs = CostSummary.of(equity)
    rows = [
        ("gross (price moves)", words.money(costs.gross)),
        ("fees", words.money(-costs.fees)),
        ("slippage", words.money(-costs.slippage)),
        ("funding", words.money(costs.funding)),
        ("liquidation", words.money(-costs.liquidation)),
        ("net", words.money(costs.net)),
        ("traded notional", words.money(costs.traded_notional)),
        ("fee paid per side", words.basis_points(costs.fee_paid)),
        ("break-even fee per side", words.basis_points(costs.break_even_fee)),
    ]
    return [row for row in rows if row[0] != "liquidation" or costs.liquidation != 0]


def _facts(metrics: pd.DataFrame, level: str) -> list[tuple[str, str]]:
    whole = metrics[metrics["period_kind"] == "all"]
    if whole.empty:
        return []
    row = whole.iloc[0].to_dict()
    return [
        ("exposure (mean, of equity)", words.percent(row["exposure"])),
        ("turnover (times equity a day)", words.decimal(row["turnover"], 2)),
        ("trades", words.count(row["trades"])),
        ("win rate", words.percent(row["win_rate"])),
        ("directional accuracy", _bounded(row, "accuracy")),
        ("majority class alone", words.decimal(row["majority_accuracy"])),
        ("AUC", _bounded(row, "auc")),
        (f"Sharpe, {level} interval", _bounded(row, "sharpe", 2)),
    ]


def _bounded(row: Mapping[Any, Any], name: str, digits: int = 3) -> str:
    between = words.interval(row[f"{name}_lo"], row[f"{name}_hi"], digits)
    value = words.decimal(row[name], digits)
    return f"{value} ({between})" if between else value


def _contracts(metrics: pd.DataFrame) -> dict[str, Any] | None:
    """Return direction and return of each of several contracts, then of all; None of one alone."""
    if not (metrics["period_kind"] == "symbol").any():
        return None
    return {
        "kind": "contract",
        "rows": _table(metrics[metrics["period_kind"].isin(["symbol", "all"])]),
        "note": "return is what a contract's trades added to the account's, and sums to it; hold "
        "is its own price, of all of them that of equal parts. report.html shows each one alone.",
    }


def _periods(metrics: pd.DataFrame) -> dict[str, Any] | None:
    """Return direction and return per period, of the first kind that has several and fits."""
    for kind in KINDS:
        rows = metrics[metrics["period_kind"] == kind]
        if 1 < len(rows) <= MOST_PERIODS:
            break
    else:
        return None
    return {"kind": kind, "rows": _table(rows), "note": None}


def _table(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    return [
        (
            str(row["period"]), words.count(row["n"]), _bounded(row, "accuracy"),
            _bounded(row, "auc"), words.percent(row["total_return"]),
            words.percent(row["benchmark_return"]), words.count(row["trades"]),
            words.money(-row["fees"]),
            words.money(row["funding"]),
        )
        for row in rows.to_dict(orient="records")
    ]  # fmt: skip
