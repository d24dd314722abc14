"""The accounts that ``perpwalk audit`` keeps on markets without any edge, free of costs.

The compiled ledger keeps them where it can (``engine.ledger_engine``): a search replays the whole
test several times. What it refuses is replayed by Backtrader, as a run would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from engine import ledger_engine, replay
from engine.plugins import load_strategy
from perpwalk.audit.leaks.contract import FoldTrace, PipelineOutput
from perpwalk.audit.leaks.null_account import Held
from perpwalk.config import BrokerSection, Config, SlippageSection
from perpwalk.domain import FloatArray, Forecast, Market
from perpwalk.errors import ConfigError, LookAheadError
from perpwalk.ledger import Ledger
from perpwalk.models.base import Prediction
from perpwalk.signals import PrecomputedSignals


@dataclass(frozen=True)
class NullAccount:
    """Trades forecasts as a configuration says, without fees and slippage."""

    config: Config

    def __call__(self, market: Market, output: PipelineOutput) -> FloatArray | None:
        """Return what the account of one contract earned per bar; None: refused a look ahead."""
        return self.together([(market, output)])

    def together(self, pairs: Sequence[tuple[Market, PipelineOutput]]) -> FloatArray | None:
        """Return what the account of several contracts earned at each stamp.

        All that one coin pays is one gain: their moves at a stamp are not independent.
        """
        try:
            book = self._replayed(pairs)
        except LookAheadError:
            return None
        each = [
            pd.Series(Held.of(book, market).gains(market), index=market.bars.close_time)
            for market, _ in pairs
        ]
        return np.asarray(pd.concat(each).groupby(level=0).sum(), dtype=np.float64)

    def _replayed(self, pairs: Sequence[tuple[Market, PipelineOutput]]) -> Ledger:
        section = self.config.strategy
        strategy, params = load_strategy(section.name, section.params)
        markets = [replay.ReplayMarket(market, _signals(output)) for market, output in pairs]
        forming = replay.forming_length(section)
        broker = _without_costs(self.config.broker)
        stamps = [
            output.labels.close_time[trace.fold.test.rows[[0, -1]]]
            for _, output in pairs
            for trace in output.folds
        ]
        start, end = min(first for first, _ in stamps), max(last for _, last in stamps)
        if forming is None and _can_keep(strategy, broker, len(pairs)):
            return ledger_engine.replay(markets, strategy, params, broker, start=start, end=end)
        return replay.replay(
            markets, strategy, params, broker, start=start, end=end, forming=forming
        )


def _can_keep(strategy: type, broker: BrokerSection, contracts: int) -> bool:
    try:
        ledger_engine.refuse(strategy, broker, contracts)
    except ConfigError:
        return False
    return True


def _without_costs(broker: BrokerSection) -> BrokerSection:
    free = {"maker_fee": 0.0, "taker_fee": 0.0, "slippage": SlippageSection(bps=0.0)}
    return broker.model_copy(update=free)


def _signals(output: PipelineOutput) -> PrecomputedSignals:
    forecasts = [_forecast(trace, output) for trace in output.folds]
    return PrecomputedSignals(forecasts, [trace.threshold for trace in output.folds])


def _forecast(trace: FoldTrace, output: PipelineOutput) -> Forecast:
    rows, made = trace.fold.test.rows, Prediction.of(trace.p_up)
    return Forecast(
        fold=trace.fold.number,
        close_time=output.labels.close_time[rows],
        rows=rows,
        p_up=made.p_up,
        embedding=made.embedding,
    )
