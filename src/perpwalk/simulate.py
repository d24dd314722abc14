"""Perpetual-futures markets with known truth: how good a forecast can be is known in advance.

The model, bar by bar (``z`` are independent draws; nothing else connects past and future):

* **Volatility** ``sigma_t = sigma * season(hour) * exp(h_t - var(h))``: ``h`` is a stationary AR(1)
  of standard deviation 0.4 with a memory of three days, ``season`` a daily cosine that peaks at
  14:00 UTC; scaled so that the mean of ``sigma_t^2`` is the configured volatility squared.
* **Size** of a close-to-close log return: ``sigma_t * |T_5| * sqrt(3/5)``, Student-t with five
  degrees of freedom and unit variance, never 0. It is independent of the sign.
* **Sign, the planted edge**: each bar has a score ``s_t ~ N(0, 1)``, and the *next* return is up
  with probability ``Phi(g s_t)``, ``g = rho / sqrt(1 - rho^2)``, ``rho = edge``. The score is seen
  exactly in the bar's volume, ``volume_t = 1000 exp(0.8 s_t)``, and nowhere else.
* **Candles**: the open is the last close; high and low are drawn from the law of the maximum and
  minimum of a Brownian bridge between open and close.
* **Premium** of the perpetual over its index: AR(1) with a memory of a day, pushed by the *past*
  return; its reversion is the index's business, so it says nothing about the next trade. The mark
  price follows the trades less half of it.
* **Funding** at 00:00, 08:00 and 16:00 UTC as exchanges compute it: the mean premium ``P`` over
  the 8 h before plus ``clamp(0.01 % - P, -0.05 %, 0.05 %)``, capped at 0.75 %.

With ``edge`` 0 every sign is a fair coin, whatever is known. With an edge the best forecast is
``s_t``, and (orthant probabilities of the trivariate normal: Sheppard 1899, Plackett 1954)

    best AUC      = 1/2 + (2/pi) asin(rho / sqrt 2)
    best accuracy = 1/2 + asin(rho) / pi

Both are for the sign of the close-to-close return over one bar; other horizons are measured
(``perpwalk.simulate_truth``).

Beyond that, to order (each left out by default, and then not drawn, so the bytes stay the same):

* ``edge_bars`` n: the sign follows ``(s_t + s_(t-1) + ... + s_(t-n+1)) / sqrt(n)``, which is again
  standard normal: the same best AUC, but it takes n bars of volume to know it, and a score goes on
  working for n bars.
* ``regime_ratio``: calm and wild times take turns (a Markov chain with equal shares, each lasting
  ``regime_days`` on average); the mean squared volatility stays what was asked for.
* Jumps: Poisson, ``jumps_per_year``; a bar with one moves ``|N(0, jump_size)|`` further the way it
  goes anyway, so the law of the sign, and with it the best AUC, is untouched.
* ``correlation`` rho: the draws behind signs and sizes are joined by Gaussian copulas with those of
  a market of ``common_seed``, and so is the volatility. Each contract's own law stays as it is. The
  correlation of the returns is lower than rho: ``docs/data.md`` has measured figures.
* ``listed``: the bars before are cut away; ``funding_hours`` and ``premium_sd`` shape the funding.

Every ingredient has its own random stream, drawn in the order of bars and normalised by constants
only, so the **prefix property holds**: a shorter simulation with the same seed equals the start of
a longer one, and the same seed gives the same bytes.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pandas as pd

from perpwalk.config import Simulate
from perpwalk.domain import (
    BarFrame,
    BoolArray,
    DataSource,
    FloatArray,
    FundingFrame,
    IntArray,
    Market,
    from_ns,
    frozen_array,
    to_ns,
)
from perpwalk.errors import ConfigError

BASE_VOLUME = 1000.0
VOLUME_SPREAD = 0.8  # standard deviation of log volume

# Streams are told apart by their place: new ones go to the end.
_STREAMS = ("score", "sign", "size", "volatility", "high", "low", "premium", "regime", "jump")
_HOUR = 3600 * 10**9
_YEAR_HOURS = 365 * 24
_DEGREES = 5.0
_LOG_VOL_SD = 0.4
_LOG_VOL_MEMORY_HOURS = 72.0
_SEASON = 0.5
_SEASON_PEAK_HOUR = 14.0
_PREMIUM_MEMORY_HOURS = 24.0
_PREMIUM_PUSH = 0.01  # share of the past return that stays in the premium
_MARK_SHARE = 0.5
_INTEREST = 1e-4
_CLAMP = 5e-4
_CAP = 7.5e-3
_SMALLEST_MOVE = 1e-7


def best_auc(edge: float) -> float:
    """Return the AUC of the best possible forecast of the next sign.

    >>> round(best_auc(0.2), 6)
    0.590334
    """
    return 0.5 + 2 / math.pi * math.asin(edge / math.sqrt(2))


def best_accuracy(edge: float) -> float:
    """Return the accuracy of the best possible forecast of the next sign.

    >>> round(best_accuracy(0.2), 6)
    0.564094
    """
    return 0.5 + math.asin(edge) / math.pi


def oracle_score(bars: BarFrame) -> FloatArray:
    """Return ``s_t``, all there is to know of the next sign, from a simulated market's volumes."""
    score: FloatArray = np.log(bars.volume / BASE_VOLUME) / VOLUME_SPREAD
    return score


