"""What the files of a run hold: the kind of each column, and the shape of each JSON document.

A run may come from anybody. What is read of it is of these kinds, or it is refused with the file,
the place in it and what to do; files may hold more than stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import pydantic
from pydantic import BaseModel, ConfigDict, Field

from perpwalk import strict
from perpwalk.errors import UsageError
from perpwalk.ledger import CONTRACT_COLUMNS
from perpwalk.metrics_fields import CONTRACT_FIELDS, FIELDS, STAMPS, TEXTS
from perpwalk.strict import FLAG, NUMBER, STAMP, TEXT, WHOLE, Kinds, NotAsWrittenError

_MEND = "make the run again (`perpwalk run … --force`)"

# ── tables ───────────────────────────────────────────────────────────────────────────────────────


def _kinds(**columns: str) -> dict[str, str]:
    """Return kind by column from columns by kind."""
    return {name: kind for kind, names in columns.items() for name in names.split()}


def _columns(stamps: str = "", numbers: str = "", texts: str = "", flags: str = "",
             wholes: str = "") -> Kinds:  # fmt: skip
    named = _kinds(stamps=stamps, numbers=numbers, texts=texts, flags=flags, wholes=wholes)
    words = {"stamps": STAMP, "numbers": NUMBER, "texts": TEXT, "flags": FLAG, "wholes": WHOLE}
    return {name: words[kind] for name, kind in named.items()}


_EQUITY = "price position cash equity price_pnl fee funding slippage"
_METRICS = {name: TEXT if name in TEXTS else STAMP if name in STAMPS else NUMBER for name in FIELDS}

# Of each table: the kind of its columns, and which of them every run has.
TABLES: Mapping[str, tuple[Kinds, tuple[str, ...]]] = {
    "predictions.parquet": (
        _columns("close_time", "p_up label forward_return", "symbol", wholes="fold"),
        ("close_time", "fold", "p_up", "label", "forward_return"),
    ),
    "equity.parquet": (
        _columns(
            "close_time",
            f"{_EQUITY} liquidation exposure traded_notional basket basket_funding",
        ),
        ("close_time", *_EQUITY.split()),
    ),
    "metrics.csv": (_METRICS, FIELDS[: FIELDS.index("slippage") + 1]),
    "folds.csv": (
        _columns(
            "train_start train_end validation_start validation_end test_start test_end",
            "threshold n_train n_validation n_test purged embargoed",
            "symbol", "partial", "fold",
        ),
        ("fold",),
    ),
    "training.csv": (
        _columns(
            "", "train_loss validation_loss validation_auc learning_rate seconds", "symbol stage",
            wholes="fold epoch",
        ),
        ("fold", "epoch"),
    ),
    "trades.csv": (
        _columns(
            "opened_at closed_at",
            "quantity entry_price exit_price bars gross_pnl fees slippage funding liquidation "
            "net_pnl return",
            "symbol side exit_reason", wholes="trade_id",
        ),
        ("opened_at", "closed_at", "side", "quantity", "net_pnl"),
    ),
    "orders.csv": (
        _columns(
            "created_at finished_at",
            "quantity limit_price stop_price filled_quantity average_price fee slippage",
            "symbol kind status reason", wholes="order_id",
        ),
        ("created_at", "status", "reason"),
    ),
    "funding.csv": (
        _columns("settle_time", "position mark_price rate payment", "symbol",
                 "mark_known assumed"),
        ("settle_time", "symbol", "position", "mark_price", "mark_known", "rate", "payment",
         "assumed"),
    ),
    "equity_by_contract.parquet": (
        _columns("close_time", " ".join(CONTRACT_COLUMNS[2:]), "symbol"), CONTRACT_COLUMNS
    ),
    "metrics_by_contract.csv": ({"symbol": TEXT, **_METRICS}, CONTRACT_FIELDS),
    "seeds.csv": ({}, ()),
    "placebo.csv": ({}, ()),
}  # fmt: skip


def read_table(path: Path) -> pd.DataFrame:
    """Return a table of a run.

    Raises
    ------
    UsageError
        It is damaged, too large, lacks a column, or one is of another kind.
    """
    kinds, needed = TABLES[path.name]
    read = strict.read_parquet if path.suffix == ".parquet" else strict.read_csv
    try:
        strict.refuse_link(path)
        return read(path, kinds, needed)
    except NotAsWrittenError as error:
        raise UsageError(f"{path} {error}; {_MEND}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


def read_text(path: Path) -> str:
    """Return a text of a run, as ``read_table``."""
    try:
        strict.refuse_link(path)
        return strict.text_of(strict.file_bytes(path, strict.MAX_JSON_BYTES))
    except NotAsWrittenError as error:
        raise UsageError(f"{path} {error}; {_MEND}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error


# ── documents ────────────────────────────────────────────────────────────────────────────────────


class _Part(BaseModel):
    """Part of a document; what is not named here may be anything."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


