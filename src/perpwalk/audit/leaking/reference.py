"""A small honest pipeline whose every stage can be replaced: the clean control of the library.

Nine features, close-to-close labels, walk-forward folds with purge, scaling on train, logistic
regression, a threshold chosen on validation. Fast (some milliseconds a fold), so that a whole
matrix of leaks and detectors is a test.

Each stage is handed a ``Case``, which holds everything, the test rows too. An honest stage looks at
what it may; the leaking ones (see the other modules) do not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from perpwalk.audit.leaks.canaries import FittedMemoriser
from perpwalk.audit.leaks.contract import PLAIN, FoldTrace, PipelineOutput, Probe, digest
from perpwalk.audit.leaks.online import ONLINE_BARS, Compared
from perpwalk.audit.leaks.surrogates import truncated
from perpwalk.config import LabelSection, WalkForwardSection
from perpwalk.domain import (
    UNDEFINED_LABEL,
    FeatureFrame,
    FloatArray,
    Fold,
    IntArray,
    LabelArray,
    LabelFrame,
    Market,
    frozen_array,
)
from perpwalk.features import PastBars, rolling_std, shift
from perpwalk.folds import make_folds, usable_rows
from perpwalk.labels import make_labels
from perpwalk.thresholds import choose_threshold

Columns = Mapping[str, FloatArray]
Predict = Callable[[FloatArray], FloatArray]
LOOKBACK = 25
SPANS = (1, 3, 6, 12, 24)
_RIDGE = 1.0
_STEPS = 8


@dataclass(frozen=True, eq=False)
class Case:
    """One fold and all there is: scaled values of every bar (n, k), labels, rows, seed."""

    values: FloatArray
    labels: LabelFrame
    fold: Fold
    seed: int

    def labelled(self, rows: IntArray) -> IntArray:
        """Return those of ``rows`` that have a label."""
        known: IntArray = rows[self.labels.label[rows] != UNDEFINED_LABEL]
        return known

    @property
    def train(self) -> IntArray:
        """Labelled train rows."""
        return self.labelled(self.fold.train.rows)

    @property
    def validation(self) -> IntArray:
        """Labelled validation rows."""
        return self.labelled(self.fold.validation.rows)

    @property
    def test(self) -> IntArray:
        """Labelled test rows."""
        return self.labelled(self.fold.test.rows)

    def label(self, rows: IntArray) -> LabelArray:
        """Return labels of rows."""
        return self.labels.label[rows]


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted model: digests of what was fitted, by stage, and how to forecast (m, k) values."""

    stages: Mapping[str, str]
    predict: Predict


# ── the honest stages ────────────────────────────────────────────────────────────────────────────


def honest_features(market: Market, labels: LabelFrame) -> Columns:  # noqa: ARG001
    """Return returns over five spans, volatility, volume, range and the last settled rate."""
    past = PastBars.of(market.bars, market.funding)
    price = past.log_close
    return {
        **{f"return_{span}": price - shift(price, span) for span in SPANS},
        "volatility_24": rolling_std(past.log_return, 24),
        "volume": np.log(np.maximum(past.volume, 1e-12)),
        "range": np.log(past.high / past.low),
        "funding": past.funding_rate,
    }


def honest_labels(market: Market, horizon: int) -> LabelFrame:
    """Return the sign of the close-to-close move over ``horizon`` bars."""
    return make_labels(market.bars, LabelSection(horizon=f"{horizon}bars"))


def honest_split(
    section: WalkForwardSection, market: Market, features: FeatureFrame, labels: LabelFrame
) -> tuple[Fold, ...]:
    """Return walk-forward folds with purge."""
    return make_folds(
        section,
        close_time=market.bars.close_time,
        interval=market.bars.interval,
        usable=usable_rows(features),
        labels=labels,
    )


def all_columns(case: Case) -> IntArray:
    """Keep every feature."""
    return np.arange(case.values.shape[1], dtype=np.int64)


def scale_on_train(case: Case) -> tuple[FloatArray, FloatArray]:
    """Return mean and deviation of each column over train rows."""
    return _moments(case.values[case.fold.train.rows])


