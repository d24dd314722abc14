"""NaN and infinity do not pass the border of any stage: each is poisoned once."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tiny_replay
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from engine import stages
from engine.replay import ReplayMarket
from engine.replay import replay as replayed
from engine.slippage import FillContext
from perpwalk import data, runs
from perpwalk.audit import fits
from perpwalk.config import BrokerSection, Config, FeaturesSection, resolve
from perpwalk.domain import FeatureFrame, Forecast, Level, Market
from perpwalk.errors import ConfigError, DataError, PerpwalkError, UsageError
from perpwalk.finite import infinite_key, require_finite, unfit
from perpwalk.models.base import GivenUp
from perpwalk.plans import as_plan
from perpwalk.preprocess import Preprocessor, fit_preprocessor
from perpwalk.signals import PrecomputedSignals
from perpwalk.strict import parse_json
from perpwalk.thresholds import choose_threshold

NAN, INF = float("nan"), float("inf")
BAD = [NAN, INF, -INF]


# ── the guard itself ─────────────────────────────────────────────────────────────────────────────


@given(
    arrays.arrays(
        st.sampled_from([np.float64, np.float32]),
        arrays.array_shapes(max_dims=2, max_side=6),
        elements=st.floats(width=32),
    ),
    st.booleans(),
)
def test_it_finds_exactly_what_is_not_finite(values: np.ndarray, missing: bool) -> None:
    """Its one sum may overflow, and infinities may cancel: the answer is that of looking at all."""
    wrong = np.isinf(values) if missing else ~np.isfinite(values)

    found = unfit(values, missing=missing)

    assert (None if not wrong.any() else wrong.tolist()) == (
        None if found is None else found.tolist()
    )


def test_numbers_whose_sum_is_no_number_may_pass() -> None:
    """Two prices near the end of the floats are finite, and infinities that cancel are not."""
    assert unfit(np.array([1.7e308, 1.7e308])) is None
    assert [True, True] == unfit(np.array([INF, -INF])).tolist()


def test_it_names_row_and_column() -> None:
    """The first of them in reading order, and how many there are."""
    table = np.ones((3, 2))
    table[1, 1] = table[2, 0] = NAN

    with pytest.raises(DataError, match=r"^prices is nan at b, 'high' \(2 of 6 are .*\); look$"):
        require_finite(
            table, "prices", "look", rows=["a", "b", "c"], columns=["low", "high"], error=DataError
        )


# ── bars, settlements, features ──────────────────────────────────────────────────────────────────


def small(**more: Any) -> Config:
    sections = {
        "market": {"simulate": {"bars": 1200, "edge": 0.3}},
        "features": {"include": ["returns", "calendar"]},
        "walk_forward": {
            "train": "600bars", "validation": "150bars", "test": "150bars", "min_train_rows": 300,
            "max_folds": 5,
        },
        "model": {"kind": "logistic"},
    }  # fmt: skip
    return resolve({**sections, **more})


@pytest.fixture(scope="module")
def market() -> Market:
    (made,) = data.load_markets(small())
    return made


@pytest.mark.parametrize("column", ["open", "high", "low", "close", "volume"])
@pytest.mark.parametrize("poison", BAD)
def test_a_bar_is_named_before_features_are_made_of_it(
    market: Market, column: str, poison: float
) -> None:
    """A market made by a program has met no reader; its column and bar are told."""
    values = np.array(getattr(market.bars, column))
    values[7] = poison
    bars = dataclasses.replace(market.bars, **{column: values})

    with pytest.raises(
        DataError, match=rf"SIMUSDT: the {column} of the bar is -?(nan|inf) at 2023"
    ):
        stages.prepare(small(), [dataclasses.replace(market, bars=bars)])


@pytest.mark.parametrize("poison", BAD)
def test_a_funding_rate_is_named(market: Market, poison: float) -> None:
    """By its settlement."""
    rate = np.array(market.funding.rate)
    rate[2] = poison
    funding = dataclasses.replace(market.funding, rate=rate)

    with pytest.raises(DataError, match="the funding rate is .* at 2023-01-02"):
        stages.prepare(small(), [dataclasses.replace(market, funding=funding)])


def test_an_unknown_mark_price_is_none_but_an_infinite_one_is_refused(market: Market) -> None:
    """NaN says that no mark was published; the close stands in for it."""
    marks = np.array(market.funding.mark_price)
    marks[:] = NAN
    unknown = dataclasses.replace(market.funding, mark_price=marks.copy())
    marks[3] = INF
    infinite = dataclasses.replace(market.funding, mark_price=marks)

    assert stages.prepare(small(), [dataclasses.replace(market, funding=unknown)])
    with pytest.raises(DataError, match="mark price of the settlement is inf"):
        stages.prepare(small(), [dataclasses.replace(market, funding=infinite)])


MINE = """
import numpy as np
from perpwalk.features import feature

