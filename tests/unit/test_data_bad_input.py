"""Bad market data: one clear error that names file, row and column."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perpwalk.data import files, read_bars
from perpwalk.errors import DataError

HOUR = pd.Timedelta("1h")
HEADER = "timestamp,open,high,low,close,volume\n"


def lines(n: int = 8) -> list[str]:
    """Return n consistent lines of hourly bars."""
    return [f"2024-01-01T{i:02d}:00:00Z,100,{102 + i},99,101,{5 + i}\n" for i in range(n)]


def read(tmp_path: Path, rows: list[str], header: str = HEADER, **options: object):
    path = tmp_path / "bars.csv"
    path.write_text(header + "".join(rows))
    return read_bars(path, symbol="ETHUSDT", interval=HOUR, **options)


def changed(row: int, text: str) -> list[str]:
    """Return the lines with the one at ``row`` of the file (header: 1) replaced."""
    rows = lines()
    rows[row - 2] = text
    return rows


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("2024-01-01T03:00:00Z,100,102,99,,9\n", "row 5, column 'close': nan is empty"),
        ("2024-01-01T03:00:00Z,NaN,102,99,101,9\n", "row 5, column 'open': nan is empty"),
        ("2024-01-01T03:00:00Z,100,inf,99,101,9\n", "row 5, column 'high': inf is"),
        ("2024-01-01T03:00:00Z,100,102,x9,101,9\n", "row 5, column 'low': 'x9' is not a number"),
        ("2024-01-01T03:00:00Z,100,100.5,99,101,9\n", "row 5, column 'high': high 100.5 is below"),
        ("2024-01-01T03:00:00Z,100,102,100.5,101,9\n", "row 5, column 'low': low 100.5 is above"),
        ("2024-01-01T03:00:00Z,100,98,99,101,9\n", "row 5, column 'high'"),
        ("2024-01-01T03:00:00Z,100,102,0,101,9\n", "row 5, column 'low': 0 is not above 0"),
        ("2024-01-01T03:00:00Z,100,102,-1,101,9\n", "row 5, column 'low': -1 is not above 0"),
        ("2024-01-01T03:00:00Z,100,102,99,101,-9\n", "row 5, column 'volume': -9 is below 0"),
        ("2024-01-01T03:00:00Z,100,102,99,101,\n", "row 5, column 'volume': nan is empty"),
        ("2024-01-01T02:00:00Z,100,102,99,101,9\n", r"row 5, column 'timestamp'.*stands twice"),
        ("2023-12-31T00:00:00Z,100,102,99,101,9\n", r"row 5, column 'timestamp'.*not sorted"),
        ("2024-01-01T03:30:00Z,100,102,99,101,9\n", r"row 5, column 'timestamp'.*off the grid"),
        ("2024-01-01T03:00:00Z,100,102,99\n", "row 5: has 4 fields where 6"),
    ],
)
def test_a_bad_row_is_named(tmp_path, text, where):
    """Line 5 of the file is at fault, and the message says so."""
    with pytest.raises(DataError, match=rf"bars\.csv, {where}"):
        read(tmp_path, changed(5, text))


def test_rows_are_counted_as_an_editor_counts_lines(tmp_path):
    """Comment and blank lines count; the fault stands in line 7."""
    rows = changed(4, "2024-01-01T02:00:00Z,100,102,99,-1,9\n")
    rows[0] += "\n"

    with pytest.raises(DataError, match=r"row 7, column 'close'") as caught:
        read(tmp_path, rows, header="# one\n# two\n" + HEADER)

    text = (tmp_path / "bars.csv").read_text().splitlines()
    assert 7 == caught.value.row
    assert "-1" in text[6]


def test_in_a_descending_file_the_row_is_still_that_of_the_file(tmp_path):
    """Reading from the end does not renumber the lines."""
    rows = changed(8, "2024-01-01T06:00:00Z,100,90,99,101,9\n")
    rows[2] = "2024-01-01T02:00:00Z,100,90,99,101,9\n"

    with pytest.raises(DataError, match="row 3, column 'high'"):
        read(tmp_path, rows[::-1])


def test_in_a_binary_file_the_record_is_named(tmp_path):
    """Parquet rows count from 0."""
    frame = pd.read_csv(io.StringIO(HEADER + "".join(lines())))
    frame.loc[3, "close"] = np.nan
    frame.to_parquet(tmp_path / "bars.parquet")

    with pytest.raises(DataError, match="row 3, column 'close'"):
        read_bars(tmp_path / "bars.parquet", symbol="ETHUSDT", interval=HOUR)


def test_a_number_column_of_text_in_a_binary_file_names_the_record(tmp_path):
    """Prices stored as text are read where they are numbers, else refused with the record."""
    frame = pd.read_csv(io.StringIO(HEADER + "".join(lines())), dtype=str)
    frame.to_parquet(tmp_path / "good.parquet")
    frame.loc[2, "open"] = "n.a."
    frame.to_parquet(tmp_path / "bad.parquet")

    bars, _, _ = read_bars(tmp_path / "good.parquet", symbol="ETHUSDT", interval=HOUR)
    assert [100.0] * 8 == bars.open.tolist()
    with pytest.raises(DataError, match=r"row 2, column 'open': 'n.a.' is not a number"):
        read_bars(tmp_path / "bad.parquet", symbol="ETHUSDT", interval=HOUR)


@pytest.mark.parametrize("place", ["a name", "a cell"])
def test_a_message_stays_short_whatever_the_file_holds(tmp_path: Path, place: str) -> None:
    """A name or a cell of thousands of characters is quoted in part, and the advice is there."""
    long = "x" * 5000
    header = f"{long},open,high,low,close,volume\n" if place == "a name" else HEADER
    rows = lines() if place == "a name" else changed(3, f"{long},100,104,99,101,6\n")

    with pytest.raises(DataError) as refused:
        read(tmp_path, rows, header)

    assert 1500 > len(str(refused.value))
    assert "rename one" in str(refused.value) or "write it like" in str(refused.value)


@pytest.mark.parametrize("column", ["timestamp", "open", "high", "low", "close", "volume"])
def test_a_missing_column_is_named_with_the_columns_found(tmp_path, column):
    """The message lists what the file has."""
    header = HEADER.replace(column, "other")

    with pytest.raises(DataError, match=r"no column for .*'other'"):
        read(tmp_path, lines(), header=header)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "file is empty"),
        (b"\n \n", "holds no text"),
        (HEADER.encode(), "a header and no rows"),
        (b"[]", "holds no records"),
        (b'{"a": 1}', "not a list"),
        (b"[[1,2],[3]]", "differs in shape"),
        (b"[[1,2", "JSON is cut short"),
        (b"hello\nworld\n", "holds no columns"),
        (b"\x80\x04\x95\x00\x00", "neither text nor"),
        (b"PAR1 and no more", "parquet file is cut short or damaged"),
        (b"ARROW1 and no more", "feather file is cut short or damaged"),
        (b"PK\x03\x04 and no more", "zip file is cut short or damaged"),
        (gzip.compress(HEADER.encode() + b"x" * 999)[:-9], "gzip file is cut short"),
        (gzip.compress(gzip.compress(b"x")), "archive inside an archive"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "content",
)
def test_a_file_that_holds_no_bars_is_refused(tmp_path, content, complaint):
    """Empty, cut short, damaged and foreign files each get their own sentence."""
    path = tmp_path / "bars.csv"
    path.write_bytes(content)

    with pytest.raises(DataError, match=rf"bars\.csv.*{complaint}"):
        read_bars(path, symbol="ETHUSDT", interval=HOUR)


def test_a_zip_of_several_files_is_refused(tmp_path):
    """Which of two files is meant cannot be told."""
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.csv", HEADER)
        archive.writestr("b.csv", HEADER)

    with pytest.raises(DataError, match="holds 2 files"):
        read_bars(tmp_path / "two.zip", symbol="ETHUSDT", interval=HOUR)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("nowhere/bars.csv", "no such file"),
        (".", "not a regular file"),
        ("https://example.org/bars.csv", "is an address"),
        ("/dev/zero", "not a regular file"),
    ],
)
def test_only_regular_files_are_opened(path, complaint):
    """Addresses, folders and devices are refused before anything is read."""
    with pytest.raises(DataError, match=complaint):
        read_bars(path, symbol="ETHUSDT", interval=HOUR)


def test_what_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    """The bound counts unpacked bytes, not declared ones."""
    monkeypatch.setattr(files, "MAX_BYTES", 10_000)
    (tmp_path / "bomb.csv.gz").write_bytes(gzip.compress(b"0" * 20_000))

    with pytest.raises(DataError, match="unpacks to more than 10,000 bytes"):
        read_bars(tmp_path / "bomb.csv.gz", symbol="ETHUSDT", interval=HOUR)


def test_bars_of_another_interval_are_refused_with_the_one_found(tmp_path):
    """Hourly bars are not 15-minute bars."""
    (tmp_path / "bars.csv").write_text(HEADER + "".join(lines()))

    with pytest.raises(DataError, match=r"bars are 0 days 01:00:00 apart.*0 days 00:15:00"):
        read_bars(tmp_path / "bars.csv", symbol="ETHUSDT", interval=pd.Timedelta("15min"))


def test_close_stamps_under_an_open_name_are_noticed(tmp_path):
    """Bars stamped a millisecond before the hour are named by their close."""
    rows = [f"2024-01-01T{i:02d}:59:59.999Z,100,102,99,101,5\n" for i in range(8)]

    with pytest.raises(DataError, match="these are close times"):
        read(tmp_path, rows)


# ── gaps ─────────────────────────────────────────────────────────────────────────────────────────


def gappy() -> list[str]:
    rows = lines(12)
    return [*rows[:3], *rows[4:6], *rows[9:]]  # 03:00 missing, and 06:00 to 08:00


def test_gaps_are_refused_by_default_with_their_lengths(tmp_path):
    """The first gap, their number, the longest and the total are named."""
    with pytest.raises(
        DataError, match=r"row 5: 4 bars are missing in 2 gaps: the first, 1 bars, after "
        r"2024-01-01 02:00 UTC; the longest 3 bars"
    ):  # fmt: skip
        read(tmp_path, gappy())


def test_filled_gaps_are_flat_without_volume_and_marked(tmp_path):
    """Made-up bars stand at the last close, and a finding lists each gap."""
    bars, findings, _ = read(tmp_path, gappy(), gaps="fill")

    assert [3, 6, 7, 8] == np.flatnonzero(bars.filled).tolist()
    assert 12 == len(bars)
    made_up = bars.filled
    for name in ("open", "high", "low", "close"):
        assert {101.0} == set(getattr(bars, name)[made_up])
    assert {0.0} == set(bars.volume[made_up])
    assert [5, 6, 7, 9, 10, 14, 15, 16] == bars.volume[~made_up].tolist()
    [gap] = [f for f in findings if f.code == "D006"]
    assert "1 after 2024-01-01 02:00 UTC; 3 after 2024-01-01 05:00 UTC" == gap.observed
    assert "warn" == gap.level


def test_dropped_gaps_stay_open(tmp_path):
    """Bars are those of the file, irregular in time, with a finding."""
    bars, findings, _ = read(tmp_path, gappy(), gaps="drop")

    assert 8 == len(bars)
    assert not bars.filled.any()
    assert ["D006"] == [f.code for f in findings]


def test_a_fill_that_would_invent_more_than_there_is_is_refused(tmp_path):
    """One stray bar years later does not make millions of flat ones."""
    rows = [*lines(), "2034-01-01T00:00:00Z,100,102,99,101,5\n"]

    with pytest.raises(DataError, match="filling would make up"):
        read(tmp_path, rows, gaps="fill")


def test_since_and_until_cut_before_anything_is_judged(tmp_path):
    """A gap, a duplicate and a bad price outside the period asked for do not matter."""
    rows = lines(12)
    rows[0] = rows[1] = "2024-01-01T00:00:00Z,100,90,99,101,5\n"
    del rows[9]

    bars, findings, source = read(
        tmp_path, rows, since="2024-01-01T02:00:00Z", until="2024-01-01T08:00:00Z"
    )

    assert 6 == len(bars)
    assert pd.Timestamp("2024-01-01T02:00:00Z") == bars.open_time[0]
    assert pd.Timestamp("2024-01-01T07:00:00Z") == bars.open_time[-1]
    assert () == findings
    assert 11 == source.rows


def test_a_file_short_of_the_period_asked_for_is_reported(tmp_path):
    """Both ends are compared with what was asked."""
    _, findings, _ = read(tmp_path, lines(), since="2023-12-31", until="2024-01-02")

    assert ["bars lacking: 24", "bars lacking: 16"] == [f.message[-16:] for f in findings]


def test_a_period_without_bars_is_refused(tmp_path):
    """The file's own range is named."""
    with pytest.raises(DataError, match=r"no bar between .* from 2024-01-01 00:00 UTC"):
        read(tmp_path, lines(), since="2025-01-01")


