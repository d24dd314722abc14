"""What a notebook or a script calls: ``perpwalk.run``, ``perpwalk.load``, ``perpwalk.compare``.

A thin door: it opens configurations and runs and hands everything else on. The engine is fetched by
name when it is needed, so that ``perpwalk`` still imports nothing of it, and importing ``perpwalk``
costs nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from perpwalk import config as configuration
from perpwalk import runs
from perpwalk.comparison import record
from perpwalk.config import Config
from perpwalk.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ConfigLike = Config | Mapping[str, Any] | str | Path


class Plots:
    """The main figures of one run; each method returns a ``matplotlib.figure.Figure``."""

    def __init__(self, run: runs.Run) -> None:
        self._run = run

    def equity(self, against: runs.Run | None = None) -> Figure:
        """Equity against holding the contract, or against another run, and the drawdown."""
        from perpwalk.reports.figures import equity_figure

        return equity_figure(self._run, against)

    def costs(self) -> Figure:
        """From gross to net: fees, slippage and funding, cumulated."""
        return self._draw("costs")

    def direction(self) -> Figure:
        """Accuracy and AUC per period with intervals."""
        return self._draw("direction")

    def calibration(self) -> Figure:
        """How often the price rose where the model said p."""
        return self._draw("calibration")

    def _draw(self, name: str) -> Figure:
        from perpwalk.reports.figures import FIGURES

        return FIGURES[name](self._run)


class Run(runs.Run):
    """A finished run: its tables as pandas frames, its verdict, its figures.

    ``metrics, predictions, equity, trades, orders, funding, folds, training`` are frames;
    ``audit``, ``manifest`` dicts; ``plot`` draws. In a notebook it shows its verdict and headline
    figures; an invalid run shows its diagnosis in their place.
    """

    @property
    def verdict(self) -> str:
        """``invalid``, ``suspect``, ``inconclusive`` or ``supported``."""
        return str(self.audit["verdict"]["overall"])

    @property
    def plot(self) -> Plots:
        """The main figures."""
        return Plots(self)

    def __repr__(self) -> str:
        """Return experiment, run and verdict."""
        return f"Run({self.path.parent.name}/{self.path.name}: {self.verdict})"

    def __str__(self) -> str:
        """Return what ``perpwalk run`` prints of it."""
        from perpwalk.costs import CostSummary
        from perpwalk.reports.table import render_table

        return render_table(self.metrics, self.audit, costs=CostSummary.of(self.equity))

    def _repr_html_(self) -> str:
        """Return verdict, costs and periods for a notebook: the tearsheet's own section."""
        from perpwalk import reports
        from perpwalk.reports.sheet import render_section

        return render_section(reports.sheet_of(self), None, None)


class ComparisonPlots:
    """The main figures of a comparison; each method returns a ``matplotlib.figure.Figure``."""

    def __init__(self, found: record.Comparison) -> None:
        self._found = found

    def growth(self) -> Figure:
        """Growth of 1 in every variant, after all costs, and in holding."""
        return self._draw("growth")

    def intervals(self, metric: str | None = None) -> Figure:
        """One metric of every variant with its interval; by default what orders them."""
        return self._draw("intervals", metric)

    def ranks(self, kind: str = "month", metric: str | None = None) -> Figure:
        """Ranks of the variants in every month, quarter, regime or symbol."""
        return self._draw("ranks", kind, metric)

    def _draw(self, name: str, *asked: str | None) -> Figure:
        from perpwalk.reports import comparison_figures

        draw: Callable[..., Figure] = comparison_figures.FIGURES[name]
        return draw(self._found, *asked)


class Comparison(record.Comparison):
    """Variants side by side: frames, the verdict in words, figures.

    ``variants, metrics, pairwise, spa, members, deflated, overfitting, periods, ranks, stability,
    changes, curves`` are frames; ``winner`` is None where none is told from the others, from
    holding nothing and from luck; ``plot`` draws; ``path`` is where it is kept.
    """

    @property
    def plot(self) -> ComparisonPlots:
        """The main figures."""
        return ComparisonPlots(self)

    def __repr__(self) -> str:
        """Return name, number of variants and winner."""
        won = "no winner" if self.winner is None else f"winner {self.winner}"
        return f"Comparison({self.name}: {len(self.variants)} variants, {won})"

    def __str__(self) -> str:
        """Return what ``perpwalk compare`` prints of it."""
        from perpwalk.reports.comparison_table import render

        return render(self)

    def _repr_html_(self) -> str:
        """Return the verdict and the table of the variants for a notebook."""
        from perpwalk.reports.comparison_table import as_html

        return as_html(self)


def run(
    config: ConfigLike,
    *,
    out: str | Path = "results",
    overrides: Sequence[str] = (),
    force: bool = False,
    cache: bool = True,
    progress: bool = False,
    engine: Literal["backtrader", "ledger"] | None = None,
    check: bool = False,
) -> Run:
    """Run one experiment as ``perpwalk run`` does, and return it.

    Parameters
    ----------
    config
        A path to a YAML file, a mapping of sections, or a ``Config``.
    out
        The results folder; the run is kept in ``out/<name>/<variant>-<hash8>``, and returned from
        there if it has been made before.
    overrides
        ``a.b=c``, as behind ``--set``; for a path only.
    force
        Make the run again.
    cache
        Take features, models and forecasts that were computed before, and keep those made now.
    progress
        Show stages and folds on stderr.
    engine
        Who keeps the account; None what the configuration says (``compute.engine``).
    check
        Replay what the ledger engine kept with Backtrader too, and compare.

    Raises
    ------
    UserError
        Configuration, data or output cannot be used; the message says what, where, what to do.
    """
    resolved = _kept_by(_config(config, overrides), engine, check)
    make = _engine("alarm", "run_and_search")
    if not progress:
        return Run(make(resolved, out=Path(out), force=force, cache=cache).path)
    from perpwalk.terminal import Terminal

    with _engine("progress", "reporter")(Terminal(stderr=True)) as tell:
        return Run(make(resolved, out=Path(out), force=force, cache=cache, reporter=tell).path)


