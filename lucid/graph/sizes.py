"""How large the values of a graph from a file may be: what it declares must be in proportion to what it is given.

A file of a kilobyte can ask for a tensor of any size. Honest models make large values out of large inputs and many
parameters; so a value may take :data:`USUAL` bytes, or :data:`TIMES` as many as all inputs, parameters and constants
take together, whichever is more. Symbolic sizes count as one here: what a call with real sizes takes is compared with
the machine's memory before it runs.
"""

from __future__ import annotations

from ..errors import GraphError, ShapeError
from .dims import evaluate
from .ir import Graph
from .opdef import Attrs
from .types import MAX_BYTES, TensorType
from .verify import describe

USUAL = 1 << 32
TIMES = 1 << 12
"""See above; 4 GiB, and 4096."""

_GIVEN = ("Input", "Parameter", "Constant")


def check_sizes(graph: Graph) -> None:
    """Raise for a value out of proportion, and for a symbol that no input gives a size."""
    symbols = frozenset(graph.symbols)
    ones = dict.fromkeys(symbols, 1)
    given = sum(least_bytes(t, ones) for _, node in graph.nodes() if node.op.name in _GIVEN for t in node.outputs)
    most = min(max(USUAL, TIMES * given), MAX_BYTES)
    for name, node in graph.nodes():
        unknown = (_symbols(node.attrs) | {s for t in node.outputs for s in t.symbols}) - symbols
        if unknown:
            raise GraphError(f"{describe(name, node)}: no input has the symbolic dimension {min(unknown)!r}")
        if node.op.name in ("Input", "Parameter"):
            continue  # the caller brings it, or the file has it
        for type_ in node.outputs:
            if least_bytes(type_, ones) > most:
                raise GraphError(
                    f"{describe(name, node)}: a value of type {type_} takes at least {least_bytes(type_, ones):,} "
                    f"bytes, out of proportion to the {given:,} bytes of inputs, parameters and constants"
                )


def least_bytes(type_: TensorType, sizes: dict[str, int]) -> int:
    """Bytes of a value where every symbolic size is as given; axes of size 0 count as 1, for they may not stay so."""
    total = type_.dtype.itemsize
    for dim in type_.shape:
        try:
            total *= max(1, evaluate(dim, sizes))
        except ShapeError:  # divides by zero where the sizes are one
            continue
    return total


def _symbols(value: object) -> frozenset[str]:
    if isinstance(value, Attrs):
        return frozenset[str]().union(*(_symbols(item) for _, item in value.items()))
    if isinstance(value, tuple):
        return frozenset[str]().union(*map(_symbols, value))
    return getattr(value, "symbols", frozenset()) if not isinstance(value, str) else frozenset()
