"""Winners of max pooling, and gradients of poolings, which ONNX lacks, written by other ops."""

from __future__ import annotations

import numpy as np

from .....graph.dims import exact_quotient
from .....graph.opdef import AbstractTensor, apply
from .....graph.ops.avgpool import (
    ADAPTIVE_ARG_MAX,
    ADAPTIVE_AVG_POOL_GRAD,
    AVG_POOL_GRAD,
    AdaptiveAttrs,
    AdaptiveGradAttrs,
    AvgPoolGradAttrs,
)
from .....graph.ops.composite import lt
from .....graph.ops.conv import CONV_GRAD_INPUT, ConvAttrs, ConvInputAttrs
from .....graph.ops.elementwise import floor_divide, remainder, where
from .....graph.ops.indexing import GATHER_ELEMENTS, INDEX, SCATTER_ELEMENTS, IndexAttrs, ScatterAttrs
from .....graph.ops.pool import (
    MAX_POOL_GATHER,
    MAX_POOL_GRAD,
    MAX_POOL_POSITIONS,
    MaxPoolAttrs,
    MaxPoolGradAttrs,
    index_dtype,
)
from .....graph.ops.promotion import cast
from .....graph.ops.put import counted
from .....graph.ops.reduce import argmax
from .....graph.ops.shape import AxisAttrs, expand, reshape
from .....graph.ops.source import constant, full
from .....graph.types import Shape, TensorType, int64, product
from ...model import Array
from ..draft import Item, UnwritableError
from ..registry import Use, writer


def winners(use: Use[MaxPoolAttrs], places: Item) -> Item:
    """The tap that won each window, from the position in the whole batch that ONNX returns."""
    a, (height, width) = use.attrs, use.types[0].shape[2:]
    type_ = TensorType(use.node.outputs[1].shape, int64)

    def definition(place: AbstractTensor) -> AbstractTensor:
        inside = remainder(place, full(place, height * width, ()))
        wide, (down, along) = full(place, width, ()), _firsts(a, place)
        row = floor_divide(floor_divide(inside, wide) - down, a.dilation[0])
        col = floor_divide(remainder(inside, wide) - along, a.dilation[1])
        return cast(row * a.kernel[1] + col, index_dtype(a.kernel))

    return use.inline(definition, places, types=[type_])[0]


def _firsts(a: MaxPoolAttrs, like: AbstractTensor) -> tuple[AbstractTensor, AbstractTensor]:
    """The start of each window, as a column and as a row."""
    rows, cols = like.type.shape[2:]
    down = reshape(counted(like, rows), (rows, 1)) * a.stride[0] - a.padding[0]
    return down, counted(like, cols) * a.stride[1] - a.padding[1]


def _places(a: MaxPoolGradAttrs, index: AbstractTensor) -> tuple[AbstractTensor, AbstractTensor]:
    """The position of each window's winner in its image (0 for padding), and whether it is padding."""
    pool, code = a.pool, cast(index, int64)
    down, along = _firsts(pool, index)
    row = down + floor_divide(code, pool.kernel[1]) * pool.dilation[0]
    col = along + remainder(code, pool.kernel[1]) * pool.dilation[1]
    inside = lt(code, pool.kernel[0] * pool.kernel[1])
    return where(inside, row * full(row, a.size[1], ()) + col, full(row, 0, ())), inside


def _flat(x: AbstractTensor) -> AbstractTensor:
    """The pixels of each image as a row."""
    return reshape(x, (*x.type.shape[:2], product(x.type.shape[2:])))


@writer(ADAPTIVE_ARG_MAX)
def adaptive_arg_max(use: Use[AdaptiveAttrs]) -> Item:
    """For a single window, the position in the image; for several, the pixels under each are looked up first."""
    sizes, new = use.types[0].shape[2:], use.attrs.size
    if new == (1,) * len(new):
        return use.inline(lambda x: reshape(argmax(_flat(x), 2), use.type.shape))[0]
    known = [dim for dim in (*sizes, *new) if isinstance(dim, int)]
    if len(known) < len(sizes) + len(new):
        raise UnwritableError("its windows are of several sizes, and which depends on a symbolic size: fix that")
    places = _covered(*known)

    def definition(x: AbstractTensor) -> AbstractTensor:
        under = apply(INDEX, IndexAttrs((2,)), _flat(x), constant(x, places))
        number = argmax(under, 3) + constant(x, np.arange(len(places)) * places.shape[1])
        return reshape(apply(INDEX, IndexAttrs((0,)), constant(x, places.reshape(-1)), number), use.type.shape)

    return use.inline(definition)[0]


