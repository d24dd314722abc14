"""The money half of the evidence: what the account came to, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import pandas as pd

from perpwalk import returns as growth
from perpwalk.audit.estimates import Setting, bootstrapped, disagreement, undefined
from perpwalk.costs import CostSummary, break_even_accuracy
from perpwalk.domain import Finding, FloatArray, Level
from perpwalk.ledger import Ledger
from perpwalk.metrics import FEW_TRADES
from perpwalk.trades import closed_results
from perpwalk.uncertainty import wealth
from perpwalk.uncertainty.bootstrap import Target, sharpe_of
from perpwalk.uncertainty.estimate import Estimate, Interval
from perpwalk.uncertainty.proportions import wilson
from perpwalk.uncertainty.sharpe import SharpeStats, probabilistic_sharpe, sharpe_stats

SHARPE_WARN, SHARPE_ERROR = 3.0, 6.0
BEYOND_BEST = 1.25  # of a simulated market's best Sharpe ratio


@dataclass(frozen=True, eq=False, kw_only=True)
class Money:
    """Estimates of what the replay earned; see ``Evidence`` for their meaning."""

    mean_return: Estimate
    sharpe: Estimate
    sharpe_stats: SharpeStats | None
    total_return: Estimate
    max_drawdown: Estimate
    win_rate: Estimate
    profit_factor: Estimate
    costs: CostSummary
    trades: int
    findings: tuple[Finding, ...]

    @property
    def probability_of_skill(self) -> float | None:
        """Chance that the true Sharpe ratio is above 0, before any deflation."""
        return None if self.sharpe_stats is None else probabilistic_sharpe(self.sharpe_stats)

    def break_even_accuracy(self, mean_absolute_return: float) -> float | None:
        """Return the hit rate that pays the costs of a round trip; None without trades."""
        if self.costs.traded_notional == 0:
            return None
        a_side = (self.costs.fees + self.costs.slippage) / self.costs.traded_notional
        return break_even_accuracy(mean_absolute_return, 2 * a_side)


def gather_money(
    ledger: Ledger,
    interval: pd.Timedelta,
    setting: Setting,
    known_best: Mapping[str, float] | None = None,
) -> Money:
    """Estimate what the account says.

    Parameters
    ----------
    known_best
        ``best_accuracy`` of a simulated market, whose Sharpe ratio may rightly be enormous.
    """
    equity = ledger.equity["equity"].to_numpy(dtype=float)
    returns = growth.equity_returns(ledger.initial_cash, equity)
    findings: list[Finding] = []
    mean, sharpe = _sharpe(returns, interval, setting, findings)
    findings += _sharpe_alarm(sharpe, _ceilings(interval, known_best))
    grown = wealth.growth(returns, confidence=setting.confidence, seed=setting.seed)
    _, net = closed_results(ledger)
    won, factor = _trades(net, setting)
    return Money(
        mean_return=mean,
        sharpe=sharpe,
        sharpe_stats=sharpe_stats(returns),
        total_return=grown.total_return,
        max_drawdown=wealth.drawdown_band(
            returns, confidence=setting.confidence, seed=setting.seed
        ),
        win_rate=won,
        profit_factor=factor,
        costs=CostSummary.of(ledger.equity),
        trades=len(net),
        findings=tuple(findings),
    )


def _sharpe(
    returns: FloatArray, interval: pd.Timedelta, setting: Setting, findings: list[Finding]
) -> tuple[Estimate, Estimate]:
    """Return the mean return per bar and the annualised Sharpe ratio."""
    stats = sharpe_stats(returns)
    if stats is None:
        reason = "the equity had no variance"
        return undefined(reason, setting, len(returns)), undefined(reason, setting, len(returns))
    ratio = Target("Sharpe ratio", stats.sharpe, sharpe_of(returns), returns)
    mean, found = bootstrapped([Target.mean("mean net return", returns), ratio], setting, findings)
    scale = math.sqrt(growth.bars_per_year(interval))
    low, high = wealth.bounds(found, scale)
    annual = replace(found, value=stats.sharpe * scale, low=low, high=high)
    mertens = stats.interval(setting.confidence)
    twin = Interval(mertens.low * scale, mertens.high * scale)
    findings += disagreement("Sharpe ratio", annual, twin, "Mertens")
    return mean, annual


def _trades(net: FloatArray, setting: Setting) -> tuple[Estimate, Estimate]:
    """Return the share of trades won and gains over losses; neither below ``FEW_TRADES``."""
    if len(net) < FEW_TRADES:
        few = undefined(f"{len(net)} trades, fewer than {FEW_TRADES}", setting, len(net))
        return few, few
    won = int((net > 0).sum())
    interval = wilson(won, len(net), setting.confidence)
    rate = Estimate(
        value=won / len(net),
        low=None if interval is None else interval.low,
        high=None if interval is None else interval.high,
        level=setting.confidence,
        method="Wilson",
        n=len(net),
    )
    return rate, wealth.profit_factor(net, confidence=setting.confidence, seed=setting.seed)


# ── too good to be true ──────────────────────────────────────────────────────────────────────────


def best_sharpe(accuracy: float, bars_per_year: float) -> float:
    """Return the annual Sharpe ratio that nobody exceeds on a market of this best accuracy.

    The best forecast knows a score ``s`` with P(up) = Φ(g s); its edge on a bar is 2 Φ(g s) - 1,
    whose mean square is (2/π) asin(ρ²) (Sheppard 1899), ρ being the market's ``edge``.

    >>> round(best_sharpe(0.5 + math.asin(0.2) / math.pi, 8760.0), 1)
    15.1
    """
    rho = math.sin(math.pi * (accuracy - 0.5))
    explained = 2 / math.pi * math.asin(rho**2)
    return math.sqrt(explained / (1 - explained) * bars_per_year)


def _ceilings(
    interval: pd.Timedelta, known_best: Mapping[str, float] | None
) -> tuple[float, float]:
    if known_best is None or "best_accuracy" not in known_best:
        return SHARPE_WARN, SHARPE_ERROR
    best = best_sharpe(known_best["best_accuracy"], growth.bars_per_year(interval))
    best *= math.sqrt(known_best.get("markets", 1.0))  # so many independent bets at a time
    return max(SHARPE_WARN, best), max(SHARPE_ERROR, BEYOND_BEST * best)


def _sharpe_alarm(sharpe: Estimate, ceilings: tuple[float, float]) -> tuple[Finding, ...]:
    warn, error = ceilings
    if sharpe.low is None or sharpe.low <= warn:
        return ()
    return (
        Finding(
            code="P011",
            level=Level.ERROR if sharpe.low > error else Level.WARN,
            where="all",
            message="the Sharpe ratio after costs is better than any clean result known",
            observed=f"lower bound {sharpe.low:.2f}",
            expected=f"at most {warn:.1f}; presumed wrong above {error:.1f}",
            why="results like this have so far been leaks or missing costs",
            advice="run `perpwalk audit` on the configuration before believing it",
        ),
    )
