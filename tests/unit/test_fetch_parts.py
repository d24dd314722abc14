"""The parts of a fetch by themselves: covering a stretch, unzipping, the archive's files."""

from __future__ import annotations

import hashlib
import io
import stat
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpwalk.data.store import Rows, SeriesKey
from perpwalk.data.store.series import DAY, HOUR, from_iso
from perpwalk.errors import EnvironmentFailedError, UsageError
from perpwalk.fetch import Endpoints, net, unzip
from perpwalk.fetch.archive import Archive, ArchiveFile
from perpwalk.fetch.cover import cover
from perpwalk.fetch.net import AbsentError, BadFileError, Clock

BARS = SeriesKey.of("binance", "ETHUSDT", "ohlcv", "1h")
FUNDING = SeriesKey.of("binance", "ETHUSDT", "funding", "1h")
START = from_iso("2024-02-01T00:00:00Z")


def bars(stamps: list[int]) -> Rows:
    """Return flat bars at these stamps."""
    return Rows(np.array(stamps, dtype=np.int64), np.full((5, len(stamps)), 100.0))


# ── covering ─────────────────────────────────────────────────────────────────────────────────────


@given(
    there=st.sets(st.integers(0, 60)),
    cap=st.integers(1, 30),
    backwards=st.booleans(),
    spill=st.integers(0, 3),
    lies=st.lists(st.booleans(), max_size=12),
)
def test_all_there_is_arrives_whatever_the_habits_of_paging(there, cap, backwards, spill, lies):
    """Any cap, either direction, overlaps, and an empty answer now and then: all bars arrive."""
    stamps = np.array(sorted(START + hour * HOUR for hour in there), dtype=np.int64)
    asked: list[tuple[int, int]] = []
    lied = iter(lies)
    last_lie: list[tuple[int, int]] = []

    def ask(start: int, end: int) -> Rows:
        asked.append((start, end))
        # A service may say nothing once; of one stretch not twice in a row.
        if (start, end) not in last_lie and next(lied, False):
            last_lie[:] = [(start, end)]
            return Rows.empty(BARS)
        inside = stamps[(stamps >= start) & (stamps < end)]
        page = inside[-cap:] if backwards else inside[:cap]
        around = stamps[(stamps >= start - spill * HOUR) & (stamps < start)]
        return bars([*around.tolist(), *page.tolist()])

    found = cover(BARS, (START, START + 61 * HOUR), ask)
    assert stamps.tolist() == found.rows.time.tolist()
    assert len(asked) < 400


def test_a_page_that_ends_on_the_last_record_asks_for_nothing_more():
    """A page filled to the record by the end of the stretch is one request."""
    asked = []

    def ask(start: int, end: int) -> Rows:
        asked.append((start, end))
        return bars(list(range(start, end, HOUR)))

    cover(BARS, (START, START + 100 * HOUR), ask)
    assert [(START, START + 100 * HOUR)] == asked


def test_an_empty_answer_is_asked_for_twice_and_then_believed():
    """One silence may be a fault, two are the truth."""
    asked = []

    def ask(start: int, end: int) -> Rows:
        asked.append((start, end))
        return Rows.empty(BARS)

    assert 0 == len(cover(BARS, (START, START + 9 * HOUR), ask).rows)
    assert 2 == len(asked)


def test_settlements_every_hour_are_paged_through():
    """Where funding settles hourly a page ends early; the rest is asked for."""
    stamps = np.arange(START, START + 20 * DAY, HOUR) + 5

    def ask(start: int, end: int) -> Rows:
        page = stamps[(stamps >= start) & (stamps < end)][:100]
        return Rows(page, np.full((2, len(page)), 1e-4))

    found = cover(FUNDING, (START, START + 20 * DAY), ask)
    assert stamps.tolist() == found.rows.time.tolist()


def test_rows_that_contradict_themselves_are_counted_and_left_out():
    """A bar whose high is below its low is asked for again, then left out and counted."""

    def ask(start: int, end: int) -> Rows:
        rows = bars(list(range(start, end, HOUR)))
        rows.values[1, rows.time == START + 3 * HOUR] = 1.0
        return rows

    found = cover(BARS, (START, START + 9 * HOUR), ask)
    assert 1 == found.refused
    assert START + 3 * HOUR not in found.rows.time


# ── unzipping ────────────────────────────────────────────────────────────────────────────────────


