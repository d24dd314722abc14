"""What a fold learns about its features before the model sees them: which to keep, how to scale.

Both are fitted on the fold's train rows alone, and the rows they saw are recorded so that an audit
can hold it against them.

**Scaling.** Mean and deviation of the train values after winsorising at five robust deviations
(interquartile range) around the median: the bulk of every feature has mean 0 and deviation 1, which
is what a recurrent network wants, and one crash does not flatten all other days. Afterwards values
are clipped at ``features.clip`` deviations.

**Selection.** ``mrmr`` (after Peng, Long & Ding 2005: maximal relevance, minimal redundancy) picks
greedily the feature with the largest ``2 |AUC - 1/2| (1 - max |Spearman rank correlation with those
picked|)``. The product form has no unit to balance (relevance at one hour is about 0.07, redundancy
about 0.9: their difference would look at redundancy only), and the maximum instead of the mean
keeps near copies out however many other features are picked. Everything is a function of ranks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from perpwalk.config import FeaturesSection
from perpwalk.domain import (
    FeatureFrame,
    Float32Array,
    FloatArray,
    IntArray,
    LabelArray,
    LabelFrame,
    frozen_array,
)
from perpwalk.errors import DataError, UserError
from perpwalk.finite import require_finite
from perpwalk.strict import file_bytes, parse_json, refuse_link

SCALER_FILE = "scaler.json"
FEATURES_FILE = "features.json"
FORMAT = 1
_WINSOR = 5.0
_IQR_OF_NORMAL = 1.3489795003921634
# A deviation this small against the mean is rounding, not variation.
_CONSTANT = 1e-12
_MAX_FILE_BYTES = 16_000_000


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """A fitted choice and scaling of features.

    Attributes
    ----------
    candidates
        Names of the K columns ``transform`` expects, in order.
    names
        Names of the k columns it returns, in the order in which they were picked.
    center, scale
        Per returned column, shape (k,).
    clip
        Bound of the returned values, in train deviations.
    scores
        Relevance on train of every candidate that is not constant: ``2 |AUC - 1/2|`` in [0, 1], or
        nats for ``mutual_info``; empty for ``none``.
    constant
        Candidates without variation on train; never picked.
    rows_seen
        First and last row fitted on, as indices into the market's bars.
    """

    candidates: tuple[str, ...]
    names: tuple[str, ...]
    center: FloatArray
    scale: FloatArray
    clip: float
    method: str
    scores: Mapping[str, float]
    constant: tuple[str, ...]
    rows_seen: tuple[int, int]

    def transform(self, values: FloatArray) -> Float32Array:
        """Pick and scale columns.

        Parameters
        ----------
        values
            float64, shape (n, K), columns as ``candidates``; any n.

        Returns
        -------
        Float32Array
            C-contiguous float32, shape (n, k), within ``[-clip, clip]``. A NaN stays NaN.
        """
        if values.ndim != 2 or values.shape[1] != len(self.candidates):
            raise ValueError(
                f"expected shape (n, {len(self.candidates)}), one column per candidate feature, "
                f"found {values.shape}"
            )
        place = {name: column for column, name in enumerate(self.candidates)}
        picked = values[:, [place[name] for name in self.names]]
        scaled = np.clip((picked - self.center) / self.scale, -self.clip, self.clip)
        return np.ascontiguousarray(scaled, dtype=np.float32)

    def seen_from(self, other: Preprocessor) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return how another fold's columns are had from these.

        Returns
        -------
        columns : IntArray
            Where each of these columns stands in the other's table, shape (k,); -1 nowhere.
        ratio, shift : FloatArray
            The other's value is this one's × ratio + shift, but for clipping, shape (k,); 0 where
            the other has no such column.
        """
        columns = np.array(
            [other.names.index(name) if name in other.names else -1 for name in self.names],
            dtype=np.int64,
        )
        known = columns >= 0
        scale, center = other.scale[columns], other.center[columns]
        ratio = np.where(known, self.scale / scale, 0.0)
        return columns, ratio, np.where(known, (self.center - center) / scale, 0.0)

    def save(self, folder: Path) -> None:
        """Write ``scaler.json`` and ``features.json``; floats survive exactly."""
        scaler = {
            "format": FORMAT,
            "clip": self.clip,
            "names": list(self.names),
            "center": self.center.tolist(),
            "scale": self.scale.tolist(),
        }
        features = {
            "format": FORMAT,
            "method": self.method,
            "selected": list(self.names),
            "candidates": list(self.candidates),
            "constant": list(self.constant),
            "scores": dict(self.scores),
            "rows_seen": list(self.rows_seen),
        }
        for name, content in ((SCALER_FILE, scaler), (FEATURES_FILE, features)):
            text = json.dumps(content, indent=1, allow_nan=False)
            (folder / name).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Preprocessor:
        """Read what ``save`` wrote; ``transform`` is then bit-identical.

        Raises
        ------
        DataError
            A file is missing, damaged, or does not fit the other.
        """
        scaler, features = _read(folder / SCALER_FILE), _read(folder / FEATURES_FILE)
        try:
            loaded = cls(
                candidates=tuple(features["candidates"]),
                names=tuple(features["selected"]),
                center=frozen_array(scaler["center"]),
                scale=frozen_array(scaler["scale"]),
                clip=float(scaler["clip"]),
                method=str(features["method"]),
                scores={str(name): float(score) for name, score in features["scores"].items()},
                constant=tuple(features["constant"]),
                rows_seen=(int(features["rows_seen"][0]), int(features["rows_seen"][1])),
            )
        except (
            KeyError,
            IndexError,
            TypeError,
            ValueError,
            AttributeError,
            OverflowError,
        ) as error:
            raise DataError(
                f"is not what perpwalk wrote ({type(error).__name__}: {error}); refit the fold",
                path=folder,
            ) from error
        if tuple(scaler.get("names", ())) != loaded.names or not loaded._fits():
            raise DataError(
                f"{SCALER_FILE} and {FEATURES_FILE} do not belong together; refit the fold",
                path=folder,
            )
        return loaded

    def _fits(self) -> bool:
        shape = (len(self.names),)
        return (
            self.center.shape == shape == self.scale.shape
            and bool(np.isfinite(self.center).all() and (self.scale > 0).all())
            and set(self.names) <= set(self.candidates)
        )


