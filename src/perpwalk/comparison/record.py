"""The answer of a comparison: one frozen record of frames, and its files.

``comparison.json`` holds everything but the equity curves, which lie at full length in
``curves.parquet`` beside it; ``comparison.csv`` is one row per variant for a spreadsheet.
``load_comparison`` reads the record back, so that a page can be drawn without computing anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from perpwalk import runs, strict
from perpwalk.domain import Finding, Level
from perpwalk.errors import UsageError
from perpwalk.strict import NotAsWrittenError, read_object, read_parquet, refuse_link

FORMAT = "perpwalk-comparison/1"
JSON_FILE = "comparison.json"
CSV_FILE = "comparison.csv"
PAGE_FILE = "comparison.html"
CURVES_FILE = "curves.parquet"
OF_SEVERAL = ("contracts", "stamps")

# Column → dtype of each table. Nullable dtypes: an undefined value is NA, never NaN that looks like
# a number of its own.
TEXT, NUMBER, COUNT, YES, STAMP = "str", "Float64", "Int64", "boolean", "datetime64[ns, UTC]"
TABLES: Mapping[str, Mapping[str, str]] = {
    # One row per variant given, best first; those that take no part come last, without a rank.
    "variants": {
        "variant": TEXT, "rank": COUNT, "status": TEXT, "verdict": TEXT, "diagnosis": TEXT,
        "model": TEXT, "strategy": TEXT, "changes": TEXT, "source": TEXT, "run": TEXT,
        "config_hash": TEXT, "decisions": COUNT, "dropped_decisions": COUNT, "bars": COUNT,
        "dropped_bars": COUNT, "beats_flat": YES, "beats_hold": YES, "with_the_best": YES,
        "forecasts": YES,
    },
    # One row per variant or benchmark and metric, on the common decisions and bars.
    "metrics": {
        "variant": TEXT, "kind": TEXT, "metric": TEXT, "value": NUMBER, "lo": NUMBER, "hi": NUMBER,
        "level": NUMBER, "method": TEXT, "n": COUNT, "block": NUMBER, "seed": COUNT, "reason": TEXT,
    },
    # a minus b on the same rows; b is a later-ranked variant or a benchmark. `p_corrected` is the p
    # among all pairs of the metric.
    "pairwise": {
        "metric": TEXT, "a": TEXT, "b": TEXT, "difference": NUMBER, "lo": NUMBER, "hi": NUMBER,
        "p": NUMBER, "p_corrected": NUMBER, "distinguishable": YES, "detectable": NUMBER,
        "test": TEXT, "test_p": NUMBER, "n": COUNT, "reason": TEXT,
    },
    # Hansen's test per loss and benchmark.
    "spa": {
        "loss": TEXT, "benchmark": TEXT, "best": TEXT, "p_lower": NUMBER, "p": NUMBER,
        "p_upper": NUMBER, "block": NUMBER, "reps": COUNT, "seed": COUNT,
    },
    # Who beats a benchmark (StepM, max-t) and who is alike the best (MCS: no benchmark).
    "members": {
        "variant": TEXT, "loss": TEXT, "benchmark": TEXT, "method": TEXT, "member": YES,
        "p": NUMBER, "level": NUMBER,
    },
    "deflated": {
        "variant": TEXT, "sharpe": NUMBER, "undeflated": NUMBER, "deflated": NUMBER,
        "lucky": NUMBER, "trials": COUNT, "effective_trials": NUMBER,
        "deflated_effective": NUMBER, "method": TEXT, "reason": TEXT,
    },
    "overfitting": {"blocks": COUNT, "splits": COUNT, "pbo": NUMBER},
    "periods": {
        "period_kind": TEXT, "period": TEXT, "start": STAMP, "end": STAMP, "metric": TEXT,
        "variant": TEXT, "n": COUNT, "value": NUMBER, "lo": NUMBER, "hi": NUMBER, "rank": NUMBER,
        "wins": YES,
    },
    "ranks": {
        "period_kind": TEXT, "metric": TEXT, "variant": TEXT, "periods": COUNT,
        "mean_rank": NUMBER, "best_in": COUNT,
    },
    "stability": {
        "period_kind": TEXT, "metric": TEXT, "periods": COUNT, "variants": COUNT,
        "kendall_w": NUMBER, "p": NUMBER, "reason": TEXT,
    },
    # Where the variants' configurations differ: a row per variant and key.
    "changes": {"variant": TEXT, "key": TEXT, "value": TEXT},
}  # fmt: skip


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """Variants side by side on the same decisions.

    Attributes
    ----------
    name
        The experiment, or the experiments joined.
    by
        The metric that orders the variants (a value of ``metrics.metric``).
    level
        Confidence of the intervals. Claims are made at 1 - ``level`` over the whole comparison.
    verdict
        One paragraph in plain language.
    winner
        The one variant that can be told from all others, from holding nothing and from luck; None
        where there is no such variant.
    leader
        The first in order: no claim at all. None where no variant takes part.
    start, end
        First and last common bar's close; None where no variant takes part.
    decisions, bars
        Size of the common set.
    contracts, stamps
        The contracts of the one account, where there are several, and at how many stamps their
        decisions were made; only then they are in the file.
    horizon, bar_interval
        Bars ahead a label looks (None where the variants differ), seconds of a bar.
    trials, trials_text
        How often luck was tried, and how that was counted.
    variants, metrics, pairwise, spa, members, deflated, overfitting, periods, ranks, stability, \
