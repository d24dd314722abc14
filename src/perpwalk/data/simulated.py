"""Simulated markets as files, as an exchange's would lie on disk, with their truth beside them."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from perpwalk import disk, owned
from perpwalk.config import Simulate
from perpwalk.data import faults
from perpwalk.data.normalise import write_table
from perpwalk.domain import BarFrame, FloatArray, Market
from perpwalk.errors import EnvironmentFailedError, UsageError
from perpwalk.simulate import simulate_market
from perpwalk.simulate_truth import reachable

HORIZONS = (1, 4, 24)


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be simulated; see ``perpwalk data simulate --help``."""

    symbols: tuple[str, ...]
    interval: pd.Timedelta
    section: Simulate
    seed: int
    listed: dict[str, str] = field(default_factory=dict)
    tick: float = 0.01
    outages: int = 0
    outage_hours: float = 6.0
    faults: tuple[tuple[str, int | None], ...] = ()
    suffix: str = ".csv"


def write_market(out: Path, order: Order) -> dict[str, Any]:
    """Write bars, mark and funding of each symbol, ``truth.json`` and ``config.yaml``.

    Returns
    -------
    dict
        The truth: settings, what the best forecast reaches per horizon, and every fault made.

    Raises
    ------
    UsageError
        The folder holds something already, a symbol stands twice, or a fault does not fit.
    """
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty; name a new folder")
    if len(set(order.symbols)) != len(order.symbols):
        raise UsageError("a symbol stands twice")
    unknown = sorted(set(order.listed) - set(order.symbols))
    if unknown:
        raise UsageError(f"--listed names {', '.join(unknown)}, which is not simulated")
    by_text = order.suffix.startswith(".csv")
    if order.faults and not by_text:
        raise UsageError("faults are made in CSV files; leave out --format or take csv")
    fresh = out.with_name(f".{out.name}.partial")
    try:
        owned.remove_folder(fresh)  # of a simulation that was killed
        fresh.mkdir(parents=True)
        truth = _write_all(fresh, order)
        if out.is_dir():
            out.rmdir()
        disk.put_folder(fresh, out)
    except OSError as error:
        raise EnvironmentFailedError(f"{out} cannot be written: {error}") from error
    finally:
        if fresh.is_dir():
            shutil.rmtree(fresh, ignore_errors=True)
    return truth


def _write_all(folder: Path, order: Order) -> dict[str, Any]:
    made: list[dict[str, Any]] = []
    for symbol in order.symbols:
        made += _write_symbol(folder, order, symbol)
    truth = _truth(order, made)
    text = json.dumps(truth, indent=2, allow_nan=False)
    (folder / "truth.json").write_text(text + "\n", encoding="utf-8")
    (folder / "config.yaml").write_text(_config(order), encoding="utf-8")
    return truth


def _write_symbol(out: Path, order: Order, symbol: str) -> list[dict[str, Any]]:
    section = order.section
    if symbol in order.listed:
        section = section.model_copy(update={"listed": order.listed[symbol]})
    market = simulate_market(
        section, symbol=symbol, interval=order.interval, seed=_seed(order, symbol)
    )
    rng = np.random.default_rng([order.seed, 1, *symbol.encode()])
    tables = _tables(market, order.tick)
    done = _outages(tables, market, order, rng, symbol)
    for name, count in order.faults:
        of = faults.named(name).kind
        tables[of], stamps = faults.apply(name, tables[of], rng, count)
        done.append({"symbol": symbol, "file": _name(order, symbol, of), "fault": name,
                     "says": faults.named(name).says, "stamps": stamps})  # fmt: skip
    for kind, table in tables.items():
        if not order.suffix.startswith(".csv"):
            table = table.assign(timestamp=pd.DatetimeIndex(table["timestamp"]))
        write_table(table, out / _name(order, symbol, kind), order.suffix)
    return done


def _seed(order: Order, symbol: str) -> int:
    """Return a seed of its own per symbol; a lone one takes the seed itself."""
    if len(order.symbols) == 1:
        return order.seed
    drawn = hashlib.sha256(f"{order.seed} {symbol}".encode()).digest()
    return int.from_bytes(drawn[:4], "big") >> 1


