"""What is installed is pinned, allowed and looked at; what could not be looked at is said."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements/lock.txt").read_text()


@pytest.fixture
def scan() -> ModuleType:
    spec = importlib.util.spec_from_file_location("scan", ROOT / "requirements/scan.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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


def test_every_installed_licence_is_allowed(scan: ModuleType) -> None:
    """What is not is named with what it says; the exceptions stand in one place with reasons."""
    assert [] == scan.licences()


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ({"dependencies": [{"name": "a", "version": "1", "vulns": []}]}, 0, "0 known"),
        (
            {"dependencies": [{"name": "a", "version": "1", "vulns": [
                {"id": "CVE-1", "fix_versions": ["2"]}]}]},
            1,
            "a 1: CVE-1, fixed in 2",
        ),
        ({"dependencies": [{"name": "a", "skip_reason": "not found"}]}, 3, "NOT KNOWN"),
        (None, 3, "NOT KNOWN"),
    ],
)  # fmt: skip
def test_a_scan_that_could_not_ask_is_no_clean_one(
    scan: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: object,
    code: int,
    said: str,
) -> None:
    """Nothing known, a known vulnerability, packages skipped, and no answer at all."""
    program = tmp_path / "pip-audit"
    written = "pass" if answer is None else f"open(sys.argv[-1], 'w').write({json.dumps(answer)!r})"
    program.write_text(f"#!{sys.executable}\nimport sys\n{written}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", ["scan.py", str(program)])

    assert code == scan.main()
    assert said in capsys.readouterr().out