changes
        Frames with the columns of ``TABLES``.
    curves
        ``close_time`` and one column per ranked variant and benchmark: growth of 1 over the common
        bars, net of all costs. Full length.
    findings
        What the comparison itself found (U001, U002, U008, U009, U011, R …).
    files
        Configuration files read per variant, outermost base first.
    """

    name: str
    by: str
    level: float
    verdict: str
    winner: str | None
    leader: str | None
    start: pd.Timestamp | None
    end: pd.Timestamp | None
    decisions: int
    bars: int
    horizon: int | None
    bar_seconds: float
    trials: int
    trials_text: str
    variants: pd.DataFrame
    metrics: pd.DataFrame
    pairwise: pd.DataFrame
    spa: pd.DataFrame
    members: pd.DataFrame
    deflated: pd.DataFrame
    overfitting: pd.DataFrame
    periods: pd.DataFrame
    ranks: pd.DataFrame
    stability: pd.DataFrame
    changes: pd.DataFrame
    curves: pd.DataFrame
    findings: tuple[Finding, ...] = ()
    files: Mapping[str, tuple[str, ...]] | None = None
    path: Path | None = None
    contracts: tuple[str, ...] = ()
    stamps: int = 0

    @property
    def ranked(self) -> list[str]:
        """Names of the variants that take part, best first."""
        rows = self.variants[self.variants["rank"].notna()].sort_values("rank")
        return [str(name) for name in rows["variant"]]

    @property
    def benchmarks(self) -> list[str]:
        """Names of the benchmarks that have a curve."""
        ranked = {"close_time", *self.ranked}
        return [str(name) for name in self.curves.columns if name not in ranked]

    @property
    def exit_code(self) -> int:
        """What the command returns: 3 where nothing valid is left, 4 where the first is suspect."""
        if self.leader is None:
            return 3
        first = self.variants.loc[self.variants["variant"] == self.leader, "verdict"]
        return 4 if str(first.iloc[0]) == "suspect" else 0

    def value(self, variant: str, metric: str) -> float | None:
        """Return one metric of one variant, None where it is undefined."""
        rows = (self.metrics["variant"] == variant) & (self.metrics["metric"] == metric)
        found = self.metrics.loc[rows, "value"]
        return None if found.empty or pd.isna(found.iloc[0]) else float(found.iloc[0])


def table(name: str, rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a table of the record from plain rows; a column that a row leaves out is NA."""
    columns = TABLES[name]
    frame = pd.DataFrame.from_records(
        [[row.get(column) for column in columns] for row in rows], columns=list(columns)
    )
    return _typed(frame, columns)


