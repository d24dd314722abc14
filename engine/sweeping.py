"""``perpwalk sweep``: thousands of variants of what comes after the forecasts of one finished run.

Thresholds, strategies with a plan, their parameters and the settings of the account are varied in
a grid; the forecasts stay those of the run. Every variant is a trial and is put on record as one,
so that the best of them is judged by what the best of so many lucky ones would have reached.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import html
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from engine import audits, crosscheck, ledger_engine, standing
from engine.experiment import run_experiment
from engine.history import History, plans_ahead
from engine.plugins import load_strategy
from engine.progress import Reporter, Silent
from engine.variants import Grid
from perpwalk import config as configuration
from perpwalk import data, deflation, disk, runs, sweeps, trials
from perpwalk import returns as growth
from perpwalk.config import Config
from perpwalk.deflation import Deflated
from perpwalk.domain import FloatArray, Market
from perpwalk.errors import ConfigError, UsageError
from perpwalk.reports import words
from perpwalk.run_config import code_named, config_to_load
from perpwalk.runs import Run
from perpwalk.sweeps import RUN_COLUMNS, Swept, Variant
from perpwalk.uncertainty.multiple import effective_trials_of
from perpwalk.uncertainty.overfitting import overfitting_by_blocks
from perpwalk.uncertainty.sharpe import sharpe_stats

MAX_VARIANTS = 200_000
SECTIONS = ("strategy", "broker")
BLOCKS = (6, 8, 10)  # cuts of time for the probability of overfitting
BY = ("sharpe", "total_return", "cagr", "calmar", "max_drawdown")


@dataclass(frozen=True, eq=False)
class Sweep:
    """What a sweep came to.

    Attributes
    ----------
    table
        One row per variant: the varied keys, ``perpwalk.sweeps.SWEEP_COLUMNS``, then what is known
        of the run they all stand on (``RUN_COLUMNS``), best first.
    by
        What orders it.
    run
        The finished run whose forecasts were traded.
    worth
        How many independent trials the variants are worth.
    deflated
        The Sharpe ratio of the variant with the best one, judged over all trials on record.
    overfitting
        Number of cuts of time → how often the best in one half was below the median in the other.
    path
        The folder it is kept in.
    """

    table: pd.DataFrame
    by: str
    run: Run
    worth: float
    deflated: Deflated
    overfitting: Mapping[int, float]
    path: Path

    def __repr__(self) -> str:
        """Return how many variants of which run."""
        return f"Sweep({len(self.table):,} variants of {self.run.path.name}, kept in {self.path})"

    @property
    def verdict(self) -> str:
        """The verdict on the run, which no choice of variants can better."""
        return str(self.run.audit["verdict"]["overall"])

    def _repr_html_(self) -> str:
        """Return the best rows for a notebook; of an invalid run its diagnosis alone."""
        rows = "" if self.verdict == "invalid" else self.table.head(10).to_html(index=False)
        return f"<p>{html.escape(self.in_words())}</p>{rows}"

    def in_words(self) -> str:
        """Say in a sentence or two what the best of so many is worth, if the run is a result."""
        why = "; ".join(words.reasons(self.run.audit["findings"]))
        if self.verdict == "invalid":
            return f"The run is INVALID, so no figure of its variants is a result: {why}"
        if self.verdict != "suspect":
            return self._worth_in_words()
        accepted = words.accepted(self.run.audit["verdict"])
        told = f"{why} ({accepted})" if accepted else why
        return f"The run is SUSPECT, and its variants with it: {told}. {self._worth_in_words()}"

    def _worth_in_words(self) -> str:
        found, per_year = self.deflated, self._scale
        counted = f"{len(self.table):,} variants worth {self.worth:.1f} independent ones"
        if found.probability is None or found.lucky is None:
            return f"{counted}; the best Sharpe ratio is not judged: {found.reason}"
        best = float(self.table["sharpe"].max())
        overfit = ", ".join(f"{pbo:.2f}" for pbo in self.overfitting.values()) or "not to be said"
        return (
            f"{counted}. Best Sharpe ratio {best:.2f}; the best of so many lucky ones would reach "
            f"{found.lucky * per_year:.2f}: the chance that it is better than luck is "
            f"{found.probability:.1%} (deflated over {found.method}). Probability of overfitting "
            f"{overfit}."
        )

    @property
    def _scale(self) -> float:
        stamps = self.run.equity["close_time"]
        return math.sqrt(growth.bars_per_year(stamps.iloc[1] - stamps.iloc[0]))


def sweep(
    item: str | Path | Config | Run,
    *,
    grid: Grid,
    out: Path,
    by: str = "sharpe",
    threads: int = 0,
    prior_trials: int | None = None,
    overrides: Sequence[str] = (),
    code: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> Sweep:
    """Try every combination of ``grid`` on the forecasts of one run.

    Parameters
    ----------
    item
        A finished run or its folder; or a configuration, which is run first where it has not been.
    grid
        Dotted key → values. Keys below ``strategy`` and ``broker``.
    out
        The results folder, for a configuration; a sweep is kept beside its run.
    by
        What the table is ordered by.
    threads
        How many variants at once; 0 as many as there are cores.
    prior_trials
        Trials made before or elsewhere; put on record.
    code
        Code that a finished run names and that may be loaded (``run_config.config_to_load``).

    Raises
    ------
    UserError
        A key, a value or the run is unusable; a strategy has no plan.
    """
    tell = reporter or Silent()
    _check_asked(grid, by)
    run, config = _opened(item, out, overrides, code, tell)
    results = standing.results_of(run)
    base = _Base.of(run, config)
    field = _Field.of(base, grid)
    if prior_trials is not None:
        trials.declare(results, prior_trials)
    tell.say(f"{field.size:,} variants of {run.path}, {len(base.history):,} bars each")
    tell.stage("sweep", field.size)
    swept = sweeps.sweep(
        base.history.market, field.variants(), start=base.history.first, end=base.history.stop,
        keep="daily", threads=threads,
        on_done=lambda done: tell.detail(f"variant {done:,} of {field.size:,}"),
    )  # fmt: skip
    return _judged(base, field, swept, results, by)


def _check_asked(grid: Grid, by: str) -> None:
    if not grid:
        raise UsageError("nothing to sweep: give at least one --grid KEY=VALUE,VALUE")
    if by not in BY:
        raise UsageError(f"--by {by}: order by {', '.join(BY)}")
    for key in grid:
        if key.partition(".")[0] not in SECTIONS:
            raise UsageError(
                f"--grid {key}: a sweep varies what comes after the forecasts (strategy.*, "
                "broker.*); for the rest use perpwalk compare"
            )
        if key == "broker.cheat_on_open":
            raise UsageError(f"--grid {key}: the compiled account fills at the next open only")
    size = math.prod(len(values) for values in grid.values())
    if size > MAX_VARIANTS:
        raise UsageError(f"{size:,} variants are more than {MAX_VARIANTS:,}: try fewer values")


def _opened(
    item: str | Path | Config | Run,
    out: Path,
    overrides: Sequence[str],
    code: Sequence[str],
    tell: Reporter,
) -> tuple[Run, Config]:
    """Return the run that is meant and its configuration; a configuration is run first."""
    if isinstance(item, str | Path) and not Path(item).is_dir():
        item = configuration.load(Path(item), overrides)
    if isinstance(item, Config):
        run = run_experiment(item, out=out, reporter=tell)
        return run, config_to_load(run, [name for _, name in code_named(item)])
    if overrides:
        raise UsageError("--set belongs to a configuration; a finished run stays as it is")
    run = item if isinstance(item, Run) else runs.load_run(item)
    runs.require_sealed(run)
    return run, config_to_load(run, code)


# ── what is varied ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Base:
    """The run that is varied: its configuration, its market and what it forecast."""

    run: Run
    config: Config
    hashes: dict[str, str]
    history: History

    @classmethod
    def of(cls, run: Run, config: Config) -> _Base:
        if len(config.symbols) > 1:
            raise UsageError(f"{run.path} trades several contracts; a sweep takes one")
        market = data.load_markets(config)[0]
        hashes = audits.hashes_of([market])
        standing.require_same_data(run, config, hashes)
        return cls(run, config, hashes, _history(run, market))


def _history(run: Run, market: Market) -> History:
    equity, said = run.equity, run.predictions
    rows = crosscheck.rows_between(
        market, equity["close_time"].iloc[0], equity["close_time"].iloc[-1]
    )
    at = market.bars.close_time[rows.start : rows.stop].get_indexer(
        pd.DatetimeIndex(said["close_time"])
    )
    fold_threshold = run.folds.set_index("fold")["threshold"]
    p_up, threshold = np.full((2, len(rows)), np.nan)
    p_up[at] = said["p_up"].to_numpy()
    threshold[at] = fold_threshold.loc[said["fold"]].to_numpy()
    return History.at(market, rows.start, rows.stop, p_up, threshold)


@dataclass(frozen=True, eq=False)
class _Field:
    """The combinations that are tried, in the order of the grid."""

    base: _Base
    grid: Mapping[str, tuple[Any, ...]]

    @classmethod
    def of(cls, base: _Base, grid: Grid) -> _Field:
        """Check every value of every key, and take it as the configuration resolves it."""
        settled = {configuration.settled_key(base.config, key): v for key, v in grid.items()}
        field = cls(
            base, {key: _resolved(base.config, key, values) for key, values in settled.items()}
        )
        for strategy in field.strategies():
            field.check(*strategy)
        return field

    @property
    def size(self) -> int:
        return math.prod(len(values) for values in self.grid.values())

    def points(self) -> Iterator[tuple[Any, ...]]:
        return itertools.product(*self.grid.values())

    def strategies(self) -> list[tuple[str, dict[str, Any]]]:
        """Return each strategy's name, with the parameters of every value of the grid once."""
        names = self.grid.get("strategy.name", (self.base.config.strategy.name,))
        varied = {k.removeprefix("strategy.params."): v for k, v in self.grid.items()
                  if k.startswith("strategy.params.")}  # fmt: skip
        longest = max((len(values) for values in varied.values()), default=1)
        common = dict(self.base.config.strategy.params)
        return [
            (
                name,
                common | {key: values[min(n, len(values) - 1)] for key, values in varied.items()},
            )
            for name in names
            for n in range(longest)
        ]

    def check(self, name: str, params: Mapping[str, Any]) -> None:
        strategy, _ = load_strategy(name, params)
        config = self.base.config
        ledger_engine.refuse(strategy, config.broker, intrabar=config.market.intrabar)
        if not plans_ahead(strategy):
            raise ConfigError(
                f"{strategy.__name__} has no plan of its own, which a sweep needs (see "
                "strategies/README.md); perpwalk compare --engine ledger takes any strategy",
                key="strategy.name",
            )
        ledger_engine.planned(strategy, params, self.base.history)

    def variants(self) -> list[Variant]:
        return [self._variant(dict(zip(self.grid, point, strict=True))) for point in self.points()]

    def _variant(self, point: Mapping[str, Any]) -> Variant:
        config = self.base.config
        params = dict(config.strategy.params)
        params |= {k.removeprefix("strategy.params."): v for k, v in point.items()
                   if k.startswith("strategy.params.")}  # fmt: skip
        strategy = _loaded(point.get("strategy.name", config.strategy.name))
        history = self.base.history
        if isinstance(point.get("strategy.threshold"), float):
            history = self._at_threshold(point["strategy.threshold"])
        broker = self._broker(tuple((k, v) for k, v in point.items() if k.startswith("broker.")))
        return Variant(
            functools.partial(_plan, strategy, params, history),
            ledger_engine.sizing_of(strategy, params),
            broker,
        )

    @functools.cached_property
    def _brokers(self) -> dict[tuple[tuple[str, Any], ...], Any]:
        return {}

    def _broker(self, settings: tuple[tuple[str, Any], ...]) -> Any:
        if settings not in self._brokers:
            changed = self.base.config
            for key, value in settings:
                changed = _with(changed, key, value)
            self._brokers[settings] = changed.broker
        return self._brokers[settings]

    @functools.cached_property
    def _histories(self) -> dict[float, History]:
        return {}

    def _at_threshold(self, threshold: float) -> History:
        if threshold not in self._histories:
            self._histories[threshold] = self.base.history.with_threshold(threshold)
        return self._histories[threshold]

    def questions(self) -> list[str]:
        """Return the digest of each variant: what ``perpwalk run`` would call the same question."""
        asked = self.base.config.question(self.base.hashes)
        found = []
        for point in self.points():
            for key, value in zip(self.grid, point, strict=True):
                *parents, last = key.split(".")
                functools.reduce(lambda one, name: one[name], parents, asked)[last] = value
            found.append(configuration.digest_of(asked))
        return found


