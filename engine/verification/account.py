"""Checks of what came out: counts, the account, metrics, the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from engine import audits, seeds, stages, standing, tables
from engine.verification.facts import (
    Facts,
    FailedError,
    Step,
    fail_if,
    json_difference,
    same_files,
)
from perpwalk import contracts, runs, strict, trades, trials
from perpwalk.audit.outside import Outside, finding_of, search_findings
from perpwalk.audit.seeds import SeedBand
from perpwalk.ledger import Ledger
from perpwalk.runs import Run
from perpwalk.strict import NotAsWrittenError

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
        *_of_contracts(run),
    ]  # fmt: skip
    scale = max(facts.config.broker.cash, float(equity["equity"].abs().max()))
    wrong = [
        f"{one} come to {a:.12g}, {other} to {b:.12g}"
        for one, a, other, b in pairs
        if not abs(a - b) <= TOLERANCE * scale
    ]
    decision = ["close_time", "symbol"] if "symbol" in predictions else ["close_time"]
    if predictions.duplicated(decision).any():
        wrong.append("predictions.parquet holds a decision twice")
    fail_if(wrong)
    return f"{len(predictions):,} decisions, {len(run.orders):,} orders, {len(run.trades):,} trades"


def _of_contracts(run: Run) -> Iterator[tuple[str, float, str, float]]:
    """Yield what the contracts of one account come to, and the account's own."""
    each = run.equity_by_contract
    if each is not None:
        for name in contracts.SUMMED:
            yield (f"{name} of equity_by_contract.parquet", float(each[name].sum()),
                   "that of equity.parquet", float(run.equity[name].sum()))  # fmt: skip


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
    ledger = stages.replay_folds(facts.config, facts.walked)
    facts.known["account"] = ledger
    runs.write_parquet(facts.again / "equity.parquet", ledger.equity)
    runs.write_csv(facts.again / "orders.csv", ledger.orders)
    runs.write_csv(facts.again / "funding.csv", ledger.funding)
    runs.write_csv(facts.again / "trades.csv", trades.round_trips(ledger))
    same_files(facts, ("equity.parquet", "orders.csv", "funding.csv", "trades.csv"))
    return f"{len(ledger.equity):,} bars replayed: equity, orders, funding and trades are equal"


def _seeds_again(facts: Facts) -> str:
    """Forecast and replay with the kept models of every other seed."""
    told, run = facts.manifest.get("seeds"), facts.run
    if told is None:  # made before seeds were told
        facts.known["seeds"] = None
        return "not told"
    if not told:
        if run.seeds is not None:
            raise FailedError("seeds.csv is there, manifest.json speaks of no other seed")
        facts.known["seeds"] = SeedBand(facts.config.seed, seeds.is_seeded(facts.config))
        return "no other seed"
    again = seeds.band_again(facts.config, facts.walked, facts.ledger, facts.path / "models", told)
    facts.known["seeds"] = again
    seeds.write(facts.again, again)
    same_files(facts, [seeds.TABLE_FILE])
    return f"{len(told)} other seeds forecast and replayed again: seeds.csv is equal"


def _placebo_as_told(facts: Facts) -> str:
    """Hold placebo.csv against what audit.json took down of it."""
    record = Outside.of(facts.run.audit).placebo
    there = (facts.path / standing.PLACEBO_FILE).is_file()
    if record is None:
        if there:
            raise FailedError(f"{standing.PLACEBO_FILE} is there, audit.json speaks of no placebo")
        return "no placebo battery"
    standing.write_placebo(facts.again, record)
    same_files(facts, [standing.PLACEBO_FILE])
    return f"{len(record.rows)} rows as the verdict took them down"


def _metrics_again(facts: Facts) -> str:
    outside = Outside.of(facts.run.audit)
    measured = stages.measure(facts.config, facts.walked, facts.ledger, outside, facts.band)
    facts.known["measures"] = measured
    table = measured.table.frame
    runs.write_csv(facts.again / "metrics.csv", table)
    runs.write_json(facts.again / "metrics.json", runs.plain(table.to_dict(orient="records")))
    by_contract = tables.write_by_contract(facts.again, facts.ledger, measured.table)
    same_files(facts, ("metrics.csv", "metrics.json", *by_contract))
    return f"{len(table)} periods"


