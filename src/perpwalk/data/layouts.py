"""Who wrote a file: the layouts of exchanges and tools, told by content.

A layout adds to the general rules of ``perpwalk.data.columns`` what only its writer's habits tell:
another order of columns, prices in hundredths of a cent, times counted from midnight of a date in
the file's name. ``identify`` takes the first layout of ``LAYOUTS`` that recognises the file, and
``market.format`` (``--format``) names one instead. To add a layout, add an entry.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from perpwalk.data.names import compact
from perpwalk.data.tables import Table
from perpwalk.errors import ConfigError

Kind = Literal["ohlcv", "mark", "funding", "open_interest"]

PLAIN = "plain"
AUTO = "auto"


@dataclass(frozen=True)
class Layout:
    """What one writer's files look like and how they differ from the general rules.

    Attributes
    ----------
    name
        What ``--format`` calls it.
    title
        What it is, for people.
    recognises
        Whether a table of the given kind was written by it.
    order
        Positions of time, open, high, low, close and volume in a file without names.
    price_divisor
        What prices are divided by.
    zone
        Time zone that stamps without one are written in.
    clock
        True where stamps count milliseconds from midnight of the date in the file's name.
    note
        What its reader should know; becomes a finding.
    """

    name: str
    title: str
    recognises: Callable[[Table, Kind], bool]
    order: tuple[int, int, int, int, int, int] | None = None
    price_divisor: float = 1.0
    zone: str = "UTC"
    clock: bool = False
    note: str | None = None


def identify(table: Table, kind: Kind, wanted: str = AUTO) -> Layout:
    """Return the layout of a table, or the one asked for by name.

    Raises
    ------
    ConfigError
        No layout has the name asked for.
    DataError
        The file is known to hold something else, such as quotes.
    """
    if wanted != AUTO:
        return named(wanted)
    _refuse_quotes(table)
    return next(layout for layout in LAYOUTS if layout.recognises(table, kind))


def named(name: str) -> Layout:
    """Return the layout called ``name``.

    >>> named("lean").title
    'QuantConnect Lean'
    """
    found = next((layout for layout in LAYOUTS if layout.name == name), None)
    if found is None:
        known = ", ".join((AUTO, *(layout.name for layout in LAYOUTS)))
        raise ConfigError(f"'{name}' is no known format; choose one of {known}")
    return found


def format_names() -> tuple[str, ...]:
    """Return every name ``--format`` takes."""
    return (AUTO, *(layout.name for layout in LAYOUTS))


# ── signs ────────────────────────────────────────────────────────────────────────────────────────


def _names(table: Table) -> frozenset[str]:
    return frozenset(compact(name) for name in table.names) if table.has_header else frozenset()


def _binance_archive(table: Table, kind: Kind) -> bool:
    """Twelve columns that end with the count ``ignore``; funding and metrics by their names."""
    names = _names(table)
    if names:
        return (
            {"opentime", "takerbuyvolume", "ignore"} <= names
            or {"calctime", "lastfundingrate"} <= names
            or {"createtime", "sumopeninterest"} <= names
        )
    if kind == "funding":
        return are_archived_rates(table)
    return kind in ("ohlcv", "mark") and len(table.names) == 12 and table.sample[0].isdigit()


def are_archived_rates(table: Table) -> bool:
    """Say whether a file without names holds a time, the hours of an interval and a small rate.

    So Binance's archive writes funding, where it leaves its names out.
    """
    if table.has_header or len(table.names) != 3:
        return False
    time, hours, rate = (cell.strip() for cell in table.sample)
    if not time.isdigit() or not re.fullmatch(r"1|2|4|6|8|12|24", hours):
        return False
    return re.fullmatch(r"-?0?\.\d+(?:[eE]-\d+)?|-?\d(?:\.\d+)?[eE]-\d+|0", rate) is not None


def _binance_api(table: Table, _kind: Kind) -> bool:
    names = _names(table)
    return {"closetime", "quotevolume"} <= names or {"opentime", "closetime"} <= names


def _okx(table: Table, _kind: Kind) -> bool:
    """Nine columns without names: contracts, base and quote volume, and whether the bar is done."""
    return not table.has_header and len(table.names) == 9 and table.sample[8] in ("0", "1")


def _bybit(table: Table, kind: Kind) -> bool:
    names = _names(table)
    if kind == "funding":
        return bool({"fundingratetimestamp"} & names) and "datetime" not in names
    return {"starttime", "openprice"} <= names or {"starttime", "turnover"} <= names


def _predecessor(table: Table, kind: Kind) -> bool:
    names = tuple(compact(name) for name in table.names)
    if kind == "funding":
        return names == ("datetime", "fundingrate", "fundingratetimestamp")
    return names == ("datetime", "open", "high", "low", "close", "volume") and table.has_header


def _ccxt(table: Table, kind: Kind) -> bool:
    names = _names(table)
    if kind == "funding":
        return {"fundingrate", "timestamp"} <= names and bool({"info", "datetime"} & names)
    if names:
        expected = {"timestamp", "open", "high", "low", "close", "volume"}
        return names == expected and table.sample[0].split(".")[0].isdigit()
    return table.file_format.startswith("json") and len(table.names) == 6


def _freqtrade(table: Table, _kind: Kind) -> bool:
    """Its own feather columns; a JSON list of rows is ccxt's too, so the file's name decides."""
    names = tuple(compact(name) for name in table.names)
    if table.has_header:
        kinds = ("feather", "parquet")
        expected = ("date", "open", "high", "low", "close", "volume")
        return names == expected and table.file_format.startswith(kinds)
    of_json = table.file_format.startswith("json") and len(names) == 6
    return of_json and re.search(r"-\d+[mhdw]-?", table.path.name) is not None


def _cryptodatadownload(table: Table, _kind: Kind) -> bool:
    names = _names(table)
    volumes = [name for name in names if name.startswith("volume") and len(name) > 6]
    return {"date", "symbol", "open"} <= names and len(volumes) >= 2


def _yahoo(table: Table, _kind: Kind) -> bool:
    names = _names(table)
    if names and ("adjclose" in names or "dividends" in names):
        return True
    # yfinance's own order: Date, Close, High, Low, Open, Volume
    order = tuple(compact(name) for name in table.names)
    return order in (
        ("date", "close", "high", "low", "open", "volume"),
        ("datetime", "close", "high", "low", "open", "volume"),
    )


def _tradingview(table: Table, _kind: Kind) -> bool:
    order = tuple(compact(name) for name in table.names)
    return table.has_header and order[:5] == ("time", "open", "high", "low", "close")


def _metatrader(table: Table, _kind: Kind) -> bool:
    names = _names(table)
    if names:
        return {"tickvol", "spread"} <= names
    return re.match(r"^\d{4}\.\d\d\.\d\d \d\d:\d\d", table.sample[0]) is not None


def _lean_clock(table: Table, _kind: Kind) -> bool:
    """Milliseconds since midnight: the date stands in the name of the file alone."""
    first = table.sample[0].strip()
    return (
        not table.has_header
        and first.isdigit()
        and int(first) < 86_400_000
        and re.search(r"(?:^|/)\d{8}_", table.member) is not None
    )


def _lean(table: Table, kind: Kind) -> bool:
    stamp = re.match(r"^\d{8} \d\d:\d\d(?::\d\d)?$", table.sample[0]) is not None
    return not table.has_header and (stamp or _lean_clock(table, kind))


def _lean_equity(table: Table, kind: Kind) -> bool:
    """Whole numbers of five digits, in a file named after no pair of currencies: prices x 10,000.

    Lean writes prices of stocks so, and those of coins as they are; numbers alone cannot tell.
    """
    if kind != "ohlcv" or not _lean(table, kind):
        return False
    if not all(re.fullmatch(r"\d{5,}", cell.strip()) for cell in table.sample[1:5]):
        return False
    ticker = re.sub(r"^\d{8}_", "", table.member.rsplit("/", 1)[-1]).partition(".")[0]
    ticker = ticker.partition("_")[0].lower()
    if re.search(r"(?:usd[tc]?|busd|btc|eth|eur|gbp|jpy)$", ticker):
        return False
    if "equity" in table.path.parts or (ticker.isalpha() and len(ticker) <= 5):
        return True
    raise table.error(
        "Lean writes prices of stocks x 10,000 and prices of coins as they are, and neither these "
        "numbers nor the file's name tell which they are; say --format lean or lean-equity "
        "(market.format)"
    )


def _jesse(table: Table, _kind: Kind) -> bool:
    order = tuple(compact(name) for name in table.names)
    wanted = ("timestamp", "open", "close", "high", "low", "volume")
    return table.has_header and (order[:6] == wanted or order[1:7] == wanted)


def _refuse_quotes(table: Table) -> None:
    quotes = not table.has_header and len(table.names) == 11 and _lean(table, "ohlcv")
    if quotes:
        raise table.error(
            "holds Lean's quote bars (bid and ask); give the file of trades, named _trade"
        )


def _by_name_only(_table: Table, _kind: Kind) -> bool:
    return False


# The positions of jesse's and Bitfinex's rows: time, open, close, high, low, volume.
OPEN_CLOSE_FIRST = (0, 1, 3, 4, 2, 5)
# Coinbase's: time, low, high, open, close, volume.
LOW_HIGH_FIRST = (0, 3, 2, 1, 4, 5)

_DOLLARS = "its volume of a coin is in dollars, not in coins"

# First match wins: the narrow ones stand before the wide ones, `plain` recognises everything.
LAYOUTS: tuple[Layout, ...] = (
    Layout("predecessor", "the predecessor of perpwalk", _predecessor),
    Layout("binance-archive", "Binance's public archive", _binance_archive),
    Layout("binance-api", "a dump of Binance's API", _binance_api),
    Layout("okx", "a dump of OKX's API", _okx, order=(0, 1, 2, 3, 4, 6)),
    Layout("bybit", "a dump of Bybit's API", _bybit),
    Layout("cryptodatadownload", "CryptoDataDownload", _cryptodatadownload),
    Layout("yahoo", "Yahoo Finance", _yahoo, note=_DOLLARS),
    Layout(
        "lean-equity",
        "QuantConnect Lean, prices in hundredths of a cent",
        _lean_equity,
        price_divisor=10_000.0,
        zone="America/New_York",
    ),
    Layout("lean-minute", "QuantConnect Lean, one day", _lean_clock, clock=True),
    Layout("lean", "QuantConnect Lean", _lean),
    Layout("metatrader", "MetaTrader", _metatrader),
    Layout("jesse", "jesse", _jesse, order=OPEN_CLOSE_FIRST),
    Layout("bitfinex", "a dump of Bitfinex's API", _by_name_only, order=OPEN_CLOSE_FIRST),
    Layout("coinbase", "a dump of Coinbase's API", _by_name_only, order=LOW_HIGH_FIRST),
    Layout("freqtrade", "freqtrade", _freqtrade),
    Layout("ccxt", "a dump of ccxt", _ccxt),
    Layout("tradingview", "TradingView", _tradingview),
    Layout(PLAIN, "a plain table", lambda _table, _kind: True),
)
