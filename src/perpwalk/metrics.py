"""The metrics table: one row per fold, month, quarter, year and for all.

Pure functions of predictions and a ledger. The fields are those of the contract, in its order. A
value that is undefined is null, and a finding names the periods and says why.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from perpwalk import returns as growth
from perpwalk.costs import CostSummary, break_even_accuracy
from perpwalk.domain import BoolArray, Finding, FloatArray, Fold, Level
from perpwalk.ledger import Ledger
from perpwalk.periods import Period, all_periods
from perpwalk.trades import closed_results
from perpwalk.uncertainty import calibration, direction, overlap, wealth
from perpwalk.uncertainty import proportions as shares
from perpwalk.uncertainty.auc import Placements, delong_interval, placements
from perpwalk.uncertainty.estimate import two_sided_z

__all__ = [
    "FIELDS",
    "MetricsTable",
    "Scored",
    "break_even_accuracy",
    "break_even_fee",
    "metrics_table",
    "scored_rows",
    "to_json",
]

FIELDS = (
    "period_kind", "period", "start", "end", "n", "ties", "up_rate", "predicted_up_rate",
    "accuracy", "accuracy_lo", "accuracy_hi", "majority_accuracy", "auc", "auc_lo", "auc_hi",
    "brier", "log_loss", "pesaran_timmermann_p", "total_return", "benchmark_return", "cagr",
    "volatility", "sharpe", "sharpe_lo", "sharpe_hi", "sortino", "max_drawdown", "calmar",
    "exposure", "turnover", "trades", "win_rate", "profit_factor", "fees", "funding", "slippage",
    # Intervals of the rest, after the columns that others rely on.
    "brier_lo", "brier_hi", "log_loss_lo", "log_loss_hi", "total_return_lo", "total_return_hi",
    "cagr_lo", "cagr_hi", "volatility_lo", "volatility_hi", "sortino_lo", "sortino_hi",
    "max_drawdown_lo", "max_drawdown_hi", "win_rate_lo", "win_rate_hi", "profit_factor_lo",
    "profit_factor_hi",
)  # fmt: skip
COUNTS = ("n", "ties", "trades")
TEXTS = ("period_kind", "period")
STAMPS = ("start", "end")
FEW_TRADES = 30  # fewer have no win rate and no profit factor
RESAMPLES = 1000  # of the bootstrap of a period's bars or trades
Value = float | int | None


@dataclass(frozen=True, eq=False)
class MetricsTable:
    """The table and why some of its values are null.

    Attributes
    ----------
    frame
        Columns ``FIELDS``; ``start`` and ``end`` are UTC decision times, half-open; floats are
        nullable (``Float64``), counts ``Int64``.
    reasons
        One finding per cause of nulls, naming fields and periods.
    """

    frame: pd.DataFrame
    reasons: tuple[Finding, ...]

    @property
    def overall(self) -> pd.Series:
        """The row over all test decisions."""
        return self.frame.iloc[-1]


def metrics_table(
    predictions: pd.DataFrame,
    ledger: Ledger,
    *,
    folds: Sequence[Fold],
    bar_interval: pd.Timedelta,
    horizon: int,
    confidence: float = 0.95,
) -> MetricsTable:
    """Judge predictions and the account, period by period.

    Parameters
    ----------
    predictions
        One row per test decision in time order: ``close_time, fold, p_up, threshold, label,
        forward_return``. A decision without a label (null or -1) is not scored.
    ledger
        The replay over the same decisions.
    horizon
        Bars ahead a label looks. Beyond 1, rows overlap, and the intervals of accuracy and AUC are
        widened by the variance inflation estimated from the hits themselves.
    confidence
        Of all intervals: Wilson for accuracy and win rate, DeLong for AUC, Mertens for the Sharpe
        ratio, normal for Brier score and log loss; stationary bootstrap for the rest.

    Notes
    -----
    A bar's PnL belongs to the period of its open time, a trade's to that of the bar it ended in.
    ``exposure`` is the mean absolute exposure, ``turnover`` traded notional over equity per day,
    ``max_drawdown`` ≤ 0 (its bounds are a band for another path of as many bars: the longer the
    path, the deeper it falls), ``benchmark_return`` that of holding the contract over the same
    bars, ``majority_accuracy`` the share of the commoner class among the scored rows.
    """
    decisions = _decisions(predictions)
    book = _Book.of(ledger, bar_interval)
    first, last = _span(decisions, book)
    found = _Undefined()
    rows = [
        _row(period, decisions, book, horizon, confidence, found)
        for period in all_periods(folds, first, last, bar_interval)
    ]
    return MetricsTable(_typed(rows), found.findings())


def break_even_fee(ledger: Ledger) -> float | None:
    """Return the taker fee at which the replay would have earned nothing; None without trades."""
    return CostSummary.of(ledger.equity).break_even_fee


def to_json(table: MetricsTable) -> str:
    """Return the table as a JSON array of objects; null where undefined, never NaN."""
    columns = {name: table.frame[name].tolist() for name in FIELDS}
    records = [{name: _plain(columns[name][i]) for name in FIELDS} for i in range(len(table.frame))]
    return json.dumps(records, indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _plain(value: object) -> object:
    if value is pd.NA or value is None:
        return None
    if isinstance(value, pd.Timestamp):
        return value.isoformat().replace("+00:00", "Z")
    return value


# ── predictions ──────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class Scored:
    """Decisions with a label and a usable probability, in time order; columns of shape (n,)."""

    close_time: pd.DatetimeIndex
    fold: npt.NDArray[np.int64]
    p_up: FloatArray
    up: BoolArray
    called_up: BoolArray
    forward_return: FloatArray

    @property
    def hits(self) -> BoolArray:
        """Whether the class called at the fold's threshold came."""
        return np.equal(self.up, self.called_up)

    def part(self, rows: slice | BoolArray) -> Scored:
        """Return the chosen rows."""
        return Scored(
            self.close_time[rows], self.fold[rows], self.p_up[rows], self.up[rows],
            self.called_up[rows], self.forward_return[rows],
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.up)