def simulate_market(section: Simulate, *, symbol: str, interval: pd.Timedelta, seed: int) -> Market:
    """Make a market of ``section.bars`` bars with complete funding and mark candles.

    Parameters
    ----------
    section
        Bars, edge, start, first price and annual volatility; its own ``seed`` is not looked at.
    seed
        Same seed, same bytes.

    Returns
    -------
    Market
        ``truth`` holds ``edge``, ``best_auc`` and ``best_accuracy``.

    Raises
    ------
    ConfigError
        The volatility is so large that prices leave the range of numbers.
    """
    draws = _streams(seed)
    opens = _open_times(section, interval)
    # The first `edge_bars` of them precede the first bar.
    score = draws["score"].standard_normal(section.bars + section.edge_bars)
    moves = _moves(section, interval, opens, score, draws)
    bars = _bars(section, symbol, interval, opens, moves, score[section.edge_bars :], draws)
    premium = _premium(section, interval, moves.returns, draws["premium"])
    mark = _mark(bars, premium)
    funding = _funding(bars, mark, premium, section.funding_hours * _HOUR)
    if section.listed is not None:
        bars, mark, funding = _listed(section.listed, bars, mark, funding)
    longer = {} if section.edge_bars == 1 else {"edge_bars": float(section.edge_bars)}
    return Market(
        bars=bars,
        funding=funding,
        mark=mark,
        sources=(_source(bars),),
        truth={
            "edge": section.edge,
            "best_auc": best_auc(section.edge),
            "best_accuracy": best_accuracy(section.edge),
            **longer,
        },
    )


def _listed(
    listed: str, bars: BarFrame, mark: BarFrame, funding: FundingFrame
) -> tuple[BarFrame, BarFrame, FundingFrame]:
    """Cut away what lies before the contract was listed."""
    begin = to_ns(pd.Timestamp(listed))
    first = int(np.searchsorted(to_ns(bars.open_time), begin, side="left"))
    if len(bars) - first < 2:
        raise ConfigError(
            f"{listed} leaves no bar; the market ends at {bars.close_time[-1]}",
            key="market.simulate.listed",
        )
    settled = int(np.searchsorted(to_ns(funding.settle_time), begin, side="right"))
    n = len(bars)
    return bars.rows(first, n), mark.rows(first, n), funding.rows(settled, len(funding))


def _streams(seed: int) -> dict[str, np.random.Generator]:
    children = np.random.SeedSequence(seed).spawn(len(_STREAMS))
    return {
        name: np.random.Generator(np.random.PCG64(child))
        for name, child in zip(_STREAMS, children, strict=True)
    }


