"""Contracts of one account end together, and what is found of each says whose it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perpwalk import data
from perpwalk.config import resolve
from perpwalk.domain import Level
from perpwalk.errors import DataError


def written(folder: Path, name: str, *, start: str, bars: int) -> str:
    """Write hourly bars of a random walk and return the file's path."""
    close = 100 * np.exp(np.cumsum(np.random.default_rng(bars).normal(0, 0.005, bars)))
    opened = np.concatenate(([100.0], close[:-1]))
    frame = pd.DataFrame(
        {
            "timestamp": pd.date_range(start, periods=bars, freq="h", tz="UTC"),
            "open": opened,
            "high": np.maximum(opened, close) * 1.001,
            "low": np.minimum(opened, close) * 0.999,
            "close": close,
            "volume": 1000.0,
        }
    )
    path = folder / f"{name}.csv"
    frame.to_csv(path, index=False)
    return str(path)


def asked(folder: Path, **spans: tuple[str, int]) -> object:
    markets = [
        {"symbol": name, "ohlcv": written(folder, name, start=start, bars=bars)}
        for name, (start, bars) in spans.items()
    ]
    return resolve({"market": {"missing_funding": "zero"}, "markets": markets})


def test_all_end_with_the_first_that_ends(tmp_path: Path) -> None:
    """Later bars are left out and the finding says how many; an earlier start is kept."""
    config = asked(
        tmp_path, AAA=("2024-01-01", 400), BBB=("2024-01-03", 280), CCC=("2024-01-02", 340)
    )

    a, b, c = data.load_markets(config)

    end = pd.Timestamp("2024-01-14T16:00Z")
    assert [end] * 3 == [market.bars.close_time[-1] for market in (a, b, c)]
    assert [328, 280, 304] == [len(market.bars) for market in (a, b, c)]
    told = [f for market in (a, b, c) for f in market.findings if f.code == "D015"]
    assert [("AAA", Level.WARN), ("CCC", Level.WARN)] == [(f.where, f.level) for f in told]
    assert "72 bars" in str(told[0].observed)
    assert all(market.funding.settle_time[-1] <= end for market in (a, b, c))


def test_findings_and_files_say_whose_they_are(tmp_path: Path) -> None:
    """The place of a finding begins with the symbol, and so does a file's kind."""
    config = asked(tmp_path, AAA=("2024-01-01", 300), BBB=("2024-01-01", 300))

    for market in data.load_markets(config):
        assert [f"{market.symbol}/ohlcv"] == [source.kind for source in market.sources]
        assert market.findings
        assert all(found.where.startswith(market.symbol) for found in market.findings)


def test_contracts_that_never_trade_together_are_refused(tmp_path: Path) -> None:
    """One account needs prices of all its contracts at a time."""
    config = asked(tmp_path, AAA=("2024-01-01", 300), BBB=("2024-03-01", 300))

    with pytest.raises(DataError, match="AAA ends at 2024-01-13 .* before BBB begins"):
        data.load_markets(config)


def test_a_broken_file_names_its_contract(tmp_path: Path) -> None:
    """Of several files the message says whose is wrong."""
    config = asked(tmp_path, AAA=("2024-01-01", 300), BBB=("2024-01-01", 300))
    (tmp_path / "BBB.csv").write_text("timestamp,open\n1,2\n")

    with pytest.raises(DataError, match="^BBB: "):
        data.load_markets(config)