@dataclass(frozen=True, eq=False)
class _Decisions:
    scored: Scored
    close_time: pd.DatetimeIndex
    tied: BoolArray


def scored_rows(predictions: pd.DataFrame) -> Scored:
    """Return the decisions of a predictions table that can be scored.

    Those with a label (neither null nor -1) and a finite probability. A probability on the
    threshold itself does not exceed it and counts as called down.
    """
    return _decisions(predictions).scored


def _decisions(predictions: pd.DataFrame) -> _Decisions:
    label = predictions["label"].astype("Float64").fillna(-1).to_numpy(dtype=np.float64)
    p_up = predictions["p_up"].to_numpy(dtype=np.float64)
    threshold = predictions["threshold"].to_numpy(dtype=np.float64)
    forward = predictions["forward_return"].astype(float).to_numpy()
    close_time = pd.DatetimeIndex(predictions["close_time"])
    usable = np.isin(label, (0, 1)) & np.isfinite(p_up)
    scored = Scored(
        close_time=close_time[usable],
        fold=predictions["fold"].to_numpy(dtype=np.int64)[usable],
        p_up=p_up[usable],
        up=label[usable] == 1,
        called_up=p_up[usable] > threshold[usable],
        forward_return=forward[usable],
    )
    return _Decisions(scored, close_time, forward == 0)


def _direction_fields(
    period: Period, decisions: _Decisions, horizon: int, confidence: float, found: _Undefined
) -> dict[str, Value]:
    rows = decisions.scored.part(period.rows(decisions.scored.close_time))
    n = len(rows)
    fields: dict[str, Value] = {
        "n": n,
        "ties": int(decisions.tied[period.rows(decisions.close_time)].sum()),
    }
    if n == 0:
        found.add("P005", "no scored decision", period, _DIRECTION_FIELDS)
        return fields
    up_rate = float(rows.up.mean())
    vif = 1.0 if horizon <= 1 else overlap.estimated_vif(rows.hits.astype(float), horizon)
    wilson = shares.wilson(float(rows.hits.sum()) / vif, n / vif, confidence)
    fields |= {
        "up_rate": up_rate,
        "predicted_up_rate": float(rows.called_up.mean()),
        "accuracy": float(rows.hits.mean()),
        "accuracy_lo": None if wilson is None else wilson.low,
        "accuracy_hi": None if wilson is None else wilson.high,
        "majority_accuracy": max(up_rate, 1 - up_rate),
    }
    fields |= _probability_fields(rows, period, horizon, confidence, found)
    fields |= _auc_fields(rows, period, horizon, confidence, found)
    test = direction.pesaran_timmermann(direction.Hits.of(rows.up, rows.called_up))
    if test is None:
        found.add("P005", "one class of labels or of forecasts", period, ["pesaran_timmermann_p"])
    else:
        fields["pesaran_timmermann_p"] = test.p_one_sided
    return fields


