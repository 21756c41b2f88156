"""The table of references, and an interpreter that runs graphs on them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Concatenate, TypeAlias

import numpy as np

from ..base.arrays import Array
from ..base.checks import shown
from ..errors import GraphError, OptionError, note_where
from ..graph.decomposition import decomposition
from ..graph.dims import Dim, evaluate
from ..graph.ir import Graph, Value
from ..graph.opdef import A, Attrs, OpDef
from ..graph.ops.source import CONSTANT, FULL, INPUT, ConstantAttrs, FullAttrs, ParameterAttrs
from ..graph.types import TensorType

Reference: TypeAlias = "Callable[Concatenate[A, ...], Array | tuple[Array, ...]]"

_REFERENCES: dict[OpDef, Reference] = {}


def reference(*ops: OpDef[A]) -> Callable[[Reference[A]], Reference[A]]:
    """Register the decorated ``function(attrs, *arrays)`` as the definition of the ops.

    It returns an array, or a tuple of them, of the shapes that the op's type rule infers.
    """

    def decorate(function: Reference[A]) -> Reference[A]:
        for op in ops:
            if not isinstance(op, OpDef):
                raise OptionError(f"reference: takes ops, got {shown(op)}")
            _REFERENCES[op] = function  # type: ignore[assignment]  # called with attributes of its op
        return function

    return decorate


def known(dims: Iterable[Dim]) -> tuple[int, ...]:
    """Concrete sizes as integers: a graph that is run has no symbolic ones."""
    return tuple(evaluate(dim, {}) for dim in dims)


def reference_of(op: OpDef) -> Reference | None:
    """The reference of an op; a composite op is defined by its decomposition instead."""
    return _REFERENCES.get(op)


def run_reference(op: OpDef, attrs: Attrs, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """Run one op on arrays; outputs have the dtypes that its type rule infers."""
    types = [TensorType(a.shape, a.dtype) for a in arrays]
    function = _REFERENCES.get(op)
    if function is None:
        if op.decompose is None:
            raise GraphError(
                f"{op.name} has neither a reference nor a decomposition: lucid.extend.reference registers one"
            )
        return tuple(evaluate_reference(decomposition(op, attrs, types), arrays))
    try:
        result = function(attrs, *arrays)
    except Exception as error:
        note_where(error, f"in the reference of {op.name}")
        raise
    results = [np.asarray(r) for r in (result if isinstance(result, tuple) else (result,))]
    outputs = op.infer_types(attrs, types)
    if [r.size for r in results] != [math.prod(t.concrete) for t in outputs]:
        gave, said = ", ".join(str(r.shape) for r in results), ", ".join(map(str, outputs))
        raise GraphError(f"the reference of {op.name} gave results of shape {gave}, its type rule says {said}")
    return tuple(r.astype(t.dtype, copy=False).reshape(t.concrete) for r, t in zip(results, outputs, strict=True))


def evaluate_reference(
    graph: Graph, inputs: Sequence[Array], parameters: Mapping[str, Array] | None = None
) -> list[Array]:
    """Run a concrete graph by the references. Returns its outputs, then its updates."""
    values = reference_values(graph, inputs, parameters)
    return [values[value] for value in graph.results]


def reference_values(
    graph: Graph,
    inputs: Sequence[Array],
    parameters: Mapping[str, Array] | None = None,
    known: Mapping[Value, Array] | None = None,
) -> dict[Value, Array]:
    """Every value of a concrete graph, by the references; nodes whose value is ``known`` are not run."""
    values: dict[Value, Array] = {Value(n): np.asarray(a) for n, a in zip(graph.inputs, inputs, strict=True)}
    values.update(known or {})
    with np.errstate(all="ignore"):
        for name, node in graph.nodes():
            if node.op is INPUT or Value(name) in values:
                continue
            if isinstance(node.attrs, ParameterAttrs):
                values[Value(name)] = (parameters or {})[node.attrs.name]
                continue
            feeds = [values[value] for value in graph.inputs_of(name)]
            for output, array in enumerate(run_reference(node.op, node.attrs, feeds)):
                values[Value(name, output)] = array
    return values


@reference(FULL)
def _full(attrs: FullAttrs) -> Array:
    return np.full(attrs.type.concrete, attrs.value, attrs.dtype)


@reference(CONSTANT)
def _constant(attrs: ConstantAttrs) -> Array:
    array: Array = attrs.value.array
    return array
