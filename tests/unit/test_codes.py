"""Every code that can be said is explained, and every one specified is accounted for."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/codes.md"
SPECIFIED = {"D": 14, "L": 16, "S": 9, "P": 15, "K": 9, "U": 10, "A": 10}


def test_every_code_in_the_source_is_explained() -> None:
    """A finding of an unknown code would send its reader nowhere."""
    page = PAGE.read_text(encoding="utf-8")
    said = set()
    for folder in (ROOT / "src", ROOT / "engine"):
        for file in folder.rglob("*.py"):
            said |= set(re.findall(r'"([DLSPKUAR]\d{3})"', file.read_text(encoding="utf-8")))

    assert len(said) > 60
    assert [] == sorted(code for code in said if code not in page)


def test_every_specified_code_is_there_or_says_why_not() -> None:
    """D001 … D014 and so on: none is passed over in silence."""
    page = PAGE.read_text(encoding="utf-8")
    wanted = [f"{kind}{n:03d}" for kind, most in SPECIFIED.items() for n in range(1, most + 1)]

    assert [] == [code for code in wanted if code not in page]
