"""Runs that are killed, stopped or refused at an operation on a file, and then given again."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

import pytest
from disturbed import FOLDS, RUN, differences, files_of
from killed import INPUTS, Known, undisturbed

# Whoever is refused room or permission may have been refused before the run began (2), or may have
# lost no more than the cache (0).
REFUSED = (0, 2, 5)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    with undisturbed(tmp_path_factory.mktemp("crash"), RUN) as whole:
        assert (0, FOLDS) == (whole.whole["code"], whole.whole["fits"])
        yield whole


def test_a_killed_run_ends_as_if_undisturbed(known: Known) -> None:
    """Killed before an operation and given again, byte for byte the same, one fold at most twice.

    The points: some drawn, and those between a whole run and its place and record.
    """
    drawn = random.Random(5).sample(range(1, len(known.operations)), 2)  # noqa: S311
    moved = known.last("os.rename", ".partial")
    ends = [moved, known.last("open", "trials.jsonl")]

    assert {} == known.killed([*drawn, *ends])
    assert {} == known.killed([known.last("write", ".manifest.json")], "torn")
    assert {} == known.killed([moved, known.last("open", "trials.jsonl")], "power")


@pytest.mark.long
def test_a_run_killed_at_any_operation_ends_as_if_undisturbed(known: Known) -> None:
    """The same at every second operation."""
    points = range(1, len(known.operations) + 1, 2)

    assert len(points) >= 200
    assert {} == known.killed(points)


@pytest.mark.long
def test_a_write_cut_in_half_leaves_nothing_half_made(known: Known) -> None:
    """Killed in the middle of every second write; a line of the trial ledger is one write."""
    writes = [
        number
        for number, told in enumerate(known.operations, 1)
        if told.startswith("write") and "trials.jsonl" not in told
    ]
    assert {} == known.killed(writes[::2], "torn")


@pytest.mark.long
def test_a_run_whose_machine_lost_power_ends_as_if_undisturbed(known: Known) -> None:
    """Before every third operation; what was not forced to the disk is gone, its name is not."""
    assert {} == known.killed(range(2, len(known.operations) + 1, 3), "power")


def stopped(known: Known, points: Sequence[int], name: str, code: int) -> dict[int, list[str]]:
    """Stop a run by a signal at each point and give it again; return what was wrong."""
    found = {}
    for at in points:
        (first, _), wrong = known.resumed_after({"fault": name, "at": at})
        # The ledger tells of an interruption; the cache may have been at work.
        wrong = [one for one in wrong if not one.endswith(("trials.jsonl", "manifest.json"))]
        if first["code"] != code or "give the same command again" not in first["told"]:
            wrong.append(f"ended with {first['code']}: {first['told'][-300:]}")
        if wrong:
            found[at] = wrong
    return found


def test_a_stopped_run_says_how_to_go_on_and_does(known: Known) -> None:
    """SIGINT ends with 130 and SIGTERM with 143, with one line, and the run resumes."""
    drawn = random.Random(6).sample(range(20, len(known.operations) - 20), 2)  # noqa: S311

    assert {} == stopped(known, drawn[:1], "SIGINT", 130)
    assert {} == stopped(known, drawn[1:], "SIGTERM", 143)


@pytest.mark.long
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_run_stopped_anywhere_says_how_to_go_on(known: Known, name: str, code: int) -> None:
    """The same at forty points."""
    points = range(1, len(known.operations) - 5, len(known.operations) // 40)

    assert {} == stopped(known, points, name, code)


def refused(known: Known, points: Sequence[int], name: str, *, once: bool) -> dict[int, list[str]]:
    """Refuse a run room or permission from each point on; return what was wrong."""
    found = {}
    for at in points:
        (first, _), wrong = known.resumed_after({"fault": name, "at": at, "once": once})
        wrong = [one for one in wrong if not one.endswith(("trials.jsonl", "manifest.json"))]
        if first["code"] not in REFUSED:
            wrong.append(f"ended with {first['code']}: {first['told'][-300:]}")
        if first["code"] != 0 and "error: " not in first["told"]:
            wrong.append(f"no message: {first['told'][-300:]}")
        if wrong:
            found[at] = wrong
    return found


def test_a_disk_that_gives_out_ends_in_one_message(known: Known) -> None:
    """Full from a fold on: exit 5 and a message; with room again the run ends the same."""
    at = known.last("write", "work/.fold-001", "fold.json")

    (first, _), wrong = known.resumed_after({"fault": "ENOSPC", "at": at})

    assert 5 == first["code"]
    assert "No space left on device" in first["told"]
    assert [] == wrong


@pytest.mark.long
@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize("name", ["ENOSPC", "EACCES", "EROFS", "EIO"])
def test_no_room_and_no_permission_end_in_one_message(known: Known, name: str, once: bool) -> None:
    """At twenty-five points each: a full disk, lost permission, a disk gone read-only or bad."""
    points = range(1, len(known.operations), len(known.operations) // 25)

    assert {} == refused(known, points, name, once=once)


def test_results_deleted_meanwhile_end_in_one_message(known: Known) -> None:
    """The folder of results removed while a fold is made: exit 5, and the next run is whole."""
    at = known.last("open", "work/.fold-001", "scaler.json")

    (first, _), wrong = known.resumed_after({"fault": "vanish", "path": "results", "at": at})

    assert 5 == first["code"]
    assert "give the same command again" in first["told"]
    # What was computed went with the folder: it is fitted again.
    assert [] == [one for one in wrong if not one.endswith("were fitted")]


def test_an_input_that_vanished_is_named(known: Known) -> None:
    """Data removed before they are read are wrong input (exit 2), named, and nothing is left."""
    gone, first = known.zygote.ask(
        {"words": ["run", "gone.yaml"]}, {"words": RUN, "put": {"bars.csv": None}}
    )

    assert [2, 2] == [gone["code"], first["code"]]
    assert "gone.yaml" in gone["told"]
    assert "bars.csv: there is no such file" in first["told"]
    assert [*INPUTS] == sorted(gone["contents"])
    assert [INPUTS[1]] == sorted(first["contents"])


def test_data_removed_meanwhile_are_missed_by_the_next_run_only(known: Known) -> None:
    """They are in memory: the run ends as undisturbed; the next one names the file (exit 2)."""
    assert [] == removed(known, len(known.operations) // 2)


@pytest.mark.long
def test_data_removed_at_any_time_are_missed_by_the_next_run_only(known: Known) -> None:
    """The same at twenty points."""
    assert {} == {at: wrong for at in known.spread(20) if (wrong := removed(known, at))}


def removed(known: Known, at: int) -> list[object]:
    """Remove the data at a point of a run; return what was wrong."""
    first, again, back = known.zygote.ask(
        {"words": RUN, "fault": "vanish", "path": "bars.csv", "at": at},
        {"words": RUN},
        {"words": RUN, "put": {"bars.csv": known.data}},
    )
    wrong: list[object] = [*first["half_made"], *again["half_made"], *back["half_made"]]
    wrong += differences(known.files, files_of(known.zygote.left))
    codes = [one["code"] for one in (first, again, back)]
    if codes != [0, 2, 0] or "bars.csv: there is no such file" not in again["told"]:
        wrong += [codes, again["told"][-300:]]
    if first["contents"] != again["contents"]:
        wrong.append("what was refused has changed the workspace")
    return wrong


def test_data_changed_meanwhile_are_another_question(known: Known) -> None:
    """A killed run does not go on with other data: it is made anew, as if nothing had been.

    With the first data back it goes on where it was.
    """
    assert [] == changed(known, known.last("os.rename", "work/.fold-001") + 1)


@pytest.mark.long
def test_data_changed_at_any_time_are_another_question(known: Known) -> None:
    """The same at twenty points."""
    assert {} == {at: wrong for at in known.spread(20) if (wrong := changed(known, at))}


def changed(known: Known, at: int) -> list[object]:
    """Kill a run, change its data, run, change them back, run; return what was wrong."""
    other = "".join(known.data.splitlines(keepends=True)[:-20])
    (alone,) = known.zygote.ask({"words": RUN, "put": {"bars.csv": other}})
    expected = files_of(known.zygote.left)
    first, anew, back = known.zygote.ask(
        {"words": RUN, "fault": "SIGKILL", "at": at},
        {"words": RUN, "put": {"bars.csv": other}},
        {"words": RUN, "put": {"bars.csv": known.data}},
    )
    found = files_of(known.zygote.left)
    wrong: list[object] = [*first["half_made"], *anew["half_made"], *back["half_made"]]
    for files in (known.files, expected):
        of_runs = {name for name in files if name.startswith("results/small/")}
        wrong += [
            name
            for name in sorted(of_runs)
            if not name.endswith(TOLD_OF_TRIALS) and files[name] != found.get(name)
        ]
    codes = [one["code"] for one in (alone, first, anew, back)]
    fits = first["fits"] + back["fits"]
    if codes != [0, -9, 0, 0] or fits > FOLDS + 1 or anew["fits"] > alone["fits"]:
        wrong.append([codes, fits, anew["fits"]])
    return wrong


# ── several at once ──────────────────────────────────────────────────────────────────────────────

OTHERS = (["--set", "seed=2"], ["--set", "strategy.threshold=0.5"])


def test_runs_at_once_in_one_workspace_do_not_mix(known: Known) -> None:
    """Twice the same question and two others, sharing the cache: each ends as it does alone.

    Of two processes with one question, one makes it; the other is told so or finds it answered.
    """
    commands = [RUN, RUN, *([*RUN, *more] for more in OTHERS)]
    again = [{"words": words} for words in commands[1:]]

    at_once = [{"words": words} for words in commands]
    first, *rest = known.zygote.ask({"together": at_once}, *again)
    together = files_of(known.zygote.left)
    codes = [code for code, _ in first["together"]]

    assert sorted(codes[:2]) in ([0, 0], [0, 5])
    assert [0, 0] == codes[2:]
    assert [0, 0, 0] == [one["code"] for one in rest]
    assert [] == first["half_made"]
    for words in commands[1:]:
        (alone,) = known.zygote.ask({"words": words})
        assert 0 == alone["code"]
        for name, content in files_of(known.zygote.left).items():
            if name.startswith("results/small/") and not name.endswith(TOLD_OF_TRIALS):
                assert content == together[name], name


@pytest.mark.long
def test_whoever_waits_for_a_killed_run_goes_on(known: Known) -> None:
    """Of three at once, two with one question, one is killed at each of fifteen points.

    The other question ends as it does alone, and so does the first when it is given again.
    """
    other = [*RUN, *OTHERS[1]]  # it shares features and fits
    (alone,) = known.zygote.ask({"words": other})
    expected = files_of(known.zygote.left)
    assert 0 == alone["code"]
    for at in known.spread(15):
        killed = {"words": RUN, "fault": "SIGKILL", "at": at}
        first, again = known.zygote.ask(
            {"together": [killed, {"words": RUN}, {"words": other}]}, {"words": RUN}
        )
        found = files_of(known.zygote.left)
        codes = [code for code, _ in first["together"]]

        # The second has found the first at work, or its answer, or has made it itself.
        assert codes[0] in (-9, 0, 5), codes
        assert codes[1] in (0, 5), first["together"]
        assert [0, 0] == [codes[2], again["code"]], first["together"]
        assert [] == [*first["half_made"], *again["half_made"]]
        for files in (known.files, expected):
            for name, content in files.items():
                if name.startswith("results/small/") and not name.endswith(TOLD_OF_TRIALS):
                    assert content == found.get(name), (at, name)


# How many trials there were depends on who was first.
TOLD_OF_TRIALS = ("manifest.json", "audit.json", "run.log")
