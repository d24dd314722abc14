"""Generated markets, settings and targets that try to break an account.

Prices jump and gap, bars are missing, made up or without volume, settlements come jittered, at any
hour, several to a bar and with either sign, and targets ask for more than margin allows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from perpwalk.config import BrokerSection, ContractSection, SlippageSection, TierSection
from perpwalk.domain import BarFrame, FundingFrame, Market
from perpwalk.ledger import Ledger
from perpwalk.recompute import recompute, target_table

START = pd.Timestamp("2024-03-01T00:00:00Z")


@dataclass(frozen=True)
class Scenario:
    """One market, the account's settings, and the targets by bar."""

    market: Market
    targets: dict[int, float]
    broker: BrokerSection

    def ledger(self, **changes: object) -> Ledger:
        """Recompute it, with settings of the account changed."""
        broker = self.broker.model_copy(update=changes)
        return recompute(self.market, target_table(self.market, self.targets), broker)

    def __repr__(self) -> str:
        """Show what is needed to see a failing scenario."""
        bars, funding = self.market.bars, self.market.funding
        frame = bars.to_frame().assign(filled=bars.filled)
        rates = pd.DataFrame({"rate": funding.rate, "mark": funding.mark_price})
        rates.index = funding.settle_time
        mark = "" if self.market.mark is None else f"\nmark\n{self.market.mark.to_frame()}"
        return f"{frame.to_string()}{mark}\n{rates.to_string()}\n{self.targets}\n{self.broker!r}"


# ── bars ─────────────────────────────────────────────────────────────────────────────────────────

PERMILLE = (0, 0, 1, -1, 3, -3, 8, -8, 20, -20, 60, -60, 150, -150, 400, -350)
WICK = (0, 0, 1, 4, 15, 50, 200)
VOLUME = (1, 0, 0.01, 0.3, 1, 5, 1000)  # in initial accounts' worth
ODDITY = ("",) * 12 + ("filled", "missing")


