"""A finished run that is not as it was written: what is said of it, and how it is made again."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from command_line import perpwalk

import perpwalk as library
from perpwalk import disk, runs, seal
from perpwalk.errors import EnvironmentFailedError, UsageError

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


# ── what a document of a run says ────────────────────────────────────────────────────────────────


def test_no_document_of_a_run_steers_the_terminal(place: Path, capsys: Said) -> None:
    """Sealed or not, it may come from anybody: bytes that would steer are shown as such."""
    run = run_in(place)
    audit = json.loads((run / "audit.json").read_text())
    told = {"code": "R101", "level": "warn", "where": "\x9b2J", "message": "predictive: \x1b[2J"}
    runs.write_json(run / "audit.json", audit | {"findings": [*audit["findings"], told]})
    read = json.loads((run / "manifest.json").read_text())
    runs.write_json(run / "manifest.json", seal.sealed(read, run))
    other = run.with_name("zz-00000000")
    shutil.copytree(run, other)
    runs.write_json(other / "manifest.json", seal.sealed(read | {"status": "\x1b[8m"}, other))
    capsys.readouterr()

    here = str(run.relative_to(place))
    for words in (["run", "base.yaml"], ["runs"], ["check", here], ["compare", here, here]):
        perpwalk(place, *words)
        said = capsys.readouterr()
        assert not {"\x1b", "\x9b"} & {*said.out, *said.err}, words
    perpwalk(place, "run", "base.yaml")
    assert "predictive: \N{REPLACEMENT CHARACTER}[2J" in capsys.readouterr().out


# ── places ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("command", ["run", "compare", "audit", "sweep", "placebo"])
def test_a_name_that_is_too_long_is_wrong_usage(place: Path, command: str, capsys: Said) -> None:
    """It is said before anything is computed, in a line that shows how the name begins."""
    for name in ("x" * 5000, "out/" + "é" * 200):
        assert 2 == perpwalk(place, command, "base.yaml", "--out", name)
        said = capsys.readouterr().err
        assert f"the name '{name.rpartition('/')[2][:20]}" in said
        assert 1 == len(said.splitlines())
        assert 200 > len(said)


def test_a_run_waits_for_a_page_that_is_being_drawn(place: Path) -> None:
    """Who asks for a run while its page is drawn makes it, after the page; a second one is told."""
    final = run_in(place)
    asked = {"experiment": "kept", "variant": "base", "digest": final.name[5:], "key": "k"}
    ended = []

    def make() -> None:
        with runs.open_run(place / "results", **asked) as folder:
            (folder.partial / "manifest.json").write_text('{"status": "finished"}')
            folder.finish()
            ended.append("run")

    with disk.renewed(final) as fresh:
        (fresh / "drawn").write_text("x")
        maker = threading.Thread(target=make)
        maker.start()
        while not (final.with_name(f"{final.name}.partial") / "manifest.json").exists():
            assert maker.is_alive()
        with (
            pytest.raises(EnvironmentFailedError, match="is making"),
            runs.open_run(place / "results", **asked),
        ):
            pass
        ended.append("page")
    maker.join()
    assert ["page", "run"] == ended
    assert ["manifest.json"] == [path.name for path in final.iterdir()]
    assert [final] == list(final.parent.iterdir())
