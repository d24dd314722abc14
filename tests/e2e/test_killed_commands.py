"""Every command that fits or writes results, killed at points spread over it and given again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from disturbed import FOLDS, RUN, differences, files_of
from killed import undisturbed

TINY_NETWORK = {
    "kind": "lstm_xgb",
    "lstm": {"timesteps": 5, "layers": 1, "hidden": 4, "dense": 4, "embedding": 2, "epochs": 2},
    "xgb": {"rounds": 10},
}  # fmt: skip
COMPARE = ["compare", "small.yaml", "--grid", "strategy.threshold=0.5,validation"]
SWEEP = ["sweep", "small.yaml", "--grid", "strategy.params.exposure=0.4,0.9"]
PLACEBO = ["placebo", "small.yaml", "--draws", "2"]
FULL_PLACEBO = [*PLACEBO, "--full"]
TARGETS: dict[str, tuple[list[str], dict[str, Any]]] = {
    "network and trees": (RUN, {"model": TINY_NETWORK}),
    "with pages": (RUN, {"report": {"html": True, "tearsheet": True}}),
    "two processes": ([*RUN, "--jobs", "2"], {}),
    "other seeds": (RUN, {"model": TINY_NETWORK, "compute": {"threads": 1, "seeds": [11]}}),
    "compare": (COMPARE, {}),
    "sweep": (SWEEP, {}),
    "placebo": (PLACEBO, {}),
    "full placebo": (FULL_PLACEBO, {"model": TINY_NETWORK}),
}


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
def test_whatever_is_killed_ends_as_if_undisturbed(tmp_path: Path, target: str) -> None:
    """Killed at thirty points and given again: byte for byte the same, one fold at most twice.

    What a placebo fits in a moment is not kept: it is all made again, the run it treats is not.
    """
    words, changes = TARGETS[target]
    # What is warm is inherited by every fork; a pool of processes cannot be.
    warm = [RUN] if target == "two processes" else [words]
    with undisturbed(tmp_path, words, warm=warm, **changes) as known:
        if target == "placebo":
            known.costs = known.whole["fits"] - FOLDS + 1
        if target == "full placebo":
            known.costs = FOLDS + 1  # the model swapped in is a quick one
        points = known.spread(30)
        print(f"{target}: {len(points)} of {len(known.operations)} operations")

        assert {} == known.killed(points)


@pytest.mark.long
@pytest.mark.parametrize("target", ["compare", "sweep", "placebo"])
def test_whatever_is_stopped_says_how_to_go_on(tmp_path: Path, target: str) -> None:
    """SIGINT ends with 130 and SIGTERM with 143, at six points each, and the command goes on."""
    words, _ = TARGETS[target]
    with undisturbed(tmp_path, words) as known:
        for at in known.spread(8)[1:-1]:
            for name, code in (("SIGINT", 130), ("SIGTERM", 143)):
                (first, again), wrong = known.resumed_after({"fault": name, "at": at})

                assert code == first["code"], (at, first["told"])
                assert "give the same command again" in first["told"], (at, first["told"])
                assert known.whole["code"] == again["code"], (at, again["told"])
                # The ledger tells of an interruption, and what is fitted before is not counted.
                assert [] == [one for one in wrong if not one.endswith(TOLD_OF_STOPS)], at


TOLD_OF_STOPS = ("trials.jsonl", "manifest.json", "were fitted")


@pytest.mark.long
@pytest.mark.parametrize("target", ["sweep", "placebo"])
def test_data_that_go_before_they_are_read_again_are_named(tmp_path: Path, target: str) -> None:
    """What follows a run reads the data again: removed exit 2 and their name, changed exit 2 too.

    With the data back, the same command comes to the same end.
    """
    words, _ = TARGETS[target]
    with undisturbed(tmp_path, words) as known:
        done = known.last("os.rename", ".partial")
        back = {"words": words, "put": {"bars.csv": known.data}}
        fewer = "".join(known.data.splitlines(keepends=True)[:-20])
        for fault, said in (
            ({"fault": "vanish"}, "bars.csv: there is no such file"),
            ({"fault": "rewritten", "text": fewer}, "are not the same any more"),
        ):
            first, again = known.zygote.ask(
                {"words": words, "at": done, "path": "bars.csv", **fault}, back
            )

            assert 2 == first["code"], first["told"]
            assert said in " ".join(first["told"].split())
            assert known.whole["code"] == again["code"], again["told"]
            assert [] == [*first["half_made"], *again["half_made"]]
            assert [] == differences(known.files, files_of(known.zygote.left))


@pytest.mark.long
def test_a_run_killed_again_while_it_resumes_ends_as_if_undisturbed(tmp_path: Path) -> None:
    """Killed at each of eight points, and what goes on at each of five: forty pairs."""
    with undisturbed(tmp_path, RUN) as known:
        resumed = [1, 10, 40, 120, 250]

        assert {} == known.killed_twice(known.spread(8), resumed)