def _probability_fields(
    rows: Scored, period: Period, horizon: int, confidence: float, found: _Undefined
) -> dict[str, Value]:
    if rows.p_up.min() < 0 or rows.p_up.max() > 1:
        names = [f"{name}{end}" for name in ("brier", "log_loss") for end in ("", "_lo", "_hi")]
        found.add("P001", "p_up outside [0, 1]", period, names)
        return {}
    fields: dict[str, Value] = {
        "brier": calibration.brier_score(rows.up, rows.p_up),
        "log_loss": calibration.log_loss(rows.up, rows.p_up),
    }
    losses = {
        "brier": (rows.p_up - rows.up) ** 2,
        "log_loss": calibration.log_losses(rows.up, rows.p_up),
    }
    if len(rows) < 2:
        names = [f"{name}_{end}" for name in losses for end in ("lo", "hi")]
        found.add("P005", "one scored decision", period, names)
        return fields
    for name, values in losses.items():
        vif = 1.0 if horizon <= 1 else overlap.estimated_vif(values, horizon)
        half = two_sided_z(confidence) * float(values.std(ddof=1)) * math.sqrt(vif / len(values))
        centre = float(values.mean())
        fields |= {f"{name}_lo": max(0.0, centre - half), f"{name}_hi": centre + half}
    return fields


def _auc_fields(
    rows: Scored, period: Period, horizon: int, confidence: float, found: _Undefined
) -> dict[str, Value]:
    placed = placements(rows.up, rows.p_up)
    if placed is None:
        found.add("P005", "one class of labels", period, ["auc", "auc_lo", "auc_hi"])
        return {}
    interval = delong_interval(placed, confidence, vif=auc_vif(placed, rows.up, horizon))
    if interval is None:
        found.add("P005", "one row of a class", period, ["auc_lo", "auc_hi"])
        return {"auc": placed.auc}
    return {"auc": placed.auc, "auc_lo": interval.low, "auc_hi": interval.high}


def auc_vif(placed: Placements, up: BoolArray, horizon: int) -> float:
    """Return the variance inflation of an AUC over overlapping labels; 1 for horizon 1."""
    return 1.0 if horizon <= 1 else overlap.estimated_vif(placed.influence(up), horizon)


# ── money ────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, eq=False)
class _Book:
    """Columns of a ledger under the open time of each bar."""

    open_time: pd.DatetimeIndex
    interval: pd.Timedelta
    returns: FloatArray
    price: FloatArray
    exposure: FloatArray
    traded_share: FloatArray
    fee: FloatArray
    funding: FloatArray
    slippage: FloatArray
    trade_row: npt.NDArray[np.int64]
    trade_net: FloatArray

    @classmethod
    def of(cls, ledger: Ledger, interval: pd.Timedelta) -> _Book:
        book = ledger.equity
        equity = book["equity"].to_numpy(dtype=float)
        before = np.concatenate([[ledger.initial_cash], equity[:-1]])[: len(equity)]
        alive = before > 0
        trade_row, trade_net = closed_results(ledger)
        column = {
            name: book[name].to_numpy(dtype=float)
            for name in ("price", "exposure", "traded_notional", "fee", "funding", "slippage")
        }
        return cls(
            open_time=pd.DatetimeIndex(book["close_time"]) - interval,
            interval=interval,
            returns=growth.equity_returns(ledger.initial_cash, equity),
            price=column["price"],
            exposure=column["exposure"],
            traded_share=np.where(
                alive, column["traded_notional"] / np.where(alive, before, 1.0), 0.0
            ),
            fee=column["fee"],
            funding=column["funding"],
            slippage=column["slippage"],
            trade_row=trade_row,
            trade_net=trade_net,
        )

    def rows(self, period: Period) -> slice:
        """Return the bars of a period; every bar of the replay for the whole."""
        return slice(0, len(self.price)) if period.kind == "all" else period.rows(self.open_time)