def _moments(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    deviation = values.std(axis=0)
    return values.mean(axis=0), np.where(deviation > 0, deviation, 1.0)


def train_rows(case: Case) -> IntArray:
    """Fit on train rows."""
    return case.train


def regression(case: Case, rows: IntArray) -> Fit:
    """Fit a ridge logistic regression on ``rows``."""
    return logistic(case.values[rows], case.label(rows))


def threshold_on_validation(case: Case, p_up: FloatArray) -> float:
    """Choose the threshold on validation rows; ``p_up`` has shape (n,), one per bar."""
    rows = case.validation
    return choose_threshold(p_up[rows], case.label(rows), "validation")


def logistic(values: FloatArray, label: LabelArray) -> Fit:
    """Fit by Newton's method; an intercept that is not penalised."""
    design = np.column_stack([np.ones(len(values)), values])
    weights = np.zeros(design.shape[1])
    penalty = np.full(design.shape[1], _RIDGE)
    penalty[0] = 1e-6
    for _ in range(_STEPS):
        p = _sigmoid(design @ weights)
        curvature = (design * (p * (1 - p))[:, None]).T @ design + np.diag(penalty)
        weights = weights + np.linalg.solve(curvature, design.T @ (label - p) - penalty * weights)
    return Fit({"model": digest(weights)}, lambda x: linear(x, weights))


def linear(values: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the probabilities of a logistic model, summed row by row.

    A matrix product's last bits depend on how many rows there are.
    """
    return _sigmoid((values * weights[1:]).sum(axis=1) + weights[0])


def _sigmoid(x: FloatArray) -> FloatArray:
    p: FloatArray = 1 / (1 + np.exp(-np.clip(x, -30, 30)))
    return p


# ── the pipeline ─────────────────────────────────────────────────────────────────────────────────

SECTION = WalkForwardSection(
    train="1000bars", validation="200bars", test="400bars", min_train_rows=200
)
Split = Callable[[WalkForwardSection, Market, FeatureFrame, LabelFrame], tuple[Fold, ...]]


@dataclass(frozen=True)
class ReferencePipeline:
    """The honest pipeline; replace a stage to make it leak.

    Attributes
    ----------
    labels
        ``(market, horizon)`` to labels.
    features
        ``(market, labels)`` to named columns of shape (n,).
    split
        To folds.
    select, scale, rows, fit, threshold
        Per fold, from a ``Case``: columns to keep; center and scale; rows to fit on; a model; a
        threshold from the probabilities of validation and test rows (NaN elsewhere).
    """

    horizon: int = 1
    section: WalkForwardSection = SECTION
    labels: Callable[[Market, int], LabelFrame] = honest_labels
    columns: Callable[[Market, LabelFrame], Columns] = honest_features
    split: Split = honest_split
    select: Callable[[Case], IntArray] = all_columns
    scale: Callable[[Case], tuple[FloatArray, FloatArray]] = scale_on_train
    rows: Callable[[Case], IntArray] = train_rows
    fit: Callable[[Case, IntArray], Fit] = regression
    threshold: Callable[[Case, FloatArray], float] = threshold_on_validation

    def features(self, market: Market) -> FeatureFrame:
        """Compute the features alone."""
        return self._frame(market, self.labels(market, self.horizon))

    def _frame(self, market: Market, labels: LabelFrame) -> FeatureFrame:
        columns = self.columns(market, labels)
        return FeatureFrame(
            close_time=market.bars.close_time,
            names=tuple(columns),
            values=frozen_array(np.column_stack(list(columns.values()))),
            lookback=LOOKBACK,
        )

    def __call__(self, market: Market, seed: int, probe: Probe = PLAIN) -> PipelineOutput:
        """Run every stage."""
        labels = self.labels(market, self.horizon)
        if probe.labels is not None:
            labels = probe.labels(labels)
        frame = self._frame(market, labels)
        if probe.features is not None:
            frame = probe.features(frame, labels)
        folds = self.split(self.section, market, frame, labels)
        return PipelineOutput(
            features=frame,
            labels=labels,
            folds=tuple(
                self._fold(frame, labels, fold, seed, probe)
                for fold in folds
                if probe.wants(fold.number)
            ),
        )

    def live(self, market: Market, output: PipelineOutput, seed: int) -> Iterator[Compared]:
        """Forecast again the first decisions of the first and last fold, from what was known then.

        What is fitted stays; features come of the bars until the decision, and each is asked alone.
        """
        for trace in (output.folds[0], output.folds[-1]):
            fitted = self._fitted(output.features, output.labels, trace.fold, seed, PLAIN)
            for row, batch in zip(trace.fold.test.rows[:ONLINE_BARS], trace.p_up, strict=False):
                known = self.features(truncated(market, int(row) + 1)).values[-1:]
                yield Compared(int(row), _number(fitted.forecast(known)[0]), _number(batch))

    def _fitted(
        self, frame: FeatureFrame, labels: LabelFrame, fold: Fold, seed: int, probe: Probe
    ) -> _Fitted:
        raw = Case(frame.values, labels, fold, seed)
        kept = self.select(raw)
        picked = Case(frame.values[:, kept], labels, fold, seed)
        center, scale = self.scale(picked)
        case = Case((picked.values - center) / scale, labels, fold, seed)
        rows = self.rows(case)
        fitted = by_heart(case, rows) if probe.memorise else self.fit(case, rows)
        return _Fitted(kept, center, scale, case, fitted)

    def _fold(
        self, frame: FeatureFrame, labels: LabelFrame, fold: Fold, seed: int, probe: Probe
    ) -> FoldTrace:
        found = self._fitted(frame, labels, fold, seed, probe)
        asked = np.union1d(fold.validation.rows, fold.test.rows)
        p_up = np.full(len(frame.values), np.nan)
        p_up[asked] = found.forecast(frame.values[asked])
        return FoldTrace(
            fold=fold,
            fitted={
                "selection": digest(found.kept),
                "scaler": digest(found.center, found.scale),
                **found.fit.stages,
            },
            threshold=self.threshold(found.case, p_up),
            p_up=p_up[fold.test.rows],
        )


@dataclass(frozen=True, eq=False)
class _Fitted:
    """The fitted stages of one fold, and the case they were fitted on."""

    kept: IntArray
    center: FloatArray
    scale: FloatArray
    case: Case
    fit: Fit

    def forecast(self, values: FloatArray) -> FloatArray:
        """Return the probabilities of rows of features, shape (m, k)."""
        return self.fit.predict((values[:, self.kept] - self.center) / self.scale)


def _number(p_up: float) -> float | None:
    return float(p_up) if np.isfinite(p_up) else None


def by_heart(case: Case, rows: IntArray) -> Fit:
    """Learn ``rows`` by heart."""
    value, label = case.values[rows, 0], case.label(rows)
    order = np.argsort(value, kind="stable")
    model = FittedMemoriser(frozen_array(value[order]), frozen_array(label[order]))
    return Fit({"model": digest(value, label)}, lambda x: 0.1 + 0.8 * model.nearest(x[:, 0]))
