"""What is installed is pinned, allowed and looked at; what could not be looked at is said."""

from __future__ import annotations

import datetime
import importlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from perpwalk import runs

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements/lock.txt").read_text()


@pytest.fixture
def scan(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "requirements")
    return importlib.import_module("scan")


def test_everything_in_the_lock_is_pinned_and_carries_hashes() -> None:
    """Torch apart: one exact pin, without a hash that would not hold for its CPU build."""
    blocks = re.split(r"\n(?=\S)", LOCK.strip())

    assert len(blocks) > 100
    assert [] == [b.splitlines()[0] for b in blocks if "==" not in b or "--hash=sha256:" not in b]
    torch = (ROOT / "requirements/torch.txt").read_text().strip().splitlines()[-1]
    assert re.fullmatch(r"torch==\d+\.\d+\.\d+", torch)


def test_every_dependency_has_a_lower_bound_that_the_lock_keeps() -> None:
    """In pyproject; and each of them is in the lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    bounded = {line: re.match(r"([\w-]+)(>=|==)", line) for line in asked}

    assert [] == [line for line, match in bounded.items() if match is None]
    names = {match[1] for match in bounded.values() if match is not None} - {"torch"}
    assert set() == {name for name in names if f"{name}==" not in LOCK}


def test_a_manifest_has_the_version_of_every_dependency() -> None:
    """Of pyproject's list and no other: one added there stands in the next run's manifest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    expected = {re.split(r"[<>=~!; \[]", line)[0] for line in project["dependencies"]}

    found = runs.package_versions()

    assert {"perpwalk", *expected} == set(found)
    assert [] == [name for name, version in found.items() if version is None]


def test_another_version_of_what_only_shows_or_fetches_makes_nothing_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each such package is one that perpwalk needs; a version of any other counts."""
    before = runs.counting_versions()
    assert set(runs.NEVER_COUNT) == set(runs.package_versions()) - set(before)

    kept = runs._version
    monkeypatch.setattr(runs, "_version", lambda name: "99" if name == "rich" else kept(name))
    assert before == runs.counting_versions()

    monkeypatch.setattr(runs, "_version", lambda name: "99" if name == "numpy" else kept(name))
    assert {**before, "numpy": "99"} == runs.counting_versions()


def test_no_package_is_imported_to_know_its_version() -> None:
    """Neither those that take seconds nor those that are seldom used."""
    code = (
        "import sys; from perpwalk import runs; runs.package_versions(); "
        "print([m for m in 'torch xgboost ccxt plotly matplotlib quantstats'.split() "
        "if m in sys.modules])"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]" == done.stdout.strip()


def test_every_installed_licence_is_allowed(scan: ModuleType) -> None:
    """What is not is named with what it says; the exceptions stand in one place with reasons."""
    assert [] == scan.licences()


def audit(folder: Path, answers: dict[str, object]) -> str:
    """Return a program that answers as pip-audit does, a service each; None is no answer."""
    program = folder / "pip-audit"
    program.write_text(
        f"#!{sys.executable}\nimport json, pathlib, sys\n"
        f"answers = json.loads({json.dumps(answers)!r})\n"
        "answer = answers[sys.argv[sys.argv.index('-s') + 1]]\n"
        f"pathlib.Path({str(folder)!r}, 'asked').write_text(open(sys.argv[2]).read())\n"
        "if answer is None: sys.exit('no network')\n"
        "open(sys.argv[-1], 'w').write(json.dumps({'dependencies': answer}))\n"
    )
    program.chmod(0o755)
    return str(program)


CLEAN = [{"name": "numpy", "version": "1", "vulns": []}]
HARMED = [{"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}]
SKIPPED = [{"name": "numpy", "skip_reason": "not found"}]


@pytest.mark.parametrize(
    ("answers", "code", "said"),
    [
        ({"pypi": CLEAN}, 0, "0 known"),
        ({"pypi": HARMED}, 1, "a 1: CVE-1, fixed in 2"),
        ({"pypi": SKIPPED, "osv": CLEAN}, 0, "0 known"),
        ({"pypi": [*SKIPPED, *HARMED], "osv": CLEAN}, 1, "a 1: CVE-1, fixed in 2"),
        ({"pypi": SKIPPED, "osv": HARMED}, 1, "a 1: CVE-1, fixed in 2"),
        ({"pypi": SKIPPED, "osv": None}, 3, "NOT KNOWN, 1 times no answer"),
        ({"pypi": None, "osv": SKIPPED}, 3, "numpy: pypi: no network; osv: not found"),
        ({"pypi": None, "osv": None}, 3, "make scan ADVISORIES="),
    ],
)
def test_a_scan_that_could_not_ask_is_no_clean_one(
    scan: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answers: dict[str, object],
    code: int,
    said: str,
) -> None:
    """The second service is asked where the first knows nothing; what neither knows is not none."""
    monkeypatch.setattr(sys, "argv", ["scan.py", audit(tmp_path, answers)])
    monkeypatch.setattr(scan, "licences", list)

    assert code == scan.main()
    assert said in capsys.readouterr().out


def test_torch_is_asked_about_with_the_lock(
    scan: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As pinned, with the markers and without the hashes."""
    assert ([], []) == scan.vulnerabilities(audit(tmp_path, {"pypi": CLEAN}))

    asked = (tmp_path / "asked").read_text()
    assert len(scan.locked()) == len(asked.splitlines())
    assert re.search(r"^torch==[\d.]+$", asked, re.M)
    assert re.search(r"^numpy==[\d.]+ ; python_full_version < '3.12'$", asked, re.M)


