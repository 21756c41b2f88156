"""What a compiled network loses to rounding, beside what the direct convolutions lose.

Errors are against the same network in float64: the largest difference over the largest value. "Direct" is a
float32 evaluation of the graph as traced, before any pass, whose convolutions are written below: every output one
plain sum of products. The references would not do, as they add in float64; eager mode would not be independent, as
it runs the very kernels that ``exact=True`` runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import threadpoolctl
from numpy.lib.stride_tricks import sliding_window_view

import lucid
from lucid.graph.ir import Graph, Value
from lucid.graph.ops.conv import CONV, ConvAttrs
from lucid.graph.ops.source import INPUT, PARAMETER
from lucid.runtime.eager import op_call
from lucid.runtime.planning.machine import described
from lucid.runtime.planning.registry import lowerings
from lucid.runtime.program.plan import Plan

from ..machines import USUAL
from ..nets import NETS, settle
from ..op_checks import types_of

Array = np.ndarray[Any, Any]


def direct_conv(a: ConvAttrs, x: Array, w: Array, b: Array | None = None) -> Array:
    """All windows side by side, times the weights."""
    top, left, bottom, right = a.padding
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    (outputs, channels, *kernel), (down, across) = w.shape, a.dilation
    extent = down * (kernel[0] - 1) + 1, across * (kernel[1] - 1) + 1
    windows = sliding_window_view(x, extent, (2, 3))[:, :, :: a.stride[0], :: a.stride[1], ::down, ::across]
    images, _, rows, cols = windows.shape[:4]
    windows = windows.reshape(images, a.groups, channels, rows * cols, *kernel).transpose(0, 1, 3, 2, 4, 5)
    weights = w.reshape(a.groups, outputs // a.groups, -1).transpose(0, 2, 1)
    y = windows.reshape(images, a.groups, rows * cols, -1) @ weights
    y = y.transpose(0, 1, 3, 2).reshape(images, outputs, rows, cols)
    return y if b is None else y + b.reshape(-1, 1, 1)


def evaluate(graph: Graph, x: Array, state: dict[str, Array]) -> Array:
    """The graph, node by node, in the element type of ``x`` and ``state``."""
    values: dict[Value, Array] = {}
    for name, node in graph.nodes():
        feeds = [values[value] for value in graph.inputs_of(name)]
        if node.op is INPUT:
            outputs = [x]
        elif node.op is PARAMETER:
            outputs = [state[node.attrs.name]]  # type: ignore[attr-defined]
        elif node.op is CONV:
            outputs = [direct_conv(node.attrs, *feeds)]  # type: ignore[arg-type]
        else:
            outputs = list(op_call(node.op, node.attrs, tuple(types_of(feeds)))[0](*feeds))
        values |= {Value(name, i): array for i, array in enumerate(outputs)}
    return values[graph.outputs[0]]


def inexact(plan: Plan) -> set[str]:
    """Lowerings in use that round otherwise than a sum of products does."""
    return {s.lowering for s in plan.steps for low in lowerings(s.node.op) if low.name == s.lowering and not low.exact}


@pytest.mark.parametrize("name", NETS)
def test_errors_against_float64(name: str) -> None:
    net = NETS[name]
    model, x = net.model(), net.batch()
    settle(model, x)
    state = {name: np.array(value) for name, value in model.state_dict().items()}
    with lucid.no_grad():
        fast, exact = lucid.compile(model), lucid.compile(model, exact=True)
        results = {"fast": fast(x).numpy(), "exact": exact(x).numpy()}
        with described(USUAL):
            usual = lucid.compile(model, threads=2)
            results["usual"] = usual(x).numpy()
    with threadpoolctl.threadpool_limits(1):  # for the same sums on every machine
        results["direct"] = evaluate(fast.traced, x, state)
        want = evaluate(fast.traced, x.astype("f8"), {key: array.astype("f8") for key, array in state.items()})
    assert all(y.dtype == np.float32 for y in results.values())
    assert want.dtype == np.float64
    error = {key: np.abs(y - want).max() / np.abs(want).max() for key, y in results.items()}
    assert 1e-8 < error["direct"] < 1e-4, error
    assert max(error["fast"], error["usual"]) <= 10 * error["direct"], error
    assert error["exact"] <= 2 * error["direct"], error
    assert not inexact(exact.plan)
    assert inexact(usual.plan) or name in ("mlp", "mobilenet")  # the images are large enough for what is coarse
