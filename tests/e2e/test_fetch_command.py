"""`perpwalk data fetch` and a run on what it fetched, as a user types them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from exchange_server import HOUR, Services, ms
from fetching import endpoints

from engine import cli
from engine.commands import data_fetch
from perpwalk import fetch as fetching

NOW = ms("2024-07-04T12:34:56")


@pytest.fixture
def loopback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Services]:
    """Point every service at the loopback server, by the environment, at a fixed time."""
    of = Services(now=NOW, archive_until=ms("2024-07-03"), monthly_until=ms("2024-07-01"))
    monkeypatch.setattr(fetching.Clock, "now_ms", lambda _: NOW)
    monkeypatch.setattr(fetching.Clock, "sleep", lambda *_: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PERPWALK_STORE", raising=False)
    with endpoints(of) as places:
        monkeypatch.setenv("PERPWALK_ARCHIVE", places.archive)
        monkeypatch.setenv("PERPWALK_LISTING", places.listing)
        monkeypatch.setenv("PERPWALK_CCXT", json.dumps(dict(places.ccxt)))
        yield of


def perpwalk(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command line in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["perpwalk", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def write_config(folder: Path, **market: object) -> Path:
    """Write a small experiment on the store."""
    raw = {
        "name": "stored",
        "market": {"exchange": "binance", "symbol": "ETHUSDT", "interval": "1h", **market},
        "walk_forward": {
            "train": "500bars", "validation": "100bars", "test": "200bars", "min_train_rows": 100,
        },
        "model": {"kind": "majority"},  # what made-up bars hold could be learned, and alarm
        "report": {"tearsheet": False, "html": False},
    }  # fmt: skip
    path = folder / "stored.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def test_fetch_then_run_then_verify(loopback, monkeypatch, tmp_path, capsys):
    """A run without data says what to type; that typed, it runs, and can be verified."""
    config = write_config(tmp_path, since="2024-05-01")

    assert 2 == perpwalk(monkeypatch, "run", str(config))
    error = capsys.readouterr().err
    command = error[error.index("perpwalk data fetch") :].split()
    assert "binance ETHUSDT --since 2024-05-01" in " ".join(command)

    assert 0 == perpwalk(monkeypatch, *command[1:])
    assert "binance ETHUSDT ohlcv 1h: 1,548 rows (1,548 new)" in capsys.readouterr().out

    assert perpwalk(monkeypatch, "run", str(config)) in (0, 3, 4)
    (run,) = (tmp_path / "results" / "stored").glob("*-*")
    sources = json.loads((run / "manifest.json").read_text())["data"]
    assert [("ohlcv", "store"), ("mark", "store"), ("funding", "store")] == [
        (source["kind"], source["file_format"]) for source in sources
    ]
    assert 0 == perpwalk(monkeypatch, "verify", str(run))


def test_fetch_by_configuration(loopback, monkeypatch, tmp_path, capsys):
    """Named a configuration, fetch brings what its market needs, into its store."""
    config = write_config(tmp_path, since="2024-06-01", store="elsewhere")
    assert 0 == perpwalk(monkeypatch, "data", "fetch", str(config), "--kinds", "ohlcv")
    assert (tmp_path / "elsewhere").is_dir()
    assert 0 == perpwalk(monkeypatch, "data", "list", "--store", "elsewhere", "--json")
    (series,) = json.loads(capsys.readouterr().out.partition("[")[2].join(("[", "")))
    assert ("ETHUSDT", "ohlcv", []) == (series["symbol"], series["kind"], series["gaps"])
    assert {"archive", "api"} == {piece["source"] for piece in series["covered"]}


def test_a_fetched_store_is_examined(loopback, monkeypatch, tmp_path, capsys):
    """`data check` looks at what a configuration takes from the store."""
    config = write_config(tmp_path, since="2024-06-01")
    assert 0 == perpwalk(monkeypatch, "data", "fetch", str(config))
    capsys.readouterr()
    code = perpwalk(monkeypatch, "data", "check", str(config))
    out = capsys.readouterr().out
    assert code in (0, 1)
    assert "binance ETHUSDT" in out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("binance", "ETHUSDT"), "--since is needed"),
        (("binance",), "name a configuration, or an exchange and its symbols"),
        (("binance", "ETHUSDT", "--since", "yesterday-ish"), "is no date"),
        (("binance", "ETHUSDT", "--since", "2024-01-01", "--kinds", "ticks"), "name some of ohlcv"),
        (("binance", "ETHUSDT", "--since", "2024-01-01", "--interval", "1y"), "no length of a bar"),
        (("binance", "ETHUSDT", "--since", "2024-02-01", "--until", "2024-01-01"), "is not after"),
        (("bynance", "ETHUSDT", "--since", "2024-01-01"), "did you mean binance"),
        (("binance", "../../x", "--since", "2024-01-01"), "is no name"),
        (("bybit", "ETHUSDT", "--since", "2024-01-01", "--source", "archive"), "no public archive"),
        (("absent.yaml",), "absent.yaml"),
    ],
)
def test_wrong_words_are_one_message(loopback, monkeypatch, tmp_path, capsys, words, says):
    """What cannot be fetched is said in one line with exit code 2, and no store is made."""
    assert 2 == perpwalk(monkeypatch, "data", "fetch", *words)
    error = capsys.readouterr().err
    assert says in error[error.index("error: ") :]
    assert "Traceback" not in error
    assert not (tmp_path / "data").exists()


def test_a_live_bar_shows_rate_and_remaining_time(capsys):
    """On a terminal each series has a bar with its share, rows per second and what is left."""
    from rich.console import Console

    from perpwalk.data.store import SeriesKey

    console = Console(force_terminal=True, width=140, record=True)
    with data_fetch._listener(console) as listener:
        listener.begin(SeriesKey.of("binance", "ETHUSDT", "ohlcv", "1h"), 100 * HOUR)
        listener.advance(40 * HOUR, 40, "ETHUSDT-1h-2024-05.zip")
        listener.progress.refresh()
        listener.say("a checksum file is damaged; trying again in 1 s")
    shown = console.export_text()
    for part in ("binance ETHUSDT ohlcv 1h", "40%", "40 rows", "/s", "left", "trying again in 1 s"):
        assert part in shown
