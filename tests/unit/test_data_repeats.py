"""Rows of one time stamp: equal ones are one row, others are refused or settled by a rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpwalk.config import MarketSection
from perpwalk.data import load_market, read_bars, read_funding, read_mark
from perpwalk.data.examine import examine_files
from perpwalk.data.repeats import find_repeats
from perpwalk.domain import Level
from perpwalk.errors import DataError

HOUR = pd.Timedelta("1h")
START = pd.Timestamp("2024-01-01T00:00:00Z")
HEADER = "timestamp,open,high,low,close,volume\n"


def row(hour: int, close: float = 101.0, volume: float = 9.0) -> str:
    return f"{(START + hour * HOUR).isoformat()},100,102,99,{close},{volume}\n"


def written(folder: Path, rows: list[str]) -> Path:
    path = folder / "bars.csv"
    path.write_text(HEADER + "".join(rows))
    return path


def read(path: Path, **more):
    return read_bars(path, symbol="ETHUSDT", interval=HOUR, **more)


def d003(findings) -> list:
    return [finding for finding in findings if finding.code == "D003"]


def test_equal_rows_are_one_row_and_counted(tmp_path):
    """A page that overlaps the one before repeats rows 1 and 2; nothing is lost or asked."""
    rows = [row(0), row(1, 101.5), row(2), row(1, 101.5), row(2), row(3)]

    bars, findings, source = read(written(tmp_path, rows))

    assert [START + i * HOUR for i in range(4)] == bars.open_time.tolist()
    assert [101, 101.5, 101, 101] == bars.close.tolist()
    assert 6 == source.rows
    [said] = d003(findings)
    assert (Level.WARN, "to the last digit: 2") == (said.level, said.message[-20:])


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("policy", "kept"), [("first", 7.0), ("last", 8.0)])
def test_of_different_rows_the_one_asked_for_stays(tmp_path, policy, kept, backwards):
    """First and last are meant in the order of the file, whichever way its time runs."""
    rows = [row(0), row(1, volume=7.0), row(1, volume=8.0), row(2)]
    if backwards:
        rows = [row(2), row(1, volume=7.0), row(1, volume=8.0), row(0)]

    bars, findings, _ = read(written(tmp_path, rows), duplicates=policy)

    assert [9.0, kept, 9.0] == bars.volume.tolist()
    [said] = d003(findings)
    assert "1; the " + policy in said.message
    assert "in the first row of 0, in the last of 1" in str(said.observed)


def test_different_rows_are_refused_with_the_way_out(tmp_path):
    """Both rows are named, and what can be set."""
    rows = [row(0), row(1, volume=7.0), row(1, volume=8.0), row(2), row(2)]

    with pytest.raises(
        DataError,
        match=r"row 4, column 'timestamp': 2024-01-01 01:00 UTC stands twice with different values "
        r"\(also in row 3; such stamps in all: 1\).*market\.duplicates \(--duplicates\) to first",
    ):
        read(written(tmp_path, rows))


def test_a_repeat_outside_the_period_asked_for_does_not_matter(tmp_path):
    """What is cut away is not judged."""
    rows = [row(0), row(0, volume=1.0), *(row(i) for i in range(1, 5))]

    bars, findings, _ = read(written(tmp_path, rows), since=START + HOUR)

    assert 4 == len(bars)
    assert [] == d003(findings)


def test_mark_funding_and_a_configuration_take_the_rule(tmp_path):
    """One key settles all files of a market, and stands in the question that names a run."""
    bars = written(tmp_path, [*(row(i) for i in range(48)), row(47, volume=8.0)])
    funding = tmp_path / "funding.csv"
    stamps = [START + i * 8 * HOUR for i in range(7)]
    rates = [f"{stamp.isoformat()},0.0001\n" for stamp in stamps]
    rates.append(f"{stamps[-1].isoformat()},0.0002\n")
    funding.write_text("timestamp,funding_rate\n" + "".join(rates))
    section = MarketSection(symbol="ETHUSDT", ohlcv=str(bars), funding=str(funding))

    with pytest.raises(DataError, match="stands twice"):
        load_market(section, seed=0)
    market = load_market(section.model_copy(update={"duplicates": "last"}), seed=0)
    mark, _, _ = read_mark(bars, symbol="ETHUSDT", interval=HOUR, duplicates="last")

    assert 8.0 == market.bars.volume[-1]
    assert 0.0002 == market.funding.rate[-1]
    assert 48 == len(mark)
    with pytest.raises(DataError, match=r"row 9, .*2024-01-03 00:00 UTC stands twice"):
        read_funding(funding, symbol="ETHUSDT")


def test_examining_compares_the_versions_and_takes_the_rule(tmp_path):
    """By default an error that a run would make too; with a rule a warning."""
    path = written(tmp_path, [row(0), row(1), row(1, volume=2.0), *(row(i) for i in range(2, 40))])

    refused, taken = examine_files([path]), examine_files([path], duplicates="first")

    assert (1, 0) == (refused.exit_code, taken.exit_code)
    [said] = d003(refused.findings)
    assert Level.ERROR == said.level
    assert "equal prices in 1; over 1 % more volume in the first row of 1" in str(said.observed)
    assert [Level.WARN] == [finding.level for finding in d003(taken.findings)]
    assert 1 == taken.files[0].series.repeats


@given(
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from([1.0, 2.0, np.nan])), max_size=12),
    st.sampled_from(["error", "first", "last"]),
)
def test_every_stamp_keeps_the_row_that_a_plain_loop_keeps(rows, policy):
    """In any order: equal rows leave their first, others the one asked for, or all of them."""
    ns = np.array([stamp for stamp, _ in rows], dtype=np.int64)
    values = np.array([value for _, value in rows], dtype=np.float64)
    expected = []
    for stamp in dict.fromkeys(ns.tolist()):
        own = np.flatnonzero(ns == stamp).tolist()
        alike = len({str(values[at]) for at in own}) == 1
        expected += {
            "first": own[:1], "last": own[:1] if alike else own[-1:],
            "error": own[:1] if alike else own,
        }[policy]  # fmt: skip

    found = find_repeats(ns, (values,))
    gone = [] if found is None else found.dropped(policy).tolist()

    assert sorted(expected) == sorted(set(range(len(ns))) - set(gone))
