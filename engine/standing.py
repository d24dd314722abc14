"""What a run stands on besides itself, and how that may change once it is finished.

Before it is judged, the trials so far and the search for leaks are taken down (``look_outside``).
Afterwards a run can be judged again over what is known now (``renew``), and a person may accept a
suspicion (``accept``). Both rewrite ``audit.json`` and the pages, and renew the seal of just these.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from engine import audits
from perpwalk import disk, reports, runs, seal, trials
from perpwalk import returns as growth
from perpwalk.audit.judge import judge_again
from perpwalk.audit.outside import Outside
from perpwalk.audit.placebo import PlaceboRecord
from perpwalk.config import Config
from perpwalk.deflation import survey
from perpwalk.errors import DataError, UsageError
from perpwalk.reports.daily import account_returns
from perpwalk.runs import Run
from perpwalk.uncertainty.sharpe import sharpe_stats

LEAST_REASON = 3  # letters
PLACEBO_FILE = "placebo.csv"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """``outside`` enters the verdict; ``anchors`` go into the manifest and say where it is from."""

    outside: Outside
    anchors: Mapping[str, Any]

    def with_placebo(self, record: PlaceboRecord | None) -> Standing:
        """Return it with the placebo battery of a run of the same question."""
        return replace(self, outside=replace(self.outside, placebo=record))


def look_outside(
    results: Path,
    config: Config,
    *,
    digest: str,
    hashes: Mapping[str, str],
    equity: pd.DataFrame,
    bar_seconds: float,
) -> Standing:
    """Take down the trials so far and the search for leaks that hold for a run.

    Parameters
    ----------
    equity
        The run's equity table: its own Sharpe ratio and daily returns are known although its line
        in the ledger is not written yet.
    """
    returns = growth.equity_returns(config.broker.cash, equity["equity"].to_numpy(dtype=float))
    stats = sharpe_stats(returns)
    so_far, counted, ledger = survey(
        results,
        bar_seconds=bar_seconds,
        digest=digest,
        sharpe=None if stats is None else stats.sharpe,
        daily=account_returns(equity),
    )
    kept = audits.find(results, config, hashes)
    return Standing(
        outside=Outside(
            trials=so_far,
            leak_audit=kept.tier,
            leak_findings=kept.findings,
            leak_note=kept.note,
        ),
        anchors={
            "trials": {
                "said": so_far.as_text(),
                "runs": counted.runs,
                "prior": counted.prior,
                "ledger_lines": ledger.lines,
                "ledger_head": ledger.head,
            },
            "leak_audit": kept.anchor,
        },
    )


# ── judging a finished run again ─────────────────────────────────────────────────────────────────


def renew(results: Path, run: Run, config: Config, hashes: Mapping[str, str]) -> Run | None:
    """Judge a finished run again where a search for leaks or a declaration came since.

    Nothing is fitted and no figure of the run changes. Other trials made since are counted too, but
    alone they are no reason: a run says what was known when it was judged.

    Returns
    -------
    Run or None
        None where nothing came since.
    """
    if "trials" not in run.audit:  # made before verdicts took them down: only --force helps
        return None
    stamps = pd.DatetimeIndex(run.equity["close_time"])
    found = look_outside(
        results, config, digest=run.question, hashes=hashes, equity=run.equity,
        bar_seconds=(stamps[1] - stamps[0]).total_seconds() if len(stamps) > 1 else 3600.0,
    )  # fmt: skip
    before, now = Outside.of(run.audit), found.outside
    said = None if before.trials is None else before.trials.prior
    declared = None if now.trials is None else now.trials.prior
    same_search = (before.leak_audit, before.leak_findings, before.leak_note) == (
        now.leak_audit, now.leak_findings, now.leak_note,
    )  # fmt: skip
    if said == declared and same_search:
        return None
    document = _judged_again(run, replace(now, placebo=before.placebo))
    return _rewritten(run, document, {**run.manifest, **found.anchors})


def with_placebo(run: Run, record: PlaceboRecord) -> Run:
    """Write a placebo battery into a finished run's folder and judge the run over it."""
    document = _judged_again(run, replace(Outside.of(run.audit), placebo=record))
    return _rewritten(run, document, run.manifest, record)