def fit_preprocessor(
    features: FeatureFrame,
    labels: LabelFrame,
    rows: IntArray,
    section: FeaturesSection,
    seed: int,
) -> Preprocessor:
    """Choose and scale features on train rows.

    Parameters
    ----------
    features, labels
        One row per bar of the market; only ``rows`` are looked at.
    rows
        Train rows: complete features and a label.
    section
        ``selection`` and ``clip``.
    seed
        Used by ``mutual_info``, which breaks ties by noise; the other methods draw nothing.

    Returns
    -------
    Preprocessor
        With at most ``selection.k`` features, fewer where fewer vary.

    Raises
    ------
    UserError
        There is no train row, or no feature varies on train.
    ValueError
        A row lacks a feature or a label: the caller handed on rows that are not for fitting.
    """
    values, label = _train_rows(features, labels, rows)
    center, scale = _center_and_scale(values)
    require_finite(
        center + scale,
        "the centre or scale of a feature on the train rows",
        "its values are too large for their spread to be computed; scale the feature, or leave it "
        "out (features.exclude)",
        rows=features.names,
    )
    varies = (np.ptp(values, axis=0) > 0) & (scale > _CONSTANT * np.abs(center))
    if not varies.any():
        raise UserError(
            f"none of the {len(features.names)} features varies on the {len(rows):,} train rows; "
            "include other features or lengthen walk_forward.train"
        )
    candidates = np.flatnonzero(varies)
    picked, relevance = _select(values[:, candidates], label, section, seed)
    chosen = candidates[picked]
    return Preprocessor(
        candidates=features.names,
        names=tuple(features.names[column] for column in chosen),
        center=frozen_array(center[chosen]),
        scale=frozen_array(scale[chosen]),
        clip=section.clip,
        method=section.selection.method,
        scores={
            features.names[column]: float(score)
            for column, score in zip(candidates, relevance, strict=False)
        },
        constant=tuple(features.names[column] for column in np.flatnonzero(~varies)),
        rows_seen=(int(rows.min()), int(rows.max())),
    )


