"""Tree ensembles of version 5 of ``ai.onnx.ml``, where nodes and leaves of all trees are in flat lists."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...errors import GraphError
from .model import Array
from .trees import LEAF, MEMBER, Nodes

MEMBERS = 6
"""The number of the comparison that asks whether a value is a member of a set."""


def listed_once(attributes: Mapping[str, object]) -> tuple[Nodes, Array]:
    """The nodes, followed by a leaf for each reference to one; and, for each of these, the leaf in the file."""
    splits = _array(attributes, "nodes_splits")
    count, leaves = len(splits), len(_array(attributes, "leaf_weights"))
    mode = _ints(attributes, "nodes_modes", count)
    if not np.isin(mode, range(MEMBERS + 1)).all():
        raise GraphError(f"a node compares by {mode[~np.isin(mode, range(MEMBERS + 1))][0]}, which is not known")
    ends, named = list[Array](), list[Array]()
    for side in ("true", "false"):
        to = _ints(attributes, f"nodes_{side}nodeids", count)
        is_leaf = _ints(attributes, f"nodes_{side}leafs", count).astype(bool)
        if (to < 0).any() or (to >= np.where(is_leaf, leaves, count)).any():
            raise GraphError("a branch names a node or a leaf that there is not")
        began = count + sum(len(one) for one in named)
        named.append(to[is_leaf])
        to = to.copy()
        to[is_leaf] = began + np.arange(len(named[-1]))
        ends.append(to)
    (true, false), leaf = ends, np.concatenate(named)
    tree = _trees(_array(attributes, "tree_roots").astype(np.int64), true, false, count + len(leaf))
    nodes = Nodes(
        tree, np.arange(len(tree)), _padded(_ints(attributes, "nodes_featureids", count), len(leaf)),
        _padded(splits, len(leaf)), _padded(np.where(mode == MEMBERS, MEMBER, mode), len(leaf), LEAF),
        _padded(true, len(leaf)), _padded(false, len(leaf)),
        _padded(_ints(attributes, "nodes_missing_value_tracks_true", count, 0), len(leaf)),
        _sets(attributes, int(np.count_nonzero(mode == MEMBERS)), splits),
    )  # fmt: skip
    return nodes, leaf


def _array(attributes: Mapping[str, object], name: str) -> Array:
    """A list or a tensor of numbers, which must be present."""
    if attributes.get(name) is None:
        raise GraphError(f"attribute {name!r} is missing")
    array = np.asarray(attributes[name])
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise GraphError(f"attribute {name!r} is no list of numbers")
    return array


def _ints(attributes: Mapping[str, object], name: str, count: int, default: int | None = None) -> Array:
    if default is not None and not np.size(attributes.get(name) or ()):  # type: ignore[arg-type]  # a list, where it is there
        return np.full(count, default, np.int64)
    array = _array(attributes, name)
    if len(array) != count:
        raise GraphError(f"{name} has {len(array)} numbers for {count} nodes")
    return array.astype(np.int64)


def _padded(array: Array, more: int, value: int = 0) -> Array:
    return np.concatenate([array, np.full(more, value, array.dtype)])


def _trees(roots: Array, true: Array, false: Array, count: int) -> Array:
    """The tree of each node, and of each leaf after them."""
    tree, inner, level = np.full(count, -1, np.int64), len(true), roots
    if not len(roots) or (roots < 0).any() or (roots >= inner).any():
        raise GraphError("there is no tree, or one whose root is not there")
    if len(np.unique(roots)) < len(roots):
        raise GraphError("two trees have one root")
    tree[roots] = np.arange(len(roots))
    while len(level):
        below, of = np.concatenate([true[level], false[level]]), np.tile(tree[level], 2)
        if (tree[below] >= 0).any() or len(np.unique(below)) < len(below):
            raise GraphError("a node of a tree is reached in two ways")
        tree[below] = of
        level = below[below < inner]
    if (tree < 0).any():
        raise GraphError("a node is in no tree")
    return tree


def _sets(attributes: Mapping[str, object], count: int, splits: Array) -> tuple[Array, ...]:
    """The sets of numbers of member comparisons, separated by NaN in the file."""
    if not count and attributes.get("membership_values") is None:
        return ()
    values = _array(attributes, "membership_values").astype(splits.dtype)
    ends = np.flatnonzero(np.isnan(values)) if values.dtype.kind == "f" else values[:0]
    if len(ends) != count or (len(ends) and ends[-1] != len(values) - 1):
        raise GraphError(f"there are {len(ends)} sets of numbers for {count} nodes that ask for one")
    return tuple(values[first:last] for first, last in zip(np.append(0, ends[:-1] + 1), ends, strict=True))
