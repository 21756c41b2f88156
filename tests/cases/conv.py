"""Convolutions."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lucid.graph.opdef import NoAttrs, apply
from lucid.graph.ops import conv
from lucid.graph.ops.conv_pool import CONV_POOL, ConvPoolAttrs
from lucid.graph.ops.elementwise import AlphaAttrs, GeluAttrs
from lucid.graph.ops.pool import max_pool_attrs

from .case import Case


def normal(*shapes: tuple[int, ...]) -> Any:
    return lambda rng, dtype: tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)


def _conv(name: str, x: tuple[int, ...], w: tuple[int, ...], *args: Any, bias: bool = True, **options: Any) -> Case:
    return Case(
        f"conv2d-{name}",
        lambda *xs: conv.conv2d(*xs, *([None] * (not bias)), *args, **options),
        normal(x, w, *[(w[0],)] * bias),
        lambda t, *xs: t.nn.functional.conv2d(*xs, *([None] * (not bias)), *args, **options),
        ops=("Conv2d", "Conv2dGradInput", "Conv2dGradWeight"),
        tags=frozenset(["static"] if len(x) == 3 else ()),  # its first axis are the channels
    )


def _transposed(name: str, x: tuple[int, ...], w: tuple[int, ...], bias: bool, *args: Any) -> Case:
    groups = args[3] if len(args) > 3 else 1
    return Case(
        f"conv_transpose2d-{name}",
        lambda *xs: conv.conv_transpose2d(*xs, *([None] * (not bias)), *args),
        normal(x, w, *[(w[1] * groups,)] * bias),
        lambda t, *xs: t.nn.functional.conv_transpose2d(*xs, *([None] * (not bias)), *args),
        ops=("ConvTranspose2d",),
    )


def _fused(
    name: str, x: tuple[int, ...], w: tuple[int, ...], attrs: ConvPoolAttrs, bias: bool = True,
    residual: tuple[int, ...] | None = None,
) -> Case:  # fmt: skip
    return Case(
        f"conv_pool2d-{name}",
        lambda *xs: apply(CONV_POOL, attrs, *xs),
        normal(x, w, *[(w[0],)] * bias, *([] if residual is None else [residual])),
        ops=("ConvPool2d",),
        gradient=False,  # it has none of its own
    )


SAME = conv.ConvAttrs(padding=(1, 1, 1, 1))
HALF = max_pool_attrs(2, 2)

CASES = [
    _conv("3x3-pad1", (2, 3, 7, 6), (4, 3, 3, 3), 1, 1),
    _conv("3x3-plain", (2, 3, 7, 6), (4, 3, 3, 3), bias=False),
    # sums of nothing; PyTorch gives no channels here
    replace(_conv("no-channels", (2, 0, 7, 6), (4, 0, 3, 3), 2, 1), torch=None),
    _conv("stride2", (2, 3, 9, 8), (5, 3, 3, 3), 2, 1),
    _conv("stride-uneven", (2, 2, 9, 11), (3, 2, 2, 3), (2, 3), (1, 0)),
    _conv("dilated", (2, 2, 9, 10), (3, 2, 3, 2), 1, (2, 1), (2, 3)),
    _conv("dilated-stride2", (2, 2, 11, 10), (3, 2, 3, 3), 2, 2, 2),
    _conv("groups", (2, 4, 6, 5), (6, 2, 3, 3), 1, 1, 1, 2),
    _conv("groups-stride2", (2, 6, 7, 5), (3, 2, 3, 3), 2, 1, 1, 3, bias=False),
    _conv("depthwise", (2, 4, 7, 6), (4, 1, 3, 3), 1, 1, 1, 4),
    _conv("depthwise-stride2", (2, 4, 7, 8), (4, 1, 3, 3), 2, 1, 1, 4, bias=False),
    _conv("depthwise-multiplier", (2, 3, 6, 6), (6, 1, 3, 2), 1, 1, 1, 3),
    _conv("pointwise", (2, 5, 4, 6), (3, 5, 1, 1)),
    _conv("pointwise-stride2", (2, 5, 5, 6), (3, 5, 1, 1), 2, bias=False),
    _conv("pointwise-pad", (2, 3, 4, 4), (2, 3, 1, 1), 1, 1),
    _conv("pad-beyond-kernel", (2, 2, 3, 3), (2, 2, 2, 2), 1, 3),
    _conv("whole-image", (2, 3, 5, 4), (6, 3, 5, 4)),
    _conv("same", (2, 2, 6, 7), (3, 2, 5, 3), 1, "same"),
    _conv("valid-dilated", (2, 2, 8, 8), (3, 2, 3, 3), 1, "valid", 2),
    _conv("one-channel", (3, 1, 8, 8), (2, 1, 5, 5), 1, 2),
    _conv("single-image", (3, 6, 5), (4, 3, 3, 3), 1, 1),
    Case(
        "conv2d-asymmetric-padding",
        lambda x, w: conv.conv2d(x, w, padding=(0, 1, 2, 3)),
        normal((2, 2, 5, 6), (3, 2, 3, 2)),
        lambda t, x, w: t.nn.functional.conv2d(t.nn.functional.pad(x, (1, 3, 0, 2)), w),
    ),
    Case(
        "conv2d-same-even-kernel",
        lambda x, w: conv.conv2d(x, w, padding="same"),
        normal((2, 2, 6, 7), (3, 2, 4, 3)),
        lambda t, x, w: t.nn.functional.conv2d(t.nn.functional.pad(x, (1, 1, 1, 2)), w),
    ),
    _transposed("stride2", (2, 3, 4, 5), (3, 2, 3, 3), True, 2, 1, 1),
    _transposed("plain", (2, 3, 4, 5), (3, 4, 2, 3), False),
    _transposed("groups", (2, 4, 3, 4), (4, 3, 3, 2), True, (2, 3), (1, 0), (1, 2), 2),
    _transposed("dilated", (2, 2, 4, 4), (2, 3, 3, 3), True, 2, 1, 0, 1, 2),
    _fused("relu-2x2", (2, 3, 8, 6), (4, 3, 3, 3), ConvPoolAttrs(SAME, "Relu", NoAttrs(), HALF)),
    _fused("no-bias", (2, 3, 8, 6), (4, 3, 3, 3), ConvPoolAttrs(SAME, "Relu", NoAttrs(), HALF), bias=False),
    _fused("floor", (2, 3, 7, 6), (4, 3, 3, 3), ConvPoolAttrs(SAME, floor=True)),
    _fused("floor-pool", (2, 3, 8, 6), (4, 3, 3, 3), ConvPoolAttrs(SAME, pool=HALF, floor=True)),
    _fused("no-activation", (2, 3, 7, 6), (4, 3, 3, 3), ConvPoolAttrs(SAME, pool=HALF)),
    _fused(
        "overlap-zero-pad", (2, 3, 9, 8), (4, 3, 3, 3), ConvPoolAttrs(SAME, "Tanh", NoAttrs(), max_pool_attrs(3, 2, 1))
    ),
    _fused(
        "overlap-inf-pad",
        (2, 3, 9, 8),
        (4, 3, 3, 3),
        ConvPoolAttrs(SAME, "LeakyRelu", AlphaAttrs(0.1), max_pool_attrs(3, 1, 1, pad_value=float("-inf"))),
    ),
    _fused(
        "gelu-zero-pad", (2, 3, 8, 6), (4, 3, 3, 3), ConvPoolAttrs(SAME, "Gelu", GeluAttrs(), max_pool_attrs(3, 2, 1))
    ),
    # a group's one result lies four or eight numbers from the next one's
    _fused("sigmoid-groups4", (2, 8, 7, 6), (4, 2, 3, 3), ConvPoolAttrs(replace(SAME, groups=4), "Sigmoid")),
    _fused("sigmoid-groups8", (2, 16, 7, 6), (8, 2, 3, 3), ConvPoolAttrs(replace(SAME, groups=8), "Sigmoid")),
    _fused("gelu-unpooled", (2, 3, 8, 6), (4, 3, 3, 3), ConvPoolAttrs(SAME, "Gelu", GeluAttrs())),
    _fused("relu-unpooled", (2, 3, 8, 6), (4, 3, 3, 3), ConvPoolAttrs(SAME, "Relu")),
    _fused("dilated-pool", (2, 2, 9, 9), (3, 2, 2, 2), ConvPoolAttrs(pool=max_pool_attrs(2, 1, 1, 2, True))),
    _fused(
        "groups-stride2",
        (2, 4, 13, 12),
        (6, 2, 3, 3),
        ConvPoolAttrs(conv.ConvAttrs((2, 2), (1, 1, 1, 1), (1, 1), 2), "Sigmoid", NoAttrs(), HALF),
    ),
    _fused(
        "residual-relu", (2, 3, 8, 6), (4, 3, 3, 3), ConvPoolAttrs(SAME, "Relu", residual=True), residual=(2, 4, 8, 6)
    ),
    _fused(
        "residual-pointwise-stride2",
        (2, 3, 8, 6),
        (4, 3, 1, 1),
        ConvPoolAttrs(conv.ConvAttrs((2, 2)), residual=True),
        bias=False,
        residual=(2, 4, 4, 3),
    ),
    _fused(
        "rows-pool", (2, 2, 9, 6), (3, 2, 3, 3), ConvPoolAttrs(SAME, "Relu", NoAttrs(), max_pool_attrs((3, 1), (2, 1)))
    ),
]
