"""The command line as a person in a folder gives it, run in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine import cli


def perpwalk(folder: Path, *words: str) -> int:
    """Run a command in ``folder`` and return its exit code."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["perpwalk", *words])
        cli.main()
    return int(stop.value.code or 0)
