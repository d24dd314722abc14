"""The store: pieces arrive, are folded into partitions, and vouch for what a run reads."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpwalk import config, data
from perpwalk.data.store import Piece, Rows, SeriesKey, list_series, open_shelf, read_catalog
from perpwalk.data.store import market as store_market
from perpwalk.data.store.catalog import CATALOG, Catalog, merged
from perpwalk.data.store.columns import FLAT, Columns
from perpwalk.data.store.ranges import intersect, subtract, union
from perpwalk.data.store.series import HOUR, content_hash, joined, month_hashes, refused
from perpwalk.errors import DataError, EnvironmentFailedError, UsageError

BARS = SeriesKey.of("binance", "ETHUSDT", "ohlcv", "1h")
FUNDING = SeriesKey.of("binance", "ETHUSDT", "funding", "1h")
START = 1_703_980_800_000  # 2023-12-31T00:00Z: a year ends inside
NOW = START + 90 * 24 * HOUR


def bars(start: int, end: int) -> Rows:
    """Return hourly bars that depend on their stamps alone."""
    time = np.arange(start, end, HOUR)
    close = 2000 + 100 * np.sin(time / 7e7)
    opened = 2000 + 100 * np.sin((time - HOUR) / 7e7)
    high, low = np.maximum(opened, close) + 1, np.minimum(opened, close) - 1
    return Rows(time, np.array([opened, high, low, close, 5 + np.cos(time / 1e7)]))


def settled(start: int, end: int) -> Rows:
    """Return settlements every eight hours, a few milliseconds late."""
    time = np.arange(start, end, 8 * HOUR)
    return Rows(time + 3, np.array([np.full(len(time), 1e-4), np.full(len(time), np.nan)]))


def api(start: int, end: int) -> Piece:
    """Return a piece as the API brings it."""
    return Piece(start, end, "api", NOW)


def store_bars(root: Path, *spans: tuple[int, int], fold_each: bool = False) -> None:
    """Add bars in pieces, then fold them in."""
    with open_shelf(root, BARS) as shelf:
        for span in spans:
            shelf.add([api(*span)], bars(*span))
            if fold_each:
                shelf.fold()
        shelf.fold()


def contents(root: Path) -> dict[str, bytes]:
    """Return every file that holds data or says what is there."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.name != FLAT  # it holds the time its partitions were written
    }


def market_section(root: Path, **more: object) -> config.MarketSection:
    """Return a market of the store."""
    asked = {"exchange": "binance", "symbol": "ETHUSDT", "store": str(root)}
    return config.resolve({"market": {**asked, "missing_funding": "zero", **more}}).market


# ── spans ────────────────────────────────────────────────────────────────────────────────────────

SPANS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=8)


def _points(spans: list[tuple[int, int]]) -> set[int]:
    return {at for start, end in spans for at in range(start, end)}


@given(SPANS, SPANS, st.tuples(st.integers(0, 60), st.integers(0, 60)))
def test_spans_are_sets_of_times(first, second, window):
    """Union, difference and intersection of spans are those of the times in them."""
    assert _points(first) == _points(union(first))
    assert _points(first) - _points(second) == _points(subtract(first, second))
    assert _points(first) & _points([window]) == _points(intersect(first, window))
    for found in (union(first), subtract(first, second)):
        assert all(a[1] < b[0] for a, b in itertools.pairwise(found))


# ── writing ──────────────────────────────────────────────────────────────────────────────────────


def test_the_order_and_size_of_pieces_leave_no_trace(tmp_path):
    """A series is byte for byte the same however the fetch was cut and in which order it came."""
    whole = [(START, NOW)]
    cuts = (3, 17, 31, 32, 58, 71)
    edges = [START, *(START + day * 24 * HOUR for day in cuts), NOW]
    pieces = list(itertools.pairwise(edges))
    pieces = [pieces[i] for i in (4, 0, 6, 2, 5, 1, 3)]
    store_bars(tmp_path / "whole", *whole)
    store_bars(tmp_path / "pieces", *pieces)
    store_bars(tmp_path / "folded", *pieces, fold_each=True)
    expected = contents(tmp_path / "whole")
    assert expected == contents(tmp_path / "pieces")
    assert expected == contents(tmp_path / "folded")


