"""The metrics table: one row per fold, month, quarter, year and for all.

Pure functions of predictions and a ledger. The fields are those of the contract, in its order. A
value that is undefined is null, and a finding names the periods and says why.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd

from perpwalk.contracts import ContractAccount, contract_accounts
from perpwalk.costs import CostSummary, break_even_accuracy
from perpwalk.domain import BoolArray, Finding, FloatArray, Fold, IntArray, to_ns
from perpwalk.ledger import Ledger
from perpwalk.metrics_contracts import contract_fields, told_in_one
from perpwalk.metrics_fields import (
    CONTRACT_FIELDS,
    COUNTS,
    DIRECTION_FIELDS,
    FIELDS,
    STAMPS,
    TEXTS,
    Undefined,
    Value,
)
from perpwalk.metrics_money import FEW_TRADES, Book, money_fields
from perpwalk.periods import Period, all_periods
from perpwalk.uncertainty import calibration, direction, overlap
from perpwalk.uncertainty import proportions as shares
from perpwalk.uncertainty.auc import Placements, delong_interval, placements
from perpwalk.uncertainty.estimate import two_sided_z, upper_tail

__all__ = [
    "COUNTS",
    "FEW_TRADES",
    "FIELDS",
    "MetricsTable",
    "Scored",
    "break_even_accuracy",
    "break_even_fee",
    "metrics_table",
    "scored_rows",
    "to_json",
]


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
    by_contract
        One row per contract and period, columns ``CONTRACT_FIELDS``; None of one contract alone.
    """

    frame: pd.DataFrame
    reasons: tuple[Finding, ...]
    by_contract: pd.DataFrame | None = None

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
    seed: int = 0,
) -> MetricsTable:
    """Judge predictions and the account, period by period.

    Parameters
    ----------
    predictions
        One row per test decision in time order: ``close_time, fold, p_up, threshold, label,
        forward_return``; with ``symbol`` where the account holds several contracts. A decision
        without a label (null or -1) is not scored.
    ledger
        The replay over the same decisions.
    horizon
        Bars ahead a label looks. Beyond 1, rows overlap, and the intervals of accuracy and AUC are
        widened by the variance inflation estimated from the hits themselves.
    confidence
        Of all intervals: Wilson for accuracy and win rate, DeLong for AUC, Mertens for the Sharpe
        ratio, normal for Brier score and log loss; stationary bootstrap for the rest.
    seed
        Of the bootstrap.

    Notes
    -----
    A bar's PnL belongs to the period of its open time, a trade's to that of the bar it ended in.
    ``exposure`` is the mean absolute exposure, ``turnover`` traded notional over equity per day,
    ``max_drawdown`` ≤ 0 (its bounds are a band for another path of as many bars: the longer the
    path, the deeper it falls), ``benchmark_return`` that of holding the contract over the same
    bars, ``majority_accuracy`` the share of the commoner class among the scored rows.

    Of several contracts, rows of one stamp count as one observation in every interval, the
    benchmark is holding all in equal parts, and each has a row of its own and a table by period
    (``contract_fields``).
    """
    decisions = _decisions(predictions)
    book = Book.of(ledger, bar_interval)
    first, last = _span(decisions, book)
    found = Undefined()
    periods = all_periods(folds, first, last, bar_interval)
    rows = [
        _row(
            period,
            decisions,
            money_fields(period, book, confidence, seed, found),
            horizon,
            confidence,
            found,
        )
        for period in periods
    ]
    if not ledger.tracks:
        return MetricsTable(_typed(rows, FIELDS), found.findings())
    each = _Contracts(ledger, decisions, book, horizon, confidence, seed)
    whole = Period("symbol", "all", first, last + bar_interval)
    rows[-1:-1] = each.whole(whole, found)  # before the last row, which is that of all
    by_contract, told = each.by_period(periods)
    return MetricsTable(_typed(rows, FIELDS), (*found.findings(), *told), by_contract)


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
    """Decisions with a label and a usable probability, in time order; columns of shape (n,).

    ``symbol`` is None where all are of one contract.
    """

    close_time: pd.DatetimeIndex
    fold: npt.NDArray[np.int64]
    p_up: FloatArray
    up: BoolArray
    called_up: BoolArray
    forward_return: FloatArray
    symbol: npt.NDArray[np.str_] | None = None

    @cached_property
    def groups(self) -> IntArray | None:
        """Each row's stamp, numbered in order; None where no two rows share one."""
        if self.symbol is None:
            return None
        stamps: IntArray = to_ns(self.close_time)
        numbers: IntArray = np.cumsum(np.diff(stamps, prepend=stamps[:1]) != 0)
        return numbers

    def vif(self, values: FloatArray, horizon: int) -> float:
        """Return the variance inflation of the mean of ``values``, one per row.

        For labels that overlap in time, and for contracts that move together: rows of one stamp
        count as one observation.
        """
        return overlap.row_vif(values, horizon, self.groups)

    def auc_vif(self, placed: Placements, horizon: int) -> float:
        """Return the variance inflation of the AUC of these rows."""
        if horizon <= 1 and self.symbol is None:
            return 1.0
        return self.vif(placed.influence(self.up), horizon)

    def contracts(self) -> Iterator[tuple[str | None, Scored]]:
        """Yield each contract with its rows; None is the name of one alone."""
        if self.symbol is None:
            yield None, self
            return
        for name in dict.fromkeys(self.symbol.tolist()):
            yield name, replace(self.part(self.symbol == name), symbol=None)

    def forecasts_digest(self, asked: str) -> bytes:
        """Return a hash of these forecasts and labels, without what a threshold makes of them."""
        found = hashlib.sha256(asked.encode())
        for column in (to_ns(self.close_time), self.fold, self.p_up, self.up):
            found.update(np.ascontiguousarray(column).tobytes())
        found.update(b"" if self.symbol is None else "\n".join(self.symbol.tolist()).encode())
        return found.digest()

    @property
    def hits(self) -> BoolArray:
        """Whether the class called at the fold's threshold came."""
        return np.equal(self.up, self.called_up)

    def part(self, rows: slice | BoolArray) -> Scored:
        """Return the chosen rows."""
        return Scored(
            self.close_time[rows], self.fold[rows], self.p_up[rows], self.up[rows],
            self.called_up[rows], self.forward_return[rows],
            None if self.symbol is None else self.symbol[rows],
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.up)


