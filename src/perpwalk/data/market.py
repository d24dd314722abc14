"""What a configuration names, as one ``Market``: bars, mark, funding, each against the others."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from perpwalk.config import MarketSection, parse_duration
from perpwalk.data.bars import Read, read_bars, read_mark
from perpwalk.data.clock import clock_skew
from perpwalk.data.coverage import apply_missing_funding
from perpwalk.data.funding import read_funding
from perpwalk.data.layouts import AUTO, named
from perpwalk.data.premium import aligned_premium, follows_own_marks, follows_premium
from perpwalk.data.resample import close_gaps, inside, resample
from perpwalk.data.store.market import stored_bars, stored_funding, stored_mark
from perpwalk.data.tables import Table, open_table
from perpwalk.data.validate import utc
from perpwalk.data.venues import Origin, other_venue
from perpwalk.domain import (
    BarFrame,
    DataSource,
    Finding,
    FloatArray,
    FundingFrame,
    Level,
    Market,
    frozen_array,
    to_ns,
)
from perpwalk.errors import ConfigError, DataError
from perpwalk.simulate import simulate_market

FAR = 0.2  # mark, funding's mark and trades of one contract part by a few percent on wild days


def load_market(section: MarketSection, *, seed: int) -> Market:
    """Read, check and align the data of ``market:``, or simulate where none are named.

    ``seed`` drives the simulation unless ``market.simulate.seed`` is set.

    Raises
    ------
    ConfigError
        ``market.interval`` is no fixed length, or files are named beside a simulated market.
    DataError
        A file is wrong, the files do not belong together, or too little funding is on file.
    """
    interval = fixed_length(section.interval, key="market.interval")
    if section.is_simulated:
        market = _simulated(section, interval, seed)
    else:
        market = _read(section, interval)
    judged = apply_missing_funding(market, section.missing_funding)
    funding = within(judged.funding, judged.bars)
    finer = None if judged.inside is None else replace(judged.inside, funding=funding)
    return replace(judged, funding=funding, inside=finer)


def fixed_length(text: str, *, key: str) -> pd.Timedelta:
    """Return a duration that does not depend on the length of a bar."""
    if text.endswith(("bar", "bars")):
        raise ConfigError(f"'{text}' is no fixed length; write it like '1h'", key=key)
    length = parse_duration(text, pd.Timedelta(0))
    if length <= pd.Timedelta(0):
        raise ConfigError("a bar must last longer than 0", key=key)
    return length


def _check_format(name: str) -> None:
    if name == AUTO:
        return
    try:
        named(name)
    except ConfigError as error:
        raise ConfigError(str(error), key="market.format") from error


def _simulated(section: MarketSection, interval: pd.Timedelta, seed: int) -> Market:
    for key in ("funding", "mark"):
        if getattr(section, key) is not None:
            raise ConfigError(
                "a file is named but market.ohlcv is not; name both, or neither to simulate",
                key=f"market.{key}",
            )
    if section.resample_from is not None:
        raise ConfigError(
            "a simulated market has the bars it is asked for: set market.interval (`perpwalk data "
            "simulate` writes finer ones to a file)",
            key="market.resample_from",
        )
    _check_intrabar(section)
    own = section.simulate.seed
    return simulate_market(
        section.simulate,
        symbol=section.symbol,
        interval=interval,
        seed=seed if own is None else own,
    )


def _check_intrabar(section: MarketSection) -> None:
    if section.intrabar and section.resample_from is None:
        raise ConfigError(
            "needs bars finer than market.interval: set market.resample_from, like 5m, and give "
            "the file of these",
            key="market.intrabar",
        )


def _read(section: MarketSection, interval: pd.Timedelta) -> Market:
    """Read what is named; what is not named comes from the store where an exchange is."""
    _check_format(section.format)
    _check_intrabar(section)
    (bars, findings, source), finer = _bars(section, interval)
    unpaid = FundingFrame.empty(section.symbol)
    market = Market(
        bars=bars,
        funding=unpaid,
        inside=Market(bars=inside(finer, bars), funding=unpaid) if section.intrabar else None,
        findings=findings,
        sources=(source,),
    )
    mark: str | Table | None = section.mark
    funding: str | Table | None = section.funding
    if section.exchange is not None:
        met = finer.interval if section.intrabar else interval
        mark = stored_mark(section, met, bars) if mark is None else mark
        funding = stored_funding(section, interval, bars) if funding is None else funding
    if mark is not None:
        market = _with_mark(market, mark, section)
    return market if funding is None else _with_funding(market, funding, section)


def _bars(section: MarketSection, interval: pd.Timedelta) -> tuple[Read, BarFrame]:
    """Read bars, put together from finer ones where that is asked, and the bars as they were read.

    Gaps are judged at the end.
    """
    finer = interval
    if section.resample_from is not None:
        finer = fixed_length(section.resample_from, key="market.resample_from")
    read = (
        functools.partial(stored_bars, section)
        if section.ohlcv is None
        else functools.partial(
            read_bars, section.ohlcv, layout=section.format, duplicates=section.duplicates
        )
    )
    bars, findings, source = read(
        symbol=section.symbol,
        interval=finer,
        gaps=section.gaps if section.resample_from is None else "drop",
        since=section.since,
        until=section.until,
    )
    if section.resample_from is None:
        return (bars, findings, source), bars
    coarse, more = resample(bars, interval, section.partial_bars, path=source.path)
    whole, gap_findings = close_gaps(coarse, section.gaps, path=source.path)
    return (whole, (*findings, *more, *gap_findings), source), bars


def _joined(market: Market, findings: tuple[Finding, ...], source: DataSource) -> Market:
    return replace(
        market,
        findings=(*market.findings, *findings),
        sources=(*market.sources, source),
    )


# ── mark ─────────────────────────────────────────────────────────────────────────────────────────


def _with_mark(market: Market, file: str | Table, section: MarketSection) -> Market:
    """Read mark candles onto the bars' grid; trade bars stand in where one is missing."""
    bars = market.bars
    mark, findings, source = read_mark(
        file,
        symbol=bars.symbol,
        interval=None if section.resample_from is not None else bars.interval,
        gaps="drop",
        layout=section.format,
        duplicates=section.duplicates,
    )
    path = source.path
    finer = _with_finer_mark(market.inside, mark, path)
    if mark.interval != bars.interval:
        mark, more = resample(mark, bars.interval, "drop", path=path)
        findings = (*findings, *more)
    places, found = _places(bars, mark)
    if not found.any():
        raise DataError(
            f"no mark bar opens with a bar of {market.sources[0].path}: mark runs from "
            f"{source.first} to {source.last}, bars from {_first(bars)} to {_last(bars)}",
            path=path,
        )
    _check_belongs(path, mark.close[places[found]], bars.close[found], "mark closes")
    aligned = _aligned(bars, mark, places, found)
    findings = (
        *findings,
        *clock_skew(f"mark {Path(path).name}", to_ns(mark.close_time), mark.close, bars),
    )
    kept = tuple(f for f in findings if f.code != "D006")  # its own gaps: judged on the bars' grid
    joined = _joined(market, (*kept, *_stand_ins(path, bars, found)), source)
    return replace(joined, mark=aligned, inside=finer)