def _open_times(section: Simulate, interval: pd.Timedelta) -> IntArray:
    start, step = to_ns(pd.Timestamp(section.start)), to_ns(interval)
    last = start + step * section.bars
    if last > to_ns(pd.Timestamp("2262-01-01T00:00:00Z")):
        raise ConfigError(
            f"{section.bars:,} bars of {interval} from {section.start} end beyond 2262",
            key="market.simulate.bars",
        )
    times: IntArray = start + step * np.arange(section.bars, dtype=np.int64)
    return times


# ── trades ───────────────────────────────────────────────────────────────────────────────────────


class _Moves:
    """Close-to-close log returns and the volatility each was drawn with; both shape (n,)."""

    def __init__(self, returns: FloatArray, sigma: FloatArray) -> None:
        self.returns = returns
        self.sigma = sigma


def _moves(
    section: Simulate,
    interval: pd.Timedelta,
    opens: IntArray,
    score: FloatArray,
    draws: dict[str, np.random.Generator],
) -> _Moves:
    from scipy.special import ndtr  # 0.2 s of import that only a simulation needs

    regimes = draws["regime"] if section.regime_ratio > 1 else None
    sigma = _volatility(section, interval, opens, draws["volatility"], regimes)
    tails = draws["size"].standard_t(_DEGREES, section.bars)
    if section.correlation > 0:
        shared = _streams(section.common_seed)["size"].standard_t(_DEGREES, section.bars)
        tails = _coupled_sizes(tails, shared, section.correlation)
    tails = tails / math.sqrt(_DEGREES / (_DEGREES - 2))
    size = np.maximum(sigma * np.abs(tails), _SMALLEST_MOVE)
    if section.jumps_per_year > 0:
        size = size + _jumps(section, interval, draws["jump"])
    gain = section.edge / math.sqrt(1 - section.edge**2)
    chance = draws["sign"].random(section.bars)
    if section.correlation > 0:
        common = _streams(section.common_seed)["sign"].random(section.bars)
        chance = _coupled(chance, common, section.correlation)
    up: BoolArray = chance < ndtr(gain * _drive(score, section.edge_bars))
    return _Moves(np.where(up, size, -size), sigma)


def _drive(score: FloatArray, bars: int) -> FloatArray:
    """Return what decides the sign of each return: the scores of the bars before it, mixed."""
    if bars == 1:
        return score[:-1]
    total = np.concatenate(([0.0], np.cumsum(score)))
    driving: FloatArray = (total[bars:-1] - total[: -bars - 1]) / math.sqrt(bars)
    return driving


def _coupled(own: FloatArray, common: FloatArray, correlation: float) -> FloatArray:
    """Join uniform draws to common ones by a Gaussian copula; they stay uniform."""
    from scipy.special import ndtr, ndtri

    mixed = math.sqrt(correlation) * ndtri(common) + math.sqrt(1 - correlation) * ndtri(own)
    joined: FloatArray = ndtr(mixed)
    return joined


def _coupled_sizes(own: FloatArray, common: FloatArray, correlation: float) -> FloatArray:
    """Join the magnitudes of Student-t draws in the same way; each keeps its law."""
    from scipy.special import stdtr, stdtrit

    def rank(values: FloatArray) -> FloatArray:
        within: FloatArray = np.clip(2 * stdtr(_DEGREES, np.abs(values)) - 1, 1e-12, 1 - 1e-12)
        return within

    joined: FloatArray = _coupled(rank(own), rank(common), correlation)
    sizes: FloatArray = stdtrit(_DEGREES, (joined + 1) / 2)
    return sizes


def _jumps(section: Simulate, interval: pd.Timedelta, draw: np.random.Generator) -> FloatArray:
    """Return how much further a bar moves for a jump; 0 where there is none."""
    share = section.jumps_per_year * (interval / pd.Timedelta("1h")) / _YEAR_HOURS
    drawn = draw.random((section.bars, 2))  # two of each bar, so that a prefix stays a prefix
    from scipy.special import ndtri

    far: FloatArray = np.abs(ndtri(np.maximum(drawn[:, 1], 1e-300))) * section.jump_size
    return np.where(drawn[:, 0] < -math.expm1(-share), far, 0.0)


