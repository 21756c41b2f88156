"""Runs single ops at once, with the kernels of compiled programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ..base.arrays import Array
from ..base.lazy import LazyModule
from ..errors import ShapeError, note_where
from ..graph.decomposition import decomposition
from ..graph.ir import Graph, Node, Value
from ..graph.opdef import Attrs, OpDef
from ..graph.ops.call import CallAttrs
from ..graph.ops.source import ConstantAttrs
from ..graph.types import TensorType
from .planning.machine import kept_for_machine
from .planning.phase import Phase
from .planning.registry import choose, kernel_packages, lowerings
from .program.emission import written
from .program.emitter import Operand
from .program.names import Names
from .program.printer import generate_call

kernel_packages.append(LazyModule("lucid.runtime.kernels"))  # the registry itself does not know the kernels

Call: TypeAlias = "Callable[..., tuple[Array, ...]]"

LARGEST_RESULT = 1 << 40
"""The most bytes that an op's results may have; below that, allocation is left to the system."""

CACHE_SIZE = 4096
"""The number of different (op, attributes, types) whose compiled functions are kept."""


@kept_for_machine(CACHE_SIZE)
def op_call(op: OpDef, attrs: Attrs, types: tuple[TensorType, ...]) -> tuple[Call, tuple[TensorType, ...]]:
    """A function that maps input arrays of the given types to the outputs of one op; also the types of these."""
    outputs = op.infer_types(attrs, types)
    if sum(t.nbytes for t in outputs) > LARGEST_RESULT:
        raise ShapeError(
            f"{op.name}: a result of {sum(t.nbytes for t in outputs):.3g} bytes is more than memory can hold"
        )
    if not lowerings(op):
        return _decomposed(op, attrs, types), outputs
    node = Node(op, attrs, outputs)
    names = Names()
    ins = [Operand(names.unique(f"x{i}"), t, Phase.CALL, contiguous=False) for i, t in enumerate(types)]
    outs = [Operand(names.unique(f"y{i}"), t, Phase.CALL) for i, t in enumerate(outputs)]
    choice = choose(node, types, exact=True, lasting=False)
    try:
        step = written("t", node, choice, names, ins, outs, exact=True, lasting=False)
    except Exception as error:
        note_where(error, f"in the kernel of {op.name}")
        raise
    call: Call = generate_call(step, names).load("call")
    return call, outputs


def run_node(node: Node, arrays: Sequence[Array]) -> tuple[Array, ...]:
    """The outputs of a node of known sizes for these inputs, by Lucid's own kernel.

    Parameters
    ----------
    node
        Only its op and attributes are used.
    arrays
        One for each of its inputs.
    """
    if isinstance(node.attrs, ConstantAttrs):
        return (node.attrs.value.array,)
    call, _ = op_call(node.op, node.attrs, tuple(TensorType(x.shape, x.dtype) for x in arrays))
    with np.errstate(all="ignore"):
        return call(*arrays)


def _decomposed(op: OpDef, attrs: Attrs, types: Sequence[TensorType]) -> Call:
    graph = decomposition(op, attrs, types)
    return lambda *arrays: tuple(evaluate(graph, arrays))


def evaluate(graph: Graph, inputs: Sequence[Array], parameters: Mapping[str, Array] | None = None) -> list[Array]:
    """Run a concrete graph node by node. Returns its outputs, then its updates."""
    known = {Value(name): array for name, array in zip(graph.inputs, inputs, strict=True)}
    known |= {Value(node): (parameters or {})[name] for name, node in graph.parameters.items()}
    return evaluate_from(graph, known)


def evaluate_from(graph: Graph, known: Mapping[Value, Array]) -> list[Array]:
    """Run the nodes that the results need, given some known values; each value is freed after its last use."""
    values = dict(known)
    names = needed(graph, values)
    uses: dict[Value, int] = dict.fromkeys(graph.results, 1)
    for name in names:
        for value in graph.inputs_of(name):
            uses[value] = uses.get(value, 0) + 1
    with np.errstate(all="ignore"):
        for name in names:
            node, feeds = graph.node(name), graph.inputs_of(name)
            call = _call_of(graph, node, feeds)
            for output, array in enumerate(call(*(values[v] for v in feeds))):
                values[Value(name, output)] = array
            for value in feeds:
                uses[value] -= 1
                if not uses[value]:
                    values.pop(value, None)
    return [values[value] for value in graph.results]


def _call_of(graph: Graph, node: Node, feeds: Sequence[Value]) -> Call:
    attrs = node.attrs
    if isinstance(attrs, CallAttrs):  # not cached: the cache would keep the compiled model alive
        return attrs.callee
    if isinstance(attrs, ConstantAttrs):  # not cached either, because of its array
        return lambda: (attrs.value.array,)
    return op_call(node.op, node.attrs, tuple(graph.type(v).with_order(None) for v in feeds))[0]


def values_read(graph: Graph, known: Mapping[Value, Array]) -> Iterator[tuple[str | None, Value]]:
    """The known values that :func:`evaluate_from` reads, each with the node that reads it; None for a result."""
    yield from ((None, value) for value in graph.results if value in known)
    for name in needed(graph, known):
        yield from ((name, value) for value in graph.inputs_of(name) if value in known)


def needed(graph: Graph, known: Mapping[Value, object]) -> list[str]:
    """The nodes to run for the results, given some known values, in order."""
    names: set[str] = set()
    stack = [value for value in graph.results if value not in known]
    while stack:
        name = stack.pop().node
        if name not in names:
            names.add(name)
            stack.extend(value for value in graph.inputs_of(name) if value not in known)
    return [name for name in graph.order if name in names]
