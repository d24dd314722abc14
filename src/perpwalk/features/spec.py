"""One feature: a function of the past, its name, its group and how far it looks back."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from perpwalk.domain import FloatArray
from perpwalk.errors import PerpwalkError, UsageError
from perpwalk.features.past import PastBars
from perpwalk.finite import require_finite

Compute = Callable[[PastBars], FloatArray]
NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")
MAX_LOOKBACK = 100_000


@dataclass(frozen=True)
class Feature:
    """A causal feature.

    Attributes
    ----------
    name, group
        Identifiers by which the configuration includes and excludes it.
    lookback
        Bars up to and including the decision's own that determine a value. The value is undefined
        (NaN) until that many bars exist.
    compute
        Takes ``PastBars`` of n bars and returns float64 of shape (n,).
    source
        File of a user's feature, None for a built-in one.
    """

    name: str
    group: str
    lookback: int
    compute: Compute
    source: str | None = None

    def __post_init__(self) -> None:
        """Refuse names that a file or a configuration could not carry, and empty look-backs."""
        for what, text in (("name", self.name), ("group", self.group)):
            if NAME.match(text) is None:
                raise UsageError(
                    f"feature {what} '{text}' is not usable: letters, digits and '_', at most 64"
                )
        whole = isinstance(self.lookback, int) and not isinstance(self.lookback, bool)
        if not whole or not 1 <= self.lookback <= MAX_LOOKBACK:
            raise UsageError(
                f"feature '{self.name}': lookback must be a whole number of bars from 1 to "
                f"{MAX_LOOKBACK:,}, found {self.lookback!r}"
            )

    def __call__(self, past: PastBars) -> FloatArray:
        """Return the checked values, shape (n,): NaN until ``lookback`` bars, never infinite."""
        values = self._checked(self._computed(past), len(past))
        values[: min(self.lookback - 1, len(past))] = np.nan
        require_finite(
            values,
            self._named(),
            "guard the division (perpwalk.features.ratio does)",
            rows=past.close_time,
            missing=True,
        )
        return values

    def _computed(self, past: PastBars) -> object:
        try:
            return self.compute(past)
        except PerpwalkError:
            raise
        except Exception as error:
            error.add_note(f"while computing {self._named()}")
            if self.source is None:
                raise
            raise UsageError(f"{self._named()} failed: {type(error).__name__}: {error}") from error

    def _checked(self, values: object, bars: int) -> FloatArray:
        try:
            array = np.array(values, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"{self._named()} must return numbers, found {type(values).__name__}"
            ) from error
        if array.shape != (bars,):
            raise UsageError(
                f"{self._named()} returned shape {array.shape} for {bars} bars; "
                f"return one value per bar, shape ({bars},)"
            )
        return array

    def _named(self) -> str:
        return f"feature '{self.name}'" + ("" if self.source is None else f" ({self.source})")


def feature(*, lookback: int, group: str = "user") -> Callable[[Compute], Feature]:
    """Turn a function of ``PastBars`` into a feature named like the function.

    Parameters
    ----------
    lookback
        Bars up to and including the decision's own that determine a value.
    group
        Any name; ``funding`` is left out where the market has no funding records.

    Examples
    --------
    >>> from perpwalk.features import PastBars, feature, rolling_mean
    >>> @feature(lookback=24, group="mine")
    ... def distance_to_daily_mean(past: PastBars):
    ...     return past.close / rolling_mean(past.close, 24) - 1
    >>> distance_to_daily_mean.name, distance_to_daily_mean.lookback
    ('distance_to_daily_mean', 24)
    """

    def decorate(compute: Compute) -> Feature:
        return Feature(name=compute.__name__, group=group, lookback=lookback, compute=compute)

    return decorate


def family(
    group: str,
    pattern: str,
    spans: Iterable[int],
    lookback: Callable[[int], int],
    compute: Callable[[PastBars, int], FloatArray],
) -> list[Feature]:
    """Return one feature per span: ``pattern`` ``"sma_{}"`` with spans 6, 12 gives two."""

    def bound(span: int) -> Compute:
        return lambda past: compute(past, span)

    return [
        Feature(
            name=pattern.format(span), group=group, lookback=lookback(span), compute=bound(span)
        )
        for span in spans
    ]
