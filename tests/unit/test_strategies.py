"""What the shipped strategies want, how wants become orders, and how strategies are found."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_replay import account, at, bars, fills, flat, funding, market

from engine.bridge import bt
from engine.plugins import declared_params, load_strategy
from engine.replay import ReplayMarket, replay
from engine.strategy import MarketView, SignalStrategy
from perpwalk.domain import Bar, FundingFrame, Market, Signal, to_ns
from perpwalk.errors import ConfigError, UsageError
from perpwalk.ledger import Ledger
from strategies.baselines import BuyAndHold, Majority
from strategies.lstm_xgb import (
    FundingAware,
    LongFlat,
    LongShort,
    ProbabilityScaled,
    VolatilityTargeted,
)


class Says:
    """A source that says ``p_up`` of each bar in turn, None for silence."""

    def __init__(self, tape: Market, *p_up: float | None) -> None:
        stamps = to_ns(tape.bars.close_time).tolist()
        self.answers = dict(zip(stamps, p_up, strict=False))

    def at(self, as_of: int) -> Signal | None:
        p_up = self.answers.get(as_of)
        return None if p_up is None else Signal(pd.Timestamp(as_of, tz="UTC"), 0, p_up, 0.5)


def trade(strategy: type, tape: Market, *p_up: float | None, **params: Any) -> Ledger:
    """Replay a strategy on what the model is made to say."""
    return replay([ReplayMarket(tape, Says(tape, *p_up))], strategy, params, account())


def still(n: int = 6) -> Market:
    """Return a market whose price stays at 100."""
    return market(bars(flat(*[100.0] * n)))


def positions(ledger: Ledger) -> list[float]:
    return ledger.equity["position"].tolist()


# ── the shipped ones ─────────────────────────────────────────────────────────────────────────────


def test_long_short_takes_the_signals_side_with_its_exposure():
    """
    95 % of equity long above the threshold, short below, unchanged on it or in silence.
    """
    ledger = trade(LongShort, still(), 0.6, 0.5, None, 0.4, 0.9)

    assert [0.0, 9.5, 9.5, 9.5, -9.5, 9.5] == positions(ledger)


def test_long_flat_leaves_the_market():
    """
    Below the threshold it holds nothing.
    """
    assert [0.0, 9.5, 0.0, 0.0, 9.5] == positions(trade(LongFlat, still(5), 0.6, 0.4, 0.3, 0.7))


def test_probability_scaled_grows_with_conviction():
    """
    Half the full strength takes half the exposure; beyond full strength no more than all of it.
    """
    ledger = trade(ProbabilityScaled, still(5), 0.525, 0.55, 0.8, 0.45, full_strength=0.1)

    assert [0.0, 4.75, 9.5, 9.5, -9.5] == positions(ledger)


def test_volatility_targeted_shrinks_when_the_market_is_wild():
    """
    Its notional times the market's past volatility is the volatility aimed at.
    """
    rng = np.random.default_rng(3)
    closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 30)))
    tape = market(bars(flat(*closes)))

    ledger = trade(VolatilityTargeted, tape, *[None] * 20, 0.6, window=20, annual_volatility=0.5)

    past = np.diff(np.log(tape.bars.close[:21])).std(ddof=1) * math.sqrt(365 * 24)
    expected = 1000 * 0.5 / past / tape.bars.close[20]
    assert expected == pytest.approx(ledger.fills["quantity"].iloc[0], abs=0.001)


def test_volatility_targeted_waits_for_its_window():
    """
    Without enough past bars, or where nothing moved, it opens nothing.
    """
    assert [0.0] * 6 == positions(trade(VolatilityTargeted, still(), 0.6, 0.6, 0.6, window=3))


# Settlements every 2 hours from 01:00: due at 05:00 and 07:00 for the decisions of 04:00 and 06:00.
def every_two_hours(rate: float, n: int = 4) -> FundingFrame:
    return funding({at(1 + 2 * k): rate for k in range(n)})


@pytest.mark.parametrize(
    ("rate", "p_up", "expected"),
    [
        (0.0005, 0.51, 0.0),  # a weak long would pay: stay out
        (0.0005, 0.60, 9.5),  # a strong one pays
        (0.0005, 0.49, -9.5),  # a weak short receives
        (-0.0005, 0.51, 9.5),  # a weak long receives
        (-0.0005, 0.49, 0.0),  # a weak short would pay
        (0.0, 0.51, 9.5),  # nothing to pay
    ],
)
def test_funding_aware_does_not_pay_for_a_weak_signal(rate: float, p_up: float, expected: float):
    """
    An hour before the settlement at 05:00, a flat account opens only what is worth it.
    """
    tape = market(bars(flat(*[100.0] * 6)), every_two_hours(rate))

    ledger = trade(FundingAware, tape, None, None, None, p_up, hours_before=1.0)

    assert expected == ledger.equity["position"].iloc[-2]


@pytest.mark.parametrize(("rate", "expected"), [(0.0005, 9.5), (0.002, 0.0)])
def test_funding_aware_keeps_what_is_cheaper_to_keep(rate: float, expected: float):
    """
    A position held already is left for a rate above the round trip only.
    """
    tape = market(bars(flat(*[100.0] * 6)), every_two_hours(rate))

    ledger = trade(FundingAware, tape, None, None, 0.8, 0.51, hours_before=1.0)

    assert expected == pytest.approx(ledger.equity["position"].iloc[-2], abs=0.1)


def test_buy_and_hold_buys_once():
    """
    It needs no signal and never trades again, wherever the price goes.
    """
    tape = market(bars(flat(100, 100, 150, 50, 200)))

    assert [(9.5, 100.0)] == fills(trade(BuyAndHold, tape))


def test_majority_follows_the_past_and_votes_again():
    """
    Two of three past moves went up: long; three bars later the vote is taken anew: short.
    """
    closes = [100, 101, 102, 101, 100, 99, 98, 97]
    tape = market(bars(flat(*closes)))

    ledger = replay(
        [ReplayMarket(tape)], Majority, {"window": 3, "refresh": 3}, account(), start=at(4)
    )

    assert [1, -1] == np.sign(ledger.fills["quantity"]).tolist()
    assert [4, 7] == ledger.fills["bar"].tolist()


# ── the base class ───────────────────────────────────────────────────────────────────────────────


class Wants(SignalStrategy):
    """Wants what it is told, bar by bar."""

    params: tuple[tuple[str, Any], ...] = (("wants", ()), ("views", None))

    def target(self, signal: Signal | None, market: MarketView) -> float | None:
        n = len(self) - 1
        if self.p.views is not None:
            self.p.views(market)
        return self.p.wants[n] if n < len(self.p.wants) else None


def wants(tape: Market, *wanted: float | None, **more: Any) -> Ledger:
    return replay([ReplayMarket(tape)], Wants, {"wants": wanted, **more}, account(leverage=5.0))


def test_exposure_is_a_multiple_of_equity_at_the_close():
    """
    Twice 1,000 at a close of 200 is 10; rounded towards zero to lots of 0.001.
    """
    assert 10.0 == fills(wants(market(bars(flat(200, 201, 202))), 2.0))[0][0]
    assert 3.333 == fills(wants(market(bars(flat(300, 300))), 1.0))[0][0]


def test_drift_within_the_band_is_left_alone():
    """
    Wanting 2.0, an exposure of 2.05 is not traded, one of 1.71 is; a wider band waits.
    """
    tape = market(bars(flat(100, 100, 120, 120, 120)))

    trades = wants(tape, 2.0, 2.05, 2.0, 2.0)
    patient = wants(tape, 2.0, 2.05, 2.0, 2.0, rebalance_band=0.5)

    assert 2 == len(trades.fills)  # 20 · 120 / 1400 = 1.71 at the third close
    assert 1 == len(patient.fills)


def test_a_change_of_side_is_always_traded():
    """
    From a little long to a little short, or to nothing, lies within the band and is traded.
    """
    ledger = wants(still(5), 0.05, -0.02, 0.0)

    assert [0.0, 0.5, -0.2, 0.0, 0.0] == positions(ledger)


def test_none_keeps_the_position():
    """
    Wanting nothing in particular places no order.
    """
    assert 1 == len(wants(still(5), 1.0, None, None).orders)


def test_a_want_that_is_no_number_is_refused():
    """
    NaN is neither a position nor a wish to keep one.
    """
    with pytest.raises(UsageError, match=r"target\(\) returned is nan; return a finite"):
        wants(still(3), math.nan)


def test_an_error_of_the_strategy_says_at_which_bar():
    """
    The exception of a user's ``target`` carries a note with class, symbol and close.
    """

    def broken(view: MarketView) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as failure:
        wants(still(3), 1.0, views=broken)

    assert ["in Wants, ABC, at the bar that closed at 2024-01-01 01:00:00+00:00"] == (
        failure.value.__notes__
    )


def test_the_view_shows_the_present_and_the_past_only():
    """
    Equity, position, exposure, closes, volatility and funding as of the close, none of it later.
    """
    seen: list[tuple[Any, ...]] = []

    def look(view: MarketView) -> None:
        seen.append((
            view.symbol, view.close, view.equity, view.position, view.current_exposure,
            view.past_close(1), view.past_closes(2).tolist(), view.funding_rate,
            view.hours_to_funding,
        ))  # fmt: skip

    tape = market(bars(flat(100, 100, 110)), funding({at(1): 0.001, at(2): 0.002, at(3): 0.003}))
    wants(tape, 1.0, None, None, views=look)

    assert [
        "ABC", 110.0, pytest.approx(1000 + 100 - 2 - 3.3), 10.0, pytest.approx(1100 / 1094.7),
        100.0, [100.0, 110.0], 0.003, 1.0,
    ] == list(seen[2])  # fmt: skip
    assert math.isnan(seen[0][5])
    assert seen[0][8] is None


def test_past_closes_reach_back_before_the_replay():
    """
    History before the first decision is past as well; nothing after the current bar is shown.
    """
    seen: list[list[float]] = []
    before: list[float] = []

    def look(view: MarketView) -> None:
        seen.append(view.past_closes(3).tolist())
        before.append(view.past_close(1))

    tape = market(bars(flat(1, 2, 3, 4, 5)))
    replay(
        [ReplayMarket(tape)],
        Wants,
        {"views": look},
        account(),
        start=at(2),
    )

    assert [[1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]] == seen
    assert [1, 2, 3, 4] == before


def test_the_view_refuses_to_look_ahead():
    """
    A negative count of bars back would be a bar to come.
    """
    with pytest.raises(UsageError, match="ahead"):
        wants(still(3), 1.0, views=lambda view: view.past_close(-1))


def test_each_market_has_its_own_signal():
    """
    One strategy over two markets: long the one, short the other, each with half of the equity.

    A ``share`` of 1 lets each take its exposure of the whole.
    """
    one = market(bars(flat(100, 100, 100), symbol="ABC"))
    two = market(bars(flat(50, 50, 50), symbol="XYZ"))
    sources = [ReplayMarket(one, Says(one, 0.6)), ReplayMarket(two, Says(two, 0.4))]

    def filled(**params: float) -> list[tuple[str, float]]:
        fills = replay(sources, LongShort, {"exposure": 0.4, **params}, account()).fills
        return list(zip(fills["symbol"], fills["quantity"], strict=True))

    assert [("ABC", 2.0), ("XYZ", -4.0)] == filled()
    assert [("ABC", 4.0), ("XYZ", -8.0)] == filled(share=1.0)
    with pytest.raises(UsageError, match="share is -1"):
        filled(share=-1.0)


def test_a_market_is_asked_about_once_a_bar():
    """
    Between the bars of the slower market only the faster one is asked about.
    """
    asked: list[str] = []
    fast = market(bars(flat(*[100] * 8), symbol="ABC"))
    slow = market(bars(flat(50, 50), symbol="XYZ", interval=pd.Timedelta("4h")))

    params = {"views": lambda view: asked.append(view.symbol)}
    replay([ReplayMarket(fast), ReplayMarket(slow)], Wants, params, account())

    assert 2 == asked.count("XYZ")


class Listener:
    """An observing source that writes down what it is shown."""

    def __init__(self) -> None:
        self.shown: list[tuple[pd.Timestamp, float, list[float]]] = []

    def observe(self, bar: Bar, settled: FundingFrame) -> None:
        self.shown.append((bar.close_time, bar.close, settled.rate.tolist()))

    def at(self, as_of: int) -> Signal | None:
        assert to_ns(self.shown[-1][0]) == as_of
        return None


def test_an_observer_is_shown_every_bar_once_also_during_warm_up():
    """
    An indicator keeps ``next`` from being called for two bars; the source misses none of them.
    """

    class Warm(LongShort):
        def __init__(self) -> None:
            super().__init__()
            self.average = bt.indicators.SimpleMovingAverage(self.data.close, period=3)

    tape = market(bars(flat(1, 2, 3, 4, 5)), funding({at(1): 0.1, at(2): 0.2, at(4): 0.4}))
    source = Listener()
    replay([ReplayMarket(tape, source)], Warm, {}, account(), start=at(2))

    assert [
        (at(2), 2.0, [0.2]), (at(3), 3.0, []), (at(4), 4.0, [0.4]), (at(5), 5.0, []),
    ] == source.shown  # fmt: skip


def test_backtraders_own_notifications_arrive():
    """
    A strategy that overrides ``notify_trade`` hears of its round trip.
    """
    heard: list[float] = []

    class Hears(Wants):
        def notify_trade(self, trade: Any) -> None:
            if trade.isclosed:
                heard.append(trade.pnl)

    tape = market(bars(flat(100, 100, 110, 110)))
    replay([ReplayMarket(tape)], Hears, {"wants": (0.5, None, 0.0)}, account())

    assert [50.0] == pytest.approx(heard)


def test_two_runs_number_their_orders_alike():
    """
    Order ids do not depend on what ran before in the same process.
    """
    first, second = (wants(still(4), 1.0, 0.0) for _ in range(2))

    pd.testing.assert_frame_equal(first.orders, second.orders)
    assert [0, 1] == second.orders["order_id"].tolist()


# ── loading ──────────────────────────────────────────────────────────────────────────────────────


def test_a_strategy_is_found_by_module_and_by_file(tmp_path: Path):
    """
    ``package.module:Name`` and ``path/to/file.py:Name`` both load the class.
    """
    file = tmp_path / "mine.py"
    file.write_text(
        "from engine.strategy import SignalStrategy\n\n"
        "class Mine(SignalStrategy):\n"
        "    params = (('least', 0.1),)\n"
        "    def target(self, signal, market):\n"
        "        return self.p.exposure\n"
    )

    assert (LongShort, {}) == load_strategy("strategies.lstm_xgb:LongShort", {})
    mine, params = load_strategy(f"{file}:Mine", {"least": 1})
    declared = {"exposure": 0.95, "rebalance_band": 0.1, "share": None, "least": 0.1}
    assert declared == declared_params(mine)
    assert [(9.5, 100.0)] == fills(replay([ReplayMarket(still(2))], mine, params, account()))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("strategies.lstm_xgb:LongShrt", "did you mean 'LongShort'"),
        ("strategies.lstm_xgb:Zebra", "it has FundingAware"),
        ("strategies.nowhere:LongShort", "no module 'strategies.nowhere'"),
        ("LongShort", "module:Name"),
        ("nowhere/mine.py:Mine", "no file"),
        ("perpwalk.domain:Side", "must be a class derived from Strategy"),
    ],
)
def test_a_strategy_that_is_not_there_is_said_so(name: str, said: str):
    """
    One message with the key, what is wrong and what was probably meant.
    """
    with pytest.raises(ConfigError, match=said) as failure:
        load_strategy(name, {})

    assert "strategy.name" == failure.value.key


@pytest.mark.parametrize(
    ("text", "said"),
    [("import nothing_like_it", "nothing_like_it"), ("def (", "line 1"), ("1 / 0", "Zero")],
)
def test_a_file_that_fails_on_import_is_said_so(tmp_path: Path, text: str, said: str):
    """
    The user's own mistake is named, not shown as a traceback of ours.
    """
    file = tmp_path / "mine.py"
    file.write_text(text)

    with pytest.raises(ConfigError, match=said):
        load_strategy(f"{file}:Mine", {})


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"exposre": 1.0}, "did you mean 'exposure'"),
        ({"zebra": 1.0}, "declares: exposure, rebalance_band"),
        ({"exposure": "much"}, "default 0.95"),
        ({"exposure": True}, "default 0.95"),
    ],
)
def test_parameters_are_held_against_the_class(params: dict[str, Any], said: str):
    """
    An unknown parameter or one of the wrong kind is refused before anything runs.
    """
    with pytest.raises(ConfigError, match=said) as failure:
        load_strategy("strategies.lstm_xgb:LongShort", params)

    assert f"strategy.params.{next(iter(params))}" == failure.value.key


def test_the_example_in_the_readme_runs(tmp_path: Path):
    """
    What strategies/README.md tells people to write is a strategy that trades.
    """
    readme = (Path(__file__).parents[2] / "strategies" / "README.md").read_text()
    code = readme.split("```python\n")[1].split("```")[0]
    file = tmp_path / "mine.py"
    file.write_text(code)
    patient, params = load_strategy(f"{file}:Patient", {"least": 0.06, "exposure": 0.5})

    ledger = trade(patient, still(4), 0.6, 0.51, 0.4, **params)

    assert [0.0, 5.0, 5.0, -5.0] == positions(ledger)
