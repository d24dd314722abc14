"""Files of trees, changed at random: in their bytes, and in what their numbers mean.

``signals`` reads each in a forked child, so that one which ends the process is counted. XGBoost
alone, without perpwalk's look at the file before it, is measured the same way::

    PYTHONPATH=tests/reference .venv/bin/python -m tree_mutations 20000

A process of its own, because one that has used OpenMP before cannot be forked: XGBoost waits for
threads that are not there.
"""

from __future__ import annotations

import os
import random
import re
import resource
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import xgboost

from perpwalk.errors import UsageError
from perpwalk.models import boost

BATCH = 200
FEATURES = 4
PATIENCE = 5  # seconds of processor for one file
MEMORY = 4 * 1024**3
_EXTREMES = (0, 1, 2, 3, 5, -1, -2, 127, 255, 65_535, 2**31 - 1, -(2**31), 2**63 - 1, -(2**63))
_COLUMN = re.compile(rb"L\x00{7}.([a-z_]+)\[\$([dlLU])#L(.{8})", re.DOTALL)
_TEXT = re.compile(rb"L\x00{7}.([a-z_]+)SL(.{8})([^}L]*)", re.DOTALL)
_WIDTH = {b"d": 4, b"l": 4, b"L": 8, b"U": 1}
_WORDS = (
    b"0", b"1", b"-1", b"2", b"3", b"100", b"4294967297", b"99999999999999999999", b"nan", b"inf",
    b"1e-320", b"[0.5,0.5]", b"", b"gblinear", b"dart", b"multi:softmax", b"reg:squarederror",
    b"survival:aft", b"rank:ndcg",
)  # fmt: skip