@feature(lookback=2)
def mine(past):
    values = np.zeros(len(past))
    values[400] = {poison}
    return values
"""


def with_feature(folder: Path, poison: str) -> Config:
    path = folder / "mine.py"
    path.write_text(MINE.format(poison=poison))
    return small(features={"include": ["returns", "mine"], "modules": [str(path)]})


@pytest.mark.parametrize("poison", ["np.inf", "-np.inf"])
def test_an_infinite_feature_is_refused_by_name_and_bar(
    market: Market, tmp_path: Path, poison: str
) -> None:
    """A user's own feature divides by zero at one bar."""
    with pytest.raises(UsageError, match=r"'mine' .* is -?inf at 2023-01-17 17:00.* \(1 of 1,200"):
        stages.prepare(with_feature(tmp_path, poison), [market])


def test_a_feature_that_is_missing_later_is_said(market: Market, tmp_path: Path) -> None:
    """S010 names it: the decisions of that bar are left out, which nobody would see otherwise."""
    (prepared,) = stages.prepare(with_feature(tmp_path, "np.nan"), [market])

    (told,) = fits.missing_features(prepared.features)
    assert ("S010", Level.INFO, "features") == (told.code, told.level, told.where)
    assert told.observed.endswith("from 2023-01-17 17:00:00+00:00 on: mine at 1")
    assert [] == list(fits.missing_features(prepared.features.until(400)))


def test_many_missing_values_are_a_warning() -> None:
    """Above one bar in a hundred after the first complete one; warm-up does not count."""
    values = np.ones((300, 2))
    values[:100, 0] = values[200:203, 1] = NAN
    stamps = pd.date_range("2024-01-01", periods=300, freq="h", tz="UTC")
    frame = FeatureFrame(stamps, ("a", "b"), values, lookback=1)

    (told,) = fits.missing_features(frame)
    assert (Level.WARN, "3 of 200 bars") == (told.level, told.observed[:13])


def test_a_spread_that_overflows_is_refused_by_the_features_name() -> None:
    """Finite values near the end of the floats have no deviation: scaled they would be NaN."""
    stamps = pd.date_range("2024-01-01", periods=50, freq="h", tz="UTC")
    values = np.column_stack([np.arange(50.0), np.where(np.arange(50) % 2, 1.7e308, -1.7e308)])
    frame = FeatureFrame(stamps, ("calm", "huge"), values, lookback=1)
    labels = tiny_labels(stamps)

    with (
        pytest.raises(UsageError, match="scale of a feature on the train rows is .* at huge"),
        np.errstate(over="ignore", invalid="ignore"),
    ):
        fit_preprocessor(frame, labels, np.arange(50), FeaturesSection(), seed=1)


def tiny_labels(stamps: pd.DatetimeIndex) -> Any:
    from perpwalk.domain import LabelFrame

    up = (np.arange(len(stamps)) % 3 == 0).astype(np.int8)
    return LabelFrame(stamps, stamps, np.where(up, 0.01, -0.01), up, horizon=1)


