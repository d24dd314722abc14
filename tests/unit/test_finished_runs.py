"""Which folders of an experiment are taken for finished runs."""

from __future__ import annotations

from pathlib import Path

from hand_made_run import replay, write_run

from engine.variants import finished_in


def test_a_run_that_is_not_in_its_place_is_not_taken_for_a_finished_one(tmp_path: Path) -> None:
    """Killed after its last file and before its renaming, its manifest says finished already."""
    made = write_run(tmp_path / "base-0123abcd", replay(300))
    assert [made.path] == [one.run.path for one in finished_in(tmp_path)]

    made.path.rename(made.path.with_name(f"{made.path.name}.partial"))

    assert [] == finished_in(tmp_path)
