"""Which lowering runs each node, and what is known of their times before anything is planned."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ...graph.ir import Node, Value
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


def result_seconds(
    node: Node, inputs: tuple[TensorType, ...], *, threads: int = 1, exact: bool = False
) -> float | None:
    """Predicted seconds until the caller has the result of a node, row by row.

    A result that lies otherwise is turned as it is copied. None where no lowering's prediction tells the one from the
    other.
    """
    (y,) = node.outputs
    found = choices(node, inputs, threads=threads, exact=exact)
    if y.order is not None:
        return found[0].way.seconds + seconds(Work(calls=1, near=2 * y.nbytes), this_machine())
    return next((choice.way.seconds for choice in found if choice.lowering.ordered), None)
