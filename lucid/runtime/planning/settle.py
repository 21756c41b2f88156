"""What is decided of a concrete graph before any kernel is chosen: how its results lie in memory.

It is decided once. A graph that is settled stays as it is, so that what is run, profiled, tuned and verified is one
program (``docs/decisions/0023-a-program-is-decided-once.md``).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from ...graph.builder import with_nodes
from ...graph.ir import Graph, Node, Value
from ...graph.ops.shape import RESHAPE
from ...graph.types import TensorType
from .machine import this_machine
from .registry import Choice, choices, choose
from .work import Work, seconds


def as_read(name: str, node: Node, read: set[Value]) -> Node:
    """The node without the last outputs that nobody reads: as which its lowering is chosen."""
    outputs = len(node.outputs)
    while outputs > 1 and Value(name, outputs - 1) not in read:
        outputs -= 1
    return node if outputs == len(node.outputs) else replace(node, outputs=node.outputs[:outputs])


class Chooser:
    """The quickest choices by prediction, found once for nodes that are alike."""

    def __init__(self, threads: int, exact: bool) -> None:
        self.threads, self.exact = threads, exact
        self._alike: dict[Any, Choice] = {}

    def __call__(self, node: Node, types: tuple[TensorType, ...]) -> Choice:
        key = node.op, node.attrs, types, node.outputs
        if key not in self._alike:
            self._alike[key] = choose(node, types, threads=self.threads, exact=self.exact)
        return self._alike[key]


def settle(graph: Graph, chooser: Chooser) -> Graph:
    """The graph with the memory order of its results decided; itself where nothing changes."""
    changed = {}
    for name, node in graph.nodes():
        plain = _in_order(graph, name, node, chooser)
        if plain is not node:
            changed[name] = plain
    return with_nodes(graph, changed) if changed else graph


def _in_order(graph: Graph, name: str, node: Node, chooser: Chooser) -> Node:
    """A convolution that nobody reads but reshapes and the caller makes its result row-major, if that is quicker.

    Otherwise it lies channels last, and is turned when it is copied.
    """
    if not node.op.convolution or graph.channels_last:
        return node
    (y, *others), readers = node.outputs, graph.dag.successors(name)
    if others or y.order is None or any(graph.node(reader).op is not RESHAPE for reader in readers):
        return node
    types = tuple(graph.type(value) for value in graph.inputs_of(name))
    plain = replace(node, outputs=(y.with_order(None),))
    turn = seconds(Work(calls=1, near=2 * y.nbytes), this_machine())
    found = choices(plain, types, threads=chooser.threads, exact=chooser.exact)
    quickest = min((choice.way.seconds for choice in found if choice.lowering.ordered), default=math.inf)
    return plain if quickest < chooser(node, types).way.seconds + turn else node
