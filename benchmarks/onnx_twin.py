"""ONNX twins: the graph that Lucid traced, before any of its passes, written as an ONNX model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from lucid.graph.ir import Graph, Node, Value

Array = np.ndarray[Any, Any]
OPSET = 20


class _Writer:
    """Collects ONNX nodes and weights; every Lucid value is called as Lucid calls it."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Any] = []
        self.weights: dict[str, Array] = {}
        self.names: dict[Value, str] = {}

    def emit(self, op: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))

    def store(self, name: str, array: Any) -> str:
        self.weights[name] = np.ascontiguousarray(array)
        return name


def _conv(w: _Writer, node: Node, inputs: list[str], output: str) -> None:
    a: Any = node.attrs
    w.emit("Conv", inputs, output, strides=a.stride, pads=a.padding, dilations=a.dilation, group=a.groups)


def _max_pool(w: _Writer, node: Node, inputs: list[str], output: str) -> None:
    """ONNX pads with -inf; any other value is padded before."""
    a: Any = node.attrs
    pads = a.padding
    if any(pads) and a.pad_value != -math.inf:
        top, left, bottom, right = pads
        amounts = w.store(f"{output}.pads", np.array([0, 0, top, left, 0, 0, bottom, right]))
        value = w.store(f"{output}.pad_value", np.array(a.pad_value, np.float32))
        w.emit("Pad", [*inputs, amounts, value], f"{output}.padded")
        inputs, pads = [f"{output}.padded"], (0, 0, 0, 0)
    w.emit("MaxPool", inputs, output, kernel_shape=a.kernel, strides=a.stride, pads=pads, dilations=a.dilation,
           ceil_mode=int(a.ceil_mode))  # fmt: skip


def _avg_pool(w: _Writer, node: Node, inputs: list[str], output: str) -> None:
    a: Any = node.attrs
    if a.divisor_override is not None:
        raise ValueError(f"{output}: ONNX knows no divisor_override")
    w.emit("AveragePool", inputs, output, kernel_shape=a.kernel, strides=a.stride, pads=a.padding,
           ceil_mode=int(a.ceil_mode), count_include_pad=int(a.count_include_pad))  # fmt: skip


def _batch_norm(w: _Writer, node: Node, inputs: list[str], output: str) -> None:
    x, mean, var, scale, shift = inputs
    a: Any = node.attrs
    w.emit("BatchNormalization", [x, scale, shift, mean, var], output, epsilon=a.eps)


def _mean(w: _Writer, node: Node, inputs: list[str], output: str) -> None:
    a: Any = node.attrs
    if tuple(a.axes) == (2, 3) and a.keepdims:
        w.emit("GlobalAveragePool", inputs, output)
    else:
        axes = w.store(f"{output}.axes", np.array(a.axes, np.int64))
        w.emit("ReduceMean", [*inputs, axes], output, keepdims=int(a.keepdims))


def _reshape(w: _Writer, node: Node, inputs: list[str], output: str) -> None:
    shape = w.store(f"{output}.shape", np.array(node.outputs[0].concrete, np.int64))
    w.emit("Reshape", [*inputs, shape], output)


def _clip(w: _Writer, node: Node, inputs: list[str], output: str) -> None:
    a: Any = node.attrs
    bounds = [
        "" if bound is None else w.store(f"{output}.{name}", np.array(bound, np.float32))
        for name, bound in (("low", a.low), ("high", a.high))
    ]
    w.emit("Clip", [*inputs, *bounds], output)


def _plain(op: str, **attributes: Any) -> Callable[[_Writer, Node, list[str], str], None]:
    return lambda w, node, inputs, output: w.emit(op, inputs, output, **attributes)


_OPS: Mapping[str, Callable[[_Writer, Node, list[str], str], None]] = {
    "Conv2d": _conv,
    "MaxPool2d": _max_pool,
    "AvgPool2d": _avg_pool,
    "BatchNorm": _batch_norm,
    "Mean": _mean,
    "Reshape": _reshape,
    "Clip": _clip,
    "Linear": _plain("Gemm", transB=1),
    "Relu": _plain("Relu"),
    "Add": _plain("Add"),
}


def onnx_bytes(traced: Graph, state: Mapping[str, Array]) -> bytes:
    """A serialised ONNX model of a concrete traced graph with one float32 input.

    Parameters
    ----------
    traced
        Without symbolic dimensions; input and output are called ``x`` and ``y``.
    state
        The parameters and buffers, by name.

    Raises
    ------
    ValueError
        For an op that has no translation here.
    """
    w = _Writer(traced)
    (source,), (result,) = traced.inputs, traced.outputs
    for name, node in traced.nodes():
        kind, attrs = node.op.name, node.attrs
        if kind == "Input":
            w.names[Value(name)] = "x"
            continue
        if kind == "Parameter":
            w.names[Value(name)] = w.store(attrs.name, state[attrs.name])  # type: ignore[attr-defined]
            continue
        if kind not in _OPS:
            raise ValueError(f"{name}: no translation of {kind} to ONNX")
        output = "y" if Value(name) == result else f"value.{name}"
        w.names[Value(name)] = output
        _OPS[kind](w, node, [w.names[value] for value in traced.inputs_of(name)], output)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, traced.node(source).outputs[0].concrete)
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, traced.type(result).concrete)
    stored = [numpy_helper.from_array(array, name) for name, array in w.weights.items()]
    graph = helper.make_graph(w.nodes, "twin", [given], [made], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    data: bytes = model.SerializeToString()
    return data
