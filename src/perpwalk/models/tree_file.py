"""What stands in ``xgb.ubj``, looked at before XGBoost is given it.

XGBoost's own reader is made for files that XGBoost wrote: a child's number that leads out of the
tree, an array shorter than its tree, a wrong count, and the process is gone. So a file is taken
only if it is exactly what perpwalk has XGBoost write: trees for a yes or no, one at a time, no
categories, every number in its range, each tree a tree.

The trees are most of a file. They are compared with the one way XGBoost writes them and their
numbers looked at all together, so that this costs no more than XGBoost's own reading.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from perpwalk.models import ubjson
from perpwalk.strict import NotAsWrittenError, file_bytes

MAX_BYTES = 512 * 1024**2
MAX_FEATURES = 65_536
MAX_DEPTH = 64  # the deepest tree that a configuration allows has 32 levels
NO_PARENT = 2**31 - 1

IntArray = npt.NDArray[np.int64]

_COUNT = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"\[?([0-9.eE+-]{1,40})\]?")  # 3.1 and later put the base score in brackets


def checked_bytes(path: Path) -> bytes:
    """Return the content of a file of trees that XGBoost may be given.

    Raises
    ------
    NotAsWrittenError
        It is not what perpwalk writes.
    """
    content = file_bytes(path, MAX_BYTES)
    check(content)
    return content


def check(content: bytes) -> None:
    """Refuse content that is not that of a model as perpwalk has XGBoost write it."""
    whole = _object(ubjson.parse(content, {"trees": _trees}), "it", {"learner", "version"})
    version = whole["version"]
    if not isinstance(version, list) or list(map(type, version)) != [int] * 3:
        raise NotAsWrittenError("does not say which version of XGBoost wrote it")
    learner = _object(
        whole["learner"], "learner",
        {"attributes", "feature_names", "feature_types", "gradient_booster",
         "learner_model_param", "objective"},
    )  # fmt: skip
    for name in ("attributes", "feature_names", "feature_types"):
        _nothing(learner[name], name)
    features = _features(learner["learner_model_param"])
    objective = _object(learner["objective"], "objective", {"name", "reg_loss_param"})
    _is(objective["name"], "binary:logistic", "objective.name")
    _is(objective["reg_loss_param"], {"scale_pos_weight": "1"}, "reg_loss_param")
    booster = _object(learner["gradient_booster"], "gradient_booster", {"model", "name"})
    _is(booster["name"], "gbtree", "gradient_booster.name")
    _forest(booster["model"], features)


def _features(found: Any) -> int:
    """Check ``learner_model_param`` and return the number of features."""
    settings = _object(
        found, "learner_model_param",
        {"base_score", "boost_from_average", "num_class", "num_feature", "num_target"},
    )  # fmt: skip
    for name, value in {"boost_from_average": "1", "num_class": "0", "num_target": "1"}.items():
        _is(settings[name], value, f"learner_model_param.{name}")
    score, features = settings["base_score"], settings["num_feature"]
    match = _NUMBER.fullmatch(score) if isinstance(score, str) else None
    try:
        probable = match is not None and 0 < float(match[1]) < 1
    except ValueError:
        probable = False
    if not probable:
        raise NotAsWrittenError("has a base_score that is no probability")
    if not isinstance(features, str) or not _COUNT.fullmatch(features):
        raise NotAsWrittenError("does not say on how many features it was fitted")
    if not 1 <= int(features) <= MAX_FEATURES:
        raise NotAsWrittenError(f"says that it was fitted on {int(features):,} features")
    return int(features)


def _forest(found: Any, features: int) -> None:
    names = {"gbtree_model_param", "iteration_indptr", "tree_info", "trees"}
    if isinstance(found, dict) and "cats" in found:  # 3.1 and later
        names.add("cats")
        nothing: dict[str, Any] = {"enc": [], "feature_segments": [], "sorted_idx": []}
        _is(found["cats"], nothing, "cats")
    model = _object(found, "model", names)
    trees: Trees = model["trees"]
    count = len(trees.sizes)
    counts = {"num_parallel_tree": "1", "num_trees": str(count)}
    _is(model["gbtree_model_param"], counts, "gbtree_model_param")
    _is(model["iteration_indptr"], list(range(count + 1)), "iteration_indptr")
    _is(model["tree_info"], [0] * count, "tree_info")
    if count:
        _check_nodes(trees, features)


# ── the trees as they are written ────────────────────────────────────────────────────────────────

# A tree's parts in their order, and the type of the numbers of each.
_PARTS = {
    "base_weights": "d", "categories": "l", "categories_nodes": "l", "categories_segments": "L",
    "categories_sizes": "L", "default_left": "U", "id": "", "left_children": "l",
    "loss_changes": "d", "parents": "l", "right_children": "l", "split_conditions": "d",
    "split_indices": "l", "split_type": "U", "sum_hessian": "d",
}  # fmt: skip
_TYPES: Mapping[str, np.dtype[Any]] = {
    "d": np.dtype(">f4"),
    "l": np.dtype(">i4"),
    "U": np.dtype("u1"),
}


@dataclass(frozen=True)
class _Column:
    """Numbers of a tree's nodes: what stands before them, up to their count."""

    name: str
    type: np.dtype[Any]
    before_number: bytes  # of the tree, where that stands in between
    before: bytes

    def header(self, number: int) -> bytes:
        if not self.before_number:
            return self.before
        return self.before_number + ubjson.whole(number) + self.before