@functools.cache
def _loaded(name: str) -> type:
    return load_strategy(name, {})[0]


def _plan(strategy: type, params: Mapping[str, Any], history: History) -> Any:
    return ledger_engine.plan_of(strategy, params, history)


def _with(config: Config, key: str, value: Any) -> Config:
    raw = config.as_dict()
    *parents, last = key.split(".")
    try:
        functools.reduce(lambda one, name: one[name], parents, raw)[last] = value
    except (KeyError, TypeError) as error:
        raise ConfigError("there is no such section", key=key) from error
    return configuration.resolve(raw)


def _resolved(config: Config, key: str, values: Sequence[Any]) -> tuple[Any, ...]:
    """Return the values as the configuration holds them, each once."""
    found: list[Any] = []
    for value in values:
        resolved: Any = _with(config, key, value).as_dict()
        for name in key.split("."):
            resolved = resolved[name]
        if not isinstance(resolved, str | int | float | bool | None):
            raise ConfigError("is a section; sweep single values", key=key)
        if key == "strategy.threshold" and resolved == "validation" != config.strategy.threshold:
            raise ConfigError("the run kept no validation forecasts to choose it from", key=key)
        found.append(resolved)
    return tuple(dict.fromkeys(found))


# ── what it is worth ─────────────────────────────────────────────────────────────────────────────