def zipped(name: str = "a.csv", content: bytes = b"1,2\n", **attributes: int) -> bytes:
    """Return a zip file of one member."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        member = zipfile.ZipInfo(name)
        member.compress_type = zipfile.ZIP_DEFLATED
        for key, value in attributes.items():
            setattr(member, key, value)
        archive.writestr(member, content)
    return stream.getvalue()


def _two() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.csv", "1")
        archive.writestr("b.csv", "2")
    return stream.getvalue()


def _lying_bomb() -> bytes:
    """Return a zip whose directory declares a small size for what unpacks to much more."""
    packed = bytearray(zipped(content=b"0" * (64 << 20)))
    at = packed.rindex(b"PK\x01\x02")
    packed[at + 24 : at + 28] = struct.pack("<I", 100)
    return bytes(packed)


@pytest.mark.parametrize(
    ("packed", "says"),
    [
        (_two(), "2 members"),
        (zipped("/etc/passwd"), "out of its folder"),
        (zipped("../../x.csv"), "out of its folder"),
        (zipped("a\\..\\..\\x.csv"), "out of its folder"),
        (zipped("C:\\x.csv"), "out of its folder"),
        (zipped("a.csv", b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16), "no plain"),
        (zipped("folder/", b""), "no plain"),
        (zipped(content=zipped()), "inside an archive"),
        (zipped(content=b"0" * (64 << 20)), "unpacks to"),
        (_lying_bomb(), "damaged|unpacks to"),
        (zipped()[:-10], "damaged"),
        (b"PK\x03\x04 not really", "damaged"),
        (b"", "damaged"),
    ],
    ids=lambda one: one if isinstance(one, str) else "archive",  # its bytes hold the time of day
)  # fmt: skip
def test_hostile_archives_are_refused(packed, says):
    """Bombs, links, names that lead elsewhere, nested and damaged archives are no data."""
    with pytest.raises(BadFileError, match=says):
        unzip.only_member("x.zip", packed)


def test_an_honest_archive_is_opened():
    """One plain file comes out as it went in."""
    assert b"1,2\n" == unzip.only_member("x.zip", zipped())


# ── the archive's files ──────────────────────────────────────────────────────────────────────────


class _Canned:
    """Hands out files by the end of their address, without a network."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def get(self, url, *, limit, params=None, accept):
        def call():
            return accept(self.files[url.rsplit("/", 1)[-1]])

        return net.persist(call, _Hurried(), lambda _: None)


class _Hurried(Clock):
    def sleep(self, seconds: float) -> None:
        """Do not wait."""


def archived(text: bytes, monkeypatch, key: SeriesKey = BARS) -> Rows:
    """Return what the archive makes of a month's file."""
    packed = zipped(content=text)
    line = f"{hashlib.sha256(packed).hexdigest()}  x.zip".encode()
    archive = Archive(key, Endpoints(), _Hurried(), lambda _: None)
    monkeypatch.setattr(archive, "_web", _Canned({"x.zip": packed, "x.zip.CHECKSUM": line}))
    return archive.read(ArchiveFile("data/x.zip", START, START + 29 * DAY))[0]


def _line(stamp: int, close: str = "100.5") -> str:
    return f"{stamp},100,101,99,{close},5,{stamp + HOUR - 1},0,0,0,0,0"


def test_rows_of_an_archive_are_sorted_and_equal_repeats_kept_once(monkeypatch):
    """Real files have rows out of order and twice; equal ones are one row."""
    stamps = [START + HOUR, START, START + HOUR, START + 2 * HOUR]
    text = "\n".join(map(_line, stamps)).encode()
    rows = archived(text, monkeypatch)
    assert [START, START + HOUR, START + 2 * HOUR] == rows.time.tolist()
    assert 100.5 == rows.values[3, 0]


def test_an_archive_that_contradicts_itself_is_not_used(monkeypatch):
    """Two rows of one stamp that disagree leave the month to the API."""
    text = "\n".join([_line(START), _line(START, "99.5")]).encode()
    with pytest.raises(AbsentError, match="disagree"):
        archived(text, monkeypatch)


def test_rows_outside_a_files_month_are_left_out(monkeypatch):
    """A stray row of another month is not taken for one of this."""
    rows = archived("\n".join([_line(START - HOUR), _line(START)]).encode(), monkeypatch)
    assert [START] == rows.time.tolist()


@pytest.mark.parametrize(
    "text", [b"open_time,open\n", b"open_time,open,high,low,close,volume", b""]
)
def test_a_month_without_rows_is_empty(monkeypatch, text):
    """A file of names alone is an outage, not an error."""
    assert 0 == len(archived(text, monkeypatch))


@pytest.mark.parametrize("text", [b"open_time,open\n1,2\n", b"nonsense", b"1;2;3;4;5;6\n"])
def test_a_file_of_another_shape_is_not_used(monkeypatch, text):
    """A file that is no table of bars is left, and the API asked."""
    if text == b"nonsense":
        assert 0 == len(archived(text, monkeypatch))
        return
    with pytest.raises(AbsentError, match="cannot be read as CSV"):
        archived(text, monkeypatch)


def test_a_checksum_of_another_file_is_no_proof(monkeypatch):
    """A file that does not fit its checksum however often it is had is not used."""
    archive = Archive(BARS, Endpoints(), _Hurried(), lambda _: None)
    files = {"x.zip": zipped(), "x.zip.CHECKSUM": b"0" * 64 + b"  x.zip"}
    monkeypatch.setattr(archive, "_web", _Canned(files))
    with pytest.raises(AbsentError, match="checksum does not hold"):
        archive.read(ArchiveFile("data/x.zip", START, START + DAY))
    files["x.zip.CHECKSUM"] = b"<html>"
    with pytest.raises(EnvironmentFailedError, match="checksum file is damaged"):
        archive.read(ArchiveFile("data/x.zip", START, START + DAY))


# ── settings ─────────────────────────────────────────────────────────────────────────────────────


def test_mirrors_are_named_by_the_environment(monkeypatch):
    """A mirror of the archive and settings of ccxt come from the environment."""
    monkeypatch.setenv("PERPWALK_ARCHIVE", "http://mirror")
    monkeypatch.setenv("PERPWALK_CCXT", '{"httpsProxy": "http://proxy"}')
    found = Endpoints.from_environment()
    assert ("http://mirror", {"httpsProxy": "http://proxy"}) == (found.archive, found.ccxt)
    for wrong in ("{", "[]"):
        monkeypatch.setenv("PERPWALK_CCXT", wrong)
        with pytest.raises(UsageError.__mro__[1], match="PERPWALK_CCXT"):
            Endpoints.from_environment()
