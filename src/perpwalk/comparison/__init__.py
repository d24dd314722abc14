"""Variants side by side on the same decisions: metrics, differences, and what a search does.

Pure functions of return series and predictions; running the variants is ``engine.compare``.
"""

from perpwalk.comparison.record import Comparison, load_comparison, write_comparison

__all__ = ["Comparison", "load_comparison", "write_comparison"]
