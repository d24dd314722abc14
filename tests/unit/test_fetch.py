"""Fetching over real HTTP on the loopback interface: three exchanges, an archive, every fault."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from exchange_server import DAY, FAULTS, HOUR, Market, ms
from fetching import NOW, SINCE, Notes, StillClock, fetched, handed_out_twice, kept, services

from perpwalk import config
from perpwalk.data.store import SeriesKey, read_catalog
from perpwalk.data.store.columns import read_columns
from perpwalk.data.store.market import stored_bars
from perpwalk.data.store.series import IN_CONTRACTS
from perpwalk.errors import EnvironmentFailedError, UsageError
from perpwalk.fetch import net, rest

EXCHANGES = ("binance", "bybit", "okx")
LAST_BAR = ms("2024-07-04T11:00")


def rows_of(root, key):
    """Return the stored stamps (ms) and values."""
    folder = key.folder(root)
    columns = read_columns(folder, read_catalog(folder, key))
    return columns.time // 10**6, columns.values


def series(exchange, kind):
    return SeriesKey.of(exchange, "ETHUSDT", kind, "1h")


# ── what arrives ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_what_is_stored_is_what_the_exchange_has(tmp_path, exchange):
    """Bars, mark prices and funding are those of the exchange, to the last digit."""
    of = services()
    fetched(of, tmp_path, exchange=exchange)
    market = of.markets["ETHUSDT"]
    for kind in ("ohlcv", "mark"):
        time, values = rows_of(tmp_path, series(exchange, kind))
        expected = market.bars(SINCE // DAY * DAY if exchange != "binance" else ms("2024-03-01"),
                               LAST_BAR + 1, HOUR, kind)  # fmt: skip
        assert [row[0] for row in expected] == time.tolist()
        width = 5 if kind == "ohlcv" else 4
        np.testing.assert_array_equal(
            np.array([[float(v) for v in row[1 : 1 + width]] for row in expected]).T, values
        )
    time, values = rows_of(tmp_path, series(exchange, "funding"))
    start = ms("2024-03-01") if exchange == "binance" else SINCE
    assert market.funding(start, NOW) == [
        (t, f"{rate:.8f}") for t, rate in zip(time.tolist(), values[0], strict=True)
    ]


def test_volumes_that_may_count_contracts_are_doubted_once_and_in_runs(tmp_path, monkeypatch):
    """A contract is 0.1 ETH: of an exchange that is not known to give coins nobody can tell."""
    [known] = fetched(services(), tmp_path / "known", exchange="okx", kinds=("ohlcv",))
    monkeypatch.setattr(rest, "_IN_COINS", frozenset())

    [doubted] = fetched(services(), tmp_path / "store", exchange="okx", kinds=("ohlcv",))

    doubts = [[text for text in one.said if IN_CONTRACTS in text] for one in (known, doubted)]
    assert [0, 1] == [len(said) for said in doubts]
    assert "a contract of ETH/USDT:USDT at okx is 0.1 ETH" in doubts[1][0]
    section = {"exchange": "okx", "symbol": "ETHUSDT", "missing_funding": "drop_features"}
    for root, codes in (("known", []), ("store", ["D019"])):
        asked = config.resolve({"market": {**section, "store": str(tmp_path / root)}})
        bars, findings, _ = stored_bars(
            asked.market, symbol="ETHUSDT", interval=pd.Timedelta("1h"), gaps="error", since=None,
            until=None,
        )  # fmt: skip
        assert codes == [one.code for one in findings if one.code == "D019"]
        assert len(bars)


def test_open_interest_comes_from_daily_files_and_the_newest_from_the_api(tmp_path):
    """The archive's five-minute metrics are taken at the hours; days it lacks come from the API."""
    of = services()
    fetched(of, tmp_path, kinds=("open_interest",), since=ms("2024-06-28"))
    time, values = rows_of(tmp_path, series("binance", "open_interest"))
    expected = of.markets["ETHUSDT"].interest(ms("2024-06-28"), LAST_BAR + 1, HOUR)
    assert [row[0] for row in expected] == time.tolist()
    np.testing.assert_array_equal([float(row[1]) for row in expected], values[0])


