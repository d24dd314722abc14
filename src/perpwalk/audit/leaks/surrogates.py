"""Markets made from a market: another future, no edge, a known edge, or simply less of it.

All of them keep the calendar (every stamp stays where it is) and are functions of their arguments:
the same seed gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from perpwalk.domain import (
    BarFrame,
    BoolArray,
    FloatArray,
    FundingFrame,
    Market,
    frozen_array,
    to_ns,
)

Kind = Literal["noise", "wild", "flat"]

# What the replaced future is like, as a factor on the size of its moves. "flat" is not exactly
# constant: without any move there is no label, and no later fold could be fitted at all.
FACTOR: dict[Kind, float] = {"noise": 1.0, "wild": 10.0, "flat": 1e-4}
VOLUME_SPREAD = 0.8
_FUNDING_ECHO = 0.7  # correlation of a surrogate rate with the return it settles on
_LEAST_FUNDING_SD = 2e-5


@dataclass(frozen=True, eq=False)
class _Shape:
    """Bars as log distances from the close before; each of shape (n,)."""

    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray

    @classmethod
    def of(cls, bars: BarFrame) -> _Shape:
        before = np.concatenate([bars.open[:1], bars.close[:-1]])
        return cls(*(np.log(x / before) for x in (bars.open, bars.high, bars.low, bars.close)))

    def take(self, rows: np.ndarray) -> _Shape:
        return _Shape(self.open[rows], self.high[rows], self.low[rows], self.close[rows])

    def times(self, factor: float) -> _Shape:
        return _Shape(*(factor * x for x in (self.open, self.high, self.low, self.close)))

    def mirrored(self, flip: BoolArray) -> _Shape:
        """Turn the chosen bars upside down around the close before: their low becomes a high."""
        return _Shape(
            open=np.where(flip, -self.open, self.open),
            high=np.where(flip, -self.low, self.high),
            low=np.where(flip, -self.high, self.low),
            close=np.where(flip, -self.close, self.close),
        )

    def from_price(self, price: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Return open, high, low, close of the path that continues from ``price``."""
        path = np.cumsum(self.close)
        before = np.concatenate([[0.0], path[:-1]])
        o, h, low, c = (
            price * np.exp(x)
            for x in (before + self.open, before + self.high, before + self.low, path)
        )
        # The same number by two routes may differ in its last bit; a bar's range must hold.
        return o, np.maximum(h, np.maximum(o, c)), np.minimum(low, np.minimum(o, c)), c


def truncated(market: Market, stop: int) -> Market:
    """Return what is known at the close of bar ``stop - 1``: its bars, and settlements until then.

    Examples
    --------
    >>> from perpwalk.config import Simulate
    >>> from perpwalk.simulate import simulate_market
    >>> import pandas as pd
    >>> market = simulate_market(
    ...     Simulate(bars=200), symbol="X", interval=pd.Timedelta("1h"), seed=1)
    >>> part = truncated(market, 16)
    >>> len(part.bars), len(part.funding)
    (16, 2)
    """
    end = market.bars.close_time[stop - 1]
    settled = int(market.funding.settle_time.searchsorted(end, side="right"))
    return replace(
        market,
        bars=market.bars.rows(0, stop),
        mark=None if market.mark is None else market.mark.rows(0, stop),
        funding=market.funding.rows(0, settled),
    )


def without_start(market: Market, first: int) -> Market:
    """Return the market from bar ``first`` on, with the settlements since then."""
    begin = market.bars.open_time[first]
    settled = int(market.funding.settle_time.searchsorted(begin, side="right"))
    stop = len(market.bars)
    return replace(
        market,
        bars=market.bars.rows(first, stop),
        mark=None if market.mark is None else market.mark.rows(first, stop),
        funding=market.funding.rows(settled, len(market.funding)),
    )


