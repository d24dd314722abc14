"""Pipelines and strategies that leak on purpose: what the leak detectors are tested against."""

from perpwalk.audit.leaking.library import (
    CLEAN,
    DETECTORS,
    HONEST_STRATEGY,
    LEAKS,
    STRATEGIES,
    STRATEGIES_MUST,
    Leak,
)
from perpwalk.audit.leaking.matrix import Row, detect, detect_strategy, matrix_market
from perpwalk.audit.leaking.reference import ReferencePipeline

__all__ = [
    "CLEAN",
    "DETECTORS",
    "HONEST_STRATEGY",
    "LEAKS",
    "STRATEGIES",
    "STRATEGIES_MUST",
    "Leak",
    "ReferencePipeline",
    "Row",
    "detect",
    "detect_strategy",
    "matrix_market",
]