def good_files() -> list[bytes]:
    """Return files as perpwalk writes them: none, few, many and deep trees."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((400, FEATURES)).astype(np.float32)
    label = (values[:, 0] + rng.standard_normal(400) > 0).astype(np.float32)
    made = []
    for rounds, depth, weight in ((0, 2, 1), (2, 2, 30), (5, 6, 10), (130, 1, 1), (2, 12, 0)):
        settings = {
            "objective": "binary:logistic", "tree_method": "hist", "max_depth": depth,
            "min_child_weight": weight, "nthread": 1, "verbosity": 0,
        }  # fmt: skip
        matrix = xgboost.DMatrix(values, label, nthread=1)
        made.append(bytes(xgboost.train(settings, matrix, rounds).save_raw("ubj")))
    return made


def changed(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    """Return ``content`` with one to three changes."""
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        content = chance.choice(_CHANGES)(content, chance, others)
    return content


def _columns(content: bytes) -> list[re.Match[bytes]]:
    """Return the columns whose numbers are there."""
    return [
        one
        for one in _COLUMN.finditer(content)
        if one.end() + int.from_bytes(one[3]) * _WIDTH[one[2]] <= len(content)
    ]


def _byte(content: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :]


def _cut(content: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + content[at + chance.choice((1, 2, 8, 40, len(content))) :]


def _doubled(content: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    at, size = chance.randrange(len(content) + 1), chance.choice((1, 4, 8, 60, 900))
    return content[: at + size] + content[at:]


def _spliced(content: bytes, chance: random.Random, others: list[bytes]) -> bytes:
    other = chance.choice(others)
    return content[: chance.randrange(len(content) + 1)] + other[chance.randrange(len(other)) :]


def _value(content: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    """Change one number of a tree: a child, a feature, a weight, a category."""
    match = chance.choice(_columns(content) or [None])
    count = 0 if match is None else int.from_bytes(match[3])
    if match is None or count == 0:
        return _length(content, chance, [])
    width = _WIDTH[match[2]]
    at = match.end() + width * chance.randrange(count)
    number = chance.choice((*_EXTREMES, chance.randrange(-3, count + 3)))
    return content[:at] + (number % (1 << 8 * width)).to_bytes(width) + content[at + width :]


def _length(content: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    """Change how many numbers a column says it has, now and then with numbers to match."""
    match = chance.choice(_columns(content) or [None])
    if match is None:
        return content[:-1]
    count = int.from_bytes(match[3])
    said = max(0, chance.choice((count + 1, count - 1, 0, 2 * count, 1 << 31, 1 << 62)))
    added = bytes(chance.randrange(256) for _ in range(_WIDTH[match[2]] * max(0, said - count))) \
        if said < 10_000 and chance.random() < 0.7 else b""  # fmt: skip
    end = match.end() + _WIDTH[match[2]] * (min(count, said) if added or said < count else count)
    old_end = match.end() + _WIDTH[match[2]] * count
    return content[: match.start(3)] + said.to_bytes(8) + content[match.end() : end] + added \
        + content[old_end:]  # fmt: skip


def _type(content: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    match = chance.choice(_columns(content) or [None])
    if match is None:
        return content[1:]
    kind = chance.choice((b"d", b"l", b"L", b"U", b"i", b"D", b"S", b"{", b"["))
    return content[: match.start(2)] + kind + content[match.end(2) :]


def _word(content: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    """Change a setting that is written as text, with its length."""
    match = chance.choice(list(_TEXT.finditer(content)) or [None])
    if match is None:
        return content[1:]
    word = chance.choice(_WORDS)
    return content[: match.start(2)] + len(word).to_bytes(8) + word + content[match.end(3) :]


def _moved(content: bytes, chance: random.Random, _: list[bytes]) -> bytes:
    """Give one column the numbers of another one of the same size."""
    columns = [one for one in _columns(content) if int.from_bytes(one[3])]
    if not columns:
        return content[1:]
    one, other = chance.choice(columns), chance.choice(columns)
    size = _WIDTH[one[2]] * int.from_bytes(one[3])
    taken = content[other.end() : other.end() + size].ljust(size, b"\x00")
    return content[: one.end()] + taken + content[one.end() + size :]


_CHANGES: tuple[Callable[[bytes, random.Random, list[bytes]], bytes], ...] = (
    _byte, _cut, _doubled, _spliced, _value, _value, _value, _length, _length, _type, _word, _moved,
)  # fmt: skip


def inputs(seed: int, count: int) -> Iterator[bytes]:
    """Yield ``count`` changed files, the same for the same seed."""
    chance, files = random.Random(seed), good_files()  # noqa: S311 - no secret
    for _ in range(count):
        yield changed(chance.choice(files), chance, files)


# ── reading them ─────────────────────────────────────────────────────────────────────────────────


def as_perpwalk(content: bytes, folder: Path) -> str:
    """Load as perpwalk does and forecast."""
    (folder / boost.TREES_FILE).write_bytes(content)
    try:
        trees = boost.load_trees(folder, threads=1)
    except UsageError:
        return "refused"
    return _forecast(trees)


def as_xgboost(content: bytes, folder: Path) -> str:
    """Load as XGBoost does and forecast."""
    (folder / boost.TREES_FILE).write_bytes(content)
    trees = xgboost.Booster({"nthread": 1})
    try:
        trees.load_model(folder / boost.TREES_FILE)
        return _forecast(trees)
    except (xgboost.core.XGBoostError, UnicodeDecodeError, ValueError):
        return "refused"


def _forecast(trees: xgboost.Booster) -> str:
    if trees.num_features() != FEATURES:
        return "of another width"
    values = np.zeros((3, FEATURES), dtype=np.float32)
    values[1], values[2] = np.nan, 7
    made = boost.forecast(trees, values).p_up
    return "read" if ((made >= 0) & (made <= 1)).all() else "no probability"


def signals(read: Callable[[bytes, Path], str], files: Iterator[bytes]) -> Counter[str]:
    """Return how often each outcome was seen; a process that ended tells by which signal."""
    found: Counter[str] = Counter()
    waiting = list(files)
    with tempfile.TemporaryDirectory() as folder:
        while waiting:
            outcomes, end = _in_a_child(read, waiting[:BATCH], Path(folder))
            found.update(outcomes)
            waiting = waiting[len(outcomes) :]
            if end:
                found[end] += 1
                waiting = waiting[1:]
    return found


def _in_a_child(
    read: Callable[[bytes, Path], str], files: list[bytes], folder: Path
) -> tuple[list[str], str]:
    """Read files in a forked child; return their outcomes, and how it ended if not well."""
    told = folder / "told"
    told.write_bytes(b"")
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 2)
        with told.open("a") as log:
            for content in files:
                signal.setitimer(signal.ITIMER_PROF, PATIENCE)
                try:
                    outcome = read(content, folder)
                except BaseException as error:  # noqa: BLE001 - whatever it is, it is an outcome
                    outcome = f"{type(error).__name__}"
                log.write(outcome + "\n")
                log.flush()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    outcomes = told.read_text().splitlines()
    if os.WIFSIGNALED(status):
        return outcomes, signal.Signals(os.WTERMSIG(status)).name
    return outcomes, "" if status == 0 else f"exit {os.WEXITSTATUS(status)}"


def main() -> None:
    """Print outcomes without perpwalk's look at the file, and with it; or of the one named."""
    count = int(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    for read in (as_xgboost, as_perpwalk):
        if len(sys.argv) > 3 and read.__name__ != sys.argv[3]:
            continue
        told = ", ".join(f"{n:,} {what}" for what, n in signals(read, inputs(seed, count)).items())
        print(f"{read.__name__}: {told}", flush=True)


if __name__ == "__main__":
    main()
