"""Which column is which: the names that exchanges and the usual tools write.

Names are compared without case, spaces and punctuation: ``Open time``, ``open_time`` and
``openTime`` are one. In a file without names the order is time, open, high, low, close, volume.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from perpwalk.data.convert import texts
from perpwalk.data.layouts import Layout, are_archived_rates
from perpwalk.data.names import compact
from perpwalk.data.tables import Table
from perpwalk.errors import DataError

__all__ = ["BarColumns", "FundingColumns", "bar_columns", "check_symbol", "compact",
           "funding_columns", "has_interest", "interest_columns"]  # fmt: skip

# First match wins: epoch stamps and explicit UTC before columns that may hold local time.
_OPEN_TIMES = (
    "opentime", "opentimems", "starttime", "startat", "timestamp", "timestampms", "timestamputc",
    "unix", "unixtimestamp", "epoch", "ts", "opentimeutc", "datetimeutc", "dateutc", "timeutc",
    "gmttime", "datetime", "date", "time", "candlebegintime", "begin", "start", "t",
    "indexlevel0", "index", "unnamed0", "",
)  # fmt: skip
_SETTLE_TIMES = (
    "fundingtime", "fundingratetimestamp", "fundingtimestamp", "settletime", "settlementtime",
    "calctime", *(name for name in _OPEN_TIMES if name != "opentime"),
)  # fmt: skip
_PRICES = {
    "open": ("open", "openprice", "o"),
    "high": ("high", "highprice", "h", "max"),
    "low": ("low", "lowprice", "l", "min"),
    "close": ("close", "closeprice", "c"),
}
_VOLUMES = ("volume", "vol", "v", "basevolume", "volumebase", "baseassetvolume", "volumefrom")
_RATES = ("fundingrate", "lastfundingrate", "funding", "realizedrate", "settledrate", "rate")
_MARKS = ("markprice", "mark")
_INTEREST = ("sumopeninterest", "openinterest", "openinterestamount", "oi", "openinterestcoin")
_INTEREST_TIMES = ("createtime", *_OPEN_TIMES)
_SYMBOLS = ("symbol", "pair", "instid", "instrument", "instrumentname", "contract", "ticker", "tic")
_QUOTES = ("usdt", "usdc", "fdusd", "busd", "tusd", "dai", "usd", "eur", "gbp", "quote")


@dataclass(frozen=True)
class BarColumns:
    """Positions of a bar file's columns; ``volume`` is None where it is not needed.

    ``clock`` is the column with the time of day where dates and times stand apart.
    """

    time: int
    open: int
    high: int
    low: int
    close: int
    volume: int | None
    clock: int | None = None


@dataclass(frozen=True)
class FundingColumns:
    """Positions of a funding file's columns; ``mark`` is None where there is none."""

    time: int
    rate: int
    mark: int | None


def bar_columns(table: Table, layout: Layout, *, symbol: str, needs_volume: bool) -> BarColumns:
    """Find the columns of a bar file.

    Raises
    ------
    DataError
        One is missing or stands twice; the message lists the columns found.
    """
    if not table.has_header:
        return _bars_by_position(table, layout, needs_volume=needs_volume)
    prices = {what: _required(table, names, f"the {what} price") for what, names in _PRICES.items()}
    return BarColumns(
        time=_open_time(table),
        **prices,
        volume=_volume(table, symbol) if needs_volume else None,
        clock=_clock(table),
    )


def funding_columns(table: Table) -> FundingColumns:
    """Find the columns of a funding file; freqtrade keeps the rate in ``open``.

    Raises
    ------
    DataError
        There is no rate or no time; the message lists the columns found.
    """
    if not table.has_header:
        return _funding_by_position(table)
    time = _required(table, _SETTLE_TIMES, "the settlement time")
    rate = _find(table, _RATES)
    if rate is None and all(_find(table, names) is not None for names in _PRICES.values()):
        rate = _freqtrade_rate(table)
    if rate is None:
        raise _missing(table, "the funding rate", _RATES)
    return FundingColumns(time=time, rate=rate, mark=_find(table, _MARKS))


def has_interest(table: Table) -> bool:
    """Tell a file of open interest by its names."""
    return table.has_header and any(compact(name) in _INTEREST for name in table.names)


def interest_columns(table: Table) -> tuple[int, int]:
    """Return the positions of time and open interest."""
    time = _required(table, _INTEREST_TIMES, "the time")
    return time, _required(table, _INTEREST, "the open interest")


def check_symbol(table: Table, symbol: str) -> None:
    """Refuse a file that says it belongs to another contract, or to several."""
    position = _find(table, _SYMBOLS) if table.has_header else None
    if position is None or table.sample[position].strip().isdigit():
        return
    column = texts(table.fetch({position: "text"})[position])
    named = column.dropna().unique()
    keys = {_symbol_key(str(name)) for name in named}
    if len(keys) > 1:
        other = int(
            (column.map(lambda name: _symbol_key(str(name))) != _symbol_key(named[0])).argmax()
        )
        raise table.error(
            f"the file holds several symbols ('{named[0]}', '{column.iloc[other]}'); "
            "keep one symbol per file",
            record=other,
            column=position,
        )
    wanted = _symbol_key(symbol)
    if wanted and keys and not any(k.startswith(wanted) or wanted.startswith(k) for k in keys):
        raise table.error(
            f"the file belongs to '{named[0]}', market.symbol is '{symbol}'; "
            "give the right file or set market.symbol",
            record=0,
            column=position,
        )