def perturbed(market: Market, row: int, kind: Kind, seed: int, *, gap: float = 0.0) -> Market:
    """Replace everything after bar ``row`` by a fresh random path that continues from its close.

    Bars are drawn from the market's own with a random sign each, their moves scaled by
    ``FACTOR[kind]``; settlements with later stamps get other rates, mark candles follow.

    Parameters
    ----------
    row
        Last bar that stays; everything known at its close stays bit for bit.
    gap
        Log distance between its close and the next open, added to the path.
    """
    bars = market.bars
    draw = np.random.default_rng([seed, row, list(FACTOR).index(kind)])
    later = len(bars) - row - 1
    if later == 0:
        return market
    donors = draw.integers(0, len(bars), later)
    shape = _Shape.of(bars).take(donors).times(FACTOR[kind]).mirrored(draw.random(later) < 0.5)
    o, h, low, c = shape.from_price(float(bars.close[row]) * math.exp(gap))
    volume = bars.volume[donors] * np.exp(0.3 * draw.standard_normal(later))
    changed = _with_tail(bars, row + 1, o, h, low, c, volume)
    return replace(
        market,
        bars=changed,
        mark=_mark_tail(market, changed, row + 1, donors),
        funding=_funding_tail(market, changed, row, draw),
    )


def sign_flipped(market: Market, seed: int, flip: BoolArray | None = None) -> Market:
    """Return the null market: the size of every move kept, its sign drawn by a fair coin.

    A bar that is flipped is mirrored around the close before. Volume and volatility stay, so that
    whatever they tell about size is still there, and nothing tells about direction. Rates are
    drawn anew so that they answer to the new past, as funding does.

    Parameters
    ----------
    flip
        The coins, one per bar, where they have fallen already.
    """
    draw = np.random.default_rng([seed, 4])
    if flip is None:
        flip = _coins(draw, len(market.bars))
    return _resigned(market, flip, market.bars.volume, draw)


def sign_flipped_together(markets: Sequence[Market], seed: int) -> list[Market]:
    """Return null markets with one coin for each stamp: what moves together stays together."""
    closes = [to_ns(market.bars.close_time) for market in markets]
    stamps = np.unique(np.concatenate(closes))
    flips = _coins(np.random.default_rng([seed, 8]), len(stamps))
    return [
        sign_flipped(market, seed + place, flips[np.searchsorted(stamps, own)])
        for place, (market, own) in enumerate(zip(markets, closes, strict=True))
    ]


def _coins(draw: np.random.Generator, count: int) -> BoolArray:
    fallen: BoolArray = draw.random(count) < 0.5
    return fallen


def planted(
    market: Market, seed: int, edge: float, memory: float = 0.0
) -> tuple[Market, FloatArray]:
    """Return a market whose next sign is known with a given edge, and the score that knows it.

    Bar t + 1 is up with probability ``Phi(g s_t)``, ``g = edge / sqrt(1 - edge^2)``, and the score
    ``s_t`` is seen in ``volume_t = median volume * exp(0.8 s_t)``. With independent scores the best
    AUC for the next bar is ``1/2 + (2/pi) asin(edge / sqrt 2)``, whatever the sizes.

    Parameters
    ----------
    memory
        Bars over which the scores forget: 0 for independent ones; for labels that look several
        bars ahead, about as many, or there would be next to nothing to find.

    Returns
    -------
    Market
    FloatArray
        ``s_t``, shape (n,).
    """
    from scipy.special import ndtr

    draw = np.random.default_rng([seed, 5])
    score = _scores(draw, len(market.bars), memory)
    gain = edge / math.sqrt(1 - edge**2)
    last = np.concatenate([[0.0], score[:-1]])
    up: BoolArray = draw.random(len(score)) < ndtr(gain * last)
    moved_up = _Shape.of(market.bars).close > 0
    volume = float(np.median(market.bars.volume)) or 1.0
    made = _resigned(market, up != moved_up, volume * np.exp(VOLUME_SPREAD * score), draw)
    return made, score


