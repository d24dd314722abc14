"""A comparison from configurations to its page."""

from __future__ import annotations

from pathlib import Path

from engine.compare import compare
from perpwalk import config, reports


def test_a_comparison_writes_its_page_and_makes_it_again(tmp_path: Path) -> None:
    """Record, table, curves and page lie together; made again from them, the page is the same."""
    small = config.resolve(
        {
            "name": "small",
            "market": {"simulate": {"bars": 2400, "edge": 0.3}},
            "walk_forward": {
                "scheme": "rolling", "train": "1000bars", "validation": "200bars",
                "test": "300bars", "min_train_rows": 500,
            },
            "report": {"html": False, "tearsheet": False},
            "compute": {"threads": 1},
        }
    )  # fmt: skip
    found = compare([small], grid={"model.kind": ["logistic", "majority"]}, out=tmp_path,
                    resamples=100)  # fmt: skip
    assert found.path is not None
    page = found.path / "comparison.html"
    before = page.read_bytes()

    assert {"comparison.json", "comparison.csv", "comparison.html", "curves.parquet"} == {
        path.name for path in found.path.iterdir()
    }
    assert all(name.encode() in before for name in found.ranked)
    assert b'href="../' not in before  # the variants have no pages of their own
    page.unlink()
    reports.redo_comparison_page(found.path)
    assert before == page.read_bytes()
