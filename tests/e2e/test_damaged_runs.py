"""A finished run that is not as it was written: what is said of it, and how it is made again."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from command_line import perpwalk

import perpwalk as library
from perpwalk.errors import UsageError

CONFIG = {
    "name": "kept",
    "market": {"simulate": {"bars": 1600, "edge": 0.3}},
    "features": {"include": ["calendar"]},
    "walk_forward": {
        "train": "600bars", "validation": "200bars", "test": "400bars", "min_train_rows": 300,
    },
    "model": {"kind": "majority"},
    "report": {"tearsheet": False, "html": False},
    "compute": {"threads": 1},
}  # fmt: skip
Said = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("kept")
    (place / "base.yaml").write_text(yaml.safe_dump(CONFIG))
    assert 0 == perpwalk(place, "run", "base.yaml")
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """Return a workspace of its own with a finished run and a second one of another name."""
    shutil.copytree(made, tmp_path / "w")
    return tmp_path / "w"


def run_in(place: Path) -> Path:
    return next((place / "results" / "kept").glob("base-*"))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


# ── what no run may be taken for ─────────────────────────────────────────────────────────────────


def better_metrics(run: Path) -> None:
    lines = (run / "metrics.csv").read_text().splitlines()
    header, row = lines[0].split(","), lines[1].split(",")
    row[header.index("total_return")] = "5.0"
    (run / "metrics.csv").write_text("\n".join([lines[0], ",".join(row), *lines[2:]]) + "\n")


def better_verdict(run: Path) -> None:
    audit = json.loads((run / "audit.json").read_text())
    word = dict.fromkeys(("overall", "predictive", "economic"), "supported")
    audit |= {"verdict": word, "findings": []}
    (run / "audit.json").write_text(json.dumps(audit))


def manifest(run: Path, **changes: object) -> None:
    written = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps(written | changes))


def half_manifest(run: Path) -> None:
    (run / "manifest.json").write_bytes((run / "manifest.json").read_bytes()[:100])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "metrics": (better_metrics, "metrics.csv changed"),
    "verdict": (better_verdict, "audit.json changed"),
    "table lost": (lambda run: (run / "trades.csv").unlink(), "trades.csv missing"),
    "table more": (lambda run: (run / "seeds.csv").write_text("a\n1\n"), "seeds.csv added"),
    "manifest changed": (lambda run: manifest(run, seed=8), "manifest.json changed"),
    "manifest lost": (lambda run: (run / "manifest.json").unlink(), "has no manifest.json"),
    "half manifest": (half_manifest, "manifest.json"),
    "status": (lambda run: manifest(run, status={}), "manifest.json, status"),
    "way out": (lambda run: manifest(run, files={"../../x": "0" * 64}), "../../x"),
    "another question": (lambda run: manifest(run, config_hash="0" * 64), "manifest.json changed"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_run_that_is_not_as_it_was_written_is_no_answer(
    place: Path, name: str, capsys: Said
) -> None:
    """The file is named, nothing is shown and nothing replaced."""
    run = run_in(place)
    damage, named = DAMAGES[name]
    damage(run)
    damaged = contents(run)
    capsys.readouterr()

    assert 2 == perpwalk(place, "run", "base.yaml")
    said = capsys.readouterr()
    assert named in said.err
    assert "--force" in said.err
    assert "" == said.out
    assert damaged == contents(run)


@pytest.mark.parametrize("name", ["half manifest", "status", "way out", "manifest lost"])
def test_a_damaged_run_is_made_again_when_asked(place: Path, name: str) -> None:
    """``--force`` reads nothing of what it replaces, and the run is what it was."""
    run = run_in(place)
    before = contents(run)
    DAMAGES[name][0](run)

    assert 0 == perpwalk(place, "run", "base.yaml", "--force")
    after = contents(run)
    for own in ("metrics.csv", "audit.json", "trades.csv", "config.yaml"):
        assert before[own] == after[own], own
    assert 0 == perpwalk(place, "run", "base.yaml")
    assert [run.name] == [p.name for p in run.parent.iterdir()]


def test_python_is_given_no_changed_run_either(place: Path) -> None:
    """``perpwalk.run`` and ``perpwalk.load`` name the file and return nothing."""
    run = run_in(place)
    assert "inconclusive" == library.load(run).verdict
    (run / "notes.txt").write_text("mine")
    library.load(run)
    better_verdict(run)

    with pytest.raises(UsageError, match=r"audit\.json changed"):
        library.load(run)
    with pytest.raises(UsageError, match=r"audit\.json changed"):
        library.run(place / "base.yaml", out=place / "results")


def test_a_damaged_run_of_another_variant_stands_in_nobody_s_way(place: Path) -> None:
    """It answers nothing and stays as it is; the same question asked under its own name is made."""
    run = run_in(place)
    other = run.rename(run.with_name(run.name.replace("base", "other")))
    assert 0 == perpwalk(place, "run", "base.yaml")
    assert not run.exists()  # the other one has answered
    better_metrics(other)
    damaged = contents(other)

    assert 0 == perpwalk(place, "run", "base.yaml")
    assert damaged == contents(other)
    assert "inconclusive" == library.load(run).verdict


# ── lists ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (half_manifest, "manifest.json"),
        (better_verdict, "audit.json changed"),
        (lambda run: manifest(run, seed=8), "manifest.json changed"),
        (lambda run: (run / "audit.json").unlink(), "has no audit.json"),
    ],
    ids=["half manifest", "verdict", "manifest", "no audit"],
)
def test_a_list_of_runs_holds_the_others_and_the_damaged_one(
    place: Path, capsys: Said, damage: Callable[[Path], object], why: str
) -> None:
    """One that cannot be told is damaged, with the reason; its verdict is not repeated."""
    run = run_in(place)
    shutil.copytree(run, run.with_name("zz-00000000"))
    damage(run)
    capsys.readouterr()

    assert 0 == perpwalk(place, "runs")
    said = " ".join(capsys.readouterr().out.split())
    assert f"{run.name} damaged" in said
    assert why.split()[0] in said
    assert "supported" not in said
    assert "zz-00000000 finished inconclusive" in said


def test_a_comparison_is_not_kept_up_by_a_damaged_run_it_does_not_need(
    place: Path, capsys: Said
) -> None:
    """Its fits are not taken, which is said."""
    run = run_in(place)
    shutil.copytree(run, run.with_name("aa-00000000"))
    half_manifest(run.with_name("aa-00000000"))

    grid = ("--grid", "strategy.threshold=0.45,0.55")
    assert perpwalk(place, "compare", "base.yaml", *grid) in (0, 3, 4)
    assert "passed over" in capsys.readouterr().err