# ── forecasts and signals ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"value": NAN}, r"fold 0, validation span: p_up .* is nan at 2023-.* \(1 of 1\d\d are"),
        ({"value": INF}, "fold 0, validation span: p_up .* is inf at"),
        ({"value": NAN, "calls": 2}, r"fold 0, test span: p_up .* is nan at .* \(1 of 150 are"),
        ({"value": 1.5, "calls": 2}, r"fold 0, test span: p_up .* is 1\.5 at .* no probabilities"),
        ({"value": NAN, "embedding": True}, "validation span: the embedding .* is nan at"),
    ],
)
def test_a_forecast_that_is_no_probability_is_refused_by_fold_and_decision(
    market: Market, params: Mapping[str, Any], message: str
) -> None:
    """P001, where the model gives it and before anything is traded on it."""
    kept = {k: v for k, v in params.items() if k != "value"}
    asked = small(model={"kind": "poisoned:Poisoned", "params": {"value": 0.0, **kept}})
    # Through the record: a configuration holds finite numbers only.
    model = asked.model.model_copy(update={"params": dict(params)})
    asked = asked.model_copy(update={"model": model})
    prepared = stages.prepare(asked, [market])

    with pytest.raises(UsageError, match=message):
        stages.walk_forward(prepared)


def forecast(*p_up: float) -> Forecast:
    stamps = pd.date_range("2024-01-01", periods=len(p_up), freq="h", tz="UTC")
    p = np.array(p_up)
    return Forecast(0, stamps, np.arange(len(p)), p, np.zeros((len(p), 0)))


@pytest.mark.parametrize("poison", BAD)
def test_no_signal_and_no_threshold_is_made_of_what_is_no_number(poison: float) -> None:
    """A forecast read back from a file has met no model."""
    with pytest.raises(UsageError, match="fold 0: p_up is .* at 2024-01-01 01:00"):
        PrecomputedSignals([forecast(0.4, poison)], [0.5])
    with pytest.raises(UsageError, match="fold 0: the decision threshold is"):
        PrecomputedSignals([forecast(0.4, 0.6)], [poison])
    with pytest.raises(UsageError, match="p_up on validation is"):
        choose_threshold(np.array([0.4, poison]), np.array([0, 1], np.int8), "validation")


@pytest.mark.parametrize("key", ["strategy.threshold", "broker.taker_fee", "features.clip"])
def test_a_configuration_holds_finite_numbers_only(tmp_path: Path, key: str) -> None:
    """``.nan`` and ``.inf`` are numbers in YAML."""
    from perpwalk import config

    section, name = key.split(".")
    for word in (".nan", ".inf"):
        (tmp_path / "c.yaml").write_text(f"{section}: {{{name}: {word}}}\n")
        with pytest.raises(ConfigError, match=key.replace(".", r"\.")):
            config.load(tmp_path / "c.yaml")


# ── orders and the account ───────────────────────────────────────────────────────────────────────

TEN = tiny_replay.bars(tiny_replay.flat(*[100.0] * 10))


@pytest.mark.parametrize("poison", BAD)
@pytest.mark.parametrize(
    ("order", "message"),
    [
        (lambda s, x: s.aim(x), r"what target\(\) returned is"),
        (lambda s, x: s.order_target_size(target=x), "the wanted quantity is"),
        (lambda s, x: s.order_target_value(target=x), "the wanted quantity is"),
        (lambda s, x: s.buy(size=x), "the quantity of an order of Puppet is"),
        (lambda s, x: s.sell(size=1, exectype=2, price=x), "the price of an order of Puppet is"),
        (
            lambda s, x: s.buy(size=1, exectype=4, price=110.0, plimit=x),
            "the limit price of an order of Puppet is",
        ),
    ],
)
def test_an_order_that_is_no_number_is_refused(order: Any, message: str, poison: float) -> None:
    """Whichever of Backtrader's ways a strategy places it by."""

    def act(strategy: Any, n: int) -> None:
        if n == 2:
            order(strategy, poison)

    with pytest.raises(UsageError, match=message):
        tiny_replay.run(tiny_replay.market(TEN), tiny_replay.account(), act)


@pytest.mark.parametrize("poison", [INF, -INF])
def test_a_plan_says_nan_to_leave_things_and_never_infinity(poison: float) -> None:
    """By the decision."""
    with pytest.raises(UsageError, match=r"that a plan wants is -?inf at row 2"):
        as_plan(np.array([0.5, NAN, poison]), 3)


class NoNumber:
    """A slippage model of the user's own."""

    def __init__(self, section: object) -> None: ...

    def rate(self, fill: FillContext) -> float:
        return NAN


