"""A finished run as it enters a comparison; an invalid one brings its diagnosis instead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from perpwalk.audit.check import predictions_with_thresholds
from perpwalk.audit.evidence import naive_rules
from perpwalk.comparison.data import SEVERAL, Bars, Variant
from perpwalk.config import Config, parse_duration
from perpwalk.errors import UsageError
from perpwalk.labels import duration_bars
from perpwalk.metrics import scored_rows
from perpwalk.run_config import config_of
from perpwalk.runs import Run

TOLD_ERRORS = 3
_HOUR = pd.Timedelta(hours=1)


def variant_of(
    run: Run,
    name: str,
    *,
    config: Config | None = None,
    source: str = "",
    changes: Mapping[str, str] | None = None,
) -> Variant:
    """Read what a comparison needs from a run's folder.

    Parameters
    ----------
    config
        What the run was asked, where whoever calls knows it; else it is read.

    Raises
    ------
    UserError
        A file of the run is missing or unreadable.
    """
    config = config_of(run) if config is None else config
    interval = parse_duration(config.market.interval, _HOUR)
    horizon = duration_bars(config.label.horizon, interval, key="label.horizon")
    judged = predictions_with_thresholds(run)
    scored = scored_rows(judged)
    several = scored.symbol is not None
    symbol = str(run.manifest.get("symbol", config.market.symbol))
    settled = run.funding[run.funding["symbol"] == symbol]
    if several and "basket_funding" not in run.equity:
        raise UsageError(
            f"{run.path / 'equity.parquet'} has no column 'basket_funding': it was made before "
            "accounts of several contracts could be compared; make the run again (--force)"
        )
    return Variant(
        name=name,
        symbol=traded(config.symbols) if several else symbol,
        interval=interval,
        horizon=horizon,
        scored=scored,
        bars=Bars.of(run.equity, settled, run.trades["closed_at"]),
        persistence=naive_rules(judged, scored, horizon * interval)["persistence"],
        taker_fee=config.broker.taker_fee,
        diagnosis=diagnosis_of(run),
        facts={**_facts(run, config), "source": source},
        changes=changes or {},
        added=_added(run) if several else {},
    )


def traded(symbols: Sequence[str]) -> str:
    """Return what an account of these contracts is said to trade, in whatever order they act.

    >>> traded(["ETHUSDT", "BTCUSDT"])
    'BTCUSDT+ETHUSDT'
    """
    return SEVERAL.join(sorted(symbols))


def _added(run: Run) -> dict[str, float]:
    """Return what each of several contracts added to the account's return."""
    rows = run.metrics[run.metrics["period_kind"] == "symbol"]
    return dict(zip(rows["period"].astype(str), rows["total_return"].astype(float), strict=True))


def diagnosis_of(run: Run) -> str | None:
    """Return why an invalid run is no result, in its own findings; None for any other verdict."""
    if run.audit["verdict"]["overall"] != "invalid":
        return None
    errors = [f for f in run.audit["findings"] if f["level"] == "error"]
    told = [f"{f['code']} {f['where']}: {f['message']}" for f in errors[:TOLD_ERRORS]]
    more = len(errors) - TOLD_ERRORS
    return "; ".join(told) + (f"; and {more} more" if more > 0 else "")


def _facts(run: Run, config: Config) -> dict[str, str]:
    return {
        "verdict": str(run.audit["verdict"]["overall"]),
        "model": config.model.kind,
        "strategy": config.strategy.name,
        "run": str(run.path),
        "config_hash": run.question,
    }
