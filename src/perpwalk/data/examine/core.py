"""Files or a configuration in, everything found out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from perpwalk.config import Config, MarketSection, resolve
from perpwalk.data.bars import read_bars, read_mark, stamp_ns
from perpwalk.data.examine.facts import Facts, as_dict, facts_of
from perpwalk.data.examine.pairs import Comparison, compare_sources, far_shorter, funding_belongs
from perpwalk.data.examine.salvage import error
from perpwalk.data.examine.series import Series, cut, load_series
from perpwalk.data.funding import read_funding
from perpwalk.data.kinds import Kind
from perpwalk.data.layouts import AUTO
from perpwalk.data.market import load_market
from perpwalk.data.repeats import RepeatPolicy
from perpwalk.data.store.market import stored_series
from perpwalk.data.tables import Table
from perpwalk.data.validate import LISTED, utc
from perpwalk.domain import Finding, Level
from perpwalk.errors import ConfigError, DataError, UsageError


@dataclass(frozen=True, eq=False)
class Examined:
    """One file: what it holds, its figures, and why a run would refuse it (None: it would not).

    ``asked`` is the period that was asked for (ns, None: as far as the file goes). ``contract``
    tells the files of one contract from another's; empty where files alone are given.
    """

    series: Series
    facts: Facts
    refusal: str | None
    asked: tuple[int | None, int | None]
    contract: str = ""


@dataclass(frozen=True, eq=False)
class Examination:
    """Everything found.

    Attributes
    ----------
    subject
        What was examined, for a title.
    unreadable
        Path and reason of files that are no data at all.
    refusals
        Why a run would refuse the data, as it would say it.
    """

    subject: str
    files: tuple[Examined, ...]
    unreadable: tuple[tuple[str, str], ...]
    comparisons: tuple[Comparison, ...]
    findings: tuple[Finding, ...]
    refusals: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """0 usable, 1 a run would refuse it, 2 unreadable."""
        return 2 if self.unreadable else 1 if self.refusals else 0

    def as_dict(self) -> dict[str, Any]:
        """Return the document of ``--json``."""
        return {
            "subject": self.subject,
            "usable": self.exit_code == 0,
            "refused": list(self.refusals),
            "unreadable": [{"path": path, "reason": reason} for path, reason in self.unreadable],
            "files": [as_dict(f.series, f.facts, f.refusal) for f in self.files],
            "comparisons": [comparison.as_dict() for comparison in self.comparisons],
            "findings": [finding.as_dict() for finding in self.findings],
        }


def examine_files(
    paths: Sequence[Path],
    *,
    layout: str = AUTO,
    since: str | None = None,
    until: str | None = None,
    interval: pd.Timedelta | None = None,
    duplicates: RepeatPolicy = "error",
) -> Examination:
    """Examine files each by itself and against each other.

    ``since`` and ``until`` are the period asked for; ``interval`` the length bars should have;
    ``duplicates`` says which of two rows of one stamp stays.
    """
    asked = _Asked(layout, since, until, interval, duplicates)
    files, unreadable = [], []
    for path in paths:
        try:
            series = load_series(path, layout=layout, duplicates=duplicates)
        except DataError as reason:
            unreadable.append((str(path), str(reason)))
            continue
        refusal = _refusal(path, series.kind, asked)
        files.append(_examined(series, since, until, refusal))
    refusals = [one.refusal for one in files if one.refusal is not None]
    if not refusals and not unreadable:
        refusals = _refused_together(files, asked)
    subject = ", ".join(path.name for path in paths)
    return _examination(subject, files, unreadable, refusals, [])


def examine_config(config: Config, changes: Mapping[str, str] | None = None) -> Examination:
    """Examine every file a configuration uses, and ask whether a run would take them.

    ``changes`` holds keys of ``market`` that are to be otherwise for every contract.
    """
    sections = [_changed(one, changes or {}) for one in config.markets or (config.market,)]
    if all(section.is_simulated for section in sections):
        raise UsageError("the configuration simulates its market: there is no file to examine")
    files: list[Examined] = []
    unreadable: list[tuple[str, str]] = []
    refusals: list[str] = []
    extra: list[Finding] = []
    for section in sections:
        examined, gone = _section_files(section)
        files += examined
        unreadable += gone
        try:
            market = load_market(section, seed=config.seed)
        except (DataError, ConfigError) as reason:
            refusals.append(str(reason))
        else:
            extra += market.findings
    return _examination(config.name, files, unreadable, refusals, extra)


def _changed(section: MarketSection, changes: Mapping[str, str]) -> MarketSection:
    """Return the section with some keys changed, checked as those of a file are."""
    return resolve({"market": {**section.model_dump(), **changes}}).market if changes else section


def _section_files(
    section: MarketSection,
) -> tuple[list[Examined], list[tuple[str, str]]]:
    kinds: tuple[Kind, ...] = ("ohlcv", "mark", "funding")
    files, unreadable = [], []
    bars: Facts | None = None
    for kind in kinds:
        path: str | Table | None = getattr(section, kind)
        if path is None and section.exchange is not None:
            path = stored_series(section, kind)
        if path is None:
            continue
        try:
            series = load_series(
                path,
                layout=section.format,
                kind=kind,
                symbol=section.symbol,
                duplicates=section.duplicates,
            )
        except DataError as reason:
            unreadable.append((str(getattr(path, "path", path)), str(reason)))
            continue
        one = replace(
            _examined(series, section.since, section.until, None), contract=section.symbol
        )
        if kind != "ohlcv" and bars is not None:  # the others are measured as far as bars reach
            begin, end = one.asked
            begin, end = bars.begin if begin is None else begin, bars.end if end is None else end
            one = replace(one, facts=facts_of(series, begin, end))
        bars = one.facts if kind == "ohlcv" else bars
        files.append(one)
    return files, unreadable


def _examined(
    series: Series, since: str | None, until: str | None, refusal: str | None
) -> Examined:
    begin = None if since is None else stamp_ns(since)
    end = None if until is None else stamp_ns(until)
    return Examined(series, facts_of(series, begin, end), refusal, (begin, end))


@dataclass(frozen=True)
class _Asked:
    """What is asked of files that no configuration names."""

    layout: str
    since: str | None
    until: str | None
    interval: pd.Timedelta | None
    duplicates: RepeatPolicy


def _refusal(path: Path, kind: Kind, asked: _Asked) -> str | None:
    """Return what the reader of a run says against the file, gaps being refused."""
    common: dict[str, Any] = {
        "symbol": "",
        "layout": asked.layout,
        "duplicates": asked.duplicates,
    }
    try:
        if kind == "funding":
            read_funding(path, **common)
        elif kind != "open_interest":
            read = read_bars if kind == "ohlcv" else read_mark
            read(path, interval=asked.interval, since=asked.since, until=asked.until, **common)
    except DataError as reason:
        return str(reason)
    return None


def _refused_together(files: Sequence[Examined], asked: _Asked) -> list[str]:
    """Return what a run says against bars with the funding or mark file given beside them."""
    by_kind: dict[Kind, list[Series]] = {}
    for one in files:
        by_kind.setdefault(one.series.kind, []).append(one.series)
    beside = [by_kind.get("funding", []), by_kind.get("mark", [])]
    if len(by_kind.get("ohlcv", [])) != 1 or max(map(len, beside)) != 1:
        return []
    bars, funding, mark = by_kind["ohlcv"][0], *(found[0] if found else None for found in beside)
    # Built without validation: files alone do not say what their contract is called.
    section = MarketSection.model_construct(
        symbol="",
        interval=f"{bars.interval.total_seconds() / 60:g}m",
        ohlcv=str(bars.path),
        funding=None if funding is None else str(funding.path),
        mark=None if mark is None else str(mark.path),
        format=asked.layout,
        since=asked.since,
        until=asked.until,
        duplicates=asked.duplicates,
        missing_funding="drop_features" if funding is None else "error",
    )
    try:
        load_market(section, seed=0)
    except DataError as reason:
        return [str(reason)]
    return []


def _examination(
    subject: str,
    files: Sequence[Examined],
    unreadable: Sequence[tuple[str, str]],
    refusals: Sequence[str],
    extra: Sequence[Finding],
) -> Examination:
    compared: list[Comparison] = []
    findings = [finding for one in files for finding in (*one.series.findings, *_gaps(one))]
    findings += extra
    for contract in dict.fromkeys(one.contract for one in files):
        own = [one for one in files if one.contract == contract]
        within = [cut(one.series, one.facts.begin, one.facts.end) for one in own]
        compared += compare_sources([one for one in within if len(one.ns)])
        if len(own) > 1:
            # Funding may well reach back further than the period asked for.
            asked = [cut(one.series, *one.asked) for one in own]
            findings += far_shorter([one for one in asked if len(one.ns)])
            findings += funding_belongs([one.series for one in own])
    findings += [finding for one in compared for finding in one.findings]
    return Examination(
        subject=subject,
        files=tuple(files),
        unreadable=tuple(unreadable),
        comparisons=tuple(compared),
        findings=tuple(_once(findings)),
        refusals=tuple(refusals),
    )


def _once(findings: Sequence[Finding]) -> Iterator[Finding]:
    """Yield each finding once, errors first: reading and examining find much in common."""
    seen = set()
    rank = {Level.ERROR: 0, Level.WARN: 1, Level.INFO: 2}
    for finding in sorted(findings, key=lambda f: rank[f.level]):
        key = (finding.code, finding.where, finding.message)
        if key not in seen:
            seen.add(key)
            yield finding


def _gaps(one: Examined) -> Iterator[Finding]:
    facts, where = one.facts, one.series.where
    if not facts.missing:
        return
    shown = "; ".join(f"{count:,} from {utc(start)}" for start, count in facts.gaps[:LISTED])
    if facts.gap_count > LISTED:
        shown += f"; and {facts.gap_count - LISTED:,} more gaps, none longer"
    code = "D013" if one.series.kind == "funding" else "D006"
    message = (
        f"rows missing: {facts.missing:,} of {facts.expected:,} ({facts.coverage:.2%} covered)"
    )
    # Files alone are judged by the default policy, which takes no gap in bars.
    if not one.contract and one.series.prices is not None:
        yield error(code, where, message, observed=shown, expected="none")
    else:
        yield Finding(
            code=code, level=Level.WARN, where=where, message=message, observed=shown,
            expected="none",
        )  # fmt: skip
