"""Convolutions and poolings of images."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .....graph.dims import Dim, exact_quotient
from .....graph.ops.avgpool import ADAPTIVE_AVG_POOL, AVG_POOL, AdaptiveAttrs, AvgPoolAttrs
from .....graph.ops.conv import (
    CONV,
    CONV_GRAD_INPUT,
    CONV_GRAD_WEIGHT,
    CONV_TRANSPOSE,
    ConvAttrs,
    ConvInputAttrs,
    ConvTransposeAttrs,
    ConvWeightAttrs,
)
from .....graph.ops.pool import MAX_POOL, MaxPoolAttrs, pad_constant
from .....graph.types import DTYPES, Shape, bool_, float32, float64, int64
from .....graph.windows import Window, windows_of
from ..draft import Item, Setting, UnwritableError
from ..registry import Use, Written, writer
from .pooling_gradients import winners


def _settings(a: ConvAttrs, kernel: Sequence[int]) -> dict[str, Setting]:
    return {
        "kernel_shape": list(kernel), "strides": list(a.stride), "pads": list(a.padding), "dilations": list(a.dilation),
        "group": a.groups,
    }  # fmt: skip


def _numbers(dims: Shape) -> list[int]:
    found = [dim for dim in dims if isinstance(dim, int)]
    if len(found) < len(dims):
        raise UnwritableError("the size of its kernel is symbolic")
    return found


@writer(CONV)
def conv(use: Use[ConvAttrs]) -> Item:
    return use.emit("Conv", *use.inputs, settings=_settings(use.attrs, _numbers(use.types[1].shape[2:])))


@writer(CONV_TRANSPOSE)
def conv_transpose(use: Use[ConvTransposeAttrs]) -> Item:
    settings = _settings(use.attrs.conv, _numbers(use.types[1].shape[2:]))
    return use.emit("ConvTranspose", *use.inputs, settings=settings, output_padding=list(use.attrs.output_padding))


@writer(CONV_GRAD_INPUT)
def conv_grad_input(use: Use[ConvInputAttrs]) -> Item:
    """A transposed convolution, whose result ends where the windows do; pixels that none saw are zeros at the end."""
    dy, kernel = use.types[0], _numbers(use.types[1].shape[2:])
    a = use.attrs.conv
    windows = windows_of(kernel, a.stride, a.padding, a.dilation)
    beyond = [
        size - _reach(w, n) + w.before + w.after
        for size, n, w in zip(use.attrs.size, dy.shape[2:], windows, strict=True)
    ]
    known = [more for more in beyond if isinstance(more, int)]
    if len(known) == len(beyond):
        return use.emit("ConvTranspose", *use.inputs, settings=_settings(a, kernel), output_padding=known)
    axes = len(kernel)
    bare = ConvAttrs(a.stride, (0,) * 2 * axes, a.dilation, a.groups)
    y = use.emit("ConvTranspose", *use.inputs, settings=_settings(bare, kernel))
    after = [w.stride - 1 for w in windows]
    y = use.emit("Pad", y, use.shape([0] * (axes + 4) + after), use.number(0))
    starts, ends = a.padding[:axes], [b + size for b, size in zip(a.padding, use.attrs.size, strict=False)]
    return use.emit("Slice", y, use.array(starts), use.shape(ends), use.array(range(2, 2 + axes)))


@writer(CONV_GRAD_WEIGHT)
def conv_grad_weight(use: Use[ConvWeightAttrs]) -> Item:
    """A convolution of the images, with channels as the batch, and with the cotangents as kernels."""
    (x, dy), (images, cotangents), a = use.inputs, use.types, use.attrs.conv
    batch, channels, *space = images.shape
    axes, each = len(space), exact_quotient(channels, a.groups)
    assert each is not None
    rest = list(range(3, 3 + axes))
    x = use.reshape(x, [batch, a.groups, each, *space])
    x = use.reshape(use.emit("Transpose", x, perm=[2, 1, 0, *rest]), [each, batch * a.groups, *space])
    order = [1, 0, *range(2, 2 + axes)]
    settings = ConvAttrs(a.dilation, a.padding, a.stride, a.groups)
    y = use.emit(
        "Conv", x, use.emit("Transpose", dy, perm=order), settings=_settings(settings, _numbers(cotangents.shape[2:]))
    )
    y = use.emit("Slice", y, use.array([0] * axes), use.array(use.attrs.kernel), use.array(range(2, 2 + axes)))
    return use.emit("Transpose", y, perm=order)


@writer(MAX_POOL)
def max_pool(use: Use[MaxPoolAttrs]) -> Written:
    """Padding that can win is added to the image first. What a window that extends beyond the end sees never wins."""
    a, dtype = use.attrs, use.type.dtype
    if dtype.kind in "iu" and dtype.itemsize > 4:
        raise UnwritableError(f"ONNX has no maximum over windows of {dtype.name}: cast it to float64 before")
    x = use.cast(use.inputs[0], POOLED.get(dtype, dtype))
    axes = len(a.kernel)
    least, outside = (pad_constant(value, dtype).item() for value in (-math.inf, a.pad_value))
    before, after = list[Dim](a.padding[:axes]), list[Dim](a.padding[axes:])
    if outside != least and any(a.padding):
        x, before, after = _padded(use, x, before, after, outside), [0] * axes, [0] * axes
    after = _hanging(use, after)
    if any(
        not isinstance(more, int) or not 0 <= more < k for more, k in zip((*before, *after), a.kernel * 2, strict=True)
    ):
        x, before, after = _padded(use, x, before, after, least), [0] * axes, [0] * axes
    asked = use.is_read(1)
    if asked and x is not use.inputs[0]:
        raise UnwritableError(
            "who won is asked where padding competes, or the numbers are no floats: use pad_value=-inf"
        )
    y, *places = use.emit_all(
        "MaxPool", x, dtypes=[x.dtype, *[int64] * asked], kernel_shape=list(a.kernel), strides=list(a.stride),
        pads=_numbers((*before, *after)), dilations=list(a.dilation),
    )  # fmt: skip
    return [use.cast(y, dtype), *(winners(use, one) for one in places)]


def _reach(window: Window, count: Dim) -> Dim:
    """The number of positions under ``count`` windows."""
    return (count - 1) * window.stride + window.extent


POOLED = {
    **{DTYPES[name]: float32 for name in ("int16", "uint16")}, **{DTYPES[name]: float64 for name in ("int32", "uint32")}
}  # fmt: skip
"""For integers that ONNX cannot max-pool, the floats that represent them exactly."""


def _hanging(use: Use[MaxPoolAttrs] | Use[AvgPoolAttrs], after: Sequence[Dim]) -> list[Dim]:
    """The padding after each axis for exactly the given number of windows, also those that extend beyond the end."""
    a = use.attrs
    if not a.ceil_mode:
        return [*after]
    dilation = a.dilation if isinstance(a, MaxPoolAttrs) else (1,) * len(a.kernel)
    windows = windows_of(a.kernel, a.stride, a.padding, dilation)
    ends = [_reach(w, n) - size for w, n, size in zip(windows, use.type.shape[2:], use.types[0].shape[2:], strict=True)]
    beyond = (more + end - w.before - w.after for more, end, w in zip(after, ends, windows, strict=True))
    return [max(more, 0) if isinstance(more, int) else more for more in beyond]


def _padded(use: Use, x: Item, before: Sequence[Dim], after: Sequence[Dim], value: float) -> Item:
    """An image padded with a number; cropped where the padding is negative."""
    return use.emit("Pad", x, use.shape([0, 0, *before, 0, 0, *after]), use.number(value, x.dtype))


@writer(AVG_POOL)
def avg_pool(use: Use[AvgPoolAttrs]) -> Item:
    """If windows extend beyond the end, each mean is divided by the counted fraction of its window."""
    (x,), a = use.inputs, use.attrs
    axes = len(a.kernel)
    before, after = a.padding[:axes], a.padding[axes:]
    beyond = _hanging(use, after)
    shape: dict[str, Setting] = {"kernel_shape": list(a.kernel), "strides": list(a.stride)}
    whole = a.count_include_pad or a.divisor_override is not None
    if beyond == [*after]:
        y = use.emit("AveragePool", x, settings=shape, pads=list(a.padding), count_include_pad=int(whole))
    else:
        y = use.emit("AveragePool", _padded(use, x, before, beyond, 0), settings=shape)
    if a.divisor_override is not None:
        return use.emit("Mul", y, use.number(math.prod(a.kernel) / a.divisor_override))
    if beyond == [*after]:
        return y
    ones = use.emit("Expand", use.number(1), use.shape([1, 1, *use.types[0].shape[2:]]))
    if whole:
        ones = _padded(use, ones, before, after, 1)
        before, beyond = (0,) * axes, [end - more for end, more in zip(beyond, after, strict=True)]
    return use.emit("Div", y, use.emit("AveragePool", _padded(use, ones, before, beyond, 0), settings=shape))


@writer(ADAPTIVE_AVG_POOL)
def adaptive_avg_pool(use: Use[AdaptiveAttrs]) -> Item:
    """Windows of equal size if possible; otherwise, for each axis, the mean of the elements that each window covers."""
    (x,), sizes, new = use.inputs, use.types[0].shape[2:], use.attrs.size
    if new == (1,) * len(new):
        return use.emit("GlobalAveragePool", x)
    steps = [exact_quotient(size, count) for size, count in zip(sizes, new, strict=True)]
    known = [step for step in steps if isinstance(step, int)]
    if len(known) == len(steps):
        return use.emit("AveragePool", x, kernel_shape=known, strides=known)
    for axis, (size, count) in enumerate(zip(sizes, new, strict=True), 2):
        if not isinstance(size, int) or not isinstance(count, int):
            raise UnwritableError("its windows are of several sizes, and which depends on a symbolic size: fix that")
        x = _means(use, x, axis, size, count)
    return x


def _means(use: Use, x: Item, axis: int, size: int, count: int) -> Item:
    """The means along an axis of the elements that each window covers."""
    number = np.arange(count)
    first, last = number * size // count, -(-(number + 1) * size // count)
    places = first[:, None] + np.arange((last - first).max())
    shape = [-1, *[1] * (use.type.rank - axis - 1)]
    found = use.emit("Gather", x, use.array(np.minimum(places, size - 1)), axis=axis)
    inside = use.array((places < last[:, None]).reshape(count, *shape), bool_)
    total = use.emit(
        "ReduceSum", use.emit("Where", inside, found, use.number(0), dtype=x.dtype), use.array([axis + 1]), keepdims=0
    )
    return use.emit("Div", total, use.array((last - first).reshape(shape), x.dtype))