def test_a_piece_that_overlaps_or_strays_is_refused(tmp_path):
    """What is there is never stored again, and a piece holds no rows outside its span."""
    store_bars(tmp_path, (START, START + 10 * HOUR))
    with open_shelf(tmp_path, BARS) as shelf:
        with pytest.raises(ValueError, match="overlap"):
            shelf.add([api(START + 5 * HOUR, NOW)], bars(START + 5 * HOUR, NOW))
        with pytest.raises(ValueError, match="outside"):
            shelf.add([api(NOW, NOW + HOUR)], bars(NOW, NOW + 2 * HOUR))


def test_one_writer_at_a_time(tmp_path):
    """A second writer of a series is refused with the environment's exit code."""
    with open_shelf(tmp_path, BARS), pytest.raises(EnvironmentFailedError, match="another process"):
        open_shelf(tmp_path, BARS).__enter__()


@pytest.mark.parametrize("failing", range(8))
def test_a_writer_that_dies_anywhere_loses_nothing_that_had_arrived(tmp_path, monkeypatch, failing):
    """Whichever write fails, the next fetch takes up what arrived and ends with the same bytes."""
    spans = [(START, START + 20 * HOUR), (START + 20 * HOUR, NOW)]
    store_bars(tmp_path / "whole", *spans)
    real, calls = os.replace, []

    def dies(self: Path, target: Path) -> Path:
        calls.append(target)
        if len(calls) - 1 == failing:
            raise KeyboardInterrupt
        real(self, target)
        return Path(target)

    monkeypatch.setattr(Path, "replace", dies)
    try:
        store_bars(tmp_path / "cut", *spans)
        died = False
    except KeyboardInterrupt:
        died = True
    monkeypatch.undo()
    assert died == (failing < 6)  # two pieces, two years, the catalog, the flat copy
    with open_shelf(tmp_path / "cut", BARS) as shelf:
        for span in subtract(spans, shelf.covered):
            shelf.add([api(*span)], bars(*span))
        shelf.fold()
    assert contents(tmp_path / "whole") == contents(tmp_path / "cut")


def test_the_catalog_says_what_is_there(tmp_path):
    """Rows, range, gaps, sources and fetch times stand in the catalog."""
    lost = START + 30 * HOUR
    with open_shelf(tmp_path, BARS) as shelf:
        rows = bars(START, NOW)
        shelf.add([api(START, NOW)], rows.take(np.flatnonzero(rows.time != lost)))
        shelf.fold()
    (catalog,) = list_series(tmp_path)
    facts = catalog.as_dict()
    assert 90 * 24 - 1 == facts["rows"]
    assert ("2023-12-31T00:00:00Z", "2024-03-29T23:00:00Z") == (facts["first"], facts["last"])
    assert [{"start": "2024-01-01T06:00:00Z", "end": "2024-01-01T07:00:00Z", "rows": 1}] == facts[
        "gaps"
    ]
    assert ["api"] == [piece["source"] for piece in facts["covered"]]
    assert [2023, 2024] == [one["year"] for one in facts["partitions"]]


def test_partitions_are_plain_parquet(tmp_path):
    """Anybody's tools read the folder: one table, with unknown values null."""
    store_bars(tmp_path, (START, NOW))
    table = pd.read_parquet(BARS.folder(tmp_path))
    assert 90 * 24 == len(table)
    assert pd.Timestamp("2023-12-31", tz="UTC") == table["open_time"].min()
    with open_shelf(tmp_path, FUNDING) as shelf:
        shelf.add([api(START, NOW)], settled(START, NOW))
        shelf.fold()
    marks = pq.read_table(FUNDING.folder(tmp_path))["mark_price"]
    assert len(marks) == marks.null_count


def test_pieces_of_one_source_that_touch_are_one():
    """Where a page ended is not remembered; archive files keep their names."""
    file = Piece(9, 12, "archive", NOW, file="a.zip", sha256="0")
    assert (Piece(0, 9, "api", NOW), file) == merged([file, Piece(4, 9, "api", NOW), api(0, 4)])


def test_impossible_rows_are_told(tmp_path):
    """A bar off the grid, below its low, not finite or of no price is refused."""
    rows = bars(START, START + 6 * HOUR)
    values = rows.values.copy()
    values[1, 1] = 0.5  # high below open
    values[2, 2] = -1  # low below zero
    values[4, 3] = np.nan
    time = rows.time.copy()
    time[4] += 1
    assert [0, 1, 1, 1, 1, 0] == refused(BARS, Rows(time, values)).astype(int).tolist()


