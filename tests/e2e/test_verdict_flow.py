"""From inconclusive to supported, and from suspect to accepted, through the command line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import perpwalk

from engine import audits
from engine.verify import verify_run
from perpwalk import config, runs, seal, trials
from perpwalk.audit.verification import Status

EDGE = {
    "name": "edge",
    "seed": 3,
    "market": {"simulate": {"bars": 7000, "edge": 0.3}},
    "features": {"include": ["returns", "volume"]},
    "walk_forward": {
        "train": "2500bars", "validation": "700bars", "test": "1700bars", "min_train_rows": 500,
    },
    "model": {"kind": "logistic"},
    "broker": {"taker_fee": 0.0, "slippage": {"bps": 0.0}},
    "report": {"tearsheet": False, "html": False},
    "compute": {"threads": 1},
}  # fmt: skip

PAGES = ("--set", "report.html=true", "--set", "report.tearsheet=true")


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "edge.yaml"
    path.write_text(yaml.safe_dump(EDGE | changes))
    return path


def only_run(folder: Path) -> runs.Run:
    return runs.load_run(next((folder / "results/edge").iterdir()))


def reasons(run: runs.Run) -> str:
    return " ".join(f["message"] for f in run.audit["findings"] if f["code"] == "R101")


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace in which a planted edge was run, audited and declared."""
    place = tmp_path_factory.mktemp("workspace")
    path = str(written(place))
    assert 0 == perpwalk(place, "run", path)
    before = only_run(place)
    assert "inconclusive" == before.audit["verdict"]["overall"]
    assert "perpwalk audit CONFIG --full" in reasons(before)
    assert "--prior-trials N" in reasons(before)
    assert 0 == perpwalk(place, "audit", path, "--full")
    assert 0 == perpwalk(place, "run", path, "--prior-trials", "0")
    return place


def test_a_planted_edge_without_costs_becomes_supported(searched: Path) -> None:
    """After a full audit and a declaration the finished run is judged again, without a fit."""
    run = only_run(searched)

    assert {"overall": "supported", "predictive": "supported", "economic": "supported"} == (
        run.audit["verdict"]
    )
    assert ("full", 0) == (run.audit["leak_audit"]["tier"], run.audit["trials"]["prior"])
    assert 0 == run.manifest["trials"]["prior"]
    assert run.manifest["leak_audit"]["file"].endswith("-full.json")
    assert 1 == run.manifest["trials"]["runs"]
    assert () == seal.broken(run.manifest, run.path)


def test_the_verdict_made_again_is_verified(searched: Path) -> None:
    """Everything is made again over what was taken down, trials made since notwithstanding."""
    with trials.begin(searched / "results", experiment="x", variant="v", digest="other"):
        pass
    found = verify_run(only_run(searched).path, samples=2)

    assert [] == [one.detail for one in found.checks if one.status is not Status.OK]


def test_a_search_of_another_pipeline_or_other_code_does_not_count(searched: Path) -> None:
    """Other data or other features find nothing kept; other code or an edited file is named."""
    results = searched / "results"
    asked = config.load(searched / "edge.yaml")
    hashes = {e["kind"]: e["sha256"] for e in only_run(searched).manifest["data"]}
    kept = audits.find(results, asked, hashes)
    assert ("full", None) == (kept.tier, kept.note)
    cheaper = asked.model_copy(
        update={"broker": asked.broker.model_copy(update={"taker_fee": 0.001})}
    )
    assert "full" == audits.find(results, cheaper, hashes).tier
    other = asked.model_copy(update={"seed": 4})
    assert ("none", None) == (
        audits.find(results, other, hashes).tier, audits.find(results, other, hashes).note,
    )  # fmt: skip

    path = results / "audits" / kept.anchor["file"]
    whole = path.read_text()
    record = json.loads(whole)
    try:
        stale = {k: v for k, v in (record | {"code_hash": "0"}).items() if k != "seal"}
        path.write_text(json.dumps(stale | {"seal": seal.seal_of(stale)}))
        assert "of other code" in str(audits.find(results, asked, hashes).note)
        path.write_text(json.dumps(record | {"findings": []}))
        assert "changed by hand" in str(audits.find(results, asked, hashes).note)
        found = verify_run(only_run(searched).path, samples=1)
        assert any("was changed by hand" in one.detail for one in found.checks)
    finally:
        path.write_text(whole)


def test_a_run_of_an_audited_pipeline_takes_the_search_up_at_once(searched: Path) -> None:
    """Dearer fees are another question about the same pipeline."""
    words = ["--set", "broker.taker_fee=0.0005", "--set", "name=dearer"]
    assert 0 == perpwalk(searched, "run", "edge.yaml", *words)
    run = runs.load_run(next((searched / "results/dearer").iterdir()))

    assert ("full", "supported") == (
        run.audit["leak_audit"]["tier"], run.audit["verdict"]["predictive"],
    )  # fmt: skip
    assert run.audit["trials"]["n"] >= 2
    assert "searched for leaks" not in reasons(run)


