"""Nothing anywhere says PASS but `check`, and `check` never without its figures."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SAID_BY = {"src/perpwalk/audit/check.py", "src/perpwalk/reports/answers.py"}
SUFFIXES = (".py", ".j2", ".js", ".html", ".css")


def test_only_check_knows_the_word() -> None:
    """No table, page, tearsheet, notebook or comparison can print it."""
    files = [
        path
        for folder in ("src", "engine", "strategies")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in SUFFIXES
    ]
    said = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if re.search(r"\bPASS(ED)?\b", path.read_text(encoding="utf-8"))
    }

    assert len(files) > 100
    assert SAID_BY == said


def test_the_answer_is_always_printed_through_its_headline() -> None:
    """`answers.py` prints an answer in one place, with accuracy, AUC, intervals and n behind it."""
    source = (ROOT / "src/perpwalk/reports/answers.py").read_text(encoding="utf-8")

    assert 1 == source.count("_headline(answer)")
    assert [] == re.findall(r"print\([^)]*Answer\.", source)
    assert "{answer.answer}: {told}, n = " in source
