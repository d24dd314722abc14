"""The record of a comparison and its files."""

import json

import numpy as np
import pandas as pd
import pytest

from perpwalk.comparison import Comparison, load_comparison, record, write_comparison
from perpwalk.domain import Finding, Level
from perpwalk.errors import UsageError


def comparison() -> Comparison:
    """Return a small made-up comparison of two variants and a benchmark."""
    stamps = pd.date_range("2024-01-01", periods=4, freq="h", tz="UTC").as_unit("ns")
    tables = {name: record.table(name, []) for name in record.TABLES}
    tables["variants"] = record.table(
        "variants",
        [
            {"variant": "a", "rank": 1, "status": "ranked", "verdict": "inconclusive"},
            {"variant": "b", "status": "invalid", "verdict": "invalid", "diagnosis": "L001"},
        ],
    )
    tables["metrics"] = record.table(
        "metrics",
        [
            {"variant": "a", "kind": "variant", "metric": "sharpe", "value": 1.5, "lo": -0.1,
             "hi": 3.0},
            {"variant": "a", "kind": "variant", "metric": "auc", "reason": "one class"},
            {"variant": "flat", "kind": "benchmark", "metric": "sharpe", "reason": "no variance"},
        ],
    )  # fmt: skip
    tables["periods"] = record.table(
        "periods", [{"period_kind": "month", "period": "2024-01", "start": stamps[0]}]
    )
    return Comparison(
        name="demo", by="sharpe", level=0.95, verdict="Nothing can be told.", winner=None,
        leader="a", start=stamps[0], end=stamps[-1], decisions=4, bars=4, horizon=1,
        bar_seconds=3600.0, trials=2, trials_text="2 trials",
        curves=pd.DataFrame({"close_time": stamps, "a": np.ones(4), "flat": np.ones(4)}),
        findings=(Finding(code="U011", level=Level.WARN, where="all", message="overfitted"),),
        files={"a": ("base.yaml", "a.yaml")},
        **tables,
    )  # fmt: skip


def test_a_comparison_read_back_equals_the_one_written(tmp_path):
    """
    Writing a comparison and loading it gives the same record, undefined values included.
    """
    made = comparison()
    found = load_comparison(write_comparison(made, tmp_path))
    for name in record.TABLES:
        pd.testing.assert_frame_equal(getattr(made, name), getattr(found, name))
    pd.testing.assert_frame_equal(made.curves, found.curves)
    for name in ("name", "by", "winner", "leader", "start", "end", "findings", "files", "trials"):
        assert getattr(made, name) == getattr(found, name)
    assert tmp_path == found.path
    assert ["a"] == found.ranked
    assert ["flat"] == found.benchmarks
    assert 1.5 == found.value("a", "sharpe")
    assert found.value("a", "auc") is None


def test_comparison_json_holds_no_nan(tmp_path):
    """
    An undefined value is null in comparison.json, with its reason beside it.
    """
    write_comparison(comparison(), tmp_path)
    text = (tmp_path / "comparison.json").read_text()
    table = json.loads(text)["tables"]["metrics"]
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    assert "NaN" not in text
    assert (None, "one class") == (rows[1]["value"], rows[1]["reason"])


def test_the_csv_has_a_row_per_variant_and_benchmark(tmp_path):
    """
    comparison.csv is one row per variant and benchmark, metrics and bounds in columns.
    """
    write_comparison(comparison(), tmp_path)
    wide = pd.read_csv(tmp_path / "comparison.csv").set_index("variant")
    assert {"a", "b", "flat"} == set(wide.index)
    assert (1.5, -0.1, 3.0) == tuple(wide.loc["a", ["sharpe", "sharpe_lo", "sharpe_hi"]])
    assert "benchmark" == wide.loc["flat", "status"]


@pytest.mark.parametrize(
    ("key", "value"), [("contracts", "AB"), ("contracts", [1]), ("stamps", "x"), ("stamps", True)]
)
def test_contracts_and_stamps_of_another_kind_are_a_usage_error(tmp_path, key, value):
    """
    What may come from anybody is names and a whole number, or it is refused by its key.
    """
    from dataclasses import replace

    write_comparison(replace(comparison(), contracts=("A", "B"), stamps=2), tmp_path)
    document = json.loads((tmp_path / "comparison.json").read_text())
    (tmp_path / "comparison.json").write_text(json.dumps(document | {key: value}))
    with pytest.raises(UsageError, match=f"'{key}' is no"):
        load_comparison(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", '{"format": "x"}', "{}"])
def test_a_damaged_comparison_is_a_usage_error(tmp_path, text):
    """
    Loading a damaged or foreign comparison.json says so without a traceback.
    """
    (tmp_path / "comparison.json").write_text(text)
    with pytest.raises(UsageError, match=r"comparison\.json"):
        load_comparison(tmp_path)


def test_an_invalid_comparison_has_exit_code_3_and_a_suspect_leader_4():
    """
    The exit code is 3 where nothing valid is left and 4 where the first variant is suspect.
    """
    from dataclasses import replace

    made = comparison()
    suspect = made.variants.assign(verdict=["suspect", "invalid"])
    assert 0 == made.exit_code
    assert 3 == replace(made, leader=None).exit_code
    assert 4 == replace(made, variants=suspect).exit_code
