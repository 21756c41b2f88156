"""Convolutions and poolings, with one, two or three spatial axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ....errors import GraphError, ShapeError
from ....graph.assume import is_at_least
from ....graph.dims import Dim
from ....graph.opdef import AbstractTensor
from ....graph.ops.avgpool import AvgPoolAttrs
from ....graph.ops.composite import norm
from ....graph.ops.conv import ConvAttrs, ConvTransposeAttrs
from ....graph.ops.conv_axes import convolve, convolve_transposed
from ....graph.ops.elementwise import abs_, floor_divide, remainder
from ....graph.ops.pad import pad
from ....graph.ops.pool import MaxPoolAttrs
from ....graph.ops.pool_axes import average_pool
from ....graph.ops.pool_axes import max_pool as pool_maxima
from ....graph.ops.power_pool import power_pool
from ....graph.ops.put import counted
from ....graph.ops.reduce import amax, mean
from ....graph.ops.shape import reshape
from ....graph.types import is_float, product
from ..registry import Call, Value, converter


def spatial(x: AbstractTensor) -> int:
    """The number of spatial axes of an image."""
    axes = x.type.rank - 2
    if axes not in (1, 2, 3):
        raise GraphError(f"images of {axes} axes are not supported, of {x.type}")
    return axes


def _all_of(image: AbstractTensor) -> tuple[int, ...]:
    """The spatial axes, of which there must be one, as an empty list would mean all axes."""
    if image.type.rank < 3:
        raise GraphError(f"an image is needed, got {image.type}")
    return tuple(range(2, image.type.rank))


def _kernel(weight: AbstractTensor, axes: int) -> list[int]:
    """The size of a kernel along each axis."""
    kernel = [size for size in weight.type.shape[2:] if isinstance(size, int)]
    if len(kernel) != axes:
        raise GraphError(f"a kernel of {axes} axes is needed, whose sizes are known, got {weight.type}")
    return kernel


def numbers(call: Call, name: str, axes: int, least: int = 1) -> tuple[int, ...]:
    """An attribute with a number for each axis."""
    return tuple(call.attribute(name, [least] * axes))


def padding(
    call: Call, x: AbstractTensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> tuple[Dim, ...]:
    """The padding before each axis, then after each, in whichever form the node specifies it."""
    axes, auto = len(kernel), call.attribute("auto_pad", "NOTSET")
    if auto in ("NOTSET", ""):
        return numbers(call, "pads", 2 * axes, 0)
    if auto == "VALID":
        return (0,) * 2 * axes
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise GraphError(f"unknown auto_pad {auto!r}")
    before: list[Dim] = []
    after: list[Dim] = []
    for size, k, s, d in zip(x.type.shape[2:], kernel, stride, dilation, strict=True):
        total: Dim = d * (k - 1)
        if s > 1:
            total = (-(-size // s) - 1) * s + total + 1 - size
            total = total if is_at_least(total, 0, likely=True) else 0
        small, large = total // 2, total - total // 2
        before.append(large if auto == "SAME_LOWER" else small)
        after.append(small if auto == "SAME_LOWER" else large)
    return *before, *after


def padded(
    call: Call, x: AbstractTensor, window: tuple[Sequence[int], Sequence[int], Sequence[int]], value: float | None
) -> tuple[AbstractTensor, tuple[int, ...]]:
    """The image, and the padding for windows (kernel, stride, dilation) that move over it.

    Padding that depends on symbolic sizes is added to the image, with ``value``. If ``value`` is None, the sizes of the
    image must be multiples of the stride instead.
    """
    amounts = padding(call, x, *window)
    known = tuple(amount for amount in amounts if isinstance(amount, int))
    if len(known) == len(amounts):
        return x, known
    axes = len(amounts) // 2
    if value is None:
        sizes, stride = x.type.shape[2:], window[1]
        whole = [size // s * s for size, s in zip(sizes, stride, strict=True)]
        raise ShapeError(f"auto_pad of sizes {sizes} that are not multiples of {stride}", unequal=(sizes, whole))
    pairs = [(amounts[axis], amounts[axis + axes]) for axis in reversed(range(axes))]
    return pad(x, [amount for pair in pairs for amount in pair], value=value), (0,) * len(amounts)


@converter("Conv", names=("", "weight", "bias"))
def conv(call: Call, x: Value, weight: Value, bias: Value = None) -> AbstractTensor:
    image, kernels = call.tensors(x, weight)
    return convolved(call, image, kernels, call.optional(bias))


def convolved(
    call: Call, x: AbstractTensor, weight: AbstractTensor, bias: AbstractTensor | None = None, *, exact: bool = False
) -> AbstractTensor:  # fmt: skip
    """The convolution that the attributes describe; ``exact`` if its sums must be exact for whole numbers."""
    axes = spatial(x)
    kernel = _kernel(weight, axes)
    stride, dilation = numbers(call, "strides", axes), numbers(call, "dilations", axes)
    x, pads = padded(call, x, (kernel, stride, dilation), 0)
    return convolve(ConvAttrs(stride, pads, dilation, call.attribute("group", 1), exact), x, weight, bias)


@converter("ConvTranspose", names=("", "weight", "bias"))
def conv_transpose(call: Call, x: Value, weight: Value, bias: Value = None) -> AbstractTensor:
    image, kernels = call.tensors(x, weight)
    axes = spatial(image)
    stride, dilation = numbers(call, "strides", axes), numbers(call, "dilations", axes)
    more = list(numbers(call, "output_padding", axes, 0))
    pads = _of_transposed(call, image, _kernel(kernels, axes), stride, dilation, more)
    conv = ConvAttrs(stride, pads, dilation, call.attribute("group", 1))
    return convolve_transposed(ConvTransposeAttrs(conv, tuple(more)), image, kernels, call.optional(bias))


def _of_transposed(
    call: Call, x: AbstractTensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int],
    more: list[int],
) -> tuple[int, ...]:  # fmt: skip
    """The padding of a transposed convolution, given, or computed from the size of the output.

    If the output lacks elements even without padding, they are added to ``more``, the padding at the ends.
    """
    axes, auto, wanted = len(kernel), call.attribute("auto_pad", "NOTSET"), call.attribute("output_shape")
    if wanted is None and auto in ("NOTSET", "", "VALID"):
        return numbers(call, "pads", 2 * axes, 0)
    before, after = [], []
    for i, (size, k, s, d) in enumerate(zip(x.type.shape[2:], kernel, stride, dilation, strict=True)):
        total = s * (size - 1) + more[i] + d * (k - 1) + 1 - (size * s if wanted is None else wanted[-axes:][i])
        if not isinstance(total, int):
            raise GraphError(f"the size of {x.type} is symbolic, so that no padding gives this output for certain")
        more[i] -= min(total, 0)
        total = max(total, 0)
        small, large = total // 2, total - total // 2
        before.append(large if auto != "SAME_UPPER" else small)
        after.append(small if auto != "SAME_UPPER" else large)
    return *before, *after


@converter("MaxPool", picks=(0,))
def max_pool(call: Call, x: Value) -> AbstractTensor | list[AbstractTensor]:
    image: AbstractTensor = call.tensor(x)
    plain = call.outputs == 1 and is_float(image.type.dtype)
    image, (kernel, stride, pads, dilation) = _of_pooling(call, image, -math.inf if plain else None)
    attrs = MaxPoolAttrs(kernel, stride, pads, dilation, bool(call.attribute("ceil_mode", 0)), -math.inf)
    y, places = pool_maxima(attrs, image, call.outputs > 1)
    if places is None:
        return y
    batch, size = image.type.shape[:2], image.type.shape[2:]
    if call.attribute("storage_order", 0):
        places = _columns_first(places, size)
    images = reshape(counted(image, product(batch)), (*batch, *(1,) * len(size)))
    return [y, places + images * product(size)]


def _of_pooling(
    call: Call, x: AbstractTensor, value: float | None = None
) -> tuple[AbstractTensor, tuple[tuple[int, ...], ...]]:
    """The image, and the kernel, stride, padding and dilation of a pooling (see :func:`padded`)."""
    axes = spatial(x)
    kernel = tuple(call.required("kernel_shape"))
    stride, dilation = numbers(call, "strides", axes), numbers(call, "dilations", axes)
    image, pads = padded(call, x, (kernel, stride, dilation), value)
    return image, (kernel, stride, pads, dilation)


def _columns_first(places: AbstractTensor, size: Sequence[Dim]) -> AbstractTensor:
    """Positions in an image, counted along the first spatial axis first."""
    total: AbstractTensor | None = None
    for axis in reversed(range(len(size))):
        along = remainder(places, size[axis]) * product(size[:axis])
        total = along if total is None else total + along
        places = floor_divide(places, size[axis])
    assert total is not None
    return total


@converter("AveragePool")
def average_pool_of(call: Call, x: Value) -> AbstractTensor:
    return pooled_mean(call, call.tensor(x))


def pooled_mean(call: Call, x: AbstractTensor) -> AbstractTensor:
    """The means under the windows that the attributes describe."""
    image, (kernel, stride, pads, dilation) = _of_pooling(call, x)
    ceil, include = bool(call.attribute("ceil_mode", 0)), bool(call.attribute("count_include_pad", 0))
    return average_pool(AvgPoolAttrs(kernel, stride, pads, ceil, include), image, dilation)


@converter("GlobalAveragePool", "GlobalMaxPool")
def global_pool(call: Call, x: Value) -> AbstractTensor:
    image: AbstractTensor = call.tensor(x)
    function = mean if call.node.op == "GlobalAveragePool" else amax
    return function(image, _all_of(image), keepdim=True)


@converter("LpPool")
def lp_pool(call: Call, x: Value) -> AbstractTensor:
    image: AbstractTensor = call.tensor(x)
    p = float(call.attribute("p", 2))
    image, (kernel, stride, pads, dilation) = _of_pooling(call, image)
    attrs = AvgPoolAttrs(kernel, stride, pads, bool(call.attribute("ceil_mode", 0)), True, 1)
    return power_pool(attrs, abs_(image), p, dilation)


@converter("GlobalLpPool")
def global_lp_pool(call: Call, x: Value) -> AbstractTensor:
    image: AbstractTensor = call.tensor(x)
    return norm(image, float(call.attribute("p", 2)), _all_of(image), keepdim=True)
