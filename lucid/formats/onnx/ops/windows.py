"""Convolutions and poolings, along any one or two axes of an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ....errors import GraphError
from ....graph.opdef import AbstractTensor, apply
from ....graph.ops import shape
from ....graph.ops.avgpool import AVG_POOL, AvgPoolAttrs
from ....graph.ops.composite import norm
from ....graph.ops.conv import CONV, CONV_TRANSPOSE, ConvAttrs, ConvTransposeAttrs
from ....graph.ops.elementwise import abs_
from ....graph.ops.pool import MAX_POOL, MAX_POOL_POSITIONS, MaxPoolAttrs, MaxPoolGradAttrs
from ....graph.ops.reduce import amax, mean
from ..registry import Call, Value, converter


def spatial(call: Call, x: Any) -> int:
    """How many axes an image has behind its channels."""
    axes: int = x.type.rank - 2
    if axes not in (1, 2):
        raise GraphError(f"images of {axes} axes are not supported, of {x.type}")
    return axes


def flat(x: Any) -> Any:
    """An image of one axis as one of two, the first of which has one element."""
    return shape.unsqueeze(x, 2) if x.type.rank == 3 else x


def pair(values: Sequence[int], fill: int) -> tuple[int, ...]:
    """Numbers for each axis of an image of two."""
    return (fill, *values) if len(values) == 1 else tuple(values)


def sides(pads: Sequence[int]) -> tuple[int, ...]:
    """Padding before each axis, then after, of an image of two."""
    half = len(pads) // 2
    return (*pair(pads[:half], 0), *pair(pads[half:], 0))


def padding(call: Call, x: Any, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]) -> list[int]:
    """What stands before each axis, then after, whatever way the node says it."""
    axes, auto = len(kernel), call.attribute("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        return list(call.attribute("pads", [0] * 2 * axes))
    if auto == "VALID":
        return [0] * 2 * axes
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise GraphError(f"there is no auto_pad {auto!r}")
    before, after = [], []
    for size, k, s, d in zip(x.type.shape[2:], kernel, stride, dilation, strict=True):
        if not isinstance(size, int) and s > 1:
            raise GraphError("auto_pad of an image whose size is symbolic: give the model fixed shapes")
        extent = d * (k - 1) + 1
        total = extent - 1 if s == 1 else max(0, (-(-size // s) - 1) * s + extent - size)
        small, large = total // 2, total - total // 2
        before.append(large if auto == "SAME_LOWER" else small)
        after.append(small if auto == "SAME_LOWER" else large)
    return before + after


@converter("Conv", names=("", "weight", "bias"))
def conv(call: Call, x: Any, weight: Any, bias: Any = None) -> Any:
    return convolved(call, *call.tensors(x, weight, bias))


def convolved(
    call: Call, x: AbstractTensor, weight: AbstractTensor, bias: AbstractTensor | None = None, *, exact: bool = False
) -> AbstractTensor:  # fmt: skip
    """The convolution that the attributes say; ``exact`` where its sums are to be those of whole numbers."""
    axes = spatial(call, x)
    kernel = [size for size in weight.type.shape[2:] if isinstance(size, int)]
    if len(kernel) != axes:
        raise GraphError(f"a kernel of {axes} axes is needed, whose sizes are known, got {weight.type}")
    stride, dilation = call.attribute("strides", [1] * axes), call.attribute("dilations", [1] * axes)
    pads = padding(call, x, kernel, stride, dilation)
    attrs = ConvAttrs(pair(stride, 1), sides(pads), pair(dilation, 1), call.attribute("group", 1), exact)
    y: AbstractTensor = apply(CONV, attrs, flat(x), flat(weight), *(() if bias is None else (bias,)))
    return shape.squeeze(y, 2) if axes == 1 else y


@converter("ConvTranspose", names=("", "weight", "bias"))
def conv_transpose(call: Call, x: Any, weight: Any, bias: Any = None) -> Any:
    x, weight, bias = call.tensors(x, weight, bias)
    axes = spatial(call, x)
    kernel, stride = weight.type.shape[2:], call.attribute("strides", [1] * axes)
    dilation, more = call.attribute("dilations", [1] * axes), list(call.attribute("output_padding", [0] * axes))
    pads = _of_transposed(call, x, kernel, stride, dilation, more)
    attrs = ConvTransposeAttrs(
        ConvAttrs(pair(stride, 1), sides(pads), pair(dilation, 1), call.attribute("group", 1)),
        pair(more, 0),
    )
    y = apply(CONV_TRANSPOSE, attrs, flat(x), flat(weight), *(() if bias is None else (bias,)))
    return shape.squeeze(y, 2) if axes == 1 else y


def _of_transposed(
    call: Call, x: Any, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int], more: Sequence[int]
) -> list[int]:
    """The padding of a transposed convolution: given, or what the size of the output asks for."""
    axes, auto, wanted = len(kernel), call.attribute("auto_pad", "NOTSET"), call.attribute("output_shape")
    if wanted is None and auto in ("NOTSET", "", "VALID"):
        return list(call.attribute("pads", [0] * 2 * axes))
    before, after = [], []
    for i, (size, k, s, d) in enumerate(zip(x.type.shape[2:], kernel, stride, dilation, strict=True)):
        total = s * (size - 1) + more[i] + d * (k - 1) + 1 - (size * s if wanted is None else wanted[-axes:][i])
        if not isinstance(total, int) or total < 0:
            raise GraphError(f"no padding gives this output, of {x.type}")
        small, large = total // 2, total - total // 2
        before.append(large if auto != "SAME_UPPER" else small)
        after.append(small if auto != "SAME_UPPER" else large)
    return before + after


@converter("MaxPool")
def max_pool(call: Call, x: Any) -> Any:
    x = call.tensor(x)
    axes = spatial(call, x)
    kernel, stride = call.required("kernel_shape"), call.attribute("strides", [1] * axes)
    dilation = call.attribute("dilations", [1] * axes)
    attrs = MaxPoolAttrs(
        pair(kernel, 1), pair(stride, 1), sides(padding(call, x, kernel, stride, dilation)), pair(dilation, 1),
        bool(call.attribute("ceil_mode", 0)), -math.inf,
    )  # fmt: skip
    image = flat(x)
    y, index = apply(MAX_POOL, attrs, image)
    if call.outputs > 1:
        if call.attribute("storage_order", 0):
            raise GraphError("positions in column-major order are not supported")
        height, width = image.type.shape[2:]
        places = apply(MAX_POOL_POSITIONS, MaxPoolGradAttrs(attrs, (height, width)), index)
        first = call.tensor(_planes(image.type.shape[:2])) * (height * width)
        return [one if axes == 2 else shape.squeeze(one, 2) for one in (y, places + first)]
    return shape.squeeze(y, 2) if axes == 1 else y


def _planes(shape: Sequence[Any]) -> Any:
    """The numbers of the planes of a batch, to add to what has an image's axes."""
    if not all(isinstance(dim, int) for dim in shape):
        raise GraphError("positions in a batch whose size is symbolic: give the model fixed shapes")
    return np.arange(math.prod(shape)).reshape(*shape, 1, 1)


