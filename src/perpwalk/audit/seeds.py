"""The seed band: how far chance in training moves a result.

The same experiment is fitted again with other seeds. The headline stays that of the configuration's
own ``seed``, which was chosen before anything was known: the best of several seeds is a search, and
their median belongs to no model that could be traded. The band stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from perpwalk.audit.score import Score
from perpwalk.domain import Finding, Level
from perpwalk.uncertainty.estimate import Estimate

FIGURES = ("accuracy", "auc", "sharpe", "total_return")
COLUMNS = ("seed", "role", "n", *FIGURES)
HEADLINE, REPEAT = "headline", "repeat"
RULE = "the headline is the configuration's own seed, never the best of the band"
SHOWN = {"auc": "AUC", "accuracy": "accuracy", "sharpe": "Sharpe ratio"}


@dataclass(frozen=True, eq=False)
class SeedBand:
    """What training with several seeds came to.

    Attributes
    ----------
    own
        The configuration's seed.
    seeded
        Whether chance has a part in the model's training.
    table
        One row per seed, columns ``COLUMNS``; None where training was not repeated.
    trainings
        What the repeats' trainings gave cause to say.
    """

    own: int
    seeded: bool
    table: pd.DataFrame | None = None
    trainings: tuple[Finding, ...] = ()

    @classmethod
    def of(
        cls, own: int, scores: Sequence[tuple[int, Score]], trainings: Sequence[Finding] = ()
    ) -> SeedBand:
        """Return the band of several seeds' scores, the configuration's own first."""
        rows = [
            (seed, HEADLINE if seed == own else REPEAT, score.rows,
             *(getattr(score, name) for name in FIGURES))
            for seed, score in scores
        ]  # fmt: skip
        frame = pd.DataFrame(rows, columns=list(COLUMNS))
        frame[list(FIGURES)] = frame[list(FIGURES)].astype("float64")
        return cls(own, True, frame, tuple(trainings))

    @property
    def repeats(self) -> tuple[int, ...]:
        """The seeds the training was repeated with."""
        if self.table is None:
            return ()
        return tuple(self.table.loc[self.table["role"] == REPEAT, "seed"].tolist())

    def as_dict(self) -> dict[str, Any]:
        """Return the section ``seeds`` of ``audit.json``; null where a figure is undefined."""
        told: dict[str, Any] = {"headline": self.own, "seeded": self.seeded, "rule": RULE}
        if self.table is None:
            return told | {"runs": None, "spread": None}
        return told | {
            "runs": [{str(k): v for k, v in row.items()} for row in self.table.to_dict("records")],
            "spread": {name: _spread(self.table[name]) for name in FIGURES},
        }

    def findings(self, auc: Estimate) -> tuple[Finding, ...]:
        """Return what the band means, or that there is none.

        Parameters
        ----------
        auc
            The headline's, with the interval of its sampling.
        """
        if not self.seeded:
            return ()
        if self.table is None:
            return (_single(self.own),)
        found = [*self.trainings, _training(self.table, auc)]
        known = self.table["auc"].dropna()
        skilled = int((known > 0.5).sum())
        if 0 < skilled < len(known):
            found.append(_direction(skilled, known))
        earns = int(self.table["total_return"].gt(0).sum())
        if 0 < earns < len(self.table):
            found.append(_money(earns, self.table["total_return"]))
        return tuple(found)


def _spread(values: pd.Series) -> dict[str, float] | None:
    known = values.dropna().to_numpy(dtype=np.float64)
    if not len(known):
        return None
    return {
        "min": float(known.min()), "median": float(np.median(known)), "max": float(known.max()),
    }  # fmt: skip


def _single(own: int) -> Finding:
    return Finding(
        code="U012",
        level=Level.INFO,
        where="model",
        message="one seed: how far chance in training moves these figures is not known",
        observed=f"seed {own}",
        advice="compute.seeds: [1, 2, 3] repeats the training and shows the spread",
    )


def _training(table: pd.DataFrame, auc: Estimate) -> Finding:
    """U012: the spread; a warning where chance in training outweighs that of the sample."""
    deviation = float(table["auc"].std(ddof=1))  # NaN where fewer than two are defined
    wide = auc.low is not None and auc.high is not None and 4 * deviation > auc.high - auc.low
    return Finding(
        code="U012",
        level=Level.WARN if wide else Level.INFO,
        where="model",
        message=f"training repeated with {len(table)} seeds"
        + ("; the seed moves the AUC more than the sample does" if wide else ""),
        observed="; ".join(_in_words(table[name], label) for name, label in SHOWN.items()),
        expected="a spread inside the headline's intervals",
        why="the interval of the headline knows nothing of this chance" if wide else None,
        advice="train longer, on more rows, or average several seeds in a model of your own"
        if wide
        else None,
    )


def _in_words(values: pd.Series, label: str) -> str:
    spread = _spread(values)
    if spread is None:
        return f"{label} undefined"
    return f"{label} {spread['min']:.4f} to {spread['max']:.4f}, median {spread['median']:.4f}"


def _direction(skilled: int, auc: pd.Series) -> Finding:
    return Finding(
        code="U014",
        level=Level.WARN,
        where="model",
        message=f"{skilled} of {len(auc)} seeds forecast better than chance, the others do not",
        observed=f"AUC {auc.min():.4f} to {auc.max():.4f}",
        expected="above 0.5, whatever the seed",
        why="what another draw of first weights takes away was never there",
        advice="do not take the headline's skill for the method's",
    )


def _money(earns: int, total: pd.Series) -> Finding:
    return Finding(
        code="U014",
        level=Level.WARN,
        where="account",
        message=f"{earns} of {len(total)} seeds earn, the others lose",
        observed=f"net {total.min():+.1%} to {total.max():+.1%}",
        expected="one sign, whatever the seed",
        why="whether it paid was decided by chance in training",
        advice="do not take the headline's money for the method's",
    )
