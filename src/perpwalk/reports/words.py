"""Numbers in words: one place for how a figure is shown, an undefined one included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from perpwalk.costs import COST_MULTIPLES, CostSummary

KINDS = {"symbol": "contract"}  # kinds of period that readers know under another name
UNDEFINED = "—"


def known(value: object) -> bool:
    """Return whether ``value`` is a number (neither None, NaN nor NA)."""
    return not (value is None or pd.isna(value))  # type: ignore[call-overload]


def decimal(value: float | None, digits: int = 3) -> str:
    """Return a plain number, a dash where it is undefined; a rounded zero has no sign.

    >>> decimal(0.5423), decimal(None), decimal(-0.0001)
    ('0.542', '—', '0.000')
    """
    if value is None or not known(value):
        return UNDEFINED
    return f"{round(value, digits) + 0.0:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a fraction in percent.

    >>> percent(-0.1234)
    '-12.3 %'
    """
    if value is None or not known(value):
        return UNDEFINED
    return f"{100 * value:.{digits}f} %" if abs(value) < 100 else f"{value:.1e}"


def level(confidence: float) -> str:
    """Return the confidence of an interval in percent, to as many digits as it has.

    >>> level(0.95), level(0.975)
    ('95 %', '97.5 %')
    """
    return f"{100 * confidence:.6g} %"


def money(value: float | None) -> str:
    """Return an amount with thousands separated; a negative zero is a zero.

    >>> money(-1234.5)
    '-1,234.50'
    """
    return f"{value + 0.0:,.2f}" if value is not None and known(value) else UNDEFINED


def count(value: float | None) -> str:
    """Return a whole number with thousands separated."""
    return f"{int(value):,}" if value is not None and known(value) else UNDEFINED


def basis_points(value: float | None, digits: int = 2) -> str:
    """Return a fraction in basis points.

    >>> basis_points(0.0005)
    '5.00 bp'
    """
    return f"{1e4 * value:.{digits}f} bp" if value is not None and known(value) else UNDEFINED


def costs(summary: CostSummary) -> str:
    """Return where the money went, each cost apart, and the fee at which nothing is left."""
    liquidation = f", liquidation {money(-summary.liquidation)}" if summary.liquidation else ""
    return (
        f"gross {money(summary.gross)}, fees {money(-summary.fees)}, slippage "
        f"{money(-summary.slippage)}, funding {money(summary.funding)}{liquidation}: net "
        f"{money(summary.net)}; break-even fee {basis_points(summary.break_even_fee)} a side, "
        f"paid {basis_points(summary.fee_paid)}"
    )


def cost_levels(summary: CostSummary) -> str:
    """Return what would be left of the same trades had fees and slippage been 0 to 3 times."""
    levels = ", ".join(f"{m:.0f}×: {money(summary.net_at(m))}" for m in COST_MULTIPLES)
    return f"net with fees and slippage at {levels}"


def break_even(evidence: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return the accuracy that would pay the costs beside the one reached; None if unknown."""
    needed = evidence.get("break_even_accuracy", {}).get("value")
    if needed is None:
        return None
    reached = evidence["accuracy"]
    between = interval(reached["lo"], reached["hi"])
    told = f"{decimal(reached['value'])} [{between}]" if between else decimal(reached["value"])
    shown = "none at all" if needed > 1 else decimal(needed)
    return f"break-even accuracy {shown} (all moves equally large), reached {told}"


def skill(evidence: Mapping[str, Mapping[str, Any]]) -> str | None:
    """Return how likely the Sharpe ratio is skill, and how long a record it needs; None unknown."""
    if "minimum_track_record" not in evidence:
        return None
    one, many, record = (
        evidence[name]
        for name in ("probability_of_skill", "deflated_sharpe", "minimum_track_record")
    )
    needed = record["reason"] if record["value"] is None else f"{record['value']:,.0f} bars"
    return (
        f"Sharpe ratio above 0 with probability {decimal(one['value'])}, deflated for the trials "
        f"{decimal(many['value'])}; minimum track record at 95 %: {needed}, this one has "
        f"{record['n']:,}"
    )


def accepted(verdict: Mapping[str, Any]) -> str | None:
    """Return who accepted a suspicion, when and why; None where nobody did."""
    word = verdict.get("accepted")
    if not word:
        return None
    who = f" by {word['by']}" if word.get("by") else ""
    return f"accepted{who} at {word['at']}: {word['reason']}"


def reasons(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return why a verdict is what it is."""
    return [str(f["message"]).partition(": ")[2] for f in findings if f["code"] == "R101"]


def chance(p: float | None) -> str:
    """Return a probability; a tiny one is not called zero.

    >>> chance(0.0312), chance(0.00004), chance(None)
    ('0.031', '< 0.001', '—')
    """
    return "< 0.001" if p is not None and known(p) and p < 0.0005 else decimal(p)


def both(low: float | None, high: float | None) -> tuple[float, float] | None:
    """Return both ends of an interval, None where either is undefined.

    >>> both(0.1, 0.2), both(None, 0.2)
    ((0.1, 0.2), None)
    """
    if low is None or high is None or not known(low) or not known(high):
        return None
    return float(low), float(high)


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Return an interval, empty where it is undefined.

    >>> interval(0.51, 0.5432)
    '0.510–0.543'
    """
    if not known(low) or not known(high):
        return ""
    between = " to " if low is not None and low < 0 else "–"
    return f"{low:.{digits}f}{between}{high:.{digits}f}"


def days(index: pd.DatetimeIndex) -> str:
    """Return the first and the last day of an index, and how many there are from one to the other.

    >>> days(pd.DatetimeIndex(["2024-01-01", "2024-01-01", "2024-01-03"]))
    '2024-01-01 to 2024-01-03, 3 days'
    """
    first, last = index[0], index[-1]
    return f"{first:%Y-%m-%d} to {last:%Y-%m-%d}, {(last - first).days + 1:,} days"


def stamp(value: object) -> str:
    """Return a UTC stamp to the minute, a dash where there is none."""
    if not known(value):
        return UNDEFINED
    return f"{pd.Timestamp(value):%Y-%m-%d %H:%M}"  # type: ignore[arg-type]
