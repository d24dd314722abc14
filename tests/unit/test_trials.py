"""The trial ledger: nothing tried is forgotten, nothing torn goes unnoticed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perpwalk import trials
from perpwalk.errors import EnvironmentFailedError, UsageError
from perpwalk.trials import LEDGER_FILE


def begun(results: Path, digest: str = "a", experiment: str = "exp") -> trials.Trial:
    return trials.begin(results, experiment=experiment, variant="base", digest=digest)


def ran(results: Path, digest: str, ratio: float | None, bar_seconds: float = 3600.0) -> None:
    with begun(results, digest) as trial:
        trial.finish(verdict="inconclusive", sharpe=ratio, bars=1000, bar_seconds=bar_seconds)


def statuses(results: Path) -> list[str]:
    return [trial.status for trial in trials.read(results).trials]


def test_every_way_a_run_can_end_is_recorded(tmp_path: Path) -> None:
    """Finished, failed, interrupted and abandoned runs all count, and none hides an error."""
    ran(tmp_path, "a", 0.01)
    with pytest.raises(RuntimeError, match="boom"), begun(tmp_path, "b"):
        raise RuntimeError("boom")
    with pytest.raises(KeyboardInterrupt), begun(tmp_path, "c"):
        raise KeyboardInterrupt
    with begun(tmp_path, "d"):
        pass
    begun(tmp_path, "e")

    assert ["finished", "failed", "interrupted", "failed", "abandoned"] == statuses(tmp_path)
    assert 5 == trials.count(tmp_path).n
    assert () == trials.read(tmp_path).findings


def test_a_killed_run_counts_as_abandoned(tmp_path: Path) -> None:
    """A process that dies without a word leaves its beginning on record."""

    def die() -> None:
        begun(tmp_path)
        os.kill(os.getpid(), signal.SIGKILL)

    child = multiprocessing.get_context("fork").Process(target=die)
    child.start()
    child.join()

    assert ["abandoned"] == statuses(tmp_path)


def test_the_same_question_twice_is_one_trial(tmp_path: Path) -> None:
    """Repeating a question draws no new luck; asking another one does."""
    for digest in ("a", "a", "b"):
        ran(tmp_path, digest, 0.01)
    counted = trials.count(tmp_path, prior=10)

    assert (2, 3, 12) == (counted.questions, counted.runs, counted.n)
    assert "12 trials: 2 distinct questions in 3 runs (3 finished)" in counted.as_text()


def test_trials_are_counted_by_experiment_where_asked(tmp_path: Path) -> None:
    """Another experiment's trials are left out; a negative number of earlier ones is refused."""
    begun(tmp_path, "a", "one")
    begun(tmp_path, "b", "two")

    assert 1 == trials.count(tmp_path, experiment="one").n
    assert 2 == trials.count(tmp_path).n
    with pytest.raises(UsageError, match="prior-trials"):
        trials.count(tmp_path, prior=-1)


def test_the_first_ledger_of_a_workspace_is_empty(tmp_path: Path) -> None:
    """No file means no trials, and reading makes none."""
    assert 0 == trials.count(tmp_path / "new").n
    assert not (tmp_path / "new").exists()


def append_many(results: Path, worker: int) -> None:
    for number in range(15):
        ran(results, f"{worker}-{number}", 0.001 * number)


def test_concurrent_processes_lose_no_line(tmp_path: Path) -> None:
    """Four processes that append at once leave every line whole, and each follows its neighbour."""
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=append_many, args=(tmp_path, k)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    ledger = trials.read(tmp_path)

    assert [0] * 4 == [worker.exitcode for worker in workers]
    assert 60 == len(ledger.trials)
    assert {"finished"} == {trial.status for trial in ledger.trials}
    assert 60 == len({trial.digest for trial in ledger.trials})
    assert () == ledger.findings


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("ledger")
    for digest in ("a", "b", "c"):
        ran(folder, digest, 0.01)
    return (folder / LEDGER_FILE).read_bytes()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_torn_line_is_reported_kept_and_written_past(
    tmp_path_factory: pytest.TempPathFactory, written: bytes, data: st.DataObject
) -> None:
    """Cut anywhere, the file is read, says so, keeps its bytes, and takes the next line whole."""
    length = data.draw(st.integers(0, len(written)))
    results = tmp_path_factory.mktemp("torn")
    path = results / LEDGER_FILE
    path.write_bytes(written[:length])
    whole = written[:length].count(b"\n")
    torn = length > 0 and written[length - 1 : length] != b"\n"
    # All but the line end may be there: then nothing of the record is lost.
    cut = torn and written[length : length + 1] != b"\n"

    before = trials.read(results)
    begun(results, "new")
    after = trials.read(results)

    assert cut == any("torn line" in f.message for f in before.findings)
    assert before.damaged + len(before.trials) == after.damaged + len(after.trials) - 1
    assert before.damaged + len(before.trials) >= (whole + 1) // 2
    assert path.read_bytes().startswith(written[:length])
    assert "new" == after.trials[-1].digest
    assert cut == any("damaged line" in f.message for f in after.findings)


