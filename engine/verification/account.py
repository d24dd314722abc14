"""Checks of what came out: counts, the account, metrics, the verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from engine import stages
from engine.verification.facts import (
    Facts,
    FailedError,
    Step,
    fail_if,
    json_difference,
    same_files,
)
from perpwalk import runs, trades
from perpwalk.ledger import Ledger

TOLERANCE = 1e-9


# ── account ──────────────────────────────────────────────────────────────────────────────────────


def _counts(facts: Facts) -> str:
    """Add up what the run's own files say, without making anything again."""
    run = facts.run
    equity, folds, predictions = run.equity, run.folds, run.predictions
    pairs = [
        ("n_test of folds.csv", folds["n_test"].sum(), "rows of predictions.parquet",
         len(predictions)),
        ("payments of funding.csv", run.funding["payment"].sum(), "funding of equity.parquet",
         equity["funding"].sum()),
        ("fees of orders.csv", run.orders["fee"].sum(), "fees of equity.parquet",
         equity["fee"].sum()),
        ("slippage of orders.csv", run.orders["slippage"].sum(), "slippage of equity.parquet",
         equity["slippage"].sum()),
        ("net PnL of trades.csv", run.trades["net_pnl"].sum(), "change of equity.parquet",
         equity["equity"].iloc[-1] - facts.config.broker.cash),
    ]  # fmt: skip
    scale = max(facts.config.broker.cash, float(equity["equity"].abs().max()))
    wrong = [
        f"{one} come to {a:.12g}, {other} to {b:.12g}"
        for one, a, other, b in pairs
        if not abs(a - b) <= TOLERANCE * scale
    ]
    if predictions["close_time"].duplicated().any():
        wrong.append("predictions.parquet holds a decision twice")
    fail_if(wrong)
    return f"{len(predictions):,} decisions, {len(run.orders):,} orders, {len(run.trades):,} trades"


def _identity(facts: Facts) -> str:
    stored = Ledger(
        initial_cash=facts.config.broker.cash,
        equity=facts.run.equity,
        fills=pd.DataFrame(),
        orders=facts.run.orders,
        funding=facts.run.funding,
    )
    worst, broken = stored.check_identity()
    if broken is not None:
        raise FailedError(f"equity.parquet at {broken.where}: {broken.message} ({broken.observed})")
    return f"equity equals its parts at every bar, largest difference {worst:.1e}"


def _replay_again(facts: Facts) -> str:
    config, prepared, results = facts.config, facts.prepared, facts.results
    ledger = stages.replay_folds(config, prepared, results)
    facts.known["account"] = ledger
    runs.write_parquet(facts.again / "equity.parquet", ledger.equity)
    runs.write_csv(facts.again / "orders.csv", ledger.orders)
    runs.write_csv(facts.again / "funding.csv", ledger.funding)
    runs.write_csv(facts.again / "trades.csv", trades.round_trips(ledger))
    same_files(facts, ("equity.parquet", "orders.csv", "funding.csv", "trades.csv"))
    return f"{len(ledger.equity):,} bars replayed: equity, orders, funding and trades are equal"


def _metrics_again(facts: Facts) -> str:
    measured = stages.measure(facts.config, facts.prepared, facts.results, facts.ledger)
    facts.known["measures"] = measured
    table = measured.table.frame
    runs.write_csv(facts.again / "metrics.csv", table)
    runs.write_json(facts.again / "metrics.json", runs.plain(table.to_dict(orient="records")))
    same_files(facts, ("metrics.csv", "metrics.json"))
    return f"{len(table)} periods"


def _audit_again(facts: Facts) -> str:
    """Compare what is judged again with what follows from the run alone.

    Reasons of the verdict (R) and of a search for leaks (K) rest on more than this folder: the
    trial ledger and other runs.
    """
    again = _of_the_run_alone(runs.plain(facts.measured.judgement.as_dict()))
    stored = _of_the_run_alone(facts.run.audit)
    if stored != again:
        raise FailedError(
            f"audit.json differs from what is judged again: {json_difference(stored, again)}"
        )
    return f"{len(again['findings'])} findings and the evidence are equal"


def _of_the_run_alone(audit: Mapping[str, Any]) -> dict[str, Any]:
    findings = [entry for entry in audit["findings"] if entry["code"][0] not in "RK"]
    return {"findings": findings, "evidence": audit.get("evidence")}


def _verdict(facts: Facts) -> str:
    audit = facts.run.audit
    verdict, levels = audit["verdict"], {entry["level"] for entry in audit["findings"]}
    words = ("invalid", "suspect", "inconclusive", "supported")
    if any(verdict[kind] not in words for kind in ("overall", "predictive", "economic")):
        raise FailedError(f"audit.json: the verdict is none of {', '.join(words)}")
    worst = min((verdict["predictive"], verdict["economic"]), key=words.index)
    if verdict["overall"] != worst:
        raise FailedError(f"audit.json: overall {verdict['overall']}, its worse part {worst}")
    if ("error" in levels) != (verdict["overall"] == "invalid"):
        raise FailedError(
            f"audit.json: verdict {verdict['overall']} with "
            f"{'an' if 'error' in levels else 'no'} error among the findings"
        )
    return f"{verdict['overall']}, as its findings say"


STEPS: tuple[Step, ...] = (
    ("account", "counts add up", _counts),
    ("account", "equity equals its parts", _identity),
    ("account", "replayed again", _replay_again),
    ("account", "metrics made again", _metrics_again),
    ("account", "judged again", _audit_again),
    ("account", "verdict fits its findings", _verdict),
)