def test_a_slippage_that_is_no_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A NaN price would make every later bar NaN."""
    from engine import broker

    monkeypatch.setattr(broker, "slippage_model", NoNumber)

    with pytest.raises(UsageError, match="the slippage rate is nan"):
        tiny_replay.run(tiny_replay.market(TEN), tiny_replay.account(), {2: 1.0})


def wait(strategy: Any, n: int) -> None:
    """Place no order."""


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("poison", BAD)
@pytest.mark.parametrize("column", ["equity", "price_pnl", "fee", "funding"])
def test_nan_balances_with_nothing(poison: float, column: str) -> None:
    """A001 names the bar: the account is no result from there on."""
    ledger = replayed(
        [ReplayMarket(tiny_replay.market(TEN))],
        tiny_replay.Puppet,
        {"act": wait},
        BrokerSection.model_validate(tiny_replay.FREE),
    )
    equity = ledger.equity.copy()
    equity.loc[4, column] = poison

    _, told = dataclasses.replace(ledger, equity=equity).check_identity()

    assert told is not None
    assert ("A001", str(equity["close_time"][4])) == (told.code, told.where)


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def test_infinity_is_never_written(tmp_path: Path) -> None:
    """Neither into a table nor into JSON: file, column and row are told, and nothing is left."""
    frame = pd.DataFrame({"a": [1.0, NAN], "b": [INF, 0.0], "text": ["x", "y"]})
    nullable = pd.DataFrame({"c": pd.array([None, -INF], dtype="Float64")})
    wrong: list[tuple[Any, str, Any, str]] = [
        (runs.write_csv, "t.csv", frame, r"t\.csv: column 'b' is inf at row 0"),
        (runs.write_parquet, "t.parquet", frame, r"t\.parquet: column 'b' is inf at row 0"),
        (runs.write_csv, "n.csv", nullable, r"n\.csv: column 'c' is -inf at row 1"),
        (runs.write_json, "t.json", {"x": {"y": [0.5, NAN]}}, r"t\.json: 'x\.y\.1' is no finite"),
    ]

    for write, name, value, message in wrong:
        with pytest.raises(PerpwalkError, match=message):
            write(tmp_path / name, value)
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_json_that_says_nan_is_no_json(word: str) -> None:
    """Python's own parser takes these words for numbers, and rounds what is too large to one."""
    with pytest.raises(ValueError, match=word):
        parse_json(f'{{"auc": [0.5, {word}]}}')


@pytest.mark.parametrize("word", ["NaN", "1e999"])
def test_a_run_a_model_and_a_scaler_that_say_nan_are_refused(tmp_path: Path, word: str) -> None:
    """They name the file."""
    for name in ("manifest.json", "config.json", "scaler.json", "features.json"):
        (tmp_path / name).write_text(f'{{"kind": "logistic", "format": 1, "strength": {word}}}')

    from perpwalk import models

    for read in (runs.load_run, models.load_model, Preprocessor.load):
        with pytest.raises(PerpwalkError, match=rf"\.json.*{word}"):
            read(tmp_path)


@settings(max_examples=50)
@given(
    st.recursive(
        st.none() | st.floats() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
    )
)
def test_where_a_value_cannot_be_written_is_found_exactly_where_json_refuses(value: Any) -> None:
    """A key is named if and only if the standard library would refuse."""
    try:
        json.dumps(value, allow_nan=False)
        refused = False
    except ValueError:
        refused = True

    assert refused == (infinite_key(value) is not None)


def test_a_training_that_was_started_over_is_reported_by_fold() -> None:
    """R020 says what was given up; a model that knows nothing of it is passed over."""

    class Retried:
        given_up = (GivenUp(3, 0.05, "the training loss is nan"),)

    (told,) = fits.trainings({1: object(), 4: Retried()})
    (repeat,) = fits.trainings({4: Retried()}, seed=11)

    assert ("R020", Level.WARN, "fold 004") == (told.code, told.level, told.where)
    assert "1 attempts given up: at 0.05 in epoch 3 the training loss is nan" == told.observed
    assert "seed 11 fold 004" == repeat.where
