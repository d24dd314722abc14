"""What a market order pays beyond the reference price: one small class per model.

A model of your own is a class that is built from the ``broker.slippage`` section and has ``rate``;
name it as ``broker.slippage.kind: module:Name``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from perpwalk.config import SlippageSection
from perpwalk.errors import ConfigError
from perpwalk.plugins import load_object

MAX_RATE = 0.5
BPS = 1e-4


@dataclass(frozen=True, slots=True)
class FillContext:
    """What a model may look at: the order's unsigned size and the bar that fills it."""

    quantity: float
    reference_price: float
    high: float
    low: float
    volume: float


class Slippage(Protocol):
    """A slippage model."""

    def rate(self, fill: FillContext) -> float:
        """Return the fraction of the reference price that is lost, at least 0."""
        ...


@dataclass(frozen=True)
class NoSlippage:
    """Fills at the reference price."""

    def rate(self, fill: FillContext) -> float:  # noqa: ARG002 - the interface of all models
        """Return 0."""
        return 0.0


@dataclass(frozen=True)
class FixedSlippage:
    """The same fraction of price for every order."""

    bps: float

    def rate(self, fill: FillContext) -> float:  # noqa: ARG002 - the interface of all models
        """Return ``bps`` as a fraction.

        >>> FixedSlippage(2.0).rate(FillContext(1.0, 100.0, 101.0, 99.0, 10.0))
        0.0002
        """
        return self.bps * BPS


@dataclass(frozen=True)
class SpreadRangeSlippage:
    """Half the spread plus a share of the bar's range: dearer in wild bars."""

    spread_bps: float
    range_share: float

    def rate(self, fill: FillContext) -> float:
        """Return half of ``spread_bps`` plus ``range_share`` of the bar's relative range.

        >>> SpreadRangeSlippage(2.0, 0.05).rate(FillContext(1.0, 100.0, 101.0, 99.0, 10.0))
        0.0011
        """
        spread = self.spread_bps / 2 * BPS
        return spread + self.range_share * (fill.high - fill.low) / fill.reference_price


@dataclass(frozen=True)
class SquareRootSlippage:
    """Impact that grows with the square root of the order's share of the bar's volume.

    The square-root law of market impact, with the bar's range standing for volatility (Almgren,
    Thum, Hauptmann and Li 2005; Bouchaud 2010).
    """

    impact: float

    def rate(self, fill: FillContext) -> float:
        """Return ``impact`` times relative range times √(quantity / volume).

        >>> SquareRootSlippage(0.5).rate(FillContext(1.0, 100.0, 101.0, 99.0, 4.0))
        0.005
        """
        relative_range = (fill.high - fill.low) / fill.reference_price
        return self.impact * relative_range * math.sqrt(fill.quantity / fill.volume)


def slippage_model(section: SlippageSection) -> Slippage:
    """Build the model that ``section.kind`` names.

    Raises
    ------
    ConfigError
        The kind is neither built in nor a loadable ``module:Name`` with a ``rate`` method.
    """
    built_in: dict[str, Slippage] = {
        "none": NoSlippage(),
        "fixed": FixedSlippage(section.bps),
        "spread_range": SpreadRangeSlippage(section.spread_bps, section.range_share),
        "square_root": SquareRootSlippage(section.impact),
    }
    if section.kind in built_in:
        return built_in[section.kind]
    key = "broker.slippage.kind"
    found = load_object(section.kind, kind="slippage model", key=key, known=tuple(built_in))
    if not callable(getattr(found, "rate", None)):
        raise ConfigError(f"'{section.kind}' has no method rate(fill)", key=key)
    model: Slippage = found(section)
    return model
