"""The gradient of a convolution's input: every lowering, on workers of which each has images of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lucid.graph.ir import Node
from lucid.graph.ops.conv import (
    CONV,
    CONV_GRAD_INPUT,
    CONV_TRANSPOSE,
    ConvAttrs,
    ConvInputAttrs,
    ConvTransposeAttrs,
)
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
    (ConvAttrs((3, 2)), (3, 5, 15, 8), (4, 5, 3, 2)),
    (ConvAttrs((1, 5)), (2, 3, 1, 20), (7, 3, 1, 5)),
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


SIDE_BY_SIDE = next(low for low in lowerings(CONV_TRANSPOSE) if low.name == "side_by_side")


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kernel", "small"), [((2, 2), True), ((1, 5), False), ((3, 1), True)])
def test_windows_side_by_side_give_rows(
    kernel: tuple[int, int], small: bool, bias: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces of one row, and all at once."""
    force(monkeypatch, CONV_TRANSPOSE, SIDE_BY_SIDE)
    rng = np.random.default_rng(threads)
    arrays = [rng.standard_normal(shape).astype(np.float32) for shape in ((2, 3, 5, 7), (3, 6, *kernel), (6,))]
    arrays, attrs = arrays[: 2 + bias], ConvTransposeAttrs(ConvAttrs(kernel))
    with described(replace(USUAL, l2=1 << 9 if small else USUAL.l2)):
        check(CONV_TRANSPOSE, attrs, arrays, parameters=(1, 2)[: 1 + bias], threads=threads)
        check(CONV_TRANSPOSE, attrs, [x[:0] if i == 0 else x for i, x in enumerate(arrays)], threads=threads)


def _enlarging(conv: ConvAttrs, w: tuple[int, ...], **padding: tuple[int, int]) -> tuple[Node, tuple[TensorType, ...]]:
    types = tuple(TensorType(shape, as_dtype("float32")) for shape in ((2, w[0], 40, 32), w))
    attrs = ConvTransposeAttrs(conv, **padding)
    (y,) = CONV_TRANSPOSE.infer_types(attrs, types)
    return Node(CONV_TRANSPOSE, attrs, (y.with_order(CHANNELS_LAST),)), (types[0].with_order(CHANNELS_LAST), types[1])


def test_which_windows_lie_side_by_side() -> None:
    """Taken for a decoder's layers; one output leaves most of a vector empty, and what is left of an image stays 0."""
    with described(USUAL):
        for w, conv, name in (
            ((24, 24, 2, 2), ConvAttrs((2, 2)), "side_by_side"),
            ((64, 32, 1, 5), ConvAttrs((1, 5)), "side_by_side"),
            ((24, 1, 2, 2), ConvAttrs((2, 2)), "col2im"),
            ((24, 24, 3, 3), ConvAttrs((2, 2)), "col2im"),
            ((24, 24, 2, 2), ConvAttrs((3, 3)), "col2im"),
            ((24, 24, 2, 2), ConvAttrs((2, 2), (1, 1, 1, 1)), "col2im"),
            ((24, 12, 2, 2), ConvAttrs((2, 2), groups=2), "col2im"),
            ((24, 24, 2, 2), ConvAttrs((2, 2), dilation=(2, 1)), "col2im"),
        ):
            assert choices(*_enlarging(conv, w))[0].lowering.name == name, (w, conv)
        node, types = _enlarging(ConvAttrs((2, 2)), (24, 24, 2, 2), output_padding=(1, 0))
        assert choices(node, types)[0].lowering.name == "col2im"
        node, types = _enlarging(ConvAttrs((2, 2)), (24, 24, 2, 2))
        row_major = Node(node.op, node.attrs, (node.outputs[0].with_order(None),))
        assert choices(row_major, types)[0].lowering.name == "col2im"