@dataclass(frozen=True, eq=False)
class _Decisions:
    scored: Scored
    close_time: pd.DatetimeIndex
    tied: BoolArray
    symbol: npt.NDArray[np.str_] | None = None

    def of(self, symbol: str) -> _Decisions:
        """Return the decisions on one of several contracts."""
        scored = dict(self.scored.contracts()).get(symbol)
        own = np.asarray(self.symbol == symbol)
        return _Decisions(
            self.scored.part(slice(0)) if scored is None else scored,
            self.close_time[own],
            self.tied[own],
        )


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
        symbol=symbol_of(predictions, usable),
    )
    return _Decisions(
        scored, close_time, forward == 0, symbol_of(predictions, np.ones(len(label), dtype=bool))
    )


def of_symbol(predictions: pd.DataFrame, symbol: str) -> pd.DataFrame:
    """Return the decisions on one of several contracts, as a table of that one alone."""
    own = predictions[predictions["symbol"] == symbol]
    return own.drop(columns="symbol").reset_index(drop=True)


def symbol_of(predictions: pd.DataFrame, rows: BoolArray) -> npt.NDArray[np.str_] | None:
    """Return whose decision each chosen row is; None where the table is of one contract."""
    if "symbol" not in predictions:
        return None
    return predictions["symbol"].to_numpy(dtype=np.str_)[rows]


def _direction_fields(
    period: Period, decisions: _Decisions, horizon: int, confidence: float, found: Undefined
) -> dict[str, Value]:
    rows = decisions.scored.part(period.rows(decisions.scored.close_time))
    n = len(rows)
    fields: dict[str, Value] = {
        "n": n,
        "ties": int(decisions.tied[period.rows(decisions.close_time)].sum()),
    }
    if n == 0:
        found.add("P005", "no scored decision", period, DIRECTION_FIELDS)
        return fields
    up_rate = float(rows.up.mean())
    vif = rows.vif(rows.hits.astype(float), horizon)
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
        # Contracts that move together are fewer independent calls than there are rows.
        shared = 1.0 if rows.symbol is None else math.sqrt(vif)
        fields["pesaran_timmermann_p"] = (
            test.p_one_sided if shared == 1 else upper_tail(test.statistic / shared)
        )
    return fields


