"""What lies where perpwalk keeps files and folders of its own is told, not followed or waited for.

A folder of results may come from elsewhere: a link at the name of a lock would lead to any file of
the user's, a pipe there would hold the process for good.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import perpwalk
from ended import ending
from fuzz_targets import good_run

from engine.narration import Log
from engine.progress import Silent
from perpwalk import disk, locks, owned, runs, trials
from perpwalk.cache import LOCKS, TEMPORARY, Cache
from perpwalk.data.store import SeriesKey, open_shelf
from perpwalk.errors import DataError

BARS = SeriesKey.of("binance", "ETHUSDT", "ohlcv", "1h")
ASKED = {"experiment": "x", "variant": "base", "digest": "d" * 64}
RUN = "x/base-dddddddd"
PRECIOUS = "of the user's\n"

Act = Callable[[Path], object]


def lay(kind: str, path: Path, victim: Path) -> None:
    """Put something where perpwalk keeps what is its own; ``victim`` is what links lead to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a folder":
        path.mkdir()
    elif kind == "a file":
        path.write_text(PRECIOUS)
    else:
        path.symlink_to(victim if kind == "a link" else victim.with_name("nothing"))


def lock(root: Path) -> None:
    """Hold a lock."""
    with locks.held(root / ".run.lock", wait=True):
        pass


def shelf(root: Path) -> None:
    """Open a series of the store for writing."""
    with open_shelf(root, BARS):
        pass


# ── files ────────────────────────────────────────────────────────────────────────────────────────

FILES: dict[str, tuple[str, Act]] = {
    "a lock": (".run.lock", lock),
    "a temporary name": (".a.csv.tmp", lambda root: disk.write_bytes(root / "a.csv", b"new")),
    "the ledger": (trials.LEDGER_FILE, lambda root: trials.declare(root, 3)),
    "the ledger of a trial": (trials.LEDGER_FILE, lambda root: trials.begin(root, **ASKED)),
    "the ledger, read": (trials.LEDGER_FILE, trials.read),
    "a log": ("run.log", lambda root: Log(Silent(), root / "run.log").say("x")),
    "the lock of a series": (f"{BARS.folder(Path())}/.lock", shelf),
}


@pytest.mark.parametrize("kind", ["a link", "a link to nothing", "a pipe", "a folder"])
@pytest.mark.parametrize("name", FILES)
def test_a_file_of_its_own_is_opened_through_no_link_and_without_waiting(
    name: str, kind: str, tmp_path: Path
) -> None:
    """One message says what lies where; nothing behind it is touched, made or waited for."""
    place, act = FILES[name]
    (victim := tmp_path / "victim").write_text(PRECIOUS)
    lay(kind, path := tmp_path / "results" / place, victim)

    error = ending(lambda: act(tmp_path / "results"))

    assert isinstance(error, owned.InTheWayError)
    assert str(error).startswith(f"{path} is {kind.removesuffix(' to nothing')}; perpwalk keeps a")
    assert PRECIOUS == victim.read_text()
    assert not victim.with_name("nothing").exists()
    assert os.path.lexists(path)


def test_a_lock_that_somebody_filled_keeps_what_it_says_while_it_is_held(tmp_path: Path) -> None:
    """A lock is opened, never emptied: it may be a second name of another file."""
    (path := tmp_path / ".run.lock").write_text(PRECIOUS)
    os.link(path, tmp_path / "other")

    lock(tmp_path)

    assert PRECIOUS == (tmp_path / "other").read_text()


def test_a_temporary_name_that_is_a_second_name_of_a_file_leaves_that_file_alone(
    tmp_path: Path,
) -> None:
    """What a killed writer left is emptied, what has another name is not."""
    (tmp_path / "b.csv").write_text(PRECIOUS)
    os.link(tmp_path / "b.csv", tmp_path / ".o.csv.tmp")

    disk.write_bytes(tmp_path / "o.csv", b"new")

    assert (PRECIOUS, b"new") == (
        (tmp_path / "b.csv").read_text(),
        (tmp_path / "o.csv").read_bytes(),
    )


def test_a_results_folder_may_be_a_link(tmp_path: Path) -> None:
    """A user's results may lie on another disk: only what perpwalk itself makes is no link."""
    (tmp_path / "big").mkdir()
    (results := tmp_path / "results").symlink_to(tmp_path / "big")

    with trials.begin(results, **ASKED), runs.open_run(results, key="k", **ASKED) as folder:
        runs.write_text(folder.partial / "manifest.json", "{}")
        folder.finish()
    with disk.renewed(results / RUN) as fresh:
        runs.write_text(fresh / "page", "new")

    assert "new" == (tmp_path / "big" / RUN / "page").read_text()
    assert 1 == trials.count(results).n


