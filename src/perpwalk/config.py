"""The configuration: frozen sections, YAML in, unknown keys refused with a hint, a hash out.

Every default stands here once. ``load`` reads a file, ``resolve`` applies ``--set a.b=c``
overrides, ``Config.digest`` names the question being asked: two configurations with one digest on
the same data give the same answer.
"""

from __future__ import annotations

import datetime
import difflib
import functools
import hashlib
import json
import math
import os
import re
import types
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import pydantic
import yaml
from pydantic import BaseModel, ConfigDict, Field

from perpwalk import disk, layers, plugins, strict
from perpwalk.errors import ConfigError
from perpwalk.layers import Layered

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
DATA_FILES = ("ohlcv", "funding", "mark")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(bars?|min|m|h|d|w)")
_STAMP = re.compile(r"[0-9]{4}(?:-?[0-9]{2}){0,2}(?:[T ].{1,40})?")
_HOURS = {"min": 1 / 60, "m": 1 / 60, "h": 1.0, "d": 24.0, "w": 168.0}


def _check_name(text: str) -> str:
    if strict.is_reserved(text):
        raise ValueError(f"'{text}' is no name for a file on every system; choose another")
    return text


# A name becomes a folder or a part of a file's name: it cannot lead anywhere.
Name = Annotated[str, Field(pattern=NAME_PATTERN), pydantic.AfterValidator(_check_name)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Width = Annotated[int, Field(ge=1, le=4096)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
# YAML has lists, not tuples.
Texts = Annotated[tuple[str, ...], pydantic.Strict(False), Field(max_length=1000)]
LONGEST = pd.Timedelta(days=36_525)


def parse_duration(text: str, interval: pd.Timedelta) -> pd.Timedelta:
    """Turn ``"20bars"``, ``"8h"`` or ``"30d"`` into a Timedelta.

    >>> parse_duration("20bars", pd.Timedelta("1h")) == pd.Timedelta("20h")
    True
    >>> parse_duration("30d", pd.Timedelta("1h")).days
    30
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        shown = text[:40]
        raise ConfigError(f"'{shown}' is no duration; write it like '20bars', '8h' or '30d'")
    amount, unit = float(match[1]), match[2]
    bar = interval / pd.Timedelta(hours=1) if unit.startswith("bar") else _HOURS[unit]
    if amount * bar > LONGEST / pd.Timedelta(hours=1):
        raise ConfigError(f"'{text}' is longer than a century")
    if unit.startswith("bar"):
        return interval * amount
    return pd.Timedelta(hours=amount * _HOURS[unit])


def _check_duration(text: str) -> str:
    try:
        parse_duration(text, pd.Timedelta(0))
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return text


Duration = Annotated[str, pydantic.AfterValidator(_check_duration)]


def _plain(value: Any, depth: int = 0) -> Any:
    """Return what goes to the user's own code as JSON can hold it; a date becomes its text."""
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, dict | list | tuple) and depth < 10:
        if isinstance(value, dict):
            return {str(key): _plain(inner, depth + 1) for key, inner in value.items()}
        return [_plain(inner, depth + 1) for inner in value]
    whole = isinstance(value, int) and abs(value) < 2**63
    if value is None or whole or isinstance(value, str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise ValueError(f"takes texts, numbers, lists and mappings, not {str(value)[:40]!r}")


Params = Annotated[dict[str, Any], pydantic.BeforeValidator(_plain)]


def _check_stamp(value: Any) -> str:
    """Accept a date or stamp, read tz-naive as UTC, and normalise to ISO-8601 with Z."""
    return read_stamp(value).isoformat().replace("+00:00", "Z")


def read_stamp(value: Any) -> pd.Timestamp:
    """Return a date or stamp in UTC; without a zone it is read as UTC.

    Only what begins with its year is a stamp: a bare number could be a year or nanoseconds, and
    *now* is another question tomorrow.

    >>> read_stamp("2024-01-31")
    Timestamp('2024-01-31 00:00:00+0000', tz='UTC')

    Raises
    ------
    ValueError
        It is none.
    """
    refused = f"{str(value)[:40]!r} is no date; write it like 2023-12-31T00:00:00Z"
    dated = isinstance(value, datetime.date)
    if not dated and not (isinstance(value, str) and _STAMP.fullmatch(value.strip())):
        raise ValueError(refused)
    try:
        stamp = pd.Timestamp(value)
        stamp = stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")
        stamp.as_unit("ns")
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(refused) from error
    if pd.isna(stamp) or not 1900 <= stamp.year < 2200:
        raise ValueError(refused)
    return stamp


Stamp = Annotated[str, pydantic.BeforeValidator(_check_stamp)]


class Section(BaseModel):
    """Base of all sections: frozen, strict about keys, finite numbers only."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, protected_namespaces=(), allow_inf_nan=False
    )


class Simulate(Section):
    """A simulated market with known truth (see ``perpwalk.simulate`` and ``docs/data.md``).

    ``edge_bars`` scores share the edge of a return. ``regime_ratio`` is the volatility of wild
    times over that of calm ones, which take turns after ``regime_days`` on average. Jumps come
    ``jumps_per_year`` times, ``jump_size`` large. Contracts with one ``common_seed`` move together
    by ``correlation``. Before ``listed`` there are no bars.
    """

    bars: Annotated[int, Field(ge=200, le=5_000_000)] = 12_000
    edge: Annotated[float, Field(ge=0, lt=1)] = 0.2
    start: Stamp = "2023-01-01T00:00:00Z"
    price: Positive = 2000.0
    annual_volatility: Positive = 0.7
    edge_bars: Annotated[int, Field(ge=1, le=500)] = 1
    regime_ratio: Annotated[float, Field(ge=1, le=100)] = 1.0
    regime_days: Positive = 30.0
    jumps_per_year: NonNegative = 0.0
    jump_size: Positive = 0.05
    premium_sd: NonNegative = 3e-4
    funding_hours: Literal[1, 2, 4, 8] = 8
    correlation: Annotated[float, Field(ge=0, lt=1)] = 0.0
    common_seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    listed: Stamp | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None


class MarketSection(Section):
    """Which bars and settlements to replay.

    Files where they are named, else what ``perpwalk data fetch`` has put into the store for
    ``exchange``; with neither the market is simulated. ``store`` is the store's folder, by default
    ``$PERPWALK_STORE`` or ``data/store``.

    ``format`` names the tool that wrote the files where content does not tell it (``perpwalk data
    formats`` lists them). ``resample_from`` is the length of the files' own, finer bars; a bar of
    ``interval`` that lacks some of them is treated as ``partial_bars`` says. With ``intrabar`` the
    account meets these finer bars, while signals and decisions stay with those of ``interval``. Of
    rows that share a time stamp and differ, ``duplicates`` keeps the ``first`` or the ``last`` of
    the file.
    """

    symbol: Name = "SIMUSDT"
    interval: Duration = "1h"
    exchange: Name | None = None
    store: str | None = None
    ohlcv: str | None = None
    funding: str | None = None
    mark: str | None = None
    format: str = "auto"
    resample_from: Duration | None = None
    partial_bars: Literal["error", "drop", "keep"] = "error"
    intrabar: bool = False
    since: Stamp | None = None
    until: Stamp | None = None
    gaps: Literal["error", "fill", "drop"] = "error"
    duplicates: Literal["error", "first", "last"] = "error"
    missing_funding: Literal["error", "zero", "drop_features"] = "error"
    simulate: Simulate = Simulate()

    @property
    def is_simulated(self) -> bool:
        """Whether the market is drawn, not read."""
        return self.ohlcv is None and self.exchange is None


class Selection(Section):
    """Which features a fold keeps; fitted on the fold's train rows only.

    ``mrmr`` weighs what a feature tells against how much of it the chosen ones tell already,
    ``auc`` ranks by what it tells alone, ``mutual_info`` also counts what is not monotone, ``none``
    keeps all. See ``perpwalk.preprocess``.
    """

    method: Literal["mrmr", "auc", "mutual_info", "none"] = "mrmr"
    k: Count = 10


class FeaturesSection(Section):
    """Candidate features and their selection.

    ``include`` takes group names (``returns, trend, volatility, momentum, volume, candle,
    calendar, funding``) or single feature names; empty means all. ``modules`` lists the user's own
    Python files.
    """

    include: Texts = ()
    exclude: Texts = ()
    modules: Texts = ()
    clip: Positive = 8.0
    selection: Selection = Selection()

    def contents(self) -> list[str]:
        """Return the hash of what each of ``modules`` holds."""
        return [_content(file, "features.modules") for file in self.modules]


class LabelSection(Section):
    """What the model predicts: the sign of a forward log return, or a label of your own.

    ``kind`` is ``sign``, or ``module:name`` or ``path/to/file.py:name`` of a function
    ``(bars, horizon, **params)`` that returns 1, 0 or NaN per bar (see ``perpwalk.labels``).
    ``ties`` belongs to ``sign``.
    """

    kind: str = "sign"
    params: Params = Field(default_factory=dict)
    horizon: Duration = "1bars"
    price: Literal["close", "next_open"] = "close"
    ties: Literal["drop", "up", "down"] = "drop"


class WalkForwardSection(Section):
    """How time is cut. ``holdout`` names the open time of the last train and validation bar.

    ``warm_start`` lets each refit of the network start from the weights of the fold before, and
    learn the bars that are new and a share ``replay`` of the others.
    """

    scheme: Literal["rolling", "expanding", "holdout"] = "rolling"
    train: Duration = "730d"
    validation: Duration = "90d"
    test: Duration = "90d"
    embargo: Duration = "0bars"
    warm_start: bool = False
    replay: Annotated[float, Field(ge=0, le=1)] = 0.25
    start: Stamp | None = None
    train_last_bar: Stamp | None = None
    validation_last_bar: Stamp | None = None
    min_train_rows: Count = 5000
    max_folds: Annotated[int, Field(ge=1, le=10_000)] = 1000

    @pydantic.model_validator(mode="after")
    def _dates_belong_to_holdout(self) -> WalkForwardSection:
        dates = (self.train_last_bar, self.validation_last_bar)
        if self.scheme == "holdout" and None in dates:
            raise ValueError("scheme 'holdout' needs train_last_bar and validation_last_bar")
        if self.scheme != "holdout" and dates != (None, None):
            raise ValueError(
                "train_last_bar and validation_last_bar belong to scheme 'holdout' "
                f"(scheme is '{self.scheme}')"
            )
        return self


MOST_ACTIVATIONS = 4_000_000_000  # of one step of training: 16 GB


class LstmSection(Section):
    """The sequence model. Sizes are the predecessor's by default.

    Training ends after ``epochs``, or once validation loss has not improved for ``patience``
    epochs; after more than ``lr_patience`` such epochs the learning rate is multiplied by
    ``lr_factor``. ``precision: mixed`` trains with matrix products in bfloat16, which is faster
    where the processor has instructions for it; forecasts are computed in float64 either way.

    ``sequence: stream`` computes each bar about once instead of ``timesteps`` times: the network
    runs over stretches of ``stretch`` decisions after a burn-in of ``timesteps`` - 1 bars. A step
    of training then takes ``stretch_batch`` stretches, and ``batch_size`` has no effect.
    """

    sequence: Literal["window", "stream"] = "window"
    timesteps: Annotated[int, Field(ge=1, le=2000)] = 20
    layers: Annotated[int, Field(ge=1, le=8)] = 2
    hidden: Annotated[int, Field(ge=1, le=4096)] = 128
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    dense: Width = 64
    embedding: Width = 32
    epochs: Annotated[int, Field(ge=1, le=1000)] = 8
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 128
    stretch: Annotated[int, Field(ge=1, le=10_000)] = 128
    stretch_batch: Annotated[int, Field(ge=1, le=4096)] = 16
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 1e-3
    weight_decay: NonNegative = 1e-2
    gradient_clip: Positive = 1.0
    patience: Count = 3
    lr_patience: Annotated[int, Field(ge=0)] = 0
    lr_factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    precision: Literal["float32", "mixed"] = "float32"

    @pydantic.model_validator(mode="after")
    def _a_step_fits_memory(self) -> LstmSection:
        bars = self.timesteps * self.batch_size
        if self.sequence == "stream":
            bars = (self.timesteps + self.stretch) * self.stretch_batch
        numbers = bars * self.hidden * self.layers
        if numbers > MOST_ACTIVATIONS:
            raise ValueError(
                f"one step of training would hold {numbers:,} numbers; at most "
                f"{MOST_ACTIVATIONS:,} are possible: lower timesteps, hidden or batch_size"
            )
        return self


class XgbSection(Section):
    """The trees. Depth, rate and sampling are the predecessor's by default.

    A leaf must hold about ``min_leaf_share`` of the rows the trees are fitted on, unless
    ``min_child_weight`` says it in xgboost's own terms.
    """

    rounds: Annotated[int, Field(ge=1, le=100_000)] = 400
    max_depth: Annotated[int, Field(ge=1, le=32)] = 6
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.1
    subsample: Annotated[float, Field(gt=0, le=1)] = 0.8
    colsample: Annotated[float, Field(gt=0, le=1)] = 0.8
    min_leaf_share: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    min_child_weight: NonNegative | None = None
    reg_lambda: NonNegative = 100.0
    early_stopping: Count = 30


class ModelSection(Section):
    """Which model forecasts.

    ``kind`` is a built-in name, or ``module:Name`` or ``path/to/file.py:Name`` of a plug-in.

    ``stacking``, ``trees_start`` and ``raw_features`` belong to ``lstm_xgb``: on which rows the
    trees are fitted, whether they start from the network's log-odds or from a constant, and
    whether they see the raw features beside the embedding. ``params`` go to a plug-in.
    """

    kind: str = "lstm_xgb"
    stacking: Literal["split", "same_rows"] = "split"
    stacking_share: Annotated[float, Field(gt=0, lt=1)] = 0.7
    trees_start: Literal["logit", "prior"] = "logit"
    raw_features: bool = False
    lstm: LstmSection = LstmSection()
    xgb: XgbSection = XgbSection()
    params: Params = Field(default_factory=dict)


SHIPPED = "strategies."  # where perpwalk's own strategies lie
THRESHOLD, VALIDATION = "threshold", "validation"


class StrategySection(Section):
    """Which Backtrader strategy trades the signal: ``module:Name`` and its parameters.

    ``forming`` shows it, at every bar, the coarser bar of this length as far as it has come:
    ``self.forming()``. A shipped strategy takes its threshold from here, so one that is written
    among its ``params`` is meant for here too.
    """

    name: str = "strategies.lstm_xgb:LongShort"
    forming: Duration | None = None
    threshold: Literal["validation"] | Fraction = "validation"
    params: Params = Field(default_factory=dict)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _threshold_in_its_place(cls, raw: Any) -> Any:
        if not isinstance(raw, dict) or not isinstance(raw.get("params"), dict):
            return raw
        name = raw.get("name", cls.model_fields["name"].default)
        params = dict(raw["params"])
        if THRESHOLD not in params or not str(name).startswith(SHIPPED):
            return raw
        meant, said = params.pop(THRESHOLD), raw.get(THRESHOLD, VALIDATION)
        if said not in (VALIDATION, meant):
            raise ValueError(f"the threshold is given twice: {said} here and {meant} in params")
        return {**raw, THRESHOLD: meant, "params": params}


def settled_key(config: Config, key: str) -> str:
    """Return the key under which a setting is kept: a shipped strategy's threshold has one place.

    >>> settled_key(Config(), "strategy.params.threshold")
    'strategy.threshold'
    """
    shipped = config.strategy.name.startswith(SHIPPED)
    in_params = key == f"strategy.params.{THRESHOLD}"
    return f"strategy.{THRESHOLD}" if shipped and in_params else key


class TierSection(Section):
    """One row of the maintenance-margin table."""

    notional_floor: NonNegative
    maintenance_rate: Annotated[float, Field(gt=0, lt=1)]
    maintenance_amount: NonNegative = 0.0
    max_leverage: Annotated[float, Field(ge=1, le=125)] = 125.0


Tiers = Annotated[tuple[TierSection, ...], pydantic.Strict(False), Field(min_length=1)]


class ContractSection(Section):
    """What one contract has of its own, in place of what ``broker`` says for all of them."""

    tick_size: NonNegative | None = None
    lot_size: NonNegative | None = None
    min_notional: NonNegative | None = None
    tiers: Tiers | None = None


class SlippageSection(Section):
    """What a market order pays beyond the reference price.

    ``fixed``: ``bps`` of price. ``spread_range``: half of ``spread_bps`` plus ``range_share`` of
    the bar's high-low range. ``square_root``: ``impact`` times the bar's relative range times the
    square root of the order's share of the bar's volume. Or ``module:Name``.
    """

    kind: str = "fixed"
    bps: NonNegative = 1.0
    spread_bps: NonNegative = 1.0
    range_share: Fraction = 0.05
    impact: NonNegative = 0.5


# Binance USDT-M ETHUSDT, regular tier, as published in October 2024 (lower brackets).
DEFAULT_TIERS = (
    TierSection(notional_floor=0, maintenance_rate=0.004, maintenance_amount=0, max_leverage=125),
    TierSection(
        notional_floor=50_000, maintenance_rate=0.005, maintenance_amount=50, max_leverage=100
    ),
    TierSection(
        notional_floor=600_000, maintenance_rate=0.0065, maintenance_amount=950, max_leverage=75
    ),
    TierSection(
        notional_floor=3_000_000, maintenance_rate=0.01, maintenance_amount=11_450, max_leverage=50
    ),
    TierSection(
        notional_floor=12_000_000,
        maintenance_rate=0.02,
        maintenance_amount=131_450,
        max_leverage=25,
    ),
    TierSection(
        notional_floor=50_000_000,
        maintenance_rate=0.05,
        maintenance_amount=1_631_450,
        max_leverage=10,
    ),
)


class BrokerSection(Section):
    """The account: cash, leverage, fees, margins, fills.

    ``contracts`` maps a symbol to its own lot, tick, least notional and margin tiers, where they
    differ from those given here for all.
    ``schedule_date`` and ``schedule_source`` say when and where fees and margin tiers were read; a
    schedule older than a year at the end of the test is a finding (A009).
    """

    cash: Positive = 10_000.0
    leverage: Annotated[float, Field(ge=1, le=125)] = 1.0
    margin: Literal["isolated", "cross"] = "isolated"
    maker_fee: Annotated[float, Field(gt=-0.01, lt=0.1)] = 0.0002
    taker_fee: Annotated[float, Field(ge=0, lt=0.1)] = 0.0005
    liquidation_fee: Annotated[float, Field(ge=0, lt=0.1)] = 0.005
    tick_size: NonNegative = 0.0
    lot_size: NonNegative = 0.001
    min_notional: NonNegative = 5.0
    slippage: SlippageSection = SlippageSection()
    volume_share: Annotated[float, Field(gt=0, le=1)] | None = None
    cheat_on_open: bool = False
    tiers: Tiers = DEFAULT_TIERS
    contracts: dict[Name, ContractSection] = Field(default_factory=dict)
    schedule_date: Stamp | None = "2024-10-01T00:00:00Z"
    schedule_source: str = "Binance USDT-M, regular tier; margin brackets of October 2024"

    def of(self, symbol: str) -> BrokerSection:
        """Return the account's rules for one contract, with what ``contracts`` says of it."""
        if not self.contracts:
            return self
        own = self.contracts.get(symbol)
        facts = {} if own is None else {name: value for name, value in own if value is not None}
        return self.model_copy(update={**facts, "contracts": {}})


class ReportSection(Section):
    """What is written besides the data files."""

    tearsheet: bool = True
    html: bool = True
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95


class ComputeSection(Section):
    """Where and how it is computed; never changes the question.

    ``seeds`` repeats the training with other seeds and shows how far its chance moves the result
    (``perpwalk.audit.seeds``); the headline stays that of the configuration's own ``seed``.
    ``jobs`` folds are fitted at a time, by processes of this machine (``loky``) or by a ``dask`` or
    ``ray`` cluster, at ``address`` or a local one of its own; 0 is one here and all that a cluster
    has, ``auto`` one per core here too. ``threads`` are each fit's own then.
    ``engine`` keeps the account: ``backtrader``, checked by the compiled ledger, or the ``ledger``
    alone, thousands of times as fast; ``check`` replays that with Backtrader too and compares.
    ``deterministic`` promises the same bits whatever the number of cores, threads, jobs and the
    backend, on processors with the same vector instructions: one thread for each task, and the CPU.
    """

    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    signals: Literal["batched", "online"] = "batched"
    seeds: Annotated[tuple[Seed, ...], pydantic.Strict(False), Field(max_length=100)] = ()
    jobs: Annotated[int, Field(ge=0, le=100_000)] | Literal["auto"] = 0
    backend: Literal["loky", "dask", "ray"] = "loky"
    address: str | None = None
    engine: Literal["backtrader", "ledger"] = "backtrader"
    check: bool = False
    deterministic: bool = False

    @pydantic.model_validator(mode="before")
    @classmethod
    def _settled_where_deterministic(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("deterministic") is not True:
            return given
        if given.get("device") in ("cuda", "mps"):
            raise ValueError(
                f"deterministic: two accelerators need not agree on a bit; leave "
                f"compute.device={given['device']} out"
            )
        return {**given, "device": "cpu", "threads": 1}

    @pydantic.field_validator("seeds")
    @classmethod
    def _each_once(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"a seed is given twice: {', '.join(map(str, seeds))}")
        return seeds


class Config(Section):
    """One experiment, fully resolved.

    ``markets`` lists the contracts of one account where there are several; each is written over
    ``market``, which holds what they have in common. Empty: the one contract of ``market``.
    """

    name: Name = "experiment"
    seed: Seed = 7
    market: MarketSection = MarketSection()
    markets: Annotated[
        tuple[MarketSection, ...], pydantic.Strict(False), Field(max_length=1000)
    ] = ()
    features: FeaturesSection = FeaturesSection()
    label: LabelSection = LabelSection()
    walk_forward: WalkForwardSection = WalkForwardSection()
    model: ModelSection = ModelSection()
    strategy: StrategySection = StrategySection()
    broker: BrokerSection = BrokerSection()
    report: ReportSection = ReportSection()
    compute: ComputeSection = ComputeSection()

    @pydantic.model_validator(mode="after")
    def _warm_start_needs_a_network(self) -> Config:
        if self.walk_forward.warm_start and self.model.kind in ("xgb", "logistic", "majority"):
            raise ValueError(
                f"walk_forward.warm_start carries a network's weights on, and model.kind "
                f"'{self.model.kind}' has none; leave it out, or use lstm_xgb or lstm"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _markets_fit_one_account(self) -> Config:
        symbols = [section.symbol.lower() for section in self.markets]
        twice = [s.symbol for s in self.markets if symbols.count(s.symbol.lower()) > 1]
        if twice:
            raise ValueError(
                f"markets: {twice[0]} stands {len(twice)} times; give each contract a symbol of "
                "its own (capital and small letters do not tell two apart)"
            )
        apart = [s for s in self.markets if s.interval != self.market.interval]
        if apart:
            raise ValueError(
                f"markets: {apart[0].symbol} has bars of {apart[0].interval}, the account decides "
                f"every {self.market.interval} (market.interval); give all of them one interval"
            )
        kinds = {section.is_simulated for section in self.markets}
        if len(kinds) > 1:
            simulated = next(s.symbol for s in self.markets if s.is_simulated)
            raise ValueError(
                f"markets: {simulated} names no ohlcv file and no exchange and would be "
                "simulated beside real ones; give one of them"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _contracts_are_traded(self) -> Config:
        strangers = [symbol for symbol in self.broker.contracts if symbol not in self.symbols]
        if strangers:
            raise ValueError(
                f"broker.contracts: {strangers[0]} is not traded here (traded: "
                f"{', '.join(self.symbols)})"
            )
        return self

    @property
    def symbols(self) -> tuple[str, ...]:
        """The contracts of the account, in the order in which they act."""
        return tuple(section.symbol for section in self.markets) or (self.market.symbol,)

    @property
    def is_simulated(self) -> bool:
        """Whether the markets are drawn, not read."""
        return (self.markets or (self.market,))[0].is_simulated

    def each_market(self) -> tuple[Config, ...]:
        """Return one configuration per contract: the same, of that contract alone.

        Simulated contracts that share a seed are drawn from seeds of their own, made of it and of
        their symbols.
        """
        if not self.markets:
            return (self,)
        return tuple(
            self.model_copy(
                update={
                    "market": _drawn_apart(section, self.seed),
                    "markets": (),
                    "broker": self.broker.of(section.symbol),
                }
            )
            for section in self.markets
        )

    def as_dict(self) -> dict[str, Any]:
        """Return plain dicts, lists, strings and numbers, every default included."""
        dumped: dict[str, Any] = self.model_dump(mode="json")
        # Of each contract only what it does not share, so that what is set in `market` holds.
        dumped["markets"] = [
            {"symbol": section["symbol"]} | _beyond(section, dumped["market"])
            for section in dumped["markets"]
        ]
        return dumped

    def to_yaml(self) -> str:
        """Return the resolved configuration as YAML that ``load`` reads back to an equal one."""
        return str(yaml.safe_dump(self.as_dict(), sort_keys=False, allow_unicode=True))

    def digest(self, data_hashes: dict[str, str]) -> str:
        """Return the sha256 that names the question: configuration and data, not their places.

        Paths of data files and of the user's Python files are replaced by the hashes of what they
        hold; ``compute.device``, ``threads``, ``engine`` and ``check`` say where and how the same
        answer is computed, and ``compute.seeds`` what stands beside it: they are left out.
        """
        return digest_of(self.question(data_hashes))

    def question(self, data_hashes: dict[str, str]) -> dict[str, Any]:
        """Return what ``digest`` is the hash of, as plain values."""
        question: dict[str, Any] = self.model_dump(mode="json")
        if self.markets:  # each of them is written out: what they have in common asks nothing
            del question["market"]
        else:
            del question["markets"]
        for section, of in _sections_with_sources(question):
            for kind in DATA_FILES:
                section[kind] = data_hashes.get(of(kind))
            del section["exchange"], section["store"]  # where from; the hashes say what
        question["features"]["modules"] = self.features.contents()
        question["strategy"]["name"] = named_by_content(self.strategy.name, "strategy.name")
        slippage = question["broker"]["slippage"]
        slippage["kind"] = named_by_content(slippage["kind"], "broker.slippage.kind")
        question["label"]["kind"] = named_by_content(self.label.kind, "label.kind")
        question["model"]["kind"] = named_by_content(self.model.kind, "model.kind")
        for name in ("device", "threads", "seeds", "jobs", "backend", "address", "engine", "check",
                     "deterministic"):  # fmt: skip
            del question["compute"][name]
        return question


def digest_of(question: Mapping[str, Any]) -> str:
    """Return the hash that names a question."""
    text = json.dumps(question, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def named_by_content(name: str, key: str) -> str:
    """Replace the file in ``path/to/file.py:Name``, the value of ``key``, by its content's hash."""
    place, attribute = plugins.split(name)
    return f"{_content(place, key)}:{attribute}" if plugins.is_file(place) else name


def _beyond(section: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a section that say something else than the one it is written over."""
    return {
        key: _beyond(value, common[key]) if isinstance(value, dict) else value
        for key, value in section.items()
        if value != common[key]
    }


def source_name(symbol: str, kind: str) -> str:
    """Return what a data file is called where the account holds several contracts."""
    return f"{symbol}/{kind}"


def _sections_with_sources(
    question: dict[str, Any],
) -> list[tuple[dict[str, Any], Callable[[str], str]]]:
    """Return each market of a question, and how its data files are called."""
    if "market" in question:
        return [(question["market"], str)]
    return [
        (section, functools.partial(source_name, section["symbol"]))
        for section in question["markets"]
    ]


def _drawn_apart(section: MarketSection, seed: int) -> MarketSection:
    """Return a simulated contract with a seed that no other symbol of the account has."""
    if not section.is_simulated or section.simulate.seed is not None:
        return section
    drawn = hashlib.sha256(f"{seed} {section.symbol}".encode()).digest()
    own = int.from_bytes(drawn[:4], "big") >> 1
    return section.model_copy(
        update={"simulate": section.simulate.model_copy(update={"seed": own})}
    )


def _content(path: str, key: str) -> str:
    """Return the hash of code, or its name where it cannot be read (that is said later)."""
    return plugins.content_of(path, key) or path


# ── reading ──────────────────────────────────────────────────────────────────────────────────────


def load(path: Path | str, overrides: typing.Sequence[str] = ()) -> Config:
    """Read ``path`` with what it extends, and apply ``a.b=c`` overrides.

    Relative paths of data files and user modules are made absolute: looked for beside the
    configuration that names them first, then in the current directory.

    Raises
    ------
    ConfigError
        The file is missing, too large, no YAML mapping, or a key is wrong.
    """
    return of_layers(layers.read(Path(path), overrides))


def of_layers(layered: Layered) -> Config:
    """Resolve what one or several files say; a mistake names the file that holds the key."""
    try:
        return _with_absolute_paths(resolve(layered.raw), layered.folder_of)
    except ConfigError as error:
        raise layered.located(error) from error


def resolve(raw: dict[str, Any]) -> Config:
    """Validate a plain mapping into a Config, turning each problem into one readable line."""
    try:
        return _alone(Config.model_validate(_with_markets_written_out(raw)))
    except pydantic.ValidationError as error:
        raise _readable(error) from error


def _with_markets_written_out(raw: dict[str, Any]) -> dict[str, Any]:
    """Write each entry of ``markets`` over ``market``; a single one is the market itself."""
    entries, common = raw.get("markets"), raw.get("market", {})
    if not isinstance(entries, list) or not isinstance(common, dict):
        return raw  # absent, or refused by the section's own check
    whole = [layers.over(common, entry) if isinstance(entry, dict) else entry for entry in entries]
    unnamed = [n for n, one in enumerate(entries) if isinstance(one, dict) and "symbol" not in one]
    if unnamed and len(whole) > 1:
        raise ConfigError("each contract needs a symbol", key=f"markets.{unnamed[0]}")
    if len(whole) == 1:
        return {**raw, "market": whole[0], "markets": []}
    return {**raw, "markets": whole}


def _alone(config: Config) -> Config:
    """Return a configuration of one contract whose own rules are the account's."""
    if config.markets or not config.broker.contracts:
        return config
    return config.model_copy(update={"broker": config.broker.of(config.market.symbol)})


def _readable(error: pydantic.ValidationError) -> ConfigError:
    """Turn the first problem into a sentence, with the near miss for an unknown key."""
    problem, branches = _as_one(error.errors())
    path = [str(part)[:60] for part in problem["loc"]]
    more = len(error.errors()) - branches
    tail = f" (and {more} more problem{'s' if more > 1 else ''})" if more else ""
    key = ".".join(path) or None
    if problem["type"] == "extra_forbidden":
        known = _known_keys(path[:-1])
        near = difflib.get_close_matches(path[-1], known, n=1, cutoff=0.6)
        hint = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(sorted(known))}"
        return ConfigError(f"unknown key; {hint}{tail}", key=key)
    message = problem["msg"].removeprefix("Value error, ")[:600]
    shown = repr(problem["input"])
    given = "" if isinstance(problem["input"], dict) or len(shown) > 80 else f" (found {shown})"
    return ConfigError(f"{message}{given}{tail}", key=key)


def _as_one(problems: list[Any]) -> tuple[Any, int]:
    """Return the first problem, and how many of all it stands for.

    A setting that may be one thing or another (a number or ``auto``) is wrong in each way at once.
    """
    first = problems[0]
    if not first["loc"]:  # of the configuration as a whole
        return first, 1
    *path, last = first["loc"]
    if not isinstance(last, str) or last in _known_keys([str(part) for part in path]):
        return first, 1
    same = [each for each in problems if list(each["loc"][:-1]) == path]
    if len(same) == 1 or first["type"] == "extra_forbidden":
        return first, 1
    others = [each["msg"].removeprefix("Input should be ") for each in same[1:]]
    return {**first, "loc": tuple(path), "msg": " or ".join([first["msg"], *others])}, len(same)


def _known_keys(path: list[str]) -> list[str]:
    model: Any = Config
    for part in path:
        field = model.model_fields.get(part)
        annotation = None if field is None else field.annotation
        candidates = (
            typing.get_args(annotation)
            if isinstance(annotation, types.UnionType) or typing.get_args(annotation)
            else [annotation]
        )
        sections: list[Any] = [
            c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)
        ]
        if not sections:
            break
        model = sections[0]
    return list(model.model_fields)


# ── paths ────────────────────────────────────────────────────────────────────────────────────────

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def _expand(text: str, key: str) -> str:
    """Replace ``${NAME}`` and ``${NAME:-default}`` by the environment's value."""

    def value(match: re.Match[str]) -> str:
        found = os.environ.get(match[1], match[2])
        if found is None:
            raise ConfigError(f"environment variable {match[1]} is not set", key=key)
        return found

    return _VARIABLE.sub(value, text)


def _absolute(text: str, base: Path, key: str) -> str:
    """Return an absolute path: beside the configuration if it is there, else from the cwd."""
    expanded = _expand(text, key)
    if "\0" in expanded:
        raise ConfigError("a path holds no zero byte", key=key)
    if "://" in expanded:
        raise ConfigError(f"'{expanded}' is an address; give the path of a local file", key=key)
    path = disk.named(expanded)
    if path.is_absolute():
        return str(path)
    beside = (base / path).resolve()
    return str(beside if beside.exists() else path.resolve())


STORE_VARIABLE = "PERPWALK_STORE"


def default_store() -> str:
    """Return where fetched data are kept unless told otherwise."""
    return os.environ.get(STORE_VARIABLE) or "data/store"


def _with_absolute_paths(config: Config, folder_of: Callable[[str], Path]) -> Config:
    def absolute(text: str, key: str) -> str:
        return _absolute(text, folder_of(key), key)

    def with_files(section: MarketSection, key: str) -> MarketSection:
        found = {
            kind: absolute(text, f"{key}.{kind}")
            for kind in DATA_FILES
            if (text := getattr(section, kind)) is not None
        }
        if section.exchange is not None:
            found["store"] = absolute(section.store or default_store(), f"{key}.store")
        return section.model_copy(update=found)

    modules = tuple(absolute(text, "features.modules") for text in config.features.modules)

    def plugin(name: str, key: str) -> str:
        file, _, attribute = name.rpartition(":")
        return f"{absolute(file, key)}:{attribute}" if file.endswith(".py") else name

    strategy = plugin(config.strategy.name, "strategy.name")
    label = plugin(config.label.kind, "label.kind")
    model = plugin(config.model.kind, "model.kind")
    slippage = config.broker.slippage
    charged = slippage.model_copy(update={"kind": plugin(slippage.kind, "broker.slippage.kind")})
    return config.model_copy(
        update={
            "strategy": config.strategy.model_copy(update={"name": strategy}),
            "label": config.label.model_copy(update={"kind": label}),
            "model": config.model.model_copy(update={"kind": model}),
            "broker": config.broker.model_copy(update={"slippage": charged}),
            "market": with_files(config.market, "market"),
            "markets": tuple(with_files(section, "markets") for section in config.markets),
            "features": config.features.model_copy(update={"modules": modules}),
        }
    )