def test_the_hash_is_of_content(tmp_path):
    """The same rows have the same hash in any order of arrival; another number has another."""
    rows = bars(START, NOW)
    again = joined(BARS, [rows.take(slice(500, None)), rows.take(slice(0, 500))])
    expected = content_hash(month_hashes(BARS, rows))
    assert expected == content_hash(month_hashes(BARS, again))
    values = rows.values.copy()
    values[3, 7] += 1e-9
    assert expected != content_hash(month_hashes(BARS, Rows(rows.time, values)))


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def test_a_market_from_the_store_is_that_of_a_file(tmp_path):
    """Bars, findings and gaps are those of the same rows in a plain file."""
    store_bars(tmp_path, (START, NOW))
    file = tmp_path / "bars.csv"
    rows = bars(START, NOW)
    table = pd.DataFrame(rows.values.T, columns=list(BARS.columns[1:]))
    table.insert(0, "open_time", rows.time)
    table.to_csv(file, index=False)
    stored = data.load_market(market_section(tmp_path), seed=1)
    section = config.resolve(
        {"market": {"ohlcv": str(file), "symbol": "ETHUSDT", "missing_funding": "zero"}}
    ).market
    read = data.load_market(section, seed=1)
    for name in ("open", "high", "low", "close", "volume", "filled"):
        np.testing.assert_array_equal(getattr(read.bars, name), getattr(stored.bars, name))
    assert read.bars.open_time.equals(stored.bars.open_time)
    assert [(f.code, f.message) for f in read.findings] == [
        (f.code, f.message) for f in stored.findings
    ]


def test_a_fetch_that_ends_while_a_run_reads_disturbs_nothing(tmp_path, monkeypatch):
    """Whoever has read the old catalog, whose files are swept away then, reads the new series."""
    middle = START + 40 * 24 * HOUR
    store_bars(tmp_path, (START, middle))
    section = market_section(tmp_path, until="2024-01-31T00:00:00Z")
    before = data.load_market(section, seed=0)
    (BARS.folder(tmp_path) / FLAT).unlink()
    real, ended = store_market.read_columns, []

    def late(folder: Path, catalog: Catalog) -> Columns:
        if not ended:
            ended.append(store_bars(tmp_path, (middle, NOW)))
        return real(folder, catalog)

    monkeypatch.setattr(store_market, "read_columns", late)
    after = data.load_market(section, seed=0)

    assert [None] == ended
    assert before.bars.to_frame().equals(after.bars.to_frame())
    assert before.sources[0].sha256 == after.sources[0].sha256


def test_runs_read_one_series_while_it_grows(tmp_path):
    """Read over and over while twelve days are folded in, the first ten stay what they were."""
    first, grown = START + 10 * 24 * HOUR, tmp_path / "grown"
    store_bars(grown, (START, first))
    section = market_section(grown, until="2024-01-10T00:00:00Z")
    before = data.load_market(section, seed=0).sources[0].sha256
    edges = range(first, first + 13 * 24 * HOUR, 24 * HOUR)
    pieces = list(itertools.pairwise(edges))
    read = []
    with ThreadPoolExecutor(1) as writer:
        writing = writer.submit(store_bars, grown, *pieces, fold_each=True)
        while not writing.done():
            read.append(data.load_market(section, seed=0).sources[0].sha256)
        writing.result()

    assert {before} == set(read)
    store_bars(tmp_path / "alone", (START, edges[-1]))
    remembered = {name for name in contents(grown) if "_findings" in name}  # by those who read
    assert contents(tmp_path / "alone") == {
        name: content for name, content in contents(grown).items() if name not in remembered
    }


def test_read_bars_cannot_be_written_to(tmp_path):
    """What the store hands out is read-only, as everywhere."""
    store_bars(tmp_path, (START, NOW))
    market = data.load_market(market_section(tmp_path), seed=1)
    with pytest.raises(ValueError, match="read-only"):
        market.bars.close[0] = 1.0


def test_a_run_has_the_hash_of_the_rows_it_reads(tmp_path):
    """Later bars in the store do not change what a run up to `until` has read."""
    end = START + 40 * 24 * HOUR
    until = "2024-02-05T07:00:00Z"
    store_bars(tmp_path, (START, end))
    before = data.load_market(market_section(tmp_path, until=until), seed=1).sources[0]
    store_bars(tmp_path, (end, NOW))
    after = data.load_market(market_section(tmp_path, until=until), seed=1).sources[0]
    longer = data.load_market(market_section(tmp_path), seed=1).sources[0]
    assert before == after
    assert before.sha256 != longer.sha256


