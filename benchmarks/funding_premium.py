"""How much real funding says of its sign and its clock: false alarms, and what is found.

    python benchmarks/funding_premium.py
    python benchmarks/funding_premium.py --symbols ETHUSDT --settlements 300 1000

Binance's hours, mark candles and settlements in ``PERPWALK_DATA``, in windows of so many
settlements that begin a fifth of their length apart. Per window length: the lowest correlation of
right rates with the premium; the share of windows accused as they are (D016, D023); of those found
with all rates negated (D012 by the base rate; D016 over mark candles and over the records' own
marks), and with stamps so many hours late (D023).
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from perpwalk.data import read_bars, read_funding, read_mark
from perpwalk.data.funding import funding_findings
from perpwalk.data.premium import Premium, follows_own_marks, follows_premium
from perpwalk.domain import BarFrame, Finding, FundingFrame, Level, frozen_array

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("PERPWALK_DATA", ROOT.parent / "shared" / "data")) / "binance"
HOUR = pd.Timedelta("1h")
LATE = (1, 2, 4, 8, -8, 16, 24)


def main() -> None:
    """Print one line per contract and window length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--symbols", nargs="+", default=["ETHUSDT", "BTCUSDT"])
    parser.add_argument("--settlements", nargs="+", type=int, default=[300, 1000, 2000, 3000, 7000])
    given = parser.parse_args()
    late = "".join(f"{f'{hours:+d} h':>6}" for hours in LATE)
    print(
        f"{'':8}{'n':>6}{'windows':>8}{'lowest':>8}{'accused':>8}{'base':>6}{'candles':>8}{'own':>6}{late}"
    )
    for symbol in given.symbols:
        bars, premium, rates = read(symbol)
        for count in given.settlements:
            starts = range(0, len(rates) - count + 1, count // 5)
            parts = [rates.rows(first, first + count) for first in starts]
            print(f"{symbol:8}{count:>6,}" + line(bars, premium, parts), flush=True)


def read(symbol: str) -> tuple[BarFrame, Premium, FundingFrame]:
    """Return hours, the premium over their mark candles, and settlements."""
    bars, _, _ = read_bars(DATA / f"{symbol}-1h-ohlcv.csv.gz", symbol=symbol, interval=HOUR)
    mark, _, _ = read_mark(DATA / f"{symbol}-1h-mark.csv.gz", symbol=symbol, interval=HOUR)
    rates, _, _ = read_funding(DATA / f"{symbol}-8h-funding.csv.gz", symbol=symbol)
    _, at, of = np.intersect1d(bars.open_time, mark.open_time, return_indices=True)
    step = HOUR.as_unit("ns").value
    return bars, Premium.of(bars.close_time.asi8, step, bars, at, mark, of), rates


def line(bars: BarFrame, premium: Premium, parts: list[FundingFrame]) -> str:
    """Judge every window as it is, negated and late, where it has enough of a premium."""
    asked = [part for part in parts if list(follows_premium("", part, premium))]
    found = [list(follows_premium("", part, premium)) for part in asked]
    lowest = min(related(findings) for findings in found)
    accused = share(bool(warned(findings)) for findings in found)
    turned = [replace(part, rate=frozen_array(-part.rate)) for part in asked]
    moved = np.zeros(0, dtype=np.int64)
    base = share(
        "D012" in warned(funding_findings("", part, moved, naive=False)) for part in turned
    )
    negated = share("D016" in warned(follows_premium("", part, premium)) for part in turned)
    closes = bars.close_time.asi8
    own = share(
        "D016" in warned(follows_own_marks("", part, closes, bars.close)) for part in turned
    )
    late = [
        share(
            "D023"
            in warned(
                follows_premium(
                    "", replace(part, settle_time=part.settle_time + hours * HOUR), premium
                )
            )
            for part in asked
        )
        for hours in LATE
    ]
    told = "".join(f"{value:>6.0%}" for value in late)
    return (
        f"{len(asked):>8}{lowest:>8.2f}{accused:>8.0%}{base:>6.0%}{negated:>8.0%}{own:>6.0%}{told}"
    )


def related(findings: list[Finding]) -> float:
    """Return the correlation that a finding tells."""
    told = re.search(r"correlation of (-?[\d.]+)", findings[0].message)
    assert told is not None
    return float(told[1])


def warned(findings: Iterable[Finding]) -> set[str]:
    """Return the codes of the warnings."""
    return {finding.code for finding in findings if finding.level is Level.WARN}


def share(values: Iterable[bool]) -> float:
    """Return how many of them are true, as a fraction."""
    return float(np.mean(list(values)))


if __name__ == "__main__":
    main()
