"""Where to look first when a result is too good to be true: the three usual suspects.

A feature that answers to the future, a feature that tells the label alone, and an edge that is gone
once its inputs are a bar late. They are named whatever the detectors said: below their alarms, too,
the first of each kind is the place to begin.
"""

from __future__ import annotations

from perpwalk.audit.leaks.canaries import strongest_feature
from perpwalk.audit.leaks.contract import Outcome
from perpwalk.audit.leaks.suite import LeakReport
from perpwalk.domain import Finding, Level


def name_suspects(report: LeakReport) -> Outcome:
    """Return the three suspects of a search, as one note (K012)."""
    named = (_moved(report), _strongest(report), _delayed(report))
    finding = Finding(
        code="K012",
        level=Level.INFO,
        where="suspects",
        message="where to look first if a result is too good to be true",
        observed="; ".join(f"{place}) {text}" for place, text in enumerate(named, start=1)),
    )
    return Outcome(detector="suspects", summary=named[0], findings=(finding,))


def _moved(report: LeakReport) -> str:
    """Name what answered when the future was cut off or replaced."""
    for code in ("K001", "K002", "K008"):
        found = [finding for finding in report.findings if finding.code == code]
        if found:
            more = f" and {len(found) - 1} more" if len(found) > 1 else ""
            return f"{found[0].where}{more} changed with the future ({code})"
    return "nothing changed when the future was cut off or replaced"


def _strongest(report: LeakReport) -> str:
    name, strength, late = strongest_feature(report.control.features, report.control.labels)
    when = " of the bar before" if late else ""
    return f"feature '{name}'{when} tells the label best alone: AUC {strength:.3f}"


def _delayed(report: LeakReport) -> str:
    swept = report.outcome("delay sweep")
    return "delay sweep: only in a full search" if swept is None else swept.summary