def write_placebo(folder: Path, record: PlaceboRecord | None) -> None:
    """Write ``placebo.csv`` where there was a battery."""
    if record is not None:
        runs.write_csv(folder / PLACEBO_FILE, record.table)


def _judged_again(run: Run, now: Outside) -> dict[str, Any]:
    """Return a run's audit over what is known now; an acceptance stays with a suspicion."""
    document: dict[str, Any] = judge_again(run.audit, now)
    accepted = run.audit["verdict"].get("accepted")
    if accepted is not None and document["verdict"]["overall"] == "suspect":
        document["verdict"]["accepted"] = accepted
    return document


def _rewritten(
    run: Run,
    document: Mapping[str, Any],
    manifest: Mapping[str, Any],
    record: PlaceboRecord | None = None,
) -> Run:
    """Write ``audit.json`` and the pages of a finished run again, with their seal, in one step.

    ``record`` is a placebo battery to be written with it.
    """
    with disk.renewed(run.path) as place:
        write_placebo(place, record)
        others = [] if record is None else [PLACEBO_FILE]
        runs.write_json(place / "audit.json", runs.plain(document))
        written = seal.resealed(manifest, place, ["audit.json", *others])
        runs.write_json(place / seal.MANIFEST, written)  # the pages show it
        pages = [
            write(Run(place))
            for name, write in (
                ("tearsheet.html", reports.write_tearsheet_of),
                ("report.html", reports.write_page_of),
            )
            if (place / name).is_file()
        ]
        reports.reseal(Run(place), pages)
    return runs.load_run(run.path)


# ── accepting a suspicion ────────────────────────────────────────────────────────────────────────


def check_reason(reason: str) -> str:
    """Return a person's reason without blanks around it.

    Raises
    ------
    UsageError
        It is empty.
    """
    told = " ".join(reason.split())
    if len(told) < LEAST_REASON:
        raise UsageError(
            "--accept-suspect needs a reason: say what was looked at and why the result may be "
            "believed"
        )
    return told


def accept(run: Run, reason: str) -> Run | None:
    """Record why a suspicious run may be believed, in its audit and in the trial ledger.

    Returns
    -------
    Run or None
        None where the verdict is not *suspect*: an invalid run is not made valid by any reason,
        and there is nothing to accept of another.

    Raises
    ------
    UsageError
        The reason is empty.
    """
    told = check_reason(reason)
    verdict = run.audit["verdict"]
    if verdict["overall"] != "suspect":
        return None
    moment = pd.Timestamp.now("UTC").isoformat(timespec="seconds").replace("+00:00", "Z")
    accepted = {"reason": told, "at": moment, "by": _who()}
    trials.accept(results_of(run), digest=run.question, acceptance=accepted)
    document = {**run.audit, "verdict": {**verdict, "accepted": accepted}}
    return _rewritten(run, document, run.manifest)


def require_same_data(run: Run, config: Config, hashes: Mapping[str, str]) -> None:
    """Refuse to go on with a finished run on other data than those it was made of.

    Raises
    ------
    DataError
        The data have changed since.
    """
    if config.digest(dict(hashes)) != run.question:
        raise DataError(
            f"the data that {run.path} was made of are not the same any more; run its "
            "configuration again, then go on from that run"
        )


def results_of(run: Run) -> Path:
    """Return the results folder a run's folder lies in: ``results/<experiment>/<run>``."""
    return run.path.resolve().parent.parent


def _who() -> str | None:
    """Return the name of the user, where the system knows one."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def exit_code(audit: Mapping[str, Any]) -> int:
    """Return what the command line returns for a verdict: 3 invalid, 4 suspect, else 0.

    A suspicion that a person accepted is none any more.
    """
    verdict = audit["verdict"]
    if verdict["overall"] == "suspect" and verdict.get("accepted"):
        return 0
    return {"invalid": 3, "suspect": 4}.get(verdict["overall"], 0)