def choice(*options: Sequence[object]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Draw one of each of ``options`` by a single integer: far cheaper than a draw for each."""
    size = math.prod(len(values) for values in options)

    def decode(code: int) -> tuple[object, ...]:
        picked = []
        for values in options:
            code, rest = divmod(code, len(values))
            picked.append(values[rest])
        return tuple(picked)

    return st.integers(0, size - 1).map(decode)


KINDS = choice(PERMILLE, PERMILLE, WICK, WICK, VOLUME, ODDITY)


@st.composite
def _bars(draw: st.DrawFn, cash: float) -> BarFrame:
    interval = pd.Timedelta(draw(st.sampled_from(("1h", "1h", "4h", "15min"))))
    price = draw(st.sampled_from((0.0831, 3.5, 100.0, 2345.67, 61000.5)))
    unit = cash / price
    rows, times, filled = [], [], []
    time = START
    for gap, move, up, down, volume, oddity in draw(st.lists(KINDS, min_size=5, max_size=20)):
        if oddity == "filled":
            rows.append((price, price, price, price, 0.0))
        else:
            opened = price * (1 + gap / 1000)
            price = round(opened * (1 + move / 1000), 6)
            high = max(opened, price) * (1 + up / 1000)
            low = min(opened, price) * (1 - down / 1000)
            rows.append((opened, high, low, price, volume * unit))
        time += interval * (3 if oddity == "missing" else 1)
        times.append(time)
        filled.append(oddity == "filled")
    columns = ["open", "high", "low", "close", "volume"]
    frame = pd.DataFrame(rows, columns=columns, index=pd.DatetimeIndex(times))
    return BarFrame.of(frame, symbol="TESTUSDT", interval=interval, filled=filled)


MARK = choice((0, 2, -2, 10, -10))  # per mille from the trade price


@st.composite
def _mark(draw: st.DrawFn, bars: BarFrame) -> BarFrame | None:
    if not draw(st.booleans()):
        return None
    shift = np.array(draw(st.lists(MARK, min_size=len(bars), max_size=len(bars))))[:, 0] / 1000
    frame = bars.to_frame().mul(1 + shift, axis=0).assign(volume=0.0)
    return BarFrame.of(frame, symbol=bars.symbol, interval=bars.interval)


RATE = (0.0, 0.0001, 0.0001, -0.0002, 0.0005, 0.003, -0.004, 0.02, -0.03)
JITTER = (0, 0, 0, 7, -12, 850, -900, 20_000, -25_000)  # milliseconds
SETTLEMENT = choice(RATE, JITTER, (None, None, 0.99, 1.01), (1,) * 9 + (2,))


@st.composite
def _funding(draw: st.DrawFn, bars: BarFrame) -> FundingFrame:
    """Settlements every 15 minutes to 8 hours from before the first bar to past the last."""
    every = pd.Timedelta(draw(st.sampled_from(("8h", "4h", "1h", "30min", "15min"))))
    span = bars.close_time[-1] + every - bars.open_time[0]
    count = min(int(span / every) + 1, 40)
    first = bars.open_time[0].floor("8h")
    stamps, rates, marks = [], [], []
    drawn = draw(st.lists(SETTLEMENT, min_size=count, max_size=count))
    for k, (rate, jitter, own, times) in enumerate(drawn):
        for twin in range(times):  # a record delivered twice, some seconds apart
            late = pd.Timedelta(milliseconds=jitter + 3_000 * twin)
            stamps.append(first + every * k + late)
            rates.append(rate - 0.001 * twin)
            marks.append(np.nan if own is None else own * bars.close[0])
    order = np.argsort(pd.DatetimeIndex(stamps))
    return FundingFrame.of(
        pd.DatetimeIndex(stamps)[order],
        np.array(rates)[order],
        np.array(marks)[order],
        symbol=bars.symbol,
    )


# ── settings and targets ─────────────────────────────────────────────────────────────────────────

SLIPPAGE = st.builds(
    SlippageSection,
    kind=st.sampled_from(("none", "fixed", "spread_range", "square_root")),
    bps=st.sampled_from((0.0, 1.0, 40.0)),
    range_share=st.sampled_from((0.0, 0.05, 1.0)),
    impact=st.sampled_from((0.1, 0.5, 3.0)),
)


@st.composite
def _tiers(draw: st.DrawFn) -> tuple[TierSection, ...]:
    """Tables that are continuous, as exchanges publish them, or (rarely) jump."""
    floors = (0.0, 2_000.0, 9_000.0, 40_000.0)[: draw(st.integers(1, 4))]
    rates = (0.004, 0.01, 0.03, 0.1)
    leverages = draw(st.sampled_from(((125, 50, 20, 5), (125, 125, 125, 125), (10, 5, 3, 1))))
    jumps = draw(st.sampled_from((False, False, True)))
    rows, amount = [], 0.0
    for k, floor in enumerate(floors):
        amount += floor * (rates[k] - rates[k - 1]) if k else 0.0
        rows.append(
            TierSection(
                notional_floor=floor,
                maintenance_rate=rates[k],
                maintenance_amount=0.0 if jumps else amount,
                max_leverage=leverages[k],
            )
        )
    return tuple(rows)


BROKER = st.builds(
    BrokerSection,
    # No round sum: what rounding is forgiven must not fall on a sum of lots, ticks and fees.
    cash=st.just(10_007.31),
    leverage=st.sampled_from((1.0, 1.0, 1.5, 2.0, 5.0, 10.0, 25.0, 125.0)),
    margin=st.sampled_from(("isolated", "isolated", "cross")),
    taker_fee=st.sampled_from((0.0, 0.0002, 0.0005, 0.01)),
    liquidation_fee=st.sampled_from((0.0, 0.005, 0.02)),
    tick_size=st.sampled_from((0.0, 0.0, 0.0, 0.01)),
    lot_size=st.sampled_from((0.001, 0.001, 0.01, 0.1, 1.0, 0.0)),
    min_notional=st.sampled_from((0.0, 5.0, 5.0, 800.0)),
    slippage=SLIPPAGE,
    volume_share=st.sampled_from((None, None, 0.1, 1.0)),
    tiers=_tiers(),
)
CONTRACT = st.builds(
    ContractSection,
    lot_size=st.sampled_from((None, None, 0.001, 0.1, 1.0, 0.0)),
    min_notional=st.sampled_from((None, None, 0.0, 100.0)),
    tiers=st.none() | _tiers(),
)
SHARE = (0, 0, 0.0004, 0.1, 0.3, 0.5, 0.9, 0.99, 1.0, 1.5, -0.2, -0.5, -0.9, -1, -2)
DECISION = choice(SHARE, (True, False, False))


@st.composite
def scenarios(draw: st.DrawFn, *, cheap: bool = False) -> Scenario:
    """Draw a scenario; ``cheap`` ones have no costs, no funding and carry every target."""
    broker = draw(BROKER)
    if cheap:
        broker = without_costs(broker)
    bars = draw(_bars(broker.cash))
    if bars.low.min() < 2 * broker.tick_size:  # no contract trades below its tick
        broker = broker.model_copy(update={"tick_size": 0.0})
    broker = broker.model_copy(update={"lot_size": fitting_lot(broker.lot_size, broker, bars)})
    funding = FundingFrame.empty(bars.symbol) if cheap else draw(_funding(bars))
    mark = None if cheap else draw(_mark(bars))
    targets = {}
    drawn = draw(st.lists(DECISION, min_size=len(bars), max_size=len(bars)))
    for i, (share, decides) in enumerate(drawn):
        if i == 0 or decides:
            worth = share * (0.01 if cheap else broker.leverage) * broker.cash
            targets[i] = round(worth / float(bars.close[i]), 5)
    return Scenario(Market(bars=bars, funding=funding, mark=mark), targets, broker)


def fitting_lot(lot: float, broker: BrokerSection, bars: BarFrame) -> float:
    """Return a lot of which the account cannot hold too many.

    With more lots than 1e9 one lot is less than what rounding is forgiven, and which of two
    neighbours margin carries is for the last bit of a float to say.
    """
    most = 2 * broker.cash * broker.leverage / float(bars.low.min())
    return 1.0 if lot > 0 and most / lot > 1e8 else lot


def without_costs(broker: BrokerSection) -> BrokerSection:
    """Return settings under which trading is free and small positions never end by force."""
    return broker.model_copy(
        update={
            "leverage": 1.0,
            "taker_fee": 0.0,
            "liquidation_fee": 0.0,
            "min_notional": 0.0,
            "tick_size": 0.0,
            "slippage": SlippageSection(kind="none"),
        }
    )


# ── several contracts on one cash ────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Portfolio:
    """Two or three markets on grids of their own, and targets by stamp and symbol."""

    markets: tuple[Market, ...]
    targets: dict[tuple[pd.Timestamp, str], float]
    broker: BrokerSection

    def __repr__(self) -> str:
        """Show what is needed to see a failing scenario."""
        parts = [repr(Scenario(one, {}, self.broker)) for one in self.markets]
        return "\n".join([*parts, str(self.targets)])


@st.composite
def portfolios(draw: st.DrawFn) -> Portfolio:
    """Draw markets that start, end, gap and settle each in its own way, some by their own rules."""
    broker = draw(BROKER).model_copy(update={"tick_size": 0.0})
    markets, targets, contracts = [], {}, {}
    every = pd.Timedelta(draw(st.sampled_from(("1h", "4h"))))
    for number in range(draw(st.integers(2, 3))):
        drawn = draw(_bars(broker.cash))
        late = draw(st.sampled_from((0, 0, 1, 5)))
        index = START + every * (late + (drawn.open_time - drawn.open_time[0]) // drawn.interval)
        frame = drawn.to_frame().set_index(pd.DatetimeIndex(index))
        symbol = f"TEST{number}USDT"
        bars = BarFrame.of(frame, symbol=symbol, interval=every, filled=drawn.filled)
        markets.append(Market(bars=bars, funding=draw(_funding(bars)), mark=draw(_mark(bars))))
        own = draw(CONTRACT)
        lot = broker.lot_size if own.lot_size is None else own.lot_size
        contracts[symbol] = own.model_copy(update={"lot_size": fitting_lot(lot, broker, bars)})
        decisions = draw(st.lists(DECISION, min_size=len(bars), max_size=len(bars)))
        for i, (share, decides) in enumerate(decisions):
            if decides:
                worth = share * broker.leverage * broker.cash
                targets[bars.close_time[i], symbol] = round(worth / float(bars.close[i]), 5)
    broker = broker.model_copy(update={"contracts": contracts})
    return Portfolio(tuple(markets), targets, broker)
