"""Fuses element-wise nodes that read one another, and sums of their results, into ``FusedLoop`` nodes.

Unlike in ``fuse_elementwise``, a value may have several readers. It is computed once and read while in the cache.
So the gradient of an activation, its sums for a bias or a normalisation, and products with it are a single walk through
memory; as are the new momentum of a parameter and the new parameter.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Final

from ...base.structs import struct
from ...graph.builder import Builder
from ...graph.facts import is_elementwise, parameter_only
from ...graph.ir import Graph, Node, Value
from ...graph.ops.fused import FUSED_LOOP, FusedAttrs, Instruction, LoopAttrs, Result, adds_up
from ...graph.types import Shape, is_float
from ..rewrite import Declined, joined_origin, note

LABEL = "fuse_loops"


@struct(frozen=True)
class LoopOptions:
    """``ops`` and ``operands``: the most that one loop may hold, and read or write."""

    ops: int = 32
    operands: int = 12


USUAL: Final = LoopOptions()


def fuse_loops(graph: Graph, options: LoopOptions = USUAL) -> Graph:
    """Join each element-wise node, sum or mean with the producers of its operands, if the shapes are equal.

    Sums of the same value are joined too. Two nodes are not joined if a path between them leads through a third node,
    which would have to run in between.
    """
    groups = _Groups(graph, options)
    for name in groups.candidates:
        groups.join_sources(name)
    return _rebuilt(graph, groups) if groups.any else graph


# ---------------------------------------------------------------- grouping


@struct
class _Group:
    """Nodes that run as one.

    Attributes
    ----------
    members
        Positions of the nodes, in order.
    before, after
        Groups that it reads directly, and that read it.
    reaches
        The groups that depend on it, and itself, as a bit set.
    """

    members: list[int]
    before: set[int] = field(default_factory=set)
    after: set[int] = field(default_factory=set)
    reaches: int = 0


class _Groups:
    """A partition of a graph's nodes into groups, each identified by the position of one of its nodes."""

    def __init__(self, graph: Graph, options: LoopOptions) -> None:
        self.graph, self.options = graph, options
        self.order = graph.order
        self.position = {name: i for i, name in enumerate(self.order)}
        self.group = list(range(len(self.order)))
        self.groups = {i: _Group([i]) for i in range(len(self.order))}
        fixed = parameter_only(graph)
        shapes = ((name, _loop_shape(graph, name)) for name in self.order if name not in fixed)
        self.candidates: dict[str, Shape] = {name: shape for name, shape in shapes if shape}
        self.kept = set(graph.results)
        self._summed: dict[Value, list[str]] = {}
        for name, feeds in graph.feeds.items():
            for value in feeds:
                self._link(self.position[value.node], self.position[name])
        for i in reversed(range(len(self.order))):
            self.groups[i].reaches = 1 << i
            for j in self.groups[i].after:
                self.groups[i].reaches |= self.groups[j].reaches

    def _link(self, source: int, target: int) -> None:
        self.groups[source].after.add(target)
        self.groups[target].before.add(source)

    @property
    def any(self) -> bool:
        return any(len(group.members) > 1 for group in self.groups.values())

    def names(self, key: int) -> list[str]:
        return [self.order[i] for i in self.groups[key].members]

    def join_sources(self, name: str) -> None:
        """Join a node with the producers of its operands, and with other sums of the same value."""
        shape, adds = self.candidates[name], adds_up(self.graph.node(name))
        for value in dict.fromkeys(self.graph.feeds[name]):
            if self.graph.type(value).shape != shape:
                continue
            if self.candidates.get(value.node) == shape and not adds_up(self.graph.node(value.node)):
                self._try(value.node, name)
            readers = self._summed.setdefault(value, [])
            for other in readers if adds else ():
                self._try(other, name)
            if adds:
                readers.append(name)

    def _try(self, first: str, second: str) -> None:
        a, b = self.group[self.position[first]], self.group[self.position[second]]
        if a == b:
            return
        reason = self._apart(a, b)
        if reason:
            note(LABEL, second, Declined(f"{first} and {second} stay apart: {reason}"), first)
        else:
            self._join(a, b)

    def _apart(self, a: int, b: int) -> str:
        """Why two groups cannot be joined; empty if they can."""
        one, two = self.groups[a], self.groups[b]
        if self._between(one, b) or self._between(two, a) or self._sum_read(one, b) or self._sum_read(two, a):
            return "what is added up of one, or computed of it by another node, the other reads"
        members = [*one.members, *two.members]
        if sum(map(self._ops, members)) > self.options.ops:
            return f"a loop holds at most {self.options.ops} ops"
        if self._operands(members) > self.options.operands:
            return f"a loop reads and writes at most {self.options.operands} arrays"
        return ""

    def _between(self, one: _Group, other: int) -> bool:
        return any(key != other and self.groups[key].reaches >> other & 1 for key in one.after)

    def _sum_read(self, one: _Group, other: int) -> bool:
        names = (self.order[i] for i in one.members if other in one.after)
        sums = (name for name in names if adds_up(self.graph.node(name)))
        return any(
            self.group[self.position[reader]] == other for name in sums for reader in self.graph.dag.successors(name)
        )

    def _ops(self, position: int) -> int:
        attrs = self.graph.node(self.order[position]).attrs
        return len(attrs.program) if isinstance(attrs, FusedAttrs) else 1

    def _operands(self, members: Iterable[int]) -> int:
        names = {self.order[i] for i in members}
        read = {value for name in names for value in self.graph.feeds[name] if value.node not in names}
        return len(read) + sum(self.leaves(name, names) for name in names)

    def leaves(self, name: str, names: Iterable[str]) -> bool:
        """Whether any other than these nodes reads a node's result."""
        inside = names if isinstance(names, set) else set(names)
        return Value(name) in self.kept or not inside.issuperset(self.graph.dag.successors(name))

    def _join(self, a: int, b: int) -> None:
        one, two = self.groups[a], self.groups.pop(b)
        one.members = sorted((*one.members, *two.members))
        for i in two.members:
            self.group[i] = a
        for key in two.before | two.after:
            other = self.groups.get(key, one)
            for side in (other.before, other.after):
                if b in side:
                    side.remove(b)
                    side.add(a)
        one.before = (one.before | two.before) - {a, b}
        one.after = (one.after | two.after) - {a, b}
        reaches = one.reaches | two.reaches
        bits = 1 << a | 1 << b
        for group in self.groups.values():
            if group.reaches & bits:
                group.reaches |= reaches