# ── oddities that are no errors ──────────────────────────────────────────────────────────────────


def market(n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(5)
    close = 100 * np.exp(np.cumsum(0.005 * rng.standard_normal(n)))
    first = np.concatenate(([100.0], close[:-1]))
    return pd.DataFrame(
        {
            "timestamp": pd.date_range("2024-01-01", periods=n, freq="h", tz="UTC"),
            "open": first,
            "high": np.maximum(first, close) * 1.001,
            "low": np.minimum(first, close) * 0.999,
            "close": close,
            "volume": 100 * np.exp(0.1 * rng.standard_normal(n)),
        }
    )


def findings_of(tmp_path: Path, frame: pd.DataFrame) -> dict[str, str | None]:
    frame.to_parquet(tmp_path / "bars.parquet")
    _, findings, _ = read_bars(tmp_path / "bars.parquet", symbol="ETHUSDT", interval=HOUR)
    return {finding.code: finding.observed for finding in findings}


def test_an_ordinary_market_has_no_findings(tmp_path):
    """Nothing is said where there is nothing to say."""
    assert {} == findings_of(tmp_path, market(210))


def test_a_jump_is_reported_with_its_bar(tmp_path):
    """A 40 % move among half-percent ones is listed, not refused."""
    frame = market()
    frame.loc[120:, ["open", "high", "low", "close"]] *= 1.4
    frame.loc[120, "open"] /= 1.4
    frame.loc[120, "low"] /= 1.4

    assert "2024-01-06 00:00 UTC; the largest" in str(findings_of(tmp_path, frame)["D010"])


def test_frozen_and_idle_bars_are_reported(tmp_path):
    """Four equal bars, two of them without volume, give two D009 findings."""
    frame = market()
    frame.loc[50:53, ["open", "high", "low", "close"]] = frame.loc[49, "close"]
    frame.loc[52:53, "volume"] = 0.0
    frame.to_parquet(tmp_path / "bars.parquet")

    _, findings, _ = read_bars(tmp_path / "bars.parquet", symbol="ETHUSDT", interval=HOUR)

    messages = [f.message for f in findings if f.code == "D009"]
    assert [
        "bars in stretches that repeat one bar: 4 in 1",
        "bars without volume, in which no market order fills: 2",
    ] == messages


def test_a_thin_bar_before_a_gap_is_not_taken_for_a_forming_one(tmp_path):
    """Where bars are missing the next open has no reason to meet its close."""
    frame = market()
    frame.loc[70, "volume"] *= 0.05
    frame = frame.drop(index=range(71, 76))
    frame.to_parquet(tmp_path / "bars.parquet")

    _, findings, _ = read_bars(
        tmp_path / "bars.parquet", symbol="ETHUSDT", interval=HOUR, gaps="drop"
    )

    assert "D011" not in {finding.code for finding in findings}


def test_bars_saved_while_forming_are_suspected(tmp_path):
    """A bar of little volume whose close the next open does not meet, and a thin last bar."""
    frame = market()
    frame.loc[70, "volume"] *= 0.05
    frame.loc[71, "open"] = frame.loc[70, "close"] * 1.01
    frame.loc[71, "high"] = 1.01 * frame.loc[71, ["open", "high"]].max()
    frame.loc[199, "volume"] *= 0.1

    observed = findings_of(tmp_path, frame)["D011"]

    assert "2024-01-03 22:00 UTC, 2024-01-09 07:00 UTC" == observed