def _symbol_key(name: str) -> str:
    """Return a symbol's bare letters: ETH/USDT:USDT, ETH-USDT-SWAP and ETHUSDT are one."""
    bare = re.sub(r"[^A-Z0-9]+", "", name.upper().partition(":")[0])
    bare = re.sub(r"(?:SWAP|PERPETUAL|PERP)$", "", bare)
    return re.sub(r"^XBT", "BTC", bare)


# ── by name ──────────────────────────────────────────────────────────────────────────────────────


def _find(table: Table, names: tuple[str, ...]) -> int | None:
    """Return where the first of ``names`` stands that the file has; standing twice is refused."""
    found = [compact(name) for name in table.names]
    for name in names:
        if found.count(name) > 1:
            raise table.error("this column name stands twice", column=found.index(name))
        if name in found:
            return found.index(name)
    return None


def _required(table: Table, names: tuple[str, ...], what: str) -> int:
    position = _find(table, names)
    if position is None:
        raise _missing(table, what, names)
    return position


def _missing(table: Table, what: str, names: tuple[str, ...]) -> DataError:
    wanted = ", ".join(name for name in names[:6] if name)
    found = ", ".join(f"'{name[:40]}'" for name in table.names[:20])
    return table.error(f"no column for {what} (such as {wanted}); the file has {found}; rename one")


def _open_time(table: Table) -> int:
    position = _find(table, _OPEN_TIMES)
    if position is None and _find(table, ("closetime",)) is not None:
        raise table.error(
            "the file has close times and no open times; bars are named by their open time: "
            "subtract the interval and call the column open_time"
        )
    return _required(table, _OPEN_TIMES, "the open time")


def _clock(table: Table) -> int | None:
    """Return the column with the time of day where it stands beside one of dates."""
    found = [compact(name) for name in table.names]
    if "date" not in found or "time" not in found:
        return None
    dates, times = table.sample[found.index("date")], table.sample[found.index("time")]
    apart = ":" not in dates and re.match(r"^\s*\d{1,2}:\d\d(?::\d\d)?\s*$", times)
    return found.index("time") if apart else None


def _volume(table: Table, symbol: str) -> int:
    """Return the base-coin volume: of ``Volume ETH`` and ``Volume USDT`` the first."""
    position = _find(table, _VOLUMES)
    if position is not None:
        return position
    coins = {
        i: compact(name).removeprefix("volume")
        for i, name in enumerate(table.names)
        if compact(name).startswith("volume")
    }
    of_symbol = [i for i, coin in coins.items() if symbol.lower().startswith(coin)]
    base = of_symbol or [i for i, coin in coins.items() if coin not in _QUOTES]
    if len(base) != 1:
        raise _missing(table, "the volume in base coin", _VOLUMES)
    return base[0]


def _freqtrade_rate(table: Table) -> int | None:
    """Return ``open`` where high, low and close are all zero: freqtrade's funding candles."""
    others = [_required(table, _PRICES[what], what) for what in ("high", "low", "close")]
    return _rate_among_zeros(table, _required(table, _PRICES["open"], "open"), others)


def _rate_among_zeros(table: Table, rate: int, others: list[int]) -> int:
    if not all(re.fullmatch(r"[+-]?0+(?:\.0*)?", table.sample[i].strip()) for i in others):
        raise table.error(
            "looks like candles (open, high, low, close), not like funding rates; "
            "give a file with a funding_rate column"
        )
    return rate


# ── by position ──────────────────────────────────────────────────────────────────────────────────


def _bars_by_position(table: Table, layout: Layout, *, needs_volume: bool) -> BarColumns:
    order = layout.order or (0, 1, 2, 3, 4, 5)
    needed = max(order) + 1 if needs_volume else 5
    if len(table.names) < needed:
        raise table.error(
            f"has no header and {len(table.names)} columns; bars need time, open, high, low, "
            "close, volume in this order",
            record=0,
        )
    return BarColumns(*order[:5], order[5] if needs_volume else None)


def _funding_by_position(table: Table) -> FundingColumns:
    width = len(table.names)
    if width == 2:
        return FundingColumns(time=0, rate=1, mark=None)
    if are_archived_rates(table):
        return FundingColumns(time=0, rate=2, mark=None)
    if width == 6:
        return FundingColumns(0, _rate_among_zeros(table, 1, [2, 3, 4]), None)
    raise table.error(
        f"has no header and {width} columns; funding needs time and rate, or time, hours of the "
        "interval and rate, or a header line",
        record=0,
    )
