"""``perpwalk verify``: a whole run is confirmed, and no file of it can be changed unnoticed."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from engine.experiment import run_experiment
from engine.verify import verify_run
from perpwalk import config, data, runs, seal
from perpwalk.audit.verification import Status, Verification
from perpwalk.errors import UsageError
from perpwalk.reports.answers import as_json, show_verification

SMALL = {
    "name": "verified",
    "market": {"simulate": {"bars": 2400, "edge": 0.3}},
    "walk_forward": {
        "scheme": "rolling", "train": "1200bars", "validation": "300bars", "test": "300bars",
        "min_train_rows": 500,
    },
    "model": {
        "kind": "lstm_xgb",
        "lstm": {
            "timesteps": 5, "layers": 1, "hidden": 8, "dense": 8, "embedding": 4, "epochs": 2,
        },
        "xgb": {"rounds": 20},
    },
    "report": {"tearsheet": False, "html": False},
    "compute": {"threads": 1},
}  # fmt: skip


def sealed(run: runs.Run) -> Path:
    """Seal a run as it stands: an honest run does so itself, a forger does it again."""
    manifest = json.loads((run.path / "manifest.json").read_text())
    runs.write_json(run.path / "manifest.json", seal.sealed(manifest, run.path))
    return run.path


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results")
    return sealed(run_experiment(config.resolve(SMALL), out=out))


@pytest.fixture
def copy(original: Path, tmp_path: Path) -> Path:
    """Return a copy of the run under its own name, to tamper with."""
    return Path(shutil.copytree(original, tmp_path / original.name))


def wrong(found: Verification) -> dict[str, str]:
    """Return the failed checks and what they say."""
    return {one.what: one.detail for one in found.checks if one.status is Status.FAILED}


def test_an_untouched_run_is_verified(original: Path) -> None:
    """Every check is ok: data, folds, features, models, account, metrics and audit made again."""
    found = verify_run(original)

    assert {} == wrong(found)
    assert {Status.OK} == {one.status for one in found.checks}
    assert 0 == found.exit_code
    assert {
        "files", "configuration", "data loading", "split", "feature extraction", "architecture",
        "model files", "account",
    } == {one.step for one in found.checks}  # fmt: skip


def test_the_answer_is_a_table_and_json(original: Path) -> None:
    """Both name every check; the summary does not call the run good."""
    found = verify_run(original, samples=1)
    console = Console(file=io.StringIO(), width=250)
    show_verification(found, console)
    text = console.file.getvalue()
    told = json.loads(as_json(found))

    assert all(one.what in text for one in found.checks)
    assert "not that it is good" in text
    assert ("yes", 0, len(found.checks)) == (
        told["answer"], told["exit_code"], len(told["checks"]),
    )  # fmt: skip


def test_every_changed_missing_or_added_file_is_named(copy: Path) -> None:
    """One byte changed in any file, the manifest included, is found and the file is named."""
    manifest = json.loads((copy / "manifest.json").read_text())
    files = [p for p in copy.rglob("*") if p.is_file() and p.name != "manifest.json"]
    assert len(files) > 20
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        name = path.relative_to(copy).as_posix()
        assert (seal.Break(name, "changed"),) == seal.broken(manifest, copy)
        path.unlink()
        assert (seal.Break(name, "missing"),) == seal.broken(manifest, copy)
        path.write_bytes(content)
    (copy / "models" / "extra.bin").write_bytes(b"x")
    assert (seal.Break("models/extra.bin", "added"),) == seal.broken(manifest, copy)
    assert "manifest.json" == seal.broken(manifest | {"seed": 8}, copy)[0].file
    assert (seal.Break("manifest.json", "not sealed"),) == seal.broken({"seed": 7}, copy)


def test_writing_one_file_again_on_purpose_covers_up_no_other_change(copy: Path) -> None:
    """A page rendered again gets a new hash; a forged table beside it is still found."""
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "report.html").write_text("rendered again")
    (copy / "trades.csv").write_text("forged")
    again = seal.resealed(manifest, copy, ["report.html"])

    assert (seal.Break("trades.csv", "changed"),) == seal.broken(again, copy)


def test_tampering_is_reported_through_the_command(copy: Path) -> None:
    """The failed check names the file, the answer is no."""
    log = copy / "run.log"
    log.write_text(log.read_text() + "nothing happened\n")
    found = verify_run(copy, samples=1)

    assert {"as they were written": "run.log changed"} == wrong(found)
    assert 1 == found.exit_code


def edit_table(name: str, column: str, change: Callable[[pd.Series], pd.Series]) -> object:
    def edit(run: Path) -> None:
        path = run / name
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            frame[column] = change(frame[column])
            runs.write_parquet(path, frame)
        else:
            frame = pd.read_csv(path)
            frame[column] = change(frame[column])
            frame.to_csv(path, index=False)

    return edit


def edit_json(name: str, change: Callable[[object], object]) -> object:
    def edit(run: Path) -> None:
        path = run / name
        runs.write_json(path, change(json.loads(path.read_text())))

    return edit


def one_more(values: pd.Series) -> pd.Series:
    """Move one value in the middle of a column by a little."""
    changed = values.copy()
    row = len(changed) // 2
    changed.iloc[row] = changed.iloc[row] + 1e-6
    return changed


def better(rows: object) -> object:
    rows[-1]["sharpe"] = 9.0
    return rows


OUTPUTS = {
    "equity.parquet": edit_table("equity.parquet", "equity", one_more),
    "orders.csv": edit_table("orders.csv", "fee", one_more),
    "trades.csv": edit_table("trades.csv", "net_pnl", one_more),
    "funding.csv": edit_table("funding.csv", "payment", one_more),
    "metrics.csv": edit_table("metrics.csv", "accuracy", one_more),
    "metrics.json": edit_json("metrics.json", better),
    "training.csv": edit_table("training.csv", "epoch", lambda epochs: epochs + epochs.index % 2),
    "audit.json": edit_json(
        "audit.json",
        lambda a: (
            a | {"evidence": a["evidence"] | {"sharpe": a["evidence"]["sharpe"] | {"value": 9.0}}}
        ),
    ),
}


def test_results_forged_and_sealed_again_do_not_follow_from_the_run(copy: Path) -> None:
    """Whoever also rewrites the seal is caught by making everything again; each file is named."""
    for edit in OUTPUTS.values():
        edit(copy)
    found = verify_run(sealed(runs.Run(copy)), samples=1)
    told = " ".join(wrong(found).values())

    assert "as they were written" not in wrong(found)
    assert [] == [name for name in OUTPUTS if name not in told]
    assert 1 == found.exit_code


def heavier(weights: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(weights)
    name = max(tensors, key=lambda key: tensors[key].size)
    tensors[name] = tensors[name] + np.float32(0.25)
    save_file(tensors, weights)


def test_artifacts_exchanged_and_sealed_again_do_not_fit(copy: Path) -> None:
    """Other weights, trees, scaling, features, sizes, thresholds or forecasts are told apart."""
    heavier(copy / "models/fold-000/lstm.safetensors")
    edit_json("models/fold-000/config.json", lambda c: c | {"lstm": c["lstm"] | {"dropout": 0.5}})(
        copy
    )
    edit_json("models/fold-001/scaler.json", lambda s: s | {"center": [0.0] * len(s["center"])})(
        copy
    )
    edit_json("models/fold-001/features.json", lambda f: f | {"rows_seen": [0, 1]})(copy)
    edit_table("folds.csv", "threshold", one_more)(copy)
    found = wrong(verify_run(sealed(runs.Run(copy)), samples=1))

    assert "as they were written" not in found
    assert "models/fold-000/config.json" in found["as configured"]
    for name in ("scaler.json", "features.json"):
        assert f"models/fold-001/{name}" in found["choice and scaling made again"]
    for fold in (0, 1):
        assert f"models/fold-00{fold} do not belong together" in found["forecasts made again"]
    assert "folds.csv: threshold" in found["thresholds made again"]


def test_a_forged_verdict_is_refused(copy: Path) -> None:
    """A verdict better than its findings allow is named, sealed again or not."""
    word = {"overall": "supported", "predictive": "inconclusive", "economic": "supported"}
    edit_json("audit.json", lambda audit: audit | {"verdict": word})(copy)
    found = wrong(verify_run(sealed(runs.Run(copy)), samples=1))

    assert "audit.json" in found["verdict fits its findings"]


def test_another_configuration_under_the_same_name_is_refused(copy: Path) -> None:
    """The digest of config.yaml has to be that of the folder's name and of the manifest."""
    text = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(text.replace("seed: 7", "seed: 8", 1))
    found = wrong(verify_run(sealed(runs.Run(copy)), samples=1))

    assert "folder is named" in found["digest"]
    assert "manifest.json" in found["digest"]