@pytest.mark.parametrize("exchange", ["bybit", "okx"])
def test_open_interest_of_other_exchanges(tmp_path, exchange):
    """Bybit and OKX page open interest backwards, and all of it arrives."""
    of = services()
    fetched(of, tmp_path, exchange=exchange, kinds=("open_interest",), since=ms("2024-06-10"))
    time, _ = rows_of(tmp_path, series(exchange, "open_interest"))
    assert list(range(ms("2024-06-10"), LAST_BAR + 1, HOUR)) == time.tolist()


def test_the_forming_bar_is_never_stored(tmp_path):
    """At 11:59:55 the bar of 11:00 is not final, at 12:00:15 it is; each is stored once final."""
    for now, last in (("11:59:55", "10:00"), ("12:00:05", "10:00"), ("12:00:15", "11:00")):
        of = services(now=ms(f"2024-07-04T{now}"))
        fetched(of, tmp_path, kinds=("ohlcv",))
        time, _ = rows_of(tmp_path, series("binance", "ohlcv"))
        assert ms(f"2024-07-04T{last}") == time[-1]


def test_a_clock_that_runs_ahead_stores_no_forming_bar(tmp_path):
    """What is final is judged by the exchange's clock where this machine's is ahead of it."""
    of, notes = services(), Notes()
    ahead = StillClock(NOW + 3 * HOUR)
    fetched(of, tmp_path, kinds=("ohlcv",), clock=ahead, listener=notes)
    time, _ = rows_of(tmp_path, series("binance", "ohlcv"))
    assert LAST_BAR == time[-1]
    assert any("clock is +10800 s off" in text for text in notes.said)


@pytest.mark.parametrize("style", [{"header": False}, {"micros": True}])
def test_archives_of_any_year_are_read(tmp_path, style):
    """Files without column names, and stamps in microseconds, give the same rows."""
    of, plain = services(**style), services()
    fetched(of, tmp_path / "a", kinds=("ohlcv", "mark"), until=ms("2024-05-01"))
    fetched(plain, tmp_path / "b", kinds=("ohlcv", "mark"), until=ms("2024-05-01"))
    for kind in ("ohlcv", "mark"):
        for a, b in zip(
            rows_of(tmp_path / "a", series("binance", kind)),
            rows_of(tmp_path / "b", series("binance", kind)),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)


# ── faults ───────────────────────────────────────────────────────────────────────────────────────


SHORT = {"since": ms("2024-05-20"), "kinds": ("ohlcv", "funding")}


@pytest.fixture(scope="module", params=EXCHANGES)
def undisturbed(request, tmp_path_factory):
    """Return an exchange, and the store that a fetch without faults makes."""
    root = tmp_path_factory.mktemp(request.param)
    fetched(services(), root, exchange=request.param, **SHORT)
    return request.param, kept(root)


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_survived(tmp_path, undisturbed, fault):
    """With a third of the answers wrong in one way, the store is byte for byte the undisturbed."""
    exchange, expected = undisturbed
    of = services(fault_share=0.33, faults=(fault,), seed=FAULTS.index(fault))
    fetched(of, tmp_path, exchange=exchange, **SHORT)
    assert of.faulty[fault] > 0
    assert expected == kept(tmp_path)
    assert 0 == handed_out_twice(of)


def test_a_busy_service_is_left_alone_as_long_as_it_asks(tmp_path):
    """429 with Retry-After waits that long; failures without it wait ever longer."""
    assert net.pause_asked(429, {"Retry-After": "17"}, 0) == 17
    date = "Thu, 04 Jul 2024 12:35:56 GMT"
    assert 60 == net.pause_asked(503, {"Retry-After": date}, NOW)
    assert net.BUSY_WAIT == net.pause_asked(418, {}, NOW)
    clock = StillClock()
    with pytest.raises(EnvironmentFailedError, match=r"given up after 8 tries.*same command"):
        net.persist(_fails(), clock, lambda _: None)
    assert [1, 2, 4, 8, 16, 32, 60] == clock.waits
    with pytest.raises(EnvironmentFailedError, match="pause of 60 minutes"):
        net.persist(_fails(wait=3600.0), clock, lambda _: None)


def _fails(wait=None):
    def call():
        raise net.NoAnswerError("down", wait=wait)

    return call


