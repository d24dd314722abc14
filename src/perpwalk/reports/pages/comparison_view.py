"""The page of a comparison: its verdict in words, its tables, and the data of its charts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from perpwalk.comparison.measures import FLAT, HOLD, MAJORITY
from perpwalk.comparison.record import Comparison, wide_table
from perpwalk.comparison.words import LABELS
from perpwalk.reports import words
from perpwalk.reports.pages import heat
from perpwalk.reports.pages.assembly import render
from perpwalk.reports.pages.over_time import COLOURS, comparison_over_time
from perpwalk.reports.pages.packing import Pack, Packed
from perpwalk.reports.pages.parts import Cells, Heading, finding_lists

TEMPLATE = "comparison.html.j2"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
ON_AT_FIRST = 6
_GRIDS = ("pairwise", "ranks", "periods", "members")
Row = Mapping[Any, Any]


def render_comparison(found: Comparison, extras: Mapping[str, pd.DataFrame] | None = None) -> str:
    """Return the page of a comparison as text; ``extras`` are further tables by title."""
    more = extras or {}
    return render(TEMPLATE, _context(found, more), _document(found, more))


def _context(found: Comparison, extras: Mapping[str, pd.DataFrame]) -> dict[str, Any]:
    return {
        "title": f"Comparison of {found.name}",
        "heading": _heading(found),
        "paragraph": found.verdict,
        "facts": _facts(found),
        "found": finding_lists([finding.as_dict() for finding in found.findings]),
        "left_out": _left_out(found),
        "by": LABELS.get(found.by, found.by),
        "claims": _claims(found),
        "results": heat.table("variant", _as_periods(found)),
        "pbo": _overfitting(found),
        "spa": _spa(found),
        "deflated": _deflated(found),
        "deflated_how": _deflated_how(found),
        "stability": _stability(found),
        "changes": _changes(found),
        "reports": _reports(found),
        "extras": list(extras),
        "trials_text": found.trials_text,
        "has": {
            "result": found.leader is not None,
            "time": len(found.curves) > 1 and bool(found.ranked),
            "pairs": not found.pairwise.empty,
            "periods": not found.periods.empty,
        },
    }


def _heading(found: Comparison) -> Heading:
    if found.leader is None:
        return Heading("none", "✕", "No result")
    if found.winner is not None:
        return Heading("winner", "✓", f"Winner: {found.winner}")
    return Heading("inconclusive", "~", "No winner")


def _facts(found: Comparison) -> list[tuple[str, str]]:
    facts = [("variants", words.count(len(found.ranked)))]
    if found.start is not None and found.end is not None:
        facts.append(("tested", f"{found.start:%Y-%m-%d} to {found.end:%Y-%m-%d}"))
    if found.contracts:
        facts.append(("contracts", ", ".join(found.contracts)))
        facts.append(("common stamps", words.count(found.stamps)))
    return [
        *facts,
        ("common decisions", words.count(found.decisions)),
        ("common bars", words.count(found.bars)),
        ("ordered by", LABELS.get(found.by, found.by)),
        ("confidence", f"{found.level:.0%}"),
        ("trials", words.count(found.trials)),
    ]


# ── tables ───────────────────────────────────────────────────────────────────────────────────────


def _left_out(found: Comparison) -> Cells:
    rows = found.variants[found.variants["status"] != "ranked"]
    cells = [(str(r["variant"]), str(r["status"]), str(r["diagnosis"])) for r in _records(rows)]
    return Cells(("variant", "status", "diagnosis"), tuple(cells), texts=(0, 1, 2), long=(2,))


def _claims(found: Comparison) -> Cells:
    """Return what may be said of each variant that takes part."""
    rows = found.variants[found.variants["rank"].notna()].sort_values("rank")
    cells = [
        (
            str(row["variant"]),
            words.count(row["rank"]),
            *(_yes(row[name]) for name in ("with_the_best", "beats_flat", "beats_hold",
                                           "forecasts")),
            str(row["verdict"]),
            str(row["model"]),
            str(row["strategy"]).rpartition(":")[2],
            words.count(row["dropped_decisions"]),
        )
        for row in _records(rows)
    ]  # fmt: skip
    header = (
        "variant", "rank", "among the best", "earns more than noise", "more than holding",
        "forecasts better than chance", "its own verdict", "model", "strategy",
        "decisions left out",
    )  # fmt: skip
    return Cells(header, tuple(cells), texts=(0, 6, 7, 8))


def _yes(value: Any) -> str:
    return words.UNDEFINED if not words.known(value) else "yes" if value else "no"


def _as_periods(found: Comparison) -> pd.DataFrame:
    """Return variants and benchmarks as the heat map takes periods: a column per metric and end."""
    wide = wide_table(found)
    kept = wide[(wide["status"] == "ranked") | (wide["status"] == "benchmark")]
    naive = found.value(MAJORITY, "accuracy")
    named = kept.rename(columns={"variant": "period"}).assign(majority_accuracy=naive)
    return named.drop(columns=[name for name in ("n",) if name in named])


def _overfitting(found: Comparison) -> Cells:
    rows = [
        (words.count(row["blocks"]), words.count(row["splits"]), words.decimal(row["pbo"], 2))
        for row in _records(found.overfitting)
    ]
    return Cells(("blocks of time", "ways to halve them", "probability"), tuple(rows))


def _spa(found: Comparison) -> Cells:
    rows = [
        (str(row["benchmark"]), str(row["loss"]), str(row["best"]),
         words.chance(row["p_lower"]), words.chance(row["p"]), words.chance(row["p_upper"]))
        for row in _records(found.spa)
    ]  # fmt: skip
    header = ("against", "by", "best", "p, lower", "p", "p, upper")
    return Cells(header, tuple(rows), texts=(0, 1, 2))


def _deflated(found: Comparison) -> Cells:
    same = bool(_deflated_how(found))
    shown = found.deflated[found.deflated["variant"].isin(found.ranked)]
    rows = [
        (
            str(row["variant"]), words.decimal(row["sharpe"], 2),
            words.decimal(row["undeflated"]), words.decimal(row["deflated"]),
            words.decimal(row["lucky"], 2), words.count(row["trials"]),
            words.decimal(row["effective_trials"], 1), words.decimal(row["deflated_effective"]),
            *([] if same else [str(row["reason"] or row["method"])]),
        )
        for row in sorted(_records(shown), key=lambda row: found.ranked.index(row["variant"]))
    ]  # fmt: skip
    header = (
        "variant", "Sharpe", "skill, one trial", "deflated", "best by luck", "trials",
        "independent trials", "deflated by those", *([] if same else ["how"]),
    )  # fmt: skip
    return Cells(header, tuple(rows), texts=(0, 8), long=(8,))


def _deflated_how(found: Comparison) -> str:
    """Return how the ratios were deflated where that is one and the same for all, else nothing."""
    told = {str(row["reason"] or row["method"]) for row in _records(found.deflated)}
    return told.pop() if len(told) == 1 else ""


def _stability(found: Comparison) -> Cells:
    told = bool((found.stability["reason"] != "").any())
    rows = [
        (
            f"{LABELS.get(row['metric'], row['metric'])} by "
            f"{words.KINDS.get(row['period_kind'], row['period_kind'])}",
            words.count(row["periods"]), words.decimal(row["kendall_w"], 2),
            words.chance(row["p"]), *([str(row["reason"])] if told else []),
        )
        for row in _records(found.stability)
    ]  # fmt: skip
    header = ("ranks of", "periods", "Kendall's W", "p", *(["why undefined"] if told else []))
    return Cells(header, tuple(rows), texts=(0, 4), long=(4,))


def _changes(found: Comparison) -> Cells:
    """Return a row per variant and a column per key in which the configurations differ."""
    keys = list(dict.fromkeys(found.changes["key"]))
    values = {(r["variant"], r["key"]): str(r["value"]) for r in _records(found.changes)}
    rows = [
        (name, *(values.get((name, key), "") for key in keys))
        for name in dict.fromkeys(str(name) for name in found.variants["variant"])
    ]
    return Cells(("variant", *keys), tuple(rows) if keys else (), texts=tuple(range(len(keys) + 1)))


def _reports(found: Comparison) -> list[tuple[str, str]]:
    """Return variants whose own page lies where the comparison can reach it, and the way there."""
    if found.path is None:
        return []
    ways = [(str(r["variant"]), f"{r['run']}/report.html") for r in _records(found.variants)]
    return [
        (name, way)
        for name, way in ways
        if not Path(way).is_absolute() and (found.path / way).is_file()
    ]


def _records(frame: pd.DataFrame) -> Sequence[Row]:
    return frame.to_dict(orient="records")


# ── data of the charts ───────────────────────────────────────────────────────────────────────────


def _document(found: Comparison, extras: Mapping[str, pd.DataFrame]) -> str:
    pack = Pack()
    grids: dict[str, Packed] = {
        "wide": pack.table(_filled(wide_table(found))),
        **{name: pack.table(_filled(getattr(found, name))) for name in _GRIDS},
        **{f"extra-{n}": pack.table(frame) for n, frame in enumerate(extras.values())},
    }
    styles = _styles(found)
    return pack.seal(
        {
            "kind": "comparison",
            "title": found.name,
            "by": found.by,
            "labels": dict(LABELS),
            "styles": styles,
            "ranked": found.ranked,
            "benchmarks": list(dict.fromkeys(
                str(name) for name in found.metrics["variant"] if name not in found.ranked
            )),
            "overTime": comparison_over_time(found.curves, styles, pack),
            "metrics": pack.table(_filled(found.metrics)),
            "grids": grids,
        }
    )  # fmt: skip


def _filled(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table without its empty columns."""
    empty = [name for name in frame.columns[1:] if frame[name].isna().all()]
    return frame.drop(columns=empty)


def _styles(found: Comparison) -> dict[str, dict[str, Any]]:
    """Return how each curve is drawn: colours in order of rank, dashes once they repeat."""
    styles: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(found.ranked):
        styles[name] = {
            "colour": f"v{number % COLOURS}",
            "dash": DASHES[number // COLOURS % len(DASHES)],
            "width": 2.2 if number == 0 else 1.5,
            "on": number < ON_AT_FIRST,
        }
    for name in found.benchmarks:
        colour = "hold" if name == HOLD else "quiet"
        styles[name] = {"colour": colour, "dash": "dot", "width": 1.5, "on": name != FLAT}
    return {name: style for name, style in styles.items() if name in found.curves}
