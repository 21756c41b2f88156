"""How much is made of a file beyond what stands in it: a few bytes can ask for any number of elements."""

from __future__ import annotations

import math

from ...errors import GraphError

LARGEST = 1 << 28
"""Elements that an array may have which is made while a model is read or built."""
LARGEST_TABLE = 1 << 26
"""Elements of a table that an operator becomes."""


WRITTEN_OUT = 25_000
"""Nodes that graphs may become which are written out: once for each turn of a loop, or value of a sequence."""
TURN = 10
"""Nodes that writing one of nothing takes as long as."""


class Room:
    """What is left for a model that is read or built: bytes of arrays that are made, and nodes that are written out."""

    def __init__(self, nbytes: int = 1 << 30) -> None:
        self.left = nbytes
        self.nodes = WRITTEN_OUT

    def take(self, nbytes: float) -> bool:
        """Whether there is room for so many bytes more; then there is less."""
        if nbytes > self.left:
            return False
        self.left -= int(nbytes)
        return True

    def write_out(self, count: int) -> bool:
        """Whether a graph of so many nodes may be written out once more; then there is less."""
        self.nodes -= TURN + count
        return self.nodes >= 0


def checked(*shape: int) -> tuple[int, ...]:
    """The shape of a table that an operator becomes; refused where that is large."""
    if any(dim < 0 for dim in shape) or math.prod(shape) > LARGEST_TABLE:
        raise GraphError(f"a table of shape {shape} is not made while a model is built")
    return shape
