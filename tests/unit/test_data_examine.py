"""Examining data finds everything at once, and agrees with what a run would refuse."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from rich.console import Console

from perpwalk.config import Config, Simulate, resolve
from perpwalk.data import faults
from perpwalk.data.examine import Examination, examine_config, examine_files, facts
from perpwalk.data.simulated import Order, write_market
from perpwalk.data.validate import utc
from perpwalk.domain import Level
from perpwalk.errors import ConfigError, UsageError
from perpwalk.reports import data_page, data_table

HOUR = pd.Timedelta("1h")


def market(folder: Path, bars: int = 1500, **order: object) -> Path:
    section = Simulate(bars=bars, start="2024-01-01T00:00:00Z")
    write_market(
        folder, Order(symbols=("ETHUSDT",), interval=HOUR, section=section, seed=5, **order)
    )
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return market(tmp_path_factory.mktemp("data") / "good")


def ohlcv(folder: Path) -> Path:
    return folder / "ETHUSDT-1h-ohlcv.csv"


def told(found: Examination, level: Level | None = None) -> set[str]:
    return {f.code for f in found.findings if level is None or f.level is level}


def changed(good: Path, path: Path, change) -> Path:
    """Write a changed copy of the good bars."""
    frame = change(pd.read_csv(ohlcv(good)))
    frame.to_csv(path, index=False)
    return path


def test_good_files_have_no_errors_and_are_taken(good):
    """Bars, mark and funding of one market, each whole."""
    found = examine_files(sorted(good.glob("*.csv")))

    assert 0 == found.exit_code
    assert set() == told(found, Level.ERROR)
    assert {1.0} == {one.facts.coverage for one in found.files}


@pytest.mark.parametrize(
    ("fault", "code", "refused"),
    [
        ("gap", "D006", True), ("duplicate", "D003", False), ("conflict", "D003", True),
        ("shuffle", "D004", True), ("frozen", "D009", False), ("zero-volume", "D009", False),
        ("outlier", "D010", False), ("wick", "D010", False), ("wrong-open", "D010", False),
        ("wild-volume", "D010", False), ("high-below-low", "D007", True), ("nan", "D008", True),
        ("negative", "D008", True), ("forming", "D011", False), ("forming-last", "D011", False),
        ("coarse", "D018", False), ("swapped", "D007", True), ("local-time", "D001", False),
        ("mixed-units", "D002", False),
    ],
)  # fmt: skip
def test_each_fault_of_bars_is_found(tmp_path, fault, code, refused):
    """What `data simulate --fault` makes, `data check` finds; a run refuses it where it must."""
    made = market(tmp_path / "m", faults=((fault, None),))

    found = examine_files([ohlcv(made)])

    assert code in told(found)
    assert (1 if refused else 0) == found.exit_code
    assert refused == (found.files[0].refusal is not None)


@pytest.mark.parametrize(
    ("fault", "code", "refused"),
    [("percent", "D012", True), ("page", "D024", True), ("missing-settlements", "D013", True),
     ("funding-local-time", "D012", False), ("jitter", "D012", False)],
)  # fmt: skip
def test_each_fault_of_funding_is_found_beside_its_bars(tmp_path, fault, code, refused):
    """Bars and funding together are judged as a run would judge them."""
    made = market(tmp_path / "m", bars=3000, faults=((fault, 60 if "missing" in fault else None),))

    found = examine_files([ohlcv(made), made / "ETHUSDT-funding.csv"])

    assert code in told(found)
    assert (1 if refused else 0) == found.exit_code


def test_all_faults_are_reported_not_the_first(good, tmp_path):
    """One file with nine things wrong: each stands in the report, with its count."""

    def spoil(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype({"open": object, "timestamp": object})
        frame.loc[100, "open"] = "n.a."
        frame.loc[200, "close"] = np.nan
        frame.loc[300, "low"] = -5.0
        frame.loc[400, "high"] = 1.0
        frame.loc[500, "timestamp"] = "yesterday"
        frame.loc[600, "timestamp"] = frame.loc[599, "timestamp"]
        frame.loc[700, "volume"] = -1.0
        order = np.arange(len(frame))
        order[[800, 801]] = [801, 800]
        return frame.iloc[order].drop(index=range(900, 950))

    found = examine_files([changed(good, tmp_path / "x.csv", spoil)])

    assert {"D002", "D003", "D004", "D006", "D007", "D008"} <= told(found)
    said = " ".join(finding.message for finding in found.findings)
    for part in ("'open' is empty or no finite number: 1", "'close' is empty", "'low' is not above",
                 "'volume' is below 0: 1", "time stamps that cannot be read: 1",
                 "with different values: 1", "not sorted by time"):  # fmt: skip
        assert part in said
    assert 1 == found.exit_code
    assert 50 <= found.files[0].facts.missing


def test_lines_of_another_width_are_counted_and_the_rest_examined(good, tmp_path):
    """A cut line and an unsorted row are both in the report."""
    lines = ohlcv(good).read_text().splitlines()
    lines[50] = lines[50][:12]
    lines[80], lines[81] = lines[81], lines[80]
    path = tmp_path / "x.csv"
    path.write_text("\n".join(lines) + "\n")

    found = examine_files([path])

    assert {"D021", "D004"} <= told(found, Level.ERROR)
    [ragged] = [f for f in found.findings if f.code == "D021"]
    assert "rows 51" == ragged.observed


def test_what_is_no_data_is_unreadable(tmp_path):
    """A text, a missing file and a good one: exit code 2, and the good one is still examined."""
    (tmp_path / "note.txt").write_text("to do, today\nbuy milk\n")

    found = examine_files([tmp_path / "note.txt", tmp_path / "gone.csv"])

    assert 2 == found.exit_code
    assert 2 == len(found.unreadable)


def test_gaps_are_measured(good, tmp_path):
    """Thirty bars in one gap and five in another."""
    path = changed(good, tmp_path / "x.csv",
                   lambda f: f.drop(index=[*range(100, 130), *range(700, 705)]))  # fmt: skip

    facts = examine_files([path]).files[0].facts

    assert 35 == facts.missing
    assert [30, 5] == [count for _, count in facts.gaps]
    assert pytest.approx(1465 / 1500) == facts.coverage
    assert 0 < facts.day_share.min() < 1


def test_every_gap_is_counted_and_listed(good, tmp_path):
    """Twenty gaps: --json and the page hold each, the terminal the longest and how many more."""
    gone = [row for k in range(20) for row in range(50 * (k + 1), 50 * (k + 1) + k + 1)]
    path = changed(good, tmp_path / "x.csv", lambda f: f.drop(index=gone))

    found = examine_files([path])
    page = data_page.render(found)
    screen = io.StringIO()
    data_table.show(found, Console(file=screen, width=200))

    gaps = found.as_dict()["files"][0]["gaps"]
    assert (20, 20, 210, 20) == tuple(
        gaps[key] for key in ("count", "listed", "missing_rows", "longest_rows")
    )
    assert list(range(20, 0, -1)) == [one["rows"] for one in gaps["list"]]
    assert "20, of 210 rows in all, the longest of 20" in page
    assert all(f"<td>{utc(start)}</td>" in page for start, _ in found.files[0].facts.gaps)
    assert "and 17 more in x.csv, none longer: --json or --html list them" in screen.getvalue()
    assert [["20", "210"]] == [
        line.split()[-3:-1] for line in screen.getvalue().splitlines() if "1,290" in line
    ]


def test_more_gaps_than_are_listed_are_counted(good, tmp_path, monkeypatch):
    """Where a file has thousands of gaps the longest stand in the list, and this is said."""
    monkeypatch.setattr(facts, "GAPS_LISTED", 5)
    path = changed(good, tmp_path / "x.csv", lambda f: f.drop(index=range(100, 200, 3)))

    found = examine_files([path])

    gaps = found.as_dict()["files"][0]["gaps"]
    assert (34, 5, 5) == (gaps["count"], gaps["listed"], len(gaps["list"]))
    assert "34, of 34 rows in all, the longest of 1; the longest 5 are listed" in data_page.render(
        found
    )


def test_a_series_that_reaches_back_further_than_asked_is_no_measure(good, tmp_path):
    """Bars of a late month beside years of funding are short only where years were asked for."""
    bars = changed(good, tmp_path / "bars.csv", lambda f: f.iloc[-400:])
    funding = good / "ETHUSDT-funding.csv"
    since = str(pd.read_csv(bars)["timestamp"][0])
    files = {"ohlcv": str(bars), "funding": str(funding), "mark": None}

    whole = [examine_files([bars, funding]), examine_config(configured(good, **files))]
    asked = [examine_files([bars, funding], since=since),
             examine_config(configured(good, since=since, **files))]  # fmt: skip

    assert ["D024", "D024"] == [code for one in whole for code in told(one) if code == "D024"]
    assert all("D024" not in told(one) for one in asked)


def test_the_period_asked_for_counts(good):
    """A month before the first bar is not covered."""
    found = examine_files([ohlcv(good)], since="2023-12-02T00:00:00Z")

    assert 30 * 24 == found.files[0].facts.missing
    assert "D006" in told(found)


def test_two_sources_of_one_symbol_are_compared(good, tmp_path):
    """One bar in a hundred differs by a percent."""

    def other(frame: pd.DataFrame) -> pd.DataFrame:
        frame.loc[::100, ["open", "high", "low", "close"]] *= 1.01
        return frame.iloc[10:]

    found = examine_files([ohlcv(good), changed(good, tmp_path / "other.csv", other)])

    [pair] = found.comparisons
    assert (1490, 10, 0) == (pair.common, pair.only_one, pair.only_two)
    assert pytest.approx(1 - 14 / 1490, abs=1e-6) == pair.equal_share
    assert pytest.approx(0.0099, abs=1e-3) == pair.largest_difference


def test_a_source_in_local_time_is_found_by_its_neighbour(good, tmp_path):
    """Three hours east: the returns fit when it is moved back."""

    def east(frame: pd.DataFrame) -> pd.DataFrame:
        later = pd.to_datetime(frame["timestamp"]) + 3 * HOUR
        return frame.assign(timestamp=later.dt.strftime("%Y-%m-%d %H:%M:%S"))

    found = examine_files([ohlcv(good), changed(good, tmp_path / "east.csv", east)])

    [finding] = [f for f in found.findings if f.code == "D022"]
    assert "-3 h" in finding.message
    assert Level.ERROR is finding.level


def test_another_venues_funding_is_doubted(good, tmp_path):
    """Folders say binance and bybit."""
    for venue in ("binance", "bybit"):
        (tmp_path / venue).mkdir()
    bars = changed(good, tmp_path / "binance" / "bars.csv", lambda f: f)
    funding = tmp_path / "bybit" / "funding.csv"
    funding.write_bytes((good / "ETHUSDT-funding.csv").read_bytes())

    found = examine_files([bars, funding])

    assert any("names say bybit and binance" in f.message for f in found.findings)


@pytest.mark.parametrize("marks", ["candles", "own"])
def test_funding_of_the_wrong_sign_goes_against_the_premium(tmp_path, marks):
    """The right rates follow the premium over a mark file, or over their own marks."""
    made = market(tmp_path / "m", bars=4000)
    files = [ohlcv(made), made / "ETHUSDT-funding.csv"]
    files += [made / "ETHUSDT-1h-mark.csv"] if marks == "candles" else []
    related = examine_files(files)
    frame = pd.read_csv(files[1])
    frame["funding_rate"] *= -1
    frame.to_csv(files[1], index=False)

    turned = examine_files(files)

    def levels(found: Examination) -> set[Level]:
        return {f.level for f in found.findings if "premium" in f.message}

    assert {Level.INFO} == levels(related)
    assert {Level.WARN} == levels(turned)


def test_made_up_bars_are_doubted(tmp_path):
    """Normal returns, prices on no tick, volumes from a hat."""
    rng = np.random.default_rng(3)
    close = 100 * np.exp(np.cumsum(0.005 * rng.standard_normal(2001)))
    frame = pd.DataFrame({"timestamp": pd.date_range("2024-01-01", periods=2000, freq="h"),
                          "open": close[:-1], "high": np.maximum(close[:-1], close[1:]) * 1.002,
                          "low": np.minimum(close[:-1], close[1:]) * 0.998, "close": close[1:],
                          "volume": rng.integers(1, 1000, 2000)})  # fmt: skip
    frame.to_csv(tmp_path / "x.csv", index=False)

    assert "D017" in told(examine_files([tmp_path / "x.csv"]))


# ── a configuration ──────────────────────────────────────────────────────────────────────────────


def configured(folder: Path, **market_settings: object) -> Config:
    raw = yaml.safe_load((folder / "config.yaml").read_text())["market"]
    files = {kind: str(folder / raw[kind]) for kind in ("ohlcv", "mark", "funding")}
    return Config.model_validate({"market": {**raw, **files, **market_settings}})


def test_a_configuration_is_judged_by_its_own_policies(tmp_path):
    """Gaps are refused, until the configuration says what to do about them."""
    made = market(tmp_path / "m", faults=(("gap", 2),))

    refused = examine_config(configured(made))
    taken = examine_config(configured(made, gaps="drop"))

    assert (1, 0) == (refused.exit_code, taken.exit_code)
    assert "bars are missing" in refused.refusals[0]
    assert {"ohlcv", "mark", "funding"} == {one.series.kind for one in taken.files}


def test_what_is_asked_for_stands_in_for_what_a_configuration_says(tmp_path):
    """Period, length, rule and format of every contract; each is checked as in a file."""
    made = market(tmp_path / "m", faults=(("conflict", 2),))
    config = configured(made, gaps="drop")
    first = pd.Timestamp("2024-01-01T00:00Z").value

    refused = examine_config(config)
    taken = examine_config(config, {"duplicates": "last"})
    cut = examine_config(config, {"duplicates": "last", "since": "2024-02-01"})
    early = examine_config(config, {"duplicates": "last", "since": "2023-12-01"})
    finer = examine_config(config, {"duplicates": "last", "interval": "15m"})

    assert (1, 0, 0) == (refused.exit_code, taken.exit_code, cut.exit_code)
    assert [first, first + 31 * 24 * HOUR.value] == [
        one.files[0].facts.begin for one in (taken, cut)
    ]
    assert 31 * 24 == early.files[0].facts.missing
    assert "market.interval says 0 days 00:15:00" in finer.refusals[0]
    with pytest.raises(ConfigError, match="since"):
        examine_config(config, {"since": "yesterday"})
    with pytest.raises(ConfigError, match="nobody"):
        examine_config(config, {"format": "nobody"})


def test_every_contract_of_a_configuration_is_asked_the_same(good):
    """Also where an entry of `markets` has a period of its own."""
    raw = configured(good).market.model_dump()
    entries = [{"symbol": "AAA", "since": "2024-01-05"}, {"symbol": "BBB"}]
    several = resolve({"market": raw, "markets": entries})

    found = examine_config(several, {"since": "2024-02-01"})

    bars = [one for one in found.files if one.series.kind == "ohlcv"]
    assert [pd.Timestamp("2024-02-01").value] * 2 == [one.facts.begin for one in bars]


def test_a_simulated_market_has_no_files():
    """There is nothing to examine."""
    with pytest.raises(UsageError, match="simulates its market"):
        examine_config(Config())


# ── what is shown ────────────────────────────────────────────────────────────────────────────────


def test_the_document_is_plain_json(good):
    """No NaN, no objects; figures by name."""
    found = examine_files(sorted(good.glob("*.csv")))

    document = json.loads(json.dumps(found.as_dict(), allow_nan=False))

    assert document["usable"]
    assert {"ohlcv", "mark", "funding"} == {file["kind"] for file in document["files"]}
    assert 0 == document["files"][0]["gaps"]["missing_rows"]


def test_the_page_is_one_offline_file_that_says_it_all(tmp_path):
    """The answer, a square per day, every finding escaped; nothing is fetched."""
    made = market(tmp_path / "<m>", faults=(("gap", 2),))
    found = examine_files([ohlcv(made)])

    page = data_page.write(found, tmp_path / "page.html").read_text()

    assert "A run would refuse this data" in page
    assert len(found.files[0].facts.days) == page.count("<rect ")
    assert "<m>" not in page
    assert "http" not in page.replace("http-equiv", "")
    for finding in found.findings:
        assert finding.code in page


def test_every_fault_says_what_it_is():
    """`--fault list` has a line for each, and a wrong name lists them."""
    assert all(fault.says for fault in faults.FAULTS.values())
    with pytest.raises(UsageError, match="choose among gap"):
        faults.named("fire")
