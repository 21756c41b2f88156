"""The tables of a tree ensemble, built from the lists in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...base.checks import shown
from ...base.structs import struct
from ...errors import GraphError
from .long_lists import Texts, integers
from .model import Array

MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "LEAF")
"""The comparisons of nodes, in the order of the numbers that :func:`built` takes."""
LEQ, LT, GTE, GT, EQ, NEQ, LEAF, MEMBER = range(8)


@struct(frozen=True)
class Nodes:
    """The nodes as a file lists them: their tree and number in it, what they compare, and where they lead.

    ``sets`` are the sets of numbers of nodes with the mode ``MEMBER``, in their order.
    """

    tree: Array
    number: Array
    feature: Array
    threshold: Array
    mode: Array
    true: Array
    false: Array
    missing: Array
    sets: tuple[Array, ...] = ()


@struct(frozen=True)
class Trees:
    """The tables that :mod:`lucid.graph.ops.trees` takes.

    Attributes
    ----------
    leaf
        For each node of the file the number of its leaf; -1 if it is not one.
    """

    roots: Array
    feature: Array
    threshold: Array
    children: Array
    missing: Array
    leaf: Array
    depth: int

    @property
    def leaves(self) -> int:
        """The number of leaves."""
        return int(self.leaf.max(initial=-1)) + 1


class Places:
    """The positions of nodes, given by tree and number."""

    def __init__(self, tree: Array, number: Array) -> None:
        self.begins = _runs(tree)
        self.trees, self.counts = tree[self.begins], np.diff(self.begins, append=len(tree))
        counted = np.arange(len(tree), dtype=np.int32)
        counted -= np.repeat(self.begins.astype(np.int32), self.counts)
        self.in_order = bool((self.trees[1:] > self.trees[:-1]).all() and (number == counted).all())
        """Whether trees come one after another, the nodes of each numbered from 0, as most files have them."""
        if not self.in_order:
            self.span = int(number.max(initial=0)) + 1
            keys = tree.astype(np.int64) * self.span + number
            self.order = np.argsort(keys, kind="stable")
            self.keys = keys[self.order]
            if (self.keys[1:] == self.keys[:-1]).any():
                raise GraphError("two nodes of a tree have the same number")

    def of(self, tree: Array, number: Array, what: str) -> Array:
        """The positions of these nodes; ``what`` describes them in an error."""
        places, known = self._in_order(tree, number) if self.in_order else self._anywhere(tree, number)
        if not known:
            raise GraphError(f"{what} names a node that there is not")
        return places

    def _in_order(self, tree: Array, number: Array) -> tuple[Array, bool]:
        if not len(self.trees):
            return tree, not len(tree)
        runs = _runs(tree)
        named = np.minimum(np.searchsorted(self.trees, tree[runs]), len(self.trees) - 1)
        lengths = np.diff(runs, append=len(tree))
        begins, counts = (np.repeat(one[named], lengths) for one in (self.begins, self.counts))
        known = np.array_equal(self.trees[named], tree[runs]) and bool(((number >= 0) & (number < counts)).all())
        return begins + number, known

    def _anywhere(self, tree: Array, number: Array) -> tuple[Array, bool]:
        wanted = tree.astype(np.int64) * self.span + number
        found = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return self.order[found], not (number < 0).any() and bool((self.keys[found] == wanted).all())


def _runs(values: Array) -> Array:
    """The starts of runs of equal values."""
    begins = np.flatnonzero(values[1:] != values[:-1]) + 1
    return np.append(0, begins) if len(values) else begins


def distinct(values: Array) -> Array:
    """The distinct values in order; fast if equal values form long runs."""
    return np.unique(values[_runs(values)])


def numbered(values: Array, among: Array) -> Array:
    """The index of each value in a sorted list; fast if equal values form long runs."""
    runs = _runs(values)
    return np.repeat(np.searchsorted(among, values[runs]), np.diff(runs, append=len(values)))


def modes(names: Sequence[str]) -> Array:
    """The numbers of comparisons, by name."""
    listed = names if isinstance(names, Texts) else Texts.of(name.encode() for name in names)
    codes = {name: number for number, name in enumerate(MODES)}
    unknown = [name for name in listed.different if name not in codes]
    if unknown:
        raise GraphError(f"a node compares by {shown(unknown[0])}, which is not known")
    return np.array([codes[name] for name in listed.different], np.int8)[listed.numbers]


def built(nodes: Nodes, places: Places) -> Trees:
    """The tables, in which all comparisons are ``<=``, some with a neighbouring threshold or swapped children."""
    inner = (nodes.mode != LEAF).nonzero()[0]
    number = _numbers_in_tables(nodes.mode)
    tree = nodes.tree[inner]
    true, false = (places.of(tree, one[inner], "a branch") for one in (nodes.true, nodes.false))
    roots = number[_roots(nodes.tree, true, false)]
    roots, order, children, depth = _by_level(roots, np.stack([number[true], number[false]], 1))
    inner = inner[order]
    mode, bound, missing = nodes.mode[inner], nodes.threshold[inner], nodes.missing[inner].astype(bool)
    below, lowest = _below(bound), bound == -np.inf  # than which nothing is smaller
    if (lowest & np.isin(mode, (LT, GTE))).any():
        raise GraphError("a node asks whether a number is less than minus infinity")
    swapped = np.isin(mode, (GTE, GT, NEQ))
    children[swapped] = children[swapped, ::-1]
    to_first = missing ^ swapped  # of NaN, which no comparison but "not equal" is true of
    to_first[(mode == NEQ) & ~missing] = False
    feature, threshold = nodes.feature[inner], np.where(np.isin(mode, (LT, GTE)), below, bound)
    # v == b: where v <= b, one more node asks whether v <= what is below b
    equal = np.flatnonzero(np.isin(mode, (EQ, NEQ)) & ~lowest)
    more = np.stack([children[equal, 1], children[equal, 0]], 1)
    children[equal, 0] = len(feature) + np.arange(len(equal))
    tables = (
        np.concatenate([feature, feature[equal]]).astype(np.int32), np.concatenate([threshold, below[equal]]),
        np.concatenate([children, more]), np.concatenate([to_first, np.zeros(len(equal), bool)]),
    )  # fmt: skip
    depth = 2 * depth if equal.size else depth
    if nodes.sets:
        asking = np.flatnonzero(mode == MEMBER)
        in_file = asking[np.argsort(inner[asking])]
        tables, levels = _with_sets(tables, dict(zip(in_file.tolist(), nodes.sets, strict=True)))
        depth *= levels
    return Trees(roots, *tables, -1 - number, depth)


Tables = tuple[Array, Array, Array, Array]
"""Features, thresholds, children, and where NaN goes."""


def _below(bound: Array) -> Array:
    """The next smaller numbers."""
    found: Array = np.nextafter(bound, np.array(-np.inf, bound.dtype))
    return found


def _with_sets(tables: Tables, sets: Mapping[int, Array]) -> tuple[Tables, int]:
    """The tables with member comparisons replaced by a binary search among the ends of the set's elements.

    Between consecutive ends, numbers alternate between being members and not: an element ``b`` lies between the number
    just below it and itself. Also returns how many levels may take the place of one.
    """
    feature, threshold, children, missing = (list(one) for one in tables)
    for place, values in sets.items():
        if (values == -np.inf).any():
            raise GraphError("a node asks whether a number is one of some of which one is minus infinity")
        known = np.unique(values) if len(values) else np.array([-np.inf], values.dtype)
        ends, (found, other) = np.stack([_below(known), known], 1).ravel(), children[place]
        to_first, pending = missing[place], [(place, 0, len(ends))]
        for node, low, high in pending:
            middle, sides = (low + high) // 2, list[int]()
            for first, last in ((low, middle), (middle + 1, high)):
                if first == last:  # between two ends
                    sides.append(found if first % 2 else other)
                    continue
                sides.append(len(feature))
                pending.append((len(feature), first, last))
                for table, value in ((feature, feature[place]), (threshold, 0), (children, 0), (missing, False)):
                    table.append(value)
            threshold[node], children[node] = ends[middle], np.array(sides)
            missing[node] = to_first and middle == len(ends) - 1
    most = max(map(len, sets.values()), default=0)
    made = tuple(
        np.array(new, old.dtype) for new, old in zip((feature, threshold, children, missing), tables, strict=True)
    )
    return (made[0], made[1], made[2], made[3]), max(2, (2 * most).bit_length())


def _numbers_in_tables(mode: Array) -> Array:
    """For each inner node its index in the tables; for each leaf the number that stands for it among children."""
    inner = mode != LEAF
    last = np.cumsum(inner, dtype=np.int32) - 1
    return np.where(inner, last, last - np.arange(len(mode), dtype=np.int32))


def _by_level(roots: Array, children: Array) -> tuple[Array, Array, Array, int]:
    """The roots and children with nodes numbered level by level, the original node of each, and the number of levels.

    So all rows traverse the tables from front to back.
    """
    levels, below, passed = [roots[roots >= 0]], [], 0
    while levels[-1].size and passed <= len(children):
        passed += levels[-1].size
        below.append(children[levels[-1]])
        levels.append(below[-1][below[-1] >= 0])
    if passed != len(children):
        raise GraphError("a node of a tree is reached in two ways, or in none")
    order, found = np.concatenate(levels), np.concatenate([children[:0], *below])
    roots = np.where(roots >= 0, np.cumsum(roots >= 0, dtype=np.int32) - 1, roots)
    found[found >= 0] = np.arange(levels[0].size, len(children), dtype=np.int32)
    return roots, order, found, len(below)


def _roots(tree: Array, *reached: Array) -> Array:
    """The root of each tree, in the order of the trees' numbers."""
    first = np.ones(len(tree), bool)
    for nodes in reached:
        first[nodes] = False
    found = np.flatnonzero(first)
    found = found[np.argsort(tree[found], kind="stable")]
    if not np.array_equal(tree[found], distinct(tree)):
        raise GraphError("a tree has not one root")
    return found


def listed(attributes: Mapping[str, object], prefix: str, thresholds: Array) -> Nodes:
    """The nodes of ensembles as of version 1: lists of numbers for all trees."""

    def ints(name: str, default: int | None = None) -> Array:
        given = attributes.get(prefix + name)
        if given is None and default is not None:
            return np.full(len(thresholds), default, np.int32)
        array = integers(given if given is not None else ())
        if array.shape != thresholds.shape:
            raise GraphError(f"{prefix}{name} has {array.size} numbers for {thresholds.size} nodes")
        return array

    names = attributes.get(prefix + "modes", ())
    assert isinstance(names, Sequence)
    if len(names) != len(thresholds):
        raise GraphError(f"{prefix}modes has {len(names)} names for {thresholds.size} nodes")
    return Nodes(
        ints("treeids"), ints("nodeids"), ints("featureids"), thresholds, modes(names), ints("truenodeids"),
        ints("falsenodeids"), ints("missing_value_tracks_true", 0),
    )  # fmt: skip