def _audit_again(facts: Facts) -> str:
    """Judge again over the trials and the search for leaks that the run took down."""
    stored = facts.run.audit
    again = runs.plain(facts.measured.judgement.as_dict())
    accepted = stored["verdict"].get("accepted")
    if accepted is not None:
        again["verdict"]["accepted"] = accepted  # a person's word: looked at below
    if stored != again:
        raise FailedError(
            f"audit.json differs from what is judged again: {json_difference(stored, again)}"
        )
    return f"verdict, {len(again['findings'])} findings and the evidence are equal"


def _taken_down(facts: Facts) -> str:
    """Hold what was taken down from the workspace against the workspace, where it is at hand."""
    results, manifest = standing.results_of(facts.run), facts.manifest
    told, wrong = [], []
    counted = manifest.get("trials") or {}
    ledger = trials.read(results, lines=counted.get("ledger_lines"))
    if not ledger.lines:
        told.append("no trial ledger beside the run")
    elif ledger.head != counted.get("ledger_head"):
        wrong.append(f"{trials.LEDGER_FILE} is not the one the trials were counted in")
    else:
        told.append(f"trials as counted in line {ledger.lines} of the ledger")
    told_of, wrong_of = _search_kept(results, manifest.get("leak_audit"), facts.run.audit)
    fail_if([*wrong, *wrong_of, *_forged_acceptance(facts, results)])
    return "; ".join([*told, *told_of])


def _search_kept(
    results: Path, anchor: Mapping[str, Any] | None, audit: Mapping[str, Any]
) -> tuple[list[str], list[str]]:
    tier = audit["leak_audit"]["tier"]
    if anchor is None:
        wrong = [f"audit.json speaks of a {tier} leak audit, manifest.json of none"]
        return (["no leak audit"], []) if tier == "none" else ([], wrong)
    try:
        path = strict.inside(results / audits.FOLDER, anchor["file"])
    except NotAsWrittenError as error:
        return [], [f"manifest.json, leak_audit: {error}"]
    if not path.is_file():
        return [f"leak audit {anchor['file']} is not at hand"], []
    record = audits.read(path)
    if record is None:
        return [], [f"{path} was changed by hand"]
    if record["seal"] != anchor["seal"]:
        return [f"leak audit {anchor['file']} was made again since"], []
    taken = search_findings([finding_of(entry) for entry in record["findings"]])
    if (record["tier"], taken) != (tier, Outside.of(audit).leak_findings):
        return [], [f"audit.json does not say what {path} found"]
    return [f"{tier} leak audit as kept"], []


def _forged_acceptance(facts: Facts, results: Path) -> Iterator[str]:
    """Name an acceptance that no line of the trial ledger knows."""
    accepted = facts.run.audit["verdict"].get("accepted")
    if accepted is None:
        return
    whole = trials.read(results)
    known = [
        {key: entry.get(key) for key in ("reason", "at", "by")}
        for entry in whole.accepted
        if entry["digest"] == facts.manifest["config_hash"]
    ]
    if whole.lines and accepted not in known:
        yield "audit.json: the trial ledger knows nothing of its acceptance"


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
    accepted = verdict.get("accepted")
    if accepted is None:
        return f"{verdict['overall']}, as its findings say"
    if verdict["overall"] != "suspect" or not str(accepted.get("reason", "")).strip():
        raise FailedError("audit.json: only a suspicion can be accepted, and for a reason")
    return f"suspect, accepted at {accepted['at']}: {accepted['reason']}"


STEPS: tuple[Step, ...] = (
    ("account", "counts add up", _counts),
    ("account", "equity equals its parts", _identity),
    ("account", "replayed again", _replay_again),
    ("account", "other seeds made again", _seeds_again),
    ("account", "placebos as taken down", _placebo_as_told),
    ("account", "metrics made again", _metrics_again),
    ("account", "judged again", _audit_again),
    ("account", "taken down as it was", _taken_down),
    ("account", "verdict fits its findings", _verdict),
)
