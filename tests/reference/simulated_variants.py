"""Variants with known truth: none has an edge, or one has, in forecasts and in money."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import pandas as pd

from perpwalk.comparison.core import weigh
from perpwalk.comparison.data import Bars, Variant, common_set
from perpwalk.domain import from_ns, to_ns
from perpwalk.metrics import Scored

HOUR = pd.Timedelta(hours=1)


def variants(
    count: int = 20,
    n: int = 4320,
    *,
    edge: float = 0.0,
    agreement: float = 0.3,
    volatility: float = 0.005,
    cost: float = 0.0,
    seed: int = 0,
) -> list[Variant]:
    """Return ``count`` variants on ``n`` hourly decisions of one market.

    Parameters
    ----------
    edge
        How far the first variant is right more often than half of the time; the others know
        nothing.
    agreement
        Share of each variant's opinion that all of them have in common, in [0, 1).
    volatility
        Standard deviation of the market's return per bar.
    cost
        Paid per bar, a fraction of equity.
    """
    rng = np.random.default_rng(seed)
    stamps = pd.date_range("2023-01-02T01:00Z", periods=n, freq="h").as_unit("ns")
    moves = volatility * rng.standard_normal(n)
    up = moves > 0
    shared = rng.standard_normal(n)
    found = []
    for k in range(count):
        own = rng.standard_normal(n)
        opinion = np.sqrt(agreement) * shared + np.sqrt(1 - agreement) * own
        if k == 0 and edge:
            # The sign is set right where a coin of the planted size says so.
            told = rng.random(n) < 2 * edge
            opinion = np.where(told, np.abs(opinion) * np.where(up, 1, -1), opinion)
        found.append(_variant(f"v{k:02d}", stamps, moves, up, opinion, cost))
    return found


def _variant(name, stamps, moves, up, opinion, cost) -> Variant:
    p_up = 0.5 + 0.05 * np.tanh(opinion)
    called = p_up > 0.5
    scored = Scored(stamps, np.zeros(len(up), dtype=np.int64), p_up, up, called, moves)
    returns = np.where(called, 1.0, -1.0) * moves - cost
    price = 1000 * np.exp(np.cumsum(moves))
    zeros = np.zeros(len(up))
    bars = Bars(
        close_time=stamps + HOUR, returns=returns, price=price, carry=zeros,
        parts={"fees": zeros, "funding": zeros, "slippage": zeros, "trades": zeros,
               "exposure": zeros + 1, "turnover": zeros},
    )  # fmt: skip
    persistence = np.concatenate([[False], up[:-1]])
    return Variant(
        name=name, symbol="SIM", interval=HOUR, horizon=1, scored=scored, bars=bars,
        persistence=persistence, facts={"verdict": "inconclusive", "model": "made up"},
    )  # fmt: skip


def on_contracts(**each: Variant) -> Variant:
    """Return the decisions of several variants, each on a contract of its own, as one account's.

    Decisions of one stamp stand in the order in which the contracts are given; the account is the
    first one's.
    """
    first = next(iter(each.values()))
    stamps = np.concatenate([to_ns(one.scored.close_time) for one in each.values()])
    order = np.argsort(stamps, kind="stable")
    columns = {
        field.name: np.concatenate([getattr(one.scored, field.name) for one in each.values()])
        for field in fields(Scored)
        if field.name not in ("close_time", "symbol")
    }
    symbols = np.repeat(list(each), [len(one.scored) for one in each.values()])
    return replace(
        first,
        symbol="+".join(sorted(each)),
        scored=Scored(close_time=from_ns(stamps), symbol=symbols, **columns).part(order),
        persistence=np.concatenate([one.persistence for one in each.values()])[order],
    )


def deciding_at(variant: Variant, rows: object) -> Variant:
    """Return a variant that decided at some of its stamps only; its account stays."""
    return replace(variant, scored=variant.scored.part(rows), persistence=variant.persistence[rows])


@dataclass(frozen=True)
class Outcome:
    """What one comparison claimed."""

    sharpe: float
    earns: frozenset[str]
    forecasts: frozenset[str]
    alike: frozenset[str]
    winner: str | None
    pbo: float

    @property
    def claimed(self) -> frozenset[str]:
        """Everyone called better than noise in any way."""
        return self.earns | self.forecasts | ({self.winner} if self.winner else set())


def outcome(*, resamples: int = 500, seed: int, **made) -> Outcome:
    """Make variants, weigh them as a comparison does, and return what was claimed."""
    given = variants(seed=seed, **made)
    found = weigh(common_set(given), given, resamples=resamples, seed=seed)
    return Outcome(
        sharpe=next(row["sharpe"] for row in found.deflated if row["variant"] == "v00"),
        earns=found.claims.beats_flat, forecasts=frozenset(found.found.forecasts),
        alike=found.claims.alike, winner=found.claims.winner, pbo=found.pbo[-1].pbo,
    )  # fmt: skip
