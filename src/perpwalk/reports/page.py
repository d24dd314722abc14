"""``report.html``: one plain page of tables and a few charts, readable offline and on a phone.

Everything on it comes from the run's own files; text is escaped by the template.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from perpwalk import returns as growth
from perpwalk.costs import CostSummary, cost_multiples, equity_before, share_of_best
from perpwalk.reports import words
from perpwalk.reports.charts import Line, interval_chart, line_chart

TEMPLATE = "page.html.j2"
Row = Mapping[str, Any]
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


@dataclass(frozen=True, eq=False, kw_only=True)
class PageData:
    """What the page shows: the tables of a run as its files hold them.

    ``selected`` maps a fold's number to the names of the features it kept.
    """

    title: str
    audit: Mapping[str, Any]
    metrics: pd.DataFrame
    folds: pd.DataFrame
    training: pd.DataFrame
    equity: pd.DataFrame
    trades: pd.DataFrame
    orders: pd.DataFrame
    funding: pd.DataFrame
    config_text: str
    manifest: Mapping[str, Any]
    selected: Mapping[int, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Cells:
    """A table ready to print: header, rows of text, and which columns are numbers."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def write_page(data: PageData, path: Path) -> Path:
    """Write ``path`` and return it."""
    path.write_text(render_page(data), encoding="utf-8")
    return path


def render_page(data: PageData) -> str:
    """Return the page as text."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["stamp"] = words.stamp
    return environment.get_template(TEMPLATE).render(**_context(data))


def _context(data: PageData) -> dict[str, Any]:
    findings: list[Row] = list(data.audit["findings"])
    invalid = data.audit["verdict"]["overall"] == "invalid"
    return {
        "title": data.title,
        "verdict": data.audit["verdict"],
        "invalid": invalid,
        "reasons": [
            *([] if (word := words.accepted(data.audit["verdict"])) is None else [word]),
            *_reasons(data.audit["verdict"]["overall"], findings),
        ],
        "problems": [f for f in findings if f["level"] in ("error", "warn")],
        "notes": [f for f in findings if f["level"] == "info" and f["code"] != "R101"],
        "evidence": _evidence(data.audit.get("evidence", {})),
        "cards": _cards(data.metrics),
        "charts": _charts(data),
        "periods": _periods(data.metrics),
        "folds": _plain_table(data.folds),
        "costs": _costs(data.equity, data.trades, data.audit.get("evidence", {})),
        "multiples": _multiples(data.equity),
        "funding": _funding(data.funding),
        "orders": _orders(data.orders),
        "features": _features(data.selected),
        "training": _plain_table(data.training, digits=5),
        "config_text": data.config_text,
        "manifest_text": json.dumps(data.manifest, indent=2, ensure_ascii=False, default=str),
    }


def _reasons(overall: str, findings: Sequence[Row]) -> list[str]:
    """Return why the verdict is what it is; an alarm's reasons are the findings below it."""
    if overall in ("invalid", "suspect"):
        return []
    return [f["message"].partition(": ")[2] for f in findings if f["code"] == "R101"]


# ── headline ─────────────────────────────────────────────────────────────────────────────────────


