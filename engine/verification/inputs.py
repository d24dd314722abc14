"""Checks of what went in: files, configuration, data, split, features."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engine import stages, tables, walkforward
from engine.parts import Prepared
from engine.verification.facts import (
    Facts,
    FailedError,
    Step,
    fail_if,
    model_folder,
    of,
    same_files,
)
from perpwalk import data, fold_checks, preprocess, runs, seal
from perpwalk.domain import Fold, Level
from perpwalk.run_config import config_to_load

TOLERANCE = 1e-9


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def _sealed(facts: Facts) -> str:
    manifest = facts.run.manifest
    facts.known["manifest"] = manifest
    fail_if(f"{one.file} {one.what}" for one in seal.broken(manifest, facts.path))
    return f"{len(manifest['files'])} files and the manifest are as they were written"


# ── configuration ────────────────────────────────────────────────────────────────────────────────


def _resolves(facts: Facts) -> str:
    loaded = config_to_load(facts.run, facts.code)
    facts.known["configuration"] = loaded
    if loaded.to_yaml() != facts.run.config_text:
        raise FailedError("config.yaml is not what its own values resolve to")
    return f"experiment {loaded.name}, seed {loaded.seed}"


def _digest_fits(facts: Facts) -> str:
    manifest = facts.manifest
    hashes = {source["kind"]: source["sha256"] for source in manifest["data"]}
    digest = facts.config.digest(hashes)
    named = facts.path.name.rpartition("-")[2]
    wrong = []
    if digest != manifest["config_hash"]:
        wrong.append(f"config.yaml asks {digest[:8]}, manifest.json {manifest['config_hash'][:8]}")
    if digest[:8] != named:
        wrong.append(f"config.yaml asks {digest[:8]}, the folder is named {named}")
    if facts.config.seed != manifest["seed"]:
        wrong.append(f"seed {facts.config.seed} in config.yaml, {manifest['seed']} in the manifest")
    fail_if(wrong)
    return f"configuration and data have the digest {digest[:8]} of folder and manifest"


# ── data loading ─────────────────────────────────────────────────────────────────────────────────


def _files_unchanged(facts: Facts) -> str:
    wrong, told = [], []
    for source in facts.manifest["data"]:
        if source["kind"].rpartition("/")[2] == "simulated":
            told.append("simulated market (made again below)")
            continue
        if source["file_format"] == "store":
            told.append(f"{source['kind']} of the store (read again below)")
            continue
        path = Path(source["path"])
        if not path.is_file():
            wrong.append(f"{path} ({source['kind']}) is missing")
        elif (found := seal.file_hash(path)) != source["sha256"]:
            wrong.append(
                f"{path} ({source['kind']}) has changed: sha256 {found[:12]}…, "
                f"the run read {source['sha256'][:12]}…"
            )
        else:
            told.append(f"{source['kind']} {path.name}")
    fail_if(wrong)
    return ", ".join(told)


def _reads_the_same(facts: Facts) -> str:
    markets = data.load_markets(facts.config)
    read = [runs.plain(vars(source)) for market in markets for source in market.sources]
    wrote = facts.manifest["data"]
    if len(read) != len(wrote):
        raise FailedError(f"{len(read)} sources are read, manifest.json names {len(wrote)}")
    fail_if(
        f"{now['kind']}: {key} {now[key]}, was {then.get(key)}"
        for now, then in zip(read, wrote, strict=True)
        for key in now
        if now[key] != then.get(key)
    )
    facts.known["market"] = markets
    bars, settled = (
        sum(map(len, parts))
        for parts in zip(*((one.bars, one.funding) for one in markets), strict=True)
    )
    return f"{bars:,} bars, {settled:,} settlements"


# ── split ────────────────────────────────────────────────────────────────────────────────────────


def _folds_again(facts: Facts) -> str:
    prepared = stages.prepare(facts.config, facts.markets)
    facts.known["features, labels and folds"] = prepared
    table = tables.joined_tables(
        [one.name for one in prepared], [fold_checks.fold_table(one.folds) for one in prepared]
    )
    stored = facts.run.folds
    # Thresholds are held against the models below.
    table["threshold"] = stored["threshold"].to_numpy() if len(stored) == len(table) else np.nan
    runs.write_csv(facts.again / "folds.csv", table)
    same_files(facts, ["folds.csv"])
    return f"{len(table)} folds, {int(table['n_test'].sum()):,} test decisions"


def _nothing_known_early(facts: Facts) -> str:
    for one in facts.prepared:
        findings = fold_checks.check_folds(one.folds, one.labels, purge=one.purge)
        fail_if(f"{of(one.name)}{f.where}: {f.message}" for f in findings if f.level is Level.ERROR)
    slack = min(_slack(fold, one) for one, fold in facts.folds)
    hours = slack / pd.Timedelta(hours=1)
    return f"every fitted label is known {hours:g} h or more before its fold's first test decision"


def _slack(fold: Fold, prepared: Prepared) -> pd.Timedelta:
    fitted = np.concatenate([fold.train.rows, fold.validation.rows])
    last_known: pd.Timestamp = prepared.labels.known_at[fitted].max()
    if not last_known < fold.test.start:
        raise FailedError(
            f"{of(prepared.name)}fold {fold.number}: a fitted label is known only at {last_known}"
        )
    return fold.test.start - last_known


# ── feature extraction ───────────────────────────────────────────────────────────────────────────


def _scaling_again(facts: Facts) -> str:
    """Choose and scale features on the train rows again and compare the artifacts."""
    names = []
    for prepared, fold in facts.folds:
        end = int(fold.validation.rows[-1]) + 1
        fitted = preprocess.fit_preprocessor(
            prepared.features.until(end),
            prepared.labels.until(end),
            fold.train.rows,
            facts.config.features,
            walkforward.fold_seed(facts.config.seed, fold.number),
        )
        place = model_folder(fold.number, prepared.name)
        (facts.again / place).mkdir(parents=True)
        fitted.save(facts.again / place)
        names += [f"{place}/{name}" for name in (preprocess.SCALER_FILE, preprocess.FEATURES_FILE)]
    same_files(facts, names)
    count = max(len(one.features.names) for one in facts.prepared)
    return f"choice and scaling of {count} features equal in every fold"


def _one_bar_at_a_time(facts: Facts) -> str:
    """Compute sampled rows from the bars up to the decision alone."""
    looked = [_sampled_rows(facts, one) for one in facts.prepared]
    rows, worst = sum(count for count, _ in looked), max(worst for _, worst in looked)
    return f"{rows} decisions from the bars up to them alone: difference at most {worst:.1e}"


def _sampled_rows(facts: Facts, prepared: Prepared) -> tuple[int, float]:
    """Return how many of a contract's rows were computed alone, and the largest difference."""
    tested = np.concatenate([fold.test.rows for fold in prepared.folds])
    rng = np.random.default_rng(facts.config.seed)
    rows = np.sort(rng.choice(tested, size=min(facts.samples, len(tested)), replace=False))
    worst = 0.0
    for row in rows.tolist():
        alone, batched = _row_alone(prepared, row), prepared.features.values[row]
        difference = np.abs(alone - batched) / np.maximum(np.abs(batched), 1.0)
        if not (difference <= TOLERANCE).all():
            column = int(np.argmax(~(difference <= TOLERANCE)))
            raise FailedError(
                f"{of(prepared.name)}feature '{prepared.features.names[column]}' at "
                f"{prepared.features.close_time[row]} is {alone[column]:.12g} from the bars up to "
                f"then and {batched[column]:.12g} from all bars"
            )
        worst = max(worst, float(difference.max()))
    return len(rows), worst


def _row_alone(prepared: Prepared, row: int) -> Any:
    bars = prepared.market.bars.rows(max(0, row + 1 - prepared.features.lookback), row + 1)
    funding = prepared.market.funding
    known = int(funding.settle_time.searchsorted(bars.close_time[-1], side="right"))
    return prepared.feature_set.compute(bars, funding.rows(0, known)).values[-1]


STEPS: tuple[Step, ...] = (
    ("files", "as they were written", _sealed),
    ("configuration", "resolves", _resolves),
    ("configuration", "digest", _digest_fits),
    ("data loading", "files unchanged", _files_unchanged),
    ("data loading", "reads the same", _reads_the_same),
    ("split", "folds made again", _folds_again),
    ("split", "nothing known early", _nothing_known_early),
    ("feature extraction", "choice and scaling made again", _scaling_again),
    ("feature extraction", "one bar at a time", _one_bar_at_a_time),
)
