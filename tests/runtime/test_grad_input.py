"""The gradient of a convolution's input: every lowering, on workers of which each has images of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lucid.graph.ir import Node
from lucid.graph.ops.conv import CONV, CONV_GRAD_INPUT, ConvAttrs, ConvInputAttrs
from lucid.graph.types import CHANNELS_LAST, TensorType, as_dtype
from lucid.runtime.kernels.conv import depthwise, im2col
from lucid.runtime.planning.machine import described
from lucid.runtime.planning.registry import Lowering, choices, lowerings

from ..machines import USUAL
from .test_conv import check, force, fresh_cache  # noqa: F401 - a fixture

LAYERS = [
    (ConvAttrs((2, 2), (1, 1, 1, 1)), (5, 6, 9, 8), (4, 6, 3, 3)),
    (ConvAttrs((2, 2), (1, 1, 1, 1)), (1, 6, 9, 8), (4, 6, 3, 3)),
    (ConvAttrs((3, 1), (0, 2, 1, 0), (1, 2), 2), (3, 4, 11, 8), (6, 2, 3, 2)),
    (ConvAttrs((1, 1), (1, 1, 1, 1)), (4, 3, 7, 5), (2, 3, 3, 3)),
    (ConvAttrs((2, 2)), (3, 4, 6, 7), (5, 4, 1, 1)),
    (ConvAttrs((2, 2), (1, 1, 1, 1), groups=4), (5, 4, 8, 9), (4, 1, 3, 3)),
    (ConvAttrs((3, 2), (2, 0, 1, 3), (1, 2), 3), (2, 3, 9, 12), (3, 1, 2, 4)),
    (ConvAttrs((2, 2), (1, 1, 1, 1)), (0, 2, 5, 5), (3, 2, 3, 3)),
]


def _node(conv: ConvAttrs, x: tuple[int, ...], w: tuple[int, ...]) -> tuple[Node, tuple[TensorType, ...]]:
    image, weight = (TensorType(shape, as_dtype("float32")) for shape in (x, w))
    (y,) = CONV.infer_types(conv, [image, weight])
    node = Node(CONV_GRAD_INPUT, ConvInputAttrs(conv, x[2:]), (image.with_order(CHANNELS_LAST),))
    return node, (y.with_order(CHANNELS_LAST), weight)


WAYS = [(low, *layer) for low in lowerings(CONV_GRAD_INPUT) for layer in LAYERS if low.accepts(*_node(*layer))]


@pytest.mark.parametrize(("threads", "small"), [(1, True), (2, False), (3, True)])
@pytest.mark.parametrize(("low", "conv", "x", "w"), WAYS, ids=lambda part: getattr(part, "name", str(part)))
def test_workers_have_images_of_their_own(
    low: Lowering[Any], conv: ConvAttrs, x: tuple[int, ...], w: tuple[int, ...], threads: int, small: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if small:
        monkeypatch.setattr(im2col, "BLOCK_BYTES", 1 << 9)
        monkeypatch.setattr(im2col, "LEAST_ROWS", 8)
        monkeypatch.setattr(depthwise, "BLOCK_BYTES", 1 << 7)
    rng, dtype = np.random.default_rng(threads), ("float32", "float64")[threads % 2]
    node, (dy, _) = _node(conv, x, w)
    arrays = [rng.standard_normal(shape).astype(dtype) for shape in (dy.concrete, w)]
    force(monkeypatch, CONV_GRAD_INPUT, low)
    check(CONV_GRAD_INPUT, node.attrs, arrays, threads=threads)


@pytest.mark.parametrize(
    ("x", "w", "groups"),
    [
        ((8, 64, 28, 28), (128, 64, 3, 3), 1),
        ((8, 256, 7, 7), (512, 256, 3, 3), 1),
        ((16, 64, 32, 32), (64, 1, 3, 3), 64),
    ],
)
def test_two_workers_take_half_as_long(x: tuple[int, ...], w: tuple[int, ...], groups: int) -> None:
    """Of the strided layers of ResNet-18 and MobileNet."""
    node, types = _node(ConvAttrs((2, 2), (1, 1, 1, 1), groups=groups), x, w)
    with described(USUAL):
        alone, shared = (choices(node, types, threads=threads, lasting=False)[0].way.seconds for threads in (1, 2))
    assert alone / shared > 1.8
