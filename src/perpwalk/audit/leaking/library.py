"""The library: every leak by name, with the detectors that were measured as able to catch it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from perpwalk.audit.leaking import feature_leaks, fit_leaks, label_leaks, strategies
from perpwalk.audit.leaking.reference import ReferencePipeline
from perpwalk.audit.leaks.strategy import StrategyBox

# Columns of the detection matrix: detectors of the suite by name, then the audits beside it.
DETECTORS = (
    "truncation",
    "startup",
    "perturbation",
    "permutation",
    "null market",
    "null account",
    "planted edge",
    "canaries",
    "delay sweep",
    "single features",
    "online signals",
    "labels",
    "folds",
    "strategy",
)
_FUTURE = frozenset({"truncation", "perturbation", "null market"})


@dataclass(frozen=True)
class Leak:
    """One deliberately leaking pipeline.

    ``must`` names the detectors that have to catch it.
    """

    name: str
    words: str
    pipeline: ReferencePipeline
    must: frozenset[str]


def _leak(name: str, words: str, must: set[str] | frozenset[str], **stages: object) -> Leak:
    return Leak(name, words, ReferencePipeline(**stages), frozenset(must))  # type: ignore[arg-type]


CLEAN: Mapping[str, ReferencePipeline] = {
    "clean": ReferencePipeline(),
    "clean, horizon 12": ReferencePipeline(horizon=12),
    "clean, selection on train": ReferencePipeline(
        columns=feature_leaks.noise_columns, select=fit_leaks.select_on_train
    ),
    "clean, stopping on validation": ReferencePipeline(
        columns=feature_leaks.some_noise, fit=fit_leaks.stop_on_validation
    ),
}

LEAKS: tuple[Leak, ...] = (
    _leak("full-series scaler", "mean and deviation over all rows", {"perturbation"},
          scale=fit_leaks.scale_on_everything),
    _leak("full-series selection", "best of 60 noise columns over all rows",
          {"perturbation", "permutation", "null market"},
          columns=feature_leaks.noise_columns, select=fit_leaks.select_on_everything),
    _leak("full-series decomposition", "low-pass filter over all prices", _FUTURE,
          columns=feature_leaks.filtered_whole),
    _leak("per-split decomposition", "low-pass filter over each split", _FUTURE,
          columns=feature_leaks.filtered_per_split),
    _leak("centred window", "rolling mean of 11 bars around the row", _FUTURE,
          columns=feature_leaks.centred_mean),
    _leak("funding filled backwards", "the next rate fills the hours before it", _FUTURE,
          columns=feature_leaks.funding_backfilled),
    _leak("funding before its stamp", "a rate known four hours early", _FUTURE,
          columns=feature_leaks.funding_early),
    _leak("label in the features", "the next return is a feature",
          _FUTURE | {"null account", "single features", "delay sweep", "online signals"},
          columns=feature_leaks.next_return),
    _leak("day's close used intraday", "daily bars joined by date", _FUTURE,
          columns=feature_leaks.days_close),
    _leak("target encoding over all data", "mean label per hour of the week", _FUTURE,
          columns=feature_leaks.target_encoding),
    _leak("running sum from the start", "OBV: values depend on where the data begin", {"startup"},
          columns=feature_leaks.running_sum),
    _leak("early stopping on test", "the epoch with the best test AUC",
          {"perturbation", "permutation", "null market"},
          columns=feature_leaks.some_noise, fit=fit_leaks.stop_on_test),
    _leak("threshold on test", "the threshold from test labels", {"perturbation"},
          threshold=fit_leaks.threshold_on_test),
    _leak("forecasts ranked in their batch", "standardised over the rows asked for",
          {"perturbation", "online signals"}, fit=fit_leaks.ranked_in_its_batch),
    _leak("train contains test", "test rows among the rows fitted on",
          {"perturbation", "canaries"}, rows=fit_leaks.train_and_test),
    _leak("no purge, horizon 12", "train and validation reach up to the test",
          {"perturbation", "folds"}, horizon=12, split=fit_leaks.without_purge,
          rows=fit_leaks.train_and_validation),
    _leak("shuffled split, horizon 12", "random folds, nearest neighbours",
          {"perturbation", "null market", "folds"}, horizon=12, split=fit_leaks.shuffled,
          fit=fit_leaks.neighbours),
    _leak("label already known", "the move that ends at the decision",
          {"labels", "null market"}, labels=label_leaks.already_known),
    _leak("label one bar late", "the move that begins a bar later",
          {"labels", "planted edge"}, labels=label_leaks.one_bar_late),
    _leak("price levels as labels", "close > 0: the predecessor's", {"labels"},
          labels=label_leaks.price_level),
    _leak("one-class label", "size of the move instead of its sign", {"labels"},
          labels=label_leaks.one_class),
)  # fmt: skip

STRATEGIES: Mapping[str, StrategyBox] = {
    "strategy fills at its decision's close": strategies.fills_at_decision_close,
    "strategy reads the next bar": strategies.reads_next_bar,
}
STRATEGIES_MUST: Mapping[str, frozenset[str]] = {
    "strategy fills at its decision's close": frozenset({"strategy"}),
    "strategy reads the next bar": frozenset({"strategy", "null account"}),
}
HONEST_STRATEGY: StrategyBox = strategies.honest
