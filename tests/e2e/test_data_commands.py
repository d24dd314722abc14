"""`perpwalk data`: simulate, check and convert work together from the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest


def perpwalk(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "engine", "data", *map(str, words)],
        capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def market(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "market"
    made = perpwalk("simulate", folder, "--bars", 900, "--interval", "15m", "--seed", 4)
    assert 0 == made.returncode, made.stderr
    assert "AUC 0.5903" in made.stdout
    return folder


def test_what_was_simulated_is_taken(market):
    """Check of the configuration that simulate wrote exits 0; --json is one document."""
    found = perpwalk("check", market / "config.yaml", "--json")

    assert 0 == found.returncode, found.stderr
    assert json.loads(found.stdout)["usable"]


def test_options_are_not_lost_beside_a_configuration(market):
    """The period asked for is the one examined; another length of bars is refused."""
    cut = perpwalk("check", market / "config.yaml", "--since", "2023-01-03", "--json")
    longer = perpwalk("check", market / "config.yaml", "--interval", "1h")

    assert 0 == cut.returncode, cut.stderr
    assert "2023-01-03T00:00:00Z" == json.loads(cut.stdout)["files"][0]["period"]["begin"]
    assert 1 == longer.returncode
    assert "market.interval says 0 days 01:00:00" in longer.stdout


def test_a_fault_to_order_is_refused_with_its_place(tmp_path):
    """Exit 1, the finding and the refusal on the screen, and a page beside."""
    perpwalk("simulate", tmp_path / "m", "--bars", 900, "--fault", "high-below-low=1")
    file, page = tmp_path / "m" / "SIMUSDT-1h-ohlcv.csv", tmp_path / "page.html"

    found = perpwalk("check", file, "--html", page)

    assert 1 == found.returncode
    assert "ERROR D007" in found.stdout
    assert "a run would refuse it" in found.stdout
    assert "<svg" in page.read_text()


def test_a_text_is_unreadable(tmp_path):
    """Exit 2, without a traceback."""
    (tmp_path / "note.txt").write_text("nothing, of use\nhere, either\n")

    found = perpwalk("check", tmp_path / "note.txt")

    assert 2 == found.returncode
    assert "unreadable" in found.stdout
    assert "Traceback" not in found.stderr


def test_convert_resamples_and_writes_what_it_read(market, tmp_path):
    """Quarters become hours in Parquet; the terminal says whose file it was and what was lost."""
    out = tmp_path / "hours.parquet"

    made = perpwalk("convert", market / "SIMUSDT-15m-ohlcv.csv", out, "--resample", "1h")

    assert 0 == made.returncode, made.stderr
    assert "read as a plain table (csv)" in made.stdout
    assert ["timestamp", "open", "high", "low", "close", "volume"] == list(pd.read_parquet(out))
    assert 225 == len(pd.read_parquet(out))


def test_convert_never_replaces_its_source(market):
    """The same file as IN and OUT is refused, exit 2."""
    file = market / "SIMUSDT-funding.csv"
    before = file.read_bytes()

    made = perpwalk("convert", file, file)

    assert 2 == made.returncode
    assert before == file.read_bytes()


def test_convert_round_trips_every_form(market, tmp_path):
    """csv, csv.gz, parquet and feather hold the same funding."""
    frames = []
    for suffix in ("csv", "csv.gz", "parquet", "feather"):
        out = tmp_path / f"f.{suffix}"
        assert 0 == perpwalk("convert", market / "SIMUSDT-funding.csv", out).returncode
        again = tmp_path / f"again-{suffix.replace('.', '-')}.csv"
        assert 0 == perpwalk("convert", out, again).returncode
        frames.append(again.read_bytes())

    assert 1 == len(set(frames))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("simulate", "new", "--edge", "2"), "edge"),
        (("simulate", "new", "--fault", "fire"), "choose among"),
        (("convert", "gone.csv", "out.csv"), "no such file"),
        (("convert", "gone.csv", "out.xlsx"), "ends with none of"),
        (("check", "gone.csv"), "no such file"),
    ],
)
def test_wrong_usage_is_one_message_and_exit_code_2(tmp_path, monkeypatch, words, says):
    """What, where, what to do."""
    monkeypatch.chdir(tmp_path)

    made = perpwalk(*words)

    assert 2 == made.returncode
    assert says in made.stdout + made.stderr
    assert "Traceback" not in made.stderr
