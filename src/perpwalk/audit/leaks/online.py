"""K010: forecasts made one at a time, from what was delivered so far, must equal those of a batch.

The batch holds the whole test span. A model that looks at the other rows it is asked for (and
standardises over them, say) forecasts other things live; so does a feature that looks back further
than it declares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pandas as pd

from perpwalk.audit.leaks.contract import Outcome
from perpwalk.domain import Finding, Level

AGREEMENT = 1e-6
ONLINE_BARS = 24  # asked one by one, from the start of a fold


@dataclass(frozen=True)
class Compared:
    """One decision: the probability live and in the batch, None where there is none.

    ``refused`` says why nothing could be forecast live.
    """

    row: int
    live: float | None
    batch: float | None
    refused: str = ""


def audit_online(decisions: Iterable[Compared], close_time: pd.DatetimeIndex, what: str) -> Outcome:
    """Compare decision by decision.

    Parameters
    ----------
    close_time
        Of every bar of the market.
    what
        The model that forecasts, for the summary.
    """
    told = list(decisions)
    gaps = {
        each.row: abs(each.live - each.batch)
        for each in told
        if each.live is not None and each.batch is not None
    }
    missing = [each for each in told if (each.live is None) != (each.batch is None)]
    worst = max(gaps, key=gaps.__getitem__, default=None)
    largest = 0.0 if worst is None else gaps[worst]
    at = "no decision" if worst is None else f"{close_time[worst]:%Y-%m-%d %H:%M} UTC"
    finding = (
        () if largest <= AGREEMENT and not missing else (_finding(largest, at, missing, told),)
    )
    return Outcome(
        detector="online signals",
        summary=f"{what}: {len(gaps)} decisions computed bar by bar; largest difference "
        f"{largest:.3g}",
        findings=finding,
        numbers={
            "compared": float(len(gaps)), "largest": largest, "missing": float(len(missing)),
        },
    )  # fmt: skip


def _finding(largest: float, at: str, missing: list[Compared], told: list[Compared]) -> Finding:
    asked = sum(each.live is not None or each.batch is not None for each in told)
    parts = [f"by up to {largest:.3g} at {at}"]
    parts.append(f"{len(missing)} of {asked} decisions have a forecast in one of the two only")
    parts.extend(_first_refusal(missing))
    return Finding(
        code="K010",
        level=Level.ERROR,
        where="online signals",
        message="forecasts computed bar by bar differ from those computed in one batch",
        observed="; ".join(parts),
        expected=f"at most {AGREEMENT:g}, and the same decisions",
        why="the batch sees something that a live run would not, or a feature looks back "
        "further than it declares",
        advice="K001 and K009 name a feature: give it its true look-back; if they are silent, the "
        "model's forecast of a row depends on the other rows of the batch",
    )


def _first_refusal(missing: list[Compared]) -> Iterator[str]:
    refused = [each.refused for each in missing if each.refused]
    if refused:
        yield f"live it failed: {refused[0]}"
