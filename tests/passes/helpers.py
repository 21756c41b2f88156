"""Small graphs from Python functions, their text, and the comparison of two graphs' results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from lucid.graph.builder import Builder
from lucid.graph.ir import Graph, Value
from lucid.graph.opdef import TypeAttrs
from lucid.graph.ops.source import INPUT, PARAMETER, ParameterAttrs
from lucid.graph.trace import Symbol, Tracer
from lucid.graph.types import TensorType, spec
from lucid.graph.verify import verify
from lucid.reference import evaluate_reference
from lucid.runtime.eager import evaluate


def trace(
    function: Callable[..., Any], *inputs: TensorType | tuple[int, ...], **parameters: TensorType | tuple[int, ...]
) -> Graph:
    """The graph of ``function(*inputs, **parameters)`` on symbols; a tuple stands for a float32 shape."""
    tracer = Tracer(Builder())

    def source(op: Any, attrs: Any, name: str) -> Symbol:
        return tracer.emit(op, attrs, name=name)[0]

    types = [_type(t) for t in inputs]
    symbols = [source(INPUT, TypeAttrs(t.shape, t.dtype), f"x{i}") for i, t in enumerate(types)]
    named = {
        name: source(PARAMETER, ParameterAttrs(_type(t).shape, _type(t).dtype, name), name)
        for name, t in parameters.items()
    }
    result = function(*symbols, **named)
    results = result if isinstance(result, tuple | list) else (result,)
    return tracer.builder.finish([y.value for y in results])


def _type(t: TensorType | tuple[int, ...]) -> TensorType:
    return t if isinstance(t, TensorType) else spec(*t)


def show(graph: Graph) -> list[str]:
    """A line for each node that is no input, parameter or constant: ``relu = Relu(add)``."""
    return [
        f"{name} = {node.op.name}({', '.join(map(str, graph.inputs_of(name)))})"
        for name, node in graph.nodes()
        if node.op.inputs
    ]


def ops(graph: Graph) -> list[str]:
    """Names of the ops, in order, without inputs, parameters and constants."""
    return [node.op.name for _, node in graph.nodes() if node.op.inputs]


def random_inputs(graph: Graph, seed: int = 0) -> tuple[list[Any], dict[str, Any]]:
    """Arrays for the inputs and parameters (those called ``var…`` are positive)."""
    rng = np.random.default_rng(seed)

    def draw(type_: TensorType, name: str = "") -> Any:
        if type_.dtype.kind == "b":
            return rng.random(type_.concrete) < 0.5
        if type_.dtype.kind in "iu":
            return rng.integers(0, 5, type_.concrete).astype(type_.dtype)
        array = rng.standard_normal(type_.concrete).astype(type_.dtype)
        return np.abs(array) + type_.dtype.type(0.1) if name.startswith("var") else array

    inputs = [draw(graph.node(name).outputs[0]) for name in graph.inputs]
    return inputs, {p: draw(graph.node(n).outputs[0], p) for p, n in graph.parameters.items()}


def assert_same(
    before: Graph,
    after: Graph,
    inputs: Sequence[Any] | None = None,
    *,
    wanted: Sequence[Any] | None = None,
    rtol: float = 0.0,
    atol: float = 0.0,
) -> None:
    """Both graphs are sound and compute the same on the reference (bit for bit, unless given a tolerance).

    ``wanted`` are the results of ``before``, where they are known already.
    """
    verify(after)
    assert [graph_type(before, v) for v in before.results] == [graph_type(after, v) for v in after.results]
    assert after.inputs == before.inputs
    drawn, parameters = random_inputs(before)
    inputs = drawn if inputs is None else inputs
    wanted = evaluate_reference(before, inputs, parameters) if wanted is None else wanted
    got = evaluate_reference(after, inputs, parameters)
    assert_equal(got, wanted, rtol, atol)


def assert_same_kernels(before: Graph, after: Graph, inputs: Sequence[Any] | None = None) -> None:
    """Both graphs give the same bits when run with the kernels."""
    drawn, parameters = random_inputs(before)
    inputs = drawn if inputs is None else inputs
    assert_equal(evaluate(after, inputs, parameters), evaluate(before, inputs, parameters))


def assert_equal(got: Sequence[Any], wanted: Sequence[Any], rtol: float = 0.0, atol: float = 0.0) -> None:
    for a, b in zip(got, wanted, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        if rtol or atol:
            np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
        else:
            np.testing.assert_array_equal(a, b)
            if a.dtype.kind == "f":
                number = ~np.isnan(b)
                np.testing.assert_array_equal(np.signbit(a[number]), np.signbit(b[number]))


def graph_type(graph: Graph, value: Value) -> TensorType:
    return graph.type(value).with_order(None)


#: Values on which inexact identities show.
SPECIAL = np.array([0.0, -0.0, 1.5, -2.25, np.inf, -np.inf, np.nan, 1e-40, 3e38], np.float32)