def _train_rows(
    features: FeatureFrame, labels: LabelFrame, rows: IntArray
) -> tuple[FloatArray, LabelArray]:
    if len(rows) == 0:
        raise UserError("there is no train row to fit features on; lengthen walk_forward.train")
    values, label = features.values[rows], labels.label[rows]
    if not np.isfinite(values).all() or not np.isin(label, (0, 1)).all():
        raise ValueError("train rows must have all features and a label")
    return values, label


def _center_and_scale(values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return mean and deviation of each column's winsorised values, shape (K,) each."""
    low, median, high = np.percentile(values, [25, 50, 75], axis=0)
    robust = (high - low) / _IQR_OF_NORMAL
    # More than half of the values are one and the same: the plain deviation is all there is.
    width = _WINSOR * np.where(robust > 0, robust, values.std(axis=0))
    calm = np.clip(values, median - width, median + width)
    return calm.mean(axis=0), calm.std(axis=0)


# ── selection ────────────────────────────────────────────────────────────────────────────────────


def _select(
    values: FloatArray, label: LabelArray, section: FeaturesSection, seed: int
) -> tuple[IntArray, FloatArray]:
    """Return the picked columns in order, and each column's relevance (empty for ``none``)."""
    count = min(section.selection.k, values.shape[1])
    if section.selection.method == "none":
        return np.arange(values.shape[1], dtype=np.int64), np.zeros(0)
    if section.selection.method == "mutual_info":
        relevance = _mutual_information(values, label, seed)
        return _best(relevance, count), relevance
    ranks: FloatArray = pd.DataFrame(values).rank().to_numpy()
    relevance = _auc_relevance(ranks, label)
    if section.selection.method == "auc":
        return _best(relevance, count), relevance
    return _mrmr(ranks, relevance, count), relevance


def _best(relevance: FloatArray, count: int) -> IntArray:
    # A stable sort keeps equal features in the order of the configuration.
    return np.argsort(-relevance, kind="stable")[:count].astype(np.int64)


def _auc_relevance(ranks: FloatArray, label: LabelArray) -> FloatArray:
    """Return ``2 |AUC - 1/2|`` per column from average ranks (Mann & Whitney 1947).

    Zero for every column where the labels are of one class.
    """
    up = label == 1
    n_up, n_down = int(up.sum()), int((~up).sum())
    if n_up == 0 or n_down == 0:
        return np.zeros(ranks.shape[1])
    wins = ranks[up].sum(axis=0) - n_up * (n_up + 1) / 2
    relevance: FloatArray = 2 * np.abs(wins / (n_up * n_down) - 0.5)
    return relevance


def _mrmr(ranks: FloatArray, relevance: FloatArray, count: int) -> IntArray:
    """Pick greedily by relevance times what the picked ones leave unsaid."""
    correlation = np.abs(np.corrcoef(ranks, rowvar=False)).reshape(len(relevance), -1)
    said = np.zeros(len(relevance))
    left = np.ones(len(relevance), dtype=bool)
    picked: list[int] = []
    for _ in range(count):
        best = int(np.argmax(np.where(left, relevance * (1 - said), -np.inf)))
        picked.append(best)
        left[best] = False
        said = np.maximum(said, np.minimum(correlation[best], 1.0))
    return np.array(picked, dtype=np.int64)


def _mutual_information(values: FloatArray, label: LabelArray, seed: int) -> FloatArray:
    """Return the nearest-neighbour estimate in nats (Kraskov et al. 2004; Ross 2014)."""
    # Imported here: scikit-learn takes seconds to import and only this method needs it.
    from sklearn.feature_selection import mutual_info_classif

    estimate: Callable[..., Any] = mutual_info_classif
    information: FloatArray = np.asarray(estimate(values, label, random_state=seed, n_jobs=1))
    return information


def _read(file: Path) -> dict[str, Any]:
    try:
        refuse_link(file)
        content = parse_json(file_bytes(file, _MAX_FILE_BYTES))
    except FileNotFoundError as error:
        raise DataError("is missing; refit the fold", path=file) from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {error}; refit the fold", path=file) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DataError(f"is not in format {FORMAT}; refit the fold", path=file)
    return content
