"""Market data in: files of exchanges and the usual tools, checked, as one ``Market``.

``read_bars``, ``read_mark`` and ``read_funding`` read one file each; ``load_markets`` reads what a
configuration names, aligns it and applies the policies for gaps and missing funding. Whatever is
wrong is one ``DataError`` naming file, row and column; whatever is merely odd is a ``Finding``.
Nothing is sorted, filled, dropped or rescaled without a finding that says so.
"""

from perpwalk.data.bars import read_bars, read_mark
from perpwalk.data.coverage import (
    Coverage,
    apply_missing_funding,
    funding_coverage,
    settlement_intervals,
)
from perpwalk.data.funding import read_funding
from perpwalk.data.market import load_market
from perpwalk.data.resample import resample
from perpwalk.data.several import load_markets

__all__ = [
    "Coverage",
    "apply_missing_funding",
    "funding_coverage",
    "load_market",
    "load_markets",
    "read_bars",
    "read_funding",
    "read_mark",
    "resample",
    "settlement_intervals",
]
