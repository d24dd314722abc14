"""Files that are too large, lie about their size, or name what lies elsewhere are refused."""

from __future__ import annotations

import gzip
import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from fuzz_targets import good_run
from pyarrow import feather, parquet

from engine.variants import parse_grid
from perpwalk import reports, runs, strict
from perpwalk.cache import Cache
from perpwalk.config import resolve
from perpwalk.data import files, read_bars
from perpwalk.data.examine import examine_files
from perpwalk.data.store import SeriesKey
from perpwalk.errors import ConfigError, DataError, UsageError
from perpwalk.models import load_model
from perpwalk.preprocess import Preprocessor
from perpwalk.reports import data_page

HOUR = pd.Timedelta("1h")


class Endless(io.RawIOBase):
    """A line that never ends, and how much of it was read."""

    taken = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self.taken += size
        return b"7" * size


def test_a_line_without_end_is_not_read_to_its_end() -> None:
    """A few MiB are enough to refuse a line of any length."""
    stream = Endless()

    with pytest.raises(DataError, match="a line of more than 1,048,576 bytes"):
        files._bounded(Path("x.csv"), stream, packed=10**10)  # type: ignore[arg-type]
    assert stream.taken <= 4 * 1024**2


def test_ten_gigabytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    """The size alone is enough."""
    with (tmp_path / "x.csv").open("wb") as stream:
        stream.truncate(10 * 1024**3)  # takes no room

    with pytest.raises(DataError, match="holds 10,737,418,240 bytes; at most"):
        read_bars(tmp_path / "x.csv", symbol="X", interval=HOUR)


