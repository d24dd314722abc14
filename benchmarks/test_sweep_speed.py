"""How fast thousands of variants are, against vectorbt and backtesting.py in one run.

The peers live in an environment of their own, because they are no dependency of ours:

    python3 -m venv .venv-peers && .venv-peers/bin/pip install vectorbt==1.2.0 backtesting==0.6.6
    make bench PYTEST_ARGS="benchmarks/test_sweep_speed.py -s"

(another interpreter: ``PERPWALK_PEERS=/path/to/python``). Same bars and decisions; vectorbt is
asked for total return, Sharpe ratio and drawdown, because every row of a sweep has them. It values
a target at the price it fills at, we at the close it was decided at, so final equities are compared
on bars that open where the one before closed; it neither settles funding nor liquidates, so these
are off there and on where we are timed. backtesting.py trades whole units, from bar 1 on.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perpwalk import sweeps
from perpwalk.config import BrokerSection, SlippageSection
from perpwalk.domain import BarFrame, FloatArray, FundingFrame, Market
from perpwalk.plans import Plan, Sizing, as_plan
from perpwalk.recompute import recompute, target_table

pytestmark = pytest.mark.benchmark

PEERS = Path(os.environ.get("PERPWALK_PEERS", Path(__file__).parents[1] / ".venv-peers/bin/python"))
SIDES = 100  # thresholds × sizes
FEE = 0.0002
PLAIN = BrokerSection(
    cash=1e9, leverage=10.0, margin="cross", taker_fee=FEE, lot_size=0.0, min_notional=0.0,
    slippage=SlippageSection(kind="none"),
)  # fmt: skip
FULL = PLAIN.model_copy(
    update={
        "leverage": 3.0,
        "margin": "isolated",
        "lot_size": 0.001,
        "min_notional": 5.0,
        "slippage": SlippageSection(bps=1.0),
    }
)


@functools.cache
def opinion(bars: int) -> FloatArray:
    """Return forecasts that wander, so that thresholds are crossed some thousand times."""
    noise = np.random.default_rng(5).normal(0.0, 0.02, bars)
    for row in range(1, bars):
        noise[row] += 0.8 * noise[row - 1]
    found: FloatArray = 0.5 + noise
    return found


def weights_of(threshold: float, exposure: float, bars: int) -> FloatArray:
    """Return long above, short below a threshold; NaN where the side stays what it is."""
    side = np.where(opinion(bars) > threshold, 1.0, -1.0)
    turned = np.concatenate(([True], side[1:] != side[:-1]))
    return np.where(turned, side * exposure, np.nan)


@functools.cache
def plan_of(threshold: float, bars: int) -> Plan:
    """Return the sides of a threshold, for every size of it to share; the peers' lie ready too."""
    return as_plan(weights_of(threshold, 1.0, bars), bars)


def grid(count: int) -> list[tuple[float, float]]:
    """Return ``count`` squared pairs of threshold and exposure."""
    return [(t, e) for t in np.linspace(0.45, 0.55, count) for e in np.linspace(0.1, 0.9, count)]


def variants(pairs: list[tuple[float, float]], bars: int, broker: BrokerSection) -> list[Any]:
    return [
        sweeps.Variant(plan_of(threshold, bars), Sizing(share=exposure, band=0.0), broker)
        for threshold, exposure in pairs
    ]


def opening_at_the_close(market: Market) -> Market:
    """Return bars that open where the one before closed, without settlements."""
    frame = market.bars.to_frame()
    frame["open"] = frame["close"].shift(1).fillna(frame["open"].iloc[0])
    frame["high"] = frame[["open", "high", "close"]].max(axis=1)
    frame["low"] = frame[["open", "low", "close"]].min(axis=1)
    frame["volume"] = 1e12
    bars = BarFrame.of(frame, symbol=market.symbol, interval=market.bars.interval)
    return replace(market, bars=bars, funding=FundingFrame.empty(market.symbol))


