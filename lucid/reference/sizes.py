"""Data-dependent sizes, determined by the references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..base.arrays import Array
from ..graph.ir import Graph, Value
from ..graph.stages import found_sizes, number, stages
from .evaluator import reference_values


def reference_sizes(
    graph: Graph,
    sizes: Mapping[str, int],
    inputs: Sequence[Array],
    parameters: Mapping[str, Array] | None = None,
    known: Mapping[Value, Array] | None = None,
) -> Mapping[str, int]:
    """The sizes, extended by the data-dependent ones of the graph; for ``known`` see :func:`reference_values`."""
    if not found_sizes(graph):
        return sizes
    found = dict(sizes)
    values = {Value(name): x for name, x in zip(graph.inputs, inputs, strict=True)}
    for new, part in stages(graph, sizes):
        found.update((symbol, number(graph, count, values)) for symbol, count in new.items())
        given = {value: x for value, x in (known or {}).items() if value.node in part.graph}
        made = reference_values(part.graph.bind(found), [values[value] for value in part.inputs], parameters, given)
        values.update(zip(part.outputs, (made[value] for value in part.graph.results), strict=True))
    return found
