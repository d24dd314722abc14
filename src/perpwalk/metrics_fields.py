"""The columns of the metrics table, and the account of why some of their values are null."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from perpwalk.domain import Finding, Level
from perpwalk.periods import Period

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
TEXTS = ("symbol", "period_kind", "period")
STAMPS = ("start", "end")
Value = float | int | None


def with_bounds(name: str) -> set[str]:
    """Return a field with both ends of its interval."""
    return {name, f"{name}_lo", f"{name}_hi"}


_OF_SCORES = ("brier_lo", "brier_hi", "log_loss_lo", "log_loss_hi")
DIRECTION_FIELDS = FIELDS[FIELDS.index("up_rate") : FIELDS.index("total_return")] + _OF_SCORES
MONEY_FIELDS = tuple(
    name for name in FIELDS[FIELDS.index("total_return") :] if name not in _OF_SCORES
)
RESULTS = with_bounds("win_rate") | with_bounds("profit_factor")
_OWN_MONEY = RESULTS | {
    "total_return", "benchmark_return", "exposure", "turnover", "trades", "fees", "funding",
    "slippage",
}  # fmt: skip
# The columns of a table of contracts and periods: those that one of several contracts has alone.
CONTRACT_FIELDS = (
    "symbol",
    *(name for name in FIELDS if name not in MONEY_FIELDS or name in _OWN_MONEY),
)
BOUNDS = {name for name in MONEY_FIELDS if name.endswith(("_lo", "_hi"))}


@dataclass
class Undefined:
    """Collects why values are null and turns each cause into one finding."""

    causes: dict[tuple[str, str], tuple[set[str], list[Period]]] = field(default_factory=dict)

    def add(self, code: str, cause: str, period: Period, fields: Sequence[str]) -> None:
        """Note that ``fields`` of a period are null, and the cause."""
        names, periods = self.causes.setdefault((code, cause), (set(), []))
        names.update(fields)
        periods.append(period)

    def findings(self) -> tuple[Finding, ...]:
        """Return one finding per cause, naming fields and periods."""
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
