"""Limits on what a file may expand to, as a few bytes can declare any number of elements."""

from __future__ import annotations

import math

from ...errors import GraphError

LARGEST = 1 << 28
"""The most elements that an array made while a model is read or built may have."""
LARGEST_TABLE = 1 << 26
"""The most elements of a table that an operator becomes."""

UNROLLED = 25_000
"""The most nodes that unrolled graphs may become: loops by their iterations, sequences by their values."""
ITERATION = 10
"""What unrolling an empty graph counts as, in nodes."""


class Allowance:
    """What a model may still expand to while it is read or built: bytes of arrays, and nodes of unrolled graphs."""

    def __init__(self, nbytes: int = 1 << 30) -> None:
        self.left = nbytes
        self.nodes = UNROLLED

    def take(self, nbytes: float) -> bool:
        """Whether ``nbytes`` more are allowed; if so, they are deducted."""
        if nbytes > self.left:
            return False
        self.left -= int(nbytes)
        return True

    def unroll(self, count: int) -> bool:
        """Whether a graph of ``count`` nodes may be unrolled once more; the nodes are deducted."""
        self.nodes -= ITERATION + count
        return self.nodes >= 0


def checked(*shape: int) -> tuple[int, ...]:
    """The shape of a table that an operator becomes; an error if it is too large."""
    if any(dim < 0 for dim in shape) or math.prod(shape) > LARGEST_TABLE:
        raise GraphError(f"a table of shape {shape} is not made while a model is built")
    return shape