def _judged(base: _Base, field: _Field, swept: Swept, results: Path, by: str) -> Sweep:
    assert swept.daily is not None  # noqa: S101 - asked for
    seconds = base.history.market.bars.interval.total_seconds()
    per_bar = swept.table["sharpe"] / math.sqrt(
        growth.bars_per_year(base.history.market.bars.interval)
    )
    questions = field.questions()
    worth = round(effective_trials_of(swept.daily.T), 6)
    trials.sweep(
        results, experiment=base.config.name, variant=base.run.path.name, worth=worth,
        ratios=dict(zip(questions, per_bar.tolist(), strict=True)), bar_seconds=seconds,
    )  # fmt: skip
    points = pd.DataFrame(list(field.points()), columns=list(field.grid))
    table = pd.concat([points, swept.table], axis=1).assign(**_of_run(base.run))
    best = _best(field, swept)
    found = Sweep(
        table=table.sort_values(by, ascending=False, kind="stable", ignore_index=True),
        by=by,
        run=base.run,
        worth=worth,
        deflated=deflation.deflated(
            results, sharpe_stats(best) if best is not None else None, bar_seconds=seconds
        ),
        overfitting={one.blocks: one.pbo for one in overfitting_by_blocks(swept.daily.T, BLOCKS)},
        path=base.run.path.parent / f"sweep-{_name(questions)}",
    )
    _write(found)
    return found