@pytest.fixture(scope="module")
def peers(market: Market, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Let the peers trade the same decisions in a process of their own."""
    if not PEERS.exists():
        pytest.skip(f"no {PEERS}: see the top of this file")
    tape = opening_at_the_close(market).bars
    weights = [weights_of(*pair, len(tape)) for pair in grid(10)]
    file = tmp_path_factory.mktemp("peers") / "tape.npz"
    np.savez(
        file, open=tape.open, high=tape.high, low=tape.low, close=tape.close,
        weights=np.stack(weights, axis=1), units=5.0 * np.sign(weights[0]), fee=FEE,
        cash=PLAIN.cash,
    )  # fmt: skip
    script = Path(__file__).with_name("peers.py")
    done = subprocess.run([PEERS, script, file], capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def swept(market: Market, asked: list[Any], threads: int) -> tuple[float, float, sweeps.Swept]:
    """Return the least milliseconds per variant of three calls, of the clock and of processors.

    The peers' are taken so too. Then what the last call came to.
    """
    wall, processor = [], []
    for _ in range(3):
        begun, worked = time.perf_counter(), time.process_time()
        found = sweeps.sweep(market, asked, threads=threads)
        wall.append(time.perf_counter() - begun)
        processor.append(time.process_time() - worked)
    return min(wall) / len(asked) * 1e3, min(processor) / len(asked) * 1e3, found


def test_ten_thousand_variants_against_vectorbt(market: Market, peers: dict[str, Any]) -> None:
    """A hundred thresholds × a hundred sizes with the full account, per variant, on all cores."""
    bars = len(market.bars)
    asked = variants(grid(SIDES), bars, FULL)
    sweeps.sweep(market, asked[:2])  # compile
    wall, processor, found = swept(market, asked, threads=0)
    alone, processor_alone, _ = swept(market, asked[::20], threads=1)
    print(
        f"\n{len(asked):,} variants of {bars:,} bars, {found.table['orders'].mean():,.0f} orders, "
        f"{found.table['liquidations'].mean():.1f} liquidations each: {wall:.2f} ms a variant "
        f"({processor:.2f} ms of processor); every 20th on one thread: {alone:.2f} ms "
        f"({processor_alone:.2f})"
    )
    theirs = {name: peers["vectorbt"][name] for name in ("orders", "judged")}
    for what, spent in theirs.items():
        took, worked = spent["seconds"] * 1e3, spent["processor"] * 1e3
        print(
            f"vectorbt {peers['vectorbt']['version']} without funding and margin, {what}: "
            f"{took:.1f} ms ({worked:.1f} ms of processor): {took / wall:.1f} times; processor "
            f"{worked / processor:.1f}, of one thread {worked / processor_alone:.1f}"
        )

    assert theirs["orders"]["seconds"] * 1e3 / wall >= 12
    assert theirs["orders"]["processor"] * 1e3 / processor_alone >= 10


def test_final_equity_is_vectorbts_where_its_model_allows(
    market: Market, peers: dict[str, Any]
) -> None:
    """Without funding, margins and lots, on bars that open at the close before: the same money."""
    tape = opening_at_the_close(market)
    found = sweeps.sweep(tape, variants(grid(10), len(tape.bars), PLAIN), keep="equity")
    assert found.equity is not None
    apart = np.abs(found.equity[:, -1] / np.array(peers["vectorbt"]["equity"]) - 1)
    print(f"\nfinal equity of {len(apart)} variants: largest difference {apart.max():.1e}")

    assert apart.max() < 1e-6


def test_final_equity_is_that_of_backtesting_py(market: Market, peers: dict[str, Any]) -> None:
    """The same whole units at the same opens: the same money, thousands of times as fast."""
    tape = opening_at_the_close(market)
    weights = weights_of(*grid(10)[0], len(tape.bars))
    at = np.flatnonzero(~np.isnan(weights))[1:]  # it is first asked at bar 1
    table = target_table(tape, dict(zip(at.tolist(), (5.0 * np.sign(weights[at])).tolist(),
                                        strict=True)))  # fmt: skip
    seconds = []
    for _ in range(10):
        begun = time.perf_counter()
        ledger = recompute(tape, table, PLAIN)
        seconds.append(time.perf_counter() - begun)
    theirs = peers["backtesting"]
    earned = ledger.equity["equity"].iloc[-1] - PLAIN.cash
    apart = abs(earned / (theirs["equity"][0] - PLAIN.cash) - 1)
    print(
        f"\nbacktesting.py {theirs['version']}: {theirs['seconds']:.2f} s, the ledger with its "
        f"tables {min(seconds) * 1e3:.1f} ms: {theirs['seconds'] / min(seconds):,.0f} times; gains "
        f"differ by {apart:.1e} of {earned:,.0f}"
    )

    assert apart < 1e-6
