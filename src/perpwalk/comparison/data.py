"""What a comparison needs of each variant, and the decisions and bars that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd

from perpwalk import returns as growth
from perpwalk.comparison.stamps import Stamps
from perpwalk.costs import equity_before
from perpwalk.domain import BoolArray, FloatArray, IntArray, from_ns, to_ns
from perpwalk.errors import UsageError
from perpwalk.ledger import holding_price, settled_per_unit
from perpwalk.metrics import Scored

SEVERAL = "+"  # between the contracts of one account


@dataclass(frozen=True, eq=False, kw_only=True)
class Bars:
    """Net returns per bar of one account, and what they came from; columns of shape (m,).

    ``price`` is the contract's, or what one unit of money in equal parts of several became;
    ``carry`` is what holding one unit of it through the bar paid in funding, in quote currency.
    ``parts`` holds per-bar sums that add up over any set of bars (fees, funding, slippage, trades)
    and ``exposure`` and ``turnover``, which average.
    """

    close_time: pd.DatetimeIndex
    returns: FloatArray
    price: FloatArray
    carry: FloatArray
    parts: Mapping[str, FloatArray] = field(default_factory=dict)

    @classmethod
    def of(cls, equity: pd.DataFrame, settlements: pd.DataFrame, trade_ends: pd.Series) -> Bars:
        """Read an equity table, its market's settlements and when trades ended (NaT: open).

        Of several contracts the table itself knows what holding all of them paid.
        """
        values = equity["equity"].to_numpy(dtype=float)
        before = np.concatenate([[equity_before(equity)], values[:-1]])
        alive = before > 0
        closes = pd.DatetimeIndex(equity["close_time"])
        ends = _bar_of(pd.DatetimeIndex(trade_ends.dropna()), closes)
        if "basket" in equity:
            carry = -equity["basket_funding"].to_numpy(dtype=float)
        else:
            carry = settled_per_unit(settlements, to_ns(closes))
        traded = equity["traded_notional"].to_numpy(dtype=float)
        return cls(
            close_time=closes,
            returns=growth.equity_returns(float(before[0]), values),
            price=holding_price(equity).to_numpy(dtype=float),
            carry=carry,
            parts={
                "fees": equity["fee"].to_numpy(dtype=float),
                "funding": equity["funding"].to_numpy(dtype=float),
                "slippage": equity["slippage"].to_numpy(dtype=float),
                "trades": np.bincount(ends, minlength=len(values) + 1)[:-1].astype(float),
                "exposure": np.abs(equity["exposure"].to_numpy(dtype=float)),
                "turnover": np.where(alive, traded / np.where(alive, before, 1.0), 0.0),
            },
        )


def _bar_of(stamps: pd.DatetimeIndex, closes: pd.DatetimeIndex) -> IntArray:
    """Return the bar each stamp falls in, (close before, close]; len(closes) where in none."""
    rows: IntArray = np.searchsorted(to_ns(closes), to_ns(stamps), side="left")
    return rows


@dataclass(frozen=True, eq=False, kw_only=True)
class Variant:
    """One variant as it enters a comparison.

    Attributes
    ----------
    name
        Unique among the variants.
    symbol, interval, horizon
        What is traded (several contracts joined by ``SEVERAL``, in order of name), the length of a
        bar, how many bars ahead a label looks.
    scored
        Its test decisions with a label; None where it has none to show.
    bars
        Its account; None where there is none.
    persistence
        What "the last move goes on" would have called at each of ``scored``; True is up.
    taker_fee
        What a market order costs, a fraction of notional: holding pays it once.
    diagnosis
        Why it takes no part; None for one that does.
    facts
        Plain texts for the table: verdict, model, strategy, source, run, config_hash.
    changes
        Configuration keys in which the variants differ, with this one's values.
    added
        What each of several contracts added to the account's return over all of its bars.
    """

    name: str
    symbol: str
    interval: pd.Timedelta
    horizon: int
    scored: Scored | None
    bars: Bars | None
    persistence: BoolArray | None = None
    taker_fee: float = 0.0
    diagnosis: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, str] = field(default_factory=dict)
    added: Mapping[str, float] = field(default_factory=dict)

    @property
    def takes_part(self) -> bool:
        """Whether it is compared at all."""
        return self.diagnosis is None and self.scored is not None and self.bars is not None


@dataclass(frozen=True, eq=False, kw_only=True)
class Common:
    """The decisions and bars that all compared variants have.

    Attributes
    ----------
    close_time
        Common decisions in order of time, shape (n,).
    contracts, contract
        Names of the contracts of one account, where there are several, and which of them each
        decision is on, shape (n,).
    up, p_up, hits
        What came, the forecast, whether the call was right; shape (n, variants).
    same_labels
        Whether all variants were asked the same of these decisions: only then are their calls
        compared with each other.
    persistence
        Hits of the rule "the last move goes on", shape (n,); None where nobody knows.
    bar_time, returns, price
        Common bars, shape (m,), (m, variants), (m,).
    hold
        Net return per bar of buying at the first common close and holding, shape (m,).
    parts
        Per-bar sums of each variant, shape (m, variants) each.
    dropped_decisions, dropped_bars
        What each variant has beyond the common set, shape (variants,).
    added
        What each of several contracts added to each variant's return, shape (variants,); nothing
        where a variant has further bars, in which it may have been added.
    """

    names: tuple[str, ...]
    interval: pd.Timedelta
    horizon: int | None
    close_time: pd.DatetimeIndex
    up: BoolArray
    p_up: FloatArray
    hits: BoolArray
    same_labels: bool
    persistence: BoolArray | None
    bar_time: pd.DatetimeIndex
    returns: FloatArray
    price: FloatArray
    hold: FloatArray
    parts: Mapping[str, FloatArray]
    dropped_decisions: IntArray
    dropped_bars: IntArray
    contract: IntArray
    contracts: tuple[str, ...] = ()
    added: Mapping[str, FloatArray] = field(default_factory=dict)

    @cached_property
    def stamps(self) -> Stamps:
        """The stamps that decisions on several contracts share."""
        return Stamps.of(self.close_time)

    @property
    def overlap(self) -> int:
        """The longest horizon, for block lengths."""
        return self.horizon if self.horizon is not None else 1

    def column(self, name: str) -> int:
        """Return the column of a variant."""
        return self.names.index(name)


def common_set(variants: Sequence[Variant]) -> Common:
    """Restrict variants to the decisions and bars all of them have.

    Raises
    ------
    UsageError
        U008: another market or bar length, or no decision or no bar in common.
    """
    refuse_unlike([(v.name, v.symbol, v.interval) for v in variants])
    scored = [v.scored for v in variants if v.scored is not None]
    bars = [v.bars for v in variants if v.bars is not None]
    known = _Decisions.of(scored)
    decisions = _shared(known.keys)
    times = [to_ns(one.close_time) for one in bars]
    stamps = _shared(times)
    if len(decisions) == 0 or len(stamps) == 0:
        raise UsageError(_nothing_shared(variants))
    rows = [_where(decisions, keys) for keys in known.keys]
    at = [_where(stamps, one) for one in times]
    # What holding several contracts was worth counts from a variant's first bar: take the one whose
    # first bar is the first of all common ones. Of one contract all variants tell the same.
    held = max(range(len(bars)), key=lambda k: int(times[k][0]))
    up = np.column_stack([one.up[r] for one, r in zip(scored, rows, strict=True)])
    horizons = {v.horizon for v in variants}
    return Common(
        names=tuple(v.name for v in variants),
        interval=variants[0].interval,
        horizon=horizons.pop() if len(horizons) == 1 else None,
        close_time=known.close_time(decisions),
        contract=known.contract(decisions),
        contracts=known.contracts,
        up=up,
        p_up=np.column_stack([one.p_up[r] for one, r in zip(scored, rows, strict=True)]),
        hits=np.column_stack([one.hits[r] for one, r in zip(scored, rows, strict=True)]),
        same_labels=len({v.horizon for v in variants}) == 1 and bool((up == up[:, :1]).all()),
        persistence=_persistence(variants[0], rows[0]),
        bar_time=from_ns(stamps),
        returns=np.column_stack([one.returns[r] for one, r in zip(bars, at, strict=True)]),
        price=bars[held].price[at[held]],
        hold=holding(bars[held].price[at[held]], bars[held].carry[at[held]], variants[0].taker_fee),
        parts={
            name: np.column_stack([one.parts[name][r] for one, r in zip(bars, at, strict=True)])
            for name in bars[0].parts
        },
        dropped_decisions=np.array([len(one) - len(decisions) for one in scored]),
        dropped_bars=(dropped := np.array([len(one) - len(stamps) for one in times])),
        added={
            name: np.array([v.added.get(name, np.nan) for v in variants])
            for name in (() if dropped.any() else known.contracts)
        },
    )


def _persistence(variant: Variant, rows: IntArray) -> BoolArray | None:
    if variant.persistence is None or variant.scored is None:
        return None
    return np.equal(variant.persistence[rows], variant.scored.up[rows])


def holding(price: FloatArray, carry: FloatArray, taker_fee: float) -> FloatArray:
    """Return net returns per bar of buying with all equity at the first close and keeping it.

    The contract, or all of several in equal parts. One fee at entry, funding like everyone else,
    leverage 1, nothing sold at the end.
    """
    quantity = 1 / price[0]
    paid = np.concatenate([[0.0], np.cumsum(carry[1:])])
    equity = 1 - taker_fee + quantity * (price - price[0] - paid)
    return growth.equity_returns(1.0, equity)


def refuse_unlike(traded: Sequence[tuple[str, str, pd.Timedelta]]) -> None:
    """Refuse variants, each with what it trades and its bars, that are not of one market.

    Raises
    ------
    UsageError
        U008: one trades other contracts, or has bars of another length.
    """
    (name, *facts), *others = traded
    for other, *theirs in others:
        for what, one, two in zip(("trade", "have bars of"), facts, theirs, strict=True):
            if one == two:
                continue
            several = SEVERAL in f"{one}{two}"
            why = "their accounts hold other contracts" if several else "they share no decision"
            of = "the same contracts" if several else "one market"
            raise UsageError(
                f"U008: {name} and {other} {what} {one} and {two}: {why}; compare variants of "
                f"{of} and bar length"
            )


@dataclass(frozen=True, eq=False)
class _Decisions:
    """A number for every contract and stamp, in order of time, that all variants give it alike.

    ``keys`` holds each variant's, ``width`` numbers to a stamp; ``times`` all stamps that any
    variant has, in nanoseconds.
    """

    times: IntArray
    contracts: tuple[str, ...]
    width: int
    keys: list[IntArray]

    @classmethod
    def of(cls, scored: Sequence[Scored]) -> _Decisions:
        """Give numbers to the decisions of variants of the same contracts."""
        stamps = [to_ns(one.close_time) for one in scored]
        times: IntArray = np.unique(np.concatenate(stamps))
        named = [one.symbol for one in scored if one.symbol is not None]
        names = np.unique(np.concatenate(named)) if named else np.array([], dtype=np.str_)
        width = max(1, len(names))
        keys: list[IntArray] = [
            np.searchsorted(times, stamp) * width
            + (0 if one.symbol is None else np.searchsorted(names, one.symbol))
            for one, stamp in zip(scored, stamps, strict=True)
        ]
        return cls(times, tuple(names.tolist()), width, keys)

    def close_time(self, keys: IntArray) -> pd.DatetimeIndex:
        """Return the stamps of some decisions."""
        return from_ns(self.times[keys // self.width])

    def contract(self, keys: IntArray) -> IntArray:
        """Return which contract each of some decisions is on."""
        found: IntArray = keys % self.width
        return found


def _shared(keys: Sequence[IntArray]) -> IntArray:
    found: IntArray = np.sort(keys[0])
    for other in keys[1:]:
        found = np.intersect1d(found, other, assume_unique=True)
    return found


def _where(wanted: IntArray, among: IntArray) -> IntArray:
    """Return the rows of ``wanted`` among numbers in any order."""
    order = np.argsort(among, kind="stable")
    rows: IntArray = order[np.searchsorted(among[order], wanted)]
    return rows


def _nothing_shared(variants: Sequence[Variant]) -> str:
    spans = "; ".join(f"{v.name}: {_span(v)}" for v in variants[:6])
    more = f"; and {len(variants) - 6} more" if len(variants) > 6 else ""
    return (
        "U008: the variants have no test decision in common, so there is nothing to compare "
        f"({spans}{more}); compare variants whose test spans overlap"
    )


def _span(variant: Variant) -> str:
    scored = variant.scored
    if scored is None or len(scored) == 0:
        return "no decision"
    return f"{scored.close_time[0]:%Y-%m-%d} … {scored.close_time[-1]:%Y-%m-%d}"