def compare(
    items: ConfigLike | runs.Run | Sequence[ConfigLike | runs.Run],
    *,
    grid: Mapping[str, Sequence[Any]] | None = None,
    by: str = "sharpe",
    out: str | Path = "results",
    overrides: Sequence[str] = (),
    force: bool = False,
    cache: bool = True,
    reports: bool = False,
    prior_trials: int | None = None,
    progress: bool = False,
) -> Comparison:
    """Compare variants on the same decisions as ``perpwalk compare`` does.

    Parameters
    ----------
    items
        Configurations (paths, mappings or ``Config``), finished runs (``Run`` or their folders),
        folders that hold several of either; one alone with a ``grid``.
    grid
        Dotted key → values: each configuration is taken with every combination.
    by
        The metric that orders the variants.
    out
        The results folder; the comparison is kept in ``out/<name>/comparison-<hash8>``.
    overrides
        ``a.b=c`` for every configuration, as behind ``--set``; for paths only.
    force
        Make finished variants again.
    cache
        Take features, models and forecasts that were computed before, and keep those made now.
    reports
        Give each variant its tearsheet and page too.
    prior_trials
        Trials made before or elsewhere, for the deflated Sharpe ratio.
    progress
        Show stages and folds on stderr.

    Raises
    ------
    UserError
        A variant, the grid or the metric cannot be used, or the variants share no decision; the
        message says what, where, what to do.
    """
    alone = isinstance(items, (str, Path, Mapping, Config, runs.Run))
    asked = [_item(one) for one in ([items] if alone else items)]  # type: ignore[arg-type, union-attr]
    given = {
        "grid": grid, "by": by, "out": Path(out), "overrides": overrides, "force": force,
        "cache": cache, "reports_too": reports, "prior_trials": prior_trials,
    }  # fmt: skip
    make = _engine("compare", "compare")
    if not progress:
        return _shown(make(asked, **given))
    from perpwalk.terminal import Terminal

    with _engine("progress", "reporter")(Terminal(stderr=True)) as tell:
        return _shown(make(asked, **given, reporter=tell))


def _shown(found: record.Comparison) -> Comparison:
    return Comparison(**{field.name: getattr(found, field.name) for field in fields(found)})


def _item(item: ConfigLike | runs.Run) -> str | Path | Config | runs.Run:
    return configuration.resolve(dict(item)) if isinstance(item, Mapping) else item


def load(path: str | Path) -> Run:
    """Open the folder of a finished run.

    Raises
    ------
    UsageError
        There is no finished run, or it is not as it was written (the message names a file;
        ``perpwalk check`` and ``verify`` say more, and pandas reads its tables as they are).
    """
    return Run(runs.open_sealed(path).path)


def sweep(
    item: ConfigLike | runs.Run,
    grid: Mapping[str, Sequence[Any]],
    *,
    out: str | Path = "results",
    by: str = "sharpe",
    threads: int = 0,
    code: Sequence[str] = (),
) -> Any:
    """Try every combination of a grid on the forecasts of one run, as ``perpwalk sweep`` does.

    Parameters
    ----------
    item
        A finished run or its folder; or a configuration, which is run first.
    grid
        Dotted key below ``strategy`` or ``broker`` → values.
    out
        The results folder, for a configuration.
    by
        What the table is ordered by.
    threads
        How many variants at once; 0 as many as there are cores.
    code
        Modules or files that a finished run names and that may be loaded, where the configuration
        file it was made from does not name them any more.

    Returns
    -------
    engine.sweeping.Sweep
        ``table``, one row per variant; what the best is worth; all of them are on record as trials.
    """
    is_mapping = isinstance(item, Mapping)
    asked = _config(item, ()) if is_mapping else item  # type: ignore[arg-type]
    return _engine("sweeping", "sweep")(
        asked, grid=grid, out=Path(out), by=by, threads=threads, code=code
    )


def _config(config: ConfigLike, overrides: Sequence[str]) -> Config:
    if isinstance(config, str | Path):
        return configuration.load(config, overrides)
    if overrides:
        raise ConfigError(
            "overrides belong to a configuration given by its path; change the mapping instead"
        )
    return config if isinstance(config, Config) else configuration.resolve(dict(config))


def _kept_by(config: Config, engine: str | None, check: bool) -> Config:
    asked = {
        "engine": engine or config.compute.engine,
        "check": check or config.compute.check,
    }
    return config.model_copy(update={"compute": config.compute.model_copy(update=asked)})


def _engine(module: str, name: str) -> Callable[..., Any]:
    """Return a function of the engine, which this package does not import."""
    return getattr(importlib.import_module(f"engine.{module}"), name)  # type: ignore[no-any-return]