def test_a_service_that_does_not_answer_is_tried_again(tmp_path, monkeypatch):
    """Silence counts as a failure after the time-out."""
    monkeypatch.setattr(net, "TIMEOUT", (5.0, 0.25))  # a busy machine answers within that
    of = services(fault_share=0.0)
    of.silent_first = 1
    notes = Notes()
    fetched(of, tmp_path, kinds=("ohlcv",), until=ms("2024-04-01"), listener=notes)
    assert any("no answer in time" in text for text in notes.said)


def test_what_arrived_before_the_network_failed_is_kept(tmp_path):
    """A fetch that gives up keeps its pieces; the next one asks only for the rest."""
    broken = services(down=("ETHUSDT-1h-2024-05.zip",))
    with pytest.raises(EnvironmentFailedError, match="ETHUSDT-1h-2024-05.zip"):
        fetched(broken, tmp_path, kinds=("ohlcv",))
    of = services()
    fetched(of, tmp_path, kinds=("ohlcv",))
    names = [answer.file for answer in of.served]
    assert "ETHUSDT-1h-2024-05.zip" in names
    assert "ETHUSDT-1h-2024-04.zip" not in names
    fetched(services(), tmp_path / "whole", kinds=("ohlcv",))
    assert kept(tmp_path / "whole") == kept(tmp_path, but="whole")


def test_a_file_that_never_fits_its_checksum_is_left_to_the_api(tmp_path):
    """A bad file is had anew some times, then its month comes from days and the API."""
    of, notes = services(corrupt_for_good=("ETHUSDT-1h-2024-05.zip",)), Notes()
    asked = {"kinds": ("ohlcv",), "until": ms("2024-06-01")}
    fetched(of, tmp_path / "bad", listener=notes, **asked)
    fetched(services(), tmp_path / "good", **asked)
    assert any("checksum does not hold; the API is asked" in text for text in notes.said)
    for bad, good in zip(
        rows_of(tmp_path / "bad", series("binance", "ohlcv")),
        rows_of(tmp_path / "good", series("binance", "ohlcv")),
        strict=True,
    ):
        np.testing.assert_array_equal(good, bad)


# ── once ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_second_fetch_asks_for_nothing(tmp_path, exchange):
    """What is there is not asked for again, nor changed."""
    fetched(services(), tmp_path, exchange=exchange, kinds=("ohlcv", "mark"))
    before, of = kept(tmp_path), services()
    fetched(of, tmp_path, exchange=exchange, kinds=("ohlcv", "mark"))
    assert [] == of.served
    assert before == kept(tmp_path)


def test_the_tail_alone_is_fetched_later(tmp_path):
    """A week later only the week is asked for, whole days of it from the archive."""
    fetched(services(), tmp_path, kinds=("ohlcv",))
    later = NOW + 7 * DAY
    of = services(now=later, archive_until=ms("2024-07-10"))
    fetched(of, tmp_path, kinds=("ohlcv",))
    time, _ = rows_of(tmp_path, series("binance", "ohlcv"))
    assert list(range(ms("2024-03-01"), LAST_BAR + 7 * DAY + 1, HOUR)) == time.tolist()
    stamps = [stamp for answer in of.served for stamp in answer.stamps]
    assert LAST_BAR < min(stamps)
    assert "ETHUSDT-1h-2024-07-05.zip" in {answer.file for answer in of.served}


def test_an_earlier_start_fetches_the_beginning_alone(tmp_path):
    """Asked for more of the past, only that is fetched."""
    fetched(services(), tmp_path, kinds=("ohlcv",))
    of = services()
    fetched(of, tmp_path, kinds=("ohlcv",), since=ms("2024-01-15"))
    assert {"ETHUSDT-1h-2024-01.zip", "ETHUSDT-1h-2024-02.zip"} == {a.file for a in of.served}


def test_progress_adds_up(tmp_path):
    """What is announced of a series is what is had in the end."""
    notes = Notes()
    fetched(services(), tmp_path, kinds=("ohlcv", "mark"), listener=notes)
    assert sum(total for _, total in notes.begun) == notes.had