def _with_finer_mark(finer: Market | None, mark: BarFrame, path: str) -> Market | None:
    """Put mark candles onto the grid of the bars that the account meets."""
    if finer is None:
        return None
    if mark.interval != finer.bars.interval:
        raise DataError(
            f"holds mark candles of {mark.interval}; with market.intrabar liquidations are judged "
            f"inside bars of {finer.bars.interval}: give mark candles of these, or leave "
            "market.mark out (trade prices stand in)",
            path=path,
        )
    return replace(finer, mark=_aligned(finer.bars, mark, *_places(finer.bars, mark)))


def _places(bars: BarFrame, mark: BarFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return each bar's row in ``mark`` and whether there is one."""
    wanted, stamps = to_ns(bars.open_time), to_ns(mark.open_time)
    places = np.minimum(np.searchsorted(stamps, wanted), len(stamps) - 1)
    return places, stamps[places] == wanted


def _aligned(bars: BarFrame, mark: BarFrame, places: np.ndarray, found: np.ndarray) -> BarFrame:
    def column(name: str) -> FloatArray:
        chosen = np.where(found, getattr(mark, name)[places], getattr(bars, name))
        return frozen_array(chosen)

    return replace(
        bars,
        open=column("open"),
        high=column("high"),
        low=column("low"),
        close=column("close"),
        volume=frozen_array(np.zeros(len(bars))),
        filled=frozen_array(~found, np.bool_),
    )


def _stand_ins(path: str, bars: BarFrame, found: np.ndarray) -> list[Finding]:
    missing = int((~found).sum())
    if not missing:
        return []
    return [
        Finding(
            code="A002",
            level=Level.WARN if missing > 0.01 * len(bars) else Level.INFO,
            where=f"mark {path.rsplit('/', maxsplit=1)[-1]}",
            message=f"{missing:,} of {len(bars):,} bars have no mark bar; trade prices stand in",
            observed=f"the first at {utc(to_ns(bars.open_time[~found])[0])}",
        )
    ]


# ── funding ──────────────────────────────────────────────────────────────────────────────────────


def _with_funding(market: Market, file: str | Table, section: MarketSection) -> Market:
    bars = market.bars
    table = file if isinstance(file, Table) else open_table(file)
    funding, findings, source = read_funding(
        table, symbol=bars.symbol, layout=section.format, duplicates=section.duplicates
    )
    path = source.path
    if not len(within(funding, bars)):
        raise DataError(
            f"no settlement falls into the bars' period: funding runs from {source.first} to "
            f"{source.last}, bars from {_first(bars)} to {_last(bars)}; give the right file",
            path=path,
        )
    marks, closes = _marks_and_closes(funding, bars)
    _check_belongs(path, marks, closes, "mark prices")
    skew = clock_skew(
        f"funding {Path(path).name}", to_ns(funding.settle_time), funding.mark_price, bars
    )
    names = table.names if table.has_header else ()
    origin = Origin(Path(path), names, source.layout)
    venue = other_venue(origin, _of_bars(market), bars.open, bars.close)
    related = _follows(origin, funding, market)
    told = (*findings, *skew, *venue, *related)
    return replace(_joined(market, told, source), funding=funding)


def _follows(origin: Origin, funding: FundingFrame, market: Market) -> Iterator[Finding]:
    """Hold rates against the premium over the mark candles, or over the records' own marks."""
    bars, where = market.bars, f"funding {origin.path.name}"
    if market.mark is not None:
        premium = aligned_premium(bars, market.mark)
        return follows_premium(where, funding, premium, origin.venues)
    traded = ~bars.filled
    return follows_own_marks(where, funding, to_ns(bars.close_time)[traded], bars.close[traded])


def _of_bars(market: Market) -> Origin:
    source = market.sources[0]
    return Origin(Path(source.path), (), source.layout)


def within(funding: FundingFrame, bars: BarFrame) -> FundingFrame:
    """Keep settlements in ``(first open, last close]``: each falls into exactly one bar's span."""
    stamps = to_ns(funding.settle_time)
    first, last = to_ns(bars.open_time[0]), to_ns(bars.close_time[-1])
    return funding.rows(*(int(i) for i in np.searchsorted(stamps, [first, last], side="right")))


def _marks_and_closes(funding: FundingFrame, bars: BarFrame) -> tuple[FloatArray, FloatArray]:
    """Return mark prices at settlement and the close of the bar that ended with each."""
    inside = within(funding, bars)
    known = np.isfinite(inside.mark_price)
    stamps = to_ns(inside.settle_time)[known]
    at = np.searchsorted(to_ns(bars.close_time), stamps, side="left")
    return inside.mark_price[known], bars.close[at]


def _check_belongs(path: str, marks: FloatArray, closes: FloatArray, what: str) -> None:
    if not len(marks):
        return
    apart = float(np.median(np.abs(marks / closes - 1)))
    if apart > FAR:
        raise DataError(
            f"{what} are {apart:.0%} away from the bars' closes (median; {marks[0]:.6g} against "
            f"{closes[0]:.6g} at the first): the file belongs to another symbol",
            path=path,
        )


def _first(bars: BarFrame) -> str:
    return utc(to_ns(bars.open_time[0]))


def _last(bars: BarFrame) -> str:
    return utc(to_ns(bars.close_time[-1]))
