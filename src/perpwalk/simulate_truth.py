"""How good a forecast of a simulated market can be, over any horizon.

Over one bar the best AUC and accuracy are in closed form. Over h bars the label is the sign of a
sum of h returns of random size, of which only a part is foretold by the scores seen so far; no
closed form is known to us. There the figures are *measured*: a long market is simulated and
forecast by

    E[up - down | scores seen] = sum over k = 1 … min(h, n) of 2 Phi(g K_k / sqrt(1 + g² v_k)) - 1

where ``K_k`` is the part of the k-th return's drive that is known now and ``v_k = (k - 1) / n`` the
variance of the rest. Sizes are independent of signs, so nothing else known bears on the direction;
that the sizes ahead differ a little in their expectation is left out. What is given is therefore
*reached*, by a forecast anybody can make from the volumes, and a ceiling but for that little.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from perpwalk.config import Simulate
from perpwalk.domain import BarFrame, FloatArray
from perpwalk.simulate import best_accuracy, best_auc, oracle_score, simulate_market

MEASURED_BARS = 200_000
_SEED = 20_240_229


def oracle_forecast(bars: BarFrame, *, edge: float, edge_bars: int, horizon: int) -> FloatArray:
    """Return the expected balance of up and down moves over the next ``horizon`` bars.

    NaN where fewer than ``edge_bars`` bars have been seen.
    """
    from scipy.special import ndtr

    score, n = oracle_score(bars), edge_bars
    gain = edge / math.sqrt(1 - edge**2)
    total = np.concatenate(([0.0], np.cumsum(score)))
    balance = np.zeros(len(score))
    for k in range(1, min(horizon, n) + 1):
        terms = n - k + 1
        known = np.full(len(score), np.nan)
        known[terms - 1 :] = (total[terms:] - total[:-terms]) / math.sqrt(n)
        rest = 1 + gain**2 * (k - 1) / n
        balance += 2 * ndtr(gain * known / math.sqrt(rest)) - 1
    return balance


@functools.lru_cache(maxsize=64)
def reachable(edge: float, edge_bars: int, horizon: int) -> tuple[float, float, float]:
    """Return AUC and accuracy that the oracle reaches over ``horizon`` bars, and the AUC's error.

    Closed form over one bar (error 0), else measured on ``MEASURED_BARS`` bars of a fixed seed.

    >>> reachable(0.2, 1, 1)[0] == best_auc(0.2)
    True
    """
    if horizon == 1 or edge == 0:
        return best_auc(edge), best_accuracy(edge), 0.0
    section = Simulate(bars=MEASURED_BARS, edge=edge, edge_bars=edge_bars, price=1e6)
    bars = simulate_market(
        section.model_copy(update={"annual_volatility": 0.1}),
        symbol="SIM",
        interval=pd.Timedelta("1h"),
        seed=_SEED,
    ).bars
    forecast = oracle_forecast(bars, edge=edge, edge_bars=edge_bars, horizon=horizon)
    ahead = np.log(bars.close[horizon:] / bars.close[:-horizon])
    known = np.isfinite(forecast[:-horizon]) & (ahead != 0)
    up, opinion = ahead[known] > 0, forecast[:-horizon][known]
    # Overlapping labels: as many independent ones as horizons fit in.
    error = 0.5 / math.sqrt(3 * len(up) / horizon) * 2
    return _auc(up, opinion), float(((opinion > 0) == up).mean()), error


def _auc(up: np.ndarray, opinion: FloatArray) -> float:
    from scipy.stats import rankdata

    ups = int(up.sum())
    below = float(rankdata(opinion)[up].sum()) - ups * (ups + 1) / 2
    return below / (ups * (len(up) - ups))


def at_horizon(truth: Mapping[str, float], horizon: int) -> Mapping[str, float]:
    """Return a simulated market's truth with its best figures for labels over ``horizon`` bars.

    Measured figures are raised by two standard errors, so that luck in the measurement calls
    nobody too good.
    """
    if "edge" not in truth or horizon == 1:
        return truth
    auc, accuracy, error = reachable(truth["edge"], int(truth.get("edge_bars", 1)), horizon)
    return {**truth, "best_auc": auc + 2 * error, "best_accuracy": accuracy + 2 * error}