@pytest.mark.parametrize(
    ("more", "lacking"),
    [
        ({"since": "2023-11-01"}, "--since 2023-11-01 --until 2023-12-31"),
        ({"until": "2024-06-01"}, "--until 2024-06-01"),
        ({"symbol": "BTCUSDT"}, "perpwalk data fetch binance BTCUSDT --since"),
        ({"interval": "4h"}, "--interval 4h"),
    ],
)
def test_a_missing_range_says_what_to_type(tmp_path, more, lacking):
    """A run that the store cannot feed ends with one message and the command that mends it."""
    store_bars(tmp_path, (START, NOW))
    with pytest.raises(DataError) as caught:
        data.load_market(market_section(tmp_path, **more), seed=1)
    assert lacking in str(caught.value)
    assert f"--store {tmp_path}" in str(caught.value)


def test_missing_funding_says_what_to_type(tmp_path):
    """Bars without the settlements of their period are refused with the command that gets them."""
    store_bars(tmp_path, (START, NOW))
    with pytest.raises(DataError, match="lacks binance ETHUSDT funding .* perpwalk data fetch"):
        data.load_market(market_section(tmp_path, missing_funding="error"), seed=1)


def test_a_partition_that_was_changed_is_refused(tmp_path):
    """A stored file that is not the one stored is named, whatever its rows say."""
    store_bars(tmp_path, (START, NOW))
    path = next(BARS.folder(tmp_path).glob("year=2024/*.parquet"))
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="its hash differs"):
        data.load_market(market_section(tmp_path), seed=1)


def test_a_flat_copy_that_was_changed_is_made_again(tmp_path):
    """The flat copy is only a copy: damaged or gone, the run reads the same."""
    store_bars(tmp_path, (START, NOW))
    expected = data.load_market(market_section(tmp_path), seed=1)
    flat = BARS.folder(tmp_path) / FLAT
    whole = flat.read_bytes()
    for content in (whole[:-8], whole[:-9] + b"x" * 9, b"", b"nonsense" * 100, whole[:40]):
        flat.write_bytes(content)
        found = data.load_market(market_section(tmp_path), seed=1)
        np.testing.assert_array_equal(expected.bars.volume, found.bars.volume)
        assert whole == flat.read_bytes()
    flat.unlink()
    found = data.load_market(market_section(tmp_path), seed=1)
    np.testing.assert_array_equal(expected.bars.close, found.bars.close)


def test_a_damaged_catalog_is_said(tmp_path):
    """A catalog cut short is one clear message, not a traceback."""
    store_bars(tmp_path, (START, NOW))
    path = BARS.folder(tmp_path) / CATALOG
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=CATALOG):
        read_catalog(path.parent, BARS)


def test_files_win_over_the_store(tmp_path):
    """A file named for one kind is read; the store feeds the others."""
    store_bars(tmp_path, (START, NOW))
    file = tmp_path / "funding.csv"
    rows = settled(START, NOW)
    pd.DataFrame({"fundingTime": rows.time, "fundingRate": rows.values[0]}).to_csv(
        file, index=False
    )
    section = market_section(tmp_path, funding=str(file), missing_funding="error")
    market = data.load_market(section, seed=1)
    assert ["store", "csv"] == [source.file_format for source in market.sources]


def test_where_the_data_come_from_is_no_part_of_the_question(tmp_path):
    """The store's place and the exchange's name leave a run's hash alone: content decides."""
    here = config.resolve({"market": {"exchange": "binance", "store": "a", "symbol": "ETHUSDT"}})
    there = config.resolve({"market": {"exchange": "bybit", "store": "b", "symbol": "ETHUSDT"}})
    assert here.digest({"ohlcv": "1"}) == there.digest({"ohlcv": "1"})
    assert here.digest({"ohlcv": "1"}) != here.digest({"ohlcv": "2"})


@pytest.mark.parametrize("text", ["1x", "h", "0h", "-1h", "1.5h", ""])
def test_a_wrong_interval_is_said(text):
    """An interval that is none is refused with an example."""
    with pytest.raises(UsageError, match="write it like"):
        _ = SeriesKey.of("binance", "ETHUSDT", "ohlcv", text).step