# ── accepting a suspicion ────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def suspicious(searched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a workspace with a run under suspicion: an audit of its pipeline has warned."""
    place = tmp_path_factory.mktemp("suspicious")
    path = written(place)
    asked = config.load(path)
    hashes = {e["kind"]: e["sha256"] for e in only_run(searched).manifest["data"]}
    kept = audits.find(searched / "results", asked, hashes)
    record = json.loads((searched / "results/audits" / kept.anchor["file"]).read_text())
    del record["seal"]
    record["findings"].append(
        {"code": "K009", "level": "warn", "where": "feature 'x'", "message": "remembers the start",
         "observed": None, "expected": None, "why": None, "advice": None}
    )  # fmt: skip
    folder = place / "results/audits"
    folder.mkdir(parents=True)
    sealed = record | {"seal": seal.seal_of(record)}
    (folder / kept.anchor["file"]).write_text(json.dumps(sealed))
    assert 4 == perpwalk(place, "run", "edge.yaml", *PAGES)
    return place


@pytest.fixture
def suspect(suspicious: Path, tmp_path: Path) -> Path:
    """Return a copy to write to."""
    return Path(shutil.copytree(suspicious, tmp_path / "copy"))


def test_a_suspicion_is_accepted_for_a_reason_only(
    suspect: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 4 becomes 0; reason, time and person stand in the audit, the ledger and every page."""
    run = only_run(suspect)
    assert 4 == perpwalk(suspect, "check", str(run.path))
    assert 2 == perpwalk(suspect, "check", str(run.path), "--accept-suspect", "  ")
    assert 2 == perpwalk(suspect, "run", "edge.yaml", "--accept-suspect", "")
    assert "needs a reason" in capsys.readouterr().err
    assert None is only_run(suspect).audit["verdict"].get("accepted")

    reason = "an EMA of 900 bars; start-up looked into"
    assert 0 == perpwalk(suspect, "check", str(run.path), "--accept-suspect", reason)
    capsys.readouterr()
    assert 0 == perpwalk(suspect, "run", "edge.yaml", *PAGES)
    accepted = only_run(suspect)
    assert "suspect" == accepted.audit["verdict"]["overall"]
    assert reason == accepted.audit["verdict"]["accepted"]["reason"]
    assert reason in capsys.readouterr().out.replace("│\n│ ", "")
    for page in ("report.html", "tearsheet.html"):
        assert reason in (accepted.path / page).read_text(), page
    assert [reason] == [e["reason"] for e in trials.read(suspect / "results").accepted]
    assert 0 == perpwalk(suspect, "verify", str(accepted.path))


def test_a_forged_acceptance_is_found(suspect: Path) -> None:
    """By the seal; and by the ledger, where the forger renewed the seal."""
    run = only_run(suspect)
    path = run.path / "audit.json"
    forged = json.loads(path.read_text())
    forged["verdict"]["accepted"] = {"reason": "trust me", "at": "2026-01-01T00:00:00Z", "by": "me"}
    runs.write_json(path, forged)
    plain = verify_run(run.path, samples=1)
    manifest = json.loads((run.path / "manifest.json").read_text())
    runs.write_json(run.path / "manifest.json", seal.sealed(manifest, run.path))
    sealed = verify_run(run.path, samples=1)

    assert any("audit.json changed" in one.detail for one in plain.checks)
    assert (1, 1) == (plain.exit_code, sealed.exit_code)
    assert ["audit.json: the trial ledger knows nothing of its acceptance"] == [
        one.detail for one in sealed.checks if one.status is Status.FAILED
    ]


def test_an_invalid_run_cannot_be_accepted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It stays 3, says why, and nothing is recorded."""
    few = {"simulate": {"bars": 3620, "edge": 0.3}}  # 85 test decisions: worth too few
    words = ["run", str(written(tmp_path, market=few)), "--accept-suspect", "I like it"]
    assert 3 == perpwalk(tmp_path, *words)

    assert "no reason makes it a result" in capsys.readouterr().err
    assert None is only_run(tmp_path).audit["verdict"].get("accepted")
    assert () == trials.read(tmp_path / "results").accepted


@pytest.mark.long
def test_without_an_edge_nothing_is_ever_supported(tmp_path: Path) -> None:
    """Twelve seeds of a market without edge, each audited in full and declared: none supported."""
    words = []
    for seed in range(12):
        place = tmp_path / str(seed)
        place.mkdir()
        written(place, market={"simulate": {"bars": 5000, "edge": 0.0}}, seed=seed)
        perpwalk(place, "run", "edge.yaml", "--audit", "full", "--prior-trials", "0")
        words.append(only_run(place).audit["verdict"])

    assert not [one for one in words if "supported" in (one["predictive"], one["economic"])]