def _money_fields(
    period: Period, book: _Book, confidence: float, found: _Undefined
) -> dict[str, Value]:
    rows = book.rows(period)
    returns = book.returns[rows]
    if len(returns) == 0:
        found.add("A003", "no bar of the replay", period, _MONEY_FIELDS)
        return {}
    per_year = growth.bars_per_year(book.interval)
    total = growth.total_return(returns)
    annual = growth.cagr(total, len(returns), per_year)
    drawdown = growth.max_drawdown(returns)
    before = book.price[max(rows.start - 1, 0)]
    fields: dict[str, Value] = {
        "total_return": total,
        "benchmark_return": float(book.price[rows.stop - 1] / before - 1),
        "cagr": annual,
        "volatility": growth.volatility(returns, per_year),
        "sortino": growth.sortino(returns, per_year),
        "max_drawdown": drawdown,
        "calmar": growth.calmar(annual, drawdown),
        "exposure": float(np.abs(book.exposure[rows]).mean()),
        "turnover": float(book.traded_share[rows].sum())
        / (len(returns) * (book.interval / pd.Timedelta(days=1))),
        "fees": float(book.fee[rows].sum()),
        "funding": float(book.funding[rows].sum()),
        "slippage": float(book.slippage[rows].sum()),
    }
    fields |= _sharpe_fields(returns, per_year, confidence)
    fields |= _growth_bounds(returns, per_year, confidence)
    fields |= _trade_fields(rows, book, confidence)
    _explain_money(fields, period, found)
    return fields


def _sharpe_fields(returns: FloatArray, per_year: float, confidence: float) -> dict[str, Value]:
    sharpe = growth.annual_sharpe(returns, per_year, confidence)
    if sharpe is None:
        return {}
    return dict(zip(("sharpe", "sharpe_lo", "sharpe_hi"), sharpe, strict=True))


def _growth_bounds(returns: FloatArray, per_year: float, confidence: float) -> dict[str, Value]:
    """Return the intervals of growth and risk, and the band of the deepest drawdown."""
    grown = wealth.growth(returns, confidence=confidence, resamples=RESAMPLES)
    fall = wealth.drawdown_band(returns, confidence=confidence, resamples=RESAMPLES)
    total, scale = wealth.bounds(grown.total_return), math.sqrt(per_year)
    yearly = [None if end is None else growth.cagr(end, len(returns), per_year) for end in total]
    pairs = {
        "total_return": total,
        "cagr": (yearly[0], yearly[1]),
        "volatility": wealth.bounds(grown.volatility, scale),
        "sortino": wealth.bounds(grown.sortino, scale),
        "max_drawdown": wealth.bounds(fall),
    }
    return {
        f"{name}_{end}": value
        for name, pair in pairs.items()
        for end, value in zip(("lo", "hi"), pair, strict=True)
    }


def _trade_fields(rows: slice, book: _Book, confidence: float) -> dict[str, Value]:
    net = book.trade_net[(book.trade_row >= rows.start) & (book.trade_row < rows.stop)]
    fields: dict[str, Value] = {"trades": len(net)}
    if len(net) < FEW_TRADES:
        return fields
    won = int((net > 0).sum())
    interval = shares.wilson(won, len(net), confidence)
    factor = wealth.profit_factor(net, confidence=confidence, resamples=RESAMPLES)
    return fields | {
        "win_rate": won / len(net),
        "win_rate_lo": None if interval is None else interval.low,
        "win_rate_hi": None if interval is None else interval.high,
        "profit_factor": factor.value,
        "profit_factor_lo": factor.low,
        "profit_factor_hi": factor.high,
    }


