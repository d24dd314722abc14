"""A file of trees is looked at before XGBoost, whose reader trusts it, is given it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tree_mutations
import xgboost

from perpwalk.errors import UsageError
from perpwalk.models import boost, tree_file, ubjson
from perpwalk.strict import NotAsWrittenError


@functools.cache
def good_files() -> tuple[bytes, ...]:
    return tuple(tree_mutations.good_files())


def column(content: bytes, name: str, at: int, value: int, width: int = 4) -> bytes:
    """Return the content with a number of a column changed, in the first tree that has nodes."""
    start = content.index(ubjson.key(name) + b"[$") + len(ubjson.key(name)) + 5 + 8 + at * width
    return content[:start] + (value % (1 << 8 * width)).to_bytes(width) + content[start + width :]


def worded(content: bytes, name: str, text: str) -> bytes:
    """Return the content with a setting that is written as text changed."""
    start = content.index(ubjson.key(name) + b"S") + len(ubjson.key(name))
    old = int.from_bytes(content[start + 2 : start + 10])
    return content[:start] + ubjson.text(text) + content[start + 10 + old :]


@pytest.mark.parametrize("number", range(5))
def test_what_xgboost_wrote_is_taken(number: int, tmp_path: Path) -> None:
    """No tree, few, more than a byte counts, and deep ones are read as they were written."""
    content = good_files()[number]
    (tmp_path / "xgb.ubj").write_bytes(content)

    trees = boost.load_trees(tmp_path)

    assert content == bytes(trees.save_raw("ubj"))


HOSTILE: list[tuple[str, str, Callable[[bytes], bytes]]] = [
    ("a child beyond the tree", "outside its tree", lambda c: column(c, "left_children", 0, 99)),
    ("a child before its parent", "before its parent", lambda c: column(c, "left_children", 0, 0)),
    ("a negative child", "before its parent", lambda c: column(c, "right_children", 0, -7)),
    ("a child of a leaf", "before its parent", lambda c: column(c, "right_children", 2, 1)),
    ("two ways to a node", "make no tree", lambda c: column(c, "right_children", 0, 1)),
    ("a foster child", "make no tree", lambda c: column(c, "parents", 1, 1)),
    ("a root with a parent", "make no tree", lambda c: column(c, "parents", 0, 0)),
    ("a feature there is not", "split_indices", lambda c: column(c, "split_indices", 0, 4)),
    ("a negative feature", "split_indices", lambda c: column(c, "split_indices", 0, -1)),
    ("a split by category", "split_type", lambda c: column(c, "split_type", 0, 1, width=1)),
    ("a weight that is infinite", "base_weights that are not finite",
     lambda c: column(c, "base_weights", 0, 0x7F800000)),
    ("a count too large for the file", "says that tree 0 has",
     lambda c: c.replace(b"base_weights[$d#L" + bytes(7), b"base_weights[$d#L" + b"\x7f" * 7)),
    ("a column that is too long", "no sum_hessian of 5 nodes",
     lambda c: c.replace(b"sum_hessian[$d#L" + bytes(7) + b"\x05",
                         b"sum_hessian[$d#L" + bytes(7) + b"\x06" + bytes(4))),
    ("a column of another type", "no parents of 5 nodes",
     lambda c: c.replace(b"parents[$l#", b"parents[$L#")),
    ("categories", "in tree 0",
     lambda c: c.replace(b"categories[$l#L" + bytes(8), b"categories[$l#L" + bytes(7) + b"\x01")),
    ("more nodes than numbers", "in two ways", lambda c: worded(c, "num_nodes", "9")),
    ("more trees than there are", "gbtree_model_param", lambda c: worded(c, "num_trees", "3")),
    ("vectors as leaves", "what XGBoost says", lambda c: worded(c, "size_leaf_vector", "2")),
    ("a tree of other features", "other features", lambda c: worded(c, "num_feature", "5")),
    ("another booster", "gradient_booster.name", lambda c: c.replace(b"\x06gbtree}", b"\x04dart}")),
    ("another objective", "objective.name",
     lambda c: c.replace(ubjson.text("binary:logistic"), ubjson.text("multi:softprob"))),
    ("several classes", "num_class", lambda c: worded(c, "num_class", "3")),
    ("no probability to start from", "base_score", lambda c: worded(c, "base_score", "[7E0]")),
    ("several scores to start from", "base_score", lambda c: worded(c, "base_score", "[.5,.5]")),
    ("names of features", "feature_names",
     lambda c: c.replace(b"feature_names[#L" + bytes(8),
                         b"feature_names[#L" + bytes(7) + b"\x01" + ubjson.text("a"))),
    ("a key that stands twice", "twice", lambda c: c.replace(b"feature_types", b"feature_names")),
    ("a key there is not", "other parts", lambda c: c.replace(b"attributes", b"attribuses")),
    ("a round that is missing", "iteration_indptr",
     lambda c: c.replace(b"i\x00i\x01i\x02", b"i\x00i\x02i\x02")),
    ("a tree of another group", "tree_info", lambda c: c.replace(b"i\x00i\x00L", b"i\x00i\x01L")),
    ("more after its end", "after its end", lambda c: c + b"{"),
    ("an end amid the first tree", "of tree 0", lambda c: c[: c.index(b"tree_param") + 60]),
    ("nothing", "cut short", lambda _: b""),
    ("text", "marker", lambda _: b'"{}"'),
    ("nested without end", "too deeply", lambda _: b"[#L" + (bytes(7) + b"\x01[#L") * 99),
]  # fmt: skip


@pytest.mark.parametrize(("what", "message", "change"), HOSTILE, ids=[one[0] for one in HOSTILE])
def test_what_xgboost_would_not_write_is_refused(
    what: str, message: str, change: Callable[[bytes], bytes]
) -> None:
    """One sentence says what is wrong; XGBoost never sees the file."""
    good = good_files()[1]
    content = change(good)

    assert content != good, what
    with pytest.raises(NotAsWrittenError, match=message):
        tree_file.check(content)


def test_a_refused_file_is_named_and_xgboost_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the file; what is looked at is what is loaded, read once."""
    asked: list[object] = []
    monkeypatch.setattr(xgboost.Booster, "load_model", lambda _, source: asked.append(source))
    (tmp_path / "xgb.ubj").write_bytes(good_files()[1])
    boost.load_trees(tmp_path)
    (tmp_path / "xgb.ubj").write_bytes(column(good_files()[1], "left_children", 0, 99))

    with pytest.raises(UsageError, match=r"xgb\.ubj holds a child .* no model of perpwalk's"):
        boost.load_trees(tmp_path)

    assert [bytearray(good_files()[1])] == asked


