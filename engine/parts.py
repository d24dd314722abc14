"""What is made of each contract of the account on its way from market to book."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from engine.walkforward import FoldResult
from perpwalk.config import Config
from perpwalk.domain import FeatureFrame, Fold, LabelFrame, Market
from perpwalk.features import FeatureSet
from perpwalk.models.base import FittedModel


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is known of one contract before any model is fitted.

    ``name`` is its symbol where the account holds several contracts, None where it is alone;
    ``config`` asks about this contract only.
    """

    config: Config
    market: Market
    feature_set: FeatureSet
    features: FeatureFrame
    labels: LabelFrame
    folds: tuple[Fold, ...]
    purge: int
    strategy: type
    strategy_params: Mapping[str, Any]
    name: str | None = None

    @property
    def closes(self) -> pd.DatetimeIndex:
        """Decision times, one per bar."""
        return self.market.bars.close_time


@dataclass(frozen=True, eq=False)
class Walked:
    """One contract with its fitted folds and their forecasts."""

    prepared: Prepared
    results: Sequence[FoldResult]

    @property
    def name(self) -> str | None:
        """Its symbol where the account holds several contracts."""
        return self.prepared.name

    @property
    def models(self) -> dict[int, FittedModel]:
        """Each fold's model, by the fold's number."""
        return {result.fitted.fold.number: result.fitted.model for result in self.results}

    @property
    def thresholds(self) -> list[float]:
        """Each fold's decision threshold."""
        return [result.fitted.threshold for result in self.results]