def _covered(height: int, width: int, rows: int, cols: int) -> Array:
    """The positions in the image that each window covers, as rows padded with the first one."""
    image = np.arange(height * width).reshape(height, width)
    spans = [
        [slice(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
        for size, count in ((height, rows), (width, cols))
    ]
    found = [image[down, along].reshape(-1) for down in spans[0] for along in spans[1]]
    most = max(map(len, found))
    return np.array([[*one, *[one[0]] * (most - len(one))] for one in found])


@writer(MAX_POOL_POSITIONS)
def positions(use: Use[MaxPoolGradAttrs]) -> Item:
    def definition(index: AbstractTensor) -> AbstractTensor:
        place, inside = _places(use.attrs, index)
        return where(inside, place, full(place, -1, ()))

    return use.inline(definition)[0]


@writer(MAX_POOL_GATHER)
def gathered(use: Use[MaxPoolGradAttrs]) -> Item:
    def definition(x: AbstractTensor, index: AbstractTensor) -> AbstractTensor:
        place, inside = _places(use.attrs, index)
        found = apply(GATHER_ELEMENTS, AxisAttrs(2), _flat(x), _flat(place))
        return where(inside, reshape(found, index.type.shape), full(x, 0.0, ()))

    return use.inline(definition)[0]


@writer(MAX_POOL_GRAD)
def scattered(use: Use[MaxPoolGradAttrs]) -> Item:
    size: Shape = use.attrs.size

    def definition(dy: AbstractTensor, index: AbstractTensor) -> AbstractTensor:
        place, inside = _places(use.attrs, index)
        whole = (*dy.type.shape[:2], product(size))
        moved = where(inside, dy, full(dy, 0.0, ()))
        dx = apply(SCATTER_ELEMENTS, ScatterAttrs(2, whole), _flat(moved), _flat(place))
        return reshape(dx, use.type.shape)

    return use.inline(definition)[0]


@writer(AVG_POOL_GRAD)
def spread(use: Use[AvgPoolGradAttrs]) -> Item:
    pool, size = use.attrs.pool, use.attrs.size
    if pool.ceil_mode or not (pool.count_include_pad or pool.divisor_override or not any(pool.padding)):
        raise UnwritableError("its windows are divided by different counts")
    divisor = pool.divisor_override or pool.kernel[0] * pool.kernel[1]

    def definition(dy: AbstractTensor) -> AbstractTensor:
        batch, channels, *windows = dy.type.shape
        single = reshape(dy / divisor, (batch * channels, 1, *windows))
        ones = full(dy, 1.0, (1, 1, *pool.kernel))
        attrs = ConvInputAttrs(ConvAttrs(pool.stride, pool.padding), size)
        return reshape(apply(CONV_GRAD_INPUT, attrs, single, ones), (batch, channels, *size))

    return use.inline(definition)[0]


@writer(ADAPTIVE_AVG_POOL_GRAD)
def spread_evenly(use: Use[AdaptiveGradAttrs]) -> Item:
    size, windows = use.attrs.size, use.types[0].shape[2:]
    steps = [exact_quotient(whole, count) for whole, count in zip(size, windows, strict=True)]
    tall, wide = steps
    if tall is None or wide is None:
        raise UnwritableError("its windows are of several sizes")

    def definition(dy: AbstractTensor) -> AbstractTensor:
        batch, channels, rows, cols = dy.type.shape
        each = dy / full(dy, tall * wide, ())
        apart = expand(reshape(each, (batch, channels, rows, 1, cols, 1)), (batch, channels, rows, tall, cols, wide))
        return reshape(apart, (batch, channels, *size))

    return use.inline(definition)[0]