def _typed(frame: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    for name, kind in columns.items():
        if kind == STAMP:
            frame[name] = pd.to_datetime(frame[name], utc=True).dt.as_unit("ns")
        elif kind == TEXT:
            frame[name] = frame[name].map(lambda text: "" if pd.isna(text) else str(text))
            frame[name] = frame[name].astype("str")
        else:
            frame[name] = pd.Series(frame[name].tolist(), index=frame.index, dtype=kind)
    return frame


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def as_document(comparison: Comparison) -> dict[str, Any]:
    """Return the contents of ``comparison.json``.

    Tables are ``{"columns": [...], "rows": [[...], ...]}``; null where undefined.
    """
    beside = ("curves", "findings", "path", *(() if comparison.contracts else OF_SEVERAL))
    plain = {
        field.name: getattr(comparison, field.name)
        for field in fields(comparison)
        if field.name not in TABLES and field.name not in beside
    }
    document: dict[str, Any] = {"format": FORMAT, **plain}
    document["findings"] = [finding.as_dict() for finding in comparison.findings]
    document["tables"] = {name: _split(getattr(comparison, name)) for name in TABLES}
    return dict(runs.plain(document))


def _split(frame: pd.DataFrame) -> dict[str, Any]:
    columns = [frame[name].tolist() for name in frame.columns]
    return {
        "columns": list(frame.columns),
        "rows": [list(row) for row in zip(*columns, strict=True)],
    }


def write_comparison(comparison: Comparison, folder: Path) -> Path:
    """Write ``comparison.json``, ``comparison.csv`` and ``curves.parquet``; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    runs.write_parquet(folder / CURVES_FILE, comparison.curves)
    runs.write_csv(folder / CSV_FILE, wide_table(comparison))
    runs.write_json(folder / JSON_FILE, as_document(comparison))
    return folder


def wide_table(comparison: Comparison) -> pd.DataFrame:
    """Return one row per variant and benchmark, a metric as ``m``, ``m_lo``, ``m_hi``."""
    cells: dict[str, dict[str, Any]] = {
        name: {"status": "benchmark"} for name in dict.fromkeys(comparison.metrics["variant"])
    }
    for row in comparison.variants.to_dict(orient="records"):
        cells[row["variant"]] = {
            str(key): value for key, value in row.items() if key not in ("variant", "source")
        }
    for row in comparison.metrics.to_dict(orient="records"):
        bounded = not pd.isna(row["lo"])
        ends = {f"{row['metric']}_lo": row["lo"], f"{row['metric']}_hi": row["hi"]}
        cells[row["variant"]] |= {row["metric"]: row["value"], **(ends if bounded else {})}
    for row in comparison.deflated.to_dict(orient="records"):
        cells[row["variant"]] |= {"deflated_sharpe": row["deflated"], "trials": row["trials"]}
    rows = [{"variant": name, **row} for name, row in cells.items()]
    return pd.DataFrame(rows).sort_values("rank", kind="stable", na_position="last")


def load_comparison(path: Path | str) -> Comparison:
    """Read a comparison back from its folder or its ``comparison.json``.

    Raises
    ------
    UsageError
        There is none, or it is damaged or of another format.
    """
    file = Path(path)
    file = file / JSON_FILE if file.is_dir() else file
    if not file.is_file():
        raise UsageError(f"no comparison at {path}; `perpwalk compare` writes one")
    try:
        refuse_link(file)
        document = read_object(file)
        if document["format"] != FORMAT:
            raise UsageError(f"{file} has format {document['format']}, this version reads {FORMAT}")
        return _from_document(document, file.parent)
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UsageError(f"{file} is no comparison, or a damaged one: {error}") from error


def _from_document(document: dict[str, Any], folder: Path) -> Comparison:
    tables: dict[str, Any] = {
        name: table(
            name,
            [dict(zip(split["columns"], row, strict=True)) for row in split["rows"]],
        )
        for name, split in ((name, document["tables"][name]) for name in TABLES)
    }
    plain = {
        field.name: document[field.name]
        for field in fields(Comparison)
        if field.name in document and field.name not in ("findings", "start", "end")
    }
    plain["contracts"] = _names(plain.get("contracts", []))
    plain["stamps"] = _whole(plain.get("stamps", 0))
    files = document["files"]
    plain["files"] = None if files is None else {k: tuple(v) for k, v in files.items()}
    return Comparison(
        **plain,
        **tables,
        start=_stamp(document["start"]),
        end=_stamp(document["end"]),
        curves=_curves(folder / CURVES_FILE),
        findings=tuple(
            Finding(**{**found, "level": Level(found["level"])}) for found in document["findings"]
        ),
        path=folder,
    )


def _names(found: object) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise TypeError("'contracts' is no list of names")
    return tuple(found)


def _whole(found: object) -> int:
    if not isinstance(found, int) or isinstance(found, bool):
        raise TypeError("'stamps' is no whole number")
    return found


def _curves(path: Path) -> pd.DataFrame:
    """Return the curves: a stamp and a number of each variant per bar."""
    try:
        refuse_link(path)
        found = read_parquet(path, {"close_time": strict.STAMP}, ("close_time",))
        numbers = {str(name): strict.NUMBER for name in found if name != "close_time"}
        return strict.typed(found, numbers)
    except (NotAsWrittenError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}; compare again") from error


def _stamp(text: str | None) -> pd.Timestamp | None:
    return None if text is None else pd.Timestamp(text)
