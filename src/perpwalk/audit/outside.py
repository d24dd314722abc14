"""What a verdict rests on besides its own run: the trials so far, and the search for leaks.

Both are taken down when a run is judged and written into its ``audit.json``: from that file alone
the verdict can be made again, whatever has been tried or audited in the workspace since. Two
workspaces with the same history and the same question have the same bytes there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from perpwalk.audit.placebo import PlaceboRecord, of_placebo
from perpwalk.deflation import TrialsSoFar
from perpwalk.domain import Finding, Level

LeakAudit = Literal["none", "quick", "full"]
WORST_FIRST = (Level.ERROR, Level.WARN, Level.INFO)
SUSPECTS = "K012"
SEARCH = "leak audit: "  # stands before the place of its findings in a run's audit.json


@dataclass(frozen=True, kw_only=True)
class Outside:
    """The trials so far, and what a search of the same pipeline for leaks has found.

    Attributes
    ----------
    trials
        None where no ledger counts them.
    leak_audit
        How deep the search went.
    leak_findings
        Its errors and warnings.
    leak_note
        Why an audit that is kept was not used; None where one was, or none is there.
    placebo
        What a placebo battery of the run came to; None where there was none.
    """

    trials: TrialsSoFar | None = None
    leak_audit: LeakAudit = "none"
    leak_findings: tuple[Finding, ...] = ()
    leak_note: str | None = None
    placebo: PlaceboRecord | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What came of the search for leaks and of the placebos."""
        return (*self.leak_findings, *(() if self.placebo is None else self.placebo.findings))

    def as_dict(self) -> dict[str, Any]:
        """Return the sections ``trials``, ``leak_audit`` and ``placebo`` of ``audit.json``."""
        told: dict[str, Any] = {
            "trials": None if self.trials is None else self.trials.as_dict(),
            "leak_audit": {"tier": self.leak_audit, "note": self.leak_note},
        }
        return told if self.placebo is None else told | {"placebo": list(self.placebo.rows)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Outside:
        """Return what stands in an ``audit.json``; nothing where it has no such sections."""
        counted = document.get("trials")
        search = document.get("leak_audit") or {"tier": "none", "note": None}
        entries = [e for e in document["findings"] if of_search(e)]
        return cls(
            trials=None if counted is None else TrialsSoFar.of(counted),
            leak_audit=search["tier"],
            leak_findings=tuple(finding_of(entry) for entry in entries),
            leak_note=search["note"],
            placebo=_placebo_of(document),
        )


def _placebo_of(document: Mapping[str, Any]) -> PlaceboRecord | None:
    if "placebo" not in document:
        return None
    entries = [finding_of(e) for e in document["findings"] if of_placebo(e)]
    return PlaceboRecord(tuple(document["placebo"]), tuple(entries))


def from_outside(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry of ``findings`` comes from outside the run itself."""
    return of_search(entry) or of_placebo(entry)


def of_search(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry of ``findings`` comes from a search for leaks."""
    return str(entry["where"]).startswith(SEARCH)


def finding_of(entry: Mapping[str, Any]) -> Finding:
    """Return a finding from an entry of ``audit.json``."""
    return Finding(**{**entry, "level": Level(entry["level"])})


def search_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the errors and warnings of a search for leaks as a run takes them over.

    And where to look first (K012). Findings about labels, splits and features stay out: the run has
    looked at its own. The worst come first, as in ``audit.json``.
    """
    taken = [
        replace(f, where=f"{SEARCH}{f.where}")
        for f in findings
        if f.code == SUSPECTS or (f.level is not Level.INFO and f.code.startswith(("K", "P014")))
    ]
    return tuple(sorted(taken, key=lambda f: WORST_FIRST.index(f.level)))
