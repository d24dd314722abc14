"""The page of one run: what it says in words and tables, and the data of its charts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from perpwalk.costs import CostSummary, cost_multiples, share_of_best
from perpwalk.reports import words
from perpwalk.reports.pages import contracts
from perpwalk.reports.pages.assembly import render
from perpwalk.reports.pages.curves import MOST_FOLDS, forecast_charts
from perpwalk.reports.pages.heat import calendars, period_tables
from perpwalk.reports.pages.over_time import run_over_time, stretch_of
from perpwalk.reports.pages.packing import Pack, Packed
from perpwalk.reports.pages.parts import (
    Card,
    Cells,
    bounded_card,
    close_percent,
    direction_cards,
    finding_lists,
    heading,
)
from perpwalk.reports.placebo_table import HEADER as PLACEBO_HEADER
from perpwalk.reports.placebo_table import NOTE as PLACEBO_NOTE
from perpwalk.reports.placebo_table import rows_of
from perpwalk.reports.seeds import HEADER as SEED_HEADER
from perpwalk.reports.seeds import seeds_of

TEMPLATE = "run.html.j2"
MOST_ROWS = 100_000  # of a table; the page says where the others are
Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class PageData:
    """What the page shows: the tables of a run as its files hold them.

    Attributes
    ----------
    selected
        A fold's name → names of the features it kept.
    candidates
        How many features there were to choose from; None where nobody says.
    extras
        Title → table, for what only some runs have.
    level
        Confidence of the intervals.
    equity_by_contract, metrics_by_contract
        Bars and periods of each of several contracts; None of one, or where a run kept none.
    """

    title: str
    audit: Mapping[str, Any]
    metrics: pd.DataFrame
    folds: pd.DataFrame
    training: pd.DataFrame
    predictions: pd.DataFrame
    equity: pd.DataFrame
    trades: pd.DataFrame
    orders: pd.DataFrame
    funding: pd.DataFrame
    config_text: str
    manifest: Mapping[str, Any]
    selected: Mapping[str, Sequence[str]] = field(default_factory=dict)
    candidates: int | None = None
    extras: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    level: float
    equity_by_contract: pd.DataFrame | None = None
    metrics_by_contract: pd.DataFrame | None = None

    @property
    def contracts(self) -> tuple[str, ...]:
        """The contracts of the account; none where there is but one."""
        return contracts.contracts_of(self.equity_by_contract, self.predictions, self.trades)


def render_page(data: PageData) -> str:
    """Return the page of a run as text."""
    return render(TEMPLATE, _context(data), _document(data), chooser=bool(data.contracts))


def _context(data: PageData) -> dict[str, Any]:
    verdict = data.audit["verdict"]
    findings: list[Row] = list(data.audit["findings"])
    return {
        "title": data.title,
        "verdict": verdict,
        "heading": heading(verdict["overall"]),
        "invalid": verdict["overall"] == "invalid",
        "reasons": _reasons(verdict, findings),
        "facts": _facts(data),
        "found": finding_lists(findings),
        "evidence": _evidence(data.audit.get("evidence", {})),
        "cards": _cards(data.metrics),
        "periods": period_tables(data.metrics),
        "calendars": calendars(data.metrics),
        "costs": _costs(data.equity, data.trades, data.audit.get("evidence", {})),
        "multiples": _multiples(data.equity),
        "settled": _funding(data.funding),
        "fates": _fates(data.orders),
        "seeds": _seeds(data.audit),
        "placebos": Cells(PLACEBO_HEADER, tuple(rows_of(data.audit))),
        "placebo_note": PLACEBO_NOTE,
        "extras": list(data.extras),
        "contracts": data.contracts,
        "counts": {name: len(getattr(data, name)) for name in _GRIDS},
        "has": {
            "time": len(data.equity) > 1,
            "forecasts": not data.predictions.dropna(subset=["label"]).empty,
            "training": not data.training.empty,
            "features": bool(data.selected),
            "by_contract": bool(data.contracts) and data.metrics_by_contract is not None,
        },
        "config_text": data.config_text,
        "manifest_text": json.dumps(data.manifest, indent=2, ensure_ascii=False, default=str),
    }


def _reasons(verdict: Row, findings: Sequence[Row]) -> list[str]:
    """Return why the verdict is what it is: errors of an invalid run, else its own reasons."""
    word = words.accepted(verdict)
    accepted = [] if word is None else [word]
    if verdict["overall"] == "invalid":
        return [f"{f['code']} {f['where']}: {f['message']}" for f in findings if _is_error(f)]
    if verdict["overall"] == "suspect":
        return accepted  # what is suspected stands in the findings right below
    told = [f["message"].partition(": ")[2] for f in findings if f["code"] == "R101"]
    return [*accepted, *told]


def _is_error(finding: Row) -> bool:
    return bool(finding["level"] == "error")


def _facts(data: PageData) -> list[tuple[str, str]]:
    """Return what the run is about, in a line."""
    rows = data.metrics[data.metrics["period_kind"] == "all"]
    found = []
    if "symbol" in data.manifest:
        word = "contracts" if data.contracts else "contract"
        found.append((word, str(data.manifest["symbol"])))
    if not rows.empty:
        row = rows.iloc[0]
        found.append(("tested", f"{str(row['start'])[:10]} to {str(row['end'])[:10]}"))
        found.append(("decisions", words.count(row["n"])))
    found.append(("bars", words.count(len(data.equity))))
    found.append(("folds", words.count(len(data.folds))))
    found.append(("intervals", words.level(data.level)))
    if (stretch := stretch_of(len(data.equity))) > 1:
        found.append(("curves", f"lowest and highest of every {stretch:,} bars"))
    if data.contracts and len(data.equity) > 1:
        own = contracts.Curves(Pack(), len(data.equity), len(data.contracts)).stretch * stretch
        if own > stretch:
            found.append(("curves of a contract", f"lowest and highest of every {own:,} bars"))
    shown = {f"{name}.csv": getattr(data, name) for name in _GRIDS} | dict(data.extras)
    found += [
        ("not all rows shown", f"the last {MOST_ROWS:,} of {len(frame):,}: {name}")
        for name, frame in shown.items()
        if len(frame) > MOST_ROWS
    ]
    return found


# ── headline ─────────────────────────────────────────────────────────────────────────────────────


def _cards(metrics: pd.DataFrame) -> list[Card]:
    whole = metrics[metrics["period_kind"] == "all"]
    if whole.empty:
        return []
    row = whole.iloc[0]
    return [
        *direction_cards(row),
        bounded_card("net return", row, "total_return", close_percent, naive=0.0,
                     small=f"holding {words.percent(row['benchmark_return'])}"),
        bounded_card("Sharpe ratio", row, "sharpe", lambda v: words.decimal(v, 2), naive=0.0),
        bounded_card("deepest drawdown", row, "max_drawdown", close_percent),
        bounded_card("trades", row, "trades", words.count,
                     small=f"won {words.percent(row['win_rate'])}"),
    ]  # fmt: skip


def _seeds(audit: Mapping[str, Any]) -> tuple[str, Cells] | None:
    """Return what training with other seeds came to: a sentence and a table."""
    found = seeds_of(audit)
    return None if found is None else (found.note, Cells(SEED_HEADER, found.rows))


_COUNTED = ("trades",)


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
                words.count(value) if name in _COUNTED else words.decimal(value, 4),
                words.interval(low, high, 4) or str(item["reason"] or ""),
                words.count(item["n"]),
                words.count(item["n_eff"]),
                str(item["method"]),
            )
        )
    header = ("figure", "value", "interval", "n", "independent", "method")
    return Cells(header, tuple(rows), texts=(0, 5), long=(5,))


# ── money ────────────────────────────────────────────────────────────────────────────────────────


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
        ("break-even accuracy", words.decimal(needed)),
        ("share of profit from the five best trades", words.percent(best)),
    )
    return Cells(("from gross to net", "quote currency"), rows)


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
    return Cells(("funding", "number or amount"), rows)


def _fates(orders: pd.DataFrame) -> Cells:
    """Count orders by what became of them and why."""
    told = orders["reason"].astype(object)  # all empty, it is read back as NaN floats
    reasons = told.where(told.notna(), "").astype(str)
    counted = orders.assign(reason=reasons).value_counts(["status", "reason"], sort=False)
    rows = tuple(
        (*(str(part) for part in key), words.count(int(number)))
        for key, number in counted.sort_index().items()
        if isinstance(key, tuple)
    )
    return Cells(("status", "reason", "orders"), rows, texts=(0, 1))


# ── data of the charts ───────────────────────────────────────────────────────────────────────────

_OF_CONTRACTS = ("predictions", "trades", "orders", "funding")
_GRIDS = ("trades", "orders", "funding", "folds", "training", "metrics")


def _document(data: PageData) -> str:
    pack = Pack()
    grids: dict[str, Packed] = {
        name: pack.table(_with_stamps(getattr(data, name).tail(MOST_ROWS))) for name in _GRIDS
    }
    for number, frame in enumerate(data.extras.values()):
        grids[f"extra-{number}"] = pack.table(_with_stamps(frame.tail(MOST_ROWS)))
    invalid = data.audit["verdict"]["overall"] == "invalid"
    document = {
        "kind": "run",
        "title": data.title,
        "stamp": "NOT A RESULT" if invalid else "",
        "overTime": run_over_time(data.equity, data.trades, pack),
        "forecasts": forecast_charts(data.predictions, data.metrics, pack, level=data.level),
        "features": _features(data),
        "grids": grids,
    }
    if data.contracts:
        document["contracts"] = _contracts(data, pack)
        if data.metrics_by_contract is not None:
            shown = data.metrics_by_contract.tail(MOST_ROWS)
            grids["metrics_by_contract"] = pack.table(_with_stamps(shown))
    return pack.seal(document)


def _contracts(data: PageData, pack: Pack) -> dict[str, Any]:
    """Return what the page shows of each contract alone."""
    names, bars = data.contracts, data.equity_by_contract
    told = bars is not None and len(data.equity) > 1
    curves = contracts.Curves(pack, len(data.equity), len(names)) if told else None
    each = {}
    for name in names:
        mine = {one: contracts.of_contract(getattr(data, one), name) for one in _OF_CONTRACTS}
        account = None if bars is None else contracts.account_of(data.equity, bars, name)
        periods = contracts.periods_of(data.metrics, data.metrics_by_contract, name)
        tables = {"settled": _funding(mine["funding"]), "fates": _fates(mine["orders"])}
        if account is not None:
            tables["costs"] = _costs(account, mine["trades"], {})
            tables["multiples"] = _multiples(account)
        each[name] = {
            "cards": [asdict(card) for card in contracts.cards_of(data.metrics, name)],
            "periods": [asdict(table) for table in period_tables(periods)],
            "calendars": [asdict(table) for table in calendars(periods)],
            "tables": {part: asdict(cells) for part, cells in tables.items()},
            "panels": None if curves is None or account is None
            else contracts.panels_of(account, name, curves),
            "forecasts": forecast_charts(
                mine["predictions"].drop(columns="symbol", errors="ignore"), periods, pack,
                level=data.level, most_folds=MOST_FOLDS // len(names),
            ),
        }  # fmt: skip
    return {
        "names": names,
        "each": each,
        "stretch": 1 if curves is None else curves.stretch,
        "rows": None if curves is None else curves.rows(pack),
    }


def _with_stamps(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the stamps that a CSV holds as text as stamps.

    A column that is only called like one, in a table that holds more than perpwalk wrote, is shown
    as it is.
    """
    shown = frame.copy(deep=False)
    for name in shown.columns:
        called = str(name).endswith(("_start", "_end", "_at", "_time"))
        if called and pd.api.types.is_string_dtype(shown[name].dtype):
            stamps = pd.to_datetime(shown[name], utc=True, format="ISO8601", errors="coerce")
            if stamps.notna().sum() == shown[name].notna().sum():
                shown[name] = stamps
    return shown


def _features(data: PageData) -> dict[str, Any] | None:
    """Return features by how many folds kept them, most kept first, and in which."""
    if not data.selected:
        return None
    folds = sorted(data.selected)
    kept: dict[str, list[int]] = {}
    for column, fold in enumerate(folds):
        for name in data.selected[fold]:
            kept.setdefault(name, []).append(column)
    ranked = sorted(kept.items(), key=lambda item: (-len(item[1]), item[1], item[0]))
    return {
        "folds": folds,
        "names": [name for name, _ in ranked],
        "kept": [columns for _, columns in ranked],
        "candidates": data.candidates,
    }
