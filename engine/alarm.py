"""A result that is too good to be true is searched for leaks at once, before anybody believes it.

The search is the full one and is kept like any other (``engine.audits``); the run is judged again
over it, and the places to look at first (K012) stand with its findings.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine import audits
from engine.experiment import run_experiment
from engine.progress import Reporter, Silent
from perpwalk.config import Config
from perpwalk.errors import UserError
from perpwalk.runs import Run

TOO_GOOD = ("P011", "P012")
EXPLAINED = ("L001", "L003", "L004", "L005", "L006")  # labels that are no labels explain anything


def run_and_search(
    config: Config,
    *,
    out: Path,
    variant: str = "base",
    reporter: Reporter | None = None,
    **named: Any,
) -> Run:
    """Run one experiment as ``run_experiment`` does; on an alarm search for leaks and judge again.

    A search that cannot be made is said, and the alarm stands.
    """
    tell = reporter or Silent()
    finished = run_experiment(config, out=out, variant=variant, reporter=tell, **named)
    code = alarm(finished.audit)
    if code is None:
        return finished
    tell.say(
        f"{code}: too good to be true. The pipeline is searched for leaks now, in full (most "
        f"detectors with a stand-in for the model, the main ones with {config.model.kind} itself)"
    )
    try:
        audits.ensure(out, config, "full", tell)
    except UserError as error:
        tell.say(f"it cannot be searched: {error}")
        return finished
    return run_experiment(config, out=out, variant=variant, reporter=tell)


def alarm(audit: Mapping[str, Any]) -> str | None:
    """Return the code of an alarm that calls for a search; None where none does.

    None too where a full search is in already, or the labels themselves explain it.
    """
    loud = [f["code"] for f in audit["findings"] if f["level"] in ("warn", "error")]
    if audit["leak_audit"]["tier"] == "full" or set(EXPLAINED) & set(loud):
        return None
    return next((code for code in loud if code in TOO_GOOD), None)
