"""A finished run made by hand: a small account, judged and kept in a folder like any other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
from hand_made_book import HOUR, Book

from perpwalk import metrics, runs, trades
from perpwalk.audit.document import audit_document
from perpwalk.audit.evidence import gather_evidence
from perpwalk.audit.predictions import audit_predictions
from perpwalk.audit.verdict import verdict
from perpwalk.config import Config
from perpwalk.domain import Finding, Fold, Level, Span
from perpwalk.ledger import Ledger
from perpwalk.runs import Run

NASTY = "<script>alert('x')</script>"
WRONG = Finding(code="L004", level=Level.ERROR, where=NASTY, message="labels disagree", advice="x")


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
    evidence = gather_evidence(predictions, ledger, horizon=1, bar_interval=HOUR)
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
    runs.write_parquet(folder / "predictions.parquet", predictions.drop(columns="threshold"))
    runs.write_json(folder / "manifest.json", {"status": "finished", "note": NASTY})
    return runs.load_run(folder)