def _probability_fields(
    rows: Scored, period: Period, horizon: int, confidence: float, found: Undefined
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
        vif = rows.vif(values, horizon)
        half = two_sided_z(confidence) * float(values.std(ddof=1)) * math.sqrt(vif / len(values))
        centre = float(values.mean())
        fields |= {f"{name}_lo": max(0.0, centre - half), f"{name}_hi": centre + half}
    return fields


def _auc_fields(
    rows: Scored, period: Period, horizon: int, confidence: float, found: Undefined
) -> dict[str, Value]:
    placed = placements(rows.up, rows.p_up)
    if placed is None:
        found.add("P005", "one class of labels", period, ["auc", "auc_lo", "auc_hi"])
        return {}
    interval = delong_interval(placed, confidence, vif=rows.auc_vif(placed, horizon))
    if interval is None:
        found.add("P005", "one row of a class", period, ["auc_lo", "auc_hi"])
        return {"auc": placed.auc}
    return {"auc": placed.auc, "auc_lo": interval.low, "auc_hi": interval.high}


# ── the table ────────────────────────────────────────────────────────────────────────────────────


def _span(decisions: _Decisions, book: Book) -> tuple[pd.Timestamp, pd.Timestamp]:
    """Return the first and last decision; without predictions, those the bars stand for."""
    stamps = decisions.close_time if len(decisions.close_time) else book.open_time
    if len(stamps) == 0:
        raise ValueError("nothing to judge: no predictions and no bars")
    return stamps[0], stamps[-1]


def _row(
    period: Period,
    decisions: _Decisions,
    money: dict[str, Value],
    horizon: int,
    confidence: float,
    found: Undefined,
) -> dict[str, object]:
    return {
        "period_kind": period.kind,
        "period": period.name,
        "start": period.start,
        "end": period.end,
        **_direction_fields(period, decisions, horizon, confidence, found),
        **money,
    }


@dataclass(frozen=True, eq=False)
class _Contracts:
    """Judges each of several contracts alone."""

    ledger: Ledger
    decisions: _Decisions
    book: Book
    horizon: int
    confidence: float
    seed: int

    def whole(self, period: Period, found: Undefined) -> list[dict[str, object]]:
        """Return a row over the whole replay for each contract, named by it."""
        return [
            self._row(replace(period, name=account.symbol), own, account, found)
            for account, own in self._each()
        ]

    def by_period(self, periods: Sequence[Period]) -> tuple[pd.DataFrame, tuple[Finding, ...]]:
        """Return a row for each contract and period, and why some values are null."""
        found = Undefined()
        rows = [
            {"symbol": account.symbol, **self._row(period, own, account, found)}
            for account, own in self._each()
            for period in periods
        ]
        return _typed(rows, CONTRACT_FIELDS), told_in_one(found, len(rows))

    def _each(self) -> Iterator[tuple[ContractAccount, _Decisions]]:
        for account in contract_accounts(self.ledger):
            yield account, self.decisions.of(account.symbol)

    def _row(
        self, period: Period, own: _Decisions, account: ContractAccount, found: Undefined
    ) -> dict[str, object]:
        money = contract_fields(
            period, self.ledger, self.book, account, self.confidence, self.seed, found
        )
        return _row(period, own, money, self.horizon, self.confidence, found)


def _typed(rows: list[dict[str, object]], fields: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(fields))
    for name in fields:
        if name in TEXTS:
            frame[name] = frame[name].astype("str")
        elif name in STAMPS:
            frame[name] = pd.DatetimeIndex(frame[name]).as_unit("ns")
        else:
            frame[name] = frame[name].astype("Int64" if name in COUNTS else "Float64")
    return frame