def _explain_money(fields: dict[str, Value], period: Period, found: _Undefined) -> None:
    """Name what is missing from the money fields and why."""
    absent = {name for name in _MONEY_FIELDS if fields.get(name) is None}
    trades = fields["trades"] or 0
    factor, rate = _with_bounds("profit_factor"), _with_bounds("win_rate")
    causes = (
        ("no trade ended", factor | rate if trades == 0 else set()),
        (f"fewer than {FEW_TRADES} trades", factor | rate if trades < FEW_TRADES else set()),
        ("no losing trade", factor if "profit_factor" in absent else set()),
        ("no variance, or fewer than three bars", _with_bounds("sharpe")),
        ("no losing bar", _with_bounds("sortino") if "sortino" in absent else set()),
        ("no drawdown", {"calmar"} if fields["max_drawdown"] == 0 else set()),
        ("fewer than two bars", {"volatility"}),
        ("growth beyond what a number can hold", {"cagr"}),
        ("growth beyond what a number can hold", {"calmar"} if "cagr" in absent else set()),
        ("too few bars or trades, or all was lost: no interval", _BOUNDS),
    )
    for cause, names in causes:
        if absent & names:
            found.add("A003", cause, period, sorted(absent & names))
            absent -= names


def _with_bounds(name: str) -> set[str]:
    return {name, f"{name}_lo", f"{name}_hi"}


_OF_SCORES = ("brier_lo", "brier_hi", "log_loss_lo", "log_loss_hi")
_DIRECTION_FIELDS = FIELDS[FIELDS.index("up_rate") : FIELDS.index("total_return")] + _OF_SCORES
_MONEY_FIELDS = tuple(
    name for name in FIELDS[FIELDS.index("total_return") :] if name not in _OF_SCORES
)
_BOUNDS = {name for name in _MONEY_FIELDS if name.endswith(("_lo", "_hi"))}


# ── the table ────────────────────────────────────────────────────────────────────────────────────


def _span(decisions: _Decisions, book: _Book) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the first and last decision; without predictions, those the bars stand for."""
    stamps = decisions.close_time if len(decisions.close_time) else book.open_time
    if len(stamps) == 0:
        raise ValueError("nothing to judge: no predictions and no bars")
    return stamps[0], stamps[-1]


def _row(
    period: Period,
    decisions: _Decisions,
    book: _Book,
    horizon: int,
    confidence: float,
    found: _Undefined,
) -> dict[str, object]:
    return {
        "period_kind": period.kind,
        "period": period.name,
        "start": period.start,
        "end": period.end,
        **_direction_fields(period, decisions, horizon, confidence, found),
        **_money_fields(period, book, confidence, found),
    }


def _typed(rows: list[dict[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(FIELDS))
    for name in FIELDS:
        if name in TEXTS:
            frame[name] = frame[name].astype("str")
        elif name in STAMPS:
            frame[name] = pd.DatetimeIndex(frame[name]).as_unit("ns")
        else:
            frame[name] = frame[name].astype("Int64" if name in COUNTS else "Float64")
    return frame


@dataclass
class _Undefined:
    """Collects why values are null and turns each cause into one finding."""

    causes: dict[tuple[str, str], tuple[set[str], list[Period]]] = field(default_factory=dict)

    def add(self, code: str, cause: str, period: Period, fields: Sequence[str]) -> None:
        names, periods = self.causes.setdefault((code, cause), (set(), []))
        names.update(fields)
        periods.append(period)

    def findings(self) -> tuple[Finding, ...]:
        return tuple(
            _undefined_finding(code, cause, sorted(names, key=FIELDS.index), periods)
            for (code, cause), (names, periods) in self.causes.items()
        )


def _undefined_finding(code: str, cause: str, names: list[str], periods: list[Period]) -> Finding:
    whole = any(period.kind == "all" for period in periods)
    return Finding(
        code=code,
        level=Level.WARN if whole or code != "A003" else Level.INFO,
        where="; ".join(period.label for period in periods),
        message=f"undefined (null): {', '.join(names)}",
        observed=cause,
        why="a number that is not defined must not look like one",
        advice="leave these periods out of comparisons",
    )