@pytest.mark.parametrize("name", ["config.yaml", "folds.csv", "predictions.parquet"])
def test_a_file_that_cannot_be_read_is_a_finding(copy: Path, name: str) -> None:
    """Garbage in a file ends in a named failure, never in a traceback."""
    (copy / name).write_bytes(b"\x00\xff: [garbage")
    found = verify_run(copy, samples=1)

    assert f"{name} changed" in wrong(found)["as they were written"]
    assert 1 == found.exit_code


def test_a_damaged_manifest_is_a_finding(copy: Path) -> None:
    """Without a manifest little can be checked, and the answer is no."""
    (copy / "manifest.json").write_text("{")
    found = verify_run(copy, samples=1)

    assert "manifest.json" in wrong(found)["as they were written"]
    assert any(one.status is Status.NOT_POSSIBLE for one in found.checks)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    """A missing folder and an interrupted run are the user's to mend."""
    (tmp_path / "base-12345678.partial").mkdir()
    with pytest.raises(UsageError, match="no run at"):
        verify_run(tmp_path / "none")
    with pytest.raises(UsageError, match="interrupted"):
        verify_run(tmp_path / "base-12345678.partial")


def test_changed_or_missing_data_is_named(tmp_path: Path) -> None:
    """A data file that is no longer what the run read is named, and so is one that is gone."""
    market = data.load_market(config.resolve(SMALL).market, seed=7)
    frame = market.bars.to_frame()
    frame.index.name = "timestamp"
    frame.to_csv(tmp_path / "bars.csv")
    pd.DataFrame(
        {"timestamp": market.funding.settle_time, "funding_rate": market.funding.rate}
    ).to_csv(tmp_path / "funding.csv", index=False)
    places = {kind: str(tmp_path / f"{name}.csv") for kind, name in
              (("ohlcv", "bars"), ("funding", "funding"))}  # fmt: skip
    asked = SMALL | {"market": SMALL["market"] | places, "model": {"kind": "logistic"}}
    run = sealed(run_experiment(config.resolve(asked), out=tmp_path / "out"))
    untouched = verify_run(run, samples=4)
    text = (tmp_path / "bars.csv").read_text()
    (tmp_path / "bars.csv").write_text(text.rstrip("\n")[:-1] + "\n")
    changed = verify_run(run, samples=1)
    (tmp_path / "bars.csv").unlink()
    gone = verify_run(run, samples=1)

    assert {} == wrong(untouched)
    assert "bars.csv (ohlcv) has changed" in wrong(changed)["files unchanged"]
    assert "bars.csv (ohlcv) is missing" in wrong(gone)["files unchanged"]
    assert any(one.status is Status.NOT_POSSIBLE for one in gone.checks)
    assert [1, 1] == [changed.exit_code, gone.exit_code]


def test_a_model_that_was_changed_is_not_loaded(copy: Path) -> None:
    """What the seal does not vouch for never reaches the parser of trees."""
    (copy / "models/fold-000/xgb.ubj").write_bytes(b"{L")

    found = wrong(verify_run(copy, samples=1))

    assert "models/fold-000/xgb.ubj is not as it was written; it is not loaded" in found["load"]