def test_a_tree_deeper_than_any_configuration_is_refused() -> None:
    """A chain of nodes is a tree in form; walking down it is bounded."""
    levels = tree_file.MAX_DEPTH + 1
    tree = chain(levels)

    tree_file.check(model_of(chain(levels - 2)))
    with pytest.raises(NotAsWrittenError, match="more than 64 levels"):
        tree_file.check(model_of(tree))


def chain(levels: int) -> dict[str, list[int]]:
    """Return left child, right child and parent of a tree whose left children are leaves."""
    left, right, parents = [], [], [tree_file.NO_PARENT]
    for level in range(levels):
        left += [2 * level + 1, -1]
        right += [2 * level + 2, -1]
        parents += [2 * level, 2 * level]
    order = [0, *(n for level in range(levels) for n in (2 * level + 1, 2 * level + 2))]
    inner = {0, *range(2, 2 * levels, 2)}
    return {
        "left_children": [n + 1 if n in inner else -1 for n in order],
        "right_children": [n + 2 if n in inner else -1 for n in order],
        "parents": parents,
    }


def model_of(tree: dict[str, list[int]]) -> bytes:
    """Return a good file whose one tree has these nodes."""
    good = good_files()[1]
    nodes = len(tree["parents"])
    written = b""
    for part in tree_file._COLUMNS:
        values = tree.get(part.name, [0] * nodes)
        written += part.header(0) + nodes.to_bytes(8)
        written += b"".join((v % (1 << 8 * part.type.itemsize)).to_bytes(part.type.itemsize)
                            for v in values)  # fmt: skip
    tail = tree_file._TAIL.search(good)
    assert tail is not None
    written += worded(tail[0], "num_nodes", str(nodes))
    begin = good.index(b"trees[#L")
    end = good.index(ubjson.key("name") + ubjson.text("gbtree")) - 1
    content = good[:begin] + b"trees[#L" + (1).to_bytes(8) + written + good[end:]
    content = worded(content, "num_trees", "1")
    content = content.replace(b"#L" + (3).to_bytes(8) + b"i\x00i\x01i\x02",
                              b"#L" + (2).to_bytes(8) + b"i\x00i\x01")  # fmt: skip
    return content.replace(b"#L" + (2).to_bytes(8) + b"i\x00i\x00L",
                           b"#L" + (1).to_bytes(8) + b"i\x00L")  # fmt: skip


LONG = os.environ.get("PERPWALK_PROFILE") == "long"


def test_no_change_of_a_file_ends_the_process() -> None:
    """Bytes, lengths, children and settings changed at random: read, or refused, never a signal.

    The short profile tries 400, the long one 20,000.
    """
    count = 20_000 if LONG else 400
    told = subprocess.run(
        [sys.executable, tree_mutations.__file__, str(count), "7", "as_perpwalk"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    outcomes = dict(reversed(one.split(" ", 1)) for one in told.split(": ")[1].strip().split(", "))

    assert {"read", "refused"} == set(outcomes) - {"of another width"}