@converter("AveragePool")
def average_pool(call: Call, x: Any) -> Any:
    x = call.tensor(x)
    axes = spatial(call, x)
    kernel, stride = call.required("kernel_shape"), call.attribute("strides", [1] * axes)
    dilation = call.attribute("dilations", [1] * axes)
    if any(d != 1 for d in dilation):
        raise GraphError("an average over windows with a dilation is not supported")
    attrs = AvgPoolAttrs(
        pair(kernel, 1), pair(stride, 1), sides(padding(call, x, kernel, stride, dilation)),
        bool(call.attribute("ceil_mode", 0)), bool(call.attribute("count_include_pad", 0)), None,
    )  # fmt: skip
    y = apply(AVG_POOL, attrs, flat(x))
    return shape.squeeze(y, 2) if axes == 1 else y


@converter("GlobalAveragePool", "GlobalMaxPool")
def global_pool(call: Call, x: Any) -> Any:
    x = call.tensor(x)
    function = mean if call.node.op == "GlobalAveragePool" else amax
    return function(x, tuple(range(2, x.type.rank)), keepdim=True)


@converter("LpPool")
def lp_pool(call: Call, x: Value) -> AbstractTensor:
    image: AbstractTensor = call.tensor(x)
    axes, p = spatial(call, image), float(call.attribute("p", 2))
    kernel, stride = call.required("kernel_shape"), call.attribute("strides", [1] * axes)
    dilation = call.attribute("dilations", [1] * axes)
    if any(d != 1 for d in dilation):
        raise GraphError("a norm over windows with a dilation is not supported")
    pads = sides(padding(call, image, kernel, stride, dilation))
    attrs = AvgPoolAttrs(pair(kernel, 1), pair(stride, 1), pads, bool(call.attribute("ceil_mode", 0)), True, 1)
    total = apply(AVG_POOL, attrs, flat(abs_(image) ** p))
    y: AbstractTensor = total ** (1 / p)
    return shape.squeeze(y, 2) if axes == 1 else y


@converter("GlobalLpPool")
def global_lp_pool(call: Call, x: Value) -> AbstractTensor:
    image: AbstractTensor = call.tensor(x)
    return norm(image, float(call.attribute("p", 2)), tuple(range(2, image.type.rank)), keepdim=True)