def _regimes(section: Simulate, interval: pd.Timedelta, draw: np.random.Generator) -> FloatArray:
    """Return what each bar's volatility is multiplied by; its square is 1 on average."""
    calm = math.sqrt(2 / (1 + section.regime_ratio**2))
    stay = math.exp(-(interval / pd.Timedelta("1D")) / section.regime_days)
    # The first draw says in which regime it begins, the others whether it turns.
    drawn = draw.random(section.bars)
    turns = np.concatenate((drawn[:1] < 0.5, drawn[1:] >= (1 + stay) / 2))
    wild: BoolArray = np.cumsum(turns) % 2 == 1
    return calm * np.where(wild, section.regime_ratio, 1.0)


def _volatility(
    section: Simulate,
    interval: pd.Timedelta,
    opens: IntArray,
    draw: np.random.Generator,
    regimes: np.random.Generator | None,
) -> FloatArray:
    hours = interval / pd.Timedelta("1h")
    base = section.annual_volatility * math.sqrt(hours / _YEAR_HOURS)
    shocks = draw.standard_normal(section.bars)
    if section.correlation > 0:
        shared = _streams(section.common_seed)["volatility"].standard_normal(section.bars)
        rho = section.correlation
        shocks = math.sqrt(rho) * shared + math.sqrt(1 - rho) * shocks
    log_vol = _ar1(shocks, hours / _LOG_VOL_MEMORY_HOURS) * _LOG_VOL_SD
    hour = (opens % (24 * _HOUR)) / _HOUR
    season = 1 + _SEASON * np.cos(2 * math.pi * (hour - _SEASON_PEAK_HOUR) / 24)
    season /= math.sqrt(1 + _SEASON**2 / 2)  # mean square over the day
    sigma: FloatArray = base * season * np.exp(log_vol - _LOG_VOL_SD**2)
    return sigma if regimes is None else sigma * _regimes(section, interval, regimes)


def _ar1(shocks: FloatArray, decay: float) -> FloatArray:
    """Return a stationary AR(1) of unit variance; ``decay`` is one bar in units of its memory."""
    from scipy.signal import lfilter

    keep = math.exp(-decay)
    driven = shocks * math.sqrt(1 - keep**2)
    driven[0] = shocks[0]
    path: FloatArray = lfilter([1.0], [1.0, -keep], driven)
    return path


def _bars(
    section: Simulate,
    symbol: str,
    interval: pd.Timedelta,
    opens: IntArray,
    moves: _Moves,
    score: FloatArray,
    draws: dict[str, np.random.Generator],
) -> BarFrame:
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        levels = section.price * np.exp(np.concatenate(([0.0], np.cumsum(moves.returns))))
        high, low = _extremes(levels[:-1], moves, draws)
    if not (np.isfinite(high).all() and (low > 1e-300).all()):
        raise ConfigError(
            f"a volatility of {section.annual_volatility:g} over {section.bars:,} bars drives the "
            "price out of the range of numbers; choose a smaller one",
            key="market.simulate.annual_volatility",
        )
    close = levels[1:]
    return BarFrame(
        symbol=symbol,
        interval=interval,
        open_time=from_ns(opens),
        open=frozen_array(levels[:-1]),
        high=frozen_array(np.maximum(high, np.maximum(levels[:-1], close))),
        low=frozen_array(np.minimum(low, np.minimum(levels[:-1], close))),
        close=frozen_array(close),
        volume=frozen_array(BASE_VOLUME * np.exp(VOLUME_SPREAD * score)),
        filled=frozen_array(np.zeros(section.bars), np.bool_),
    )


