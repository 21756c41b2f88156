"""Grouped 1x1 convolutions as a batch of products of parts of the rows: in every way to cut them, and when chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lucid.graph.ir import Node
from lucid.graph.opdef import Attrs, NoAttrs, OpDef
from lucid.graph.ops.conv import CONV, ConvAttrs
from lucid.graph.ops.conv_pool import CONV_POOL, ConvPoolAttrs
from lucid.graph.types import CHANNELS_LAST, TensorType, float32
from lucid.runtime.planning import choosing
from lucid.runtime.planning.registry import choose, lowerings

from ..op_checks import types_of
from .test_conv import ACTIVATIONS, check, force

BLOCKS, PLANES = (
    next(lowering for lowering in lowerings(CONV) if lowering.name == name)
    for name in ("pointwise_blocks", "pointwise")
)
SIZES = [(2, 3, 5, (7, 9)), (4, 34, 34, (14, 14)), (5, 1, 2, (3, 1)), (3, 8, 1, (1, 5)), (2, 64, 64, (19, 17))]
"""Groups, channels and outputs of each, and an image; the last are many products of some rows with some columns."""


def _arrays(images: int, groups: int, depth: int, outputs: int, size: tuple[int, int], dtype: str) -> list[Any]:
    """An image, weights that sum to about as much, and a bias."""
    rng = np.random.default_rng(groups)
    shapes = (images, groups * depth, *size), (groups * outputs, depth, 1, 1), (groups * outputs,)
    x, w, b = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    return [x, (w / np.sqrt(depth)).astype(dtype), b]


@pytest.mark.usefixtures("each_machine")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_it_is_the_definition(sizes: Any, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without strides, of two images and of none, alone and with all that may follow."""
    monkeypatch.setattr(choosing, "is_brief", lambda predicted: False)  # threads share it, however little it is
    shapes = [((1, 1), 2), ((2, 1), 2), ((1, 1), 0), ((1, 3), 1)]
    for turn, (activation, options) in enumerate(ACTIVATIONS):
        stride, images = shapes[turn % len(shapes)]
        x, w, b = _arrays(images, *sizes, "float64" if turn % 3 == 2 else "float32")
        conv, count = ConvAttrs(stride, groups=sizes[0]), (turn + threads) % 4
        (y,) = CONV.infer_types(conv, types_of([x, w]))
        added = np.random.default_rng(turn).standard_normal(y.concrete).astype(x.dtype)
        plain = activation is None and count < 2
        op: OpDef = CONV if plain else CONV_POOL
        attrs: Attrs = conv if plain else ConvPoolAttrs(conv, activation, options, residual=count > 1)
        arrays = [x, w, *([b] if count % 2 else []), *([added] if count > 1 else [])]
        force(monkeypatch, op, BLOCKS)
        for _ in range(2):  # by rows, and by groups
            check(op, attrs, arrays, parameters=(1, 2)[: 1 + count % 2], threads=threads)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("sizes", [sizes for sizes in SIZES if sizes[1] > 1], ids=str)
def test_planes_are_the_definition_too(sizes: Any, bias: bool, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eagerly, and compiled row by row."""
    force(monkeypatch, CONV, PLANES)
    for stride, images in (((1, 1), 2), ((2, 3), 2), ((1, 1), 0)):
        arrays = _arrays(images, *sizes, dtype)[: 2 + bias]
        conv = ConvAttrs(stride, groups=sizes[0])
        types = tuple(types_of(arrays))
        assert PLANES.accepts(Node(CONV, conv, CONV.infer_types(conv, types)), types)
        check(CONV, conv, arrays, parameters=(1, 2)[: 1 + bias])


@pytest.mark.usefixtures("each_machine")
def test_planes_are_chosen_where_groups_have_several_channels() -> None:
    def chosen(groups: int, depth: int, side: int) -> str:
        conv = ConvAttrs(groups=groups)
        types = tuple(types_of(_arrays(1, groups, depth, depth, (side, side), "float32")))
        return choose(Node(CONV, conv, CONV.infer_types(conv, types)), types).lowering.name

    assert {chosen(*sizes) for sizes in ((64, 2, 28), (8, 16, 28), (4, 34, 28), (4, 68, 14))} == {PLANES.name}
    assert chosen(128, 1, 28) != PLANES.name


def _chosen(groups: int, depth: int, outputs: int, side: int, threads: int = 1) -> str:
    """How a channels-last layer with a bias is run."""
    attrs: Any = ConvPoolAttrs(ConvAttrs(groups=groups), "Relu", NoAttrs())
    x = TensorType((1, groups * depth, side, side), float32).with_order(CHANNELS_LAST)
    types = x, TensorType((groups * outputs, depth, 1, 1), float32), TensorType((groups * outputs,), float32)
    (y,) = CONV_POOL.infer_types(attrs, [t.with_order(None) for t in types])
    node = Node(CONV_POOL, attrs, (y.with_order(CHANNELS_LAST),))
    return choose(node, types, threads=threads).lowering.name


@pytest.mark.usefixtures("usual_machine")
@pytest.mark.parametrize("threads", [1, 2])
def test_it_is_chosen_where_groups_are_wide(threads: int) -> None:
    assert {_chosen(*sizes, threads) for sizes in ((4, 34, 34, 28), (4, 68, 68, 14), (8, 32, 64, 14))} == {BLOCKS.name}


@pytest.mark.usefixtures("each_machine")
def test_groups_of_single_channels_are_no_products() -> None:
    assert _chosen(128, 1, 1, 28).startswith("depthwise")
