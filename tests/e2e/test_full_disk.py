"""A file system that is really full: runs end in one message, and go on when there is room."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from disturbed import RUN, differences, files_of, workspace, zygote

SIZE = 24  # MB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of limited size; needs the right to."""
    mount, place = shutil.which("mount"), tmp_path / "disk"
    place.mkdir()
    command = [str(mount), "-t", "tmpfs", "-o", f"size={SIZE}m", "tmpfs", str(place)]
    done = None if mount is None else subprocess.run(command, capture_output=True, check=False)
    if done is None or done.returncode != 0:
        said = "there is no mount" if done is None else done.stderr.decode().strip()
        pytest.skip(f"no file system of limited size can be mounted here (as root it can): {said}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.long
def test_a_disk_that_is_full_ends_in_one_message(tmp_path: Path, small_disk: Path) -> None:
    """Whatever room is left, forty sizes: exit 2 or 5 with one message, or the whole run.

    Where only the cache has no room the run is whole. With room again each ends as undisturbed.
    """
    aside = tmp_path / "aside"
    aside.mkdir()
    template = workspace(tmp_path / "template")
    with zygote(template, small_disk, aside=aside) as process:
        (whole,) = process.ask({"words": RUN})
        expected = files_of(process.left)
        needed = sum(path.stat().st_blocks * 512 for path in process.left.rglob("*"))
        draw = random.Random(8)  # noqa: S311
        rooms = [*range(0, 40_960, 4_096), *(draw.randrange(int(1.3 * needed)) for _ in range(30))]
        codes = []
        for room in rooms:
            first, again = process.ask({"words": RUN, "room": room}, {"words": RUN})
            codes.append(first["code"])
            told = first["told"]

            assert first["code"] in (0, 2, 5), (room, told)
            assert "Traceback" not in told, (room, told)
            assert "internal error" not in told, (room, told)
            assert first["code"] == 0 or told.count("error: ") == 1, (room, told)
            assert first["code"] == 0 or "No space left on device" in told, (room, told)
            assert [] == [*first["half_made"], *again["half_made"]], (room, told)
            assert 0 == again["code"], (room, again["told"])
            different = differences(expected, files_of(process.left))
            # The ledger tells of an interruption, the manifest of what the cache gave.
            assert [] == [n for n in different if not n.endswith(("trials.jsonl", "manifest.json"))]
        print(
            f"{needed:,} bytes are needed; room and exit: {sorted(zip(rooms, codes, strict=True))}"
        )

    assert 0 == whole["code"]
    assert {0, 5} <= set(codes)
