"""The store of what was computed: whole, verified, bounded, shared."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from perpwalk.cache import Cache, key_of, open_cache, parse_size
from perpwalk.errors import ConfigError

KEY, OTHER = key_of("one"), key_of("other")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", limit=1_000_000)


def keep(cache: Cache, key: str = KEY, content: bytes = b"weights") -> Path:
    def write(folder: Path) -> None:
        (folder / "model").mkdir()
        (folder / "model" / "weights").write_bytes(content)
        (folder / "manifest.json").write_text("{}")

    cache.keep("fits", key, write)
    return cache.root / "fits" / key[:2] / key


def taken(cache: Cache, target: Path, key: str = KEY) -> bool:
    return cache.take("fits", key, target)


def test_what_was_kept_is_taken_byte_for_byte(cache: Cache, tmp_path: Path) -> None:
    """The files come back under their names, and nothing else with them."""
    keep(cache)

    assert taken(cache, tmp_path / "out")
    assert b"weights" == (tmp_path / "out" / "model" / "weights").read_bytes()
    names = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")}
    assert {"model", "model/weights", "manifest.json"} == names
    assert {"fits": {"taken": 1, "made": 1, "damaged": 0}} == cache.summary()


def test_what_was_never_kept_is_not_there(cache: Cache, tmp_path: Path) -> None:
    """An unknown key is a miss and leaves nothing behind."""
    assert not taken(cache, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "add", "entry", "no entry"])
def test_an_entry_that_was_tampered_with_is_thrown_away(
    cache: Cache, tmp_path: Path, damage: str
) -> None:
    """Whatever is done to its files or its list of them, it is counted as damaged and not taken."""
    place = keep(cache)
    file = place / "files" / "model" / "weights"
    if damage == "flip":
        file.write_bytes(b"weightz")
    elif damage == "truncate":
        file.write_bytes(b"weig")
    elif damage == "remove":
        file.unlink()
    elif damage == "add":
        (place / "files" / ".more").write_text("")
    elif damage == "entry":
        (place / "entry.json").write_text('{"files": ')
    else:
        (place / "entry.json").unlink()

    assert not taken(cache, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not place.exists()
    assert 1 == cache.counts["fits", "damaged"]


def test_an_entry_half_written_is_never_seen(cache: Cache, tmp_path: Path) -> None:
    """A writer that fails leaves no entry and no temporary files."""

    def write(folder: Path) -> None:
        (folder / "weights").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.keep("fits", KEY, write)

    assert not taken(cache, tmp_path / "out")
    assert [] == [p for p in cache.root.rglob("*") if p.is_file()]


def test_the_entries_used_longest_ago_go_first(tmp_path: Path) -> None:
    """Above the limit the oldest use goes, not the oldest entry."""
    cache = Cache(tmp_path / "cache", limit=25_000)
    keys = [key_of(n) for n in range(3)]
    for age, key in zip((300, 200, 100), keys, strict=True):
        entry = keep(cache, key, b"x" * 10_000) / "entry.json"
        if age > 100:
            os.utime(entry, (entry.stat().st_mtime - age,) * 2)
        if age == 200:
            assert taken(cache, tmp_path / "first", keys[0])  # the oldest is used again

    assert [True, False, True] == [taken(cache, tmp_path / key, key) for key in keys]
    assert cache.size() <= 25_000


def test_the_cache_stays_within_its_limit(tmp_path: Path) -> None:
    """However much is kept, no more than the limit stays; one entry above it is not kept at all."""
    cache = Cache(tmp_path / "cache", limit=50_000)
    for number in range(20):
        keep(cache, key_of(number), b"x" * 9_000)
        assert cache.size() <= 50_000
    keep(cache, KEY, b"x" * 60_000)

    assert not taken(cache, tmp_path / "out")
    assert taken(cache, tmp_path / "last", key_of(19))


def test_a_disk_that_cannot_be_written_costs_the_cache_not_the_run(tmp_path: Path) -> None:
    """Keeping goes on without a cache and says what is the matter."""
    (tmp_path / "file").write_text("in the way")
    cache = Cache(tmp_path / "file" / "cache", limit=1000)
    keep(cache)

    assert not taken(cache, tmp_path / "out")
    with cache.lock("fits", KEY) as mine:
        assert mine
    assert cache.trouble is not None


def test_one_computes_and_the_others_wait(cache: Cache, tmp_path: Path) -> None:
    """A second one is let in only when the first is done, and then finds what it kept."""
    found: list[bool] = []

    def second() -> None:
        with cache.lock("fits", KEY):
            found.append(taken(cache, tmp_path / "out"))

    with cache.lock("fits", KEY):
        with cache.lock("fits", KEY, wait=False) as mine:
            assert not mine
        thread = threading.Thread(target=second)
        thread.start()
        keep(cache)
    thread.join()

    assert [True] == found


def test_a_lock_outlives_no_killed_holder(cache: Cache) -> None:
    """Where the holder was killed the next one computes."""
    code = (
        "import os, signal, pathlib, sys\n"
        "from perpwalk.cache import Cache\n"
        "with Cache(pathlib.Path(sys.argv[1]), 1000).lock('fits', sys.argv[2]) as mine:\n"
        "    assert mine\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(cache.root), KEY], check=False)

    assert -9 == done.returncode
    with cache.lock("fits", KEY, wait=False) as mine:
        assert mine


def test_where_it_lies_and_how_much_it_holds_can_be_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the results by default; the environment names another folder and size."""
    assert (tmp_path / ".cache", 10**10) == _where(open_cache(tmp_path))
    monkeypatch.setenv("PERPWALK_CACHE", str(tmp_path / "shared"))
    monkeypatch.setenv("PERPWALK_CACHE_SIZE", "2GB")
    assert (tmp_path / "shared", 2 * 10**9) == _where(open_cache(tmp_path))


def _where(cache: Cache) -> tuple[Path, int]:
    return cache.root, cache.limit


@pytest.mark.parametrize("text", ["", "much", "-1GB", "1 PB", "1e9", "9" * 400])
def test_a_size_that_is_none_is_said(text: str) -> None:
    """What cannot be read as a size is an error that shows how to write one."""
    with pytest.raises(ConfigError, match="write it like 10GB"):
        parse_size(text)


def test_keys_depend_on_every_part() -> None:
    """Another value anywhere is another key; order of keys is none."""
    base = {"a": 1, "b": [1, 2.5, None], "c": "x"}
    keys = [base, {**base, "a": 2}, {**base, "b": [1, 2.5, 0]}, {**base, "d": 0}]
    assert 4 == len({key_of(parts) for parts in keys})
    assert key_of(base) == key_of(dict(reversed(base.items())))
