"""The real services, for people who have them: `make test-live`. A few days of each are fetched."""

from __future__ import annotations

import numpy as np
import pytest

from perpwalk.data.store import SeriesKey, read_catalog
from perpwalk.data.store.columns import read_columns
from perpwalk.data.store.series import HOUR, from_iso
from perpwalk.fetch import Asked, Endpoints, fetch

pytestmark = pytest.mark.live

SINCE, UNTIL = from_iso("2024-10-01T00:00:00Z"), from_iso("2024-10-08T00:00:00Z")


def _closes(root, key):
    folder = key.folder(root)
    columns = read_columns(folder, read_catalog(folder, key))
    inside = (columns.time >= SINCE * 10**6) & (columns.time < UNTIL * 10**6)
    return columns.time[inside] // 10**6, columns.values[3][inside]


@pytest.mark.parametrize("exchange", ["binance", "bybit", "okx"])
def test_a_week_of_bars_arrives_whole(tmp_path, exchange):
    """A past week of ETHUSDT comes from the API without a gap."""
    asked = Asked(exchange, "ETHUSDT", "1h", SINCE, UNTIL, ("ohlcv", "mark"), source="api")
    for outcome in fetch(asked, tmp_path, endpoints=Endpoints.from_environment()):
        assert 7 * 24 == outcome.catalog.rows
        assert () == outcome.catalog.gaps
        assert () == outcome.missing


def test_the_archive_and_the_api_of_binance_agree(tmp_path):
    """The same week from both has the same closes, and the archive brings the whole month."""
    key = SeriesKey.of("binance", "ETHUSDT", "ohlcv", "1h")
    for source in ("archive", "api"):
        asked = Asked("binance", "ETHUSDT", "1h", SINCE, UNTIL, ("ohlcv",), source=source)
        fetch(asked, tmp_path / source, endpoints=Endpoints.from_environment())
    time, archived = _closes(tmp_path / "archive", key)
    assert list(range(SINCE, UNTIL, HOUR)) == time.tolist()
    np.testing.assert_array_equal(archived, _closes(tmp_path / "api", key)[1])


@pytest.mark.parametrize("exchange", ["binance", "bybit"])
def test_settlements_stand_every_eight_hours(tmp_path, exchange):
    """A week of ETHUSDT funding has its 21 settlements. OKX keeps some months only."""
    asked = Asked(exchange, "ETHUSDT", "1h", SINCE, UNTIL, ("funding",), source="api")
    (outcome,) = fetch(asked, tmp_path, endpoints=Endpoints.from_environment())
    assert 21 == outcome.catalog.rows