def test_commands_say_what_is_in_the_way_and_leave_it(tmp_path: Path, capsys) -> None:
    """A page drawn anew, and data converted: exit 5, one message, inputs as they were."""
    run = good_run(tmp_path)
    bars = "open_time,open,high,low,close,volume\n" + "".join(
        f"{1_700_000_000_000 // 3_600_000 * 3_600_000 + n * 3_600_000},100,101,99,{100 + n % 2},5\n"
        for n in range(30)
    )
    (tmp_path / "b.csv").write_text(bars)
    run.with_name(f".{run.name}.turn.lock").symlink_to(tmp_path / "b.csv")
    (tmp_path / ".o.csv.tmp").symlink_to(tmp_path / "b.csv")

    for words, link in (
        (("report", str(run)), f".{run.name}.turn.lock"),
        (("data", "convert", "b.csv", "o.csv"), ".o.csv.tmp"),
    ):
        assert 5 == perpwalk(tmp_path, *words)
        told = " ".join(capsys.readouterr().err.split())
        assert f"{link} is a link; perpwalk keeps a file of its own there" in told
        assert bars == (tmp_path / "b.csv").read_text()


# ── the store and the cache ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", [".incoming", "year=2024"])
def test_a_series_with_a_link_is_not_written_to(name: str, tmp_path: Path) -> None:
    """What no catalog names is swept from a series; what a link leads to is not."""
    folder = BARS.folder(tmp_path / "store")
    folder.mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text(PRECIOUS)
    (folder / name).symlink_to(tmp_path / "mine")

    with pytest.raises(DataError, match=f"holds a link, {name}; remove it"):
        shelf(tmp_path / "store")
    assert PRECIOUS == (tmp_path / "mine" / "notes").read_text()


@pytest.mark.parametrize("kind", ["a link", "a pipe", "a folder"])
def test_a_lock_of_the_cache_that_is_none_costs_the_cache(kind: str, tmp_path: Path) -> None:
    """The run goes on without, and is told why."""
    cache = Cache(tmp_path / "cache", 10**6)
    (victim := tmp_path / "victim").write_text(PRECIOUS)
    lay(kind, cache.root / LOCKS / f"fits-{'k' * 32}", victim)

    def locked() -> None:
        with cache.lock("fits", "k" * 64) as mine:
            assert mine

    assert ending(locked) is None
    assert f"is {kind};" in str(cache.trouble)
    assert PRECIOUS == victim.read_text()


def test_folders_of_the_cache_that_are_links_are_not_swept(tmp_path: Path) -> None:
    """Neither leftovers nor entries are looked for behind a link."""
    cache = Cache(tmp_path / "cache", 0)
    (entry := tmp_path / "mine" / "aa" / "bb").mkdir(parents=True)
    (entry / "entry.json").write_text(PRECIOUS)
    cache.root.mkdir()
    (cache.root / TEMPORARY).symlink_to(tmp_path / "mine")
    (cache.root / "fits").symlink_to(tmp_path / "mine")
    os.utime(tmp_path / "mine" / "aa", (0, 0))

    cache.sweep()
    cache.keep("fits", "k" * 64, lambda folder: (folder / "a").touch())

    assert PRECIOUS == (entry / "entry.json").read_text()
    assert f"{TEMPORARY} is a link;" in str(cache.trouble)
    assert ["aa"] == [path.name for path in (tmp_path / "mine").iterdir()]


# ── folders ──────────────────────────────────────────────────────────────────────────────────────


def make(results: Path) -> None:
    """Begin a run and end it."""
    with runs.open_run(results, key="k", **ASKED) as folder:
        folder.finish()


def renew(results: Path) -> None:
    """Change a copy of a run."""
    (results / RUN).mkdir(parents=True, exist_ok=True)
    with disk.renewed(results / RUN):
        pass


def compare(results: Path) -> None:
    """Write files together."""
    with disk.written_together(results / RUN):
        pass


def take_up(results: Path) -> None:
    """Look for a run that was whole when its process was killed."""
    runs.take_up_whole(results, key="k", **ASKED)


