"""The recurrent layer of integers against its definition, time by time."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

import lucid
from lucid.errors import GraphError

from .models import Array, Case, agrees, one

TIMES, BATCH, FEATURES, HIDDEN = 4, 2, 6, 5


def case(directions: int, zero: type[np.generic], gates: bool, **attributes: object) -> Case:
    """A layer with a scale for each direction, or for each of its gates' rows."""
    rng = np.random.default_rng(directions)
    limits = np.iinfo(zero)
    per = (directions, 4 * HIDDEN) if gates else (directions,)

    def whole(*shape: int) -> Array:
        return rng.integers(limits.min, limits.max, shape, dtype=zero, endpoint=True)

    def floats(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32)

    arrays = [
        floats(TIMES, BATCH, FEATURES), whole(directions, FEATURES, 4 * HIDDEN), whole(directions, HIDDEN, 4 * HIDDEN),
        floats(directions, 8 * HIDDEN), None, floats(directions, BATCH, HIDDEN), floats(directions, BATCH, HIDDEN),
        None, np.abs(floats(*per)) * 0.02, whole(*per), np.abs(floats(*per)) * 0.02, whole(*per),
    ]  # fmt: skip
    return one(
        "DynamicQuantizeLSTM", arrays, 3, domain="com.microsoft", constant=[1, 2, 3, 8, 9, 10, 11],
        hidden_size=HIDDEN, direction="bidirectional" if directions == 2 else "forward", **attributes,
    )  # fmt: skip


def eight_bits(x: Array) -> Array:
    scale = (max(x.max(), 0) - min(x.min(), 0)) / np.float32(255)
    zero = np.round(np.clip(-min(x.min(), 0) / scale, 0, 255))
    return (np.clip(np.round(x / scale) + zero, 0, 255) - zero) * scale


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def defined(given: Case) -> list[Array]:
    kept = {one.name: numpy_helper.to_array(one) for one in given.proto.graph.initializer}
    arrays = {**kept, **given.inputs}
    x, bias, h0, c0 = (arrays[f"x{i}"] for i in (0, 3, 5, 6))
    directions = len(bias)

    def weight(whole: str, scale: str, zero: str) -> Array:
        step, point = (arrays[name].astype(np.float32).reshape(directions, 1, -1) for name in (scale, zero))
        made: Array = (arrays[whole].astype(np.float32) - point) * step
        return made

    w, r = weight("x1", "x8", "x9"), weight("x2", "x10", "x11")
    y, last_h, last_c = np.zeros((TIMES, directions, BATCH, HIDDEN), np.float32), h0.copy(), c0.copy()
    for d in range(directions):
        h, c = h0[d], c0[d]
        for t in reversed(range(TIMES)) if d else range(TIMES):
            z = eight_bits(x)[t] @ w[d] + eight_bits(h) @ r[d] + bias[d, : 4 * HIDDEN] + bias[d, 4 * HIDDEN :]
            i, o, f, g = np.split(z, 4, 1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = y[t, d] = sigmoid(o) * np.tanh(c)
        last_h[d], last_c[d] = h, c
    return [y, last_h, last_c]


@pytest.mark.parametrize("gates", [False, True])
@pytest.mark.parametrize("kind", [np.int8, np.uint8])
@pytest.mark.parametrize("directions", [1, 2])
def test_a_layer_of_integers(directions: int, kind: type[np.generic], gates: bool) -> None:
    given = case(directions, kind, gates)
    agrees(given, defined(given))


def test_weights_without_a_scale_are_refused() -> None:
    given = case(1, np.int8, False)
    given.proto.graph.node[0].input[8] = ""
    with pytest.raises(GraphError, match="no scale"):
        lucid.onnx.load(given.proto)(*given.inputs.values())
