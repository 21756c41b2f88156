"""Limits on the values of a graph from a file: their sizes must be in proportion to the graph's inputs.

A file of a kilobyte can declare a tensor of any size. Ordinary models compute large values from large inputs and many
parameters. So a value may take :data:`USUAL` bytes, or :data:`TIMES` as many as all inputs, parameters and constants
together, whichever is more. A window, and the windows of an adaptive pooling, may have :data:`PLACES` places or as many
as the image. Symbolic sizes count as one here: the memory for actual sizes is checked before each run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ..errors import GraphError, ShapeError
from ..graph.dims import Dim, evaluate
from ..graph.facts import read_values, symbols_of
from ..graph.ir import Graph, Node, Value
from ..graph.opdef import Attrs
from ..graph.ops.avgpool import AdaptiveAttrs, AdaptiveGradAttrs
from ..graph.region import walk
from ..graph.stages import found_sizes
from ..graph.types import MAX_BYTES, TensorType
from ..graph.verify import describe

USUAL = 1 << 28
TIMES = 1 << 14
PLACES = 1 << 16
"""See above; 256 MiB, 16384 times, and 256 by 256."""


def check_sizes(graph: Graph) -> None:
    """Raise for a value out of proportion, and for a symbol whose size neither an input nor data determines."""
    sizes = found_sizes(graph)
    if named := sorted(sizes.keys() & set(graph.symbols)):
        raise GraphError(f"an input has the size {named[0]!r}, which data decides")
    symbols = frozenset(graph.symbols) | sizes.keys()
    ones = dict.fromkeys(symbols, 1)
    given = sum(least_bytes(t, ones) for _, node in graph.nodes() if node.op.source for t in node.outputs)
    for _, inner in walk(graph):
        _check_sizes(inner, symbols, ones, given)


def _check_sizes(graph: Graph, symbols: frozenset[str], ones: Mapping[str, int], given: int) -> None:
    """Check one graph, in proportion to the bytes ``given`` to the whole."""
    most, read = min(max(USUAL, TIMES * given), MAX_BYTES), read_values(graph)
    for name, node in graph.nodes():
        unknown = symbols_of(node) - symbols
        if unknown:
            raise GraphError(f"{describe(name, node)}: no input has the symbolic dimension {min(unknown)!r}")
        if node.op.source in ("input", "parameter"):
            continue  # the caller passes it, or the file contains it
        inputs = [graph.type(value) for value in graph.inputs_of(name)]
        places, image = _places(node, inputs, ones), _area(inputs[0].shape[2:], ones) if inputs else 0
        if places > max(PLACES, image):
            raise GraphError(f"{describe(name, node)}: {places:,} places, out of proportion to an image of {image:,}")
        for output, type_ in enumerate(node.outputs):
            made = output == 0 or Value(name, output) in read
            if made and least_bytes(type_, ones) > most:
                raise GraphError(
                    f"{describe(name, node)}: a value of type {type_} takes at least {least_bytes(type_, ones):,} "
                    f"bytes, out of proportion to the {given:,} bytes of inputs, parameters and constants"
                )


def _places(node: Node, inputs: Sequence[TensorType], sizes: Mapping[str, int]) -> int:
    """The number of places in a window, or the number of windows if that is an attribute."""
    found = [_area(kernel, sizes) for kernel in _kernels(node.attrs)]
    if isinstance(node.attrs, AdaptiveAttrs | AdaptiveGradAttrs):
        pooled = node.outputs if isinstance(node.attrs, AdaptiveAttrs) else inputs
        found += [_area(t.shape[2:], sizes) for t in pooled]
    if node.op.windowed:
        found += [
            _area(t.shape[2:], sizes) for slot, t in zip(node.op.inputs, inputs, strict=False) if slot == "weight"
        ]
    return max(found, default=0)


def _kernels(attrs: Attrs) -> list[tuple[Dim, ...]]:
    """The kernel sizes among attributes, and attributes of attributes."""
    found: list[tuple[Dim, ...]] = []
    for name, value in attrs.items():
        found += [value] if name == "kernel" else _kernels(value) if isinstance(value, Attrs) else []
    return found


def _area(shape: Sequence[Dim], sizes: Mapping[str, int]) -> int:
    """The product of the sizes."""
    return math.prod(max(1, _least(dim, sizes)) for dim in shape)


def least_bytes(type_: TensorType, sizes: Mapping[str, int]) -> int:
    """Bytes of a value for these symbolic sizes; axes of size 0 count as 1, as others sizes may be larger."""
    return type_.dtype.itemsize * math.prod(max(1, _least(dim, sizes)) for dim in type_.shape)


def _least(dim: Dim, sizes: Mapping[str, int]) -> int:
    try:
        return evaluate(dim, sizes)
    except ShapeError:  # a division by zero for these sizes
        return 1
