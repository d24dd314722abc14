"""Runs on disk: whole files, named places, resumption, refusal of what is no run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from perpwalk import runs
from perpwalk.errors import EnvironmentFailedError, PerpwalkError, UsageError

DIGEST = "0123456789abcdef"


def opened(out: Path, key: str = "k") -> object:
    return runs.open_run(out, experiment="exp", variant="base", digest=DIGEST, key=key)


def test_a_finished_run_stands_at_its_named_place(tmp_path: Path) -> None:
    """The folder is ``<experiment>/<variant>-<hash8>`` and holds no working files."""
    with opened(tmp_path) as folder:
        runs.write_json(folder.partial / "manifest.json", {"status": "finished"})
        place = folder.finish()

    assert tmp_path / "exp" / "base-01234567" == place
    assert ["manifest.json"] == [p.name for p in place.iterdir()]
    assert [place] == list((tmp_path / "exp").iterdir())
    assert "finished" == runs.load_run(place).manifest["status"]


def test_a_failed_run_without_a_finished_fold_leaves_nothing(tmp_path: Path) -> None:
    """An error before the first fold is done removes every folder the run made."""
    with pytest.raises(RuntimeError), opened(tmp_path / "new") as folder:
        (folder.partial / "run.log").write_text("x")
        raise RuntimeError

    assert not (tmp_path / "new").exists()


def test_a_run_interrupted_after_a_fold_is_taken_up_by_the_same_key_only(tmp_path: Path) -> None:
    """Kept folds survive for the same question, code and packages, and for no other."""
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as folder:
        folder.fold_work(0).mkdir()
        raise KeyboardInterrupt

    assert ["interrupted"] == list(runs.list_runs(tmp_path)["status"])
    with pytest.raises(KeyboardInterrupt), opened(tmp_path) as folder:
        assert 1 == folder.resumed_folds
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), opened(tmp_path, key="other code") as folder:
        assert 0 == folder.resumed_folds
        raise KeyboardInterrupt


def test_two_processes_cannot_make_one_run(tmp_path: Path) -> None:
    """The second is told so (exit 5) and harms nothing."""
    with opened(tmp_path) as folder:
        with pytest.raises(EnvironmentFailedError, match="another process"), opened(tmp_path):
            pass
        assert folder.partial.is_dir()


def test_an_unusable_results_folder_is_wrong_usage(tmp_path: Path) -> None:
    """A results folder below a file is refused before anything is computed, with exit code 2."""
    (tmp_path / "file").touch()

    with pytest.raises(UsageError, match="cannot write results"), opened(tmp_path / "file" / "x"):
        pass


def test_a_replaced_run_is_the_new_one(tmp_path: Path) -> None:
    """Finishing over an older run leaves exactly the new files."""
    for word in ("old", "new"):
        with opened(tmp_path) as folder:
            runs.write_text(folder.partial / word, word)
            place = folder.finish()

    assert ["new"] == [p.name for p in place.iterdir()]
    assert [place] == list((tmp_path / "exp").iterdir())


@pytest.mark.parametrize("name", ["none", "base-01234567.partial"])
def test_what_is_no_finished_run_is_refused(tmp_path: Path, name: str) -> None:
    """A missing or a partial folder is a UsageError that says what to do."""
    if name.endswith("partial"):
        (tmp_path / name).mkdir()

    with pytest.raises(UsageError):
        runs.load_run(tmp_path / name)


def test_a_torn_manifest_is_refused(tmp_path: Path) -> None:
    """Half a JSON file is named, not a traceback."""
    (tmp_path / "manifest.json").write_text('{"status": "fin')

    with pytest.raises(UsageError, match="no valid JSON"):
        runs.load_run(tmp_path)


def test_json_never_holds_nan_or_infinity(tmp_path: Path) -> None:
    """NaN becomes null on the way; infinity is refused, since it is a mistake of a stage before."""
    path = tmp_path / "x.json"

    runs.write_json(path, runs.plain({"a": float("nan"), "b": np.float64(1.5), "c": pd.NaT}))

    assert {"a": None, "b": 1.5, "c": None} == json.loads(path.read_text())
    with pytest.raises(PerpwalkError, match=r"x\.json: 'a\.1' is no finite number"):
        runs.write_json(path, runs.plain({"a": [1.0, np.inf]}))
    assert {"a": None, "b": 1.5, "c": None} == json.loads(path.read_text())


def test_csv_holds_iso_stamps_full_precision_and_no_formulas(tmp_path: Path) -> None:
    """Stamps end in Z, floats read back equal, and text cannot become a spreadsheet formula."""
    path = tmp_path / "x.csv"
    frame = pd.DataFrame(
        {
            "t": pd.to_datetime(["2024-01-01T00:00:00Z", None], utc=True),
            "x": [0.1 + 0.2, np.nan],
            "s": ["=1+1", "plain"],
        }
    )

    runs.write_csv(path, frame)

    assert "2024-01-01T00:00:00Z,0.30000000000000004,'=1+1" == path.read_text().split("\n")[1]
    assert ",,plain" == path.read_text().split("\n")[2]


def test_the_same_frame_gives_the_same_parquet_bytes(tmp_path: Path) -> None:
    """Determinism of a run ends at the byte, so the writer must be deterministic too."""
    frame = pd.DataFrame({"a": np.arange(1000) / 7})

    runs.write_parquet(tmp_path / "1", frame)
    runs.write_parquet(tmp_path / "2", frame.copy())

    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()
