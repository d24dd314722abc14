"""Causal features: what may be known at each decision, each with how far it looks back.

Add one of your own in a Python file that ``features.modules`` names::

    from perpwalk.features import PastBars, feature, rolling_mean

    @feature(lookback=24, group="mine")
    def distance_to_daily_mean(past: PastBars):
        return past.close / rolling_mean(past.close, 24) - 1
"""

from perpwalk.features.past import PastBars
from perpwalk.features.registry import BUILT_IN, FeatureSet, feature_set
from perpwalk.features.rolling import (
    ema_lookback,
    ratio,
    rolling_mean,
    rolling_std,
    rolling_sum,
    rolling_zscore,
    shift,
    wilder_lookback,
)
from perpwalk.features.spec import Feature, feature

__all__ = [
    "BUILT_IN",
    "Feature",
    "FeatureSet",
    "PastBars",
    "ema_lookback",
    "feature",
    "feature_set",
    "ratio",
    "rolling_mean",
    "rolling_std",
    "rolling_sum",
    "rolling_zscore",
    "shift",
    "wilder_lookback",
]
