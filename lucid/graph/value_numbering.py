"""Value numbering: which nodes of a graph under construction compute the same."""

from __future__ import annotations

from collections.abc import Hashable

from .builder import Builder
from .ir import Node
from .region import signs


class ValueNumbering:
    """Numbers the nodes of a builder, so that nodes computing the same from the same operands share a number.

    Numbers are cached: each new node is examined once.
    """

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._numbers: dict[str, int] = {}
        self._known: dict[Hashable, int] = {}

    def number(self, name: str) -> int:
        """The number of a node."""
        if name not in self._numbers:
            position = self._builder.position
            for later in list(position)[len(self._numbers) :]:
                self._numbers[later] = self._known.setdefault(self._key(later), len(self._known))
        return self._numbers[name]

    def _key(self, name: str) -> Hashable:
        node: Node = self._builder.dag.nodes[name]["node"]
        if not node.op.pure:
            return name
        feeds = tuple((self._numbers[value.node], value.output) for value in self._builder.inputs_of(name))
        return node.op, node.attrs, signs(node.attrs), feeds
