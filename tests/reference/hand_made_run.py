"""A finished run made by hand: an account of one contract or several, judged, kept in a folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hand_made_book import HOUR, Book

from perpwalk import metrics, runs, seal, trades
from perpwalk.audit.document import audit_document
from perpwalk.audit.evidence import gather_evidence
from perpwalk.audit.predictions import audit_predictions
from perpwalk.audit.verdict import verdict
from perpwalk.config import Config, ReportSection
from perpwalk.contracts import contracts_table
from perpwalk.domain import Finding, FloatArray, Fold, Level, Span, to_ns
from perpwalk.ledger import EQUITY_COLUMNS, Ledger, Track
from perpwalk.runs import Run

NASTY = "<script>alert('x')</script>"
WRONG = Finding(code="L004", level=Level.ERROR, where=NASTY, message="labels disagree", advice="x")


SEVERAL = ("AAAUSDT", "BBBUSDT", "C<i>USDT")


def replay(n: int, *, seed: int = 5, turn: int = 11) -> Ledger:
    """Return an account that turns round every few hours."""
    return _turning(n, seed=seed, turn=turn).ledger()


def _turning(n: int, *, seed: int, turn: int, **rules: Any) -> Book:
    rng = np.random.default_rng(seed)
    prices = 100 * np.exp(np.cumsum(rng.normal(0, 0.006, n)))
    book = Book(prices=prices.tolist(), fee=2e-4, slippage=1e-4, **rules)
    book.fill(1, 30.0)
    for row in range(turn, n, turn):
        book.fill(row, -60.0 if book.position_before(row) > 0 else 60.0)
    for row in range(8, n, 8):
        book.fund(row, -0.02 * np.sign(book.position_before(row + 1)))
    return book


def portfolio(n: int, symbols: Sequence[str] = SEVERAL) -> Ledger:
    """Return an account of several contracts, each traded by a book of its own."""
    books = [
        _turning(n, seed=5 + k, turn=11 + 2 * k, symbol=name) for k, name in enumerate(symbols)
    ]
    parts = [book.ledger() for book in books]
    first = parts[0].equity
    summed = [name for name in EQUITY_COLUMNS[3:] if name != "exposure"]
    equity = first.assign(**{name: sum(one.equity[name] for one in parts) for name in summed})
    held = sum(one.equity["position"] * one.equity["price"] for one in parts)
    growth = sum(one.equity["price"] / one.equity["price"].iloc[0] for one in parts)
    closes = to_ns(pd.DatetimeIndex(first["close_time"]))

    def joined(name: str, by: str) -> pd.DataFrame:
        rows = pd.concat([getattr(one, name) for one in parts]).sort_values(by, kind="stable")
        return rows.reset_index(drop=True)

    return Ledger(
        initial_cash=sum(book.cash for book in books),
        equity=equity.assign(exposure=held / equity["equity"], basket=growth / len(books)),
        fills=joined("fills", "time"),
        orders=joined("orders", "created_at"),
        funding=joined("funding", "settle_time"),
        tracks=tuple(
            Track(symbol=book.symbol, close_ns=closes, close=np.array(book.prices))
            for book in books
        ),
    )


def forecasts(ledger: Ledger) -> pd.DataFrame:
    """Return forecasts of every bar, of each contract where there are several."""
    stamps = ledger.equity["close_time"]
    if not ledger.tracks:
        return _forecasts(stamps, ledger.equity["price"].to_numpy(), seed=6)
    each = [
        _forecasts(stamps, track.close, seed=6 + k).assign(symbol=track.symbol)
        for k, track in enumerate(ledger.tracks)
    ]
    return pd.concat(each).sort_values("close_time", kind="stable").reset_index(drop=True)


def _forecasts(stamps: pd.Series, price: FloatArray, *, seed: int) -> pd.DataFrame:
    forward = np.diff(np.log(price))
    n = len(forward)
    return pd.DataFrame(
        {
            "close_time": stamps[:n],
            "fold": np.arange(n) * 2 // n,
            "p_up": 0.5 + 0.02 * np.random.default_rng(seed).normal(size=n),
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


def write_run(
    folder: Path,
    ledger: Ledger,
    extra: tuple[Finding, ...] = (),
    *,
    confidence: float = 0.95,
) -> Run:
    """Keep a judged run on disk, with a name that would be a script if it were not escaped."""
    predictions = forecasts(ledger)
    names = [track.symbol for track in ledger.tracks]
    of_one = metrics.of_symbol(predictions, names[0]) if names else predictions
    folds = folds_of(of_one)
    judged = metrics.metrics_table(
        predictions, ledger, folds=folds, bar_interval=HOUR, horizon=1, confidence=confidence
    )
    book = trades.round_trips(ledger)
    evidence = gather_evidence(
        predictions, ledger, horizon=1, bar_interval=HOUR, confidence=confidence
    )
    findings = (*audit_predictions(of_one), *evidence.findings, *extra)
    document = audit_document(verdict(findings, evidence), findings, evidence)
    _write_fits(folder, names, folds)
    runs.write_json(folder / "audit.json", runs.plain(document))
    runs.write_csv(folder / "metrics.csv", judged.frame)
    runs.write_parquet(folder / "equity.parquet", ledger.equity)
    if judged.by_contract is not None:
        runs.write_parquet(folder / "equity_by_contract.parquet", contracts_table(ledger))
        runs.write_csv(folder / "metrics_by_contract.csv", judged.by_contract)
    for name, frame in (("trades", book), ("orders", ledger.orders), ("funding", ledger.funding)):
        runs.write_csv(folder / f"{name}.csv", frame)
    config = Config(report=ReportSection(confidence=confidence))
    runs.write_text(folder / "config.yaml", config.to_yaml())
    runs.write_parquet(folder / "predictions.parquet", predictions.drop(columns="threshold"))
    manifest = {"status": "finished", "note": NASTY}
    runs.write_json(folder / "manifest.json", seal.sealed(manifest, folder))
    return runs.load_run(folder)


def _write_fits(folder: Path, names: Sequence[str], folds: Sequence[Fold]) -> None:
    """Write folds, epochs and features; of several contracts each its own, with its name."""
    tables: dict[str, list[dict[str, object]]] = {"folds": [], "training": []}
    for number, name in enumerate(names or [None]):
        said = {} if name is None else {"symbol": name}
        tables["folds"] += [
            {**said, "fold": f.number, "test_start": f.test.start, "purged": 1} for f in folds
        ]
        tables["training"] += [
            {**said, "fold": 0, "epoch": e, "train_loss": 0.69, "validation_auc": None}
            for e in range(1, 3 + number)
        ]
        kept = folder / "models" / (name or "") / "fold-000"
        kept.mkdir(parents=True)
        selected = ["rsi_14", NASTY, "ema_9"][: None if number else 2]
        (kept / "features.json").write_text(json.dumps({"selected": selected}))
    for table, rows in tables.items():
        runs.write_csv(folder / f"{table}.csv", pd.DataFrame(rows))