def _cards(metrics: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return name, value and small print of the headline figures."""
    whole = metrics[metrics["period_kind"] == "all"]
    if whole.empty:
        return []
    row = whole.iloc[0]
    majority = words.decimal(row["majority_accuracy"])
    return [
        ("accuracy", words.decimal(row["accuracy"]),
         f"{_bounds(row, 'accuracy')} · majority {majority}"),
        ("AUC", words.decimal(row["auc"]), _bounds(row, "auc")),
        ("net return", words.percent(row["total_return"]),
         f"holding {words.percent(row['benchmark_return'])}"),
        ("Sharpe ratio", words.decimal(row["sharpe"], 2), _bounds(row, "sharpe", 2)),
        ("deepest drawdown", words.percent(row["max_drawdown"]), ""),
        ("trades", words.count(row["trades"]), f"won {words.percent(row['win_rate'])}"),
    ]  # fmt: skip


def _bounds(row: pd.Series, name: str, digits: int = 3) -> str:
    return words.interval(row[f"{name}_lo"], row[f"{name}_hi"], digits)


def _evidence(evidence: Mapping[str, Row]) -> Cells:
    scale = {
        "mean_return": (1e4, "bp a bar"), "break_even_fee": (1e4, "bp a side"),
        "fee_paid": (1e4, "bp a side"),
    }  # fmt: skip
    rows = []
    for name, item in evidence.items():
        factor, unit = scale.get(name, (1.0, ""))
        value, low, high = (
            None if item[key] is None else factor * item[key] for key in ("value", "lo", "hi")
        )
        rows.append(
            (
                f"{name.replace('_', ' ')}{', ' + unit if unit else ''}",
                words.decimal(value, 4),
                words.interval(low, high, 4) or str(item["reason"] or ""),
                words.count(item["n"]),
                words.count(item["n_eff"]),
                str(item["method"]),
            )
        )
    return Cells(("figure", "value", "interval", "n", "independent", "method"), tuple(rows))


# ── charts ───────────────────────────────────────────────────────────────────────────────────────


def _charts(data: PageData) -> list[Markup]:
    if len(data.equity) < 2:
        return []
    stamps = pd.DatetimeIndex(data.equity["close_time"])
    equity = data.equity["equity"].to_numpy(dtype=float)
    price = data.equity["price"].to_numpy(dtype=float)
    start = equity_before(data.equity)
    falls = growth.drawdowns(growth.equity_returns(start, equity))
    folds = data.metrics[data.metrics["period_kind"] == "fold"]
    return [
        line_chart(
            stamps,
            [Line("strategy", "strategy", equity / start - 1),
             Line("buy and hold", "hold", price / price[0] - 1)],
            title="Net return of the account",
            percent=True,
        ),
        line_chart(
            stamps, [Line("drawdown", "bad", falls, fill=True)], title="Drawdown", percent=True
        ),
        interval_chart(
            [str(name).removeprefix("fold-") for name in folds["period"]],
            *(_optional(folds[name]) for name in ("auc", "auc_lo", "auc_hi")),
            title="AUC per fold with its interval; dashed: knows nothing",
            reference=0.5,
        ),
    ]  # fmt: skip


def _optional(values: pd.Series) -> list[float | None]:
    return [float(v) if words.known(v) else None for v in values]


# ── tables ───────────────────────────────────────────────────────────────────────────────────────

_SHOWN: Mapping[str, Callable[[Any], str]] = {
    "n": words.count,
    "up_rate": words.decimal,
    "accuracy": words.decimal,
    "majority_accuracy": words.decimal,
    "auc": words.decimal,
    "brier": functools.partial(words.decimal, digits=4),
    "total_return": words.percent,
    "benchmark_return": words.percent,
    "sharpe": functools.partial(words.decimal, digits=2),
    "sortino": functools.partial(words.decimal, digits=2),
    "max_drawdown": words.percent,
    "exposure": functools.partial(words.decimal, digits=2),
    "turnover": functools.partial(words.decimal, digits=2),
    "trades": words.count,
    "win_rate": words.percent,
    "fees": words.money,
    "slippage": words.money,
    "funding": words.money,
}


def _periods(metrics: pd.DataFrame) -> list[tuple[str, Cells]]:
    found = []
    for kind in ("all", "year", "quarter", "month", "fold"):
        rows = metrics[metrics["period_kind"] == kind]
        if not rows.empty:
            cells = [_period_row(row) for row in rows.to_dict(orient="records")]
            header = ("period", *(name.replace("_", " ") for name in _SHOWN))
            found.append((kind, Cells(header, tuple(cells))))
    return found


def _period_row(row: Mapping[Any, Any]) -> tuple[str, ...]:
    shown = [str(row["period"])]
    for name, form in _SHOWN.items():
        text = form(row[name])
        if name in ("accuracy", "auc", "sharpe") and words.known(row[f"{name}_lo"]):
            digits = 1 if name == "sharpe" else 3
            text += f" [{words.interval(row[f'{name}_lo'], row[f'{name}_hi'], digits)}]"
        shown.append(text)
    return tuple(shown)


def _plain_table(frame: pd.DataFrame, digits: int = 4) -> Cells:
    def form(value: Any) -> str:
        if not words.known(value):
            return words.UNDEFINED
        if isinstance(value, pd.Timestamp) or (
            isinstance(value, str) and _STAMP.fullmatch(value) is not None
        ):
            return words.stamp(value)
        if isinstance(value, float | np.floating):
            return f"{value:,.0f}" if float(value).is_integer() else f"{value:.{digits}g}"
        return str(value)

    header = tuple(str(name).replace("_", " ") for name in frame.columns)
    rows = tuple(tuple(form(v) for v in row) for row in frame.itertuples(index=False))
    return Cells(header, rows)


def _costs(equity: pd.DataFrame, trades: pd.DataFrame, evidence: Mapping[str, Row]) -> Cells:
    if equity.empty:
        return Cells((), ())
    total = CostSummary.of(equity)
    paid = total.fees / total.traded_notional if total.traded_notional else None
    best = share_of_best(trades["net_pnl"].to_numpy(dtype=float))
    needed = evidence.get("break_even_accuracy", {}).get("value")
    rows = (
        ("gross PnL at reference prices", words.money(total.gross)),
        ("fees", words.money(-total.fees)),
        ("slippage", words.money(-total.slippage)),
        ("funding received", words.money(total.funding)),
        ("liquidation costs", words.money(-total.liquidation)),
        ("net PnL", words.money(total.net)),
        ("traded notional", words.money(total.traded_notional)),
        ("fee paid per side", words.basis_points(paid)),
        ("break-even fee per side", words.basis_points(total.break_even_fee)),
        (
            "break-even accuracy",
            words.decimal(needed),
        ),
        ("share of profit from the five best trades", words.percent(best)),
    )
    return Cells(("", "quote currency"), rows)


def _multiples(equity: pd.DataFrame) -> Cells:
    if equity.empty:
        return Cells((), ())
    table = cost_multiples(CostSummary.of(equity))
    rows = tuple(
        (f"{m:.0f}×", words.money(-costs), words.money(net), words.percent(total))
        for m, costs, net, total in table.itertuples(index=False)
    )
    return Cells(("costs", "fees and slippage", "net PnL", "return"), rows)


def _funding(funding: pd.DataFrame) -> Cells:
    held = funding[funding["position"] != 0]
    assumed = int(funding["assumed"].astype(bool).sum())
    paid = held["payment"]
    rows = (
        ("settlements in the replay", words.count(len(funding))),
        ("of these with a published rate", words.count(len(funding) - assumed)),
        ("taken as 0 because unknown", words.count(assumed)),
        ("held through", words.count(len(held))),
        ("with a mark price of their own", words.count(int(held["mark_known"].sum()))),
        ("received", words.money(float(paid[paid > 0].sum()))),
        ("paid", words.money(float(paid[paid < 0].sum()))),
    )
    return Cells(("", "funding"), rows)


def _orders(orders: pd.DataFrame) -> Cells:
    told = orders["reason"].astype(object)  # all empty, it is read back as NaN floats
    reasons = told.where(told.notna(), "").astype(str)
    counted = orders.assign(reason=reasons).value_counts(["status", "reason"], sort=False)
    rows = tuple(
        (*(str(part) for part in key), words.count(int(number)))
        for key, number in counted.sort_index().items()
        if isinstance(key, tuple)
    )
    return Cells(("status", "reason", "orders"), rows)


def _features(selected: Mapping[int, Sequence[str]]) -> Cells:
    rows = tuple((f"{fold:03d}", ", ".join(names)) for fold, names in sorted(selected.items()))
    return Cells(("fold", "features kept"), rows)
