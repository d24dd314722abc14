"""Kept leak audits: what a search of a pipeline found, so that its runs can be judged with it.

``results/audits/<pipeline>-<tier>.json``, named by the hash of what an audit speaks of: features,
label, folds, model and strategy, on the same data. Fees, sizes, reports and, on real data, the seed
are not part of it. An audit of other code (perpwalk's own, or a file of the user's) is stale: it is
kept, named and not used.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

import engine
import perpwalk
from engine import leaks, leaks_account
from engine.progress import Reporter
from perpwalk import data, runs, seal
from perpwalk.audit.leaks.suite import LeakReport
from perpwalk.audit.outside import LeakAudit, finding_of, search_findings
from perpwalk.config import BrokerSection, ComputeSection, Config, ReportSection
from perpwalk.domain import Finding, Market
from perpwalk.errors import EnvironmentFailedError
from perpwalk.strict import read_object

FOLDER = "audits"
DEEPEST_FIRST: tuple[LeakAudit, ...] = ("full", "quick")


def code_hash(config: Config) -> str:
    """Return the hash of perpwalk's own code and of every file of the user's that is named."""
    own = [Path(perpwalk.__file__).parent, Path(engine.__file__).parent]
    named = [config.strategy.name, config.model.kind, config.label.kind]
    places = [name.rpartition(":")[0] for name in named if ":" in name]
    theirs = [Path(file) for file in config.features.modules]
    theirs += [found for place in places if (found := _file_of(place)) is not None]
    return runs.code_hash(own, [file for file in theirs if file.is_file()])


def _file_of(place: str) -> Path | None:
    """Return the file of ``path/to/file.py`` or of a module, None where it is not to be found."""
    if place.endswith(".py"):
        return Path(place)
    try:
        found = importlib.util.find_spec(place)
    except (ImportError, ValueError):
        return None
    return None if found is None or found.origin is None else Path(found.origin)


def hashes_of(markets: Sequence[Market]) -> dict[str, str]:
    """Return what ``Config.digest`` takes for the data."""
    return {source.kind: source.sha256 for market in markets for source in market.sources}


def pipeline_digest(config: Config, data_hashes: Mapping[str, str]) -> str:
    """Return the hash of what a search for leaks speaks of."""
    plain = BrokerSection()
    subject = config.model_copy(
        update={
            "name": "pipeline",
            # A simulated market is drawn from the seed; real data are the same with any.
            "seed": config.seed if config.is_simulated else 0,
            "broker": plain.model_copy(update={"cheat_on_open": config.broker.cheat_on_open}),
            "report": ReportSection(),
            "compute": ComputeSection(),
        }
    )
    return subject.digest(dict(data_hashes))


# ── keeping ──────────────────────────────────────────────────────────────────────────────────────


def keep(
    results: Path,
    config: Config,
    report: LeakReport,
    *,
    full: bool,
    data_hashes: Mapping[str, str],
) -> Path:
    """Write what an audit found into the workspace and return the file."""
    tier: LeakAudit = "full" if full else "quick"
    digest = pipeline_digest(config, data_hashes)
    record = {
        "pipeline": digest,
        "tier": tier,
        "made_at": pd.Timestamp.now("UTC").isoformat(timespec="seconds").replace("+00:00", "Z"),
        "code_hash": code_hash(config),
        "versions": runs.package_versions(),
        "seed": config.seed,
        "data": dict(data_hashes),
        "exit_code": report.exit_code,
        **leaks.document(report),
    }
    path = results / FOLDER / _name(digest, tier)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFailedError(
            f"cannot make {path.parent}: {error.strerror or error}; give another --out"
        ) from error
    runs.write_json(path, record | {"seal": seal.seal_of(record)})
    return path


def made(
    results: Path, config: Config, *, full: bool, reporter: Reporter | None = None
) -> tuple[LeakReport, Path]:
    """Search the pipeline for leaks, keep what was found and return both."""
    markets = data.load_markets(config)
    report = leaks_account.audit(config, full=full, markets=markets, reporter=reporter)
    hashes = hashes_of(markets)
    return report, keep(results, config, report, full=full, data_hashes=hashes)


def ensure(
    results: Path, config: Config, tier: LeakAudit, reporter: Reporter | None = None
) -> None:
    """Search the pipeline for leaks unless the workspace keeps a search as deep that holds."""
    if tier == "none":
        return
    there = find(results, config, hashes_of(data.load_markets(config))).tier
    if there not in (tier, "full"):
        made(results, config, full=tier == "full", reporter=reporter)


def _name(digest: str, tier: LeakAudit) -> str:
    return f"{digest[:16]}-{tier}.json"


# ── finding ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A kept audit that holds for a run, or why none does.

    ``tier`` is "none" where there is no usable one; ``note`` then says why, if there is any.
    """

    tier: LeakAudit = "none"
    findings: tuple[Finding, ...] = ()
    note: str | None = None
    anchor: Mapping[str, Any] | None = None


def find(results: Path, config: Config, data_hashes: Mapping[str, str]) -> Kept:
    """Return the deepest audit of the same pipeline, data and code that the workspace keeps."""
    digest, code = pipeline_digest(config, data_hashes), code_hash(config)
    note: str | None = None
    for tier in DEEPEST_FIRST:
        path = results / FOLDER / _name(digest, tier)
        if not path.is_file():
            continue
        record = read(path)
        if record is None:
            note = note or f"the {tier} audit kept for it ({path.name}) was changed by hand"
        elif record["code_hash"] != code:
            note = note or (
                f"the {tier} audit kept for it is of {record['made_at'][:10]} and of other code"
            )
        else:
            return Kept(
                tier=tier,
                findings=search_findings([finding_of(entry) for entry in record["findings"]]),
                # Of a quick one that is good the stale full one is worth saying.
                note=note,
                anchor={
                    "file": path.name, "made_at": record["made_at"], "seal": record["seal"],
                },
            )  # fmt: skip
    return Kept(note=note)


def read(path: Path) -> dict[str, Any] | None:
    """Return a kept audit; None where it is not as it was written."""
    try:
        record = read_object(path)
    except (OSError, ValueError):
        return None
    if record.get("seal") != seal.seal_of(record):
        return None
    return record