def zipped(data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.csv", data)
    return stream.getvalue()


@pytest.mark.parametrize("pack", [gzip.compress, zipped])
def test_a_bomb_goes_off_early(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """What unpacks to hundreds of times its size is refused after the first 16 MiB."""
    line = b"1,1,1,1,1,1\n"
    (tmp_path / "x.csv").write_bytes(pack(line * (24 * 1024**2 // len(line))))

    with pytest.raises(DataError, match="unpacks to 250 times its size"):
        read_bars(tmp_path / "x.csv", symbol="X", interval=HOUR)


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    """A link is no data file, wherever it leads."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        link = zipfile.ZipInfo("bars.csv")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    (tmp_path / "x.zip").write_bytes(stream.getvalue())

    with pytest.raises(DataError, match="a link"):
        read_bars(tmp_path / "x.zip", symbol="X", interval=HOUR)


def test_a_table_is_counted_while_it_is_unpacked() -> None:
    """A Parquet or Feather file of a few bytes may be a table of millions of rows."""
    table = pa.table({"a": np.zeros(1_000_000)})
    packed, feathered = io.BytesIO(), io.BytesIO()
    parquet.write_table(table, packed, compression="zstd")
    feather.write_feather(table, feathered, compression="zstd")

    for content, parse in (
        (packed.getvalue(), strict.parse_parquet),
        (feathered.getvalue(), strict.parse_feather),
    ):
        assert len(content) < 200_000
        assert 1_000_000 == parse(content).num_rows
        with pytest.raises(strict.NotAsWrittenError, match="refused"):
            parse(content, limit=4_000_000)


def test_a_table_whose_column_has_no_name_is_refused() -> None:
    """Bytes that are no text, where the name of a column stands in Parquet and Feather."""
    table = pa.table({"timestamp": [1]})
    packed, feathered = io.BytesIO(), io.BytesIO()
    parquet.write_table(table, packed)
    feather.write_feather(table, feathered)

    for stream, parse in ((packed, strict.parse_parquet), (feathered, strict.parse_feather)):
        with pytest.raises(strict.NotAsWrittenError, match="damaged"):
            parse(stream.getvalue().replace(b"timestamp", b"time\x84tamp"))


def test_a_billion_grid_points_are_refused_before_they_are_made() -> None:
    """The count is looked at, not the list."""
    with pytest.raises(ConfigError, match="a range has from 2 to 200,000 values"):
        parse_grid(["strategy.threshold=0:1:1000000000"])


@pytest.mark.parametrize(
    "raw",
    [
        {"walk_forward": {"max_folds": 10**9}}, {"market": {"simulate": {"bars": 10**9}}},
        {"model": {"lstm": {"timesteps": 10**9}}}, {"model": {"lstm": {"dense": 10**9}}},
        {"model": {"lstm": {"hidden": 4096, "timesteps": 2000, "batch_size": 65536}}},
        {"features": {"include": ["x"] * 1001}}, {"compute": {"seeds": list(range(101))}},
        {"markets": [{"symbol": f"S{n}"} for n in range(1001)]}, {"seed": 2**80},
        {"walk_forward": {"train": "99999999w"}},
    ],
)  # fmt: skip
def test_enormous_numbers_in_a_configuration_are_refused(raw: dict[str, object]) -> None:
    """Every count has an end that no honest experiment reaches."""
    with pytest.raises(ConfigError):
        resolve(raw)


@pytest.mark.parametrize(
    "name", ["..", "../x", "a/b", "a\\b", "/x", "nul", "COM1", "x.", "a\x00b", ""]
)
def test_names_lead_nowhere(name: str, tmp_path: Path) -> None:
    """Neither an experiment nor a symbol nor an exchange can be the way out of its folder."""
    for raw in ({"name": name}, {"market": {"symbol": name}}, {"market": {"exchange": name}}):
        with pytest.raises(ConfigError):
            resolve(raw)
    with pytest.raises(UsageError):
        SeriesKey.of("binance", name, "ohlcv", "1h").folder(tmp_path)


def test_a_link_out_of_a_folder_is_outside(tmp_path: Path) -> None:
    """A harmless name that is a link to elsewhere is refused like ``..``."""
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "x").symlink_to(tmp_path)

    for name in ("x/y", "../y", "/y", "C:y", "a\\b", ""):
        with pytest.raises(strict.NotAsWrittenError):
            strict.inside(tmp_path / "store", name)
    assert tmp_path / "store" / "y" == strict.inside(tmp_path / "store", "y")


def test_names_of_files_and_columns_are_text_on_the_data_page(tmp_path: Path) -> None:
    """What looks like a script in a name is shown and never run."""
    name = "<script>alert(1)<"
    path = tmp_path / f"{name}.csv"
    path.write_text(f"timestamp,{name},high,low,close,volume\n2024-01-01T00:00:00Z,1,1,1,1,1\n")

    data_page.write(examine_files([path]), tmp_path / "page.html")

    page = (tmp_path / "page.html").read_text()
    assert "alert(1)" in page
    assert "<script>" not in page


# ── links ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["metrics.csv", "notes.txt", "models/fold-000/features.json"])
@pytest.mark.parametrize("target", ["file", "folder", "nothing"])
def test_a_run_that_holds_a_link_is_not_read(tmp_path: Path, name: str, target: str) -> None:
    """Whatever is linked, wherever it leads: one message with the name of the link."""
    run = good_run(tmp_path / "w")
    (tmp_path / "file").write_text("secret")
    (tmp_path / "folder").mkdir()
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(tmp_path / target)

    with pytest.raises(UsageError, match=f"holds a link, {name}; perpwalk writes none"):
        runs.load_run(run)


def test_tables_and_documents_are_not_read_through_a_link(tmp_path: Path) -> None:
    """Also where a run is read without being opened as finished: while runs are listed."""
    run = good_run(tmp_path / "w")
    for name in ("audit.json", "metrics.csv", "equity.parquet", "config.yaml"):
        (run / name).rename(tmp_path / name)
        (run / name).symlink_to(tmp_path / name)
    read = runs.Run(run)

    for one in ("audit", "metrics", "equity", "config_text"):
        with pytest.raises(UsageError, match="is a link"):
            getattr(read, one)


def test_a_models_files_are_not_read_through_a_link(tmp_path: Path) -> None:
    """Neither what says which model it is, nor how its features are scaled."""
    (tmp_path / "x").write_text('{"kind": "majority", "format": 1, "up_rate": 0.5}')
    for name in ("config.json", "features.json", "scaler.json"):
        (tmp_path / name).symlink_to(tmp_path / "x")

    with pytest.raises(UsageError, match=r"config\.json is a link"):
        load_model(tmp_path)
    with pytest.raises(DataError, match="is a link"):
        Preprocessor.load(tmp_path)


@pytest.mark.parametrize("where", ["files/a", "files", "entry.json", ".", "..", "files/more"])
def test_an_entry_of_the_cache_with_a_link_is_not_there(tmp_path: Path, where: str) -> None:
    """What a link in the cache leads to is neither copied nor removed."""
    cache = Cache(tmp_path / "cache", 10**6)
    cache.keep("fits", "kk", lambda folder: (folder / "a").write_bytes(b"content"))
    linked = tmp_path / "cache" / "fits" / "kk" / "kk" / where
    linked = linked.parent if where == "." else linked.parent.parent if where == ".." else linked
    kept = tmp_path / "kept"
    if linked.exists():
        linked.rename(kept)
    else:
        kept.mkdir()
    linked.symlink_to(kept)

    assert not cache.take("fits", "kk", tmp_path / "taken")

    assert kept.exists()
    assert not (tmp_path / "taken").exists()


def test_what_was_kept_of_an_interrupted_run_is_not_taken_up_through_a_link(tmp_path: Path) -> None:
    """The folds are made anew; what the link leads to stays as it is."""
    asked = {"experiment": "x", "variant": "base", "digest": "d" * 64, "key": "k"}
    with runs.open_run(tmp_path / "results", **asked) as folder:
        (folder.work / "fold-000").mkdir()
    (tmp_path / "fold-001").mkdir()
    (tmp_path / "fold-001" / "fold.json").write_text("{}")
    (folder.work / "fold-001").symlink_to(tmp_path / "fold-001")

    with runs.open_run(tmp_path / "results", **asked) as folder:
        assert 0 == folder.resumed_folds
    assert (tmp_path / "fold-001" / "fold.json").is_file()


# ── what is made of a run vouches for it ─────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "make",
    [
        lambda path: reports.redo_page(runs.load_run(path)),
        lambda path: reports.redo_tearsheet(runs.load_run(path), out=path.parent / "out"),
        lambda path: runs.require_sealed(runs.load_run(path)),
    ],
    ids=["report", "tearsheet", "compare, sweep and placebo"],
)
def test_nothing_is_made_of_a_run_that_is_not_as_it_was_written(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    """The first file that is not is named; what a user has laid beside them is no change."""
    run = good_run(tmp_path / "w")
    (run / "notes.txt").write_text("mine")
    runs.require_sealed(runs.load_run(run))
    trades = (run / "trades.csv").read_text()
    (run / "trades.csv").write_text(trades.replace("1", "2", 1))

    with pytest.raises(UsageError, match=r"not as it was written: trades\.csv changed"):
        make(run)

    (run / "trades.csv").write_text(trades)
    (run / "seeds.csv").write_text("a\n1\n")
    with pytest.raises(UsageError, match=r"seeds\.csv added"):
        make(run)


def test_features_of_a_fold_that_are_no_names_are_refused(tmp_path: Path) -> None:
    """A page is drawn of what perpwalk wrote, or not at all."""
    run = good_run(tmp_path / "w")
    for content in ('{"selected": [1]}', '{"chosen": []}', "[]", "{"):
        (run / "models" / "fold-000" / "features.json").write_text(content)
        with pytest.raises(UsageError, match=r"features\.json"):
            reports.page_data(runs.load_run(run))