TODAY = datetime.date(2026, 11, 25)


def advisory(name: str, *, versions: tuple[str, ...] = (), **told: Any) -> dict[str, Any]:
    """Return one about a package of the index, of yesterday, as OSV writes it."""
    events = [{what: at} for what, at in told.pop("events", ())]
    ranges = [{"type": "GIT", "events": [{"introduced": "0"}]}]
    ranges += [{"type": "ECOSYSTEM", "events": events}] if events else []
    package = {"name": name, "ecosystem": "PyPI"}
    affected = [{"package": package, "ranges": ranges, "versions": list(versions)}]
    return {"id": "PYSEC-1", "modified": "2026-11-24T00:00:00Z", "affected": affected, **told}


def export(folder: Path, *advisories: object) -> Path:
    """Write them as the zip that OSV offers."""
    place = folder / "all.zip"
    with zipfile.ZipFile(place, "w") as archive:
        for at, one in enumerate(advisories):
            archive.writestr(f"{at}.json", json.dumps(one))
    return place


SINCE = [("introduced", "1.0"), ("fixed", "1.4"), ("introduced", "2.0"), ("last_affected", "2.2")]


@pytest.mark.parametrize(
    ("version", "fixed"),
    [
        ("0.9", None),
        ("1.0", "1.4"),
        ("1.3.9", "1.4"),
        ("1.4rc1", "1.4"),
        ("1.4", None),
        ("1.10", None),
        ("2.0.0", "no version"),
        ("2.2", "no version"),
        ("2.2.post1", None),
        ("3", None),
    ],
)
def test_an_export_is_asked_by_the_ranges_of_versions(
    scan: ModuleType, tmp_path: Path, version: str, fixed: str | None
) -> None:
    """From introduced on, until fixed or beyond the last affected; by number, not by letter."""
    place = export(tmp_path, advisory("My_Package", events=SINCE))
    found, unknown = scan.advisories.about([("my-package", version)], place, TODAY)

    assert [] == unknown
    assert ([] if fixed is None else [f"my-package {version}: PYSEC-1, fixed in {fixed}"]) == found


def test_an_export_is_asked_by_single_versions_too_and_as_a_folder(
    scan: ModuleType, tmp_path: Path
) -> None:
    """Equal numbers are equal versions; the withdrawn and other ecosystems say nothing."""
    told = [
        advisory("a", versions=("2004d", "1.0.0")),
        advisory("a", versions=("1.1",), id="withdrawn", withdrawn="2026-11-01T00:00:00Z"),
        advisory("b", versions=("1.0",), id="other"),
    ]
    debian = advisory("a", versions=("1.1",), id="debian")
    debian["affected"][0]["package"]["ecosystem"] = "Debian"
    for at, one in enumerate([*told, debian]):
        (tmp_path / f"{at}.json").write_text(json.dumps(one))

    pins = [("a", "1.0"), ("a", "1.1")]
    assert (["a 1.0: PYSEC-1, fixed in no version"], []) == scan.advisories.about(
        pins, tmp_path, TODAY
    )


def test_a_vulnerability_of_several_names_is_told_once(scan: ModuleType, tmp_path: Path) -> None:
    """What another database calls by its own name is known by the alias."""
    first = advisory("a", versions=("1",), aliases=["CVE-1", "GHSA-1"])
    second = advisory("a", versions=("1",), id="GHSA-1", aliases=["CVE-1"])
    place = export(tmp_path, first, second)

    assert ["a 1: PYSEC-1, CVE-1, GHSA-1, fixed in no version"] == scan.advisories.about(
        [("a", "1")], place, TODAY
    )[0]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ([], "holds no advisory about a package of PyPI"),
        ([advisory("a", modified="2026-10-25T00:00:00Z")], "ends on 2026-10-25"),
        ([advisory("a", events=[("introduced", "soon")])], "Invalid version: 'soon'"),
        (["no advisory"], "holds no advisory"),
    ],
)
def test_an_export_that_cannot_know_is_no_clean_one(
    scan: ModuleType, tmp_path: Path, told: list[object], why: str
) -> None:
    """Empty, older than thirty days, or of versions that have no order."""
    found, unknown = scan.advisories.about([("a", "1")], export(tmp_path, *told), TODAY)

    assert [] == found
    assert [True] == [why in one for one in unknown]


@pytest.mark.parametrize("content", [None, b"no zip"])
def test_no_export_or_no_zip_is_said(
    scan: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
) -> None:
    """With the file's name, and as not known."""
    place = tmp_path / "all.zip"
    if content is not None:
        place.write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["scan.py", "--advisories", str(place)])
    monkeypatch.setattr(scan, "licences", list)

    assert 3 == scan.main()
    said = capsys.readouterr().out
    assert "NOT KNOWN" in said
    assert str(place) in said