# ── contracts that come and go ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_contract_listed_late_is_not_asked_about_before(tmp_path, exchange):
    """The time before the listing costs no requests and is not asked for again."""
    market = Market(listed=ms("2024-05-17T09:00"))
    of = services(markets={"ETHUSDT": market})
    (outcome,) = fetched(of, tmp_path, exchange=exchange, kinds=("ohlcv",), since=ms("2020-01-01"))
    assert ms("2024-05-17T09:00") == outcome.catalog.first
    assert () == outcome.missing
    assert of.requests < 30
    again = services(markets={"ETHUSDT": market})
    fetched(again, tmp_path, exchange=exchange, kinds=("ohlcv",), since=ms("2020-01-01"))
    assert [] == again.served


def test_a_delisted_contract_keeps_what_the_archive_has(tmp_path):
    """A contract the API no longer lists ends with the archive, and the fetch says so."""
    market = Market(delisted=ms("2024-05-17T09:00"))
    of, notes = services(markets={"ETHUSDT": market}), Notes()
    (outcome,) = fetched(of, tmp_path, kinds=("ohlcv",), listener=notes)
    assert ms("2024-05-17T08:00") == outcome.catalog.last
    assert ms("2024-05-17T09:00") == outcome.missing[0][0]
    assert any("delisted or renamed" in text for text in notes.said)


def test_a_renamed_contract_is_hinted_at(tmp_path):
    """A name nobody lists is one message with the nearest names; nothing is stored."""
    of = services(markets={"POLUSDT": Market("POLUSDT"), "ETHUSDT": Market()})
    with pytest.raises(UsageError, match="lists no perpetual POLUSD .*did you mean POLUSDT"):
        fetched(of, tmp_path, symbol="POLUSD", exchange="bybit")
    with pytest.raises(UsageError, match="ccxt knows no exchange 'bibyt'.*bybit"):
        fetched(of, tmp_path, exchange="bibyt")


def test_open_interest_older_than_the_api_keeps_is_said_once(tmp_path):
    """Where the archive lacks days the API no longer has, one line says so."""
    of, notes = services(archive_until=ms("2024-01-01"), monthly_until=None), Notes()
    asked = {"kinds": ("open_interest",), "since": ms("2023-12-25")}
    (outcome,) = fetched(of, tmp_path, listener=notes, **asked)
    assert 1 == sum("keeps nothing as old" in text for text in notes.said)
    assert ms("2024-01-01") == outcome.missing[0][0]
    assert LAST_BAR == outcome.catalog.last


# ── holes ────────────────────────────────────────────────────────────────────────────────────────


def test_holes_of_the_archive_are_filled_by_the_api(tmp_path):
    """Bars that only the archive lacks come from the API, and nothing else is asked there."""
    lost = (ms("2024-04-10T05:00"), ms("2024-04-10T06:00"), ms("2024-05-01T00:00"))
    of = services(markets={"ETHUSDT": Market(archive_lost=lost)})
    (outcome,) = fetched(of, tmp_path, kinds=("ohlcv",), until=ms("2024-06-01"))
    assert () == outcome.catalog.gaps
    asked = [set(a.stamps) for a in of.served if not a.file]
    assert set(lost) == set().union(*asked)


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_holes_nobody_can_fill_are_gaps_and_asked_for_once(tmp_path, exchange):
    """An outage of the exchange stands in the catalog as a gap and is not asked about again."""
    lost = tuple(range(ms("2024-04-10T05:00"), ms("2024-04-10T09:00"), HOUR))
    of = services(markets={"ETHUSDT": Market(lost=lost)})
    (outcome,) = fetched(of, tmp_path, exchange=exchange, kinds=("ohlcv",))
    assert ((lost[0], lost[-1] + HOUR),) == outcome.catalog.gaps
    again = services(markets={"ETHUSDT": Market(lost=lost)})
    fetched(again, tmp_path, exchange=exchange, kinds=("ohlcv",))
    assert [] == again.served


def test_silence_at_the_end_is_not_believed(tmp_path):
    """Bars that the service has not published yet are asked for again the next time."""
    late = tuple(range(ms("2024-07-04T08:00"), ms("2024-07-05"), HOUR))
    of = services(markets={"ETHUSDT": Market(lost=late)})
    (outcome,) = fetched(of, tmp_path, kinds=("ohlcv",))
    assert ((ms("2024-07-04T08:00"), ms("2024-07-04T12:00")),) == outcome.missing
    (outcome,) = fetched(services(), tmp_path, kinds=("ohlcv",))
    assert LAST_BAR == outcome.catalog.last
    assert () == outcome.catalog.gaps
