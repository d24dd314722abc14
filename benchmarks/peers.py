"""What vectorbt and backtesting.py make of the same orders; run by an interpreter that has them.

    python peers.py TAPE.npz

reads ``open, high, low, close`` of shape (n,), ``weights`` (n, k): target shares of equity decided
at each close, NaN for no order; ``units`` (n,): target quantities likewise; ``fee``, ``cash``.
Writes JSON: seconds and processor seconds per variant, and final equities.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd

warnings.simplefilter("ignore")


def timed(call: Any, rounds: int) -> tuple[float, float, Any]:
    """Return the least wall and processor seconds of some calls, and what the last returned."""
    wall, processor = [], []
    for _ in range(rounds):
        begun, worked = time.perf_counter(), time.process_time()
        found = call()
        wall.append(time.perf_counter() - begun)
        processor.append(time.process_time() - worked)
    return min(wall), min(processor), found


def vectorbt(tape: dict[str, Any]) -> dict[str, Any]:
    """Target-percent orders, filled at the next open."""
    import vectorbt as vbt

    weights = tape["weights"][:-1]
    close, opened = tape["close"][1:], tape["open"][1:]

    def run() -> Any:
        return vbt.Portfolio.from_orders(
            pd.DataFrame(np.repeat(close[:, None], weights.shape[1], axis=1)), weights,
            size_type="targetpercent", direction="both", price=opened[:, None],
            fees=float(tape["fee"]), init_cash=float(tape["cash"]), freq="1h",
        )  # fmt: skip

    def judged() -> Any:
        found = run()
        found.total_return(), found.sharpe_ratio(), found.max_drawdown()
        return found

    judged()  # compile
    variants = weights.shape[1]
    wall, processor, portfolio = timed(run, 3)
    wall_judged, processor_judged, _ = timed(judged, 3)
    return {
        "version": vbt.__version__,
        "orders": {"seconds": wall / variants, "processor": processor / variants},
        "judged": {"seconds": wall_judged / variants, "processor": processor_judged / variants},
        "equity": portfolio.final_value().tolist(),
    }


def backtesting(tape: dict[str, Any]) -> dict[str, Any]:
    """Quantities, filled at the next open."""
    import backtesting as bt

    columns = {name.capitalize(): tape[name] for name in ("open", "high", "low", "close")}
    frame = pd.DataFrame(columns, pd.date_range("2020-01-01", periods=len(tape["open"]), freq="1h"))
    units = tape["units"]

    class Targets(bt.Strategy):
        def init(self) -> None:
            """Nothing to prepare."""

        def next(self) -> None:
            """Order what is missing to the target."""
            wanted = units[len(self.data) - 1]
            if np.isnan(wanted):
                return
            missing = wanted - self.position.size
            if missing > 0:
                self.buy(size=missing)
            elif missing < 0:
                self.sell(size=-missing)

    def run() -> float:
        test = bt.Backtest(
            frame, Targets, cash=float(tape["cash"]), commission=float(tape["fee"]),
            trade_on_close=False,
        )  # fmt: skip
        return float(test.run()["Equity Final [$]"])

    wall, processor, equity = timed(run, 1)
    return {
        "version": bt.__version__, "seconds": wall, "processor": processor, "equity": [equity]
    }  # fmt: skip


if __name__ == "__main__":
    with np.load(sys.argv[1]) as kept:
        read = dict(kept)
    json.dump({"vectorbt": vectorbt(read), "backtesting": backtesting(read)}, sys.stdout)
