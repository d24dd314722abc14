"""Which features an experiment uses: names resolved, users' files loaded, columns computed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perpwalk.config import FeaturesSection
from perpwalk.domain import BarFrame, FeatureFrame, FundingFrame
from perpwalk.errors import ConfigError
from perpwalk.features.activity import CANDLE, VOLUME
from perpwalk.features.clock import CALENDAR, FUNDING
from perpwalk.features.momentum import MOMENTUM
from perpwalk.features.past import PastBars
from perpwalk.features.price import RETURNS, TREND
from perpwalk.features.spec import Feature
from perpwalk.features.user import load_features
from perpwalk.features.volatility import VOLATILITY

BUILT_IN: tuple[Feature, ...] = (
    *RETURNS,
    *TREND,
    *VOLATILITY,
    *MOMENTUM,
    *VOLUME,
    *CANDLE,
    *CALENDAR,
    *FUNDING,
)
FUNDING_GROUP = "funding"


@dataclass(frozen=True)
class FeatureSet:
    """The features of one experiment, in a fixed order."""

    features: tuple[Feature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the k features, in column order."""
        return tuple(feature.name for feature in self.features)

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of each feature, in column order."""
        return tuple(feature.group for feature in self.features)

    @property
    def lookback(self) -> int:
        """Bars, the decision's own included, that determine a complete row."""
        return max(feature.lookback for feature in self.features)

    def compute(self, bars: BarFrame, funding: FundingFrame) -> FeatureFrame:
        """Return all features at every bar's close.

        Parameters
        ----------
        bars
            n bars; may be cut off anywhere: a row depends on the ``lookback`` bars that end at it.
        funding
            Settlements; those after a bar's close are not visible in its row. With a buffer of
            ``lookback`` bars, the settlements since the buffer's start suffice at intervals of up
            to 8 h on hourly bars.

        Returns
        -------
        FeatureFrame
            float64, shape (n, k). A feature is NaN until its own look-back is complete.

        Raises
        ------
        UsageError
            A feature returned the wrong shape, something infinite, or failed; it is named.
        """
        past = PastBars.of(bars, funding)
        values = np.full((len(bars), len(self.features)), np.nan)
        if len(bars):
            for column, feature in enumerate(self.features):
                values[:, column] = feature(past)
        values.flags.writeable = False
        return FeatureFrame(
            close_time=bars.close_time, names=self.names, values=values, lookback=self.lookback
        )


def feature_set(section: FeaturesSection, *, funding: bool) -> FeatureSet:
    """Resolve the ``features`` section into the features to compute.

    Parameters
    ----------
    section
        ``include`` and ``exclude`` take names of groups or features; ``modules`` the user's files.
    funding
        False leaves the group ``funding`` out: the market has no records to compute it from.

    Raises
    ------
    ConfigError
        A name is unknown (with the nearest known one), defined twice, a file cannot be loaded, or
        no feature is left.

    Examples
    --------
    >>> section = FeaturesSection(include=("calendar", "rsi_14"), exclude=("weekday_cos",))
    >>> feature_set(section, funding=False).names
    ('rsi_14', 'hour_sin', 'hour_cos', 'weekday_sin')
    """
    known = [*BUILT_IN]
    for path in section.modules:
        known += load_features(path, taken={feature.name for feature in known})
    included = _matching(known, section.include, "features.include")
    excluded = _matching(known, section.exclude, "features.exclude")
    chosen = tuple(
        feature
        for feature in known
        if (not section.include or feature.name in included)
        and feature.name not in excluded
        and (funding or feature.group != FUNDING_GROUP)
    )
    if not chosen:
        why = "" if funding else " (group 'funding' is left out: there are no funding records)"
        raise ConfigError(f"no feature is left{why}; include more", key="features")
    return FeatureSet(chosen)


def _matching(known: Sequence[Feature], wanted: Sequence[str], key: str) -> set[str]:
    """Return the names of all features that ``wanted`` groups and names stand for."""
    matched: set[str] = set()
    for text in wanted:
        names = {feature.name for feature in known if text in (feature.name, feature.group)}
        if not names:
            raise ConfigError(_unknown(known, text), key=key)
        matched |= names
    return matched


def _unknown(known: Sequence[Feature], text: str) -> str:
    groups = sorted({feature.group for feature in known})
    candidates = [*groups, *(feature.name for feature in known)]
    near = difflib.get_close_matches(text, candidates, n=1, cutoff=0.6)
    hint = f"did you mean '{near[0]}'?" if near else f"groups are {', '.join(groups)}"
    return f"no feature or group is called '{text}'; {hint}"
