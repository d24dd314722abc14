"""The store: market data fetched once and kept as partitioned Parquet with a catalog per series.

::

    STORE/exchange=binance/symbol=ETHUSDT/kind=ohlcv/interval=1h/_catalog.json
                                                                 year=2024/<hash>.parquet

``open_shelf`` writes a series, ``find_store`` says where the store lies, ``list_series`` what is in
it; ``perpwalk.data.store.market`` reads it for a run.
"""

from perpwalk.data.store.catalog import Catalog, Piece, read_catalog
from perpwalk.data.store.place import exchange_name, find_store, list_series
from perpwalk.data.store.series import KINDS, Rows, SeriesKey, SeriesKind
from perpwalk.data.store.shelf import Shelf, open_shelf

__all__ = [
    "KINDS",
    "Catalog",
    "Piece",
    "Rows",
    "SeriesKey",
    "SeriesKind",
    "Shelf",
    "exchange_name",
    "find_store",
    "list_series",
    "open_shelf",
    "read_catalog",
]