def _loop_shape(graph: Graph, name: str) -> Shape:
    """The shape that a node loops over; empty if it cannot be part of a loop."""
    node = graph.node(name)
    if adds_up(node):
        type_ = graph.type(graph.feeds[name][0])
        return type_.shape if is_float(type_.dtype) else ()
    return node.outputs[0].shape if is_elementwise(node) else ()


# ---------------------------------------------------------------- the new graph


def _rebuilt(graph: Graph, groups: _Groups) -> Graph:
    builder, moved = Builder(), dict[Value, Value]()
    for key in _in_order(groups):
        names = groups.names(key)
        if len(names) == 1:
            inputs = [moved.get(v, v) for v in graph.inputs_of(names[0])]
            builder.add(graph.node(names[0]), inputs, names[0])
            continue
        attrs, inputs, results = _loop(graph, groups, names)
        origin = joined_origin(LABEL, [(name, graph.node(name).origin) for name in names])
        made = builder.emit(FUSED_LOOP, attrs, [moved.get(v, v) for v in inputs], name=names[-1], origin=origin)
        moved.update(zip(map(Value, results), made, strict=True))
    outputs = tuple(moved.get(v, v) for v in graph.outputs)
    updates = tuple((label, moved.get(v, v)) for label, v in graph.updates)
    return builder.freeze(graph.inputs, outputs, updates, graph.names)


def _in_order(groups: _Groups) -> Iterator[int]:
    """The groups in topological order, otherwise in the order of their last nodes."""
    waits = {key: len(group.before) for key, group in groups.groups.items()}
    ready = [(groups.groups[key].members[-1], key) for key, count in waits.items() if not count]
    heapq.heapify(ready)
    while ready:
        key = heapq.heappop(ready)[1]
        yield key
        for other in groups.groups[key].after:
            waits[other] -= 1
            if not waits[other]:
                heapq.heappush(ready, (groups.groups[other].members[-1], other))


def _loop(graph: Graph, groups: _Groups, names: list[str]) -> tuple[LoopAttrs, list[Value], list[str]]:
    """The program of these nodes, the values that it reads, and the nodes whose results it returns."""
    inside = set(names)
    reads = [value for name in names for value in graph.inputs_of(name) if value.node not in inside]
    number = {value: i for i, value in enumerate(dict.fromkeys(reads))}
    count, inputs = len(number), list(number)
    program: list[Instruction] = []
    results: list[tuple[Result, str]] = []
    for name in names:
        node = graph.node(name)
        operands = [number[value] for value in graph.inputs_of(name)]
        if adds_up(node):
            results.append((Result(operands[0], node.op.name, node.attrs), name))
            continue
        start = len(program)
        for step in _steps(node, len(operands)):
            there = [operands[i] if i < len(operands) else count + start + i - len(operands) for i in step.operands]
            program.append(Instruction(step.op, step.attrs, tuple(there)))
        number[Value(name)] = count + len(program) - 1
        if groups.leaves(name, inside):
            results.append((Result(number[Value(name)]), name))
    return LoopAttrs(count, tuple(program), tuple(r for r, _ in results)), inputs, [name for _, name in results]


def _steps(node: Node, operands: int) -> tuple[Instruction, ...]:
    if isinstance(node.attrs, FusedAttrs):
        return node.attrs.program
    return (Instruction(node.op.name, node.attrs, tuple(range(operands))),)
