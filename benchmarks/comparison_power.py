"""What a comparison finds among 20 variants of which none, or one, has an edge.

    python benchmarks/comparison_power.py [repetitions]

Each repetition draws a new market of 4,320 hourly decisions (180 days) and 20 variants whose
opinions correlate at 0.3. "Claimed": any variant called better than noise, in money or in its
forecasts, or named the winner. "Found": the planted variant called better than noise in money, in
its forecasts, named the winner. PBO is that of 16 blocks.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "reference"))

from simulated_variants import outcome

EDGES = (0.0, 0.03, 0.04, 0.06)
RESAMPLES = 300
PLANTED = "v00"


def main() -> None:
    """Print a row per planted edge."""
    repetitions = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    print(f"{repetitions} repetitions each; Sharpe ratio: mean of the planted variant, annual")
    print("edge   Sharpe  claimed  false  money  forecast  winner  in MCS  mean PBO")
    for edge in EDGES:
        found = [outcome(edge=edge, resamples=RESAMPLES, seed=1000 + k) for k in range(repetitions)]
        planted = {PLANTED} if edge else set()
        rows = {
            "Sharpe": np.mean([one.sharpe for one in found]),
            "claimed": np.mean([bool(one.claimed) for one in found]),
            "false": np.mean([bool(one.claimed - planted) for one in found]),
            "money": np.mean([PLANTED in one.earns for one in found]),
            "forecast": np.mean([PLANTED in one.forecasts for one in found]),
            "winner": np.mean([one.winner == PLANTED for one in found]),
            "in MCS": np.mean([PLANTED in one.alike for one in found]),
            "PBO": np.mean([one.pbo for one in found]),
        }
        print(f"{edge:.2f}  " + "  ".join(f"{value:6.2f}" for value in rows.values()), flush=True)


if __name__ == "__main__":
    main()