Number = int | float | None
Word = Literal["invalid", "suspect", "inconclusive", "supported"]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Accepted(_Part):
    reason: str
    at: str
    by: str | None = None


class _Verdict(_Part):
    overall: Word
    predictive: Word
    economic: Word
    accepted: _Accepted | None = None


class FindingEntry(_Part):
    """A finding as JSON holds it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    code: str
    level: Literal["info", "warn", "error"]
    where: str
    message: str
    observed: str | None = None
    expected: str | None = None
    why: str | None = None
    advice: str | None = None


class _Figure(_Part):
    value: Number
    lo: Number
    hi: Number
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    n: Number
    n_eff: Number = None
    method: str
    reason: str | None = None


class _Audit(_Part):
    verdict: _Verdict
    findings: list[FindingEntry]
    evidence: dict[str, _Figure] = Field(default_factory=dict)
    seeds: dict[str, Any] | None = None
    placebo: list[dict[str, Any]] | None = None


class _Source(_Part):
    kind: str
    path: str
    sha256: str


class _Manifest(_Part):
    format: Literal[1] = 1
    status: str
    config_hash: Hash | None = None
    seed: int | None = None
    symbol: str | None = None
    features: int | None = None
    versions: dict[str, str | None] = Field(default_factory=dict)
    data: list[_Source] = Field(default_factory=list)
    stages: list[dict[str, Any]] = Field(default_factory=list)
    files: dict[str, Hash] = Field(default_factory=dict)
    seal: str = ""


def confidence_of(audit: Mapping[str, Any]) -> float:
    """Return the confidence of a run's intervals (``report.confidence``), as its audit states it.

    >>> confidence_of({"evidence": {"accuracy": {"level": 0.9}}}), confidence_of({})
    (0.9, 0.95)
    """
    told = audit.get("evidence", {}).get("accuracy", {})
    return float(told.get("level", _Figure.model_fields["level"].default))


class _Features(_Part):
    selected: list[str]


SHAPES: Mapping[str, type[_Part]] = {
    "audit.json": _Audit, "manifest.json": _Manifest, "features.json": _Features,
}  # fmt: skip


def read_document(path: Path) -> dict[str, Any]:
    """Return a JSON document of a run.

    Raises
    ------
    UsageError
        It is no strict JSON, of another format, or a value is of another kind.
    """
    try:
        strict.refuse_link(path)
        document = strict.read_object(path)
        SHAPES[path.name].model_validate(document)
        for name in document.get("files", ()) if path.name == "manifest.json" else ():
            strict.inside(path.parent, name)
    except NotAsWrittenError as error:
        raise UsageError(f"{path} {error}; {_MEND}") from error
    except pydantic.ValidationError as error:
        raise UsageError(f"{path}, {first_problem(error)}; {_MEND}") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}") from error
    return document


def first_problem(error: pydantic.ValidationError) -> str:
    """Return the first thing wrong with a document, and where in it."""
    problem = error.errors()[0]
    where = ".".join(str(part)[:60] for part in problem["loc"])
    return f"{where}: {problem['msg'][:200]}"