def _columns() -> tuple[_Column, ...]:
    found, before_number, before = [], b"", b"{"
    for name, kind in _PARTS.items():
        if name == "id":
            before_number, before = before + ubjson.key(name), b""
            continue
        before += ubjson.key(name) + f"[${kind}#L".encode()
        if name.startswith("categories"):  # never any
            before += bytes(8)
        else:
            found.append(_Column(name, _TYPES[kind], before_number, before))
            before_number = before = b""
    return tuple(found)


_COLUMNS = _columns()
_DIGITS = rb"SL\x00{7}(.)([0-9]{1,9})"
_TAIL = re.compile(
    re.escape(ubjson.key("tree_param") + b"{" + ubjson.key("num_deleted") + ubjson.text("0"))
    + re.escape(ubjson.key("num_feature")) + _DIGITS + re.escape(ubjson.key("num_nodes")) + _DIGITS
    + re.escape(ubjson.key("size_leaf_vector") + ubjson.text("1") + b"}}"),
    re.DOTALL,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Trees:
    """The nodes of all trees, tree after tree.

    Attributes
    ----------
    sizes
        int64, shape (trees,): how many nodes each has.
    features
        What each tree says of the number of features.
    columns
        By name, shape (nodes of all trees,).
    """

    sizes: IntArray
    features: frozenset[int]
    columns: dict[str, npt.NDArray[Any]]


def _trees(reader: ubjson.Reader) -> Trees:
    """Read the array of trees, and move the reader behind it."""
    reader.expect(b"[")
    parts: list[list[bytes]] = [[] for _ in _COLUMNS]
    sizes, features = [], set()
    for number in range(reader.count()):
        nodes, told = _tree(reader, number, parts)
        sizes.append(nodes)
        features.add(told)
    columns = {
        column.name: np.frombuffer(b"".join(part), column.type)
        for column, part in zip(_COLUMNS, parts, strict=True)
        if sizes
    }
    return Trees(np.array(sizes, dtype=np.int64), frozenset(features), columns)


def _tree(reader: ubjson.Reader, number: int, parts: list[list[bytes]]) -> tuple[int, int]:
    """Read one tree into ``parts``; return how many nodes it has, and its number of features."""
    content, at = reader.content, reader.at
    start = at + len(_COLUMNS[0].header(number))
    count = content[start : start + 8]  # what the first column says; the others must agree
    nodes = int.from_bytes(count)
    if not 0 < nodes <= len(content) - at:
        raise reader.wrong(f"says that tree {number} has {nodes:,} nodes")
    for column, part in zip(_COLUMNS, parts, strict=True):
        header = column.header(number) + count
        if not content.startswith(header, at):
            raise reader.wrong(f"holds no {column.name} of {nodes:,} nodes in tree {number}")
        start = at + len(header)
        at = start + nodes * column.type.itemsize
        part.append(content[start:at])
    tail = _TAIL.match(content, at)  # and so nothing before it was cut short
    if tail is None or len(tail[2]) != tail[1][0] or len(tail[4]) != tail[3][0]:
        raise reader.wrong(f"does not say of tree {number} what XGBoost says")
    if int(tail[4]) != nodes:
        raise reader.wrong(f"counts the nodes of tree {number} in two ways")
    reader.at = tail.end()
    return nodes, int(tail[2])


# ── the trees as trees ───────────────────────────────────────────────────────────────────────────


def _check_nodes(trees: Trees, features: int) -> None:
    """Refuse numbers out of range, and whatever is no tree: each node has one way to it."""
    if trees.features != {features}:
        raise NotAsWrittenError("holds trees that were fitted on other features")
    for column in _COLUMNS:
        if column.type.kind == "f" and not np.isfinite(trees.columns[column.name]).all():
            raise NotAsWrittenError(f"holds {column.name} that are not finite")
    for name, most in {"default_left": 1, "split_type": 0, "split_indices": features - 1}.items():
        values = trees.columns[name]
        if values.min() < 0 or values.max() > most:
            raise NotAsWrittenError(f"holds {name} beyond 0 to {most}")
    sizes = trees.sizes
    left, right, parents = (
        trees.columns[name].astype(np.int64)
        for name in ("left_children", "right_children", "parents")
    )
    roots = np.cumsum(sizes) - sizes
    root = np.repeat(roots, sizes)  # of each node
    own = np.arange(len(root)) - root  # its number in its tree
    inner = left != -1
    child, parent = np.concatenate([left[inner], right[inner]]), np.tile(own[inner], 2)
    end = np.tile(np.repeat(sizes, sizes)[inner], 2)
    if (right[~inner] != -1).any() or (child <= parent).any() or (child >= end).any():
        raise NotAsWrittenError("holds a child that lies before its parent or outside its tree")
    place = child + np.tile(root[inner], 2)
    ways = np.bincount(place, minlength=len(root))
    ways[roots] += 1
    if (ways != 1).any() or (parents[place] != parent).any() or (parents[roots] != NO_PARENT).any():
        raise NotAsWrittenError("holds nodes that make no tree")
    _check_depth(root + left, root + right, inner, roots)


def _check_depth(
    left: IntArray, right: IntArray, inner: npt.NDArray[np.bool_], level: IntArray
) -> None:
    """Refuse trees deeper than any configuration allows; ``level`` are the roots."""
    for _ in range(MAX_DEPTH):
        level = level[inner[level]]
        if not len(level):
            return
        level = np.concatenate([left[level], right[level]])
    raise NotAsWrittenError(f"holds a tree of more than {MAX_DEPTH} levels")


# ── values ───────────────────────────────────────────────────────────────────────────────────────


def _object(found: Any, name: str, names: set[str]) -> dict[str, Any]:
    if not isinstance(found, dict) or found.keys() != names:
        raise NotAsWrittenError(f"has other parts than XGBoost writes ({name})")
    return found


def _nothing(found: Any, name: str) -> None:
    if found not in ({}, []):
        raise NotAsWrittenError(f"says something as {name}, where perpwalk says nothing")


def _is(found: Any, wanted: Any, name: str) -> None:
    if found != wanted:
        raise NotAsWrittenError(f"says {str(found)[:40]!r} as {name}")