def _scores(draw: np.random.Generator, bars: int, memory: float) -> FloatArray:
    shocks = draw.standard_normal(bars)
    if memory <= 0:
        return shocks
    from scipy.signal import lfilter

    keep = math.exp(-1 / memory)
    driven = shocks * math.sqrt(1 - keep**2)
    driven[0] = shocks[0]
    path: FloatArray = lfilter([1.0], [1.0, -keep], driven)
    return path


# ── putting bars, mark and funding together again ────────────────────────────────────────────────


def _resigned(
    market: Market, flip: BoolArray, volume: FloatArray, draw: np.random.Generator
) -> Market:
    bars = market.bars
    o, h, low, c = _Shape.of(bars).mirrored(flip).from_price(float(bars.open[0]))
    changed = _with_tail(bars, 0, o, h, low, c, volume)
    return replace(
        market,
        bars=changed,
        mark=_mark_tail(market, changed, 0, np.arange(len(bars))),
        funding=_echoing_funding(market.funding, changed, draw),
        truth={},
    )


def _with_tail(
    bars: BarFrame,
    start: int,
    o: FloatArray,
    h: FloatArray,
    low: FloatArray,
    c: FloatArray,
    volume: FloatArray,
) -> BarFrame:
    def joined(name: str, tail: FloatArray) -> FloatArray:
        return frozen_array(np.concatenate([getattr(bars, name)[:start], tail]))

    return replace(
        bars,
        open=joined("open", o),
        high=joined("high", h),
        low=joined("low", low),
        close=joined("close", c),
        volume=joined("volume", volume),
    )


def _mark_tail(
    market: Market, changed: BarFrame, start: int, donors: np.ndarray
) -> BarFrame | None:
    """Let mark candles keep the distance to trades that their donor had."""
    mark = market.mark
    if mark is None:
        return None
    discount = (mark.close / market.bars.close)[donors]
    o, h, low, c = (
        getattr(changed, name)[start:] * discount for name in ("open", "high", "low", "close")
    )
    return _with_tail(mark, start, o, h, low, c, np.zeros(len(donors)))


def _funding_tail(
    market: Market, changed: BarFrame, row: int, draw: np.random.Generator
) -> FundingFrame:
    """Give every settlement after the close of ``row`` another rate and mark price."""
    funding = market.funding
    later = np.asarray(funding.settle_time > market.bars.close_time[row])
    if not later.any():
        return funding
    spread = _spread(funding.rate)
    fresh = draw.choice(funding.rate, len(funding)) + spread * draw.standard_normal(len(funding))
    return replace(
        funding,
        rate=frozen_array(np.where(later, fresh, funding.rate)),
        mark_price=frozen_array(np.where(later, _price_at(funding, changed), funding.mark_price)),
    )


def _echoing_funding(
    funding: FundingFrame, bars: BarFrame, draw: np.random.Generator
) -> FundingFrame:
    """Draw rates that answer to the return since the settlement before: mean and spread kept."""
    if len(funding) == 0:
        return funding
    price = np.log(_price_at(funding, bars))
    moved = np.diff(price, prepend=math.log(float(bars.open[0])))
    pushed = moved / max(float(moved.std()), 1e-12)
    noise = draw.standard_normal(len(funding))
    mixed = _FUNDING_ECHO * pushed + math.sqrt(1 - _FUNDING_ECHO**2) * noise
    rate = float(np.mean(funding.rate)) + _spread(funding.rate) * mixed
    return replace(
        funding,
        rate=frozen_array(rate),
        mark_price=frozen_array(
            np.where(np.isfinite(funding.mark_price), np.exp(price), funding.mark_price)
        ),
    )


def _spread(rate: FloatArray) -> float:
    return max(float(np.std(rate)), _LEAST_FUNDING_SD)


def _price_at(funding: FundingFrame, bars: BarFrame) -> FloatArray:
    """Return the last close known at each settlement; the first open before any close."""
    at = np.searchsorted(to_ns(bars.close_time), to_ns(funding.settle_time), side="right") - 1
    price: FloatArray = np.where(at >= 0, bars.close[np.maximum(at, 0)], bars.open[0])
    return price
