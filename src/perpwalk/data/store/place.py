"""Where the store lies, and which series are in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from perpwalk import disk
from perpwalk.config import default_store
from perpwalk.data.store.catalog import CATALOG, Catalog, read_catalog
from perpwalk.data.store.series import KINDS, SeriesKey

_ALIASES = {"binanceusdm": "binance", "binance-futures": "binance", "okex": "okx"}


def find_store(given: Path | str | None = None) -> Path:
    """Return the store: the one given, else ``$PERPWALK_STORE``, else ``data/store`` from here."""
    return disk.named(given or default_store()).absolute()


def exchange_name(text: str) -> str:
    """Return what an exchange is called here: small letters, and no market type in its name.

    >>> exchange_name("binanceusdm"), exchange_name("OKX")
    ('binance', 'okx')
    """
    return _ALIASES.get(text.lower(), text.lower())


def list_series(root: Path) -> Iterator[Catalog]:
    """Yield the catalog of each series in the store, in order of its name."""
    for path in sorted(root.glob(f"exchange=*/symbol=*/kind=*/interval=*/{CATALOG}")):
        exchange, symbol, kind, interval = (
            part.partition("=")[2] for part in path.parent.relative_to(root).parts
        )
        if kind in KINDS:
            key = SeriesKey(exchange, symbol, kind, interval)
            yield read_catalog(path.parent, key)
