"""The frames of a run: whatever its files say in, times come as nanoseconds of UTC."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hand_made_book import Book
from hand_made_run import portfolio, replay, write_run

import perpwalk
from perpwalk import run_files, runs, strict
from perpwalk.errors import UsageError
from perpwalk.strict import STAMP

NANOSECONDS = "datetime64[ns, UTC]"
FRAMES = (
    "predictions", "equity", "metrics", "folds", "training", "trades", "orders", "funding",
    "equity_by_contract", "metrics_by_contract",
)  # fmt: skip


def stamps_of(path: Path) -> dict[str, str]:
    """Return the kind of every column of every frame of a run that holds times."""
    run, kinds = perpwalk.load(path), run_files.TABLES
    found = {}
    for name in FRAMES:
        frame = getattr(run, name)
        file = f"{name}.parquet" if f"{name}.parquet" in kinds else f"{name}.csv"
        for column, kind in kinds[file][0].items():
            if frame is not None and kind == STAMP and column in frame:
                found[f"{name}.{column}"] = str(frame[column].dtype)
    return found


@pytest.mark.parametrize(
    "kind", ["one contract", "several contracts", "never traded"],
)  # fmt: skip
def test_every_time_of_every_frame_is_nanoseconds_of_utc(tmp_path: Path, kind: str) -> None:
    """Read from CSV or Parquet, with rows or without."""
    ledger = {
        "one contract": lambda: replay(300),
        "several contracts": lambda: portfolio(300),
        "never traded": lambda: Book(prices=[100.0, 101.0] * 150).ledger(),
    }[kind]()
    found = stamps_of(write_run(tmp_path / "run", ledger).path)

    assert dict.fromkeys(found, NANOSECONDS) == found
    assert {"equity", "predictions", "metrics", "trades", "orders", "funding", "folds"} <= {
        name.partition(".")[0] for name in found
    }
    assert ("equity_by_contract.close_time" in found) == (kind == "several contracts")


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
def test_a_parquet_of_another_unit_or_zone_is_read_as_the_same_moments(
    tmp_path: Path, unit: str, zone: str
) -> None:
    """A table that another tool wrote again holds the times it held."""
    written = write_run(tmp_path / "run", replay(50))
    before = written.equity
    other = before["close_time"].dt.tz_convert(zone).dt.as_unit(unit)
    before.assign(close_time=other).to_parquet(written.path / "equity.parquet", index=False)

    after = runs.load_run(written.path).equity
    pd.testing.assert_frame_equal(before, after)


@pytest.mark.parametrize("year", ["1500", "2824", "9999"])
def test_a_year_that_has_no_nanoseconds_is_a_message(tmp_path: Path, year: str) -> None:
    """In a CSV and in a Parquet file: which file, which column, what is wrong."""
    run = write_run(tmp_path / "run", replay(50))
    trades = run.path / "trades.csv"
    trades.write_text(trades.read_text().replace("2024-", f"{year}-", 1))
    late = run.equity["close_time"].dt.as_unit("s") + pd.Timedelta(seconds=0)
    late = late.mask(late.index == 3, pd.Timestamp(f"{year}-01-01", tz="UTC").as_unit("s"))
    run.equity.assign(close_time=late).to_parquet(run.path / "equity.parquet", index=False)
    torn = runs.load_run(run.path)

    for name, column in (("trades", "opened_at"), ("equity", "close_time")):
        with pytest.raises(UsageError, match=f"{name}.*'{column}' holds a time outside the years"):
            getattr(torn, name)


def test_a_column_without_any_time_is_one_of_times(tmp_path: Path) -> None:
    """Of a Parquet file whose column is all null it is not even known that it holds times."""
    path = tmp_path / "x.parquet"
    pd.DataFrame({"close_time": [None, None], "n": [1.0, 2.0]}).to_parquet(path)

    found = strict.read_parquet(path, {"close_time": STAMP, "n": strict.NUMBER})
    assert NANOSECONDS == str(found["close_time"].dtype)
    assert found["close_time"].isna().all()