def _of_run(run: Run) -> dict[str, str]:
    """Return what every row says of the run: its verdict, codes of its errors and warnings."""
    told = [f["code"] for f in run.audit["findings"] if f["level"] in ("error", "warn")]
    codes = " ".join(dict.fromkeys(told))
    return dict(zip(RUN_COLUMNS, (str(run.audit["verdict"]["overall"]), codes), strict=True))


def _best(field: _Field, swept: Swept) -> FloatArray | None:
    """Return the returns per bar of the variant with the best Sharpe ratio; None without one."""
    if swept.table["sharpe"].isna().all():
        return None
    row = int(swept.table["sharpe"].argmax())
    point = next(itertools.islice(field.points(), row, None))
    variant = field._variant(dict(zip(field.grid, point, strict=True)))
    history = field.base.history
    again = sweeps.sweep(
        history.market, [variant], start=history.first, end=history.stop, keep="equity"
    )
    assert again.equity is not None  # noqa: S101 - asked for
    return growth.equity_returns(variant.broker.cash, again.equity[0])


def _name(questions: Sequence[str]) -> str:
    return hashlib.sha256("".join(sorted(questions)).encode()).hexdigest()[:8]


def _write(found: Sweep) -> None:
    document = {
        "run": found.run.path.name,
        "config_hash": found.run.question,
        "verdict": found.run.audit["verdict"],
        "findings": found.run.audit["findings"],
        "variants": len(found.table),
        "by": found.by,
        "independent_trials": found.worth,
        "deflated": dataclasses.asdict(found.deflated),
        "overfitting": {str(blocks): pbo for blocks, pbo in found.overfitting.items()},
        "in_words": found.in_words(),
    }
    with disk.written_together(found.path) as fresh:
        runs.write_csv(fresh / "sweep.csv", found.table)
        runs.write_json(fresh / "sweep.json", runs.plain(document))
