"""A store that several runs read while a fetch writes into it."""

from __future__ import annotations

from pathlib import Path

import growing_store
import pytest
from disturbed import RUN, differences, files_of
from killed import undisturbed

# How many trials there were depends on who was first, and the store has grown.
OTHERWISE = ("manifest.json", "audit.json", "run.log")


@pytest.mark.long
def test_runs_read_a_store_that_grows_as_if_it_stood_still(tmp_path: Path) -> None:
    """Two runs beside a writer, five times: each ends as it does alone, and the store is whole.

    The writer folds in three hundred bars in steps of four; it is killed once, and goes on.
    """
    other = [*RUN, "--set", "strategy.threshold=0.5"]
    growing = {"call": "growing_store:grow", "arguments": [growing_store.STORE, 4]}
    with undisturbed(tmp_path, RUN, fill=growing_store.fill, market=growing_store.MARKET) as known:
        assert 0 == known.whole["code"]
        (alone,) = known.zygote.ask({"words": other})
        expected = known.files | files_of(known.zygote.left)
        grown, _ = known.zygote.ask(growing, {"words": RUN})
        store = stored(known.zygote.left)
        assert [0, 0] == [alone["code"], grown["code"]]
        for killed_at in (None, 7, 150, 400, 700):
            fault = {} if killed_at is None else {"fault": "SIGKILL", "at": killed_at}
            writer = {**growing, **fault}
            together, again = known.zygote.ask(
                {"together": [writer, {"words": RUN}, {"words": other}]}, growing
            )
            codes = [code for code, _ in together["together"]]
            found = files_of(known.zygote.left)

            assert [0 if killed_at is None else -9, 0, 0, 0] == [*codes, again["code"]], together
            assert [] == [
                name
                for name in differences(expected, found)
                if name.startswith("results/small/") and not name.endswith(OTHERWISE)
            ]
            assert store == stored(known.zygote.left)


def stored(workspace: Path) -> dict[str, bytes]:
    """Return the files of a store that hold data or say what there is."""
    files = (workspace / growing_store.STORE).rglob("*")
    return {
        path.relative_to(workspace).as_posix(): path.read_bytes()
        for path in files
        if path.is_file() and (path.suffix == ".parquet" or path.name == "_catalog.json")
    }
