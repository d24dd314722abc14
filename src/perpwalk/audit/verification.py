"""What ``perpwalk verify`` found: one line per check, and what they add up to."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from enum import StrEnum


class Status(StrEnum):
    """How one check came out."""

    OK = "ok"
    FAILED = "failed"
    NOT_POSSIBLE = "not possible"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at.

    ``step`` is one of the six the predecessor named and two more: files, account. ``detail`` says
    what was found, naming files.
    """

    step: str
    what: str
    status: Status
    detail: str


@dataclass(frozen=True, kw_only=True)
class Verification:
    """All checks of one run.

    A check that was not possible is no *yes*: the answer is yes only where every check is ok.
    """

    run: str
    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """0 where every check is ok, else 1."""
        return 0 if all(one.status is Status.OK for one in self.checks) else 1

    @property
    def summary(self) -> str:
        """Say it in one line."""
        counts = Counter(one.status for one in self.checks)
        told = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
        if self.exit_code == 0:
            return f"verified: {told}. That the run is what it says, not that it is good."
        word = "FAILED" if counts[Status.FAILED] else "not verified"
        return f"{word}: {told}"

    def as_dict(self) -> dict[str, object]:
        """Return what ``--json`` prints."""
        return {
            "run": self.run,
            "answer": "no" if self.exit_code else "yes",
            "exit_code": self.exit_code,
            "summary": self.summary,
            "checks": [{**asdict(one), "status": str(one.status)} for one in self.checks],
        }
