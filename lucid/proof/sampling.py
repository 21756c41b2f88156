"""Sampling of inputs for checks, and comparison of results up to rounding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np

from ..base.arrays import Array
from ..base.structs import struct
from ..errors import LucidError, OptionError, ShapeError
from ..graph.assume import Assumption, example_sizes
from ..graph.facts import drawn
from ..graph.ir import Graph, Value
from ..graph.stages import found_sizes, stages
from ..graph.types import TensorType
from ..reference import reference_sizes, reference_values

SYMBOL_SIZE = 2
"""The size of symbolic dimensions, or the next larger one that the assumptions of the trace allow."""

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}
"""The largest allowed difference, relative to the largest value of the reference: passes may reorder sums."""


UNFIT = (LucidError, ArithmeticError, LookupError, ValueError)
"""Errors of a graph that does not take the sampled numbers."""


@struct(frozen=True)
class Evaluated:
    """A graph, and the values of its nodes for sampled inputs of these sizes."""

    graph: Graph
    sizes: Mapping[str, int]
    concrete: Graph
    values: Mapping[Value, Array]


def evaluated(
    graph: Graph, parameters: Mapping[str, Array], sizes: Mapping[str, int], inputs: Sequence[Array] | None = None
) -> Evaluated:
    """Run a graph by the reference, on sampled inputs if none are given."""
    types, rng = [type_.bind(sizes) for type_ in graph.input_types], np.random.default_rng(0)
    if inputs is None:
        inputs = [sample(rng, type_) for type_ in types]
    elif [TensorType(x.shape, x.dtype) for x in inputs] != [type_.with_order(None) for type_ in types]:
        raise ShapeError(f"the graph takes {', '.join(map(str, types)) or 'no inputs'}")
    concrete = graph.bind(reference_sizes(graph, sizes, inputs, parameters, keys(graph)))
    return Evaluated(graph, sizes, concrete, reference_values(concrete, inputs, parameters, keys(concrete)))


def given(graph: Graph, parameters: Mapping[str, Array]) -> Mapping[str, Array]:
    """The parameters, checked to have an array for each of the graph's."""
    if not isinstance(parameters, Mapping) or set(graph.parameters) - set(parameters):
        raise OptionError(f"parameters are a dict with arrays for {', '.join(graph.parameters) or 'nothing'}")
    return parameters


def with_samples(graph: Graph, parameters: Mapping[str, Array], sizes: Mapping[str, int]) -> Mapping[str, Array]:
    """The parameters, and sampled ones for those of the graph that are missing."""
    missing = [name for name in graph.parameters if name not in parameters]
    if not missing:
        return parameters
    types = {name: graph.node(graph.parameters[name]).outputs[0].bind(sizes) for name in missing}
    tried = {name: sample(np.random.default_rng(crc32(name.encode())), type_) for name, type_ in types.items()}
    return {**parameters, **tried}


def sizes_of(graph: Graph, assumptions: Sequence[Assumption] = ()) -> dict[str, int]:
    """Sizes for a check: small ones that all ops of the graph accept."""
    usual = example_sizes(graph.symbols, assumptions, SYMBOL_SIZE)
    starts = [SYMBOL_SIZE, *range(SYMBOL_SIZE + 1, 8), *(1 << n for n in range(3, 10))]
    tried = (example_sizes(graph.symbols, assumptions, start) for start in starts)
    found = next((sizes for sizes in tried if _takes(graph, sizes)), usual)
    for name in found if found != usual else ():
        smaller = ({**found, name: size} for size in range(SYMBOL_SIZE, found[name]))
        fits = (one for one in smaller if all(each.holds(one) for each in assumptions) and _takes(graph, one))
        found = next(fits, found)
    return found


def _takes(graph: Graph, sizes: Mapping[str, int]) -> bool:
    """Whether all nodes have types for these sizes; with data-dependent sizes, those of the first stage."""
    try:
        (stages(graph, sizes)[0].part.graph if found_sizes(graph) else graph).bind(sizes)
    except LucidError:
        return False
    return True


def sample(rng: np.random.Generator, type_: TensorType) -> Array:
    if type_.dtype.kind == "f":
        return rng.standard_normal(type_.concrete).astype(type_.dtype)
    return rng.integers(0, 2, type_.concrete).astype(type_.dtype)


def keys(graph: Graph) -> dict[Value, Array]:
    """A key for each random draw that depends on the node's name only, so that two graphs draw the same numbers."""
    return {Value(name): np.array(crc32(name.encode()), np.uint64) for name in drawn(graph)}


def difference(a: Array, b: Array) -> float:
    """The largest difference between elements, ignoring NaN; infinity if the shapes differ."""
    if a.shape != b.shape:
        return float("inf")
    with np.errstate(all="ignore"):
        both = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return float(np.where((a == b) | np.isnan(both), 0.0, both).max(initial=0.0))


def close(a: Array, b: Array, *made_of: Array) -> bool:
    """Whether two arrays differ by no more than rounding, measured by the largest number in ``a`` and ``made_of``."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind != "f":
        return bool(np.array_equal(a, b))
    sizes = [np.abs(x) for x in (a, *made_of) if x.dtype.kind == "f"]
    scale = max(float(np.max(size, initial=1.0, where=np.isfinite(size))) for size in sizes)
    return bool(np.allclose(a, b, rtol=0.0, atol=TOLERANCE[a.dtype.name] * scale, equal_nan=True))