def test_an_edited_or_removed_line_is_reported_and_still_counted(
    tmp_path: Path, written: bytes
) -> None:
    """A changed Sharpe ratio breaks the line's checksum; a removed line breaks the chain."""
    path = tmp_path / LEDGER_FILE
    path.write_bytes(written.replace(b'"sharpe":0.01', b'"sharpe":0.00', 1))
    edited = trials.read(tmp_path)
    path.write_bytes(b"\n".join(written.split(b"\n")[2:]))
    removed = trials.read(tmp_path)

    assert [("R001", 2), ("R002", 3)] == codes(edited)
    assert 3 == len(edited.trials)
    assert "abandoned" == edited.trials[0].status
    assert [("R002", 1)] == codes(removed)
    assert 2 == len(removed.trials)


def test_a_line_of_which_nothing_can_be_read_counts_as_a_trial(tmp_path: Path) -> None:
    """What it was cannot be known; a damaged end of a known trial is no new one."""
    ran(tmp_path, "a", 0.01)
    path = tmp_path / LEDGER_FILE
    first, second, _ = path.read_bytes().split(b"\n")
    path.write_bytes(first + b"\n" + second[:60] + b"\ngarbage\n")
    counted = trials.count(tmp_path)

    assert (1, 1, 2) == (counted.questions, counted.damaged, counted.n)


def codes(ledger: trials.TrialLedger) -> list[tuple[str, int]]:
    return [(f.code, int(f.where.rpartition(" ")[2])) for f in ledger.findings]


def test_each_line_is_plain_json(written: bytes) -> None:
    """Anyone can read the file line by line."""
    first = json.loads(written.splitlines()[0])

    assert ["event", "id", "time", "experiment"] == list(first)[:4]


def test_sharpe_ratios_are_one_per_question_and_per_bar_of_one_length(tmp_path: Path) -> None:
    """The latest answer of a question counts; other bar lengths scale with the root of time."""
    ran(tmp_path, "a", 0.5)
    ran(tmp_path, "a", 0.02)
    ran(tmp_path, "b", 0.08, bar_seconds=16 * 3600.0)
    ran(tmp_path, "c", None)

    np.testing.assert_allclose([0.02, 0.02], trials.sharpes(tmp_path))


def test_a_declaration_holds_for_the_workspace_and_is_not_taken_back(tmp_path: Path) -> None:
    """The largest number anybody declared counts, with or without a run; below 0 is refused."""
    ran(tmp_path, "a", 0.01)
    assert None is trials.count(tmp_path).prior
    trials.declare(tmp_path, 12)
    with trials.begin(tmp_path, experiment="exp", variant="base", digest="b", prior=3):
        pass

    assert (12, 14) == (trials.count(tmp_path).prior, trials.count(tmp_path).n)
    assert 20 == trials.count(tmp_path, prior=20).prior
    with pytest.raises(UsageError, match="0 or more"):
        trials.declare(tmp_path, -1)


def test_an_acceptance_is_on_record_and_is_no_trial(tmp_path: Path) -> None:
    """Its line holds digest and reason, follows the one before it, and counts as nothing."""
    ran(tmp_path, "a", 0.01)
    trials.accept(tmp_path, digest="a", acceptance={"reason": "looked into it", "at": "now"})
    found = trials.read(tmp_path)

    assert [("a", "looked into it")] == [(e["digest"], e["reason"]) for e in found.accepted]
    assert (1, 3, ()) == (len(found.trials), found.lines, found.findings)


def test_an_unwritable_place_is_the_users_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A results folder that is a file is refused in words; a full disk is the environment's."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="give another --out"):
        begun(tmp_path / "file")
    full = os.open("/dev/full", os.O_WRONLY)
    written = os.write
    monkeypatch.setattr(trials.os, "write", lambda _, content: written(full, content))
    with pytest.raises(EnvironmentFailedError, match=r"cannot write .*\.jsonl: No space left"):
        trials.declare(tmp_path, 1)
    os.close(full)
