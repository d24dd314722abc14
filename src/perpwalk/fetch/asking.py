"""From words to what is asked: command-line arguments or a configuration."""

from __future__ import annotations

import re
from pathlib import Path

from perpwalk.config import NAME_PATTERN, MarketSection, load, read_stamp
from perpwalk.data.store import (
    KINDS,
    SeriesKey,
    SeriesKind,
    exchange_name,
    find_store,
    read_catalog,
)
from perpwalk.data.store.series import interval_ms, interval_text
from perpwalk.domain import to_ns
from perpwalk.errors import ConfigError, UsageError
from perpwalk.fetch.job import Asked, Source
from perpwalk.strict import is_reserved


def kinds_of(text: str) -> tuple[SeriesKind, ...]:
    """Return the kinds named in ``"ohlcv,funding"``, in the store's order.

    >>> kinds_of("funding, ohlcv")
    ('ohlcv', 'funding')
    """
    named = {word.strip() for word in text.split(",") if word.strip()}
    wrong = sorted(named - set(KINDS))
    if wrong or not named:
        raise UsageError(f"--kinds {text}: name some of {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if kind in named)


def ask_for(
    exchange: str,
    symbol: str,
    interval: str,
    since: str | None,
    until: str | None,
    *,
    kinds: tuple[SeriesKind, ...],
    source: Source,
    root: Path,
) -> Asked:
    """Return what is asked; without ``since`` from where the store's series begin."""
    exchange, symbol = exchange_name(exchange), contract_name(symbol)
    length = interval_text(interval_ms(interval))
    start = _known_since(root, exchange, symbol, length, kinds) if since is None else _ms(since)
    if start is None:
        raise UsageError(
            f"--since is needed: the store {root} has nothing of {exchange} {symbol} yet"
        )
    return Asked(
        exchange=exchange,
        symbol=symbol,
        interval=length,
        since=start,
        until=None if until is None else _ms(until),
        kinds=kinds,
        source=source,
    )


def of_config(
    path: str, *, kinds: tuple[SeriesKind, ...], source: Source
) -> list[tuple[Asked, Path]]:
    """Return what a configuration's markets need of the store, and which store that is."""
    config = load(path)
    sections: tuple[MarketSection, ...] = config.markets or (config.market,)
    found = []
    for section in sections:
        if section.exchange is None:
            continue
        root = find_store(section.store)
        found.append(
            (
                ask_for(
                    section.exchange, section.symbol, section.interval, section.since,
                    section.until, kinds=kinds, source=source, root=root,
                ),
                root,
            )
        )  # fmt: skip
    if not found:
        raise ConfigError("names no exchange, so there is nothing to fetch", key="market.exchange")
    return found


def contract_name(text: str) -> str:
    """Return a contract as the store calls it: base and quote in one word.

    >>> contract_name("ETH/USDT:USDT"), contract_name("ETH-USDT-SWAP"), contract_name("ETHUSDT")
    ('ETHUSDT', 'ETHUSDT', 'ETHUSDT')
    """
    pair = text.partition(":")[0].removesuffix("-SWAP")
    name = pair.replace("/", "").replace("-", "") if pair != text or "/" in text else text
    if not re.fullmatch(NAME_PATTERN, name) or is_reserved(name):
        raise UsageError(f"'{text}' is no name of a contract; write it like ETHUSDT")
    return name


def _known_since(
    root: Path, exchange: str, symbol: str, interval: str, kinds: tuple[SeriesKind, ...]
) -> int | None:
    starts = []
    for kind in kinds:
        key = SeriesKey.of(exchange, symbol, kind, interval)
        covered = read_catalog(key.folder(root), key).covered
        starts += [covered[0][0]] if covered else []
    return min(starts, default=None)


def _ms(text: str) -> int:
    try:
        return int(to_ns(read_stamp(text))) // 10**6
    except ValueError as error:
        raise UsageError(str(error)) from error
