"""From a wanted exposure to a quantity: how much, and whether it is worth an order.

Exposure is a signed multiple of equity: +0.95 is long for 95 % of equity, -2 is short for twice.
"""

from __future__ import annotations

from dataclasses import dataclass

from perpwalk.perp import LotStep

DEFAULT_EXPOSURE = 0.95  # at leverage 1 the rest pays the fee and the open's gap from the close


@dataclass(frozen=True, slots=True)
class Sizing:
    """How a wanted exposure becomes a target.

    Attributes
    ----------
    rebalance_band
        A position on the wanted side is left alone while its exposure is within this distance of
        the wanted one: following every tick of drift would cost more than it mends.
    """

    rebalance_band: float

    def needs_order(self, wanted: float, current_exposure: float) -> bool:
        """Say whether to trade: the side changes, or the exposure has drifted out of the band.

        >>> sizing = Sizing(rebalance_band=0.1)
        >>> sizing.needs_order(wanted=0.95, current_exposure=0.99)
        False
        >>> sizing.needs_order(wanted=-0.05, current_exposure=0.0)
        True
        """
        if _side(wanted) != _side(current_exposure):
            return True
        return abs(wanted - current_exposure) > self.rebalance_band


def target_quantity(wanted: float, equity: float, price: float, step: LotStep) -> float:
    """Return the signed quantity worth ``wanted`` times ``equity``, in whole lots towards zero.

    >>> target_quantity(-0.95, equity=10_000.0, price=2_000.0, step=LotStep(0.001))
    -4.75
    """
    return step.quantity(step.count(wanted * equity / price))


def _side(exposure: float) -> int:
    return (exposure > 0) - (exposure < 0)