def sweep(results: Path) -> None:
    """Record a sweep, and its ratios beside the ledger."""
    asked = {"experiment": "x", "variant": "base", "worth": 1.0, "bar_seconds": 3600.0}
    trials.sweep(results, ratios={"d" * 64: 0.1}, **asked)


FOLDERS: dict[str, tuple[str, Act]] = {
    "returns beside the ledger": (trials.RETURNS_FOLDER, sweep),
    "a half-made run": (f"{RUN}.partial", make),
    "a half-made run, looked at": (f"{RUN}.partial", take_up),
    "a run's own place": (RUN, make),
    "a run being replaced": ("x/.base-dddddddd.replaced", make),
    "a run being replaced, looked at": ("x/.base-dddddddd.replaced", take_up),
    "a run being renewed": ("x/.base-dddddddd.renewed", renew),
    "a comparison": (RUN, compare),
}


@pytest.mark.parametrize("kind", ["a link", "a pipe", "a file"])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_of_its_own_is_replaced_only_where_it_is_a_folder(
    name: str, kind: str, tmp_path: Path
) -> None:
    """One message says what lies where; it stays, and so does what a link leads to."""
    place, act = FOLDERS[name]
    (victim := tmp_path / "mine" / "work").mkdir(parents=True)
    (victim / "notes").write_text(PRECIOUS)
    lay(kind, path := tmp_path / "results" / place, victim.parent)

    error = ending(lambda: act(tmp_path / "results"))

    assert isinstance(error, owned.InTheWayError)
    assert str(error).startswith(f"{path} is {kind}; perpwalk keeps a folder of its own there")
    assert os.path.lexists(path)
    assert PRECIOUS == (victim / "notes").read_text()


def test_a_replaced_run_that_leads_nowhere_is_told_before_anything_is_made(tmp_path: Path) -> None:
    """Not after the run was computed, and not as if somebody had taken it away."""
    results = tmp_path / "results"
    lay("a link to nothing", results / "x" / ".base-dddddddd.replaced", tmp_path / "mine")

    with (
        pytest.raises(owned.InTheWayError, match=r"\.replaced is a link"),
        runs.open_run(results, key="k", **ASKED),
    ):
        pytest.fail("it has begun")


def test_a_run_that_is_a_link_loses_nothing_behind_it(tmp_path: Path) -> None:
    """The working files of a run that is done are removed, those of another folder are not."""
    (victim := tmp_path / "mine" / "work").mkdir(parents=True)
    (tmp_path / "results" / "x").mkdir(parents=True)
    (tmp_path / "results" / RUN).symlink_to(victim.parent)

    take_up(tmp_path / "results")

    assert victim.is_dir()


def test_a_run_that_is_a_link_is_renewed_where_it_lies(tmp_path: Path) -> None:
    """The link stays one: what it leads to has the new page."""
    (tmp_path / "there" / "run").mkdir(parents=True)
    (link := tmp_path / "latest").symlink_to(tmp_path / "there" / "run")

    with disk.renewed(link) as fresh:
        runs.write_text(fresh / "page", "new")

    assert link.is_symlink()
    assert "new" == (tmp_path / "there" / "run" / "page").read_text()


def test_a_kept_run_that_holds_a_pipe_is_made_anew(tmp_path: Path) -> None:
    """Nothing in it is opened to be looked at."""
    with runs.open_run(tmp_path, key="k", **ASKED) as folder:
        (folder.work / "fold-000").mkdir()
    (folder.work / "key").unlink()
    os.mkfifo(folder.work / "key")
    os.mkfifo(folder.work / "fold-000" / "fold.json")

    assert ending(lambda: take_up(tmp_path)) is None
    assert ending(lambda: make(tmp_path)) is None


# ── the temporary folder, which others may share ─────────────────────────────────────────────────


@pytest.mark.parametrize("whose", ["mine", "a stranger's"])
def test_what_others_lay_among_temporary_files_is_left(
    whose: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipe for a lock holds nobody; a folder of another user's is not even looked into."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    strange, old = tmp_path / "perpwalk-scratch-x", tmp_path / "perpwalk-scratch-y"
    for folder in (strange, old):
        folder.mkdir()
    os.mkfifo(strange / ".lock")
    (old / ".lock").touch()
    if whose != "mine":
        somebody = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: somebody)

    def used() -> None:
        with disk.scratch():
            pass

    assert ending(used) is None
    assert strange.is_dir()
    assert old.is_dir() == (whose != "mine")
