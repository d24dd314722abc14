"""What the checks of ``perpwalk verify`` share: facts established, and files compared."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from engine.parts import Prepared, Walked
from engine.stages import Measured
from perpwalk import runs, seal
from perpwalk.audit.seeds import SeedBand
from perpwalk.config import Config
from perpwalk.domain import Fold, Market
from perpwalk.ledger import Ledger
from perpwalk.runs import Run
from perpwalk.signals import FittedFold
from perpwalk.strict import read_csv, read_object, read_parquet

_SHOWN = 8


class FailedError(Exception):
    """A check came out wrong; the message says how."""


class NotPossibleError(Exception):
    """A check had nothing to stand on; the message says what is missing."""


@dataclass
class Facts:
    """What earlier checks established, and the folder that holds what was made again.

    A property raises ``NotPossibleError`` where the check that should have set it failed.
    """

    run: Run
    again: Path
    samples: int
    code: tuple[str, ...] = ()
    known: dict[str, Any] = field(default_factory=dict)

    def _need(self, name: str) -> Any:
        if name not in self.known:
            raise NotPossibleError(f"needs the {name}, which could not be had")
        return self.known[name]

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self.run.path

    @property
    def manifest(self) -> dict[str, Any]:
        """``manifest.json``."""
        return self._need("manifest")  # type: ignore[no-any-return]

    @property
    def config(self) -> Config:
        """The configuration."""
        return self._need("configuration")  # type: ignore[no-any-return]

    @property
    def markets(self) -> tuple[Market, ...]:
        """Bars and settlements of each contract, read again."""
        return self._need("market")  # type: ignore[no-any-return]

    @property
    def prepared(self) -> tuple[Prepared, ...]:
        """Features, labels and folds of each contract, made again."""
        return self._need("features, labels and folds")  # type: ignore[no-any-return]

    @property
    def folds(self) -> Iterator[tuple[Prepared, Fold]]:
        """Every fold of every contract."""
        return ((one, fold) for one in self.prepared for fold in one.folds)

    @property
    def fitted(self) -> list[list[FittedFold]]:
        """The stored models of each contract, loaded."""
        return self._need("models")  # type: ignore[no-any-return]

    @property
    def walked(self) -> list[Walked]:
        """Forecasts of the stored models."""
        return self._need("forecasts")  # type: ignore[no-any-return]

    @property
    def predictions(self) -> pd.DataFrame:
        """The predictions table of these forecasts."""
        return self._need("forecasts' table")  # type: ignore[no-any-return]

    @property
    def ledger(self) -> Ledger:
        """The account, replayed again."""
        return self._need("account")  # type: ignore[no-any-return]

    @property
    def band(self) -> SeedBand | None:
        """What training with other seeds came to, made again from their models."""
        return self._need("seeds")  # type: ignore[no-any-return]

    @property
    def measured(self) -> Measured:
        """Metrics and verdict, computed again."""
        return self._need("measures")  # type: ignore[no-any-return]


class Look(Protocol):
    """One check: returns what was found, or raises."""

    def __call__(self, facts: Facts) -> str:
        """Look."""
        ...


Step = tuple[str, str, Look]


def several(texts: Iterable[str]) -> str:
    """Join texts, the first few of them."""
    told = list(texts)
    more = len(told) - _SHOWN
    return "; ".join(told[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def fail_if(wrong: Iterable[str]) -> None:
    """Raise ``FailedError`` with all of ``wrong``, if there is any."""
    told = list(wrong)
    if told:
        raise FailedError(several(told))


def model_folder(number: int, name: str | None = None) -> str:
    """Return where a fold's artifacts lie within the run's folder; ``name`` as in ``Prepared``."""
    return f"models/{runs.fold_name(number, name)}"


def of(name: str | None) -> str:
    """Return the words that put a contract's name in front; nothing where there is but one."""
    return "" if name is None else f"{name} "


# ── comparing files ──────────────────────────────────────────────────────────────────────────────


def same_files(facts: Facts, names: Iterable[str]) -> None:
    """Compare files with the ones made again; raise with every one that differs, and where."""
    fail_if(told for name in names if (told := _compared(facts, name)) is not None)


def _compared(facts: Facts, name: str) -> str | None:
    stored, again = facts.path / name, facts.again / name
    if not stored.is_file():
        return f"{name} is missing"
    if seal.file_hash(stored) == seal.file_hash(again):
        return None
    try:
        return f"{name} differs from what is made again: {_difference(stored, again)}"
    except Exception as error:  # noqa: BLE001 - a damaged file may raise anything from its parser
        return f"{name} cannot be read: {error}"


def _difference(stored: Path, again: Path) -> str:
    if stored.suffix == ".json":
        return json_difference(read_object(stored), read_object(again))
    read = read_parquet if stored.suffix == ".parquet" else read_csv
    return _table_difference(read(stored, {}), read(again, {}))


def _table_difference(stored: pd.DataFrame, again: pd.DataFrame) -> str:
    if list(stored.columns) != list(again.columns):
        return f"columns {sorted(set(stored.columns) ^ set(again.columns))}"
    if len(stored) != len(again):
        return f"{len(stored):,} rows, made again {len(again):,}"
    for column in stored.columns:
        one, two = stored[column], again[column]
        unlike = ~((one == two) | (one.isna() & two.isna())).to_numpy(dtype=bool, na_value=False)
        if unlike.any():
            row = int(np.argmax(unlike))
            return (
                f"column '{column}', {int(unlike.sum()):,} rows, first row {row}: "
                f"{one.iloc[row]!r}, made again {two.iloc[row]!r}"
            )
    return "the same values, written differently"


def json_difference(stored: Any, again: Any, where: str = "") -> str:
    """Say where two JSON values first differ."""
    if isinstance(stored, dict) and isinstance(again, dict):
        for key in sorted({*stored, *again}):
            if stored.get(key) != again.get(key):
                return json_difference(stored.get(key), again.get(key), f"{where}/{key}")
    if isinstance(stored, list) and isinstance(again, list):
        for number, (one, two) in enumerate(itertools.zip_longest(stored, again)):
            if one != two:
                return json_difference(one, two, f"{where}/{number}")
    return f"at {where or '/'}: {str(stored)[:80]}, made again {str(again)[:80]}"