def _extremes(
    first: FloatArray, moves: _Moves, draws: dict[str, np.random.Generator]
) -> tuple[FloatArray, FloatArray]:
    """Draw high and low of a Brownian bridge from 0 to the bar's return, each by its exact law.

    ``P(max <= m) = 1 - exp(-2 m (m - r) / sigma^2)`` for ``m >= max(0, r)``, inverted at a uniform
    draw (Borodin and Salminen 2002, 1.2.8); high and low are drawn independently of each other.
    """
    r, variance = moves.returns, moves.sigma**2

    def reach(stream: str, end: FloatArray) -> FloatArray:
        uniform = 1.0 - draws[stream].random(len(end))  # in (0, 1]: its logarithm is finite
        far: FloatArray = (end + np.sqrt(end**2 - 2 * variance * np.log(uniform))) / 2
        return far

    high: FloatArray = first * np.exp(reach("high", r))
    low: FloatArray = first * np.exp(-reach("low", -r))
    return high, low


# ── premium, mark, funding ───────────────────────────────────────────────────────────────────────


def _premium(
    section: Simulate, interval: pd.Timedelta, returns: FloatArray, draw: np.random.Generator
) -> FloatArray:
    """Return the premium at each close, shape (n,): mean reverting, pushed by past returns."""
    from scipy.signal import lfilter

    decay = (interval / pd.Timedelta("1h")) / _PREMIUM_MEMORY_HOURS
    noise = section.premium_sd * _ar1(draw.standard_normal(len(returns)), decay)
    pushed = lfilter([_PREMIUM_PUSH], [1.0, -math.exp(-decay)], returns)
    premium: FloatArray = np.clip(noise + pushed, -0.02, 0.02)
    return premium


def _mark(bars: BarFrame, premium: FloatArray) -> BarFrame:
    """Return mark candles: the trades less half the premium, which changes only at closes."""
    discount = np.exp(-_MARK_SHARE * np.concatenate(([0.0], premium)))
    first, last = bars.open * discount[:-1], bars.close * discount[1:]
    highest = np.maximum(bars.high * discount[:-1], np.maximum(first, last))
    lowest = np.minimum(bars.low * discount[:-1], np.minimum(first, last))
    return BarFrame(
        symbol=bars.symbol,
        interval=bars.interval,
        open_time=bars.open_time,
        open=frozen_array(first),
        high=frozen_array(highest),
        low=frozen_array(lowest),
        close=frozen_array(last),
        volume=frozen_array(np.zeros(len(bars))),
        filled=bars.filled,
    )


def _funding(bars: BarFrame, mark: BarFrame, premium: FloatArray, every: int) -> FundingFrame:
    """Settle at each multiple of ``every`` on the mean premium of the bars closed since the last.

    Interest of 0.01 % is for 8 h; a shorter interval bears its share of it and of the premium.
    """
    closes = to_ns(bars.close_time)
    begin, end = to_ns(bars.open_time[0]), int(closes[-1])
    stamps = every * np.arange(begin // every + 1, end // every + 1, dtype=np.int64)
    stop = np.searchsorted(closes, stamps, side="right")
    start = np.searchsorted(closes, stamps - every, side="right")
    start = np.where(start == stop, np.maximum(stop - 1, 0), start)  # bars longer than 8 h
    total = np.concatenate(([0.0], np.cumsum(premium)))
    mean = (total[stop] - total[start]) / np.maximum(stop - start, 1)
    rate = (mean + np.clip(_INTEREST - mean, -_CLAMP, _CLAMP)) * (every / (8 * _HOUR))
    ended = np.maximum(stop - 1, 0)
    return FundingFrame.of(
        from_ns(stamps),
        np.round(np.clip(rate, -_CAP, _CAP), 8),  # exchanges publish eight decimals
        np.where(closes[ended] == stamps, mark.close[ended], np.nan),
        symbol=bars.symbol,
    )


def _source(bars: BarFrame) -> DataSource:
    columns = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    digest = hashlib.sha256(to_ns(bars.open_time).tobytes())
    for column in columns:
        digest.update(column.tobytes())
    return DataSource(
        kind="simulated",
        path="perpwalk.simulate",
        file_format="simulated",
        rows=len(bars),
        first=bars.open_time[0].isoformat().replace("+00:00", "Z"),
        last=bars.open_time[-1].isoformat().replace("+00:00", "Z"),
        sha256=digest.hexdigest(),
    )
