"""Sample graphs for tests of everything that prints, checks, saves or draws graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from lucid.autodiff.reverse import differentiate
from lucid.graph import ops as ops
from lucid.graph.builder import Builder
from lucid.graph.dims import symbol
from lucid.graph.ir import Graph, Origin, Value
from lucid.graph.opdef import ConstArray, NoAttrs, TypeAttrs, apply
from lucid.graph.ops.conv import conv2d
from lucid.graph.ops.elementwise import cast
from lucid.graph.ops.pool import max_pool2d
from lucid.graph.ops.reduce import amax
from lucid.graph.ops.shape import concat
from lucid.graph.ops.source import INPUT, PARAMETER, ParameterAttrs, constant, full
from lucid.graph.trace import Symbol, Tracer
from lucid.graph.types import DTYPES, Shape, float32


class Sketch:
    """A graph under construction, with inputs and parameters one line each."""

    def __init__(self) -> None:
        self.tracer = Tracer(Builder())

    def input(self, name: str, *shape: Any, dtype: str = "float32") -> Any:
        dims: Shape = tuple(symbol(d) if isinstance(d, str) else d for d in shape)
        return self.tracer.emit(INPUT, TypeAttrs(dims, DTYPES[dtype]), name=name)[0]

    def parameter(self, name: str, *shape: int, trainable: bool = True) -> Any:
        return self.tracer.emit(PARAMETER, ParameterAttrs(shape, float32, name, trainable), name=name)[0]

    def scope(self, module: str, line: int) -> Any:
        return self.tracer.at(Origin((module,), (f"model.py:{line}",)))

    def finish(self, *outputs: Symbol, **updates: Symbol) -> Graph:
        named = [(name.replace("__", "."), s.value) for name, s in updates.items()]
        return self.tracer.builder.finish([s.value for s in outputs], named)


def perceptron() -> Graph:
    """Two linear layers on a symbolic batch, with origins."""
    s = Sketch()
    x: Any = s.input("x", "N", 1, 4, 4)
    with s.scope("flatten", 10):
        x = x.reshape(symbol("N"), 16)
    for layer, (width, depth) in enumerate([(16, 8), (8, 3)]):
        w, b = s.parameter(f"fc{layer}.weight", depth, width), s.parameter(f"fc{layer}.bias", depth)
        with s.scope(f"fc{layer}", 11 + layer):
            x = x @ w.transpose(0, 1) + b
        if layer == 0:
            with s.scope("act", 20):
                x = x.relu()
    return s.finish(x)


def skips() -> Graph:
    """Shared values: ``x1 -> (x2 * w + x1) + x1``, and the same value in both slots of a node."""
    s = Sketch()
    a, b, w = s.input("a", 3, 5), s.input("b", 3, 5), s.parameter("w", 5)
    c = (b * w + a) + a
    return s.finish(c * c + a)


def several_outputs() -> Graph:
    """Several outputs, one of them twice, an input that is returned, one nobody reads, an update."""
    s = Sketch()
    x, unused = s.input("x", 2, 3), s.input("unused", dtype="int64")
    running = s.parameter("norm.mean", 3, trainable=False)
    mean = x.mean(0)
    top = amax(x, 1)
    assert unused is not None
    return s.finish(top, mean, x, top, norm__mean=running * 0.9 + mean * 0.1)


def lenet() -> Graph:
    """Two conv + ReLU + max pool stages and a linear layer, nested modules, symbolic batch."""
    s = Sketch()
    x: Any = s.input("x", "N", 1, 28, 28)
    for stage, (channels, depth) in enumerate([(1, 6), (6, 16)]):
        prefix = f"features.{stage}"
        w = s.parameter(f"{prefix}.conv.weight", depth, channels, 5, 5)
        b = s.parameter(f"{prefix}.conv.bias", depth)
        with s.scope(f"{prefix}.conv", 20 + stage):
            x = conv2d(x, w, b, padding=2 if stage == 0 else 0)
        with s.scope(f"{prefix}.act", 30 + stage):
            x = x.relu()
        with s.scope(f"{prefix}.pool", 40 + stage):
            x = max_pool2d(x, 2, 2)
    w, b = s.parameter("head.weight", 10, 400), s.parameter("head.bias", 10)
    with s.scope("head", 50):
        x = x.reshape(symbol("N"), 400) @ w.transpose(0, 1) + b
    return s.finish(x)


def constants() -> Graph:
    """Constants small and large, awkward numbers, an infinite attribute, a symbolic count."""
    s = Sketch()
    x: Any = s.input("x", "N", 40)
    rng = np.random.default_rng(0)
    awkward = np.array([0.1, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3.4e38, 1 / 3], np.float32)
    odd = full(x, float("-inf"), (), float32)
    y: Any = x * constant(x, rng.standard_normal(40).astype(np.float32)) + constant(x, np.array(0.25, np.float32))
    y = y.sum() / (symbol("N") * 40 + 1)
    return s.finish(y + constant(x, awkward).sum() + odd, constant(x, np.zeros((0, 3), bool)))


def all_dtypes() -> Graph:
    """Every element type as an input, a constant and a cast."""
    s = Sketch()
    results = []
    for name, dtype in DTYPES.items():
        x = s.input(f"in_{name}", 2, dtype=name)
        results += [cast(x, float32), constant(x, np.array([0, 1], dtype))]
    return s.finish(concat(results[::2]), *results[1::2])


def odd_names() -> Graph:
    """Names that need quotes, and numbered modules."""
    s = Sketch()
    x = s.input('a "quoted" näme\n', "N", symbol("N") * 2 + 1)
    y = s.input("0.weight", symbol("N") * 2 + 1, 3)
    return s.finish(x @ y)


def gradient() -> Graph:
    """A joint forward and backward graph."""
    graph = lenet()
    return differentiate(graph, [*graph.parameters.values()]).graph


def chain(length: int) -> Graph:
    """``length`` additions one after another."""
    builder = Builder()
    (value,) = builder.emit(INPUT, TypeAttrs((4,), float32), name="x")
    add = ops.elementwise.ADD
    for _ in range(length):
        (value,) = builder.emit(add, NoAttrs(), (value, value))
    return builder.finish([value])


def empty() -> Graph:
    """No nodes at all."""
    return Builder().finish([])


SAMPLES: dict[str, Callable[[], Graph]] = {
    f.__name__: f
    for f in (perceptron, lenet, skips, several_outputs, constants, all_dtypes, odd_names, gradient, empty)
}


def same_graph(a: Graph, b: Graph) -> bool:
    """Equal node by node: names, ops, attributes, types, origins, edges, interface."""
    return (
        {n: d["node"] for n, d in a.dag.nodes(data=True)} == {n: d["node"] for n, d in b.dag.nodes(data=True)}
        and {(u, v, k): o for u, v, k, o in a.dag.edges(keys=True, data="output")}
        == {(u, v, k): o for u, v, k, o in b.dag.edges(keys=True, data="output")}
        and (a.inputs, a.outputs, a.updates, a.names) == (b.inputs, b.outputs, b.updates, b.names)
    )


__all__ = ["SAMPLES", "ConstArray", "Sketch", "Value", "apply", "chain", "same_graph"]
