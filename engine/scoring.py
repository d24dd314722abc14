"""Score one set of fitted folds: forecasts against labels, and one replay of the account.

The few figures of a ``Score`` are what repetitions (other seeds, placebos) are compared by; a run's
own table has all of them, period by period and with intervals.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from engine import stages, tables
from engine.parts import Walked
from perpwalk import metrics
from perpwalk.audit.score import Score
from perpwalk.config import Config
from perpwalk.domain import FloatArray
from perpwalk.ledger import Ledger
from perpwalk.returns import annual_sharpe, bars_per_year, equity_returns, total_return
from perpwalk.uncertainty.auc import null_sd, placements


def replayed(config: Config, walked: Sequence[Walked]) -> Score:
    """Score forecasts on all contracts pooled, and the account of one replay."""
    # Signals computed bar by bar would come from the fitted models, not from what was treated.
    batched = config.model_copy(
        update={"compute": config.compute.model_copy(update={"signals": "batched"})}
    )
    return with_account(direction(walked), walked, stages.replay_folds(batched, walked))


def with_account(score: Score, walked: Sequence[Walked], book: Ledger) -> Score:
    """Return the score with what an account came to."""
    equity = book.equity["equity"].to_numpy(dtype=np.float64)
    returns = equity_returns(book.initial_cash, equity)
    sharpe = annual_sharpe(returns, bars_per_year(walked[0].prepared.market.bars.interval))
    return replace(
        score,
        total_return=total_return(returns),
        sharpe=None if sharpe is None else sharpe[0],
        account=_hash(equity),
    )


def direction(walked: Sequence[Walked]) -> Score:
    """Score forecasts alone, without an account."""
    predictions: pd.DataFrame = tables.predictions_of(walked)
    scored = metrics.scored_rows(predictions)
    named = _hash(predictions["p_up"].to_numpy(dtype=np.float64))
    accuracy = float(scored.hits.mean()) if len(scored) else None
    plain = Score(auc=None, accuracy=accuracy, null_sd=None, rows=len(scored), forecasts=named)
    found = placements(scored.up, scored.p_up)
    if found is None or np.ptp(scored.p_up) == 0:  # a constant orders nothing
        return plain
    vif = scored.auc_vif(found, walked[0].prepared.labels.horizon)
    return replace(
        plain, auc=found.auc, null_sd=null_sd(len(found.positive), len(found.negative), vif)
    )


def _hash(values: FloatArray) -> str:
    return hashlib.sha256(values.tobytes()).hexdigest()