def _name(order: Order, symbol: str, kind: str) -> str:
    if kind == "funding":
        return f"{symbol}-funding{order.suffix}"
    minutes = order.interval / pd.Timedelta("1min")
    length = f"{minutes / 60:g}h" if minutes % 60 == 0 else f"{minutes:g}m"
    return f"{symbol}-{length}-{kind}{order.suffix}"


def _tables(market: Market, tick: float) -> dict[str, pd.DataFrame]:
    bars, mark = market.bars, market.mark
    funding = pd.DataFrame(
        {
            "timestamp": market.funding.settle_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "funding_rate": market.funding.rate,
            "mark_price": np.round(market.funding.mark_price, 8),
        }
    )
    tables = {"ohlcv": _candles(bars, tick).assign(volume=np.round(bars.volume, 3))}
    if mark is not None:
        tables["mark"] = _candles(mark, 1e-8)
    return {**tables, "funding": funding}


def _candles(bars: BarFrame, tick: float) -> pd.DataFrame:
    """Return prices on their tick; rounding keeps their order, so candles stay candles."""

    def on_tick(values: FloatArray) -> FloatArray:
        if tick == 0:
            return values
        rounded: FloatArray = np.round(np.maximum(np.rint(values / tick), 1) * tick, 10)
        return rounded

    return pd.DataFrame(
        {
            "timestamp": bars.open_time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            **{name: on_tick(getattr(bars, name)) for name in ("open", "high", "low", "close")},
        }
    )


def _outages(
    tables: dict[str, pd.DataFrame],
    market: Market,
    order: Order,
    rng: np.random.Generator,
    symbol: str,
) -> list[dict[str, Any]]:
    """Take away all bars of some stretches of time; settlements go on."""
    if not order.outages:
        return []
    n, step = len(market.bars), order.interval / pd.Timedelta("1h")
    gone: set[int] = set()
    for start in np.sort(rng.integers(1, n - 1, order.outages)).tolist():
        lost = max(1, round(float(rng.exponential(order.outage_hours)) / step))
        gone.update(range(start, min(start + lost, n - 1)))
    rows = sorted(gone)
    stamps = [str(stamp) for stamp in tables["ohlcv"]["timestamp"].iloc[rows]]
    for kind in ("ohlcv", "mark"):
        tables[kind] = tables[kind].drop(index=rows).reset_index(drop=True)
    return [{"symbol": symbol, "file": _name(order, symbol, "ohlcv"), "fault": "outage",
             "says": "no bars, neither trades nor marks", "stamps": stamps}]  # fmt: skip


# ── what is told beside them ─────────────────────────────────────────────────────────────────────


def _truth(order: Order, made: Sequence[dict[str, Any]]) -> dict[str, Any]:
    section = order.section
    best = []
    for horizon in HORIZONS:
        auc, accuracy, error = reachable(section.edge, section.edge_bars, horizon)
        best.append(
            {"horizon_bars": horizon, "auc": round(auc, 6), "accuracy": round(accuracy, 6),
             "auc_standard_error": round(error, 6),
             "how": "closed form" if error == 0 else "measured"}
        )  # fmt: skip
    return {
        "model": "perpwalk.simulate",
        "symbols": list(order.symbols),
        "interval_seconds": order.interval.total_seconds(),
        "seed": order.seed,
        "tick": order.tick,
        "settings": section.model_dump(mode="json"),
        "listed": dict(order.listed),
        "best": best,
        "faults": list(made),
    }


def _config(order: Order) -> str:
    minutes = order.interval / pd.Timedelta("1min")
    sections = [
        {
            "symbol": symbol,
            "interval": f"{minutes:g}m",
            **{kind: _name(order, symbol, kind) for kind in ("ohlcv", "mark", "funding")},
        }
        for symbol in order.symbols
    ]
    if order.outages:
        sections = [{**section, "gaps": "drop"} for section in sections]
    market = {"market": sections[0]} if len(sections) == 1 else {
        "market": {"interval": sections[0]["interval"]}, "markets": sections
    }  # fmt: skip
    return str(yaml.safe_dump({"name": "simulated", **market}, sort_keys=False))
