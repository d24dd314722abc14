"""Any readable file as a plain one: UTC stamps, known names, bars or funding, CSV or Parquet.

What was read is what is written: nothing is sorted, filled or dropped without a finding.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from perpwalk import disk
from perpwalk.data.bars import read_bars, read_mark, stamp_ns
from perpwalk.data.funding import read_funding
from perpwalk.data.gaps import GapPolicy
from perpwalk.data.kinds import Kind, kind_of
from perpwalk.data.layouts import AUTO
from perpwalk.data.repeats import RepeatPolicy
from perpwalk.data.resample import PartialBars, close_gaps, resample
from perpwalk.data.tables import open_table
from perpwalk.domain import BarFrame, DataSource, Finding, FundingFrame, to_ns
from perpwalk.errors import DataError, EnvironmentFailedError, UsageError

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".feather")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is asked of a conversion; see ``perpwalk data convert --help``."""

    kind: Kind | None = None
    layout: str = AUTO
    symbol: str = ""
    interval: pd.Timedelta | None = None
    gaps: GapPolicy = "error"
    duplicates: RepeatPolicy = "error"
    since: str | None = None
    until: str | None = None
    resample_to: pd.Timedelta | None = None
    partial: PartialBars = "error"


@dataclass(frozen=True, eq=False)
class Converted:
    """What became of it."""

    path: Path
    rows: int
    source: DataSource
    findings: tuple[Finding, ...]


def convert(path: Path, out: Path, wanted: Wanted) -> Converted:
    """Read ``path`` and write ``out`` in the form its suffix names.

    Raises
    ------
    UsageError
        The suffix is unknown, or ``out`` is ``path``.
    DataError
        The file is refused, with file, row and column.
    """
    suffix = next((s for s in SUFFIXES if out.name.endswith(s)), None)
    if suffix is None:
        raise UsageError(f"'{out.name}' ends with none of {', '.join(SUFFIXES)}")
    if out.exists() and out.samefile(path):
        raise UsageError("the result would replace the file it is made of; give another name")
    kind = wanted.kind or kind_of(open_table(path), path)
    if kind == "open_interest":
        raise DataError(
            "holds open interest; bars, mark candles and funding are converted", path=path
        )
    if kind == "funding":
        funding, findings, source = read_funding(
            path, symbol=wanted.symbol, layout=wanted.layout, duplicates=wanted.duplicates
        )
        frame = _funding_table(funding, path, wanted)
    else:
        bars, findings, source = _bars(path, kind, wanted)
        frame = _bar_table(bars, with_volume=kind == "ohlcv")
    text = suffix.startswith(".csv")
    write_table(_stamped(frame) if text else frame, out, suffix)
    return Converted(out, len(frame), source, tuple(findings))


def _bars(
    path: Path, kind: Kind, wanted: Wanted
) -> tuple[BarFrame, tuple[Finding, ...], DataSource]:
    read = read_bars if kind == "ohlcv" else read_mark
    coarse = wanted.resample_to
    bars, findings, source = read(
        path,
        symbol=wanted.symbol,
        interval=wanted.interval,
        gaps=wanted.gaps if coarse is None else "drop",
        since=wanted.since,
        until=wanted.until,
        layout=wanted.layout,
        duplicates=wanted.duplicates,
    )
    if coarse is None:
        return bars, findings, source
    made, more = resample(bars, coarse, wanted.partial, path=path)
    whole, gap_findings = close_gaps(made, wanted.gaps, path=path)
    return whole, (*findings, *more, *gap_findings), source


def _bar_table(bars: BarFrame, *, with_volume: bool) -> pd.DataFrame:
    names = ("open", "high", "low", "close", *(("volume",) if with_volume else ()))
    return pd.DataFrame({"timestamp": bars.open_time, **{n: getattr(bars, n) for n in names}})


def _funding_table(funding: FundingFrame, path: Path, wanted: Wanted) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "timestamp": funding.settle_time,
            "funding_rate": funding.rate,
            "mark_price": funding.mark_price,
        }
    )
    stamps = to_ns(funding.settle_time)
    inside = stamps >= (stamps[0] if wanted.since is None else stamp_ns(wanted.since))
    inside &= stamps < (stamps[-1] + 1 if wanted.until is None else stamp_ns(wanted.until))
    if not inside.any():
        raise DataError(f"no settlement between {wanted.since} and {wanted.until}", path=path)
    kept: pd.DataFrame = frame[inside]
    return kept


def write_table(frame: pd.DataFrame, out: Path, suffix: str) -> None:
    """Write a table in the form its suffix names.

    Written beside the place and moved there: an interruption leaves nothing half-made.
    """
    buffer = io.BytesIO()
    if suffix == ".parquet":
        frame.to_parquet(buffer, index=False)
    elif suffix == ".feather":
        frame.reset_index(drop=True).to_feather(buffer)
    else:
        text = frame.to_csv(index=False, lineterminator="\n").encode()
        # Without a time inside, so that the same bars give the same bytes.
        buffer.write(gzip.compress(text, mtime=0) if suffix == ".csv.gz" else text)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EnvironmentFailedError(f"{out} cannot be written: {error}") from error
    disk.write_bytes(out, buffer.getvalue())


def _stamped(frame: pd.DataFrame) -> pd.DataFrame:
    stamps = pd.DatetimeIndex(frame["timestamp"])
    whole = not (to_ns(stamps) % 10**9).any()
    form = "%Y-%m-%dT%H:%M:%SZ" if whole else "%Y-%m-%dT%H:%M:%S.%fZ"
    return frame.assign(timestamp=stamps.strftime(form))
